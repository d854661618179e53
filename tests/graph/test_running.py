"""Running compiled models: the unit's values against integers, the rest against onnxruntime.

Expected numbers come from qlinear_oracle, exact integers that share nothing with the package, or
from onnxruntime, which knows nothing of cube24.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper
from onnx_forms import Graph
from onnx_makers import model_of, quantised_conv, quantised_matmul
from onnx_networks import STYLES, drawn_inputs, random_network, transformer
from qlinear_oracle import conv_pads, conv_sums, matmul_sums, requantise
from sparse_weights import sparse_weight

from cube24 import graph
from cube24.errors import ArgumentError, Cube24Error, FileFormatError, MissingExtraError, ShapeError
from cube24.graph.model import of_proto
from cube24.simulator import Unit

BIAS = np.array([-3000, 7, 0, 5000, 1, -1], np.int32)
SCALES = np.array([0.01, 0.02, 0.003, 0.0125, 0.017, 0.0099], np.float32)
RESTS = ("onnxruntime", "reference")


def compiled(proto: onnx.ModelProto, **how: Any) -> graph.Model:
    """The compiled model, of which all candidates are sparse."""
    found = graph.compile(of_proto(proto), sparsity=1, **how)
    assert [verdict.reason for verdict in found.verdicts if not verdict.sparse] == []
    return found.model


def network(source: onnx.ModelProto, **how: Any) -> graph.Model:
    """The compiled network, of which some layers are dense."""
    found = graph.compile(of_proto(source), sparsity=1, **how)
    assert len([verdict for verdict in found.verdicts if verdict.sparse]) > 3
    return found.model


def same_outputs(run: graph.NetworkRun, expected: Any) -> bool:
    return all(np.array_equal(run.outputs[name], value) for name, value in expected.items())


def drawn(shape: tuple[int, ...], dtype: Any, seed: int = 0) -> Any:
    limits = np.iinfo(dtype)
    return np.random.default_rng(seed).integers(limits.min, limits.max + 1, shape).astype(dtype)


#: Levels of onnxruntime: nothing folded or fused, and all that is exact.
NONE = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
EXTENDED = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED


def in_onnxruntime(
    proto: onnx.ModelProto, inputs: Any, names: Any = None, level: Any = NONE
) -> Any:
    """Values of a model, by name."""
    whole = onnx.ModelProto()
    whole.CopyFrom(proto)
    if names is not None:
        del whole.graph.output[:]
        whole.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        whole.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in whole.graph.output]
    return dict(zip(names, session.run(names, inputs), strict=True))


# --- layers ---------------------------------------------------------------------------------------

#: (type, zero point): that of the padding, as int8, is -128, 0, 127 and odd in both types.
ZEROS = [
    (np.uint8, 0), (np.uint8, 128), (np.uint8, 255), (np.uint8, 77),
    (np.int8, -128), (np.int8, 0), (np.int8, 127), (np.int8, -51),
]  # fmt: skip

WINDOWS = [
    {},
    {"strides": (2, 1), "pads": (1, 2, 0, 1)},
    {"dilations": (2, 3), "pads": (2, 0, 1, 3)},
    {"strides": (3, 2), "auto_pad": "SAME_LOWER"},
]


@pytest.mark.parametrize("layout", ["zn", "nd"])
@pytest.mark.parametrize("cin", [5, 40])
@pytest.mark.parametrize(("dtype", "zero"), ZEROS)
def test_a_convolution_gives_the_integers_of_the_oracle(dtype, zero, cin, layout):
    number = ZEROS.index((dtype, zero))
    window = WINDOWS[number % len(WINDOWS)]
    weight, x = sparse_weight((6, cin, 3, 2), number), drawn((2, cin, 8, 7), dtype, number)
    how = {"x_dtype": dtype, "x_zero": zero, "w_scale": SCALES, "y_zero": 9, "y_scale": 0.7}
    model = compiled(
        quantised_conv("QLinearConv", weight, x_shape=x.shape, bias=BIAS, **window, **how),
        layout=layout,
    )
    given = dict(window)
    if "auto_pad" in given:
        given["pads"] = conv_pads(given.pop("auto_pad"), (8, 7), (3, 2), given["strides"], (1, 1))
    sums = conv_sums(x, zero, weight, 0, BIAS, **given)
    expected = requantise(sums, 0.02, SCALES, 0.7, 9, dtype)
    run = graph.run(model, {"x": x}, rest=RESTS[number % 2])
    assert run.rest == RESTS[number % 2]
    assert np.array_equal(run.outputs["y"], expected)
    (layer,) = run.layers
    assert layer.op == "Conv2DCompress"
    assert layer.shape == expected.shape
    assert layer.layer.offset_x == zero - (128 if dtype == np.uint8 else 0)
    assert run.elsewhere == ()


@pytest.mark.parametrize("rest", RESTS)
@pytest.mark.parametrize(("dtype", "zero"), ZEROS)
def test_a_product_of_batches_gives_the_integers_of_the_oracle(dtype, zero, rest):
    k = 5 if zero % 2 else 72
    weight, x = sparse_weight((6, k), k), drawn((2, 3, k), dtype, k)
    proto = quantised_matmul(
        "QLinearMatMul", weight, x_shape=x.shape, x_dtype=dtype, x_zero=zero, w_scale=0.01
    )
    run = graph.run(compiled(proto, layout="nd" if zero else "zn"), {"x": x}, rest=rest)
    sums = matmul_sums(x, zero, weight)
    assert np.array_equal(run.outputs["y"], requantise(sums, 0.02, 0.01, 0.5, 3, dtype, 2))
    assert [(one.op, one.shape, one.layer.m) for one in run.layers] == [
        ("MatMulV2Compress", (2, 3, 6), 6)
    ]


def test_a_fully_connected_layer_gives_the_integers_of_the_oracle():
    weight, x = sparse_weight((6, 40)), drawn((4, 40), np.uint8)
    proto = quantised_matmul("QGemm", weight, x_shape=x.shape, bias=BIAS, trans_b=1, w_scale=SCALES)
    run = graph.run(compiled(proto), {"x": x})
    sums = matmul_sums(x, 128, weight, 0, BIAS)
    assert np.array_equal(run.outputs["y"], requantise(sums, 0.02, SCALES, 0.5, 3, np.uint8, 1))
    assert [layer.op for layer in run.layers] == ["FullyConnectionCompress"]


@pytest.mark.parametrize("rest", RESTS)
def test_sums_that_nothing_requantises_are_the_exact_ones(rest):
    weight, x = sparse_weight((6, 8, 1, 3)), drawn((1, 8, 5, 5), np.int8)
    proto = quantised_conv("ConvInteger", weight, x_shape=x.shape, x_dtype=np.int8, x_zero=-7)
    for requant in ("exact", "unit"):
        run = graph.run(compiled(proto), {"x": x}, rest=rest, requant=requant)
        assert run.outputs["y"].dtype == np.int32
        assert np.array_equal(run.outputs["y"], conv_sums(x, -7, weight))
        assert run.layers[0].requant is None


# --- requantisation on the unit -------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "y_zero"), [(np.int8, -128), (np.int8, 127), (np.uint8, 255)])
def test_the_unit_rounds_ties_to_even(dtype, y_zero):
    # Sums of -9 to 9 times 0.5: each odd one is a tie, and 0.5 is exact in a word.
    weight = np.zeros((2, 8), np.int8)
    weight[:, 0] = 1, -1
    x = np.zeros((19, 8), np.int8)
    x[:, 0] = np.arange(-9, 10)
    proto = quantised_matmul(
        "QGemm", weight, x_shape=x.shape, trans_b=1, x_dtype=np.int8, x_zero=0, x_scale=0.5,
        w_scale=1.0, y_scale=1.0, y_zero=y_zero, y_dtype=dtype,
    )  # fmt: skip
    run = graph.run(compiled(proto), {"x": x}, requant="unit")
    halves = np.stack([x[:, 0], -x[:, 0]], 1).astype(np.float64) / 2
    limits = np.iinfo(dtype)
    expected = np.clip(np.rint(halves) + y_zero, limits.min, limits.max).astype(dtype)
    assert np.array_equal(run.outputs["y"], expected)
    (layer,) = run.layers
    assert layer.requant.signed == (dtype == np.int8)
    assert (layer.off.one, layer.off.more, layer.off.total) == (0, 0, 38)


def rounded_to_ten_bits(scale: Any) -> Any:
    """The nearest numbers of 11 significant bits, ties to even, by arithmetic on the mantissa."""
    mantissa, exponent = np.frexp(np.asarray(scale, np.float64))
    return np.ldexp(np.rint(mantissa * 2048), exponent - 11).astype(np.float32)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_the_unit_requantises_with_the_nearest_scale_and_says_what_that_costs(dtype):
    weight, x = sparse_weight((6, 40, 3, 3)), drawn((1, 40, 24, 24), dtype)
    zero = np.iinfo(dtype).min + 100
    proto = quantised_conv(
        "QLinearConv", weight, x_shape=x.shape, bias=BIAS, x_dtype=dtype, x_zero=zero,
        w_scale=SCALES, y_scale=3.1, y_zero=zero, pads=(1, 1, 1, 1),
    )  # fmt: skip
    run = graph.run(compiled(proto), {"x": x}, requant="unit")
    sums = conv_sums(x, zero, weight, 0, BIAS, pads=(1, 1, 1, 1))
    exact = requantise(sums, 0.02, SCALES, 3.1, zero, dtype)
    scale = rounded_to_ten_bits(np.float32(0.02) * SCALES / np.float32(3.1)).reshape(1, -1, 1, 1)
    limits = np.iinfo(dtype)
    moved = np.rint(sums.astype(np.float32) * scale).astype(np.int64) + zero
    assert np.array_equal(run.outputs["y"], np.clip(moved, limits.min, limits.max))
    wrong = int((run.outputs["y"] != exact).sum())
    (layer,) = run.layers
    assert 0 < wrong == layer.off.one
    assert layer.off.more == 0
    assert layer.off.total == exact.size
    first = tuple(np.argwhere(run.outputs["y"] != exact)[0])
    assert layer.off.first == first
    assert (layer.off.got, layer.off.expected) == (run.outputs["y"][first], exact[first])


def test_a_scale_of_one_and_more_saturates_on_the_unit_too():
    weight, x = sparse_weight((6, 16)), drawn((9, 16), np.int8)
    proto = quantised_matmul(
        "QLinearMatMul", weight, x_shape=x.shape, x_dtype=np.int8, x_zero=5, x_scale=2.0,
        w_scale=1.0, y_scale=1.0, y_zero=-3,
    )  # fmt: skip
    expected = requantise(matmul_sums(x, 5, weight), 2.0, 1.0, 1.0, -3, np.int8, 1)
    run = graph.run(compiled(proto), {"x": x}, requant="unit")
    assert run.layers[0].requant is not None
    assert np.array_equal(run.outputs["y"], expected)
    assert {-128, 127} <= set(expected.ravel().tolist())


def test_no_requantisation_is_taken_from_nodes_that_others_read():
    weight, x = sparse_weight((6, 16)), drawn((9, 16), np.int8)
    proto = quantised_matmul("QLinearMatMul", weight, x_shape=x.shape, x_dtype=np.int8, x_zero=5)
    model = compiled(proto).proto
    (mul,) = [node for node in model.graph.node if node.op_type == "Mul"]
    info = helper.make_tensor_value_info(mul.output[0], onnx.TensorProto.FLOAT, (9, 6))
    model.graph.output.append(info)
    run = graph.run(of_proto(model), {"x": x}, requant="unit")
    assert run.layers[0].requant is None
    scale = np.float32(0.02) * np.float32(0.01) / np.float32(0.5)
    sums = matmul_sums(x, 5, weight)
    assert np.array_equal(run.outputs[mul.output[0]], sums.astype(np.float32) * scale)
    assert np.array_equal(run.outputs["y"], requantise(sums, 0.02, 0.01, 0.5, 3, np.int8, 1))


# --- networks -------------------------------------------------------------------------------------

NETWORKS = {
    **{
        f"cnn {style} {dtype}": lambda s=style, d=dtype: random_network(1, s, d, 64)
        for style in STYLES for dtype in ("uint8", "int8")
    },
    "transformer": lambda: transformer(0, "qoperator", "uint8", shared=True, largest=64),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_gives_what_onnxruntime_gives(name):
    source = NETWORKS[name]()
    model, inputs = network(source), drawn_inputs(source)
    told: list[int] = []
    run = graph.run(model, inputs, progress=told.append)
    nodes = [node for node in model.proto.graph.node if node.domain == "cube24"]
    assert [layer.name for layer in run.layers] == [node.name for node in nodes]
    assert sum(told) == len(nodes)
    found = graph.compare(run, of_proto(source))
    names = [output.name for output in source.graph.output]
    assert [(one.name, one.differing) for one in found.outputs] == [(name, 0) for name in names]
    assert len(found.nodes) == len(nodes)
    assert [node.differing for node in found.nodes] == [0] * len(nodes)
    assert found.good
    assert found.first is None
    assert found.floats == (len(nodes) if "qdq" in name else 0)
    assert same_outputs(run, in_onnxruntime(source, inputs, level=EXTENDED))


@pytest.mark.parametrize("rest", RESTS)
def test_a_network_of_the_standard_alone_runs_by_either_runtime(rest):
    source = random_network(2, "qdq", "uint8", 64)
    inputs = drawn_inputs(source)
    run = graph.run(network(source), inputs, rest=rest)
    found = graph.compare(run, of_proto(source))
    assert [node.differing for node in found.nodes] == [0] * len(run.layers)


@pytest.mark.parametrize(("name", "cores"), [("310B1", 1), ("dav-2201", 3)])
def test_the_cycles_of_a_network_are_those_of_its_layers(name, cores):
    source = random_network(1, "qoperator", "uint8", 64)
    model, inputs = network(source), drawn_inputs(source)
    unit = Unit(name)
    run = graph.run(model, inputs, unit, cores=cores)
    sparse = [unit.time(layer.layer, bias=True, cores=cores).cycles for layer in run.layers]
    dense = [
        unit.time(one.layer, sparse=False, bias=True, cores=cores).cycles for one in run.layers
    ]
    assert [layer.cycles.sparse for layer in run.layers] == sparse
    assert [layer.cycles.dense for layer in run.layers] == dense
    assert run.cycles == (sum(dense), sum(sparse), sum(map(min, sparse, dense)))
    untimed = graph.run(model, inputs, unit, timed=False)
    assert untimed.cycles is None
    assert {layer.cycles for layer in untimed.layers} == {None}


def test_layers_that_are_not_named_run_elsewhere():
    source = random_network(1, "qoperator", "uint8", 64)
    model, inputs = network(source), drawn_inputs(source)
    names = [layer.name for layer in graph.run(model, inputs, timed=False).layers]
    assert len(names) > 3
    run = graph.run(model, inputs, layers=(names[1], f"{names[2][:-1]}?"))
    chosen = [layer.name for layer in run.layers]
    assert names[1] in chosen
    assert names[2] in chosen
    assert len(chosen) < len(names)
    assert sorted(chosen + [one.name for one in run.elsewhere]) == sorted(names)
    assert same_outputs(run, in_onnxruntime(source, inputs))


def test_kept_compress_operators_run_elsewhere_and_say_so():
    source = random_network(1, "qoperator", "int8", 64)
    inputs = drawn_inputs(source)
    run = graph.run(network(source, keep_compress_ops=True), inputs)
    assert run.layers == ()
    assert {one.why for one in run.elsewhere} == {"its bytes are made when it runs, by a Compress"}
    assert same_outputs(run, in_onnxruntime(source, inputs))


@pytest.mark.parametrize("where", ["subgraph", "subgraph-inside", "loop"])
def test_operators_in_graphs_of_nodes_run_elsewhere_and_say_so(where):
    weight, x = sparse_weight((6, 8)), drawn((4, 8), np.uint8)
    proto = quantised_matmul("QLinearMatMul", weight, x_shape=x.shape, where=where)
    inputs = {"x": x} | ({} if where == "loop" else {"condition": np.array(True)})
    run = graph.run(compiled(proto), inputs)
    assert run.layers == ()
    assert [one.why for one in run.elsewhere] == ["it is in a graph of a node"]
    expected = requantise(matmul_sums(x, 128, weight), 0.02, 0.01, 0.5, 3, np.uint8, 1)
    assert np.array_equal(run.outputs["y"], expected)


def test_a_branch_reads_what_the_unit_made():
    # y = x @ w.T on the unit; then If, whose branch reads y from outside, and which y decides.
    weight, x = sparse_weight((4, 8)), drawn((2, 8), np.int8)
    g = Graph()
    zero = g.constant(np.int8(0), "zero")
    g.add("MatMulInteger", ["x", g.constant(np.ascontiguousarray(weight.T), "w"), zero], "sums")
    g.add("Cast", ["sums"], "wide", to=onnx.TensorProto.INT64)
    g.add("ReduceMax", ["wide"], "most", keepdims=0)
    g.add("Greater", ["most", g.constant(np.int64(-(1 << 40)), "least")], "condition")
    info = helper.make_tensor_value_info
    kind = onnx.TensorProto.INT64
    then = helper.make_graph(
        [helper.make_node("Neg", ["wide"], ["negative"])], "then", [],
        [info("negative", kind, (2, 4))],
    )  # fmt: skip
    other = helper.make_graph(
        [helper.make_node("Identity", ["wide"], ["same"])], "else", [], [info("same", kind, (2, 4))]
    )
    g.add("If", ["condition"], "y", then_branch=then, else_branch=other)
    whole = helper.make_graph(
        g.nodes, "g", [info("x", onnx.TensorProto.INT8, (2, 8))], [info("y", kind, (2, 4))],
        g.constants,
    )  # fmt: skip
    for rest in RESTS:
        run = graph.run(compiled(model_of(whole, 13)), {"x": x}, rest=rest)
        assert len(run.layers) == 1
        assert np.array_equal(run.outputs["y"], -matmul_sums(x, 0, weight))


def test_a_model_that_is_not_compiled_runs_elsewhere():
    source = random_network(1, "qoperator", "uint8", 64)
    inputs = drawn_inputs(source)
    run = graph.run(of_proto(source), inputs)
    assert (run.layers, run.elsewhere) == ((), ())
    assert run.cycles == (0, 0, 0)
    assert same_outputs(run, in_onnxruntime(source, inputs))


def test_a_model_may_give_out_its_inputs_and_constants():
    info = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, (2,))
    constant = numpy_helper.from_array(np.float32([3, 4]), "c")
    outputs = [info, helper.make_tensor_value_info("c", onnx.TensorProto.FLOAT, (2,))]
    whole = helper.make_graph([], "g", [info], outputs, [constant])
    run = graph.run(of_proto(model_of(whole, 13)), {"x": np.float32([1, 2])})
    assert {name: value.tolist() for name, value in run.outputs.items()} == {
        "x": [1, 2], "c": [3, 4]
    }  # fmt: skip


# --- comparing ------------------------------------------------------------------------------------


def flipped(model: graph.Model, name: str, at: int) -> graph.Model:
    """A copy in which one byte of a layer's dense weight is another one."""
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    (node,) = [node for node in proto.graph.node if node.name == name]
    (tensor,) = [t for t in proto.graph.initializer if t.name == node.input[1]]
    data = bytearray(tensor.raw_data)
    data[at] ^= 0x10
    tensor.raw_data = bytes(data)
    return of_proto(proto)


