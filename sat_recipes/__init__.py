"Teaching notebooks and a small fastai library for training models on satellite images."
import warnings
from importlib.metadata import PackageNotFoundError, version


def _installed():
    try: return version('sat-recipes')
    except PackageNotFoundError: return 'unknown'


__version__ = _installed()

# fastai compiles a helper the old way when it is imported; nobody who reads a notebook can do anything about it.
warnings.filterwarnings('ignore', message='`torch.jit.script` is deprecated', category=FutureWarning)
