"""Parts of ONNX models: attributes, tensors and graphs in graphs, read one at a time.

Nothing here knows what an operator means. The package onnx is an extra, so all of its types are
``Any`` here, and it is imported when the first model is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from cube24.errors import Cube24Error, FileFormatError, StrPath
from cube24.extras import need
from cube24.sizes import check_sizes, shortened, shown

#: Domains of the operators of the ONNX standard.
STANDARD = ("", "ai.onnx")

#: The domain of onnxruntime's own operators.
MICROSOFT = "com.microsoft"


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


def all_tensors(proto: Any) -> Iterator[Any]:
    """All tensors of a model: those of its graphs, and of the nodes of its functions."""
    yield from tensors_of(proto.graph)
    for function in proto.functions:
        yield from _tensors_of_nodes(function.node)


def tensors_of(graph: Any) -> Iterator[Any]:
    """All tensors of a graph: initializers, attributes of nodes, and those of graphs inside."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _tensors_of_nodes(graph.node)


def _tensors_of_nodes(nodes: Any) -> Iterator[Any]:
    kinds = onnx().AttributeProto
    for node in nodes:
        for found in node.attribute:
            if found.type == kinds.TENSOR:
                yield found.t
            elif found.type == kinds.TENSORS:
                yield from found.tensors
            elif found.type == kinds.SPARSE_TENSOR:
                yield from (found.sparse_tensor.values, found.sparse_tensor.indices)
        for _, inner in graphs_of(node):
            yield from tensors_of(inner)


def demand_bytes(tensor: Any, found: int, path: StrPath) -> None:
    """Refuse a tensor whose bytes are not as many as its shape and type need.

    Raises:
        FileFormatError: they are not, or no tensor has this shape or type.
    """
    where = f"tensor {shown(tensor.name)}"
    try:
        check_sizes(tuple(tensor.dims))
    except Cube24Error as error:
        raise FileFormatError(path, f"{where}: {error}") from error
    bits = _bits(tensor.data_type)
    if not bits:
        raise FileFormatError(path, f"{where} has no numbers as bytes: type {tensor.data_type}")
    wanted = -(-prod(tensor.dims) * bits // 8)
    if found != wanted:
        raise FileFormatError(
            path, f"{where} of shape {tuple(tensor.dims)} has {found} bytes and needs {wanted}"
        )


def _bits(kind: int) -> int:
    """Bits of a number of a type, as in TensorProto; 0: it is none, or has no fixed size."""
    package = onnx()
    try:
        name = package.TensorProto.DataType.Name(kind)
    except ValueError:
        return 0
    found = re.fullmatch(r"(?:U?INT|FLOAT|BFLOAT)([0-9]+)(?:E[0-9].*)?", name)
    if found:
        return int(found[1])
    return {"FLOAT": 32, "DOUBLE": 64, "BOOL": 8, "COMPLEX64": 64, "COMPLEX128": 128}.get(name, 0)


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
    graph.sparse_initializer.extend(source.sparse_initializer)
    named = {given.name for given in source.input}
    for tensor in source.initializer:
        if len(tensor.raw_data) < size:
            graph.initializer.append(tensor)
        elif tensor.name not in named:
            make = onnx().helper.make_tensor_value_info
            graph.input.append(make(tensor.name, tensor.data_type, tensor.dims))
    return light


def array_of(tensor: Any, path: StrPath) -> npt.NDArray[Any]:
    """The numbers of a tensor, sparse or not, in its own type; 4-bit integers as int8 or uint8.

    Raises:
        FileFormatError: its data are not those of its shape and type.
    """
    if hasattr(tensor, "indices"):
        return _dense(tensor, path)
    try:
        check_sizes(tuple(tensor.dims))
        array = np.asarray(onnx().numpy_helper.to_array(tensor))
    except MemoryError:
        raise
    except Exception as error:  # of NumPy and onnx, by what the file has there
        text = shortened(" ".join(str(error).split()))
        raise FileFormatError(
            path, f"tensor {shown(tensor.name)} cannot be read: {text}"
        ) from error
    return plain(array)


#: No sparse tensor has more numbers, zeros counted: a small file could ask for any number.
_SPARSE_LIMIT = 1 << 28


def _dense(sparse: Any, path: StrPath) -> npt.NDArray[Any]:
    """A SparseTensorProto with its zeros."""
    values, indices = array_of(sparse.values, path), array_of(sparse.indices, path)
    shape = tuple(sparse.dims)
    where = f"sparse tensor {shown(sparse.values.name)}"
    try:
        check_sizes(shape)
        if prod(shape) > _SPARSE_LIMIT:
            raise ValueError(f"shape {shape} is too large")
        at = tuple(indices.T) if indices.ndim == 2 else np.unravel_index(indices, shape)
        if any((one < 0).any() for one in at):
            raise ValueError("an index is negative")
        array = np.zeros(shape, values.dtype)
        array[at] = values
    except (Cube24Error, ValueError, TypeError, IndexError) as error:
        raise FileFormatError(path, f"{where} cannot be read: {error}") from error
    return array


def plain(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """An array in a type of NumPy's own: int4, uint4, bfloat16 and such are of another package."""
    if array.dtype.kind not in "V":
        return array
    kind = array.dtype.name
    return array.astype(
        np.int8 if kind.startswith("int") else np.uint8 if kind.startswith("uint") else np.float32
    )
