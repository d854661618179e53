"""Weights for graph tests: 2:4 along the right axis, along a wrong one, or all but one group.

All are int8, of ONNX's shape (Cout, Cin, ...) or (N, K): axis 1 is the one that counts, in groups
of four that begin at 0. They are drawn from a seed and share nothing with the package.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def dense_weight(shape: Sequence[int], seed: int = 0, largest: int = 127) -> Array:
    """No zeros, none beyond +- largest."""
    rng = np.random.default_rng(seed)
    return (rng.integers(1, largest + 1, shape) * rng.choice([-1, 1], shape)).astype(np.int8)


def sparse_weight(shape: Sequence[int], seed: int = 0, largest: int = 127) -> Array:
    """2:4 along axis 1, two non-zeros in each whole group, one in a group of one to three."""
    rng = np.random.default_rng(seed)
    weight = dense_weight(shape, seed, largest)
    for first in range(0, shape[1], 4):
        group = weight[:, first : first + 4]  # a view
        order = rng.random(group.shape).argsort(axis=1)
        group[order >= (2 if group.shape[1] == 4 else 1)] = 0
    return weight


def flattened_weight(shape: Sequence[int], seed: int = 0) -> Array:
    """2:4 along the flattened axes behind the first (Cin * Kh * Kw), and not along axis 1 alone."""
    flat = sparse_weight((shape[0], int(np.prod(shape[1:]))), seed)
    weight = flat.reshape(shape)
    assert any(illegal_groups(weight)), "these sizes make the two axes agree: take others"
    return weight


def wrong_axis_weight(shape: Sequence[int], seed: int = 0) -> Array:
    """2:4 along axis 0 (N), and not along axis 1."""
    swapped = (shape[1], shape[0], *shape[2:])
    weight = np.ascontiguousarray(sparse_weight(swapped, seed).swapaxes(0, 1))
    assert any(illegal_groups(weight)), "these sizes make the two axes agree: take others"
    return weight


def with_illegal_group(weight: Array, at: Sequence[int]) -> Array:
    """The weight with three non-zeros in one group; at: where the group's first element is."""
    assert at[1] % 4 == 0, "a group begins at a multiple of four"
    assert at[1] + 3 <= weight.shape[1], "the group has fewer than three elements"
    weight = weight.copy()
    for place in range(3):
        weight[(at[0], at[1] + place, *at[2:])] = 24 + place
    return weight


def illegal_groups(weight: Array) -> Iterator[tuple[int, ...]]:
    """Coordinates of the first element of each group with more than two non-zeros, in row order.

    The order is that of the array with axis 1 last: for a convolution (n, kh, kw, group).
    """
    last = np.moveaxis(weight, 1, -1)
    for row in np.ndindex(last.shape[:-1]):
        for first in range(0, last.shape[-1], 4):
            if np.count_nonzero(last[row][first : first + 4]) > 2:
                yield (row[0], first, *row[1:])


def count_groups(weight: Array) -> int:
    """All groups along axis 1, the short one at the end of each row counted."""
    return weight.size // weight.shape[1] * -(-weight.shape[1] // 4)


def as_uint8(weight: Array, zero: int = 128) -> Array:
    """The same numbers stored as uint8 with a zero point.

    Raises:
        AssertionError: a number does not fit.
    """
    stored = weight.astype(np.int64) + zero
    assert stored.min() >= 0
    assert stored.max() <= 255
    return stored.astype(np.uint8)
