"""Commands on whole models: check of a model, compile and decompile (extra: onnx)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cube24 import graph, simulator, stdlib
from cube24.cli.codes import FAILED, GOOD
from cube24.cli.options import (
    PATH,
    InputShapes,
    cores_option,
    demand_free,
    external_data_option,
    input_shape_option,
    layout_choice,
    options,
    output_option,
    overwrite_option,
    refuse,
    skip_options,
    sparsity_option,
    unit_option,
)
from cube24.cli.progress import bar
from cube24.files import write_bytes

if TYPE_CHECKING:
    from cube24.encoder import Layout

#: What the file of a model ends in.
SUFFIX = ".onnx"

select_option = click.option(
    "--select",
    type=click.Choice(["legal", "faster"]),
    default="legal",
    show_default=True,
    help="Which layers are to be sparse: all that can be, or those that take fewer cycles then.",
)

#: Options of ``check`` that are about models alone.
CHECK_OPTIONS = options(
    input_shape_option,
    select_option,
    skip_options,
    unit_option,
    cores_option,
    click.option("--report", type=PATH, help="Write the report as one HTML file."),
    overwrite_option,
)


def is_model(source: Path) -> bool:
    """Whether a path is that of a model, by its name."""
    return source.suffix.lower() == SUFFIX


def check_model(
    source: Path,
    *,
    input_shape: InputShapes,
    select: graph.Select,
    skip: tuple[str, ...],
    skip_type: tuple[str, ...],
    unit: str,
    cores: int,
    report: Path | None,
    overwrite: bool,
    as_json: bool,
) -> int:
    """Say which layers of a model can be sparse; the exit code says whether all are that could."""
    if report is None:
        refuse(["overwrite"], "nothing is written")
    demand_free(report, overwrite=overwrite, inputs=[source])
    of = simulator.Unit(unit)
    model = graph.load(source)
    demand_free(report, overwrite=overwrite, inputs=model.files)
    with bar("check", len(model.proto.graph.node)) as progress:
        found = graph.check(
            model, input_shapes=input_shape, select=select, skip=skip, skip_type=skip_type,
            unit=of, cores=cores, progress=progress,
        )  # fmt: skip
    if report is not None:
        write_bytes(report, found.to_html().encode(), overwrite=overwrite)
    click.echo(stdlib.json.dumps(found.to_dict(), indent=2) if as_json else str(found))
    if open_ := found.open_inputs:
        click.echo(
            f"note: no cycles are known, since the model leaves sizes of {', '.join(open_)} open; "
            f"give --input-shape NAME:1,3,224,224",
            err=True,
        )
    if report is not None:
        click.echo(f"written: {report}", err=as_json)
    return FAILED if found.mendable else GOOD


@click.command("compile")
@click.argument("model", type=PATH)
@output_option("The compiled model, NAME.onnx.", required=True)
@sparsity_option("0", "1: compress the weights that are 2:4; 0: leave every weight as it is.")
@layout_choice("zn")
@select_option
@skip_options
@click.option(
    "--keep-compress-ops", is_flag=True,
    help="Keep int8 weights, behind operators that compress them, in place of dense and index.",
)  # fmt: skip
@click.option(
    "--requant", type=click.Choice(["exact", "unit"]), default="exact", show_default=True,
    help="How sums become 8 bits: as onnxruntime does it, or with scales as the unit holds them.",
)  # fmt: skip
@click.option(
    "--snap-scales", is_flag=True,
    help="Move scales of weights, by 0.049 % at most, so that both of --requant are the same.",
)  # fmt: skip
@click.option("--strict", is_flag=True, help="Refuse a model with a layer that could be sparse.")
@input_shape_option
@unit_option
@external_data_option
@click.option("--compress_weight_conf", "--compress-weight-conf", metavar="FILE", hidden=True)
@click.option(
    "--enable_compress_weight", "--enable-compress-weight", metavar="[true|false]", hidden=True
)
@overwrite_option
def compile_(
    model: Path,
    output: Path,
    sparsity: str,
    layout: Layout,
    select: graph.Select,
    skip: tuple[str, ...],
    skip_type: tuple[str, ...],
    keep_compress_ops: bool,
    requant: graph.Requantise,
    snap_scales: bool,
    strict: bool,
    input_shape: InputShapes,
    unit: str,
    external_data: bool,
    compress_weight_conf: str | None,
    enable_compress_weight: str | None,
    overwrite: bool,
) -> int:
    """Compress the weights of an ONNX model that are 2:4, as the vendor's converter does.

    The compiled model computes what MODEL does, to the bit, in any runtime. `cube24 check`
    says which layers there are; `cube24 decompile` gives the source back.
    """
    if sparsity == "0":
        refuse(["layout", "keep_compress_ops", "requant"], "no weight is compressed: --sparsity 1")
    for name, value in (
        ("compress_weight_conf", compress_weight_conf),
        ("enable_compress_weight", enable_compress_weight),
    ):
        if value is not None:
            raise click.UsageError(
                f"--{name} compresses weights in another way, which the hardware cannot do "
                f"together with --sparsity; leave it out"
            )
    data = graph.data_file(output) if external_data else None
    demand_free(output, data, overwrite=overwrite, inputs=[model])
    of = simulator.Unit(unit)
    source = graph.with_shapes(graph.load(model), input_shape)
    with bar("compile", len(source.proto.graph.node)) as progress:
        compiled = graph.compile(
            source, sparsity=int(sparsity), layout=layout, select=select, skip=skip,
            skip_type=skip_type, keep_compress_ops=keep_compress_ops, requant=requant,
            snap_scales=snap_scales, strict=strict, unit=of, progress=progress,
        )  # fmt: skip
    graph.save(compiled.model, output, overwrite=overwrite, external=external_data)
    sparse = [verdict for verdict in compiled.verdicts if verdict.sparse]
    many = f"{len(sparse)} of {len(compiled.verdicts)} nodes that multiply by a weight"
    if sparsity == "0":
        click.echo(f"--sparsity 0: no weight is compressed; --sparsity 1 would compress {many}")
    else:
        click.echo(f"compressed {many}; cube24 check says why not the others")
    click.echo(f"written: {output}")
    return GOOD


@click.command("decompile")
@click.argument("model", type=PATH)
@output_option("The model that it was compiled from, NAME.onnx.", required=True)
@external_data_option
@overwrite_option
def decompile(model: Path, output: Path, external_data: bool, overwrite: bool) -> int:
    """Give back the model that `cube24 compile` read, byte for byte.

    Its weights are decoded from the dense and index bytes. Where compile was given --input-shape
    or --snap-scales, it has those sizes and scales.
    """
    data = graph.data_file(output) if external_data else None
    demand_free(output, data, overwrite=overwrite, inputs=[model])
    found = graph.decompile(graph.load(model))
    graph.save(found, output, overwrite=overwrite, external=external_data)
    click.echo(f"written: {output}")
    return GOOD


COMMANDS = (compile_, decompile)
