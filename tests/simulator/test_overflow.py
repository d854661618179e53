"""The edges of numbers: int32 accumulation, and requantisation against one scalar at a time."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import oracle
import pytest
import samples
from hypothesis import given
from hypothesis import strategies as st

from cube24 import encoder
from cube24.simulator import Requant, RequantError, Tile, Unit, UnitConfig, requant

HIGH, LOW = (1 << 31) - 1, -(1 << 31)
CONFIGS = [
    UnitConfig(overflow=overflow, grain=grain)
    for overflow in ("saturate", "wrap")
    for grain in ("step", "instruction")
]
EACH_CONFIG = pytest.mark.parametrize(
    "config", CONFIGS, ids=lambda c: f"{c.overflow}-{c.grain}"
)  # fmt: skip
SPARSE = pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])


def operand(weight: np.ndarray, sparse: bool) -> Any:
    return encoder.encode(weight, layout="zn") if sparse else weight


def held(value: int, overflow: str) -> int:
    """What an int32 holds of a sum, in Python integers."""
    if overflow == "saturate":
        return max(LOW, min(HIGH, value))
    return (value - LOW) % (1 << 32) + LOW


def accumulated(bias: int, sums: list[int], overflow: str) -> int:
    """Sums added one after the other."""
    total = bias
    for value in sums:
        total = held(total + value, overflow)
    return total


# --- the edge of int32 ----------------------------------------------------------------------------


@SPARSE
@EACH_CONFIG
@pytest.mark.parametrize("product", [1, -1, 2, 127, -128, 16384, -16256])
@pytest.mark.parametrize("distance", [0, 1, 2, 127, 128, 16256, 16384])
@pytest.mark.parametrize("edge", [HIGH, LOW])
def test_a_sum_at_the_edge_of_int32_saturates_or_wraps(edge, distance, product, config, sparse):
    bias = edge - distance if edge > 0 else edge + distance
    factor = next(
        f for f in (-128, 127, 1, -1, 2) if product % f == 0 and -128 <= product // f < 128
    )
    x = np.zeros((1, 64), np.int8)
    w = np.zeros((1, 64), np.int8)
    x[0, 5], w[0, 5] = factor, product // factor
    run = Unit(config).matmul(x, operand(w, sparse), np.array([bias], np.int32), check=w)
    assert run.output.tolist() == [[held(bias + product, config.overflow)]]


@SPARSE
@EACH_CONFIG
def test_no_product_alone_can_overflow(config, sparse):
    # The most that one instruction can add: 4095 products of 2^14, half of them in a 2:4 weight.
    x = np.full((1, 4032), -128, np.int8)
    w = np.full((1, 4032), -128, np.int8) * np.int8([1, 1, 0, 0] * 1008 if sparse else [1] * 4032)
    run = Unit(config).matmul(x, operand(w, sparse), check=w)
    assert run.output.tolist() == [[16384 * (2016 if sparse else 4032)]]


@EACH_CONFIG
def test_a_sum_beyond_int32_from_zero_alone(config):
    # 2^31 takes 131072 products of 2^14, many instructions.
    k = 131072 + 64
    x, w = np.full((1, k), -128, np.int8), np.full((1, k), -128, np.int8)
    run = Unit(config).matmul(x, w, check=w)
    assert run.output.tolist() == [[held(16384 * k, config.overflow)]]


def up_then_down(step: int, steps: int = 2) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Products whose first step goes up and whose later ones go down; and the sum of each step."""
    x = np.ones((1, step * steps), np.int8)
    w = np.zeros((1, step * steps), np.int8)
    w[0, 3] = 100
    w[0, step + 2 :: step] = -30
    return x, w, [100] + [-30] * (steps - 1)


@SPARSE
@pytest.mark.parametrize("overflow", ["saturate", "wrap"])
def test_steps_are_added_one_by_one_from_low_to_high_k(overflow, sparse):
    x, w, sums = up_then_down(64 if sparse else 32, 4)
    bias = HIGH - 40
    run = Unit(UnitConfig(overflow=overflow)).matmul(
        x, operand(w, sparse), np.array([bias], np.int32), check=w
    )
    by_step = accumulated(bias, sums, overflow)
    assert run.output.tolist() == [[by_step]]
    # Otherwise this would say nothing about the order, nor about the grain.
    if overflow == "saturate":
        assert by_step != held(bias + sum(sums), overflow)
        assert by_step != accumulated(bias, sums[::-1], overflow)


