"""Cases from arrays of the user's own, and stored cases in another style.

All numbers of a layer stand in the spec itself, as base64, so a case can be made again and shrunk
from its manifest alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from cube24.encoder import Layout
from cube24.errors import ArgumentError, DtypeError, ShapeError, StrPath
from cube24.simulator import Conv2d, Requant, Unit, UnitConfig
from cube24.sizes import plain, shown, whole
from cube24.vectors import spec_check
from cube24.vectors.build import build
from cube24.vectors.case import Array, Case
from cube24.vectors.files import CaseStyle
from cube24.vectors.fill import inline, inline_weights
from cube24.vectors.manifest import check_files, load
from cube24.vectors.spec import Item, Spec, conv2d, matmul, unit_fields

#: The suite of cases that are made of arrays, and its version.
SUITE, VERSION = "arrays", 1

#: What only a convolution has, as a matrix multiplication is given it.
_NONE: Mapping[str, Any] = {
    "strides": (1, 1),
    "pads": (0, 0, 0, 0),
    "dilations": (1, 1),
    "offset_x": 0,
}


def from_arrays(
    weights: Array,
    activations: Array,
    bias: Array | None = None,
    requant: Array | None = None,
    *,
    name: str,
    offset: int = 0,
    signed: bool = True,
    mode: str = "REQ8",
    relu: bool | float = False,
    strides: tuple[int, int] = (1, 1),
    pads: tuple[int, int, int, int] = (0, 0, 0, 0),
    dilations: tuple[int, int] = (1, 1),
    offset_x: int = 0,
    layout: Layout = "zn",
    unit: str | StrPath | UnitConfig = "dav-2201",
    style: CaseStyle | None = None,
) -> Case:
    """A case of the user's own tensors, in the suite ``arrays``; ``write`` writes it.

    Args:
        weights: 2:4 int8, (N, K), or (Cout, Cin, Kh, Kw) of a convolution.
        activations: int8, (M, K) or (B, Cin, H, W).
        bias: int32 (N,); None: none.
        requant: floats, the scale, or uint64, whole words; one number or one a column. None: the
            results are int32.
        name: of the case.
        offset, signed: as in Requant; with words they stand in these.
        mode, relu: as in Requant.
        strides, pads, dilations, offset_x: of a convolution, as in Conv2d.
        layout: of dense and index.
        unit: a preset, or one with other fields.
        style: of the files; None: npy and hex, and a manifest of version 2.

    Raises:
        ArgumentError: a name that no case can have, a unit that is no preset, a size beyond what a
            case can have, or words that one Requant does not give.
        DtypeError, ShapeError: arrays of other types, or that do not fit each other.
        ViolationError: the weight is not 2:4.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}", str(name)):
        raise ArgumentError(
            f"case name {shown(name)}: it has letters, digits, dots, - and _, and begins with one "
            f"of the first two"
        )
    w, x = _typed("weights", weights, np.int8), _typed("activations", activations, np.int8)
    if w.ndim not in (2, 4) or x.ndim != w.ndim or x.shape[1] != w.shape[1]:
        raise ShapeError(
            f"weights {w.shape} and activations {x.shape} do not fit: they are (N, K) and (M, K), "
            f"or (Cout, Cin, Kh, Kw) and (B, Cin, H, W)"
        )
    if not w.size or not x.size:
        raise ShapeError(f"weights {w.shape} and activations {x.shape}: a case has no size of 0")
    config = Unit(unit).config
    fields = unit_fields(config)
    if fields is None:
        raise ArgumentError(f"unit {config.name!r} is no preset, and a manifest names one")
    how = None
    if requant is not None:
        how = _requant(np.asarray(requant), len(w), config, offset, signed, mode, relu)
    elif (offset, signed, mode, relu) != (0, True, "REQ8", False):
        raise ArgumentError("offset, signed, mode and relu are of a requantisation; there is none")
    rest: dict[str, Any] = {
        "weights": inline_weights(w), "activations": inline(x),
        "bias": None if bias is None else _column("bias", _typed("bias", bias, np.int32), len(w)),
        "requant": how, "layout": layout, **fields,
    }  # fmt: skip
    if layout not in ("nd", "zn"):
        raise ArgumentError(f"layout {shown(layout)}: choose nd or zn")
    geometry: dict[str, Any] = {
        "strides": strides, "pads": pads, "dilations": dilations, "offset_x": offset_x,
    }  # fmt: skip
    if w.ndim == 2:
        if geometry != _NONE:
            raise ArgumentError("strides, pads, dilations and offset_x are of a convolution")
        spec: Spec = matmul(len(x), len(w), w.shape[1], **rest)
    else:
        batch, cin, h, width = x.shape
        of = Conv2d(batch, cin, h, width, len(w), (w.shape[2], w.shape[3]), **geometry)
        spec = conv2d(
            of.cin, of.cout, (of.h, of.w), of.kernel, batch=of.batch, strides=of.strides,
            pads=of.pads, dilations=of.dilations, offset_x=of.offset_x, **rest,
        )  # fmt: skip
    spec_check.check(spec)
    style = CaseStyle(manifest=2) if style is None else style
    if not isinstance(style, CaseStyle):
        raise ArgumentError(f"style is {shown(style)}; it takes a CaseStyle")
    return build(SUITE, VERSION, Item(name, spec, ("arrays",)), 0, style)


