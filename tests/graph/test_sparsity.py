"""The pass, against integers: a compiled model computes what its source does, to the bit.

Expected numbers come from qlinear_oracle, exact integers that share nothing with the package. The
compiled models run in onnxruntime and in the reference evaluator of onnx, neither of which knows
cube24, and the bytes in them run on the simulated unit: three ways to one result.
"""

from __future__ import annotations

import itertools
import os
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx_makers import PLACES, quantised_conv, quantised_matmul
from qlinear_oracle import conv_pads, conv_sums, matmul_sums, requantise
from sparse_weights import as_uint8, dense_weight, sparse_weight

from cube24 import graph
from cube24.encoder import SparseWeight, encode, encode_conv
from cube24.errors import ArgumentError, FileFormatError
from cube24.graph.model import of_proto
from cube24.graph.rounding import to_unit_scale
from cube24.simulator import Conv2d, Matmul, Unit

BIAS = np.array([-3000, 7, 0, 5000, 1, -1], np.int32)
SCALES = np.array([0.01, 0.02, 0.003, 0.0125, 0.017, 0.0099], np.float32)

#: Of onnxruntime, by the level of optimisation: nothing folded or fused, and all that is exact.
LEVELS = (
    onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
)


def compiled(proto: onnx.ModelProto, **how: Any) -> onnx.ModelProto:
    """The compiled model; all of its candidates are sparse."""
    found = graph.compile(of_proto(proto), sparsity=1, **how)
    assert [verdict.reason for verdict in found.verdicts if not verdict.sparse] == []
    onnx.checker.check_model(found.model.proto, full_check=True)
    return found.model.proto


def in_onnxruntime(proto: onnx.ModelProto, level: Any = LEVELS[1], **inputs: Any) -> Any:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, inputs)


def drawn(shape: tuple[int, ...], dtype: Any, seed: int = 0) -> Any:
    limits = np.iinfo(dtype)
    rng = np.random.default_rng(seed)
    return rng.integers(limits.min, limits.max + 1, shape).astype(dtype)


def tensor_of(proto: onnx.ModelProto, name: str) -> Any:
    return numpy_helper.to_array(next(t for t in proto.graph.initializer if t.name == name))


def node_of(proto: onnx.ModelProto) -> Any:
    """The one compressed node, and its attributes."""
    (node,) = [n for n in proto.graph.node if n.domain == "cube24" and "Compress" in n.op_type]
    return node, {a.name: helper.get_attribute_value(a) for a in node.attribute}


def on_the_unit(proto: onnx.ModelProto, x: Any) -> Any:
    """The compressed node, from the bytes in the file, on the simulated unit."""
    node, says = node_of(proto)
    dense, index, bias = (tensor_of(proto, name) for name in node.input[1:])
    conv = node.op_type == "Conv2DCompress"
    shape, layout = tuple(says["filter_shape"]), says["layout"].decode()
    weight = SparseWeight(dense, index, shape, layout, "conv" if conv else "matrix")
    if conv:
        layer: Any = Conv2d.of(
            x.shape, shape, strides=says["strides"], pads=says["pads"],
            dilations=says["dilations"], offset_x=says["offset_x"],
        )  # fmt: skip
    else:
        layer = Matmul.of(x.shape, shape)
    return Unit().run(layer, x, weight, bias=bias).output


# --- each form, each place ------------------------------------------------------------------------

ZEROS = [(np.uint8, 0), (np.uint8, 128), (np.uint8, 255), (np.uint8, 77), (np.int8, -128),
         (np.int8, 0), (np.int8, 127), (np.int8, -37)]  # fmt: skip


@pytest.mark.parametrize(("dtype", "zero"), ZEROS)
@pytest.mark.parametrize("form", ["QLinearConv", "ConvInteger", "qdq"])
def test_a_convolution_in_each_form(form: str, dtype: Any, zero: int) -> None:
    weight = sparse_weight((6, 12, 3, 2), largest=64)
    bias = BIAS if form != "ConvInteger" else None
    proto = quantised_conv(
        form, weight, x_shape=(2, 12, 6, 7), bias=bias, strides=(2, 1), pads=(1, 0, 2, 1),
        x_dtype=dtype, x_zero=zero, w_scale=SCALES, y_scale=0.7, y_zero=5,
    )  # fmt: skip
    x = drawn((2, 12, 6, 7), dtype)
    sums = conv_sums(x, zero, weight, 0, bias, (2, 1), (1, 0, 2, 1))
    wanted = sums if form == "ConvInteger" else requantise(sums, 0.02, SCALES, 0.7, 5, dtype)
    for layout in ("zn", "nd"):
        out = compiled(proto, layout=layout)
        for level in LEVELS:
            (got,) = in_onnxruntime(out, level, x=x)
            assert np.array_equal(got, wanted)


