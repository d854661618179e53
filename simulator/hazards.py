"""The hazard check: races, deadlocks and misused flags of a program, without its values.

Each pipe runs its instructions in order; nothing else orders two instructions but these rules
(docs/unit.md, and the public documentation of asc-devkit, ADK):

* The n-th set_flag of a flag comes before the n-th wait_flag of it returns. It tells what its pipe
  did before, and what that pipe had been told.
* UnitFlag [ADK]: a bit for each 512 bytes of L0C. A Mmad with 2 or 3 waits for 0; with 3 it sets
  the bits of its blocks after its last step of k. A Fixpipe with 2 or 3 waits for 1; with 3 it
  clears them after reading. Block by block, so only the accesses to the block are ordered: the two
  instructions run at the same time. But what ran before the first of them came before the second.
* A barrier keeps a pipe in order, which it is by itself here, and orders no two pipes.

Two accesses to one byte from different pipes, one of them a write, are a race unless these rules
order them. The pipes are run one instruction at a time, and the scalar unit issues in program order
into queues of ``queue_depth`` instructions, so a wait may stand before its set in the program, but
not by more than the queue of its pipe holds. Whether a program stops does not depend on how long
its instructions take. What a pipe knows of the others is a vector clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cube24.encoder import N0
from cube24.simulator import isa
from cube24.simulator.access import Access, Cells, Index, accesses
from cube24.simulator.config import UnitConfig
from cube24.simulator.machine import CapacityError, RangeError
from cube24.sizes import ceil_div, whole

_M, _FIX = isa.PIPES.index("M"), isa.PIPES.index("FIX")
_GM_BYTES = 1 << 62  # more than any program has; addresses are counted in int64
_Numbers = npt.NDArray[np.int64]
_Clock = list[int]  # of each pipe, how many of its instructions are known to be over


# --- what is found --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Race:
    """Two instructions of different pipes on the same bytes, in an order that nothing fixes.

    first and second are their numbers in the program; start and end the first bytes that they
    share, end not included. kind: ``read-after-write``, ``write-after-read`` or
    ``write-after-write``, as the program has them.
    """

    kind: str
    memory: str
    start: int
    end: int
    first: int
    second: int
    instructions: tuple[isa.Instruction, isa.Instruction]

    def __str__(self) -> str:
        """Both instructions, the bytes and the missing flag."""
        one, two = self.instructions
        verb = {"read": "reads", "write": "writes"}
        late, early = self.kind.split("-after-")
        flag = f"no flag {one.pipe} -> {two.pipe}"
        if self.memory == "L0C":
            flag += " and no unit flag"
        return (
            f"{self.kind} race on {self.memory} bytes {self.start:#x} to {self.end:#x}: "
            f"instruction {self.first} ({one}) {verb[early]} them on {one.pipe}, "
            f"instruction {self.second} ({two}) {verb[late]} them on {two.pipe}, "
            f"{flag} between them"
        )


@dataclass(frozen=True)
class Deadlock:
    """A pipe that stops for ever at an instruction, and why.

    cycle: the numbers of the instructions that wait for each other, from this one on; empty where
    it is not one of a cycle.
    """

    pipe: str
    number: int
    instruction: isa.Instruction
    reason: str
    cycle: tuple[int, ...] = ()

    def __str__(self) -> str:
        """Where the pipe stops, and why."""
        text = f"deadlock: {self.pipe} stops at instruction {self.number} ({self.instruction}): "
        if self.cycle:
            around = " -> ".join(str(number) for number in (*self.cycle, self.cycle[0]))
            return f"{text}{self.reason}; a cycle: {around}"
        return text + self.reason


@dataclass(frozen=True)
class DoubleSet:
    """A flag that may be set while it is set: the unit keeps one bit, so a wait may be lost.

    first and second are the numbers of the set_flags; wait is that of the wait_flag that belongs to
    the first, or None where there is none before the second.
    """

    first: int
    second: int
    wait: int | None
    instruction: isa.SetFlag

    def __str__(self) -> str:
        """Both, and what is missing."""
        text = f"flag set twice: instructions {self.first} and {self.second} ({self.instruction}), "
        if self.wait is None:
            return text + "without a wait between them"
        return f"{text}and nothing orders the wait, instruction {self.wait}, before the second"


@dataclass(frozen=True)
class Leftover:
    """A flag that is set at the end, or unit flags of one Mmad: the next program would see them.

    block: the first address in L0C whose unit flag is set; None for a flag.
    """

    number: int
    instruction: isa.Instruction
    block: int | None = None

    def __str__(self) -> str:
        """Which flag, and who set it."""
        what = "flag" if self.block is None else f"unit flag of L0C {self.block:#x}"
        return f"{what} left set: instruction {self.number} ({self.instruction}) sets it for nobody"


@dataclass(frozen=True)
class Hazards:
    """What ``check`` found. more: races beyond those in ``races``."""

    races: tuple[Race, ...] = ()
    deadlocks: tuple[Deadlock, ...] = ()
    double_sets: tuple[DoubleSet, ...] = ()
    leftovers: tuple[Leftover, ...] = ()
    more: int = 0

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong; a leftover only warns."""
        return not (self.races or self.deadlocks or self.double_sets or self.more)

    def __str__(self) -> str:
        """One line for each."""
        items = (*self.deadlocks, *self.double_sets, *self.races)
        lines = [str(item) for item in items]
        if self.more:
            lines.append(f"{self.more} more races")
        lines += [f"warning: {item}" for item in self.leftovers]
        return "\n".join(lines) or "no hazards"


