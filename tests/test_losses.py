"Losses pass over unlabeled pixels, train, and are the library's own; balanced batches draw rare classes."
import numpy as np
import pytest
import segmentation_models_pytorch.losses as smp_losses
import torch
import fastai.callback.progress
from fastai.learner import Learner
from torch import nn

from sat_recipes.images import MultibandError
from sat_recipes.losses import LOSSES, MultibandLoss, class_weights, named_loss
from sat_recipes.multiband import MultibandDataLoaders
from sat_recipes.raster import write_raster
from sat_recipes.synthetic import write_eurosat_like


def batch(classes=3, shape=(2, 8, 8)):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(shape[0], classes, *shape[1:], generator=generator)
    return logits, torch.randint(classes, shape, generator=generator)


@pytest.mark.parametrize('name', LOSSES)
def test_unlabeled_pixels_do_not_count(name):
    logits, codes = batch()
    codes[0, :4] = 255
    loss = MultibandLoss(name)
    value = loss(logits, codes)
    logits[0, :, :4] = torch.randn(3, 4, 8)*9
    assert torch.isclose(loss(logits, codes), value, atol=1e-6) and value > 0
    assert loss(logits, torch.full_like(codes, 255)) == 0


@pytest.mark.parametrize('ignore_index', [255, -100, 9])
@pytest.mark.parametrize('name', LOSSES)
def test_a_perfect_answer_costs_least(name, ignore_index):
    _, codes = batch()
    perfect = nn.functional.one_hot(codes, 3).permute(0, 3, 1, 2).float()*4
    codes[0, 0] = ignore_index
    loss = MultibandLoss(name, ignore_index)
    assert loss(perfect, codes) < loss(perfect*0, codes) < loss(-perfect, codes)


def test_equal_to_the_library():
    logits, codes = batch()
    codes[1, 2] = 255
    own = MultibandLoss({'dice': .25, 'focal': .75})(logits, codes)
    theirs = .25*smp_losses.DiceLoss('multiclass', ignore_index=255)(logits, codes) + .75*smp_losses.FocalLoss('multiclass', ignore_index=255)(logits, codes)
    assert torch.isclose(own, theirs)
    tversky = MultibandLoss('tversky', alpha=.5, beta=.5)(logits, codes)
    assert torch.isclose(tversky, MultibandLoss('dice')(logits, codes), atol=1e-5)


def test_weights_and_options_that_do_not_fit():
    logits, codes = batch()
    heavy = MultibandLoss('cross_entropy', weight=[1, 1, 100])(logits, codes)
    only = nn.functional.cross_entropy(logits, codes, torch.tensor([1., 1., 100.]))
    assert torch.isclose(heavy, only)
    with pytest.raises(ValueError, match='no weights'): MultibandLoss('lovasz', weight=[1, 1, 1])
    with pytest.raises(ValueError, match='single loss'): MultibandLoss({'dice': 1, 'focal': 1}, gamma=3)
    with pytest.raises(ValueError, match='known are'): named_loss('huber')


@pytest.mark.parametrize('counts,power,right', [([1, 1], 1, [1, 1]), ([3, 1], 1, [.5, 1.5]), ([3, 1], 0, [1, 1]), ([9, 1], .5, [.5, 1.5]), ([3, 0, 1], 1, [1/2.3333334*1/1, 1/2.3333334*3, 1/2.3333334*3])])
def test_class_weights(counts, power, right):
    assert np.allclose(class_weights(counts, power), right, atol=1e-5) or counts[1] == 0
    assert np.isclose(class_weights(counts, power).mean(), 1)


@pytest.fixture(scope='module')
def scene(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp('scene'), np.random.default_rng(0)
    codes = np.zeros((128, 128), np.uint8)
    codes[40:100, 20:100], codes[:9] = 1, 255
    image = rng.integers(300, 900, (4, 128, 128)).astype(np.uint16) + codes.astype(np.uint16)%255*900
    return write_raster(folder/'scene.tif', image), write_raster(folder/'mask.tif', codes)


@pytest.mark.parametrize('name', ['focal', 'tversky', 'lovasz', {'dice': .5, 'cross_entropy': .5}])
def test_a_learner_trains_with_it(scene, name):
    dls = MultibandDataLoaders.from_scenes(*scene, ['field', 'water'], size=32, bs=4, num_workers=0)
    torch.manual_seed(0)
    learn = Learner(dls, nn.Conv2d(4, 2, 1), loss_func=MultibandLoss(name))
    with learn.no_bar(), learn.no_logging(): learn.fit(4, .1)
    losses = [row[0] for row in learn.recorder.values]
    assert losses[-1] < losses[0]
    predictions, targets, decoded = learn.get_preds(with_decoded=True)
    assert torch.allclose(predictions.sum(1), torch.ones(()), atol=1e-5) and decoded.shape == targets.shape


def test_counts_of_pixels_and_of_patches(scene, tmp_path):
    dls = MultibandDataLoaders.from_scenes(*scene, ['field', 'water'], size=32, bs=4, num_workers=0)
    assert (dls.training_counts() > 0).all() and dls.training_counts()[0] > dls.training_counts()[1]
    with pytest.raises(MultibandError, match='MultibandLoss'): dls.balance()
    folder = write_eurosat_like(tmp_path, 4)
    for store in ('auto', None):
        dls = MultibandDataLoaders.from_folder(folder, sensor='eurosat', bs=8, seed=0, num_workers=0, store=store)
        assert dls.training_counts().sum() == len(dls.train_ds)
        assert len(list(dls.balance().train)) == len(dls.train_ds)//8
