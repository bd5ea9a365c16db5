"The detector: any number of bands, empty images, sizes, borders, its losses and scores; scenes, their seams, and runs that were killed."
import json
import os
import signal
import subprocess
import sys
import time
import tracemalloc
import warnings
from pathlib import Path

import geopandas
import numpy as np
import pandas as pd
import pytest
import torch
from affine import Affine
from fastai.data.block import DataBlock
from fastai.data.transforms import IndexSplitter
from fastai.learner import load_learner
from fastai.torch_core import set_seed
from fastai.vision.data import BBoxLblBlock
from scipy import ndimage
from torch import nn

import sat_recipes.predict as predict
from sat_recipes.augment import D4
from sat_recipes.detection import CORNERS, BoxBlock, BoxError, BoxReader, detection_learner, match_boxes, read_boxes
from sat_recipes.multiband import MultibandBlock
from sat_recipes.raster import Raster, RasterError, write_raster
from sat_recipes.transfer import ModelError

ARCH = 'mobilenetv2_035'


def squares(bands, height, width, corners, seed=0):
    "Bright squares on dim noise, (bands, height, width) bytes."
    pixels = np.random.default_rng(seed).integers(20, 60, (bands, height, width), dtype=np.uint8)
    for left, top, right, bottom in np.asarray(corners, int): pixels[:, top:bottom, left:right] = 220
    return pixels


def write_chips(folder, bands=3, n=6, side=64, empty=(1,)):
    "(files, table of boxes): each chip has an object at its border and one inside, but for the empty ones."
    files, rows = [], []
    for i in range(n):
        at = 8 + 5*i % 24
        corners = [] if i in empty else [[0, at, 12, at + 12], [34, at, 46, at + 12]]
        files.append(write_raster(folder/f'{i}.tif', squares(bands, side, side, corners, i), nodata=None))
        rows += [[files[-1].name, *box, 'hut'] for box in corners]
    table = pd.DataFrame(rows, columns=['image', *CORNERS, 'label'])
    table.attrs['images'] = {file.name: (side, side) for file in files}
    return files, table


def loaders(files, table, size=None, **kwargs):
    data = DataBlock(blocks=(MultibandBlock(size=size), BoxBlock(), BBoxLblBlock(['hut'])), n_inp=1, splitter=IndexSplitter([0, 1]),
                     get_y=[BoxReader(table), BoxReader(table, 'labels')], batch_tfms=[D4()])
    return data.dataloaders(files, **dict(bs=2, num_workers=0) | kwargs)


def quiet_fit(learn, *args, **kwargs):
    with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(*args, **kwargs)


@pytest.mark.parametrize('bands', [1, 3, 4, 8])
def test_it_trains_with_any_number_of_bands_empty_images_and_boxes_at_borders(tmp_path, bands):
    learn = detection_learner(loaders(*write_chips(tmp_path, bands)), ARCH, pretrained=False)
    quiet_fit(learn, 1, 1e-3)
    assert learn.model.encoder.conv_stem.in_channels == bands
    assert learn.recorder.metric_names == ['epoch', 'train_loss', 'valid_loss', 'AP50', 'classification', 'bbox_regression', 'bbox_ctrness', 'time']
    train, valid, ap, *parts = learn.recorder.values[-1]
    assert np.isfinite([train, valid, ap, *parts]).all()
    assert sum(parts) == pytest.approx(valid, rel=1e-4)


@pytest.fixture(scope='module')
def hut_finder(tmp_path_factory):
    "A detector that was trained for some seconds."
    files, table = write_chips(tmp_path_factory.mktemp('chips'), n=14)
    set_seed(0)
    learn = detection_learner(loaders(files, table, bs=4), ARCH, pretrained=False)
    quiet_fit(learn, 14, 1e-2)
    return learn, files, table


def test_it_learns(hut_finder):
    assert hut_finder[0].recorder.values[-1][2] > .9


def test_predict_gives_boxes_with_labels_and_scores(hut_finder):
    learn, files, table = hut_finder
    found = learn.predict(files[3])
    assert list(found) == [*CORNERS, 'image', 'label', 'score'] and set(found.image) == {'3.tif'} and set(found.label) == {'hut'}
    assert match_boxes(table[table.image == '3.tif'], found[:2]).summary()[['TP', 'FP', 'FN']].tolist() == [2, 0, 0]
    assert found.score.is_monotonic_decreasing and found.score.min() >= .5
    assert len(learn.predict(files[3], least=.99)) == 0


