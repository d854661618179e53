"""How activations and dense weights stand in global memory: NC1HWC0 images and Zn fractals.

The rules are those of docs/format.md, "Layouts" and "Convolution weights". Encoded weights are the
encoder's.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cube24 import _core
from cube24.encoder import C0, DENSE_K0, N0
from cube24.sizes import ceil_div, round_up


def to_nc1hwc0(x: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    """(batch, cin, h, w) as (batch, ceil(cin / 32), h, w, 32), filled with zeros."""
    batch, cin, h, w = x.shape
    padded = np.zeros((batch, round_up(cin, C0), h, w), np.int8)
    padded[:, :cin] = x
    blocks = padded.reshape(batch, padded.shape[1] // C0, C0, h, w)
    return np.ascontiguousarray(blocks.transpose(0, 1, 3, 4, 2))


def from_nc1hwc0(x: npt.NDArray[np.int8], cin: int) -> npt.NDArray[np.int8]:
    """The inverse of :func:`to_nc1hwc0`: (batch, cin, h, w)."""
    batch, c1, h, w, _ = x.shape
    return x.transpose(0, 1, 4, 2, 3).reshape(batch, c1 * C0, h, w)[:, :cin]


def conv_rows(weight: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    """(Cout, Cin, Kh, Kw) as (Cout, C1 * Kh * Kw * 32), the K order of convolutions."""
    cout, cin, kh, kw = weight.shape
    rows = np.empty((cout, ceil_div(cin, C0) * kh * kw * C0), np.int8)
    _core.conv_to_matrix(np.ascontiguousarray(weight), rows)
    return rows


def to_zn(rows: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    """(N, K) as Zn fractals (ceil(K / 32), ceil(N / 16), 16, 32), filled with zeros."""
    n, k = rows.shape
    fractals = np.empty((ceil_div(k, DENSE_K0), ceil_div(n, N0), N0, DENSE_K0), np.int8)
    _core.nd_to_zn(np.ascontiguousarray(rows), fractals)
    return fractals
