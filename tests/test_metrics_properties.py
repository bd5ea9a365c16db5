"Metrics beside scikit-learn and torchmetrics on generated cases: any shares of classes, empty ones, ties, nothing labeled."
import math
import warnings

import numpy as np
import pytest
import sklearn.metrics as skm
import torch
import torchmetrics.functional.classification as tm
from hypothesis import given, settings, strategies as st
from scipy.ndimage import binary_erosion
from torch import nn

import fastai.callback.progress  # noqa: F401, gives Learner.no_bar
from fastai.data.core import DataLoader, DataLoaders
from fastai.learner import Learner
from fastai.losses import BCEWithLogitsLossFlat, CrossEntropyLossFlat

from sat_recipes import metrics as m

pytestmark = pytest.mark.filterwarnings('ignore')  # the peers warn of what is degenerate
settings.register_profile('few', deadline=None, derandomize=True)
settings.load_profile('few')
many = settings(max_examples=150)
some = settings(max_examples=60)


@st.composite
def maps(draw, most=5):
    "(prediction, truth, classes): codes of which any class may be missing, any share unlabeled."
    n = draw(st.integers(2, most))
    size = draw(st.integers(0, 40))
    code = st.integers(0, draw(st.integers(0, n - 1)))
    truth = draw(st.lists(st.one_of(code, st.just(255)) if draw(st.booleans()) else code, min_size=size, max_size=size))
    guess = draw(st.lists(st.integers(0, n - 1), min_size=size, max_size=size))
    return np.array(guess, int), np.array(truth, int), n


@st.composite
def scored(draw):
    "(scores, positive): with ties, of one kind only, or none at all."
    size = draw(st.integers(0, 40))
    score = st.sampled_from([0, .1, .25, .5, .75, 1]) if draw(st.booleans()) else st.floats(0, 1, width=32)
    return (np.array(draw(st.lists(score, min_size=size, max_size=size)), 'float32'),
            np.array(draw(st.lists(st.booleans(), min_size=size, max_size=size)), bool))


@st.composite
def probabilities(draw):
    "(logits, targets): from flat to certain."
    n, size, seed = draw(st.integers(2, 5)), draw(st.integers(1, 60)), draw(st.integers(0, 10**6))
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(size, n))*draw(st.sampled_from([0, .1, 1, 5, 50]))
    return torch.from_numpy(logits).float(), torch.from_numpy(rng.integers(0, draw(st.integers(1, n)), size))


def close(ours, theirs, tolerance=1e-9): np.testing.assert_allclose(ours, theirs, atol=tolerance, rtol=0)


# --- The table -----------------------------------------------------------------------------------

@many
@given(maps())
def test_scores_of_a_class_are_scikit_learns(case):
    guess, truth, n = case
    ours, kept = m.ConfusionMatrix(n).update(guess, truth), truth != 255
    t, p = truth[kept], guess[kept]
    close(ours.counts, skm.confusion_matrix(t, p, labels=range(n)) if len(t) else np.zeros((n, n)))
    if not len(t):
        for name in m.SCORES:
            assert np.isnan(ours.score(name)).all() and math.isnan(ours.mean(name)), name
        return
    keys = dict(labels=range(n), average=None, zero_division=np.nan)
    for name, theirs in dict(precision=skm.precision_score, recall=skm.recall_score, f1=skm.f1_score, dice=skm.f1_score).items():
        close(ours.score(name), theirs(t, p, **keys))
    close(ours.score('f2'), skm.fbeta_score(t, p, beta=2, **keys))
    jaccard = skm.jaccard_score(t, p, labels=range(n), average=None, zero_division=0)
    close(np.nan_to_num(ours.iou), jaccard)
    each = skm.multilabel_confusion_matrix(t, p, labels=range(n)).astype(float)
    with np.errstate(all='ignore'):
        close(ours.specificity, each[:, 0, 0]/each[:, 0].sum(1))
        close(ours.fpr, each[:, 0, 1]/each[:, 0].sum(1))
    close(ours.prevalence, [(t == c).mean() for c in range(n)])


