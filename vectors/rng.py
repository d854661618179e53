"""Random numbers that any language can repeat: SplitMix64, and our own rules on its words.

NumPy promises no stream across its versions, so none of its generators is used. docs/vectors.md
writes the rules down for C and SystemVerilog.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cube24 import _core

#: The name of the generator in a manifest.
PRNG = "splitmix64"

_MASK = (1 << 64) - 1
_STEP = 0x9E3779B97F4A7C15


def case_seed(campaign_seed: int, suite: str, case: str) -> int:
    """The seed of a case: no case changes that of another one.

    The first eight bytes, most significant first, of the SHA-256 of ``SEED/SUITE/CASE`` with the
    campaign seed in decimal digits.
    """
    return _hash(f"{campaign_seed}/{suite}/{case}")


def stream_seed(seed: int, role: str) -> int:
    """The seed of one array of a case, by the same rule from ``SEED/ROLE``."""
    return _hash(f"{seed}/{role}")


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def shown(seed: int) -> str:
    """A seed as manifests and reports write it: JSON readers round numbers of 64 bits."""
    return f"{seed:#018x}"


def first_words(seeds: Sequence[int], count: int) -> npt.NDArray[np.uint64]:
    """The first words of some generators, (len(seeds), count): quicker than one after the other."""
    return _core.draw_words(seeds, count)


class SplitMix64:
    """The generator: word i (from 1) is the mix of seed + i * 0x9e3779b97f4a7c15."""

    def __init__(self, seed: int) -> None:
        """Start before the first word."""
        self._state = seed & _MASK

    def words(self, count: int) -> npt.NDArray[np.uint64]:
        """The next 64-bit words."""
        words: npt.NDArray[np.uint64] = first_words([self._state], count)[0]
        self._state = (self._state + count * _STEP) & _MASK
        return words

    def below(self, bound: int, count: int) -> npt.NDArray[np.int64]:
        """Numbers from 0 to bound - 1, bound up to 2^31: (upper half of a word * bound) >> 32."""
        high = self.words(count) >> np.uint64(32)
        return (high * np.uint64(bound) >> np.uint64(32)).astype(np.int64)

    def int8(self, count: int) -> npt.NDArray[np.int8]:
        """Bytes: the uppermost eight bits of a word each."""
        return (self.words(count) >> np.uint64(56)).astype(np.uint8).view(np.int8)
