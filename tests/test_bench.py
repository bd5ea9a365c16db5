"""benchmarks/ and the page made from it, at tiny sizes and without the peers: what is compared, stored and said. No seconds are asserted."""
import csv
import importlib.util
import os
import re
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT/'benchmarks'))

import data
import harness
import run

spec = importlib.util.spec_from_file_location('speed_page', ROOT/'docs/speed.py')
speed = importlib.util.module_from_spec(spec)
spec.loader.exec_module(speed)

MACHINE = dict(cpu='A processor', cores=2, threads=2, memory_gb=8, gpu='', python='3.12.1', versions='torch=2.9 rasterio=1.4', date='2026-01-02')


def some_rows():
    "A row of each kind: as many times as fast, at most as long, at most as much, a target for our own number."
    return [harness.compare('later epoch', '768 patches', 'ours', 'theirs, 2 workers', [.2, .1, .3], [4., 5., 6.], at_least=30, tried='2 workers 4 s'),
            harness.compare('real model', '2048 x 2048', 'ours', 'forwards', [10.4], [10.], at_most=1.05),
            harness.compare('memory', '4096 | 4096', 'ours', '2048 x 2048', [1300.], [1000.], at_most=1.1, unit='MB'),
            harness.compare('accuracy', '137 patches', 'ours', 'baselines', [91.], [87.], at_least=92, absolute=True, unit='%')]


# --- Timing and verdicts -------------------------------------------------------------------------

def test_side_by_side_takes_turns_after_a_round_that_does_not_count():
    calls = []
    times = harness.side_by_side(lambda: calls.append('a'), lambda: calls.append('b'), 3)
    assert ''.join(calls) == 'abababab'
    assert [len(t) for t in times] == [3, 3] and min(times[0]) >= 0


def test_fastest_finds_the_best_setting_and_tells_what_was_tried():
    name, function, tried = harness.fastest({'slow': lambda: time.sleep(.05), 'quick': lambda: None})
    assert name == 'quick' and function() is None
    assert tried.startswith('slow 0.0') and ', quick ' in tried


def test_a_ratio_is_of_the_best_times_and_the_verdict_is_honest():
    epoch, model, memory, accuracy = some_rows()
    assert (epoch.ratio, epoch.ours_best, epoch.ours_median, epoch.peer_median) == pytest.approx((40, .1, .2, 5))
    assert (epoch.target, epoch.met) == ('>= 30', 'yes')
    assert (model.target, model.met, round(model.ratio, 2)) == ('<= 1.05', 'yes', 1.04)
    assert (memory.target, memory.met) == ('<= 1.1', 'no')
    assert (accuracy.target, accuracy.met, round(accuracy.ratio, 2)) == ('>= 92 %', 'no', 1.05)
    assert harness.compare('import', '', '', '', [.6], [.1], at_most=.5, absolute=True).target == '<= 0.5 s'


# --- Files ---------------------------------------------------------------------------------------

def test_csv_holds_every_column_and_the_machine(tmp_path):
    path = tmp_path/'new/scenes.csv'
    harness.write_csv(path, some_rows(), MACHINE)
    rows = speed.read(path)
    assert list(rows[0]) == [f.name for f in fields(harness.Row)] + list(MACHINE)
    assert rows[0]['ratio'] == '40' and rows[0]['versions'] == MACHINE['versions'] and rows[2]['size'] == '4096 | 4096'
    assert [p.name for p in path.parent.iterdir()] == ['scenes.csv']


def test_a_theme_prints_and_stores_its_rows(tmp_path, capsys):
    run.run_theme('scenes', iter(some_rows()), tmp_path, MACHINE)
    run.run_theme('scenes', iter(some_rows()), tmp_path, MACHINE | {'gpu': 'A GPU'})
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 8 and said[0].startswith('later epoch') and 'NOT MET' in said[2] and ' met ' in said[0]
    run.run_theme('eurosat', iter([]), tmp_path, MACHINE)
    assert {p.name for p in tmp_path.iterdir()} == {'scenes.csv', 'scenes-gpu.csv'}


