"""The tiles of a result, dealt to the cores that share the work."""

from __future__ import annotations

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


def deal(plan: Plan, cores: int) -> list[list[Piece]]:
    """The tiles of each core: blocks of m_core x n_core, dealt one to each core in turn.

    Blocks are counted along n first; within a block, tiles along n first. Without block sizes, one
    core has everything, and more of them are dealt a grid of blocks as even as it can be.
    """
    problem = plan.problem
    m_core, n_core = block_sizes(plan, cores)
    hands: list[list[Piece]] = [[] for _ in range(cores)]
    blocks = (
        (batch, m, n)
        for batch in range(problem.batch)
        for m in range(0, problem.m, m_core)
        for n in range(0, problem.n, n_core)
    )
    for number, (batch, m_block, n_block) in enumerate(blocks):
        m_end, n_end = min(m_block + m_core, problem.m), min(n_block + n_core, problem.n)
        hands[number % cores] += [
            Piece(batch, m, min(plan.tile.m, m_end - m), n, min(plan.tile.n, n_end - n))
            for m in range(m_block, m_end, plan.tile.m)
            for n in range(n_block, n_end, plan.tile.n)
        ]
    return hands


def block_sizes(plan: Plan, cores: int) -> tuple[int, int]:
    """m_core and n_core, chosen where the tile does not say."""
    problem, tile = plan.problem, plan.tile
    tiles_m, tiles_n = ceil_div(problem.m, tile.m), ceil_div(problem.n, tile.n)
    grids = []
    for rows in range(1, max(1, cores // problem.batch) + 1):
        columns = max(1, cores // problem.batch // rows)
        m, n = ceil_div(tiles_m, rows), ceil_div(tiles_n, columns)
        # The fewest tiles for the busiest core, then the fewest bytes to move.
        grids.append((m * n, m * tile.m + n * tile.n, m, n))
    _, _, m, n = min(grids)
    return tile.m_core or m * tile.m, tile.n_core or n * tile.n
