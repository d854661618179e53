"""encode and decode beside memcpy, a probe that moves the same bytes, NumPy and a Python loop.

    pytest benchmarks/test_codec.py --benchmark-only

One thread, reused buffers, everything validated, through the public functions. The probe reads and
writes as many bytes as the codec and computes nothing: what it takes is what the memory takes.
"""

from __future__ import annotations

import timeit
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from probe import Probe, aligned
from race import race

from cube24 import encoder

SIZES = {"64 KiB": 64 << 10, "4 MiB": 4 << 20, "256 MiB": 256 << 20}
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


# --- the contests ---------------------------------------------------------------------------------


def copier(source: np.ndarray) -> Callable[[], Any]:
    target = np.zeros_like(source)
    return lambda: np.copyto(target, source)


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUBE24_THREADS", "1")


@pytest.fixture
def path(request: pytest.FixtureRequest) -> Any:
    """The code path that a test names, in its place the best one again."""
    if request.param not in encoder.paths():
        pytest.skip(f"this machine has no path {request.param}")
    encoder.use_path(request.param)
    yield request.param
    encoder.use_path(None)


@pytest.fixture(scope="module")
def probe() -> Probe:
    return Probe()


class Buffers:
    """A weight of some size and its bytes as NumPy has them; and the same for a probe, which needs
    whole lines of the cache."""

    def __init__(self, size: str) -> None:
        self.weight = weights(SIZES[size])
        self.sparse = encoder.encode(self.weight)
        self.dense, self.index = np.zeros_like(self.sparse.dense), np.zeros_like(self.sparse.index)
        self.out = np.zeros_like(self.weight)
        total = self.weight.size
        self.probed = aligned(total), aligned(total // 2), aligned(total // 8)

    def peers(self, probed: Callable[..., Callable[[], Any]]) -> dict[str, Callable[[], Any]]:
        """memcpy, and the better one of the probes."""
        probes = [probed(past=past) for past in (False, True)]
        return {"memcpy": copier(self.weight), "no-work probe": min(probes, key=seconds)}


def seconds(call: Callable[[], Any]) -> float:
    return min(timeit.repeat(call, number=3, repeat=5))


ENCODE = {
    "64 KiB": {"memcpy": (0.65, 0.80)},
    "4 MiB": {"no-work probe": (0.70, 0.85)},
    "256 MiB": {"memcpy": (1.5, 1.9)},
}
DECODE = {
    "64 KiB": {"memcpy": (0.50, 0.75)},
    "4 MiB": {"no-work probe": (0.85, 1.0)},
    "256 MiB": {"memcpy": (1.5, 1.9)},
}


@pytest.mark.parametrize("size", SIZES)
def test_encode(benchmark, probe, size):
    own = Buffers(size)
    race(
        benchmark, lambda: encoder.encode(own.weight, out=own.sparse),
        own.peers(partial(probe.encode, *own.probed)), what=f"encode {size}", must=ENCODE[size],
    )  # fmt: skip
    assert np.array_equal(encoder.decode(own.sparse), own.weight)


def test_encode_beside_other_languages(benchmark):
    own = Buffers("64 KiB")
    flat = own.weight.reshape(-1).tolist()
    assert all(map(np.array_equal, numpy_encode(own.weight), (own.sparse.dense, own.sparse.index)))
    race(
        benchmark, lambda: encoder.encode(own.weight, out=own.sparse),
        {"numpy": lambda: numpy_encode(own.weight), "Python": lambda: python_encode(flat)},
        what="encode 64 KiB",
    )  # fmt: skip


def torch_peers(weight: np.ndarray) -> tuple[Callable[[], Any], Callable[[], Any]] | None:
    """The same by PyTorch, where it is installed: to its own 2:4 form for GPUs, and back."""
    try:
        import torch
        from torch.sparse import _semi_structured_conversions as conversions
    except ImportError:
        return None
    torch.set_num_threads(1)
    dense = torch.from_numpy(weight)
    made = conversions.sparse_semi_structured_from_dense_cutlass(dense)
    assert torch.equal(conversions.sparse_semi_structured_to_dense_cutlass(*made), dense)
    return (
        lambda: conversions.sparse_semi_structured_from_dense_cutlass(dense),
        lambda: conversions.sparse_semi_structured_to_dense_cutlass(*made),
    )


def test_beside_torch(benchmark):
    own = Buffers("4 MiB")
    found = torch_peers(own.weight)
    name = "torch, to its 2:4 form and back"
    peers = {name: lambda: [there_or_back() for there_or_back in found]} if found else {}
    race(
        benchmark,
        lambda: (
            encoder.encode(own.weight, out=own.sparse), encoder.decode(own.sparse, out=own.out),
        ),
        peers, what="encode and decode 4 MiB",
    )  # fmt: skip


def test_encode_into_a_pair_of_arrays(benchmark):
    own = Buffers("64 KiB")
    race(
        benchmark, lambda: encoder.encode(own.weight, out=(own.dense, own.index)),
        {"memcpy": copier(own.weight)}, what="encode 64 KiB, out=(dense, index)",
    )  # fmt: skip


@pytest.mark.parametrize("strict", [False, True], ids=["default", "strict"])
@pytest.mark.parametrize("size", SIZES)
def test_decode(benchmark, probe, size, strict):
    own = Buffers(size)
    must = DECODE[size] if not strict else {"memcpy": (0.40, 0.60)} if size == "64 KiB" else {}
    race(
        benchmark, lambda: encoder.decode(own.sparse, strict=strict, out=own.out),
        own.peers(partial(probe.decode, own.probed[1], own.probed[2], own.probed[0])),
        what=f"decode {size}{', strict' if strict else ''}", must=must,
    )  # fmt: skip
    encoder.decode(own.sparse, strict=strict, out=own.out)
    assert np.array_equal(own.out, own.weight)


def test_decode_beside_other_languages(benchmark):
    own = Buffers("64 KiB")
    dense, index = own.sparse.dense.reshape(-1).tolist(), own.sparse.index.reshape(-1).tolist()
    assert np.array_equal(numpy_decode(own.sparse.dense, own.sparse.index), own.weight)
    race(
        benchmark, lambda: encoder.decode(own.sparse, out=own.out),
        {
            "numpy": lambda: numpy_decode(own.sparse.dense, own.sparse.index),
            "Python": lambda: python_decode(dense, index),
        },
        what="decode 64 KiB",
    )  # fmt: skip


@pytest.mark.parametrize(("path", "size", "limits"), [
    ("avx2", "64 KiB", (0.22, 0.30)), ("avx2", "256 MiB", (0.8, 1.0)), ("scalar", "64 KiB", None),
], indirect=["path"])  # fmt: skip
def test_encode_by_path(benchmark, path, size, limits):
    own = Buffers(size)
    race(
        benchmark, lambda: encoder.encode(own.weight, out=own.sparse),
        {"memcpy": copier(own.weight)}, what=f"encode {size}, {path} only",
        must={"memcpy": limits} if limits else None,
    )  # fmt: skip


def test_encode_straight_to_zn(benchmark):
    own = Buffers("4 MiB")
    zn = encoder.encode(own.weight, layout="zn")
    race(
        benchmark, lambda: encoder.encode(own.weight, layout="zn", out=zn),
        {
            "encode to nd": lambda: encoder.encode(own.weight, out=own.sparse),
            "encode to nd, then to zn": lambda: encoder.encode(own.weight).to_fractal(out=zn),
        },
        what="encode 4 MiB to zn", must={"encode to nd": (0.70, 0.90)},
    )  # fmt: skip


def test_encode_straight_from_a_convolution(benchmark):
    own = Buffers("4 MiB")
    shape = (512, 1024, 3, 3)
    kernel = np.resize(own.weight, (512, 3, 3, 1024)).transpose(0, 3, 1, 2).copy()
    assert kernel.shape == shape
    sparse = encoder.encode_conv(kernel)
    race(
        benchmark, lambda: encoder.encode_conv(kernel, out=sparse), {"memcpy": copier(kernel)},
        what="encode_conv 512 x 1024 x 3 x 3",
    )  # fmt: skip


def test_encode_with_two_threads(benchmark, probe):
    """Beside one thread, and the traffic alone by both: what a second core can bring at all."""
    own = Buffers("256 MiB")
    with ThreadPoolExecutor(2) as pool:
        probes = {
            f"no-work probe, {name}": min(
                (partial(shared, pool, probe, own.probed, parts, past) for past in (False, True)),
                key=seconds,
            )
            for name, parts in (("one thread", 1), ("two threads", 2))
        }
        race(
            benchmark, lambda: encoder.encode(own.weight, out=own.sparse, threads=2),
            {"one thread": lambda: encoder.encode(own.weight, out=own.sparse, threads=1), **probes},
            what="encode 256 MiB, two threads", must={"one thread": (1.3, 1.7)},
        )  # fmt: skip


def shared(
    pool: ThreadPoolExecutor, probe: Probe, buffers: tuple[np.ndarray, ...], parts: int, past: bool
) -> None:
    """The traffic of encoding, a part by each thread."""
    pieces = zip(*(np.split(buffer, parts) for buffer in buffers), strict=True)
    list(pool.map(lambda piece: probe.encode(*piece, past=past)(), pieces))


def test_check(benchmark):
    own = Buffers("4 MiB")
    race(
        benchmark, lambda: encoder.check(own.weight), {"memcpy": copier(own.weight)},
        what="check 4 MiB",
    )  # fmt: skip


@pytest.mark.parametrize("policy", ["magnitude", "first_two"])
def test_prune(benchmark, policy):
    weight = np.random.default_rng(25).integers(-128, 128, (1024, K), dtype=np.int8)
    out = np.empty_like(weight)
    race(
        benchmark, lambda: encoder.prune(weight, policy=policy, out=out),
        {"memcpy": copier(weight)}, what=f"prune 4 MiB, {policy}",
    )  # fmt: skip
