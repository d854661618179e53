"""Traces of a schedule: Chrome trace events for ui.perfetto.dev, VCD for wave viewers, CSV.

A trace shows cores and pipes in time, cycle by cycle, and counts nothing itself: times are those of
timing.py. Of cores that do the same, the first one is shown for all. A trace depends on the run
alone: no clock, host or path is in it, and the same run gives the same bytes.

What the buffers hold is derived from the instructions: a byte of L1, L0A, L0B or L0C is occupied
from the end of the instruction that wrote it until the end of the last one that reads it before it
is written again, in the order in which instructions end. So a byte that nobody reads is never
occupied, a buffer never holds more than its size, and a flag that hands a slot back plays no part.
"""

from __future__ import annotations

import csv
import io
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from heapq import merge
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from cube24.errors import ArgumentError, StrPath, counted
from cube24.extras import need
from cube24.files import whole_file
from cube24.simulator import isa
from cube24.simulator.access import Access, Cells, Index, Numbers, accesses
from cube24.simulator.chip import core_program, costs_of
from cube24.simulator.config import UnitConfig
from cube24.simulator.run import Run
from cube24.simulator.timing import (
    HAND_OVER,
    PIPE_NAMES,
    SCALAR,
    UNIT_FLAG,
    Row,
    Timing,
    schedule,
)

#: The columns of a CSV trace: the core, then those of timing.Row, then the instruction as text.
COLUMNS = (
    "core", "number", "name", "pipe", "issued", "start", "end", "head", "work", "slowed", "waited",
    "cause", "text",
)  # fmt: skip

# Threads of a Chrome trace. Viewers take a thread with the number of its process for its main one,
# so these are no numbers of cores.
_THREADS = {name: 1_000_001 + place for place, name in enumerate(PIPE_NAMES)}
_TEXTS = 1 << 14  # texts of instructions that are kept, for programs repeat them
_MANY = 1 << 20  # changes of occupancy that are kept until they are summed up
_NEVER = 1 << 62


@dataclass(frozen=True)
class Scheduled:
    """A program with its schedule, to trace what is no Run: ``unit.schedule`` gives the timing.

    Raises:
        ArgumentError: the timing has not as many instructions as the program.
    """

    program: isa.Program
    timing: Timing
    config: UnitConfig

    def __post_init__(self) -> None:
        """Refuse a timing without instructions, or of another program."""
        has, wanted = len(self.timing.instructions), len(self.program.instructions)
        if has != wanted:
            raise ArgumentError(
                f"the timing has {counted(has, 'instruction')} and the program has {wanted}; give "
                f"the timing of this program, as unit.schedule makes it"
            )


def perfetto(run: Run | Scheduled, *, scalar: bool = False) -> str:
    """Chrome trace events as JSON, for ui.perfetto.dev and chrome://tracing.

    A process is a core and has its number; a thread is a pipe. The format counts microseconds: one
    of them is one cycle here, and ``otherData`` has the clock. Each instruction is a complete event
    (X) with its number in ``args``; its category is ``work``, ``flag`` for flags and barriers,
    which take no time, or ``wait`` for a wait_flag that took time. What an instruction waited for
    without a flag (unit flags, the hand-over of L1) is an X of category ``wait`` directly before
    it, without a number. A flow leads from each set_flag to the end of the wait_flag that took it.
    Counters (C) tell how many bytes of a buffer are occupied, as the module defines it.

    Args:
        run: the run or the schedule.
        scalar: a thread of the scalar unit too: X for each issue, and for waiting at full queues.

    Raises:
        ScheduleError: the run has more than chip.PROGRAM_LIMIT instructions.
    """
    return "".join(_chrome(run, scalar))


def write_perfetto(
    run: Run | Scheduled, path: StrPath, *, overwrite: bool = False, scalar: bool = False
) -> None:
    """Write what :func:`perfetto` gives.

    Raises:
        FileAccessError: the file is there already, or the system refuses.
        ScheduleError: the run has more than chip.PROGRAM_LIMIT instructions.
    """
    with _text_file(path, overwrite) as file:
        file.writelines(_chrome(run, scalar))