def check(program: isa.Program, config: UnitConfig, *, limit: int = 100) -> Hazards:
    """Find the hazards of a program.

    Values are not looked at, nor alignment. After a deadlock, the races are those of what ran
    before it.

    Args:
        program: the program.
        config: the unit that runs it.
        limit: most races to list, each pair of instructions once. Of several earlier accesses of
            one pipe to a byte, the race with the last one is listed.

    Raises:
        ArgumentError: a limit that is no whole number, or below 0.
        CapacityError: an access beyond the end of a memory.
        RangeError: an instruction that no unit can run.
    """
    return _Run(program.instructions, config, whole(limit, "limit")).run()


# --- memories -------------------------------------------------------------------------------------


class _Memory:
    """Who touched which bytes of a memory last.

    last[write][pipe]: of each cell, the number in the pipe of the last instruction there.
    """

    def __init__(self, touched: Mapping[Access, set[int]], edges: Sequence[int] | _Numbers) -> None:
        self.cells = Cells(touched, edges=edges)
        self.last: tuple[dict[int, _Numbers], dict[int, _Numbers]] = ({}, {})
        for access, pipes in touched.items():
            for pipe in pipes:
                found = self.last[access.write]
                found.setdefault(pipe, np.zeros(self.cells.edges.size, np.int64))


# --- unit flags -----------------------------------------------------------------------------------