@pytest.mark.parametrize(("dtype", "zero"), ZEROS)
@pytest.mark.parametrize(
    ("form", "how"),
    [
        ("QLinearMatMul", {}), ("MatMulInteger", {}), ("QGemm", {}), ("QGemm", {"trans_b": 1}),
        ("qdq-matmul", {}), ("qdq-gemm", {}), ("qdq-gemm", {"trans_b": 1}),
    ],
)  # fmt: skip
def test_a_product_in_each_form(form: str, how: dict[str, Any], dtype: Any, zero: int) -> None:
    weight = sparse_weight((6, 37), largest=64)
    bias = BIAS if "emm" in form else None
    proto = quantised_matmul(
        form, weight, x_shape=(5, 37), bias=bias, x_dtype=dtype, x_zero=zero, w_scale=SCALES,
        y_scale=0.7, y_zero=5, **how,
    )  # fmt: skip
    x = drawn((5, 37), dtype)
    sums = matmul_sums(x, zero, weight, 0, bias)
    wanted = sums if form == "MatMulInteger" else requantise(sums, 0.02, SCALES, 0.7, 5, dtype)
    for layout in ("zn", "nd"):
        out = compiled(proto, layout=layout)
        for level in LEVELS:
            (got,) = in_onnxruntime(out, level, x=x)
            assert np.array_equal(got, wanted)


@pytest.mark.parametrize(
    "where", [place for place in PLACES if place not in ("external", "listed")]
)
@pytest.mark.parametrize("form", ["QLinearConv", "qdq", "QLinearMatMul"])
def test_a_weight_in_each_place(form: str, where: str) -> None:
    stored = np.uint8 if where != "quantised" else np.int8
    conv = form != "QLinearMatMul"
    weight = sparse_weight((6, 12, 3, 2) if conv else (6, 36), largest=64)
    given = as_uint8(weight) if stored == np.uint8 else weight
    w_zero = 128 if stored == np.uint8 else 0
    maker: Any = quantised_conv if conv else quantised_matmul
    shape = (2, 12, 6, 7) if conv else (5, 36)
    proto = maker(form, given, x_shape=shape, w_zero=w_zero, where=where)
    inputs = {}
    for value in proto.graph.input:
        dims = tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
        dtype = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        inputs[value.name] = np.ones(dims, dtype) if dtype == np.bool_ else drawn(dims, dtype)
    wanted = in_onnxruntime(proto, **inputs)
    out = compiled(proto)
    for got, expected in zip(in_onnxruntime(out, **inputs), wanted, strict=True):
        assert np.array_equal(got, expected)
    back = graph.decompile(of_proto(out)).proto
    assert back.SerializeToString(deterministic=True) == proto.SerializeToString(deterministic=True)


def test_a_weight_that_a_caller_may_replace_is_no_constant_but_before_ir_4() -> None:
    proto = quantised_conv(
        "QLinearConv", sparse_weight((6, 12, 3, 2), largest=64), x_shape=(1, 12, 6, 7),
        where="listed",
    )  # fmt: skip
    (verdict,) = graph.compile(of_proto(proto), sparsity=1).verdicts
    assert verdict.reason == "dynamic-weight"
    assert "an input of the model" in verdict.detail
    for given in proto.graph.initializer:  # of which each is an input then
        if given.name not in {value.name for value in proto.graph.input}:
            info = helper.make_tensor_value_info(given.name, given.data_type, given.dims)
            proto.graph.input.append(info)
    proto.ir_version = 3
    x = drawn((1, 12, 6, 7), np.uint8)
    out = compiled(proto)
    assert [value.name for value in out.graph.input] == ["x"]
    assert np.array_equal(in_onnxruntime(out, x=x)[0], in_onnxruntime(proto, x=x)[0])


@pytest.mark.parametrize("where", ["subgraph", "subgraph-inside", "loop"])
@pytest.mark.parametrize("form", ["QLinearConv", "qdq"])
def test_in_a_graph_of_a_node_too_nothing_is_left_of_what_was_replaced(
    form: str, where: str
) -> None:
    weight = sparse_weight((6, 12, 3, 2), largest=64)
    proto = quantised_conv(form, weight, x_shape=(2, 12, 6, 7), where=where)
    data = weight.tobytes()
    assert data in proto.SerializeToString()
    assert data not in compiled(proto).SerializeToString()


