"""Accumulators that are not what they should be: too narrow, or not cleared."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from cube24.encoder import GROUP, N0, ZN_K
from cube24.vectors.comparison.device import Device, finished, right, wrapped
from cube24.vectors.comparison.differences import DifferencePattern, Differences
from cube24.vectors.comparison.table import M0
from cube24.vectors.selection import Int
from cube24.vectors.spec import INT32_MAX, INT32_MIN

#: Bits of the accumulators that are tried.
_SIZES = np.arange(8, 32)

#: Most sums that are added one by one in Python.
_MOST = 1 << 18


def sums(of: Differences) -> Iterator[DifferencePattern]:
    """Whole devices with another accumulator: each gives all outputs that were got."""
    if not of.enough:
        return
    good = right(of.operands)
    yield from _narrow(of, good)
    yield from _not_cleared(of, good)


def _narrow(of: Differences, good: Device) -> Iterator[DifferencePattern]:
    for about, step in (("", 0), ("after each step of 64 of k", ZN_K),
                        ("after each group", GROUP)):  # fmt: skip
        found = [
            int(size)
            for size, sums in zip(_SIZES, _held(of, good, of.tried, _SIZES, step), strict=True)
            if of.gives_rows(finished(of.operands, sums))
            and of.gives(
                finished(of.operands, _held(of, good, slice(None), np.array([size]), step)[0])
            )
        ]
        if found:
            kind = "wraps" if not step else f"saturates {about}"
            text = " or ".join(map(str, found))
            yield DifferencePattern(
                "narrow-accumulator",
                f"an accumulator of {text} bits that {kind} gives all outputs{of.only_got}",
                {"bits": found, "overflow": "saturate" if step else "wrap", "every": step},
            )


def _held(of: Differences, good: Device, rows: Any, sizes: Int, step: int) -> Int:
    """What accumulators of so many bits end with, (len(sizes), rows, n).

    step: they saturate after so many of k; 0: they wrap, and it does not matter when.
    """
    a, w = of.operands.rows[rows].astype(np.float64), good.w.astype(np.float64)
    high = (np.int64(1) << (sizes - 1))[:, None, None]
    if not step:
        total = (a @ w.T).astype(np.int64) + good.start
        return np.asarray(((total[None] + high) & (2 * high - 1)) - high)
    start = np.broadcast_to(good.start, (len(sizes), len(a), of.operands.n))
    total = np.clip(start, -high, high - 1)
    for at in range(0, of.operands.k_steps, step):
        part = (a[:, at : at + step] @ w[:, at : at + step].T).astype(np.int64)
        total = np.clip(total + part, -high, high - 1)
    return np.asarray(total)


def _not_cleared(of: Differences, good: Device) -> Iterator[DifferencePattern]:
    if of.wrong.size < 2:
        return
    own = good.accumulators()
    rows, columns = of.shape
    orders = {"output before it, in the order of the file": own.reshape(-1, 1)}
    if rows > 1 and columns > 1:  # of a single row or column it is the one before it
        orders |= {"output above it": own, "output to its left": own.T}
    for where, lines in orders.items():
        found = _added_up(of, lines)
        if found is None:
            continue
        found = found.T if where == "output to its left" else found.reshape(own.shape)
        if of.gives(finished(of.operands, found)):
            yield _pattern(of, where)
    ways = [("fractal to its left", True)] if columns > N0 else []
    ways += [("fractal above it", False)] if rows > M0 else []
    for where, along_rows in ways:
        if of.gives(finished(of.operands, _fractals(of, own, along_rows))):
            yield _pattern(
                of, f"fractal before it; the fractal before is the {where}, or the last one of the "
                f"{'row' if along_rows else 'column'} before",
            )  # fmt: skip


def _pattern(of: Differences, where: str) -> DifferencePattern:
    return DifferencePattern(
        "accumulator-not-cleared",
        f"each accumulator begins with what is left of the {where}{of.in_those_got}",
    )


def _added_up(of: Differences, lines: Int) -> Int | None:
    """Sums (steps, lanes), each on top of the one before; None: too many to add one by one."""
    exact = np.cumsum(lines, axis=0)
    if of.operands.config.overflow == "wrap":
        return wrapped(exact)
    if np.abs(exact).max() <= INT32_MAX:
        return np.asarray(exact)
    if len(lines) > _MOST:
        return None
    total, found = np.zeros(lines.shape[1], np.int64), np.empty_like(lines)
    for number, line in enumerate(lines):
        found[number] = total = np.clip(total + line, INT32_MIN, INT32_MAX)
    return found


def _fractals(of: Differences, own: Int, along_rows: bool) -> Int:
    """Fractals of 16 x 16, each on top of the one before it."""
    rows, columns = own.shape
    places = [(r, c) for r in range(0, rows, M0) for c in range(0, columns, N0)]
    if not along_rows:
        places = [(r, c) for c in range(0, columns, N0) for r in range(0, rows, M0)]
    held, found = np.zeros((M0, N0), np.int64), np.empty_like(own)
    for r, c in places:
        block = own[r : r + M0, c : c + N0]
        part = held[: block.shape[0], : block.shape[1]] + block
        if of.operands.config.overflow == "wrap":
            part = wrapped(part)
        else:
            part = np.clip(part, INT32_MIN, INT32_MAX)
        held[: block.shape[0], : block.shape[1]] = part
        found[r : r + M0, c : c + N0] = part
    return found
