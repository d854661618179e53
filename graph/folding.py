"""Constants of a model: what a name always is, through the operators that only move numbers.

A weight may be an initializer or a Constant node, of this graph or of one around it, and stand
behind operators that converters leave: Cast, Reshape, Transpose, Concat, QuantizeLinear. These are
computed here by the reference evaluator of onnx.
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
from cube24.graph.protos import STANDARD, array_of, attribute, onnx, op_of
from cube24.sizes import shortened

Array = npt.NDArray[Any]

#: Operators that are computed where all of their inputs are constant.
FOLDABLE = frozenset(
    {
        "Cast", "Clip", "Concat", "ConstantOfShape", "Div", "Expand", "Flatten",
        "Identity", "Mul", "QuantizeLinear", "Reshape", "Round", "Shape", "Slice",
        "Squeeze", "Sub", "Add", "Transpose", "Unsqueeze", "DequantizeLinear",
    }
)  # fmt: skip

#: Operators that the evaluator has from a version on, which means the same as those before for what
#: those took.
_QUANTISERS, _QUANTISERS_SINCE = ("QuantizeLinear", "DequantizeLinear"), 19

#: No constant that is computed has more numbers.
LIMIT = 1 << 31

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
        if node.domain not in STANDARD:
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
        """The value of a Constant node, in any of its forms but texts and sparse tensors."""
        value = attribute(node, "value")
        if value is not None:
            return array_of(value, self.model.path)
        for form, dtype in _FORMS.items():
            if (value := attribute(node, form)) is not None:
                return np.asarray(value, dtype)
        return None

    def _evaluate(self, node: Any, inputs: list[Array | None], name: str) -> Array | None:
        _demand_size(node, inputs, self.model.path)
        helper = onnx().helper
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
        if node.op_type in _QUANTISERS:
            version = max(version, _QUANTISERS_SINCE)
        opset = helper.make_opsetid("", version)
        proto = helper.make_model(graph, opset_imports=[opset])
        evaluator: Callable[..., Any] = onnx("onnx.reference").ReferenceEvaluator
        try:
            (value,) = evaluator(proto).run([name], arrays)
        except MemoryError:
            raise
        except RuntimeError as error:
            if "No implementation" in str(error):
                return None  # so it is not known what it always is
            raise self._refusal(node, error) from error
        except Exception as error:  # of NumPy, by what the file asks of it
            raise self._refusal(node, error) from error
        return np.asarray(value)

    def _refusal(self, node: Any, error: Exception) -> FileFormatError:
        text = shortened(" ".join(str(error).split()))
        name = node.name or node.output[0]
        return FileFormatError(
            self.model.path, f"node {name!r} ({op_of(node)}) cannot be computed: {text}"
        )


_FORMS = {
    "value_float": np.float32, "value_floats": np.float32, "value_int": np.int64,
    "value_ints": np.int64,
}  # fmt: skip


def _demand_size(node: Any, inputs: list[Array | None], path: str) -> None:
    """Refuse a shape that a small file asks for and no memory holds."""
    at = {"ConstantOfShape": 0, "Expand": 1}.get(node.op_type)
    shape = None if at is None or len(inputs) <= at else inputs[at]
    if shape is not None and prod(max(int(size), 1) for size in shape.ravel()) > LIMIT:
        raise FileFormatError(
            path,
            f"node {node.name or node.output[0]!r} ({node.op_type}): {shape.tolist()} is too large",
        )
