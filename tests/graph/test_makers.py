"""The makers of models and the oracle of their arithmetic, held to onnx and onnxruntime.

The tests of the package's graph part compare with them, so they must be right by themselves.
Nothing of the package is used here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx_forms import CONV_FORMS, FLOAT_FORMS, MATMUL_FORMS, Numbers, deq_words
from onnx_makers import DYNAMIC, PLACES, quantised_conv, quantised_matmul
from qlinear_oracle import (
    conv_pads,
    conv_sums,
    matmul_sums,
    requantise,
    requantise_one,
)
from sparse_weights import (
    as_uint8,
    count_groups,
    dense_weight,
    flattened_weight,
    illegal_groups,
    sparse_weight,
    with_illegal_group,
    wrong_axis_weight,
)

#: The newest evaluator of onnx has no older DequantizeLinear than that of 19.
EVALUATED_OPSET = min(21, onnx.defs.onnx_opset_version())

BIAS = np.array([-3000, 7, 0, 5000, 1, -1], np.int32)
W_SCALES = np.array([0.01, 0.02, 0.003, 0.0125, 0.017, 0.0099], np.float32)


def small_weight(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """2:4, for onnxruntime: without VNNI it saturates two products at int16 (its issue 14642)."""
    return sparse_weight(shape, seed, largest=64)


def drawn(shape: tuple[int, ...], dtype: Any, seed: int = 0) -> np.ndarray:
    limits = np.iinfo(dtype)
    rng = np.random.default_rng(seed)
    return rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)


def ran(model: onnx.ModelProto | Path, output: str = "y", /, **inputs: np.ndarray) -> np.ndarray:
    """What onnxruntime gives for y, as it comes: optimised as far as it likes."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    session = onnxruntime.InferenceSession(source, options, ["CPUExecutionProvider"])
    return session.run([output], inputs)[0]


def evaluated(model: onnx.ModelProto, **inputs: np.ndarray) -> np.ndarray:
    """What onnx's own evaluator gives for y."""
    return ReferenceEvaluator(model).run(["y"], inputs)[0]


# --- the oracle -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_requantisation_is_that_of_numbers_rounded_one_by_one(dtype):
    rng = np.random.default_rng(1)
    limits = np.iinfo(dtype)
    sums = np.concatenate([rng.integers(-(2**24), 2**24, 400), np.arange(-300, 300)])
    for x_scale, w_scale, y_scale, y_zero in [
        (0.0123, 0.00071, 0.3, 3), (0.25, 0.5, 0.25, int(limits.min)), (1e-3, 7e-5, 2e-5, 0),
        (0.7, 0.9, 1.1, int(limits.max)),
    ]:  # fmt: skip
        got = requantise(sums, x_scale, w_scale, y_scale, y_zero, dtype, axis=0)
        expected = [
            requantise_one(s, x_scale, w_scale, y_scale, y_zero, int(limits.min), int(limits.max))
            for s in sums.tolist()
        ]
        assert got.dtype == dtype
        assert got.tolist() == expected


def test_requantisation_rounds_halves_to_even():
    sums = np.array([-5, -3, -1, 1, 3, 5])
    assert requantise(sums, 0.5, 1, 1, 0, np.int8, axis=0).tolist() == [-2, -2, 0, 0, 2, 2]


def test_sums_of_a_convolution_are_those_of_its_taps_one_by_one():
    x, w = drawn((1, 4, 5, 6), np.uint8), drawn((2, 2, 3, 2), np.int8)
    strides, pads, dilations = (2, 1), (1, 0, 2, 3), (1, 2)
    got = conv_sums(x, 7, w, [3, -2], None, strides, pads, dilations, group=2)
    assert got.shape == (1, 2, 3, 7)
    for n, v, u in np.ndindex(got.shape[1:]):
        total = 0
        for c, i, j in np.ndindex(w.shape[1:]):
            row, column = 2 * v + i - 1, u + 2 * j
            if 0 <= row < 5 and 0 <= column < 6:
                total += (int(x[0, 2 * n + c, row, column]) - 7) * (int(w[n, c, i, j]) - [3, -2][n])
        assert got[0, n, v, u] == total


