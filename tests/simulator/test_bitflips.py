"""One flipped bit changes the outputs that it must, to the value that it must, and no others."""

from __future__ import annotations

import itertools

import numpy as np
import oracle
import pytest
import samples
from hypothesis import given
from hypothesis import strategies as st

from cube24.encoder import SparseWeight
from cube24.simulator import IllegalIndexError, Tile, Unit, UnitConfig

M, N, K = 5, 19, 140  # tails in all of them; two steps of 64 and a third that is cut off
UNIT = Unit()
LENIENT = Unit(UnitConfig(index3="nothing"))
STORED = -(-K // 8) * 8


def inputs(seed: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Activations (M, K), and dense and index in rows."""
    x = np.random.default_rng(seed).integers(-128, 128, (M, K), dtype=np.int8)
    return x, *oracle.encode(samples.legal_weight((N, K), seed))


def ran(unit: Unit, x: np.ndarray, dense: np.ndarray, index: np.ndarray, **options) -> np.ndarray:
    zn = SparseWeight(oracle.to_zn(dense, 32), oracle.to_zn(index, 8), (N, K), "zn")
    return unit.matmul(x, zn, **options).output


def column_by_rule(x: np.ndarray, dense: np.ndarray, index: np.ndarray) -> np.ndarray:
    """One column of the product by the selection rule in Python integers; 3 selects nothing."""
    indices = oracle.unpack(index.tolist())
    sums = []
    for row in x.tolist():
        # Elements beyond K count as zero. i0 = 3 would be element 3, but the rule allows 0 to 2.
        elements, total = row + [0] * (STORED - K), 0
        for group in range(STORED // 4):
            i0, i1 = indices[2 * group : 2 * group + 2]
            if i0 < 3:
                total += int(dense[2 * group]) * elements[4 * group + i0]
            if i1 < 3:
                total += int(dense[2 * group + 1]) * elements[4 * group + i1 + 1]
        sums.append(total)
    return np.array(sums)


def product_by_rule(x: np.ndarray, dense: np.ndarray, index: np.ndarray) -> np.ndarray:
    return np.stack([column_by_rule(x, *rows) for rows in zip(dense, index, strict=True)], axis=1)


def flipped(array: np.ndarray, row: int, byte: int, bit: int) -> np.ndarray:
    changed = array.copy()
    changed.view(np.uint8)[row, byte] ^= np.uint8(1 << bit)
    return changed


X, DENSE, INDEX = inputs()
BEFORE = product_by_rule(X, DENSE, INDEX)

rows_of = st.integers(0, N - 1)
bits = st.integers(0, 7)


def test_without_a_flip_the_unit_gives_the_product_of_the_rule():
    assert np.array_equal(ran(UNIT, X, DENSE, INDEX), BEFORE)
    assert np.array_equal(BEFORE, oracle.matmul(X, oracle.decode(DENSE, INDEX)[:, :K]))


@given(rows_of, st.integers(0, STORED // 2 - 1), bits)
def test_a_bit_of_dense_changes_its_column_by_its_worth_times_the_selected_activation(n, byte, bit):
    dense = flipped(DENSE, n, byte, bit)
    group, slot = divmod(byte, 2)
    index = oracle.unpack(INDEX[n].tolist())[byte]
    element = 4 * group + index + slot
    selected = X[:, element].astype(np.int64) if element < K else np.zeros(M, np.int64)
    worth = int(dense[n, byte]) - int(DENSE[n, byte])
    assert abs(worth) == 1 << bit
    expected = BEFORE.copy()
    expected[:, n] += worth * selected
    got = ran(UNIT, X, dense, INDEX)
    assert np.array_equal(got, expected)
    # The column changes in just the rows whose selected activation is not zero.
    changed = np.zeros((M, N), bool)
    changed[:, n] = selected != 0
    assert np.array_equal(got != BEFORE, changed)


def new_index(n: int, byte: int, bit: int) -> tuple[int, int, int]:
    """Slot (a byte of dense), index before and after the flip."""
    slot = 4 * byte + bit // 2
    before = oracle.unpack(INDEX[n].tolist())[slot]
    return slot, before, before ^ 1 << bit % 2


@given(rows_of, st.integers(0, STORED // 8 - 1), bits)
def test_a_bit_of_the_index_exchanges_the_selected_activation_in_its_column(n, byte, bit):
    index = flipped(INDEX, n, byte, bit)
    slot, before, after = new_index(n, byte, bit)
    group, second = divmod(slot, 2)
    if after == 3 and 4 * group < K:
        with pytest.raises(IllegalIndexError, match=f"column {n}, group {group}"):
            ran(UNIT, X, DENSE, index)
    got = ran(LENIENT, X, DENSE, index)

    def selected(value: int) -> np.ndarray:
        element = 4 * group + value + second
        there = value != 3 and element < K
        return X[:, element].astype(np.int64) if there else np.zeros(M, np.int64)

    expected = BEFORE.copy()
    expected[:, n] += int(DENSE[n, slot]) * (selected(after) - selected(before))
    assert np.array_equal(got, expected)
    if after != 3:
        assert np.array_equal(ran(UNIT, X, DENSE, index), expected)


@given(st.integers(0, M - 1), st.integers(0, K - 1), bits)
def test_a_bit_of_an_activation_changes_its_row_where_it_is_selected(m, k, bit):
    x = flipped(X, m, k, bit)
    worth = int(x[m, k]) - int(X[m, k])
    group, element = divmod(k, 4)
    expected = BEFORE.copy()
    for n in range(N):
        i0, i1 = oracle.unpack(INDEX[n].tolist())[2 * group : 2 * group + 2]
        weight = int(DENSE[n, 2 * group]) * (i0 == element)
        weight += int(DENSE[n, 2 * group + 1]) * (i1 + 1 == element)
        expected[m, n] += worth * weight
    got = ran(UNIT, x, DENSE, INDEX)
    assert np.array_equal(got, expected)
    assert np.array_equal(np.delete(got, m, axis=0), np.delete(BEFORE, m, axis=0))


@given(st.data())
def test_any_flips_at_once_give_what_the_rule_gives(data):
    seed = data.draw(st.integers(0, 1 << 20))
    rng = np.random.default_rng(seed)
    x, dense, index = X.copy(), DENSE.copy(), INDEX.copy()
    for array in (x, dense, index):
        for _ in range(data.draw(st.integers(0, 20))):
            place = tuple(rng.integers(0, array.shape))
            array.view(np.uint8)[place] ^= np.uint8(1 << rng.integers(0, 8))
    tile = data.draw(st.sampled_from([None, Tile(16, 16, 64, 64), Tile(16, 32, 64, 128)]))
    assert np.array_equal(
        ran(LENIENT, x, dense, index, tile=tile), product_by_rule(x, dense, index)
    )


def one_group(elements: list[int], slots: tuple[int, int], pair: tuple[int, int]) -> int:
    """The product of one group, by the unit."""
    dense, index = np.zeros((1, 4), np.int8), np.zeros((1, 1), np.uint8)
    dense[0, :2] = slots
    index[0, 0] = pair[0] + 4 * pair[1]
    weight = SparseWeight(dense, index, (1, 8))
    x = np.array([[*elements, 0, 0, 0, 0]], np.int8)
    return int(UNIT.matmul(x, weight).output[0, 0])


LEGAL_PAIRS = list(itertools.product(range(3), range(3)))


@pytest.mark.parametrize("pair", LEGAL_PAIRS, ids=str)
def test_every_pair_selects_the_elements_of_the_rule(pair):
    elements = [3, -50, 71, -128]
    for slots in ((1, 0), (0, 1), (-128, 127), (5, -6), (0, 0)):
        expected = slots[0] * elements[pair[0]] + slots[1] * elements[pair[1] + 1]
        assert one_group(elements, slots, pair) == expected


def neighbours() -> list[tuple[tuple[int, int], tuple[int, int], int]]:
    """Legal pairs that differ in one bit, and the bit."""
    return [
        (one, two, bit)
        for one, two in itertools.permutations(LEGAL_PAIRS, 2)
        for bit in range(4)
        if (one[0] + 4 * one[1]) ^ (two[0] + 4 * two[1]) == 1 << bit
    ]


@pytest.mark.parametrize(("pair", "other", "bit"), neighbours(), ids=str)
def test_an_index_that_selects_an_equal_activation_instead_changes_nothing(pair, other, bit):
    slot = bit // 2
    elements = [11, 22, 33, 44]
    old, new = pair[slot] + slot, other[slot] + slot
    assert old != new
    assert one_group(elements, (5, 7), pair) != one_group(elements, (5, 7), other)
    elements[new] = elements[old]
    assert one_group(elements, (5, 7), pair) == one_group(elements, (5, 7), other)


def test_an_index_of_a_slot_that_holds_zero_changes_nothing():
    elements = [11, 22, 33, 44]
    for pair, other, bit in neighbours():
        slots = (0, 7) if bit < 2 else (7, 0)
        assert one_group(elements, slots, pair) == one_group(elements, slots, other)


def test_bits_of_the_padding_change_nothing():
    # Rows of dense and index beyond N, and groups beyond K, take part in no result.
    dense, index = oracle.to_zn(DENSE, 32), oracle.to_zn(INDEX, 8)
    rows = np.zeros((32, 96), np.int64)
    rows[:N, : K // 2] = 1
    beyond = oracle.to_zn(rows, 32) == 0
    groups = np.zeros((32, 24), np.int64)
    groups[:N, : -(-K // 8)] = 1
    beyond_index = oracle.to_zn(groups, 8) == 0
    assert beyond.any()
    assert beyond_index.any()
    noise = np.random.default_rng(1)
    dense = np.where(beyond, noise.integers(-128, 128, dense.shape), dense).astype(np.int8)
    index = np.where(beyond_index, 0xFF, index).astype(np.uint8)  # an index of 3, too
    got = UNIT.matmul(X, SparseWeight(dense, index, (N, K), "zn")).output
    assert np.array_equal(got, BEFORE)
