"""The widgets: what they carry and compute in Python, and what a real browser makes of them, by mouse and by keyboard."""
import json
import re
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from sklearn.metrics import average_precision_score, confusion_matrix, precision_recall_fscore_support, roc_auc_score
from test_site import SITE, address, browser, visit  # noqa: F401, fixtures of the site's tests
from torchmetrics.functional.classification import multiclass_calibration_error

from sat_recipes.bands import PALETTE, SENSORS, spectral_index
from sat_recipes.metrics import ConfusionMatrix
from sat_recipes.widgets import (
    BandMixer, ConfusionExplorer, DetectionExplorer, IoUPlayground, ReliabilityExplorer, SceneSwipe, ThresholdExplorer)

ROOT = Path(__file__).resolve().parent.parent
STATIC = ROOT/'sat_recipes/static'
SCRIPTS = sorted(STATIC.glob('*.js'))
VIEW, STATE = (f'application/vnd.jupyter.widget-{kind}+json' for kind in ('view', 'state'))
EVIL = '<script>alert(1)</script>'


# --- What is carried ---------------------------------------------------------------------------

def scored(n=5000, seed=0, share=.2):
    rng = np.random.default_rng(seed)
    targets = rng.random(n) < share
    return targets, 1/(1 + np.exp(-rng.normal(np.where(targets, 1, -1), 1.2)))


def logits_and_codes(n=3000, classes=5, seed=0):
    honest = np.random.default_rng(seed).normal(0, 2, (n, classes))
    return 2*honest, (honest + np.random.default_rng(seed + 1).gumbel(size=honest.shape)).argmax(1)


def boxes_and_scores(seed=0, n=20, m=26):
    rng = np.random.default_rng(seed)
    def boxes(k): return np.concatenate([corner := rng.uniform(0, 80, (k, 2)), corner + rng.uniform(8, 24, (k, 2))], 1)
    targets = boxes(n)
    predicted = np.concatenate([targets[:16] + rng.normal(0, 3, (16, 4)), boxes(m - 16)])
    return targets, predicted, rng.integers(1, 100, m)/100


def scene(seed=0):
    image = np.random.default_rng(seed).uniform(.02, .5, (4, 40, 60)).astype(np.float32)
    image[:, :4, :6] = np.nan
    return image, SENSORS['sentinel2_l2a'].select(['B02', 'B03', 'B04', 'B08'])


def every_widget():
    image, sensor = scene()
    picture = np.random.default_rng(1).random((100, 110, 3))
    names = ['forest', 'crop', EVIL]
    patches = [(0, 1, picture), (0, 1, picture[:50]), (2, 1, picture)]
    return dict(threshold=ThresholdExplorer(*scored(), EVIL), confusion=ConfusionExplorer([[50, 3, 1], [9, 30, 0], [2, 8, 10]], names, patches),
                iou=IoUPlayground(), detection=DetectionExplorer(picture, *boxes_and_scores()),
                reliability=ReliabilityExplorer(*logits_and_codes()), bands=BandMixer(image, sensor),
                swipe=SceneSwipe(picture, np.arange(100).reshape(10, 10) % 4, ('image', EVIL), names))


def carried(widget): return {k: v for k, v in widget.get_state().items() if not k.startswith('_') and k != 'layout'}


@pytest.mark.parametrize('kind', ['spread', 'crowded', 'ties', 'logits', 'constant', 'one class', 'unlabeled', 'tensor'])
def test_counts_at_a_threshold_are_those_of_scikit_learn(kind):
    targets, scores = scored()
    if kind == 'crowded': scores = scores**9
    if kind == 'ties': scores = scores.round(1)
    if kind == 'logits': scores = 10*scores - 7
    if kind == 'constant': scores = np.full_like(scores, .3)
    if kind == 'one class': targets = np.zeros_like(targets)
    if kind == 'unlabeled': targets = np.where(np.arange(len(targets)) % 3, targets, 255)
    if kind == 'tensor': targets, scores = torch.tensor(targets), torch.tensor(scores, dtype=torch.float32)
    widget = ThresholdExplorer(targets, scores)
    targets, scores = np.asarray(targets).astype(int), np.asarray(scores).astype(np.float64)
    targets, scores = targets[targets != 255], scores[targets != 255]
    for asked in np.linspace(*widget.limits, 23):
        widget.threshold = asked
        (tn, fp), (fn, tp) = confusion_matrix(targets, scores >= widget.threshold, labels=[0, 1])
        assert widget.outcomes == {'tp': tp, 'fn': fn, 'fp': fp, 'tn': tn}
        assert abs(widget.threshold - asked) <= (widget.limits[1] - widget.limits[0])/1000


