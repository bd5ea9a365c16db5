"""Run the notebooks, keep what they show, and write README.md from the front page.

    python docs/notebooks.py execute [NOTEBOOK or FOLDER ...]
    python docs/notebooks.py demo NOTEBOOK --out outputs/quickstart
    python docs/notebooks.py readme
"""
import argparse
import base64
import copy
import html as entities
import os
import re
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

# Pictures belong in the notebook, whatever backend the shell asks for.
os.environ['MPLBACKEND'] = 'module://matplotlib_inline.backend_inline'

ROOT = Path(__file__).resolve().parent.parent
NBS = ROOT / 'nbs'
SKIP = re.compile(r'^\s*#\s*\|\s*eval\s*:\s*false\s*$', re.MULTILINE | re.IGNORECASE)
HEADING = re.compile(r'^#{1,6}\s+(.+)$', re.MULTILINE)
FENCED = re.compile(r'^```.*?^```', re.MULTILINE | re.DOTALL)
WIDGET = 'application/vnd.jupyter.widget-view+json'
BAR = re.compile(r'^\s*\S*\s*\d+%\|')  # how tqdm's widget shows itself as text
ANSI = re.compile(r'\x1b\[[0-9;]*[A-Za-z]')


def is_skipped(cell):
    "Whether the cell says `#| eval: false`."
    return bool(SKIP.search(cell.source))


def runnable(nb):
    "The code cells that will run."
    return [c for c in nb.cells if c.cell_type == 'code' and c.source.strip() and not is_skipped(c)]


def has_tag(cell, tag):
    return tag in cell.metadata.get('tags', [])


def find_notebooks(paths):
    "All notebooks in `paths`, or in nbs/, but files and folders that start with _ or a dot."
    found = []
    for path in [Path(p) for p in paths] or [NBS]:
        if not path.exists(): sys.exit(f'{path}: there is no such file or folder')
        if path.is_file():
            found.append(path)
            continue
        hidden = lambda p: any(part[0] in '_.' for part in p.relative_to(path).parts)
        found += sorted(p for p in path.rglob('*.ipynb') if not hidden(p))
    return found


# --- Running -----------------------------------------------------------------------------------

class Client(NotebookClient):
    "Runs a notebook, leaves out cells that say `#| eval: false`, and tells `watch` what happens."
    watch, at = None, 0

    async def async_execute_cell(self, cell, cell_index, execution_count=None, store_history=True):
        self.at = cell_index
        if self.watch: self.watch.cell(cell)
        if cell.cell_type == 'code' and is_skipped(cell): return cell
        return await super().async_execute_cell(cell, cell_index, execution_count, store_history)

    def process_message(self, msg, cell, cell_index):
        if self.watch: self.watch.message(msg)
        return super().process_message(msg, cell, cell_index)


def clear(nb):
    "Forget former outputs and widget state; cells that do not run keep theirs."
    nb.metadata.pop('widgets', None)
    for cell in runnable(nb): cell.outputs, cell.execution_count = [], None


def run(nb, folder, watch=None, timeout=1800):
    "Run `nb` in place, with `folder` as the kernel's working directory."
    clear(nb)
    client = Client(nb, timeout=timeout, kernel_name='python3', record_timing=False,
                    extra_arguments=['--IPKernelApp.log_level=ERROR'],
                    store_widget_state=True, resources={'metadata': {'path': str(folder)}})
    client.watch = watch
    try:
        client.execute()
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        raise SystemExit(failure(nb, error, client.at)) from None


def failure(nb, error, at):
    "One clear paragraph: which cell failed, its first lines, and the error."
    for number, cell in enumerate(nb.cells):
        wrong = [o for o in cell.get('outputs', []) if o.output_type == 'error']
        if wrong and not has_tag(cell, 'raises-exception'):
            source = '\n'.join('    ' + line for line in cell.source.splitlines()[:12])
            trace = ANSI.sub('', '\n'.join(wrong[0].traceback[-2:])) or f'{wrong[0].ename}: {wrong[0].evalue}'
            return f'cell {number} failed:\n{source}\n{trace}'
    return f'stopped at cell {at}: {ANSI.sub("", str(error)).strip().splitlines()[-1]}'


