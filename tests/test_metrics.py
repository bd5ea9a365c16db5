"The confusion matrix against scikit-learn and torchmetrics, and its behavior inside a Learner."
import pickle

import numpy as np
import pytest
import sklearn.metrics as skm
import torch
import torchmetrics.functional.classification as tm
from torch import nn

import fastai.callback.progress  # noqa: F401, gives Learner.no_bar
from fastai.data.core import DataLoader, DataLoaders
from fastai.learner import Learner
from fastai.losses import CrossEntropyLossFlat
from fastai.torch_core import TensorImage, TensorMask

from sat_recipes.metrics import (SCORES, KappaScore, ConfusionMatrix, ConfusionScore, MacroF1, MeanIoU, PixelAccuracy)

N = 5


def maps(seed=0, shape=(6, 20, 20), absent=()):
    "Two maps that agree in part, a tenth unlabeled; `absent` classes occur in neither."
    rng = np.random.default_rng(seed)
    codes = [c for c in range(N) if c not in absent]
    truth = rng.choice(codes, shape)
    mapped = np.where(rng.random(shape) < .6, truth, rng.choice(codes, shape))
    truth[rng.random(shape) < .1] = 255
    return torch.from_numpy(mapped), torch.from_numpy(truth)


def filled(mapped, truth): return ConfusionMatrix(N).update(mapped, truth)


@pytest.mark.parametrize('absent', [(), (3,), (0, 4)])
def test_equals_sklearn(absent):
    mapped, truth = maps(absent=absent)
    t, p = truth[truth != 255].numpy(), mapped[truth != 255].numpy()
    ours, there = filled(mapped, truth), [c for c in range(N) if c not in absent]
    np.testing.assert_array_equal(ours.counts, skm.confusion_matrix(t, p, labels=range(N)))
    precision, recall, f1, support = skm.precision_recall_fscore_support(t, p, labels=there)
    jaccard = skm.jaccard_score(t, p, labels=there, average=None)
    for name, theirs in dict(precision=precision, recall=recall, f1=f1, dice=f1, iou=jaccard).items():
        np.testing.assert_allclose(getattr(ours, name)[there], theirs, atol=1e-12)
        assert np.isnan(getattr(ours, name)[list(absent)]).all()
    assert ours.support[there].tolist() == support.tolist()
    assert ours.accuracy == pytest.approx(skm.accuracy_score(t, p), abs=1e-12)
    assert ours.kappa == pytest.approx(skm.cohen_kappa_score(t, p), abs=1e-12)
    for average in ('macro', 'micro', 'weighted'):
        assert ours.mean('iou', average) == pytest.approx(skm.jaccard_score(t, p, average=average), abs=1e-12)
        for i, name in enumerate(('precision', 'recall', 'f1')):
            theirs = skm.precision_recall_fscore_support(t, p, average=average)[i]
            assert ours.mean(name, average) == pytest.approx(theirs, abs=1e-12)


@pytest.mark.parametrize('absent', [(), (2,)])
def test_equals_torchmetrics(absent):
    mapped, truth = maps(1, absent=absent)
    ours, keys = filled(mapped, truth), dict(num_classes=N, ignore_index=255)
    assert torch.equal(ours.counts, tm.multiclass_confusion_matrix(mapped, truth, **keys))
    theirs = dict(precision=tm.multiclass_precision, recall=tm.multiclass_recall, f1=tm.multiclass_f1_score,
                  iou=tm.multiclass_jaccard_index, specificity=tm.multiclass_specificity)
    for name, score in theirs.items():
        if name == 'specificity' and absent: continue  # torchmetrics leaves the absent class out; its specificity of 1 is defined
        for average in ('macro', 'weighted'):
            assert ours.mean(name, average) == pytest.approx(score(mapped, truth, average=average, **keys).item(), abs=1e-6), (name, average)
    assert ours.kappa == pytest.approx(tm.multiclass_cohen_kappa(mapped, truth, **keys).item(), abs=1e-6)


def test_class_never_predicted_costs_macro_precision():
    "0/0 is shown as NaN, but a class that is there and ignored counts as 0 in the mean, as for sklearn and torchmetrics."
    truth, mapped = torch.tensor([0, 0, 1, 2]), torch.tensor([0, 0, 1, 1])
    ours = ConfusionMatrix(4).update(mapped, truth)
    assert np.isnan(ours.precision).tolist() == [False, False, True, True]
    assert ours.mean('precision') == pytest.approx(skm.precision_score(truth, mapped, average='macro', zero_division=0))
    assert ours.mean('precision') == pytest.approx(tm.multiclass_precision(mapped, truth, num_classes=4, average='macro').item())
    swapped = ConfusionMatrix(4).update(truth, mapped)  # class 2 predicted, never true
    assert np.isnan(swapped.recall[2]) and swapped.iou[2] == 0 and swapped.mean('recall') == pytest.approx(ours.mean('precision'))