def test_a_hundred_thousand_predictions_weigh_little_and_binning_says_what_it_costs():
    targets, scores = scored(100_000)
    widget = ThresholdExplorer(targets, scores)
    assert len(json.dumps(carried(widget))) < 100_000
    auc, ap = (float(x) for x in re.findall(r'by ([\d.e-]+\d)', widget.note))
    assert auc < 1e-5 and ap < 2e-3
    assert len(json.dumps(carried(ReliabilityExplorer(np.random.default_rng(0).normal(size=(100_000, 10)), np.zeros(100_000, int))))) < 300_000


@pytest.mark.parametrize('temperature', [.3, 1, 2, 4.5])
def test_calibration_equals_torch_and_torchmetrics(temperature):
    logits, codes = logits_and_codes()
    widget = ReliabilityExplorer(logits, codes, temperature=temperature)
    scaled, truth = torch.tensor(logits/temperature), torch.tensor(codes)
    assert widget.nll == pytest.approx(torch.nn.functional.cross_entropy(scaled, truth).item(), abs=2e-3)
    assert widget.ece == pytest.approx(multiclass_calibration_error(scaled.softmax(1), truth, 5, n_bins=15).item(), abs=2e-3)


def test_more_logits_than_are_carried_are_sampled_and_said_so():
    widget = ReliabilityExplorer(np.random.default_rng(0).normal(size=(30_000, 10)), np.zeros(30_000, int))
    assert widget.n == 10_000 and '10,000 of 30,000 predictions, drawn at random' in widget.note


def test_boxes_are_matched_as_by_hand():
    truth = [[0, 0, 10, 10], [20, 0, 30, 10]]
    predicted = [[0, 0, 10, 9], [0, 0, 10, 10], [21, 0, 31, 10], [60, 60, 70, 70]]
    widget = DetectionExplorer(np.zeros((80, 80, 3)), truth, predicted, [.9, .95, .8, .1], threshold=0)
    assert widget.outcomes == {'tp': 2, 'fp': 2, 'fn': 0} # the surer of the two on one box takes it
    widget.threshold, widget.iou = .5, .9
    assert widget.outcomes == {'tp': 1, 'fp': 2, 'fn': 1}
    assert DetectionExplorer(np.zeros((8, 8, 3)), np.zeros((0, 4)), np.zeros((0, 4)), []).outcomes == {'tp': 0, 'fp': 0, 'fn': 0}


def test_a_scene_in_bytes_keeps_its_index_and_its_holes():
    image, sensor = scene()
    widget = BandMixer(image, sensor)
    assert (np.isnan(widget.image) == np.isnan(image)).all()
    assert np.nanmax(abs(spectral_index(widget.image, sensor) - spectral_index(image, sensor))) < .03
    assert set(widget.indices) == {'ndvi', 'ndwi'}


def test_every_widget_has_a_picture_and_two_ways_in():
    for widget in every_widget().values(): assert isinstance(widget.static(), Figure)
    matrix = ConfusionMatrix.from_counts([[3, 1], [0, 2]], ['a', 'b'])
    assert matrix.explore().counts == [[3, 1], [0, 2]] and ConfusionExplorer(matrix).classes == ['a', 'b']


