"""The cffi module, and what every call through it needs. No cffi object leaves this package."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from cube24._core._binding import ffi, lib

__all__ = ["demand", "ffi", "lib", "view", "writable"]


def view(array: npt.NDArray[Any], ctype: Any) -> Any:
    """A C-contiguous array as a C array that is read."""
    return ffi.from_buffer(ctype, array)


def writable(array: npt.NDArray[Any], ctype: Any) -> Any:
    """A C-contiguous array as a C array that is written."""
    return ffi.from_buffer(ctype, array, require_writable=True)


def demand(status: int, *allowed: int) -> int:
    """The status of a call, which is CUBE24_OK or one of those that its caller knows."""
    if status != lib.CUBE24_OK and status not in allowed:
        # The callers have checked everything, so this is a defect of ours, not of the input.
        raise AssertionError(f"the C core refused a call: status {status}")
    return status
