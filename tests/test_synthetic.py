"Known truth must be true: shapes, shares, spectra, seeds, and files that other tools read as they read the real ones."
import subprocess
import sys
import time

import numpy as np
import pytest
import rasterio

from sat_recipes.bands import SENSORS, spectral_index
from sat_recipes.raster import dn_calibration, raster_info, read_raster, read_reflectance
from sat_recipes.synthetic import (EUROSAT_CLASSES, SPECTRA, STAND_INS, add_clouds, eurosat_patch, land_cover, render_scene, smooth_noise, spectra_table,
                                   write_eurosat_like, write_flood_chip, write_s2_scene)


def test_spectra_are_plausible():
    table, l1c = spectra_table(), SENSORS['sentinel2_l1c']
    assert table.shape == (len(SPECTRA), 13) and (table > 0).all() and (table < 1).all()
    ndvi = dict(zip(SPECTRA, spectral_index(table.T[:, None], l1c)[0]))
    assert min(ndvi[k] for k in ('forest', 'meadow', 'crop')) > .5 and ndvi['water'] < 0 and ndvi['soil'] < .25
    assert dict(zip(SPECTRA, spectral_index(table.T[:, None], l1c, 'mndwi')[0]))['water'] > .5


def test_spectra_follow_the_sensor():
    eurosat, l1c = spectra_table(['soil'], 'eurosat')[0], spectra_table(['soil'])[0]
    assert eurosat[-1] == l1c[SENSORS['sentinel2_l1c'].index('B8A')] and len(spectra_table(sensor='sentinel2_l2a')[0]) == 12
    with pytest.raises(KeyError): spectra_table(['lava'])


@pytest.mark.parametrize('length', [2, 6, 12])
def test_correlation_length_is_what_was_asked_for(length):
    "A field smoothed by a Gaussian of standard deviation s correlates as exp(-d^2/4s^2)."
    field = smooth_noise((400, 400), length, np.random.default_rng(0))
    assert abs((field[:, length:]*field[:, :-length]).mean() - np.exp(-.25)) < .06


def test_shares_and_seeds():
    cover = land_cover((200, 200), shares=(.7, .2, .1), seed=1)
    assert np.allclose(np.bincount(cover.ravel())/cover.size, (.7, .2, .1), atol=.01) and cover.dtype == np.uint8
    assert (land_cover((40, 30), 5, seed=2) == land_cover((40, 30), 5, seed=2)).all() and (land_cover((40, 30), 5, seed=2) != land_cover((40, 30), 5, seed=3)).any()
    assert set(np.unique(land_cover((100, 100), 5, 3))) == set(range(5))


def test_render_keeps_the_class_means():
    labels, spectra = land_cover((128, 128), 3, 6), spectra_table(['water', 'crop', 'soil'])
    image = render_scene(labels, spectra, variation=(0, .1, .3))
    assert image.dtype == np.float32 and image.shape == (13, 128, 128)
    for code in range(3): assert np.allclose(image[:, labels == code].mean(1), spectra[code], atol=.03)
    nir = image[7]
    assert nir[labels == 0].std() < .006 < .02 < nir[labels == 1].std() < nir[labels == 2].std()
    hazy = render_scene(labels, spectra, variation=0, noise=0, haze=.05) - render_scene(labels, spectra, variation=0, noise=0)
    assert hazy[0].mean() > .04 > .01 > hazy[-1].mean() > 0


def test_clouds():
    image = render_scene(land_cover((200, 200), 2), spectra_table(['forest', 'crop']), seed=1)
    cloudy, mask = add_clouds(image, share=.2, throw=(10, 0))
    assert abs((mask == 2).mean() - .2) < .02 and (mask == 1).any() and np.array_equal(cloudy[:, mask == 0], image[:, mask == 0])
    assert cloudy[1][mask == 2].mean() > 2*image[1][mask == 2].mean() and np.allclose(cloudy[:, mask == 1], image[:, mask == 1]/2)
    rows = np.nonzero(mask == 1)[0]
    assert (mask[np.maximum(rows - 10, 0), np.nonzero(mask == 1)[1]] == 2)[rows >= 10].all()


