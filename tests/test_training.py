"Karpathy's checks find mistakes; two processes on processors: each patch once an epoch, and the training of one process with the doubled batch."
import json
import math
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from fastai.learner import Learner
from fastai.torch_core import set_seed
from matplotlib import pyplot as plt
from torch import nn

from sat_recipes.bands import SENSORS
from sat_recipes.multiband import MultibandDataLoaders
from sat_recipes.raster import write_raster
from sat_recipes.synthetic import write_eurosat_like
from sat_recipes.training import shard

SCRIPT = '''
import json, os, sys
import torch
from torch import nn
from sat_recipes.all import *
from fastai.distributed import *

folder, out, bs = sys.argv[1], sys.argv[2], int(sys.argv[3])
torch.set_num_threads(1)
rank = int(os.environ.get('RANK', 0))
set_seed(7)
dls = MultibandDataLoaders.from_folder(folder, sensor='eurosat', bs=bs, seed=0, device='cpu', num_workers=int(sys.argv[4]))
set_seed(7)
dls.train.rng.seed(11)
model = nn.Sequential(nn.Conv2d(13, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))
seen, losses = [], []

class Note(Callback):
    def before_batch(self):
        if self.training: seen.append([round(float(x), 4) for x in self.xb[0].double().sum((1, 2, 3))])
    def after_epoch(self): losses.append([float(x) for x in self.recorder.log[1:3]])

learn = Learner(dls, model, loss_func=CrossEntropyLossFlat(), opt_func=SGD, lr=.05, cbs=Note())
with learn.no_bar(), learn.no_logging():
    if 'WORLD_SIZE' in os.environ:
        with learn.distrib_ctx(sync_bn=False, cpu=True): learn.fit(3)
    else: learn.fit(3)
weights = torch.cat([p.detach().flatten() for p in learn.model.parameters()]).tolist()
json.dump(dict(seen=seen, losses=losses, weights=weights, n=len(dls.train_ds), store=dls.train.plan is not None), open(f'{out}.{rank}', 'w'))
'''


def run(tmp_path, name, bs, workers=0, launch=()):
    script = tmp_path/'train.py'
    script.write_text(SCRIPT)
    environment = {k: v for k, v in os.environ.items() if k not in ('WORLD_SIZE', 'RANK')} | {'OMP_NUM_THREADS': '1', 'SAT_RECIPES_CACHE': str(tmp_path/'cache'), 'CUDA_VISIBLE_DEVICES': ''}
    command = [sys.executable, *launch, str(script), str(tmp_path/'patches'), str(tmp_path/name), str(bs), str(workers)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(f.read_text()) for f in sorted(tmp_path.glob(f'{name}.[0-9]'))]


@pytest.mark.parametrize('workers', [0, 1])
def test_two_processes_see_each_patch_once_and_train_as_one_with_the_doubled_batch(tmp_path, workers):
    pytest.importorskip('accelerate')
    write_eurosat_like(tmp_path/'patches', 8)
    one, = run(tmp_path, 'one', 16, workers)
    launch = ['-m', 'accelerate.commands.launch', '--multi_gpu', '--num_processes', '2', '--num_machines', '1', '--mixed_precision', 'no', '--dynamo_backend', 'no', '--main_process_port', str(29500 + os.getpid() % 400)]
    two = run(tmp_path, 'two', 8, workers, launch)
    assert len(two) == 2 and one['store'] and all(t['store'] for t in two) and one['n'] == 64
    for epoch in range(3):
        both = sorted(x for t in two for batch in t['seen'][4*epoch:4*epoch + 4] for x in batch)
        assert both == sorted(x for batch in one['seen'][4*epoch:4*epoch + 4] for x in batch) and len(both) == len(set(both)) == 64
    assert torch.allclose(torch.tensor(two[0]['weights']), torch.tensor(one['weights']), atol=1e-5)
    for mine, its in zip(two[0]['losses'], one['losses']): assert abs(mine[1] - its[1]) < 1e-4


