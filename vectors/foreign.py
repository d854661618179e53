"""Foreign bytes: weights that the unit accepts and the encoder would never write.

The hardware looks at the index alone, so each of the nine index pairs may stand beside any two
weights. Such bytes are made from no weight; the weight that they stand for is what they select, and
it is 2:4 again, for a group selects two elements at most.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from cube24.encoder import GROUP, SparseWeight, pack_index
from cube24.simulator import UnitConfig
from cube24.sizes import ceil_div
from cube24.vectors.rng import SplitMix64
from cube24.vectors.selection import selected, spread

#: The key of the rule that fills a weight with foreign bytes.
RULE = "foreign"


def is_foreign(rule: Any) -> bool:
    """Whether a rule of weights, which is one, gives foreign bytes."""
    return isinstance(rule, Mapping) and set(rule) == {RULE}


@dataclass(frozen=True, eq=False)
class ForeignGroups:
    """The groups of a matrix as they stand in its bytes.

    Attributes: slots, int8 (N, groups, 2), the weights; pairs, uint8 (N, groups, 2), i0 and i1;
    config, the unit that reads them.
    """

    slots: npt.NDArray[np.int8]
    pairs: npt.NDArray[np.uint8]
    config: UnitConfig

    def some(self, columns: list[int], groups: list[int]) -> ForeignGroups:
        """Some columns and groups of them."""
        kept = np.ix_(columns, groups)
        return ForeignGroups(self.slots[kept], self.pairs[kept], self.config)

    def weight(self, k: int) -> npt.NDArray[np.int8]:
        """The weight that the unit multiplies by, (N, k): what the slots select."""
        pairs = self.pairs.astype(np.int64)
        full = spread(self.slots.astype(np.int64), *selected(pairs, self.config))
        assert not (full != full.astype(np.int8)).any()  # as _slots draws them
        return full.astype(np.int8).reshape(len(full), -1)[:, :k]

    def encoded(self, k: int) -> SparseWeight:
        """The bytes, as rows."""
        n, groups, _ = self.slots.shape
        dense = np.zeros((n, ceil_div(groups, 2) * GROUP), np.int8)
        dense[:, : 2 * groups] = self.slots.reshape(n, -1)
        return SparseWeight(dense, pack_index(self.pairs.reshape(n, -1)), (n, k))


def draw(
    rule: Mapping[str, Any], seed: int, rows: int, k: int, config: UnitConfig
) -> ForeignGroups:
    """Draw foreign bytes.

    Args:
        rule: {"foreign": r}: group p of the matrix, counted along rows, has combination
            (p + floor(p / C) + r) mod C of the C of index pair (i0 first, the last one fastest),
            slot 0 zero or not, slot 1 zero or not; 36, or 64 with those of an index of 3 on a unit
            where it selects nothing.
        seed: of the array; word p gives the weights of group p.
        rows: rows. k: columns; the last group may be cut.
        config: the unit.
    """
    indices = range(4 if config.index3 == "nothing" else 3)
    table = np.array(list(product(indices, indices, (0, 1), (0, 1))), np.uint8)
    groups = ceil_div(k, GROUP)
    numbers = np.arange(rows * groups)
    chosen = table[(numbers + numbers // len(table) + int(rule[RULE])) % len(table)]
    pairs = np.ascontiguousarray(chosen[:, :2])
    slots = _slots(SplitMix64(seed).words(len(numbers)), pairs, chosen[:, 2:], config)
    shape = (rows, groups, 2)
    return ForeignGroups(slots.reshape(shape), pairs.reshape(shape), config)


def _slots(
    words: npt.NDArray[np.uint64],
    pairs: npt.NDArray[np.uint8],
    there: npt.NDArray[np.uint8],
    config: UnitConfig,
) -> npt.NDArray[np.int8]:
    """The weights of each group: bits 7:0 and 15:8 of a word.

    Where both slots select one element they are halved, so that int8 holds their sum.
    """
    raw = words[:, None] >> np.array([0, 8], np.uint64) & np.uint64(0xFF)
    values = raw.astype(np.uint8).view(np.int8)
    first, second = selected(pairs.astype(np.int64), config)
    one = (first == second) & (first >= 0)
    values = np.where(one[:, None], values >> 1, values)
    return np.where(there == 0, 0, np.where(values == 0, 1, values)).astype(np.int8)
