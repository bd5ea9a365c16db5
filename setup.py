"Hands the identity and requirements of settings.ini to pip: nothing is written down twice."
from configparser import ConfigParser
from setuptools import setup

settings = ConfigParser(delimiters=['='], interpolation=None)
settings.read('settings.ini', encoding='utf-8')
own = settings['DEFAULT']


def listed(key): return [line for line in own[key].splitlines() if line.strip()]


extras = {key.removesuffix('_requirements'): listed(key) for key in own if key.endswith('_requirements')}
extras['dev'] = [line for lines in extras.values() for line in lines]
setup(version=own['version'], install_requires=listed('requirements'), extras_require=extras)
