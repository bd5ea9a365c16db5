"""Monitor's logs are read back, from TensorBoard's files and from those of W&B offline; recipe 71's page is driven in a browser.

Nothing here asks another host: W&B is offline, Gradio's analytics are off, and the browser's requests are watched.
"""
import io
import json
import shutil
import sys

import numpy as np
import pytest
import rasterio
import torch
from conftest import taken, tif
from fastai.callback.core import Callback
from fastai.callback.schedule import fit_one_cycle, lr_find  # noqa: F401, verbs of Learner
from fastai.learner import Learner
from fastai.torch_core import set_seed
from matplotlib import pyplot as plt
from PIL import Image
from sat_recipes.all import (
    MeanIoU,
    Monitor,
    MultibandDataLoaders,
    PixelAccuracy,
    Resumable,
    read_raster,
    show_map,
    write_eurosat_like,
    write_flood_chip,
    write_projector,
)
from sat_recipes.transfer import load_model
from torch import nn

FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
         '--disable-component-update', '--disable-sync']


@pytest.fixture(scope='module')
def chip(tmp_path_factory):
    "Image and labels of a synthetic flood."
    folder = write_flood_chip(tmp_path_factory.mktemp('chip'), shape=(192, 192))
    return next(folder.glob('*S2Hand.tif')), next(folder.glob('*LabelHand.tif'))


def small(): return nn.Sequential(nn.Conv2d(13, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 2, 1))


def learner(chip, *cbs):
    set_seed(0)
    dls = MultibandDataLoaders.from_scenes(*chip, ['dry', 'water'], remap={-1: 255}, bs=4, num_workers=0)
    set_seed(0)
    return Learner(dls, small(), metrics=[PixelAccuracy(), MeanIoU()], cbs=list(cbs))


def fit(learn, epochs=2):
    with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(epochs, 1e-2)
    return torch.cat([values.flatten() for values in learn.model.state_dict().values()])


def read(folder):
    "TensorBoard's log: (scalars, step by step; pictures of the panels)."
    module = pytest.importorskip('tensorboard.backend.event_processing.event_accumulator')
    log = module.EventAccumulator(str(folder), size_guidance=dict(images=0)).Reload()
    scalars = {tag: [(event.step, event.value) for event in log.Scalars(tag)] for tag in log.Tags()['scalars']}
    images = [event.encoded_image_string for tag in log.Tags()['images'] for event in log.Images(tag)]
    return scalars, [np.asarray(Image.open(io.BytesIO(image))) for image in images]


def last(scalars, tag): return scalars[tag][-1][1]


# --- TensorBoard ---------------------------------------------------------------------------------

def test_what_was_logged_is_what_is_counted_anew(chip, tmp_path):
    learn = learner(chip, Monitor(tmp_path, composite='swir', items=2))
    fit(learn)
    confusion, (scalars, _) = learn.confusion(), read(tmp_path)
    assert [last(scalars, f'iou/{name}') for name in ('dry', 'water')] == pytest.approx(confusion.score('iou'), abs=1e-6)
    assert last(scalars, 'mean_iou') == pytest.approx(confusion.mean('iou'), abs=1e-6)
    assert {tag: [step for step, _ in values] for tag, values in scalars.items()} == dict.fromkeys(
        ['train_loss', 'valid_loss', 'pixel_accuracy', 'mean_iou', 'iou/dry', 'iou/water'], [1, 2])


def test_a_panel_shows_the_composite_that_was_asked_for(chip, tmp_path):
    before = plt.get_fignums()
    for name in ('swir', 'true_color'): fit(learner(chip, Monitor(tmp_path/name, composite=name, items=2)), 1)
    (swir,), (true_color,) = (read(tmp_path/name)[1] for name in ('swir', 'true_color'))
    assert swir.shape == true_color.shape and swir.std() > 20
    left, right = (abs(swir.astype(int) - true_color)[:, part].mean() for part in (slice(0, 270), slice(290, 480)))
    assert left > 5 and right == 0  # another picture, the same mask
    assert plt.get_fignums() == before


def test_two_fits_go_on_in_one_log_and_validation_alone_writes_nothing(chip, tmp_path):
    learn = learner(chip, Monitor(tmp_path, items=0))
    fit(learn)
    learn.confusion()
    with learn.no_bar(), learn.no_logging():
        learn.validate()
        learn.get_preds()
        learn.lr_find(num_it=4, show_plot=False, suggest_funcs=())
    fit(learn, 1)
    scalars, pictures = read(tmp_path)
    assert [step for step, _ in scalars['iou/water']] == [1, 2, 3] and not pictures


