"""What recipes 30 and 31 assert of their claims: it holds for the effect, and not for equal arms, other signs or wide intervals."""
import pytest
from conftest import taken

from sat_recipes.experiments import Difference


def claim(recipe, name): return taken(recipe, name)[name]


def differ(mean, half=.005, n=10): return Difference(mean, mean - half, mean + half, n, float(mean > 0))


@pytest.mark.parametrize('auc, ap, passes', [
    (differ(0), differ(.3), True),
    (differ(0), differ(0), False),              # equal arms
    (differ(.02), differ(.3), False),           # the AUC falls too
    (differ(0, .02), differ(.3), False),        # or may well do
    (differ(0), differ(.3, .25), False),        # the fall of AP may be small
    (differ(0, .02, 3), differ(.3, .25, 3), True), # three seeds carry means only
    (differ(0, .02, 3), differ(.05, .25, 3), False),
])
def test_average_precision_alone_falls_with_prevalence(auc, ap, passes): assert claim('30', 'holds')(auc, ap) == passes


@pytest.mark.parametrize('skip, zero, one, passes', [
    (.1, .1, -.1, True),
    (0, 0, 0, False),     # equal arms
    (.1, .1, .1, False),  # no rule turns the order
    (-.1, .1, -.1, False),
    (.1, -.1, -.1, False),
    (-.1, -.1, .1, False),
])
@pytest.mark.parametrize('n', [3, 10])
def test_the_rule_for_empty_tiles_turns_the_order(skip, zero, one, passes, n):
    turns = claim('31', 'turns')
    assert turns({rule: differ(mean, n=n) for rule, mean in (('skip', skip), ('0', zero), ('1', one))}) == passes
    assert not turns({rule: differ(mean, half=.2) for rule, mean in (('skip', skip), ('0', zero), ('1', one))})


@pytest.mark.parametrize('iou, outline, passes', [
    (differ(0), differ(-.05), True),
    (differ(0), differ(0), False),         # equal arms
    (differ(-.05), differ(-.05), False),   # IoU sees it too
    (differ(0, .03), differ(-.05), False),
    (differ(0), differ(-.05, .04), False),
    (differ(.02, n=3), differ(.04, n=3), False), # smoothing helps
])
def test_smoothing_costs_the_boundary_only(iou, outline, passes): assert claim('31', 'blurs')(iou, outline) == passes
