"""Time by the rules of docs/timing.md, one cycle after the other: slow, obvious, and independent.

``cost`` states what an instruction costs; ``simulate`` steps through single cycles and looks at
every pipe in each of them. Nothing here comes from the package but the fields of instructions and
of the configuration.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

PIPES = ("MTE2", "MTE1", "M", "FIX")  # from memory towards the cube and out of it
PIPE_OF = {
    "copy_in": "MTE2", "nd2nz": "MTE2", "load2d": "MTE1", "load3d": "MTE1", "load_sparse": "MTE1",
    "load_bias": "MTE1", "load_params": "FIX", "mmad": "M", "mmad_sparse": "M", "fixpipe": "FIX",
}  # fmt: skip
UNIT_FLAG = "unit flag"
HAND_OVER = "hand-over"


class Stuck(Exception):  # noqa: N818 - an outcome, not a mistake
    """Everything waits for ever: the fronts of the queues (pipe, number), and how many issued."""

    def __init__(self, fronts: list[tuple[str, int]], issued: int) -> None:
        super().__init__(fronts, issued)
        self.fronts, self.issued = fronts, issued


class SetTwice(Exception):  # noqa: N818
    """A flag was set that was set and not waited for: the number of the instruction."""


class SameCycle(Exception):  # noqa: N818
    """A flag was set again in the cycle in which it was waited for: the rules leave it open."""


# --- what an instruction costs --------------------------------------------------------------------


@dataclass(frozen=True)
class Cost:
    """Heads (pipe idle, behind something else, behind more of the same stream) and work."""

    idle: int
    behind: int
    more: int
    stream: str
    rest: int  # cycles without work after which the pipe is idle
    work: int


def exact(number: float) -> Fraction:
    """67.4 is 337/5: what is written, not the double beside it."""
    return Fraction(str(number))


def blocks(size: int, unit: int) -> int:
    return -(-size // unit)


def load3d_rate(stride: int, rows: int) -> Fraction:
    """Bytes a cycle, by the table: s the stride, r the kernel rows."""
    if stride == 1 and rows == 1:
        return Fraction(256)
    if stride == 1:
        return max(Fraction(512, rows + 2), Fraction(32))
    if stride in (2, 4, 8) and rows == 1:
        return Fraction(512, 2 * stride)
    if stride in (2, 4, 8):
        return max(Fraction(512, 2 * stride + rows), Fraction(32))
    return Fraction(32)


def cost(i: Any, c: Any, active: int = 1, hbm_share: int | None = None) -> Cost | None:
    """The cost of an instruction with the configuration c; None: it does nothing.

    active: cores that share L2. hbm_share: for a first touch, how many cores share its bytes.
    """

    def same(head: int, work: Fraction) -> Cost:
        return Cost(head, head, head, "", 1, math.ceil(work))

    l2 = exact(c.l2_rate) * 1000 / c.clock_mhz / active  # 10^9 B/s at 10^6 cycles/s
    shared = l2
    if hbm_share is not None:
        shared = min(l2, exact(c.hbm_rate) * 1000 / c.clock_mhz / active * hbm_share)
    name = i.name
    if name == "nd2nz":
        if i.rows == 0 or i.bytes == 0:
            return None
        row = max(exact(c.row_cycles), i.bytes / exact(c.row_rate))
        return same(c.move_head, max(i.rows * row, i.rows * i.bytes / shared))
    if name == "copy_in":
        if i.bursts == 0 or i.bytes == 0:
            return None
        total = i.bursts * i.bytes
        if i.src_stride == i.bytes:
            time = max(exact(c.row_cycles), total / exact(c.burst_rate))
        else:
            time = i.bursts * max(exact(c.row_cycles), i.bytes / exact(c.burst_rate))
        return same(c.move_head, max(time, total / shared))
    if name == "load2d":
        if i.repeat == 0:
            return None
        rate = exact(c.load_a_rate if i.to == "L0A" else c.load_b_rate)
        heads = (c.load2d_head, c.load2d_head_behind, c.load2d_head_more)
        return Cost(*heads, "load2d " + i.to, 1, math.ceil(512 * i.repeat / rate))
    if name == "load_sparse":
        if i.repeat == 0:
            return None
        size = 512 * i.repeat * {"dense": 1, "logical": 2}[c.sparse_bytes]
        return same(c.sparse_head, size / exact(c.load_b_rate))
    if name == "load3d":
        if i.m == 0 or i.k == 0:
            return None
        # K is (C1, Kh, Kw, 32).
        rows = {k // 32 // i.kernel_w % i.kernel_h for k in range(i.k_start, i.k_start + i.k)}
        size = 16 * blocks(i.m, 16) * 32 * blocks(i.k, 32)
        return same(c.load3d_head, size / load3d_rate(i.stride_w, len(rows)))
    if name in ("load_bias", "load_params"):
        return same(c.table_head, i.bytes / exact(c.table_rate)) if i.bytes else None
    if name in ("mmad", "mmad_sparse"):
        if i.m == 0 or i.n == 0 or i.k == 0:
            return None
        step = 16 if i.dtype == "float16" else 64 if name == "mmad_sparse" else 32
        work = blocks(i.m, 16) * blocks(i.n, 16) * blocks(i.k, step)
        queued = c.mmad_head_queued
        return Cost(c.mmad_head_idle, queued, queued, "", max(1, c.mmad_idle_after), work)
    if name == "fixpipe":
        if i.m == 0 or i.n == 0:
            return None
        width = {"int32": 4, "req8": 1, "vreq8": 1, "deqf16": 2, "vdeqf16": 2, "fp16": 2}[i.mode]
        times = [i.m * i.n / exact(c.fixpipe_rate)]
        if i.to == "GM":
            times.append(i.m * i.n * width / l2)
            if i.layout == "nd":
                row = max(exact(c.store_row_cycles), i.n * width / exact(c.store_rate))
                times.append(i.m * row)
            else:
                times.append(i.m * i.n * width / exact(c.burst_rate))
        return same(c.fixpipe_head, max(times))
    raise AssertionError(name)


# --- when it runs ---------------------------------------------------------------------------------


@dataclass
class Line:
    """One instruction in time. causes: what was waited for longest; several, where it is a draw."""

    index: int
    pipe: str
    issued: int
    start: int = 0
    end: int = 0
    head: int = 0
    work: int = 0
    slowed: int = 0
    waited: int = 0
    causes: frozenset[str] = frozenset()


@dataclass
class Account:
    busy: int = 0
    waiting: int = 0
    idle: int = 0
    heads: int = 0
    slowed: int = 0
    waits: Counter[str] = field(default_factory=Counter)


@dataclass
class Pipe:
    queue: list[Line] = field(default_factory=list)
    line: Line | None = None  # what runs
    head_left: int = 0
    work_left: int = 0  # in thousandths of a cycle, as MTE1 is slowed down
    last_end: int | None = None  # of work; None: never, or before a barrier
    stream: str = ""
    since: int | None = None  # when it began to wait for the front of its queue
    waited: Counter[str] = field(default_factory=Counter)  # since its last work


@dataclass
class Result:
    cycles: int
    lines: list[Line]
    accounts: dict[str, Account]


class Simulation:
    """One core. careless: its flags may be set again in the cycle in which they are waited for."""

    def __init__(
        self,
        instructions: Sequence[Any],
        config: Any,
        costs: Sequence[Cost | None] | None = None,
        careless: bool = False,
    ) -> None:
        self.program, self.config, self.costs = instructions, config, costs
        self.careless = careless
        self.pipes = {name: Pipe() for name in PIPES}
        self.lines: list[Line] = []
        self.accounts = {name: Account() for name in (*PIPES, "S")}
        self.flags: dict[tuple[str, str, int], int] = {}  # from when a set flag is seen
        self.set, self.taken, self.twice = set(), set(), []  # in this cycle
        self.next_move = 0  # from when MTE2 may begin one
        # For each block of L0C, when its unit flag was or will be set (True) or cleared.
        self.unit_flags: dict[int, list[tuple[int, bool]]] = {}
        self.free_at = 0  # when the scalar unit can issue again

    def pipe_of(self, i: Any) -> str:
        return {"set_flag": lambda: i.of, "wait_flag": lambda: i.to, "barrier": lambda: i.on}.get(
            i.name, lambda: PIPE_OF[i.name]
        )()

    def run(self) -> Result:
        self.now = end = 0
        while True:
            for name in PIPES:
                self.complete(name)
            while self.issue() + sum(self.take(name) for name in PIPES):
                pass
            self.refuse_double_sets()
            end = max([end, *(line.end for line in self.lines if line.end == self.now)])
            if not any(pipe.line for pipe in self.pipes.values()):
                if len(self.lines) == len(self.program) and not any(
                    pipe.queue for pipe in self.pipes.values()
                ):
                    break
                if not self.something_comes():
                    fronts = [(n, p.queue[0].index) for n, p in self.pipes.items() if p.queue]
                    raise Stuck(fronts, len(self.lines))
            self.pass_a_cycle()
        end = max(end, self.free_at)  # the scalar unit may be the last to be done
        for account in self.accounts.values():
            account.idle = end - account.busy - account.waiting
        return Result(end, self.lines, self.accounts)

    def refuse_double_sets(self) -> None:
        if self.careless and self.set & self.taken:
            raise SameCycle
        if self.twice:
            raise SetTwice(min(self.twice))
        self.set, self.taken = set(), set()

    def something_comes(self) -> bool:
        """Whether a time is still to come that may change something."""
        times = [self.next_move, self.free_at, *self.flags.values()]
        times += [time for events in self.unit_flags.values() for time, _ in events]
        return max(times) > self.now

    def issue(self) -> int:
        """One instruction into its queue, if the scalar unit is free and the queue has room."""
        if len(self.lines) == len(self.program) or self.free_at > self.now:
            return 0
        name = self.pipe_of(self.program[len(self.lines)])
        if len(self.pipes[name].queue) >= self.config.queue_depth:
            return 0
        line = Line(len(self.lines), name, self.now)
        self.lines.append(line)
        self.pipes[name].queue.append(line)
        self.free_at = self.now + self.config.issue_cycles
        self.accounts["S"].busy += self.config.issue_cycles
        return 1

    def take(self, name: str) -> int:
        """Let a pipe take the front of its queue, if it is free and what it waits for is there."""
        pipe = self.pipes[name]
        if pipe.line is not None or not pipe.queue:
            return 0
        line = pipe.queue[0]
        i = self.program[line.index]
        if pipe.since is None:
            pipe.since = self.now
        if self.blocked(name, i):
            return 0
        pipe.queue.pop(0)
        line.start = line.end = self.now
        work = self.cost(line.index)
        if i.name == "wait_flag":
            line.start, line.waited = pipe.since, self.now - pipe.since
            line.causes = frozenset({f"{i.of}>{i.to}#{i.id}"} if line.waited else ())
            self.taken.add((i.of, i.to, i.id))
            del self.flags[i.of, i.to, i.id]
        elif i.name == "set_flag":
            self.set.add((i.of, i.to, i.id))
            if (i.of, i.to, i.id) in self.flags:
                self.twice.append(line.index)
            self.flags[i.of, i.to, i.id] = self.now + self.latency(i.of, i.to)
            if (i.of, i.to) == ("MTE2", "MTE1"):
                self.next_move = self.now + self.config.handover_cycles
        elif i.name == "barrier":
            pipe.last_end = None
        elif work is not None:
            self.start(name, line, i, work)
        pipe.since = None
        return 1

    def latency(self, of: str, to: str) -> int:
        """Half of a round trip; the way of the data has the longer half."""
        trip = self.config.flag_cycles
        return trip - trip // 2 if PIPES.index(of) < PIPES.index(to) else trip // 2

    def cost(self, index: int) -> Cost | None:
        i = self.program[index]
        if i.name not in PIPE_OF:
            return None
        return cost(i, self.config) if self.costs is None else self.costs[index]

    def blocked(self, name: str, i: Any) -> str:
        """What the front of a queue waits for now; nothing: it can start."""
        if i.name == "wait_flag":
            seen = self.flags.get((i.of, i.to, i.id))
            return "" if seen is not None and seen <= self.now else f"{i.of}>{i.to}#{i.id}"
        number = self.pipes[name].queue[0].index
        work = self.cost(number)
        if work is None:
            return ""
        if name == "MTE2":
            return HAND_OVER if self.next_move > self.now else ""
        if i.name in ("mmad", "mmad_sparse", "fixpipe") and i.unit_flag:
            first, count = self.blocks_of(i)
            for j in range(count):
                there = j * work.work // count + (work.behind if name == "FIX" else 0)
                if self.holds_result(first + j, self.now + there) != (name == "FIX"):
                    return UNIT_FLAG
        return ""

    def blocks_of(self, i: Any) -> tuple[int, int]:
        at = i.src if i.name == "fixpipe" else i.c
        return at // 1024, blocks(i.m, 16) * blocks(i.n, 16)

    def holds_result(self, block: int, time: int) -> bool:
        holds = False
        for when, what in self.unit_flags.get(block, []):
            if when <= time:
                holds = what
        return holds

    def start(self, name: str, line: Line, i: Any, work: Cost) -> None:
        pipe = self.pipes[name]
        if pipe.last_end is None or self.now - pipe.last_end >= work.rest:
            line.head = work.idle
        elif work.stream and work.stream == pipe.stream:
            line.head = work.more
        else:
            line.head = work.behind
        pipe.stream = work.stream
        line.work = work.work
        line.waited = sum(pipe.waited.values())
        longest = max(pipe.waited.values(), default=0)
        line.causes = frozenset(w for w, time in pipe.waited.items() if time == longest and longest)
        pipe.waited.clear()
        pipe.line, pipe.head_left, pipe.work_left = line, line.head, 1000 * work.work
        self.accounts[name].heads += line.head
        if i.name in ("mmad", "mmad_sparse", "fixpipe") and i.unit_flag == 3:
            first, count = self.blocks_of(i)
            for j in range(count):
                done = self.now + line.head + -(-(j + 1) * work.work // count)
                self.unit_flags.setdefault(first + j, []).append((done, name == "M"))
        if line.head == work.work == 0:
            self.complete(name)

    def complete(self, name: str) -> None:
        pipe = self.pipes[name]
        line = pipe.line
        if line is not None and pipe.head_left == 0 and pipe.work_left <= 0:
            line.end = pipe.last_end = self.now
            line.slowed = line.end - line.start - line.head - line.work
            self.accounts[name].slowed += line.slowed
            pipe.line = None

    def speed(self) -> int:
        """Thousandths of a cycle's work that MTE1 does in this cycle."""
        longer = 0
        if self.pipes["M"].line is not None:
            longer += self.config.mte1_slow_m
        if self.pipes["MTE2"].line is not None:
            longer += self.config.mte1_slow_mte2
        return max(1, math.floor(Fraction(1000 * 100, 100 + longer)))

    def pass_a_cycle(self) -> None:
        speed = self.speed()
        for name, pipe in self.pipes.items():
            account = self.accounts[name]
            if pipe.line is not None:
                account.busy += 1
                if pipe.head_left:
                    pipe.head_left -= 1
                else:
                    pipe.work_left -= speed if name == "MTE1" else 1000
            elif pipe.queue:
                account.waiting += 1
                why = self.blocked(name, self.program[pipe.queue[0].index])
                account.waits[why] += 1
                pipe.waited[why] += 1
        scalar = self.accounts["S"]
        if self.free_at <= self.now and len(self.lines) < len(self.program):
            scalar.waiting += 1
            scalar.waits[self.pipe_of(self.program[len(self.lines)])] += 1
        self.now += 1


def simulate(
    instructions: Sequence[Any],
    config: Any,
    costs: Sequence[Cost | None] | None = None,
    careless: bool = False,
) -> Result:
    """The schedule of instructions.

    Raises:
        Stuck, SetTwice, and SameCycle for what is careless: where it has none.
    """
    return Simulation(instructions, config, costs, careless).run()
