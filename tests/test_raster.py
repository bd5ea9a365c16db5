"What goes in comes out: grids, nodata, calibration; and what cannot be read says so in one sentence that names the file."
import pickle
import subprocess
import sys
import warnings
import zipfile

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.crs import CRS
from rasterio.windows import Window

from sat_recipes.bands import SENSORS, Sensor
from sat_recipes.raster import (BandFiles, Raster, RasterError, RasterWriteError, SceneWindow, band_files, dn_calibration, gdal_reason, open_raster, raster_info, rasterize_polygons,
                                read_raster, read_reflectance, source_files, source_key, source_state, write_raster)

NORTH_UP = Affine(10, 0, 500_000, 0, -10, 5_000_000)
ROTATED = Affine(9.06, 4.23, 5e5, 4.23, -9.06, 5e6)


def written(path, data, **profile):
    data = np.asarray(data)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        with rasterio.open(path, 'w', driver='GTiff', count=len(data), height=data.shape[1], width=data.shape[2], dtype=data.dtype, **profile) as f: f.write(data)
    return path


def one_sentence(error, *words):
    text = str(error.value)
    assert '\n' not in text and len(text) < 500
    assert all(w in text for w in words), text


@pytest.mark.parametrize('crs, transform', [('EPSG:32633', NORTH_UP), ('EPSG:32633', ROTATED), (None, Affine.identity()), ('EPSG:4326', Affine(1e-4, 0, 12, 0, -1e-4, 47))])
@pytest.mark.parametrize('nodata, dtype', [(None, 'uint8'), (0, 'uint16'), (-9999, 'int16'), (np.nan, 'float32')])
def test_nothing_is_lost(tmp_path, crs, transform, nodata, dtype):
    data = np.arange(3*7*5).reshape(3, 7, 5).astype(dtype)
    source = Raster(data, CRS.from_user_input(crs) if crs else None, transform, nodata)
    back = read_raster(write_raster(tmp_path/'a.tif', data, like=source, band_names=['x', 'y', 'z']))
    assert back.crs == source.crs and back.band_names == ('x', 'y', 'z')
    np.testing.assert_allclose(back.transform, transform)
    assert back.nodata == nodata or (np.isnan(nodata) and np.isnan(back.nodata))
    np.testing.assert_array_equal(back.data, data)


def test_output_is_cloud_optimized_with_colors_and_names(tmp_path):
    path = write_raster(tmp_path/'map.tif', np.zeros((700, 900), 'uint8'), nodata=255, colors=[(1, 2, 3), (4, 5, 6)], class_names=['a', 'b'])
    with rasterio.open(path) as f:
        assert f.profile['tiled'] and f.overviews(1) and f.colormap(1)[1][:3] == (4, 5, 6) and 'b' in f.tags()['class_names']


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path):
    path = write_raster(tmp_path/'a.tif', np.ones((4, 4), 'uint8'))
    with pytest.raises(Exception): write_raster(path, np.zeros((4, 4), 'uint8'), band_names=['one', 'too many'])
    assert read_raster(path).data.sum() == 16 and [p.name for p in tmp_path.iterdir()] == ['a.tif']


def test_windows_reach_outside(tmp_path):
    path = written(tmp_path/'a.tif', np.ones((1, 10, 10), 'uint16'), nodata=0)
    part = read_reflectance(path, window=Window(-3, 6, 8, 8))
    assert part.data.shape == (1, 8, 8) and np.isfinite(part.data).sum() == 5*4
    assert np.isnan(read_reflectance(path, window=Window(50, 50, 4, 4)).data).all()


@pytest.mark.parametrize('tags, expected', [({}, .2), ({'PROCESSING_BASELINE': '05.09'}, .1), ({'PROCESSING_BASELINE': '02.14'}, .2), ({'BOA_ADD_OFFSET': '-1000'}, .1),
                                            ({'PROCESSING_BASELINE': '05.09', 'earthsearch:boa_offset_applied': 'True'}, .2), ({'DATETIME': '2024-01-01'}, .2)])
def test_offset_is_decided_from_metadata(tmp_path, tags, expected):
    path = written(tmp_path/'a.tif', np.full((12, 2, 2), 2000, 'uint16'))
    with rasterio.open(path, 'r+') as f: f.update_tags(**tags)
    np.testing.assert_allclose(read_reflectance(path, sensor='sentinel2_l2a').data, expected, atol=1e-6)


def test_scales_in_the_file_win(tmp_path):
    path = written(tmp_path/'a.tif', np.full((1, 2, 2), 100, 'uint16'))
    with rasterio.open(path, 'r+') as f: f.scales, f.offsets = (.01,), (-.5,)
    np.testing.assert_allclose(read_reflectance(path).data, .5, atol=1e-6)


