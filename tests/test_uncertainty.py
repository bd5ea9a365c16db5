"Temperature, ensembles, MC dropout and conformal sets beside scikit-learn, MAPIE, crepes and torchmetrics, in a Learner and on a map."
import warnings

import numpy as np
import pytest
import torch
import torchmetrics.functional.classification as tm
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from torch import nn

import fastai.callback.progress  # noqa: F401, gives Learner.no_bar
from fastai.data.core import DataLoader, DataLoaders
from fastai.learner import Learner
from fastai.losses import BCEWithLogitsLossFlat, CrossEntropyLossFlat

import sat_recipes.predict  # noqa: F401, gives Learner.predict_scene
from sat_recipes.raster import read_raster, write_raster
from sat_recipes.uncertainty import ConformalSets, DropoutModel, conformal_quantile, fit_temperature, fit_vectors

CLASSES = 4


def made_up(n, seed, sure=1.):
    "(logits, targets) of a calibrated model whose logits were then multiplied by `sure`."
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, CLASSES))*2
    targets = (rng.random((n, 1)) > softmax(logits, 1).cumsum(1)).sum(1).clip(0, CLASSES - 1)
    return torch.from_numpy(logits*sure).float(), torch.from_numpy(targets)


def learner(seed=0, loss=None, model=None):
    "Over-confident on purpose: the network passes on logits that are four times too large."
    splits = [list(zip(*made_up(n, seed + i, 4))) for i, n in enumerate((40, 800, 3000))]
    dls = DataLoaders(*(DataLoader(items, bs=200) for items in splits), device='cpu')
    if model is None:
        model = nn.Linear(CLASSES, CLASSES, bias=False)
        model.weight.data = torch.eye(CLASSES)
    learn = Learner(dls, model, loss_func=loss or CrossEntropyLossFlat())
    learn.remove_cbs([cb for cb in learn.cbs if cb.name == 'progress'])
    return learn


def ece(kept): return tm.multiclass_calibration_error(kept.probabilities, kept.targets, CLASSES).item()


@pytest.mark.parametrize('seed', range(3))
def test_temperature_keeps_every_argmax_and_lowers_ece(seed):
    learn = learner(seed)
    before, after = learn.predictions(2), learn.calibrate().predictions(2)
    assert torch.equal(before.logits.argmax(1), after.logits.argmax(1))
    assert ece(before) == pytest.approx(before.score('ece'), abs=1e-5)
    assert ece(after) < .05 < .2 < ece(before) and after.score('nll') < before.score('nll')
    assert 1/learn.calibrate().model.scale.item() == pytest.approx(4, rel=.15)


@pytest.mark.parametrize('sure', [.2, 1, 5, 100])
def test_temperature_is_scikit_learns(sure):
    theirs = pytest.importorskip('sklearn.calibration')
    if not hasattr(theirs, '_TemperatureScaling'): pytest.skip('needs scikit-learn 1.8')
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.frozen import FrozenEstimator

    class AsItIs(ClassifierMixin, BaseEstimator):
        def fit(self, x, y): self.classes_ = np.unique(y); return self
        def decision_function(self, x): return x
        def predict(self, x): return x.argmax(1)

    logits, targets = made_up(500, 1, sure)
    x, y = logits.double().numpy(), targets.numpy()
    scaled = CalibratedClassifierCV(FrozenEstimator(AsItIs().fit(x, y)), method='temperature').fit(x, y)
    np.testing.assert_allclose(softmax(x/fit_temperature(logits, targets), 1), scaled.predict_proba(x), atol=1e-4)


def test_temperature_of_what_is_degenerate():
    with pytest.raises(ValueError, match='no labeled items'): fit_temperature(torch.zeros(0, 3), torch.zeros(0).long())
    right = 100*torch.eye(3)
    assert fit_temperature(torch.eye(3), torch.arange(3)) < .1
    assert np.isfinite(fit_temperature(right, torch.arange(3)))  # always right: as sure as can be
    assert fit_temperature(right, torch.tensor([1, 2, 0])) > 1e3  # always wrong: not sure at all
    assert fit_temperature(torch.zeros(5, 3), torch.zeros(5).long()) > 0