@many
@given(maps())
def test_scores_of_the_table_are_scikit_learns(case):
    guess, truth, n = case
    t, p = truth[truth != 255], guess[truth != 255]
    ours = m.ConfusionMatrix(n).update(guess, truth)
    if not len(t): return
    close(ours.accuracy, skm.accuracy_score(t, p))
    close(ours.balanced_accuracy, skm.balanced_accuracy_score(t, p))
    close(ours.mcc, skm.matthews_corrcoef(t, p))
    close(ours.kappa, skm.cohen_kappa_score(t, p, labels=range(n)))
    seen = sorted(set(t) | set(p))
    for average in ('macro', 'weighted', 'micro'):
        close(ours.mean('f1', average), skm.f1_score(t, p, labels=seen, average=average, zero_division=0))
        close(ours.mean('iou', average), skm.jaccard_score(t, p, labels=seen, average=average, zero_division=0))
        close(ours.mean('precision', average), skm.precision_score(t, p, labels=seen, average=average, zero_division=0))
        close(ours.mean('recall', average), skm.recall_score(t, p, labels=seen, average=average, zero_division=0))


@some
@given(maps())
def test_torchmetrics_says_the_same(case):
    guess, truth, n = map(torch.as_tensor, case)
    n, labeled = int(n), bool((truth != 255).any())
    ours, keys = m.ConfusionMatrix(n).update(guess, truth), dict(num_classes=n, ignore_index=255)
    if not labeled: return
    assert torch.equal(ours.counts, tm.multiclass_confusion_matrix(guess, truth, **keys))
    for average in ('macro', 'weighted', 'micro'):
        for name, theirs in dict(f1=tm.multiclass_f1_score, precision=tm.multiclass_precision, recall=tm.multiclass_recall).items():
            close(ours.mean(name, average), theirs(guess, truth, average=average, **keys).item(), 1e-6)
    if n > 2:  # of two classes it says 1 where all are right and one class is all there is; scikit-learn says 0
        close(ours.mcc, tm.multiclass_matthews_corrcoef(guess, truth, **keys).item(), 1e-5)


@some
@given(maps(), st.integers(1, 4))
def test_pieces_and_images_add_up(case, images):
    guess, truth, n = case
    guess, truth = np.tile(guess, (images, 1)), np.tile(truth, (images, 1))
    whole = m.ConfusionMatrix(n).update(guess, truth)
    kept = m.ConfusionMatrix(n, per_image=True)
    for p, t in zip(guess, truth): kept.update(p[None], t[None])
    at_once = m.ConfusionMatrix(n, per_image=True).update(guess, truth)
    assert torch.equal(whole.counts, kept.counts) and torch.equal(whole.counts, at_once.counts)
    close(kept.images(), at_once.images())
    close(kept.images().sum(0), whole.counts)
    for name in m.SCORES:
        found = at_once.interval(name, n_resamples=5)
        close(found.value, whole.mean(name))
        if found.units > 1: close([found.low, found.high], [found.value]*2)  # equal images


# --- Curves --------------------------------------------------------------------------------------

@many
@given(scored())
def test_curves_are_scikit_learns(case):
    scores, positive = case
    curve = m.threshold_curve(scores, positive)
    auc, ap = m.roc_auc(scores, positive), m.average_precision(scores, positive)
    assert curve.threshold.is_monotonic_decreasing and curve.tp.iloc[-1] == positive.sum()
    if positive.any(): close(ap, skm.average_precision_score(positive, scores))
    else: assert math.isnan(ap)
    if not positive.any() or positive.all():
        assert math.isnan(auc)
        return
    close(auc, skm.roc_auc_score(positive, scores))
    fpr, tpr, thresholds = skm.roc_curve(positive, scores, drop_intermediate=False)
    close(curve.fpr, fpr), close(curve.recall, tpr), close(curve.threshold[1:], thresholds[1:])
    precision, recall, _ = skm.precision_recall_curve(positive, scores)
    close(curve.precision[1:], precision[:-1][::-1]), close(curve.recall, recall[::-1])
    tensors = torch.from_numpy(scores), torch.from_numpy(positive).long()
    close(auc, tm.binary_auroc(*tensors).item(), 1e-5), close(ap, tm.binary_average_precision(*tensors).item(), 1e-5)


