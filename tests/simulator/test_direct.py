"""All products at once: the bits of the instructions, wherever no step can saturate.

The reference is written here: the slots of the bytes one after the other, and the rule of a word
for one sum. What it says is compared with both ways that the unit computes, on each code path.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest
import samples
from hypothesis import given
from hypothesis import strategies as st

from cube24 import encoder
from cube24.encoder import SparseWeight
from cube24.errors import ArgumentError, DtypeError, OutBufferError, ShapeError
from cube24.simulator import (
    Conv2d,
    IllegalIndexError,
    Matmul,
    MismatchError,
    Requant,
    Unit,
    UnitConfig,
    UnsupportedError,
)

UNIT = Unit()
INT32 = np.iinfo(np.int32)


# --- the reference --------------------------------------------------------------------------------


def unfolded(x: np.ndarray, layer: Any) -> np.ndarray:
    """Rows of activations in the K order (C1, Kh, Kw, 32), one for each output position."""
    if isinstance(layer, Matmul):
        return x.astype(np.int64)
    batch, cin, h, w = x.shape
    (kh, kw), (sh, sw), (dh, dw) = layer.kernel, layer.strides, layer.dilations
    top, left, bottom, right = layer.pads
    ho = (h + top + bottom - (kh - 1) * dh - 1) // sh + 1
    wo = (w + left + right - (kw - 1) * dw - 1) // sw + 1
    c1 = -(-cin // 32)
    rows = np.zeros((batch, ho, wo, c1, kh, kw, 32), np.int64)
    for y, z, i, j in itertools.product(range(ho), range(wo), range(kh), range(kw)):
        v, u = y * sh + i * dh - top, z * sw + j * dw - left
        if not (0 <= v < h and 0 <= u < w):
            rows[:, y, z, :, i, j] = layer.offset_x
            continue
        pixel = np.zeros((batch, c1 * 32), np.int64)
        pixel[:, :cin] = x[:, :, v, u]
        rows[:, y, z, :, i, j] = pixel.reshape(batch, c1, 32)
    return rows.reshape(batch * ho * wo, -1)


def selected(weight: SparseWeight, k: int, config: UnitConfig) -> np.ndarray:
    """The matrix (N, K) that slots add up to, by the bytes of a weight in layout nd."""
    groups = -(-k // 4)
    matrix = np.zeros((len(weight.dense), 4 * groups), np.int64)
    for n, g in itertools.product(range(len(matrix)), range(groups)):
        nibble = int(weight.index[n, g // 2]) >> 4 * (g % 2) & 15
        i0, i1 = nibble & 3, nibble >> 2
        second = 2 if config.pair20 == "table" and (i0, i1) == (2, 0) else i1 + 1
        if i0 < 3:
            matrix[n, 4 * g + i0] += weight.dense[n, 2 * g]
        if i1 < 3:
            matrix[n, 4 * g + second] += weight.dense[n, 2 * g + 1]
    return matrix[:, :k]


def sums_of(
    layer: Any, x: np.ndarray, weight: Any, bias: np.ndarray | None, config: UnitConfig
) -> np.ndarray:
    """Exact sums as rows, int64."""
    rows = unfolded(x, layer)
    if isinstance(weight, SparseWeight):
        matrix = selected(weight.to_nd(), layer.k, config)
    elif weight.ndim == 2:
        matrix = weight.astype(np.int64)
    else:
        cout, cin, kh, kw = weight.shape
        blocks = np.zeros((cout, layer.k // 32 // kh // kw * 32, kh, kw), np.int64)
        blocks[:, :cin] = weight
        matrix = blocks.reshape(cout, -1, 32, kh, kw).transpose(0, 1, 3, 4, 2).reshape(cout, -1)
    return rows @ matrix.T + (0 if bias is None else bias.astype(np.int64))


def requantised(total: int, scale: float, offset: int, how: Requant) -> int:
    """What a word makes of one sum, step by step."""
    if how.shift:
        total = min(max(total >> how.shift, -(1 << 15)), (1 << 15) - 1)
    x = np.float32(total)
    factor = np.float32(scale)
    if x < 0 and how.relu is not False:
        factor = np.float32(0 if how.relu is True else how.relu)
    with np.errstate(over="ignore"):
        y = x * factor
    moved = round(float(min(max(y, np.float32(-256)), np.float32(255)))) + offset  # ties to even
    low, high = (-128, 127) if how.signed else (0, 255)
    return min(max(moved, low), high)


def expected_of(
    layer: Any, x: np.ndarray, weight: Any, bias: Any, how: Requant | None, config: UnitConfig
) -> np.ndarray:
    sums = sums_of(layer, x, weight, bias, config)
    if how is None:
        wanted = sums.astype(np.uint64).astype(np.uint32).view(np.int32)
    else:
        wanted = np.empty(sums.shape, how.dtype)
        scales = np.broadcast_to(np.asarray(how.effective_scale), layer.n)
        offsets = np.broadcast_to(np.asarray(how.offset), layer.n)
        for m, n in np.ndindex(*sums.shape):
            wanted[m, n] = requantised(int(sums[m, n]), scales[n], int(offsets[n]), how)
    if isinstance(layer, Matmul):
        return wanted
    batch, cout, ho, wo = layer.output
    return wanted.reshape(batch, ho, wo, cout).transpose(0, 3, 1, 2)


def check(
    layer: Any, x: np.ndarray, weight: Any, bias: Any = None, how: Requant | None = None,
    unit: Unit = UNIT, **options: Any,
) -> None:  # fmt: skip
    """Both ways give what the reference says, and the first is not that of the instructions."""
    run = unit.run(layer, x, weight, bias=bias, requant=how, **options)
    steps = unit.run(layer, x, weight, bias=bias, requant=how, exact_steps=True)
    assert (run.exact_steps, steps.exact_steps) == (False, True)
    assert run.output.dtype == steps.output.dtype
    assert np.array_equal(run.output, steps.output)
    if how is None or how.mode == "REQ8":
        wanted = expected_of(layer, x, weight, bias, how, unit.config)
        assert np.array_equal(run.output, wanted)


def activations(shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-128, 128, shape, dtype=np.int8)


def biases(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-(1 << 24), 1 << 24, n, dtype=np.int32)


def operands(weight: np.ndarray) -> list[Any]:
    """A legal weight in all the forms that a unit takes."""
    encode = encoder.encode_conv if weight.ndim == 4 else encoder.encode
    return [weight, encode(weight, layout="nd"), encode(weight, layout="zn")]


# --- sizes, geometry, requantisation --------------------------------------------------------------


@pytest.mark.usefixtures("path")
def test_every_tail_of_a_matrix_multiplication():
    for m, n, k in itertools.product((1, 5, 6, 31), (1, 16, 33, 66), (1, 4, 7, 8, 36, 64, 129)):
        seed = m * 10_007 + n * 101 + k
        x, w = activations((m, k), seed), samples.legal_weight((n, k), seed)
        for weight in operands(w):
            check(Matmul(m, n, k), x, weight, biases(n, seed) if seed % 2 else None)


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize(
    "size", [(401, 70, 12), (3, 130, 1100), (90, 257, 64), (1, 1000, 60)], ids=str
)
def test_matrices_larger_than_a_chunk(size):
    m, n, k = size
    x, w = activations((m, k), m), samples.legal_weight((n, k), n)
    for weight in operands(w):
        check(Matmul(m, n, k), x, weight, biases(n, 1), Requant(2.0**-9, 3))


GEOMETRY: list[tuple[tuple[int, ...], int, tuple[int, int], dict[str, Any]]] = [
    ((1, 3, 9, 10), 20, (3, 3), {"pads": (1, 1, 1, 1)}),
    ((2, 32, 5, 6), 17, (1, 1), {}),
    ((1, 40, 4, 5), 66, (1, 1), {"pads": (2, 1, 0, 3), "offset_x": 5}),
    ((2, 70, 7, 5), 9, (1, 1), {"strides": (2, 3)}),
    ((1, 33, 8, 7), 5, (3, 2), {"strides": (2, 1), "dilations": (1, 2), "pads": (1, 0, 2, 1)}),
    ((1, 64, 6, 9), 16, (2, 3), {"dilations": (2, 1), "pads": (3, 2, 0, 4), "offset_x": -128}),
    ((1, 1, 20, 17), 3, (7, 7), {"strides": (2, 2), "pads": (3, 3, 3, 3)}),
    ((1, 8, 4, 4), 4, (3, 3), {"strides": (4, 4), "pads": (9, 8, 7, 9), "offset_x": 127}),
    ((3, 31, 5, 3), 2, (5, 3), {}),
]


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("case", GEOMETRY, ids=str)
def test_every_geometry_of_a_convolution(case):
    shape, cout, kernel, options = case
    layer = Conv2d(*shape, cout, kernel, **options)
    x, w = activations(shape, cout), samples.legal_weight(layer.weight, cout, "conv")
    for weight in operands(w):
        for how in (None, Requant(np.full(cout, 2.0**-10), np.arange(cout), relu=True)):
            check(layer, x, weight, biases(cout, 2), how)
            nhwc = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
            run = UNIT.conv2d(nhwc, weight, biases(cout, 2), how, data_format="NHWC", **options)
            wanted = expected_of(layer, x, weight, biases(cout, 2), how, UNIT.config)
            assert np.array_equal(run.output, wanted.transpose(0, 2, 3, 1))


HOW = [
    Requant(0.01),
    Requant(2.0**-8, -256),
    Requant(2.0**-8, 255, signed=False),
    Requant(-0.5, 7, relu=True),
    Requant(2.0**-6, signed=False, relu=0.25),
    Requant(2.0**-6, -9, relu=-3.5),
    Requant(0.125, 1, shift=1),
    Requant(2.0**-3, shift=16, signed=False),
    Requant(1e30),
    Requant(2.0**-136),
    Requant(0.0, 77),
    Requant(np.linspace(-0.01, 0.02, 70), np.arange(70) - 30, shift=4, relu=1.5),
    Requant(np.full(70, 2.0**-7)),
    Requant(2.0**-7, np.arange(70) * 3),
    Requant(0.01, mode="DEQF16"),
    Requant(np.linspace(-1, 1e10, 70), mode="DEQF16", relu=True),
]


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("how", HOW, ids=range(len(HOW)))
def test_every_way_to_requantise(how):
    x, w = activations((37, 24), 1), samples.legal_weight((70, 24), 2)
    bias = np.concatenate([np.arange(-35, 33), [INT32.max - (1 << 20), -(1 << 30)]])
    bias = bias.astype(np.int32)
    image = activations((1, 24, 3, 5), 3)
    for weight in operands(w):
        check(Matmul(37, 70, 24), x, weight, bias, how)
    for weight in operands(w.reshape(70, 24, 1, 1)):
        check(Conv2d(1, 24, 3, 5, 70, (1, 1)), image, weight, bias, how)


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("value", [-128, 127])
@pytest.mark.parametrize("other", [-128, 127])
def test_extremes_everywhere(value, other):
    x = np.full((7, 260), value, np.int8)
    w = np.full((18, 260), other, np.int8) * (np.arange(260) % 4 < 2).astype(np.int8)
    for weight in (np.full((18, 260), other, np.int8), *operands(w)):
        check(Matmul(7, 18, 260), x, weight)


@given(st.data())
def test_any_convolution(data):
    draw = data.draw
    kernel = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    dilations = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    pads = tuple(draw(st.integers(0, 5)) for _ in range(4))
    h = draw(st.integers(max(1, (kernel[0] - 1) * dilations[0] + 1 - pads[0] - pads[2]), 12))
    w = draw(st.integers(max(1, (kernel[1] - 1) * dilations[1] + 1 - pads[1] - pads[3]), 12))
    layer = Conv2d(
        draw(st.integers(1, 2)), draw(st.integers(1, 70)), h, w, draw(st.integers(1, 70)), kernel,
        (draw(st.integers(1, 3)), draw(st.integers(1, 3))), pads, dilations,
        draw(st.integers(-128, 127)),
    )  # fmt: skip
    seed = draw(st.integers(0, 1 << 30))
    weight = operands(samples.legal_weight(layer.weight, seed, "conv"))[seed % 3]
    encoder.use_path(draw(st.sampled_from(encoder.paths())))
    try:
        check(layer, activations(layer.activations, seed), weight, biases(layer.n, seed))
    finally:
        encoder.use_path(None)


# --- bytes that no encoder wrote, and the rules of a unit -----------------------------------------


def foreign(n: int, k: int, seed: int, largest: int) -> SparseWeight:
    """Any dense bytes, and indices up to a largest one: conflicts, two weights on one element."""
    rng = np.random.default_rng(seed)
    pairs = -(-k // 8)
    bits = rng.integers(0, largest + 1, (n, pairs, 4), dtype=np.uint8)
    index = bits[..., 0] | bits[..., 1] << 2 | bits[..., 2] << 4 | bits[..., 3] << 6
    dense = rng.integers(-128, 128, (n, 4 * pairs), dtype=np.int8)
    return SparseWeight(dense, index.astype(np.uint8), (n, k))


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("pair20", ["rule", "table"])
@pytest.mark.parametrize("index3", ["error", "nothing"])
@pytest.mark.parametrize("k", [8, 12, 100, 260])
def test_the_index_alone_decides(pair20, index3, k):
    unit = Unit(UnitConfig(pair20=pair20, index3=index3))
    weight = foreign(35, k, k, 3 if index3 == "nothing" else 2)
    for given_as in (weight, weight.to_fractal()):
        check(Matmul(9, 35, k), activations((9, k), 1), given_as, unit=unit)


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("offset_x", [0, 9])
def test_bytes_of_channels_that_are_not_there_count_as_the_datapath_counts_them(offset_x):
    layer = Conv2d(1, 5, 4, 4, 6, (3, 3), pads=(1, 1, 1, 1), offset_x=offset_x)
    bytes_of = foreign(6, layer.k, 4, 2)
    weight = SparseWeight(bytes_of.dense, bytes_of.index, layer.weight, kind="conv")
    check(layer, activations(layer.activations, 1), weight)


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("byte", [0x03, 0x0C, 0x30, 0xC0])
def test_an_index_of_3_is_told_as_the_instruction_tells_it(byte):
    weight = encoder.encode(samples.legal_weight((70, 72), 1))
    weight.index[68, 8] = byte
    x = activations((3, 72), 1)
    with pytest.raises(IllegalIndexError) as of_steps:
        UNIT.matmul(x, weight, exact_steps=True)
    with pytest.raises(IllegalIndexError) as error:
        UNIT.matmul(x, weight)
    assert str(error.value) == str(of_steps.value)
    assert "column 68" in str(error.value)


def test_padding_of_fractals_takes_no_part(path):
    clean = encoder.encode(samples.legal_weight((17, 68), 1), layout="zn")
    dense, index = clean.dense.copy(), clean.index.copy()
    dense[:, 1, 1:], index[:, 1, 1:] = 99, 255  # columns behind 17
    dense[1, :, :, 2:], index[1, :, :, 1:] = 99, 255  # and k behind 68
    index[1, :, :, 0] |= 0xF0
    weight = SparseWeight(dense, index, (17, 68), "zn")
    x = activations((4, 68), 1)
    run = UNIT.matmul(x, weight)
    assert not run.exact_steps
    assert np.array_equal(run.output, UNIT.matmul(x, clean).output)
    assert np.array_equal(run.output, UNIT.matmul(x, weight, exact_steps=True).output)


def test_a_unit_without_sparsity_refuses_a_sparse_weight_as_before():
    weight = encoder.encode(samples.legal_weight((4, 8), 1))
    with pytest.raises(UnsupportedError, match="no 2:4 sparsity"):
        Unit(UnitConfig(sparsity=False)).matmul(activations((2, 8), 1), weight)


# --- which way is taken ---------------------------------------------------------------------------


def run_at(bias: int, weight: Any, k: int, config: UnitConfig = UNIT.config) -> Any:
    n = weight.shape[0]
    x = np.full((1, k), -128, np.int8)
    return Unit(config).matmul(x, weight, np.full(n, bias, np.int32))


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_bias_at_the_edge_decides(sparse, sign):
    k = 64
    full = np.full((3, k), -128, np.int8)
    half = np.where(np.arange(k) % 4 < 2, full, 0).astype(np.int8)
    weight = encoder.encode(half) if sparse else full
    products = (k // 2 if sparse else k) << 14
    below = run_at(sign * (INT32.max - products), weight, k)
    assert not below.exact_steps  # at most 2^31 - 1
    assert (below.output == sign * (INT32.max - products) + products).all()
    at = run_at(sign * (INT32.max + 1 - products), weight, k)
    assert at.exact_steps  # 2^31 is not held
    assert (at.output == min(sign * (INT32.max + 1 - products) + products, INT32.max)).all()


@pytest.mark.parametrize("layout", ["nd", "zn", "dense"])
def test_columns_are_bounded_by_their_own_weights(layout):
    k, n = 64, 20
    w = np.zeros((n, k), np.int8)
    w[:, ::4] = 1  # 16 weights, 2^7 each at most
    w[7, 0] = -5
    weight = w if layout == "dense" else encoder.encode(w, layout=layout)
    limit = INT32.max - 128 * 20  # of column 7
    bias = np.full(n, INT32.max - 128 * 16, np.int32)
    bias[7] = limit
    x = activations((3, k), 1)
    run = UNIT.matmul(x, weight, bias)
    assert not run.exact_steps
    assert np.array_equal(run.output, UNIT.matmul(x, weight, bias, exact_steps=True).output)
    for column, of in ((7, limit + 1), (0, INT32.max - 128 * 16 + 1), (3, INT32.min)):
        moved = bias.copy()
        moved[column] = of
        assert UNIT.matmul(x, weight, moved).exact_steps


def test_a_very_long_k_of_large_weights_is_done_step_by_step():
    unit = Unit(UnitConfig("long", l1_bytes=64 << 20))
    k = 1 << 17
    x, w = np.full((1, k), -128, np.int8), np.full((1, k), -128, np.int8)
    run = unit.matmul(x, w)
    assert run.exact_steps
    assert run.output.tolist() == [[INT32.max]]
    run = unit.matmul(x[:, 1:], w[:, 1:])
    assert not run.exact_steps
    assert run.output.tolist() == [[(k - 1) << 14]]


@pytest.mark.parametrize("grain", ["step", "instruction"])
@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
def test_a_unit_that_wraps_never_needs_steps(grain, sparse):
    config = UnitConfig(overflow="wrap", grain=grain)
    w = samples.legal_weight((5, 100), 1)
    weight = encoder.encode(w) if sparse else w
    bias = np.array([INT32.max, INT32.min, INT32.max - 9, 0, -1], np.int32)
    check(Matmul(6, 5, 100), activations((6, 100), 2), weight, bias, unit=Unit(config))


@pytest.mark.parametrize("value", [0, 1, "yes", None])
def test_exact_steps_is_true_or_false(value):
    with pytest.raises(ArgumentError, match="exact_steps"):
        UNIT.matmul(activations((2, 8), 1), samples.legal_weight((3, 8), 1), exact_steps=value)


def test_nothing_has_a_way_too():
    w = np.empty((0, 8), np.int8)
    assert not UNIT.matmul(activations((2, 8), 1), w).exact_steps
    assert UNIT.matmul(activations((2, 8), 1), w, exact_steps=True).exact_steps


# --- threads --------------------------------------------------------------------------------------


def test_threads_of_instructions_are_refused():
    x, w = activations((2, 8), 1), samples.legal_weight((3, 8), 1)
    with pytest.raises(ArgumentError, match="threads: with exact_steps"):
        UNIT.matmul(x, w, threads=2, exact_steps=True)


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("threads", [1, 2, 3, 64, 10**9, 10**18])
def test_any_number_of_threads_gives_the_same_bytes(threads):
    how = Requant(2.0**-9)
    for m, n, k in ((3, 200, 40), (700, 66, 20), (600, 1, 8), (1, 64, 8)):
        x, w = activations((m, k), 1), samples.legal_weight((n, k), 2)
        for weight in operands(w):
            for requant in (None, how):
                one = UNIT.matmul(x, weight, requant=requant, threads=1).output
                many = UNIT.matmul(x, weight, requant=requant, threads=threads).output
                assert np.array_equal(one, many)
    layer = Conv2d(3, 20, 20, 13, 70, (3, 3), pads=(1, 1, 1, 1))
    x, w = activations(layer.activations, 1), samples.legal_weight(layer.weight, 2, "conv")
    wanted = UNIT.run(layer, x, w, threads=1).output
    for weight in operands(w):
        assert np.array_equal(UNIT.run(layer, x, weight, threads=threads).output, wanted)


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "2", True])
def test_what_is_no_number_of_threads_is_refused(wrong):
    for steps in (False, True):
        with pytest.raises(ArgumentError, match="threads"):
            UNIT.matmul(
                activations((2, 8), 1), samples.legal_weight((3, 8), 1), threads=wrong,
                exact_steps=steps,
            )  # fmt: skip


def test_runs_may_be_at_one_time():
    x, w = activations((300, 64), 1), encoder.encode(samples.legal_weight((70, 64), 2))
    wanted, wrong = UNIT.matmul(x, w).output, []

    def many() -> None:
        for _ in range(50):
            if not np.array_equal(UNIT.matmul(x, w, threads=2).output, wanted):
                wrong.append(1)

    several = [threading.Thread(target=many) for _ in range(4)]
    for one in several:
        one.start()
    for one in several:
        one.join()
    assert not wrong


HELPERS = """
import os, threading, time
import numpy as np
from cube24 import encoder
from cube24.simulator import Unit
unit = Unit()
x, w = np.ones((300, 64), np.int8), encoder.encode(np.tile(np.int8([0, 5, 0, -3]), (70, 16)))
wanted = unit.matmul(x, w, threads=1).output
counts = [threading.active_count()]
unit.matmul(x[:4], w, threads=1000)  # of two parts, so with one helper
assert threading.active_count() == 2
unit.matmul(x[:4, :4], encoder.encode(np.int8([[0, 5, 0, -3]])), threads=1000)
assert threading.active_count() == 2  # one part

