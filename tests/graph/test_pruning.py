"""Models are pruned along Cin or K, and nothing else in them changes.

What must come out is the model that the makers give for a weight that pruning_oracle has pruned.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import oracle
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx_forms import CONV_FORMS, FLOAT_FORMS, MATMUL_FORMS, Graph, Numbers, add_matmul
from onnx_makers import PLACES, model_of, quantised_conv, quantised_matmul
from pruning_oracle import error, fitted, mask_of, pruned, windows
from qlinear_oracle import conv_pads
from sparse_weights import dense_weight, flattened_weight, wrong_axis_weight
from verdict_models import VERDICTS

from cube24 import graph
from cube24.errors import ArgumentError, Cube24Error
from cube24.graph.model import of_proto

rng = np.random.default_rng(24)


def prune(proto: Any, **options: Any) -> graph.PrunedModel:
    """Prune a ModelProto; it stays as it is, and the pruned one is well-formed."""
    before = proto.SerializeToString(deterministic=True)
    found = graph.prune(of_proto(proto), **options)
    assert proto.SerializeToString(deterministic=True) == before
    of_proto(found.model.proto)
    return found


def same(one: Any, other: Any) -> bool:
    return bool(
        one.SerializeToString(deterministic=True) == other.SerializeToString(deterministic=True)
    )


def constant(proto: Any, name: str) -> Any:
    """An initialiser of the main graph."""
    return numpy_helper.to_array(next(t for t in proto.graph.initializer if t.name == name))


def ends(proto: Any, seed: int = 5) -> list[Any]:
    """What a model gives for inputs drawn from a seed."""
    draw = np.random.default_rng(seed)
    feeds = {}
    for each in proto.graph.input:
        if each.name in {t.name for t in proto.graph.initializer}:
            continue
        kind = each.type.tensor_type
        shape = [dim.dim_value for dim in kind.shape.dim]
        dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type)
        feeds[each.name] = (
            draw.normal(size=shape).astype(dtype)
            if dtype.kind == "f"
            else draw.integers(0, 2, shape).astype(dtype)
            if dtype.kind == "b"
            else draw.integers(0, 100, shape).astype(dtype)
        )
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return list(session.run(None, feeds))


# --- magnitude ------------------------------------------------------------------------------------

#: Where the tensor that stands in the model can be changed in place, in its own form.
IN_PLACE = [place for place in PLACES if place not in ("typed", "concat")]

#: Places of whole numbers alone; that whose data stand in a file; and what is no constant.
_WHOLE, _OTHER = ("cast", "chain", "quantised"), ("external", "listed")


@pytest.mark.parametrize(
    ("form", "place"),
    [
        (form, place)
        for form in (*CONV_FORMS, *MATMUL_FORMS)
        for place in PLACES
        if place not in _OTHER and not (form in FLOAT_FORMS and place in _WHOLE)
    ],
)
def test_all_forms_and_places_of_a_weight(form: str, place: str) -> None:
    conv = form in CONV_FORMS
    shape = (6, 11, 3, 2) if conv else (6, 23)
    make, x = (quantised_conv, (1, 11, 6, 5)) if conv else (quantised_matmul, (3, 23))
    weight = dense_weight(shape, seed=3, largest=9)  # so that there are ties
    how: dict[str, Any] = {"x_shape": x, "where": place}
    if "deploy" in form:
        how |= {"x_dtype": np.int8, "x_zero": -9}
    found = prune(make(form, weight, **how))
    wanted = make(form, pruned(weight), **how)
    assert not found.left
    (layer,) = found.layers
    assert layer.shape == shape
    assert layer.weights == (pruned(weight) == 0).sum()
    if place in IN_PLACE:
        assert same(found.model.proto, wanted)  # to the last byte
    elif "deploy" not in form:  # whose operators nothing runs
        given = ends(found.model.proto)
        assert all(map(np.array_equal, given, ends(wanted)))
    if form not in FLOAT_FORMS:
        assert all(verdict.sparse for verdict in graph.check(found.model, timed=False).verdicts)


@pytest.mark.parametrize("zero", [0, 1, 128, 131])
def test_what_counts_is_the_weight_less_its_zero_point(zero: int) -> None:
    stored = np.abs(dense_weight((6, 20), seed=1)).astype(np.uint8) * np.uint8(2)
    found = prune(
        quantised_matmul("QLinearMatMul", stored, x_shape=(2, 20), w_zero=zero, w_scale=0.01)
    )
    wanted = oracle.keep_all(stored.astype(int) - zero, "magnitude") + zero
    assert np.array_equal(constant(found.model.proto, "weight"), wanted.T)
    assert constant(found.model.proto, "weight").dtype == np.uint8


@pytest.mark.parametrize("form", ["QLinearConv", "qdq"])
def test_each_channel_may_have_a_zero_point_of_its_own(form: str) -> None:
    zeros = np.array([100, 110, 120, 128, 131, 255], np.uint8)
    less = dense_weight((6, 12, 2, 2), seed=1, largest=90).astype(int)
    less[-1] = -abs(less[-1])
    each = zeros.astype(int).reshape(-1, 1, 1, 1)
    how: dict[str, Any] = {
        "x_shape": (1, 12, 4, 4), "w_zero": zeros, "w_scale": np.full(6, 0.01, np.float32),
    }  # fmt: skip
    found = prune(quantised_conv(form, (less + each).astype(np.uint8), **how))
    wanted = quantised_conv(form, (pruned(less) + each).astype(np.uint8), **how)
    assert same(found.model.proto, wanted)


@pytest.mark.parametrize("zero", [0, 9])
def test_integers_behind_a_scale_and_a_transpose_stay_integers(zero: int) -> None:
    """So the model does not grow, and what least squares give is rounded."""
    less = dense_weight((6, 20), seed=3, largest=90)

    def scaled(weight: Any) -> Any:
        g = Graph()
        g.constant(weight + np.int8(zero), "w")
        floats = g.dequantise("w", 0.5, zero, np.int8, "scaled")
        g.add("Gemm", ["x", g.add("Transpose", [floats], "turned", perm=[1, 0])], "y")
        info = helper.make_tensor_value_info
        ends = info("x", TensorProto.FLOAT, [4, 20]), info("y", TensorProto.FLOAT, [4, 6])
        body = helper.make_graph(g.nodes, "g", ends[:1], ends[1:], g.constants)
        return model_of(body, 13)

    found = prune(scaled(less))
    assert found.groups
    assert same(found.model.proto, scaled(pruned(less)))
    x = rng.normal(size=(4, 20)).astype(np.float32)
    new = prune(scaled(less), method="reconstruct", calibration=[{"x": x}]).model.proto
    fit = fitted(less * 0.5, mask_of(less), x.astype(np.float64))
    assert new.graph.node[-1].input[1] == "turned"
    got = constant(new, "w").astype(int) - zero
    assert np.array_equal(got == 0, np.isclose(np.rint(fit / 0.5), 0))
    inside = np.clip(fit / 0.5 + zero, -128, 127) - zero
    assert np.abs(got - inside).max() <= 0.5 + 1e-3


def test_scales_and_a_transpose_are_copied_behind_a_weight_of_its_own() -> None:
    less = dense_weight((6, 20), seed=3, largest=90)
    g = Graph()
    g.constant(less, "w")
    floats = g.dequantise("w", 0.5, 0, np.int8, "scaled")
    g.add("Gemm", ["x", g.add("Transpose", [floats], "turned", perm=[1, 0])], "y")
    g.add("Identity", ["w"], "seen")
    info = helper.make_tensor_value_info
    outputs = [info("y", TensorProto.FLOAT, [4, 6]), info("seen", TensorProto.INT8, [6, 20])]
    inputs = [info("x", TensorProto.FLOAT, [4, 20])]
    proto = model_of(helper.make_graph(g.nodes, "g", inputs, outputs, g.constants), 13)
    new = prune(proto).model.proto
    onnx.checker.check_model(new, full_check=True)
    assert np.array_equal(constant(new, "w"), less)
    assert np.array_equal(constant(new, "w/pruned"), pruned(less))
    (gemm,) = [node for node in new.graph.node if node.op_type == "Gemm"]
    assert gemm.input[1] == "turned/pruned"
    behind = {node.output[0]: node for node in new.graph.node}
    assert behind["turned/pruned"].input[0] == "scaled/pruned"
    assert behind["scaled/pruned"].input[0] == "w/pruned"


def float_model(weight: Any, x: Any = None, opset: int = 13, **attributes: Any) -> Any:
    """A convolution or a MatMul of floats, of any type, with the weight named w."""
    conv = weight.ndim == 4
    kind = helper.np_dtype_to_tensor_dtype(weight.dtype)
    if conv:
        node = helper.make_node("Conv", ["x", "w"], ["y"], name="layer", **attributes)
        stored = weight
        shape = [None, weight.shape[1], None, None] if x is None else x
    else:
        node = helper.make_node("MatMul", ["x", "w"], ["y"], name="layer", **attributes)
        stored = np.ascontiguousarray(weight.T)
        shape = [None, weight.shape[1]] if x is None else x
    info = helper.make_tensor_value_info
    y = [None] * len(shape)
    body = helper.make_graph(
        [node], "g", [info("x", kind, shape)], [info("y", kind, y)],
        [numpy_helper.from_array(stored, "w")],
    )  # fmt: skip
    return model_of(body, opset)


def weight_of(found: graph.PrunedModel, like: Any) -> Any:
    stored = constant(found.model.proto, "w")
    return stored if like.ndim == 4 else stored.T


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("size", [*range(1, 10), 40])
def test_floats_with_ties_and_all_tails(size: int, dtype: Any) -> None:
    for shape in ((5, size), (3, size + 4, 2, 3)):  # convolutions of up to four channels are left
        steps = rng.integers(-3, 4, shape)  # zeros and many ties
        weight = (steps * 0.1).astype(dtype)
        assert np.array_equal(weight_of(prune(float_model(weight)), weight), pruned(weight))
        weight = (steps + rng.normal(size=shape) * 1e-3).astype(dtype)
        new = weight_of(prune(float_model(weight)), weight)
        assert np.array_equal(new, pruned(weight))
        assert new.dtype == dtype


def test_nothing_that_stays_changes_a_bit() -> None:
    """Not even the sign of a zero; and what goes is a plain zero."""
    weight = np.array([[-0.0, 1, -2, 3, 1e-45, -0.0, 0, 5]], np.float32)
    new = weight_of(prune(float_model(weight)), weight)
    assert new.tobytes() == np.array([[-0.0, 0, -2, 3, 1e-45, -0.0, 0, 5]], np.float32).tobytes()


@pytest.mark.parametrize("make", [flattened_weight, wrong_axis_weight])
def test_weights_that_are_sparse_along_another_axis(make: Any) -> None:
    weight = make((8, 12, 3, 3))
    found = prune(quantised_conv("QLinearConv", weight, x_shape=(1, 12, 5, 5)))
    assert same(
        found.model.proto, quantised_conv("QLinearConv", pruned(weight), x_shape=(1, 12, 5, 5))
    )


@pytest.mark.parametrize("case", VERDICTS, ids=" ".join)
def test_what_has_no_sparse_form_is_left_alone_with_its_reason(case: tuple[str, str]) -> None:
    proto = VERDICTS[case]()
    reason = case[0]
    found = prune(proto) if "deploy" not in case[1] else graph.prune(of_proto(proto))
    assert len(found.layers) + len(found.left) >= 1
    if reason in ("groups", "cin4", "conv1d", "conv3d", "rank", "dynamic-weight", "alpha-beta"):
        assert not found.layers
        assert {each.reason for each in found.left} == {reason}
    if not found.groups:
        assert same(found.model.proto, proto)


def test_to_prune_twice_is_to_prune_once() -> None:
    weight = dense_weight((6, 11, 3, 3), seed=9)
    for method in ("magnitude", "wanda", "reconstruct"):
        for proto in (
            float_model(weight.astype(np.float32) * np.float32(0.01), x=[1, 11, 6, 6]),
            quantised_conv("QLinearConv", weight, x_shape=(1, 11, 6, 6)),
            quantised_conv("qdq", weight, x_shape=(1, 11, 6, 6)),
        ):
            kind = proto.graph.input[0].type.tensor_type.elem_type
            x = rng.integers(0, 200, (2, 11, 6, 6)).astype(helper.tensor_dtype_to_np_dtype(kind))
            more = {} if method == "magnitude" else {"calibration": [{"x": x}]}
            once = prune(proto, method=method, **more)
            twice = prune(once.model.proto, method=method, **more)
            assert once.groups > 0
            assert twice.groups == twice.weights == 0
            assert same(once.model.proto, twice.model.proto)


def test_the_cost_counts_groups_weights_and_norms() -> None:
    weight = np.array([[1, -2, 3, 0, 4, 0, 0, 5], [6, 6, -6, 6, 0.5, 0, 0, 0]], np.float32)
    found = prune(float_model(weight))
    (layer,) = found.layers
    assert layer.weight == "w"
    assert layer.nodes == ("layer",)
    assert layer.op == "MatMul"
    assert layer.shape == (2, 8)
    assert (layer.all_groups, layer.groups, layer.weights) == (4, 2, 3)  # 1; then -6 and 6
    assert (layer.l1_removed, layer.l2_removed) == (1 + 12, 1 + 72)
    assert layer.l1_total == 15 + 24.5
    assert layer.l2_total == 1 + 4 + 9 + 16 + 25 + 4 * 36 + 0.25
    assert layer.l1_share == 13 / 39.5
    assert layer.l2_share == (73 / 199.25) ** 0.5
    assert (layer.magnitude_error, layer.error) == (None, None)
    assert (found.groups, found.weights, found.mean_errors) == (2, 3, None)
    assert "2 groups changed, 3 weights dropped" in str(found)
    assert found.to_dict()["layers"][0]["l1_share"] == 13 / 39.5


# --- who else uses it -----------------------------------------------------------------------------


def two_layers(form: str, weight: Any, cut: bool = False) -> Any:
    """Two products with one weight, one behind the other; cut: each through a node of its own."""
    g, n = Graph(), Numbers()
    stored = np.ascontiguousarray(weight.T)
    if form in FLOAT_FORMS:
        stored = stored.astype(np.float32)
    g.constant(stored, "w")
    for x, y in (("x", "h"), ("h", "y")):
        w = g.add("Identity", ["w"], f"{y}_cut") if cut else "w"
        add_matmul(g, form, n, stored, None, x, w, y)
    kind = np.float32 if form in FLOAT_FORMS or form.startswith("deploy") else np.uint8
    info = helper.make_tensor_value_info
    of = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    k = len(stored)
    return model_of(
        helper.make_graph(g.nodes, "g", [info("x", of, [3, k])], [info("y", of, [3, k])],
                          g.constants), 13
    )  # fmt: skip


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("form", ["MatMul", "QLinearMatMul", "qdq-matmul"])
def test_a_shared_weight_is_pruned_once(form: str, cut: bool) -> None:
    weight = dense_weight((20, 20), seed=2)
    found = prune(two_layers(form, weight, cut))
    (layer,) = found.layers
    assert len(layer.nodes) == 2
    assert same(found.model.proto, two_layers(form, pruned(weight), cut))


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("form", ["MatMul", "QLinearMatMul", "qdq-matmul"])
def test_a_node_that_is_skipped_keeps_the_weight_that_another_one_shares(
    form: str, cut: bool
) -> None:
    weight = dense_weight((20, 20), seed=2)
    proto = two_layers(form, weight, cut)
    name = "h_float" if form.startswith("qdq") else "h"
    found = prune(proto, skip=[name])
    (layer,) = found.layers
    assert layer.nodes == (name.replace("h", "y"),)
    assert [(each.node, each.reason) for each in found.left] == [(name, "skipped")]
    assert np.array_equal(constant(found.model.proto, "w"), constant(proto, "w"))
    verdicts = {v.candidate.name: v for v in graph.check(found.model, timed=False).verdicts}
    now = {name: v.candidate.weight.values for name, v in verdicts.items() if v.candidate.weight}
    assert np.array_equal(now.pop(name), weight)
    assert np.array_equal(now.popitem()[1], pruned(weight))
    ends(found.model.proto)


def test_an_embedding_that_is_a_weight_too_stays() -> None:
    """Gather reads the rows of what a product multiplies by, transposed."""
    table = dense_weight((12, 20), seed=4).astype(np.float32)
    nodes = [
        helper.make_node("Gather", ["table", "i"], ["x"], name="embed"),
        helper.make_node("Transpose", ["table"], ["w"], name="turn", perm=[1, 0]),
        helper.make_node("MatMul", ["x", "w"], ["y"], name="head"),
    ]
    info = helper.make_tensor_value_info
    given, made = info("i", TensorProto.INT64, [5]), info("y", TensorProto.FLOAT, [5, 12])
    held = [numpy_helper.from_array(table, "table")]
    proto = model_of(helper.make_graph(nodes, "g", [given], [made], held), 13)
    found = prune(proto)
    assert found.layers[0].nodes == ("head",)
    new = found.model.proto
    assert np.array_equal(constant(new, "table"), table)
    assert list(new.graph.node[2].input) == ["x", "w/pruned"]
    assert np.array_equal(constant(new, "w/pruned"), pruned(table).T)
    at = np.array([3, 0, 11, 7, 7])
    (y,) = ReferenceEvaluator(new).run(None, {"i": at})
    assert np.allclose(y, table[at] @ pruned(table).T)
    assert same(prune(new).model.proto, new)


def test_a_weight_that_is_used_along_both_axes_is_pruned_for_each() -> None:
    weight = dense_weight((20, 20), seed=6).astype(np.float32)
    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["h"], name="one"),
        helper.make_node("Gemm", ["h", "w"], ["y"], name="two", transB=1),
    ]
    info = helper.make_tensor_value_info
    x, y = (info(name, TensorProto.FLOAT, [3, 20]) for name in "xy")
    proto = model_of(
        helper.make_graph(nodes, "g", [x], [y], [numpy_helper.from_array(weight, "w")]), 13
    )
    found = prune(proto)
    assert [layer.nodes for layer in found.layers] == [("one",), ("two",)]
    one, two = (node.input[1] for node in found.model.proto.graph.node)
    assert np.array_equal(constant(found.model.proto, one).T, pruned(weight.T))
    assert np.array_equal(constant(found.model.proto, two), pruned(weight))
    assert np.array_equal(constant(found.model.proto, "w"), weight)


# --- what is left alone ---------------------------------------------------------------------------


def network(seed: int = 0, bias: bool = True) -> Any:
    """A small CNN of floats: three convolutions, one in groups, and a Gemm, with a Relu each."""
    draw = np.random.default_rng(seed)

    def floats(*shape: int) -> Any:
        return (draw.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)

    tensors = {
        "w0": floats(16, 8, 3, 3), "w1": floats(16, 16, 1, 1), "w2": floats(16, 4, 3, 3),
        "w3": floats(12, 16, 3, 3), "w4": floats(10, 12 * 4 * 3), "b0": floats(16),
    }  # fmt: skip
    make = helper.make_node
    nodes = [
        make("Conv", ["x", "w0", *(["b0"] if bias else [])], ["c0"], "stem/conv", pads=[1, 1, 1, 1],
             strides=[2, 2]),
        make("Relu", ["c0"], ["r0"], "stem/relu"),
        make("Conv", ["r0", "w1"], ["c1"], "body/point"),
        make("Relu", ["c1"], ["r1"], "body/relu"),
        make("Conv", ["r1", "w2"], ["c2"], "body/groups", group=4, pads=[1, 1, 1, 1]),
        make("Relu", ["c2"], ["r2"], "body/relu2"),
        make("Conv", ["r2", "w3"], ["c3"], "body/dilated", dilations=[2, 2], pads=[0, 1, 2, 1],
             strides=[1, 1]),
        make("Relu", ["c3"], ["r3"], "body/relu3"),
        make("Flatten", ["r3"], ["f"], "head/flat"),
        make("Gemm", ["f", "w4"], ["y"], "head/gemm", transB=1),
    ]  # fmt: skip
    info = helper.make_tensor_value_info
    body = helper.make_graph(
        nodes, "net", [info("x", TensorProto.FLOAT, ["n", 8, 12, 10])],
        [info("y", TensorProto.FLOAT, ["n", 10])],
        [numpy_helper.from_array(a, k) for k, a in tensors.items() if bias or k != "b0"],
    )  # fmt: skip
    return model_of(body, 13)


ALL = ["stem/conv", "body/point", "body/dilated", "head/gemm"]


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, ALL),
        ({"skip": ["body/*"]}, ["stem/conv", "head/gemm"]),
        ({"skip": ["stem/conv", "*/gemm"]}, ["body/point", "body/dilated"]),
        ({"skip": ("BODY/*", "nothing")}, ALL),
        ({"skip_type": ["Conv"]}, ["head/gemm"]),
        ({"skip_type": ["G?mm"]}, ["stem/conv", "body/point", "body/dilated"]),
        ({"skip": ["*"]}, []),
    ],
)
def test_layers_that_are_skipped(options: dict[str, Any], names: list[str]) -> None:
    proto = network()
    found = prune(proto, **options)
    assert [name for layer in found.layers for name in layer.nodes] == names
    reasons = {each.node: each.reason for each in found.left}
    assert reasons.pop("body/groups") == ("groups" if "*" not in options.get("skip", ()) and
                                          "Conv" not in options.get("skip_type", ()) and
                                          "body/*" not in options.get("skip", ())
                                          else "skipped")  # fmt: skip
    assert set(reasons.values()) <= {"skipped"}
    assert sorted(reasons) == sorted(set(ALL) - set(names))
    pruned_names = {dict(zip(ALL, ["w0", "w1", "w3", "w4"], strict=True))[name] for name in names}
    for tensor in proto.graph.initializer:
        now = next(t for t in found.model.proto.graph.initializer if t.name == tensor.name)
        assert (now != tensor) == (tensor.name in pruned_names)
    assert list(found.model.proto.graph.node) == list(proto.graph.node)


# --- samples --------------------------------------------------------------------------------------

WINDOWS: list[dict[str, Any]] = [
    {},
    {"strides": [2, 1]},
    {"pads": [1, 0, 2, 1]},
    {"dilations": [2, 1], "pads": [1, 1, 0, 0], "strides": [1, 2]},
    *(
        {"auto_pad": how, "strides": [stride, 1]}
        for how in ("SAME_UPPER", "SAME_LOWER", "VALID")
        for stride in (1, 2)
    ),
]


@pytest.mark.parametrize("attributes", WINDOWS)
@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_convolutions_by_what_they_are_multiplied_by(attributes: Any, dtype: Any) -> None:
    """Wanda and least squares, of floats and of a weight that is quantised already."""
    x = rng.normal(size=(2, 6, 7, 5)).astype(np.float32) * np.arange(1, 7).reshape(6, 1, 1)
    strides, dilations = (attributes.get(name, [1, 1]) for name in ("strides", "dilations"))
    pads = attributes.get("pads", [0, 0, 0, 0])
    if "auto_pad" in attributes:
        pads = conv_pads(attributes["auto_pad"], (7, 5), (3, 2), strides, dilations)
    weight = dense_weight((5, 6, 3, 2), seed=8, largest=100)
    if dtype == np.float32:
        weight = weight * np.float32(0.01)
        x = x.astype(np.float32)
        proto = float_model(weight, x=[1, 6, 7, 5], **attributes)
        numbers, name = x, "w"
    else:
        x = np.clip(np.rint(x * 20) + 100, 0, 255).astype(np.uint8)
        proto = quantised_conv(
            "QLinearConv", weight, x_shape=(1, 6, 7, 5), x_zero=100, **attributes
        )
        numbers, name = x.astype(np.float64) - 100, "weight"
    inputs = windows(numbers, (3, 2), strides, pads, dilations)
    scores = np.abs(weight) * np.sqrt((inputs**2).sum(axis=0)).reshape(1, 6, 3, 2)

    wanda = prune(proto, method="wanda", calibration=[{"x": x}])
    wanted = np.where(mask_of(weight, scores), weight, 0)
    assert np.array_equal(constant(wanda.model.proto, name), wanted)
    assert not np.array_equal(wanted, pruned(weight))

    found = prune(proto, method="reconstruct", calibration=[{"x": x}])
    fit = fitted(weight, mask_of(weight), inputs)
    new = constant(found.model.proto, name)
    if dtype == np.float32:
        assert np.allclose(new, fit, rtol=1e-4, atol=1e-5)
    else:
        clear = np.abs(fit - np.floor(fit) - 0.5) > 1e-6
        assert np.array_equal(new[clear], np.clip(np.rint(fit), -128, 127)[clear])
    assert (new[~mask_of(weight)] == 0).all()
    for each, mine in ((wanda, wanted), (found, new)):
        (layer,) = each.layers
        assert layer.magnitude_error == pytest.approx(error(weight, pruned(weight), inputs), 1e-6)
        assert layer.error == pytest.approx(error(weight, mine, inputs), 1e-4)


@pytest.mark.parametrize("form", ["MatMul", "Gemm", "QLinearMatMul", "QGemm", "qdq-gemm",
                                  "MatMulInteger", "qdq-matmul"])  # fmt: skip
@pytest.mark.parametrize("zero", [0, 7])
def test_products_by_what_they_are_multiplied_by(form: str, zero: int) -> None:
    weight = dense_weight((6, 21), seed=11, largest=90)
    floats = form in FLOAT_FORMS
    more: dict[str, Any] = {} if floats else {"x_zero": zero}
    proto = quantised_matmul(form, weight, x_shape=(40, 21), **more)
    x = rng.integers(0, 60, (40, 21)) * np.arange(1, 22) // 9
    x = x.astype(np.float32 if floats else np.uint8)
    inputs = x.astype(np.float64) - (0 if floats else zero)
    found = prune(proto, method="reconstruct", calibration=[{"x": x}])
    fit = fitted(weight, mask_of(weight), inputs)
    new = constant(found.model.proto, "weight").T
    if floats:  # the makers multiply by a scale
        assert np.allclose(new, fit * 0.01, rtol=1e-4, atol=1e-5)
    else:
        assert np.array_equal(new, np.clip(np.rint(fit), -128, 127))
        assert np.abs(fit - np.floor(fit) - 0.5).min() > 1e-6


def test_a_weight_that_is_shared_is_fitted_to_the_inputs_of_all_its_nodes() -> None:
    weight = dense_weight((20, 20), seed=2).astype(np.float32) * np.float32(0.01)
    proto = two_layers("MatMul", weight)
    x = rng.normal(size=(3, 20)).astype(np.float32)
    found = prune(proto, method="reconstruct", calibration=[{"x": x}])
    inputs = np.concatenate([x, x @ weight.T]).astype(np.float64)
    new = constant(found.model.proto, "w").T
    assert np.allclose(new, fitted(weight, mask_of(weight), inputs), rtol=1e-3, atol=1e-5)


def test_inputs_that_are_always_zero_leave_magnitude() -> None:
    weight = dense_weight((5, 12), seed=1).astype(np.float32)
    x = np.zeros((4, 12), np.float32)
    for method in ("wanda", "reconstruct"):
        found = prune(float_model(weight), method=method, calibration=[{"x": x}])
        assert np.array_equal(weight_of(found, weight), pruned(weight) if method == "reconstruct"
                              else np.where(mask_of(weight, weight * 0), weight, 0))  # fmt: skip
        assert found.layers[0].error == 0


def test_halves_hold_what_least_squares_give() -> None:
    """Beyond their range the largest stands."""
    weight = (dense_weight((4, 8), seed=3) * 516.0).astype(np.float16)  # up to 65,532
    x = np.repeat(rng.normal(size=(30, 2)), 4, axis=1).astype(np.float16)
    x += (rng.normal(size=x.shape) * 0.01).astype(np.float16)
    found = prune(float_model(weight), method="reconstruct", calibration=[{"x": x}])
    new = weight_of(found, weight)
    assert np.isfinite(new).all()
    assert new.dtype == np.float16
    assert np.abs(new).max() == 65504


@pytest.mark.parametrize(
    ("calibration", "count"),
    [
        ([np.arange(5)], 5),  # one by one: the first size is open
        ([np.arange(2), np.arange(2, 5)], 5),
        ([np.arange(5).reshape(5, 1)], 5),  # one axis more
        ([np.arange(4).reshape(2, 2)], 4),
    ],
)
def test_samples_are_the_same_however_they_are_given(calibration: Any, count: int) -> None:
    proto = network()
    x = np.random.default_rng(3).normal(size=(5, 8, 12, 10)).astype(np.float32)
    given = [{"x": x[at]} for at in calibration]
    one = prune(proto, method="wanda", calibration=given)
    other = prune(proto, method="wanda", calibration=[{"x": x[i : i + 1]} for i in range(count)])
    assert [e.error for e in one.layers] == pytest.approx([e.error for e in other.layers], 1e-9)
    assert same(one.model.proto, other.model.proto)


def test_many_inputs_are_thinned_out_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than 8,192 positions of a sample: the error stays what it is to a per cent."""
    weight = dense_weight((4, 8, 1, 1), seed=3).astype(np.float32)
    x = rng.normal(size=(1, 8, 150, 160)).astype(np.float32) * np.arange(1, 9).reshape(8, 1, 1)
    x[:, :, ::2] *= 3  # a pattern of lines
    x = x.astype(np.float32)
    found = prune(float_model(weight), method="wanda", calibration=[{"x": x}])
    inputs = windows(x[:, :, :, :40], (1, 1))
    mine = weight_of(found, weight)
    assert found.layers[0].error == pytest.approx(error(weight, mine, inputs), rel=0.05)
    again = prune(float_model(weight), method="wanda", calibration=[{"x": x}])
    assert again.layers[0].error == found.layers[0].error


