"Recipe 50: its assertion holds for a border that was moved, and fails on equal arms, and on rare recall bought by guessing."
import numpy as np
import pytest
from conftest import taken
from sat_recipes.all import paired_difference

MOVED = {'rare recall': .13, 'mean recall': .05, 'accuracy': .01}
THROWN = {'rare recall': .2, 'mean recall': 0, 'accuracy': -.1}
SAME = {'rare recall': 0, 'mean recall': 0, 'accuracy': 0}
GUESSED = {'rare recall': .05, 'mean recall': 0, 'accuracy': -.02}


@pytest.fixture(scope='module')
def recipe():
    "The functions that the recipe's claims are made of."
    return taken('50', 'holds', 'as_many', np=np, labels=np.repeat(range(10), 3))


def gains(sizes, seed=0):
    "Differences of these sizes over 40 splits, with noise."
    noise = np.random.default_rng(seed).normal(0, .03, (40, len(sizes)))
    return {name: paired_difference({'way': size + noise[:, i], 'plain': np.zeros(40)}, 'way', 'plain')
            for i, (name, size) in enumerate(sizes.items())}


@pytest.mark.parametrize('adjusted, fewer, focal, right', [
    (MOVED, THROWN, SAME, True), (SAME, THROWN, SAME, False), (GUESSED, THROWN, SAME, False), (MOVED, MOVED, SAME, False),
    (MOVED, THROWN, MOVED, False), (THROWN, THROWN, SAME, False)])
def test_holds(recipe, adjusted, fewer, focal, right):
    assert recipe['holds'](*map(gains, (adjusted, fewer, focal))) is right


def test_copies(recipe):
    "Three rows of class 0 and one of class 1 become as many as asked for, and none of another class."
    kept = recipe['as_many'](np.array([0, 1, 2, 3, *range(6, 30)]), 2)
    assert kept.tolist()[:4] == [0, 1, 3, 3] and len(kept) == 20
