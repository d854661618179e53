"""The nodes of one quantised layer, in each form that an ONNX file can have it.

`add_conv` and `add_matmul` put them into a `Graph`. Nothing of the package is used; what such a
layer must yield is in `qlinear_oracle`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

Array = npt.NDArray[Any]

CONV_FORMS = ("QLinearConv", "ConvInteger", "qdq", "deploy", "Conv")
MATMUL_FORMS = (
    "QLinearMatMul", "MatMulInteger", "QGemm", "qdq-matmul", "qdq-gemm", "deploy-matmul",
    "deploy-gemm", "MatMul", "Gemm",
)  # fmt: skip
#: Not quantised at all: the weight stands for floats, (w - w_zero) * w_scale.
FLOAT_FORMS = ("Conv", "MatMul", "Gemm")


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
            self.constant(stored(zeros, dtype), f"{name}_zero"),
        )


def stored(numbers: Any, dtype: npt.DTypeLike) -> Array:
    """The numbers in a type that has room for them."""
    array = np.asarray(numbers).astype(dtype)
    assert np.array_equal(array, numbers), f"{numbers} does not fit {np.dtype(dtype)}"
    return array


# --- layers ---------------------------------------------------------------------------------------


def add_conv(
    g: Graph,
    form: str,
    n: Numbers,
    weight: Array,
    bias: Array | None,
    x: str,
    w: str,
    y: str,
    **attributes: Any,
) -> None:
    """A convolution x -> y; weight: the array that w stands for. What it makes is named after y."""
    if form == "QLinearConv":
        inputs = [x, *_x_pair(g, n, y), w, *_w_pair(g, n, weight, y), *_y_pair(g, n, y)]
        g.add(form, [*inputs, *_int_bias(g, bias, y)], y, **attributes)
    elif form == "ConvInteger":
        wide = (1, -1) + (1,) * (weight.ndim - 2)  # of a bias that is added to (B, N, H, W)
        _integer(g, form, n, [x, w], weight, bias, y, wide, attributes)
    elif form == "qdq":
        inputs = [_x(g, n, x, y), _w(g, n, w, weight, y, 0), *_bias(g, n, bias, y)]
        _y(g, n, g.add("Conv", inputs, f"{y}_float", **attributes), y)
    elif form == "Conv":
        g.add("Conv", [x, w, *_float_bias(g, n, bias, y)], y, **attributes)
    else:
        assert form == "deploy", form
        inputs = [_ascend_quant(g, n, x, y), w, *_int_bias(g, bias, y)]
        sums = g.add("Conv", inputs, f"{y}_sums", **attributes)
        _ascend_dequant(g, n, sums, y, len(weight))


def add_matmul(
    g: Graph,
    form: str,
    n: Numbers,
    weight: Array,
    bias: Array | None,
    x: str,
    w: str,
    y: str,
    trans_b: int | None = None,
    alpha: float | None = None,
    beta: float | None = None,
) -> None:
    """A product x -> y; weight: what w stands for, (..., K, N), or (N, K) with trans_b."""
    axis = 0 if trans_b else weight.ndim - 1
    gemm = {"alpha": alpha, "transB": trans_b}
    if form not in ("QGemm", "qdq-gemm", "deploy-gemm", "Gemm"):
        assert trans_b is alpha is None, f"{form} has no attributes transB and alpha"
    if form not in ("qdq-gemm", "deploy-gemm", "Gemm"):
        assert beta is None, f"{form} has no attribute beta"
    if form in ("QLinearMatMul", "MatMul"):
        assert bias is None, f"{form} has no bias"

    if form == "QLinearMatMul":
        g.add(form, [x, *_x_pair(g, n, y), w, *_w_pair(g, n, weight, y), *_y_pair(g, n, y)], y)
    elif form == "QGemm":
        inputs = [x, *_x_pair(g, n, y), w, *_w_pair(g, n, weight, y)]
        inputs += [*(_int_bias(g, bias, y) or [""]), *_y_pair(g, n, y)]
        g.add(form, inputs, y, domain="com.microsoft", **gemm)
    elif form == "MatMulInteger":
        _integer(g, form, n, [x, w], weight, bias, y, (-1,), {})
    elif form == "qdq-matmul":
        product = g.add("MatMul", [_x(g, n, x, y), _w(g, n, w, weight, y, axis)], f"{y}_float")
        if bias is not None:
            product = g.add("Add", [product, *_bias(g, n, bias, y)], f"{y}_biased")
        _y(g, n, product, y)
    elif form == "qdq-gemm":
        inputs = [_x(g, n, x, y), _w(g, n, w, weight, y, axis), *_bias(g, n, bias, y)]
        _y(g, n, g.add("Gemm", inputs, f"{y}_float", **gemm, beta=beta), y)
    elif form == "MatMul":
        g.add("MatMul", [x, w], y)
    elif form == "Gemm":
        g.add("Gemm", [x, w, *_float_bias(g, n, bias, y)], y, **gemm, beta=beta)
    elif form == "deploy-matmul":
        sums = g.add("MatMul", [_ascend_quant(g, n, x, y), w], f"{y}_sums")
        if bias is not None:
            sums = g.add("Add", [sums, *_int_bias(g, bias, y)], f"{y}_biased")
        _ascend_dequant(g, n, sums, y, weight.shape[axis])
    else:
        assert form == "deploy-gemm", form
        inputs = [_ascend_quant(g, n, x, y), w, *_int_bias(g, bias, y)]
        sums = g.add("Gemm", inputs, f"{y}_sums", **gemm, beta=beta)
        _ascend_dequant(g, n, sums, y, weight.shape[axis])


# --- parts of layers ------------------------------------------------------------------------------


def _x_pair(g: Graph, n: Numbers, y: str) -> tuple[str, str]:
    return g.pair(f"{y}_x", n.x_scale, n.x_zero, n.x_dtype)


def _w_pair(g: Graph, n: Numbers, weight: Array, y: str) -> tuple[str, str]:
    return g.pair(f"{y}_w", n.w_scale, n.w_zero, weight.dtype)


def _y_pair(g: Graph, n: Numbers, y: str) -> tuple[str, str]:
    return g.pair(f"{y}_y", n.y_scale, n.y_zero, n.y_type)


def _int_bias(g: Graph, bias: Array | None, y: str) -> list[str]:
    return [] if bias is None else [g.constant(bias.astype(np.int32), f"{y}_bias")]


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
    return [g.dequantise(name, product_scale(n), 0, np.int32, f"{y}_bias_float", **per_channel)]


def _float_bias(g: Graph, n: Numbers, bias: Array | None, y: str) -> list[str]:
    if bias is None:
        return []
    return [g.constant(bias.astype(np.float32) * product_scale(n), f"{y}_bias")]


def _y(g: Graph, n: Numbers, y_float: str, y: str) -> str:
    return g.quantise(y_float, n.y_scale, n.y_zero, n.y_type, y)


def numbers_of(weight: Array, scale: Any, zero: Any, axis: int) -> Array:
    """What a stored weight stands for, float32; scale and zero are one, or one each of the axis."""
    along = [1] * weight.ndim
    along[axis] = -1
    numbers = weight.astype(np.int64) - np.reshape(zero, along)
    return numbers.astype(np.float32) * np.reshape(np.asarray(scale, np.float32), along)


def product_scale(n: Numbers) -> Array:
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
        g.constant(stored(n.x_zero, n.x_dtype), f"{y}_x_zero"),
        g.constant(stored(n.w_zero, weight.dtype), f"{y}_w_zero"),
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
    words = deq_words(product_scale(n))
    assert len(words) in (1, count)
    return g.add("AscendDequant", [sums, g.constant(words, f"{y}.dequant.param")], y, dtype=0)


def deq_words(scales: Any, offsets: Any = 0) -> Array:
    """Scales as uint64 words: bits 31 to 0 are the fp32, bits 39 to 32 the weight's offset.

    Source: hicann/amct, insert_dequant_pass, fuse_dequant_param; its comment says bits 47 to 40,
    where the reader takes them from, and offsets of weights are 0 in all that AMCT writes.
    """
    bits = np.atleast_1d(np.asarray(scales, np.float32)).view(np.uint32).astype(np.uint64)
    return bits | (np.asarray(offsets, np.int8).view(np.uint8).astype(np.uint64) << np.uint64(32))
