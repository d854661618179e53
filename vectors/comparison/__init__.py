"""Compare what a device gave with what a case expects, and say what explains the difference."""

from cube24.vectors.comparison.report import Comparison, compare
from cube24.vectors.comparison.table import HYPOTHESES

__all__ = ["HYPOTHESES", "Comparison", "compare"]
