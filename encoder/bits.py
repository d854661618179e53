"""2-bit indices to bytes and back: four to a byte, the first in bits 1:0."""

from __future__ import annotations

from math import prod

import numpy as np
import numpy.typing as npt

from cube24 import _core
from cube24.encoder.arguments import check_out
from cube24.errors import ArgumentError, DtypeError, ShapeError
from cube24.sizes import ceil_div


def pack_index(
    values: npt.NDArray[np.uint8], *, out: npt.NDArray[np.uint8] | None = None
) -> npt.NDArray[np.uint8]:
    """Pack 2-bit values along the last axis.

    Args:
        values: uint8 (..., count), each 0..3. The value 3 is packed like any other: that it is
            illegal as an index is the decoder's business.
        out: uint8 array of the result's shape to write into and return; C-contiguous, not
            overlapping values. If a value is refused it holds anything.

    Returns:
        uint8 (..., ceil(count / 4)); missing values of the last byte are 0.

    Raises:
        DtypeError: not uint8.
        ShapeError: no axis.
        ArgumentError: a value above 3, named by its coordinates.
        DtypeError, ShapeError, OutBufferError: out does not fit.
    """
    array = _uint8(values, "values")
    leading, count = array.shape[:-1], array.shape[-1]
    rows = array.reshape(prod(leading), count)
    shape = (*leading, ceil_div(count, 4))
    out = _target(out, shape, array)
    packed = out.reshape(len(rows), shape[-1])
    for number, row in enumerate(rows):
        position = _core.pack_index(row, packed[number])
        if position is not None:
            place = ", ".join(str(i) for i in (*np.unravel_index(number, leading), position))
            raise ArgumentError(f"values[{place}] is {row[position]}; a 2-bit index is 0..3")
    return out


def unpack_index(
    packed: npt.NDArray[np.uint8],
    count: int | None = None,
    *,
    out: npt.NDArray[np.uint8] | None = None,
) -> npt.NDArray[np.uint8]:
    """Unpack bytes along the last axis into 2-bit values, the inverse of :func:`pack_index`.

    Args:
        packed: uint8 (..., bytes).
        count: how many values each row holds; default 4 * bytes.
        out: uint8 array of the shape (..., count) to write into and return; C-contiguous, not
            overlapping packed.

    Raises:
        DtypeError: not uint8.
        ShapeError: no axis, or a count that does not need exactly this many bytes.
        DtypeError, ShapeError, OutBufferError: out does not fit.
    """
    array = _uint8(packed, "packed")
    bytes_ = array.shape[-1]
    count = 4 * bytes_ if count is None else count
    if ceil_div(count, 4) != bytes_ or count < 0:
        raise ShapeError(
            f"count {count} needs {ceil_div(count, 4)} bytes a row; packed has {bytes_}"
        )
    out = _target(out, (*array.shape[:-1], count), array)
    if count == 4 * bytes_:
        _core.unpack_index(array, out)
        return out
    values = np.empty((*array.shape[:-1], 4 * bytes_), np.uint8)
    _core.unpack_index(array, values)
    out[...] = values[..., :count]
    return out


def _target(
    out: npt.NDArray[np.uint8] | None, shape: tuple[int, ...], given: npt.NDArray[np.uint8]
) -> npt.NDArray[np.uint8]:
    """The array of a result: a new one, or the one that was given."""
    if out is None:
        return np.empty(shape, np.uint8)
    check_out(out, "out", np.dtype(np.uint8), shape, (given,))
    return out


def _uint8(array: npt.NDArray[np.uint8], name: str) -> npt.NDArray[np.uint8]:
    given = np.asarray(array)
    if given.dtype != np.uint8:
        raise DtypeError(f"{name} has dtype {given.dtype}, not uint8; use {name}.astype(np.uint8)")
    if given.ndim == 0:
        raise ShapeError(f"{name} has no axis; pass an array of one or more dimensions")
    return np.ascontiguousarray(given)
