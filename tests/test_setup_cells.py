"The setup cell of every recipe: where the package is missing it calls pip once, and once it is there it calls nothing."
import json
import subprocess
import sys

import nbformat
import pytest
from conftest import RECIPES

# In a Python of its own: an IPython whose %pip writes down what it was asked for, and lets the packages be found from then on.
PLAY = '''
import json, sys
from IPython.core.interactiveshell import InteractiveShell

class Missing:
    names = set()
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in self.names: raise ModuleNotFoundError(f'No module named {name!r}', name=name)

missing, asked, shell = Missing(), [], InteractiveShell.instance()
sys.meta_path.insert(0, missing)

def pip(line):
    asked.append(line)
    missing.names = set()

shell.register_magic_function(pip, 'line', 'pip')
told = {}
for name, source, needed in json.load(sys.stdin):
    for module in [m for m in sys.modules if m.split('.')[0] in needed]: del sys.modules[module]
    missing.names, counts = set(needed), []
    asked.clear()
    for _ in range(2):
        result = shell.run_cell(source, silent=True)
        counts.append(len(asked))
        assert result.success, (name, result.error_before_exec or result.error_in_exec)
    told[name] = counts, list(asked)
print(json.dumps(told))
'''


def setup_cell(path):
    cells = [cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == 'code']
    return cells[0]


@pytest.fixture(scope='module')
def told():
    cells = [(path.stem, setup_cell(path), ['sat_recipes']) for path in sorted(RECIPES.glob('[0-9]*.ipynb'))]
    done = subprocess.run([sys.executable, '-c', PLAY], input=json.dumps(cells), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-1500:]
    return json.loads(done.stdout.splitlines()[-1])


def test_the_first_run_installs_once_and_the_second_nothing(told):
    assert {'00_quickstart', '01_run_it_anywhere'} <= set(told)
    assert {name: counts for name, (counts, _) in told.items()} == {name: [1, 1] for name in told}


def test_what_is_installed_is_this_package_and_no_upgrade(told):
    for name, (_, (line,)) in told.items():
        assert line.startswith('install -q ') and 'sat-recipes' in line and 'git+https://' in line, (name, line)
        assert not {'-U', '--upgrade', '--force-reinstall', 'torch', 'numpy', 'ipykernel'} & set(line.split()), (name, line)