@pytest.mark.parametrize('dtype, value, expected', [('uint8', 51, .2), ('uint16', 2000, .2), ('int16', 2000, .2), ('float32', .2, .2), ('float64', .2, .2)])
def test_types(tmp_path, dtype, value, expected):
    np.testing.assert_allclose(read_reflectance(written(tmp_path/'a.tif', np.full((3, 2, 2), value, dtype))).data, expected, atol=1e-6)


def test_bands_by_name_in_any_order(tmp_path):
    path = tmp_path/'a.tif'
    write_raster(path, np.arange(4)[:, None, None]*np.ones((4, 2, 2), 'uint16'), band_names=['B2', 'B3', 'B4', 'B8'], nodata=None)
    raster = read_raster(path, bands=['nir', 'B02'])
    assert raster.data[:, 0, 0].tolist() == [3, 0] and raster.sensor.wavelengths == [832.8, 492.4]
    assert read_raster(path, bands=[3, 0]).data[:, 0, 0].tolist() == [3, 0]


def test_sidecars_are_found(tmp_path):
    "What lies beside a file counts, though GDAL does not list the folder: names and nodata in .aux.xml, the place in .tfw, overviews in .ovr."
    path = written(tmp_path/'a.tif', np.arange(64*64).reshape(1, 64, 64).astype('uint16'))
    (tmp_path/'a.tif.aux.xml').write_text('<PAMDataset><PAMRasterBand band="1"><Description>B08</Description><NoDataValue>7</NoDataValue><Scale>0.01</Scale></PAMRasterBand></PAMDataset>')
    (tmp_path/'a.tfw').write_text('10\n0\n0\n-10\n500005\n4999995\n')
    raster = read_reflectance(path)
    assert raster.band_names == ('B08',) and raster_info(path).nodata == 7 and np.isnan(raster.data).sum() == 1 and tuple(raster.transform) == tuple(NORTH_UP)
    np.testing.assert_allclose(raster.data[0, 0, 50], .5, atol=1e-6)
    written(tmp_path/'a.tif.ovr', np.full((1, 32, 32), 9, 'uint16'))
    assert read_raster(path, max_side=32).data.tolist() == np.full((1, 32, 32), 9).tolist()


@pytest.mark.parametrize('blocks', [dict(blockysize=90), dict(tiled=True, blockxsize=32, blockysize=16)])
def test_a_smaller_copy(tmp_path, blocks):
    "It has the same pixels, however the file is cut into blocks."
    data = np.random.default_rng(0).integers(0, 4000, (3, 90, 130)).astype('uint16')
    usual, again = (read_raster(written(tmp_path/f'{i}.tif', data, **options), max_side=40) for i, options in enumerate(({}, blocks)))
    assert usual.shape == (3, 28, 40) and np.array_equal(usual.data, again.data) and usual.transform == again.transform


def test_scale_and_offset_that_are_given_are_not_looked_for(tmp_path):
    path = written(tmp_path/'a.tif', np.full((2, 2, 2), 100, 'uint16'))
    with rasterio.open(path, 'r+') as f: f.scales = .01, .02
    with pytest.raises(RasterError) as error: read_reflectance(path)
    one_sentence(error, 'a.tif', 'different scales', 'pass scale= and offset=')
    np.testing.assert_allclose(read_reflectance(path, scale=.005, offset=0).data, .5, atol=1e-6)


def test_a_name_that_only_gdal_knows(tmp_path):
    "Parts of files, and files in archives, are opened by GDAL's own names."
    path = written(tmp_path/'a.tif', np.ones((1, 4, 4), 'uint16'))
    with zipfile.ZipFile(tmp_path/'a.zip', 'w') as archive: archive.write(path, 'inside.tif')
    for name in (f'GTIFF_DIR:1:{path}', f'zip://{tmp_path}/a.zip!inside.tif', f'/vsizip/{tmp_path}/a.zip/inside.tif'): assert read_raster(name).data.sum() == 16
    with pytest.raises(RasterError) as error: read_raster(f'/vsizip/{tmp_path}/a.zip/gone.tif')
    one_sentence(error, 'gone.tif')


# --- what is read ------------------------------------------------------------------------------------

