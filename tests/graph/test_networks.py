"""Whole networks, drawn at random: the compiled one computes what the source does, to the bit.

Both run in onnxruntime at the same level of optimisation. A network between quantisers is compared
where all of its nodes become quantised operators, which is the only level with one answer.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx.reference import ReferenceEvaluator
from onnx_networks import drawn_inputs, random_network, transformer

from cube24 import graph
from cube24.graph.model import of_proto

LEVELS = onnxruntime.GraphOptimizationLevel
ALL_LEVELS = [LEVELS.ORT_DISABLE_ALL, LEVELS.ORT_ENABLE_BASIC, LEVELS.ORT_ENABLE_EXTENDED]


def run(proto: onnx.ModelProto, level: Any, inputs: dict[str, Any]) -> Any:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    data = proto.SerializeToString()
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return session.run(None, inputs)


def assert_the_same(proto: onnx.ModelProto, levels: list[Any], seed: int) -> int:
    """Compile, compare and undo; gives how many nodes are sparse."""
    compiled = graph.compile(of_proto(proto), sparsity=1)
    out = compiled.model.proto
    onnx.checker.check_model(out, full_check=True)
    inputs = drawn_inputs(proto, seed)
    for level in levels:
        for got, wanted in zip(run(out, level, inputs), run(proto, level, inputs), strict=True):
            assert got.dtype == wanted.dtype
            assert np.array_equal(got, wanted)
    back = graph.decompile(of_proto(out)).proto
    assert back.SerializeToString(deterministic=True) == proto.SerializeToString(deterministic=True)
    return sum(verdict.sparse for verdict in compiled.verdicts)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_a_network_of_quantised_operators(seed: int, dtype: Any) -> None:
    assert assert_the_same(random_network(seed, "qoperator", dtype), ALL_LEVELS, seed) > 1


@pytest.mark.parametrize("seed", range(12))
def test_a_network_between_quantisers(seed: int) -> None:
    proto = random_network(seed, "qdq", np.uint8)
    assert assert_the_same(proto, [LEVELS.ORT_ENABLE_EXTENDED], seed) > 1


@pytest.mark.parametrize("shared", [True, False])
def test_a_transformer(shared: bool) -> None:
    proto = transformer(1, layers=3, shared=shared)
    assert assert_the_same(proto, ALL_LEVELS, 1) > 3


def test_a_trained_network_in_the_reference_evaluator_of_onnx() -> None:
    folder = Path(__file__).parents[2] / "examples" / "train"
    proto = onnx.load(folder / "digits-int8.onnx")
    with np.load(folder / "digits.npz") as found:
        inputs = {"image": found["image"]}
    compiled = graph.compile(of_proto(proto), sparsity=1)
    assert sum(verdict.sparse for verdict in compiled.verdicts) == 3
    (got,) = ReferenceEvaluator(compiled.model.proto).run(None, inputs)
    (wanted,) = run(proto, LEVELS.ORT_ENABLE_EXTENDED, inputs)
    # The first layer stays a QLinearConv, which that evaluator rounds behind its zero point; here
    # that makes no difference.
    assert np.array_equal(got, wanted)
