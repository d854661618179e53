"""The schedule: when each instruction of a program runs, by discrete events in whole cycles.

The scalar unit issues the program in order into one queue per pipe, and stops where a queue is
full. Each pipe takes its queue in order: an instruction starts when its pipe is free and what it
waits for is there. Two things couple pipes beyond flags: MTE1 is slower while other pipes are at
work, and with UnitFlag a Fixpipe follows a Mmad block by block.

Time is counted in integers, so that the account sums exactly and a schedule can be repeated bit by
bit on any machine. Values play no part.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cube24.errors import Cube24Error
from cube24.simulator import isa
from cube24.simulator.access import accesses
from cube24.simulator.config import UnitConfig
from cube24.simulator.cost import NOTHING, Cost, Costs
from cube24.sizes import ceil_div

#: The pipe of the scalar unit in an account.
SCALAR = "S"

#: All pipes of an account.
PIPE_NAMES = (*isa.PIPES, SCALAR)

_MTE2, _MTE1, _M, _FIX = range(4)
_NEVER = 1 << 200  # beyond any time that sizes up to 2^40 can give
_PARTS = 1000  # of a cycle of MTE1's work, which other pipes slow down
#: What a pipe waits for that is no flag, in an account.
UNIT_FLAG = "unit flag (block of L0C)"
HAND_OVER = "hand-over of L1"
_UNIT = -1  # in the place of a flag: UnitFlag
_TURN = -2  # in the place of a flag: MTE2 turns to its next buffer

_WORK, _SET, _WAIT, _BARRIER, _NOTHING = range(5)

#: What a flag between two pipes says, for people.
_MEANINGS = {
    ("MTE2", "MTE1"): "L1 filled",
    ("MTE1", "MTE2"): "L1 free",
    ("MTE1", "M"): "L0 filled",
    ("M", "MTE1"): "L0 free",
    ("M", "FIX"): "L0C filled",
    ("FIX", "M"): "L0C free",
    ("MTE2", "FIX"): "parameters in L1",
    ("FIX", "MTE2"): "parameters read",
}


class ScheduleError(Cube24Error, ValueError):
    """A program that has no schedule: a flag set twice, a field that no instruction takes."""


class DeadlockError(ScheduleError):
    """A program that stops: every pipe that has something to do waits for ever.

    Attributes: stuck, pairs (pipe, number of the instruction that it waits at); queued, numbers of
    the instructions in the queues; issued, how many the scalar unit has issued.
    """

    def __init__(
        self, message: str, stuck: Sequence[tuple[str, int]], queued: Sequence[int], issued: int
    ) -> None:
        """Keep where the pipes and the scalar unit stand."""
        self.stuck, self.queued, self.issued = tuple(stuck), tuple(queued), issued
        super().__init__(message)


@dataclass(frozen=True)
class PipeAccount:
    """What a pipe did, in cycles; busy + waiting + idle is the total.

    busy: it ran an instruction. waiting: its next instruction had been issued and waited for a
    flag. idle: there was nothing for it to do. heads: the part of busy that went into heads;
    slowed: the part that other pipes cost it. waits: waiting by what it waited for, such as
    ``MTE2>MTE1#0 (L1 filled)``.

    The scalar unit, S, is busy while it issues and waits while the queue of a pipe is full.
    """

    busy: int
    waiting: int
    idle: int
    heads: int
    slowed: int
    waits: Mapping[str, int]

    def __add__(self, other: PipeAccount) -> PipeAccount:
        """Two accounts as one."""
        waits = Counter(self.waits)
        waits.update(other.waits)
        return PipeAccount(
            self.busy + other.busy,
            self.waiting + other.waiting,
            self.idle + other.idle,
            self.heads + other.heads,
            self.slowed + other.slowed,
            dict(sorted(waits.items())),
        )


@dataclass(frozen=True, slots=True)
class Row:
    """One instruction in time, in cycles.

    index: its number in the program. issued: when the scalar unit had put it into the queue.
    start: when it began, after waiting; end: when it was done; end - start = head + work + slowed.
    waited: how long its pipe waited directly before it; cause: for what, most of that time. Flags
    and barriers take no time of their own: a wait_flag lasts as long as it waits.
    """

    index: int
    name: str
    pipe: str
    issued: int
    start: int
    end: int
    head: int
    work: int
    slowed: int
    waited: int
    cause: str


@dataclass(frozen=True)
class Timing:
    """The schedule of a program: total cycles, the account of each pipe, and all instructions.

    ``instructions`` is empty where they were not asked for.
    """

    cycles: int
    pipes: Mapping[str, PipeAccount]
    instructions: tuple[Row, ...] = ()


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
    compiler = Compiler(costs or Costs(config), _unit_block(program.instructions))
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


def _unit_block(instructions: Iterable[isa.Instruction]) -> int:
    """The bytes of L0C that unit flags are counted in.

    Both unit flags of a fractal of results change together, where all of them are aligned.
    """
    for i in instructions:
        if isinstance(i, (isa.Mmad, isa.Fixpipe)) and i.unit_flag and _result(i) % isa.C_FRACTAL:
            return isa.UNIT_BLOCK
    return isa.C_FRACTAL


def _result(i: isa.Mmad | isa.Fixpipe) -> int:
    """Where the results of an instruction stand in L0C."""
    return i.c if isinstance(i, isa.Mmad) else i.src


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
    seen: dict[tuple[State, int], tuple[State, _Totals]] = {}
    kept: dict[int, tuple[Op, ...]] = {}  # while it is kept, no other segment has its id
    total = _Totals()
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


# --- operations -----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False, slots=True)
class Op:
    """What the schedule needs to know of an instruction. A compiler makes equal ones one object."""

    kind: int
    pipe: int
    cost: Cost = NOTHING
    flag: int = 0
    unit: int = 0  # UnitFlag: 0, 2 or 3
    first: int = 0  # its first block of L0C
    blocks: int = 0


class Compiler:
    """Turns instructions into operations; unit flags are counted in ``block`` bytes of L0C."""

    def __init__(self, costs: Costs, block: int = isa.C_FRACTAL) -> None:
        """Start with no operation known."""
        self._costs, self._block = costs, block
        self._known: dict[tuple[Any, ...], Op] = {}

    def compile(self, instructions: Iterable[isa.Instruction]) -> tuple[Op, ...]:
        """The operations of instructions, of which ``isa.problem`` has nothing to say."""
        found, known = [], self._known
        for instruction in instructions:
            key = self._key(instruction)
            op = known.get(key)
            if op is None:
                op = known[key] = Op(*key)
            found.append(op)
        return tuple(found)

    def _key(self, i: isa.Instruction) -> tuple[Any, ...]:
        if isinstance(i, (isa.SetFlag, isa.WaitFlag)):
            of, to = isa.PIPES.index(i.of), isa.PIPES.index(i.to)
            flag = (of * 4 + to) * isa.FLAG_IDS + i.id
            return (_SET, of, NOTHING, flag) if i.name == "set_flag" else (_WAIT, to, NOTHING, flag)
        if isinstance(i, isa.Barrier):
            return (_BARRIER, isa.PIPES.index(i.on))
        pipe, cost = isa.PIPES.index(i.pipe), self._costs.of(i)
        if cost is NOTHING:
            return (_NOTHING, pipe)
        if isinstance(i, (isa.Mmad, isa.Fixpipe)) and i.unit_flag:
            at, size = _result(i), ceil_div(i.m, 16) * ceil_div(i.n, 16) * isa.C_FRACTAL
            first = at // self._block
            blocks = ceil_div(at + size, self._block) - first
            return (_WORK, pipe, cost, 0, i.unit_flag, first, blocks)
        return (_WORK, pipe, cost)


def flag_name(flag: int) -> str:
    """A flag for people, such as ``MTE2>MTE1#0 (L1 filled)``, and what else a pipe waits for."""
    if flag < 0:
        return UNIT_FLAG if flag == _UNIT else HAND_OVER
    of, to = isa.PIPES[flag // isa.FLAG_IDS // 4], isa.PIPES[flag // isa.FLAG_IDS % 4]
    meaning = _MEANINGS.get((of, to))
    return f"{of}>{to}#{flag % isa.FLAG_IDS}" + (f" ({meaning})" if meaning else "")


# --- the account ----------------------------------------------------------------------------------


class _Totals:
    """Cycles counted so far."""

    def __init__(self) -> None:
        self.now = 0
        self.busy, self.heads, self.slowed = [0] * 4, [0] * 4, [0] * 4
        self.waits: list[Counter[int]] = [Counter() for _ in range(4)]
        self.issuing = 0
        self.full: Counter[int] = Counter()

    def add(self, other: _Totals) -> None:
        self.now += other.now
        for mine, its in (
            (self.busy, other.busy), (self.heads, other.heads), (self.slowed, other.slowed),
        ):  # fmt: skip
            for pipe in range(4):
                mine[pipe] += its[pipe]
        for pipe in range(4):
            self.waits[pipe].update(other.waits[pipe])
        self.issuing += other.issuing
        self.full.update(other.full)

    def accounts(self, cycles: int) -> dict[str, PipeAccount]:
        found = {}
        for pipe, name in enumerate(isa.PIPES):
            waits = {flag_name(flag): time for flag, time in self.waits[pipe].items() if time}
            waiting, busy = sum(waits.values()), self.busy[pipe]
            found[name] = PipeAccount(
                busy, waiting, cycles - busy - waiting, self.heads[pipe], self.slowed[pipe],
                dict(sorted(waits.items())),
            )  # fmt: skip
        full = {f"queue of {isa.PIPES[pipe]} full": n for pipe, n in sorted(self.full.items()) if n}
        waiting = sum(full.values())
        idle = cycles - self.issuing - waiting
        found[SCALAR] = PipeAccount(self.issuing, waiting, idle, 0, 0, full)
        return found


# --- the pipes ------------------------------------------------------------------------------------

State = tuple[Any, ...]


class Scheduler:
    """The pipes of one core, and the time.

    ``feed`` gives it more of a program and runs until the scalar unit has issued all of it;
    ``finish`` runs to the end. Between two feeds, ``state`` is all that the future depends on, with
    times relative to now, and a scheduler can be made from it.
    """

    def __init__(self, config: UnitConfig, state: State = (), *, rows: bool = False) -> None:
        """Start at cycle 0, empty or in a state. rows: keep a record of each instruction."""
        self._config = config
        trip = config.flag_cycles
        # The way of the data takes the longer half of an odd round trip.
        self._latency = [
            (trip + 1) // 2 if flag // isa.FLAG_IDS // 4 < flag // isa.FLAG_IDS % 4 else trip // 2
            for flag in range(16 * isa.FLAG_IDS)
        ]
        slow_m, slow_mte2 = config.mte1_slow_m, config.mte1_slow_mte2
        # Parts of a cycle's work that MTE1 does in a cycle: [M at work][MTE2 at work].
        self._speeds = [
            [max(1, _PARTS * 100 // (100 + slow)) for slow in (own, own + slow_mte2)]
            for own in (0, slow_m)
        ]
        self.now = self._began = 0
        self._queues: list[deque[tuple[Op, int, int]]] = [deque() for _ in range(4)]
        self._next = [_NEVER] * 4  # when a pipe has something to do
        self._running: list[Op | None] = [None] * 4
        self._last = [-_NEVER] * 4  # end of the last work
        self._stream = [""] * 4  # what it belonged to
        self._since = [-1] * 4  # when the pipe began to wait for its next instruction, or -1
        self._flags: dict[int, int] = {}  # from when a set flag is seen
        self._turned = 0  # when MTE2 can begin to fill its next buffer
        self._filled: dict[int, int] = {}  # from when blocks of L0C hold a result
        self._cleared: dict[int, int] = {}  # from when they are free again
        # MTE1's running instruction: parts of its work that are left from a cycle on, and when it
        # would end if no other pipe slowed it down.
        self._parts = self._from = self._planned = 0
        self._stream_in: deque[Op] = deque()  # what the scalar unit has before it
        self._number = 0
        self._issued = -config.issue_cycles
        self._full = -1  # the pipe whose full queue stops the scalar unit, or -1
        self._end = 0
        self.total = _Totals()
        self.rows: list[tuple[int, int, int, int, int, int, int, int, int, int]] | None = (
            [] if rows else None
        )
        self._open = [(0, 0, 0, 0)] * 4  # number, issued, start, head of what runs
        self._waited: list[Counter[int]] = [Counter() for _ in range(4)]
        if state:
            self._restore(state)

    def feed(self, ops: Iterable[Op]) -> None:
        """Give more of the program, and run until all of it is issued.

        Raises:
            ScheduleError, DeadlockError: as for :func:`schedule`.
        """
        self._stream_in.extend(ops)
        self._issue()
        while self._stream_in:
            self._step()

    def finish(self) -> int:
        """Run to the end; gives the cycle after the last one.

        Raises:
            ScheduleError, DeadlockError: as for :func:`schedule`.
        """
        while any(self._queues) or any(self._running):
            self._step()
        # The scalar unit may be the last that has something to do.
        self._end = max(self._end, self._issued + self._config.issue_cycles)
        return self._end

    def _step(self) -> None:
        times = self._next
        self.now = now = min(times)
        if now == _NEVER:
            raise self._deadlock()
        for pipe in range(4):
            if times[pipe] == now:
                self._advance(pipe)

    def _issue(self) -> None:
        """Let the scalar unit put into the queues what they take."""
        depth, step, ops = self._config.queue_depth, self._config.issue_cycles, self._stream_in
        while ops:
            pipe = ops[0].pipe
            queue = self._queues[pipe]
            if len(queue) >= depth:
                self._full = pipe
                return
            at = self._issued + step
            if self._full >= 0:
                if self.now > at:
                    self.total.full[self._full] += self.now - at
                    at = self.now
                self._full = -1
            self._issued = at
            self.total.issuing += step
            if not queue and self._running[pipe] is None:
                self._next[pipe] = at if at > self.now else self.now
            queue.append((ops.popleft(), at, self._number))
            self._number += 1

    def _advance(self, pipe: int) -> None:
        """Let a pipe do all that it can do now."""
        if self._running[pipe] is not None:
            self._complete(pipe)
        queue, now = self._queues[pipe], self.now
        while queue:
            op, issued, number = queue[0]
            if issued > now:
                self._next[pipe] = issued
                return
            kind = op.kind
            if kind == _WORK:
                at = self._turned if pipe == _MTE2 else now
                if op.unit:
                    at = self._free_from(op) if pipe == _M else self._filled_from(op)
                if at > now:
                    self._wait(pipe, at)
                    return
                self._start(pipe, op, issued, number)
                return
            if kind == _WAIT:
                at = self._flags.get(op.flag, _NEVER)
                if at > now:
                    self._wait(pipe, at)
                    return
                del self._flags[op.flag]
            elif kind == _SET:
                self._set_flag(op.flag, number)
            elif kind == _BARRIER:
                self._last[pipe] = -_NEVER  # the pipe runs dry before it goes on
            since = self._waiting_ends(pipe, op.flag)
            queue.popleft()
            if now > self._end:
                self._end = now
            if self.rows is not None:
                times = (issued, since, now, 0, 0, 0, now - since)
                self.rows.append((number, pipe, *times, op.flag))
            if self._full == pipe:
                self._issue()
        self._next[pipe] = _NEVER

    def _wait(self, pipe: int, until: int) -> None:
        self._next[pipe] = until
        if self._since[pipe] < 0:
            self._since[pipe] = self.now

    def _waiting_ends(self, pipe: int, flag: int) -> int:
        """Book how long a pipe waited; gives since when."""
        since = self._since[pipe]
        if since < 0:
            return self.now
        self._since[pipe] = -1
        self.total.waits[pipe][flag] += self.now - since
        self._waited[pipe][flag] += self.now - since
        return since

    def _set_flag(self, flag: int, number: int) -> None:
        if flag in self._flags:
            raise ScheduleError(
                f"instruction {number}: flag {flag_name(flag)} is set already, and nobody has "
                f"waited for it"
            )
        at = self._flags[flag] = self.now + self._latency[flag]
        of, to = flag // isa.FLAG_IDS // 4, flag // isa.FLAG_IDS % 4
        if of == _MTE2 and to == _MTE1:
            self._turned = self.now + self._config.handover_cycles
        if self._since[to] >= 0 and self._awaited(to) == flag:
            self._next[to] = at

    def _awaited(self, pipe: int) -> int:
        """What a waiting pipe waits for."""
        op = self._queues[pipe][0][0]
        if op.kind == _WAIT:
            return op.flag
        return _TURN if pipe == _MTE2 else _UNIT

    def _start(self, pipe: int, op: Op, issued: int, number: int) -> None:
        now, cost = self.now, op.cost
        self._waiting_ends(pipe, _TURN if pipe == _MTE2 else _UNIT)
        self._queues[pipe].popleft()
        if now - self._last[pipe] >= cost.gap:
            head = cost.head
        elif cost.stream and cost.stream == self._stream[pipe]:
            head = cost.more
        else:
            head = cost.behind
        self._stream[pipe] = cost.stream
        self.total.heads[pipe] += head
        self.total.busy[pipe] += head + cost.work
        self._open[pipe] = (number, issued, now, head)
        if pipe == _MTE1:
            self._parts, self._from = cost.work * _PARTS, now + head
            self._planned = self._from + cost.work
            self._running[pipe] = op
            self._slow_down()
        else:
            self._next[pipe] = now + head + cost.work
            self._settle()
            self._running[pipe] = op
            self._slow_down()
        if op.unit == 3:
            self._hand_over(pipe, op, now + head)
        if self._full == pipe:
            self._issue()

    def _complete(self, pipe: int) -> None:
        op, now = self._running[pipe], self.now
        assert op is not None
        slowed = 0
        if pipe == _MTE1:
            slowed = now - self._planned
            self.total.slowed[pipe] += slowed
            self.total.busy[pipe] += slowed
            self._running[pipe] = None
        else:
            self._settle()
            self._running[pipe] = None
            self._slow_down()
        self._last[pipe] = now
        if now > self._end:
            self._end = now
        if self.rows is not None:
            number, issued, start, head = self._open[pipe]
            waits = self._waited[pipe]
            # The longest; of equally long ones the lowest, for the same table everywhere.
            cause = min(waits, key=lambda flag: (-waits[flag], flag)) if waits else 0
            times = (issued, start, now, head, op.cost.work, slowed, sum(waits.values()))
            self.rows.append((number, pipe, *times, cause))
        self._waited[pipe].clear()

    # --- MTE1 is slower while other pipes are at work ---------------------------------------------

    def _speed(self) -> int:
        return self._speeds[self._running[_M] is not None][self._running[_MTE2] is not None]

    def _settle(self) -> None:
        """Count what MTE1 did until now, before its speed changes."""
        if self._running[_MTE1] is not None and self.now > self._from:
            self._parts = max(0, self._parts - (self.now - self._from) * self._speed())
            self._from = self.now

    def _slow_down(self) -> None:
        """Find when MTE1 will be done at its present speed."""
        if self._running[_MTE1] is not None:
            self._next[_MTE1] = self._from + ceil_div(self._parts, self._speed())

    # --- UnitFlag ---------------------------------------------------------------------------------

    def _free_from(self, op: Op) -> int:
        """When a Mmad can start so that each block is free when it comes to it.

        It takes the blocks in the order of memory, all at the same pace.
        """
        if not self._filled and not self._cleared:
            return self.now
        pace, at = op.cost.work // op.blocks, self.now
        for j in range(op.blocks):
            block = op.first + j
            if block in self._filled:
                return _NEVER  # until a Fixpipe takes it
            at = max(at, self._cleared.get(block, 0) - j * pace)
        return at

    def _filled_from(self, op: Op) -> int:
        """When a Fixpipe can start so that each block holds its result when it comes to it."""
        at = self.now
        for j in range(op.blocks):
            filled = self._filled.get(op.first + j)
            if filled is None:
                return _NEVER  # until a Mmad is at it
            at = max(at, filled - op.cost.head - j * op.cost.work // op.blocks)
        return at

    def _hand_over(self, pipe: int, op: Op, at: int) -> None:
        """Note when a Mmad fills its blocks, or a Fixpipe clears them; wake who waits for that."""
        work, blocks = op.cost.work, op.blocks
        for j in range(blocks):
            block, time = op.first + j, at + ceil_div((j + 1) * work, blocks)
            if pipe == _M:
                self._filled[block] = time
                self._cleared.pop(block, None)
            else:
                self._filled.pop(block, None)
                self._cleared[block] = time
        other = _FIX if pipe == _M else _M
        if self._since[other] >= 0 and self._awaited(other) == _UNIT:
            self._next[other] = self.now

    # --- stopping and going on --------------------------------------------------------------------

    def _deadlock(self) -> DeadlockError:
        stuck = [(pipe, queue[0][2]) for pipe, queue in enumerate(self._queues) if queue]
        text = ", ".join(f"{isa.PIPES[pipe]} at instruction {number}" for pipe, number in stuck)
        return DeadlockError(
            f"the program stops: {text}",
            [(isa.PIPES[pipe], number) for pipe, number in stuck],
            [number for queue in self._queues for _, _, number in queue],
            self._number,
        )

    def state(self) -> State:
        """All that the future depends on; times are relative to now, and the past is one time."""
        now = self.now
        longest = max(1, self._config.mmad_idle_after)

        def past(time: int) -> int:
            return max(time - now, 0)

        def after(times: dict[int, int]) -> tuple[tuple[int, int], ...]:
            return tuple(sorted((key, past(time)) for key, time in times.items()))

        self._cleared = {key: time for key, time in self._cleared.items() if time > now}
        for pipe, since in enumerate(self._since):  # book the waiting until now
            if since >= 0:
                self.total.waits[pipe][self._awaited(pipe)] += now - since
                self._since[pipe] = now
        loading = self._running[_MTE1] is not None
        return (
            tuple(tuple((op, past(at)) for op, at, _ in queue) for queue in self._queues),
            tuple(time - now if time < _NEVER else _NEVER for time in self._next),
            tuple(self._running),
            tuple(max(time - now, -longest) for time in self._last),
            tuple(self._stream),
            tuple(since >= 0 for since in self._since),
            after(self._flags),
            after(self._filled),
            after(self._cleared),
            (self._parts, self._from - now, self._planned - now) if loading else (),
            max(self._issued - now, -self._config.issue_cycles),
            past(self._turned),
        )

    def _restore(self, state: State) -> None:
        queues, soon, running, last, stream, waiting, flags, filled, cleared, load, *more = state
        self._queues = [deque((op, at, 0) for op, at in queue) for queue in queues]
        self._next, self._running, self._last = list(soon), list(running), list(last)
        self._stream = list(stream)
        self._since = [0 if waits else -1 for waits in waiting]
        self._flags, self._filled, self._cleared = dict(flags), dict(filled), dict(cleared)
        if load:
            self._parts, self._from, self._planned = load
        self._issued, self._turned = more

    def take(self, *, end: bool = False) -> _Totals:
        """What was counted since the last time; end: the time runs to the end of the program."""
        now = self._end if end else self.now
        taken, self.total = self.total, _Totals()
        taken.now = now - self._began
        self._began = now
        return taken