@pytest.mark.parametrize('make, words', [
    (lambda: ThresholdExplorer([0, 2], [.1, .2]), 'one class at a time'),
    (lambda: ThresholdExplorer([0, 1], [.1, np.nan]), 'finite'),
    (lambda: ThresholdExplorer([0, 1], [.1]), '2 targets and 1 scores'),
    (lambda: ThresholdExplorer([], []), 'Targets are 0 or 1'),
    (lambda: ConfusionExplorer([[1, 2]]), 'square'),
    (lambda: ConfusionExplorer([[1, 2], [3, 4]], ['a']), '1 names for 2 classes'),
    (lambda: DetectionExplorer(np.zeros((8, 8)), [], [], []), 'height, width, 3'),
    (lambda: DetectionExplorer(np.zeros((8, 8, 3)), [], [[0, 0, 1, 1]], []), '1 boxes and 0 scores'),
    (lambda: ReliabilityExplorer(np.zeros(3), [0, 1, 2]), r'\(n, C\) logits'),
    (lambda: ReliabilityExplorer(np.zeros((2, 2)), [0, 2]), 'below the number of classes'),
    (lambda: BandMixer(np.zeros((3, 8, 8)), 'naip'), 'naip has 4 bands'),
    (lambda: BandMixer(np.ones((4, 8, 8)), 'naip', index='nbr'), 'there is ndvi'),
    (lambda: SceneSwipe(np.zeros((8, 8), int), np.zeros((8, 8), int)), 'classes='),
])
def test_what_cannot_be_shown_is_refused_in_a_sentence(make, words):
    with pytest.raises(ValueError, match=words): make()


def test_scripts_and_style_ask_for_nothing_and_take_text_as_text():
    for path in SCRIPTS:
        text = path.read_text(encoding='utf-8').replace('http://www.w3.org/2000/svg', '')
        assert not re.search(r'https?:|//cdn|innerHTML|outerHTML|insertAdjacent|document\.write|\beval\(|\bfetch\(|XMLHttp|^import ', text, re.MULTILINE), path
    colors = set(re.findall(r'#[0-9A-F]{6}\b', (STATIC/'widgets.css').read_text(encoding='utf-8')))
    assert colors and colors <= set(PALETTE)


# --- In a page without a kernel ----------------------------------------------------------------

def data_script(kind, data): return f'<script type="{kind}">' + json.dumps(data).replace('</', '<\\/') + '</script>'


@pytest.fixture
def mounted(browser):
    "Show widgets in an empty page by the site's own mount.js; gives the page and the list that gathers its faults."
    opened = []

    def show(*widgets, width=1280, scheme='light'):
        models = {str(i): {'state': json.loads(json.dumps({k: v for k, v in w.get_state().items() if k != 'layout'}))} for i, w in enumerate(widgets)}
        body = ''.join(f'<div class="cell">{data_script(VIEW, {"model_id": key})}</div>' for key in models)
        html = (f'<!doctype html><html lang="en"><head><title>widgets</title><meta name="viewport" content="width=device-width">'
                f'<script>{(ROOT/"docs/static/mount.js").read_text(encoding="utf-8")}</script></head><body><main><h1>Widgets</h1>{body}</main>'
                f'{data_script(STATE, {"state": models})}</body></html>')
        page, faults = browser.new_page(viewport=dict(width=width, height=900), color_scheme=scheme), []
        opened.append(page)
        page.on('console', lambda m: faults.append(m.text) if m.type in ('error', 'warning') else None)
        page.on('pageerror', lambda error: faults.append(str(error)))
        page.on('dialog', lambda dialog: (faults.append(dialog.message), dialog.dismiss()))

        def answer(route):
            if route.request.url == 'http://widgets.test/': return route.fulfill(body=html, content_type='text/html; charset=utf-8')
            if not route.request.url.startswith(('data:', 'blob:', 'http://widgets.test/favicon')): faults.append(route.request.url)
            return route.continue_() if route.request.url.startswith(('data:', 'blob:')) else route.fulfill(body='')
        page.route('**/*', answer)
        page.goto('http://widgets.test/')
        page.locator('.sr-said').nth(len(widgets) - 1).wait_for(state='attached')
        return page, faults
    yield show
    for page in opened: page.close()


