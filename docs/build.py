"""Build the site: nbs/ -> nbdev's processed notebooks in _proc/ -> pages in build/site/ -> HTML in _site/.

    python docs/build.py
"""
import configparser
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nbformat
from nbformat.v4 import new_markdown_cell

from notebooks import present_rows
from speed import speed_page

ROOT = Path(__file__).resolve().parent.parent
NBS, PROC, PAGES, SITE, STATIC = ROOT/'nbs', ROOT/'_proc', ROOT/'build/site', ROOT/'_site', ROOT/'docs/static'
CHAPTERS = {'0': 'Start here', '1': 'Data', '2': 'Inputs and transfer', '3': 'Measuring', '4': 'Maps',
            '5': 'Hard cases', '6': 'Detection', '7': 'Shipping', '9': 'Reference'}


def identity():
    "Who we are, from settings.ini."
    settings = configparser.ConfigParser(delimiters=['='], interpolation=None)
    settings.read(ROOT/'settings.ini', encoding='utf-8')
    return settings['DEFAULT']


# --- What nbdev makes of the notebooks -----------------------------------------------------------

def notebooks(folder):
    return sorted((NBS/folder).glob('[!_.]*.ipynb'))


def process():
    "Run nbdev's processors: definitions become signatures, hidden cells go. Returns the notebooks, by folder."
    found = {folder: notebooks(folder) for folder in ('recipes', 'api')}
    os.environ.setdefault('OMP_NUM_THREADS', '1')
    os.environ.setdefault('PYTHONWARNINGS', 'ignore::UserWarning')
    from nbdev.serve import proc_nbs
    proc_nbs()
    failed = [p for paths in found.values() for p in paths if not (PROC/p.relative_to(NBS)).exists()]
    if failed: sys.exit(f'nbdev could not process {", ".join(p.name for p in failed)}: see above.')
    return found


def title_cell(path):
    "The first markdown cell of the notebook as its author wrote it; nbdev keeps only a part of it."
    cells = nbformat.read(path, 4).cells
    return next((c.source for c in cells if c.cell_type == 'markdown'), f'# {path.stem}')


def split_title(source):
    "(title, promise, the rest) of a notebook's first markdown cell."
    title = re.search(r'^#\s+(.+)$', source, re.MULTILINE)
    promise = re.search(r'^>\s*(.+(?:\n>.*)*)', source, re.MULTILINE)
    rest = source
    for found in (title, promise):
        if found: rest = rest.replace(found.group(0), '', 1)
    words = re.sub(r'\n>\s*', ' ', promise.group(1)).strip() if promise else ''
    return (title.group(1).strip() if title else ''), words, rest.strip()


# --- A cell of a page ----------------------------------------------------------------------------

DIRECTIVE = re.compile(r'^\s*#\s*\|\s*([\w-]+)\s*:?\s*(.*?)\s*$')
HIDING = {('echo', 'false'): 'remove-input', ('output', 'false'): 'remove-output', ('code-fold', 'true'): 'hide-input',
          ('include', 'false'): 'remove-cell'}


def directives(cell):
    "Take the `#|` lines off a code cell and return them as a dict."
    found, lines = {}, []
    for line in cell.source.splitlines():
        hit = DIRECTIVE.match(line)
        if hit: found[hit.group(1)] = hit.group(2)
        else: lines.append(line)
    cell.source = '\n'.join(lines).strip('\n')
    return found


def add_tag(cell, tag):
    cell.metadata['tags'] = sorted({*cell.metadata.get('tags', []), tag})


def has_picture(cell):
    return cell.cell_type == 'code' and any(k.startswith('image/') for o in cell.outputs for k in o.get('data', {}))


def plain(text):
    "Markdown as a plain line: no links, marks or tags."
    text = re.sub(r'!?\[([^\]]*)\]\([^)]*\)', r'\1', text)
    text = re.sub(r'<[^>]+>', ' ', text)
    return re.sub(r'\s+', ' ', re.sub(r'[*`#>|$]|^[-\d.]+\s', '', text)).strip()


PICTURED = re.compile(r'\b(left|right|middle|top|bottom|picture|figure|image|map|curve|line|dots?|bars?|panel|column|row|'
                      r'colors?|red|green|blue|gray|black|white|dark|bright|yellow|orange|shows?|drawn|dashed|composite)\b', re.I)


