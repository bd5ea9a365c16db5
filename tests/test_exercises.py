"""The exercises of the recipes: a right answer passes; a plausible wrong one and no answer do not.

The cell that checks an answer is run by itself, on small stand-ins for what the recipe has computed by then.
"""
import ast
import re
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

RECIPES = Path(__file__).resolve().parent.parent/'nbs/recipes'
NAMES = {}
exec('from sat_recipes.all import *', NAMES)
from albumentations import GaussNoise  # noqa: E402, after sat_recipes, so that it does not look up the network


def ask(recipe, name, answer, known):
    "What the recipe's cell that checks `name` says to `answer`, where `known` are the names that the recipe has by then."
    path, = RECIPES.glob(f'{recipe}*.ipynb')
    cells = [c.source for c in nbformat.read(path, 4).cells if c.cell_type == 'code']
    source, = [s for s in cells if re.search(rf'\bcheck\(\s*{name}\b', s)]
    *before, last = ast.parse(source).body
    before = [node for node in before if not (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name)]
    scope = {**NAMES, **known, name: answer}
    exec(compile(ast.Module(before, []), name, 'exec'), scope)
    return eval(compile(ast.Expression(last.value), name, 'eval'), scope)


def hold_back_west(items):
    west = [w.column < 128 for w in items]
    return [i for i, held in enumerate(west) if not held], [i for i, held in enumerate(west) if held]


def south(items): return [i for i, w in enumerate(items) if w.row < 64], []


def bands(*names): return SimpleNamespace(sensor=SimpleNamespace(common_names=list(names)))


