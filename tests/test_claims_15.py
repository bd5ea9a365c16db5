"Recipe 15: its assertion holds where polygons are compact and impure, and fails where labels do not depend on place."
import numpy as np
import pytest
from conftest import taken
from sat_recipes.all import group_folds, paired_difference, random_folds
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import PredefinedSplit, cross_val_predict

SEEDS = range(5)


@pytest.fixture(scope='module')
def land():
    "24 polygons of 30 pixels and 4 classes, told by six noisy bands; and the recipe's functions for them."
    rng = np.random.default_rng(0)
    polygon = np.repeat(np.arange(24), 30)
    codes = polygon % 4
    bands = codes[:, None] + rng.normal(0, 1, (24, 6))[polygon] + rng.normal(0, 2, (len(codes), 6))
    place = rng.uniform(0, 400, (24, 2))[polygon] + rng.uniform(0, 9, (len(codes), 2))
    return taken('15', 'accuracy', 'holds', np=np, RandomForestClassifier=RandomForestClassifier, PredefinedSplit=PredefinedSplit,
                 cross_val_predict=cross_val_predict, pixels=np.column_stack([bands, place]), codes=codes,
                 features={'bands': np.s_[:6], 'bands and place': np.s_[:8]}), polygon


def claimed(land, relabel):
    "What the assertion says of labels that `relabel(codes, rng)` gives."
    scope, polygon = land
    gain = {}
    ways = {'random': lambda seed: random_folds(len(polygon), 5, seed),
            'by polygon': lambda seed: group_folds(polygon, 5, seed, labels=scope['codes'])}
    for way, fold in ways.items():
        scores = {name: [scope['accuracy'](name, fold(seed), seed, relabel(scope['codes'], np.random.default_rng(seed)))
                         for seed in SEEDS] for name in scope['features']}
        gain[way] = paired_difference(scores, 'bands and place', against='bands')
    return scope['holds'](gain)


def test_it_holds_for_compact_polygons(land):
    assert claimed(land, lambda codes, rng: codes)


def test_it_fails_on_shuffled_labels(land):
    assert not claimed(land, lambda codes, rng: rng.permutation(codes))


def test_it_fails_on_equal_arms(land):
    same = {'a': [.8, .81, .79, .8, .82], 'b': [.8, .81, .79, .8, .82]}
    nothing = paired_difference(same, 'a', against='b')
    assert not land[0]['holds']({'random': nothing, 'by polygon': nothing})
