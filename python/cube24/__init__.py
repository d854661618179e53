"""Reference encoder, bit-exact simulator and golden vectors for Ascend-style 2:4 int8 sparsity.

The packages are imported when they are asked for: a program that wants the encoder need not wait
for the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cube24.lazy import front

if TYPE_CHECKING:
    from cube24 import encoder, graph, simulator, vectors
    from cube24.errors import Cube24Error
    from cube24.version import __version__
else:
    __getattr__, __dir__ = front(
        __name__,
        {
            ".": ("encoder", "graph", "simulator", "vectors"),
            ".errors": ("Cube24Error",),
            ".version": ("__version__",),
        },
    )

__all__ = ["Cube24Error", "__version__", "encoder", "graph", "simulator", "vectors"]