def test_themes_and_options():
    for name in run.THEMES: assert importlib.util.find_spec(name)
    assert run.arguments([]).only == run.THEMES == tuple(speed.TITLES)
    with pytest.raises(SystemExit): run.arguments(['--only', 'nothing'])


def test_this_machine_says_what_a_reader_must_know():
    machine = harness.this_machine()
    assert list(machine) == list(MACHINE) and machine['cores'] >= 1 and 'torch=' in machine['versions'] and machine['cpu']


def test_data_are_made_once(tmp_path):
    folder = data.patches(20, tmp_path)
    assert len(list(folder.rglob('*.tif'))) == 20 and not any(p.name.startswith('.') for p in tmp_path.iterdir())
    before = folder.stat().st_mtime_ns
    assert data.patches(20, tmp_path) == folder and folder.stat().st_mtime_ns == before


def test_a_scene_is_whole_and_has_data_everywhere(tmp_path, monkeypatch):
    import rasterio
    monkeypatch.setattr(data, 'TILE', 64)
    with rasterio.open(data.scene(150, folder=tmp_path)) as source:
        pixels = source.read()
        assert (source.count, source.shape, source.dtypes[0], source.crs.is_projected) == (13, (150, 150), 'uint16', True)
    assert pixels.min() > 0 and (pixels[:, :64, :64] == pixels[:, 64:128, 64:128]).all() and (pixels[:, :22] == pixels[:, 128:]).all()


# --- What needs no peer, run for once ------------------------------------------------------------

@pytest.fixture
def tiny(tmp_path, monkeypatch):
    "Everything small, in a folder of its own."
    import scenes
    import training
    monkeypatch.setenv('SAT_RECIPES_CACHE', str(tmp_path/'cache'))
    monkeypatch.setattr(data, 'TILE', 64)
    monkeypatch.setattr(data.fresh_cache.__wrapped__, '__defaults__', (tmp_path,))
    monkeypatch.setattr(scenes, 'patches', lambda n: data.patches(20, tmp_path))
    monkeypatch.setattr(training, 'patches', lambda n: data.patches(20, tmp_path))
    monkeypatch.setattr(scenes, 'scene', lambda side: data.scene(side, tmp_path))
    monkeypatch.setattr(scenes, 'SIZE', 64)
    monkeypatch.setattr(training, 'BS', 8)
    return scenes


def test_the_forwards_alone_see_the_windows_that_the_map_took(tiny):
    row = tiny.beside_forwards(tiny.learner(), 100, repeats=1)
    assert row.met in ('yes', 'no') and row.ratio == pytest.approx(row.ours_best/row.peer_best) and row.unit == 's'
    assert int(re.search(r'(\d+) windows, batches of \d+$', row.peer)[1]) >= 4 and row.tried.count('batches of') == 3


def test_memory_of_a_process_is_told_in_kilobytes(tiny):
    now = tiny.resident('VmRSS')  # the kernel counts in steps, so the peak may lag a little
    assert tiny.resident('VmHWM') > .99*now > 50_000


def test_an_epoch_is_timed_beside_its_steps_and_leaves_no_cache(tiny, tmp_path):
    import training
    before = os.environ['SAT_RECIPES_CACHE']
    row = training.training_epoch(repeats=1)
    assert row.target.startswith('<= 1.0') and row.size.startswith('16 patches') and row.ratio > 0
    assert os.environ['SAT_RECIPES_CACHE'] == before and not list(tmp_path.glob('tmp*'))
    dls = training.ours(data.patches(20, tmp_path))
    assert training.drain(dls.train) == len(dls.train)*8 and training.drain(dls.valid) == len(dls.valid_ds)


