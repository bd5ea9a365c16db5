"""What every benchmark needs: timing side by side, a row of results, the machine it ran on, a table and a csv file."""
import csv
import datetime
import gc
import importlib.metadata
import os
import platform
import re
import statistics
import time
from dataclasses import asdict, dataclass
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
    finally:
        gc.enable()


def side_by_side(ours, peer, repeats=3, warm=True):
    "Two lists of seconds. Every round calls both once, so that they share a busy moment of the machine; a first round does not count."
    if warm: ours(), peer()
    rounds = [(seconds(ours), seconds(peer)) for _ in range(repeats)]
    return [list(times) for times in zip(*rounds)]


def fastest(settings, tries=1):
    "(name, function, 'name 1.23 s, ...') of the quickest of several ways to use a peer."
    tried = {name: min(seconds(function) for _ in range(tries)) for name, function in settings.items()}
    name = min(tried, key=tried.get)
    return name, settings[name], ', '.join(f'{n} {s:.3g} s' for n, s in tried.items())


# --- A row of results ----------------------------------------------------------------------------

@dataclass
class Row:
    "One comparison; `met` is yes or no."
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
    target: str
    met: str
    tried: str = ''
    repeats: int = 1
    device: str = 'cpu'


def compare(
    name, size, ours, peer,  # what was done, on how much, by us, by the peer
    our_numbers, peer_numbers,  # of each round
    at_least=None,  # as many times as fast as the peer
    at_most=None,  # as much as the peer takes
    absolute=False,  # the target is for our number itself, whatever the peer's
    unit='s', **kwargs,
):
    "A `Row`: the best of ours beside the best of the peer's."
    best, other = min(our_numbers), min(peer_numbers)
    ratio = other/best if at_least is not None and not absolute else best/other
    value, mark = best if absolute else ratio, f' {unit}'.rstrip() if absolute else ''
    target, met = (f'>= {at_least:g}{mark}', value >= at_least) if at_least is not None else (f'<= {at_most:g}{mark}', value <= at_most)
    return Row(name, size, ours, peer, best, statistics.median(our_numbers), other, statistics.median(peer_numbers), unit, ratio,
               target, 'yes' if met else 'no', repeats=len(our_numbers), **kwargs)


# --- The machine ---------------------------------------------------------------------------------

def version(package):
    try: return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError: return 'not installed'


def this_machine():
    "Dict of what a reader must know to judge the numbers."
    import torch
    from sat_recipes.compute import machine
    here, info = machine(), Path('/proc/cpuinfo')
    model = re.search(r'model name\s*:\s*(.+)', info.read_text()) if info.exists() else None
    return dict(cpu=model[1] if model else platform.processor() or platform.machine(), cores=here.cores, threads=torch.get_num_threads(),
                memory_gb=round(here.memory), gpu=torch.cuda.get_device_name() if torch.cuda.is_available() else '',
                python=platform.python_version(), versions=' '.join(f'{p}={version(p)}' for p in PACKAGES), date=datetime.date.today().isoformat())


# --- Table and csv -------------------------------------------------------------------------------

HEAD = f'{"what":40} {"on":5} {"ours":>9} {"peer":>9}    {"ratio":>7} {"target":>10}          peer'


def table_line(row):
    met = {'yes': 'met', 'no': 'NOT MET'}[row.met]
    return f'{row.name:40} {row.device:5} {row.ours_best:9.4g} {row.peer_best:9.4g} {row.unit:2} {row.ratio:7.2f} {row.target:>10} {met:7}  {row.peer} ({row.size})'


def write_csv(path, rows, machine):
    "Write the rows, each with the machine; the file appears when it is whole."
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix('.part')
    short = lambda value: f'{value:.6g}' if isinstance(value, float) else value
    with open(temporary, 'w', newline='', encoding='utf-8') as file:
        table = csv.DictWriter(file, [*Row.__dataclass_fields__, *machine], lineterminator='\n')
        table.writeheader()
        table.writerows({k: short(v) for k, v in {**asdict(row), **machine}.items()} for row in rows)
    os.replace(temporary, path)
