"""What users may get wrong in the arguments of the encoder, explained in one place."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cube24 import _core
from cube24.errors import ArgumentError, DtypeError, OutBufferError, ShapeError

_Array = npt.NDArray[Any]


def int8_array(array: object, name: str) -> npt.NDArray[np.int8]:
    """Give the argument as an int8 array, or explain why it is not one.

    Raises:
        DtypeError: another type, or a masked array.
    """
    if isinstance(array, np.ma.MaskedArray):
        raise DtypeError(f"{name} is a masked array; fill it first: {name}.filled(0)")
    try:
        given = np.asarray(array)
    except ValueError as error:
        raise DtypeError(f"{name} is no array: {error}") from error
    int8_dtype(given.dtype, name)
    return given


def int8_dtype(dtype: np.dtype[Any], name: str) -> None:
    """Explain why a type that is not int8 cannot be a weight.

    Raises:
        DtypeError: as said.
    """
    if dtype == np.int8:
        return
    hint = "quantise it to int8 first"
    if dtype == np.uint8:
        hint = "if its bytes are two's complement, convert it with .view(np.int8)"
    elif np.issubdtype(dtype, np.integer):
        hint = "if every value is in -128..127, convert it with .astype(np.int8)"
    raise DtypeError(f"{name} has dtype {dtype}; the format holds int8 only; {hint}")


def check_limit(limit: object) -> None:
    """Refuse a number of groups to list that is none.

    Raises:
        ArgumentError: as said.
    """
    if not isinstance(limit, int) or limit < 0:
        raise ArgumentError(f"limit {limit!r}: it is a number of groups, 0 or more")


def check_policy(policy: str, *, dropping: bool = False) -> None:
    """Refuse a policy that does not exist; dropping: also ``error``.

    Raises:
        ArgumentError: as said.
    """
    names = [name for name in _core.POLICIES if not (dropping and name == "error")]
    if policy not in names:
        raise ArgumentError(f"policy {policy!r}: choose one of {', '.join(names)}")


def check_out(
    out: object, name: str, dtype: np.dtype[Any], shape: tuple[int, ...], inputs: tuple[_Array, ...]
) -> None:
    """Refuse an ``out=`` array that cannot take a result.

    Raises:
        DtypeError, ShapeError, OutBufferError: as said.
    """
    if not isinstance(out, np.ndarray):
        raise DtypeError(f"{name} is {type(out).__name__}, not a NumPy array")
    if out.dtype != dtype:
        raise DtypeError(f"{name} has dtype {out.dtype}, not {dtype}")
    if out.shape != shape:
        raise ShapeError(f"{name} has shape {out.shape}; the result has {shape}")
    if not out.flags.c_contiguous or not out.flags.writeable:
        state = "read-only" if out.flags.c_contiguous else "not C-contiguous"
        raise OutBufferError(f"{name} is {state}; pass a writable C-contiguous array")
    if any(np.may_share_memory(out, given) for given in inputs):
        raise OutBufferError(f"{name} overlaps another array of the call; pass an array of its own")
