"Backbones of both libraries train at any number of bands, and models in files come back as they were, or not at all."
import json
import pickle
import subprocess
import sys
from functools import partial

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from fastai.callback.schedule import *
from fastai.data.block import RegressionBlock
from fastai.learner import Learner
from fastai.losses import BCEWithLogitsLossFlat
from fastai.metrics import accuracy
from safetensors.torch import save_file
from torch import nn
from torchvision.models import densenet121, resnet18, squeezenet1_0

from sat_recipes.bands import SENSORS, Sensor
from sat_recipes.multiband import MultibandDataLoaders
from sat_recipes.predict import predict_scene  # a method of every Learner
from sat_recipes.raster import read_raster, write_raster
from sat_recipes.synthetic import write_eurosat_like
from sat_recipes.transfer import (
    ModelError, first_convolution, load_model, make_network, _digest, multiband_learner, multiband_unet, read_weights)

ARCHS = dict(resnet18='resnet18', convnext='convnext_atto', lite0='tf_efficientnet_lite0', mobilenetv4='mobilenetv4_conv_small',
             torchvision=resnet18)
BANDS = {1: ['B04'], 4: ['B02', 'B03', 'B04', 'B08'], 13: None}


@pytest.fixture(scope='module')
def patches(tmp_path_factory):
    torch.set_num_threads(1)
    return write_eurosat_like(tmp_path_factory.mktemp('patches'), 1)


@pytest.fixture(scope='module')
def scene(tmp_path_factory):
    "A scene of 13 bands, 48 x 64 pixels, and its mask of two classes."
    folder, draw = tmp_path_factory.mktemp('scene'), np.random.default_rng(0)
    dn = draw.integers(500, 4000, (13, 48, 64)).astype('uint16')
    mask = (dn[3] > 2000).astype('uint8')
    return write_raster(folder/'scene.tif', dn, band_names=SENSORS['sentinel2_l1c'].names), write_raster(folder/'mask.tif', mask)


def loaders(patches, bands=None, **kwargs):
    return MultibandDataLoaders.from_folder(patches, sensor='eurosat', bands=bands, valid_pct=.4, seed=0, bs=3, size=32, store=None,
                                            device='cpu', **kwargs)


def quiet(learn, *args):
    with learn.no_bar(), learn.no_logging(): learn.fit(*args)
    return learn


@pytest.mark.parametrize('n', BANDS)
@pytest.mark.parametrize('arch', ARCHS)
def test_classifiers_train(patches, arch, n):
    learn = multiband_learner(loaders(patches, BANDS[n]), ARCHS[arch], pretrained=False, min_size=0)
    assert first_convolution(learn.model)[1].in_channels == n
    body, head = [[p.detach().clone() for p in group] for group in learn.splitter(learn.model)]
    learn.freeze()
    quiet(learn, 1, 1e-2)
    after = learn.splitter(learn.model)
    norms = {id(p) for m in learn.model.modules() if isinstance(m, (nn.BatchNorm2d, nn.LayerNorm)) for p in m.parameters()}
    assert all(torch.equal(a, b) for a, b in zip(body, after[0]) if id(b) not in norms)
    assert not all(torch.equal(a, b) for a, b in zip(head, after[1])) and np.isfinite(learn.recorder.losses).all()


@pytest.mark.parametrize('arch', [*ARCHS])
def test_unets_train(scene, arch):
    dls = MultibandDataLoaders.from_scenes(*scene, codes=['dark', 'bright'], sensor='sentinel2_l1c', size=32, block=16, bs=2, device='cpu',
                                           bands=BANDS[4], store=None)
    learn = multiband_unet(dls, ARCHS[arch], pretrained=False)
    quiet(learn, 1)
    assert learn.model.eval()(torch.rand(1, 4, 64, 32)).shape == (1, 2, 64, 32) and np.isfinite(learn.recorder.losses).all()


def test_what_cannot_be_built_is_told(scene):
    with pytest.raises(ValueError, match="no U-Net around torchvision's squeezenet1_0"): make_network('masks', squeezenet1_0, n_out=2)
    assert make_network('masks', densenet121, n_out=2).made_by['library'] == 'torchvision'
    def other(pretrained=False): return resnet18()
    assert make_network('patches', other, n_out=2).made_by is None


