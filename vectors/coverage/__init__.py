"""Coverage: all bins that there are, which of them a case hits, and how many cases hit each."""

from cube24.vectors.coverage.hits import bins
from cube24.vectors.coverage.points import BINS, POINTS, UNREACHABLE, CoverPoint, is_bin
from cube24.vectors.coverage.table import Table, of_folder

__all__ = ["BINS", "POINTS", "UNREACHABLE", "CoverPoint", "Table", "bins", "is_bin", "of_folder"]
