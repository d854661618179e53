"""The C datapath on byte-addressed memories: pointers and status codes end here.

The callers (machine.py) have checked that every operand lies inside its memory. No cffi object
leaves this file.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cube24._cube24 import ffi, lib
from cube24.simulator.config import UnitConfig
from cube24.simulator.isa import Load3D

Bytes = npt.NDArray[np.uint8]


def _at(memory: Bytes, address: int, ctype: str) -> Any:
    return ffi.cast(f"{ctype} *", ffi.from_buffer("uint8_t[]", memory) + address)


def _demand(status: int, *allowed: int) -> int:
    if status != lib.CUBE24_OK and status not in allowed:
        # The machine has checked everything, so this is a defect of ours, not of the program.
        raise AssertionError(f"the C core refused a call: status {status}")
    return status


def _flags(config: UnitConfig) -> int:
    flags = 0
    if config.overflow == "wrap":
        flags |= lib.CUBE24_WRAP
    if config.grain == "instruction":
        flags |= lib.CUBE24_GRAIN_INSTRUCTION
    return flags


def _sparse_flags(config: UnitConfig) -> int:
    flags = _flags(config)
    if config.index3 == "nothing":
        flags |= lib.CUBE24_INDEX3_NOTHING
    if config.pair20 == "table":
        flags |= lib.CUBE24_PAIR20_TABLE
    return flags


def start(c: Bytes, c_at: int, m: int, n: int, bias: Bytes | None, bias_at: int) -> None:
    """Set an m x n result in L0C to zero or to the bias of its column."""
    source = ffi.NULL if bias is None else _at(bias, bias_at, "int32_t")
    _demand(lib.cube24_mmad_start(_at(c, c_at, "int32_t"), m, n, source))


def mmad(
    a: Bytes, a_at: int, b: Bytes, b_at: int, c: Bytes, c_at: int,
    m: int, n: int, k: int, config: UnitConfig,
) -> None:  # fmt: skip
    """c += a x b, dense."""
    _demand(
        lib.cube24_mmad(
            _at(a, a_at, "int8_t"), _at(b, b_at, "int8_t"), m, n, k, _flags(config),
            _at(c, c_at, "int32_t"),
        )
    )  # fmt: skip


def find_index3(index: Bytes, b_at: int, n: int, k: int) -> tuple[int, int] | None:
    """Give (column, group) of the first index of 3 beside an operand at b_at in L0B, or None."""
    place = ffi.new("cube24_place *")
    status = lib.cube24_find_index3(_at(index, b_at // 4, "uint8_t"), n, k, place)
    _demand(status, lib.CUBE24_E_REFUSED)
    return None if status == lib.CUBE24_OK else (int(place.row), int(place.group))


def mmad_sparse(
    a: Bytes, a_at: int, b: Bytes, b_at: int, index: Bytes, c: Bytes, c_at: int,
    m: int, n: int, k: int, config: UnitConfig,
) -> None:  # fmt: skip
    """c += a x b, 2:4; an index of 3 has been looked for before."""
    _demand(
        lib.cube24_mmad_sparse(
            _at(a, a_at, "int8_t"), _at(b, b_at, "int8_t"), _at(index, b_at // 4, "uint8_t"),
            m, n, k, _sparse_flags(config), _at(c, c_at, "int32_t"), ffi.NULL,
        )
    )  # fmt: skip


def _image(load: Load3D) -> Any:
    return ffi.new(
        "cube24_image *",
        [
            load.c1, load.h, load.w, load.kernel_h, load.kernel_w, load.stride_h, load.stride_w,
            load.dilation_h, load.dilation_w,
            load.pad_top, load.pad_left, load.pad_bottom, load.pad_right,
        ],
    )  # fmt: skip


def image_output(load: Load3D) -> tuple[int, int] | None:
    """Output height and width of an img2col, or None if the kernel does not fit."""
    height, width = ffi.new("size_t *"), ffi.new("size_t *")
    status = _demand(lib.cube24_image_output(_image(load), height, width), lib.CUBE24_E_SIZE)
    return (int(height[0]), int(width[0])) if status == lib.CUBE24_OK else None


def load3d(load: Load3D, l1: Bytes, l0a: Bytes) -> None:
    """Img2col from L1 to L0A."""
    _demand(
        lib.cube24_load3d(
            _image(load), _at(l1, load.src, "int8_t"), load.m_start, load.m, load.k_start, load.k,
            load.pad, _at(l0a, load.dst, "int8_t"),
        )
    )  # fmt: skip
