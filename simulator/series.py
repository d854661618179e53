"""The steps of a core as a tree in which what comes again and again stands once.

A run of millions of tiles has a few kinds of steps: in the middle and at the edges of a tile, of a
line of tiles, of a block of lines. Steps of one kind have the same instructions but for addresses,
so they take the same time where they meet the pipes in the same state. The tree names a step of
each kind, and how often which follow each other; its size does not grow with the number of tiles.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cube24.simulator.dealing import KStep, Piece, blocks_of, step_of, steps_of
from cube24.simulator.pipes import ScheduleError
from cube24.simulator.tiler import Plan
from cube24.sizes import ceil_div

#: Tiles of so few instructions, about, are not divided.
SHORT = 400

#: More nodes than this are not made one by one, nor steps of more instructions.
LIMIT = 1 << 20


@dataclass(frozen=True, eq=False, slots=True)
class Stretch:
    """Some steps of a tile, each the first of its kind that was met.

    moved: whether the bytes of (activations, weights) were moved before, where that matters.
    """

    steps: tuple[KStep, ...]
    moved: tuple[bool, bool]


@dataclass(frozen=True, eq=False, slots=True)
class Series:
    """What follows each other, and how often."""

    body: tuple[Node, ...]
    times: int


Node = Stretch | Series


class Trees:
    """Makes the trees of the cores that a plan is dealt to. Equal ones are one object.

    Args:
        plan: the plan.
        cores: how many share it.
        touches: whether the first move of bytes in GM takes longer than later ones.
    """

    def __init__(self, plan: Plan, cores: int, *, touches: bool) -> None:
        """Start with no tree."""
        self._plan, self._problem, self._tile = plan, plan.problem, plan.tile
        self._cores, self._touches, self._blocks = cores, touches, blocks_of(plan, cores)
        self._step = min(plan.chunk, plan.weight_chunk)
        self._made: dict[Any, Node] = {}
        self._seen: set[Any] = set()  # of the core: columns and rows of blocks, lines of images

    def core(self, core: int) -> Node:
        """What a core does; it has something to do.

        Raises:
            ScheduleError: it cannot be told in so few words that its time could be counted.
        """
        blocks, cores = self._blocks, self._cores
        count = ceil_div(blocks.total - core, cores)
        # Where a block is all of an element of the batch, all but the first are alike.
        alike = range(1, count) if blocks.rows * blocks.columns == 1 else range(0)
        self._seen = set()
        return self._series(count, lambda index: self._block(core + index * cores), alike)

    def _block(self, number: int) -> Node:
        """A block, behind the one that its core had before."""
        blocks, problem, tile = self._blocks, self._problem, self._tile
        batch, row, column = self._place(number)
        m, n = row * blocks.m, column * blocks.n
        m_end, n_end = min(m + blocks.m, problem.m), min(n + blocks.n, problem.n)
        lines, columns = ceil_div(m_end - m, tile.m), ceil_div(n_end - n, tile.n)
        before = self._last_of(number - self._cores)
        moved = ((batch, row) in self._seen, column in self._seen)
        self._seen |= {(batch, row), column}

        def line(index: int) -> Node:
            start = m + index * tile.m
            first = Piece(batch, start, min(tile.m, m_end - start), n, min(tile.n, n_end - n))
            behind = before
            if index:
                last = n + (columns - 1) * tile.n
                behind = Piece(batch, start - tile.m, tile.m, last, n_end - last)
            rows = moved[0] or self._moved_before(first, behind)
            return self._line(first, n_end, behind, (rows, moved[1] or index > 0))

        alike, period = range(1, lines - 1), 1
        if problem.image is not None:
            alike, period = self._plan.alike(m, lines)
            if self._touches:  # the first may share its lines with one that touches padding
                alike = alike[1:]
        return self._series(lines, line, alike, period)

    def _place(self, number: int) -> tuple[int, int, int]:
        """Batch element, row and column of a block."""
        line, column = divmod(number, self._blocks.columns)
        return (*divmod(line, self._blocks.rows), column)

    def _last_of(self, number: int) -> Piece | None:
        """The last tile of a block, if there is such a block."""
        if number < 0:
            return None
        blocks, problem, tile = self._blocks, self._problem, self._tile
        batch, row, column = self._place(number)
        m_end, n_end = (
            min((row + 1) * blocks.m, problem.m), min((column + 1) * blocks.n, problem.n),
        )  # fmt: skip
        m = row * blocks.m + (m_end - row * blocks.m - 1) // tile.m * tile.m
        n = column * blocks.n + (n_end - column * blocks.n - 1) // tile.n * tile.n
        return Piece(batch, m, m_end - m, n, n_end - n)

    def _moved_before(self, piece: Piece, before: Piece | None) -> bool:
        """Whether the lines of the image that a tile needs were moved for another tile."""
        if not self._touches or self._problem.image is None:
            return False
        lines = self._plan.rows(piece.m_start)[:2]
        key = (piece.batch, *lines, "lines")
        moved = key in self._seen
        if before is not None and before.batch == piece.batch:
            moved = moved or self._plan.rows(before.m_start)[:2] == lines
        self._seen.add(key)
        return moved

    def _line(
        self, first: Piece, n_end: int, before: Piece | None, moved: tuple[bool, bool]
    ) -> Node:
        """The tiles of the same rows, from the first to a column, behind another tile."""
        columns, width = ceil_div(n_end - first.n_start, self._tile.n), self._tile.n

        def tile(index: int) -> Node:
            n = first.n_start + index * width
            piece = first._replace(n_start=n, n=min(width, n_end - n))
            behind = first._replace(n_start=n - width) if index else before
            return self._tile_of(piece, behind, (moved[0] or index > 0, moved[1]))

        key = ("line", n_end - first.n_start, *self._kind(first, before, moved))
        found = self._made.get(key)
        if found is None:
            found = self._made[key] = self._series(columns, tile, range(1, columns - 1))
        return found

    def _kind(
        self, piece: Piece, before: Piece | None, moved: tuple[bool, bool]
    ) -> tuple[Any, ...]:
        """What the time of a tile depends on. Of the lines of an image only their number counts."""
        return (
            piece.m,
            piece.n,
            self._plan.rows(piece.m_start).count if self._problem.image else 0,
            before is not None and before[:2] == piece[:2],
            before is not None and before.n_start == piece.n_start,
            moved if self._touches else (),
        )

    def _tile_of(self, piece: Piece, before: Piece | None, moved: tuple[bool, bool]) -> Node:
        """The steps of a tile, behind another tile."""
        key = ("tile", *self._kind(piece, before, moved))
        found = self._made.get(key)
        if found is None:
            found = self._made[key] = self._steps(piece, before, moved)
        return found

    def _steps(self, piece: Piece, before: Piece | None, moved: tuple[bool, bool]) -> Node:
        plan, k, step = self._plan, self._problem.k, self._step
        count = ceil_div(k, step)
        size = ceil_div(min(k, step), self._tile.k) * (ceil_div(piece.m, 16) + 8)  # about
        if size > LIMIT:
            raise ScheduleError(
                f"one load of this run is for about {size} instructions, too many to count the "
                f"time of; choose a smaller k_l1 of the tile"
            )
        if count * size <= SHORT:
            return Stretch(tuple(steps_of(plan, piece, before)), moved)
        # Loads of activations and weights of different length begin together once in a period.
        period = max(c // step if c < k else 1 for c in (plan.chunk, plan.weight_chunk))
        return self._series(
            count,
            lambda index: Stretch((step_of(plan, piece, before, index * step),), moved),
            range(period, count - 1),
            period,
        )

    def _series(
        self, count: int, item: Callable[[int], Node], alike: range, period: int = 1
    ) -> Node:
        """Items 0 to count, made in this order.

        Args:
            count: how many.
            item: makes one of them.
            alike: where item(i) is item(i + period), as long as both are in this range.
            period: see there.

        Raises:
            ScheduleError: they are too many to be made one by one.
        """
        times = len(range(alike.start, min(alike.stop, count))) // period
        start, end = (alike.start, alike.start + times * period) if times > 1 else (0, 0)
        if (singles := count - (end - start) + (period if times > 1 else 0)) > LIMIT:
            raise ScheduleError(
                f"this run has {singles} pieces that do not repeat each other, too many to count "
                f"the time of; choose larger ones, of m, n, m_core or n_core of the tile"
            )
        body = [item(index) for index in range(start)]
        if end:
            body.append(self._node([item(start + index) for index in range(period)], times))
        body += [item(index) for index in range(end, count)]
        return self._node(body)

    def _node(self, body: list[Node], times: int = 1) -> Node:
        if len(body) == times == 1:
            return body[0]
        key = (tuple(body), times)
        return self._made.setdefault(key, Series(*key))