@pytest.mark.filterwarnings('error')
def test_nothing_counted_is_nan_everywhere():
    empty = ConfusionMatrix(3).update(torch.zeros(4, dtype=torch.long), torch.full((4,), 255))
    assert np.isnan([empty.accuracy, empty.kappa] + [empty.mean(s, a) for s in SCORES for a in ('macro', 'weighted', 'micro')]).all()
    assert empty.as_frame().drop(columns='support').isna().all().all() and '0 items' in repr(empty)
    empty.plot(), empty.plot(None)


def test_empty_batch():
    assert ConfusionMatrix(3).update(torch.zeros(0, 4, dtype=torch.long), torch.zeros(0, 4, dtype=torch.long)).total == 0


def test_one_class_only():
    one = ConfusionMatrix(2).update([0, 0, 0], [0, 0, 0])
    assert one.accuracy == 1 and np.isnan(one.kappa) and np.isnan(one.fpr[0]) and one.mean('iou') == 1


def test_streaming_equals_one_shot():
    mapped, truth = maps(2)
    whole, stream = filled(mapped, truth), ConfusionMatrix(N)
    for m, t in zip(mapped.split(4), truth.split(4)): stream.update(m, t)
    parts = [filled(m, t) for m, t in zip(mapped, truth)]
    total = parts[0] + parts[1]
    for part in parts[2:]: total.merge(part)
    assert torch.equal(whole.counts, stream.counts) and torch.equal(whole.counts, total.counts) and torch.equal(whole.counts, sum(parts).counts)
    assert torch.equal(parts[0].counts, filled(mapped[0], truth[0]).counts)  # + left its operands alone
    assert stream.reset().counts.sum() == 0 and torch.equal(whole.counts, pickle.loads(pickle.dumps(whole)).counts)


def test_kinds_of_input():
    mapped, truth = maps(3)
    expected, logits = filled(mapped, truth).counts, nn.functional.one_hot(mapped, N).movedim(-1, 1).float()
    inputs = [(logits, truth), (logits.half(), truth), (mapped.numpy().astype('uint8'), truth.numpy().astype('uint8')), (mapped.tolist(), truth.tolist()),
              (mapped.numpy().astype('uint16'), truth.numpy().astype('int16')), (TensorImage(logits), TensorMask(truth)), (mapped.int(), truth.to(torch.uint8))]
    for predictions, targets in inputs: assert torch.equal(filled(predictions, targets).counts, expected)
    assert torch.equal(filled(logits.requires_grad_(), truth).counts, expected)
    scene = mapped[0].numpy().astype('uint8')
    scene.flags.writeable = False  # as memory-mapped arrays are
    assert filled(scene, truth[0]).counts.sum() == (truth[0] != 255).sum()


@pytest.mark.filterwarnings('error')
def test_ignored_targets_may_have_any_prediction():
    other = ConfusionMatrix(2, ignore_index=-1).update([0, 255, 1], [0, -1, 1])
    assert other.counts.tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize('ignore_index', [255, -1, -100, 0, 2, 5, 4_000_000])
def test_any_code_may_be_the_ignored_one(ignore_index):
    mapped, truth = maps(5)
    truth[truth == 255] = ignore_index
    t, p = truth[truth != ignore_index], mapped[truth != ignore_index]
    odd = torch.where(truth == ignore_index, torch.tensor(77), mapped)  # what is predicted there does not matter
    for predictions in (mapped, odd):
        counts = ConfusionMatrix(N, ignore_index=ignore_index).update(predictions, truth).counts
        np.testing.assert_array_equal(counts, skm.confusion_matrix(t, p, labels=range(N)))


@pytest.mark.parametrize('predictions, targets, message', [
    ([0, 3], [0, 1], 'prediction codes 0 to 3, expected 0 to 2'),
    ([0, 1], [0, -1], 'target codes -1 to 0'),
    ([0, 1, 2], [0, 3, 255], 'target codes 0 to 3'),
    ([0, 1], [0, 300], 'target codes 0 to 300'),
    ([0, 1], [0, 9_000_000], 'target codes 0 to 9000000'),
    ([0, 1], [0], 'do not fit'),
    (torch.rand(4), torch.zeros(4, dtype=torch.long), 'do not fit'),
    (torch.rand(2, 4, 3, 3), torch.zeros(2, 3, 3, dtype=torch.long), '3 classes on axis 1'),
])
def test_refuses(predictions, targets, message):
    matrix = ConfusionMatrix(3)
    with pytest.raises(ValueError, match=message): matrix.update(predictions, targets)
    assert matrix.counts.sum() == 0


