"""What every benchmark needs: timing side by side, a row of results, the machine it ran on, a table and a csv file."""
import csv
import datetime
import gc
import importlib.metadata
import os
import platform
import statistics
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path

PACKAGES = 'torch fastai rasterio numpy torchgeo kornia albumentations torchmetrics pycocotools faster-coco-eval sat-recipes'.split()


# --- Timing --------------------------------------------------------------------------------------

def seconds(function):
    "Seconds that one call takes. As in `timeit` no garbage is collected meanwhile: which call that would hit is chance."
    gc.disable()
    try:
        start = time.perf_counter()
        function()
        return time.perf_counter() - start
    finally: gc.enable()


def side_by_side(functions, repeats=3, warm=True):
    "Dict of name -> seconds of each round. Every round calls each function once, so that a busy moment of the machine is shared; a first round does not count."
    if warm:
        for function in functions.values(): function()
    rounds = [{name: seconds(function) for name, function in functions.items()} for _ in range(repeats)]
    return {name: [r[name] for r in rounds] for name in functions}


def fastest(settings, tries=1):
    "(name, function, 'name 1.23 s, ...') of the quickest of several ways to use a peer."
    if len(settings) == 1: return *next(iter(settings.items())), ''
    tried = {name: min(seconds(function) for _ in range(tries)) for name, function in settings.items()}
    name = min(tried, key=tried.get)
    return name, settings[name], ', '.join(f'{n} {s:.3g} s' for n, s in tried.items())


# --- A row of results ----------------------------------------------------------------------------

@dataclass
class Row:
    "One comparison. `target` is what `ratio` should reach, as text; `met` is empty where there is no target."
    name: str
    size: str
    ours: str
    peer: str
    ours_best: float
    ours_median: float
    peer_best: float
    peer_median: float
    unit: str
    ratio: float
    target: str = ''
    met: str = ''
    tried: str = ''
    repeats: int = 1
    device: str = 'cpu'


def verdict(value, at_least=None, at_most=None, unit=''):
    "(target as text, 'yes', 'no' or '')."
    if at_least is not None: return f'>= {at_least:g}{unit}', 'yes' if value >= at_least else 'no'
    if at_most is not None: return f'<= {at_most:g}{unit}', 'yes' if value <= at_most else 'no'
    return '', ''


def faster(name, size, ours, peer, our_times, peer_times, at_least=None, **kwargs):
    "A `Row` whose ratio says how many times as fast as the peer we are: best of ours beside best of the peer's."
    target, met = verdict(min(peer_times)/min(our_times), at_least=at_least)
    return compare(name, size, ours, peer, our_times, peer_times, min(peer_times)/min(our_times), target, met, **kwargs)


def costs(name, size, ours, peer, our_numbers, peer_numbers, at_most=None, **kwargs):
    "A `Row` whose ratio says how much more we take than the peer."
    target, met = verdict(min(our_numbers)/min(peer_numbers), at_most=at_most)
    return compare(name, size, ours, peer, our_numbers, peer_numbers, min(our_numbers)/min(peer_numbers), target, met, **kwargs)


def compare(name, size, ours, peer, our_numbers, peer_numbers, ratio, target, met, unit='s', **kwargs):
    best_median = lambda numbers: (min(numbers), statistics.median(numbers))
    return Row(name, size, ours, peer, *best_median(our_numbers), *best_median(peer_numbers), unit, ratio, target, met, repeats=len(our_numbers), **kwargs)


# --- The machine ---------------------------------------------------------------------------------

def processor():
    "The processor's own name."
    try: lines = Path('/proc/cpuinfo').read_text().splitlines()
    except OSError: return platform.processor() or platform.machine()
    return next((line.split(':', 1)[1].strip() for line in lines if line.startswith('model name')), platform.machine())


def version(package):
    try: return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError: return 'not installed'


def gpu():
    import torch
    return torch.cuda.get_device_name() if torch.cuda.is_available() else ''


def this_machine():
    "Dict of what a reader must know to judge the numbers."
    import torch
    from sat_recipes.compute import machine
    here = machine()
    return dict(cpu=processor(), cores=here.cores, threads=torch.get_num_threads(), memory_gb=round(here.memory), gpu=gpu(), python=platform.python_version(),
                versions=' '.join(f'{p}={version(p)}' for p in PACKAGES), date=datetime.date.today().isoformat())


# --- Table and csv -------------------------------------------------------------------------------

def short(number): return f'{number:.4g}'


def table_line(row):
    met = {'yes': 'met', 'no': 'NOT MET', '': ''}[row.met]
    return (f'{row.name:44} {row.size:24} {row.device:5} {short(row.ours_best):>9} {short(row.peer_best):>9} {row.unit:2} '
            f'{row.ratio:9.2f} {row.target:>10} {met:7}  {row.peer}')


def table_head():
    return f'{"what":44} {"size":24} {"on":5} {"ours":>9} {"peer":>9}    {"ratio":>9} {"target":>10} {"":7}  peer'


def write_csv(path, rows, machine):
    "Write the rows, each with the machine; the file appears when it is whole."
    names = [*(f.name for f in fields(Row)), *machine]
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix('.part')
    with open(temporary, 'w', newline='', encoding='utf-8') as file:
        table = csv.DictWriter(file, names, lineterminator='\n')
        table.writeheader()
        for row in rows: table.writerow({k: _plain(v) for k, v in {**asdict(row), **machine}.items()})
    os.replace(temporary, path)
    return path


def _plain(value): return f'{value:.6g}' if isinstance(value, float) else value


def read_csv(path):
    "List of dicts, a row each."
    with open(path, newline='', encoding='utf-8') as file: return list(csv.DictReader(file))