def sentences(cell):
    "The sentences of a markdown cell's first paragraph of prose."
    source = re.sub(r'<details>.*?</details>', '', cell.source, flags=re.DOTALL)
    for paragraph in re.split(r'\n\s*\n', source):
        if not paragraph.lstrip().startswith(('#', '|', '```', '<', ':::', '$$')):
            return [s for s in re.split(r'(?<=[.!?:])\s+(?=[A-Z])', plain(paragraph)) if s]
    return []


def alt_text(cells, at):
    "Of the sentences just before and after a picture, the one that says most of what is to be seen."
    candidates = []
    for near in (at + 1, at - 1, at - 2, at - 3):
        if 0 <= near < len(cells) and cells[near].cell_type == 'markdown':
            new_topic = near > at and cells[near].source.lstrip().startswith('#')
            found = sentences(cells[near])
            candidates += [(len(PICTURED.findall(s)) - 3*new_topic - .1*abs(near - at) - .01*i, s) for i, s in enumerate(found)]
            if near < at and found: break
    return max(candidates, default=(0, 'Figure'))[1].rstrip(':')[:250]


def ready_code(cells, at):
    "A code cell as Sphinx wants it."
    cell = cells[at]
    said = directives(cell)
    for pair in HIDING.keys() & set(said.items()): add_tag(cell, HIDING[pair])
    cell.metadata.pop('execution', None)
    cell.outputs = [o for o in cell.outputs if o.get('name') != 'stderr']
    alt = (said.get('fig-alt') or said.get('alt') or alt_text(cells, at)).strip('\'"')
    if has_picture(cell): cell.metadata['mystnb'] = {'image': {'alt': alt}}
    for output in cell.outputs: ready_output(output, alt)


def ready_output(output, alt):
    "Pictures inside HTML get an alt text too; a table that has HTML needs no scripts."
    data = output.get('data', {})
    if html := data.get('text/html'):
        safe = alt.replace('"', '&quot;')
        data['text/html'] = re.sub(r'<img(?![^>]*\balt=)', f'<img alt="{safe}"', html)


CALLOUT = re.compile(r'^(:{3,})\s*\{\.callout-(\w+)[^}]*\}\s*\n(?:\s*#+\s+(.+)\n)?', re.MULTILINE)
ADMONITIONS = dict(note='note', tip='tip', warning='warning', caution='caution', important='important')


def ready_text(source):
    "Markdown as MyST wants it: callouts, the box of facts, nbdev's own marks."
    source = re.sub(r'^<!-- WARNING.*?-->\n?', '', source)

    def admonition(hit):
        fence, kind, title = hit.groups()
        if title: return f'{fence}{{admonition}} {title}\n:class: {kind}\n\n'
        return f'{fence}{{{ADMONITIONS.get(kind, "note")}}}\n'
    source = CALLOUT.sub(admonition, source)
    if source.lstrip().startswith('| | |\n'): source = '{.facts}\n' + source.lstrip()
    source = re.sub(r'(<details[^>]*>\s*<summary>.*?</summary>)[ \t]*(?=\S)', r'\1\n\n', source, flags=re.DOTALL)
    return re.sub(r'(?<=\S)[ \t]*\n?(</details>)', r'\n\n\1', source)


# --- Definitions ---------------------------------------------------------------------------------

def show_doc_text(cell):
    "What nbdev shows of a definition, or None."
    if cell.cell_type != 'code' or not re.search(r'^show_doc\(', cell.source, re.MULTILINE): return None
    return next((o.data.get('text/markdown') for o in cell.outputs if 'data' in o), None)


def label(module, symbol):
    kind = 'class-' if symbol[0].isupper() else ''  # Machine and machine() may stand in one module
    return f'api-{module}-{kind}{symbol}'.lower().replace('_', '-').replace('.', '-')


def split_parameters(hit):
    "A parameter a line, where nbdev set several in one long line."
    depth, cuts, line = 0, [0], hit.group(2)
    for i, letter in enumerate(line):
        depth += (letter in '([{') - (letter in ')]}')
        if letter == ',' and not depth: cuts.append(i + 1)
    parts = [line[a:b].strip() for a, b in zip(cuts, [*cuts[1:], None])]
    return hit.group(1) + '\n'.join('    ' + part for part in parts if part) + hit.group(3)


LONG = re.compile(r'(^def \w+\(\n)    ([^\n#]{56,})(\n\))', re.MULTILINE)


