"""Fills: what each rule makes of the words, written anew."""

import pytest
from splitmix import splitmix64

from cube24.encoder import ArgumentError
from cube24.vectors import fill


def test_there_are_113_legal_groups_of_extremes_all_different_and_legal():
    groups = fill.legal_groups()
    assert len({tuple(group) for group in groups.tolist()}) == len(groups) == 113
    assert all(sum(value != 0 for value in group) <= 2 for group in groups.tolist())
    assert set(groups.ravel().tolist()) == {-128, -1, 0, 1, 127}


def slow_group(rule, word):
    masks = fill.MASKS if rule in ("uniform", "edges") else fill.MASKS[5:]
    mask = masks[((word >> 32) * len(masks)) >> 32]
    values = []
    for raw in (word & 255, word >> 8 & 255):
        if rule == "edges":
            values.append((-128, -127, -64, -1, 1, 64, 126, 127)[raw & 7])
        else:
            value = raw - 256 if raw > 127 else raw
            values.append({"max": 127, "min": -128, "full": value or 1}.get(rule, value))
    group = [0] * 4
    for place in range(4):
        if mask >> place & 1:
            group[place] = values.pop(0)
    return group


@pytest.mark.parametrize("rule", ["uniform", "edges", "full", "max", "min"])
def test_weights_are_drawn_a_word_a_group(rule):
    plain = splitmix64(3)
    got = fill.weights(rule, 3, 5, 26)
    expected = [[v for _ in range(7) for v in slow_group(rule, next(plain))][:26] for _ in range(5)]
    assert got.tolist() == expected


def test_turned_groups_stand_where_they_should():
    got = fill.weights({"legal": 100}, 1, 3, 64).reshape(-1, 4).tolist()
    table = fill.legal_groups().tolist()
    assert got == [table[(p + 100) % 113] for p in range(48)]


def test_activations_and_bias_follow_their_rules():
    assert fill.activations("ramp", 1, 300).tolist() == [i % 251 - 125 for i in range(300)]
    assert fill.activations("max", 1, 2).tolist() == [127, 127]
    plain = splitmix64(4)
    assert fill.activations("edges", 4, 20).tolist() == [
        (-128, -127, -64, -1, 1, 64, 126, 127)[((next(plain) >> 32) * 8) >> 32] for _ in range(20)
    ]
    plain = splitmix64(5)
    high = [next(plain) >> 32 for _ in range(4)]
    assert fill.bias("uniform", 5, 4).tolist() == [v - 2**32 if v >> 31 else v for v in high]
    assert fill.bias([1, -2], 5, 5).tolist() == [1, -2, 1, -2, 1]
    assert fill.bias(None, 5, 4) is None


@pytest.mark.parametrize(
    "call",
    [
        lambda: fill.weights("none", 1, 1, 4), lambda: fill.weights({"legal": 1, "x": 2}, 1, 1, 4),
        lambda: fill.activations("none", 1, 1), lambda: fill.bias("none", 1, 1),
        lambda: fill.bias([2**31], 1, 1), lambda: fill.bias([], 1, 1),
    ],
)  # fmt: skip
def test_a_rule_that_does_not_exist_is_refused(call):
    with pytest.raises(ArgumentError):
        call()
