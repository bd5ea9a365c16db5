"Maps of scenes: killed and gone on with, on full disks, from many kinds of sources, with symmetries and doubt."
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from fastai.vision.all import Learner, nn
from rasterio.shutil import copy as copy_raster

from sat_recipes.multiband import MultibandDataLoaders, reader_of
from sat_recipes.predict import MapFiles, ShareMap, normalized_entropy, open_scene
from sat_recipes.raster import Raster, RasterError, raster_info, read_raster, write_raster
from sat_recipes.tiling import BlendedScene

KILLS = int(os.environ.get('SAT_RECIPES_KILLS', 2))
NORTH_UP = Affine(10, 0, 5e5, 0, -10, 5e6)
pytestmark = pytest.mark.filterwarnings('ignore::rasterio.errors.NotGeoreferencedWarning')


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch): monkeypatch.setenv('SAT_RECIPES_CACHE', str(tmp_path/'cache'))


def scene_file(path, height=90, width=110, bands=4, nodata=0, seed=0, transform=NORTH_UP, names=('B02', 'B03', 'B04', 'B08')):
    data = np.random.default_rng(seed).integers(1, 5000, (bands, height, width)).astype('uint16')
    data[:, :20, :30] = 0
    return write_raster(path, data, like=Raster(data, 'EPSG:32633', transform), nodata=nodata, band_names=names[:bands])


def learner(folder, net=None, seed=0):
    scene = scene_file(folder/'train.tif', 32, 48)
    mask = write_raster(folder/'train_mask.tif', np.random.default_rng(1).integers(0, 3, (32, 48)).astype('uint8'), nodata=None, like=scene)
    dls = MultibandDataLoaders.from_scenes(scene, mask, ['a', 'b', 'c'], size=16, bs=2, device='cpu')
    torch.manual_seed(seed)
    return Learner(dls, net or nn.Sequential(nn.Conv2d(4, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 3, padding=1)))


def predict(learn, src, dst, **kwargs):
    with learn.no_bar(): return learn.predict_scene(src, dst, **kwargs)


def narrow_strips(setattr, max_bytes=2**20):
    "Strips of fewer rows, so that a small scene has many."
    keep = BlendedScene.__init__
    setattr(BlendedScene, '__init__', lambda self, *args, **kwargs: keep(self, *args, **kwargs, max_bytes=max_bytes))


PREDICT = '''
import sys, torch, pathlib
sys.path.insert(0, sys.argv[1])
import test_maps
folder, dst, slow = pathlib.Path(sys.argv[2]), sys.argv[3], float(sys.argv[4])
import time
class Slow(torch.nn.Conv2d):
    def forward(self, x):
        time.sleep(slow)
        return super().forward(x)
torch.manual_seed(0)
learn = test_maps.learner(folder, Slow(4, 3, 3, padding=1))
test_maps.narrow_strips(setattr)
print('ready', flush=True)
test_maps.predict(learn, folder/'scene.tif', dst, output='both', uncertainty=True, size=32, overlap=.5, bs=1)
'''


def test_killed_at_random_moments_it_goes_on_and_ends_the_same(tmp_path):
    scene_file(tmp_path/'scene.tif', 500, 410)
    def start(dst, slow): return subprocess.Popen([sys.executable, '-c', PREDICT, str(Path(__file__).parent), tmp_path, dst, str(slow)], stdout=subprocess.PIPE, start_new_session=True,
                                                  env=os.environ | {'OMP_NUM_THREADS': '1'})
    whole = start(tmp_path/'whole'/'map.tif', 0)
    whole.stdout.readline()
    begun = time.time()
    assert whole.wait() == 0
    took = time.time() - begun
    expected = {f.name: f.read_bytes() for f in (tmp_path/'whole').iterdir()}
    assert sorted(expected) == ['map.tif', 'map_probabilities.tif', 'map_uncertainty.tif']
    rng, resumed = random.Random(0), 0
    for i in range(KILLS):
        folder = tmp_path/f'{i}'
        note = folder/'.map.tif.part'/'checkpoint.json'
        process = start(folder/'map.tif', 0)
        process.stdout.readline()
        wait = (lambda: note.exists() or process.poll() is not None) if i == 0 else (lambda until=time.time() + rng.random()*took: time.time() > until)
        while not wait(): time.sleep(.001)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for f in folder.glob('*.tif') if folder.exists() else []: assert f.read_bytes() == expected[f.name]
        resumed += note.exists()
        assert start(folder/'map.tif', 0).wait() == 0
        assert {f.name: f.read_bytes() for f in folder.iterdir()} == expected
    assert resumed