def test_vector_scaling_finds_factors_and_shifts():
    logits, targets = made_up(20000, 3)
    scale, shift = fit_vectors(logits*torch.tensor([1, 2, 4, 1]) + torch.tensor([0, 1, -1, 0]), targets)
    assert np.allclose(scale*torch.tensor([1, 2, 4, 1]), 1, atol=.06)
    assert np.allclose((shift - shift[0])[1:], [-.5, .25, 0], atol=.1)
    learn = learner()
    kept = {method: learn.calibrate(method, 2).predictions(2) for method in ('temperature', 'vector')}
    assert kept['vector'].score('nll') <= kept['temperature'].score('nll') + 1e-6


@pytest.mark.parametrize('n, alpha, rank', [(9, .1, 9), (8, .1, None), (19, .1, 18), (99, .05, 95), (0, .1, None)])
def test_quantile(n, alpha, rank):
    expected = np.inf if rank is None else rank - 1
    assert conformal_quantile(np.arange(n)[::-1], alpha) == expected


@pytest.mark.parametrize('alpha', [.05, .1, .3])
def test_conformal_covers_within_three_points_on_average(alpha):
    covered = []
    for seed in range(20):
        learn = learner(10*seed)
        kept = learn.predictions(2)
        covered.append(learn.conformal(alpha).sets(kept.probabilities).gather(1, kept.targets[:, None]).float().mean().item())
    assert abs(np.mean(covered) - (1 - alpha)) < .03


def test_each_class_is_covered_if_asked():
    learn = learner()
    kept, wanted = learn.predictions(2), learn.conformal(.1, by_class=True)
    hit = wanted.sets(kept.probabilities).gather(1, kept.targets[:, None])[:, 0].float()
    assert len(set(wanted.thresholds)) == CLASSES
    for code in range(CLASSES): assert hit[kept.targets == code].mean() == pytest.approx(.9, abs=.06)


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('alpha', [.05, .1, .2])
def test_sets_are_mapies(alpha):
    SplitConformalClassifier = pytest.importorskip('mapie.classification').SplitConformalClassifier

    class Softmax(ClassifierMixin, BaseEstimator):
        def fit(self, x, y): self.classes_ = np.arange(CLASSES); return self
        def predict_proba(self, x): return softmax(x, 1)
        def predict(self, x): return x.argmax(1)
        def __sklearn_is_fitted__(self): return True

    learn = learner()
    fit, new = learn.predictions(1), learn.predictions(2)
    theirs = SplitConformalClassifier(Softmax().fit(None, None), confidence_level=1 - alpha, conformity_score='lac', prefit=True)
    theirs.conformalize(fit.logits.double().numpy(), fit.targets.numpy())
    sets = theirs.predict_set(new.logits.double().numpy())[1][:, :, 0]
    ours = learn.conformal(alpha).sets(new.probabilities).numpy()
    assert (ours == sets).mean() > .999  # single and double precision


@pytest.mark.parametrize('by_class', [False, True])
def test_sets_are_crepes(by_class):
    ConformalClassifier = pytest.importorskip('crepes').ConformalClassifier
    learn = learner()
    fit, new = learn.predictions(1), learn.predictions(2)
    strange = 1 - fit.probabilities.gather(1, fit.targets[:, None])[:, 0].numpy()
    theirs = ConformalClassifier().fit(strange, bins=fit.targets.numpy() if by_class else None)
    # Where (n + 1) alpha is a whole number crepes takes one rank more: hence .1037.
    alphas = 1 - new.probabilities.numpy()
    bins = np.tile(np.arange(CLASSES), (len(alphas), 1)) if by_class else None
    sets = np.stack([theirs.predict_set(alphas[:, [c]], bins=bins[:, c] if by_class else None, confidence=1 - .1037, smoothing=False)[:, 0]
                     for c in range(CLASSES)], 1)
    assert (learn.conformal(.1037, by_class).sets(new.probabilities).numpy() == sets).mean() > .999


def test_an_ensemble_is_the_mean_of_probabilities():
    learns = [learner(model=nn.Linear(CLASSES, CLASSES)) for _ in range(3)]
    mean = sum(learn.predictions(2).probabilities for learn in learns)/3
    together = learns[0].ensemble(learns[1:])
    assert torch.allclose(together.predictions(2).probabilities, mean, atol=1e-6)
    assert together.calibrate().predictions(2).score('nll') <= together.predictions(2).score('nll') + .05


