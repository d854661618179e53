"""The schedule: when each instruction of a program runs, in whole cycles.

The pipes are in pipes.py, what they need to know of an instruction in operations.py, and what
becomes of their cycles in account.py.
"""

from __future__ import annotations

from collections.abc import Iterable

from cube24.simulator import isa
from cube24.simulator.access import accesses
from cube24.simulator.account import Row, Timing, Totals, flag_name
from cube24.simulator.config import UnitConfig
from cube24.simulator.cost import Costs
from cube24.simulator.operations import Compiler, Op, unit_block
from cube24.simulator.pipes import DeadlockError, ScheduleError, Scheduler, State


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
    compiler = Compiler(costs or Costs(config), unit_block(program.instructions))
    ops = compiler.compile(program.instructions)
    scheduler = Scheduler(config, rows=True)
    try:
        scheduler.feed(ops)
        cycles = scheduler.finish()
    except DeadlockError as error:
        raise _explained(program, error) from None
    table = tuple(
        Row(
            number, program.instructions[number].name, isa.PIPES[pipe], issued, start, end, head,
            work, slowed, waited, flag_name(cause) if waited else "",
        )
        for number, pipe, issued, start, end, head, work, slowed, waited, cause in sorted(
            scheduler.rows or ()
        )
    )  # fmt: skip
    return Timing(cycles, scheduler.total.accounts(cycles), table)


def demand_legal(program: isa.Program) -> None:
    """Refuse what no unit can run.

    Raises:
        ScheduleError: an instruction of which ``isa.problem`` has something to say, or an address
            below 0.
    """
    legal = set()  # of which programs repeat many
    for number, instruction in enumerate(program.instructions):
        try:
            if instruction in legal:
                continue
        except TypeError:  # a field that has no hash is no number and no word
            pass
        problem = isa.problem(instruction)
        if problem is None and any(a.start < 0 for a in accesses(instruction)):
            problem = "an address is below 0"
        if problem is not None:
            raise ScheduleError(f"instruction {number} ({instruction}): {problem}")
        legal.add(instruction)


def schedule_segments(segments: Iterable[tuple[Op, ...]], config: UnitConfig) -> Timing:
    """Schedule a program that comes in segments, of which the same ones come again and again.

    What a segment does depends on the state before it and on its operations alone. Where both were
    seen before, what followed then is added without being run again; the result is that of the
    plain schedule, to the cycle.

    Raises:
        ScheduleError, DeadlockError: as for :func:`schedule`, without the explanation.
    """
    scheduler: Scheduler | None = Scheduler(config)
    assert scheduler is not None
    state = scheduler.state()
    seen: dict[tuple[State, int], tuple[State, Totals]] = {}
    kept: dict[int, tuple[Op, ...]] = {}  # while it is kept, no other segment has its id
    total = Totals()
    for ops in segments:
        kept[id(ops)] = ops
        found = seen.get((state, id(ops)))
        if found is None:
            if scheduler is None:
                scheduler = Scheduler(config, state)
            scheduler.feed(ops)
            found = seen[state, id(ops)] = (scheduler.state(), scheduler.take())
        elif scheduler is not None:
            scheduler = None
        state, step = found
        total.add(step)
    last = scheduler or Scheduler(config, state)
    last.finish()
    total.add(last.take(end=True))
    return Timing(total.now, total.accounts(total.now))


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