@SPARSE
def test_grain_instruction_adds_the_sum_of_an_instruction_at_once(sparse):
    x, w, sums = up_then_down(64 if sparse else 32, 4)
    bias = HIGH - 40
    unit = Unit(UnitConfig(grain="instruction"))
    run = unit.matmul(x, operand(w, sparse), np.array([bias], np.int32), check=w)
    assert run.output.tolist() == [[held(bias + sum(sums), "saturate")]]
    assert run.output[0, 0] != accumulated(bias, sums, "saturate")


@SPARSE
def test_grain_instruction_still_adds_instruction_by_instruction(sparse):
    # Two instructions of 128 by the tile; within each of them up and down cancel.
    x, w = np.ones((1, 256), np.int8), np.zeros((1, 256), np.int8)
    w[0, [1, 70, 130, 200]] = 100, -50, -20, 10
    bias = HIGH - 40
    unit = Unit(UnitConfig(grain="instruction"))
    run = unit.matmul(
        x, operand(w, sparse), np.array([bias], np.int32), tile=Tile(16, 16, 128, 256), check=w
    )
    assert run.output.tolist() == [[accumulated(bias, [50, -10], "saturate")]]


def test_products_within_a_step_are_summed_exactly_before_they_are_added():
    x, w = np.ones((1, 32), np.int8), np.zeros((1, 32), np.int8)
    w[0, :2] = 127, -127
    run = Unit().matmul(x, w, np.array([HIGH], np.int32), check=w)
    assert run.output.tolist() == [[HIGH]]


def test_a_sparse_step_is_64_elements_and_a_dense_step_32():
    # +100 and -100 at k = 0 and 32: one step when sparse, two when dense.
    x, w = np.ones((1, 64), np.int8), np.zeros((1, 64), np.int8)
    w[0, [0, 32]] = 100, -100
    bias = np.array([HIGH], np.int32)
    assert Unit().matmul(x, operand(w, True), bias, check=w).output.tolist() == [[HIGH]]
    assert Unit().matmul(x, w, bias, check=w).output.tolist() == [[HIGH - 100]]


@SPARSE
@EACH_CONFIG
def test_random_sums_near_the_edge_are_those_of_python_integers(config, sparse):
    rng = np.random.default_rng(7)
    m, n, k, part = 5, 18, 300, 128
    x = rng.integers(-128, 128, (m, k), dtype=np.int8)
    w = samples.legal_weight((n, k), 3)
    bias = np.where(np.arange(n) % 2, HIGH, LOW) + rng.integers(-60000, 60000, n)
    bias = np.clip(bias, LOW, HIGH).astype(np.int32)
    run = Unit(config).matmul(
        x, operand(w, sparse), bias, tile=Tile(16, 16, part, 2 * part), check=w
    )
    size = part if config.grain == "instruction" else 64 if sparse else 32
    for row, column in np.ndindex(m, n):
        sums = [
            sum(int(a) * int(b) for a, b in zip(x[row, i : i + size], w[column, i : i + size],
                                                strict=True))
            for i in range(0, k, size)
        ]  # fmt: skip
        assert run.output[row, column] == accumulated(int(bias[column]), sums, config.overflow)


@SPARSE
@EACH_CONFIG
def test_check_holds_for_convolutions_that_overflow(config, sparse):
    rng = np.random.default_rng(5)
    x = rng.integers(-128, 128, (2, 40, 6, 5), dtype=np.int8)
    w = samples.legal_weight((20, 40, 3, 3), 8, "conv")
    bias = np.where(np.arange(20) % 2, HIGH - 9000, LOW + 9000).astype(np.int32)
    weight = encoder.encode_conv(w, layout="zn") if sparse else w
    for tile in (None, Tile(16, 16, 64, 64), Tile(16, 32, 128, 576)):
        unit = Unit(config)
        output = unit.conv2d(x, weight, bias, pads=(1, 1, 1, 1), tile=tile, check=w).output
        if config.overflow == "wrap":  # order and grain do not matter
            padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1))).astype(np.int64)
            windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))
            exact = np.einsum("bchwij,ocij->bohw", windows, w.astype(np.int64))
            exact += bias[:, None, None]
            assert np.array_equal(output, exact.astype(np.uint64).astype(np.uint32).view(np.int32))
            assert (exact != output).any()


# --- requantisation, one scalar at a time ---------------------------------------------------------