def stops(monkeypatch, error=KeyboardInterrupt):
    "Every run ends after the first strip that it writes."
    write = MapFiles.write
    def stopping(self, *args):
        write(self, *args)
        raise error
    monkeypatch.setattr(MapFiles, 'write', stopping)


@pytest.mark.parametrize('overlap', [.25, .5, .8])
@pytest.mark.parametrize('error', [KeyboardInterrupt, RuntimeError])
def test_interrupted_after_every_strip(tmp_path, monkeypatch, overlap, error):
    narrow_strips(monkeypatch.setattr, 2**18)
    learn, scene = learner(tmp_path), scene_file(tmp_path/'scene.tif', 300, 200)
    options = dict(size=32, overlap=overlap, bs=3, output='both')
    whole = [p.read_bytes() for p in predict(learn, scene, tmp_path/'whole.tif', **options)]
    stopped = 0
    for _ in range(60):
        with monkeypatch.context() as patch:
            stops(patch, error)
            try: result = predict(learn, scene, tmp_path/'map.tif', **options)
            except error: stopped += 1
            else: break
    assert stopped >= 3 and [p.read_bytes() for p in result] == whole and not (tmp_path/'.map.tif.part').exists()


@pytest.mark.parametrize('change', ['weights', 'scene', 'option', 'statistics', 'version'])
def test_another_model_scene_or_question_starts_anew(tmp_path, monkeypatch, change):
    learn, scene = learner(tmp_path), scene_file(tmp_path/'scene.tif', 600, 300)
    narrow_strips(monkeypatch.setattr)
    with monkeypatch.context() as patch:
        stops(patch)
        with pytest.raises(KeyboardInterrupt): predict(learn, scene, tmp_path/'map.tif', size=32, bs=1)
    assert (tmp_path/'.map.tif.part'/'checkpoint.json').exists() and not (tmp_path/'map.tif').exists()
    options = dict(size=32, bs=1)
    if change == 'weights': learn.model[0].weight.data += .1
    if change == 'scene': scene_file(scene, 600, 300, seed=5)
    if change == 'option': options['overlap'] = .5
    if change == 'statistics': learn.dls.valid.after_batch.fs[-1].mean = learn.dls.valid.after_batch.fs[-1].mean + .1
    if change == 'version':
        monkeypatch.setattr('sat_recipes.predict.__version__', 'the next')
        spoil(tmp_path/'.map.tif.part'/'0.tif')
    assert predict(learn, scene, tmp_path/'map.tif', **options).read_bytes() == predict(learn, scene, tmp_path/'fresh.tif', **options).read_bytes()


def spoil(path):
    "Another version would have written something else."
    with rasterio.open(path, 'r+') as target: target.write(target.read(1) + 1, 1)


def test_two_runs_to_one_map_do_not_mix(tmp_path):
    learn, scene = learner(tmp_path), scene_file(tmp_path/'scene.tif')
    with MapFiles({tmp_path/'map.tif': ShareMap(['a'])}, raster_info(scene), {}, '').growing() as first:
        first.write(0, torch.ones(1, 90, 110), np.ones((90, 110), bool))
        with pytest.raises(RasterError, match='being written by another run'): predict(learn, scene, tmp_path/'map.tif')
    assert raster_info(tmp_path/'map.tif').band_names == ('a',)


@pytest.fixture
def small_disk(tmp_path):
    path = tmp_path/'small'
    path.mkdir()
    if subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=300k', 'tmpfs', path], capture_output=True).returncode: pytest.skip('a tmpfs cannot be mounted here')
    yield path
    subprocess.run(['umount', path])


