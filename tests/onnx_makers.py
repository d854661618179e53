"""Small ONNX models for graph tests: one quantised layer, in each form that a file can have it.

`quantised_conv` and `quantised_matmul` take the layer's numbers and give an `onnx.ModelProto`; the
weight stands where `where` says. Nothing is drawn here, so a model depends on its arguments alone.
What such a layer must yield is in `qlinear_oracle`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx_forms import FLOAT_FORMS, Graph, Numbers, add_conv, add_matmul, numbers_of, product_scale
from qlinear_oracle import conv_pads, conv_size

Array = npt.NDArray[Any]

#: Readable by old versions of onnx and all onnxruntimes that the tests know.
IR_VERSION = 8
#: The first opset with QLinearConv and QuantizeLinear. The forms without them are made from 9 on.
FIRST_OPSET = 10

#: Where the weight of a layer stands.
PLACES = (
    "initializer",
    "typed",  # an initialiser whose bytes stand in int32_data, not in raw_data
    "listed",  # an initialiser that is among the model's inputs too, as old exporters have all
    "constant",  # the output of a node Constant
    "external",  # an initialiser whose bytes onnx.save puts into weights.bin beside the model
    "shared",  # an initialiser that a second layer of the model reads too
    "transposed", "reshaped", "identity", "concat",  # behind such nodes
    "cast",  # stored as int32
    "chain",  # stored flat and as int32, behind Cast, Reshape and Transpose
    "quantised",  # stored as float behind QuantizeLinear
    "subgraph",  # the layer is in a branch of an If and reads the weight from outside
    "subgraph-inside",  # the weight is in the branch too
    "loop",  # the layer is the body of a Loop and reads the weight from outside
)  # fmt: skip
#: No constant: an input of the model, `weight`.
DYNAMIC = "input"


# --- where a weight stands ------------------------------------------------------------------------


def place(graph: Graph, array: Array, where: str, scale: Any, zero: Any, axis: int) -> str:
    """The weight `array` put into the graph; the name under which a layer reads it.

    scale, zero, axis: only for `where="quantised"`.
    """
    if where == "constant":
        return graph.add("Constant", [], "weight", value=numpy_helper.from_array(array))
    if where == "typed":
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        tensor = helper.make_tensor("weight", kind, array.shape, array.ravel().tolist())
        graph.constants.append(tensor)
        return "weight"
    if where == "external":
        name = graph.constant(array, "weight")
        onnx.external_data_helper.set_external_data(graph.constants[-1], "weights.bin")
        return name
    if where == "transposed":
        stored = graph.constant(array.T, "weight_stored")
        return graph.add("Transpose", [stored], "weight", perm=list(range(array.ndim))[::-1])
    if where == "reshaped":
        stored = graph.constant(array.reshape(-1), "weight_stored")
        shape = graph.constant(np.array(array.shape, np.int64), "weight_shape")
        return graph.add("Reshape", [stored, shape], "weight")
    if where == "identity":
        return graph.add("Identity", [graph.constant(array, "weight_stored")], "weight")
    if where == "concat":
        half = len(array) // 2
        parts = [
            graph.constant(array[:half], "weight_first"),
            graph.constant(array[half:], "weight_second"),
        ]
        return graph.add("Concat", parts, "weight", axis=0)
    if where == "cast":
        stored = graph.constant(array.astype(np.int32), "weight_stored")
        return graph.add(
            "Cast", [stored], "weight", to=helper.np_dtype_to_tensor_dtype(array.dtype)
        )
    if where == "chain":
        stored = graph.constant(array.T.astype(np.int32).ravel(), "weight_stored")
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        flat = graph.add("Cast", [stored], "weight_flat", to=kind)
        shape = graph.constant(np.array(array.T.shape, np.int64), "weight_shape")
        swapped = graph.add("Reshape", [flat, shape], "weight_swapped")
        return graph.add("Transpose", [swapped], "weight", perm=list(range(array.ndim))[::-1])
    if where == "quantised":
        numbers = numbers_of(array, scale, zero, axis)
        stored = graph.constant(numbers, "weight_stored")
        per_channel = {"axis": axis} if np.ndim(scale) else {}
        return graph.quantise(stored, scale, zero, array.dtype, "weight", **per_channel)
    if where == DYNAMIC:
        return "weight"
    return graph.constant(array, "weight")


# --- layers ---------------------------------------------------------------------------------------

#: Adds a layer's nodes: (graph, x, weight, y) -> None. Names of what it makes begin with y.
Layer = Callable[[Graph, str, str, str], Any]


def quantised_conv(
    form: str,
    weight: Array,
    *,
    x_shape: Sequence[Any],
    bias: Array | None = None,
    strides: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    dilations: Sequence[int] | None = None,
    auto_pad: str | None = None,
    group: int | None = None,
    where: str = "initializer",
    ends: str | None = None,
    opset: int = 13,
    **numbers: Any,
) -> onnx.ModelProto:
    """One convolution, x -> y. weight (Cout, Cin / group, ...) int8 or uint8, bias (Cout,) int32.

    x_shape: (B, Cin, H, W), or of one or three axes; a name in it is a size left open.
    Attributes that are None are left out of the file. ends: "quantised", x and y as the layer has
    them; "float", a QuantizeLinear before it and a DequantizeLinear behind. The deploy and the
    float forms have floats there by themselves. numbers: `Numbers`.
    """
    n = Numbers(**numbers)
    if form in FLOAT_FORMS:
        weight = numbers_of(weight, n.w_scale, n.w_zero, 0)
    attributes = {
        "strides": strides, "pads": pads, "dilations": dilations, "auto_pad": auto_pad,
        "group": group, "kernel_shape": weight.shape[2:],
    }  # fmt: skip

    def layer(g: Graph, x: str, w: str, y: str) -> None:
        add_conv(g, form, n, weight, bias, x, w, y, **attributes)

    axes = weight.ndim - 2
    strides, dilations = strides or (1,) * axes, dilations or (1,) * axes
    kernel, size = weight.shape[2:], x_shape[2:]
    y_size: Sequence[Any] = [None] * axes
    if all(isinstance(s, int) for s in size):
        if auto_pad in (None, "NOTSET"):
            pads = pads or (0,) * (2 * axes)
        else:
            pads = conv_pads(auto_pad, size, kernel, strides, dilations)
        y_size = conv_size(size, kernel, strides, pads, dilations)
    y_shape = (x_shape[0], len(weight), *y_size)
    return _model(form, layer, n, weight, 0, where, ends, opset, x_shape, y_shape)


def quantised_matmul(
    form: str,
    weight: Array,
    *,
    x_shape: Sequence[Any],
    bias: Array | None = None,
    trans_b: int | None = None,
    alpha: float | None = None,
    beta: float | None = None,
    where: str = "initializer",
    ends: str | None = None,
    opset: int = 13,
    **numbers: Any,
) -> onnx.ModelProto:
    """One product, x (..., K) -> y (..., N). weight (N, K) int8 or uint8, bias (N,) int32.

    The file has the weight as (K, N), but for trans_b=1 of the forms with a Gemm. A weight with
    more axes than two is (..., N, K). The rest is as with `quantised_conv`.
    """
    n = Numbers(**numbers)
    if form in FLOAT_FORMS:
        weight = numbers_of(weight, n.w_scale, n.w_zero, weight.ndim - 2)
    stored = weight if trans_b else np.ascontiguousarray(weight.swapaxes(-1, -2))
    axis = 0 if trans_b else stored.ndim - 1

    def layer(g: Graph, x: str, w: str, y: str) -> None:
        add_matmul(g, form, n, stored, bias, x, w, y, trans_b, alpha, beta)

    y_shape = (*x_shape[:-1], weight.shape[-2])
    return _model(form, layer, n, stored, axis, where, ends, opset, x_shape, y_shape)


# --- models ---------------------------------------------------------------------------------------


def _model(
    form: str,
    layer: Layer,
    n: Numbers,
    stored: Array,
    axis: int,
    where: str,
    ends: str,
    opset: int,
    x_shape: Sequence[Any],
    y_shape: Sequence[Any],
) -> onnx.ModelProto:
    """A model of one layer (or of two that share a weight): ends, subgraphs, inputs and outputs."""
    assert where in (*PLACES, DYNAMIC), where
    integer = form in ("ConvInteger", "MatMulInteger")
    floats = form.startswith("deploy") or form in FLOAT_FORMS
    assert not (floats and ends), f"{form} has floats at its ends"
    assert opset >= (9 if floats else FIRST_OPSET), f"{form} is not in opset {opset}"
    wrapped = ends == "float"
    held = where in ("subgraph", "subgraph-inside", "loop")
    result_type = np.float32 if floats else np.int32 if integer else n.y_type

    g, inside = Graph(), Graph()
    x = g.quantise("x", n.x_scale, n.x_zero, n.x_dtype, "x_quantised") if wrapped else "x"
    holder = inside if where == "subgraph-inside" else g
    w = place(holder, stored, where, n.w_scale, n.w_zero, axis)
    outputs = ["y", "y2"] if where == "shared" else ["y"]
    for y in outputs:
        result = f"{y}_layer" if wrapped else y
        if held:
            layer(inside, x, w, f"{y}_inside")
            wrap = _loop if where == "loop" else _branch
            wrap(g, inside, f"{y}_inside", result_type, y_shape, result)
        else:
            layer(g, x, w, result)
        if wrapped and integer:  # as dynamic quantisation has it
            number = g.add("Cast", [result], f"{y}_number", to=TensorProto.FLOAT)
            scale = product_scale(n)
            if form == "ConvInteger" and scale.ndim:
                scale = scale.reshape(1, -1, *[1] * (stored.ndim - 2))
            g.add("Mul", [number, g.constant(scale, f"{y}_product_scale")], y)
        elif wrapped:
            g.dequantise(result, n.y_scale, n.y_zero, n.y_type, y)

    float_ends = floats or wrapped
    inputs = [_info("x", np.float32 if float_ends else n.x_dtype, x_shape)]
    if where in (DYNAMIC, "listed"):
        inputs.append(_info("weight", stored.dtype, stored.shape))
    if where.startswith("subgraph"):
        inputs.append(_info("condition", np.bool_, []))
    infos = [_info(y, np.float32 if float_ends else result_type, y_shape) for y in outputs]
    graph = helper.make_graph(g.nodes, "layer", inputs, infos, g.constants)
    return model_of(graph, opset)


def model_of(graph: onnx.GraphProto, opset: int) -> onnx.ModelProto:
    opsets = [helper.make_opsetid("", opset)]
    if any(node.domain == "com.microsoft" for node in nodes_of(graph)):
        opsets.append(helper.make_opsetid("com.microsoft", 1))
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)


def nodes_of(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """All nodes, those of branches and bodies behind the one that holds them."""
    found = []
    for node in graph.node:
        found.append(node)
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                found += nodes_of(attribute.g)
    return found


def _info(name: str, dtype: Any, shape: Sequence[Any]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(
        name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), list(shape)
    )


def _branch(g: Graph, inside: Graph, result: str, dtype: Any, shape: Sequence[int], y: str) -> str:
    """An If on the model's input `condition`: the layer, or else zeros."""
    info = [_info(result, dtype, shape)]
    then = helper.make_graph(inside.nodes, "then", [], info, inside.constants)
    zeros = numpy_helper.from_array(np.zeros(shape, dtype))
    nodes = [helper.make_node("Constant", [], ["zeros"], value=zeros)]
    other = helper.make_graph(nodes, "else", [], [_info("zeros", dtype, shape)])
    return g.add("If", ["condition"], y, then_branch=then, else_branch=other)


def _loop(g: Graph, inside: Graph, result: str, dtype: Any, shape: Sequence[int], y: str) -> str:
    """A Loop that goes round once: it carries y."""
    nodes = [*inside.nodes, helper.make_node("Identity", ["go_on"], ["go_on_out"])]
    body = helper.make_graph(
        nodes, "body",
        [_info("round", np.int64, []), _info("go_on", np.bool_, []), _info("before", dtype, shape)],
        [_info("go_on_out", np.bool_, []), _info(result, dtype, shape)],
        inside.constants,
    )  # fmt: skip
    start = [
        g.constant(np.array(1, np.int64), "rounds"),
        g.constant(np.array(True), "always"),
        g.constant(np.zeros(shape, dtype), "start"),
    ]
    return g.add("Loop", start, y, body=body)
