"Folders, tables, arrays and batches that people bring: splits, columns, workers, fastai's transforms, odd names."
import inspect
import pickle
import warnings
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from affine import Affine
from fastai.vision.all import (CategoryBlock, DataBlock, IndexSplitter, Learner, MaskBlock, MultiCategoryBlock, Normalize, RandomResizedCrop, RandomResizedCropGPU,
                               RegressionBlock, Resize, Saturation, aug_transforms, nn, parent_label)
from PIL import Image

from conftest import UP, said, tif
from sat_recipes.bands import Sensor
from sat_recipes.images import MultibandError, MultibandMask, OpenMultiband
from sat_recipes.multiband import MultibandBlock, MultibandDataLoaders, MultibandMaskBlock, class_folder, find_patches
from sat_recipes.raster import BandFiles, OnGrid, RasterError, SceneWindow, source_key
from sat_recipes.splits import longitude_folds, patch_positions, spatial_block_folds
from sat_recipes.transfer import multiband_unet

N = 20


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch): monkeypatch.setenv('SAT_RECIPES_CACHE', str(tmp_path/'cache'))


def make(folder, *places, n=5):
    for place in places:
        for i in range(n): tif(folder/place/f'{i}.tif')
    return folder


def from_folder(path, **kwargs): return MultibandDataLoaders.from_folder(path, **(dict(bs=4, num_workers=0, store=None, seed=0, normalize=False) | kwargs))


def parts(items, path): return {Path(file).relative_to(path).parts[0] for file in items}


# Splits

@pytest.mark.parametrize('names', [('train', 'valid', 'test'), ('train', 'val', 'test'), ('training', 'validation', 'testing'), ('Train', 'VALID', 'Test'), ('train', 'val', 'TESTING')])
@pytest.mark.parametrize('by_name', [True, False])
@pytest.mark.parametrize('class_first', [False, True])
def test_sides_by_folders(tmp_path, names, by_name, class_first):
    make(tmp_path/'d', *(f'{c}/{side}' if class_first else f'{side}/{c}' for side in names for c in 'ab'))
    dls, told = said(lambda: from_folder(tmp_path/'d', valid=names[1] if by_name else None))
    assert (len(dls.train_ds), len(dls.valid_ds)) == (10, 10) and list(dls.vocab) == ['a', 'b']
    assert not any(names[2] in Path(file).parts for file in [*dls.train_ds.items, *dls.valid_ds.items])
    assert '10 patches in test folders' in told and ('validation folders are held back' in told) == (not by_name)


def test_deeper_folders(tmp_path):
    make(tmp_path/'d', *(f'north/images/{side}/{c}' for side in ('train', 'test') for c in 'ab'))
    dls, told = said(lambda: from_folder(tmp_path/'d', valid_pct=.3))
    assert (len(dls.train_ds), len(dls.valid_ds)) == (7, 3) and list(dls.vocab) == ['a', 'b'] and 'test folders' in told


def test_a_test_folder_without_classes_is_none(tmp_path):
    dls, told = said(lambda: from_folder(make(tmp_path/'d', 'train/a', 'train/b', 'test')))
    assert list(dls.vocab) == ['a', 'b'] and parts(dls.train_ds.items, tmp_path/'d') == {'train'} and 'test folders' in told


@pytest.mark.parametrize('valid', ['test', Path('test'), 'test/'])
def test_the_test_folder_is_held_back_where_asked(tmp_path, valid):
    dls, told = said(lambda: from_folder(make(tmp_path/'d', *(f'{s}/{c}' for s in ('train', 'test') for c in 'ab')), valid=valid))
    assert parts(dls.valid_ds.items, tmp_path/'d') == {'test'} and not told


def test_a_side_of_several_folders(tmp_path):
    dls = from_folder(make(tmp_path/'d', *(f'{place}/{c}' for place in ('north/here', 'south/here') for c in 'ab')), valid='north/here')
    assert parts(dls.valid_ds.items, tmp_path/'d') == {'north'} and parts(dls.train_ds.items, tmp_path/'d') == {'south'}


@pytest.mark.parametrize('valid', ['val', 'vali', 'a.tif', 'VALID'])
def test_a_folder_that_is_not_there(tmp_path, valid):
    make(tmp_path/'d', 'train/a', 'valid/a')
    with pytest.raises(MultibandError, match=f"no folder '{valid}'.*'train', 'valid'"): from_folder(tmp_path/'d', valid=valid)


