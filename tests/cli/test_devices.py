"""Devices that fail: `vectors compare` on their dumps, one or a folder of them."""

import gc
import json
import os
import shutil
import weakref
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import plain_device as plain
import pytest

from cube24 import vectors
from cube24.cli import run
from cube24.vectors.spec import Item, matmul

ITEM = Item("case", matmul(1, 1, 4))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("devices")
    for suite in ("patterns", "requant", "faults"):
        assert (
            run(["vectors", "generate", str(root / suite), "--suite", suite, "--level", "0"]) == 0
        )
    return root


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def words(case: Path) -> list[str]:
    return [line for line in (case / "expected.hex").read_text().splitlines() if "//" not in line]


@pytest.fixture
def dumps(made):
    """A folder of cases, and one of right dumps of them, of all three forms."""
    shutil.copytree(made / "patterns" / "patterns", "cases/patterns")
    shutil.copytree(made / "requant" / "requant", "cases/requant")
    for number, case in enumerate(sorted(Path("cases").glob("*/*"))):
        place = Path("dumps", *case.parts[1:])
        place.parent.mkdir(parents=True, exist_ok=True)
        if number % 3 == 0:
            place.with_name(f"{place.name}.hex").write_text("\n".join(words(case)))
        elif number % 3 == 1:
            place.mkdir()
            (place / "got.bin").write_bytes(np.load(case / "expected.npy").tobytes())
        else:
            shutil.copy(case / "expected.npy", place.with_name(f"{place.name}.npy"))
    return Path("dumps")


def test_a_folder_of_right_dumps_is_equal(dumps, capsys):
    count = len(list(Path("cases").glob("*/*")))
    assert run(["vectors", "compare", "cases", "dumps", "--junit", "all.xml"]) == 0
    assert capsys.readouterr().out == f"compared: {count} cases: {count} equal\n"
    suite = ET.parse("all.xml").getroot()
    assert [suite.get(name) for name in ("tests", "failures", "errors", "skipped")] == [
        str(count), "0", "0", "0",
    ]  # fmt: skip
    seeds = {
        test.get("name"): one.get("value")
        for test in suite.iter("testcase") for one in test.iter("property")
    }  # fmt: skip
    for case in Path("cases").glob("*/*"):
        manifest = json.loads((case / "manifest.json").read_text())
        assert seeds[case.name] == manifest["random"]["case_seed"]


def test_one_summary_of_all_that_is_wrong(dumps, capsys):
    cases = sorted(Path("cases").glob("*/*"))
    of = {case.name: dumps / case.parts[1] / case.name for case in cases}
    hexes = [name for name, place in of.items() if place.with_name(f"{name}.hex").exists()]
    short, undriven, garbage, gone, twice = hexes[:5]
    path = of[short].with_name(f"{short}.hex")
    path.write_text("\n".join(path.read_text().splitlines()[:-1]))
    path = of[undriven].with_name(f"{undriven}.hex")
    path.write_text("\n".join(["xx", *path.read_text().splitlines()[1:]]))
    of[garbage].with_name(f"{garbage}.hex").write_text("no such device\n")
    of[gone].with_name(f"{gone}.hex").unlink()
    shutil.copy(of[twice].with_name(f"{twice}.hex"), of[twice].with_name(f"{twice}.npy"))
    order = ["vectors", "compare", "cases", "dumps"]
    assert run([*order, "--junit", "all.xml"]) == 1
    lines = capsys.readouterr().out.splitlines()
    told = {line.split(": ")[1].split("/")[1]: line for line in lines[:-1]}
    assert told.keys() == {short, undriven, garbage, gone, twice}
    assert "1 missing" in told[short]
    assert "1 undriven" in told[undriven]
    assert told[garbage].startswith("error: ")
    assert told[gone].startswith("missing: ")
    assert "several dumps" in told[twice]
    count = len(cases)
    assert lines[-1] == f"compared: {count} cases: {count - 5} equal, 2 differs, 1 missing, 2 error"
    suite = ET.parse("all.xml").getroot()
    assert [suite.get(name) for name in ("tests", "failures", "errors", "skipped")] == [
        str(count), "3", "2", "0",
    ]  # fmt: skip
    failed = {
        test.get("name") for test in suite.iter("testcase") if test.find("failure") is not None
    }
    assert failed == {short, undriven, gone}
    assert run([*order, "--json"]) == 1
    data = json.loads(capsys.readouterr().out)
    assert data["counts"] == {
        "equal": count - 5,
        "differs": 2,
        "missing": 1,
        "error": 2,
        "skipped": 0,
    }
    kinds = {one["case"].split("/")[1]: one["kind"] for one in data["cases"]}
    assert (kinds[short], kinds[gone], kinds[garbage]) == ("differs", "missing", "error")
    # Errors alone are no verdict on the device.
    for name in (short, undriven, gone):
        case = next(case for case in cases if case.name == name)
        of[name].with_name(f"{name}.hex").write_text("\n".join(words(case)))
    assert run(order) == 2


