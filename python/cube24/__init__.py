"""Reference encoder, bit-exact simulator and golden vectors for Ascend-style 2:4 int8 sparsity."""

from importlib.metadata import version

from cube24 import encoder, simulator, vectors
from cube24.errors import Cube24Error

__version__ = version("cube24")

__all__ = ["Cube24Error", "__version__", "encoder", "simulator", "vectors"]
