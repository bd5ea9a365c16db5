"Pruned and factorized networks beside the original, the loss of distillation beside its formula, and files in ONNX that map as the learner does."
import json
import subprocess
import sys
from functools import partial

import numpy as np
import onnx
import pytest
import timm
import torch
import torch.nn.functional as F
from fastai.callback.core import Callback
from fastai.data.core import DataLoader, DataLoaders
from fastai.learner import Learner
from fastai.losses import CrossEntropyLossFlat
from hypothesis import given, settings, strategies as st
from torch import nn

from sat_recipes import cli
from sat_recipes.bands import SENSORS
from sat_recipes.compress import Distill, OnnxModel, load_onnx, quantize_onnx, with_low_rank, without_channels
from sat_recipes.multiband import MultibandDataLoaders
from sat_recipes.raster import RasterError, read_raster, write_raster
from sat_recipes.synthetic import write_eurosat_like
from sat_recipes.transfer import ModelError


def weights(model): return sum(p.numel() for p in model.parameters())


# --- Smaller networks ----------------------------------------------------------------------------

@pytest.fixture(scope='module')
def mobilenet():
    torch.manual_seed(0)
    return timm.create_model('mobilenetv2_035', in_chans=4, num_classes=3).eval()


@pytest.mark.parametrize('share', [.25, .5, .9])
def test_channels_that_say_nothing_can_go(mobilenet, share):
    x, whole = torch.randn(2, 4, 64, 64), weights(mobilenet)
    kept = {}
    for name, block in mobilenet.named_modules():
        if not hasattr(block, 'conv_pwl'): continue
        narrow = block.conv_pwl
        gone = round(share*narrow.in_channels)
        kept[name] = narrow.in_channels - gone
        narrow.weight.data[:] = torch.randn_like(narrow.weight)
        narrow.weight.data[:, torch.randperm(narrow.in_channels)[:gone]] = 0
    small = without_channels(mobilenet, share)
    with torch.no_grad(): torch.testing.assert_close(small(x), mobilenet(x), atol=1e-4, rtol=1e-4)
    modules = dict(small.named_modules())
    assert {name: modules[name].conv_dw.groups for name in kept} == kept and weights(mobilenet) == whole > weights(small)
    small.train()(x).sum().backward()


def test_no_channel_goes_where_none_is_asked_for(mobilenet): assert weights(without_channels(mobilenet, 0)) == weights(mobilenet)


@pytest.mark.parametrize('share', [-.1, 1, 2])
def test_a_share_that_is_none(mobilenet, share):
    with pytest.raises(ValueError, match='not from 0 to below 1'): without_channels(mobilenet, share)
    with pytest.raises(ValueError, match='not between 0 and 1'): with_low_rank(mobilenet, share)


def test_networks_that_cannot_be_pruned():
    for model in (nn.Linear(2, 2), timm.create_model('efficientnet_b0', num_classes=0)):
        with pytest.raises(ValueError, match='no inverted residual blocks without squeeze'): without_channels(model, .5)


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 40), st.integers(2, 40), st.floats(.1, .95), st.booleans(), st.integers(0, 99))
def test_low_rank_is_the_best_of_its_rank(n_in, n_out, share, as_image, seed):
    torch.manual_seed(seed)
    layer = nn.Conv2d(n_in, n_out, 1) if as_image else nn.Linear(n_in, n_out)
    first, second = with_low_rank(nn.Sequential(layer), share)[0]
    rank = first.weight.shape[0]
    assert rank == max(int(share*n_in*n_out/(n_in + n_out)), 1)
    matrix = layer.weight.detach().flatten(1)
    lost = matrix - second.weight.detach().flatten(1)@first.weight.detach().flatten(1)
    # Eckart and Young: what is lost is as large as the singular values that are left out.
    left_out = torch.linalg.svdvals(matrix)[rank:].square().sum()
    assert lost.square().sum().item() == pytest.approx(left_out.item(), abs=1e-3)
    assert torch.equal(second.bias, layer.bias)


def test_other_convolutions_are_left_alone():
    model = nn.Sequential(nn.Conv2d(4, 8, 3), nn.Conv2d(8, 8, 1, groups=8), nn.Conv2d(8, 8, 1, stride=2))
    assert [type(m) for m in with_low_rank(model, .5)] == [nn.Conv2d]*3


# --- Distillation --------------------------------------------------------------------------------

class Watch(Callback):
    "Notes the loss that is differentiated."
    def __init__(self, seen): self.seen = seen
    def before_backward(self): self.seen.append(self.learn.loss_grad.item())


