"""Shapes and types of values: what a model says, what follows, and what must not be followed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from graph_attack import good, op, said_of, written
from onnx import TensorProto, helper, numpy_helper
from onnx_makers import quantised_matmul
from sparse_weights import sparse_weight

from cube24 import graph
from cube24.graph.model import of_proto
from cube24.graph.shapes import Shapes


def shapes_of(tmp_path: Path, model: onnx.ModelProto) -> Any:
    """The shape and the type of a value of the main graph, by its name."""
    loaded = graph.load(written(tmp_path, model))
    found = Shapes(loaded)
    return lambda name: (found.shape(loaded.main, name), found.kind(loaded.main, name))


def with_nodes(*nodes: Any, **constants: Any) -> onnx.ModelProto:
    model = good()
    model.opset_import[0].version = 15
    model.opset_import.add(domain="com.microsoft", version=1)
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()
    )
    return model


def test_what_follows(tmp_path: Path) -> None:
    look = shapes_of(
        tmp_path,
        with_nodes(
            op("DequantizeLinear", "y,y_y_scale,y_y_zero", "f"),
            op("QLinearAdd", "y,y_y_scale,y_y_zero,y,y_y_scale,y_y_zero,y_y_scale,y_y_zero", "sum",
               domain="com.microsoft"),
            op("Shape", "f", "shape"),
            op("Gather", "shape,first", "images"),
            op("Concat", "images,rest", "flat", axis=0),
            op("Reshape", "f,flat", "rows"),
            op("NoSuch", "y", "unknown", domain="com.microsoft"),
            first=np.array([0]), rest=np.array([-1]),
        ),
    )  # fmt: skip
    assert look("x") == ((1, 12, 7, 7), TensorProto.UINT8)
    assert look("weight") == ((8, 12, 3, 3), TensorProto.INT8)
    assert look("sum") == ((1, 8, 5, 5), TensorProto.UINT8)
    assert look("rows") == ((1, 200), TensorProto.FLOAT)
    assert look("unknown") == look("none") == (None, 0)


def test_names_of_a_graph_inside(tmp_path: Path) -> None:
    info = helper.make_tensor_value_info("i", TensorProto.UINT8, [None] * 4)
    branch = helper.make_graph([op("Identity", "x", "i")], "g", [], [info])
    model = with_nodes(op("If", "c", "z", then_branch=branch, else_branch=branch), c=np.bool_(True))
    loaded = graph.load(written(tmp_path, model))
    found, inner = Shapes(loaded), loaded.scopes[1]
    assert found.shape(inner, "i") == (1, 12, 7, 7)
    assert found.shape(inner, "x") == (1, 12, 7, 7)
    assert found.shape(loaded.main, "i") is None


@pytest.mark.timeout(20)
@pytest.mark.parametrize("size", [2, 100, 10**6])
def test_numbers_that_double_at_each_node_are_not_followed(size: int, tmp_path: Path) -> None:
    nodes = [op("Concat", f"c{i},c{i}", f"c{i + 1}", axis=0) for i in range(60)]
    model = with_nodes(*nodes, c0=np.zeros(size, np.int64))
    assert said_of(written(tmp_path, model)) == "sparse"


@pytest.mark.timeout(20)
def test_a_long_list_is_not_followed(tmp_path: Path) -> None:
    model = with_nodes(op("Concat", "l,l", "m", axis=0))
    model.graph.input.append(helper.make_tensor_value_info("l", TensorProto.INT64, [2**40]))
    look = shapes_of(tmp_path, model)
    assert look("m") in [(shape, TensorProto.INT64) for shape in ((2**41,), (None,))]


def test_shapes_that_contradict_are_told_or_left_open(tmp_path: Path) -> None:
    model = with_nodes(op("MatMul", "a,b", "c"), a=np.zeros((2, 3), "f4"), b=np.zeros((4, 5), "f4"))
    said = said_of(written(tmp_path, model))
    assert said == "sparse" or "its shapes contradict" in said


@pytest.mark.parametrize("x", [np.uint8, np.int8])
@pytest.mark.parametrize(
    ("y", "kind"),
    [(np.uint8, TensorProto.UINT8), (np.int8, TensorProto.INT8), (None, TensorProto.FLOAT)],
)
def test_the_result_of_a_qgemm_need_not_have_the_type_of_its_activations(x, y, kind):
    proto = quantised_matmul(
        "QGemm", sparse_weight((6, 8)), x_shape=(4, 8), trans_b=1, x_dtype=x, x_zero=3, y_dtype=y
    )
    if y is None:  # without a scale it is float
        del proto.graph.node[0].input[7:]
        proto.graph.output[0].type.tensor_type.elem_type = kind
    model = of_proto(proto)
    shapes = Shapes(model)
    assert shapes.kind(model.main, "y") == kind
    assert shapes.shape(model.main, "y") == (4, 6)
