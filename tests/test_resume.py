"Training that is killed at any moment and started again ends in the weights of a run that was never stopped, bit for bit."
import os
import random
import signal
import time
from pathlib import Path

import pytest
import torch
from fastai.callback.mixup import MixUp
from fastai.callback.schedule import *
from fastai.learner import Callback, Learner
from fastai.metrics import accuracy
from fastai.torch_core import params, set_seed
from torch import nn

from sat_recipes.augment import D4, Gain
import sat_recipes.losses
from sat_recipes.multiband import MultibandDataLoaders
from sat_recipes.synthetic import write_eurosat_like
from sat_recipes.training import Resumable, ResumeError

KILLS = int(os.environ.get('SAT_RECIPES_KILLS', 3))
METHODS = {
    'one_cycle': lambda learn, cbs: learn.fit_one_cycle(3, 1e-2, cbs=cbs),
    'flat_cos': lambda learn, cbs: learn.fit_flat_cos(3, 1e-2, cbs=cbs),
    'fine_tune': lambda learn, cbs: learn.fine_tune(2, 1e-2, freeze_epochs=1, cbs=cbs),
}


@pytest.fixture(scope='module')
def patches(tmp_path_factory):
    return write_eurosat_like(tmp_path_factory.mktemp('patches'), 5)


def network():
    body = nn.Sequential(nn.Conv2d(13, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout2d(.2))
    return nn.Sequential(body, nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(.5), nn.Linear(8, 10)))


def train(patches, folder, method, workers=0, seconds=0., stop=()):
    "Final weights; as a user would write it, with what draws random numbers wherever fastai lets it."
    torch.set_num_threads(1)
    set_seed(random.randrange(2**31))  # the loaders of each run are other ones: what counts comes from the callback
    dls = MultibandDataLoaders.from_folder(patches, sensor='eurosat', bs=8, seed=0, num_workers=workers, batch_tfms=[D4(), Gain()])
    set_seed(3)
    learn = Learner(dls, network(), splitter=lambda m: [params(m[0]), params(m[1])], metrics=accuracy, path=folder)
    with learn.no_bar(), learn.no_logging(): METHODS[method](learn, [Resumable(folder/'training.pth', seconds), MixUp(), *stop])
    return torch.cat([v.detach().flatten().double() for v in learn.model.state_dict().values()])


class Stop(Callback):
    def __init__(self, at): self.at, self.seen = at, 0
    def before_batch(self):
        if not self.training: return
        self.seen += 1
        if self.seen == self.at: raise KeyboardInterrupt


@pytest.mark.parametrize('workers', [0, 2])
@pytest.mark.parametrize('method', METHODS)
def test_stopped_twice_and_gone_on_is_never_stopped(patches, tmp_path, method, workers):
    for name in 'ab': (tmp_path/name).mkdir()
    whole = train(patches, tmp_path/'a', method, workers)
    for at in (8, 3):
        with pytest.raises(KeyboardInterrupt): train(patches, tmp_path/'b', method, workers, stop=[Stop(at)])
    assert torch.equal(train(patches, tmp_path/'b', method, workers), whole)


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs fork')
@pytest.mark.parametrize('method', METHODS)
def test_killed_at_random_moments(patches, tmp_path, method):
    (tmp_path/'a').mkdir()
    began = time.monotonic()
    whole = train(patches, tmp_path/'a', method)
    lasts, draw = time.monotonic() - began, random.Random(method)
    for kill in range(KILLS):
        folder = tmp_path/f'b{kill}'
        folder.mkdir()
        for _ in range(2):  # the resumed run is killed, too
            if not (child := os.fork()):
                try: train(patches, folder, method)
                finally: os._exit(0)
            time.sleep(draw.uniform(.1, 1)*lasts)
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        assert torch.equal(train(patches, folder, method), whole), f'kill {kill}'


def test_balanced_batches_stay_balanced(patches, tmp_path):
    dls = MultibandDataLoaders.from_folder(patches, sensor='eurosat', bs=8, seed=0, num_workers=0).balance()
    drawn = dls.train.get_idxs
    learn = Learner(dls, network())
    with learn.no_bar(), learn.no_logging(): learn.fit(1, cbs=Resumable(tmp_path/'t.pth', 0))
    assert dls.train.get_idxs is drawn


def test_history_comes_back(patches, tmp_path):
    def losses(folder, *stop):
        folder.mkdir(exist_ok=True)
        dls = MultibandDataLoaders.from_folder(patches, sensor='eurosat', bs=8, seed=0, num_workers=0)
        set_seed(3)
        learn = Learner(dls, network(), metrics=accuracy)
        with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(3, cbs=[Resumable(folder/'t.pth', 0), *stop])
        return [list(row) for row in learn.recorder.values], learn.recorder.lrs
    whole = losses(tmp_path/'a')
    with pytest.raises(KeyboardInterrupt): losses(tmp_path/'b', Stop(12))
    assert losses(tmp_path/'b') == whole and len(whole[0]) == 3


@pytest.mark.parametrize('spoil', [lambda f: f.write_bytes(b''), lambda f: f.write_bytes(f.read_bytes()[:900]), lambda f: torch.save([1], f),
                                   lambda f: torch.save(nn.Linear(1, 1), f)])
def test_other_files_are_refused(patches, tmp_path, spoil):
    train(patches, tmp_path, 'one_cycle')
    spoil(tmp_path/'training.pth')
    with pytest.raises(ResumeError, match=r'training\.pth .*(remove it)'): train(patches, tmp_path, 'one_cycle')


def test_another_training_is_refused(patches, tmp_path):
    train(patches, tmp_path, 'one_cycle')
    state = torch.load(tmp_path/'training.pth', weights_only=True)
    torch.save({**state, 'epochs': [7]}, tmp_path/'training.pth')
    with pytest.raises(ResumeError, match='7 epochs, this has 3'): train(patches, tmp_path, 'one_cycle')
    torch.save({**state, 'about': ['other']}, tmp_path/'training.pth')
    with pytest.raises(ResumeError, match='another training'): train(patches, tmp_path, 'one_cycle')
