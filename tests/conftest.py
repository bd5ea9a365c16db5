"What several test files write and ask."
import warnings

import numpy as np
import rasterio
from affine import Affine

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
