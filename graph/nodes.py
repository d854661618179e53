"""Candidates: the nodes that multiply activations by a weight, in all the forms that they come in.

A form says where an operator has its operands. What is read here is the same for all of them: a
``Product``, which says what the unit is to compute and what becomes of its int32 results; or the
reason why there is none. The arithmetic is that of docs/models.md, "Arithmetic".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from cube24.encoder import Kind
from cube24.errors import counted
from cube24.graph.folding import Array, Constants
from cube24.graph.model import VENDOR_OPS, Model, Scope
from cube24.graph.protos import MICROSOFT, STANDARD, attribute, onnx, op_of
from cube24.graph.shapes import Shapes

#: Why a node stays dense: a closed list, one of which is given.
Reason = Literal[
    "groups", "cin4", "conv1d", "conv3d", "rank", "dynamic-weight", "not-quantised", "not-int8",
    "zero-point-per-channel", "not-2:4", "flattened-2:4", "wrong-axis", "alpha-beta", "unit-limit",
    "slower", "skipped",
]  # fmt: skip

#: Reasons that pruning or quantising the model can mend.
MENDABLE: frozenset[str] = frozenset(
    {
        "not-quantised",
        "not-int8",
        "zero-point-per-channel",
        "not-2:4",
        "flattened-2:4",
        "wrong-axis",
    }
)

#: The operator refuses convolutions of so few input channels or fewer.
FEW_CHANNELS = 4


class DenseError(Exception):
    """Why a node stays dense; it never leaves this package.

    Attributes: reason, of the closed list; detail, in words.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        """Take them."""
        self.reason, self.detail = reason, detail
        super().__init__(detail)


@dataclass(frozen=True)
class Form:
    """Where an operator has its operands, among its inputs; None: nowhere."""

    kind: Kind
    x: int
    w: int
    bias: int | None = None
    x_scale: int | None = None
    x_zero: int | None = None
    w_scale: int | None = None
    w_zero: int | None = None
    y_scale: int | None = None
    y_zero: int | None = None


FORMS = {
    "QLinearConv": Form("conv", 0, 3, 8, 1, 2, 4, 5, 6, 7),
    "QLinearMatMul": Form("matrix", 0, 3, None, 1, 2, 4, 5, 6, 7),
    f"{MICROSOFT}.QGemm": Form("matrix", 0, 3, 6, 1, 2, 4, 5, 7, 8),
    "ConvInteger": Form("conv", 0, 1, x_zero=2, w_zero=3),
    "MatMulInteger": Form("matrix", 0, 1, x_zero=2, w_zero=3),
    "Conv": Form("conv", 0, 1, 2),
    "MatMul": Form("matrix", 0, 1),
    "Gemm": Form("matrix", 0, 1, 2),
}

#: Types of float32 results, as in TensorProto, and of those of which it is not known.
_FLOAT32 = (0, 1)

#: Operators that may stand between a DequantizeLinear and the node that takes the weight.
_TURNING = ("Identity", "Transpose")

#: Of float operators, whose operands are quantised by the nodes around them.
FLOAT = ("Conv", "MatMul", "Gemm")


@dataclass(frozen=True, eq=False)
class Weight:
    """The weight of a node.

    Attributes:
        name: of the tensor that the node, or the DequantizeLinear before it, takes.
        stored: as the model has it, with its zero point.
        values: less the zero point, as (N, K) or (Cout, Cin, Kh, Kw); of any number type.
        zero: the zero point; None: each channel has its own.
        transposed: whether ``values`` has the axes of ``stored`` exchanged.
        users: how many nodes use the tensor.
    """

    name: str
    stored: Array
    values: Array
    zero: int | None
    transposed: bool
    users: int


@dataclass(frozen=True)
class Window:
    """How a convolution moves: strides and dilations (h, w), pads (top, left, bottom, right)."""

    strides: tuple[int, int]
    pads: tuple[int, int, int, int]
    dilations: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Result:
    """What becomes of the int32 sums.

    Attributes:
        name: of the value that takes them.
        scale: fp32, () or (N,): what a sum is multiplied by; None: they stay as they are.
        zero, dtype: of a quantised result; dtype None: it is float32.
        added: float32 (N,), added to a float result.
        scales: of a quantised result: names of the scales of activations, weight and result.
    """

    name: str
    scale: npt.NDArray[np.float32] | None = None
    zero: int = 0
    dtype: np.dtype[Any] | None = None
    added: npt.NDArray[np.float32] | None = None
    scales: tuple[str, str, str] = ("", "", "")