def test_a_window_of_a_scene_is_read_as_the_window(tmp_path):
    "By its own name, in reflectance too; what reaches outside is nodata."
    data = np.random.default_rng(0).integers(1, 4000, (3, 30, 40)).astype('uint16')
    path = written(tmp_path/'a.tif', data, nodata=0, crs='EPSG:32633', transform=NORTH_UP)
    window = SceneWindow(path, 35, 10, 8, 6)
    raster, info = read_raster(window), raster_info(window)
    np.testing.assert_array_equal(raster.data[:, :, :5], data[:, 10:16, 35:])
    assert (raster.data[:, :, 5:] == 0).all() and tuple(raster.transform) == tuple(info.transform) == (10, 0, 500_350, 0, -10, 4_999_900, 0, 0, 1) and (info.height, info.width) == (6, 8)
    np.testing.assert_array_equal(read_reflectance(window).data, read_reflectance(path, window=Window(35, 10, 8, 6)).data)
    assert raster.info == raster_info(path) and window.name == 'a.tif at column 35, row 10' and window.inside([(0, 0, 36, 12)]).sum() == 2


def test_names_and_states_of_sources(tmp_path, monkeypatch):
    for name in ('a.tif', 'b.tif'): written(tmp_path/name, np.ones((1, 4, 4), 'uint16'))
    monkeypatch.chdir(tmp_path)
    sources = ['a.tif', SceneWindow('a.tif', 0, 0, 2, 2), SceneWindow('a.tif', 1, 0, 2, 2), BandFiles(('a.tif', 'b.tif')), BandFiles(('b.tif', 'a.tif'))]
    assert len({source_key(s) for s in sources}) == 5 and source_key('a.tif') == source_key(tmp_path/'a.tif') and source_key(['a.tif', 'b.tif']) == source_key(sources[3])
    assert source_files(sources[4]) == ['b.tif', 'a.tif'] and source_state('http://a.org/x.tif') == [['http://a.org/x.tif']]
    before = source_state(sources[3])
    written(tmp_path/'b.tif', np.ones((1, 4, 5), 'uint16'))
    assert source_state('a.tif') == before[:1] and source_state(sources[3]) != before
    with pytest.raises(RasterError, match='empty list'): raster_info([])


def test_files_of_one_name_in_a_folder_a_band(tmp_path):
    "Bands keep the order of the files; names and sensors that are given are those of this order."
    for i, band in enumerate(('red', 'nir', 'green')):
        (tmp_path/band).mkdir()
        written(tmp_path/band/'patch_1.tif', np.full((1, 4, 4), i + 1, 'uint16'), nodata=0)
    (row,) = band_files({band: tmp_path/band for band in ('nir', 'red', 'green')}).itertuples(index=False)
    source = BandFiles(tuple(row), ('nir', 'red', 'green'))
    assert read_raster(source).data[:, 0, 0].tolist() == [2, 1, 3] and read_raster(source, bands=['green', 'nir']).data[:, 0, 0].tolist() == [3, 2]
    assert read_raster(list(row), bands=[2, 0]).data[:, 0, 0].tolist() == [3, 2] and raster_info(source).sensor.names == ['B08', 'B04', 'B03']
    np.testing.assert_allclose(read_reflectance(list(row), sensor=Sensor.generic(3, scale=.01)).data[:, 0, 0], [.02, .01, .03], atol=1e-6)
    with pytest.raises(RasterError) as error: read_raster(BandFiles(tuple(row), ('nir', 'red')))
    one_sentence(error, '3 bands', '2 were named')


def test_bands_of_several_resolutions(tmp_path):
    "On the grid of the finest; of a band that is there twice the finer; nodata stays nodata."
    rng, sensor = np.random.default_rng(0), SENSORS['sentinel2_l2a']
    for name, size, step in (('T33_B02_20m', 10, 20), ('T33_B02_10m', 20, 10), ('T33_B8A_20m', 10, 20)):
        data = rng.integers(1000, 2000, (1, size, size)).astype('uint16')
        data[:, :2, :2] = 0
        written(tmp_path/f'{name}.tif', data, nodata=0, crs='EPSG:32633', transform=Affine(step, 0, 5e5, 0, -step, 5e6))
    paths = sorted(tmp_path.glob('*.tif'))[::-1]
    with open_raster(paths, sensor) as scene:
        assert scene.info.band_names == ('B8A', 'B02') and (scene.info.height, scene.info.width) == (20, 20)
        both, part = scene.read(), scene.read([2], window=Window(3, 4, 9, 8))
    np.testing.assert_array_equal(both[1], read_raster(tmp_path/'T33_B02_10m.tif').data[0])
    np.testing.assert_array_equal(part[0], both[1, 4:12, 3:12])
    assert (both[0, :3, :3] == 0).all() and both[0, 8:, 8:].min() >= 1000
    assert read_raster(paths).shape == (2, 20, 20) and read_raster(paths).band_names == ("B8A", "B02")  # also without a sensor


