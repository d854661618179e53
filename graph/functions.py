"""The operators of a compiled model as functions of standard operators.

A function decodes the bytes that the hardware reads, by the selection rule of docs/format.md, and
multiplies. So every runtime of ONNX runs a compiled model, and computes from the very bytes. Only
operators are used that are the same from opset 13 on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cube24.encoder import C0, DENSE_K0, GROUP, INDEX_K0, N0, ZN_K, Layout
from cube24.graph.protos import onnx

#: The domain of our operators, and its version.
DOMAIN, VERSION = "cube24", 1

#: What the vendor calls the encoding.
ALG = "weight_sparse_4_2"

#: The oldest opset that the functions are written for.
OPSET = 13


class _Body:
    """The nodes of a function, written as calls."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        kinds = onnx().TensorProto
        self.int8, self.uint8, self.int32 = kinds.INT8, kinds.UINT8, kinds.INT32

    def __call__(
        self, op: str, *inputs: str, to: str = "", of: Sequence[str] = (), **attributes: Any
    ) -> str:
        """A node; gives its output.

        Args:
            op: of the standard.
            inputs: names.
            to: the name of the output; empty: one is made.
            of: attributes that are those of the function.
            attributes: others.
        """
        name = to or f"{op.lower()}_{len(self.nodes)}"
        node = onnx().helper.make_node(op, list(inputs), [name], **attributes)
        for each in of:
            kind = onnx().AttributeProto.INT if each in _NUMBERS else onnx().AttributeProto.INTS
            own = "value_int" if each == "offset_x" else "value_ints" if op == "Constant" else each
            added = node.attribute.add()
            added.name, added.type, added.ref_attr_name = own, kind, each
        self.nodes.append(node)
        return name

    def ints(self, *values: int) -> str:
        """Constant int64, as shapes and axes are."""
        return self("Constant", value_ints=list(values))

    def int32s(self, *values: int) -> str:
        """Constant int32, as arithmetic is done."""
        array = np.asarray(values, np.int32)
        return self("Constant", value=onnx().numpy_helper.from_array(array))

    def cast(self, value: str, kind: int) -> str:
        """A value in another type of numbers."""
        name = f"cast_{len(self.nodes)}"
        self.nodes.append(onnx().helper.make_node("Cast", [value], [name], to=kind))
        return name


#: Attributes of a function that are one number.
_NUMBERS = {"offset_x", "axis"}


# --- from bytes -----------------------------------------------------------------------------------


def _weight_rows(f: _Body, dense: str, index: str, layout: Layout) -> str:
    """Rows of int8 weights, with their padding, by the selection rule."""
    if layout == "zn":  # (K1, N1, 16, bytes): the columns of results are its second and third
        dense, index = (
            f("Flatten", f("Transpose", each, perm=[1, 2, 0, 3]), axis=2) for each in (dense, index)
        )
    # A byte of index holds the four indices of two groups, from bit 0 on.
    last = f.ints(2)
    bytes_ = f("Unsqueeze", f.cast(index, f.int32), last)
    indices = f("Mod", f("Div", bytes_, f.int32s(1, 4, 16, 64)), f.int32s(4))
    # Slot 0 selects elements 0 to 2 of the group, slot 1 elements 1 to 3.
    elements = f("Flatten", f("Add", indices, f.int32s(0, 1, 0, 1)), axis=1)
    hit = f("Equal", f("Unsqueeze", elements, last), f.int32s(*range(GROUP)))
    slots = f("Unsqueeze", f.cast(dense, f.int32), last)
    placed = f("Reshape", f("Mul", f.cast(hit, f.int32), slots), f.ints(0, -1, 2, GROUP))
    groups = f("ReduceSum", placed, last, keepdims=0)
    return f.cast(f("Flatten", groups, axis=1), f.int8)


def _zero(f: _Body) -> tuple[str, str]:
    """The zero point of the activations, which padding has too, as int8 and as int32."""
    offset = f("Constant", of=("offset_x",))
    return f.cast(offset, f.int8), f.cast(offset, f.int32)


