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
from cube24.sizes import ceil_div, names, round_up, shown, truth, whole

#: The formats, with the suffix of each.
SUFFIXES: Mapping[str, str] = {
    "npy": ".npy", "hex": ".hex", "bin": ".bin", "mem": ".mem", "coe": ".coe", "altera-mif": ".mif",
}  # fmt: skip

#: Formats that are read back.
READABLE = ("npy", "hex", "bin")


#: What roles of arrays there are in files.
ROLES = (
    "weights", "dense", "index", "activations", "bias", "requant", "accumulators", "expected",
    "step",
)  # fmt: skip

#: Roles whose rows may begin further apart than they are long: those that a device reads by rows.
STRIDED = ("weights", "dense", "index", "activations")

#: Bytes of an array whose rows are apart, at most.
_MOST = 1 << 28

#: The distance of rows that begin a word each.
WORD = "word"


@dataclass(frozen=True)
class CaseStyle:
    """How files are written: the formats, bytes of a word, byte order, comments at the top of hex.

    steps: also the images of the buffers around each Mmad. What follows needs manifests of version
    2. role_words: pairs of a role and the bytes of its words, where they are others. row_strides:
    pairs of a role and the bytes from one of its rows to the next, in every format but npy;
    ``word``: the least number of whole words. both_layouts: dense and index also in the layout that
    the case is not in. bench: also what a bench loads without JSON, as bench.py has it. manifest:
    the version of the manifest, 1 or 2.

    Raises:
        ArgumentError: no such format, word size, order, role or distance; a distance that is no
            whole number of words; or version 1 with what it does not have.
    """

    formats: tuple[str, ...] = ("npy", "hex")
    word_bytes: int = 1
    order: str = "little"
    header: bool = True
    steps: bool = False
    role_words: tuple[tuple[str, int], ...] = ()
    row_strides: tuple[tuple[str, int | str], ...] = ()
    both_layouts: bool = False
    bench: bool = False
    manifest: int = 1

    def __post_init__(self) -> None:
        """Check it."""
        object.__setattr__(self, "word_bytes", check_words(self.word_bytes, self.order))
        object.__setattr__(self, "formats", names(self.formats, "formats"))
        for name in ("header", "steps", "both_layouts", "bench"):
            object.__setattr__(self, name, truth(getattr(self, name), name))
        if unknown := [name for name in self.formats if name not in SUFFIXES]:
            raise ArgumentError(f"format {unknown[0]!r}: choose of {', '.join(SUFFIXES)}")
        words = _pairs(self.role_words, "role_words", ROLES)
        words = tuple((role, check_words(size, self.order)) for role, size in words)
        object.__setattr__(self, "role_words", words)
        strides = _pairs(self.row_strides, "row_strides", STRIDED)
        strides = tuple((role, self._stride(role, value)) for role, value in strides)
        object.__setattr__(self, "row_strides", strides)
        object.__setattr__(self, "manifest", whole(self.manifest, "manifest", 1, 2))
        if self.bench and ("hex" not in self.formats or 512 % self.word_bytes):
            raise ArgumentError(
                "bench: needs the format hex, and words of a power of two, up to 512 bytes: "
                "arrays in memory begin at multiples of that"
            )
        if self.manifest == 1 and (words or strides or self.both_layouts or self.bench):
            raise ArgumentError(
                "manifest 1: role_words, row_strides, both_layouts and bench need version 2"
            )

    def _stride(self, role: str, value: object) -> int | str:
        if value == WORD:
            return WORD
        size, word = whole(value, f"row stride of {role}", 1, 1 << 16), self.word_bytes_of(role)
        if size % word:
            raise ArgumentError(
                f"row stride {size} of {role}: is no multiple of its word, which has {word} bytes"
            )
        return size

    def word_bytes_of(self, role: str) -> int:
        """The bytes of a word of a role."""
        for name, size in self.role_words:
            if name == role:
                return size
        return self.word_bytes

    def row_stride_of(self, role: str, row_bytes: int) -> int:
        """The bytes from one row of a role to the next, where a row has so many.

        Raises:
            ArgumentError: the rows are longer than the distance that was asked for.
        """
        stride = dict(self.row_strides).get(role, row_bytes)
        if isinstance(stride, str):
            return round_up(row_bytes, self.word_bytes_of(role))
        if stride < row_bytes:
            raise ArgumentError(
                f"row stride {stride} of {role}: its rows have {row_bytes} bytes; ask for more, "
                f"or for '{WORD}'"
            )
        return stride

    def to_dict(self, *, whole: bool = False) -> dict[str, Any]:
        """The style as plain data, as it stands in a manifest.

        Args:
            whole: with the fields that manifests of version 1 do not have, whatever its version.
        """
        found: dict[str, Any] = {**vars(self), "formats": list(self.formats)}
        version = found.pop("manifest")
        for name in ("role_words", "row_strides"):
            found[name] = dict(found[name])
        if whole or version > 1:
            return found
        return {name: found[name] for name in ("formats", "word_bytes", "order", "header", "steps")}

    def options(self) -> list[str]:
        """The options of the command line that ask for it."""
        words = [word for name in self.formats for word in ("--format", name)]
        if set(self.formats) - {"npy", "bin"}:
            words += ["--word-bytes", str(self.word_bytes), "--order", self.order]
        words += ["--no-header"] if "hex" in self.formats and not self.header else []
        words += ["--steps"] if self.steps else []
        for option, pairs in (
            ("--role-words", self.role_words),
            ("--row-stride", self.row_strides),
        ):
            words += [word for role, size in pairs for word in (option, f"{role}={size}")]
        words += ["--bench"] if self.bench else []
        return [*words, "--manifest", "2"] if self.manifest > 1 else words

    @classmethod
    def of(cls, given: Mapping[str, Any], manifest: int) -> CaseStyle:
        """A style from plain data, as :meth:`to_dict` gives it.

        Raises:
            ArgumentError: it is none.
        """
        pairs = {name: tuple(given.get(name, {}).items()) for name in ("role_words", "row_strides")}
        return cls(**{**given, "formats": tuple(given["formats"]), **pairs, "manifest": manifest})