def definition(text, module):
    "nbdev's signature as a section with a name to link to. Returns (symbol, markdown)."
    text = re.sub(r'^\s*---\s*', '', text)
    symbol = re.search(r'^#+\s+(.+)$', text, re.MULTILINE).group(1).strip()
    text = re.sub(r'^#+\s+.+$', '', text, count=1, flags=re.MULTILINE).strip()
    text = LONG.sub(split_parameters, text)
    text = re.sub(r'\n\*([^\n].*?)\*(?=\s*(?:\n\n|$))', lambda hit: '\n' + hit.group(1), text, count=1, flags=re.DOTALL)
    return symbol, f'({label(module, symbol)})=\n### `{symbol}`\n\n{text}'


CODE_SPAN = re.compile(r'(?<![`\[\w])`([A-Za-z_][\w.]*)(\([^`]*\))?`(?!`|\]\()')


def link_symbols(source, symbols, own=''):
    "`Sensor` becomes a link to its definition, outside code blocks and headings."
    def link(hit):
        target = symbols.get(hit.group(1))
        return f'[{hit.group(0)}](#{target})' if target and target != own else hit.group(0)
    parts = re.split(r'(^```.*?^```[ \t]*$|^#+ .*$|\[[^\]]*\]\([^)]*\)|<summary>.*?</summary>)', source, flags=re.MULTILINE | re.DOTALL)
    return ''.join(part if i % 2 else CODE_SPAN.sub(link, part) for i, part in enumerate(parts))


# --- A page --------------------------------------------------------------------------------------

class Page:
    "A notebook on its way to the site."

    def __init__(self, path):
        self.path = path.relative_to(NBS)
        self.name = self.path.with_suffix('').as_posix()
        self.title, self.promise, self.rest = split_title(title_cell(path))
        self.nb = nbformat.read(PROC/self.path, 4)
        self.module = re.sub(r'^\d+_', '', self.path.stem)
        self.symbols = {}

    def define(self):
        "Turn definitions into sections; note their names."
        for i, cell in enumerate(self.nb.cells):
            if text := show_doc_text(cell):
                symbol, markdown = definition(text, self.module)
                self.symbols[symbol] = label(self.module, symbol)
                self.nb.cells[i] = new_markdown_cell(markdown)
        return self.symbols

    def head(self):
        badges = bool(re.match(r'\[!\[', self.rest))
        first, _, other = self.rest.partition('\n\n')
        rest = f'{{.badges}}\n{first}\n\n{other}' if badges else self.rest
        promise = f'{{.promise}}\n{self.promise}\n\n' if self.promise else ''
        return new_markdown_cell(f'# {self.title}\n\n{promise}{ready_text(rest)}'.strip())

    def write(self, symbols):
        "Write the page and its thumbnail into the source folder."
        cells = [c for c in self.nb.cells if c.cell_type != 'raw' and (c.source.strip() or c.get('outputs'))]
        cells = [c for c in cells if not c.source.startswith('<!-- WARNING')]
        self.thumbnail = self.save_thumbnail(cells)
        for i, cell in enumerate(cells):
            if cell.cell_type == 'code': ready_code(cells, i)
        for cell in cells:
            if cell.cell_type == 'markdown': cell.source = link_symbols(ready_text(cell.source), symbols)
        self.nb.cells = [self.head(), *first_level(cells)]
        target = PAGES/self.path
        target.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(self.nb, target)

    def save_thumbnail(self, cells):
        "The picture of the cell tagged `thumbnail`, else the first; a drawing where there is none."
        pictured = [c for c in cells if has_picture(c)]
        tagged = [c for c in pictured if 'thumbnail' in c.metadata.get('tags', [])]
        self.thumbnail_alt = self.title
        for cell in tagged + pictured:
            for output in cell.outputs:
                if png := output.get('data', {}).get('image/png'):
                    self.thumbnail_alt = alt_text(cells, cells.index(cell))
                    return shrink(png, PAGES/'_static/thumbnails'/f'{self.path.stem}.jpg')
        return '_static/logo.svg'


def first_level(cells):
    "No second title, and no jump of two levels under a heading."
    level = 1
    for cell in cells:
        if cell.cell_type != 'markdown': continue
        lines, fenced = [], False
        for line in cell.source.splitlines():
            if line.startswith('```'): fenced = not fenced
            if not fenced and (hit := re.match(r'(#+)(\s.*)', line)):
                level = max(2, min(len(hit.group(1)), level + 1))
                line = '#'*level + hit.group(2)
            lines.append(line)
        cell.source = '\n'.join(lines)
    return cells


