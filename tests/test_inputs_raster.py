"""Rasters as users bring them: what a file says was seen, of which numbers, and where; right values, or one sentence with the file's name."""
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.control import GroundControlPoint as Point
from rasterio.enums import ColorInterp
from rasterio.rpc import RPC
from rasterio.windows import Window

from sat_recipes.bands import Sensor
from sat_recipes.multiband import MultibandDataLoaders
from sat_recipes.raster import (BandFiles, OnGrid, RasterError, SceneWindow, band_files, open_raster, raster_info, read_raster, read_reflectance, source_files, source_key,
                                write_raster)
from sat_recipes.store import PatchStore

UP = Affine(10, 0, 500_000, 0, -10, 5_000_000)
SEEN = np.ones((40, 56), bool)
SEEN[:12, :20] = False


def pixels(bands=3, dtype='uint16', high=3000, shape=SEEN.shape, seed=0):
    data = np.random.default_rng(seed).integers(10, high, (bands, *shape))
    return (data/high if np.dtype(dtype).kind == 'f' else data).astype(dtype)


def tif(path, data, crs='EPSG:32633', transform=UP, names=None, **options):
    data = data if data.ndim == 3 else data[None]
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        with rasterio.open(path, 'w', driver='GTiff', count=len(data), height=data.shape[1], width=data.shape[2], dtype=data.dtype, crs=crs, transform=transform, **options) as f:
            f.write(data)
            if names: f.descriptions = names
    return path


def masked(path, data, internal=True, **options):
    "A file with a mask that says what was seen; its numbers say nothing."
    tif(path, data, **options)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=internal), rasterio.open(path, 'r+') as f: f.write_mask(SEEN)
    return path


def with_alpha(path, data, clear=0, opaque=255, **options):
    tif(path, np.concatenate([data, np.where(SEEN, opaque, clear)[None].astype(data.dtype)]), photometric='MINISBLACK', **options)
    with rasterio.open(path, 'r+') as f: f.colorinterp = [ColorInterp.gray, *[ColorInterp.undefined]*(len(data) - 1), ColorInterp.alpha]
    return path


def pam(path, values):
    "An .aux.xml file of a nodata value for each band."
    bands = ''.join(f'<PAMRasterBand band="{i}"><NoDataValue>{v}</NoDataValue></PAMRasterBand>' for i, v in enumerate(values, 1) if v is not None)
    Path(f'{path}.aux.xml').write_text(f'<PAMDataset>{bands}</PAMDataset>')
    return path


def vrt(path, files, nodata):
    "A VRT of a band a file, each with its own nodata value."
    bands = ''.join(f'''<VRTRasterBand dataType="UInt16" band="{i}"><NoDataValue>{value}</NoDataValue><SimpleSource><SourceFilename relativeToVRT="0">{file}</SourceFilename>
        <SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>''' for i, (file, value) in enumerate(zip(files, nodata), 1))
    path.write_text(f'<VRTDataset rasterXSize="56" rasterYSize="40"><SRS>EPSG:32633</SRS><GeoTransform>500000, 10, 0, 5000000, 0, -10</GeoTransform>{bands}</VRTDataset>')
    return path


def lost(data, *values):
    "The same bands, the unseen pixels of each with its own number."
    data = data.copy()
    for band, value in zip(data, values*len(data) if len(values) == 1 else values): band[~SEEN] = value
    return data


def bands_with_nodata(folder):
    return [tif(folder/f'{i}.tif', lost(pixels(1, seed=i), value)) for i, value in enumerate((0, 65535, 7))]


