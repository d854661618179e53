"""What the command line says about time: simulate, validate, hazards and sweep."""

import csv
import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from cube24.cli import run
from cube24.cli.codes import Terminated
from cube24.simulator import Matmul, Program, Unit, profiles, sweep

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


# --- sweeps that end early ------------------------------------------------------------------------

GRID = ["sweep", "--m", "16,32,48", "--n", "16", "--k", "64"]


def stop_behind(monkeypatch, count: int, how: BaseException) -> None:
    """Let a sweep end behind so many lines."""
    of = sweep.sweep

    def stopped(points, progress):
        for number, row in enumerate(of(points, progress)):
            if number == count:
                raise how
            yield row

    monkeypatch.setattr(sweep, "sweep", stopped)


@pytest.mark.parametrize(
    ("how", "code"),
    [(KeyboardInterrupt(), 130), (Terminated(15), 143), (Terminated(1), 129)],
    ids=["SIGINT", "SIGTERM", "SIGHUP"],
)
def test_a_sweep_that_is_stopped_keeps_the_lines_that_it_has(how, code, monkeypatch, capsys):
    assert run(GRID) == 0
    lines = capsys.readouterr().out.splitlines(keepends=True)
    assert len(lines) == 4
    stop_behind(monkeypatch, 2, how)
    assert run(GRID) == code
    assert capsys.readouterr().out == "".join(lines[:3])
    assert run([*GRID, "-o", "s.csv", "--plot", "s.svg"]) == code
    assert Path("s.csv").read_text() == "".join(lines[:3])
    assert "2 of 3 lines are in s.csv" in capsys.readouterr().err
    assert [path.name for path in Path().iterdir()] == ["s.csv"]


def test_a_sweep_that_is_stopped_before_its_first_line_writes_nothing(monkeypatch, capsys):
    stop_behind(monkeypatch, 0, KeyboardInterrupt())
    assert run([*GRID, "-o", "s.csv"]) == 130
    assert list(Path().iterdir()) == []


def test_lines_are_printed_as_they_come(monkeypatch, capsys):
    seen = []
    of = sweep.sweep

    def watched(points, progress):
        for row in of(points, progress):
            seen.append(capsys.readouterr().out.count("\n"))
            yield row

    monkeypatch.setattr(sweep, "sweep", watched)
    assert run(GRID) == 0
    assert seen == [0, 2, 1]  # the header comes with the first line
    assert capsys.readouterr().out.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--plot", "p.gif"], "NAME.png or NAME.svg"),
        (["--plot", "p.png", "--over", "q"], "axis 'q': the sweep has m, n, k"),
        (["--plot", "none/p.png"], "none"),
        (["-o", "none/s.csv"], "none"),
        (["-o", "there.csv"], "is there already"),
        (["--m", "9" * 5000], "is no number"),
        (["--m", "1_6"], "write 64,128"),
        (["--m", "\u0661\u0666"], "write 64,128"),
        (["--m", f"16:{'9' * 2000}:*2"], "is no number"),
        (["--set", f"l1_bytes={'9' * 5000}"], "is no number"),
        (["--set", "l1_bytes=1_0"], "is no number"),
    ],
)
def test_what_a_sweep_cannot_do_is_told_before_it_begins(options, said, monkeypatch, capsys):
    Path("there.csv").write_text("mine")
    monkeypatch.setattr(sweep, "sweep", None)
    assert run([*GRID, *options]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert len(told) < 500
    assert [path.name for path in Path().iterdir()] == ["there.csv"]


def test_a_plot_without_its_package_is_told_before_the_sweep_begins(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setattr(sweep, "sweep", None)
    assert run([*GRID, "--plot", "p.png"]) == 2
    assert "pip install 'cube24[plot]'" in capsys.readouterr().err
