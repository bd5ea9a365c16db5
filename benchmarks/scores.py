"""Confusion counts beside torchmetrics, COCO's average precision beside pycocotools, and how long an import takes."""
import contextlib
import io
import subprocess
import sys

import numpy as np
import torch

from harness import compare, fastest, side_by_side
from sat_recipes.metrics import ConfusionMatrix


# --- Confusion -----------------------------------------------------------------------------------

def confusion(pixels=1_000_000, classes=10, repeats=30):
    "Counting pairs of codes, ours with a look at whether the codes make sense, the peer without; the counts are compared too."
    from torchmetrics.classification import MulticlassConfusionMatrix
    from torchmetrics.functional.classification import multiclass_confusion_matrix
    truth, guess = torch.randint(0, classes, (2, pixels), generator=torch.manual_seed(0))
    ours = lambda: ConfusionMatrix(classes).update(guess, truth)
    ways = {'class': lambda: MulticlassConfusionMatrix(classes, validate_args=False).update(guess, truth),
            'function': lambda: multiclass_confusion_matrix(guess, truth, classes, validate_args=False)}
    assert torch.equal(torch.as_tensor(ours().counts), ways['function']())
    name, peer, tried = fastest(ways, 3)
    return compare('confusion matrix', f'{pixels/1e6:g} Mpx, {classes} classes', 'ConfusionMatrix, checked', f'torchmetrics {name}, validate_args=False',
                   *side_by_side(ours, peer, repeats), at_least=1, tried=tried)


# --- Average precision ---------------------------------------------------------------------------

def boxes(images, each, classes=10, seed=0):
    "(truth, detections) as COCO's files have them: detections are true boxes moved a little, some of another class, and some that are nowhere."
    rng, n = np.random.default_rng(seed), images*each
    box = np.concatenate([rng.uniform(0, 400, (n, 2)), rng.uniform(8, 120, (n, 2))], 1)
    kind = rng.integers(1, classes + 1, n)
    found, scores = box + rng.normal(0, 6, box.shape)*(rng.random((n, 1)) < .7), rng.random(n)
    found[rng.random(n) < .2, :2] += 200
    named = np.where(rng.random(n) < .1, rng.integers(1, classes + 1, n), kind)
    truth = [dict(id=i + 1, image_id=i % images + 1, category_id=int(k), bbox=b.tolist(), area=float(b[2]*b[3]), iscrowd=0) for i, (b, k) in enumerate(zip(box, kind))]
    guess = [dict(image_id=i % images + 1, category_id=int(k), bbox=np.maximum(b, 1).tolist(), score=float(s)) for i, (b, k, s) in enumerate(zip(found, named, scores))]
    return dict(info={}, images=[dict(id=i + 1, width=640, height=640) for i in range(images)], annotations=truth,
                categories=[dict(id=k, name=str(k)) for k in range(1, classes + 1)]), guess


def evaluated(coco_class, eval_class, truth, guess):
    "The twelve numbers of COCO, from lists in memory."
    with contextlib.redirect_stdout(io.StringIO()):
        coco = coco_class()
        coco.dataset = truth
        coco.createIndex()
        run = eval_class(coco, coco.loadRes(guess), 'bbox')
        run.evaluate(), run.accumulate(), run.summarize()
    return np.array(run.stats[:12])


def average_precision(images=500, each=40, repeats=2):
    "The evaluator that sat_recipes takes, beside the reference; met only when both give the same numbers."
    import faster_coco_eval
    import pycocotools.coco
    import pycocotools.cocoeval
    truth, guess = boxes(images, each)
    ours = lambda: evaluated(faster_coco_eval.COCO, faster_coco_eval.COCOeval_faster, truth, guess)
    peer = lambda: evaluated(pycocotools.coco.COCO, pycocotools.cocoeval.COCOeval, truth, guess)
    apart = float(abs(ours() - peer()).max())
    row = compare('COCO average precision', f'{images} images, {images*each} boxes', 'faster-coco-eval', 'pycocotools', *side_by_side(ours, peer, repeats, warm=False),
                  at_least=8, tried=f'AP {ours()[0]:.4f}; largest difference of the twelve numbers {apart:.1e}')
    if apart > 1e-9: row.met = 'no'
    return row


# --- Import --------------------------------------------------------------------------------------

def fresh(code): return lambda: subprocess.run([sys.executable, '-c', code], check=True, capture_output=True)


def imports(repeats=5):
    "A fresh interpreter that imports: the lowest module, a target in seconds; all of it, beside fastai alone."
    size, ours = 'a fresh interpreter', 'import sat_recipes.bands'
    yield compare(ours, size, ours, 'the interpreter alone', *side_by_side(fresh(ours), fresh('pass'), repeats), at_most=.5, absolute=True)
    ours, peer = 'from sat_recipes.all import *', 'from fastai.vision.all import *'
    yield compare('import sat_recipes.all', size, ours, peer, *side_by_side(fresh(ours), fresh(peer), repeats), at_most=1.3)


def rows():
    "All of this theme, row by row."
    yield confusion()
    yield average_precision()
    yield from imports()
