"""The one reader of ONNX models: a file to a model that is known to be whole and well-formed.

Weights in external files are read too, from the folder of the model alone. What the nodes mean is
not known here.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from cube24.errors import ArgumentError, FileAccessError, FileFormatError, StrPath
from cube24.files import opened, read_bytes, read_exactly
from cube24.graph.protos import (
    STANDARD,
    all_tensors,
    demand_bytes,
    graphs_of,
    lighter,
    onnx,
)
from cube24.sizes import shown, whole_of

#: No message of protobuf, which is what an ONNX file is, has so many bytes or more.
PROTO_LIMIT = 1 << 31

#: Larger initializers are not shown to the checker.
_LARGE = 1 << 16

#: The oldest version of the standard's operators that is read. The newest is for the package onnx
#: to say.
OLDEST_OPSET = 7

#: Operators of the vendor's compression tool, which stand in the domain of the standard.
VENDOR_OPS = ("AscendQuant", "AscendDequant", "AscendAntiQuant", "AscendWeightQuant")


@dataclass(frozen=True, eq=False)
class Scope:
    """A graph of a model: the main one, or one inside of a node, such as a branch of an If.

    Attributes: graph, as a GraphProto; parent, the graph around, whose names are known here too;
    where, the nodes that lead to it, "" for the main graph; constant_inputs, whether initializers
    may be inputs that a caller replaces (all of them are constants before IR version 4).
    """

    graph: Any
    parent: Scope | None
    where: str
    constant_inputs: bool = False

    @cached_property
    def initializers(self) -> Mapping[str, Any]:
        """The constant tensors of this graph, by name; TensorProto or SparseTensorProto.

        One that is an input of the graph too is a default and no constant.
        """
        found = {tensor.name: tensor for tensor in self.graph.initializer}
        found |= {tensor.values.name: tensor for tensor in self.graph.sparse_initializer}
        if not self.constant_inputs:
            for given in self.graph.input:
                found.pop(given.name, None)
        return found

    @cached_property
    def inputs(self) -> frozenset[str]:
        """The names that come from outside."""
        return frozenset(given.name for given in self.graph.input)

    @cached_property
    def readers(self) -> Mapping[str, list[Any]]:
        """The nodes of this graph that use a name."""
        found: dict[str, list[Any]] = {}
        for node in self.graph.node:
            for name in dict.fromkeys(node.input):
                found.setdefault(name, []).append(node)
        return found

    @cached_property
    def producers(self) -> Mapping[str, Any]:
        """The node that makes a name, of those of this graph."""
        return {name: node for node in self.graph.node for name in node.output if name}

    @cached_property
    def users(self) -> Counter[str]:
        """How often each name is used in this graph and those inside, as an output of it too."""
        return _users(self.graph)

    def home(self, name: str) -> Scope | None:
        """The graph that makes a name, this one or one around it; None: it is an input there."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.initializers or name in scope.producers:
                return scope
            if name in scope.inputs:
                return None
            scope = scope.parent
        return None


@dataclass(frozen=True, eq=False)
class Model:
    """An ONNX model, whole and well-formed.

    Attributes: path, where it comes from, for messages; proto, the ModelProto, with all data in it;
    files, those beside it that some of the data came from.
    """

    path: str
    proto: Any
    files: tuple[Path, ...] = ()
    _scopes: list[Scope] = field(default_factory=list, repr=False)

    @property
    def name(self) -> str:
        """The name of its file, for reports: they do not depend on where the model stands."""
        return Path(self.path).name

    def copy(self) -> Model:
        """A model of its own, to be changed."""
        proto = type(self.proto)()
        proto.CopyFrom(self.proto)
        return Model(self.path, proto, self.files)

    @property
    def main(self) -> Scope:
        """The main graph."""
        return self.scopes[0]

    @property
    def scopes(self) -> list[Scope]:
        """All graphs: the main one, then those inside of its nodes, as they come."""
        if not self._scopes:
            self._scopes.extend(_scopes(self.proto.graph, None, "", self.proto.ir_version < 4))
        return self._scopes

    @property
    def opset(self) -> int:
        """Version of the standard's operators."""
        return int(next(o.version for o in self.proto.opset_import if o.domain in STANDARD))


class Names:
    """The names of values and nodes of a model, so that new ones are not taken twice."""

    def __init__(self, model: Model) -> None:
        """Know those that are taken."""
        self._taken: set[str] = set()
        for scope in model.scopes:
            graph = scope.graph
            self._taken |= {each.name for each in (*graph.input, *graph.initializer)}
            self._taken |= {name for node in graph.node for name in (node.name, *node.output)}

    def free(self, wanted: str) -> str:
        """A name that was not taken, and now is: the wanted one, or with a number behind."""
        name, number = wanted, 2
        while name in self._taken:
            name, number = f"{wanted}_{number}", number + 1
        self._taken.add(name)
        return name


