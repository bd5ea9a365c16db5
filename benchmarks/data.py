"""The files that are timed: seeded, made once, kept in build/bench/."""
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import rasterio
from rasterio.windows import Window

from sat_recipes.synthetic import EUROSAT_CLASSES, write_eurosat_like, write_s2_scene

FOLDER = Path(__file__).resolve().parent.parent/'build/bench'
TILE = 1024


def made_once(path, make):
    "`path`, filled by `make(temporary path)` the first time; a run that was stopped leaves nothing half made."
    if path.exists(): return path
    temporary = path.with_name(f'.{path.name}')
    if temporary.is_dir(): shutil.rmtree(temporary)
    temporary.parent.mkdir(parents=True, exist_ok=True)
    make(temporary)
    temporary.rename(path)
    return path


def patches(n, folder=FOLDER):
    "A folder of `n` EuroSAT-like GeoTIFFs, 13 x 64 x 64 uint16 in ten class folders, not compressed, as EuroSAT is published."
    return made_once(folder/f'patches_{n}', lambda new: write_eurosat_like(new, n//len(EUROSAT_CLASSES)))


def scene(side, folder=FOLDER):
    "A deflated 13-band uint16 GeoTIFF of `side` x `side` pixels in blocks; no pixel without data, one piece of land over and over."
    # The piece is made wider, so that its corner without data can be cut off.
    piece = made_once(folder/'piece.tif', lambda new: write_s2_scene(new, shape=(TILE, TILE*5//4)))
    return made_once(folder/f'scene_{side}.tif', lambda new: tile_scene(piece, new, side))


def tile_scene(source, target, side):
    with rasterio.open(source) as opened: data, profile = opened.read(window=Window(0, 0, TILE, TILE)), opened.profile
    profile.update(driver='GTiff', width=side, height=side, tiled=True, blockxsize=512, blockysize=512, compress='deflate', num_threads='all_cpus')
    with rasterio.open(target, 'w', **profile) as opened:
        for top in range(0, side, TILE):
            rows = data[:, :side - top]
            opened.write(np.tile(rows, (1, 1, -(-side//TILE)))[:, :, :side], window=Window(0, top, side, rows.shape[1]))


@contextmanager
def fresh_cache(folder=FOLDER):
    "A cache of its own for whatever the library packs, gone afterwards."
    before = os.environ.get('SAT_RECIPES_CACHE')
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as cache:
        os.environ['SAT_RECIPES_CACHE'] = cache
        try:
            yield Path(cache)
        finally:
            if before is None: del os.environ['SAT_RECIPES_CACHE']
            else: os.environ['SAT_RECIPES_CACHE'] = before
