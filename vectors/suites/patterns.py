"""The suite of patterns: what stands in a group of the weight, and where the group stands."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from cube24.vectors.spec import Item, matmul


def cases(level: int, seed: int) -> Iterator[Item]:
    """Every legal group of zeros and extremes in every group position, in both layouts.

    113 groups and 16 positions have no common divisor, so along 113 x 64 of k each group meets each
    position of a row; with 16 columns of 113 groups, each group meets each column. Level 1 turns
    them through all places of a fractal.
    """
    for layout, n, k in (("nd", 1, 113 * 64), ("nd", 16, 113 * 4), ("zn", 16, 113 * 4)):
        spec = matmul(2, n, k, weights={"legal": 0}, layout=layout)
        yield Item(f"walk-{layout}-n{n}", spec, ("pattern",))
    if level >= 1:
        for turn in range(113):
            layout = "zn" if turn % 2 else "nd"
            spec = matmul(4, 16, 64, weights={"legal": turn}, layout=layout)
            yield Item(f"turn-{turn:03d}", spec, ("pattern",))
        for weight, x in product(("max", "min", "edges", "full"), ("max", "min", "edges", "ramp")):
            spec = matmul(3, 17, 132, weights=weight, activations=x)
            yield Item(f"extremes-{weight}-{x}", spec, ("pattern", "extremes"))
