"""The report on a model: a row for each candidate, and the totals.

Shown as a table for a terminal, as JSON, and as a page for a browser. What the rows say comes from
verdicts.py; nothing is judged here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from cube24.errors import counted
from cube24.graph.model import Model, with_shapes
from cube24.graph.nodes import Reader
from cube24.graph.tables import aligned, times
from cube24.graph.verdicts import Select, Verdict, judge
from cube24.simulator import Unit, show


@dataclass(frozen=True, eq=False)
class ModelReport:
    """The verdicts on a model.

    Attributes: model, the name of its file; unit, the name of the unit whose cycles are counted;
    cores, of it; select, which layers are to be sparse; verdicts, in the order of the nodes;
    open_inputs, those of open size, if there are layers whose size is not known because of them.
    """

    model: str
    unit: str
    cores: int
    select: Select
    verdicts: tuple[Verdict, ...]
    open_inputs: tuple[str, ...] = ()

    @property
    def sparse(self) -> tuple[Verdict, ...]:
        """Those that are to be sparse."""
        return tuple(verdict for verdict in self.verdicts if verdict.sparse)

    @property
    def mendable(self) -> tuple[Verdict, ...]:
        """Those that are dense, and would be sparse after pruning or quantising the model."""
        return tuple(verdict for verdict in self.verdicts if verdict.mendable)

    @property
    def reasons(self) -> Mapping[str, int]:
        """How many are dense for each reason, the most frequent first."""
        found = Counter(verdict.reason for verdict in self.verdicts if verdict.reason is not None)
        return {str(reason): count for reason, count in found.most_common()}

    @property
    def covered(self) -> float | None:
        """Share of all multiplications that are in sparse layers; None: a size is open."""
        macs = [verdict.macs for verdict in self.verdicts]
        if not macs or any(each is None for each in macs):
            return None
        total = sum(each or 0 for each in macs)
        return sum(verdict.macs or 0 for verdict in self.sparse) / total if total else None

    @property
    def cycles(self) -> tuple[int, int, int] | None:
        """Of the sparse layers: with dense weights, with sparse ones, and with the faster of both.

        A layer whose dense weight does not fit counts sparse in all three. None: the cycles of some
        layer are not known.
        """
        times = [verdict.cycles for verdict in self.sparse]
        if any(each is None for each in times):
            return None
        known = [each for each in times if each is not None]
        dense = sum(each.sparse if each.dense is None else each.dense for each in known)
        return dense, sum(each.sparse for each in known), sum(each.best for each in known)

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data for JSON."""
        totals: dict[str, Any] = {
            "candidates": len(self.verdicts), "sparse": len(self.sparse), "reasons": self.reasons,
            "mendable": len(self.mendable), "share_of_macs": self.covered,
        }  # fmt: skip
        cycles = self.cycles
        for at, name in enumerate(("dense", "sparse", "best")):
            totals[f"cycles_{name}"] = None if cycles is None else cycles[at]
        return {
            "model": self.model, "unit": self.unit, "cores": self.cores, "select": self.select,
            "totals": totals, "nodes": [_plain(verdict) for verdict in self.verdicts],
        }  # fmt: skip

    def __str__(self) -> str:
        """The report for a person."""
        lines = aligned([_HEAD, *map(_cells, self.verdicts)], _TEXTS)
        lines += ["", *self._summary()]
        return "\n".join(lines)

    def to_html(self) -> str:
        """The report as a page; the same verdicts give the same bytes."""
        summary = "".join(f"<p>{escape(line.strip())}</p>\n" for line in self._summary())
        dense = [
            [verdict.candidate.name, str(verdict.reason), verdict.detail]
            for verdict in self.verdicts
            if not verdict.sparse
        ]
        costs = [
            [verdict.candidate.name, verdict.cycles.reason]
            for verdict in self.sparse
            if verdict.cycles is not None
        ]
        tables = [
            show.table("All nodes that multiply by a weight", _HEAD, map(_cells, self.verdicts)),
            show.table("Why the others stay dense", ["node", "reason", "in words"], dense),
            show.table("What costs most, and so keeps 2x away", ["node", "cost"], costs),
        ]
        return show.document(f"cube24: {self.model}", [summary, *tables], wide=True)

    def _summary(self) -> list[str]:
        sparse = len(self.sparse)
        lines = [f"{sparse} of {counted(len(self.verdicts), 'node')} sparse"]
        if self.covered is not None:
            lines[0] += f", with {100 * self.covered:.1f} % of the multiplications"
        lines += [f"  {count} {reason}: {ABOUT[reason]}" for reason, count in self.reasons.items()]
        if self.cycles is not None and sparse:
            dense, with_sparse, best = self.cycles
            cores = f" with {counted(self.cores, 'core')}" if self.cores > 1 else ""
            lines.append(
                f"cycles of these layers on {self.unit}{cores}: dense {dense}, sparse "
                f"{with_sparse}, the faster of both {best}"
            )
        slower = [v for v in self.sparse if v.cycles is not None and not v.cycles.faster]
        if slower:
            lines.append(
                f"warning: {counted(len(slower), 'layer')} of these not faster sparse; --select "
                f"faster leaves such ones dense"
            )
        if larger := [verdict for verdict in self.sparse if verdict.larger]:
            lines.append(
                f"warning: {counted(len(larger), 'weight')} larger in Zn than as int8, where "
                f"channels are few: {_listed(larger)}"
            )
        return lines


