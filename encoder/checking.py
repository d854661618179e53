"""check: is a weight 2:4, what does it look like, and where is it not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from cube24 import _core
from cube24._core import thread_count
from cube24.encoder.arguments import check_limit, int8_array
from cube24.encoder.codec import as_matrix, offenders_of
from cube24.encoder.layout import Geometry, Kind
from cube24.encoder.refusals import Offender
from cube24.errors import counted

#: The 16 non-zero masks as they are written in docs/format.md: element 0 first.
PATTERNS: tuple[str, ...] = tuple(
    "".join("X" if mask >> position & 1 else "0" for position in range(4)) for mask in range(16)
)

#: How many of the worst rows a report keeps.
WORST_ROWS = 10


@dataclass(frozen=True)
class RowSummary:
    """A row of a weight, by its coordinates without the last: groups in excess."""

    coordinates: tuple[int, ...]
    violations: int


@dataclass(frozen=True)
class Report:
    """What :func:`check` found.

    Attributes:
        shape, kind: of the weight.
        patterns: groups by pattern, all 16 names ("0000" to "XXXX", element 0 first), zeros too.
        offenders: the first groups with more than two non-zeros, as many as were asked for.
        worst_rows: the rows with the most such groups, most first; at most ten.
    """

    shape: tuple[int, ...]
    kind: Kind
    patterns: dict[str, int]
    offenders: tuple[Offender, ...]
    worst_rows: tuple[RowSummary, ...]

    @property
    def groups(self) -> int:
        """All groups, the padded last one of a row included."""
        return sum(self.patterns.values())

    @property
    def violations(self) -> int:
        """Groups with more than two non-zeros."""
        return sum(count for name, count in self.patterns.items() if name.count("X") > 2)

    @property
    def nonzeros(self) -> int:
        """Weights that are not zero."""
        return sum(count * name.count("X") for name, count in self.patterns.items())

    @property
    def legal(self) -> bool:
        """Whether the weight is 2:4."""
        return self.violations == 0

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data for JSON."""
        return {
            "legal": self.legal,
            "shape": list(self.shape),
            "kind": self.kind,
            "groups": self.groups,
            "violations": self.violations,
            "nonzeros": self.nonzeros,
            "patterns": dict(self.patterns),
            "offenders": [
                {
                    "coordinates": list(offender.coordinates),
                    "group": offender.group,
                    "positions": list(offender.positions),
                    "values": list(offender.values),
                }
                for offender in self.offenders
            ],
            "worst_rows": [
                {"coordinates": list(row.coordinates), "violations": row.violations}
                for row in self.worst_rows
            ],
        }

    def __str__(self) -> str:
        """The report for a person."""
        verdict = (
            "legal 2:4" if self.legal else f"NOT 2:4: {counted(self.violations, 'group')} in excess"
        )
        lines = [
            f"shape {self.shape} ({self.kind}), {counted(self.groups, 'group')}, "
            f"{counted(self.nonzeros, 'non-zero')}: {verdict}",
            "",
            "pattern      groups    share",
        ]
        for name in sorted(PATTERNS, key=lambda name: (name.count("X"), name)):
            count = self.patterns[name]
            if name.count("X") > 2 and not count:
                continue
            share = f"{100 * count / self.groups:7.2f}%" if self.groups else f"{'-':>8}"
            mark = "  more than two" if name.count("X") > 2 else ""
            lines.append(f"{' '.join(name)}  {count:>10} {share}{mark}")
        if self.offenders:
            lines += ["", f"groups in excess (first {len(self.offenders)} of {self.violations}):"]
            lines += [f"  {offender}" for offender in self.offenders]
        if self.worst_rows:
            lines += ["", "worst rows:"]
            lines += [
                f"  row ({', '.join(map(str, row.coordinates))}): "
                f"{counted(row.violations, 'group')} in excess"
                for row in self.worst_rows
            ]
        return "\n".join(lines)


@dataclass
class Inspection:
    """Gathers a Report from pieces of a weight in order, so that it need not fit in memory."""

    geometry: Geometry
    limit: int
    threads: int | None = None
    _masks: npt.NDArray[np.uint64] = field(default_factory=lambda: np.zeros(16, np.uint64))
    _offenders: list[Offender] = field(default_factory=list)
    _worst: dict[int, int] = field(default_factory=dict)

    def add(self, matrix: npt.NDArray[np.int8], first_row: int, first_group: int = 0) -> None:
        """Take a piece (rows, columns) from a row of the whole batch and a group of these rows.

        Either whole rows, or consecutive parts of one row.
        """
        masks, rows = _core.check(matrix, thread_count(self.threads, matrix.size))
        self._masks += masks
        if not rows.any():
            return
        wanted = self.limit - len(self._offenders)
        if wanted > 0:
            self._offenders += offenders_of(matrix, self.geometry, wanted, first_row, first_group)
        # Only the worst ten of a piece can be among the worst ten of all.
        for row in np.argsort(-rows.astype(np.int64), kind="stable")[:WORST_ROWS].tolist():
            before = self._worst.get(first_row + row, 0)
            self._worst[first_row + row] = before + int(rows[row])
        # The row of the last piece may still grow, so it stays whatever its count.
        last = first_row + len(rows) - 1
        kept = self._ranking()[:WORST_ROWS]
        self._worst = {row: n for row, n in self._worst.items() if row == last or (row, n) in kept}

    def _ranking(self) -> list[tuple[int, int]]:
        rows = [(row, count) for row, count in self._worst.items() if count]
        return sorted(rows, key=lambda row: (-row[1], row[0]))

    def report(self) -> Report:
        """The report on all that was added."""
        return Report(
            self.geometry.shape,
            self.geometry.kind,
            {name: int(count) for name, count in zip(PATTERNS, self._masks, strict=True)},
            tuple(self._offenders),
            tuple(self._row_summaries()),
        )

    def _row_summaries(self) -> Iterable[RowSummary]:
        for row, violations in self._ranking()[:WORST_ROWS]:
            matrix, n = divmod(row, self.geometry.n)
            yield RowSummary((*self.geometry.batch_coordinates(matrix), n), violations)


def check(
    weight: npt.NDArray[np.int8],
    *,
    kind: Kind = "matrix",
    limit: int = 20,
    threads: int | None = None,
) -> Report:
    """Say whether a weight is 2:4, and where it is not.

    Args:
        weight: int8 (..., N, K), or (Cout, Cin, Kh, Kw) for kind ``conv``; any strides.
        kind: ``matrix`` (groups along K) or ``conv`` (groups along Cin).
        limit: how many offending groups the report lists; all are counted.
        threads: as for :func:`encode`.

    Raises:
        DtypeError, ShapeError, ArgumentError: the arguments do not fit.
    """
    weight = int8_array(weight, "weight")
    check_limit(limit)
    geometry = Geometry(weight.shape, kind, "nd")
    inspection = Inspection(geometry, limit, threads)
    inspection.add(as_matrix(weight, geometry), 0)
    return inspection.report()
