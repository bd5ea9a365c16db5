"""Build the site: nbs/ -> pages in build/site/ -> HTML in _site/.

    python docs/build.py
"""
import ast
import base64
import io
import os
import re
import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import nbformat
from nbconvert import MarkdownExporter
from nbformat.v4 import new_markdown_cell

from conf import ROOT, who
from notebooks import DIRECTIVE, HIDDEN, has_tag
from speed import speed_page
from teaching import chapter_page, sheet, write_clean

NBS, PAGES, SITE, STATIC = ROOT/'nbs', ROOT/'build/site', ROOT/'_site', ROOT/'docs/static'
REPOSITORY = f"https://github.com/{who['user']}/{who['repo']}/blob/{who['branch']}"
CHAPTERS = {'0': 'Start here', '1': 'Data', '2': 'Inputs and transfer', '3': 'Measuring', '4': 'Maps',
            '5': 'Hard cases', '6': 'Detection', '7': 'Shipping', '9': 'Reference'}
FRONT = '11', '30', '32', '40', '41', '42'  # the recipes whose pictures stand on the front page


# --- Definitions ---------------------------------------------------------------------------------

def signature(node, source):
    "A definition as it is written, up to its body; of a class its fields and how it is made too."
    first, lines = node.body[0], source.splitlines()
    start = min([first.lineno, *(d.lineno for d in getattr(first, 'decorator_list', []))])
    header = [*lines[node.lineno - 1:start - 1], lines[start - 1].encode()[:first.col_offset].decode()]
    fields = [n for n in node.body if isinstance(n, ast.AnnAssign) and not n.target.id.startswith('_')]
    header += [line for n in fields for line in lines[n.lineno - 1:n.end_lineno]] if isinstance(node, ast.ClassDef) else []
    inits = [n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == '__init__'] if isinstance(node, ast.ClassDef) else []
    header += [textwrap.indent(signature(n, source), '    ') for n in inits]
    return textwrap.dedent('\n'.join(line for line in header if line.strip()))


def owner(node):
    "The class that a function is patched into, or nothing."
    if not any('patch' in ast.unparse(d) for d in getattr(node, 'decorator_list', [])): return ''
    return next(n.id for n in ast.walk(node.args.args[0].annotation) if isinstance(n, ast.Name)) + '.'


class Definitions:
    "Turns exported cells into sections that Sphinx knows as objects of Python."

    def __init__(self, module):
        self.module, self.seen = module, set()

    def section(self, node, source, prefix=''):
        "One definition, and the public methods with a docstring of a class."
        name, doc = (prefix or owner(node)) + node.name, ast.get_docstring(node) or ''
        kind = 'class' if isinstance(node, ast.ClassDef) else 'method' if '.' in name else 'function'
        again = [':no-index:'] if name in self.seen else []
        self.seen.add(name)
        text = '\n'.join([f'``````{{py:{kind}}} {name}', f':module: sat_recipes.{self.module}', *again, '',
                          '```python', signature(node, source), '```', '', doc, '``````'])
        inside = node.body if kind == 'class' else []
        return '\n\n'.join([text, *(self.section(n, source, f'{name}.') for n in inside if self.wanted(n))])

    def wanted(self, node):
        if not isinstance(node, (ast.FunctionDef, ast.ClassDef)) or node.name.startswith('_'): return False
        return bool(ast.get_docstring(node)) and not owner(node).startswith('_')

    def cell(self, cell):
        "The sections of a cell, or None where it defines nothing public."
        nodes = [n for n in ast.parse(cell.source).body if self.wanted(n)]
        return new_markdown_cell('\n\n'.join(self.section(n, cell.source) for n in nodes)) if nodes else None


# --- A page --------------------------------------------------------------------------------------

TAGS = {'echo: false': 'remove-input', 'output: false': 'remove-output', 'code-fold: true': 'hide-input'}


def pictures(cell):
    return [o.data['image/png'] for o in cell.get('outputs', []) if 'image/png' in o.get('data', {})]


