"""The pass: nodes with 2:4 weights become operators that read dense and index bytes, and back.

What the vendor's converter does with ``--sparsity=1``, for ONNX. The compiled model computes what
the source does, to the bit, and runs anywhere: functions.py. It carries what it took out, in its
metadata, so that decompile gives back the source byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from cube24.encoder import Layout, encode, encode_conv
from cube24.errors import ArgumentError, FileFormatError, counted
from cube24.graph import functions, origin
from cube24.graph.folding import FOLDABLE
from cube24.graph.functions import ALG, DOMAIN, OPSET, VERSION
from cube24.graph.model import Model, Names, Scope, of_proto, one_line
from cube24.graph.nodes import Product, Reader, Result
from cube24.graph.protos import STANDARD, onnx
from cube24.graph.rounding import snapped, to_unit_scale
from cube24.graph.sweeping import sweep
from cube24.graph.verdicts import Select, Verdict, judge
from cube24.simulator import Unit
from cube24.sizes import truth

#: How results are requantised: as onnxruntime does, or with the scale that the unit's words hold.
Requantise = Literal["exact", "unit"]

#: The least IR version that has functions in a model.
_IR_VERSION = 8


@dataclass(frozen=True, eq=False)
class Compiled:
    """A compiled model, and the verdict on each of its candidates."""

    model: Model
    verdicts: tuple[Verdict, ...]


def compile(
    model: Model,
    *,
    sparsity: int = 0,
    layout: Layout = "zn",
    select: Select = "legal",
    skip: Sequence[str] = (),
    skip_type: Sequence[str] = (),
    keep_compress_ops: bool = False,
    requant: Requantise = "exact",
    snap_scales: bool = False,
    strict: bool = False,
    unit: Unit | None = None,
    progress: Callable[[int], object] = lambda done: None,
) -> Compiled:
    """Replace the nodes whose weights are 2:4 by operators on compressed weights.

    Args:
        model: stays as it is.
        sparsity: 0: every weight stays as it is; 1: those that are 2:4 are compressed.
        layout: of the compressed weights: ``zn``, which the hardware reads, or ``nd``.
        select, skip, skip_type: as for :func:`cube24.graph.check`.
        keep_compress_ops: weights stay int8 behind operators that compress them when the model is
            loaded, as the vendor's converter shows them, and are not folded into constants.
        requant: ``exact``: results as onnxruntime's quantised operators have them; ``unit``: with
            scales rounded to the 10 bits of mantissa that a word of the unit holds.
        snap_scales: move the scales of weights, by 4.9e-4 at most, so that the scales of results
            are such numbers; then both are the same.
        strict: refuse a model with a candidate that could be sparse and is not.
        unit: for limits, and the cycles that ``select`` needs; None: dav-2201.
        progress: told after each candidate.

    Returns:
        The compiled model, with no node changed if sparsity is 0; and the verdicts.

    Raises:
        ArgumentError: an option that does not exist, or that is about compressed weights where
            sparsity is 0; with the vendor's words for sparsity.
        CompileError: strict, and a candidate stays dense that need not.
        FileFormatError: the model is of an opset below 13 and cannot be converted to it.
    """
    if isinstance(sparsity, bool) or sparsity not in (0, 1):
        raise ArgumentError(
            f"E10006 Value {sparsity} for parameter --sparsity is invalid. "
            f"The value must be either 1 or 0."
        )
    if layout not in ("zn", "nd"):
        raise ArgumentError(f"layout {layout!r}: choose 'zn' or 'nd'")
    if requant not in ("exact", "unit"):
        raise ArgumentError(f"requant {requant!r}: choose 'exact' or 'unit'")
    keep = truth(keep_compress_ops, "keep_compress_ops")
    if not sparsity and (layout != "zn" or keep or requant != "exact"):
        raise ArgumentError(
            "layout, keep_compress_ops and requant are about compressed weights; say sparsity=1"
        )
    if truth(snap_scales, "snap_scales"):
        model = snapped(model)
    copy = model.copy()
    if sparsity and any(each.domain == DOMAIN for each in copy.proto.opset_import):
        raise ArgumentError(f"{model.path}: is compiled already; decompile it first")
    if sparsity and copy.opset < OPSET:
        copy = _converted(copy)
    reader = Reader(copy)
    verdicts = judge(
        reader, select=select, skip=skip, skip_type=skip_type, unit=unit or Unit(), timed=False,
        progress=progress,
    )  # fmt: skip
    if truth(strict, "strict") and (bad := [v for v in verdicts if v.mendable]):
        raise CompileError(bad)
    chosen = [verdict for verdict in verdicts if verdict.sparse]
    if sparsity and chosen:
        pass_ = _Pass(copy, layout, requant, keep)
        for verdict in chosen:
            pass_.replace(verdict)
        pass_.finish(model)
        copy = Model(copy.path, copy.proto, copy.files)  # which knows its new constants
    return Compiled(copy, verdicts)


class CompileError(ArgumentError):
    """A model whose candidates are not all sparse, and could be.

    Attributes: reasons, by the names of the nodes.
    """

    def __init__(self, verdicts: Sequence[Verdict]) -> None:
        """Name the first ones."""
        self.reasons = {verdict.candidate.name: str(verdict.reason) for verdict in verdicts}
        lines = [f"{counted(len(verdicts), 'node')} could be sparse and not all are"]
        lines += [f"  {v.candidate.name}: {v.reason}: {v.detail}" for v in verdicts[:5]]
        super().__init__("\n".join(lines))


def decompile(model: Model) -> Model:
    """The model that a compiled one was made from: byte for byte what compile read.

    The weights come from the dense and index bytes.

    Raises:
        FileFormatError: it was not compiled by cube24, or changed since so that its weights cannot
            be had back.
    """
    return Model(model.path, origin.restored(model), model.files)


def _converted(model: Model) -> Model:
    """The model with operators of opset 13, which functions have to share with it."""
    try:
        proto = onnx("onnx.version_converter").convert_version(model.proto, OPSET)
    except Exception as error:  # of onnx, and of what it is written in
        raise FileFormatError(
            model.path, f"opset {model.opset} cannot be converted to {OPSET}: {one_line(error)}"
        ) from error
    return of_proto(proto, model.path)


@dataclass(eq=False)
class _Pass:
    """The work on one model; its graphs are changed in place."""

    model: Model
    layout: Layout
    requant: Requantise
    keep: bool
    _new: dict[int, list[Any]] = field(default_factory=dict)  # by the node that they replace
    _gone: set[int] = field(default_factory=set)
    _front: list[Any] = field(default_factory=list)  # nodes of the main graph, before all others
    _encoded: dict[tuple[int, str, bool, int | None], tuple[str, str]] = field(default_factory=dict)
    _signed: dict[tuple[int, str], str] = field(default_factory=dict)
    _shared: dict[str, str] = field(default_factory=dict)
    _names: Names = field(init=False)
    _upstream: list[tuple[Scope, str]] = field(default_factory=list)  # what replaced nodes took
    _operators: set[str] = field(default_factory=set)
    _replaced: list[origin.Replaced] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Know the names that are taken."""
        self._names = Names(self.model)

    # --- one node ---------------------------------------------------------------------------------

    def replace(self, verdict: Verdict) -> None:
        """Make the nodes that stand in the place of a candidate."""
        found, product = verdict.candidate, verdict.candidate.product
        assert product is not None
        base = found.node.name or found.node.output[0]
        nodes: list[Any] = []
        x = self._int8(found.scope, product, nodes)
        if product.transpose_x:
            x = self._node(nodes, "Transpose", [x], f"{base}/transposed", perm=[1, 0])
        zero = self._zero(base, product, nodes) if product.x_zero is None else ""
        if any(product.padding):
            x = self._padded(base, product, x, zero, nodes)
        dense, index = self._weight(found.scope, product)
        # nodes.py has refused what does not fit.
        bias = self._constant(f"{base}/bias", product.moved_bias.astype(np.int32))
        sums = f"{base}/sums" if product.result.scale is not None or product.x_zero is None else ""
        sums = self._names.free(sums) if sums else product.result.name
        nodes.append(
            onnx().helper.make_node(
                verdict.compressed, [x, dense, index, bias], [sums], name=base, domain=DOMAIN,
                **self._attributes(verdict.compressed, product),
            )
        )  # fmt: skip
        self._operators.add(verdict.compressed)
        if product.x_zero is None:
            sums = self._less_zero(base, product, sums, zero, nodes)
        self._result(base, product, sums, nodes)
        first, *others = product.nodes
        self._new[id(first)] = nodes
        self._gone |= {id(node) for node in others}
        self._upstream += [(found.scope, name) for node in product.nodes for name in node.input]

    def _attributes(self, operator: str, product: Product) -> dict[str, Any]:
        shape = list(product.weight.values.shape)
        ours = {
            "offset_x": product.offset,
            "alg": ALG,
            "filter_shape": shape,
            "layout": self.layout,
        }
        if product.window is not None:
            window = product.window
            return {
                "strides": list(window.strides), "pads": list(window.pads),
                "dilations": list(window.dilations), "groups": 1, "data_format": "NCHW",
            } | ours  # fmt: skip
        if operator == "MatMulV2Compress":
            return {"transpose_x1": 0, "transpose_x2": 0} | ours
        return {"num_output": shape[0], "transpose": 0, "axis": 1} | ours

    def _int8(self, scope: Scope, product: Product, nodes: list[Any]) -> str:
        """The activations as int8; uint8 less 128, once for all nodes of a graph."""
        if not product.unsigned:
            return product.x
        key = (id(scope), product.x)
        if key not in self._signed:
            kinds, name = onnx().TensorProto, f"{product.x}/int8"
            wide = self._node(nodes, "Cast", [product.x], f"{name}/wide", to=kinds.INT32)
            half = self._constant("cube24/128", np.int32(128), shared=True)
            less = self._node(nodes, "Sub", [wide, half], f"{name}/less_128")
            self._signed[key] = self._node(nodes, "Cast", [less], name, to=kinds.INT8)
        return self._signed[key]

    def _weight(self, scope: Scope, product: Product) -> tuple[str, str]:
        """The names of the dense and index bytes; the same weight is encoded once."""
        weight = product.weight
        key = (id(scope.home(weight.name)), weight.name, weight.transposed, weight.zero)
        if key in self._encoded:
            return self._encoded[key]
        encoder = encode if product.window is None else encode_conv
        values = np.ascontiguousarray(weight.values)
        sparse = encoder(values, layout=self.layout)
        names = self._names.free(f"{weight.name}/dense"), self._names.free(f"{weight.name}/index")
        if self.keep:
            operator = "Compress" if product.window is not None else "CompressFcOp"
            source = self._constant(f"{weight.name}/int8", values)
            self._operators.add(operator)
            made = onnx().helper.make_node(
                operator, [source], list(names), name=f"{weight.name}/{operator}", domain=DOMAIN
            )
            made.attribute.extend(functions.compress_attributes())
            self._front.append(made)
        else:
            self._constant(names[0], sparse.dense, named=True)
            self._constant(names[1], sparse.index, named=True)
        self._encoded[key] = names
        self._replaced.append(origin.Replaced(weight, product.window is not None, *names))
        return names

    def _zero(self, base: str, product: Product, nodes: list[Any]) -> str:
        """A zero point that is known when the model runs, of int8 activations, as int32."""
        kinds = onnx().TensorProto
        zero = self._node(nodes, "Cast", [product.x_zero_name], f"{base}/zero", to=kinds.INT32)
        if not product.unsigned:
            return zero
        half = self._constant("cube24/128", np.int32(128), shared=True)
        return self._node(nodes, "Sub", [zero, half], f"{base}/zero_less_128")

    def _padded(self, base: str, product: Product, x: str, zero: str, nodes: list[Any]) -> str:
        """Activations with such a zero point around them, for the operator pads with a constant."""
        top, left, bottom, right = product.padding
        pads = np.array([0, 0, top, left, 0, 0, bottom, right], np.int64)
        names = self._constant(f"{base}/pads", pads)
        value = self._node(nodes, "Cast", [zero], f"{base}/padding", to=onnx().TensorProto.INT8)
        return self._node(nodes, "Pad", [x, names, value], f"{base}/padded")

    def _less_zero(
        self, base: str, product: Product, sums: str, zero: str, nodes: list[Any]
    ) -> str:
        """Take the part of such a zero point away from the sums."""
        rows = product.weight_sums.astype(np.int32)
        of = self._constant(f"{base}/weight_sums", self._columns(rows, product))
        moved = self._node(nodes, "Mul", [zero, of], f"{base}/moved")
        name = product.result.name if product.result.scale is None else f"{base}/moved_sums"
        return self._node(nodes, "Sub", [sums, moved], name, named=product.result.scale is None)

    def _result(self, base: str, product: Product, sums: str, nodes: list[Any]) -> None:
        """What becomes of the sums, in operators of the standard."""
        result = product.result
        if result.scale is None:
            return
        kinds = onnx().TensorProto
        scale = result.scale
        if self.requant == "unit" and result.dtype is not None:
            scale = to_unit_scale(scale)
        floats = self._node(nodes, "Cast", [sums], f"{base}/float", to=kinds.FLOAT)
        by = self._constant(f"{base}/scale", self._columns(scale, product))
        last = result.dtype is None and result.added is None
        name = result.name if last else f"{base}/scaled"
        scaled = self._node(nodes, "Mul", [floats, by], name, named=last)
        if last:
            return
        if result.dtype is None:
            assert result.added is not None
            added = self._constant(f"{base}/added", self._columns(result.added, product))
            self._node(nodes, "Add", [scaled, added], result.name, named=True)
            return
        self._quantise(base, result, scaled, product, nodes)

    def _quantise(
        self, base: str, result: Result, scaled: str, product: Product, nodes: list[Any]
    ) -> None:
        """Round half to even, move by the zero point, and saturate."""
        assert result.dtype is not None
        assert result.scale is not None
        limits = np.iinfo(result.dtype)
        if float(np.abs(result.scale).max(initial=0)) >= 1:
            # Sums of 2^31 that grow leave the integers of some runtimes.
            low = self._constant(f"{base}/least", np.float32(limits.min - result.zero))
            high = self._constant(f"{base}/most", np.float32(limits.max - result.zero))
            scaled = self._node(nodes, "Clip", [scaled, low, high], f"{base}/clipped")
        one = self._constant("cube24/1", np.float32(1), shared=True)
        zero = self._constant(f"{base}/zero_point", np.asarray(result.zero, result.dtype))
        self._node(nodes, "QuantizeLinear", [scaled, one, zero], result.name, named=True)

    @staticmethod
    def _columns(array: npt.NDArray[Any], product: Product) -> npt.NDArray[Any]:
        """One number a column of results, in a shape that goes with them."""
        return array.reshape(1, -1, 1, 1) if product.window is not None and array.ndim else array

    # --- names and constants ----------------------------------------------------------------------

    def _constant(
        self, wanted: str, value: Any, *, shared: bool = False, named: bool = False
    ) -> str:
        """An initializer of the main graph, which graphs inside of it know too."""
        if shared and wanted in self._shared:
            return self._shared[wanted]
        name = wanted if named else self._names.free(wanted)
        if shared:
            self._shared[wanted] = name
        array = np.ascontiguousarray(value).reshape(np.shape(value))
        self.model.proto.graph.initializer.append(onnx().numpy_helper.from_array(array, name))
        return name

    def _node(
        self,
        nodes: list[Any],
        op: str,
        inputs: list[str],
        output: str,
        *,
        named: bool = False,
        **more: Any,
    ) -> str:
        """A node of the standard, named as its output, which it gives."""
        name = output if named else self._names.free(output)
        nodes.append(
            onnx().helper.make_node(
                op, inputs, [name], name=self._names.free(f"{name}/{op}"), **more
            )
        )
        return name

    # --- the whole model --------------------------------------------------------------------------

    def finish(self, source: Model) -> None:
        """Put the new nodes in, take out what nobody uses any more, and add the functions."""
        proto = self.model.proto
        upstream = self._all_upstream()
        for scope in reversed(self.model.scopes):  # graphs inside first: the outer one is copied
            nodes = []
            for node in list(scope.graph.node):
                nodes += self._new.get(id(node), [] if id(node) in self._gone else [node])
            del scope.graph.node[:]
            scope.graph.node.extend(nodes if scope.parent else self._front + nodes)
        sweep(proto.graph, upstream)
        if source.proto.ir_version < 4:  # initializers were inputs too
            constants = {tensor.name for tensor in source.proto.graph.initializer}
            inputs = [given for given in proto.graph.input if given.name not in constants]
            del proto.graph.input[:]
            proto.graph.input.extend(inputs)
        proto.ir_version = max(proto.ir_version, _IR_VERSION)
        added = proto.opset_import.add()
        added.domain, added.version = DOMAIN, VERSION
        proto.functions.extend(
            functions.function(name, self.layout, self.model.opset)
            for name in sorted(self._operators)
        )
        origin.remember(proto, source, self._replaced)

    def _all_upstream(self) -> set[str]:
        """Names that only served what was replaced, or may have."""
        found: set[str] = set()
        todo, seen = list(self._upstream), set()
        while todo:
            scope, name = todo.pop()
            home = scope.home(name) if name else None
            if home is None or (id(home), name) in seen:
                continue
            seen.add((id(home), name))
            found.add(name)
            node = home.producers.get(name)
            if node is not None and node.domain in STANDARD and node.op_type in FOLDABLE:
                todo += [(home, given) for given in node.input]
        return found
