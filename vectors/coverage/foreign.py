"""Bins of bytes that the encoder never writes: index pairs beside zeros and non-zeros, by place.

A group is the encoder's own if its pair, and which of its slots are zero, are those of one of the
eleven patterns; all other groups are foreign. Where an index of 3 selects nothing, pairs with it
have bins of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cube24.encoder import GROUP, N0, ZN_K, encode

if TYPE_CHECKING:
    from cube24.simulator import UnitConfig

#: Whether a slot is zero (z) or not (n), slot 0 first.
ZEROS = ("zz", "zn", "nz", "nn")

#: The number of a combination: 4 times that of its pair, which is 4 i0 + i1, and that of ZEROS.
_COMBINATIONS = 64


@lru_cache(maxsize=1)
def own() -> npt.NDArray[np.bool_]:
    """Which of the 64 combinations the encoder writes: one for each pattern, so eleven."""
    patterns = [bits for bits in product((0, 1), repeat=GROUP) if sum(bits) <= 2]
    sparse = encode(np.array(patterns, np.int8))
    digit = sparse.index[:, :1] & 15
    pairs = np.concatenate([digit & 3, digit >> 2], axis=1)
    found = np.zeros(_COMBINATIONS, np.bool_)
    found[_numbers(sparse.dense[:, :2], pairs)] = True
    return found


def _numbers(values: npt.NDArray[Any], pairs: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
    """The combinations of groups, by their slots and pairs (..., 2)."""
    there = values != 0
    digits = (pairs[..., 0] * 4 + pairs[..., 1]).astype(np.intp)
    return np.asarray(4 * digits + 2 * there[..., 0] + there[..., 1], np.intp)


@lru_cache(maxsize=1)
def names() -> tuple[str, ...]:
    """The names of all combinations, such as 10.zn."""
    pairs = ("".join(pair) for pair in product("0123", repeat=2))
    return tuple(f"{pair}.{zeros}" for pair, zeros in product(pairs, ZEROS))


def legal() -> tuple[str, ...]:
    """The names of the foreign combinations without an index of 3."""
    return tuple(
        name for name, is_own in zip(names(), own(), strict=True)
        if not is_own and "3" not in name
    )  # fmt: skip


class Groups:
    """The groups of a weight that are not padding, as foreign ones are counted.

    numbers: (n, groups), their combinations. there: the number of each group along K.
    """

    def __init__(
        self, values: npt.NDArray[Any], pairs: npt.NDArray[Any], there: npt.NDArray[Any]
    ) -> None:
        """Take slots and pairs, (n, groups, 2), and the numbers of the groups."""
        self.numbers, self.there = _numbers(values, pairs), there
        self.own = own()[self.numbers]

    def bins(self, config: UnitConfig) -> Iterator[str]:
        """The bins that they hit."""
        # The pair (2, 0) is number 8.
        zeros = np.unique(self.numbers[self.numbers // 4 == 8] % 4).tolist()
        yield from (f"pair20/{config.pair20}.{ZEROS[number]}" for number in zeros)
        if self.own.all():
            return
        column, group = np.nonzero(~self.own)
        numbers = self.numbers[column, group]
        places = (("foreign", self.there[group] % (ZN_K // GROUP)), ("foreigncol", column % N0))
        for point, place in places:
            for code in np.unique(16 * numbers + place).tolist():
                name = names()[code // 16]
                if "3" not in name:
                    yield f"{point}/{name}.{code % 16}"
        if config.index3 == "nothing":
            yield from (
                f"index3/{names()[number]}" for number in np.unique(numbers).tolist()
                if "3" in names()[number]
            )  # fmt: skip
