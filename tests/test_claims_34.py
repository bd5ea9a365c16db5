"""Recipe 34: its assertion holds where a side of the angles is worse, and fails where none is."""
import numpy as np
import pytest
from conftest import taken
from sat_recipes.all import ConfusionMatrix, paired_difference

ANGLES = np.array([-45, -37, -29, -21, -13, -5, 6, 14, 22, 30, 38, 46])


@pytest.fixture(scope='module')
def recipe():
    "The functions that the recipe's claim is made of."
    return taken('34', 'mean_step', 'holds')


def views(seed, mistakes):
    "Counts of 10 small views of each angle, of whose pixels a share of `mistakes(angle)` is wrong."
    rng = np.random.default_rng(seed)
    slices = ANGLES.repeat(10)
    truth = rng.integers(0, 2, (len(slices), 400))
    wrong = rng.random(truth.shape) < mistakes(slices)[:, None]
    return ConfusionMatrix(['ground', 'building'], per_image=True).update(np.where(wrong, 1 - truth, truth), truth), slices


def claimed(recipe, mistakes):
    steps = {'signed': [], 'unsigned': []}
    for seed in range(8):
        confusion, slices = views(seed, mistakes)
        steps['signed'].append(recipe['mean_step'](confusion, slices))
        steps['unsigned'].append(recipe['mean_step'](confusion, np.abs(slices)))
    return recipe['holds'](paired_difference(steps, 'unsigned', against='signed'))


def test_it_holds_where_the_north_is_worse(recipe):
    assert claimed(recipe, lambda angle: .1 + .004*np.clip(-angle, 0, None))


def test_it_fails_where_the_sides_are_alike(recipe):
    assert not claimed(recipe, lambda angle: .1 + .004*np.abs(angle))


def test_it_fails_on_equal_slices(recipe):
    assert not claimed(recipe, lambda angle: np.full(angle.shape, .2))
