"""Parameter words, every combination of their fields, against the bits that docs/unit.md lists."""

import struct

import numpy as np
import pytest

from cube24.errors import ArgumentError, ShapeError
from cube24.simulator import Requant, Unit, UnitConfig, requant

SCALES = (1.0, -0.375, 2.0**-136, 65504.0, 3.0e38, 0.1)


def scale_bits(scale):
    (bits,) = struct.unpack("<I", struct.pack("<f", scale))
    return bits // 8192 * 8192


@pytest.mark.parametrize("offset", ["signed", "unsigned"])
@pytest.mark.parametrize("shift", ["n+1", "n"])
def test_every_combination_of_fields_is_read(offset, shift):
    i = np.arange(16 * 2 * 512 * 2, dtype=np.uint64)
    n, mcb, field, sign = i % 16, i // 16 % 2, i // 32 % 512, i // 16384
    kept = np.array([scale_bits(scale) for scale in SCALES], np.uint64)[i % len(SCALES)]
    words = kept + n * 2**32 + mcb * 2**36 + field * 2**37 + sign * 2**46
    loose = words + i % 8192 + (i % 3) * 2**50  # bits that no field has
    of = requant.fields_of(loose, UnitConfig(requant_offset=offset, requant_shift=shift))
    assert np.array_equal(of.scale.view(np.uint32), kept)
    assert np.array_equal(of.mcb, mcb == 1)
    assert np.array_equal(of.shift, n + (1 if shift == "n+1" else 0))
    meant = field.astype(int)
    if offset == "signed":
        meant[meant > 255] -= 512
    assert np.array_equal(of.offset, meant)
    assert np.array_equal(of.signed, sign == 1)


@pytest.mark.parametrize("offset_rule", ["signed", "unsigned"])
@pytest.mark.parametrize("shift_rule", ["n+1", "n"])
def test_every_shift_and_sign_and_many_offsets_are_written_or_refused(offset_rule, shift_rule):
    config = UnitConfig(requant_offset=offset_rule, requant_shift=shift_rule)
    low, high = (-256, 255) if offset_rule == "signed" else (0, 511)
    for shift in range(17):
        for signed in (True, False):
            for offset in (-256, -255, -1, 0, 1, 255, 256, 511):
                scale = SCALES[(shift + offset) % len(SCALES)]
                how = Requant(scale, offset, signed=signed, shift=shift)
                field = shift - (shift_rule == "n+1") if shift else 0
                if not low <= offset <= high:
                    with pytest.raises(ArgumentError, match=f"offset is not in {low}..{high}"):
                        how.words(config)
                elif field > 15:
                    with pytest.raises(ArgumentError, match="shift 16 does not fit four bits"):
                        how.words(config)
                else:
                    word = scale_bits(scale) + field * 2**32 + (shift > 0) * 2**36
                    word += offset % 512 * 2**37 + signed * 2**46
                    assert how.words(config).tolist() == [word]


def test_one_word_a_column_has_the_scale_and_the_offset_of_its_column():
    scales, offsets = np.array([0.5, 1.0, -2.0]), np.array([3, -4, 5])
    expected = [
        scale_bits(s) + o % 512 * 2**37 + 2**46
        for s, o in zip(scales, offsets.tolist(), strict=True)
    ]
    assert Requant(scales, offsets).words(UnitConfig()).tolist() == expected
    assert Requant(scales, 3).words(UnitConfig()).tolist() == [
        scale_bits(s) + 3 * 2**37 + 2**46 for s in scales
    ]


def test_fp16_of_an_accumulator_is_that_of_numpy_at_every_boundary():
    # The middles between two halves that are neighbours, as int32 with a scale of a power of two.
    halves = np.arange(0x7BFF, dtype=np.uint16).view(np.float16).astype(np.float64)
    middles = (halves + np.append(halves[1:], 65504)) / 2
    for power in range(-30, 1, 5):
        exact = middles / 2.0**power
        exact = exact[(exact == np.floor(exact)) & (exact < 2**24 - 1)]
        sums = np.concatenate([exact - 1, exact, exact + 1]).astype(np.int32)
        sums = np.concatenate([sums, -sums])
        words = np.array([scale_bits(2.0**power)], np.uint64)
        got = requant.dequantise(sums.reshape(-1, 1), words)
        expected = (sums.astype(np.float32) * np.float32(2.0**power)).astype(np.float16)
        assert np.array_equal(got.reshape(-1).view(np.uint16), expected.view(np.uint16))


@pytest.mark.parametrize("how", [
    Requant(np.array([])), Requant(0.5, np.array([], int)),
    Requant(np.array([]), np.array([], int), mode="DEQF16"),
])  # fmt: skip
def test_no_scale_or_no_offset_is_for_no_column(how):
    unit, x = Unit(), np.ones((2, 8), np.int8)
    for steps in (False, True):
        with pytest.raises(ShapeError, match="requant has 0 columns; this weight has 3"):
            unit.matmul(x, np.zeros((3, 8), np.int8), requant=how, exact_steps=steps)
        assert unit.matmul(x, np.zeros((0, 8), np.int8), requant=how).output.shape == (2, 0)
