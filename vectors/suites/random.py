"""The suite of drawn cases: shapes, fills and requantisations that no list thinks of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cube24.vectors.rng import case_seed, first_words
from cube24.vectors.spec import INT32_MAX, INT32_MIN, Item, conv2d, matmul
from cube24.vectors.suites.shapes import MN

#: Cases whose words are drawn at once, and the words of each: it takes fewer.
_LOT, _WORDS = 256, 32


def _name(number: int) -> str:
    return f"r{number:06d}"


def _count(level: int) -> int:
    return {0: 12, 1: 10_000, 2: 1_000_000}[level]


def names(level: int) -> Iterator[str]:
    """The names of the cases, which need not be drawn for them."""
    return (_name(number) for number in range(_count(level)))


def cases(level: int, seed: int) -> Iterator[Item]:
    """Drawn shapes, fills and requantisations, weighted towards edges."""
    count = _count(level)
    for number in range(count):
        # The words of some cases at once, and the rule of SplitMix64.below on plain integers: each
        # worker draws the specs of all cases, and computes its own.
        if number % _LOT == 0:
            lot = [_name(other) for other in range(number, min(number + _LOT, count))]
            drawn = first_words([case_seed(seed, "random-spec", name) for name in lot], _WORDS)
        name, words = lot[number % _LOT], iter(drawn[number % _LOT].tolist())

        def below(bound: int, words: Iterator[int] = words) -> int:
            return (next(words) >> 32) * bound >> 32

        def pick(*of: Any, words: Iterator[int] = words) -> Any:
            return of[(next(words) >> 32) * len(of) >> 32]

        small = pick(True, True, True, False)
        rest: dict[str, Any] = {
            "weights": pick("uniform", "uniform", "edges", "full"),
            "activations": pick("uniform", "uniform", "edges", "ramp"),
            "layout": pick("nd", "zn"),
            "bias": pick(None, "uniform", [INT32_MIN, INT32_MAX, 0], [1, -1, 77]),
            "overflow": pick("saturate", "saturate", "wrap"),
            "requant": pick(
                None, None, {"scale": pick(0.5, 0.0009765625, 0.0003), "offset": pick(0, 3, -8)},
                {"scale": pick(0.5, 0.01), "mode": "DEQF16"},
            ),
        }  # fmt: skip
        if pick(True, True, False):
            m, n = (pick(*MN, 1 + below(40)) for _ in range(2))
            k = pick(4, 5, 7, 60, 63, 64, 65, 68, 128) if small else 4 * (1 + below(200))
            yield Item(name, matmul(m, n, k, **rest), ("random",))
            continue
        kernel = (pick(1, 2, 3), pick(1, 2, 3, 5))
        dilations = (pick(1, 1, 2), pick(1, 1, 3))
        size = tuple((kernel[i] - 1) * dilations[i] + 1 + pick(0, 1, 2, 3, 5) for i in range(2))
        spec = conv2d(
            pick(1, 3, 4, 16, 31, 32, 33, 64), pick(1, 5, 16, 17), (size[0], size[1]), kernel,
            strides=(pick(1, 1, 2), pick(1, 1, 2, 3)), dilations=dilations,
            pads=(pick(0, 0, 1, 2), pick(0, 1), pick(0, 0, 2), pick(0, 1)),
            batch=pick(1, 1, 2), offset_x=pick(0, 0, -7, 100), **rest,
        )  # fmt: skip
        yield Item(name, spec, ("random", "conv"))