def test_gram_matrices_are_held_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(3).normal(size=(2, 8, 12, 10)).astype(np.float32)
    whole = prune(network(), method="reconstruct", calibration=[{"x": x}])
    monkeypatch.setattr("cube24.graph.pruning._NUMBERS", 1)
    parts = prune(network(), method="reconstruct", calibration=[{"x": x}])
    assert same(whole.model.proto, parts.model.proto)
    assert [vars(e) for e in whole.layers] == [vars(e) for e in parts.layers]


def test_without_onnxruntime_the_evaluator_of_onnx_runs_the_model(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x = np.random.default_rng(3).normal(size=(2, 8, 12, 10)).astype(np.float32)
    one = prune(network(), method="wanda", calibration=[{"x": x}])
    monkeypatch.setattr("cube24.graph.runtimes.find_spec", lambda name: None)
    other = prune(network(), method="wanda", calibration=[{"x": x}])
    errors = [[e.error for e in found.layers] for found in (one, other)]
    assert errors[0] == pytest.approx(errors[1], rel=1e-4)


def test_layers_in_branches_take_part_where_their_inputs_are_values_of_the_model() -> None:
    weight = dense_weight((6, 23), seed=3)
    proto = quantised_matmul("QLinearMatMul", weight, x_shape=(3, 23), where="subgraph")
    given = {"x": np.arange(69, dtype=np.uint8).reshape(3, 23), "condition": np.array(True)}
    found = prune(proto, method="reconstruct", calibration=[given])
    fit = fitted(weight, mask_of(weight), given["x"].astype(np.float64) - 128)
    assert np.array_equal(constant(found.model.proto, "weight").T, np.clip(np.rint(fit), -128, 127))


def test_sensitivity_puts_first_what_changes_most() -> None:
    x = np.random.default_rng(3).normal(size=(3, 8, 12, 10)).astype(np.float32)
    for method in ("magnitude", "wanda", "reconstruct"):
        found = prune(network(), method=method, calibration=[{"x": x}], sensitivity=True)
        errors = [layer.error or 0 for layer in found.layers]
        assert errors == sorted(errors, reverse=True)
        assert len(set(errors)) == 4
        names = [layer.nodes[0] for layer in found.layers]
        assert sorted(names) == sorted(ALL)
        if method == "magnitude":
            assert errors == [layer.magnitude_error for layer in found.layers]
            assert same(found.model.proto, prune(network()).model.proto)
        else:
            plain = prune(network(), method=method, calibration=[{"x": x}])
            assert [layer.nodes[0] for layer in plain.layers] == ALL
            assert same(plain.model.proto, found.model.proto)
        assert "error by magnitude" in str(found)
        first, second = found.mean_errors or (0, 0)
        assert second == pytest.approx(np.exp(np.mean(np.log(errors))))
        assert (first == second) == (method == "magnitude")


def test_least_squares_are_three_times_better_on_other_images() -> None:
    """The network of examples/train on digits that were not among the samples."""
    proto = onnx.load("examples/train/digits-float.onnx")
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "n"
    proto.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "n"
    images = np.load("examples/train/digits.npz")["image"]
    samples, others = images[:48], images[48:]
    inner = {"conv2": "conv1_relu_output", "fc1": "flatten_output", "fc2": "fc1_relu_output"}
    wider = type(proto)()
    wider.CopyFrom(proto)
    wider.graph.output.extend(map(helper.make_empty_tensor_value_info, inner.values()))
    session = onnxruntime.InferenceSession(wider.SerializeToString())
    x, *rows = session.run([*inner.values()], {"image": others})
    inputs = [windows(x, (3, 3), (2, 2), (1, 1, 1, 1)), *(each.astype(np.float64) for each in rows)]

    means = {}
    for method in ("magnitude", "wanda", "reconstruct"):
        more = {} if method == "magnitude" else {"calibration": [{"image": samples}]}
        new = prune(proto, method=method, **more).model.proto
        errors = [
            error(constant(proto, f"{name}.weight"), constant(new, f"{name}.weight"), each)
            for name, each in zip(inner, inputs, strict=True)
        ]
        means[method] = np.exp(np.mean(np.log(errors)))
    assert means["wanda"] < means["magnitude"]
    assert means["reconstruct"] < means["magnitude"] / 3


# --- quantised afterwards -------------------------------------------------------------------------


@pytest.mark.parametrize("qdq", [False, True])
@pytest.mark.parametrize("signed", [False, True])
def test_quantising_a_pruned_model_keeps_it_sparse(tmp_path: Any, qdq: bool, signed: bool) -> None:
    from onnxruntime import quantization

    x = np.random.default_rng(3).normal(size=(4, 8, 12, 10)).astype(np.float32)
    found = prune(network(), method="reconstruct", calibration=[{"x": x}])
    graph.save(found.model, tmp_path / "p.onnx")

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            self.left = [{"x": each[None]} for each in x]

        def get_next(self) -> Any:
            return self.left.pop() if self.left else None

    form, kinds = quantization.QuantFormat, quantization.QuantType
    quantization.quantize_static(
        tmp_path / "p.onnx", tmp_path / "q.onnx", Reader(), per_channel=True,
        quant_format=form.QDQ if qdq else form.QOperator,
        activation_type=kinds.QInt8 if signed else kinds.QUInt8, weight_type=kinds.QInt8,
    )  # fmt: skip
    report = graph.check(graph.load(tmp_path / "q.onnx"), timed=False)
    assert len(report.sparse) == 4
    assert dict(report.reasons) == {"groups": 1}


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("shape", [(5, 9), (3, 5, 2, 2)])
def test_numbers_that_are_not_finite_are_refused_by_place(shape: Any, value: float) -> None:
    weight = dense_weight(shape).astype(np.float32)
    at = (2, 4, 1, 0)[: len(shape)]
    weight[at] = value
    with pytest.raises(ArgumentError) as caught:
        prune(float_model(weight))
    for part in ("'layer'", "'w'", str(at), "nan" if np.isnan(value) else "inf"):
        assert part in str(caught.value)
    assert prune(float_model(weight), skip=["layer"]).groups == 0


IMAGE = np.zeros((2, 8, 12, 10), np.float32)
GOOD = {"x": IMAGE}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"method": "random"}, "'random': choose magnitude, wanda, reconstruct"),
        ({"method": "wanda"}, "'wanda' needs samples"),
        ({"method": "reconstruct"}, "'reconstruct' needs samples"),
        ({"sensitivity": True}, "sensitivity needs samples"),
        ({"sensitivity": 1}, "sensitivity is 1"),
        ({"calibration": [GOOD]}, "magnitude takes no samples"),
        ({"calibration": GOOD, "method": "wanda"}, "calibration is a list of arrays by name"),
        ({"calibration": [IMAGE], "method": "wanda"}, "calibration is a list of arrays by name"),
        ({"config": "c.cfg"}, "config is 'c.cfg'; it takes what read_prune_config gives"),
        ({"skip": "body"}, "takes a tuple of names"),
        ({"skip_type": [3]}, "takes a tuple of names"),
    ],
)
def test_refused_options(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ArgumentError, match=says):
        prune(network(), **options)


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({}, "have no 'x'"),
        ({**GOOD, "z": IMAGE}, "no input 'z'; its inputs are 'x'"),
        ({"x": IMAGE.astype(np.float64)}, "'x' is float64; the model takes float32"),
        ({"x": IMAGE[0]}, r"shape \(8, 12, 10\); the model takes \?x8x12x10"),
        ({"x": IMAGE[:, :7]}, r"shape \(2, 7, 12, 10\); the model takes"),
        ({"x": IMAGE[None, None]}, "the model takes"),
        ({"x": IMAGE[:0]}, r"shape \(0, 8, 12, 10\)"),
        ({"x": IMAGE[:, None][:0]}, "the model takes"),
        ({"x": IMAGE + np.float32(np.nan)}, "'stem/conv': its inputs are not finite"),
    ],
)
def test_refused_samples(arrays: dict[str, Any], says: str) -> None:
    with pytest.raises(ArgumentError, match=says):
        prune(network(), method="wanda", calibration=[arrays])


