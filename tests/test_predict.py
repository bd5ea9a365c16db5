"What the predict notebook does not show: geometry, nodata, number types, classifiers, band order, bad input, no half files."
import json

import numpy as np
import pytest
import rasterio
import timm
import torch
from affine import Affine
from fastai.vision.all import DataBlock, IndexSplitter, Learner, RandomSplitter, Transform, load_learner, nn, parent_label, CategoryBlock

from sat_recipes.images import MultibandImage
from sat_recipes.multiband import MultibandBlock, MultibandDataLoaders, MultibandMaskBlock, reader_of, show_map
from sat_recipes.predict import ClassMap, WindowModel, fused_batchnorms, open_scene
from sat_recipes.raster import RasterError, raster_info, read_raster, read_reflectance
from sat_recipes.tiling import BLENDS, ArrayScene, BlendedScene, SceneGrid, WindowAxis, predict_array, seam_energy

pytestmark = pytest.mark.filterwarnings('ignore::rasterio.errors.NotGeoreferencedWarning')
NAMES, NORTH_UP = ['a', 'b', 'c'], Affine(10, 0, 5e5, 0, -10, 5e6)
S2 = 'B01 B02 B03 B04 B05 B06 B07 B08 B8A B09 B10 B11 B12'.split()


def write(path, data, nodata=None, names=None, crs='EPSG:32633', transform=NORTH_UP, **kwargs):
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(path, 'w', driver='GTiff', count=len(data), height=data.shape[1], width=data.shape[2], dtype=data.dtype, nodata=nodata,
                       crs=crs, transform=transform, **kwargs) as dst:
        dst.write(data)
        if names: dst.descriptions = names
    return path


def pixels(height, width, bands=2, dtype='uint16', seed=0):
    top = {'uint8': 250, 'uint16': 5000, 'int16': 5000, 'float32': .5}[dtype]
    values = np.random.default_rng(seed).uniform(.1, 1, (bands, height, width))*top
    return values.astype(dtype)


def learner(folder, count=2, dtype='uint16', net=None, size=16, n=3, batch_tfms=None, names=None, **kwargs):
    scene = write(folder/'train.tif', pixels(48, 48, count, dtype), names=names)
    mask = write(folder/'train_mask.tif', np.random.default_rng(1).integers(0, n, (1, 48, 48)).astype('uint8'))
    dls = MultibandDataLoaders.from_scenes(scene, mask, NAMES[:n], size=size, bs=4, batch_tfms=batch_tfms, **kwargs)
    torch.manual_seed(0)
    n_in = len(reader_of(dls).sensor)
    return Learner(dls, net or nn.Sequential(nn.Conv2d(n_in, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, n, 3, padding=1)), path=folder)


def whole_image(learn, path):
    windows, image = WindowModel(learn), reader_of(learn.dls)(path)
    with windows.evaluating(): return windows(image.as_subclass(torch.Tensor)[None])[0].numpy()


def predict(learn, src, dst=None, **kwargs): return learn.predict_scene(src, dst or src.with_name('map.tif'), progress=False, **kwargs)


@pytest.mark.parametrize('shape', [(50, 70), (32, 32), (5, 90), (1, 40), (40, 1), (7, 9), (16, 16), (17, 33)])
@pytest.mark.parametrize('blend', ['hann', 'crop'])
def test_equals_the_whole_image_away_from_borders(tmp_path, shape, blend):
    learn = learner(tmp_path)
    scene = write(tmp_path/'scene.tif', pixels(*shape, seed=3))
    tiled = read_raster(predict(learn, scene, output='probabilities', size=16, overlap=.5, blend=blend)).data
    assert tiled.shape == (3, *shape) and np.isfinite(tiled).all()
    inner = np.s_[:, 2:-2, 2:-2]
    assert np.abs(tiled - whole_image(learn, scene))[inner].max(initial=0) < 1e-5
    np.testing.assert_allclose(tiled.sum(0), 1, atol=1e-5)


