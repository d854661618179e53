"""Unreachable bins: that no legal group, word or program hits them, and that all others are hit."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from counted import Level
from coverage_oracle import pattern_of, value_class

from cube24.encoder import ArgumentError, encode
from cube24.simulator import Requant, UnitConfig, isa, requant
from cube24.vectors import schema
from cube24.vectors.coverage import BINS, UNREACHABLE


def unreachable(point: str) -> set[str]:
    return {name for name in UNREACHABLE if name.startswith(f"{point}/")}


def reachable(point: str) -> set[str]:
    return {name for name in BINS if name.startswith(f"{point}/")} - unreachable(point)


@pytest.fixture(scope="module")
def all_legal_groups() -> tuple[Any, Any, Any]:
    """All 391,171 legal groups, with what the encoder makes of them: slots and index pairs."""
    byte = np.arange(-128, 128)
    byte = byte[byte != 0]
    found = [np.zeros((1, 4), np.int8)]
    for i in range(4):
        lone = np.zeros((255, 4), np.int8)
        lone[:, i] = byte
        found.append(lone)
        for j in range(i + 1, 4):
            two = np.zeros((255, 255, 4), np.int8)
            two[..., i], two[..., j] = byte[:, None], byte
            found.append(two.reshape(-1, 4))
    groups = np.concatenate(found)
    assert len(groups) == len(np.unique(groups, axis=0)) == 391_171
    sparse = encode(groups)  # one group a row
    return groups, sparse.dense[:, :2], sparse.index[:, 0]


def test_value_bins_are_reachable_just_where_a_legal_group_hits_them(
    all_legal_groups: tuple[Any, Any, Any],
) -> None:
    groups, slots, _ = all_legal_groups
    masks = (groups != 0) @ np.array([1, 2, 4, 8])
    hit = set()
    for mask, slot in product(range(16), (0, 1)):
        pattern = pattern_of([mask >> i & 1 for i in range(4)]) if mask.bit_count() <= 2 else ""
        for value in np.unique(slots[masks == mask, slot]).tolist():
            hit.add(f"value/{pattern}.{slot}.{value_class(value)}")
    assert hit == reachable("value")


def test_foreign_bins_are_those_of_pairs_that_no_legal_group_gives(
    all_legal_groups: tuple[Any, Any, Any],
) -> None:
    _, slots, index = all_legal_groups
    own = set()
    for digit, *there in np.unique(np.column_stack([index, slots != 0]), axis=0).tolist():
        own.add(f"{digit & 3}{digit >> 2}.{''.join('zn'[is_] for is_ in there)}")
    assert len(own) == 11  # one a pattern
    every = {f"{i}{j}.{one}{two}" for i, j in product("012", repeat=2)
             for one, two in product("zn", repeat=2)}  # fmt: skip
    assert own < every
    for point in ("foreign", "foreigncol"):
        wanted = {f"{point}/{name}.{at}" for name in every - own for at in range(16)}
        assert reachable(point) == wanted
        assert len(wanted) == 25 * 16
    assert reachable("pair") == {f"pair/{i}{j}" for i, j in product("0123", repeat=2)}
    assert {name.split(".")[0][-2:] for name in reachable("index3")} == {
        f"{i}{j}" for i, j in product("0123", repeat=2) if "3" in (i, j)
    }
    assert len(reachable("index3")) == 28


def test_integers_have_neither_subnormals_nor_a_negative_zero() -> None:
    config = UnitConfig()
    for signed, scale in product((True, False), (-0.5, -0.0, 0.0, 2.0**-127, -(2.0**-127))):
        words = Requant(scale, signed=signed).words(config)
        got = requant.requantise(np.array([[-1, 0, 1]], np.int32), words, config)
        assert got.tolist() == [[0, 0, 0]]
    assert {"round/s8.sub", "round/s8.-0", "round/u8.sub", "round/u8.-0"} <= unreachable("round")


def test_deqf16_has_no_offset_and_no_clamp() -> None:
    with pytest.raises(ArgumentError, match="neither offset"):
        Requant(1.0, offset=1, mode="DEQF16")
    words = Requant(1.0, mode="DEQF16").words(UnitConfig())
    got = requant.dequantise(np.array([[-300, 300]], np.int32), words)
    assert got.tolist() == [[-300, 300]]
    assert {"round/f16.clamp-low", "round/f16.clamp-high"} <= unreachable("round")


def test_no_case_has_unit_flags_or_flags_without_a_name(level0: Level) -> None:
    named = {("MTE2", "MTE1"), ("MTE1", "MTE2"), ("MTE1", "M"), ("M", "MTE1"), ("M", "FIX"),
             ("FIX", "M"), ("MTE2", "FIX"), ("FIX", "MTE2")}  # fmt: skip
    for case in (case for cases in level0.values() for case in cases):
        assert case.run.plan is not None
        assert not case.run.plan.tile.unit_flag
        for i in case.run.program.instructions:
            assert not isinstance(i, isa.SetFlag | isa.WaitFlag) or (i.of, i.to) in named
    # A spec has no place for a tile of its own.
    spec = schema.load("case-1")["properties"]["spec"]
    assert spec["additionalProperties"] is False
    assert "tile" not in spec["properties"]
    assert unreachable("stall") == {"stall/unit-flag", "stall/other"}


def test_every_unreachable_bin_has_a_reason_and_an_argument() -> None:
    argued = {"value", "round", "stall"}  # the tests above
    assert {name.split("/")[0] for name in UNREACHABLE} == argued
    assert len(unreachable("round")) == 6
    assert all(len(reason) > 10 for reason in UNREACHABLE.values())
    assert UNREACHABLE.keys() <= set(BINS)