@pytest.mark.parametrize("requant", ["exact", "unit"])
def test_the_first_node_that_differs_is_the_one_that_was_changed(requant):
    source = random_network(1, "qoperator", "uint8", 64)
    model, inputs = network(source), drawn_inputs(source)
    names = [node.name for node in model.proto.graph.node if node.domain == "cube24"]
    changed = flipped(model, names[2], 3)
    run = graph.run(changed, inputs, requant=requant)
    found = graph.compare(run, of_proto(source))
    # What onnxruntime gives for the changed file, where nothing before the node differs.
    (value,) = [node.name for node in found.nodes if node.node == names[2]]
    expected = in_onnxruntime(source, inputs, [value])[value]
    got = in_onnxruntime(changed.proto, inputs, [value])[value]
    places = np.argwhere(got != expected)
    assert len(places)
    worst = [node for node in found.nodes if node.more]
    assert [node.node for node in worst] == [names[2]]
    assert not found.good
    if requant == "exact":
        assert found.first.node == names[2]
        assert found.first.first == tuple(places[0])
        assert found.first.got == got[tuple(places[0])]
        assert found.first.expected == expected[tuple(places[0])]
        assert found.first.differing == len(places)
        assert found.first.total == got.size
        assert [node.node for node in found.nodes if node.differing] == [names[2]]


