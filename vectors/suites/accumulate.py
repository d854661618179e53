"""The suite of sums: at the edges of int32, as accumulators saturate or wrap."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from cube24.vectors.spec import INT32_MAX, INT32_MIN, Item, matmul


def cases(level: int, seed: int) -> Iterator[Item]:
    """Sums at the edges of int32, saturating and wrapping, in both grains."""
    edges = [
        INT32_MIN, INT32_MIN + 1, -(2**30), -1, 0, 1, 2**30, INT32_MAX - 1, INT32_MAX,
    ]  # fmt: skip
    for overflow, grain in product(("saturate", "wrap"), ("step", "instruction")):
        spec = matmul(2, 3, 68, layout="nd", overflow=overflow, grain=grain)
        yield Item(f"{overflow}-{grain}-none", spec, ("accumulate",))
        for deep, weight, x in product(
            (132, 4096) if level else (132,), ("max", "min", "full"), ("max", "min", "uniform")
        ):
            layout = "nd" if x == "max" else "zn"
            spec = matmul(
                2, 9, deep, weights=weight, activations=x, bias=edges, overflow=overflow,
                grain=grain, layout=layout,
            )  # fmt: skip
            yield Item(f"{overflow}-{grain}-{deep}-{weight}-{x}", spec, ("accumulate",))
