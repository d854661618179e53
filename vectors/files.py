"""Array files of a case: npy, hex, bin, mem, coe and altera-mif, written, and the first three read.

``hex`` is for $readmemh; ``bin`` is the bytes as they are; ``mem`` is what Xilinx UpdateMEM reads;
``coe`` is Xilinx's memory initialisation; ``altera-mif`` is Altera's, not the other format of that
name. What words are, docs/vectors.md says.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from cube24.errors import ArgumentError, FileFormatError
from cube24.files import (
    check_words,
    explained,
    hex_words,
    npy_array,
    npy_header,
    opened,
    write_hex,
)
from cube24.sizes import ceil_div, names, truth

#: The formats, with the suffix of each.
SUFFIXES: Mapping[str, str] = {
    "npy": ".npy", "hex": ".hex", "bin": ".bin", "mem": ".mem", "coe": ".coe", "altera-mif": ".mif",
}  # fmt: skip

#: Formats that are read back.
READABLE = ("npy", "hex", "bin")


@dataclass(frozen=True)
class CaseStyle:
    """How files are written: the formats, bytes of a word, byte order, comments at the top of hex.

    steps: also the images of the buffers around each Mmad.

    Raises:
        ArgumentError: no such format, word size or order.
    """

    formats: tuple[str, ...] = ("npy", "hex")
    word_bytes: int = 1
    order: str = "little"
    header: bool = True
    steps: bool = False

    def __post_init__(self) -> None:
        """Check it."""
        object.__setattr__(self, "word_bytes", check_words(self.word_bytes, self.order))
        object.__setattr__(self, "formats", names(self.formats, "formats"))
        for name in ("header", "steps"):
            object.__setattr__(self, name, truth(getattr(self, name), name))
        if unknown := [name for name in self.formats if name not in SUFFIXES]:
            raise ArgumentError(f"format {unknown[0]!r}: choose of {', '.join(SUFFIXES)}")


def render(
    array: npt.NDArray[Any], name: str, style: CaseStyle, header: Mapping[str, object]
) -> bytes:
    """The bytes of a file of one format.

    Args:
        array: any array; its bytes are little-endian, in C order.
        name: the format.
        style: word size, order, comments.
        header: names and values for the comments of hex.
    """
    payload = payload_of(array)
    if name == "bin":
        return payload
    if name == "npy":
        return npy_header(array.shape, array.dtype) + payload
    target = io.BytesIO()
    if name == "hex":
        comments = header if style.header else None
        write_hex(
            target, [payload], word_bytes=style.word_bytes, order=style.order, header=comments
        )
        return target.getvalue()
    write_hex(target, [payload], word_bytes=style.word_bytes, order=style.order)
    words = target.getvalue().split()
    if name == "mem":
        return b"@00000000\n" + b"".join(word + b"\n" for word in words)
    if name == "coe":
        body = b",\n".join(words)
        return b"memory_initialization_radix=16;\nmemory_initialization_vector=\n" + body + b";\n"
    lines = [
        f"WIDTH={8 * style.word_bytes};", f"DEPTH={len(words)};", "ADDRESS_RADIX=HEX;",
        "DATA_RADIX=HEX;", "CONTENT BEGIN",
        *(f"  {at:x} : {word.decode()};" for at, word in enumerate(words)), "END;",
    ]  # fmt: skip
    return ("\n".join(lines) + "\n").encode()


def payload_of(array: npt.NDArray[Any]) -> bytes:
    """The bytes of an array, little-endian, in C order."""
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()


def digest(data: bytes) -> str:
    """SHA-256 in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def words_of(size: int, style: CaseStyle) -> int:
    """Words that so many bytes take."""
    return ceil_div(size, style.word_bytes)


def read(
    path: Path, name: str, dtype: np.dtype[Any], shape: tuple[int, ...], style: CaseStyle
) -> npt.NDArray[Any]:
    """Read an array back, of exactly this type and shape.

    Raises:
        FileFormatError: it is not what it should be; with the byte.
        FileAccessError: the system refuses.
        ArgumentError: a format that is not read back.
    """
    if name not in READABLE:
        raise ArgumentError(f"{path}: format {name} is not read back; {', '.join(READABLE)} are")
    with opened(path) as file:
        return _array_of(path, file, os.fstat(file.fileno()).st_size, name, dtype, shape, style)


def reread(
    data: bytes, name: str, dtype: np.dtype[Any], shape: tuple[int, ...], style: CaseStyle
) -> npt.NDArray[Any]:
    """Read what :func:`render` gave, as :func:`read` reads it from a file.

    Raises:
        FileFormatError, ArgumentError: as for :func:`read`.
    """
    if name == "npy" and data.startswith(header := _own_header(shape, dtype)):
        size = prod(shape) * dtype.itemsize
        if len(data) == len(header) + size:
            return np.frombuffer(data, dtype, offset=len(header)).reshape(shape)
    return _array_of(Path(name), io.BytesIO(data), len(data), name, dtype, shape, style)


@lru_cache(maxsize=8192)  # of the shapes of a campaign; to read one costs as much as a whole file
def _own_header(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bytes:
    """The header of our .npy files of a shape and type, which NumPy reads as that shape and type.

    Raises:
        FileFormatError: NumPy reads another one.
    """
    header = npy_header(shape, dtype)
    size = prod(shape) * dtype.itemsize
    array = npy_array("npy", io.BytesIO(header), len(header) + size)
    if array.dtype != dtype or array.shape != shape:
        raise FileFormatError("npy", f"holds {array.dtype} {array.shape}, not {dtype} {shape}")
    return header


def _array_of(
    path: Path,
    file: IO[bytes],
    size: int,
    name: str,
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    style: CaseStyle,
) -> npt.NDArray[Any]:
    """The array in an open file of so many bytes."""
    expected = prod(shape) * dtype.itemsize
    if name == "npy":
        array = npy_array(path, file, size)
        if array.dtype != dtype or array.shape != shape:
            raise FileFormatError(
                path, f"holds {array.dtype} {array.shape}, expected {dtype} {shape}"
            )
        return np.asarray(array.read_all())
    if name == "hex":
        raw = hex_words(path, file, expected, word_bytes=style.word_bytes, order=style.order)
    else:
        with explained(path):
            raw = file.read(expected + 1)
        if len(raw) != expected:
            more = "at least " if len(raw) > expected else ""
            raise FileFormatError(path, f"holds {more}{len(raw)} bytes, expected {expected}")
    return np.frombuffer(raw, dtype.newbyteorder("<")).astype(dtype).reshape(shape)