# --- Tidying -----------------------------------------------------------------------------------

def private_places():
    "(path, what to show instead), the longest path first."
    names = {str(ROOT): '.', str(Path.home()): '~', tempfile.gettempdir(): 'tmp', '/tmp': 'tmp'}
    names |= {str(Path(path).resolve()): short for path, short in names.items()}
    return sorted(((p, s) for p, s in names.items() if len(p) > 1), key=lambda pair: -len(pair[0]))


def strip_paths(text):
    "Leave out where the checkout, the home and the temporary folder are."
    for path, short in private_places():
        text = re.sub(re.escape(path) + r'(?=[/\\\s\'"),:;<&]|$)', short, text)
    return text


def tidy_output(output):
    if 'text' in output: output.text = strip_paths(output.text)
    for kind, value in output.get('data', {}).items():
        if kind.startswith('text/') and isinstance(value, str): output.data[kind] = strip_paths(value)
    if output.output_type == 'error': output.traceback = [strip_paths(line) for line in output.traceback]


def is_bar(output):
    "Whether the output is a progress bar, which says nothing once it is done."
    data = output.get('data', {})
    return WIDGET in data and bool(BAR.match(data.get('text/plain', '')))


def tidy(nb):
    "Drop stderr, progress bars, timings and absolute paths from what is stored."
    for cell in nb.cells:
        if cell.cell_type != 'code': continue
        cell.outputs = [o for o in cell.outputs if o.get('name') != 'stderr' and not is_bar(o)]
        for output in cell.outputs: tidy_output(output)
        cell.metadata.pop('execution', None)
    kernel = {'display_name': 'python3', 'language': 'python', 'name': 'python3'}
    nb.metadata = nbformat.from_dict({k: v for k, v in nb.metadata.items() if k != 'language_info'} | {'kernelspec': kernel})


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
        nbformat.write(nb, path)
        print(f'{time.perf_counter() - start:.0f} s', flush=True)
    print(f'All in {time.perf_counter() - total:.0f} s')


def shown(path):
    "The path as a reader would type it."
    path = Path(path).resolve()
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


# --- The demo ----------------------------------------------------------------------------------