class Page:
    "A notebook on its way to the site: `nbs/recipes/NN_name.ipynb` keeps its name, `nbs/api/NN_module.ipynb` goes by its module."

    def __init__(self, path):
        self.path, self.nb = path, nbformat.read(path, 4)
        self.number, self.module = path.stem.split('_', 1) if '_' in path.stem else ('', path.stem)
        self.folder = path.parent.relative_to(NBS).as_posix()
        self.name = self.module if self.folder == 'api' else path.stem
        head = next(c.source for c in self.nb.cells if c.cell_type == 'markdown')
        self.title = re.search(r'^# +(.+)$', head, re.MULTILINE)[1].strip()
        promise = re.search(r'^> *(.+(?:\n>.*)*)', head, re.MULTILINE)
        self.promise = re.sub(r'\n> *', ' ', promise[1]).strip() if promise else ''
        self.without_alt, self.thumbnail, self.thumbnail_alt = [], '_static/logo.svg', self.title

    def code(self, i, cell):
        "A code cell as myst-nb wants it: what its `#|` lines say becomes tags and an alternative text."
        # A line that is indented goes on with the one before, as in YAML.
        lines = '\n'.join(line.split('|', 1)[1].rstrip() for line in DIRECTIVE.findall(cell.source))
        said = [line.strip() for line in re.sub(r'\n {2,}', ' ', lines).splitlines()]
        cell.metadata['tags'] = cell.metadata.get('tags', []) + [TAGS[s] for s in said if s in TAGS]
        alt = next((s.split(':', 1)[1].strip(' \'">') for s in said if s.startswith('fig-alt:')), '')
        cell.metadata['mystnb'] = {'image': {'alt': alt}}
        cell.source = DIRECTIVE.sub('', cell.source).strip('\n')
        cell.outputs = [o for o in cell.outputs if o.get('name') != 'stderr']
        if found := pictures(cell):
            if not alt: self.without_alt.append(i)
            if has_tag(cell, 'thumbnail') or self.thumbnail == '_static/logo.svg':
                self.thumbnail, self.thumbnail_alt = shrink(found[0], self.name), alt or self.title
        return cell

    def write(self, links):
        "Write the page into the source folder; `links` are names of notebooks and of the pages made of them."
        definitions, cells = Definitions(self.module), []
        for i, cell in enumerate(self.nb.cells):
            if cell.cell_type == 'raw' or not cell.source.strip() or HIDDEN.search(cell.source): continue
            if cell.cell_type == 'code': cell = definitions.cell(cell) if is_exported(cell) else self.code(i, cell)
            if cell: cells.append(cell)
        for cell in cells:
            if cell.cell_type == 'markdown': cell.source = site_paths(cell.source, links)
        self.nb.cells = cells
        (PAGES/self.folder).mkdir(parents=True, exist_ok=True)
        nbformat.write(self.nb, PAGES/self.folder/f'{self.name}.ipynb')


def is_exported(cell):
    return bool(re.search(r'^#\s*\|\s*export', cell.source, re.MULTILINE))


def site_paths(text, links):
    "Paths as seen from the repository become paths of the site."
    for old, new in links.items(): text = text.replace(old, new)
    return re.sub(r'\]\((?:\.\./)+(?!recipes|api|index)([^)]+)\)', rf']({REPOSITORY}/\1)', text)


def shrink(png, name, width=640):
    "Save a base64 PNG as a small JPEG; returns its address on the site."
    from PIL import Image
    picture = Image.open(io.BytesIO(base64.b64decode(png))).convert('RGBA')
    picture = Image.alpha_composite(Image.new('RGBA', picture.size, 'white'), picture).convert('RGB')
    picture.thumbnail((width, width))
    target = PAGES/'_static/thumbnails'/f'{name}.jpg'
    target.parent.mkdir(parents=True, exist_ok=True)
    picture.save(target, quality=85)
    return target.relative_to(PAGES).as_posix()


# --- The pages that are made ---------------------------------------------------------------------

def toctree(names, caption=''):
    options = [':hidden:', ':maxdepth: 1', *([f':caption: {caption}'] if caption else [])]
    return '\n'.join(['```{toctree}', *options, '', *names, '```'])