@dataclass(frozen=True, eq=False)
class Product:
    """What the unit is to compute for a node.

    The sums are those of (x - x_zero) * w + bias, w being ``weight.values``.

    Attributes:
        x: name of the activations, int8 or, if unsigned, uint8.
        x_zero: their zero point; None: it is the value named x_zero_name, unknown until it runs.
        weight: of which ``values`` is int8.
        bias: int64 (N,).
        window: of a convolution.
        transpose_x: whether the activations are (K, M).
        result: what becomes of the sums.
        nodes: those that all of this replaces, the one that multiplies first.
        padding: top, left, bottom, right, put around the activations before, with their zero point.
    """

    x: str
    unsigned: bool
    x_zero: int | None
    x_zero_name: str
    weight: Weight
    bias: npt.NDArray[np.int64] | None
    window: Window | None
    transpose_x: bool
    result: Result
    nodes: tuple[Any, ...]
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)

    @property
    def offset(self) -> int:
        """The zero point of the activations as int8, which padding holds too; 0: it is unknown."""
        if self.x_zero is None:
            return 0
        return self.x_zero - (128 if self.unsigned else 0)

    @property
    def moved_bias(self) -> npt.NDArray[np.int64]:
        """bias - offset * sum of the weights: with it the sums over x as int8 are those above."""
        bias = 0 if self.bias is None else self.bias
        return np.asarray(bias - self.offset * self.weight_sums)

    @property
    def weight_sums(self) -> npt.NDArray[np.int64]:
        """The sum of the weights of each column."""
        rows = self.weight.values.reshape(len(self.weight.values), -1)
        return np.asarray(rows.sum(1, dtype=np.int64))


@dataclass(frozen=True, eq=False)
class Candidate:
    """A node that multiplies activations by what may be a weight.

    Attributes:
        scope, node: where and what it is in the model.
        name: of the node, with those of the nodes around its graph.
        op: its operator; ``kind``: of its weight.
        weight: None where it is no constant.
        product: what the unit is to compute; None: nothing, because of reason.
        reason, detail: why there is no product.
    """

    scope: Scope
    node: Any
    name: str
    op: str
    kind: Kind
    weight: Weight | None = None
    product: Product | None = None
    reason: Reason | None = None
    detail: str = ""


@dataclass(eq=False)
class Reader:
    """Reads the candidates of a model."""

    model: Model
    constants: Constants = field(init=False)
    shapes: Shapes = field(init=False)

    def __post_init__(self) -> None:
        """Get to know the model."""
        self.constants, self.shapes = Constants(self.model), Shapes(self.model)

    def candidates(self) -> Iterator[Candidate]:
        """All candidates, graph by graph, in the order of the nodes.

        Raises:
            FileFormatError: a tensor that cannot be read.
        """
        for scope in self.model.scopes:
            for number, node in enumerate(scope.graph.node):
                op = op_of(node)
                if op in FORMS and len(node.input) > FORMS[op].w:
                    yield self._candidate(scope, node, number)

    def _candidate(self, scope: Scope, node: Any, number: int) -> Candidate:
        form, op = FORMS[op_of(node)], op_of(node)
        name = scope.where + (node.name or f"{node.op_type}_{number}")
        one = _Node(self, scope, node, form)
        found = Candidate(scope, node, name, op, form.kind)
        try:
            one.demand_structure()
            weight = one.weight()
            found = replace(found, weight=weight)
            one.demand_weight(weight)
            product = one.product(weight)
        except DenseError as error:
            return replace(found, reason=error.reason, detail=error.detail)
        return replace(found, product=product, weight=product.weight)