@pytest.mark.parametrize('block', [None, 16, 64])
@pytest.mark.parametrize('nodata, interleave', [(None, 'pixel'), (0, 'pixel'), (0, 'band')])
def test_strips_of_any_size_give_the_same(tmp_path, monkeypatch, block, nodata, interleave):
    learn, data = learner(tmp_path), pixels(150, 110)
    data[:, 20:70, 30:80] = 0
    scene = write(tmp_path/'scene.tif', data, nodata, interleave=interleave, **({} if block is None else dict(tiled=True, blockxsize=block, blockysize=block)))
    want = read_raster(predict(learn, scene, output='probabilities', size=16)).data
    init = BlendedScene.__init__
    for max_bytes, bs in ((1, 1), (1, 7), (2**20, 64)):
        monkeypatch.setattr(BlendedScene, '__init__', lambda self, *args, **kwargs: init(self, *args, **kwargs, max_bytes=max_bytes))
        np.testing.assert_allclose(read_raster(predict(learn, scene, output='probabilities', size=16, bs=bs)).data, want, atol=2e-6)


def test_sums_begin_at_zero_in_every_strip():
    "Also where rows that were handed out have been written to."
    work = BlendedScene(ArrayScene(pixels(150, 110).astype('float32')), SceneGrid(150, 110, 16, .25), lambda x: torch.ones(len(x), 3, *x.shape[2:]), 3, bs=7, max_bytes=1)
    assert len(work.strips) > 2
    for _, probabilities, _ in work:
        np.testing.assert_allclose(probabilities, 1, atol=1e-6)
        probabilities.add_(99)


@pytest.mark.parametrize('overlap', [0, .25, .5, .75, .9])
@pytest.mark.parametrize('height, align', [(150, 1), (147, 32), (10, 32)])
@pytest.mark.parametrize('max_bytes', [1, 2**17])
def test_a_walk_that_goes_on_gives_what_the_whole_walk_gives(overlap, height, align, max_bytes):
    "Bit for bit, wherever it stopped: with large overlaps several strips above have to be predicted again."
    image, grid = np.random.default_rng(0).random((3, height, 110)), SceneGrid(height, 110, 40, overlap, align=align)
    def walk(first): return [(top, p.clone(), valid.copy()) for top, p, valid in BlendedScene(ArrayScene(image), grid, lambda x: x.softmax(1), 3, bs=5, max_bytes=max_bytes, first=first)]
    whole = walk(0)
    assert sum(len(valid) for *_, valid in whole) == height
    for first in range(len(whole) + 1):
        rest = walk(first)
        assert [top for top, *_ in rest] == [top for top, *_ in whole[first:]]
        assert all(torch.equal(p, q) and (valid == seen).all() for (_, p, valid), (_, q, seen) in zip(rest, whole[first:]))


@pytest.mark.parametrize('overlap', [0, 1, 3, .1, .25, .5, .75, .9])
def test_weights_sum_to_one_over_every_pixel(overlap):
    for length in (1, 5, 31, 32, 33, 64, 100, 257):
        for size in (4, 16, 32, 64):
            for blend in BLENDS:
                for align in (1, 16, 32):
                    axis, total = WindowAxis(length, size, overlap, blend, align=align), np.zeros(length + size + 64)
                    for start, weight in zip(axis.starts, axis.weights): total[start:start + size] += weight
                    end = axis.starts[-1] + size
                    assert length <= end <= max(length + align - 1, size)
                    np.testing.assert_allclose(total[:end], 1, atol=1e-6)


def test_overlap_in_pixels_and_windows_on_a_raster_of_32():
    assert WindowAxis(200, 64, overlap=16).starts == WindowAxis(200, 64, overlap=.25).starts == [0, 48, 96, 136]
    assert WindowAxis(300, 128, overlap=32, align=32).starts == [0, 96, 192]


