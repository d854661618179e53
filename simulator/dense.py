"""The dense computation from the original weights: the answer that the bytes must give.

Independent on purpose: it knows nothing of groups, indices or layouts, and shares no code with
:mod:`cube24.simulator.functional`. Sums are exact, in int64.
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
    return activations.astype(np.int64) @ weight.astype(np.int64).T


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
    x = np.pad(activations, ((0, 0), (0, 0), (top, bottom), (left, right))).astype(np.int64)
    w = weight.astype(np.int64)
    _, _, kh, kw = weight.shape
    ho = (x.shape[2] - kh) // strides[0] + 1
    wo = (x.shape[3] - kw) // strides[1] + 1
    total = np.zeros((x.shape[0], weight.shape[0], ho, wo), np.int64)
    for row in range(kh):
        for column in range(kw):
            taken = x[
                :,
                :,
                row : row + (ho - 1) * strides[0] + 1 : strides[0],
                column : column + (wo - 1) * strides[1] + 1 : strides[1],
            ]
            total += np.einsum("bchw,oc->bohw", taken, w[:, :, row, column])
    return total


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
    return _accumulate(pieces, np.broadcast_to(0 if bias is None else bias, shape), overflow)


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
    top, left, bottom, right = _plain(pads)
    x = np.pad(
        activations, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=pad_value
    ).astype(np.int64)
    w = weight.astype(np.int64)
    cout, cin, kh, kw = weight.shape
    ho = (x.shape[2] - (kh - 1) * dilations[0] - 1) // strides[0] + 1
    wo = (x.shape[3] - (kw - 1) * dilations[1] - 1) // strides[1] + 1

    def pieces() -> Iterator[npt.NDArray[np.int64]]:
        total = np.zeros((x.shape[0], cout, ho, wo), np.int64)
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
                    # float64 is exact here: a sum of 32 products is below 2^53 by far.
                    part = np.einsum(
                        "bchw,oc->bohw",
                        taken.astype(np.float64),
                        w[:, c1 : c1 + 32, row, column].astype(np.float64),
                        optimize=True,
                    )
                    total += part.astype(np.int64)
                    k += 32
                    if k in ends:
                        yield total
                        total = np.zeros_like(total)

    shape = (x.shape[0], cout, ho, wo)
    start = np.zeros(cout, np.int64) if bias is None else bias
    return _accumulate(pieces(), np.broadcast_to(start[:, None, None], shape), overflow)


def _plain(numbers: Any) -> Any:
    """Whole numbers as plain ints: small integer types of NumPy would overflow."""
    return tuple(index(number) for number in numbers)


def _accumulate(
    pieces: Iterable[npt.NDArray[np.int64]], start: npt.NDArray[Any], overflow: str
) -> npt.NDArray[np.int32]:
    total = start.astype(np.int64)
    for piece in pieces:
        total = total + piece
        if overflow == "saturate":
            total = np.clip(total, -(1 << 31), (1 << 31) - 1)
    return total.astype(np.uint64).astype(np.uint32).view(np.int32)
