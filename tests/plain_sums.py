"""Layers in plain Python: sums of products, and the numbers of the digits network."""

from __future__ import annotations

import importlib.resources
import io
from collections.abc import Mapping
from itertools import product

import numpy as np

from cube24.vectors.build import build
from cube24.vectors.case import Case
from cube24.vectors.spec import Item


def made(item: Item, seed: int = 1) -> Case:
    return build("network", 1, item, seed)


def sums_of(case: Case) -> np.ndarray:
    """The accumulators, (rows, N) or (batch, ho, wo, cout), from weights and activations."""
    size, weight = case.spec["sizes"], case.pieces["weights"].array.astype(int)
    x = case.pieces["activations"].array.astype(int)
    bias = case.pieces["bias"].array.tolist() if "bias" in case.pieces else [0] * len(weight)
    if case.spec["operation"] != "conv2d":
        return np.array(
            [[sum(a * b for a, b in zip(row, w, strict=True)) + bias[n]
              for n, w in enumerate(weight.tolist())] for row in x.tolist()]
        )  # fmt: skip
    cout, cin, kh, kw = weight.shape
    (sh, sw), (dh, dw), (top, left, bottom, right) = (
        size["strides"], size["dilations"], size["pads"],
    )  # fmt: skip
    ho = (size["h"] + top + bottom - (kh - 1) * dh - 1) // sh + 1
    wo = (size["w"] + left + right - (kw - 1) * dw - 1) // sw + 1
    out = np.zeros((size["batch"], ho, wo, cout), int)
    for b, y, z in product(range(size["batch"]), range(ho), range(wo)):
        for i, j in product(range(kh), range(kw)):
            v, u = y * sh + i * dh - top, z * sw + j * dw - left
            if 0 <= v < size["h"] and 0 <= u < size["w"]:
                pixel = x[b, :, v, u].ravel()[:cin]
                out[b, y, z] += (weight[:, :, i, j] * pixel).sum(axis=1)
    return out + bias


def digits() -> Mapping[str, np.ndarray]:
    raw = importlib.resources.files("cube24.simulator").joinpath("data/digits.npz").read_bytes()
    with np.load(io.BytesIO(raw)) as members:
        return dict(members)
