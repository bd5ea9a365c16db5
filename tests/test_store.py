"The packed store: the same batches bit for bit, whole or not there at all, never stale, and honest about damage."
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import fastai.callback.progress  # no_bar
from fastai.data.block import CategoryBlock, DataBlock
from fastai.data.transforms import RandomSplitter, parent_label
from fastai.learner import Learner, load_learner
from fastai.interpret import Interpretation
from fastai.losses import CrossEntropyLossFlat
from fastai.vision import learner  # top losses of pictures
from fastai.torch_core import set_seed
from rasterio.transform import from_origin
from torch import nn

from sat_recipes.bands import Sensor
from sat_recipes import store as store_module
from sat_recipes.augment import D4, Gain
from sat_recipes.bands import to_reflectance
from sat_recipes.multiband import MultibandBlock, MultibandDataLoaders, MultibandMask, MultibandMaskBlock, PackedImage
from sat_recipes.store import MixedPatches, PatchStore, StoreError
from sat_recipes.raster import Raster, RasterError, SceneWindow, band_files, read_raster, write_raster
from sat_recipes.synthetic import write_eurosat_like

KILLS = int(os.environ.get('SAT_RECIPES_KILLS', 4))


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch): monkeypatch.setenv('SAT_RECIPES_CACHE', str(tmp_path/'cache'))


def stacked(folder, n=6, dtype='uint16', nodata=0, classes=2, seed=0, size=16, bands=4):
    rng, files = np.random.default_rng(seed), []
    for i in range(n):
        data = rng.integers(0, 200, (bands, size, size)).astype(dtype)
        files.append(write_raster(folder/f'class_{i % classes}'/f'patch_{i}.tif', data, nodata=nodata, like=Raster(data, 'EPSG:32633', from_origin(5e5 + 160*i, 5e6, 10, 10))))
    return files


def stores(folder): return [f for f in folder.iterdir() if not f.name.startswith('.')]


def contents(folder): return {f.name: f.read_bytes() for f in sorted(folder.iterdir())}


def bits(x):
    x = x.as_subclass(torch.Tensor).contiguous()
    return x.view(torch.int32) if x.dtype == torch.float32 else x


def assert_same_batches(one, two, epochs=2):
    assert one.train.plan is None and two.train.plan is not None
    for dls in (one, two): dls.train.rng.seed(5)
    runs = []
    for dls in (one, two):
        set_seed(3)
        runs.append([b for _ in range(epochs) for b in dls.train] + list(dls.valid))
    assert len(runs[0]) == len(runs[1]) > 0
    for first, second in zip(*runs):
        for a, b in zip(first, second):
            assert type(a) is type(b) and a.shape == b.shape and a.dtype == b.dtype and torch.equal(bits(a), bits(b))
            assert set(a.__dict__) == set(b.__dict__) and getattr(a, 'sensor', None) == getattr(b, 'sensor', None)


@pytest.mark.parametrize('dtype,nodata', [('uint16', 0), ('uint16', None), ('uint16', 65535), ('int16', -9999), ('int16', 5), ('uint8', 255), ('float32', None), ('float32', -1.), ('float32', np.nan)])
def test_batches_are_bit_for_bit_those_from_files(tmp_path, dtype, nodata):
    rng = np.random.default_rng(0)
    for i in range(12):
        data = rng.integers(0, 250, (4, 16, 16)).astype(dtype) if dtype != 'float32' else rng.random((4, 16, 16), dtype=np.float32)
        if nodata is not None: data[:, :5, :4], data[1, 8] = nodata, nodata
        write_raster(tmp_path/'p'/f'c{i % 2}'/f'{i}.tif', data, nodata=nodata)
    options = dict(bs=5, seed=0, device='cpu', num_workers=0)
    assert_same_batches(*(MultibandDataLoaders.from_folder(tmp_path/'p', store=store, **options) for store in (None, 'auto')))


@pytest.mark.parametrize('options', [dict(bands=['B08', 'B04', 'B8A']), dict(bands=[3, 0]), dict(size=32), dict(size=40, bands=['B02']), dict(batch_tfms=[D4(), Gain()]),
                                     dict(normalize=False), dict(normalize=([.1]*13, [.2]*13)), dict(bs=1), dict(num_workers=2)], ids=str)