def word_of(
    scale: float, *, offset: int = 0, signed: bool = True, mcb: bool = False, field: int = 0
) -> int:
    """A parameter word from its fields, as the table of bits says."""
    bits = int(np.float32(scale).view(np.uint32)) >> 13 << 13
    return bits | field << 32 | mcb << 36 | (offset & 0x1FF) << 37 | signed << 46


def ties_to_even(value: float) -> int:
    below = math.floor(value)
    if value - below == 0.5:
        return below if below % 2 == 0 else below + 1
    return math.floor(value + 0.5)


def scale_of(word: int) -> np.float32:
    return np.uint32(word & 0xFFFFE000).view(np.float32)


def multiplied(x: np.float32, word: int, relu: str, alpha: float) -> np.float32:
    factor = scale_of(word)
    if x < 0 and relu != "none":
        factor = np.float32(0 if relu == "relu" else alpha)
    with np.errstate(over="ignore"):
        return np.float32(x * factor)


def req8(acc: int, word: int, config: UnitConfig, relu: str = "none", alpha: float = 0.0) -> int:
    """REQ8 of one accumulator, as the specification reads, with numpy.float32 scalars."""
    if word >> 36 & 1:
        shift = (word >> 32 & 15) + (1 if config.requant_shift == "n+1" else 0)
        acc = max(-32768, min(32767, acc >> shift))
    y = float(multiplied(np.float32(acc), word, relu, alpha))
    y = ties_to_even(max(-256.0, min(255.0, y)))
    offset = word >> 37 & 0x1FF
    if config.requant_offset == "signed" and offset > 255:
        offset -= 512
    low, high = (-128, 127) if word >> 46 & 1 else (0, 255)
    return max(low, min(high, y + offset))


def deqf16(acc: int, word: int, relu: str = "none", alpha: float = 0.0) -> np.float16:
    y = multiplied(np.float32(acc), word, relu, alpha)
    if y > 65504:
        y = np.float32(65504)
    if y < -65504:
        y = np.float32(-65504)
    return np.float16(y)


def requantised(
    acc: list[int], words: list[int], config: UnitConfig, relu: str = "none", alpha: float = 0.0
) -> list[int]:
    """The same by the package, as numbers."""
    data = requant.requantise(
        np.array([acc], np.int32), np.array(words, np.uint64), config, relu, alpha
    )[0]  # fmt: skip
    every = words * len(acc) if len(words) == 1 else words
    return [
        int(byte) - 256 if word >> 46 & 1 and byte > 127 else int(byte)
        for byte, word in zip(data, every, strict=True)
    ]


DEFAULT = UnitConfig()
ACCUMULATORS = [
    LOW, LOW + 1, -(1 << 24) - 1, -(1 << 24), -65537, -65536, -32769, -32768, -513, -512, -511,
    -257, -256, -255, -129, -128, -127, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7, 126,
    127, 128, 129, 254, 255, 256, 257, 509, 510, 511, 512, 513, 32767, 32768, 65535, 65536,
    1 << 24, (1 << 24) + 1, (1 << 24) + 3, HIGH - 1, HIGH,
]  # fmt: skip
SCALES = [0.0, -0.0, 0.5, -0.5, 1.0, -1.0, 0.25, 1.5, 1 / 3, 2.0**-20, 2.0**-31, 1e-40, 3e38, -3e38]


@pytest.mark.parametrize(
    ("relu", "alpha"), [("none", 0.0), ("relu", 0.0), ("leaky", 0.1), ("leaky", -2.5)]
)
@pytest.mark.parametrize("signed", [True, False], ids=["int8", "uint8"])
@pytest.mark.parametrize("offset", [0, 1, -1, 127, -128, 255, -256])
@pytest.mark.parametrize("scale", SCALES)
def test_req8_is_the_scalar_rule(scale, offset, signed, relu, alpha):
    word = word_of(scale, offset=offset, signed=signed)
    expected = [req8(acc, word, DEFAULT, relu, alpha) for acc in ACCUMULATORS]
    assert requantised(ACCUMULATORS, [word], DEFAULT, relu, alpha) == expected


def test_req8_rounds_ties_to_even():
    assert requantised([-7, -5, -3, -1, 1, 3, 5, 7], [word_of(0.5)], DEFAULT) == [
        -4, -2, -2, 0, 0, 2, 2, 4,
    ]  # fmt: skip


