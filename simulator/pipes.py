"""The pipes of one core in time, by discrete events in whole cycles.

The scalar unit issues the program in order into one queue per pipe, and stops where a queue is
full. Each pipe takes its queue in order: an instruction starts when its pipe is free and what it
waits for is there. Two things couple pipes beyond flags: MTE1 is slower while other pipes are at
work, and with UnitFlag a Fixpipe follows a Mmad block by block.

Time is counted in integers, so that the account sums exactly and a schedule can be repeated bit by
bit on any machine. Values play no part.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from cube24.errors import Cube24Error
from cube24.simulator import isa
from cube24.simulator.account import TURN, UNIT, Counts, Row, flag_name, row_of
from cube24.simulator.config import UnitConfig
from cube24.simulator.operations import BARRIER, SET, WAIT, WORK, Op
from cube24.sizes import ceil_div

_MTE2, _MTE1, _M, _FIX = range(4)
_NEVER = 1 << 200  # beyond any time that sizes up to 2^40 can give
_PARTS = 1000  # of a cycle of MTE1's work, which other pipes slow down

#: All that the future of a core depends on.
State = tuple[Any, ...]


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


class Pipes:
    """The pipes of one core, and the time.

    ``run`` gives them more of a program and runs until the scalar unit has issued all of it, or to
    the end. Between two runs, ``state`` is all that the future depends on, with times relative to
    now, and pipes can be made from it.
    """

    def __init__(self, config: UnitConfig, state: State = ()) -> None:
        """Start at cycle 0, empty or in a state."""
        self._config = config
        slow_m, slow_mte2 = config.mte1_slow_m, config.mte1_slow_mte2
        # Parts of a cycle's work that MTE1 does in a cycle: [M at work][MTE2 at work].
        self._speeds = [
            [max(1, _PARTS * 100 // (100 + slow)) for slow in (own, own + slow_mte2)]
            for own in (0, slow_m)
        ]
        self._now = self._began = 0
        # Of each pipe: what was issued to it, as (operation, cycle of issue, number); the cycle in
        # which it has something to do; what runs; the end of the last work, and what it belonged
        # to; what it waits for, and since when.
        self._queues: list[deque[tuple[Op, int, int]]] = [deque() for _ in range(4)]
        self._times = [_NEVER] * 4
        self._running: list[Op | None] = [None] * 4
        self._ended = [-_NEVER] * 4
        self._streams = [""] * 4
        self._awaits: list[int | None] = [None] * 4
        self._since = [0] * 4
        self._flags: dict[int, int] = {}  # from when a set flag is seen
        self._turned = 0  # when MTE2 can begin to fill its next buffer
        self._filled: dict[int, int] = {}  # from when blocks of L0C hold a result
        self._cleared: dict[int, int] = {}  # from when they are free again
        # MTE1's running instruction: parts of its work that are left from a cycle on, and when it
        # would end if no other pipe slowed it down.
        self._load = (0, 0, 0)
        self._issued = -config.issue_cycles
        self._counts = Counts()
        if state:
            self._restore(state)

    def run(
        self, ops: Sequence[Op], *, to_end: bool = False, rows: list[Row] | None = None
    ) -> None:
        """Give more of the program, and run until all of it is issued, or to the end.

        Args:
            ops: the next operations.
            to_end: whether it is the end of the program.
            rows: where to put a record of each instruction, as many as there are ops.

        Raises:
            ScheduleError: a flag that is set twice.
            DeadlockError: the program stops.
        """
        # All that the loop needs is a local variable: nearly all time of a schedule is spent here.
        config, counts = self._config, self._counts
        depth, step, handover = config.queue_depth, config.issue_cycles, config.handover_cycles
        speeds, queues, times = self._speeds, self._queues, self._times
        running, ended, streams = self._running, self._ended, self._streams
        awaits, since, flags = self._awaits, self._since, self._flags
        busy, heads, waits, stalls = counts.busy, counts.heads, counts.waits, counts.stalls
        now, issued, turned = self._now, self._issued, self._turned
        parts, begun, planned = self._load
        speed = speeds[running[_M] is not None][running[_MTE2] is not None]
        count, position, full = len(ops), 0, -1  # full: the pipe at whose queue the scalar unit is
        waited: list[list[tuple[int, int]]] = [[], [], [], []]  # since the last work: how long, why
        names = isa.PIPES
        loading = (0, 0, 0, 0, 0, "")  # what is known of the row of MTE1's running instruction
        can_issue = True
        while True:
            if can_issue:
                can_issue = False
                if full >= 0 and now > issued + step:
                    stalls[full] += now - issued - step
                    issued = now - step
                full = -1
                while position < count:
                    op = ops[position]
                    pipe = op.pipe
                    queue = queues[pipe]
                    if len(queue) >= depth:
                        full = pipe
                        break
                    issued += step
                    if not queue and running[pipe] is None:
                        times[pipe] = issued if issued > now else now
                    queue.append((op, issued, position))
                    position += 1
            if position == count and not to_end:
                break
            first = min(times)
            if first == _NEVER:
                if position == count and not any(queues):
                    break
                raise self._deadlock(position)
            now = first
            pipe = times.index(now)
            queue = queues[pipe]

            done = running[pipe]
            if done is not None:
                running[pipe] = None
                ended[pipe] = now
                if pipe == _MTE1:
                    slowed = now - planned
                    counts.slowed += slowed
                    busy[pipe] += slowed
                    if rows is not None:
                        number, at, start, head, wait, cause = loading
                        rows[number] = row_of((
                            number, done.name, "MTE1", at, start, now, head, done.work, slowed,
                            wait, cause,
                        ))  # fmt: skip

            while queue:
                op, at, number = queue[0]
                if at > now:
                    times[pipe] = at
                    break
                kind = op.kind
                if kind == WORK:
                    # When it can start, and what it waits for until then.
                    if op.unit:
                        ready, reason = self._unit_ready(op, now), UNIT
                    elif pipe == _MTE2:
                        ready, reason = turned, TURN
                    else:
                        ready, reason = now, 0
                elif kind == WAIT:
                    reason = op.flag
                    ready = flags.get(reason, _NEVER)
                else:
                    ready, reason = now, 0
                if ready > now:
                    times[pipe] = ready
                    if awaits[pipe] is None:
                        awaits[pipe], since[pipe] = reason, now
                    break
                queue.popleft()
                start = now
                if awaits[pipe] is not None:
                    awaits[pipe], start = None, since[pipe]
                    waits[pipe][reason] = waits[pipe].get(reason, 0) + now - start
                    if rows is not None and now > start:
                        waited[pipe].append((now - start, reason))

                if kind == WORK:
                    if now - ended[pipe] >= op.gap:
                        head = op.head
                    elif op.stream and op.stream == streams[pipe]:
                        head = op.more
                    else:
                        head = op.behind
                    streams[pipe] = op.stream
                    running[pipe] = op
                    end = now + head + op.work
                    heads[pipe] += head
                    busy[pipe] += end - now
                    times[pipe] = end
                    if rows is not None:
                        wait, cause = _longest(waited[pipe]) if waited[pipe] else (0, "")
                        if pipe == _MTE1:
                            loading = (number, at, now, head, wait, cause)
                        else:
                            rows[number] = row_of((
                                number, op.name, names[pipe], at, now, end, head, op.work, 0, wait,
                                cause,
                            ))  # fmt: skip
                    if pipe == _MTE1:
                        parts, begun, planned = op.work * _PARTS, now + head, end
                        times[pipe] = begun - -parts // speed
                    if op.unit == 3:
                        self._hand_over(op, now + head, now)
                    break

                if kind == WAIT:
                    del flags[reason]
                elif kind == SET:
                    flag = op.flag
                    if flag in flags:
                        raise ScheduleError(
                            f"instruction {number}: flag {flag_name(flag)} is set already, and "
                            f"nobody has waited for it"
                        )
                    seen = flags[flag] = now + op.trip
                    if op.hands_over:
                        turned = now + handover
                    if awaits[op.to] == flag:
                        times[op.to] = seen
                elif kind == BARRIER:
                    ended[pipe] = -_NEVER  # the pipe runs dry before it goes on
                if rows is not None:
                    rows[number] = row_of((
                        number, op.name, names[pipe], at, start, now, 0, 0, 0, now - start,
                        flag_name(reason) if now > start else "",
                    ))  # fmt: skip
            else:
                times[pipe] = _NEVER

            if pipe in (_M, _MTE2):
                faster = speeds[running[_M] is not None][running[_MTE2] is not None]
                if faster != speed:
                    if running[_MTE1] is not None:
                        if now > begun:  # count what MTE1 did until now
                            parts, begun = max(0, parts - (now - begun) * speed), now
                        times[_MTE1] = begun - -parts // faster
                    speed = faster
            can_issue = full == pipe and len(queue) < depth

        self._now, self._issued, self._turned = now, issued, turned
        self._load = (parts, begun, planned)
        counts.issuing += step * count

    def take(self, *, end: bool = False) -> Counts:
        """What was counted since the last time; end: the time runs to the end of the program."""
        now, taken = self._now, self._counts
        if end:  # the scalar unit may be the last that has something to do
            now = max(now, self._issued + self._config.issue_cycles)
        taken.cycles = now - self._began
        self._began, self._counts = now, Counts()
        return taken

    # --- UnitFlag ---------------------------------------------------------------------------------

    def _unit_ready(self, op: Op, now: int) -> int:
        """When an operation can start so that each block is as it needs it when it comes to it.

        A Mmad takes the blocks in the order of memory, all at the same pace, and needs them free; a
        Fixpipe needs them filled. _NEVER: until the other pipe is at one of them.
        """
        filled, cleared, at = self._filled, self._cleared, now
        if op.pipe == _M:
            if not filled and not cleared:
                return now
            pace = op.work // op.blocks
            for j, block in enumerate(range(op.first, op.first + op.blocks)):
                if block in filled:
                    return _NEVER
                at = max(at, cleared.get(block, 0) - j * pace)
            return at
        for j, block in enumerate(range(op.first, op.first + op.blocks)):
            if block not in filled:
                return _NEVER
            at = max(at, filled[block] - op.head - j * op.work // op.blocks)
        return at

    def _hand_over(self, op: Op, at: int, now: int) -> None:
        """Note when a Mmad fills its blocks, or a Fixpipe clears them; wake who waits for that.

        Args:
            op: the operation, which starts now.
            at: when its head is over.
            now: the cycle.
        """
        filling = op.pipe == _M
        these, those = self._filled, self._cleared
        if not filling:
            these, those = those, these
        for j, block in enumerate(range(op.first, op.first + op.blocks), 1):
            these[block] = at + ceil_div(j * op.work, op.blocks)
            those.pop(block, None)
        other = _FIX if filling else _M
        if self._awaits[other] == UNIT:
            self._times[other] = now

    # --- stopping and going on --------------------------------------------------------------------

    def _deadlock(self, issued: int) -> DeadlockError:
        stuck = [(isa.PIPES[pipe], q[0][2]) for pipe, q in enumerate(self._queues) if q]
        text = ", ".join(f"{pipe} at instruction {number}" for pipe, number in stuck)
        queued = [number for queue in self._queues for _, _, number in queue]
        return DeadlockError(f"the program stops: {text}", stuck, queued, issued)

    def state(self) -> State:
        """All that the future depends on; times are relative to now, and the past is one time."""
        now = self._now
        longest = max(1, self._config.mmad_idle_after)

        def after(times: dict[int, int]) -> tuple[tuple[int, int], ...]:
            return tuple(sorted((key, max(time - now, 0)) for key, time in times.items()))

        self._cleared = {key: time for key, time in self._cleared.items() if time > now}
        for pipe, reason in enumerate(self._awaits):  # count the waiting until now
            if reason is not None:
                waits = self._counts.waits[pipe]
                waits[reason] = waits.get(reason, 0) + now - self._since[pipe]
                self._since[pipe] = now
        load: tuple[int, ...] = ()
        if self._running[_MTE1] is not None:
            parts, begun, planned = self._load
            if now > begun:
                m, mte2 = self._running[_M] is not None, self._running[_MTE2] is not None
                parts, begun = max(0, parts - (now - begun) * self._speeds[m][mte2]), now
            load = (parts, begun - now, planned - now)
        return (
            tuple([tuple([op for op, _, _ in queue]) for queue in self._queues]),
            # Cycles of issue rise along a queue.
            tuple([tuple([at - now for _, at, _ in q if at > now]) for q in self._queues]),
            tuple([time - now if time != _NEVER else _NEVER for time in self._times]),
            tuple(self._running),
            tuple([max(time - now, -longest) for time in self._ended]),
            tuple(self._streams),
            tuple(self._awaits),
            after(self._flags),
            after(self._filled),
            after(self._cleared),
            load,
            max(self._issued - now, -self._config.issue_cycles),
            max(self._turned - now, 0),
        )

    def _restore(self, state: State) -> None:
        queues, issues, times, running, ended, streams, awaits, *maps, load, issued, turned = state
        for queue, ops, late in zip(self._queues, queues, issues, strict=True):
            early = [0] * (len(ops) - len(late))
            queue.extend((op, at, 0) for op, at in zip(ops, [*early, *late], strict=True))
        self._times, self._running, self._ended = list(times), list(running), list(ended)
        self._streams, self._awaits = list(streams), list(awaits)
        self._flags, self._filled, self._cleared = map(dict, maps)
        self._load, self._issued, self._turned = load or (0, 0, 0), issued, turned


def _longest(waited: list[tuple[int, int]]) -> tuple[int, str]:
    """How long a pipe waited in all, and for what most of that time; begins to count anew.

    Of equally long waits the flag with the lowest number, for the same table everywhere.
    """
    times: dict[int, int] = {}
    for time, flag in waited:
        times[flag] = times.get(flag, 0) + time
    waited.clear()
    return sum(times.values()), flag_name(min(times, key=lambda flag: (-times[flag], flag)))
