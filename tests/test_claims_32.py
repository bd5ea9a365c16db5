"What recipes 32, 60 and 61 assert of their claims: it holds for the effect, and not for equal arms or wide intervals."
import pytest
from conftest import taken

from sat_recipes.experiments import Difference


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
