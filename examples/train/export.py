"""The parts of the example that need no PyTorch: the 2:4 mask, its check, and the two ONNX files.

The network, for images (batch, 1, 8, 8) of float32 in 0..1; both files have these layers:

=====  ==============  ===============================================  ========================
layer  weight          float                                            int8
=====  ==============  ===============================================  ========================
conv1  (32, 1, 3, 3)   Conv, pad 1; Relu                                QLinearConv
conv2  (32, 32, 3, 3)  Conv, stride 2, pad 1; Relu; MaxPool 2; Flatten  QLinearConv, ...
fc1    (32, 128)       Gemm without bias; Relu                          QLinearMatMul
fc2    (10, 32)        Gemm                                             MatMulInteger, Add; Mul
=====  ==============  ===============================================  ========================

All operators are of the standard domain, opset 13, so that every runtime reads the files. Weights
are (N, K) or (Cout, Cin, Kh, Kw) here; those of fc1 and fc2 stand in the int8 file as (K, N), for
that is what the MatMul operators take. There is no Relu in the int8 file: zero is the lowest int8
there, and the operators clip to it.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from onnx import ModelProto, TensorProto, checker, helper, numpy_helper

GROUP, KEPT = 4, 2
CIN_DENSE = 4  # the operator refuses convolutions with as many input channels or fewer
OPSET, IR_VERSION = 13, 8
INT8 = np.iinfo(np.int8)
CONV_ATTRIBUTES = {
    "conv1": {"strides": [1, 1], "pads": [1, 1, 1, 1]},
    "conv2": {"strides": [2, 2], "pads": [1, 1, 1, 1]},
}


class Activation(NamedTuple):
    """How real values x are int8: q = round(x / scale) + zero_point."""

    scale: np.float32
    zero_point: np.int8


class Layer(NamedTuple):
    """A quantised layer: weight = int8 * scale[n], bias = int32 * input.scale * scale[n]."""

    weight: np.ndarray
    scale: np.ndarray
    bias: np.ndarray | None
    input: Activation
    output: Activation | None


def activation(low: float, high: float) -> Activation:
    """Spread int8 over the range from low to high, which is widened to have zero in it."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = np.float32((high - low) / (INT8.max - INT8.min)) or np.float32(1)
    return Activation(scale, np.int8(np.rint(INT8.min - low / scale)))


def can_be_sparse(weight: np.ndarray) -> bool:
    """Tell whether the unit has a 2:4 form of the layer with this weight."""
    return weight.ndim == 2 or weight.shape[1] > CIN_DENSE


def mask(weight: np.ndarray) -> np.ndarray:
    """Mark the two largest magnitudes of each group of four along Cin, or along K of (N, K).

    Of equal ones the first is kept. A last group that is shorter keeps two as well.
    """
    last = np.moveaxis(np.abs(weight.astype(np.float64)), 1, -1)
    missing = -last.shape[-1] % GROUP
    padded = np.pad(last, [(0, 0)] * (last.ndim - 1) + [(0, missing)], constant_values=-1)
    groups = padded.reshape(*padded.shape[:-1], -1, GROUP)
    order = np.argsort(-groups, axis=-1, kind="stable")  # stable: equal ones stay in their order
    kept = np.zeros(groups.shape, dtype=bool)
    np.put_along_axis(kept, order[..., :KEPT], True, axis=-1)
    return np.moveaxis(kept.reshape(padded.shape)[..., : last.shape[-1]], -1, 1)


def illegal_groups(weight: np.ndarray) -> int:
    """Count the groups with more than two values that are not zero."""
    # Written out, and not with what mask() uses, so that one mistake cannot hide in both.
    return sum(
        int((np.count_nonzero(weight[:, start : start + GROUP], axis=1) > KEPT).sum())
        for start in range(0, weight.shape[1], GROUP)
    )


