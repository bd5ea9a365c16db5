"""`make bench`: ours and the peers side by side. Prints a table of ratios and writes results/*.csv.

    python benchmarks/run.py                        every theme, about ten minutes on two cores
    python benchmarks/run.py --only scenes scores   some themes
    python benchmarks/run.py --full                 more and more patches, larger and larger scenes as well
"""
import argparse
import importlib
import os
import warnings
from pathlib import Path

import data
import harness

THEMES = 'loaders', 'scenes', 'augmentation', 'scores'
RESULTS = Path(__file__).resolve().parent/'results'


def be_quiet():
    "Progress bars and warnings would tear the table; Albumentations would ask the network on import."
    os.environ['TQDM_DISABLE'] = os.environ['NO_ALBUMENTATIONS_UPDATE'] = '1'
    warnings.filterwarnings('ignore')
    import fastprogress.fastprogress
    fastprogress.fastprogress.NO_BAR = True
    fastprogress.fastprogress.ConsoleProgressBar.fill = ''  # which it prints all the same


def run_theme(name, rows, folder, machine):
    "Print rows as they come, then write them; returns them."
    done = []
    for row in rows:
        done.append(row)
        print(harness.table_line(row), flush=True)
    harness.write_csv(folder/f'{name}{"-gpu" if machine["gpu"] else ""}.csv', done, machine)
    return done


def arguments(given=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--only', nargs='+', choices=THEMES, default=THEMES, metavar='THEME', help=', '.join(THEMES))
    parser.add_argument('--full', action='store_true', help='growth: to 50,000 patches and scenes of 11,000 pixels a side')
    parser.add_argument('--out', type=Path, default=RESULTS, help='folder of the csv files')
    return parser.parse_args(given)


def main(given=None):
    args, done = arguments(given), []
    be_quiet()
    os.environ['SAT_RECIPES_CACHE'] = str(data.FOLDER/'cache')  # leave the user's own alone
    machine = harness.this_machine()
    print(f'{machine["cpu"]}, {machine["cores"]} cores, {machine["memory_gb"]} GB, GPU: {machine["gpu"] or "none"}\n{machine["versions"]}\n\n{harness.table_head()}')
    for name in args.only:
        theme = importlib.import_module(name)
        done += run_theme(name, theme.rows(), args.out, machine)
        if args.full and hasattr(theme, 'growth'): done += run_theme(f'{name}-growth', theme.growth(), args.out, machine)
    missed = [row.name for row in done if row.met == 'no']
    print(f'\n{sum(row.met == "yes" for row in done)} targets met, {len(missed)} not{": " + "; ".join(missed) if missed else ""}. In {args.out}')


if __name__ == '__main__': main()