@pytest.mark.parametrize('n,world,bs', [(64, 2, 8), (100, 3, 8), (17, 2, 4), (7, 2, 4)])
def test_shards_are_the_batches_of_one_process_in_turn(n, world, bs):
    shards = [shard(list(range(n)), rank, world, bs) for rank in range(world)]
    together = [p for i in range(n//(bs*world)) for s in shards for p in s[i*bs:(i + 1)*bs]]
    assert together == list(range(n//(bs*world)*bs*world))


# --- The first hour ------------------------------------------------------------------------------

@pytest.fixture(scope='module')
def patches(tmp_path_factory):
    torch.set_num_threads(1)
    folder = write_eurosat_like(tmp_path_factory.mktemp('patches'), 8)
    return MultibandDataLoaders.from_folder(folder, sensor='eurosat', bs=16, seed=0, valid_pct=.4, size=16, device='cpu', num_workers=0)


def network(n_out=10):
    set_seed(1)
    return nn.Sequential(nn.Conv2d(13, 32, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Dropout(.9), nn.Linear(512, n_out))


def large(net):
    net[-1].weight.data *= 50
    return net


class Blind(nn.Module):
    def forward(self, x): return x*0


def test_a_sound_network_passes_and_stays_as_it_is(patches):
    learn = Learner(patches, network())
    before = {name: value.clone() for name, value in learn.model.state_dict().items()}
    state = torch.get_rng_state()
    found, again = (learn.first_hour(steps=150, items=48, show=False) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state) and learn.model.training
    assert all(torch.equal(before[name], value) for name, value in learn.model.state_dict().items())
    assert found.losses == again.losses and found.accuracies == again.accuracies
    checks = found.checks()
    assert checks.passed.all(), checks
    assert found.start == pytest.approx(math.log(10), rel=.2) and sum(found.prior) == pytest.approx(1)
    np.testing.assert_allclose(found.answer, found.prior, atol=.05)
    entropy = -sum(p*math.log(p) for p in found.prior if p)
    assert checks.found['loss with zeros'] == pytest.approx(entropy, abs=.1)
    assert len(found.show()) == 3
    plt.close('all')


@pytest.mark.parametrize('make, caught', [
    (lambda: nn.Sequential(*network(), nn.Softmax(1)), 'loss of one batch'), (lambda: large(network()), 'loss at the start'),
    (lambda: nn.Sequential(Blind(), network()), 'loss with images')])
def test_mistakes_are_caught(patches, make, caught):
    assert not Learner(patches, make()).first_hour(steps=60, show=False).checks().passed[caught]


def test_frozen_bodies_and_masks_are_checked_too(patches, tmp_path):
    learn = Learner(patches, network())
    for p in learn.model[0].parameters(): p.requires_grad_(False)
    assert learn.first_hour(steps=100, items=16, show=False).checks().passed['loss of one batch']
    assert not learn.model[0].weight.requires_grad
    dn = np.random.default_rng(0).integers(500, 4000, (4, 48, 64)).astype('uint16')
    mask = np.where(dn[3] > 2500, 1, 0).astype('uint8')
    mask[:8] = 255
    files = write_raster(tmp_path/'scene.tif', dn, band_names=['B02', 'B03', 'B04', 'B08']), write_raster(tmp_path/'mask.tif', mask)
    dls = MultibandDataLoaders.from_scenes(*files, codes=['dark', 'bright'], size=16, bs=4, sensor=SENSORS['sentinel2_l2a'].select(['B02', 'B03', 'B04', 'B08']),
                                           device='cpu', num_workers=0)
    found = Learner(dls, nn.Conv2d(4, 2, 1)).first_hour(steps=150, lr=5e-2, show=False)
    known = mask[mask != 255]
    assert found.prior[1] == pytest.approx(known.mean(), abs=.1) and found.losses['images'][-1] < .3


def test_numbers_are_no_classes(tmp_path):
    files = sorted(write_eurosat_like(tmp_path, 1).rglob('*.tif'))
    dls = MultibandDataLoaders.from_df(pd.DataFrame(dict(file=files, height=np.arange(len(files))/3)), sensor='eurosat', bs=2, seed=0, store=None)
    with pytest.raises(ValueError, match='no classes'): Learner(dls, network(1)).first_hour()
