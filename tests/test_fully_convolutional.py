"""Fully convolutional copies of classifiers: every kind of head, every error, scenes in pieces."""
import copy

import numpy as np
import pytest
import timm
import torch
import torchvision.models as tv
from affine import Affine
from fastai.data.transforms import get_c
from fastai.layers import AdaptiveConcatPool2d, Flatten
from fastai.learner import Learner, load_learner
from fastai.losses import BCEWithLogitsLossFlat
from fastai.vision.learner import create_timm_model, create_vision_model
from torch import nn

from sat_recipes.bands import SENSORS
from sat_recipes.fully_convolutional import FullyConvolutional, fully_convolutional, heat_extent, sliding_logits
from sat_recipes.multiband import MultibandDataLoaders, reader_of
from sat_recipes.predict import SceneReader
from sat_recipes.raster import Raster, RasterError, read_reflectance, write_raster
from sat_recipes.synthetic import eurosat_patch, write_eurosat_like
from sat_recipes.transfer import multiband_learner

PLACE = Raster(None, 'EPSG:32633', Affine(10, 0, 5e5, 0, -10, 4.9e6))


def same(model, size, bands=3):
    "The largest difference between a classifier and its copy, relative to the logits, on patches of its size."
    model.eval()
    x = torch.randn(3, bands, *((size, size) if isinstance(size, int) else size))
    with torch.no_grad(): expected, found = model(x), fully_convolutional(model, size)(x)
    assert found.shape == (*expected.shape, 1, 1)
    return float((found[..., 0, 0] - expected).abs().max()/max(float(expected.abs().max()), 1))


@pytest.fixture(scope='module')
def folder(tmp_path_factory): return write_eurosat_like(tmp_path_factory.mktemp('patches'), n_per_class=2)


@pytest.fixture(scope='module')
def dls(folder): return MultibandDataLoaders.from_folder(folder, sensor='eurosat', valid_pct=.5, seed=0, bs=4)


def bare_body(bands=13): return nn.Sequential(nn.Conv2d(bands, 8, 5, 2), nn.ReLU(), nn.BatchNorm2d(8), nn.Conv2d(8, 12, 3, 2), nn.ReLU())


@pytest.fixture(scope='module')
def bare(dls):
    "A learner without padding: its heat map is the sliding window."
    torch.manual_seed(0)
    learn = Learner(dls, nn.Sequential(bare_body(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, get_c(dls))))
    with learn.no_bar(), learn.no_logging(): learn.fit(1, 1e-2)
    return learn


@pytest.fixture(scope='module')
def scene():
    kinds = ['SeaLake', 'Forest', 'Residential', 'AnnualCrop']
    return np.concatenate([np.concatenate([eurosat_patch(k, seed) for k in kinds], 2) for seed in range(3)], 1)[:, :180, :250]


@pytest.mark.parametrize('arch', ['resnet18', 'tf_efficientnet_lite0', 'densenet121', 'convnext_atto', 'regnetx_002'])
def test_timm_classifiers(arch):
    torch.manual_seed(0)
    assert same(timm.create_model(arch, num_classes=4), 64) < 1e-5


@pytest.mark.parametrize('arch', ['resnet18', 'tf_efficientnet_lite0', 'densenet121', 'convnext_atto', 'regnetx_002'])
@pytest.mark.parametrize('concat', [True, False])
def test_timm_backbones_with_fastai_heads(arch, concat):
    torch.manual_seed(0)
    assert same(create_timm_model(arch, 4, pretrained=False, concat_pool=concat)[0], 64) < 1e-5


@pytest.mark.parametrize('pool', ['avg', 'max', 'fast', 'fastmax'])
def test_timm_pools(pool):
    torch.manual_seed(0)
    assert same(timm.create_model('resnet18', num_classes=4, global_pool=pool), (64, 96)) < 1e-5


def test_torchvision_backbone_with_fastai_head():
    torch.manual_seed(0)
    assert same(create_vision_model(tv.resnet18, 4, pretrained=False), 64) < 1e-5


@pytest.mark.parametrize('head', [
    [nn.AdaptiveAvgPool2d(1), Flatten(), nn.Linear(12, 9, bias=False), nn.BatchNorm1d(9), nn.GELU(), nn.Linear(9, 5)],
    [nn.AdaptiveMaxPool2d((1, 1)), nn.Flatten(), nn.BatchNorm1d(12, affine=False), nn.Linear(12, 5)],
    [AdaptiveConcatPool2d(), nn.Flatten(), nn.Dropout(.3), nn.Linear(24, 5), nn.Sigmoid()]], ids=['hidden', 'max', 'concat'])
