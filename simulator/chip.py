"""Time on many cores, without values: each core runs the program of the tiles dealt to it.

Cores that were dealt tiles of the same shapes take the same time, so each kind of core is scheduled
once; and what repeats within a core is not scheduled again (forward.py).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

from cube24.simulator import isa
from cube24.simulator.account import Timing
from cube24.simulator.config import UnitConfig
from cube24.simulator.cost import Costs
from cube24.simulator.dealing import blocks_of, hand, tiles_of
from cube24.simulator.forward import Forward
from cube24.simulator.operations import Compiler
from cube24.simulator.pipes import Pipes, ScheduleError
from cube24.simulator.series import Node, Trees
from cube24.simulator.tiler import Plan
from cube24.simulator.writer import PLANS, instructions_of

#: More instructions than this are scheduled, but not listed.
PROGRAM_LIMIT = 500_000


@dataclass(frozen=True)
class CoreGroup:
    """Cores that do the same: how many, the first of them, the tiles of each, the time of each."""

    cores: int
    first: int
    tiles: int
    timing: Timing


@dataclass(frozen=True)
class ChipTiming:
    """The time of the cores that have something to do: groups, the slowest first."""

    groups: tuple[CoreGroup, ...]

    @property
    def cycles(self) -> int:
        """Cycles until the last core is done."""
        return self.groups[0].timing.cycles if self.groups else 0

    @property
    def cores(self) -> int:
        """How many cores have something to do."""
        return sum(group.cores for group in self.groups)


def time_plan(plan: Plan, cores: int = 1) -> ChipTiming:
    """The time of a plan on some cores of the unit.

    Raises:
        ScheduleError: the configuration leaves the program no schedule, or the run does not repeat
            itself, and is too long to be walked through.
    """
    return _timed(plan, cores)


# Time never depends on values, so equal plans have one.
@lru_cache(PLANS)
def _timed(plan: Plan, cores: int) -> ChipTiming:
    costs = costs_of(plan, cores)
    trees = Trees(plan, cores, touches=costs.first_touch_matters)
    count: Counter[Node] = Counter()
    first: dict[Node, int] = {}
    for core in range(min(cores, blocks_of(plan, cores).total)):  # the idle ones are the last
        tree = trees.core(core)
        first.setdefault(tree, core)
        count[tree] += 1
    forward = Forward(plan, costs)
    groups = [
        CoreGroup(count[tree], core, tiles_of(plan, cores, core), forward.timing(tree))
        for tree, core in first.items()
    ]
    return ChipTiming(tuple(sorted(groups, key=lambda group: -group.timing.cycles)))


#: A program of so few instructions is scheduled one by one in less time than trees of it are made.
SHORT = 256

#: So many operations are known at most from one program to the next.
KNOWN = 1 << 16


def time_program(plan: Plan, program: isa.Program) -> ChipTiming:
    """The time of a plan on one core, as :func:`time_plan` gives it, by its program.

    Args:
        plan: the plan.
        program: its program on one core, which somebody has written already.

    Raises:
        ScheduleError: the configuration leaves the program no schedule.
    """
    compiler = _compiler(plan.config)
    if len(program.instructions) > SHORT or compiler is None:
        return time_plan(plan)
    if len(compiler) > KNOWN:
        _compiler.cache_clear()
    pipes = Pipes(plan.config)
    pipes.run([compiler.one(i) for i in program.instructions], to_end=True)
    timing = pipes.take(end=True).timing()
    return ChipTiming((CoreGroup(1, 0, tiles_of(plan, 1, 0), timing),))


@lru_cache(16)
def _compiler(config: UnitConfig) -> Compiler | None:
    """What makes the operations of all programs on one core; None where they depend on the plan."""
    costs = Costs(config)
    return None if costs.first_touch_matters else Compiler(costs)


def costs_of(plan: Plan, cores: int) -> Costs:
    """What instructions cost when a plan is dealt to some cores.

    Neighbouring cores have neighbouring columns of the same rows, and share their first touch.
    """
    blocks = blocks_of(plan, cores)
    active = min(cores, blocks.total)
    across = min(active, blocks.columns)
    weights = next(b.at for b in plan.buffers() if b.name in ("dense", "weights"))
    return Costs(plan.config, active, [(0, across), (weights, max(1, active // across))])


def core_program(
    plan: Plan, cores: int = 1, core: int = 0, limit: int | None = PROGRAM_LIMIT
) -> isa.Program:
    """The program of one core of those that a plan is dealt to.

    Raises:
        ScheduleError: it has more instructions than the limit.
    """
    written = instructions_of(plan, hand(plan, cores, core))
    instructions = tuple(islice(written, limit and limit + 1))
    if limit is not None and len(instructions) > limit:
        raise ScheduleError(
            f"the program of this run has more than {limit} instructions, too many to list; its "
            f"cycles and pipes are there without them"
        )
    return isa.Program(plan.buffers(), instructions)
