"""Compare what a device gave with what a case expects, and say what explains the difference."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cube24.lazy import front

if TYPE_CHECKING:
    from cube24.vectors.comparison.junit import KINDS, Outcome, junit_of
    from cube24.vectors.comparison.many import compare_many
    from cube24.vectors.comparison.report import Comparison, compare
    from cube24.vectors.comparison.table import HYPOTHESES
else:
    __getattr__, __dir__ = front(
        __name__,
        {
            ".junit": ("KINDS", "Outcome", "junit_of"),
            ".many": ("compare_many",),
            ".report": ("Comparison", "compare"),
            ".table": ("HYPOTHESES",),
        },
    )  # fmt: skip

__all__ = ["HYPOTHESES", "KINDS", "Comparison", "Outcome", "compare", "compare_many", "junit_of"]
