"Teaching notebooks and a small fastai library for training models on satellite images."
import warnings
from importlib.metadata import PackageNotFoundError, version

__version__ = "unknown"  # of a checkout that is not installed; settings.ini has the number
try: __version__ = version('sat-recipes')
except PackageNotFoundError: pass

# fastai compiles a helper the old way when it is imported; nobody who reads a notebook can do anything about it.
warnings.filterwarnings('ignore', message='`torch.jit.script` is deprecated', category=FutureWarning)