@pytest.mark.parametrize('weight, temperature', [(0, 2), (.3, 1), (1, 4)])
def test_the_loss_is_hintons(weight, temperature):
    torch.manual_seed(0)
    x, y = torch.randn(6, 5), torch.tensor([0, 1, 2, 0, 1, 2])
    dl = DataLoader(list(zip(x, y)), bs=6)
    teacher, model = nn.Linear(5, 3), nn.Linear(5, 3)
    own, taught = model(x).detach(), teacher(x).detach()
    learn = Learner(DataLoaders(dl, dl, device='cpu'), model, loss_func=CrossEntropyLossFlat())
    learn.remove_cbs([cb for cb in learn.cbs if cb.name == 'progress'])
    seen = []
    with learn.no_logging(): learn.fit(1, 0., cbs=[Distill(teacher, weight, temperature), Watch(seen)])
    p, q = (taught/temperature).softmax(1), (own/temperature).softmax(1)
    expected = weight*temperature**2*(p*(p/q).log()).sum(1).mean() + (1 - weight)*F.cross_entropy(own, y)
    valid = learn.recorder.values[-1][1]
    assert seen == [pytest.approx(expected.item(), abs=1e-5)]
    assert valid == pytest.approx(F.cross_entropy(own, y).item(), abs=1e-5)
    assert not teacher.weight.grad


# --- ONNX ----------------------------------------------------------------------------------------

class PerPixel(nn.Module):
    "Two classes for each pixel, of its neighborhood."
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(13, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 2, 1))
    def forward(self, x): return self.body(x)


def classifier(classes): return nn.Sequential(nn.Conv2d(13, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, classes))


@pytest.fixture(scope='module')
def scene(tmp_path_factory):
    "A scene of 13 bands, 96 x 160 pixels, and a mask of two classes."
    torch.set_num_threads(1)
    folder, draw = tmp_path_factory.mktemp('scene'), np.random.default_rng(0)
    dn = draw.integers(500, 4000, (13, 96, 160)).astype('uint16')
    names = SENSORS['sentinel2_l1c'].names
    return write_raster(folder/'scene.tif', dn, band_names=names), write_raster(folder/'mask.tif', (dn[3] > 2000).astype('uint8'))


@pytest.fixture(scope='module')
def patches(tmp_path_factory):
    "(learner of patches, its file in ONNX)"
    folder = tmp_path_factory.mktemp('patches')
    dls = MultibandDataLoaders.from_folder(write_eurosat_like(folder/'data', 2), sensor='eurosat', valid_pct=.4, seed=0, bs=4, store=None, device='cpu')
    torch.manual_seed(0)
    learn = Learner(dls, classifier(len(dls.vocab)), loss_func=CrossEntropyLossFlat())
    return learn, learn.save_onnx(folder/'model.onnx', license='CC0')


@pytest.fixture(scope='module')
def pixels(scene, tmp_path_factory):
    "(learner of pixels, its file in ONNX)"
    dls = MultibandDataLoaders.from_scenes([scene[0]], [scene[1]], codes=['dark', 'light'], size=32, bs=4, valid_pct=.25, store=None, device='cpu')
    torch.manual_seed(0)
    learn = Learner(dls, PerPixel(), loss_func=CrossEntropyLossFlat(axis=1))
    return learn, learn.save_onnx(tmp_path_factory.mktemp('pixels')/'model.onnx')


def test_one_file_says_the_same_as_the_learner(patches):
    learn, path = patches
    x = learn.dls.one_batch()[0].as_subclass(torch.Tensor)
    loaded = load_onnx(path)
    assert [file.name for file in path.parent.iterdir() if file.is_file()] == ['model.onnx']
    for part in (x, x[:1], x.repeat(3, 1, 1, 1)):
        with torch.no_grad(): torch.testing.assert_close(loaded.model(part), learn.model.eval()(part), atol=1e-4, rtol=1e-4)
    assert list(loaded.dls.vocab) == list(learn.dls.vocab) and loaded.card['license'] == 'CC0' and loaded.model.size == (64, 64)
    assert not any(node.op_type == 'BatchNormalization' for node in onnx.load(path).graph.node)


