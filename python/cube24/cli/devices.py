"""The commands of ``cube24 vectors`` that look at a device under test: compare and shrink."""

from __future__ import annotations

import json
import math
from collections import deque
from pathlib import Path
from typing import Any

import click

from cube24.cli.codes import BAD, FAILED, GOOD, INTERRUPTED, TERMINATED, Terminated
from cube24.cli.options import (
    PATH,
    demand_free,
    format_option,
    json_option,
    output_option,
    overwrite_option,
    refuse,
    word_options,
)
from cube24.errors import ArgumentError, Cube24Error, FileAccessError, FileFormatError, counted
from cube24.files import exists, is_folder, whole_file
from cube24.vectors import (
    KINDS,
    MANIFEST,
    READABLE,
    Outcome,
    compare,
    compare_many,
    demand_new,
    junit_of,
    load,
    shrink,
    write,
)


class Finite(click.FloatRange):
    """A number that is one: any range has room for nan, which is neither above nor below."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The number."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is no finite number", param, ctx)
        return number


@click.command("compare")
@click.argument("case", type=PATH)
@click.argument("got", type=PATH)
@format_option(READABLE, "Of GOT.  [as its suffix says]")
@word_options(None, None, none="  [as the case]")
@click.option(
    "--cycles",
    type=click.IntRange(0, (1 << 63) - 1),
    help="That the device took: says how far off.",
)
@click.option(
    "--cycles-within", type=Finite(min=0), metavar="PERCENT",
    help="Fail if they are further off than this.",
)  # fmt: skip
@json_option
@click.option("--junit", "junit_", type=PATH, help="Also write JUnit XML.")
@overwrite_option
def _compare(
    case: Path,
    got: Path,
    format_: str | None,
    word_bytes: int | None,
    order: str | None,
    cycles: int | None,
    cycles_within: float | None,
    as_json: bool,
    junit_: Path | None,
    overwrite: bool,
) -> int:
    """Compare GOT, a dump of a device under test (.hex, .bin or .npy), with a case.

    Explains the first mismatch group by group, and names the faults that explain all of them, or
    else the pattern of the differences. Undriven digits and missing words differ. Of a folder of
    cases and one of dumps (GOT/suite/case.hex) all are compared. Exit code 1 if anything differs or
    has no dump; the count of cycles only informs, unless --cycles-within is given.
    """
    if cycles_within is not None and cycles is None:
        raise ArgumentError("--cycles-within needs --cycles")
    if (format_ or got.suffix.lower().lstrip(".")) in ("npy", "bin"):
        refuse(["word_bytes", "order"], "npy and bin have no words")
    demand_free(junit_, overwrite=overwrite, inputs=(case, got))
    words: dict[str, Any] = {"format": format_, "word_bytes": word_bytes, "order": order}
    if is_folder(case) and not exists(case / MANIFEST):
        if not is_folder(got):
            raise ArgumentError(
                f"{got}: is no folder of dumps; {case} has no {MANIFEST}, so it is one of cases"
            )
        refuse(["cycles"], "of a folder of cases each takes cycles of its own")
        return _compare_many(case, got, words, as_json, junit_, overwrite)
    stored = load(case)
    try:
        found = compare(stored, got, cycles=cycles, **words)
        outcome = found.outcome
    except (FileFormatError, FileAccessError) as error:
        # A device that left no dump, or something else, is to be seen in a regression.
        if isinstance(error, FileFormatError) or error.path == str(got):
            outcome = Outcome(stored.name, stored.seed, "error", str(error), str(error))
            _write_junit(junit_, [outcome], overwrite)
        raise
    click.echo(json.dumps(found.to_dict(), indent=1) if as_json else str(found))
    _write_junit(junit_, [outcome], overwrite)
    slow = cycles_within is not None and abs(found.cycles_off or 0) > cycles_within
    if slow:
        click.echo(f"cycles: further off than {cycles_within:g} %", err=True)
    return FAILED if slow or not found.equal else GOOD


def _write_junit(path: Path | None, outcomes: list[Outcome], overwrite: bool) -> None:
    if path is not None:
        with whole_file(path, overwrite=overwrite) as file:
            file.write(junit_of(outcomes).encode())


def _compare_many(
    cases: Path,
    dumps: Path,
    words: dict[str, Any],
    as_json: bool,
    junit_: Path | None,
    overwrite: bool,
) -> int:
    """Compare all cases of a folder; one line for each that is not equal, and a summary."""
    outcomes: list[Outcome] = []
    data: list[dict[str, Any]] = []
    common: set[str] | None = None
    for outcome, found in compare_many(cases, dumps, **words):
        outcomes.append(outcome)
        if as_json:
            about = {"case": outcome.case, "message": outcome.message} if found is None else (
                found.to_dict()
            )  # fmt: skip
            data.append({"kind": outcome.kind, **about})
        if outcome.kind == "differs" and found is not None:
            names = {each.name for each in found.hypotheses}
            common = names if common is None else common & names
        if outcome.kind != "equal" and not as_json:
            click.echo(f"{outcome.kind}: {outcome.case}: {outcome.message}")
    counts = {kind: sum(one.kind == kind for one in outcomes) for kind in KINDS}
    if as_json:
        click.echo(json.dumps({"counts": counts, "cases": data}, indent=1))
    else:
        for name in sorted(common or ()):
            click.echo(f"explains all cases that differ: {name}")
        told = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
        click.echo(f"compared: {counted(len(outcomes), 'case')}: {told}")
    _write_junit(junit_, outcomes, overwrite)
    if counts["differs"] or counts["missing"]:
        return FAILED
    return BAD if counts["error"] else GOOD


@click.command("shrink")
@click.argument("case", type=PATH)
@click.option(
    "--dut-cmd", required=True,
    help="Runs the device: {case} is the folder to read, {got} the file to write.",
)  # fmt: skip
@click.option(
    "--got", "suffix", type=click.Choice([".hex", ".bin", ".npy"]), default=".hex",
    show_default=True, help="What the device writes.",
)  # fmt: skip
@click.option("--limit", type=click.IntRange(min=1), default=500, show_default=True, help="Runs.")
@click.option(
    "--timeout", type=Finite(min=0, min_open=True), metavar="SECONDS", help="For one run.  [none]"
)
@word_options(None, None, none="  [as the case]")
@output_option("Folder for the smaller case.", required=True)
def _shrink(
    case: Path,
    dut_cmd: str,
    suffix: str,
    limit: int,
    timeout: float | None,
    word_bytes: int | None,
    order: str | None,
    output: Path,
) -> int:
    """Find a smaller case on which a device still fails: fewer rows, columns, groups and pixels.

    Then values become plainer. A device fails by a result that differs or is no dump, by a crash or
    by --timeout; a smaller case must fail in the way of CASE. The smallest one so far is written
    whatever ends the search. Exit code 0: no smaller one was found, or --limit was reached; 1: the
    device gave no result on any case, could not be run any more, or the disk is full; 130 and 143:
    Ctrl-C and SIGTERM; 2: nothing was written, the device cannot be run or does not fail on CASE.
    """
    if suffix != ".hex":
        refuse(["word_bytes", "order"], "npy and bin have no words")
    demand_new(output)
    best: deque[shrink.Shrunk] = deque(maxlen=1)
    stopped: Cube24Error | KeyboardInterrupt | Terminated | None = None
    try:
        found = shrink.shrink(
            case,
            shrink.device(dut_cmd, suffix, timeout, word_bytes, order),
            limit=limit,
            progress=lambda text: click.echo(f"left: {text}", err=True),
            keep=best.append,
        )
        stopped = found.stopped
    except (KeyboardInterrupt, Terminated) as error:
        if not best:
            raise
        found, stopped = best[-1], error
    write(found.case, output)
    click.echo(f"written: {output / MANIFEST} after {found.runs} runs")
    if found.failure is not None:
        click.echo(f"fails: {found.failure}")
    for kind, count in found.others.items():
        click.echo(f"{counted(count, 'run')} failed in another way: {kind}")
    if found.fruitless:
        click.echo("no run gave a result; does the command run a device at all?", err=True)
        if stopped is None or isinstance(stopped, shrink.LimitError):
            return FAILED
    if stopped is None:
        return GOOD
    if isinstance(stopped, Cube24Error):
        click.echo(f"stopped: {stopped}; what is written is the smallest case so far", err=True)
        return GOOD if isinstance(stopped, shrink.LimitError) else FAILED
    click.echo("stopped; what is written is the smallest case so far", err=True)
    return INTERRUPTED if isinstance(stopped, KeyboardInterrupt) else TERMINATED


COMMANDS = (_compare, _shrink)
