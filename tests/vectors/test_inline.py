"""Numbers that stand in a spec."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from plain_sums import made

from cube24.encoder import ArgumentError
from cube24.vectors import fill
from cube24.vectors.spec import Item, conv2d, matmul


def test_inline_numbers_are_those_of_the_arrays() -> None:
    weight = np.int8([[1, 0, 0, -2, 3], [0, 0, 127, -128, 0]])
    x = np.int8([[1, 2, 3, 4, 5]])
    spec = matmul(1, 2, 5, weights=fill.inline_weights(weight), activations=fill.inline(x))
    case = made(Item("case", spec))
    assert case.pieces["weights"].array.tolist() == weight.tolist()
    assert case.pieces["expected"].array.tolist() == [[1 - 8 + 15, 381 - 512]]
    assert case.seed != made(Item("case", spec), seed=2).seed
    again = made(Item("case", spec), seed=2)
    assert again.pieces["expected"].array.tolist() == case.pieces["expected"].array.tolist()
    kernel = np.zeros((2, 3, 2, 2), np.int8)
    kernel[1, 2, 0, 1] = 9
    spec = conv2d(3, 2, (2, 2), (2, 2), weights=fill.inline_weights(kernel))
    assert made(Item("case", spec)).pieces["weights"].array.tolist() == kernel.tolist()


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"base64": "AAAA"}, "base64: 3 bytes, where the sizes ask for 4"),
        ({"base64": "AAAAAA=="[:-1]}, "base64"),
        ({"base64": "AA!AAA=="}, "base64"),
        ({"base64": 4}, "base64"),
        ({"base64": "AAAAAA==", "more": 1}, "no such rule"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(rule: Any, message: str) -> None:
    for role in ("weights", "activations"):
        with pytest.raises(ArgumentError, match=message):
            made(Item("case", matmul(1, 1, 4, **{role: rule})))