def load(path: StrPath) -> Model:
    """Read a model.

    Raises:
        MissingExtraError: the package onnx is not there.
        FileFormatError: it is no ONNX model, or not a whole one: malformed, truncated, cyclic, of
            an opset that the package onnx does not know, with data missing, or with external data
            that are missing or stand outside of the folder of the model.
        FileAccessError: the system refuses.
    """
    package = onnx()
    data = read_bytes(path)
    if len(data) >= PROTO_LIMIT:
        raise FileFormatError(path, "2 GiB or more: no ONNX file; large data stand in other files")
    try:
        proto = package.load_model_from_string(data)
    except Exception as error:  # of protobuf, whose classes depend on its version
        raise FileFormatError(path, f"no readable ONNX model: {one_line(error)}") from error
    return of_proto(proto, path)


def of_proto(proto: Any, path: StrPath = "model") -> Model:
    """A model from a ModelProto, which is taken over; path: for messages, and of external data.

    Raises:
        FileFormatError, FileAccessError: as for :func:`load`.
    """
    if not proto.HasField("graph") or not any(o.domain in STANDARD for o in proto.opset_import):
        raise FileFormatError(path, "no readable ONNX model: it has no graph, or names no opset")
    _demand_opset(proto, path)
    model = Model(os.fspath(path), proto, _load_external(proto, path))
    _demand_names(model)
    for tensor in all_tensors(proto):
        if tensor.HasField("raw_data"):
            demand_bytes(tensor, len(tensor.raw_data), path)
    _check(model)
    return model


def with_shapes(model: Model, shapes: Mapping[str, tuple[int, ...]]) -> Model:
    """The model with shapes of inputs that it leaves open, or says otherwise.

    Raises:
        ArgumentError: it has no such input, or one of another number of dimensions.
    """
    if not shapes:
        return model
    model = model.copy()
    proto = model.proto
    inputs = {given.name: given for given in proto.graph.input}
    for name, shape in shapes.items():
        if name not in inputs:
            raise ArgumentError(
                f"{model.path}: no input {name!r}; its inputs are {', '.join(map(repr, inputs))}"
            )
        if min(shape, default=1) < 1:
            raise ArgumentError(f"input {name!r}: shape {shape} has a size below 1")
        kind = inputs[name].type.tensor_type
        if kind.HasField("shape") and len(kind.shape.dim) != len(shape):
            raise ArgumentError(
                f"input {name!r} has {len(kind.shape.dim)} dimensions, and {shape} has {len(shape)}"
            )
        kind.shape.Clear()
        for size in shape:
            kind.shape.dim.add().dim_value = size
    del proto.graph.value_info[:]  # which may say otherwise
    return model


def _scopes(graph: Any, parent: Scope | None, where: str, inputs: bool) -> Iterator[Scope]:
    scope = Scope(graph, parent, where, inputs)
    yield scope
    for number, node in enumerate(graph.node):
        for name, inner in graphs_of(node):
            place = f"{where}{node.name or f'{node.op_type} {number}'}/{name}/"
            yield from _scopes(inner, scope, place, False)


def _users(graph: Any) -> Counter[str]:
    found = Counter(name.name for name in graph.output)
    for node in graph.node:
        found.update(name for name in node.input if name)
        for _, inner in graphs_of(node):
            found += _users(inner)
    return found


# --- external data --------------------------------------------------------------------------------


def _load_external(proto: Any, path: StrPath) -> tuple[Path, ...]:
    """Put the data of other files into the tensors; gives these files."""
    folder, found = Path(os.path.realpath(os.fspath(path))).parent, set()
    for tensor in all_tensors(proto):
        if tensor.data_location == onnx().TensorProto.EXTERNAL:
            tensor.raw_data, file = _external(tensor, folder, path)
            found.add(file)
            tensor.ClearField("data_location")
            tensor.ClearField("external_data")
    return tuple(sorted(found))


