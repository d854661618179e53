"""Commands of ``cube24 vectors`` that write cases of what is there: arrays, and other cases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cube24.cli.case_style import style_of, style_options
from cube24.cli.codes import GOOD
from cube24.cli.options import PATH, geometry_options, output_option, refuse, unit_option
from cube24.files import open_array
from cube24.vectors import MANIFEST, demand_new, folders, from_arrays, restyled, write


@click.command("from-arrays")
@click.option(
    "--weights", required=True, type=PATH, help="2:4 int8 .npy, (N, K) or (Cout, Cin, Kh, Kw)."
)
@click.option(
    "--activations", required=True, type=PATH, help="int8 .npy, (M, K) or (B, Cin, H, W)."
)
@click.option("--bias", type=PATH, help="int32 .npy, one a column.")
@click.option(
    "--requant",
    type=PATH,
    help="Requantise: .npy of float scales or of 64-bit words, one or one a column.",
)
@click.option("--offset", type=int, default=0, help="Added after scaling.  [0]")
@click.option("--unsigned", is_flag=True, help="Requantise to uint8 instead of int8.")
@click.option("--fp16", is_flag=True, help="Scale to fp16 instead of int8.")
@click.option("--relu", is_flag=True, help="Negative results become zero.")
@geometry_options
@click.option(
    "--layout",
    type=click.Choice(["nd", "zn", "both"]),
    default="zn",
    help="Of the weight; both: zn, and also nd.  [zn]",
)
@unit_option
@click.option("--case-name", help="Of the case.  [that of the folder]")
@style_options
@output_option("Folder of the case.", required=True)
def _from_arrays(
    weights: Path,
    activations: Path,
    bias: Path | None,
    requant: Path | None,
    offset: int,
    unsigned: bool,
    fp16: bool,
    relu: bool,
    strides: tuple[int, int],
    pads: tuple[int, int, int, int],
    dilations: tuple[int, int],
    offset_x: int,
    layout: str,
    unit: str,
    case_name: str | None,
    output: Path,
    **said: Any,
) -> int:
    """Write a case of your own tensors, with the result that must come out.

    The weight has to be 2:4 already (cube24 prune makes it so). The case can be verified, compared
    with and shrunk like any other: all its numbers stand in the manifest.
    """
    style = style_of(**said, both_layouts=layout == "both", least=2)
    if requant is None:
        refuse(["offset", "unsigned", "fp16", "relu"], "without --requant results are int32")
    demand_new(output)
    w, x = _array(weights), _array(activations)
    if w.ndim != 4:
        refuse(["strides", "pads", "dilations", "offset_x"], "only a convolution has these")
    words = requant is not None and _array(requant).dtype.kind == "u"
    if words:
        refuse(["offset", "unsigned"], "these stand in the words of --requant")
    case = from_arrays(
        w, x, None if bias is None else _array(bias), None if requant is None else _array(requant),
        name=case_name or output.absolute().name, offset=offset, signed=not unsigned,
        mode="DEQF16" if fp16 else "REQ8", relu=relu, strides=strides, pads=pads,
        dilations=dilations, offset_x=offset_x, layout="nd" if layout == "nd" else "zn", unit=unit,
        style=style,
    )  # fmt: skip
    write(case, output)
    click.echo(f"written: {output / MANIFEST}")
    return GOOD


def _array(path: Path) -> Any:
    with open_array(path) as array:
        return array.read_all()


@click.command("bench")
@click.argument("paths", nargs=-1, required=True, type=PATH)
@output_option("Folder for the new cases.", required=True)
def _bench(paths: tuple[Path, ...], output: Path) -> int:
    """Write the cases below PATHS again, with what a bench loads without JSON.

    Files of a case stay as they are; hex is added where it has none. Each case is made from its
    manifest, which has version 2 then.
    """
    demand_new(output)
    count = 0
    for folder in (folder for path in paths for folder in folders(path)):
        case = restyled(folder)
        write(case, output / case.suite / case.name)
        count += 1
    click.echo(f"written: {count} cases to {output}")
    return GOOD


COMMANDS = (_from_arrays, _bench)