def card(page, to='', up='../'):
    time_row = next((re.search(r'^\| *\*\*Time\*\* *\| *([^;.|]+)', c.source, re.MULTILINE) for c in page.nb.cells if '**Time**' in c.source), None)
    foot = f'\n\n{{.recipe-facts}}\n{time_row[1].strip()}' if time_row else ''
    return (f':::{{grid-item-card}} {page.number} {page.title}\n:link: {to}{page.name}\n:link-type: doc\n'
            f':img-top: {up}{page.thumbnail}\n:img-alt: {page.thumbnail_alt}\n\n{page.promise}{foot}\n:::')


def grid(cards):
    return '\n\n'.join(['::::{grid} 1 2 3 3\n:gutter: 3\n:class-container: gallery', *cards, '::::'])


def gallery_page(recipes):
    "recipes/index.md: a card for each recipe, by chapter."
    parts = ['# Recipes', '> One idea a notebook: run it, change it, check your answer. Each asserts its own claim, so a recipe that stops being true fails.']
    for digit, chapter in CHAPTERS.items():
        pages = [p for p in recipes if p.number.startswith(digit)]
        if not pages: continue
        parts += [f'## {chapter}', f'[Questions to print](../sheets/{digit}.md)', grid(map(card, pages)),
                  toctree([f'{p.number} {p.title} <{p.name}>' for p in pages], chapter)]
    return '\n\n'.join(parts)


def api_page(modules):
    "api/index.md: the modules in the order of their floors; each needs only those above it."
    rows = '\n'.join(f'| [`{p.module}`]({p.name}.ipynb) | {p.promise.replace("|", "/")} |' for p in modules)
    intro = ('> The modules from the ground up: each imports only from those above it in this table. '
             '`from sat_recipes.all import *` gives a notebook the lot.')
    return f'# Library\n\n{intro}\n\n| module | what it does |\n|---|---|\n{rows}\n\n{toctree([p.name for p in modules], "Modules")}'


def dataset_entry(data):
    "One data set: what, how big, whose, where."
    size = f'{max(data.size/1e6, .1):,.1f} MB' if data.size else 'not fetched: put it into `$SAT_RECIPES_DATA` yourself'
    rows = [('Get it', f"`get_data('{data.name}')`"), ('License', data.license), ('Cite', data.citation),
            ('Home', f'<{data.homepage}>' if data.homepage else ''), ('Download', size)]
    lines = '\n'.join(f'| **{k}** | {str(v).replace("|", "/")} |' for k, v in rows if v)
    return f'## `{data.name}`\n\n{data.title}.\n\n| | |\n|---|---|\n{lines}'


def data_page():
    "data.md: every data set that the library knows, from its registry."
    from sat_recipes.datasets import REGISTRY
    intro = ('# Data\n\n> Every data set that the recipes use: what it is, whose it is, and on what terms.\n\n'
             '`get_data(name)` looks in its own cache, in the folder `$SAT_RECIPES_DATA`, in packages that carry the data, and at public addresses, '
             'and checks what it fetched. `synthetic_ok=True` asks for a synthetic stand-in where there is one. '
             'Pictures say whether their pixels are real or synthetic.')
    return '\n\n'.join([intro, *map(dataset_entry, REGISTRY.values())])


ASSUMED = re.compile(r'^#+ Assumed: *(.+)\n')


def assumed_page(modules):
    "assumed.md: what the API notebooks say under their headings 'Assumed: …' about the files that people bring."
    parts = ['# What is assumed about your files',
             '> A file is handled right, or refused in one sentence that names it and the remedy, or taken with a warning that says what was assumed. '
             'Here is which, for each kind; the page is made from the notebooks of the library.']
    for page in modules:
        told = [c.source for c in page.nb.cells if c.cell_type == 'markdown' and ASSUMED.match(c.source)]
        parts += [ASSUMED.sub(lambda m: f'## {m[1]}\n', text) + f'\n\n[`{page.module}`](api/{page.name}.ipynb)' for text in told]
    return '\n\n'.join(parts)


# --- All of it -----------------------------------------------------------------------------------

