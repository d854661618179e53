"""Edges of the unit's interface: empty, extreme and mistyped arguments."""

import numpy as np
import pytest

from cube24 import encoder, simulator
from cube24.simulator import isa

UNIT = simulator.Unit()


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
def test_no_images_and_no_channels_give_no_results(sparse):
    weight = np.zeros((2, 4, 3, 3), np.int8)
    none = np.empty((0, 4, 3, 3), np.int8)
    x = np.ones((3, 4, 5, 6), np.int8)
    encode = encoder.encode_conv if sparse else (lambda w: w)
    assert UNIT.conv2d(x[:0], encode(weight)).output.shape == (0, 2, 3, 4)
    assert UNIT.conv2d(x, encode(none)).output.shape == (3, 0, 3, 4)


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize(
    ("shape", "kernel", "pads", "strides"),
    [
        ((1, 1, 1, 300), (1, 1), (0, 0, 255, 0), (1, 1)),
        ((1, 1, 1, 300), (1, 1), (255, 0, 0, 0), (1, 1)),
        ((1, 33, 3, 2), (2, 3), (255, 255, 255, 255), (63, 1)),
        ((1, 1, 3, 3), (255, 1), (254, 0, 254, 0), (1, 1)),
    ],
)
def test_windows_that_lie_wholly_in_the_padding_see_padding(shape, kernel, pads, strides, sparse):
    rng = np.random.default_rng(1)
    x = rng.integers(-128, 128, shape, dtype=np.int8)
    weight = rng.integers(-128, 128, (3, shape[1], *kernel), dtype=np.int8)
    weight = encoder.prune(weight, kind="conv").weight
    top, left, bottom, right = pads
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=-5)
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel, (2, 3))
    windows = windows[:, :, :: strides[0], :: strides[1]].astype(np.int64)
    expected = np.einsum("bchwij,ocij->bohw", windows, weight.astype(np.int64))
    operand = encoder.encode_conv(weight) if sparse else weight
    run = UNIT.conv2d(x, operand, pads=pads, strides=strides, offset_x=-5)
    assert np.array_equal(run.output, expected)


def test_a_large_dense_kernel_is_walked_one_channel_block_at_a_time():
    rng = np.random.default_rng(2)
    x = rng.integers(-128, 128, (1, 64, 16, 16), dtype=np.int8)
    weight = rng.integers(-128, 128, (20, 64, 15, 15), dtype=np.int8)
    windows = np.lib.stride_tricks.sliding_window_view(x, (15, 15), (2, 3)).astype(np.int64)
    expected = np.einsum("bchwij,ocij->bohw", windows, weight.astype(np.int64), optimize=True)
    assert np.array_equal(UNIT.conv2d(x, weight).output, expected)


BEYOND = {
    "a kernel of 256": ((1, 256), {}, "kernel"),
    "a stride of 64": ((1, 1), {"strides": (64, 1)}, "strides"),
    "a stride of 0": ((1, 1), {"strides": (0, 1)}, "strides"),
    "a half stride": ((1, 1), {"strides": (1.5, 1)}, "strides"),
    "a dilation of 256": ((1, 1), {"dilations": (1, 256)}, "dilations"),
    "pads of 256": ((1, 1), {"pads": (256, 0, 0, 0)}, "pads"),
    "two pads": ((1, 1), {"pads": (1, 1)}, "pads"),
}


@pytest.mark.parametrize("case", BEYOND)
def test_what_load3d_cannot_take_is_refused_before_it_is_compiled(case):
    kernel, options, said = BEYOND[case]
    x, weight = np.zeros((1, 1, 1, 300), np.int8), np.zeros((1, 1, *kernel), np.int8)
    with pytest.raises(encoder.ArgumentError, match=f"^{said} .*the unit takes"):
        UNIT.conv2d(x, weight, **options)


@pytest.mark.parametrize("name", ["", "a b", "a#", "a\n", " a"])
def test_a_buffer_has_a_name_that_text_can_hold(name):
    with pytest.raises(simulator.ProgramError, match="neither white space nor #"):
        isa.Buffer(name, 0, 1)


def test_a_load_of_no_fractals_looks_at_no_address():
    program = simulator.Program.parse(
        "load_sparse dst=0x1 dense=0x7 index=0xffffffff repeat=0\n"
        "load2d to=L0A dst=0x1 src=0x0 repeat=0\n"
    )
    assert UNIT.execute(program) == {}


def test_only_a_newline_ends_a_line():
    with pytest.raises(simulator.ProgramError, match=r"^line 2: unknown instruction 'jump'"):
        simulator.Program.parse("barrier on=M # x\u2028y\x0cz\njump")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"scale": "x"}, encoder.DtypeError),
        ({"scale": 1j}, encoder.DtypeError),
        ({"scale": 1.0, "shift": 1.5}, encoder.ArgumentError),
        ({"scale": 1.0, "relu": 1}, encoder.ArgumentError),
        ({"scale": 1.0, "relu": "leaky"}, encoder.ArgumentError),
    ],
)
def test_requantisation_takes_numbers_of_the_right_kind(options, error):
    with pytest.raises(error):
        simulator.Requant(**options)


def test_a_numpy_bool_is_a_bool():
    assert simulator.Requant(1.0, relu=np.True_).relu_mode == "relu"
    assert simulator.Requant(1.0, relu=np.False_).relu_mode == "none"
