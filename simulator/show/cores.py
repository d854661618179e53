"""What a trace shows: the cores of a run, each with its program and schedule, and what follows.

Of cores that do the same, the first one is shown for all. A trace depends on the run alone: no
clock, host or path is in it, and the same run gives the same bytes. It counts nothing itself: times
are those of timing.py.
"""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

from cube24.errors import ArgumentError, StrPath, counted
from cube24.files import whole_file
from cube24.simulator import isa
from cube24.simulator.account import Row, Timing
from cube24.simulator.chip import core_program, costs_of
from cube24.simulator.config import UnitConfig
from cube24.simulator.run import Run
from cube24.simulator.timing import demand_legal, schedule

#: Texts of instructions that a trace keeps, for programs repeat them.
TEXTS = 1 << 14


@dataclass(frozen=True)
class Scheduled:
    """A program with its schedule, to trace what is no Run: ``unit.schedule`` gives the timing.

    Raises:
        ArgumentError: the timing has not as many instructions as the program.
        ScheduleError: the program has an instruction that no unit can run.
    """

    program: isa.Program
    timing: Timing
    config: UnitConfig

    def __post_init__(self) -> None:
        """Refuse a timing without instructions, or of another program."""
        demand_legal(self.program)
        has, wanted = len(self.timing.instructions), len(self.program.instructions)
        if has != wanted:
            raise ArgumentError(
                f"the timing has {counted(has, 'instruction')} and the program has {wanted}; give "
                f"the timing of this program, as unit.schedule makes it"
            )


class Core(NamedTuple):
    """A core that stands for ``cores`` cores that do the same."""

    number: int
    cores: int
    program: isa.Program
    timing: Timing

    def __str__(self) -> str:
        """Its number, and how many more there are."""
        if self.cores == 1:
            return f"core {self.number}"
        return f"core {self.number} (and {counted(self.cores - 1, 'core')} more like it)"


def cores_of(run: Run | Scheduled) -> Iterator[Core]:
    """The cores of a run that are shown, by number."""
    if isinstance(run, Scheduled):
        yield Core(0, 1, run.program, run.timing)
        return
    groups, plan = run.chip.groups, run.plan
    for group in sorted(groups, key=lambda group: group.first):
        if group is groups[0]:
            yield Core(group.first, group.cores, run.program, run.timing)
        elif plan is not None:
            program = core_program(plan, run.cores, group.first)
            timing = schedule(program, run.config, costs_of(plan, run.cores))
            yield Core(group.first, group.cores, program, timing)


def by_pipe(rows: Iterable[Row]) -> Mapping[str, list[Row]]:
    """The instructions of each pipe, in their order."""
    found = defaultdict(list)
    for row in rows:
        found[row.pipe].append(row)
    return found


def own_waits(rows: Iterable[Row]) -> dict[int, int]:
    """By number, how long instructions waited for something else than the flags before them.

    ``waited`` of an instruction counts the wait_flags directly before it too, which have rows.
    """
    flags: dict[str, int] = defaultdict(int)
    found = {}
    for row in rows:
        if row.name == "wait_flag":
            flags[row.pipe] += row.waited
        elif row.end > row.start:  # flags and what does nothing end no waiting
            if own := row.waited - flags[row.pipe]:
                found[row.index] = own
            flags[row.pipe] = 0
    return found


def flag_pairs(program: isa.Program) -> dict[tuple[str, str, int], list[tuple[int, int | None]]]:
    """By flag, the numbers of each set_flag and of the wait_flag that takes it, if there is one."""
    sets, waits = defaultdict(list), defaultdict(list)
    for number, i in enumerate(program.instructions):
        if isinstance(i, isa.SetFlag):
            sets[i.of, i.to, i.id].append(number)
        elif isinstance(i, isa.WaitFlag):
            waits[i.of, i.to, i.id].append(number)
    return {
        flag: list(zip(numbers, chain(waits[flag], [None] * len(numbers)), strict=False))
        for flag, numbers in sets.items()
    }


@contextmanager
def text_file(path: StrPath, overwrite: bool) -> Iterator[io.TextIOWrapper]:
    """A file of UTF-8 text that appears under its name at the end."""
    with whole_file(path, overwrite=overwrite) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        try:
            yield text
        finally:
            text.detach()