def test_req8_clamps_to_nine_bits_before_the_offset():
    # 1000 - 200 would saturate at 127; 255 - 200 is 55.
    assert requantised([1000, 255, 256], [word_of(1, offset=-200)], DEFAULT) == [55, 55, 55]
    assert requantised([-1000, -256, -255], [word_of(1, offset=200)], DEFAULT) == [-56, -56, -55]
    uint8 = word_of(1, offset=-256, signed=False)
    assert requantised([1000], [uint8], DEFAULT) == [0]


def test_req8_saturates_to_int8_and_uint8():
    acc = [-1000, -129, -128, -1, 0, 127, 128, 255, 1000]
    assert requantised(acc, [word_of(1)], DEFAULT) == [
        -128, -128, -128, -1, 0, 127, 127, 127, 127,
    ]  # fmt: skip
    assert requantised(acc, [word_of(1, signed=False)], DEFAULT) == [
        0, 0, 0, 0, 0, 127, 128, 255, 255,
    ]  # fmt: skip


def test_the_offset_is_nine_bits_signed_or_unsigned():
    signed, unsigned = UnitConfig(requant_offset="signed"), UnitConfig(requant_offset="unsigned")
    for field in (0, 1, 127, 128, 255, 256, 257, 400, 511):
        word = word_of(1, offset=field, signed=False)
        meant = field - 512 if field > 255 else field
        assert requantised([0, 100, -200], [word], signed) == [
            max(0, min(255, x + meant)) for x in (0, 100, -200)
        ]
        assert requantised([0, 100, -200], [word], unsigned) == [
            max(0, min(255, x + field)) for x in (0, 100, -200)
        ]


@pytest.mark.parametrize("reading", ["n+1", "n"])
def test_mcb_shifts_right_and_saturates_to_int16(reading):
    config = UnitConfig(requant_shift=reading)
    for field in range(16):
        word = word_of(2.0**-8, mcb=True, field=field)
        shift = field + 1 if reading == "n+1" else field
        expected = [
            max(-128, min(127, ties_to_even(max(-32768, min(32767, acc >> shift)) / 256)))
            for acc in ACCUMULATORS
        ]
        assert requantised(ACCUMULATORS, [word], config) == expected
        assert expected == [req8(acc, word, config) for acc in ACCUMULATORS]


def test_without_mcb_the_field_n_means_nothing():
    for field in range(16):
        assert requantised([5, -5, 100000], [word_of(1, field=field)], DEFAULT) == [5, -5, 127]


def test_a_shift_of_negatives_rounds_towards_minus_infinity():
    word = word_of(1, mcb=True, field=0)
    assert requantised([-1, -2, -3, 3], [word], DEFAULT) == [-1, -1, -2, 1]


def test_relu_makes_negatives_zero_before_the_offset_and_leaky_scales_them():
    word = word_of(2, offset=10)
    assert requantised([-50, 50, 0], [word], DEFAULT, "relu") == [10, 110, 10]
    assert requantised([-50, 50, 0], [word], DEFAULT, "leaky", 0.5) == [-15, 110, 10]


@pytest.mark.parametrize(("relu", "alpha"), [("none", 0.0), ("relu", 0.0), ("leaky", 0.01)])
@pytest.mark.parametrize("scale", SCALES)
def test_deqf16_is_the_scalar_rule(scale, relu, alpha):
    word = word_of(scale)
    got = requant.dequantise(
        np.array([ACCUMULATORS], np.int32), np.array([word], np.uint64), relu, alpha
    )[0]  # fmt: skip
    expected = np.array([deqf16(acc, word, relu, alpha) for acc in ACCUMULATORS])
    assert got.dtype == np.float16
    assert np.array_equal(got.view(np.uint16), expected.view(np.uint16))


def test_deqf16_saturates_and_rounds_to_even():
    def of(acc: int) -> float:
        words = np.array([word_of(1)], np.uint64)
        return float(requant.dequantise(np.array([[acc]], np.int32), words)[0, 0])

    assert of(65504) == 65504
    assert [of(65505), of(65519), of(65520), of(1 << 20), of(HIGH)] == [65504] * 5
    assert [of(-65505), of(-65520), of(LOW)] == [-65504] * 3
    # Beyond 2048 fp16 holds even numbers only: a tie goes to the multiple of 4.
    assert [of(2049), of(2051), of(-2049), of(-2051)] == [2048, 2052, -2048, -2052]


