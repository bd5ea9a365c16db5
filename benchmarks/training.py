"""From files to a trained network: an epoch beside its own steps, and the loader beside torchgeo's, the first epoch and later ones."""
from pathlib import Path

import torch
from fastai.torch_core import default_device
from torch.utils.data import DataLoader, Subset

from data import fresh_cache, patches
from harness import compare, fastest, side_by_side
from sat_recipes.multiband import MultibandDataLoaders
from sat_recipes.transfer import multiband_learner

BS, EPOCHS = 64, 5  # one epoch of the loader alone is too short to be timed by itself
OURS, PEER = 'MultibandDataLoaders', 'torchgeo NonGeoClassificationDataset'


def ours(folder): return MultibandDataLoaders.from_folder(folder, sensor='eurosat', bs=BS, seed=0, device=default_device())


def drain(loader):
    "Take every batch onto the device, as a training loop does that has nothing else to do; returns the number of items."
    count = 0
    for batch in loader:
        images = batch['image'].to(default_device(), non_blocking=True) if isinstance(batch, dict) else batch[0]
        count += len(images)
    if torch.cuda.is_available(): torch.cuda.synchronize()
    return count


# --- An epoch of training ------------------------------------------------------------------------

def train(learn, optimizer, batches):
    "Plain steps, the same for batches that come from the loader and for one that is held in memory."
    for images, labels in batches:
        loss = torch.nn.functional.cross_entropy(learn.model(images.as_subclass(torch.Tensor)), labels.as_subclass(torch.Tensor))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    if torch.cuda.is_available(): torch.cuda.synchronize()


def training_epoch(n=400, repeats=3):
    "An epoch from the second on, with all that the loader does in it."
    with fresh_cache():
        dls = ours(patches(n))
        learn = multiband_learner(dls, pretrained=False)
        learn.unfreeze()
        model, batch, device = learn.model.to(dls.device).train(), dls.train.one_batch(), dls.device.type
        optimizer = torch.optim.SGD(model.parameters(), 1e-3)
        times = side_by_side(lambda: train(learn, optimizer, dls.train), lambda: train(learn, optimizer, [batch]*len(dls.train)), repeats)
        return compare('a training epoch', f'{len(dls.train)*BS} patches, 13 bands, EfficientNet-Lite0', OURS, 'the same steps on one batch in memory',
                       *times, at_most=1.05 if device == 'cpu' else 1.02, device=device)


# --- The loader alone, beside torchgeo as its documentation loads EuroSAT ------------------------

def peer_loader(folder, chosen, workers, shuffle=True):
    "A loader of the patches whose paths are in `chosen`."
    from torchgeo.datasets import NonGeoClassificationDataset
    from torchgeo.datasets.utils import rasterio_loader
    dataset = NonGeoClassificationDataset(str(folder), loader=rasterio_loader, is_valid_file=lambda path: path.endswith('.tif'))
    indices = [i for i, (path, _) in enumerate(dataset.samples) if Path(path) in chosen]
    return DataLoader(Subset(dataset, indices), BS, shuffle=shuffle, drop_last=shuffle, num_workers=workers,
                      persistent_workers=workers > 0, pin_memory=torch.cuda.is_available())


def later_epoch(n=1000, repeats=3, workers=(2, 1, 0)):
    "From the second epoch on; torchgeo with each number of workers, which stay alive between epochs."
    folder = patches(n)
    with fresh_cache():
        dls = ours(folder)
        training = {Path(f) for f in dls.train_ds.items}
        loaders = {f'{w} workers': peer_loader(folder, training, w) for w in workers}
        assert {drain(loader) for loader in [dls.train, *loaders.values()]} == {len(dls.train)*BS}
        name, epoch, tried = fastest({k: lambda v=v: drain(v) for k, v in loaders.items()})
        our_times, peer_times = side_by_side(lambda: [drain(dls.train) for _ in range(EPOCHS)], epoch, repeats, warm=False)
        return compare('the loader alone, a later epoch', f'{len(dls.train)*BS} of {n} patches', OURS, f'{PEER}, {name}',
                       [t/EPOCHS for t in our_times], peer_times, at_least=6, tried=tried, device=dls.device.type)


def first_epoch(n=1000, repeats=2, workers=(2, 1, 0)):
    "Build the loaders, pack, take the training patches and the held-back ones once. The files are in the system's cache for both."
    folder = patches(n)
    with fresh_cache():
        dls = ours(folder)
        training, held_back = ({Path(f) for f in part.items} for part in (dls.train_ds, dls.valid_ds))

    def with_us():
        with fresh_cache():
            dls = ours(folder)
            drain(dls.train), drain(dls.valid)

    def with_torchgeo(w): drain(peer_loader(folder, training, w)), drain(peer_loader(folder, held_back, w, shuffle=False))

    name, peer, tried = fastest({f'{w} workers': lambda w=w: with_torchgeo(w) for w in workers})
    return compare('the first epoch, packing included', f'{n} patches', OURS, f'{PEER}, {name}', *side_by_side(with_us, peer, repeats, warm=False),
                   at_least=1, tried=tried, device=default_device().type)


def rows():
    "All of this theme, row by row."
    yield training_epoch(*(() if default_device().type == 'cpu' else (4000,)))
    yield later_epoch()
    yield first_epoch()
