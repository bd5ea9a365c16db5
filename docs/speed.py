"""The page 'Speed': a picture and a table from each file in benchmarks/results/."""
import csv
from pathlib import Path

TITLES = {'loaders': 'From files to batches', 'scenes': 'Maps of whole scenes', 'augmentation': 'Augmentation', 'scores': 'Scores and start-up'}
SECONDS = {'s': 1, 'ms': 1e-3}
INTRO = '''# Speed

{.promise}
Ours and its peers, side by side in one run on one machine; what is not reached is shown too.

`make bench` sets up an environment for the peers, makes the data, times all of it in turns and writes the files this page is made from;
`make bench FULL=1` adds more and more patches and larger and larger scenes, and a machine with a GPU adds the rows that need one.
Each peer is used as its documentation says, at the fastest of the settings that were tried. Times are the best of several rounds,
in which ours and the peer take turns. Where a target says ≥, the ratio is how many times as fast as the peer we are; where it says ≤, how much more we take.
A target in seconds is for our time, whatever the ratio.'''
NONE_YET = 'No results are stored yet: `make bench` makes them.'


def results(folder):
    "Dict of file stem -> rows, the themes in their order, what grows and what needs a GPU after the rest."
    order = list(TITLES)
    place = lambda path: (order.index(t) if (t := path.stem.split('-')[0]) in order else len(order), path.stem)
    return {path.stem: rows for path in sorted(Path(folder).glob('*.csv'), key=place) if (rows := read(path))}


def read(path):
    with open(path, newline='', encoding='utf-8') as file: return list(csv.DictReader(file))


def title(stem):
    theme, *more = stem.split('-')
    extra = [{'growth': 'growing', 'gpu': 'on a GPU'}.get(word, word) for word in more]
    return ', '.join([TITLES.get(theme, theme.capitalize()), *extra])


# --- Table ---------------------------------------------------------------------------------------

def number(text): return f'{float(text):.3g}' if abs(float(text)) < 1000 else f'{float(text):,.0f}'


def cell(text): return str(text).replace('|', '/').replace('>=', '≥').replace('<=', '≤')


def table_row(row):
    met = {'yes': 'met', 'no': '**not met**'}.get(row['met'], '')
    side = lambda who: f'{number(row[f"{who}_best"])} {row["unit"]}<br>{row[who]}'
    return '| ' + ' | '.join(map(cell, [f'**{row["name"]}**<br>{row["size"]}', side('ours'), side('peer'), number(row['ratio']), f'{row["target"]}<br>{met}'])) + ' |'


def table(rows):
    head = '{.speed}\n| what | ours | peer | ratio | target |\n|---|---|---|--:|---|'
    return '\n'.join([head, *map(table_row, rows)])


def machine(row):
    "What it ran on, in one line."
    gpu = f', {row["gpu"]}' if row['gpu'] else ', no GPU'
    return f'{row["cpu"]}, {row["cores"]} cores, {row["memory_gb"]} GB of memory{gpu}; Python {row["python"]}, {row["versions"].replace(" ", ", ")}; {row["date"]}.'


# --- Picture -------------------------------------------------------------------------------------

def wanted(row):
    "Seconds that the target asks for, or None."
    if not row['target']: return None
    sign, amount, *unit = row['target'].split()
    if unit: return float(amount)
    peer = float(row['peer_best'])*SECONDS[row['unit']]
    return peer/float(amount) if sign == '>=' else peer*float(amount)


def picture(rows, path):
    "Bars of seconds on a logarithmic scale, ours above the peer, a mark where the target lies; returns the alternative text, or None where no row is of time."
    rows = [r for r in rows if r['unit'] in SECONDS]
    if not rows: return None
    import matplotlib
    matplotlib.use('agg')
    from matplotlib import pyplot as plt
    figure, ax = plt.subplots(figsize=(8, .6*len(rows) + 1.1), layout='constrained')
    for side, shift, color, label in (('ours', -.19, '#0072b2', 'ours'), ('peer', .19, '#b8b8b8', 'peer')):
        times = [float(r[f'{side}_best'])*SECONDS[r['unit']] for r in rows]
        ax.barh([i + shift for i in range(len(rows))], times, .38, color=color, label=label)
    marks = [(i, w) for i, r in enumerate(rows) if (w := wanted(r))]
    if marks: ax.plot([w for _, w in marks], [i - .19 for i, _ in marks], '|', color='#d55e00', markersize=13, markeredgewidth=3, label='target: ours ends left of it')
    ax.set_xscale('log')
    ax.xaxis.set_major_formatter(lambda value, _: f'{value:g}')
    ax.xaxis.set_minor_formatter(lambda value, _: '')
    ax.set(xlim=(ax.get_xlim()[0]/3, None), xlabel='seconds', yticks=range(len(rows)), yticklabels=[f'{r["name"]}\n{r["size"]}' for r in rows])
    ax.tick_params(axis='y', labelsize=8, length=0)
    ax.invert_yaxis()
    ax.spines[['top', 'right', 'left']].set_visible(False)
    figure.legend(loc='outside upper center', ncols=3, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    plt.close(figure)
    return 'Bars of seconds: ' + '; '.join(f'{r["name"]}, ours {number(r["ours_best"])} {r["unit"]}, peer {number(r["peer_best"])} {r["unit"]}' for r in rows)


# --- Page ----------------------------------------------------------------------------------------

def section(stem, rows, static):
    alt = picture(rows, static/f'speed/{stem}.png')
    shown = [f'![{cell(alt)}](_static/speed/{stem}.png)'] if alt else []
    return '\n\n'.join([f'## {title(stem)}', *shown, table(rows), machine(rows[0])])


def speed_page(
    folder, # of the csv files
    static, # folder of the site's own files, where the pictures go
):
    "The page as markdown; it stands without results too."
    found = results(folder)
    return '\n\n'.join([INTRO, *(section(stem, rows, Path(static)) for stem, rows in found.items())] if found else [INTRO, NONE_YET])
