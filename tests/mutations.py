"""What single flipped bits of ten golden cases do, by the package and by the plain device.

python tests/mutations.py [STRIDE]

Flips each bit (each STRIDE-th one) of each array that a device reads, lets the package compute the
case again, compares the result with the expected one, and demands of the plain device the very same
result, or a refusal where the package refuses. Prints a table.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import plain_device as device

from cube24.encoder import Cube24Error
from cube24.vectors.case import compute
from cube24.vectors.comparison import compare
from cube24.vectors.comparison.device import finished
from cube24.vectors.comparison.operands import operands_of
from cube24.vectors.manifest import Stored, load
from cube24.vectors.spec import unit_of

GOLDEN = Path(__file__).parents[1] / "vectors" / "golden"

CASES = (
    "shapes/matmul-1x1x8", "shapes/fully-connected-4x3x20", "shapes/fully-connected-5x10x36",
    "shapes/conv-2x2-x", "shapes/loads", "accumulate/saturate-step-none",
    "requant/ties-fp16-even", "requant/ties-shift-n", "random/r000003", "random/r000006",
)  # fmt: skip

ROLES = ("dense", "index", "activations", "bias", "requant")


def recomputed(stored: Stored, arrays: Mapping[str, Any], role: str) -> Any:
    """What the package makes of the arrays; None if it refuses them."""
    try:
        if role != "requant":
            return compute(stored.spec, unit_of(stored.spec), arrays).output
        # Words come from the spec elsewhere: here the accumulators meet those of the file.
        plain = {**stored.spec, "requant": None}
        sums = compute(plain, unit_of(plain), arrays).output
        assert sums is not None
        return finished(operands_of(stored.spec, arrays), sums.astype(np.int64))
    except Cube24Error:
        return None


def by_plain_device(stored: Stored, arrays: Mapping[str, Any]) -> Any:
    """What the plain device makes of them; None if it refuses them."""
    try:
        return device.run(stored.spec, arrays)
    except (AssertionError, ValueError, OverflowError):  # an index of 3; a scale that is no number
        return None


def mutations(name: str, stride: int) -> Iterator[tuple[str, str, str]]:
    """(role, outcome, disagreement) of each flipped bit."""
    stored = load(GOLDEN / name)
    roles = [role for role in (*ROLES, "expected") if stored.entries(role)]
    arrays = {role: stored.array(role) for role in roles}
    for role in roles[:-1]:
        good = arrays[role].tobytes()
        for bit in range(0, 8 * len(good), stride):
            bad = bytearray(good)
            bad[bit // 8] ^= 1 << bit % 8
            flipped = np.frombuffer(bytes(bad), arrays[role].dtype).reshape(arrays[role].shape)
            ours = recomputed(stored, {**arrays, role: flipped}, role)
            theirs = by_plain_device(stored, {**arrays, role: flipped})
            place = f"{name} {role} bit {bit}"
            if ours is None or theirs is None:
                same = ours is None and theirs is None
                yield role, "refused", "" if same else f"{place}: refused by one alone"
                continue
            outcome = "masked" if compare(stored, ours).equal else "changed"
            same = ours.tobytes() == theirs.tobytes()
            yield role, outcome, "" if same else f"{place}: results differ"


def main(stride: int = 1) -> int:
    """Print the table; gives the number of disagreements."""
    counts: Counter[tuple[str, str]] = Counter()
    wrong = []
    for name in CASES:
        for role, outcome, disagreement in mutations(name, stride):
            counts[role, outcome] += 1
            if disagreement:
                wrong.append(disagreement)
    outcomes = ("changed", "masked", "refused")
    print(f"{'role':<12}" + "".join(f"{name:>9}" for name in outcomes))
    for role in ROLES:
        print(f"{role:<12}" + "".join(f"{counts[role, outcome]:>9}" for outcome in outcomes))
    totals = [sum(counts[role, outcome] for role in ROLES) for outcome in outcomes]
    print(f"{'all':<12}" + "".join(f"{total:>9}" for total in totals))
    print(f"disagreements with the plain device: {len(wrong)}", *wrong[:10], sep="\n")
    return len(wrong)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])) > 0)