def shrink(png, path, width=640):
    "Save a base64 PNG as a small JPEG; returns its address on the site."
    import base64
    import io
    from PIL import Image
    picture = Image.open(io.BytesIO(base64.b64decode(png))).convert('RGBA')
    ground = Image.new('RGBA', picture.size, 'white')
    picture = Image.alpha_composite(ground, picture).convert('RGB')
    if picture.width > width: picture = picture.resize((width, round(picture.height*width/picture.width)), Image.Resampling.LANCZOS)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, quality=85)
    return path.relative_to(PAGES).as_posix()


# --- The pages that are made ---------------------------------------------------------------------

def toctree(names, caption='', hidden=True, depth=1):
    head = [f':caption: {caption}'] if caption else []
    head += [':hidden:'] if hidden else []
    return '\n'.join(['```{toctree}', *head, f':maxdepth: {depth}', '', *names, '```'])


def chapters(recipes):
    "{chapter title: its recipes}, in the order of file names."
    found = {}
    for page in recipes: found.setdefault(CHAPTERS.get(page.path.stem[0], 'More'), []).append(page)
    return found


def time_to_read(page):
    "The first words of the row Time in the box of facts."
    row = next((hit for c in page.nb.cells if (hit := re.search(r'^\|\s*\*\*Time\*\*\s*\|\s*([^;.|]+)', c.source, re.MULTILINE))), None)
    return row.group(1).strip() if row else ''


def card(page):
    alt = page.thumbnail_alt.replace('\n', ' ')
    foot = ' · '.join(filter(None, [f'Recipe {page.path.stem.split("_")[0]}', time_to_read(page)]))
    return (f':::{{grid-item-card}} {page.title}\n:link: {page.path.stem}\n:link-type: doc\n'
            f':img-top: ../{page.thumbnail}\n:img-alt: {alt}\n\n{page.promise}\n\n{{.recipe-facts}}\n{foot}\n:::')


def gallery_page(recipes):
    "recipes/index.md: a card for each recipe, by chapter."
    parts = ['# Recipes', '{.promise}\nOne idea a notebook: run it, change it, check your answer. Each asserts its own claim, so a recipe that stops being true fails.']
    for chapter, pages in chapters(recipes).items():
        cards = '\n\n'.join(card(p) for p in pages)
        parts += [f'## {chapter}', f'::::{{grid}} 1 2 3 3\n:gutter: 3\n:class-container: gallery\n\n{cards}\n::::']
        parts.append(toctree([p.path.stem for p in pages], caption=chapter))
    if not recipes: parts.append('The first recipes are being written.')
    return '\n\n'.join(parts)


def api_page(modules):
    "api/index.md: the modules in the order of their floors; each needs only those above it."
    rows = '\n'.join(f'| [`{p.module}`]({p.path.name}) | {p.promise.replace("|", "/")} |' for p in modules)
    intro = ('{.promise}\nThe modules from the ground up: each imports only from those above it in this table. '
             '`from sat_recipes.all import *` gives a notebook the lot.')
    return f'# Library\n\n{intro}\n\n| module | what it does |\n|---|---|\n{rows}\n\n' + toctree([p.path.stem for p in modules], 'Modules')


def dataset_entry(data):
    "One data set: what, how big, whose, where."
    name, home = data.name, data.homepage
    size = f'{max(data.size/1e6, .1):,.1f} MB' if data.size else 'not fetched: put it into `$SAT_RECIPES_DATA` yourself'
    stand_in = 'yes, on request (`synthetic_ok=True`), and marked as such' if getattr(data, 'synthetic', None) else 'no'
    rows = [('Get it', f"`get_data('{name}')`"), ('License', data.license), ('Cite', data.citation),
            ('Home', f'<{home}>' if home else ''), ('Download', size), ('Synthetic stand-in', stand_in)]
    lines = '\n'.join(f'| **{k}** | {str(v).replace("|", "/")} |' for k, v in rows if v)
    return f'## `{name}`\n\n{data.title}.\n\n{{.facts}}\n| | |\n|---|---|\n{lines}'


def data_page():
    "data.md: every data set that the library knows, from its registry."
    from sat_recipes.datasets import REGISTRY
    intro = ('# Data\n\n{.promise}\nEvery data set that the recipes use: what it is, whose it is, and on what terms.\n\n'
             '`get_data(name)` looks in its own cache, in the folder `$SAT_RECIPES_DATA`, in packages that carry the data, and at public addresses, '
             'and checks what it fetched. Pictures say whether their pixels are real or synthetic.')
    return '\n\n'.join([intro, *(dataset_entry(d) for d in REGISTRY.values())])


