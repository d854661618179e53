"""Arrays in files: .npy, a member of .npz, a tensor of .safetensors, raw .bin.

An ArrayFile tells shape and type without reading the data, and reads any rectangle of the array
seen as rows (all dimensions but the last) x columns, so that a file may be larger than memory.
It reads with plain reads instead of a memory map: a file that shrinks while it is read is then an
error and not a signal that kills the process, and the pages read do not count as ours.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from math import prod
from operator import index
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from cube24 import stdlib
from cube24.errors import (
    ArgumentError,
    Cube24Error,
    DtypeError,
    FileAccessError,
    FileFormatError,
    ShapeError,
    StrPath,
)
from cube24.extras import need
from cube24.files.plain import explained, opened, read_exactly
from cube24.sizes import check_sizes

#: The kinds of file that arrays are read from.
SUFFIXES = (".npy", ".npz", ".safetensors", ".bin")

_Read = Callable[[int, int, int, int], npt.NDArray[Any]]


@dataclass(frozen=True)
class ArrayFile:
    """An array in an open file.

    Attributes: path; shape; dtype; ``read(r0, r1, c0, c1)``, which gives rows r0..r1 and columns
    c0..c1 of the array seen as (prod(shape[:-1]), shape[-1]) as a new C-contiguous array. ``path``
    is for messages, with the name of a member; ``file`` is the file on the disk, or None.
    """

    path: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    read: _Read
    file: str | None = None

    def read_all(self) -> npt.NDArray[Any]:
        """The whole array."""
        rows, columns = _rows_and_columns(self.shape)
        return self.read(0, rows, 0, columns).reshape(self.shape)


@contextmanager
def open_array(
    path: StrPath,
    *,
    name: str | None = None,
    shape: tuple[int, ...] | None = None,
    dtype: str | None = None,
) -> Iterator[ArrayFile]:
    """Open the array in a file; what kind of file it is, its suffix says.

    Args:
        path: .npy, .npz, .safetensors, or .bin (raw, little-endian, C order).
        name: member of the .npz or tensor of the .safetensors; may be left out if there is one.
        shape: of a raw file, required there; elsewhere refused if it differs.
        dtype: NumPy name of the type of a raw file, default int8; elsewhere refused if it differs.

    Raises:
        FileFormatError: the file is malformed, truncated or over-long.
        FileAccessError: the system refuses, or it is a pipe, device or folder.
        ArgumentError: unknown suffix, a name that is not there or not needed, a type that is none.
        ShapeError: a shape that no array has.
        MissingExtraError: a .safetensors file, and no package to read it.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise ArgumentError(
            f"{os.fspath(path)}: unknown suffix {suffix!r}; arrays are read from "
            f"{', '.join(SUFFIXES)}"
        )
    if name is not None and suffix in (".npy", ".bin"):
        raise ArgumentError(f"{os.fspath(path)}: a {suffix} file has no named members")
    try:
        wanted = None if dtype is None else np.dtype(dtype)
    except Exception:  # it is parsed as Python text: anything may come of it
        raise ArgumentError(f"dtype {str(dtype)[:40]!r}: NumPy knows no such type") from None
    if wanted is not None and (problem := _no_numbers(wanted)):
        kind: type[Cube24Error] = DtypeError if wanted.hasobject else ArgumentError
        raise kind(f"dtype {str(dtype)[:40]!r}: {problem}; name a type of numbers")
    try:
        shape = None if shape is None else _plain_sizes(tuple(index(size) for size in shape))
    except TypeError:
        raise ArgumentError(f"shape {shape!r}: it is a tuple of whole numbers") from None
    if suffix == ".bin":
        if shape is None:
            raise ArgumentError(f"{os.fspath(path)}: a raw file needs its shape")
        with _open_raw(path, shape, wanted or np.dtype(np.int8)) as array:
            yield replace(array, file=os.fspath(path))
        return
    if suffix == ".npy":
        opener = _open_npy(path)
    elif suffix == ".npz":
        opener = _open_npz(path, name)
    else:
        opener = _open_safetensors(path, name)
    with opener as array:
        if shape is not None and shape != array.shape:
            raise FileFormatError(path, f"has shape {array.shape}, not {shape}")
        if wanted is not None and wanted != array.dtype:
            raise FileFormatError(path, f"has dtype {array.dtype}, not {wanted}")
        yield replace(array, file=os.fspath(path))


def _rows_and_columns(shape: tuple[int, ...]) -> tuple[int, int]:
    return (prod(shape[:-1]), shape[-1]) if shape else (1, 1)


# --- arrays in open files ------------------------------------------------------------------------


