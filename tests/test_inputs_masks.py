"Masks that people bring: of another place, with pixels without a label, of any type of numbers, in colors; scenes in several files."
import numpy as np
import pandas as pd
import pytest
import rasterio
from affine import Affine
from rasterio.enums import ColorInterp
from rasterio.warp import transform

from conftest import UP, said, tif
from sat_recipes.images import MultibandError, MultibandMask, OpenMultibandMask
from sat_recipes.multiband import MultibandDataLoaders, scene_blocks
from sat_recipes.raster import BandFiles, OnGrid, RasterError, SceneWindow
from sat_recipes.store import PatchStore

pytestmark = pytest.mark.filterwarnings('ignore::rasterio.errors.NotGeoreferencedWarning')
ABC = ['a', 'b', 'c']
N = 48


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch): monkeypatch.setenv('SAT_RECIPES_CACHE', str(tmp_path/'cache'))


def codes_of(path, codes=ABC, **kwargs): return said(lambda: np.asarray(OpenMultibandMask(codes, **kwargs)(path)))


def labels(n=16): return np.add.outer(np.arange(n), np.arange(n)).astype('uint8') % 3


def colored(codes, colors): return np.array(colors, 'uint8')[codes].transpose(2, 0, 1)


def pixels(n=N, bands=3, seed=0): return np.random.default_rng(seed).integers(1000, 5000, (bands, n, n)).astype('uint16')


# Types of numbers

@pytest.mark.parametrize('dtype', ['uint8', 'int8', 'uint16', 'int16', 'uint32', 'int32', 'uint64', 'int64', 'float32', 'float64'])
def test_whole_numbers_of_any_type(tmp_path, dtype):
    value, told = codes_of(tif(tmp_path/'m.tif', labels().astype(dtype)))
    assert (value == labels()).all() and value.dtype == 'int64' and not told


def test_masks_of_one_bit(tmp_path):
    value, told = codes_of(tif(tmp_path/'m.tif', (labels() == 1).astype('uint8'), nbits=1), ['n', 'y'])
    assert (value == (labels() == 1)).all() and not told


@pytest.mark.parametrize('array', [labels() == 1, (labels() == 1)[None], (labels() == 1).astype('float16'), (labels() == 1)[..., None].astype('int64')], ids=['bool', 'planes', 'half', 'last'])
def test_arrays(array):
    value, told = codes_of(array, ['n', 'y'])
    assert value.shape == (16, 16) and (value == (labels() == 1)).all() and not told


def test_large_numbers_are_not_confused(tmp_path):
    big = 2**53 + labels().astype('uint64')
    value, _ = codes_of(tif(tmp_path/'m.tif', big), remap={2**53: 0, 2**53 + 1: 1, 2**53 + 2: 2})
    assert (value == labels()).all()


# Pixels without a label

UNLABELED = {
    'declared zero, classes from 1': (labels() + 1, 0, 'uint8', dict(nodata=0), dict(remap={1: 0, 2: 1, 3: 2})),
    'declared 255': (labels(), 255, 'uint8', dict(nodata=255), {}),
    '255, not declared': (labels(), 255, 'uint8', {}, {}),
    'declared -1': (labels(), -1, 'int16', dict(nodata=-1), {}),
    '-1 by remap': (labels(), -1, 'int16', {}, dict(remap={-1: 255})),
    'declared -9999 in floats': (labels(), -9999, 'float32', dict(nodata=-9999), {}),
    'the lowest float': (labels(), np.finfo('float32').min, 'float32', dict(nodata=float(np.finfo('float32').min)), {}),
    '-100 as ignore_index': (labels(), -100, 'int16', {}, dict(ignore_index=-100)),
    '-100 by remap': (labels(), -100, 'int32', {}, dict(remap={-100: 255})),
    'declared -100': (labels(), -100, 'int16', dict(nodata=-100), {}),
    'NaN, not declared': (labels(), np.nan, 'float32', {}, {}),
    'NaN, declared': (labels(), np.nan, 'float64', dict(nodata=np.nan), {}),
    'infinity': (labels(), np.inf, 'float32', {}, {}),
    '65535 declared': (labels(), 65535, 'uint16', dict(nodata=65535), {}),
    'classes in tens, 0 declared': (labels()*10 + 10, 0, 'uint8', dict(nodata=0), dict(remap={10: 0, 20: 1, 30: 2})),
    'ignore_index that is a class': (labels(), 0, 'uint8', {}, dict(ignore_index=0)),
}


