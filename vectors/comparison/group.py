"""One output of a case, group by group: products, the running sum, and where it goes wrong.

The first mismatch of a dump is explained by a whole faulty device if one explains the dump, else by
a change of a single group that gives exactly what was got; changes.py looks for both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cube24.encoder import C0, GROUP, ZN_K
from cube24.simulator import Requant, UnitConfig, requant
from cube24.sizes import ceil_div
from cube24.vectors.case import Array, bits
from cube24.vectors.comparison.changes import Fault, of_device, of_one_group
from cube24.vectors.comparison.device import Device, right
from cube24.vectors.comparison.operands import Operands
from cube24.vectors.comparison.table import Explained
from cube24.vectors.selection import selected
from cube24.vectors.spec import INT32_MAX, INT32_MIN, requant_of

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
class Explanation:
    """One output, group by group.

    Attributes: index, of the output; row and column, of the multiplication; start, the bias or 0,
    and bias, whether there is one; lines, all groups; accumulator, where they end; requant, the
    steps of the requantisation by name, the last one the result; result, as a number; matches,
    whether it is what the case expects; faults, the likeliest first, of ``candidates`` that there
    are; alone, whether no other output differs; shown, how many groups a text needs.
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
    alone: bool

    @property
    def fault(self) -> Fault | None:
        """The likeliest fault, if one is likelier than chance.

        None where several changes of a single group give this output, or one does and others
        differ, and none gives more than it.
        """
        if self.faults and (self.faults[0].whole or (self.candidates == 1 and self.alone)):
            return self.faults[0]
        return None

    @property
    def note(self) -> str:
        """What there is to say about changes of a single group that may well be chance."""
        if self.fault is not None:
            return ""
        if not self.candidates:
            return f"no change of a single group gives output {_tuple(self.index)}"
        several = self.candidates > 1
        return (
            f"{self.candidates} changes of one group would give output {_tuple(self.index)}, and "
            f"none of them the rest; the first: {self.faults[0]}"
            if several
            else f"one change of one group would give output {_tuple(self.index)}, and not the "
            f"rest: {self.faults[0]}"
        )

    @property
    def shown(self) -> int:
        """How many groups there are up to the fault; all if there is none."""
        fault = self.fault
        return len(self.lines) if fault is None or fault.group is None else fault.group + 1

    def __str__(self) -> str:
        """All of it but the note, long middles left out."""
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
    operands: Operands,
    index: tuple[int, ...],
    expected: Array,
    got: Array,
    known: npt.NDArray[np.bool_],
    explained: Sequence[Explained] = (),
) -> Explanation:
    """Explain one output.

    Args:
        operands: the case.
        index: of the output, which was got.
        expected, got: all results.
        known: which outputs were got.
        explained: the hypotheses that give all that was got.
    """
    flat = int(np.ravel_multi_index(index, operands.shape))
    row, column = divmod(flat, operands.n)
    good = right(operands)
    lines = _lines(operands, row, column, good)
    accumulator = int(good.accumulators([row], [column])[0, 0])
    ours = good.output([row], [column])
    faults: list[Fault] = []
    if explained:
        faults = [of_device(each, good, row, column) for each in explained]
        candidates = len(faults)
    else:
        # Nothing gives an output that was not got.
        wanted = np.where(known, bits(got).astype(np.int64), -1).reshape(-1, operands.n)
        faults, candidates = of_one_group(good, row, column, wanted)
    return Explanation(
        index, row, column, int(good.start[column]), operands.bias is not None, lines, accumulator,
        requant_steps(operands, accumulator, column),
        bool(bits(ours)[0, 0] == bits(expected).reshape(-1, operands.n)[row, column]),
        tuple(faults[:5]), candidates, int((~known | (bits(got) != bits(expected))).sum()) == 1,
    )  # fmt: skip


# --- the groups -----------------------------------------------------------------------------------


def _lines(operands: Operands, row: int, column: int, good: Device) -> tuple[GroupLine, ...]:
    count = ceil_div(operands.k, GROUP)
    a = operands.rows[row].astype(np.int64).reshape(-1, GROUP)
    slots, pairs = operands.dense[column], operands.pairs[column]
    chosen = np.stack(selected(pairs, operands.config), axis=-1)
    lines = []
    total = int(good.start[column])
    ends = {end // GROUP for end in operands.ends}
    for group in range(count):
        values = [0 if e < 0 else int(a[group, e]) for e in chosen[group]]
        weights = (int(slots[group, 0]), int(slots[group, 1]))
        total += weights[0] * values[0] + weights[1] * values[1]
        saturated = False
        if group + 1 in ends or group + 1 == count:
            held = _held(total, operands.config)
            saturated, total = held != total and operands.config.overflow == "saturate", held
        lines.append(
            GroupLine(
                group, group * GROUP // ZN_K, int(pairs[group, 0]), int(pairs[group, 1]), weights,
                (
                    _selected(operands, row, group, int(chosen[group, 0]), values[0]),
                    _selected(operands, row, group, int(chosen[group, 1]), values[1]),
                ),
                total, saturated,
            )
        )  # fmt: skip
    return tuple(lines)


def _held(total: int, config: UnitConfig) -> int:
    """The number as the accumulator holds it."""
    if config.overflow == "saturate":
        return min(max(total, INT32_MIN), INT32_MAX)
    return (total - INT32_MIN) % (1 << 32) + INT32_MIN


def _selected(operands: Operands, row: int, group: int, element: int, value: int) -> Selected:
    """Where the activation stands that a slot selects."""
    k = GROUP * group + element
    if element < 0:
        return Selected(0, None, "nothing")
    if k >= operands.k:
        return Selected(value, None, "beyond K")
    if not operands.conv:
        return Selected(value, (row, k))
    size = operands.spec["sizes"]
    (kh, kw), (dy, dx), (sy, sx) = size["kernel"], size["dilations"], size["strides"]
    block, lane = divmod(k, C0)
    c1, tap = divmod(block, kh * kw)
    image, position = divmod(row, operands.image_rows)
    y, x = divmod(position, operands.shape[2])
    h = y * sy - size["pads"][0] + tap // kw * dy
    w = x * sx - size["pads"][1] + tap % kw * dx
    channel = c1 * C0 + lane
    if not (0 <= h < size["h"] and 0 <= w < size["w"]):
        return Selected(value, None, f"padding ({image}, {channel}, {h}, {w})")
    if channel >= size["cin"]:
        return Selected(value, None, f"no channel {channel}")
    return Selected(value, (image, channel, h, w))


# --- requantisation -------------------------------------------------------------------------------


def requant_steps(operands: Operands, accumulator: int, column: int) -> tuple[tuple[str, str], ...]:
    """The requantisation of one accumulator, step by step; () where there is none."""
    how = requant_of(operands.spec)
    if how is None:
        return ()
    words = operands.arrays["requant"]
    word = words[[column if how.per_column else 0]]
    of = requant.fields_of(word, operands.config)
    scale, shift, offset = of.scale[0], int(of.shift[0]), int(of.offset[0])
    steps = [("word", f"{int(word[0]):#018x}")]
    x = accumulator
    if how.mode == "REQ8" and of.mcb[0]:
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
    low, high = (-128, 127) if of.signed[0] else (0, 255)
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


def _tuple(numbers: Sequence[int]) -> str:
    return f"({', '.join(str(number) for number in numbers)})"
