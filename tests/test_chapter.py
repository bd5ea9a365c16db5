"Every point of the chapter that the collection follows has a recipe, and every recipe has its claim."
import csv
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SEED = ROOT.parent/'shared/seed/training-models.md'
POINTS = list(csv.DictReader(open(ROOT/'tests/chapter.csv', newline='', encoding='utf-8')))
RECIPES = {p.name.split('_')[0]: p for p in sorted((ROOT/'nbs/recipes').glob('[0-9]*.ipynb'))}


def cells(path, kind):
    return [''.join(c['source']) for c in json.loads(path.read_text(encoding='utf-8'))['cells'] if c['cell_type'] == kind]


def plain(text):
    "A line of the chapter as the table has it: no links, no marks."
    text = re.sub(r'\[([^\]]+)\]\([^)]+\)', r'\1', text)
    return re.sub(r'\s+', ' ', re.sub(r'[`*]|https?://\S+', '', text)).strip()


@pytest.mark.parametrize('point', POINTS, ids=lambda p: p['bullet'][:40])
def test_each_point_has_a_recipe_and_a_finding(point):
    assert point['recipes'].split() and point['found']
    missing = [number for number in point['recipes'].split() if number not in RECIPES]
    assert not missing, f'no recipe {", ".join(missing)}'


@pytest.mark.parametrize('path', RECIPES.values(), ids=RECIPES)
def test_each_recipe_asserts_a_claim(path):
    assert any(re.search(r'^\s*assert ', source, re.MULTILINE) for source in cells(path, 'code'))
    assert re.search(r'^## .*[Cc]laim|\*\*.*[Cc]laim', '\n'.join(cells(path, 'markdown')), re.MULTILINE)


def test_the_table_holds_each_point_and_link_of_the_chapter():
    if not SEED.exists(): pytest.skip('the chapter is not here')
    text = SEED.read_text(encoding='utf-8')
    points = [plain(line.removeprefix('* ')) for line in text.splitlines() if line.startswith('* ')]
    table = [p['bullet'] for p in POINTS]
    assert [p for p in points if not any(p.startswith(short.removesuffix(' …')) for short in table)] == []
    links = {url.rstrip(')') for url in re.findall(r'https?://[^\s)]+\)?', text)}
    assert links <= {url for p in POINTS for url in p['links'].split()}


def test_a_recipe_names_the_article_that_the_chapter_links():
    "Of the recipes that a point leads to, one links its article."
    texts = {number: path.read_text(encoding='utf-8') for number, path in RECIPES.items()}
    articles = [p for p in POINTS if p['links'] and p['section'] == 'ML best practice']
    linked = [p for p in articles if any(url in texts[n] for n in p['recipes'].split() if n in texts for url in p['links'].split())]
    assert len(linked) >= len(articles)/2