def shown(page, name): return page.locator(f'[data-name="{name}"]').first.inner_text().replace(',', '')


def number(page, name): return float(shown(page, name))


def press(locator, key, times=1):
    locator.focus()
    for _ in range(times): locator.press(key)


def drag(page, start, end):
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(*[(a + b)/2 for a, b in zip(start, end)])
    page.mouse.move(*end)
    page.mouse.up()


def center(locator):
    box = locator.bounding_box()
    return box['x'] + box['width']/2, box['y'] + box['height']/2


def test_threshold_by_keyboard_and_mouse_equals_scikit_learn(mounted):
    targets, scores = scored()
    page, faults = mounted(ThresholdExplorer(targets, scores, 'flooded'))
    slider = page.get_by_role('slider', name='Threshold')
    assert number(page, 'auc') == pytest.approx(roc_auc_score(targets, scores), abs=1e-3)
    assert number(page, 'ap') == pytest.approx(average_precision_score(targets, scores), abs=2e-3)

    def agrees():
        threshold = float(slider.get_attribute('aria-valuetext'))
        called = scores >= threshold
        (tn, fp), (fn, tp) = confusion_matrix(targets, called)
        precision, recall, f1, _ = precision_recall_fscore_support(targets, called, average='binary')
        assert [number(page, name) for name in ('tp', 'fn', 'fp', 'tn')] == [tp, fn, fp, tn]
        wanted = [precision, recall, f1, fp/(fp + tn), (tp + tn)/len(targets)]
        assert [number(page, name) for name in ('precision', 'recall', 'f1', 'fpr', 'accuracy')] == pytest.approx(wanted, abs=6e-4)
        return threshold

    assert agrees() == .5
    press(slider, 'ArrowRight', 7)
    assert agrees() == pytest.approx(.507)
    press(slider, 'End')
    assert slider.get_attribute('aria-valuetext') == '1.000' and shown(page, 'precision') == '–' and number(page, 'fn') == targets.sum()
    press(slider, 'ArrowLeft', 60)
    assert agrees() == pytest.approx(.94)
    box = slider.bounding_box()
    page.mouse.click(box['x'] + .3*box['width'], box['y'] + box['height']/2)
    assert .2 < agrees() < .4
    page.wait_for_timeout(300)
    assert 'flooded found' in page.locator('.sr-said').inner_text()
    assert not faults


def test_prevalence_moves_precision_and_not_recall(mounted):
    targets, scores = scored()
    page, faults = mounted(ThresholdExplorer(targets, scores))
    before = {name: number(page, name) for name in ('auc', 'ap', 'recall', 'fpr', 'precision')}
    press(page.get_by_role('slider', name='Prevalence'), 'Home')
    press(page.get_by_role('slider', name='Prevalence'), 'ArrowRight', 9)
    weights = np.where(targets, .01/targets.mean(), .99/(1 - targets.mean()))
    assert number(page, 'ap') == pytest.approx(average_precision_score(targets, scores, sample_weight=weights), abs=5e-3)
    assert [number(page, name) for name in ('auc', 'recall', 'fpr')] == [before[name] for name in ('auc', 'recall', 'fpr')]
    precision = .01*before['recall']/(.01*before['recall'] + .99*before['fpr'])
    assert number(page, 'precision') == pytest.approx(precision, abs=2e-3)
    page.get_by_role('button', name='Prevalence of the data').click()
    assert {name: number(page, name) for name in before} == before and not faults


def test_a_hundred_thousand_predictions_are_shown_and_moved_at_once(mounted):
    start = time.perf_counter()
    page, faults = mounted(ThresholdExplorer(*scored(100_000)))
    seconds = time.perf_counter() - start
    steps = page.evaluate("""() => {
        const input = document.querySelector('input[aria-label=Threshold]'), times = []
        for (let i = 0; i < 40; i++) {
            const start = performance.now()
            input.value = 0.1 + 0.02*i
            input.dispatchEvent(new Event('input', { bubbles: true }))
            document.body.getBoundingClientRect() // the layout is a part of it
            times.push(performance.now() - start)
        }
        return times.sort((a, b) => a - b) }""")
    print(f'shown in {seconds:.2f} s with the page, a step in {steps[20]:.1f} ms, the slowest {steps[-1]:.1f} ms')
    assert seconds < 1.5 and steps[20] < 50 and not faults