VALIDITY = {
    'internal mask': lambda d: masked(d/'x.tif', pixels()),
    'internal mask of a tiled, compressed file': lambda d: masked(d/'x.tif', pixels(), tiled=True, blockxsize=16, blockysize=16, compress='deflate'),
    'internal mask of 8 bits': lambda d: masked(d/'x.tif', pixels(3, 'uint8', 250)),
    'internal mask of four 8-bit bands': lambda d: masked(d/'x.tif', pixels(4, 'uint8', 250), photometric='MINISBLACK'),
    'internal mask of floats': lambda d: masked(d/'x.tif', pixels(3, 'float32')),
    'internal mask of 32 bits': lambda d: masked(d/'x.tif', pixels(3, 'int32')),
    'internal mask beside a nodata value': lambda d: masked(d/'x.tif', pixels(), nodata=0),
    '.msk file': lambda d: masked(d/'x.tif', pixels(), internal=False),
    '.msk file of one band': lambda d: masked(d/'x.tif', pixels(1), internal=False),
    'alpha of 8 bits': lambda d: with_alpha(d/'x.tif', pixels(3, 'uint8', 250)),
    'RGBA': lambda d: tif(d/'x.tif', np.concatenate([pixels(3, 'uint8', 250), SEEN[None].astype('uint8')*255]), photometric='RGB', alpha='YES'),
    'alpha of 16 bits': lambda d: with_alpha(d/'x.tif', pixels(), opaque=65535),
    'alpha of floats': lambda d: with_alpha(d/'x.tif', pixels(3, 'float32'), opaque=1),
    'alpha of a gray image': lambda d: with_alpha(d/'x.tif', pixels(1, 'uint8', 250)),
    'alpha of six bands': lambda d: with_alpha(d/'x.tif', pixels(6), opaque=65535),
    'half-transparent alpha': lambda d: with_alpha(d/'x.tif', pixels(3, 'uint8', 250), opaque=np.where(np.arange(56) > 50, 128, 255)),
    '.aux.xml file, a value a band': lambda d: pam(tif(d/'x.tif', lost(pixels(), 0, 9, 65535)), (0, 9, 65535)),
    '.aux.xml file, one value': lambda d: pam(tif(d/'x.tif', lost(pixels(), 5000)), (5000, 5000, 5000)),
    'VRT of several nodata values': lambda d: vrt(d/'x.vrt', bands_with_nodata(d), (0, 65535, 7)),
    'files of several nodata values': lambda d: [tif(d/f'{i}.tif', lost(pixels(1, seed=i), value), nodata=value) for i, value in enumerate((0, 65535, 7))],
    'files, one with a mask': lambda d: [masked(d/'a.tif', pixels(1)), masked(d/'b.tif', pixels(1), internal=False)],
    'one nodata value': lambda d: tif(d/'x.tif', lost(pixels(), 0), nodata=0),
    'a negative nodata value': lambda d: tif(d/'x.tif', lost(pixels(dtype='int16'), -9999), nodata=-9999),
    'NaN declared': lambda d: tif(d/'x.tif', lost(pixels(dtype='float32'), np.nan), nodata=np.nan),
    'NaN not declared': lambda d: tif(d/'x.tif', lost(pixels(dtype='float64'), np.nan)),
    'infinities': lambda d: tif(d/'x.tif', lost(pixels(dtype='float32'), -np.inf)),
}


@pytest.mark.filterwarnings('ignore:.*declares no nodata')
@pytest.mark.parametrize('kind', VALIDITY)
def test_what_a_file_says_was_not_seen_is_nodata_everywhere(tmp_path, kind):
    source = VALIDITY[kind](tmp_path)
    known, plain = read_reflectance(source), read_raster(source)
    assert (np.isfinite(known.data) == SEEN).all() and (plain.valid == SEEN).all()
    assert not np.isfinite(read_reflectance(source, window=Window(10, 5, 20, 10)).data[:, :7, :10]).any()
    assert (read_raster(SceneWindow(source if isinstance(source, list) else str(source), 10, 5, 20, 10)).valid == SEEN[5:15, 10:30]).all()
    outside = read_reflectance(source, window=Window(30, 20, 40, 40))
    assert (np.isfinite(outside.data)[:, :20, :26]).all() and not np.isfinite(outside.data)[:, 20:].any() and not np.isfinite(outside.data)[:, :, 26:].any()
    assert not np.isfinite(read_reflectance(source, max_side=28).data)[:, :6, :10].any()
    files = [source] if not isinstance(source, list) else source
    truth = []
    for file in files:
        with rasterio.open(file) as f: truth.append(f.read([i for i, kind in enumerate(f.colorinterp, 1) if kind != ColorInterp.alpha]))
    truth = np.concatenate(truth)
    np.testing.assert_array_equal(plain.data[:, SEEN], truth[:, SEEN])
    store = PatchStore.pack([BandFiles(tuple(source)) if isinstance(source, list) else source], tmp_path/'store')
    assert store.images.dtype == plain.data.dtype and (store[0].valid == SEEN).all() and str(store[0].nodata) == str(plain.nodata)


