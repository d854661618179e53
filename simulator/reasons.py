"""Why a run takes as long as it does: the same run without one cost after the other.

What a cost takes is not what a pipe was busy with, since pipes work at the same time; it is what
the run would save without it. So each reason is measured: the run is scheduled again with this cost
alone set to nothing. The savings of several reasons do not add up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from cube24.simulator.chip import time_plan
from cube24.simulator.config import UnitConfig
from cube24.simulator.tiler import Plan
from cube24.sizes import round_up

_FREE = 2.0**40  # a rate that takes no time


@dataclass(frozen=True)
class Reason:
    """One cost of a run.

    name: a short name. cycles: what the run would save without it. about: a sentence.
    """

    name: str
    cycles: int
    about: str


#: Each cost, with the fields that switch it off.
_COSTS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "MTE2": (
        "moves from global memory to L1",
        {
            "move_head": 0, "row_cycles": 0.0, "row_rate": _FREE, "burst_rate": _FREE,
            "hbm_rate": _FREE, "l2_rate": _FREE, "handover_cycles": 0,
        },
    ),
    "MTE1": (
        "loads from L1 to L0A, L0B and the tables",
        {
            "load2d_head": 0, "load2d_head_behind": 0, "load2d_head_more": 0, "load3d_head": 0,
            "sparse_head": 0, "table_head": 0, "load_a_rate": _FREE, "load_b_rate": _FREE,
            "load3d_rate": _FREE, "load3d_floor": _FREE, "table_rate": _FREE,
        },
    ),
    "Mmad heads": (
        "heads of the Mmads, before their first step",
        {"mmad_head_idle": 0, "mmad_head_queued": 0},
    ),
    "FIXPIPE": (
        "results leaving L0C",
        {"fixpipe_head": 0, "fixpipe_rate": _FREE, "store_row_cycles": 0.0, "store_rate": _FREE},
    ),
    "contention": (
        "MTE1 slowed down by other pipes",
        {"mte1_slow_m": 0, "mte1_slow_mte2": 0},
    ),
    # Queues so deep that none of them is full, nearly; deeper ones would be counted without end.
    "flags": (
        "flags on their way, hand-over of L1, issue and queues",
        {"flag_cycles": 0, "handover_cycles": 0, "issue_cycles": 0, "queue_depth": 1 << 12},
    ),
}  # fmt: skip


def reasons(plan: Plan, cores: int) -> tuple[Reason, ...]:
    """What a run would save without each of its costs, the largest first.

    Args:
        plan: the run.
        cores: how many it runs on.

    Raises:
        ScheduleError: as for :func:`cube24.simulator.chip.time_plan`.
    """
    timing = time_plan(plan, cores)
    found = []
    for name, (about, fields) in _COSTS.items():
        without = time_plan(_with(plan, replace(plan.config, **fields)), cores)
        found.append(Reason(name, timing.cycles - without.cycles, about))
    work = timing.groups[0].timing.pipes["M"]
    padded = work.busy - work.heads
    # Cycles of the cube on rows, columns and products that only fill its blocks.
    share = plan.problem.layer.macs / _macs_of_cube(plan)
    found.append(
        Reason("padding", round(padded * (1 - share)), "blocks of the cube that are not full")
    )
    return tuple(sorted((r for r in found if r.cycles > 0), key=lambda r: (-r.cycles, r.name)))


def _with(plan: Plan, config: UnitConfig) -> Plan:
    return Plan(plan.problem, config, plan.tile)


def _macs_of_cube(plan: Plan) -> int:
    """Multiplications that the cube does, padding included; of 2:4, those that it skips too."""
    problem, tile = plan.problem, plan.tile
    step = problem.k_fractal

    def padded(size: int, piece: int, unit: int) -> int:
        whole, rest = divmod(size, piece)
        return whole * piece + round_up(rest, unit)

    m = problem.batch * padded(problem.m, tile.m, 16)
    n = padded(problem.n, tile.n, 16)
    chunk = min(plan.chunk, plan.weight_chunk)
    chunks, rest = divmod(problem.k, chunk)
    k = chunks * padded(chunk, tile.k, step) + padded(rest, tile.k, step)
    return m * n * k
