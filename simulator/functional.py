"""What the emitted bytes compute: select and multiply, with no instructions and no time.

The plain statement of the sparse datapath in NumPy. It reads the dense and index bytes of a
SparseWeight and nothing else: for each group, slot 0 takes activation 4g + i0 and slot 1 takes
activation 4g + i1 + 1, whatever the weights are. It never decodes the weight. It is exact, and it
does not model accumulation that saturates: a sum that int32 cannot hold is refused.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cube24.encoder import C0, SparseWeight, decode, int8_array
from cube24.errors import ArgumentError, Cube24Error, ShapeError
from cube24.sizes import whole


class AccumulatorError(Cube24Error, OverflowError):
    """A sum of products that the int32 accumulator cannot hold."""


def matmul(
    activations: npt.NDArray[np.int8],
    sparse: SparseWeight,
    bias: npt.NDArray[np.int32] | None = None,
) -> npt.NDArray[np.int32]:
    """Multiply activations by a weight of kind ``matrix``, or by the matrix of a ``conv``.

    Args:
        activations: int8 (M, K); K as in the weight, (C1, Kh, Kw, C0) for a convolution.
        sparse: one weight (no batch), in either layout.
        bias: int32 (N,), added to every row.

    Returns:
        int32 (M, N).

    Raises:
        DtypeError, ShapeError: the arguments do not fit.
        RefusedError: an index of 3, which selects nothing.
        AccumulatorError: a sum does not fit int32.
    """
    activations = int8_array(activations, "activations")
    geometry = sparse.geometry
    if geometry.batch:
        raise ShapeError(f"the weight has batch dimensions {geometry.batch}; multiply one matrix")
    if activations.ndim != 2 or activations.shape[1] != geometry.k:
        raise ShapeError(
            f"activations have shape {activations.shape}; this weight takes (M, {geometry.k})"
        )
    dense, first, second = _slots(sparse)
    # The slots of padding select activations that do not exist; those are zeros.
    padded = np.zeros((len(activations), 4 * dense.shape[1]), np.int64)
    padded[:, : geometry.k] = activations
    sums = np.empty((len(activations), geometry.n), np.int64)
    for n in range(geometry.n):
        sums[:, n] = padded[:, first[n]] @ dense[n, :, 0] + padded[:, second[n]] @ dense[n, :, 1]
    return _accumulated(sums, bias)


def conv2d(
    activations: npt.NDArray[np.int8],
    sparse: SparseWeight,
    bias: npt.NDArray[np.int32] | None = None,
    *,
    strides: tuple[int, int] = (1, 1),
    pads: tuple[int, int, int, int] = (0, 0, 0, 0),
) -> npt.NDArray[np.int32]:
    """Convolve activations with a weight of kind ``conv``.

    Args:
        activations: int8 (B, Cin, H, W).
        sparse: the weight, in either layout.
        bias: int32 (Cout,).
        strides: (h, w).
        pads: (top, left, bottom, right), zeros.

    Returns:
        int32 (B, Cout, Ho, Wo).

    Raises:
        ArgumentError: strides or pads that are no such numbers.
        DtypeError, ShapeError, RefusedError, AccumulatorError: as for :func:`matmul`.
    """
    activations = int8_array(activations, "activations")
    strides = _numbers("strides", strides, 2, 1)
    pads = _numbers("pads", pads, 4, 0)
    if sparse.kind != "conv":
        raise ShapeError("the weight is of kind 'matrix'; encode it with encode_conv")
    cout, cin, kh, kw = sparse.shape
    if activations.ndim != 4 or activations.shape[1] != cin:
        raise ShapeError(
            f"activations have shape {activations.shape}; this weight takes (B, {cin}, H, W)"
        )
    columns, (batch, ho, wo) = _im2col(activations, kh, kw, strides, pads)
    return matmul(columns, sparse, bias).reshape(batch, ho, wo, cout).transpose(0, 3, 1, 2)


def _numbers(name: str, values: Any, count: int, low: int) -> Any:
    """So many whole numbers: small integer types of NumPy would overflow."""
    found = tuple(whole(value, name, low) for value in values)
    if len(found) != count:
        raise ArgumentError(f"{name} has {len(found)} numbers; it takes {count}")
    return found


def _slots(
    sparse: SparseWeight,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Weights (N, groups, 2) and the activation that each slot selects, from the bytes alone."""
    rows = sparse.to_nd()
    pairs = np.stack([rows.index & 15, rows.index >> 4], axis=-1).reshape(rows.index.shape[0], -1)
    i0, i1 = pairs & 3, pairs >> 2
    if (i0 == 3).any() or (i1 == 3).any():
        decode(sparse)  # raises, naming every place
    groups = 4 * np.arange(pairs.shape[1])
    dense = rows.dense.reshape(*pairs.shape, 2).astype(np.int64)
    return dense, groups + i0, groups + i1 + 1


def _im2col(
    x: npt.NDArray[np.int8],
    kh: int,
    kw: int,
    strides: tuple[int, int],
    pads: tuple[int, int, int, int],
) -> tuple[npt.NDArray[np.int8], tuple[int, int, int]]:
    """Rows of activations in the K order (C1, Kh, Kw, C0), one for each output position."""
    batch, cin, _, _ = x.shape
    top, left, bottom, right = pads
    channels = -cin % C0
    x = np.pad(x, ((0, 0), (0, channels), (top, bottom), (left, right)))
    if x.shape[2] < kh or x.shape[3] < kw:
        raise ShapeError(f"the padded image is {x.shape[2:]}; a kernel of {(kh, kw)} does not fit")
    windows = np.lib.stride_tricks.sliding_window_view(x, (kh, kw), axis=(2, 3))
    windows = windows[:, :, :: strides[0], :: strides[1]]
    _, _, ho, wo = windows.shape[:4]
    blocks = windows.reshape(batch, -1, C0, ho, wo, kh, kw)
    # (B, C1, C0, Ho, Wo, Kh, Kw) -> (B, Ho, Wo, C1, Kh, Kw, C0)
    columns = blocks.transpose(0, 3, 4, 1, 5, 6, 2).reshape(batch * ho * wo, -1)
    return np.ascontiguousarray(columns), (batch, ho, wo)


def _accumulated(
    sums: npt.NDArray[np.int64], bias: npt.NDArray[Any] | None
) -> npt.NDArray[np.int32]:
    if bias is not None:
        if bias.dtype != np.int32 or bias.shape != sums.shape[1:]:
            raise ShapeError(
                f"bias is {bias.dtype} {bias.shape}; this weight takes int32 {sums.shape[1:]}"
            )
        sums = sums + bias
    limits = np.iinfo(np.int32)
    outside = (sums < limits.min) | (sums > limits.max)
    if outside.any():
        m, n = (int(i) for i in np.argwhere(outside)[0])
        raise AccumulatorError(
            f"output ({m}, {n}) is {sums[m, n]}, which int32 cannot hold "
            f"({int(outside.sum())} such outputs); use smaller inputs or bias"
        )
    return sums.astype(np.int32)