def test_batches_are_the_same_with_every_option(tmp_path, options):
    write_eurosat_like(tmp_path/'p', 3)
    options = dict(sensor='eurosat', bs=7, seed=0, device='cpu') | options
    assert_same_batches(*(MultibandDataLoaders.from_folder(tmp_path/'p', store=store, **options) for store in (None, 'auto')))


@pytest.mark.parametrize('dtype, nodata', [('uint8', 255), ('int8', -1), ('uint16', 65535), ('int16', -9999), ('uint32', 0), ('int32', -9999), ('float32', -1.), ('float32', .1), ('float64', np.nan)])
def test_a_packed_batch_is_bit_for_bit_what_to_reflectance_gives(dtype, nodata):
    "Each patch with a scale, offset and nodata value of its own."
    rng = np.random.default_rng(0)
    numbers = rng.integers(0, 120, (4, 3, 8, 8)).astype(dtype)
    numbers[:, :, 2:4], numbers[1, 0, 0] = nodata, 7
    if dtype.startswith('float'): numbers[2, 1, 5, :3] = np.nan, np.inf, -np.inf
    if dtype == 'uint32': numbers[3] += 2**31 + 1
    scale, offset, missing = rng.uniform(1e-4, 1, 4), np.array([0, -.1, 0, 5]), np.array([nodata, 7, np.nan, nodata])
    packed = PackedImage.of(numbers, scale=scale, offset=offset, nodata=missing)
    wanted = np.stack([to_reflectance(*of_patch) for of_patch in zip(numbers, scale, offset, missing)])
    assert torch.equal(bits(packed.reflectance()), bits(torch.from_numpy(wanted)))
    huge = PackedImage.of(numbers, scale=np.full(4, 1e37), offset=offset, nodata=missing)
    wanted = np.stack([to_reflectance(x, 1e37, o, n) for x, o, n in zip(numbers, offset, missing)])
    assert torch.equal(bits(huge.reflectance()), bits(torch.from_numpy(wanted)))


def scene_and_mask(folder, nodata=0):
    rng = np.random.default_rng(1)
    data, mask = rng.integers(1, 4000, (4, 150, 170)).astype('uint16'), rng.integers(0, 3, (150, 170)).astype('int16')
    data[:, :30, :20], mask[60:70] = 0, -1
    place = Raster(data, 'EPSG:32633', from_origin(5e5, 5e6, 10, 10))
    return write_raster(folder/'scene.tif', data, like=place, nodata=nodata), write_raster(folder/'mask.tif', mask, like=place, nodata=None)


@pytest.mark.parametrize('stride', [None, 20])
def test_windows_of_scenes_are_the_same_and_all_folds_share_a_store(tmp_path, stride):
    scene, mask = scene_and_mask(tmp_path)
    for seed in (0, 1, 2):
        options = dict(size=32, stride=stride, block=40, seed=seed, bs=3, remap={-1: 255}, device='cpu', num_workers=0)
        assert_same_batches(*(MultibandDataLoaders.from_scenes(scene, mask, ['a', 'b', 'c'], store=store, **options) for store in (None, 'auto')), epochs=1)
    assert len(stores(tmp_path/'cache'/'patches')) == 1