def test_training_is_the_same_with_and_without(chip, tmp_path):
    class Drawn(Callback):
        def after_batch(self): self.learn.number = float(torch.rand(1))
    with_it = learner(chip, Monitor(tmp_path, items=2), Drawn())
    weights = fit(with_it)
    without = learner(chip, Drawn())
    assert torch.equal(weights, fit(without)) and with_it.number == without.number


def test_epochs_that_resumable_passes_over_are_not_written_twice(chip, tmp_path):
    class PowerFails(Callback):
        def before_batch(self):
            if self.training and self.epoch == 2: raise RuntimeError('no power')
    at = tmp_path/'checkpoint.pth'
    with pytest.raises(RuntimeError, match='no power'):
        fit(learner(chip, Resumable(at, seconds=0), Monitor(tmp_path/'a', items=0), PowerFails()), 3)
    fit(learner(chip, Resumable(at, seconds=0), Monitor(tmp_path/'a', items=0)), 3)
    fit(learner(chip, Resumable(tmp_path/'b.pth'), Monitor(tmp_path/'b', items=0)), 3)
    assert read(tmp_path/'a')[0] == read(tmp_path/'b')[0]
    assert [step for step, _ in read(tmp_path/'a')[0]['iou/dry']] == [1, 2, 3]


def test_classes_of_whole_patches_are_panels_too(tmp_path):
    data = write_eurosat_like(tmp_path/'data', 3)
    dls = MultibandDataLoaders.from_folder(data, sensor='eurosat', bs=8, seed=0, num_workers=0)
    net = nn.Sequential(nn.Conv2d(13, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))
    fit(Learner(dls, net, cbs=Monitor(tmp_path/'log')), 1)
    scalars, pictures = read(tmp_path/'log')
    assert len(pictures) == 1 and {tag for tag in scalars if tag.startswith('iou/')} <= {f'iou/{name}' for name in dls.vocab}


def test_the_projector_lies_beside_the_scalars(chip, tmp_path):
    fit(learner(chip, Monitor(tmp_path, items=0)), 1)
    features = np.random.default_rng(0).normal(size=(6, 4)).astype('float32')
    write_projector(tmp_path, features, list('aabbcc'), np.random.default_rng(1).random((6, 8, 8, 3)).astype('float32'))
    table, = tmp_path.rglob('tensors.tsv')
    np.testing.assert_allclose(np.loadtxt(table), features, atol=1e-6)
    assert (table.parent/'metadata.tsv').read_text().split() == list('aabbcc')
    assert read(tmp_path)[0]['iou/dry']


# --- Weights & Biases ----------------------------------------------------------------------------

