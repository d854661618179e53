"""Which code path the C core takes: the best for this machine, or one chosen by name.

The choice travels in the flags of each call; the C core keeps none.
"""

from __future__ import annotations

import os

from cube24._core.binding import ffi, lib
from cube24.errors import ArgumentError

_VARIABLE = "CUBE24_PATH"
_chosen: str | None = None


def paths() -> tuple[str, ...]:
    """Names of the code paths that this machine can run, the reference ``scalar`` first."""
    return tuple(
        ffi.string(lib.cube24_path_name(path)).decode()
        for path in range(lib.cube24_path_count())
        if lib.cube24_path_supported(path)
    )


def use_path(name: str | None) -> None:
    """Choose a code path by name for all later calls; None: the best for this machine.

    Every path gives the same bytes, so this is for tests and benchmarks. The environment variable
    ``CUBE24_PATH`` does the same from outside.

    Raises:
        ArgumentError: this machine has no such path.
    """
    global _chosen
    if name is not None:
        _path_number(name, "use_path")
    _chosen = name


def _path_number(name: str, source: str) -> int:
    for path in range(lib.cube24_path_count()):
        known = ffi.string(lib.cube24_path_name(path)).decode() == name
        if known and lib.cube24_path_supported(path):
            return path
    raise ArgumentError(
        f"{source}: this machine has no code path {name!r}; it has {', '.join(paths())}"
    )


def path_flags() -> int:
    """The path bits of the flags of a call: the chosen path, or 0 for the best."""
    name = _chosen or os.environ.get(_VARIABLE)
    return 0 if not name else _path_number(name, _VARIABLE) + 1
