"""A run of a compiled model beside the model that it was compiled from: outputs, and node by node.

Both models have their rest run by the same runtime. Values are compared that have one name in both,
since what compile puts in the place of a node makes a value of the same name. For the nodes, each
operator is fed with the values of the source, so that a node that differs is one that is to blame,
and none that only has it from another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cube24.errors import ArgumentError
from cube24.graph.differences import Difference, difference
from cube24.graph.functions import DOMAIN, OPERATORS
from cube24.graph.model import Model
from cube24.graph.nodes import FLOAT
from cube24.graph.protos import onnx
from cube24.graph.running import NetworkRun, Work, checked

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
        exact: of the model, as outputs, from a run that leaves requantisation to its nodes; empty
            if that is no other run, or if the scales in the file are those of the unit already.
        requant: of the run.
        floats: how many of the nodes are float operators between quantisers in the source. A
            runtime may compute those in float, and then rounds otherwise than integers do.
    """

    outputs: tuple[Difference, ...]
    nodes: tuple[Difference, ...]
    unnamed: tuple[str, ...]
    exact: tuple[Difference, ...]
    requant: str
    floats: int

    @property
    def first(self) -> Difference | None:
        """The first node that differs."""
        return next((node for node in self.nodes if node.differing), None)

    @property
    def good(self) -> bool:
        """Whether the run is what it has to be.

        Without requantisation on the unit: no output of the model differs. With it: no result of a
        node is off by more than one, each node being fed with the source's values; and, so that
        nothing else hides behind that one, no output differs when nodes requantise, with the scales
        that are not rounded.
        """
        if self.requant == "exact" or not self.nodes:
            return not any(output.differing for output in self.outputs)
        wrong = any(node.more for node in self.nodes)
        return not wrong and not any(output.differing for output in self.exact)


def compare(
    run: NetworkRun, source: Model, *, progress: Callable[[int], object] = lambda done: None
) -> SourceComparison:
    """Compare a run with the model that its model was compiled from.

    Args:
        run: of the compiled model.
        source: runs on the same inputs, by the runtime of the run's rest.
        progress: told after each operator on the unit; all run once more, or twice if the unit
            requantised.

    Raises:
        ArgumentError: the source has not the inputs and outputs of the run's model.
        ShapeError: an input or a value of the same name has another shape or type there.
        FileFormatError: the runtime cannot run the source.
    """
    model, made = run.model, {output.name for output in source.proto.graph.output}
    if missing := [name for name in run.outputs if name not in made]:
        raise ArgumentError(
            f"{source.path}: has no output {missing[0]!r}, so {model.path} was not compiled from it"
        )
    inputs = checked(source, run.inputs)
    alone = Work(source, run.unit, run.rest, "exact", ("*",))
    expected, _ = alone.run(inputs, list(run.outputs))

    def differences(got: Mapping[str, Any]) -> tuple[Difference, ...]:
        return tuple(difference(name, got[name], expected[name]) for name in run.outputs)

    results, unnamed = _results(model, source)
    nodes: tuple[Difference, ...] = ()
    exact: tuple[Difference, ...] = ()
    if results:
        # Not in the same run: that values are asked for may change what a runtime does.
        values, _ = alone.run(inputs, [name for _, name in results])
        fed = _fed(model, {name for _, name in results})
        forced = Work(
            fed.model, run.unit, run.rest, run.requant, run.patterns, 0, progress, counted=False
        )
        got, _ = forced.run(inputs | values, list(fed.names.values()))
        nodes = tuple(
            difference(name, got[fed.names[name]], values[name], node) for node, name in results
        )
        if not forced.rounded:
            work = Work(model, run.unit, run.rest, "exact", run.patterns, 0, progress)
            exact = differences(work.run(inputs, list(run.outputs))[0])
    makers = (source.main.producers[name].op_type for _, name in results)
    floats = sum(op in ("QuantizeLinear", *FLOAT) for op in makers)
    return SourceComparison(differences(run.outputs), nodes, unnamed, exact, run.requant, floats)


def _results(model: Model, source: Model) -> tuple[list[tuple[str, str]], tuple[str, ...]]:
    """Operators, each with the value that comes of it under a name of the source; and others."""
    known = set(source.main.producers)
    readers: dict[str, list[Any]] = {}
    for node in model.proto.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    found: list[tuple[str, str]] = []
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
            found.append((name, at))
        else:
            unnamed.append(name)
    return found, tuple(unnamed)


@dataclass(frozen=True, eq=False)
class _Fed:
    """A model in which some values are inputs; names: what it calls those that it makes itself."""

    model: Model
    names: dict[str, str]


def _fed(model: Model, values: set[str]) -> _Fed:
    copy = model.copy()
    graph = copy.proto.graph
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
    return _Fed(copy, names)
