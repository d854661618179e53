"""What the schedule needs to know of an instruction: operations, and what makes them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from cube24.simulator import isa
from cube24.simulator.cost import NOTHING, Cost, Costs
from cube24.sizes import ceil_div

WORK, SET, WAIT, BARRIER, EMPTY = range(5)


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
            return (SET, of, NOTHING, flag) if i.name == "set_flag" else (WAIT, to, NOTHING, flag)
        if isinstance(i, isa.Barrier):
            return (BARRIER, isa.PIPES.index(i.on))
        pipe, cost = isa.PIPES.index(i.pipe), self._costs.of(i)
        if cost is NOTHING:
            return (EMPTY, pipe)
        if isinstance(i, (isa.Mmad, isa.Fixpipe)) and i.unit_flag:
            at, size = _result(i), ceil_div(i.m, 16) * ceil_div(i.n, 16) * isa.C_FRACTAL
            first = at // self._block
            blocks = ceil_div(at + size, self._block) - first
            return (WORK, pipe, cost, 0, i.unit_flag, first, blocks)
        return (WORK, pipe, cost)


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