@given(
    st.integers(LOW, HIGH),
    st.floats(width=32, allow_nan=False, allow_infinity=False),
    st.integers(0, 511),
    st.booleans(),
    st.booleans(),
    st.integers(0, 15),
    st.sampled_from(["none", "relu", "leaky"]),
    st.floats(-8, 8, width=32),
    st.sampled_from(
        [
            UnitConfig(requant_shift=a, requant_offset=b)
            for a, b in itertools.product(("n+1", "n"), ("signed", "unsigned"))
        ]
    ),
)
def test_req8_and_deqf16_are_the_scalar_rules_for_any_word(
    acc, scale, offset, signed, mcb, field, relu, alpha, config
):
    word = word_of(scale, offset=offset, signed=signed, mcb=mcb, field=field)
    expected = req8(acc, word, config, relu, alpha)
    assert requantised([acc], [word], config, relu, alpha) == [expected]
    got = requant.dequantise(np.array([[acc]], np.int32), np.array([word], np.uint64), relu, alpha)
    assert got[0, 0].tobytes() == deqf16(acc, word, relu, alpha).tobytes()


@pytest.mark.parametrize("bits", [0x7F800000, 0xFF800000, 0x7FC00000, 0x7F802000])
def test_a_word_whose_scale_is_not_finite_is_refused(bits):
    acc, words = np.zeros((1, 2), np.int32), np.array([word_of(1), bits], np.uint64)
    with pytest.raises(RequantError, match=f"word 1 is {bits:#x}"):
        requant.requantise(acc, words, DEFAULT)
    with pytest.raises(RequantError, match="word 1"):
        requant.dequantise(acc, words)


# --- Requant: words, and the whole way ------------------------------------------------------------


@pytest.mark.parametrize("scale", [*SCALES, 0.1, -0.7, 123.456])
def test_the_scale_of_a_word_is_an_fp32_without_its_low_13_bits(scale):
    words = Requant(scale, offset=-3).words(DEFAULT)
    assert words.dtype == np.uint64
    assert words.tolist() == [word_of(scale, offset=-3)]


def test_words_hold_shift_offset_and_sign_where_the_table_puts_them():
    n1, n = UnitConfig(requant_shift="n+1"), UnitConfig(requant_shift="n")
    unsigned = UnitConfig(requant_offset="unsigned")
    for shift in range(1, 17):
        expected = word_of(1, mcb=True, field=shift - 1)
        assert Requant(1.0, shift=shift).words(n1).tolist() == [expected]
    for shift in range(1, 16):
        expected = word_of(1, mcb=True, field=shift)
        assert Requant(1.0, shift=shift).words(n).tolist() == [expected]
    for offset in (0, 255, 256, 511):
        expected = word_of(1, offset=offset, signed=False)
        assert Requant(1.0, offset, signed=False).words(unsigned).tolist() == [expected]
    assert Requant(1.0, mode="DEQF16").words(n1).tolist() == [word_of(1, signed=False)]


@pytest.mark.parametrize(
    ("how", "config", "words"),
    [
        (Requant(1.0, 256), DEFAULT, "offset is not in -256..255"),
        (Requant(1.0, -1), UnitConfig(requant_offset="unsigned"), r"offset is not in 0..511"),
        (Requant(1.0, shift=16), UnitConfig(requant_shift="n"), "shift 16"),
    ],
    ids=["256 signed", "-1 unsigned", "shift 16 by n"],
)
def test_what_a_unit_cannot_read_is_refused(how, config, words):
    with pytest.raises(encoder.ArgumentError, match=words):
        how.words(config)


@pytest.mark.parametrize(
    ("fields", "error", "words"),
    [
        ({"scale": math.inf}, encoder.ArgumentError, "finite"),
        ({"scale": math.nan}, encoder.ArgumentError, "finite"),
        ({"scale": 1e39}, encoder.ArgumentError, "finite"),
        ({"scale": 1.0, "offset": 512}, encoder.ArgumentError, "9 bits"),
        ({"scale": 1.0, "offset": -257}, encoder.ArgumentError, "9 bits"),
        ({"scale": 1.0, "offset": 1.5}, encoder.DtypeError, "integers"),
        ({"scale": 1.0, "mode": "REQ16"}, encoder.ArgumentError, "REQ16"),
        ({"scale": 1.0, "shift": 17}, encoder.ArgumentError, "shift 17"),
        ({"scale": 1.0, "shift": -1}, encoder.ArgumentError, "shift -1"),
        ({"scale": 1.0, "offset": 1, "mode": "DEQF16"}, encoder.ArgumentError, "DEQF16"),
        ({"scale": 1.0, "shift": 1, "mode": "DEQF16"}, encoder.ArgumentError, "DEQF16"),
        ({"scale": 1.0, "relu": math.nan}, encoder.ArgumentError, "slope"),
        ({"scale": 1.0, "relu": 1e300}, encoder.ArgumentError, "slope"),
        ({"scale": np.ones((2, 2))}, encoder.ShapeError, "column"),
        ({"scale": np.ones(2), "offset": np.ones(3, int)}, encoder.ShapeError, "offset"),
    ],
    ids=str,
)
def test_what_no_word_can_hold_is_refused(fields, error, words):
    with pytest.raises(error, match=words):
        Requant(**fields)