# --- the operator, enumerated ---------------------------------------------------------------------

OFFSETS = (-128, 0, 127, -37)
GEOMETRY = [
    (strides, pads, dilations, auto_pad)
    for strides, dilations in itertools.product([(1, 1), (2, 3)], [(1, 1), (2, 1)])
    for pads, auto_pad in [
        ((0, 0, 0, 0), None), ((1, 2, 0, 1), None), (None, "SAME_UPPER"), (None, "SAME_LOWER"),
        (None, "VALID"),
    ]
]  # fmt: skip


@pytest.mark.parametrize("offset", OFFSETS)
@pytest.mark.parametrize("cin", [5, 40])
def test_the_unit_the_function_and_integers_agree_on_convolutions(offset: int, cin: int) -> None:
    weight = sparse_weight((6, cin, 3, 2), seed=cin)
    x = drawn((1, cin, 8, 9), np.int8)
    for layout, (strides, pads, dilations, how) in itertools.product(("zn", "nd"), GEOMETRY):
        proto = quantised_conv(
            "ConvInteger", weight, x_shape=x.shape, strides=strides, pads=pads,
            dilations=dilations, auto_pad=how, x_dtype=np.int8, x_zero=offset,
        )  # fmt: skip
        out = compiled(proto, layout=layout)
        real = pads or conv_pads(how or "", (8, 9), (3, 2), strides, dilations)
        wanted = conv_sums(x, offset, weight, 0, None, strides, real, dilations)
        _, says = node_of(out)
        assert says["offset_x"] == offset
        assert np.array_equal(in_onnxruntime(out, x=x)[0], wanted), (strides, pads, how)
        assert np.array_equal(on_the_unit(out, x), wanted), (strides, pads, how)


@pytest.mark.parametrize("offset", OFFSETS)
def test_the_unit_the_function_and_integers_agree_on_every_tail_of_k(offset: int) -> None:
    for k in (*range(1, 20), 31, 32, 33, 63, 64, 65, 127, 129):
        weight = sparse_weight((5, k), seed=k)
        x = drawn((3, k), np.int8, k)
        proto = quantised_matmul(
            "MatMulInteger", weight, x_shape=x.shape, x_dtype=np.int8, x_zero=offset
        )
        for layout in ("zn", "nd"):
            out = compiled(proto, layout=layout)
            wanted = matmul_sums(x, offset, weight)
            assert np.array_equal(in_onnxruntime(out, x=x)[0], wanted), k
            assert np.array_equal(on_the_unit(out, x), wanted), k


@pytest.mark.parametrize("layout", ["zn", "nd"])
def test_the_reference_evaluator_of_onnx_agrees(layout: str) -> None:
    weight, x = sparse_weight((6, 12, 3, 2)), drawn((2, 12, 6, 7), np.int8)
    proto = quantised_conv(
        "ConvInteger", weight, x_shape=x.shape, strides=(2, 1), x_dtype=np.int8, x_zero=-37
    )
    (got,) = ReferenceEvaluator(compiled(proto, layout=layout)).run(None, {"x": x})
    assert np.array_equal(got, conv_sums(x, -37, weight, strides=(2, 1)))
    matrix, rows = sparse_weight((6, 37)), drawn((5, 37), np.int8)
    proto = quantised_matmul("MatMulInteger", matrix, x_shape=rows.shape, x_dtype=np.int8, x_zero=9)
    (got,) = ReferenceEvaluator(compiled(proto, layout=layout)).run(None, {"x": rows})
    assert np.array_equal(got, matmul_sums(rows, 9, matrix))


@pytest.mark.parametrize("layout", ["zn", "nd"])
@pytest.mark.parametrize("shape", [(6, 12, 3, 2), (17, 40, 1, 1), (6, 37), (33, 129), (1, 5)])
def test_operators_that_compress_give_the_bytes_of_the_encoder(
    shape: tuple[int, ...], layout: Any
) -> None:
    weight = sparse_weight(shape)
    x_shape = (1, shape[1], 6, 7) if len(shape) == 4 else (2, shape[1])
    maker: Any = quantised_conv if len(shape) == 4 else quantised_matmul
    form = "ConvInteger" if len(shape) == 4 else "MatMulInteger"
    out = compiled(maker(form, weight, x_shape=x_shape), layout=layout, keep_compress_ops=True)
    (node,) = [n for n in out.graph.node if n.op_type in ("Compress", "CompressFcOp")]
    assert node.op_type == ("Compress" if len(shape) == 4 else "CompressFcOp")
    says = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    assert says == {"compress_parameters": [], "alg": b"weight_sparse_4_2"}
    for name in node.output:
        out.graph.output.append(onnx.ValueInfoProto(name=name))
    x = drawn(x_shape, np.uint8)
    _, dense, index = in_onnxruntime(out, x=x)
    wanted = (encode_conv if len(shape) == 4 else encode)(weight, layout=layout)
    assert np.array_equal(dense, wanted.dense)
    assert np.array_equal(index, wanted.index)