@pytest.mark.parametrize('places, message', [
    (['train', 'valid'], 'lies in no class folder'),
    (['train/a', 'train/b', 'train'], 'lies in no class folder'),
    (['.'], 'lies in no class folder'),
    (['a', 'b', '.'], 'lies in no class folder'),
    (['test/a', 'test/b'], 'no items are left for training')])
def test_no_class(tmp_path, places, message):
    with pytest.raises(MultibandError, match=message): from_folder(make(tmp_path/'d', *places))


def test_everything_held_back(tmp_path):
    with pytest.raises(MultibandError, match='no items are left for training'): from_folder(make(tmp_path/'d', 'x/a', 'x/b'), valid='x')


def test_one_class_is_told(tmp_path): assert 'one class, a' in said(lambda: from_folder(make(tmp_path/'d', 'a')))[1]


def test_a_class_that_only_validation_has(tmp_path):
    dls, told = said(lambda: from_folder(make(tmp_path/'d', 'train/a', 'train/b', 'valid/a', 'valid/c'), valid='valid'))
    assert list(dls.vocab) == ['a', 'b', 'c'] and "no training item is of the classes ['c']" in told


@pytest.mark.parametrize('valid_pct', [0, 0., 1, 1., -.2, 20])
def test_no_share(tmp_path, valid_pct):
    folder = make(tmp_path/'d', 'a', 'b', n=3)
    for load in (lambda: from_folder(folder, valid_pct=valid_pct), lambda: table(tmp_path, list('ab')*10, valid_pct=valid_pct),
                 lambda: MultibandDataLoaders.from_scenes(folder/'a'/'0.tif', folder/'a'/'0.tif', ['a'], valid_pct=valid_pct)):
        with pytest.raises(MultibandError, match='no share between 0 and 1'): load()


@pytest.mark.parametrize('n', [2, 3, 4])
def test_few_patches_hold_one_back(tmp_path, n):
    for i in range(n): tif(tmp_path/'d'/'ab'[i % 2]/f'{i}.tif')
    dls, told = said(lambda: from_folder(tmp_path/'d'))
    assert len(dls.valid_ds) == 1 and len(list(dls.train)) == 1 and ('taken twice' in told) == (n == 2)


def test_one_patch(tmp_path):
    with pytest.raises(MultibandError, match='no items are left'), warnings.catch_warnings(): from_folder(make(tmp_path/'d', 'a', n=1))


def test_a_splitter_that_holds_nothing_back(tmp_path):
    with pytest.raises(MultibandError, match='nothing is held back'): from_folder(make(tmp_path/'d', 'a', 'b'), valid=lambda files: (list(range(10)), []))


@pytest.mark.parametrize('target', ['.', '..', '../b', '../../outside'])
def test_links_in_circles(tmp_path, target):
    make(tmp_path/'d', 'a', 'b'), make(tmp_path/'outside', 'x')
    for name in ('loop', 'again'): (tmp_path/'d'/'a'/name).symlink_to(target, target_is_directory=True)
    (tmp_path/'outside'/'back').symlink_to(tmp_path/'d', target_is_directory=True)
    files, told = said(lambda: find_patches(tmp_path/'d'))
    assert len({file.resolve() for file in files}) == len(files) and len(files) in (10, 15) and 'passed over' in told


def test_linked_classes_are_read(tmp_path):
    make(tmp_path/'all', 'a', 'b')
    (tmp_path/'d').mkdir()
    for c in 'ab': (tmp_path/'d'/c).symlink_to(tmp_path/'all'/c, target_is_directory=True)
    dls, told = said(lambda: from_folder(tmp_path/'d'))
    assert len(dls.train_ds) + len(dls.valid_ds) == 10 and list(dls.vocab) == ['a', 'b'] and not told


def test_hidden_files_are_none(tmp_path):
    make(tmp_path/'d', 'a', 'b', 'a/.ipynb_checkpoints')
    (tmp_path/'d'/'a'/'._0.tif').write_bytes(b'resource fork')
    assert len(find_patches(tmp_path/'d')) == 10


# Tables

def table(folder, y, n=None, columns=(), **kwargs):
    n = n or len(y)
    for i in range(n):
        if not (folder/f'{i}.tif').exists(): tif(folder/f'{i}.tif')
    df = pd.DataFrame(dict(f=[f'{i}.tif' for i in range(n)], y=y)).assign(**dict(columns))
    return MultibandDataLoaders.from_df(df, folder, **(dict(bs=4, num_workers=0, store=None, seed=0, normalize=False) | kwargs))


