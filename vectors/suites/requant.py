"""The suite of requantisation: what FIXPIPE makes of accumulators."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cube24.vectors.spec import INT32_MAX, INT32_MIN, Item, matmul


def cases(level: int, seed: int) -> Iterator[Item]:
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