def as_conv(linear, bias=True, kernel=6):
    conv = nn.Conv2d(32*36//kernel**2, 10, kernel)
    conv.weight.data = linear.weight.data.view(conv.weight.shape)
    if bias: conv.bias.data = linear.bias.data
    return conv


def target(dn, mask): return np.where((dn == 0).all(0), 255, mask//255)


def ndvi(offset, nodata=0, first=np.float64):
    "NDVI of DN, with what may go wrong: no offset, no nodata, a subtraction in the file's own type."
    def answer(red, nir):
        red, nir = (dn.astype(first) - dn.dtype.type(offset) for dn in (red, nir))
        found = (nir - red)/(nir + red)
        return found if nodata is None else np.where(red == -offset, np.nan, found)
    return answer


def class_coverage(sets, targets):
    return [sets[targets == code, code].mean() if (targets == code).any() else np.nan for code in range(sets.shape[1])]


def coarser(image, factor):
    bands, height, width = image.shape
    return np.nanmean(image.reshape(bands, height//factor, factor, width//factor, factor), (2, 4))


def greenest(ndvi, images): return np.take_along_axis(images, np.nanargmax(ndvi, axis=0)[None, None], axis=0)[0]


def newest_items(items, of_tile=slice(1, 3), rule=lambda one: one.properties['s2:processing_baseline']):
    return list({tuple(one.id.split('_')[of_tile]): one for one in sorted(items, key=rule)}.values())


def folding(weights, mean, std):
    scaled = weights/std[:, None, None]
    return scaled.sum(1, keepdim=True), -(scaled*mean[:, None, None]).sum((1, 2, 3))


def without_batch_norm(model, deep=True, groups=4):
    for name, layer in model.named_children():
        if isinstance(layer, nn.BatchNorm2d): setattr(model, name, nn.GroupNorm(groups, layer.num_features))
        elif deep: without_batch_norm(layer, groups=groups)
    return model


def scene_ndvi(data): return (data[3] - data[2])/(data[3] + data[2])


def best_at(score, truth, least):
    curve = NAMES['threshold_curve'](score, truth)
    return curve.precision[curve.recall >= least]


def tile_ious(found, truth): return (found & truth).sum((1, 2))/(found | truth).sum((1, 2))


def rebuilt(pca, image, n): return (pca.transform(image)[:n].T@pca.components[:n]*pca.scale + pca.mean).T


# Forest, crop, pasture, pasture; valley, pasture, pasture, not labeled: reflectance in red and near infrared.
RED, NEAR_INFRARED = [[.03, .04, .12, .12], [.09, .12, .12, .12]], [[.21, .23, .18, .18], [.21, .18, .18, .18]]
CLEARINGS = dict(classes=['forest', 'crop', 'pasture', 'valley'], mask=np.array([[0, 1, 2, 2], [3, 2, 2, 255]], np.uint8),
                 scene=SimpleNamespace(data=np.array([RED, RED, RED, NEAR_INFRARED])))
LABEL = np.array([[1, 1, 0], [0, -1, -1]])

PLACES = pd.DataFrame({name: vars(platform) for name, platform in NAMES['PLATFORMS'].items()}).T


def free_places(limits, hours): return sorted(limits.index[~limits.gpu.str.contains('paid') & (limits.hours >= hours)])


# recipe, answer's name, what the recipe has computed, a right answer, plausible wrong ones
def eight_bits(weights):
    scale = abs(weights).max()/127
    return np.round(weights/scale)*scale if scale else weights


CASES = [
    ('01', 'your_runs', {}, 40, [22.5, 30, 1350]),
    ('01', 'your_platforms', {'limits': PLACES}, free_places, [lambda limits, hours: sorted(limits.index[limits.hours >= hours]),
                                                              lambda limits, hours: free_places(limits, 1), lambda limits, hours: []]),
    ('_template', 'your_share', dict(label=LABEL), .5, [2/6, .4]),
    ('_template', 'your_mndwi', {}, lambda g, s: (g - s)/np.maximum(g + s, 1e-9),
     [lambda g, s: (g - s)/(g + s), lambda g, s: (s - g)/np.maximum(g + s, 1e-9)]),
    ('00', 'your_iou', CLEARINGS, 1/7, [4/7, 1/8, 1/4]),
    ('00', 'your_pair', CLEARINGS, (scene_ndvi, .5), [(scene_ndvi, .72), (scene_ndvi, .1), (lambda data: -scene_ndvi(data), .5)]),
    ('13', 'your_factor', {}, 4/3, [5/4, 3/4]),
    ('13', 'your_means', {}, lambda dn: dn[:, dn.any(0)].mean(1),
     [lambda dn: dn.mean((1, 2)), lambda dn: dn.sum((1, 2))/(dn != 0).sum((1, 2)), lambda dn: dn[:, dn.any(0)].mean()]),
    ('14', 'your_labels', {'classes': ['water', 'forest', 'farm', 'meadow', 'residential'], 'chosen': dict(zip('ABCDEF', range(6))),
                           'truth': np.array([1, 3, 2, 0, 2, 4]), 'number': np.arange(6)},
     dict(zip('ABCDEF', ['meadow', 'meadow', 'farm', 'water', 'farm', 'residential'])),
     [dict(zip('ABCDEF', ['forest', 'farm', 'meadow', 'water', 'meadow', 'residential'])), {}, dict.fromkeys('ABCDEF', 'farm')]),
    ('14', 'your_iou', {}, .667, [.8, .54, 1/1.2, .6]),
    ('14', 'your_target', {}, lambda mask, visited: np.where((mask == 0) & ~visited, 255, mask),
     [lambda mask, visited: mask, lambda mask, visited: np.where(visited, mask, 255), lambda mask, visited: np.where(visited, 255, mask)]),
    ('15', 'your_optimism', {'scores': pd.DataFrame({'bands and place, random': [.98, .96],
                                                     'bands and place, by polygon': [.5, .54]})}, .45, [-.45, .97, .48]),
    ('15', 'your_leaks', {}, lambda polygon, folds: pd.Series(folds).groupby(polygon).transform('nunique').values > 1,
     [lambda polygon, folds: np.zeros(len(folds), bool), lambda polygon, folds: np.array([True, False, False]),
      lambda polygon, folds: pd.Series(polygon).groupby(folds).transform('nunique').values > 1]),
    ('11', 'your_share', {}, .8, [.75, 6/2, 8]),
    ('11', 'your_rebuilt', {}, rebuilt,
     [lambda pca, image, n: rebuilt(pca, image, 3), lambda pca, image, n: (pca.transform(image)[:n].T@pca.components[:n]).T,
      lambda pca, image, n: (pca.transform(image)[:n].T@pca.components[:n] + pca.mean).T]),
    ('12', 'your_k', {}, 2, [4, 1, 3]),
    ('12', 'your_largest', {}, lambda stability, level: max(stability.index[stability >= level], default=1),
     [lambda stability, level: stability.idxmax(), lambda stability, level: stability.index.max(),
      lambda stability, level: stability.index[stability >= level].max()]),
    ('16', 'your_excess', {}, .1, [.14, .4, .11]),
    ('16', 'your_greenest', {}, greenest, [lambda ndvi, images: images.max(0), lambda ndvi, images: greenest(-ndvi, images),
                                           lambda ndvi, images: greenest(np.nan_to_num(ndvi, nan=9), images)]),
    ('20', 'your_splitter', {}, hold_back_west, [lambda items: hold_back_west(items)[::-1], lambda items: ([], items), south]),
    ('20', 'your_images', {}, bands('nir', 'swir16', 'green'), [bands('green', 'nir', 'swir16'), bands('red', 'green', 'nir')]),
    ('22', 'your_flip', {}, lambda b: np.stack([-b[:, 2], b[:, 1], -b[:, 0], b[:, 3]], 1),
     [lambda b: b*[-1, 1, -1, 1], lambda b: np.stack([b[:, 0], -b[:, 3], b[:, 2], -b[:, 1]], 1), lambda b: b[:, ::-1]]),
    ('22', 'your_noise', {}, GaussNoise(std_range=(.004, .008), p=1),
     [GaussNoise(std_range=(.004, .008), p=.1), GaussNoise(p=1), GaussNoise(std_range=(.04, .08), p=1)]),
    ('23', 'your_number', {}, 4, [8, 2]),
    ('23', 'your_undo', {}, lambda k: {5: 6, 6: 5}.get(k, k), [lambda k: k, lambda k: 7 - k, lambda k: -k % 8]),
    ('24', 'your_share', {}, .5, [1, 1/3]),
    ('24', 'your_widening', {}, lambda w, n: w.mean(1, keepdim=True).expand(-1, n, -1, -1)*3/n,
     [lambda w, n: w.mean(1, keepdim=True).expand(-1, n, -1, -1), lambda w, n: w.mean(1, keepdim=True)/n]),
    ('30', 'your_precision', {}, .449, [.8, .976, .016]),
    ('30', 'your_best', {}, lambda score, truth, least: best_at(score, truth, least).max(),
     [lambda score, truth, least: best_at(score, truth, least).iloc[0], lambda score, truth, least: best_at(score, truth, 0).max()]),
    ('31', 'your_dice', {}, .75, [.43, 1.2, .6]),
    ('31', 'your_mean', {}, lambda found, truth: np.nanmean(tile_ious(found, truth)),
     [lambda found, truth: tile_ious(found, truth)[truth.any((1, 2))].mean(),
      lambda found, truth: tile_ious(found, truth)[found.any((1, 2))].mean(), lambda found, truth: np.nanmedian(tile_ious(found, truth)),
      lambda found, truth: np.nan_to_num(tile_ious(found, truth)).mean(), lambda found, truth: (found & truth).sum()/(found | truth).sum()]),
    ('32', 'your_ap', {}, .625, [.6042, .8333, .6]),
    ('32', 'your_alarms', {}, lambda found, height, width, meters: (found.outcome == 'FP').sum()/(height*width*meters**2/1e6),
     [lambda found, height, width, meters: (found.outcome != 'TP').sum()/(height*width*meters**2/1e6),
      lambda found, height, width, meters: (found.outcome == 'FP').sum()/(height*width/1e6),
      lambda found, height, width, meters: (found.outcome == 'FP').mean()]),
    ('33', 'your_share', {}, .25, [.5, .75]),
    ('33', 'your_folds', {}, lambda field: np.asarray(field) % 4,
     [lambda field: np.arange(len(field)) % 4, lambda field: np.asarray(field) % 5, lambda field: field*0]),
    ('40', 'your_overlap', {}, 80, [40, 20]),
    ('40', 'your_starts', {}, lambda n, size, step: [*range(0, n - size, step), n - size],
     [lambda n, size, step: range(0, n - size + 1, step), lambda n, size, step: range(0, n, step),
      lambda n, size, step: range(n - size + 1)]),
    ('41', 'your_cells', {}, (59, 34), [(58, 33), (34, 59), (62, 37)]),
    ('41', 'your_conversion', {}, as_conv, [partial(as_conv, bias=False), partial(as_conv, kernel=1)]),
    ('42', 'your_overlap', {}, 200, [60, 18, 100]),
    ('42', 'your_cut', {}, lambda boxes, side: (boxes[:, :2] <= 0).any(1) | (boxes[:, 2:] >= side).any(1),
     [lambda boxes, side: (boxes[:, :2] <= 0).any(1), lambda boxes, side: (boxes[:, :2] > 0).all(1) & (boxes[:, 2:] < side).all(1),
      lambda boxes, side: np.zeros(len(boxes), bool)]),
    ('60', 'your_iou', {}, .547, [.5, 1, .35]),
    ('60', 'your_parts', {}, lambda anchors: (np.sqrt(anchors.prod(1)), anchors[:, 1]/anchors[:, 0]),
     [lambda anchors: (np.sqrt(anchors.prod(1)), anchors[:, 0]/anchors[:, 1]), lambda anchors: (anchors.prod(1), anchors[:, 1]/anchors[:, 0]),
      lambda anchors: (anchors.mean(1), anchors[:, 1]/anchors[:, 0])]),
    ('61', 'your_side', {}, 12, [13, 10, 14]),
    ('61', 'your_correlation', {}, lambda found: np.corrcoef(found)[np.triu_indices(len(found), 1)].mean(),
     [lambda found: np.corrcoef(found).mean(), lambda found: (found[0] == found).mean(), lambda found: found.mean()]),
    ('52', 'your_rate', {}, 16, [.01, 1600, 160]),
    ('52', 'your_negatives', {}, lambda boxes, objects: boxes[(NAMES['box_overlap'](boxes[:, None], objects[None]) == 0).all(1)],
     [lambda boxes, objects: boxes[(NAMES['box_overlap'](boxes[:, None], objects[None]) < .1).all(1)],
      lambda boxes, objects: boxes[(NAMES['box_overlap'](boxes[:, None], objects[None]) == 0).any(1)]]),
    ('02', 'your_batches', {}, 150, [24, 60, 149]),
    ('02', 'your_order', {}, lambda n, seed, epoch, done: np.random.default_rng([seed, epoch]).permutation(n).tolist()[done:],
     [lambda n, seed, epoch, done: np.random.permutation(n).tolist()[done:],
      lambda n, seed, epoch, done: np.random.default_rng(seed).permutation(n).tolist()[done:],
      lambda n, seed, epoch, done: np.random.default_rng([seed, epoch]).permutation(n - done).tolist()]),
    ('03', 'your_loss', {}, np.log(21), [1/21, np.log2(21), 2.3]),
    ('03', 'your_biases', {}, lambda counts: np.log(counts/counts.sum()) + 5,
     [lambda counts: counts/counts.sum(), lambda counts: -np.log(counts/counts.sum()), lambda counts: np.log(counts.sum())]),
    ('10', 'your_reflectance', {}, .2, [.1, .1/np.cos(np.radians(30)), .4]),
    ('10', 'your_ndvi', {}, ndvi(1000), [ndvi(0), ndvi(1000, nodata=None), ndvi(1000, first='uint16')]),
    ('21', 'your_target', {}, target, [lambda dn, mask: mask//255, lambda dn, mask: np.where((dn == 0).any(0), 255, mask//255)]),
    ('21', 'your_epochs', {}, lambda pack, files, store: -(-pack//(files - store)),
     [lambda pack, files, store: pack/(files - store), lambda pack, files, store: pack//files]),
    ('34', 'your_distance', {}, 9.05, [8*(np.tan(np.radians(30)) - np.tan(np.radians(29))), 8*np.tan(np.radians(59))]),
    ('34', 'your_signed', {}, lambda angle, azimuth: np.where(np.cos(np.radians(azimuth)) > 0, -angle, angle),
     [lambda angle, azimuth: np.where(azimuth < 90, -angle, angle), lambda angle, azimuth: angle,
      lambda angle, azimuth: np.where((azimuth < 45) | (azimuth > 315), -angle, angle),
      lambda angle, azimuth: np.where(np.sin(np.radians(azimuth)) > 0, -angle, angle)]),
    ('35', 'your_rank', {}, 18, [17, 19, 17.1]),
    ('35', 'your_coverage', {}, class_coverage,
     [lambda sets, targets: sets.mean(0), lambda sets, targets: np.nan_to_num(class_coverage(sets, targets)),
      lambda sets, targets: class_coverage(sets, targets)[:2]]),
    ('36', 'your_average', {}, 10, [1, 500, .002]),
    ('36', 'your_precision', {}, lambda neighbors, labels: (labels[neighbors] == labels[:, None]).mean(),
     [lambda neighbors, labels: (labels[neighbors] == labels[:, None]).any(1).mean(),
      lambda neighbors, labels: (labels[neighbors[:, 0]] == labels).mean(), lambda neighbors, labels: (neighbors == labels[:, None]).mean()]),
    ('43', 'your_reflectance', {}, .045, [.145, .045 + .2, 1449.9]),
    ('43', 'your_newest', {}, newest_items, [lambda items: items, lambda items: newest_items(items, of_tile=slice(2, 3)),
                                             lambda items: newest_items(items[::-1], rule=lambda one: 0)]),
    ('51', 'your_alpha', {}, .75, [.25, 3, .7]),
    ('51', 'your_recall', {}, lambda called, objects: np.isin(np.unique(objects[objects > 0]), objects[called]).mean(),
     [lambda called, objects: np.mean([called[objects == n].mean() >= .5 for n in (1, 2, 3)]),
      lambda called, objects: called[objects > 0].mean(), lambda called, objects: len(np.unique(objects[called]))/4,
      lambda called, objects: len(np.unique(objects[called]))/3]),
    ('50', 'your_raise', {}, np.log(3), [3, np.log10(3), np.log2(3)]),
    ('50', 'your_adjustment', {}, lambda logits, counts, wanted: logits - np.log(counts/counts.sum()) + np.log(wanted),
     [lambda logits, counts, wanted: logits - np.log(counts), lambda logits, counts, wanted: logits + np.log(wanted),
      lambda logits, counts, wanted: logits*wanted/counts]),
    ('25', 'your_answer', {}, 1.2, [.4, .6, -.1]),
    ('25', 'your_folding', {}, folding, [lambda w, mean, std: (w.sum(1, keepdim=True), torch.zeros(len(w))),
                                         lambda w, mean, std: (folding(w, mean, std)[0], -folding(w, mean, std)[1]),
                                         lambda w, mean, std: (w/std[:, None, None], torch.zeros(len(w)))]),
    ('26', 'your_error', {}, .16875, [.1, .2, .225]),
    ('26', 'your_replacement', {}, without_batch_norm, [lambda model: model, partial(without_batch_norm, deep=False),
                                                        partial(without_batch_norm, groups=1)]),
    ('27', 'your_pixels', {}, 81, [100, 64, 90.25]),
    ('27', 'your_coarser', {}, coarser, [lambda image, factor: image[:, ::factor, ::factor],
                                         lambda image, factor: coarser(np.nan_to_num(image), factor),
                                         lambda image, factor: coarser(image, factor)[0]]),
    ('90', 'your_iou', {}, .5, [.6, .75, 2/3]),
    ('90', 'your_dice', {}, lambda iou: 2*iou/(1 + iou), [lambda iou: iou/(2 - iou), lambda iou: min(2*iou, 1), lambda iou: iou]),
    ('70', 'your_bytes', {}, 4320, [17280, 480*480*9, 480]),
    ('70', 'your_rounding', {}, eight_bits,
     [lambda w: np.round(w/(abs(w).max()/127))*(abs(w).max()/127), lambda w: w, np.round, lambda w: np.round(eight_bits(w)*127/1.27)]),
    ('54', 'your_number', {}, 100, [75, 300, 400]),
    ('54', 'your_diversity', {}, lambda images: images.std(0).mean(),
     [lambda images: images.std(), lambda images: images.std((1, 2, 3)).mean(), lambda images: images.mean(0).std()]),
    ('53', 'your_number', {}, 190, [191, 95, 192]),
    ('53', 'your_variance', {}, lambda z: torch.relu(1 - (z.var(0) + 1e-4).sqrt()).mean(),
     [lambda z: (1 - (z.var(0) + 1e-4).sqrt()).mean(), lambda z: torch.relu(1 - (z.var(0) + 1e-4).sqrt()).sum(),
      lambda z: torch.relu(1 - (z.var(1) + 1e-4).sqrt()).mean()]),
    ('71', 'your_accuracy', {'counts': np.array([18689, 2803, 20602, 2933])}, .938, [.935 - .06, .0622, .25]),
    ('71', 'your_alarm', {},
     lambda log: sorted(tag[4:] for tag, iou in log.items() if tag.startswith('iou/') and max(iou[-3:]) < .1),
     [lambda log: sorted(tag[4:] for tag, iou in log.items() if max(iou[-3:]) < .1),
      lambda log: sorted(tag for tag, iou in log.items() if max(iou[-3:]) < .1),
      lambda log: sorted(tag[4:] for tag, iou in log.items() if tag.startswith('iou/') and min(iou[-3:]) < .1),
      lambda log: sorted(tag[4:] for tag, iou in log.items() if tag.startswith('iou/') and max(iou) < .1)]),
]


@pytest.mark.filterwarnings('ignore:invalid value')
@pytest.mark.parametrize('recipe, name, known, right, wrong', CASES, ids=[f'{c[0]}-{c[1]}' for c in CASES])
def test_only_the_right_answer_passes(recipe, name, known, right, wrong):
    assert ask(recipe, name, right, known).state == 'right'
    for answer in wrong:
        verdict = ask(recipe, name, answer, known)
        assert verdict.state == 'not yet' and verdict.hint, f'{answer!r}: {verdict}'
    assert ask(recipe, name, None, known).state == 'not answered'