def test_groups_take_their_own_rates(patches):
    learn = multiband_learner(loaders(patches, BANDS[4]), 'resnet18', pretrained=False, min_size=0)
    with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(1, slice(1e-5, 1e-3))
    low, high = [group['lr'] for group in learn.opt.hypers]
    assert high == pytest.approx(100*low)
    learn.freeze()
    assert learn.opt.frozen_idx == 1


@pytest.mark.parametrize('suffix', ['pth', 'safetensors'])
@pytest.mark.parametrize('arch', ['resnet18', 'convnext_atto', resnet18])
def test_weights_of_a_file_start_body_and_encoder(patches, scene, tmp_path, arch, suffix):
    whole = arch() if callable(arch) else timm.create_model(arch, num_classes=5)
    state = {f'backbone.{name}': value for name, value in whole.state_dict().items()}
    path = tmp_path/f'weights.{suffix}'
    if suffix == 'pth': torch.save(dict(state_dict=state, epoch=3), path)
    else: save_file(state, path)
    rgb = first_convolution(whole)[1].weight
    dls = MultibandDataLoaders.from_scenes(*scene, codes=['dark', 'bright'], sensor='sentinel2_l1c', size=32, block=16, bs=2, device='cpu',
                                           bands=['B04', 'B03', 'B02'], store=None)
    assert torch.equal(first_convolution(multiband_unet(dls, arch, pretrained=path).model)[1].weight, rgb)
    if callable(arch) and suffix == 'safetensors': return  # fastai cuts torchvision's networks, and renames what is left
    learn = multiband_learner(loaders(patches, ['B04', 'B03', 'B02']), arch, pretrained=path, min_size=0)
    assert torch.equal(first_convolution(learn.model)[1].weight, rgb) and learn.opt.frozen_idx == 1


@pytest.mark.parametrize('source', [['B04', 'B03', 'B02'], BANDS[4], SENSORS['sentinel2_l2a'].names[1:11], None])
def test_networks_of_any_bands_start_one_of_other_bands(patches, tmp_path, source):
    first = multiband_learner(loaders(patches, source), 'resnet18', pretrained=False, min_size=0)
    path = first.save_model(tmp_path/'first.safetensors')
    torch.save(first.model.state_dict(), tmp_path/'first.pth')
    known = SENSORS['eurosat'].select(source or range(13))
    gray = torch.rand(1, 1, 16, 16)
    conv = first_convolution(first.model)[1]
    expected = torch.conv2d(gray.expand(-1, conv.in_channels, -1, -1), conv.weight)
    for bands in (['B08'], BANDS[4], None):
        for kwargs in (dict(pretrained=path), dict(pretrained=tmp_path/'first.pth', source=known)):
            weight = first_convolution(multiband_learner(loaders(patches, bands), 'resnet18', min_size=0, **kwargs).model)[1].weight
            found = torch.conv2d(gray.expand(-1, weight.shape[1], -1, -1), weight)
            torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_files_that_are_no_weights_are_refused(patches, tmp_path):
    dls, path = loaders(patches), tmp_path/'w.pth'
    def start(path, **kwargs): return multiband_learner(dls, 'resnet18', pretrained=path, min_size=0, **kwargs)
    with pytest.raises(ModelError, match='w.pth is not there'): start(path)
    torch.save(nn.Linear(1, 1), path)
    with pytest.raises(ModelError, match='w.pth is no whole file of weights'): start(path)
    torch.save(dict(a=1), path)
    with pytest.raises(ModelError, match='w.pth is no whole file of weights'): start(path)
    torch.save(timm.create_model('resnet34').state_dict(), path)
    start(path)  # the first layers of one are those of the other, by name
    torch.save(timm.create_model('resnet26').state_dict(), path)
    with pytest.raises(ModelError, match='w.pth has not the weights of ResNet'): start(path)
    torch.save(timm.create_model('resnet18', in_chans=5).state_dict(), path)
    with pytest.raises(ValueError, match='takes 5 channels, not 3.*source='): start(path)
    start(path, source=Sensor.generic(5))


# --- Models in files -----------------------------------------------------------------------------

FRESH = '''
import sys, torch, numpy as np
from sat_recipes.transfer import load_model
from sat_recipes.predict import predict_scene
torch.set_num_threads(1)
scene, folder = sys.argv[1:]
for kind in ('patches', 'masks'):
    learn, x = load_model(f'{folder}/{kind}.safetensors'), torch.from_numpy(np.load(f'{folder}/{kind}.npy'))
    with torch.no_grad(): np.save(f'{folder}/{kind}_fresh.npy', learn.model.eval()(x).numpy())
    learn.predict_scene(scene, f'{folder}/{kind}_fresh.tif', output='probabilities')
'''