def _pairs(given: Any, name: str, roles: tuple[str, ...]) -> tuple[tuple[str, Any], ...]:
    """Pairs of a role and something, each role once, in the order of the roles."""
    try:
        pairs = [(role, value) for role, value in given]
        found = dict(pairs)
        unknown = [role for role in found if role not in roles]
    except (TypeError, ValueError):
        raise ArgumentError(
            f"{name} is {shown(given)}; it takes pairs of a role and a number"
        ) from None
    if unknown:
        raise ArgumentError(f"{name}: role {shown(unknown[0])}: choose of {', '.join(roles)}")
    if len(found) != len(pairs):
        raise ArgumentError(f"{name}: a role stands there twice")
    return tuple((role, found[role]) for role in roles if role in found)


def render(
    array: npt.NDArray[Any],
    name: str,
    style: CaseStyle,
    header: Mapping[str, object],
    role: str = "",
    payload: bytes | None = None,
) -> bytes:
    """The bytes of a file of one format.

    Args:
        array: any array; its bytes are little-endian, in C order.
        name: the format.
        style: word size, distance of rows, order, comments.
        header: names and values for the comments of hex.
        role: of the array, which may have words and rows of its own.
        payload: what :func:`payload_of` gives of the array, where it is there already.

    Raises:
        ArgumentError: as for :meth:`CaseStyle.row_stride_of`.
    """
    payload = payload_of(array) if payload is None else payload
    if name == "npy":
        return _own_header(array.shape, array.dtype) + payload
    payload = _spread(payload, array.shape, array.dtype, style, role)
    if name == "bin":
        return payload
    target, word_bytes = io.BytesIO(), style.word_bytes_of(role)
    if name == "hex":
        comments = header if style.header else None
        write_hex(target, [payload], word_bytes=word_bytes, order=style.order, header=comments)
        return target.getvalue()
    write_hex(target, [payload], word_bytes=word_bytes, order=style.order)
    words = target.getvalue().split()
    if name == "mem":
        return b"@00000000\n" + b"".join(word + b"\n" for word in words)
    if name == "coe":
        body = b",\n".join(words)
        return b"memory_initialization_radix=16;\nmemory_initialization_vector=\n" + body + b";\n"
    lines = [
        f"WIDTH={8 * word_bytes};", f"DEPTH={len(words)};", "ADDRESS_RADIX=HEX;",
        "DATA_RADIX=HEX;", "CONTENT BEGIN",
        *(f"  {at:x} : {word.decode()};" for at, word in enumerate(words)), "END;",
    ]  # fmt: skip
    return ("\n".join(lines) + "\n").encode()


def _spread(
    payload: bytes, shape: tuple[int, ...], dtype: np.dtype[Any], style: CaseStyle, role: str
) -> bytes:
    """The payload with its rows as far apart as the style says, and zeros between them."""
    row, stride = _rows(shape, dtype, style, role)
    if stride == row or stored_bytes(shape, dtype, style, role) == len(payload):
        return payload
    rows = np.frombuffer(payload, np.uint8).reshape(-1, row)
    return np.pad(rows, ((0, 0), (0, stride - row))).tobytes()


