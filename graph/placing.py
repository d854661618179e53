"""Where the numbers of a weight stand in a model, and putting others there.

A weight may be the tensor itself or stand behind operators that only move numbers; then the tensor
before them is changed. It is not where something else uses it, or where numbers were computed on
the way: there the nodes take a tensor of their own, and all others keep theirs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from cube24.graph.folding import QUANTISERS, Array, Constants
from cube24.graph.model import Model, Names, Scope
from cube24.graph.nodes import FORMS, Candidate
from cube24.graph.protos import MICROSOFT, STANDARD, attribute, onnx

#: Operators that only move numbers.
_MOVES = frozenset({"Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})

#: Operators behind which each number stems from one number before it.
_EACH = _MOVES | {"Cast", "DequantizeLinear", "QuantizeLinear"}

#: Types whose arrays in memory are the bytes of a tensor.
_PLAIN = ("float16", "float32", "float64", "int8", "uint8", "int16", "uint16", "int32", "int64")


@dataclass(frozen=True, eq=False)
class Source:
    """The tensor that a weight stems from.

    Attributes:
        tensor: a TensorProto.
        home, name: the graph that has it, and its name there.
        positions: int64, of the shape of the weight as the model has it: where each of its numbers
            stands among those of the tensor.
        zeros: if it is quantised or scaled on the way: what stands for zero at each position of the
            tensor, of the shape of ``positions``; nothing else can be put there. None: it is not.
    """

    tensor: Any
    home: Scope
    name: str
    positions: npt.NDArray[np.int64]
    zeros: Array | None


def source_of(constants: Constants, scope: Scope, name: str) -> Source | None:
    """The tensor that a constant stems from, number by number; None: there is none."""
    steps: list[tuple[Scope, Any]] = []
    at, weight = scope, name
    while True:
        home = scope.home(name)
        assert home is not None  # a constant has one
        tensor = home.initializers.get(name)
        if tensor is not None:
            break
        node = home.producers[name]
        if node.domain not in STANDARD:
            return None
        if node.op_type == "Constant":
            tensor = _value_of(node)
            break
        if node.op_type not in _EACH:
            return None
        steps.append((home, node))
        scope, name = home, node.input[0]
    if tensor is None or _dtype(tensor) is None:
        return None
    positions = np.arange(prod(tensor.dims)).reshape(tuple(tensor.dims))
    for where, node in reversed(steps):
        if node.op_type == "Transpose":
            axes = attribute(node, "perm") or tuple(range(positions.ndim))[::-1]
            positions = positions.transpose(axes)
        elif node.op_type in _MOVES:
            made = constants.get(where, node.output[0])
            assert made is not None
            positions = positions.reshape(made.shape)
    zeros: Array | None = None
    if first := [node for _, node in reversed(steps) if node.op_type in QUANTISERS][:1]:
        zeros = np.zeros(positions.shape)
        if first[0].op_type == "DequantizeLinear":
            whole = constants.whole(at, weight)
            if whole is None:
                return None
            zeros = np.asarray(_numbers(tensor)[positions].astype(np.int64) - whole)
    return Source(tensor, home, name, positions, zeros)


def _value_of(node: Any) -> Any | None:
    """The tensor of a Constant node, if that is the form that it has."""
    kinds = onnx().AttributeProto
    for found in node.attribute:
        if found.name == "value" and found.type == kinds.TENSOR:
            return found.t
    return None


def _dtype(tensor: Any) -> np.dtype[Any] | None:
    """The type of a tensor; None: it is none of NumPy's own."""
    dtype = np.dtype(onnx().helper.tensor_dtype_to_np_dtype(tensor.data_type))
    own = onnx().helper.np_dtype_to_tensor_dtype(dtype) == tensor.data_type
    return dtype if own and dtype.name in _PLAIN else None


def _numbers(tensor: Any) -> Array:
    """The numbers of a tensor, in one row that is ours."""
    return np.array(onnx().numpy_helper.to_array(tensor)).reshape(-1)


def put(source: Source, values: Array, changed: npt.NDArray[np.bool_]) -> None:
    """Change some numbers of a tensor to those of a weight.

    Args:
        source: of the weight.
        values: as the model is to have the weight, of the shape of ``positions``.
        changed: of the same shape: which of them are put there.
    """
    tensor, numbers = source.tensor, _numbers(source.tensor)
    new = values if source.zeros is None else source.zeros
    numbers[source.positions[changed]] = new[changed].astype(numbers.dtype)
    for name in ("float_data", "double_data", "int32_data", "int64_data", "uint64_data"):
        tensor.ClearField(name)
    tensor.raw_data = numbers.astype(numbers.dtype.newbyteorder("<")).tobytes()


