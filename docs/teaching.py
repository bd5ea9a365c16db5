"""What teachers get beside the recipes: the chapter point by point, a sheet of questions for each chapter, and copies without prose."""
import csv
import re

import nbformat

from conf import html_baseurl
from notebooks import DIRECTIVE, ROOT

CHAPTER = ROOT/'tests/chapter.csv'
HEADING = re.compile(r'^(#{1,3} .+)$', re.MULTILINE)


def part(nb, title):
    "The text of a notebook below the heading `title`, up to the next heading of its level."
    text = '\n\n'.join(c.source for c in nb.cells if c.cell_type == 'markdown')
    found = re.search(rf'^## {title}\n(.*?)(?=^## |\Z)', text, re.MULTILINE | re.DOTALL)
    return found[1].strip() if found else ''


def sheet(chapter, recipes):
    "A page to print: of each recipe its promise, its objectives and its questions, the answers below all of them."
    parts, answers = [f'# {chapter}: questions', '> To print: what each recipe of this chapter teaches, and its questions. The answers stand at the end.'], []
    for page in recipes:
        head = page.nb.cells[0].source
        objectives = re.search(r'^\| *\*\*Objectives\*\* *\| *(.+?) *\|$', head, re.MULTILINE)
        asked, _, folded = part(page.nb, 'Questions').partition('<details>')
        title = f'{page.number} {page.title}'
        goals = re.sub(r' +(?=\d+[.] )', '\n', objectives[1]) if objectives else ''
        parts += [f'## {title}', page.promise, '**You will**', goals, '**Questions**', asked.strip(),
                  f'[The notebook without prose, to run a class with]({html_baseurl}clean/{page.path.name})']
        answers += [f'### {title}', re.sub(r'</?details>|<summary>.*?</summary>', '', folded).strip()]
    text = '\n\n'.join([*parts, '## Answers', *answers])
    return re.sub(r'\]\((?=\d\d_\w+[.]ipynb)', '](../recipes/', text)


def chapter_page(names):
    "chapter.md: each point of the chapter, the recipe that covers it and what was found different; `names` are pages by number."
    with open(CHAPTER, newline='', encoding='utf-8') as file: points = list(csv.DictReader(file))
    parts = ['# The chapter, point by point',
             '> These recipes grew from the chapter "Training models" of '
             '[satellite-image-deep-learning](https://github.com/satellite-image-deep-learning/techniques). '
             'Each of its points stands here with the recipes that try it, its links, and what they found different.',
             'A link says whether it answered, and when that was last tried; `python tests/links.py` tries them all again.']
    for section in dict.fromkeys(p['section'] for p in points):
        rows = [chapter_row(p, names) for p in points if p['section'] == section]
        parts += [f'## {section}', '\n'.join(['| Point | Try | What we found |', '|---|---|---|', *rows])]
    return '\n\n'.join(parts)


def chapter_row(point, names):
    recipes = ', '.join(f'[{i}](recipes/{names[i]}.ipynb)' for i in point['recipes'].split() if i in names)
    links = ', '.join(f'[{re.sub(r"^www[.]", "", url.split("/")[2])}]({url})' for url in point['links'].split())
    answered = f'; {point["answered"] or "not tried yet"}'
    more = f' ({links}{answered})' if links else ''
    return f"| {point['bullet'].replace('|', '/')}{more} | {recipes} | {point['found']} |"


def write_clean(recipes, folder):
    "Copies of the recipes with their headings and code alone, to run a class with."
    folder.mkdir(parents=True, exist_ok=True)
    for page in recipes:
        nb, cells = nbformat.read(page.path, 4), []
        for cell in nb.cells:
            if cell.cell_type == 'code':
                cell.source, cell.outputs, cell.execution_count = DIRECTIVE.sub('', cell.source).strip('\n'), [], None
            else:
                cell.source = '\n\n'.join(HEADING.findall(re.sub(r'```.*?```', '', cell.source, flags=re.DOTALL)))
            if cell.source: cells.append(cell)
        nb.cells = cells
        nb.metadata.pop('widgets', None)
        nbformat.write(nb, folder/page.path.name)
