"""What an instruction costs: cycles of head and work, by the formulas of docs/timing.md.

cycles = head + work. Nothing here depends on a value, and nothing on other instructions but where
the head of an instruction depends on what its pipe did before; the schedule decides that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from math import ceil
from operator import attrgetter
from typing import Any, NamedTuple

from cube24.simulator import isa
from cube24.simulator.config import UnitConfig
from cube24.sizes import ceil_div


class Cost(NamedTuple):
    """Cycles of one instruction.

    head: when its pipe was idle. behind: head directly behind another instruction of the pipe.
    more: head directly behind one of the same stream. stream: what it belongs to, for ``more``.
    gap: cycles without work from which the pipe counts as idle. work: cycles after the head.
    """

    head: int
    behind: int
    more: int
    stream: str
    gap: int
    work: int


NOTHING = Cost(0, 0, 0, "", 1, 0)


#: What the cost of an instruction depends on; of a first touch, on its address too.
_SIZES: Mapping[type[isa.Instruction], Callable[[Any], Any]] = {
    isa.CopyIn: attrgetter("bytes", "bursts", "src_stride"),
    isa.Nd2Nz: attrgetter("bytes", "rows"),
    isa.Load2D: attrgetter("to", "repeat"),
    isa.Load3D: attrgetter("m", "k_start", "k", "kernel_h", "kernel_w", "stride_w"),
    isa.LoadSparse: attrgetter("repeat"),
    isa.LoadBias: attrgetter("bytes"),
    isa.LoadParams: attrgetter("bytes"),
    isa.Mmad: attrgetter("m", "n", "k", "dtype"),
    isa.MmadSparse: attrgetter("m", "n", "k", "dtype"),
    isa.Fixpipe: attrgetter("m", "n", "to", "mode", "layout"),
}


@lru_cache
def _exact(rate: float) -> Fraction:
    """The number as it is written: 67.4 is 337/5, not the double beside it."""
    return Fraction(repr(rate))


def _fixed(head: int, work: int) -> Cost:
    """A cost whose head is the same whatever was before."""
    return Cost(head, head, head, "", 1, work)


class Costs:
    """The costs of instructions on a unit of which some cores are active.

    Args:
        config: the unit.
        active: cores that share HBM and L2.
        shared: pairs (address, cores): from this address in global memory on, so many cores read
            the same bytes at one time, and share their first touch. Sorted by address.
    """

    def __init__(
        self, config: UnitConfig, active: int = 1, shared: Sequence[tuple[int, int]] = ()
    ) -> None:
        """Turn rates into exact fractions."""
        self.config = config
        self._exact = {
            name: _exact(getattr(config, name))
            for name in (
                "load_a_rate", "load_b_rate", "load3d_rate", "load3d_floor", "table_rate",
                "fixpipe_rate", "row_cycles", "row_rate", "burst_rate", "store_row_cycles",
                "store_rate",
            )
        }  # fmt: skip
        per_core = Fraction(1000, config.clock_mhz * active)  # B/cycle of each GB/s
        self._l2 = _exact(config.l2_rate) * per_core
        self._hbm = _exact(config.hbm_rate) * per_core
        self._shared = tuple(shared)
        self._touched: set[tuple[int, ...]] = set()
        #: Tells of an address whether its piece was moved before; None: all moves are looked at.
        self.moved: Callable[[int], bool] | None = None
        least = min((cores for _, cores in self._shared), default=1)
        fastest = max(self._exact["row_rate"], self._exact["burst_rate"])
        #: Whether HBM can be slower than all else, so that a first touch may cost more.
        self.first_touch_matters = self._hbm * least < min(self._l2, fastest)
        self._handlers: dict[type[isa.Instruction], Callable[[Any], Cost]] = {
            isa.CopyIn: self._copy_in,
            isa.Nd2Nz: self._nd2nz,
            isa.Load2D: self._load2d,
            isa.Load3D: self._load3d,
            isa.LoadSparse: self._load_sparse,
            isa.LoadBias: self._table,
            isa.LoadParams: self._table,
            isa.Mmad: self._mmad,
            isa.MmadSparse: self._mmad,
            isa.Fixpipe: self._fixpipe,
        }
        self._known: dict[tuple[Any, ...], Cost] = {}

    def of(self, instruction: isa.Instruction) -> Cost:
        """The cost of an instruction; flags and barriers cost nothing by themselves.

        The first move of a piece of global memory comes from HBM, later ones from L2, so the order
        of calls matters where that is the bound.
        """
        kind = type(instruction)
        handler = self._handlers.get(kind)
        if handler is None:
            return NOTHING
        if self.first_touch_matters and kind in (isa.CopyIn, isa.Nd2Nz):
            return handler(instruction)
        key = (kind, _SIZES[kind](instruction))
        cost = self._known.get(key)
        if cost is None:
            cost = self._known[key] = handler(instruction)
        return cost

    # --- MTE2 -------------------------------------------------------------------------------------

    def _copy_in(self, i: isa.CopyIn) -> Cost:
        """Fractals and other pieces as they are, in long bursts."""
        if not i.bytes or not i.bursts:
            return NOTHING
        bursts, size = i.bursts, i.bytes
        if i.src_stride == size:  # one behind the other: one burst
            bursts, size = 1, size * bursts
        time = bursts * max(self._exact["row_cycles"], size / self._exact["burst_rate"])
        return self._move(time, bursts * size, (i.src, i.bytes, i.bursts, i.src_stride))

    def _nd2nz(self, i: isa.Nd2Nz) -> Cost:
        """Rows, cut into Nz on the way: bound by their number when they are short."""
        if not i.bytes or not i.rows:
            return NOTHING
        time = i.rows * max(self._exact["row_cycles"], i.bytes / self._exact["row_rate"])
        return self._move(time, i.rows * i.bytes, (i.src, i.bytes, i.rows, i.src_stride))

    def _move(self, time: Fraction, size: int, key: tuple[int, ...]) -> Cost:
        rate = self._l2
        if self.first_touch_matters and not self._was_moved(key):
            sharing = [cores for address, cores in self._shared if address <= key[0]]
            rate = min(rate, self._hbm * (sharing[-1] if sharing else 1))
        return _fixed(self.config.move_head, ceil(max(time, size / rate)))

    def _was_moved(self, key: tuple[int, ...]) -> bool:
        if self.moved is not None:
            return self.moved(key[0])
        moved = key in self._touched
        self._touched.add(key)
        return moved

    # --- MTE1 -------------------------------------------------------------------------------------

    def _load2d(self, i: isa.Load2D) -> Cost:
        if not i.repeat:
            return NOTHING
        config, rate = self.config, self._exact["load_a_rate" if i.to == "L0A" else "load_b_rate"]
        heads = (config.load2d_head, config.load2d_head_behind, config.load2d_head_more)
        return Cost(*heads, i.to, 1, ceil(i.repeat * isa.FRACTAL / rate))

    def _load3d(self, i: isa.Load3D) -> Cost:
        if not i.m or not i.k:
            return NOTHING
        blocks = range(i.k_start // isa.C0_BYTES, (i.k_start + i.k - 1) // isa.C0_BYTES + 1)
        rows = blocks[-1] // i.kernel_w - blocks[0] // i.kernel_w + 1
        rate = self.load3d_rate(i.stride_w, min(rows, i.kernel_h))
        size = ceil_div(i.m, 16) * 16 * ceil_div(i.k, isa.C0_BYTES) * isa.C0_BYTES
        return _fixed(self.config.load3d_head, ceil(size / rate))

    def load3d_rate(self, stride_w: int, rows: int) -> Fraction:
        """Bytes a cycle of a Load3D with this stride that spans so many kernel rows [ADK]."""
        fastest, floor = self._exact["load3d_rate"], self._exact["load3d_floor"]
        if stride_w == 1:
            return fastest if rows == 1 else max(2 * fastest / (rows + 2), floor)
        if stride_w in (2, 4, 8):
            if rows == 1:
                return 2 * fastest / (2 * stride_w)
            return max(2 * fastest / (2 * stride_w + rows), floor)
        return floor

    def _load_sparse(self, i: isa.LoadSparse) -> Cost:
        if not i.repeat:
            return NOTHING
        size = i.repeat * isa.FRACTAL * (2 if self.config.sparse_bytes == "logical" else 1)
        return _fixed(self.config.sparse_head, ceil(size / self._exact["load_b_rate"]))

    def _table(self, i: isa.LoadBias | isa.LoadParams) -> Cost:
        if not i.bytes:
            return NOTHING
        return _fixed(self.config.table_head, ceil(i.bytes / self._exact["table_rate"]))

    # --- M ----------------------------------------------------------------------------------------

    def _mmad(self, i: isa.Mmad) -> Cost:
        """One 16 x 16 block of results and one step of k a cycle; padding takes part."""
        if 0 in (i.m, i.n, i.k):
            return NOTHING
        queued = self.config.mmad_head_queued
        work = ceil_div(i.m, 16) * ceil_div(i.n, 16) * ceil_div(i.k, isa.k_step(i))
        idle, gap = self.config.mmad_head_idle, self.config.mmad_idle_after
        return Cost(idle, queued, queued, "", max(gap, 1), work)

    # --- FIX --------------------------------------------------------------------------------------

    def _fixpipe(self, i: isa.Fixpipe) -> Cost:
        """Bound by reading L0C, or by what it writes to global memory."""
        if not i.m or not i.n:
            return NOTHING
        exact, size = self._exact, isa.RESULT_BYTES[i.mode]
        time = i.m * i.n / exact["fixpipe_rate"]
        if i.to == "GM":
            if i.layout == "nd":
                store = i.m * max(exact["store_row_cycles"], i.n * size / exact["store_rate"])
            else:
                store = i.m * i.n * size / exact["burst_rate"]
            time = max(time, store, i.m * i.n * size / self._l2)
        return _fixed(self.config.fixpipe_head, ceil(time))
