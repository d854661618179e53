"""The whole chain on real input: a small network on handwritten digits.

360 images of the UCI digits test split and a network of two convolutions and a fully connected
layer, int8 and 2:4, trained by examples/train_digits.py, ship in the package. Each layer is encoded
with the C core, computed from the emitted bytes alone, and compared with the dense computation
from the original weights.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt

from cube24.encoder import Layout, Report, SparseWeight, check, encode, encode_conv
from cube24.simulator import dense, functional


@dataclass(frozen=True)
class _Layer:
    name: str
    strides: tuple[int, int] | None  # None: fully connected
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)


_LAYERS = (
    _Layer("conv1", (1, 1), (1, 1, 1, 1)),
    _Layer("conv2", (2, 2), (1, 1, 1, 1)),
    _Layer("fc", None),
)


@dataclass(frozen=True, eq=False)
class LayerResult:
    """One layer of the demo.

    Attributes: name; shape of the weight; report on its patterns; bytes_before (the int8 weight);
    bytes_after (dense and index); compared (outputs); differences (outputs that the bytes and the
    original weights disagree on); and the arrays: activations, weight, sparse, bias, expected.
    """

    name: str
    shape: tuple[int, ...]
    report: Report
    compared: int
    differences: int
    activations: npt.NDArray[np.int8]
    weight: npt.NDArray[np.int8]
    sparse: SparseWeight
    bias: npt.NDArray[np.int32]
    expected: npt.NDArray[np.int32]

    @property
    def bytes_before(self) -> int:
        """Bytes of the int8 weight."""
        return self.weight.nbytes

    @property
    def bytes_after(self) -> int:
        """Bytes of dense and index."""
        return self.sparse.nbytes


@dataclass(frozen=True)
class DemoResult:
    """All layers, and how many of the images the last one names rightly."""

    layers: tuple[LayerResult, ...]
    images: int
    correct: int

    @property
    def differences(self) -> int:
        """Outputs of all layers that differ; 0, or cube24 is broken."""
        return sum(layer.differences for layer in self.layers)


def run(layout: Layout = "nd") -> DemoResult:
    """Run the network on all images; see the module's text."""
    data = _data()
    x = data["images"][:, None]
    layers = []
    for layer in _LAYERS:
        result = _run_layer(layer, x, data, layout)
        layers.append(result)
        if layer.strides is not None:
            x = _requantise(result.expected, data[f"{layer.name}.scale"])
    correct = int((layers[-1].expected.argmax(axis=1) == data["labels"]).sum())
    return DemoResult(tuple(layers), len(data["labels"]), correct)


def _run_layer(
    layer: _Layer, x: npt.NDArray[np.int8], data: dict[str, Any], layout: Layout
) -> LayerResult:
    weight, bias = data[f"{layer.name}.weight"], data[f"{layer.name}.bias"]
    if layer.strides is None:
        x = x.reshape(len(x), -1)
        sparse = encode(weight, layout=layout)
        got = functional.matmul(x, sparse, bias)
        expected = dense.matmul(x, weight) + bias
    else:
        sparse = encode_conv(weight, layout=layout)
        got = functional.conv2d(x, sparse, bias, strides=layer.strides, pads=layer.pads)
        expected = dense.conv2d(x, weight, strides=layer.strides, pads=layer.pads)
        expected = expected + bias[:, None, None]
    return LayerResult(
        layer.name,
        weight.shape,
        check(weight, kind=sparse.kind),
        expected.size,
        int((got != expected).sum()),
        x,
        weight,
        sparse,
        bias,
        expected.astype(np.int32),
    )


def _requantise(accumulators: npt.NDArray[np.int32], scale: np.float32) -> npt.NDArray[np.int8]:
    """Scale in float32, round half to even, clip to 0..127: ReLU and int8 in one."""
    scaled = np.rint(accumulators.astype(np.float32) * np.float32(scale))
    result: npt.NDArray[np.int8] = np.clip(scaled, 0, 127).astype(np.int8)
    return result


def _data() -> dict[str, Any]:
    raw = resources.files("cube24.simulator").joinpath("data/digits.npz").read_bytes()
    with np.load(io.BytesIO(raw)) as members:
        return dict(members)
