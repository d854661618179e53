"""Sweeps: each line is the run of its point; grids, CSV and plots are what they say."""

import csv
import io
import itertools
import sys

import pytest

from cube24.encoder import ArgumentError, Cube24Error
from cube24.errors import MissingExtraError
from cube24.simulator import PRESETS, Matmul, Tile, Unit, UnitConfig, sweep


def table(axes):
    return list(sweep.sweep(sweep.grid(axes)))


def test_a_grid_is_all_combinations_the_last_axis_fastest():
    points = sweep.grid({"m": [16, 32], "n": [16], "k": [64, 128, 192]})
    assert [(p["m"], p["n"], p["k"]) for p in points] == [
        *itertools.product([16, 32], [16], [64, 128, 192])
    ]


@pytest.mark.parametrize(
    ("axes", "said"),
    [
        ({"m": [1], "n": [1]}, "there is no k"),
        ({"m": [1], "n": [1], "k": [1], "depth": [3]}, "unknown axis depth"),
        ({"m": [1], "n": [1], "k": [1], "tile_m": [16]}, "a tile is all of"),
        ({"m": [1], "n": [], "k": [1]}, "axis n has no value"),
    ],
)
def test_a_grid_that_cannot_be_is_refused(axes, said):
    with pytest.raises(ArgumentError, match=said):
        sweep.grid(axes)


def test_each_line_is_the_run_of_its_point():
    rows = table(
        {"m": [64, 200], "n": [48], "k": [256], "cores": [1, 3], "load_b_rate": [64.0, 128.0]}
    )
    assert len(rows) == 8
    for row in rows:
        unit = Unit(UnitConfig("dav-2201", load_b_rate=row["load_b_rate"]))
        run = unit.time(Matmul(row["m"], 48, 256), sparse=True, cores=row["cores"])
        twin = unit.time(Matmul(row["m"], 48, 256), cores=row["cores"], sparse=False)
        assert (row["cycles"], row["dense_cycles"]) == (run.cycles, twin.cycles)
        assert float(row["speed_up"]) == pytest.approx(twin.cycles / run.cycles, abs=5e-5)
        assert row["mac"] == run.pipes["M"].busy
        assert row["problem"] == ""
    assert len({row["cycles"] for row in rows}) > 4


def test_units_and_tiles_are_axes():
    axes = {"unit": ["dav-2201", "dav-3510"], "m": [64], "n": [64], "k": [256]}
    axes |= {"tile_m": [32], "tile_n": [16, 64], "tile_k": [64], "tile_k_l1": [128]}
    rows = table(axes)
    run = Unit("dav-3510").time(Matmul(64, 64, 256), tile=Tile(32, 64, 64, 128), sparse=False)
    assert rows[-1]["cycles"] == rows[-1]["dense_cycles"] == run.cycles  # it has no sparsity
    assert rows[-1]["speed_up"] == "1.0000"


def test_an_impossible_point_says_why_and_the_others_are_timed():
    rows = table(
        {
            "m": [64],
            "n": [64],
            "k": [256],
            "tile_m": [8, 16],
            "tile_n": [16],
            "tile_k": [64],
            "tile_k_l1": [64],
        }
    )
    assert (rows[0]["cycles"], rows[0]["problem"]) == (
        "",
        "tile m is 8; it is a positive multiple of 16",
    )
    assert rows[1]["cycles"] > 0
    bad = table({"m": [64], "n": [64], "k": [256], "cores": [25]})
    assert bad[0]["problem"] == "cores 25: dav-2201 has 1 to 24"


def test_progress_counts_the_points():
    seen = []
    points = sweep.grid({"m": [16, 32, 48], "n": [16], "k": [64]})
    list(sweep.sweep(points, seen.append))
    assert seen == [1, 1, 1]


def test_csv_reads_back():
    rows = table({"m": [16, 32], "n": [16], "k": [64]})
    text = sweep.to_csv(rows)
    assert "\r" not in text
    back = list(csv.DictReader(io.StringIO(text)))
    assert back == [{key: str(value) for key, value in row.items()} for row in rows]


@pytest.mark.parametrize("name", ["plot.png", "plot.svg"])
def test_a_plot_has_the_same_bytes_each_time(tmp_path, name):
    rows = table({"m": [64, 128], "n": [16, 64], "k": [256, 512]})
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        sweep.write_plot(rows, tmp_path / folder / name)
    one, two = ((tmp_path / folder / name).read_bytes() for folder in ("one", "two"))
    assert one == two
    assert one[:4] == (b"\x89PNG" if name.endswith("png") else b"<?xm")
    assert b"matplotlib version" not in one


def test_a_plot_of_other_rows_is_another_one(tmp_path):
    for number, k in enumerate((256, 512)):
        sweep.write_plot(table({"m": [64, 128], "n": [16], "k": [k]}), tmp_path / f"{number}.svg")
    assert (tmp_path / "0.svg").read_bytes() != (tmp_path / "1.svg").read_bytes()


def test_plots_that_cannot_be_are_refused(tmp_path, monkeypatch):
    rows = table({"m": [64, 128], "n": [16], "k": [256]})
    with pytest.raises(ArgumentError, match=r"NAME\.png or NAME\.svg"):
        sweep.write_plot(rows, tmp_path / "plot.gif")
    with pytest.raises(ArgumentError, match="axis 'q'"):
        sweep.write_plot(rows, tmp_path / "plot.png", axis="q")
    with pytest.raises(ArgumentError, match="nothing to draw"):
        sweep.write_plot(
            table({"m": [64], "n": [16], "k": [256], "cores": [25]}), tmp_path / "plot.png"
        )
    sweep.write_plot(rows, tmp_path / "plot.png")
    with pytest.raises(Cube24Error, match=r"plot\.png"):
        sweep.write_plot(rows, tmp_path / "plot.png")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"cube24\[plot\]"):
        sweep.write_plot(rows, tmp_path / "other.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plot.png"]


def test_the_fields_of_a_unit_are_axes_and_checked():
    assert table({"m": [64], "n": [64], "k": [64], "row_cycles": [-1.0]})[0]["problem"].startswith(
        "row_cycles is -1.0"
    )
    assert PRESETS["dav-2201"].row_cycles == 3.4
