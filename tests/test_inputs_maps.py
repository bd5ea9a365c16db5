"Maps of what people bring: networks of numbers and labels, scenes of many files, holes told in any way, places without a transform."
import json

import matplotlib
import numpy as np
import pandas as pd
import pytest
import rasterio
import torch
import torch.nn.functional as F
from affine import Affine
from fastai.data.block import CategoryBlock, DataBlock, MultiCategoryBlock, RegressionBlock, TransformBlock
from fastai.data.transforms import ColReader, IndexSplitter
from fastai.learner import Learner, load_learner
from fastai.losses import BCEWithLogitsLossFlat, L1LossFlat, MSELossFlat
from fastai.torch_core import TensorBase
from fasttransform import Transform
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp
from rasterio.rpc import RPC
from torch import nn

from sat_recipes.bands import SENSORS, class_colors
from sat_recipes.multiband import MultibandBlock, MultibandDataLoaders, show_map
from sat_recipes.predict import answers_of
from sat_recipes.raster import BandFiles, Raster, RasterError, SceneWindow, read_raster
import sat_recipes.fully_convolutional  # Learner.heat_map

matplotlib.use('Agg')
pytestmark = pytest.mark.filterwarnings('ignore::rasterio.errors.NotGeoreferencedWarning')
PLACE = dict(crs='EPSG:32633', transform=Affine(10, 0, 5e5, 0, -10, 5e6))
BANDS = ['B02', 'B03', 'B04', 'B08']


