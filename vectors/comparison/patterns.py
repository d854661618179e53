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

__all__ = ["PATTERNS", "DifferencePattern", "patterns"]

#: The names of all patterns; docs/vectors.md says what they are.
PATTERNS = (
    "rows", "columns", "fractals", "lanes",
    "bits", "stuck-bits", "byte-order", "half-order", "bytes-of-halves", "bit-order",
    "zeros", "one-value", "zero-rows", "zero-columns", "zero-lanes", "constant-difference",
    "truncated", "zero-extended", "low-bits-zero", "saturated",
    "transposed", "fractals-nz", "fractals-zz", "fractals-zn", "fractals-nn", "fractals-transposed",
    "shifted", "rows-moved", "columns-moved", "lanes-permuted", "fractal-rows-permuted",
    "permuted-in-fractals", "permuted-in-rows", "permuted-in-columns", "permuted",
    "narrow-accumulator", "accumulator-not-cleared",
)  # fmt: skip


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
