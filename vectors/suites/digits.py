"""The suite of layers of a network: the digits network of the demo, on its real images.

The numbers of a layer stand in the spec itself, as base64, so that a case is made again and shrunk
from its manifest alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from cube24.simulator import demo
from cube24.vectors.fill import inline, inline_weights
from cube24.vectors.spec import Item, Spec, conv2d, fully_connected

#: Of its layers: strides and pads of the convolutions.
_STRIDES = {"conv1": (1, 1), "conv2": (2, 2)}

#: Images of one case.
_BATCH = 8


@lru_cache
def _digits() -> tuple[demo.LayerData, ...]:
    return demo.reference()


def cases(level: int, seed: int) -> Iterator[Item]:
    """The layers of the digits network of the demo, on its images: 2, 24 or all 360 of them."""
    layers = _digits()
    images = {0: 0, 1: 24, 2: len(layers[0].activations)}[level]
    batches = [(0, 2), *((at, at + _BATCH) for at in range(0, images, _BATCH))]
    for first, end in batches:
        for layer in layers:
            name = f"digits-{layer.name}-{first:03d}-{end - 1:03d}"
            yield Item(name, _digits_spec(layer, first, end, None), ("network", layer.name))
            if layer.name in _STRIDES:
                # As the next layer takes it: ReLU and int8 in one.
                rule = {"scale": _scale(layer), "relu": True}
                spec = _digits_spec(layer, first, end, rule)
                yield Item(f"{name}-int8", spec, ("network", layer.name, "requant"))


def _scale(layer: demo.LayerData) -> float:
    """A power of two that brings the largest accumulator of all images to 64 to 127."""
    return 2.0 ** -max(0, int(layer.expected.max()).bit_length() - 7)


def _digits_spec(
    layer: demo.LayerData, first: int, end: int, rule: Mapping[str, Any] | None
) -> Spec:
    x, weight = layer.activations[first:end], layer.weight
    fill: dict[str, Any] = {
        "weights": inline_weights(weight), "activations": inline(x), "bias": layer.bias.tolist(),
        "requant": rule,
    }  # fmt: skip
    if layer.name not in _STRIDES:
        return fully_connected(end - first, *weight.shape, **fill)
    cout, cin, kh, kw = weight.shape
    return conv2d(
        cin, cout, (x.shape[2], x.shape[3]), (kh, kw), batch=end - first,
        strides=_STRIDES[layer.name], pads=(1, 1, 1, 1), **fill,
    )  # fmt: skip
