"""Which bins a case hits.

The bins are read off the bytes that a device reads and the sums that follow from them, not off the
rules that filled the arrays, so that a case made by hand counts like any other. A changed case
counts by its change and outcome only: what its arrays hold was counted with the good one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from cube24 import _core
from cube24.encoder import C0, GROUP, N0, ZN_K
from cube24.simulator import Conv2d, Layer, UnitConfig, isa
from cube24.sizes import ceil_div
from cube24.vectors.case import Array, Case, img2col
from cube24.vectors.coverage import foreign, width
from cube24.vectors.coverage.points import (
    CLASSES,
    PATTERNS,
    STALLS,
    any_of,
    collected,
    is_bin,
    named,
)
from cube24.vectors.coverage.rounding import of_requant
from cube24.vectors.spec import INT32_MAX, INT32_MIN, is_conv

#: The bit of the class of each int8, by its byte.
_CLASS_BIT = np.left_shift(1, [3, 4, *[5] * 125, 6, 0, *[1] * 126, 2]).astype(
    np.uint8
)  # 0, 1, 2 to 126, 127, -128, -127 to -2, -1

_TO_CLASS_BIT = _CLASS_BIT.tobytes()

#: The kinds of the patterns: foreign.py has bins of all others.
_OWN = foreign.kinds_of(np.array([[x != "0" for x in name] for name in PATTERNS], np.int8))


def bins(case: Case, version: int = 2) -> tuple[str, ...]:
    """The bins that a case hits, sorted.

    Args:
        case: any case.
        version: of a manifest: of the coverpoints that there were with it.
    """
    spec, found = case.spec, {f"outcome/{case.outcome['kind']}"}
    if spec["change"] is not None:
        return tuple(sorted(found | set(_change(spec["change"]))))
    arrays = {role: piece.array for role, piece in case.pieces.items()}
    weight = _weight(case, arrays)
    x = arrays["activations"]
    layer = _layer(case)
    rows = img2col(x, layer) if isinstance(layer, Conv2d) else x
    tally, selecting = weight.tallied
    if version >= 2:
        found.update(foreign.bins(tally["places"].tolist(), tally["columns"].tolist(), case.unit))
    flags = _of_weight(tally) | _of_activations(case, x, rows, selecting)
    found.update(_of_shape(case))
    bias = arrays.get("bias")
    found.update(_of_bias(bias))
    words = arrays.get("requant")
    start = np.zeros(1, np.int64) if bias is None else bias.astype(np.int64)
    found.update(_of_sums(case, rows, weight, start, words))
    if version >= 2:
        found.update(width.of_sums(rows, weight.matrix, start))
    for account in case.run.pipes.values():
        found.update(f"stall/{stall(cause)}" for cause in account.waits)
    return collected(found, flags)


def _layer(case: Case) -> Layer:
    assert case.run.plan is not None  # every size of a case is 1 or more
    return case.run.plan.problem.layer


def _change(change: Mapping[str, Any]) -> Iterator[str]:
    """The kind of a change, and the array that it is made in."""
    if "kind" in change:
        yield f"change/{change['kind']}"
        if "role" in change:
            yield f"change/{change['kind']}.{change['role']}"


@lru_cache(maxsize=1024)
def stall(cause: str) -> str:
    """The bin of what a pipe waited for, in the words of timing.py."""
    if said := re.fullmatch(r"[A-Z0-9]+>[A-Z0-9]+#\d+ \((.*)\)", cause):
        name = said[1].replace(" ", "-")
    elif said := re.fullmatch(r"queue of (\w+) full", cause):
        name = f"queue-{said[1]}"
    else:
        name = {"hand-over": "hand-over", "unit": "unit-flag"}.get(cause.split(" ")[0], "other")
    return name if name in STALLS else "other"


# --- the weight -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Weight:
    """A weight as it stands in the bytes, with its padding along K.

    dense: (n, k / 2). index: (n, k / 8). counted: (k / 4,), which groups are not padding. config:
    says what pairs select.
    """

    dense: npt.NDArray[np.int8]
    index: npt.NDArray[np.uint8]
    counted: npt.NDArray[np.bool_]
    config: UnitConfig

    @property
    def k(self) -> int:
        """K with padding."""
        return GROUP * self.counted.size

    @property
    def _flags(self) -> int:
        return _core.PAIR20_TABLE if self.config.pair20 == "table" else 0

    @cached_property
    def tallied(self) -> tuple[Any, npt.NDArray[np.uint8]]:
        """What its groups hold, and of each k the classes of what selects it, as bits."""
        tally, selecting = _core.tally_groups(
            self.dense, self.index, self.counted.view(np.uint8), _CLASS_BIT, self._flags
        )
        return tally[0], selecting

    @cached_property
    def matrix(self) -> npt.NDArray[np.int16]:
        """The weight that it stands for, (n, k) with padding."""
        return _core.spread_groups(self.dense, self.index, self._flags)


def _weight(case: Case, arrays: Mapping[str, Array]) -> _Weight:
    size = case.spec["sizes"]
    conv = is_conv(case.spec)
    n = size["cout"] if conv else size["n"]
    dense, index = arrays["dense"], arrays["index"]
    if case.spec["layout"] == "zn":
        dense, index = (
            x.transpose(1, 2, 0, 3).reshape(N0 * x.shape[1], -1)[:n] for x in (dense, index)
        )
    groups = np.arange(dense.shape[1] // 2)
    if conv:
        block, place = np.divmod(groups, C0 // GROUP)
        taps = size["kernel"][0] * size["kernel"][1]
        counted = block // taps * C0 + GROUP * place < size["cin"]
    else:
        counted = groups < ceil_div(size["k"], GROUP)
    return _Weight(np.ascontiguousarray(dense), np.ascontiguousarray(index), counted, case.unit)


def _of_weight(tally: Any) -> dict[str, npt.NDArray[np.bool_]]:
    """Which bins a weight hits, by their coverpoint.

    Groups that are not the encoder's own count for their pair only: foreign.py has bins of them.
    """
    places, columns, slots = (tally[name][_OWN] for name in tally.dtype.names)
    return {
        "value": _flags_of(slots, len(CLASSES)),
        "pos": _flags_of(places, 16),
        "col": _flags_of(columns, 16),
        "pair": tally["places"].reshape(-1, len(foreign.ZEROS)).any(axis=1),
    }


def _flags_of(bits: Array, count: int) -> npt.NDArray[np.bool_]:
    """The lowest bits of each number as flags, along a new axis."""
    held = bits.astype(bits.dtype.newbyteorder("<"))[..., None].view(np.uint8)
    return np.unpackbits(held, axis=-1, count=count, bitorder="little").view(bool)


# --- the activations ------------------------------------------------------------------------------


def _of_activations(
    case: Case, x: Array, rows: Array, selecting: npt.NDArray[np.uint8]
) -> dict[str, npt.NDArray[np.bool_]]:
    """Which bins activations and their products hit, by their coverpoint."""
    if is_conv(case.spec):  # without the channels that there are not
        x = x.transpose(0, 2, 3, 1, 4).reshape(-1, x.shape[1] * C0)
        x = x[:, : case.spec["sizes"]["cin"]]
    held = np.bitwise_or.reduce(np.frombuffer(x.tobytes().translate(_TO_CLASS_BIT), np.uint8))
    met = _core.tally_products(np.ascontiguousarray(rows), selecting, _CLASS_BIT)
    return {
        "act": _flags_of(held, len(CLASSES)),
        "mul": _flags_of(met[: len(CLASSES)], len(CLASSES)),
    }


# --- shapes ---------------------------------------------------------------------------------------


def _of_shape(case: Case) -> Iterator[str]:
    spec, plan, layer = case.spec, case.run.plan, _layer(case)
    assert plan is not None
    yield f"op/{spec['operation']}.{spec['layout']}"
    k, length = layer.weight[1], layer.k
    if isinstance(layer, Conv2d):
        yield from _of_conv(spec["sizes"])
    yield from _size("m", layer.m, plan.tile.m)
    yield from _size("n", layer.n, plan.tile.n)
    yield from named(
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
    if not is_bin(f"kernel/{name}"):
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
    yield from named(
        "pad", none=not sides, top=top, left=left, bottom=bottom, right=right, one=sides == 1,
        some=sides in (2, 3), around=sides == 4 and len(set(pads)) == 1,
    )  # fmt: skip
    if sides:
        value = size["offset_x"]
        yield f"padvalue/{'neg' if value < 0 else 'pos' if value else '0'}"
    cin = size["cin"]
    yield from named(
        "cin", group_tail=cin % GROUP, block_tail=cin % C0, whole=cin % C0 == 0, one=cin <= C0,
        more=cin > C0,
    )  # fmt: skip
    yield f"batch/{'1' if size['batch'] == 1 else 'more'}"


# --- sums -----------------------------------------------------------------------------------------


def _of_bias(bias: Array | None) -> Iterator[str]:
    if bias is None:
        yield "bias/none"
        return
    yield from named(
        "bias",
        min=bias == INT32_MIN,
        neg=(bias < 0) & (bias > INT32_MIN),
        pos=(bias > 0) & (bias < INT32_MAX),
        max=bias == INT32_MAX,
    )
    if any_of(bias == 0):
        yield "bias/0"


def _of_sums(
    case: Case, rows: Array, weight: _Weight, start: Array, words: Array | None
) -> Iterator[str]:
    config = case.unit
    how = f"{config.overflow}.{config.grain}"
    # A product is 2^14 at most, and a group has two.
    most = int(np.abs(start).max()) + weight.k // GROUP * 2 * (1 << 14)
    if words is None:
        yield "rq/none"
        if most <= INT32_MAX:
            yield f"sum/none.{how}"
            return
    ends = [weight.k] if most <= INT32_MAX else _ends(case, weight)
    total, high, low = accumulate(rows, weight.matrix, start, ends, config.overflow)
    yield from (f"sum/{name}.{how}" for name in _signs(high, low))
    rule = case.spec["requant"]
    if words is not None and rule is not None:
        yield from of_requant(total, words, rule, config)


def _signs(high: bool, low: bool) -> list[str]:
    return [name for name, is_ in (("pos", high), ("neg", low)) if is_] or ["none"]


def _ends(case: Case, weight: _Weight) -> list[int]:
    """The k, ascending, after which the unit adds to its accumulator."""
    k = weight.k
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
    k = rows.shape[1]
    x, columns = rows.astype(np.float64), matrix[:, :k].T.astype(np.float64)  # exact: below 2^53
    total = np.full((len(rows), len(matrix)), start, np.int64)
    high = low = False
    for begin, end in pairwise([0, *ends]):
        total = total + (x[:, begin:end] @ columns[begin:end]).astype(np.int64)
        above, below = any_of(total > INT32_MAX), any_of(total < INT32_MIN)
        high, low = high or above, low or below
        if not above and not below:
            continue
        if overflow == "saturate":
            total = np.clip(total, INT32_MIN, INT32_MAX)
        else:
            total = total.astype(np.uint64).astype(np.uint32).view(np.int32).astype(np.int64)
    return total, high, low