def test_confusion_by_mouse_and_keyboard(mounted):
    counts, names = np.array([[50, 3, 1], [9, 30, 0], [2, 8, 10]]), ['forest', 'crop', EVIL]
    page, faults = mounted(every_widget()['confusion'])
    said, cell = page.locator('.sr-said'), lambda i, j: page.locator(f'[data-cell="{i},{j}"]')
    read = lambda: np.array([[float(cell(i, j).inner_text()) for j in range(3)] for i in range(3)])
    assert (read() == counts).all()
    page.get_by_label('Show').select_option('true')
    assert read() == pytest.approx(confusion_matrix([0]*54 + [1]*39 + [2]*20, [0]*50 + [1]*3 + [2] + [0]*9 + [1]*30 + [0]*2 + [1]*8 + [2]*10, normalize='true'), abs=6e-3)
    page.get_by_label('Show').select_option('pred')
    assert read() == pytest.approx(counts/counts.sum(0), abs=6e-3)
    cell(0, 1).click()
    page.wait_for_timeout(250)
    assert page.locator('.sr-patches img').count() == 2 and said.inner_text().startswith('Truth forest, called crop: 3 items')
    page.get_by_label('Order').select_option('recall')
    assert page.locator('tbody th').all_inner_texts()[0] == EVIL
    press(cell(0, 1), 'ArrowUp')
    assert page.evaluate('document.activeElement.dataset.cell') == '1,1'
    page.keyboard.press('ArrowLeft')
    page.keyboard.press('Enter')
    page.wait_for_timeout(250)
    assert page.evaluate('document.activeElement.dataset.cell') == '1,2' and f'Truth crop, called {EVIL}: 0 items' in said.inner_text()
    assert not faults


def test_boxes_by_mouse_and_keyboard(mounted):
    page, faults = mounted(IoUPlayground((60, 80, 150, 140), (90, 80, 180, 140)))
    assert number(page, 'iou') == .5
    second, where = page.get_by_role('button', name='Box B'), lambda: [int(x) for x in re.findall(r'\d+', second.get_attribute('aria-label'))]
    press(second, 'ArrowLeft', 15)
    assert where() == [60, 80, 150, 140] and number(page, 'iou') == 1
    press(second, 'Shift+ArrowDown', 5)
    assert number(page, 'iou') == pytest.approx(60/70, abs=6e-4)
    x, y = center(second)
    drag(page, (x, y), (x + 60, y + 30))
    assert number(page, 'iou') == pytest.approx(IoUPlayground((60, 80, 150, 140), where()).iou, abs=6e-4) and where()[0] > 60
    corner = center(page.locator('.sr-corner').nth(1))
    drag(page, corner, (corner[0] + 40, corner[1] - 20))
    assert number(page, 'iou') == pytest.approx(IoUPlayground((60, 80, 150, 140), where()).iou, abs=6e-4)
    press(second, 'ArrowRight', 200)
    assert where()[2] == 320 and number(page, 'iou') == 0 and not faults


def test_detection_equals_python_at_many_sliders(mounted):
    widget = every_widget()['detection']
    page, faults = mounted(widget)
    score, least = (page.get_by_role('slider', name=name) for name in ('Least score', 'Least IoU'))
    for asked in (.3, .5, .7, .9):
        for lowest in (0, .25, .5, .9, 1):
            score.fill(str(lowest))
            least.fill(str(asked))
            widget.threshold, widget.iou = lowest, asked
            assert {name: number(page, name) for name in ('tp', 'fp', 'fn')} == widget.outcomes
    press(score, 'Home')
    least.fill('0.5')
    press(least, 'ArrowLeft')
    widget.threshold, widget.iou = 0, .45
    assert number(page, 'tp') == widget.outcomes['tp']
    assert page.locator('.sr-box.sr-tp').count() - 1 == widget.outcomes['tp'] # one is in the key
    assert not faults


