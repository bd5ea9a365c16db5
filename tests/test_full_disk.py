"On a full disk, or where nothing may be written: one clear sentence, the older file untouched, no rubbish."
import errno
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

from sat_recipes import raster
from sat_recipes.raster import RasterError, RasterWriteError, atomic_path, finish_raster, read_raster, write_raster

NOISE = np.random.default_rng(0).integers(0, 2**16, (2, 1200, 1200)).astype('uint16')  # 5.5 MB that do not compress


@pytest.fixture
def small_disk(tmp_path):
    path = tmp_path/'small'
    path.mkdir()
    if subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', path], capture_output=True).returncode: pytest.skip('a small disk needs the right to mount a tmpfs')
    yield path
    subprocess.run(['umount', path], check=True)


def fill(disk, leave):
    "Take all of the disk but `leave` bytes."
    (disk/'other').write_bytes(b'x'*(os.statvfs(disk).f_bavail*os.statvfs(disk).f_frsize - leave))


def clear(error, *words):
    text = str(error.value)
    assert '\n' not in text and len(text) < 400 and text.endswith('.') and all(w in text for w in ('space left on the disk', *words)), text


# The larger ones break while the pixels are written, the smaller while the last bytes are, when GDAL closes the file.
@pytest.mark.parametrize('leave', [0, 4096, 100_000, 400_000])
@pytest.mark.parametrize('data', [NOISE, NOISE[:1, :500, :500], NOISE[:, :700, :600].astype('float32')], ids=['overviews', 'plain', 'float'])
def test_write_raster(small_disk, data, leave):
    path = write_raster(small_disk/'map.tif', np.full((1, 20, 20), 7, 'uint8'))
    before = path.read_bytes()
    fill(small_disk, leave)
    with pytest.raises(RasterWriteError) as error: write_raster(path, data)
    clear(error, f'{path} cannot be written')
    assert path.read_bytes() == before and sorted(f.name for f in small_disk.iterdir()) == ['map.tif', 'other']


def test_every_size_of_disk_gives_a_whole_file_or_none(small_disk):
    "Where exactly the room ends makes no difference."
    data = NOISE[:1, :300, :300]
    needed, kept = write_raster(small_disk/'map.tif', data).stat().st_size, []
    (small_disk/'map.tif').unlink()
    for leave in np.linspace(0, needed*1.2, 30).astype(int):
        fill(small_disk, int(leave))
        try: kept.append(read_raster(write_raster(small_disk/'map.tif', data)).data)
        except RasterWriteError: assert not (small_disk/'map.tif').exists()
        for file in small_disk.iterdir(): file.unlink()
    assert 2 <= len(kept) <= 10 and all(np.array_equal(k, data) for k in kept)


def test_finish_raster(small_disk, tmp_path):
    whole = write_raster(tmp_path/'whole.tif', NOISE)
    (small_disk/'map.tif').write_bytes(b'last week')
    with pytest.raises(RasterWriteError) as error: finish_raster(whole, small_disk/'map.tif')
    clear(error, 'map.tif')
    assert (small_disk/'map.tif').read_bytes() == b'last week' and [f.name for f in small_disk.iterdir()] == ['map.tif']
    assert np.array_equal(read_raster(finish_raster(whole, tmp_path/'copy.tif')).data, NOISE)


def test_atomic_path(small_disk):
    (small_disk/'notes.txt').write_text('old')
    with pytest.raises(OSError), atomic_path(small_disk/'notes.txt') as path:
        with open(path, 'wb') as f:
            for _ in range(40): f.write(bytes(100_000))
    assert (small_disk/'notes.txt').read_text() == 'old' and [f.name for f in small_disk.iterdir()] == ['notes.txt']


def test_the_systems_temporary_folder_may_be_full(small_disk, tmp_path, monkeypatch):
    "Only the disk of the new file counts."
    fill(small_disk, 0)
    for name in ('TMPDIR', 'TMP', 'TEMP'): monkeypatch.setenv(name, str(small_disk))
    code = f'import numpy as np; from sat_recipes.raster import write_raster; write_raster({str(tmp_path/"map.tif")!r}, np.random.default_rng(0).integers(0, 2**16, (2, 1200, 1200)).astype("uint16"))'
    subprocess.run([sys.executable, '-c', code], check=True)
    assert np.array_equal(read_raster(tmp_path/'map.tif').data, NOISE)


def test_a_file_that_may_not_grow(tmp_path):
    "A limit on the size of files, as on shared machines: works where no disk can be mounted."
    path = write_raster(tmp_path/'map.tif', np.full((1, 20, 20), 7, 'uint8'))
    code = f'''import resource, signal, numpy as np
from sat_recipes.raster import RasterWriteError, write_raster
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
try: write_raster({str(path)!r}, np.random.default_rng(0).integers(0, 2**16, (2, 1200, 1200)).astype('uint16'))
except RasterWriteError as error: print(error)'''
    said = subprocess.run([sys.executable, '-c', code], check=True, capture_output=True, text=True)
    assert said.stdout.startswith(f'{path} cannot be written') and 'Traceback' not in said.stderr
    assert read_raster(path).data.mean() == 7 and [f.name for f in tmp_path.iterdir()] == ['map.tif']


def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path/'out').write_text('no folder')
    with pytest.raises(RasterWriteError, match='map.tif cannot be written'): write_raster(tmp_path/'out'/'map.tif', NOISE)
    (tmp_path/'map.tif').mkdir()
    with pytest.raises(RasterWriteError, match='map.tif cannot be written'): write_raster(tmp_path/'map.tif', NOISE)
    assert sorted(f.name for f in tmp_path.iterdir()) == ['map.tif', 'out']


def test_what_gdal_swallows_is_noticed(tmp_path, monkeypatch):
    "A copy that lacks its end does not get its name."
    real = raster.copy_raster
    def torn(source, dst, **options):
        real(source, dst, **options)
        os.truncate(dst, os.path.getsize(dst) - 1000)
    monkeypatch.setattr(raster, 'copy_raster', torn)
    with pytest.raises(RasterWriteError, match='took only a part of it'): write_raster(tmp_path/'map.tif', NOISE)
    assert not list(tmp_path.iterdir())


def test_the_error_travels_between_processes():
    error = pickle.loads(pickle.dumps(RasterWriteError('/a/map.tif', os.strerror(errno.ENOSPC))))
    assert isinstance(error, RasterError) and error.path == '/a/map.tif' and 'No space left' in str(error)
