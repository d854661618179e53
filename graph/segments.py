"""A model cut where the unit takes over: stages of other nodes, each one a model of its own.

A stage holds the nodes that can run when the steps of the unit of all stages before it are done. It
has the initializers that its nodes use, and no others. Nothing is run here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from cube24.graph.folding import FOLDABLE
from cube24.graph.model import Model
from cube24.graph.operators import reads
from cube24.graph.protos import STANDARD, onnx


class Step(Protocol):
    """What the unit does at once, in the place of some nodes."""

    @property
    def x(self) -> str:
        """The value that it reads."""

    @property
    def y(self) -> str:
        """The value that it makes."""

    @property
    def nodes(self) -> Sequence[Any]:
        """The nodes that it stands for, the first one first."""


@dataclass(eq=False)
class Stage:
    """Nodes of the rest, in order, and the steps of the unit that come after them.

    gives: the values of the nodes that are needed later.
    """

    nodes: list[Any] = field(default_factory=list)
    steps: list[Any] = field(default_factory=list)
    gives: list[str] = field(default_factory=list)

    @property
    def needs(self) -> set[str]:
        """The values that its nodes read and do not make."""
        made = {name for node in self.nodes for name in node.output}
        return {name for node in self.nodes for name in reads(node)} - made


def cut(graph: Any, steps: Sequence[Step], wanted: Sequence[str]) -> list[Stage]:
    """The stages of a graph.

    Args:
        graph: of which the nodes are in order.
        steps: of the unit.
        wanted: values that are needed at the end.
    """
    work = _Cutting(graph, steps)
    for node in graph.node:
        work.add(node)
    for name in wanted:
        work.fetch(name, work.at.get(name, 0))
    _find_gifts(work.stages, wanted)
    return work.stages


class _Cutting:
    """The stages as they grow, node by node.

    Nodes that only move constants, and DequantizeLinear, go into each stage that uses their values:
    a runtime that sees them beside what uses them can make one integer operator of both, as it does
    in the whole model, and so computes the same.
    """

    def __init__(self, graph: Any, steps: Sequence[Step]) -> None:
        self.stages = [Stage()]
        self.at: dict[str, int] = {}  # the stage from which on a value is there
        self._first = {id(step.nodes[0]): step for step in steps}
        self._inside = {id(node) for step in steps for node in step.nodes}
        self._constant = {tensor.name for tensor in graph.initializer}
        self._mobile: dict[str, Any] = {}  # nodes that go where their value is used
        self._there: set[tuple[int, str]] = set()  # those that are there: the stage, the value

    def add(self, node: Any) -> None:
        """Put a node into its stage, or the step that begins with it."""
        step = self._first.get(id(node))
        if step is not None:
            stage = self.at.get(step.x, 0)
            self.fetch(step.x, stage)
            self._stage(stage).steps.append(step)
            self.at[step.y] = stage + 1
            return
        if id(node) in self._inside:
            return
        names = reads(node)
        stage = max((self.at[name] for name in names if name in self.at), default=0)
        made = [name for name in node.output if name]
        self.at.update(dict.fromkeys(made, stage))
        if self._is_mobile(node, names):
            self._mobile.update(dict.fromkeys(made, node))
            return
        for name in names:
            self.fetch(name, stage)
        self._stage(stage).nodes.append(node)

    def _is_mobile(self, node: Any, names: set[str]) -> bool:
        if node.domain not in STANDARD:
            return bool(node.op_type == "DequantizeLinear")
        if node.op_type in (*FOLDABLE, "Constant") and names <= self._constant:
            self._constant.update(node.output)
            return True
        return bool(node.op_type == "DequantizeLinear")

    def fetch(self, name: str, stage: int) -> None:
        """Put the node that makes a value into a stage, if it is one that goes anywhere."""
        node = self._mobile.get(name)
        if node is None or (stage, name) in self._there:
            return
        self._there.update((stage, made) for made in node.output)
        for given in reads(node):
            self.fetch(given, stage)
        self._stage(stage).nodes.append(node)

    def _stage(self, number: int) -> Stage:
        while len(self.stages) <= number:
            self.stages.append(Stage())
        return self.stages[number]


def _find_gifts(stages: Sequence[Stage], wanted: Sequence[str]) -> None:
    """Say which values of each stage are needed outside of it."""
    later = set(wanted)
    for stage in reversed(stages):
        later |= {step.x for step in stage.steps}
        made = [name for node in stage.nodes for name in node.output if name]
        stage.gives = [name for name in dict.fromkeys(made) if name in later]
        later |= stage.needs
        later -= set(made)


def last_uses(stages: Sequence[Stage]) -> dict[str, int]:
    """The last stage that uses each value."""
    found: dict[str, int] = {}
    for number, stage in enumerate(stages):
        names = stage.needs | {step.x for step in stage.steps}
        found.update(dict.fromkeys(names, number))
    return found


def model_of(stage: Stage, model: Model, values: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """A stage as a ModelProto, and what to feed it.

    Args:
        stage: with nodes.
        model: that it is of.
        values: that are known: inputs, and what the stages before gave.
    """
    helper, proto = onnx().helper, type(model.proto)()
    proto.ir_version = model.proto.ir_version
    proto.opset_import.extend(model.proto.opset_import)
    graph = proto.graph
    graph.name = "stage"
    graph.node.extend(stage.nodes)
    needed = stage.needs
    feeds = {name: values[name] for name in sorted(needed) if name in values}
    for name, value in feeds.items():
        graph.input.append(_info(name, value))
    graph.initializer.extend(
        tensor for tensor in model.proto.graph.initializer
        if tensor.name in needed and tensor.name not in feeds
    )  # fmt: skip
    graph.sparse_initializer.extend(
        tensor for tensor in model.proto.graph.sparse_initializer
        if tensor.values.name in needed and tensor.values.name not in feeds
    )  # fmt: skip
    graph.output.extend(helper.make_empty_tensor_value_info(name) for name in stage.gives)
    domains = {function.domain for function in model.proto.functions}
    if any(domain in domains for domain in _domains(stage.nodes)):
        proto.functions.extend(model.proto.functions)
    return proto, feeds


def _domains(nodes: Sequence[Any]) -> set[str]:
    found = {node.domain for node in nodes}
    for node in nodes:
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                found |= _domains(graph.node)
    return found


def _info(name: str, value: Any) -> Any:
    """What a graph says of an input of such a value: an array, or a list of arrays."""
    helper = onnx().helper
    if isinstance(value, list):
        kind = helper.np_dtype_to_tensor_dtype(np.asarray(value[0]).dtype) if value else 1
        return helper.make_tensor_sequence_value_info(name, kind, None)
    array = np.asarray(value)
    kind = helper.np_dtype_to_tensor_dtype(array.dtype)
    return helper.make_tensor_value_info(name, kind, array.shape)
