"""Confusion counts beside torchmetrics, COCO's average precision beside pycocotools, and how long an import takes."""
import contextlib
import io
import subprocess
import sys

import numpy as np
import torch

from harness import compare, fastest, faster, side_by_side, verdict
from sat_recipes.metrics import ConfusionMatrix


# --- Confusion -----------------------------------------------------------------------------------

def torchmetrics_ways(guess, truth, classes, check):
    "The class and the function."
    from torchmetrics.classification import MulticlassConfusionMatrix
    from torchmetrics.functional.classification import multiclass_confusion_matrix
    return {'class': lambda: MulticlassConfusionMatrix(classes, validate_args=check).update(guess, truth),
            'function': lambda: multiclass_confusion_matrix(guess, truth, classes, validate_args=check)}


def confusion(check, pixels=1_000_000, classes=10, repeats=30, at_least=None):
    "Counting pairs of codes, ours always with a look at whether the codes make sense; the counts are compared too."
    truth, guess = torch.randint(0, classes, (2, pixels), generator=torch.manual_seed(0))
    ours, ways = lambda: ConfusionMatrix(classes).update(guess, truth), torchmetrics_ways(guess, truth, classes, check)
    assert torch.equal(ours().counts, ways['function']())
    name, peer, tried = fastest(ways, 3)
    times = side_by_side({'ours': ours, 'peer': peer}, repeats)
    what = 'confusion' if check else 'confusion, the peer unchecked'
    return faster(what, f'{pixels/1e6:g} Mpx, {classes} classes', 'ConfusionMatrix, checked', f'torchmetrics {name}, validate_args={check}',
                  times['ours'], times['peer'], at_least, tried=tried)


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


def average_precision(images=500, each=40, repeats=2, at_least=8, tolerance=1e-9):
    "The evaluator that sat_recipes takes, beside the reference; met only when both give the same numbers."
    import faster_coco_eval
    import pycocotools.coco
    import pycocotools.cocoeval
    truth, guess = boxes(images, each)
    ours = lambda: evaluated(faster_coco_eval.COCO, faster_coco_eval.COCOeval_faster, truth, guess)
    peer = lambda: evaluated(pycocotools.coco.COCO, pycocotools.cocoeval.COCOeval, truth, guess)
    apart = float(abs(ours() - peer()).max())
    times = side_by_side({'ours': ours, 'peer': peer}, repeats, warm=False)
    row = faster('COCO average precision', f'{images} images, {images*each} boxes', 'faster-coco-eval', 'pycocotools', times['ours'], times['peer'], at_least,
                 tried=f'AP {ours()[0]:.4f}; largest difference of the twelve numbers {apart:.1e}')
    if apart > tolerance: row.met = 'no'
    return row


# --- Import --------------------------------------------------------------------------------------

def import_time(repeats=5, at_most=.5):
    "A fresh interpreter that imports the lowest module, beside one that does nothing; the target is for the seconds, not the ratio."
    fresh = lambda code: lambda: subprocess.run([sys.executable, '-c', code], check=True)
    times = side_by_side({'ours': fresh('import sat_recipes.bands'), 'peer': fresh('pass')}, repeats)
    best = min(times['ours'])
    return compare('import sat_recipes.bands', 'a fresh interpreter', 'import', 'the interpreter alone', times['ours'], times['peer'], best/min(times['peer']),
                   *verdict(best, at_most=at_most, unit=' s'))


def rows():
    "All of this theme, row by row."
    yield confusion(True, at_least=10)
    yield confusion(False)
    yield average_precision()
    yield import_time()
