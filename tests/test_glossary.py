"""Recipe 90: every term stands in the recipe that it links, every abbreviation of a recipe is explained, and gaps are found."""
import json
import re
from collections import Counter

import pytest
from conftest import RECIPES, taken
from sat_recipes.all import recipes


@pytest.fixture(scope='module')
def page():
    "What the recipe makes of the recipes: its functions, its terms and the names that it leaves out."
    read = taken('90', 'prose_of', 'has', 'abbreviations', json=json, re=re, Counter=Counter)
    path, = RECIPES.glob('90*.ipynb')
    cells = json.loads(path.read_text(encoding='utf-8'))['cells']
    source, = [''.join(c['source']) for c in cells if ''.join(c['source']).startswith('names = set(')]
    exec(source, read)
    terms = re.findall(r'- \*\*(.+?)\*\* \(\[(\d\d)\]\((\w+\.ipynb)\)\): (.+)\.', '\n'.join(''.join(c['source']) for c in cells))
    texts = {number: read['prose_of'](recipe) for number, recipe in recipes().items()}
    known = dict(read, texts=texts, glossary={term: number for term, number, *_ in terms}, terms=terms)
    return known | {name: taken('90', name, **known)[name] for name in ('gaps', 'holds')}


def test_every_term_links_to_a_recipe_that_uses_it(page):
    for term, number, file, meaning in page['terms']:
        assert file.startswith(number) and (RECIPES/file).exists() and meaning
        assert page['has'](term, page['texts'][number]), f'recipe {number} does not use {term}'


def test_every_abbreviation_of_the_recipes_is_in_the_glossary(page):
    _, unexplained = page['gaps'](page['glossary'])
    used = {word: [number for number, text in page['texts'].items() if re.search(rf'\b{word}', text)] for word in sorted(unexplained)}
    assert not used, f'explain them in recipe 90, or add them to its names: {used}'


def test_terms_are_named_once_and_none_is_left_out_as_a_name_too(page):
    words = [term for term, *_ in page['terms']]
    assert len(words) == len(set(words)) > 50
    assert not set(words) & page['names']


def test_gaps_are_found(page):
    glossary = page['glossary']
    without = {term: number for term, number in glossary.items() if term != 'IoU'}
    assert 'IoU' in page['gaps'](without)[1] and not page['holds'](page['gaps'](without))
    assert 'NMS' in page['gaps'](glossary | {'NMS': '10'})[0]


def test_code_and_addresses_are_no_prose(page, tmp_path):
    text = 'See [SAR](https://example.org/LIDAR.html), `QGIS` and URLs.\n```python\nDEM = 1\n```'
    (tmp_path/'a.ipynb').write_text(json.dumps({'cells': [{'cell_type': 'markdown', 'source': [text]}, {'cell_type': 'code', 'source': ['UTM']}]}))
    recipe = type('Recipe', (), {'path': tmp_path/'a.ipynb'})
    assert page['abbreviations'](page['prose_of'](recipe)) == {'SAR': 1, 'URL': 1}
