"""Random rasters, read and mapped, against rasterio's own numbers: number types, nodata, masks, places, layouts.

Seeded: a case that fails is named by its number and can be made again."""
import json
from functools import cache

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from fastai.learner import Learner
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.shutil import copy as copy_raster
from torch import nn

from sat_recipes.multiband import MultibandDataLoaders
from sat_recipes.raster import raster_info, read_raster, read_reflectance
from sat_recipes.store import PatchStore
import sat_recipes.predict  # Learner.predict_scene

pytestmark = pytest.mark.filterwarnings('ignore')
N_READ, N_MAPPED, N_STORED, CHUNK = 400, 100, 200, 20
TYPES = 'uint8', 'uint16', 'int16', 'uint32', 'int32', 'float32', 'float64'
MASKS = 'none', 'internal', 'msk', 'alpha', 'per band', 'aux', 'NaN'
SCALE = dict(uint8=1/255, float32=1., float64=1.)


def choice(rng, options): return options[rng.integers(len(options))]


def place(rng):
    "(CRS or None, transform)"
    shift, size = Affine.translation(*rng.integers(3, 8, 2)*1e5), float(choice(rng, [.5, 10, 30]))
    return choice(rng, [
        (None, Affine.identity()), (None, shift@Affine.scale(size, -size)),
        (CRS.from_epsg(32633), shift@Affine.scale(size, -size)), (CRS.from_epsg(32719), shift@Affine.scale(size, size)),
        (CRS.from_epsg(32633), shift@Affine.rotation(rng.uniform(-80, 80))@Affine.scale(size, -size)),
        (CRS.from_epsg(4326), Affine(1e-4, 0, rng.uniform(-170, 170), 0, -1e-4, rng.uniform(-60, 60)))])


def layout(rng):
    "How the file is stored, by GDAL's names."
    options = dict(photometric='minisblack', interleave=choice(rng, ['pixel', 'band']), compress=choice(rng, [None, 'deflate', 'lzw', 'zstd']))
    if rng.random() < .5: options |= dict(tiled=True, blockxsize=16, blockysize=choice(rng, [16, 32]))
    return {name: value for name, value in options.items() if value}


def numbers(rng, dtype, shape):
    if dtype.startswith('float'): return rng.uniform(.01, 1, shape).astype(dtype)
    return rng.integers(1, 251 if dtype == 'uint8' else 10_000, shape).astype(dtype)


def make(folder, seed, dtype=None, count=None, shape=None):
    "(the path of a random raster, what kind it is)"
    rng = np.random.default_rng(seed)
    kind, (crs, transform) = choice(rng, MASKS), place(rng)
    types = dict(alpha=TYPES[:2], NaN=TYPES[-2:]).get(kind, TYPES)
    dtype, count = dtype or choice(rng, types), count or int(rng.integers(1, 5))
    height, width = shape or rng.integers(1, 41, 2).tolist()
    is_float = dtype.startswith('float')
    if kind == 'alpha' and dtype not in ('uint8', 'uint16'): kind = 'internal'
    if kind == 'NaN' and not is_float: kind = 'aux'
    nodata = choice(rng, [None, 0, np.nan if is_float else np.iinfo(dtype).max])
    if kind in ('internal', 'msk', 'alpha') and rng.random() < .7: nodata = None
    data = numbers(rng, dtype, (count, height, width))
    hole = rng.random((height, width)) < rng.uniform(0, .6)
    hole.flat[rng.integers(hole.size)] = False  # something was seen
    some = hole & (rng.random((count, height, width)) < .8)  # in some bands only
    if nodata is not None: data[some] = nodata
    if kind == 'NaN': data[some] = np.nan
    profile = dict(driver='GTiff', count=count + (kind == 'alpha'), height=height, width=width, dtype=dtype, crs=crs,
                   transform=transform, nodata=None if kind in ('per band', 'aux') else nodata) | layout(rng)
    path = folder/f'{seed}.tif'
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=kind == 'internal'), rasterio.open(path, 'w', **profile) as target:
        if kind == 'alpha': # told before there are pixels
            target.colorinterp = [ColorInterp.gray, *[ColorInterp.undefined]*(count - 1), ColorInterp.alpha]
            target.write((~hole*np.iinfo(dtype).max).astype(dtype), count + 1)
        target.write(data, list(range(1, count + 1)))
        if kind in ('internal', 'msk'): target.write_mask(~hole)
    if kind == 'aux':
        bands = ''.join(f'<PAMRasterBand band="{i}"><NoDataValue>0</NoDataValue></PAMRasterBand>' for i in range(1, count + 1))
        path.with_name(path.name + '.aux.xml').write_text(f'<PAMDataset>{bands}</PAMDataset>')
        data[some] = 0
        with rasterio.open(path, 'r+') as target: target.write(data)
    if kind == 'per band' or rng.random() < .15: path = as_vrt(path, rng if kind == 'per band' else None)
    return path, kind


