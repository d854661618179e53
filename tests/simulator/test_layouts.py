"""Layouts of activations and results: every element at the place that a formula gives it."""

from itertools import product

import numpy as np
import pytest

from cube24.simulator import layouts


def numbered(shape, dtype):
    """No two elements of a small array alike, and none zero."""
    return (np.arange(np.prod(shape)) % 251 + 1).reshape(shape).astype(dtype)


@pytest.mark.parametrize("cin", [1, 3, 31, 32, 33, 64, 65])
def test_nc1hwc0_has_each_channel_in_its_block_and_back(cin):
    for batch, h, w in product((1, 2), (1, 3, 17), (1, 2, 33)):
        x = numbered((batch, cin, h, w), np.int8)
        expected = np.zeros((batch, -(-cin // 32), h, w, 32), np.int8)
        for c in range(cin):
            expected[:, c // 32, :, :, c % 32] = x[:, c]
        got = layouts.to_nc1hwc0(x)
        assert np.array_equal(got, expected)
        expected[expected == 0] = 99  # what missing channels hold does not matter
        assert np.array_equal(layouts.from_nc1hwc0(expected, cin), np.where(x == 0, 99, x))


def test_an_image_that_is_no_block_of_memory_is_read_as_what_it_shows():
    x = numbered((1, 5, 4, 6), np.int8)[:, ::-1, :, ::2]
    assert layouts.to_nc1hwc0(x)[0, 0, 1, 2, 4] == x[0, 4, 1, 2]
    assert np.array_equal(layouts.from_nc1hwc0(layouts.to_nc1hwc0(x), 5), x)


@pytest.mark.parametrize(("dtype", "n0"), [(np.int32, 16), (np.float16, 16), (np.int8, 32)])
def test_nz_has_each_row_in_its_column_of_fractals_and_back(dtype, n0):
    for m, n, more in product((1, 15, 16, 17, 33), (1, 16, 31, 32, 33, 70), (0, 16)):
        stored = -(-m // 16) * 16 + more
        rows = numbered((m, n), dtype)
        expected = np.zeros((-(-n // n0), stored, n0), dtype)
        for column in range(n):
            expected[column // n0, :m, column % n0] = rows[:, column]
        got = layouts.to_nz(rows, stored)
        assert got.dtype == dtype
        assert np.array_equal(got, expected)
        expected[expected == 0] = 99
        assert np.array_equal(layouts.from_nz(expected, m, n), rows)


def test_rows_from_zz_are_its_fractals_side_by_side():
    for m1, k1 in product((1, 2, 3), (1, 2, 5)):
        zz = numbered((m1, k1, 16, 32), np.int8)
        rows = layouts.from_zz(zz)
        assert rows.shape == (m1 * 16, k1 * 32)
        for row, k in product(range(m1 * 16), range(k1 * 32)):
            assert rows[row, k] == zz[row // 16, k // 32, row % 16, k % 32]
