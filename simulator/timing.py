"""The schedule: when each instruction of a program runs, in whole cycles.

The pipes are in pipes.py, what they need to know of an instruction in operations.py, and what
becomes of their cycles in account.py.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import cast

from cube24.simulator import isa
from cube24.simulator.access import accesses
from cube24.simulator.account import Row, Timing
from cube24.simulator.config import UnitConfig
from cube24.simulator.cost import Costs
from cube24.simulator.operations import Compiler, unit_block
from cube24.simulator.pipes import DeadlockError, Pipes, ScheduleError


def schedule(program: isa.Program, config: UnitConfig, costs: Costs | None = None) -> Timing:
    """Schedule a program on one core.

    Args:
        program: any program; its values are not looked at, nor where its bytes stand.
        config: the unit.
        costs: what instructions cost; None: as on a unit whose other cores are idle.

    Raises:
        ScheduleError: an instruction that no unit can run, or a flag that is set twice.
        DeadlockError: the program stops; the message says which pipe waits for what, and why.
    """
    demand_legal(program)
    compiler = Compiler(costs or Costs(config), unit_block(_distinct(program)))
    ops = compiler.compile(program.instructions)
    pipes, rows = Pipes(config), cast(list[Row], [None] * len(ops))
    try:
        pipes.run(ops, to_end=True, rows=rows)
    except DeadlockError as error:
        raise _explained(program, error) from None
    return pipes.take(end=True).timing(tuple(rows))


def demand_legal(program: isa.Program) -> None:
    """Refuse what no unit can run.

    Raises:
        ScheduleError: an instruction of which ``isa.problem`` has something to say, or an address
            below 0.
    """
    for instruction in _distinct(program):
        problem = isa.problem(instruction)
        if problem is None:
            # Where no field is below 0, no address is.
            below = [v for v in vars(instruction).values() if type(v) is int and v < 0]
            if below and any(a.start < 0 for a in accesses(instruction)):
                problem = "an address is below 0"
        if problem is not None:
            number = next(n for n, i in enumerate(program.instructions) if i is instruction)
            raise ScheduleError(f"instruction {number} ({instruction}): {problem}")


def _distinct(program: isa.Program) -> Collection[isa.Instruction]:
    """Its instructions, of which programs repeat the same objects, each once and in order."""
    return {id(i): i for i in program.instructions}.values()


def _explained(program: isa.Program, error: DeadlockError) -> DeadlockError:
    """The same error, saying for each pipe why what it waits for does not come."""
    lines, waiting = ["the program stops for ever:"], set(error.queued)
    for pipe, number in error.stuck:
        i = program.instructions[number]
        text = f"  {pipe} stands at instruction {number} ({i}): "
        if not isinstance(i, isa.WaitFlag):
            lines.append(text + "its unit flags do not come")
            continue
        sets = [
            other
            for other, j in enumerate(program.instructions)
            if isinstance(j, isa.SetFlag)
            and (j.of, j.to, j.id) == (i.of, i.to, i.id)
            and (other in waiting or other >= error.issued)
        ]
        if not sets:
            lines.append(text + "nothing that is still to come sets this flag")
        elif sets[0] in waiting:
            lines.append(text + f"instruction {sets[0]} sets it, behind what {i.of} stands at")
        else:
            lines.append(
                text + f"instruction {sets[0]} sets it, which was not issued, because a queue is "
                f"full before instruction {error.issued}"
            )
    return DeadlockError("\n".join(lines), error.stuck, error.queued, error.issued)