def test_sums_of_a_product_are_those_of_its_elements_one_by_one():
    x, w = drawn((2, 3, 5), np.int8), drawn((4, 5), np.int8)
    got = matmul_sums(x, -9, w, 2, np.arange(4))
    for b, m, n in np.ndindex(got.shape):
        parts = [(int(x[b, m, k]) + 9) * (int(w[n, k]) - 2) for k in range(5)]
        assert got[b, m, n] == sum(parts) + n


@pytest.mark.parametrize("auto_pad", ["VALID", "SAME_UPPER", "SAME_LOWER"])
def test_auto_pad_is_that_of_onnxruntime(auto_pad):
    # No stride is three or more above its kernel: there onnxruntime crops at both ends. onnx's own
    # evaluator does not; that of old versions has other pads altogether.
    for length in (5, 6, 7):
        for taps in (1, 2, 3, 4):
            for stride in (1, 2, 3):
                x = drawn((1, 1, length, 9), np.uint8)
                w = drawn((1, 1, taps, 3), np.int8) // 2
                model = quantised_conv(
                    "ConvInteger", w, x_shape=x.shape, auto_pad=auto_pad, strides=(stride, 2)
                )
                pads = conv_pads(auto_pad, (length, 9), (taps, 3), (stride, 2), (1, 1))
                expected = conv_sums(x, 128, w, 0, None, (stride, 2), pads)
                np.testing.assert_array_equal(ran(model, x=x), expected)


def test_auto_pad_counts_dilated_taps():
    assert conv_pads("SAME_UPPER", (10, 10), (3, 2), (1, 2), (2, 3)) == (2, 1, 2, 1)
    assert conv_pads("SAME_LOWER", (10, 9), (2, 2), (1, 2), (2, 3)) == (1, 2, 1, 1)


# --- convolutions ---------------------------------------------------------------------------------

WAYS = {
    "plain": {},
    "strides, pads, dilations": {
        "strides": (2, 1), "pads": (1, 0, 2, 3), "dilations": (1, 2),
    },
    "auto_pad": {"auto_pad": "SAME_LOWER", "strides": (2, 2)},
}  # fmt: skip


def expected_conv(x, x_zero, w, w_zero, bias, way):
    given = dict(way)
    auto_pad = given.pop("auto_pad", None)
    if auto_pad:
        given["pads"] = conv_pads(auto_pad, x.shape[2:], w.shape[2:], given["strides"], (1, 1))
    return conv_sums(x, x_zero, w, w_zero, bias, **given)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("cin", [5, 8])
@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_qlinear_conv_is_the_oracle_in_both_runtimes(dtype, cin, way):
    w = small_weight((6, cin, 3, 2), seed=cin)
    x = drawn((2, cin, 7, 8), dtype)
    for x_zero in (np.iinfo(dtype).min, 3, np.iinfo(dtype).max):
        for w_scale, bias in ((0.01, None), (W_SCALES, BIAS)):
            numbers = {"x_zero": x_zero, "x_dtype": dtype, "w_scale": w_scale}
            model = quantised_conv(
                "QLinearConv",
                w,
                x_shape=x.shape,
                bias=bias,
                y_scale=0.1,
                y_zero=9,
                **way,
                **numbers,
            )
            onnx.checker.check_model(model, full_check=True)
            sums = expected_conv(x, x_zero, w, 0, bias, way)
            expected = requantise(sums, 0.02, w_scale, 0.1, 9, dtype)
            assert int(expected.max()) - int(expected.min()) > 25
            np.testing.assert_array_equal(ran(model, x=x), expected)
            if bias is None and way is not WAYS["auto_pad"]:  # old versions of onnx has these wrong
                # It adds the zero point before it rounds, which moves halves.
                assert_within_a_step(evaluated(model, x=x), expected)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_conv_integer_is_the_oracle_in_both_runtimes(way):
    w = as_uint8(sparse_weight((6, 5, 3, 2)))
    x = drawn((1, 5, 7, 8), np.uint8)
    for bias in (None, BIAS):
        model = quantised_conv(
            "ConvInteger", w, x_shape=x.shape, bias=bias, x_zero=77, w_zero=128, **way
        )
        onnx.checker.check_model(model, full_check=True)
        expected = expected_conv(x, 77, w, 128, bias, way)
        np.testing.assert_array_equal(ran(model, x=x), expected)
        if way is not WAYS["auto_pad"]:
            np.testing.assert_array_equal(evaluated(model, x=x), expected)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_a_conv_between_dequantised_numbers_is_the_oracle_but_for_a_step(dtype, way):
    w = small_weight((6, 5, 3, 2))
    x = drawn((1, 5, 7, 8), dtype)
    for w_scale, bias in ((0.01, None), (W_SCALES, BIAS)):
        numbers = {"x_zero": 5, "x_dtype": dtype, "w_scale": w_scale}
        model = quantised_conv(
            "qdq", w, x_shape=x.shape, bias=bias, opset=EVALUATED_OPSET, **way, **numbers
        )
        onnx.checker.check_model(model, full_check=True)
        expected = requantise(expected_conv(x, 5, w, 0, bias, way), 0.02, w_scale, 0.5, 3, dtype)
        assert_within_a_step(ran(model, x=x), expected)
        if way is not WAYS["auto_pad"]:
            assert_within_a_step(evaluated(model, x=x), expected)