def write_vcd(run: Run | Scheduled, path: StrPath, *, overwrite: bool = False) -> None:
    """Write a value change dump, for GTKWave and the like; it takes the extra ``trace``.

    One cycle is 1 ns, since a VCD has no other unit near the period of the clock; the comment tells
    the clock. A scope is a core, and in it each pipe has ``busy`` (it runs an instruction that
    takes time), ``waiting``, ``number`` of the instruction that it runs or waits at (z for none),
    and ``opcode``, its name as a string of GTKWave. Flags are wires such as ``MTE2_MTE1_0``: 1 from
    the set_flag until the wait_flag ends. Only flags that the program sets are there.

    Raises:
        MissingExtraError: pyvcd is not there.
        FileAccessError: the file is there already, or the system refuses.
        ScheduleError: the run has more than chip.PROGRAM_LIMIT instructions.
    """
    vcd = need("vcd", "trace", "writing VCD")
    with _text_file(path, overwrite) as file:
        cores = list(_cores(run))
        writer = vcd.VCDWriter(
            file, timescale="1 ns", date="", version="cube24", comment=_comment(run, cores)
        )
        changes = []
        for core in cores:
            scope = f"core{core.number}"
            rows = _by_pipe(core.timing.instructions)
            for pipe in isa.PIPES:
                variables = [
                    writer.register_var((scope, pipe), name, kind, size, init)
                    for name, kind, size, init in (
                        ("busy", "wire", 1, 0), ("waiting", "wire", 1, 0),
                        ("number", "reg", 32, "z"), ("opcode", "string", None, ""),
                    )
                ]  # fmt: skip
                changes.append(_pipe_changes(variables, rows[pipe]))
            changes += [
                _wire_changes(writer.register_var((scope, "flags"), name, "wire", 1, 0), times)
                for name, times in _flag_times(core).items()
            ]
        for time, variable, value in merge(*changes, key=lambda change: change[0]):
            writer.change(variable, time, value)
        writer.close(max((core.timing.cycles for core in cores), default=0))


def write_csv(run: Run | Scheduled, path: StrPath, *, overwrite: bool = False) -> None:
    r"""Write one row for each instruction, in program order, core by core.

    The first line names the columns (COLUMNS); lines end in ``\n``; times are in cycles.

    Raises:
        FileAccessError: the file is there already, or the system refuses.
        ScheduleError: the run has more than chip.PROGRAM_LIMIT instructions.
    """
    with _text_file(path, overwrite) as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        text = lru_cache(_TEXTS)(str)
        for core in _cores(run):
            instructions = core.program.instructions
            table.writerows(
                (
                    core.number, r.index, r.name, r.pipe, r.issued, r.start, r.end, r.head, r.work,
                    r.slowed, r.waited, r.cause, text(instructions[r.index]),
                )
                for r in core.timing.instructions
            )  # fmt: skip


@contextmanager
def _text_file(path: StrPath, overwrite: bool) -> Iterator[io.TextIOWrapper]:
    with whole_file(path, overwrite=overwrite) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        try:
            yield text
        finally:
            text.detach()


# --- what a schedule holds ------------------------------------------------------------------------


class _Core(NamedTuple):
    """A core that stands for ``cores`` cores that do the same."""

    number: int
    cores: int
    program: isa.Program
    timing: Timing

    def __str__(self) -> str:
        if self.cores == 1:
            return f"core {self.number}"
        return f"core {self.number} (and {counted(self.cores - 1, 'core')} more like it)"


def _cores(run: Run | Scheduled) -> Iterator[_Core]:
    if isinstance(run, Scheduled):
        yield _Core(0, 1, run.program, run.timing)
        return
    groups, plan = run.chip.groups, run.plan
    for group in sorted(groups, key=lambda group: group.first):
        if group is groups[0]:
            yield _Core(group.first, group.cores, run.program, run.timing)
        elif plan is not None:
            program = core_program(plan, run.cores, group.first)
            timing = schedule(program, run.config, costs_of(plan, run.cores))
            yield _Core(group.first, group.cores, program, timing)


def _by_pipe(rows: Iterable[Row]) -> Mapping[str, list[Row]]:
    found = defaultdict(list)
    for row in rows:
        found[row.pipe].append(row)
    return found


def _own_waits(rows: Iterable[Row]) -> dict[int, int]:
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


def _pairs(program: isa.Program) -> dict[tuple[str, str, int], list[tuple[int, int | None]]]:
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


# --- Chrome trace events --------------------------------------------------------------------------


def _chrome(run: Run | Scheduled, scalar: bool) -> Iterator[str]:
    config = run.config
    cycles = run.timing.cycles if isinstance(run, Scheduled) else run.cycles
    other = {
        "generator": "cube24", "unit": config.name, "time": "1 us of this trace is 1 cycle",
        "clock_mhz": config.clock_mhz, "cycles": cycles,
    }  # fmt: skip
    yield f'{{"displayTimeUnit":"ms","otherData":{json.dumps(other)},"traceEvents":['
    before, flows = "\n", 0
    for core in _cores(run):
        pairs = sorted(
            (one, other)
            for numbers in _pairs(core.program).values()
            for one, other in numbers
            if other is not None
        )
        ids = {
            number: flow for flow, pair in enumerate(pairs, flows) for number in pair
        }  # of a flow, by the instructions at its ends
        flows += len(pairs)
        for event in chain(
            _names(core, scalar),
            _issues(core, config) if scalar else (),
            _events(core, ids),
            _counters(core, config),
        ):
            yield f"{before}{event}"
            before = ",\n"
    yield "\n]}\n"


