"""What a compiled model remembers of its source, so that decompile gives it back byte for byte.

The metadata of the compiled model hold the source without the data that the compiled model has
too: tensors that it took over, and weights that its dense and index bytes stand for.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cube24.encoder import SparseWeight, decode
from cube24.errors import Cube24Error, FileFormatError
from cube24.graph.model import Model
from cube24.graph.nodes import Weight
from cube24.graph.protos import array_of, attribute, graphs_of, onnx

#: Where it stands in the metadata of a model.
KEY = "cube24.source"

_VERSION = 1


@dataclass(frozen=True, eq=False)
class Replaced:
    """A weight, whether it is a convolution's, and the names of its dense and index bytes."""

    weight: Weight
    conv: bool
    dense: str
    index: str


def remember(proto: Any, source: Model, replaced: list[Replaced]) -> None:
    """Put the source into the metadata of a compiled model."""
    skeleton = type(source.proto)()
    skeleton.CopyFrom(source.proto)
    there = {tensor.name: tensor for tensor in proto.graph.initializer}
    by_name = {each.weight.name: each for each in replaced}
    fillings: list[dict[str, Any]] = []
    for number, (name, tensor) in enumerate(_tensors(skeleton.graph)):
        data = tensor.raw_data
        filling: dict[str, Any] | None = None
        if not data:
            continue
        if name in there and there[name].raw_data == data:
            filling = {"taken": name}
        elif name in by_name:
            filling = _decoded(by_name[name], there, data)
        if filling is not None:
            digest = hashlib.sha256(data).hexdigest()
            fillings.append({"tensor": number, "sha256": digest} | filling)
            tensor.ClearField("raw_data")
    text = base64.b64encode(skeleton.SerializeToString(deterministic=True)).decode("ascii")
    entry = proto.metadata_props.add()
    entry.key = KEY
    entry.value = json.dumps({"version": _VERSION, "fillings": fillings, "model": text})


def _decoded(of: Replaced, there: Mapping[str, Any], data: bytes) -> dict[str, Any] | None:
    """How a weight is had back from its bytes; None: that gives other ones."""
    weight = of.weight
    if of.dense not in there:  # it stands behind an operator that compresses it
        return None
    filling = {
        "dense": of.dense, "index": of.index, "conv": of.conv, "zero": weight.zero,
        "shape": list(weight.values.shape), "transposed": weight.transposed,
        "dtype": str(weight.stored.dtype),
        "layout": "zn" if len(there[of.dense].dims) == 4 else "nd",
    }  # fmt: skip
    values = np.asarray(weight.values)
    return filling if _stored(values, filling) == data else None


def _stored(values: Any, filling: Mapping[str, Any]) -> bytes:
    """A weight as the source stored it."""
    turned = values.T if filling["transposed"] else values
    if filling["zero"] or filling["dtype"] != str(turned.dtype):
        turned = (turned.astype(np.int64) + filling["zero"]).astype(filling["dtype"])
    return bytes(turned.tobytes())


def restored(model: Model) -> Any:
    """The ModelProto of the source.

    Raises:
        FileFormatError: nothing is remembered, or it does not fit what the model holds.
    """
    found = {entry.key: entry.value for entry in model.proto.metadata_props}
    if KEY not in found:
        raise FileFormatError(
            model.path, "is no model that cube24 compiled: it remembers no source"
        )
    try:
        says = json.loads(found[KEY])
        if says["version"] != _VERSION:
            raise FileFormatError(
                model.path, f"its source is remembered in version {says['version']}, not {_VERSION}"
            )
        skeleton = onnx().load_model_from_string(base64.b64decode(says["model"], validate=True))
        tensors = [tensor for _, tensor in _tensors(skeleton.graph)]
        there = {tensor.name: tensor for tensor in model.proto.graph.initializer}
        for filling in says["fillings"]:
            data = _filled(filling, there, model)
            if hashlib.sha256(data).hexdigest() != filling["sha256"]:
                name = filling.get("taken") or filling.get("dense")
                raise FileFormatError(
                    model.path, f"tensor {name!r} was changed since it was compiled"
                )
            tensors[filling["tensor"]].raw_data = data
    except Cube24Error:
        raise
    except Exception as error:  # whatever stands there
        raise FileFormatError(
            model.path, f"what it remembers of its source is damaged: {error!r}"
        ) from error
    return skeleton


def _filled(filling: Mapping[str, Any], there: Mapping[str, Any], model: Model) -> bytes:
    if "taken" in filling:
        return bytes(there[filling["taken"]].raw_data)
    dense, index = (array_of(there[filling[name]], model.path) for name in ("dense", "index"))
    kind = "conv" if filling["conv"] else "matrix"
    sparse = SparseWeight(dense, index, tuple(filling["shape"]), filling["layout"], kind)  # type: ignore[arg-type]
    return _stored(decode(sparse), filling)


def _tensors(graph: Any) -> Iterator[tuple[str, Any]]:
    """All tensors of a graph and those inside, each with the name that nodes know it by."""
    for tensor in graph.initializer:
        yield tensor.name, tensor
    for node in graph.node:
        if node.op_type == "Constant":
            value = attribute(node, "value")
            if value is not None:
                yield node.output[0], value
        for _, inner in graphs_of(node):
            yield from _tensors(inner)
