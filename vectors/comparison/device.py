"""A device that multiplies the operands of a case, rightly or with a fault.

It is told by what reaches its multipliers and by how it sums: activations, the weight that each of
them meets, how often each step of k is added, bias, overflow, requantisation. table.py names the
faults.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cube24.encoder import ZN_K
from cube24.simulator import UnitConfig, requant
from cube24.vectors.case import Array
from cube24.vectors.comparison.operands import Operands
from cube24.vectors.selection import Int, selected, spread
from cube24.vectors.spec import INT32_MAX, INT32_MIN, requant_of


@dataclass(frozen=True, eq=False)
class Device:
    """A device that multiplies the rows of a operands.

    Attributes: a, what reaches the multipliers, (rows, k_steps); w, what it meets, (n, k_steps);
    times, how often each step is added; overflow; start and late, (n,), what stands in the
    accumulator before and is added after; half_away, how requantisation rounds; no_rows and
    no_columns, masks of outputs that are never written.
    """

    operands: Operands
    a: Array
    w: Int
    times: Int
    overflow: str
    start: Int
    late: Int
    half_away: bool = False
    no_rows: npt.NDArray[np.bool_] | None = None
    no_columns: npt.NDArray[np.bool_] | None = None

    def accumulators(self, rows: Any = slice(None), columns: Any = slice(None)) -> Int:
        """Its accumulators (rows, n), or some of its rows and columns."""
        # float64 is exact: a sum stays below 2^53 by far.
        a, w = self.a[rows].astype(np.float64), self.w[columns].astype(np.float64)
        start, late = self.start[columns], self.late[columns]
        bound = int((np.abs(w).sum(axis=1) * 255).max(initial=0)) * int(self.times.max(initial=0))
        bound += int(np.abs(start).max(initial=0) + np.abs(late).max(initial=0))
        if self.overflow == "wrap" or bound <= INT32_MAX:
            w = w * np.repeat(self.times, ZN_K)
            return wrapped((a @ w.T).astype(np.int64) + start + late)
        total = np.broadcast_to(np.clip(start, INT32_MIN, INT32_MAX), (len(a), len(w)))
        for piece in self._pieces():
            part = np.zeros(total.shape)
            for step in piece:
                at = slice(step * ZN_K, step * ZN_K + ZN_K)
                part += a[:, at] @ w[:, at].T
            total = np.clip(total + part.astype(np.int64), INT32_MIN, INT32_MAX)
        return np.asarray(np.clip(total + late, INT32_MIN, INT32_MAX))

    def _pieces(self) -> Iterator[list[int]]:
        """The steps that are summed exactly before they are added to the accumulator."""
        at = 0
        for end in self.operands.ends:
            piece = [step for step in range(at, end // ZN_K) for _ in range(int(self.times[step]))]
            if self.operands.config.grain == "step":
                yield from ([step] for step in piece)
            else:
                yield piece
            at = end // ZN_K

    def output(self, rows: Any = slice(None), columns: Any = slice(None)) -> Array:
        """What it writes, (rows, n)."""
        found = finished(
            self.operands, self.accumulators(rows, columns), columns, half_away=self.half_away
        )
        if self.no_rows is not None:
            found[self.no_rows[rows]] = 0
        if self.no_columns is not None:
            found[:, self.no_columns[columns]] = 0
        return found


def wrapped(total: Int) -> Int:
    """Sums as an accumulator that wraps holds them."""
    return np.asarray(total.astype(np.uint64).astype(np.uint32).view(np.int32).astype(np.int64))


def finished(
    operands: Operands, accumulators: Int, columns: Any = slice(None), *, half_away: bool = False
) -> Array:
    """The results that accumulators (rows, n) become: int32, or requantised.

    Raises:
        RequantError: a word with a scale that is not finite.
    """
    how = requant_of(operands.spec)
    if how is None:
        return accumulators.astype(np.int32)
    words = operands.arrays["requant"]
    words = words[columns] if how.per_column else words
    values = accumulators.astype(np.int32)
    if half_away:
        return _half_away(values, words, operands.config, how)
    if how.mode == "DEQF16":
        return requant.dequantise(values, words, how.relu_mode, how.alpha)
    return requant.requantise(values, words, operands.config, how.relu_mode, how.alpha).view(
        how.dtype
    )


def _half_away(
    values: npt.NDArray[np.int32],
    words: npt.NDArray[np.uint64],
    config: UnitConfig,
    how: requant.Requant,
) -> Array:
    """Requantisation that rounds ties away from zero in its last rounding."""
    x, of = values.astype(np.int64), requant.fields_of(words, config)
    if how.mode == "REQ8":
        x = np.where(of.mcb, np.clip(x >> of.shift, -(1 << 15), (1 << 15) - 1), x)
    below = of.scale if how.relu_mode == "none" else np.float32(how.alpha)  # 0 for a plain ReLU
    with np.errstate(over="ignore"):
        y = x.astype(np.float32) * np.where(x < 0, below, of.scale)
    if how.mode == "DEQF16":
        y = np.clip(y, np.float32(-65504), np.float32(65504))
        near = y.astype(np.float16)
        with np.errstate(over="ignore"):
            away = np.nextafter(near, np.copysign(np.float16(np.inf), near))
            exact = np.abs(y.astype(np.float64))
            rest = exact - np.abs(near.astype(np.float64))
            gap = np.abs(away.astype(np.float64)) - exact
        return np.asarray(np.where((rest > 0) & (rest == gap), away, near))
    exact = np.clip(y, -256, 255).astype(np.float64)
    rounded = (np.sign(exact) * np.floor(np.abs(exact) + 0.5)).astype(np.int64)
    low, high = (-128, 127) if how.signed else (0, 255)
    return np.asarray(np.clip(rounded + of.offset, low, high).astype(how.dtype))


def right(operands: Operands) -> Device:
    """The device without a fault."""
    none = np.zeros(operands.n, np.int64)
    return Device(
        operands, operands.rows, weight_of(operands, operands.dense, operands.pairs),
        np.ones(operands.steps, np.int64), operands.config.overflow,
        none if operands.bias is None else operands.bias, none,
    )  # fmt: skip


def weight_of(operands: Operands, slots: Int, pairs: Int, one: int = 1) -> Int:
    """The weight that each activation meets, (n, k_steps)."""
    return spread(slots, *selected(pairs, operands.config, one)).reshape(len(slots), -1)