class Watch:
    "Prints, while a notebook runs, its headings, the cell it is at, and what the cells print."

    def __init__(self, nb):
        self.total, self.done, self.live = len(runnable(nb)), 0, sys.stdout.isatty()
        self.open = False  # a line that is not ended yet
        self.bars, self.rows = {}, []

    def line(self, text=''):
        if self.open: print()
        self.open = False
        print(text, flush=True)

    def cell(self, cell):
        if cell.cell_type == 'markdown':
            for title in HEADING.findall(FENCED.sub('', cell.source)): self.line(f'\n{title}')
        elif cell.source.strip() and not is_skipped(cell):
            self.done += 1
            self.status(f'  cell {self.done} of {self.total}')

    def status(self, text):
        "On a terminal the line is written over by the next; in a log it is a line of its own."
        if not self.live: return self.line(text)
        print(f'\r\x1b[K{text}', end='', flush=True)
        self.open = True

    def message(self, msg):
        kind, content = msg['msg_type'], msg['content']
        if kind == 'stream': self.stream(content['name'], content['text'])
        elif kind in ('display_data', 'update_display_data'): self.progress(content['data'])
        elif kind in ('comm_open', 'comm_msg'): self.widget(content['comm_id'], content['data'].get('state', {}))

    def widget(self, name, state):
        "A progress bar that is a widget: it tells its end once, then where it is."
        if 'Progress' in str(state.get('_model_name')): self.bars[name] = state.get('max', 0)
        elif self.bars.get(name) and 'value' in state and self.live: self.status(f'  {state["value"]:g} of {self.bars[name]:g}')

    def stream(self, name, text):
        if name == 'stderr': return self.bar(text)
        for line in ANSI.sub('', text).splitlines():
            if line.strip(): self.line('    ' + line)

    def bar(self, text):
        "The last state of a progress bar drawn on stderr; other stderr is left out."
        states = [s for s in re.split(r'[\r\n]', ANSI.sub('', text)) if '%|' in s]
        if states and self.live: self.status('  ' + states[-1].strip()[:110])

    def progress(self, data):
        "A training table gives a line an epoch; a bar or a text that is renewed is written over."
        if html := data.get('text/html'): return self.table(html)
        text = str(data.get('text/plain', '')).strip()
        if self.live and text and '\n' not in text and not text.startswith('<'): self.status('  ' + text[:110])

    def table(self, html):
        "fastai's table of epochs, and its progress bar."
        if '<progress' not in html and 'class="dataframe"' not in html: return
        bare = lambda part: ' '.join(re.sub(r'<[^>]+>', ' ', re.sub(r'<style.*?</style>', '', part, flags=re.DOTALL)).split())
        rows = [bare(re.sub(r'</t[dh]>', '  ', row)) for row in re.findall(r'<tr[^>]*>(.*?)</tr>', html, re.DOTALL)] if 'epoch' in html else []
        if len(rows) < len(self.rows): self.rows = []
        for row in rows[len(self.rows):]: self.line('    ' + '  '.join(f'{word:>10}' for word in row.split()))
        self.rows = rows
        bars = [entities.unescape(bare(bar)) for bar in re.findall(r'</progress>(.*?)(?=<table|<div|$)', html, re.DOTALL)]
        if bars and self.live: self.status('  ' + ', '.join(bars)[:110])


def text_of(cell):
    "What the cell shows, as text."
    parts = []
    for output in cell.outputs:
        if output.output_type == 'stream' and output.name == 'stdout': parts.append(output.text)
        elif 'data' in output: parts.append(output.data.get('text/markdown') or output.data.get('text/plain', ''))
    return '\n'.join(p.rstrip() for p in parts if p.strip())


def without_widgets(nb):
    "A copy that shows widgets as text: live ones would load a script from elsewhere."
    nb = copy.deepcopy(nb)
    nb.metadata.pop('widgets', None)
    for cell in nb.cells:
        for output in cell.get('outputs', []): output.get('data', {}).pop(WIDGET, None)
    return nb


def write_html(nb, path):
    "One file with its pictures inside, that loads nothing from elsewhere."
    from nbconvert import HTMLExporter
    exporter = HTMLExporter(embed_images=True, mathjax_url='', require_js_url='', jquery_url='',
                            widget_renderer_url='', mermaid_js_url='', exclude_input_prompt=True, exclude_output_prompt=True)
    html, _ = exporter.from_notebook_node(without_widgets(nb))
    html = re.sub(r'<script\b[^>]*\bsrc="[^"]*"[^>]*>\s*</script>', '', html)
    html = re.sub(r'<img\b[^>]*\bsrc="https?:[^>]*>', lambda hit: ''.join(re.findall(r'\balt="([^"]*)"', hit.group(0))), html)
    path.write_text(html, encoding='utf-8')


def demo(notebook, out):
    "Run a copy of `notebook` in sight of the reader; the results go to `out`."
    source, out, start = Path(notebook), Path(out).resolve(), time.perf_counter()
    if not source.is_file(): sys.exit(f'{notebook}: there is no such notebook')
    out.mkdir(parents=True, exist_ok=True)
    os.environ['SAT_RECIPES_OUTPUTS'] = str(out.parent)
    nb = nbformat.read(source, 4)
    watch = Watch(nb)
    print(f'Running {shown(source)}: {watch.total} cells', flush=True)
    target = out / source.name
    try:
        run(nb, source.parent, watch)
    except SystemExit as error:
        tidy(nb)
        nbformat.write(nb, target)
        sys.exit(f'\n{shown(source)}: {error}\nAs far as it came: {shown(target)}')
    tidy(nb)
    nbformat.write(nb, target)
    write_html(nb, target.with_suffix('.html'))
    report(nb, out, watch, time.perf_counter() - start)


