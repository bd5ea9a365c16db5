"Exactness of the augmentations, that what belongs together moves together, and that they are fastai transforms."
import pytest
import torch
import numpy as np
from fastai.callback.mixup import CutMix, MixUp
from fastai.learner import Learner
from fastai.metrics import accuracy
from fastai.torch_core import TensorMultiCategory, set_seed
from fastai.vision.all import Pipeline, TensorBBox, TensorPoint
from hypothesis import given, settings, strategies as st

from sat_recipes.augment import (D4, Albumentations, BandDropout, CastShadow, CropResize, Cutout, Gain, Gamma, Haze, SensorNoise,
                                 ThinCloud, aerial_transforms, dihedral)
from sat_recipes.bands import Band, Sensor, get_sensor
from sat_recipes.images import MultibandError, MultibandImage, MultibandMask
from sat_recipes.multiband import MultibandDataLoaders
from sat_recipes.synthetic import write_eurosat_like, write_flood_chip

BANDS = [1, 3, 4, 13, 20]
LIGHT = [Gain(offset=.01), Gamma(.2, p=1.), Haze(p=1.), ThinCloud(p=1.), CastShadow(p=1.), SensorNoise(p=1.)]
LOSS = [BandDropout(.5), Cutout(p=1.)]
MOVES = [D4(), CropResize(nearest=True)]


def name(transform): return type(transform).__name__


def sensor_of(bands): return Sensor('some', tuple(Band(f'b{i}', wavelength=450. + 90*i) for i in range(bands)))


def pair(n=64, bands=3, height=6, width=6):
    numbers = torch.arange(float(height*width)).view(1, 1, height, width)
    return MultibandImage(numbers.repeat(n, bands, 1, 1)), MultibandMask(numbers[:, 0].long().repeat(n, 1, 1))


def images(n=16, bands=4, height=12, width=12):
    return MultibandImage(torch.rand(n, bands, height, width)*.5 + .02, sensor=sensor_of(bands))


# --- The symmetries ------------------------------------------------------------------------------

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


# --- What belongs together -----------------------------------------------------------------------

@settings(max_examples=40, deadline=None)
@given(bands=st.sampled_from(BANDS), height=st.integers(2, 17), width=st.integers(2, 17), seed=st.integers(0, 99),
       dtype=st.sampled_from([torch.uint8, torch.int64]))
def test_an_index_image_and_its_mask_stay_equal_whatever_is_done(bands, height, width, seed, dtype):
    torch.manual_seed(seed)
    numbers = torch.randint(0, 200, (5, 1, height, width))
    batch = MultibandImage(numbers.float().repeat(1, bands, 1, 1)), MultibandMask(numbers[:, 0].to(dtype))
    image, mask = Pipeline([D4(p=.7), CropResize(.2, nearest=True, p=.7), Cutout(p=.5)], split_idx=0)(batch)
    assert mask.dtype == dtype and image.shape == batch[0].shape and mask.shape == batch[1].shape
    hole = image.isnan()
    assert (hole.any(1) == hole.all(1)).all() and ((mask == 255) == hole[:, 0]).all()
    assert all((band[~hole[:, 0]] == mask[~hole[:, 0]].float()).all() for band in image.unbind(1))


@pytest.mark.parametrize('bands', BANDS)
def test_nodata_moves_with_the_pixels_and_no_other_is_lost(bands):
    torch.manual_seed(1)
    image, mask = pair(n=20, bands=bands, height=8, width=8)
    image = image.masked_fill((mask < 20)[:, None].as_subclass(torch.Tensor), torch.nan)
    image, mask = Pipeline(MOVES, split_idx=0)((image, mask))
    assert (image[:, 0].isnan() == (mask < 20)).all()


