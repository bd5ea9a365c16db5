"""The built site: every link leads somewhere, and a real browser shows the pages without fault, offline."""
import ast
import functools
import re
import shutil
import threading
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlparse

import pytest

SITE = Path(__file__).resolve().parent.parent/'_site'
HOME = 'https://sat-recipes.github.io/sat_recipes/'
BADGES = {'img.shields.io', 'colab.research.google.com', 'kaggle.com'}
FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
         '--disable-component-update', '--disable-sync']

pytestmark = pytest.mark.skipif(not (SITE/'index.html').exists(), reason='_site is not built: run `make docs`')


# --- Without a browser ---------------------------------------------------------------------------

class Reader(HTMLParser):
    "Collects a page's links, the names they may lead to, and what the page loads."

    def __init__(self, path):
        super().__init__()
        self.links, self.names, self.loads, self.no_alt, self.title = [], set(), [], [], False
        self.feed(path.read_text(encoding='utf-8'))

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.names |= {attrs[k] for k in ('id', 'name') if attrs.get(k)}
        if tag == 'a' and attrs.get('href'): self.links.append(attrs['href'])
        if tag in ('script', 'img', 'iframe', 'source') and attrs.get('src'): self.loads.append(attrs['src'])
        if tag == 'link' and attrs.get('rel') not in ('canonical', 'alternate') and attrs.get('href'): self.loads.append(attrs['href'])
        if tag == 'img' and not (attrs.get('alt') or '').strip(): self.no_alt.append(attrs.get('src', '')[:80])
        if tag == 'title': self.title = True


@functools.cache
def pages():
    return {p.relative_to(SITE).as_posix(): Reader(p) for p in sorted(SITE.rglob('*.html')) if '_static' not in p.parts}


def target_of(page, link):
    "(page or file of the site, anchor), or None for a link that leads elsewhere; the site's own address leads to its pages here."
    if link.startswith(HOME): page, link = 'index.html', link.removeprefix(HOME) or 'index.html'
    if urlparse(link).scheme or link.startswith('//'): return None
    path, anchor = urldefrag(link)
    found = (SITE/page).parent/unquote(path.split('?')[0]) if path else SITE/page
    found = found.resolve()
    return (found/'index.html' if found.is_dir() else found), unquote(anchor)


def broken(page, link):
    target = target_of(page, link)
    if target is None: return False
    path, anchor = target
    if not path.is_file() or not path.is_relative_to(SITE): return True
    name = path.relative_to(SITE).as_posix()
    return bool(anchor) and name in pages() and anchor not in pages()[name].names


def test_links_and_anchors_resolve():
    faults = [(name, link) for name, page in pages().items() for link in page.links + page.loads if broken(name, link)]
    assert not faults


def test_nothing_is_loaded_from_elsewhere_but_badges():
    hosts = {(name, urlparse(x).netloc) for name, page in pages().items() for x in page.loads if urlparse(x).netloc}
    assert not {pair for pair in hosts if pair[1] not in BADGES}


def test_every_picture_has_an_alternative_text():
    "What a notebook's cell draws has none until the cell says `#| fig-alt:`; the build lists those."
    assert not {(name, src) for name, page in pages().items() for src in page.no_alt if '_images/' not in src}


def test_every_notebook_has_its_page_and_a_module_goes_by_its_name():
    nbs = SITE.parent/'nbs'
    wanted = {'index.html', *(f'recipes/{p.stem}.html' for p in nbs.glob('recipes/[0-9]*.ipynb'))}
    wanted |= {f'api/{p.stem.split("_", 1)[1]}.html' for p in nbs.glob('api/[0-9]*.ipynb')}
    assert wanted <= set(pages())


def test_the_address_in_every_docstring_is_on_the_site():
    found = {}
    for path in sorted((SITE.parent/'sat_recipes').glob('[!_]*.py')):
        docs = re.search(r'^Docs: https://[^/]+/[^/]+/(\S+)$', ast.get_docstring(ast.parse(path.read_text(encoding='utf-8'))) or '', re.MULTILINE)
        found[path.name] = bool(docs) and (SITE/docs[1]).read_text(encoding='utf-8').startswith('# ')
    assert all(found.values()), found


def test_recipes_are_numbered_in_the_side_bar():
    html = (SITE/'recipes/00_quickstart.html').read_text(encoding='utf-8')
    assert re.search(r'href="#">\s*00 ', html) and re.search(r'href="[^"]*33_how_not_to_test.html">\s*33 ', html)


