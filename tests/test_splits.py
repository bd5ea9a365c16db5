"Folds: reproducible, whole groups, classes spread, no empty fold, and every way to misuse them refused in one sentence."
import subprocess
import sys

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.model_selection import StratifiedGroupKFold

from sat_recipes.splits import (as_splitter, block_ids, block_map, buffered, class_counts, group_folds, leak_report, longitude_folds,
                                nearest_training_distance, random_folds, scene_folds, spatial_block_folds)

rng = np.random.default_rng(7)
X, Y = rng.uniform(-5_000, 5_000, (2, 400))
LABELS = rng.choice(['a', 'b', 'c'], 400, p=[.7, .25, .05])
GROUPS = rng.integers(0, 40, 400)


@pytest.mark.parametrize('split', [
    lambda seed: random_folds(400, 5, seed), lambda seed: random_folds(400, 5, seed, LABELS), lambda seed: group_folds(GROUPS, 5, seed),
    lambda seed: spatial_block_folds(X, Y, 1_000, 5, seed), lambda seed: scene_folds(np.zeros((40, 40), int), 8, 5, seed)])
def test_same_seed_same_folds(split):
    np.testing.assert_array_equal(split(3), split(3))
    assert (split(3) != split(4)).any()
    assert np.unique(split(3)).tolist() == [0, 1, 2, 3, 4]


def test_random_folds_are_even_and_stratified():
    assert np.ptp(np.bincount(random_folds(403, 5))) <= 1
    folds = random_folds(400, 5, labels=LABELS)
    assert np.ptp(np.bincount(folds)) <= 1 and all(np.ptp(np.bincount(folds[LABELS == c], minlength=5)) <= 1 for c in 'abc')


def unevenness(folds): return max(np.ptp(np.bincount(folds[LABELS == c], minlength=5))/(LABELS == c).sum() for c in 'abc')


@pytest.mark.parametrize('groups', [GROUPS, GROUPS.astype(str), block_ids(X, Y, 1_500)])
def test_groups_stay_whole_and_classes_spread(groups):
    folds = group_folds(groups, 5, labels=LABELS)
    assert all(len(np.unique(folds[groups == g])) == 1 for g in np.unique(groups))
    theirs = np.empty(400, int)
    for fold, (_, test) in enumerate(StratifiedGroupKFold(5).split(X, LABELS, groups)): theirs[test] = fold
    assert unevenness(folds) <= unevenness(theirs) + .05


def test_weights_are_labels_counted():
    weights = np.stack([LABELS == c for c in 'abc'], 1)
    np.testing.assert_array_equal(group_folds(GROUPS, 4, weights=weights), group_folds(GROUPS, 4, labels=LABELS))


@pytest.mark.parametrize('n_groups', [2, 5, 6, 23])
def test_no_fold_is_empty(n_groups):
    sizes = 2**rng.integers(0, 8, n_groups)  # one group may outweigh all the others
    for n_folds in (2, min(5, n_groups)): assert np.bincount(group_folds(np.repeat(np.arange(n_groups), sizes), n_folds), minlength=n_folds).all()
    unlabelled = group_folds(np.arange(n_groups), 2, weights=np.zeros((n_groups, 3)))
    assert np.ptp(np.bincount(unlabelled, minlength=2)) <= 1


def test_blocks():
    ids = block_ids([-.5, .5, 9.9, 10, 10], [1, 1, 1, 1, 11], 10)
    assert len(np.unique(ids)) == 4 and ids[1] == ids[2]  # blocks do not wrap around 0
    rows, columns = np.indices((25, 33))
    pairs = {*zip(block_map(25, 33, 10).ravel(), block_ids(columns.ravel(), rows.ravel(), 10))}
    assert len(pairs) == 12  # the two number the same squares
    assert block_map(3, 3, 10).max() == 0


def test_scene_folds_spread_a_rare_class_and_pass_over_the_unlabelled():
    mask = np.zeros((80, 80), 'uint8')
    mask[:40, :40:10] = 1
    mask[60:] = 255
    folds = scene_folds(mask, 10, 4)
    assert folds.shape == mask.shape and all(len(np.unique(folds[block_map(80, 80, 10) == b])) == 1 for b in range(64))
    assert np.bincount(folds[mask == 1]).tolist() == [40]*4
    assert np.ptp(np.bincount(folds[mask == 0], minlength=4)) <= 200
    assert len(np.unique(scene_folds(np.full((40, 40), 255), 10, 4))) == 4


