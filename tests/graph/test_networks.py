"""The networks of the graph tests: valid, 2:4, and each layer what the oracle says."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper
from onnx_networks import STYLES, drawn_inputs, random_network, transformer
from qlinear_oracle import conv_sums, matmul_sums, requantise
from sparse_weights import illegal_groups

SEEDS = (0, 1, 2)
#: onnxruntime without VNNI saturates products of larger weights.
NETWORKS = {
    **{
        f"cnn {seed} {style} {dtype}": lambda s=seed, t=style, d=dtype: random_network(s, t, d, 64)
        for seed in SEEDS for style in STYLES for dtype in ("uint8", "int8")
    },
    **{
        f"transformer {style} {dtype} {'shared' if shared else ''}":
            lambda t=style, d=dtype, s=shared: transformer(0, t, d, shared=s, largest=64)
        for style in STYLES for dtype in ("uint8", "int8") for shared in (False, True)
    },
}  # fmt: skip


def all_values(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Constants, inputs, and what onnxruntime gives for each node, nothing optimised."""
    values = {c.name: numpy_helper.to_array(c) for c in model.graph.initializer}
    values |= drawn_inputs(model)
    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    names = [node.output[0] for node in model.graph.node]
    del whole.graph.output[:]
    whole.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(whole.SerializeToString(), options)
    return values | dict(zip(names, session.run(names, drawn_inputs(model)), strict=True))


def of_oracle(node: onnx.NodeProto, values: dict[str, np.ndarray]) -> np.ndarray:
    """What QLinearConv, QLinearMatMul or QGemm must yield, from what onnxruntime gave it."""
    attributes: dict[str, Any] = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    inputs = [values[name] if name else None for name in node.input]
    if node.op_type == "QGemm":
        inputs = [*inputs[:6], *inputs[7:9], inputs[6]]  # the bias at the end, as QLinearConv
    x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, *bias = inputs
    attributes.pop("kernel_shape", None)
    if node.op_type == "QLinearConv":
        sums, axis = conv_sums(x, int(x_zero), w, int(w_zero.max()), *bias, **attributes), 1
    else:
        w = w if attributes.get("transB") else w.T
        sums, axis = matmul_sums(x, int(x_zero), w, int(w_zero.max()), *bias), x.ndim - 1
    return requantise(sums, x_scale, w_scale, y_scale, int(y_zero), y_zero.dtype, axis)


def layers_of(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Those with a constant weight."""
    constants = {c.name for c in model.graph.initializer}
    ops = ("QLinearConv", "QLinearMatMul", "QGemm")
    return [n for n in model.graph.node if n.op_type in ops and n.input[3] in constants]


@pytest.mark.parametrize("which", NETWORKS)
def test_a_network_is_valid_and_runs_and_is_the_same_each_time(which):
    model = NETWORKS[which]()
    assert model == NETWORKS[which]()
    standard = not any(node.domain for node in model.graph.node)
    onnx.checker.check_model(model, full_check=standard)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    given = session.run(None, drawn_inputs(model))
    assert [list(y.shape) for y in given] == [y.shape for y in session.get_outputs()]
    others = session.run(None, drawn_inputs(model, seed=1))
    differ = [np.count_nonzero(y != other) for y, other in zip(given, others, strict=True)]
    assert max(differ) > 50, "the input counts"


@pytest.mark.parametrize("which", NETWORKS)
def test_numbers_are_spread_over_their_type(which):
    model = NETWORKS[which]()
    for name, value in all_values(model).items():
        if value.dtype in (np.int8, np.uint8) and value.size > 100 and "weight" not in name:
            limits = np.iinfo(value.dtype)
            assert len(np.unique(value)) >= 16, name
            assert np.mean(value == limits.max) < 0.1, name
            assert np.mean(value == limits.min) < 0.85, f"{name}: a relu leaves no more"


@pytest.mark.parametrize("which", NETWORKS)
def test_every_weight_is_legal(which):
    model = NETWORKS[which]()
    weights = [c for c in model.graph.initializer if c.name.endswith("_weight")]
    assert len(weights) >= 6
    transposed = which.startswith("transformer")
    for constant in weights:
        weight = numpy_helper.to_array(constant)
        assert not [*illegal_groups(weight.T if transposed else weight)], constant.name


@pytest.mark.parametrize("which", [name for name in NETWORKS if "qoperator" in name])
def test_each_layer_is_the_oracle_fed_with_what_onnxruntime_fed_it(which):
    model = NETWORKS[which]()
    values, layers = all_values(model), layers_of(model)
    assert len(layers) >= 7
    for node in layers:
        np.testing.assert_array_equal(values[node.output[0]], of_oracle(node, values), node.name)


@pytest.mark.parametrize("seed", SEEDS)
def test_both_styles_stand_for_the_same_network(seed):
    # Both have the same arithmetic but for sums of floats, so a number is a step away at most.
    one, other = (all_values(random_network(seed, style, largest=64)) for style in STYLES)
    for name, value in one.items():
        if name in other and value.dtype == np.uint8 and value.size > 100:
            apart = np.abs(value.astype(int) - other[name])
            assert np.mean(apart > 0) < 0.02, name
            assert apart.max() <= 2, name


def test_a_shared_weight_is_stored_once_and_read_by_each_layer():
    model = transformer(layers=5, shared=True)
    weights = [c.name for c in model.graph.initializer if c.name.endswith("_weight")]
    assert len(weights) == 6
    for weight in weights:
        assert sum(weight in node.input for node in model.graph.node) == 5
