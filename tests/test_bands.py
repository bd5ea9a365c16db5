"Bands by all their names, numbers there and back, pictures and indices; what is not there is said in a sentence."
import subprocess
import sys
import warnings

import numpy as np
import pytest

from sat_recipes.bands import (COMPOSITES, INDICES, SENSORS, Band, BandError, Sensor, class_colors, composite, composite_bands, get_sensor, recognize,
                               spectral_index, to_dn, to_reflectance)

S2 = SENSORS['sentinel2_l2a']


def says(error, *words):
    text = str(error.value)
    assert '\n' not in text and len(text) < 500 and all(w in text for w in words), text


# --- names ----------------------------------------------------------------------------------------

@pytest.mark.parametrize('name, wavelength', [('B8A', 864.7), ('b8a', 864.7), ('nir08', 864.7), ('B08', 832.8), ('B8', 832.8), ('b08', 832.8), ('NIR', 832.8), (' nir ', 832.8), ('B1', 442.7), ('B11', 1613.7),
                                              ('swir16', 1613.7), ('B12', 2202.4), (0, 442.7), (-1, 2202.4), (np.int64(2), 559.8)])
def test_one_band_by_any_name(name, wavelength): assert S2[name].wavelength == wavelength and name in S2


@pytest.mark.parametrize('name', ['B10', 'B13', 'B', '', 'nearinfrared', 12, -13, None])
def test_a_band_that_is_not_there(name):
    with pytest.raises(BandError) as error: S2.index(name)
    says(error, 'sentinel2_l2a has no band', 'B8A')
    assert name not in S2


def test_what_operators_publish():
    "A few numbers of ESA, USGS and Planet, as they print them."
    l1c = SENSORS['sentinel2_l1c']
    assert len(l1c) == 13 and l1c.names[8:10] == ['B8A', 'B09'] and l1c['cirrus'].name == 'B10' and l1c['B02'].gsd == 10 and l1c['B05'].gsd == 20 and l1c['B01'].gsd == 60
    assert SENSORS['eurosat'].names == ['B01', 'B02', 'B03', 'B04', 'B05', 'B06', 'B07', 'B08', 'B09', 'B10', 'B11', 'B12', 'B8A'] and 'B10' not in S2.names and len(S2) == 12
    landsat = SENSORS['landsat9']
    assert (landsat.scale, landsat.offset) == (2.75e-5, -.2) and landsat['nir'].name == 'B5' and SENSORS['landsat5']['nir'].name == 'B4' and SENSORS['landsat7']['swir22'].name == 'B7'
    assert [SENSORS[s].rgb for s in ('sentinel2_l1c', 'landsat8', 'landsat7', 'naip', 'planetscope4')] == [(3, 2, 1), (3, 2, 1), (2, 1, 0), (0, 1, 2), (2, 1, 0)]


def test_select_keeps_what_is_known():
    part = SENSORS['landsat8'].select(['swir22', 'B2', 4])
    assert part.names == ['B7', 'B2', 'B5'] and (part.scale, part.offset, part.nodata) == (2.75e-5, -.2, 0) and part.rgb is None
    with pytest.raises(BandError): S2.select(['B02', 'B99'])


@pytest.mark.parametrize('name', SENSORS)
def test_recognized_by_its_own_names(name):
    found = recognize(SENSORS[name].names)
    assert found.names == SENSORS[name].names and found.wavelengths == SENSORS[name].wavelengths


def test_recognized_in_any_order_and_part():
    assert recognize(['B8A', 'B02']).wavelengths == [864.7, 492.4]
    assert recognize(['B1', 'B2', 'B3', 'B4', 'B5', 'B6', 'B7']).name == 'landsat8'  # all of it, spelt as Landsat spells them
    assert recognize(['B1', 'B2', 'B3', 'B4', 'B5', 'B6', 'B7', 'B8', 'B8A']).name == 'sentinel2_l1c'
    for names in ([], None, ['B02', ''], ['B02', None], ['B02', 'x'], ['B8A', 'nir08'], ['B02', 'B2']): assert recognize(names) is None


