"""What bytes an instruction touches, as machine.Machine moves them, and a memory in cells of them.

The one place that says it: the hazard check and the traces ask here. Whether the bytes are there is
said by the sizes of a unit (``UnitConfig.memory_bytes``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cube24.simulator import isa
from cube24.sizes import ceil_div

Numbers = npt.NDArray[np.int64]
Index = slice | Numbers


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
        yield Access(
            "L1",
            True,
            i.dst,
            i.rows * isa.C0_BYTES,
            ceil_div(i.bytes, isa.C0_BYTES),
            i.dst_rows * isa.C0_BYTES,
        )


def _load2d(i: isa.Load2D) -> Iterator[Access]:
    source = i.src + isa.FRACTAL * i.start
    yield Access("L1", False, source, isa.FRACTAL, i.repeat, isa.FRACTAL * i.stride)
    yield Access(i.to, True, i.dst, isa.FRACTAL, i.repeat, isa.FRACTAL * (i.gap + 1))


def _load3d(i: isa.Load3D) -> Iterator[Access]:
    if i.m > 0 and i.k > 0:
        plane, block = i.h * i.w * 32, i.kernel_h * i.kernel_w * 32
        first, end = i.k_start // block, ceil_div(i.k_start + i.k, block)
        yield Access("L1", False, i.src + first * plane, (end - first) * plane)
        yield Access("L0A", True, i.dst, ceil_div(i.m, 16) * 16 * i.k)


def _load_sparse(i: isa.LoadSparse) -> Iterator[Access]:
    dense, index = isa.FRACTAL * i.repeat, isa.INDEX_FRACTAL * i.repeat
    yield Access("L1", False, i.dense + isa.FRACTAL * i.start, dense)
    yield Access("L1", False, i.index + isa.INDEX_FRACTAL * i.start, index)
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
    yield Access("L0A", False, i.a, m1 * k1 * isa.FRACTAL * (2 if sparse else 1))
    yield Access("L0B", False, i.b, n1 * k1 * isa.FRACTAL)
    if sparse:
        yield Access("INDEX", False, i.b // 4, n1 * k1 * isa.INDEX_FRACTAL)
    if i.start == "bias":
        yield Access("BT", False, i.bias, 4 * i.n)
    if i.start == "keep":
        yield from _results(i.c, i.m, i.n, write=False)
    yield from _results(i.c, i.m, i.n, write=True)


def _results(at: int, m: int, n: int, *, write: bool) -> Iterator[Access]:
    """m x n results in L0C: columns of fractals, the last of which may be narrower."""
    whole, column = n // 16, ceil_div(m, 16) * isa.C_FRACTAL
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


# --- cells ----------------------------------------------------------------------------------------


class Cells:
    """The bytes of a memory, grouped into cells that no access divides.

    What is kept for each cell is exact in bytes, and a memory needs no more room than its program
    has pieces.

    Args:
        touched: the accesses.
        size: bytes of the memory, beyond which pieces are left out; None: there is no end.
        edges: more bytes at which a cell begins.
    """

    def __init__(
        self,
        touched: Iterable[Access],
        *,
        size: int | None = None,
        edges: Sequence[int] | Numbers = (),
    ) -> None:
        """Find the edges of all pieces."""
        self._size = size
        bounds = [end for access in touched for end in self._bounds(access)]
        first = [0] if size is None else [0, size]
        #: The first byte of each cell, rising.
        self.edges: Numbers = np.unique(np.concatenate([first, edges, *bounds])).astype(np.int64)
        self._known: dict[Access, Index] = {}

    def of(self, access: Access) -> Index:
        """The cells of an access: a slice wherever one fits, for speed."""
        found = self._known.get(access)
        if found is None:
            found = self._known[access] = self._find(*self._bounds(access))
        return found

    def _bounds(self, access: Access) -> tuple[Numbers, Numbers]:
        """First bytes and ends of its pieces, as far as they are in the memory."""
        start, width, count, stride = access.start, access.bytes, access.count, access.stride
        if stride <= width:  # one piece, for they touch or overlap each other
            width, count, stride = width + (count - 1) * stride, 1, width
        size = access.end if self._size is None else self._size
        count = min(count, max(0, ceil_div(size - start, stride)))
        if not count:  # the start may be beyond int64
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        starts = start + stride * np.arange(count, dtype=np.int64)
        return starts, np.minimum(starts + width, size)

    def _find(self, starts: Numbers, ends: Numbers) -> Index:
        low, high = np.searchsorted(self.edges, starts), np.searchsorted(self.edges, ends)
        if low.size == 0:
            return slice(0)
        if low.size == 1:
            return slice(int(low[0]), int(high[0]))
        step = int(low[1] - low[0])
        if (high - low == 1).all() and (np.diff(low) == step).all():
            return slice(int(low[0]), int(high[-1]), step)
        return np.concatenate([np.arange(a, b) for a, b in zip(low, high, strict=True)])
