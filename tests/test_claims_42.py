"What recipe 42 asserts of its claims: it holds for the effect, and not for equal arms or wide intervals."
import pytest
from conftest import taken

from sat_recipes.experiments import Difference


def differ(mean, half=.05, n=10): return Difference(mean, mean - half, mean + half, n, float(mean > 0))


SAME = differ(0, 0)


@pytest.mark.parametrize('smaller, own, recall, passes', [
    (differ(.4), differ(.4), SAME, True),
    (SAME, SAME, SAME, False),                                # equal arms
    (SAME, differ(.4), SAME, False),                          # the smaller box is no better
    (differ(.4), differ(.28), SAME, False),                   # may be less than the claim says
    (differ(.4), differ(.4), differ(.05), False),             # the remedies cost recall
    (differ(.4, .5, 3), differ(.4, .5, 3), SAME, True),       # three seeds carry directions only
    (differ(.4, .5, 3), differ(-.4, .5, 3), SAME, False),
])
def test_suppression_by_iou_leaves_pieces(smaller, own, recall, passes):
    holds = taken('42', 'holds', 'above')['holds']
    assert holds({'smaller': smaller, 'own part': own}, {'smaller': recall, 'own part': recall}) == passes


@pytest.mark.parametrize('extra, missed, passes', [
    (differ(.25), differ(.04, .01), True),
    (SAME, SAME, False),                     # equal arms
    (differ(.12), differ(.04, .01), False),  # may be less than the claim says
    (differ(.25), differ(.01, .02), False),  # may find as many
])
def test_the_smaller_box_depends_on_scores(extra, missed, passes):
    assert taken('42', 'depends_on_scores', 'above')['depends_on_scores'](extra, missed) == passes
