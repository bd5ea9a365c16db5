"Hands the identity and requirements of settings.ini to pip: nothing is written down twice. The wheel gets the recipes, too."
import json
import re
import shutil
from configparser import ConfigParser
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

settings = ConfigParser(delimiters=['='], interpolation=None)
settings.read('settings.ini', encoding='utf-8')
own = settings['DEFAULT']
SITE = f"https://{own['user']}.github.io/{own['repo']}"


def listed(key): return [line for line in own[key].splitlines() if line.strip()]


def without_outputs(path):
    "A notebook's text without what it shows, and with links that lead to the site."
    notebook = json.loads(path.read_text(encoding='utf-8'))
    notebook['metadata'].pop('widgets', None)
    for cell in notebook['cells']:
        if cell['cell_type'] == 'code': cell.update(outputs=[], execution_count=None)
        else: cell['source'] = to_site(''.join(cell['source']))
    return json.dumps(notebook, indent=1, ensure_ascii=False)


def to_site(text):
    text = re.sub(r'\]\((\d\d_\w+)\.ipynb', rf']({SITE}/recipes/\1.html', text)
    return re.sub(r'\]\(\.\./api/\d\d_(\w+)\.ipynb', rf']({SITE}/api/\1.html', text)


class WithRecipes(build_py):
    def run(self):
        super().run()
        folder = Path(self.build_lib)/'sat_recipes/recipes'
        shutil.rmtree(folder, ignore_errors=True)
        if self.editable_mode: return
        folder.mkdir(parents=True)
        for path in sorted(Path('nbs/recipes').glob('[0-9]*.ipynb')):
            (folder/path.name).write_text(without_outputs(path), encoding='utf-8')


extras = {key.removesuffix('_requirements'): listed(key) for key in own if key.endswith('_requirements')}
extras['dev'] = [line for lines in extras.values() for line in lines]
setup(version=own['version'], install_requires=listed('requirements'), extras_require=extras,
      cmdclass={'build_py': WithRecipes})
