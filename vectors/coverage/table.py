"""The table of coverage: how many cases hit each bin, and which bins none did."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cube24.errors import ArgumentError, Cube24Error, FileFormatError, StrPath
from cube24.files import read_text
from cube24.vectors import strict_json
from cube24.vectors.coverage.points import BINS, POINTS, UNREACHABLE, is_bin
from cube24.vectors.manifest import MANIFEST, folders, load

SCHEMA = "cube24-coverage-1"

_ORDER = {name: number for number, name in enumerate(BINS)}


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
        names = {**self.counts, **other.counts}
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
        given = strict_json.parse(path, text.encode("utf-8", "surrogatepass"), mark=True)
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


def of_folder(
    paths: StrPath | Sequence[StrPath], refused: Callable[[Cube24Error], object] | None = None
) -> Table:
    """Count the cases below one or several folders, each case once, by their manifests.

    Args:
        paths: the folders.
        refused: told of each case that cannot be counted; the others are. None: that is an error.

    Raises:
        FileFormatError: a folder without cases; a bad manifest, or a bin that there is not.
        FileAccessError: the system refuses.
    """
    given: Sequence[StrPath] = (
        paths if isinstance(paths, Sequence) and not isinstance(paths, str) else [paths]
    )
    table = Table()
    for folder in dict.fromkeys(found.resolve() for path in given for found in folders(Path(path))):
        try:
            try:
                table.add(load(folder).manifest["coverage"])
            except ArgumentError as error:
                raise FileFormatError(folder / MANIFEST, str(error)) from error
        except Cube24Error as error:
            if refused is None:
                raise
            refused(error)
    return table