def front_page(symbols):
    "index.ipynb with the list of pages that the site's menu needs."
    nb = nbformat.read((PROC if (PROC/'index.ipynb').exists() else NBS)/'index.ipynb', 4)
    title, promise, rest = split_title(title_cell(NBS/'index.ipynb'))
    cells = [c for c in nb.cells if c.cell_type != 'raw']
    if cells and (cells[0].source.startswith(('# ', '<!-- WARNING'))): cells = cells[1:]
    for i, cell in enumerate(cells):
        if cell.cell_type == 'code': ready_code(cells, i)
        else: cell.source = link_symbols(site_paths(ready_text(present_rows(cell.source))), symbols)
    pages = ['recipes/index', 'api/index', 'data', 'speed', 'contributing', 'changelog']
    head = f'# {title}\n\n{{.promise}}\n{promise}\n\n{badges(rest)}'
    nb.cells = [new_markdown_cell(site_paths(head)), *cells, new_markdown_cell(toctree(pages))]
    nbformat.write(nb, PAGES/'index.ipynb')


def badges(rest):
    return f'{{.badges}}\n{rest}' if rest.startswith('[![') else rest


def site_paths(text):
    "Paths as seen from the repository become paths of the site."
    text = text.replace('../docs/static/', '_static/')
    for name in ('CONTRIBUTING', 'CHANGELOG'): text = text.replace(f'](../{name}.md)', f']({name.lower()}.md)')
    who = identity()
    return re.sub(r'\]\(\.\./([^)]+)\)', rf'](https://github.com/{who["user"]}/{who["repo"]}/blob/{who["branch"]}/\1)', text)


def repository_page(name):
    "A text file at the top of the repository as a page."
    text = (ROOT/f'{name}.md').read_text(encoding='utf-8')
    who = identity()
    base = f'https://github.com/{who["user"]}/{who["repo"]}/blob/{who["branch"]}/'
    text = re.sub(r'\]\((?!https?:|#|mailto:)([^)]+)\)', rf']({base}\1)', text)
    (PAGES/f'{name.lower()}.md').write_text(text, encoding='utf-8')


# --- All of it -----------------------------------------------------------------------------------

def write_pages(found):
    "Fill the source folder; returns how many notebooks became pages."
    shutil.rmtree(PAGES, ignore_errors=True)
    shutil.copytree(STATIC, PAGES/'_static')
    recipes, modules = ([Page(p) for p in found[folder]] for folder in ('recipes', 'api'))
    symbols = {}
    for page in [*recipes, *modules]: symbols |= page.define()
    for page in [*recipes, *modules]: page.write(symbols)
    (PAGES/'recipes').mkdir(exist_ok=True)
    (PAGES/'recipes/index.md').write_text(gallery_page(recipes), encoding='utf-8')
    (PAGES/'api/index.md').write_text(api_page(modules), encoding='utf-8')
    (PAGES/'data.md').write_text(link_symbols(data_page(), symbols), encoding='utf-8')
    (PAGES/'speed.md').write_text(speed_page(ROOT/'benchmarks/results', PAGES/'_static'), encoding='utf-8')
    front_page(symbols)
    for name in ('CONTRIBUTING', 'CHANGELOG'): repository_page(name)
    sources = {p.name: f'nbs/{p.path.as_posix()}' for p in [*recipes, *modules]}
    sources |= {'index': 'nbs/index.ipynb', 'contributing': 'CONTRIBUTING.md', 'changelog': 'CHANGELOG.md', 'data': 'nbs/api/03_datasets.ipynb'}
    (PAGES/'page_sources.json').write_text(json.dumps(sources), encoding='utf-8')
    return len(recipes) + len(modules) + 1


def sphinx():
    "Source folder -> _site/; any warning is an error, and leaves the former site as it was."
    html, doctrees = ROOT/'build/html', ROOT/'build/doctrees'
    for folder in (html, doctrees, ROOT/'build/jupyter_execute'): shutil.rmtree(folder, ignore_errors=True)
    command = [sys.executable, '-m', 'sphinx', '-n', '-W', '--keep-going', '-q', '-E', '-b', 'html', '-c', ROOT/'docs', '-d', doctrees, PAGES, html]
    if subprocess.run([str(part) for part in command], cwd=ROOT).returncode: sys.exit('The site has faults: see above.')
    (html/'.nojekyll').touch()
    shutil.rmtree(SITE, ignore_errors=True)
    html.rename(SITE)


def main():
    start = time.perf_counter()
    os.chdir(ROOT)
    count = write_pages(process())
    sphinx()
    print(f'_site/index.html: {count} notebooks in {time.perf_counter() - start:.0f} s')


if __name__ == '__main__':
    main()
