"What the multiband notebook does not show: file types, workers, export, bad input, exactness."
import gc, pickle, warnings, weakref

import numpy as np
import pytest
import rasterio
import torch
from rasterio.transform import from_origin

from sat_recipes.augment import BandDropout, D4, Gain
from sat_recipes.images import (MaskedCrossEntropy, MultibandError, MultibandImage, MultibandMask, MultibandNormalize, OpenMultiband,
                                OpenMultibandMask, dataset_stats)
from sat_recipes.multiband import MultibandBlock, MultibandDataLoaders, MultibandMaskBlock, reader_of, window_grid
from sat_recipes.raster import RasterError, SceneWindow
from sat_recipes.synthetic import write_eurosat_like
from fasttransform import Transform
from fastai.vision.all import (CategoryBlock, DataBlock, IndexSplitter, Learner, RandomSplitter, accuracy, load_learner, nn, parent_label)

NAMES = 'B01 B02 B03 B04 B05 B06 B07 B08 B8A B09 B10 B11 B12'.split()


def write(path, data, nodata=None, names=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    data = data if data.ndim == 3 else data[None]
    with rasterio.open(path, 'w', driver='GTiff', count=len(data), height=data.shape[1], width=data.shape[2], dtype=data.dtype, nodata=nodata,
                       crs='EPSG:32633', transform=from_origin(5e5, 5e6, 10, 10)) as dst:
        dst.write(data)
        if names: dst.descriptions = names
    return path


def patches(folder, bands=13, dtype='uint16', n=6, size=16, classes=('crop', 'forest', 'water'), names=None, seed=0):
    rng, top = np.random.default_rng(seed), {'uint8': 250, 'uint16': 5000, 'int16': 5000, 'float32': .5}[dtype]
    for c, name in enumerate(classes):
        for i in range(n):
            values = rng.uniform(.1, .3, (bands, size, size)) + .2*c
            write(folder/name/f'{name}_{i}.tif', (values/.8*top).astype(dtype), names=names)
    return folder


def head(n_bands, n_out): return nn.Sequential(nn.Conv2d(n_bands, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, n_out))


@pytest.mark.parametrize('bands', [1, 3, 4, 8, 13])
@pytest.mark.parametrize('dtype', ['uint8', 'uint16', 'int16', 'float32'])
def test_band_counts_and_dtypes(tmp_path, bands, dtype):
    dls = MultibandDataLoaders.from_folder(patches(tmp_path/'p', bands, dtype), seed=0, bs=4)
    x, y = dls.one_batch()
    assert isinstance(x, MultibandImage) and x.shape == (4, bands, 16, 16) and x.dtype == torch.float32
    assert x.sensor == dls.sensor and len(dls.sensor) == bands
    values = torch.stack([i for i, _ in dls.train_ds])
    assert 0 < float(values.min()) and float(values.max()) < 1.2   # reflectance, whatever the file holds
    dls.show_batch(max_n=2)


def test_bands_subset_by_name_alias_and_index(tmp_path):
    file = patches(tmp_path/'p', names=NAMES, n=1)/'crop'/'crop_0.tif'
    every = OpenMultiband()(file)
    for bands, names in ((['B08', 'B04'], ['B08', 'B04']), (['nir', 'red'], ['B08', 'B04']), ([7, 3], ['B08', 'B04'])):
        dls = MultibandDataLoaders.from_folder(tmp_path/'p', bands=bands, valid_pct=.3, seed=0)
        assert list(dls.sensor.names) == names
        image = reader_of(dls)(file)
        assert torch.equal(image.as_subclass(torch.Tensor), every[[7, 3]].as_subclass(torch.Tensor))
    with pytest.raises(MultibandError, match='B99'): MultibandDataLoaders.from_folder(tmp_path/'p', bands=['B99'])


def test_sensor_recognized_from_names_given_and_generic(tmp_path):
    named, bare = patches(tmp_path/'a', names=NAMES, n=2), patches(tmp_path/'b', n=2)
    assert MultibandDataLoaders.from_folder(named, valid_pct=.3, seed=0).sensor.name.startswith('sentinel2')
    assert list(MultibandDataLoaders.from_folder(bare, sensor='eurosat', valid_pct=.3, seed=0).sensor.names)[-1] == 'B8A'
    assert list(MultibandDataLoaders.from_folder(bare, valid_pct=.3, seed=0).sensor.names)[0] == 'band_1'
    with pytest.raises((MultibandError, RasterError), match='13'): MultibandDataLoaders.from_folder(bare, sensor='naip')


def test_metadata_survives():
    image = MultibandImage(torch.rand(3, 4, 4), sensor=OpenMultiband('eurosat', [1, 2, 3]).sensor)
    batch = torch.stack([image, image])
    for x in (batch, batch[0], batch[:1], batch.half(), batch.clone(), batch*2, batch.to('cpu'), pickle.loads(pickle.dumps(batch)), torch.cat([batch, batch])):
        assert isinstance(x, MultibandImage) and list(x.sensor.names) == ['B02', 'B03', 'B04']


def test_workers_give_the_same_batches(tmp_path):
    folder = patches(tmp_path/'p', n=4)
    one, two = [MultibandDataLoaders.from_folder(folder, 'eurosat', seed=0, bs=2, num_workers=n, device='cpu') for n in (0, 2)]
    for (x, y), (x2, y2) in zip(one.valid, two.valid, strict=True):
        assert torch.equal(x.as_subclass(torch.Tensor), x2.as_subclass(torch.Tensor)) and (y == y2).all() and x2.sensor.name == x.sensor.name


def test_statistics_stream_skip_nodata_and_match_numpy(tmp_path):
    rng = np.random.default_rng(0)
    data = rng.integers(1, 9000, (5, 4, 20, 20)).astype('uint16')
    data[:, :, :8, :10] = 0
    files = [write(tmp_path/f'{i}.tif', d, nodata=0) for i, d in enumerate(data)]
    stats = dataset_stats(files)
    reference = np.where(data > 0, data*1e-4, np.nan)
    np.testing.assert_allclose(stats.mean, np.nanmean(reference, (0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(stats.std, np.nanstd(reference, (0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(stats.valid, .8)
    assert abs(stats.mean[0]/np.mean(data[:, 0]*1e-4) - 1.25) < 1e-3   # counting the zeros would make it a fifth too small
    assert dataset_stats(files, max_items=2).pixels == 800


def test_normalize_round_trip_is_exact_about_nodata():
    x = MultibandImage(torch.rand(2, 3, 8, 8))
    x[0, :, :2], x[1, 0, 0, 0] = torch.nan, .5
    tfm = MultibandNormalize(((.5, .4, .3), (.1, .2, 0.)))
    z = tfm(x)
    assert torch.isfinite(z).all() and (z[0, :, :2] == 0).all() and float(z[1, 0, 0, 0]) == 0
    back = tfm.decode(z)
    assert torch.equal(torch.isnan(back).as_subclass(torch.Tensor), torch.isnan(x).as_subclass(torch.Tensor))   # a value equal to the mean is no nodata
    assert float((back - x).nan_to_num().abs().max()) < 1e-6


def test_statistics_come_from_the_training_set_only(tmp_path):
    for i in range(8): write(tmp_path/('a' if i % 2 else 'b')/f'{i}.tif', np.full((2, 8, 8), 1000 if i < 6 else 9000, 'uint16'))
    dls = MultibandDataLoaders.from_folder(tmp_path, valid=lambda files: ([i for i, f in enumerate(files) if int(f.stem) < 6], [i for i, f in enumerate(files) if int(f.stem) >= 6]))
    assert abs(float(dls.train.after_batch.multiband_normalize.mean.mean()) - .1) < 1e-6


def test_classification_learner_end_to_end(tmp_path):
    folder = patches(tmp_path/'p', n=10)
    dls = MultibandDataLoaders.from_folder(folder, 'eurosat', seed=0, bs=8, device='cpu')
    torch.manual_seed(0)
    learn = Learner(dls, head(13, dls.c), metrics=accuracy, path=tmp_path)
    with learn.no_bar(), learn.no_logging():
        learn.fit(8, .02)
        assert learn.validate()[1] == 1
        learn.show_results(composite='swir', max_n=4)
        file = folder/'water'/'water_3.tif'
        label, index, probabilities = learn.predict(file)
        assert label == 'water' and len(probabilities) == 3
        assert learn.predict(str(file))[0] == 'water'
        predictions, _ = learn.get_preds(dl=dls.test_dl([file, folder/'crop'/'crop_1.tif']))
        learn.export('model.pkl')
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        again = load_learner(tmp_path/'model.pkl')
    with again.no_bar():
        assert again.predict(file)[0] == 'water'
        np.testing.assert_allclose(again.get_preds(dl=again.dls.test_dl([file]))[0], predictions[:1], atol=1e-6)
    assert reader_of(again.dls).sensor == dls.sensor and list(again.dls.vocab) == ['crop', 'forest', 'water']


def chips(folder, n=6, size=32, remap=False):
    rng = np.random.default_rng(0)
    pairs = []
    for i in range(n):
        truth = (rng.random((size, size)) < .5).astype('int16')
        data = np.stack([truth*2000 + 500, 3000 - truth*2000]).astype('int16')
        if remap: truth[:4] = -1
        pairs.append((write(folder/f'{i}_image.tif', data, nodata=0), write(folder/f'{i}_mask.tif', truth)))
    return pairs


def mask_of(path): return path.with_name(path.name.replace('image', 'mask'))


def seg_block(**kwargs):
    return DataBlock(blocks=(MultibandBlock(), MultibandMaskBlock(['dry', 'water'], **kwargs)), get_y=mask_of, splitter=IndexSplitter([0, 1]))


def test_segmentation_learner_end_to_end(tmp_path):
    images = [image for image, _ in chips(tmp_path, remap=True)]
    dls = seg_block(remap={-1: 255}).dataloaders(images, bs=2, num_workers=0, device='cpu')
    assert dls.codes == ['dry', 'water'] and dls.c == 2 and (dls.one_batch()[1] == 255).any()
    torch.manual_seed(0)
    learn = Learner(dls, nn.Conv2d(2, 2, 1), path=tmp_path)
    with learn.no_bar(), learn.no_logging():
        learn.fit(20, .1)
        assert learn.validate()[0] < .1
        learn.show_results(max_n=2)
        decoded, codes, probabilities = learn.predict(images[0])
        assert isinstance(decoded, MultibandMask) and decoded.codes == ['dry', 'water'] and probabilities.shape == (2, 32, 32)
        truth = OpenMultibandMask(['dry', 'water'], remap={-1: 255})(mask_of(images[0]))
        known = (truth != 255).as_subclass(torch.Tensor)
        assert (codes.as_subclass(torch.Tensor)[known] == truth.as_subclass(torch.Tensor)[known]).all()
        learn.export('seg.pkl')
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        again = load_learner(tmp_path/'seg.pkl')
    with again.no_bar(): assert again.predict(images[0])[0].codes == ['dry', 'water']
    dls.show_batch(max_n=2, overlay=True)


def test_mask_problems(tmp_path):
    pairs = chips(tmp_path, remap=True)
    with pytest.raises(MultibandError, match=r'0_mask.tif.*-1.*remap'): OpenMultibandMask(['dry', 'water'])(pairs[0][1])
    write(tmp_path/'2_mask.tif', np.zeros((30, 32), 'int16'))
    dls = None
    with pytest.raises(MultibandError, match='2_mask.tif.*2_image.tif'):
        dls = seg_block(remap={-1: 255}).dataloaders([image for image, _ in pairs], bs=4, num_workers=0)
        for _ in dls.train: pass
    nodata_mask = write(tmp_path/'n_mask.tif', np.array([[0, 1], [-9, 1]], 'int16'), nodata=-9)
    assert (OpenMultibandMask(['dry', 'water'])(nodata_mask) == 255).sum() == 1


def test_size_resizes_image_and_mask(tmp_path):
    images = [image for image, _ in chips(tmp_path)]
    block = DataBlock(blocks=(MultibandBlock(size=20), MultibandMaskBlock(['dry', 'water'])), get_y=mask_of, splitter=IndexSplitter([0]))
    x, y = block.dataloaders(images, bs=2, num_workers=0).one_batch()
    assert x.shape[-2:] == y.shape[-2:] == (20, 20) and set(y.unique().tolist()) == {0, 1} and y.dtype == torch.int64


def test_mixed_sizes_name_the_odd_file(tmp_path):
    folder = patches(tmp_path/'p', n=3)
    write(folder/'crop'/'odd.tif', np.full((13, 20, 18), 900, 'uint16'))
    with pytest.raises(MultibandError, match=r'odd\.tif.*size='):
        dls = MultibandDataLoaders.from_folder(folder, valid=lambda f: (list(range(len(f))), [0, 1]), bs=16)
        for _ in dls.train: pass
    x, _ = MultibandDataLoaders.from_folder(folder, valid=lambda f: (list(range(len(f))), [0, 1]), bs=10, size=16).one_batch()
    assert x.shape == (10, 13, 16, 16)


def break_files(folder):
    write(folder/'crop'/'four_bands.tif', np.full((4, 16, 16), 900, 'uint16'))
    (folder/'crop'/'text.tif').write_text('not a picture')
    whole = (folder/'crop'/'crop_1.tif').read_bytes()
    (folder/'crop'/'truncated.tif').write_bytes(whole[:len(whole)//2])
    write(folder/'crop'/'void.tif', np.zeros((13, 16, 16), 'uint16'), nodata=0)
    (folder/'crop'/'zero_bytes.tif').write_bytes(b'')
    return ['four_bands.tif', 'text.tif', 'truncated.tif', 'void.tif', 'zero_bytes.tif']


@pytest.mark.parametrize('i', range(5))
def test_a_bad_file_is_named(tmp_path, i):
    folder = patches(tmp_path/'p', n=3)
    bad = break_files(folder)
    for j, name in enumerate(bad):
        if j != i: (folder/'crop'/name).unlink()
    with pytest.raises((MultibandError, RasterError), match=bad[i].replace('.', r'\.')):
        dls = MultibandDataLoaders.from_folder(folder, 'eurosat', valid=lambda f: (list(range(len(f))), [0]))
        for _ in dls.train: pass


def test_skip_reports_what_it_drops(tmp_path):
    folder = patches(tmp_path/'p', n=3)
    bad = break_files(folder)
    with pytest.warns(UserWarning, match='5 of 14 patches dropped'):
        dls = MultibandDataLoaders.from_folder(folder, 'eurosat', on_bad='skip', valid_pct=.34, seed=0)
    assert sorted(file.name for file, _ in dls.dropped) == bad and all(file.name in reason for file, reason in dls.dropped)
    assert len(dls.train_ds) + len(dls.valid_ds) == 9


def test_a_bad_file_in_a_worker_is_still_one_clear_error(tmp_path):
    folder = patches(tmp_path/'p', n=3)
    dls = MultibandDataLoaders.from_folder(folder, 'eurosat', valid=lambda f: (list(range(len(f))), [0]), num_workers=1, bs=9, device='cpu', store=None)
    (folder/'crop'/'crop_1.tif').write_text('overwritten')
    with pytest.raises((MultibandError, RasterError), match='crop_1.tif'):
        for _ in dls.train: pass


def test_empty_and_missing_folders(tmp_path):
    with pytest.raises(MultibandError, match='holds no patches'): MultibandDataLoaders.from_folder(tmp_path)
    with pytest.raises(MultibandError, match='not a folder'): MultibandDataLoaders.from_folder(tmp_path/'nowhere')


def test_split_keeps_every_class_on_both_sides_and_repeats(tmp_path):
    folder = patches(tmp_path/'p', n=5)
    one, two = [MultibandDataLoaders.from_folder(folder, seed=3) for _ in range(2)]
    assert {f.parent.name for f in one.valid_ds.items} == {'crop', 'forest', 'water'} and list(one.valid_ds.items) == list(two.valid_ds.items)


def test_validation_folder_by_name(tmp_path):
    patches(tmp_path/'p'/'train', n=3), patches(tmp_path/'p'/'held', n=2)
    dls = MultibandDataLoaders.from_folder(tmp_path/'p', valid='held')
    assert (len(dls.train_ds), len(dls.valid_ds)) == (9, 6)


def test_arrays_are_read_as_the_files_are(tmp_path):
    file = patches(tmp_path/'p', n=1)/'crop'/'crop_0.tif'
    reader = OpenMultiband('eurosat', ['B04', 'B08'])
    with rasterio.open(file) as src: dn = src.read()
    expected = reader(file).as_subclass(torch.Tensor)
    assert torch.allclose(reader(dn).as_subclass(torch.Tensor), expected)
    assert torch.allclose(reader((dn*1e-4).astype('float32')[[3, 7]]).as_subclass(torch.Tensor), expected)
    with pytest.raises(MultibandError, match='13 bands'): reader(dn[:5])


def test_loss_of_unlabeled_batch_is_zero_and_otherwise_the_usual():
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    target = torch.randint(0, 3, (2, 4, 4))
    target[0] = 255
    assert torch.allclose(MaskedCrossEntropy()(logits, target), nn.functional.cross_entropy(logits, target, ignore_index=255))
    loss = MaskedCrossEntropy()(logits, torch.full((2, 4, 4), 255))
    loss.backward()
    assert float(loss) == 0 and torch.isfinite(logits.grad).all() and float(logits.grad.abs().sum()) == 0


def scene_pair(folder, height=300, width=300, name='scene'):
    rng = np.random.default_rng(0)
    truth = (np.add.outer(np.arange(height)//40, np.arange(width)//40) % 3).astype('uint8')
    data = (truth.astype(int)*1500 + 800 + rng.integers(0, 300, (4, height, width))).astype('uint16')
    return write(folder/f'{name}.tif', data, nodata=0), write(folder/f'{name}_mask.tif', truth)


@pytest.mark.parametrize('size,stride,block', [(60, None, None), (64, 32, 50), (64, None, 60), (128, 64, 100), (320, None, 60)])
def test_from_scenes_never_leaks_and_covers_all(tmp_path, size, stride, block):
    scene, mask = scene_pair(tmp_path)
    dls = MultibandDataLoaders.from_scenes(scene, mask, ['a', 'b', 'c'], size=size, stride=stride, block=block, seed=1)
    counts = [np.zeros((400, 400), int) for _ in range(2)]
    seen = np.zeros((400, 400), bool)
    for count, dataset in zip(counts, (dls.train_ds, dls.valid_ds)):
        for i, w in enumerate(dataset.items):
            image, labels = dataset[i]
            assert image.shape[-2:] == labels.shape == (size, size)
            place = np.s_[w.row:w.row + size, w.column:w.column + size]
            count[place] += (labels != 255).numpy()
            if dataset is dls.train_ds: seen[place] |= image.valid.numpy()
    train, valid = counts
    assert not (seen & (valid > 0)).any()                        # no held-back pixel is seen in training, as label or as image
    assert ((train > 0) | (valid > 0))[:300, :300].all() and valid.max() == 1
    assert not train[300:].any() and not valid[300:].any()


def test_from_scenes_several_scenes_and_own_splitter(tmp_path):
    pairs = [scene_pair(tmp_path, 120, 150, 'one'), scene_pair(tmp_path, 90, 100, 'two')]
    scenes, masks = zip(*pairs)
    def hold_second(blocks): return [i for i, b in enumerate(blocks) if b.path.name == 'one.tif'], [i for i, b in enumerate(blocks) if b.path.name == 'two.tif']
    dls = MultibandDataLoaders.from_scenes(list(scenes), list(masks), ['a', 'b', 'c'], size=48, splitter=hold_second)
    assert {w.path.name for w in dls.train_ds.items} == {'one.tif'} and {w.path.name for w in dls.valid_ds.items} == {'two.tif'}


def test_from_scenes_bad_input(tmp_path):
    scene, mask = scene_pair(tmp_path)
    small = tmp_path/'small.tif'
    with rasterio.open(small, 'w', driver='GTiff', count=1, height=200, width=300, dtype='uint8') as dst: dst.write(np.zeros((1, 200, 300), 'uint8'))
    with pytest.raises(RasterError, match='small.tif'): MultibandDataLoaders.from_scenes(scene, small, ['a', 'b', 'c'])
    with pytest.raises(MultibandError, match='2 codes'): MultibandDataLoaders.from_scenes(scene, mask, ['a', 'b'])
    with pytest.raises(MultibandError, match='needs its mask'): MultibandDataLoaders.from_scenes([scene, scene], mask, ['a', 'b', 'c'])
    with pytest.raises(MultibandError, match='smaller block'): MultibandDataLoaders.from_scenes(scene, mask, ['a', 'b', 'c'], size=64, block=600)


def test_windows_without_labels_are_left_out(tmp_path):
    scene, _ = scene_pair(tmp_path)
    sparse = np.full((300, 300), 255, 'uint8')
    sparse[10:60, 10:120] = 1
    mask = write(tmp_path/'sparse.tif', sparse)
    dls = MultibandDataLoaders.from_scenes(scene, mask, ['a', 'b'], size=60, seed=0)
    for dataset in (dls.train_ds, dls.valid_ds): assert all((m != 255).any() for _, m in dataset)
    assert len(dls.train_ds) + len(dls.valid_ds) <= 4


def test_window_grid_covers():
    for height, width, size, stride in ((300, 300, 64, None), (65, 200, 64, 32), (10, 10, 64, None), (128, 64, 64, 64)):
        covered = np.zeros((height, width), bool)
        for column, row in window_grid(height, width, size, stride):
            covered[row:row + size, column:column + size] = True
            assert (row + size <= height or row == 0) and (column + size <= width or column == 0)
        assert covered.all()


def test_a_window_over_the_edge_is_nodata_and_unlabeled(tmp_path):
    scene, mask = scene_pair(tmp_path, 60, 60)
    w = SceneWindow(scene, 40, -10, 32, 32, mask=mask)
    image, labels = OpenMultiband()(w), OpenMultibandMask(['a', 'b', 'c'])(w)
    inside = np.zeros((32, 32), bool)
    inside[10:, :20] = True
    assert (image.valid.numpy() == inside).all() and ((labels != 255).numpy() == inside).all()


def test_one_block_serves_two_sources_with_their_own_statistics(tmp_path):
    block = DataBlock(blocks=(MultibandBlock(), CategoryBlock), get_y=parent_label, splitter=RandomSplitter(seed=0))
    sources = []
    for name, value in (('dark', 1000), ('bright', 4000)):
        sources.append([write(tmp_path/name/c/f'{i}.tif', np.full((2, 8, 8), value, 'uint16')) for c in 'ab' for i in range(4)])
    means = [dls.train.after_batch.multiband_normalize.mean.mean().item() for dls in [block.dataloaders(s, bs=2, num_workers=0) for s in sources]]
    np.testing.assert_allclose(means, [.1, .4], rtol=1e-5)


def test_from_df_classes_several_classes_numbers_and_masks(tmp_path):
    import pandas as pd
    folder = patches(tmp_path/'p', n=4)
    files = sorted(str(f.relative_to(folder)) for f in folder.glob('*/*.tif'))
    table = pd.DataFrame({'file': files, 'label': [f.split('/')[0] for f in files], 'number': [float(i) for i in range(len(files))],
                          'tags': ['crop;wet', 'crop', 'wet']*4, 'held': [i % 4 == 0 for i in range(len(files))]})
    dls = MultibandDataLoaders.from_df(table, folder, sensor='eurosat', valid_col='held', bs=4, device='cpu')
    assert list(dls.vocab) == ['crop', 'forest', 'water'] and len(dls.valid_ds) == 3
    learn = Learner(dls, head(13, 3))
    with learn.no_bar():
        assert learn.predict(folder/files[0])[0] in dls.vocab and len(learn.get_preds(dl=dls.test_dl(table))[0]) == 12
    several = MultibandDataLoaders.from_df(table, folder, label_col='tags', label_delim=';', seed=0, bs=4)
    assert several.one_batch()[1].shape == (4, 2)
    assert MultibandDataLoaders.from_df(table, folder, label_col='number', seed=0, bs=4).one_batch()[1].dtype == torch.float32
    pairs = chips(tmp_path/'chips')
    masks = pd.DataFrame([(a.name, b.name) for a, b in pairs])
    seg = MultibandDataLoaders.from_df(masks, tmp_path/'chips', fn_col=0, label_col=1, codes=['dry', 'water'], seed=0, bs=2)
    assert isinstance(seg.one_batch()[1], MultibandMask) and seg.codes == ['dry', 'water']


def test_seeds_of_from_scenes_are_a_cross_validation_and_spread_classes(tmp_path):
    scene, mask = scene_pair(tmp_path)
    held = np.zeros((300, 300), int)
    for seed in range(5):
        dls = MultibandDataLoaders.from_scenes(scene, mask, ['a', 'b', 'c'], size=60, valid_pct=.2, seed=seed)
        classes = set()
        for i, w in enumerate(dls.valid_ds.items):
            labels = dls.valid_ds[i][1]
            held[w.row:w.row + 60, w.column:w.column + 60] += (labels != 255).numpy()
            classes |= set(labels.unique().tolist()) - {255}
        assert classes == {0, 1, 2}
    assert (held == 1).all()


def test_integer_arrays_follow_the_files_calibration(tmp_path):
    folder = patches(tmp_path/'p', 3, 'uint8', n=3)
    dls = MultibandDataLoaders.from_folder(folder, valid_pct=.34, seed=0)
    file = dls.train_ds.items[0]
    with rasterio.open(file) as src: assert torch.allclose(reader_of(dls)(src.read()).as_subclass(torch.Tensor), reader_of(dls)(file).as_subclass(torch.Tensor))


def test_labels_of_nodata_pixels_are_dropped(tmp_path):
    pairs = chips(tmp_path)
    with rasterio.open(pairs[3][0], 'r+') as dst:
        data = dst.read()
        data[:, :5], data[0, 5:10] = 0, 0
        dst.write(data)
    dls = seg_block().dataloaders([image for image, _ in pairs], bs=2, num_workers=0)
    image, mask = dls.train.after_item(dls.train_ds[1])
    assert (mask[:5] == 255).all() and (mask[5:] != 255).all() and image[0, 5:10].isnan().all()


def test_interpretation_works(tmp_path):
    from fastai.vision.all import Interpretation
    learn = Learner(MultibandDataLoaders.from_folder(patches(tmp_path/'p', n=4), 'eurosat', seed=0, bs=4, device='cpu'), head(13, 3))
    with learn.no_bar(): Interpretation.from_learner(learn).plot_top_losses(2, composite='swir')
    seg = Learner(seg_block().dataloaders([image for image, _ in chips(tmp_path/'chips')], bs=2, num_workers=0, device='cpu'), nn.Conv2d(2, 2, 1))
    with seg.no_bar(): Interpretation.from_learner(seg).plot_top_losses(2)


# --- Memory of batches ---------------------------------------------------------------------------

def plain(x): return x.as_subclass(torch.Tensor)


@pytest.mark.parametrize('augment', [False, True])
def test_batches_that_are_kept_stay_as_they_are(tmp_path, augment):
    folder = write_eurosat_like(tmp_path/'patches', 12)
    dls = MultibandDataLoaders.from_folder(folder, 'eurosat', seed=0, bs=8, device='cpu', batch_tfms=[D4(), Gain(), BandDropout(.2)] if augment else None)
    assert dls.train.plan is not None
    kept, parts, copies = [], [], []
    for images, _ in dls.train:
        kept.append(images), copies.append(plain(images).clone())
    parts = [plain(images)[0] for images in kept]
    del images
    kept = kept[::2]
    for _ in dls.train: pass
    assert all(torch.equal(plain(k), c) for k, c in zip(kept, copies[::2])) and all(torch.equal(p, c[0]) for p, c in zip(parts, copies))


class Keep(Transform):
    "A user's transform that keeps what it was given."
    order = 50
    def encodes(self, x: MultibandImage):
        self.kept = x
        return x


def test_what_a_transform_keeps_is_not_worked_on_in_place(tmp_path):
    folder, keep = write_eurosat_like(tmp_path/'patches', 6), Keep()
    dls = MultibandDataLoaders.from_folder(folder, 'eurosat', seed=0, bs=8, device='cpu', batch_tfms=[keep])
    normalized = dls.one_batch()[0]
    assert torch.allclose(plain(dls.train.after_batch.multiband_normalize.decode(normalized)), plain(keep.kept), atol=1e-5)
    given = MultibandImage(torch.rand(2, 13, 8, 8))
    before = plain(given).clone()
    for tfm in (D4(), Gain(), BandDropout(.5), dls.train.after_batch.multiband_normalize): tfm(given, split_idx=0)
    assert torch.equal(plain(given), before)


def test_no_error_holds_a_batch_in_memory(tmp_path):
    dls = MultibandDataLoaders.from_folder(write_eurosat_like(tmp_path/'patches', 6), 'eurosat', bs=8, device='cpu', batch_tfms=[D4(), Gain(), BandDropout()])
    gc.collect(), gc.disable()
    try:
        gone = [weakref.ref(batch[0]) for batch in dls.train]
        assert len(gone) > 2 and not any(ref() is not None for ref in gone)
    finally: gc.enable()


def test_outside_the_loaders_types_and_gradients_are_as_torch_has_them():
    bytes_, image = MultibandImage(torch.randint(0, 255, (2, 3, 8, 8), dtype=torch.uint8)), MultibandImage(torch.rand(2, 3, 8, 8)).requires_grad_()
    normalize = MultibandNormalize(((.5, .4, .3), (.1, .2, .5)))
    assert Gain()(bytes_, split_idx=0).dtype == normalize(bytes_).dtype == torch.float32
    for tfm, slope in ((normalize, (10., 5., 2.)), (D4(), (1., 1., 1.))):
        image.grad = None
        plain(tfm(image, split_idx=0)).sum().backward()
        assert torch.allclose(plain(image.grad), torch.tensor(slope).view(1, 3, 1, 1).expand(2, 3, 8, 8))
