"""The schedule: instructions a second, whole networks, and the largest published profile.

    pytest benchmarks/test_timing.py --benchmark-only

No peer that we know schedules instructions of this unit, so the figures are absolute; the plain
schedule and fast-forward of the same run stand beside each other. What the package keeps between
runs is forgotten before each round, so that each is a first one.
"""

from __future__ import annotations

import sys

import pytest
from resnet50 import layers

from cube24.simulator import PRESETS, Conv2d, Matmul, chip, hazards, timing
from cube24.simulator.profiles import PROFILES
from cube24.simulator.tiler import Problem
from cube24.simulator.writer import plan_for

UNIT = PRESETS["dav-2201"]


def forget() -> None:
    """Clear all that cube24 keeps between calls."""
    for name, module in list(sys.modules.items()):
        if name.startswith("cube24"):
            for value in list(vars(module).values()):
                if hasattr(value, "cache_clear"):
                    value.cache_clear()


def first_time(benchmark, function, *args, rounds=11):
    """Measure calls each of which finds nothing kept."""
    return benchmark.pedantic(function, setup=lambda: (forget(), (args, {}))[1], rounds=rounds)


def cube(size: int) -> Problem:
    return Problem(Matmul(size, size, size), True)


def program(problem: Problem):
    return chip.core_program(plan_for(problem, UNIT))


def network() -> list[Problem]:
    """The 53 convolutions of ResNet-50 and its final layer, 2:4, batch 1."""
    convolutions = [
        Conv2d(
            1, layer.cin, layer.size, layer.size, layer.cout, (layer.kernel,) * 2,
            (layer.stride,) * 2, (layer.kernel // 2,) * 4,
        )
        for layer in layers()
    ]  # fmt: skip
    return [Problem(layer, True) for layer in (*convolutions, Matmul(1, 1000, 2048))]


def plain_network() -> list[int]:
    """Plan, write and schedule each instruction of each layer; cycles of each."""
    return [timing.schedule(program(problem), UNIT).cycles for problem in network()]


def fast_network() -> list[int]:
    """The same by fast-forward."""
    return [chip.time_plan(plan_for(problem, UNIT)).cycles for problem in network()]


@pytest.mark.parametrize("size", [256, 2048], ids=["cube256", "cube2048"])
def test_plain_schedule(benchmark, size):
    code = program(cube(size))
    benchmark.extra_info["instructions"] = len(code.instructions)
    result = first_time(benchmark, timing.schedule, code, UNIT)
    assert len(result.instructions) == len(code.instructions)


@pytest.mark.parametrize("size", [256, 2048, 10**6], ids=["cube256", "cube2048", "cube1000000"])
def test_fast_schedule(benchmark, size):
    result = first_time(benchmark, lambda: chip.time_plan(plan_for(cube(size), UNIT)))
    if size <= 2048:
        assert result.cycles == timing.schedule(program(cube(size)), UNIT).cycles
    assert result.cycles > size**3 // 16384


def test_plain_resnet50(benchmark):
    benchmark.group = "ResNet-50, all layers, time only"
    assert first_time(benchmark, plain_network) == fast_network()


def test_fast_resnet50(benchmark):
    benchmark.group = "ResNet-50, all layers, time only"
    assert first_time(benchmark, fast_network) == plain_network()


def test_the_largest_published_profile(benchmark):
    profile = next(one for one in PROFILES if one.name == "0")
    plan = plan_for(profile.problem, UNIT, profile.tile)
    result = first_time(benchmark, chip.time_plan, plan, profile.cores)
    assert result.cycles > 10**9


@pytest.mark.parametrize("size", [256, 2048], ids=["cube256", "cube2048"])
def test_hazard_check(benchmark, size):
    code = program(cube(size))
    benchmark.extra_info["instructions"] = len(code.instructions)
    assert benchmark(hazards.check, code, UNIT).clean
