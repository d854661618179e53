"""Requantisation: words and matrices of sums, the functions of cube24.h on NumPy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cube24._core.binding import demand, ffi, lib, view, writable
from cube24._core.paths import path_flags

# What the public documents leave open about a word, and ReLU, as flags: see cube24.h.
OFFSET_UNSIGNED: int = lib.CUBE24_OFFSET_UNSIGNED
SHIFT_N: int = lib.CUBE24_SHIFT_N
RELU: int = lib.CUBE24_RELU

#: The fields of a parameter word, as cube24_word has them.
WORD = np.dtype(
    [
        ("scale", np.float32),
        ("shifts", np.int32),
        ("shift", np.int32),
        ("offset", np.int32),
        ("is_signed", np.int32),
    ]
)

Words = npt.NDArray[np.uint64]


def read_words(words: Words, flags: int) -> npt.NDArray[Any]:
    """What words (n,) say, an array of WORD."""
    fields = np.empty(words.shape, WORD)
    demand(
        lib.cube24_read_words(
            view(words, "uint64_t[]"), words.size, flags | path_flags(),
            writable(fields, "cube24_word[]"),
        )
    )  # fmt: skip
    return fields


def write_words(fields: npt.NDArray[Any], flags: int) -> Words | int:
    """The words of fields (n,) of WORD, or the number of the first that has no word."""
    words, position = np.empty(fields.shape, np.uint64), ffi.new("uint64_t *")
    status = lib.cube24_write_words(
        view(fields, "cube24_word[]"), fields.size, flags | path_flags(),
        writable(words, "uint64_t[]"), position,
    )  # fmt: skip
    demand(status, lib.CUBE24_E_RANGE)
    return words if status == lib.CUBE24_OK else int(position[0])


def requantise(
    sums: npt.NDArray[np.int32], words: Words, alpha: float, flags: int, out: npt.NDArray[np.uint8]
) -> int | None:
    """REQ8 of sums (m, n) with words (1,) or (n,), or the number of a word that is refused."""
    return _turn(lib.cube24_requantise, sums, words, alpha, flags, view(out, "uint8_t[]"))


def dequantise(
    sums: npt.NDArray[np.int32],
    words: Words,
    alpha: float,
    flags: int,
    out: npt.NDArray[np.float16],
) -> int | None:
    """DEQF16 of sums (m, n) with words (1,) or (n,), or the number of a word that is refused."""
    halves = view(out.view(np.uint16), "uint16_t[]")
    return _turn(lib.cube24_dequantise, sums, words, alpha, flags, halves)


def _turn(
    call: Any, sums: npt.NDArray[np.int32], words: Words, alpha: float, flags: int, out: Any
) -> int | None:
    position = ffi.new("uint64_t *")
    status = call(
        view(sums, "int32_t[]"), *sums.shape, view(words, "uint64_t[]"), words.size, alpha,
        flags | path_flags(), out, position,
    )  # fmt: skip
    demand(status, lib.CUBE24_E_REFUSED)
    return None if status == lib.CUBE24_OK else int(position[0])
