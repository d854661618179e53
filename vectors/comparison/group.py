"""One output of a case, group by group: products, the running sum, and where it goes wrong.

The first mismatch of a dump is explained by a whole faulty device if one explains the dump, else by
a change of a single group that gives exactly what was got. Of such changes there may be many by
chance, so each is tried on the whole column (a change of the weight or of its index) or the whole
row (a change of an activation) of that output too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from cube24.encoder import C0, GROUP, ZN_K
from cube24.simulator import UnitConfig
from cube24.simulator.requant import Requant
from cube24.sizes import ceil_div
from cube24.vectors.case import Array
from cube24.vectors.comparison.table import (
    Device,
    Explained,
    Int,
    Problem,
    bits,
    finished,
    right,
    selected,
    spread,
)
from cube24.vectors.spec import requant_of

_LOW, _HIGH = -(1 << 31), (1 << 31) - 1
#: How many changes of a single group are tried on a whole column or row.
_TRIED = 500
#: How many groups a text shows at either end where it does not show all.
_SHOWN = 6


@dataclass(frozen=True)
class Selected:
    """The activation that a slot selects.

    value: 0 where there is none. place: its coordinates, (m, k) or (b, c, h, w); None where it is
    no element of the activations, and note says what it is then.
    """

    value: int
    place: tuple[int, ...] | None
    note: str = ""

    def __str__(self) -> str:
        """The value and where it stands."""
        place = self.note if self.place is None else _tuple(self.place)
        return f"{self.value} {place}"


@dataclass(frozen=True)
class GroupLine:
    """One group of one output.

    group, step: its numbers. i0, i1: its index pair. weights: of slot 0 and 1. activations: what
    they select. sum: start, and all products up to here; after the last group of a step as it
    stands in the accumulator. saturated: whether the accumulator saturated there.
    """

    group: int
    step: int
    i0: int
    i1: int
    weights: tuple[int, int]
    activations: tuple[Selected, Selected]
    sum: int
    saturated: bool

    def __str__(self) -> str:
        """One line for a person."""
        products = "  ".join(
            f"w{slot} {self.weights[slot]:>4} * {self.activations[slot]!s:<18}" for slot in (0, 1)
        )
        end = f"{self.sum}{' saturated' if self.saturated else ''}"
        return f"group {self.group:>4}  i0 {self.i0} i1 {self.i1}  {products}  sum {end}"


@dataclass(frozen=True)
class Fault:
    """What explains the output.

    about: in words. group: the first one in which the device does something else, or None where
    none is. whole: ``dump``, ``column`` or ``row``: what else it gives exactly; "" if this output
    alone. contribution: what the group would have added in place of ``right``.
    """

    about: str
    group: int | None
    whole: str
    contribution: int | None = None
    right: int | None = None

    def __str__(self) -> str:
        """One line for a person."""
        place = "" if self.group is None else f"group {self.group}: "
        adds = "" if self.right is None else f"; it adds {self.contribution}, not {self.right}"
        whole = {
            "dump": "explains all outputs", "column": "explains all of this column",
            "row": "explains all of this row", "": "explains this output alone",
        }[self.whole]  # fmt: skip
        return f"{place}{self.about}{adds}; {whole}"


@dataclass(frozen=True)
class Explanation:
    """One output, group by group.

    Attributes: index, of the output; row and column, of the multiplication; start, the bias or 0,
    and bias, whether there is one; lines, all groups; accumulator, where they end; requant, the
    steps of the requantisation by name, the last one the result; result, as a number; matches,
    whether it is what the case expects; faults, the likeliest first, of ``candidates`` that there
    are; shown, how many groups a text needs.
    """

    index: tuple[int, ...]
    row: int
    column: int
    start: int
    bias: bool
    lines: tuple[GroupLine, ...]
    accumulator: int
    requant: tuple[tuple[str, str], ...]
    matches: bool
    faults: tuple[Fault, ...]
    candidates: int

    @property
    def fault(self) -> Fault | None:
        """The likeliest fault, if one is likelier than chance.

        None where several changes of a single group give this output and no more than it.
        """
        if self.faults and (self.faults[0].whole or self.candidates == 1):
            return self.faults[0]
        return None

    @property
    def shown(self) -> int:
        """How many groups there are up to the fault; all if there is none."""
        fault = self.fault
        return len(self.lines) if fault is None or fault.group is None else fault.group + 1

    def __str__(self) -> str:
        """All of it, long middles left out."""
        what = "bias" if self.bias else "start"
        text = [f"output {_tuple(self.index)}, group by group:", f"  {what} {self.start}"]
        lines = self.lines[: self.shown]
        if len(lines) > 2 * _SHOWN + 1:  # a convolution of few channels has little else
            lines = tuple(line for line in lines if any(line.weights) or line is lines[-1])
            if gone := self.shown - len(lines):
                text.append(f"  {gone} groups with weights of 0 are left out")
        if len(lines) <= 2 * _SHOWN + 1:
            text += [f"  {line}" for line in lines]
        else:
            text += [f"  {line}" for line in lines[:_SHOWN]]
            text.append(f"  ... {len(lines) - 2 * _SHOWN} groups ...")
            text += [f"  {line}" for line in lines[-_SHOWN:]]
        if self.shown < len(self.lines):
            text.append(f"  ... {len(self.lines) - self.shown} more groups")
        text.append(f"  accumulator {self.accumulator}")
        text += [f"  {name} {value}" for name, value in self.requant]
        if not self.matches:
            text.append("  the files of the case do not give the result that it expects")
        if self.fault is not None:
            text.append(f"  fault: {self.fault}")
        elif self.candidates:
            text.append(
                f"  {self.candidates} changes of one group would give this output, and none of "
                f"them the rest; the first: {self.faults[0]}"
            )
        else:
            text.append("  no change of a single group gives what was got")
        return "\n".join(text)

    def to_dict(self) -> dict[str, Any]:
        """For JSON; the groups up to the fault."""
        return {
            "index": list(self.index),
            "start": self.start,
            "bias": self.bias,
            "groups": [
                {
                    "group": line.group, "i0": line.i0, "i1": line.i1,
                    "weights": list(line.weights),
                    "activations": [
                        {
                            "value": one.value,
                            "place": None if one.place is None else list(one.place),
                            "note": one.note,
                        }
                        for one in line.activations
                    ],
                    "sum": line.sum, "saturated": line.saturated,
                }
                for line in self.lines[: self.shown]
            ],
            "groups_total": len(self.lines),
            "accumulator": self.accumulator,
            "requant": [{"step": name, "value": value} for name, value in self.requant],
            "files_give_expected": self.matches,
            "faults": [
                {
                    "about": fault.about, "group": fault.group, "whole": fault.whole,
                    "contribution": fault.contribution, "right": fault.right,
                }
                for fault in self.faults
            ],
            "candidates": self.candidates,
        }  # fmt: skip


def explain(
    problem: Problem,
    index: tuple[int, ...],
    expected: Array,
    got: Array,
    explained: Sequence[Explained] = (),
) -> Explanation:
    """Explain one output.

    Args:
        problem: the case.
        index: of the output.
        expected, got: all results.
        explained: the hypotheses that give all that was got.
    """
    flat = int(np.ravel_multi_index(index, problem.shape))
    row, column = divmod(flat, problem.n)
    good = right(problem)
    lines = _lines(problem, row, column, good)
    accumulator = int(good.accumulators([row], [column])[0, 0])
    ours = good.output([row], [column])
    faults: list[Fault] = []
    if explained:
        faults = [_of_device(each, good, row, column) for each in explained]
        candidates = len(faults)
    else:
        wanted = bits(got).reshape(-1, problem.n)
        faults, candidates = _single(good, row, column, wanted)
    return Explanation(
        index, row, column, int(good.start[column]), problem.bias is not None, lines, accumulator,
        requant_steps(problem, accumulator, column),
        bool(bits(ours)[0, 0] == bits(expected).reshape(-1, problem.n)[row, column]),
        tuple(faults[:5]), candidates,
    )  # fmt: skip


# --- the groups -----------------------------------------------------------------------------------


def _lines(problem: Problem, row: int, column: int, good: Device) -> tuple[GroupLine, ...]:
    count = ceil_div(problem.k, GROUP)
    a = problem.rows[row].astype(np.int64).reshape(-1, GROUP)
    slots, pairs = problem.dense[column], problem.pairs[column]
    chosen = np.stack(selected(pairs, problem.config), axis=-1)
    lines = []
    total = int(good.start[column])
    ends = {end // GROUP for end in problem.ends}
    for group in range(count):
        values = [0 if e < 0 else int(a[group, e]) for e in chosen[group]]
        weights = (int(slots[group, 0]), int(slots[group, 1]))
        total += weights[0] * values[0] + weights[1] * values[1]
        saturated = False
        if group + 1 in ends or group + 1 == count:
            held = _held(total, problem.config)
            saturated, total = held != total and problem.config.overflow == "saturate", held
        lines.append(
            GroupLine(
                group, group * GROUP // ZN_K, int(pairs[group, 0]), int(pairs[group, 1]), weights,
                (
                    _selected(problem, row, group, int(chosen[group, 0]), values[0]),
                    _selected(problem, row, group, int(chosen[group, 1]), values[1]),
                ),
                total, saturated,
            )
        )  # fmt: skip
    return tuple(lines)


def _held(total: int, config: UnitConfig) -> int:
    """The number as the accumulator holds it."""
    if config.overflow == "saturate":
        return min(max(total, _LOW), _HIGH)
    return (total - _LOW) % (1 << 32) + _LOW


def _selected(problem: Problem, row: int, group: int, element: int, value: int) -> Selected:
    """Where the activation stands that a slot selects."""
    k = GROUP * group + element
    if element < 0:
        return Selected(0, None, "nothing")
    if k >= problem.k:
        return Selected(value, None, "beyond K")
    if not problem.conv:
        return Selected(value, (row, k))
    size = problem.spec["sizes"]
    (kh, kw), (dy, dx), (sy, sx) = size["kernel"], size["dilations"], size["strides"]
    block, lane = divmod(k, C0)
    c1, tap = divmod(block, kh * kw)
    image, position = divmod(row, problem.image_rows)
    y, x = divmod(position, problem.shape[2])
    h = y * sy - size["pads"][0] + tap // kw * dy
    w = x * sx - size["pads"][1] + tap % kw * dx
    channel = c1 * C0 + lane
    if not (0 <= h < size["h"] and 0 <= w < size["w"]):
        return Selected(value, None, f"padding ({image}, {channel}, {h}, {w})")
    if channel >= size["cin"]:
        return Selected(value, None, f"no channel {channel}")
    return Selected(value, (image, channel, h, w))


# --- requantisation -------------------------------------------------------------------------------


def requant_steps(problem: Problem, accumulator: int, column: int) -> tuple[tuple[str, str], ...]:
    """The requantisation of one accumulator, step by step; () where there is none."""
    how = requant_of(problem.spec)
    if how is None:
        return ()
    words = problem.arrays["requant"]
    word = int(words[column] if how.per_column else words[0])
    scale = np.float32(np.array([word & 0xFFFF_E000], np.uint32).view(np.float32)[0])
    steps = [("word", f"{word:#018x}")]
    x = accumulator
    if how.mode == "REQ8" and word >> 36 & 1:
        shift = (word >> 32 & 15) + (1 if problem.config.requant_shift == "n+1" else 0)
        x = min(max(x >> shift, -(1 << 15)), (1 << 15) - 1)
        steps.append((f"shifted right by {shift}", str(x)))
    value = np.float32(x)
    factor, name = _factor(how, value, scale)
    with np.errstate(over="ignore"):
        y = np.float32(value * factor)
    steps += [("as fp32", str(value)), (f"times {name} {factor}", str(y))]
    if how.mode == "DEQF16":
        y = np.float32(min(max(y, np.float32(-65504)), np.float32(65504)))
        result: Any = np.float16(y)
        return (*steps, ("clamped to +-65504", str(y)), ("as fp16", str(result)))
    y = np.float32(min(max(y, np.float32(-256)), np.float32(255)))
    rounded = int(np.rint(y))
    offset = word >> 37 & 0x1FF
    if problem.config.requant_offset == "signed" and offset >= 256:
        offset -= 512
    low, high = (-128, 127) if word >> 46 & 1 else (0, 255)
    return (
        *steps, ("clamped to -256..255", str(y)), ("rounded, ties to even", str(rounded)),
        (f"plus offset {offset}", str(rounded + offset)),
        (f"saturated to {low}..{high}", str(min(max(rounded + offset, low), high))),
    )  # fmt: skip


def _factor(how: Requant, value: np.float32, scale: np.float32) -> tuple[np.float32, str]:
    """What an accumulator is multiplied by, and its name."""
    if how.relu_mode == "none" or value >= 0:
        return scale, "scale"
    if how.relu_mode == "relu":
        return np.float32(0), "the ReLU's"
    return np.float32(how.alpha), "the leaky ReLU's"


# --- faults ---------------------------------------------------------------------------------------


def _of_device(explained: Explained, good: Device, row: int, column: int) -> Fault:
    """Where a faulty device first does something else for this output."""
    ours, theirs = (
        np.repeat(device.times, ZN_K // GROUP)
        * (device.a[row].astype(np.int64) * device.w[column]).reshape(-1, GROUP).sum(axis=1)
        for device in (good, explained.device)
    )
    there = np.flatnonzero(ours != theirs)
    inside = there[there < ceil_div(good.problem.k, GROUP)]
    if not inside.size:
        return Fault(explained.name, None, "dump")
    group = int(inside[0])
    return Fault(explained.name, group, "dump", int(theirs[group]), int(ours[group]))


@dataclass(frozen=True, eq=False)
class _Change:
    """A change that each group may have: what its four elements meet, or what they are."""

    about: str
    w: Int | None = None
    a: Int | None = None


def _changes(problem: Problem, row: int, column: int, w: Int) -> Iterator[_Change]:
    """All changes of a single group, the likeliest first; w: what is right, (groups, 4)."""
    slots, pairs = problem.dense[column], problem.pairs[column]
    first, second = selected(pairs, problem.config)
    yield _Change("the group is left out", 0 * w)
    yield _Change("the group is added twice", 2 * w)
    swapped = selected(pairs[:, ::-1], problem.config)
    yield _Change("i0 and i1 are exchanged", spread(slots, *swapped))
    nibble = selected(pairs.reshape(-1, 2, 2)[:, ::-1].reshape(-1, 2), problem.config)
    yield _Change("the index of the byte's other group is taken", spread(slots, *nibble))
    yield _Change("the slots are exchanged", spread(slots[:, ::-1], first, second))
    without = selected(pairs, problem.config, 0)
    yield _Change("slot 1 selects i1 without the + 1", spread(slots, *without))
    none = np.full_like(first, -1)
    yield _Change("slot 0 is left out", spread(slots, none, second))
    yield _Change("slot 1 is left out", spread(slots, first, none))
    for element in range(GROUP):
        this = np.full_like(first, element)
        yield _Change(f"slot 0 selects element {element}", spread(slots, this, second))
        yield _Change(f"slot 1 selects element {element}", spread(slots, first, this))
    for slot in (0, 1):
        unsigned = slots.copy()
        unsigned[:, slot] &= 255
        yield _Change(f"the weight of slot {slot} is taken for unsigned",
                      spread(unsigned, first, second))  # fmt: skip
    a = problem.rows[row].astype(np.int64).reshape(-1, GROUP)
    for element in range(GROUP):
        unsigned = a.copy()
        unsigned[:, element] &= 255
        yield _Change(f"element {element} is taken for unsigned", a=unsigned)
    for slot in (0, 1):
        for bit in range(8):
            flipped = slots.copy()
            flipped[:, slot] = (flipped[:, slot] ^ 1 << bit).astype(np.int8)
            about = f"bit {bit} of the weight of slot {slot} is flipped"
            yield _Change(about, spread(flipped, first, second))
    for element in range(GROUP):
        for bit in range(8):
            flipped = a.copy()
            flipped[:, element] = (flipped[:, element] ^ 1 << bit).astype(np.int8)
            yield _Change(f"bit {bit} of element {element} is flipped", a=flipped)


def _single(
    good: Device, row: int, column: int, wanted: npt.NDArray[Any]
) -> tuple[list[Fault], int]:
    """The changes of one group that give this output, and how many there are.

    wanted: the bits of all outputs that were got, (rows, n).
    """
    problem = good.problem
    count = ceil_div(problem.k, GROUP)
    w = good.w[column].reshape(-1, GROUP)
    a = problem.rows[row].astype(np.int64).reshape(-1, GROUP)
    ours = (a * w).sum(axis=1)
    chain = _Chain(good, row, column)
    found: list[Fault] = []
    sure: list[Fault] = []
    tried = total = 0
    for change in _changes(problem, row, column, w):
        new_w = w if change.w is None else change.w
        new_a = a if change.a is None else change.a
        theirs = (new_a * new_w).sum(axis=1)
        groups = np.flatnonzero((theirs != ours)[:count])
        results = bits(chain.results(groups, (theirs - ours)[groups]))
        for group in groups[results == wanted[row, column]]:
            total += 1
            tried += 1
            whole = ""
            if tried <= _TRIED:
                whole = _whole(good, row, column, int(group), change, wanted)
            fault = Fault(change.about, int(group), whole, int(theirs[group]), int(ours[group]))
            (sure if whole else found).append(fault)
    return (sure, len(sure)) if sure else (found, total)


class _Chain:
    """One output with something added to one of its groups."""

    def __init__(self, good: Device, row: int, column: int) -> None:
        self.good, self.row, self.column = good, row, column
        products = problem_products(good, row, column)
        self.ends = np.array(good.problem.ends) // GROUP
        pieces = np.split(products, self.ends[:-1])
        self.sums = [int(piece.sum()) for piece in pieces]
        self.start = int(good.start[column])

    def results(self, groups: Int, deltas: Int) -> Array:
        """The results with each delta added to its group, (len(groups),)."""
        piece_of = np.searchsorted(self.ends, groups, side="right")
        config = self.good.problem.config
        reach = abs(self.start) + sum(map(abs, self.sums)) + int(np.abs(deltas).max(initial=0))
        if config.overflow == "wrap" or reach <= _HIGH:
            total = self.start + sum(self.sums) + deltas
        else:
            total = np.full(len(groups), self.start, np.int64)
            for number, piece in enumerate(self.sums):
                total = total + piece + np.where(piece_of == number, deltas, 0)
                total = np.clip(total, _LOW, _HIGH)
        held = total.astype(np.uint64).astype(np.uint32).view(np.int32).astype(np.int64)
        return finished(self.good.problem, held[:, None], [self.column])[:, 0]


def problem_products(device: Device, row: int, column: int) -> Int:
    """What each group adds to one output, (groups,)."""
    products = device.a[row].astype(np.int64) * device.w[column]
    return np.asarray(products.reshape(-1, GROUP).sum(axis=1))


def _whole(
    good: Device, row: int, column: int, group: int, change: _Change, wanted: npt.NDArray[Any]
) -> str:
    """``column`` or ``row`` if the change gives all of it, where there is more than one output."""
    at = slice(GROUP * group, GROUP * group + GROUP)
    if change.w is not None:
        if len(wanted) == 1:
            return ""
        w = good.w[[column]]
        w[0, at] = change.w[group]
        one = replace(good, w=w, start=good.start[[column]], late=good.late[[column]])
        # The columns of the requantisation are those of the problem, not of this device.
        found = finished(good.problem, one.accumulators(), [column])[:, 0]
        return "column" if np.array_equal(bits(found), wanted[:, column]) else ""
    if change.a is None or wanted.shape[1] == 1:
        return ""
    a = good.a[[row]].copy()
    a[0, at] = change.a[group]
    found = replace(good, a=a).output()[0]
    return "row" if np.array_equal(bits(found), wanted[row]) else ""


def _tuple(numbers: Sequence[int]) -> str:
    return f"({', '.join(str(number) for number in numbers)})"