@some
@given(scored(), st.integers(0, 1000))
def test_a_weight_is_as_many_items(case, seed):
    scores, positive = case
    weights = np.random.default_rng(seed).integers(0, 3, len(scores))
    for score in (m.roc_auc, m.average_precision):
        close(score(scores, positive, weights), score(np.repeat(scores, weights), np.repeat(positive, weights)))


def test_scores_that_are_nan_are_refused():
    with pytest.raises(ValueError, match='1 of 3 scores are NaN'): m.roc_auc([0, np.nan, 1], [0, 1, 1])


# --- Calibration ---------------------------------------------------------------------------------

@many
@given(probabilities(), st.sampled_from([1, 10, 15]))
def test_calibration_is_torchmetrics_and_scikit_learns(case, bins):
    logits, targets = case
    p, n = logits.softmax(1), logits.shape[1]
    theirs = tm.multiclass_calibration_error(p, targets, num_classes=n, n_bins=bins, norm='l1').item()
    close(m.expected_calibration_error(p, targets, bins=bins), theirs, 1e-5)
    if p.min() > 1e-12:  # below that scikit-learn says 1e-16
        close(m.negative_log_likelihood(p, targets), skm.log_loss(targets, p.double(), labels=range(n)), 1e-5)
    onehot = np.eye(n)[targets]
    close(m.brier_score(p, targets), ((p.double().numpy() - onehot)**2).sum(1).mean(), 1e-12)
    if n == 2: close(m.brier_score(p, targets)/2, skm.brier_score_loss(targets, p[:, 1].double(), labels=[0, 1], pos_label=1), 1e-6)
    table = m.reliability(p, targets, bins=bins)
    assert table['items'].sum() == len(targets) and (table['items'] > 0).all() and table.confidence.between(1/n - 1e-6, 1).all()


@some
@given(probabilities(), st.integers(1, 3))
def test_kept_predictions(case, batches):
    logits, targets = case
    kept = m.Predictions()
    for one in range(batches): kept.update(logits[one::batches], targets[one::batches])
    assert kept.n_images == len(targets)
    p, n = logits.softmax(1), logits.shape[1]
    for name in m.PROBABILITY_SCORES:
        value, found = kept.score(name), kept.interval(name, n_resamples=3)
        close(value, found.value)
        if name in ('ece', 'brier', 'nll'): close(value, m.PROBABILITY_SCORES[name](p, targets), 1e-6)
        elif n > 2:
            each = [m.PROBABILITY_SCORES[name](p[:, c], targets == c) for c in range(n)]
            close(value, np.nan if np.isnan(each).all() else np.nanmean(each), 1e-6)
    half = kept.take(np.arange(kept.n_images)[::2])
    assert half.n_images == (kept.n_images + 1)//2 == len(half.targets)


@pytest.mark.filterwarnings('error')
def test_nothing_at_all_is_nan_without_a_word():
    none = m.Predictions().update(torch.zeros(2, 3, 4, 4), torch.full((2, 4, 4), 255))
    for name in m.PROBABILITY_SCORES:
        assert math.isnan(none.score(name)) and math.isnan(none.interval(name).value), name
    empty = m.ConfusionMatrix(3, per_image=True).update(torch.zeros(0, 4).long(), torch.zeros(0, 4).long())
    assert math.isnan(empty.interval('iou').value) and empty.by_slice([], 'iou').empty
    unlabeled = m.ConfusionMatrix(3, per_image=True).update(torch.zeros(2, 4).long(), torch.full((2, 4), 255))
    table = unlabeled.by_slice(['a', 'b'], 'iou')
    assert table.value.isna().all() and (table.units == 0).all()
    assert np.isnan(m.boundary_iou(np.zeros((1, 5, 5), int), np.full((1, 5, 5), 255), 2)).all()