#: What each reason means, for the list of those that occur.
ABOUT: Mapping[str, str] = {
    "groups": "convolutions in groups have no 2:4 form",
    "cin4": "the operator takes more than 4 input channels",
    "conv1d": "convolutions in one dimension",
    "conv3d": "convolutions in three dimensions",
    "rank": "a weight or bias of a shape that the operator does not have",
    "dynamic-weight": "what it multiplies by is computed when the model runs",
    "not-quantised": "activations and weight have to be int8 or uint8; quantise the model",
    "not-int8": "a weight, less its zero point, or activations that do not fit 8 bits",
    "zero-point-per-channel": "zero points or scales that differ along an axis of their own",
    "not-2:4": "prune the model: cube24 prune",
    "flattened-2:4": "2:4 along Cin*Kh*Kw, as if the kernel were a row; prune along Cin",
    "wrong-axis": "2:4 along N; prune along K",
    "alpha-beta": "a Gemm with factors that the unit does not have",
    "unit-limit": "beyond what the unit can do",
    "slower": "a dense weight takes fewer cycles",
    "skipped": "left alone, as was asked for",
}

_HEAD = [
    "node", "operator", "weight", "N x K", "in excess", "verdict", "int8", "nd", "Zn", "Zn 2:4",
    "offset", "dense", "sparse", "speed-up", "costs most",
]  # fmt: skip
#: Its columns of text.
_TEXTS = (0, 1, 2, 3, 5, 14)


def _cells(verdict: Verdict) -> list[str]:
    found, weight = verdict.candidate, verdict.candidate.weight
    op = f"{found.op} -> {verdict.compressed}" if verdict.sparse else found.op
    name = "-" if weight is None else weight.name
    if weight is not None and weight.users > 1:
        name += f" ({weight.users} users)"
    excess = "-"
    if verdict.pattern is not None:
        excess = f"{verdict.pattern.illegal}/{verdict.pattern.groups}"
    sizes = ["-"] * 4
    if verdict.bytes is not None:
        of = verdict.bytes
        sizes = [str(size) for size in (of.int8, of.nd, of.zn_dense, of.zn)]
    offset = "-" if verdict.offset_x is None else str(verdict.offset_x)
    shape = "-" if verdict.shape is None else "x".join(map(str, verdict.shape))
    return [
        found.name, op, name, shape, excess, verdict.reason or "sparse", *sizes, offset,
        *times(verdict.cycles),
        verdict.cycles.reason.partition(":")[0] if verdict.cycles else "-",
    ]  # fmt: skip


def _plain(verdict: Verdict) -> dict[str, Any]:
    found, weight, cycles = verdict.candidate, verdict.candidate.weight, verdict.cycles
    pattern, of = verdict.pattern, verdict.bytes
    return {
        "node": found.name,
        "op": found.op,
        "compressed": verdict.compressed or None,
        "weight": None if weight is None else weight.name,
        "users": None if weight is None else weight.users,
        "shape": None if verdict.shape is None else list(verdict.shape),
        "groups": None if pattern is None else pattern.groups,
        "illegal_groups": None if pattern is None else pattern.illegal,
        "first_illegal": None if pattern is None or pattern.first is None else list(pattern.first),
        "verdict": "sparse" if verdict.sparse else "dense",
        "reason": verdict.reason,
        "detail": verdict.detail or None,
        "bytes": None if of is None else {
            "int8": of.int8, "nd": of.nd, "zn_dense": of.zn_dense, "zn": of.zn,
        },
        "offset_x": verdict.offset_x,
        "macs": verdict.macs,
        "cycles_dense": None if cycles is None else cycles.dense,
        "cycles_sparse": None if cycles is None else cycles.sparse,
        "costs_most": None if cycles is None or not cycles.reason else cycles.reason,
    }  # fmt: skip


def _listed(verdicts: Sequence[Verdict]) -> str:
    names = [verdict.candidate.name for verdict in verdicts[:3]]
    return ", ".join(names) + (f" and {len(verdicts) - 3} more" if len(verdicts) > 3 else "")


def check(
    model: Model,
    *,
    input_shapes: Mapping[str, tuple[int, ...]] | None = None,
    select: Select = "legal",
    skip: Sequence[str] = (),
    skip_type: Sequence[str] = (),
    unit: Unit | None = None,
    cores: int = 1,
    timed: bool = True,
    progress: Callable[[int], object] = lambda done: None,
) -> ModelReport:
    """Say which nodes of a model can have sparse weights, and for each other one why not.

    Args:
        model: stays as it is.
        input_shapes: of inputs by name, where the model leaves a size open, or another one is
            wanted.
        select: ``legal``: all that can be sparse are chosen; ``faster``: those that take fewer
            cycles on the unit than with a dense weight.
        skip: patterns of names of nodes that stay dense, with ``*`` and ``?``.
        skip_type: patterns of their operators, such as ``Gemm``.
        unit: whose limits hold and whose cycles are counted; None: dav-2201.
        cores: of the unit.
        timed: whether cycles are counted.
        progress: told after each node.

    Raises:
        ArgumentError: an option that does not exist, an input that the model does not have, or
            ``faster`` where a size is open.
        FileFormatError: a part of the model cannot be read.
    """
    unit = unit or Unit()
    reader = Reader(with_shapes(model, input_shapes or {}))
    verdicts = judge(
        reader, select=select, skip=skip,
        skip_type=skip_type, unit=unit, cores=cores, timed=timed, progress=progress,
    )  # fmt: skip
    unknown = timed and any(verdict.sparse and verdict.layer is None for verdict in verdicts)
    of = reader.shapes.open_inputs() if unknown else ()
    return ModelReport(model.name, unit.config.name, cores, select, verdicts, of)
