"""docs/notebooks.py: what is run, what is stored, and what is said when a cell fails."""
import importlib.util
import re
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

ROOT = Path(__file__).resolve().parent.parent
spec = importlib.util.spec_from_file_location('run_notebooks', ROOT/'docs/notebooks.py')
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)

LOUD = '''import os, sys, warnings
from pathlib import Path
print('noise', file=sys.stderr)
warnings.warn('noise')
print(Path.home()/'a.tif', Path.cwd())'''
SLIDER = 'import ipywidgets\nipywidgets.IntSlider(value=3, description="threshold")'
BAR = 'from tqdm.auto import tqdm\nfor i in tqdm(range(3)): pass'


def write(path, *cells):
    nbformat.write(new_notebook(cells=list(cells)), path)
    return path


def outputs(path): return [c.outputs for c in nbformat.read(path, 4).cells if c.cell_type == 'code']


def test_execute_keeps_results_and_leaves_out_the_rest(tmp_path):
    path = write(tmp_path/'n.ipynb', new_code_cell('#| eval: false\n1/0'), new_code_cell(LOUD), new_code_cell(SLIDER), new_code_cell(BAR))
    tool.execute([path])
    skipped, loud, slider, bar = outputs(path)
    assert not any('tags' in c.metadata for c in nbformat.read(path, 4).cells)
    assert skipped == bar == []
    assert [o.name for o in loud] == ['stdout'] and loud[0].text.startswith('~/a.tif') and str(Path.home()) not in loud[0].text
    assert tool.WIDGET in slider[0].data
    assert 'application/vnd.jupyter.widget-state+json' in nbformat.read(path, 4).metadata.widgets
    assert not any(c.metadata.get('execution') for c in nbformat.read(path, 4).cells)


def test_widgets_that_are_shown_are_stored_the_same_in_each_run(tmp_path):
    path = write(tmp_path/'n.ipynb', new_code_cell('import ipywidgets\nunseen = ipywidgets.IntSlider()'), new_code_cell(BAR), new_code_cell(SLIDER))
    stored = []
    for _ in range(2):
        tool.execute([path])
        stored.append(path.read_bytes())
    assert stored[0] == stored[1]
    state = nbformat.read(path, 4).metadata.widgets[tool.WIDGETS].state
    assert [model.model_name for model in state.values()] == ['IntSliderModel', 'LayoutModel', 'SliderStyleModel']
    assert state[outputs(path)[2][0].data[tool.WIDGET].model_id].state.layout == f'IPY_MODEL_{1:032x}'


@pytest.mark.parametrize('source, words', [('x = 1/0', 'ZeroDivisionError'), ('import os; os._exit(1)', 'Kernel died')])
def test_failure_names_notebook_and_cell(tmp_path, source, words):
    path = write(tmp_path/'broken.ipynb', new_code_cell('fine = 1'), new_code_cell(source))
    with pytest.raises(SystemExit, match=rf'(?s)broken\.ipynb.*cell 1.*{words}'): tool.execute([path])
    assert outputs(path) == [[], []]


def test_demo_shows_what_is_found_and_writes_one_page_that_needs_no_network(tmp_path, capsys):
    heading = new_markdown_cell('## A heading\n\n```bash\n# a comment\n```')
    summary = new_code_cell('print("IoU 0.9")', metadata={'tags': ['summary']})
    path = write(tmp_path/'n.ipynb', heading, new_code_cell('print("4 bands")\n6*7'), new_code_cell(SLIDER), new_code_cell(BAR), summary)
    tool.demo(path, tmp_path/'out')
    said, html = capsys.readouterr().out, (tmp_path/'out/n.html').read_text()
    assert 'a comment' not in said and '3/3' not in said and said.count('IoU 0.9') == 1
    places = [said.index(words) for words in ('A heading', '    4 bands', '    42', 'IoU 0.9', 'n.html')]
    assert places == sorted(places)
    assert 'IoU 0.9' in html and not re.search(r'<script[^>]*\bsrc=|<link[^>]*\bhref="http|unpkg', html)


def test_a_demo_that_fails_keeps_what_it_has(tmp_path):
    path = write(tmp_path/'n.ipynb', new_code_cell('print("first")'), new_code_cell('1/0'))
    with pytest.raises(SystemExit, match='(?s)cell 1.*ZeroDivisionError.*As far as it came'): tool.demo(path, tmp_path/'out')
    assert outputs(tmp_path/'out/n.ipynb')[0][0].text == 'first\n'


def test_readme_is_the_front_page():
    assert (ROOT/'README.md').read_text(encoding='utf-8') == tool.readme_text(), 'say `make readme`'


def test_the_front_page_lists_every_recipe():
    listed = re.findall(r'\| \d\d \| \[[^]]+\]\([^)]*recipes/(\w+\.ipynb)\)', tool.readme_text())
    assert listed == sorted(p.name for p in (ROOT/'nbs/recipes').glob('[0-9]*.ipynb'))


RECIPES = sorted((ROOT/'nbs/recipes').glob('[0-9]*.ipynb'))


@pytest.mark.parametrize('path', RECIPES, ids=lambda path: path.stem)
def test_badges_and_setup_cell_are_those_of_the_settings(path):
    "One badge for Colab and one for Kaggle, and a setup cell that installs this package where it is missing, and nothing of what Colab has."
    notebook = nbformat.read(path, 4)
    badges, address = tool.where_it_opens(path.name)
    for badge in badges.values(): assert notebook.cells[0].source.count(badge) == 1
    setup, = [cell.source for cell in notebook.cells if cell.cell_type == 'code' and '%pip install' in cell.source]
    assert setup.startswith('try:\n    import sat_recipes') and 'except ImportError:' in setup and setup.count(address) == 1
    installed = re.search(r'%pip install -q (.*)', setup)[1]
    assert 'sat-recipes' in installed and not re.search(r'(^|[\s"])(torch|torchvision|numpy|ipykernel|-\S+)(?![\w-])', installed), installed
    before = nbformat.writes(notebook)
    tool.sign(notebook, path.name)
    assert nbformat.writes(notebook) == before


def test_badges_that_are_missing_or_of_others_are_mended():
    head = '# Mine\n\n> A promise\n> in two lines.\n\n[![Open in Colab](https://a/b.svg)](https://c/d.ipynb)\n\nText.'
    setup = 'try:\n    import sat_recipes\nexcept ImportError:\n    %pip install -q x "other @ git+https://github.com/a/b"'
    notebook = new_notebook(cells=[new_markdown_cell(head), new_code_cell(setup)])
    tool.sign(notebook, '77_mine.ipynb')
    badges, address = tool.where_it_opens('77_mine.ipynb')
    assert notebook.cells[0].source == f'# Mine\n\n> A promise\n> in two lines.\n\n{badges["Kaggle"]}\n\n{badges["Colab"]}\n\nText.'
    assert notebook.cells[1].source.endswith(f'install -q x "other @ {address}"')
    assert all('/nbs/recipes/77_mine.ipynb)' in badge for badge in badges.values())
