"""The commands of ``cube24 vectors``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NoReturn

import click

from cube24.cli import devices
from cube24.cli.case_style import style_of, style_options
from cube24.cli.cases import COMMANDS as CASES
from cube24.cli.codes import BAD, FAILED, GOOD, INTERRUPTED, TERMINATED, Terminated
from cube24.cli.options import (
    PATH,
    demand_free,
    json_option,
    overwrite_option,
    refuse,
    seed_option,
)
from cube24.cli.progress import rate
from cube24.errors import ArgumentError, Cube24Error
from cube24.files import is_folder, whole_file
from cube24.vectors import (
    Campaign,
    add_suites,
    campaigns,
    check_shard,
    coverage,
    demand_same,
    folders,
    from_onnx,
    generate,
    missing,
    suites,
    verify_many,
    write_case,
)


@click.group("vectors", short_help="Golden vectors: generate, verify, compare, shrink.")
def group() -> None:
    """Golden vectors for benches: folders of files with a manifest and the expected result."""


class _Shard(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.3 only
    name = "I/N"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        try:
            index, count = (int(part) for part in value.split("/"))
        except ValueError:
            self.fail(f"{value[:40]!r}: write I/N, such as 0/8", param, ctx)
        return index, count


_suites_option = click.option(
    "--suite", "names", multiple=True, type=click.Choice(list(suites.SUITES)),
    help="May be given again.  [all]",
)  # fmt: skip
_level_option = click.option(
    "--level", type=click.IntRange(0, 2), default=1, show_default=True,
    help="0: the committed set; 1: some minutes; 2: hours.",
)  # fmt: skip


_cases_option = click.option(
    "--case", "cases", multiple=True, metavar="GLOB",
    help="Only cases of such a name, or suite/name; may be given again.  [all]",
)  # fmt: skip


_workers_option = click.option(
    "--workers", type=click.IntRange(1, 4096), default=1, show_default=True, help="Processes."
)


@group.command("generate")
@click.argument("folder", type=PATH)
@_suites_option
@_level_option
@seed_option
@style_options
@_workers_option
@click.option(
    "--shard", type=_Shard(), default=(0, 1), help="Every N-th case from the I-th on: one job of N."
)
@click.option("--cluster", metavar="ADDRESS", help="Run on a Dask cluster (extra: cluster).")
@_cases_option
@click.option(
    "--layout", type=click.Choice(["nd", "zn", "both"]),
    help="Of the weight; both: also in the one that a case is not in.  [as each case]",
)  # fmt: skip
@click.option("--add", is_flag=True, help="Add the suites to the campaign that FOLDER holds.")
def _generate(
    folder: Path,
    names: tuple[str, ...],
    level: int,
    seed: int,
    workers: int,
    shard: tuple[int, int],
    cluster: str | None,
    cases: tuple[str, ...],
    layout: Literal["nd", "zn", "both"] | None,
    add: bool,
    **said: Any,
) -> int:
    """Write cases below FOLDER, as suite/case; go on where an earlier run was stopped.

    Each expected result is computed by the unit from the written bytes and by the dense computation
    from the original weight. Exit code 1 if they ever differ; that case is not written.
    """
    if cluster is not None:
        refuse(["workers"], "a cluster has workers of its own")
    check_shard(shard)
    if add:
        refuse(["level", "seed", "cases", "layout", *said], "--add takes that of the campaign")
        if not names:
            raise click.UsageError("--add needs --suite")
        of = add_suites(folder, names)
    else:
        style = style_of(**said, both_layouts=layout == "both")
        newer = [name for name in names or suites.SUITES if name not in suites.FIRST]
        if said["manifest"] == 1 and newer:
            raise ArgumentError(f"--manifest 1: the cases of {', '.join(newer)} have version 2")
        forced = None if layout == "both" else layout
        of = Campaign(names or tuple(suites.SUITES), level, seed, style, cases, forced)
    mine = len(range(shard[0], of.count(), shard[1]))
    try:
        with rate("generate", mine, "cases") as progress:
            done = generate(
                folder, of, workers=workers, shard=shard, cluster=cluster,
                progress=lambda written: progress(1),
            )  # fmt: skip
    except (KeyboardInterrupt, Terminated) as stopped:
        click.echo("stopped; whole cases are kept, and the same command goes on", err=True)
        return INTERRUPTED if isinstance(stopped, KeyboardInterrupt) else TERMINATED
    click.echo(f"written: {done.written} cases to {folder}; {done.kept} were there already")
    return GOOD


@group.command("onnx")
@click.argument("model", type=PATH)
@click.argument("folder", type=PATH)
@click.option(
    "--size",
    default=4,
    show_default=True,
    help="Rows and columns of positions of a convolution; their product is the rows of a matmul.",
)
@click.option("--prefix", default="onnx", show_default=True, help="Of the names of the cases.")
@seed_option
@style_options
def _onnx(
    model: Path,
    folder: Path,
    size: int,
    prefix: str,
    seed: int,
    **said: Any,
) -> int:
    """Write the layers of an ONNX MODEL that have weights as cases below FOLDER (extra: onnx).

    Weights become int8 and 2:4 as docs/vectors.md says; activations are drawn. A layer that the
    unit cannot run is named with the reason.
    """
    style = style_of(**said)
    of = Campaign(("network",), 0, seed, style)
    root, count = folder / "network", 0
    # Before anything is written: cases of another model stay alone.
    demand_same(root, prefix, from_onnx(model, prefix=prefix, size=size), of)
    for layer in from_onnx(model, prefix=prefix, size=size):
        shape = "x".join(map(str, layer.shape))
        taken = f"taken, but {layer.note}" if layer.note else "taken"
        click.echo(f"{layer.name:<24} {shape:<16} {layer.reason or taken}")
        for item in layer.items:
            write_case(root / item.name, "network", item, of, replace=False)
            count += 1
    click.echo(f"{count} cases in {folder}")
    return GOOD


@group.command("list")
@_suites_option
@_level_option
@_cases_option
def _list(names: tuple[str, ...], level: int, cases: tuple[str, ...]) -> int:
    """List the cases of the suites."""
    of = Campaign(names or tuple(suites.SUITES), level, cases=cases)  # names depend on no seed
    for suite, name in of.names():
        click.echo(f"{suite}/{name}")
    return GOOD


@group.command("verify")
@click.argument("paths", nargs=-1, required=True, type=PATH)
@click.option(
    "--mutate", "flips", metavar="N|all",
    help="Also flip N single bits (or all) of each file; each must make the comparison fail.",
)  # fmt: skip
@_workers_option
def _verify(paths: tuple[Path, ...], flips: str | None, workers: int) -> int:
    """Make cases again from their manifests and compare every byte.

    PATHS are cases or folders of them. Exit code 1 if one is not what its manifest gives, or a
    campaign lacks some of its cases; 2 if one cannot be looked at.
    """
    bits = 0 if flips is None else _bits(flips)
    # Counted first, and walked again: there may be a million of them.
    cases = sum(1 for path in paths for _ in folders(path))
    there = (folder for path in paths for folder in folders(path))
    good = failed = unknown = flipped = missed = 0
    with rate("verify", cases, "cases") as progress:
        for found in verify_many(there, workers=min(workers, cases), bits=bits):
            flipped += found.mutations.flipped
            missed += len(found.mutations.missed)
            for place in found.mutations.missed:
                click.echo(f"not noticed: {found.folder}: {place}")
            if found.kind == "good":
                good += 1
            elif found.kind == "bad":
                failed += 1
                click.echo(f"bad: {found.message}")
            else:
                unknown += 1
                click.echo(f"error: {found.message}", err=True)
            progress(1)
    lacking = 0
    for folder in (folder for path in paths for folder in campaigns(path)):
        try:
            lacking += _lacking(folder)
        except Cube24Error as error:
            failed += 1
            click.echo(f"bad: {error}")
    click.echo(f"verified: {good} of {cases + lacking} cases")
    if flips is not None:
        click.echo(f"flipped: {flipped} bits, of which {missed} were not noticed")
    if failed or missed or lacking:
        return FAILED
    return BAD if unknown else GOOD


def _lacking(folder: Path) -> int:
    """Say which cases a campaign lacks; gives how many."""
    of, lacking = Campaign.load(folder), missing(folder)
    if lacking:
        more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
        click.echo(
            f"incomplete: {folder}: {len(lacking)} of {of.count()} cases are missing: "
            f"{lacking[0]}{more}; go on with: {of.command(folder)}"
        )
    return len(lacking)


def _bits(text: str) -> int | None:
    if text == "all":
        return None
    if not text.isdecimal() or len(text) > 18 or int(text) == 0:
        raise ArgumentError(f"--mutate {text[:40]}: write a number of bits, or all")
    return int(text)


class _Coverage(click.Command):
    """Its ``--json`` took a file once."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Say so, where the parser would say only that a flag takes no value."""
        for word in args:
            if word.startswith("--json="):
                _explain_json(word.partition("=")[2], ctx)
        return super().parse_args(ctx, args)


