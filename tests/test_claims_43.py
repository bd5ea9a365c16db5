"""Recipe 43: its small catalog answers as a STAC API does, and what it asserts fails where two readings are alike."""
import ast
import json
import subprocess
import sys
from dataclasses import replace
from functools import cache, partial
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest
import requests
from conftest import RECIPES, taken
from sat_recipes.all import SENSORS, paired_difference, run_arms, spatial_block_folds
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

NAMES = {'blue': 'B02', 'green': 'B03', 'red': 'B04', 'nir': 'B08'}


def item(name, date, cloud, west):
    return dict(id=name, bbox=[west, 50, west + 1, 51], properties={'datetime': f'{date}T10:00:00Z', 'eo:cloud_cover': cloud})


@pytest.fixture
def address(tmp_path):
    "Of the recipe's server, with three items and a file of 100 bytes."
    path, = RECIPES.glob('43*.ipynb')
    sources = [c.source for c in nbformat.read(path, 4).cells if c.cell_type == 'code' and c.source.startswith('SERVER')]
    server = ''.join(ast.literal_eval(ast.parse(source).body[0].value) for source in sources)
    (tmp_path/'server.py').write_text(server)
    items = [item('clear', '2017-02-16', 6, 12), item('cloudy', '2017-03-08', 91, 12), item('elsewhere', '2017-02-19', 3, 9)]
    (tmp_path/'items.json').write_text(json.dumps(items))
    (tmp_path/'map.tif').write_bytes(bytes(range(100)))
    process = subprocess.Popen([sys.executable, tmp_path/'server.py', tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    yield f'http://127.0.0.1:{int(process.stdout.readline())}'
    process.stdin.close()
    assert process.wait(20) == 0  # it ends with the notebook


def test_the_catalog_searches_by_place_date_and_cloud(address):
    def ask(**changed):
        question = dict(bbox=[12.2, 50.2, 12.4, 50.4], datetime='2017-02-01T00:00:00Z/2017-03-31T23:59:59Z') | changed
        return [one['id'] for one in requests.post(f'{address}/search', json=question, timeout=20).json()['features']]
    assert ask() == ['clear', 'cloudy']
    assert ask(query={'eo:cloud_cover': {'lt': 20}}) == ['clear']
    assert ask(bbox=[9.2, 50.2, 9.4, 50.4]) == ['elsewhere']
    assert ask(datetime='2017-03-01T00:00:00Z/2017-03-31T23:59:59Z') == ['cloudy']


def test_the_server_sends_the_bytes_that_were_asked_for(address):
    answer = requests.get(f'{address}/map.tif', headers={'Range': 'bytes=10-19'}, timeout=20)
    assert (answer.status_code, answer.content, answer.headers['Content-Range']) == (206, bytes(range(10, 20)), 'bytes 10-19/100')
    assert requests.get(f'{address}/map.tif', headers={'Range': 'bytes=90-'}, timeout=20).content == bytes(range(90, 100))
    assert requests.get(f'{address}/sent', timeout=20).json() == [2, 20]
    assert requests.get(f'{address}/nothing.tif', timeout=20).status_code == 404


def test_scale_and_offset_come_from_the_item():
    sensor_of = taken('43', 'sensor_of', replace=replace, SENSORS=SENSORS, names=NAMES)['sensor_of']
    def told(*offsets):
        bands = [SimpleNamespace(extra_fields={'raster:bands': [dict(scale=2e-4, offset=offset)]}) for offset in offsets]
        return SimpleNamespace(assets=dict(zip(NAMES, bands)))
    sensor = sensor_of(told(-.1, -.1, -.1, -.1))
    assert (sensor.scale, sensor.offset, sensor.names) == (2e-4, -.1, list(NAMES.values()))
    with pytest.raises(ValueError): sensor_of(told(-.1, 0, -.1, -.1))


@pytest.mark.parametrize('shift, passes', [(.1, True), (0, False), (.0001, False)])
def test_an_offset_costs_recall_and_none_costs_nothing(shift, passes):
    rng = np.random.default_rng(0)
    rows, columns = np.indices((256, 256)).reshape(2, -1)
    labels = (columns//16 + rows//16) % 4
    spectra = np.array([[.1, .08, .06, .05], [.09, .07, .05, .2], [.1, .1, .12, .2], [.1, .1, .08, .3]])
    image = spectra[labels] + .01*rng.standard_normal((len(labels), 4))
    known = dict(np=np, cache=cache, spatial_block_folds=spatial_block_folds, make_pipeline=make_pipeline, StandardScaler=StandardScaler,
                 LogisticRegression=LogisticRegression, rows=rows, columns=columns, labels=labels)
    recipe = taken('43', 'fitted', 'mean_recall', 'holds', pixels={'old version': image, 'habit': image + shift}, **known)
    scores = run_arms({name: partial(recipe['mean_recall'], name) for name in ('old version', 'habit')}, range(5))
    assert recipe['holds'](paired_difference(scores, 'old version', against='habit')) == passes
