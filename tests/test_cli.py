"The command line, from an installed wheel outside the repository: answers, exit codes, bad arguments, and what doctor finds."
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile

import nbformat
import numpy as np
import pytest
import rasterio
from conftest import RECIPES, tif
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from sat_recipes import cli, compute

COMMANDS = ['list', 'open', 'run', 'predict', 'data', 'doctor']
NUMBERS = [path.name[:2] for path in sorted(RECIPES.glob('[0-9]*.ipynb'))]
HEAD = '# Tiny\n\n> A promise.\n\n| | |\n|---|---|\n| **Time** | no minutes. |'


@pytest.fixture(scope='module')
def site(wheel, tmp_path_factory):
    "The wheel as pip installs it, and beside its recipes one that works (98) and one that fails (97)."
    folder = tmp_path_factory.mktemp('site')
    subprocess.run([sys.executable, '-m', 'pip', 'install', '--quiet', '--no-deps', '--target', folder, wheel], check=True)
    for number, source in [('98', 'import os\nos.environ["SAT_RECIPES_BUDGET"]'), ('97', '1/0')]:
        cells = [new_markdown_cell(HEAD), new_code_cell('print("begun")'), new_code_cell(source)]
        nbformat.write(new_notebook(cells=cells), folder/f'sat_recipes/recipes/{number}_tiny.ipynb')
    return folder


