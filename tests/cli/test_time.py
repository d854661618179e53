"""What the command line says about time: simulate, validate, hazards and sweep."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

from cube24.cli import run
from cube24.simulator import Matmul, Program, Unit, profiles

LAYER = ["simulate", "matmul", "64x256", "48x256", "--time-only"]
RUN = Unit().time(Matmul(64, 48, 256), sparse=True)


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_shapes_are_enough_for_the_time(capsys):
    assert run(LAYER) == 0
    out = capsys.readouterr().out
    assert f"time         {RUN.cycles} cycles" in out
    assert f"dense twin   {RUN.dense.cycles} cycles: speed-up {RUN.speed_up:.2f}" in out
    assert "output" not in out


def test_a_run_with_values_takes_as_long_as_one_without(capsys):
    np.save("a.npy", np.zeros((64, 256), np.int8))
    np.save("w.npy", np.zeros((48, 256), np.int8))
    assert run(["simulate", "matmul", "a.npy", "w.npy"]) == 0
    assert f"time         {RUN.cycles} cycles" in capsys.readouterr().out
    assert run(["simulate", "matmul", "a.npy", "48x256", "--time-only"]) == 0
    assert f"time         {RUN.cycles} cycles" in capsys.readouterr().out


def test_why_lists_the_reasons_of_the_run(capsys):
    assert run([*LAYER, "--why"]) == 0
    out = capsys.readouterr().out
    for reason in RUN.reasons:
        assert f"without {reason.name:<11} {reason.cycles:>9} cycles less" in out


@pytest.mark.parametrize(
    ("options", "run_of"),
    [
        (["--sparsity", "0"], {"sparse": False}),
        (["--dtype", "float16", "--cores", "3"], {"sparse": False, "dtype": "float16", "cores": 3}),
        (["--cores", "2"], {"sparse": True, "cores": 2}),
    ],
)
def test_dense_types_and_cores_can_be_had(options, run_of, capsys):
    assert run([*LAYER, *options]) == 0
    expected = Unit().time(Matmul(64, 48, 256), **run_of)
    assert f"time         {expected.cycles} cycles" in capsys.readouterr().out


def test_each_file_is_written_and_told(capsys):
    files = {
        "trace": "t.json",
        "vcd": "t.vcd",
        "csv": "t.csv",
        "report": "r.html",
        "roofline": "r.png",
    }
    order = [*LAYER, *(word for name, path in files.items() for word in (f"--{name}", path))]
    assert run(order) == 0
    out = capsys.readouterr().out
    assert all(f"written: {path}" in out for path in files.values())
    assert json.loads(Path("t.json").read_text())["traceEvents"]
    assert len(Path("t.csv").read_text().splitlines()) == 1 + len(RUN.instructions)
    assert "$enddefinitions" in Path("t.vcd").read_text()
    assert f"{RUN.cycles:,}" in Path("r.html").read_text()
    before = {path: Path(path).read_bytes() for path in files.values()}
    assert run(order) == 2
    assert "t.json" in capsys.readouterr().err
    assert run([*order, "--overwrite"]) == 0
    assert {path: Path(path).read_bytes() for path in files.values()} == before


@pytest.mark.parametrize(
    ("order", "said"),
    [
        (["simulate", "matmul", "64x256", "48x250", "--time-only"], "this weight takes (M, 250)"),
        (["simulate", "matmul", "64x256", "48x256"], "64x256"),
        ([*LAYER, "--cores", "25"], "has 1 to 24"),
        ([*LAYER, "--unit", "nowhere"], "choose dav-2201"),
        ([*LAYER, "-o", "o.npy"], "--time-only gives no output"),
        (["simulate", "matmul", "a", "b", "--cores", "2"], "need --time-only"),
        ([*LAYER, "--report", "none/r.html"], "does not exist"),
        (["simulate", "conv2d", "1x8x4", "8x8x3x3", "--time-only"], "they take NCHW"),
        ([*LAYER, "--unit", "slow.toml"], "slow.toml"),
        (["hazards", "none.txt"], "none.txt"),
        (["validate", "--unit", "nowhere"], "choose dav-2201"),
        (["sweep", "--m", "16", "--n", "16", "--k", "x"], "write 64,128"),
        (["sweep", "--m", "16:64:*1", "--n", "16", "--k", "4"], "does not grow"),
        (["sweep", "--m", "0:999999999:1", "--n", "16", "--k", "4"], "a million"),
        (["sweep", "--m", "16", "--n", "16", "--k", "4", "--tile-m", "16"], "a tile is all of"),
        (["sweep", "--m", "16", "--n", "16", "--k", "4", "--set", "speed=1"], "FIELD=V,V"),
        (["sweep", "--m", "16", "--n", "16", "--k", "4", "--set", "cores=x"], "cores=x"),
        (["sweep", "--m", "16", "--n", "16", "--k", "4", "--plot", "p.gif"], "NAME.png"),
        (["sweep", "--m", "16", "--n", "16", "--k", "4", "--plot", "p.png", "--over", "q"], "axis"),
    ],
)
def test_bad_input_is_told_with_exit_code_2(order, said, capsys):
    assert run(order) == 2
    assert said in capsys.readouterr().err


def test_validate_prints_the_profiles_and_fails_beyond_a_limit(capsys):
    assert run(["validate"]) == 0
    assert capsys.readouterr().out == profiles.table(profiles.validate()) + "\n"
    Path("slow.toml").write_text('name = "slow"\nrow_cycles = 9.0\n')
    assert run(["validate", "--unit", "slow.toml"]) == 1
    assert "beyond the limit" in capsys.readouterr().out


def test_hazards_finds_races_and_accepts_the_programs_of_the_tiler(capsys):
    RUN.program.save("good.txt")
    assert run(["hazards", "good.txt"]) == 0
    assert capsys.readouterr().out == "no hazards\n"
    text = str(RUN.program)
    first = next(line for line in text.splitlines() if line.startswith("wait_flag of=MTE1 to=M "))
    program = Program.parse(text.replace(f"{first}\n", "", 1))
    program.save("bad.txt")
    assert run(["hazards", "bad.txt"]) == 1
    assert "race" in capsys.readouterr().out


def test_sweep_prints_or_writes_one_line_for_each_combination(capsys):
    order = ["sweep", "--m", "16:48:16", "--n", "16:64:*2", "--k", "64,128", "--cores", "1"]
    assert run(order) == 0
    text = capsys.readouterr().out
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(row["m"], row["n"], row["k"]) for row in rows] == [
        (m, n, k) for m in ("16", "32", "48") for n in ("16", "32", "64") for k in ("64", "128")
    ]
    assert run([*order, "-o", "s.csv", "--plot", "s.svg", "--over", "k"]) == 0
    assert capsys.readouterr().out == "written: s.csv\nwritten: s.svg\n"
    assert Path("s.csv").read_text() == text
    assert run([*order, "-o", "s.csv"]) == 2
