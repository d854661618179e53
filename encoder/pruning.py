"""prune: make a weight 2:4 by dropping weights, and say what that cost."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
import numpy.typing as npt

from cube24 import _core
from cube24._core import thread_count
from cube24.encoder.arguments import check_out, check_policy, int8_array
from cube24.encoder.codec import as_matrix
from cube24.encoder.layout import Geometry, Kind
from cube24.errors import counted


@dataclass(frozen=True)
class PruneCost:
    """What pruning removed, in exact integers.

    Attributes: groups that lost a weight; weights dropped; the sum of |w| and of w*w of the
    dropped weights (l1_removed, l2_removed) and of all (l1_total, l2_total).
    """

    groups: int = 0
    weights: int = 0
    l1_removed: int = 0
    l1_total: int = 0
    l2_removed: int = 0
    l2_total: int = 0

    def __add__(self, other: PruneCost) -> PruneCost:
        """The cost of two pieces of a weight together."""
        return PruneCost(*(a + b for a, b in zip(self._counters(), other._counters(), strict=True)))

    def _counters(self) -> tuple[int, ...]:
        return (
            self.groups, self.weights, self.l1_removed,
            self.l1_total, self.l2_removed, self.l2_total,
        )  # fmt: skip

    @property
    def l1_share(self) -> float:
        """Share of the L1 norm that was removed, 0 to 1."""
        return self.l1_removed / self.l1_total if self.l1_total else 0.0

    @property
    def l2_share(self) -> float:
        """L2 norm of what was removed over the L2 norm of the weight, 0 to 1."""
        return sqrt(self.l2_removed / self.l2_total) if self.l2_total else 0.0

    def __str__(self) -> str:
        """One line for a person."""
        return (
            f"{counted(self.groups, 'group')} changed, {counted(self.weights, 'weight')} dropped: "
            f"{100 * self.l1_share:.3f}% of the L1 norm, {100 * self.l2_share:.3f}% of the L2 norm"
        )


@dataclass(frozen=True, eq=False)
class Pruned:
    """A 2:4 weight of the shape that was given, and what making it cost."""

    weight: npt.NDArray[np.int8]
    cost: PruneCost


def prune(
    weight: npt.NDArray[np.int8],
    *,
    policy: str = "magnitude",
    kind: Kind = "matrix",
    out: npt.NDArray[np.int8] | None = None,
    threads: int | None = None,
) -> Pruned:
    """Make a weight 2:4 by dropping weights from groups of three or four non-zeros.

    Args:
        weight: int8 (..., N, K), or (Cout, Cin, Kh, Kw) for kind ``conv``; any strides.
        policy: ``magnitude`` keeps the two of largest absolute value, ties to the lowest
            position; ``first_two`` and ``first_last`` as in docs/format.md.
        kind: ``matrix`` (groups along K) or ``conv`` (groups along Cin).
        out: int8 array of the weight's shape to write into; C-contiguous, not overlapping weight.
        threads: as for :func:`encode`.

    Raises:
        DtypeError, ShapeError, ArgumentError, OutBufferError: the arguments do not fit.
    """
    weight = int8_array(weight, "weight")
    check_policy(policy, dropping=True)
    geometry = Geometry(weight.shape, kind, "nd")
    if out is None:
        out = np.empty(geometry.shape, np.int8)
    else:
        check_out(out, "out", np.dtype(np.int8), geometry.shape, (weight,))
    count = thread_count(threads, weight.size)
    matrix = as_matrix(weight, geometry)
    if kind == "conv":
        cost = _core.prune(matrix, policy, matrix, count)
        _core.matrix_to_conv(matrix, out)
    else:
        cost = _core.prune(matrix, policy, out.reshape(matrix.shape), count)
    return Pruned(out, PruneCost(*cost))
