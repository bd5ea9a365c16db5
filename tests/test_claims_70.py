"""Recipe 70: what it asserts of networks with 8 bits fails for equal arms, for a small gain that is chance, and for one seed."""
import numpy as np
import pytest
from conftest import taken

from sat_recipes.experiments import paired_difference


@pytest.mark.parametrize('gain, seeds, held', [(0, 5, False), (.01, 5, False), (.1, 5, True), (-.1, 5, False), (.1, 1, False), (.1, 4, False)])
def test_eight_bits_are_ahead_only_by_more_than_chance(gain, seeds, held):
    draw = np.random.default_rng(0).normal(.7, .03, (2, seeds))
    found = paired_difference({'int8': draw[0] + gain, 'pruned': draw[1]}, 'int8', against='pruned')
    assert taken('70', 'holds')['holds'](found) == held
