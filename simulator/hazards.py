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
order them. The pipes are run one instruction at a time, with queues that are never full, so a wait
may stand before its set in the program. What a pipe knows of the others is a vector clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cube24.simulator import isa
from cube24.simulator.config import UnitConfig
from cube24.simulator.machine import (
    C_FRACTAL,
    FLAG_IDS,
    FRACTAL,
    INDEX_FRACTAL,
    CapacityError,
    RangeError,
)
from cube24.sizes import ceil_div

UNIT_BLOCK = 512  # bytes of L0C that one unit flag guards [ADK]

_M, _FIX = isa.PIPES.index("M"), isa.PIPES.index("FIX")
_Numbers = npt.NDArray[np.int64]
_Index = slice | _Numbers
_Clock = list[int]  # of each pipe, how many of its instructions are known to be over


# --- what an instruction touches ------------------------------------------------------------------


@dataclass(frozen=True)
class Access:
    """``count`` pieces of ``bytes`` bytes of a memory, at distances of ``stride``."""

    memory: str
    write: bool
    start: int
    bytes: int
    count: int = 1
    stride: int = 0

    @property
    def end(self) -> int:
        """The byte after the last one."""
        return self.start + (self.count - 1) * self.stride + self.bytes


def accesses(instruction: isa.Instruction) -> tuple[Access, ...]:
    """The bytes that an instruction reads and writes, as machine.Machine moves them.

    Operands are read in whole fractals, whose padding takes no part in a result. Of L0C only the
    m x n results are touched. Of an image Load3D reads the channel blocks of its k as a whole,
    although a row of positions may need fewer lines. What has no size touches nothing.
    """
    handler = _ACCESSES.get(type(instruction))
    if handler is None:
        return ()
    return tuple(a for a in handler(instruction) if a.bytes > 0 and a.count > 0)


def _copy_in(i: isa.CopyIn) -> Iterator[Access]:
    yield Access("GM", False, i.src, i.bytes, i.bursts, i.src_stride)
    yield Access("L1", True, i.dst, i.bytes, i.bursts, i.dst_stride)


def _nd2nz(i: isa.Nd2Nz) -> Iterator[Access]:
    if i.rows > 0 and i.bytes > 0:
        yield Access("GM", False, i.src, i.bytes, i.rows, i.src_stride)
        yield Access("L1", True, i.dst, i.rows * 32, ceil_div(i.bytes, 32), i.dst_rows * 32)


def _load2d(i: isa.Load2D) -> Iterator[Access]:
    source = i.src + FRACTAL * i.start
    yield Access("L1", False, source, FRACTAL, i.repeat, FRACTAL * i.stride)
    yield Access(i.to, True, i.dst, FRACTAL, i.repeat, FRACTAL * (i.gap + 1))


def _load3d(i: isa.Load3D) -> Iterator[Access]:
    if i.m > 0 and i.k > 0:
        plane, block = i.h * i.w * 32, i.kernel_h * i.kernel_w * 32
        first, end = i.k_start // block, ceil_div(i.k_start + i.k, block)
        yield Access("L1", False, i.src + first * plane, (end - first) * plane)
        yield Access("L0A", True, i.dst, ceil_div(i.m, 16) * 16 * i.k)


