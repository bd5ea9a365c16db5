"What several test files write and ask."
import ast
import warnings
from pathlib import Path

import nbformat
import numpy as np
import rasterio
from affine import Affine

RECIPES = Path(__file__).resolve().parent.parent/'nbs/recipes'
UP = Affine(10, 0, 5e5, 0, -10, 5e6)


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