def test_one_output_and_a_sigmoid():
    torch.manual_seed(0)
    x, y = torch.randn(200, 3), torch.randint(0, 2, (200, 1)).float()
    dls = DataLoaders(*[DataLoader(list(zip(x, y)), bs=50)]*2, device='cpu')
    learns = [Learner(dls, nn.Linear(3, 1), loss_func=BCEWithLogitsLossFlat()) for _ in range(2)]
    both = learns[0].ensemble(learns[1:])
    p = sum(learn.model(x).sigmoid() for learn in learns)/2
    with torch.no_grad(): assert torch.allclose(both.model(x).sigmoid(), p, atol=1e-6)
    with both.no_bar(), learns[0].no_bar():
        assert torch.allclose(both.predictions().probabilities[:, 1], p[:, 0].detach(), atol=1e-6)
        for method in ('temperature', 'vector'):
            kept = learns[0].calibrate(method).predictions()
            assert kept.score('nll') <= learns[0].predictions().score('nll') + 1e-6


def test_dropout_stays_on_and_repeats_itself():
    model = nn.Sequential(nn.Linear(CLASSES, 64), nn.ReLU(), nn.BatchNorm1d(64), nn.Dropout(.5), nn.Linear(64, CLASSES))
    learn = learner(model=model)
    often = learn.mc_dropout(30)
    p = often.predictions(2).probabilities
    assert torch.equal(p, often.predictions(2).probabilities)
    state = torch.get_rng_state()
    often.model(torch.zeros(2, CLASSES))
    assert torch.equal(state, torch.get_rng_state())
    assert not torch.allclose(p, learn.predictions(2).probabilities, atol=1e-3)
    assert isinstance(often.model, DropoutModel) and often.model.eval().models[0][3].training and not often.model.models[0][2].training
    assert not learner(model=model.eval()).model.eval()[2].training
    with pytest.raises(ValueError, match='no dropout layer'): learner().mc_dropout()


@pytest.fixture
def mapper(tmp_path):
    from sat_recipes.multiband import MultibandDataLoaders
    rng = np.random.default_rng(0)
    labels = np.kron(rng.integers(0, 3, (8, 8)), np.ones((16, 16), int)).astype('uint8')
    dn = (1000 + 2000*np.stack([labels == c for c in range(3)]) + rng.normal(0, 400, (3, 128, 128))).clip(1).astype('uint16')
    scene = write_raster(tmp_path/'scene.tif', dn, nodata=0, band_names=['B02', 'B03', 'B04'])
    mask = write_raster(tmp_path/'mask.tif', labels, nodata=None)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        dls = MultibandDataLoaders.from_scenes(scene, mask, ['a', 'b', 'c'], size=32, bands=['blue', 'green', 'red'], bs=4)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Dropout2d(.3), nn.Conv2d(16, 3, 1))
    learn = Learner(dls, model)
    with learn.no_bar(), learn.no_logging(): learn.fit(2, 1e-2)
    learn.remove_cbs([cb for cb in learn.cbs if cb.name == 'progress'])
    return learn, scene, tmp_path


@pytest.mark.filterwarnings('ignore')
def test_all_of_it_on_a_map(mapper):
    learn, scene, folder = mapper
    ways = dict(plain=learn, calibrated=learn.calibrate(), ensemble=learn.ensemble([learn]), dropout=learn.mc_dropout(4))
    maps = {name: [read_raster(p) for p in way.predict_scene(scene, folder/f'{name}.tif', output='both', uncertainty=True)] for name, way in ways.items()}
    classes, shares, doubt = (raster.data for raster in maps['plain'])
    assert np.array_equal(classes, maps['calibrated'][0].data)
    assert np.allclose(shares, maps['ensemble'][1].data, atol=1e-5)
    assert not np.allclose(shares, maps['calibrated'][1].data, atol=1e-4) and not np.allclose(shares, maps['dropout'][1].data, atol=1e-4)
    again = read_raster(ways['dropout'].predict_scene(scene, folder/'again.tif', output='probabilities'))
    assert np.array_equal(again.data, maps['dropout'][1].data)


@pytest.mark.filterwarnings('ignore')
def test_a_map_of_set_sizes(mapper):
    learn, scene, folder = mapper
    sets = learn.conformal(.1)
    paths = learn.predict_scene(scene, folder/'map.tif', output='both', uncertainty=sets)
    shares, sizes = (read_raster(path) for path in paths[1:])
    assert np.isnan(sizes.nodata) and set(np.unique(sizes.data)) <= {0, 1, 2, 3}
    assert np.array_equal(sizes.data, sets(torch.from_numpy(shares.data)).numpy())
    assert repr(sets) == repr(ConformalSets(sets.thresholds, .1))  # a run is resumed by it
