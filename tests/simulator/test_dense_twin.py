"""A dense twin that does not fit costs a line, not the run: a dense weight is twice as large."""

import functools
import importlib
import math

import numpy as np
import pytest
import samples

from cube24 import encoder
from cube24.simulator import (
    Conv2d,
    Matmul,
    Run,
    TilingError,
    Unit,
    UnitConfig,
    chip,
    show,
    sweep,
)

#: L0B holds two parts of 2:4 weights (2 x 512 bytes), and not two of dense ones (2 x 1024).
SMALL = UnitConfig("small", l0b_bytes=1024)
TIMES = {
    "a kernel of 25 x 25": lambda: Unit().time(Conv2d(1, 32, 25, 25, 16, (25, 25))),
    "a small L0B": lambda: Unit(SMALL).time(Matmul(16, 16, 128)),
    "on two cores": lambda: Unit(SMALL).time(Matmul(64, 48, 128), cores=2),
    "requantised": lambda: Unit(SMALL).time(Matmul(20, 20, 200), bias=True),
}


@pytest.fixture(params=TIMES)
def run(request: pytest.FixtureRequest) -> Run:
    return TIMES[request.param]()


def test_there_is_no_dense_run_and_a_reason(run):
    with pytest.raises(TilingError) as error:
        Unit(run.config).time(run.plan.problem.layer, sparse=False, bias=run.plan.problem.bias)
    assert run.dense is None
    assert run.dense_problem == str(error.value)
    assert math.isnan(run.speed_up)
    assert run.cycles > 0
    assert run.reasons


def test_where_there_is_a_dense_run_there_is_no_problem():
    run = Unit().time(Matmul(16, 16, 64))
    assert run.dense_problem == run.dense.dense_problem == ""
    assert run.dense.dense is run.dense


def test_everything_that_shows_a_run_shows_it(run, tmp_path):
    page = show.html(run)
    assert run.dense_problem in page
    assert "nan" not in page
    show.write_perfetto(run, tmp_path / "t.json")
    show.write_vcd(run, tmp_path / "t.vcd")
    show.write_csv(run, tmp_path / "t.csv")
    show.write_html(run, tmp_path / "t.html")
    show.write_roofline_png(run, tmp_path / "t.png")


def test_values_are_computed_without_a_dense_twin():
    rng = np.random.default_rng(1)
    x, w = rng.integers(-128, 128, (20, 200), np.int8), samples.legal_weight((30, 200), 1)
    run = Unit(SMALL).matmul(x, encoder.encode(w), check=w)
    assert np.array_equal(run.output, x.astype(np.int64) @ w.T)
    assert run.dense is None


def test_a_line_of_a_sweep_has_the_times_that_there_are():
    axes = {"m": [16, 32], "n": [16], "k": [128], "l0b_bytes": [1024, 4096]}
    rows = list(sweep.sweep(sweep.grid(axes)))
    for row in rows:
        of = Unit(UnitConfig("dav-2201", l0b_bytes=row["l0b_bytes"])).time(
            Matmul(row["m"], 16, 128)
        )
        assert row["cycles"] == of.cycles
        assert row["mac"] == of.pipes["M"].busy
        if of.dense is None:
            assert (row["dense_cycles"], row["speed_up"]) == ("", "")
            assert row["problem"] == f"the dense run does not fit: {of.dense_problem}"
        else:
            assert row["dense_cycles"] == of.dense.cycles
            assert row["problem"] == ""
    assert [row["dense_cycles"] == "" for row in rows] == [True, False, True, False]


@pytest.mark.parametrize("sizes", [[1024], [1024, 4096]])
def test_a_sweep_without_dense_times_is_drawn(tmp_path, sizes):
    axes = {"m": [16, 32], "n": [16], "k": [128], "l0b_bytes": sizes}
    sweep.write_plot(list(sweep.sweep(sweep.grid(axes))), tmp_path / "p.svg", axis="m")
    assert (tmp_path / "p.svg").stat().st_size > 1000


def test_a_twin_whose_program_is_too_long_to_list_is_left_out(monkeypatch, tmp_path):
    run = Unit().time(Matmul(64, 512, 2048))
    own, its = len(run.program.instructions), len(run.dense.program.instructions)
    assert own < its
    few = functools.partial(chip.core_program, limit=own)
    monkeypatch.setattr(importlib.import_module("cube24.simulator.run"), "core_program", few)
    run = Unit().time(Matmul(64, 512, 2048))
    assert run.listed
    assert not run.dense.listed
    assert f"{run.dense.cycles:,}" in show.html(run)
    show.write_roofline_png(run, tmp_path / "t.png")