@pytest.mark.parametrize('as_array', [False, True])
def test_an_image_of_another_size_is_searched_too(hut_finder, tmp_path, as_array):
    pixels = squares(3, 75, 101, [[70, 40, 82, 52]])
    file = write_raster(tmp_path/'odd.tif', pixels, nodata=None)
    found = hut_finder[0].predict(pixels.astype(np.float32)/255 if as_array else file)
    np.testing.assert_allclose(found[CORNERS].iloc[0], [70, 40, 82, 52], atol=3)


def test_images_of_different_sizes_are_resized_with_their_boxes(tmp_path):
    files, table = write_chips(tmp_path)
    other = write_raster(tmp_path/'wide.tif', squares(3, 64, 128, [[40, 10, 64, 22]]), nodata=None)
    wide = pd.DataFrame([['wide.tif', 40, 10, 64, 22, 'hut']], columns=table.columns)
    whole = pd.concat([table, wide], ignore_index=True)
    whole.attrs = table.attrs
    learn = detection_learner(loaders([other, *files], whole, size=64), ARCH, pretrained=False)
    quiet_fit(learn, 1, 1e-3)
    _, boxes, _ = learn.dls.valid.one_batch()
    np.testing.assert_allclose((boxes[0, 0].numpy() + 1)/2*[128, 64, 128, 64], [40, 10, 64, 22], atol=1e-4)


def test_pictures_of_batches_and_results(hut_finder):
    learn, *_ = hut_finder
    learn.dls.show_batch(max_n=2)
    with learn.no_bar(): learn.show_results(max_n=2, shuffle=False)
    import matplotlib.pyplot as plt
    lines = [patch.get_linestyle() for ax in plt.gcf().axes for patch in ax.patches]
    plt.close('all')
    assert lines.count('-') == 2 and ':' not in lines # both found, none missed


def test_a_network_without_the_strides_is_refused(tmp_path):
    with pytest.raises(ValueError, match='strides of .* are needed: take a convolutional network'):
        detection_learner(loaders(*write_chips(tmp_path)), 'efficientvit_m0', pretrained=False)


@pytest.mark.parametrize('rows, message', [
    ([[5, 5, 5, 9, 'hut']], 'without an area'), ([[70, 5, 90, 9, 'hut']], 'outside of their image'), ([[9, 5, 5, 9, 'hut']], 'are swapped'),
    ([[5, 5, np.nan, 9, 'hut']], 'not a number'), ([[5, 5, 9, 9, 'tent']], 'class is missing or unknown'), ([], 'holds no boxes')])
def test_bad_boxes_are_told_in_one_sentence(tmp_path, rows, message):
    pd.DataFrame(rows, columns=[*CORNERS, 'label']).assign(image='0.tif').to_csv(tmp_path/'boxes.csv', index=False)
    with pytest.raises(BoxError, match=message) as told: read_boxes(tmp_path/'boxes.csv', images={'0.tif': (64, 64)}, classes=['hut'])
    assert 'boxes.csv' in str(told.value) and '\n' not in str(told.value)


def test_boxes_in_another_crs_are_brought_to_the_image_or_refused(tmp_path):
    place = Raster(np.zeros((1, 64, 64)), crs='EPSG:32633', transform=Affine(1, 0, 500000, 0, -1, 4000000))
    image = write_raster(tmp_path/'place.tif', squares(1, 64, 64, []), like=place, nodata=None)
    from shapely import box
    frame = geopandas.GeoDataFrame({'label': ['hut']}, geometry=[box(500010, 3999960, 500020, 3999980)], crs=32633)
    frame.to_crs(4326).to_file(tmp_path/'near.geojson')
    np.testing.assert_allclose(read_boxes(tmp_path/'near.geojson', image)[CORNERS], [[10, 20, 20, 40]], atol=.2)
    frame.set_crs(32601, allow_override=True).to_file(tmp_path/'far.gpkg')
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        with pytest.raises((BoxError, RasterError), match='far.gpkg'): read_boxes(tmp_path/'far.gpkg', image)


# --- Scenes -----------------------------------------------------------------------------------------------