@pytest.mark.parametrize('filled,output', [(0, 'both'), (250, 'both')])
def test_a_full_disk_leaves_what_was_there(tmp_path, small_disk, filled, output):
    learn, scene = learner(tmp_path), scene_file(tmp_path/'scene.tif', 300, 280)
    (small_disk/'map.tif').write_bytes(b'last week')
    (small_disk/'other').write_bytes(b'x'*1024*filled)
    with pytest.raises(RasterError, match='map.tif cannot be written .* space left on the disk'): predict(learn, scene, small_disk/'map.tif', output=output)
    assert (small_disk/'map.tif').read_bytes() == b'last week' and sorted(f.name for f in small_disk.iterdir()) == ['map.tif', 'other']
    assert len(predict(learn, scene, tmp_path/'map.tif', output='both')) == 2


def test_a_disk_that_is_full_at_the_end_costs_no_work(tmp_path, small_disk):
    "There is room for the map but not for its copy: once there is, the next run makes it."
    learn, scene = learner(tmp_path), scene_file(tmp_path/'scene.tif', 300, 280)
    (small_disk/'map.tif').write_bytes(b'last week')
    (small_disk/'other').write_bytes(b'x'*1024*196)
    with pytest.raises(RasterError, match='map.tif cannot be written .* space left on the disk'): predict(learn, scene, small_disk/'map.tif')
    assert (small_disk/'map.tif').read_bytes() == b'last week' and (small_disk/'.map.tif.part'/'checkpoint.json').exists()
    (small_disk/'other').unlink()
    assert predict(learn, scene, small_disk/'map.tif').read_bytes() == predict(learn, scene, tmp_path/'map.tif').read_bytes()
    assert [f.name for f in small_disk.iterdir()] == ['map.tif']


def test_a_disk_that_fills_while_the_map_grows(tmp_path, small_disk):
    "GDAL leaves holes where a map is 0, and a process that fills one on a full disk is ended: the map has all its room from the beginning."
    info = raster_info(write_raster(tmp_path/'small.tif', np.ones((200, 280), 'uint8')))
    with pytest.raises(RasterError, match='map.tif cannot be written'), MapFiles({small_disk/'map.tif': ShareMap(['a'])}, info, {}, '').growing() as maps:
        with pytest.raises(OSError): (small_disk/'other').write_bytes(b'x'*1024*300)
        maps.write(0, torch.rand(1, 200, 280), np.ones((200, 280), bool))  # no room for a checkpoint
    assert [f.name for f in small_disk.iterdir()] == ['other']