@pytest.mark.parametrize('what, options', [('CRS', dict(crs='EPSG:32634')), ('extent', dict(transform=NORTH_UP*Affine.translation(2, 0))), ('number type', dict(dtype='int16'))])
def test_files_that_do_not_belong_together(tmp_path, what, options):
    profile = dict(crs='EPSG:32633', transform=NORTH_UP, nodata=0) | options
    first = written(tmp_path/'first.tif', np.ones((1, 6, 6), 'uint16'), crs='EPSG:32633', transform=NORTH_UP, nodata=0)
    other = written(tmp_path/'other.tif', np.ones((1, 6, 6), profile.pop('dtype', 'uint16')), **profile)
    for source in ([first, other], BandFiles((first, other), ('red', 'nir'))):
        with pytest.raises(RasterError) as error: read_raster(source)
        one_sentence(error, 'other.tif', f'another {what}', 'first.tif')


def test_a_damaged_band_is_named(tmp_path):
    paths = [written(tmp_path/f'B0{i}.tif', np.random.default_rng(0).integers(0, 4000, (1, 64, 64)).astype('uint16')) for i in (2, 3, 4)]
    paths[1].write_bytes(paths[1].read_bytes()[:5000])
    with pytest.raises(RasterError) as error: read_raster(paths)
    one_sentence(error, 'B03.tif', 'fetch it again')


def test_the_process_keeps_its_gdal_settings(tmp_path):
    path = written(tmp_path/'a.tif', np.ones((1, 4, 4), 'uint16'))
    with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN='EMPTY_DIR') as env:
        read_raster(path)
        assert rasterio.env.getenv()['GDAL_DISABLE_READDIR_ON_OPEN'] == 'EMPTY_DIR'
    code = 'import os, sat_recipes.raster; assert not [v for v in os.environ if v.startswith("GDAL_DISABLE")]'
    assert subprocess.run([sys.executable, '-c', code], capture_output=True).returncode == 0


def test_a_sensor_says_whether_its_offset_depends_on_the_baseline(tmp_path):
    "Whatever its name; and its own scale counts."
    path = written(tmp_path/'a.tif', np.full((2, 2, 2), 2000, 'uint16'))
    with rasterio.open(path, 'r+') as f: f.update_tags(PROCESSING_BASELINE='05.10')
    mine = Sensor('mine', SENSORS['sentinel2_l2a'].bands[:2], scale=1e-3)
    info = raster_info(path)
    assert dn_calibration(info, mine) == (1e-3, 0) and dn_calibration(info) == (1e-4, 0) and dn_calibration(info, SENSORS['landsat8']) == (2.75e-5, -.2)
    assert dn_calibration(info, Sensor('mine', mine.bands, 1e-3, baseline_offset=True)) == (1e-3, -1)


def test_reasons_are_short():
    assert gdal_reason(OSError(28, 'No space left on device')) == '[Errno 28] No space left on device' and gdal_reason(ValueError()) == 'ValueError'
    assert gdal_reason(ValueError('/a/b.tif, band 1: IReadBlock failed at X offset 0: TIFFReadEncodedStrip() failed.')) == 'TIFFReadEncodedStrip() failed'
    assert gdal_reason(ValueError('HTTP response: 404')) == 'HTTP response: 404'


# --- what cannot be used ---------------------------------------------------------------------------

@pytest.mark.parametrize('options, words', [({}, ('GB of memory for 900000 x 900000 pixels', 'window=', 'max_side=')), (dict(window=Window(0, 0, 600_000, 600_000)), ('600000 x 600000', 'smaller window='))])
def test_more_than_fits_into_memory(tmp_path, options, words):
    "A file that is almost empty may promise any number of pixels: pieces of it can be read, the whole is refused."
    with rasterio.open(tmp_path/'vast.tif', 'w', driver='GTiff', count=1, height=900_000, width=900_000, dtype='uint8', tiled=True, blockxsize=4096, blockysize=4096, compress='deflate', sparse_ok=True, transform=NORTH_UP): pass
    for read in (read_raster, read_reflectance):
        with pytest.raises(RasterError) as error: read(tmp_path/'vast.tif', **options)
        one_sentence(error, 'vast.tif', *words)
    assert read_raster(tmp_path/'vast.tif', window=Window(800_000, 9, 30, 30)).shape == (1, 30, 30) and raster_info(tmp_path/'vast.tif').width == 900_000