def test_sensors_by_name():
    assert get_sensor('naip') is SENSORS['naip'] and get_sensor(S2) is S2 and get_sensor(None) is None
    with pytest.raises(BandError) as error: get_sensor('Sentinel-2')
    says(error, "'Sentinel-2'", 'sentinel2_l2a', 'landsat9')
    generic = Sensor.generic(3)
    assert generic.names == ['band_1', 'band_2', 'band_3'] and generic.rgb is None and generic.nodata is None


# --- digital numbers ------------------------------------------------------------------------------

@pytest.mark.parametrize('name', ['sentinel2_l2a', 'landsat8', 'naip'])
def test_there_and_back(name):
    "Every number that a type holds comes back, nodata as nodata."
    sensor, dtype = SENSORS[name], 'uint8' if name == 'naip' else 'uint16'
    dn = np.arange(np.iinfo(dtype).max + 1).astype(dtype).reshape(1, 16, -1)
    reflectance = to_reflectance(dn, sensor.scale, sensor.offset, sensor.nodata)
    assert reflectance.dtype == np.float32 and reflectance.shape == dn.shape
    np.testing.assert_array_equal(to_dn(reflectance, sensor.scale, sensor.offset, sensor.nodata, dtype), dn)
    np.testing.assert_allclose(reflectance[dn != sensor.nodata], (dn*sensor.scale + sensor.offset)[dn != sensor.nodata], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize('dtype, nodata', [('uint8', 255), ('uint16', 0), ('int16', -9999), ('int32', -2**31), ('int64', -1), ('float32', -9999.9), ('float32', -3.4028234663852886e+38), ('float64', 1e20)])
@pytest.mark.parametrize('kind', [float, np.float64])
def test_nodata_becomes_nan_whatever_the_type(dtype, nodata, kind):
    dn = np.array([[1, nodata, 7]]).astype(dtype)
    found = to_reflectance(dn, 1, 0, kind(nodata))
    assert np.isnan(found).tolist() == [[False, True, False]] and found[0, 2] == 7


def test_no_number_is_lost_to_a_nodata_that_the_type_cannot_hold():
    for nodata in (-9999, 256, .5, np.nan, np.inf, None): assert np.isfinite(to_reflectance(np.arange(256, dtype='uint8'), nodata=nodata)).all()


def test_infinities_and_overflow_become_nan_in_silence():
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        found = to_reflectance(np.array([np.nan, np.inf, -np.inf, 1e300, .5]), 1, 0, None)
        assert np.isnan(to_reflectance(np.array([0, 5], 'uint16'), scale=1e300, nodata=None)).all()
    assert np.isnan(found).tolist() == [True]*4 + [False]


def test_shapes_and_input_are_left_alone():
    dn = np.array([0, 2000], 'uint16')
    dn.flags.writeable = False
    assert np.isnan(to_reflectance(dn)).tolist() == [True, False] and dn.tolist() == [0, 2000]
    assert np.isnan(to_reflectance(0)) and abs(to_reflectance(2000) - .2) < 1e-7 and to_reflectance(np.zeros((0, 4, 4), 'uint16')).shape == (0, 4, 4)


def test_rounding_never_makes_nodata():
    assert to_dn(np.array([0, 4e-5, -.3, 1e-4, np.nan])).tolist() == [1, 1, 1, 1, 0]
    assert to_dn(np.array([9., np.nan]), nodata=65535).tolist() == [65534, 65535]
    assert to_dn(np.array([9., -9., np.nan]), dtype='int16', nodata=-9999).tolist() == [32767, -32768, -9999]
    assert to_dn(np.array([np.inf, .5]), nodata=None, dtype='uint8', scale=1/255).tolist() == [0, 128]


@pytest.mark.parametrize('nodata', [-9999, 65536, .5, np.nan])
def test_a_nodata_that_does_not_fit_is_no_silent_number(nodata):
    with pytest.raises(ValueError) as error: to_dn(np.array([.1, np.nan]), nodata=nodata)
    says(error, f'nodata={nodata}', 'uint16', '65535')


# --- pictures -------------------------------------------------------------------------------------

def image(n, seed=0, size=20): return np.random.default_rng(seed).uniform(.02, .5, (n, size, size)).astype(np.float32)


@pytest.mark.parametrize('name', COMPOSITES)
def test_every_composite_of_every_sensor_that_has_its_bands(name):
    fitting = [s for s in SENSORS.values() if all(b in s for b in COMPOSITES[name])]
    assert len(fitting) >= 6
    for sensor in fitting:
        assert [sensor.bands[i].common for i in composite_bands(sensor, name)] == list(COMPOSITES[name])
        picture = composite(image(len(sensor)), sensor, name)
        assert picture.shape == (20, 20, 3) and picture.dtype == np.float32 and picture.min() == 0 and picture.max() == 1


def test_the_best_there_is():
    assert composite_bands('naip') == (0, 1, 2) and composite_bands(S2.select(['B8', 'B4', 'B3'])) == (0, 1, 2)
    assert composite_bands(S2.select(['B11', 'B12', 'B8', 'B5'])) == (0, 1, 2) and composite_bands(Sensor.generic(2)) == (0, 0, 0)
    assert composite_bands(S2, ['B12', 'nir', 0]) == (11, 7, 0)


def test_the_stretch():
    data = np.linspace(0, 1, 3*101).reshape(3, 101, 1)
    picture = composite(data, Sensor.generic(3))
    assert abs((picture == 0).mean() - .03) < .011 and abs((picture == 1).mean() - .03) < .011 and np.all(np.diff(picture[:, 0], axis=0) >= 0)
    np.testing.assert_allclose(composite(np.full((3, 2, 2), .15), Sensor.generic(3), limits=(0, .3)), .5, atol=1e-6)
    assert np.isfinite(composite(np.full((3, 4, 4), .2), Sensor.generic(3))).all()


@pytest.mark.parametrize('hidden', [(slice(None), slice(0, 5)), (1, slice(0, 5)), (1, slice(None)), (slice(None), slice(None)), (slice(None), slice(1, None))], ids=['corner', 'in one band', 'a whole band', 'all', 'all but a row'])
def test_nodata_is_gray_and_does_not_touch_the_rest(hidden):
    seen, data = image(3), image(3)
    data[hidden] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        picture = composite(data, Sensor.generic(3), limits=(0, .5))
        assert np.isfinite(composite(data, Sensor.generic(3))).all()
    lost = np.isnan(data).any(0)
    assert (picture[lost] == .5).all() and np.array_equal(picture[~lost], composite(seen, Sensor.generic(3), limits=(0, .5))[~lost])


def test_composites_that_cannot_be():
    for call, words in [((image(4), 'naip', 'swir'), ("naip has no band 'swir22'",)), ((image(4), 'naip', 'sunset'), ("'sunset' is not a composite", 'true_color')),
                        ((image(4), 'naip', ('red', 'nir')), ('2 bands', 'three')), ((image(3), 'naip'), ('3 bands', 'naip has 4')), ((image(5), 'naip'), ('5 bands', 'naip has 4'))]:
        with pytest.raises(BandError) as error: composite(*call)
        says(error, *words)


# --- indices --------------------------------------------------------------------------------------

PIXEL = dict(blue=.05, green=.08, red=.06, nir=.42, swir16=.21, swir22=.12)

# By hand from the published definitions, with the numbers above.
@pytest.mark.parametrize('name, expected', [('ndvi', .36/.48), ('ndwi', -.34/.5), ('mndwi', -.13/.29), ('ndsi', -.13/.29), ('ndmi', .21/.63), ('nbr', .3/.54), ('ndbi', -.21/.63), ('savi', 1.5*.36/.98),
                                            ('evi', 2.5*.36/(.42 + .36 - .375 + 1))])
def test_indices_by_hand(name, expected):
    sensor = SENSORS['landsat7'].select(['swir22', 'nir', 'blue', 'red', 'swir16', 'green'])
    data = np.array([PIXEL[c] for c in sensor.common_names], np.float32)[:, None, None]*np.ones((1, 3, 2), np.float32)
    data[:, 0, 0] = np.nan
    found = spectral_index(data, sensor, name)
    assert found.shape == (3, 2) and found.dtype == np.float32 and np.isnan(found[0, 0])
    np.testing.assert_allclose(found.ravel()[1:], expected, rtol=1e-5)


def test_every_index_is_tested(): assert {'ndvi', 'ndwi', 'mndwi', 'ndsi', 'ndmi', 'nbr', 'ndbi', 'savi', 'evi'} == set(INDICES)


@pytest.mark.parametrize('name', INDICES)
def test_nothing_over_nothing_is_nan_in_silence(name):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        found = spectral_index(np.zeros((6, 1, 1), np.float32), 'landsat7', name)
        assert not np.isinf(spectral_index(np.stack([np.full((1, 1), v) for v in (4, -.25, 0, -.25, .25, .25)]) + [[[.0]]], 'landsat7', name)).any()
        assert not np.isinf(spectral_index(np.array([1, 1, 0, 6.5, 1, 1.])[:, None, None], 'landsat7', name)).any()  # evi's own nought
    assert np.isnan(found) if name not in ('savi', 'evi') else found == 0


def test_indices_that_cannot_be():
    for call, words in [((image(4), 'naip', 'nbr'), ("naip has no band 'swir22'",)), ((image(4), 'naip', 'NDVI2'), ("'NDVI2' is not a known index", 'ndvi')), ((image(2), 'naip', 'ndvi'), ('2 bands', 'naip has 4'))]:
        with pytest.raises(BandError) as error: spectral_index(*call)
        says(error, *words)


# --- colors, import ------------------------------------------------------------------------------

@pytest.mark.parametrize('n', [0, 1, 8, 24, 25, 60, 255])
def test_colors_differ(n):
    colors = class_colors(n)
    assert len(set(colors)) == n and colors == class_colors(n) and all(isinstance(v, int) and 0 <= v <= 255 for c in colors for v in c) and class_colors(60)[:n] == colors[:60]


def seen(colors, matrix):
    "CIELAB of colors as a color-blind eye sees them: Machado, Oliveira and Fernandes (2009), on linear light."
    linear = np.array(colors)/255
    linear = np.where(linear <= .04045, linear/12.92, ((linear + .055)/1.055)**2.4)
    xyz = np.clip(linear@np.array(matrix).T, 0, 1)@np.array([[.4124, .3576, .1805], [.2126, .7152, .0722], [.0193, .1192, .9505]]).T/[.9505, 1, 1.089]
    x, y, z = np.where(xyz > .008856, np.cbrt(xyz), 7.787*xyz + 16/116).T
    return np.stack([116*y - 16, 500*(x - y), 200*(y - z)], 1)


@pytest.mark.parametrize('matrix', [np.eye(3), [[.152286, 1.052583, -.204868], [.114503, .786281, .099216], [-.003882, -.048116, 1.051998]],
                                    [[.367322, .860646, -.227968], [.280085, .672501, .047413], [-.011820, .042940, .968881]],
                                    [[1.255528, -.076749, -.178779], [-.078411, .930809, .147602], [.004733, .691367, .303900]]], ids=['all', 'protan', 'deutan', 'tritan'])
def test_ten_colors_for_every_eye(matrix):
    "And none of them is black, or the pale gray of unlabeled pixels."
    found = seen([*class_colors(10), (0, 0, 0), (237, 237, 237)], matrix)
    apart = np.linalg.norm(found[:, None] - found, axis=2)
    assert apart[~np.eye(12, dtype=bool)].min() > 16


def test_further_colors_are_apart():
    for n, least in ((24, 60), (60, 45)):
        colors = np.array([*class_colors(n), (0, 0, 0)], float)
        apart = np.linalg.norm(colors[:, None] - colors, axis=2)
        assert apart[~np.eye(n + 1, dtype=bool)].min() > least


def test_import_is_quick_and_needs_no_torch():
    "Half a second at most, in a process of its own."
    code = 'import sys, time; t = time.perf_counter(); import sat_recipes.bands; print(time.perf_counter() - t); assert not {"torch", "fastai", "rasterio", "matplotlib", "pandas"} & set(sys.modules)'
    took = [float(subprocess.run([sys.executable, '-c', code], check=True, capture_output=True, text=True).stdout) for _ in range(3)]
    assert min(took) < .5


def test_bands_are_plain_values():
    "They can be compared, hashed and sent to another process."
    import pickle
    assert pickle.loads(pickle.dumps(S2)) == S2 and len({Band('a'), Band('a')}) == 1
    with pytest.raises(AttributeError): S2.scale = 1
