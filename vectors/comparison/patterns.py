"""The pattern of the differences, where no named fault explains all of them.

Each pattern says what holds for all differing outputs that have a value, or how many it holds for;
several may hold, of small results above all.
"""

from __future__ import annotations

from cube24.vectors.case import Array
from cube24.vectors.comparison.differences import DifferencePattern, Differences
from cube24.vectors.comparison.dump import Dump
from cube24.vectors.comparison.moves import moves
from cube24.vectors.comparison.operands import Operands
from cube24.vectors.comparison.places import places
from cube24.vectors.comparison.sums import sums
from cube24.vectors.comparison.values import values

__all__ = ["DifferencePattern", "patterns"]


def patterns(operands: Operands, expected: Array, dump: Dump) -> tuple[DifferencePattern, ...]:
    """Find them.

    Args:
        operands: the case.
        expected: its result.
        dump: what was got, of which something differs.
    """
    of = Differences.of(operands, expected, dump)
    found = list(places(of))
    if of.wrong.any():
        found += [*values(of), *moves(of), *sums(of)]
    return tuple(found)
