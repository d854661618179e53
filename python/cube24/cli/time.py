"""Commands and options about time: validate, sweep, hazards, and what simulate adds to a layer."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from cube24 import simulator
from cube24.cli.options import FAILED, GOOD, PATH, bar, overwrite_option
from cube24.errors import ArgumentError
from cube24.simulator import UnitConfig, hazards, profiles, show, sweep
from cube24.simulator.config import ConfigError, config_of

#: Files that show where the time went, and what writes them.
_FILES: dict[str, tuple[str, Callable[..., None]]] = {
    "trace": ("Write a trace for Perfetto or chrome://tracing, NAME.json.", show.write_perfetto),
    "vcd": ("Write a waveform, NAME.vcd (extra: trace).", show.write_vcd),
    "csv": ("Write a table of all instructions, NAME.csv.", show.write_csv),
    "report": ("Write a report for a browser, NAME.html.", show.write_html),
    "roofline": ("Write the roofline as NAME.png (extra: plot).", show.write_roofline_png),
}

#: Options of the commands of ``simulate``.
layer_options = (
    click.option("--time-only", is_flag=True, help="Count cycles, compute nothing."),
    click.option(
        "--cores", type=click.IntRange(min=1), default=1, show_default=True,
        help="Cores that share the work, with --time-only.",
    ),
    click.option(
        "--dtype", type=click.Choice(["int8", "float16"]), default="int8", show_default=True,
        help="Type of the operands; float16 with --time-only.",
    ),
    click.option("--why", is_flag=True, help="Say what keeps the run from being faster."),
    *(
        click.option(f"--{name}", f"{name}_file", type=PATH, help=text)
        for name, (text, _) in _FILES.items()
    ),
)  # fmt: skip


def shape_or(source: Path, read: Callable[[Path], Any]) -> Any:
    """The shape that a word such as 512x2048 is, or what the file of this name holds."""
    if re.fullmatch(r"\d+([x,]\d+)*", str(source)):
        return tuple(int(size) for size in re.split("[x,]", str(source)))
    return read(source).shape


def demand_free(options: dict[str, Any]) -> None:
    """Refuse early to write what stands there already: a simulation may take long."""
    for name in _FILES:
        path = options[f"{name}_file"]
        if path is not None and path.exists() and not options["overwrite"]:
            raise ArgumentError(f"{path} exists; remove it, or say --overwrite")


def tell(run: simulator.Run, why: bool) -> None:
    """Print cycles, use and speed-up of a run; why: also what it would save without each cost."""
    micro = run.seconds * 1e6
    cores = f" on {run.cores} cores" if run.cores > 1 else ""
    click.echo(
        f"time         {run.cycles} cycles{cores}, {micro:.1f} us; the cube is used to "
        f"{100 * run.utilisation:.1f} %"
    )
    if run.plan and run.plan.problem.sparse:
        click.echo(f"dense twin   {run.dense.cycles} cycles: speed-up {run.speed_up:.2f}")
    if not why:
        return
    for reason in run.reasons:
        share = 100 * reason.cycles / run.cycles
        click.echo(
            f"  without {reason.name:<11} {reason.cycles:>9} cycles less ({share:4.1f} %): "
            f"{reason.about}"
        )


def write(run: simulator.Run, options: dict[str, Any]) -> None:
    """Write the files that were asked for."""
    for name, (_, writer) in _FILES.items():
        path = options[f"{name}_file"]
        if path is not None:
            writer(run, path, overwrite=options["overwrite"])
            click.echo(f"written: {path}")


@click.command("validate")
@click.option("--unit", default="dav-2201", show_default=True, help="Preset, or NAME.toml.")
def _validate(unit: str) -> int:
    """Compare the model of time with published on-board profiles.

    Prints measured, modelled and error for each pipe. Exit code 1 if a number is beyond its limit.
    """
    comparisons = profiles.validate(config_of(unit))
    click.echo(profiles.table(comparisons))
    return GOOD if all(one.good for one in comparisons) else FAILED


@click.command("hazards")
@click.argument("program", type=PATH)
@click.option("--unit", default="dav-2201", show_default=True, help="Preset, or NAME.toml.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Races to list."
)
def _hazards(program: Path, unit: str, limit: int) -> int:
    """Look for races and deadlocks in PROGRAM, a text file of instructions.

    A race is two instructions of different pipes that touch the same bytes without a flag between
    them. Exit code 1 if there is one, or if the program stops for ever.
    """
    found = hazards.check(simulator.Program.load(program), config_of(unit), limit=limit)
    click.echo(str(found))
    return GOOD if found.clean else FAILED


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
            match = re.fullmatch(r"(\d+)(?::(\d+)(?::(\*?)(\d+))?)?", word)
            if match is None:
                self.fail(f"{word!r}: write 64,128 or 64:256:64 or 64:1024:*2", param, ctx)
            first, last, times, step = match.groups()
            size, end, by = int(first), int(last or first), int(step or 1)
            if by < (2 if times else 1) or (times and not size):
                self.fail(f"{word!r} does not grow", param, ctx)
            while size <= end:
                found.append(size)
                if len(found) > 1_000_000:
                    self.fail(f"{word!r} has more than a million values", param, ctx)
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
@click.option("--unit", multiple=True, help="Preset, or NAME.toml; may be given again.  [dav-2201]")
@click.option("--dtype", type=click.Choice(["int8", "float16"]), help="Of the operands.  [int8]")
@click.option(
    "--set", "changes", multiple=True, metavar="FIELD=V,V",
    help="Values of a field of the unit (see cube24 units dav-2201); may be given again.",
)  # fmt: skip
@click.option("-o", "--output", type=PATH, help="Write CSV here instead of printing it.")
@click.option("--plot", type=PATH, help="Draw NAME.png or NAME.svg (extra: plot).")
@click.option("--over", help="The axis to draw over.  [the last one with several values]")
@overwrite_option
def _sweep(
    unit: tuple[str, ...],
    changes: tuple[str, ...],
    output: Path | None,
    plot: Path | None,
    over: str | None,
    overwrite: bool,
    dtype: str | None,
    **lists: list[int] | None,
) -> int:
    """Time matrix multiplications over a grid, sparse and dense, as CSV.

    A LIST is 64,128,256 or 64:256:64 (the end counts) or 64:1024:*2. Each combination is a line;
    where one is impossible, the last column says why.
    """
    axes: dict[str, Any] = {"unit": list(unit)} if unit else {}
    axes |= {"dtype": [dtype]} if dtype else {}
    axes |= dict(_change(text) for text in changes)
    axes |= {name: lists[name] for name in sweep.AXES if lists.get(name)}
    for path in (output, plot):
        if path is not None and path.exists() and not overwrite:
            raise ArgumentError(f"{path} exists; remove it, or say --overwrite")
    points = sweep.grid(axes)
    with bar("sweep", len(points)) as progress:
        rows = list(sweep.sweep(points, progress))
    if output is None:
        click.echo(sweep.to_csv(rows), nl=False)
    else:
        sweep.write_csv(rows, output, overwrite=overwrite)
        click.echo(f"written: {output}")
    if plot is not None:
        sweep.write_plot(rows, plot, axis=over, overwrite=overwrite)
        click.echo(f"written: {plot}", err=output is None)
    return GOOD


def _change(text: str) -> tuple[str, list[Any]]:
    """``field=1,2`` as the field and its values."""
    name, equals, values = text.partition("=")
    kinds = {spec.name: type(spec.default) for spec in fields(UnitConfig)}
    if not equals or name not in kinds:
        raise ArgumentError(f"--set {text}: write FIELD=V,V; fields: {', '.join(kinds)}")
    try:
        return name, [_value(kinds[name], value) for value in values.split(",")]
    except ValueError as error:
        raise ConfigError(f"--set {text}: {error}") from error


def _value(kind: type, text: str) -> Any:
    if kind is bool:
        if text not in ("true", "false"):
            raise ValueError(f"{text!r} is neither true nor false")
        return text == "true"
    return kind(text)


COMMANDS = (_validate, _hazards, _sweep)
