"""Activations and results in the layouts of the unit: functions of cube24.h on NumPy arrays.

Arrays are C-contiguous; their shapes agree. The layouts of weights are those of the codec.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cube24._core.binding import demand, lib, view, writable
from cube24._core.paths import path_flags

Array = npt.NDArray[Any]


def _bytes(array: Array) -> Any:
    return view(array.reshape(-1).view(np.uint8), "uint8_t[]")


def nchw_to_nc1hwc0(nchw: npt.NDArray[np.int8], nc1hwc0: npt.NDArray[np.int8]) -> None:
    """Images (batch, channels, h, w) to blocks (batch, C1, h, w, 32)."""
    demand(
        lib.cube24_nchw_to_nc1hwc0(
            view(nchw, "int8_t[]"), *nchw.shape, path_flags(), writable(nc1hwc0, "int8_t[]")
        )
    )


def nc1hwc0_to_nchw(nc1hwc0: npt.NDArray[np.int8], nchw: npt.NDArray[np.int8]) -> None:
    """Blocks (batch, C1, h, w, 32) to images (batch, channels, h, w)."""
    demand(
        lib.cube24_nc1hwc0_to_nchw(
            view(nc1hwc0, "int8_t[]"), *nchw.shape, path_flags(), writable(nchw, "int8_t[]")
        )
    )


def nd_to_nz(nd: Array, nz: Array) -> None:
    """Rows (m, n) to columns of fractals (N1, stored, n0) of the same type."""
    _, stored, n0 = nz.shape
    size = nd.itemsize
    demand(
        lib.cube24_nd_to_nz(
            _bytes(nd), nd.shape[0], nd.shape[1] * size, n0 * size, stored, _bytes(nz)
        )
    )


def nz_to_nd(nz: Array, nd: Array) -> None:
    """Columns of fractals (N1, stored, n0) to rows (m, n) of the same type."""
    _, stored, n0 = nz.shape
    size = nd.itemsize
    demand(
        lib.cube24_nz_to_nd(
            _bytes(nz), nd.shape[0], nd.shape[1] * size, n0 * size, stored, _bytes(nd)
        )
    )


def zz_to_nd(zz: Array, nd: Array) -> None:
    """Rows of fractals (M1, K1, 16, k0) to rows (m, k) of the same type."""
    size = nd.itemsize
    demand(
        lib.cube24_zz_to_nd(
            _bytes(zz), nd.shape[0], nd.shape[1] * size, zz.shape[3] * size, _bytes(nd)
        )
    )
