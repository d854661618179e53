"""Layers of a network that ran on a unit as cases: real weights, and real activations.

All numbers of a layer stand in the spec itself, as base64, so a case can be made again and shrunk
from its manifest alone. A weight of more than LIMIT numbers becomes several cases, each with some
of the columns, as those of onnx_layers.py do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from cube24.encoder import N0, decode, encode, encode_conv
from cube24.errors import Cube24Error
from cube24.graph import LayerRun, NetworkRun
from cube24.simulator import Conv2d
from cube24.vectors import spec_check
from cube24.vectors.fill import inline, inline_weights
from cube24.vectors.onnx_layers import LIMIT, OnnxLayer
from cube24.vectors.spec import Item, Spec, conv2d, fully_connected, matmul, unit_fields

#: Activations of one case, at most.
ACTIVATIONS = 1 << 22

#: How an operator is called in the name of a case.
_SHORT = {
    "Conv2DCompress": "conv", "MatMulV2Compress": "matmul", "FullyConnectionCompress": "fc",
}  # fmt: skip


class _NotTakenError(Exception):
    """Why a layer is not taken."""


def from_run(run: NetworkRun, *, prefix: str = "run") -> Iterator[OnnxLayer]:
    """The layers of a run, in their order, as cases of the suite ``network``.

    Args:
        run: of a model.
        prefix: of the names of the cases.

    Yields:
        A layer with its cases; or without any, and with the reason.
    """
    unit = unit_fields(run.unit.config)
    for number, layer in enumerate(run.layers):
        name = f"{prefix}-{number:04d}-{_SHORT[layer.op]}"
        made = OnnxLayer(name, layer.op, layer.name, shape=layer.weight.shape)
        try:
            if unit is None:
                raise _NotTakenError(f"unit {run.unit.config.name!r} is no preset")
            items = tuple(_items(name, layer, unit))
        except _NotTakenError as error:
            yield replace(made, reason=str(error))
        else:
            yield replace(made, items=items)


def _items(name: str, layer: LayerRun, unit: dict[str, Any]) -> Iterator[Item]:
    weight = _weight(layer)
    if layer.x.size > ACTIVATIONS:
        raise _NotTakenError(f"{layer.x.size} activations are too many for a case")
    columns = max(N0, LIMIT // weight[0].size // N0 * N0)
    for first in range(0, len(weight), columns):
        part = slice(first, first + columns)
        rest = {
            "weights": inline_weights(weight[part]), "activations": inline(layer.x),
            "bias": None if layer.bias is None else layer.bias[part].tolist(),
            "requant": _requant(layer, part), "layout": layer.weight.layout, **unit,
        }  # fmt: skip
        spec = _spec(layer, len(weight[part]), rest)
        try:
            spec_check.check(spec)
        except Cube24Error as error:
            raise _NotTakenError(str(error)) from error
        whole = columns >= len(weight)
        yield Item(name if whole else f"{name}-n{first:05d}", spec, ("network", "run", layer.op))


def _weight(layer: LayerRun) -> Any:
    """The weight that the bytes stand for, if they are those that the encoder makes of it."""
    of = layer.weight
    try:
        weight = decode(of)
        again = (encode if of.kind == "matrix" else encode_conv)(weight, layout=of.layout)
    except Cube24Error as error:
        raise _NotTakenError(f"its bytes stand for no weight: {error}") from error
    if not (np.array_equal(of.dense, again.dense) and np.array_equal(of.index, again.index)):
        raise _NotTakenError("its bytes are other ones than those that the encoder makes")
    return weight


def _requant(layer: LayerRun, part: slice) -> dict[str, Any] | None:
    of = layer.requant
    if of is None:
        return None
    scale = np.asarray(of.scale, np.float64)[part].tolist()
    return {"scale": scale, "offset": int(of.offset), "signed": of.signed}


def _spec(layer: LayerRun, columns: int, rest: dict[str, Any]) -> Spec:
    of = layer.layer
    if isinstance(of, Conv2d):
        return conv2d(
            of.cin, columns, (of.h, of.w), of.kernel, batch=of.batch, strides=of.strides,
            pads=of.pads, dilations=of.dilations, offset_x=of.offset_x, **rest,
        )  # fmt: skip
    make = fully_connected if layer.op == "FullyConnectionCompress" else matmul
    return make(of.m, columns, of.k, **rest)