def _conv(f: _Body, x: str, dense: str, index: str, bias: str, layout: Layout) -> None:
    rows = _weight_rows(f, dense, index, layout)
    shape = f("Constant", of=("filter_shape",))
    cout, cin, kernel_h, kernel_w = (
        f("Slice", shape, f.ints(at), f.ints(at + 1), f.ints(0)) for at in range(4)
    )
    # Rows are in the K order (C1, Kh, Kw, 32).
    c0 = f.ints(C0)
    c1 = f("Div", f("Add", cin, f.ints(C0 - 1)), c0)
    k = f("Mul", f("Mul", c1, c0), f("Mul", kernel_h, kernel_w))
    used = f("Slice", rows, f.ints(0, 0), f("Concat", cout, k, axis=0), f.ints(0, 1))
    sizes = f("Concat", cout, c1, kernel_h, kernel_w, c0, axis=0)
    blocks = f("Transpose", f("Reshape", used, sizes), perm=[0, 1, 4, 2, 3])
    sizes = f("Concat", cout, f.ints(-1), kernel_h, kernel_w, axis=0)
    weight = f("Slice", f("Reshape", blocks, sizes), f.ints(0), cin, f.ints(1))
    zero, zero32 = _zero(f)
    # Of (x - zero) * w, where padding counts 0; so zero times all of the kernel is to be added.
    sums = f("ConvInteger", x, weight, zero, of=("strides", "pads", "dilations"))
    kernel = f("ReduceSum", f.cast(weight, f.int32), f.ints(1, 2, 3), keepdims=0)
    moved = f("Add", f("Mul", kernel, zero32), bias)
    f("Add", sums, f("Reshape", moved, f.ints(-1, 1, 1)), to="y")


def _matrix(f: _Body, x: str, dense: str, index: str, bias: str, layout: Layout) -> None:
    rows = _weight_rows(f, dense, index, layout)
    shape = f("Constant", of=("filter_shape",))
    weight = f("Slice", rows, f.ints(0, 0), shape, f.ints(0, 1))
    zero, zero32 = _zero(f)
    sums = f("MatMulInteger", x, f("Transpose", weight, perm=[1, 0]), zero)
    kernel = f("ReduceSum", f.cast(weight, f.int32), f.ints(1), keepdims=0)
    f("Add", sums, f("Add", f("Mul", kernel, zero32), bias), to="y")


def _fully_connected(f: _Body, x: str, dense: str, index: str, bias: str, layout: Layout) -> None:
    _matrix(f, f("Flatten", x, of=("axis",)), dense, index, bias, layout)


# --- to bytes -------------------------------------------------------------------------------------

#: By the mask of a group's non-zeros, e0 in bit 0: the indices of slots 0 and 1, and whether slot 1
#: holds a weight (docs/format.md, "The encoding"). Masks of more than two do not occur.
_INDEX_0 = (0, 0, 1, 0, 2, 0, 1, 0, 0, 0, 1, 0, 2, 0, 0, 0)
_INDEX_1 = (0, 0, 0, 0, 0, 1, 1, 0, 2, 2, 2, 0, 2, 0, 0, 0)
_SLOT_1 = (0, 0, 0, 1, 0, 1, 1, 0, 1, 1, 1, 0, 1, 0, 0, 0)


def _compress(f: _Body, matrix: str, layout: Layout) -> None:
    """Rows (N, K) of a 2:4 weight to dense and index."""
    multiple = f.ints(N0, ZN_K) if layout == "zn" else f.ints(1, 2 * GROUP)
    size = f("Shape", matrix)
    lack = f("Mod", f("Sub", multiple, f("Mod", size, multiple)), multiple)
    rows = f("Pad", matrix, f("Concat", f.ints(0, 0), lack, axis=0))
    groups = f("Reshape", f.cast(rows, f.int32), f.ints(0, -1, GROUP))
    last = f.ints(2)
    nonzero = f.cast(f("Not", f("Equal", groups, f.int32s(0))), f.int32)
    mask = f("ReduceSum", f("Mul", nonzero, f.int32s(1, 2, 4, 8)), last, keepdims=0)
    i0, i1, used = (f("Gather", f.int32s(*each), mask) for each in (_INDEX_0, _INDEX_1, _SLOT_1))
    slot0, slot1 = (
        f(
            "ReduceSum",
            f("Mul", groups, f.cast(f("Equal", f("Unsqueeze", i, last), f.int32s(*of)), f.int32)),
            last,
        )
        for i, of in ((i0, (0, 1, 2, 3)), (i1, (-1, 0, 1, 2)))
    )
    slot1 = f("Mul", slot1, f("Unsqueeze", used, last))
    dense = f.cast(f("Flatten", f("Concat", slot0, slot1, axis=2), axis=1), f.int8)
    pairs = f("Reshape", f("Add", i0, f("Mul", i1, f.int32s(4))), f.ints(0, -1, 2))
    index = f.cast(f("ReduceSum", f("Mul", pairs, f.int32s(1, 16)), last, keepdims=0), f.uint8)
    for rows_, name, k0 in (
        (dense, "weight_compress", DENSE_K0),
        (index, "compress_index", INDEX_K0),
    ):
        if layout == "nd":
            f("Identity", rows_, to=name)
            continue
        fractal_rows = f("Transpose", f("Reshape", rows_, f.ints(0, -1, k0)), perm=[1, 0, 2])
        f("Reshape", fractal_rows, f.ints(0, -1, N0, k0), to=name)