def _load_sparse(i: isa.LoadSparse) -> Iterator[Access]:
    dense, index = FRACTAL * i.repeat, INDEX_FRACTAL * i.repeat
    yield Access("L1", False, i.dense + FRACTAL * i.start, dense)
    yield Access("L1", False, i.index + INDEX_FRACTAL * i.start, index)
    yield Access("L0B", True, i.dst, dense)
    yield Access("INDEX", True, i.dst // 4, index)


def _load_bias(i: isa.LoadBias) -> Iterator[Access]:
    yield Access("L1", False, i.src, i.bytes)
    yield Access("BT", True, i.dst, i.bytes)


def _load_params(i: isa.LoadParams) -> Iterator[Access]:
    yield Access("L1", False, i.src, i.bytes)
    yield Access("FB", True, i.dst, i.bytes)


def _mmad(i: isa.Mmad) -> Iterator[Access]:
    if min(i.m, i.n, i.k) <= 0:
        return
    sparse = isinstance(i, isa.MmadSparse)
    element = 2 if i.dtype == "float16" else 1
    m1, n1, k1 = ceil_div(i.m, 16), ceil_div(i.n, 16), ceil_div(i.k * element, 64 if sparse else 32)
    yield Access("L0A", False, i.a, m1 * k1 * FRACTAL * (2 if sparse else 1))
    yield Access("L0B", False, i.b, n1 * k1 * FRACTAL)
    if sparse:
        yield Access("INDEX", False, i.b // 4, n1 * k1 * INDEX_FRACTAL)
    if i.start == "bias":
        yield Access("BT", False, i.bias, 4 * i.n)
    if i.start == "keep":
        yield from _results(i.c, i.m, i.n, write=False)
    yield from _results(i.c, i.m, i.n, write=True)


def _results(at: int, m: int, n: int, *, write: bool) -> Iterator[Access]:
    """m x n results in L0C: columns of fractals, the last of which may be narrower."""
    whole, column = n // 16, ceil_div(m, 16) * C_FRACTAL
    yield Access("L0C", write, at, m * 64, whole, column)
    yield Access("L0C", write, at + whole * column, n % 16 * 4, m, 64)


def _fixpipe(i: isa.Fixpipe) -> Iterator[Access]:
    if i.m <= 0 or i.n <= 0:
        return
    size = isa.RESULT_BYTES[i.mode]
    yield from _results(i.src, i.m, i.n, write=False)
    if i.mode.startswith("v"):
        yield Access("FB", False, i.words, 8 * i.n)
    if i.layout == "nd":
        yield Access(i.to, True, i.dst, i.n * size, i.m, i.stride * size)
    else:  # whole fractals: zeros beyond m and n
        n0 = 32 if size == 1 else 16
        yield Access(i.to, True, i.dst, ceil_div(i.n, n0) * i.stride * n0 * size)


_ACCESSES: Mapping[type[isa.Instruction], Callable[[Any], Iterable[Access]]] = {
    isa.CopyIn: _copy_in,
    isa.Nd2Nz: _nd2nz,
    isa.Load2D: _load2d,
    isa.Load3D: _load3d,
    isa.LoadSparse: _load_sparse,
    isa.LoadBias: _load_bias,
    isa.LoadParams: _load_params,
    isa.Mmad: _mmad,
    isa.MmadSparse: _mmad,
    isa.Fixpipe: _fixpipe,
}


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

    Values and sizes of fields are the machine's to check; here a program is only refused where it
    touches what does not exist. After a deadlock, the races are those of what ran before it.

    Args:
        program: the program.
        config: the unit that runs it.
        limit: most races to list, each pair of instructions once. Of several earlier accesses of
            one pipe to a byte, the race with the last one is listed.

    Raises:
        CapacityError: an access beyond the end of a memory.
        RangeError: a memory, mode, pipe or flag that does not exist.
    """
    return _Run(program.instructions, config, limit).run()


# --- memories -------------------------------------------------------------------------------------


class _Memory:
    """Who touched which bytes of a memory last.

    The bytes are grouped into cells that no access divides: the check is exact in bytes, and GM
    needs no more room than the program has pieces.
    """

    def __init__(self, touched: Mapping[Access, set[int]], extra: _Numbers) -> None:
        ends = [extra]
        for access in touched:
            starts = _starts(access)
            ends += [starts, starts + _piece(access)]
        self.edges: _Numbers = np.unique(np.concatenate(ends))
        self._indices: dict[Access, _Index] = {}
        # last[write][pipe]: of each cell, the number in the pipe of the last instruction there.
        self.last: tuple[dict[int, _Numbers], dict[int, _Numbers]] = ({}, {})
        for access, pipes in touched.items():
            for pipe in pipes:
                self.last[access.write].setdefault(pipe, np.zeros(self.edges.size, np.int64))

    def index(self, access: Access) -> _Index:
        """The cells of an access: a slice wherever one fits, for speed."""
        found = self._indices.get(access)
        if found is None:
            found = self._indices[access] = self._find(access)
        return found

    def _find(self, access: Access) -> _Index:
        starts = _starts(access)
        low = np.searchsorted(self.edges, starts)
        high = np.searchsorted(self.edges, starts + _piece(access))
        if low.size == 1:
            return slice(int(low[0]), int(high[0]))
        step = int(low[1] - low[0])
        if (high - low == 1).all() and (np.diff(low) == step).all():
            return slice(int(low[0]), int(high[-1]), step)
        return np.concatenate([np.arange(a, b) for a, b in zip(low, high, strict=True)])


def _starts(access: Access) -> _Numbers:
    """Where the pieces start; pieces that touch or overlap each other are one."""
    count = access.count if access.stride > access.bytes else 1
    return access.start + access.stride * np.arange(count, dtype=np.int64)


def _piece(access: Access) -> int:
    """Bytes of one of these pieces."""
    return access.bytes if access.stride > access.bytes else access.end - access.start


# --- unit flags -----------------------------------------------------------------------------------


class _UnitFlags:
    """The unit flags of L0C, and who set and cleared them last, by number in the pipe."""

    def __init__(self, l0c_bytes: int) -> None:
        blocks = ceil_div(l0c_bytes, UNIT_BLOCK)
        self.set = np.zeros(blocks, bool)
        self.by = {pipe: np.zeros(blocks, np.int64) for pipe in (_M, _FIX)}

    @staticmethod
    def blocks(i: isa.Mmad | isa.Fixpipe) -> slice:
        """Its blocks: those of whole fractals, for the unit computes all 16 rows of each."""
        at = i.c if isinstance(i, isa.Mmad) else i.src
        size = ceil_div(i.m, 16) * ceil_div(i.n, 16) * C_FRACTAL
        return slice(at // UNIT_BLOCK, ceil_div(at + size, UNIT_BLOCK))

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
        for number, instruction in enumerate(instructions):
            self._queues[_pipe_of(number, instruction)].append(number)
        self._next = [0] * len(isa.PIPES)
        self._clocks: list[_Clock] = [[0] * len(isa.PIPES) for _ in isa.PIPES]
        self._flags: dict[tuple[str, str, int], _Flag] = {}
        self._unit_flags = _UnitFlags(config.l0c_bytes)
        self._unit_clocks: dict[tuple[int, int], _Clock] = {}  # at the start, by number in the pipe
        self._touches = self._prepare(config)
        # What M knows of FIX and FIX of M for a cell of L0C alone, by unit flags. No other pipe
        # touches L0C, so nobody else has to be told.
        cells = self._memories["L0C"].edges
        self._cell_blocks = np.minimum(cells // UNIT_BLOCK, self._unit_flags.set.size - 1)
        self._known = {pipe: np.zeros(cells.size, np.int64) for pipe in (_M, _FIX)}
        self._pairs: dict[tuple[int, int], Race] = {}
        self._count: set[tuple[int, int]] = set()
        self._double_sets: list[DoubleSet] = []

    def _prepare(self, config: UnitConfig) -> dict[isa.Instruction, tuple[Access, ...]]:
        """The accesses of all instructions, checked, and the memories with their cells."""
        sizes = {
            "L1": config.l1_bytes, "L0A": config.l0a_bytes, "L0B": config.l0b_bytes,
            "INDEX": config.index_bytes, "L0C": config.l0c_bytes, "BT": config.bt_bytes,
            "FB": config.fb_bytes,
        }  # fmt: skip
        touches: dict[isa.Instruction, tuple[Access, ...]] = {}
        memories: dict[str, dict[Access, set[int]]] = {name: {} for name in ("GM", *sizes)}
        for pipe, queue in enumerate(self._queues):
            for number in queue:
                instruction = self._all[number]
                if instruction in touches:
                    continue
                touches[instruction] = found = accesses(instruction)
                for access in found:
                    size = sizes.get(access.memory, access.end)
                    if access.start < 0 or access.stride < 0 or access.end > size:
                        raise CapacityError(
                            number, instruction, f"bytes {access.start:#x} to {access.end:#x} are "
                            f"beyond {access.memory}, which has {size} ({size:#x})",
                        )  # fmt: skip
                for access in found:
                    memories[access.memory].setdefault(access, set()).add(pipe)
        none = np.zeros(1, np.int64)
        blocks = np.arange(0, config.l0c_bytes + 1, UNIT_BLOCK, dtype=np.int64)
        self._memories = {
            name: _Memory(touched, blocks if name == "L0C" else none)
            for name, touched in memories.items()
        }
        return touches

    def run(self) -> Hazards:
        """Run all pipes to the end, or to where they stop for ever."""
        # As near to program order as the waits allow: then the last access to a byte, with which
        # a race is reported, is the one that a reader of the program thinks of.
        for now in range(len(self._all)):
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
            index = memory.index(access)
            for wrote in (True, False) if access.write else (True,):
                for other, last in memory.last[wrote].items():
                    if other != pipe and last[index].max() > clock[other]:
                        self._race(access, index, number, pipe, other, wrote)
            memory.last[access.write][pipe][index] = event

    def _race(
        self, access: Access, index: _Index, number: int, pipe: int, other: int, wrote: bool
    ) -> None:
        """Note the races of an access with those of another pipe that it does not know of."""
        memory = self._memories[access.memory]
        cells = np.arange(memory.edges.size)[index] if isinstance(index, slice) else index
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
                int(memory.edges[shared[0]]), int(memory.edges[end]), *pair,
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
            yield Leftover(number, self._all[number], int(block) * UNIT_BLOCK)

    def _deadlocks(self) -> Iterator[Deadlock]:
        stuck = {
            pipe: queue[self._next[pipe]]
            for pipe, queue in enumerate(self._queues)
            if self._next[pipe] < len(queue)
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
            where = f"the unit flag of L0C {block * UNIT_BLOCK:#x}"
            what, does = ("fixpipe", "clears") if other == _FIX else ("mmad", "sets")
            nobody, does = f"no {what} with unit_flag=3 {does} {where}", f"{does} {where}"
        if coming is None:
            return nobody, None
        head = stuck[other]
        text = f"instruction {coming} ({self._all[coming]}) {does}, "
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


#: The words of the fields by which this module finds its way.
_WORDS: Mapping[tuple[type[isa.Instruction], str], Iterable[str]] = {
    (isa.Load2D, "to"): ("L0A", "L0B"),
    (isa.Fixpipe, "to"): ("GM", "L1"),
    (isa.Fixpipe, "mode"): isa.RESULT_BYTES,
    (isa.SetFlag, "of"): isa.PIPES,
    (isa.SetFlag, "to"): isa.PIPES,
    (isa.WaitFlag, "of"): isa.PIPES,
    (isa.WaitFlag, "to"): isa.PIPES,
    (isa.Barrier, "on"): isa.PIPES,
}


def _pipe_of(number: int, i: isa.Instruction) -> int:
    """The pipe that runs an instruction.

    Raises:
        RangeError: a memory, mode, pipe or flag that does not exist.
    """
    for (kind, name), words in _WORDS.items():
        if type(i) is kind and (value := getattr(i, name)) not in words:
            raise RangeError(number, i, f"{name} is {value!r}; it takes {', '.join(words)}")
    if isinstance(i, (isa.SetFlag, isa.WaitFlag)):
        if not 0 <= i.id < FLAG_IDS:
            raise RangeError(number, i, f"id is {i.id}; it takes 0 to {FLAG_IDS - 1}")
        return isa.PIPES.index(i.of if isinstance(i, isa.SetFlag) else i.to)
    return isa.PIPES.index(i.on if isinstance(i, isa.Barrier) else i.pipe)