def boxes_and_picture(n=40, side=32):
    "Each image has a rectangle of ones, and is 0 elsewhere: (images, boxes as fastai scales them with one row of padding, labels)."
    generator = torch.Generator().manual_seed(0)
    image, boxes = torch.zeros(n, 2, side, side), torch.zeros(n, 2, 4)
    for i in range(n):
        left, top = torch.randint(0, side - 8, (2,), generator=generator).tolist()
        width, height = torch.randint(3, 9, (2,), generator=generator).tolist()
        image[i, :, top:top + height, left:left + width] = 1
        boxes[i, 0] = torch.tensor([left, top, left + width, top + height])*2/side - 1
    return MultibandImage(image), TensorBBox(boxes), TensorMultiCategory(torch.tensor([[3, 0]]).repeat(n, 1))


def extent(image):
    "Box of what is over a half, -1 to 1; None if nothing is."
    rows, columns = (torch.where((image > .5).any(axis))[0] for axis in (1, 0))
    if not len(rows): return None
    height, width = image.shape
    return [columns[0]*2/width - 1, rows[0]*2/height - 1, (columns[-1] + 1)*2/width - 1, (rows[-1] + 1)*2/height - 1]


@pytest.mark.parametrize('transform, slack', [(D4(), 1e-6), (CropResize(.5, nearest=True), .13), (CropResize(.5), .13)])
def test_boxes_go_where_their_pixels_go_and_padding_stays(transform, slack):
    torch.manual_seed(0)
    image, boxes, labels = transform(boxes_and_picture(), split_idx=0)
    assert type(boxes) is TensorBBox and type(labels) is TensorMultiCategory
    assert (boxes[:, 1] == 0).all() and (labels[:, 1] == 0).all()
    found = 0
    for picture, box, label in zip(image, boxes[:, 0], labels[:, 0]):
        seen = extent(picture[0].as_subclass(torch.Tensor))
        if int(label) == 0: assert (box == 0).all()
        elif seen is not None:
            found += 1
            assert torch.allclose(torch.tensor(seen), box.as_subclass(torch.Tensor), atol=slack)
    assert found > 25


def test_boxes_that_leave_the_window_lose_their_labels():
    torch.manual_seed(3)
    image, boxes, labels = (x.as_subclass(torch.Tensor) for x in CropResize(.1)(boxes_and_picture(200), split_idx=0))
    gone = (boxes == 0).all(-1)
    assert (labels[gone] == 0).all() and (labels[~gone] == 3).all() and .1 < float(gone[:, 0].float().mean()) < .8
    assert boxes.min() >= -1 and boxes.max() <= 1


def test_points_go_where_their_pixels_go():
    torch.manual_seed(0)
    image, points = torch.zeros(30, 1, 9, 9), torch.tensor([[[-4/9, 2/9]]]).repeat(30, 1, 1)
    image[:, :, 5, 2] = 1 # the middle of this pixel
    image, points = D4()((MultibandImage(image), TensorPoint(points)), split_idx=0)
    rows, columns = (((points[:, 0, i] + 1)*9/2).long() for i in (1, 0))
    assert type(points) is TensorPoint
    assert all(float(image[i, 0, row, column]) == 1 for i, (row, column) in enumerate(zip(rows.tolist(), columns.tolist())))


def test_several_labels_of_an_image_are_no_labels_of_boxes():
    labels = TensorMultiCategory(torch.ones(8, 5))
    assert (CropResize(.1)((images(8), labels), split_idx=0)[1] == 1).all()


def test_bilinear_resizing_keeps_the_mean_of_a_plane_and_skips_nodata():
    torch.manual_seed(0)
    image = MultibandImage(torch.full((20, 2, 16, 16), .3))
    image[:, :, :, 8:] = torch.nan
    out = CropResize(.3)(image, split_idx=0)
    assert torch.allclose(out[~out.isnan()].as_subclass(torch.Tensor), torch.tensor(.3)) and bool(out.isnan().any())


# --- Light ---------------------------------------------------------------------------------------

