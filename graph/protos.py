"""Parts of ONNX models: attributes, tensors and graphs in graphs, read one at a time.

Nothing here knows what an operator means. The package onnx is an extra, so all of its types are
``Any`` here, and it is imported when the first model is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from cube24.errors import Cube24Error, FileFormatError, StrPath
from cube24.extras import need
from cube24.sizes import check_sizes, shortened

#: Domains of the operators of the ONNX standard.
STANDARD = ("", "ai.onnx")


def onnx(module: str = "onnx") -> Any:
    """The package onnx, or a module of it.

    Raises:
        MissingExtraError: it is not there.
    """
    return need(module, "onnx", "reading a model")


def attribute(node: Any, name: str, default: Any = None) -> Any:
    """The value of an attribute of a node; texts as str, lists as tuples."""
    for found in node.attribute:
        if found.name == name:
            value = onnx().helper.get_attribute_value(found)
            if isinstance(value, bytes):
                return value.decode("utf-8", "replace")
            return tuple(value) if isinstance(value, list) else value
    return default


def op_of(node: Any) -> str:
    """The operator of a node, with its domain if that is not the standard's."""
    return node.op_type if node.domain in STANDARD else f"{node.domain}.{node.op_type}"


def graphs_of(node: Any) -> Iterator[tuple[str, Any]]:
    """The graphs that a node has as attributes, such as the branches of an If, with their names."""
    kinds = onnx().AttributeProto
    for found in node.attribute:
        if found.type == kinds.GRAPH:
            yield found.name, found.g
        elif found.type == kinds.GRAPHS:
            for number, graph in enumerate(found.graphs):
                yield f"{found.name}[{number}]", graph


def tensors_of(graph: Any) -> Iterator[Any]:
    """All tensors of a graph: initializers, attributes of nodes, and those of graphs inside."""
    kinds = onnx().AttributeProto
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for found in node.attribute:
            if found.type == kinds.TENSOR:
                yield found.t
            elif found.type == kinds.TENSORS:
                yield from found.tensors
        for _, inner in graphs_of(node):
            yield from tensors_of(inner)


def lighter(proto: Any, size: int) -> Any:
    """A copy in which initializers of so many bytes or more are inputs without data."""
    light = type(proto)()
    light.ir_version = proto.ir_version
    light.opset_import.extend(proto.opset_import)
    light.functions.extend(proto.functions)
    graph, source = light.graph, proto.graph
    graph.name = source.name
    graph.node.extend(source.node)
    graph.input.extend(source.input)
    graph.output.extend(source.output)
    graph.value_info.extend(source.value_info)
    named = {given.name for given in source.input}
    for tensor in source.initializer:
        if len(tensor.raw_data) < size:
            graph.initializer.append(tensor)
        elif tensor.name not in named:
            make = onnx().helper.make_tensor_value_info
            graph.input.append(make(tensor.name, tensor.data_type, tensor.dims))
    return light


def array_of(tensor: Any, path: StrPath) -> npt.NDArray[Any]:
    """The numbers of a tensor, in its own type; 4-bit integers as int8 or uint8.

    Raises:
        FileFormatError: its data are not those of its shape and type.
    """
    name = shortened(tensor.name)
    try:
        check_sizes(tuple(tensor.dims))
        array = np.asarray(onnx().numpy_helper.to_array(tensor))
    except (Cube24Error, ValueError, TypeError, KeyError, NotImplementedError) as error:
        text = shortened(" ".join(str(error).split()))
        raise FileFormatError(path, f"tensor {name!r} cannot be read: {text}") from error
    if array.dtype.kind not in "V":  # NumPy's own types
        return array
    # int4, uint4 and bfloat16 are types of another package.
    kind = array.dtype.name
    return array.astype(
        np.int8 if kind.startswith("int") else np.uint8 if kind.startswith("uint") else np.float32
    )