def _strided(
    path: StrPath,
    file: IO[bytes],
    start: int,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    fortran: bool,
) -> ArrayFile:
    """An array whose bytes stand in ``file`` from ``start``."""
    rows, columns = _rows_and_columns(shape)
    outer, inner = (columns, rows) if fortran else (rows, columns)

    def runs(o0: int, o1: int, i0: int, i1: int) -> npt.NDArray[Any]:
        size = dtype.itemsize
        if (i0, i1) == (0, inner):  # whole runs are one piece
            o0, o1, i0, i1 = 0, 1, o0 * inner, o1 * inner
            data = read_exactly(path, file, start + i0 * size, (i1 - i0) * size)
            return np.frombuffer(data, dtype)
        data = b"".join(
            read_exactly(path, file, start + (o * inner + i0) * size, (i1 - i0) * size)
            for o in range(o0, o1)
        )
        return np.frombuffer(data, dtype)

    def read(r0: int, r1: int, c0: int, c1: int) -> npt.NDArray[Any]:
        if not fortran:
            return runs(r0, r1, c0, c1).reshape(r1 - r0, c1 - c0)
        return np.ascontiguousarray(runs(c0, c1, r0, r1).reshape(c1 - c0, r1 - r0).T)

    def read_transposed(r0: int, r1: int, c0: int, c1: int) -> npt.NDArray[Any]:
        # Fortran order of three and more dimensions: its rows are not runs of the file.
        whole = runs(0, outer, 0, inner).reshape(shape[::-1]).T
        return np.ascontiguousarray(whole.reshape(rows, columns)[r0:r1, c0:c1])

    awkward = fortran and len(shape) > 2
    return ArrayFile(os.fspath(path), shape, dtype, read_transposed if awkward else read)


