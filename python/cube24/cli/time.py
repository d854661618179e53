"""Commands about time and order of a program: validate, hazards and sweep."""

from __future__ import annotations

import json
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from cube24 import simulator
from cube24.cli.codes import FAILED, GOOD, Terminated
from cube24.cli.options import (
    PATH,
    demand_free,
    dtype_option,
    given,
    json_option,
    limit_option,
    output_option,
    overwrite_option,
    refuse,
    unit_option,
    units_option,
)
from cube24.cli.progress import bar
from cube24.errors import ArgumentError
from cube24.simulator import ConfigError, UnitConfig, isa, profiles
from cube24.simulator import hazards as checker
from cube24.simulator import sweep as sweeps
from cube24.sizes import real_of, shortened, shown, whole_of


@click.command("validate")
@unit_option
@json_option
def validate(unit: str, as_json: bool) -> int:
    """Compare the model of time with published on-board profiles.

    Prints measured, modelled and error for each pipe. Exit code 1 if a number is beyond its limit.
    """
    comparisons = simulator.validate(simulator.Unit(unit).config)
    if as_json:
        click.echo(json.dumps([_plain_comparison(one) for one in comparisons], indent=2))
    else:
        click.echo(profiles.table(comparisons))
    return GOOD if all(one.good for one in comparisons) else FAILED


def _plain_comparison(one: profiles.Deviation) -> dict[str, Any]:
    """A line of the table as plain data; error and limit in %."""
    return {
        "profile": one.profile.name,
        "about": one.profile.about,
        "cores": one.profile.cores,
        "pipe": one.name,
        "unit": one.profile.unit,
        "measured": one.measured,
        "modelled": one.modelled,
        "error": one.error,
        "limit": one.limit,
        "good": one.good,
        "note": one.note,
    }


@click.command("hazards")
@click.argument("program", type=PATH)
@unit_option
@limit_option("races")
@json_option
def hazards(program: Path, unit: str, limit: int, as_json: bool) -> int:
    """Look for races and deadlocks in PROGRAM, a text file of instructions.

    A race is two instructions of different pipes that touch the same bytes without a flag between
    them. Exit code 1 if there is one, or if the program stops for ever.
    """
    config = simulator.Unit(unit).config
    found = checker.check(simulator.Program.load(program), config, limit=limit)
    if as_json:
        plain = {"clean": found.clean, **vars(found)}
        click.echo(json.dumps(plain, indent=2, default=_plain))
    else:
        click.echo(str(found))
    return GOOD if found.clean else FAILED


def _plain(value: Any) -> Any:
    """An instruction as its line of text, a hazard by the names of its fields."""
    return str(value) if isinstance(value, isa.Instruction) else vars(value)


#: 64, 64:256, 64:256:64 or 64:1024:*2.
_RANGE = re.compile(r"([0-9]+)(?::([0-9]+)(?::(\*?)([0-9]+))?)?")


