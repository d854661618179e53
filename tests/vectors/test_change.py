"""Faults: against dot products of plain Python.

The oracle reads slots and pairs from the flipped bytes by the formulas of docs/format.md, and each
result is a sum of products. It uses nothing of the package.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from good_cases import BASE, good, good_of, made

from cube24.encoder import ArgumentError
from cube24.vectors import change, manifest, suites, verification
from cube24.vectors.build import build
from cube24.vectors.case import Case
from cube24.vectors.files import CaseStyle
from cube24.vectors.spec import Item, matmul

ROLES = ("dense", "index", "activations")

Term = tuple[int, int]  # weight in a slot, and what it is multiplied with


def rows_of(case: Case, activations: Any) -> list[list[int]]:
    """Rows of activations along K."""
    size, x = case.spec["sizes"], activations.tolist()
    if case.spec["operation"] != "conv2d":
        return x
    (kh, kw), (top, left, bottom, right) = size["kernel"], size["pads"]
    assert size["cin"] <= 32
    rows = []
    for image in x:
        for y in range(size["h"] + top + bottom - kh + 1):
            for z in range(size["w"] + left + right - kw + 1):
                row = []
                for i, j in product(range(kh), range(kw)):
                    v, u = y + i - top, z + j - left
                    inside = 0 <= v < size["h"] and 0 <= u < size["w"]
                    row += image[0][v][u] if inside else [size["offset_x"]] * 32
                rows.append(row)
    return rows


def terms_of(case: Case, dense: Any, index: Any, x: Any) -> list[list[list[Term]]] | None:
    """The products of each result; None where a group of the weight has an index of 3."""
    size = case.spec["sizes"]
    conv = case.spec["operation"] == "conv2d"
    n = size["cout"] if conv else size["n"]
    rows = rows_of(case, x)
    k = len(rows[0])
    slots, bits = dense.ravel().tolist(), index.ravel().tolist()
    width = dense.shape[-1] if dense.ndim == 2 else 32

    def place(row: int, byte: int, k0: int) -> int:
        if case.spec["layout"] == "nd":
            return row * (width * k0 // 32) + byte
        k1, rest = divmod(byte, k0)
        n1 = -(-n // 16)
        return ((k1 * n1 + row // 16) * 16 + row % 16) * k0 + rest

    found = []
    for column in range(n):
        chosen = []
        for group in range(-(-k // 4)):
            at = place(column, 2 * group, 32)
            pair = bits[place(column, group // 2, 8)] >> 4 * (group % 2) & 15
            if 3 in (pair & 3, pair >> 2):
                return None
            chosen += [(slots[at], 4 * group + (pair & 3))]
            chosen += [(slots[at + 1], 4 * group + (pair >> 2) + 1)]
        found.append(chosen)
    return [
        [[(w, row[at] if at < k else 0) for w, at in chosen] for chosen in found] for row in rows
    ]


def result_of(case: Case, terms: list[list[list[Term]]]) -> list[list[int]]:
    """What must come out: sums, with bias and requantisation where there are any."""
    bias = case.spec["fill"]["bias"] or [0]
    rule = case.spec["requant"]
    results = []
    for row in terms:
        line = []
        for n, products in enumerate(row):
            value = bias[n % len(bias)] + sum(w * a for w, a in products)
            if rule:
                assert rule.keys() == {"scale"}
                assert abs(value) < 2**24  # exact in fp32, and so is a power of two times it
                rounded = round(value * rule["scale"])  # Python rounds half to even
                value = min(max(min(max(rounded, -256), 255), -128), 127)
            line.append(value)
        results.append(line)
    return results


def flip(array: Any, bit: int) -> Any:
    data = bytearray(array.tobytes())
    data[bit // 8] ^= 2 ** (bit % 8)
    return np.frombuffer(bytes(data), array.dtype).reshape(array.shape)


LEVEL1 = {item.name: item for item in suites.items("faults", 1, 1)}

LEVEL0 = {item.name: item for item in suites.items("faults", 0, 1)}


@pytest.fixture(scope="module")
def flips() -> Mapping[str, Case]:
    """All faults of level 1."""
    return {name: made(item) for name, item in LEVEL1.items()}


def test_the_files_have_the_flipped_bit_and_nothing_else(flips: Mapping[str, Case]) -> None:
    for case in flips.values():
        was, of = good_of(case), case.spec["change"]
        for role in ("weights", "dense", "index", "activations", "bias", "requant"):
            assert (role in case.pieces) == (role in was.pieces)
            if role in case.pieces:
                before = was.pieces[role].array
                wanted = flip(before, of["bit"]) if role == of["role"] else before
                assert case.pieces[role].array.tobytes() == wanted.tobytes()
                assert case.pieces[role].array.dtype == wanted.dtype
                assert case.pieces[role].layout == was.pieces[role].layout


def test_each_fault_has_the_result_of_its_own_dot_products(flips: Mapping[str, Case]) -> None:
    for name, case in flips.items():
        was, of = good_of(case), case.spec["change"]
        arrays = {role: was.pieces[role].array for role in ROLES}
        clean = terms_of(case, *arrays.values())
        assert clean is not None
        before = result_of(case, clean)
        flat = was.pieces["expected"].array.reshape(len(before), -1)
        assert flat.tolist() == before, name
        arrays[of["role"]] = flip(arrays[of["role"]], of["bit"])
        terms = terms_of(case, *arrays.values())
        if terms is None:
            assert case.outcome == {"kind": "error", "error": "IllegalIndexError"}, name
            assert "expected" not in case.pieces
            continue
        after = result_of(case, terms)
        assert case.pieces["expected"].array.reshape(len(after), -1).tolist() == after, name
        assert case.pieces["expected"].array.dtype == was.pieces["expected"].array.dtype
        assert case.pieces["expected"].layout == was.pieces["expected"].layout
        differing = sum(
            a != b for one, two in zip(before, after, strict=True)
            for a, b in zip(one, two, strict=True)
        )  # fmt: skip
        if differing:
            assert case.outcome == {"kind": "changed", "differing": differing}, name
        else:
            assert case.outcome == {"kind": "masked"}, name


def test_a_masked_fault_is_masked_for_a_reason(flips: Mapping[str, Case]) -> None:
    """Every product is what it was, or the difference is lost in rounding or saturation."""
    reasons: Counter[str] = Counter()
    for case in flips.values():
        if case.outcome["kind"] != "masked":
            continue
        was = good_of(case)
        products = []
        for of in (was, case):
            terms = terms_of(case, *(of.pieces[role].array for role in ROLES))
            assert terms is not None
            products.append([[[w * a for w, a in column] for column in row] for row in terms])
        one, two = products
        if one == two:
            reasons["products"] += 1
        else:
            assert case.spec["requant"]
            reasons["rounding"] += 1
    assert reasons["products"] > 10
    assert reasons["rounding"] > 5


def test_level_0_has_every_bit_of_a_byte_and_all_outcomes() -> None:
    assert len(LEVEL0) == 24
    found = Counter(made(item).outcome["kind"] for item in LEVEL0.values())
    assert found.keys() == {"changed", "masked", "error"}
    bits = {(i.spec["change"]["role"], i.spec["change"]["bit"] % 8) for i in LEVEL0.values()}
    assert bits == set(product(ROLES, range(8)))


def test_level_1_has_every_bit_of_a_case_and_each_level_those_below() -> None:
    level2 = {item.name: item for item in suites.items("faults", 2, 1)}
    assert LEVEL0.items() <= LEVEL1.items() <= level2.items()
    for level, bases in ((LEVEL1, ("nd",)), (level2, ("nd", "requant", "zn", "conv"))):
        for base in bases:
            of = [i for name, i in level.items() if name.startswith(f"{base}-")]
            case = good(json.dumps({**of[0].spec, "change": None}))
            for role in ROLES:
                bits = [c["bit"] for i in of if (c := i.spec["change"])["role"] == role]
                assert bits == list(range(8 * case.pieces[role].array.nbytes))


def test_outcomes_of_the_suite_do_not_depend_on_the_seed() -> None:
    for item in LEVEL0.values():
        one, two = (build("faults", 1, item, seed) for seed in (1, 77))
        assert one.outcome == two.outcome


def test_the_time_of_a_fault_is_that_of_the_good_case(flips: Mapping[str, Case]) -> None:
    for case in list(flips.values())[::20]:
        assert manifest.cycles_of(case) == manifest.cycles_of(good_of(case))


def test_an_index_of_3_selects_nothing_where_the_unit_says_so() -> None:
    item = next(i for n, i in LEVEL0.items() if made(i).outcome["kind"] == "error")
    spec = {**item.spec, "unit": {"name": "dav-2201", "overrides": {"index3": "nothing"}}}
    assert made(Item("case", spec)).outcome["kind"] in ("changed", "masked")


def test_minus_zero_is_another_result_than_zero() -> None:
    """Of fp16, a dump is compared bit by bit."""
    weights, rule = {"legal": 3}, {"scale": 2.0**-40, "mode": "DEQF16"}
    spec = matmul(1, 1, 4, weights=weights, activations="one", layout="nd", requant=rule)
    seen = set()
    for bit in range(16):
        fault = {"kind": "fault", "role": "dense", "bit": bit}
        case = made(Item("case", {**spec, "change": fault}))
        before = good_of(case).pieces["expected"].array.tobytes()
        same = case.pieces["expected"].array.tobytes() == before
        assert case.outcome["kind"] == ("masked" if same else "changed")
        seen.add(case.outcome["kind"])
    assert seen == {"masked", "changed"}


@pytest.mark.parametrize("name", [*list(LEVEL0)[::5], *list(LEVEL1)[100::90]])
@pytest.mark.parametrize(
    "style", [CaseStyle(), CaseStyle(("hex",), 4, "big", False), CaseStyle(("coe",), 2)]
)
def test_a_written_fault_is_verified(tmp_path: Path, name: str, style: CaseStyle) -> None:
    case = made(LEVEL1[name], style)
    manifest.write(case, tmp_path / "case")
    stored = verification.verify(tmp_path / "case")
    assert stored.manifest["outcome"] == case.outcome
    assert not (tmp_path / "case" / "bad").exists()


@pytest.mark.parametrize(
    ("of", "message"),
    [
        ({"kind": "flip"}, "kind is fault or negative"),
        ({"kind": ["fault"]}, "kind is fault or negative"),
        ({"kind": "fault"}, "a fault has a bit"),
        ({"kind": "fault", "role": "dense"}, "a fault has a bit"),
        ({"kind": "fault", "role": "weights", "bit": 0}, "role of dense, index, activations"),
        ({"kind": "fault", "role": "dense", "bit": 0, "more": 1}, "a fault has a bit"),
        ({"kind": "fault", "role": "dense", "bit": 192}, "bits of dense are 0 to 191"),
        ({"kind": "fault", "role": "dense", "bit": -1}, "bits of dense are 0 to 191"),
        ({"kind": "fault", "role": "dense", "bit": True}, "bits of dense are 0 to 191"),
        ({"kind": "fault", "role": "dense", "bit": 1.0}, "bits of dense are 0 to 191"),
        ({"kind": "negative"}, "choose what of index-3"),
        ({"kind": "negative", "what": "rust"}, "choose what of index-3"),
        ({"kind": "negative", "what": []}, "choose what of index-3"),
        ({"kind": "negative", "what": "padding", "role": "index"}, "takes a role of dense"),
        ({"kind": "negative", "what": "stray", "format": "npy"}, "a format of bin"),
        ({"kind": "negative", "what": "truncated", "format": "coe"}, "a format of npy, hex, bin"),
        ({"kind": "negative", "what": "truncated", "more": 1}, "takes a role of"),
        ({"kind": "negative", "what": "truncated", "role": "bias"}, "takes a role of"),
    ],
)
def test_a_change_that_there_is_not_is_refused(of: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=re.escape(message)):
        made(Item("case", {**BASE, "change": of}))


def test_a_bit_is_counted_from_the_lowest_of_each_byte() -> None:
    array = np.zeros((2, 3), np.int8)
    assert change.flipped(array, 7).tolist() == [[-128, 0, 0], [0, 0, 0]]
    assert change.flipped(array, 32).tolist() == [[0, 0, 0], [0, 1, 0]]
    assert not array.any()
    assert change.flipped(np.int8([[1, 2], [3, 4]]).T, 9).tolist() == [[1, 1], [2, 4]]