@pytest.mark.parametrize('seed', [0, 1, 2])
@pytest.mark.parametrize('overlap', [16, 24])
def test_seam_energy_falls_from_none_to_crop_to_hann(seed, overlap):
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Conv2d(2, 8, 3, padding=1), nn.ReLU(), nn.AvgPool2d(4), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1),
                        nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Upsample(scale_factor=4, mode='bilinear'), nn.Conv2d(8, 3, 1), nn.BatchNorm2d(3, momentum=None))
    image = np.kron(np.random.default_rng(seed).random((2, 20, 26)), np.ones((1, 10, 10))).astype('float32')
    with torch.no_grad(): net(torch.tensor(image)[None])
    net.eval()
    def chances(x): return (3*net(x)).softmax(1)
    whole = predict_array(chances, image, 3, size=(200, 260))
    energy = {blend: seam_energy(predict_array(chances, image, 3, size=64, overlap=overlap, blend=blend), whole) for blend in BLENDS}
    assert energy['none'] > energy['crop'] > energy['hann'] > 0


@pytest.mark.parametrize('dtype, nodata', [('uint8', None), ('uint16', 0), ('int16', -9999), ('float32', np.nan), ('float32', -1)])
def test_the_model_sees_what_the_loader_gives(tmp_path, dtype, nodata):
    "Bit for bit, nodata and infinities included."
    learn, data = learner(tmp_path, dtype=dtype, names=['B04', 'B08']), pixels(32, 32, dtype=dtype)
    if nodata is not None: data[0, 3:9, 4:8], data[:, 20:, 20:] = nodata, nodata
    if dtype == 'float32': data[1, 0, :5] = np.inf
    scene = write(tmp_path/'scene.tif', data, nodata, names=['B04', 'B08'])
    batch = learn.dls.test_dl([scene]).one_batch()[0].as_subclass(torch.Tensor)
    windows = WindowModel(learn)
    with windows.evaluating(), open_scene(scene, windows.reader) as opened: found = windows.prepare(torch.from_numpy(opened.read(0, 32))[None])[0]
    assert torch.equal(found, batch[0]) and torch.equal(torch.signbit(found), torch.signbit(batch[0]))


@pytest.mark.parametrize('crs, transform', [('EPSG:32633', NORTH_UP), ('EPSG:4326', Affine(9.4e-5, 3.4e-5, 10, 3.4e-5, -9.4e-5, 50)),
                                            (None, Affine.identity()), (None, NORTH_UP)])
def test_the_map_lies_where_the_scene_lies(tmp_path, crs, transform):
    learn = learner(tmp_path)
    scene = write(tmp_path/'scene.tif', pixels(30, 45), crs=crs, transform=transform)
    for output in ('classes', 'probabilities'):
        info, was = raster_info(predict(learn, scene, tmp_path/f'{output}.tif', output=output)), raster_info(scene)
        assert (info.crs, info.height, info.width) == (was.crs, 30, 45)
        assert info.transform.almost_equals(was.transform, 1e-12)


@pytest.mark.parametrize('dtype, nodata, stored, first, map_dtype', [
    ('uint16', 0, 0, 1, 'uint8'), ('uint16', 65535, 65535, 0, 'uint16'), ('int16', -9999, 255, 0, 'uint8'), ('float32', np.nan, 255, 0, 'uint8'),
    ('float32', -9999, 255, 0, 'uint8'), ('uint8', 255, 255, 0, 'uint8'), ('uint8', 1, 1, 2, 'uint8'), ('uint16', 300, 300, 0, 'uint16')])
