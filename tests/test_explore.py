"Principal components beside scikit-learn, numbers of classes on planted fields, neighbors, thumbnails, and the projector read back."
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import pyplot as plt
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler
from torch import nn

from sat_recipes.explore import (
    RasterPCA, choose_k, embed, nearest, scene_windows, score_k, show_thumbnails, valid_pixels, write_projector)
from sat_recipes.raster import read_reflectance, write_raster
from sat_recipes.synthetic import land_cover, render_scene, spectra_table, write_s2_scene


@pytest.fixture(scope='module')
def scene(tmp_path_factory):
    return write_s2_scene(tmp_path_factory.mktemp('scene')/'scene.tif', shape=(150, 230))


@pytest.mark.parametrize('size', [64, 100, 512])
@pytest.mark.parametrize('standardize', [False, True])
def test_windows_give_what_scikit_learn_gives_on_all_pixels(scene, size, standardize):
    image = read_reflectance(scene).data
    pixels = image.reshape(13, -1).T.astype(float)
    pixels = pixels[np.isfinite(pixels).all(1)]
    assert len(pixels) < image[0].size  # the scene has nodata
    if standardize: pixels = StandardScaler().fit_transform(pixels)
    theirs = PCA().fit(pixels)
    ours = RasterPCA(scene_windows(scene, size), standardize)
    np.testing.assert_allclose(ours.explained, theirs.explained_variance_ratio_, atol=1e-9)
    np.testing.assert_allclose(ours.components[:6], theirs.components_[:6], atol=1e-5)
    found = valid_pixels(ours.transform(image))
    np.testing.assert_allclose(found, theirs.transform(pixels), atol=1e-5)
    assert np.isnan(ours.transform(image)).any(0).sum() == np.isnan(image).any(0).sum()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), cuts=st.lists(st.integers(1, 59), max_size=6), shift=st.floats(-1e3, 1e3))
def test_it_does_not_matter_how_the_pixels_are_cut(seed, cuts, shift):
    pixels = np.random.default_rng(seed).normal(shift, [3, 2, 1], (60, 3))
    parts = [part.T[:, None] for part in np.split(pixels, sorted(cuts))]
    parts.insert(1, np.full((3, 1, 4), np.nan))
    ours, theirs = RasterPCA(parts), PCA().fit(pixels)
    np.testing.assert_allclose(ours.variance, theirs.explained_variance_, rtol=1e-6)
    np.testing.assert_allclose(ours.components, theirs.components_, atol=1e-5)
    for n in (0, 1, 2, 3):
        rest = (pixels - pixels.mean(0)) - (pixels - pixels.mean(0))@theirs.components_[:n].T@theirs.components_[:n]
        np.testing.assert_allclose(ours.lost(n), rest.var(0)/pixels.var(0), atol=1e-5)


def peak(path):
    tracemalloc.start()
    RasterPCA(scene_windows(path, 256))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most


def test_memory_stays_flat_on_a_scene_ten_times_as_large(tmp_path):
    rng = np.random.default_rng(0)
    small, large = (write_raster(tmp_path/f'{rows}.tif', rng.integers(1, 9999, (4, rows, 512), 'uint16'), nodata=0)
                    for rows in (512, 5120))
    assert peak(large) < 1.1*peak(small)


def test_a_constant_band_and_too_few_pixels():
    image = np.random.default_rng(0).random((3, 8, 8))
    image[1] = .1
    pca = RasterPCA([image], standardize=True)
    assert np.isfinite(pca.transform(image)).all() and pca.explained[2] == pytest.approx(0, abs=1e-6)
    with pytest.raises(ValueError, match='1 pixels are valid'): RasterPCA([image[:, :1, :1]])