@pytest.mark.parametrize('y, vocab, warned', [
    ([float(i % 3) for i in range(N)], [0, 1, 2], 'y_block=RegressionBlock'),
    ([float(i % 3 + 1) for i in range(N)], [1, 2, 3], 'y_block=RegressionBlock'),
    (np.array([i % 3 for i in range(N)], 'float32'), [0, 1, 2], 'y_block=RegressionBlock'),
    (pd.array([i % 3 for i in range(N)], 'Int64'), [0, 1, 2], ''),
    (pd.array([i % 3 for i in range(N)], 'Float64'), [0, 1, 2], 'y_block=RegressionBlock'),
    ([i % 3 for i in range(N)], [0, 1, 2], ''),
    (np.array([i % 3 for i in range(N)], object), [0, 1, 2], ''),
    (['abc'[i % 3] for i in range(N)], ['a', 'b', 'c'], ''),
    (pd.Categorical(['abc'[i % 3] for i in range(N)]), ['a', 'b', 'c'], ''),
    (['012'[i % 3] for i in range(N)], ['0', '1', '2'], ''),
    ([i % 2 == 0 for i in range(N)], [False, True], ''),
    ([['a', 1][i % 2] for i in range(N)], ['1', 'a'], ''),
    (list(range(N)), list(range(N)), 'y_block=RegressionBlock')])
def test_classes(tmp_path, y, vocab, warned):
    dls, told = said(lambda: table(tmp_path, y))
    assert list(dls.vocab) == vocab and dls.c == len(vocab) and warned in told and ('taken as' in told) == bool(warned)
    assert [dls.vocab[int(t)] for _, t in dls.valid_ds] == [vocab[list(map(str, vocab)).index(str(dls.valid_ds.items.iloc[i, 1]))] for i in range(len(dls.valid_ds))]


@pytest.mark.parametrize('y, warned', [
    ([i/7 for i in range(N)], ''), ([float(i) for i in range(N)], 'int'), ([i % 3 + .5 for i in range(N)], ''), (pd.array([i/7 for i in range(N)], 'Float64'), '')])
def test_numbers(tmp_path, y, warned):
    dls, told = said(lambda: table(tmp_path, y))
    assert getattr(dls, 'vocab', None) is None and dls.one_batch()[1].dtype == torch.float32 and warned in told and bool(told) == bool(warned)
    assert [float(t) for _, t in dls.valid_ds] == pytest.approx(dls.valid_ds.items['y'].tolist())


@pytest.mark.parametrize('y', [[float(i % 3) for i in range(N)], [i % 3 for i in range(N)]])
@pytest.mark.parametrize('y_block', [RegressionBlock, RegressionBlock()])
def test_numbers_that_are_asked_for(tmp_path, y, y_block):
    dls, told = said(lambda: table(tmp_path, y, y_block=y_block))
    assert dls.one_batch()[1].dtype == torch.float32 and not told


@pytest.mark.parametrize('y', [['0.5', '1.25']*10, ['0,5', '1,25']*10])
def test_numbers_as_text(tmp_path, y):
    with pytest.raises(MultibandError, match='are text'): table(tmp_path, y)


EMPTY = {
    'class numbers': ([np.nan if i == 5 else i % 3 for i in range(N)], [0, 1, 2]),
    'words': ([np.nan if i == 5 else 'abc'[i % 3] for i in range(N)], ['a', 'b', 'c']),
    'None': ([None if i == 5 else 'abc'[i % 3] for i in range(N)], ['a', 'b', 'c']),
    'blank': ([' ' if i == 5 else 'abc'[i % 3] for i in range(N)], ['a', 'b', 'c']),
    'Int64': (pd.array([None if i == 5 else i % 3 for i in range(N)], 'Int64'), [0, 1, 2]),
    'numbers': ([np.nan if i == 5 else i/7 for i in range(N)], None),
    'infinite': ([np.inf if i == 5 else i/7 for i in range(N)], None)}


@pytest.mark.parametrize('name', EMPTY)
def test_empty_cells(tmp_path, name):
    y, vocab = EMPTY[name]
    with pytest.raises(MultibandError, match=r"\['y'\] \(rows \[5\]\).*on_bad='skip'"): table(tmp_path, y)
    dls, told = said(lambda: table(tmp_path, y, on_bad='skip'))
    assert len(dls.train_ds) + len(dls.valid_ds) == N - 1 and len(dls.dropped) == 1 and 'left out' in told
    assert (list(dls.vocab) if vocab else getattr(dls, 'vocab', None)) == vocab


def test_empty_file_names(tmp_path):
    with pytest.raises(MultibandError, match=r"\['f'\] \(rows \[3\]\)"): table(tmp_path, ['a', 'b']*10, columns=dict(f=[np.nan if i == 3 else f'{i}.tif' for i in range(N)]))


