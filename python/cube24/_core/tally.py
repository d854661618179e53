"""Coverage: what stands in the bytes of a case, the functions of cube24.h on NumPy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cube24._core.binding import demand, ffi, lib, view, writable
from cube24._core.requant import RELU

#: What the groups of a weight hold, as cube24_tally has it.
TALLY = np.dtype(
    [("places", np.uint16, (64,)), ("columns", np.uint16, (64,)), ("slots", np.uint8, (64, 2))]
)

Bytes = npt.NDArray[np.uint8]


def tally_groups(
    dense: npt.NDArray[np.int8], index: Bytes, counted: Bytes, classes: Bytes, flags: int
) -> tuple[npt.NDArray[Any], Bytes]:
    """Tally the groups of nd bytes.

    Args:
        dense: (n, k_stored / 2). index: (n, k_stored / 8).
        counted: (k_stored / 4,), 0 for the groups of padding.
        classes: (256,), the bit of the class of an int8, by its byte.
        flags: PAIR20_TABLE or 0.

    Returns:
        A TALLY (1,), and of each k the bits of the weights that select it, (k_stored,).
    """
    tally = np.empty(1, TALLY)
    weights = np.empty(4 * counted.size, np.uint8)
    demand(
        lib.cube24_tally_groups(
            view(dense, "int8_t[]"), view(index, "uint8_t[]"), len(dense), weights.size,
            view(counted, "uint8_t[]"), view(classes, "uint8_t[]"), flags,
            writable(tally, "cube24_tally[]"), writable(weights, "uint8_t[]"),
        )
    )  # fmt: skip
    return tally, weights


def spread_groups(dense: npt.NDArray[np.int8], index: Bytes, flags: int) -> npt.NDArray[np.int16]:
    """The weight that nd bytes of groups stand for, whoever wrote them: (n, k_stored).

    Args:
        dense, index, flags: as for :func:`tally_groups`.
    """
    matrix = np.empty((len(dense), 8 * index.shape[1]), np.int16)
    demand(
        lib.cube24_spread_groups(
            view(dense, "int8_t[]"), view(index, "uint8_t[]"), *matrix.shape, flags,
            writable(matrix, "int16_t[]"),
        )
    )  # fmt: skip
    return matrix


def tally_products(x: npt.NDArray[np.int8], weights: Bytes, classes: Bytes) -> Bytes:
    """The classes of weights that each class of an activation meets, as bits, (8,).

    Args:
        x: activations (m, k). weights, classes: as of :func:`tally_groups`, k_stored k or more.
    """
    held, products = np.empty_like(weights), np.empty(8, np.uint8)
    demand(
        lib.cube24_tally_products(
            view(x, "int8_t[]"), *x.shape, view(weights, "uint8_t[]"), weights.size,
            view(classes, "uint8_t[]"), writable(held, "uint8_t[]"),
            writable(products, "uint8_t[]"),
        )
    )  # fmt: skip
    return products


def tally_requant(
    sums: npt.NDArray[np.int32], words: npt.NDArray[Any], alpha: float | None, halves: bool
) -> int:
    """What requantisation does with sums, as the bits that cube24.h lists.

    Args:
        sums: (rows, n). words: WORD (1,) or (n,), with finite scales.
        alpha: what negative sums are multiplied by; None: by the scale, like all others.
        halves: DEQF16, not REQ8.
    """
    seen = ffi.new("uint64_t *")
    flags = (0 if alpha is None else RELU) | (lib.CUBE24_TALLY_HALVES if halves else 0)
    demand(
        lib.cube24_tally_requant(
            view(sums, "int32_t[]"), *sums.shape, view(words, "cube24_word[]"), words.size,
            alpha or 0.0, flags, seen,
        )
    )  # fmt: skip
    return int(seen[0])
