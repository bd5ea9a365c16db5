"Products, and files whose numbers mean something that only names or metadata tell: the right reflectance, a sentence, or a warning."
import warnings
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from fastai.vision.all import Learner
from torch import nn

matplotlib.use('agg')

from sat_recipes.bands import SENSORS, Sensor, recognize
from sat_recipes.images import OpenMultiband
from sat_recipes.multiband import MultibandDataLoaders, reader_of, show_map
from sat_recipes.predict import open_scene
from sat_recipes.raster import (
    BandFiles, RasterError, SceneWindow, file_band, raster_info, read_raster, read_reflectance, source_files, source_key,
    source_state, write_raster)

NEW = 'S2B_MSIL2A_20230101T100319_N0509_R122_T33UUP_20230101T120000.SAFE'
OLD = 'S2B_MSIL2A_20200101T100319_N0213_R122_T33UUP_20200101T120000.SAFE'
TILE = 'T33UUP_20230101T100319'
RESOLUTIONS = {10: ('B02', 'B03', 'B04', 'B08'), 20: ('B02', 'B03', 'B04', 'B05', 'B06', 'B07', 'B8A', 'B11', 'B12'), 60: ('B01', 'B02', 'B09', 'B12')}
LANDSAT = 'LC08_L2SP_192027_20230101_20230110_02_T1'


def number(band): return 2000 + 100*(list(SENSORS['sentinel2_l1c'].names).index(band) if band in SENSORS['sentinel2_l1c'] else 50)