@pytest.mark.parametrize('y, delim', [
    (['a b', np.nan, 'a', 'b']*5, ' '), (['a;b', '', 'a', 'b']*5, ';'), (['a; b', ' ', 'a;', ' b']*5, ';'), (['a,,b', None, 'a', 'b']*5, ','), (['a  b', '', ' a', 'b']*5, ' ')])
def test_several_classes_and_none(tmp_path, y, delim):
    dls = table(tmp_path, y, label_delim=delim, valid_col='v', columns=dict(v=[i < 4 for i in range(N)]))
    assert list(dls.vocab) == ['a', 'b'] and [t.tolist() for _, t in dls.valid_ds] == [[1, 1], [0, 0], [1, 0], [0, 1]]
    assert dls.one_batch()[1].shape == (4, 2)
    dls.show_batch(max_n=2)


def test_several_class_numbers(tmp_path):
    dls = table(tmp_path, [1, 2, np.nan, 1]*5, label_delim=' ')
    assert list(dls.vocab) == ['1', '2']


def test_no_class_at_all(tmp_path):
    with pytest.raises(MultibandError, match='names no class'): table(tmp_path, ['', np.nan]*10, label_delim=' ')


def test_classes_that_only_validation_has(tmp_path):
    held = dict(v=[i >= 15 for i in range(N)])
    for y, options in ((['a' if i < 15 else 'b' for i in range(N)], {}), (['a' if i < 15 else 'a b' for i in range(N)], dict(label_delim=' '))):
        dls, told = said(lambda: table(tmp_path, y, valid_col='v', columns=held, **options))
        assert list(dls.vocab) == ['a', 'b'] and "no training item is of the classes ['b']" in told and len(list(dls.valid)) == 2


@pytest.mark.parametrize('yes, no', [('valid', 'train'), ('Validation', 'Training'), ('val', 'train'), ('True', 'False'), ('true', 'false'), (True, False), (1, 0), (1., 0.), ('1', '0')])
def test_columns_that_split(tmp_path, yes, no):
    dls = table(tmp_path, list('ab')*10, valid_col='v', columns=dict(v=[yes if i < 4 else no for i in range(N)]))
    assert dls.valid_ds.items['f'].tolist() == [f'{i}.tif' for i in range(4)] and len(dls.train_ds) == 16


def test_a_test_set_in_a_column(tmp_path):
    dls, told = said(lambda: table(tmp_path, list('ab')*10, valid_col='v', columns=dict(v=['test', 'valid', 'train', 'train']*5)))
    assert (len(dls.train_ds), len(dls.valid_ds)) == (10, 5) and '5 rows of the table are of the test set' in told
    assert not set(dls.train_ds.items['v']) & {'test', 'valid'}


@pytest.mark.parametrize('values, message', [
    ([0, 1, 2, 3], r"holds \[2, 3\]"), (['train', 'hold', 'train', 'hold'], "holds .'hold'."), ([True, np.nan, False, False], r"\['v'\] \(rows \[1, 5"),
    ([0, 1, np.nan, 0], r"\['v'\] \(rows \[2"), ([False]*4, 'nothing is held back'), ([True]*4, 'no items are left for training'), (['train', 'test']*2, 'nothing is held back')])
def test_columns_that_do_not_split(tmp_path, values, message):
    with pytest.raises(MultibandError, match=message), warnings.catch_warnings(): table(tmp_path, list('ab')*10, valid_col='v', columns=dict(v=values*5))


@pytest.mark.parametrize('options', [dict(label_col='label'), dict(fn_col='file'), dict(valid_col='split'), dict(label_col=7), dict(fn_col=['b1', 'b2']), dict(label_col=['y', 'z'])])
def test_unknown_columns(tmp_path, options):
    with pytest.raises(MultibandError, match=r"no columns .*\['f', 'y'\]"): table(tmp_path, list('ab')*10, **options)


def test_a_column_twice(tmp_path):
    df = pd.DataFrame([['0.tif', 'a', 'b']], columns=['f', 'y', 'y'])
    with pytest.raises(MultibandError, match="has 2 columns 'y'"): MultibandDataLoaders.from_df(df, tmp_path, label_col='y')


@pytest.mark.parametrize('on_bad', ['error', 'skip'])
def test_no_rows(tmp_path, on_bad):
    with pytest.raises(MultibandError, match='0 of 0 rows'): MultibandDataLoaders.from_df(pd.DataFrame(dict(f=[], y=[])), tmp_path, on_bad=on_bad)


