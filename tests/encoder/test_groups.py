"""One group: every legal one encodes to the table, every stored one decodes by the selection rule.

The domain is finite, so it is enumerated.
"""

import itertools
from collections.abc import Iterator

import numpy as np
import oracle
import pytest

from cube24 import encoder

INT8 = range(-128, 128)
NONZERO = [value for value in INT8 if value]
FAULT_CODE = {"": 0, "index3": 1, "conflict": 2, "noncanonical": 3}


def rows(groups: np.ndarray) -> np.ndarray:
    """Groups (..., 4) side by side as rows (..., K)."""
    return groups.reshape(*groups.shape[:-2], -1)


# --- legal groups ---------------------------------------------------------------------------------


def table_row(elements: str, i0: int, i1: int, slots: str) -> tuple[np.ndarray, ...]:
    """All groups, dense pairs and index pairs of one row of the table."""
    letters = [letter for letter in "XY" if letter in elements]
    values = np.array(list(itertools.product(NONZERO, repeat=len(letters))), np.int8)
    values = values.reshape(255 ** len(letters), len(letters))
    groups = np.zeros((len(values), 4), np.int8)
    dense = np.zeros((len(values), 2), np.int8)
    for column, letter in enumerate(letters):
        groups[:, elements.index(letter)] = values[:, column]
        dense[:, slots.index(letter)] = values[:, column]
    return groups, dense, np.tile(np.uint8([i0, i1]), (len(values), 1))


@pytest.fixture(scope="module")
def legal() -> tuple[np.ndarray, ...]:
    """All legal groups with their dense and index pairs, in a fixed random order."""
    parts = [table_row(*row) for row in oracle.TABLE]
    groups, dense, indices = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.random.default_rng(24).permutation(len(groups))
    return groups[order], dense[order], indices[order]


def test_there_are_391171_legal_groups(legal):
    assert len(legal[0]) == 6 * 255**2 + 4 * 255 + 1 == 391_171
    assert len(np.unique(legal[0], axis=0)) == 391_171


@pytest.mark.parametrize("before", range(0, 32, 3))
def test_every_legal_group_encodes_to_the_table_and_decodes_back(path, legal, before):
    # `before` zero groups shift each group to another half of a byte and another lane of a vector.
    after = -(before + len(legal[0])) % 64
    groups, dense, indices = (np.pad(part, ((before, after), (0, 0))) for part in legal)
    weight = groups.reshape(-1, 256)
    sparse = encoder.encode(weight)
    assert np.array_equal(sparse.dense, dense.reshape(-1, 128))
    assert np.array_equal(sparse.index, oracle.pack_rows(indices.reshape(-1, 128)))
    assert np.array_equal(encoder.decode(sparse, strict=True), weight)


def test_a_row_of_every_legal_group_in_fractals(path, legal):
    groups, dense, _ = (np.pad(part, ((0, 5), (0, 0))) for part in legal)
    sparse = encoder.encode(groups.reshape(1, -1), layout="zn")
    assert np.array_equal(sparse.dense, oracle.to_zn(dense.reshape(1, -1), 32))
    assert np.array_equal(encoder.decode(sparse, strict=True), groups.reshape(1, -1))


def test_the_worked_byte():
    # Indices 1 2 0 1 read 1 0 2 1 from the high bits down.
    sparse = encoder.encode(np.int8([[0, 5, 0, -3, 7, 0, -8, 0]]))
    assert sparse.dense.tolist() == [[5, -3, 7, -8]]
    assert sparse.index.tolist() == [[0b01_00_10_01]] == [[0x49]]
    assert encoder.pack_index(np.uint8([1, 2, 0, 1])).tolist() == [0x49]
    assert encoder.unpack_index(np.uint8([0x49])).tolist() == [1, 2, 0, 1]


def test_every_byte_of_indices_packs_and_unpacks():
    values = np.array(list(itertools.product(range(4), repeat=4)), np.uint8)
    expected = np.array([oracle.pack(row) for row in values.tolist()], np.uint8)
    assert len(np.unique(expected)) == 256
    assert np.array_equal(encoder.pack_index(values), expected)
    assert np.array_equal(encoder.unpack_index(expected), values)


# --- the lone non-zero at element 3 ---------------------------------------------------------------