class _UnitFlags:
    """The unit flags of L0C, and who set and cleared them last, by number in the pipe."""

    def __init__(self, l0c_bytes: int) -> None:
        blocks = ceil_div(l0c_bytes, isa.UNIT_BLOCK)
        self.set = np.zeros(blocks, bool)
        self.by = {pipe: np.zeros(blocks, np.int64) for pipe in (_M, _FIX)}

    @staticmethod
    def blocks(i: isa.Mmad | isa.Fixpipe) -> slice:
        """Its blocks: those of whole fractals, for the unit computes all 16 rows of each."""
        at = i.c if isinstance(i, isa.Mmad) else i.src
        size = ceil_div(i.m, N0) * ceil_div(i.n, N0) * isa.C_FRACTAL
        return slice(at // isa.UNIT_BLOCK, ceil_div(at + size, isa.UNIT_BLOCK))

    def closed(self, i: isa.Mmad | isa.Fixpipe) -> int | None:
        """The first block that does not let an instruction run."""
        blocks = self.blocks(i)
        closed = self.set[blocks] if isinstance(i, isa.Mmad) else ~self.set[blocks]
        return blocks.start + int(closed.argmax()) if closed.any() else None


def _unit(i: isa.Instruction) -> isa.Mmad | isa.Fixpipe | None:
    """The instruction, if it uses unit flags; one that does nothing leaves them alone."""
    if not isinstance(i, (isa.Mmad, isa.Fixpipe)) or not i.unit_flag:
        return None
    sizes = (i.m, i.n, i.k) if isinstance(i, isa.Mmad) else (i.m, i.n)
    return i if min(sizes) > 0 else None


# --- the run --------------------------------------------------------------------------------------


class _Flag:
    """What happened to a flag."""

    def __init__(self) -> None:
        self.sets: deque[tuple[int, _Clock]] = deque()  # that no wait has taken: number, clock
        self.last = (-1, -1, -1)  # numbers of the last set and wait, and of the wait in its pipe


class _Run:
    """The pipes, run one instruction at a time."""

    def __init__(
        self, instructions: tuple[isa.Instruction, ...], config: UnitConfig, limit: int
    ) -> None:
        self._all, self._limit = instructions, limit
        self._queues: list[list[int]] = [[] for _ in isa.PIPES]  # numbers in the program
        self._pipes = [_pipe_of(number, i) for number, i in enumerate(instructions)]
        for number, pipe in enumerate(self._pipes):
            self._queues[pipe].append(number)
        self._next = [0] * len(isa.PIPES)
        self._depth, self._issued = config.queue_depth, len(instructions)
        self._clocks: list[_Clock] = [[0] * len(isa.PIPES) for _ in isa.PIPES]
        self._flags: dict[tuple[str, str, int], _Flag] = {}
        self._unit_flags = _UnitFlags(config.l0c_bytes)
        self._unit_clocks: dict[tuple[int, int], _Clock] = {}  # at the start, by number in the pipe
        self._touches = self._prepare(config)
        # What M knows of FIX and FIX of M for a cell of L0C alone, by unit flags. No other pipe
        # touches L0C, so nobody else has to be told.
        cells = self._memories["L0C"].cells.edges
        self._cell_blocks = np.minimum(cells // isa.UNIT_BLOCK, self._unit_flags.set.size - 1)
        self._known = {pipe: np.zeros(cells.size, np.int64) for pipe in (_M, _FIX)}
        self._pairs: dict[tuple[int, int], Race] = {}
        self._count: set[tuple[int, int]] = set()
        self._double_sets: list[DoubleSet] = []

    def _prepare(self, config: UnitConfig) -> dict[isa.Instruction, tuple[Access, ...]]:
        """The accesses of all instructions, checked, and the memories with their cells."""
        sizes = config.memory_bytes
        touches: dict[isa.Instruction, tuple[Access, ...]] = {}
        memories: dict[str, dict[Access, set[int]]] = {name: {} for name in ("GM", *sizes)}
        for pipe, queue in enumerate(self._queues):
            for number in queue:
                instruction = self._all[number]
                if instruction in touches:
                    continue
                touches[instruction] = found = accesses(instruction)
                for access in found:
                    size = sizes.get(access.memory, _GM_BYTES)
                    if access.start < 0 or access.end > size:
                        raise CapacityError(
                            number, instruction, f"bytes {access.start:#x} to {access.end:#x} are "
                            f"beyond {access.memory}, which has {size} ({size:#x})",
                        )  # fmt: skip
                for access in found:
                    memories[access.memory].setdefault(access, set()).add(pipe)
        blocks = np.arange(0, config.l0c_bytes + 1, isa.UNIT_BLOCK, dtype=np.int64)
        self._memories = {
            name: _Memory(touched, blocks if name == "L0C" else ())
            for name, touched in memories.items()
        }
        return touches

    def run(self) -> Hazards:
        """Run all pipes to the end, or to where they stop for ever."""
        # As near to program order as the waits allow: then the last access to a byte, with which
        # a race is reported, is the one that a reader of the program thinks of.
        issued = [0] * len(isa.PIPES)
        for now in range(len(self._all)):
            pipe = self._pipes[now]
            if issued[pipe] - self._next[pipe] >= self._depth:
                self._issued = now  # the scalar unit stops: what can run has run
                break
            issued[pipe] += 1
            moved = True
            while moved:
                moved = False
                for pipe, queue in enumerate(self._queues):
                    while self._next[pipe] < len(queue) and queue[self._next[pipe]] <= now:
                        if not self._step(pipe, queue[self._next[pipe]]):
                            break
                        self._next[pipe] += 1
                        moved = True
        deadlocks = tuple(self._deadlocks())
        races = sorted(self._pairs.values(), key=lambda race: (race.second, race.first))
        return Hazards(
            tuple(races), deadlocks, tuple(self._double_sets),
            () if deadlocks else tuple(self._leftovers()), len(self._count) - len(races),
        )  # fmt: skip

    def _step(self, pipe: int, number: int) -> bool:
        """Run an instruction on its pipe, if nothing stops it."""
        instruction, clock = self._all[number], self._clocks[pipe]
        if isinstance(instruction, isa.WaitFlag):
            if not self._wait(instruction, number, pipe):
                return False
        elif isinstance(instruction, isa.SetFlag):
            self._set(instruction, number, clock)
        elif (unit := _unit(instruction)) is not None:
            if self._unit_flags.closed(unit) is not None:
                return False
            self._run_unit(unit, number, pipe)
        else:
            self._touch(instruction, number, pipe)
        clock[pipe] += 1
        return True

    # --- flags ------------------------------------------------------------------------------------

    def _set(self, i: isa.SetFlag, number: int, clock: _Clock) -> None:
        flag = self._flags.setdefault((i.of, i.to, i.id), _Flag())
        if flag.sets:
            self._double_sets.append(DoubleSet(flag.sets[-1][0], number, None, i))
        elif flag.last[2] > clock[isa.PIPES.index(i.to)]:
            self._double_sets.append(DoubleSet(flag.last[0], number, flag.last[1], i))
        flag.sets.append((number, clock.copy()))

    def _wait(self, i: isa.WaitFlag, number: int, pipe: int) -> bool:
        flag = self._flags.get((i.of, i.to, i.id))
        if flag is None or not flag.sets:
            return False
        setter, told = flag.sets.popleft()
        clock = self._clocks[pipe]
        _join(clock, told)
        flag.last = (setter, number, clock[pipe] + 1)
        return True

    # --- unit flags -------------------------------------------------------------------------------

    def _run_unit(self, i: isa.Mmad | isa.Fixpipe, number: int, pipe: int) -> None:
        """Run a Mmad or Fixpipe that waits for the unit flags of its blocks."""
        flags, blocks = self._unit_flags, self._unit_flags.blocks(i)
        other = _M if pipe == _FIX else _FIX
        partners = flags.by[other][blocks]
        clock = self._clocks[pipe]
        # It cannot touch anything before the first of its partners has started. When it is over,
        # the last of them has started, and each is over with the blocks that they share.
        if first := int(partners.min()):
            _join(clock, self._unit_clocks[other, first])
        self._unit_clocks[pipe, clock[pipe] + 1] = clock.copy()
        mine = slice(*np.searchsorted(self._cell_blocks, (blocks.start, blocks.stop)))
        self._known[pipe][mine] = flags.by[other][self._cell_blocks[mine]]
        self._touch(i, number, pipe)
        if last := int(partners.max()):
            _join(clock, self._unit_clocks[other, last])
        if i.unit_flag == 3:
            flags.set[blocks] = pipe == _M
            flags.by[pipe][blocks] = clock[pipe] + 1

    # --- races ------------------------------------------------------------------------------------

    def _touch(self, instruction: isa.Instruction, number: int, pipe: int) -> None:
        clock = self._clocks[pipe]
        event = clock[pipe] + 1
        for access in self._touches[instruction]:
            memory = self._memories[access.memory]
            index = memory.cells.of(access)
            for wrote in (True, False) if access.write else (True,):
                for other, last in memory.last[wrote].items():
                    if other != pipe and last[index].max() > clock[other]:
                        self._race(access, index, number, pipe, other, wrote)
            memory.last[access.write][pipe][index] = event

    def _race(
        self, access: Access, index: Index, number: int, pipe: int, other: int, wrote: bool
    ) -> None:
        """Note the races of an access with those of another pipe that it does not know of."""
        memory = self._memories[access.memory]
        edges = memory.cells.edges
        cells = np.arange(edges.size)[index] if isinstance(index, slice) else index
        last = memory.last[wrote][other][cells]
        known: _Numbers | int = self._clocks[pipe][other]
        if access.memory == "L0C":
            known = np.maximum(known, self._known[pipe][cells])
        bad = last > known
        for event in np.unique(last[bad]):
            before = self._queues[other][int(event) - 1]
            pair = (min(before, number), max(before, number))
            if pair in self._count:
                continue
            self._count.add(pair)
            if len(self._pairs) >= self._limit:
                continue
            shared = cells[bad & (last == event)]
            gaps = np.flatnonzero(np.diff(shared) != 1)
            end = int(shared[gaps[0]] if gaps.size else shared[-1]) + 1
            early, late = (wrote, access.write) if before < number else (access.write, wrote)
            word = {True: "write", False: "read"}
            self._pairs[pair] = Race(
                f"{word[late]}-after-{word[early]}", access.memory,
                int(edges[shared[0]]), int(edges[end]), *pair,
                (self._all[pair[0]], self._all[pair[1]]),
            )  # fmt: skip

    # --- deadlocks --------------------------------------------------------------------------------

    def _leftovers(self) -> Iterator[Leftover]:
        for flag in self._flags.values():
            for number, _ in flag.sets:
                yield Leftover(number, self._all[number])
        units = self._unit_flags
        setters, first = np.unique(units.by[_M][units.set], return_index=True)
        blocks = np.flatnonzero(units.set)[first]
        for event, block in zip(setters, blocks, strict=True):
            number = self._queues[_M][int(event) - 1]
            yield Leftover(number, self._all[number], int(block) * isa.UNIT_BLOCK)

    def _deadlocks(self) -> Iterator[Deadlock]:
        stuck = {
            pipe: queue[self._next[pipe]]
            for pipe, queue in enumerate(self._queues)
            if self._next[pipe] < len(queue) and queue[self._next[pipe]] < self._issued
        }
        waits = {pipe: self._explain(stuck, number) for pipe, number in stuck.items()}
        for pipe, number in stuck.items():
            reason, _ = waits[pipe]
            way: list[int] = []
            at: int | None = pipe
            while at is not None and at not in way:
                way.append(at)
                at = waits[at][1]
            cycle = tuple(stuck[on] for on in way) if at == pipe else ()
            yield Deadlock(isa.PIPES[pipe], number, self._all[number], reason, cycle)

    def _explain(self, stuck: Mapping[int, int], number: int) -> tuple[str, int | None]:
        """Why an instruction does not go on, and the stuck pipe that it waits for."""
        i = self._all[number]
        if isinstance(i, isa.WaitFlag):
            other = isa.PIPES.index(i.of)
            coming = self._coming(other, lambda x: x == isa.SetFlag(i.of, i.to, i.id))
            nobody, does = f"no set_flag of={i.of} to={i.to} id={i.id} is left for it", "sets it"
        else:
            unit = _unit(i)
            assert unit is not None
            block = self._unit_flags.closed(unit)
            assert block is not None
            other = _FIX if isinstance(unit, isa.Mmad) else _M
            coming = self._coming(other, lambda x: self._hands_over(x, block))
            where = f"the unit flag of L0C {block * isa.UNIT_BLOCK:#x}"
            what, does = ("fixpipe", "clears") if other == _FIX else ("mmad", "sets")
            nobody, does = f"no {what} with unit_flag=3 {does} {where}", f"{does} {where}"
        if coming is None:
            return nobody, None
        text = f"instruction {coming} ({self._all[coming]}) {does}, "
        if coming >= self._issued:
            full = self._pipes[self._issued]
            return (
                f"{text}but is not issued: the queue of {isa.PIPES[full]} holds {self._depth}, and "
                f"instruction {self._issued} ({self._all[self._issued]}) does not fit"
            ), full
        head = stuck[other]
        if coming == head:
            return f"{text}and waits itself", other
        return f"{text}but stands behind instruction {head} ({self._all[head]}), which waits", other

    def _hands_over(self, instruction: isa.Instruction, block: int) -> bool:
        unit = _unit(instruction)
        if unit is None or unit.unit_flag != 3:
            return False
        blocks = self._unit_flags.blocks(unit)
        return bool(blocks.start <= block < blocks.stop)

    def _coming(self, pipe: int, wanted: Callable[[isa.Instruction], bool]) -> int | None:
        """The next instruction of a pipe that does what is wanted."""
        rest = self._queues[pipe][self._next[pipe] :]
        return next((number for number in rest if wanted(self._all[number])), None)


def _join(clock: _Clock, told: _Clock) -> None:
    for pipe, known in enumerate(told):
        clock[pipe] = max(clock[pipe], known)


def _pipe_of(number: int, i: isa.Instruction) -> int:
    """The pipe that runs an instruction.

    Raises:
        RangeError: an instruction that no unit can run.
    """
    if problem := isa.problem(i):
        raise RangeError(number, i, problem)
    if isinstance(i, (isa.SetFlag, isa.WaitFlag)):
        return isa.PIPES.index(i.of if isinstance(i, isa.SetFlag) else i.to)
    return isa.PIPES.index(i.on if isinstance(i, isa.Barrier) else i.pipe)
