"""The page 'Speed': a picture of the targets, and a table from each file in benchmarks/results/."""
import csv
from pathlib import Path

TITLES = {'training': 'Training and loading', 'scenes': 'Maps of whole scenes', 'augmentation': 'Augmentation',
          'scores': 'Scores and start-up', 'eurosat': 'Accuracy'}
INTRO = '''# Speed

> What a user waits for, ours and other tools side by side in one run on one machine; what is not reached is shown too.

`make bench` sets up an environment for the other tools, makes the data, times all of it in turns and writes the files this page is made from;
a machine with a GPU adds rows of its own. Each tool is used as its documentation says, at the fastest of the settings that were tried.
Times are the best of several rounds, in which ours and the other take turns. Where a target says ≥, the ratio is how many times as fast
as the other tool we are; where it says ≤, how much more we take. A target with a unit is for our own number.'''
NONE_YET = 'No results are stored yet: `make bench` makes them.'


def read(path):
    with open(path, newline='', encoding='utf-8') as file: return list(csv.DictReader(file))


def results(folder):
    "Dict of (theme, 'on a GPU' or nothing) -> rows, in the order of the themes."
    found = {(theme, gpu): Path(folder)/f'{theme}{"-gpu" if gpu else ""}.csv' for theme in TITLES for gpu in ('', ', on a GPU')}
    return {key: read(path) for key, path in found.items() if path.exists()}


def reached(row):
    "How far a row goes beyond its target: 1 just meets it, 2 is twice as good, .5 half."
    sign, amount, *unit = row['target'].split()
    value = float(row['ours_best' if unit else 'ratio'])
    return value/float(amount) if sign == '>=' else float(amount)/value


def picture(rows, path):
    "A bar for each row from its target to what was reached, on a logarithmic scale; returns the alternative text."
    import matplotlib
    matplotlib.use('agg')
    from matplotlib import pyplot as plt
    figure, ax = plt.subplots(figsize=(8, .3*len(rows) + 1.1), layout='constrained')
    values, names = [reached(r) for r in rows], [r['name'] + (', GPU' if r['device'] == 'cuda' else '') for r in rows]
    ax.barh(range(len(rows)), [v - 1 for v in values], .6, left=1, color=['#0072b2' if v >= 1 else '#d55e00' for v in values])
    ax.axvline(1, color='black', linewidth=1)
    ax.set_xscale('log')
    ax.set(xlabel='times the target: blue bars to the right meet it, orange bars to the left do not', yticks=range(len(rows)), yticklabels=names)
    ax.xaxis.set_major_formatter(lambda value, _: f'{value:g}')
    ax.xaxis.set_minor_formatter(lambda value, _: '')
    ax.tick_params(axis='y', labelsize=8, length=0)
    ax.invert_yaxis()
    ax.spines[['top', 'right', 'left']].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    plt.close(figure)
    return 'How far each row goes beyond its target: ' + '; '.join(f'{n} {v:.2g} times' for n, v in zip(names, values))


def number(text): return f'{float(text):.3g}' if abs(float(text)) < 1000 else f'{float(text):,.0f}'


def table(rows):
    lines = ['{.speed}', '| what | ours | beside | ratio | target |', '|---|---|---|--:|---|']
    for row in rows:
        met = {'yes': 'met', 'no': '**not met**'}[row['met']]
        ours, peer = (f'{number(row[f"{who}_best"])} {row["unit"]}<br>{row[who]}' for who in ('ours', 'peer'))
        line = [f'**{row["name"]}**<br>{row["size"]}', ours, peer, number(row['ratio']), f'{row["target"]}<br>{met}']
        lines.append('| ' + ' | '.join(cell.replace('|', '/').replace('>=', '≥').replace('<=', '≤') for cell in line) + ' |')
    row = rows[0]
    machine = (f'{row["cpu"]}, {row["cores"]} cores, {row["memory_gb"]} GB of memory, {row["gpu"] or "no GPU"}; '
               f'Python {row["python"]}, {row["versions"].replace(" ", ", ")}; {row["date"]}.')
    return '\n'.join(lines) + f'\n\n{machine}'


def speed_page(
    folder, # of the csv files
    static, # folder of the site's own files, where the picture goes
):
    "The page as markdown; it stands without results too."
    found = results(folder)
    if not found: return f'{INTRO}\n\n{NONE_YET}'
    alt = picture([row for rows in found.values() for row in rows], Path(static)/'speed.png')
    return '\n\n'.join([INTRO, f'![{alt}](_static/speed.png)', *(f'## {TITLES[theme]}{gpu}\n\n{table(rows)}' for (theme, gpu), rows in found.items())])
