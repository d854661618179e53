"""The suite of foreign bytes: each index pair beside zeros and non-zeros, wherever it may stand."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

from cube24.vectors.foreign import RULE
from cube24.vectors.spec import INT32_MAX, INT32_MIN, Item, Spec, matmul


def cases(level: int, seed: int) -> Iterator[Item]:
    """All nine index pairs x zero or not in each slot, in both readings; and with an index of 3.

    There are 36 combinations, and after each 36 groups they are turned by one: along 36 x 36 groups
    each meets each group of a row, and with 16 columns of 48 groups each column. Level 1 turns them
    through all places of a fractal.
    """
    # One column, and fractals; tails of groups, bytes, rows and fractals.
    for name, reading, sizes, rest in (
        ("walk-nd-n1", "rule", (1, 1, 36 * 36 * 4), {"layout": "nd"}),
        ("walk-zn-n16", "rule", (2, 16, 192), {}),
        ("walk-zn-n16", "table", (2, 16, 192), {}),
        ("tail-nd", "rule", (3, 17, 150), {"layout": "nd"}),
        ("tail-zn", "table", (17, 3, 146), {"activations": "edges"}),
        ("edges", "table", (2, 6, 132), {"bias": [INT32_MAX, INT32_MIN], "activations": "min"}),
    ):
        yield Item(f"{name}-{reading}", _spec(sizes, 0, pair20=reading, **rest), ("foreign",))
    # Two weights on one element whose sum may be more than a weight can hold: a drawn pair of them
    # with one bit flipped; with seed 1 two of four are. There is nothing to compare it with but the
    # unit itself, as in all faults.
    for name, group in (("10", 15), ("21", 101)):
        spec = _spec((2, 1, 4 * (group + 1)), 0, layout="nd", activations="edges")
        for slot, bit in product((0, 1), (6, 7)):
            at = 8 * (2 * group + slot) + bit
            change = {"kind": "fault", "role": "dense", "bit": at}
            yield Item(f"over-{name}-{at}", {**spec, "change": change}, ("foreign", "fault"))
    # Sixteen pairs, of which seven have an index of 3.
    for name, reading, sizes, rest in (
        ("index3-nd", "rule", (2, 3, 64 * 4), {"layout": "nd"}),
        ("index3-zn", "table", (2, 17, 68), {}),
    ):
        spec = _spec(sizes, 0, pair20=reading, index3="nothing", **rest)
        yield Item(name, spec, ("foreign", "index3"))
    if level >= 1:
        for turn, reading, index3 in product(range(64), ("rule", "table"), ("error", "nothing")):
            layout = "zn" if turn % 2 else "nd"
            spec = _spec((4, 16, 64), turn, pair20=reading, index3=index3, layout=layout)
            yield Item(f"turn-{turn:02d}-{reading}-{index3}", spec, ("foreign",))


def _spec(sizes: tuple[int, int, int], turn: int, **rest: Any) -> Spec:
    return matmul(*sizes, weights={RULE: turn}, **rest)