def test_masks_in_a_table_and_files_a_band(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(8):
        for band in ('red', 'green', 'nir'): write_raster(tmp_path/f'train_{band}'/f'{band}_patch_{i}.TIF', rng.integers(1, 9000, (1, 12, 14)).astype('uint16'), nodata=0)
        write_raster(tmp_path/'train_gt'/f'gt_patch_{i}.TIF', rng.choice([0, 255], (12, 14)).astype('uint8'), nodata=None)
    table = band_files({name: tmp_path/f'train_{name}' for name in ('red', 'green', 'nir', 'gt')})
    assert list(table.columns) == ['red', 'green', 'nir', 'gt'] and len(table) == 8
    options = dict(fn_col=['nir', 'red', 'green'], label_col='gt', codes=['clear', 'cloud'], remap={255: 1}, seed=0, bs=3, device='cpu', num_workers=0)
    from_files, packed = (MultibandDataLoaders.from_df(table, store=store, **options) for store in (None, 'auto'))
    assert_same_batches(from_files, packed)
    image, mask = packed.train_ds[0]
    assert image.shape == (3, 12, 14) and isinstance(mask, MultibandMask) and packed.sensor.names[0] == 'B08'
    (tmp_path/'train_nir'/'nir_patch_3.TIF').unlink()
    with pytest.raises(RasterError, match='train_nir lacks the file'): band_files({name: tmp_path/f'train_{name}' for name in ('red', 'nir')})


def test_real_patches_pack(tmp_path):
    if not os.environ.get('SAT_RECIPES_DATA'): pytest.skip('SAT_RECIPES_DATA names no folder of real patches')
    folder = Path(os.environ['SAT_RECIPES_DATA'])/'eurosat_ms'
    files = sorted(folder.rglob('*.tif'))
    store = PatchStore.pack(files, tmp_path/'s', sensor='eurosat')
    for i in (0, len(files)//2, len(files) - 1):
        mine, its = store[i], read_raster(files[i])
        assert np.array_equal(mine.data, its.data) and mine.crs == its.crs and tuple(mine.transform) == tuple(its.transform) and mine.nodata == 0


def test_everything_fastai_does_with_loaders(tmp_path):
    write_eurosat_like(tmp_path/'p', 4)
    dls = MultibandDataLoaders.from_folder(tmp_path/'p', 'eurosat', bs=8, seed=0, device='cpu')
    assert dls.train.plan is not None
    dls.show_batch(max_n=2)
    learn = Learner(dls, nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(13, 10)), loss_func=CrossEntropyLossFlat(), path=tmp_path)
    with learn.no_bar(), learn.no_logging():
        learn.fit(1)
        learn.show_results(max_n=2)
        preds, targets = learn.get_preds()
        assert len(preds) == len(dls.valid_ds)
        files = sorted((tmp_path/'p').rglob('*.tif'))[:5]
        known = learn.get_preds(dl=dls.test_dl(files))[0]
        shutil.copy(files[0], tmp_path/'new.tif')
        unknown = learn.get_preds(dl=dls.test_dl([tmp_path/'new.tif', files[1]]))[0]
        assert torch.allclose(known[:2], unknown, atol=1e-6)
        Interpretation.from_learner(learn).plot_top_losses(2)
        learn.export('learner.pkl')
        again = load_learner(tmp_path/'learner.pkl')
        with again.no_bar(): assert torch.allclose(again.get_preds(dl=again.dls.test_dl(files))[0], known, atol=1e-6)
    assert str(tmp_path/'cache') not in (tmp_path/'learner.pkl').read_bytes().decode('latin1')


def test_loaders_of_a_data_block_are_packed_on_request(tmp_path):
    write_eurosat_like(tmp_path/'p', 3)
    def block(): return DataBlock(blocks=(MultibandBlock('eurosat'), CategoryBlock), get_y=parent_label, splitter=RandomSplitter(seed=0))
    one, two = (block().dataloaders(sorted((tmp_path/'p').rglob('*.tif')), bs=4, num_workers=0, device='cpu') for _ in range(2))
    two.train.before_iter()
    assert_same_batches(one, two.pack(tmp_path/'mine.store'))
    assert (tmp_path/'mine.store').exists()


def test_changed_added_and_removed_files_are_noticed(tmp_path):
    files = stacked(tmp_path/'p')
    def values(): return {f: float(x[0].nansum()) for dls in [MultibandDataLoaders.from_folder(tmp_path/'p', bs=2, seed=0, normalize=False, device='cpu')]
                          for ds in (dls.train_ds, dls.valid_ds) for f, x in zip(ds.items, ds)}
    before = values()
    write_raster(files[2], np.full((4, 16, 16), 150, 'uint16'), nodata=0)
    after = values()
    assert after[files[2]] == pytest.approx(4*16*16*.015, rel=1e-4) and all(after[f] == before[f] for f in files if f != files[2])
    stacked(tmp_path/'p', n=8)
    assert len(values()) == 8
    files[0].unlink()
    assert len(values()) == 7 and len(stores(tmp_path/'cache'/'patches')) == 1


def test_a_store_is_reused_and_not_written_again(tmp_path):
    files = stacked(tmp_path/'p')
    store = PatchStore.pack(files, tmp_path/'s')
    stamp = (tmp_path/'s'/'images.npy').stat().st_mtime_ns
    assert PatchStore.pack(files, tmp_path/'s').path == store.path and (tmp_path/'s'/'images.npy').stat().st_mtime_ns == stamp
    assert PatchStore.pack(files, tmp_path/'s', labels=[1]*6).labels == [1]*6 and (tmp_path/'s'/'images.npy').stat().st_mtime_ns != stamp


def test_labels_boxes_and_other_readers(tmp_path):
    files, boxes = stacked(tmp_path/'p'), [[[0, 0, i + 1, 4, 'tree']] for i in range(6)]
    store = PatchStore.pack(files, tmp_path/'s', labels=boxes, masks=[write_raster(tmp_path/'m'/f'{i}.tif', np.full((16, 16), i, 'uint8'), nodata=9) for i in range(6)])
    assert store.labels == boxes and (store.masks[:, 0, 0] == range(6)).all() and (store.mask_nodata == 9).all()
    assert np.array_equal(np.load(tmp_path/'s'/'images.npy'), store.images) and np.array_equal(np.load(tmp_path/'s'/'masks.npy')[:, 0], store.masks)


def test_mixed_patches_are_read_from_files_and_refused_by_pack(tmp_path):
    stacked(tmp_path/'p')
    stacked(tmp_path/'p'/'more', n=2, size=20)
    with pytest.raises(MixedPatches, match='must agree'): PatchStore.pack(sorted((tmp_path/'p').rglob('*.tif')), tmp_path/'s')
    dls = MultibandDataLoaders.from_folder(tmp_path/'p', size=16, bs=2, seed=0, device='cpu')
    assert dls.train.plan is None and dls.one_batch()[0].shape[-1] == 16
    dls = MultibandDataLoaders.from_folder(tmp_path/'p', on_bad='skip', bs=2, seed=0, device='cpu')
    assert len(dls.dropped) == 2 and 'must agree' in dls.dropped[0][1]


def test_bad_patches_stop_or_are_skipped(tmp_path):
    files = stacked(tmp_path/'p', n=70)
    files[66].write_bytes(files[66].read_bytes()[:200])
    write_raster(files[3], np.zeros((4, 16, 16), 'uint16'), nodata=0)
    for n in (1, 2):
        with pytest.raises(RasterError, match='patch_(66|3).tif'): PatchStore.pack(files, tmp_path/'s', n_workers=n)
        assert not (tmp_path/'s').exists()
    store = PatchStore.pack(files, tmp_path/'s', on_bad='skip', n_workers=2)
    assert sorted(Path(k).name for k, _ in store.dropped) == ['patch_3.tif', 'patch_66.tif'] and len(store.kept) == 68 and store.row(files[3]) is None
    with pytest.raises(StoreError, match='None of the 1'): PatchStore.pack([files[66]], tmp_path/'t', on_bad='skip')
    with pytest.raises(StoreError, match='no patches'): PatchStore.pack([], tmp_path/'t')
    with pytest.raises(StoreError, match='named twice'): PatchStore.pack([files[0]]*2, tmp_path/'t')


def test_damage_is_noticed(tmp_path):
    files = stacked(tmp_path/'p')
    path = PatchStore.pack(files, tmp_path/'s').path
    whole = contents(path)
    pixels, about = whole['images.npy'], whole['patches.json']
    damages = [('images.npy', d) for d in (pixels[:-100], pixels[:60], b'', b'x'*9000)] + [('patches.json', d) for d in (about[:-40], b'', b'[]', b'{}', b'\xff'*40)]
    for name, damaged in damages:
        (path/name).write_bytes(damaged)
        with pytest.raises(StoreError, match='remove it'): PatchStore(path)
        assert contents(PatchStore.pack(files, path).path) == whole
    for name in whole:
        (path/name).unlink()
        with pytest.raises(StoreError, match='remove it'): PatchStore(path)
        assert contents(PatchStore.pack(files, path).path) == whole
    with pytest.raises(StoreError, match='does not exist'): PatchStore(tmp_path/'nowhere')


def test_what_is_no_store_is_never_replaced(tmp_path):
    files = stacked(tmp_path/'p')
    before = sorted((tmp_path/'p').rglob('*'))
    with pytest.raises(StoreError, match='is no store'): PatchStore.pack(files, tmp_path/'p')
    assert sorted((tmp_path/'p').rglob('*')) == before
    with pytest.raises(StoreError, match='patch_0.tif'): PatchStore.pack(files, files[0])
    with pytest.raises(StoreError, match='cannot be packed .*rights'): PatchStore.pack(files, files[0]/'s')
    read_raster(files[0])


def test_a_failed_packing_leaves_the_older_store(tmp_path):
    files = stacked(tmp_path/'p')
    whole = contents(PatchStore.pack(files, tmp_path/'s').path)
    files[3].write_bytes(files[3].read_bytes()[:200])
    with pytest.raises(RasterError, match='patch_3.tif'): PatchStore.pack(files, tmp_path/'s')
    assert contents(tmp_path/'s') == whole and sorted(f.name for f in tmp_path.iterdir() if f.name.startswith('.s')) == ['.s.lock']


@pytest.mark.parametrize('dtype', ['uint8', 'int8', 'uint16', 'int16', 'uint32', 'int32', 'uint64', 'int64', 'float32', 'float64'])
def test_numbers_of_any_type_are_kept(tmp_path, dtype):
    files = stacked(tmp_path/'p', n=3, dtype=dtype)
    store = PatchStore.pack(files, tmp_path/'s', sensor=Sensor.generic(4, scale=1))
    assert store.images.dtype == dtype and all(np.array_equal(store[i].data, read_raster(f).data) for i, f in enumerate(files))


def test_each_patch_keeps_its_place_and_calibration(tmp_path):
    files = []
    for i in range(4):
        data = np.full((2, 8, 8), i + 1, 'uint16')
        place = Raster(data, f'EPSG:3263{i % 2 + 1}', from_origin(5e5 + 80*i, 5e6, 10, 10))
        files.append(write_raster(tmp_path/f'{i}.tif', data, like=place, nodata=i + 50, band_names=['B04', 'B08'], tags={'PROCESSING_BASELINE': '05.00' if i == 2 else '02.14'}))
    for store in (PatchStore.pack(files, tmp_path/'s'), pickle.loads(pickle.dumps(PatchStore(tmp_path/'s')))):
        for i, file in enumerate(files):
            mine, its = store[i], read_raster(file)
            assert (mine.crs, mine.transform, mine.nodata, mine.band_names) == (its.crs, its.transform, its.nodata, its.band_names)
        assert store.offset[2] == pytest.approx(-.1) and store.offset[[0, 1, 3]].tolist() == [0, 0, 0]


def test_spawned_workers_get_the_store(tmp_path):
    from multiprocessing import get_context
    store = PatchStore.pack(stacked(tmp_path/'p'), tmp_path/'s')
    with get_context('spawn').Pool(1) as pool: assert np.array_equal(pool.apply(store.take, ([2, 0],)), store.take([2, 0]))


def test_windows_that_reach_outside_and_crowded_masks(tmp_path):
    scene, mask = scene_and_mask(tmp_path)
    with pytest.raises(MixedPatches, match='outside'): PatchStore.pack([SceneWindow(scene, 140, 0, 64, 64)], tmp_path/'s')
    one, two = SceneWindow(scene, 0, 0, 16, 16), SceneWindow(scene, 100, 90, 16, 16)
    store = PatchStore.pack([one, two], tmp_path/'s')
    assert np.array_equal(store[1].data, read_raster(scene).data[:, 90:106, 100:116]) and store[1].transform.c == 5e5 + 1000


PACK = '''
import sys
from pathlib import Path
from sat_recipes.store import PatchStore
files = sorted(Path(sys.argv[1]).rglob('*.tif'))
print('ready', flush=True)
PatchStore.pack(files, sys.argv[2], labels=[f.parent.name for f in files], n_workers=int(sys.argv[3]))
'''


def start_packing(folder, path, n_workers):
    return subprocess.Popen([sys.executable, '-c', PACK, folder, path, str(n_workers)], stdout=subprocess.PIPE, start_new_session=True)


def test_killed_at_random_moments_there_is_a_whole_store_or_none(tmp_path):
    write_eurosat_like(tmp_path/'p', 60)
    begun = time.time()
    assert start_packing(tmp_path/'p', tmp_path/'whole'/'s', 2).wait() == 0
    whole, took = contents(tmp_path/'whole'/'s'), time.time() - begun
    rng, halfway = random.Random(0), 0
    for i in range(KILLS):
        path = tmp_path/f'{i}'/'s'
        for n in range(3):
            process = start_packing(tmp_path/'p', path, 1 + i % 2)
            process.stdout.readline()
            time.sleep(rng.random()*min(took, 1.5)/2)
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if path.exists(): assert contents(path) == whole
            halfway += (path.parent/'.s.part').exists()
        assert start_packing(tmp_path/'p', path, 1 + i % 2).wait() == 0
        assert contents(path) == whole and sorted(f.name for f in path.parent.iterdir()) == ['.s.lock', 's']
    assert halfway


def test_two_processes_that_want_the_same_store_take_turns(tmp_path):
    write_eurosat_like(tmp_path/'p', 30)
    both = [start_packing(tmp_path/'p', tmp_path/'s'/'s', n) for n in (1, 2)]
    assert [process.wait() for process in both] == [0, 0] and len(PatchStore(tmp_path/'s'/'s').kept) == 300
    assert sorted(f.name for f in (tmp_path/'s').iterdir()) == ['.s.lock', 's']


@pytest.fixture
def small_disk(tmp_path):
    path = tmp_path/'small'
    path.mkdir()
    if subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=400k', 'tmpfs', path], capture_output=True).returncode: pytest.skip('a tmpfs cannot be mounted here')
    yield path
    subprocess.run(['umount', path])


@pytest.mark.skipif(sys.platform != 'linux', reason='one process packs where none can be forked')
def test_a_process_that_is_ended_from_outside(tmp_path, monkeypatch):
    "As a system short of memory ends them: this process packs alone, and the store is the same."
    files, here, read = stacked(tmp_path/'p', 100), os.getpid(), store_module.open_raster
    monkeypatch.setattr(store_module, 'open_raster', lambda source: read(source) if os.getpid() == here else os._exit(9))
    alone = PatchStore.pack(files, tmp_path/'s', n_workers=2).path
    monkeypatch.undo()
    assert contents(alone) == contents(PatchStore.pack(files, tmp_path/'t', n_workers=2).path)


@pytest.mark.parametrize('honest', [True, False])
@pytest.mark.parametrize('n_workers', [1, 2])
def test_a_full_disk(tmp_path, small_disk, monkeypatch, honest, n_workers):
    files = stacked(tmp_path/'p', n=300)
    (small_disk/'other').write_bytes(b'here before')
    if not honest: monkeypatch.setattr('sat_recipes.store.shutil.disk_usage', lambda path: shutil._ntuple_diskusage(10**12, 0, 10**12))
    with pytest.raises(StoreError, match='make room'): PatchStore.pack(files, small_disk/'s', n_workers=n_workers)
    assert (small_disk/'other').read_bytes() == b'here before' and not [f for f in small_disk.iterdir() if f.name in ('s', '.s.part')]


def test_no_room_in_the_cache_means_reading_from_files(tmp_path, monkeypatch):
    stacked(tmp_path/'p')
    monkeypatch.setattr('sat_recipes.multiband.shutil.disk_usage', lambda path: shutil._ntuple_diskusage(100, 90, 10))
    with pytest.warns(UserWarning, match='read from their files each time'): dls = MultibandDataLoaders.from_folder(tmp_path/'p', bs=2, seed=0, device='cpu')
    assert dls.train.plan is None and len(dls.one_batch()[0]) == 2


def test_packing_needs_no_torch():
    code = 'import sys, sat_recipes.store; assert "torch" not in sys.modules'
    subprocess.run([sys.executable, '-c', code], check=True)


@pytest.mark.parametrize('store', [None, 'auto'])
@pytest.mark.parametrize('masks', [False, True])
def test_rows_of_a_table_that_cannot_be_read_are_dropped(tmp_path, store, masks):
    import pandas as pd
    red, nir, mask = ([write_raster(tmp_path/kind/f'{i}.tif', np.full((8, 8), i % 2, 'uint8' if kind == 'mask' else 'uint16') + (kind != 'mask'), nodata=None) for i in range(8)] for kind in ('red', 'nir', 'mask'))
    nir[3].write_text('<html>404</html>')
    mask[5].write_bytes(mask[5].read_bytes()[:100])
    table = pd.DataFrame(dict(red=red, nir=nir, label=mask if masks else ['a', 'b']*4))
    load = lambda on_bad: MultibandDataLoaders.from_df(table, tmp_path, ['red', 'nir'], 'label', codes=['a', 'b'] if masks else None, seed=0, bs=2, device='cpu', store=store, on_bad=on_bad)
    with pytest.warns(UserWarning, match=f'{1 + masks} of 8 patches dropped'): dls = load('skip')
    assert len(dls.train_ds) + len(dls.valid_ds) == 7 - masks and len(dls.dropped) == 1 + masks and 'nir' in dls.dropped[0][1]
    for batch in [*dls.train, *dls.valid]: assert batch[0].shape[1:] == (2, 8, 8)
    assert (dls.train.plan is None) == (store is None)
    with pytest.raises(ValueError, match='nir'): [*load('error').train]
