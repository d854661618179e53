"""The dense computation from the original weights: the answer that the bytes must give.

Independent on purpose: it knows nothing of groups, indices or layouts, and shares no code with
:mod:`cube24.simulator.functional`. Sums are exact, in int64.
"""

from __future__ import annotations

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
    top, left, bottom, right = pads
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
