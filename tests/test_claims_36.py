"""Recipe 36: what it asserts fails where features know nothing, and where maps differ."""
from itertools import pairwise

import numpy as np
import pytest
from conftest import taken
from sat_recipes.all import paired_difference
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


@pytest.fixture
def recipe():
    "The functions that the recipe's claims are made of."
    heads = {'probe': make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)),
             'cosine kNN': KNeighborsClassifier(5, metric='cosine'), 'euclidean kNN': KNeighborsClassifier(5)}
    return taken('36', 'predicted', 'accuracy', 'holds', 'alike', heads=heads, StratifiedKFold=StratifiedKFold,
                 cross_val_predict=cross_val_predict)


def gains(recipe, signal, others, spread):
    "Is each head better than the next? Two telling numbers among `others` of this spread; a length that means nothing."
    rng = np.random.default_rng(0)
    recipe['targets'] = targets = np.repeat(range(4), 25)
    telling = signal*np.stack([targets % 2, targets//2], 1) + rng.normal(size=(100, 2))
    x = np.concatenate([telling, spread*rng.normal(size=(100, others))], 1)
    recipe['features'] = x*rng.lognormal(0, .5, (100, 1))
    scores = {head: [recipe['accuracy'](head, seed) for seed in range(5)] for head in recipe['heads']}
    return [recipe['holds'](paired_difference(scores, a, against=b)) for a, b in pairwise(scores)]


def test_the_probe_is_ahead_where_loud_features_mean_nothing(recipe): assert gains(recipe, 6, 8, 4) == [True, True]


def test_neighbors_are_ahead_where_many_faint_ones_mean_nothing(recipe): assert gains(recipe, 4, 38, 1) == [False, True]


def test_nothing_is_ahead_without_a_signal(recipe): assert gains(recipe, 0, 38, 1) == [False, False]


@pytest.mark.parametrize('mean, alike', [(0, True), (-.02, True), (-.1, False), (.08, False)])
def test_maps_are_alike_within_five_hundredths(recipe, mean, alike):
    kept = np.random.default_rng(0).normal(.7, .02, (2, 10))
    difference = paired_difference({'perplexity': kept[0] + mean, 'seed': kept[1]}, 'perplexity', against='seed')
    assert recipe['alike'](difference) == alike