def test_heads_and_patches_that_are_not_square(head):
    torch.manual_seed(0)
    model = nn.Sequential(bare_body(4), nn.Sequential(*head))
    model(torch.randn(16, 4, 30, 45))
    assert same(model, (30, 45), bands=4) < 1e-5
    net, image = fully_convolutional(model, (30, 45)), torch.randn(4, 71, 93)
    with torch.no_grad(): expected, found = sliding_logits(model.eval(), image, net.size, net.stride), net(image[None])[0]
    assert net.stride == (4, 4) and found.shape == expected.shape == (5, 11, 13)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize('extra', [0, 1, 15, 16, 17, 31])
def test_cells_lie_where_the_patches_are(extra):
    "Whatever the size of the image is: padding that depends on it (as TensorFlow's does) must not shift the features."
    torch.manual_seed(0)
    model = create_timm_model('tf_efficientnet_lite0', 3, pretrained=False)[0].eval()
    net, image = fully_convolutional(model, 64), torch.randn(1, 3, 96 + extra, 96 + extra)
    with torch.no_grad(): torch.testing.assert_close(net(image), net(image[..., :96 + extra//32*32, :96 + extra//32*32]), atol=1e-5, rtol=1e-5)


def test_the_classifier_stays_as_it_is():
    model = nn.Sequential(bare_body(3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 2))
    before = copy.deepcopy(model.state_dict())
    net = fully_convolutional(model, 32)
    for p in net.parameters(): p.data.zero_()
    assert model.training and not net.training and all(torch.equal(before[k], v) for k, v in model.state_dict().items())


@pytest.mark.parametrize('model, words', [
    (tv.mobilenet_v3_small(), 'SqueezeExcitation'), (timm.create_model('efficientnet_b0'), 'SqueezeExcite'), (timm.create_model('vit_tiny_patch16_224'), 'no pooling'),
    (timm.create_model('swin_tiny_patch4_window7_224', img_size=64, window_size=4), 'cannot slide|looks at the whole image'),
    (timm.create_model('resnet18', global_pool='avgmax'), 'cannot slide'), (nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 2)), 'cannot slide'),
    (nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(8), nn.Conv2d(4, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)), 'looks at the whole image'),
    (nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(4), nn.Linear(4, 2)), 'cannot slide'),
    (tv.resnet18(), 'head of ResNet cannot slide'), (nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4*62*62, 2)), 'no pooling')],
    ids=lambda x: x if isinstance(x, str) else type(x).__name__)
def test_what_cannot_be_converted_is_one_sentence(model, words):
    with pytest.raises(ValueError, match=f'({words}).*predict_scene'): fully_convolutional(model, 64)