# --- who uses it ----------------------------------------------------------------------------------

#: A use of a value: the node and which of its inputs; 0: as an output of a graph.
Use = tuple[int, int]


@dataclass(eq=False)
class Places:
    """The places of the weights of a model, which is changed."""

    model: Model
    constants: Constants
    _uses: dict[tuple[int, str], list[tuple[Scope, Any, int]]] = field(default_factory=dict)
    _names: Names = field(init=False)
    _behind: dict[int, list[Any]] = field(default_factory=lambda: defaultdict(list))
    _copies: dict[tuple[int, str], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Collect the uses of all values, and the names that are taken."""
        self._names = Names(self.model)
        uses = defaultdict(list)
        for scope in self.model.scopes:
            graph = scope.graph
            for node in graph.node:
                for at, name in enumerate(node.input):
                    uses[self._key(scope, name)].append((scope, node, at))
            for given in graph.output:
                uses[self._key(scope, given.name)].append((scope, None, 0))
        self._uses = dict(uses)

    @staticmethod
    def _key(scope: Scope, name: str) -> tuple[int, str]:
        home = scope.home(name)
        return (id(home) if home else 0), name

    def alone(self, source: Source, candidates: Sequence[Candidate]) -> bool:
        """Whether nothing uses a tensor but these candidates as their weight."""
        theirs = {(id(each.node), FORMS[each.op].w) for each in candidates}
        return set(self._ends((id(source.home), source.name))) <= theirs

    def _ends(self, key: tuple[int, str]) -> Iterator[Use]:
        """Where a value goes, through the operators that a weight is looked for behind."""
        for scope, node, at in self._uses.get(key, ()):
            if node is None:
                yield 0, 0
            elif at == 0 and _is(node, *_EACH):
                yield from self._ends((id(scope), node.output[0]))
            else:
                yield id(node), at

    def own(self, candidates: Sequence[Candidate], stored: Array, name: str) -> str:
        """Give candidates a weight of their own; gives its name.

        Args:
            candidates: that have the weight so far.
            stored: the weight as the model is to have it.
            name: of the weight so far.
        """
        mine = self._names.free(f"{name}/pruned")
        made = onnx().numpy_helper.from_array(np.ascontiguousarray(stored), mine)
        self.model.proto.graph.initializer.append(made)
        if self.model.proto.ir_version < 4:  # where each initializer is an input too
            info = onnx().helper.make_tensor_value_info(mine, made.data_type, made.dims)
            self.model.proto.graph.input.append(info)
        for candidate in candidates:
            at = FORMS[candidate.op].w
            before = candidate.node.input[at]
            candidate.node.input[at] = self._behind_own(candidate.scope, before, name, mine)
        return mine

    def _behind_own(self, scope: Scope, value: str, name: str, mine: str) -> str:
        """What a node takes in place of a value that comes from the weight called name.

        The scales, and what turns the weight, are copied to stand behind its own one.
        """
        home = scope.home(value)
        node = home.producers.get(value) if home else None
        if home is None or node is None or value == name:
            return mine
        key = id(node), mine
        if key not in self._copies:
            copy = type(node)()
            copy.CopyFrom(node)
            copy.input[0] = self._behind_own(home, node.input[0], name, mine)
            copy.output[0] = self._names.free(f"{node.output[0]}/pruned")
            copy.name = self._names.free(f"{node.name or node.output[0]}/pruned")
            self._behind[id(node)].append(copy)
            self._copies[key] = copy.output[0]
        return self._copies[key]

    def finish(self) -> None:
        """Put the nodes that were made into their graphs."""
        if not self._behind:
            return
        for scope in reversed(self.model.scopes):  # graphs inside first: the outer one is copied
            nodes = []
            for node in list(scope.graph.node):
                nodes += [node, *self._behind.get(id(node), ())]
            if len(nodes) > len(scope.graph.node):
                del scope.graph.node[:]
                scope.graph.node.extend(nodes)


def _is(node: Any, *ops: str) -> bool:
    return node.domain in (*STANDARD, MICROSOFT) and node.op_type in ops
