"""The table of coverage: all bins that there are, and how many cases hit each.

A bin is named ``coverpoint/bin``. Some cannot be hit by any case; each says why. docs/vectors.md
lists the coverpoints.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from cube24.errors import ArgumentError, FileFormatError, StrPath
from cube24.files import read_text
from cube24.vectors.manifest import MANIFEST, folders, load

SCHEMA = "cube24-coverage-1"

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
class Point:
    """A coverpoint.

    Attributes: name; about, what it looks at; bins, all of them in order; unreachable, those that
    no case can hit, each with the reason; form, for bins that other suites name: what such a name
    looks like. Those are counted, and never holes.
    """

    name: str
    about: str
    bins: tuple[str, ...]
    unreachable: Mapping[str, str] = field(default_factory=dict)
    form: str = ""

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


def _pairs() -> dict[str, str]:
    found = {"21": "the encoder never writes the pair (2, 1)"}
    illegal = "an index of 3 is illegal; the encoder never writes it"
    return found | {pair: illegal for pair in PAIRS if "3" in pair}


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
POINTS: tuple[Point, ...] = (
    Point(
        "value", "pattern x slot x value in the slot", _cross(PATTERNS, "01", CLASSES), _values()
    ),
    Point("pair", "index pair, i0 then i1", PAIRS, _pairs()),
    Point("pos", "pattern x group in the row of a fractal", _cross(PATTERNS, range(16))),
    Point("col", "pattern x column of a fractal", _cross(PATTERNS, range(16))),
    Point("act", "value of an activation", CLASSES),
    Point("mul", "selected activation x weight in the slot", _cross(CLASSES, CLASSES)),
    Point("op", "operation x layout of the weight",
          _cross(("matmul", "fully_connected", "conv2d"), ("nd", "zn"))),
    Point("m", "rows, or positions of an image; tiles: more than one tile of them", _SIZES),
    Point("n", "columns; tiles: more than one tile of them", _SIZES),
    Point("k", "tails along K, fractals, Mmads and loads of L1",
          ("group-tail", "nibble-tail", "fractal-tail", "whole", "one", "more", "mmads", "loads")),
    Point("kernel", "kernel of a convolution",
          ("1x1", "1xN", "Nx1", "3x3", "5x5", "7x7", "other")),
    Point("stride", "strides", ("1", "2", "more", "unequal")),
    Point("pad", "padding by side; around: all four equal",
          ("none", "top", "left", "bottom", "right", "one", "some", "around")),
    Point("padvalue", "value of the padding, where there is some", ("neg", "0", "pos")),
    Point("dilation", "dilations", ("1", "2", "more", "unequal")),
    Point("cin", "channels in, in groups of 4 and blocks of 32",
          ("group-tail", "block-tail", "whole", "one", "more")),
    Point("batch", "images", ("1", "more")),
    Point("bias", "values of the bias", ("none", "min", "neg", "0", "pos", "max")),
    Point("sum", "overflow seen x what the unit does with it x grain",
          _cross(("none", "pos", "neg"), ("saturate", "wrap"), ("step", "instruction"))),
    Point("rq", "requantisation x words",
          ("none", *_cross(("REQ8", "DEQF16"), ("one", "column")))),
    Point("relu", "mode x ReLU x sign before scaling",
          _cross(("REQ8", "DEQF16"), ("none", "relu", "leaky"), ("neg", "0", "pos"))),
    Point("scale", "scale of a word", ("neg", "0", "sub", "pos")),
    Point("offset", "offset of a word", ("min", "neg", "0", "pos", "max")),
    Point("shift", "right shift; bits dropped, and int16 saturated, by sign",
          ("none", "1", "2-15", "16", "drop-neg", "drop-pos", "low", "high")),
    Point("reading", "open points in the reading of a word, where it matters",
          ("shift.n+1", "shift.n", "offset.signed", "offset.unsigned")),
    Point("cvt", "accumulator to fp32", ("exact", "tie-down", "tie-up", "below", "above")),
    Point("round", "result x rounding; low and high: saturated", _cross(FORMATS, ROUNDINGS),
          _roundings()),
    Point("stall", "what a pipe waited for", STALLS, {
        "unit-flag": "the tiler chooses no tile with UnitFlag, and a case names no tile",
        "other": "the programs of the unit set no other flags",
    }),
    Point("outcome", "what must come out", ("result", "changed", "masked", "error")),
    Point("change", "what was changed in a good case", (), form=r"[A-Za-z0-9][A-Za-z0-9_.-]*"),
)  # fmt: skip

_BY_NAME = {point.name: point for point in POINTS}

#: The names of all bins, in order.
BINS: tuple[str, ...] = tuple(f"{point.name}/{bin_}" for point in POINTS for bin_ in point.bins)

#: The bins that no case can hit, each with the reason.
UNREACHABLE: Mapping[str, str] = {
    f"{point.name}/{bin_}": reason
    for point in POINTS
    for bin_, reason in sorted(point.unreachable.items(), key=lambda of: point.bins.index(of[0]))
}

_ORDER = {name: number for number, name in enumerate(BINS)}


def is_bin(name: str) -> bool:
    """Whether there is a bin of this name."""
    point, _, bin_ = name.partition("/")
    return point in _BY_NAME and _BY_NAME[point].knows(bin_)


class Table:
    """How many cases hit each bin.

    Attributes: cases, how many were counted; counts, by bin, of those that were hit.
    """

    def __init__(self, cases: int = 0, counts: Mapping[str, int] | None = None) -> None:
        """Start from counts, or from none.

        Raises:
            ArgumentError: no such bin, or a count that so many cases cannot give.
        """
        self.cases = cases
        self.counts: dict[str, int] = {}
        for name, count in (counts or {}).items():
            if not is_bin(name):
                raise ArgumentError(f"bin {name!r}: there is none of this name")
            if type(count) is not int or not 0 <= count <= cases:
                raise ArgumentError(f"bin {name!r}: {count!r} of {cases} cases cannot hit it")
            if count:
                self.counts[name] = count

    def add(self, names: Iterable[str]) -> None:
        """Count one case by the bins that it hits.

        Raises:
            ArgumentError: no such bin; nothing is counted then.
        """
        hit = set(names)
        if unknown := sorted(name for name in hit if not is_bin(name)):
            raise ArgumentError(f"bin {unknown[0]!r}: there is none of this name")
        self.cases += 1
        for name in hit:
            self.counts[name] = self.counts.get(name, 0) + 1

    def __add__(self, other: Table) -> Table:
        """Both tables as one: the counts are added."""
        names = self.counts.keys() | other.counts.keys()
        counts = {name: self.counts.get(name, 0) + other.counts.get(name, 0) for name in names}
        return Table(self.cases + other.cases, counts)

    def __eq__(self, other: object) -> bool:
        """Whether the counts are equal."""
        if not isinstance(other, Table):
            return NotImplemented
        return (self.cases, self.counts) == (other.cases, other.counts)

    __hash__ = None  # type: ignore[assignment]  # it changes

    @property
    def holes(self) -> tuple[str, ...]:
        """The reachable bins that no case hit, in order."""
        return tuple(name for name in self._reachable() if name not in self.counts)

    @property
    def unexpected(self) -> tuple[str, ...]:
        """The bins that were hit although they are listed as unreachable, in order."""
        return tuple(name for name in UNREACHABLE if name in self.counts)

    @property
    def reachable(self) -> int:
        """How many bins can be hit."""
        return len(self._reachable())

    @property
    def percent(self) -> float:
        """The reachable bins that were hit, in percent, rounded down to a tenth."""
        return _percent(self.reachable - len(self.holes), self.reachable)

    def _reachable(self, point: str = "") -> list[str]:
        start = f"{point}/" if point else ""
        return [name for name in BINS if name.startswith(start) and name not in UNREACHABLE]

    def _rows(self) -> Iterator[tuple[str, ...]]:
        """Of each coverpoint: name, bins, reachable, hit, percent, what it looks at."""
        totals = [0, 0, 0]
        for point in POINTS:
            reachable = self._reachable(point.name)
            hit = sum(name in self.counts for name in reachable)
            numbers = [len(point.bins), len(reachable), hit]
            if point.form:
                more = sum(name.startswith(f"{point.name}/") for name in self.counts)
                yield (point.name, "-", "-", str(more), "-", point.about)
                continue
            totals = [one + other for one, other in zip(totals, numbers, strict=True)]
            yield (point.name, *map(str, numbers), _text(hit, len(reachable)), point.about)
        yield ("all", *map(str, totals), _text(totals[2], totals[1]), "")

    def _reasons(self) -> dict[tuple[str, str], list[str]]:
        """The unreachable bins by coverpoint and reason."""
        found: dict[tuple[str, str], list[str]] = {}
        for name, reason in UNREACHABLE.items():
            point, _, bin_ = name.partition("/")
            found.setdefault((point, reason), []).append(bin_)
        return found

    def __str__(self) -> str:
        """The table, the holes and the unreachable bins as plain text."""
        lines = [f"coverage of {self.cases} cases", ""]
        for row in (("coverpoint", "bins", "reachable", "hit", "%", ""), *self._rows()):
            name, bins, reachable, hit, percent, about = row
            line = f"{name:<10} {bins:>6} {reachable:>10} {hit:>6} {percent:>7}  {about}"
            lines.append(line.rstrip())
        lines += ["", f"holes: {len(self.holes)}", *(f"  {name}" for name in self.holes)]
        if self.unexpected:
            lines += ["", "hit, although listed as unreachable:"]
            lines += [f"  {name}" for name in self.unexpected]
        lines += ["", f"unreachable: {len(UNREACHABLE)}"]
        for (point, reason), names in self._reasons().items():
            lines.append(f"  {point}: {len(names)}: {reason}")
            lines.append(f"    {' '.join(names)}")
        return "\n".join(lines)

    def to_markdown(self) -> str:
        """The same as Markdown, with the count of each bin."""
        lines = [
            "# Coverage", "", f"{self.cases} cases, {self.percent} % of the reachable bins.", "",
            "| coverpoint | bins | reachable | hit | % | what |",
            "| --- | --: | --: | --: | --: | --- |",
        ]  # fmt: skip
        lines += [f"| {' | '.join(row)} |".replace("|  |", "| |") for row in self._rows()]
        lines += ["", "## Holes", "", *([f"* `{name}`" for name in self.holes] or ["None."])]
        if self.unexpected:
            lines += ["", "## Hit, although listed as unreachable", ""]
            lines += [f"* `{name}`" for name in self.unexpected]
        lines += ["", "## Unreachable", "", "| coverpoint | reason | bins |", "| --- | --- | --- |"]
        for (point, reason), names in self._reasons().items():
            lines.append(f"| {point} | {reason} | {' '.join(f'`{name}`' for name in names)} |")
        lines += ["", "## Cases by bin", "", "| bin | cases |", "| --- | --: |"]
        lines += [f"| `{name}` | {count} |" for name, count in self._sorted()]
        return "\n".join(lines) + "\n"

    def _sorted(self) -> list[tuple[str, int]]:
        return sorted(self.counts.items(), key=lambda of: _place(of[0]))

    def to_json(self) -> str:
        """The counts as JSON, with the holes and the unreachable bins; ``from_json`` reads it."""
        about = {
            "schema": SCHEMA,
            "cases": self.cases,
            "percent": self.percent,
            "counts": dict(self._sorted()),
            "holes": list(self.holes),
            "unreachable": dict(UNREACHABLE),
        }
        return json.dumps(about, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str, path: StrPath = "coverage.json") -> Table:
        """Read JSON.

        Args:
            text: of ``to_json``. path: for messages.

        Raises:
            FileFormatError: no JSON, another schema, an unknown bin, or a count that cannot be.
        """
        try:
            given = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise FileFormatError(path, f"no readable JSON: {error}") from error
        if not isinstance(given, dict) or given.get("schema") != SCHEMA:
            raise FileFormatError(path, f"is no coverage: its schema is not {SCHEMA}")
        cases, counts = given.get("cases"), given.get("counts")
        if type(cases) is not int or cases < 0 or not isinstance(counts, dict):
            raise FileFormatError(path, "has no number of cases, or no counts")
        try:
            table = cls(cases, counts)
        except ArgumentError as error:
            raise FileFormatError(path, str(error)) from error
        again: dict[str, Any] = json.loads(table.to_json())
        for name in sorted(given.keys() | again.keys()):
            if name not in given or name not in again or given[name] != again[name]:
                raise FileFormatError(
                    path, f"{name} does not follow from the counts: it was changed, or made by "
                    f"another version"
                )  # fmt: skip
        return table

    @classmethod
    def load(cls, path: StrPath) -> Table:
        """Read a JSON file.

        Raises:
            FileFormatError: as for :meth:`from_json`.
            FileAccessError: the system refuses.
        """
        return cls.from_json(read_text(path), path)


def _place(name: str) -> tuple[int, str]:
    """Where a bin stands: those of a coverpoint without a list behind all others."""
    return _ORDER.get(name, len(_ORDER)), name


def _percent(hit: int, of: int) -> float:
    return 1000 * hit // of / 10 if of else 100.0


def _text(hit: int, of: int) -> str:
    return f"{_percent(hit, of):.1f}"


def of_folder(paths: StrPath | Sequence[StrPath]) -> Table:
    """Count the cases below one or several folders, each case once, by their manifests.

    Raises:
        FileFormatError: a folder without cases, a bad manifest, or a bin that there is not.
        FileAccessError: the system refuses.
    """
    given: Sequence[StrPath] = (
        paths if isinstance(paths, Sequence) and not isinstance(paths, str) else [paths]
    )
    table = Table()
    for folder in dict.fromkeys(found.resolve() for path in given for found in folders(Path(path))):
        try:
            table.add(load(folder).manifest["coverage"])
        except ArgumentError as error:
            raise FileFormatError(folder / MANIFEST, str(error)) from error
    return table
