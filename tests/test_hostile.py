"""Broken and hostile rasters: each is read with sane values or refused in one sentence that names it; nothing hangs, crashes, prints or eats the memory.

The files are read by a process of their own, `python tests/test_hostile.py FOLDER`, which has little memory and little time."""
import faulthandler
import json
import os
import re
import resource
import shutil
import stat
import struct
import subprocess
import sys
import time
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.windows import Window

from sat_recipes.datasets import DatasetError, unzip_archive

NORTH_UP = Affine(10, 0, 500_000, 0, -10, 5_000_000)
MEMORY, SECONDS = 4*2**30, 20

# name: type, bands, crs, and how it is written
GOOD = {
    'striped': ('uint16', 13, 'EPSG:32633', dict()),
    'deflate': ('uint16', 4, 'EPSG:32633', dict(compress='deflate', predictor=2, tiled=True, blockxsize=32, blockysize=32)),
    'lzw': ('int16', 4, 'EPSG:32633', dict(compress='lzw', interleave='band', nodata=-9999)),
    'gray': ('uint8', 1, None, dict()),
    'tiled': ('uint8', 4, 'EPSG:4326', dict(tiled=True, blockxsize=16, blockysize=16, nodata=0)),
    'float': ('float32', 4, 'EPSG:32633', dict(compress='deflate', predictor=3, nodata=float('nan'))),
    'plainfloat': ('float32', 1, None, dict(interleave='band')),
    'big': ('uint16', 4, 'EPSG:3857', dict(BIGTIFF='YES', compress='lzw')),
}
# Those that decide where pixels lie and how many there are, then those that say where on Earth.
TAGS = {256: 'width', 257: 'height', 258: 'bits', 259: 'compression', 262: 'photometric', 273: 'strips', 277: 'samples', 278: 'rows', 279: 'stripbytes', 284: 'planar',
        317: 'predictor', 322: 'tilewidth', 323: 'tileheight', 324: 'tiles', 325: 'tilebytes', 338: 'extra', 339: 'format', 33550: 'pixelsize', 33922: 'tiepoint', 34735: 'geokeys',
        34737: 'geonames', 42112: 'metadata', 42113: 'nodata'}
HUGE = 0, 1, 3, 999, 0xffff, 300_000_000, 0x7fffffff, 0xffffffff


def written(path, dtype='uint16', bands=4, crs='EPSG:32633', size=64, data=None, transform=NORTH_UP, **options):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    if data is None: data = (np.random.default_rng(len(Path(path).stem)).integers(1, 120, (bands, size, size))/(120 if 'float' in dtype else 1)).astype(dtype)
    place = dict(crs=crs, transform=transform) if crs else {}
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        with rasterio.open(path, 'w', driver='GTiff', count=len(data), height=data.shape[1], width=data.shape[2], dtype=data.dtype, **place, **options) as f: f.write(data)
    return Path(path)


def directory(data):
    "(start of the first directory, {tag: (start of its entry, type, count, value or offset)}) of a classic TIFF."
    start, = struct.unpack_from('<I', data, 4)
    entries = (start + 2 + 12*i for i in range(struct.unpack_from('<H', data, start)[0]))
    return start, {tag: (at, kind, count, value) for at in entries for tag, kind, count, value in [struct.unpack_from('<HHII', data, at)]}


def altered(data, tag, kind=None, count=None, value=None):
    at, *was = directory(data)[1][tag]
    new = [w if n is None else n for w, n in zip(was, (kind, count, value))]
    return data[:at + 2] + struct.pack('<HII', *new) + data[at + 12:]


def patched(data, at, piece): return data[:at] + piece + data[at + len(piece):]


def truncated(data, rng):
    for at in sorted({0, 1, 4, 7, 8, 60, len(data) - 1, *rng.integers(9, len(data), 6).tolist()}): yield f'cut{at}', data[:at]


def flipped(data, rng, n=8):
    "Bytes changed in the header, the directory, what it points to, anywhere; one at a time and many."
    regions = {'head': (0, 8), 'directory': (8, 250), 'values': (200, 700), 'any': (0, len(data))}
    for name, (start, stop) in regions.items():
        for i in range(n):
            changed, places = bytearray(data), rng.integers(start, min(stop, len(data)), [1, 4, 40][i % 3])
            for at in places: changed[at] = [changed[at] ^ 1 << int(rng.integers(8)), 0, int(rng.integers(256)), 255][i % 4]
            yield f'{name}{i}', bytes(changed)


