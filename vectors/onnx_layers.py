"""Layers of ONNX models as cases.

The numbers of a layer stand in the spec itself, as base64, so a case can be made again and shrunk
from its manifest alone, without the model and without onnx.

Each Conv, Gemm and MatMul with a constant weight is taken, and their integer kin. Only the weight
is real: activations are drawn, and an image is as large as it takes to give a few positions. The
rules:

* Integer weights stay as they are, less their zero point, as do those behind a DequantizeLinear.
  Floats become round-half-even(w / max|w| * 127), with one maximum for the whole tensor, computed
  in float64; so do weights that are quantised in blocks.
* Then the weight is pruned to 2:4 by magnitude, whatever it was before.
* An int32 bias stays as it is. A float bias is divided by max|w| / 127 and by 1 / 127, which takes
  activations as -1 to 1, rounded half to even, and cut to int32.
* Results are the accumulators. Zero points of activations are taken as subtracted before.
* A weight of more than LIMIT numbers becomes several cases, each with some of the columns.
* Where these rules leave little of a layer, its ``note`` says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from cube24.encoder import N0, PruneCost, prune
from cube24.errors import ArgumentError, Cube24Error, StrPath, counted
from cube24.graph import (
    FORMS,
    STANDARD,
    Constants,
    Form,
    Model,
    attribute,
    less_zero,
    load,
    op_of,
    same_pads,
)
from cube24.simulator import Unit
from cube24.sizes import shown
from cube24.vectors import spec_check
from cube24.vectors.fill import inline_weights
from cube24.vectors.spec import Item, Spec, conv2d, layer_of, matmul

#: Weights of one case, at most; 16 columns stay together.
LIMIT = 1 << 20

#: Operators that hold weights and are not taken, each with the reason.
_UNSUPPORTED: Mapping[str, str] = {
    **dict.fromkeys(("If", "Loop", "Scan"), "the layers inside of it are not looked at"),
    **dict.fromkeys(
        ("Attention", "ConvTranspose", "DeformConv", "Einsum", "GRU", "LSTM", "RNN"),
        "the unit runs convolutions and matrix multiplications only",
    ),
}


@dataclass(frozen=True, eq=False)
class OnnxLayer:
    """A layer of a model.

    Attributes: name, of its cases; op and node, as in the model; items, its cases, none if it is
    not taken; reason, why it is not; shape, of the weight; scale, of a float weight: the value of
    1; cost, what making it 2:4 took away.
    """

    name: str
    op: str
    node: str
    items: tuple[Item, ...] = ()
    reason: str = ""
    shape: tuple[int, ...] = ()
    scale: float | None = None
    cost: PruneCost | None = None
    note: str = ""


def is_of_prefix(name: str, prefix: str) -> bool:
    """Whether a case of this name can be one of a model's under a prefix."""
    form = rf"{re.escape(prefix)}-[0-9]{{4,}}-[a-z]+(-n[0-9]{{5,}})?"
    return re.fullmatch(form, name) is not None


class _NotTakenError(Exception):
    """Why a layer is not taken."""


def from_onnx(
    path: StrPath, *, prefix: str = "onnx", size: int = 4, unit: str = "dav-2201"
) -> Iterator[OnnxLayer]:
    """The layers of an ONNX model that have weights, in the order of its graph, as cases.

    Args:
        path: the model; weights in external files are read too.
        prefix: of the names of the cases.
        size: rows and columns of positions of a convolution; a matrix multiplication has their
            product as rows.
        unit: the preset that runs them.

    Raises:
        ArgumentError: size or prefix is impossible.
        MissingExtraError: the package onnx is not there.
        FileFormatError: it is no ONNX model.
        FileAccessError: the system refuses.
    """
    if size < 1 or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", prefix):
        raise ArgumentError(
            f"size {size}, prefix {prefix!r}: size is 1 or more, prefix has letters and digits"
        )
    return _layers(load(path), prefix, size, unit)


def _layers(model: Model, prefix: str, size: int, unit: str) -> Iterator[OnnxLayer]:
    constants = Constants(model)
    for number, node in enumerate(model.main.graph.node):
        op, foreign = op_of(node), node.domain not in STANDARD
        if not foreign and op not in FORMS and op not in _UNSUPPORTED:
            continue
        name = "-".join([prefix, f"{number:04d}", node.op_type.lower()])
        layer = OnnxLayer(name, op, node.name)
        try:
            if op in _UNSUPPORTED:
                raise _NotTakenError(_UNSUPPORTED[op])
            if op not in FORMS:
                raise _NotTakenError("an operator of another domain, which is not known here")
            yield _taken(_Operands(constants, node, FORMS[op]), layer, size, unit)
        except _NotTakenError as error:
            yield replace(layer, reason=str(error))


