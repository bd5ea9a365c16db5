"What recipes 32, 52, 60 and 61 assert of their claims: it holds for the effect, and not for equal arms or wide intervals."
import numpy as np
import pandas as pd
import pytest
from conftest import taken

from sat_recipes.experiments import Difference, paired_difference


def claim(recipe, name): return taken(recipe, name)[name]


def differ(mean, half=.005, n=10, wins=None): return Difference(mean, mean - half, mean + half, n, float(mean > 0) if wins is None else wins)


@pytest.mark.parametrize('gain, passes', [
    (differ(.035), True),
    (differ(0), False),            # equal arms
    (differ(.015), False),         # less than the claim says
    (differ(.035, .02), False),    # may be less
    (differ(-.035), False),
    (differ(.035, .05, 3), True),  # three windows carry the direction only
    (differ(.035, .05, 3, 2/3), False),
])
def test_the_limit_of_detections_hurts_a_full_image(gain, passes): assert claim('32', 'holds')(gain) == passes


SIZES = {'trees': differ(-.13), 'buildings': differ(-.3), 'aircraft': differ(-.1)}
RATIOS = {'trees': differ(.012), 'buildings': differ(-.06), 'aircraft': differ(.014)}


@pytest.mark.parametrize('size, ratio, passes', [
    (SIZES, RATIOS, True),
    (SIZES, SIZES, False),
    (RATIOS, RATIOS, False),
    (SIZES | {'trees': differ(0)}, RATIOS, False),
    (SIZES, dict.fromkeys(RATIOS, differ(0)), False),       # equal arms
    (SIZES, RATIOS | {'buildings': differ(.01)}, False),    # the tutorial's number holds for buildings too
    (SIZES, RATIOS | {'trees': differ(.012, .02)}, False),
    (SIZES, {name: differ(d.mean, .1, 3) for name, d in RATIOS.items()}, True), # three seeds carry directions only
])
def test_six_anchors_fit_by_ratio_but_not_by_size_nor_buildings(size, ratio, passes):
    names = taken('60', 'above', 'below', 'holds')
    assert names['holds'](size, ratio) == passes


@pytest.mark.parametrize('gain, passes', [(differ(.06), True), (differ(0), False), (differ(.06, .04), False), (differ(.06, .2, 3), True)])
def test_fitted_anchors_fit_better_than_the_usual(gain, passes): assert claim('60', 'better')(gain) == passes


MEANS = {(0, .5): dict(single=.55, NMS=.8, votes=.978, WBF=.979), (.75, .5): dict(single=.54, NMS=.67, votes=.74, WBF=.70),
         (0, .75): dict(single=.26, NMS=.4, votes=.52, WBF=.94)}


def scores(changed=(), spread=.005, n=8):
    "Scores of some seeds, with other means where they are changed."
    rng = np.random.default_rng(0)
    return {key: pd.DataFrame({way: rng.normal(dict(changed).get((*key, way), mean), spread, n) for way, mean in means.items()})
            for key, means in MEANS.items()}


@pytest.mark.parametrize('changed, passes', [
    ({}, True),
    ({(0, .5, 'NMS'): .55}, False),       # NMS gains nothing
    ({(0, .5, 'WBF'): .85}, False),       # WBF gains little over NMS
    ({(.75, .5, 'WBF'): .9}, False),      # shared errors do no harm
    ({(0, .5, 'votes'): .9}, False),      # votes are not enough
    ({(0, .75, 'votes'): .9}, False),     # averaging is not needed
    (dict.fromkeys([(*key, way) for key, means in MEANS.items() for way in means], .5), False), # equal arms
])
@pytest.mark.parametrize('n', [3, 8])
def test_votes_and_averaging_gain_where_errors_differ(changed, passes, n):
    holds = taken('61', 'between', 'holds', pd=pd, paired_difference=paired_difference)['holds']
    assert holds(scores(changed, n=n)) == passes
    assert n < 5 or not holds(scores(spread=.3))


@pytest.mark.parametrize('hard, one, four, passes', [
    (38, 49, 47, True),
    (49, 49, 47, False),  # equal arms
    (47, 49, 52, False),  # too little is gained
    (40, 49, 38, False),  # four random ones do better
])
@pytest.mark.parametrize('n', [3, 8])
def test_hard_negatives_beat_random_ones(hard, one, four, passes, n):
    rng = np.random.default_rng(0)
    alarms = pd.DataFrame({name: rng.normal(mean, 1, n) for name, mean in (('hard 1', hard), ('random 1', one), ('random 4', four))})
    assert taken('52', 'fewer', 'holds', paired_difference=paired_difference)['holds'](alarms) == passes
