"""The suite of flipped bits: changed, masked or refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cube24.vectors.spec import Item, Spec, conv2d, matmul


@dataclass(frozen=True)
class _Flips:
    """Bits to flip in a case: every step-th one of each role, by level; None: none."""

    name: str
    spec: Spec
    bytes: Mapping[str, int]  # of each role
    steps: tuple[int | None, int, int]
    chosen: Mapping[str, range] | None = None  # at level 0

    def bits(self, role: str, level: int) -> list[int]:
        """The bits of a role, ascending."""
        found: set[int] = set((self.chosen or {}).get(role, ()))
        step = self.steps[level]
        if step is not None:
            found.update(range(0, 8 * self.bytes[role], step))
        return sorted(found)


def _flips() -> Iterator[_Flips]:
    # No rule here draws, so the outcomes are the same for every seed.
    known: dict[str, Any] = {"weights": {"legal": 40}, "activations": "ramp"}
    yield _Flips(
        "nd", matmul(2, 3, 8, layout="nd", **known), {"dense": 12, "index": 3, "activations": 16},
        (None, 1, 1), {"dense": range(8), "index": range(8), "activations": range(24, 32)},
    )  # fmt: skip
    yield _Flips(
        "requant", matmul(3, 2, 12, layout="nd", bias=[100, -100], requant={"scale": 0.03125},
                          **known),
        {"dense": 16, "index": 4, "activations": 36}, (None, 7, 1),
    )  # fmt: skip
    yield _Flips(
        "zn", matmul(2, 3, 12, layout="zn", **known),
        {"dense": 512, "index": 128, "activations": 24}, (None, 61, 1),
    )  # fmt: skip
    yield _Flips(
        "conv", conv2d(5, 3, (3, 3), (2, 2), layout="nd", pads=(1, 0, 0, 1), offset_x=-3, **known),
        {"dense": 192, "index": 48, "activations": 288}, (None, 61, 1),
    )  # fmt: skip


def cases(level: int, seed: int) -> Iterator[Item]:
    """One flipped bit: changed, masked or refused.

    Level 0 has a byte of each role; level 1 every bit of a tiny case and some of others; level 2
    every bit of those.
    """
    for of in _flips():
        for role in of.bytes:
            for bit in of.bits(role, level):
                change = {"kind": "fault", "role": role, "bit": bit}
                yield Item(f"{of.name}-{role}-{bit:05d}", {**of.spec, "change": change}, ("fault",))
