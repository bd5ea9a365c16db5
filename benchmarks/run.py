"""Timings beside other tools, in one run on one machine: prints ratios and writes results/NAME.csv.

    python benchmarks/run.py
"""
import csv
import datetime
import importlib.metadata
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import rasterio
import torch

from sat_recipes.all import MultibandDataLoaders, Learner, ConfusionMatrix, find_patches, nn, read_reflectance, write_eurosat_like, write_raster

RESULTS = Path(__file__).parent/'results'


def best(function, repeats=3):
    "Seconds of the fastest of `repeats` calls, after one that does not count."
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def import_time():
    "Seconds to import the lowest module in a fresh Python, beside the interpreter alone."
    def fresh(code): return lambda: subprocess.run([sys.executable, '-c', code], check=True)
    return 'import sat_recipes.bands', best(fresh('import sat_recipes.bands')), 'Python alone', best(fresh('pass')), 's'


def confusion():
    "Seconds for a million pixels of ten classes."
    from torchmetrics.functional.classification import multiclass_confusion_matrix
    truth, guess = torch.randint(0, 10, (2, 1_000_000))
    ours = best(lambda: ConfusionMatrix(10).update(guess, truth), 10)
    return 'confusion of 1 Mpx', ours, 'torchmetrics', best(lambda: multiclass_confusion_matrix(guess, truth, 10), 10), 's'


def reading(folder):
    "Seconds to read 140 patches of 13 x 64 x 64 as reflectance, beside rasterio's numbers as they are."
    files = find_patches(folder)
    def plain():
        for file in files:
            with rasterio.open(file) as source: source.read()
    return 'read 140 patches', best(lambda: [read_reflectance(f, 'eurosat') for f in files]), 'rasterio', best(plain), 's'


def scene(folder):
    "Seconds to map 13 bands of 2048 x 2048 with a 1 x 1 convolution, overlap and writing included, beside the reading alone."
    path = write_raster(folder/'scene.tif', np.random.default_rng(0).integers(1, 4000, (13, 2048, 2048)).astype('uint16'), nodata=0)
    dls = MultibandDataLoaders.from_folder(folder/'patches', sensor='eurosat', bs=8, seed=0)
    learn = Learner(dls, nn.Conv2d(13, 10, 1), loss_func=nn.CrossEntropyLoss())
    def plain():
        with rasterio.open(path) as source: source.read()
    return 'map 4.2 Mpx, null model', best(lambda: learn.predict_scene(path, folder/'map.tif', size=256, overlap=.25, progress=False), 2), 'rasterio reads it', best(plain, 2), 's'


def versions(): return ' '.join(f'{n}={importlib.metadata.version(n)}' for n in ('torch', 'fastai', 'rasterio', 'numpy', 'torchmetrics'))


def main():
    folder = Path(tempfile.mkdtemp())
    write_eurosat_like(folder/'patches')
    rows = [import_time(), confusion(), reading(folder/'patches'), scene(folder)]
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f'{os.cpu_count()} cores {platform.machine()}'
    RESULTS.mkdir(exist_ok=True)
    with open(RESULTS/'library.csv', 'w', newline='') as f:
        table = csv.writer(f)
        table.writerow(['what', 'ours', 'peer', 'peers', 'unit', 'peer/ours', 'device', 'python', 'versions', 'date'])
        for what, ours, peer, peers, unit in rows:
            print(f'{what:28} {ours:8.4f} {unit}   {peer:20} {peers:8.4f} {unit}   {peers/ours:6.1f} x')
            table.writerow([what, f'{ours:.5f}', peer, f'{peers:.5f}', unit, f'{peers/ours:.2f}', device, platform.python_version(), versions(), datetime.date.today()])


if __name__ == '__main__': main()
