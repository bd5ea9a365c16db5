"""Augmentation of batches of 64 patches, 13 x 64 x 64: one policy of four changes, beside Albumentations item by item and kornia by the batch.

Each patch gets one of the eight symmetries of the square, a gain, another gain for each band, and loses a band. kornia has no gain for
each band, so there it is left out, in its favor. All begin with reflectance in memory and end with a batch on the device.
"""
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from fastai.torch_core import TensorImage

from harness import compare, fastest, side_by_side
from sat_recipes.augment import D4, BandDropout, Gain

ITEMS, BANDS, SIDE = 64, 13, 64


def reflectances(): return np.random.default_rng(0).uniform(.01, .6, (ITEMS, BANDS, SIDE, SIDE)).astype(np.float32)


def repeated(function, times):
    "One call is short: time several."
    def several():
        for _ in range(times): function()
        if torch.cuda.is_available(): torch.cuda.synchronize()
    return several


def our_way(device, images):
    batch, policy = torch.from_numpy(images), [D4(), Gain(.2, .05), BandDropout(1/BANDS)]
    def augment():
        x = TensorImage(batch.to(device))
        for transform in policy: x = transform(x, split_idx=0)
        return x
    return augment


def albumentations_ways(device, images):
    "Item by item as a data loader does it, in one thread and in two, OpenCV's own threads off and on."
    import albumentations as A
    import cv2
    policy = A.Compose([A.D4(p=1), A.MultiplicativeNoise((.7, 1.4), p=1), A.MultiplicativeNoise((.9, 1.1), per_channel=True, p=1),
                        A.ChannelDropout(p=1), A.ToTensorV2()])
    items, pool = [np.ascontiguousarray(image.transpose(1, 2, 0)) for image in images], ThreadPoolExecutor(2)
    one = lambda item: policy(image=item)['image']
    def way(threads, opencv):
        def augment():
            cv2.setNumThreads(opencv)
            return torch.stack(list((pool.map if threads == 2 else map)(one, items))).to(device)
        return augment
    return {f'{t} thread{"s" if t > 1 else ""}, OpenCV {"with" if o else "without"} its own': way(t, o) for t in (1, 2) for o in (0, 2)}


def kornia_ways(device, images):
    "Each item its own draw (`same_on_batch=False`), in kornia's container and one after the other."
    import kornia.augmentation as K
    parts = lambda: [K.RandomHorizontalFlip(p=.5), K.RandomVerticalFlip(p=.5), K.RandomRotation90((0, 1), resample='nearest', p=1.),
                     K.RandomContrast((.7, 1.4), clip_output=False, p=1.), K.RandomChannelDropout(1, p=1.)]
    batch = torch.from_numpy(images)
    ways = {'AugmentationSequential': K.AugmentationSequential(*parts(), data_keys=['input']), 'nn.Sequential': torch.nn.Sequential(*parts())}
    return {name: lambda model=model: model(batch.to(device)) for name, model in ways.items()}


def beside(name, ways, device, images, repeats, times):
    ours = repeated(our_way(device, images), times)
    for way in ways.values(): way()
    setting, peer, tried = fastest({k: repeated(way, times) for k, way in ways.items()}, 2)
    return compare(f'augmentation beside {name}', f'{times} x {ITEMS} x {BANDS} x {SIDE} x {SIDE}', 'D4, Gain, BandDropout', f'{name}, {setting}',
                   *side_by_side(ours, peer, repeats), at_least=1, tried=tried, device=device)


def rows(repeats=15, times=4):
    "All of this theme, row by row."
    images = reflectances()
    for device in ['cpu', 'cuda'] if torch.cuda.is_available() else ['cpu']:
        yield beside('Albumentations', albumentations_ways(device, images), device, images, repeats, times)
        yield beside('kornia', kornia_ways(device, images), device, images, repeats, times)