@pytest.mark.parametrize('values, hole, dtype, options, kwargs', UNLABELED.values(), ids=UNLABELED)
def test_unlabeled(tmp_path, values, hole, dtype, options, kwargs):
    values = values.astype(dtype)
    values[:4] = hole
    value, told = codes_of(tif(tmp_path/'m.tif', values, **options), **kwargs)
    assert (value[:4] == kwargs.get('ignore_index', 255)).all() and (value[4:] == labels()[4:]).all() and not told


def test_remap_goes_before_nodata(tmp_path):
    black = np.where(labels() == 1, 255, 0).astype('uint8')
    for i, options in enumerate((dict(nodata=255), {}, dict(nodata=0))):
        remap = {255: 1, 0: 0} if options.get('nodata') == 0 else {255: 1}
        value, told = codes_of(tif(tmp_path/f'{i}.tif', black, **options), ['n', 'y'], remap=remap)
        assert (value == (labels() == 1)).all() and not told


def test_nan_may_be_a_class(tmp_path):
    values = np.where(labels() == 2, np.nan, labels()).astype('float32')
    value, _ = codes_of(tif(tmp_path/'m.tif', values), remap={float('nan'): 2})
    assert (value == labels()).all()


def test_declared_nodata_that_would_be_a_class_is_told(tmp_path):
    path = tif(tmp_path/'m.tif', labels(), nodata=0)
    value, told = codes_of(path)
    assert (value == np.where(labels() == 0, 255, labels())).all() and 'm.tif' in told and 'remap={0: 0}' in told
    value, told = codes_of(path, remap={0: 0})
    assert (value == labels()).all() and not told


def test_classes_from_1_with_declared_zero_are_refused_without_remap(tmp_path):
    with pytest.raises(MultibandError, match=r'm\.tif.*\[3\].*remap='): codes_of(tif(tmp_path/'m.tif', labels() + 1, nodata=0))


@pytest.mark.parametrize('how', ['mask', 'alpha'])
def test_masks_with_a_mask(tmp_path, how):
    seen = np.full((16, 16), 255, 'uint8')
    seen[:4] = 0
    if how == 'mask':
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True): path = tif(tmp_path/'m.tif', labels(), alter=lambda file: file.write_mask(seen > 0))
    else:
        def alter(file): file.colorinterp = [ColorInterp.gray, ColorInterp.alpha]
        path = tif(tmp_path/'m.tif', np.stack([labels(), seen]), alter=alter)
    value, _ = codes_of(path)
    assert (value[:4] == 255).all() and (value[4:] == labels()[4:]).all()


# Values that are no codes

