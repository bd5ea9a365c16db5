"What several test files write and ask."
import ast
import subprocess
import sys
import warnings
from pathlib import Path

import nbformat
import numpy as np
import pytest
import rasterio
from affine import Affine

ROOT = Path(__file__).resolve().parent.parent
RECIPES = ROOT/'nbs/recipes'
UP = Affine(10, 0, 5e5, 0, -10, 5e6)


@pytest.fixture(scope='session')
def wheel(tmp_path_factory):
    "The wheel, built without touching the network."
    folder = tmp_path_factory.mktemp('dist')
    result = subprocess.run([sys.executable, '-m', 'build', '--wheel', '--outdir', folder, ROOT], capture_output=True, text=True, cwd=folder)
    if result.returncode and 'ould not find a version' in result.stdout + result.stderr: pytest.skip('the build backend cannot be fetched')
    assert result.returncode == 0, result.stdout[-800:] + result.stderr[-800:]
    return next(folder.glob('*.whl'))


def tif(path, data=None, crs='EPSG:32633', transform=UP, size=8, alter=None, **options):
    "A GeoTIFF of some data, or of four random bands; `alter` does something to it before the numbers are written."
    if data is None: data = np.random.default_rng(0).integers(100, 3000, (4, size, size)).astype('uint16')
    data = np.asarray(data)
    data = data if data.ndim == 3 else data[None]
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = dict(count=len(data), height=data.shape[1], width=data.shape[2], dtype=data.dtype, crs=crs, transform=transform)
    with rasterio.open(path, 'w', driver='GTiff', **profile, **options) as file:
        if alter: alter(file)
        file.write(data)
    return path


def said(function):
    "(value, warnings) of a call."
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter('always')
        value = function()
    return value, ' '.join(str(w.message) for w in told if issubclass(w.category, UserWarning))


def taken(recipe, *names, **known):
    "The functions of a recipe, by name, among the names that it would know by then."
    path, = RECIPES.glob(f'{recipe}*.ipynb')
    scope, found = dict(known), set()
    for cell in nbformat.read(path, 4).cells:
        if cell.cell_type != 'code' or '%pip' in cell.source: continue
        wanted = [node for node in ast.parse(cell.source).body if isinstance(node, ast.FunctionDef) and node.name in names]
        exec(compile(ast.Module(wanted, []), recipe, 'exec'), scope)
        found |= {node.name for node in wanted}
    assert found == set(names), f'recipe {recipe} defines no {set(names) - found}'
    return scope
