"""Flipped bits of words: against words that are read anew, and what cannot be flipped."""

from __future__ import annotations

from typing import Any

import numpy as np
import plain_device
import pytest

from cube24.encoder import ArgumentError
from cube24.vectors import suites
from cube24.vectors.build import build
from cube24.vectors.case import Case
from cube24.vectors.spec import Item, matmul

LEVEL1 = [item for item in suites.items("fixpipe", 1, 1) if item.spec["change"]]


def result(case: Case) -> Any:
    arrays = {role: piece.array for role, piece in case.pieces.items()}
    return plain_device.run(case.spec, arrays)


@pytest.mark.parametrize("base", ["vreq8", "vreq8-shift", "vdeqf16"])
def test_every_flipped_bit_of_words_does_what_a_plain_device_does(base: str) -> None:
    outcomes = set()
    for item in LEVEL1:
        if item.name.rpartition("-bit-")[0] != base:
            continue
        case = build("fixpipe", 1, item, 1)
        bit = item.spec["change"]["bit"]  # type: ignore[index]
        outcomes.add(case.outcome["kind"])
        if case.outcome["kind"] == "error":
            # Only the exponent makes a scale that is not finite.
            assert (case.outcome["error"], bit % 64 in range(23, 31)) == ("RangeError", True)
            continue
        good = build("fixpipe", 1, Item(item.name, {**item.spec, "change": None}), 1)
        words = good.pieces["requant"].array.tolist()
        words[bit // 64] ^= 1 << bit % 64
        assert case.pieces["requant"].array.tolist() == words
        got, before = case.pieces["expected"].array, good.pieces["expected"].array
        assert result(case).tobytes() == got.tobytes()
        differing = int((got.view(f"u{got.itemsize}") != before.view(f"u{got.itemsize}")).sum())
        assert case.outcome.get("differing", 0) == differing
        if bit % 64 < 13 or bit % 64 > 46:
            assert differing == 0
    assert {"changed", "masked"} <= outcomes


def test_level_0_flips_some_bits_of_level_1() -> None:
    names = {item.name for item in suites.items("fixpipe", 0, 1)}
    more = {item.name for item in suites.items("fixpipe", 1, 1)}
    assert names < more
    assert len(LEVEL1) == 3 * 4 * 64


@pytest.mark.parametrize(
    ("requant", "said"),
    [(None, "no words that are one a column"), ({"scale": 0.5}, "no words that are one a column")],
)
def test_only_words_in_memory_can_be_flipped(requant: Any, said: str) -> None:
    change = {"kind": "fault", "role": "requant", "bit": 0}
    spec = matmul(1, 2, 4, requant=requant, change=change)
    with pytest.raises(ArgumentError, match=said):
        build("faults", 1, Item("x", spec), 1)


def test_a_single_column_with_a_word_of_its_own_is_in_memory_too() -> None:
    change = {"kind": "fault", "role": "requant", "bit": 46}
    spec = matmul(2, 1, 4, requant={"scale": [0.5]}, activations="ramp", change=change)
    case = build("faults", 1, Item("x", spec), 1)
    assert result(case).tobytes() == case.pieces["expected"].array.tobytes()
    assert np.asarray(case.pieces["requant"].array).shape == (1,)
