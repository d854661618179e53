"""Unit: what it computes is the integer product, for every size, tail, tile, stride and pad.

Compared with int64 NumPy written here and with ONNX Runtime, which shares nothing with us.
"""

from __future__ import annotations

import functools
import itertools
from typing import Any

import numpy as np
import onnx
import onnxruntime
import oracle
import pytest
import samples
from hypothesis import assume, given
from hypothesis import strategies as st

from cube24 import encoder
from cube24.simulator import Conv2d, Matmul, Tile, TilingError, Unit, UnitConfig

UNIT = Unit()
TAILS = (1, 15, 16, 17, 31, 32, 33, 48)


# --- the references -------------------------------------------------------------------------------


@functools.cache
def onnx_session(
    operator: str, rank: int, attributes: tuple[tuple[str, Any], ...]
) -> onnxruntime.InferenceSession:
    """One ONNX operator on two int8 tensors of any size, as a session of ONNX Runtime."""
    of = onnx.TensorProto
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node(operator, ["x", "w"], ["y"], **dict(attributes))],
        "one_operator",
        [
            onnx.helper.make_tensor_value_info(name, of.INT8, [f"{name}{i}" for i in range(rank)])
            for name in ("x", "w")
        ],
        [onnx.helper.make_tensor_value_info("y", of.INT32, None)],
    )
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def onnx_run(operator: str, x: np.ndarray, w: np.ndarray, **attributes: Any) -> np.ndarray:
    """What ONNX Runtime makes of two int8 tensors."""
    session = onnx_session(operator, x.ndim, tuple(sorted(attributes.items())))
    return session.run(None, {"x": x, "w": w})[0]


def convolved(
    x: np.ndarray,
    w: np.ndarray,
    strides: tuple[int, int] = (1, 1),
    pads: tuple[int, int, int, int] = (0, 0, 0, 0),
    dilations: tuple[int, int] = (1, 1),
    pad_value: int = 0,
) -> np.ndarray:
    """NCHW convolution in int64: one window of the padded image after the other."""
    top, left, bottom, right = pads
    image = np.full(
        (*x.shape[:2], x.shape[2] + top + bottom, x.shape[3] + left + right), pad_value, np.int64
    )
    image[:, :, top : top + x.shape[2], left : left + x.shape[3]] = x
    cout, _, kh, kw = w.shape
    spans = [(size - 1) * d + 1 for size, d in zip((kh, kw), dilations, strict=True)]
    ho = (image.shape[2] - spans[0]) // strides[0] + 1
    wo = (image.shape[3] - spans[1]) // strides[1] + 1
    flat = w.reshape(cout, -1).astype(np.int64)
    out = np.zeros((x.shape[0], cout, ho, wo), np.int64)
    for row, column in itertools.product(range(ho), range(wo)):
        y, z = row * strides[0], column * strides[1]
        window = image[
            :, :, y : y + spans[0] : dilations[0], z : z + spans[1] : dilations[1]
        ].reshape(x.shape[0], -1)
        out[:, :, row, column] = window @ flat.T
    return out