@pytest.mark.parametrize('form', ['folder', 'files'])
def test_a_masked_patch_among_others(tmp_path, form):
    "Whichever comes first; numbers of the others stay as they are."
    for i in range(6): (masked if i == 3 else tif)(tmp_path/'p'/'ab'[i % 2]/f'{i}.tif', pixels(seed=i))
    files = sorted((tmp_path/'p').rglob('*.tif'))
    for order in (files, files[::-1]):
        store = PatchStore.pack(order, tmp_path/'s')
        assert store.images.dtype == 'float32' and not store.dropped
        for i, f in enumerate(order): np.testing.assert_array_equal(store[i].data, read_raster(f).data)
    dls = MultibandDataLoaders.from_folder(tmp_path/'p', bs=2, seed=0, device='cpu', num_workers=0, **{} if form == 'folder' else dict(store=None))
    assert sum(int((~item[0].valid).sum()) for ds in (dls.train_ds, dls.valid_ds) for item in ds) == (~SEEN).sum()


NEAR_INFRARED = {
    'four bands, GDAL says alpha': dict(),
    'named': dict(names=('red', 'green', 'blue', 'nir')),
    'tiled': dict(tiled=True, blockxsize=16, blockysize=16),
}
@pytest.mark.parametrize('kind', NEAR_INFRARED)
def test_near_infrared_that_gdal_calls_alpha_is_a_band(tmp_path, kind):
    data = pixels(4, 'uint8', 250)
    path = tif(tmp_path/'x.tif', data, **NEAR_INFRARED[kind])
    with rasterio.open(path) as f: assert f.colorinterp[3] == ColorInterp.alpha
    assert np.array_equal(read_raster(path).data, data) and not raster_info(path).masked


def test_named_bands_are_bands_even_if_clear(tmp_path):
    data = pixels(4, 'uint8', 250)
    data[3] = 0
    assert read_raster(tif(tmp_path/'x.tif', data, names=('red', 'green', 'blue', 'nir'))).shape == (4, 40, 56)


def test_plain_files_are_read_without_masks(tmp_path):
    path = tif(tmp_path/'x.tif', pixels(), nodata=0)
    info = raster_info(path)
    assert not info.masked and info.number_type == 'uint16' and info.nodata == 0 and read_raster(path).data.dtype == 'uint16'
    with open_raster(path) as opened:
        dataset = opened.bands[0][0]
        without_masks = SimpleNamespace(name=dataset.name, read=dataset.read)
        opened.bands = [(without_masks, i) for _, i in opened.bands]
        assert (opened.read() == read_raster(path).data).all()


# --- numbers --------------------------------------------------------------------------------------

@pytest.mark.parametrize('dtype', ['uint8', 'int8', 'uint16', 'int16', 'uint32', 'int32', 'uint64', 'int64', 'float32', 'float64'])
def test_numbers_of_any_type(tmp_path, dtype):
    data = pixels(2, dtype, 100)
    path = tif(tmp_path/'x.tif', data)
    scale = {'uint8': 1/255, 'float32': 1, 'float64': 1}.get(dtype, 1e-4)
    assert np.array_equal(read_raster(path).data, data)
    np.testing.assert_allclose(read_reflectance(path).data, data*scale, rtol=1e-6)
    dls_files = [tif(tmp_path/'p'/'ab'[i % 2]/f'{i}.tif', pixels(2, dtype, 100, (16, 16), i)) for i in range(6)]
    for store in ('auto', None):
        x = MultibandDataLoaders.from_folder(tmp_path/'p', bs=4, seed=0, device='cpu', num_workers=0, store=store).one_batch()[0]
        assert x.shape[1:] == (2, 16, 16) and np.isfinite(x.numpy()).all()
    assert read_reflectance(dls_files[0]).data.max() <= 100*scale