def test_nodata_is_kept_apart(tmp_path, dtype, nodata, stored, first, map_dtype):
    learn = learner(tmp_path, dtype=dtype)
    data = pixels(40, 50, dtype=dtype)
    data[data == nodata] += 1
    data[:, 5:20, 30:] = nodata
    scene = write(tmp_path/'scene.tif', data, nodata=nodata)
    made = predict(learn, scene)
    codes, info = read_raster(made).data[0], raster_info(made)
    empty = np.zeros((40, 50), bool)
    empty[5:20, 30:] = True
    assert (info.nodata, info.dtype) == (stored, map_dtype)
    assert ((codes == stored) == empty).all()
    assert set(np.unique(codes[~empty])) <= {first, first + 1, first + 2}
    assert json.loads(info.tags['class_names']) == {str(first + i): n for i, n in enumerate(NAMES)}
    made, chances_path = predict(learn, scene, tmp_path/'map.tif', output='both')
    chances, kept = read_raster(chances_path), nodata if not 0 <= nodata <= 1 else np.nan
    np.testing.assert_equal(chances.nodata, kept)
    assert (chances.valid == ~empty).all() and (chances.data[:, ~empty].argmax(0) + first == codes[~empty]).all()
    assert (read_raster(made).data[0] == codes).all() and info.tags['nodata_of_scene'] == str(float(nodata))
    with rasterio.open(made) as source: assert source.colormap(1)[first][:3] == (0, 114, 178)
    show_map(scene, made)


@pytest.mark.parametrize('dtype', ['uint8', 'uint16', 'int16', 'float32'])
def test_number_types_without_nodata(tmp_path, dtype):
    learn = learner(tmp_path, dtype=dtype)
    info = raster_info(predict(learn, write(tmp_path/'scene.tif', pixels(20, 20, dtype=dtype))))
    assert (info.nodata, info.dtype) == (None, 'uint8')


def test_undeclared_nan_becomes_255(tmp_path):
    learn, data = learner(tmp_path, dtype='float32'), pixels(40, 40, dtype='float32')
    data[:, 30:, :7] = np.nan
    data[0, 0, 0] = np.nan
    made = read_raster(predict(learn, write(tmp_path/'scene.tif', data)))
    assert made.nodata == 255 and (made.data[0, 30:, :7] == 255).all() and (made.data == 255).sum() == 70


def test_class_values_of_many_classes():
    def short(n, nodata): m = ClassMap(['x']*n, [None]*n, nodata); return m.values[0], m.nodata, m.dtype, m.declared
    assert short(255, None) == (0, 255, 'uint8', False) and short(256, None) == (0, 65535, 'uint16', False)
    assert short(255, 0) == (1, 0, 'uint8', True) and short(256, 0) == (1, 0, 'uint16', True)
    assert short(300, -1) == (0, 65535, 'uint16', True) and short(4, 2.5) == (0, 255, 'uint8', True)


