"""All bins that there are: the coverpoints, their bins, and those that no case can hit.

A bin is named ``coverpoint/bin``. An unreachable one says why. docs/vectors.md lists the
coverpoints.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from cube24.vectors.coverage import foreign, width

#: The patterns of a group, e0 first: X and Y are non-zeros.
PATTERNS = (
    "0000", "X000", "0X00", "00X0", "000X", "XY00", "X0Y0", "X00Y", "0XY0", "0X0Y", "00XY",
)  # fmt: skip

#: The index pairs, i0 first.
PAIRS = tuple(map("".join, product("0123", repeat=2)))

#: The classes of an int8: -128, -127 to -2, -1, 0, 1, 2 to 126, 127.
CLASSES = ("-128", "neg", "-1", "0", "1", "pos", "127")

#: The formats of a requantised result, and what rounding can do.
FORMATS = ("s8", "u8", "f16")
ROUNDINGS = (
    "exact", "tie-down", "tie-up", "below", "above", "clamp-low", "clamp-high", "low", "high",
    "sub", "-0",
)  # fmt: skip

#: What flags say (timing.py, in parentheses there), with the other things that a pipe waits for.
STALLS = (
    "L1-filled", "L1-free", "L0-filled", "L0-free", "L0C-filled", "L0C-free", "parameters-in-L1",
    "parameters-read", "hand-over", "unit-flag", "queue-MTE2", "queue-MTE1", "queue-M", "queue-FIX",
    "other",
)  # fmt: skip


@dataclass(frozen=True)
class CoverPoint:
    """A coverpoint.

    Attributes: name; about, what it looks at; bins, all of them in order; unreachable, those that
    no case can hit, each with the reason; form, for bins that other suites name: what such a name
    looks like. Those are counted, and never holes. since: the version of manifests that lists its
    bins first.
    """

    name: str
    about: str
    bins: tuple[str, ...]
    unreachable: Mapping[str, str] = field(default_factory=dict)
    form: str = ""
    since: int = 1

    def knows(self, bin_: str) -> bool:
        """Whether it has this bin."""
        return bin_ in self.bins or bool(self.form and re.fullmatch(self.form, bin_))


def _cross(*parts: Iterable[object]) -> tuple[str, ...]:
    return tuple(".".join(map(str, names)) for names in product(*parts))


def _values() -> dict[str, str]:
    """The unreachable bins of ``value``: a slot holds a non-zero or 0 by its pattern."""
    found = {}
    for pattern, slot, value in product(PATTERNS, "01", CLASSES):
        kept = 4 - pattern.count("0")
        holds = kept == 2 or (kept == 1 and slot == ("1" if pattern == "000X" else "0"))
        if holds and value == "0":
            found[f"{pattern}.{slot}.{value}"] = "this slot holds a non-zero of the pattern"
        elif not holds and value != "0":
            found[f"{pattern}.{slot}.{value}"] = "this slot carries no weight, so it holds 0"
    return found


def _roundings() -> dict[str, str]:
    found = {
        "f16.clamp-low": "DEQF16 has no offset, and no clamp before it",
        "f16.clamp-high": "DEQF16 has no offset, and no clamp before it",
    }
    for format_ in ("s8", "u8"):
        found[f"{format_}.sub"] = "integers have no subnormals"
        found[f"{format_}.-0"] = "integers have no negative zero"
    return found


_SIZES = ("1", "2-15", "16", "17+tail", "17+1", "17+15", "32+", "tiles")

#: All coverpoints, in the order of the table.
POINTS: tuple[CoverPoint, ...] = (
    CoverPoint(
        "value", "pattern x slot x value in the slot", _cross(PATTERNS, "01", CLASSES), _values()
    ),
    CoverPoint("pair", "index pair, i0 then i1", PAIRS),
    CoverPoint("pos", "pattern x group in the row of a fractal", _cross(PATTERNS, range(16))),
    CoverPoint("col", "pattern x column of a fractal", _cross(PATTERNS, range(16))),
    CoverPoint("foreign", "foreign pair, zeros (z) and non-zeros (n) in its slots x "
          "group in the row", _cross(foreign.legal(), range(16)), since=2),
    CoverPoint("foreigncol", "the same x column of a fractal", _cross(foreign.legal(), range(16)),
          since=2),
    CoverPoint("pair20", "reading of the pair (2, 0) x zero or not in each slot",
          _cross(("rule", "table"), foreign.ZEROS), since=2),
    CoverPoint("index3", "pair with an index of 3 that selects nothing x zero or not in each slot",
          tuple(name for name in foreign.names() if "3" in name), since=2),
    CoverPoint("act", "value of an activation", CLASSES),
    CoverPoint("mul", "selected activation x weight in the slot", _cross(CLASSES, CLASSES)),
    CoverPoint("op", "operation x layout of the weight",
          _cross(("matmul", "fully_connected", "conv2d"), ("nd", "zn"))),
    CoverPoint("m", "rows, or positions of an image; tiles: more than one tile of them", _SIZES),
    CoverPoint("n", "columns; tiles: more than one tile of them", _SIZES),
    CoverPoint("k", "tails along K, fractals, Mmads and loads of L1",
          ("group-tail", "nibble-tail", "fractal-tail", "whole", "one", "more", "mmads", "loads")),
    CoverPoint("kernel", "kernel of a convolution",
          ("1x1", "1xN", "Nx1", "3x3", "5x5", "7x7", "other")),
    CoverPoint("stride", "strides", ("1", "2", "more", "unequal")),
    CoverPoint("pad", "padding by side; around: all four equal",
          ("none", "top", "left", "bottom", "right", "one", "some", "around")),
    CoverPoint("padvalue", "value of the padding, where there is some", ("neg", "0", "pos")),
    CoverPoint("dilation", "dilations", ("1", "2", "more", "unequal")),
    CoverPoint("cin", "channels in, in groups of 4 and blocks of 32",
          ("group-tail", "block-tail", "whole", "one", "more")),
    CoverPoint("batch", "images", ("1", "more")),
    CoverPoint("bias", "values of the bias", ("none", "min", "neg", "0", "pos", "max")),
    CoverPoint("sum", "overflow seen x what the unit does with it x grain",
          _cross(("none", "pos", "neg"), ("saturate", "wrap"), ("step", "instruction"))),
    CoverPoint("width", "bits of the widest sum, of products alone and with bias, by sign",
          width.bins(), since=2),
    CoverPoint("rq", "requantisation x words",
          ("none", *_cross(("REQ8", "DEQF16"), ("one", "column")))),
    CoverPoint("relu", "mode x ReLU x sign before scaling",
          _cross(("REQ8", "DEQF16"), ("none", "relu", "leaky"), ("neg", "0", "pos"))),
    CoverPoint("scale", "scale of a word", ("neg", "0", "sub", "pos")),
    CoverPoint("offset", "offset of a word", ("min", "neg", "0", "pos", "max")),
    CoverPoint("shift", "right shift; bits dropped, and int16 saturated, by sign",
          ("none", "1", "2-15", "16", "drop-neg", "drop-pos", "low", "high")),
    CoverPoint("reading", "open points in the reading of a word, where it matters",
          ("shift.n+1", "shift.n", "offset.signed", "offset.unsigned")),
    CoverPoint("cvt", "accumulator to fp32", ("exact", "tie-down", "tie-up", "below", "above")),
    CoverPoint("round", "result x rounding; low and high: saturated", _cross(FORMATS, ROUNDINGS),
          _roundings()),
    CoverPoint("stall", "what a pipe waited for", STALLS, {
        "unit-flag": "the tiler chooses no tile with UnitFlag, and a case names no tile",
        "other": "the programs of the unit set no other flags",
    }),
    CoverPoint("outcome", "what must come out", ("result", "changed", "masked", "error")),
    CoverPoint("change", "what was changed in a good case", (), form=r"[A-Za-z0-9][A-Za-z0-9_.-]*"),
)  # fmt: skip

_BY_NAME: Mapping[str, CoverPoint] = {point.name: point for point in POINTS}

#: The names of all bins, in order.
BINS: tuple[str, ...] = tuple(f"{point.name}/{bin_}" for point in POINTS for bin_ in point.bins)

#: The bins that no case can hit, each with the reason.
UNREACHABLE: Mapping[str, str] = {
    f"{point.name}/{bin_}": reason
    for point in POINTS
    for bin_, reason in sorted(point.unreachable.items(), key=lambda of: point.bins.index(of[0]))
}


_NAMES: Mapping[str, tuple[str, ...]] = {
    point.name: tuple(f"{point.name}/{bin_}" for bin_ in point.bins) for point in POINTS
}


def is_bin(name: str) -> bool:
    """Whether there is a bin of this name."""
    point, _, bin_ = name.partition("/")
    return point in _BY_NAME and _BY_NAME[point].knows(bin_)


#: The bins as they are sorted by name, and of each coverpoint the places of its bins among them.
_SORTED = np.array(sorted(BINS), object)
_PLACE = {bin_: place for place, bin_ in enumerate(_SORTED)}
_PLACES: Mapping[str, npt.NDArray[np.intp]] = {
    name: np.array([_PLACE[bin_] for bin_ in bins], np.intp) for name, bins in _NAMES.items()
}


def collected(names: Iterable[str], flags: Mapping[str, npt.NDArray[np.bool_]]) -> tuple[str, ...]:
    """Bins, sorted and each once.

    Args:
        names: of bins.
        flags: of coverpoints, a flag for each of its bins, in their order.
    """
    hit = np.zeros(len(_SORTED), bool)
    for point, hits in flags.items():
        hit[_PLACES[point]] = hits.reshape(-1)
    listed, of_forms = [], set()
    for name in names:
        place = _PLACE.get(name)
        if place is None:
            of_forms.add(name)
        else:
            listed.append(place)
    hit[listed] = True
    found: list[str] = _SORTED[hit].tolist()
    return tuple(sorted([*found, *of_forms]) if of_forms else found)


def named(point: str, **found: Any) -> Iterator[str]:
    """The bins of which something is true; _ stands for -."""
    return (
        f"{point}/{name.replace('_', '-')}"
        for name, is_ in found.items()
        if (is_ if type(is_) is bool else any_of(is_))
    )


def any_of(found: npt.NDArray[Any]) -> bool:
    """What np.any gives: of small arrays in a fourth of the time."""
    return bool(np.count_nonzero(found))