def _typed(name: str, array: Array, dtype: type[np.generic]) -> Array:
    found = np.asarray(array)
    if found.dtype != dtype:
        raise DtypeError(f"{name} has dtype {found.dtype}; it takes {np.dtype(dtype)}")
    return found


def _column(name: str, array: Array, n: int) -> list[Any]:
    """One number a column, as a list."""
    if array.shape != (n,):
        raise ShapeError(f"{name} has shape {array.shape}; it takes one number a column, ({n},)")
    return list(array.tolist())


def _requant(
    given: Array, n: int, config: UnitConfig, offset: int, signed: bool, mode: str,
    relu: bool | float,
) -> dict[str, Any]:  # fmt: skip
    """The fields of the requantisation, as they stand in a spec."""
    slope: Any = plain(relu)
    if given.dtype.kind == "f":
        given = given.astype(np.float64)
        scale: Any = given.tolist() if given.ndim == 0 else _scale(given, n)
        how = Requant(np.array(scale) if given.ndim else scale, offset, signed, slope, mode)
        return {
            "scale": scale, "offset": whole(offset, "offset"), "signed": how.signed, "relu": slope,
            "mode": mode,
        }  # fmt: skip
    if given.dtype != np.uint64:
        raise DtypeError(f"requant has dtype {given.dtype}; it takes float scales or uint64 words")
    if (offset, bool(signed)) != (0, True):
        raise ArgumentError("offset and signed stand in the words of requant")
    return _of_words(given.reshape(-1), n, config, mode, slope)


def _scale(given: Array, n: int) -> Any:
    """The scale: one number, or one a column."""
    return given.reshape(-1).tolist()[0] if given.shape == (1,) else _column("requant", given, n)


def _of_words(
    words: Array, n: int, config: UnitConfig, mode: str, relu: bool | float
) -> dict[str, Any]:
    """The fields that give these words; refused where none do."""
    if words.size not in (1, n):
        raise ShapeError(f"requant has {words.size} words; it takes one, or one a column, {n}")

    def bits(low: int, count: int) -> Array:
        return (words >> np.uint64(low) & np.uint64((1 << count) - 1)).astype(np.int64)

    scale = bits(0, 32).astype(np.uint32).view(np.float32).astype(np.float64)
    shift = bits(36, 1) * (bits(32, 4) + (config.requant_shift == "n+1"))
    offset = bits(37, 9)
    if config.requant_offset == "signed":
        offset = (offset ^ 256) - 256
    fields: dict[str, Any] = {
        "scale": scale.tolist(), "offset": offset.tolist(), "signed": bool(bits(46, 1)[0]),
        "relu": relu, "mode": mode, "shift": int(shift[0]),
    }  # fmt: skip
    if words.size == 1:
        fields |= {"scale": fields["scale"][0], "offset": fields["offset"][0]}
    made = Requant(
        **{**fields, **{name: np.array(fields[name]) if words.size > 1 else fields[name]
                        for name in ("scale", "offset")}}
    ).words(config)  # fmt: skip
    if made.size != words.size or (other := np.flatnonzero(made != words)).size:
        at = int(other[0]) if made.size == words.size else 0
        raise ArgumentError(
            f"requant: word {at} is {int(words[at]):#018x}, where its fields give "
            f"{int(made[at]):#018x}: all columns have one sign, one shift and no other bits"
        )
    return fields


def restyled(folder: StrPath) -> Case:
    """A stored case again, in the style that it has, and with the files of a bench.

    Args:
        folder: of the case.

    Raises:
        FileFormatError, FileAccessError: as for ``load``, or a file is not what its manifest says.
        ArgumentError: words that a memory image cannot have.
    """
    stored = load(folder)
    check_files(stored)
    of, style = stored.manifest, stored.style
    formats = style.formats if "hex" in style.formats else (*style.formats, "hex")
    style = replace(style, formats=formats, bench=True, manifest=2)
    item = Item(of["case"], of["spec"], tuple(of["tags"]))
    with stored.explained("spec"):
        return build(of["suite"], of["suite_version"], item, of["random"]["campaign_seed"], style)
