"""Quantised networks of a few layers for graph tests: a CNN drawn from a seed, a transformer.

All weights are 2:4. Scales are chosen so that few numbers saturate and many differ. onnxruntime
runs them; they are in the styles of its quantiser: "qoperator" (QLinearConv, QLinearAdd ...) and
"qdq" (each operator between DequantizeLinear and QuantizeLinear).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper
from onnx_forms import Graph, Numbers, add_conv, add_matmul
from onnx_makers import model_of
from sparse_weights import sparse_weight

Array = npt.NDArray[Any]

STYLES = ("qoperator", "qdq")
OPSET = 17  # LayerNormalization


@dataclass(frozen=True)
class Tensor:
    """A quantised tensor, and what its numbers stand for."""

    name: str
    shape: tuple[int, ...]
    scale: float
    zero: int


class Network:
    """A graph of quantised layers as it grows: each method adds one and gives what it yields."""

    def __init__(self, seed: int, style: str, dtype: npt.DTypeLike, largest: int) -> None:
        assert style in STYLES, style
        self.rng = np.random.default_rng(seed)
        self.qdq = style == "qdq"
        self.dtype = np.dtype(dtype)
        self.low = int(np.iinfo(dtype).min)
        self.largest = largest
        self.graph = Graph()
        self.weights: dict[str, Array] = {}

    def zero(self) -> int:
        """A zero point near the middle, rarely the middle itself."""
        return self.low + 128 + int(self.rng.integers(-9, 10))

    def begin(self, shape: tuple[int, ...], scale: float) -> Tensor:
        x = Tensor("x_quantised", shape, scale, self.zero())
        self.graph.quantise("x", x.scale, x.zero, self.dtype, x.name)
        return x

    def weight(self, name: str, shape: tuple[int, ...], transposed: bool = False) -> Array:
        """A 2:4 weight under this name; the one from before, if there is one."""
        if name not in self.weights:
            seed = int(self.rng.integers(2**31))
            self.weights[name] = sparse_weight(shape, seed, self.largest)
            stored = self.weights[name].T if transposed else self.weights[name]
            self.graph.constant(np.ascontiguousarray(stored), name)
        return self.weights[name]

    def numbers(
        self, x: Tensor, weight: Array, relu: bool, gain: float = 1
    ) -> tuple[Numbers, Array]:
        """Scales that spread the sums over the type, and a bias of the size of the sums.

        As real numbers, what comes out is about as large as what goes in, times gain.
        """
        length = np.sqrt((weight.reshape(len(weight), -1).astype(float) ** 2).sum(1)).mean()
        w_scale = (self.rng.uniform(0.5, 1.5, len(weight)) * gain / length).astype(np.float32)
        spread = 50 * length  # of the sums, as a standard deviation
        bias = self.rng.normal(0, spread / 4, len(weight)).astype(np.int32)
        steps = 70 if relu else 35  # of the output in such a spread
        numbers = Numbers(
            x_dtype=self.dtype, x_scale=x.scale, x_zero=x.zero, w_scale=w_scale,
            y_scale=float(np.float32(x.scale * w_scale.mean() * spread / steps)),
            # A relu is the lower end of the type in a quantised file, where y_zero is that end.
            y_zero=self.low if relu else self.zero(),
        )  # fmt: skip
        return numbers, bias

    def conv(
        self, x: Tensor, name: str, cout: int, kernel: int, stride: int = 1, dilation: int = 1,
        group: int = 1, relu: bool = True,
    ) -> Tensor:  # fmt: skip
        """Padded so that stride 1 keeps the size."""
        batch, cin, height, width = x.shape
        weight = self.weight(f"{name}_weight", (cout, cin // group, kernel, kernel))
        n, bias = self.numbers(x, weight, relu)
        pad = (kernel - 1) * dilation // 2
        add_conv(
            self.graph, "qdq" if self.qdq else "QLinearConv", n, weight, bias, x.name,
            f"{name}_weight", name, kernel_shape=[kernel] * 2, strides=[stride] * 2,
            dilations=[dilation] * 2, pads=[pad] * 4, group=group,
        )  # fmt: skip
        if self.qdq and relu:
            self._relu_before_the_last()
        size = (-(-height // stride), -(-width // stride))
        return Tensor(name, (batch, cout, *size), n.y_scale, n.y_zero)

    def _relu_before_the_last(self) -> None:
        """A Relu between the last layer and its QuantizeLinear."""
        quantise = self.graph.nodes.pop()
        relu = self.graph.add("Relu", [quantise.input[0]], f"{quantise.output[0]}_relu")
        quantise.input[0] = relu
        self.graph.nodes.append(quantise)

    def gemm(self, x: Tensor, name: str, outputs: int) -> Tensor:
        """A product with a constant (N, K) and a bias."""
        weight = self.weight(f"{name}_weight", (outputs, x.shape[-1]))
        n, bias = self.numbers(x, weight, relu=False)
        add_matmul(
            self.graph, "qdq-gemm" if self.qdq else "QGemm", n, weight, bias, x.name,
            f"{name}_weight", name, trans_b=1,
        )  # fmt: skip
        return Tensor(name, (*x.shape[:-1], outputs), n.y_scale, n.y_zero)

    def matmul(
        self, x: Tensor, name: str, outputs: int, weight_name: str | None = None, gain: float = 1
    ) -> Tensor:
        """A product with a constant that is stored as (K, N); weight_name: to share it."""
        weight_name = weight_name or f"{name}_weight"
        weight = self.weight(weight_name, (outputs, x.shape[-1]), transposed=True)
        n, _ = self.numbers(x, weight, relu=False, gain=gain)
        form = "qdq-matmul" if self.qdq else "QLinearMatMul"
        add_matmul(self.graph, form, n, weight.T, None, x.name, weight_name, name)
        return Tensor(name, (*x.shape[:-1], outputs), n.y_scale, n.y_zero)

    def product(self, a: Tensor, b: Tensor, name: str) -> Tensor:
        """A product of two activations."""
        scale = float(np.float32(a.scale * b.scale * 50 * 50 * a.shape[-1] ** 0.5 / 40))
        y = Tensor(name, (*a.shape[:-1], b.shape[-1]), scale, self.zero())
        if self.qdq:
            return self.floats("MatMul", [a, b], y)
        inputs = [name for t in (a, b) for name in self._triple(t, y)]
        self.graph.add("QLinearMatMul", [*inputs, *self._pair(y)], y.name)
        return y

    def add(self, a: Tensor, b: Tensor, name: str, relu: bool = False) -> Tensor:
        """A sum of two tensors, QLinearAdd of com.microsoft or Add."""
        zero = self.low if relu else self.zero()
        y = Tensor(name, a.shape, 1.25 * max(a.scale, b.scale), zero)
        if self.qdq:
            return self.floats("Add", [a, b], y, relu)
        inputs = [name for t in (a, b) for name in self._triple(t, y)]
        self.graph.add("QLinearAdd", [*inputs, *self._pair(y)], y.name, domain="com.microsoft")
        return y

    def max_pool(self, x: Tensor, name: str) -> Tensor:
        """2 x 2, on the quantised numbers or between a pair with the same scale."""
        *before, height, width = x.shape
        y = Tensor(name, (*before, height // 2, width // 2), x.scale, x.zero)
        how = {"kernel_shape": [2, 2], "strides": [2, 2]}
        if self.qdq:
            return self.floats("MaxPool", [x], y, **how)
        self.graph.add("MaxPool", [x.name], name, **how)
        return y

    def average(self, x: Tensor, name: str) -> Tensor:
        """Over all of H and W, then flattened to (B, C)."""
        y = Tensor(f"{name}_pooled", (*x.shape[:2], 1, 1), x.scale / 2, self.zero())
        if self.qdq:
            self.floats("GlobalAveragePool", [x], y)
        else:
            self.graph.add(
                "QLinearGlobalAveragePool", [*self._triple(x, y), *self._pair(y)], y.name,
                domain="com.microsoft", channels_last=0,
            )  # fmt: skip
        self.graph.add("Flatten", [y.name], name)
        return Tensor(name, x.shape[:2], y.scale, y.zero)

    def floats(
        self, op: str, inputs: list[Tensor], y: Tensor, relu: bool = False, more: Any = (),
        **attributes: Any,
    ) -> Tensor:  # fmt: skip
        """An operator on floats between DequantizeLinear and QuantizeLinear; more: constants."""
        numbers = [
            self.graph.dequantise(x.name, x.scale, x.zero, self.dtype, f"{y.name}_{i}")
            for i, x in enumerate(inputs)
        ]
        result = self.graph.add(op, [*numbers, *more], f"{y.name}_float", **attributes)
        if relu:
            result = self.graph.add("Relu", [result], f"{y.name}_relu")
        self.graph.quantise(result, y.scale, y.zero, self.dtype, y.name)
        return y

    def moved(self, op: str, x: Tensor, name: str, shape: tuple[int, ...], **how: Any) -> Tensor:
        """Reshape or Transpose: the same numbers."""
        inputs = [x.name]
        if op == "Reshape":
            inputs.append(self.graph.constant(np.array(shape, np.int64), f"{name}_shape"))
        self.graph.add(op, inputs, name, **how)
        return Tensor(name, shape, x.scale, x.zero)

    def end(self, x: Tensor, **outputs: Tensor) -> onnx.ModelProto:
        """The model, with floats at its ends; x: what began it, outputs: by name."""
        infos = []
        for name, y in outputs.items():
            self.graph.dequantise(y.name, y.scale, y.zero, self.dtype, name)
            infos.append(_floats(name, y.shape))
        graph = helper.make_graph(
            self.graph.nodes, "network", [_floats("x", x.shape)], infos, self.graph.constants
        )
        return model_of(graph, OPSET)

    def _triple(self, x: Tensor, y: Tensor) -> list[str]:
        """A tensor with its scale and zero point, as an operator that makes y has them."""
        names = self.graph.pair(f"{y.name}_of_{x.name}", x.scale, x.zero, self.dtype)
        return [x.name, *names]

    def _pair(self, y: Tensor) -> tuple[str, str]:
        return self.graph.pair(f"{y.name}_y", y.scale, y.zero, self.dtype)


def _floats(name: str, shape: tuple[int, ...]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)


def random_network(
    seed: int, style: str = "qoperator", dtype: npt.DTypeLike = np.uint8, largest: int = 127
) -> onnx.ModelProto:
    """A CNN x (1, 3, 16, 16) -> y (1, 10) and a map of features, floats, drawn from the seed.

    A convolution of three channels (Cin <= 4), a few with a residual sum, a depthwise one, one of
    1 x 1, pools, and a Gemm at the end: of seven or more weights, all but two can be sparse.
    largest: of the weights.
    """
    net = Network(seed, style, dtype, largest)
    rng = net.rng
    image = net.begin((1, 3, 16, 16), 0.03)
    x = net.conv(image, "stem", int(rng.choice([8, 13])), kernel=3, stride=int(rng.choice([1, 2])))
    for block in range(int(rng.integers(1, 3))):
        name = f"block{block}"
        cout = int(rng.choice([8, 12, 20, 37]))
        x = net.conv(x, f"{name}_in", cout, kernel=int(rng.choice([1, 3, 5])))
        y = net.conv(x, f"{name}_a", cout, kernel=3, dilation=int(rng.choice([1, 2])))
        y = net.conv(y, f"{name}_b", cout, kernel=3, relu=False)
        x = net.add(x, y, f"{name}_sum", relu=True)
    x = net.conv(x, "depthwise", x.shape[1], kernel=3, group=x.shape[1])
    x = net.max_pool(x, "pool")
    x = net.conv(x, "pointwise", int(rng.choice([16, 33])), kernel=1)
    return net.end(image, y=net.gemm(net.average(x, "features"), "head", 10), map=x)


def transformer(
    seed: int = 0,
    style: str = "qoperator",
    dtype: npt.DTypeLike = np.uint8,
    layers: int = 2,
    shared: bool = False,
    largest: int = 127,
) -> onnx.ModelProto:
    """An encoder x (1, 6, 40) -> y (1, 6, 40), floats: two heads, and 72 hidden numbers.

    Each layer has six products with constants, which can be sparse, and two of activations, which
    cannot. shared: all layers read the same six weights.
    """
    net = Network(seed, style, dtype, largest)
    x = tokens = net.begin((1, 6, 40), 0.03)
    for layer in range(layers):
        x = _encoder_layer(net, x, f"layer{layer}", "shared" if shared else f"layer{layer}")
    return net.end(tokens, y=x)


def _encoder_layer(net: Network, x: Tensor, name: str, weights: str, heads: int = 2) -> Tensor:
    """Attention and a feed-forward part; what its tensors and its weights are named after."""
    _, tokens, width = x.shape
    split = (1, tokens, heads, width // heads)

    def dense(x: Tensor, part: str, outputs: int, gain: float = 1) -> Tensor:
        return net.matmul(x, f"{name}_{part}", outputs, f"{weights}_{part}_weight", gain)

    def by_head(part: str, order: list[int], gain: float = 1) -> Tensor:
        """A product of x, (1, tokens, heads, width / heads) in this order of axes."""
        y = net.moved("Reshape", dense(x, part, width, gain), f"{name}_{part}_split", split)
        shape = tuple(split[axis] for axis in order)
        return net.moved("Transpose", y, f"{name}_{part}_heads", shape, perm=order)

    query = by_head("query", [0, 2, 1, 3], gain=split[-1] ** -0.5)
    key = by_head("key", [0, 2, 3, 1])
    value = by_head("value", [0, 2, 1, 3])
    scores = net.product(query, key, f"{name}_scores")
    share = Tensor(f"{name}_share", scores.shape, 1 / 255, net.low)
    mixed = net.product(net.floats("Softmax", [scores], share, axis=-1), value, f"{name}_mixed")
    mixed = net.moved("Transpose", mixed, f"{name}_together", split, perm=[0, 2, 1, 3])
    mixed = net.moved("Reshape", mixed, f"{name}_joined", x.shape)
    x = net.add(x, dense(mixed, "out", width), f"{name}_attended")

    hidden = dense(_normal(net, x, f"{name}_normal"), "up", 72)
    relu = Tensor(f"{name}_relu", hidden.shape, hidden.scale / 2, net.low)
    hidden = net.floats("Relu", [hidden], relu)
    return net.add(x, dense(hidden, "down", width), f"{name}_sum")


def _normal(net: Network, x: Tensor, name: str) -> Tensor:
    constants = [
        net.graph.constant(np.ones(x.shape[-1], np.float32), f"{name}_gain"),
        net.graph.constant(np.zeros(x.shape[-1], np.float32), f"{name}_shift"),
    ]
    return net.floats(
        "LayerNormalization", [x], Tensor(name, x.shape, 0.025, net.zero()), more=constants
    )


def drawn_inputs(model: onnx.ModelProto, seed: int = 0) -> dict[str, Array]:
    """An array for each input of a model: normal floats, or any numbers of an integer type."""
    rng = np.random.default_rng(seed)
    inputs: dict[str, Array] = {}
    for value in model.graph.input:
        kind = value.type.tensor_type
        dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type)
        shape = [dim.dim_value or 1 for dim in kind.shape.dim]
        if dtype == np.bool_:
            inputs[value.name] = np.ones(shape, np.bool_)
        elif dtype.kind == "f":
            inputs[value.name] = rng.standard_normal(shape).astype(dtype)
        else:
            limits = np.iinfo(dtype)
            inputs[value.name] = rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    return inputs