def _compress_conv(f: _Body, weight: str, layout: Layout) -> None:
    shape, c0 = f("Shape", weight), f.ints(C0)
    cout, cin = (f("Slice", shape, f.ints(at), f.ints(at + 1), f.ints(0)) for at in (0, 1))
    kernel = f("Slice", shape, f.ints(2), f.ints(4), f.ints(0))
    lack = f("Mod", f("Sub", c0, f("Mod", cin, c0)), c0)
    pads = f("Concat", f.ints(0, 0, 0, 0, 0), lack, f.ints(0, 0), axis=0)
    sizes = f("Concat", cout, f.ints(-1), c0, kernel, axis=0)
    blocks = f("Reshape", f("Pad", weight, pads), sizes)
    rows = f("Flatten", f("Transpose", blocks, perm=[0, 1, 3, 4, 2]), axis=1)
    _compress(f, rows, layout)


# --- functions ------------------------------------------------------------------------------------

_Operator = Callable[[_Body, str, str, str, str, Layout], None]

#: The operators, as the vendor calls them: body, inputs, attributes.
_OPERATORS: dict[str, tuple[_Operator, tuple[str, ...], tuple[str, ...]]] = {
    "Conv2DCompress": (
        _conv, ("x", "filter_compress", "compress_index", "bias"),
        ("strides", "pads", "dilations", "groups", "data_format", "offset_x", "alg",
         "filter_shape", "layout"),
    ),
    "MatMulV2Compress": (
        _matrix, ("x1", "x2", "compress_index", "bias"),
        ("transpose_x1", "transpose_x2", "offset_x", "alg", "filter_shape", "layout"),
    ),
    "FullyConnectionCompress": (
        _fully_connected, ("x", "w", "compress_index", "b"),
        ("num_output", "transpose", "axis", "offset_x", "alg", "filter_shape", "layout"),
    ),
}  # fmt: skip
OPERATORS = tuple(_OPERATORS)

#: What makes the bytes: of a convolution weight, and of a matrix.
_COMPRESSORS = {"Compress": _compress_conv, "CompressFcOp": _compress}


def function(name: str, layout: Layout, opset: int) -> Any:
    """The FunctionProto of an operator.

    Args:
        name: of OPERATORS, or ``Compress`` or ``CompressFcOp``, which make the bytes.
        layout: of the bytes, the same for the whole model.
        opset: of the model; a function has to have the same.
    """
    f = _Body()
    if name in _COMPRESSORS:
        _COMPRESSORS[name](f, "weight", layout)
        inputs, outputs = ["weight"], ["weight_compress", "compress_index"]
        attributes = ["compress_parameters", "alg"]
    else:
        body, names, of = _OPERATORS[name]
        x, dense, index, bias = names
        body(f, x, dense, index, bias, layout)
        inputs, outputs, attributes = list(names), ["y"], list(of)
    helper = onnx().helper
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_function(DOMAIN, name, inputs, outputs, f.nodes, opsets, attributes)


def compress_attributes() -> list[Any]:
    """The attributes of a node that compresses: the parameters of 4:2 are none."""
    kinds = onnx().AttributeProto
    return [
        kinds(name="compress_parameters", type=kinds.INTS),
        onnx().helper.make_attribute("alg", ALG),
    ]
