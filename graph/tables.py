"""Tables of text for a terminal, as the reports on models print them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from cube24.graph.lower import Cycles


def aligned(rows: Sequence[Sequence[str]], left: Collection[int]) -> list[str]:
    """Rows as lines, their cells in columns.

    Args:
        rows: of equally many cells, the head first.
        left: numbers of the columns of text, which stand on the left; numbers stand on the right.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if at in left else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def times(cycles: Cycles | None) -> list[str]:
    """Cells for the cycles of a layer: dense, sparse, and how many times as fast that is."""
    if cycles is None:
        return ["-"] * 3
    if cycles.dense is None:
        return ["does not fit", str(cycles.sparse), "-"]
    ratio = f"{cycles.dense / cycles.sparse:.2f}" if cycles.sparse else "-"
    return [str(cycles.dense), str(cycles.sparse), ratio]