@pytest.fixture
def say(site, tmp_path):
    "Say a line to the installed program, in a folder outside the repository; `before` goes ahead of it on the path of imports."
    def run(*words, before=None, **variables):
        path = os.pathsep.join(str(folder) for folder in (before, site) if folder)
        environment = {**os.environ, 'PYTHONPATH': path, 'MPLBACKEND': 'agg', 'OMP_NUM_THREADS': '1', **variables}
        done = subprocess.run([site/'bin/sat-recipes', *map(str, words)], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
        assert 'Traceback' not in done.stderr, done.stderr
        return done
    return run


# --- Arguments -----------------------------------------------------------------------------------

def test_help_has_an_example_of_each_command_and_the_exit_codes(say):
    told = say('--help')
    assert told.returncode == 0 and 'exit codes: 0 done' in told.stdout
    for name in COMMANDS: assert re.search(rf'^  sat-recipes {name}\b', told.stdout, re.MULTILINE), name


@pytest.mark.parametrize('name', COMMANDS)
def test_each_command_explains_itself(name, capsys):
    with pytest.raises(SystemExit) as ended: cli.main([name, '--help'])
    told = capsys.readouterr().out
    assert ended.value.code == 0 and f'example: sat-recipes {name}' in told and '--json' in told


@pytest.mark.parametrize('words', [[], ['fly'], ['open'], ['predict', 'a', 'b'], ['predict', 'a', 'b', 'c', 'd'], ['list', '--fast'], ['run', '00', '--budget']])
def test_wrong_arguments_end_with_2(words, capsys):
    with pytest.raises(SystemExit) as ended: cli.main(words)
    told = capsys.readouterr()
    assert ended.value.code == 2 and told.out == '' and told.err.startswith('usage: sat-recipes')


def test_wrong_arguments_of_the_installed_program(say):
    assert say().returncode == say('fly').returncode == say('open').returncode == 2
    assert say('--version').stdout.strip()


# --- Recipes -------------------------------------------------------------------------------------

def test_the_wheel_carries_the_recipes_without_outputs(wheel):
    packed = zipfile.ZipFile(wheel)
    names = [name for name in packed.namelist() if name.startswith('sat_recipes/recipes/')]
    assert [name.split('/')[-1][:2] for name in sorted(names)] == NUMBERS
    for name in names:
        notebook = nbformat.reads(packed.read(name).decode(), 4)
        assert 'widgets' not in notebook.metadata
        assert not any(cell.get('outputs') or cell.get('execution_count') for cell in notebook.cells), name
        assert not re.search(r'\]\((\.\./|\d\d_)\S*\.ipynb', '\n'.join(cell.source for cell in notebook.cells)), name
    assert wheel.stat().st_size < 2e6


def test_list(say):
    told = say('list', '--json')
    rows = {row['number']: row for row in json.loads(told.stdout)}
    assert told.returncode == 0 and [*rows] == sorted({*NUMBERS, '97', '98'})
    assert rows['00']['title'].startswith('Quickstart') and rows['00']['megabytes'] == .8 and 'minutes' in rows['00']['time']
    lines = say('list').stdout.splitlines()
    assert len(lines) == len(rows) and lines[0].startswith('00  Quickstart')


def test_open_copies_once_and_keeps_what_was_changed(say, tmp_path):
    told = say('open', '0', '--copy', '--json')
    copy = tmp_path/'00_quickstart.ipynb'
    assert told.returncode == 0 and json.loads(told.stdout) == [{'notebook': copy.name}]
    assert [c.cell_type for c in nbformat.read(copy, 4).cells] == [c.cell_type for c in nbformat.read(RECIPES/copy.name, 4).cells]
    copy.write_text('mine')
    assert say('open', '00', '--copy').returncode == 0 and copy.read_text() == 'mine'


@pytest.mark.parametrize('code', [0, 7])
def test_open_starts_jupyterlab_and_ends_as_it_does(say, tmp_path, code):
    lab = tmp_path/'before/jupyterlab'
    lab.mkdir(parents=True)
    (lab/'__init__.py').touch()
    (lab/'__main__.py').write_text(f'import sys\nprint("lab on", *sys.argv[1:])\nsys.exit({code})')
    told = say('open', '00', before=lab.parent)
    assert told.returncode == code and told.stdout == 'lab on 00_quickstart.ipynb\n' and (tmp_path/'00_quickstart.ipynb').is_file()


def test_open_without_jupyterlab_says_how_to_get_it(say, tmp_path):
    (tmp_path/'before').mkdir()
    (tmp_path/'before/sitecustomize.py').write_text('import sys\nsys.modules["jupyterlab"] = None')
    told = say('open', '00', before=tmp_path/'before')
    assert told.returncode == 1 and 'pip install "sat-recipes[lab]"' in told.stderr and (tmp_path/'00_quickstart.ipynb').is_file()


@pytest.mark.parametrize('words', [['open', '96'], ['run', '96'], ['run', 'no such']])
def test_a_recipe_that_is_not_there(say, words):
    told = say(*words)
    assert told.returncode == 1 and told.stdout == '' and f'There is no recipe {words[1]}: take one of 00, ' in told.stderr


def test_run_keeps_what_is_shown(say, tmp_path):
    told = say('run', '98', '--budget', 'quick', '--json')
    assert told.returncode == 0, told.stderr
    answer, = json.loads(told.stdout)
    cells = nbformat.read(tmp_path/answer['notebook'], 4).cells
    assert answer['notebook'] == '98_tiny_run.ipynb' and answer['seconds'] > 0 and '3/3' in told.stderr
    assert cells[1].outputs[0].text == 'begun\n' and cells[2].outputs[0].data['text/plain'] == "'quick'"


def test_run_that_fails_names_the_cell_and_keeps_the_rest(say, tmp_path):
    told = say('run', '97')
    assert told.returncode == 1 and told.stdout == '' and '97_tiny_run.ipynb failed at cell 3: ZeroDivisionError: division by zero' in told.stderr
    assert nbformat.read(tmp_path/'97_tiny_run.ipynb', 4).cells[1].outputs[0].text == 'begun\n'


# --- Maps and data -------------------------------------------------------------------------------

@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    "(a model in a file, a scene, the map that the learner itself makes of it)."
    from sat_recipes.all import MultibandDataLoaders, multiband_learner, set_seed
    folder = tmp_path_factory.mktemp('trained')
    rng = np.random.default_rng(0)
    for name, level in (('dark', 500), ('bright', 5000)):
        for i in range(4): tif(folder/'patches'/name/f'{i}.tif', (level + rng.integers(0, 400, (4, 32, 32))).astype('uint16'))
    scene = tif(folder/'scene.tif', np.repeat(rng.integers(300, 6000, (4, 48, 12)).astype('uint16'), 6, 2))
    set_seed(0)
    dls = MultibandDataLoaders.from_folder(folder/'patches', bs=4, seed=0, num_workers=0)
    learn = multiband_learner(dls, 'resnet18', pretrained=False, min_size=0)
    learn.save_model(folder/'model.safetensors')
    learn.predict_scene(scene, folder/'own.tif', 'both', progress=False)
    return folder/'model.safetensors', scene, folder/'own.tif'


def test_predict_maps_as_the_learner_does(say, trained, tmp_path):
    model, scene, own = trained
    told = say('predict', model, scene, tmp_path/'map.tif', '--output', 'both', '--json')
    assert told.returncode == 0, told.stderr
    maps = [row['map'] for row in json.loads(told.stdout)]
    assert maps == [str(tmp_path/'map.tif'), str(tmp_path/'map_probabilities.tif')]
    for name in ('', '_probabilities'):
        with rasterio.open(tmp_path/f'map{name}.tif') as made, rasterio.open(own.with_stem(f'own{name}')) as expected:
            assert made.crs == expected.crs and made.transform == expected.transform
            assert np.allclose(made.read(), expected.read(), atol=1e-5, equal_nan=True)


@pytest.mark.parametrize('case, words', [
    ('no model', 'no such.safetensors'), ('no scene', 'no such.tif'), ('a scene as model', 'safetensors'),
    ('map over scene', 'give the map another name'), ('no such output', 'everything')])
def test_predict_that_cannot(trained, tmp_path, capsys, case, words):
    model, scene, _ = map(str, trained)
    out = str(tmp_path/'map.tif')
    line = {'no model': ['no such.safetensors', scene, out], 'no scene': [model, 'no such.tif', out], 'a scene as model': [scene, scene, out],
            'map over scene': [model, scene, scene], 'no such output': [model, scene, out, '--output', 'everything']}[case]
    assert cli.main(['predict', *line, '--json']) == 1
    told = capsys.readouterr()
    assert told.out == '' and words in told.err.splitlines()[-1] and told.err.splitlines()[-1].startswith('sat-recipes: ')
    assert not (tmp_path/'map.tif').exists()


def test_data(say):
    rows = json.loads(say('data', '--json').stdout)
    assert {'eurosat_small', 's2_clearings'} <= {row['name'] for row in rows} and all(row['license'] for row in rows)
    told = say('data', '--fetch', 'nothing')
    assert told.returncode == 1 and told.stdout == '' and "'nothing' is not known here: take one of eurosat_ms" in told.stderr


def test_data_fetches(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(cli, 'get_data', lambda name: print('Fetching') or tmp_path)
    assert cli.main(['data', '--fetch', 'eurosat_small', '--json']) == 0
    told = capsys.readouterr()
    row, = json.loads(told.out)
    assert row['folder'] == str(tmp_path) and 'Helber' in row['cite'] and 'Fetching' in told.err


def test_a_stop_ends_with_130(monkeypatch):
    def stop(): raise KeyboardInterrupt
    monkeypatch.setitem(cli.COMMANDS, 'list', (stop, ''))
    assert cli.main(['list']) == 130


# --- Doctor --------------------------------------------------------------------------------------

@pytest.fixture
def rows(monkeypatch, tmp_path, capsys):
    "What doctor finds: (exit code, {check: row}); in the beginning nothing is wrong."
    for platform in compute.PLATFORMS.values():
        for name in platform.variables: monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('SAT_RECIPES_CACHE', str(tmp_path/'cache'))
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: shutil._ntuple_diskusage(100*2**30, 50*2**30, 50*2**30))
    monkeypatch.setattr(compute, 'memory', lambda: (16, 12))
    said = subprocess.CompletedProcess([], 0, 'No broken requirements found.\n')
    monkeypatch.setattr(cli.subprocess, 'run', lambda command, **kwargs: said if 'check' in command else said.check_returncode())
    monkeypatch.setattr(compute, '_first_gpu', lambda: (None, 0., 0.))

    def look():
        code = cli.main(['doctor', '--json'])
        return code, {row['check']: row for row in json.loads(capsys.readouterr().out)}
    return look


def test_doctor_finds_nothing_wrong(rows):
    code, found = rows()
    assert code == 0 and {row['state'] for row in found.values()} == {'ok'} and not any(row['mend'] for row in found.values())


def missing(name): return lambda patch: patch.setitem(sys.modules, name, None)


def full(patch): patch.setattr(shutil, 'disk_usage', lambda path: shutil._ntuple_diskusage(2**30, 2**30, 0))


def unmet(patch):
    said = subprocess.CompletedProcess([], 1, 'other 1 requires x, which is not installed.\nsat-recipes 0.1.0 requires timm, which is not installed.\n')
    patch.setattr(cli.subprocess, 'run', lambda command, **kwargs: said)


def blind(patch): patch.setattr(compute, '_first_gpu', lambda: ('Tesla T4', 15., 14.))


def small(patch): patch.setattr(compute, 'memory', lambda: (2, 1))


def colab(patch): patch.setenv('COLAB_RELEASE_TAG', 'x')


def late(patch):
    patch.setenv('DEEPNOTE_PROJECT_ID', 'x')
    patch.setattr(compute, 'session_hours', lambda: 7.5)


@pytest.mark.parametrize('harm, check, state, found, mend', [
    (unmet, 'packages', 'wrong', 'sat-recipes 0.1.0 requires timm', 'pip install --upgrade sat-recipes'),
    (missing('torchvision'), 'torch', 'wrong', 'torchvision', 'install torch and torchvision together'),
    (blind, 'torch', 'wrong', '.', 'CUDA build'),
    (full, 'cache', 'wrong', '0 GB free', 'SAT_RECIPES_CACHE'),
    (small, 'machine', 'note', '1 of 2 GB of memory', 'quick budget'),
    (late, 'machine', 'note', 'at most 0.5 hours left', 'save checkpoints'),
    (colab, 'results', 'note', 'go with the session', 'mount Drive'),
    (missing('jupyterlab'), 'JupyterLab', 'note', 'missing', 'sat-recipes[lab]')])
def test_doctor_says_what_is_wrong_and_how_to_mend_it(monkeypatch, rows, harm, check, state, found, mend):
    if harm is blind and __import__('torch').cuda.is_available(): pytest.skip('this torch does see a GPU')
    harm(monkeypatch)
    code, told = rows()
    assert code == (state == 'wrong')
    assert told[check]['state'] == state and found in told[check]['found'] and mend in told[check]['mend']


def test_doctor_of_the_installed_program(say):
    told = say('doctor')
    assert told.returncode in (0, 1) and re.search(r'^(ok|wrong) +torch ', told.stdout, re.MULTILINE)