def assert_within_a_step(got: np.ndarray, expected: np.ndarray) -> None:
    """Sums of floats are rounded one by one, which moves a number in a thousand by one."""
    assert got.dtype == expected.dtype
    apart = np.abs(got.astype(int) - expected)
    assert apart.max() <= 1
    assert np.count_nonzero(apart) <= max(1, got.size // 200)


# --- products -------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(3, 37), (2, 3, 40)])
@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_qlinear_matmul_is_the_oracle_in_both_runtimes(dtype, shape):
    w, x = small_weight((6, shape[-1])), drawn(shape, dtype)
    for w_scale in (0.01, W_SCALES):
        # Nothing may saturate: the evaluator of old versions wraps.
        numbers = {"x_dtype": dtype, "x_zero": 11, "w_scale": w_scale, "y_scale": 6, "y_zero": 50}
        model = quantised_matmul("QLinearMatMul", w, x_shape=shape, **numbers)
        onnx.checker.check_model(model, full_check=True)
        expected = requantise(
            matmul_sums(x, 11, w), 0.02, w_scale, 6, 50, dtype, axis=len(shape) - 1
        )
        np.testing.assert_array_equal(ran(model, x=x), expected)
        assert_within_a_step(evaluated(model, x=x), expected)


def test_matmul_integer_is_the_oracle_in_both_runtimes():
    w = as_uint8(sparse_weight((6, 37)))
    x = drawn((3, 37), np.uint8)
    for bias in (None, BIAS):
        model = quantised_matmul(
            "MatMulInteger", w, x_shape=x.shape, bias=bias, x_zero=77, w_zero=128
        )
        onnx.checker.check_model(model, full_check=True)
        expected = matmul_sums(x, 77, w, 128, bias)
        np.testing.assert_array_equal(ran(model, x=x), expected)
        np.testing.assert_array_equal(evaluated(model, x=x), expected)


@pytest.mark.parametrize("alpha", [None, 0.75])
@pytest.mark.parametrize("trans_b", [0, 1])
@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_qgemm_is_the_oracle_in_onnxruntime(dtype, trans_b, alpha):
    w, x = small_weight((6, 37)), drawn((50, 37), dtype)
    for w_scale, bias in ((0.01, None), (W_SCALES, BIAS)):
        numbers = {"x_dtype": dtype, "x_zero": 11, "w_scale": w_scale}
        model = quantised_matmul(
            "QGemm", w, x_shape=x.shape, bias=bias, trans_b=trans_b, alpha=alpha, **numbers
        )
        sums = matmul_sums(x, 11, w, 0, bias)
        expected = requantise(sums, 0.02, w_scale, 0.5, 3, dtype, alpha=alpha or 1)
        np.testing.assert_array_equal(ran(model, x=x), expected)


@pytest.mark.parametrize(
    ("form", "how"),
    [("qdq-matmul", {}), ("qdq-gemm", {"trans_b": 0}), ("qdq-gemm", {"trans_b": 1})],
)
def test_a_product_of_dequantised_numbers_is_the_oracle_but_for_a_step(form, how):
    w, x = small_weight((6, 37)), drawn((50, 37), np.uint8)
    for w_scale, bias in ((0.01, None), (W_SCALES, BIAS)):
        model = quantised_matmul(
            form,
            w,
            x_shape=x.shape,
            bias=bias,
            x_zero=11,
            w_scale=w_scale,
            opset=EVALUATED_OPSET,
            **how,
        )
        onnx.checker.check_model(model, full_check=True)
        expected = requantise(matmul_sums(x, 11, w, 0, bias), 0.02, w_scale, 0.5, 3, np.uint8)
        assert_within_a_step(ran(model, x=x), expected)
        assert_within_a_step(evaluated(model, x=x), expected)


# --- where weights stand --------------------------------------------------------------------------

#: Form, maker, sizes of the weight and of x, options.
LAYERS = {
    "QLinearConv": (quantised_conv, (6, 5, 3, 2), (1, 5, 7, 8), {"pads": (1, 0, 2, 3)}),
    "ConvInteger": (quantised_conv, (6, 5, 3, 2), (1, 5, 7, 8), {"strides": (2, 1)}),
    "qdq": (quantised_conv, (6, 5, 3, 2), (1, 5, 7, 8), {"bias": BIAS}),
    "QLinearMatMul": (quantised_matmul, (6, 37), (3, 37), {}),
    "MatMulInteger": (quantised_matmul, (6, 37), (2, 3, 37), {}),
    "QGemm": (quantised_matmul, (6, 37), (3, 37), {"bias": BIAS, "trans_b": 1}),
    "qdq-matmul": (quantised_matmul, (6, 37), (3, 37), {}),
    "qdq-gemm": (quantised_matmul, (6, 37), (3, 37), {"bias": BIAS, "trans_b": 1}),
    "Conv": (quantised_conv, (6, 5, 3, 2), (1, 5, 7, 8), {"bias": BIAS}),
    "MatMul": (quantised_matmul, (6, 37), (2, 3, 37), {}),
    "Gemm": (quantised_matmul, (6, 37), (3, 37), {"bias": BIAS, "trans_b": 1}),
    "deploy": (quantised_conv, (6, 5, 3, 2), (1, 5, 7, 8), {"bias": BIAS}),
    "deploy-matmul": (quantised_matmul, (6, 37), (2, 3, 37), {"bias": BIAS}),
    "deploy-gemm": (quantised_matmul, (6, 37), (3, 37), {"bias": BIAS, "trans_b": 1}),
}
RUNNABLE = [form for form in LAYERS if not form.startswith("deploy")]
QUANTISED = [form for form in RUNNABLE if form not in FLOAT_FORMS]


def made(form: str, **more: Any) -> onnx.ModelProto:
    """The form's layer, per channel but for the integer ones; options of its own and these."""
    maker, shape, x_shape, options = LAYERS[form]
    if form not in ("ConvInteger", "MatMulInteger"):
        more.setdefault("w_scale", W_SCALES)
    if form.startswith("deploy"):
        more = {"x_dtype": np.int8, "x_zero": -5, **more}
    return maker(form, small_weight(shape), **{"x_shape": x_shape, **options, **more})


def test_the_layers_are_all_forms():
    assert LAYERS.keys() == {*CONV_FORMS, *MATMUL_FORMS}


@pytest.mark.parametrize("form", QUANTISED)
@pytest.mark.parametrize("where", PLACES)
def test_a_layer_yields_the_same_wherever_its_weight_stands(where, form, tmp_path):
    x = drawn(LAYERS[form][2], np.uint8)
    expected = ran(made(form), x=x)
    model = made(form, where=where)
    inputs = {"x": x}
    if where.startswith("subgraph"):
        inputs["condition"] = np.array(True)
    if where == "external":
        path = tmp_path / "model.onnx"
        onnx.save(model, path)
        assert (tmp_path / "weights.bin").stat().st_size == small_weight(LAYERS[form][1]).size
        onnx.checker.check_model(str(path), full_check=True)
        np.testing.assert_array_equal(ran(path, **inputs), expected)
        return
    onnx.checker.check_model(model, full_check=form != "QGemm")
    np.testing.assert_array_equal(ran(model, **inputs), expected)
    if where.startswith("subgraph"):
        assert not ran(model, x=x, condition=np.array(False)).any()
    if where == "shared":
        assert {out.name for out in model.graph.output} == {"y", "y2"}
        np.testing.assert_array_equal(ran(model, "y2", **inputs), expected)


@pytest.mark.parametrize("form", QUANTISED)
def test_a_layer_with_floats_at_its_ends_yields_what_it_stands_for(form):
    x = drawn(LAYERS[form][2], np.uint8)
    n = Numbers()
    floats = (x.astype(np.float32) - n.x_zero) * np.float32(n.x_scale)
    layer = ran(made(form), x=x)
    integer = form in ("ConvInteger", "MatMulInteger")
    expected = (
        layer * (np.float32(n.x_scale) * np.float32(n.w_scale))
        if integer
        else (layer.astype(np.float32) - n.y_zero) * np.float32(n.y_scale)
    )
    model = made(form, ends="float")
    onnx.checker.check_model(model, full_check=form != "QGemm")
    got = ran(model, x=floats)
    assert got.dtype == np.float32
    # onnxruntime may merge what surrounds the layer, but for the integer forms.
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=0 if integer else n.y_scale)