def test_each_pattern_of_a_group_is_compressed_as_the_table_says() -> None:
    groups = [g for g in itertools.product((0, 3, -7), repeat=4) if sum(map(bool, g)) <= 2]
    weight = np.array(groups, np.int8).reshape(-1, 4)
    weight = np.concatenate([weight, weight[::-1]], axis=1)
    proto = quantised_matmul("MatMulInteger", weight, x_shape=(1, 8))
    out = compiled(proto, layout="nd", keep_compress_ops=True)
    for name in ("weight/dense", "weight/index"):
        out.graph.output.append(onnx.ValueInfoProto(name=name))
    _, dense, index = in_onnxruntime(out, x=drawn((1, 8), np.uint8))
    wanted = encode(weight)
    assert np.array_equal(dense, wanted.dense)
    assert np.array_equal(index, wanted.index)


# --- what the model looks like --------------------------------------------------------------------


def test_the_operators_are_named_and_described_as_the_vendor_does() -> None:
    conv = compiled(
        quantised_conv(
            "QLinearConv", sparse_weight((6, 12, 3, 2)), x_shape=(1, 12, 6, 7), x_zero=100,
            strides=(2, 1), pads=(1, 0, 2, 1), bias=BIAS,
        )
    )  # fmt: skip
    node, says = node_of(conv)
    assert (node.op_type, node.domain, len(node.input), len(node.output)) == (
        "Conv2DCompress", "cube24", 4, 1,
    )  # fmt: skip
    assert says == {
        "strides": [2, 1], "pads": [1, 0, 2, 1], "dilations": [1, 1], "groups": 1,
        "data_format": b"NCHW", "offset_x": -28, "alg": b"weight_sparse_4_2",
        "filter_shape": [6, 12, 3, 2], "layout": b"zn",
    }  # fmt: skip
    assert tensor_of(conv, node.input[1]).dtype == np.int8
    assert tensor_of(conv, node.input[2]).dtype == np.uint8
    sums = sparse_weight((6, 12, 3, 2)).astype(int).sum((1, 2, 3))
    assert np.array_equal(tensor_of(conv, node.input[3]), BIAS + 28 * sums)
    matmul, says = node_of(
        compiled(quantised_matmul("QLinearMatMul", sparse_weight((6, 37)), x_shape=(5, 37)))
    )
    assert matmul.op_type == "MatMulV2Compress"
    assert says == {
        "transpose_x1": 0, "transpose_x2": 0, "offset_x": 0, "alg": b"weight_sparse_4_2",
        "filter_shape": [6, 37], "layout": b"zn",
    }  # fmt: skip
    gemm, says = node_of(
        compiled(quantised_matmul("QGemm", sparse_weight((6, 37)), x_shape=(5, 37), x_zero=3))
    )
    assert gemm.op_type == "FullyConnectionCompress"
    assert says == {
        "num_output": 6, "transpose": 0, "axis": 1, "offset_x": -125, "alg": b"weight_sparse_4_2",
        "filter_shape": [6, 37], "layout": b"zn",
    }  # fmt: skip
    assert [o.version for o in conv.opset_import if o.domain == "cube24"] == [1]
    assert conv.ir_version >= 8


def test_a_shared_weight_is_encoded_once() -> None:
    proto = quantised_conv(
        "QLinearConv", sparse_weight((12, 12, 3, 3)), x_shape=(1, 12, 6, 7), where="shared"
    )
    out = compiled(proto)
    nodes = [node for node in out.graph.node if node.domain == "cube24"]
    assert len(nodes) == 2
    assert nodes[0].input[1:3] == nodes[1].input[1:3]
    assert len({t.name for t in out.graph.initializer if t.name.endswith("/dense")}) == 1


def test_what_is_replaced_is_gone_and_what_is_used_elsewhere_stays() -> None:
    proto = quantised_conv("qdq", sparse_weight((6, 12, 3, 2)), x_shape=(1, 12, 6, 7), bias=BIAS)
    out = compiled(proto)
    names = {tensor.name for tensor in out.graph.initializer}
    assert "weight" not in names
    assert [node.op_type for node in out.graph.node].count("DequantizeLinear") == 0
    # The weight itself is an output of the model too.
    kept = onnx.ModelProto()
    kept.CopyFrom(proto)
    kept.graph.node.append(helper.make_node("Identity", ["weight"], ["seen"]))
    kept.graph.output.append(helper.make_tensor_value_info("seen", 3, (6, 12, 3, 2)))
    assert "weight" in {tensor.name for tensor in compiled(kept).graph.initializer}


