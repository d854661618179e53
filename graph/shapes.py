"""Shapes and types of what flows through a model, as far as the model says or implies them.

The shape inference of onnx does the work. Operators of onnxruntime's own domain, which it does not
know, are shown to it as operators of the standard that give the same shape and type.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cube24.errors import FileFormatError
from cube24.graph.model import Model, Scope, one_line
from cube24.graph.protos import MICROSOFT, graphs_of, lighter, onnx

#: A shape, with None for a size that is open.
Shape = tuple[int | None, ...]

#: Numbers that are followed through the inference, at most.
_MOST = 1 << 23

#: Larger initializers are inputs for the inference, which then need not carry their bytes.
_LARGE = 1 << 16

#: Operators of onnxruntime, an operator of the standard of the same shape and type, and which of
#: the inputs that takes.
_LIKE: Mapping[str, tuple[str, slice]] = {
    "QLinearAdd": ("Add", slice(0, 4, 3)),
    "QLinearMul": ("Mul", slice(0, 4, 3)),
    "QLinearConcat": ("Concat", slice(2, None, 3)),
    "QLinearGlobalAveragePool": ("GlobalAveragePool", slice(0, 1)),
    "QLinearAveragePool": ("AveragePool", slice(0, 1)),
    "QLinearReduceMean": ("Identity", slice(0, 1)),
    "QGemm": ("Gemm", slice(0, 4, 3)),
    "QuantizeLinear": ("QuantizeLinear", slice(0, 3)),
    "DequantizeLinear": ("DequantizeLinear", slice(0, 3)),
    **dict.fromkeys(
        ("QLinearLeakyRelu", "QLinearSigmoid", "QLinearSoftmax", "Gelu", "FastGelu", "BiasGelu",
         "QuickGelu", "SkipLayerNormalization"),
        ("Identity", slice(0, 1)),
    ),
}  # fmt: skip

#: Attributes by which onnx divides; older ones end the process if they are zero. A node with such a
#: one is of a domain that the inference does not know.
_POSITIVE = {"strides", "dilations", "kernel_shape", "group", "blocksize", "num_outputs"}
_UNKNOWN = "cube24.unknown"

#: Attributes that the operator of the standard does not have.
_FOREIGN = {"alpha", "channels_last", "opset"}


@dataclass(eq=False)
class Shapes:
    """What is known of the values of a model."""

    model: Model
    _known: dict[int, dict[str, tuple[int, Shape | None]]] = field(default_factory=dict, repr=False)

    _inside: dict[int, list[Scope]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        """Infer, once."""
        for scope in self.model.scopes:
            self._inside.setdefault(id(scope.parent), []).append(scope)
        inferred = _inferred(self.model)
        self._collect(self.model.scopes[0], inferred)

    def _collect(self, scope: Scope, graph: Any) -> None:
        known: dict[str, tuple[int, Shape | None]] = {}
        for info in (*graph.input, *graph.value_info, *graph.output):
            kind = info.type.tensor_type
            if info.type.WhichOneof("value") == "tensor_type" and kind.elem_type:
                known[info.name] = (kind.elem_type, _dims(kind))
        for tensor in scope.graph.initializer:
            known[tensor.name] = (tensor.data_type, tuple(tensor.dims))
        self._known[id(scope.graph)] = known
        inner = iter(self._inside.get(id(scope), ()))
        for node in graph.node:
            for _, inside in graphs_of(node):
                self._collect(next(inner), inside)

    def shape(self, scope: Scope, name: str) -> Shape | None:
        """The shape of a value; None: not even the number of dimensions is known."""
        return self._look(scope, name)[1]

    def kind(self, scope: Scope, name: str) -> int:
        """The type of a value, as in TensorProto; 0: unknown."""
        return self._look(scope, name)[0]

    def open_inputs(self) -> tuple[str, ...]:
        """Inputs of the model of which a size is open."""
        main = self.model.main
        shapes = {given.name: self.shape(main, given.name) for given in main.graph.input}
        return tuple(
            name
            for name, shape in shapes.items()
            if name not in main.initializers and (shape is None or None in shape)
        )

    def _look(self, scope: Scope, name: str) -> tuple[int, Shape | None]:
        at: Scope | None = scope
        while at is not None:
            if found := self._known[id(at.graph)].get(name):
                return found
            at = at.parent
        return 0, None


def _dims(kind: Any) -> Shape | None:
    if not kind.HasField("shape"):
        return None
    return tuple(
        dim.dim_value if dim.WhichOneof("value") == "dim_value" and dim.dim_value > 0 else None
        for dim in kind.shape.dim
    )


def _inferred(model: Model) -> Any:
    """The main graph, with the shapes of all values that can be known."""
    proto = lighter(model.proto, _LARGE)
    _substitute(proto.graph)
    added = proto.opset_import.add()
    added.domain, added.version = _UNKNOWN, 1
    infer = onnx("onnx.shape_inference").infer_shapes
    try:
        found = infer(proto)
        # Then with the numbers that shapes are made of, if they are as few as shapes have.
        return (infer(proto, data_prop=True) if _numbers(found.graph) <= _MOST else found).graph
    except Exception as error:  # of onnx, and of what it is written in
        raise FileFormatError(model.path, f"its shapes contradict: {one_line(error)}") from error


def _numbers(graph: Any, around: Mapping[str, int] | None = None) -> int:
    """How many numbers an inference that follows them may have to hold.

    That of onnx has no bounds: a list that doubles at each of sixty nodes takes all memory.
    """
    sizes = dict(around or {})
    for info in (*graph.input, *graph.value_info, *graph.output):
        shape = info.type.tensor_type.shape
        if len(shape.dim) == 1 and shape.dim[0].dim_value > 0:
            sizes[info.name] = shape.dim[0].dim_value
    kinds = onnx().TensorProto
    for tensor in graph.initializer:
        if len(tensor.dims) == 1 and tensor.data_type in (kinds.INT32, kinds.INT64):
            sizes[tensor.name] = max(tensor.dims[0], 0)
    total = sum(sizes.values())
    for node in graph.node:
        inputs = [sizes.get(name, 1) for name in node.input]
        size = sum(inputs) if node.op_type == "Concat" else max(inputs, default=1)
        for name in node.output:
            if name not in sizes:
                sizes[name] = size
                total += size
        total += sum(_numbers(inner, sizes) for _, inner in graphs_of(node))
        if total > _MOST:
            break
    return total


def _below_one(found: Any) -> bool:
    return min(found.ints, default=1) < 1 or (
        found.type == onnx().AttributeProto.INT and found.i < 1
    )


def _substitute(graph: Any, outer: Mapping[str, int] | None = None) -> None:
    """Put operators of the standard in the place of those of onnxruntime, and hide impossible ones.

    outer: types by name.
    """
    types = {**(outer or {}), **{tensor.name: tensor.data_type for tensor in graph.initializer}}
    for at, node in reversed(list(enumerate(graph.node))):
        for _, inner in graphs_of(node):
            _substitute(inner, types)
        if any(found.name in _POSITIVE and _below_one(found) for found in node.attribute):
            node.domain = _UNKNOWN
        if node.domain != MICROSOFT or node.op_type not in _LIKE:
            continue
        if node.op_type == "QGemm":
            _cast_behind(graph, at, types)
        node.op_type, taken = _LIKE[node.op_type]
        node.domain = ""
        inputs = list(node.input)[taken]
        del node.input[:]
        node.input.extend(inputs)
        kept = [found for found in node.attribute if found.name not in _FOREIGN]
        del node.attribute[:]
        node.attribute.extend(kept)


def _cast_behind(graph: Any, at: int, types: Mapping[str, int]) -> None:
    """Give a QGemm, whose result need not be of the type of its activations, a Cast behind."""
    node = graph.node[at]
    scale, zero = [*node.input, "", ""][7:9] if len(node.input) > 7 else ("", "")
    kind = types.get(zero) if zero else onnx().TensorProto.UINT8
    if not scale:
        kind = onnx().TensorProto.FLOAT
    if kind is None:
        return
    y = node.output[0]
    node.output[0] = f"{y}/as activations"
    cast = onnx().helper.make_node("Cast", [node.output[0]], [y], to=kind)
    graph.node.insert(at + 1, cast)