def test_inputs_that_are_no_tensors_are_refused() -> None:
    proto = network()
    several = helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, [2])
    proto.graph.input.append(several)
    with pytest.raises(ArgumentError, match="input 's' is no tensor"):
        prune(proto, method="wanda", calibration=[{**GOOD, "s": IMAGE}])


def test_samples_of_several_inputs_are_as_many() -> None:
    proto = network()
    added = proto.graph.input.add()
    added.CopyFrom(helper.make_tensor_value_info("half", TensorProto.FLOAT, []))
    proto.graph.node.add().CopyFrom(helper.make_node("Mul", ["y", "half"], ["z"], "scale"))
    proto.graph.output[0].name = "z"
    one = {"x": IMAGE + 1, "half": np.float32(0.5)}
    several = {"x": IMAGE + 1, "half": np.full(2, 0.5, np.float32)}
    found = [prune(proto, method="wanda", calibration=[each]) for each in (one, several)]
    assert same(found[0].model.proto, found[1].model.proto)
    with pytest.raises(ArgumentError, match="input 'x' has 2 samples, and another one 3"):
        prune(proto, method="wanda", calibration=[{**several, "half": np.ones(3, np.float32)}])


def test_layers_whose_inputs_cannot_be_gathered_are_refused_by_name() -> None:
    weight = dense_weight((6, 23), seed=3).astype(np.float32)
    inner = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["r"], "relu"),
         helper.make_node("MatMul", ["r", "w"], ["inside"], "product")],
        "then", [], [helper.make_tensor_value_info("inside", TensorProto.FLOAT, [3, 6])],
    )  # fmt: skip
    node = helper.make_node("If", ["c"], ["y"], "branch", then_branch=inner, else_branch=inner)
    info = helper.make_tensor_value_info
    proto = model_of(
        helper.make_graph(
            [node], "g", [info("x", TensorProto.FLOAT, [3, 23]), info("c", TensorProto.BOOL, [])],
            [info("y", TensorProto.FLOAT, [3, 6])], [numpy_helper.from_array(weight.T, "w")],
        ), 13,
    )  # fmt: skip
    assert len(prune(proto).layers) == 1
    given = {"x": np.ones((3, 23), np.float32), "c": np.array(True)}
    with pytest.raises(ArgumentError, match=r"'branch/.*_branch/product' stands in a graph"):
        prune(proto, method="wanda", calibration=[given])


def test_compiled_models_are_refused() -> None:
    proto = quantised_matmul("QLinearMatMul", pruned(dense_weight((6, 20))), x_shape=(2, 20))
    with pytest.raises(ArgumentError, match="compiled already; decompile it"):
        graph.prune(graph.compile(of_proto(proto), sparsity=1).model)


def test_models_that_cannot_run_are_refused_in_one_line() -> None:
    proto = quantised_matmul("deploy-matmul", dense_weight((6, 20)), x_shape=(2, 20))
    with pytest.raises(Cube24Error, match="cannot run it") as caught:
        graph.prune(
            of_proto(proto), method="wanda", calibration=[{"x": np.ones((2, 20), np.float32)}]
        )
    assert "\n" not in str(caught.value)
