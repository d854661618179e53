"""The convolutions of ResNet-50 at batch 1, as layers of cube24 and of onnxruntime.

Shapes are those of the network for a 224 x 224 input, with the stride of a block in its 3x3
convolution. Weights are drawn from a seeded normal distribution, quantised and pruned to 2:4;
activations are random int8. Results are int8, by a scale for each channel that is a power of two,
so that both libraries round the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import InferenceSession, SessionOptions

from cube24 import encoder
from cube24.simulator import Requant, Unit


@dataclass(frozen=True)
class Layer:
    """A convolution; size: of the input image."""

    name: str
    cin: int
    cout: int
    kernel: int
    stride: int
    size: int


def layers() -> list[Layer]:
    """All 53."""
    found = [Layer("conv1", 3, 64, 7, 2, 224)]
    size, cin = 56, 64
    for stage, (width, blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3)), 2):
        for block in range(blocks):
            stride = 2 if stage > 2 and block == 0 else 1
            name = f"conv{stage}_{block + 1}"
            found.append(Layer(f"{name}a", cin, width, 1, 1, size))
            found.append(Layer(f"{name}b", width, width, 3, stride, size))
            if block == 0:
                found.append(Layer(f"{name}d", cin, 4 * width, 1, stride, size))
            size //= stride
            found.append(Layer(f"{name}c", width, 4 * width, 1, 1, size))
            cin = 4 * width
    return found


class Convolution:
    """One layer with its arrays, as each library takes it."""

    def __init__(self, layer: Layer, rng: np.random.Generator) -> None:
        """Make the arrays."""
        shape = (layer.cout, layer.cin, layer.kernel, layer.kernel)
        values = np.clip(np.rint(rng.normal(0, 40, shape)), -127, 127).astype(np.int8)
        self.layer, self.pads = layer, (layer.kernel // 2,) * 4
        self.weight = encoder.prune(values, kind="conv").weight
        self.sparse = encoder.encode_conv(self.weight)
        self.x = rng.integers(-128, 128, (1, layer.cin, layer.size, layer.size), dtype=np.int8)
        self.scale = np.exp2(rng.integers(-14, -10, layer.cout)).astype(np.float32)
        self.requant = Requant(self.scale)
        out = layer.size // layer.stride
        self.out = np.empty((1, layer.cout, out, out), np.int8)
        self.nhwc = np.ascontiguousarray(self.x.transpose(0, 2, 3, 1))
        self.out_nhwc = np.empty((1, out, out, layer.cout), np.int8)

    def ours(self, unit: Unit, threads: int, operand: Any = None, data_format: str = "NCHW") -> Any:
        """A run on the unit, with its cycles."""
        nchw = data_format == "NCHW"
        run = unit.conv2d(
            self.x if nchw else self.nhwc, self.sparse if operand is None else operand,
            requant=self.requant, strides=(self.layer.stride,) * 2, pads=self.pads,
            data_format=data_format, threads=threads, out=self.out if nchw else self.out_nhwc,
        )  # fmt: skip
        assert run.cycles > 0
        return run

    def theirs(self, threads: int) -> tuple[Callable[[], Any], np.ndarray]:
        """A call of QLinearConv, and the uint8 array that it writes to: ours plus 128."""
        call, (out,) = peers([self], threads)
        return call, out


def peers(layers: list[Convolution], threads: int) -> tuple[Callable[[], Any], list[np.ndarray]]:
    """One call of onnxruntime for all layers, and the uint8 arrays that it writes to.

    They are nodes of one model that do not know each other: a session each would bring threads of
    its own each, which wait by turning and disturb the others.
    """
    nodes, inputs, outputs, constants = [], [], [], []
    given = [one.x.view(np.uint8) ^ 128 for one in layers]
    outs = [np.empty(one.out.shape, np.uint8) for one in layers]
    for number, (one, x, y) in enumerate(zip(layers, given, outs, strict=True)):
        values = {
            "xs": np.float32(1), "xz": np.uint8(128), "w": one.weight, "ws": one.scale,
            "wz": np.zeros(one.layer.cout, np.int8), "ys": np.float32(1), "yz": np.uint8(128),
        }  # fmt: skip
        names = {name: f"{name}{number}" for name in ("x", "y", *values)}
        order = ("x", "xs", "xz", "w", "ws", "wz", "ys", "yz")
        nodes.append(
            helper.make_node(
                "QLinearConv", [names[name] for name in order], [names["y"]],
                strides=[one.layer.stride] * 2, pads=list(one.pads),
            )
        )  # fmt: skip
        inputs.append(helper.make_tensor_value_info(names["x"], TensorProto.UINT8, x.shape))
        outputs.append(helper.make_tensor_value_info(names["y"], TensorProto.UINT8, y.shape))
        constants += [
            numpy_helper.from_array(np.asarray(value), names[name])
            for name, value in values.items()
        ]
    graph = helper.make_graph(nodes, "layers", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    options = SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    of = InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    binding = of.io_binding()
    for number, (x, y) in enumerate(zip(given, outs, strict=True)):
        binding.bind_cpu_input(f"x{number}", x)  # bindings keep no references
        binding.bind_output(f"y{number}", "cpu", 0, np.uint8, y.shape, y.ctypes.data)
    return lambda: (given, outs, of.run_with_iobinding(binding)), outs


def convolutions(which: Callable[[Layer], bool] = lambda layer: True) -> list[Convolution]:
    """The layers that are asked for, with arrays from a seed."""
    rng = np.random.default_rng(50)
    return [Convolution(layer, rng) for layer in layers() if which(layer)]
