"""Constrained random stimulus: matrix multiplications drawn from what a test allows.

Each draw becomes the folder of a golden vector, with the seed in its manifest, so that a failing
one can be played again, compared, shrunk and sent to somebody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

from cube24 import vectors
from cube24.vectors.spec import INT32_MAX, INT32_MIN, Item, matmul

#: What is drawn for each argument of a spec, all alike, where a test does not say otherwise.
ALLOWED: Mapping[str, Sequence[Any]] = {
    "m": (1, 2, 2, 3, 5, 16, 17),
    "n": (1, 7, 15, 16, 17, 20, 33),
    "k": (1, 3, 4, 6, 12, 60, 63, 64, 65, 68, 100, 128, 129),
    "layout": ("nd", "zn"),
    "weights": ("uniform", "edges", "legal", "legal", "foreign"),
    "activations": ("uniform", "edges", "edges", "ramp", "zero"),
    "bias": (None, "uniform", (INT32_MIN, INT32_MAX, 0), (1, -1, 77)),
    "overflow": ("saturate", "wrap"),
    "grain": ("step", "instruction"),
    "requant": (None, "REQ8", "DEQF16"),
    "pair20": ("rule", "table"),
    "index3": ("error", "nothing"),
    "requant_shift": ("n+1", "n"),
    "requant_offset": ("signed", "unsigned"),
}


def draw(random: Random, constraints: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """Draw the arguments of a spec; the constraints replace what is allowed of them."""
    allowed = {**ALLOWED, **constraints}
    if unknown := allowed.keys() - ALLOWED.keys():
        raise ValueError(f"nothing to constrain: {', '.join(sorted(unknown))}")
    given = {name: random.choice(list(of)) for name, of in allowed.items()}
    if given["weights"] == "legal":  # every legal group of extremes, from any of them on
        given["weights"] = {"legal": random.randrange(113)}
    if given["weights"] == "foreign":  # index pairs that the encoder never writes, too
        given["weights"] = {"foreign": random.randrange(36)}
    if isinstance(given["bias"], Sequence) and not isinstance(given["bias"], str):
        given["bias"] = list(given["bias"])
    if given["requant"] in ("REQ8", "DEQF16"):
        given["requant"] = _requant(random, given)
    return given


def _requant(random: Random, given: Mapping[str, Any]) -> dict[str, Any]:
    """Draw a requantisation of a mode: one word, or one a column."""
    mode, n = given["requant"], given["n"]
    scales = (0.5, -0.5, 0.0009765625, 0.0003, 0.01, 0.0, 1e-39, 3.0)
    many = random.random() < 0.5
    scale = [random.choice(scales) for _ in range(n)] if many else random.choice(scales)
    relu = random.choice((False, True, 0.25))
    if mode == "DEQF16":
        return {"mode": mode, "scale": scale, "relu": relu}
    low, high = (0, 511) if given["requant_offset"] == "unsigned" else (-256, 255)
    offsets = (low, high, 0, random.randint(low, high), random.choice((1, 3, 100)))
    offset = [random.choice(offsets) for _ in range(n)] if many else random.choice(offsets)
    shift = random.choice((0, 1, 7, 16 if given["requant_shift"] == "n+1" else 15))
    how = {"mode": mode, "scale": scale, "offset": offset, "relu": relu, "shift": shift}
    return how | {"signed": random.random() < 0.5}


def write(folder: Path, name: str, seed: int, given: Mapping[str, Any]) -> vectors.Stored:
    """Write a drawn case; the suite is that of drawn cases."""
    item = Item(name, matmul(**given), ("random",))
    style = vectors.CaseStyle(formats=("npy",), manifest=2)
    campaign = vectors.Campaign(("random",), level=0, seed=seed, style=style)
    vectors.write_case(folder / name, "random", item, campaign)
    return vectors.load(folder / name)
