"""Random numbers of golden cases, and groups filled with them: cube24.h on NumPy arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cube24._core.binding import demand, lib, view, writable


def draw_words(seeds: Sequence[int], count: int) -> npt.NDArray[np.uint64]:
    """The first words of the SplitMix64 of each seed, below 2^64: (len(seeds), count)."""
    states = np.array(seeds, np.uint64)
    words = np.empty((len(seeds), count), np.uint64)
    demand(
        lib.cube24_draw_words(
            view(states, "uint64_t[]"), len(seeds), count, writable(words, "uint64_t[]")
        )
    )
    return words


def draw_groups(
    words: npt.NDArray[np.uint64], masks: npt.NDArray[np.uint8], values: npt.NDArray[np.int8]
) -> npt.NDArray[np.int8]:
    """Groups of weights, one a word, (count, 4).

    Args:
        words: (count,), as :func:`draw_words` gives them.
        masks: which elements a group may have, one or more; bit i of each is element i.
        values: (256,), what the bytes of a word stand for.
    """
    groups = np.empty((len(words), 4), np.int8)
    demand(
        lib.cube24_draw_groups(
            view(words, "uint64_t[]"), len(words), view(masks, "uint8_t[]"), masks.size,
            view(values, "int8_t[]"), writable(groups, "int8_t[]"),
        )
    )  # fmt: skip
    return groups
