"""Run the notebooks, keep what they show, and write README.md from the front page.

    python docs/notebooks.py execute [NOTEBOOK or FOLDER ...]
    python docs/notebooks.py demo NOTEBOOK --out outputs/quickstart
    python docs/notebooks.py readme
"""
import argparse
import base64
import json
import os
import re
import sys
import tempfile
import time
from configparser import ConfigParser
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

# Pictures belong in the notebook, whatever backend the shell asks for.
os.environ['MPLBACKEND'] = 'module://matplotlib_inline.backend_inline'

ROOT = Path(__file__).resolve().parent.parent
NBS = ROOT/'nbs'
DIRECTIVE = re.compile(r'^#\s*\|.*\n?', re.MULTILINE)
EVAL_FALSE = re.compile(r'^#\s*\|\s*eval:\s*false', re.MULTILINE)
HIDDEN = re.compile(r'^#\s*\|\s*(hide|include:\s*false|default_exp)', re.MULTILINE)
WIDGET = 'application/vnd.jupyter.widget-view+json'
WIDGETS = 'application/vnd.jupyter.widget-state+json'
BAR = re.compile(r'^\s*\S*\s*\d+%\|')  # how tqdm's widget shows itself as text
ANSI = re.compile(r'\x1b\[[0-9;]*[A-Za-z]')


def shown(path):
    "The path as a reader of the terminal would write it."
    path = Path(path).resolve()
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def has_tag(cell, tag):
    return tag in cell.metadata.get('tags', [])


def find_notebooks(paths):
    "All notebooks in `paths`, or in nbs/, but files and folders that start with _ or a dot."
    found = []
    for path in [Path(p) for p in paths] or [NBS]:
        if not path.exists(): sys.exit(f'{path}: there is no such file or folder')
        inside = [p for p in sorted(path.rglob('*.ipynb')) if not re.search(r'(^|/)[_.]', p.relative_to(path).as_posix())]
        found += [path] if path.is_file() else inside
    return found


# --- Running -----------------------------------------------------------------------------------

def run(nb, folder, watch=None, timeout=1800):
    "Run `nb` in place, with `folder` as the kernel's working directory; `watch(cell)` is told of each that is read or done."
    at = 0

    def begun(cell, cell_index):
        nonlocal at
        at = cell_index
        if watch and cell.cell_type == 'markdown': watch(cell)

    def done(cell, **kwargs):
        if watch: watch(cell)

    nb.metadata.pop('widgets', None)
    skipped = [c for c in nb.cells if c.cell_type == 'code' and EVAL_FALSE.search(c.source)]
    for cell in nb.cells:
        if cell.cell_type == 'code' and cell not in skipped: cell.outputs, cell.execution_count = [], None
    for cell in skipped: cell.metadata['tags'] = [*cell.metadata.get('tags', []), 'skip-execution']
    client = NotebookClient(nb, timeout=timeout, kernel_name='python3', record_timing=False,
                            on_cell_start=begun, on_cell_executed=done, extra_arguments=['--IPKernelApp.log_level=ERROR'],
                            resources={'metadata': {'path': str(folder)}})
    try:
        client.execute()
    except CellExecutionError as error:
        wrong = [output for output in nb.cells[at].outputs if output.output_type == 'error']
        trace = ANSI.sub('', '\n'.join(wrong[0].traceback[-2:])) if wrong else ''
        source = '\n'.join('    ' + line for line in nb.cells[at].source.splitlines()[:12])
        raise SystemExit(f'cell {at} failed:\n{source}\n{trace or error.evalue}') from None
    except (CellTimeoutError, DeadKernelError) as error:
        raise SystemExit(f'stopped at cell {at}: {str(error).strip().splitlines()[-1]}') from None
    finally:
        for cell in skipped: cell.metadata['tags'].remove('skip-execution')


def strip_paths(text):
    "Leave out where the checkout, the home and the temporary folder are."
    for path, short in {ROOT: '.', Path.home(): '~', Path(tempfile.gettempdir()).resolve(): 'tmp', '/tmp': 'tmp'}.items():
        text = re.sub(re.escape(str(path)) + r'(?=[/\\\s\'"),:;<&]|$)', short, text)
    return text


