"""Small ONNX models for graph tests: one quantised layer, in each form that a file can have it.

`quantised_conv` and `quantised_matmul` take the layer's numbers and give an `onnx.ModelProto`; the
weight stands where `where` says. Nothing is drawn here, so a model depends on its arguments alone.
What such a layer must yield is in `qlinear_oracle`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper
from qlinear_oracle import conv_pads, conv_size

Array = npt.NDArray[Any]

#: Readable by onnx 1.15 and all onnxruntimes that the tests know.
IR_VERSION = 8
#: The first opset with QLinearConv and QuantizeLinear. The forms without them are made from 9 on.
FIRST_OPSET = 10

CONV_FORMS = ("QLinearConv", "ConvInteger", "qdq", "deploy", "Conv")
MATMUL_FORMS = (
    "QLinearMatMul", "MatMulInteger", "QGemm", "qdq-matmul", "qdq-gemm", "deploy-matmul",
    "deploy-gemm", "MatMul", "Gemm",
)  # fmt: skip
GEMMS = ("QGemm", "qdq-gemm", "deploy-gemm", "Gemm")
#: Not quantised at all: the weight stands for floats, (w - w_zero) * w_scale.
FLOAT_FORMS = ("Conv", "MatMul", "Gemm")
#: Where the weight of a layer stands.
PLACES = (
    "initializer",
    "constant",  # the output of a node Constant
    "external",  # an initialiser whose bytes onnx.save puts into weights.bin beside the model
    "shared",  # an initialiser that a second layer of the model reads too
    "transposed", "reshaped", "identity", "concat",  # behind such nodes
    "cast",  # stored as int32
    "quantised",  # stored as float behind QuantizeLinear
    "subgraph",  # the layer is in a branch of an If and reads the weight from outside
    "subgraph-inside",  # the weight is in the branch too
    "loop",  # the layer is the body of a Loop and reads the weight from outside
)  # fmt: skip
#: No constant: an input of the model, `weight`.
DYNAMIC = "input"


@dataclass(frozen=True)
class Numbers:
    """Types, scales and zero points of a layer; the weight's may be one each of N."""

    x_dtype: npt.DTypeLike = np.uint8
    x_scale: Any = 0.02
    x_zero: Any = 128
    w_scale: Any = 0.01
    w_zero: Any = 0
    y_dtype: npt.DTypeLike | None = None  # as x
    y_scale: float = 0.5
    y_zero: int = 3

    @property
    def y_type(self) -> npt.DTypeLike:
        return self.x_dtype if self.y_dtype is None else self.y_dtype