@pytest.mark.parametrize('dtype', ['complex64', 'complex128', 'complex_int16'])
def test_complex_numbers_are_refused(tmp_path, dtype):
    data = pixels(1).astype('complex64')
    path = tmp_path/'slc.tif'
    with rasterio.open(path, 'w', driver='GTiff', count=1, height=40, width=56, dtype=dtype, crs='EPSG:32633', transform=UP) as f: f.write(data)
    for read in (read_raster, read_reflectance, raster_info):
        with pytest.raises(RasterError, match='slc.tif holds complex.* numbers: convert'): read(path)


def test_12_bits_in_16(tmp_path):
    data = pixels(2, high=4096)
    for options in ({}, dict(nbits=12)):
        np.testing.assert_allclose(read_reflectance(tif(tmp_path/'x.tif', data, **options)).data, data*1e-4, rtol=1e-6)


FLOATS = {
    'DN': (1, 3000), 'DN of deep water': (5, 90), 'percent': (4, 60), 'decibels': (-25, -5), 'kelvin': (250, 320),
}
@pytest.mark.parametrize('kind', FLOATS)
def test_floats_far_from_reflectance_are_refused(tmp_path, kind):
    low, high = FLOATS[kind]
    data = np.random.default_rng(0).uniform(low, high, (3, 40, 56)).astype('float32')
    data[:, :30] = 0 if kind == 'DN' else data[:, :30] # undeclared
    path = tif(tmp_path/'floats.tif', data)
    with pytest.raises(RasterError, match='floats.tif holds floats around .*: pass scale='): read_reflectance(path)
    with pytest.raises(RasterError, match='floats.tif'): PatchStore.pack([path], tmp_path/'s')
    for i in range(4): tif(tmp_path/'p'/'ab'[i % 2]/f'floats{i}.tif', data)
    for store in ('auto', None):
        with pytest.raises(RasterError, match='floats.*scale='): MultibandDataLoaders.from_folder(tmp_path/'p', bs=2, device='cpu', num_workers=0, store=store).one_batch()
    assert np.array_equal(read_raster(path).data, data)
    np.testing.assert_allclose(read_reflectance(path, scale=1e-4).data, data*1e-4, rtol=1e-5)
    own = Sensor.generic(3, scale=1)
    np.testing.assert_allclose(read_reflectance(path, own).data, data, rtol=1e-6)
    dls = MultibandDataLoaders.from_folder(tmp_path/'p', sensor=own, bs=2, device='cpu', num_workers=0)
    assert dls.one_batch()[0].shape == (2, 3, 40, 56)
    with rasterio.open(path, 'r+') as f: f.scales = (1e-4,)*3
    np.testing.assert_allclose(read_reflectance(path).data, data*1e-4, rtol=1e-5)


@pytest.mark.parametrize('kind, low, high', [('snow', .8, 1.9), ('negative noise', -.2, .1), ('normalized', -2.5, 2.5)])
def test_floats_that_may_be_reflectance_are_taken(tmp_path, kind, low, high):
    data = np.random.default_rng(0).uniform(low, high, (3, 40, 56)).astype('float32')
    data[:, 0, :9] = 40 # sun glint
    np.testing.assert_array_equal(read_reflectance(tif(tmp_path/'x.tif', data)).data, data)


@pytest.mark.parametrize('odd', ['uint8', 'uint16'])
@pytest.mark.parametrize('store', ['auto', None])
def test_one_patch_of_another_depth_is_named(tmp_path, odd, store):
    for i in range(8):
        dtype = odd if i == 5 else dict(uint8='uint16', uint16='uint8')[odd]
        tif(tmp_path/'p'/'ab'[i % 2]/f'{i}.tif', pixels(3, dtype, 250, seed=i))
    options = dict(bs=2, seed=0, device='cpu', num_workers=0, store=store)
    def all_batches(**kwargs):
        dls = MultibandDataLoaders.from_folder(tmp_path/'p', **options, **kwargs)
        return [x for dl in dls.loaders for x in dl.new(shuffle=False, drop_last=False)], dls
    with pytest.raises(RasterError, match='holds uint.* numbers where other patches hold uint'): all_batches()
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        _, dls = all_batches(on_bad='skip')
    assert [Path(f).name for f, _ in dls.dropped] == ['5.tif']


