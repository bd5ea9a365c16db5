"Exactness of the augmentations, and that they are fastai transforms."
import pytest
import torch
from fastai.vision.all import Pipeline

from sat_recipes.augment import BandDropout, D4, Gain, dihedral
from sat_recipes.images import MultibandImage, MultibandMask


def pair(n=64, bands=3, height=6, width=6):
    numbers = torch.arange(float(height*width)).view(1, 1, height, width)
    return MultibandImage(numbers.repeat(n, bands, 1, 1)), MultibandMask(numbers[:, 0].long().repeat(n, 1, 1))


def test_d4_moves_image_and_mask_together_and_draws_per_item():
    torch.manual_seed(0)
    image, mask = D4()(pair(), split_idx=0)
    assert isinstance(image, MultibandImage) and isinstance(mask, MultibandMask)
    assert (image[:, 1] == mask).all()
    assert len({tuple(m.flatten().tolist()) for m in mask}) == 8


def test_d4_on_oblong_images_only_flips():
    image, mask = D4()(pair(height=4, width=6), split_idx=0)
    assert image.shape[-2:] == (4, 6) and (image[:, 0] == mask).all() and len({tuple(m.flatten().tolist()) for m in mask}) == 4


def test_d4_is_off_in_validation_and_with_p_0():
    image, mask = pair()
    assert (D4()((image, mask), split_idx=1)[0] == image).all()
    assert (D4(p=0)((image, mask), split_idx=0)[0] == image).all()


def test_dihedral_is_a_group_with_inverses():
    x = torch.arange(9).view(3, 3)
    assert all(any(torch.equal(dihedral(dihedral(x, k), j), x) for j in range(8)) for k in range(8))


def test_d4_keeps_nodata_and_dtype():
    image, mask = pair()
    image[:, :, :2, :3] = torch.nan
    out, out_mask = D4()((image, mask), split_idx=0)
    assert int(out.isnan().sum()) == int(image.isnan().sum()) and out_mask.dtype == torch.int64


def test_gain_is_per_image_and_per_band_and_skips_masks():
    torch.manual_seed(0)
    image, mask = pair(n=500)
    image = MultibandImage(torch.ones_like(image))
    out, out_mask = Gain(image=.2, band=0)((image, mask), split_idx=0)
    assert (out_mask == mask).all() and float((out.amax((1, 2, 3)) - out.amin((1, 2, 3))).max()) == 0
    out = Gain(image=0, band=.1)(image, split_idx=0)
    assert float((out[:, 0] - out[:, 1]).abs().max()) > 0 and .08 < float(out[:, 0, 0, 0].log().std()) < .12


def test_band_dropout_never_drops_all():
    torch.manual_seed(0)
    out = BandDropout(share=.9)(MultibandImage(torch.rand(300, 3, 2, 2)), split_idx=0)
    dropped = out.isnan()[:, :, 0, 0].sum(1)
    assert int(dropped.max()) == 2 and (out.isnan().all((2, 3)) == out.isnan().any(3).any(2)).all()


@pytest.mark.parametrize('transform', [D4(p=.5), Gain(p=.5), BandDropout(.9, p=.5)], ids=lambda t: type(t).__name__)
def test_p_is_the_probability_that_an_item_is_changed(transform):
    torch.manual_seed(0)
    image = MultibandImage(torch.rand(1000, 3, 6, 6))
    same = torch.as_tensor((transform(image, split_idx=0) == image).flatten(1).all(1))
    drawn = {'D4': .5*7/8}.get(type(transform).__name__, .5)
    assert abs(float((~same).float().mean()) - drawn) < .06


@pytest.mark.parametrize('transform', [Gain(), BandDropout()], ids=lambda t: type(t).__name__)
def test_validation_and_the_image_given_stay_as_they_are(transform):
    image = MultibandImage(torch.rand(8, 3, 6, 6))
    before = image.clone()
    assert (transform(image, split_idx=1) == before).all()
    transform(image, split_idx=0)
    assert (image == before).all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_on_the_gpu():
    image, mask = (x.cuda() for x in pair())
    image, mask = Pipeline([D4(), Gain(), BandDropout()], split_idx=0)((image, mask))
    assert image.is_cuda and mask.is_cuda