def patch_folder(folder, size=16, bands=2, names=None):
    for c, name in enumerate(NAMES):
        for i in range(8): write(folder/name/f'{i}.tif', (pixels(size, size, bands, seed=8*c + i)//5 + 1500*c).astype('uint16'), names=names)
    return folder


def test_a_patch_classifier_maps_a_scene(tmp_path):
    dls = MultibandDataLoaders.from_folder(patch_folder(tmp_path/'p'), seed=0, bs=8)
    learn = Learner(dls, nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3)))
    with learn.no_bar(), learn.no_logging(): learn.fit(30, .1)
    data = np.concatenate([pixels(48, 32, seed=c)//5 + 1500*c for c in range(3)], 2).astype('uint16')
    scene = write(tmp_path/'scene.tif', data)
    codes = read_raster(predict(learn, scene)).data[0]
    assert [int(np.median(codes[:, x:x + 8])) for x in (12, 44, 76)] == [0, 1, 2]
    one = read_raster(predict(learn, scene, output='probabilities', overlap=0)).data
    np.testing.assert_allclose(one[:, :16, :16], np.broadcast_to(one[:, :1, :1], (3, 16, 16)), atol=1e-6)


def test_windows_are_read_at_native_size_and_resized_as_patches_were(tmp_path):
    shapes = []
    class Watch(nn.Module):
        def __init__(self): super().__init__(); self.head = nn.Linear(2, 3)
        def forward(self, x): shapes.append(tuple(x.shape[1:])); return self.head(x.mean((2, 3)))
    dls = MultibandDataLoaders.from_folder(patch_folder(tmp_path/'p'), seed=0, bs=8, size=24)
    learn = Learner(dls, Watch(), path=tmp_path)
    scene = write(tmp_path/'scene.tif', pixels(30, 30))
    predict(learn, scene, overlap=0)
    assert set(shapes) == {(2, 24, 24)}
    seg = DataBlock((MultibandBlock(size=24), MultibandMaskBlock(NAMES)), get_y=lambda f: tmp_path/'train_mask.tif', splitter=IndexSplitter([0]))
    write(tmp_path/'train.tif', pixels(48, 48)); write(tmp_path/'train_mask.tif', np.zeros((1, 48, 48), 'uint8'))
    learn = Learner(seg.dataloaders([tmp_path/'train.tif']*3, bs=1), nn.Conv2d(2, 3, 1))
    assert raster_info(predict(learn, scene)).width == 30


def test_augmentations_are_off_and_the_state_comes_back(tmp_path):
    class Ruin(Transform):
        split_idx = 0
        def encodes(self, x: MultibandImage): return x*0 + 1e6*torch.rand(1).item()
    learn = learner(tmp_path, batch_tfms=Ruin())
    scene = write(tmp_path/'scene.tif', pixels(30, 30))
    learn.dls.train.one_batch()
    learn.dls.valid.after_batch.split_idx = 0
    learn.model.train()
    first, second = (read_raster(predict(learn, scene, output="probabilities", size=16, overlap=.5)).data for _ in range(2))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(first[:, 2:-2, 2:-2], whole_image(learn, scene)[:, 2:-2, 2:-2], atol=1e-5)
    predict(learn, scene)
    assert learn.dls.valid.after_batch.split_idx == 0


def test_bands_by_name_in_any_order_else_by_count(tmp_path):
    eurosat = [n for n in S2 if n != 'B8A'] + ['B8A']
    learn = learner(tmp_path, 13, sensor='eurosat', bands=['B04', 'B8A'])
    data = pixels(30, 30, 13, seed=5)
    bare = write(tmp_path/'bare.tif', data)
    maps = [read_raster(predict(learn, bare, output='probabilities')).data]
    for order in (eurosat, S2, ['B8A', 'B02', 'B04'], ['B04', 'B8A']):
        named = write(tmp_path/'named.tif', data[[eurosat.index(n) for n in order]], names=order)
        maps.append(read_raster(predict(learn, named, output='probabilities')).data)
    for other in maps[1:]: np.testing.assert_allclose(other, maps[0], atol=1e-6)
    for file in (write(tmp_path/'two.tif', data[:2]), write(tmp_path/'lacks.tif', data[:3], names=['B02', 'B03', 'B04'])):
        with pytest.raises(RasterError, match=rf'{file.name} has \d bands (.*) but the model was trained on files of 13 and uses B04, B8A: give'): predict(learn, file)


def test_names_of_no_known_sensor(tmp_path):
    learn = learner(tmp_path, 3)
    scene = write(tmp_path/'scene.tif', pixels(20, 20, 3), names=['thermal', 'lidar', 'sar'])
    assert predict(learn, scene).exists()


def test_a_learner_from_disk(tmp_path):
    learn = learner(tmp_path)
    scene = write(tmp_path/'scene.tif', pixels(40, 40))
    want = read_raster(predict(learn, scene)).data
    learn.export('model.pkl')
    again = load_learner(tmp_path/'model.pkl')
    np.testing.assert_array_equal(read_raster(predict(again, scene)).data, want)
    dls = MultibandDataLoaders.from_folder(patch_folder(tmp_path/'p'), seed=0, bs=8)
    Learner(dls, nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3)), path=tmp_path).export('patches.pkl')
    again = load_learner(tmp_path/'patches.pkl')
    assert raster_info(predict(again, scene)).tags['window'] == '16x16'
    reader_of(again.dls).patch_size = None
    with pytest.raises(ValueError, match='pass size='): predict(again, scene)
    assert raster_info(predict(again, scene, size=16)).tags['window'] == '16x16'