@dataclass
class Graph:
    """A graph as it grows: nodes, and the constants that they read."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)

    def constant(self, array: Any, name: str) -> str:
        """An initialiser."""
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def add(
        self, op: str, inputs: Sequence[str], output: str, domain: str = "", **attributes: Any
    ) -> str:
        """A node with one output, named after it; attributes that are None are left out."""
        given = {key: value for key, value in attributes.items() if value is not None}
        node = helper.make_node(op, inputs, [output], name=output, domain=domain, **given)
        self.nodes.append(node)
        return output

    def quantise(self, x: str, scale: Any, zero: Any, dtype: Any, y: str, **axis: Any) -> str:
        return self.add("QuantizeLinear", [x, *self.pair(y, scale, zero, dtype)], y, **axis)

    def dequantise(self, x: str, scale: Any, zero: Any, dtype: Any, y: str, **axis: Any) -> str:
        return self.add("DequantizeLinear", [x, *self.pair(y, scale, zero, dtype)], y, **axis)

    def pair(self, name: str, scale: Any, zero: Any, dtype: Any) -> tuple[str, str]:
        """Scale and zero point as initialisers of one shape."""
        scales = np.asarray(scale, np.float32)
        zeros = np.broadcast_to(zero, scales.shape) if np.ndim(zero) == 0 else np.asarray(zero)
        return (
            self.constant(scales, f"{name}_scale"),
            self.constant(zeros.astype(dtype), f"{name}_zero"),
        )


# --- where a weight stands ------------------------------------------------------------------------


def place(graph: Graph, array: Array, where: str, scale: Any, zero: Any, axis: int) -> str:
    """The weight `array` put into the graph; the name under which a layer reads it.

    scale, zero, axis: only for `where="quantised"`.
    """
    if where == "constant":
        return graph.add("Constant", [], "weight", value=numpy_helper.from_array(array))
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
    if where == "quantised":
        numbers = _numbers_of(array, scale, zero, axis)
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
        weight = _numbers_of(weight, n.w_scale, n.w_zero, 0)
    attributes = {
        "strides": strides, "pads": pads, "dilations": dilations, "auto_pad": auto_pad,
        "group": group, "kernel_shape": weight.shape[2:],
    }  # fmt: skip
    wide = (1, -1) + (1,) * (weight.ndim - 2)  # of a bias that is added to (B, N, H, W)

    def layer(g: Graph, x: str, w: str, y: str) -> None:
        def bias_name() -> list[str]:
            return [] if bias is None else [g.constant(bias.astype(np.int32), f"{y}_bias")]

        if form == "QLinearConv":
            inputs = [
                x, *g.pair(f"{y}_x", n.x_scale, n.x_zero, n.x_dtype),
                w, *g.pair(f"{y}_w", n.w_scale, n.w_zero, weight.dtype),
                *g.pair(f"{y}_y", n.y_scale, n.y_zero, n.y_type), *bias_name(),
            ]  # fmt: skip
            g.add(form, inputs, y, **attributes)
        elif form == "ConvInteger":
            _integer(g, form, n, [x, w], weight, bias, y, wide, attributes)
        elif form == "qdq":
            inputs = [_x(g, n, x, y), _w(g, n, w, weight, y, 0), *_bias(g, n, bias, y)]
            _y(g, n, g.add("Conv", inputs, f"{y}_float", **attributes), y)
        elif form == "Conv":
            g.add("Conv", [x, w, *_float_bias(g, n, bias, y)], y, **attributes)
        else:
            assert form == "deploy", form
            quantised = _ascend_quant(g, n, x, y)
            sums = g.add("Conv", [quantised, w, *bias_name()], f"{y}_sums", **attributes)
            _ascend_dequant(g, n, sums, y, len(weight))

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
        weight = _numbers_of(weight, n.w_scale, n.w_zero, weight.ndim - 2)
    stored = weight if trans_b else np.ascontiguousarray(weight.swapaxes(-1, -2))
    axis = 0 if trans_b else stored.ndim - 1
    assert trans_b is None or form in GEMMS, f"{form} has no attribute transB"
    gemm = {"alpha": alpha, "transB": trans_b}

    def layer(g: Graph, x: str, w: str, y: str) -> None:
        def bias_name() -> list[str]:
            return [] if bias is None else [g.constant(bias.astype(np.int32), f"{y}_bias")]

        if form in ("QLinearMatMul", "QGemm"):
            x_pair = g.pair(f"{y}_x", n.x_scale, n.x_zero, n.x_dtype)
            w_pair = g.pair(f"{y}_w", n.w_scale, n.w_zero, weight.dtype)
            y_pair = g.pair(f"{y}_y", n.y_scale, n.y_zero, n.y_type)
            if form == "QGemm":
                inputs = [x, *x_pair, w, *w_pair, *(bias_name() or [""]), *y_pair]
                g.add(form, inputs, y, domain="com.microsoft", **gemm)
            else:
                assert bias is None, "QLinearMatMul has no bias"
                g.add(form, [x, *x_pair, w, *w_pair, *y_pair], y)
        elif form == "MatMulInteger":
            _integer(g, form, n, [x, w], weight, bias, y, (-1,), {})
        elif form == "qdq-matmul":
            inputs = [_x(g, n, x, y), _w(g, n, w, weight, y, axis)]
            product = g.add("MatMul", inputs, f"{y}_float")
            if bias is not None:
                product = g.add("Add", [product, *_bias(g, n, bias, y)], f"{y}_biased")
            _y(g, n, product, y)
        elif form == "qdq-gemm":
            inputs = [_x(g, n, x, y), _w(g, n, w, weight, y, axis), *_bias(g, n, bias, y)]
            _y(g, n, g.add("Gemm", inputs, f"{y}_float", **gemm, beta=beta), y)
        elif form == "Gemm":
            g.add("Gemm", [x, w, *_float_bias(g, n, bias, y)], y, **gemm, beta=beta)
        elif form == "MatMul":
            assert bias is None, "MatMul has no bias"
            g.add("MatMul", [x, w], y)
        elif form == "deploy-matmul":
            sums = g.add("MatMul", [_ascend_quant(g, n, x, y), w], f"{y}_sums")
            if bias is not None:
                sums = g.add("Add", [sums, *bias_name()], f"{y}_biased")
            _ascend_dequant(g, n, sums, y, len(weight))
        else:
            assert form == "deploy-gemm", form
            inputs = [_ascend_quant(g, n, x, y), w, *bias_name()]
            sums = g.add("Gemm", inputs, f"{y}_sums", **gemm, beta=beta)
            _ascend_dequant(g, n, sums, y, len(weight))

    y_shape = (*x_shape[:-1], weight.shape[-2])
    return _model(form, layer, n, stored, axis, where, ends, opset, x_shape, y_shape)


# --- parts of layers ------------------------------------------------------------------------------


def _x(g: Graph, n: Numbers, x: str, y: str) -> str:
    return g.dequantise(x, n.x_scale, n.x_zero, n.x_dtype, f"{y}_x")


def _w(g: Graph, n: Numbers, w: str, weight: Array, y: str, axis: int) -> str:
    per_channel = {"axis": axis} if np.ndim(n.w_scale) else {}
    return g.dequantise(w, n.w_scale, n.w_zero, weight.dtype, f"{y}_w", **per_channel)


def _bias(g: Graph, n: Numbers, bias: Array | None, y: str) -> list[str]:
    """An int32 bias behind DequantizeLinear, in units of the products."""
    if bias is None:
        return []
    per_channel = {"axis": 0} if np.ndim(n.w_scale) else {}
    name = g.constant(bias.astype(np.int32), f"{y}_bias")
    return [g.dequantise(name, _product_scale(n), 0, np.int32, f"{y}_bias_float", **per_channel)]


def _float_bias(g: Graph, n: Numbers, bias: Array | None, y: str) -> list[str]:
    if bias is None:
        return []
    return [g.constant(bias.astype(np.float32) * _product_scale(n), f"{y}_bias")]


def _y(g: Graph, n: Numbers, y_float: str, y: str) -> str:
    return g.quantise(y_float, n.y_scale, n.y_zero, n.y_type, y)


def _numbers_of(stored: Array, scale: Any, zero: Any, axis: int) -> Array:
    """What a stored weight stands for, float32; scale and zero are one, or one each of the axis."""
    along = [1] * stored.ndim
    along[axis] = -1
    numbers = stored.astype(np.int64) - np.reshape(zero, along)
    return numbers.astype(np.float32) * np.reshape(np.asarray(scale, np.float32), along)


def _product_scale(n: Numbers) -> Array:
    return np.float32(n.x_scale) * np.asarray(n.w_scale, np.float32)


def _integer(
    g: Graph,
    op: str,
    n: Numbers,
    inputs: Sequence[str],
    weight: Array,
    bias: Array | None,
    y: str,
    wide: Sequence[int],
    attributes: Mapping[str, Any],
) -> None:
    """ConvInteger or MatMulInteger; with a bias, an Add of int32 behind it, wide: its shape."""
    zeros = [
        g.constant(np.asarray(n.x_zero, n.x_dtype), f"{y}_x_zero"),
        g.constant(np.asarray(n.w_zero, weight.dtype), f"{y}_w_zero"),
    ]
    if bias is None:
        g.add(op, [*inputs, *zeros], y, **attributes)
    else:
        sums = g.add(op, [*inputs, *zeros], f"{y}_sums", **attributes)
        g.add("Add", [sums, g.constant(bias.astype(np.int32).reshape(wide), f"{y}_bias")], y)


# AMCT's deploy form. Source: hicann/amct, amct_pytorch/graph_based_compression, the passes
# insert_quant_pass (AscendQuant: attributes scale = 1 / x_scale, offset, dst_type), insert_dequant
# (AscendDequant: the words are its second input, attribute dtype = 0 for float32) and insert_bias
# (int32, in units of the products, nothing of the offset in it). Both operators are in ONNX's own
# domain, so the checker refuses them. A product's Add stands before the AscendDequant.


def _ascend_quant(g: Graph, n: Numbers, x: str, y: str) -> str:
    scale = float(1.0 / np.float32(n.x_scale))
    return g.add(
        "AscendQuant", [x], f"{y}.quant", scale=scale, offset=float(n.x_zero), dst_type="INT8"
    )


def _ascend_dequant(g: Graph, n: Numbers, sums: str, y: str, count: int) -> str:
    # One word of a tensor's one scale, too: weight_scale has as many entries as there are scales.
    words = deq_words(_product_scale(n))
    assert len(words) in (1, count)
    return g.add("AscendDequant", [sums, g.constant(words, f"{y}.dequant.param")], y, dtype=0)


def deq_words(scales: Any, offsets: Any = 0) -> Array:
    """Scales as uint64 words: bits 31 to 0 are the fp32, bits 39 to 32 the weight's offset.

    Source: hicann/amct, insert_dequant_pass, fuse_dequant_param; its comment says bits 47 to 40,
    where the reader takes them from, and offsets of weights are 0 in all that AMCT writes.
    """
    bits = np.atleast_1d(np.asarray(scales, np.float32)).view(np.uint32).astype(np.uint64)
    return bits | (np.asarray(offsets, np.int8).view(np.uint8).astype(np.uint64) << np.uint64(32))


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
            scale = _product_scale(n)
            if form == "ConvInteger" and scale.ndim:
                scale = scale.reshape(1, -1, *[1] * (stored.ndim - 2))
            g.add("Mul", [number, g.constant(scale, f"{y}_product_scale")], y)
        elif wrapped:
            g.dequantise(result, n.y_scale, n.y_zero, n.y_type, y)

    float_ends = floats or wrapped
    inputs = [_info("x", np.float32 if float_ends else n.x_dtype, x_shape)]
    if where == DYNAMIC:
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
