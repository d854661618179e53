"""An encoded weight on the disk: a folder, or one .npz, of dense, index and sparse.json.

sparse.json says what the two arrays stand for and carries their checksums; docs/format.md, "Files",
describes it. The same three members make up the folder and the archive. Nothing in them depends on
clock, host, user or path.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, Literal, get_args

import numpy as np
import numpy.typing as npt

from cube24 import stdlib
from cube24.encoder.layout import Geometry
from cube24.errors import ArgumentError, Cube24Error, FileAccessError, FileFormatError, StrPath
from cube24.files import (
    ArrayFile,
    check_words,
    decoded,
    is_file,
    is_folder,
    is_same,
    npy_array,
    npy_header,
    open_array,
    opened,
    opened_member,
    opened_zip,
    read_bytes,
    read_exactly,
    read_hex,
    whole_file,
    whole_folder,
    write_hex,
)
from cube24.sizes import ceil_div, truth

#: ``npy``, ``hex`` and ``bin``: a folder; ``npz``: one file.
Format = Literal["npy", "hex", "bin", "npz"]

MANIFEST = "sparse.json"
_SCHEMA = "cube24-sparse/1"
_PIECE = 1 << 20
_MANIFEST_LIMIT = 1 << 20  # bytes; a manifest has a few hundred, but who wrote it is unknown
_DTYPES: Mapping[str, np.dtype[Any]] = {"dense": np.dtype(np.int8), "index": np.dtype(np.uint8)}


#: word_bytes, order and header where nothing is said.
_HEX_DEFAULTS = (1, "little", True)


@dataclass(frozen=True)
class Style:
    """How payloads are written: format, and for hex the words and whether there is a header.

    Raises:
        ArgumentError: no such format, word size or byte order, or words of another format than hex.
    """

    format: Format = "npy"
    word_bytes: int = 1
    order: str = "little"
    header: bool = True

    def __post_init__(self) -> None:
        """Refuse what does not exist."""
        if self.format not in get_args(Format):
            raise ArgumentError(
                f"format {self.format!r}: choose one of {', '.join(get_args(Format))}"
            )
        object.__setattr__(self, "word_bytes", check_words(self.word_bytes, self.order))
        object.__setattr__(self, "header", truth(self.header, "header"))
        if self.format != "hex" and (self.word_bytes, self.order, self.header) != _HEX_DEFAULTS:
            raise ArgumentError(
                f"word_bytes, order and header are of hex files; format is {self.format!r}"
            )


def style_for(path: StrPath, format: Format | None, **words: Any) -> Style:
    """The style for a path: .npz says the format by itself, everything else is a folder.

    Raises:
        ArgumentError: the format contradicts the suffix.
    """
    is_npz = Path(path).suffix.lower() == ".npz"
    if format is not None and is_npz != (format == "npz"):
        raise ArgumentError(
            f"{os.fspath(path)}: format {format!r} writes "
            f"{'one file named *.npz' if format == 'npz' else 'a folder, not a file named .npz'}"
        )
    return Style(format or ("npz" if is_npz else "npy"), **words)


@dataclass(frozen=True)
class Payload:
    """The bytes of one array in an open file, from byte ``start`` on."""

    file: BinaryIO
    start: int = 0

    def write(self, offset: int, data: npt.NDArray[Any]) -> None:
        """Write the bytes of an array at an offset of the payload."""
        if data.size:
            self.file.seek(self.start + offset)
            self.file.write(data.data.cast("B"))

    def pieces(self) -> Iterator[bytes]:
        """All bytes in order."""
        self.file.seek(self.start)
        while piece := self.file.read(_PIECE):
            yield piece

    def sha256(self) -> str:
        """Checksum of all bytes."""
        digest = stdlib.hashlib.sha256()
        for piece in self.pieces():
            digest.update(piece)
        return digest.hexdigest()


@contextmanager
def payload_writer(
    path: StrPath,
    geometry: Geometry,
    style: Style,
    *,
    overwrite: bool = False,
    inputs: Iterable[str | None] = (),
) -> Iterator[dict[str, Payload]]:
    """Open the payloads of a weight for writing at any place; the weight appears at the end.

    Gives {"dense": ..., "index": ...}. When the block ends they are turned into what the style asks
    for and the manifest is written.

    Args:
        path, geometry, style: of what is written.
        overwrite: replace a file, or a folder that holds an encoded weight and nothing else.
        inputs: files that the payloads are made from, which are never replaced by them.

    Raises:
        FileAccessError: it is there already, holds what we did not write or one of the inputs, or
            the system refuses.
    """
    written = _written(path) if overwrite and style.format != "npz" else ()
    keep_inputs(inputs, path, *(Path(path) / name for name in written))
    if style.format == "npz":
        with whole_file(path, overwrite=overwrite) as target, _scratch(Path(path).parent) as raw:
            yield raw
            _write_npz(target, raw, geometry)
        return
    with whole_folder(path, marker=MANIFEST, ours=written, overwrite=overwrite) as folder:
        if style.format == "hex":
            with _scratch(folder) as raw:
                yield raw
                files = {
                    role: _write_hex(folder, role, payload, geometry, style)
                    for role, payload in raw.items()
                }
        else:
            with _final(folder, geometry, style) as raw:
                yield raw
                files = {
                    role: _entry(f"{role}.{style.format}", role, payload, geometry)
                    for role, payload in raw.items()
                }
        (folder / MANIFEST).write_text(_manifest(geometry, files), encoding="utf-8", newline="\n")


def _written(path: StrPath) -> tuple[str, ...]:
    """The names of what we wrote into a folder, besides its manifest; none if it has no manifest.

    Raises:
        FileAccessError: its manifest is not ours, so nothing in it is.
    """
    if not is_file(Path(path) / MANIFEST):
        return ()
    try:
        return tuple(entry["name"] for entry in _folder_manifest(Path(path)).files.values())
    except FileFormatError as error:
        raise FileAccessError(
            path, f"is not ours to replace; name another one, or remove it ({error})"
        ) from error


def keep_inputs(inputs: Iterable[str | None], *replaced: StrPath) -> None:
    """Refuse to replace what is being read; None stands for what is not a file.

    Raises:
        FileAccessError: one of the inputs is one of the files that are to be replaced.
    """
    for source in inputs:
        for path in replaced:
            if source is not None and is_same(source, path):
                raise FileAccessError(path, "is what is read, and would be lost; name another one")


@contextmanager
def _scratch(folder: Path) -> Iterator[dict[str, Payload]]:
    """Two nameless files, on the file system of the result, for what is rewritten at the end."""
    with (
        stdlib.tempfile.TemporaryFile(dir=folder) as dense,
        stdlib.tempfile.TemporaryFile(dir=folder) as index,
    ):
        yield {"dense": Payload(dense), "index": Payload(index)}


@contextmanager
def _final(folder: Path, geometry: Geometry, style: Style) -> Iterator[dict[str, Payload]]:
    """The files themselves: .npy and .bin hold the payload as it is, behind a header or none."""
    with (
        (folder / f"dense.{style.format}").open("xb+") as dense,
        (folder / f"index.{style.format}").open("xb+") as index,
    ):
        payloads = {}
        for role, file in (("dense", dense), ("index", index)):
            header = npy_header(_shape(geometry, role), _DTYPES[role])
            start = file.write(header) if style.format == "npy" else 0
            payloads[role] = Payload(file, start)
        yield payloads


def _shape(geometry: Geometry, role: str) -> tuple[int, ...]:
    return geometry.dense_shape if role == "dense" else geometry.index_shape


def _write_hex(
    folder: Path, role: str, payload: Payload, geometry: Geometry, style: Style
) -> dict[str, object]:
    """Write one array as a hex file; gives its entry of the manifest."""
    name = f"{role}.hex"
    entry = _entry(name, role, payload, geometry) | {
        "word_bytes": style.word_bytes,
        "order": style.order,
        "words": ceil_div(prod(_shape(geometry, role)), style.word_bytes),
    }
    about = {"name": name, "role": role, "layout": geometry.layout, **entry}
    with (folder / name).open("xb") as target:
        write_hex(
            target,
            payload.pieces(),
            word_bytes=style.word_bytes,
            order=style.order,
            header=about if style.header else None,
        )
    return entry


def _entry(name: str, role: str, payload: Payload, geometry: Geometry) -> dict[str, object]:
    return {
        "name": name,
        "dtype": str(_DTYPES[role]),
        "shape": list(_shape(geometry, role)),
        "sha256": payload.sha256(),
    }


def _manifest(geometry: Geometry, files: Mapping[str, Mapping[str, object]]) -> str:
    about = {
        "schema": _SCHEMA,
        "kind": geometry.kind,
        "shape": list(geometry.shape),
        "layout": geometry.layout,
        "files": files,
    }
    return stdlib.json.dumps(about, indent=2) + "\n"


def _write_npz(target: BinaryIO, raw: Mapping[str, Payload], geometry: Geometry) -> None:
    files = {}
    with stdlib.zipfile.ZipFile(target, "w", stdlib.zipfile.ZIP_STORED) as archive:
        for role, payload in raw.items():
            files[role] = _entry(f"{role}.npy", role, payload, geometry)
            with archive.open(_member(f"{role}.npy"), "w", force_zip64=True) as member:
                member.write(npy_header(_shape(geometry, role), _DTYPES[role]))
                for piece in payload.pieces():
                    member.write(piece)
        with archive.open(_member(MANIFEST), "w") as member:
            member.write(_manifest(geometry, files).encode())


def _member(name: str) -> stdlib.zipfile.ZipInfo:
    info = stdlib.zipfile.ZipInfo(name)  # dated 1980-01-01, whatever the clock says
    info.create_system = 3
    info.external_attr = 0o644 << 16
    return info


# --- reading --------------------------------------------------------------------------------------


@contextmanager
def open_stored(path: StrPath) -> Iterator[tuple[Geometry, dict[str, ArrayFile]]]:
    """Open a stored weight; its arrays are checked against sparse.json, checksums included.

    Gives the geometry and {"dense": ..., "index": ...}.

    Raises:
        FileFormatError: a member is missing, malformed, truncated, over-long or has another
            checksum.
        FileAccessError: the system refuses.
    """
    if is_folder(path):
        with _open_folder(Path(path)) as stored:
            yield stored
        return
    with opened_zip(path) as archive:
        manifest = _archived_manifest(path, archive)
        arrays = {}
        for role, entry in manifest.files.items():
            with opened_member(path, archive, entry["name"]) as (label, file, size):
                array = npy_array(label, file, size)
                _agree(label, array, entry, role)
                # Archives are read at once: seeking back in one means reading it again.
                arrays[role] = replace(_in_memory(array), file=os.fspath(path))
            _check_sum(label, arrays[role], entry)
    yield manifest.geometry, arrays


def is_stored(path: StrPath) -> bool:
    """Whether a path is that of a stored weight: a folder, or an .npz that has a sparse.json.

    Whether the weight is whole is told by opening it.

    Raises:
        FileAccessError: the system refuses.
    """
    if is_folder(path):
        return True
    if Path(path).suffix.lower() != ".npz" or not is_file(path):
        return False
    try:
        with opened_zip(path) as archive:
            return MANIFEST in archive.namelist()
    except FileFormatError:  # no archive: what it is will be told by reading it as an array
        return False


def stored_geometry(path: StrPath) -> Geometry:
    """What a stored weight is, from sparse.json and the headers of its arrays; no array is read.

    Raises:
        FileFormatError: a member is missing or malformed, or its header or size is another one than
            sparse.json says. Checksums, and the words of hex files, are not looked at.
        FileAccessError: the system refuses.
    """
    if is_folder(path):
        manifest = _folder_manifest(Path(path))
        for role, entry in manifest.files.items():
            member = Path(path) / entry["name"]
            with opened(member) if member.suffix == ".hex" else _open_member(member, entry, role):
                pass
        return manifest.geometry
    with opened_zip(path) as archive:
        manifest = _archived_manifest(path, archive)
        for role, entry in manifest.files.items():
            with opened_member(path, archive, entry["name"]) as (label, file, size):
                _agree(label, npy_array(label, file, size), entry, role)
    return manifest.geometry


def _archived_manifest(path: StrPath, archive: stdlib.zipfile.ZipFile) -> _Manifest:
    if MANIFEST not in archive.namelist():
        raise FileFormatError(
            path, f"holds no {MANIFEST}; a weight is a folder or .npz of cube24 encode"
        )
    with opened_member(path, archive, MANIFEST) as (label, file, size):
        if size > _MANIFEST_LIMIT:
            raise FileFormatError(label, f"{size} bytes are too many for a {MANIFEST}")
        return _parse(label, read_exactly(label, file, 0, size))


def _folder_manifest(folder: Path) -> _Manifest:
    return _parse(folder / MANIFEST, read_bytes(folder / MANIFEST, _MANIFEST_LIMIT))


@contextmanager
def _open_folder(folder: Path) -> Iterator[tuple[Geometry, dict[str, ArrayFile]]]:
    manifest = _folder_manifest(folder)
    dense, index = manifest.files["dense"], manifest.files["index"]
    with (
        _open_member(folder / dense["name"], dense, "dense") as one,
        _open_member(folder / index["name"], index, "index") as two,
    ):
        _check_sum(one.path, one, dense)
        _check_sum(two.path, two, index)
        yield manifest.geometry, {"dense": one, "index": two}


def _open_member(
    path: Path, entry: Mapping[str, Any], role: str
) -> AbstractContextManager[ArrayFile]:
    words = {name: entry[name] for name in ("word_bytes", "order") if name in entry}
    return open_payload(path, role, tuple(entry["shape"]), **words)


@contextmanager
def open_payload(
    path: StrPath,
    role: str,
    shape: tuple[int, ...],
    *,
    word_bytes: int = 1,
    order: str = "little",
) -> Iterator[ArrayFile]:
    """Open a file of dense or index bytes whose shape is known: .npy, .hex or .bin.

    Raises:
        FileFormatError: it is not an array of that shape and of int8 (dense) or uint8 (index).
        FileAccessError: the system refuses.
        ArgumentError: unknown suffix, no such word size or byte order, or one for no hex file.
    """
    dtype = _DTYPES[role]
    suffix = Path(path).suffix.lower()
    if suffix == ".hex":
        data = read_hex(path, prod(shape), word_bytes=word_bytes, order=order)
        array = _in_memory_array(path, np.frombuffer(data, dtype).reshape(shape))
        yield replace(array, file=os.fspath(path))
        return
    if suffix not in (".npy", ".bin"):
        raise ArgumentError(
            f"{os.fspath(path)}: unknown suffix {suffix!r}; dense and index are read from .npy, "
            f".hex, .bin"
        )
    if (word_bytes, order) != _HEX_DEFAULTS[:2]:
        raise ArgumentError(f"{os.fspath(path)}: word_bytes and order are of hex files")
    with open_array(path, shape=shape, dtype=dtype.name) as array:
        yield array


def _in_memory(array: ArrayFile) -> ArrayFile:
    return _in_memory_array(array.path, array.read_all())


def _in_memory_array(path: StrPath, values: npt.NDArray[Any]) -> ArrayFile:
    rows = values.reshape(prod(values.shape[:-1]), values.shape[-1])

    def read(r0: int, r1: int, c0: int, c1: int) -> npt.NDArray[Any]:
        return np.ascontiguousarray(rows[r0:r1, c0:c1])

    return ArrayFile(os.fspath(path), values.shape, values.dtype, read)


def _agree(path: StrPath, array: ArrayFile, entry: Mapping[str, Any], role: str) -> None:
    if array.shape != tuple(entry["shape"]) or array.dtype != _DTYPES[role]:
        raise FileFormatError(
            path,
            f"is {array.dtype} {array.shape}; {MANIFEST} says {entry['dtype']} "
            f"{tuple(entry['shape'])}",
        )


def _check_sum(path: StrPath, array: ArrayFile, entry: Mapping[str, Any]) -> None:
    digest = stdlib.hashlib.sha256()
    for piece in row_pieces(array):
        digest.update(piece.data.cast("B"))
    if digest.hexdigest() != entry["sha256"]:
        raise FileFormatError(
            path,
            f"the bytes have another checksum than {MANIFEST} says: sha256 {digest.hexdigest()}, "
            f"not {entry['sha256']}; one of the two was changed",
        )


def row_pieces(array: ArrayFile, budget: int = 16 << 20) -> Iterator[npt.NDArray[Any]]:
    """The bytes of an array in pieces of about ``budget`` bytes, in their order."""
    if 0 in array.shape:
        return
    columns = array.shape[-1]
    rows = prod(array.shape[:-1])
    row_step = max(1, budget // columns)
    for r0 in range(0, rows, row_step):
        r1 = min(rows, r0 + row_step)
        step = columns if r1 - r0 > 1 else min(columns, budget)
        for c0 in range(0, columns, step):
            yield array.read(r0, r1, c0, min(columns, c0 + step))


@dataclass(frozen=True)
class _Manifest:
    geometry: Geometry
    files: dict[str, dict[str, Any]]


def _parse(path: StrPath, text: bytes) -> _Manifest:
    """Read sparse.json; every key is demanded, no other is allowed."""
    try:
        about = stdlib.json.loads(decoded(path, text, "JSON"))
    except FileFormatError:
        raise
    except (ValueError, RecursionError) as error:
        raise FileFormatError(path, f"is no JSON: {error}") from error
    keys = {"schema", "kind", "shape", "layout", "files"}
    if not isinstance(about, dict) or about.get("schema") != _SCHEMA:
        found = about.get("schema") if isinstance(about, dict) else None
        raise FileFormatError(path, f"schema {found!r}; this version reads {_SCHEMA}")
    _demand_keys(path, "the manifest", about, keys)
    try:
        geometry = Geometry(_sizes(path, "shape", about["shape"]), about["kind"], about["layout"])
    except FileFormatError:
        raise
    except Cube24Error as error:
        raise FileFormatError(path, str(error)) from error
    _demand_keys(path, "files", about["files"], set(_DTYPES))
    files = {}
    for role, dtype in _DTYPES.items():
        entry = about["files"][role]
        suffix = _suffix(path, role, entry)
        words = {"word_bytes", "order", "words"} if suffix == ".hex" else set()
        _demand_keys(path, f"files.{role}", entry, {"name", "dtype", "shape", "sha256"} | words)
        shape = _sizes(path, f"files.{role}.shape", entry["shape"])
        if entry["dtype"] != str(dtype) or shape != _shape(geometry, role):
            raise FileFormatError(
                path,
                f"files.{role}: {entry['dtype']} {shape}, but a {geometry.kind} weight of shape "
                f"{geometry.shape} in layout {geometry.layout} has {dtype} "
                f"{_shape(geometry, role)}",
            )
        if words:
            if type(entry["word_bytes"]) is not int:
                raise FileFormatError(path, f"files.{role}.word_bytes is not a whole number")
            try:
                check_words(entry["word_bytes"], entry["order"])
            except ArgumentError as error:
                raise FileFormatError(path, f"files.{role}: {error}") from error
            expected = ceil_div(prod(shape), entry["word_bytes"])
            if type(entry["words"]) is not int or entry["words"] != expected:
                raise FileFormatError(
                    path,
                    f"files.{role}.words is {entry['words']!r}, but the shape takes {expected}",
                )
        files[role] = entry
    return _Manifest(geometry, files)


def _suffix(path: StrPath, role: str, entry: object) -> str:
    name = entry.get("name") if isinstance(entry, dict) else None
    known = (f"{role}.npy", f"{role}.hex", f"{role}.bin")
    if name not in known:
        # A name is never a path: a manifest must not make us read elsewhere.
        raise FileFormatError(path, f"files.{role}.name {name!r}; it is one of {', '.join(known)}")
    return Path(str(name)).suffix


def _demand_keys(path: StrPath, what: str, value: object, keys: set[str]) -> None:
    if not isinstance(value, dict):
        raise FileFormatError(path, f"{what} is {type(value).__name__}, not an object")
    if missing := sorted(keys - value.keys()):
        raise FileFormatError(path, f"{what} lacks {', '.join(missing)}")
    if unknown := sorted(value.keys() - keys):
        raise FileFormatError(path, f"{what} has the unknown key {', '.join(unknown)}")


def _sizes(path: StrPath, what: str, value: object) -> tuple[int, ...]:
    if not isinstance(value, list) or not all(type(size) is int and size >= 0 for size in value):
        raise FileFormatError(path, f"{what} is not a list of sizes")
    return tuple(value)
