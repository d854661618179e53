"""Run: what a unit did, and, when asked for, how long it took and why."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from cube24.simulator import isa, reasons
from cube24.simulator.account import PIPE_NAMES, PipeAccount, Row, Timing
from cube24.simulator.chip import ChipTiming, core_program, costs_of, time_plan, time_program
from cube24.simulator.config import UnitConfig
from cube24.simulator.machine import execute
from cube24.simulator.pipes import ScheduleError
from cube24.simulator.tiler import Plan, TilingError
from cube24.simulator.timing import schedule
from cube24.simulator.writer import plan_for

#: Products that the cube adds up in one cycle: 16 x 16 results, 32 products of int8 each [ADK].
#: Of 2:4, these are 32 kept weights of 64.
PEAK = {"int8": 16 * 16 * 32, "float16": 16 * 16 * 16}


@dataclass(frozen=True, eq=False)
class Run:
    """What the unit did. Time is counted when it is first asked for; so are memory images made.

    Attributes: output, or None for a time alone; config, of the unit; plan, how the problem was
    cut, None if it was empty; cores, on how many it ran; exact_steps, whether the output comes from
    the instructions, one after the other, and not from all products at once; operands, what makes
    the arrays that stand in GM before, None for a time alone.
    """

    output: npt.NDArray[Any] | None
    config: UnitConfig
    plan: Plan | None = None
    cores: int = 1
    exact_steps: bool = False
    operands: Callable[[], Mapping[str, npt.NDArray[Any]]] | None = field(default=None, repr=False)

    @cached_property
    def program(self) -> isa.Program:
        """The instructions: of the core that is done last, where there are several.

        Raises:
            ScheduleError: more than chip.PROGRAM_LIMIT of them.
        """
        if self.plan is None:
            return isa.Program((), ())
        if self.operands is not None:  # of values, on one core
            return core_program(self.plan, limit=None)
        return core_program(self.plan, self.cores, self.chip.groups[0].first)

    @cached_property
    def buffers(self) -> Mapping[str, npt.NDArray[np.uint8]]:
        """What GM holds afterwards, by name, as bytes; nothing for a time alone.

        Without exact_steps, the program is run when this is first asked for, on the arrays that the
        run was given: they must not have been changed since.

        Raises:
            ExecutionError: an instruction that the unit cannot run; the subclass says why.
        """
        if self.plan is None or self.operands is None:
            return {}
        return execute(self.program, self.operands(), self.config)

    @property
    def listed(self) -> bool:
        """Whether its program can be listed: it has at most chip.PROGRAM_LIMIT instructions."""
        try:
            return bool(self.program)
        except ScheduleError:
            return False

    @cached_property
    def chip(self) -> ChipTiming:
        """The time of all cores, by groups of cores that do the same."""
        if self.plan is None:
            return ChipTiming(())
        if self.exact_steps:  # its program is written
            return time_program(self.plan, self.program)
        return time_plan(self.plan, self.cores)

    @property
    def cycles(self) -> int:
        """Cycles from the first instruction until the last core is done."""
        return self.chip.cycles

    @property
    def pipes(self) -> Mapping[str, PipeAccount]:
        """The account of each pipe, of the core that is done last; each sums to ``cycles``.

        MTE2, MTE1, M, FIX, and S, the scalar unit that issues the instructions.
        """
        if not self.chip.groups:
            return dict.fromkeys(PIPE_NAMES, PipeAccount(0, 0, 0, 0, 0, {}))
        return self.chip.groups[0].timing.pipes

    @cached_property
    def timing(self) -> Timing:
        """The schedule with all instructions, of the core that is done last.

        Raises:
            ScheduleError: more than chip.PROGRAM_LIMIT of them.
        """
        if self.plan is None:
            return Timing(0, self.pipes)
        return schedule(self.program, self.config, costs_of(self.plan, self.cores))

    @property
    def instructions(self) -> tuple[Row, ...]:
        """Each instruction with start, end, head, work and wait, in program order.

        Raises:
            ScheduleError: more than chip.PROGRAM_LIMIT of them.
        """
        return self.timing.instructions

    @property
    def seconds(self) -> float:
        """The time at the clock of the unit."""
        return self.cycles / (self.config.clock_mhz * 1e6)

    @property
    def utilisation(self) -> float:
        """Useful multiplications / (cycles x cores x what a cube can do in a cycle), 0 to 1.

        Useful are those of the problem without padding; of 2:4, half of them, the kept ones.
        """
        if self.plan is None or not self.cycles:
            return 0.0
        problem = self.plan.problem
        useful = problem.layer.macs / (2 if problem.sparse else 1)
        return useful / (self.cycles * self.cores * PEAK[problem.dtype])

    @property
    def dense(self) -> Run | None:
        """The same run without sparsity, time only: with the same tile where it fits.

        None where a dense weight, which is twice as large, does not fit the unit at all.
        """
        return self._dense[0]

    @property
    def dense_problem(self) -> str:
        """Why there is no dense run; empty where there is one."""
        return self._dense[1]

    @cached_property
    def _dense(self) -> tuple[Run | None, str]:
        if self.plan is None or not self.plan.problem.sparse:
            return self, ""
        problem = replace(self.plan.problem, sparse=False)
        try:
            plan = plan_for(problem, self.config, self.plan.tile)
        except TilingError:
            try:
                plan = plan_for(problem, self.config)
            except TilingError as error:
                return None, str(error)
        return Run(None, self.config, plan, self.cores), ""

    @property
    def speed_up(self) -> float:
        """Cycles of the dense run over cycles of this one; 1.0 for a run without sparsity.

        NaN where there is no dense run.
        """
        if self.dense is None:
            return math.nan
        return self.dense.cycles / self.cycles if self.cycles else 1.0

    @cached_property
    def reasons(self) -> tuple[reasons.Reason, ...]:
        """What keeps the run from being faster, the largest first: see reasons.py."""
        return reasons.reasons(self.plan, self.cores) if self.plan else ()
