"What the scenes notebook does not show: files of every kind, read by their blocks or by GDAL, give the same numbers; damaged ones give GDAL's sentence."
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
from affine import Affine

from sat_recipes.bands import Sensor
from sat_recipes.raster import RasterError
from sat_recipes.scenes import block_layout, open_scene

READER = SimpleNamespace(sensor=Sensor.generic(5), file_sensor=Sensor.generic(5))
PART = SimpleNamespace(sensor=Sensor.generic(5).select([3, 0]), file_sensor=Sensor.generic(5))
HEIGHT, WIDTH = 150, 110


def pixels(dtype, seed=0): return np.random.default_rng(seed).integers(1, 120, (5, HEIGHT, WIDTH)).cumsum(2).astype(dtype)


def write(path, data, **options):
    with rasterio.open(path, 'w', driver='GTiff', count=5, height=HEIGHT, width=WIDTH, dtype=data.dtype, crs='EPSG:32633', transform=Affine(10, 0, 0, 0, -10, 0), **options) as target: target.write(data)
    return path


def strips(scene, height=40):
    "The scene as `BlendedScene` reads it: strip after strip, then a part of its columns again."
    whole = np.concatenate([scene.read(top, min(top + height, HEIGHT), 0, WIDTH) for top in range(0, HEIGHT, height)])
    return whole, scene.read(7, 99, 13, 77)


def check(path, data, reader=READER, plain=True):
    wanted = data[[3, 0]] if reader is PART else data
    with open_scene(path, reader) as scene:
        assert (scene.blocks is not None) == plain
        whole, part = strips(scene)
        assert (scene.blocks is not None) == plain
        if plain: assert sum(b.nbytes for b in scene.blocks.kept.values()) <= 256*256*5*data.itemsize
    np.testing.assert_array_equal(whole, wanted.transpose(1, 2, 0))
    np.testing.assert_array_equal(part, wanted.transpose(1, 2, 0)[7:99, 13:77])


BLOCKS = {'strips of one row': dict(blockysize=1), 'strips': dict(blockysize=37), 'one strip': dict(blockysize=HEIGHT), 'tiles': dict(tiled=True, blockxsize=32, blockysize=48), 'one tile': dict(tiled=True, blockxsize=256, blockysize=256)}


@pytest.mark.parametrize('blocks', BLOCKS)
@pytest.mark.parametrize('interleave', ['pixel', 'band'])
@pytest.mark.parametrize('compress, predictor', [(None, 1), ('deflate', 1), ('deflate', 2)])
def test_plain_files_of_all_layouts(tmp_path, blocks, interleave, compress, predictor):
    data = pixels('uint16')
    path = write(tmp_path/'scene.tif', data, interleave=interleave, compress=compress, **({'predictor': predictor} if compress else {}), **BLOCKS[blocks])
    for reader in (READER, PART): check(path, data, reader)


@pytest.mark.parametrize('dtype', ['uint8', 'int8', 'uint16', 'int16', 'uint32', 'int32', 'float32', 'float64'])
@pytest.mark.parametrize('predictor', [1, 2])
def test_number_types(tmp_path, dtype, predictor):
    data = pixels(dtype)
    if dtype.startswith('float'): data[:, 3, 5:9] = np.nan
    check(write(tmp_path/'scene.tif', data, compress='deflate', predictor=predictor, tiled=True, blockxsize=64, blockysize=64), data, plain=predictor == 1 or not dtype.startswith('float'))


@pytest.mark.parametrize('options', [dict(compress='lzw'), dict(compress='zstd'), dict(compress='deflate', predictor=3), dict(endianness='big'), dict(nbits=12)], ids=str)
def test_other_kinds_are_left_to_gdal(tmp_path, options):
    dtype = 'float32' if options.get('predictor') == 3 else 'uint16'
    data = pixels(dtype) % 4000
    check(write(tmp_path/'scene.tif', data, tiled=True, blockxsize=64, blockysize=64, **options), data, plain=False)


def test_a_file_with_blocks_that_were_never_written(tmp_path):
    path, data = tmp_path/'scene.tif', np.zeros((5, HEIGHT, WIDTH), 'uint16')
    with rasterio.open(path, 'w', driver='GTiff', count=5, height=HEIGHT, width=WIDTH, dtype='uint16', nodata=7, sparse_ok=True, tiled=True, blockxsize=64, blockysize=64, compress='deflate') as target:
        target.write(data[:, :64, :64] + 3, window=rasterio.windows.Window(0, 0, 64, 64))
    data[:] = 7
    data[:, :64, :64] = 3
    check(path, data, plain=False)


def test_large_files_and_files_with_overviews(tmp_path):
    data = pixels('uint16')
    check(write(tmp_path/'big.tif', data, bigtiff='yes', compress='deflate', tiled=True, blockxsize=64, blockysize=64), data)
    path = write(tmp_path/'overviews.tif', data, compress='deflate', tiled=True, blockxsize=64, blockysize=64)
    with rasterio.open(path, 'r+') as target: target.build_overviews([2, 4])
    check(path, data)


@pytest.mark.parametrize('what', ['flipped', 'cut', 'swapped'])
def test_a_damaged_block_gives_the_sentence_that_names_the_file(tmp_path, what):
    path = write(tmp_path/'scene.tif', pixels('uint16'), compress='deflate', tiled=True, blockxsize=64, blockysize=64)
    layout, data = block_layout(path), bytearray(path.read_bytes())
    first = layout.offsets[4]  # in the third row of blocks
    if what == 'flipped': data[first + 20:first + 200] = bytes(180)
    elif what == 'cut': del data[first + 100:]
    else: data[first:first + 9] = b'<html>...'
    path.write_bytes(data)
    with pytest.raises(RasterError, match='scene.tif'), open_scene(path, READER) as scene:
        np.testing.assert_array_equal(scene.read(0, 64, 0, WIDTH), pixels('uint16')[:, :64].transpose(1, 2, 0))
        scene.read(64, HEIGHT, 0, WIDTH)


def test_gdal_takes_over_where_blocks_cannot_be_read(tmp_path, monkeypatch):
    data = pixels('uint16')
    path = write(tmp_path/'scene.tif', data, compress='deflate', tiled=True, blockxsize=64, blockysize=64)
    with open_scene(path, READER) as scene:
        def _read(*place): raise OSError('gone')
        monkeypatch.setattr(scene.blocks, 'read', _read)
        np.testing.assert_array_equal(strips(scene)[0], data.transpose(1, 2, 0))
        assert scene.blocks is None


def test_an_absurd_block_is_not_unpacked(tmp_path):
    path = tmp_path/'scene.tif'
    with rasterio.open(path, 'w', driver='GTiff', count=5, height=8192, width=8192, dtype='uint16', tiled=True, blockxsize=8192, blockysize=8192, compress='deflate', sparse_ok=True): pass
    with pytest.raises(ValueError, match='plain kind'): block_layout(path)