def test_reflectance_in_integers_and_in_floats_is_the_same_reflectance(tmp_path):
    data = pixels()
    tif(tmp_path/'p'/'a'/'floats.tif', (data/1e4).astype('float32')), tif(tmp_path/'p'/'b'/'integers.tif', data)
    images = [read_reflectance(f).data for f in sorted((tmp_path/'p').rglob('*.tif'))]
    np.testing.assert_allclose(*images, rtol=1e-6)


# --- place ----------------------------------------------------------------------------------------

CODES = pixels(1, 'uint8', 14)[0]
SOUTH_UP = Affine(10, 0, 500_000, 0, 10, 4_999_600)
MASKS = {
    'same grid': (CODES, dict(), CODES, False),
    'a thousandth of a pixel beside': (CODES, dict(transform=UP*Affine.translation(.001, 0)), CODES, False),
    '5 pixels beside': (CODES, dict(transform=UP*Affine.translation(5, 0)), np.pad(CODES.astype(float), ((0, 0), (5, 0)), constant_values=np.nan)[:, :-5], True),
    '3 rows above': (CODES, dict(transform=UP*Affine.translation(0, -3)), np.pad(CODES.astype(float), ((0, 3), (0, 0)), constant_values=np.nan)[3:], True),
    'south-up': (CODES[::-1], dict(transform=SOUTH_UP), CODES, True),
    'coarser': (CODES[::2, ::2], dict(transform=UP*Affine.scale(2)), np.kron(CODES[::2, ::2], np.ones((2, 2))), True),
    'larger': (np.pad(CODES, 6), dict(transform=UP*Affine.translation(-6, -6)), CODES, True),
    'a part': (CODES[10:30, 8:40], dict(transform=UP*Affine.translation(8, 10)), np.pad(CODES[10:30, 8:40].astype(float), ((10, 10), (8, 16)), constant_values=np.nan), True),
    'no CRS, same size': (CODES, dict(crs=None, transform=Affine.identity()), CODES, False),
    'no CRS, but a transform': (CODES, dict(crs=None, transform=UP*Affine.translation(5, 0)), np.pad(CODES.astype(float), ((0, 0), (5, 0)), constant_values=np.nan)[:, :-5], True),
    '16 bits': (CODES.astype('uint16')*1000, dict(transform=UP*Affine.translation(0, -3)), np.pad(CODES*1000., ((0, 3), (0, 0)), constant_values=np.nan)[3:], True),
}


@pytest.mark.parametrize('kind', MASKS)
def test_a_mask_is_brought_to_the_grid_of_its_image(tmp_path, kind):
    data, options, wanted, moved = MASKS[kind]
    image, mask = tif(tmp_path/'image.tif', pixels()), tif(tmp_path/'mask.tif', data, **options)
    source = OnGrid(mask, image)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter('always', UserWarning)
        found = read_raster(source)
        again = read_raster(SceneWindow(source, 4, 6, 30, 20))
    assert len(told) == moved and all('mask.tif' in str(w.message) and 'nearest' in str(w.message) for w in told)
    np.testing.assert_array_equal(found.data[0], wanted)
    np.testing.assert_array_equal(again.data[0], wanted[6:26, 4:34])
    if moved: assert found.transform == UP and found.crs.to_epsg() == 32633
    assert source_files(source) == [str(mask)] and str(image) in source_key(source) != source_key(mask)


def test_a_mask_in_another_crs(tmp_path):
    "In longitudes and latitudes, a pixel of it as large as 20 m: most codes are those of the nearest pixel."
    shape = 40, 56
    blocks = np.kron(np.arange(35).reshape(5, 7) % 4, np.ones((8, 8))).astype('uint8')
    image = tif(tmp_path/'image.tif', pixels())
    with rasterio.open(tif(tmp_path/'utm.tif', blocks)) as f:
        from rasterio.vrt import WarpedVRT
        with WarpedVRT(f, crs='EPSG:4326', nodata=255) as degrees: mask = tif(tmp_path/'mask.tif', degrees.read(), crs='EPSG:4326', transform=degrees.transform, nodata=255)
    with pytest.warns(UserWarning, match='mask.tif has another grid'): found = read_raster(OnGrid(mask, image))
    assert found.shape == (1, *shape) and (found.data[0] == blocks).mean() > .85


