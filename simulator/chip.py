"""Time on many cores, without values: each core runs the program of the tiles dealt to it.

Cores that were dealt tiles of the same shapes take the same time, so each kind of core is scheduled
once; and a tile that meets a core in a state that was seen before is not scheduled again
(timing.schedule_segments).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from cube24.simulator import isa
from cube24.simulator.account import Timing
from cube24.simulator.cost import Costs
from cube24.simulator.dealing import Piece, block_sizes, deal
from cube24.simulator.operations import Compiler, Op
from cube24.simulator.pipes import ScheduleError
from cube24.simulator.tiler import Plan
from cube24.simulator.timing import schedule_segments
from cube24.simulator.writer import Writer
from cube24.sizes import ceil_div

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
        ScheduleError: the configuration leaves the program no schedule, such as a queue too short.
    """
    hands = [hand for hand in deal(plan, cores) if hand]  # the idle ones are the last
    first: dict[Any, int] = {}
    count: Counter[Any] = Counter()
    for core, hand in enumerate(hands):
        kind = tuple(Writer(plan, hand).shapes())
        first.setdefault(kind, core)
        count[kind] += 1
    groups = []
    for kind, core in first.items():
        costs = costs_of(plan, cores)
        timing = schedule_segments(_segments(plan, hands[core], costs), plan.config)
        groups.append(CoreGroup(count[kind], core, len(hands[core]), timing))
    return ChipTiming(tuple(sorted(groups, key=lambda group: -group.timing.cycles)))


def costs_of(plan: Plan, cores: int) -> Costs:
    """What instructions cost when a plan is dealt to some cores.

    Neighbouring cores have neighbouring columns of the same rows, and share their first touch.
    """
    m_core, n_core = block_sizes(plan, cores)
    problem = plan.problem
    across = ceil_div(problem.n, n_core)
    active = min(cores, problem.batch * ceil_div(problem.m, m_core) * across)
    across = min(active, across)
    weights = next(b.at for b in plan.buffers() if b.name in ("dense", "weights"))
    return Costs(plan.config, active, [(0, across), (weights, max(1, active // across))])


def core_program(
    plan: Plan, cores: int = 1, core: int = 0, limit: int | None = PROGRAM_LIMIT
) -> isa.Program:
    """The program of one core of those that a plan is dealt to.

    Raises:
        ScheduleError: it has more instructions than the limit.
    """
    segments = Writer(plan, deal(plan, cores)[core]).segments()
    written = (i for segment in segments for i in segment)
    instructions = tuple(islice(written, limit and limit + 1))
    if limit is not None and len(instructions) > limit:
        raise ScheduleError(
            f"the program of this run has more than {limit} instructions, too many to list; its "
            f"cycles and pipes are there without them"
        )
    return isa.Program(plan.buffers(), instructions)


def _segments(plan: Plan, pieces: list[Piece], costs: Costs) -> Iterator[Sequence[Op]]:
    """The operations of tile after tile; those of equal tiles are written once."""
    writer, compiler = Writer(plan, pieces), Compiler(costs)
    known: dict[Any, tuple[Sequence[Op], Any]] = {}
    for number in range(len(pieces)):
        signature = writer.signature(number)
        found = known.get(signature)
        if found is None:
            ops = compiler.compile(writer.segment(number))
            if costs.first_touch_matters:
                yield ops
                continue
            found = known[signature] = (ops, writer.state())
        else:
            writer.skip(number, found[1])
        yield found[0]