def test_eurosat_like_is_laid_out_as_the_real_one(tmp_path):
    start = time.perf_counter()
    write_eurosat_like(tmp_path, n_per_class=2)
    assert time.perf_counter() - start < 10
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(EUROSAT_CLASSES)
    places = set()
    for kind in EUROSAT_CLASSES:
        for i in (1, 2):
            with rasterio.open(tmp_path/kind/f'{kind}_{i}.tif') as f:
                assert (f.count, f.height, f.width, f.dtypes[0], f.nodata, f.crs.to_epsg()) == (13, 64, 64, 'uint16', None, 32632)
                assert 100 < np.median(f.read()) < 6000
                places.add(f.bounds)
    assert len(places) == 20, 'no two patches at the same place'
    scene = read_reflectance(tmp_path/'River/River_1.tif', sensor='eurosat')
    assert .005 < np.nanmedian(scene.data) < .5


def test_eurosat_like_has_the_order_of_the_bands():
    "B8A last and like B08, B10 near nothing: whoever reads it in another order notices."
    forest = np.mean([eurosat_patch('Forest', i) for i in range(5)], axis=(0, 2, 3))
    sensor = SENSORS['eurosat']
    assert sensor.names[-1] == 'B8A' and forest[-1] > forest[sensor.index('B08')] > .15 and forest[sensor.index('B10')] < .02


def test_eurosat_like_is_learnable_and_not_trivial():
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    patches = np.stack([eurosat_patch(k, i) for k in EUROSAT_CLASSES for i in range(20)])
    model, kinds = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)), np.repeat(EUROSAT_CLASSES, 20)
    assert .6 < cross_val_score(model, patches.mean((2, 3)), kinds, cv=4).mean() < .9
    rgb = cross_val_score(model, patches[:, 1:4].mean((2, 3)), kinds, cv=4).mean()
    assert rgb < cross_val_score(model, patches.mean((2, 3)), kinds, cv=4).mean(), 'thirteen bands say more than three'


def test_flood_chip(tmp_path):
    write_flood_chip(tmp_path, seed=1, shape=(200, 120))
    scene, truth = read_raster(tmp_path/'Synthetic_1_S2Hand.tif'), read_raster(tmp_path/'Synthetic_1_LabelHand.tif')
    assert scene.data.shape == (13, 200, 120) and scene.data.dtype == np.int16 and scene.nodata == 0 and scene.transform == truth.transform and scene.crs == truth.crs
    assert truth.data.dtype == np.int16 and set(np.unique(truth.data)) <= {-1, 0, 1}
    assert ((scene.data == 0).all(0) == (truth.data[0] == -1)).all()
    image = read_reflectance(tmp_path/'Synthetic_1_S2Hand.tif')
    water, index = truth.data[0] == 1, spectral_index(image.data, image.sensor, 'mndwi')
    assert .1 < water.mean() < .6 and index[water].mean() > .3 > np.nanmean(index[truth.data[0] == 0])


def test_s2_scene_offset(tmp_path):
    old, new = write_s2_scene(tmp_path/'old.tif', 0), write_s2_scene(tmp_path/'new.tif', -1000)
    sensor = SENSORS['sentinel2_l1c']
    assert dn_calibration(raster_info(old), sensor) == (1e-4, 0) and np.allclose(dn_calibration(raster_info(new), sensor), (1e-4, -.1))
    a, b = read_reflectance(old), read_reflectance(new)
    assert b.sensor.names == sensor.names and np.nanmax(abs(a.data - b.data)) < 2e-4 and (np.isnan(a.data) == np.isnan(b.data)).all()
    unseen = np.isnan(b.data).any(0)
    assert .01 < unseen.mean() < .3 and (read_raster(new).data[:, unseen] == 0).all() and (read_raster(new).data[:, ~unseen] > 0).all()


def test_stand_ins_write_into_a_folder(tmp_path):
    from sat_recipes.datasets import REGISTRY
    assert set(STAND_INS) == {'eurosat_ms', 'eurosat_small', 'sen1floods11', 'ukis_csmask'} and set(STAND_INS) <= set(REGISTRY)
    for name, write in STAND_INS.items():
        write(tmp_path/name)
        assert list((tmp_path/name).rglob('*.tif'))


def test_floor_is_light():
    code = 'import sys, sat_recipes.synthetic; print([m for m in ("torch", "fastai", "pandas", "sklearn", "scipy.ndimage", "matplotlib") if m in sys.modules])'
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True).stdout.strip() == '[]'
