"""Operands and attributes of a layer that are wrong: each gives a reason, and no wrong result."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graph_attack import changed, good, said_of, with_array, with_attribute, written
from onnx_makers import quantised_conv
from sparse_weights import sparse_weight

INF, NAN = float("inf"), float("nan")
SCALES = {"y_x_scale": "activations", "y_w_scale": "weight", "y_y_scale": "results"}
F = np.float32


@pytest.mark.parametrize("name", SCALES)
@pytest.mark.parametrize("value", [0.0, -0.0, -1.0, NAN, INF, -INF])
def test_a_number_that_is_no_scale(name: str, value: float, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        said = said_of(written(tmp_path, with_array(name, F(value))))
    assert said == f"not-quantised: a scale of its {SCALES[name]} is {value:g}, which is no scale"


@pytest.mark.parametrize("at", [0, 3, 7])
def test_one_scale_of_a_column_that_is_none(at: int, tmp_path: Path) -> None:
    scales = np.ones(8, F)
    assert said_of(written(tmp_path, with_array("y_w_scale", scales))) == "sparse"
    scales[at] = 0
    assert "of its weight is 0" in said_of(written(tmp_path, with_array("y_w_scale", scales)))


@pytest.mark.parametrize("name", SCALES)
@pytest.mark.parametrize(
    ("scale", "said"),
    [
        (F([1]), "sparse"),
        (F([[1]]), "sparse"),
        (F([1, 2]), "zero-point-per-channel: 2 scales for its"),
        (np.ones((2, 2), F), "zero-point-per-channel: 4 scales for its"),
        (np.ones(9, F), "zero-point-per-channel: 9 scales for its"),
        (np.zeros(0, F), "zero-point-per-channel: 0 scales for its"),
        (np.int32(1), "no float32"),
        (np.float16(1), "no float32"),
        (np.float64(1), "no float32"),
        (np.array("a", object), "no float32"),
    ],
)
def test_the_form_of_a_scale(name: str, scale: Any, said: str, tmp_path: Path) -> None:
    assert said in said_of(written(tmp_path, with_array(name, scale)))


def test_scales_whose_quotient_float32_does_not_hold(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name, value in (("y_y_scale", 1e-45), ("y_x_scale", 3e38)):
            model = with_array(name, F(value))
            if name == "y_x_scale":
                other = with_array("y_w_scale", F(1e9))
                for tensor in model.graph.initializer:
                    if tensor.name == "y_w_scale":
                        tensor.CopyFrom(
                            next(t for t in other.graph.initializer if t.name == "y_w_scale")
                        )
            said = said_of(written(tmp_path, model))
            assert said == "not-quantised: the scale of its results is beyond float32"


ZEROS: list[tuple[str, Any, str]] = [
    ("y_x_zero", np.uint8([3]), "sparse"),
    ("y_x_zero", np.int8(3), "not-int8: its activations and their zero point, int8, are unlike"),
    ("y_x_zero", np.uint8([1, 2]), "zero-point-per-channel"),
    ("y_x_zero", np.zeros(0, np.uint8), "zero-point-per-channel"),
    ("y_x_zero", F(3), "not-int8"),
    ("y_x_zero", np.int32(300), "not-int8"),
    ("y_x_zero", np.array("a", object), "not-int8"),
    ("y_w_zero", np.zeros(8, np.int8), "sparse"),
    ("y_w_zero", np.int8([0, 0]), "not-int8"),
    ("y_w_zero", np.zeros(0, np.int8), "not-int8"),
    ("y_w_zero", np.arange(8, dtype=np.int8), "not-int8: its weight, less its zero point, is -133"),
    ("y_w_zero", np.uint8(0), "not-int8"),
    ("y_w_zero", F(0), "not-int8"),
    ("y_w_zero", np.array("a", object), "not-int8"),
    ("y_y_zero", np.int8(3), "sparse"),
    ("y_y_zero", np.uint8([1, 2]), "zero-point-per-channel"),
    ("y_y_zero", np.zeros(0, np.uint8), "zero-point-per-channel"),
    ("y_y_zero", np.int32(300), "not-int8"),
    ("y_y_zero", np.array("a", object), "not-int8"),
]


@pytest.mark.parametrize(("name", "zero", "said"), ZEROS)
def test_a_zero_point(name: str, zero: Any, said: str, tmp_path: Path) -> None:
    assert said_of(written(tmp_path, with_array(name, zero))).startswith(said)


@pytest.mark.parametrize(
    ("bias", "said"),
    [
        (np.zeros(8, np.int32), "sparse"),
        (np.zeros(0, np.int32), "rank: its bias has shape (0,)"),
        (np.zeros(7, np.int32), "rank: its bias has shape (7,)"),
        (np.zeros(8, F), "not-quantised: its bias is no constant of int32"),
        (np.zeros(8, np.int64), "not-quantised: its bias is no constant of int32"),
        (np.full(8, 2**63, np.uint64), "not-quantised: its bias is no constant of int32"),
        (np.array(["a"] * 8, object), "not-quantised: its bias is no constant of int32"),
        (np.full(8, 2**31 - 1, np.int32), "unit-limit: sums of column"),
        (np.full(8, -(2**31), np.int32), "unit-limit: sums of column"),
    ],
)
def test_a_bias(bias: Any, said: str, tmp_path: Path) -> None:
    model = quantised_conv(
        "QLinearConv", sparse_weight((8, 12, 3, 3)), x_shape=(1, 12, 7, 7),
        bias=np.arange(8, dtype=np.int32),
    )  # fmt: skip
    name = model.graph.node[0].input[8]
    place = next(t for t in model.graph.initializer if t.name == name)
    place.CopyFrom(_tensor(bias, name))
    assert said_of(written(tmp_path, model)).startswith(said)


def _tensor(array: Any, name: str) -> Any:
    model = with_array("y_x_zero", array)
    found = next(t for t in model.graph.initializer if t.name == "y_x_zero")
    found.name = name
    return found


TWO = "rank: its strides, pads and dilations are not those of two dimensions"
GEOMETRY: list[tuple[dict[str, Any], str]] = [
    *(
        ({name: value, "auto_pad": how}, said)
        for how in ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")
        for name in ("strides", "dilations")
        for value, said in (
            ([1], TWO), ([1, 1, 1], TWO), (None, TWO), ([0, 1], "unit-limit"),
            ([1, 0], "unit-limit"), ([-1, 1], "unit-limit"), ([2**40, 1], "unit-limit"),
            ([2**63 - 1] * 2, "unit-limit"), ([1, 1], "sparse"),
        )
    ),
    *(
        ({"pads": value}, said)
        for value, said in (
            ([0, 1], TWO), ([0] * 6, TWO), (None, TWO), ([-1, 0, 0, 0], "unit-limit"),
            ([-20] * 4, "unit-limit"), ([2**40] * 4, "unit-limit"), ([300, 0, 0, 0], "unit-limit"),
            ([1, 0, 1, 0], "sparse"),
        )
    ),
    *(
        ({"kernel_shape": value}, said)
        for value, said in (
            ([3, 3], "sparse"), (None, "sparse"), ([1, 1], "rank: its kernel_shape is (1, 1)"),
            ([3], "rank: its kernel_shape"), ([3, 3, 3], "rank: its kernel_shape"),
            ([0, 0], "rank: its kernel_shape"), ([-3, 3], "rank: its kernel_shape"),
        )
    ),
    *(({"group": value}, "groups") for value in (0, -1, 2, 2**40)),
    *(({"auto_pad": value}, "sparse") for value in ("", "NOTSET", "VALID", "SAME_UPPER")),
    *(({"auto_pad": value}, "unit-limit: auto_pad") for value in ("GARBAGE", "SAME", "same_upper")),
]  # fmt: skip


@pytest.mark.parametrize(("attributes", "said"), GEOMETRY)
def test_the_geometry_of_a_convolution(
    attributes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    assert said_of(written(tmp_path, with_attribute(**attributes))).startswith(said)


def test_same_padding_with_strides_needs_the_size(tmp_path: Path) -> None:
    model = with_attribute(auto_pad="SAME_UPPER", strides=[2, 2])
    assert said_of(written(tmp_path, model)) == "sparse"
    model.graph.input[0].type.tensor_type.shape.dim[2].Clear()
    assert "needs the size of the image" in said_of(written(tmp_path, model))


@pytest.mark.parametrize("kind", ["strides", "pads", "dilations", "kernel_shape", "group"])
@pytest.mark.parametrize("value", ["text", 1.5, [1.5, 1.5], ["a"]])
def test_attributes_of_another_type(kind: str, value: Any, tmp_path: Path) -> None:
    assert "no readable" in said_of(written(tmp_path, with_attribute(**{kind: value})))


@pytest.mark.parametrize("count", range(8))
def test_too_few_inputs(count: int, tmp_path: Path) -> None:
    model = changed(lambda m: m.graph.node[0].input.__delitem__(slice(count, None)))
    assert "no readable" in said_of(written(tmp_path, model))
    assert len(good().graph.node[0].input) == 8