def lying(data, rng):
    "Tags that claim what is not so."
    start, tags = directory(data)
    for tag in sorted(tags.keys() & TAGS.keys()):
        for value in HUGE:
            if tag in (258, 259, 262, 284, 317, 338, 339) and value > 0xffff: continue
            if rng.random() < .4 or tag in (256, 257, 277, 278, 322, 323): yield f'{TAGS[tag]}{value}', altered(data, tag, kind=4 if tag in (256, 257, 277, 278, 322, 323) else None, value=value)
        for count in (0, 300_000_000, 0xffffffff):
            if rng.random() < .4: yield f'{TAGS[tag]}count{count}', altered(data, tag, count=count)
        if rng.random() < .3: yield f'{TAGS[tag]}kind', altered(data, tag, kind=int(rng.integers(0, 20)))
    both = altered(altered(data, 256, kind=4, value=200_000), 257, kind=4, value=200_000)
    yield 'square', both
    yield 'squarerow', altered(both, 278, kind=4, value=200_000) if 278 in tags else both
    end = start + 2 + 12*len(tags)
    for where, name in ((start, 'itself'), (4, 'header'), (end, 'end'), (len(data) + 99, 'beyond')): yield f'next{name}', patched(data, end, struct.pack('<I', where))
    yield 'start0', patched(data, 4, struct.pack('<I', 0))
    yield 'startbeyond', patched(data, 4, struct.pack('<I', 0xfffffff0))


def mutated(folder, seed=0):
    "Hundreds of files, each a good one with something wrong."
    rng = np.random.default_rng(seed)
    for name, (dtype, bands, crs, options) in GOOD.items():
        data = written(folder/f'good_{name}.tif', dtype, bands, crs, **options).read_bytes()
        for change in (truncated, flipped, lying):
            if change is lying and name == 'big': continue
            for what, content in change(data, rng): (folder/f'{name}_{what}.tif').write_bytes(content)