def test_kept_predictions_refuse_and_name():
    with pytest.raises(ValueError, match='do not fit'): m.Predictions().update(torch.zeros(2, 3), torch.zeros(3).long())
    with pytest.raises(ValueError, match='target codes 0 to 7'): m.Predictions().update(torch.zeros(2, 3), torch.tensor([0, 7]))
    with pytest.raises(ValueError, match='choose one of roc_auc'): m.Predictions().update(torch.zeros(2, 3), torch.tensor([0, 1])).score('auc')
    with pytest.raises(ValueError, match='call update first'): m.Predictions().score('ece')
    with pytest.raises(ValueError, match='1 slices for 2 images'): m.Predictions().update(torch.zeros(2, 3), torch.tensor([0, 1])).by_slice('a', 'ece')


# --- Boundaries ----------------------------------------------------------------------------------

def their_boundary(mask, ratio=.02):
    "Cheng et al.: the mask without what is left of it after d erosions by 3 x 3, nothing beyond the edge."
    d = max(int(round(ratio*np.hypot(*mask.shape))), 1)
    return mask & ~binary_erosion(mask, np.ones((3, 3)), d, border_value=0)


@some
@given(st.integers(0, 10**6), st.integers(1, 60), st.integers(1, 60), st.sampled_from([.02, .1, .5]))
def test_boundary_iou_is_that_of_its_authors(seed, height, width, ratio):
    rng = np.random.default_rng(seed)
    blobs = np.kron(rng.random((2, -(-height//5), -(-width//5))) < rng.choice([0, .3, .7, 1]), np.ones((5, 5)))[:, :height, :width] > 0
    inside, outside = [], []
    for found, true in (blobs, ~blobs):
        a, b = their_boundary(found, ratio), their_boundary(true, ratio)
        inside.append((a & b).sum()), outside.append((a | b).sum())
    with np.errstate(all='ignore'): theirs = np.array(inside)/np.array(outside)
    close(m.boundary_iou(blobs[:1].astype(int), blobs[1:].astype(int), 2, ratio), theirs[::-1])


def test_ignored_pixels_have_no_outline():
    truth = np.zeros((1, 40, 40), int); truth[0, 10:30, 10:30] = 1
    guess, hidden = truth.copy(), truth.copy()
    hidden[0, :, 20:] = 255
    close(m.boundary_iou(guess, hidden, 2), [1, 1])
    guess[0, 10:30, 8:30] = 1
    assert m.boundary_iou(guess, hidden, 2)[1] < m.ConfusionMatrix(2).update(guess, hidden).iou[1]


# --- Slices and intervals ------------------------------------------------------------------------

def test_worst_slice_first_and_unknown_named():
    truth = np.zeros((6, 10), int); guess = truth.copy()
    guess[:2, :5] = 1; guess[2:4, :2] = 1
    table = m.ConfusionMatrix(2, per_image=True).update(guess, truth).by_slice(['b', 'b', 'a', 'a', None, None], 'accuracy')
    assert table.value.tolist() == [.5, .8, 1] and list(table.index[:2]) == ['b', 'a'] and table.index.isna()[2] and table.units.tolist() == [2, 2, 2]
    high = m.ConfusionMatrix(2, per_image=True).update(guess, truth).by_slice([1, 2, 11, 12, 21, 22], 'fpr', of=1, bins=[0, 10, 20, 30], lowest_first=False)
    assert high.value.tolist() == [.5, .2, 0] and high.index[0].right == 10


def test_blocks_of_a_map_are_units():
    truth, guess = np.zeros((8, 8), int), np.zeros((8, 8), int)
    guess[:4] = 1
    blocks = np.indices((8, 8))[0]//4
    matrix = m.ConfusionMatrix(2, per_image=True).update(guess, truth, blocks)
    assert matrix.images()[:, 0].tolist() == [[0, 32], [32, 0]]
    found = matrix.interval('accuracy')
    assert (found.value, found.low, found.high, found.units) == (.5, 0, 1, 2)


def test_interval_covers_about_as_often_as_it_says():
    rng, hits = np.random.default_rng(0), 0
    for seed in range(100):
        share = rng.beta(8, 2, 40)
        wrong = rng.random((40, 25)) > share[:, None]
        found = m.ConfusionMatrix(2, per_image=True).update(wrong.astype(int), np.zeros((40, 25), int)).interval('accuracy', n_resamples=200, seed=seed)
        hits += found.low <= .8 <= found.high
    assert 88 <= hits <= 99


# --- In a Learner --------------------------------------------------------------------------------

def learner(loss, n_out, *metrics, classes=3):
    torch.manual_seed(0)
    masks = torch.randint(0, classes, (23, 6, 6))
    images = nn.functional.one_hot(masks, classes).permute(0, 3, 1, 2) + .7*torch.randn(23, classes, 6, 6)
    if n_out == 1: masks = masks[:, None].float()
    else: masks[torch.rand(masks.shape) < .2] = 255
    items = list(zip(images, masks))
    dls = DataLoaders(DataLoader(items[:12], bs=4), DataLoader(items[12:], bs=4), device='cpu')
    learn = Learner(dls, nn.Conv2d(classes, n_out, 1), loss_func=loss, metrics=list(metrics))
    with learn.no_bar(), learn.no_logging(): learn.fit(1, lr=.1)
    return learn


def test_probabilities_in_a_learner():
    learn = learner(CrossEntropyLossFlat(axis=1, ignore_index=255), 3, m.ProbabilityScore(of=1), m.ProbabilityScore('ece'),
                    m.BoundaryIoU(), m.ConfusionScore('mcc'), m.ConfusionScore('balanced_accuracy'))
    with torch.no_grad(): logits, y = map(torch.cat, zip(*[(learn.model(x), y) for x, y in learn.dls.valid]))
    flat, t = logits.movedim(1, -1)[y != 255], y[y != 255]
    expected = [skm.average_precision_score(t == 1, flat.softmax(1)[:, 1]), tm.multiclass_calibration_error(flat.softmax(1), t, 3).item(),
                np.nanmean(m.boundary_iou(logits, y, 3)), skm.matthews_corrcoef(t, flat.argmax(1)), skm.balanced_accuracy_score(t, flat.argmax(1))]
    assert list(learn.recorder.metric_names[3:-1]) == ['average_precision_1', 'ece', 'boundary_iou', 'mcc', 'balanced_accuracy']
    close(list(learn.recorder.values[-1])[2:], expected, 1e-6)
    kept, table = learn.predictions(), learn.confusion(per_image=True)
    assert kept.n_images == 11 == len(table.images()) and torch.equal(kept.targets, t)
    assert not table.by_slice(range(11), 'iou', n_resamples=3).value.isna().any()


def test_a_binary_network_has_two_classes():
    learn = learner(BCEWithLogitsLossFlat(), 1, m.ProbabilityScore('roc_auc'), m.ConfusionScore('iou', of=1), classes=2)
    with torch.no_grad(): z, y = map(torch.cat, zip(*[(learn.model(x), y) for x, y in learn.dls.valid]))
    close(list(learn.recorder.values[-1])[2:], [skm.roc_auc_score(y.flatten(), z.flatten()), skm.jaccard_score(y.flatten(), z.flatten() > 0)], 1e-6)


def test_a_new_score_is_defined_in_one_place(monkeypatch):
    monkeypatch.setitem(m.SCORES, 'f3', m.f_beta(3))
    guess, truth = np.array([0, 1, 1, 0]), np.array([0, 1, 0, 1])
    matrix = m.ConfusionMatrix(2).update(guess, truth)
    close(matrix.score('f3'), skm.fbeta_score(truth, guess, beta=3, average=None))
    assert 'f3' in matrix.as_frame() and m.ConfusionScore('f3').name == 'mean_f3'
