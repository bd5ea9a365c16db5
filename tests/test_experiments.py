"Arms over seeds against scipy, the picture, and the three states of `check`."
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import ttest_rel

from sat_recipes.experiments import Check, check, paired_difference, run_arms, show_arms, summarize_arms

SCORES = {'a': [.1, .2, .4], 'b': [.2, .3, .3]}


def test_run_arms_pairs_the_seeds():
    calls = []
    def arm(name, plus): return lambda seed: calls.append((seed, name)) or seed + plus
    table = run_arms({'a': arm('a', 0), 'b': arm('b', .5)}, iter([3, 1]))
    assert calls == [(3, 'a'), (3, 'b'), (1, 'a'), (1, 'b')]  # whole seeds first: what is stopped early has pairs
    assert table.index.tolist() == [3, 1] and table.columns.tolist() == ['a', 'b'] and table.index.name == 'seed'
    assert table.to_numpy().tolist() == [[3, 3.5], [1, 1.5]] and (table.dtypes == float).all()
    assert paired_difference(table, 'b', 'a').mean == .5
    assert run_arms({'t': lambda seed: torch.tensor(.25)}, [0]).t.tolist() == [.25]


@pytest.mark.parametrize('arm, seeds, message', [
    (lambda seed: None, [0], "arm 'x' returned nan for seed 0"),
    (lambda seed: float('inf'), [7], "arm 'x' returned inf for seed 7"),
    (lambda seed: [.1, .2], [0], 'must return one number'),
    (lambda seed: .1, [], 'at least one'),
    (lambda seed: .1, [1, 2, 1], 'none twice'),
])
def test_run_arms_refuses(arm, seeds, message):
    with pytest.raises(ValueError, match=message): run_arms({'x': arm}, seeds)


@pytest.mark.parametrize('confidence', [.9, .95])
def test_paired_difference_is_scipys(confidence):
    found = paired_difference(SCORES, 'b', 'a', confidence)
    low, high = ttest_rel(SCORES['b'], SCORES['a']).confidence_interval(confidence)
    assert (found.mean, found.low, found.high) == pytest.approx((.1/3, low, high))
    assert found.n == 3 and found.wins == pytest.approx(2/3) and f'{confidence:.0%} interval' in repr(found)
    back = paired_difference(pd.DataFrame(SCORES), 'a', 'b', confidence)
    assert (back.mean, back.low, back.high) == pytest.approx((-found.mean, -found.high, -found.low))


def test_summarize_arms():
    table = summarize_arms(SCORES)
    assert table.loc['b', 'difference'] == pytest.approx(.1/3) and table.loc['b', 'wins'] == pytest.approx(2/3)
    assert table.loc['a', ['difference', 'low', 'high', 'wins']].tolist() == [0, 0, 0, 0]
    assert table.loc['a', 'std'] == pytest.approx(np.std([.1, .2, .4], ddof=1))
    assert table.loc['a', ['seeds', 'mean', 'min', 'max']].tolist() == pytest.approx([3, .7/3, .1, .4])
    interval = ttest_rel([.2, .3, .3], [.1, .2, .4]).confidence_interval(.95)
    assert table.loc['b', ['low', 'high']].tolist() == pytest.approx(list(interval))
    assert summarize_arms({'a': [.1, .2], 'b': [.3, .3]}, against='b').loc['a', 'difference'] == pytest.approx(-.15)
    assert np.isnan(summarize_arms({'a': [.1], 'b': [.2]}).loc['b', 'low'])


@pytest.mark.parametrize('scores', [{'a': [.1, .2], 'b': [.3]}, {'a': [.1, .2], 'b': [.3, np.nan]}, {}])
def test_an_arm_without_a_seed_is_refused(scores):
    with pytest.raises(ValueError, match='every seed'): summarize_arms(scores)
    with pytest.raises(ValueError, match='every seed'): show_arms(scores)


def test_an_unknown_arm_is_named():
    with pytest.raises(KeyError, match="no arm 'c'"): paired_difference(SCORES, 'c', 'a')
    with pytest.raises(KeyError, match="no arm 'c'"): summarize_arms(SCORES, against='c')


