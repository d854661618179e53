"""The datapath of the unit: multiply-add and img2col of cube24.h on byte-addressed memories.

Operands are views of memories, uint8, from the first byte of the operand on; the caller (the
machine) has checked that all of it lies inside.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cube24._core.binding import demand, ffi, lib
from cube24._core.paths import path_flags

Bytes = npt.NDArray[np.uint8]

# What the public documents leave open, as flags of a multiply-add: see cube24.h.
WRAP: int = lib.CUBE24_WRAP
GRAIN_INSTRUCTION: int = lib.CUBE24_GRAIN_INSTRUCTION
INDEX3_NOTHING: int = lib.CUBE24_INDEX3_NOTHING
PAIR20_TABLE: int = lib.CUBE24_PAIR20_TABLE


class Image(NamedTuple):
    """The geometry of an img2col, in the order of cube24_image."""

    c1: int
    h: int
    w: int
    kernel_h: int
    kernel_w: int
    stride_h: int
    stride_w: int
    dilation_h: int
    dilation_w: int
    pad_top: int
    pad_left: int
    pad_bottom: int
    pad_right: int


_ARRAYS = {name: ffi.typeof(f"{name}[]") for name in ("int8_t", "uint8_t", "int32_t")}


def _pointer(memory: Bytes, ctype: str) -> Any:
    return ffi.from_buffer(_ARRAYS[ctype], memory)


def mmad_start(c: Bytes, m: int, n: int, bias: Bytes | None) -> None:
    """Set an m x n result, Nz fractals of int32, to zero or to the bias of its column."""
    source = ffi.NULL if bias is None else _pointer(bias, "int32_t")
    demand(lib.cube24_mmad_start(_pointer(c, "int32_t"), m, n, source))


def mmad(a: Bytes, b: Bytes, c: Bytes, m: int, n: int, k: int, flags: int) -> None:
    """c += a x b, dense: Zz, Zn and Nz fractals."""
    demand(
        lib.cube24_mmad(
            _pointer(a, "int8_t"), _pointer(b, "int8_t"), m, n, k, flags | path_flags(),
            _pointer(c, "int32_t"),
        )
    )  # fmt: skip


def find_index3(index: Bytes, n: int, k: int) -> tuple[int, int] | None:
    """Give (column, group) of the first index of 3 in Zn index fractals, or None."""
    place = ffi.new("cube24_place *")
    status = lib.cube24_find_index3(_pointer(index, "uint8_t"), n, k, place)
    demand(status, lib.CUBE24_E_REFUSED)
    return None if status == lib.CUBE24_OK else (int(place.row), int(place.group))


def mmad_sparse(
    a: Bytes, b: Bytes, index: Bytes, c: Bytes, m: int, n: int, k: int, flags: int
) -> None:
    """c += a x b, 2:4; an index of 3 has been looked for before."""
    demand(
        lib.cube24_mmad_sparse(
            _pointer(a, "int8_t"), _pointer(b, "int8_t"), _pointer(index, "uint8_t"), m, n, k,
            flags | path_flags(), _pointer(c, "int32_t"), ffi.NULL,
        )
    )  # fmt: skip


def image_output(image: Image) -> tuple[int, int] | None:
    """Output height and width of an img2col, or None if the kernel does not fit."""
    height, width = ffi.new("size_t *"), ffi.new("size_t *")
    status = lib.cube24_image_output(ffi.new("cube24_image *", list(image)), height, width)
    demand(status, lib.CUBE24_E_SIZE)
    return (int(height[0]), int(width[0])) if status == lib.CUBE24_OK else None


def load3d(
    image: Image, x: Bytes, out: Bytes, *, m_start: int, m: int, k_start: int, k: int, pad: int
) -> None:
    """Img2col of an NC1HWC0 image into Zz fractals."""
    demand(
        lib.cube24_load3d(
            ffi.new("cube24_image *", list(image)), _pointer(x, "int8_t"), m_start, m, k_start, k,
            pad, _pointer(out, "int8_t"),
        )
    )  # fmt: skip