def runs(threads):
    assert np.array_equal(unit.matmul(x, w, threads=threads).output, wanted)
    counts.append(threading.active_count())

runs(3)
time.sleep(0.1)  # they have given up, and are asked again
runs(3)
runs(2)
pid = os.fork()
if pid == 0:
    counts.clear()
    runs(1)
    runs(3)
    os._exit(0 if counts == [1, 3] else 1)
print(counts, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


def test_helpers_are_as_many_as_asked_for_also_after_a_fork():
    done = subprocess.run(
        [sys.executable, "-c", HELPERS], text=True, capture_output=True, check=False, timeout=60
    )
    assert done.stdout == "[1, 3, 3, 3] 0\n", done.stderr


# --- out, memory images, and what a run keeps -----------------------------------------------------


@pytest.mark.parametrize("steps", [False, True], ids=["direct", "steps"])
@pytest.mark.parametrize("how", [None, Requant(0.01), Requant(0.01, mode="DEQF16")], ids=str)
def test_out_takes_the_output(steps, how):
    x, w = activations((5, 8), 1), samples.legal_weight((3, 8), 2)
    wanted = UNIT.matmul(x, w, requant=how).output
    out = np.full((5, 3), 1, wanted.dtype)
    run = UNIT.matmul(x, w, requant=how, out=out, exact_steps=steps)
    assert run.output is out
    assert np.array_equal(out, wanted)
    image, kernel = activations((1, 4, 5, 6), 1), samples.legal_weight((3, 4, 2, 2), 2, "conv")
    wanted = UNIT.conv2d(image, kernel, requant=how).output
    out = np.full(wanted.shape, 1, wanted.dtype)
    UNIT.conv2d(image, kernel, requant=how, out=out, exact_steps=steps)
    assert np.array_equal(out, wanted)
    nhwc = np.full((1, 4, 5, 3), 1, wanted.dtype)
    UNIT.conv2d(
        image.transpose(0, 2, 3, 1), kernel, requant=how, data_format="NHWC", out=nhwc,
        exact_steps=steps,
    )  # fmt: skip
    assert np.array_equal(nhwc, wanted.transpose(0, 2, 3, 1))


def test_an_out_that_does_not_fit_is_refused():
    x, w = activations((5, 8), 1), encoder.encode(samples.legal_weight((3, 8), 2))
    memory = np.zeros(1000, np.int8)
    for out, error in (
        (np.zeros((5, 3), np.int8), DtypeError),
        (np.zeros((3, 5), np.int32), ShapeError),
        (np.zeros((3, 5), np.int32).T, OutBufferError),
        ([[0]], DtypeError),
    ):
        with pytest.raises(error, match="out"):
            UNIT.matmul(x, w, out=out)
    own = memory[:40].reshape(5, 8)
    with pytest.raises(OutBufferError, match="overlaps"):
        UNIT.matmul(own, w, requant=Requant(1.0), out=memory[20:35].reshape(5, 3))


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
def test_memory_images_are_made_when_they_are_asked_for(sparse):
    layer = Conv2d(1, 6, 5, 4, 20, (2, 2), pads=(1, 0, 0, 1))
    w = samples.legal_weight(layer.weight, 1, "conv")
    weight, x = (encoder.encode_conv(w) if sparse else w), activations(layer.activations, 2)
    how = Requant(np.full(20, 0.01))
    run = UNIT.run(layer, x, weight, bias=biases(20, 1), requant=how)
    steps = UNIT.run(layer, x, weight, bias=biases(20, 1), requant=how, exact_steps=True)
    assert run.buffers.keys() == steps.buffers.keys()
    assert "output" in run.buffers
    for name, image in steps.buffers.items():
        assert np.array_equal(run.buffers[name], image)
    rows = run.output.transpose(0, 2, 3, 1).reshape(-1, 20)
    assert np.array_equal(run.buffers["output"].view(np.int8).reshape(-1, 20), rows)
    assert run.program == steps.program
    assert run.cycles == steps.cycles
    assert UNIT.time(layer).buffers == {}


def test_check_finds_what_differs():
    x, w = activations((5, 8), 1), samples.legal_weight((3, 8), 2)
    other = w.copy()
    other[1, np.flatnonzero(w[1])[0]] ^= 1
    with pytest.raises(MismatchError):
        UNIT.matmul(x, encoder.encode(w), check=other)
    assert not UNIT.matmul(x, encoder.encode(w), check=w).exact_steps


def test_arrays_in_any_memory_order_give_the_same():
    x, w = activations((64, 17), 3).T, samples.legal_weight((64, 19), 4).T
    wanted = np.ascontiguousarray(x).astype(int) @ np.ascontiguousarray(w).astype(int).T
    bias = biases(38, 1)[::2]
    assert np.array_equal(UNIT.matmul(x, w, bias).output, wanted + bias)
    image = activations((5, 6, 3, 1), 1).T
    kernel = samples.legal_weight((2, 2, 3, 4), 1).T
    run = UNIT.conv2d(image, kernel)
    again = UNIT.conv2d(np.ascontiguousarray(image), np.ascontiguousarray(kernel))
    assert np.array_equal(run.output, again.output)


def test_weights_are_read_anew_by_each_run():
    x, w = activations((5, 8), 1), samples.legal_weight((3, 8), 2)
    weight = encoder.encode(w)
    before = UNIT.matmul(x, weight).output
    weight.dense[...] = -weight.dense.clip(-127)
    assert not np.array_equal(before, UNIT.matmul(x, weight).output)
    check(Matmul(5, 3, 8), x, weight)


def test_a_requant_keeps_the_arrays_that_it_was_made_with():
    scale = np.full(3, 0.01)
    how = Requant(scale)
    x, w = activations((5, 8), 1), samples.legal_weight((3, 8), 2)
    before = UNIT.matmul(x, w, requant=how).output
    scale[...] = 1
    assert np.array_equal(UNIT.matmul(x, w, requant=how).output, before)
    with pytest.raises(ValueError, match="read-only"):
        how.words(UNIT.config)[0] = 0


def test_a_layer_that_was_made_before_is_looked_at_all_the_same():
    x, w = activations((1, 4, 5, 6), 1), samples.legal_weight((3, 4, 2, 2), 2, "conv")
    UNIT.conv2d(x, w, strides=(1, 1))
    for wrong in ((1.0, 1.0), (True, True), ("1", "1")):
        with pytest.raises(ArgumentError, match="strides"):
            UNIT.conv2d(x, w, strides=wrong)
    assert np.array_equal(
        UNIT.conv2d(x, w, strides=[np.int8(1), 1]).output, UNIT.conv2d(x, w).output
    )
