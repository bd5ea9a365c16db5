"""Recipe 35: what it asserts fails where a model is calibrated, where methods are equal, and where sets are too small."""
import numpy as np
import pytest
from conftest import taken
import torch
from sat_recipes.all import fit_temperature, negative_log_likelihood, paired_difference


@pytest.fixture
def recipe():
    "The functions that the recipe's claims are made of."
    return taken('35', 'cross_fitted', 'holds', 'keeps_promise', np=np, tensor=torch.tensor, fit_temperature=fit_temperature)


def cooling(recipe, factor):
    "What the temperature does for 137 predictions whose logits are `factor` times those that the labels are drawn from."
    nll = {'as trained': [], 'cooled': []}
    for seed in range(8):
        rng = np.random.default_rng(seed)
        honest = 2*rng.standard_normal((137, 10))
        recipe['targets'] = targets = torch.from_numpy((honest + rng.gumbel(size=honest.shape)).argmax(1))
        logits = torch.from_numpy(factor*honest)
        cooled = recipe['cross_fitted'](logits, rng.permutation(137) % 5)
        assert (cooled.argmax(1) == logits.argmax(1)).all()
        for name, found in (('as trained', logits), ('cooled', cooled)):
            nll[name].append(negative_log_likelihood(found.softmax(1), targets))
    return recipe['holds'](paired_difference(nll, 'as trained', against='cooled'))


def test_a_temperature_helps_only_the_miscalibrated(recipe):
    assert cooling(recipe, 3) and cooling(recipe, .3)
    assert not cooling(recipe, 1)


def test_equal_methods_are_not_called_better(recipe):
    noise = np.random.default_rng(0).normal(.7, .05, (2, 6))
    assert not recipe['holds'](paired_difference({'ensemble': noise[0], 'one network': noise[1]}, 'ensemble', 'one network'))
    assert not recipe['holds'](paired_difference({'ensemble': noise[0], 'one network': noise[0]}, 'ensemble', 'one network'))


@pytest.mark.parametrize('mean, kept', [(.9, True), (.91, True), (.84, False), (.96, False), (.1, False)])
def test_a_promise_is_kept_within_three_points(recipe, mean, kept):
    coverage = np.random.default_rng(0).normal(mean, .06, 300)
    off = paired_difference({'held back': coverage, 'promised': np.full(300, .9)}, 'held back', against='promised')
    assert recipe['keeps_promise'](off) == kept
