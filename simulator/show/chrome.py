"""Chrome trace events for ui.perfetto.dev and chrome://tracing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import chain

from cube24.errors import StrPath
from cube24.simulator import isa
from cube24.simulator.account import HAND_OVER, PIPE_NAMES, SCALAR, UNIT_FLAG
from cube24.simulator.config import UnitConfig
from cube24.simulator.run import Run
from cube24.simulator.show.cores import (
    TEXTS,
    Core,
    Scheduled,
    cores_of,
    flag_pairs,
    own_waits,
    text_file,
)
from cube24.simulator.show.occupancy import occupied_bytes

# Threads of a Chrome trace. Viewers take a thread with the number of its process for its main one,
# so these are no numbers of cores.
_THREADS = {name: 1_000_001 + place for place, name in enumerate(PIPE_NAMES)}


def perfetto(run: Run | Scheduled, *, scalar: bool = False) -> str:
    """Chrome trace events as JSON, for ui.perfetto.dev and chrome://tracing.

    A process is a core and has its number; a thread is a pipe. The format counts microseconds: one
    of them is one cycle here, and ``otherData`` has the clock. Each instruction is a complete event
    (X) with its number in ``args``; its category is ``work``, ``flag`` for flags and barriers,
    which take no time, or ``wait`` for a wait_flag that took time. What an instruction waited for
    without a flag (unit flags, the hand-over of L1) is an X of category ``wait`` directly before
    it, without a number. A flow leads from each set_flag to the end of the wait_flag that took it.
    Counters (C) tell how many bytes of a buffer are occupied, as occupancy.py defines it.

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
    with text_file(path, overwrite) as file:
        file.writelines(_chrome(run, scalar))


def _chrome(run: Run | Scheduled, scalar: bool) -> Iterator[str]:
    config = run.config
    cycles = run.timing.cycles if isinstance(run, Scheduled) else run.cycles
    other = {
        "generator": "cube24", "unit": config.name, "time": "1 us of this trace is 1 cycle",
        "clock_mhz": config.clock_mhz, "cycles": cycles,
    }  # fmt: skip
    yield f'{{"displayTimeUnit":"ms","otherData":{json.dumps(other)},"traceEvents":['
    before, flows = "\n", 0
    for core in cores_of(run):
        pairs = sorted(
            (one, other)
            for numbers in flag_pairs(core.program).values()
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


def _names(core: Core, scalar: bool) -> Iterator[str]:
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


def _complete(core: Core, pipe: str, start: int, end: int) -> str:
    """The beginning of a complete event."""
    return (
        f'{{"ph":"X","pid":{core.number},"tid":{_THREADS[pipe]},"ts":{start},"dur":{end - start},'
    )


def _issues(core: Core, config: UnitConfig) -> Iterator[str]:
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


def _events(core: Core, ids: Mapping[int, int]) -> Iterator[str]:
    """Instructions, waits and flows, in program order: for each pipe, in the order of time."""

    def text(instruction: isa.Instruction) -> str:
        return json.dumps(str(instruction))

    text = lru_cache(TEXTS)(text)
    waited, instructions = own_waits(core.timing.instructions), core.program.instructions
    for r in core.timing.instructions:
        instruction = instructions[r.index]
        if own := waited.get(r.index):
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


def _counters(core: Core, config: UnitConfig) -> Iterator[str]:
    for memory, (times, filled) in occupied_bytes(core.program, core.timing, config).items():
        for time, size in zip(times.tolist(), filled.tolist(), strict=True):
            yield (
                f'{{"ph":"C","pid":{core.number},"ts":{time},"name":"{memory} bytes",'
                f'"args":{{"bytes":{size}}}}}'
            )
