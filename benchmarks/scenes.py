"""Maps of whole scenes: beside torchgeo's grid loop, beside the network's own forward passes, and how much memory they take."""
import re
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader
from fastai.learner import Learner

from data import patches, scene
from harness import costs, fastest, faster, side_by_side
import sat_recipes.predict  # gives Learner its predict_scene
from sat_recipes.multiband import MultibandDataLoaders
from sat_recipes.transfer import multiband_unet

SIZE, OVERLAP = 256, .25
PEER = 'torchgeo GridGeoSampler loop'


# --- Ours ----------------------------------------------------------------------------------------

def loaders(device): return MultibandDataLoaders.from_folder(patches(100), sensor='eurosat', bs=8, seed=0, device=torch.device(device))


def null_learner(device='cpu'):
    "A network that costs next to nothing: what is left is reading, blending and writing."
    torch.manual_seed(0)
    return Learner(loaders(device), nn.Conv2d(13, 10, 1), loss_func=nn.CrossEntropyLoss())


def real_learner(device='cpu'):
    torch.manual_seed(0)
    return multiband_unet(loaders(device), pretrained=False)


def map_scene(learn, path, folder):
    bs = None if learn.dls.device.type == 'cpu' else 16  # a CPU's own choice is small batches, which stay in its cache
    learn.predict_scene(path, Path(folder)/'map.tif', size=SIZE, overlap=OVERLAP, bs=bs, progress=False)


# --- torchgeo, as its documentation predicts over a scene ----------------------------------------

def grid_loop(model, path, workers, bs, device='cpu'):
    "Windows through the network to class codes, which are then dropped: nothing is blended, put together or written."
    from torchgeo.datasets import RasterDataset, stack_samples
    from torchgeo.samplers import GridGeoSampler
    dataset = RasterDataset(str(path))
    sampler = GridGeoSampler(dataset, size=SIZE, stride=int(SIZE*(1 - OVERLAP)))
    count, loader = 0, DataLoader(dataset, bs, sampler=sampler, num_workers=workers, collate_fn=stack_samples, pin_memory=device != 'cpu')
    with torch.inference_mode():
        for batch in loader: count += len(model(batch['image'].to(device)).argmax(1).cpu())
    return count


# --- What is timed -------------------------------------------------------------------------------

def megapixels(side, compress='deflate'): return f'{side} x {side}, 13 bands, {"deflated" if compress else "not compressed"}'


def null_scene(side, device='cpu', compress='deflate', repeats=4, at_least=6, workers=(2, 1, 0), batches=(16, 64)):
    "The whole map beside a loop that only looks at the windows; the loop's settings are tried on a quarter of the scene."
    path, small, learn = scene(side, compress), scene(side//2, compress), null_learner(device)
    model = learn.model.to(device).eval()
    settings = {f'{w} workers, batches of {b}': lambda path=small, w=w, b=b: grid_loop(model, path, w, b, device) for w in workers for b in batches}
    with tempfile.TemporaryDirectory() as folder:
        map_scene(learn, small, folder)
        name, peer, tried = fastest(settings)
        times = side_by_side({'ours': lambda: map_scene(learn, path, folder), 'peer': lambda: peer(path)}, repeats, warm=False)
    return faster('scene, null model', megapixels(side, compress), 'predict_scene, blended and written', f'{PEER}, {name}', times['ours'], times['peer'], at_least, tried=tried, device=device)


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


def real_scene(side, device='cpu', compress='deflate', repeats=3, at_most=1.05):
    "The whole map with a U-Net beside the U-Net alone on as many windows; the size of its batches is tried on a quarter of them."
    path, learn = scene(side, compress), real_learner(device)
    with tempfile.TemporaryDirectory() as folder:
        with seen_windows(learn.model) as numbers: map_scene(learn, path, folder)
        model, windows = learn.model.to(device).eval(), sum(numbers)
        batches = {n: torch.randn(n, 13, SIZE, SIZE, device=device).contiguous(memory_format=torch.channels_last) for n in ((2, 4, 8) if device == 'cpu' else (8, 16, 32))}
        name, _, tried = fastest({f'batches of {n}': lambda b=b: forwards(model, windows//4, b) for n, b in batches.items()}, 2)
        best = batches[int(name.split()[-1])]
        times = side_by_side({'ours': lambda: map_scene(learn, path, folder), 'forwards': lambda: forwards(model.eval(), windows, best)}, repeats, warm=False)
    return costs('scene, real model', megapixels(side, compress), 'predict_scene with a U-Net over EfficientNet-Lite0', f'its forward passes alone, {windows} windows, {name}',
                 times['ours'], times['forwards'], at_most, tried=tried, device=device)


# --- Memory --------------------------------------------------------------------------------------

def peak_memory(side):
    "(MB at the peak, MB before the scene was begun) of a fresh process that maps a scene with the null model."
    output = subprocess.run([sys.executable, __file__, str(scene(side))], check=True, capture_output=True, text=True).stdout
    return [int(kilobytes)/1024 for kilobytes in output.split()[-2:]]


def resident(name):
    "kB of `VmHWM` (the peak so far) or `VmRSS` (now) of this process."
    return re.search(rf'{name}:\s+(\d+)', Path('/proc/self/status').read_text()).group(1)


def map_and_tell(path):
    learn = null_learner()
    with tempfile.TemporaryDirectory() as folder:
        before = resident('VmRSS')
        map_scene(learn, path, folder)
    print(resident('VmHWM'), before)


def memory(side, beside, repeats=2, at_most=1.1):
    "The peak of the process that maps a scene, beside that of a smaller scene; and what the mapping itself took."
    large, small = ([peak_memory(s) for _ in range(repeats)] for s in (side, beside))
    yield costs('memory of a scene, peak', megapixels(side), 'predict_scene, whole process', f'the same, {beside} x {beside}',
                [p for p, _ in large], [p for p, _ in small], at_most, unit='MB')
    yield costs('memory of a scene, without the libraries', megapixels(side), 'predict_scene, growth of the process', f'the same, {beside} x {beside}',
                [p - b for p, b in large], [p - b for p, b in small], unit='MB')


def devices(): return ['cpu', 'cuda'] if torch.cuda.is_available() else ['cpu']


def rows(null=4096, real=2048):
    "All of this theme, row by row."
    for device in devices():
        for compress in (None, 'deflate'): yield null_scene(null, device, compress)
        for compress in (None, 'deflate'): yield real_scene(real, device, compress)
    yield from memory(4096, 2048)


def growth():
    "Larger and larger scenes, of 4 to 121 megapixels; each twice, as the first to read one waits for the disk."
    for side in (2048, 4096, 8192, 11264):
        yield null_scene(side, devices()[-1], None, 2, batches=(16,))
        if side > 4096: yield from memory(side, 4096, 1)


if __name__ == '__main__': map_and_tell(sys.argv[1])
