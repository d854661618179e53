"""Which code path the C core takes: the best for this machine, or one chosen by name.

The choice travels in the flags of each call; the C core keeps none.
"""

from __future__ import annotations

import os

from cube24._core.binding import ffi, lib
from cube24.errors import ArgumentError

_VARIABLE = "CUBE24_PATH"

#: The path bits of the flags of all calls, and why; None until the first call.
_choice: tuple[int, str] | None = None


def paths() -> tuple[str, ...]:
    """Names of the code paths that this machine can run, the reference ``scalar`` first."""
    return tuple(
        _name(path) for path in range(lib.cube24_path_count()) if lib.cube24_path_supported(path)
    )


def use_path(name: str | None) -> None:
    """Choose a code path by name for all later calls; None: the best for this machine.

    Every path gives the same bytes, so this is for tests and benchmarks. The environment variable
    ``CUBE24_PATH`` does the same from outside; it is read once, by the first call.

    Raises:
        ArgumentError: this machine has no such path.
    """
    global _choice
    _choice = None if name is None else (_flags_of(name, "use_path"), "chosen by use_path")


def path_flags() -> int:
    """The path bits of the flags of a call: the chosen path, or 0 for the best."""
    return (_choice or _choose())[0]


def chosen_path() -> tuple[str, str]:
    """The code path of all calls, and why it is that one.

    Raises:
        ArgumentError: ``CUBE24_PATH`` names a path that this machine does not have.
    """
    flags, why = _choice or _choose()
    return (_name(flags - 1) if flags else paths()[-1]), why


def _choose() -> tuple[int, str]:
    """What the environment says; looked up once."""
    global _choice
    if name := os.environ.get(_VARIABLE):
        _choice = _flags_of(name, _VARIABLE), f"chosen by {_VARIABLE}"
    else:
        _choice = 0, "the fastest that this machine can run"
    return _choice


def _name(path: int) -> str:
    return str(ffi.string(lib.cube24_path_name(path)).decode())


def _flags_of(name: str, source: str) -> int:
    for path in range(lib.cube24_path_count()):
        if _name(path) == name and lib.cube24_path_supported(path):
            return path + 1
    raise ArgumentError(
        f"{source}: this machine has no code path {name!r}; it has {', '.join(paths())}"
    )
