"""The published on-board profiles, typed in here again, against the model."""

import subprocess
import sys
from dataclasses import replace

import pytest

from cube24.simulator import PRESETS, Matmul, Tile, Unit, profiles, validate

# Published profiles of matrix multiplications on a 910B1 at 1850 MHz, half, M = N = K = 8192:
# us of mac, mte1, mte2, fixpipe and total, means of a core.
PUBLISHED = {
    "0": (141699.5, 162104.2, 582515.8, 34303.1, 759363.5),
    "1": (81477.2, 52003.7, 195613.4, 11313.7, 249466.5),
    "3": (3394.9, 2166.8, 8616.7, 488.8, 10871.0),
    "4": (3116.5, 2332.9, 4051.5, 44.7, 4487.9),
    "S1": (3081.7, 2538.3, 3552.2, 160.4, 3670.7),
}
NAMES = ("mac", "mte1", "mte2", "fixpipe", "total")
LIMITS = {"mac": 3, "mte1": 8, "mte2": 8, "total": 10}


@pytest.fixture(scope="module")
def comparisons():
    return validate()


@pytest.fixture(scope="module")
def rows(comparisons):
    return {(one.profile.name, one.name): one for one in comparisons}


def test_every_published_number_is_compared(rows):
    expected = {
        (row, name): us
        for row, all_us in PUBLISHED.items()
        for name, us in zip(NAMES, all_us, strict=True)
    }
    expected |= {("int8", "mac"): 192.02, ("int8", "mte1"): 168.6}
    expected |= {("U1", "mac"): 4209, ("U2", "mac"): 4225, ("U3", "mac"): 2172}
    assert {key: one.measured for key, one in rows.items()} == expected


@pytest.mark.parametrize("row", [*PUBLISHED, "int8", "U1", "U2", "U3"])
@pytest.mark.parametrize("name", LIMITS)
def test_the_model_is_within_the_limits_on_every_row(rows, row, name):
    one = rows.get((row, name))
    if one is None:
        assert row in ("int8", "U1", "U2", "U3")  # of these, less was published
        return
    assert abs(one.modelled / one.measured - 1) * 100 <= LIMITS[name]
    assert one.limit == LIMITS[name]
    assert one.good


def test_each_deviation_of_more_than_a_percent_is_explained(rows):
    assert all(one.note for one in rows.values() if abs(one.error) > 1)


def test_the_sizes_are_those_that_were_published():
    sizes = {
        p.name: (p.cores, p.tile.m_core, p.tile.n_core, p.tile.m, p.tile.n, p.tile.k)
        for p in profiles.PROFILES
    }
    assert sizes["0"] == (1, 0, 0, 64, 64, 64)
    assert sizes["1"] == (1, 0, 0, 128, 256, 64)
    assert sizes["3"] == sizes["4"] == sizes["S1"] == (24, 2048, 1536, 128, 256, 64)
    assert sizes["int8"] == (24, 128, 1024, 128, 256, 128)
    for p in profiles.PROFILES[:5]:
        assert (p.problem.m, p.problem.n, p.problem.k, p.problem.dtype) == (
            8192,
            8192,
            8192,
            "float16",
        )


def test_a_step_without_overlap_is_mte2_and_mte1_and_a_round_trip(rows):
    # Row 0: 128 x 128 tiles of 128 steps. 64 rows of 128 bytes, twice: ceil(64 * 3.4) + 40 each;
    # loads 32 + 64 + 47; flags 13.
    steps = 128 * 128 * 128
    step = 2 * (218 + 40) + 143 + 13
    us = rows["0", "total"].modelled
    assert us * 1850 == pytest.approx(steps * step, rel=1e-4)
    assert rows["0", "mac"].modelled * 1850 == steps * (64 + 61)
    assert rows["0", "mte1"].modelled * 1850 == steps * 143
    assert rows["0", "mte2"].modelled * 1850 == steps * 516


def test_the_profiles_come_out_the_same_through_the_public_interface(rows):
    tile = Tile(128, 256, 64, 128, m_core=2048, n_core=1536)
    run = Unit().time(
        Matmul(8192, 8192, 8192),
        dtype="float16",
        cores=24,
        weight_rows=True,
        tile=tile,
        sparse=False,
    )
    # 4 x 6 blocks, of which four have 512 columns instead of 1536.
    assert [(group.cores, group.tiles) for group in run.chip.groups] == [(20, 96), (4, 32)]
    mean = sum(group.cores * group.timing.cycles for group in run.chip.groups) / 24 / 1850
    assert mean == rows["4", "total"].modelled
    assert run.cycles == run.chip.groups[0].timing.cycles


def test_a_unit_with_other_numbers_is_beyond_the_limits():
    slow = validate(replace(PRESETS["dav-2201"], row_cycles=5.0))
    assert not all(one.good for one in slow)
    assert "beyond the limit" in profiles.table(slow)


def test_the_command_prints_the_table(comparisons):
    got = subprocess.run(
        [sys.executable, "-W", "error", "-m", "cube24", "validate"],
        capture_output=True,
        text=True,
    )
    assert (got.returncode, got.stderr) == (0, "")
    assert got.stdout == profiles.table(comparisons) + "\n"
