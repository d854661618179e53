"""Damage: what a negative case has in its copy, and how the error that it must give is provoked.

A negative case is a good case with a damaged copy of itself in ``bad/``: a whole folder with its
own manifest, in one format. All but one thing in it is right; checksums are those of the damaged
files, unless the checksum is the thing. ``provoke`` reads the copy as a user does: the manifest,
the checksums, the arrays; then it encodes the weight, decodes the bytes strictly, or gives them to
the unit, as the case says.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from cube24.encoder import (
    C0,
    DENSE_K0,
    GROUP,
    INDEX_K0,
    Geometry,
    RefusedError,
    SparseWeight,
    ViolationError,
    decode,
    encode,
    encode_conv,
)
from cube24.errors import (
    ArgumentError,
    Cube24Error,
    FileAccessError,
    FileFormatError,
    ShapeError,
    StrPath,
)
from cube24.files import npy_header
from cube24.simulator import IllegalIndexError
from cube24.vectors import plain
from cube24.vectors.case import Array, Case, compute
from cube24.vectors.files import READABLE, CaseStyle, digest, payload_of, render
from cube24.vectors.manifest import (
    MANIFEST,
    Stored,
    check_files,
    files_of,
    json_text,
    load,
    seal_of,
    sealed,
)
from cube24.vectors.rng import shown
from cube24.vectors.spec import is_conv, kind_of, unit_of

#: The folder of the damaged copy, in that of the case.
FOLDER = "bad"

#: The roles that hold arrays, in the order in which they are read.
ARRAYS = ("weights", "dense", "index", "activations", "bias", "requant", "expected")

#: The version in the files of a damaged copy: none, so that every version writes the same bytes.
NO_VERSION = "0.0.0"


@dataclass
class _Copy:
    """A damaged copy in the making: of a role, in a format."""

    case: Case
    role: str
    format: str
    files: dict[str, bytes]
    manifest: dict[str, Any]

    @property
    def entry(self) -> dict[str, Any]:
        """The entry of the file of the role."""
        found: dict[str, Any] = next(e for e in self.manifest["files"] if e["role"] == self.role)
        return found

    @property
    def name(self) -> str:
        """The file of the role."""
        return str(self.entry["name"])


@dataclass(frozen=True)
class Damage:
    """A kind of damage.

    Attributes: error, that reading must give; by, who finds it: ``read`` (manifest, checksums and
    arrays), ``encode`` (the weight), ``decode`` (strictly) or ``unit``; formats that can have it;
    roles of the files that can, the first one being the usual one; of_array, what it makes of the
    array, for damage that any format can hold; of_files, what it does to the copy; fixed, whether
    the checksum is put right again.
    """

    error: type[Exception]
    by: str
    formats: tuple[str, ...] = READABLE
    roles: tuple[str, ...] = ("dense", "index", "activations", "weights", "expected")
    of_array: Callable[[Case, Array], Array] | None = None
    of_files: Callable[[_Copy], None] | None = None
    fixed: bool = True


# --- damage to arrays -----------------------------------------------------------------------------


def _geometry(case: Case) -> Geometry:
    shape = case.pieces["weights"].array.shape
    return Geometry(shape, kind_of(case.spec), case.spec["layout"])


def _set_pair(geometry: Geometry, index: Array, row: int, group: int, pair: int) -> Array:
    """The index with one pair set to i0 + 4 * i1."""
    data = np.array(index)
    at, bits = geometry.offset(0, row, group, INDEX_K0), 4 * (group % 2)
    flat = data.reshape(-1)
    flat[at] = int(flat[at]) & ~(15 << bits) | pair << bits
    return data


def _set_slots(
    geometry: Geometry, dense: Array, row: int, group: int, slots: tuple[int, int]
) -> Array:
    data = np.array(dense)
    at = geometry.offset(0, row, group, DENSE_K0)
    data.reshape(-1)[at : at + 2] = slots
    return data


def _index3(case: Case, index: Array) -> Array:
    """Slot 1 of group 0 of the last row selects nothing."""
    geometry = _geometry(case)
    return _set_pair(geometry, index, geometry.n - 1, 0, 3 << 2)


def _conflict_index(case: Case, index: Array) -> Array:
    """Both slots of group 0 of the last row select element 1."""
    geometry = _geometry(case)
    return _set_pair(geometry, index, geometry.n - 1, 0, 1)


def _conflict_dense(case: Case, dense: Array) -> Array:
    geometry = _geometry(case)
    return _set_slots(geometry, dense, geometry.n - 1, 0, (5, -7))


def _padding(case: Case) -> tuple[int, int]:
    """Row and group of the last padding of a weight.

    Raises:
        ArgumentError: it has none.
    """
    geometry = _geometry(case)
    last = geometry.k_stored // GROUP - 1
    if geometry.n_stored > geometry.n:
        return geometry.n_stored - 1, last
    if geometry.k_stored - geometry.k >= GROUP:
        return geometry.n - 1, last
    if geometry.kind == "conv" and -geometry.shape[1] % C0 >= GROUP:
        return geometry.n - 1, geometry.k // GROUP - 1
    raise ArgumentError(f"change {case.spec['change']!r}: this weight has no padding")


def _padding_dense(case: Case, dense: Array) -> Array:
    return _set_slots(_geometry(case), dense, *_padding(case), (0, 1))


def _padding_index(case: Case, index: Array) -> Array:
    return _set_pair(_geometry(case), index, *_padding(case), 1)


def _nonzeros(case: Case, weight: Array, count: int) -> Array:
    """So many non-zeros in the last row: the last ones of its first group."""
    data = np.array(weight)
    if data.shape[1] < GROUP:
        raise ArgumentError(f"change {case.spec['change']!r}: this weight has no whole group")
    # For a convolution, channels 0 to 3 at the first tap.
    data.reshape(*data.shape[:2], -1)[-1, :GROUP, 0] = [0] * (GROUP - count) + [9, -8, 7, 1][:count]
    return data


def _reshaped(case: Case, array: Array) -> Array:
    """The same bytes with the last two sizes exchanged."""
    rows, columns = array.shape[-2:]
    if rows == columns or array.ndim == 5:
        raise ArgumentError(f"change {case.spec['change']!r}: nothing tells this shape from others")
    return array.reshape(*array.shape[:-2], columns, rows)


# --- damage to files ------------------------------------------------------------------------------


def _truncated(copy: _Copy) -> None:
    data = copy.files[copy.name]
    end = data[:-1].rfind(b"\n") + 1 if copy.format == "hex" else len(data) - 1
    copy.files[copy.name] = data[:end]


def _over_long(copy: _Copy) -> None:
    data = copy.files[copy.name]
    more = data[data[:-1].rfind(b"\n") + 1 :] if copy.format == "hex" else b"\0"
    copy.files[copy.name] = data + more


def _wrong_width(copy: _Copy) -> None:
    """Hex words, or the elements of a .npy, of another width."""
    array = copy.case.pieces[copy.role].array
    if copy.format == "npy":
        wide = array.astype(f"{array.dtype.kind}{2 * array.dtype.itemsize}")
        copy.files[copy.name] = npy_header(wide.shape, wide.dtype) + payload_of(wide)
        return
    width = copy.case.style.word_bytes
    width = 2 * width if width <= 2048 else width // 2  # words have up to 4096 bytes
    style = replace(copy.case.style, word_bytes=width, header=False)
    copy.files[copy.name] = render(array, "hex", style, {})


def _other_shape(copy: _Copy) -> None:
    """A .npy that says another shape than the manifest."""
    flat = copy.case.pieces[copy.role].array.reshape(-1)
    copy.files[copy.name] = npy_header(flat.shape, flat.dtype) + payload_of(flat)


def _replace_tail(copy: _Copy, tail: bytes) -> None:
    """The last digits of the last word, before its line feed."""
    copy.files[copy.name] = copy.files[copy.name][: -len(tail) - 1] + tail + b"\n"


def _undriven(copy: _Copy) -> None:
    _replace_tail(copy, b"x")


def _filling(copy: _Copy) -> None:
    """A last word that is not full, filled with ones: see _style."""
    size, style = copy.case.pieces[copy.role].array.nbytes, copy.case.style
    if not (filled := -size % style.word_bytes):
        raise ArgumentError(f"change {copy.case.spec['change']!r}: its words are all full")
    if style.order == "big":
        _replace_tail(copy, b"ff" * filled)
    else:
        kept = copy.files[copy.name][-1 - 2 * (style.word_bytes - filled) : -1]
        _replace_tail(copy, b"ff" * filled + kept)


def _checksum(copy: _Copy) -> None:
    """The lowest bit of the last byte, or of the last digit, is another one."""
    data = bytearray(copy.files[copy.name])
    if copy.format == "hex":
        data[-2] = ord("0123456789abcdef"["0123456789abcdef".index(chr(data[-2])) ^ 1])
    else:
        data[-1] ^= 1
    copy.files[copy.name] = bytes(data)


def _missing(copy: _Copy) -> None:
    del copy.files[copy.name]


def _stray(copy: _Copy) -> None:
    copy.files["stray.bin"] = b"\0"


def _schema(copy: _Copy) -> None:
    copy.manifest["schema"] = "cube24-case-999"


def _unknown_key(copy: _Copy) -> None:
    copy.manifest["comment"] = "no key of the schema"


def _unsealed(copy: _Copy) -> None:
    """Another seed, beside the checksum of the manifest with the right one: see damage."""
    copy.manifest["random"]["case_seed"] = shown(copy.case.seed ^ 1)


def _twice(copy: _Copy) -> None:
    copy.manifest["files"].append(copy.entry)


_DENSE, _INDEX, _WEIGHTS = ("dense",), ("index",), ("weights",)
_HEX = ("hex",)

#: All kinds of damage, by name.
DAMAGES: Mapping[str, Damage] = {
    "index-3": Damage(RefusedError, "decode", roles=_INDEX, of_array=_index3),
    "index-3-unit": Damage(IllegalIndexError, "unit", roles=_INDEX, of_array=_index3),
    "conflict": Damage(RefusedError, "decode", roles=_INDEX, of_array=_conflict_index),
    "three-nonzeros": Damage(
        ViolationError, "encode", roles=_WEIGHTS, of_array=partial(_nonzeros, count=3)
    ),
    "four-nonzeros": Damage(
        ViolationError, "encode", roles=_WEIGHTS, of_array=partial(_nonzeros, count=4)
    ),
    "padding": Damage(RefusedError, "decode", roles=_DENSE, of_array=_padding_dense),
    "padding-index": Damage(RefusedError, "decode", roles=_INDEX, of_array=_padding_index),
    "shape": Damage(ShapeError, "decode", roles=(*_DENSE, *_INDEX), of_array=_reshaped),
    "shape-unit": Damage(ShapeError, "unit", roles=("activations",), of_array=_reshaped),
    "shape-npy": Damage(FileFormatError, "read", formats=("npy",), of_files=_other_shape),
    "truncated": Damage(FileFormatError, "read", of_files=_truncated),
    "over-long": Damage(FileFormatError, "read", of_files=_over_long),
    "wrong-width": Damage(FileFormatError, "read", formats=("hex", "npy"), of_files=_wrong_width),
    "undriven": Damage(FileFormatError, "read", formats=_HEX, of_files=_undriven),
    "filling": Damage(FileFormatError, "read", formats=_HEX, of_files=_filling),
    "checksum": Damage(FileFormatError, "read", of_files=_checksum, fixed=False),
    "missing": Damage(FileAccessError, "read", of_files=_missing, fixed=False),
    "stray": Damage(FileFormatError, "read", of_files=_stray, formats=("bin",), roles=_DENSE),
    "schema": Damage(FileFormatError, "read", formats=_HEX, roles=_DENSE, of_files=_schema),
    "unknown-key": Damage(
        FileFormatError, "read", formats=_HEX, roles=_DENSE, of_files=_unknown_key
    ),
    "unsealed": Damage(FileFormatError, "read", formats=_HEX, roles=_DENSE, of_files=_unsealed),
    "twice": Damage(FileFormatError, "read", formats=_HEX, roles=_DENSE, of_files=_twice),
}


def damaged(case: Case) -> Case:
    """Add the damaged copy that the change of a case names, and the error that it must give.

    Raises:
        ArgumentError: there is no such damage, or the case has no place for it.
    """
    change = case.spec["change"] or {}
    what = change.get("what")
    of = DAMAGES.get(what) if isinstance(what, str) else None
    if not isinstance(what, str) or of is None:
        raise ArgumentError(f"change {change!r}: choose what of {', '.join(DAMAGES)}")
    role, format_ = change.get("role", of.roles[0]), change.get("format", of.formats[0])
    if not change.keys() <= {"kind", "what", "role", "format"} or (
        role not in of.roles or format_ not in of.formats or role not in case.pieces
    ):
        raise ArgumentError(
            f"change {change!r}: this one takes a role of {', '.join(of.roles)} and a format of "
            f"{', '.join(of.formats)}"
        )
    outcome = {"kind": "error", "error": of.error.__name__}
    pieces = dict(case.pieces)
    if of.of_array is not None:
        pieces[role] = replace(pieces[role], array=of.of_array(case, pieces[role].array))
        if what == "conflict":
            dense = pieces["dense"]
            pieces["dense"] = replace(dense, array=_conflict_dense(case, dense.array))
    style = _style(case, what, role, format_)
    bad = replace(case, pieces=pieces, style=style, outcome=outcome)
    files = files_of(bad, NO_VERSION)
    copy = _Copy(bad, role, format_, files, json.loads(files.pop(MANIFEST)))
    if of.of_files is not None:
        of.of_files(copy)
    if of.fixed:
        for entry in copy.manifest["files"]:
            entry["sha256"] = digest(files[entry["name"]])
    name = seal_of(copy.manifest)
    seal = copy.manifest.pop(name)
    if what == "unsealed":
        files[MANIFEST] = json_text({**copy.manifest, name: seal})
    else:
        files[MANIFEST] = sealed(copy.manifest)
    extra = {f"{FOLDER}/{name}": data for name, data in files.items()}
    return replace(case, extra={**case.extra, **extra}, outcome=outcome)


def _style(case: Case, what: str, role: str, format_: str) -> CaseStyle:
    """The style of the case in one format; where the last word is to be filled, with such words."""
    width = case.style.word_bytes_of(role)
    if what == "filling":
        width = max(width, 2)
        while case.pieces[role].array.nbytes % width == 0:
            width += 1
    of = case.style
    return CaseStyle((format_,), width, of.order, of.header, manifest=of.manifest)


# --- reading it -----------------------------------------------------------------------------------


def provoke(folder: StrPath) -> str:
    """Read the damaged copy of a negative case; gives the name of the error, "" if there is none.

    Raises:
        FileFormatError, FileAccessError: the case itself cannot be read.
        ArgumentError: it is no negative case.
    """
    return provoked(load(folder))


def provoked(stored: Stored) -> str:
    """The same of a case that has been opened.

    Raises:
        ArgumentError, FileAccessError: as for :func:`provoke`.
    """
    by = _reader(stored)
    try:
        read(stored.folder / FOLDER, by)
    except Exception as error:  # of another class: what the case must give it is not
        if isinstance(error, Cube24Error) and plain.is_no_verdict(error):
            raise
        return type(error).__name__
    return ""


def _reader(stored: Stored) -> str:
    change = stored.spec["change"] or {}
    if change.get("kind") != "negative" or change.get("what") not in list(DAMAGES):
        raise ArgumentError(f"{stored.folder}: is no negative case; its change is {change!r}")
    return DAMAGES[change["what"]].by


def read(folder: StrPath, by: str) -> None:
    """Read the folder of a case and use it, as a bench does.

    Args:
        folder: of the case, or of its damaged copy.
        by: ``read``: manifest, checksums, arrays; ``encode``: and encode the weight; ``decode``:
            and decode the bytes strictly; ``unit``: and run the unit.

    Raises:
        Cube24Error: what there is to refuse.
    """
    stored = load(folder)
    check_files(stored)
    arrays = {role: stored.array(role) for role in ARRAYS if stored.entries(role)}
    spec = stored.spec
    if by == "encode":
        (encode_conv if is_conv(spec) else encode)(arrays["weights"])
    elif by == "decode":
        shape = arrays["weights"].shape
        sparse = SparseWeight(
            arrays["dense"], arrays["index"], shape, spec["layout"], kind_of(spec)
        )
        decode(sparse, strict=True)
    elif by == "unit":
        compute(spec, unit_of(spec), arrays)