def test_the_source_stays_as_it_is() -> None:
    proto = quantised_conv("QLinearConv", sparse_weight((6, 12, 3, 2)), x_shape=(1, 12, 6, 7))
    before = proto.SerializeToString(deterministic=True)
    model = of_proto(proto)
    graph.compile(model, sparsity=1, snap_scales=True)
    assert model.proto.SerializeToString(deterministic=True) == before
    found = graph.compile(model)
    assert found.model.proto.SerializeToString(deterministic=True) == before
    assert [verdict.reason for verdict in found.verdicts] == [None]


def test_names_that_are_taken_are_not_taken_again() -> None:
    proto = quantised_conv("QLinearConv", sparse_weight((6, 12, 3, 2)), x_shape=(1, 12, 6, 7))
    taken = ("y/bias", "weight/dense", "weight/index", "cube24/128", "y/scale")
    for name in (*taken, f"{proto.graph.node[0].input[4]}/snapped"):
        proto.graph.initializer.append(numpy_helper.from_array(np.float32(7), name))
    x = drawn((1, 12, 6, 7), np.uint8)
    wanted = in_onnxruntime(proto, x=x)[0]
    assert np.array_equal(in_onnxruntime(compiled(proto), x=x)[0], wanted)
    source = graph.compile(of_proto(proto), snap_scales=True).model.proto
    wanted = in_onnxruntime(source, x=x)[0]
    assert np.array_equal(in_onnxruntime(compiled(proto, snap_scales=True), x=x)[0], wanted)


@pytest.mark.parametrize("opset", [10, 11, 12, 13, 17, 19, min(21, onnx.defs.onnx_opset_version())])
def test_each_opset_is_compiled(opset: int) -> None:
    weight = sparse_weight((6, 12, 3, 2), largest=64)
    proto = quantised_conv("QLinearConv", weight, x_shape=(1, 12, 6, 7), opset=opset, ends="float")
    x = np.random.default_rng(1).normal(size=(1, 12, 6, 7)).astype(np.float32)
    out = compiled(proto)
    assert max(opset, 13) in [o.version for o in out.opset_import if o.domain == ""]
    for got, wanted in zip(in_onnxruntime(out, x=x), in_onnxruntime(proto, x=x), strict=True):
        assert np.array_equal(got, wanted)
    back = graph.decompile(of_proto(out)).proto
    assert back.SerializeToString(deterministic=True) == proto.SerializeToString(deterministic=True)


def test_a_dynamic_zero_point_is_taken_away_when_it_is_known() -> None:
    weight = sparse_weight((6, 37), largest=64)
    x = np.random.default_rng(3).normal(size=(5, 37)).astype(np.float32)
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"]),
        helper.make_node("MatMulInteger", ["q", "w", "zero"], ["y"], name="m"),
    ]
    info = helper.make_tensor_value_info
    proto = helper.make_model(
        helper.make_graph(
            nodes, "g", [info("x", 1, x.shape)], [info("y", 6, (5, 6))],
            [numpy_helper.from_array(np.ascontiguousarray(weight.T), "w")],
        ),
        opset_imports=[helper.make_opsetid("", 13)], ir_version=8,
    )  # fmt: skip
    out = compiled(proto)
    assert np.array_equal(in_onnxruntime(out, x=x)[0], in_onnxruntime(proto, x=x)[0])


