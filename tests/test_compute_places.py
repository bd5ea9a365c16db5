"Faked environments of each platform: what is here, how long it lasts, where files last, and what a recipe costs."
import json
import math
from dataclasses import replace

import pytest

from sat_recipes import compute
from sat_recipes.compute import PLATFORMS, Machine, lasting_dir, machine, output_dir, recipes, session_hours, where_am_i
from sat_recipes.datasets import REGISTRY

CLOUDS = [name for name in PLATFORMS if name != 'local']
STAT = '1 (a (b) c) S 0 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 {start} 100 200\n'


@pytest.fixture(autouse=True)
def nowhere(monkeypatch, tmp_path):
    for name in [n for platform in PLATFORMS.values() for n in platform.variables] + ['SAT_RECIPES_BUDGET', 'SAT_RECIPES_OUTPUTS']:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def pretend(monkeypatch, tmp_path, name, mounted=True, hours=None):
    "Be on a platform: one of its variables, its lasting folder below `tmp_path`, and a machine that was started some hours ago."
    monkeypatch.setenv(PLATFORMS[name].variables[0], 'x')
    folder = tmp_path/'lasting'/name
    if mounted: folder.mkdir(parents=True)
    monkeypatch.setitem(compute.PLATFORMS, name, replace(PLATFORMS[name], lasting=(str(tmp_path/'no such'), str(folder))))
    if hours is not None: monkeypatch.setattr(compute, 'session_hours', lambda: hours)
    return folder


def started(monkeypatch, uptime, stat):
    "A /proc that says since when the machine and its first process have been running."
    files = {'/proc/uptime': uptime, '/proc/1/stat': stat}

    class Fake:
        def __init__(self, path): self.path = str(path)
        def read_text(self):
            if files.get(self.path) is None: raise FileNotFoundError(self.path)
            return files[self.path]
    monkeypatch.setattr(compute, 'Path', Fake)
    monkeypatch.setattr(compute.os, 'sysconf', lambda name: 100)


@pytest.mark.parametrize('name', CLOUDS)
def test_each_variable_gives_its_platform_away(monkeypatch, name):
    for variable in PLATFORMS[name].variables:
        with monkeypatch.context() as only:
            only.setenv(variable, 'x')
            assert where_am_i() == name


@pytest.mark.parametrize('name', CLOUDS)
def test_what_is_left_of_a_session(monkeypatch, tmp_path, name):
    pretend(monkeypatch, tmp_path, name, hours=1.5)
    here = machine()
    assert here.platform == name and here.hours_left == PLATFORMS[name].hours - 1.5
    assert f'at most {here.hours_left:.1f} hours left' in str(here) and str(here).startswith(f'{name}: ')
    monkeypatch.setattr(compute, 'session_hours', lambda: 100)
    assert machine().hours_left == 0


def test_a_machine_of_your_own_has_no_end():
    assert machine().hours_left == math.inf and 'left' not in str(machine())
    assert 'hours' not in str(Machine('local', 2, 8, 4, 100))


@pytest.mark.parametrize('uptime, stat, hours', [
    ('7200.00 100.0', STAT.format(start=0), 2), ('90000.5 1.0', STAT.format(start=int(90000.5*100 - 360000)), 1),
    ('10.0 1.0', STAT.format(start=2000), 0), (None, STAT.format(start=0), 0), ('7200.0', None, 0), ('', '', 0), ('7200.0', '1 (a) S', 0)])
def test_the_age_of_a_session(monkeypatch, uptime, stat, hours):
    "The container's own age, not that of the machine below it; 0 where nothing can be read."
    started(monkeypatch, uptime, stat)
    assert session_hours() == pytest.approx(hours)


@pytest.mark.parametrize('name', CLOUDS)
def test_results_go_where_files_last(monkeypatch, tmp_path, name):
    folder = pretend(monkeypatch, tmp_path, name)
    assert lasting_dir() == folder and output_dir('02') == folder/'outputs/02' and output_dir('02').is_dir()
    monkeypatch.setenv('SAT_RECIPES_OUTPUTS', str(tmp_path/'mine'))
    assert output_dir('02') == tmp_path/'mine/02'


def test_colab_without_drive_has_no_lasting_folder(monkeypatch, tmp_path):
    pretend(monkeypatch, tmp_path, 'colab', mounted=False)
    assert lasting_dir() is None and output_dir('02').resolve() == (tmp_path/'outputs/02').resolve()


def test_the_folders_of_the_platforms():
    found = {name: platform.lasting[0] for name, platform in PLATFORMS.items()}
    assert found == {'kaggle': '/kaggle/working', 'colab': '/content/drive/MyDrive', 'paperspace': '/notebooks', 'deepnote': '/work', 'local': '.'}
    assert all(PLATFORMS[name].page.startswith('https://') and PLATFORMS[name].read for name in CLOUDS)


def test_what_each_recipe_costs():
    found = recipes()
    assert {'00', '01', '02', '33'} <= set(found) and list(found) == sorted(found)
    for number, recipe in found.items():
        assert recipe.number == number and recipe.path.name.startswith(f'{number}_'), number
        assert recipe.title and recipe.promise and 'minute' in recipe.time, number
        assert set(recipe.data) <= set(REGISTRY), number
    assert found['00'].data == ('s2_clearings',)


def test_a_package_without_recipes_has_none(monkeypatch, tmp_path):
    monkeypatch.setattr(compute, 'files', lambda package: tmp_path/'sat_recipes')
    assert recipes() == {}


def test_a_notebook_without_a_head_is_listed_still(monkeypatch, tmp_path):
    folder = tmp_path/'sat_recipes/recipes'
    folder.mkdir(parents=True)
    (folder/'77_mine.ipynb').write_text(json.dumps({'cells': [{'cell_type': 'code', 'source': ["get_data('a')\n", "get_data('a')"]}]}))
    monkeypatch.setattr(compute, 'files', lambda package: tmp_path/'sat_recipes')
    found, = recipes().values()
    assert (found.number, found.title, found.time, found.data) == ('77', '', '', ('a',))