@contextmanager
def _open_raw(path: StrPath, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Iterator[ArrayFile]:
    check_sizes(shape)
    little = dtype.newbyteorder("<")
    expected = prod(shape) * dtype.itemsize
    with opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size != expected:
            state = "truncated" if size < expected else "too long"
            raise FileFormatError(
                path, f"{size} bytes, but shape {shape} of {dtype} takes {expected}: it is {state}"
            )
        yield _strided(path, file, 0, shape, little, fortran=False)


@contextmanager
def _open_npy(path: StrPath) -> Iterator[ArrayFile]:
    with opened(path) as file:
        yield npy_array(path, file, os.fstat(file.fileno()).st_size)


def npy_array(path: StrPath, file: IO[bytes], size: int) -> ArrayFile:
    """The array of an open .npy file of ``size`` bytes, which may be a member of an archive.

    Raises:
        FileFormatError: it is no .npy file, or its size is not what the header says.
    """
    formats = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    with explained(path):
        try:
            version = np.lib.format.read_magic(file)
            if version not in formats:
                raise ValueError(f"version {version} of the .npy format")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # on headers that Python 2 wrote; they read well
                shape, fortran, dtype = formats[version](file)
        except (OSError, stdlib.zipfile.BadZipFile, stdlib.zlib.error):
            raise
        except Exception as error:  # the header is parsed as Python text: anything may come of it
            raise FileFormatError(path, f"no readable .npy header: {error}") from error
        start = file.tell()
    if problem := _no_numbers(dtype):
        raise FileFormatError(path, f"{problem}; save numbers")
    try:
        check_sizes(_plain_sizes(shape))
    except ShapeError as error:
        raise FileFormatError(path, str(error)) from error
    expected = start + prod(shape) * dtype.itemsize
    if size != expected:
        state = "truncated" if size < expected else "too long"
        raise FileFormatError(
            path,
            f"{size} bytes, but its header (shape {shape}, dtype {dtype}) asks for {expected}: "
            f"it is {state}",
        )
    return _strided(path, file, start, shape, dtype, fortran)


def _no_numbers(dtype: np.dtype[Any]) -> str | None:
    """Why a type is not that of plain elements; None: it is."""
    if dtype.hasobject:
        return "holds Python objects"
    if dtype.names is not None or dtype.subdtype is not None:
        return "its elements are records of several numbers"
    if not dtype.itemsize:
        return "its elements have no bytes"
    return None


def _plain_sizes(shape: tuple[object, ...]) -> tuple[int, ...]:
    """A shape from outside, whose sizes can be printed: no bool, no number of 5,000 digits."""
    for size in shape:
        if type(size) is not int:
            raise ShapeError(f"a size of its shape is {size}, which is no whole number")
        if size.bit_length() > 63:
            shown = size if size.bit_length() <= 128 else f"a number of {size.bit_length()} bits"
            raise ShapeError(f"a size of its shape is {shown}; no array is so large")
    return shape  # type: ignore[return-value]  # as just seen


@lru_cache(maxsize=8192)
def npy_header(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bytes:
    """The header of a .npy file of a C-order array."""
    header = io.BytesIO()
    descr = np.lib.format.dtype_to_descr(dtype)
    np.lib.format.write_array_header_1_0(
        header, {"descr": descr, "fortran_order": False, "shape": shape}
    )
    return header.getvalue()


# --- archives -------------------------------------------------------------------------------------


@contextmanager
def opened_zip(path: StrPath) -> Iterator[stdlib.zipfile.ZipFile]:
    """Open an .npz.

    Raises:
        FileFormatError: it is no readable archive.
        FileAccessError: the system refuses.
    """
    zipfile = stdlib.zipfile
    with opened(path) as file:
        with explained(path):
            # zipfile also takes an archive behind other bytes; what else reads .npz does not.
            if file.read(4) not in (b"PK\x03\x04", b"PK\x05\x06"):
                raise zipfile.BadZipFile("the file does not start as an archive does")
            archive = zipfile.ZipFile(file)
            for entry in archive.infolist():
                if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    # NumPy writes no other, and each decompressor fails in ways of its own.
                    raise zipfile.BadZipFile(f"{entry.filename} is compressed in another way")
        with archive:
            yield archive


@contextmanager
def opened_member(
    path: StrPath, archive: stdlib.zipfile.ZipFile, name: str
) -> Iterator[tuple[str, IO[bytes], int]]:
    """Open a member of an .npz: gives its label for messages, the file and its size.

    Raises:
        FileFormatError: it is broken, encrypted or not there.
    """
    label = f"{os.fspath(path)}:{name}"
    if name not in archive.namelist():
        raise FileFormatError(path, f"holds no {name}")
    with explained(label):
        file = archive.open(name)
    with file:
        yield label, file, archive.getinfo(name).file_size


@contextmanager
def _open_npz(path: StrPath, name: str | None) -> Iterator[ArrayFile]:
    with opened_zip(path) as archive:
        names = [entry[:-4] for entry in archive.namelist() if entry.endswith(".npy")]
        member = f"{_choose(path, name, names)}.npy"
        with opened_member(path, archive, member) as (label, file, size):
            yield npy_array(label, file, size)


def _choose(path: StrPath, name: str | None, names: list[str]) -> str:
    listing = ", ".join(names[:20]) or "none"
    if name is not None:
        if name not in names:
            raise ArgumentError(f"{os.fspath(path)}: no array named {name!r}; it has: {listing}")
        return name
    if len(names) != 1:
        raise ArgumentError(
            f"{os.fspath(path)}: {len(names)} arrays; choose one by name: {listing}"
        )
    return names[0]


@contextmanager
def _open_safetensors(path: StrPath, name: str | None) -> Iterator[ArrayFile]:
    safetensors = need("safetensors", "tensors", f"{os.fspath(path)}: reading .safetensors")
    with opened(path):
        pass  # missing file and missing permission are told as for every other file
    types = {"I8": np.int8, "U8": np.uint8, "I16": np.int16, "I32": np.int32, "I64": np.int64,
             "F16": np.float16, "F32": np.float32, "F64": np.float64}  # fmt: skip

    @contextmanager
    def tensors() -> Iterator[Any]:
        # Opened anew for each piece: the library maps the whole file, and pages once read count
        # as ours until the map is closed. Nothing of the caller runs inside.
        try:
            with safetensors.safe_open(os.fspath(path), framework="numpy") as file:
                yield file
        except (safetensors.SafetensorError, UnicodeDecodeError) as error:
            raise FileFormatError(path, f"no readable .safetensors file: {error}") from error
        except OSError as error:
            raise FileAccessError.from_os(path, "read", error) from error

    with tensors() as file:
        chosen = _choose(path, name, sorted(file.keys()))
        header = file.get_slice(chosen)
        shape, type_name = tuple(header.get_shape()), header.get_dtype()
    if type_name not in types:
        raise DtypeError(f"{os.fspath(path)}:{chosen} has dtype {type_name}; quantise it to int8")

    def read(r0: int, r1: int, c0: int, c1: int) -> npt.NDArray[Any]:
        rows, columns = _rows_and_columns(shape)
        if r0 == r1 or c0 == c1:  # the library refuses to slice nothing
            return np.empty((r1 - r0, c1 - c0), types[type_name])
        with tensors() as file:
            if len(shape) == 2:
                part = file.get_slice(chosen)[r0:r1, c0:c1]
            else:
                part = file.get_tensor(chosen).reshape(rows, columns)[r0:r1, c0:c1]
            return np.array(part, order="C")

    label = f"{os.fspath(path)}:{chosen}"
    yield ArrayFile(label, shape, np.dtype(types[type_name]), read)