class _Graph:
    """The nodes and initialisers of a model that is being made."""

    def __init__(self) -> None:
        self.nodes: list = []
        self.constants: list = []

    def constant(self, name: str, value: np.ndarray) -> str:
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def node(
        self,
        operator: str,
        inputs: list[str],
        name: str,
        output: str | None = None,
        **attributes: object,
    ) -> str:
        output = output or f"{name}_output"
        self.nodes.append(helper.make_node(operator, inputs, [output], name, **attributes))
        return output

    def activation(self, name: str, how: Activation) -> list[str]:
        return [
            self.constant(f"{name}.output_scale", np.asarray(how.scale)),
            self.constant(f"{name}.output_zero_point", np.asarray(how.zero_point)),
        ]

    def model(self, batch: int) -> ModelProto:
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, 1, 8, 8])
        logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, 10])
        graph = helper.make_graph(self.nodes, "digits", [image], [logits], self.constants)
        opset = helper.make_opsetid("", OPSET)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION)
        checker.check_model(model, full_check=True)
        return model


def float_model(parameters: Mapping[str, np.ndarray], batch: int) -> ModelProto:
    """Make the float model of "conv1.weight", "conv1.bias" and so on."""
    g = _Graph()

    def inputs(x: str, layer: str) -> list[str]:
        names = (f"{layer}.weight", f"{layer}.bias")
        return [x, *(g.constant(name, parameters[name]) for name in names if name in parameters)]

    x = "image"
    for name, attributes in CONV_ATTRIBUTES.items():
        x = g.node("Conv", inputs(x, name), name, **attributes)
        x = g.node("Relu", [x], f"{name}_relu")
    x = g.node("MaxPool", [x], "pool", kernel_shape=[2, 2], strides=[2, 2])
    x = g.node("Flatten", [x], "flatten")
    x = g.node("Gemm", inputs(x, "fc1"), "fc1", transB=1)
    x = g.node("Relu", [x], "fc1_relu")
    g.node("Gemm", inputs(x, "fc2"), "fc2", "logits", transB=1)
    return g.model(batch)


def int8_model(layers: Mapping[str, Layer], batch: int) -> ModelProto:
    """Make the int8 model of the layers conv1, conv2, fc1 and fc2."""
    g = _Graph()

    def weight(name: str) -> list[str]:
        layer = layers[name]
        value = layer.weight.T if layer.weight.ndim == 2 else layer.weight
        zeros = np.zeros(len(layer.weight), np.int8)
        return [
            g.constant(f"{name}.weight", value),
            g.constant(f"{name}.weight_scale", layer.scale),
            g.constant(f"{name}.weight_zero_point", zeros),
        ]

    how = g.activation("image_int8", layers["conv1"].input)
    x = g.node("QuantizeLinear", ["image", *how], "image_int8")
    for name, attributes in CONV_ATTRIBUTES.items():
        inputs = [x, *how, *weight(name)]
        how = g.activation(name, layers[name].output)
        inputs += [*how, g.constant(f"{name}.bias", layers[name].bias)]
        x = g.node("QLinearConv", inputs, name, **attributes)
    x = g.node("MaxPool", [x], "pool", kernel_shape=[2, 2], strides=[2, 2])
    x = g.node("Flatten", [x], "flatten")
    inputs = [x, *how, *weight("fc1")]
    how = g.activation("fc1", layers["fc1"].output)
    x = g.node("QLinearMatMul", [*inputs, *how], "fc1")
    fc2 = layers["fc2"]
    x = g.node("MatMulInteger", [x, g.constant("fc2.weight", fc2.weight.T), how[1]], "fc2")
    x = g.node("Add", [x, g.constant("fc2.bias", fc2.bias)], "fc2_bias")
    x = g.node("Cast", [x], "fc2_float", to=TensorProto.FLOAT)
    g.node("Mul", [x, g.constant("fc2.scale", fc2.input.scale * fc2.scale)], "fc2_scale", "logits")
    return g.model(batch)
