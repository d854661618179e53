"""The pipes of one core in time, by discrete events in whole cycles.

The scalar unit issues the program in order into one queue per pipe, and stops where a queue is
full. Each pipe takes its queue in order: an instruction starts when its pipe is free and what it
waits for is there. Two things couple pipes beyond flags: MTE1 is slower while other pipes are at
work, and with UnitFlag a Fixpipe follows a Mmad block by block.

Time is counted in integers, so that the account sums exactly and a schedule can be repeated bit by
bit on any machine. Values play no part.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from typing import Any

from cube24.errors import Cube24Error
from cube24.simulator import isa
from cube24.simulator.account import TURN, UNIT, Totals, flag_name
from cube24.simulator.config import UnitConfig
from cube24.simulator.operations import BARRIER, SET, WAIT, WORK, Op
from cube24.sizes import ceil_div

_MTE2, _MTE1, _M, _FIX = range(4)
_NEVER = 1 << 200  # beyond any time that sizes up to 2^40 can give
_PARTS = 1000  # of a cycle of MTE1's work, which other pipes slow down


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
        self.total = Totals()
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
            if kind == WORK:
                at = self._turned if pipe == _MTE2 else now
                if op.unit:
                    at = self._free_from(op) if pipe == _M else self._filled_from(op)
                if at > now:
                    self._wait(pipe, at)
                    return
                self._start(pipe, op, issued, number)
                return
            if kind == WAIT:
                at = self._flags.get(op.flag, _NEVER)
                if at > now:
                    self._wait(pipe, at)
                    return
                del self._flags[op.flag]
            elif kind == SET:
                self._set_flag(op.flag, number)
            elif kind == BARRIER:
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
        if op.kind == WAIT:
            return op.flag
        return TURN if pipe == _MTE2 else UNIT

    def _start(self, pipe: int, op: Op, issued: int, number: int) -> None:
        now, cost = self.now, op.cost
        self._waiting_ends(pipe, TURN if pipe == _MTE2 else UNIT)
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
        if self._since[other] >= 0 and self._awaited(other) == UNIT:
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

    def take(self, *, end: bool = False) -> Totals:
        """What was counted since the last time; end: the time runs to the end of the program."""
        now = self._end if end else self.now
        taken, self.total = self.total, Totals()
        taken.now = now - self._began
        self._began = now
        return taken
