"""From files to batches: an epoch over 13-band patches, the first one and a later one, beside torchgeo and beside memory itself."""
import os
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Subset

from data import FOLDER, patches
from harness import fastest, faster, side_by_side
from fastai.torch_core import default_device
from sat_recipes.multiband import MultibandDataLoaders

BS, EPOCHS = 64, 10  # one epoch of ours is too short to be timed by itself
OURS, PEER = 'MultibandDataLoaders', 'torchgeo NonGeoClassificationDataset'


@contextmanager
def fresh_cache(folder=FOLDER):
    "A cache of its own for whatever the library packs, gone afterwards."
    before = os.environ.get('SAT_RECIPES_CACHE')
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as cache:
        os.environ['SAT_RECIPES_CACHE'] = cache
        try: yield Path(cache)
        finally:
            if before is None: del os.environ['SAT_RECIPES_CACHE']
            else: os.environ['SAT_RECIPES_CACHE'] = before


def drain(loader, device='cpu'):
    "Take every batch onto the device, as a training loop does that has nothing else to do; returns the number of items."
    count = 0
    for batch in loader:
        images = batch['image'].to(device, non_blocking=True) if isinstance(batch, dict) else batch[0]
        count += len(images)
    if torch.cuda.is_available(): torch.cuda.synchronize()
    return count


def ours(folder, device=None): return MultibandDataLoaders.from_folder(folder, sensor='eurosat', bs=BS, seed=0, device=torch.device(device or default_device()))


def our_files(dls): return [Path(f) for f in dls.train_ds.items]


# --- torchgeo, as its documentation loads EuroSAT ------------------------------------------------

def peer_dataset(folder):
    from torchgeo.datasets import NonGeoClassificationDataset
    from torchgeo.datasets.utils import rasterio_loader
    return NonGeoClassificationDataset(str(folder), loader=rasterio_loader, is_valid_file=lambda path: path.endswith('.tif'))


def peer_loader(dataset, indices, workers, shuffle=True):
    keep = dict(persistent_workers=True) if workers else {}
    return DataLoader(Subset(dataset, indices), BS, shuffle=shuffle, drop_last=shuffle, num_workers=workers, pin_memory=torch.cuda.is_available(), **keep)


def split(dataset, training):
    "(indices of the files that we train on, indices of the others)."
    known = {str(f) for f in training}
    chosen = [str(path) in known for path, _ in dataset.samples]
    return [i for i, c in enumerate(chosen) if c], [i for i, c in enumerate(chosen) if not c]


# --- What is timed -------------------------------------------------------------------------------

def described(n, compress): return f'{n} patches, {compress + "d" if compress else "not compressed, as EuroSAT is published"}'


def warm_epoch(n, compress=None, repeats=3, at_least=30, workers=(2, 1, 0)):
    "From the second epoch on; torchgeo with each number of workers that stay alive between epochs."
    folder = patches(n, compress)
    with fresh_cache():
        dls, dataset = ours(folder), peer_dataset(folder)
        training, _ = split(dataset, our_files(dls))
        loaders = {f'{w} workers': peer_loader(dataset, training, w) for w in workers}
        assert drain(dls.train) == len(dls.train)*dls.bs == drain(loaders[f'{workers[0]} workers'])
        name, epoch, tried = fastest({k: lambda v=v: drain(v, dls.device) for k, v in loaders.items()})
        times = side_by_side({'ours': lambda: [drain(dls.train) for _ in range(EPOCHS)], 'peer': epoch}, repeats, warm=False)
        times['ours'] = [t/EPOCHS for t in times['ours']]
        size, device = f'{len(dls.train)*dls.bs} of {described(n, compress)}', dls.device.type
        yield faster('later epoch', size, OURS, f'{PEER}, {name}', times['ours'], times['peer'], at_least, tried=tried, device=device)
        yield beside_memory(dls, size, times['ours'], repeats)


