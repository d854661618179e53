"""Constants of a model: what a name always is, through the operators that only move numbers.

A weight may be an initializer or a Constant node, of this graph or of one around it, and stand
behind operators that exporters leave: Cast, Reshape, Transpose, Concat, QuantizeLinear, the norm of
a weight. These are computed here by the reference evaluator of onnx.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from cube24.errors import FileFormatError
from cube24.graph.model import Model, Scope
from cube24.graph.protos import MICROSOFT, STANDARD, array_of, attribute, onnx, op_of, plain
from cube24.sizes import MAX_DIMENSIONS, shortened, shown

Array = npt.NDArray[Any]

#: Operators that put numbers elsewhere and leave each as it is. Their first input has the numbers.
MOVERS = frozenset(
    {
        "Expand", "Flatten", "Gather", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Tile",
        "Transpose", "Unsqueeze",
    }
)  # fmt: skip

#: Operators that are computed where all of their inputs are constant. None is random, none has a
#: graph inside, and none multiplies matrices.
FOLDABLE = MOVERS | frozenset(
    {
        "Abs", "Add", "And", "Cast", "CastLike", "Ceil", "Clip", "Concat", "ConstantOfShape",
        "DepthToSpace", "DequantizeLinear", "Div", "Equal", "Exp", "Floor", "GatherElements",
        "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Log", "Max", "Min", "Mod", "Mul",
        "Neg", "Not", "Or", "Pad", "Pow", "QuantizeLinear", "Range", "Reciprocal", "ReduceL1",
        "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum",
        "ReduceSumSquare", "Round", "Shape", "Sign", "Size", "SpaceToDepth", "Sqrt", "Sub", "Sum",
        "Tanh", "Where",
    }
)  # fmt: skip

#: Operators that the evaluator has from a version on, which means the same as those before for what
#: those took.
QUANTISERS, _QUANTISERS_SINCE = ("QuantizeLinear", "DequantizeLinear"), 19

#: onnxruntime has them too, for types that they did not take at first.
_OF_QUANTISERS = (*STANDARD, MICROSOFT)

#: No constant that is computed has more numbers, unless it has no more than what it is made of.
LIMIT = 1 << 27

#: Nodes that may stand behind one another.
_DEPTH = 200


@dataclass(eq=False)
class Constants:
    """The constants of a model; each is computed once.

    Attributes: model; opset, for the meaning of operators.
    """

    model: Model
    _found: dict[tuple[int, str], Array | None] = field(default_factory=dict, repr=False)

    def get(self, scope: Scope, name: str) -> Array | None:
        """What a name is wherever the model runs; None: it depends on inputs, or is none.

        Raises:
            FileFormatError: a tensor that cannot be read, or an operator that cannot be computed.
        """
        return self._get(scope, name, 0)

    def whole(self, scope: Scope, name: str) -> Array | None:
        """The integers that stand for a constant: it less its zero point, int64; or before scaling.

        A float one may come from a DequantizeLinear, through operators that only move numbers. Its
        scales are then not looked at.

        Returns:
            None: it is no constant, or floats that stand for no integers, such as one that is
            computed with, or quantised in blocks.

        Raises:
            FileFormatError: as for :meth:`get`; or a zero point of a shape that does not fit.
        """
        way: list[tuple[Scope, Any, str]] = []
        while True:
            home = scope.home(name) if name else None
            if home is None or len(way) > _DEPTH:
                return None
            node = home.producers.get(name)
            if node is None or not _moves(node):
                break
            way.append((home, node, name))
            scope, name = home, node.input[0]
        if node is not None and node.op_type == "DequantizeLinear":
            array = self._undone(home, node)
        else:
            array = self._get(home, name, 0)
            if array is not None and array.dtype.kind not in "iub":
                return None
            if any(mover.op_type == "Cast" for _, mover, _ in way):
                return None  # floats from the start, if whole ones
        for place, mover, made in reversed(way):
            others = [self._get(place, given, 0) if given else None for given in mover.input[1:]]
            lacking = [
                one is None for one, given in zip(others, mover.input[1:], strict=True) if given
            ]
            if array is None or any(lacking):
                return None
            if mover.op_type != "Cast":
                array = self._evaluate(mover, [array, *others], made)
        return None if array is None else array.astype(np.int64)

    def _undone(self, scope: Scope, node: Any) -> Array | None:
        """What a DequantizeLinear takes, less its zero point."""
        array = self._get(scope, node.input[0], 0)
        if array is None or array.dtype.kind not in "iu" or attribute(node, "block_size", 0):
            return None
        if len(node.input) < 3 or not node.input[2]:
            return array
        zero = self._get(scope, node.input[2], 0)
        if zero is None:
            return None
        try:
            return less_zero(array, zero, attribute(node, "axis", 1))
        except ValueError as error:
            raise self._refusal(node, error) from error

    def _get(self, scope: Scope, name: str, depth: int) -> Array | None:
        home = scope.home(name) if name else None
        if home is None or depth > _DEPTH:
            return None
        key = (id(home), name)
        if key not in self._found:
            self._found[key] = self._compute(home, name, depth)
        return self._found[key]

    def _compute(self, scope: Scope, name: str, depth: int) -> Array | None:
        if name in scope.initializers:
            return array_of(scope.initializers[name], self.model.path)
        node = scope.producers[name]
        if node.domain not in (_OF_QUANTISERS if node.op_type in QUANTISERS else STANDARD):
            return None
        if node.op_type == "Constant":
            return self._constant(node)
        if node.op_type not in FOLDABLE:
            return None
        inputs = [self._get(scope, given, depth + 1) if given else None for given in node.input]
        if any(array is None for array, given in zip(inputs, node.input, strict=True) if given):
            return None
        return self._evaluate(node, inputs, name)

    def _constant(self, node: Any) -> Array | None:
        """The value of a Constant node, in any of its forms but texts."""
        for form in ("value", "sparse_value"):
            if (value := attribute(node, form)) is not None:
                return array_of(value, self.model.path)
        for form, dtype in _FORMS.items():
            if (value := attribute(node, form)) is not None:
                return np.asarray(value, dtype)
        return None

    def _evaluate(self, node: Any, inputs: list[Array | None], name: str) -> Array | None:
        _demand_size(node, inputs, self.model.path)
        axes = [attribute(node, "axis"), *np.atleast_1d(attribute(node, "axes", ())).tolist()]
        most = MAX_DIMENSIONS
        if node.op_type == "Concat":  # for which the evaluator of old versions adds dimensions
            most = min((array.ndim - 1 for array in inputs if array is not None), default=0)
        if any(isinstance(axis, int) and not -MAX_DIMENSIONS <= axis <= most for axis in axes):
            raise self._refusal(node, ValueError("it has no such axis"))
        if node.op_type == "Range" and any(
            array is not None and not array.any() for array in inputs[2:]
        ):
            raise self._refusal(node, ValueError("a step of 0"))
        helper = onnx().helper
        if node.domain not in STANDARD:
            node = _of_standard(node)
        given = [item for item in node.input if item]
        arrays = {item: array for item, array in zip(node.input, inputs, strict=True) if item}
        kind_of = helper.np_dtype_to_tensor_dtype
        kinds = {item: kind_of(array.dtype) for item, array in arrays.items() if array is not None}
        graph = helper.make_graph(
            [node],
            "constant",
            [
                helper.make_tensor_value_info(item, kinds[item], None)
                for item in dict.fromkeys(given)
            ],
            [helper.make_empty_tensor_value_info(name)],
        )
        version = self.model.opset
        if node.op_type in QUANTISERS:
            version = max(version, _QUANTISERS_SINCE)
        opset = helper.make_opsetid("", version)
        proto = helper.make_model(graph, opset_imports=[opset])
        evaluator: Callable[..., Any] = onnx("onnx.reference").ReferenceEvaluator
        try:
            # What is no number in NumPy may be another one elsewhere.
            with np.errstate(divide="raise", invalid="raise", over="ignore"):
                (value,) = evaluator(proto).run([name], arrays)
        except MemoryError:
            raise
        except FloatingPointError:
            return None
        except RuntimeError as error:
            if "No implementation" in str(error):
                return None  # so it is not known what it always is
            raise self._refusal(node, error) from error
        except Exception as error:  # of NumPy, by what the file asks of it
            raise self._refusal(node, error) from error
        return plain(np.asarray(value))

    def _refusal(self, node: Any, error: Exception) -> FileFormatError:
        text = shortened(" ".join(str(error).split()))
        name = node.name or node.output[0]
        return FileFormatError(
            self.model.path, f"node {shown(name)} ({op_of(node)}) cannot be computed: {text}"
        )


def less_zero(array: Array, zero: Array, axis: int) -> Array:
    """Integers less their zero point: one for all, or one for each step along an axis; int64.

    Raises:
        ValueError: they are not as many as steps along the axis.
    """
    point = zero.astype(np.int64)
    if point.size == 1:
        return np.asarray(array.astype(np.int64) - point.reshape(()))
    if point.ndim == 1:
        if not -array.ndim <= axis < array.ndim or len(point) != array.shape[axis]:
            raise ValueError(
                f"{len(point)} zero points along axis {axis} of a tensor of shape {array.shape}"
            )
        point = point.reshape([-1 if i == axis % array.ndim else 1 for i in range(array.ndim)])
    fits = [have in (1, size) for have, size in zip(point.shape, array.shape, strict=False)]
    if point.ndim != array.ndim or not all(fits):
        raise ValueError(f"zero points of shape {zero.shape} for a tensor of shape {array.shape}")
    return np.asarray(array.astype(np.int64) - point)


def _moves(node: Any) -> bool:
    """Whether a node puts its first input elsewhere and leaves the numbers as they are."""
    if node.domain not in STANDARD or not node.input:
        return False
    return node.op_type in MOVERS or (node.op_type == "Cast" and attribute(node, "to") in _floats())


def _floats() -> tuple[int, ...]:
    kinds = onnx().TensorProto
    return kinds.FLOAT, kinds.FLOAT16, kinds.DOUBLE, kinds.BFLOAT16


def _of_standard(node: Any) -> Any:
    """A quantiser of onnxruntime as that of the standard."""
    copy = type(node)()
    copy.CopyFrom(node)
    copy.domain = ""
    return copy


_FORMS = {
    "value_float": np.float32, "value_floats": np.float32, "value_int": np.int64,
    "value_ints": np.int64,
}  # fmt: skip


def _demand_size(node: Any, inputs: list[Array | None], path: str) -> None:
    """Refuse a constant that a small file asks for and no memory holds."""
    there = {id(array): array.size for array in inputs if array is not None}
    try:
        size = _size(node, [array for array in inputs if array is not None])
    except (ValueError, IndexError, TypeError, OverflowError):
        return  # which the evaluator says better
    if size > LIMIT and size > sum(there.values()):
        raise FileFormatError(
            path, f"node {shown(node.name or node.output[0])} ({op_of(node)}): a constant of "
            f"{size} numbers is too large",
        )  # fmt: skip


def _size(node: Any, inputs: list[Array]) -> int:
    """How many numbers an operator makes, at most."""
    op: str = node.op_type
    if op == "ConstantOfShape":
        return int(prod(inputs[0].ravel().tolist()))
    if op == "Tile":
        return int(inputs[0].size * prod(inputs[1].ravel().tolist()))
    if op == "Range":
        start, limit, step = (float(each.reshape(())) for each in inputs)
        return int(max((limit - start) / step, 0)) if step else 0
    if op == "Pad":
        pads = attribute(node, "pads") or inputs[1].ravel().tolist()
        most = sum(sorted(map(int, pads))[-2:])  # of the axis that grows most
        return prod(size + max(most, 0) for size in inputs[0].shape)
    if op in ("Gather", "GatherElements"):
        along = max(inputs[0].shape[attribute(node, "axis", 0)], 1)
        return inputs[1].size * (inputs[0].size // along if op == "Gather" else 1)
    shapes = [array.shape for array in inputs]
    if op == "Expand":
        shapes = [inputs[0].shape, tuple(map(int, inputs[1].ravel()))]
    elif op == "Concat" or op in MOVERS:
        return sum(array.size for array in inputs)
    longest = max(map(len, shapes), default=0)
    padded = [(1,) * (longest - len(shape)) + shape for shape in shapes]
    return prod(max(sizes) for sizes in zip(*padded, strict=True))