def seven_loops(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """The same without strides and pads, in Python integers: it vouches for ``convolved``."""
    (batch, cin, h, width), (cout, _, kh, kw) = x.shape, w.shape
    out = np.zeros((batch, cout, h - kh + 1, width - kw + 1), np.int64)
    for b, o, y, z in np.ndindex(out.shape):
        out[b, o, y, z] = sum(
            int(x[b, c, y + i, z + j]) * int(w[o, c, i, j])
            for c in range(cin)
            for i in range(kh)
            for j in range(kw)
        )
    return out


def activations_of(shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-128, 128, shape, dtype=np.int8)


def bias_of(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-(1 << 28), 1 << 28, n, dtype=np.int32)


def operand(weight: np.ndarray, sparse: bool) -> Any:
    """The weight as the unit takes it."""
    if not sparse:
        return weight
    return (encoder.encode_conv if weight.ndim == 4 else encoder.encode)(weight, layout="zn")


def test_the_reference_convolution_is_the_seven_loops():
    x, w = activations_of((2, 3, 5, 6), 1), samples.dense_weight((4, 3, 2, 3), 2)
    assert np.array_equal(convolved(x, w), seven_loops(x, w))


# --- matrix multiplication ------------------------------------------------------------------------


def check_matmul(m: int, n: int, k: int, sparse: bool, tile: Tile | None = None) -> None:
    seed = m * 1_000_003 + n * 10_007 + k * 2 + sparse
    x = activations_of((m, k), seed)
    make = samples.legal_weight if sparse else samples.dense_weight
    w = make((n, k), seed % (1 << 31))
    biased = bool((m + n + k) % 2)
    bias = bias_of(n, seed) if biased else None
    run = UNIT.matmul(x, operand(w, sparse), bias, tile=tile, check=w)
    product = oracle.matmul(x, w)
    theirs = onnx_run("MatMulInteger", x, np.ascontiguousarray(w.T))
    assert np.array_equal(theirs, product)
    assert run.output.dtype == np.int32
    assert run.output.shape == (m, n)
    assert np.array_equal(run.output, product + bias if biased else product)


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize("k", [4, 8, 32, 60, 64, 68, 128])
def test_matmul_is_the_integer_product_for_all_tails(k, sparse):
    for m, n in itertools.product(TAILS, TAILS):
        check_matmul(m, n, k, sparse)


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize("k", [1000, 4096, 8192])
def test_matmul_is_the_integer_product_for_long_k(k, sparse):
    for m, n in itertools.product(TAILS, TAILS):
        check_matmul(m, n, k, sparse)


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize("k", [1, 2, 3, 5, 6, 7, 31, 33, 63, 65])
def test_matmul_takes_a_k_that_is_no_multiple_of_anything(k, sparse):
    for m, n in ((1, 1), (17, 15), (16, 33)):
        check_matmul(m, n, k, sparse)


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
def test_matmul_cuts_a_large_result_into_tiles(sparse):
    check_matmul(300, 290, 260, sparse)


@pytest.mark.parametrize("weight_value", [-128, 127])
@pytest.mark.parametrize("activation_value", [-128, 127])
@pytest.mark.parametrize("k", [64, 4096, 8192])
def test_extremes_everywhere_are_exact(k, activation_value, weight_value):
    m, n = 17, 33
    x = np.full((m, k), activation_value, np.int8)
    full = np.full((n, k), weight_value, np.int8)
    half = full * (np.arange(k) % 4 < 2)  # two of four
    for w, sparse, kept in ((full, False, k), (half, True, k // 2)):
        run = UNIT.matmul(x, operand(w, sparse), check=w)
        assert (run.output == activation_value * weight_value * kept).all()


TILES = [
    Tile(16, 16, 64, 64),
    Tile(16, 32, 64, 128),
    Tile(32, 16, 128, 128),
    Tile(48, 48, 64, 192),
    Tile(16, 16, 192, 256),
    Tile(64, 16, 64, 1024),
]


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize("tile", TILES, ids=str)
def test_every_tile_gives_the_same_product(tile, sparse):
    for m, n, k in ((1, 1, 4), (33, 48, 68), (48, 33, 260), (17, 50, 448)):
        check_matmul(m, n, k, sparse, tile)


@pytest.mark.parametrize(
    "tile",
    [
        Tile(0, 16, 64, 64), Tile(16, 8, 64, 64), Tile(16, 16, 32, 64), Tile(16, 16, 64, 32),
        Tile(-16, 16, 64, 64), Tile(512, 512, 64, 64), Tile(16, 16, 4096, 4096),
        Tile(16, 16, 64, 64 << 10),
    ],
    ids=str,
)  # fmt: skip
def test_an_impossible_tile_is_refused(tile):
    x, w = activations_of((512, 64 << 10), 1), np.ones((16, 64 << 10), np.int8)
    with pytest.raises(TilingError, match="tile"):
        UNIT.matmul(x, w, tile=tile)


@pytest.mark.parametrize("layout", ["nd", "zn"])
def test_both_layouts_of_a_weight_run_the_same(layout):
    x, w = activations_of((5, 100), 3), samples.legal_weight((19, 100), 4)
    run = UNIT.matmul(x, encoder.encode(w, layout=layout))
    assert np.array_equal(run.output, oracle.matmul(x, w))


def test_nothing_times_anything_is_nothing():
    w = samples.legal_weight((19, 64), 4)
    assert UNIT.matmul(np.empty((0, 64), np.int8), operand(w, True)).output.shape == (0, 19)
    empty = UNIT.matmul(activations_of((3, 64), 1), np.empty((0, 64), np.int8))
    assert empty.output.shape == (3, 0)


def test_activations_in_any_memory_order_give_the_same():
    x, w = activations_of((64, 17), 3).T, samples.legal_weight((19, 64), 4)
    run = UNIT.matmul(x, operand(w, True), check=w)
    assert np.array_equal(run.output, oracle.matmul(x, w))


@pytest.mark.parametrize("preset", ["dav-2201", "310B1", "dav-3510"])
def test_every_preset_computes_the_same_dense_product(preset):
    x, w = activations_of((33, 200), 3), samples.dense_weight((40, 200), 4)
    run = Unit(preset).matmul(x, w, check=w)
    assert np.array_equal(run.output, oracle.matmul(x, w))


def test_a_unit_of_small_memories_computes_the_same():
    unit = Unit(
        UnitConfig("small", l1_bytes=16 << 10, l0a_bytes=4 << 10, l0b_bytes=4 << 10,
                   l0c_bytes=8 << 10, bt_bytes=256, fb_bytes=512)
    )  # fmt: skip
    x, w = activations_of((70, 500), 3), samples.legal_weight((90, 500), 4)
    bias = bias_of(90, 5)
    for weight in (w, operand(w, True)):
        run = unit.matmul(x, weight, bias, check=w)
        assert np.array_equal(run.output, oracle.matmul(x, w) + bias)


@st.composite
def multiplications(draw: st.DrawFn) -> tuple[Any, ...]:
    m, n = draw(st.integers(1, 70)), draw(st.integers(1, 70))
    k = draw(st.integers(1, 400))
    tile = draw(
        st.none()
        | st.builds(
            lambda a, b, c, d: Tile(16 * a, 16 * b, 64 * c, 64 * d),
            st.integers(1, 4),
            st.integers(1, 4),
            st.integers(1, 3),
            st.integers(1, 6),
        )
    )
    return m, n, k, tile, draw(st.booleans()), draw(st.integers(0, 1 << 30))


@given(multiplications())
def test_matmul_is_the_integer_product_for_any_size_and_tile(problem):
    m, n, k, tile, sparse, seed = problem
    x = activations_of((m, k), seed)
    w = (samples.legal_weight if sparse else samples.dense_weight)((n, k), seed)
    bias = bias_of(n, seed) if seed % 2 else None
    run = UNIT.matmul(x, operand(w, sparse), bias, tile=tile, check=w)
    assert np.array_equal(run.output, oracle.matmul(x, w) + (0 if bias is None else bias))


# --- convolution ----------------------------------------------------------------------------------


def check_conv(
    shape: tuple[int, ...],
    w_shape: tuple[int, ...],
    sparse: bool,
    *,
    tile: Tile | None = None,
    **options: Any,
) -> None:
    seed = sum(shape) * 31 + sum(w_shape)
    x = activations_of(shape, seed)
    w = samples.legal_weight(w_shape, seed, "conv") if sparse else (
        samples.dense_weight(w_shape, seed)
    )  # fmt: skip
    expected = convolved(x, w, **options)
    if "pad_value" not in options and "offset_x" not in options:  # ONNX pads with zeros only
        named = {"strides": (1, 1), "pads": (0, 0, 0, 0), "dilations": (1, 1), **options}
        theirs = onnx_run("ConvInteger", x, w, **named)
        assert np.array_equal(theirs, expected)
    bias = bias_of(w_shape[0], seed) if seed % 2 else None
    run = UNIT.conv2d(x, operand(w, sparse), bias, tile=tile, check=w, **options)
    assert run.output.dtype == np.int32
    if bias is not None:
        expected = expected + bias[:, None, None]
    assert np.array_equal(run.output, expected)


KERNELS = [(1, 1), (3, 3), (5, 5), (7, 7), (1, 7), (7, 1), (2, 3)]
CHANNELS = [1, 3, 4, 16, 31, 32, 33, 64, 96]


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize("cin", CHANNELS)
@pytest.mark.parametrize("kernel", KERNELS, ids=lambda k: f"{k[0]}x{k[1]}")
def test_conv2d_is_the_integer_convolution_for_every_kernel_and_channel_count(kernel, cin, sparse):
    check_conv((1, cin, 9, 10), (17, cin, *kernel), sparse)


GEOMETRY = [
    {"strides": (2, 2)},
    {"strides": (3, 1), "pads": (1, 1, 1, 1)},
    {"strides": (1, 4), "pads": (0, 2, 0, 1)},
    {"pads": (1, 2, 3, 0)},
    {"pads": (0, 0, 2, 5), "strides": (2, 3)},
    {"pads": (5, 4, 6, 7)},  # larger than the kernel: windows of nothing but padding
    {"pads": (9, 0, 0, 9), "strides": (4, 4)},
    {"pads": (12, 12, 12, 12), "strides": (5, 5)},
    {"dilations": (2, 2)},
    {"dilations": (1, 3), "pads": (1, 3, 1, 3)},
    {"dilations": (3, 2), "strides": (2, 2), "pads": (3, 0, 4, 1)},
    {"strides": (7, 7)},  # larger than the kernel: pixels that nobody reads
]


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize("options", GEOMETRY, ids=str)
def test_conv2d_is_the_integer_convolution_for_strides_pads_and_dilations(options, sparse):
    for cin, kernel in ((4, (3, 3)), (33, (3, 2)), (64, (1, 1))):
        # ONNX Runtime takes no pads beyond the kernel for some of these; NumPy does.
        check_conv((2, cin, 8, 7), (5, cin, *kernel), sparse, **options)


@pytest.mark.parametrize("options", GEOMETRY, ids=str)
def test_conv2d_is_what_onnx_runtime_computes(options):
    check_conv((2, 12, 9, 8), (18, 12, 3, 3), True, **options)


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize("tile", TILES, ids=str)
def test_every_tile_gives_the_same_convolution(tile, sparse):
    for cin, kernel, options in (
        (33, (3, 3), {"pads": (1, 1, 1, 1)}),
        (96, (1, 1), {"strides": (2, 1)}),
        (100, (2, 2), {"pads": (4, 3, 5, 0), "dilations": (2, 1)}),
    ):
        check_conv((2, cin, 7, 9), (35, cin, *kernel), sparse, tile=tile,
                   **options)  # fmt: skip


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize(
    ("shape", "w_shape"),
    [
        ((1, 64, 32, 32), (128, 64, 5, 5)),
        ((1, 64, 16, 16), (128, 64, 7, 7)),
        ((1, 96, 32, 32), (96, 96, 7, 7)),
        ((1, 3, 112, 112), (64, 3, 7, 7)),
        ((1, 512, 7, 7), (256, 512, 3, 3)),
    ],
)
def test_a_tile_is_found_for_the_layers_of_real_networks(shape, w_shape, sparse):
    options = {"pads": (w_shape[2] // 2,) * 4, "strides": (4, 4)}
    check_conv(shape, w_shape, sparse, **options)


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_every_image_of_a_batch_is_convolved_alone(batch):
    x, w = activations_of((batch, 36, 6, 5), batch), samples.legal_weight((20, 36, 3, 3), 7, "conv")
    sparse = operand(w, True)
    whole = UNIT.conv2d(x, sparse, pads=(1, 1, 1, 1), check=w).output
    for number in range(batch):
        one = UNIT.conv2d(x[number : number + 1], sparse, pads=(1, 1, 1, 1)).output
        assert np.array_equal(whole[number : number + 1], one)
    assert np.array_equal(whole, convolved(x, w, pads=(1, 1, 1, 1)))


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize("cin", [3, 32, 40])
def test_nhwc_is_nchw_transposed(cin, sparse):
    x, w = activations_of((2, cin, 6, 5), 1), samples.legal_weight((9, cin, 3, 2), 2, "conv")
    run = UNIT.conv2d(
        np.ascontiguousarray(x.transpose(0, 2, 3, 1)), operand(w, sparse), data_format="NHWC",
        strides=(1, 2), pads=(0, 1, 2, 1), check=w,
    )  # fmt: skip
    expected = convolved(x, w, strides=(1, 2), pads=(0, 1, 2, 1))
    assert np.array_equal(run.output, expected.transpose(0, 2, 3, 1))
    assert run.output.flags.c_contiguous


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize("cin", [3, 33, 64])
@pytest.mark.parametrize("value", [-128, -7, 0, 5, 127])
def test_offset_x_is_the_value_of_the_padding(value, cin, sparse):
    x, w = activations_of((1, cin, 5, 6), 1), samples.legal_weight((9, cin, 3, 3), 2, "conv")
    pads = (1, 2, 4, 3)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 4), (2, 3)), constant_values=value)
    run = UNIT.conv2d(x, operand(w, sparse), pads=pads, offset_x=value, check=w)
    assert np.array_equal(run.output, convolved(padded, w))


def test_conv2d_of_extremes_is_exact():
    x, w = np.full((1, 64, 6, 6), -128, np.int8), np.full((16, 64, 3, 3), -128, np.int8)
    half = w * (np.arange(64) % 4 < 2)[:, None, None]
    for weight, sparse in ((w, False), (half, True)):
        run = UNIT.conv2d(
            x, operand(weight, sparse), pads=(2, 2, 2, 2), offset_x=-128, check=weight
        )
        assert (run.output == 16384 * 9 * (32 if sparse else 64)).all()


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[Any, ...]:
    small = st.integers(1, 3)
    x_shape = (draw(st.integers(1, 2)), draw(st.integers(1, 70)), *draw(st.tuples(
        st.integers(1, 9), st.integers(1, 9))))  # fmt: skip
    w_shape = (draw(st.integers(1, 20)), x_shape[1], draw(small), draw(small))
    options = {
        "strides": draw(st.tuples(small, small)),
        "pads": draw(st.tuples(*[st.integers(0, 5)] * 4)),
        "dilations": draw(st.tuples(small, small)),
    }
    tile = draw(st.none() | st.sampled_from(TILES))
    return x_shape, w_shape, options, tile, draw(st.integers(-128, 127)), draw(st.booleans())


@given(convolutions())
def test_conv2d_is_the_integer_convolution_for_any_geometry(problem):
    x_shape, w_shape, options, tile, pad_value, sparse = problem
    top, left, bottom, right = options["pads"]
    for size, before, after, kernel, dilation in zip(
        x_shape[2:], (top, left), (bottom, right), w_shape[2:], options["dilations"], strict=True
    ):
        assume(size + before + after >= (kernel - 1) * dilation + 1)
    x, w = activations_of(x_shape, 1), samples.legal_weight(w_shape, 2, "conv")
    run = UNIT.conv2d(x, operand(w, sparse), tile=tile, offset_x=pad_value, check=w, **options)
    assert np.array_equal(run.output, convolved(x, w, pad_value=pad_value, **options))


# --- fully connected ------------------------------------------------------------------------------


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize("shape", [(3, 60), (3, 5, 12), (2, 4, 3, 5), (1, 1, 1, 1, 60)])
def test_fully_connected_flattens_everything_but_the_batch(shape, sparse):
    x, w = activations_of(shape, 1), samples.legal_weight((21, 60), 2)
    bias = bias_of(21, 3)
    run = UNIT.fully_connected(x, operand(w, sparse), bias, check=w)
    flat = np.array([image.flatten() for image in x])
    assert np.array_equal(run.output, oracle.matmul(flat, w) + bias)


# --- what does not fit ----------------------------------------------------------------------------


def wrong_calls() -> dict[str, tuple[Any, type[Exception], str]]:
    x, w = np.ones((2, 8), np.int8), np.ones((3, 8), np.int8)
    image, kernel = np.ones((1, 4, 5, 5), np.int8), np.ones((3, 4, 3, 3), np.int8)
    half, conv = encoder.encode(w * np.int8([1, 1, 0, 0] * 2)), encoder.encode_conv(
        kernel * np.int8([1, 1, 0, 0])[:, None, None]
    )  # fmt: skip
    dtype, shape, argument = encoder.DtypeError, encoder.ShapeError, encoder.ArgumentError
    f, g, h = UNIT.matmul, UNIT.conv2d, UNIT.fully_connected
    return {
        "activations of int16": (lambda: f(x.astype(np.int16), w), dtype, "int16"),
        "weight of uint8": (lambda: f(x, w.astype(np.uint8)), dtype, "uint8"),
        "bias of int64": (lambda: f(x, w, np.zeros(3, np.int64)), dtype, "int64"),
        "bias of another length": (lambda: f(x, w, np.zeros(4, np.int32)), shape, "bias"),
        "another K": (lambda: f(x[:, :4], w), shape, r"\(M, 8\)"),
        "another K, sparse": (lambda: f(x[:, :4], half), shape, r"\(M, 8\)"),
        "activations of one dimension": (lambda: f(x[0], w), shape, "activations"),
        "a conv weight to matmul": (lambda: f(x, conv), shape, "kind"),
        "a conv array to matmul": (lambda: f(x, kernel), shape, "weight"),
        "no K": (lambda: f(x[:, :0], w[:, :0]), shape, "K is 0"),
        "a check of another shape": (lambda: f(x, w, check=w[:2]), shape, "check"),
        "fully connected without batch": (lambda: h(x[0], w), shape, r"\(B, ...\)"),
        "a matrix weight to conv2d": (lambda: g(image, half), shape, "kind"),
        "a matrix to conv2d": (lambda: g(image, w), shape, "weight"),
        "other channels": (lambda: g(image[:, :3], kernel), shape, "channels"),
        "an image of three dimensions": (lambda: g(image[0], kernel), shape, "NCHW"),
        "an unknown data format": (lambda: g(image, kernel, data_format="CHWN"), argument, "CHWN"),
        "a stride of 0": (lambda: g(image, kernel, strides=(0, 1)), argument, "strides"),
        "a stride of 1.5": (lambda: g(image, kernel, strides=(1.5, 1)), argument, "strides"),
        "three pads": (lambda: g(image, kernel, pads=(0, 1, 1)), argument, "pads"),
        "a negative pad": (lambda: g(image, kernel, pads=(0, 0, 0, -1)), argument, "pads"),
        "a dilation of 0": (lambda: g(image, kernel, dilations=(1, 0)), argument, "dilations"),
        "a pad value of 128": (lambda: g(image, kernel, offset_x=128), argument, "offset_x"),
        "a kernel beyond the image": (lambda: g(image[:, :, :2], kernel), shape, "fit"),
        "an empty image": (lambda: g(image[:, :, :0], kernel, pads=(2, 2, 2, 2)), shape, "fit"),
        "a kernel of nothing": (lambda: g(image, kernel[..., :0]), shape, "nothing"),
        "no such unit": (lambda: Unit("dav-9999"), argument, "dav-2201"),
    }


@pytest.mark.parametrize("case", wrong_calls())
def test_what_does_not_fit_is_refused_by_name(case):
    call, error, words = wrong_calls()[case]
    with pytest.raises(error, match=words):
        call()


def test_check_finds_a_weight_that_is_not_the_original():
    x, w = np.ones((2, 8), np.int8), samples.legal_weight((3, 8), 1)
    other = w.copy()
    other[1, 0] ^= 1
    with pytest.raises(AssertionError, match=r"2 of 6 outputs differ.*\(0, 1\)"):
        UNIT.matmul(x, operand(w, True), check=other)


# --- a layer, values and time ---------------------------------------------------------------------


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
def test_run_and_the_calls_that_take_the_layer_from_arrays_are_one(sparse):
    x = activations_of((2, 40, 5, 6), 1)
    w = samples.legal_weight((17, 40, 3, 2), 2, kind="conv")
    layer = Conv2d(2, 40, 5, 6, 17, (3, 2), (2, 1), (1, 0, 2, 1), (1, 2), offset_x=-3)
    run = UNIT.run(layer, x, operand(w, sparse), check=w)
    same = UNIT.conv2d(
        x, operand(w, sparse), strides=(2, 1), pads=(1, 0, 2, 1), dilations=(1, 2), offset_x=-3
    )
    assert run.output.shape == layer.output
    assert np.array_equal(run.output, same.output)
    assert run.cycles == same.cycles == UNIT.time(layer, sparse=sparse).cycles


WRONG = {
    "activations of another shape": lambda x, w: UNIT.run(Matmul(4, 8, 64), x[:3], w),
    "a weight of another shape": lambda x, w: UNIT.run(Matmul(4, 9, 64), x, w),
    "the other kind of weight": lambda x, w: UNIT.run(
        Matmul(4, 8, 64), x, encoder.encode_conv(w.reshape(8, 64, 1, 1))
    ),
    "a convolution of matrices": lambda x, w: UNIT.run(Conv2d(1, 64, 1, 4, 8, (1, 1)), x, w),
    "a bias that is only known to be there": lambda x, w: UNIT.run(
        Matmul(4, 8, 64), x, w, bias=True
    ),
    "rows of a 2:4 weight": lambda x, w: UNIT.matmul(x, encoder.encode(w), weight_rows=True),
    "rows of a convolution": lambda x, w: UNIT.run(
        Conv2d(1, 64, 1, 4, 8, (1, 1)), x.T.reshape(1, 64, 1, 4), w.reshape(8, 64, 1, 1),
        weight_rows=True,
    ),
    "a time of rows of a 2:4 weight": lambda x, w: UNIT.time(Matmul(4, 8, 64), weight_rows=True),
    "a time with a bias array": lambda x, w: UNIT.time(Matmul(4, 8, 64), bias=np.zeros(8, "i4")),
    "a type that no unit has": lambda x, w: UNIT.time(Matmul(4, 8, 64), dtype="nonsense"),
    "float16 that is 2:4": lambda x, w: UNIT.time(Matmul(4, 8, 64), dtype="float16"),
    "a convolution of float16": lambda x, w: UNIT.time(
        Conv2d(1, 64, 7, 7, 64, (1, 1)), sparse=False, dtype="float16"
    ),
    "a type of a convolution's values": lambda x, w: UNIT.conv2d(
        x.T.reshape(1, 64, 1, 4), w.reshape(8, 64, 1, 1), dtype="nonsense"
    ),
    "cores of values": lambda x, w: UNIT.matmul(x, w, cores=2),
    "a weight that is said to be 2:4": lambda x, w: UNIT.matmul(x, w, sparse=True),
    "a size that is no number": lambda x, w: Matmul(4, "8", 64),
    "a size below zero": lambda x, w: Matmul(-4, 8, 64),
    "a size of True": lambda x, w: Matmul(True, 8, 64),
    "half a stride": lambda x, w: Conv2d(1, 64, 7, 7, 64, (1, 1), strides=(1.5, 1)),
}  # fmt: skip


@pytest.mark.parametrize("call", WRONG.values(), ids=WRONG)
def test_what_a_layer_cannot_be_run_with_is_refused_and_not_ignored(call):
    x, w = activations_of((4, 64), 1), samples.legal_weight((8, 64), 3)
    with pytest.raises(encoder.Cube24Error):
        call(x, w)


def test_arguments_that_do_not_exist_are_refused():
    x, w = activations_of((1, 32, 4, 4), 1), np.ones((8, 32, 1, 1), np.int8)
    for call in (UNIT.conv2d, UNIT.matmul, UNIT.fully_connected):
        with pytest.raises(TypeError, match="no_such"):
            call(x, w, no_such=1)
    with pytest.raises(TypeError, match="weight_rows"):
        UNIT.conv2d(x, w, weight_rows=True)


def test_values_false_is_the_old_spelling_of_a_time():
    with pytest.warns(DeprecationWarning, match=r"Unit\.time"):
        run = UNIT.matmul((64, 256), (48, 256), values=False, sparse=True, cores=2)
    assert run.cycles == UNIT.time(Matmul(64, 48, 256), cores=2).cycles
    with pytest.warns(DeprecationWarning, match=r"Unit\.time"):
        run = UNIT.conv2d((1, 40, 9, 9), (64, 40, 3, 3), values=False, pads=(1,) * 4)
    layer = Conv2d(1, 40, 9, 9, 64, (3, 3), pads=(1,) * 4)
    assert run.cycles == UNIT.time(layer, sparse=False).cycles


@pytest.mark.filterwarnings("ignore:values=False is old")
def test_what_a_time_cannot_obey_is_refused_in_the_old_spelling_too():
    w = np.tile(np.array([1, 0, 2, 0], np.int8), (48, 64))
    encoded, x = encoder.encode(w), np.ones((4, 256), np.int8)
    with pytest.warns(DeprecationWarning, match=r"Unit\.time"):
        assert UNIT.matmul(x, encoded, values=False, sparse=True).plan.problem.sparse
    for said, options in (
        ("sparse=False", {"values": False, "sparse": False}),
        ("check", {"values": False, "check": True}),
        ("cores", {"cores": 2}),
        ("dtype", {"values": True, "dtype": "int8"}),
        ("values is 0", {"values": 0}),
    ):
        with pytest.raises(encoder.ArgumentError, match=said):
            UNIT.matmul(x, encoded, **options)
    assert np.array_equal(UNIT.matmul(x, encoded, values=True).output, x.astype(int) @ w.T)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64])
def test_small_integer_types_are_numbers_like_any_other(dtype):
    pads = np.array([2, 2, 2, 2], dtype)
    layer = Conv2d(dtype(1), dtype(40), dtype(30), dtype(30), dtype(64), (3, 3), pads=pads)
    assert layer == Conv2d(1, 40, 30, 30, 64, (3, 3), pads=(2, 2, 2, 2))
    assert [type(size) for size in (layer.batch, *layer.pads, *layer.positions)] == [int] * 7