def test_longitude_folds_are_strips():
    folds = longitude_folds(X, 4)
    assert np.bincount(folds).tolist() == [100]*4
    assert all(X[folds == f].max() < X[folds == f + 1].min() for f in range(3))


def test_distances_against_brute_force():
    folds = spatial_block_folds(X, Y, 2_000, 4)
    gaps = cdist(np.stack([X, Y], 1), np.stack([X, Y], 1))
    gaps[folds[:, None] == folds] = np.inf
    np.testing.assert_allclose(nearest_training_distance(X, Y, folds), gaps.min(1))
    keep, test = buffered(X, Y, folds, 2, 400), folds == 2
    assert not (keep & test).any() and gaps[test][:, keep].min() > 400
    dropped = ~keep & ~test
    assert dropped.any() and (gaps[dropped][:, test].min(1) <= 400).all()
    report = leak_report(X, Y, folds, 400)
    assert report.leaking.tolist() == [(gaps.min(1)[folds == f] <= 400).mean() for f in range(4)]
    assert report['items'].tolist() == np.bincount(folds).tolist()
    assert report.nearest_training_item.tolist() == pytest.approx([np.median(gaps.min(1)[folds == f]) for f in range(4)])


def test_duplicates_and_shared_groups_leak():
    x, y, folds = [0, 0, 50, 90], [0, 0, 50, 90], [0, 1, 0, 1]
    assert leak_report(x, y, folds, 0).leaking.tolist() == [.5, .5]
    assert leak_report(x, y, folds, 0, ['p', 'q', 'r', 'r']).same_group.tolist() == [.5, .5]
    assert leak_report(X, Y, group_folds(GROUPS, 5), 1, GROUPS).same_group.max() == 0


def test_class_counts_names_what_is_empty():
    table = class_counts(['a', 'a', 'b'], [0, 1, 1], classes=['b', 'a', 'c'])
    assert table[[0, 1]].to_numpy().tolist() == [[0, 1], [1, 1], [0, 0]]
    assert table.empty_in.tolist() == ['0', '', '0, 1'] and table.attrs['empty'] == [('b', 0), ('c', 0), ('c', 1)]


def test_as_splitter_in_a_datablock():
    from fastai.data.block import DataBlock
    folds = random_folds(20, 4)
    sets = DataBlock(splitter=as_splitter(folds, 3)).datasets(list(range(20)))
    assert [i for i, _ in sets.valid] == np.flatnonzero(folds == 3).tolist() and len(sets.train) == 15


@pytest.mark.parametrize('call, message', [
    (lambda: random_folds(3, 5), 'ask for 2 to 3'),
    (lambda: random_folds(1, 2), 'at least 2'),
    (lambda: random_folds(0, 2), 'at least 2'),
    (lambda: random_folds(4, 2, labels=['a']), '1 labels for 4 items'),
    (lambda: group_folds([1, 1, 1], 2), '1 different groups cannot be split'),
    (lambda: group_folds([1, 2, 3], 2, labels=[0, 1]), '2 labels for 3 items'),
    (lambda: group_folds([], 2), '0 different groups'),
    (lambda: block_ids([0, np.nan], [0, 1], 5), 'NaN or infinite'),
    (lambda: block_ids([0, 1], [0, 1], 0), 'more than 0'),
    (lambda: block_map(4, 4, 0), 'at least 1'),
    (lambda: scene_folds(np.zeros((9, 9)), 5, 5), 'cannot be made of 4'),
    (lambda: buffered([0, 1], [0, 1], [0, 1], 2, 5), 'no item is in that fold'),
    (lambda: leak_report([0, 1], [0, 1], [0, 0], 5), 'or all are'),
    (lambda: leak_report([0, 1], [0, 1], [0, 1], 5, groups=[1]), '1 groups for 2 items'),
    (lambda: class_counts(['a'], [0, 1]), '2 folds for 1 items'),
    (lambda: as_splitter([0, 1], 2), r'there are folds \[0, 1\]'),
    (lambda: as_splitter([0, 1])([1, 2, 3]), '2 folds for 3 items'),
])
def test_refused_in_one_sentence(call, message):
    with pytest.raises(ValueError, match=message): call()


def test_imports_nothing_heavy():
    code = 'import sys, sat_recipes.splits; print(sorted({"torch", "fastai", "pandas", "sklearn", "scipy", "matplotlib"} & set(sys.modules)))'
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout.strip() == '[]'