def test_the_folds_of_eurosat_are_left_out_without_data_and_cover_every_file(tmp_path, monkeypatch):
    import eurosat
    monkeypatch.setenv('SAT_RECIPES_DATA', str(tmp_path))
    assert list(eurosat.rows()) == []
    data.patches(20, tmp_path).rename(tmp_path/'eurosat_ms')
    held = []
    monkeypatch.setattr(eurosat, 'train', lambda files, labels, held_back: held.append(held_back) or .95)
    score, seconds = eurosat.rows(n_folds=2)
    assert (sum(held) == 1).all() and len(held[0]) == 20
    assert (round(score.ours_best), score.target, score.met) == (95, '>= 92 %', 'yes') and seconds.met == 'yes' and seconds.unit == 's'


def test_our_augmentation_gives_a_changed_batch_of_the_same_shape():
    import torch
    import augmentation
    images = augmentation.reflectances()[:8]
    result = augmentation.our_way('cpu', images)()
    assert result.shape == images.shape and not torch.equal(result.as_subclass(torch.Tensor), torch.from_numpy(images))


def test_boxes_are_seeded_and_plausible():
    import scores
    truth, guess = scores.boxes(5, 4)
    assert len(truth['annotations']) == len(guess) == 20 and truth == scores.boxes(5, 4)[0] != scores.boxes(5, 4, seed=1)[0]
    assert all(d['bbox'][2] > 0 and 1 <= d['category_id'] <= 10 for d in guess)


def test_import_is_compared_in_seconds():
    import scores
    row = next(scores.imports(1))
    assert row.target == '<= 0.5 s' and row.met == ('yes' if row.ours_best <= .5 else 'no')


# --- The page ------------------------------------------------------------------------------------

def test_page_without_results_says_how_to_make_them(tmp_path):
    page = speed.speed_page(tmp_path/'none', tmp_path/'static')
    assert page.startswith('# Speed') and '`make bench` makes them' in page and not (tmp_path/'static').exists()


def test_page_shows_every_row_met_or_not(tmp_path):
    for name in ('eurosat', 'training', 'scenes', 'training-gpu'): harness.write_csv(tmp_path/f'{name}.csv', some_rows(), MACHINE)
    page = speed.speed_page(tmp_path, tmp_path/'static')
    headings = [line[3:] for line in page.splitlines() if line.startswith('## ')]
    assert headings == ['Training and loading', 'Training and loading, on a GPU', 'Maps of whole scenes', 'Accuracy']
    assert page.count('**not met**') == 8 and '≥ 30' in page and '4096 / 4096' in page and MACHINE['cpu'] in page
    assert (tmp_path/'static/speed.png').exists()


def test_the_picture_says_how_far_a_row_goes_beyond_its_target():
    found = [speed.reached({'target': r.target, 'ours_best': str(r.ours_best), 'ratio': str(r.ratio)}) for r in some_rows()]
    assert found == pytest.approx([40/30, 1.05/1.04, 1.1/1.3, 91/92])


def test_stored_results_are_complete():
    for path in (ROOT/'benchmarks/results').glob('*.csv'):
        with open(path, newline='', encoding='utf-8') as file: rows = list(csv.DictReader(file))
        assert rows and all(row['cpu'] and row['date'] and row['versions'] and float(row['ratio']) > 0 for row in rows), path.name


# --- In the peers' environment -------------------------------------------------------------------

def test_every_theme_runs_beside_its_peers(tiny):
    pytest.importorskip('torchgeo', reason='the peers live in .venv-bench')
    import augmentation
    import scores
    import torch
    import training
    learn = tiny.learner()
    learn.model = torch.nn.Conv2d(13, learn.dls.c, 1)  # looks at single pixels, so that both loops must give one map
    rows = [training.later_epoch(20, repeats=1, workers=(0,)), training.first_epoch(20, repeats=1, workers=(0, 1)),
            tiny.beside_torchgeo(learn, 200, repeats=1, workers=(0,), batches=(4, 8)),
            *augmentation.rows(1, 1), scores.confusion(1000), scores.average_precision(5, 4, 1)]
    assert all(row.ratio > 0 and row.ours_best > 0 for row in rows)
    assert float(re.search(r'([\d.]+)% of the pixels equal', rows[2].tried)[1]) > 99.9
