"Teaching notebooks and a small fastai library for training models on satellite images."
from importlib.metadata import PackageNotFoundError, version

try: __version__ = version('sat-recipes')
except PackageNotFoundError: __version__ = 'unknown'