REFUSED = {
    'a value more': (labels() + 1, {}, r'\[3\]'),
    '-100 not declared': (np.where(labels() == 0, -100, labels().astype('int16')), {}, r'-100.*remap='),
    '-1 with ignore_index -100': (np.where(labels() == 0, -1, labels().astype('int16')), dict(ignore_index=-100), r'-1.*remap='),
    '1 in no remap': (np.where(labels() == 0, 1, labels()*10 + 10).astype('uint8'), dict(remap={10: 0, 20: 1, 30: 2}), r'\[1\].*does not name'),
    '0 in no remap': (labels(), dict(remap={1: 0, 2: 1}), r'\[0\].*does not name'),
    'bilinear halves': (labels()/2, {}, 'nearest'),
    'probabilities': (np.linspace(0, 1, 256).reshape(16, 16), {}, 'argmax'),
    'halves and remap': (labels()/2, dict(remap={0: 0, 1: 1}), 'nearest'),
    'fractions in float32': ((labels() + 1e-3).astype('float32'), {}, 'nearest'),
    'uint64': (labels().astype('uint64') + 2**63, {}, '9223372036854775808'),
    'gray percents': (labels()*100, {}, r'\[100, 200\]'),
    'colors': (colored(labels(), [(255, 0, 0), (0, 255, 0), (0, 0, 255)]), {}, r'\(0, 0, 255\).*colors with a table'),
    'a color that is not in the table': (colored(labels(), [(255, 0, 0), (0, 255, 0), (0, 0, 255)]), dict(remap={(255, 0, 0): 0, (0, 255, 0): 1}), r'\(0, 0, 255\).*does not name'),
    'colors of a mask without any': (labels(), dict(remap={(255, 0, 0): 0}), 'no colors'),
    'two bands': (np.stack([labels(), labels()]), {}, 'one band of codes'),
    'one-hot': (np.stack([labels() == i for i in range(3)]).astype('uint8'), {}, r'\(0, 0, 1\).*one band of codes'),
    'keys that are words': (labels()*10, dict(remap={'0': 0, '10': 1, '20': 2}), r'\[0, 10, 20\].*does not name'),
}


@pytest.mark.parametrize('values, kwargs, match', REFUSED.values(), ids=REFUSED)
def test_refused(tmp_path, values, kwargs, match):
    with pytest.raises(MultibandError, match=rf'm\.tif.*{match}'): codes_of(tif(tmp_path/'m.tif', values), **kwargs)


@pytest.mark.parametrize('codes, kwargs', [(ABC, dict(remap={1: 7})), (ABC, dict(remap={-1: 255}, ignore_index=-100)), ([str(i) for i in range(300)], {})])
def test_codes_that_cannot_be(codes, kwargs):
    with pytest.raises(MultibandError, match='255|7'): OpenMultibandMask(codes, **kwargs)


def test_300_classes(tmp_path):
    values = np.arange(400, dtype='uint16').reshape(20, 20) % 300
    value, _ = codes_of(tif(tmp_path/'m.tif', values), [str(i) for i in range(300)], ignore_index=-100)
    assert (value == values).all()


# Colors

COLORS = [(255, 0, 0), (0, 255, 0), (255, 255, 255)]
TABLE = {color: code for code, color in enumerate(COLORS)}


@pytest.mark.parametrize('kind', ['tif', 'alpha', 'palette', 'array', 'png'])
def test_colors(tmp_path, kind):
    planes = colored(labels(), COLORS)
    seen = np.full((1, 16, 16), 255, 'uint8')
    if kind == 'alpha': seen[:, :4] = 0
    if kind == 'tif': path = tif(tmp_path/'m.tif', planes, photometric='RGB')
    if kind == 'alpha': path = tif(tmp_path/'m.tif', np.concatenate([planes, seen]), photometric='RGB', alpha='YES')
    if kind == 'palette': path = tif(tmp_path/'m.tif', labels() + 5, alter=lambda file: file.write_colormap(1, {5 + i: (*c, 255) for i, c in enumerate(COLORS)}))
    if kind == 'array': path = planes.transpose(1, 2, 0)
    if kind == 'png':
        from PIL import Image
        path = tmp_path/'m.png'
        Image.fromarray(planes.transpose(1, 2, 0)).save(path)
    value, told = codes_of(path, remap=TABLE)
    truth = labels().astype(int)
    if kind == 'alpha': truth[:4] = 255
    assert (value == truth).all() and not told


def test_black_can_have_no_label(tmp_path):
    path = tif(tmp_path/'m.tif', colored(labels(), [(0, 0, 0), *COLORS[1:]]))
    value, _ = codes_of(path, ['b', 'c'], remap={(0, 0, 0): 255, COLORS[1]: 0, COLORS[2]: 1})
    assert (value == np.array([255, 0, 1])[labels()]).all()