def test_nodes_of_one_name_are_compared_each_on_its_own():
    source = random_network(2, "qdq", "uint8", 64)
    for node in source.graph.node:
        node.name = "same"  # which onnxruntime refuses, and the evaluator of onnx does not
    run = graph.run(network(source), drawn_inputs(source), rest="reference")
    found = graph.compare(run, of_proto(source))
    assert len(run.layers) == len(found.nodes) == len({node.name for node in found.nodes})


def test_requantisation_on_the_unit_is_good_while_no_node_is_off_by_more_than_one():
    source = random_network(1, "qoperator", "uint8", 64)
    model, inputs = network(source), drawn_inputs(source)
    run = graph.run(model, inputs, requant="unit")
    found = graph.compare(run, of_proto(source))
    assert found.good
    assert {node.more for node in found.nodes} == {0}
    assert [output.differing for output in found.exact] == [0] * len(run.outputs)
    rounded = graph.run(network(source, requant="unit"), inputs, requant="unit")
    assert {layer.off.one for layer in rounded.layers} == {0}
    found = graph.compare(rounded, of_proto(source))
    assert found.good
    assert found.exact == ()


def test_another_model_is_no_reference():
    source = random_network(1, "qoperator", "uint8", 64)
    run = graph.run(network(source), drawn_inputs(source), timed=False)
    other = quantised_matmul("QLinearMatMul", sparse_weight((6, 8)), x_shape=(4, 8))
    other.graph.input[0].name = other.graph.node[0].input[0] = "z"
    with pytest.raises(ArgumentError, match="has no output 'map'"):
        graph.compare(run, of_proto(other))
    for node in source.graph.node:
        node.input[:] = ["z" if name == "x" else name for name in node.input]
    source.graph.input[0].name = "z"
    with pytest.raises(ArgumentError, match="has no input 'x'; its inputs are 'z'"):
        graph.compare(run, of_proto(source))