def _external(tensor: Any, folder: Path, path: StrPath) -> tuple[bytes, Path]:
    """The bytes of a tensor in another file, which has to stand in the folder of the model."""
    says = {entry.key: entry.value for entry in tensor.external_data}
    where, place = f"tensor {shown(tensor.name)}", says.get("location", "")
    try:
        target = Path(os.path.realpath(folder / place))
        inside = bool(place) and not Path(place).is_absolute() and target.is_relative_to(folder)
    except (ValueError, OSError):
        inside = False
    if not inside:
        raise FileFormatError(
            path, f"{where} has its data in {shown(place)}, outside of the folder of the model"
        )
    try:
        offset, length = whole_of(says.get("offset") or "0"), whole_of(says.get("length") or "-1")
    except ValueError:
        offset = length = -1
    if offset < 0 or (length < 0 and says.get("length")):
        raise FileFormatError(
            path,
            f"{where}: offset {shown(says.get('offset', ''))} and length "
            f"{shown(says.get('length', ''))} of its external data are no places in a file",
        )
    try:
        with opened(target) as file:
            size = os.fstat(file.fileno()).st_size
            length = size - offset if length < 0 else length
            if offset + length > size or length < 0:
                raise FileFormatError(
                    path,
                    f"{where}: {length} bytes from {offset} on in {shown(place)}, which has {size}",
                )
            demand_bytes(tensor, length, path)
            return read_exactly(target, file, offset, length), target
    except FileAccessError as error:
        why = one_line(str(error).removeprefix(f"{error.path}: "))
        raise FileFormatError(
            path, f"no readable ONNX model: {where} has its data in {shown(place)}: {why}"
        ) from error


# --- whether it is one ----------------------------------------------------------------------------


def _demand_opset(proto: Any, path: StrPath) -> None:
    """Refuse operators of a version that is not known, or of two."""
    versions = sorted({o.version for o in proto.opset_import if o.domain in STANDARD})
    if len(versions) > 1:
        raise FileFormatError(
            path, f"no readable ONNX model: it is of opset {versions[0]} and of {versions[-1]}"
        )
    newest = onnx().defs.onnx_opset_version()
    if versions[0] < OLDEST_OPSET:
        raise FileFormatError(
            path, f"opset {versions[0]}: the oldest that is read is {OLDEST_OPSET}"
        )
    if versions[0] > newest:
        raise FileFormatError(
            path,
            f"opset {versions[0]}: the package onnx {onnx().__version__} knows those up to "
            f"{newest}; install a newer one",
        )


def _demand_names(model: Model) -> None:
    """Refuse names that are no text, and attributes that only functions have."""
    # Protobuf gives what is no UTF-8 as bytes.
    functions = model.proto.functions
    texts = [x for o in (*model.proto.opset_import, *functions) for x in (o.domain,)]
    for function in functions:
        texts += [function.name, *function.input, *function.output, *function.attribute]
        texts += _texts(function.node)
    for scope in model.scopes:
        graph = scope.graph
        texts += [graph.name, *(t.name for t in graph.initializer)]
        for info in (*graph.input, *graph.output, *graph.value_info):
            texts.append(info.name)
            texts += [dim.dim_param for dim in info.type.tensor_type.shape.dim]
        texts += _texts(graph.node)
        for node in graph.node:
            for found in node.attribute:
                if found.ref_attr_name:
                    raise FileFormatError(
                        model.path,
                        f"no readable ONNX model: node {shown(node.name)} takes its {found.name} "
                        f"from a function, and stands in none",
                    )
    for text in texts:
        if isinstance(text, bytes):
            raise FileFormatError(
                model.path, f"no readable ONNX model: the name {shown(text)} is no UTF-8"
            )


def _texts(nodes: Any) -> Iterator[Any]:
    for node in nodes:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        yield from (found.name for found in node.attribute)


def _check(model: Model) -> None:
    """Refuse what the checker of onnx refuses: unknown names, cycles, operators of no opset."""
    # A copy, for the checker takes no message of 2 GiB, which is what all data may be together.
    copy = lighter(model.proto, _LARGE)
    scopes = list(_scopes(copy.graph, None, "", False))
    vendor = [
        node for scope in scopes for node in scope.graph.node
        if node.op_type in VENDOR_OPS and node.domain in STANDARD
    ]  # fmt: skip
    for node in vendor:  # in a domain that the checker does not know, and so leaves alone
        node.domain = "vendor"
    if vendor:
        added = copy.opset_import.add()
        added.domain, added.version = "vendor", 1
    for info in (*copy.graph.input, *copy.graph.output):
        # No shape is any shape; runtimes take it, and the checker does not.
        if info.type.tensor_type.elem_type and not info.type.tensor_type.HasField("shape"):
            info.type.tensor_type.shape.SetInParent()
    try:
        onnx().checker.check_model(copy)
    except Exception as error:  # of the checker, and of what it is written in
        raise FileFormatError(model.path, f"no readable ONNX model: {one_line(error)}") from error


def one_line(error: object) -> str:
    """What another package says, on one line."""
    text = " ".join(str(error).split())
    text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[:501])
    return text if len(text) <= 500 else f"{text[:500]}..."
