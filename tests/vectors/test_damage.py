"""Negative cases: the error of each, at its place, and that only one thing is wrong with them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from good_cases import BASE, good_of, made

from cube24.encoder import ArgumentError, Cube24Error
from cube24.vectors import damage, manifest, suites, verification
from cube24.vectors.files import CaseStyle
from cube24.vectors.spec import Item, conv2d, matmul

FORMATS = ("npy", "hex", "bin")


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
    "shape-unit": ("ShapeError", r"activations have shape \(12, \d\); this layer takes \(\d, 12\)"),
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
    monkeypatch.setattr(damage, "provoked", lambda stored: given)
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
