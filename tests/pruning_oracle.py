"""What pruning must give, in plain loops and textbook least squares: what the tests compare with.

It shares nothing with the package. A weight is (N, K) or (Cout, Cin, Kh, Kw); groups of four lie
along axis 1. Inputs of a layer are rows of K, of a convolution K = Cin * Kh * Kw.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def two_of(group: Sequence[Any], scores: Sequence[float]) -> list[int]:
    """Positions of the weights of a group that stay: all, if there are two or fewer."""
    nonzero = [position for position in range(len(group)) if group[position] != 0]
    if len(nonzero) <= 2:
        return nonzero
    return sorted(sorted(nonzero, key=lambda position: (-scores[position], position))[:2])


def mask_of(weight: Array, scores: Array | None = None) -> Array:
    """Which weights stay; scores: of the weight's shape, else the absolute values."""
    scores = np.abs(weight.astype(np.float64)) if scores is None else scores
    mask = np.zeros(weight.shape, bool)
    for n in range(weight.shape[0]):
        for place in itertools.product(*map(range, weight.shape[2:])):
            for first in range(0, weight.shape[1], 4):
                at = [(n, k, *place) for k in range(first, min(first + 4, weight.shape[1]))]
                for position in two_of([weight[i] for i in at], [scores[i] for i in at]):
                    mask[at[position]] = True
    return mask


def pruned(weight: Array) -> Array:
    """By magnitude."""
    return np.where(mask_of(weight), weight, weight.dtype.type(0))


def windows(
    x: Array,
    kernel: Sequence[int],
    strides: Sequence[int] = (1, 1),
    pads: Sequence[int] = (0, 0, 0, 0),
    dilations: Sequence[int] = (1, 1),
) -> Array:
    """What a kernel covers of (B, C, H, W) at each position, zeros around it, number by number."""
    batch, channels, height, width = x.shape
    down = (height + pads[0] + pads[2] - (kernel[0] - 1) * dilations[0] - 1) // strides[0] + 1
    across = (width + pads[1] + pads[3] - (kernel[1] - 1) * dilations[1] - 1) // strides[1] + 1
    rows = []
    for b, oh, ow in itertools.product(range(batch), range(down), range(across)):
        row = []
        for c, kh, kw in itertools.product(range(channels), range(kernel[0]), range(kernel[1])):
            h = oh * strides[0] + kh * dilations[0] - pads[0]
            w = ow * strides[1] + kw * dilations[1] - pads[1]
            row.append(x[b, c, h, w] if 0 <= h < height and 0 <= w < width else 0)
        rows.append(row)
    return np.array(rows, np.float64)


def fitted(weight: Array, mask: Array, inputs: Array) -> Array:
    """Least squares of the weights that stay, row by row.

    The least of |X w - X w0|^2 + r |w - w0|^2 over w that is zero where it does not stay, with r
    1 % of the mean square of the inputs of a weight.
    """
    flat, stay = weight.reshape(len(weight), -1).astype(np.float64), mask.reshape(len(mask), -1)
    ridge = 0.01 * (inputs**2).sum() / inputs.shape[1]
    found = np.where(stay, flat, 0)
    for n in range(len(flat)):
        kept = [k for k in range(flat.shape[1]) if stay[n, k]]
        if all(flat[n, k] == 0 or stay[n, k] for k in range(flat.shape[1])) or not ridge:
            continue
        above = inputs[:, kept], inputs @ flat[n]
        below = np.sqrt(ridge) * np.eye(len(kept)), np.sqrt(ridge) * flat[n, kept]
        rows, wanted = (np.concatenate(pair) for pair in zip(above, below, strict=True))
        found[n, kept] = np.linalg.lstsq(rows, wanted, rcond=None)[0]
    return found.reshape(weight.shape)


def error(weight: Array, other: Array, inputs: Array) -> float:
    """Squares of the differences of the outputs over squares of the outputs."""
    flat = weight.reshape(len(weight), -1).astype(np.float64)
    change = other.reshape(len(weight), -1).astype(np.float64) - flat
    return float(((inputs @ change.T) ** 2).sum() / ((inputs @ flat.T) ** 2).sum())
