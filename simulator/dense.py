"""The dense computation from the original weights: the answer that the bytes must give.

Independent on purpose: it knows nothing of groups, indices or layouts, and shares no code with
:mod:`cube24.simulator.functional`. Sums are exact: they are made in float64, which holds whole
numbers below 2^53, and a product of two bytes is 2^14 at most.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from operator import index
from typing import Any

import numpy as np
import numpy.typing as npt


def matmul(
    activations: npt.NDArray[np.int8], weight: npt.NDArray[np.int8]
) -> npt.NDArray[np.int64]:
    """(M, K) int8 times the transpose of (N, K) int8: (M, N) int64."""
    sums: npt.NDArray[np.float64] = activations.astype(np.float64) @ weight.astype(np.float64).T
    return sums.astype(np.int64)


def conv2d(
    activations: npt.NDArray[np.int8],
    weight: npt.NDArray[np.int8],
    *,
    strides: tuple[int, int] = (1, 1),
    pads: tuple[int, int, int, int] = (0, 0, 0, 0),
) -> npt.NDArray[np.int64]:
    """(B, Cin, H, W) int8 with (Cout, Cin, Kh, Kw) int8: (B, Cout, Ho, Wo) int64.

    Summed tap by tap, each tap a product over the channels: nothing is gathered or reordered.
    """
    strides, (top, left, bottom, right) = _plain(strides), _plain(pads)
    x = _padded(activations, (top, left, bottom, right), 0)
    w = weight.astype(np.float64)
    _, _, kh, kw = weight.shape
    ho = (x.shape[2] - kh) // strides[0] + 1
    wo = (x.shape[3] - kw) // strides[1] + 1
    total = np.zeros((x.shape[0], weight.shape[0], ho, wo))
    for row in range(kh):
        for column in range(kw):
            taken = x[
                :,
                :,
                row : row + (ho - 1) * strides[0] + 1 : strides[0],
                column : column + (wo - 1) * strides[1] + 1 : strides[1],
            ]
            total += _tap(taken, w[:, :, row, column])
    return total.astype(np.int64)


def _padded(
    image: npt.NDArray[np.int8], pads: tuple[int, int, int, int], value: int
) -> npt.NDArray[np.float64]:
    """An image (B, C, H, W) with rows and columns of a value around it."""
    top, left, bottom, right = pads
    batch, channels, h, w = image.shape
    padded = np.full((batch, channels, top + h + bottom, left + w + right), value, np.float64)
    padded[:, :, top : top + h, left : left + w] = image
    return padded


def _tap(
    taken: npt.NDArray[np.float64], weight: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """(B, C, Ho, Wo) times (Cout, C) over the channels: (B, Cout, Ho, Wo)."""
    batch, channels, ho, wo = taken.shape
    sums: npt.NDArray[np.float64] = weight @ taken.reshape(batch, channels, ho * wo)
    return sums.reshape(batch, len(weight), ho, wo)


def accumulate_matmul(
    activations: npt.NDArray[np.int8],
    weight: npt.NDArray[np.int8],
    bias: npt.NDArray[np.int32] | None,
    ends: Sequence[int],
    overflow: str,
) -> npt.NDArray[np.int32]:
    """Like :func:`matmul` with an int32 accumulator that saturates or wraps.

    ends: the k, ascending, after which a sum of products is added to the accumulator.
    """
    pieces = (
        matmul(activations[:, start:end], weight[:, start:end])
        for start, end in zip([0, *ends], ends, strict=False)
    )
    shape = (len(activations), len(weight))
    return _accumulate(pieces, 0 if bias is None else bias, shape, overflow)


def accumulate_conv2d(
    activations: npt.NDArray[np.int8],
    weight: npt.NDArray[np.int8],
    bias: npt.NDArray[np.int32] | None,
    ends: Sequence[int],
    overflow: str,
    *,
    strides: tuple[int, int] = (1, 1),
    pads: tuple[int, int, int, int] = (0, 0, 0, 0),
    dilations: tuple[int, int] = (1, 1),
    pad_value: int = 0,
) -> npt.NDArray[np.int32]:
    """A convolution with an int32 accumulator: (B, Cin, H, W), (Cout, Cin, Kh, Kw) to NCHW int32.

    ends: as above, in the K order (C1, Kh, Kw, 32); multiples of 32. The image is padded with
    ``pad_value`` in every channel that there is.
    """
    strides, dilations = _plain(strides), _plain(dilations)
    x = _padded(activations, _plain(pads), pad_value)
    w = weight.astype(np.float64)
    cout, cin, kh, kw = weight.shape
    ho = (x.shape[2] - (kh - 1) * dilations[0] - 1) // strides[0] + 1
    wo = (x.shape[3] - (kw - 1) * dilations[1] - 1) // strides[1] + 1

    def pieces() -> Iterator[npt.NDArray[np.int64]]:
        total = np.zeros((x.shape[0], cout, ho, wo))
        k = 0
        for c1 in range(0, cin, 32):
            for row in range(kh):
                for column in range(kw):
                    y, z = row * dilations[0], column * dilations[1]
                    taken = x[
                        :,
                        c1 : c1 + 32,
                        y : y + (ho - 1) * strides[0] + 1 : strides[0],
                        z : z + (wo - 1) * strides[1] + 1 : strides[1],
                    ]
                    total += _tap(taken, w[:, c1 : c1 + 32, row, column])
                    k += 32
                    if k in ends:
                        yield total.astype(np.int64)
                        total = np.zeros_like(total)

    shape = (x.shape[0], cout, ho, wo)
    return _accumulate(pieces(), 0 if bias is None else bias[:, None, None], shape, overflow)


def _plain(numbers: Any) -> Any:
    """Whole numbers as plain ints: small integer types of NumPy would overflow."""
    return tuple(index(number) for number in numbers)


def _accumulate(
    pieces: Iterable[npt.NDArray[np.int64]],
    start: npt.NDArray[np.int32] | int,
    shape: tuple[int, ...],
    overflow: str,
) -> npt.NDArray[np.int32]:
    total = np.full(shape, start, np.int64)
    for piece in pieces:
        total = total + piece
        if overflow == "saturate":  # np.clip does the same, of small arrays in three times the time
            total = np.minimum(np.maximum(total, -(1 << 31)), (1 << 31) - 1)
    return total.astype(np.uint64).astype(np.uint32).view(np.int32)
