"""What ``cube24 prune`` does with a whole model (extra: onnx); weights are pruned in weights.py."""

from __future__ import annotations

from pathlib import Path

import click

from cube24 import graph, stdlib
from cube24.cli.codes import GOOD
from cube24.cli.options import PATH, demand_free, external_data_option, options, skip_options
from cube24.cli.progress import bar
from cube24.cli.samples import inputs_of, members_of

#: Options of ``prune`` that are about models alone; and the names of their parameters.
OPTIONS = options(
    click.option(
        "--method", type=click.Choice(["magnitude", "wanda", "reconstruct"]), default="magnitude",
        show_default=True,
        help="Of a model: the two largest weights of a group stay; or the two largest with the norm"
        " of their inputs; or the two largest, fitted again.",
    ),
    click.option(
        "--calibrate", type=PATH, multiple=True, metavar="X.npz",
        help="Samples of the model's inputs, by name; may be given again.",
    ),
    click.option(
        "--sensitivity", is_flag=True,
        help="With --calibrate: list the layers by how much their outputs change.",
    ),
    skip_options,
    click.option(
        "--config", type=PATH, metavar="FILE",
        help="Configuration of the vendor's compression tool: which layers are pruned.",
    ),
    external_data_option,
)  # fmt: skip
NAMES = ("method", "calibrate", "sensitivity", "skip", "skip_type", "config", "external_data")


def prune_model(
    source: Path,
    output: Path,
    *,
    method: graph.Method,
    calibrate: tuple[Path, ...],
    sensitivity: bool,
    skip: tuple[str, ...],
    skip_type: tuple[str, ...],
    config: Path | None,
    external_data: bool,
    as_json: bool,
    overwrite: bool,
) -> int:
    """Prune a model, and say what that cost each layer."""
    if not calibrate and (sensitivity or method != "magnitude"):
        what = f"--method {method}" if method != "magnitude" else "--sensitivity"
        raise click.UsageError(f"{what} needs --calibrate X.npz, samples of the model's inputs")
    if calibrate and method == "magnitude" and not sensitivity:
        raise click.UsageError(
            "--calibrate: magnitude takes no samples; add --sensitivity or another --method"
        )
    data = graph.data_file(output) if external_data else None
    demand_free(output, data, overwrite=overwrite, inputs=[source, *calibrate, config])
    wanted = None if config is None else graph.read_prune_config(config)
    model = graph.load(source)
    samples = [members_of(path, inputs_of(model)) for path in calibrate]
    with bar("prune", len(model.proto.graph.node)) as progress:
        pruned = graph.prune(
            model, method=method, calibration=samples, sensitivity=sensitivity, skip=skip,
            skip_type=skip_type, config=wanted, progress=progress,
        )  # fmt: skip
    graph.save(pruned.model, output, overwrite=overwrite, external=external_data)
    click.echo(stdlib.json.dumps(pruned.to_dict(), indent=2) if as_json else str(pruned))
    if wanted is not None and wanted.unused:
        click.echo(
            f"note: {config}: {', '.join(wanted.unused)}: about quantisation, which is not done "
            f"here",
            err=True,
        )
    click.echo(f"written: {output}", err=as_json)
    return GOOD