def _names(core: _Core, scalar: bool) -> Iterator[str]:
    def event(name: str, thread: int, args: object) -> str:
        return json.dumps(
            {"ph": "M", "pid": core.number, "tid": thread, "name": name, "args": args}
        )

    yield event("process_name", 0, {"name": str(core)})
    yield event("process_sort_index", 0, {"sort_index": core.number})
    for place, pipe in enumerate(PIPE_NAMES):
        if pipe != SCALAR or scalar:
            yield event("thread_name", _THREADS[pipe], {"name": pipe})
            yield event("thread_sort_index", _THREADS[pipe], {"sort_index": place})


def _complete(core: _Core, pipe: str, start: int, end: int) -> str:
    """The beginning of a complete event."""
    return (
        f'{{"ph":"X","pid":{core.number},"tid":{_THREADS[pipe]},"ts":{start},"dur":{end - start},'
    )


def _issues(core: _Core, config: UnitConfig) -> Iterator[str]:
    free = 0  # when the scalar unit could have issued
    for row in core.timing.instructions:
        if row.issued > free:
            yield (
                f"{_complete(core, SCALAR, free, row.issued)}"
                f'"name":"queue of {row.pipe} full","cat":"wait"}}'
            )
        free = row.issued + config.issue_cycles
        yield (
            f"{_complete(core, SCALAR, row.issued, free)}"
            f'"name":"{row.name}","cat":"issue","args":{{"number":{row.index}}}}}'
        )


def _events(core: _Core, ids: Mapping[int, int]) -> Iterator[str]:
    """Instructions, waits and flows, in program order: for each pipe, in the order of time."""

    def text(instruction: isa.Instruction) -> str:
        return json.dumps(str(instruction))

    text = lru_cache(_TEXTS)(text)
    own_waits, instructions = _own_waits(core.timing.instructions), core.program.instructions
    for r in core.timing.instructions:
        instruction = instructions[r.index]
        if own := own_waits.get(r.index):
            cause = HAND_OVER if r.pipe == "MTE2" else UNIT_FLAG
            yield (
                f'{_complete(core, r.pipe, r.start - own, r.start)}"name":"{cause}","cat":"wait"}}'
            )
        category = "work" if instruction.pipe else "wait" if r.end > r.start else "flag"
        yield (
            f'{_complete(core, r.pipe, r.start, r.end)}"name":"{r.name}","cat":"{category}",'
            f'"args":{{"number":{r.index},"text":{text(instruction)},"issued":{r.issued},'
            f'"head":{r.head},"work":{r.work},"slowed":{r.slowed},"waited":{r.waited},'
            f'"cause":"{r.cause}"}}}}'
        )
        if isinstance(instruction, (isa.SetFlag, isa.WaitFlag)) and r.index in ids:
            # Behind the event that it belongs to: viewers bind it to what was there last.
            where = (
                f'"pid":{core.number},"tid":{_THREADS[r.pipe]},"ts":{r.end},"id":{ids[r.index]},'
                f'"name":"{instruction.of}>{instruction.to}#{instruction.id}","cat":"flag"}}'
            )
            is_set = isinstance(instruction, isa.SetFlag)
            yield f'{{"ph":"s",{where}' if is_set else f'{{"ph":"f","bp":"e",{where}'


def _counters(core: _Core, config: UnitConfig) -> Iterator[str]:
    for memory, (times, filled) in occupancy(core.program, core.timing, config).items():
        for time, size in zip(times.tolist(), filled.tolist(), strict=True):
            yield (
                f'{{"ph":"C","pid":{core.number},"ts":{time},"name":"{memory} bytes",'
                f'"args":{{"bytes":{size}}}}}'
            )


# --- VCD ------------------------------------------------------------------------------------------


def _comment(run: Run | Scheduled, cores: Sequence[_Core]) -> str:
    # A VCD has no way to quote, and $end would end the comment.
    name = "".join(
        c if c.isascii() and c.isprintable() and c != "$" else "_" for c in run.config.name
    )
    lines = [f"1 ns is 1 cycle of {name}, whose clock is {run.config.clock_mhz} MHz"]
    return "\n".join([*lines, *(str(core) for core in cores if core.cores > 1)])


