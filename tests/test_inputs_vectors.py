"Labels as people bring them: formats, encodings, CRS told or not, features without a geometry or a class, polygons elsewhere."
import importlib.util
import json
import os
import shutil
import warnings
import zipfile
from pathlib import Path

import geopandas
import numpy as np
import pandas as pd
import pyogrio
import pytest
import rasterio
from affine import Affine
from pyproj import Transformer
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.features import rasterize
from shapely import LineString, MultiPoint, Point, Polygon, box
from shapely.affinity import translate

from sat_recipes.raster import OnGrid, Raster, RasterError, SceneWindow, raster_info, rasterize_polygons, read_polygons

UTM, NORTH_UP = 'EPSG:32633', Affine(10, 0, 500_000, 0, -10, 5_000_000)
GRID = Raster(np.zeros((1, 64, 64), 'uint16'), CRS.from_epsg(32633), NORTH_UP)
A, B = box(500_100, 4_999_700, 500_300, 4_999_900), box(500_400, 4_999_400, 500_500, 4_999_600)  # 20 x 20 and 10 x 20 pixels
DATA = Path(os.environ.get('SAT_RECIPES_DATA', 'nowhere'))
pytestmark = pytest.mark.filterwarnings('ignore::rasterio.errors.NotGeoreferencedWarning')


def table(places=(A, B), classes=('a', 'b'), crs=UTM, attribute='class'):
    return geopandas.GeoDataFrame({attribute: list(classes)}, geometry=list(places), crs=crs)


def drawn(source, like=GRID, **kwargs):
    "(mask, classes, what was warned of)"
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter('always')
        mask, classes = rasterize_polygons(source, like, **kwargs)
    told = [w for w in told if not issubclass(w.category, (DeprecationWarning, PendingDeprecationWarning))]
    assert all(w.category is UserWarning for w in told), [str(w.message) for w in told]
    return mask, classes, ' '.join(str(w.message) for w in told)


