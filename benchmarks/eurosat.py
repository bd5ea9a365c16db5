"""Accuracy on files that training has not seen: the README's lines on the 137 labeled EuroSAT patches, in five folds."""
import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
from fastai.metrics import accuracy
from fastai.torch_core import set_seed
from sklearn.model_selection import StratifiedKFold

from harness import compare
from sat_recipes.augment import D4
from sat_recipes.multiband import MultibandDataLoaders
from sat_recipes.transfer import multiband_learner

BASELINES = 'logistic regression: band statistics 71 %, ImageNet features of RGB 82 %, of four composites 87 %'
LIMIT = 180.  # seconds a fold on a processor


def patches():
    "The folder of real patches, or None."
    folder = Path(os.environ.get('SAT_RECIPES_DATA', ''))/'eurosat_ms'
    return folder if folder.is_dir() else None


def train(files, labels, held_back, epochs=20):
    "The README's lines with a fold held back; returns its accuracy."
    table = pd.DataFrame(dict(file=files, label=labels, held_back=held_back))
    set_seed(0, reproducible=True)
    dls = MultibandDataLoaders.from_df(table, fn_col='file', label_col='label', valid_col='held_back', sensor='eurosat', bs=16, batch_tfms=D4())
    learn = multiband_learner(dls, metrics=accuracy)
    with learn.no_bar(), learn.no_logging(): learn.fine_tune(epochs, base_lr=6e-3, freeze_epochs=3, lr_mult=5)
    return float(learn.validate()[1])


def rows(n_folds=5, **kwargs):
    "All of this theme, row by row; nothing where the data are not there."
    folder = patches()
    if folder is None: return
    files = sorted(map(str, folder.rglob('*.tif')))
    labels = [Path(f).parent.name for f in files]
    scores, times, sizes = [], [], []
    for _, held_back in StratifiedKFold(n_folds, shuffle=True, random_state=0).split(files, labels):
        start = time.perf_counter()
        scores.append(100*train(files, labels, np.isin(np.arange(len(files)), held_back), **kwargs))
        times.append(time.perf_counter() - start)
        sizes.append(len(held_back))
    size, ours = f'{len(files)} patches, {n_folds} folds', "the README's lines"
    yield compare('EuroSAT, accuracy on unseen files', size, ours, BASELINES, [float(np.average(scores, weights=sizes))], [87.], at_least=92,
                  absolute=True, unit='%', tried='folds: ' + ', '.join(f'{s:.1f}' for s in scores))
    yield compare('EuroSAT, time of the slowest fold', size, ours, 'the limit', [max(times)], [LIMIT], at_most=LIMIT, absolute=True)