def settle_widgets(nb):
    "Keep the data of the widgets that are shown and of no others, numbered in the order of the page: the same in each run."
    state, numbers = nb.metadata.get('widgets', {}).get(WIDGETS, {}).get('state', {}), {}

    def reach(model):
        if model in numbers or model not in state: return
        numbers[model] = f'{len(numbers):032x}'
        for inner in re.findall(r'IPY_MODEL_(\w+)', json.dumps(state[model])): reach(inner)

    shown = [o.data for c in nb.cells for o in c.get('outputs', []) if WIDGET in o.get('data', {})]
    for data in shown: data['text/plain'] = re.sub(r' object at 0x\w+', '', data.get('text/plain', ''))
    views = [data[WIDGET] for data in shown]
    for view in views: reach(view['model_id'])
    if not numbers: return nb.metadata.pop('widgets', None)
    for view in views: view['model_id'] = numbers.get(view['model_id'], view['model_id'])
    kept = re.sub(r'IPY_MODEL_(\w+)', lambda found: f'IPY_MODEL_{numbers.get(found[1], found[1])}',
                  json.dumps({numbers[model]: state[model] for model in numbers}))
    nb.metadata.widgets[WIDGETS]['state'] = json.loads(kept)


def tidy(nb):
    "Drop stderr, finished progress bars, widgets that are not shown and absolute paths from what is stored."
    is_bar = lambda data: WIDGET in data and BAR.match(data.get('text/plain', ''))
    for cell in nb.cells:
        if cell.cell_type != 'code': continue
        cell.outputs = [o for o in cell.outputs if o.get('name') != 'stderr' and not is_bar(o.get('data', {}))]
        for output in cell.outputs:
            if 'text' in output: output.text = strip_paths(output.text)
            if 'traceback' in output: output.traceback = [strip_paths(line) for line in output.traceback]
            for kind, value in output.get('data', {}).items():
                if kind.startswith('text/'): output.data[kind] = strip_paths(value)
        if not cell.metadata.get('tags', True): del cell.metadata['tags']
    settle_widgets(nb)
    nb.metadata.pop('language_info', None)
    nb.metadata.kernelspec = {'display_name': 'python3', 'language': 'python', 'name': 'python3'}


# --- Whose it is, from settings.ini ------------------------------------------------------------

def where_it_opens(name):
    "({platform: the badge that opens a recipe there}, the address that its setup cell installs from)."
    settings = ConfigParser(delimiters=['='], interpolation=None)
    settings.read(ROOT/'settings.ini', encoding='utf-8')
    own = settings['DEFAULT']
    place = f"{own['user']}/{own['repo']}"
    file = f"{place}/blob/{own['branch']}/nbs/recipes/{name}"
    colab = f'https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/{file}'
    kaggle = f'https://kaggle.com/static/images/open-in-kaggle.svg)](https://kaggle.com/kernels/welcome?src=https://github.com/{file}'
    badges = {platform: f'[![Open in {platform}]({link})' for platform, link in (('Colab', colab), ('Kaggle', kaggle))}
    return badges, f'git+https://github.com/{place}'


def sign(nb, name):
    "Make a recipe's badges, and the address in its setup cell, those of settings.ini; badges that are missing go below the promise."
    badges, address = where_it_opens(name)
    head = nb.cells[0]
    for platform, badge in badges.items():
        head.source, found = re.subn(rf'\[!\[Open in {platform}\]\([^)]*\)\]\([^)]*\)', lambda _: badge, head.source)
        if not found: head.source = re.sub(r'^(> .*(?:\n>.*)*)', lambda promise: f'{promise[0]}\n\n{badge}', head.source, count=1, flags=re.MULTILINE)
    for cell in nb.cells:
        if cell.cell_type == 'code' and '%pip install' in cell.source:
            cell.source = re.sub(r'git\+https://[^"\'\s]+', address, cell.source)


def execute(paths):
    "Run each notebook in place and keep its outputs."
    total = time.perf_counter()
    for path in find_notebooks(paths):
        start, nb = time.perf_counter(), nbformat.read(path, 4)
        print(f'{shown(path)} ', end='', flush=True)
        try:
            run(nb, path.parent)
        except SystemExit as error:
            sys.exit(f'\n{shown(path)}: {error}')
        tidy(nb)
        if path.resolve().is_relative_to(NBS/'recipes'): sign(nb, path.name)
        nbformat.write(nb, path)
        print(f'{time.perf_counter() - start:.0f} s', flush=True)
    print(f'{time.perf_counter() - total:.0f} s in all')


# --- The demo ----------------------------------------------------------------------------------

def text_of(cell):
    "What the cell shows, as text."
    parts = []
    for output in cell.get('outputs', []):
        if output.get('name') == 'stdout': parts.append(output.text)
        elif 'data' in output: parts.append(output.data.get('text/markdown') or output.data.get('text/plain', ''))
    silent = '<IPython', '<Figure', '<Axes', '```html'
    return '\n'.join(p.rstrip() for p in parts if p.strip() and not p.startswith(silent) and not BAR.match(p))


