"""Recipe 12: what it asserts fails where all criteria err alike, and where they agree."""
import numpy as np
import pandas as pd
import pytest
from conftest import taken
from sat_recipes.all import paired_difference

CRITERIA = ['elbow', 'silhouette', 'gap', 'bic', 'stability']


@pytest.fixture
def recipe():
    "The functions that the recipe's claims are made of."
    return taken('12', 'errors', 'bic_errs_less', 'disagree', criteria=CRITERIA, paired_difference=paired_difference)


def chosen(**columns):
    "Choices in eight scenes with 3 to 6 classes: as far off as is said, the right number otherwise."
    planted = 3 + np.arange(8) % 4
    return pd.DataFrame({'planted': planted, **{name: planted + columns.get(name, 0) for name in CRITERIA}})


def test_bic_must_err_less_than_both(recipe):
    assert recipe['bic_errs_less'](chosen(elbow=-1, stability=2))[0]
    assert not recipe['bic_errs_less'](chosen(elbow=-1))[0]
    assert not recipe['bic_errs_less'](chosen(elbow=-1, stability=2, bic=3))[0]
    assert not recipe['bic_errs_less'](chosen())[0]


def test_choices_drawn_by_chance_are_not_called_better(recipe):
    found = chosen()
    rng = np.random.default_rng(0)
    for name in CRITERIA: found[name] = rng.integers(2, 8, 8)
    assert not recipe['bic_errs_less'](found)[0]


def test_agreement_up_to_one_group_is_no_disagreement(recipe):
    assert recipe['disagree'](chosen(gap=3))[0]
    assert not recipe['disagree'](chosen(gap=1))[0]
    assert not recipe['disagree'](chosen())[0]
