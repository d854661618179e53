"""encode and decode beside a plain copy, NumPy and a Python loop, in one run.

    pytest benchmarks --benchmark-only

Each table (encode, decode, at 64 KiB, 4 MiB and 256 MiB) holds all contenders; compare them by the
numbers in brackets, which are ratios to the fastest. ``GB/s`` of sparse int8 stands in extra_info
(--benchmark-json). The Python loop runs on 64 KiB only: it takes minutes beyond.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from cube24 import encoder

SIZES = {"64KiB": 64 << 10, "4MiB": 4 << 20, "256MiB": 256 << 20}
K = 4096
PAIRS = np.array(list(combinations(range(4), 2)))


def weights(size: int) -> np.ndarray:
    """Two random weights at two random places of every group."""
    rng = np.random.default_rng(24)
    groups = np.zeros((size // 4, 4), np.int8)
    places = PAIRS[rng.integers(0, 6, len(groups))]
    values = rng.integers(-128, 128, (len(groups), 2), dtype=np.int8)
    np.put_along_axis(groups, places, values, axis=1)
    return groups.reshape(-1, K)


# --- peers: the same result without our C ---------------------------------------------------------

I0 = np.zeros(16, np.uint8)
I1 = np.zeros(16, np.uint8)
for _mask in range(16):
    _set = [p for p in range(4) if _mask >> p & 1][:2]
    if len(_set) == 2:
        I0[_mask], I1[_mask] = _set[0], _set[1] - 1
    elif _set:
        I0[_mask], I1[_mask] = (0, 2) if _set[0] == 3 else (_set[0], 0)


def numpy_encode(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    groups = weight.reshape(-1, 4)
    mask = (groups != 0) @ np.array([1, 2, 4, 8], np.uint8)
    i0, i1 = I0[mask], I1[mask]
    dense = np.empty((len(groups), 2), np.int8)
    lines = np.arange(len(groups))
    dense[:, 0] = groups[lines, i0]
    dense[:, 1] = groups[lines, i1 + 1]
    dense[:, 0][mask == 8] = 0
    dense[:, 1][(mask & (mask - 1) == 0) & (mask != 8)] = 0
    nibbles = (i0 | i1 << 2).reshape(-1, 2)
    return dense.reshape(len(weight), -1), (nibbles[:, 0] | nibbles[:, 1] << 4).reshape(
        len(weight), -1
    )


def numpy_decode(dense: np.ndarray, index: np.ndarray) -> np.ndarray:
    pairs = np.stack([index & 15, index >> 4], axis=-1).reshape(-1)
    slots = dense.reshape(-1, 2)
    out = np.zeros((len(pairs), 4), np.int8)
    lines = np.arange(len(pairs))
    out[lines, pairs & 3] += slots[:, 0]
    out[lines, (pairs >> 2) + 1] += slots[:, 1]
    return out.reshape(len(dense), -1)


def python_encode(weight: list[int]) -> tuple[list[int], list[int]]:
    dense, index = [], []
    for start in range(0, len(weight), 4):
        group = weight[start : start + 4]
        places = [p for p in range(4) if group[p]]
        if len(places) == 2:
            i0, i1, slots = places[0], places[1] - 1, [group[places[0]], group[places[1]]]
        elif places == [3]:
            i0, i1, slots = 0, 2, [0, group[3]]
        elif places:
            i0, i1, slots = places[0], 0, [group[places[0]], 0]
        else:
            i0, i1, slots = 0, 0, [0, 0]
        dense += slots
        if start % 8:
            index[-1] |= (i0 | i1 << 2) << 4
        else:
            index.append(i0 | i1 << 2)
    return dense, index


def python_decode(dense: list[int], index: list[int]) -> list[int]:
    out = [0] * (2 * len(dense))
    for group in range(len(dense) // 2):
        pair = index[group // 2] >> 4 * (group % 2) & 15
        out[4 * group + (pair & 3)] += dense[2 * group]
        out[4 * group + (pair >> 2) + 1] += dense[2 * group + 1]
    return out


# --- the tables -----------------------------------------------------------------------------------

ENCODERS = ["memcpy", *encoder.paths(), "numpy", "python"]


def cases() -> list[Any]:
    return [
        pytest.param(size, who, id=f"{size}-{who}")
        for size in SIZES
        for who in ENCODERS
        if who != "python" or size == "64KiB"
    ]


def measure(benchmark: Any, size: int, call: Callable[[], Any]) -> None:
    rounds = 5 if size > 1 << 24 else 20
    benchmark.pedantic(call, rounds=rounds, warmup_rounds=1)
    if benchmark.stats:  # not with --benchmark-disable, which runs everything once
        benchmark.extra_info["GB/s"] = round(size / benchmark.stats["median"] / 1e9, 3)


def copier(weight: np.ndarray) -> Callable[[], Any]:
    target = np.empty_like(weight)
    return lambda: np.copyto(target, weight)


@pytest.mark.parametrize(("name", "who"), cases())
def test_encode(benchmark, name, who):
    benchmark.group = f"encode {name}"
    weight = weights(SIZES[name])
    sparse = encoder.encode(weight)
    if who == "memcpy":
        call = copier(weight)
    elif who == "numpy":
        assert all(map(np.array_equal, numpy_encode(weight), (sparse.dense, sparse.index)))
        call = lambda: numpy_encode(weight)  # noqa: E731
    elif who == "python":
        flat = weight.reshape(-1).tolist()
        assert python_encode(flat)[1] == sparse.index.reshape(-1).tolist()
        call = lambda: python_encode(flat)  # noqa: E731
    else:
        encoder.use_path(who)
        call = lambda: encoder.encode(weight)  # noqa: E731
    try:
        measure(benchmark, weight.size, call)
    finally:
        encoder.use_path(None)


@pytest.mark.parametrize(("name", "who"), cases())
def test_decode(benchmark, name, who):
    benchmark.group = f"decode {name}"
    weight = weights(SIZES[name])
    sparse = encoder.encode(weight)
    if who == "memcpy":
        call = copier(weight)
    elif who == "numpy":
        assert np.array_equal(numpy_decode(sparse.dense, sparse.index), weight)
        call = lambda: numpy_decode(sparse.dense, sparse.index)  # noqa: E731
    elif who == "python":
        dense, index = sparse.dense.reshape(-1).tolist(), sparse.index.reshape(-1).tolist()
        assert python_decode(dense, index) == weight.reshape(-1).tolist()
        call = lambda: python_decode(dense, index)  # noqa: E731
    else:
        encoder.use_path(who)
        call = lambda: encoder.decode(sparse)  # noqa: E731
    try:
        measure(benchmark, weight.size, call)
    finally:
        encoder.use_path(None)
