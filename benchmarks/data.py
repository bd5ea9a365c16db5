"""The files that are timed: seeded, made once, kept in build/bench/."""
import shutil
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


def patches(n, compress=None, folder=FOLDER, distinct=1000):
    "A folder of `n` EuroSAT-like GeoTIFFs, 13 x 64 x 64 uint16 in ten class folders, not compressed, as EuroSAT is published, or deflated; beyond `distinct` they repeat, as files of their own."
    name = f'{compress or "plain"}_{n}'
    if n <= distinct: return made_once(folder/name, lambda new: write_eurosat_like(new, n//len(EUROSAT_CLASSES), compress=compress))
    first = patches(distinct, compress, folder, distinct)
    return made_once(folder/name, lambda new: repeat(first, new, n//distinct))


def repeat(first, new, times):
    for kind in first.iterdir():
        (new/kind.name).mkdir(parents=True)
        for i in range(times):
            for file in kind.iterdir(): shutil.copyfile(file, new/kind.name/f'{i}_{file.name}')


def scene(side, compress='deflate', folder=FOLDER):
    "A 13-band uint16 GeoTIFF of `side` x `side` pixels in blocks, deflated or not compressed; no pixel without data, one piece of land over and over."
    return made_once(folder/f'scene_{compress or "plain"}_{side}.tif', lambda new: tile_scene(piece(folder), new, side, compress))


def piece(folder):
    "The Sentinel-2-like piece that scenes are tiled with; it is made wider, so that its corner without data can be cut off."
    return made_once(folder/'piece.tif', lambda new: write_s2_scene(new, shape=(TILE, TILE*5//4)))


def tile_scene(source, target, side, compress):
    with rasterio.open(source) as opened: data, profile = opened.read(window=Window(0, 0, TILE, TILE)), opened.profile
    profile.update(driver='GTiff', width=side, height=side, tiled=True, blockxsize=512, blockysize=512, compress=compress, num_threads='all_cpus', bigtiff='if_safer')
    with rasterio.open(target, 'w', **profile) as opened:
        for top in range(0, side, TILE):
            rows = data[:, :side - top]
            opened.write(np.tile(rows, (1, 1, -(-side//TILE)))[:, :, :side], window=Window(0, top, side, rows.shape[1]))