def test_show_arms_shows_every_seed():
    ax = show_arms(SCORES)
    assert len(ax.lines) == 3 and sum(len(c.get_offsets()) for c in ax.collections[:2]) == 6
    labels = [label.get_text() for label in show_arms(SCORES, 'IoU', against='a').get_xticklabels()]
    assert labels[0] == 'a' and labels[1].startswith('b\n+0.033\n(')
    assert show_arms(SCORES, ax=ax) is ax


def ndvi(red, nir): return (nir - red)/(nir + red)
def wrong(red, nir): return (red - nir)/(red + nir)
def idle(red, nir): return None
def failing(red, nir): raise TypeError('no such band')


RIGHT = [(3, 3), (3.0, 3), (.1 + .2, .3), ([1, 2], (1, 2)), (np.float32(.1), .1), (torch.tensor([1., 2.], requires_grad=True), [1, 2]),
         ('b8a ', 'B8A'), (['B02', 'B03'], ('B02', 'B03')), ({'a', 'b'}, {'b', 'a'}), ([np.nan, 1], [np.nan, 1]), (0.1 - .3 + .2, 0), (True, True)]
WRONG = [(4, 3), ('3', 3), ([3], 3), (3, [3, 3]), ([1, 2, 3], [1, 2]), (.3004, .3), ('B8', 'B8A'), ({'a'}, {'a', 'b'}), (1_000_001, 1_000_000),
         (float('nan'), 3), (False, True), (np.array([]), [1, 2])]


@pytest.mark.parametrize('answer, expected', RIGHT)
def test_right_answers(answer, expected):
    found = check(answer, expected, hint='think again')
    assert found and found == Check('right') and repr(found) == 'right'


@pytest.mark.parametrize('answer, expected', WRONG)
def test_wrong_answers(answer, expected):
    found = check(answer, expected, hint='think again')
    assert not found and found.state == 'not yet' and found.hint == 'think again'


@pytest.mark.parametrize('answer', [None, ...])
@pytest.mark.parametrize('expected', [3, None, 'text', [1, 2], lambda answer: True])
def test_no_answer_is_never_right(answer, expected):
    assert check(answer, expected, hint='a spoiler') == Check('not answered')


def test_tolerance():
    assert check(.33, 1/3, tolerance=.01) and not check(.33, 1/3) and not check(.33, 1/3, tolerance=.001)
    assert check([4, 6], [5, 5], tolerance=1) and not check([4, 7], [5, 5], tolerance=1)


@pytest.mark.parametrize('answer, state', [(ndvi, 'right'), (wrong, 'not yet'), (failing, 'not yet'), (idle, 'not answered')])
def test_an_exercise_in_code_by_value(answer, state):
    found = check(lambda: answer(np.array([.1, .2]), np.array([.3, .2])), [.5, 0])
    assert found.state == state and bool(found) == (answer is ndvi)


@pytest.mark.parametrize('answer, hint', [(ndvi, ''), (wrong, 'the sign is the other way round'), (failing, '`TypeError: no such band` mind both bands'),
                                          (idle, "`TypeError: unsupported operand type(s) for -: 'NoneType' and 'float'` mind both bands")])
def test_an_exercise_in_code_by_test(answer, hint):
    def test(f): return 'the sign is the other way round' if abs(f(.1, .3) - -.5) < 1e-6 else abs(f(.1, .3) - .5) < 1e-6
    assert check(answer, test, 'mind both bands') == Check('right' if answer is ndvi else 'not yet', hint)


@pytest.mark.parametrize('verdict, state', [(True, 'right'), (np.True_, 'right'), (False, 'not yet'), (np.False_, 'not yet'), (None, 'not yet'), ('', 'not yet')])
def test_verdicts_of_a_test(verdict, state): assert check(1, lambda answer: verdict).state == state


def test_shown_as_one_line_of_markdown():
    assert check(3, 3)._repr_markdown_().strip() == '**Right.**'
    assert check(4, 3, 'one less')._repr_markdown_() == '**Not yet.** one less'
    assert check(None, 3, 'one less')._repr_markdown_().strip() == '**Not answered.**'
    assert '\n' not in check(lambda: exec('raise ValueError("two\\nlines")'), 3)._repr_markdown_()


def test_imports_nothing_heavy():
    code = 'import sys, sat_recipes.experiments; print(sorted({"torch", "fastai", "pandas", "sklearn", "scipy", "matplotlib"} & set(sys.modules)))'
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout.strip() == '[]'
