"""What explains one output: a whole faulty device, or a change of a single group.

Of changes that give exactly what was got there may be many by chance, so each is tried on the whole
column (a change of the weight or of its index) or the whole row (a change of an activation) of that
output too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from cube24.encoder import GROUP, ZN_K
from cube24.sizes import ceil_div
from cube24.vectors.case import Array, bits
from cube24.vectors.comparison.device import Device, finished, wrapped
from cube24.vectors.comparison.operands import Operands
from cube24.vectors.comparison.table import Explained
from cube24.vectors.selection import Int, selected, spread
from cube24.vectors.spec import INT32_MAX, INT32_MIN

#: How many changes of a single group are tried on a whole column or row.
_TRIED = 500


@dataclass(frozen=True)
class Fault:
    """What explains the output.

    about: in words. group: the first one in which the device does something else, or None where
    none is. whole: ``dump``, ``column`` or ``row``: what else it gives exactly; "" if this output
    alone. contribution: what the group would have added in place of ``right``. partly: whether
    that is said of the outputs that were got alone, because some were not.
    """

    about: str
    group: int | None
    whole: str
    contribution: int | None = None
    right: int | None = None
    partly: bool = False

    def __str__(self) -> str:
        """One line for a person."""
        place = "" if self.group is None else f"group {self.group}: "
        adds = "" if self.right is None else f"; it adds {self.contribution}, not {self.right}"
        got = " that was got" if self.partly else ""
        whole = {
            "dump": "explains all outputs", "column": f"explains all of this column{got}",
            "row": f"explains all of this row{got}", "": "explains this output alone",
        }[self.whole]  # fmt: skip
        return f"{place}{self.about}{adds}; {whole}"


def of_device(explained: Explained, good: Device, row: int, column: int) -> Fault:
    """Where a faulty device first does something else for this output."""
    ours, theirs = (
        np.repeat(device.times, ZN_K // GROUP)
        * (device.a[row].astype(np.int64) * device.w[column]).reshape(-1, GROUP).sum(axis=1)
        for device in (good, explained.device)
    )
    there = np.flatnonzero(ours != theirs)
    inside = there[there < ceil_div(good.operands.k, GROUP)]
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


def _changes(operands: Operands, row: int, column: int, w: Int) -> Iterator[_Change]:
    """All changes of a single group, the likeliest first; w: what is right, (groups, 4)."""
    slots, pairs = operands.dense[column], operands.pairs[column]
    first, second = selected(pairs, operands.config)
    yield _Change("the group is left out", 0 * w)
    yield _Change("the group is added twice", 2 * w)
    swapped = selected(pairs[:, ::-1], operands.config)
    yield _Change("i0 and i1 are exchanged", spread(slots, *swapped))
    nibble = selected(pairs.reshape(-1, 2, 2)[:, ::-1].reshape(-1, 2), operands.config)
    yield _Change("the index of the byte's other group is taken", spread(slots, *nibble))
    yield _Change("the slots are exchanged", spread(slots[:, ::-1], first, second))
    without = selected(pairs, operands.config, 0)
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
    a = operands.rows[row].astype(np.int64).reshape(-1, GROUP)
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


def of_one_group(
    good: Device, row: int, column: int, wanted: npt.NDArray[Any]
) -> tuple[list[Fault], int]:
    """The changes of one group that give this output, and how many there are.

    wanted: the bits of all outputs, (rows, n); -1: it was not got.
    """
    operands = good.operands
    count = ceil_div(operands.k, GROUP)
    w = good.w[column].reshape(-1, GROUP)
    a = operands.rows[row].astype(np.int64).reshape(-1, GROUP)
    ours = (a * w).sum(axis=1)
    chain = _Chain(good, row, column)
    found: list[Fault] = []
    sure: list[Fault] = []
    tried = total = 0
    for change in _changes(operands, row, column, w):
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
            of = wanted[:, column] if whole == "column" else wanted[row]
            fault = Fault(
                change.about, int(group), whole, int(theirs[group]), int(ours[group]),
                whole != "" and bool((of < 0).any()),
            )  # fmt: skip
            (sure if whole else found).append(fault)
    return (sure, len(sure)) if sure else (found, total)


class _Chain:
    """One output with something added to one of its groups."""

    def __init__(self, good: Device, row: int, column: int) -> None:
        self.good, self.row, self.column = good, row, column
        products = products_of(good, row, column)
        self.ends = np.array(good.operands.ends) // GROUP
        pieces = np.split(products, self.ends[:-1])
        self.sums = [int(piece.sum()) for piece in pieces]
        self.start = int(good.start[column])

    def results(self, groups: Int, deltas: Int) -> Array:
        """The results with each delta added to its group, (len(groups),)."""
        piece_of = np.searchsorted(self.ends, groups, side="right")
        config = self.good.operands.config
        reach = abs(self.start) + sum(map(abs, self.sums)) + int(np.abs(deltas).max(initial=0))
        if config.overflow == "wrap" or reach <= INT32_MAX:
            total = self.start + sum(self.sums) + deltas
        else:
            total = np.full(len(groups), self.start, np.int64)
            for number, piece in enumerate(self.sums):
                total = total + piece + np.where(piece_of == number, deltas, 0)
                total = np.clip(total, INT32_MIN, INT32_MAX)
        return finished(self.good.operands, wrapped(total)[:, None], [self.column])[:, 0]


def products_of(device: Device, row: int, column: int) -> Int:
    """What each group adds to one output, (groups,)."""
    products = device.a[row].astype(np.int64) * device.w[column]
    return np.asarray(products.reshape(-1, GROUP).sum(axis=1))


def _whole(
    good: Device, row: int, column: int, group: int, change: _Change, wanted: npt.NDArray[Any]
) -> str:
    """``column`` or ``row`` if the change gives all of it that was got, more than one output."""
    at = slice(GROUP * group, GROUP * group + GROUP)
    if change.w is not None:
        if (wanted[:, column] >= 0).sum() < 2:
            return ""
        w = good.w[[column]]
        w[0, at] = change.w[group]
        one = replace(good, w=w, start=good.start[[column]], late=good.late[[column]])
        # The columns of the requantisation are those of the operands, not of this device.
        found = finished(good.operands, one.accumulators(), [column])[:, 0]
        return "column" if _gives(found, wanted[:, column]) else ""
    if change.a is None or (wanted[row] >= 0).sum() < 2:
        return ""
    a = good.a[[row]].copy()
    a[0, at] = change.a[group]
    found = replace(good, a=a).output()[0]
    return "row" if _gives(found, wanted[row]) else ""


def _gives(found: Array, wanted: npt.NDArray[Any]) -> bool:
    """Whether results are those that were got, wherever something was got."""
    return bool(((bits(found) == wanted) | (wanted < 0)).all())
