"""Shapes: which arrays stand for a weight, in each layout. Numbers only, no bytes.

The rules are those of docs/format.md, "Layouts" and "Convolution weights".
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import prod
from typing import Literal, get_args

from cube24 import _core
from cube24.errors import ArgumentError, ShapeError
from cube24.sizes import ceil_div, check_sizes

#: ``matrix``: (..., N, K). ``conv``: (Cout, Cin, Kh, Kw), stored as (Cout, C1*Kh*Kw*32).
Kind = Literal["matrix", "conv"]
#: ``nd``: rows. ``zn``: fractals of 16 columns x 32 dense or 8 index bytes.
Layout = Literal["nd", "zn"]

GROUP = 4  # elements of a group
C0 = _core.C0  # channels of one block in the K order of a convolution
N0 = 16  # rows of (N, K) in one fractal
DENSE_K0 = 32  # dense bytes of one fractal row
INDEX_K0 = 8  # index bytes of one fractal row
ZN_K = 2 * DENSE_K0  # sparse elements of one fractal row


@dataclass(frozen=True)
class Geometry:
    """Where the bytes of a weight of some shape, kind and layout stand.

    batch: leading dimensions; n, k: the logical matrix; n_stored, k_stored: with padding.
    """

    shape: tuple[int, ...]
    kind: Kind
    layout: Layout

    def __post_init__(self) -> None:
        """Refuse what is not a shape, kind or layout."""
        if self.kind not in get_args(Kind):
            raise ArgumentError(f"kind {self.kind!r}: choose 'matrix' or 'conv'")
        if self.layout not in get_args(Layout):
            raise ArgumentError(f"layout {self.layout!r}: choose 'nd' or 'zn'")
        check_sizes(self.shape)
        if self.kind == "conv" and len(self.shape) != 4:
            raise ShapeError(
                f"shape {self.shape}: a convolution weight has the four dimensions "
                f"(Cout, Cin, Kh, Kw)"
            )
        if len(self.shape) < 2:
            raise ShapeError(
                f"shape {self.shape}: a weight has two or more dimensions, (..., N, K), K being "
                f"the one in groups of four; reshape it"
            )

    @cached_property
    def batch(self) -> tuple[int, ...]:
        """Leading dimensions, () for a convolution."""
        return () if self.kind == "conv" else self.shape[:-2]

    @cached_property
    def n(self) -> int:
        """Rows of the logical matrix."""
        return self.shape[0] if self.kind == "conv" else self.shape[-2]

    @cached_property
    def k(self) -> int:
        """Columns of the logical matrix; of a convolution in the order (C1, Kh, Kw, C0)."""
        if self.kind == "matrix":
            return self.shape[-1]
        _, cin, kh, kw = self.shape
        return ceil_div(cin, C0) * kh * kw * C0

    @cached_property
    def matrices(self) -> int:
        """Number of matrices in the batch."""
        return prod(self.batch)

    @cached_property
    def rows(self) -> int:
        """Rows of all matrices of the batch."""
        return self.matrices * self.n

    @cached_property
    def n_stored(self) -> int:
        """Rows with padding."""
        return self.n if self.layout == "nd" else ceil_div(self.n, N0) * N0

    @cached_property
    def k_stored(self) -> int:
        """Columns with padding."""
        unit = 2 * GROUP if self.layout == "nd" else ZN_K
        return ceil_div(self.k, unit) * unit

    def stored_shape(self, k0: int) -> tuple[int, ...]:
        """Shape of the dense (k0 = 32) or index (k0 = 8) array."""
        row_bytes = self.k_stored * k0 // ZN_K
        if self.layout == "nd":
            return (*self.batch, self.n, row_bytes)
        return (*self.batch, row_bytes // k0, self.n_stored // N0, N0, k0)

    @cached_property
    def dense_shape(self) -> tuple[int, ...]:
        """Shape of the dense array."""
        return self.stored_shape(DENSE_K0)

    @cached_property
    def index_shape(self) -> tuple[int, ...]:
        """Shape of the index array."""
        return self.stored_shape(INDEX_K0)

    def offset(self, matrix: int, row: int, group: int, k0: int) -> int:
        """First byte of a group in the dense (k0 = 32) or index (k0 = 8) payload."""
        row_bytes = self.k_stored * k0 // ZN_K
        column = group * k0 // (ZN_K // GROUP)
        start = matrix * self.n_stored * row_bytes
        if self.layout == "nd":
            return start + row * row_bytes + column
        return start + (column // k0 * self.n_stored + row) * k0 + column % k0

    def coordinates(self, matrix: int, row: int, group: int) -> tuple[int, ...]:
        """Coordinates, in the weight's own shape, of the first element of a group."""
        element = group * GROUP
        if self.kind == "conv":
            _, _, kh, kw = self.shape
            block, c0 = divmod(element, C0)
            c1, tap = divmod(block, kh * kw)
            return (row, c1 * C0 + c0, *divmod(tap, kw))
        return (*self.batch_coordinates(matrix), row, element)

    def batch_coordinates(self, matrix: int) -> tuple[int, ...]:
        """Coordinates of a matrix in the batch."""
        reverse: list[int] = []
        for size in reversed(self.batch):
            matrix, position = divmod(matrix, size)
            reverse.append(position)
        return tuple(reversed(reverse))


@lru_cache(1024)
def geometry_of(shape: tuple[int, ...], kind: Kind, layout: Layout) -> Geometry:
    """The geometry of an array's shape: the same object again, with what was derived from it.

    Raises:
        ShapeError, ArgumentError: as for :class:`Geometry`.
    """
    return Geometry(shape, kind, layout)
