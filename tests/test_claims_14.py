"Recipe 14: its three claims hold on fields that can be told apart, and fail on shuffled labels or where nothing is left out."
from functools import cache, partial

import numpy as np
import pytest
from conftest import taken
from sat_recipes.all import ConfusionMatrix, paired_difference, run_arms, spatial_block_folds
from sklearn.ensemble import ExtraTreesClassifier

NAMES = 'moved', 'renamed', 'left_out', 'mean_iou', 'held_out', 'labels', 'fitted', 'called', 'score', 'holds'
SEEDS = range(6)


def recipe(informative, share=.5):
    "The recipe's functions over 256 square fields of 32 pixels, with bands that tell their classes, or tell nothing."
    rng = np.random.default_rng(0)
    fields = rng.integers(0, 5, 256)
    number = np.kron(np.arange(256).reshape(16, 16), np.ones((32, 32), int))
    truth = fields[number].astype(np.uint8)
    rows, columns = (axis[::4, ::4].ravel() for axis in np.indices(truth.shape))
    level = truth[rows, columns] if informative else np.zeros(len(rows))
    spectrum = rng.normal(0, .5, (256, 3))[number[rows, columns]] # a field has a color of its own
    x = level[:, None] + spectrum + rng.normal(0, .15, (len(rows), 3))
    pixel = np.arange(truth.size).reshape(truth.shape)
    scope = taken('14', *NAMES, np=np, cache=cache, ConfusionMatrix=ConfusionMatrix, ExtraTreesClassifier=ExtraTreesClassifier,
                  spatial_block_folds=spatial_block_folds, truth=truth, number=number, rows=rows, columns=columns, x=x)
    scope['kinds'] = {'clean': lambda seed: truth, 'moved': lambda seed: scope['moved'](truth, seed),
                      'polygons': lambda seed: scope['renamed'](truth, seed, number),
                      'pixels': lambda seed: scope['renamed'](truth, seed, pixel),
                      'ignored': lambda seed: scope['left_out'](truth, seed, 255, share),
                      'background': lambda seed: scope['left_out'](truth, seed, 5, share)}
    return scope


def lead(scope, one, other):
    arms = {name: partial(scope['score'], *pair) for name, pair in (('one', one), ('other', other))}
    return scope['holds'](paired_difference(run_arms(arms, SEEDS), 'one', 'other'))


@pytest.fixture(scope='module')
def told(): return recipe(informative=True)


@pytest.fixture(scope='module')
def shuffled(): return recipe(informative=False)


def test_noise_in_the_test_costs_more(told, shuffled):
    def claim(scope): return all(lead(scope, (kind, 'clean'), ('clean', kind)) for kind in ('moved', 'polygons', 'pixels'))
    assert claim(told) and not claim(shuffled)


def test_whole_polygons_cost_more(told, shuffled):
    pair = ('pixels', 'clean'), ('polygons', 'clean')
    assert lead(told, *pair) and not lead(shuffled, *pair)


def test_background_costs_more_where_something_is_left_out(told):
    pair = ('ignored', 'clean'), ('background', 'clean')
    assert lead(told, *pair) and not lead(recipe(True, share=0), *pair)


def test_what_the_noise_does(told):
    truth, number = told['truth'], told['number']
    for units, wrong in ((number, .3), (np.arange(truth.size).reshape(truth.shape), .3)):
        labels = told['renamed'](truth, 1, units)
        assert np.mean(labels != truth) == pytest.approx(wrong, abs=.06)
    spoiled = told['renamed'](truth, 1, number) != truth
    assert all(len(np.unique(spoiled[number == field])) == 1 for field in range(256))
    assert told['renamed'](np.full((2, 2), 255), 1, np.zeros((2, 2), int)).min() == 255
    step = np.argwhere(told['moved'](np.eye(1, 4096, 0).reshape(64, 64), 3) == 1)[0]
    assert np.hypot(*((step + 32) % 64 - 32)) == pytest.approx(5, abs=.8)
    assert told['left_out'](truth, 1, 5).max() == 5
