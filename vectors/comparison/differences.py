"""The differences of a dump as a matrix of outputs, and what a pattern of them is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from cube24.errors import counted
from cube24.vectors.case import Array, bits
from cube24.vectors.comparison.dump import Dump
from cube24.vectors.comparison.operands import Operands
from cube24.vectors.selection import Int

#: How many numbers a text shows where there may be many.
SHOWN = 8

#: Fewer outputs are something by chance.
ENOUGH = 4

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class DifferencePattern:
    """Something that holds for all differing outputs, or a count of those for which it does.

    name: in lower case with hyphens. about: one sentence. numbers: the same as plain data.
    """

    name: str
    about: str
    numbers: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        """One line for a person."""
        return f"{self.name}: {self.about}"

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"name": self.name, "about": self.about, "numbers": dict(self.numbers)}


@dataclass(frozen=True, eq=False)
class Differences:
    """The outputs of a case as rows by columns, (rows, n), and what differs.

    Attributes: operands, of the case; expected and got, results; known, which outputs were got.
    """

    operands: Operands
    expected: Array
    got: Array
    known: Mask

    @classmethod
    def of(cls, operands: Operands, expected: Array, dump: Dump) -> Differences:
        """Those of a dump; a convolution has a row for each position of each image."""
        shape = (len(operands.rows), operands.n)
        return cls(
            operands, expected.reshape(shape), dump.array.reshape(shape), dump.known.reshape(shape)
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self.operands.rows), self.operands.n

    @property
    def width(self) -> int:
        """Bits of an output."""
        return 8 * self.expected.dtype.itemsize

    @property
    def whole_numbers(self) -> bool:
        """Whether outputs are whole numbers: all but fp16 are."""
        return bool(self.expected.dtype.kind in "iu")

    @cached_property
    def right_bits(self) -> Array:
        """The bits of what is expected."""
        return bits(self.expected)

    @cached_property
    def got_bits(self) -> Array:
        """The bits of what was got."""
        return bits(self.got)

    @cached_property
    def differs(self) -> Mask:
        """Which outputs differ, those that were not got among them."""
        return np.asarray((self.right_bits != self.got_bits) | ~self.known)

    @cached_property
    def wrong(self) -> Mask:
        """Which outputs were got and differ."""
        return np.asarray(self.differs & self.known)

    @property
    def enough(self) -> bool:
        """Whether something may be said of all outputs, those that were not got among them.

        It may if enough of those that were got differ.
        """
        return bool(self.known.all()) or int(self.wrong.sum()) >= ENOUGH

    @property
    def only_got(self) -> str:
        """`` that were got``, where some outputs were not."""
        return "" if self.known.all() else " that were got"

    @property
    def in_those_got(self) -> str:
        """``, in all 12 outputs that were got``, where some were not."""
        got = self.only_got
        return f", in all {counted(int(self.known.sum()), 'output')}{got}" if got else ""

    def gives(self, output: Array) -> bool:
        """Whether these results are those that were got, wherever something was got."""
        return bool(((bits(output) == self.got_bits) | ~self.known).all())

    @cached_property
    def tried(self) -> Int:
        """A few rows, one of them with a difference: what does not give them gives nothing."""
        first = int(np.argwhere(self.wrong)[0, 0])
        return np.unique([first, 0, len(self.wrong) - 1]).astype(np.int64)

    def gives_rows(self, output: Array) -> bool:
        """The same as ``gives`` for the rows that are tried."""
        rows = self.tried
        return bool(((bits(output) == self.got_bits[rows]) | ~self.known[rows]).all())


def listed(items: Iterable[Any], show: Callable[[Any], str] = str) -> str:
    """Some items with commas between, and how many more there are."""
    items = list(items)
    more = [f"and {len(items) - SHOWN} more"] if len(items) > SHOWN else []
    return ", ".join([*map(show, items[:SHOWN]), *more])
