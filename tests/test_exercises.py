"""The exercises of the recipes: a right answer passes; a plausible wrong one and no answer do not.

The cell that checks an answer is run by itself, on small stand-ins for what the recipe has computed by then.
"""
import ast
import re
from pathlib import Path

import nbformat
import numpy as np
import pytest

RECIPES = Path(__file__).resolve().parent.parent/'nbs/recipes'
NAMES = {}
exec('from sat_recipes.all import *', NAMES)


def ask(recipe, name, answer, known):
    "What the recipe's cell that checks `name` says to `answer`, where `known` are the names that the recipe has by then."
    path, = RECIPES.glob(f'{recipe}*.ipynb')
    cells = [c.source for c in nbformat.read(path, 4).cells if c.cell_type == 'code']
    source, = [s for s in cells if re.search(rf'\bcheck\(\s*{name}\b', s)]
    *before, last = ast.parse(source).body
    scope = {**NAMES, **known, name: answer}
    exec(compile(ast.Module(before, []), name, 'exec'), scope)
    return eval(compile(ast.Expression(last.value), name, 'eval'), scope)


LABEL = np.array([[1, 1, 0], [0, -1, -1]])

# recipe, answer's name, what the recipe has computed, a right answer, plausible wrong ones
CASES = [
    ('_template', 'your_share', dict(label=LABEL), .5, [2/6, .4]),
    ('_template', 'your_mndwi', {}, lambda g, s: (g - s)/np.maximum(g + s, 1e-9),
     [lambda g, s: (g - s)/(g + s), lambda g, s: (s - g)/np.maximum(g + s, 1e-9)]),
]


@pytest.mark.filterwarnings('ignore:invalid value')
@pytest.mark.parametrize('recipe, name, known, right, wrong', CASES, ids=[f'{c[0]}-{c[1]}' for c in CASES])
def test_only_the_right_answer_passes(recipe, name, known, right, wrong):
    assert ask(recipe, name, right, known).state == 'right'
    for answer in wrong:
        verdict = ask(recipe, name, answer, known)
        assert verdict.state == 'not yet' and verdict.hint, f'{answer!r}: {verdict}'
    assert ask(recipe, name, None, known).state == 'not answered'