@pytest.mark.parametrize(
    ("form", "trans_b"), [("qdq-matmul", None), ("qdq-gemm", 0), ("qdq-gemm", 1)]
)
@pytest.mark.parametrize("names", [("Transpose",), ("Identity", "Transpose", "Identity")])
def test_a_transpose_behind_the_scales_of_a_weight(
    form: str, trans_b: int | None, names: tuple[str, ...]
) -> None:
    # As PyTorch exports a linear layer: its weight is (N, K), and the scales are along N.
    weight = sparse_weight((6, 37), largest=64)
    bias = BIAS if form == "qdq-gemm" else None
    proto = quantised_matmul(
        form, weight, bias=bias, x_shape=(5, 37), w_scale=SCALES, y_scale=0.7, trans_b=trans_b
    )
    (scaled,) = [n for n in proto.graph.node if n.input[0] == "weight"]
    (axis,) = [a for a in scaled.attribute if a.name == "axis"]
    axis.i = 1 - axis.i
    stored = next(t for t in proto.graph.initializer if t.name == "weight")
    stored.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(stored).T.copy(), "weight"))
    at = next(i for i, n in enumerate(proto.graph.node) if scaled.output[0] in n.input)
    name = scaled.output[0]
    for number, op in enumerate(names):
        # onnxruntime 1.24 ends the process if perm is left out here.
        how = {"perm": [1, 0]} if op == "Transpose" else {}
        made = helper.make_node(op, [name], [f"turned{number}"], name=f"turned{number}", **how)
        proto.graph.node.insert(at + number, made)
        name = made.output[0]
    proto.graph.node[at + len(names)].input[1] = name
    x = drawn((5, 37), np.uint8)
    wanted = requantise(matmul_sums(x, 128, weight, 0, bias), 0.02, SCALES, 0.7, 3, np.uint8)
    out = compiled(proto)
    assert [node.op_type for node in out.graph.node].count("DequantizeLinear") == 0
    for level in LEVELS:
        assert np.array_equal(in_onnxruntime(out, level, x=x)[0], wanted)
    back = graph.decompile(of_proto(out)).proto
    assert back.SerializeToString(deterministic=True) == proto.SerializeToString(deterministic=True)
    source = graph.compile(of_proto(proto), snap_scales=True).model.proto
    snapped, both = (compiled(proto, snap_scales=True, requant=r) for r in ("exact", "unit"))
    assert in_onnxruntime(snapped, x=x)[0].tolist() == in_onnxruntime(source, x=x)[0].tolist()
    assert in_onnxruntime(both, x=x)[0].tolist() == in_onnxruntime(source, x=x)[0].tolist()


@pytest.mark.parametrize("how", [{"pads": [1, 2, 0, 1]}, {"auto_pad": "SAME_UPPER"}, {}])
def test_padding_with_a_dynamic_zero_point_holds_that_point(how: dict[str, Any]) -> None:
    weight = sparse_weight((6, 12, 3, 2), largest=64)
    x = np.random.default_rng(4).normal(1, 2, size=(1, 12, 6, 7)).astype(np.float32)
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"]),
        helper.make_node("ConvInteger", ["q", "w", "zero"], ["y"], strides=[1, 2], **how),
    ]
    info = helper.make_tensor_value_info
    proto = helper.make_model(
        helper.make_graph(
            nodes, "g", [info("x", 1, x.shape)], [info("y", 6, (1, 6, None, None))],
            [numpy_helper.from_array(weight, "w")],
        ),
        opset_imports=[helper.make_opsetid("", 13)], ir_version=8,
    )  # fmt: skip
    # By the rules of the operator DynamicQuantizeLinear.
    low, high = min(0, float(x.min())), max(0, float(x.max()))
    scale = np.float32(np.float32(high - low) / np.float32(255))
    zero = int(np.rint(np.float32(-np.float32(low) / scale)))
    q = np.clip(np.rint(x / scale) + zero, 0, 255).astype(np.uint8)
    pads = how.get("pads") or conv_pads(
        how.get("auto_pad", "VALID"), (6, 7), (3, 2), (1, 2), (1, 1)
    )
    wanted = conv_sums(q, zero, weight, 0, None, (1, 2), pads)
    for level in LEVELS:
        (got,) = in_onnxruntime(compiled(proto), level, x=x)
        assert np.array_equal(got, wanted)
    (verdict,) = graph.check(of_proto(proto)).verdicts
    assert verdict.layer is not None
    assert verdict.layer.output == wanted.shape


def test_a_float_bias_and_results_that_nobody_quantises_stay_floats() -> None:
    weight = sparse_weight((6, 12, 1, 1), largest=64)
    proto = quantised_conv("qdq", weight, x_shape=(1, 12, 3, 3), bias=BIAS, w_scale=SCALES)
    (quantise,) = [n for n in proto.graph.node if n.op_type == "QuantizeLinear"]
    proto.graph.node.remove(quantise)
    (conv,) = [n for n in proto.graph.node if n.op_type == "Conv"]
    conv.output[0] = "y"
    proto.graph.output[0].type.tensor_type.elem_type = 1
    floats = np.linspace(-1, 1, 6, dtype=np.float32)
    x = drawn((1, 12, 3, 3), np.uint8)
    by = np.float32(0.02) * SCALES
    for bias, added in ((BIAS, 0), (None, floats)):
        if bias is None:
            proto.graph.initializer.append(numpy_helper.from_array(floats, "floats"))
            conv.input[2] = "floats"
        sums = conv_sums(x, 128, weight, 0, bias).astype(np.float32)
        wanted = sums * by.reshape(-1, 1, 1) + np.reshape(added, (-1, 1, 1))
        (got,) = in_onnxruntime(compiled(proto), LEVELS[0], x=x)
        assert np.array_equal(got, wanted.astype(np.float32))


