"""Recipe 16: what it asserts fails where masks belong to other dates, and where no date is cloudy."""
from functools import partial

import numpy as np
import pytest
from conftest import taken
from sat_recipes.all import SENSORS, paired_difference, run_arms, smooth_noise, spectral_index

DATES, SEEDS = 40, range(6)


@pytest.fixture
def series():
    "(images, is_cloud): one land on 40 dates, with clouds in blobs over a sixth of the pixels."
    rng = np.random.default_rng(0)
    land = .05 + .01*np.stack([smooth_noise((32, 32), 3, rng) for _ in range(3)])
    images = land + .002*rng.standard_normal((DATES, 3, 32, 32))
    is_cloud = np.stack([smooth_noise((32, 32), 8, rng) for _ in range(DATES)]) > 1
    images[np.broadcast_to(is_cloud[:, None], images.shape)] += .5
    return images, is_cloud


def gain(images, hidden, how=np.nanmean):
    agreement = taken('16', 'agreement', np=np, summer=np.ones(DATES, bool))['agreement']
    masked = np.where(hidden[:, None], np.nan, images)
    arms = {'no mask': partial(agreement, images, how), 'masked': partial(agreement, masked, how)}
    return paired_difference(run_arms(arms, SEEDS), 'masked', against='no mask')


def test_masks_help_the_mean_and_masks_of_other_dates_do_not(series):
    holds = taken('16', 'holds')['holds']
    images, is_cloud = series
    assert holds(gain(images, is_cloud))
    assert not holds(gain(images, is_cloud[np.roll(np.arange(DATES), 1)]))
    assert not holds(gain(images, is_cloud, np.nanmedian), more_than=.1)


def test_planted_clouds_break_the_median_at_one_half_only(series):
    ndvi = partial(spectral_index, sensor=SENSORS['landsat7'].select(['red', 'nir', 'swir16']), name='ndvi')
    rng = np.random.default_rng(1)
    fair = np.array([.05, .4, .2])[None, :, None, None] + .01*rng.standard_normal((9, 3, 61, 61))
    planted = taken('16', 'planted_error', np=np, smooth_noise=smooth_noise, cloudy=np.full((2, 3, 61, 61), .6), fair=fair, ndvi=ndvi)
    error = {how: [planted['planted_error'](how, hidden, 0) for hidden in (0, 4, 5, 9)] for how in (np.mean, np.median)}
    assert error[np.mean][0] == error[np.median][0] == 0
    assert error[np.median][1] < .05 < .2 < error[np.mean][1]
    assert min(error[np.median][2:]) > .5
