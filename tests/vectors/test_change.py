"""Faults and negative cases: against dot products of plain Python, and a table of errors.

Oracle of the faults: slots and pairs are read from the flipped bytes by the formulas of
docs/format.md, and each result is a sum of products. It uses nothing of the package.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cube24.encoder import ArgumentError, Cube24Error
from cube24.vectors import change, damage, manifest, suites, verification
from cube24.vectors.build import build
from cube24.vectors.case import Case
from cube24.vectors.files import CaseStyle
from cube24.vectors.spec import Item, conv2d, matmul

FORMATS = ("npy", "hex", "bin")
ROLES = ("dense", "index", "activations")


def made(item: Item, style: CaseStyle | None = None) -> Case:
    return build("test", 1, item, 1, style)


@cache
def good(text: str) -> Case:
    """The case that a spec, as JSON, has without its change."""
    return made(Item("case", {**json.loads(text), "change": None}))


def good_of(case: Case) -> Case:
    return good(json.dumps({**case.spec, "change": None}))


# --- the oracle of the faults ---------------------------------------------------------------------

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


BASE = matmul(2, 3, 12, weights="full", layout="nd")  # without padding of N


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


@pytest.mark.parametrize(
    ("what", "spec", "message"),
    [
        ("padding", matmul(2, 3, 16, layout="nd"), "has no padding"),
        ("padding-index", matmul(2, 16, 64, layout="zn"), "has no padding"),
        ("three-nonzeros", matmul(2, 3, 3), "no whole group"),
        ("shape", matmul(2, 8, 16, layout="nd"), "nothing tells this shape"),
        ("shape-unit", conv2d(4, 1, (2, 2), (1, 1)), "nothing tells this shape"),
    ],
)
def test_damage_that_has_no_place_is_refused(what: str, spec: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        made(Item("case", {**spec, "change": {"kind": "negative", "what": what}}))


def test_a_bit_is_counted_from_the_lowest_of_each_byte() -> None:
    array = np.zeros((2, 3), np.int8)
    assert change.flipped(array, 7).tolist() == [[-128, 0, 0], [0, 0, 0]]
    assert change.flipped(array, 32).tolist() == [[0, 0, 0], [0, 1, 0]]
    assert not array.any()
    assert change.flipped(np.int8([[1, 2], [3, 4]]).T, 9).tolist() == [[1, 1], [2, 4]]


# --- negative cases -------------------------------------------------------------------------------

#: Of each kind of damage: the error, and what its message must say: what is wrong, and where.
ERRORS = {
    "index-3": ("RefusedError", r"row \d group 0: an index of 3 .* index byte \d+ bits 3:0"),
    "index-3-unit": ("IllegalIndexError", r"index of 3 in column \d, group 0.*bits 3:0"),
    "conflict": ("RefusedError", r"row \d group 0: two non-zero weights.*\(5, -7\) at dense byte"),
    "three-nonzeros": ("ViolationError", r"\(\d, 0(, 0, 0)?\) group 0: .*non-zero at e1, e2, e3"),
    "four-nonzeros": ("ViolationError", r"\(\d, 0(, 0, 0)?\) group 0: .*at e0, e1, e2, e3"),
    "padding": ("RefusedError", r"row \d+ group \d+: padding that is not zero.*dense byte \d+"),
    "padding-index": ("RefusedError", r"row \d+ group \d+: padding that is not zero.*byte \d+"),
    "shape": ("ShapeError", r"(dense|index) has shape \(.*\); a (matrix|conv) weight .* has \("),
    "shape-unit": ("ShapeError", r"activations have shape \(12, \d\); this weight takes \(M, 12\)"),
    "shape-npy": ("FileFormatError", r"bad/ROLE\.npy: holds .*, expected"),
    "truncated": ("FileFormatError", r"bad/ROLE\.FORMAT: .*(truncated|holds \d+ bytes, expected)"),
    "over-long": ("FileFormatError", r"bad/ROLE\.FORMAT: .*(too long|too many|holds at least)"),
    "wrong-width": ("FileFormatError", r"bad/ROLE\.FORMAT: .*(digits, expected|holds u?int\d+)"),
    "undriven": ("FileFormatError", r"bad/ROLE\.hex: byte \d+: word \w+ has x or z digits"),
    "filling": ("FileFormatError", r"bad/ROLE\.hex: the last word is filled with bytes that are"),
    "checksum": ("FileFormatError", r"bad/ROLE\.FORMAT: its SHA-256 is not that of the manifest"),
    "missing": ("FileAccessError", r"bad/ROLE\.FORMAT: cannot read: No such file"),
    "stray": ("FileFormatError", r"bad/stray\.bin: is not in the manifest"),
    "schema": ("FileFormatError", r"bad/manifest\.json: schema is 'cube24-case-999'; this version"),
    "unknown-key": ("FileFormatError", r"bad/manifest\.json: comment is unknown"),
    "unsealed": ("FileFormatError", r"bad/manifest\.json: its SHA-256 .* it was changed"),
    "twice": ("FileFormatError", r"bad/manifest\.json: names a file twice"),
}

NEGATIVE = {item.name: item for item in suites.items("negative", 1, 1)}


def test_the_table_has_all_damage() -> None:
    assert ERRORS.keys() == damage.DAMAGES.keys()
    assert {item.spec["change"]["what"] for item in NEGATIVE.values()} == ERRORS.keys()


def test_level_0_has_all_damage_in_each_format_of_a_file() -> None:
    level0 = {item.name: item for item in suites.items("negative", 0, 1)}
    assert level0.items() <= NEGATIVE.items()
    assert {item.spec["change"]["what"] for item in level0.values()} == ERRORS.keys()
    for what in ("truncated", "over-long", "checksum", "missing"):
        formats = {c["format"] for i in level0.values() if (c := i.spec["change"])["what"] == what}
        assert formats == set(FORMATS)


@pytest.mark.parametrize("style", [CaseStyle(), CaseStyle(("bin", "mem"), 4, "big", False)])
@pytest.mark.parametrize("what", ERRORS)
def test_each_negative_case_gives_its_error_at_its_place(
    tmp_path: Path, what: str, style: CaseStyle
) -> None:
    for item in NEGATIVE.values():
        of = item.spec["change"]
        if of["what"] != what:
            continue
        case, folder = made(item, style), tmp_path / item.name
        wanted, message = ERRORS[what]
        assert case.outcome == {"kind": "error", "error": wanted}
        manifest.write(case, folder)
        assert damage.provoke(folder) == wanted, item.name
        message = message.replace("ROLE", of["role"]).replace("FORMAT", of["format"])
        with pytest.raises(Cube24Error) as error:
            damage.read(folder / "bad", damage.DAMAGES[what].by)
        assert re.search(message, str(error.value), re.DOTALL), item.name
        # The good files beside it are good.
        manifest.write(good_of(case), folder / "good")
        for by in ("encode", "decode", "unit"):
            damage.read(folder / "good", by)


def test_all_of_level_0_from_a_fresh_process(tmp_path: Path) -> None:
    wanted = {}
    for item in suites.items("negative", 0, 1):
        case = made(item)
        manifest.write(case, tmp_path / item.name)
        wanted[item.name] = case.outcome["error"]
    program = (
        "import json, sys\n"
        "from pathlib import Path\n"
        "from cube24.vectors import damage\n"
        "root = Path(sys.argv[1])\n"
        "print(json.dumps({p.name: damage.provoke(p) for p in root.iterdir()}))\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == wanted


@pytest.mark.parametrize("what", ERRORS)
def test_only_one_thing_is_wrong(what: str) -> None:
    """The copy is the good case in one format but for the damaged file and the manifest."""
    for item in NEGATIVE.values():
        of = item.spec["change"]
        if of["what"] != what or item.name.endswith("-conv"):
            continue
        case = made(item)
        width = 1
        if what == "filling":
            name = f"bad/{of['role']}.hex"
            last = case.extra[name].split()[-1]
            width = len(last) // 2
            assert width > 1
        style = CaseStyle((of["format"],), width)
        clean = manifest.files_of(made(Item(item.name, {**item.spec, "change": None}), style))
        bad = {name.removeprefix("bad/"): data for name, data in case.extra.items()}
        damaged = {f"{of['role']}.{of['format']}"}
        damaged |= {f"dense.{of['format']}"} if what == "conflict" else set()
        damaged |= {"stray.bin"} if what == "stray" else set()
        for name in clean.keys() | bad.keys():
            if name in damaged or name == "manifest.json":
                continue
            mine, its = bad[name], clean[name]
            if name.endswith(".hex"):  # not the comments
                mine, its = (re.sub(rb"//.*\n", b"", data) for data in (mine, its))
            assert mine == its, name
        listed = json.loads(bad["manifest.json"])["files"]
        wrong = [
            e["name"] for e in listed
            if e["name"] not in bad or manifest.digest(bad[e["name"]]) != e["sha256"]
        ]  # fmt: skip
        assert wrong == (
            [f"{of['role']}.{of['format']}"] if what in ("checksum", "missing") else []
        )


@pytest.mark.parametrize("name", list(NEGATIVE)[::17])
def test_a_written_negative_case_is_verified(tmp_path: Path, name: str) -> None:
    case = made(NEGATIVE[name])
    manifest.write(case, tmp_path / "case")
    stored = verification.verify(tmp_path / "case")
    assert stored.manifest["outcome"]["error"] == case.outcome["error"]
    assert list(manifest.folders(tmp_path)) == [tmp_path / "case"]
    bad = [entry["name"] for entry in stored.entries("bad")]
    assert all(name.startswith("bad/") for name in bad)
    assert "bad/manifest.json" in bad


@pytest.mark.parametrize("given", ["", "RefusedError"])
def test_a_negative_case_that_gives_another_error_is_bad(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    case = made(next(item for name, item in NEGATIVE.items() if name.startswith("truncated")))
    manifest.write(case, tmp_path / "case")
    monkeypatch.setattr(damage, "provoke", lambda folder: given)
    said = f"gives {given or 'no error'}, not FileFormatError"
    with pytest.raises(verification.VerifyError, match=said):
        verification.verify(tmp_path / "case")


def test_the_copy_does_not_depend_on_the_version() -> None:
    """A case is verified with the version that wrote it; its copy says none."""
    case = made(next(iter(NEGATIVE.values())))
    one, two = (manifest.files_of(case, version) for version in ("1.2.3", "4.5.6"))
    assert one["manifest.json"] != two["manifest.json"]
    assert all(one[name] == two[name] for name in one if name.startswith("bad/"))


def test_a_copy_that_is_not_damaged_provokes_nothing(tmp_path: Path) -> None:
    for what in ERRORS:
        item = Item("case", {**BASE, "change": {"kind": "negative", "what": what}})
        case, folder = made(item, CaseStyle(("hex",))), tmp_path / what
        manifest.write(case, folder)
        for file in (folder / "bad").iterdir():
            file.unlink()
        (folder / "bad").rmdir()
        manifest.write(good_of(case), folder / "bad")
        assert damage.provoke(folder) == ""


def test_only_a_negative_case_can_be_provoked(tmp_path: Path) -> None:
    manifest.write(made(Item("case", BASE)), tmp_path / "case")
    with pytest.raises(ArgumentError, match=r"is no negative case; its change is \{\}"):
        damage.provoke(tmp_path / "case")


def test_wide_words_leave_room_for_another_width(tmp_path: Path) -> None:
    of = {"kind": "negative", "what": "wrong-width", "format": "hex"}
    for width in (1, 2048, 4096):
        case = made(Item("case", {**BASE, "change": of}), CaseStyle(("hex",), width))
        manifest.write(case, tmp_path / str(width))
        assert damage.provoke(tmp_path / str(width)) == "FileFormatError"