# --- refusals -------------------------------------------------------------------------------------


def small() -> tuple[graph.Model, Any]:
    x = drawn((1, 8, 5, 5), np.int8)
    proto = quantised_conv(
        "QLinearConv", sparse_weight((6, 8, 3, 3)), x_shape=("batch", 8, 5, 5), x_dtype=np.int8,
        x_zero=1, bias=BIAS,
    )  # fmt: skip
    return compiled(proto), x


@pytest.mark.parametrize(
    ("inputs", "kind", "said"),
    [
        (lambda x: {}, ArgumentError, "input 'x' is missing"),
        (lambda x: {"x": x, "z": x}, ArgumentError, "has no input 'z'; its inputs are 'x'"),
        (lambda x: {"x": x.astype(np.uint8)}, ArgumentError, "has dtype uint8, not int8"),
        (lambda x: {"x": x[0]}, ShapeError, r"has shape \(8, 5, 5\), not \(batch, 8, 5, 5\)"),
        (lambda x: {"x": x[:, :7]}, ShapeError, r"has shape \(1, 7, 5, 5\), not"),
    ],
)
def test_inputs_that_do_not_fit_are_refused_by_name(inputs, kind, said):
    model, x = small()
    with pytest.raises(kind, match=said):
        graph.run(model, inputs(x))


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"rest": "tensorrt"}, "rest 'tensorrt': choose onnxruntime or reference"),
        ({"requant": "both"}, "requant 'both': choose 'exact' or 'unit'"),
        ({"layers": ("none*",)}, "no layer is named 'none.'; its layers: y"),
        ({"layers": ()}, "layers: name one or more"),
        ({"cores": 0}, "cores is 0"),
        ({"cores": 99}, "cores 99: dav-2201 has 1 to"),
        ({"cores": 2, "timed": False}, "they matter for the cycles only"),
        ({"unit": Unit("dav-3510")}, "dav-3510 has no 2:4 sparsity"),
    ],
)
def test_an_option_that_cannot_be_obeyed_is_refused(how, said):
    model, x = small()
    with pytest.raises(Cube24Error, match=said):
        graph.run(model, {"x": x}, **how)