def say(cell):
    "Print a notebook's headings, and what its cells answer, as they come."
    if cell.cell_type == 'markdown':
        for title in re.findall(r'^#+\s+(.+)$', re.sub(r'```.*?```', '', cell.source, flags=re.DOTALL), re.MULTILINE):
            print(f'\n{title}', flush=True)
    elif not has_tag(cell, 'summary') and (text := text_of(cell)):
        print('\n'.join('    ' + line for line in ANSI.sub('', text).splitlines()[:12]), flush=True)


def write_html(nb, path):
    "One file with its pictures inside, that loads nothing from elsewhere."
    from nbconvert import HTMLExporter
    nb = nbformat.from_dict({**nb, 'metadata': {k: v for k, v in nb.metadata.items() if k != 'widgets'}})
    urls = 'mathjax_url', 'require_js_url', 'jquery_url', 'widget_renderer_url', 'mermaid_js_url'
    html, _ = HTMLExporter(embed_images=True, **dict.fromkeys(urls, '')).from_notebook_node(nb)
    html = re.sub(r'<script\b[^>]*\bsrc="[^"]*"[^>]*>\s*</script>|<img\b[^>]*\bsrc="https?:[^>]*>', '', html)
    path.write_text(html, encoding='utf-8')


def demo(notebook, out):
    "Run a copy of `notebook` in sight of the reader; the results go to `out`."
    source, out, start = Path(notebook), Path(out).resolve(), time.perf_counter()
    if not source.is_file(): sys.exit(f'{notebook}: there is no such notebook')
    out.mkdir(parents=True, exist_ok=True)
    os.environ['SAT_RECIPES_OUTPUTS'] = str(out.parent)
    nb, target = nbformat.read(source, 4), out/source.name
    print(f'Running {shown(source)}: {len(nb.cells)} cells', flush=True)
    try:
        run(nb, source.parent, say)
    except SystemExit as error:
        sys.exit(f'\n{shown(source)}: {error}\nAs far as it came: {shown(target)}')
    finally:
        tidy(nb)
        nbformat.write(nb, target)
    write_html(nb, target.with_suffix('.html'))
    print('\n' + '\n'.join(text_of(c) for c in nb.cells if has_tag(c, 'summary')) + '\n\nFiles:')
    for path in sorted(p for p in out.glob('[!.]*') if p.is_file()):
        print(f'  {shown(path)}  ({path.stat().st_size/1e6:.1f} MB)')
    print(f'Done in {time.perf_counter() - start:.0f} s')


# --- README ------------------------------------------------------------------------------------

def as_markdown(cell):
    "A cell as GitHub's markdown: text as it is, code and text outputs as blocks."
    if cell.cell_type != 'code': return cell.source.strip()
    code = f'```python\n{DIRECTIVE.sub("", cell.source).strip()}\n```'
    return '\n\n'.join([code, f'```\n{text}\n```'] if (text := text_of(cell)) else [code])


def readme_text():
    "nbs/index.ipynb as GitHub's markdown; paths are seen from the top of the repository."
    cells = nbformat.read(NBS/'index.ipynb', 4).cells
    text = '\n\n'.join(as_markdown(c) for c in cells if not HIDDEN.search(c.source) and not has_tag(c, 'site-only'))
    text = re.sub(r'(\]\(|src=")\.\./', r'\1', text)
    return re.sub(r'(\]\(|src=")((?:recipes|api)/)', r'\1nbs/\2', text) + '\n'


def readme():
    "Write README.md, and the front page's picture: what the quickstart's cell tagged `cover` shows."
    cells = nbformat.read(NBS/'recipes/00_quickstart.ipynb', 4).cells
    pictures = [o.data['image/png'] for c in cells if has_tag(c, 'cover') for o in c.outputs if 'image/png' in o.get('data', {})]
    if pictures: (ROOT/'docs/static/quickstart.png').write_bytes(base64.b64decode(pictures[0]))
    (ROOT/'README.md').write_text(readme_text(), encoding='utf-8')
    print('README.md written')


def main():
    parser = argparse.ArgumentParser(description='Run the notebooks, and write README.md.')
    commands = parser.add_subparsers(dest='command', required=True)
    command = commands.add_parser('execute', help='run notebooks in place and keep their outputs')
    command.add_argument('paths', nargs='*', help='notebooks or folders; all of nbs/ if none is named')
    command = commands.add_parser('demo', help='run a copy of one notebook in sight of the reader')
    command.add_argument('notebook')
    command.add_argument('--out', default='outputs/quickstart', help='folder for the results')
    commands.add_parser('readme', help='write README.md from nbs/index.ipynb')
    args = parser.parse_args()
    if args.command == 'execute': execute(args.paths)
    elif args.command == 'demo': demo(args.notebook, args.out)
    else: readme()


if __name__ == '__main__':
    main()