def test_what_explains_all_that_differ_is_told_once(made, capsys):
    shutil.copytree(made / "patterns" / "patterns", "cases")
    Path("dumps").mkdir()
    for case in Path("cases").iterdir():
        arrays = {path.stem: np.load(path) for path in case.glob("*.npy")}
        spec = json.loads((case / "manifest.json").read_text())["spec"]
        np.save(f"dumps/{case.name}.npy", plain.run(spec, arrays, "weights-unsigned"))
    line = "explains all cases that differ: weights-unsigned\n"
    assert run(["vectors", "compare", "cases", "dumps"]) == 1
    assert line in capsys.readouterr().out
    got = np.load("dumps/walk-nd-n1.npy")
    got[0, 0] ^= 1
    np.save("dumps/walk-nd-n1.npy", got)
    assert run(["vectors", "compare", "cases", "dumps"]) == 1
    assert line not in capsys.readouterr().out


def test_cases_that_must_be_refused_are_skipped(made, capsys):
    cases = made / "faults" / "faults"
    Path("dumps").mkdir()
    refused = []
    for case in cases.iterdir():
        if (case / "expected.npy").exists():
            shutil.copy(case / "expected.npy", f"dumps/{case.name}.npy")
        else:
            refused.append(case.name)
    assert refused
    assert run(["vectors", "compare", str(cases), "dumps", "--junit", "all.xml"]) == 0
    assert f", {len(refused)} skipped\n" in capsys.readouterr().out
    suite = ET.parse("all.xml").getroot()
    skipped = [test for test in suite.iter("testcase") if test.find("skipped") is not None]
    assert {test.get("name") for test in skipped} == set(refused)


def test_counts_of_cycles_are_refused_for_folders(dumps, capsys):
    assert run(["vectors", "compare", "cases", "dumps", "--cycles", "7"]) == 2
    assert "each takes cycles of its own" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("spoil", "code", "tag"),
    [
        (lambda lines: [*lines[:-1], "xx"], 1, "failure"),
        (lambda lines: [*lines[:-1], "Zz"], 1, "failure"),
        (lambda lines: lines[:3], 1, "failure"),
        (lambda lines: [], 1, "failure"),
        (lambda lines: [*lines, "00"], 2, "error"),
        (lambda lines: ["segmentation", "fault"], 2, "error"),
    ],
)  # fmt: skip
def test_junit_is_written_whatever_is_wrong_with_the_dump(made, capsys, spoil, code, tag):
    case = made / "patterns" / "patterns" / "walk-nd-n1"
    Path("got.hex").write_text("".join(f"{line}\n" for line in spoil(words(case))))
    assert run(["vectors", "compare", str(case), "got.hex", "--junit", "r.xml"]) == code
    test = ET.parse("r.xml").getroot().find("testcase")
    assert [one.tag for one in test] == ["properties", tag, "system-out"]
    assert ("error: got.hex" in capsys.readouterr().err) == (code == 2)


