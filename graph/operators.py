"""Operators of a compiled model, read back: the weight from the bytes in the file, and the layer.

functions.py says what an operator means, sparsity.py writes it. Here a file is trusted in nothing:
it may have been changed since. Nothing is run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from cube24.encoder import SparseWeight
from cube24.errors import ArgumentError, Cube24Error, FileFormatError, ShapeError
from cube24.graph.folding import Constants
from cube24.graph.functions import ALG, DOMAIN, OPERATORS, VERSION
from cube24.graph.model import Model
from cube24.graph.nodes import Window
from cube24.graph.protos import attribute, graphs_of
from cube24.simulator import Conv2d, Layer, Matmul, flattened


@dataclass(frozen=True, eq=False)
class Operator:
    """A node that multiplies by a compressed weight.

    Attributes: node; name; op; x, name of the int8 activations; y, of the int32 sums; weight, from
    its bytes; bias, int32 (N,); offset_x, what padding holds; window, of a convolution.
    """

    node: Any
    name: str
    op: str
    x: str
    y: str
    weight: SparseWeight
    bias: npt.NDArray[np.int32] | None
    offset_x: int
    window: Window | None

    def layer(self, x: tuple[int, ...]) -> Layer:
        """The layer for activations of a shape.

        Raises:
            ShapeError, ArgumentError: they do not fit.
        """
        shape = self.weight.shape
        if self.window is not None:
            return Conv2d.of(
                x, shape, strides=self.window.strides, pads=self.window.pads,
                dilations=self.window.dilations, offset_x=self.offset_x,
            )  # fmt: skip
        if self.op == "FullyConnectionCompress":
            return Matmul.of(flattened(x), shape)
        if not x:
            raise ShapeError("activations are one number; they take (..., K)")
        return Matmul.of((prod(x[:-1]), x[-1]), shape)

    def output(self, x: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the sums for activations of a shape."""
        layer = self.layer(x)
        return layer.output if self.op != "MatMulV2Compress" else (*x[:-1], layer.n)


@dataclass(frozen=True)
class Elsewhere:
    """An operator that does not run on the unit: its name, operator, and the reason."""

    name: str
    op: str
    why: str


def names_of(model: Model) -> tuple[str, ...]:
    """The names of the operators on compressed weights in the main graph, in its order."""
    return tuple(_name(node, number) for number, node in _nodes(model.proto.graph))


def operators(
    model: Model, layers: Sequence[str] = ("*",)
) -> tuple[tuple[Operator, ...], tuple[Elsewhere, ...]]:
    """The operators that the unit runs, in the order of the nodes; and those that it does not.

    Args:
        model: compiled, or any other, which has none.
        layers: patterns of names, with ``*`` and ``?``; others stay for the rest.

    Raises:
        ArgumentError: a pattern that is no name's, but for ``*``.
        FileFormatError: operators of another version, or one that is none of ours: an attribute,
            a shape or a type that the unit has no meaning for.
    """
    _demand_version(model)
    _demand_patterns(layers, names_of(model), model.path)
    constants = Constants(model)
    found: list[Operator] = []
    others: list[Elsewhere] = []
    for number, node in _nodes(model.proto.graph):
        name = _name(node, number)
        if not any(fnmatchcase(name, pattern) for pattern in layers):
            others.append(Elsewhere(name, node.op_type, "it is none of the layers that were named"))
            continue
        operator = _read(model, constants, node, name)
        if isinstance(operator, Elsewhere):
            others.append(operator)
        else:
            found.append(operator)
    for scope in model.scopes[1:]:
        others += [
            Elsewhere(scope.where + _name(node, number), node.op_type, "it is in a graph of a node")
            for number, node in _nodes(scope.graph)
        ]
    return tuple(found), tuple(others)


def _nodes(graph: Any) -> list[tuple[int, Any]]:
    return [
        (number, node) for number, node in enumerate(graph.node)
        if node.domain == DOMAIN and node.op_type in OPERATORS
    ]  # fmt: skip


def _name(node: Any, number: int) -> str:
    return str(node.name or f"{node.op_type}_{number}")


def _demand_version(model: Model) -> None:
    for each in model.proto.opset_import:
        if each.domain == DOMAIN and each.version != VERSION:
            raise FileFormatError(
                model.path,
                f"its operators of domain {DOMAIN} are of version {each.version}; this cube24 "
                f"reads {VERSION}",
            )


def _demand_patterns(layers: Sequence[str], names: Sequence[str], path: str) -> None:
    for pattern in layers:
        if pattern != "*" and not any(fnmatchcase(name, pattern) for name in names):
            shown = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "") or "none"
            raise ArgumentError(f"{path}: no layer is named {pattern!r}; its layers: {shown}")


def _read(model: Model, constants: Constants, node: Any, name: str) -> Operator | Elsewhere:
    """An operator; or why the unit does not run it."""
    inputs = [*node.input, "", "", "", ""][:4]
    scope = model.main
    dense, index = (constants.get(scope, given) for given in inputs[1:3])
    if dense is None or index is None:
        return Elsewhere(name, node.op_type, "its bytes are made when it runs, by a Compress")
    bias = constants.get(scope, inputs[3]) if inputs[3] else None
    if inputs[3] and bias is None:
        return Elsewhere(name, node.op_type, "its bias is no constant")
    try:
        conv = node.op_type == "Conv2DCompress"
        _demand_attributes(node)
        shape = tuple(attribute(node, "filter_shape", ()))
        weight = SparseWeight(
            dense, index, shape, attribute(node, "layout", "zn"), "conv" if conv else "matrix"
        )
        n = shape[0]
        if bias is not None and (bias.dtype != np.int32 or bias.shape != (n,)):
            raise ArgumentError(f"its bias is {bias.dtype} {bias.shape}, not int32 ({n},)")
        return Operator(
            node, name, node.op_type, inputs[0], node.output[0], weight, bias,
            attribute(node, "offset_x", 0), _window(node) if conv else None,
        )  # fmt: skip
    except (Cube24Error, TypeError) as error:
        raise FileFormatError(model.path, f"node {name!r} ({node.op_type}): {error}") from error


#: What attributes have to say where they are; the unit and the functions know nothing else.
_ONLY = {
    "alg": ALG, "groups": 1, "data_format": "NCHW", "transpose_x1": 0, "transpose_x2": 0,
    "transpose": 0, "axis": 1,
}  # fmt: skip


def _demand_attributes(node: Any) -> None:
    for name, only in _ONLY.items():
        if (value := attribute(node, name, only)) != only:
            raise ArgumentError(f"{name} is {value!r}; it can be {only!r} only")


def _window(node: Any) -> Window:
    return Window(
        tuple(attribute(node, "strides", (1, 1))), tuple(attribute(node, "pads", (0, 0, 0, 0))),
        tuple(attribute(node, "dilations", (1, 1))),
    )  # fmt: skip


def reads(node: Any) -> set[str]:
    """All names that a node may read, those of the graphs inside of it too."""
    found = set(node.input)
    for _, inner in graphs_of(node):
        found |= {given.name for given in inner.output}
        for each in inner.node:
            found |= reads(each)
    return found - {""}
