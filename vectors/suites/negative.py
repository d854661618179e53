"""The suite of negative cases: what must be refused, by whom and with which error."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product

from cube24.vectors.damage import DAMAGES
from cube24.vectors.spec import Item, Spec, conv2d, matmul


def _bases() -> Mapping[str, Spec]:
    """Small cases with padding of every kind, in which whatever can be damaged is there."""
    return {
        "zn": matmul(3, 5, 12, weights="full", bias=[1, -1], layout="zn"),
        "nd": matmul(2, 3, 12, weights="full", layout="nd"),
        "conv": conv2d(5, 3, (3, 4), (2, 2), weights="full", requant={"scale": 0.5}, layout="nd"),
    }


def cases(level: int, seed: int) -> Iterator[Item]:
    """Everything that must be refused, in each format; from level 1 on in each role and layout."""
    for base, spec in _bases().items():
        for what, of in DAMAGES.items():
            for format_, role in product(of.formats, of.roles):
                usual = role == of.roles[0] and (of.of_array is None or format_ == "hex")
                if not (usual and base == "zn") and level == 0:
                    continue
                if what == "shape-unit" and base == "conv":
                    continue  # NC1HWC0 has no two sizes to exchange
                change = {"kind": "negative", "what": what, "role": role, "format": format_}
                name = f"{what}-{role}-{format_}-{base}"
                yield Item(name, {**spec, "change": change}, ("negative", what))
