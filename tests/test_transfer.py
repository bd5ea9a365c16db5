"Widened networks answer as the RGB network does, weights are the known ones, and learners fit what they are given."
import numpy as np
import pytest
import timm
import torch

from sat_recipes.bands import SENSORS, Band, Sensor
from sat_recipes.datasets import DatasetError, get_weights
from sat_recipes.multiband import MultibandDataLoaders
from sat_recipes.synthetic import write_eurosat_like
from sat_recipes.transfer import INITS, KeepBatchNorm, body_and_head, first_convolution, kernel_shares, multiband_learner, pretrained_backbone, widen_first_convolution, widen_weights


@pytest.fixture(scope='module')
def folder(tmp_path_factory): return write_eurosat_like(tmp_path_factory.mktemp('patches'), n_per_class=2)


@pytest.mark.parametrize('name', list(SENSORS))
def test_wavelength_keeps_the_scale_for_every_sensor(name):
    weight, gray = torch.randn(8, 3, 3, 3), torch.randn(2, 1, 16, 16)
    wide = widen_weights(weight, name)
    assert wide.shape == (8, len(SENSORS[name]), 3, 3)
    torch.testing.assert_close(torch.conv2d(gray.expand(-1, len(SENSORS[name]), -1, -1), wide), torch.conv2d(gray.expand(-1, 3, -1, -1), weight), atol=1e-4, rtol=1e-4)


def test_rgb_in_any_order_is_the_network_itself():
    weight = torch.randn(4, 3, 3, 3)
    for order in (['red', 'green', 'blue'], ['blue', 'green', 'red'], ['green', 'red', 'blue']):
        wide = widen_weights(weight, SENSORS['sentinel2_l2a'].select(order))
        for channel, color in enumerate(order): torch.testing.assert_close(wide[:, channel], weight[:, ['red', 'green', 'blue'].index(color)])


def test_zeros_and_repeat_are_what_fastai_and_timm_do():
    weight, sensor = torch.randn(4, 3, 3, 3), SENSORS['sentinel2_l2a'].select(['red', 'green', 'blue', 'nir', 'swir16'])
    zeros = widen_weights(weight, sensor, 'zeros')
    torch.testing.assert_close(zeros[:, :3], weight)
    assert zeros[:, 3:].abs().sum() == 0
    torch.testing.assert_close(widen_weights(weight, sensor, 'repeat'), timm.models.adapt_input_conv(5, weight), atol=1e-5, rtol=1e-5)


def test_unknown_wavelengths_repeat_and_one_band_sums():
    np.testing.assert_allclose(kernel_shares(Sensor.generic(6)), kernel_shares(Sensor.generic(6), 'repeat'))
    weight = torch.randn(4, 3, 3, 3)
    torch.testing.assert_close(widen_weights(weight, Sensor('pan', (Band('pan', '', 650),))), weight.sum(1, keepdim=True))
    with pytest.raises(ValueError, match='wavelength, repeat'): kernel_shares('eurosat', 'magic')
    with pytest.raises(ValueError, match='takes 4 channels'): widen_first_convolution(torch.nn.Conv2d(4, 2, 1), 'eurosat')


def test_imagenet_weights_are_the_known_ones():
    try: get_weights('tf_efficientnet_lite0')
    except DatasetError as error: pytest.skip(str(error))
    saved = [v for k, v in torch.load(get_weights('tf_efficientnet_lite0'), weights_only=True).items() if 'num_batches' not in k]
    own = [v for k, v in pretrained_backbone().state_dict().items() if 'num_batches' not in k]
    assert len(own) == len(saved) - 2 and all(torch.equal(a, b) for a, b in zip(own, saved))


@pytest.mark.parametrize('init', INITS)
def test_learner_of_every_init(folder, init):
    dls = MultibandDataLoaders.from_folder(folder, sensor='eurosat', valid_pct=.5, seed=0, bs=4)
    learn = multiband_learner(dls, init=init, pretrained=False, min_size=0)
    assert first_convolution(learn.model)[1].in_channels == 13
    with learn.no_bar(), learn.no_logging(): learn.fit(1)
    assert np.isfinite(learn.recorder.losses[-1])


def test_small_patches_are_enlarged_and_statistics_kept(folder):
    try: get_weights('tf_efficientnet_lite0')
    except DatasetError as error: pytest.skip(str(error))
    dls = MultibandDataLoaders.from_folder(folder, sensor='eurosat', valid_pct=.5, seed=0, bs=4)
    learn = multiband_learner(dls)
    assert learn.model[0][0].scale_factor == 2
    before = [b.running_mean.clone() for b in learn.model[0].modules() if isinstance(b, torch.nn.BatchNorm2d)]
    with learn.no_bar(), learn.no_logging(): learn.fine_tune(1)
    after = [b.running_mean for b in learn.model[0].modules() if isinstance(b, torch.nn.BatchNorm2d)]
    assert any(isinstance(c, KeepBatchNorm) for c in learn.cbs) and all(torch.equal(a, b) for a, b in zip(before, after))
    body, head = body_and_head(learn.model)
    assert len(head) == 2 and len(body) + len(head) == len(list(learn.model.parameters()))


def test_unreachable_weights_are_one_sentence(monkeypatch):
    monkeypatch.setattr(timm, 'create_model', lambda *a, **k: (_ for _ in ()).throw(OSError('no route')) if k.get('pretrained') else None)
    with pytest.raises(RuntimeError, match="No ImageNet weights for 'resnet18'.*tf_efficientnet_lite0"): pretrained_backbone('resnet18')