def as_vrt(path, rng=None):
    "A VRT of a raster, with another nodata value for each band if there is `rng`."
    copy_raster(path, path.with_suffix('.vrt'), driver='VRT')
    path = path.with_suffix('.vrt')
    if rng is not None:
        before, *bands = path.read_text().split('<VRTRasterBand ')
        with rasterio.open(path) as source: found = [band.flat[rng.integers(band.size)].item() for band in source.read()]
        for i, value in enumerate(found):
            head, rest = bands[i].split('>', 1)
            bands[i] = f'{head}><NoDataValue>{value}</NoDataValue>{rest}'
        path.write_text('<VRTRasterBand '.join([before, *bands]))
    return path


def truth(path):
    "What rasterio says: (numbers of the bands, True where they were seen, (crs, transform), bands that are no alpha)"
    with rasterio.open(path) as source:
        bands = [i for i, kind in zip(source.indexes, source.colorinterp) if kind != ColorInterp.alpha]
        data = source.read(bands)
        seen = (source.read_masks(bands) > 0) & np.isfinite(data)
        for i in set(source.indexes) - set(bands): seen &= source.read(i) > 0  # GDAL forgets it beside nodata, or 3 bands
        return data, seen, (source.crs, source.transform)


def reflectance_of(data): return data.astype('float32')*np.float32(SCALE.get(str(data.dtype), 1e-4))


def cases(n): return pytest.mark.parametrize('start', range(0, n, CHUNK))


@cases(N_READ)
def test_reading(tmp_path, start):
    for seed in range(start, start + CHUNK):
        path, kind = make(tmp_path, seed)
        data, seen, (crs, transform) = truth(path)
        raster, info = read_raster(path), raster_info(path)
        about = seed, kind, data.dtype, info.nodata
        assert raster.data.shape == data.shape == info.shape and str(data.dtype) == info.dtype, about
        assert (raster.crs, raster.transform) == (crs, transform), about
        assert (raster.data == data)[seen].all(), about
        assert (raster.valid == seen.all(0)).all(), about
        if not seen.any(): continue
        reflectance = read_reflectance(path).data
        assert (np.isfinite(reflectance) == seen).all(), about
        np.testing.assert_allclose(reflectance[seen], reflectance_of(data)[seen], rtol=1e-6, err_msg=str(about))


@cases(N_STORED)
def test_packing(tmp_path, start):
    "Patches of one type and shape, each with a mask or nodata of its own kind."
    rng = np.random.default_rng(start)
    for group in range(start, start + CHUNK, 5):
        options = dict(dtype=choice(rng, TYPES), count=int(rng.integers(1, 4)), shape=rng.integers(4, 20, 2).tolist())
        paths = [make(tmp_path, 10_000 + group + i, **options)[0] for i in range(5)]
        paths = [path for path in paths if truth(path)[1].any()]
        store = PatchStore.pack(paths, tmp_path/f'store_{group}', n_workers=1)
        for i, path in enumerate(paths):
            data, seen, (crs, transform) = truth(path)
            raster, about = store[i], (group, i)
            assert raster.data.shape == data.shape and raster.transform == transform and raster.crs == crs, about
            assert (raster.data == data)[seen].all() and (raster.valid == seen.all(0)).all(), about


@cache
def learner(folder, count):
    "Class 1 where the first band is brighter than 0.5, from each pixel alone."
    rng = np.random.default_rng(count)
    for name, data in (('scene.tif', numbers(rng, 'uint16', (count, 32, 32))), ('mask.tif', rng.integers(0, 2, (1, 32, 32)).astype('uint8'))):
        with rasterio.open(folder/name, 'w', driver='GTiff', count=len(data), height=32, width=32, dtype=data.dtype) as target: target.write(data)
    dls = MultibandDataLoaders.from_scenes(folder/'scene.tif', folder/'mask.tif', ['dark', 'bright'], size=8, bs=4, batch_tfms=None)
    net, norm = nn.Conv2d(count, 2, 1), dls.after_batch.multiband_normalize
    with torch.no_grad():  # 8*(reflectance - .5), of what is normalized
        net.weight.zero_()
        net.bias.zero_()
        net.weight[1, 0], net.bias[1] = 8*norm.std.flatten()[0], 8*(norm.mean.flatten()[0] - .5)
    return Learner(dls, net, path=folder)


@cases(N_MAPPED)
def test_mapping(tmp_path, tmp_path_factory, start):
    for seed in range(20_000 + start, 20_000 + start + CHUNK):
        path, kind = make(tmp_path, seed, count=seed % 3 + 1)
        data, seen, (crs, transform) = truth(path)
        about = seed, kind, data.dtype
        if not seen.any(): continue
        learn = learner(tmp_path_factory.getbasetemp(), len(data))
        mapped = learn.predict_scene(path, tmp_path/f'map_{seed}.tif', size=8, progress=False)
        with rasterio.open(mapped) as source:
            assert source.shape == data.shape[1:] and source.crs == crs, about
            assert np.allclose(source.transform, transform), about
            lost, codes, names = source.read_masks(1) == 0, source.read(1), json.loads(source.tags()['class_names'])
        assert (lost == ~seen.any(0)).all(), about
        bright = reflectance_of(data)[0]
        clear = seen.all(0) & (np.abs(bright - .5) > 1e-3)
        want = (bright > .5)[clear]
        assert ([names[str(code)] == 'bright' for code in codes[clear]] == want).all(), about