def test_memory_that_runs_out_is_a_sentence(tmp_path, monkeypatch):
    path = written(tmp_path/'a.tif', np.ones((1, 4, 4), 'uint16'))
    def none_left(*args): raise MemoryError
    monkeypatch.setattr('sat_recipes.raster.to_reflectance', none_left)
    with pytest.raises(RasterError) as error: read_reflectance(path)
    one_sentence(error, 'a.tif', 'max_side=')


def test_errors_are_one_line_and_pickle():
    for error in (RasterError('a\nb\x1b[31m\u2028\udce9.tif is odd: remove it.'), RasterWriteError('a\nb.tif', 'full')):
        assert str(error).isprintable() and str(pickle.loads(pickle.dumps(error))) == str(error) and type(pickle.loads(pickle.dumps(error))) is type(error)


def test_truncated(tmp_path):
    path = written(tmp_path/'whole.tif', np.random.default_rng(0).integers(0, 4000, (13, 64, 64)).astype('uint16'))
    for share in (.02, .3, .8):
        cut = tmp_path/f'cut_{share}.tif'
        cut.write_bytes(path.read_bytes()[:int(path.stat().st_size*share)])
        with pytest.raises(RasterError) as error: read_reflectance(cut)
        one_sentence(error, cut.name)


@pytest.mark.parametrize('content', [b'just some words', b'', b'<html>not found</html>', b'II*\x00' + b'\xff'*60])
def test_not_a_raster(tmp_path, content):
    (tmp_path/'words.tif').write_bytes(content)
    for read in (raster_info, read_raster, read_reflectance):
        with pytest.raises(RasterError) as error: read(tmp_path/'words.tif')
        one_sentence(error, 'words.tif', 'remove it')


def test_missing_and_folder(tmp_path):
    with pytest.raises(RasterError) as error: read_raster(tmp_path/'no.tif')
    one_sentence(error, 'no.tif', 'does not exist')
    with pytest.raises(RasterError) as error: read_raster(tmp_path)
    one_sentence(error, tmp_path.name, 'folder')


def test_band_count(tmp_path):
    path = written(tmp_path/'four.tif', np.ones((4, 2, 2), 'uint16'))
    with pytest.raises(RasterError) as error: read_reflectance(path, sensor='eurosat')
    one_sentence(error, 'four.tif', '4 bands', '13', 'sensor=')
    with pytest.raises(RasterError) as error: read_raster(path, bands=['nir'])
    one_sentence(error, 'four.tif', 'nir')


@pytest.mark.parametrize('data, nodata', [(np.zeros((2, 3, 3), 'uint16'), 0), (np.full((1, 3, 3), np.nan, 'float32'), None), (np.full((1, 3, 3), -9999, 'int16'), -9999)])
def test_nothing_but_nodata(tmp_path, data, nodata):
    path = written(tmp_path/'empty.tif', data, nodata=nodata)
    with pytest.raises(RasterError) as error: read_reflectance(path)
    one_sentence(error, 'empty.tif', 'no valid pixel')
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        assert np.isnan(read_reflectance(path, all_nodata='allow').data).all()


def test_undeclared_nan_warns_once_by_name(tmp_path):
    data = np.ones((1, 3, 3), 'float32')
    data[0, 0] = np.nan, np.inf, -np.inf
    with pytest.warns(UserWarning, match='holes.tif holds NaN'): raster = read_reflectance(written(tmp_path/'holes.tif', data))
    assert np.isnan(raster.data).sum() == 3


def test_polygons(tmp_path):
    (tmp_path/'a.geojson').write_text('{"features": []}')
    for name, content in [('a.geojson', '{"features": []}'), ('b.geojson', 'words'), ('c.geojson', '[1, 2]')]:
        (tmp_path/name).write_text(content)
        with pytest.raises(RasterError) as error: rasterize_polygons(tmp_path/name, Raster(np.zeros((1, 4, 4))))
        one_sentence(error, name)


def test_no_torch_and_quick():
    "The lower floors import no torch."
    code = 'import sys, sat_recipes.bands, sat_recipes.raster, sat_recipes.datasets, sat_recipes.splits, sat_recipes.compute, sat_recipes.synthetic; assert "torch" not in sys.modules and "fastai" not in sys.modules'
    assert subprocess.run([sys.executable, '-c', code], capture_output=True).returncode == 0


def test_every_sensor_is_sound():
    for name, sensor in SENSORS.items():
        assert sensor.name == name and len(set(sensor.names)) == len(sensor)
        assert all(200 < w < 3000 for w in sensor.wavelengths) and all(b.gsd > 0 for b in sensor)
        assert [sensor.index(n) for n in sensor.names] == list(range(len(sensor)))
    assert SENSORS['eurosat'].names[-1] == 'B8A' and len(Sensor.generic(5)) == 5
