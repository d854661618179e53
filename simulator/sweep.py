"""Sweeps: cycles over a grid of shapes, tile sizes and configurations, as rows of a table."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from cube24.errors import ArgumentError, Cube24Error, StrPath
from cube24.files import write_bytes
from cube24.simulator.config import ConfigError, UnitConfig, config_of
from cube24.simulator.layer import Matmul
from cube24.simulator.show.plots import demand_drawing, figure, save
from cube24.simulator.tiler import Tile
from cube24.simulator.unit import Unit
from cube24.sizes import plain, shown

#: Axes of a grid besides the fields of UnitConfig: sizes of a matrix multiplication, sizes of a
#: tile (all four or none), cores, dtype, and the unit.
AXES = ("unit", "cores", "dtype", "m", "n", "k", "tile_m", "tile_n", "tile_k", "tile_k_l1")
_TILE = AXES[-4:]

#: Columns of the table behind the axes.
RESULTS = (
    "cycles", "dense_cycles", "speed_up", "utilisation", "mte2", "mte1", "mac", "fixpipe",
    "bottleneck", "problem",
)  # fmt: skip

Point = Mapping[str, Any]


def grid(axes: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """All points of a grid, the last axis fastest.

    Args:
        axes: values by the names of AXES and of the fields of UnitConfig; m, n and k are needed.

    Raises:
        ArgumentError: an axis that does not exist, is missing, is no list or has no value.
    """
    known = {*AXES, *(spec.name for spec in fields(UnitConfig))}
    if unknown := sorted(axes.keys() - known):
        raise ArgumentError(f"unknown axis {', '.join(unknown)}; known: {', '.join(sorted(known))}")
    if missing := [name for name in ("m", "n", "k") if name not in axes]:
        raise ArgumentError(f"a sweep needs the axes m, n and k; there is no {', '.join(missing)}")
    if 0 < len(axes.keys() & set(_TILE)) < len(_TILE):
        raise ArgumentError(f"a tile is all of {', '.join(_TILE)}, or none of them")
    listed = {}
    for name, values in axes.items():
        if isinstance(values, str) or not isinstance(values, Iterable):
            raise ArgumentError(f"axis {name} is {shown(values)}; it takes a list of values")
        listed[name] = [plain(value) for value in values]
    if empty := [name for name, values in listed.items() if not values]:
        raise ArgumentError(f"axis {', '.join(empty)} has no value")
    return [dict(zip(listed, point, strict=True)) for point in itertools.product(*listed.values())]


def sweep(
    points: Iterable[Point], progress: Callable[[int], object] = lambda done: None
) -> Iterator[dict[str, Any]]:
    """Time each point, sparse and dense; gives the point with the columns of RESULTS.

    mte2, mte1, mac and fixpipe are busy cycles of the pipes of the sparse run; bottleneck is the
    busiest pipe. With dtype float16, and on a unit without sparsity, the run is the dense one.
    Where a point is impossible, ``problem`` says why, and the other results are empty; where it is
    only the dense run that does not fit, dense_cycles and speed_up are.

    Args:
        points: of :func:`grid`.
        progress: called with 1 after each point.
    """
    for point in points:
        row: dict[str, Any] = {**point, **dict.fromkeys(RESULTS, "")}
        try:
            row |= _time(point)
        except Cube24Error as error:
            row["problem"] = str(error)
        progress(1)
        yield row


def _time(point: Point) -> dict[str, Any]:
    config = config_of(point.get("unit", "dav-2201"))
    changed = {key: value for key, value in point.items() if key not in AXES}
    if changed:
        try:
            config = replace(config, **changed)
        except TypeError as error:
            raise ConfigError(str(error)) from error
    tile = Tile(*(point[name] for name in _TILE)) if _TILE[0] in point else None
    dtype = point.get("dtype", "int8")
    int8 = isinstance(dtype, str) and dtype == "int8"
    run = Unit(config).time(
        Matmul(point["m"], point["n"], point["k"]),
        dtype=dtype,
        sparse=config.sparsity and int8,
        weight_rows=not int8,
        cores=point.get("cores", 1),
        tile=tile,
    )
    busy = {name: run.pipes[name].busy for name in ("MTE2", "MTE1", "M", "FIX")}
    return {
        "cycles": run.cycles,
        "dense_cycles": run.dense.cycles if run.dense else "",
        "speed_up": f"{run.speed_up:.4f}" if run.dense else "",
        "utilisation": f"{run.utilisation:.4f}",
        "mte2": busy["MTE2"],
        "mte1": busy["MTE1"],
        "mac": busy["M"],
        "fixpipe": busy["FIX"],
        "bottleneck": max(busy, key=lambda name: busy[name]),
        "problem": f"the dense run does not fit: {run.dense_problem}" if not run.dense else "",
    }


def csv_lines(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """The rows as CSV, as they come: a header with the first, lines that end with a line feed."""
    for number, row in enumerate(rows):
        text = io.StringIO()
        writer = csv.DictWriter(text, list(row), lineterminator="\n")
        if number == 0:
            writer.writeheader()
        writer.writerow(row)
        yield text.getvalue()


def to_csv(rows: Iterable[Mapping[str, Any]]) -> str:
    """The rows as CSV with a header; lines end with a line feed."""
    return "".join(csv_lines(rows))


def demand_plot(path: StrPath, axes: Iterable[str], axis: str | None) -> None:
    """Refuse, before the sweep, what :func:`write_plot` would refuse behind it.

    Args:
        path, axis: as there.
        axes: the names of the axes of the sweep.

    Raises:
        ArgumentError: no such axis, or another suffix.
        MissingExtraError: matplotlib is not there.
    """
    names = list(axes)
    if axis is not None and axis not in names:
        raise ArgumentError(f"axis {axis!r}: the sweep has {', '.join(names)}")
    demand_drawing(path)


def write_plot(
    rows: Sequence[Mapping[str, Any]],
    path: StrPath,
    *,
    axis: str | None = None,
    overwrite: bool = False,
) -> None:
    """Draw cycles, sparse and dense, and the speed-up over one axis, as PNG or SVG by its name.

    Args:
        rows: of :func:`sweep`.
        path: NAME.png or NAME.svg.
        axis: the axis to draw over; None: the last one with several values. Each combination of
            the others is a line.

    Raises:
        ArgumentError: no such axis, or nothing to draw.
        MissingExtraError: matplotlib is not there.
        FileAccessError: it is there already, or the system refuses.
    """
    points = [row for row in rows if row["cycles"] != ""]
    if not points:
        raise ArgumentError("there is nothing to draw: no point of the sweep could be timed")
    names = [name for name in points[0] if name not in RESULTS]
    varied = [name for name in names if len({str(row[name]) for row in points}) > 1]
    chosen = axis or (varied or names)[-1]
    demand_plot(path, names, chosen)
    others = [name for name in varied if name != chosen]
    lines: dict[str, list[Mapping[str, Any]]] = {}
    for row in points:
        label = ", ".join(f"{name} {row[name]}" for name in others)
        lines.setdefault(label, []).append(row)
    drawing = figure(8, 7)
    upper, lower = drawing.subplots(2, 1, sharex=True)
    for number, (label, line) in enumerate(lines.items()):
        x = [row[chosen] for row in line]
        colour = f"C{number % 10}"
        upper.plot(x, [row["cycles"] for row in line], "o-", color=colour, label=label or "sparse")
        dense = [float(row["dense_cycles"] or "nan") for row in line]
        upper.plot(x, dense, "x--", color=colour, label="dense" if not label else None)
        lower.plot(x, [float(row["speed_up"] or "nan") for row in line], "o-", color=colour)
    upper.set_ylabel("cycles (dashed: dense)")
    lower.set_ylabel("speed-up over dense")
    lower.axhline(2, color="0.6", linewidth=0.8)
    lower.set_xlabel(chosen)
    if len(lines) <= 12:
        upper.legend(fontsize="small")
    save(drawing, path, overwrite=overwrite)


def write_csv(rows: Sequence[Mapping[str, Any]], path: StrPath, *, overwrite: bool = False) -> None:
    """Write the rows as CSV.

    Raises:
        FileAccessError: it is there already, or the system refuses.
    """
    write_bytes(path, to_csv(rows).encode(), overwrite=overwrite)
