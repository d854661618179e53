"""What the encoder and the decoder refuse, group by group, and the errors that tell it.

A weight that is not 2:4 has offenders; dense and index bytes that stand for no weight have refused
groups. Both carry their places as numbers, so that a program need not read the message.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cube24.errors import Cube24Error

#: How many offenders an error message spells out; the attributes hold as many as were asked for.
SHOWN = 5


@dataclass(frozen=True)
class Offender:
    """A group of a weight that has more than two non-zeros.

    coordinates: of its first element, in the weight as it was given: (..., n, k), or for a
    convolution (cout, cin, kh, kw). positions: its non-zero elements, 0..3. values: all four
    elements, missing ones as 0.
    """

    coordinates: tuple[int, ...]
    group: int
    positions: tuple[int, ...]
    values: tuple[int, int, int, int]

    def __str__(self) -> str:
        """One line for a person."""
        return (
            f"{_tuple(self.coordinates)} group {self.group}: values {_tuple(self.values)}, "
            f"non-zero at {', '.join(f'e{p}' for p in self.positions)}"
        )


class ViolationError(Cube24Error, ValueError):
    """A weight is not 2:4 and the policy is ``error``.

    Attributes: count (groups in excess), offenders (the first of them).
    """

    def __init__(self, count: int, offenders: Sequence[Offender]) -> None:
        """Name the first offenders."""
        self.count = count
        self.offenders = tuple(offenders)
        noun = "group has" if count == 1 else "groups have"
        lines = [f"{count} {noun} more than two non-zeros, so the weight is not 2:4"]
        lines += _listing(self.offenders, count)
        lines.append("prune the weight, or choose a policy: first_two, first_last, magnitude")
        super().__init__("\n".join(lines))


@dataclass(frozen=True)
class RefusedGroup:
    """A group of dense and index bytes that the decoder refuses.

    fault: ``index3``, ``conflict``, ``padding`` or ``noncanonical``. batch: coordinates of the
    matrix, () if there is one only. row, group: in the stored matrix, so a row or group beyond
    the shape is padding. dense_offset: byte of slot 0 in the dense payload; index_offset: byte in
    the index payload, and bit_offset (0 or 4) the lowest bit of the pair in it; both offsets count
    from the first byte of the array, without the header that a file may have.
    """

    fault: str
    batch: tuple[int, ...]
    row: int
    group: int
    dense_offset: int
    index_offset: int
    bit_offset: int
    pair: tuple[int, int]
    dense: tuple[int, int]

    def __str__(self) -> str:
        """One line for a person."""
        matrix = f"matrix {_tuple(self.batch)} " if self.batch else ""
        bits = f"bits {self.bit_offset + 3}:{self.bit_offset}"
        return (
            f"{matrix}row {self.row} group {self.group}: {_FAULTS[self.fault]}: "
            f"index pair {_tuple(self.pair)} at index byte {self.index_offset} {bits}, "
            f"weights {_tuple(self.dense)} at dense byte {self.dense_offset}"
        )


_FAULTS = {
    "index3": "an index of 3 selects nothing",
    "conflict": "two non-zero weights select one element",
    "padding": "padding that is not zero",
    "noncanonical": "not what the encoder writes for this weight",
}


class RefusedError(Cube24Error, ValueError):
    """Dense and index bytes that stand for no weight (or, read strictly, not canonically).

    Attributes: count (groups refused), groups (the first of them).
    """

    def __init__(self, count: int, groups: Sequence[RefusedGroup]) -> None:
        """Name the first refused groups."""
        self.count = count
        self.groups = tuple(groups)
        noun = "group of the bytes is" if count == 1 else "groups of the bytes are"
        lines = [f"{count} {noun} refused"]
        lines += _listing(self.groups, count)
        strict_only = {group.fault for group in self.groups} <= {"padding", "noncanonical"}
        lines.append(
            "a default (not strict) decode accepts these bytes"
            if strict_only and count == len(self.groups)
            else "check the writer of these bytes, and that shape and layout are the right ones"
        )
        super().__init__("\n".join(lines))


def _tuple(numbers: Sequence[int]) -> str:
    return f"({', '.join(str(number) for number in numbers)})"


def _listing(items: Sequence[object], count: int) -> list[str]:
    lines = [f"  {item}" for item in items[:SHOWN]]
    if count > len(lines):
        lines.append(f"  ... and {count - len(lines)} more")
    return lines