@pytest.mark.parametrize("form", QUANTISED)
def test_a_weight_may_be_an_input_of_the_model(form):
    model = made(form, where=DYNAMIC)
    onnx.checker.check_model(model, full_check=form != "QGemm")
    x, w = drawn(LAYERS[form][2], np.uint8), small_weight(LAYERS[form][1])
    if form.endswith(("MatMul", "MatMulInteger", "matmul")):
        w = np.ascontiguousarray(w.T)
    np.testing.assert_array_equal(ran(model, x=x, weight=w), ran(made(form), x=x))


@pytest.mark.parametrize("form", FLOAT_FORMS)
def test_a_layer_of_floats_yields_what_the_numbers_stand_for(form):
    _, shape, x_shape, options = LAYERS[form]
    x = np.random.default_rng(0).standard_normal(x_shape, np.float32)
    sums = conv_sums if form == "Conv" else matmul_sums
    w, bias = small_weight(shape), options.get("bias")
    expected = sums(np.rint(x * 1000), 0, w, 0, None if bias is None else 20 * bias)
    along = (6, 1, 1) if form == "Conv" else 6
    # x is rounded to thousandths; the bias is in units of x_scale = 20 thousandths.
    model = made(form)
    onnx.checker.check_model(model, full_check=True)
    got = ran(model, x=np.rint(x * 1000).astype(np.float32) / 1000)
    np.testing.assert_allclose(got, expected / 1000 * W_SCALES.reshape(along), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("form", RUNNABLE)
def test_a_layer_is_valid_in_all_opsets_from_its_first_one(form):
    for opset in range(9 if form in FLOAT_FORMS else 10, onnx.defs.onnx_opset_version() + 1):
        # DequantizeLinear has had an axis since 13.
        w_scale = 0.01 if opset < 13 or form.endswith("Integer") else W_SCALES
        model = made(form, opset=opset, w_scale=w_scale)
        assert model.opset_import[0].version == opset
        onnx.checker.check_model(model, full_check=form != "QGemm")


@pytest.mark.parametrize("form", QUANTISED)
@pytest.mark.parametrize("opset", [10, 11, 21])
def test_a_layer_yields_the_same_in_old_and_new_opsets(opset, form):
    x = drawn(LAYERS[form][2], np.uint8)
    got = ran(made(form, opset=opset, w_scale=0.01), x=x)
    np.testing.assert_array_equal(got, ran(made(form, w_scale=0.01), x=x))


@pytest.mark.parametrize("form", ["QLinearConv", "QLinearMatMul", "QGemm", "MatMulInteger"])
def test_a_layer_whose_input_has_a_size_left_open_yields_the_same(form):
    x_shape = LAYERS[form][2]
    x = drawn(x_shape, np.uint8)
    model = made(form, x_shape=("batch", *x_shape[1:]))
    onnx.checker.check_model(model, full_check=form != "QGemm")
    np.testing.assert_array_equal(ran(model, x=x), ran(made(form), x=x))


# --- AMCT's deploy form ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "ops"),
    [
        ("deploy", ["AscendQuant", "Conv", "AscendDequant"]),
        ("deploy-matmul", ["AscendQuant", "MatMul", "Add", "AscendDequant"]),
        ("deploy-gemm", ["AscendQuant", "Gemm", "AscendDequant"]),
    ],
)
def test_the_deploy_form_is_that_of_amct(form, ops):
    # No runtime here has its operators: what can be held is what the file says.
    model = made(form, opset=9)
    constants = {c.name: numpy_helper.to_array(c) for c in model.graph.initializer}
    assert [node.op_type for node in model.graph.node] == ops
    assert not any(node.domain for node in model.graph.node)
    quant, layer, dequant = model.graph.node[0], model.graph.node[1], model.graph.node[-1]

    attributes = {a.name: helper.get_attribute_value(a) for a in quant.attribute}
    assert attributes == {"scale": 50.0, "offset": -5.0, "dst_type": b"INT8"}
    assert layer.input[0] == quant.output[0]
    assert constants[layer.input[1]].dtype == np.int8
    bias = next(constants[i] for n in model.graph.node[1:-1] for i in n.input if "bias" in i)
    assert bias.dtype == np.int32
    assert bias.tolist() == BIAS.tolist()

    words = constants[dequant.input[1]]
    assert words.dtype == np.uint64
    scales = (words & np.uint64(2**32 - 1)).astype(np.uint32).view(np.float32)
    np.testing.assert_array_equal(scales, np.float32(0.02) * W_SCALES)
    assert not (words >> np.uint64(32)).any()


