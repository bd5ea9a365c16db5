"Platforms that this is not, machines that it has not, and variables that are wrong."
import os
import subprocess
import sys

import pytest

from sat_recipes import compute
from sat_recipes.compute import Budget, Machine, budget, machine, memory, output_dir, stopwatch, where_am_i


@pytest.fixture(autouse=True)
def nowhere(monkeypatch, tmp_path):
    for name in [n for platform in compute.PLATFORMS.values() for n in platform.variables] + ['SAT_RECIPES_BUDGET', 'SAT_RECIPES_OUTPUTS']: monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def gpu(monkeypatch, tmp_path, answer, status=0):
    "An nvidia-smi that says `answer`."
    tool = tmp_path/'bin'/'nvidia-smi'
    tool.parent.mkdir()
    tool.write_text(f'#!/bin/sh\nprintf "{answer}"\nexit {status}\n')
    tool.chmod(0o755)
    monkeypatch.setenv('PATH', f'{tool.parent}{os.pathsep}{os.environ["PATH"]}')


@pytest.mark.parametrize('variables, place', [((), 'local'), (['COLAB_RELEASE_TAG'], 'colab'), (['KAGGLE_KERNEL_RUN_TYPE'], 'kaggle'),
                                              (['KAGGLE_KERNEL_RUN_TYPE', 'COLAB_RELEASE_TAG'], 'kaggle'), (['PAPERSPACE_NOTEBOOK_REPO_ID'], 'paperspace'), (['DEEPNOTE_PROJECT_ID'], 'deepnote')])
def test_where(monkeypatch, variables, place):
    for v in variables: monkeypatch.setenv(v, 'x')
    assert where_am_i() == place


def test_machine_without_a_gpu(monkeypatch):
    monkeypatch.setenv('PATH', '')
    here = machine()
    assert here.gpu is None and here.cores >= 1 and 0 < here.memory_free <= here.memory and here.disk_free > 0
    assert 'no GPU' in str(here) and f'{here.cores} cores' in repr(here)


def test_machine_with_gpus(monkeypatch, tmp_path):
    gpu(monkeypatch, tmp_path, 'NVIDIA H100, 80GB HBM3, 81559, 81000\\nNVIDIA H100, 80GB HBM3, 81559, 10\\n')
    here = machine()
    assert here.gpu == 'NVIDIA H100, 80GB HBM3' and round(here.gpu_memory) == 80 and round(here.gpu_memory_free) == 79
    assert 'NVIDIA H100' in str(here)


@pytest.mark.parametrize('answer, status', [('', 0), ('No devices were found\\n', 0), ('NVIDIA-SMI has failed\\n', 9), ('Orin, [N/A], [N/A]\\n', 0)])
def test_driver_without_a_gpu(monkeypatch, tmp_path, answer, status):
    gpu(monkeypatch, tmp_path, answer, status)
    assert machine().gpu is None and budget() == Budget('quick')


def test_container_limits(monkeypatch, tmp_path):
    "4 GB and two and a half cores of a larger machine."
    files = {'/sys/fs/cgroup/memory.max': str(4*2**30), '/sys/fs/cgroup/memory.current': str(3*2**30), '/sys/fs/cgroup/memory.stat': f'anon 1\ninactive_file {2**30}\n',
             '/sys/fs/cgroup/cpu.max': '250000 100000\n', '/proc/meminfo': 'MemTotal: 67108864 kB\nMemAvailable: 33554432 kB\n'}

    class Fake:
        def __init__(self, path): self.path = str(path)
        def __truediv__(self, name): return Fake(f'{self.path}/{name}')
        def __str__(self): return self.path
        def read_text(self):
            if self.path not in files: raise FileNotFoundError(self.path)
            return files[self.path]
    monkeypatch.setattr(compute, 'Path', Fake)
    monkeypatch.setattr(os, 'sysconf', lambda name: {'SC_PAGE_SIZE': 4096, 'SC_PHYS_PAGES': 2**24}[name])
    monkeypatch.setattr(os, 'sched_getaffinity', lambda pid: set(range(8)), raising=False)
    assert memory() == (4, 2) and machine().cores == 2
    files['/sys/fs/cgroup/memory.max'] = files['/sys/fs/cgroup/cpu.max'] = 'max'
    assert memory() == (64, 32) and machine().cores == 8


def test_budget(monkeypatch, tmp_path):
    for name in ('quick', 'full'):
        monkeypatch.setenv('SAT_RECIPES_BUDGET', name)
        assert budget().name == name and budget().pick(1, 2) == (1 if name == 'quick' else 2)
    monkeypatch.setenv('SAT_RECIPES_BUDGET', 'fast')
    with pytest.raises(ValueError, match="'fast': set it to quick or full"): budget()
    monkeypatch.delenv('SAT_RECIPES_BUDGET')
    gpu(monkeypatch, tmp_path, 'Tesla T4, 15360, 15000\\n')
    assert budget().full


def test_output_dir(monkeypatch, tmp_path):
    assert output_dir('a').resolve() == (tmp_path/'outputs/a').resolve() and (tmp_path/'outputs/a').is_dir()
    monkeypatch.setenv('SAT_RECIPES_OUTPUTS', str(tmp_path/'mine'))
    assert output_dir('b') == tmp_path/'mine/b' and output_dir('b').is_dir()


def test_stopwatch_also_when_it_fails():
    with pytest.raises(KeyError), stopwatch() as seconds: raise KeyError
    assert len(seconds) == 1 and seconds[0] >= 0


def test_machine_is_a_plain_value():
    assert Machine('local', 2, 8, 4, 100) == Machine('local', 2, 8, 4, 100)


def test_floor_is_light():
    code = 'import sys, sat_recipes.compute; print([m for m in ("torch", "numpy", "pandas", "psutil") if m in sys.modules])'
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True).stdout.strip() == '[]'
