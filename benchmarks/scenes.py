"""Maps of whole scenes with a real model: beside its own forward passes, beside torchgeo's grid loop, and how much memory they take."""
import re
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import rasterio
import torch
from fastai.torch_core import default_device
from torch.utils.data import DataLoader

import sat_recipes.predict  # gives Learner its predict_scene
from data import patches, scene
from harness import compare, fastest, side_by_side
from sat_recipes.images import MultibandNormalize
from sat_recipes.multiband import MultibandDataLoaders
from sat_recipes.transfer import multiband_unet

SIZE, OVERLAP = 256, .25
OURS = 'predict_scene: U-Net over EfficientNet-Lite0, blended, written'


def learner():
    torch.manual_seed(0)
    return multiband_unet(MultibandDataLoaders.from_folder(patches(100), sensor='eurosat', bs=8, seed=0, device=default_device()), pretrained=False)


def map_scene(learn, path, target):
    bs = None if learn.dls.device.type == 'cpu' else 16  # a CPU's own choice is small batches, which stay in its cache
    learn.predict_scene(path, target, size=SIZE, overlap=OVERLAP, bs=bs, progress=False)


def described(side): return f'{side} x {side}, 13 bands'


# --- The network alone ---------------------------------------------------------------------------

@contextmanager
def seen_windows(model):
    "List that gathers how many windows of a scene each batch has that the network is given."
    numbers = []
    handle = model.register_forward_pre_hook(lambda _, inputs: numbers.append(len(inputs[0])) if inputs[0].shape[-1] == SIZE else None)
    try: yield numbers
    finally: handle.remove()


def forwards(model, windows, batch):
    "Windows that lie in memory through the network, their bands side by side as convolutions like it best."
    with torch.inference_mode():
        for _ in range(windows//len(batch)): model(batch)
        if windows % len(batch): model(batch[:windows % len(batch)])
    if batch.is_cuda: torch.cuda.synchronize()


def beside_forwards(learn, side, repeats=3):
    "The whole map beside the network alone on as many windows; the size of its batches is tried on a quarter of them."
    path, device = scene(side), learn.dls.device
    with tempfile.TemporaryDirectory() as folder:
        with seen_windows(learn.model) as numbers: map_scene(learn, path, f'{folder}/map.tif')
        model, windows = learn.model.to(device).eval(), sum(numbers)
        sizes = (2, 4, 8) if device.type == 'cpu' else (8, 16, 32)
        batches = {n: torch.randn(n, 13, SIZE, SIZE, device=device).contiguous(memory_format=torch.channels_last) for n in sizes}
        name, _, tried = fastest({f'batches of {n}': lambda b=b: forwards(model, windows//4, b) for n, b in batches.items()}, 2)
        best = batches[int(name.split()[-1])]
        times = side_by_side(lambda: map_scene(learn, path, f'{folder}/map.tif'), lambda: forwards(model.eval(), windows, best), repeats, warm=False)
    return compare('a scene', described(side), OURS, f'its forward passes alone, {windows} windows, {name}', *times, at_most=1.1, tried=tried, device=device.type)


# --- torchgeo's grid loop, written as its users do it --------------------------------------------

def grid_loop(learn, path, target, workers, bs):
    "Windows by GridGeoSampler, class scores added up where they overlap, the mean's best class written as a GeoTIFF."
    from torchgeo.datasets import RasterDataset, stack_samples
    from torchgeo.samplers import GridGeoSampler
    dataset, device, model = RasterDataset(str(path)), learn.dls.device, learn.model.to(learn.dls.device).eval()
    sampler = GridGeoSampler(dataset, size=SIZE, stride=int(SIZE*(1 - OVERLAP)))
    mean, std = (x.to(device).as_subclass(torch.Tensor) for x in band_statistics(learn))
    with rasterio.open(path) as source: profile, transform = source.profile, source.transform
    height, width = profile['height'], profile['width']
    total, count = np.zeros((learn.dls.c, height + 2*SIZE, width + 2*SIZE), np.float32), 0  # windows stick out on all sides
    with torch.inference_mode():
        for batch in DataLoader(dataset, bs, sampler=sampler, num_workers=workers, collate_fn=stack_samples):
            scores = model((batch['image'].to(device)/10000 - mean)/std).cpu().numpy()
            for bounds, score in zip(batch['bounds'], scores):
                left, top = (bounds[0].start, bounds[1].stop) if isinstance(bounds[0], slice) else (float(bounds[0]), float(bounds[4]))
                column, row = (round(v) + SIZE for v in ~transform*(left, top))
                total[:, row:row + SIZE, column:column + SIZE] += score
                count += 1
    codes = total[:, SIZE:SIZE + height, SIZE:SIZE + width].argmax(0)  # the best class of a sum is that of the mean
    profile.update(count=1, dtype='uint8', compress='deflate')
    with rasterio.open(target, 'w', **profile) as written: written.write((codes + 1).astype(np.uint8), 1)  # the scene's nodata is 0
    return count


def band_statistics(learn):
    "(mean, standard deviation) that the learner's batches are normalized with, (1, bands, 1, 1)."
    normalize = next(t for t in learn.dls.after_batch.fs if isinstance(t, MultibandNormalize))
    return normalize.mean, normalize.std


def beside_torchgeo(learn, side, repeats=2, workers=(2, 0), batches=(4, 16)):
    "The same scene and model; the loop's settings are tried on a quarter of the scene."
    path, small = scene(side), scene(side//2)
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = f'{folder}/map.tif', f'{folder}/grid.tif'
        settings = {f'{w} workers, batches of {b}': lambda path=small, w=w, b=b: grid_loop(learn, path, theirs, w, b) for w in workers for b in batches}
        map_scene(learn, small, ours)
        name, peer, tried = fastest(settings)
        times = side_by_side(lambda: map_scene(learn, path, ours), lambda: peer(path), repeats, warm=False)
        with rasterio.open(ours) as a, rasterio.open(theirs) as b: same = (a.read(1) == b.read(1)).mean()
    return compare('the same scene and model', described(side), OURS, f'torchgeo GridGeoSampler loop, averaged, written, {name}', *times,
                   at_least=1, tried=f'{tried}; {same:.1%} of the pixels equal', device=learn.dls.device.type)


# --- Memory --------------------------------------------------------------------------------------

def resident(name):
    "kB of `VmHWM` (the peak so far) or `VmRSS` (now) of this process."
    return int(re.search(rf'{name}:\s+(\d+)', Path('/proc/self/status').read_text())[1])


def peak_memory(side):
    "MB at the peak of a fresh process that maps a scene."
    lines = subprocess.run([sys.executable, __file__, str(scene(side))], check=True, capture_output=True, text=True).stdout.split()
    return int(lines[-1])/1024


def memory(side, beside, repeats=2):
    "The peak of the process that maps a scene, beside that of one with a quarter of the pixels."
    large, small = ([peak_memory(s) for _ in range(repeats)] for s in (side, beside))
    return compare('memory of a scene of 4 x the pixels', described(side), OURS, f'the same, {beside} x {beside}', large, small, at_most=1.1, unit='MB')


def rows(side=2048):
    "All of this theme, row by row."
    learn = learner()
    yield beside_forwards(learn, side)
    yield beside_torchgeo(learn, side)
    yield memory(side, side//2)


if __name__ == '__main__':
    with tempfile.TemporaryDirectory() as folder: map_scene(learner(), sys.argv[1], f'{folder}/map.tif')
    print(resident('VmHWM'))
