"""Foreign bytes: drawn anew in plain Python, what they select, and where they are refused."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from splitmix import splitmix64

from cube24.encoder import ArgumentError
from cube24.simulator import UnitConfig
from cube24.vectors import foreign, suites
from cube24.vectors.build import build
from cube24.vectors.rng import case_seed, stream_seed
from cube24.vectors.shrink import cropped
from cube24.vectors.spec import Item, conv2d, matmul
from cube24.vectors.spec_check import check

Group = tuple[int, int, int, int]  # slot 0, slot 1, i0, i1


def signed(byte: int) -> int:
    return byte - 256 if byte > 127 else byte


def drawn(turn: int, seed: int, count: int, pair20: str, index3: str) -> list[Group]:
    """The groups as docs/vectors.md has them."""
    indices = range(4 if index3 == "nothing" else 3)
    table = [(i, j, a, b) for i in indices for j in indices for a in (0, 1) for b in (0, 1)]
    words, found = splitmix64(seed), []
    for p in range(count):
        word = next(words)
        i, j, a, b = table[(p + p // len(table) + turn) % len(table)]
        w0, w1 = signed(word & 255), signed(word >> 8 & 255)
        second = 2 if pair20 == "table" and (i, j) == (2, 0) else j + 1
        if i == second and i < 3 and j < 3:
            w0, w1 = w0 // 2, w1 // 2
        found.append(((w0 or 1) if a else 0, (w1 or 1) if b else 0, i, j))
    return found


@pytest.mark.parametrize(("pair20", "index3"), [*product(("rule", "table"), ("error", "nothing"))])
@pytest.mark.parametrize(("turn", "rows", "k"), [(0, 3, 260), (-7, 5, 22), (2**31, 1, 1)])
def test_they_are_drawn_as_the_document_says(
    turn: int, rows: int, k: int, pair20: Any, index3: Any
) -> None:
    config = UnitConfig(pair20=pair20, index3=index3)
    got = foreign.draw({"foreign": turn}, 9, rows, k, config)
    groups = -(-k // 4)
    plain = drawn(turn, 9, rows * groups, pair20, index3)
    flat = np.concatenate([got.slots, got.pairs], axis=-1).reshape(-1, 4).tolist()
    assert [tuple(group) for group in flat] == plain
    # The weight: what each element of a group meets.
    weight = got.weight(k).tolist()
    bytes_ = got.encoded(k)
    for row in range(rows):
        line = []
        for g, (w0, w1, i, j) in enumerate(plain[groups * row : groups * (row + 1)]):
            elements = [0] * 4
            if i < 3:
                elements[i] += w0
            if j < 3:
                elements[2 if pair20 == "table" and (i, j) == (2, 0) else j + 1] += w1
            line += elements
            assert bytes_.dense[row, 2 * g : 2 * g + 2].tolist() == [w0, w1]
            nibble = int(bytes_.index[row, g // 2]) >> 4 * (g % 2) & 15
            assert nibble == i + 4 * j
        assert weight[row] == line[:k]
        assert all(-128 <= value <= 127 for value in line)


def test_a_case_has_the_bytes_and_the_weight_that_they_select() -> None:
    item = next(item for item in suites.items("foreign", 0, 1) if item.name == "tail-nd-rule")
    case = build("foreign", 1, item, 1)
    seed = stream_seed(case_seed(1, "foreign", "tail-nd-rule"), "weights")
    groups = foreign.draw({"foreign": 0}, seed, 17, 150, case.unit)
    assert np.array_equal(case.pieces["weights"].array, groups.weight(150))
    assert np.array_equal(case.pieces["dense"].array, groups.encoded(150).dense)
    assert np.array_equal(case.pieces["index"].array, groups.encoded(150).index)
    x = case.pieces["activations"].array.astype(int)
    expected = x @ case.pieces["weights"].array.astype(int).T
    assert np.array_equal(case.pieces["expected"].array, expected)


@pytest.mark.parametrize("layout", ["nd", "zn"])
def test_a_smaller_case_has_the_same_groups(layout: Any) -> None:
    spec = matmul(3, 5, 150, weights={"foreign": 4}, layout=layout)
    whole = build("foreign", 1, Item("x", spec), 1)
    left = cropped(spec, {"rows": [0, 2], "columns": [1, 4], "groups": [0, 3, 36, 37]})
    check(left)
    small = build("foreign", 1, Item("x", left), 1)
    kept = [k for g in (0, 3, 36, 37) for k in range(4 * g, min(4 * g + 4, 150))]
    weights = whole.pieces["weights"].array[[1, 4]][:, kept]
    assert np.array_equal(small.pieces["weights"].array, weights)
    seed = stream_seed(case_seed(1, "foreign", "x"), "weights")
    groups = foreign.draw({"foreign": 4}, seed, 5, 150, whole.unit)
    dense = small.pieces["dense"].array
    if layout == "zn":
        dense = dense[0, 0, :2]
    assert np.array_equal(dense[:, :8].reshape(2, 4, 2), groups.slots[[1, 4]][:, [0, 3, 36, 37]])


def test_of_weights_on_one_element_some_sums_are_more_than_a_weight_holds() -> None:
    wide = set()
    for item in suites.items("foreign", 0, 1):
        if item.name.startswith("over-"):
            case = build("foreign", 1, item, 1)
            group = item.spec["change"]["bit"] // 16  # type: ignore[index]
            pair = int(case.pieces["index"].array[0, group // 2]) >> 4 * (group % 2) & 15
            assert f"{pair & 3}{pair >> 2}" == item.name[5:7]
            total = int(case.pieces["dense"].array[0, 2 * group : 2 * group + 2].astype(int).sum())
            if not -128 <= total <= 127:
                wide.add(item.name[5:7])
    assert wide == {"10", "21"}


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (conv2d(4, 2, (3, 3), (1, 1), weights={"foreign": 0}), "fill.weights is foreign bytes"),
        (matmul(1, 1, 4, weights={"foreign": 1 << 32}), "no such rule"),
        (matmul(1, 1, 4, weights={"foreign": "0"}), "no such rule"),
        (matmul(1, 1, 4, activations={"foreign": 0}), "no such rule"),
    ],
)
def test_what_is_no_foreign_rule_is_refused(spec: Any, said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        check(spec)