def write_pages():
    "Fill the source folder; returns the pages made of notebooks."
    shutil.rmtree(PAGES, ignore_errors=True)
    shutil.copytree(STATIC, PAGES/'_static')
    recipes, modules = ([Page(p) for p in sorted((NBS/folder).glob('[0-9]*.ipynb'))] for folder in ('recipes', 'api'))
    links = {f'{p.path.stem}.ipynb': f'{p.name}.ipynb' for p in modules}
    links |= {'../docs/static/': '_static/', '../CONTRIBUTING.md': 'contributing.md', '../CHANGELOG.md': 'changelog.md'}
    front = Page(NBS/'index.ipynb')
    menu = ['recipes/index', 'api/index', 'assumed', 'data', 'speed', 'chapter', 'contributing', 'changelog']
    front.nb.cells.append(new_markdown_cell(toctree(menu)))
    for page in [*recipes, *modules]: page.write(links)
    front.nb.cells.insert(2, new_markdown_cell('## What you will make\n\n' + grid(card(p, 'recipes/', '') for p in recipes if p.number in FRONT)))
    front.write(links)
    made = {'recipes/index': gallery_page(recipes), 'api/index': api_page(modules), 'assumed': assumed_page(modules), 'data': data_page(),
            'speed': speed_page(ROOT/'benchmarks/results', PAGES/'_static')}
    made['chapter'] = chapter_page({p.number: p.name for p in recipes})
    sheets = {d: sheet(chapter, [p for p in recipes if p.number.startswith(d)]) for d, chapter in CHAPTERS.items()}
    made |= {f'sheets/{d}': '---\norphan: true\n---\n\n' + text for d, text in sheets.items()}
    (PAGES/'sheets').mkdir()
    for name in ('CONTRIBUTING', 'CHANGELOG'):
        text = (ROOT/f'{name}.md').read_text(encoding='utf-8')
        made[name.lower()] = re.sub(r'\]\((?!https?:|#|mailto:)([^)]+)\)', rf']({REPOSITORY}/\1)', text)
    for name, text in made.items(): (PAGES/f'{name}.md').write_text(text, encoding='utf-8')
    return [front, *recipes, *modules]


def sphinx():
    "Source folder -> build/html; any warning is an error, and leaves the former site as it was."
    html, doctrees = ROOT/'build/html', ROOT/'build/doctrees'
    for folder in (html, doctrees, ROOT/'build/jupyter_execute'): shutil.rmtree(folder, ignore_errors=True)
    command = [sys.executable, '-m', 'sphinx', '-n', '-W', '--keep-going', '-q', '-E', '-b', 'html', '-c', ROOT/'docs', '-d', doctrees, PAGES, html]
    if subprocess.run([str(part) for part in command], cwd=ROOT).returncode: sys.exit('The site has faults: see above.')
    (html/'.nojekyll').touch()
    return html


def write_markdown(pages, folder):
    "`api/MODULE.html.md`, the address in a module's docstring: its notebook as text, for language models and for `curl`."
    exporter = MarkdownExporter(config={'NbConvertBase': {'display_data_priority': ['text/markdown', 'text/plain']}})
    for page in pages:
        nb = nbformat.read(page.path, 4)
        nb.cells = [c for c in nb.cells if not HIDDEN.search(c.source)]
        text, _ = exporter.from_notebook_node(nb)
        (folder/page.folder/f'{page.name}.html.md').write_text(text.lstrip(), encoding='utf-8')


def main():
    start = time.perf_counter()
    os.chdir(ROOT)
    pages = write_pages()
    html = sphinx()
    write_markdown([p for p in pages if p.folder == 'api'], html)
    shutil.rmtree(SITE, ignore_errors=True)
    html.rename(SITE)
    write_clean([p for p in pages if p.folder == 'recipes'], SITE/'clean')
    bare = [f'  {p.path.relative_to(ROOT)}: cells {", ".join(map(str, p.without_alt))}' for p in pages if p.without_alt]
    if bare: print('Warning: pictures without `#| fig-alt:`', *bare, sep='\n')
    print(f'_site/index.html: {len(pages)} notebooks in {time.perf_counter() - start:.0f} s')


if __name__ == '__main__':
    main()