def _explain_json(path: str | Path, ctx: click.Context) -> NoReturn:
    raise click.UsageError(
        f"--json prints JSON and takes no file; write the counts with --counts {path}", ctx
    )


@group.command("coverage", cls=_Coverage)
@click.argument("paths", nargs=-1, required=True, type=PATH)
@json_option
@click.option("--counts", type=PATH, help="Write the counts, for --merge.")
@click.option("--markdown", type=PATH, help="Write the table as Markdown.")
@click.option("--merge", multiple=True, type=PATH, help="Add what --counts wrote before.")
@overwrite_option
def _coverage(
    paths: tuple[Path, ...],
    as_json: bool,
    counts: Path | None,
    markdown: Path | None,
    merge: tuple[Path, ...],
    overwrite: bool,
) -> int:
    """Say which coverage bins the cases below PATHS hit. Exit code 1 if there are holes.

    Cases that cannot be read are named and not counted; the exit code is 2 then.
    """
    for path in paths:
        if as_json and not is_folder(path):
            _explain_json(path, click.get_current_context())
    demand_free(counts, markdown, overwrite=overwrite, inputs=paths)
    bad: list[Cube24Error] = []
    table = coverage.of_folder(paths, bad.append)
    for error in bad:
        click.echo(f"bad: {error}", err=True)
    for path in merge:
        table = table + coverage.Table.load(path)
    click.echo(table.to_json() if as_json else str(table), nl=not as_json)
    for target, text in ((counts, table.to_json), (markdown, table.to_markdown)):
        if target is not None:
            with whole_file(target, overwrite=overwrite) as file:
                file.write(text().encode())
            click.echo(f"written: {target}", err=as_json)
    if bad:
        return BAD
    return FAILED if table.holes else GOOD


for command in (*devices.COMMANDS, *CASES):
    group.add_command(command)

COMMANDS = (group,)