def write(path, data, names=None, driver='GTiff', alter=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(path, 'w', driver=driver, count=len(data), height=data.shape[1], width=data.shape[2], dtype=data.dtype, **{**PLACE, **options}) as file:
        if names: file.descriptions = tuple(names)
        if alter: alter(file)
        file.write(data)
    return path


def pixels(height=40, width=52, bands=4, seed=0): return np.random.default_rng(seed).integers(1000, 5000, (bands, height, width)).astype('uint16')


class Spectrum(nn.Module):
    "A number for each pixel, or of a patch: what `coefficients` (numbers, bands) make of the means of reflectance."
    def __init__(self, coefficients, per_pixel=False, shape=None):
        super().__init__()
        self.weight, self.per_pixel, self.shape = nn.Parameter(torch.tensor(coefficients, dtype=torch.float32)), per_pixel, shape

    def forward(self, x):
        x = torch.as_tensor(x).as_subclass(torch.Tensor)
        y = torch.einsum('nbhw,cb->nchw', x, self.weight)
        y = y if self.per_pixel else y.mean((2, 3))
        return y.reshape(self.shape(y)) if self.shape else y


def patches(folder, n=8):
    for i in range(n): write(folder/f'{i}.tif', pixels(16, 16, seed=i), BANDS)
    return pd.DataFrame(dict(file=[f'{i}.tif' for i in range(n)], biomass=np.linspace(0, 50, n), depth=np.linspace(-3, 3, n), kinds=['a', 'b', 'a b', '']*(n//4), name=['a', 'b']*(n//2)))


def plain(n=4): return [0.]*n, [1.]*n  # a normalization that only puts nodata at 0


def learner(folder, target=None, get_y='biomass', net=None, normalize=plain(), **kwargs):
    "A learner of patches of 16 x 16 whose answers can be reckoned by hand."
    df = patches(folder/'patches')
    block = DataBlock((MultibandBlock(normalize=normalize), target or RegressionBlock()), get_x=ColReader('file', pref=folder/'patches'),
                      get_y=ColReader(get_y) if isinstance(get_y, (str, list)) else get_y, splitter=IndexSplitter([0, 1]))
    dls = block.dataloaders(df, bs=2, num_workers=0)
    return Learner(dls, net or Spectrum([[1., 0, 0, 0]]), path=folder, **kwargs)


def mapped(learn, scene, folder, **kwargs):
    with learn.no_bar(): return learn.predict_scene(scene, folder/'map.tif', **kwargs)


# --- Networks of numbers -------------------------------------------------------------------------

@pytest.mark.parametrize('target, get_y, net, names', [
    (RegressionBlock(), 'biomass', [[10., 0, 0, 0]], ['biomass']),
    (RegressionBlock(n_out=2), ['biomass', 'depth'], [[10., 0, 0, 0], [0, 0, -100, 0]], ['biomass', 'depth']),
    (RegressionBlock(), 1, [[10., 0, 0, 0]], ['biomass']),
    (RegressionBlock(), lambda row: row['depth'], [[10., 0, 0, 0]], ['number_1'])])
def test_numbers_are_mapped_by_name(tmp_path, target, get_y, net, names):
    learn = learner(tmp_path, target, ColReader(get_y) if get_y == 1 else get_y, Spectrum(net))
    data = np.ones((4, 30, 40), 'uint16')*np.array([2000, 1, 3000, 1], 'uint16')[:, None, None]
    found = read_raster(mapped(learn, write(tmp_path/'scene.tif', data, BANDS, nodata=0), tmp_path))
    assert found.data.dtype == 'float32' and list(found.band_names) == names and np.isnan(found.nodata) and 'class_names' not in found.tags
    for band, value in zip(found.data, (2, -30)): np.testing.assert_allclose(band, value, rtol=1e-5)


def test_numbers_of_a_table_by_its_columns(tmp_path):
    dls = MultibandDataLoaders.from_df(patches(tmp_path), tmp_path, label_col='depth', bs=2, store=None, normalize=False)
    learn = Learner(dls, Spectrum([[0, 1., 0, 0]]))
    found = read_raster(mapped(learn, write(tmp_path/'scene.tif', pixels(), BANDS), tmp_path))
    assert found.band_names == ('depth',) and found.data.dtype == 'float32' and .1 < found.data.min() < found.data.max() < .5


@pytest.mark.parametrize('dtype, nodata', [('uint16', 0), ('uint16', 65535), ('int16', -9999), ('float32', np.nan), ('float32', -1.)])
def test_holes_in_numbers_are_nan(tmp_path, dtype, nodata):
    "A number may be 0, or -9999; what was not seen is NaN, and the file says so."
    data, net = pixels().astype(dtype), Spectrum([[0., 0, 0, 0]])
    if dtype == 'float32': data /= 10_000
    data[:, :10, :20] = nodata
    found = read_raster(mapped(learner(tmp_path, net=net), write(tmp_path/'scene.tif', data, BANDS, nodata=nodata), tmp_path))
    assert np.isnan(found.nodata) and np.isnan(found.data[0, :10, :20]).all() and (found.data[0, 10:] == 0).all() and (found.data[0, :, 20:] == 0).all()


def test_answers_that_are_nan_are_nodata(tmp_path):
    "Without normalization the NaN of one pixel is that of its whole patch: class 0 would be a guess."
    learn, data = learner(tmp_path, CategoryBlock(), 'name', Spectrum([[1., 0, 0, 0], [0, 1, 0, 0]]), normalize=False), pixels(32, 64)
    data[:, :4, :4] = 0
    with pytest.warns(UserWarning, match='gives NaN for some pixels: they become nodata'):
        with rasterio.open(mapped(learn, write(tmp_path/'scene.tif', data, BANDS, nodata=0), tmp_path, size=16, overlap=0)) as found: valid = found.dataset_mask() > 0
    assert not valid[:16, :16].any() and valid[16:].all() and valid[:, 16:].all()


@pytest.mark.parametrize('shape', [None, lambda y: (len(y), *y.shape[2:])])
def test_a_network_of_a_number_for_each_pixel(tmp_path, shape):
    target = TransformBlock(type_tfms=Transform(lambda depth: TensorBase(torch.full((1, 16, 16), float(depth)))))
    learn = learner(tmp_path, target, 'depth', Spectrum([[0, 0, 100., 0]], per_pixel=True, shape=shape), loss_func=MSELossFlat())
    data = pixels()
    found = read_raster(mapped(learn, write(tmp_path/'scene.tif', data, BANDS), tmp_path))
    np.testing.assert_allclose(found.data[0], data[2]*.01, rtol=1e-4)


def test_a_network_of_one_number_a_patch_without_an_axis_for_it(tmp_path):
    learn = learner(tmp_path, net=Spectrum([[0, 0, 100., 0]], shape=lambda y: (-1,)))
    data = np.full((4, 16, 16), 2000, 'uint16')
    np.testing.assert_allclose(read_raster(mapped(learn, write(tmp_path/'scene.tif', data, BANDS), tmp_path)).data, 20, rtol=1e-4)


@pytest.mark.parametrize('asked', [dict(output='classes'), dict(output='probabilities'), dict(output='both'), dict(uncertainty=True), dict(output='numbers', uncertainty=True)])
def test_numbers_are_no_classes(tmp_path, asked):
    learn = learner(tmp_path)
    with pytest.raises(RasterError, match=r'map.tif cannot hold \w+, as this learner predicts numbers: leave output= and uncertainty= out'):
        mapped(learn, write(tmp_path/'scene.tif', pixels(), BANDS), tmp_path, **asked)
    assert not list(tmp_path.glob('*map*'))


@pytest.mark.parametrize('loss', [MSELossFlat(), L1LossFlat(), nn.MSELoss(), nn.HuberLoss(), nn.SmoothL1Loss(), F.mse_loss, F.l1_loss])
def test_a_loss_of_numbers_tells(tmp_path, loss):
    target = TransformBlock(type_tfms=Transform(lambda depth: torch.tensor(float(depth))))
    assert answers_of(learner(tmp_path, target, loss_func=loss)) == 'numbers'


def test_a_loss_that_tells_nothing_is_said(tmp_path):
    target = TransformBlock(type_tfms=Transform(lambda depth: torch.tensor(float(depth))))
    learn = learner(tmp_path, target, net=Spectrum([[1., 0, 0, 0], [0, 1, 0, 0]]), loss_func=lambda p, y: ((p - y)**2).mean())
    scene = write(tmp_path/'scene.tif', pixels(), BANDS)
    with pytest.warns(UserWarning, match="taken as scores of classes; pass output='numbers'"):
        assert read_raster(mapped(learn, scene, tmp_path)).data.dtype == 'uint8'
    assert read_raster(mapped(learn, scene, tmp_path, output='numbers', class_names=['wet', 'dry'])).band_names == ('wet', 'dry')


def test_a_loss_of_numbers_on_classes_stays_a_classifier(tmp_path):
    learn = learner(tmp_path, CategoryBlock(), 'name', Spectrum([[1., 0, 0, 0], [0, 1, 0, 0]]), loss_func=nn.MSELoss())
    assert answers_of(learn) == 'classes'
    assert json.loads(read_raster(mapped(learn, write(tmp_path/'scene.tif', pixels(), BANDS), tmp_path)).tags['class_names']) == {'1': 'a', '2': 'b'}  # 0 is nodata in 16-bit numbers of Sentinel-2


def test_numbers_from_a_learner_on_disk(tmp_path):
    learn = learner(tmp_path)
    learn.export(tmp_path/'learner.pkl')
    scene = write(tmp_path/'scene.tif', pixels(), BANDS)
    want = read_raster(mapped(learn, scene, tmp_path))
    found = read_raster(mapped(load_learner(tmp_path/'learner.pkl'), scene, tmp_path))
    assert found.band_names == want.band_names == ('biomass',)
    np.testing.assert_array_equal(found.data, want.data)


def test_heat_map_of_numbers(tmp_path):
    net = nn.Sequential(nn.Conv2d(4, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 1))
    learn = learner(tmp_path, net=net)
    data = np.full((4, 24, 32), 3000, 'uint16')
    with learn.no_bar(): heat = learn.heat_map(write(tmp_path/'scene.tif', data, BANDS))
    with torch.no_grad(): want = net(torch.full((1, 4, 16, 16), .3)).item()
    assert heat.band_names == ('biomass',)
    np.testing.assert_allclose(heat.data, want, rtol=1e-4)


@pytest.mark.parametrize('net, loss', [([[9., 0, 0, 0], [0, 0, 0, 9], [-9, 0, 0, 0]], None), ([[9., 0, 0, 0], [0, 0, 0, 9], [-9, 0, 0, 0]], BCEWithLogitsLossFlat())])
def test_labels_of_which_several_hold_are_probabilities(tmp_path, net, loss):
    learn = learner(tmp_path, MultiCategoryBlock(vocab=['a', 'b', 'c']), ColReader('kinds', label_delim=' '), Spectrum(net), loss_func=loss)
    scene = write(tmp_path/'scene.tif', np.full((4, 16, 16), 2000, 'uint16'), BANDS)
    found = read_raster(mapped(learn, scene, tmp_path))
    assert found.band_names == ('a', 'b', 'c')
    np.testing.assert_allclose(found.data[:, 3, 3], torch.tensor([1.8, 1.8, -1.8]).sigmoid(), rtol=1e-5)
    with pytest.raises(RasterError, match='cannot hold classes, as this learner predicts labels'): mapped(learn, scene, tmp_path, output='classes')


@pytest.mark.parametrize('columns, panels', [(['depth'], 2), (['biomass', 'depth'], 3)])
def test_numbers_are_drawn_with_a_color_bar(tmp_path, columns, panels):
    import matplotlib.pyplot as plt
    learn = learner(tmp_path, RegressionBlock(n_out=len(columns)), columns, Spectrum([[1., 0, 0, 0]]*len(columns)))
    data = pixels()
    data[:, :20] = 0
    scene = write(tmp_path/'scene.tif', data, BANDS, nodata=0)
    axes = show_map(scene, mapped(learn, scene, tmp_path))
    shown = [ax.get_ylabel() for ax in axes[0].figure.axes if ax not in axes]
    assert len(axes) == panels and shown == columns and axes[1].images[0].get_array().mask[:20].all()
    plt.close('all')


@pytest.mark.parametrize('loss, net, want', [(nn.BCELoss(), [[1., 0, 0, 0]], .2), (F.binary_cross_entropy, [[1., 0, 0, 0]], .2), (BCEWithLogitsLossFlat(), [[5., 0, 0, 0]], .7310586),
                                             (F.binary_cross_entropy_with_logits, [[5., 0, 0, 0]], .7310586)])
def test_one_output_for_two_classes(tmp_path, loss, net, want):
    learn = learner(tmp_path, CategoryBlock(), 'name', Spectrum(net), loss_func=loss)
    found = read_raster(mapped(learn, write(tmp_path/'scene.tif', np.full((4, 16, 16), 2000, 'uint16'), BANDS), tmp_path, output='probabilities'))
    assert found.band_names == ('a', 'b')
    np.testing.assert_allclose(found.data[:, 3, 3], [1 - want, want], rtol=1e-5)


def test_softmax_of_one_number_is_refused(tmp_path):
    learn = learner(tmp_path, CategoryBlock(), 'name', Spectrum([[1., 0, 0, 0]]))
    with pytest.raises(RasterError, match='gives one number, of which softmax makes 1 everywhere'): mapped(learn, write(tmp_path/'scene.tif', pixels(), BANDS), tmp_path)


@pytest.mark.parametrize('source', [np.zeros((4, 20, 20)), Raster(np.zeros((4, 20, 20))), SceneWindow('scene.tif', 0, 0, 8, 8), None, 3])
def test_what_is_no_file_is_not_mapped(tmp_path, source):
    with pytest.raises(RasterError, match='cannot be mapped: give the file of the scene'): mapped(learner(tmp_path), source, tmp_path)


def test_the_map_of_another_scene_is_said(tmp_path):
    learn = learner(tmp_path)
    scene, other = (write(tmp_path/name, pixels(), BANDS, transform=Affine(10, 0, x, 0, -10, 5e6)) for name, x in (('scene.tif', 5e5), ('other.tif', 6e5)))
    with pytest.warns(UserWarning, match='map.tif does not lie on the grid of .*other.tif'): show_map(other, mapped(learn, scene, tmp_path))
    matplotlib.pyplot.close('all')


# --- Colors --------------------------------------------------------------------------------------

@pytest.mark.parametrize('colors', [[(255, 0, 0)], [(1., 0., 0.), (0., 1., 0.)], [(300, 0, 0), (0, 0, 0)], ['#ff0000', '#00ff00'], [(0, 0), (1, 1)]])
def test_colors_that_are_none_are_refused(tmp_path, colors):
    learn = learner(tmp_path, CategoryBlock(), 'name', Spectrum([[1., 0, 0, 0], [0, 1, 0, 0]]))
    with pytest.raises(ValueError, match='are not .red, green, blue., in whole numbers up to 255, of 2 classes'):
        mapped(learn, write(tmp_path/'scene.tif', pixels(), BANDS), tmp_path, colors=colors)


def lab(colors, matrix=np.eye(3)):
    "CIELAB of colors as an eye sees them: Machado, Oliveira and Fernandes (2009), on linear light."
    linear = np.array(colors)/255
    linear = np.where(linear <= .04045, linear/12.92, ((linear + .055)/1.055)**2.4)
    xyz = np.clip(linear@np.array(matrix).T, 0, 1)@np.array([[.4124, .3576, .1805], [.2126, .7152, .0722], [.0193, .1192, .9505]]).T/[.9505, 1, 1.089]
    x, y, z = np.where(xyz > .008856, np.cbrt(xyz), 7.787*xyz + 16/116).T
    return np.stack([116*y - 16, 500*(x - y), 200*(y - z)], 1)


@pytest.mark.parametrize('matrix, least', [(np.eye(3), 28), ([[.152286, 1.052583, -.204868], [.114503, .786281, .099216], [-.003882, -.048116, 1.051998]], 22),
                                           ([[.367322, .860646, -.227968], [.280085, .672501, .047413], [-.01182, .04294, .968881]], 19)])
def test_ten_classes_are_told_apart_by_every_eye_and_none_is_black(matrix, least):
    found = lab([*class_colors(10), (237, 237, 237)], matrix)
    assert np.linalg.norm(found[:, None] - found, axis=2)[~np.eye(11, dtype=bool)].min() > least
    assert lab(class_colors(10))[:, 0].min() > 33  # lightness: 0 is black


# --- Scenes of many files ------------------------------------------------------------------------

L1C = 'B01 B02 B03 B04 B05 B06 B07 B08 B8A B09 B10 B11 B12'.split()
SIZE = {'B01': 60, 'B09': 60, 'B10': 60, **dict.fromkeys(['B05', 'B06', 'B07', 'B8A', 'B11', 'B12'], 20)}


def product(folder, level='L1C', baseline='N0204', bands=L1C, height=240, width=300, driver='JP2OpenJPEG', suffix='jp2'):
    "A product as it comes: a file a band, of 10, 20 and 60 m; band i holds 1000 + 100 i, and the upper left was not seen."
    root = folder/f'S2A_MSI{level}_20170216T102101_{baseline}_R065_T33UUU_20170216T102204.SAFE'
    options = dict(QUALITY=100, REVERSIBLE='YES') if suffix == 'jp2' else {}
    for band in bands:
        size = SIZE.get(band, 10)
        data = np.full((1, height*10//size, width*10//size), 1000 + 100*L1C.index(band), 'uint16')
        data[:, :600//size, :1200//size] = 0
        place = Affine(size, 0, 5e5, 0, -size, 5e6)
        write(root/f'GRANULE/L1C_T33UUU_A008640_20170216T102204/IMG_DATA/T33UUU_20170216T102101_{band}.{suffix}', data, driver=driver, transform=place, **options)
    return root


def eurosat_learner(folder, bands=None):
    "Trained on thirteen bands without names, B8A last; it tells which of B8A and B02 is the larger, and weighs all others by nothing."
    for i in range(8): write(folder/'classes'/'ab'[i % 2]/f'{i}.tif', pixels(16, 16, 13, seed=i))
    dls = MultibandDataLoaders.from_folder(folder/'classes', sensor='eurosat', bands=bands, bs=2, store=None, normalize=plain(len(bands or L1C)), valid_pct=.5, seed=0)
    names = bands or SENSORS['eurosat'].names
    weights = np.zeros((2, len(names)))
    weights[0, list(names).index('B8A')], weights[1, list(names).index('B02')] = 100, 120
    return Learner(dls, nn.Sequential(Linear1x1(weights), nn.AdaptiveAvgPool2d(1), nn.Flatten()))


def Linear1x1(weights):
    conv = nn.Conv2d(weights.shape[1], weights.shape[0], 1, bias=False)
    conv.weight.data = torch.tensor(weights, dtype=torch.float32)[..., None, None]
    return conv


def forms(root, form):
    files = sorted(root.rglob('*.*2'))
    return {'folder': root, 'str': str(root), 'images': files[0].parent, 'list': files, 'shuffled': files[::-1], 'tuple': tuple(map(str, files)), 'BandFiles': BandFiles(tuple(files))}[form]


@pytest.mark.parametrize('form', ['folder', 'str', 'images', 'list', 'shuffled', 'tuple', 'BandFiles'])
def test_a_product_as_it_comes(tmp_path, form):
    learn, scene = eurosat_learner(tmp_path), forms(product(tmp_path), form)
    path = mapped(learn, scene, tmp_path, output='probabilities')
    found = read_raster(path)
    assert found.shape == (2, 240, 300) and found.crs.to_epsg() == 32633 and found.transform == PLACE['transform'] and found.band_names == ('a', 'b')
    hole = ~found.valid
    assert hole[:56, :116].all() and not hole[:, 130:].any() and not hole[70:].any()
    np.testing.assert_allclose(found.data[0, 150:, 200:], torch.tensor(18. - 13.2).sigmoid(), atol=1e-5)  # B8A 1800, B02 1100
    codes = read_raster(mapped(learn, scene, tmp_path))
    assert codes.nodata == 0 and (codes.data[0, :56, :116] == 0).all() and (codes.data[0, 70:] == 1).all()
    axes = show_map(scene, tmp_path/'map.tif')
    assert axes[0].images[0].get_array().shape[:2] == (240, 300)
    with learn.no_bar(): heat = learn.heat_map(scene)
    np.testing.assert_allclose(heat.data[0, -1, -1], torch.tensor(18. - 13.2).sigmoid(), atol=1e-5)
    matplotlib.pyplot.close('all')


def test_products_of_many_places(tmp_path):
    learn, scene = eurosat_learner(tmp_path), product(tmp_path)
    files = sorted(scene.rglob('*.jp2'))
    for scenes in ([scene], str(scene), [files], {'there': files}):
        table = learn.predict_scenes(scenes, tmp_path/'maps', n_workers=0, progress=False)
        assert not any(table.error) and read_raster(table['map'][0]).data[0, -1, -1] == 1
    assert {p.name for p in (tmp_path/'maps').iterdir()} == {scene.stem + '.tif', files[0].stem + '.tif', 'there.tif'}


def test_a_product_of_geotiffs_in_a_folder(tmp_path):
    learn, scene = eurosat_learner(tmp_path), product(tmp_path, driver='GTiff', suffix='tif')
    assert read_raster(mapped(learn, scene, tmp_path)).data[0, -1, -1] == 1


@pytest.mark.parametrize('baseline, level, bands, first', [('N0204', 'L1C', L1C, .18 - 1.2*.11), ('N0509', 'L1C', L1C, .08 - 1.2*.01), ('N0509', 'L2A', [b for b in L1C if b != 'B10'], .08 - 1.2*.01)])
def test_reflectance_of_a_product_is_that_of_its_baseline(tmp_path, baseline, level, bands, first):
    learn, scene = eurosat_learner(tmp_path, [b for b in SENSORS['eurosat'].names if b in bands]), product(tmp_path, level, baseline, bands)
    found = read_raster(mapped(learn, scene, tmp_path, output='probabilities')).data[0, -1, -1]
    np.testing.assert_allclose(found, torch.tensor(100*first).sigmoid(), atol=1e-4)


def test_a_product_that_lacks_a_band_is_one_sentence(tmp_path):
    learn, scene = eurosat_learner(tmp_path), product(tmp_path, 'L2A', bands=[b for b in L1C if b != 'B10'])
    with pytest.raises(RasterError, match='has 12 bands .* give a scene that has B10, .* or train the model with bands= those of the scene'): mapped(learn, scene, tmp_path)


# --- Holes ---------------------------------------------------------------------------------------

def hole_of(kind, path, data, hole):
    "The scene, with a hole that is told in one of the ways."
    valid, zeros = np.where(hole, 0, 255).astype('uint8'), np.where(hole, 0, data).astype(data.dtype)
    if kind == 'internal mask':
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True): return write(path, data, BANDS, alter=lambda f: f.write_mask(valid))
    if kind == '.msk file':
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False): return write(path, data, BANDS, alter=lambda f: f.write_mask(valid))
    if kind == 'alpha band':
        with_alpha = np.concatenate([data, valid[None].astype('uint16')*257])
        return write(path, with_alpha, [*BANDS, 'alpha'], alter=lambda f: setattr(f, 'colorinterp', [*f.colorinterp[:4], ColorInterp.alpha]))
    if kind == 'NaN': return write(path, np.where(hole, np.nan, data/10_000).astype('float32'), BANDS)
    if kind == 'NaN, declared': return write(path, np.where(hole, np.nan, data/10_000).astype('float32'), BANDS, nodata=np.nan)
    if kind == 'zeros of Sentinel-2': return write(path, zeros, BANDS)
    if kind == 'zeros, declared': return write(path, zeros, BANDS, nodata=0)
    if kind == '65535': return write(path, np.where(hole, 65535, data).astype('uint16'), BANDS, nodata=65535)
    if kind == '.aux.xml':
        write(path, zeros, BANDS)
        (path.parent/f'{path.name}.aux.xml').write_text('<PAMDataset>' + ''.join(f'<PAMRasterBand band="{i}"><NoDataValue>0</NoDataValue></PAMRasterBand>' for i in range(1, 5)) + '</PAMDataset>')
        return path
    if kind == 'VRT of several':
        values = [0, 1, 2, 3]
        for i, value in enumerate(values): write(path.with_name(f'{i}.tif'), np.where(hole, value, data[i]).astype('uint16')[None])
        bands = ''.join(f'<VRTRasterBand dataType="UInt16" band="{i + 1}"><Description>{BANDS[i]}</Description><NoDataValue>{value}</NoDataValue><SimpleSource><SourceFilename relativeToVRT="1">{i}.tif</SourceFilename>'
                        '<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>' for i, value in enumerate(values))
        path = path.with_suffix('.vrt')
        path.write_text(f'<VRTDataset rasterXSize="{data.shape[2]}" rasterYSize="{data.shape[1]}"><SRS>EPSG:32633</SRS><GeoTransform>500000, 10, 0, 5000000, 0, -10</GeoTransform>{bands}</VRTDataset>')
        return path


HOLES = ['internal mask', '.msk file', 'alpha band', 'NaN', 'NaN, declared', 'zeros of Sentinel-2', 'zeros, declared', '65535', '.aux.xml', 'VRT of several']


@pytest.mark.filterwarnings('ignore:.*NaN or infinite')
@pytest.mark.parametrize('kind', HOLES)
@pytest.mark.parametrize('output', ['classes', 'probabilities'])
def test_what_was_not_seen_is_nodata_in_the_map(tmp_path, kind, output):
    learn = learner(tmp_path, CategoryBlock(), 'name', Spectrum([[9., 0, 0, 0], [0, 0, 0, 0]], per_pixel=True))
    data, hole = pixels(), np.zeros((40, 52), bool)
    hole[5:20, 10:40] = True
    with rasterio.open(mapped(learn, hole_of(kind, tmp_path/'scene.tif', data, hole), tmp_path, output=output)) as found:
        assert found.nodata is not None and found.crs.to_epsg() == 32633
        np.testing.assert_array_equal(found.dataset_mask() == 0, hole)
        p = found.read(1)
    if output == 'probabilities': np.testing.assert_allclose(p[~hole], torch.tensor(data[0, ~hole]*9e-4).sigmoid(), atol=1e-5)
    else: assert len(set(p[~hole])) == 1 and not set(p[~hole]) & set(p[hole])


# --- Places --------------------------------------------------------------------------------------

POINTS = [GroundControlPoint(0, 0, 14, 50), GroundControlPoint(0, 52, 14.2, 50.01), GroundControlPoint(40, 0, 14.01, 49.9), GroundControlPoint(40, 52, 14.21, 49.91)]
ZERO = [0.]*20
COEFFICIENTS = RPC(height_off=100, height_scale=500, lat_off=50, lat_scale=.1, line_den_coeff=[1.] + ZERO[1:], line_num_coeff=[0, 0, 1.] + ZERO[3:], line_off=50, line_scale=50, long_off=14,
                   long_scale=.1, samp_den_coeff=[1.] + ZERO[1:], samp_num_coeff=[0, 1.] + ZERO[2:], samp_off=65, samp_scale=65, err_bias=None, err_rand=None)


def with_points(file): file.gcps = POINTS, rasterio.crs.CRS.from_epsg(4326)
def with_rpcs(file): file.rpcs = COEFFICIENTS


@pytest.mark.parametrize('output', ['classes', 'probabilities'])
@pytest.mark.parametrize('alters, place', [([with_points], dict(crs=None, transform=Affine.identity())), ([with_rpcs], dict(crs=None, transform=Affine.identity())),
                                           ([with_points, with_rpcs], dict(crs=None, transform=Affine.identity())), ([with_rpcs], {})])
def test_control_points_and_rpcs_go_into_the_map(tmp_path, alters, place, output):
    learn = learner(tmp_path, CategoryBlock(), 'name', Spectrum([[9., 0, 0, 0], [0, 0, 0, 0]], per_pixel=True))
    scene = write(tmp_path/'scene.tif', pixels(), BANDS, alter=lambda file: [alter(file) for alter in alters], **place)
    path = mapped(learn, scene, tmp_path, output=output)
    with rasterio.open(path) as found, rasterio.open(scene) as want:
        assert [(p.row, p.col, p.x, p.y) for p in found.gcps[0]] == [(p.row, p.col, p.x, p.y) for p in want.gcps[0]] and found.gcps[1] == want.gcps[1]
        assert (found.rpcs and found.rpcs.to_gdal()) == (want.rpcs and want.rpcs.to_gdal())
        assert (found.crs, found.transform) == (want.crs, want.transform)
    show_map(scene, path)
    matplotlib.pyplot.close('all')