def refused(source, *words, like=GRID, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        with pytest.raises(RasterError) as error: rasterize_polygons(source, like, **kwargs)
    text = str(error.value)
    assert '\n' not in text and len(text) < 500 and all(word in text for word in words), text


def counts(mask): return {int(code): int(n) for code, n in zip(*np.unique(mask, return_counts=True)) if code != 255}


def feature(geometry, **properties):
    return dict(type='Feature', properties=properties or None, geometry=geometry and geometry.__geo_interface__)


def geojson(path, features, **members):
    path.write_text(json.dumps(dict(type='FeatureCollection', features=features, **members)))
    return path


def to_degrees(place): return geopandas.GeoSeries([place], crs=UTM).to_crs('EPSG:4326')[0]


OLD = dict(crs=dict(type='name', properties=dict(name='urn:ogc:def:crs:EPSG::32633')))


def parquet(path): table().to_parquet(path)


def zipped(path, folder='', extra=()):
    table().to_file(path.with_suffix('.shp'))
    with zipfile.ZipFile(path, 'w') as target:
        for part in path.parent.glob(f'{path.stem}.*'):
            if part != path: target.write(part, folder + part.name)
        for name in extra: target.writestr(name, 'x')


@pytest.mark.parametrize('name, write', [
    ('a.gpkg', None), ('a.shp', None), ('a.fgb', None), ('a.geojson', None), ('A.GPKG', None), ('a.gml', lambda p: table().to_file(p, driver='GML')),
    ('wgs.gpkg', lambda p: table().to_crs(4326).to_file(p)), ('web.fgb', lambda p: table().to_crs(3857).to_file(p)),
    ('flat.zip', zipped), ('folder.zip', lambda p: zipped(p, 'deep/er/')), ('mac.zip', lambda p: zipped(p, extra=['__MACOSX/._mac.shp'])),
    ('lines.geojsonl', lambda p: table().to_crs(4326).to_file(p, driver='GeoJSONSeq')),
    pytest.param('a.parquet', parquet, marks=pytest.mark.skipif(not importlib.util.find_spec('pyarrow'), reason='needs pyarrow'))])
def test_formats(tmp_path, name, write):
    (write or table().to_file)(tmp_path/name)
    mask, classes, told = drawn(tmp_path/name)
    assert counts(mask) == {0: 400, 1: 200} and classes == ['a', 'b'] and mask.dtype == np.uint8 and not told
    assert (drawn(str(tmp_path/name))[0] == mask).all()


@pytest.mark.skipif(bool(importlib.util.find_spec('pyarrow')), reason='pyarrow is installed')
def test_parquet_without_pyarrow(tmp_path):
    (tmp_path/'a.parquet').write_bytes(b'PAR1')
    refused(tmp_path/'a.parquet', 'a.parquet', 'pip install pyarrow')


def test_geodataframe_stays_what_it_is():
    frame = table().set_index(pd.Index([7, 7])).rename_geometry('shape')
    before = frame.copy(deep=True)
    assert counts(drawn(frame)[0]) == {0: 400, 1: 200}
    assert frame.equals(before) and frame.attrs == before.attrs


def test_layers(tmp_path):
    table().to_file(tmp_path/'a.gpkg', layer='fields')
    pyogrio.write_dataframe(pd.DataFrame({'x': [1]}), tmp_path/'a.gpkg', layer='words')
    assert counts(drawn(tmp_path/'a.gpkg')[0]) == {0: 400, 1: 200}  # a table without geometry is no layer of polygons
    table([A], ['c']).to_file(tmp_path/'a.gpkg', layer='roads')
    refused(tmp_path/'a.gpkg', 'a.gpkg', "['fields', 'roads']", 'layer=')
    refused(tmp_path/'a.gpkg', "['fields', 'roads']", layer='road')
    assert drawn(tmp_path/'a.gpkg', layer='roads')[1] == ['c']


@pytest.mark.parametrize('stored, said, warned', [
    ('UTF-8', 'UTF-8', ''), ('ISO-8859-1', 'ISO-8859-1', ''), ('ISO-8859-1', '88591', ''), ('ISO-8859-1', 'ISO 88591', ''), ('CP1252', '1252', ''), ('CP1252', 'ANSI 1252', ''),
    ('ISO-8859-1', None, ''), ('ISO-8859-1', 'klingon', ''), ('UTF-8', None, 'read as UTF-8'), ('UTF-8', 'ISO-8859-1', 'read as UTF-8'),
    ('UTF-8', 'klingon', 'read as UTF-8'), ('UTF-8', '', 'read as UTF-8'), ('ISO-8859-1', 'UTF-8', 'read as Latin-1')])
def test_encodings(tmp_path, stored, said, warned):
    words = ['Gewässer', 'Wälder']
    pyogrio.write_dataframe(table(classes=words, attribute='Größe'), tmp_path/'a.shp', encoding=stored)
    (tmp_path/'a.cpg').unlink(missing_ok=True)
    if said is not None: (tmp_path/'a.cpg').write_text(said)
    mask, classes, told = drawn(tmp_path/'a.shp', attribute='Größe')
    assert classes == words and warned in told and bool(told) == bool(warned)


@pytest.mark.parametrize('encoding, words', [('GBK', ['森林', '水']), ('CP932', ['森林', '水']), ('CP1251', ['вода', 'лес']), ('CP949', ['물', '숲'])])
def test_other_scripts(tmp_path, encoding, words):
    pyogrio.write_dataframe(table(classes=words), tmp_path/'a.shp', encoding=encoding)
    (tmp_path/'a.cpg').write_text(encoding.removeprefix('CP'))
    assert sorted(drawn(tmp_path/'a.shp')[1]) == sorted(words)
    (tmp_path/'a.cpg').unlink()
    assert sorted(drawn(tmp_path/'a.shp', encoding=encoding)[1]) == sorted(words)


def test_latin_geojson(tmp_path):
    path = tmp_path/'a.geojson'
    path.write_bytes(json.dumps(dict(type='FeatureCollection', features=[feature(A, **{'class': 'Wälder'})], **OLD), ensure_ascii=False).encode('latin-1'))
    _, classes, told = drawn(path)
    assert classes == ['Wälder'] and 'Latin-1' in told


@pytest.mark.skipif(not (DATA/'s2_scene_beaufort').exists(), reason='needs the real shapefile')
def test_real_shapefile():
    folder = DATA/'s2_scene_beaufort'
    mask, classes, _ = drawn(folder/'rcr_landcover.shp', folder/'S2B_L1C_20181013_west_8band.tif', attribute='Classname')
    assert 'Sand' in classes and (mask != 255).any()
    refused(folder/'rcr_landcover.shp', "'Classname'", 'attribute=', like=folder/'S2B_L1C_20181013_west_8band.tif')


@pytest.mark.parametrize('members, place, warned', [
    ({}, to_degrees(A), ''), (OLD, A, ''), (dict(crs=dict(type='EPSG', properties=dict(code=32633))), A, ''),
    (dict(crs=dict(type='name', properties=dict(name='urn:ogc:def:crs:OGC:1.3:CRS84'))), to_degrees(A), ''),
    (dict(crs=dict(type='name', properties=dict(name='EPSG:4326'))), to_degrees(A), ''),
    (dict(crs=None), A, 'CRS'), (dict(crs=None), to_degrees(A), 'longitudes')])
def test_crs_of_geojson(tmp_path, members, place, warned):
    mask, _, told = drawn(geojson(tmp_path/'a.geojson', [feature(place, **{'class': 'a'})], **members))
    assert counts(mask) == {0: 400} and warned in told and bool(told) == bool(warned)
    assert (mask[10:30, 10:30] == 0).all()


@pytest.mark.parametrize('crs', [dict(type='name', properties=dict(name='EPSG:999999')), dict(type='link', properties=dict(href='http://127.0.0.1:9')), 'words', dict(type='name', properties=None)])
def test_unknown_crs(tmp_path, crs):
    path = geojson(tmp_path/'a.geojson', [feature(A, **{'class': 'a'})], crs=crs)
    refused(path, 'a.geojson', 'CRS', 'crs=')
    assert counts(drawn(path, crs=UTM)[0]) == {0: 400}


def test_wrong_crs_given(tmp_path): refused(table(), 'CRS', crs='EPSG:nonsense')


def test_meters_in_geojson_without_crs(tmp_path):
    path = geojson(tmp_path/'a.geojson', [feature(A, **{'class': 'a'})])
    refused(path, 'a.geojson', "crs='EPSG:32633'")
    assert counts(drawn(path, crs=UTM)[0]) == {0: 400}


def test_shapefile_without_prj(tmp_path):
    table().to_file(tmp_path/'a.shp')
    (tmp_path/'a.prj').unlink()
    mask, _, told = drawn(tmp_path/'a.shp')
    assert counts(mask) == {0: 400, 1: 200} and 'tells no CRS' in told
    assert not drawn(tmp_path/'a.shp', crs=UTM)[2]


@pytest.mark.parametrize('lost', ['.shx', '.dbf'])
def test_incomplete_shapefile(tmp_path, lost):
    table().to_file(tmp_path/'a.shp')
    (tmp_path/'a').with_suffix(lost).unlink()
    refused(tmp_path/'a.shp', 'a.shp')


def test_raster_without_crs(tmp_path):
    mask, _, told = drawn(table(), Raster(GRID.data, None, NORTH_UP))
    assert counts(mask) == {0: 400, 1: 200} and 'taken as they are' in told
    refused(table(), 'no polygon', like=Raster(GRID.data))
    mask, _, told = drawn(table([box(2, 3, 5, 8)], ['a'], None), Raster(GRID.data))  # neither tells: pixels
    assert counts(mask) == {0: 15} and (mask[3:8, 2:5] == 0).all() and not told


@pytest.mark.parametrize('odd', [None, Polygon(), Polygon([(0, 0), (np.nan, 1), (1, 1)])])
def test_without_geometry(tmp_path, odd):
    mask, classes, told = drawn(table([A, odd, B], ['a', None, 'b']))
    assert counts(mask) == {0: 400, 1: 200} and '1 of 3 features without a geometry' in told
    refused(table([odd], ['a']), 'no features with a geometry')


@pytest.mark.parametrize('geometry', [None, dict(type='Polygon', coordinates=[]), dict(type='Circle', coordinates=[1, 2]), dict(type='Polygon', coordinates=[[[1, 1], [2, 1], [2, 2], [1, 2]]]), dict(type='GeometryCollection', geometries=[])])
def test_odd_geometries_of_geojson(tmp_path, geometry):
    odd = dict(type='Feature', properties={'class': 'b'}, geometry=geometry)
    mask, classes, told = drawn(geojson(tmp_path/'a.geojson', [feature(A, **{'class': 'a'}), odd], **OLD))
    assert counts(mask) == {0: 400} and classes == ['a'] and '1 of 2 features without a geometry' in told


@pytest.mark.parametrize('properties', [{}, {'class': None}, {'class': ' '}, {'other': 1}])
def test_without_class(tmp_path, properties):
    features = [feature(A, **{'class': 'a'}), feature(B, **properties)]
    refused(geojson(tmp_path/'a.geojson', features, **OLD), 'a.geojson', "1 of 2 features without a 'class'")


@pytest.mark.parametrize('value', [['a'], {'a': 1}])
def test_lists_for_classes(tmp_path, value): refused(geojson(tmp_path/'a.geojson', [feature(A, **{'class': value})], **OLD), 'lists')


def test_missing_attribute(): refused(table(attribute='landuse'), "'class'", "['landuse']", 'attribute=')


def test_byte_order_mark(tmp_path):
    path = geojson(tmp_path/'a.geojson', [feature(A, **{'class': 'a'})], **OLD)
    path.write_bytes(b'\xef\xbb\xbf' + path.read_bytes())
    assert counts(drawn(path)[0]) == {0: 400}


@pytest.mark.parametrize('name, content', [('a.geojson', b''), ('a.geojson', b'words'), ('a.geojson', b'[1, 2]'), ('a.geojson', b'{"features": []}'), ('a.geojson', b'{"type": "FeatureCollection", "features": []}'),
                                           ('a.geojson', b'{"type": "FeatureCollection", "fea'), ('a.gpkg', b'SQLite format 3\0'), ('a.shp', b'\0'*40), ('a.zip', b'PK\x03\x04'), ('a.fgb', b'fgb'), ('a.txt', b'words')])
def test_no_polygons_in_it(tmp_path, name, content):
    (tmp_path/name).write_bytes(content)
    refused(tmp_path/name, name)


def test_no_such_file(tmp_path):
    refused(tmp_path/'a.gpkg', 'a.gpkg')
    refused(tmp_path, tmp_path.name)
    refused(pd.DataFrame({'class': ['a']}))
    refused(geopandas.GeoDataFrame({'class': ['a']}), 'GeoDataFrame')


def test_elsewhere():
    far = translate(A, 50_000)
    refused(table([far], ['a']), 'GeoDataFrame', 'no polygon', '32633')
    refused(table([to_degrees(far)], ['a'], 4326), 'no polygon')
    mask, classes, told = drawn(table([A, far], ['a', 'b']))
    assert counts(mask) == {0: 400} and classes == ['a', 'b'] and '1 of 2 features outside' in told


@pytest.mark.parametrize('crs', [4326, 32633, 3857])
def test_swapped_axes(tmp_path, crs):
    frame = table().to_crs(crs)
    refused(frame.set_geometry(frame.geometry.transform(lambda xy: xy[:, ::-1])), 'swap')


def test_large_polygons():
    "Borders that are straight in degrees, and a polygon that no projection holds whole."
    world = box(-180, -90, 180, 90)
    assert counts(drawn(table([world], ['a'], 4326))[0]) == {0: 64*64}
    wide = Raster(np.zeros((1, 100, 400)), CRS.from_epsg(32633), Affine(1000, 0, 300_000, 0, -1000, 6_700_000))
    south = box(0, 50, 30, 60)  # its northern border is not straight in UTM
    mask = drawn(table([south], ['a'], 4326), wide)[0]
    rows, columns = np.mgrid[:100, :400] + .5
    _, latitude = Transformer.from_crs(32633, 4326, always_xy=True).transform(300_000 + 1000*columns, 6_700_000 - 1000*rows)
    assert ((mask == 0) != (latitude < 60)).mean() < .001 and .1 < (mask == 0).mean() < .9


@pytest.mark.parametrize('number, dtype, fill', [(255, 'uint8', 255), (256, 'uint16', 65535), (300, 'uint16', 65535)])
def test_many_classes(number, dtype, fill):
    cells = [box(500_000 + 10*(i % 64), 4_999_990 - 10*(i//64), 500_010 + 10*(i % 64), 5_000_000 - 10*(i//64)) for i in range(number)]
    mask, classes, _ = drawn(table(cells, [f'{i:03}' for i in range(number)]))
    assert mask.dtype == dtype and mask[-1, -1] == fill and (mask.ravel()[:number] == np.arange(number)).all()
    if number == 300: refused(table(cells, [f'{i:03}' for i in range(number)]), 'fill=255', fill=255)


@pytest.mark.parametrize('fill, dtype', [(7, 'uint8'), (-1, 'int16'), (-100, 'int16'), (1000, 'uint16')])
def test_fill(fill, dtype):
    mask = drawn(table(), fill=fill)[0]
    assert mask.dtype == dtype and mask[0, 0] == fill and (mask == 0).sum() == 400
    refused(table(), 'fill=1', "'b'", fill=1)


@pytest.mark.parametrize('values, classes', [([2., 10.], [2, 10]), ([10, 2], [2, 10]), ([True, False], [False, True]), ([1.5, 2], [1.5, 2.]), (pd.array([1, 2], 'Int64'), [1, 2]), (pd.Categorical(['b', 'a']), ['a', 'b'])])
def test_kinds_of_classes(values, classes):
    mask, found, _ = drawn(table(classes=values))
    assert found == classes and list(map(type, found)) == list(map(type, classes))
    assert mask[20, 20] == classes.index(values[0])


def test_classes_given(tmp_path):
    assert counts(drawn(table(), classes=np.array(['b', 'x', 'a']))[0]) == {2: 400, 0: 200}
    refused(table(), "['b']", 'classes=', classes=['a'])
    refused(table(classes=[1, 2]), '[1, 2]', classes=['1', '2'])
    path = geojson(tmp_path/'a.geojson', [feature(A, **{'class': 'a'}), feature(B, **{'class': 'b'})], classes={'c': '', 'b': '', 'a': ''}, **OLD)
    assert drawn(path)[1] == drawn(read_polygons(path))[1] == ['b', 'a']  # the file tells their order


LINE, POINT, SLIVER = LineString([(500_100, 4_999_000 + 655), (500_200, 4_999_655)]), Point(500_105, 4_999_895), box(500_101, 4_999_401, 500_104, 4_999_599)


@pytest.mark.parametrize('thin, touched', [(LINE, 10), (POINT, 1), (MultiPoint([(500_105, 4_999_495), (500_205, 4_999_495)]), 2), (SLIVER, 20)])
def test_without_area(thin, touched):
    refused(table([thin], ['a']), 'all_touched=True')
    mask, _, told = drawn(table([B, thin], ['b', 'a']))
    assert counts(mask) == {1: 200} and '1 of 2 features' in told and 'all_touched=True' in told
    mask, _, told = drawn(table([thin], ['a']), all_touched=True)
    assert counts(mask) == {0: touched} and not told


def test_only_touching(): refused(table([box(499_900, 4_999_000, 500_000, 5_000_000)], ['a']), 'no')


def test_collections_and_heights(tmp_path):
    both = geopandas.GeoSeries([A, B]).union_all()
    nested = dict(type='GeometryCollection', geometries=[A.__geo_interface__, dict(type='GeometryCollection', geometries=[B.__geo_interface__, POINT.__geo_interface__])])
    path = geojson(tmp_path/'a.geojson', [dict(type='Feature', properties={'class': 'a'}, geometry=nested)], **OLD)
    for source in (path, table([both], ['a'])): assert counts(drawn(source)[0]) == {0: 600}
    high = geojson(tmp_path/'b.geojson', [feature(Polygon([(*xy, 40.) for xy in to_degrees(A).exterior.coords]), **{'class': 'a'})])
    assert counts(drawn(high)[0]) == {0: 400} and not read_polygons(high).has_z.any()


def test_borders_that_cross():
    bowtie = Polygon([(500_100, 4_999_700), (500_300, 4_999_900), (500_300, 4_999_700), (500_100, 4_999_900)])
    mask, _, told = drawn(table([bowtie], ['a']))
    assert 150 < (mask == 0).sum() < 250 and mask[20, 11] == mask[20, 28] == 0 and mask[11, 20] == 255 and 'cross themselves' in told


def test_overlap():
    mask, _, told = drawn(table([A, A.buffer(-50)], ['a', 'b']))
    assert (mask == 1).sum() == 100 and (mask == 0).sum() == 300 and not told
    mask, _, told = drawn(table([A.buffer(-50), A], ['a', 'b']))
    assert counts(mask) == {1: 400} and 'later ones cover' in told


@pytest.mark.parametrize('transform', [Affine(10, 0, 500_000, 0, 10, 4_999_360), Affine.translation(500_200, 4_999_700)*Affine.rotation(30)*Affine.scale(10, -10), Affine.translation(500_640, 5_000_000)*Affine.scale(-10, -10)])
def test_grids(transform):
    like = Raster(GRID.data, GRID.crs, transform)
    for frame in (table(), table().to_crs(4326)):
        mask = drawn(frame, like)[0]
        assert (mask == rasterize([(A, 0), (B, 1)], (64, 64), fill=255, transform=transform, dtype='uint8')).all() and (mask == 0).any()


def written(path, **profile):
    profile = dict(driver='GTiff', count=1, height=64, width=64, dtype='uint16', crs=UTM, transform=NORTH_UP) | profile
    with rasterio.open(path, 'w', **profile) as target: target.write(GRID.data)
    return path


def test_ground_control_points(tmp_path):
    points = [GroundControlPoint(row, column, 500_000 + 10*column, 5_000_000 - 10*row) for row in (0, 64) for column in (0, 64)]
    path = written(tmp_path/'a.tif', crs=None, transform=None)
    with rasterio.open(path, 'r+') as target: target.gcps = points, CRS.from_epsg(32633)
    for frame in (table(), table().to_crs(4326)):
        mask, _, told = drawn(frame, path)
        assert counts(mask) == {0: 400, 1: 200} and (mask[10:30, 10:30] == 0).all() and not told
    mask = drawn(table(), SceneWindow(path, 8, 4, 30, 40))[0]
    assert mask.shape == (40, 30) and (mask[6:26, 2:22] == 0).all() and (mask == 0).sum() == 400


def test_sources_of_the_grid(tmp_path):
    path = written(tmp_path/'a_B02.tif')
    shutil.copy(path, tmp_path/'a_B03.tif')
    for like in (path, str(path), raster_info(path), [path, tmp_path/'a_B03.tif'], OnGrid(path, path)):
        assert counts(drawn(table(), like)[0]) == {0: 400, 1: 200}
    assert counts(drawn(table(), SceneWindow(path, 10, 10, 20, 20))[0]) == {0: 400}
    refused(table(), 'a_B09.tif', like=tmp_path/'a_B09.tif')