def attribute(node: Any, name: str, value: Any) -> None:
    kept = [found for found in node.attribute if found.name != name]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute(name, value)])


def tensor(proto: Any, node: Any, at: int, change: Any) -> None:
    (found,) = [t for t in proto.graph.initializer if t.name == node.input[at]]
    changed = numpy_helper.from_array(change(numpy_helper.to_array(found)), found.name)
    found.CopyFrom(changed)


def version(proto: Any, node: Any) -> None:
    (found,) = [each for each in proto.opset_import if each.domain == "cube24"]
    found.version = 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda p, n: tensor(p, n, 1, lambda a: a[:, :, :8]), "node 'y' .*dense has shape"),
        (lambda p, n: tensor(p, n, 2, lambda a: a.reshape(-1)), "node 'y' .*index has shape"),
        (lambda p, n: tensor(p, n, 1, lambda a: a.view(np.uint8)), "dense has dtype uint8"),
        (lambda p, n: tensor(p, n, 2, lambda a: a | 0x0C), "node 'y' .*index"),
        (lambda p, n: tensor(p, n, 3, lambda a: a[:5]), r"bias is int32 \(5,\), not int32 \(6,\)"),
        (lambda p, n: attribute(n, "filter_shape", [6, 8, 3]), "node 'y' .*shape"),
        (lambda p, n: attribute(n, "layout", "nz"), "node 'y' .*layout"),
        (lambda p, n: attribute(n, "alg", "weight_unzip"), "alg is 'weight_unzip'"),
        (lambda p, n: attribute(n, "groups", 2), "groups is 2; it can be 1 only"),
        (lambda p, n: attribute(n, "offset_x", 128), "node 'y' .*offset_x"),
        (lambda p, n: attribute(n, "strides", [1]), "node 'y' .*strides"),
        (version, "domain cube24 are of version 2; this cube24 reads 1"),
    ],
)
def test_a_file_that_was_changed_is_refused_by_the_name_of_the_node(change, said):
    model, x = small()
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    (node,) = [node for node in proto.graph.node if node.domain == "cube24"]
    change(proto, node)
    with pytest.raises(FileFormatError, match=said):
        graph.run(graph.Model("changed.onnx", proto), {"x": x})


