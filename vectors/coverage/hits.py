"""Coverage: which bins a case hits.

The bins are read off the bytes that a device reads and the sums that follow from them, not off the
rules that filled the arrays, so that a case made by hand counts like any other. A changed case
counts by its change and outcome only: what its arrays hold was counted with the good one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from cube24.encoder import C0, GROUP, N0, ZN_K
from cube24.simulator import UnitConfig, isa
from cube24.sizes import ceil_div
from cube24.vectors.case import Case
from cube24.vectors.coverage.table import (
    BINS,
    CLASSES,
    PATTERNS,
    POINTS,
    STALLS,
    UNREACHABLE,
    Point,
    Table,
    is_bin,
    of_folder,
)

__all__ = ["BINS", "POINTS", "UNREACHABLE", "Point", "Table", "bins", "is_bin", "of_folder"]

Array = npt.NDArray[Any]

_LOW, _HIGH = -(1 << 31), (1 << 31) - 1
_PER_ROW = ZN_K // GROUP  # groups of a row of a fractal

#: The class of each int8, by its byte.
_CLASS = np.array(
    [3, 4, *[5] * 125, 6, 0, *[1] * 126, 2], np.uint8
)  # 0, 1, 2 to 126, 127, -128, -127 to -2, -1

#: The pattern of each mask with at most two bits, bit i for element i.
_PATTERN = np.zeros(16, np.int64)
for _number, _pattern in enumerate(PATTERNS):
    _PATTERN[sum(1 << i for i in range(GROUP) if _pattern[i] != "0")] = _number

_NAMES: Mapping[str, tuple[str, ...]] = {
    point.name: tuple(f"{point.name}/{bin_}" for bin_ in point.bins) for point in POINTS
}


def bins(case: Case) -> tuple[str, ...]:
    """The bins that a case hits, sorted."""
    spec, found = case.spec, {f"outcome/{case.outcome['kind']}"}
    if spec["change"] is not None:
        return tuple(sorted(found | set(_change(spec["change"]))))
    arrays = {role: piece.array for role, piece in case.pieces.items()}
    weight = _weight(case, arrays)
    rows = _rows(case, arrays["activations"])
    found.update(_of_weight(weight))
    found.update(_of_activations(case, arrays["activations"], rows, weight))
    found.update(_of_shape(case))
    bias = arrays.get("bias")
    found.update(_of_bias(bias))
    words = arrays.get("requant")
    found.update(_of_sums(case, rows, weight, bias, words))
    for account in case.run.pipes.values():
        found.update(f"stall/{stall(cause)}" for cause in account.waits)
    return tuple(sorted(found))


def _change(change: Mapping[str, Any]) -> Iterator[str]:
    """The kind of a change, and the array that it is made in."""
    if "kind" in change:
        yield f"change/{change['kind']}"
        if "role" in change:
            yield f"change/{change['kind']}.{change['role']}"


def stall(cause: str) -> str:
    """The bin of what a pipe waited for, in the words of timing.py."""
    if said := re.fullmatch(r"[A-Z0-9]+>[A-Z0-9]+#\d+ \((.*)\)", cause):
        name = said[1].replace(" ", "-")
    elif said := re.fullmatch(r"queue of (\w+) full", cause):
        name = f"queue-{said[1]}"
    else:
        name = {"hand-over": "hand-over", "unit": "unit-flag"}.get(cause.split(" ")[0], "other")
    return name if name in STALLS else "other"


def _hits(point: str, codes: Array) -> Iterator[str]:
    """The bins of a coverpoint by their numbers."""
    names = _NAMES[point]
    for code in np.flatnonzero(np.bincount(codes.ravel(), minlength=len(names))):
        yield names[code]


def _any(point: str, **found: Any) -> Iterator[str]:
    """The bins of which something is true; _ stands for -."""
    return (f"{point}/{name.replace('_', '-')}" for name, is_ in found.items() if np.any(is_))


# --- the weight -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Weight:
    """A weight as it stands in the bytes, with its padding along K.

    values: (n, groups, 2), what the slots hold. pairs: (n, groups, 2), i0 and i1. selected:
    (n, groups, 2), the k that the slots select. live: (n, groups, 2), whether they select
    anything. there: numbers of the groups that are not padding.
    """

    values: Array
    pairs: Array
    selected: Array
    live: Array
    there: Array

    @property
    def matrix(self) -> npt.NDArray[np.float64]:
        """The weight that it stands for, (n, k) with padding."""
        n, groups, _ = self.values.shape
        full = np.zeros((n, GROUP * groups), np.float64)
        column = np.arange(n)[:, None]
        for slot in (0, 1):  # within one slot no element is selected twice
            kept = np.where(self.live[..., slot], self.values[..., slot], 0)
            full[column, self.selected[..., slot]] += kept
        return full


def _weight(case: Case, arrays: Mapping[str, Array]) -> _Weight:
    size = case.spec["sizes"]
    conv = case.spec["operation"] == "conv2d"
    n = size["cout"] if conv else size["n"]
    dense, index = arrays["dense"], arrays["index"]
    if case.spec["layout"] == "zn":
        dense, index = (
            x.transpose(1, 2, 0, 3).reshape(N0 * x.shape[1], -1)[:n] for x in (dense, index)
        )
    values = dense.reshape(n, -1, 2)
    nibbles = np.stack([index & 15, index >> 4], axis=-1).reshape(n, -1)
    pairs = np.stack([nibbles & 3, nibbles >> 2], axis=-1)
    element = pairs + np.array([0, 1], np.uint8)
    if case.unit.pair20 == "table":
        element[..., 1][nibbles == 2] = 2
    live = pairs < 3
    groups = np.arange(values.shape[1])
    selected = GROUP * groups[:, None] + np.where(live, element, 0)
    if conv:
        block, place = np.divmod(groups, C0 // GROUP)
        taps = size["kernel"][0] * size["kernel"][1]
        there = groups[block // taps * C0 + GROUP * place < size["cin"]]
    else:
        there = groups[: ceil_div(size["k"], GROUP)]
    return _Weight(values, pairs, selected, live, there)


def _of_weight(weight: _Weight) -> Iterator[str]:
    values, pairs = weight.values[:, weight.there], weight.pairs[:, weight.there]
    kept = (values != 0) & weight.live[:, weight.there]
    element = weight.selected[:, weight.there] % GROUP
    mask = (kept[..., 0] << element[..., 0]) | (kept[..., 1] << element[..., 1])
    pattern = _PATTERN[mask]
    classes = _CLASS[values.view(np.uint8)]
    slots = 2 * pattern[..., None] + np.arange(2)
    yield from _hits("value", len(CLASSES) * slots + classes)
    yield from _hits("pair", 4 * pairs[..., 0].astype(np.int64) + pairs[..., 1])
    yield from _hits("pos", 16 * pattern + weight.there % _PER_ROW)
    yield from _hits("col", 16 * pattern + np.arange(len(pattern))[:, None] % N0)


# --- the activations ------------------------------------------------------------------------------


def _rows(case: Case, x: Array) -> npt.NDArray[np.int8]:
    """What the cube multiplies: rows of activations in the order of k."""
    size = case.spec["sizes"]
    if case.spec["operation"] != "conv2d":
        return x
    (kh, kw), (top, left, bottom, right) = size["kernel"], size["pads"]
    ho, wo = _positions(size)
    x = np.pad(
        x, ((0, 0), (0, 0), (top, bottom), (left, right), (0, 0)), constant_values=size["offset_x"]
    )
    (down, along), (sh, sw) = size["dilations"], size["strides"]
    columns = np.empty((x.shape[0], ho, wo, x.shape[1], kh, kw, C0), np.int8)
    for row in range(kh):
        for column in range(kw):
            y, z = row * down, column * along
            taken = x[:, :, y : y + (ho - 1) * sh + 1 : sh, z : z + (wo - 1) * sw + 1 : sw]
            columns[:, :, :, :, row, column] = taken.transpose(0, 2, 3, 1, 4)
    return columns.reshape(x.shape[0] * ho * wo, -1)


def _positions(size: Mapping[str, Any]) -> tuple[int, int]:
    """Height and width of the result of a convolution."""
    top, left, bottom, right = size["pads"]
    padded = (size["h"] + top + bottom, size["w"] + left + right)
    ho, wo = (
        (padded[i] - (size["kernel"][i] - 1) * size["dilations"][i] - 1) // size["strides"][i] + 1
        for i in (0, 1)
    )
    return ho, wo


def _of_activations(case: Case, x: Array, rows: Array, weight: _Weight) -> Iterator[str]:
    if case.spec["operation"] == "conv2d":  # without the channels that there are not
        x = np.moveaxis(x, 1, -2).reshape(-1, x.shape[1] * C0)[:, : case.spec["sizes"]["cin"]]
    yield from _hits("act", _CLASS[np.ascontiguousarray(x).view(np.uint8)])
    k = GROUP * weight.values.shape[1]
    # Of each k: which classes its activations have, and the slots that select it.
    seen = np.zeros((len(CLASSES), k), np.float32)
    classes = _CLASS[rows.view(np.uint8)]
    for number in range(len(CLASSES)):
        seen[number, : rows.shape[1]] = (classes == number).any(axis=0)
    seen[3, rows.shape[1] :] = 1
    wanted = np.zeros((k, len(CLASSES)), np.float32)
    live = weight.live[:, weight.there]
    held = _CLASS[np.ascontiguousarray(weight.values[:, weight.there]).view(np.uint8)]
    wanted[weight.selected[:, weight.there][live], held[live]] = 1
    yield from _hits("mul", np.flatnonzero(seen @ wanted))


# --- shapes ---------------------------------------------------------------------------------------


def _of_shape(case: Case) -> Iterator[str]:
    spec, size, plan = case.spec, case.spec["sizes"], case.run.plan
    assert plan is not None  # every size of a case is 1 or more
    yield f"op/{spec['operation']}.{spec['layout']}"
    conv = spec["operation"] == "conv2d"
    k = size["cin"] if conv else size["k"]
    if conv:
        ho, wo = _positions(size)
        m, n, length = ho * wo, size["cout"], ceil_div(k, C0) * C0 * int(np.prod(size["kernel"]))
        yield from _of_conv(size)
    else:
        m, n, length = size["m"], size["n"], k
    yield from _size("m", m, plan.tile.m)
    yield from _size("n", n, plan.tile.n)
    yield from _any(
        "k",
        group_tail=k % GROUP,
        nibble_tail=ceil_div(length, GROUP) % 2,
        fractal_tail=length % ZN_K,
        whole=length % ZN_K == 0,
        one=length <= ZN_K,
        more=length > ZN_K,
        mmads=length > min(plan.tile.k, plan.chunk),
        loads=length > plan.chunk,
    )


def _size(point: str, size: int, tile: int) -> Iterator[str]:
    tail = size % N0
    if size <= N0:
        yield f"{point}/{'1' if size == 1 else '16' if size == N0 else '2-15'}"
    else:
        names = {0: "32+", 1: "17+1", N0 - 1: "17+15"}
        yield f"{point}/{names.get(tail, '17+tail')}"
    if size > tile:
        yield f"{point}/tiles"


def _of_conv(size: Mapping[str, Any]) -> Iterator[str]:
    kh, kw = size["kernel"]
    name = f"{kh}x{kw}"
    if f"kernel/{name}" not in _NAMES["kernel"]:
        name = "1xN" if kh == 1 else "Nx1" if kw == 1 else "other"
    yield f"kernel/{name}"
    for point in ("stride", "dilation"):
        one, other = size[f"{point}s"]
        if one != other:
            yield f"{point}/unequal"
        for step in (one, other):
            yield f"{point}/{step if step < 3 else 'more'}"
    pads = size["pads"]
    top, left, bottom, right = (bool(pad) for pad in pads)
    sides = top + left + bottom + right
    yield from _any(
        "pad", none=not sides, top=top, left=left, bottom=bottom, right=right, one=sides == 1,
        some=sides in (2, 3), around=sides == 4 and len(set(pads)) == 1,
    )  # fmt: skip
    if sides:
        value = size["offset_x"]
        yield f"padvalue/{'neg' if value < 0 else 'pos' if value else '0'}"
    cin = size["cin"]
    yield from _any(
        "cin", group_tail=cin % GROUP, block_tail=cin % C0, whole=cin % C0 == 0, one=cin <= C0,
        more=cin > C0,
    )  # fmt: skip
    yield f"batch/{'1' if size['batch'] == 1 else 'more'}"


# --- sums -----------------------------------------------------------------------------------------


def _of_bias(bias: Array | None) -> Iterator[str]:
    if bias is None:
        yield "bias/none"
        return
    yield from _any(
        "bias",
        min=bias == _LOW,
        neg=(bias < 0) & (bias > _LOW),
        pos=(bias > 0) & (bias < _HIGH),
        max=bias == _HIGH,
    )
    if (bias == 0).any():
        yield "bias/0"


def _of_sums(
    case: Case, rows: Array, weight: _Weight, bias: Array | None, words: Array | None
) -> Iterator[str]:
    config = case.unit
    how = f"{config.overflow}.{config.grain}"
    start = np.zeros(1, np.int64) if bias is None else bias.astype(np.int64)
    # A product is 2^14 at most, and a group has two.
    most = int(np.abs(start).max()) + weight.values.shape[1] * 2 * (1 << 14)
    if words is None:
        yield "rq/none"
        if most <= _HIGH:
            yield f"sum/none.{how}"
            return
    ends = [GROUP * weight.values.shape[1]] if most <= _HIGH else _ends(case, weight)
    total, high, low = accumulate(rows, weight.matrix, start, ends, config.overflow)
    yield from (f"sum/{name}.{how}" for name in _signs(high, low))
    rule = case.spec["requant"]
    if words is not None and rule is not None:
        yield from _of_requant(total, words, rule, config)


def _signs(high: bool, low: bool) -> list[str]:
    return [name for name, is_ in (("pos", high), ("neg", low)) if is_] or ["none"]


def _ends(case: Case, weight: _Weight) -> list[int]:
    """The k, ascending, after which the unit adds to its accumulator."""
    k = GROUP * weight.values.shape[1]
    if case.unit.grain == "step":
        return [*range(ZN_K, k, ZN_K), k]
    ends, at = [], 0
    for instruction in case.run.program.instructions:
        if isinstance(instruction, isa.Mmad) and at < k:
            ends.append(min(at := at + instruction.k, k))
            if case.run.plan is not None and at >= case.run.plan.problem.k:
                break
    return [*ends[:-1], k]


def accumulate(
    rows: Array, matrix: Array, start: Array, ends: list[int], overflow: str
) -> tuple[npt.NDArray[np.int64], bool, bool]:
    """Accumulators (rows, n), and whether one went above and below what int32 holds.

    Args:
        rows: activations. matrix: (n, k), k with padding. start: the bias, (n,) or (1,).
        ends: the k after which sums are added. overflow: ``saturate`` or ``wrap``.
    """
    x = np.zeros((len(rows), matrix.shape[1]), np.float64)  # exact: sums are below 2^53
    x[:, : rows.shape[1]] = rows
    total = np.broadcast_to(start, (len(rows), len(matrix))).astype(np.int64)
    high = low = False
    for begin, end in pairwise([0, *ends]):
        total = total + (x[:, begin:end] @ matrix[:, begin:end].T).astype(np.int64)
        high, low = high or bool((total > _HIGH).any()), low or bool((total < _LOW).any())
        if overflow == "saturate":
            total = np.clip(total, _LOW, _HIGH)
        else:
            total = total.astype(np.uint64).astype(np.uint32).view(np.int32).astype(np.int64)
    return total, high, low


# --- requantisation -------------------------------------------------------------------------------


def _of_requant(
    sums: npt.NDArray[np.int64], words: Array, rule: Mapping[str, Any], config: UnitConfig
) -> Iterator[str]:
    mode, relu = rule.get("mode", "REQ8"), rule.get("relu", False)
    kind = ("relu" if relu else "none") if isinstance(relu, bool) else "leaky"
    yield f"rq/{mode}.{'one' if len(words) == 1 else 'column'}"
    scale = (words & np.uint64(0xFFFF_E000)).astype(np.uint32).view(np.float32)
    sub = (scale != 0) & (np.abs(scale) < np.finfo(np.float32).tiny)
    yield from _any("scale", neg=scale < 0, sub=sub, pos=(scale > 0) & ~sub)
    if (scale == 0).any():
        yield "scale/0"
    x = sums
    if mode == "REQ8":
        mcb = _field(words, 36, 1).astype(bool)
        shift = _field(words, 32, 4) + (config.requant_shift == "n+1")
        yield from _of_shift(sums, mcb, shift, config)
        shifted = np.clip(sums >> shift, -(1 << 15), (1 << 15) - 1)
        x = np.where(mcb, shifted, sums)
    singles = x.astype(np.float32)
    yield from _nearest("cvt/", x.astype(np.float64), singles)
    for sign, is_ in (("neg", x < 0), ("0", x == 0), ("pos", x > 0)):
        if is_.any():
            yield f"relu/{mode}.{kind}.{sign}"
    below = scale if kind == "none" else np.float32(0 if kind == "relu" else relu)
    with np.errstate(over="ignore"):
        y = (singles * np.where(singles < 0, below, scale)).astype(np.float64)
    if mode == "REQ8":
        yield from _of_bytes(y, words, config)
    else:
        yield from _of_halves(y)


def _field(words: Array, bit: int, width: int) -> npt.NDArray[np.int64]:
    return (words >> np.uint64(bit) & np.uint64((1 << width) - 1)).astype(np.int64)


def _of_shift(sums: Array, mcb: Array, shift: Array, config: UnitConfig) -> Iterator[str]:
    yield from _any("shift", none=~mcb)
    if not mcb.any():
        return
    yield f"reading/shift.{config.requant_shift}"
    for name, is_ in (("1", shift == 1), ("2-15", (shift > 1) & (shift < 16)), ("16", shift == 16)):
        if (is_ & mcb).any():
            yield f"shift/{name}"
    moved = sums >> shift
    dropped = mcb & (moved << shift != sums)
    yield from _any(
        "shift",
        drop_neg=dropped & (sums < 0),
        drop_pos=dropped & (sums > 0),
        low=mcb & (moved < -(1 << 15)),
        high=mcb & (moved >= 1 << 15),
    )


def _of_bytes(y: Array, words: Array, config: UnitConfig) -> Iterator[str]:
    """What rounding and saturation do in REQ8."""
    offset = _field(words, 37, 9)
    if offset.any():
        yield f"reading/offset.{config.requant_offset}"
    least, most = 0, 511
    if config.requant_offset == "signed":
        least, most = -256, 255
        offset = np.where(offset > most, offset - 512, offset)
    yield from _any(
        "offset",
        min=(offset == least) & (offset < 0),
        neg=(offset < 0) & (offset > least),
        pos=(offset > 0) & (offset < most),
        max=offset == most,
    )
    if (offset == 0).any():
        yield "offset/0"
    signed = np.broadcast_to(_field(words, 46, 1).astype(bool), y.shape[-1:])
    clamped_low, clamped_high = y < -256, y > 255
    clamped = np.clip(y, -256, 255)
    result = np.rint(clamped)
    moved = result + offset
    low = moved < np.where(signed, -128, 0)
    high = moved > np.where(signed, 127, 255)
    for format_, of in (("s8", signed), ("u8", ~signed)):
        if not of.any():
            continue
        point = f"round/{format_}"
        inside = ~clamped_low & ~clamped_high & of
        for name in _nearest("", y[inside], result[inside]):
            # Halves lie midway between integers.
            yield f"{point}.{name}"
        for name, is_ in (
            ("clamp-low", clamped_low), ("clamp-high", clamped_high), ("low", low), ("high", high),
        ):  # fmt: skip
            if (is_ & of).any():
                yield f"{point}.{name}"


def _of_halves(y: Array) -> Iterator[str]:
    """What rounding and saturation do in DEQF16."""
    low, high = y < -65504, y > 65504
    inside = y[~low & ~high]
    result = inside.astype(np.float32).astype(np.float16)
    yield from _nearest("round/f16.", inside, result)
    tiny = np.finfo(np.float16).tiny
    for name, is_ in (
        ("low", low), ("high", high), ("sub", (result != 0) & (np.abs(result) < tiny)),
        ("-0", (result == 0) & np.signbit(result)),
    ):  # fmt: skip
        if is_.any():
            yield f"round/f16.{name}"


def _nearest(prefix: str, exact: Array, rounded: Array) -> Iterator[str]:
    """How values were rounded to the nearest one of a type, or to integers (float64)."""
    error = rounded.astype(np.float64) - exact
    if rounded.dtype == np.float64:
        other = rounded - np.sign(error)
    else:  # the neighbour on the other side; of what is exact, none: the largest has none
        away = np.where(error == 0, rounded, np.copysign(np.inf, -error)).astype(rounded.dtype)
        other = np.nextafter(rounded, away).astype(np.float64)
    tie = (error != 0) & (np.abs(other - exact) == np.abs(error))
    for name, is_ in (
        ("exact", error == 0), ("tie-down", tie & (error < 0)), ("tie-up", tie & (error > 0)),
        ("below", ~tie & (error < 0)), ("above", ~tie & (error > 0)),
    ):  # fmt: skip
        if is_.any():
            yield f"{prefix}{name}"