@pytest.mark.parametrize('kind, options', [('far away', dict(transform=UP*Affine.translation(20_000, 0))), ('in another zone', dict(crs='EPSG:32610')),
                                          ('of no place, and smaller', dict(data=CODES[:20], crs=None, transform=Affine.identity())), ('beside it', dict(transform=UP*Affine.translation(56, 0)))])
def test_a_mask_of_another_place_is_refused(tmp_path, kind, options):
    options = dict(data=CODES) | options
    image, mask = tif(tmp_path/'image.tif', pixels()), tif(tmp_path/'mask.tif', options.pop('data'), **options)
    with pytest.raises(RasterError, match='mask.tif .*image.tif'): read_raster(OnGrid(mask, image))


def test_masks_of_one_file_for_two_images_are_packed_as_each_needs(tmp_path):
    mask = tif(tmp_path/'mask.tif', CODES)
    images = [tif(tmp_path/f'{i}.tif', pixels(seed=i), transform=UP*Affine.translation(i, 0)) for i in range(2)]
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        store = PatchStore.pack(images, tmp_path/'s', masks=[OnGrid(mask, image) for image in images])
    np.testing.assert_array_equal(store.masks[0], CODES)
    np.testing.assert_array_equal(store.masks[1][:, :-1], CODES[:, 1:])


@pytest.mark.parametrize('what, options', [('extent', dict(transform=UP*Affine.translation(40, 0))), ('CRS', dict(crs='EPSG:32634')), ('number type', dict(dtype='int16')), ('extent', dict(transform=UP*Affine.scale(2)))])
def test_bands_of_a_patch_that_disagree_are_refused(tmp_path, what, options):
    dtype = options.pop('dtype', 'uint16')
    for i in range(4): tif(tmp_path/'red'/f'red_{i}.tif', pixels(1)), tif(tmp_path/'nir'/f'nir_{i}.tif', pixels(1, dtype), **options)
    options['dtype'] = dtype
    table = band_files(dict(red=tmp_path/'red', nir=tmp_path/'nir')).assign(y=list('abab'))
    with pytest.raises(RasterError, match=f'another {what}'):
        MultibandDataLoaders.from_df(table, '/', fn_col=['red', 'nir'], label_col='y', bs=2, num_workers=0, device='cpu').one_batch()


# --- what a written raster keeps ------------------------------------------------------------------

POINTS = [Point(0, 0, 14, 50), Point(0, 56, 14.2, 50.01), Point(40, 0, 14.01, 49.9), Point(40, 56, 14.21, 49.91)]
ZERO = [0.]*20
RPCS = RPC(height_off=100, height_scale=500, lat_off=50, lat_scale=.1, line_den_coeff=[1.] + ZERO[1:], line_num_coeff=[0, 0, 1.] + ZERO[3:], line_off=20, line_scale=20, long_off=14, long_scale=.1,
           samp_den_coeff=[1.] + ZERO[1:], samp_num_coeff=[0, 1.] + ZERO[2:], samp_off=28, samp_scale=28)


def placed(path, gcps=False, rpcs=False):
    tif(path, pixels(), **dict(crs=None, transform=Affine.identity()) if gcps or rpcs else {})
    with rasterio.open(path, 'r+') as f:
        if gcps: f.gcps = POINTS, rasterio.crs.CRS.from_epsg(4326)
        if rpcs: f.rpcs = RPCS
    return path


