"""Coverage: all bins that there are, which of them a case hits, and how many cases hit each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cube24.lazy import front

if TYPE_CHECKING:
    from cube24.vectors.coverage.hits import bins
    from cube24.vectors.coverage.points import BINS, POINTS, UNREACHABLE, CoverPoint, is_bin
    from cube24.vectors.coverage.table import Table, of_folder
else:
    __getattr__, __dir__ = front(
        __name__,
        {
            ".hits": ("bins",),
            ".points": ("BINS", "POINTS", "UNREACHABLE", "CoverPoint", "is_bin"),
            ".table": ("Table", "of_folder"),
        },
    )  # fmt: skip

__all__ = [
    "BINS", "POINTS", "UNREACHABLE", "CoverPoint", "Table", "bins", "is_bin", "of_folder",
]  # fmt: skip
