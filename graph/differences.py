"""Two arrays that should be the same: how many numbers differ, by how much, and the first one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from cube24.errors import ShapeError


@dataclass(frozen=True)
class Difference:
    """How two values of one name differ; NaN is equal to NaN.

    Attributes:
        name: of the value. node: that makes it; empty for an output of the model.
        total: numbers. one: that are off by one, of whole numbers. more: by more, or at all.
        first, got, expected: coordinates of the first one that differs, and what stands there.
        largest: the largest difference.
    """

    name: str
    node: str
    total: int
    one: int = 0
    more: int = 0
    first: tuple[int, ...] | None = None
    got: float | int | None = None
    expected: float | int | None = None
    largest: float = 0.0

    @property
    def differing(self) -> int:
        """How many differ."""
        return self.one + self.more

    def __str__(self) -> str:
        """A line."""
        what = f"{self.node} ({self.name})" if self.node and self.node != self.name else self.name
        if not self.differing:
            return f"{what}: 0 of {self.total} differ"
        by = f", {self.one} by one and {self.more} by more" if self.one else ""
        return (
            f"{what}: {self.differing} of {self.total} differ{by}; the first at {self.first}: got "
            f"{self.got}, expected {self.expected}"
        )


def difference(name: str, got: Any, expected: Any, node: str = "") -> Difference:
    """Compare two values.

    Raises:
        ShapeError: they are of different shapes or types.
    """
    got, expected = np.asarray(got), np.asarray(expected)
    if got.shape != expected.shape or got.dtype != expected.dtype:
        raise ShapeError(
            f"{name} is {got.dtype} {got.shape}, and {expected.dtype} {expected.shape} in the "
            f"reference"
        )
    differs = got != expected
    if got.dtype.kind in "fc":
        differs &= ~(np.isnan(got) & np.isnan(expected))
    places = np.argwhere(differs)
    if not len(places):
        return Difference(name, node, got.size)
    first = tuple(int(at) for at in places[0])
    one = largest = 0
    if got.dtype.kind in "iu":
        steps = np.abs(got[differs].astype(np.int64) - expected[differs].astype(np.int64))
        one, largest = int((steps == 1).sum()), int(steps.max())
    elif got.dtype.kind == "f":
        with np.errstate(invalid="ignore"):
            far = np.abs(got[differs].astype(np.float64) - expected[differs])
        largest = float(far.max())  # type: ignore[assignment]
    return Difference(
        name, node, got.size, one, len(places) - one, first, got[first].item(),
        expected[first].item(), float(largest),
    )  # fmt: skip