def test_refuses_other_classes():
    with pytest.raises(ValueError, match='Classes differ'): ConfusionMatrix('ab').merge(ConfusionMatrix('ac'))
    with pytest.raises(ValueError, match='for 3 classes'): ConfusionMatrix.from_counts([[1, 0], [0, 1]], 'abc')
    with pytest.raises(ValueError, match="choose 'macro'"): ConfusionMatrix(2).mean('iou', 'makro')
    with pytest.raises(ValueError, match='No score'): ConfusionMatrix(2).score('miou')


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_counts_stay_on_the_gpu():
    mapped, truth = maps(4)
    there = filled(mapped.cuda(), truth.cuda())
    assert there.counts.is_cuda and torch.equal(there.counts.cpu(), filled(mapped, truth).counts)
    assert torch.equal((filled(mapped, truth) + there).counts, 2*filled(mapped, truth).counts) and there.mean('iou') > 0


def test_plot_shows_the_numbers():
    table = ConfusionMatrix.from_counts([[8, 2], [0, 0]], ['land', 'water'])
    shown = lambda how: [t.get_text() for t in table.plot(how).texts]
    assert shown(None) == ['8', '2', '0', '0'] and shown('true') == ['0.80', '0.20', '', ''] and shown('pred') == ['1.00', '1.00', '0.00', '0.00']
    with pytest.raises(ValueError, match='normalize'): table.plot('rows')


@pytest.fixture
def learn():
    torch.manual_seed(0)
    masks = torch.randint(0, 3, (23, 4, 4))
    images = nn.functional.one_hot(masks, 3).permute(0, 3, 1, 2) + .7*torch.randn(23, 3, 4, 4)
    masks[torch.rand(masks.shape) < .2] = 255
    items = list(zip(images, masks))
    dls = DataLoaders(DataLoader(items[:12], bs=4, drop_last=True), DataLoader(items[12:], bs=4), device='cpu')
    dls.vocab = ['a', 'b', 'c']
    metrics = [PixelAccuracy(), MeanIoU(), MacroF1(), KappaScore(), ConfusionScore('recall', of='b'), ConfusionScore('iou', of=2)]
    learn = Learner(dls, nn.Conv2d(3, 3, 1), loss_func=CrossEntropyLossFlat(axis=1, ignore_index=255), metrics=metrics)
    with learn.no_bar(), learn.no_logging(): learn.fit(2, lr=.1)
    return learn


def test_metrics_in_a_learner(learn):
    "The last epoch's columns are the scores of all its pixels at once, computed by others."
    with torch.no_grad(): mapped, truth = map(torch.cat, zip(*[(learn.model(x).argmax(1), y) for x, y in learn.dls.valid]))
    t, p = truth[truth != 255], mapped[truth != 255]
    expected = [skm.accuracy_score(t, p), skm.jaccard_score(t, p, average='macro'), skm.f1_score(t, p, average='macro'),
                skm.cohen_kappa_score(t, p), skm.recall_score(t, p, average=None)[1], skm.jaccard_score(t, p, average=None)[2]]
    assert list(learn.recorder.metric_names[3:-1]) == ['pixel_accuracy', 'mean_iou', 'macro_f1', 'kappa', 'recall_b', 'iou_2']
    np.testing.assert_allclose(list(learn.recorder.values[-1])[2:], expected, atol=1e-12)
    assert len(pickle.dumps(MeanIoU())) and MeanIoU().value is None


def test_learner_confusion(learn):
    before, callbacks = [list(v) for v in learn.recorder.values], [cb.name for cb in learn.cbs]
    matrix, training = learn.confusion(), learn.confusion(0)
    assert torch.equal(learn.confusion(dl=learn.dls.valid).counts, matrix.counts)
    with pytest.raises(ValueError, match='no batch'): learn.confusion(dl=DataLoader([], bs=2))
    assert matrix.classes == ['a', 'b', 'c'] and matrix.mean('iou') == pytest.approx(before[-1][3])
    assert training.counts.sum() == sum((y != 255).sum() for _, y in learn.dls.train)
    assert [list(v) for v in learn.recorder.values] == before and {cb.name for cb in learn.cbs} == set(callbacks)
    with learn.no_bar(), learn.no_logging(): learn.fit(1)  # still in working order