def test_what_the_runtime_cannot_run_is_one_line():
    source = random_network(1, "qoperator", "uint8", 64)  # of operators of onnxruntime alone
    with pytest.raises(FileFormatError, match=r"reference cannot run it: [^\n]*$"):
        graph.run(network(source), drawn_inputs(source), rest="reference")


def test_without_onnxruntime_the_evaluator_of_onnx_runs_the_rest(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    model, x = small()
    run = graph.run(model, {"x": x})
    assert run.rest == "reference"
    sums = conv_sums(x, 1, sparse_weight((6, 8, 3, 3)), 0, BIAS)
    assert np.array_equal(run.outputs["y"], requantise(sums, 0.02, 0.01, 0.5, 3, np.int8))
    with pytest.raises(MissingExtraError, match=r"onnxruntime: pip install 'cube24\[onnx\]'"):
        graph.run(model, {"x": x}, rest="onnxruntime")


def test_the_words_of_a_unit_must_hold_the_zero_point():
    _, x = small()
    unit = Unit()
    unit.config = unit.config.__class__(**{**vars(unit.config), "requant_offset": "unsigned"})
    proto = quantised_conv(
        "QLinearConv", sparse_weight((6, 8, 3, 3)), x_shape=(1, 8, 5, 5), x_dtype=np.int8,
        x_zero=1, y_zero=-3,
    )  # fmt: skip
    with pytest.raises(FileFormatError, match="node 'y': FIXPIPE cannot requantise it"):
        graph.run(compiled(proto), {"x": x}, unit, requant="unit")


def test_a_layer_that_the_unit_does_not_have_is_named():
    proto = quantised_conv(
        "QLinearConv", sparse_weight((6, 8, 3, 3)), x_shape=("b", 8, "h", "w"), x_dtype=np.int8,
        x_zero=1,
    )  # fmt: skip
    with pytest.raises(FileFormatError, match=r"node 'y' .*kernel"):
        graph.run(compiled(proto), {"x": drawn((1, 8, 2, 2), np.int8)})