def _rows(
    shape: tuple[int, ...], dtype: np.dtype[Any], style: CaseStyle, role: str
) -> tuple[int, int]:
    """The bytes of a row, the last axis of an array, and from one to the next."""
    row = (shape[-1] if shape else 1) * dtype.itemsize
    return row, style.row_stride_of(role, row)


def stored_bytes(shape: tuple[int, ...], dtype: np.dtype[Any], style: CaseStyle, role: str) -> int:
    """The bytes that an array takes in a file of words, rows as far apart as the style says.

    Raises:
        ArgumentError: as for :meth:`CaseStyle.row_stride_of`.
    """
    row, stride = _rows(shape, dtype, style, role)
    size = prod(shape[:-1]) * stride if row else 0
    if size > max(_MOST, prod(shape) * dtype.itemsize):
        raise ArgumentError(f"row stride {stride} of {role}: its rows would take {size} bytes")
    return size


def payload_of(array: npt.NDArray[Any]) -> bytes:
    """The bytes of an array, little-endian, in C order."""
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()


def digest(data: bytes) -> str:
    """SHA-256 in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def words_of(size: int, style: CaseStyle, role: str = "") -> int:
    """Words that so many bytes take."""
    return ceil_div(size, style.word_bytes_of(role))


def read(
    path: Path,
    name: str,
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    style: CaseStyle,
    role: str = "",
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
        size = os.fstat(file.fileno()).st_size
        return _array_of(path, file, size, name, dtype, shape, style, role)


def reread(
    data: bytes,
    name: str,
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    style: CaseStyle,
    role: str = "",
) -> npt.NDArray[Any]:
    """Read what :func:`render` gave, as :func:`read` reads it from a file.

    Raises:
        FileFormatError, ArgumentError: as for :func:`read`.
    """
    if name == "npy" and data.startswith(header := _own_header(shape, dtype)):
        size = prod(shape) * dtype.itemsize
        if len(data) == len(header) + size:
            return np.frombuffer(data, dtype, offset=len(header)).reshape(shape)
    return _array_of(Path(name), io.BytesIO(data), len(data), name, dtype, shape, style, role)


#: Bytes before the text of a header.
_NPY_START = 10


@lru_cache(maxsize=8192)  # of the shapes of a campaign; to read one costs as much as a whole file
def _own_header(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bytes:
    """The header of our .npy files of a shape and type, which NumPy reads as that shape and type.

    Raises:
        FileFormatError: NumPy reads another one.
    """
    header = npy_header(shape, dtype)
    # Most have this text, a literal of Python; to have NumPy read it takes 50 times as long.
    text = f"{{'descr': {dtype.str!r}, 'fortran_order': False, 'shape': {shape!r}, }}"
    size = len(header) - _NPY_START
    start = b"\x93NUMPY\x01\0" + size.to_bytes(2, "little")
    if header == start + text.encode().ljust(size - 1) + b"\n":
        return header
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
    role: str,
) -> npt.NDArray[Any]:
    """The array in an open file of so many bytes."""
    if name == "npy":
        array = npy_array(path, file, size)
        if array.dtype != dtype or array.shape != shape:
            raise FileFormatError(
                path, f"holds {array.dtype} {array.shape}, expected {dtype} {shape}"
            )
        return np.asarray(array.read_all())
    try:
        expected = stored_bytes(shape, dtype, style, role)
    except ArgumentError as error:
        raise FileFormatError(path, f"cannot be of this style: {error}") from error
    if name == "hex":
        word_bytes = style.word_bytes_of(role)
        raw = hex_words(path, file, expected, word_bytes=word_bytes, order=style.order)
    else:
        with explained(path):
            raw = file.read(expected + 1)
        if len(raw) != expected:
            more = "at least " if len(raw) > expected else ""
            raise FileFormatError(path, f"holds {more}{len(raw)} bytes, expected {expected}")
    raw = _packed(path, raw, *_rows(shape, dtype, style, role))
    return np.frombuffer(raw, dtype.newbyteorder("<")).astype(dtype).reshape(shape)


def _packed(path: Path, raw: bytes, row: int, stride: int) -> bytes:
    """The rows of a file without what stands between them."""
    if stride == row:
        return raw
    rows = np.frombuffer(raw, np.uint8).reshape(-1, stride)
    if rows[:, row:].any():
        raise FileFormatError(path, "there are bytes between two rows that are not zero")
    return rows[:, :row].tobytes()