def put(path, data, gsd=10, names=None, tags=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    data = np.asarray(data)
    lossless = dict(QUALITY=100, REVERSIBLE='YES') if path.suffix == '.jp2' else {}
    with rasterio.open(path, 'w', driver='JP2OpenJPEG' if lossless else 'GTiff', count=len(data), height=data.shape[1], width=data.shape[2], dtype=data.dtype, crs='EPSG:32633', transform=Affine(gsd, 0, 5e5, 0, -gsd, 5e6), **lossless | options) as f:
        f.write(data)
        if names: f.descriptions = tuple(names)
        if tags: f.update_tags(**tags)
    return path


def plane(value, size, lost=True, dtype='uint16'):
    data = np.full((1, size, size), value, dtype)
    if lost: data[:, :, :size//4] = 0
    return data


def xml(path, level='L2A', offset=-1000, quantification=10000, baseline='05.09', offsets=None):
    kind = 'BOA' if level == 'L2A' else 'RADIO'
    offsets = offsets or ({} if offset is None else {i: offset for i in range(13)})
    added = ''.join(f'<{kind}_ADD_OFFSET band_id="{i}">{value}</{kind}_ADD_OFFSET>' for i, value in offsets.items())
    unit = f'<{"BOA_" if level == "L2A" else ""}QUANTIFICATION_VALUE unit="none">{quantification}</{"BOA_" if level == "L2A" else ""}QUANTIFICATION_VALUE>'
    path.write_text(f'<?xml version="1.0"?><p><PROCESSING_BASELINE>{baseline}</PROCESSING_BASELINE>{unit}<AOT_QUANTIFICATION_VALUE unit="none">1000.0</AOT_QUANTIFICATION_VALUE>{added}</p>')


def l2a(root, name=NEW, metadata=None, size=48):
    "A Level-2A product with what else lies in it."
    images = root/name/'GRANULE'/'L2A_T33UUP_A030000_20230101T100319'/'IMG_DATA'
    for gsd, bands in RESOLUTIONS.items():
        side = size*10//gsd
        # Where a band is there in several resolutions, the coarser ones are off by one, to tell them apart.
        for band in bands: put(images/f'R{gsd}m'/f'{TILE}_{band}_{gsd}m.jp2', plane(number(band) + (gsd > 10 and band in RESOLUTIONS[10]), side), gsd)
        put(images/f'R{gsd}m'/f'{TILE}_AOT_{gsd}m.jp2', plane(77, side), gsd)
        put(images/f'R{gsd}m'/f'{TILE}_TCI_{gsd}m.jp2', np.full((3, side, side), 9, 'uint8'), gsd)
    put(images/'R20m'/f'{TILE}_SCL_20m.jp2', np.full((1, size//2, size//2), 4, 'uint8'), 20)
    put(images.parent/'QI_DATA'/'MSK_CLDPRB_20m.jp2', np.full((1, size//2, size//2), 4, 'uint8'), 20)
    put(images.parent/'QI_DATA'/f'{TILE}_PVI.jp2', np.full((3, 8, 8), 4, 'uint8'), 320)
    put(images.parent/'QI_DATA'/'MSK_QUALIT_B02.jp2', np.full((1, size, size), 4, 'uint8'), 10)
    if metadata is not None: xml(root/name/'MTD_MSIL2A.xml', **metadata)
    return root/name


def l1c(root, name=NEW.replace('MSIL2A', 'MSIL1C'), metadata=None):
    images = root/name/'GRANULE'/'L1C_T33UUP_A030000_20230101T100319'/'IMG_DATA'
    for band in SENSORS['sentinel2_l1c']: put(images/f'{TILE}_{band.name}.jp2', plane(number(band.name), 480//int(band.gsd)), band.gsd)
    put(images/f'{TILE}_TCI.jp2', np.full((3, 48, 48), 9, 'uint8'), 10)
    if metadata is not None: xml(root/name/'MTD_MSIL1C.xml', 'L1C', **metadata)
    return root/name


def landsat(root, name=LANDSAT, bands=7, value=10_000, pattern='{}_SR_B{}.TIF', nodata=0, size=32):
    for i in range(1, bands + 1): put(root/name/pattern.format(name, i), plane(value + i, size), 30, nodata=nodata)
    put(root/name/f'{name}_ST_B10.TIF', plane(40_000, size), 30, nodata=0)
    put(root/name/f'{name}_QA_PIXEL.TIF', plane(21824, size), 30, nodata=1)
    put(root/name/f'{name}_SR_QA_AEROSOL.TIF', plane(100, size, dtype='uint8'), 30)
    return root/name


def told(f):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter('always')
        value = f()
    return value, [str(w.message) for w in said if issubclass(w.category, UserWarning)]


def refused(f, *words):
    with pytest.raises(RasterError) as error: f()
    text = str(error.value)
    assert '\n' not in text and all(word in text for word in words), text


def right(raster, offset, scale=1e-4):
    "Its numbers are those of its bands, and the zeros nothing."
    for band, plane in zip(raster.sensor, raster.data):
        width = plane.shape[1]
        assert np.isnan(plane[:, :width//6]).all() and np.isfinite(plane[:, width//2:]).all()
        np.testing.assert_allclose(plane[:, width//2:], (number(band.name) + offset)*scale, atol=2e-6)
    return True


# --- Sentinel-2 ----------------------------------------------------------------------------------

@pytest.mark.parametrize('name, metadata, offset', [
    (NEW, None, -1000), (OLD, None, 0), (NEW, {}, -1000), (OLD, dict(offset=None, baseline='02.13'), 0),
    (NEW.replace('N0509', 'N0400'), None, -1000), (NEW.replace('N0509', 'N0301'), None, 0), (NEW.replace('N0509', 'N0510'), None, -1000),
    ('renamed', {}, -1000), ('renamed', dict(offset=None, baseline='03.01'), 0), ('renamed', dict(offset=None, baseline='04.00'), -1000),
    (OLD, {}, -1000), (NEW, dict(offset=-500), -500)])
def test_level_2a(tmp_path, name, metadata, offset):
    "The offset is that of the metadata, or else of the baseline in the folder's name."
    raster, said = told(lambda: read_reflectance(l2a(tmp_path, name, metadata)))
    assert raster.sensor.name == 'sentinel2_l2a' and raster.sensor.names == SENSORS['sentinel2_l2a'].names and not said
    assert raster.shape == (12, 48, 48) and right(raster, offset)


@pytest.mark.parametrize('metadata, offset', [(None, -1000), ({}, -1000), (dict(offset=None, baseline='02.09'), 0)])
def test_level_1c(tmp_path, metadata, offset):
    raster = read_reflectance(l1c(tmp_path, metadata=metadata))
    assert raster.sensor.name == 'sentinel2_l1c' and len(raster.sensor) == 13 and right(raster, offset)


def test_another_quantification_value(tmp_path):
    assert right(read_reflectance(l2a(tmp_path, metadata=dict(quantification=5000))), -1000, 2e-4)


def test_offsets_that_differ_from_band_to_band(tmp_path):
    folder = l2a(tmp_path, metadata=dict(offsets={i: -1000 - i for i in range(13)}))
    refused(lambda: read_reflectance(folder), 'different scales or offsets', 'offset=')
    assert np.nanmax(read_reflectance(folder, bands=['B02'], scale=1e-4, offset=-.1).data) == pytest.approx((number('B02') - 1000)/1e4)


@pytest.mark.parametrize('text', ['', '<?xml version="1.0"?><broken', '\ufeffnot xml at all \x00'])
def test_metadata_that_cannot_be_read(tmp_path, text):
    folder = l2a(tmp_path)
    (folder/'MTD_MSIL2A.xml').write_text(text)
    assert right(read_reflectance(folder), -1000)


def test_product_without_its_baseline_says_so(tmp_path):
    "Files under new names of folders: what is assumed is said once."
    folder = l2a(tmp_path, 'scene')
    raster, said = told(lambda: read_reflectance(folder))
    assert right(raster, 0) and len(said) == 1 and 'no processing baseline' in said[0] and 'MTD_MSIL' in said[0]
    assert told(lambda: read_reflectance(folder))[1] == []


def test_a_baseline_of_ones_own_processing(tmp_path):
    raster, said = told(lambda: read_reflectance(l2a(tmp_path, NEW.replace('N0509', 'N9999'))))
    assert right(raster, 0) and 'no processing baseline' in said[0]


def lists(folder, *patterns): return [path for pattern in patterns for path in sorted(folder.rglob(pattern))]


@pytest.mark.parametrize('patterns, names', [
    (['*_B0[234]_10m.jp2'], ['B02', 'B03', 'B04']), (['*_B8A_20m.jp2', '*_B04_10m.jp2'], ['B8A', 'B04']),
    (['*_B02_20m.jp2', '*_B02_10m.jp2', '*_B01_60m.jp2'], ['B02', 'B01']), (['*_B12_60m.jp2', '*_B12_20m.jp2', '*_B11_20m.jp2'], ['B12', 'B11'])])
def test_lists(tmp_path, patterns, names):
    files = lists(l2a(tmp_path), *patterns)
    for source in (files, tuple(map(str, files)), BandFiles(tuple(files))):
        raster = read_reflectance(source)
        assert raster.sensor.names == names and right(raster, -1000) and raster_info(source).band_names == tuple(names)


def test_what_is_no_band_is_left_out_of_a_list(tmp_path):
    files = lists(l2a(tmp_path), '*_10m.jp2', '*_20m.jp2')
    raster, said = told(lambda: read_reflectance(files))
    assert raster.sensor.names[:4] == ['B02', 'B03', 'B04', 'B08'] and len(raster.sensor) == 10 and right(raster, -1000)
    assert any('TCI' in text and 'SCL' in text and 'left out' in text for text in said)


def test_what_is_no_band_can_be_read_alone(tmp_path):
    folder = l2a(tmp_path)
    assert (read_raster(lists(folder, '*SCL*')[0]).data == 4).all() and read_raster(lists(folder, '*TCI_10m*')[0]).shape == (3, 48, 48)


@pytest.mark.parametrize('name, band', [
    (f'{TILE}_B02_10m.jp2', 'B02'), (f'{TILE}_B8A.jp2', 'B8A'), ('S2A_OPER_MSI_L1C_TL_EPA__20160605T113933_A000734_T33UUP_B12.jp2', 'B12'),
    ('B02.tif', 'B02'), ('L2A_T33UUP_20170101T100319_B04_10m.jp2', 'B04'), ('b8a.tif', 'B8A'), ('scene-B11.tif', 'B11'),
    ('HLS.S30.T33UUP.2023001T100319.v2.0.B8A.tif', 'B8A'), (f'{LANDSAT}_SR_B5.TIF', 'B5'), ('LC08_L1TP_139045_20170304_20170316_01_T1_sr_band4.tif', 'B4'),
    (f'{TILE}_SCL_20m.jp2', ''), (f'{TILE}_TCI.jp2', ''), (f'{LANDSAT}_QA_PIXEL.TIF', ''), (f'{LANDSAT}_ST_B10.TIF', ''), ('MSK_QUALIT_B02.jp2', ''),
    ('scene.tif', ''), ('patch_12.tif', ''), ('B02_mask.tif', ''), ('club2.tif', '')])
def test_bands_by_file_name(tmp_path, name, band):
    path = put(tmp_path/name, plane(3000, 8))
    assert file_band(path) == band and raster_info(path).band_names == (band,)


def test_a_lone_file_is_known(tmp_path):
    path = lists(l2a(tmp_path), '*_B8A_20m.jp2')[0]
    info = raster_info(path)
    assert info.band_names == ('B8A',) and info.sensor.names == ['B8A'] and info.sensor.wavelengths == [864.7]
    assert right(read_reflectance(path), -1000)


def test_a_band_name_in_the_file_wins(tmp_path):
    assert raster_info(put(tmp_path/'T33UUP_20230101T100319_B04.tif', plane(3000, 8), names=['B08'])).band_names == ('B08',)


@pytest.mark.parametrize('tags, offset', [(dict(BOA_OFFSET_APPLIED='true'), 0), (dict(BOA_ADD_OFFSET='-500'), -500), (dict(PROCESSING_BASELINE='02.13'), 0)])
def test_what_a_file_says_of_itself_wins(tmp_path, tags, offset):
    path = put(tmp_path/NEW/f'{TILE}_B04.tif', plane(3000, 8), tags=tags)
    assert np.nanmax(read_reflectance(path).data) == pytest.approx((3000 + offset)/1e4)


def test_a_stack_made_of_a_product(tmp_path):
    path = put(tmp_path/NEW.replace('.SAFE', '.tif'), np.concatenate([plane(3000, 8)]*3), names=['B02', 'B03', 'B04'])
    assert np.nanmax(read_reflectance(path).data) == pytest.approx(.2) and np.isnan(read_reflectance(path).data[:, :, :2]).all()
    path = put(tmp_path/NEW/'reflectance.tif', np.full((3, 8, 8), .25, 'float32'), names=['B02', 'B03', 'B04'])
    assert (read_reflectance(path).data == .25).all()
    path = put(tmp_path/NEW/'labels.tif', plane(3, 8))
    assert raster_info(path).nodata is None and (read_raster(path).data[0, :, 2:] == 3).all()


def test_nodata_does_not_bleed_into_coarser_bands(tmp_path):
    raster = read_reflectance(l2a(tmp_path))
    assert all(len(np.unique(plane[np.isfinite(plane)])) == 1 for plane in raster.data)


@pytest.mark.parametrize('make, words', [
    (lambda root: (l2a(root), l2a(root, OLD.replace('20200101T100319', '20200101T100320'))), None),
    (lambda root: put(root/'photo.tif', plane(3, 8)), ('no .jp2 or .tif files named by band',)), (lambda root: root.mkdir(), ('no .jp2 or .tif',))])
def test_folders_that_are_no_scene(tmp_path, make, words):
    make(tmp_path/'folder')
    if words is None:
        for path in list((tmp_path/'folder'/OLD.replace('20200101T100319', '20200101T100320')).rglob('*.jp2')): path.rename(path.with_name(path.name.replace('20230101', '20200101')))
        words = '2 scenes', 'give that of one'
    refused(lambda: read_reflectance(tmp_path/'folder'), 'folder', *words)


def test_two_dates_in_a_list(tmp_path):
    files = [put(tmp_path/f'T33UUP_{date}T100319_B02_10m.jp2', plane(3000, 8)) for date in (20230101, 20230111)]
    refused(lambda: read_raster(files), 'B02', 'T33UUP_20230101', 'T33UUP_20230111', 'one scene')


@pytest.mark.parametrize('name', [f'{NEW}.zip', 'product.ZIP', f'{LANDSAT}.tar', 'a.tar.gz'])
def test_archives_are_refused(tmp_path, name):
    (tmp_path/name).write_bytes(b'PK\3\4 and so on')
    refused(lambda: read_reflectance(tmp_path/name), name, 'unpack it')


# --- Landsat and others ---------------------------------------------------------------------------

@pytest.mark.parametrize('name, bands, pattern, sensor, scale, offset', [
    (LANDSAT, 7, '{}_SR_B{}.TIF', 'landsat8', 2.75e-5, -.2), (LANDSAT.replace('LC08', 'LC09'), 7, '{}_SR_B{}.TIF', 'landsat9', 2.75e-5, -.2),
    (LANDSAT.replace('LC08', 'LE07'), 5, '{}_SR_B{}.TIF', 'landsat7', 2.75e-5, -.2), (LANDSAT.replace('LC08', 'LT05'), 4, '{}_SR_B{}.tif', 'landsat5', 2.75e-5, -.2),
    ('LC08_L1TP_139045_20170304_20170316_01_T1', 7, '{}_sr_band{}.tif', 'landsat8', 1e-4, 0), ('LC08_CU_003002_20230101_20230110_02', 7, '{}_SR_B{}.TIF', 'landsat8', 2.75e-5, -.2)])
@pytest.mark.parametrize('as_list', [True, False])
def test_landsat(tmp_path, name, bands, pattern, sensor, scale, offset, as_list):
    folder = landsat(tmp_path, name, bands, pattern=pattern)
    raster, said = told(lambda: read_reflectance(sorted(folder.glob(pattern.format('*', '*'))) if as_list else folder))
    assert raster.sensor.name == sensor and raster.sensor.names == [f'B{i}' for i in range(1, bands + 1)] and not said
    np.testing.assert_allclose(raster.data[:, 0, -1], [(10_000 + i)*scale + offset for i in range(1, bands + 1)], rtol=1e-5)
    assert np.isnan(raster.data[:, :, :5]).all()


def test_landsat_without_declared_nodata_and_alone(tmp_path):
    path = landsat(tmp_path, nodata=None)/f'{LANDSAT}_SR_B4.TIF'
    raster = read_reflectance(path)
    assert raster.data[0, 0, -1] == pytest.approx(10_004*2.75e-5 - .2) and np.isnan(raster.data[:, :, :5]).all() and raster.sensor.common_names == ['red']
    assert not read_raster(path).valid[:, :5].any() and read_raster(path).nodata == 0


def test_landsat_level_1_is_refused(tmp_path):
    path = put(tmp_path/'LC08_L1TP_192027_20230101_20230110_02_T1_B4.TIF', plane(9000, 8))
    refused(lambda: read_reflectance(path), 'Level 1', 'Level 2', 'scale=')
    assert np.nanmax(read_reflectance(path, scale=2e-5, offset=-.1).data) == pytest.approx(.08) and read_raster(path).band_names == ('B4',)


@pytest.mark.parametrize('kind, band, common, sensor', [('S30', 'B05', 'rededge071', 'sentinel2_l2a'), ('L30', 'B05', 'nir', 'landsat8')])
def test_harmonized(tmp_path, kind, band, common, sensor):
    "One name, two bands; no offset, and another nodata."
    data = plane(3000, 8, dtype='int16')
    data[data == 0] = -9999
    raster, said = told(lambda: read_reflectance(put(tmp_path/f'HLS.{kind}.T33UUP.2023001T100319.v2.0.{band}.tif', data)))
    assert raster.sensor.common_names == [common] and raster.sensor.name == sensor and np.nanmax(raster.data) == pytest.approx(.3) and np.isnan(raster.data[:, :, :2]).all() and not said


# --- names of bands that several sensors share ----------------------------------------------------

@pytest.mark.parametrize('names', [
    [f'B{i}' for i in range(2, 8)], [f'B{i}' for i in range(1, 5)], [f'B{i}' for i in range(1, 9)], ['B1', 'B2', 'B3'], ['B4', 'B3', 'B2'], ['b2', 'b3', 'b4', 'b5'],
    [f'B{i}' for i in range(1, 12)], ['B5'], ['B2', 'B3', 'B4', 'B5', 'B6', 'B7', 'B10'], ['SR_B2', 'SR_B3', 'SR_B4', 'SR_B5'], ['B3', 'B4', 'B5', 'B7']])
def test_numbers_are_no_names(tmp_path, names):
    path = put(tmp_path/'scene.tif', np.full((len(names), 8, 8), 10_000, 'uint16'), names=names)
    assert recognize(names) is None and raster_info(path).sensor is None and read_raster(path).band_names == tuple(names)
    refused(lambda: read_reflectance(path), 'scene.tif', names[0], 'sensor=')
    assert (read_reflectance(path, scale=1e-4, offset=0).data == np.float32(1)).all()
    refused(lambda: OpenMultiband().setups([path]), 'sensor=')


@pytest.mark.parametrize('names, sensor', [
    (['B02', 'B03', 'B04'], 'sentinel2'), (['B2', 'B3', 'B4', 'B8'], 'sentinel2'), (['B2', 'B3', 'B4', 'B8A'], 'sentinel2'), (['B4', 'B11', 'B12'], 'sentinel2'),
    (['B01', 'B02', 'B03', 'B04', 'B05', 'B06', 'B07', 'B08'], 'sentinel2'), (['SR_B2', 'SR_B3', 'SR_B4', 'SR_B5', 'SR_B6', 'SR_B7'], 'landsat8'),
    ([f'B{i}' for i in (*range(1, 9), '8A', *range(9, 13))], 'sentinel2'), (SENSORS['planetscope'].names, 'planetscope')])
def test_names_of_one_sensor(tmp_path, names, sensor):
    path = put(tmp_path/'scene.tif', np.full((len(names), 8, 8), 10_000, 'uint16'), names=names)
    raster, said = told(lambda: read_reflectance(path))
    assert raster.sensor.name.startswith(sensor) and not said
    assert raster.data.flat[0] == pytest.approx(.075 if sensor == 'landsat8' else 1)


def test_b2_to_b7_with_a_sensor(tmp_path):
    names = [f'B{i}' for i in range(2, 8)]
    path = put(tmp_path/'scene.tif', np.full((6, 8, 8), 10_000, 'uint16'), names=names)
    raster = read_reflectance(path, sensor=SENSORS['landsat8'].select(names))
    assert raster.data.flat[0] == pytest.approx(.075) and raster.sensor.common_names == SENSORS['landsat8'].common_names[1:]


@pytest.mark.parametrize('tags, sensor, value', [
    (dict(SPACECRAFT_ID='LANDSAT_8'), 'landsat8', .075), (dict(platform='landsat-9'), 'landsat9', .075), (dict(PLATFORM='Sentinel-2A', PROCESSING_BASELINE='05.09'), 'sentinel2_l1c', .9),
    (dict(satellite='S2B', PROCESSING_BASELINE='02.09'), 'sentinel2_l1c', 1)])
def test_metadata_decide(tmp_path, tags, sensor, value):
    path = put(tmp_path/'scene.tif', np.full((6, 8, 8), 10_000, 'uint16'), names=[f'B{i}' for i in range(2, 8)], tags=tags)
    raster, said = told(lambda: read_reflectance(path))
    assert raster.sensor.name == sensor and raster.data.flat[0] == pytest.approx(value) and not said


@pytest.mark.parametrize('names', [['red', 'nir'], ['red', 'green', 'blue', 'nir'], ['blue', 'green', 'red', 'nir'], SENSORS['landsat8'].names, SENSORS['landsat5'].names])
def test_a_guess_is_said(tmp_path, names):
    "Once for the files of a folder; none where nothing hangs on it."
    paths = [put(tmp_path/f'{i}.tif', np.full((len(names), 8, 8), 10_000, 'uint16'), names=names) for i in range(3)]
    said = [text for path in paths for text in told(lambda: read_reflectance(path))[1]]
    assert len(said) == 1 and str(tmp_path) in said[0] and names[0] in said[0] and 'sensor=' in said[0]
    known = raster_info(paths[0]).sensor
    assert read_reflectance(paths[0]).data.flat[0] == pytest.approx(10_000*known.scale + known.offset) and known.scale < 1e-3
    assert told(lambda: read_reflectance(paths[0], sensor=known))[1] == []
    path = put(tmp_path/'floats'/'a.tif', np.full((len(names), 8, 8), .25, 'float32'), names=names)
    assert told(lambda: read_reflectance(path))[1] == [] and (read_reflectance(path).data == .25).all()


# --- zeros -----------------------------------------------------------------------------------------

@pytest.mark.parametrize('dtype, options, sensor, lost', [
    ('uint16', {}, 'eurosat', True), ('int16', {}, 'eurosat', True), ('uint8', {}, 'eurosat', False), ('uint16', dict(nodata=7), 'eurosat', False),
    ('uint16', {}, None, False), ('float32', {}, 'eurosat', False), ('uint16', {}, Sensor('mine', SENSORS['eurosat'].bands, nodata=None), False)])
def test_zeros_of_a_known_sensor_are_nodata(tmp_path, dtype, options, sensor, lost):
    data = np.ones((13, 8, 8), dtype)
    data[:, :, :2] = 0
    path = put(tmp_path/'patch.tif', data, **options)
    raster = read_reflectance(path, sensor=sensor)
    assert np.isnan(raster.data[:, :, :2]).all() == lost and np.isfinite(raster.data[:, :, 2:]).all()
    opener = OpenMultiband(sensor)
    opener.setups([path])
    for item in (path, data) if dtype == 'uint16' else (path,):
        np.testing.assert_array_equal(opener(item).numpy(), raster.data)


# --- one scene for all verbs -----------------------------------------------------------------------

def trained(scene, mask, **kwargs):
    dls = MultibandDataLoaders.from_scenes(scene, mask, ['a', 'b'], size=16, bs=2, num_workers=0, **kwargs)
    torch.manual_seed(0)
    return Learner(dls, nn.Conv2d(len(reader_of(dls).sensor), 2, 1))


@pytest.mark.parametrize('store', ['auto', None])
@pytest.mark.parametrize('kind', ['folder', 'text', 'list', 'landsat', 'level 1c'])
def test_read_train_map_and_show_take_one_scene(tmp_path, kind, store, monkeypatch):
    "Training patches and the map see the same reflectance, bit for bit."
    monkeypatch.setenv('SAT_RECIPES_CACHE', str(tmp_path/'cache'))
    folder = landsat(tmp_path) if kind == 'landsat' else l1c(tmp_path) if kind == 'level 1c' else l2a(tmp_path)
    scene = {'text': str(folder), 'list': lists(folder, '*_B0[234]_10m.jp2', '*_B11_20m.jp2')}.get(kind, folder)
    whole = read_reflectance(scene)
    side = whole.shape[1]
    mask = write_raster(tmp_path/'mask.tif', np.arange(side*side).reshape(side, side).astype('uint8') % 2, like=whole, nodata=None)
    learn = trained(scene if kind != 'list' else [scene], mask, store=store)
    assert reader_of(learn.dls).sensor.names == whole.sensor.names
    with open_scene(scene, reader_of(learn.dls)) as opened:
        seen = opened.read(0, side)
        assert opened.nodata == 0
    np.testing.assert_array_equal(seen, whole.data)
    for dl in learn.dls:
        for i, window in enumerate(dl.items):
            column, row, width, height = window.rectangle
            np.testing.assert_array_equal(dl.dataset[i][0].numpy(), whole.data[:, row:row + height, column:column + width])
    batch = reader_of(learn.dls)(learn.dls.train.items[0])
    assert np.nanmin(batch.numpy()) > .05
    done = learn.predict_scene(scene, tmp_path/'map.tif', progress=False)
    mapped = read_raster(done)
    assert mapped.crs == whole.crs and mapped.transform == whole.transform and (mapped.valid == np.isfinite(whole.data).any(0)).all()
    assert len(show_map(scene, done)) == 2 and whole.show() is not None
    matplotlib.pyplot.close('all')


def test_a_model_meets_another_sensor(tmp_path):
    "B4 is not B04, and the numbers of each mean what its own product says."
    names = ['B2', 'B3', 'B4', 'B5']
    train = put(tmp_path/'train.tif', np.random.default_rng(0).integers(8000, 20_000, (4, 48, 48)).astype('uint16'), names=names)
    mask = put(tmp_path/'mask.tif', np.random.default_rng(0).integers(0, 2, (1, 48, 48)).astype('uint8'))
    learn = trained(train, mask, sensor=SENSORS['landsat8'].select(names))
    with open_scene(l2a(tmp_path), reader_of(learn.dls)) as scene:
        seen = scene.read(0, 48)[:, 0, -1]
    np.testing.assert_allclose(seen, [(number(band) - 1000)/1e4 for band in ('B02', 'B03', 'B04', 'B08')], atol=1e-5)


def test_windows_keys_and_states_of_a_folder(tmp_path):
    folder = l2a(tmp_path)
    window = SceneWindow(folder, 20, 4, 10, 12)
    np.testing.assert_array_equal(read_reflectance(window).data, read_reflectance(folder).data[:, 4:16, 20:30])
    assert source_key(folder) == source_key(str(folder)) and len(source_files(folder)) == sum(map(len, RESOLUTIONS.values()))
    assert raster_info(window).shape == (12, 12, 10) and 'column 20' in window.name and Path(read_raster(folder).path).exists()


def test_metadata_that_appear_change_the_state(tmp_path):
    folder = l2a(tmp_path, 'scene')
    before = source_state(folder)
    xml(folder/'MTD_MSIL2A.xml')
    assert source_state(folder) != before


@pytest.mark.parametrize('file', ['MTD_MSIL2A.xml', 'GRANULE/L2A_T33UUP_A030000_20230101T100319/IMG_DATA', 'GRANULE/L2A_T33UUP_A030000_20230101T100319/IMG_DATA/R20m'])
def test_parts_of_a_product(tmp_path, file):
    "Its metadata stand for it; a folder in it is a scene of the bands that are there."
    raster = read_reflectance(l2a(tmp_path, 'renamed', {})/file)
    assert raster.data.max(where=np.isfinite(raster.data), initial=0) == pytest.approx((number('B12') - 1000)/1e4) and raster.shape[1] == (24 if 'R20m' in file else 48)


def test_metadata_of_landsat_stand_for_it(tmp_path):
    (landsat(tmp_path)/f'{LANDSAT}_MTL.txt').write_text('GROUP = LANDSAT_METADATA_FILE')
    assert read_reflectance(tmp_path/LANDSAT/f'{LANDSAT}_MTL.txt').sensor.names == SENSORS['landsat8'].names


def test_gdals_names_of_parts_are_refused():
    refused(lambda: raster_info('SENTINEL2_L2A:/data/MTD_MSIL2A.xml:10m:EPSG_32633'), 'SENTINEL2_L2A', 'folder of the product')


def test_patches_with_a_file_a_band_warn_once(tmp_path):
    "BigEarthNet: a folder a patch, processed by its makers."
    said = []
    for i in range(4):
        patch = f'S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_26_{i}'
        for band in ('B02', 'B03', 'B8A'): put(tmp_path/patch/f'{patch}_{band}.tif', plane(number(band), 12), 20 if band == 'B8A' else 10)
        (tmp_path/patch/f'{patch}_B8A.tif').unlink()
        raster, more = told(lambda: read_reflectance(tmp_path/patch))
        said += more
        assert raster.sensor.names == ['B02', 'B03'] and right(raster, 0)
    assert len(said) == 1 and 'no processing baseline' in said[0]


def test_heat_map_of_a_product(tmp_path):
    from sat_recipes import fully_convolutional  # noqa: F401, which gives learners their heat_map
    folder = l2a(tmp_path/'product')
    for label, low in (('land', 2000), ('water', 1000)):
        for i in range(4): put(tmp_path/'patches'/label/f'{i}.tif', np.random.default_rng(i).integers(low, low + 900, (4, 16, 16)).astype('uint16'), names=['B02', 'B03', 'B04', 'B08'])
    dls = MultibandDataLoaders.from_folder(tmp_path/'patches', bs=2, seed=0, num_workers=0, store=None)
    net = nn.Sequential(nn.Conv2d(4, 8, 3, stride=4, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))
    learn = Learner(dls, net)
    with learn.no_bar(): maps = [learn.heat_map(scene).data for scene in (folder, str(folder), lists(folder, '*_B0[2348]_10m.jp2'), read_reflectance(folder, bands=['B02', 'B03', 'B04', 'B08']))]
    assert maps[0].shape[0] == 2 and np.isfinite(maps[0][:, :, -1]).all() and all(np.array_equal(maps[0], other, equal_nan=True) for other in maps[1:])
