"Recipe 51: its assertion holds for a lead that shrinks, and fails on equal arms, on a lead that stays, and on chance."
import numpy as np
import pytest
from conftest import taken
from sat_recipes.all import paired_difference


@pytest.fixture(scope='module')
def recipe():
    "The functions that the recipe's claim is made of."
    from scipy import ndimage
    return taken('51', 'found', 'tuned', 'holds', np=np, ndimage=ndimage)


def lead(size, seed=0, spread=.05):
    noise = np.random.default_rng(seed).normal(0, spread, (2, 6))
    return paired_difference({'a': .2 + size + noise[0], 'b': .2 + noise[1]}, 'a', against='b')


@pytest.mark.parametrize('early, late, right', [(.65, .1, True), (0, 0, False), (.65, .6, False), (.2, 0, False)])
def test_holds(recipe, early, late, right):
    assert recipe['holds'](lead(early), lead(late, 1)) is right


def test_holds_fails_on_a_noisy_lead(recipe):
    assert not recipe['holds'](lead(.65, spread=.5), lead(.1, 1))


def test_it_fails_where_roofs_are_shuffled(recipe):
    "Scores that say nothing of where the roofs are: both losses find as little."
    mask = np.zeros((80, 80), int)
    mask[5::16, 5::16] = mask[5::16, 6::16] = mask[6::16, 5::16] = mask[6::16, 6::16] = 1
    scores = {arm: [recipe['found'](np.random.default_rng([seed, number]).permutation(mask.ravel()).reshape(80, 80) > 0, mask)[2]
                    for seed in range(6)] for number, arm in enumerate('ab')}
    chance = paired_difference(scores, 'a', against='b')
    assert not recipe['holds'](chance, chance)


def test_objects_are_counted(recipe):
    "Two roofs: one half of one is called, one pixel of the other, and a patch that touches none."
    mask = np.zeros((9, 9), int)
    mask[1, 1:5] = mask[5, 1:5] = 1
    called = np.zeros((9, 9), bool)
    called[1, 1:3] = called[5, 1] = called[8, 8] = True
    assert recipe['found'](called, mask) == (.5, .5, .5)
    assert recipe['found'](np.zeros((9, 9), bool), mask) == (0, 0, 0)
    assert recipe['tuned'](np.where(mask == 1, .2, .1) + np.arange(81).reshape(9, 9)*1e-6, mask) > .1