def odd(folder):
    "Files that are whole and yet no patches, and files that are no rasters; what must become of some: 'refused' or 'read'."
    rng, good = np.random.default_rng(1), (folder/'good_striped.tif').read_bytes()
    values = rng.integers(1, 99, (4, 16, 16))
    for dtype in ('complex64', 'complex128', 'complex_int16'): written(folder/f'type_{dtype}.tif', data=values.astype('complex64' if '_' in dtype else dtype))
    for dtype in ('float64', 'int64', 'uint64', 'int8', 'uint32', 'int32'): written(folder/f'type_{dtype}.tif', data=(values/100 if dtype == 'float64' else values).astype(dtype))
    written(folder/'type_1bit.tif', data=(values[:1] % 2).astype('uint8'), nbits=1)
    written(folder/'type_12bit.tif', data=values.astype('uint16'), nbits=12)
    written(folder/'type_float16.tif', data=(values/100).astype('float32'), nbits=16)
    for name, value in dict(nan=np.nan, inf=np.inf, minusinf=-np.inf).items(): written(folder/f'all_{name}.tif', data=np.full((4, 16, 16), value, 'float32'))
    some = (values/100).astype('float32')
    some[:, 3:6, 2:9], some[0, 0, 0], some[1, 1, 1] = np.nan, np.inf, -np.inf
    written(folder/'some_nan.tif', data=some)
    written(folder/'all_nodata.tif', data=np.zeros((4, 16, 16), 'uint16'), nodata=0)
    written(folder/'nodata_beyond.tif', data=values.astype('int16'), nodata=-9999)
    data = (folder/'nodata_beyond.tif').read_bytes()
    (folder/'nodata_beyond.tif').write_bytes(data.replace(b'-9999', b'99999'))
    (folder/'nodata_word.tif').write_bytes(data.replace(b'-9999', b'never'))
    for name, tags, scale in (('tags', dict(BOA_ADD_OFFSET='a, b', PROCESSING_BASELINE='nan', BOA_OFFSET_APPLIED='?'), 1), ('scale_nan', {}, np.nan), ('scale_0', {}, 0), ('scale_huge', {}, 1e300)):
        with rasterio.open(written(folder/f'said_{name}.tif', data=np.ones((12, 9, 9), 'uint16')), 'r+') as f:
            f.update_tags(**tags)
            f.scales, f.descriptions = (scale,)*12, tuple('B01 B02 B03 B04 B05 B06 B07 B08 B8A B09 B11 B12'.split())
    data = written(folder/'said_latin.tif', data=np.ones((1, 9, 9), 'uint16'))
    with rasterio.open(data, 'r+') as f: f.update_tags(TIFFTAG_ARTIST='Xxxxx', note='Yyyyy'); f.descriptions = ('Zzzzz',)
    data.write_bytes(data.read_bytes().replace(b'Xxxxx', b'\xe9\xe8\xff\xc3\x28').replace(b'Yyyyy', b'\xe9\xe8\xff\xc3\x28').replace(b'Zzzzz', b'\xe9\xe8\xff\xc3\x28'))
    written(folder/'no_crs.tif', crs=None)
    written(folder/'rotated.tif', transform=Affine(9.06, 4.23, 5e5, 4.23, -9.06, 5e6))
    written(folder/'flat.tif', transform=Affine(0, 0, 5e5, 0, 0, 5e6))
    written(folder/'wrong_crs.tif', crs='EPSG:4326')
    written(folder/'no_bands_in_common.tif', bands=2)
    written(folder/'one_pixel.tif', size=1)
    written(folder/'many_bands.tif', data=np.ones((1000, 2, 2), 'uint8'))
    for name, side, block in (('sparse', 200_000, dict(tiled=True, blockxsize=4096, blockysize=4096)), ('bomb', 20_000, dict(blockysize=20_000))):
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            with rasterio.open(folder/f'{name}.tif', 'w', driver='GTiff', count=1, height=side, width=side, dtype='uint8', compress='deflate', sparse_ok=True, **block): pass
    for name, content in dict(nothing=b'', text=b'a note', html=b'<!DOCTYPE html><html><body>404</body></html>', zeros=bytes(5000), ones=b'\xff'*5000, head=b'II*\0', nul=b'\0',
                              bigtiff=b'II+\0\x08\0\0\0' + b'\xff'*60, motorola=b'MM\0*' + good[4:], pickle=b'\x80\x04\x95cos\nsystem\n(S"true"\ntR.').items(): (folder/f'is_{name}.tif').write_bytes(content)
    for driver in ('PNG', 'JPEG'):
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            with rasterio.open(folder/'picture.tmp', 'w', driver=driver, count=3, height=16, width=16, dtype='uint8') as f: f.write(values[:3].astype('uint8'))
        (folder/'picture.tmp').rename(folder/f'is_{driver.lower()}.tif')
    for extra in folder.glob('picture.*'): extra.unlink()
    (folder/'folder.tif').mkdir()
    os.mkfifo(folder/'pipe.tif')
    (folder/'device.tif').symlink_to('/dev/zero')
    (folder/'dangling.tif').symlink_to(folder/'nowhere.tif')
    (folder/'circle.tif').symlink_to(folder/'circle.tif')
    (folder/'linked.tif').symlink_to(folder/'good_gray.tif')
    for name in ('with space', 'naïve café', '衛星画像', "it's 'quoted' & <tagged>", '100% {brace} %s', '-dash', 'semi;colon', 'two\nlines', os.fsdecode(b'latin \xe9')): (folder/f'{name}.tif').write_bytes(good)
    for name, content in dict(broken=b'<PAMDataset><PAMRas', lying=b'<PAMDataset><PAMRasterBand band="1"><NoDataValue>never</NoDataValue><Histograms>x</Histograms></PAMRasterBand></PAMDataset>', binary=b'\xff'*99, nothing=b'').items():
        (folder/f'sidecar_{name}.tif').write_bytes(good)
        (folder/f'sidecar_{name}.tif.aux.xml').write_bytes(content)
        (folder/f'overview_{name}.tif').write_bytes(good)
        (folder/f'overview_{name}.tif.ovr').write_bytes(content)
    (folder/'overview_itself.tif').write_bytes(good)
    (folder/'overview_itself.tif.ovr').symlink_to(folder/'overview_itself.tif')
    virtual = '<VRTDataset rasterXSize="64" rasterYSize="64"><VRTRasterBand dataType="Byte" band="1"><SimpleSource><SourceFilename relativeToVRT="{}">{}</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>'
    for end in ('tif', 'vrt'):
        for name, relative, target in (('password', 0, '/etc/passwd'), ('itself', 1, f'virtual_itself.{end}'), ('gone', 1, 'gone.tif'), ('address', 0, 'http://127.0.0.1:9/x.tif')):
            (folder/f'virtual_{name}.{end}').write_text(virtual.format(relative, target))
    (folder/'virtual_huge.vrt').write_text('<VRTDataset rasterXSize="2000000000" rasterYSize="2000000000"><VRTRasterBand dataType="Float64" band="1"/></VRTDataset>')