def test_a_wrong_size_is_one_sentence():
    model = nn.Sequential(nn.Conv2d(3, 4, 9), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    with pytest.raises(ValueError, match='does not take patches of 6 x 6 pixels .* pass the size='): fully_convolutional(model, 6)


def test_heat_map_is_the_sliding_window_over_a_file(bare, scene, tmp_path):
    dn = (scene*10_000).round().astype('uint16')
    path = write_raster(tmp_path/'scene.tif', dn, like=PLACE, nodata=0, band_names=SENSORS['eurosat'].names)
    with bare.no_bar(): heat = bare.heat_map(path)
    patches = [dn[:, 4*i:4*i + 64, 4*j:4*j + 64] for i in (0, 7, 29) for j in (0, 20, 46)]
    with bare.no_bar(): expected = bare.get_preds(dl=bare.dls.test_dl(patches))[0]
    found = torch.tensor(heat.data[:, [0, 7, 29]][:, :, [0, 20, 46]]).flatten(1).T
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert heat.shape == (10, 30, 47) and heat.crs == 'EPSG:32633' and heat.band_names == tuple(bare.dls.vocab)
    assert heat.transform*(.5, .5) == (5e5 + 320, 4.9e6 - 320) and heat.transform.a == 40


@pytest.mark.parametrize('window', [7, 40, 64, 100])
def test_pieces_of_a_scene_make_the_whole(bare, scene, window):
    with bare.no_bar(): whole, pieces = bare.heat_map(scene, window=1000), bare.heat_map(scene, window=window, context=0)
    np.testing.assert_allclose(pieces.data, whole.data, atol=1e-5)


def test_a_large_scene_is_never_held_whole(bare, scene, tmp_path, monkeypatch):
    dn = np.tile((scene*10_000).round().astype('uint16'), (1, 4, 4))
    path = write_raster(tmp_path/'scene.tif', dn, like=PLACE, nodata=0, band_names=SENSORS['eurosat'].names)
    read, sizes = SceneReader.read, []
    monkeypatch.setattr(SceneReader, 'read', lambda self, top, bottom, left, right: sizes.append((bottom - top, right - left)) or read(self, top, bottom, left, right))
    with bare.no_bar(): heat = bare.heat_map(path, window=128, context=16)
    assert np.max(sizes) <= 128 + 2*16 + 64 and len(sizes) == 6*8 and heat.shape[1:] == (165, 235)


def test_nodata_arrays_and_rasters(bare, scene, tmp_path):
    scene = scene.copy()
    scene[:, :100, :120] = np.nan
    path = write_raster(tmp_path/'scene.tif', np.where(np.isnan(scene), 0, scene*10_000).round().astype('uint16'), like=PLACE, nodata=0, band_names=SENSORS['eurosat'].names)
    with bare.no_bar(): maps = [bare.heat_map(src, window=64) for src in (path, read_reflectance(path), read_reflectance(path).data)]
    for heat in maps[1:]: np.testing.assert_allclose(heat.data, maps[0].data, atol=1e-5)
    # The middle of a patch is 30 pixels inside it, and 4 wide.
    expected = [[4*i + 34 <= 100 and 4*j + 34 <= 120 for j in range(47)] for i in range(30)]
    np.testing.assert_array_equal(np.isnan(maps[0].data[0]), expected)
    assert maps[1].transform == maps[0].transform and maps[2].crs is None
    assert heat_extent(maps[0], PLACE) == pytest.approx((29.5, 29.5 + 47*4, 29.5 + 30*4, 29.5))


def test_bands_are_found_by_name_in_one_file_or_many(folder, scene, tmp_path):
    torch.manual_seed(0)
    bands = ['B02', 'B03', 'B04', 'B08']
    dls = MultibandDataLoaders.from_folder(folder, sensor='eurosat', bands=bands, valid_pct=.5, seed=0, bs=4)
    learn = Learner(dls, nn.Sequential(bare_body(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 10)))
    dn, names = (scene*10_000).round().astype('uint16'), list(SENSORS['eurosat'].names)
    whole = write_raster(tmp_path/'whole.tif', dn, like=PLACE, nodata=0, band_names=names)
    four = write_raster(tmp_path/'four.tif', dn[[7, 3, 2, 1]], like=PLACE, nodata=0, band_names=['B08', 'B04', 'B03', 'B02'])
    single = [write_raster(tmp_path/f'scene_{b}.tif', dn[names.index(b)], like=PLACE, nodata=0, band_names=[b]) for b in bands]
    with learn.no_bar(): maps = [learn.heat_map(src).data for src in (whole, four, single)]
    for heat in maps[1:]: np.testing.assert_allclose(heat, maps[0], atol=1e-5)
    with pytest.raises(RasterError, match='name its bands'): learn.heat_map(write_raster(tmp_path/'two.tif', dn[:2], like=PLACE, nodata=0))


def test_activation_is_that_of_the_loss(dls, scene):
    learn = Learner(dls, nn.Sequential(bare_body(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 10)), loss_func=BCEWithLogitsLossFlat())
    with learn.no_bar(): heat = learn.heat_map(scene).data
    assert 0 < heat.min() and heat.max() < 1 and abs(heat.sum(0) - 1).max() > .1


def test_enlarged_patches_of_a_multiband_learner(dls, scene):
    learn = multiband_learner(dls, pretrained=False)
    with learn.no_bar(): heat = learn.heat_map(scene)
    assert heat.shape == (10, 8, 12) and heat.transform.a == 16
    x = dls.one_batch()[0].as_subclass(torch.Tensor)
    net = fully_convolutional(learn)
    learn.model.eval()
    with torch.no_grad(): torch.testing.assert_close(net(x)[..., 0, 0], learn.model(x), atol=1e-5, rtol=1e-5)


def test_sizes(dls, folder, bare, scene, tmp_path):
    with bare.no_bar(), pytest.raises(ValueError, match='smaller than the patches of 64 x 64'): bare.heat_map(scene[:, :50])
    with pytest.raises(RasterError, match='nowhere.tif'): bare.heat_map(tmp_path/'nowhere.tif')
    resized = Learner(MultibandDataLoaders.from_folder(folder, sensor='eurosat', size=48, bs=4), bare.model)
    with pytest.raises(ValueError, match='resizes its patches'): resized.heat_map(scene)
    assert fully_convolutional(resized).size == (48, 48)
    bare.export(tmp_path/'learner.pkl')
    loaded = load_learner(tmp_path/'learner.pkl')
    reader_of(loaded.dls).patch_size = None  # as learners of older versions
    with pytest.raises(ValueError, match='pass size='): loaded.heat_map(scene)
    with loaded.no_bar(), bare.no_bar(): np.testing.assert_allclose(loaded.heat_map(scene, size=64).data, bare.heat_map(scene).data, atol=1e-6)


def test_transform_of_odd_sizes():
    net = FullyConvolutional(nn.Identity(), (33, 50), (8, 4))
    assert net.transform(Affine.identity())*(0, 0) == (23, 12.5) and net.cells(33, 53) == (1, 1) and net.cells(41, 58) == (2, 3)
