"""Bins of magnitude: how many bits the widest sums of a case need.

Looked at are the sums after each step of 64 of k, of the products alone and with the bias, as
exact integers. An accumulator with a bit less than they need is told from a right one by the case.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from cube24.encoder import ZN_K

#: The classes of widths, by the most bits in each: what is beyond the last one counts to it.
WIDTHS = {"products": (16, 20, 22, 24, 27), "sum": (16, 20, 22, 24, 27, 31, 32)}


def bins() -> tuple[str, ...]:
    """The names of all bins, without the coverpoint."""
    return tuple(
        f"{of}.{sign}.{most}" for of, widths in WIDTHS.items() for sign in ("neg", "pos")
        for most in widths
    )  # fmt: skip


def of_sums(
    rows: npt.NDArray[Any], matrix: npt.NDArray[Any], bias: npt.NDArray[Any]
) -> Iterator[str]:
    """The bins of a case.

    Args:
        rows: activations (rows, k); k without padding at its end, or with some of it.
        matrix: (n, k), the weight, k in whole groups or more.
        bias: (n,) or (1,).
    """
    k = min(rows.shape[1], matrix.shape[1])
    total = np.zeros((len(rows), len(matrix)), np.int64)
    high = low = np.zeros(len(matrix), np.int64)
    for begin in range(0, k, ZN_K):
        at = slice(begin, min(begin + ZN_K, k))
        # Exact in fp32: 64 products of int8 are at most 2^20.
        part = rows[:, at].astype(np.float32) @ matrix[:, at].astype(np.float32).T
        total += part.astype(np.int64)
        high, low = np.maximum(high, total.max(axis=0)), np.minimum(low, total.min(axis=0))
    for of, base in (("products", np.zeros(1, np.int64)), ("sum", bias.astype(np.int64))):
        yield from _named(of, int((high + base).max()), int((low + base).min()))


def _named(of: str, high: int, low: int) -> Iterator[str]:
    if high > 0:
        yield f"width/{of}.pos.{_class(of, high.bit_length() + 1)}"
    if low < 0:
        yield f"width/{of}.neg.{_class(of, (~low).bit_length() + 1)}"


def _class(of: str, bits: int) -> int:
    return next((most for most in WIDTHS[of] if bits <= most), WIDTHS[of][-1])
