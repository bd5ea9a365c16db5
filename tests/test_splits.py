"Folds: reproducible, whole groups, classes spread, no empty fold, and every way to misuse them refused in one sentence."
import subprocess
import sys

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin
from rasterio.warp import transform
from scipy.spatial.distance import cdist
from sklearn.model_selection import StratifiedGroupKFold

from sat_recipes.raster import RasterError, SceneWindow
from sat_recipes.splits import (as_splitter, autocorrelation_range, buffered, class_counts, correlogram, group_folds,
                                leak_report, longitude_folds, nearest_training_distance, patch_positions, random_folds, scene_folds,
                                spatial_block_folds)
from sat_recipes.synthetic import smooth_noise

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


@pytest.mark.parametrize('groups', [GROUPS, GROUPS.astype(str), X//1_500*10 + Y//1_500])
def test_groups_stay_whole_and_classes_spread(groups):
    folds = group_folds(groups, 5, labels=LABELS)
    assert all(len(np.unique(folds[groups == g])) == 1 for g in np.unique(groups))
    theirs = np.empty(400, int)
    for fold, (_, test) in enumerate(StratifiedGroupKFold(5).split(X, LABELS, groups)): theirs[test] = fold
    assert unevenness(folds) <= unevenness(theirs) + .05


def test_weights_spread_classes_as_labels_do():
    weights = np.stack([LABELS == c for c in 'abc'], 1)
    folds = group_folds(GROUPS, 5, weights=weights)
    assert all(len(np.unique(folds[GROUPS == g])) == 1 for g in np.unique(GROUPS))
    assert unevenness(folds) <= unevenness(group_folds(GROUPS, 5, labels=LABELS)) + .05
    np.testing.assert_array_equal(folds, group_folds(GROUPS, 5, weights=7.*weights))  # shares count, not numbers


@pytest.mark.parametrize('n_groups', [2, 5, 6, 23])
def test_no_fold_is_empty(n_groups):
    sizes = 2**rng.integers(0, 8, n_groups)  # one group may outweigh all the others
    for n_folds in (2, min(5, n_groups)): assert np.bincount(group_folds(np.repeat(np.arange(n_groups), sizes), n_folds), minlength=n_folds).all()
    unlabeled = group_folds(np.arange(n_groups), 2, weights=np.zeros((n_groups, 3)))
    assert np.ptp(np.bincount(unlabeled, minlength=2)) <= 1


def test_blocks():
    x, y = [-.5, .5, 9.9, 10, 10], [1, 1, 1, 1, 11]
    folds = spatial_block_folds(x, y, 10, 4)  # a fold a block
    assert len(np.unique(folds)) == 4 and folds[1] == folds[2]  # blocks do not wrap around 0
    rows, columns = np.indices((25, 33))
    by_pixel, by_position = scene_folds(np.zeros((25, 33)), 10, 12), spatial_block_folds(columns.ravel(), rows.ravel(), 10, 12)
    assert len({*zip(by_pixel.ravel(), by_position)}) == 12  # the two cut the same squares
    with pytest.raises(ValueError, match='1 different groups cannot be split'): scene_folds(np.zeros((3, 3)), 10, 2)


def test_scene_folds_spread_a_rare_class_and_pass_over_the_unlabeled():
    mask = np.zeros((80, 80), 'uint8')
    mask[:40, :40:10] = 1
    mask[60:] = 255
    folds = scene_folds(mask, 10, 4)
    assert folds.shape == mask.shape and all(np.ptp(folds[r:r + 10, c:c + 10]) == 0 for r in range(0, 80, 10) for c in range(0, 80, 10))
    assert np.bincount(folds[mask == 1]).tolist() == [40]*4
    assert np.ptp(np.bincount(folds[mask == 0], minlength=4)) <= 200
    assert len(np.unique(scene_folds(np.full((40, 40), 255), 10, 4))) == 4


def test_groups_without_labels_make_folds_of_even_size():
    groups = np.repeat(np.arange(30), np.arange(1, 31))
    assert np.ptp(np.bincount(group_folds(groups, 5))) <= 30


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


def test_a_buffer_in_the_report_is_the_buffer_in_training():
    folds = spatial_block_folds(X, Y, 2_000, 4)
    gaps = cdist(np.stack([X, Y], 1), np.stack([X, Y], 1))
    report = leak_report(X, Y, folds, 700, GROUPS, buffer=600)
    for fold in range(4):
        test, keep = folds == fold, buffered(X, Y, folds, fold, 600)
        nearest = gaps[test][:, keep].min(1)
        np.testing.assert_allclose(nearest_training_distance(X, Y, folds, 600)[test], nearest)
        assert report.trained_on[fold] == keep.sum() and report.leaking[fold] == (nearest <= 700).mean() and nearest.min() > 600
        assert report.same_group[fold] == np.isin(GROUPS[test], GROUPS[keep]).mean()
    assert 0 < report.leaking.mean() < leak_report(X, Y, folds, 700).leaking.mean()


def write_patch(path, crs, easting, northing, pixel=10, side=64):
    place = from_origin(easting - side/2*pixel, northing + side/2*pixel, pixel, pixel)
    with rasterio.open(path, 'w', driver='GTiff', count=1, height=side, width=side, dtype='uint8', crs=crs, transform=place) as target: target.write(np.ones((1, side, side), 'uint8'))
    return path


def test_positions_in_one_zone_are_the_files_own(tmp_path):
    files = [write_patch(tmp_path/f'{i}.tif', 'EPSG:32633', 400_000 + 5_000*i, 5_100_000) for i in range(4)]
    table = patch_positions(files)
    assert table.x.tolist() == [400_000, 405_000, 410_000, 415_000] and table.y.tolist() == [5_100_000]*4
    assert '32633' in table.attrs['crs']
    np.testing.assert_allclose(transform('EPSG:32633', 'EPSG:4326', table.x, table.y), table[['longitude', 'latitude']].T)


def test_positions_over_zones_keep_distances(tmp_path):
    places = np.array([(5.9, 47.0), (6.1, 47.0), (12.1, 48.5), (11.9, 48.5), (18.2, 50.)])  # two pairs across the edge of a zone
    zones = [f'EPSG:326{int((lon + 180)//6 + 1)}' for lon, _ in places]
    files = [write_patch(tmp_path/f'{i}.tif', zone, *np.ravel(transform('EPSG:4326', zone, [lon], [lat]))) for i, (zone, (lon, lat)) in enumerate(zip(zones, places))]
    table = patch_positions(files)
    np.testing.assert_allclose(table[['longitude', 'latitude']], places, atol=1e-6)
    east, north = np.radians(places.T)
    cosine = np.sin(north)[:, None]*np.sin(north) + np.cos(north)[:, None]*np.cos(north)*np.cos(east[:, None] - east)
    sphere = 6_371_000*np.arccos(np.clip(cosine, -1, 1))
    np.testing.assert_allclose(cdist(table[['x', 'y']], table[['x', 'y']]), sphere, rtol=.01, atol=1)
    folds = spatial_block_folds(table.x, table.y, 150_000, 3)
    assert folds[0] == folds[1] and folds[2] == folds[3]  # neighbors stay together though their zones differ
    assert patch_positions(files, 'EPSG:3035').x.between(3.9e6, 5.1e6).all()
    assert leak_report(table.x, table.y, folds, 20_000).leaking.max() == 0


def test_positions_in_degrees_and_over_the_date_line(tmp_path):
    files = [write_patch(tmp_path/f'{lon}.tif', 'EPSG:4326', lon, -17.5, pixel=1e-4) for lon in (179.9, -179.9)]
    table = patch_positions(files)
    assert np.hypot(*(table.iloc[0] - table.iloc[1])[['x', 'y']]) == pytest.approx(21_230, rel=.01)


def test_positions_of_windows(tmp_path):
    path = write_patch(tmp_path/'scene.tif', 'EPSG:32633', 500_320, 4_999_680)
    table = patch_positions([SceneWindow(path, 0, 0, 16, 16), SceneWindow(path, 48, 32, 16, 16)])
    assert table.x.tolist() == [500_080, 500_560] and table.y.tolist() == [4_999_920, 4_999_600]


def test_positions_that_cannot_be_had(tmp_path):
    with pytest.raises(ValueError, match='no files'): patch_positions([])
    with pytest.raises(RasterError, match='gone.tif does not exist'): patch_positions([tmp_path/'gone.tif'])
    write_patch(tmp_path/'lost.tif', None, 0, 0)
    with pytest.raises(RasterError, match='lost.tif does not say where it lies'): patch_positions([tmp_path/'lost.tif'])


@pytest.mark.parametrize('length', [4, 8])
def test_correlogram_of_smooth_noise_is_known(length):
    "Noise through a Gaussian filter correlates by exp(-(h/2L)^2), which is 0.1 at 3.03 L; one scene wobbles about that."
    rows, columns = np.random.default_rng(0).integers(0, 400, (2, 2_000))
    scenes = [smooth_noise((400, 400), length, np.random.default_rng(seed)) for seed in range(8)]
    table = sum(correlogram(columns, rows, scene[rows, columns], 6*length, n_bins=30) for scene in scenes)/8
    np.testing.assert_allclose(table.correlation, np.exp(-(table.distance/2/length)**2), atol=.05)
    for level, ratio in [(.5, 1.665), (.2, 2.537), (.1, 3.035)]: assert autocorrelation_range(table, level) == pytest.approx(ratio*length, rel=.1)


def test_correlogram_of_classes_is_agreement_beyond_chance():
    x, y = rng.uniform(0, 100, (2, 300))
    kinds = np.where(x < 50, 'left', 'right')
    table = correlogram(x, y, kinds, 200, n_bins=40, max_items=300)
    gaps, unlike = cdist(np.stack([x, y], 1), np.stack([x, y], 1)), kinds[:, None] != kinds
    upper = np.triu_indices(300, 1)
    chosen = (gaps[upper] >= 20) & (gaps[upper] < 25)
    assert table.pairs[4] == chosen.sum() and table.distance[4] == pytest.approx(gaps[upper][chosen].mean())
    assert table.correlation[4] == pytest.approx(1 - unlike[upper][chosen].mean()/unlike[upper].mean())
    assert table.pairs.sum() == 300*299/2 and table.correlation.isna().any()  # no pair is 200 apart
    np.testing.assert_array_equal(table, correlogram(x, y, kinds == 'left', 200, n_bins=40, max_items=300))


def test_unrelated_values_have_no_range():
    x, y = rng.uniform(0, 100, (2, 1_000))
    assert autocorrelation_range(correlogram(x, y, rng.normal(size=1_000), 50, n_bins=5)) < 10


def test_class_counts_names_what_is_empty():
    table = class_counts(['a', 'a', 'b'], [0, 1, 1], classes=['b', 'a', 'c'])
    assert table[[0, 1]].to_numpy().tolist() == [[0, 1], [1, 1], [0, 0]]
    assert table.empty_in.tolist() == ['0', '', '0, 1'] and table.attrs['empty'] == [('b', 0), ('c', 0), ('c', 1)]
    assert class_counts(['a', 'unlabeled'], [0, 1], classes=['a']).to_numpy().tolist() == [[1, 0, '1']]


def test_as_splitter_in_a_datablock():
    from fastai.data.block import DataBlock
    folds = random_folds(20, 4)
    sets = DataBlock(splitter=as_splitter(folds, 3)).datasets(list(range(20)))
    assert [i for i, _ in sets.valid] == np.flatnonzero(folds == 3).tolist() and len(sets.train) == 15


@pytest.mark.parametrize('folds', [random_folds(400, 4), group_folds(GROUPS, 4), spatial_block_folds(X, Y, 2_000, 4), longitude_folds(X, 4)])
def test_every_split_is_a_fastai_splitter(folds):
    from fastai.data.block import DataBlock
    for keep in (None, buffered(X, Y, folds, 1, 100)):
        sets = DataBlock(splitter=as_splitter(folds, 1, keep)).datasets(list(range(400)))
        assert [i for i, _ in sets.valid] == np.flatnonzero(folds == 1).tolist()
        assert [i for i, _ in sets.train] == np.flatnonzero((folds != 1) & (True if keep is None else keep)).tolist()


@pytest.mark.parametrize('call, message', [
    (lambda: random_folds(3, 5), 'ask for 2 to 3'),
    (lambda: random_folds(1, 2), 'at least 2'),
    (lambda: random_folds(0, 2), 'at least 2'),
    (lambda: random_folds(4, 2, labels=['a']), '1 labels for 4 items'),
    (lambda: group_folds([1, 1, 1], 2), '1 different groups cannot be split'),
    (lambda: group_folds([1, 2, 3], 2, labels=[0, 1]), '2 labels for 3 items'),
    (lambda: group_folds([], 2), '0 different groups'),
    (lambda: spatial_block_folds([0, np.nan], [0, 1], 5), 'NaN or infinite'),
    (lambda: spatial_block_folds([0, 1], [0, 1], 0), 'more than 0'),
    (lambda: scene_folds(np.zeros((4, 4)), 0), 'at least 1'),
    (lambda: scene_folds(np.zeros((9, 9)), 5, 5), 'cannot be made of 4'),
    (lambda: buffered([0, 1], [0, 1], [0, 1], 2, 5), 'no item is in that fold'),
    (lambda: leak_report([0, 1], [0, 1], [0, 0], 5), 'or all are'),
    (lambda: leak_report([0, 1], [0, 1], [0, 1], 5, groups=[1]), '1 groups for 2 items'),
    (lambda: class_counts(['a'], [0, 1]), '2 folds for 1 items'),
    (lambda: as_splitter([0, 1], 2), r'there are folds \[0, 1\]'),
    (lambda: as_splitter([0, 1], 0, [False, False]), 'Nothing is left to train on'),
    (lambda: as_splitter([0, 1], 0, [True]), '1 values of keep for 2 items'),
    (lambda: leak_report([0, 1], [0, 1], [0, 1], 5, buffer=9), 'nothing to measure the distance to'),
    (lambda: correlogram([0, 1], [0, 1], [3, 3], 5), 'All values are the same'),
    (lambda: correlogram([0, 1], [0, 1], [3], 5), '1 values for 2 items'),
    (lambda: autocorrelation_range(correlogram(np.arange(9.), np.zeros(9), np.arange(9.), 3, n_bins=3)), 'look farther'),
    (lambda: as_splitter([0, 1])([1, 2, 3]), '2 folds for 3 items'),
])
def test_refused_in_one_sentence(call, message):
    with pytest.raises(ValueError, match=message): call()


def test_imports_nothing_heavy():
    code = 'import sys, sat_recipes.splits; print(sorted({"torch", "fastai", "pandas", "sklearn", "scipy", "matplotlib"} & set(sys.modules)))'
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout.strip() == '[]'