class SeesBright(nn.Module):
    "In the place of a trained network: a box around whatever is bright in a window, cut where the window cuts it."
    nms_thresh = .5
    def __init__(self, network):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.windows = 0

    def forward(self, x): return x

    def boxes(self, x):
        found = []
        for image in x:
            self.windows += 1
            marked, n = ndimage.label((image[0] > 1).numpy())
            boxes = [[c.start, r.start, c.stop, r.stop] for r, c in ndimage.find_objects(marked)]
            score = torch.tensor([.5 + .4*np.ptp([box[0], box[2]])/100 for box in boxes])
            found.append(dict(boxes=torch.tensor(boxes).reshape(-1, 4).float(), labels=torch.ones(n, dtype=int), scores=score))
        return found


def scattered(height, width, n, longest=40, seed=0):
    "Boxes that do not touch one another, some of them at the border."
    rng, taken, kept = np.random.default_rng(seed), np.zeros((height, width), bool), []
    for _ in range(20*n):
        sides = rng.integers(6, longest + 1, 2)
        left, top = rng.integers(0, (width - sides[0] + 1, height - sides[1] + 1))
        around = np.s_[max(top - 2, 0):top + sides[1] + 2, max(left - 2, 0):left + sides[0] + 2]
        if taken[around].any(): continue
        taken[around] = True
        kept.append([left, top, left + sides[0], top + sides[1]])
        if len(kept) == n: break
    return np.array(kept)


PLACE = Raster(np.zeros((3, 1, 1)), crs='EPSG:32633', transform=Affine(.5, 0, 500000, 0, -.5, 4000000))


def bright_finder(folder):
    learn = detection_learner(loaders(*write_chips(folder)), ARCH, pretrained=False)
    learn.model = SeesBright(learn.model)
    return learn


@pytest.fixture
def finder(tmp_path): return bright_finder(tmp_path)


def found_in(path, scene): return read_boxes(path, scene).sort_values(CORNERS)[CORNERS].to_numpy()


@pytest.mark.parametrize('size, overlap, bs, name', [(128, 60, 1, 'a.gpkg'), (128, 60, 3, 'a.geojson'), (200, .3, 2, 'a.gpkg'), (1000, .25, 1, 'a.gpkg')])
def test_each_object_of_a_scene_is_found_once_as_without_windows(finder, tmp_path, size, overlap, bs, name):
    boxes = scattered(463, 611, 120)
    scene = write_raster(tmp_path/'scene.tif', squares(3, 463, 611, boxes), like=PLACE, nodata=None)
    path = finder.detect_scene(scene, tmp_path/name, size=size, overlap=overlap, bs=bs, progress=False)
    np.testing.assert_allclose(found_in(path, scene), boxes[np.lexsort(boxes.T[::-1])], atol=1e-4)
    frame = geopandas.read_file(path)
    assert frame.crs.to_epsg() == 32633 and set(frame.label) == {'hut'} and frame.score.between(.5, .9).all()
    assert len(frame) == 120 and frame.geometry.area.sum() == pytest.approx(np.prod(boxes[:, 2:] - boxes[:, :2], 1).sum()/4)


def test_interrupted_it_goes_on_and_ends_the_same(finder, tmp_path, monkeypatch):
    scene = write_raster(tmp_path/'scene.tif', squares(3, 463, 611, scattered(463, 611, 80)), like=PLACE, nodata=None)
    options = dict(size=128, overlap=60, progress=False)
    whole = finder.detect_scene(scene, tmp_path/'whole.geojson', **options)
    every, finder.model.windows = finder.model.windows, 0
    write = predict.BoxFiles.write
    def stop(files, found):
        write(files, found)
        if files.state['done'] == 3: raise KeyboardInterrupt
    monkeypatch.setattr(predict.BoxFiles, 'write', stop)
    with pytest.raises(KeyboardInterrupt): finder.detect_scene(scene, tmp_path/'cut.geojson', **options)
    assert not (tmp_path/'cut.geojson').exists()
    monkeypatch.undo()
    again = finder.detect_scene(scene, tmp_path/'cut.geojson', **options)
    assert finder.model.windows == every
    assert json.loads(again.read_text())['features'] == json.loads(whole.read_text())['features']
    assert not list(tmp_path.glob('.*.part'))
    finder.detect_scene(scene, tmp_path/'cut.geojson', least=.6, **options)
    assert geopandas.read_file(again).score.min() >= .6


SEARCH = dict(size=128, overlap=60, bs=1, progress=False)
DETECT = '''
import pathlib, sys, time
sys.path.insert(0, sys.argv[1])
import test_detector
folder = pathlib.Path(sys.argv[2])
learn = test_detector.bright_finder(folder/'again')
find = learn.model.boxes
def slow(x):
    time.sleep(.1)
    return find(x)
learn.model.boxes = slow
learn.detect_scene(folder/'scene.tif', sys.argv[3], **test_detector.SEARCH)
'''


