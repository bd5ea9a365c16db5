"Hands the identity and requirements of settings.ini to pip: nothing is written down twice."
from configparser import ConfigParser
from setuptools import setup

settings = ConfigParser(delimiters=['='], interpolation=None)
settings.read('settings.ini', encoding='utf-8')
own = settings['DEFAULT']


def listed(key): return [line for line in own[key].splitlines() if line.strip()]


setup(version=own['version'], install_requires=listed('requirements'), extras_require={'dev': listed('dev_requirements')})