def test_two_numbers(tmp_path):
    columns = dict(p=np.linspace(0, 1, N), q=np.arange(N)/4)
    dls = table(tmp_path, 'a', N, columns, label_col=['p', 'q'])
    x, y = dls.one_batch()
    assert y.shape == (4, 2) and y.dtype == torch.float32 and dls.c == 2
    assert dls.valid_ds[0][1].tolist() == pytest.approx(dls.valid_ds.items[['p', 'q']].iloc[0].tolist())
    learn = Learner(dls, nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)))
    with learn.no_bar(), learn.no_logging(): learn.fit(1)
    with pytest.raises(MultibandError, match='rows .2.'): table(tmp_path, 'a', N, columns | dict(q=[np.nan if i == 2 else i/4 for i in range(N)]), label_col=['p', 'q'])
    with pytest.raises(MultibandError, match='not all numbers'): table(tmp_path, 'a', N, columns, label_col=['p', 'y'])


@pytest.mark.parametrize('kind', [int, float, bool])
def test_columns_of_zeros_and_ones(tmp_path, kind):
    columns = dict(wet=[kind(i % 2) for i in range(N)], green=[kind(i % 3 == 0) for i in range(N)])
    dls, told = said(lambda: table(tmp_path, 'a', N, columns, label_col=['wet', 'green']))
    assert list(dls.vocab) == ['wet', 'green'] and 'classes that a row has or has not' in told and dls.one_batch()[1].shape == (4, 2)
    assert dls.valid_ds[0][1].tolist() == dls.valid_ds.items[['wet', 'green']].iloc[0].tolist()
    assert table(tmp_path, 'a', N, columns, label_col=['wet', 'green'], y_block=RegressionBlock).one_batch()[1].dtype == torch.float32


def test_columns_with_numbers_as_names(tmp_path):
    for i in range(N): tif(tmp_path/f'{i}.tif')
    df = pd.DataFrame({10: [f'{i}.tif' for i in range(N)], 20: list('ab')*10})
    dls = MultibandDataLoaders.from_df(df, tmp_path, fn_col=10, label_col=20, bs=4, store=None, seed=0)
    assert list(dls.vocab) == ['a', 'b'] and len(dls.one_batch()) == 2


def test_missing_files(tmp_path):
    with pytest.raises(MultibandError, match='1 of 20 files.*gone.tif'): table(tmp_path, list('ab')*10, columns=dict(f=['gone.tif' if i == 3 else f'{i}.tif' for i in range(N)]))
    dls, told = said(lambda: table(tmp_path, list('ab')*10, columns=dict(f=['gone.tif' if i == 3 else f'{i}.tif' for i in range(N)]), on_bad='skip'))
    assert [file.name for file, _ in dls.dropped] == ['gone.tif'] and 'gone.tif' in told


@pytest.mark.parametrize('seed', range(3))
@pytest.mark.parametrize('store', [None, 'auto'])
def test_files_named_twice(tmp_path, seed, store):
    dls, told = said(lambda: table(tmp_path, list('ab')*10, columns=dict(f=[f'{i % 10}.tif' for i in range(N)]), seed=seed, store=store))
    assert not set(dls.train_ds.items['f']) & set(dls.valid_ds.items['f']) and len(dls.valid_ds) == 4 and '10 rows of the table name a file' in told
    _, told = said(lambda: table(tmp_path, list('ab')*10, columns=dict(f=[f'{i % 10}.tif' for i in range(N)], v=[i < 5 for i in range(N)]), valid_col='v'))
    assert '5 files are on both sides' in told


def test_an_index_that_is_no_range(tmp_path):
    for i in range(6): tif(tmp_path/f'{i}.tif')
    df = pd.DataFrame(dict(f=[f'{i}.tif' for i in range(6)], y=['a', 'b', np.nan]*2), index=[7, 7, 9, 1, 2, 3])
    with pytest.raises(MultibandError, match=r'rows \[9, 3\]'): MultibandDataLoaders.from_df(df, tmp_path)
    with warnings.catch_warnings(): assert len(MultibandDataLoaders.from_df(df, tmp_path, on_bad='skip', store=None).dropped) == 2


# Workers