class _Values(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.3 only
    name = "LIST"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[int]:
        """64,128,256 or 64:256:64, end included, or 64:1024:*2."""
        if isinstance(value, list):
            return value
        found: list[int] = []
        for word in value.split(","):
            match = _RANGE.fullmatch(word)
            if match is None:
                self.fail(f"{shown(word)}: write 64,128 or 64:256:64 or 64:1024:*2", param, ctx)
            first, last, times, step = match.groups()
            try:
                size, end, by = (whole_of(text) for text in (first, last or first, step or "1"))
            except ValueError as error:
                self.fail(str(error), param, ctx)
            if by < (2 if times else 1) or (times and not size):
                self.fail(f"{shown(word)} does not grow", param, ctx)
            while size <= end:
                found.append(size)
                if len(found) > 1_000_000:
                    self.fail(f"{shown(word)} has more than a million values", param, ctx)
                size = size * by if times else size + by
        return found


_LIST = _Values()


@click.command("sweep", short_help="Cycles over a grid of shapes, tiles and units.")
@click.option("--m", type=_LIST, required=True, help="Rows of the activations.")
@click.option("--n", type=_LIST, required=True, help="Columns of the result.")
@click.option("--k", type=_LIST, required=True, help="Products of each result.")
@click.option("--tile-m", type=_LIST, help="Rows of a tile; all four --tile options or none.")
@click.option("--tile-n", type=_LIST, help="Columns of a tile.")
@click.option("--tile-k", type=_LIST, help="k of one Mmad.")
@click.option("--tile-k-l1", type=_LIST, help="k of one load to L1.")
@click.option("--cores", type=_LIST, help="Cores.  [1]")
@units_option
@dtype_option
@click.option(
    "--set", "changes", multiple=True, metavar="FIELD=V,V",
    help="Values of a field of the unit (see cube24 units dav-2201); may be given again.",
)  # fmt: skip
@output_option("Write CSV here instead of printing it.")
@click.option("--plot", type=PATH, help="Draw NAME.png or NAME.svg (extra: plot).")
@click.option("--over", help="The axis to draw over.  [the last one with several values]")
@overwrite_option
def sweep(
    unit: tuple[str, ...],
    changes: tuple[str, ...],
    output: Path | None,
    plot: Path | None,
    over: str | None,
    overwrite: bool,
    dtype: str,
    **lists: list[int] | None,
) -> int:
    """Time matrix multiplications over a grid, sparse and dense, as CSV.

    A LIST is 64,128,256 or 64:256:64 (the end counts) or 64:1024:*2. Each combination is a line;
    where one is impossible, the last column says why. Lines are printed as they come; the
    file of -o appears at the end, or with the lines that there are when Ctrl-C ends the sweep.
    """
    if plot is None:
        refuse(["over"], "there is no drawing without --plot")
    # What was not said is no axis, and no column of the table.
    axes: dict[str, Any] = {"unit": list(unit)} if given("unit") else {}
    axes |= {"dtype": [dtype]} if given("dtype") else {}
    axes |= dict(_change(text) for text in changes)
    axes |= {name: lists[name] for name in sweeps.AXES if lists.get(name)}
    demand_free(output, plot, overwrite=overwrite, inputs=unit)
    for name in unit:
        simulator.Unit(name)  # a unit that cannot be read is no row of the table
    points = sweeps.grid(axes)
    if plot is not None:
        sweeps.demand_plot(plot, axes, over)
    rows: list[dict[str, Any]] = []
    try:
        _time_all(points, rows, output is None)
    except (KeyboardInterrupt, Terminated) as stopped:
        if not rows or output is None:
            raise
        sweeps.write_csv(rows, output, overwrite=overwrite)
        click.echo(f"stopped; {len(rows)} of {len(points)} lines are in {output}", err=True)
        return 128 + getattr(stopped, "number", signal.SIGINT)
    if output is not None:
        sweeps.write_csv(rows, output, overwrite=overwrite)
        click.echo(f"written: {output}")
    if plot is not None:
        sweeps.write_plot(rows, plot, axis=over, overwrite=overwrite)
        click.echo(f"written: {plot}", err=output is None)
    return GOOD


def _time_all(points: list[dict[str, Any]], rows: list[dict[str, Any]], tell: bool) -> None:
    """Time all points, adding their rows; tell: print each as it comes."""
    # A bar and lines on one terminal would write over each other.
    shown_bar = nullcontext(lambda done: None) if tell and sys.stdout.isatty() else None
    with shown_bar or bar("sweep", len(points)) as progress:

        def timed() -> Iterator[dict[str, Any]]:
            for row in sweeps.sweep(points, progress):
                rows.append(row)
                yield row

        for line in sweeps.csv_lines(timed()):
            if tell:
                click.echo(line, nl=False)


def _change(text: str) -> tuple[str, list[Any]]:
    """``field=1,2`` as the field and its values."""
    name, equals, values = text.partition("=")
    kinds = {spec.name: type(spec.default) for spec in fields(UnitConfig)}
    if not equals or name not in kinds:
        raise ArgumentError(f"--set {shortened(text)}: write FIELD=V,V; fields: {', '.join(kinds)}")
    try:
        return name, [_value(kinds[name], value) for value in values.split(",")]
    except ValueError as error:
        raise ConfigError(f"--set {shortened(text)}: {error}") from error


def _value(kind: type, text: str) -> Any:
    if kind is bool:
        if text not in ("true", "false"):
            raise ValueError(f"{text!r} is neither true nor false")
        return text == "true"
    return whole_of(text) if kind is int else real_of(text) if kind is float else text


COMMANDS = (validate, hazards, sweep)
