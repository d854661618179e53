"""What the index pairs of a group select, and the weight that a group stands for.

What an index of 3 selects, and slot 1 where i1 + 1 would be 4, no document defines: here it is
nothing.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cube24.encoder import GROUP
from cube24.simulator import UnitConfig

Int = npt.NDArray[np.int64]


def selected(pairs: Int, config: UnitConfig, one: int = 1) -> tuple[Int, Int]:
    """The element, 0 to 3, that each slot selects; -1: nothing.

    Args:
        pairs: (..., 2).
        config: says what slot 1 of (2, 0) selects.
        one: what is added to i1.
    """
    i0, i1 = pairs[..., 0], pairs[..., 1]
    second = np.where(i1 == 3, -1, i1 + one)
    if config.pair20 == "table":
        second = np.where((i0 == 2) & (i1 == 0), 2, second)
    return np.where(i0 == 3, -1, i0), second


def spread(slots: Int, first: Int, second: Int) -> Int:
    """The weight that each element of a group meets, (..., 4), from slots and what they select."""
    places = np.arange(GROUP)
    return np.asarray(
        slots[..., :1] * (first[..., None] == places)
        + slots[..., 1:] * (second[..., None] == places)
    )