def loaders(folder, kind, store):
    folder = make(folder, 'a', 'b')
    options = dict(bs=4, num_workers=2, store=store, seed=0)
    files = [f'{c}/{i}.tif' for c in 'ab' for i in range(5)]
    for file in files if kind == 'bands' else []: tif(folder/f'nir_{file[0]}'/file[2:], np.ones((1, 8, 8), 'uint16')), tif(folder/f'red_{file[0]}'/file[2:], np.ones((1, 8, 8), 'uint16'))
    df = pd.DataFrame(dict(f=files, red=[f'red_{file}' for file in files], nir=[f'nir_{file}' for file in files], y=list('ab')*5, z=np.linspace(0, 1, 10), tags=['a b', '']*5))
    scene, mask = tif(folder/'s.tif', size=64), tif(folder/'m.tif', np.eye(64).astype('uint8'))
    if kind == 'from_folder':
        for file in (scene, mask): file.unlink()
        return MultibandDataLoaders.from_folder(folder, **options)
    if kind == 'from_scenes': return MultibandDataLoaders.from_scenes(scene, mask, ['a', 'b'], size=16, **options)
    if kind == 'masks':
        for i, file in enumerate(files): tif(folder/f'mask{i}.tif', np.eye(8).astype('uint8'))
        return MultibandDataLoaders.from_df(df.assign(m=[f'mask{i}.tif' for i in range(10)]), folder, label_col='m', codes=['a', 'b'], **options)
    how = dict(classes=dict(label_col='y'), numbers=dict(label_col='z'), tags=dict(label_col='tags', label_delim=' '), bands=dict(fn_col=['red', 'nir'], label_col='y'))
    return MultibandDataLoaders.from_df(df, folder, **how[kind], **options)


@pytest.mark.parametrize('store', ['auto', None])
@pytest.mark.parametrize('kind', ['from_folder', 'from_scenes', 'classes', 'numbers', 'tags', 'masks', 'bands'])
def test_what_travels_to_spawned_workers(tmp_path, kind, store):
    dls = loaders(tmp_path/'d', kind, store)
    for dl in dls.loaders:
        dl.before_iter()
        again = pickle.loads(ForkingPickler.dumps(dl.fake_l)).d
        for i in range(len(dl.dataset)): assert all(torch.equal(torch.as_tensor(x), torch.as_tensor(y)) for x, y in zip(again.do_item(i), dl.do_item(i), strict=True))


# Arrays and batches

@pytest.mark.parametrize('shape, sensor', [((32, 32, 4), None), ((64, 48, 13), None), ((16, 16, 4), None), ((200, 100, 3), None), ((13, 12, 4), Sensor.generic(4)), ((64, 64, 13), 'eurosat')])
def test_bands_last(shape, sensor):
    array = np.zeros(shape, 'float32')
    with pytest.raises(MultibandError, match='height, width, bands'): OpenMultiband(sensor).setups([array])
    assert OpenMultiband(sensor)(array.transpose(2, 0, 1)).shape == (shape[2], *shape[:2])


@pytest.mark.parametrize('shape', [(4, 32, 32), (13, 16, 16), (13, 64, 48), (4, 8, 3), (8, 8, 8), (1, 32, 32), (3, 200, 100)])
def test_bands_first(shape):
    opener = OpenMultiband()
    opener.setups([np.zeros(shape, 'float32')])
    assert opener(np.zeros(shape, 'float32')).shape == shape and len(opener.sensor) == shape[0]


@pytest.mark.parametrize('array', [np.zeros((32, 32)), np.zeros((2, 4, 32, 32)), np.zeros((4, 0, 32)), np.zeros((4, 8, 8), complex), np.zeros((4, 8, 8), bool), np.zeros((4, 8, 8), object), torch.zeros(4, 8, 8)])
def test_no_arrays_of_numbers(array):
    with pytest.raises(MultibandError, match='was given'): OpenMultiband().setups([array])


@pytest.mark.parametrize('dtype, scale', [('uint8', 1/255), ('uint16', 1e-4), ('int16', 1e-4), ('int32', 1e-4)])
def test_integer_arrays(dtype, scale):
    data = np.arange(4*64).reshape(4, 8, 8).astype(dtype)
    assert np.allclose(OpenMultiband()(data), data*scale, atol=1e-7)


def test_float_arrays():
    data = np.random.default_rng(0).random((4, 8, 8))
    assert np.allclose(OpenMultiband()(data), data)
    with pytest.raises(RasterError, match='floats around'): OpenMultiband()(data*10_000)
    assert np.allclose(OpenMultiband(Sensor.generic(4, scale=1))(data*10_000), data*10_000)


def test_an_array_unlike_the_files(tmp_path):
    opener = OpenMultiband()
    opener.setups([tif(tmp_path/'a.tif')])
    with pytest.raises(RasterError, match='uint8'): opener(np.zeros((4, 8, 8), 'uint8'))
    with pytest.raises(MultibandError, match='4 bands'): opener(np.zeros((3, 8, 8), 'uint16'))


