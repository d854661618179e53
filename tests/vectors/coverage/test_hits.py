"""Bins of cases: beside a slow oracle, by hand, and of bytes that the encoder never writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from counted import Level, made
from coverage_oracle import INT_MAX, INT_MIN, oracle_bins

from cube24.vectors import coverage
from cube24.vectors.case import CaseArray
from cube24.vectors.coverage import POINTS, UNREACHABLE, Table, bins, hits
from cube24.vectors.spec import conv2d, matmul


def test_bins_agree_with_a_slow_oracle(level0: Level) -> None:
    compared = 0
    for case in (case for cases in level0.values() for case in cases):
        if case.spec["change"] is None:
            assert set(case.bins) == oracle_bins(case), f"{case.suite}/{case.name}"
            compared += 1
    assert compared >= 140


_SMALL = {"l1_bytes": 4096, "l0a_bytes": 2048, "l0b_bytes": 2048}


@pytest.mark.parametrize(
    ("spec", "some"),
    [
        # -2^31 + 1 and 64 products of 2^14 back and forth: below, then above, in one k.
        (matmul(1, 2, 260, bias=[INT_MIN, INT_MAX], activations="edges", weights="edges",
                       grain="instruction", **_SMALL), "sum/neg.saturate.instruction"),
        (matmul(2, 2, 260, bias=[INT_MAX], grain="instruction", overflow="wrap", layout="nd",
                       queue_depth=1, **_SMALL), "stall/queue-MTE2"),
        (matmul(130, 2, 5), "m/tiles"),
        (matmul(2, 130, 3, layout="nd"), "n/tiles"),
        (conv2d(33, 2, (3, 3), (3, 2), pads=(1, 1, 0, 2), offset_x=-128, batch=2,
                       dilations=(1, 2), activations="edges"), "mul/-128.0"),
        (matmul(3, 5, 8, bias=[2**24 + 1, 2**24 + 3, -(2**24) - 1, -(2**24) - 3, 2**30 + 33],
                       weights="zero", requant={"scale": 2.0**-20}), "cvt/tie-up"),
        (matmul(1, 4, 4, weights="zero", bias=[2049, 2051, -2049, -2051],
                       requant={"scale": 1.0, "mode": "DEQF16"}), "round/f16.tie-down"),
        (matmul(1, 3, 4, weights="zero", bias=[-1, 1, 0],
                       requant={"scale": 2.0**-130, "mode": "DEQF16", "relu": True}),
         "round/f16.-0"),
        (matmul(4, 4, 8, bias=[INT_MIN, INT_MAX, -9, 9], requant={"scale": 3e38}),
         "round/s8.clamp-high"),
        (matmul(4, 4, 8, bias=[-700, 700, -9, 9], requant_offset="unsigned",
                       requant={"scale": 0.3, "offset": 511, "signed": False}), "offset/max"),
        (matmul(4, 4, 8, bias=[-70000, 70000, -9, 9], requant_shift="n",
                       requant={"scale": 0.3, "shift": 1}), "reading/shift.n"),
        # A sum that wraps goes on from the other end, and is negative when it is scaled.
        (matmul(1, 1, 4, weights="max", activations="max", bias=[INT_MAX], overflow="wrap",
                       requant={"scale": 1e-9}), "relu/REQ8.none.neg"),
    ],
)  # fmt: skip
def test_bins_of_corners_agree_with_the_oracle(spec: Mapping[str, Any], some: str) -> None:
    case = made(spec)
    assert set(case.bins) == oracle_bins(case)
    assert some in case.bins


@pytest.mark.parametrize(
    ("bias", "rule", "rounding"),
    [
        (255, {"scale": 1.0, "signed": False}, "u8.exact"),
        (254, {"scale": 1.0, "offset": 2, "signed": False}, "u8.exact u8.high"),
        (256, {"scale": 1.0, "signed": False}, "u8.clamp-high"),
        (-1, {"scale": 1.0, "signed": False}, "u8.exact u8.low"),
        (127, {"scale": 1.0}, "s8.exact"),
        (128, {"scale": 1.0}, "s8.exact s8.high"),
        (-128, {"scale": 1.0}, "s8.exact"),
        (-129, {"scale": 1.0}, "s8.exact s8.low"),
        (-256, {"scale": 1.0, "offset": 200}, "s8.exact"),
        (-257, {"scale": 1.0, "offset": 200}, "s8.clamp-low"),
        (255, {"scale": 1.0, "offset": -200}, "s8.exact"),
        (511, {"scale": 0.5, "offset": -200}, "s8.clamp-high"),
        (5, {"scale": 0.5}, "s8.tie-down"),
        (7, {"scale": 0.5}, "s8.tie-up"),
        (-5, {"scale": 0.5}, "s8.tie-up"),
        (5, {"scale": 0.25}, "s8.below"),
        (7, {"scale": 0.25}, "s8.above"),
        (65504, {"scale": 1.0, "mode": "DEQF16"}, "f16.exact"),
        (-65504, {"scale": 1.0, "mode": "DEQF16"}, "f16.exact"),
        (65505, {"scale": 1.0, "mode": "DEQF16"}, "f16.high"),
        (-65505, {"scale": 1.0, "mode": "DEQF16"}, "f16.low"),
        (1, {"scale": 2.0**-14, "mode": "DEQF16"}, "f16.exact"),
        (1, {"scale": 2.0**-15, "mode": "DEQF16"}, "f16.exact f16.sub"),
        (1, {"scale": 2.0**-25, "mode": "DEQF16"}, "f16.tie-down"),
        (-1, {"scale": 2.0**-25, "mode": "DEQF16"}, "f16.-0 f16.tie-up"),
        (3, {"scale": 2.0**-25, "mode": "DEQF16"}, "f16.sub f16.tie-up"),
    ],
)
def test_rounding_of_one_value(bias: int, rule: Mapping[str, Any], rounding: str) -> None:
    case = made(matmul(1, 1, 4, weights="zero", bias=[bias], requant=rule))
    found = [name.removeprefix("round/") for name in case.bins if name.startswith("round/")]
    assert found == sorted(rounding.split())


def test_bins_are_sorted_and_each_once(level0: Level) -> None:
    for case in (case for cases in level0.values() for case in cases):
        assert list(case.bins) == sorted(set(case.bins))


def test_each_hit_bin_is_in_the_table_and_reachable(level0: Level) -> None:
    hit = {name for cases in level0.values() for case in cases for name in case.bins}
    listed = {f"{point.name}/{name}" for point in POINTS for name in point.bins}
    assert {name for name in hit - listed if not name.startswith("change/")} == set()
    assert hit & UNREACHABLE.keys() == set()


def test_bins_are_read_off_the_bytes_and_not_off_the_rules() -> None:
    case = made(matmul(1, 1, 4, weights="zero", activations="one", layout="nd"))
    assert "value/0000.0.0" in case.bins
    # By hand: e1 = -128 and e3 = 127, so the pair (1, 2) and the hex digit 9.
    pieces = {
        **case.pieces,
        "dense": CaseArray(np.array([[-128, 127, 0, 0]], np.int8), "nd"),
        "index": CaseArray(np.array([[0x09]], np.uint8), "nd"),
        "activations": CaseArray(np.array([[1, 0, 3, -1]], np.int8), "nd"),
    }
    found = bins(replace(case, pieces=pieces))
    wanted = {"value/0X0Y.0.-128", "value/0X0Y.1.127", "pair/12", "pos/0X0Y.0", "col/0X0Y.0",
              "act/-1", "act/0", "act/1", "act/pos", "mul/0.-128", "mul/-1.127"}  # fmt: skip
    assert wanted <= set(found)
    of = ("value/", "pair/", "pos/", "col/", "act/", "mul/")
    assert {name for name in found if name.startswith(of)} == wanted


def by_hand(dense: tuple[int, int], index: int, **unit: str) -> set[str]:
    """The bins of one group at one row of activations, -128, 0, 3 and 127."""
    case = made(matmul(1, 1, 4, weights="zero", layout="nd", **unit))
    pieces = {
        **case.pieces,
        "dense": CaseArray(np.array([[*dense, 0, 0]], np.int8), "nd"),
        "index": CaseArray(np.array([[index]], np.uint8), "nd"),
        "activations": CaseArray(np.array([[-128, 0, 3, 127]], np.int8), "nd"),
    }
    return set(bins(replace(case, pieces=pieces)))


OF_BYTES = ("value/", "pair/", "pos/", "col/", "foreign/", "foreigncol/", "pair20/", "index3/")


@pytest.mark.parametrize(
    ("dense", "index", "found"),
    [
        # The pair of newer editions for a lone e2, and as the encoder writes it.
        ((7, 0), 0x6, {"pair/21", "foreign/21.nz.0", "foreigncol/21.nz.0"}),
        ((7, 0), 0x2, {"pair/20", "pair20/rule.nz", "value/00X0.0.pos", "value/00X0.1.0",
                       "pos/00X0.0", "col/00X0.0"}),
        ((0, 7), 0x2, {"pair/20", "pair20/rule.zn", "foreign/20.zn.0", "foreigncol/20.zn.0"}),
        ((7, 7), 0x1, {"pair/10", "foreign/10.nn.0", "foreigncol/10.nn.0"}),
    ],
)  # fmt: skip
def test_bytes_that_the_encoder_never_writes_have_bins_of_their_own(
    dense: tuple[int, int], index: int, found: set[str]
) -> None:
    assert {name for name in by_hand(dense, index) if name.startswith(OF_BYTES)} == found


@pytest.mark.parametrize(
    ("dense", "index", "found", "products"),
    [
        # Slot 1 of (3, 0) selects a 0 for its own 0; slot 0 of (1, 3) selects a 0 for its 7.
        ((7, 0), 0x3, {"pair/30", "index3/30.nz"}, {"mul/0.0"}),
        ((7, 9), 0xD, {"pair/13", "index3/13.nn"}, {"mul/0.pos"}),
        ((0, 0), 0xF, {"pair/33", "index3/33.zz"}, set()),
    ],
)
def test_an_index_of_3_has_bins_where_it_selects_nothing(
    dense: tuple[int, int], index: int, found: set[str], products: set[str]
) -> None:
    got = by_hand(dense, index, index3="nothing")
    assert {name for name in got if name.startswith(OF_BYTES)} == found
    assert {name for name in got if name.startswith("mul/")} == products


def test_what_was_hit_and_is_listed_as_unreachable_is_told() -> None:
    table = Table()
    table.add(["value/0000.0.pos", "pair/00"])
    assert table.unexpected == ("value/0000.0.pos",)
    assert all("value/0000.0.pos" in text for text in (str(table), table.to_markdown()))


@pytest.mark.parametrize(("reading", "found"), [("rule", "mul/0.pos"), ("table", "mul/pos.pos")])
def test_slot_1_of_the_pair_20_is_read_as_the_unit_does(reading: str, found: str) -> None:
    got = by_hand((0, 7), 0x2, pair20=reading)
    assert {name for name in got if name.startswith("mul/") and not name.endswith(".0")} == {found}
    assert f"pair20/{reading}.zn" in got


@pytest.mark.parametrize(
    ("bias", "k", "x", "found"),
    [
        # 16, 32 and 64 products of -128 x -128, and of -128 x 127: a power of two needs a bit
        # more than its negative.
        (None, 32, "min", {"products.pos.20", "sum.pos.20"}),
        (None, 64, "max", {"products.neg.20", "sum.neg.20"}),
        (None, 64, "min", {"products.pos.22", "sum.pos.22"}),
        (None, 1024, "max", {"products.neg.24", "sum.neg.24"}),
        (None, 4096, "min", {"products.pos.27", "sum.pos.27"}),
        # The bias hides what the products need, and counts before the first step.
        ([-(1 << 18)], 32, "min", {"products.pos.20", "sum.neg.20"}),
        ([(1 << 30) - (1 << 18) - 1], 32, "min", {"products.pos.20", "sum.pos.31"}),
        ([(1 << 30) - (1 << 18)], 32, "min", {"products.pos.20", "sum.pos.32"}),
        ([-(1 << 15)], 32, "zero", {"sum.neg.16"}),
        ([-(1 << 15) - 1], 32, "zero", {"sum.neg.20"}),
        ([(1 << 15) - 1, -5], 32, "zero", {"sum.pos.16", "sum.neg.16"}),
    ],
)
def test_widths_of_sums(bias: list[int] | None, k: int, x: str, found: set[str]) -> None:
    case = made(matmul(1, 2, k, weights="min", activations=x, bias=bias, layout="nd"))
    assert {name for name in case.bins if name.startswith("width/")} == {
        f"width/{name}" for name in found
    }


def test_a_manifest_lists_the_bins_of_its_version() -> None:
    new = {point.name for point in POINTS if point.since == 2}
    assert new == {"foreign", "foreigncol", "pair20", "index3", "width"}
    case = made(matmul(1, 2, 8, weights={"foreign": 3}))
    one, two = (set(coverage.bins(case, version)) for version in (1, 2))
    assert one == {name for name in two if name.partition("/")[0] not in new} != two


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"kind": "flip", "role": "index", "bit": 3}, {"change/flip", "change/flip.index"}),
        ({"kind": "truncated"}, {"change/truncated"}),
        ({"other": 1}, set()),
    ],
)
def test_a_changed_case_counts_by_change_and_outcome_only(
    change: Mapping[str, Any], names: set[str]
) -> None:
    case = made(matmul(1, 1, 4))
    changed = replace(case, spec={**case.spec, "change": change}, outcome={"kind": "masked"})
    assert set(bins(changed)) == names | {"outcome/masked"}
    Table().add(bins(changed))


@pytest.mark.parametrize(
    ("cause", "name"),
    [
        ("MTE2>MTE1#0 (L1 filled)", "L1-filled"),
        ("MTE2>FIX#7 (parameters in L1)", "parameters-in-L1"),
        ("unit flag (block of L0C)", "unit-flag"),
        ("hand-over of L1", "hand-over"),
        ("queue of MTE1 full", "queue-MTE1"),
        ("M>MTE2#0", "other"),
        ("MTE2>MTE1#0 (something new)", "other"),
        ("queue of X full", "other"),
        ("", "other"),
    ],
)
def test_what_a_pipe_waits_for_has_a_bin(cause: str, name: str) -> None:
    assert hits.stall(cause) == name
    assert coverage.is_bin(f"stall/{name}")