@pytest.mark.parametrize('part', ['whole', 'Raster', 'window', 'SceneWindow', 'smaller'])
def test_ground_control_points_are_carried_over(tmp_path, part):
    path = placed(tmp_path/'grd.tif', gcps=True)
    assert len(raster_info(path).gcps[0]) == 4
    like, to_pixel = {
        'whole': lambda: (path, lambda c, r: (c, r)), 'Raster': lambda: (read_raster(path), lambda c, r: (c, r)),
        'window': lambda: (read_raster(path, window=Window(6, 4, 20, 10)), lambda c, r: (c - 6, r - 4)),
        'SceneWindow': lambda: (SceneWindow(path, 6, 4, 20, 10), lambda c, r: (c - 6, r - 4)), 'smaller': lambda: (read_raster(path, max_side=28), lambda c, r: (c/2, r/2))}[part]()
    shape = (raster_info(like) if not hasattr(like, 'data') else like).shape[1:]
    with rasterio.open(write_raster(tmp_path/'out.tif', np.zeros(shape, 'uint8'), like=like)) as f:
        points, crs = f.gcps
        assert crs.to_epsg() == 4326 and [(p.x, p.y) for p in points] == [(p.x, p.y) for p in POINTS]
        np.testing.assert_allclose([(p.col, p.row) for p in points], [to_pixel(p.col, p.row) for p in POINTS])


@pytest.mark.parametrize('part', ['whole', 'window', 'SceneWindow', 'smaller'])
def test_rpcs_are_carried_over(tmp_path, part):
    path = placed(tmp_path/'rpc.tif', rpcs=True)
    like, off, scale = {'whole': (path, (28, 20), (28, 20)), 'window': (read_raster(path, window=Window(6, 4, 20, 10)), (22, 16), (28, 20)),
                        'SceneWindow': (SceneWindow(path, 6, 4, 20, 10), (22, 16), (28, 20)), 'smaller': (read_raster(path, max_side=28), (13.75, 9.75), (14, 10))}[part]
    with rasterio.open(write_raster(tmp_path/'out.tif', np.zeros((10, 20), 'uint8'), like=like)) as f:
        np.testing.assert_allclose((f.rpcs.samp_off, f.rpcs.line_off, f.rpcs.samp_scale, f.rpcs.line_scale), (*off, *scale))
        assert f.rpcs.line_num_coeff == RPCS.line_num_coeff and f.rpcs.lat_off == 50


@pytest.mark.parametrize('kind, transform', [('south-up', SOUTH_UP), ('rotated', Affine.translation(5e5, 5e6)*Affine.rotation(30)*Affine.scale(3, -3)), ('oblong pixels', UP*Affine.scale(1, 2))])
def test_grids_come_back_as_they_were(tmp_path, kind, transform):
    data = pixels()
    path = tif(tmp_path/'x.tif', data, transform=transform)
    part = read_raster(path, window=Window(8, 4, 16, 16))
    kept = read_raster(write_raster(tmp_path/'y.tif', part.data, like=part))
    assert np.array_equal(kept.data, data[:, 4:20, 8:24]) and kept.transform.almost_equals(transform*Affine.translation(8, 4))
    assert kept.transform*(3, 5) == pytest.approx(transform*(11, 9))


def test_a_masked_raster_is_written_with_its_nodata(tmp_path):
    raster = read_raster(masked(tmp_path/'x.tif', pixels()))
    again = read_raster(write_raster(tmp_path/'y.tif', raster.data, like=raster))
    assert np.isnan(again.nodata) and (again.valid == SEEN).all()
    with pytest.raises(RasterError, match='w.tif: nodata=-1 is no uint16'): write_raster(tmp_path/'w.tif', pixels(), nodata=-1)
    assert raster_info(write_raster(tmp_path/'b.tif', SEEN)).dtype == 'uint8'
    assert raster_info(write_raster(tmp_path/'z.tif', pixels(), like=tmp_path/'x.tif')).nodata is None # of integers NaN cannot be it


def test_bands_of_several_resolutions_with_masks(tmp_path):
    "The coarser band is not seen where its mask says so; no pixel of the numbers below leaks in."
    fine, coarse = pixels(1), pixels(1, shape=(20, 28))
    a = tif(tmp_path/'a.tif', fine, nodata=0)
    b = tif(tmp_path/'b.tif', coarse, transform=UP*Affine.scale(2))
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(b, 'r+') as f: f.write_mask(SEEN[::2, ::2])
    with open_raster([a, b]) as scene: data = scene.read()
    assert scene.info.masked and np.array_equal(data[0], fine[0]) and np.isnan(data[1][:11, :19]).all() and np.isfinite(data[1][14:, 22:]).all()
