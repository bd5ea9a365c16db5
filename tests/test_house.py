"""How the package is built, read from its source: floors, names, widths, types. Nothing is imported, but for the last test."""
import ast
import importlib
import re
import subprocess
import sys
from configparser import ConfigParser
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# A module imports only from floors below its own, or from its own without a circle.
FLOORS = [
    ['bands', 'raster', 'synthetic', 'datasets', 'splits', 'compute', 'experiments'],  # no torch
    ['images', 'store', 'multiband', 'augment', 'transfer', 'losses', 'metrics', 'detection'],
    ['training', 'tiling', 'predict', 'fully_convolutional', 'uncertainty', 'compress', 'explore'],
    ['widgets', 'cli', 'all'],
]
BANNED = {'numba', 'deflate', 'ctypes', 'isal', 'cython'}
DISTRIBUTIONS = {'sklearn': 'scikit-learn', 'plum': 'plum-dispatch', 'PIL': 'pillow', 'cv2': 'opencv-python-headless', 'yaml': 'pyyaml'}
HOOKS = {'encodes', 'decodes', 'setups'}  # fastai calls them; the docstring of their class says what they do
MODULES = sorted(p.stem for p in (ROOT/'sat_recipes').glob('[!_]*.py'))


@cache
def source(module): return (ROOT/f'sat_recipes/{module}.py').read_text(encoding='utf-8')


@cache
def tree(module): return ast.parse(source(module))


def imports(module):
    "((module of ours, name taken or None), ...), {other packages}."
    ours, others = set(), set()
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            names = [a.name.split('.') for a in node.names]
            ours |= {(parts[1], None) for parts in names if parts[0] == 'sat_recipes' and len(parts) > 1}
            others |= {parts[0] for parts in names if parts[0] != 'sat_recipes'}
        elif isinstance(node, ast.ImportFrom) and (node.level or node.module.split('.')[0] == 'sat_recipes'):
            inside = (node.module or '').removeprefix('sat_recipes').lstrip('.')
            ours |= {(inside, a.name) if inside else (a.name, None) for a in node.names}
        elif isinstance(node, ast.ImportFrom): others.add(node.module.split('.')[0])
    return {(m, name) for m, name in ours if m in MODULES}, others - set(sys.stdlib_module_names)


def is_public(name): return not name.startswith('_')


def public_functions(module):
    "(name, node) of each public function of a module and each public method of its public classes."
    for node in tree(module).body:
        inside = node.body if isinstance(node, ast.ClassDef) and is_public(node.name) else [node]
        for function in inside:
            if isinstance(function, ast.FunctionDef) and is_public(function.name) and not patches_private_class(function):
                yield (function.name if function is node else f'{node.name}.{function.name}'), function


def patches_private_class(function):
    first = next(iter(function.args.args), None)
    return bool(first and first.arg == 'self' and first.annotation and not is_public(ast.unparse(first.annotation)))


# --- Floors --------------------------------------------------------------------------------------

FLOOR_OF = {module: i for i, floor in enumerate(FLOORS) for module in floor}


def test_every_module_stands_on_a_floor(): assert set(MODULES) <= set(FLOOR_OF)


@pytest.mark.parametrize('module', MODULES)
def test_no_arrow_leads_upwards(module):
    assert not {other for other, _ in imports(module)[0] if FLOOR_OF.get(other, -1) > FLOOR_OF.get(module, len(FLOORS))}


def test_there_is_no_circle():
    graph = {module: {other for other, _ in imports(module)[0]} - {module} for module in MODULES}
    while ready := [module for module, needs in graph.items() if not needs & set(graph)]:
        for module in ready: del graph[module]
    assert not graph


def test_the_lowest_floor_needs_no_torch():
    found = {module: imports(module)[1] & {'torch', 'torchvision', 'fastai', 'timm'} for module in FLOORS[0] if module in MODULES}
    assert not {module: names for module, names in found.items() if names}


# --- Names, widths, types ------------------------------------------------------------------------

@pytest.mark.parametrize('module', MODULES)
def test_no_private_name_is_taken_from_another_module(module):
    assert not {(other, name) for other, name in imports(module)[0] if other != module and name and re.match('_(?!_)', name)}


@pytest.mark.parametrize('module', MODULES)
def test_no_line_is_wider_than_120_columns(module):
    assert not [i for i, line in enumerate(source(module).splitlines(), 1) if len(line) > 120]


@pytest.mark.parametrize('module', MODULES)
def test_every_public_function_has_types_and_says_what_it_does(module):
    untyped, silent = [], []
    for name, function in public_functions(module):
        arguments = [a for a in function.args.posonlyargs + function.args.args + function.args.kwonlyargs if a.arg not in ('self', 'cls')]
        if any(a.annotation is None for a in arguments): untyped.append(name)
        short = function.end_lineno - function.lineno < 2 or function.name in HOOKS
        if not short and not ast.get_docstring(function): silent.append(name)
    assert (untyped, silent) == ([], [])


# --- Packages ------------------------------------------------------------------------------------

@cache
def named_packages():
    "Packages in settings.ini: requirements and extras, those for development left out."
    settings = ConfigParser(delimiters=['='], interpolation=None)
    settings.read(ROOT/'settings.ini', encoding='utf-8')
    own = settings['DEFAULT']
    wanted = [own[key] for key in own if key.endswith('requirements') and key != 'dev_requirements']
    return {re.match(r'[\w.-]+', line)[0].lower() for text in wanted for line in text.splitlines() if line.strip()}


@pytest.mark.parametrize('module', MODULES)
def test_every_imported_package_is_named_in_settings_and_none_is_banned(module):
    others = imports(module)[1]
    every = others | {node.names[0].name.split('.')[0] for node in ast.walk(tree(module)) if isinstance(node, ast.Import)}
    assert not every & BANNED
    assert {DISTRIBUTIONS.get(name, name.replace('_', '-')) for name in others} <= named_packages()


def test_all_shadows_nothing_of_fastai():
    fastai, ours = (vars(importlib.import_module(name)) for name in ('fastai.vision.all', 'sat_recipes.all'))
    assert not {name for name in fastai.keys() & ours.keys() if is_public(name) and fastai[name] is not ours[name]}


def test_everything_can_be_imported_without_the_extras():
    code = "import sys; sys.modules['accelerate'] = sys.modules['dask'] = None; from sat_recipes.all import *; MultibandDataLoaders"
    subprocess.run([sys.executable, '-c', code], check=True)