@pytest.mark.parametrize('bands', BANDS)
@pytest.mark.parametrize('transform', LIGHT + LOSS + MOVES, ids=name)
def test_any_number_of_bands_keeps_shape_type_sensor_and_nodata(transform, bands):
    torch.manual_seed(0)
    image = images(bands=bands)
    image[:, :, 3:5, 2] = torch.nan
    out, target = transform((image, torch.arange(16)), split_idx=0)
    assert type(out) is MultibandImage and out.shape == image.shape and out.dtype == torch.float32 and out.sensor is image.sensor
    assert (target == torch.arange(16)).all()
    if transform in LIGHT:
        assert (out.isnan() == image.isnan()).all() and not out.isinf().any()
        assert not torch.equal(out.nan_to_num().as_subclass(torch.Tensor), image.nan_to_num().as_subclass(torch.Tensor))


@pytest.mark.parametrize('transform', LIGHT, ids=name)
def test_light_leaves_masks_alone(transform):
    image, mask = images(), MultibandMask(torch.randint(0, 5, (16, 12, 12)).to(torch.uint8))
    out = transform((image, mask), split_idx=0)[1]
    assert (out == mask).all() and out.dtype == torch.uint8


def test_gain_is_per_image_and_per_band_and_skips_masks():
    torch.manual_seed(0)
    image, mask = pair(n=500)
    image = MultibandImage(torch.ones_like(image))
    out, out_mask = Gain(image=.2, band=0)((image, mask), split_idx=0)
    assert (out_mask == mask).all() and float((out.amax((1, 2, 3)) - out.amin((1, 2, 3))).max()) == 0
    out = Gain(image=0, band=.1)(image, split_idx=0)
    assert float((out[:, 0] - out[:, 1]).abs().max()) > 0 and .08 < float(out[:, 0, 0, 0].log().std()) < .12
    out = Gain(0, 0, offset=.05)(image, split_idx=0)
    assert .04 < float((out[:, 1, 0, 0] - 1).std()) < .06 and float(out.std((2, 3)).max()) == 0


def test_gamma_keeps_black_and_white_and_the_order_of_gray():
    torch.manual_seed(0)
    ramp = MultibandImage(torch.tensor([-.1, 0, .2, .5, 1]).view(1, 1, 1, 5).repeat(50, 1, 1, 1))
    out = Gamma(.3, p=1.)(ramp, split_idx=0)[:, 0, 0]
    assert (out[:, 1] == 0).all() and (out[:, 4] == 1).all() and (out.diff() > 0).all() and (out[:, 0] < 0).all()


def test_haze_falls_with_the_wavelength_and_never_passes_white():
    torch.manual_seed(0)
    image = MultibandImage(torch.rand(50, 13, 4, 4), sensor=get_sensor('sentinel2_l1c'))
    added = Haze(.3, p=1.)(image, split_idx=0) - image
    share = added.sum((2, 3))/(1 - image).sum((2, 3))
    assert (share[:, :-1] > share[:, 1:]).all() and float(share.max()) < .6 and float(share.min()) >= 0
    assert float((added - share[..., None, None]*(1 - image)).abs().max()) < 1e-5


def test_clouds_are_patchy_and_nearly_white():
    torch.manual_seed(0)
    image = MultibandImage(torch.zeros(50, 13, 64, 64), sensor=get_sensor('sentinel2_l1c'))
    out = ThinCloud(.5, p=1.)(image, split_idx=0)
    cover = (out[:, 1] > 0).float().mean((1, 2))
    thick = out.amax((2, 3))
    assert .2 < float(cover.mean()) < .8 and float(out.max()) < .55 and float((thick[:, 12]/thick[:, 1]).min()) > .6


def test_shadows_are_dark_inside_and_bluer():
    torch.manual_seed(0)
    image = MultibandImage(torch.full((50, 13, 32, 32), .4), sensor=get_sensor('sentinel2_l1c'))
    out = CastShadow((.5, .5), p=1.)(image, split_idx=0)
    light = (out/image).amin((2, 3))
    assert float(light[:, 1].min()) == pytest.approx(.5*(490/492.4)**2) and float((light[:, 1] < .6).float().mean()) > .9
    assert (light[:, 1:].diff(dim=1) <= 0).all()
    inside = (out[:, 3] < .4).float().mean((1, 2))
    assert 0 < float(inside.min()) and .3 < float(inside.mean()) < .7