def test_link_check_can_fail():
    assert broken('index.html', 'no-such-page.html')
    assert broken('index.html', '#no-such-anchor')
    assert broken('recipes/00_quickstart.html', HOME + 'no-such-page.html')
    assert not broken('index.html', 'https://example.org/any')


# --- In a browser --------------------------------------------------------------------------------

class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args): pass


@pytest.fixture(scope='module')
def address():
    server = ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Quiet, directory=SITE))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{server.server_port}/'
    server.shutdown()
    server.server_close()


@pytest.fixture(scope='module')
def browser():
    playwright = pytest.importorskip('playwright.sync_api', reason='playwright is not installed')
    found = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'))), None)
    if not found: pytest.skip('neither chromium nor google-chrome is on PATH')
    with playwright.sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=found, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, address):
    "Open a page; gives it and the list that gathers its faults."
    opened = []

    def open_page(name, width=1280, scheme='light'):
        page, faults = browser.new_page(viewport=dict(width=width, height=844), color_scheme=scheme), []
        opened.append(page)
        badge_failed = lambda m: urlparse((m.location or {}).get('url', '')).hostname in BADGES
        page.on('console', lambda m: faults.append(m.text) if m.type == 'error' and not badge_failed(m) else None)
        page.on('pageerror', lambda error: faults.append(str(error)))

        def gate(route):
            url = route.request.url
            if url.startswith((address, 'data:', 'blob:')): return route.continue_()
            if urlparse(url).hostname not in BADGES: faults.append(f'asked for {url}')
            route.abort()
        page.route('**/*', gate)
        page.goto(address + name, wait_until='load')
        page.wait_for_timeout(200)
        return page, faults
    yield open_page
    for page in opened: page.close()


def serious(page):
    "What axe-core calls serious or critical on the page."
    package = pytest.importorskip('axe_playwright_python', reason='axe-playwright-python is not installed')
    page.evaluate((Path(package.__path__[0])/'axe.min.js').read_text(encoding='utf-8'))
    found = page.evaluate("axe.run(document, {preload: false, runOnly: ['wcag2a', 'wcag2aa']})")['violations']
    return [(v['id'], v['nodes'][0]['html'][:120]) for v in found if v['impact'] in ('serious', 'critical')]


@pytest.mark.parametrize('name', sorted(pages()) if SITE.exists() else ['index.html'])
def test_page_is_whole(visit, name):
    "At the width of a phone, in the dark, where axe looks through it, and of a desk."
    page, faults = visit(name, 390, 'dark')
    assert serious(page) == []
    for width, scheme in [(390, 'dark'), (1280, 'light')]:
        page.set_viewport_size(dict(width=width, height=844))
        page.emulate_media(color_scheme=scheme)
        page.wait_for_timeout(100)
        assert not faults
        assert page.evaluate('document.documentElement.scrollWidth') <= width
        broken_images = "[...document.images].filter(i => i.src.startsWith(location.origin) && i.complete && !i.naturalWidth).map(i => i.src)"
        assert page.evaluate(broken_images) == []
        assert page.evaluate('document.documentElement.dataset.theme') == scheme


def test_search_finds_the_sensor(visit):
    page, faults = visit('search.html?q=sensor')
    page.wait_for_selector('#search-results li a', timeout=10_000)
    links = page.eval_on_selector_all('#search-results li a', 'found => found.map(a => a.getAttribute("href"))')
    assert any('api/' in link for link in links)
    assert not faults


def test_gallery_card_leads_to_its_recipe(visit):
    page, faults = visit('recipes/index.html')
    card = page.locator('.gallery .sd-card').first
    if not card.count(): pytest.skip('no recipe is written yet')
    title = card.locator('.sd-card-title').inner_text().strip()
    card.click()
    page.wait_for_load_state()
    assert re.match(r'\d\d ', title) and page.locator('h1').first.inner_text().strip().startswith(title[3:])
    assert not faults


def test_code_of_88_columns_needs_no_scroll_bar(visit):
    page, _ = visit('recipes/00_quickstart.html', 1280)
    fits = """() => { const pre = document.querySelector('div.cell_input pre')
                      pre.textContent = 'x'.repeat(88)
                      return pre.scrollWidth <= pre.clientWidth }"""
    assert page.evaluate(fits)


def test_a_thumbnail_is_shown_whole(visit):
    page, _ = visit('recipes/index.html')
    assert page.evaluate("[...document.querySelectorAll('.gallery img')].map(i => getComputedStyle(i).objectFit)").count('contain') >= 9