def test_colors_in_tables_and_scenes(tmp_path):
    codes = labels(N)
    scene, mask = tif(tmp_path/'s.tif', pixels()), tif(tmp_path/'m.tif', colored(codes, COLORS))
    dls = MultibandDataLoaders.from_scenes(scene, mask, ABC, size=16, remap=TABLE, bs=2, num_workers=0)
    for w, (_, y) in zip(dls.train_ds.items, dls.train_ds): assert (np.asarray(y) == codes[w.row:w.row + 16, w.column:w.column + 16])[w.inside(w.include)].all()
    df = pd.DataFrame(dict(f=[str(tif(tmp_path/f'{i}.tif', pixels(16, seed=i))) for i in range(4)], m=[str(tif(tmp_path/f'm{i}.tif', colored(labels(), COLORS))) for i in range(4)]))
    for store in ('auto', None):
        _, y = MultibandDataLoaders.from_df(df, '/', codes=ABC, remap=TABLE, bs=2, num_workers=0, store=store, device='cpu').one_batch()
        assert (np.asarray(y) == labels()).all()


# Masks of another place

def world(codes, shift=(0, 0), scale=1):
    "The codes of a world of `codes` seen from a grid that begins `shift` (columns, rows) later, with pixels `scale` times as large; 255 outside."
    n = len(codes)
    rows, columns = (np.floor((np.arange(n) + .5)/scale - s).astype(int) for s in shift[::-1])
    inside = ((rows >= 0) & (rows < n))[:, None] & ((columns >= 0) & (columns < n))
    return np.where(inside, codes[np.clip(rows, 0, n - 1)[:, None], np.clip(columns, 0, n - 1)], 255)


PLACES = {
    '5 pixels beside': (dict(transform=UP*Affine.translation(5, 0)), lambda m: world(m, (5, 0))),
    '7 pixels above': (dict(transform=UP*Affine.translation(0, -7)), lambda m: world(m, (0, -7))),
    'pixels twice as large': (dict(transform=UP*Affine.scale(2)), lambda m: world(m, scale=2)),
    'a hair beside': (dict(transform=UP*Affine.translation(.001, 0)), lambda m: m),
    'without CRS, but placed': (dict(crs=None, transform=UP*Affine.translation(5, 0)), lambda m: world(m, (5, 0))),
    'without any place': (dict(crs=None, transform=Affine.identity()), lambda m: m),
}