def test_a_relu_before_the_quantiser_is_taken_in_or_left() -> None:
    weight = sparse_weight((6, 12, 1, 1), largest=64)
    x = drawn((1, 12, 3, 3), np.uint8)
    for y_zero, left in ((0, 0), (9, 1)):
        proto = quantised_conv("qdq", weight, x_shape=(1, 12, 3, 3), y_zero=y_zero)
        at = next(i for i, n in enumerate(proto.graph.node) if n.op_type == "Conv") + 1
        proto.graph.node[at].input[0] = "after"
        name = proto.graph.node[at - 1].output[0]
        proto.graph.node.insert(at, helper.make_node("Relu", [name], ["after"], name="relu"))
        out = compiled(proto)
        assert [node.op_type for node in out.graph.node].count("Relu") == left
        sums = np.maximum(conv_sums(x, 128, weight), 0)
        if not left:
            wanted = requantise(sums, 0.02, 0.01, 0.5, y_zero, np.uint8)
            assert np.array_equal(in_onnxruntime(out, x=x)[0], wanted)


# --- scales ---------------------------------------------------------------------------------------


def nearest_of_a_word(scale: float) -> float:
    """Of the numbers with 10 bits of mantissa, the nearest; ties to the even one."""
    mantissa, exponent = np.frexp(float(scale))
    return float(np.ldexp(np.rint(mantissa * 2**11), int(exponent) - 11))


def test_a_scale_is_rounded_to_the_nearest_that_a_word_holds() -> None:
    rng = np.random.default_rng(5)
    scales = np.exp(rng.normal(-5, 3, 4000)).astype(np.float32)
    ties = np.float32([1 + 2**-11, 1 + 3 * 2**-11, 1.5 + 2**-11, 1, 0.75])
    for scale in (*scales, *ties):
        assert float(to_unit_scale(scale)) == nearest_of_a_word(scale)
    moved = np.abs(to_unit_scale(scales).astype(np.float64) / scales - 1)
    assert moved.max() <= 2**-11


@pytest.mark.parametrize("form", ["QLinearConv", "qdq"])
def test_requantisation_as_the_unit_does_it(form: str) -> None:
    weight = sparse_weight((6, 12, 3, 2), largest=64)
    proto = quantised_conv(form, weight, x_shape=(1, 12, 20, 20), bias=BIAS, w_scale=SCALES)
    x = drawn((1, 12, 20, 20), np.uint8)
    sums = conv_sums(x, 128, weight, 0, BIAS)
    exact = [float(np.float32(np.float32(0.02) * s) / np.float32(0.5)) for s in SCALES]
    scale = np.float32([nearest_of_a_word(s) for s in exact]).reshape(-1, 1, 1)
    wanted = np.clip(np.rint(sums.astype(np.float32) * scale) + 3, 0, 255)
    (got,) = in_onnxruntime(compiled(proto, requant="unit"), x=x)
    assert np.array_equal(got, wanted)
    (other,) = in_onnxruntime(proto, x=x)
    assert np.abs(got.astype(int) - other).max() <= 1