@pytest.mark.parametrize("value", [-128, -1, 1, 127])
def test_a_lone_nonzero_at_element_3_goes_to_slot_1(path, value):
    sparse = encoder.encode(np.int8([[0, 0, 0, value, 0, 0, 0, value]]))
    assert sparse.dense.tolist() == [[0, value, 0, value]]
    assert sparse.index.tolist() == [[0b10_00_10_00]]


def test_element_3_in_slot_0_would_be_read_as_element_0(path):
    # Public sample generators write (X, 0) with (0, 2) here. The selection rule is all that the
    # hardware has: slot 0 is element i0, so X meets the activation of element 0.
    activation = np.int8([[2, 3, 5, 7, 0, 0, 0, 0]])
    weight = np.int8([[0, 0, 0, 9, 0, 0, 0, 0]])
    theirs = encoder.SparseWeight(np.int8([[9, 0, 0, 0]]), np.uint8([[0b10_00]]), (1, 8))
    read = encoder.decode(theirs)
    assert read.tolist() == [[9, 0, 0, 0, 0, 0, 0, 0]]
    assert oracle.matmul(activation, weight).tolist() == [[9 * 7]]
    assert oracle.matmul(activation, read).tolist() == [[9 * 2]]
    ours = encoder.decode(encoder.encode(weight))
    assert oracle.matmul(activation, ours).tolist() == [[9 * 7]]
    with pytest.raises(encoder.RefusedError, match="not what the encoder writes"):
        encoder.decode(theirs, strict=True)


# --- stored groups --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stored() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For [pair][dense pair]: the elements, and the faults of a default and of a strict reading."""
    elements = np.zeros((16, 65536, 4), np.int8)
    default = np.zeros((16, 65536), np.uint8)
    strict = np.zeros((16, 65536), np.uint8)
    encoding: dict[tuple[int, ...], tuple[int, ...]] = {}
    for pair in range(16):
        i0, i1 = oracle.unpack([pair])[:2]
        for number, (d0, d1) in enumerate(itertools.product(INT8, INT8)):
            group = oracle.decode_group(d0, d1, i0, i1)
            if isinstance(group, str):
                default[pair, number] = strict[pair, number] = FAULT_CODE[group]
                continue
            elements[pair, number] = group
            if group not in encoding:
                encoding[group] = oracle.encode_group(group)
            if encoding[group] != (d0, d1, i0, i1):
                strict[pair, number] = FAULT_CODE["noncanonical"]
    return elements, default, strict


DENSE = np.array(list(itertools.product(INT8, INT8)), np.int8)


def halves(dense: np.ndarray, pair: np.ndarray, half: int) -> tuple[np.ndarray, np.ndarray]:
    """One byte for each group: the group in one half, zeros in the other."""
    slots = np.zeros((len(dense), 2, 2), np.int8)
    slots[:, half] = dense
    return slots, (pair.astype(np.uint8) << (4 * half)).reshape(-1, 1)


def test_only_the_encoding_of_a_legal_group_passes_a_strict_decode(stored):
    # The oracle itself: 2^20 stored groups, of which one for each legal group is canonical.
    assert (stored[2] == 0).sum() == 391_171
    assert (stored[1] == FAULT_CODE["index3"]).sum() == 7 * 65536
    assert (stored[1] == FAULT_CODE["conflict"]).sum() == 2 * 255**2


@pytest.mark.parametrize("half", [0, 1])
@pytest.mark.parametrize("strict", [False, True])
def test_every_stored_group_that_is_accepted_decodes_by_the_selection_rule(
    path, stored, half, strict
):
    elements, *faults = stored
    pair, number = np.nonzero(faults[strict] == 0)
    slots, index = halves(DENSE[number], pair, half)
    expected = np.zeros((len(pair), 2, 4), np.int8)
    expected[:, half] = elements[pair, number]
    for width in (1, 61):  # bytes a row: one at a time, and long runs with a tail
        pad = ((0, -len(pair) % width), (0, 0), (0, 0))
        weight = np.pad(expected, pad).reshape(-1, 8 * width)
        sparse = encoder.SparseWeight(
            np.pad(slots, pad).reshape(-1, 4 * width),
            np.pad(index, pad[:2]).reshape(-1, width),
            weight.shape,
        )
        assert np.array_equal(encoder.decode(sparse, strict=strict), weight)


