"""The models of the verdicts: valid, run by onnxruntime, each with the one fault of its name."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper
from sparse_weights import count_groups, illegal_groups
from verdict_models import ILLEGAL_CONV, ILLEGAL_MATMUL, VERDICTS

CONSTANT = [which for which in VERDICTS if which[0] != "dynamic-weight"]
#: Verdicts about where the zeros of the weight stand.
OF_WEIGHTS = ("not-2:4", "flattened-2:4", "wrong-axis")


def numbers_of(model: onnx.ModelProto) -> np.ndarray:
    """The weight less its zero point, as (Cout, Cin, ...) or (..., N, K)."""
    constants = {c.name: numpy_helper.to_array(c) for c in model.graph.initializer}
    weight = constants["weight"]
    if weight.dtype != np.float32:
        weight = weight.astype(np.int64)
        zero = constants["y_w_zero"].astype(np.int64)
        weight = weight - zero.reshape([-1] + [1] * (weight.ndim - 1) if zero.ndim else [])
    conv = any("Conv" in node.op_type for node in model.graph.node)
    return weight if conv else weight.swapaxes(-1, -2)


def legal_along(weight: np.ndarray, axis: int) -> bool:
    return not [*illegal_groups(weight.swapaxes(1, axis))]


@pytest.mark.parametrize("which", VERDICTS, ids=" ".join)
def test_a_model_is_valid_and_runs_and_is_the_same_each_time(which):
    model = VERDICTS[which]()
    assert model == VERDICTS[which]()
    standard = not any(node.domain for node in model.graph.node)
    onnx.checker.check_model(model, full_check=standard)
    if which[0] == "zero-point-per-channel":
        return  # onnxruntime 1.24 refuses them, 1.32 does not
    session = onnxruntime.InferenceSession(model.SerializeToString())
    types = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8, "tensor(int8)": np.int8}
    inputs = {i.name: np.ones(i.shape, types[i.type]) for i in session.get_inputs()}
    (y,) = session.run(None, inputs)
    assert list(y.shape) == session.get_outputs()[0].shape


@pytest.mark.parametrize("which", CONSTANT, ids=" ".join)
def test_the_zeros_of_a_weight_are_wrong_only_where_the_verdict_says_so(which):
    weight = numbers_of(VERDICTS[which]())
    if which[0] not in OF_WEIGHTS:
        matrices = weight.reshape(-1, *weight.shape[-2:]) if which[0] == "rank" else [weight]
        assert all(legal_along(matrix, 1) for matrix in matrices)


@pytest.mark.parametrize("which", [w for w in VERDICTS if w[0] in OF_WEIGHTS], ids=" ".join)
def test_a_weight_is_legal_along_that_axis_alone_that_the_verdict_names(which):
    weight = numbers_of(VERDICTS[which]())
    flat = weight.reshape(len(weight), -1)
    assert not legal_along(weight, 1)
    assert legal_along(flat, 1) == (which[0] == "flattened-2:4")
    assert legal_along(weight, 0) == (which[0] == "wrong-axis")


@pytest.mark.parametrize(
    ("about", "at", "groups"),
    [("convolution", ILLEGAL_CONV, 8 * 9 * 3), ("product", ILLEGAL_MATMUL, 8 * 10)],
)
def test_one_group_is_illegal_in_the_models_not_2_4(about, at, groups):
    weight = numbers_of(VERDICTS["not-2:4", about]())
    assert [*illegal_groups(weight)] == [at]
    assert count_groups(weight) == groups


def test_weights_fit_int8_but_where_the_verdict_is_that_they_do_not():
    for verdict, about in CONSTANT:
        weight = numbers_of(VERDICTS[verdict, about]())
        if verdict == "not-int8":
            assert weight.max() == 200
            assert np.count_nonzero(weight > 127) == 1
        elif verdict != "not-quantised":
            assert weight.min() >= -128
            assert weight.max() <= 127
