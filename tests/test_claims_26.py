"Recipes 25, 26 and 27: what they assert holds for effects of the size found, and fails on equal arms."
import numpy as np
import pytest
from conftest import taken
from sat_recipes.all import paired_difference


def gain(size, seed=0, spread=.03, n=10):
    noise = np.random.default_rng(seed).normal(0, spread, (2, n))
    return paired_difference({'a': size + noise[0], 'b': noise[1]}, 'a', against='b')


@pytest.mark.parametrize('random, color, right', [(-.2, .1, True), (0, .1, False), (-.2, 0, False), (-.2, -.1, False)])
def test_25_needs_trained_slices_and_color(random, color, right):
    assert taken('25', 'holds')['holds'](gain(random), gain(color, 1)) is right


@pytest.mark.parametrize('blur, rest, right', [(-.3, -.1, True), (-.05, -.1, False), (-.3, 0, False)])
def test_25_needs_a_loss_by_blur(blur, rest, right):
    assert taken('25', 'pixels_matter')['pixels_matter'](gain(blur), gain(rest, 1)) is right


@pytest.mark.parametrize('slope, miss, right', [(-.5, 0, True), (0, 0, False), (-.5, .1, False), (-.5, -.1, False), (-.3, 0, False)])
def test_26_needs_a_line_that_foretells(slope, miss, right):
    assert bool(taken('26', 'holds', np=np)['holds'](gain(slope), gain(miss, 1))) is right


@pytest.mark.parametrize('batch, group, right', [(-.1, .03, True), (0, .03, False), (-.1, -.1, False), (.1, .1, False)])
def test_26_needs_a_loss_by_batch_norm_only(batch, group, right):
    lost = {'batch norm': gain(batch), 'group norm': gain(group, 1)}
    assert taken('26', 'small_batches_hurt')['small_batches_hurt'](lost) is right


def test_26_calls_no_equal_model_better():
    better = taken('26', 'reliably_better')['reliably_better']
    assert better(gain(.1)) and not better(gain(0)) and not better(gain(-.1))


@pytest.mark.parametrize('slope, right', [(-.08, True), (0, False), (.08, False), (-.03, False)])
def test_27_needs_a_slope(slope, right):
    assert taken('27', 'holds')['holds'](gain(slope, spread=.01)) is right
