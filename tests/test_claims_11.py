"""Recipe 11: what it asserts fails on bands that do not repeat each other, and the best three bands are the best."""
import itertools

import numpy as np
import pytest
from conftest import taken
from sat_recipes.all import RasterPCA, paired_difference, run_arms, scene_folds, valid_pixels


@pytest.fixture
def recipe():
    "The functions that the recipe's claim is made of."
    known = dict(np=np, itertools=itertools, RasterPCA=RasterPCA, scene_folds=scene_folds, valid_pixels=valid_pixels)
    return taken('11', 'split', 'best_bands', 'held', 'holds', scenes={}, **known)


def image(unlike, seed=0):
    "Six bands: mixtures of two fields, and noise of their own of `unlike` times that spread."
    rng = np.random.default_rng(seed)
    fields, own = rng.standard_normal((2, 256, 256)), rng.standard_normal((6, 256, 256))
    return np.tensordot(rng.normal(size=(6, 2)), fields, 1) + unlike*own


def gain(recipe, pixels, arm='PCA', against='promised'):
    recipe['scenes']['made'] = pixels
    arms = {mixer: lambda seed, mixer=mixer: recipe['held']('made', mixer, seed) for mixer in ('PCA', 'bands')}
    return paired_difference(run_arms({**arms, 'promised': lambda seed: .97}, range(5)), arm, against=against)


def test_bands_that_repeat_each_other_pass_and_others_do_not(recipe):
    assert recipe['holds'](gain(recipe, image(.1)))
    assert not recipe['holds'](gain(recipe, image(2)))


def test_components_beat_bands_and_are_not_said_to_beat_themselves(recipe):
    assert recipe['holds'](gain(recipe, image(.3), against='bands'))
    assert not recipe['holds'](gain(recipe, image(.3), against='PCA'))


def test_the_best_three_bands_are_found(recipe):
    pixels = image(.01)
    pixels[4] = np.random.default_rng(1).standard_normal((256, 256))*9  # nothing else tells this one
    assert 4 in recipe['best_bands'](RasterPCA([pixels]))


def test_what_is_held_back_is_not_trained_on(recipe):
    pixels = image(.1)
    pixels[0, :40] = np.nan
    train, test = recipe['split'](pixels, 0)
    assert len(test) + len(valid_pixels(train)) == 216*256
    assert .15 < len(test)/(216*256) < .35
