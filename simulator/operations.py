"""What the schedule needs to know of an instruction: operations, and what makes them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from cube24.simulator import isa
from cube24.simulator.cost import NOTHING, Costs
from cube24.sizes import ceil_div

WORK, SET, WAIT, BARRIER, EMPTY = range(5)

_M = isa.PIPES.index("M")
#: The pipe of each instruction that is no flag and no barrier.
_PIPES = {kind: isa.PIPES.index(kind.pipe) for kind in isa.INSTRUCTIONS.values() if kind.pipe}


@dataclass(frozen=True, eq=False, slots=True)
class Op:
    """What the schedule needs to know of an instruction. A compiler makes equal ones one object.

    kind: one of the five above. head to work: as in a Cost. flag: its number. to, trip, hands_over,
    of one that sets a flag: the pipe that sees it, how much later, and whether it says that L1 was
    filled. unit: UnitFlag, 0, 2 or 3; first, blocks: its first block of L0C, and how many.
    """

    kind: int
    pipe: int
    name: str
    head: int = 0
    behind: int = 0
    more: int = 0
    stream: str = ""
    gap: int = 1
    work: int = 0
    flag: int = 0
    to: int = 0
    trip: int = 0
    hands_over: bool = False
    unit: int = 0
    first: int = 0
    blocks: int = 0


class Compiler:
    """Turns instructions into operations; unit flags are counted in ``block`` bytes of L0C."""

    def __init__(self, costs: Costs, block: int = isa.C_FRACTAL) -> None:
        """Start with no operation known."""
        self._costs, self._block = costs, block
        self._known: dict[tuple[Any, ...], Op] = {}
        self._flags: dict[tuple[Any, ...], Op] = {}  # by what they say, in less time than a key
        # Programs repeat the same objects. One that is kept leaves its id to no other.
        self._seen: dict[int, Op] = {}
        self._kept: list[isa.Instruction] = []

    def __len__(self) -> int:
        """How many operations it knows."""
        return len(self._known)

    def compile(self, instructions: Iterable[isa.Instruction]) -> list[Op]:
        """The operations of instructions, of which ``isa.problem`` has nothing to say."""
        found, seen = [], self._seen
        for instruction in instructions:
            op = seen.get(id(instruction))
            if op is None:
                op = seen[id(instruction)] = self.one(instruction)
                self._kept.append(instruction)
            found.append(op)
        return found

    def one(self, i: isa.Instruction) -> Op:
        """The operation of one instruction, which is not kept."""
        if isinstance(i, (isa.SetFlag, isa.WaitFlag)):
            flag = (type(i), i.of, i.to, i.id)
            op = self._flags.get(flag)
            if op is None:
                op = self._flags[flag] = Op(*self._order(i))
            return op
        key = self._key(i)
        op = self._known.get(key)
        if op is None:
            op = self._known[key] = Op(*key)
        return op

    def _key(self, i: isa.Instruction) -> tuple[Any, ...]:
        """The fields of its operation."""
        pipe = _PIPES.get(type(i))
        if pipe is None:
            return self._order(i)
        cost = self._costs.of(i)
        if cost is NOTHING:
            return (EMPTY, pipe, i.name)
        if pipe >= _M and isinstance(i, (isa.Mmad, isa.Fixpipe)) and i.unit_flag:
            return (WORK, pipe, i.name, *cost, 0, 0, 0, False, i.unit_flag, *self._blocks(i))
        return (WORK, pipe, i.name, *cost)

    def _order(self, i: isa.Instruction) -> tuple[Any, ...]:
        """The fields of one that orders others: a flag, or a barrier."""
        if isinstance(i, (isa.SetFlag, isa.WaitFlag)):
            of, to = isa.PIPES.index(i.of), isa.PIPES.index(i.to)
            flag = (of * 4 + to) * isa.FLAG_IDS + i.id
            if isinstance(i, isa.WaitFlag):
                return (WAIT, to, i.name, *NOTHING, flag)
            # The way of the data takes the longer half of an odd round trip.
            trip = (self._costs.config.flag_cycles + (of < to)) // 2
            hands_over = (i.of, i.to) == ("MTE2", "MTE1")
            return (SET, of, i.name, *NOTHING, flag, to, trip, hands_over)
        assert isinstance(i, isa.Barrier)
        return (BARRIER, isa.PIPES.index(i.on), i.name)

    def _blocks(self, i: isa.Mmad | isa.Fixpipe) -> tuple[int, int]:
        """The first block of its results in L0C, and how many there are."""
        at, size = _result(i), ceil_div(i.m, 16) * ceil_div(i.n, 16) * isa.C_FRACTAL
        first = at // self._block
        return first, ceil_div(at + size, self._block) - first


def unit_block(instructions: Iterable[isa.Instruction]) -> int:
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