@pytest.mark.parametrize('dtype', ['uint8', 'int32'])
@pytest.mark.parametrize('place, truth', PLACES.values(), ids=PLACES)
def test_a_mask_of_another_place_is_brought_to_its_scene(tmp_path, place, truth, dtype):
    codes = (np.add.outer(np.arange(N)//5, np.arange(N)//7) % 3).astype(dtype)
    scene, mask = tif(tmp_path/'scene.tif', pixels()), tif(tmp_path/'mask.tif', codes, **place)
    for store in (None, 'auto'):
        dls, told = said(lambda: MultibandDataLoaders.from_scenes(scene, mask, ABC, size=16, bs=2, num_workers=0, store=store))
        seen = np.full((N, N), -1)
        for dataset in (dls.train_ds, dls.valid_ds):
            for w, (_, y) in zip(dataset.items, dataset): seen[w.row:w.row + 16, w.column:w.column + 16] = np.asarray(y)
        truths = truth(codes.astype(int))
        blocks = truths.reshape(3, 16, 3, 16).transpose(0, 2, 1, 3).reshape(9, -1)
        assert (seen[seen >= 0] == truths[seen >= 0]).all() and (seen >= 0).sum() == 256*(blocks != 255).any(1).sum()
        if store is None: assert ('nearest neighbor' in told) == ((truths != codes).any())


def test_south_up(tmp_path):
    codes = labels(N)
    scene = tif(tmp_path/'scene.tif', pixels())
    mask = tif(tmp_path/'mask.tif', codes[::-1], transform=Affine(10, 0, 5e5, 0, 10, 5e6 - 10*N))
    value, told = said(lambda: np.asarray(OpenMultibandMask(ABC)(SceneWindow(scene, 3, 5, 20, 10, mask))))
    assert (value == codes[5:15, 3:23]).all() and 'mask.tif' in told


def test_another_crs(tmp_path):
    codes = np.zeros((N, N), 'uint8')
    codes[:, N//2:] = 1
    (lon0, lon1), (lat0, lat1) = transform('EPSG:32633', 'EPSG:4326', [5e5, 5e5 + 10*N], [5e6, 5e6 - 10*N])[:2]
    step = (lon1 - lon0)/N, (lat1 - lat0)/N
    mask = tif(tmp_path/'mask.tif', codes, crs='EPSG:4326', transform=Affine(step[0], 0, lon0, 0, step[1], lat0))
    scene = tif(tmp_path/'scene.tif', pixels())
    value, told = codes_of(OnGrid(mask, scene), ['a', 'b'])
    assert (value[2:-2, 2:N//2 - 2] == 0).all() and (value[2:-2, N//2 + 2:-2] == 1).all() and 'mask.tif' in told


ELSEWHERE = {
    '200 km away': dict(transform=Affine(10, 0, 7e5, 0, -10, 6e6)),
    'in another CRS and elsewhere': dict(crs='EPSG:4326', transform=Affine(1e-4, 0, 14, 0, -1e-4, 45)),
    'just beside': dict(transform=UP*Affine.translation(N, 0)),
}


@pytest.mark.parametrize('place', ELSEWHERE.values(), ids=ELSEWHERE)
def test_a_mask_of_elsewhere_is_refused(tmp_path, place):
    scene, mask = tif(tmp_path/'scene.tif', pixels()), tif(tmp_path/'mask.tif', labels(N), **place)
    with pytest.raises(RasterError, match='mask.tif.*scene.tif'): MultibandDataLoaders.from_scenes(scene, mask, ABC, size=16)
    df = pd.DataFrame(dict(f=[str(tif(tmp_path/f'{i}.tif', pixels())) for i in range(4)], m=[str(tif(tmp_path/f'm{i}.tif', labels(N), **place)) for i in range(4)]))
    for store in ('auto', None):
        with pytest.raises(RasterError, match='m[0-3].tif'): MultibandDataLoaders.from_df(df, '/', codes=ABC, bs=2, num_workers=0, store=store).one_batch()


def test_another_size_without_a_place_is_refused(tmp_path):
    scene, mask = tif(tmp_path/'scene.tif', pixels()), tif(tmp_path/'mask.tif', labels(N - 8), crs=None, transform=Affine.identity())
    with pytest.raises(RasterError, match='mask.tif'): MultibandDataLoaders.from_scenes(scene, mask, ABC, size=16)
    with pytest.raises(RasterError, match='mask.tif'): scene_blocks(scene, mask, 16)


@pytest.mark.parametrize('store', ['auto', None])
def test_patches_with_masks_beside(tmp_path, store):
    df = pd.DataFrame(dict(f=[f'{i}.tif' for i in range(6)], m=[f'm{i}.tif' for i in range(6)]))
    for i in range(6): tif(tmp_path/f'{i}.tif', pixels(16, seed=i)), tif(tmp_path/f'm{i}.tif', labels(), transform=UP*Affine.translation(4, 2) if i % 2 else UP)
    dls, told = said(lambda: MultibandDataLoaders.from_df(df, tmp_path, codes=ABC, bs=2, num_workers=0, seed=0, store=store))
    for dataset in (dls.train_ds, dls.valid_ds):
        for (_, row), (_, y) in zip(dataset.items.iterrows(), dataset):
            assert (np.asarray(y) == (world(labels(), (4, 2)) if int(row.f[0]) % 2 else labels())).all()
    said(dls.one_batch)


def test_ignore_index_of_tables(tmp_path):
    values = labels().astype('int16')
    values[:4] = -100
    df = pd.DataFrame(dict(f=[str(tif(tmp_path/f'{i}.tif', pixels(16, seed=i))) for i in range(4)], m=[str(tif(tmp_path/f'm{i}.tif', values)) for i in range(4)]))
    dls = MultibandDataLoaders.from_df(df, '/', codes=ABC, ignore_index=-100, bs=2, num_workers=0, device='cpu')
    _, y = dls.one_batch()
    assert isinstance(y, MultibandMask) and (np.asarray(y) == values).all() and dls.loss_func.func.ignore_index == -100


@pytest.mark.parametrize('place', [UP, UP*Affine.translation(4, 2)], ids=['here', 'beside'])
def test_stores_of_masks(tmp_path, place):
    images = [tif(tmp_path/f'{i}.tif', pixels(16, seed=i)) for i in range(4)]
    masks = [tif(tmp_path/f'm{i}.tif', labels(), transform=place) for i in range(4)]
    truth = labels() if place == UP else world(labels(), (4, 2))
    store = said(lambda: PatchStore.pack(images, tmp_path/'store', masks))[0]
    assert store.mask_row(masks[2]) == store.mask_row(OnGrid(masks[2], images[2])) == 2
    df = pd.DataFrame(dict(f=list(map(str, images)), m=list(map(str, masks))))
    _, y = said(lambda: MultibandDataLoaders.from_df(df, '/', codes=ABC, bs=2, num_workers=0, store=store, device='cpu').one_batch())[0]
    assert (np.asarray(y) == truth).all()


def test_a_store_refuses_masks_of_elsewhere(tmp_path):
    with pytest.raises(RasterError, match=r'm\.tif'):
        PatchStore.pack([tif(tmp_path/'p.tif', pixels(16))], tmp_path/'store', [tif(tmp_path/'m.tif', labels(), **ELSEWHERE['200 km away'])])


def test_windows_of_several_files(tmp_path):
    files = [str(tif(tmp_path/f'{i}.tif', plane)) for i, plane in enumerate(pixels())]
    mask = tif(tmp_path/'m.tif', labels(N), transform=UP*Affine.translation(4, 2))
    value, _ = said(lambda: np.asarray(OpenMultibandMask(ABC)(SceneWindow(files, 8, 8, 16, 16, mask))))
    assert (value == world(labels(N), (4, 2))[8:24, 8:24]).all()


# Classes without a pixel

def scene_said(tmp_path, values, codes, **kwargs):
    scene, mask = tif(tmp_path/'scene.tif', pixels()), tif(tmp_path/'mask.tif', values)
    return said(lambda: MultibandDataLoaders.from_scenes(scene, mask, codes, size=16, bs=2, num_workers=0, **kwargs))


UNSEEN = {
    '0 and 255 for two classes': (np.where(labels(N) == 1, 255, 0).astype('uint8'), ['n', 'y'], {}, r"\['y'\].*remap={255: 1}"),
    'a class more than there is': (labels(N), [*ABC, 'd'], {}, r"\['d'\]"),
    'classes counted from 1': (labels(N) % 2 + 1, ABC, {}, r"\['a'\].*remap={1: 0, 2: 1}"),
    'nothing wrong': (labels(N), ABC, {}, None),
    '255 by remap': (np.where(labels(N) == 1, 255, 0).astype('uint8'), ['n', 'y'], dict(remap={255: 1}), None),
}


@pytest.mark.parametrize('values, codes, kwargs, match', UNSEEN.values(), ids=UNSEEN)
def test_a_class_without_a_training_pixel_is_told(tmp_path, values, codes, kwargs, match):
    for store in ('auto', None):
        _, told = scene_said(tmp_path, values, codes, store=store, **kwargs)
        assert pd.Series(told).str.contains(match)[0] if match else not told


@pytest.mark.parametrize('store', ['auto', None])
def test_likewise_in_tables(tmp_path, store):
    values = np.where(labels() == 1, 255, 0).astype('uint8')
    df = pd.DataFrame(dict(f=[str(tif(tmp_path/f'{i}.tif', pixels(16, seed=i))) for i in range(4)], m=[str(tif(tmp_path/f'm{i}.tif', values)) for i in range(4)]))
    _, told = said(lambda: MultibandDataLoaders.from_df(df, '/', codes=['n', 'y'], bs=2, num_workers=0, store=store))
    assert "['y']" in told and 'remap={255: 1}' in told


def test_a_mask_without_a_label_is_refused(tmp_path):
    scene, mask = tif(tmp_path/'s.tif', pixels()), tif(tmp_path/'m.tif', np.full((N, N), 255, 'uint8'))
    with pytest.raises(MultibandError, match=r'm\.tif.*no pixel with a label'): MultibandDataLoaders.from_scenes(scene, mask, ABC, size=16)


def test_255_in_one_mask_of_two_classes_is_told(tmp_path):
    path = tif(tmp_path/'m.tif', np.where(labels() == 1, 255, 0).astype('uint8'))
    value, told = codes_of(path, ['n', 'y'])
    assert (value[labels() == 1] == 255).all() and 'm.tif' in told and 'remap={255: 1}' in told


# Scenes in several files

def test_files_of_a_scene(tmp_path):
    data, codes = pixels(), labels(N)
    files = [tif(tmp_path/f'B0{i + 2}.tif', data[i]) for i in range(3)]
    mask, whole = tif(tmp_path/'mask.tif', codes), tif(tmp_path/'whole.tif', data)
    options = dict(codes=ABC, size=16, bs=4, num_workers=0)
    expected = MultibandDataLoaders.from_scenes(whole, mask, **options)
    for scenes, masks in ((files, mask), (list(map(str, files)), str(mask)), ([files], [mask]), (BandFiles(tuple(files)), mask), (tuple(files), mask)):
        dls = MultibandDataLoaders.from_scenes(scenes, masks, **options)
        assert len(dls.train_ds) == len(expected.train_ds) and isinstance(dls.train_ds.items[0].path, BandFiles)
        for (x, y), (x2, y2) in zip(dls.train_ds, expected.train_ds): assert np.array_equal(x, x2) and np.array_equal(y, y2)


def test_two_scenes_in_several_files(tmp_path):
    files = [[tif(tmp_path/f'{name}_B0{i + 2}.tif', plane) for i, plane in enumerate(pixels(seed=seed))] for seed, name in enumerate('xy')]
    masks = [tif(tmp_path/f'{name}_mask.tif', labels(N)) for name in 'xy']
    dls = MultibandDataLoaders.from_scenes(files, masks, ABC, size=16, bs=4, num_workers=0)
    assert len({w.path for w in dls.train_ds.items}) == 2 and dls.one_batch()[0].shape == (4, 3, 16, 16)


def test_scenes_without_their_masks_are_refused(tmp_path):
    scene, mask = tif(tmp_path/'s.tif', pixels()), tif(tmp_path/'m.tif', labels(N))
    with pytest.raises(MultibandError, match='needs its mask'): MultibandDataLoaders.from_scenes([scene, scene], mask, ABC)
    with pytest.raises(MultibandError, match='needs its mask'): MultibandDataLoaders.from_scenes([scene, scene, scene], [mask, mask], ABC)


def test_files_of_several_bands_with_one_mask_are_told(tmp_path):
    scenes = [tif(tmp_path/f'{i}.tif', pixels(seed=i)) for i in range(2)]
    dls, told = said(lambda: MultibandDataLoaders.from_scenes(scenes, tif(tmp_path/'m.tif', labels(N)), ABC, size=16, bs=2, num_workers=0))
    assert dls.one_batch()[0].shape[1] == 6 and 'one scene of 6 bands' in told


def test_bands_of_a_patch_from_places_apart_are_refused(tmp_path):
    for i in range(4): tif(tmp_path/f'red_{i}.tif', pixels(16, 1)), tif(tmp_path/f'nir_{i}.tif', pixels(16, 1), transform=UP*Affine.translation(40, 0)), tif(tmp_path/f'm_{i}.tif', labels())
    df = pd.DataFrame({column: [f'{column}_{i}.tif' for i in range(4)] for column in ('red', 'nir', 'm')})
    with pytest.raises(RasterError, match='extent'): MultibandDataLoaders.from_df(df, tmp_path, ['red', 'nir'], 'm', codes=ABC, bs=2, num_workers=0).one_batch()
