"""The schedule: instructions a second, and the largest published profile.

    pytest benchmarks/test_timing.py --benchmark-only

No peer that we know schedules instructions of this unit, so the figures are absolute; the plain
schedule and the fast one of the same run stand beside each other.
"""

from __future__ import annotations

import pytest

from cube24.simulator import PRESETS, Matmul, chip, hazards, timing
from cube24.simulator.profiles import PROFILES
from cube24.simulator.tiler import Problem
from cube24.simulator.writer import plan_for

UNIT = PRESETS["dav-2201"]


def program(size: int):
    return chip.core_program(plan_for(Problem(Matmul(size, size, size), True), UNIT))


@pytest.mark.parametrize("size", [256, 2048], ids=["cube256", "cube2048"])
def test_plain_schedule(benchmark, size):
    code = program(size)
    benchmark.extra_info["instructions"] = len(code.instructions)
    result = benchmark(timing.schedule, code, UNIT)
    assert len(result.instructions) == len(code.instructions)


@pytest.mark.parametrize("size", [256, 2048], ids=["cube256", "cube2048"])
def test_fast_schedule(benchmark, size):
    plan = plan_for(Problem(Matmul(size, size, size), True), UNIT)
    result = benchmark(chip.time_plan, plan)
    assert result.cycles == timing.schedule(program(size), UNIT).cycles


def test_the_largest_published_profile(benchmark):
    profile = next(one for one in PROFILES if one.name == "0")
    plan = plan_for(profile.problem, UNIT, profile.tile)
    result = benchmark.pedantic(chip.time_plan, (plan, profile.cores), rounds=3)
    assert result.cycles > 10**9


@pytest.mark.parametrize("size", [256, 2048], ids=["cube256", "cube2048"])
def test_hazard_check(benchmark, size):
    code = program(size)
    benchmark.extra_info["instructions"] = len(code.instructions)
    assert benchmark(hazards.check, code, UNIT).clean