REFUSED = ['is_*', 'folder.tif', 'pipe.tif', 'device.tif', 'dangling.tif', 'circle.tif', 'type_complex*', 'all_*', 'virtual_*', '*_square*', 'sparse.tif', 'bomb.tif', 'said_scale_*', '*_cut0.tif', '*_cut1.tif', '*_cut7.tif']
READ = ['good_*', 'type_[fiu1]*', 'said_tags.tif', 'said_latin.tif', 'some_nan.tif', 'no_crs.tif', 'rotated.tif', 'wrong_crs.tif', 'one_pixel.tif', 'many_bands.tif', 'linked.tif', 'with space.tif', 'na*ve*.tif', '衛*.tif', "it's*", '100*', '-dash*', 'semi*', 'two*',
        'sidecar_*.tif', 'overview_*.tif', 'nodata_*']


# --- the process that reads them ------------------------------------------------------------------

def sane(raster, info):
    data = raster.data
    assert data.ndim == 3 and data.shape[0] == info.count == len(raster.band_names or [0]*info.count) and data.dtype.kind in 'iuf', data.shape
    assert min(data.shape) > 0 and len(tuple(raster.transform)) == 9 and isinstance(info.tags, dict) and raster.valid.shape == data.shape[1:]


def attempts(path):
    "What is tried with a file: names and functions."
    from sat_recipes.raster import raster_info, read_raster, read_reflectance
    yield 'info', lambda: [raster_info(path).sensor, str(raster_info(path).crs)]
    yield 'raster', lambda: sane(read_raster(path), raster_info(path))
    yield 'reflectance', lambda: sane(read_reflectance(path), raster_info(path))
    yield 'window', lambda: sane(read_reflectance(path, window=Window(-2, 3, 20, 20)), raster_info(path))
    yield 'small', lambda: sane(read_raster(path, max_side=16), raster_info(path))
    yield 'scene', lambda: same_as_a_scene(path)


