"""Reference encoder, bit-exact simulator and golden vectors for Ascend-style 2:4 int8 sparsity."""

from cube24 import encoder, simulator, vectors
from cube24.errors import Cube24Error
from cube24.version import __version__

__all__ = ["Cube24Error", "__version__", "encoder", "simulator", "vectors"]