def leftovers(folder): return [f for f in folder.rglob('*') if 'map' in f.name]


def test_bad_input_is_one_sentence_and_leaves_nothing(tmp_path):
    learn = learner(tmp_path)
    good, text = write(tmp_path/'good.tif', pixels(60, 60)), tmp_path/'text.tif'
    text.write_text('no raster')
    cut = tmp_path/'cut.tif'
    cut.write_bytes(good.read_bytes()[:6000])
    empty = write(tmp_path/'empty.tif', np.zeros((2, 30, 30), 'uint16'), nodata=0)
    for file in (text, cut, empty, tmp_path/'missing.tif', tmp_path):
        with pytest.raises(RasterError) as error: predict(learn, file, tmp_path/'deep'/'map.tif')
        assert str(file) in str(error.value) and '\n' not in str(error.value)
        assert leftovers(tmp_path) == []
    for wrong in (dict(overlap=300), dict(overlap=-.1), dict(blend='x'), dict(output='x'), dict(size=0), dict(margin=90)):
        with pytest.raises(ValueError): predict(learn, good, tmp_path/'map.tif', **wrong)
    with pytest.raises(RasterError, match='folder'): predict(learn, good, tmp_path)
    with pytest.raises(RasterError, match='the scene itself'): predict(learn, good, good)
    (tmp_path/'file').write_text('')
    with pytest.raises(RasterError, match='cannot be written'): predict(learn, good, tmp_path/'file'/'map.tif')
    assert leftovers(tmp_path) == [] and raster_info(good).count == 2


class Fails(nn.Module):
    "A network that runs out of memory at one of its calls."
    def __init__(self, at):
        super().__init__()
        self.calls, self.at, self.conv = 0, at, nn.Conv2d(2, 3, 1)

    def forward(self, x):
        self.calls += 1
        if self.calls == self.at: raise RuntimeError('out of memory')
        return self.conv(x)


def test_a_network_that_fails_half_way_leaves_the_old_map(tmp_path):
    "In its first strip, where there is nothing to keep."
    learn = learner(tmp_path, net=Fails(at=5))
    scene = write(tmp_path/'scene.tif', pixels(90, 90))
    (tmp_path/'map.tif').write_bytes(b'old')
    with pytest.raises(RuntimeError, match='out of memory'): predict(learn, scene, size=16, bs=2)
    assert (tmp_path/'map.tif').read_bytes() == b'old' and leftovers(tmp_path) == [tmp_path/'map.tif']


def test_an_error_keeps_what_is_done(tmp_path, monkeypatch):
    "The next run goes on where it was, and the map is the same to the last byte."
    learn, scene, init = learner(tmp_path, net=Fails(at=0)), write(tmp_path/'scene.tif', pixels(400, 90)), BlendedScene.__init__
    monkeypatch.setattr(BlendedScene, '__init__', lambda self, *args, **kwargs: init(self, *args, **kwargs, max_bytes=1))
    monkeypatch.setattr('sat_recipes.predict.fused_batchnorms', lambda model, x: model)  # whose calls are counted
    options = dict(size=32, bs=2)
    whole = predict(learn, scene, tmp_path/'whole.tif', **options).read_bytes()
    every, learn.model.calls, learn.model.at = learn.model.calls, 0, 22
    (tmp_path/'map.tif').write_bytes(b'old')
    with pytest.raises(RuntimeError, match='out of memory'): predict(learn, scene, **options)
    assert (tmp_path/'map.tif').read_bytes() == b'old' and (tmp_path/'.map.tif.part').exists()
    learn.model.calls, learn.model.at = 0, 0
    assert predict(learn, scene, **options).read_bytes() == whole and not (tmp_path/'.map.tif.part').exists()
    assert learn.model.calls < every - 10


def test_a_network_of_other_classes_is_refused(tmp_path):
    learn = learner(tmp_path, net=nn.Conv2d(2, 1, 1))
    with pytest.raises(ValueError, match='gives 1 numbers but there are 3 classes'): predict(learn, write(tmp_path/'scene.tif', pixels(20, 20)))


