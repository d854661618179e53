"""Weights for tests: shaped noise with the values that matter, from a seed."""

from __future__ import annotations

import numpy as np
import oracle

EXTREMES = np.int8([-128, -127, -2, -1, 1, 2, 126, 127])
LEGAL_MASKS = np.array([[letter != "0" for letter in row[0]] for row in oracle.TABLE])


def dense_weight(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Weights without a zero, a fifth of them extremes."""
    rng = np.random.default_rng(seed)
    weight = rng.integers(1, 256, shape, np.uint8).view(np.int8)
    return np.where(rng.random(shape) < 0.2, rng.choice(EXTREMES, shape), weight)


def any_weight(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Weights with all 16 patterns, legal or not."""
    mask = np.random.default_rng(~np.uint32(seed)).random(shape) < 0.5
    return dense_weight(shape, seed) * mask


def legal_weight(shape: tuple[int, ...], seed: int, kind: str = "matrix") -> np.ndarray:
    """Weights whose groups, along K or along Cin, have all 11 legal patterns."""
    if kind == "conv":
        cout, cin, kh, kw = shape
        return legal_weight((cout, kh, kw, cin), seed).transpose(0, 3, 1, 2).copy()
    *leading, k = shape
    groups = (*leading, -(-k // 4))
    rng = np.random.default_rng(~np.uint32(seed))
    mask = LEGAL_MASKS[rng.integers(0, len(LEGAL_MASKS), groups)]
    return dense_weight(shape, seed) * mask.reshape(*leading, 4 * groups[-1])[..., :k]