def report(nb, out, watch, seconds):
    "What was found, where the files are, and how long it took."
    watch.line()
    for cell in nb.cells:
        if cell.cell_type == 'code' and has_tag(cell, 'summary'): print(text_of(cell) + '\n')
    print('Files:')
    for path in sorted(p for p in out.iterdir() if p.is_file() and not p.name.startswith('.')):
        print(f'  {shown(path)}  ({path.stat().st_size / 1e6:.1f} MB)')
    print(f'Done in {seconds:.0f} s')


# --- README ------------------------------------------------------------------------------------

DIRECTIVE = re.compile(r'^#\s*\|.*\n?', re.MULTILINE)


def hidden(cell):
    return bool(re.search(r'^#\s*\|\s*(hide|include:\s*false|default_exp)', cell.source, re.MULTILINE))


def as_markdown(cell):
    "A cell as GitHub's markdown: text as it is, code and text outputs as blocks."
    if cell.cell_type != 'code': return cell.source.strip()
    parts = [f'```python\n{DIRECTIVE.sub("", cell.source).strip()}\n```']
    if text := text_of(cell): parts.append(text if '|---' in text else f'```\n{text}\n```')
    return '\n\n'.join(parts)


def present_rows(source):
    "Leave out the rows of a table that lead to a notebook which is not written yet."
    missing = lambda line: line.startswith('|') and any(not (NBS / link).exists() for link in re.findall(r'\]\(([\w/]+\.ipynb)\)', line))
    return '\n'.join(line for line in source.splitlines() if not missing(line))


def front_picture():
    "Renew the front page's picture: what the quickstart's cell tagged `cover` shows, if it was run."
    cells = nbformat.read(NBS/'recipes/00_quickstart.ipynb', 4).cells
    pictures = (o.data['image/png'] for c in cells if has_tag(c, 'cover') for o in c.outputs if 'image/png' in o.get('data', {}))
    if png := next(pictures, None): (ROOT/'docs/static/quickstart.png').write_bytes(base64.b64decode(png))


def readme_text():
    "nbs/index.ipynb as GitHub's markdown; paths are seen from the top of the repository."
    nb = nbformat.read(NBS / 'index.ipynb', 4)
    cells = [as_markdown(c) for c in nb.cells if not hidden(c) and c.source.strip() and c.cell_type != 'raw']
    text = present_rows('\n\n'.join(cells))
    text = re.sub(r'(\]\(|src=")\.\./', r'\1', text)
    text = re.sub(r'\]\((?!https?:|#|docs/|nbs/|mailto:)((?:recipes|api)/[^)]*)\)', r'](nbs/\1)', text)
    text = re.sub(r'src="((?:recipes|api)/[^"]*)"', r'src="nbs/\1"', text)
    return text + '\n'


def readme():
    "Write README.md and its picture."
    front_picture()
    (ROOT / 'README.md').write_text(readme_text(), encoding='utf-8')
    print('README.md written')


def main():
    parser = argparse.ArgumentParser(description='Run the notebooks, and write README.md.')
    commands = parser.add_subparsers(dest='command', required=True)
    command = commands.add_parser('execute', help='run notebooks in place and keep their outputs')
    command.add_argument('paths', nargs='*', help='notebooks or folders; all of nbs/ if none is named')
    command = commands.add_parser('demo', help='run a copy of one notebook, with visible progress')
    command.add_argument('notebook')
    command.add_argument('--out', default='outputs/quickstart', help='folder for the results')
    commands.add_parser('readme', help='write README.md from nbs/index.ipynb')
    args = parser.parse_args()
    if args.command == 'execute': execute(args.paths)
    elif args.command == 'demo': demo(args.notebook, args.out)
    else: readme()


if __name__ == '__main__':
    main()
