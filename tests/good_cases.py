"""Cases that are changed, and the good ones that they were made from."""

from __future__ import annotations

import json
from functools import cache

from cube24.vectors.build import build
from cube24.vectors.case import Case
from cube24.vectors.files import CaseStyle
from cube24.vectors.spec import Item, matmul


def made(item: Item, style: CaseStyle | None = None) -> Case:
    return build("test", 1, item, 1, style)


@cache
def good(text: str) -> Case:
    """The case that a spec, as JSON, has without its change."""
    return made(Item("case", {**json.loads(text), "change": None}))


def good_of(case: Case) -> Case:
    return good(json.dumps({**case.spec, "change": None}))


BASE = matmul(2, 3, 12, weights="full", layout="nd")  # without padding of N