@pytest.mark.parametrize("half", [0, 1])
@pytest.mark.parametrize("strict", [False, True])
def test_every_stored_group_that_is_refused_is_counted(path, stored, half, strict):
    # Each row holds one stored group many times, so that a row is either good or bad throughout.
    faults = stored[1 + strict]
    for pair in range(16):
        slots, index = halves(DENSE, np.full(65536, pair), half)
        sparse = encoder.SparseWeight(
            np.tile(slots.reshape(-1, 4), (1, 9)), np.tile(index, (1, 9)), (65536, 72)
        )
        wrong = int(np.count_nonzero(faults[pair]))
        if wrong == 0:
            encoder.decode(sparse, strict=strict)
            continue
        with pytest.raises(encoder.RefusedError) as caught:
            encoder.decode(sparse, strict=strict, limit=0)
        assert caught.value.count == 9 * wrong
        assert caught.value.groups == ()


def refusals(error: encoder.RefusedError) -> Iterator[tuple[object, ...]]:
    for group in error.groups:
        yield (
            FAULT_CODE[group.fault], group.batch, group.row, group.group, group.dense_offset,
            group.index_offset, group.bit_offset, *group.pair, *group.dense,
        )  # fmt: skip


@pytest.mark.parametrize(("half", "strict"), [(0, True), (1, False)])
def test_every_refusal_names_fault_place_and_bytes(stored, half, strict):
    # 256 rows of 256 bytes, so that row, group and both offsets all run.
    for pair in range(16):
        fault = stored[1 + strict][pair]
        if not fault.any():
            continue
        slots, index = halves(DENSE, np.full(65536, pair), half)
        sparse = encoder.SparseWeight(
            slots.reshape(256, 1024), index.reshape(256, 256), (256, 2048)
        )
        with pytest.raises(encoder.RefusedError) as caught:
            encoder.decode(sparse, strict=strict, limit=65536)
        assert caught.value.count == np.count_nonzero(fault)
        i0, i1 = pair % 4, pair // 4
        expected = (
            (int(fault[at]), (), at // 256, 2 * (at % 256) + half, 4 * at + 2 * half, at, 4 * half,
             i0, i1, at // 256 - 128, at % 256 - 128)
            for at in np.flatnonzero(fault).tolist()
        )  # fmt: skip
        for got, want in zip(refusals(caught.value), expected, strict=True):
            assert got == want


@pytest.mark.parametrize("groups", [8, 9, 33, 130])
def test_a_lone_refused_group_is_found_wherever_it_stands_in_a_row(path, groups):
    # What one lane of a vector misses, no neighbour can make up for.
    stored_groups = groups + groups % 2
    cases = [
        (at, pair, d0, d1)
        for at in range(groups)
        for pair in range(16)
        for d0, d1 in itertools.product((-128, -1, 0, 1, 127), repeat=2)
        if isinstance(oracle.decode_group(d0, d1, pair % 4, pair // 4), str)
    ]
    dense = np.zeros((len(cases), stored_groups, 2), np.int8)
    pairs = np.zeros((len(cases), stored_groups), np.uint8)
    for row, (at, pair, d0, d1) in enumerate(cases):
        dense[row, at] = d0, d1
        pairs[row, at] = pair
    sparse = encoder.SparseWeight(
        rows(dense), pairs[:, 0::2] + 16 * pairs[:, 1::2], (len(cases), 4 * groups)
    )
    with pytest.raises(encoder.RefusedError) as caught:
        encoder.decode(sparse, limit=len(cases))
    assert caught.value.count == len(cases)
    assert [(g.row, g.group) for g in caught.value.groups] == [
        (row, at) for row, (at, *_) in enumerate(cases)
    ]


@pytest.mark.parametrize("groups", [8, 9, 33, 130])
def test_a_lone_group_in_excess_is_found_wherever_it_stands_in_a_row(path, groups):
    masks = [mask for mask in range(16) if mask.bit_count() > 2]
    cases = [(at, mask) for at in range(groups) for mask in masks]
    weight = np.zeros((len(cases), groups, 4), np.int8)
    for row, (at, mask) in enumerate(cases):
        weight[row, at] = [-128 if mask >> p & 1 else 0 for p in range(4)]
    with pytest.raises(encoder.ViolationError) as caught:
        encoder.encode(rows(weight))
    assert caught.value.count == len(cases)
    report = encoder.check(rows(weight), limit=len(cases))
    assert [(o.coordinates[0], o.group) for o in report.offenders] == [
        (row, at) for row, (at, _) in enumerate(cases)
    ]


# --- policies -------------------------------------------------------------------------------------


def adversarial_groups() -> list[tuple[int, ...]]:
    """Every mask with magnitudes that tie, and with -128, whose negative is no int8."""
    sizes = (-128, -127, -2, -1, 1, 2, 127)
    return [
        group
        for mask in range(16)
        for group in itertools.product(*((sizes if mask >> p & 1 else (0,)) for p in range(4)))
    ]


@pytest.mark.parametrize("before", [0, 1])
@pytest.mark.parametrize("policy", oracle.POLICIES)
def test_each_policy_keeps_what_it_says_and_counts_what_it_drops(path, policy, before):
    groups = [(0, 0, 0, 0)] * before + adversarial_groups()
    kept = [oracle.keep(group, policy) for group in groups]
    weight = np.array(groups, np.int8).reshape(1, -1)
    sparse = encoder.encode(weight, policy=policy)
    dense, index = oracle.encode(np.array(kept, np.int8).reshape(1, -1))
    assert np.array_equal(sparse.dense, dense)
    assert np.array_equal(sparse.index, index)
    dropped = [sum(map(bool, a)) - sum(map(bool, b)) for a, b in zip(groups, kept, strict=True)]
    assert sparse.changes == encoder.Changes(sum(map(bool, dropped)), sum(dropped))
    pruned = encoder.prune(weight, policy=policy)
    assert pruned.weight.tolist() == np.array(kept).reshape(1, -1).tolist()


@pytest.mark.parametrize(
    ("group", "first_two", "first_last", "magnitude"),
    [
        ((1, 2, 3, 0), (1, 2, 0, 0), (1, 0, 3, 0), (0, 2, 3, 0)),
        ((1, 2, 0, 4), (1, 2, 0, 0), (1, 0, 0, 4), (0, 2, 0, 4)),
        ((1, 0, 3, 4), (1, 0, 3, 0), (1, 0, 0, 4), (0, 0, 3, 4)),
        ((0, 2, 3, 4), (0, 2, 3, 0), (0, 2, 0, 4), (0, 0, 3, 4)),
        ((1, 2, 3, 4), (1, 2, 0, 0), (1, 0, 0, 4), (0, 0, 3, 4)),
        ((5, -5, 5, -5), (5, -5, 0, 0), (5, 0, 0, -5), (5, -5, 0, 0)),
        ((127, 127, -128, 127), (127, 127, 0, 0), (127, 0, 0, 127), (127, 0, -128, 0)),
        ((0, -127, 127, -128), (0, -127, 127, 0), (0, -127, 0, -128), (0, -127, 0, -128)),
        ((-1, 0, 0, 1), (-1, 0, 0, 1), (-1, 0, 0, 1), (-1, 0, 0, 1)),
    ],
)
def test_policies_by_example(group, first_two, first_last, magnitude):
    # Worked by hand, so that the oracle is held to something too.
    for policy, kept in zip(oracle.POLICIES, (first_two, first_last, magnitude), strict=True):
        assert oracle.keep(group, policy) == kept
        sparse = encoder.encode(np.int8([group]), policy=policy)
        assert encoder.decode(sparse).tolist() == [list(kept)]


def test_policy_error_refuses_every_mask_of_three_or_four_and_no_other(path):
    for group in adversarial_groups():
        weight = np.int8([group])
        if sum(map(bool, group)) <= 2:
            assert encoder.encode(weight).changes == encoder.Changes(0, 0)
            continue
        with pytest.raises(encoder.ViolationError) as caught:
            encoder.encode(weight)
        assert caught.value.count == 1
        assert caught.value.offenders[0].values == group


# --- the oracle agrees with itself ----------------------------------------------------------------


def test_the_oracle_of_matrices_is_the_oracle_of_groups():
    groups = [group for group in adversarial_groups() if sum(map(bool, group)) <= 2]
    dense, index = oracle.encode(np.array(groups, np.int8).reshape(1, -1))
    indices = oracle.unpack(index[0].tolist())
    for number, group in enumerate(groups):
        place = slice(2 * number, 2 * number + 2)
        assert (*dense[0, place].tolist(), *indices[place]) == oracle.encode_group(group)
    assert oracle.decode(dense, index)[0, : 4 * len(groups)].tolist() == [
        value for group in groups for value in group
    ]
