"""How many bytes of each buffer are in use, cycle by cycle.

Derived from the instructions: a byte of L1, L0A, L0B or L0C is occupied from the end of the
instruction that wrote it until the end of the last one that reads it before it is written again, in
the order in which instructions end. So a byte that nobody reads is never occupied, a buffer never
holds more than its size, and a flag that hands a slot back plays no part.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from cube24.simulator import isa
from cube24.simulator.access import Access, Cells, Index, Numbers, accesses
from cube24.simulator.account import Timing
from cube24.simulator.config import UnitConfig

_MANY = 1 << 20  # changes of occupancy that are kept until they are summed up
_NEVER = 1 << 62


def occupied_bytes(
    program: isa.Program, timing: Timing, config: UnitConfig
) -> dict[str, tuple[Numbers, Numbers]]:
    """How many bytes of L1, L0A, L0B and L0C are occupied, as the module defines it.

    Gives for each of them the cycles at which the number changes, rising, with the number from
    there on; the first is cycle 0. Bytes beyond the end of a memory are left out.

    Args:
        program: the program.
        timing: its schedule, with instructions.
        config: the unit, for the sizes of the memories.
    """
    sizes = {name: config.memory_bytes[name] for name in ("L1", "L0A", "L0B", "L0C")}
    known: dict[isa.Instruction, tuple[Access, ...]] = {}
    touched: dict[str, dict[Access, None]] = {name: {} for name in sizes}
    for i in program.instructions:
        if i.pipe and i not in known:
            known[i] = tuple(access for access in accesses(i) if access.memory in sizes)
            for access in known[i]:
                touched[access.memory][access] = None
    memories = {name: _Memory(touched[name], size) for name, size in sizes.items()}
    for row in sorted(timing.instructions, key=lambda row: (row.end, row.index)):
        for access in known.get(program.instructions[row.index], ()):
            memories[access.memory].touch(access, row.end)
    return {name: memory.occupied() for name, memory in memories.items()}


class _Memory:
    """Since when and until when each cell of a memory is occupied."""

    def __init__(self, touched: Iterable[Access], size: int) -> None:
        self._cells = Cells(touched, size=size)
        self._width: Numbers = np.diff(self._cells.edges)
        # When each cell was written and read last: it is occupied if it was read after that.
        self._written = np.full(self._width.size, _NEVER)
        self._read = np.full(self._width.size, -1)
        self._times: list[Numbers] = [np.zeros(1, np.int64)]
        self._steps: list[Numbers] = [np.zeros(1, np.int64)]
        self._kept = 0

    def touch(self, access: Access, now: int) -> None:
        """Let an instruction that ends now read or write something; its reads come first."""
        cells = self._cells.of(access)
        if access.write:
            self._close(cells)
            self._written[cells] = now
        else:
            self._read[cells] = now

    def occupied(self) -> tuple[Numbers, Numbers]:
        """The cycles at which the number of occupied bytes changes, and the number."""
        self._close(slice(None))
        self._sum_up()
        times, steps = self._times[0], self._steps[0]
        changes = steps != 0
        changes[0] = True  # cycle 0
        return times[changes], np.cumsum(steps[changes])

    def _close(self, cells: Index) -> None:
        """Count the time of cells that are written again."""
        start, end = self._written[cells], self._read[cells]
        occupied = end > start
        if not occupied.any():
            return
        width = self._width[cells][occupied]
        self._times += [start[occupied], end[occupied]]
        self._steps += [width, -width]
        self._kept += 2 * width.size
        if self._kept > _MANY:
            self._sum_up()

    def _sum_up(self) -> None:
        times, place = np.unique(np.concatenate(self._times), return_inverse=True)
        steps = np.zeros(times.size, np.int64)
        np.add.at(steps, place, np.concatenate(self._steps))
        self._times, self._steps, self._kept = [times], [steps], times.size