def test_predictions_are_the_learners(patches):
    learn, path = patches
    loaded = load_onnx(path)
    for one in (learn, loaded): one.remove_cbs([cb for cb in one.cbs if cb.name == 'progress'])
    files = list(learn.dls.valid.items)
    expected = learn.get_preds(dl=learn.dls.test_dl(files))[0]
    torch.testing.assert_close(loaded.get_preds(dl=loaded.dls.test_dl(files))[0], expected, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize('kind', ['patches', 'pixels'])
def test_maps_are_the_learners(kind, scene, tmp_path, request):
    learn, path = request.getfixturevalue(kind)
    for name, one in dict(own=learn, flown=load_onnx(path)).items():
        one.predict_scene(scene[0], tmp_path/f'{name}.tif', output='probabilities', size=None if kind == 'patches' else 256, progress=False)
    own, flown = (read_raster(tmp_path/f'{name}.tif') for name in ('own', 'flown'))
    np.testing.assert_allclose(flown.data, own.data, atol=1.01/250)
    assert flown.info.crs == own.info.crs and flown.info.band_names == own.info.band_names


def test_smaller_windows_of_pixels_are_padded_and_other_patches_refused(patches, pixels):
    learn, path = pixels
    model, x = OnnxModel(path), torch.randn(2, 13, 96, 160)
    assert model.size == (256, 256)
    with torch.no_grad(): torch.testing.assert_close(model(x), learn.model.eval()(x), atol=1e-4, rtol=1e-4)
    with pytest.raises(ValueError, match='takes windows of 256 x 256 pixels, not 257 x 160'): model(torch.zeros(1, 13, 257, 160))
    with pytest.raises(ValueError, match='takes windows of 64 x 64 pixels, not 64 x 32'): OnnxModel(patches[1])(torch.zeros(1, 13, 64, 32))


def test_eight_bits(patches, tmp_path):
    learn, path = patches
    x = torch.cat([x.as_subclass(torch.Tensor) for x, _ in learn.dls.train])
    small = load_onnx(quantize_onnx(path, tmp_path/'int8.onnx', x))
    with torch.no_grad(): off = (small.model(x) - learn.model.eval()(x)).abs().max()/learn.model(x).std()
    assert 0 < off < .2 and small.card == load_onnx(path).card
    graph = onnx.load(tmp_path/'int8.onnx').graph
    stored = {tensor.data_type for tensor in graph.initializer if len(tensor.dims) == 4}
    assert stored == {onnx.TensorProto.INT8} and [f.name for f in tmp_path.iterdir()] == ['int8.onnx']


def test_a_map_does_not_go_on_with_another_network(patches, tmp_path):
    learn, path = patches
    other = Learner(learn.dls, classifier(len(learn.dls.vocab)), loss_func=CrossEntropyLossFlat()).save_onnx(tmp_path/'other.onnx')
    assert not torch.equal(*(OnnxModel(file).state_dict()['digest'] for file in (path, other)))


def test_the_command_line_maps_with_it(patches, scene, tmp_path):
    learn, path = patches
    assert cli.main(['predict', str(path), str(scene[0]), str(tmp_path/'map.tif')]) == 0
    learn.predict_scene(scene[0], tmp_path/'own.tif', progress=False)
    assert (read_raster(tmp_path/'map.tif').data == read_raster(tmp_path/'own.tif').data).mean() > .999


# --- What is refused -----------------------------------------------------------------------------

def test_files_that_are_none(patches, tmp_path):
    learn, path = patches
    with pytest.raises(ModelError, match='must end with .onnx'): learn.save_onnx(tmp_path/'model.bin')
    (tmp_path/'short.onnx').write_bytes(path.read_bytes()[:500])
    bare, odd = onnx.load(path), onnx.load(path)
    del bare.metadata_props[:]
    onnx.helper.set_model_props(odd, dict(card=json.dumps(dict(load_onnx(path).card, task='weather'))))
    for name, network in dict(bare=bare, odd=odd).items(): onnx.save(network, tmp_path/f'{name}.onnx')
    for name in ('short', 'bare', 'missing'):
        with pytest.raises(ModelError, match=f'{name}.onnx is no whole network with a card'): load_onnx(tmp_path/f'{name}.onnx')
    with pytest.raises(ModelError, match='odd.onnx has a card that does not fit'): load_onnx(tmp_path/'odd.onnx')


@pytest.mark.parametrize('package', ['onnx', 'onnxruntime', 'onnxscript'])
def test_without_the_extra_a_sentence_says_what_to_install(patches, monkeypatch, package, tmp_path):
    monkeypatch.setitem(sys.modules, package, None)
    for ask in (partial(load_onnx, patches[1]), partial(patches[0].save_onnx, tmp_path/'model.onnx')):
        with pytest.raises(ImportError, match=rf'{package}.* pip install "sat-recipes\[compress\]"'): ask()


def test_the_package_is_imported_without_the_extra():
    code = "import sys; import sat_recipes.compress; print({'onnx', 'onnxruntime', 'onnxscript'} & set(sys.modules))"
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True).stdout == 'set()\n'