def split_in_files(scene, folder, coarse=('B08',)):
    raster, files = read_raster(scene), []
    for name, band in zip(raster.band_names, raster.data):
        step = 2 if name in coarse else 1
        data = band.reshape(band.shape[0]//step, step, band.shape[1]//step, step).mean((1, 3)).astype('uint16')
        files.append(write_raster(folder/f'T33UUP_20260601_{name}_{10*step}m.tif', data, like=Raster(data, raster.crs, Affine(10*step, 0, 5e5, 0, -10*step, 5e6)), nodata=0))
    return files


def test_files_of_several_resolutions_in_any_order(tmp_path):
    learn, scene = learner(tmp_path), scene_file(tmp_path/'scene.tif')
    want = predict(learn, scene, tmp_path/'want.tif')
    files = split_in_files(scene, tmp_path/'bands', coarse=())
    assert (read_raster(predict(learn, files[::-1], tmp_path/'map.tif')).data == read_raster(want).data).all()
    mixed = split_in_files(scene, tmp_path/'mixed')
    got = read_raster(predict(learn, mixed, tmp_path/'mixed.tif'))
    assert got.data.shape == (1, 90, 110) and got.crs.to_epsg() == 32633 and got.transform == NORTH_UP and (got.data[0, :18, :28] == 0).all()
    with open_scene(mixed, reader_of(learn.dls)) as opened:
        parts = np.concatenate([opened.read(a, b) for a, b in ((0, 37), (37, 64), (64, 90))], 1)
        np.testing.assert_array_equal(parts, opened.read(0, 90))
        np.testing.assert_array_equal(parts[:, 7:50, 13:77], opened.read(7, 50, 13, 77))
    assert (read_raster(predict(learn, files + mixed[3:], tmp_path/'again.tif')).data == read_raster(want).data).all()


@pytest.mark.parametrize('change', [dict(crs='EPSG:32634'), dict(transform=Affine(10, 0, 6e5, 0, -10, 5e6)), dict(dtype='int16'), dict(crs=None)])
def test_files_that_do_not_belong_together(tmp_path, change):
    learn, scene = learner(tmp_path), scene_file(tmp_path/'scene.tif')
    files = split_in_files(scene, tmp_path/'bands', coarse=())
    with rasterio.open(files[2]) as source: data, profile = source.read(), source.profile
    with rasterio.open(tmp_path/'odd_B04_.tif', 'w', **{**profile, 'driver': 'GTiff', **change}) as target: target.write(data.astype(change.get('dtype', 'uint16')))
    with pytest.raises(RasterError, match='odd_B04_.tif has another'): predict(learn, [files[0], files[1], tmp_path/'odd_B04_.tif', files[3]], tmp_path/'map.tif')
    with pytest.raises(RasterError, match='empty list'): predict(learn, [], tmp_path/'map.tif')
    with pytest.raises(RasterError, match='was trained on'): predict(learn, files[:2], tmp_path/'map.tif')
    assert not [f for f in tmp_path.iterdir() if 'map' in f.name]


SERVER = """
import functools, http.server, pathlib, sys
class Ranges(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args): pass
    def do_HEAD(self): self.do_GET(body=False)
    def do_GET(self, body=True):
        file = pathlib.Path(self.directory)/self.path.lstrip('/')
        if not file.is_file(): return self.send_error(404)
        data, asked = file.read_bytes(), self.headers.get('Range')
        start, stop = (int(x) if x else len(data) - 1 for x in asked.split('=')[1].split('-')) if asked else (0, len(data) - 1)
        part = data[start:stop + 1]
        self.send_response(206 if asked else 200)
        self.send_header('Content-Length', str(len(part)))
        self.send_header('Accept-Ranges', 'bytes')
        if asked: self.send_header('Content-Range', f'bytes {start}-{start + len(part) - 1}/{len(data)}')
        self.end_headers()
        if body: self.wfile.write(part)
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Ranges, directory=sys.argv[1]))
print(server.server_port, flush=True)
server.serve_forever()
"""


def test_vrt_and_url(tmp_path, monkeypatch):
    learn, scene = learner(tmp_path), scene_file(tmp_path/'scene.tif')
    want = read_raster(predict(learn, scene, tmp_path/'want.tif')).data
    copy_raster(scene, tmp_path/'scene.vrt', driver='VRT')
    assert (read_raster(predict(learn, tmp_path/'scene.vrt', tmp_path/'from_vrt.tif')).data == want).all()
    for name in ('NO_PROXY', 'no_proxy'): monkeypatch.setenv(name, '127.0.0.1')
    server = subprocess.Popen([sys.executable, '-c', SERVER, tmp_path], stdout=subprocess.PIPE)  # a process: opening waits for it, and lets no thread of ours run
    try:
        address = f'http://127.0.0.1:{int(server.stdout.readline())}'
        assert (read_raster(predict(learn, f'{address}/scene.tif', tmp_path/'from_url.tif')).data == want).all()
        with pytest.raises(RasterError, match='127.0.0.1'): predict(learn, f'{address}/gone.tif', tmp_path/'gone.tif')
    finally: server.kill()


def test_symmetries_are_averaged(tmp_path):
    learn, scene = learner(tmp_path), scene_file(tmp_path/'scene.tif', 64, 64, nodata=None)
    from sat_recipes.augment import dihedral
    options = dict(output='probabilities', size=64, overlap=0)
    plain = read_raster(predict(learn, scene, tmp_path/'plain.tif', **options)).data
    mean = read_raster(predict(learn, scene, tmp_path/'mean.tif', d4=True, **options)).data
    raster = read_raster(scene)
    turned = []
    for k in range(8):
        data = dihedral(torch.from_numpy(raster.data.astype('int32'))[None], k)[0].numpy().astype('uint16')
        file = write_raster(tmp_path/f'turned_{k}.tif', data, nodata=None, like=None, band_names=raster.band_names)
        p = torch.from_numpy(read_raster(predict(learn, file, tmp_path/f'p_{k}.tif', **options)).data)[None]
        turned.append(next(q for j in range(8) if torch.equal(dihedral(dihedral(torch.arange(64*64).view(1, 1, 64, 64), k), j), torch.arange(64*64).view(1, 1, 64, 64)) for q in [dihedral(p, j)])[0].numpy())
    np.testing.assert_allclose(mean, np.mean(turned, 0), atol=1e-5)
    assert np.nanmax(np.abs(mean - plain)) > 1e-3


def test_doubt_is_the_entropy(tmp_path):
    learn, scene = learner(tmp_path), scene_file(tmp_path/'scene.tif')
    path, chances, doubt = predict(learn, scene, tmp_path/'map.tif', output='both', uncertainty=True)
    p, u = read_raster(chances).data, read_raster(doubt)
    valid = read_raster(scene).valid
    np.testing.assert_allclose(u.data[0][valid], (-(p*np.log(p)).sum(0)/np.log(3))[valid], atol=1e-4)
    assert np.isnan(u.data[0][~valid]).all() and u.band_names == ('uncertainty',) and doubt.name == 'map_uncertainty.tif' and u.data[0][valid].max() <= 1
    assert predict(learn, scene, tmp_path/'alone.tif', uncertainty=True) == (tmp_path/'alone.tif', tmp_path/'alone_uncertainty.tif')
    assert ShareMap(['a'], -9999, normalized_entropy).pixels(torch.ones(1, 2, 2), np.array([[True, True], [False, True]]))[0].tolist() == [[0, 0], [-9999, 0]]


@pytest.mark.parametrize('free', [4, 20, 40, 60, 72, 80])
def test_a_disk_that_fills_while_the_copy_is_made(tmp_path, small_disk, free):
    noise = np.random.default_rng(0).integers(0, 255, (280, 300)).astype('uint8')
    whole = write_raster(tmp_path/'whole.tif', noise, nodata=None)
    (small_disk/'other').write_bytes(b'x'*1024*(300 - free))
    (small_disk/'map.tif').write_bytes(b'')
    with pytest.raises(RasterError, match='map.tif cannot be written'): write_raster(small_disk/'map.tif', noise, nodata=None)
    assert (small_disk/'map.tif').read_bytes() == b'' and len(list(small_disk.iterdir())) == 2 and whole.stat().st_size > 80*1024


def test_many_scenes_on_two_workers_are_those_of_one_process(tmp_path):
    pytest.importorskip('distributed')
    learn, folder = learner(tmp_path), tmp_path/'scenes'
    folder.mkdir()
    scenes = {f's{i}': scene_file(folder/f's{i}.tif', 60 + 7*i, 80, seed=i) for i in range(4)}
    (folder/'bad.tif').write_text('no raster')
    scenes |= {'bad': folder/'bad.tif', 'files': split_in_files(scene_file(tmp_path/'even.tif'), tmp_path/'bands')}
    with learn.no_bar():
        one = learn.predict_scenes(scenes, tmp_path/'one', n_workers=0, progress=False, output='both', d4=True)
        two = learn.predict_scenes(scenes, tmp_path/'two', n_workers=2, progress=False, output='both', d4=True)
    for table in (one, two): assert table['map'].isna().tolist() == table.scene.eq('bad').tolist() and 'bad.tif cannot be read' in table.error[table.scene == 'bad'].item()
    files = sorted(f.name for f in (tmp_path/'one').iterdir())
    assert len(files) == 10 and files == sorted(f.name for f in (tmp_path/'two').iterdir())
    for name in files: assert (tmp_path/'one'/name).read_bytes() == (tmp_path/'two'/name).read_bytes()


def test_a_cluster_by_its_address_and_bad_calls(tmp_path, monkeypatch):
    distributed = pytest.importorskip('distributed')
    learn, scene = learner(tmp_path), scene_file(tmp_path/'scene.tif')
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        table = learn.predict_scenes([scene], tmp_path/'maps', cluster=cluster.scheduler_address, progress=False)
    assert table['map'].tolist() == [tmp_path/'maps'/'scene.tif'] and table['map'][0].exists()
    with pytest.raises(ValueError, match='same file name'): learn.predict_scenes([scene, scene], tmp_path/'maps')
    with pytest.raises(ValueError, match='no scenes'): learn.predict_scenes([], tmp_path/'maps')
    monkeypatch.setitem(sys.modules, 'dask.distributed', None)
    with pytest.raises(ImportError, match=r'pip install sat-recipes\[dask\]'): learn.predict_scenes([scene], tmp_path/'maps')
