"""Reference encoder, bit-exact simulator and golden vectors for Ascend-style 2:4 int8 sparsity.

The packages are imported when they are asked for: a program that wants the encoder need not wait
for the rest.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cube24.errors import Cube24Error
from cube24.version import __version__

if TYPE_CHECKING:
    from cube24 import encoder, graph, simulator, vectors

__all__ = ["Cube24Error", "__version__", "encoder", "graph", "simulator", "vectors"]


def __getattr__(name: str) -> Any:
    """Import a package when it is asked for."""
    if name in __all__:
        return import_module(f"cube24.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