def test_noise_grows_with_the_light():
    torch.manual_seed(0)
    dark, bright = (SensorNoise(.002, .02, p=1.)(MultibandImage(torch.full((200, 1, 32, 32), value)), split_idx=0).std()
                    for value in (0., .5))
    assert .001 < float(dark) < .0014 and 5 < float(bright/dark) < 9


def test_wavelengths_must_be_known():
    with pytest.raises(MultibandError, match='Haze needs to know the wavelengths of the bands: pass sensor='):
        Haze(p=1.)(MultibandImage(torch.rand(2, 3, 4, 4)), split_idx=0)


# --- Lost bands and holes ------------------------------------------------------------------------

def test_band_dropout_never_drops_all():
    torch.manual_seed(0)
    out = BandDropout(share=.9)(MultibandImage(torch.rand(300, 3, 2, 2)), split_idx=0)
    dropped = out.isnan()[:, :, 0, 0].sum(1)
    assert int(dropped.max()) == 2 and (out.isnan().all((2, 3)) == out.isnan().any(3).any(2)).all()


def test_cutout_is_a_rectangle_of_the_size_wanted():
    torch.manual_seed(0)
    hole = Cutout((.25, .5), p=1.)(MultibandImage(torch.rand(100, 2, 40, 20)), split_idx=0).isnan()
    assert (hole[:, 0] == hole[:, 1]).all()
    rows, columns = hole[:, 0].any(2).sum(1), hole[:, 0].any(1).sum(1)
    assert (rows*columns == hole[:, 0].sum((1, 2))).all() and int(rows.max()) <= 20 and int(columns.max()) <= 10


# --- fastai's ways -------------------------------------------------------------------------------

@pytest.mark.parametrize('transform', [D4(p=.5), CropResize(.3, p=.5), Gain(p=.5), Gamma(p=.5), Haze(p=.5), ThinCloud(p=.5), SensorNoise(p=.5),
                                       CastShadow(p=.5), BandDropout(.9, p=.5), Cutout((.3, .5), p=.5)], ids=name)
def test_p_is_the_probability_that_an_item_is_changed(transform):
    torch.manual_seed(0)
    image = images(1000, 3, 6, 6)
    same = torch.as_tensor((transform(image, split_idx=0) == image).flatten(1).all(1))
    drawn = {'D4': .5*7/8, 'CropResize': .5*.96}.get(name(transform), .5)
    assert abs(float((~same).float().mean()) - drawn) < .06


@pytest.mark.parametrize('transform', LIGHT + LOSS + MOVES, ids=name)
def test_validation_and_the_image_given_stay_as_they_are(transform):
    image, mask = images(8), MultibandMask(torch.ones(8, 12, 12, dtype=torch.uint8))
    before, mask_before = image.clone(), mask.clone()
    state = torch.get_rng_state()
    assert (transform(image, split_idx=1) == before).all() and torch.equal(state, torch.get_rng_state())
    transform((image, mask), split_idx=0)
    assert (image == before).all() and (mask == mask_before).all()


@pytest.mark.parametrize('transform', LIGHT + LOSS + MOVES, ids=name)
def test_same_seed_same_result(transform):
    image, found = images(), []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        found.append(transform(image, split_idx=0).nan_to_num().as_subclass(torch.Tensor))
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])


def test_single_items_are_refused():
    with pytest.raises(MultibandError, match=r'D4 changes batches .* \(3, 6, 6\): pass it in batch_tfms='):
        D4()((MultibandImage(torch.rand(3, 6, 6)), 1), split_idx=0)