@pytest.mark.parametrize(
    "spoil", [lambda: None, lambda: Path("got.hex").mkdir(), lambda: os.mkfifo("got.hex"),
              lambda: Path("got.hex").symlink_to("/dev/zero")],
)  # fmt: skip
def test_junit_is_written_where_the_dump_is_no_file(made, capsys, spoil):
    spoil()
    case = made / "patterns" / "patterns" / "walk-nd-n1"
    assert run(["vectors", "compare", str(case), "got.hex", "--junit", "r.xml"]) == 2
    test = ET.parse("r.xml").getroot().find("testcase")
    assert [one.tag for one in test] == ["properties", "error", "system-out"]
    assert test.find("error").get("message").startswith("got.hex: ")
    assert "error: got.hex" in capsys.readouterr().err


def test_junit_is_not_written_where_the_case_is_no_file(made, capsys):
    case = made / "patterns" / "patterns" / "walk-nd-n1"
    shutil.copytree(case, "case")
    Path("case/expected.npy").unlink()
    assert run(["vectors", "compare", "case", str(case / "expected.npy"), "--junit", "r.xml"]) == 2
    assert "case/expected.npy" in capsys.readouterr().err
    assert not Path("r.xml").exists()


@pytest.mark.parametrize("got", ["nothing", "got.hex"])
def test_a_folder_of_cases_needs_a_folder_of_dumps(dumps, capsys, got):
    Path("got.hex").write_text("00\n")
    assert run(["vectors", "compare", "cases", got]) == 2
    assert capsys.readouterr().err.startswith(f"error: {got}: is no folder of dumps; cases has no")


def test_each_folder_of_dumps_is_listed_once(dumps, monkeypatch):
    listed = []
    inside = vectors.comparison.many.listing
    monkeypatch.setattr(
        vectors.comparison.many, "listing", lambda path: listed.append(path) or inside(path)
    )
    count = len(list(Path("cases").glob("*/*")))
    assert [one.kind for one, _ in vectors.compare_many("cases", "dumps")] == ["equal"] * count
    assert len(listed) == len(set(listed)) > 2


def test_the_suffix_of_the_format_goes_before_others(dumps, capsys):
    case = sorted(Path("cases").glob("*/*"))[0]
    dump = dumps / case.parts[1] / f"{case.name}.hex"
    dump.with_suffix(".log").write_text("what the device printed\n")
    order = ["vectors", "compare", str(case.parent), str(dump.parent), "--format", "hex"]
    line = f"error: {case.parts[1]}/{case.name}: "
    run(order)
    assert line not in capsys.readouterr().out
    dump.rename(dump.with_suffix(".mem"))
    run(order)
    assert f"{line}several dumps: " in capsys.readouterr().out
    dump.with_suffix(".log").unlink()
    run(order)
    assert line not in capsys.readouterr().out
    assert f"missing: {case.parts[1]}/{case.name}: " not in capsys.readouterr().out


def test_json_is_made_only_where_it_is_asked_for(dumps, monkeypatch, capsys):
    made = []
    monkeypatch.setattr(
        vectors.comparison.Comparison, "to_dict", lambda found: made.append(found.case) or {}
    )
    assert run(["vectors", "compare", "cases", "dumps"]) == 0
    assert made == []
    assert run(["vectors", "compare", "cases", "dumps", "--json"]) == 0
    assert len(made) == len(list(Path("cases").glob("*/*")))


def test_of_the_cases_of_a_search_the_last_one_is_kept(made, monkeypatch):
    alive = []

    def shrink(case, fails, *, keep, **how):
        for runs in range(1, 5):
            found = vectors.shrink.Shrunk(vectors.build.build("t", 1, ITEM, 1), runs)
            keep(found)
            alive.append(weakref.ref(found))
            del found
        gc.collect()
        assert [one() is not None for one in alive] == [False, False, False, True]
        raise KeyboardInterrupt

    monkeypatch.setattr(vectors.shrink, "shrink", shrink)
    order = ["vectors", "shrink", "case", "-o", "small", "--dut-cmd", "true {case} {got}"]
    assert run(order) == 130
    assert alive
    vectors.verify("small")