def beside_memory(dls, size, our_times, repeats):
    "The ratio is the share that we reach of the speed at which memory copies batches of this shape and type."
    parts = [dls.one_batch()[0].cpu().as_subclass(torch.Tensor).numpy() for _ in range(min(len(dls.train), 32))]
    target = np.empty_like(parts[0])
    def copy():
        for i in range(len(dls.train)): np.copyto(target, parts[i % len(parts)])
    times = side_by_side({'copy': copy}, repeats)['copy']
    return faster('later epoch beside memory', size, OURS, f'np.copyto of the batches, {target.dtype}', our_times, times, .5, device=dls.device.type)


def first_epoch(n, compress=None, repeats=2, at_least=3, workers=(2, 1, 0)):
    "Build the loaders, then take the training patches and the held-back ones once; nothing is packed before. The files are in the system's cache for both."
    folder = patches(n, compress)
    with fresh_cache(): training, device = our_files(ours(folder)), default_device()

    def with_us():
        with fresh_cache():
            dls = ours(folder)
            drain(dls.train), drain(dls.valid)

    def with_torchgeo(workers):
        dataset = peer_dataset(folder)
        chosen, others = split(dataset, training)
        drain(peer_loader(dataset, chosen, workers), device), drain(peer_loader(dataset, others, workers, shuffle=False), device)

    name, peer, tried = fastest({f'{w} workers': lambda w=w: with_torchgeo(w) for w in workers})
    times = side_by_side({'ours': with_us, 'peer': peer}, repeats, warm=False)
    return faster('first epoch, loaders built', described(n, compress), OURS, f'{PEER}, {name}', times['ours'], times['peer'], at_least, tried=tried, device=device.type)


# --- With a model to feed ------------------------------------------------------------------------

def small_network(): return nn.Sequential(nn.Conv2d(13, 64, 3, 2), nn.ReLU(), nn.Conv2d(64, 128, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10))


def waits(batches, model, device):
    "Seconds that each training step waited for its batch, the first two left out: they start the loader."
    optimizer, found, ahead = torch.optim.SGD(model.parameters(), 1e-3), [], iter(batches)
    while True:
        start = time.perf_counter()
        batch = next(ahead, None)
        if batch is None: return found[2:] or found
        found.append(time.perf_counter() - start)
        images, labels = (batch['image'], batch['label']) if isinstance(batch, dict) else batch
        images, labels = (x.as_subclass(torch.Tensor).to(device, non_blocking=True) for x in (images, labels))
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
        optimizer.zero_grad()
        if torch.device(device).type == 'cuda': torch.cuda.synchronize()


def loader_wait(n, device, repeats=3, workers=(2, 1, 0)):
    "How long a training step waits for its batch while a small network trains: median over the steps of the best epoch."
    folder = patches(n)
    with fresh_cache():
        dls, dataset = ours(folder, device), peer_dataset(folder)
        training, _ = split(dataset, our_files(dls))
        loaders = {'ours': dls.train, **{f'{w} workers': peer_loader(dataset, training, w) for w in workers}}
        model = small_network().to(device)
        median = {name: [] for name in loaders}
        for _ in range(repeats):
            for name, loader in loaders.items(): median[name].append(float(np.median(waits(loader, model, device)))*1000)
    times = median.pop('ours')
    best = min(median, key=lambda name: min(median[name]))
    tried = ', '.join(f'{k} {min(v):.3g} ms' for k, v in median.items())
    return faster('wait for a batch, while training', f'batches of {BS}', OURS, f'{PEER}, {best}', times, median[best], unit='ms', tried=tried, device=device)


def rows(n=1000):
    "All of this theme, row by row."
    for compress in (None, 'deflate'):
        yield from warm_epoch(n, compress)
        yield first_epoch(n, compress)
    if torch.cuda.is_available(): yield loader_wait(n, 'cuda')


def growth():
    "The same with more and more patches; torchgeo with the two workers that were best."
    for n in (1000, 10_000, 50_000):
        yield from warm_epoch(n, repeats=1 if n > 10_000 else 2, workers=(2,))
        yield first_epoch(n, repeats=1, workers=(2,))
