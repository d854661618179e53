"""What a device gave: an array, or a dump in a file, of which not all need be known.

Digits without a value and words that are not there are failures of the device, to be compared like
any other; what is no dump of a result of this size at all is an error.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cube24.errors import ArgumentError, DtypeError, ShapeError
from cube24.files import npy_header, read_bytes, read_dump
from cube24.vectors.case import Array, bits
from cube24.vectors.files import READABLE, SUFFIXES, CaseStyle, read


@dataclass(frozen=True, eq=False)
class Dump:
    """What a device gave, in the shape and type of the expected result.

    Attributes: array, with zeros for what is not known; as unsigned integers of its size, all of
    one shape: undriven, the bits whose digit is x or z; floating, those whose digit is z; missing,
    the bits of bytes that the dump does not have.
    """

    array: Array
    undriven: Array
    floating: Array
    missing: Array

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        """Which outputs have all their bits."""
        return np.asarray((self.undriven | self.missing) == 0)


def of_array(got: Array, expected: Array) -> Dump:
    """A result in memory.

    Raises:
        DtypeError, ShapeError: it is not of the type or shape of the expected result.
    """
    if got.dtype.newbyteorder("=") != expected.dtype:
        raise DtypeError(f"got has dtype {got.dtype}; this case has {expected.dtype}")
    if got.shape != expected.shape:
        raise ShapeError(f"got has shape {got.shape}; this case has {expected.shape}")
    none = np.zeros_like(bits(expected))
    return Dump(np.ascontiguousarray(got, expected.dtype), none, none, none)


def format_of(path: Path) -> str:
    """The format that the suffix of a dump tells.

    Raises:
        ArgumentError: none.
    """
    for name in READABLE:
        if path.suffix.lower() == SUFFIXES[name]:
            return name
    raise ArgumentError(f"{path}: suffix {path.suffix!r}; name the format: {', '.join(READABLE)}")


def of_file(path: Path, name: str, expected: Array, style: CaseStyle) -> Dump:
    """A result in a file.

    Args:
        path: of the file.
        name: of the format.
        expected: the result that the case expects.
        style: the words of a hex dump.

    Raises:
        FileFormatError: it is no dump of a result of this shape and type: over-long, of words of
            another width, or something else altogether.
        FileAccessError: the system refuses.
        ArgumentError: a format that is not read.
    """
    size = prod(expected.shape) * expected.dtype.itemsize
    if name == "hex":
        found = read_dump(path, size, word_bytes=style.word_bytes, order=style.order)
        return _of_bytes(expected, found.data, found.undriven, found.floating, found.missing)
    if name in ("bin", "npy"):
        header = b"" if name == "bin" else npy_header(expected.shape, expected.dtype)
        data = read_bytes(path, len(header) + size + 1)
        if data.startswith(header) and len(data) < len(header) + size:
            there = data[len(header) :]
            gone = size - len(there)
            none = bytes(size)
            return _of_bytes(
                expected, there + bytes(gone), none, none, bytes(len(there)) + b"\xff" * gone
            )
    return of_array(read(path, name, expected.dtype, expected.shape, style), expected)


def _of_bytes(expected: Array, data: bytes, *masks: bytes) -> Dump:
    def array(raw: bytes, dtype: np.dtype[Any]) -> Array:
        return np.frombuffer(raw, dtype.newbyteorder("<")).astype(dtype).reshape(expected.shape)

    return Dump(array(data, expected.dtype), *(array(mask, bits(expected).dtype) for mask in masks))
