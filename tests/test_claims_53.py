"""Recipe 53: its loss against lightly's and the paper's formula, its crossings, and what it asserts on equal arms."""
import numpy as np
import pandas as pd
import pytest
import torch
from conftest import taken
from sat_recipes.all import paired_difference


@pytest.fixture
def recipe():
    "The functions that the recipe's claims are made of."
    return taken('53', 'nt_xent', 'as_in_the_paper', 'crossings', 'holds', np=np, torch=torch, F=torch.nn.functional,
                 numbers=[1, 2, 4, 8])


@pytest.mark.parametrize('n', [2, 7, 96])
@pytest.mark.parametrize('temperature', [.1, .5])
def test_the_five_lines_are_the_formula(recipe, n, temperature):
    a, b = torch.randn(2, n, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(n))
    ours = recipe['nt_xent'](a, b, temperature)
    assert torch.isclose(ours, recipe['as_in_the_paper'](a, b, temperature), rtol=1e-10)
    assert ours > recipe['nt_xent'](a, a + .01*b, temperature)


def test_they_are_lightlys(recipe):
    loss = pytest.importorskip('lightly.loss', reason='lightly is not installed')
    a, b = torch.randn(2, 64, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    a.requires_grad_()
    ours, theirs = recipe['nt_xent'](a, b), loss.NTXentLoss(temperature=.2)(a, b)
    assert torch.isclose(ours, theirs, rtol=1e-10)
    assert torch.allclose(*(torch.autograd.grad(found, a)[0] for found in (ours, theirs)), rtol=1e-8)


def test_equal_vectors_are_a_guess_among_all_others(recipe):
    same = torch.ones(64, 32)
    assert float(recipe['nt_xent'](same, same)) == pytest.approx(np.log(127), abs=1e-5)


def test_crossings(recipe):
    flat, rising = pd.Series([.5]*4), pd.Series([.3, .4, .6, .7])
    assert recipe['crossings'](flat, rising) == pytest.approx([2*2**.5])
    assert not len(recipe['crossings'](flat, rising - .3))


def test_equal_arms_are_not_called_better(recipe):
    noise = np.random.default_rng(0).normal(.5, .03, (2, 5))
    scores = {'self-supervised': noise[0], 'untrained': noise[1]}
    assert not recipe['holds'](paired_difference(scores, 'self-supervised', against='untrained'))
    scores['untrained'] = noise[1] - .1
    assert recipe['holds'](paired_difference(scores, 'self-supervised', against='untrained'))
