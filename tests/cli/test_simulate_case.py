"""`cube24 simulate CASE`: golden vectors run from their files, traced and compared."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from cube24 import simulator, vectors
from cube24.cli import run
from cube24.errors import ArgumentError
from cube24.vectors import suites

GOLDEN = Path(__file__).parents[2] / "vectors" / "golden"


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


CASES = ["shapes/conv-3x3-pad", "shapes/matmul-31x15x64", "accumulate/*", "requant/*", "network/*"]


@pytest.mark.parametrize("pattern", CASES)
def test_a_golden_case_gives_what_it_expects_in_its_cycles(pattern, capsys):
    case = sorted(GOLDEN.glob(pattern))[0]
    assert run(["simulate", str(case), "-o", "y.npy", "--trace", "t.json", "--vcd", "t.vcd",
                "--report", "r.html", "--program", "p.txt"]) == 0  # fmt: skip
    said = capsys.readouterr().out
    manifest = json.loads((case / "manifest.json").read_text())
    assert f"case         {manifest['suite']}/{manifest['case']} (case seed " in said
    got = np.load("y.npy")
    assert f"expected     {got.size} outputs, 0 differ\n" in said
    words = (case / "expected.hex").read_text().split()
    raw = b"".join(bytes.fromhex(word)[::-1] for word in words)  # words of four bytes, little
    assert raw[: got.nbytes] == got.tobytes()
    cycles = json.loads((case / "cycles.json").read_text())["cycles"]
    assert f"time         {cycles} cycles" in said
    assert re.findall(r"^#(\d+)$", Path("t.vcd").read_text(), re.MULTILINE)[-1] == str(cycles)
    for name in ("t.json", "r.html", "p.txt"):
        assert Path(name).stat().st_size > 1000
    assert run(["simulate", "case", str(case)]) == 0
    assert capsys.readouterr().out == said.split("written: ")[0]


def test_every_golden_case_gives_what_it_expects_or_is_refused_as_it_says():
    folders = list(vectors.folders(GOLDEN))
    roles = set()
    for folder in folders:
        stored = vectors.load(folder)
        outcome = stored.manifest["outcome"]
        if outcome["kind"] != "error":
            found, differing = vectors.simulate(stored)
            assert differing == 0, stored.name
            assert found.output.size == stored.array("expected").size
            roles.add((outcome["kind"], (stored.spec["change"] or {}).get("role")))
        elif stored.entries("bad"):
            with pytest.raises(ArgumentError, match="must be refused"):
                vectors.simulate(stored)
        else:
            with pytest.raises(simulator.ExecutionError) as error:
                vectors.simulate(stored)
            assert type(error.value).__name__ == outcome["error"]
    assert {"set-2"} < {folder.relative_to(GOLDEN).parts[0] for folder in folders}
    assert {("result", None), ("changed", "requant"), ("masked", "requant")} <= roles


def test_the_buffers_of_a_run_hold_the_flipped_word():
    folder = GOLDEN / "set-2" / "fixpipe" / "vreq8-bit-077"
    found, _ = vectors.simulate(folder)
    words = vectors.load(folder).array("requant")
    assert found.buffers["words"].tobytes() == words.tobytes()


def made(suite: str, number: int) -> Path:
    item = list(suites.items(suite, 0, 1))[number]
    vectors.write_case(Path("case"), suite, item, vectors.Campaign((suite,), 0, 1))
    return Path("case")


def test_a_case_of_another_result_fails(capsys):
    made("shapes", 0)
    manifest = json.loads(Path("case/manifest.json").read_text())
    style = vectors.CaseStyle(("npy",))
    of = vectors.load("case")
    # The same case with one number of its expected result changed, sealed anew.
    from cube24.vectors.build import build
    from cube24.vectors.case import CaseArray
    from cube24.vectors.spec import Item

    case = build("shapes", manifest["suite_version"], Item("other", of.spec), 1, style)
    wrong = case.pieces["expected"].array.copy()
    wrong.reshape(-1)[-1] ^= 4
    case.pieces["expected"] = CaseArray(wrong, case.pieces["expected"].layout)
    vectors.write(case, "wrong")
    assert run(["simulate", "wrong", "-o", "y.npy"]) == 1
    assert f"{wrong.size} outputs, 1 differ\n" in capsys.readouterr().out
    assert (np.load("y.npy") != wrong).sum() == 1


def test_a_case_that_is_damaged_is_refused(capsys):
    made("shapes", 0)
    data = bytearray(Path("case/dense.npy").read_bytes())
    data[-1] ^= 1
    Path("case/dense.npy").write_bytes(data)
    assert run(["simulate", "case", "case"]) == 2
    assert "dense.npy: its SHA-256 is not that of the manifest" in capsys.readouterr().err


def test_what_must_be_refused_is(capsys):
    outcomes = set()
    for number, item in enumerate(suites.items("faults", 0, 1)):
        shutil.rmtree("case", ignore_errors=True)
        kind = json.loads((made("faults", number) / "manifest.json").read_text())["outcome"]["kind"]
        if kind in outcomes:
            continue
        outcomes.add(kind)
        assert run(["simulate", "./case"]) == (1 if kind == "error" else 0), item.name
        said = capsys.readouterr()
        assert ("0 differ" in said.out) == (kind != "error")
        assert ("the unit refuses the bytes: " in said.err) == (kind == "error")
    assert outcomes == {"changed", "masked", "error"}
    shutil.rmtree("case")
    made("negative", 0)
    assert run(["simulate", "./case"]) == 2
    assert "has nothing to run; what stands in bad/ must be refused" in capsys.readouterr().err


def test_a_folder_of_the_name_of_a_command_is_none(capsys):
    made("shapes", 0)
    Path("case").rename("matmul")
    assert run(["simulate", "matmul"]) == 2
    assert "ACTIVATIONS" in capsys.readouterr().err
    assert run(["simulate", "./matmul"]) == 0


def test_a_folder_without_a_case_is_no_command(capsys):
    Path("nothing").mkdir()
    assert run(["simulate", "nothing"]) == 2
    assert "No such command 'nothing'" in capsys.readouterr().err
