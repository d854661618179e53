"""ResNet-50 at batch 1 on one core: all 53 convolutions and the final layer, bit-exact.

    pytest benchmarks/test_resnet50.py --benchmark-only

Shapes are those of the network for a 224 x 224 input, with the stride of a block in its 3x3
convolution. Weights are drawn from a seeded normal distribution, quantised and pruned to 2:4;
activations are random int8. Every output is compared with the dense computation from the original
weights once, outside the measured time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from cube24 import encoder
from cube24.simulator import Unit


@dataclass(frozen=True)
class Layer:
    name: str
    cin: int
    cout: int
    kernel: int
    stride: int
    size: int  # of the input image


def resnet50() -> list[Layer]:
    layers = [Layer("conv1", 3, 64, 7, 2, 224)]
    size, cin = 56, 64
    for stage, (width, blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3)), 2):
        for block in range(blocks):
            stride = 2 if stage > 2 and block == 0 else 1
            name = f"conv{stage}_{block + 1}"
            layers.append(Layer(f"{name}a", cin, width, 1, 1, size))
            layers.append(Layer(f"{name}b", width, width, 3, stride, size))
            if block == 0:
                layers.append(Layer(f"{name}d", cin, 4 * width, 1, stride, size))
            size //= stride
            layers.append(Layer(f"{name}c", width, 4 * width, 1, 1, size))
            cin = 4 * width
    return layers


def weights(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    values = np.clip(np.rint(rng.normal(0, 40, shape)), -127, 127).astype(np.int8)
    kind: Any = "conv" if len(shape) == 4 else "matrix"
    return encoder.prune(values, kind=kind).weight


def test_the_network_has_53_convolutions():
    layers = resnet50()
    assert len(layers) == 53
    macs = sum(
        layer.cin * layer.cout * layer.kernel**2 * (layer.size // layer.stride) ** 2
        for layer in layers
    )
    assert 4.0e9 < macs < 4.2e9


@pytest.mark.parametrize("sparsity", ["sparse", "dense"])
def test_resnet50(benchmark, sparsity):
    rng = np.random.default_rng(50)
    unit = Unit("dav-2201")
    calls = []
    for layer in resnet50():
        weight = weights(rng, (layer.cout, layer.cin, layer.kernel, layer.kernel))
        x = rng.integers(-128, 128, (1, layer.cin, layer.size, layer.size), dtype=np.int8)
        operand = encoder.encode_conv(weight) if sparsity == "sparse" else weight
        pad = layer.kernel // 2
        options = {"strides": (layer.stride,) * 2, "pads": (pad,) * 4}
        calls.append((unit.conv2d, x, operand, options, weight))
    weight = weights(rng, (1000, 2048))
    x = rng.integers(-128, 128, (1, 2048), dtype=np.int8)
    operand = encoder.encode(weight) if sparsity == "sparse" else weight
    calls.append((unit.fully_connected, x, operand, {}, weight))

    for function, x, operand, options, weight in calls:
        function(x, operand, check=weight, **options)  # raises if one output differs

    def network() -> None:
        for function, x, operand, options, _ in calls:
            function(x, operand, **options)

    benchmark.group = "ResNet-50, 53 convolutions and the final layer, batch 1"
    benchmark.pedantic(network, rounds=3, warmup_rounds=0)