def test_killed_it_goes_on_to_the_same_file(finder, tmp_path):
    scene = write_raster(tmp_path/'scene.tif', squares(3, 463, 400, scattered(463, 400, 60)), like=PLACE, nodata=None)
    whole = finder.detect_scene(scene, tmp_path/'whole'/'huts.geojson', **SEARCH)
    every, finder.model.windows = finder.model.windows, 0
    folder = tmp_path/'cut'
    note = folder/'.huts.geojson.part'/'checkpoint.json'
    process = subprocess.Popen([sys.executable, '-c', DETECT, str(Path(__file__).parent), tmp_path, folder/'huts.geojson'],
                               start_new_session=True, env=os.environ | {'OMP_NUM_THREADS': '1'})
    while not note.exists():
        assert process.poll() is None
        time.sleep(.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert [path.name for path in folder.iterdir()] == [note.parent.name]
    again = finder.detect_scene(scene, folder/'huts.geojson', **SEARCH)
    assert 0 < finder.model.windows < every
    assert again.read_bytes() == whole.read_bytes() and len(found_in(again, scene)) == 60
    assert [path.name for path in folder.iterdir()] == [again.name]


@pytest.mark.parametrize('longest, overlap, size, warned', [(30, 60, 128, False), (60, 60, 128, True), (60, 61, 128, False), (60, 60, 1000, False)])
def test_objects_as_long_as_the_overlap_are_warned_of(finder, tmp_path, longest, overlap, size, warned):
    boxes = np.array([[50, 50, 50 + longest, 70], [200, 100, 220, 120]])
    scene = write_raster(tmp_path/'scene.tif', squares(3, 300, 300, boxes), like=PLACE, nodata=None)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter('always')
        finder.detect_scene(scene, tmp_path/'a.geojson', size=size, overlap=overlap, progress=False)
    told = [str(w.message) for w in told if 'seams' in str(w.message)]
    assert len(told) == warned and (not warned or '1 of 2 objects' in told[0] and 'pass overlap=61' in told[0])


def test_a_detector_is_kept_by_export_not_as_a_model_file(hut_finder, tmp_path):
    learn, files, _ = hut_finder
    with pytest.raises(ModelError, match='boxes and labels cannot be written to such a file: use learn.export'): learn.save_model(tmp_path/'huts.safetensors')
    learn.export(tmp_path/'huts.pkl')
    pd.testing.assert_frame_equal(load_learner(tmp_path/'huts.pkl').predict(files[3]), learn.predict(files[3]))
    learn.path = tmp_path
    expected = learn.predict(files[3])
    learn.save('huts')
    with torch.no_grad(): learn.model.head.classification_head.cls_logits.bias.fill_(-99)
    assert len(learn.predict(files[3])) == 0
    pd.testing.assert_frame_equal(learn.load('huts', with_opt=False).predict(files[3]), expected)


def test_memory_stays_flat_as_the_scene_grows(finder, tmp_path):
    peaks = []
    for factor in (1, 4):
        scene = write_raster(tmp_path/f'{factor}.tif', squares(3, 512*factor, 512, []), like=PLACE, nodata=None)
        tracemalloc.start()
        finder.detect_scene(scene, tmp_path/f'{factor}.gpkg', size=256, progress=False)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert len(geopandas.read_file(tmp_path/f'{factor}.gpkg')) == 0
    assert peaks[1] < 1.2*peaks[0]


def test_what_no_scene_can_be_searched_for_is_told_before_the_work(finder, tmp_path):
    scene = write_raster(tmp_path/'scene.tif', squares(3, 64, 64, []), like=PLACE, nodata=None)
    with pytest.raises(BoxError, match=r"ends in none of \['.geojson', '.gpkg'\]"): finder.detect_scene(scene, tmp_path/'a.shp')
    other = write_raster(tmp_path/'two.tif', squares(2, 64, 64, []), like=PLACE, nodata=None)
    with pytest.raises(RasterError, match='has 2 bands'): finder.detect_scene(other, tmp_path/'a.gpkg')
    finder.loss_func = nn.CrossEntropyLoss()
    with pytest.raises(RasterError, match='finds no objects: make it with detection_learner'): finder.detect_scene(scene, tmp_path/'a.gpkg')
