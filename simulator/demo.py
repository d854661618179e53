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
class LayerData:
    """The numbers of one layer.

    Attributes: name, and the arrays: activations, weight, bias, and expected, the accumulators by
    the dense computation from the original weight.
    """

    name: str
    activations: npt.NDArray[np.int8]
    weight: npt.NDArray[np.int8]
    bias: npt.NDArray[np.int32]
    expected: npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class LayerResult(LayerData):
    """One layer of the demo.

    Attributes: those of its data; sparse, the encoded weight; report on its patterns; shape of the
    weight; bytes_before (the int8 weight); bytes_after (dense and index); compared (outputs);
    differences (outputs that the bytes and the original weights disagree on).
    """

    sparse: SparseWeight
    report: Report
    differences: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the weight."""
        return self.weight.shape

    @property
    def compared(self) -> int:
        """How many outputs were compared: all of them."""
        return self.expected.size

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
    layers = tuple(
        _run_layer(layer, data, layout) for layer, data in zip(_LAYERS, reference(), strict=True)
    )
    labels = _data()["labels"]
    correct = int((layers[-1].expected.argmax(axis=1) == labels).sum())
    return DemoResult(layers, len(labels), correct)


def reference() -> tuple[LayerData, ...]:
    """The numbers of all layers on all images, computed from the original weights alone."""
    data = _data()
    x = data["images"][:, None]
    layers = []
    for layer in _LAYERS:
        weight, bias = data[f"{layer.name}.weight"], data[f"{layer.name}.bias"]
        if layer.strides is None:
            x = x.reshape(len(x), -1)
            expected = dense.matmul(x, weight) + bias
        else:
            expected = dense.conv2d(x, weight, strides=layer.strides, pads=layer.pads)
            expected = expected + bias[:, None, None]
        layers.append(LayerData(layer.name, x, weight, bias, expected.astype(np.int32)))
        if layer.strides is not None:
            x = _requantise(layers[-1].expected, data[f"{layer.name}.scale"])
    return tuple(layers)


def _run_layer(layer: _Layer, data: LayerData, layout: Layout) -> LayerResult:
    x, weight, bias = data.activations, data.weight, data.bias
    if layer.strides is None:
        sparse = encode(weight, layout=layout)
        got = functional.matmul(x, sparse, bias)
    else:
        sparse = encode_conv(weight, layout=layout)
        got = functional.conv2d(x, sparse, bias, strides=layer.strides, pads=layer.pads)
    return LayerResult(
        **vars(data),
        sparse=sparse,
        report=check(weight, kind=sparse.kind),
        differences=int((got != data.expected).sum()),
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