def _pipe_changes(variables: Sequence[Any], rows: Sequence[Row]) -> Iterator[tuple[int, Any, Any]]:
    """What a pipe does in time: the changes of its variables, and those of them only."""

    def spans() -> Iterator[tuple[int, int, tuple[int, int, int | str, str]]]:
        own_waits = _own_waits(rows)
        for row in rows:
            if own := own_waits.get(row.index):
                yield row.start - own, row.start, (0, 1, row.index, row.name)
            if row.end > row.start:
                waits = row.name == "wait_flag"
                yield row.start, row.end, (int(not waits), int(waits), row.index, row.name)

    now, none = 0, (0, 0, "z", "")
    for start, end, state in spans():
        if start > now:
            yield from ((now, *change) for change in zip(variables, none, strict=True))
        yield from ((start, *change) for change in zip(variables, state, strict=True))
        now = end
    yield from ((now, *change) for change in zip(variables, none, strict=True))


def _flag_times(core: _Core) -> dict[str, list[tuple[int, int | None]]]:
    """By name, from when until when a flag is set, in the order of time."""
    rows = {row.index: row for row in core.timing.instructions if row.name.endswith("_flag")}
    return {
        f"{of}_{to}_{number}": [
            (rows[one].end, None if other is None else rows[other].end) for one, other in numbers
        ]
        for (of, to, number), numbers in sorted(_pairs(core.program).items())
    }


def _wire_changes(
    variable: Any, times: Sequence[tuple[int, int | None]]
) -> Iterator[tuple[int, Any, int]]:
    """The changes of a wire; one that falls and rises at the same time does not change."""
    fell: int | None = None
    for start, end in times:
        if start == end:
            continue
        if start != fell:
            if fell is not None:
                yield fell, variable, 0
            yield start, variable, 1
        fell = end
    if fell is not None:
        yield fell, variable, 0


# --- occupancy ------------------------------------------------------------------------------------


def occupancy(
    program: isa.Program, timing: Timing, config: UnitConfig
) -> dict[str, tuple[Numbers, Numbers]]:
    """How many bytes of L1, L0A, L0B and L0C are occupied, as the module defines it.

    Gives for each of them the cycles at which the number changes, rising, with the number from
    there on; the first is cycle 0. Bytes beyond the end of a memory are left out.

    Args:
        program: the program.
        timing: its schedule, with instructions.
        config: the unit, for the sizes of the memories.
    """
    sizes = {name: config.memory_bytes[name] for name in ("L1", "L0A", "L0B", "L0C")}
    known: dict[isa.Instruction, tuple[Access, ...]] = {}
    touched: dict[str, dict[Access, None]] = {name: {} for name in sizes}
    for i in program.instructions:
        if i.pipe and i not in known:
            known[i] = tuple(access for access in accesses(i) if access.memory in sizes)
            for access in known[i]:
                touched[access.memory][access] = None
    memories = {name: _Memory(touched[name], size) for name, size in sizes.items()}
    for row in sorted(timing.instructions, key=lambda row: (row.end, row.index)):
        for access in known.get(program.instructions[row.index], ()):
            memories[access.memory].touch(access, row.end)
    return {name: memory.occupied() for name, memory in memories.items()}


class _Memory:
    """Since when and until when each cell of a memory is occupied."""

    def __init__(self, touched: Iterable[Access], size: int) -> None:
        self._cells = Cells(touched, size=size)
        self._width: Numbers = np.diff(self._cells.edges)
        # When each cell was written and read last: it is occupied if it was read after that.
        self._written = np.full(self._width.size, _NEVER)
        self._read = np.full(self._width.size, -1)
        self._times: list[Numbers] = [np.zeros(1, np.int64)]
        self._steps: list[Numbers] = [np.zeros(1, np.int64)]
        self._kept = 0

    def touch(self, access: Access, now: int) -> None:
        """Let an instruction that ends now read or write something; its reads come first."""
        cells = self._cells.of(access)
        if access.write:
            self._close(cells)
            self._written[cells] = now
        else:
            self._read[cells] = now

    def occupied(self) -> tuple[Numbers, Numbers]:
        """The cycles at which the number of occupied bytes changes, and the number."""
        self._close(slice(None))
        self._sum_up()
        times, steps = self._times[0], self._steps[0]
        changes = steps != 0
        changes[0] = True  # cycle 0
        return times[changes], np.cumsum(steps[changes])

    def _close(self, cells: Index) -> None:
        """Count the time of cells that are written again."""
        start, end = self._written[cells], self._read[cells]
        occupied = end > start
        if not occupied.any():
            return
        width = self._width[cells][occupied]
        self._times += [start[occupied], end[occupied]]
        self._steps += [width, -width]
        self._kept += 2 * width.size
        if self._kept > _MANY:
            self._sum_up()

    def _sum_up(self) -> None:
        times, place = np.unique(np.concatenate(self._times), return_inverse=True)
        steps = np.zeros(times.size, np.int64)
        np.add.at(steps, place, np.concatenate(self._steps))
        self._times, self._steps, self._kept = [times], [steps], times.size
