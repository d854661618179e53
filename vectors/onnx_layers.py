"""Layers of ONNX models as cases.

The numbers of a layer stand in the spec itself, as base64, so a case can be made again and shrunk
from its manifest alone, without the model and without onnx.

Each Conv, Gemm and MatMul with a constant weight is taken, and their integer kin. Only the weight
is real: activations are drawn, and an image is as large as it takes to give a few positions. The
rules:

* Integer weights stay as they are, less their zero point. Floats become
  round-half-even(w / max|w| * 127), with one maximum for the whole tensor, computed in float64.
* Then the weight is pruned to 2:4 by magnitude, whatever it was before.
* An int32 bias stays as it is. A float bias is divided by max|w| / 127 and by 1 / 127, which takes
  activations as -1 to 1, rounded half to even, and cut to int32.
* Results are the accumulators. Zero points of activations are taken as subtracted before.
* A weight of more than LIMIT numbers becomes several cases, each with some of the columns.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cube24.encoder import N0, PruneCost, prune
from cube24.errors import ArgumentError, Cube24Error, FileFormatError, StrPath
from cube24.extras import need
from cube24.files import read_bytes
from cube24.simulator import Unit
from cube24.vectors import spec_check
from cube24.vectors.fill import inline_weights
from cube24.vectors.spec import Item, Spec, conv2d, layer_of, matmul

#: Weights of one case, at most; 16 columns stay together.
LIMIT = 1 << 20

#: Where an operator has its weight, the zero point of it, and its bias, among its inputs.
_INPUTS: Mapping[str, tuple[int, int | None, int | None]] = {
    "Conv": (1, None, 2),
    "ConvInteger": (1, 3, None),
    "QLinearConv": (3, 5, 8),
    "Gemm": (1, None, 2),
    "MatMul": (1, None, None),
    "MatMulInteger": (1, 3, None),
    "QLinearMatMul": (3, 5, None),
}

#: Operators that hold weights and are not taken, each with the reason.
_UNSUPPORTED: Mapping[str, str] = {
    **dict.fromkeys(("If", "Loop", "Scan"), "the layers inside of it are not looked at"),
    **dict.fromkeys(
        ("Attention", "ConvTranspose", "DeformConv", "Einsum", "GRU", "LSTM", "RNN"),
        "the unit runs convolutions and matrix multiplications only",
    ),
}

_DOMAINS = ("", "ai.onnx")


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
    model = _Model(path)
    return _layers(model, prefix, size, unit)


def _layers(model: _Model, prefix: str, size: int, unit: str) -> Iterator[OnnxLayer]:
    for number, node in enumerate(model.nodes):
        op, foreign = node.op_type, node.domain not in _DOMAINS
        if not foreign and op not in _INPUTS and op not in _UNSUPPORTED:
            continue
        name = "-".join([prefix, f"{number:04d}", op.lower()])
        layer = OnnxLayer(name, f"{node.domain}.{op}" if foreign else op, node.name)
        try:
            if foreign:
                raise _NotTakenError("an operator of another domain, which is not known here")
            if op in _UNSUPPORTED:
                raise _NotTakenError(_UNSUPPORTED[op])
            yield _taken(model, node, layer, size, unit)
        except _NotTakenError as error:
            yield replace(layer, reason=str(error))


class _Model:
    """The graph of a model, with what is constant in it."""

    def __init__(self, path: StrPath) -> None:
        self._onnx = need("onnx", "onnx", "reading a model")
        data = read_bytes(path)
        try:
            model = self._onnx.load_model_from_string(data)
            external = need("onnx.external_data_helper", "onnx", "reading a model")
            external.load_external_data_for_model(model, str(Path(path).resolve().parent))
            self._onnx.checker.check_model(model)
        except Exception as error:  # of protobuf, of onnx, and what either lets through
            text = " ".join(str(error).split())[:500]
            raise FileFormatError(path, f"no readable ONNX model: {text}") from error
        graph = model.graph
        self.nodes = list(graph.node)
        self._initializers = {tensor.name: tensor for tensor in graph.initializer}
        # An initializer that is an input too is a default, and no constant, since IR version 4;
        # before, every initializer had to be one.
        if model.ir_version >= 4:
            for given in graph.input:
                self._initializers.pop(given.name, None)
        self._producers = {name: node for node in self.nodes for name in node.output if name}

    def attribute(self, node: Any, name: str, default: Any) -> Any:
        """An attribute of a node."""
        for attribute in node.attribute:
            if attribute.name == name:
                value = self._onnx.helper.get_attribute_value(attribute)
                return value.decode() if isinstance(value, bytes) else value
        return default

    def constant(self, name: str) -> npt.NDArray[Any] | None:
        """The array of a name, floats or integers less their zero point; None: no constant."""
        if name in self._initializers:
            return self._array(self._initializers[name])
        node = self._producers.get(name)
        if node is None or node.domain not in _DOMAINS:
            return None
        if node.op_type == "Constant":
            value = self.attribute(node, "value", None)
            return None if value is None else self._array(value)
        if node.op_type not in ("Identity", "Transpose", "DequantizeLinear"):
            return None
        array = self.constant(node.input[0])
        if array is None or node.op_type == "Identity":
            return array
        if node.op_type == "Transpose":
            return array.transpose(self.attribute(node, "perm", None))
        if self.attribute(node, "block_size", 0):
            raise _NotTakenError("its weights are quantised in blocks")
        return self.less_zero_point(array, node, 2, self.attribute(node, "axis", 1))

    def less_zero_point(
        self, array: npt.NDArray[Any], node: Any, at: int | None, axis: int
    ) -> npt.NDArray[Any]:
        """Integers less the zero point that a node has as an input, one or one for each of axis."""
        if at is None or len(node.input) <= at or not node.input[at]:
            return array
        zero = self.constant(node.input[at])
        if zero is None:
            raise _NotTakenError("the zero point of its weights is no constant")
        if zero.size > 1:
            shape = [1] * array.ndim
            shape[axis] = -1
            zero = zero.reshape(shape)
        return array.astype(np.int64) - zero.astype(np.int64).reshape(zero.shape or (1,))

    def _array(self, tensor: Any) -> npt.NDArray[Any]:
        array = np.asarray(self._onnx.numpy_helper.to_array(tensor))
        if array.dtype.kind in "iub":
            return array.astype(np.int64)
        if array.dtype.kind == "f":
            return array
        # Types that NumPy does not have, such as bfloat16 and int4.
        name = array.dtype.name
        return array.astype(np.int64 if name.startswith(("int", "uint")) else np.float64)


def _taken(model: _Model, node: Any, layer: OnnxLayer, size: int, unit: str) -> OnnxLayer:
    """The layer with its cases."""
    where, zero_at, bias_at = _INPUTS[node.op_type]
    conv = node.op_type.endswith(("Conv", "ConvInteger"))
    array = model.constant(node.input[where])
    if array is None:
        raise _NotTakenError("its weights are no constant")
    array = model.less_zero_point(array, node, zero_at, 0 if conv else -1)
    array = _oriented(model, node, array, conv)
    quantised, scale = _quantised(array)
    bias = None
    if bias_at is not None and len(node.input) > bias_at and node.input[bias_at]:
        bias = _bias(model.constant(node.input[bias_at]), len(array), scale)
    pruned = prune(quantised, kind="conv" if conv else "matrix")
    geometry = _geometry(model, node, quantised.shape[2:], size) if conv else {}
    layer = replace(layer, shape=quantised.shape, scale=scale, cost=pruned.cost)
    items = tuple(_items(layer, pruned.weight, bias, geometry, size, unit))
    return replace(layer, items=items)


def _oriented(model: _Model, node: Any, array: npt.NDArray[Any], conv: bool) -> npt.NDArray[Any]:
    """The weight as (Cout, Cin, Kh, Kw) or (N, K)."""
    if conv:
        if (groups := model.attribute(node, "group", 1)) != 1:
            raise _NotTakenError(f"a convolution in {groups} groups has no 2:4 form")
        if array.ndim != 4:
            raise _NotTakenError(f"a convolution in {array.ndim - 2} dimensions; the unit has two")
        return array
    if node.op_type == "Gemm":
        if model.attribute(node, "alpha", 1.0) != 1 or model.attribute(node, "beta", 1.0) != 1:
            raise _NotTakenError("alpha and beta are not 1")
        if model.attribute(node, "transB", 0):
            return array
        return array.T
    if array.ndim == 1:
        return array[None]
    if array.ndim < 2 or array.size != array.shape[-1] * array.shape[-2]:
        raise _NotTakenError(f"weights of shape {array.shape} are no single matrix")
    return array.reshape(array.shape[-2:]).T


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


def _bias(array: npt.NDArray[Any] | None, n: int, scale: float | None) -> npt.NDArray[np.int32]:
    if array is None:
        raise _NotTakenError("its bias is no constant")
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
    return clipped


def _geometry(model: _Model, node: Any, kernel: tuple[int, ...], size: int) -> dict[str, Any]:
    """Strides, pads, dilations and the size of the image."""
    strides = tuple(model.attribute(node, "strides", (1, 1)))
    dilations = tuple(model.attribute(node, "dilations", (1, 1)))
    pads = tuple(model.attribute(node, "pads", (0, 0, 0, 0)))
    if (len(strides), len(dilations), len(pads)) != (2, 2, 4):
        raise _NotTakenError("its strides, dilations and pads are not those of two dimensions")
    before, after = [pads[0], pads[1]], [pads[2], pads[3]]
    how = model.attribute(node, "auto_pad", "NOTSET")
    spans = [(kernel[i] - 1) * dilations[i] + 1 for i in (0, 1)]
    image = []
    for i in (0, 1):
        if how.startswith("SAME"):  # of size * stride pixels, size positions
            image.append(size * strides[i])
            total = max(0, spans[i] - strides[i])
            before[i] = (total + (how == "SAME_LOWER")) // 2
            after[i] = total - before[i]
        else:
            if how == "VALID":
                before[i] = after[i] = 0
            image.append(max(1, (size - 1) * strides[i] + spans[i] - before[i] - after[i]))
    return {
        "size": tuple(image), "kernel": tuple(kernel), "strides": strides, "dilations": dilations,
        "pads": (before[0], before[1], after[0], after[1]),
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