@dataclass(frozen=True, eq=False)
class _Operands:
    """The constant operands of a node of the main graph."""

    constants: Constants
    node: Any
    form: Form

    def given(self, at: int | None) -> str:
        """Name of an input; empty: there is none."""
        return self.node.input[at] if at is not None and at < len(self.node.input) else ""

    def constant(self, at: int | None) -> npt.NDArray[Any] | None:
        """Floats, or integers less the zero point that is theirs; None: it is no constant."""
        scope, name = self.constants.model.main, self.given(at)
        whole = self.constants.whole(scope, name)
        return self.constants.get(scope, name) if whole is None else whole

    def weight(self) -> npt.NDArray[Any]:
        """The weight as (Cout, Cin, Kh, Kw) or (N, K)."""
        array = self.constant(self.form.w)
        if array is None:
            raise _NotTakenError("its weights are no constant")
        if array.dtype.kind not in "if":
            raise _NotTakenError(f"its weights are {array.dtype}, which is no type of weights")
        conv = self.form.kind == "conv"
        rows = attribute(self.node, "transB", 0) != 0  # of a matrix: (N, K) in the model too
        if self.given(self.form.w_zero):
            zero = self.constant(self.form.w_zero)
            if zero is None:
                raise _NotTakenError("the zero point of its weights is no constant")
            try:
                array = less_zero(array, zero, 0 if conv or rows else -1)
            except ValueError as error:
                raise _NotTakenError(f"its weights do not fit their zero point: {error}") from None
        return self._convolution(array) if conv else self._matrix(array, rows)

    def _convolution(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        if (groups := attribute(self.node, "group", 1)) != 1:
            raise _NotTakenError(f"a convolution in {groups} groups has no 2:4 form")
        if array.ndim != 4:
            raise _NotTakenError(f"a convolution in {array.ndim - 2} dimensions; the unit has two")
        kernel = tuple(attribute(self.node, "kernel_shape", ()) or array.shape[2:])
        if kernel != array.shape[2:]:
            raise _NotTakenError(f"its kernel_shape is {kernel}, and its weights {array.shape}")
        return array

    def _matrix(self, array: npt.NDArray[Any], rows: bool) -> npt.NDArray[Any]:
        if attribute(self.node, "alpha", 1.0) != 1 or attribute(self.node, "beta", 1.0) != 1:
            raise _NotTakenError("alpha and beta are not 1")
        if array.ndim == 1:
            return array[None]
        if array.ndim < 2 or array.size != array.shape[-1] * array.shape[-2]:
            raise _NotTakenError(f"weights of shape {array.shape} are no single matrix")
        array = array.reshape(array.shape[-2:])
        return array if rows else array.T


def _taken(operands: _Operands, layer: OnnxLayer, size: int, unit: str) -> OnnxLayer:
    """The layer with its cases."""
    conv = operands.form.kind == "conv"
    array = operands.weight()
    quantised, scale = _quantised(array)
    bias, lost = None, ""
    if operands.given(operands.form.bias):
        bias, lost = _bias(operands.constant(operands.form.bias), len(array), scale)
    pruned = prune(quantised, kind="conv" if conv else "matrix")
    geometry = _geometry(operands.node, quantised.shape[2:], size) if conv else {}
    note = "; ".join(filter(None, [_left(array, quantised, pruned.weight), lost]))
    layer = replace(layer, shape=quantised.shape, scale=scale, cost=pruned.cost, note=note)
    items = tuple(_items(layer, pruned.weight, bias, geometry, size, unit))
    return replace(layer, items=items)


def _left(model: npt.NDArray[Any], whole: npt.NDArray[np.int8], kept: npt.NDArray[np.int8]) -> str:
    """What to know of a weight of which little is left: less than half of what 2:4 can hold."""
    said = []
    there, rounded, left = (int(np.count_nonzero(one)) for one in (model, whole, kept))
    if left * 4 < kept.size:
        as_int8 = f", {rounded} as int8 with one scale for the tensor" if rounded < there else ""
        are = "is" if left == 1 else "are"
        said.append(
            f"only {left} of {kept.size} weights {are} not zero: {there} in the model{as_int8}"
        )
    # One channel may take the scale of all others and hardly show in the sum.
    n = len(model)
    before, after = ((one.reshape(n, -1) != 0).any(axis=1) for one in (model, kept))
    if gone := int(np.count_nonzero(before & ~after)):
        said.append(f"{gone} of {counted(n, 'column')} became zero")
    return "; ".join(said)


def _quantised(array: npt.NDArray[Any]) -> tuple[npt.NDArray[np.int8], float | None]:
    """Int8, and the scale of floats."""
    if not array.size:
        raise _NotTakenError(f"its weights are empty: {array.shape}")
    if array.dtype.kind == "i":
        if array.min() < -128 or array.max() > 127:
            raise _NotTakenError("its integer weights, less their zero point, do not fit int8")
        return array.astype(np.int8), None
    values = array.astype(np.float64)
    if not np.isfinite(values).all():
        raise _NotTakenError("its weights are not finite")
    most = float(np.abs(values).max())
    if most == 0:
        return np.zeros(array.shape, np.int8), 1.0
    # A maximum that is subnormal leaves no scale; the quotient comes first, and is at most 1.
    return np.rint(values / most * 127).astype(np.int8), most / 127


def _bias(
    array: npt.NDArray[Any] | None, n: int, scale: float | None
) -> tuple[npt.NDArray[np.int32], str]:
    """The bias as int32; and what to know of one of which numbers were lost."""
    if array is None:
        raise _NotTakenError("its bias is no constant")
    if array.dtype.kind not in "if":
        raise _NotTakenError(f"its bias is {array.dtype}, which is no type of a bias")
    try:
        row = np.broadcast_to(array, (1, n))[0]
    except ValueError:
        raise _NotTakenError(f"its bias has shape {array.shape}, not one number a column") from None
    if row.dtype.kind == "i":
        values = row.astype(np.float64)
    elif scale is None or not np.isfinite(row).all():
        raise _NotTakenError("its bias is not finite, or a float beside integer weights")
    else:
        with np.errstate(over="ignore"):
            values = np.rint(row.astype(np.float64) / scale * 127)
    limits = np.iinfo(np.int32)
    clipped: npt.NDArray[np.int32] = np.clip(values, limits.min, limits.max).astype(np.int32)
    cut = int(np.count_nonzero(clipped != values))
    gone = int(np.count_nonzero((row != 0) & (clipped == 0)))
    said = []
    if cut:
        said.append(f"{cut} of {counted(n, 'number')} of the bias did not fit int32")
    if gone * 2 > n:  # a few are small beside the weights; most of them are a wrong scale
        said.append(f"{gone} of {counted(n, 'number')} of the bias became zero")
    return clipped, "; ".join(said)


def _geometry(node: Any, kernel: tuple[int, ...], size: int) -> dict[str, Any]:
    """Strides, pads, dilations and the size of the image."""
    strides = tuple(attribute(node, "strides", (1, 1)))
    dilations = tuple(attribute(node, "dilations", (1, 1)))
    pads = tuple(attribute(node, "pads", (0, 0, 0, 0)))
    if (len(strides), len(dilations), len(pads)) != (2, 2, 4):
        raise _NotTakenError("its strides, dilations and pads are not those of two dimensions")
    if min(*strides, *dilations) < 1:
        raise _NotTakenError(f"its strides are {strides} and its dilations {dilations}")
    sides = [(pads[i], pads[i + 2]) for i in (0, 1)]
    how = attribute(node, "auto_pad", "NOTSET") or "NOTSET"
    if how not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
        raise _NotTakenError(f"its auto_pad {shown(how)} is none that ONNX has")
    spans = [(kernel[i] - 1) * dilations[i] + 1 for i in (0, 1)]
    if how.startswith("SAME"):  # of size * stride pixels, size positions
        image = [size * strides[i] for i in (0, 1)]
        sides = [same_pads(image[i], kernel[i], strides[i], dilations[i], how) for i in (0, 1)]
    else:
        if how == "VALID":
            sides = [(0, 0), (0, 0)]
        image = [max(1, (size - 1) * strides[i] + spans[i] - sum(sides[i])) for i in (0, 1)]
    (top, bottom), (left, right) = sides
    return {
        "size": tuple(image), "kernel": tuple(kernel), "strides": strides, "dilations": dilations,
        "pads": (top, left, bottom, right),
    }  # fmt: skip


def _items(
    layer: OnnxLayer,
    weight: npt.NDArray[np.int8],
    bias: npt.NDArray[np.int32] | None,
    geometry: dict[str, Any],
    size: int,
    unit: str,
) -> Iterator[Item]:
    """The cases of a layer: one, or several with some of the columns each."""
    per_column = weight[0].size
    columns = max(N0, LIMIT // per_column // N0 * N0)
    for first in range(0, len(weight), columns):
        part = weight[first : first + columns]
        rest: dict[str, Any] = {
            "weights": inline_weights(part),
            "bias": None if bias is None else bias[first : first + columns].tolist(),
            "unit": unit,
        }
        if geometry:
            spec = conv2d(part.shape[1], len(part), **geometry, **rest)
        else:
            spec = matmul(size * size, *part.shape, **rest)
        _demand_plan(unit, spec, time=first == 0)
        name = layer.name if columns >= len(weight) else f"{layer.name}-n{first:05d}"
        yield Item(name, spec, ("network", "onnx", layer.op))


def _demand_plan(unit: str, spec: Spec, *, time: bool) -> None:
    """Refuse a layer that the unit cannot run, or that is too large for it, without running it."""
    try:
        spec_check.check(spec)
        if time:
            Unit(unit).time(layer_of(spec))
    except Cube24Error as error:
        raise _NotTakenError(f"the unit cannot run it: {error}") from error
