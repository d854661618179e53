"""The report on a run of a model: a row for each layer on the unit, totals, and what differs.

Shown as a table for a terminal, as JSON, as a page for a browser, and as a trace for Perfetto.
Nothing is run and nothing compared here.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from cube24.errors import counted
from cube24.graph.comparing import SourceComparison
from cube24.graph.differences import Difference
from cube24.graph.running import LayerRun, NetworkRun
from cube24.graph.tables import aligned, times
from cube24.simulator import show

_HEAD = ["layer", "operator", "result", "share of MACs", "dense", "sparse", "speed-up", "best"]


@dataclass(frozen=True, eq=False)
class RunReport:
    """A run; and how it compares with the model that its model was compiled from, or None."""

    run: NetworkRun
    compared: SourceComparison | None = None

    def __str__(self) -> str:
        """The report for a person."""
        lines = [*aligned([self._head, *self._rows()], range(3)), ""] if self.run.layers else []
        return "\n".join([*lines, *self._summary()])

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data for JSON."""
        run, cycles = self.run, self.run.cycles
        totals: dict[str, Any] = {"layers": len(run.layers), "elsewhere": len(run.elsewhere)}
        for at, name in enumerate(("dense", "sparse", "best")):
            totals[f"cycles_{name}"] = None if cycles is None else cycles[at]
        if run.requant == "unit":
            totals["outputs"], totals["off_by_one"], totals["off_by_more"] = self._off()
        return {
            "model": run.model.name, "unit": run.unit.config.name, "cores": run.cores,
            "rest": run.rest, "requant": run.requant, "totals": totals,
            "outputs": [_about(name, value) for name, value in run.outputs.items()],
            "layers": [self._plain(layer) for layer in run.layers],
            "elsewhere": [vars(each) for each in run.elsewhere],
            "reference": None if self.compared is None else self._compared(self.compared),
        }  # fmt: skip

    def to_html(self) -> str:
        """The report as a page; the same run gives the same bytes."""
        sections = ["".join(f"<p>{escape(line.strip())}</p>\n" for line in self._summary())]
        if self.run.layers:
            sections.append(show.table("Layers on the unit", self._head, self._rows()))
        if self.run.elsewhere:
            rows = [[each.name, each.op, each.why] for each in self.run.elsewhere]
            sections.append(show.table("Elsewhere", ["operator", "kind", "because"], rows))
        if self.compared is not None:
            rows = [
                _difference_cells(each) for each in (*self.compared.outputs, *self.compared.nodes)
            ]
            sections.append(show.table("Values compared with the reference", _COMPARED, rows))
        return show.document(f"cube24: a run of {self.run.model.name}", sections, wide=True)

    def to_perfetto(self) -> str:
        """Chrome trace events, one slice a layer, in one thread with sparse weights, in one dense.

        The layers follow each other, which the network asks for; a microsecond is a cycle. A layer
        whose dense weight does not fit has its sparse time in both.
        """
        config = self.run.unit.config
        events: list[dict[str, Any]] = [
            {"ph": "M", "pid": 0, "tid": 0, "name": "process_name", "args": {"name": config.name}}
        ]
        for thread, name in enumerate(("2:4 sparse", "dense"), 1):
            events.append(
                {"ph": "M", "pid": 0, "tid": thread, "name": "thread_name", "args": {"name": name}}
            )
            at = 0
            for layer in self.run.layers:
                cycles = layer.cycles
                if cycles is None:
                    continue
                dense = cycles.sparse if cycles.dense is None else cycles.dense
                time = cycles.sparse if thread == 1 else dense
                args = {
                    "op": layer.op, "result": "x".join(map(str, layer.shape)),
                    "macs": layer.layer.macs,
                }  # fmt: skip
                events.append(
                    {"ph": "X", "pid": 0, "tid": thread, "ts": at, "dur": time, "name": layer.name,
                     "cat": "layer", "args": args}
                )  # fmt: skip
                at += time
        other = {
            "generator": "cube24", "unit": config.name, "time": "1 us of this trace is 1 cycle",
            "clock_mhz": config.clock_mhz, "cores": self.run.cores,
        }  # fmt: skip
        lines = ",\n".join(json.dumps(event) for event in events)
        return (
            f'{{"displayTimeUnit":"ms","otherData":{json.dumps(other)},"traceEvents":[\n'
            f"{lines}\n]}}\n"
        )

    # --- parts ------------------------------------------------------------------------------------

    @property
    def _head(self) -> list[str]:
        head = [*_HEAD, *(["off by one"] if self.run.requant == "unit" else [])]
        return [*head, *(["differ"] if self.compared is not None else [])]

    def _rows(self) -> list[list[str]]:
        total = sum(layer.layer.macs for layer in self.run.layers) or 1
        nodes = {each.node: each for each in self.compared.nodes} if self.compared else {}
        rows = []
        for layer in self.run.layers:
            row = [
                layer.name, layer.op, "x".join(map(str, layer.shape)),
                f"{100 * layer.layer.macs / total:.1f} %", *times(layer.cycles),
                "-" if layer.cycles is None else str(layer.cycles.best),
            ]  # fmt: skip
            if self.run.requant == "unit":
                row.append("-" if layer.off is None else f"{layer.off.one}/{layer.off.total}")
            if self.compared is not None:
                node = nodes.get(layer.name)
                row.append("-" if node is None else f"{node.differing}/{node.total}")
            rows.append(row)
        return rows

    def _off(self) -> tuple[int, int, int]:
        """Results that FIXPIPE made; how many are off by one, and by more."""
        known = [layer.off for layer in self.run.layers if layer.off is not None]
        return (
            sum(each.total for each in known), sum(each.one for each in known),
            sum(each.more for each in known),
        )  # fmt: skip

    def _summary(self) -> list[str]:
        run = self.run
        if not run.layers and not run.elsewhere:
            lines = ["no operator on compressed weights: all of the model ran elsewhere"]
        else:
            lines = [f"{counted(len(run.layers), 'layer')} on {run.unit.config.name}"]
        lines[0] += f"; the rest by {run.rest}"
        whys: dict[str, int] = {}
        for each in run.elsewhere:
            whys[each.why] = whys.get(each.why, 0) + 1
        lines += [f"  {counted(count, 'operator')} elsewhere: {why}" for why, count in whys.items()]
        if run.layers and run.cycles is not None:
            dense, sparse, best = run.cycles
            cores = f" with {counted(run.cores, 'core')}" if run.cores > 1 else ""
            lines.append(
                f"cycles of these layers{cores}: dense {dense}, sparse {sparse}"
                + (f" ({dense / sparse:.2f} times as fast)" if sparse else "")
                + f", the faster of both {best}"
            )
        if run.requant == "unit":
            total, one, more = self._off()
            share = f" ({100 * one / total:.3f} %)" if total else ""
            lines.append(
                f"requantised on the unit: {one} of {total} results off by one{share}, {more} by "
                f"more"
            )
        return lines + self._verdict()

    def _verdict(self) -> list[str]:
        """What the comparison says."""
        of = self.compared
        if of is None:
            return []
        lines = [f"output {each}" for each in of.outputs]
        lines += [f"output, requantised exactly, {each}" for each in of.exact]
        bad = [node for node in of.nodes if node.differing]
        lines.append(
            f"{len(bad)} of {counted(len(of.nodes), 'node')} differ, each fed with the values of "
            f"the reference"
        )
        if of.first is not None:
            lines.append(f"the first: {of.first}")
        if of.requant == "unit" and (worse := [node for node in of.nodes if node.more]):
            lines.append(f"the first by more than one: {worse[0]}")
        if of.floats and (bad or not of.good):
            lines.append(
                f"note: {counted(of.floats, 'node')} of the reference are float operators between "
                f"quantisers; {self.run.rest} may compute these in float, and round otherwise"
            )
        if of.unnamed:
            lines.append(
                f"{counted(len(of.unnamed), 'node')} with no result of a name that the reference "
                f"has: {', '.join(of.unnamed[:3])}{' ...' if len(of.unnamed) > 3 else ''}"
            )
        return lines

    def _plain(self, layer: LayerRun) -> dict[str, Any]:
        cycles, off = layer.cycles, layer.off
        return {
            "node": layer.name,
            "op": layer.op,
            "shape": list(layer.weight.shape),
            "result": list(layer.shape),
            "macs": layer.layer.macs,
            "cycles_dense": None if cycles is None else cycles.dense,
            "cycles_sparse": None if cycles is None else cycles.sparse,
            "cycles_best": None if cycles is None else cycles.best,
            "requantised": layer.requant is not None,
            "off": None if off is None else _plain_difference(off),
        }

    def _compared(self, of: SourceComparison) -> dict[str, Any]:
        return {
            "good": of.good,
            "outputs": [_plain_difference(each) for each in of.outputs],
            "outputs_requantised_exactly": [_plain_difference(each) for each in of.exact],
            "nodes": [_plain_difference(each) for each in of.nodes],
            "first": None if of.first is None else _plain_difference(of.first),
            "unnamed": list(of.unnamed),
            "float_nodes": of.floats,
        }


def _about(name: str, value: Any) -> dict[str, Any]:
    """Of an output: its shape and type."""
    return {"name": name, "shape": list(np.shape(value)), "dtype": str(np.asarray(value).dtype)}


_COMPARED = ["value", "node", "numbers", "differ", "off by one", "first at", "got", "expected"]


def _difference_cells(each: Difference) -> list[str]:
    first = "-" if each.first is None else str(each.first)
    return [
        each.name, each.node or "output", str(each.total), str(each.differing), str(each.one),
        first, *("-" if value is None else str(value) for value in (each.got, each.expected)),
    ]  # fmt: skip


def _plain_difference(of: Difference) -> dict[str, Any]:
    """A difference for JSON, which has no NaN and no infinity."""

    def number(value: Any) -> Any:
        return str(value) if isinstance(value, complex) or not math.isfinite(value) else value

    return {
        "name": of.name, "node": of.node or None, "total": of.total, "differing": of.differing,
        "off_by_one": of.one, "off_by_more": of.more,
        "first": None if of.first is None else list(of.first),
        "got": None if of.got is None else number(of.got),
        "expected": None if of.expected is None else number(of.expected),
        "largest": number(of.largest),
    }  # fmt: skip
