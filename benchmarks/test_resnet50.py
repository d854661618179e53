"""All 53 convolutions of ResNet-50, values and cycles, beside onnxruntime's QLinearConv.

    pytest benchmarks/test_resnet50.py --benchmark-only

With one thread the libraries take turns in one process. With two, each runs alone in a process of
its own, in turn, because the waiting threads of one would disturb the other.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import pytest
from race import race
from resnet50 import convolutions, layers, peers

from cube24.simulator import Unit

PEER = "onnxruntime QLinearConv, dense"
TURNS = 5  # of processes, each with many rounds


def test_the_network_has_53_convolutions():
    assert len(layers()) == 53
    macs = sum(
        layer.cin * layer.cout * layer.kernel**2 * (layer.size // layer.stride) ** 2
        for layer in layers()
    )
    assert 4.0e9 < macs < 4.2e9


@pytest.fixture(scope="module")
def network() -> Any:
    """All layers, and a call of the peer for all of them; all outputs are compared, once."""
    unit, found = Unit(), convolutions()
    theirs, outputs = peers(found, 1)
    theirs()
    for one, wanted in zip(found, outputs, strict=True):
        for operand in (one.sparse, one.weight):
            one.out[...] = 0
            assert not one.ours(unit, 1, operand).exact_steps
            assert np.array_equal(one.out.view(np.uint8) ^ 128, wanted)
    return found, theirs


@pytest.mark.parametrize("what", ["2:4, NCHW", "2:4, NHWC", "dense, NCHW"])
def test_one_thread(benchmark, network, what):
    unit, data_format = Unit(), what[-4:]
    layers, theirs = network

    def ours() -> None:
        for one in layers:
            one.ours(unit, 1, one.weight if "dense" in what else None, data_format)

    race(
        benchmark, ours, {PEER: theirs}, what=f"ResNet-50, 53 convolutions, {what}",
        must={PEER: (1.0, 1.2)} if what == "2:4, NCHW" else None,
    )  # fmt: skip


def test_the_instructions(benchmark, network):
    """What the same takes step by step."""
    unit = Unit()
    some = network[0][:6]

    def steps() -> None:
        for one in some:
            unit.conv2d(
                one.x, one.sparse, requant=one.requant, strides=(one.layer.stride,) * 2,
                pads=one.pads, exact_steps=True, out=one.out,
            )  # fmt: skip

    def direct() -> None:
        for one in some:
            one.ours(unit, 1)

    race(benchmark, steps, {"all products at once": direct}, rounds=3,
         what="ResNet-50, the first 6 convolutions, exact_steps=True")  # fmt: skip


def alone(library: str, threads: int) -> float:
    """The median seconds of all layers, in a process where nothing else runs."""
    done = subprocess.run(
        [sys.executable, __file__, library, str(threads)], capture_output=True, text=True,
        check=True, cwd=Path(__file__).parent,
    )  # fmt: skip
    return float(json.loads(done.stdout))


def test_two_threads(benchmark):
    if benchmark.disabled:
        assert alone("cube24", 2) > 0
        assert alone("onnxruntime", 2) > 0
        benchmark(lambda: None)
        return
    times: dict[str, list[float]] = {"cube24": [], "onnxruntime": []}
    for _ in range(TURNS):
        for library, found in times.items():
            found.append(alone(library, 2))
    ours, theirs = (median(found) for found in times.values())
    what = "ResNet-50, 53 convolutions, 2:4, NCHW, two threads, processes in turn"
    benchmark.group = what
    benchmark(lambda: None)  # the processes have timed themselves
    benchmark.extra_info |= {
        "what": what, "seconds": ours, "peers": {PEER: theirs}, "ratios": {PEER: theirs / ours},
        "must": {PEER: (1.0, 1.3)},
    }  # fmt: skip


def main(library: str, threads: int) -> None:
    """Time one library on all layers, and print the median."""
    network, unit = convolutions(), Unit()

    def ours() -> None:
        for one in network:
            one.ours(unit, threads)

    once = ours if library == "cube24" else peers(network, threads)[0]

    once()
    times = []
    for _ in range(25):
        start = perf_counter()
        once()
        times.append(perf_counter() - start)
    print(json.dumps(median(times)))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
