"Installing on Colab changes no package that is already there."
import re, subprocess, sys
from importlib.util import find_spec
from pathlib import Path

import pytest

HERE, ROOT = Path(__file__).parent, Path(__file__).parents[1]
LISTS = sorted((HERE/'colab').glob('pip-freeze-*.txt'))


def pins(path):
    "{name: version} of a freeze file; a wheel's own address becomes its public version, and drivers' packages are left out."
    found = {}
    for line in path.read_text().splitlines():
        pinned = re.match(r'([A-Za-z0-9_.-]+)==([^\s;]+)', line)
        wheel = re.match(r'([A-Za-z0-9_.-]+) @ https?://\S+/[^/]+?-(\d[^-]*?)(%2B[^-]*)?-[^/]*\.whl', line)
        match = pinned or wheel
        if match and not re.match(r'(nvidia|cuda|triton)', match[1]): found[re.sub(r'[-_.]+', '-', match[1]).lower()] = match[2].split('+')[0]
    return found


def resolve(requirements, constraints, folder):
    (folder/'requirements.txt').write_text('\n'.join(requirements))
    (folder/'constraints.txt').write_text('\n'.join(f'{name}=={version}' for name, version in constraints.items()))
    return subprocess.run([sys.executable, '-m', 'uv', 'pip', 'compile', '--quiet', '--no-header', '--no-annotate', '--python-version', '3.13',
                           '-c', folder/'constraints.txt', folder/'requirements.txt'], capture_output=True, text=True)


def runtime_requirements():
    lines = (ROOT/'settings.ini').read_text().split('\nrequirements =')[1].split('\n# ')[0].splitlines()
    return [l.strip() for l in lines if l.strip() and not l.strip().startswith('#')]


def test_lists_are_read():
    for path in LISTS:
        found = pins(path)
        assert len(found) > 500 and {'torch', 'fastai', 'numpy', 'ipykernel', 'rasterio'} <= set(found)


@pytest.mark.skipif(find_spec('uv') is None, reason='uv resolves, and is not installed')
@pytest.mark.parametrize('path', LISTS, ids=lambda p: p.stem)
def test_nothing_changes_on_colab(path, tmp_path):
    there = pins(path)
    result = resolve(runtime_requirements(), there, tmp_path)
    if 'error sending request' in result.stderr or 'dns error' in result.stderr: pytest.skip('the package index cannot be reached')
    assert result.returncode == 0, result.stderr
    wanted = dict(re.match(r'([^=]+)==(.+)', l).groups() for l in result.stdout.splitlines() if '==' in l)
    assert {'fastai', 'rasterio', 'timm', 'torch'} <= set(wanted)
    changed = {n: (there[n], v) for n, v in wanted.items() if n in there and v.split('+')[0] != there[n]}
    assert not changed


@pytest.mark.skipif(find_spec('uv') is None, reason='uv resolves, and is not installed')
def test_a_requirement_that_would_change_colab_is_noticed(tmp_path):
    there = pins(LISTS[0])
    result = resolve(['fastai>2.8.8'], {'fastai': there['fastai']}, tmp_path)
    assert result.returncode != 0
