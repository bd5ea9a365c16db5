"The built wheel, installed outside the repository, does what the README promises in its own lines."
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope='module')
def site(wheel, tmp_path_factory):
    "The wheel's files unpacked, as pip would: what is not in the wheel is not there."
    folder = tmp_path_factory.mktemp('site')
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


def test_metadata(wheel):
    with zipfile.ZipFile(wheel) as z:
        metadata = z.read(next(n for n in z.namelist() if n.endswith('/METADATA'))).decode()
    needed = [l.split(': ')[1] for l in metadata.splitlines() if l.startswith('Requires-Dist') and 'extra ==' not in l]
    names = {re.match(r'[\w.-]+', n)[0] for n in needed}
    assert {'fastai', 'rasterio', 'timm', 'pooch', 'albumentations', 'ipywidgets', 'anywidget'} <= names
    assert not names & {'numba', 'deflate', 'nbdev', 'jupyterlab', 'jupyter', 'notebook', 'ipykernel', 'sphinx', 'pytest'}
    assert 'Requires-Python: >=3.11' in metadata


def test_carries_labels_and_modules(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {f'sat_recipes/static/{name}' for name in ('s2_clearings_labels.geojson', 'draw.js', 'widgets.css', 'threshold_explorer.js')} <= set(names)
    assert {f'sat_recipes/{m}.py' for m in ('bands', 'raster', 'datasets', 'multiband', 'transfer', 'metrics', 'predict', 'widgets', 'all')} <= set(names)
    assert not [n for n in names if n.startswith(('tests', 'nbs', 'docs'))]


def readme_lines():
    "The README's ten lines from files to a map."
    blocks = re.findall(r'```python\n(.*?)```', (ROOT/'README.md').read_text(), re.S)
    return next(b for b in blocks if 'from_folder' in b and 'predict_scene' in b)


def patches(folder, count, dtype, per_class=6, side=32):
    "Two classes that differ in their last band."
    rng, top = np.random.default_rng(0), {'uint8': 200, 'float32': .5}.get(dtype, 4000)
    for name, level in (('dark', .2), ('bright', .6)):
        (folder/name).mkdir(parents=True)
        for i in range(per_class):
            data = rng.normal(.3, .05, (count, side, side))
            data[-1] += level
            with rasterio.open(folder/name/f'{i}.tif', 'w', driver='GTiff', count=count, height=side, width=side, dtype=dtype, crs='EPSG:32633',
                               transform=from_origin(500_000, 5_000_000, 10, 10)) as f: f.write((data*top).astype(dtype))
    scene = np.concatenate([data, data], 2)
    with rasterio.open(folder.parent/'scene.tif', 'w', driver='GTiff', count=count, height=side, width=2*side, dtype=dtype, crs='EPSG:32633',
                       transform=from_origin(500_000, 5_000_000, 10, 10)) as f: f.write((scene*top).astype(dtype))


def run_outside(lines, site, folder):
    "Run lines in a fresh Python in `folder`, the unpacked wheel first on its path."
    check = f"import sat_recipes; assert sat_recipes.__file__.startswith({str(site)!r}), sat_recipes.__file__\n"
    environment = {**os.environ, 'PYTHONPATH': str(site), 'MPLBACKEND': 'agg', 'OMP_NUM_THREADS': '1'}
    return subprocess.run([sys.executable, '-c', check + lines], cwd=folder, env=environment, capture_output=True, text=True, timeout=600)


def shortened(lines): return re.sub(r'fine_tune\(\d+', 'fine_tune(1', lines).replace('freeze_epochs=3', 'freeze_epochs=1')


def test_readme_lines(site, tmp_path):
    patches(tmp_path/'patches', 13, 'uint16')
    result = run_outside(shortened(readme_lines()), site, tmp_path)
    assert result.returncode == 0, result.stderr[-2000:]
    with rasterio.open(tmp_path/'scene.tif') as scene, rasterio.open(tmp_path/'map.tif') as made:
        # Zeros of 16-bit numbers of this sensor are nodata, so the two classes are stored as 1 and 2.
        assert (made.crs, made.transform, made.shape, made.nodata) == (scene.crs, scene.transform, scene.shape, 0)
        assert set(np.unique(made.read(1))) <= {1, 2} and made.colormap(1)


def test_a_widget_outside_the_repository(site, tmp_path):
    code = "from sat_recipes.widgets import *; assert 'aria-live' in ThresholdExplorer([0, 1], [.2, .8])._esm"
    result = run_outside(code, site, tmp_path)
    assert result.returncode == 0, result.stderr[-2000:]


CASES = """
from sat_recipes.all import *
for count, dtype, bands in [(1, 'uint8', None), (4, 'int16', None), (8, 'float32', [0, 3, 7]), (13, 'uint16', ['B04', 'B08'])]:
    folder = Path(f'{count}_{dtype}')
    dls = MultibandDataLoaders.from_folder(folder/'patches', sensor='eurosat' if count == 13 else None, bands=bands, bs=4, seed=0)
    learn = multiband_learner(dls, min_size=0)
    with learn.no_bar(), learn.no_logging(): learn.fine_tune(1)
    learn.predict_scene(folder/'scene.tif', folder/'map.tif', progress=False)
"""


def test_band_counts_and_types(site, tmp_path):
    for count, dtype in [(1, 'uint8'), (4, 'int16'), (8, 'float32'), (13, 'uint16')]: patches(tmp_path/f'{count}_{dtype}'/'patches', count, dtype, 4)
    result = run_outside(CASES, site, tmp_path)
    assert result.returncode == 0, result.stderr[-2000:]
    assert len(list(tmp_path.glob('*/map.tif'))) == 4
