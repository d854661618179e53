"""A run of a compiled model beside the model that it was compiled from: outputs, and node by node.

Both models have their rest run by the same runtime. Values are compared that have one name in both,
since what compile puts in the place of a node makes a value of the same name. For the nodes, each
operator is fed with the values of the source, so that a node that differs is one that is to blame,
and none that only has it from another.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cube24.errors import ArgumentError
from cube24.graph.differences import Difference, difference
from cube24.graph.functions import DOMAIN, OPERATORS
from cube24.graph.model import Model
from cube24.graph.protos import onnx
from cube24.graph.running import NetworkRun, Work

#: Operators that stand between a node's sums and its result.
_BETWEEN = ("Cast", "Mul", "Sub", "Add", "Clip", "QuantizeLinear")


@dataclass(frozen=True, eq=False)
class SourceComparison:
    """A run and its source.

    Attributes:
        outputs: of the model, all of them, from runs of each model on its own.
        nodes: results of the operators on compressed weights, in order, each fed with the source's
            values.
        unnamed: operators that have no result of a name of the source.
        requant: of the run.
    """

    outputs: tuple[Difference, ...]
    nodes: tuple[Difference, ...]
    unnamed: tuple[str, ...]
    requant: str

    @property
    def first(self) -> Difference | None:
        """The first node that differs."""
        return next((node for node in self.nodes if node.differing), None)

    @property
    def good(self) -> bool:
        """Whether the run is what it has to be.

        Without requantisation on the unit: no output of the model differs. With it: no result of a
        node is off by more than one, each node being fed with the source's values.
        """
        if self.requant == "exact":
            return not any(output.differing for output in self.outputs)
        return not any(node.more for node in self.nodes)


def compare(
    run: NetworkRun, source: Model, *, progress: Callable[[int], object] = lambda done: None
) -> SourceComparison:
    """Compare a run with the model that its model was compiled from.

    Args:
        run: of the compiled model.
        source: runs on the same inputs, by the runtime of the run's rest.
        progress: told after each operator on the unit, which runs once more.

    Raises:
        ArgumentError: the source has not the inputs and outputs of the run's model.
        ShapeError: a value of the same name has another shape or type there.
        FileFormatError: the runtime cannot run the source.
    """
    model, graph = run.model, source.proto.graph
    there = {given.name for given in graph.input}
    made = {output.name for output in graph.output}
    for what, names, known in (("input", run.inputs, there), ("output", run.outputs, made)):
        if missing := [name for name in names if name not in known]:
            raise ArgumentError(
                f"{source.path}: has no {what} {missing[0]!r}, so {model.path} was not compiled "
                f"from it"
            )
    alone = Work(source, run.unit, run.rest, "exact", ("*",), 0, lambda done: None)
    expected, _ = alone.run(run.inputs, list(run.outputs))
    outputs = tuple(difference(name, run.outputs[name], expected[name]) for name in run.outputs)
    results, unnamed = _results(model, source)
    if not results:
        return SourceComparison(outputs, (), unnamed, run.requant)
    # Not in the same run: that values are asked for may change what a runtime does.
    values, _ = alone.run(run.inputs, list(results.values()))
    fed = _fed(model, set(results.values()))
    forced = Work(fed.model, run.unit, run.rest, run.requant, run.patterns, 0, progress)
    got, _ = forced.run(dict(run.inputs) | values, list(fed.names.values()))
    nodes = tuple(
        difference(name, got[fed.names[name]], values[name], node) for node, name in results.items()
    )
    return SourceComparison(outputs, nodes, unnamed, run.requant)


def _results(model: Model, source: Model) -> tuple[dict[str, str], tuple[str, ...]]:
    """The value with a name of the source that comes of each operator; and operators without."""
    known = set(source.main.producers)
    readers: dict[str, list[Any]] = {}
    for node in model.proto.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    found: dict[str, str] = {}
    unnamed: list[str] = []
    for number, node in enumerate(model.proto.graph.node):
        if node.domain != DOMAIN or node.op_type not in OPERATORS:
            continue
        name, at = node.name or f"{node.op_type}_{number}", node.output[0]
        while at not in known:
            after = readers.get(at, [])
            if len(after) != 1 or after[0].op_type not in _BETWEEN:
                break
            at = after[0].output[0]
        if at in known:
            found[name] = at
        else:
            unnamed.append(name)
    return found, tuple(unnamed)


@dataclass(frozen=True, eq=False)
class _Fed:
    """A model in which some values are inputs; names: what it calls those that it makes itself."""

    model: Model
    names: dict[str, str]


def _fed(model: Model, values: set[str]) -> _Fed:
    proto = type(model.proto)()
    proto.CopyFrom(model.proto)
    graph = proto.graph
    taken = {name for node in graph.node for name in (*node.input, *node.output)}
    names = {}
    for name in sorted(values):
        new, number = f"{name}/made", 2
        while new in taken:
            new, number = f"{name}/made_{number}", number + 1
        taken.add(new)
        names[name] = new
    for node in graph.node:
        for at, name in enumerate(node.output):
            if name in names:
                node.output[at] = names[name]
    del graph.output[:]
    empty = onnx().helper.make_empty_tensor_value_info
    graph.output.extend(empty(name) for name in names.values())
    return _Fed(Model(model.path, proto, model.external), names)
