"""What a model does to the reader: it is read, judged and compiled, or refused in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import bad_models
import numpy as np
import onnx
from onnx import helper, numpy_helper

from cube24 import graph
from cube24.errors import FileAccessError, FileFormatError
from cube24.graph.nodes import Reader
from cube24.graph.verdicts import Verdict, judge
from cube24.simulator import Unit

UNIT = Unit()


def good() -> onnx.ModelProto:
    """A good model that leaves the sizes of its output open, so that no change contradicts them."""
    model = bad_models.good()
    for dim in model.graph.output[0].type.tensor_type.shape.dim:
        dim.Clear()
    return model


def verdicts_of(path: Path) -> tuple[Verdict, ...]:
    """Read, judge and compile a model; the verdicts."""
    model = graph.load(path)
    found = judge(Reader(model), unit=UNIT)
    graph.compile(model, sparsity=1)
    return found


def said_of(path: Path) -> str:
    """The refusal of a model, without its path; or ``sparse``, or ``reason: detail``."""
    try:
        (verdict, *_) = verdicts_of(path) or (None,)
    except (FileFormatError, FileAccessError) as error:
        text = str(error)
        assert text.isprintable()
        assert text.startswith(f"{path}: ")
        assert len(text) < len(str(path)) + 700
        return text.removeprefix(f"{path}: ")
    if verdict is None:
        return "no candidate"
    return f"{verdict.reason}: {verdict.detail}" if verdict.reason else "sparse"


def written(folder: Path, model: Any) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    return path


def changed(change: Callable[[onnx.ModelProto], Any]) -> onnx.ModelProto:
    """The good model with something else in it."""
    model = good()
    change(model)
    return model


def tensor(model: onnx.ModelProto, name: str) -> onnx.TensorProto:
    return next(each for each in model.graph.initializer if each.name == name)


def with_array(name: str, array: Any) -> onnx.ModelProto:
    """The good model with another tensor of a name."""
    model = good()
    place = tensor(model, name)
    place.CopyFrom(numpy_helper.from_array(np.asarray(array), name))
    if name == "y_y_zero":  # which gives the output its type
        model.graph.output[0].type.tensor_type.elem_type = place.data_type
    return model


def with_attribute(**attributes: Any) -> onnx.ModelProto:
    """The good model whose layer has other attributes; None: an empty list of whole numbers."""
    model = good()
    (node,) = model.graph.node
    kept = [found for found in node.attribute if found.name not in attributes]
    del node.attribute[:]
    node.attribute.extend(kept)
    for name, value in attributes.items():
        if value is None:
            node.attribute.add(name=name, type=onnx.AttributeProto.INTS)
        else:
            node.attribute.append(helper.make_attribute(name, value))
    return model


def behind(*nodes: Any, opset: int = 15, **constants: Any) -> onnx.ModelProto:
    """The good model whose weight is ``w``, which these nodes make of the weight and constants."""
    model = good()
    model.opset_import[0].version = opset
    model.graph.node[0].input[3] = "w"
    rest = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *rest])
    model.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()
    )
    return model


def op(kind: str, inputs: str, output: str = "w", **attributes: Any) -> Any:
    return helper.make_node(
        kind, inputs.split(",") if inputs else [], output.split(","), **attributes
    )
