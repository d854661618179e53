"""The tests that cocotb runs; run.py builds the unit and starts them.

plan.json, beside the simulation, says what is to be drawn: seed, least and most cases, constraints,
and the coverpoints that have to be full. findings.json is what came of it.
"""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import cocotb
import stimulus
from bench import START_ZERO, Bench, columns_of, monitor
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge

PLAN = json.loads(Path("plan.json").read_text())


async def start(dut: Any, random: Random) -> Bench:
    """Start the clock, and put the bench around the unit."""
    cocotb.start_soon(Clock(dut.clock, 10, unit="ns").start())
    bench = Bench(dut, random)
    await bench.reset()
    return bench


@cocotb.test()
async def random_cases(dut: Any) -> None:
    """Random cases until the coverage that is wanted is reached; each must give its result."""
    seed = PLAN["seed"]
    dut._log.info("seed %d", seed)
    random = Random(seed)
    bench = await start(dut, random)
    scoreboard = bench.scoreboard
    cocotb.start_soon(monitor(dut, scoreboard))
    holes: list[str] = []
    for number in range(PLAN["most"]):
        given = stimulus.draw(random, PLAN["constraints"])
        case = stimulus.write(Path("cases"), f"drawn-{number:04d}", seed, given)
        found = await bench.play(case, gap=random.choice((0.0, 0.0, 0.3)))
        dut._log.info("%s", str(found).replace("\n", "\n    "))
        holes = [name for name in scoreboard.coverage.holes if name.split("/")[0] in PLAN["full"]]
        if number + 1 >= PLAN["least"] and not holes:
            break
    findings = {
        "seed": seed,
        "cases": scoreboard.coverage.cases,
        "holes": holes,
        "differing": [each.to_dict() for each in scoreboard.differing],
    }
    Path("findings.json").write_text(json.dumps(findings, indent=1))
    names = [each.case for each in scoreboard.differing]
    assert not names, f"seed {seed}: {len(names)} cases differ: {', '.join(names)}"
    assert not holes, f"seed {seed}: after {PLAN['most']} cases nothing hit {', '.join(holes)}"


@cocotb.test()
async def illegal_index(dut: Any) -> None:
    """An index of 3 in any column, group, slot and step is flagged, there and nowhere else."""
    random = Random(PLAN["seed"])
    await start(dut, random)
    dut.activations.value, dut.dense.value, dut.bias.value = 0, 0, 0
    dut.pair20_table.value = random.random() < 0.5
    dut.step_start.value, dut.step_k.value = START_ZERO, 64
    columns = columns_of(dut)
    for _ in range(PLAN["illegal"]):
        steps, expected = random.randint(1, 3), 0
        for step in range(steps):
            pairs = [random.choice((0, 1, 2, 4, 5, 6, 8, 9, 10)) for _ in range(16 * columns)]
            for _ in range(random.choice((0, 0, 1, 2))):
                at, slot = random.randrange(len(pairs)), random.choice((0, 2))
                pairs[at] |= 3 << slot
                expected |= 1 << at // 16
            dut.index.value = sum(pair << 4 * at for at, pair in enumerate(pairs))
            dut.step_valid.value = 1
            dut.step_first.value, dut.step_last.value = step == 0, step == steps - 1
            await FallingEdge(dut.clock)
        dut.step_valid.value = 0
        for _ in range(random.randint(1, 3)):  # the flags stand
            await FallingEdge(dut.clock)
            assert dut.illegal_columns.value == expected, (
                f"{dut.illegal_columns.value}: {expected:b}"
            )
            assert dut.illegal.value == (expected != 0)