class _Node:
    """Reads one node; each step raises DenseError with the reason why the node stays dense."""

    def __init__(self, reader: Reader, scope: Scope, node: Any, form: Form) -> None:
        self.reader, self.scope, self.node, self.form = reader, scope, node, form
        self.float = op_of(node) in FLOAT

    # --- what the model says ----------------------------------------------------------------------

    def given(self, at: int | None) -> str:
        """Name of an input; empty: there is none."""
        return self.node.input[at] if at is not None and at < len(self.node.input) else ""

    def constant(self, name: str) -> Array | None:
        return self.reader.constants.get(self.scope, name)

    def producer(self, name: str, *ops: str) -> Any | None:
        """The node that makes a value, if it is one of these operators."""
        home = self.scope.home(name) if name else None
        node = home.producers.get(name) if home else None
        if node is None or node.domain not in (*STANDARD, MICROSOFT):
            return None
        return node if node.op_type in ops else None

    # --- the steps --------------------------------------------------------------------------------

    def demand_structure(self) -> None:
        """Refuse what no weight can mend."""
        group = attribute(self.node, "group", 1)
        if group != 1:
            raise DenseError("groups", f"a convolution in {group} groups has no 2:4 form")
        alpha, beta = (attribute(self.node, name, 1.0) for name in ("alpha", "beta"))
        if alpha != 1 or (beta != 1 and self.given(self.form.bias)):
            raise DenseError(
                "alpha-beta", f"alpha is {alpha:g} and beta {beta:g}; the unit has none"
            )

    def weight(self) -> Weight:
        """The weight, in the orientation of the unit."""
        name, zero_name, axis = self.given(self.form.w), self.given(self.form.w_zero), None
        scaled, turned = self._dequantised(name)
        if scaled is not None:
            name, zero_name = scaled.input[0], scaled.input[2] if len(scaled.input) > 2 else ""
            axis = attribute(scaled, "axis", 1)
        stored = self.constant(name)
        if stored is None:
            raise DenseError("dynamic-weight", self._why_dynamic(name))
        values, transposed = self._oriented(stored, turned)
        zeros = self._zero_points(zero_name, stored)
        if stored.dtype.kind in "iu":
            values = self._less(values, zeros, axis, transposed)
        home = self.scope.home(name)
        users = home.users[name] if home else 1
        return Weight(name, stored, values, None if zeros.ndim else int(zeros), transposed, users)

    @staticmethod
    def _less(
        values: Array, zeros: npt.NDArray[np.int64], axis: int | None, transposed: bool
    ) -> Array:
        """Values (N, ...) less their zero point, or that of each of N."""
        if zeros.ndim:
            along = None if axis is None else axis % values.ndim
            column = values.ndim - 1 if transposed else 0
            if zeros.size != len(values) or along not in (None, column):
                raise DenseError(
                    "zero-point-per-channel", f"its weight has zero points of shape {zeros.shape}"
                )
            zeros = zeros.reshape(-1, *[1] * (values.ndim - 1))
        if not zeros.any():
            return values
        # Weights may be large: no wider than it takes.
        wide = np.int16 if values.itemsize == 1 and np.abs(zeros).max() < 1 << 14 else np.int64
        return np.asarray(values.astype(wide) - zeros.astype(wide))

    def _why_dynamic(self, name: str) -> str:
        if self.constant(self.given(self.form.x)) is not None:
            return "the constant stands on the left"
        main = self.reader.model.main.graph
        if any(tensor.name == name for tensor in main.initializer):
            return "its weight is an input of the model too, which a caller may replace"
        return "its weight is no constant"

    def _dequantised(self, name: str) -> tuple[Any | None, bool]:
        """The DequantizeLinear that a float weight comes from; whether a Transpose is behind it.

        Linear layers of PyTorch are exported so.
        """
        turned = False
        while (
            self.float and (node := self.producer(name, "DequantizeLinear", *_TURNING)) is not None
        ):
            if node.op_type == "DequantizeLinear":
                return node, turned
            if node.op_type == "Transpose":
                if self.form.kind == "conv" or attribute(node, "perm", (1, 0)) != (1, 0):
                    break
                turned = not turned
            name = node.input[0]
        return None, False

    def _zero_points(self, name: str, stored: Array) -> npt.NDArray[np.int64]:
        """The zero points of the weight; those that are all the same are one."""
        if not name or stored.dtype.kind not in "iu":
            return np.zeros((), np.int64)
        zeros = self.constant(name)
        if zeros is None:
            raise DenseError(
                "zero-point-per-channel", "the zero point of its weight is no constant"
            )
        if zeros.dtype != stored.dtype or not zeros.size or zeros.size not in (1, *stored.shape):
            raise DenseError(
                "not-int8",
                f"its weight is {stored.dtype} of shape {stored.shape}, and the zero point of it "
                f"{zeros.dtype} of shape {zeros.shape}",
            )
        zeros = zeros.astype(np.int64)
        return np.asarray(zeros.flat[0]) if (zeros == zeros.flat[0]).all() else zeros

    def _oriented(self, values: Array, turned: bool) -> tuple[Array, bool]:
        """The weight as (Cout, Cin, Kh, Kw) or (N, K); turned: the node takes its transpose."""
        if self.form.kind == "conv":
            if values.ndim in (3, 5):
                reason: Reason = "conv1d" if values.ndim == 3 else "conv3d"
                raise DenseError(
                    reason, f"a convolution in {values.ndim - 2} dimensions; the unit has 2"
                )
            if values.ndim != 4:
                raise DenseError("rank", f"its weight has shape {values.shape}")
            return values, False
        if values.ndim != 2:
            raise DenseError("rank", f"its weight has shape {values.shape}, which is no matrix")
        transposed = bool(attribute(self.node, "transB", 0)) == turned
        return (values.T if transposed else values), transposed

    def demand_weight(self, weight: Weight) -> None:
        """Refuse a weight of which the unit has no form."""
        shape = weight.values.shape
        if self.form.kind == "conv" and shape[1] <= FEW_CHANNELS:
            raise DenseError(
                "cin4",
                f"the operator takes more than {FEW_CHANNELS} input channels, not {shape[1]}",
            )
        if 0 in shape:
            raise DenseError("rank", f"its weight is empty: {shape}")
        if self.form.kind == "conv":
            kernel = tuple(attribute(self.node, "kernel_shape", ()) or shape[2:])
            if kernel != shape[2:]:
                raise DenseError("rank", f"its kernel_shape is {kernel}, and its weight {shape}")

    def product(self, weight: Weight) -> Product:
        """All of it."""
        if self.float:
            if deploy := self.producer(self.given(self.form.x), *VENDOR_OPS[:1]):
                return self._deployed(weight, deploy)
            return self._unwrapped(weight)
        form = self.form
        weight = self._int8(weight)
        x = self.given(form.x)
        zero, dtype = self._zero(self.given(form.x_zero), x)
        result, columns = Result(self.node.output[0]), len(weight.values)
        if form.x_scale is not None:
            if not self.given(form.y_scale):  # QGemm alone may leave it out
                result = Result(
                    self.node.output[0],
                    self._product_scale(
                        self.given(form.x_scale), self.given(form.w_scale), columns
                    ),
                )
            else:
                result = self._quantised(
                    self.node.output[0], self.given(form.x_scale), self.given(form.w_scale),
                    self.given(form.y_scale), self.given(form.y_zero), columns,
                )  # fmt: skip
        zero_name = self.given(form.x_zero) if zero is None else ""
        bias = self._int_bias(self.given(form.bias), weight)
        return self._made(x, dtype, zero, zero_name, weight, bias, result, (self.node,))

    def _made(
        self,
        x: str,
        dtype: np.dtype[Any],
        zero: int | None,
        zero_name: str,
        weight: Weight,
        bias: npt.NDArray[np.int64] | None,
        result: Result,
        nodes: tuple[Any, ...],
    ) -> Product:
        if dtype not in (np.dtype(np.int8), np.dtype(np.uint8)):
            raise DenseError("not-int8", f"its activations are {dtype}; the unit takes 8 bits")
        window = self._window(x, weight) if self.form.kind == "conv" else None
        padding = (0, 0, 0, 0)
        if zero is None and window is not None:
            # Of what the padding holds only the model itself knows the value.
            window, padding = replace(window, pads=padding), window.pads
        transpose = bool(attribute(self.node, "transA", 0))
        made = Product(
            x, dtype == np.uint8, zero, zero_name, weight, bias, window, transpose, result, nodes,
            padding,
        )  # fmt: skip
        rows = weight.values.reshape(len(weight.values), -1)
        most = 255 * np.abs(rows.astype(np.int16)).sum(1, dtype=np.int64) + np.abs(made.moved_bias)
        if (most >= 1 << 31).any():
            column = int(np.argmax(most))
            raise DenseError(
                "unit-limit", f"sums of column {column} may leave int32, where the unit saturates"
            )
        return made

    # --- operands ---------------------------------------------------------------------------------

    def _int8(self, weight: Weight) -> Weight:
        if weight.values.dtype.kind not in "iu":
            raise DenseError("not-quantised", f"its weight is {weight.values.dtype}")
        low, high = int(weight.values.min()), int(weight.values.max())
        if low < -128 or high > 127:
            raise DenseError("not-int8", f"its weight, less its zero point, is {low} to {high}")
        if weight.zero is None:
            raise DenseError("zero-point-per-channel", "each channel of its weight has its own")
        return replace(weight, values=weight.values.astype(np.int8, copy=False))

    def _zero(self, name: str, x: str) -> tuple[int | None, np.dtype[Any]]:
        """The zero point of the activations and their type."""
        kinds = {onnx().TensorProto.UINT8: np.uint8, onnx().TensorProto.INT8: np.int8}
        zero = self.constant(name) if name else None
        kind = self.reader.shapes.kind(self.scope, x)
        if zero is not None and (not kind or kind in kinds):
            if kind in kinds and kinds[kind] != zero.dtype:
                raise DenseError(
                    "not-int8", f"its activations and their zero point, {zero.dtype}, are unlike"
                )
            return self._scalar(zero, "activations"), zero.dtype
        if kind not in kinds:
            raise DenseError(
                "not-int8" if kind else "not-quantised", "its activations are not 8 bits"
            )
        return (None if name else 0), np.dtype(kinds[kind])

    def _scalar(self, zero: Array, what: str) -> int:
        if zero.dtype.kind not in "iu":
            raise DenseError("not-int8", f"the zero point of its {what} is {zero.dtype}")
        if zero.size != 1:
            raise DenseError("zero-point-per-channel", f"its {what} have {zero.size} zero points")
        return int(zero.reshape(()))

    def _scale(self, name: str, what: str, columns: int = 1) -> npt.NDArray[np.float32]:
        """A scale, () or, if there are several columns, (N,)."""
        scale = self.constant(name)
        if scale is None:
            raise DenseError("not-quantised", f"the scale of its {what} is no constant")
        kind = self.reader.shapes.kind(self.scope, name)
        if scale.dtype != np.float32 or kind not in (0, onnx().TensorProto.FLOAT):
            raise DenseError("not-quantised", f"the scale of its {what} is no float32")
        if scale.size not in (1, columns):
            raise DenseError(
                "zero-point-per-channel",
                f"{counted(scale.size, 'scale')} for its {what}, not 1"
                + (f" or {columns}" if columns > 1 else ""),
            )
        if not _usable(scale):
            raise DenseError(
                "not-quantised", f"a scale of its {what} is {_worst(scale):g}, which is no scale"
            )
        return scale.reshape(()) if scale.size == 1 else scale.reshape(-1)

    def _quantised(self, name: str, x: str, w: str, y: str, zero_name: str, columns: int) -> Result:
        """A result of QLinearConv and its kin: s = fp32(fp32(x_scale * w_scale) / y_scale)."""
        with np.errstate(over="ignore"):
            scale = self._product_scale(x, w, columns) / self._scale(y, "results")
        self._demand_finite(scale)
        zero = self.constant(zero_name) if zero_name else np.zeros((), np.uint8)
        if zero is None or zero.dtype not in (np.dtype(np.int8), np.dtype(np.uint8)):
            raise DenseError("not-int8", "its results are not 8 bits of a constant zero point")
        point = self._scalar(zero, "results")
        return Result(
            name, np.asarray(scale, np.float32), point, zero.dtype, scales=(x, w, y)
        )  # fmt: skip

    def _product_scale(self, x: str, w: str, columns: int) -> npt.NDArray[np.float32]:
        """The scale of the sums, of which there are so many columns."""
        with np.errstate(over="ignore"):
            scale = np.asarray(
                self._scale(x, "activations") * self._scale(w, "weight", columns), np.float32
            )
        self._demand_finite(scale)
        return scale

    def _demand_finite(self, scale: npt.NDArray[np.float32]) -> None:
        if not np.isfinite(scale).all():
            raise DenseError("not-quantised", "the scale of its results is beyond float32")

    def _int_bias(self, name: str, weight: Weight) -> npt.NDArray[np.int64] | None:
        if not name:
            return None
        bias = self.constant(name)
        if bias is None or bias.dtype != np.int32:
            raise DenseError("not-quantised", "its bias is no constant of int32")
        return self._row(bias, weight).astype(np.int64)

    def _row(self, bias: Array, weight: Weight) -> Array:
        n = len(weight.values)
        if bias.size not in (1, n):
            raise DenseError("rank", f"its bias has shape {bias.shape}, not one number a column")
        return np.broadcast_to(bias.reshape(-1), (n,))

    # --- float operators between quantisers -------------------------------------------------------

    def _unwrapped(self, weight: Weight) -> Product:
        """A float operator whose operands come from DequantizeLinear."""
        source = self.producer(self.given(self.form.x), "DequantizeLinear")
        scaled, _ = self._dequantised(self.given(self.form.w))
        if source is None or scaled is None:
            what = "activations" if source is None else "weight"
            raise DenseError(
                "not-quantised",
                f"its {what} come from no DequantizeLinear"
                if source is None
                else "its weight is float",
            )
        for node in (source, scaled):
            if attribute(node, "block_size", 0):
                raise DenseError("not-int8", "it is quantised in blocks")
        weight = self._int8(weight)
        self._demand_axis(scaled, weight)
        x, x_scale = source.input[0], source.input[1]
        zero, dtype = self._zero(source.input[2] if len(source.input) > 2 else "", x)
        if zero is None:
            raise DenseError("not-quantised", "the zero point of its activations is no constant")
        scale = self._product_scale(x_scale, scaled.input[1], len(weight.values))
        if self.reader.shapes.kind(self.scope, self.node.output[0]) not in _FLOAT32:
            raise DenseError("not-quantised", "its results are no float32")
        bias, added = self._unwrapped_bias(scale, weight)
        result, nodes = self._ending(scale, added, (x_scale, scaled.input[1]))
        return self._made(x, dtype, zero, "", weight, bias, result, nodes)

    def _demand_axis(self, scaled: Any, weight: Weight) -> None:
        """Refuse scales that are not one a column of results."""
        scale = self.constant(scaled.input[1])
        if scale is None or scale.size == 1:
            return
        ndim = weight.stored.ndim
        axis = attribute(scaled, "axis", 1) % ndim
        column = ndim - 1 if weight.transposed else 0
        if scale.ndim != 1 or axis != column:
            raise DenseError(
                "zero-point-per-channel", f"its weight has scales along axis {axis}, not along N"
            )

    def _unwrapped_bias(
        self, scale: npt.NDArray[np.float32], weight: Weight
    ) -> tuple[npt.NDArray[np.int64] | None, npt.NDArray[np.float32] | None]:
        """The bias as int32 of the scale of the sums; or, if it is of another one, as float."""
        name = self.given(self.form.bias)
        if not name:
            return None, None
        source = self.producer(name, "DequantizeLinear")
        if source is not None:
            bias, own = self.constant(source.input[0]), self.constant(source.input[1])
            zero = self.constant(source.input[2]) if len(source.input) > 2 else None
            whole = bias is not None and bias.dtype == np.int32 and (zero is None or not zero.any())
            # The quantiser computes the product of the scales in its own precision.
            if whole and own is not None and np.allclose(own, scale, rtol=1e-5, atol=0):
                assert bias is not None
                return self._row(bias, weight).astype(np.int64), None
        added = self.constant(name)
        if added is None or added.dtype != np.float32:
            raise DenseError("not-quantised", "its bias is no constant of float32")
        return None, self._row(added, weight).astype(np.float32)

    def _ending(
        self,
        scale: npt.NDArray[np.float32],
        added: npt.NDArray[np.float32] | None,
        scales: tuple[str, str],
    ) -> tuple[Result, tuple[Any, ...]]:
        """The QuantizeLinear behind, if the sums can go into it at once; else floats.

        A Relu between them is what the quantiser does anyway if its zero point is its least value.
        """
        output = self.node.output[0]
        floats = Result(output, scale, added=added), (self.node,)
        if added is not None:
            return floats
        nodes, end = [self.node], self._only_user(output)
        relu = False
        if end is not None and end.op_type == "Relu" and end.domain in STANDARD:
            relu = True
            nodes.append(end)
            end = self._only_user(end.output[0])
        if end is None or end.op_type != "QuantizeLinear" or end.input[0] != nodes[-1].output[0]:
            return floats
        y_scale = self.constant(end.input[1])
        zero = self.constant(end.input[2]) if len(end.input) > 2 else np.zeros((), np.uint8)
        eight = (np.dtype(np.int8), np.dtype(np.uint8))
        if y_scale is None or zero is None or zero.size != 1 or zero.dtype not in eight:
            return floats
        if y_scale.size != 1 or y_scale.dtype != np.float32 or not _usable(y_scale):
            return floats
        if any(attribute(end, name, 0) for name in ("block_size", "output_dtype", "precision")):
            return floats
        point = int(zero.reshape(()))
        if relu and point != np.iinfo(zero.dtype).min:
            return floats
        with np.errstate(over="ignore"):
            whole = np.asarray(scale / y_scale.reshape(()), np.float32)
        if not np.isfinite(whole).all():
            return floats
        of = Result(end.output[0], whole, point, zero.dtype, scales=(*scales, end.input[1]))
        return of, (*nodes, end)

    def _only_user(self, name: str) -> Any | None:
        """The node of this graph that uses a value, if nothing else does."""
        if self.scope.users[name] != 1:
            return None
        return next(iter(self.scope.readers.get(name, ())), None)

    # --- the vendor's deploy form -----------------------------------------------------------------

    def _deployed(self, weight: Weight, source: Any) -> Product:
        """An operator on int8 between the vendor's quantisers: its results stay int32."""
        weight = self._int8(weight)
        zero = round(float(attribute(source, "offset", 0.0)))
        bias = self._int_bias(self.given(self.form.bias), weight)
        result = Result(self.node.output[0])
        x = self.given(self.form.x)
        return self._made(x, np.dtype(np.int8), zero, "", weight, bias, result, (self.node,))

    # --- geometry ---------------------------------------------------------------------------------

    def _window(self, x: str, weight: Weight) -> Window:
        """Strides, pads and dilations, with ``auto_pad`` resolved."""
        shape = self.reader.shapes.shape(self.scope, x)
        sizes = shape[2:] if shape is not None and len(shape) == 4 else (None, None)
        return window_of(self.node, weight.values.shape[2:], (sizes[0], sizes[1]))


