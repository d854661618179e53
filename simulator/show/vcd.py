"""Value change dumps of a schedule, for GTKWave and the like (extra ``trace``)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from heapq import merge
from typing import Any

from cube24.errors import StrPath
from cube24.extras import need
from cube24.simulator import isa
from cube24.simulator.account import Row
from cube24.simulator.run import Run
from cube24.simulator.show.cores import (
    Core,
    Scheduled,
    by_pipe,
    cores_of,
    flag_pairs,
    own_waits,
    text_file,
)


def demand_vcd() -> Any:
    """The package that writes VCD.

    Raises:
        MissingExtraError: pyvcd is not there.
    """
    return need("vcd", "trace", "writing VCD")


def write_vcd(run: Run | Scheduled, path: StrPath, *, overwrite: bool = False) -> None:
    """Write a value change dump, for GTKWave and the like; it takes the extra ``trace``.

    One cycle is 1 ns, since a VCD has no other unit near the period of the clock; the comment tells
    the clock. A scope is a core, and in it each pipe has ``busy`` (it runs an instruction that
    takes time), ``waiting``, ``number`` of the instruction that it runs or waits at (z for none),
    ``opcode``, its name as a string of GTKWave, and ``code``, the place of its name among
    isa.INSTRUCTIONS, for readers that drop strings. Beside them stands each field of its
    instructions that is a number, by its name, such as ``dst``, ``m`` and ``k``: z where the
    instruction has none of that name. Flags are wires such as ``MTE2_MTE1_0``: 1 from
    the set_flag until the wait_flag ends. Only flags that the program sets are there.

    Raises:
        MissingExtraError: pyvcd is not there.
        FileAccessError: the file is there already, or the system refuses.
        ScheduleError: the run has more than chip.PROGRAM_LIMIT instructions.
    """
    vcd = demand_vcd()
    with text_file(path, overwrite) as file:
        cores = list(cores_of(run))
        writer = vcd.VCDWriter(
            file, timescale="1 ns", date="", version="cube24", comment=_comment(run, cores)
        )
        changes = []
        for core in cores:
            scope = f"core{core.number}"
            rows = by_pipe(core.timing.instructions)
            for pipe in isa.PIPES:
                operands = _operands(core, rows[pipe])
                variables = [
                    writer.register_var((scope, pipe), name, kind, size, init)
                    for name, kind, size, init in (
                        ("busy", "wire", 1, 0), ("waiting", "wire", 1, 0),
                        ("number", "reg", 32, "z"), ("opcode", "string", None, ""),
                        ("code", "reg", 8, "z"), *((name, "reg", 64, "z") for name in operands),
                    )
                ]  # fmt: skip
                changes.append(_pipe_changes(variables, rows[pipe], core, operands))
            changes += [
                _wire_changes(writer.register_var((scope, "flags"), name, "wire", 1, 0), times)
                for name, times in _flag_times(core).items()
            ]
        for time, variable, value in merge(*changes, key=lambda change: change[0]):
            writer.change(variable, time, value)
        writer.close(max((core.timing.cycles for core in cores), default=0))


def _comment(run: Run | Scheduled, cores: Sequence[Core]) -> str:
    # A VCD has no way to quote, and $end would end the comment.
    name = "".join(
        c if c.isascii() and c.isprintable() and c != "$" else "_" for c in run.config.name
    )
    lines = [f"1 ns is 1 cycle of {name}, whose clock is {run.config.clock_mhz} MHz"]
    return "\n".join([*lines, *(str(core) for core in cores if core.cores > 1)])


#: The number of each instruction by its name.
_CODES = {name: number for number, name in enumerate(isa.INSTRUCTIONS)}


#: The fields of each instruction that are numbers.
_NUMBERS = {
    kind: tuple(spec.name for spec in fields(kind) if spec.type in ("int", int))
    for kind in isa.INSTRUCTIONS.values()
}


def _operands(core: Core, rows: Sequence[Row]) -> tuple[str, ...]:
    """The names of all numbers in the instructions of a pipe, in the order in which they come."""
    kinds = dict.fromkeys(type(core.program.instructions[row.index]) for row in rows)
    return tuple(dict.fromkeys(name for kind in kinds for name in _NUMBERS[kind]))


#: The values of the variables of a pipe.
_State = tuple[int | str, ...]


def _pipe_changes(
    variables: Sequence[Any], rows: Sequence[Row], core: Core, operands: Sequence[str]
) -> Iterator[tuple[int, Any, Any]]:
    """What a pipe does in time: the changes of its variables, and those of them only."""

    def state_of(row: Row, waits: bool) -> _State:
        instruction = core.program.instructions[row.index]
        has = _NUMBERS[type(instruction)]
        numbers = (getattr(instruction, name) if name in has else "z" for name in operands)
        return (int(not waits), int(waits), row.index, row.name, _CODES[row.name], *numbers)

    def spans() -> Iterator[tuple[int, int, _State]]:
        waited = own_waits(rows)
        for row in rows:
            if own := waited.get(row.index):
                yield row.start - own, row.start, state_of(row, True)
            if row.end > row.start:
                yield row.start, row.end, state_of(row, row.name == "wait_flag")

    now = 0
    none: _State = (0, 0, "z", "", *("z" for _ in variables[4:]))
    for start, end, state in spans():
        if start > now:
            yield from ((now, *change) for change in zip(variables, none, strict=True))
        yield from ((start, *change) for change in zip(variables, state, strict=True))
        now = end
    yield from ((now, *change) for change in zip(variables, none, strict=True))


def _flag_times(core: Core) -> dict[str, list[tuple[int, int | None]]]:
    """By name, from when until when a flag is set, in the order of time."""
    rows = {row.index: row for row in core.timing.instructions if row.name.endswith("_flag")}
    return {
        f"{of}_{to}_{number}": [
            (rows[one].end, None if other is None else rows[other].end) for one, other in numbers
        ]
        for (of, to, number), numbers in sorted(flag_pairs(core.program).items())
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
