"""Where the differences are: rows, columns, fractals and lanes of the result, counted."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cube24.encoder import N0
from cube24.sizes import ceil_div
from cube24.vectors.comparison.differences import DifferencePattern, Differences, Mask, listed
from cube24.vectors.comparison.table import M0
from cube24.vectors.selection import Int


def places(of: Differences) -> Iterator[DifferencePattern]:
    """How many outputs differ in each row, column, fractal and lane.

    A fractal of the result has 16 rows and 16 columns; a lane is a column of fractals, and where
    there is only one fractal beside the other, lanes are columns.
    """
    rows, columns = of.shape
    if rows > 1:
        yield _counted("rows", "rows", of.differs.sum(axis=1), np.full(rows, columns))
    if columns > 1:
        yield _counted("columns", "columns", of.differs.sum(axis=0), np.full(columns, rows))
    if rows > M0 or columns > N0:
        there = _blocks(of.differs)
        yield _counted("fractals", "fractals (row, column)", there, _blocks(of.differs | True))
    if columns > N0:
        yield _counted("lanes", "lanes (column modulo 16)", _lanes(of.differs),
                       _lanes(of.differs | True))  # fmt: skip


def _counted(name: str, several: str, found: Int, most: Int) -> DifferencePattern:
    """How many outputs differ in each place, and how many outputs there are in it."""
    at = np.argwhere(found)
    counts = {_name(place): int(found[tuple(place)]) for place in at}
    numbers = {"counts": counts, "of": int(found.size)}
    full = bool((found == most)[found > 0].all())
    every = len(at) == found.size
    where = f"in {f'all {found.size}' if every else f'{len(at)} of {found.size}'} {several}"
    same = np.unique(np.stack([found, most], axis=-1)[found > 0], axis=0)
    if every and full:
        where += ", with all of their outputs"
    elif every and len(same) == 1:
        where += f", {same[0][0]} of {same[0][1]} outputs in each"
    else:
        where += f": {listed(at, lambda place: _count(place, found, most))}"
    return DifferencePattern(name, where, numbers)


def _count(place: Int, found: Int, most: Int) -> str:
    return f"{_name(place)} ({found[tuple(place)]} of {most[tuple(place)]})"


def _name(place: Int) -> str:
    numbers = ", ".join(str(int(number)) for number in place)
    return numbers if len(place) == 1 else f"({numbers})"


def _blocks(mask: Mask) -> Int:
    """How many are true in each fractal of a result."""
    rows, columns = mask.shape
    wide = np.pad(mask, ((0, -rows % M0), (0, -columns % N0)))
    blocks = wide.reshape(ceil_div(rows, M0), M0, ceil_div(columns, N0), N0)
    return np.asarray(blocks.sum(axis=(1, 3)))


def _lanes(mask: Mask) -> Int:
    """How many are true in each lane."""
    rows, columns = mask.shape
    wide = np.pad(mask, ((0, 0), (0, -columns % N0)))
    return np.asarray(wide.reshape(rows, -1, N0).sum(axis=(0, 1)))
