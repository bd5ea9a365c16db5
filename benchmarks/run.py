"""`make bench`: the table of targets, ours and the peers side by side in one run. Prints it and writes results/*.csv.

    python benchmarks/run.py                        every theme
    python benchmarks/run.py --only scenes scores   some themes
"""
import argparse
import importlib
import os
import warnings
from pathlib import Path

import data
import harness

THEMES = 'training', 'scenes', 'augmentation', 'scores', 'eurosat'
RESULTS = Path(__file__).resolve().parent/'results'


def be_quiet():
    "Progress bars and warnings would tear the table; Albumentations would ask the network on import."
    os.environ['TQDM_DISABLE'] = os.environ['NO_ALBUMENTATIONS_UPDATE'] = '1'
    warnings.filterwarnings('ignore')
    import fastprogress.fastprogress
    fastprogress.fastprogress.NO_BAR = True
    fastprogress.fastprogress.ConsoleProgressBar.fill = ''  # which it prints all the same


def run_theme(name, rows, folder, machine):
    "Print rows as they come, then write them, if there are any; returns them."
    done = []
    for row in rows:
        done.append(row)
        print(harness.table_line(row), flush=True)
    if done: harness.write_csv(folder/f'{name}{"-gpu" if machine["gpu"] else ""}.csv', done, machine)
    return done


def arguments(given=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--only', nargs='+', choices=THEMES, default=THEMES, metavar='THEME', help=', '.join(THEMES))
    parser.add_argument('--out', type=Path, default=RESULTS, help='folder of the csv files')
    return parser.parse_args(given)


def main(given=None):
    args, done = arguments(given), []
    be_quiet()
    os.environ['SAT_RECIPES_CACHE'] = str(data.FOLDER/'cache')  # leave the user's own alone
    machine = harness.this_machine()
    print(f'{machine["cpu"]}, {machine["cores"]} cores, {machine["memory_gb"]} GB, GPU: {machine["gpu"] or "none"}\n{machine["versions"]}\n\n{harness.HEAD}')
    for name in args.only: done += run_theme(name, importlib.import_module(name).rows(), args.out, machine)
    missed = [row.name for row in done if row.met == 'no']
    print(f'\n{len(done) - len(missed)} targets met, {len(missed)} not{": " + "; ".join(missed) if missed else ""}. In {args.out}')


if __name__ == '__main__': main()