def test_average_precision_of_boxes_is_the_area_under_the_envelope(mounted):
    truth, predicted = [[0, 0, 10, 10], [20, 0, 30, 10]], [[0, 0, 10, 10], [50, 0, 60, 10], [20, 0, 30, 10]]
    page, faults = mounted(DetectionExplorer(np.zeros((80, 80, 3)), truth, predicted, [.9, .8, .7]))
    assert number(page, 'ap') == pytest.approx(.5*1 + .5*2/3, abs=6e-4) and not faults


def test_temperature_equals_python_and_finds_the_least_nll(mounted):
    widget = ReliabilityExplorer(*logits_and_codes())
    page, faults = mounted(widget)
    slider = page.get_by_role('slider', name='Temperature')

    def agrees():
        widget.temperature = float(slider.get_attribute('aria-valuetext'))
        assert (number(page, 'ece'), number(page, 'nll')) == pytest.approx((widget.ece, widget.nll), abs=6e-5)
        return widget.temperature
    assert agrees() == 1
    press(slider, 'ArrowRight', 12)
    assert agrees() == 1.12
    page.get_by_role('button', name='Least NLL').click()
    assert 1.8 < agrees() < 2.2
    temperature, best = widget.temperature, widget.nll
    for other in (.97, 1.03):
        widget.temperature = temperature*other
        assert widget.nll > best
    page.get_by_role('button', name='As trained').click()
    assert agrees() == 1 and not faults


def pixel(page, x, y):
    "The color drawn there, read from a copy of the canvas."
    read = """([x, y]) => { const copy = document.createElement('canvas').getContext('2d', { willReadFrequently: true })
                      copy.drawImage(document.querySelector('canvas'), -x, -y)
                      return [...copy.getImageData(0, 0, 1, 1).data] }"""
    return page.evaluate(read, [x, y])


def test_bands_are_mixed_as_python_mixes_them(mounted):
    image, sensor = scene()
    widget = BandMixer(image, sensor)
    page, faults = mounted(widget)
    kept = widget.image
    assert pixel(page, 1, 1) == [128, 128, 128, 255]
    low, high = np.nanpercentile(kept[[2, 1, 0]], (2, 98), axis=(1, 2))
    wanted = 255*np.clip((kept[[2, 1, 0], 20, 30] - low)/(high - low), 0, 1)
    assert pixel(page, 30, 20)[:3] == pytest.approx(wanted, abs=3)
    page.get_by_label('Red', exact=True).select_option('3')
    low, high = np.nanpercentile(kept[3], (2, 98))
    assert pixel(page, 30, 20)[0] == pytest.approx(255*np.clip((kept[3, 20, 30] - low)/(high - low), 0, 1), abs=3)
    page.get_by_label('Index').select_option('ndvi')
    ndvi = spectral_index(kept, sensor)
    assert number(page, 'mean') == pytest.approx(np.nanmean(ndvi), abs=6e-4)
    assert number(page, 'share') == pytest.approx((ndvi > 0).sum()/np.isfinite(ndvi).sum(), abs=6e-4)
    press(page.get_by_role('slider', name='Black below'), 'ArrowRight', 3)
    assert page.get_by_role('slider', name='Black below').get_attribute('aria-valuetext') == '3.5 %' and not faults


def test_the_divider_follows_mouse_and_keys(mounted):
    page, faults = mounted(every_widget()['swipe'])
    slider, stage = page.get_by_role('slider'), page.locator('.sr-swipe')
    press(slider, 'ArrowRight', 5)
    assert page.locator('.sr-swipe img').nth(1).evaluate('i => i.style.clipPath') == 'inset(0px 45% 0px 0px)'
    box = stage.bounding_box()
    drag(page, (box['x'] + .5*box['width'], box['y'] + 20), (box['x'] + .25*box['width'], box['y'] + 30))
    assert slider.get_attribute('aria-valuetext') == '25 %'
    assert page.locator('.sr-key').all_inner_texts() == ['forest', 'crop', EVIL] and not faults