HOWS = {
    "int8": {"scale": 0.004, "offset": 3},
    "uint8": {"scale": 0.004, "offset": 100, "signed": False},
    "relu": {"scale": 0.004, "relu": True},
    "leaky": {"scale": 0.004, "relu": 0.001},
    "shifted": {"scale": 0.7, "shift": 5},
    "columns": {"scale": np.linspace(-0.01, 0.01, 37), "offset": np.arange(-18, 19)},
    "offsets": {"scale": 0.004, "offset": np.arange(-18, 19), "signed": False},
    "scales": {"scale": np.linspace(0.001, 0.01, 37), "relu": 0.0005},
    "fp16": {"scale": 0.37, "mode": "DEQF16"},
    "fp16 columns": {"scale": np.linspace(-9, 9, 37), "mode": "DEQF16", "relu": True},
}


@SPARSE
@pytest.mark.parametrize("tile", [None, Tile(16, 16, 64, 64)], ids=["whole", "small"])
@pytest.mark.parametrize("name", HOWS)
def test_a_run_requantises_each_result_by_the_word_of_its_column(name, tile, sparse):
    fields = HOWS[name]
    x = np.random.default_rng(1).integers(-128, 128, (35, 100), dtype=np.int8)
    w = samples.legal_weight((37, 100), 2)
    bias = np.arange(-18, 19, dtype=np.int32) * 1000
    run = Unit().matmul(x, operand(w, sparse), bias, Requant(**fields), tile=tile, check=w)
    relu = fields.get("relu", False)
    mode = "leaky" if isinstance(relu, float) else "relu" if relu else "none"
    alpha = relu if isinstance(relu, float) else 0.0
    half = fields.get("mode") == "DEQF16"
    signed = fields.get("signed", True)
    shift = fields.get("shift", 0)
    scales = np.broadcast_to(fields["scale"], 37).tolist()
    offsets = np.broadcast_to(fields.get("offset", 0), 37).tolist()
    assert run.output.dtype == (np.float16 if half else np.int8 if signed else np.uint8)
    accumulators = oracle.matmul(x, w) + bias
    for row, column in np.ndindex(35, 37):
        acc = int(accumulators[row, column])
        word = word_of(scales[column], offset=offsets[column], signed=signed, mcb=shift > 0,
                       field=max(shift - 1, 0))  # fmt: skip
        if half:
            expected: Any = deqf16(acc, word, mode, alpha)
        else:
            expected = req8(acc, word, DEFAULT, mode, alpha)
        assert run.output[row, column] == expected


@SPARSE
def test_a_convolution_requantises_each_channel_by_its_word(sparse):
    x = np.random.default_rng(1).integers(-128, 128, (2, 33, 4, 5), dtype=np.int8)
    w = samples.legal_weight((21, 33, 1, 1), 2, "conv")
    how = Requant(np.linspace(0.001, 0.02, 21), np.arange(21))
    weight = encoder.encode_conv(w, layout="zn") if sparse else w
    run = Unit().conv2d(x, weight, None, how, tile=Tile(16, 16, 64, 64), check=w)
    accumulators = np.einsum("bchw,oc->bohw", x.astype(np.int64), w[:, :, 0, 0].astype(np.int64))
    assert run.output.dtype == np.int8
    for b, o, y, z in np.ndindex(run.output.shape):
        word = word_of(float(np.linspace(0.001, 0.02, 21)[o]), offset=o)
        assert run.output[b, o, y, z] == req8(int(accumulators[b, o, y, z]), word, DEFAULT)


def test_requant_with_words_for_other_columns_is_refused():
    x, w = np.ones((2, 8), np.int8), np.ones((3, 8), np.int8)
    with pytest.raises(encoder.ShapeError, match="2 columns; this weight has 3"):
        Unit().matmul(x, w, requant=Requant(np.ones(2)))