@pytest.mark.parametrize("form", ["QLinearConv", "qdq", "QLinearMatMul", "qdq-gemm"])
@pytest.mark.parametrize("where", ["initializer", "shared"])
def test_snapped_scales_make_both_ways_the_same(form: str, where: str) -> None:
    conv = form in ("QLinearConv", "qdq")
    weight = sparse_weight((6, 6, 3, 2) if conv else (6, 6), largest=64)
    bias = None if form == "QLinearMatMul" else BIAS
    maker: Any = quantised_conv if conv else quantised_matmul
    shape = (1, 6, 20, 20) if conv else (40, 6)
    how = {"x_shape": shape, "w_scale": SCALES, "where": where}
    proto = maker(form, weight, **how) if bias is None else maker(form, weight, bias=bias, **how)
    x = drawn(shape, np.uint8)
    source = graph.compile(of_proto(proto), snap_scales=True).model.proto
    onnx.checker.check_model(source, full_check=True)
    wanted = in_onnxruntime(source, x=x)
    for requant in ("exact", "unit"):
        out = compiled(proto, snap_scales=True, requant=requant)
        for got, expected in zip(in_onnxruntime(out, x=x), wanted, strict=True):
            assert np.array_equal(got, expected)
        back = graph.decompile(of_proto(out)).proto
        assert back.SerializeToString(deterministic=True) == source.SerializeToString(
            deterministic=True
        )
    # The scales of weights themselves have moved by 2^-11 at most.
    old, new = (
        sorted(float(v) for t in p.graph.initializer if t.dims and t.name.find("scale") >= 0
               and len(t.dims) == 1 and t.dims[0] == 6 for v in numpy_helper.to_array(t))
        for p in (proto, source)
    )  # fmt: skip
    assert min(new) >= min(old) * (1 - 2**-11)
    assert max(new) <= max(old) * (1 + 2**-11)


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (
            {"sparsity": 2},
            "E10006 Value 2 for parameter --sparsity is invalid. The value must be either 1 or 0.",
        ),
        ({"sparsity": True}, "Value True for parameter --sparsity is invalid"),
        ({"layout": "xy"}, "choose 'zn' or 'nd'"),
        ({"requant": "fast"}, "choose 'exact' or 'unit'"),
        ({"select": "best"}, "choose 'legal' or 'faster'"),
        ({"strict": 1}, "True or False"), ({"snap_scales": "no"}, "True or False"),
        ({"keep_compress_ops": 0}, "True or False"),
        ({"sparsity": 0, "layout": "nd"}, "say sparsity=1"),
        ({"sparsity": 0, "requant": "unit"}, "say sparsity=1"),
        ({"sparsity": 0, "keep_compress_ops": True}, "say sparsity=1"),
    ],
)  # fmt: skip
def test_an_option_that_is_none_is_refused(how: dict[str, Any], said: str) -> None:
    proto = quantised_conv("QLinearConv", sparse_weight((6, 12, 3, 2)), x_shape=(1, 12, 6, 7))
    with pytest.raises(ArgumentError) as error:
        graph.compile(of_proto(proto), **{"sparsity": 1, **how})
    assert said in str(error.value)


def test_strict_refuses_what_could_be_sparse() -> None:
    proto = quantised_conv("QLinearConv", dense_weight((6, 12, 3, 2)), x_shape=(1, 12, 6, 7))
    with pytest.raises(graph.CompileError, match="y: not-2:4: 108 of 288 groups") as error:
        graph.compile(of_proto(proto), sparsity=1, strict=True)
    assert error.value.reasons == {"y": "not-2:4"}
    few = quantised_conv("QLinearConv", dense_weight((6, 3, 3, 2)), x_shape=(1, 3, 6, 7))
    assert not graph.compile(of_proto(few), sparsity=1, strict=True).verdicts[0].sparse


def test_a_compiled_model_is_not_compiled_again() -> None:
    proto = quantised_conv("QLinearConv", sparse_weight((6, 12, 3, 2)), x_shape=(1, 12, 6, 7))
    out = compiled(proto)
    with pytest.raises(ArgumentError, match="is compiled already"):
        graph.compile(of_proto(out), sparsity=1)


def test_a_changed_model_does_not_give_its_source_back() -> None:
    proto = quantised_conv("QLinearConv", sparse_weight((6, 12, 3, 2)), x_shape=(1, 12, 6, 7))
    with pytest.raises(FileFormatError, match="remembers no source"):
        graph.decompile(of_proto(proto))
    out = compiled(proto)
    tensor = next(t for t in out.graph.initializer if t.name == "weight/dense")
    tensor.raw_data = bytes([tensor.raw_data[0] ^ 1]) + tensor.raw_data[1:]
    with pytest.raises(FileFormatError, match="'weight/dense' was changed"):
        graph.decompile(of_proto(out))
    for value in ("", "{}", "[1]", '{"version": 2}', '{"version": 1, "fillings": 3, "model": "x"}'):
        out.metadata_props[0].value = value
        with pytest.raises(FileFormatError):
            graph.decompile(of_proto(out))


def test_two_processes_compile_to_the_same_bytes() -> None:
    proto = quantised_conv("qdq", sparse_weight((6, 12, 3, 2)), x_shape=(1, 12, 6, 7), bias=BIAS)
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        os.write(writer, compiled(proto).SerializeToString())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        there = file.read()
    os.waitpid(child, 0)
    assert there == compiled(proto).SerializeToString()


def test_a_compiled_model_knows_its_constants():
    proto = quantised_matmul("QLinearMatMul", sparse_weight((6, 8)), x_shape=(4, 8))
    model = graph.compile(of_proto(proto), sparsity=1).model
    assert {t.name for t in model.proto.graph.initializer} == model.main.initializers.keys()