def segments(folder, size=16, **kwargs):
    images = [tif(folder/f'{i}.tif', size=size) for i in range(8)]
    for file in images: tif(file.with_name(f'mask_{file.name}'), (np.arange(size*size).reshape(size, size)//24 % 2).astype('uint8'))
    block = DataBlock(blocks=(MultibandBlock(normalize=False), MultibandMaskBlock(['a', 'b'])), get_y=mask_of, splitter=IndexSplitter([0, 1]), **kwargs)
    return block.dataloaders(images, bs=4, num_workers=0)


def mask_of(file): return file.with_name(f'mask_{file.name}')


@pytest.mark.parametrize('tfm', [Resize(8), RandomResizedCrop(8), Normalize.from_stats([.5]*4, [.1]*4), Saturation(.5)])
def test_transforms_for_pictures(tmp_path, tfm):
    where = 'item_tfms' if type(tfm) in (Resize, RandomResizedCrop) else 'batch_tfms'
    with pytest.raises(MultibandError, match=type(tfm).__name__): segments(tmp_path, **{where: tfm})


@pytest.mark.parametrize('options, message', [
    (dict(item_tfms=Resize(4)), 'Resize works on pictures'), (dict(item_tfms=[Resize(4)]), 'Resize works on pictures'), (dict(batch_tfms=Normalize.from_stats([0]*4, [1]*4)), 'a second time'),
    (dict(valid_pc=.5), 'valid_pc'), (dict(valid=['a']), 'no name of a folder')])
def test_arguments_that_would_be_passed_over(tmp_path, options, message):
    with pytest.raises(MultibandError, match=message): from_folder(make(tmp_path/'d', 'a', 'b'), **options)


def test_no_table(tmp_path):
    with pytest.raises(MultibandError, match='read_csv'): MultibandDataLoaders.from_df(str(tmp_path/'table.csv'), tmp_path)


def test_fastais_mask_block_is_refused(tmp_path):
    images = [tif(tmp_path/f'{i}.tif') for i in range(3)]
    for file in images: Image.fromarray(np.eye(8, dtype='uint8')).save(file.with_suffix('.png'))
    block = DataBlock(blocks=(MultibandBlock(), MaskBlock(['a', 'b'])), get_y=lambda file: file.with_suffix('.png'), splitter=IndexSplitter([0]))
    with pytest.raises(MultibandError, match='MultibandMaskBlock'): block.dataloaders(images, bs=1)


@pytest.mark.parametrize('tfms, size', [([], 16), (aug_transforms(), 16), (aug_transforms(flip_vert=True, max_rotate=45), 16), ([RandomResizedCropGPU(12)], 12), (aug_transforms(size=24), 24)])
def test_transforms_of_batches(tmp_path, tfms, size):
    torch.manual_seed(0)
    x, y = segments(tmp_path, batch_tfms=tfms).one_batch()
    assert x.shape == (4, 4, size, size) and x.sensor is not None and isinstance(y, MultibandMask) and y.shape == (4, size, size)
    assert set(y.unique().tolist()) <= {0, 1, 255} and y.dtype == torch.int64 and .03 < float(x.nanmean()) < .4


def test_fewer_patches_than_a_batch(tmp_path):
    files = find_patches(make(tmp_path/'d', 'a', 'b'))
    dls = DataBlock(blocks=(MultibandBlock(), CategoryBlock), get_y=parent_label, splitter=IndexSplitter([0, 9])).dataloaders(files, num_workers=0)
    assert dls.train.bs == 8 and [len(y) for _, y in dls.train] == [8]
    assert [len(y) for _, y in from_folder(tmp_path/'d', bs=64).train] == [8]


def test_one_window_and_batch_normalization(tmp_path):
    scene, mask = tif(tmp_path/'s.tif', np.full((4, 32, 64), 900, 'uint16')), tif(tmp_path/'m.tif', np.eye(32, 64).astype('uint8'))
    dls, told = said(lambda: MultibandDataLoaders.from_scenes(scene, mask, ['a', 'b'], size=32, num_workers=0))
    assert 'taken twice' in told and len(dls.train_ds) == 2
    learn = multiband_unet(dls, pretrained=False)
    with learn.no_bar(), learn.no_logging(): learn.fit(1)
    assert np.isfinite(learn.recorder.values[0]).all()


def test_batches_of_one_are_told(tmp_path): assert 'bs=2' in said(lambda: from_folder(make(tmp_path/'d', 'a', 'b'), bs=1))[1]


@pytest.mark.parametrize('name', ['a#1', 'a|b', 'a?b', 'a b', 'Ä ö ü', '100 %', "it's", 'a@b', 'a:b', '#(0, 0, 8, 8)', 'a[1]', 'a&b;c'])
@pytest.mark.parametrize('store', [None, 'auto'])
def test_odd_names(tmp_path, name, store):
    for i in range(6): tif(tmp_path/'d'/name/f'{name} {i}.tif', np.full((2, 8, 8), 100*(i + 1), 'uint16')), tif(tmp_path/'d'/'other'/f'{name} {i}.tif', np.full((2, 8, 8), 4000, 'uint16'))
    dls = from_folder(tmp_path/'d', store=store, bs=10, valid_pct=.1)
    assert name in dls.vocab
    for dl in (dls.train, dls.valid):
        x, y = dl.one_batch()
        assert ((x.mean((1, 2, 3)) < .1).cpu() == (y == list(dls.vocab).index(name)).cpu()).all()


def test_no_two_sources_share_a_key(tmp_path):
    files = [str(tmp_path/name) for name in ('a', 'a#(0, 0, 8, 8)', 'b', 'a|b', 'a@b', 'a#', 'a@')]
    windows = [SceneWindow(file, 0, 0, 8, 8) for file in files]
    several = [BandFiles((files[0], files[2])), BandFiles((files[2], files[0])), BandFiles((f'{files[0]}|{files[2]}', files[2]))]
    grids = [OnGrid(file, other) for file in files[:3] for other in (*files[3:5], windows[0])]
    sources = [*files, *windows, *several, *grids]
    assert len(set(map(source_key, sources))) == len(sources)


# Longitudes

@pytest.mark.parametrize('longitude, folds', [
    ([177, 178, 179, -179, -178, -177], [0, 0, 1, 1, 2, 2]), ([177, 178, 179, 181, 182, 183], [0, 0, 1, 1, 2, 2]), ([177, 178, 179, 181, -178, -177], [0, 0, 1, 1, 2, 2]),
    ([359, 1, 358, 2], [0, 1, 0, 1]), ([-1, 1, -2, 2], [0, 1, 0, 1]), ([170, 190, -175, 175], [0, 1, 1, 0]),
    ([5e5, 4e5, 6e5, 7e5], [0, 0, 1, 1]), ([0, 80, 160, 240], [0, 0, 1, 1]), ([-100, -90, 10, 20], [0, 0, 1, 1])])
def test_longitudes_lie_on_a_circle(longitude, folds): assert longitude_folds(longitude, max(folds) + 1).tolist() == folds


def test_longitudes_that_are_none():
    with pytest.raises(ValueError, match='NaN'): longitude_folds([1, np.nan, 3], 2)


def test_blocks_across_180_degrees():
    x, y = np.array([170, 179.9, -179.9, 190, -170, 160]), np.full(6, -17.)
    folds = spatial_block_folds(x, y, 15, 2)
    assert folds[3] == folds[4] and folds[1] == folds[2] and (folds == spatial_block_folds(x % 360, y, 15, 2)).all()


def test_positions_of_0_to_360(tmp_path):
    files = [tif(tmp_path/f'{i}.tif', crs='EPSG:4326', transform=Affine(1e-4, 0, lon, 0, -1e-4, -17)) for i, lon in enumerate((190, -170, 179.99))]
    place = patch_positions(files)
    assert place.longitude.tolist() == pytest.approx([-170, -170, 179.99], abs=.01) and np.hypot(*(place.iloc[0] - place.iloc[1])[['x', 'y']]) < 1
    assert longitude_folds(place.longitude, 3)[2] == 0


@pytest.mark.parametrize('kwargs, words', [(dict(bs=0), 'bs=0 is no number'), (dict(on_bad='skpi'), "on_bad='skpi' is neither")])
def test_options_that_cannot_be_are_refused(tmp_path, kwargs, words):
    folder = make(tmp_path/'d', 'a', 'b')
    table = pd.DataFrame(dict(file=[str(path) for path in find_patches(folder)], y=['a', 'b']*5))
    with pytest.raises(MultibandError, match=words): from_folder(folder, **kwargs)
    with pytest.raises(MultibandError, match=words): MultibandDataLoaders.from_df(table, **kwargs)


def test_options_of_all_factories_are_in_their_signatures():
    for factory in (MultibandDataLoaders.from_folder, MultibandDataLoaders.from_df, MultibandDataLoaders.from_scenes):
        names = inspect.signature(factory).parameters
        assert {'sensor', 'bands', 'normalize', 'bs', 'batch_tfms', 'store'} <= set(names) and 'windows' not in names
