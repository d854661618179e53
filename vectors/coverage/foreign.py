"""Bins of bytes that the encoder never writes: index pairs beside zeros and non-zeros, by place.

A group is the encoder's own if its pair, and which of its slots are zero, are those of one of the
eleven patterns; all other groups are foreign. Where an index of 3 selects nothing, pairs with it
have bins of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from cube24.encoder import GROUP, encode

if TYPE_CHECKING:
    from cube24.simulator import UnitConfig

#: Whether a slot is zero (z) or not (n), slot 0 first.
ZEROS = ("zz", "zn", "nz", "nn")

#: The number of a kind of groups: 4 times that of its pair, which is 4 i0 + i1, and that of ZEROS.
_KINDS = 64

#: The number of the pair (2, 0).
_PAIR20 = 8


def kinds_of(groups: npt.NDArray[np.int8]) -> npt.NDArray[np.intp]:
    """The kinds that the encoder makes of groups (count, 4)."""
    sparse = encode(groups)
    digit, there = (sparse.index[:, 0] & 15).astype(np.intp), sparse.dense[:, :2] != 0
    return np.asarray(16 * (digit & 3) + 4 * (digit >> 2) + 2 * there[:, 0] + there[:, 1], np.intp)


@lru_cache(maxsize=1)
def own() -> frozenset[int]:
    """The kinds that the encoder makes: one for each pattern, so eleven."""
    patterns = [bits for bits in product((0, 1), repeat=GROUP) if sum(bits) <= 2]
    return frozenset(kinds_of(np.array(patterns, np.int8)).tolist())


@lru_cache(maxsize=1)
def names() -> tuple[str, ...]:
    """The names of all kinds, such as 10.zn."""
    pairs = ("".join(pair) for pair in product("0123", repeat=2))
    return tuple(f"{pair}.{zeros}" for pair, zeros in product(pairs, ZEROS))


def legal() -> tuple[str, ...]:
    """The names of the foreign kinds without an index of 3."""
    return tuple(
        name for kind, name in enumerate(names()) if kind not in own() and "3" not in name
    )  # fmt: skip


def bins(places: list[int], columns: list[int], config: UnitConfig) -> Iterator[str]:
    """The bins that groups hit.

    Args:
        places, columns: of each kind, as in a cube24_tally. config: the unit.
    """
    for kind in range(_KINDS):
        if not places[kind]:
            continue
        if kind // len(ZEROS) == _PAIR20:
            yield f"pair20/{config.pair20}.{ZEROS[kind % len(ZEROS)]}"
        if kind in own():
            continue
        name = names()[kind]
        if "3" not in name:
            for point, bits in (("foreign", places[kind]), ("foreigncol", columns[kind])):
                yield from (
                    f"{point}/{name}.{at}" for at in range(bits.bit_length()) if bits >> at & 1
                )
        elif config.index3 == "nothing":
            yield f"index3/{name}"
