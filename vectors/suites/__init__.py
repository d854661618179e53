"""The suites: which cases there are, by level. A case is named by what it is, not by a number.

Level 0 is the committed golden set: small, and enough for every reachable coverage bin. Level 1
takes a minute or some, level 2 an hour or some; each has all cases of the levels below. Adding a
case changes no other; a suite whose cases change gets a new version.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from cube24.errors import ArgumentError
from cube24.sizes import shown, whole
from cube24.vectors.files import CaseStyle
from cube24.vectors.spec import Item
from cube24.vectors.suites import (
    accumulate,
    digits,
    faults,
    fixpipe,
    foreign,
    magnitude,
    negative,
    patterns,
    random,
    requant,
    shapes,
)

LEVELS = (0, 1, 2)

Suite = Callable[[int, int], Iterator[Item]]

#: The suites by name, each with its version.
SUITES: dict[str, tuple[int, Suite]] = {
    "patterns": (1, patterns.cases),
    "shapes": (1, shapes.cases),
    "accumulate": (1, accumulate.cases),
    "requant": (1, requant.cases),
    "random": (1, random.cases),
    "network": (1, digits.cases),
    "negative": (1, negative.cases),
    "faults": (1, faults.cases),
    "foreign": (1, foreign.cases),
    "magnitude": (1, magnitude.cases),
    "fixpipe": (1, fixpipe.cases),
}


#: Suites from before manifests of version 2: their cases have them only where they are asked for.
FIRST = (
    "patterns", "shapes", "accumulate", "requant", "random", "network", "negative", "faults",
)  # fmt: skip

#: Suites whose cases are about one layout: about its bits, or its padding.
ONE_LAYOUT = ("negative", "faults", "foreign", "fixpipe")

#: Suites whose cases have the layout in their names.
NAMED_LAYOUT = ("patterns",)


def style_of(suite: str, style: CaseStyle) -> CaseStyle:
    """How the cases of a suite are written, where a campaign has a style."""
    return style if suite in FIRST else replace(style, manifest=2)


def items(suite: str, level: int, seed: int) -> Iterator[Item]:
    """The cases of a suite.

    Args:
        suite: its name. level: 0, 1 or 2. seed: of the campaign.

    Raises:
        ArgumentError: no such suite or level.
    """
    if suite not in SUITES:
        raise ArgumentError(f"suite {suite!r}: choose of {', '.join(SUITES)}")
    if (level := whole(level, "level", None)) not in LEVELS:
        raise ArgumentError(f"level {shown(level)}: choose 0, 1 or 2")
    return SUITES[suite][1](level, whole(seed, "seed", 0, (1 << 64) - 1))


def names(suite: str, level: int) -> Iterator[str]:
    """The names of what :func:`items` gives with any seed, in the same order: a million a second.

    Raises:
        ArgumentError: as there.
    """
    found = items(suite, level, 1)
    return random.names(level) if suite == "random" else (item.name for item in found)