def violations(page, within):
    "What axe-core calls serious or critical inside `within`."
    package = pytest.importorskip('axe_playwright_python', reason='axe-playwright-python is not installed')
    page.evaluate((Path(package.__path__[0])/'axe.min.js').read_text(encoding='utf-8'))
    found = page.evaluate("within => axe.run(within, { preload: false })", within)
    assert found['passes']
    return [(v['impact'], v['id'], v['nodes'][0]['html'][:200]) for v in found['violations'] if v['impact'] in ('serious', 'critical')]


@pytest.mark.parametrize('width', [1280, 390])
@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_nobody_is_shut_out_and_a_name_is_never_code(mounted, width, scheme):
    page, faults = mounted(*every_widget().values(), width=width, scheme=scheme)
    page.locator('[data-cell="0,1"]').click()
    page.get_by_label('Index').select_option('ndvi')
    page.wait_for_timeout(300)
    assert violations(page, '.sr-recipes') == [] and not faults
    assert page.evaluate('document.documentElement.scrollWidth') <= width
    assert page.evaluate("[...document.querySelectorAll('.sr-recipes script')].length") == 0
    assert page.locator('.sr-matrix').get_by_text(EVIL).count() == 2
    dark = page.evaluate("getComputedStyle(document.querySelector('.sr-recipes')).backgroundColor") != 'rgb(255, 255, 255)'
    assert dark == (scheme == 'dark')


# --- In the built site ---------------------------------------------------------------------------

built = pytest.mark.skipif(not (SITE/'api/widgets.html').exists(), reason='_site is not built: run `make docs`')


@built
@pytest.mark.parametrize('width, scheme', [(1280, 'light'), (390, 'dark')])
def test_the_page_of_the_site_is_alive_without_a_kernel(visit, width, scheme):
    page, faults = visit('api/widgets.html', width, scheme)
    page.locator('.sr-said').nth(6).wait_for(state='attached')
    assert page.locator('.sr-recipes').count() == 7
    assert page.evaluate('document.documentElement.scrollWidth') <= width
    assert violations(page, '.sr-recipes') == []
    slider = page.get_by_role('slider', name='Threshold')
    press(slider, 'End')
    press(slider, 'ArrowLeft', 200)
    notebook = nbformat.read(ROOT/'nbs/api/30_widgets.ipynb', 4)
    source = next(c for c in notebook.cells if 'strict.outcomes' in c.source and c.outputs)
    wanted = dict(re.findall(r"'(\w+)': (\d+)", source.outputs[0].data['text/plain'])) # Python's, at 0.8
    assert {name: shown(page, name) for name in wanted} == wanted
    assert page.locator('.sr-matrix').get_by_text(EVIL).count() == 2 and not faults


# --- In JupyterLab -------------------------------------------------------------------------------

LAB = '''import json
from pathlib import Path
from IPython.display import display
from test_widgets import every_widget
widgets = every_widget()
def keep(change):
    told = dict(widgets['threshold'].outcomes, iou=widgets['iou'].iou, selected=widgets['confusion'].selected)
    Path('told.json').write_text(json.dumps(told))
for widget in widgets.values(): widget.observe(keep, ['threshold', 'boxes', 'selected'])
display(*widgets.values())'''