def test_a_fresh_process_predicts_the_same(patches, scene, tmp_path):
    mask_dls = MultibandDataLoaders.from_scenes(*scene, codes=['dark', 'bright'], size=32, block=16, bs=2, device='cpu', store=None)
    learners = dict(patches=multiband_learner(loaders(patches), 'resnet18', pretrained=False, metrics=accuracy),
                    masks=multiband_unet(mask_dls, resnet18, pretrained=False))
    for kind, learn in learners.items():
        quiet(learn, 1)
        x = learn.dls.one_batch()[0].as_subclass(torch.Tensor)
        np.save(tmp_path/f'{kind}.npy', x.numpy())
        with torch.no_grad(): np.save(tmp_path/f'{kind}_here.npy', learn.model.eval()(x).numpy())
        learn.predict_scene(scene[0], tmp_path/f'{kind}_here.tif', output='probabilities')
        learn.save_model(tmp_path/f'{kind}.safetensors', license='CC BY 4.0')
    done = subprocess.run([sys.executable, '-c', FRESH, scene[0], tmp_path], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    for kind, learn in learners.items():
        np.testing.assert_array_equal(np.load(tmp_path/f'{kind}_fresh.npy'), np.load(tmp_path/f'{kind}_here.npy'))
        fresh, here = (read_raster(tmp_path/f'{kind}_{when}.tif') for when in ('fresh', 'here'))
        np.testing.assert_array_equal(fresh.data, here.data)
        assert fresh.band_names == here.band_names
        card = load_model(tmp_path/f'{kind}.safetensors').card
        assert card['license'] == 'CC BY 4.0' and card['names'] == list(learn.dls.vocab)
        assert set(card['metrics']) == {'train_loss', 'valid_loss', *(['accuracy'] if kind == 'patches' else [])}


def test_predict_and_test_loaders_of_a_loaded_model(patches, tmp_path):
    learn = multiband_learner(loaders(patches, BANDS[4]), 'resnet18', pretrained=False, min_size=0)
    files = sorted(patches.rglob('*.tif'))[:4]
    loaded = load_model(learn.save_model(tmp_path/'m.safetensors', license='CC BY 4.0'))
    for one in (learn, loaded): one.remove_cbs([c for c in one.cbs if c.name == 'progress'])
    with learn.no_bar(), loaded.no_bar():
        mine, its = (one.get_preds(dl=one.dls.test_dl(files))[0] for one in (learn, loaded))
        assert learn.predict(files[0])[0] == loaded.predict(files[0])[0]
    assert torch.equal(mine, its) and mine.shape == (4, len(learn.dls.vocab))
    again = load_model(loaded.save_model(tmp_path/'again.safetensors')).card
    assert again['network'] == loaded.card['network'] and again['license'] == 'CC BY 4.0'


@pytest.mark.parametrize('target', ['labels', 'numbers', 'two numbers', 'one output'])
def test_other_targets_come_back(patches, scene, tmp_path, target):
    files = sorted(patches.rglob('*.tif'))
    df = pd.DataFrame(dict(file=files, labels=['a b', 'b', 'a', 'c', 'a']*2, height=np.arange(10)/3, width=np.arange(10)/7, urban=['no', 'yes']*5))
    make = partial(MultibandDataLoaders.from_df, df, sensor='eurosat', seed=0, bs=2, size=32, store=None, device='cpu')
    kwargs = {}
    if target == 'labels': dls = make(label_col='labels', label_delim=' ')
    elif target == 'numbers': dls = make(label_col='height', y_block=RegressionBlock)
    elif target == 'two numbers': dls = make(label_col=['height', 'width'])
    else: dls, kwargs = make(label_col='urban'), dict(loss_func=BCEWithLogitsLossFlat())
    learn = multiband_learner(dls, 'resnet18', pretrained=False, min_size=0, **kwargs)
    loaded = load_model(learn.save_model(tmp_path/'m.safetensors'))
    for one in (learn, loaded): one.predict_scene(scene[0], tmp_path/f'{one is learn}.tif')
    first, second = (read_raster(tmp_path/f'{flag}.tif') for flag in (True, False))
    np.testing.assert_array_equal(first.data, second.data)
    assert first.band_names == second.band_names and first.tags.get('class_names') == second.tags.get('class_names')


def test_a_network_of_ones_own(patches, tmp_path):
    def network(): return nn.Sequential(nn.Conv2d(13, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
    dls = loaders(patches)
    learn = Learner(dls, network())
    path = learn.save_model(tmp_path/'own.safetensors')
    with pytest.raises(ModelError, match='own.safetensors holds a network that is not of this library.*model='): load_model(path)
    x = dls.one_batch()[0]
    assert torch.equal(load_model(path, network()).model(x), learn.model(x))
    with pytest.raises(ModelError, match='does not fit'): load_model(path, nn.Linear(1, 1))
    with pytest.raises(ModelError, match='must end with .safetensors'): learn.save_model(tmp_path/'own.pth')


class Trap:
    "Unpickled, it leaves a file behind."
    def __init__(self, path): self.path = str(path)
    def __reduce__(self): return open, (self.path, 'w')


@pytest.fixture
def model(patches, tmp_path):
    return multiband_learner(loaders(patches, BANDS[4]), 'resnet18', pretrained=False, min_size=0).save_model(tmp_path/'m.safetensors')


@pytest.mark.parametrize('suffix', ['safetensors', 'pth'])
@pytest.mark.parametrize('write', ['pickle', 'torch'])
def test_pickles_are_refused_and_nothing_is_executed(tmp_path, write, suffix):
    path, trap = tmp_path/f'model.{suffix}', Trap(tmp_path/'executed')
    if write == 'pickle': path.write_bytes(pickle.dumps(trap))
    else: torch.save(dict(weight=torch.zeros(2), trap=trap), path)
    with pytest.raises(ModelError, match=r'model\.\w+ is no whole file of weights'): load_model(path)
    assert not (tmp_path/'executed').exists()
    pickle.loads(pickle.dumps(trap))
    assert (tmp_path/'executed').exists()  # the trap works


def test_truncated_and_changed_files_are_refused(model):
    whole, draw = model.read_bytes(), np.random.default_rng(0)
    for length in (0, 7, 500, len(whole)//2, len(whole) - 1):
        model.write_bytes(whole[:length])
        with pytest.raises(ModelError, match='is no whole file of weights'): load_model(model)
    header = int.from_bytes(whole[:8], 'little')
    for place in (*draw.integers(8, 8 + header, 12), *draw.integers(8 + header, len(whole), 4)):
        changed = bytearray(whole)
        changed[place] ^= 1
        model.write_bytes(changed)
        with pytest.raises(ModelError, match='m.safetensors'): load_model(model)
    model.write_bytes(whole)
    load_model(model)


@pytest.mark.parametrize('change', [
    dict(network=dict(kind='patches', arch='hf-hub:someone/something', library='timm', n_out=5)),
    dict(network=dict(kind='patches', arch='local-dir:/tmp', library='timm', n_out=5)),
    dict(network=dict(kind='patches', arch='__import__', library='torchvision', n_out=5)),
    dict(network=dict(kind='patches', arch='resnet18', library='os', n_out=5)),
    dict(network=dict(kind='patches', arch='resnet34', library='timm', n_out=5)),
    dict(network=dict(kind='patches', arch='resnet18', library='timm', n_out=5, pretrained=True)),
    dict(network=5), dict(task='system'), dict(names=3), dict(sensor={}), dict(bands=['B77']), dict(statistics=[[1], 'x']), dict(loss=[])])
def test_cards_of_a_stranger_are_refused(model, change):
    "Whoever can write the checksum can write any card: names are looked up in lists of networks, and nothing else is called."
    tensors, card = read_weights(model)
    card = {k: v for k, v in card.items() if k != 'digest'} | change
    card['digest'] = _digest(card, tensors)
    save_file(tensors, model, metadata=dict(card=json.dumps(card)))
    with pytest.raises(ModelError, match='m.safetensors'): load_model(model)


def test_files_without_a_card_are_no_models(model):
    tensors, _ = read_weights(model)
    save_file(tensors, model)
    with pytest.raises(ModelError, match='has no card.*multiband_learner'): load_model(model)
    save_file(tensors, model, metadata=dict(card='[1, 2]'))
    with pytest.raises(ModelError): load_model(model)


def test_transforms_that_the_file_leaves_out_are_told(patches, tmp_path):
    from fasttransform import Transform
    class Halve(Transform):
        order = 100
        def encodes(self, x: torch.Tensor): return x
    learn = Learner(loaders(patches, batch_tfms=[Halve()]), nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(13, 5)))
    with pytest.warns(UserWarning, match='Halve'): learn.save_model(tmp_path/'m.safetensors')