def records(path):
    "The records of an offline run: blocks of 32 KB, after 7 bytes of a head; a record may go on in the next block."
    from wandb.proto.wandb_internal_pb2 import Record
    data, at, whole = path.read_bytes(), 7, b''
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7: at += 32768 - at % 32768
        size, kind = int.from_bytes(data[at + 4:at + 6], 'little'), data[at + 6]
        whole += data[at + 7:at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(whole)
            whole = b''


def test_an_offline_run_of_wandb_is_read_back(chip, tmp_path, monkeypatch):
    pytest.importorskip('wandb')
    monkeypatch.setenv('WANDB_ERROR_REPORTING', 'false')
    quiet = dict(silent=True, console='off', x_disable_stats=True, x_disable_meta=True)
    monitor = Monitor(tmp_path/'log', dict(project='test', mode='offline', dir=tmp_path, settings=quiet), items=2)
    learn = learner(chip, monitor)
    fit(learn)
    monitor.wandb.finish()
    path, = tmp_path.rglob('offline-run-*/*.wandb')
    rows = [{'/'.join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.history.item}
            for record in records(path) if record.WhichOneof('record_type') == 'history']
    scalars, panels = read(tmp_path/'log')
    assert [row['epoch'] for row in rows] == [1, 2]
    for tag in ('iou/dry', 'iou/water', 'valid_loss'):
        assert [row[tag] for row in rows] == pytest.approx([value for _, value in scalars[tag]], abs=1e-6)
    files = [path.parent/'files'/row['predictions/path'] for row in rows]
    assert all(np.asarray(Image.open(file)).std() > 20 for file in files) and len(panels) == 2


# --- What is missing -----------------------------------------------------------------------------

@pytest.mark.parametrize('module, arguments', [('torch.utils.tensorboard', dict(folder='logs')),
                                               ('wandb', dict(wandb=dict(mode='offline')))])
def test_the_message_names_the_extra(module, arguments, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=r'sat-recipes\[monitor\]'): Monitor(**arguments)


def test_a_monitor_that_writes_nowhere_is_refused():
    with pytest.raises(ValueError, match='folder'): Monitor()


# --- The recipe's page ---------------------------------------------------------------------------

@pytest.fixture(scope='module')
def map_of(chip, tmp_path_factory):
    "The function behind the page of recipe 71, with a model from a file."
    gradio = pytest.importorskip('gradio')
    path = learner(chip).save_model(tmp_path_factory.mktemp('model')/'model.safetensors')
    from pathlib import Path
    return taken('71', 'map_of', Path=Path, rasterio=rasterio, gradio=gradio, served=load_model(path, small()),
                 show_map=show_map, plt=plt)['map_of']


def test_a_file_that_is_no_geotiff_is_refused(map_of, chip, tmp_path):
    import gradio
    vrt = tmp_path/'scene.tif'
    rasterio.shutil.copy(chip[0], vrt, driver='VRT')
    assert rasterio.open(vrt).driver == 'VRT'
    with pytest.raises(gradio.Error, match='not recognized'): map_of(str(vrt))


def test_a_scene_of_other_bands_is_answered_with_a_sentence(map_of, tmp_path):
    import gradio
    with pytest.raises(gradio.Error, match='band'): map_of(str(tif(tmp_path/'four.tif', size=64)))


@pytest.fixture
def address(map_of):
    "The page as the recipe makes it, served on this machine."
    gradio = pytest.importorskip('gradio')
    shown = [gradio.Plot(label='Scene and map'), gradio.File(label='Map as a GeoTIFF')]
    page = gradio.Interface(map_of, gradio.File(label='Scene: a GeoTIFF', file_types=['.tif', '.tiff']), shown,
                            flagging_mode='never', analytics_enabled=False)
    _, url, _ = page.launch(server_name='127.0.0.1', prevent_thread_lock=True, quiet=True, inline=False)
    yield url
    page.close(verbose=False)


def test_a_visitor_gets_the_map_of_a_scene(address, map_of, chip, tmp_path, monkeypatch):
    playwright = pytest.importorskip('playwright.sync_api', reason='playwright is not installed')
    found = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'))), None)
    if not found: pytest.skip('neither chromium nor google-chrome is on PATH')
    mine, faults = shutil.copy(chip[0], tmp_path/'scene.tif'), []
    with playwright.sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=found, args=FLAGS)
        page = browser.new_page(viewport=dict(width=1100, height=900))
        page.on('pageerror', lambda error: faults.append(str(error)))

        def gate(route):
            if route.request.url.startswith((address, 'data:', 'blob:')): return route.continue_()
            faults.append(f'asked for {route.request.url}')
            route.abort()
        page.route('**/*', gate)
        page.goto(address)
        page.set_input_files('input[type=file]', mine)
        page.get_by_role('button', name='Submit').click()
        link = page.locator('a[download="map.tif"], a[href*="map.tif"]').first
        link.wait_for(timeout=30_000)
        with page.expect_download() as download: link.click()
        download.value.save_as(tmp_path/'got.tif')
        page.get_by_role('img', name='plot visualising').wait_for(timeout=10_000)
        browser.close()
    _, expected = map_of(str(mine))
    got = read_raster(tmp_path/'got.tif')
    assert (got.data == read_raster(expected).data).all() and got.data.shape[1:] == (192, 192)
    assert json.loads(got.tags['class_names']) == {'1': 'dry', '2': 'water'}
    assert not faults


# --- The recipe's claim --------------------------------------------------------------------------

def claim(rise=.5, worst=.01, gain=.25, change=.03, spread=.02, n=8):
    from sat_recipes.all import paired_difference
    noise = np.random.default_rng(0).normal(0, spread, (4, n))
    means = dict(rise=rise, worst=worst, gain=gain, change=change)
    parts = {name: paired_difference({'a': mean + part, 'b': 0*part}, 'a', 'b') for (name, mean), part in zip(means.items(), noise)}
    return taken('71', 'holds')['holds'](**parts)


@pytest.mark.parametrize('parts, right', [
    ({}, True), (dict(rise=0), False), (dict(worst=.3), False), (dict(gain=0), False), (dict(change=.15), False),
    (dict(change=-.15), False), (dict(spread=.4), False)])
def test_the_claim_fails_where_it_must(parts, right): assert claim(**parts) is right
