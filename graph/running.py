"""A compiled model as it runs: compressed operators on the simulated unit, the rest elsewhere.

The unit computes with the bytes that stand in the file. What it cannot reach, in a graph inside of
a node or behind a kept Compress, the rest runs by the functions in the file. Comparing with another
model is comparing.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from cube24.encoder import SparseWeight
from cube24.errors import ArgumentError, Cube24Error, FileFormatError, ShapeError
from cube24.graph.differences import Difference, difference
from cube24.graph.folding import Constants
from cube24.graph.lower import Cycles, cycles_of
from cube24.graph.model import Model
from cube24.graph.operators import Elsewhere, Operator, operators
from cube24.graph.protos import array_of, onnx
from cube24.graph.requantising import Ending, Endings
from cube24.graph.runtimes import Rest, chosen, evaluate
from cube24.graph.segments import cut, last_uses, model_of
from cube24.graph.sparsity import Requantise
from cube24.simulator import Layer, Requant, Unit
from cube24.sizes import names as names_from
from cube24.sizes import shown, truth, whole


@dataclass(frozen=True, eq=False)
class LayerRun:
    """An operator that ran on the unit.

    Attributes:
        name, op: of the node.
        layer: what it computed; shape: of the result in the model.
        x, weight, bias: with which operands, as the unit takes them.
        requant: what FIXPIPE did; None: the results are the int32 sums.
        off: with requant: how the results differ from exact arithmetic on the same sums.
        cycles: None if nobody asked.
    """

    name: str
    op: str
    layer: Layer
    shape: tuple[int, ...]
    x: npt.NDArray[np.int8]
    weight: SparseWeight
    bias: npt.NDArray[np.int32] | None
    requant: Requant | None
    off: Difference | None
    cycles: Cycles | None


@dataclass(frozen=True, eq=False)
class NetworkRun:
    """A run of a model.

    Attributes:
        model, unit, inputs: what ran on what. rest: the runtime of the rest.
        requant, patterns, cores: as they were asked for.
        outputs: by name. layers: on the unit, in their order.
        elsewhere: operators on compressed weights that the rest ran, with the reason.
    """

    model: Model
    unit: Unit
    inputs: Mapping[str, Any]
    rest: Rest
    requant: Requantise
    patterns: tuple[str, ...]
    cores: int
    outputs: Mapping[str, Any]
    layers: tuple[LayerRun, ...]
    elsewhere: tuple[Elsewhere, ...]

    @property
    def cycles(self) -> tuple[int, int, int] | None:
        """Of all layers: with dense weights, with sparse ones, and with the faster of both.

        A layer whose dense weight does not fit counts sparse in all three. None: nobody asked.
        """
        known = [each.cycles for each in self.layers if each.cycles is not None]
        if len(known) < len(self.layers):
            return None
        dense = sum(each.sparse if each.dense is None else each.dense for each in known)
        return dense, sum(each.sparse for each in known), sum(each.best for each in known)


def run(
    model: Model,
    inputs: Mapping[str, npt.NDArray[Any]],
    unit: Unit | None = None,
    *,
    rest: Rest | None = None,
    requant: Requantise = "exact",
    layers: Sequence[str] = ("*",),
    cores: int = 1,
    timed: bool = True,
    progress: Callable[[int], object] = lambda done: None,
) -> NetworkRun:
    """Run a model: its operators on compressed weights on a unit, all else by another runtime.

    Args:
        model: compiled; any other runs too, all of it elsewhere.
        inputs: by name, of the shapes and types of the model.
        unit: None: dav-2201.
        rest: ``onnxruntime``, optimising up to EXTENDED, or ``reference``, the evaluator of onnx;
            None: onnxruntime if it is there.
        requant: ``exact``: the nodes behind an operator requantise its sums; ``unit``: FIXPIPE
            does, with the scale rounded to the 10 bits of mantissa of a word, where the nodes are
            Cast, Mul, (Clip,) QuantizeLinear; each result is compared with what the nodes give.
        layers: patterns of names, with ``*`` and ``?``, of the operators that the unit runs.
        cores: of the unit, for the cycles; the values do not depend on it.
        timed: whether to count cycles.
        progress: told after each operator on the unit.

    Raises:
        ArgumentError, ShapeError, DtypeError: inputs that the model does not have, or has of other
            shapes or types; layers that it does not have; an option that does not exist.
        FileFormatError: an operator that is none of ours, or that the unit or the rest cannot run,
            such as one with an index of 3.
        MissingExtraError: the runtime is not there.
    """
    rest = chosen(rest)
    if requant not in get_args(Requantise):
        raise ArgumentError(f"requant {shown(requant)}: choose 'exact' or 'unit'")
    patterns = names_from(layers, "layers")
    cores, timed = whole(cores, "cores", 1), truth(timed, "timed")
    if cores > 1 and not timed:
        raise ArgumentError(f"cores {cores}: they matter for the cycles only; say timed=True")
    values = checked(model, inputs)
    unit = unit or Unit()
    work = Work(model, unit, rest, requant, patterns, cores if timed else 0, progress)
    wanted = [output.name for output in model.proto.graph.output]
    outputs, done = work.run(values, wanted)
    return NetworkRun(
        model, unit, values, rest, requant, patterns, cores, outputs, done, work.elsewhere
    )


def checked(model: Model, inputs: Mapping[str, Any]) -> dict[str, npt.NDArray[Any]]:
    """Inputs that are those of a model.

    Raises:
        ArgumentError, ShapeError: as for :func:`run`.
    """
    graph, path = model.proto.graph, model.path
    there = {tensor.name for tensor in graph.initializer}
    given = {info.name: info for info in graph.input}
    asked = ", ".join(map(repr, (name for name in given if name not in there))) or "none"
    for name in inputs:
        if name not in given:
            raise ArgumentError(f"{path}: has no input {name!r}; its inputs are {asked}")
    values = {}
    for name, info in given.items():
        if name not in inputs:
            if name in there:
                continue
            raise ArgumentError(f"{path}: input {name!r} is missing; its inputs are {asked}")
        values[name] = _checked(path, info, np.asarray(inputs[name]))
    return values


def _checked(path: str, info: Any, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    kind = info.type.tensor_type
    if info.type.WhichOneof("value") != "tensor_type" or not kind.elem_type:
        raise ArgumentError(f"{path}: input {info.name!r} is no array, and cannot be given")
    dtype = np.dtype(onnx().helper.tensor_dtype_to_np_dtype(kind.elem_type))
    text = dtype.kind == "O" and array.dtype.kind in "OU"
    if array.dtype.newbyteorder("=") != dtype and not text:
        raise ArgumentError(f"{path}: input {info.name!r} has dtype {array.dtype}, not {dtype}")
    if kind.HasField("shape"):
        sizes = [dim.dim_value or dim.dim_param or "?" for dim in kind.shape.dim]
        fits = len(sizes) == array.ndim and all(
            not isinstance(size, int) or size == is_now
            for size, is_now in zip(sizes, array.shape, strict=True)
        )
        if not fits:
            takes = ", ".join(map(str, sizes))
            raise ShapeError(f"{path}: input {info.name!r} has shape {array.shape}, not ({takes})")
    return np.ascontiguousarray(array, array.dtype.newbyteorder("=")).reshape(array.shape)


@dataclass(frozen=True, eq=False)
class UnitStep:
    """What the unit does at once: an operator, and the nodes behind that FIXPIPE does."""

    operator: Operator
    ending: Ending | None

    @property
    def x(self) -> str:
        """The value that it reads."""
        return self.operator.x

    @property
    def y(self) -> str:
        """The value that it makes."""
        return self.operator.y if self.ending is None else self.ending.y

    @property
    def nodes(self) -> tuple[Any, ...]:
        """The nodes that it stands for."""
        return (self.operator.node, *(self.ending.nodes if self.ending else ()))


class Work:
    """One model, made ready to be run."""

    def __init__(
        self,
        model: Model,
        unit: Unit,
        rest: Rest,
        requant: Requantise,
        patterns: Sequence[str],
        cores: int = 0,
        progress: Callable[[int], object] = lambda done: None,
        *,
        counted: bool = True,
    ) -> None:
        """Find the operators.

        cores: 0: no cycles are counted. counted: whether results of FIXPIPE are compared with those
        of exact arithmetic.
        """
        self.model, self._unit, self._rest, self._cores = model, unit, rest, cores
        self._counted = counted
        self._progress = progress
        self._times: dict[tuple[Layer, bool], Cycles] = {}
        found, self.elsewhere = operators(model, patterns)
        if found and not unit.config.sparsity:
            raise ArgumentError(f"{unit.config.name} has no 2:4 sparsity; choose another unit")
        endings = Endings(Constants(model)) if requant == "unit" else None
        self.steps = tuple(UnitStep(of, endings.behind(of) if endings else None) for of in found)

    @property
    def rounded(self) -> bool:
        """Whether all scales by which FIXPIPE multiplies are in the file as it rounds them."""
        return all(step.ending is None or step.ending.rounded for step in self.steps)

    def run(
        self, inputs: Mapping[str, Any], wanted: Sequence[str]
    ) -> tuple[dict[str, Any], tuple[LayerRun, ...]]:
        """The values that are wanted, by name, and the layers that ran."""
        model, values = self.model, dict(inputs)
        stages = cut(model.proto.graph, self.steps, wanted)
        last, done = last_uses(stages), []
        for number, stage in enumerate(stages):
            if stage.gives:
                proto, feeds = model_of(stage, model, values)
                values |= evaluate(proto, feeds, stage.gives, self._rest, model.path)
            for step in stage.steps:
                made, layer = self._step(step, values)
                values[step.y] = made
                done.append(layer)
                self._progress(1)
            for name in [n for n in values if last.get(n, -1) <= number and n not in wanted]:
                if name in last:
                    del values[name]
        return {name: self._value(values, name) for name in wanted}, tuple(done)

    def _value(self, values: Mapping[str, Any], name: str) -> Any:
        """A value, which may be one that no node makes."""
        if name in values:
            return values[name]
        for tensor in self.model.proto.graph.initializer:
            if tensor.name == name:
                return array_of(tensor, self.model.path)
        raise FileFormatError(self.model.path, f"nothing makes the value {name!r}")

    def _step(self, step: UnitStep, values: Mapping[str, Any]) -> tuple[Any, LayerRun]:
        of = step.operator
        try:
            return self._on_unit(step, np.asarray(self._value(values, step.x)))
        except FileFormatError:
            raise
        except Cube24Error as error:
            raise FileFormatError(
                self.model.path, f"node {of.name!r} ({of.op}): {error}"
            ) from error

    def _on_unit(self, step: UnitStep, given: npt.NDArray[Any]) -> tuple[Any, LayerRun]:
        of, ending, unit = step.operator, step.ending, self._unit
        if given.dtype != np.int8:
            raise ArgumentError(f"its activations are {given.dtype}, not int8")
        layer = of.layer(given.shape)
        x, shape = given.reshape(layer.activations), of.output(given.shape)
        words = None if ending is None else ending.requant(of.name, self.model.path, unit.config)
        output, off = unit.run(layer, x, of.weight, bias=of.bias, requant=words).output, None
        if ending is not None and self._counted:
            sums = unit.run(layer, x, of.weight, bias=of.bias).output
            assert sums is not None
            off = difference(step.y, output, ending.exact(sums, 1), of.name)
        assert output is not None
        done = LayerRun(
            of.name, of.op, layer, shape, x, of.weight, of.bias, words, off,
            self._cycles(layer, words),
        )  # fmt: skip
        return output.reshape(shape), done

    def _cycles(self, layer: Layer, requant: Requant | None) -> Cycles | None:
        """The time, which does not depend on values, so that equal layers are counted once."""
        if not self._cores:
            return None
        key = (layer, requant is not None)
        if key not in self._times:
            self._times[key] = cycles_of(layer, self._unit, self._cores, requant, explained=False)
        return self._times[key]
