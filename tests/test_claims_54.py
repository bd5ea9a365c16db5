"""Recipe 54: what it asserts fails where arms are equal, and its training sets hold what their names say."""
import numpy as np
import pytest
import torch
from conftest import taken
from sat_recipes.all import paired_difference


@pytest.fixture
def recipe():
    "The functions that the recipe's claims are made of, on four real windows of zeros and synthetic ones of ones."
    return taken('54', 'training_set', 'holds', np=np, torch=torch, F=torch.nn.functional, n_classes=2,
                 real_images=lambda seed: (torch.zeros(4, 1, 2, 2), torch.tensor([0, 0, 1, 1])),
                 synthetic=lambda seed, classes: torch.ones(len(classes), 1, 2, 2))


def test_equal_arms_are_not_called_better(recipe):
    noise = np.random.default_rng(0).normal(.7, .05, (2, 6))
    scores = {'0 %': noise[0], '100 %': noise[1]}
    assert not recipe['holds'](paired_difference(scores, '0 %', against='100 %'))
    assert recipe['holds'](paired_difference({**scores, '100 %': noise[1] - .3}, '0 %', against='100 %'))


@pytest.mark.parametrize('options, n_real, n_made', [
    ({}, 4, 0), ({'share': .25}, 3, 1), ({'share': .5}, 2, 2), ({'share': 1.}, 0, 4), ({'share': .5, 'alone': True}, 2, 0),
    ({'added': True}, 4, 4)])
def test_training_sets(recipe, options, n_real, n_made):
    x, y = recipe['training_set'](0, **options)
    assert len(x) == len(y) == n_real + n_made
    assert x.sum() == 4*n_made
    assert options.get('alone') or y.sum() == len(y)/2


def test_both_halves_hold_the_same_real_windows(recipe):
    recipe['real_images'] = lambda seed: (torch.arange(4.).view(4, 1, 1, 1).expand(4, 1, 2, 2), torch.tensor([0, 0, 1, 1]))
    recipe['synthetic'] = lambda seed, classes: torch.full((4, 1, 2, 2), 9.)
    mixed, alone = (recipe['training_set'](3, share=.5, alone=alone)[0] for alone in (False, True))
    assert torch.equal(mixed[:2], alone) and (mixed[2:] == 9).all()


def test_momentum_moves_what_is_frozen():
    import fastai.vision.all
    moved = taken('54', 'frozen_moves', nn=torch.nn, torch=torch, Adam=fastai.vision.all.Adam)['frozen_moves']
    assert moved(.9) > .01 and moved(0.) == 0