def same_as_a_scene(path):
    "Strips of rows, as a map reads them, are what `read_raster` reads, of a sound file: of blocks with too much in them GDAL gives now these pixels, now those."
    from sat_recipes.raster import open_raster, read_raster
    with open_raster(path) as scene:
        height, width = min(scene.info.height, 70), min(scene.info.width, 70)
        rows = np.concatenate([scene.read(window=Window(0, top, width, n)) for top, n in ((0, height//2), (height//2, height - height//2)) if n], axis=1)
    if path.name.startswith('good_'): np.testing.assert_array_equal(rows, read_raster(path, window=Window(0, 0, width, height)).data)


def tried(path):
    "{attempt: 'read', or the sentence that refuses, or what else went wrong}, and the warnings."
    from sat_recipes.raster import RasterError
    found = {}
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter('always')
        warnings.simplefilter('ignore', PendingDeprecationWarning)  # rasterio's, of affine
        for name, attempt in attempts(path):
            try: found[name] = attempt() and 'read' or 'read'
            except RasterError as error: found[name] = str(error)
            except Exception as error: found[name] = f'! {type(error).__name__}: {error}'
    return dict(found=found, warned=[str(w.message) for w in told])


def peak_memory():
    "Bytes; `ru_maxrss` would count what the process that started this one had."
    return 1024*int(re.search(r'VmHWM:\s+(\d+)', Path('/proc/self/status').read_text()).group(1))


def read_all(folder):
    import sat_recipes.raster  # noqa: F401 before memory is limited and counted
    limit = MEMORY + 1024*int(re.search(r'VmSize:\s+(\d+)', Path('/proc/self/status').read_text()).group(1))
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for path in sorted(Path(folder).glob('*.[tv][ir][ft]')):
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        print(json.dumps([path.name]), flush=True)
        start = time.perf_counter()
        result = tried(path)
        print(json.dumps([path.name, result | dict(seconds=time.perf_counter() - start, memory=peak_memory())]), flush=True)


# --- what became of them --------------------------------------------------------------------------

@pytest.fixture(scope='module')
def results(tmp_path_factory):
    "{file: what became of it}, with everything that was printed."
    folder = tmp_path_factory.mktemp('hostile')
    mutated(folder)
    odd(folder)
    done = subprocess.run([sys.executable, __file__, folder], capture_output=True, text=True, timeout=120)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, f'reading {lines[-1][0]} ended the process: {done.returncode} {done.stderr[-2000:]}'
    return dict(folder=folder, printed=done.stderr, files=dict(line for line in lines if len(line) == 2))


def said(results): return [(name, what, sentence) for name, result in results['files'].items() for what, sentence in result['found'].items() if sentence != 'read']


def test_there_are_enough(results):
    "At least 200 files with something wrong, of which many are noticed and some can be read."
    names = [name for name in results['files'] if not name.startswith('good_')]
    refused = {name for name, *_ in said(results)}
    assert len(names) >= 500 and len(refused) >= 250 and len(set(names) - refused) >= 50


def test_one_sentence_with_name_and_remedy(results):
    for name, what, sentence in said(results):
        shown = ''.join(c if c.isprintable() else ' ' for c in name)
        assert not sentence.startswith('!') and '\n' not in sentence and sentence.isprintable() and len(sentence) < 400, f'{what}: {sentence}'
        before, found, after = sentence.rpartition(shown)
        assert found and sentence.endswith('.') and '. ' not in after and re.search(': .*(fetch|remove|convert|give|check|correct|pass|name|read)', after), f'{what}: {sentence}'


def test_nothing_hangs_or_grows(results):
    slow = {name: result['seconds'] for name, result in results['files'].items() if result['seconds'] > 2}
    assert not slow and max(r['memory'] for r in results['files'].values()) < 1.5e9


def test_nothing_is_printed(results):
    # libtiff's own words about an offset beyond what a file can have; GDAL hands them on to nobody.
    assert results['printed'].replace('_tiffSeekProc: Invalid argument.\n', '') == ''
    for name, result in results['files'].items(): assert all(name.split('\n')[0] in w for w in result['warned']), result['warned']


def matching(results, patterns): return [(p.name, results['files'][p.name]['found']) for pattern in patterns for p in results['folder'].glob(pattern) if p.name in results['files']]


def test_what_is_sound_is_read_and_what_is_none_refused(results):
    for name, found in matching(results, READ): assert found['reflectance'] == 'read', found
    for name, found in matching(results, REFUSED): assert found['reflectance'] != 'read', name


# --- training among them --------------------------------------------------------------------------

def training_folder(folder, hostile):
    "Two classes of good patches, and a third of which some are good: every third of the mutated files, and all odd ones."
    for label in ('forest', 'river'):
        for i in range(6): written(folder/'patches'/label/f'fine{i}.tif', bands=13)
    mutations = {p.name for p in hostile.iterdir() if re.match(f'({"|".join(GOOD)})_', p.name)}
    left_out = set(sorted(mutations)[::3]) ^ mutations
    shutil.copytree(hostile, folder/'patches'/'sea', symlinks=True, ignore=lambda _, names: [n for n in names if n in left_out or n in ('pipe.tif', 'device.tif')])
    return folder/'patches'


def train(folder):
    "Loaders over a folder, from files or from a store; prints what became of it."
    os.environ['OMP_NUM_THREADS'] = '1'
    from sat_recipes.multiband import MultibandDataLoaders
    resource.setrlimit(resource.RLIMIT_AS, (4*MEMORY, 4*MEMORY))
    for store in (None, folder.parent/'patches.store'):
        with warnings.catch_warnings(record=True):
            dls = MultibandDataLoaders.from_folder(folder, bs=4, seed=0, device='cpu', num_workers=0, on_bad='skip', store=store)
            kept, shapes = [str(f) for f in [*dls.train_ds.items, *dls.valid_ds.items]], {tuple(b[0].shape[1:]) for b in [*dls.train, *dls.valid]}
        print(json.dumps(dict(kept=kept, dropped=[[str(f), why] for f, why in dls.dropped], shapes=[*shapes], memory=peak_memory())), flush=True)


@pytest.fixture(scope='module')
def trained(tmp_path_factory, results):
    folder = training_folder(tmp_path_factory.mktemp('training'), results['folder'])
    done = subprocess.run([sys.executable, __file__, folder, 'train'], capture_output=True, text=True, timeout=120)
    return folder, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


@pytest.mark.parametrize('source', [0, 1], ids=['files', 'store'])
def test_skipping_goes_on_with_the_good_ones(trained, source):
    folder, outcomes, printed = trained
    assert len(outcomes) > source, printed[-2000:]
    kept, dropped = outcomes[source]['kept'], outcomes[source]['dropped']
    names = {Path(f).name for f in kept}
    assert outcomes[source]['shapes'] == [[13, 64, 64]] and outcomes[source]['memory'] < 3e9
    assert {f'fine{i}.tif' for i in range(6)} <= names and {'with space.tif', '衛星画像.tif', 'good_striped.tif'} <= names and not names & {'is_html.tif', 'all_nan.tif'}
    found = [p for p in folder.rglob('*.tif') if not p.is_dir()]
    assert len(kept) + len(dropped) == len(found) and len(dropped) > 250
    for file, why in dropped: assert '\n' not in why and ''.join(c if c.isprintable() else ' ' for c in Path(file).name) in why, why


def test_both_ways_keep_the_same(trained): assert len(trained[1]) == 2 and len({json.dumps([sorted(o['kept']), sorted(f for f, _ in o['dropped'])]) for o in trained[1]}) == 1


@pytest.mark.parametrize('store', [None, 'patches.store'])
@pytest.mark.parametrize('bad', [b'', b'<html>', 5000, 'folder'])
def test_without_skipping_the_file_is_named(tmp_path, bad, store):
    from sat_recipes.multiband import MultibandDataLoaders
    for label in ('forest', 'river'):
        for i in range(4): good = written(tmp_path/'patches'/label/f'fine{i}.tif', bands=4)
    broken = tmp_path/'patches'/'river'/'broken.tif'
    if bad == 'folder': written(tmp_path/'patches'/'river'/'broken.tif', bands=5)
    else: broken.write_bytes(good.read_bytes()[:bad] if isinstance(bad, int) else bad)
    with pytest.raises(ValueError) as error:
        dls = MultibandDataLoaders.from_folder(tmp_path/'patches', bs=2, seed=0, device='cpu', store=store and tmp_path/store)
        for batch in dls.valid: pass
    assert 'broken.tif' in str(error.value) and '\n' not in str(error.value)


# --- archives -------------------------------------------------------------------------------------

def archived(path, *members):
    with zipfile.ZipFile(path, 'w') as archive:
        for name, content in members:
            info = zipfile.ZipInfo()
            info.filename, info.external_attr = name, (stat.S_IFLNK | 0o777) << 16 if content == 'link' else 0o644 << 16
            archive.writestr(info, '/etc/passwd' if content == 'link' else content)
    return path


@pytest.mark.parametrize('name', ['../out.tif', '../../out.tif', '/tmp/hostile_out.tif', 'a/../../out.tif', 'a/b/../../../out.tif', './../out.tif', '..'])
def test_archives_that_climb_out(tmp_path, name):
    archive = archived(tmp_path/'evil.zip', ('fine.tif', 'x'), (name, 'out'))
    with pytest.raises(DatasetError, match='evil.zip holds .* climbs out of its folder') as error: unzip_archive(archive, tmp_path/'in'/'deep')
    assert '\n' not in str(error.value) and [p.name for p in tmp_path.rglob('*') if p.is_file()] == ['evil.zip'] and not Path('/tmp/hostile_out.tif').exists()


def test_links_in_archives_are_no_links(tmp_path):
    "A link out of the folder, and a file that would go through it."
    archive = archived(tmp_path/'evil.zip', ('a', 'link'), ('b/c.tif', 'x'))
    unzip_archive(archive, tmp_path/'in')
    assert not any(p.is_symlink() for p in (tmp_path/'in').rglob('*')) and (tmp_path/'in'/'b'/'c.tif').read_text() == 'x'


def test_a_link_that_is_there_already_is_not_followed(tmp_path):
    (tmp_path/'in').mkdir()
    (tmp_path/'elsewhere').mkdir()
    (tmp_path/'in'/'a').symlink_to(tmp_path/'elsewhere')
    with pytest.raises(DatasetError, match='climbs out of its folder'): unzip_archive(archived(tmp_path/'evil.zip', ('a/out.tif', 'out')), tmp_path/'in')
    assert not list((tmp_path/'elsewhere').iterdir())


if __name__ == '__main__': train(Path(sys.argv[1])) if len(sys.argv) > 2 else read_all(sys.argv[1])
