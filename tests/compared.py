"""Cases on disk on which faults are told apart."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cube24.vectors.build import build
from cube24.vectors.files import CaseStyle
from cube24.vectors.manifest import Stored, files_of, load
from cube24.vectors.spec import Item, conv2d, matmul

Made = tuple[Stored, dict[str, Any]]

EDGE = 2**31


def make(folder: Path, spec: Mapping[str, Any], style: CaseStyle | None = None) -> Made:
    """A case on disk, and its arrays as NumPy's own reader finds them."""
    case = build("test", 1, Item("case", spec), 1, style)
    folder.mkdir(exist_ok=True)
    for name, data in files_of(case).items():
        (folder / name).write_bytes(data)
    arrays = {role: piece.array for role, piece in case.pieces.items()}
    if style is None:
        arrays = {role: np.load(folder / f"{role}.npy") for role in arrays}
    return load(folder), arrays


#: Cases on which faults are told apart.
SPECS: dict[str, dict[str, Any]] = {
    "zn": matmul(18, 33, 132, weights="full"),
    "nd": matmul(17, 18, 136, weights="full", layout="nd"),
    "tiles": matmul(70, 40, 320, weights="full"),
    "tiles-k": matmul(2, 3, 500, layout="nd", bias=[4, 5, 6]),
    "nd-tail": matmul(3, 5, 131, layout="nd", bias=[3, -70, 1000, 5, 9]),
    "conv": conv2d(
        33, 17, (4, 4), (3, 2), pads=(1, 0, 1, 1), strides=(1, 2), batch=2, offset_x=-5,
    ),
    "conv-nd": conv2d(
        3, 5, (4, 5), (3, 3), pads=(1, 1, 0, 0), dilations=(1, 2), layout="nd", bias=[7, -9],
    ),
    "requant": matmul(
        17, 20, 128, weights="edges", bias=[30000, -9000, 4000, 400],
        requant={"scale": 0.002, "offset": 3},
    ),
    "columns": matmul(
        6, 4, 64, weights="zero", bias=[1, 2, 3, 5],
        requant={"scale": [0.5, 0.25, -0.5, 0.001], "offset": [1, 2, -3, 0]},
    ),
    "half": matmul(4, 9, 72, weights="uniform", bias=[5000, 3], requant={
        "scale": 0.5, "mode": "DEQF16", "relu": 0.25}),
    "saturate": matmul(4, 6, 320, bias=[EDGE - 900, -EDGE + 900], layout="nd"),
    "wrap": matmul(4, 6, 320, bias=[EDGE - 900, -EDGE + 900], overflow="wrap"),
    "grain": matmul(4, 6, 320, bias=[EDGE - 900, -EDGE], grain="instruction"),
    "ties": matmul(3, 9, 8, weights="zero", bias=[1, 3, 5, -1, -3, -5, 7, 9, 11],
                   requant={"scale": 0.5}),
    "ties-half": matmul(3, 4, 8, weights="zero", bias=[2049, -2051, 4098, 4102],
                        requant={"scale": 1.0, "mode": "DEQF16"}),
}  # fmt: skip
