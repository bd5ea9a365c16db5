"What the predict notebook does not show of reading scenes: files of every kind give their numbers, strip by strip; damaged ones give a sentence."
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
from affine import Affine

from sat_recipes.bands import Sensor
from sat_recipes.predict import open_scene
from sat_recipes.raster import RasterError

READER = SimpleNamespace(sensor=Sensor.generic(5), file_sensor=Sensor.generic(5))
PART = SimpleNamespace(sensor=Sensor.generic(5).select([3, 0]), file_sensor=Sensor.generic(5))
HEIGHT, WIDTH = 150, 110


def pixels(dtype, seed=0): return np.random.default_rng(seed).integers(1, 120, (5, HEIGHT, WIDTH)).cumsum(2).astype(dtype)


def write(path, data, **options):
    with rasterio.open(path, 'w', driver='GTiff', count=5, height=HEIGHT, width=WIDTH, dtype=data.dtype, crs='EPSG:32633', transform=Affine(10, 0, 0, 0, -10, 0), **options) as target: target.write(data)
    return path


def check(path, data, reader=READER):
    "The reflectance of a scene as `BlendedScene` reads it, strip after strip, and a part of its columns again."
    numbers = data[[3, 0]] if reader is PART else data
    with open_scene(path, reader) as scene:
        whole = np.concatenate([scene.read(top, min(top + 40, HEIGHT)) for top in range(0, HEIGHT, 40)], 1)
        part = scene.read(7, 99, 13, 77)
        assert scene.scale == {'float32': 1, 'float64': 1, 'uint8': 1/255}.get(data.dtype.name, 1e-4) and scene.offset == 0
    wanted = np.where(numbers == scene.nodata, np.nan, numbers*scene.scale)
    np.testing.assert_allclose(whole, wanted, rtol=1e-6)
    np.testing.assert_array_equal(part, whole[:, 7:99, 13:77])


BLOCKS = {'strips of one row': dict(blockysize=1), 'strips': dict(blockysize=37), 'one strip': dict(blockysize=HEIGHT), 'tiles': dict(tiled=True, blockxsize=32, blockysize=48), 'one tile': dict(tiled=True, blockxsize=256, blockysize=256)}


@pytest.mark.parametrize('blocks', BLOCKS)
@pytest.mark.parametrize('interleave', ['pixel', 'band'])
@pytest.mark.parametrize('compress, predictor', [(None, 1), ('deflate', 2)])
def test_all_layouts(tmp_path, blocks, interleave, compress, predictor):
    data = pixels('uint16')
    path = write(tmp_path/'scene.tif', data, interleave=interleave, compress=compress, **({'predictor': predictor} if compress else {}), **BLOCKS[blocks])
    for reader in (READER, PART): check(path, data, reader)


@pytest.mark.parametrize('dtype', ['uint8', 'int8', 'uint16', 'int16', 'uint32', 'int32', 'float32', 'float64'])
def test_number_types(tmp_path, dtype):
    data = pixels(dtype)
    if dtype.startswith('float'):
        data = data/10000 # reflectance
        data[:, 3, 5:9] = np.nan
    check(write(tmp_path/'scene.tif', data, compress='deflate', tiled=True, blockxsize=64, blockysize=64), data)


@pytest.mark.parametrize('options', [dict(compress='lzw'), dict(compress='zstd'), dict(compress='deflate', predictor=3), dict(endianness='big'), dict(nbits=12)], ids=str)
def test_other_kinds(tmp_path, options):
    dtype = 'float32' if options.get('predictor') == 3 else 'uint16'
    data = pixels(dtype) % 4000
    if dtype == 'float32': data = data/10000 # reflectance
    check(write(tmp_path/'scene.tif', data, tiled=True, blockxsize=64, blockysize=64, **options), data)


def test_a_file_with_blocks_that_were_never_written(tmp_path):
    path, data = tmp_path/'scene.tif', np.zeros((5, HEIGHT, WIDTH), 'uint16')
    with rasterio.open(path, 'w', driver='GTiff', count=5, height=HEIGHT, width=WIDTH, dtype='uint16', nodata=7, sparse_ok=True, tiled=True, blockxsize=64, blockysize=64, compress='deflate') as target:
        target.write(data[:, :64, :64] + 3, window=rasterio.windows.Window(0, 0, 64, 64))
    data[:] = 7
    data[:, :64, :64] = 3
    check(path, data)


@pytest.mark.parametrize('what', ['flipped', 'cut', 'swapped'])
def test_a_damaged_block_gives_the_sentence_that_names_the_file(tmp_path, what):
    path = write(tmp_path/'scene.tif', pixels('uint16'), compress='deflate', tiled=True, blockxsize=64, blockysize=64)
    data = bytearray(path.read_bytes())
    first = len(data)*3//4  # in the last row of blocks
    if what == 'flipped': data[first + 20:first + 200] = bytes(180)
    elif what == 'cut': del data[first + 100:]
    else: data[first:first + 200] = b'<html>...'.ljust(200)
    path.write_bytes(data)
    with pytest.raises(RasterError, match='scene.tif'), open_scene(path, READER) as scene:
        np.testing.assert_allclose(scene.read(0, 64), pixels('uint16')[:, :64]*1e-4, rtol=1e-6)
        scene.read(64, HEIGHT)