def test_windows_without_a_pixel_are_not_predicted(tmp_path):
    class Counts(nn.Module):
        seen = 0
        def forward(self, x): self.seen += len(x); return torch.zeros(len(x), 3, *x.shape[-2:])
    net = Counts()
    data = np.zeros((2, 160, 160), 'uint16')
    data[:, 100:110, 100:110] = 7
    predict(learner(tmp_path, net=net), write(tmp_path/'scene.tif', data, nodata=0), size=16, overlap=0)
    assert net.seen <= 5


class Branching(nn.Module):
    "What the convolution gives goes to the norm and, `kept`, beside it; or the same modules are used `twice`."
    def __init__(self, kept=False, twice=False, running=True):
        super().__init__()
        self.kept, self.twice = kept, twice
        self.conv, self.norm = nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2, track_running_stats=running)

    def forward(self, x):
        y = self.conv(x)
        y = self.norm(y) + (y if self.kept else 0)
        return self.norm(self.conv(y)) if self.twice else y


def seen(model, x):
    "The model in evaluation mode, after its norms have seen something."
    for _ in range(20): model(x)
    return model.eval()


@pytest.mark.parametrize('how', [dict(kept=True), dict(running=False)])
def test_norms_that_cannot_be_fused_are_left_alone(how):
    torch.manual_seed(0)
    x = torch.rand(2, 2, 8, 8)
    model = seen(Branching(**how), x)
    with torch.no_grad(): assert fused_batchnorms(model, x) is model


class Uncopied(nn.Module):
    "A model that cannot be copied."
    def __init__(self): super().__init__(); self.conv, self.norm = nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2)
    def forward(self, x): return self.norm(self.conv(x))
    def __deepcopy__(self, memo): raise TypeError('cannot pickle')


def test_a_model_that_cannot_be_copied_is_used_as_it_is():
    x = torch.rand(2, 2, 8, 8)
    model = seen(Uncopied(), x)
    with torch.no_grad(): assert fused_batchnorms(model, x) is model


def norms(model): return sum(isinstance(m, nn.BatchNorm2d) for m in model.modules())


@pytest.mark.parametrize('make, least', [(lambda: Branching(), 1), (lambda: Branching(twice=True), 1), (lambda: timm.create_model('efficientnet_lite0', in_chans=2, num_classes=3), 40),
                                         (lambda: timm.create_model('resnet18', in_chans=2, num_classes=3), 20), (lambda: nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3, affine=False)), 1)])
def test_fused_norms_change_nothing_but_rounding(make, least):
    "And nothing at all in the model itself."
    torch.manual_seed(0)
    x = torch.rand(2, 2, 64, 64)
    model = seen(make(), x)
    state, modules = {name: value.clone() for name, value in model.state_dict().items()}, {name: set(m.__dict__) for name, m in model.named_modules()}
    with torch.no_grad():
        before = model(x)
        fused = fused_batchnorms(model, x)
        assert norms(model) - norms(fused) >= least
        torch.testing.assert_close(fused(x), before, rtol=1e-4, atol=1e-5)
        assert torch.equal(model(x), before)
    assert list(state) == list(model.state_dict()) and all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert modules == {name: set(m.__dict__) for name, m in model.named_modules()}


def test_a_map_leaves_the_learner_as_it_was(tmp_path):
    "In training mode with its norms, whatever happens."
    net = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 1))
    learn, scene = learner(tmp_path, net=net), write(tmp_path/'scene.tif', pixels(60, 60))
    learn.model.train()
    before = {name: value.clone() for name, value in learn.model.state_dict().items()}
    assert norms(WindowModel(learn).network) == 0
    predict(learn, scene)
    with pytest.raises(RasterError): predict(learn, scene, tmp_path/'scene.tif')
    assert learn.model.training and all(torch.equal(value, before[name]) for name, value in learn.model.state_dict().items())
    assert [type(m) for m in learn.model] == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.Conv2d]
