"""A case as one multiplication of rows by columns, as a device reads it from the files.

All is made from the files that a device reads: activations, dense, index, bias and requant; the
original weight is not looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cube24.encoder import ZN_K
from cube24.simulator import Conv2d, UnitConfig, isa
from cube24.sizes import ceil_div
from cube24.vectors.case import Array, compute, img2col
from cube24.vectors.selection import Int
from cube24.vectors.spec import Spec, is_conv, layer_of, requant_of, unit_of


@dataclass(frozen=True, eq=False)
class Operands:
    """A case as one multiplication of rows by columns.

    Attributes: spec and config, of the case; arrays, its files by role; rows, the activations
    (rows, k_steps), for a convolution one row an output position; k, without padding; k_steps, K
    rounded up to whole steps of 64; n; image_rows, rows of one image or all rows; dense and pairs,
    (N, groups, 2), filled with zeros up to k_steps; ends, the k after which sums are added to the
    accumulator; shape and dtype of the result.
    """

    spec: Spec
    config: UnitConfig
    arrays: Mapping[str, Array]
    rows: npt.NDArray[np.int16]
    k: int
    k_steps: int
    n: int
    image_rows: int
    dense: Int
    pairs: Int
    ends: tuple[int, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def conv(self) -> bool:
        """Whether it is a convolution."""
        return is_conv(self.spec)

    @property
    def bias(self) -> Int | None:
        """The bias, (n,)."""
        found = self.arrays.get("bias")
        return None if found is None else found.astype(np.int64)

    @property
    def steps(self) -> int:
        """Steps of 64 of k, one fractal each."""
        return self.k_steps // ZN_K


def operands_of(spec: Spec, arrays: Mapping[str, Array]) -> Operands:
    """Make it.

    Args:
        spec: of the case.
        arrays: activations, dense and index by role, and bias and requant where the case has them,
            as they stand in the files.

    Raises:
        ArgumentError, ConfigError: the spec is impossible.
    """
    layer, config, how = layer_of(spec), unit_of(spec), requant_of(spec)
    if isinstance(layer, Conv2d):
        columns = img2col(arrays["activations"], layer)
        shape: tuple[int, ...] = (layer.batch, *layer.positions)
    else:
        columns, shape = arrays["activations"], (layer.m,)
    n, k = layer.n, columns.shape[1]
    k_steps = ceil_div(k, ZN_K) * ZN_K
    dense, index = _as_rows(arrays["dense"], arrays["index"], spec["layout"])
    return Operands(
        spec, config, arrays, _widened(columns.astype(np.int16), k_steps), k, k_steps, n,
        layer.m, *groups_of(dense, index, n, k_steps), _ends(spec, config, arrays, k),
        (*shape, n), np.dtype(np.int32) if how is None else how.dtype,
    )  # fmt: skip


def _widened(array: Array, columns: int) -> Array:
    """The array with zeros behind its rows."""
    return np.pad(array, ((0, 0), (0, columns - array.shape[1])))


def _as_rows(dense: Array, index: Array, layout: str) -> tuple[Array, Array]:
    """Dense and index as rows (N', bytes), from rows or from fractals (K1, N1, 16, bytes)."""
    if layout == "nd":
        return dense, index
    return fractal_rows(dense), fractal_rows(index)


def fractal_rows(fractals: Array) -> Array:
    """The rows (16 * N1, bytes) of fractals (K1, N1, 16, bytes)."""
    k1, n1, n0, k0 = fractals.shape
    return fractals.transpose(1, 2, 0, 3).reshape(n1 * n0, k1 * k0)


def groups_of(dense: Array, index: Array, n: int, k_steps: int) -> tuple[Int, Int]:
    """Slots and index pairs (n, k_steps / 4, 2) of dense and index as rows (N', bytes)."""
    slots = _widened(dense[:n].astype(np.int64), k_steps // 2).reshape(n, -1, 2)
    packed = _widened(index[:n].astype(np.int64), k_steps // 8)
    pairs = packed[:, :, None] >> np.array([0, 2, 4, 6]) & 3
    return slots, pairs.reshape(n, -1, 2)


def _ends(spec: Spec, config: UnitConfig, arrays: Mapping[str, Array], k: int) -> tuple[int, ...]:
    """The k after which the unit adds to its accumulator, the last one filled up to a step."""
    last = ceil_div(k, ZN_K) * ZN_K
    if config.grain == "step":
        return tuple(range(ZN_K, last + 1, ZN_K))
    if config.overflow == "wrap" and "bias" not in arrays:
        return (last,)  # no sum from zero can leave int32, and so the grain does not matter
    # The program depends on the sizes alone; weights of zero are legal, whatever the files hold.
    blank = {**arrays, "dense": 0 * arrays["dense"], "index": 0 * arrays["index"]}
    ends, at = [], 0
    for instruction in compute(spec, config, blank).program.instructions:
        if isinstance(instruction, isa.Mmad):
            at += instruction.k
            ends.append(at)
            if at >= k:
                break
    return (*ends[:-1], last)