def window_of(node: Any, kernel: tuple[int, ...], sizes: tuple[int | None, int | None]) -> Window:
    """How a convolution moves over an image of (height, width), which may be open.

    Raises:
        DenseError: it does not do so in two dimensions, or as ONNX has no way to; or the size is
            open and matters.
    """
    strides = tuple(attribute(node, "strides", (1, 1)))
    dilations = tuple(attribute(node, "dilations", (1, 1)))
    pads = tuple(attribute(node, "pads", (0, 0, 0, 0)))
    how = attribute(node, "auto_pad", "NOTSET") or "NOTSET"
    if how != "NOTSET":
        pads = (0, 0, 0, 0)
    if len(strides) != 2 or len(dilations) != 2 or len(pads) != 4:
        raise DenseError("rank", "its strides, pads and dilations are not those of two dimensions")
    if min(*strides, *dilations) < 1:
        raise DenseError("unit-limit", f"strides {strides} and dilations {dilations}: below 1")
    if how in ("SAME_UPPER", "SAME_LOWER"):
        both = [same_pads(sizes[i], kernel[i], strides[i], dilations[i], how) for i in (0, 1)]
        (top, bottom), (left, right) = both
        pads = (top, left, bottom, right)
    elif how not in ("NOTSET", "VALID"):
        raise DenseError("unit-limit", f"auto_pad {how!r} is none that ONNX has")
    return Window(strides, pads, dilations)


def _usable(scale: npt.NDArray[np.float32]) -> bool:
    """Whether all scales are numbers that something can be divided by."""
    return bool((np.isfinite(scale) & (scale > 0)).all())


def _worst(scale: npt.NDArray[np.float32]) -> float:
    """The first scale that is none."""
    return float(scale[~(np.isfinite(scale) & (scale > 0))].ravel()[0])


def same_pads(
    size: int | None, kernel: int, stride: int, dilation: int, how: str
) -> tuple[int, int]:
    """Padding before and after for ``auto_pad`` SAME_UPPER and SAME_LOWER, by ONNX's formula."""
    span = (kernel - 1) * dilation + 1
    if size is None and stride != 1:
        raise DenseError(
            "unit-limit", f"{how} with strides needs the size of the image: --input-shape"
        )
    # With stride 1 it does not depend on the size.
    positions = 1 if size is None else -(-size // stride)
    total = max((positions - 1) * stride + span - (size or 1), 0)
    half = total // 2
    return (half, total - half) if how == "SAME_UPPER" else (total - half, half)
