"""The tiles of a result, dealt to the cores that share the work, and cut into steps of k."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from cube24.simulator.tiler import Plan
from cube24.sizes import ceil_div


class Piece(NamedTuple):
    """A tile of the result: rows m_start..m_start + m of a batch element, columns alike."""

    batch: int
    m_start: int
    m: int
    n_start: int
    n: int


class KStep(NamedTuple):
    """A stretch of k of a tile that one load of activations and one of weights hold.

    a_start, a_k, w_start, w_k: the first k and the k of these loads. new_a, new_w: whether they are
    others than those of the step before.
    """

    piece: Piece
    k_start: int
    k: int
    a_start: int
    a_k: int
    w_start: int
    w_k: int
    new_a: bool
    new_w: bool


class Blocks(NamedTuple):
    """Blocks of m x n results, counted along n first, then along m, then along the batch.

    rows, columns: how many there are of them in a batch element; total: in all.
    """

    m: int
    n: int
    rows: int
    columns: int
    total: int


def blocks_of(plan: Plan, cores: int) -> Blocks:
    """The blocks that are dealt one to each core in turn.

    Without sizes of blocks, one core has everything, and more of them are dealt a grid of blocks as
    even as it can be.
    """
    problem, tile = plan.problem, plan.tile
    tiles_m, tiles_n = ceil_div(problem.m, tile.m), ceil_div(problem.n, tile.n)
    grids = []
    for rows in range(1, max(1, cores // problem.batch) + 1):
        columns = max(1, cores // problem.batch // rows)
        m, n = ceil_div(tiles_m, rows), ceil_div(tiles_n, columns)
        # The fewest tiles for the busiest core, then the fewest bytes to move.
        grids.append((m * n, m * tile.m + n * tile.n, m, n))
    _, _, m, n = min(grids)
    m, n = tile.m_core or m * tile.m, tile.n_core or n * tile.n
    rows, columns = ceil_div(problem.m, m), ceil_div(problem.n, n)
    return Blocks(m, n, rows, columns, problem.batch * rows * columns)


def hand(plan: Plan, cores: int, core: int) -> Iterator[Piece]:
    """The tiles of one core, block by block; within a block, along n first."""
    problem, tile, blocks = plan.problem, plan.tile, blocks_of(plan, cores)
    for number in range(core, blocks.total, cores):
        line, column = divmod(number, blocks.columns)
        batch, row = divmod(line, blocks.rows)
        m_end = min((row + 1) * blocks.m, problem.m)
        n_end = min((column + 1) * blocks.n, problem.n)
        for m in range(row * blocks.m, m_end, tile.m):
            for n in range(column * blocks.n, n_end, tile.n):
                yield Piece(batch, m, min(tile.m, m_end - m), n, min(tile.n, n_end - n))


def tiles_of(plan: Plan, cores: int, core: int) -> int:
    """How many tiles a core has: ``hand`` without making them."""
    problem, tile, blocks = plan.problem, plan.tile, blocks_of(plan, cores)

    def tiles(index: int, size: int, all_of_it: int, step: int) -> int:
        """Tiles along one side of a block."""
        return ceil_div(min((index + 1) * size, all_of_it) - index * size, step)

    if blocks.rows * blocks.columns == 1:
        one = tiles(0, blocks.m, problem.m, tile.m) * tiles(0, blocks.n, problem.n, tile.n)
        return one * ceil_div(blocks.total - core, cores)
    total = 0
    for number in range(core, blocks.total, cores):
        line, column = divmod(number, blocks.columns)
        total += tiles(line % blocks.rows, blocks.m, problem.m, tile.m) * tiles(
            column, blocks.n, problem.n, tile.n
        )
    return total


def deal(plan: Plan, cores: int) -> list[list[Piece]]:
    """The tiles of each core."""
    return [list(hand(plan, cores, core)) for core in range(cores)]


def step_of(plan: Plan, piece: Piece, before: Piece | None, k_start: int) -> KStep:
    """One step of a tile that is computed behind another one, or as the first."""
    k, chunk, weight_chunk = plan.problem.k, plan.chunk, plan.weight_chunk
    a_start, w_start = k_start // chunk * chunk, k_start // weight_chunk * weight_chunk
    new_a, new_w = k_start == a_start, k_start == w_start
    if k_start == 0 and before is not None:
        # What holds all of k stays in L1 where the next tile has the same rows, or columns.
        new_a = chunk < k or before[:2] != piece[:2]
        new_w = weight_chunk < k or before.n_start != piece.n_start
    return KStep(
        piece, k_start, min(chunk, weight_chunk, k - k_start),
        a_start, min(chunk, k - a_start), w_start, min(weight_chunk, k - w_start),
        new_a, new_w,
    )  # fmt: skip


def steps_of(plan: Plan, piece: Piece, before: Piece | None) -> Iterator[KStep]:
    """The steps of a tile that is computed behind another one, or as the first."""
    for k_start in range(0, plan.problem.k, min(plan.chunk, plan.weight_chunk)):
        yield step_of(plan, piece, before, k_start)
