"""What asserts the claims of the recipes fails where there is nothing to find: on shuffled labels, or on equal arms.

Recipes that show this themselves are listed; of the others, the notebook's own functions are run here.
"""
from functools import partial

import nbformat
import numpy as np
import pytest
from conftest import RECIPES, taken as functions_of
from sklearn.ensemble import ExtraTreesClassifier

NAMES = {}
exec('from fastai.vision.all import *\nfrom functools import cache\nfrom sklearn.metrics import *\n'
     'from sat_recipes.all import *', NAMES)
taken = partial(functions_of, **NAMES)
paired_difference, run_arms = NAMES['paired_difference'], NAMES['run_arms']


def sources(recipe):
    path, = RECIPES.glob(f'{recipe}*.ipynb')
    return [cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == 'code']


def by_chance(names, n, size=.1):
    "Arms that differ by chance only."
    rng = np.random.default_rng(0)
    return {name: rng.normal(.5, size, n) for name in names}


@pytest.mark.parametrize('recipe, null', [
    ('10', 'not holds(by_chance)'), ('13', 'not holds(control)'), ('20', 'expect_fail(AssertionError)'), ('24', 'not holds(nothing)'),
    ('_template', 'not holds(nothing)')])
def test_these_recipes_see_their_assertion_fail(recipe, null):
    assert any(null in source for source in sources(recipe))


def test_00_needs_more_than_another_random_start():
    "Forests of single pixels in place of networks: the same blocks, the same score, a moment's time."
    try: folder = NAMES['get_data']('s2_clearings', quiet=True)
    except NAMES['DatasetError'] as error: pytest.skip(str(error))
    scene = NAMES['read_reflectance'](folder/'scene.tif')
    mask, classes = NAMES['rasterize_polygons'](folder/'labels.geojson', scene)
    rows, columns = np.nonzero(mask != 255)
    truth = mask[rows, columns]

    def mean_iou(bands, start):
        def score(seed):
            held = NAMES['spatial_block_folds'](columns*10., rows*10., 600, 4, seed, labels=truth) == 0
            x = scene.data[bands][:, rows, columns].T
            forest = ExtraTreesClassifier(5, max_depth=8, random_state=100*start + seed).fit(x[~held][::20], truth[~held][::20])
            return NAMES['ConfusionMatrix'](classes).update(forest.predict(x[held]), truth[held]).mean('iou')
        return score

    holds = taken('00', 'holds')['holds']
    scores = run_arms({'RGB': mean_iou([0, 1, 2], 0), 'again': mean_iou([0, 1, 2], 1), 'RGB + NIR': mean_iou([0, 1, 2, 3], 0)}, range(8))
    assert not holds(paired_difference(scores, 'again', 'RGB'))
    assert holds(paired_difference(scores, 'RGB + NIR', 'RGB'))


def test_21_notices_rounded_numbers_and_layouts_of_one_speed():
    import torch
    recipe = taken('21', 'bits', 'ratios', 'holds')
    x = torch.tensor([[.1234567, float('nan')]])
    assert torch.equal(recipe['bits'](x), recipe['bits'](x.clone()))
    assert not torch.equal(recipe['bits'](x), recipe['bits'](x.half().float()))
    layouts = 'one file per band', 'stacked', 'store'
    same = by_chance([f'own, {name}' for name in layouts], 20)
    assert not recipe['holds'](**recipe['ratios'](same, 'own'))
    faster = {name: scores + 3*i for i, (name, scores) in enumerate(same.items())}
    assert recipe['holds'](**recipe['ratios'](faster, 'own'))


def test_33_finds_no_optimism_in_shuffled_labels():
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.model_selection import cross_val_predict
    surfaces = NAMES['spectra_table'](['forest', 'meadow', 'scrub', 'crop'])[:, [1, 2, 3, 7]]
    memory = make_pipeline(StandardScaler(), KNeighborsClassifier(5))
    recipe = taken('33', 'scene', 'visit', 'tested', 'abroad', 'score', 'holds', surfaces=surfaces, memory=memory, cross_val_predict=cross_val_predict)
    arms = {'random': lambda seed: recipe['score']('random', seed), 'abroad': lambda seed: recipe['abroad'](memory, 20, seed)}
    assert recipe['holds'](paired_difference(run_arms(arms, range(5)), 'random', 'abroad'))

    real = recipe['visit']
    def shuffled(length, seed):
        features, labels = real(length, seed)
        return features, np.random.default_rng(seed).permutation(labels)
    recipe['visit'] = shuffled
    recipe['abroad'].cache_clear()
    assert not recipe['holds'](paired_difference(run_arms(arms, range(5)), 'random', 'abroad'))


def test_40_needs_seams():
    holds = taken('40', 'holds')['holds']
    ways = 'none', 'crop', 'hann'
    whole = np.random.default_rng(0).random((3, 64, 64))
    def energy(way, seed):
        other = np.random.default_rng([seed, ways.index(way)]).normal(0, .01, whole.shape)
        return np.log10(NAMES['seam_energy'](whole + other, whole))
    scores = run_arms({way: lambda seed, way=way: energy(way, seed) for way in ways}, range(6))
    assert not holds(paired_difference(scores, 'none', 'crop'), paired_difference(scores, 'crop', 'hann'))


def test_41_needs_padding():
    recipe = taken('41', 'holds', 'moved')
    import torch
    logits = torch.randn(10, 8, 8, generator=torch.manual_seed(0))
    arms = {name: lambda seed, size=size: float(recipe['moved'](logits, logits + size*torch.randn(10, 8, 8)).mean())
            for name, size in {'bare': 1e-6, 'again': 1e-6, 'padded': .2}.items()}
    scores = run_arms(arms, range(5))
    assert not recipe['holds'](paired_difference(scores, 'again', 'bare'))
    assert recipe['holds'](paired_difference(scores, 'padded', 'bare'))