def planted(seed, k, noise):
    "Pixels of a scene of k surfaces, each divided by its mean: what is left of brightness after that is noise."
    names = ['water', 'forest', 'soil', 'crop', 'roof', 'meadow'][:k]
    labels = land_cover((48, 48), k, 6, seed)
    pixels = valid_pixels(render_scene(labels, spectra_table(names), seed, noise=noise))[::2]
    return pixels/pixels.mean(1, keepdims=True)


@pytest.mark.parametrize('seed', range(10))
def test_the_mixture_finds_the_planted_number_where_noise_is_small(seed):
    k = 3 + seed % 3
    assert choose_k(score_k(planted(seed, k, .001), range(1, 8), seed, repeats=2)).bic == k


def test_five_criteria_agree_on_clouds_far_apart_and_know_when_there_is_one():
    rng = np.random.default_rng(0)
    four = np.concatenate([rng.normal(middle, .2, (60, 2)) for middle in ((0, 0), (3, 0), (0, 3), (3, 3))])
    scores = score_k(four, range(1, 8))
    assert set(choose_k(scores)) == {4}
    assert scores.loc[4, 'stability'] == pytest.approx(1) and scores.loc[4, 'silhouette'] > .8
    assert scores.inertia.is_monotonic_decreasing and scores.loc[1, ['silhouette', 'stability']].isna().all()
    one = choose_k(score_k(rng.normal(size=(200, 2)), range(1, 5)))
    assert one.gap == 1 and one.bic == 1


def test_embeddings_are_means_of_maps_of_features_in_evaluation_mode():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.Dropout(.9)).train()
    images = torch.randn(7, 3, 8, 8)
    found = embed(network, images.split(3))
    np.testing.assert_allclose(found, network.eval()(images).mean((2, 3)).detach(), atol=1e-6)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(images, torch.zeros(7)), batch_size=2)
    np.testing.assert_allclose(embed(network, loader), found, atol=1e-6)
    assert embed(nn.Sequential(network, nn.Flatten()), [images]).shape == (7, 180)


def test_neighbors_by_angle_and_by_distance():
    points = np.array([[1, 0], [10, 1], [1, 1], [1.2, .1], [5, 5.5]])
    assert nearest(points, 1).ravel().tolist() == [3, 3, 4, 1, 2]
    assert nearest(points, 2, 'euclidean')[0].tolist() == [3, 2]
    with pytest.raises(ValueError): nearest(points, 5)


def test_thumbnails_lie_at_their_places():
    points = np.array([[0, 0], [2, 1], [1, 3]])
    ax = show_thumbnails(points, np.random.default_rng(0).random((3, 8, 8, 3)), ['red', 'blue', 'red'])
    ax.figure.canvas.draw()
    assert [tuple(box.xy) for box in ax.artists] == [tuple(p) for p in points]
    low, high = ax.get_xlim()
    assert low < 0 and high > 2
    plt.close(ax.figure)


def test_the_projector_is_read_back(tmp_path):
    pytest.importorskip('tensorboard')
    rng = np.random.default_rng(0)
    features = rng.random((6, 4), dtype='float32')
    write_projector(tmp_path, features, list('aabbcc'), rng.random((6, 16, 16, 3), dtype='float32'))
    table, = tmp_path.rglob('tensors.tsv')
    names, = tmp_path.rglob('metadata.tsv')
    sprite, = tmp_path.rglob('sprite.png')
    np.testing.assert_allclose(np.loadtxt(table), features, atol=1e-6)
    assert names.read_text().split() == list('aabbcc')
    assert plt.imread(sprite).shape[:2] == (48, 48)  # a grid of 3 x 3
    config = (tmp_path/'projector_config.pbtxt').read_text()
    assert 'tensors.tsv' in config and 'single_image_dim: 16' in config


def test_without_tensorboard_the_message_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'torch.utils.tensorboard', None)
    with pytest.raises(ImportError, match='sat-recipes.monitor'):
        write_projector(tmp_path, np.zeros((2, 2), 'float32'), list('ab'), np.zeros((2, 8, 8, 3), 'float32'))
