"""The suites: which cases there are, by level. A case is named by what it is, not by a number.

Level 0 is the committed golden set: small, and enough for every reachable coverage bin. Level 1
takes a minute or some, level 2 an hour or some; each has all cases of the levels below. Adding a
case changes no other; a suite whose cases change gets a new version.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import product
from typing import Any

from cube24.errors import ArgumentError
from cube24.vectors.rng import SplitMix64, case_seed
from cube24.vectors.spec import INT32_MAX, INT32_MIN, Item, conv2d, fully_connected, matmul

LEVELS = (0, 1, 2)


# --- patterns -------------------------------------------------------------------------------------


def patterns(level: int, seed: int) -> Iterator[Item]:
    """Every legal group of zeros and extremes in every group position, in both layouts.

    113 groups and 16 positions have no common divisor, so along 113 x 64 of k each group meets each
    position of a row; with 16 columns of 113 groups, each group meets each column. Level 1 turns
    them through all places of a fractal.
    """
    for layout, n, k in (("nd", 1, 113 * 64), ("nd", 16, 113 * 4), ("zn", 16, 113 * 4)):
        spec = matmul(2, n, k, weights={"legal": 0}, layout=layout)
        yield Item(f"walk-{layout}-n{n}", spec, ("pattern",))
    if level >= 1:
        for turn in range(113):
            layout = "zn" if turn % 2 else "nd"
            spec = matmul(4, 16, 64, weights={"legal": turn}, layout=layout)
            yield Item(f"turn-{turn:03d}", spec, ("pattern",))
        for weight, x in product(("max", "min", "edges", "full"), ("max", "min", "edges", "ramp")):
            spec = matmul(3, 17, 132, weights=weight, activations=x)
            yield Item(f"extremes-{weight}-{x}", spec, ("pattern", "extremes"))


# --- shapes ---------------------------------------------------------------------------------------

_MN = (1, 15, 16, 17, 31, 32, 33)
_K = (4, 8, 60, 64, 68, 128, 4092, 4095, 4096)

#: Convolutions that between them have every kernel, stride, padding, dilation and channel count.
_CONVS: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("1x1", {"cin": 64, "cout": 17, "size": (4, 5), "kernel": (1, 1)}),
    ("1x1-s2", {"cin": 33, "cout": 16, "size": (5, 5), "kernel": (1, 1), "strides": (2, 2)}),
    ("3x3", {"cin": 3, "cout": 8, "size": (6, 6), "kernel": (3, 3), "pads": (1, 1, 1, 1)}),
    ("3x3-s2", {"cin": 4, "cout": 5, "size": (7, 6), "kernel": (3, 3), "strides": (2, 2)}),
    ("3x3-d2", {"cin": 16, "cout": 4, "size": (7, 7), "kernel": (3, 3), "dilations": (2, 2)}),
    ("3x3-pad", {"cin": 32, "cout": 3, "size": (4, 4), "kernel": (3, 3), "pads": (2, 0, 1, 2)}),
    ("5x5", {"cin": 4, "cout": 3, "size": (6, 7), "kernel": (5, 5), "pads": (2, 2, 2, 2)}),
    ("7x7-s2", {"cin": 3, "cout": 4, "size": (9, 9), "kernel": (7, 7), "strides": (2, 2)}),
    ("1x3", {"cin": 16, "cout": 6, "size": (3, 9), "kernel": (1, 3), "strides": (1, 3)}),
    ("3x1-b2", {"cin": 33, "cout": 4, "size": (5, 3), "kernel": (3, 1), "batch": 2}),
    ("3x3-x", {"cin": 4, "cout": 4, "size": (4, 4), "kernel": (3, 3), "pads": (1, 1, 1, 1),
               "offset_x": -5}),
    ("2x2-x", {"cin": 3, "cout": 1, "size": (2, 4), "kernel": (2, 2), "pads": (1, 0, 0, 0),
               "dilations": (1, 3), "offset_x": 5, "layout": "nd"}),
)  # fmt: skip


def shapes(level: int, seed: int) -> Iterator[Item]:
    """Tails in each dimension, and convolutions."""
    short = list(zip(_MN, (1, 17, 16, 33, 15, 32, 31), strict=True))
    # Every second pair of the committed set, like the fields of one colour of a chessboard.
    small = [(*mn, k) for i, mn in enumerate(short) for j, k in enumerate(_K[:6]) if (i + j) % 2]
    small += [(1, 1, 4092), (2, 1, 4095), (1, 1, 4096)]
    every = list(product(_MN, _MN, _K)) if level else []
    for m, n, k in dict.fromkeys([*small, *every]):
        # Fractals of a single column are mostly padding: rows where k is long.
        layout = "nd" if (m + k // 4) % 2 or (n == 1 and k > 128) else "zn"
        yield Item(f"matmul-{m}x{n}x{k}", matmul(m, n, k, layout=layout), ("shape",))
    spec = fully_connected(5, 10, 36)
    yield Item("fully-connected-5x10x36", spec, ("shape",))
    spec = fully_connected(4, 3, 20, layout="nd")
    yield Item("fully-connected-4x3x20", spec, ("shape",))
    # More than one tile of rows and of columns, and more than one load of a small L1, with queues
    # that are full.
    yield Item("tiles-m", matmul(129, 1, 4, layout="nd"), ("shape",))
    yield Item("tiles-n", matmul(1, 129, 4, layout="nd"), ("shape",))
    small_unit = {"l1_bytes": 4096, "l0a_bytes": 2048, "l0b_bytes": 2048, "queue_depth": 1}
    yield Item("loads", matmul(2, 2, 196, layout="nd", **small_unit), ("shape", "stall"))
    for name, sizes in _CONVS:
        yield Item(f"conv-{name}", conv2d(**sizes, weights="edges"), ("shape", "conv"))
    if level:
        for cin, kernel, stride, pad, dilation in product(
            (3, 4, 16, 32, 33, 64), (1, 3, 5, 7), (1, 2), (0, 1), (1, 2)
        ):
            size = dilation * (kernel - 1) + 1 + stride
            name = f"conv-c{cin}-k{kernel}-s{stride}-p{pad}-d{dilation}"
            spec = conv2d(
                cin, 6, (size, size + 1), (kernel, kernel), strides=(stride, stride),
                pads=(pad,) * 4, dilations=(dilation, dilation), batch=1 + (cin == 16),
            )  # fmt: skip
            yield Item(name, spec, ("shape", "conv"))


# --- accumulate -----------------------------------------------------------------------------------


def accumulate(level: int, seed: int) -> Iterator[Item]:
    """Sums at the edges of int32, saturating and wrapping, in both grains."""
    edges = [
        INT32_MIN, INT32_MIN + 1, -(2**30), -1, 0, 1, 2**30, INT32_MAX - 1, INT32_MAX,
    ]  # fmt: skip
    for overflow, grain in product(("saturate", "wrap"), ("step", "instruction")):
        spec = matmul(2, 3, 68, layout="nd", overflow=overflow, grain=grain)
        yield Item(f"{overflow}-{grain}-none", spec, ("accumulate",))
        for deep, weight, x in product(
            (132, 4096) if level else (132,), ("max", "min", "full"), ("max", "min", "uniform")
        ):
            layout = "nd" if x == "max" else "zn"
            spec = matmul(
                2, 9, deep, weights=weight, activations=x, bias=edges, overflow=overflow,
                grain=grain, layout=layout,
            )  # fmt: skip
            yield Item(f"{overflow}-{grain}-{deep}-{weight}-{x}", spec, ("accumulate",))


# --- requant --------------------------------------------------------------------------------------


def requant(level: int, seed: int) -> Iterator[Item]:
    """Every mode, ties, saturation, the edges of the shift, ReLUs, one word and one a column."""
    near = [value + step for value in (0, 1, 127, 128, 255, 256, 511) for step in (-1, 0, 1)]
    wide = [INT32_MIN, INT32_MAX, -32769, -32768, 32767, 32768, -65536, 65536]
    ties = [*near, *(-value for value in near), *wide]
    modes: dict[str, Mapping[str, Any]] = {
        "half": {"scale": 0.5},
        "quarter-offset": {"scale": 0.25, "offset": 3},
        "unsigned": {"scale": 0.5, "offset": 128, "signed": False},
        "negative-offset": {"scale": 1.0, "offset": -256},
        "negative-scale": {"scale": -0.5},
        "zero-scale": {"scale": 0.0},
        "tiny-scale": {"scale": 1.1754943508222875e-38},
        "shift-1": {"scale": 1.0, "shift": 1},
        "shift-16": {"scale": 1.0, "shift": 16},
        "relu": {"scale": 0.5, "relu": True},
        "leaky": {"scale": 0.5, "relu": 0.125},
        "fp16": {"scale": 0.5, "mode": "DEQF16"},
        "fp16-big": {"scale": 1024.0, "mode": "DEQF16"},
        "fp16-small": {"scale": 2.0**-24, "mode": "DEQF16"},
        "fp16-relu": {"scale": 0.5, "mode": "DEQF16", "relu": True},
        "fp16-leaky": {"scale": 0.5, "mode": "DEQF16", "relu": 0.25},
    }
    n = len(ties)
    scales = [0.5, 0.25, 1.0, 2.0, -0.5, 0.0078125, 3.0, 1.5]
    modes |= {
        "columns": {
            "scale": [scales[i % 8] for i in range(n)], "offset": [i % 7 - 3 for i in range(n)],
        },
        "fp16-columns": {"scale": [scales[i % 8] for i in range(n)], "mode": "DEQF16"},
    }  # fmt: skip
    for name, rule in modes.items():
        # Sums of a few small products around the ties, so that rows differ.
        spec = matmul(3, n, 8, weights="zero", bias=ties, requant=rule)
        yield Item(f"ties-{name}", spec, ("requant", "ties"))
        layout = "zn" if "columns" in name else "nd"
        spec = matmul(
            5, n, 20, weights="edges", activations="edges", bias="uniform", requant=rule,
            layout=layout,
        )  # fmt: skip
        yield Item(f"sums-{name}", spec, ("requant",))
    spec = matmul(
        1, 4, 4, weights="zero", bias=[2049, 2051, -2049, -2051], layout="nd",
        requant={"scale": 1.0, "mode": "DEQF16"},
    )  # fmt: skip
    yield Item("ties-fp16-even", spec, ("requant", "ties"))
    few: dict[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {
        "subnormal-scale": ({"scale": 2.0**-127}, {}),
        "offset-max": ({"scale": 0.3, "offset": 255, "signed": False}, {}),
        "shift-n": ({"scale": 1.0, "shift": 5}, {"requant_shift": "n"}),
        "offset-unsigned": (
            {"scale": 0.3, "offset": 300, "signed": False}, {"requant_offset": "unsigned"},
        ),
    }  # fmt: skip
    for name, (rule, rest) in few.items():
        spec = matmul(1, n, 4, weights="zero", bias=ties, requant=rule, layout="nd", **rest)
        yield Item(f"ties-{name}", spec, ("requant", "ties"))


# --- random ---------------------------------------------------------------------------------------


def random(level: int, seed: int) -> Iterator[Item]:
    """Drawn shapes, fills and requantisations, weighted towards edges."""
    count = {0: 12, 1: 10_000, 2: 1_000_000}[level]
    for number in range(count):
        name = f"r{number:06d}"
        # All words at once, and the rule of SplitMix64.below on plain integers: each worker draws
        # the specs of all cases, and computes its own.
        words = iter(SplitMix64(case_seed(seed, "random-spec", name)).words(64).tolist())

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
            m, n = (pick(*_MN, 1 + pick(*range(40))) for _ in range(2))
            k = pick(4, 5, 7, 60, 63, 64, 65, 68, 128) if small else 4 * (1 + pick(*range(200)))
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


# --- made from good cases, and from networks ------------------------------------------------------
# They build on the specs above, so they are imported when they are asked for.


def negative(level: int, seed: int) -> Iterator[Item]:
    """Everything that must be refused, with the error that it must give: see damage.py."""
    from cube24.vectors.damage import negative as cases

    return cases(level, seed)


def faults(level: int, seed: int) -> Iterator[Item]:
    """One flipped bit: changed, masked or refused: see damage.py."""
    from cube24.vectors.damage import faults as cases

    return cases(level, seed)


def network(level: int, seed: int) -> Iterator[Item]:
    """The layers of a small network on real images: see onnx_layers.py."""
    from cube24.vectors.onnx_layers import network as cases

    return cases(level, seed)


Suite = Callable[[int, int], Iterator[Item]]

#: The suites by name, each with its version.
SUITES: dict[str, tuple[int, Suite]] = {
    "patterns": (1, patterns),
    "shapes": (1, shapes),
    "accumulate": (1, accumulate),
    "requant": (1, requant),
    "random": (1, random),
    "network": (1, network),
    "negative": (1, negative),
    "faults": (1, faults),
}


def items(suite: str, level: int, seed: int) -> Iterator[Item]:
    """The cases of a suite.

    Args:
        suite: its name. level: 0, 1 or 2. seed: of the campaign.

    Raises:
        ArgumentError: no such suite or level.
    """
    if suite not in SUITES:
        raise ArgumentError(f"suite {suite!r}: choose of {', '.join(SUITES)}")
    if level not in LEVELS:
        raise ArgumentError(f"level {level}: choose 0, 1 or 2")
    return SUITES[suite][1](level, seed)