def test_a_dequantisation_word_has_the_bits_of_the_scale_and_the_offset():
    assert deq_words([1.0, -0.5]).tolist() == [0x3F800000, 0xBF000000]
    assert deq_words([1.0], [-2]).tolist() == [0xFE3F800000]


# --- weights --------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(6, 37), (6, 40), (4, 5, 3, 2), (3, 40, 1, 1), (2, 3, 1, 1)])
def test_a_sparse_weight_is_legal_and_full(shape):
    w = sparse_weight(shape)
    assert w.dtype == np.int8
    assert not [*illegal_groups(w)]
    per_row = 2 * (shape[1] // 4) + (shape[1] % 4 > 0)
    assert np.count_nonzero(w) == per_row * w.size // shape[1]
    np.testing.assert_array_equal(w, sparse_weight(shape))
    assert (w != sparse_weight(shape, seed=1)).any()


@pytest.mark.parametrize("at", [(0, 0, 0, 0), (5, 36, 2, 1), (3, 8, 0, 2)])
def test_one_illegal_group_is_where_it_was_wanted(at):
    w = with_illegal_group(sparse_weight((6, 40, 3, 3)), at)
    assert [*illegal_groups(w)] == [at]
    assert count_groups(w) == 6 * 9 * 10


def test_a_weight_may_be_legal_along_another_axis_only():
    flat = flattened_weight((6, 8, 3, 3))
    assert not [*illegal_groups(flat.reshape(6, 72))]
    wrong = wrong_axis_weight((8, 16, 3, 3))
    assert not [*illegal_groups(wrong.swapaxes(0, 1))]
    assert [*illegal_groups(dense_weight((1, 6)))] == [(0, 0)]  # the last group has two elements


def test_a_weight_stored_as_uint8_is_the_same_numbers():
    w = sparse_weight((6, 37))
    np.testing.assert_array_equal(as_uint8(w, 128).astype(int) - 128, w)
    with pytest.raises(AssertionError):
        as_uint8(w, 100)
