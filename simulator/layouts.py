"""How activations, dense weights and results stand in memory: NC1HWC0, and fractals Zn, Zz and Nz.

The rules are those of docs/format.md, "Layouts" and "Convolution weights"; the C core has them.
Encoded weights are the encoder's.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cube24 import _core
from cube24.encoder import C0, DENSE_K0, N0
from cube24.sizes import ceil_div


def to_nc1hwc0(x: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    """(batch, cin, h, w) as (batch, ceil(cin / 32), h, w, 32), filled with zeros."""
    batch, cin, h, w = x.shape
    blocks = np.empty((batch, ceil_div(cin, C0), h, w, C0), np.int8)
    _core.nchw_to_nc1hwc0(np.ascontiguousarray(x), blocks)
    return blocks


def from_nc1hwc0(x: npt.NDArray[np.int8], cin: int) -> npt.NDArray[np.int8]:
    """The inverse of :func:`to_nc1hwc0`: (batch, cin, h, w)."""
    batch, _, h, w, _ = x.shape
    images = np.empty((batch, cin, h, w), np.int8)
    _core.nc1hwc0_to_nchw(np.ascontiguousarray(x), images)
    return images


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


def from_zz(fractals: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    """Zz fractals (M1, K1, 16, 32) as rows (M1 * 16, K1 * 32)."""
    m1, k1, rows, k0 = fractals.shape
    matrix = np.empty((m1 * rows, k1 * k0), np.int8)
    _core.zz_to_nd(np.ascontiguousarray(fractals), matrix)
    return matrix


def nz_n0(dtype: np.dtype[Any]) -> int:
    """Columns of a fractal of results: 16, or 32 for a byte each, as two fractals merge."""
    return 2 * N0 if dtype.itemsize == 1 else N0


def to_nz(rows: npt.NDArray[Any], stored: int) -> npt.NDArray[Any]:
    """Results (M, N) as Nz, (N1, stored, N0): columns of fractals, filled with zeros.

    N0 is that of :func:`nz_n0`; stored is the rows of a column, M or more.
    """
    n0 = nz_n0(rows.dtype)
    columns = np.empty((ceil_div(rows.shape[1], n0), stored, n0), rows.dtype)
    _core.nd_to_nz(np.ascontiguousarray(rows), columns)
    return columns


def from_nz(columns: npt.NDArray[Any], m: int, n: int) -> npt.NDArray[Any]:
    """The inverse of :func:`to_nz`: (m, n)."""
    rows = np.empty((m, n), columns.dtype)
    _core.nz_to_nd(np.ascontiguousarray(columns), rows)
    return rows