def test_the_policy_holds_what_was_asked_for():
    assert list(map(name, aerial_transforms())) == ['D4', 'Gain']
    assert list(map(name, aerial_transforms(symmetries=False, gain=0, band_gain=0))) == []
    every = aerial_transforms(min_scale=.5, haze=.1, cloud=.3, shadow=.6, band_dropout=.1, cutout=.3, p=1.)
    assert list(map(name, every)) == ['D4', 'CropResize', 'Gain', 'Haze', 'ThinCloud', 'CastShadow', 'BandDropout', 'Cutout']
    orders = [transform.order for transform in every]
    assert orders == sorted(orders) and max(orders) < 99 # before MultibandNormalize
    image = MultibandImage(torch.rand(4, 13, 16, 16), sensor=get_sensor('eurosat'))
    assert Pipeline(every, split_idx=0)(image).shape == image.shape


@pytest.fixture(scope='module')
def patches(tmp_path_factory): return write_eurosat_like(tmp_path_factory.mktemp('augment'), 4)


def classifier(dls):
    body = torch.nn.Sequential(torch.nn.Conv2d(13, 8, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(8, dls.c))
    return Learner(dls, body, metrics=accuracy)


@pytest.mark.parametrize('mix', [MixUp, CutMix])
def test_fastais_mixup_and_cutmix_take_thirteen_bands(patches, mix):
    set_seed(0)
    dls = MultibandDataLoaders.from_folder(patches, sensor='eurosat', bs=8, num_workers=0,
                                           batch_tfms=aerial_transforms(band_dropout=.2, haze=.1))
    learn = classifier(dls)
    loss = learn.loss_func
    with learn.no_bar(), learn.no_logging(): learn.fit(1, cbs=mix())
    assert learn.loss_func is loss and np.isfinite(learn.recorder.values[-1][:2]).all()
    seen = []
    with learn.no_bar(), learn.no_logging():
        learn.fit(1, cbs=[mix(), type('Look', (MixUp.__mro__[2],), {'order': 90, 'before_batch': lambda self: seen.append(self.x)})()])
    assert seen[0].shape[1] == 13 and bool(torch.isfinite(seen[0]).all())


@pytest.mark.parametrize('workers', [0, 2])
@pytest.mark.parametrize('store', ['auto', None])
def test_same_seed_same_batches_with_workers(patches, workers, store):
    def first():
        set_seed(7)
        every = aerial_transforms(min_scale=.5, haze=.1, cutout=.3) + [SensorNoise()]
        dls = MultibandDataLoaders.from_folder(patches, sensor='eurosat', bs=8, num_workers=workers, batch_tfms=every, store=store, seed=1)
        held = dls.valid.one_batch()[0]
        return dls.train.one_batch()[0].cpu(), held.cpu()
    (one, held), (two, again) = first(), first()
    assert torch.equal(one.as_subclass(torch.Tensor), two.as_subclass(torch.Tensor))
    assert torch.equal(held.as_subclass(torch.Tensor), again.as_subclass(torch.Tensor)) and one.sensor.names[0] == 'B01'


# --- Albumentations ------------------------------------------------------------------------------

A = pytest.importorskip('albumentations')
GEOMETRIC = [A.D4(p=1), A.Affine(rotate=(-40, 40), scale=(.7, 1.3), p=1), A.Perspective(p=1), A.ElasticTransform(p=1), A.GridDistortion(p=1),
             A.RandomResizedCrop((24, 24), p=1), A.RandomCrop(16, 16, p=1), A.PadIfNeeded(48, 48, p=1), A.Transpose(p=1)]
PHOTOMETRIC = [A.RandomBrightnessContrast(p=1), A.GaussianBlur(p=1), A.MultiplicativeNoise(p=1), A.GaussNoise(p=1), A.Downscale(p=1),
               A.Sharpen(p=1), A.MedianBlur(p=1), A.MotionBlur(p=1), A.RandomGamma(p=1), A.ChannelDropout(p=1)]
FOR_PICTURES = [A.RandomFog(), A.RandomRain(), A.RandomSnow(), A.Equalize(), A.CLAHE(), A.HueSaturationValue(), A.ColorJitter(), A.RGBShift(),
                A.ToGray(), A.ToSepia(), A.ISONoise(), A.PlanckianJitter(), A.ChromaticAberration(), A.Spatter(), A.FromFloat(), A.ToTensorV2(),
                A.Normalize()]


def sample(bands=4, side=32):
    "An image whose bands all are its class codes over 10, a mask of the codes, and one box around the rectangle of code 7."
    codes = torch.ones(side, side, dtype=torch.int64)
    codes[side//2:] = 3
    codes[5:15, 9:21] = 7
    box = torch.tensor([[9., 5, 21, 15]])*2/side - 1
    image = MultibandImage(codes.float().repeat(bands, 1, 1)/10, sensor=sensor_of(bands))
    return image, MultibandMask(codes, codes=[str(i) for i in range(8)]), TensorBBox(box), TensorMultiCategory(torch.tensor([2]))


@pytest.mark.parametrize('bands', BANDS)
@pytest.mark.parametrize('transform', GEOMETRIC, ids=name)
def test_albumentations_moves_image_mask_nodata_and_boxes_together(transform, bands):
    set_seed(0)
    image, mask, boxes, labels = Albumentations(transform)(sample(bands), split_idx=0)
    assert type(image) is MultibandImage and image.dtype == torch.float32 and len(image) == bands and image.sensor.name == 'some'
    assert type(mask) is MultibandMask and mask.dtype == torch.int64 and mask.codes[0] == '0' and type(boxes) is TensorBBox
    hole = image.isnan()
    assert (hole.any(0) == hole.all(0)).all() and ((mask == 255) == hole[0]).all() and len(boxes) == len(labels) == 1
    # Away from the edges of classes, where bilinear and nearest resampling differ, the image still tells the code.
    alike = ((image[0]*10).round() == mask) | hole[0]
    assert float(alike.float().mean()) > .85
    seen = extent((mask == 7).float())
    assert torch.allclose(torch.tensor(seen), boxes[0].as_subclass(torch.Tensor), atol=.3)


@pytest.mark.parametrize('bands', [1, 3, 13])
@pytest.mark.parametrize('transform', PHOTOMETRIC, ids=name)
def test_albumentations_changes_reflectance_as_reflectance(transform, bands):
    if bands == 1 and name(transform) == 'ChannelDropout': return # refused: no band would be left
    set_seed(0)
    image, mask, *_ = Albumentations(transform)(sample(bands), split_idx=0)
    assert (mask == sample()[1]).all() and not torch.equal(image.as_subclass(torch.Tensor), sample(bands)[0].as_subclass(torch.Tensor))
    assert image.dtype == torch.float32 and 0 <= float(image.min()) and .05 < float(image.max()) <= 1


@pytest.mark.parametrize('transform', FOR_PICTURES, ids=name)
def test_what_is_for_color_pictures_is_refused_in_one_sentence_also_inside_others(transform):
    for given_ in (transform, A.Compose([A.OneOf([A.GaussianBlur(), transform], p=.1)])):
        with pytest.raises(MultibandError, match=f'^{name(transform)} of Albumentations does not give back 13 band'):
            Albumentations(given_)(sample(13), split_idx=0)


@pytest.mark.parametrize('transform', [A.HueSaturationValue(p=1), A.RandomFog(p=1)], ids=name)
def test_three_bands_may_be_colors(transform): assert len(Albumentations(transform)(sample(3)[:2], split_idx=0)[0]) == 3


def test_values_over_1_survive_what_moves_pixels():
    image = (sample(5)[0] + 1.2,)
    for transform in (A.D4(p=1), A.Affine(rotate=(-40, 40), p=1), A.RandomCrop(16, 16, p=1)):
        out = Albumentations(transform)(image, split_idx=0)[0]
        assert float(out.nan_to_num(0).max()) == pytest.approx(float(image[0].max()), abs=1e-5)


def test_nodata_is_kept_band_by_band_and_does_not_spread():
    image, mask = sample(13)[:2]
    image[2, 4:9, 4:9] = torch.nan
    out = Albumentations(A.GaussianBlur(p=1))((image, mask), split_idx=0)[0]
    assert (out.isnan() == image.isnan()).all()
    turned = Albumentations(A.D4(p=1))((image, mask), split_idx=0)[0]
    assert int(turned.isnan().sum()) == 25 and bool(turned[2].isnan().any())


def test_further_images_and_masks_move_along():
    set_seed(0)
    image, mask = sample(4)[:2]
    before, after, mask_a, mask_b, label = Albumentations(A.D4(p=1))((image, MultibandImage(image[:2]*2), mask, mask.to(torch.uint8), 5), split_idx=0)
    assert torch.allclose((before[:2]*2).as_subclass(torch.Tensor), after.as_subclass(torch.Tensor)) and (mask_a == mask_b).all()
    assert mask_b.dtype == torch.uint8 and label == 5 and (before[0] == mask_a/10).all()


def test_boxes_that_leave_take_their_labels_along_and_none_is_fine():
    image, mask, boxes, labels = sample()
    crop = Albumentations(A.Crop(0, 20, 12, 32, p=1))
    *_, kept, names = crop((image, mask, boxes, labels), split_idx=0)
    assert kept.shape == (0, 4) and names.shape == (0,) and type(kept) is TensorBBox
    *_, kept, names = crop((image, mask, boxes[:0], labels[:0]), split_idx=0)
    assert kept.shape == (0, 4)


def test_validation_is_left_alone():
    image, mask = sample()[:2]
    assert Albumentations(A.D4(p=1))((image, mask), split_idx=1)[0] is image


@pytest.mark.parametrize('workers', [0, 2])
def test_albumentations_is_reproducible_with_workers_and_draws_anew_for_each_item(tmp_path, workers):
    from fastai.data.block import DataBlock
    from sat_recipes.multiband import MultibandBlock, MultibandMaskBlock
    for i in range(6): write_flood_chip(tmp_path/str(i), seed=1, shape=(64, 64))
    block = DataBlock((MultibandBlock(), MultibandMaskBlock(['dry', 'water'], remap={-1: 255, 0: 0, 1: 1})),
                      get_items=lambda p: sorted(p.glob('*/*S2Hand.tif')),
                      get_y=lambda f: f.with_name(f.name.replace('S2', 'Label')), splitter=lambda items: ([0, 1, 2, 3], [4, 5]),
                      item_tfms=Albumentations([A.D4(p=1), A.RandomCrop(48, 48, p=1), A.GaussNoise(p=1)]))
    found = []
    for seed in (3, 3, 4):
        set_seed(seed)
        dls = block.dataloaders(tmp_path, bs=4, num_workers=workers, shuffle=False)
        found.append([x.as_subclass(torch.Tensor) for x in dls.train.one_batch()])
    assert found[0][0].shape[-2:] == (48, 48) and found[0][1].shape[-2:] == (48, 48)
    assert all(torch.equal(x, y) for x, y in zip(found[0], found[1])) and not torch.equal(found[0][0], found[2][0])
    assert not any(torch.equal(found[0][0][0], other) for other in found[0][0][1:])


def test_albumentations_does_not_look_up_the_network():
    import os
    assert os.environ['NO_ALBUMENTATIONS_UPDATE'] == '1'


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_on_the_gpu():
    image, mask = (x.cuda() for x in pair(bands=13))
    image.sensor = get_sensor('eurosat')
    every = [*aerial_transforms(min_scale=.5, haze=.1, cloud=.3, shadow=.6, band_dropout=.1, cutout=.3), Gamma(), SensorNoise()]
    image, mask = Pipeline(every, split_idx=0)((image, mask))
    assert image.is_cuda and mask.is_cuda