@pytest.fixture
def lab(tmp_path, monkeypatch):
    "JupyterLab on a notebook that shows every widget; gives the notebook's address."
    monkeypatch.setenv('PYTHONPATH', str(ROOT/'tests'))
    monkeypatch.setenv('JUPYTER_CONFIG_DIR', str(tmp_path/'config'))
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(LAB)])
    nb.metadata.kernelspec = {'display_name': 'python3', 'language': 'python', 'name': 'python3'}
    nbformat.write(nb, tmp_path/'n.ipynb')
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port = probe.getsockname()[1]
    command = [sys.executable, '-m', 'jupyterlab', '--allow-root', '--no-browser', '--ServerApp.ip=127.0.0.1', f'--ServerApp.port={port}',
               '--IdentityProvider.token=t', '--LabApp.expose_app_in_browser=True', '--LabApp.news_url=', '--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate']
    with open(tmp_path/'log', 'w') as log: server = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log)
    try:
        for _ in range(120):
            try: urllib.request.urlopen(f'http://127.0.0.1:{port}/api?token=t', timeout=5)
            except OSError: time.sleep(.5)
            else: break
        else: pytest.fail((tmp_path/'log').read_text()[-2000:])
        yield f'http://127.0.0.1:{port}/lab/tree/n.ipynb?token=t', tmp_path/'told.json'
    finally:
        server.terminate()
        server.wait(20)


def told_by(path, wanted):
    "What the kernel was told, once it agrees; the last word if it never does."
    found = {}
    for _ in range(50):
        if path.exists() and path.stat().st_size: found = json.loads(path.read_text())
        if all(found.get(key) == value for key, value in wanted.items()): break
        time.sleep(.1)
    return {key: found.get(key) for key in wanted}


def test_jupyterlab_shows_them_all_and_python_reads_them_back(browser, lab):
    address, told = lab
    page, faults = browser.new_page(viewport=dict(width=1400, height=900)), []
    ours = lambda text: 'sr-' in text or 'widget' in text.lower()
    page.on('console', lambda m: faults.append(m.text) if m.type == 'error' and ours(m.text) else None)
    page.on('pageerror', lambda error: faults.append(str(error)))
    page.on('dialog', lambda dialog: (faults.append(dialog.message), dialog.dismiss()))
    page.on('request', lambda r: faults.append(r.url) if not re.match(r'(http|ws)://127\.0\.0\.1|data:|blob:', r.url) else None)
    page.goto(address)
    page.wait_for_function('window.jupyterapp')
    page.evaluate('window.jupyterapp.restored')
    page.wait_for_function('window.jupyterapp.shell.currentWidget?.sessionContext?.isReady', timeout=60_000)
    page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')")
    page.locator('.sr-said').nth(6).wait_for(state='attached', timeout=120_000)
    targets, scores = scored()

    slider = page.get_by_role('slider', name='Threshold')
    press(slider, 'ArrowRight', 20)
    (tn, fp), (fn, tp) = confusion_matrix(targets, scores >= .52).tolist()
    assert [number(page, name) for name in ('tp', 'fn', 'fp', 'tn')] == [tp, fn, fp, tn]
    assert told_by(told, {'tp': tp, 'fp': fp}) == {'tp': tp, 'fp': fp}

    press(page.locator('[data-cell="0,0"]'), 'ArrowDown') # JupyterLab would go to the next cell
    page.keyboard.press('ArrowRight')
    page.keyboard.press('Enter')
    assert told_by(told, {'selected': [1, 1]}) == {'selected': [1, 1]}
    page.locator('[data-cell="2,1"]').click()
    assert told_by(told, {'selected': [2, 1]}) == {'selected': [2, 1]}
    assert page.locator('.sr-matrix').get_by_text(EVIL).count() == 2

    before = number(page, 'iou')
    press(page.get_by_role('button', name='Box B'), 'ArrowUp', 10)
    assert number(page, 'iou') > before
    iou = IoUPlayground((60, 50, 180, 150), (110, 60, 230, 170)).iou
    assert told_by(told, {'iou': iou}) == {'iou': iou}

    for theme, color in (('JupyterLab Dark', False), ('JupyterLab Light', True)):
        page.evaluate(f"window.jupyterapp.commands.execute('apputils:change-theme', {{ theme: '{theme}' }})")
        page.wait_for_selector(f'body[data-jp-theme-light="{str(color).lower()}"]', state='attached')
        page.wait_for_selector('#jupyterlab-splash', state='detached')
        background = page.evaluate("getComputedStyle(document.querySelector('.sr-recipes')).backgroundColor")
        assert (background == 'rgb(255, 255, 255)') == color
        assert violations(page, '.sr-recipes') == []
    page.close()
    assert not faults
