"""Matrix multiplications of 2:4 and dense weights beside onnxruntime's, in one run.

    pytest benchmarks/test_matmul.py --benchmark-only

One thread each, reused buffers, int32 results. The peer multiplies uint8 by int8, which is its fast
way: our activations plus 128, with 128 as their zero point. It packs its weight once, when the
session is made; ours is read from its dense and index bytes in each call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import InferenceSession, SessionOptions
from race import race

from cube24 import encoder
from cube24.simulator import Unit

#: M x K x N: two of transformers, a square one, and a convolution of ResNet-50 unfolded.
SHAPES = [(256, 1024, 1024), (512, 768, 3072), (1024, 1024, 1024), (3136, 576, 64)]
PEER = "onnxruntime MatMulInteger, dense"


def session(weight: np.ndarray) -> InferenceSession:
    """One MatMulInteger of uint8 activations and a constant int8 weight (K, N)."""
    k, n = weight.shape
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["x", "w", "zero"], ["y"])],
        "matmul",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, [None, k])],
        [helper.make_tensor_value_info("y", TensorProto.INT32, [None, n])],
        [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(np.uint8(128), "zero")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    options = SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])


def peer(x: np.ndarray, weight: np.ndarray) -> tuple[Callable[[], Any], np.ndarray]:
    """A call of the peer, and the array that it writes to, so that neither makes a new one."""
    of = session(np.ascontiguousarray(weight.T))
    given, out = x.view(np.uint8) ^ 128, np.empty((len(x), len(weight)), np.int32)
    binding = of.io_binding()
    binding.bind_cpu_input("x", given)  # bindings keep no references
    binding.bind_output("y", "cpu", 0, np.int32, out.shape, out.ctypes.data)
    return lambda: (given, out, of.run_with_iobinding(binding)), out


@pytest.mark.parametrize("sparsity", ["2:4", "dense"])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "x".join(map(str, shape)))
def test_matmul(benchmark, shape, sparsity):
    m, k, n = shape
    rng = np.random.default_rng(24)
    x = rng.integers(-128, 128, (m, k), dtype=np.int8)
    weight = encoder.prune(rng.integers(-128, 128, (n, k), dtype=np.int8)).weight
    operand = encoder.encode(weight) if sparsity == "2:4" else weight
    unit, out = Unit(), np.empty((m, n), np.int32)
    theirs, wanted = peer(x, weight)
    theirs()
    run = unit.matmul(x, operand, threads=1, out=out)
    assert not run.exact_steps
    assert np.array_equal(out, wanted)
    race(
        benchmark, lambda: unit.matmul(x, operand, threads=1, out=out), {PEER: theirs},
        what=f"matmul {m} x {k} x {n}, {sparsity}", rounds=31,
        must={PEER: (1.15, 1.35)} if sparsity == "2:4" else None,
    )  # fmt: skip
