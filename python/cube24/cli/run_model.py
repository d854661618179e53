"""The command run: a compiled model on the simulated unit, and what comes of it (extra: onnx)."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np

from cube24 import graph
from cube24.cli.codes import FAILED, GOOD
from cube24.cli.options import (
    PATH,
    cores_option,
    demand_free,
    json_option,
    output_option,
    overwrite_option,
    refuse,
    unit_option,
)
from cube24.cli.progress import bar
from cube24.cli.samples import inputs_of, members_of
from cube24.errors import ArgumentError, DtypeError
from cube24.files import (
    exists,
    open_array,
    whole_file,
    write_bytes,
)
from cube24.simulator import Unit
from cube24.vectors import Campaign, demand_same, from_run, write_case


@click.command("run", short_help="Run a compiled model on the simulated unit.")
@click.argument("model", type=PATH)
@click.option(
    "--input", "inputs", multiple=True, metavar="FILE",
    help="NAME.npz with the inputs by name, or INPUT=NAME.npy; may be given again.",
)  # fmt: skip
@output_option("Write the outputs, NAME.npz.")
@click.option(
    "--reference", type=PATH, metavar="SOURCE.onnx",
    help="Compare with the model that it was compiled from: outputs, and node by node.",
)  # fmt: skip
@click.option(
    "--requant", type=click.Choice(["exact", "unit"]), default="exact", show_default=True,
    help="How sums become 8 bits: by the nodes of the model, or by FIXPIPE of the unit.",
)  # fmt: skip
@click.option(
    "--rest", type=click.Choice(["onnxruntime", "reference"]),
    help="What runs all else: onnxruntime or the evaluator of onnx.  [onnxruntime if it is there]",
)  # fmt: skip
@click.option(
    "--layers", multiple=True, metavar="GLOB", default=("*",), show_default=True,
    help="Names of the layers that the unit runs; may be given again.",
)  # fmt: skip
@click.option("--dump", type=PATH, metavar="FOLDER", help="Write each layer as a golden case.")
@unit_option
@cores_option
@click.option("--trace", type=PATH, help="Write a trace for Perfetto, a slice a layer, NAME.json.")
@click.option("--report", type=PATH, help="Write the report as one HTML file.")
@overwrite_option
@json_option
def run_(
    model: Path,
    inputs: tuple[str, ...],
    output: Path | None,
    reference: Path | None,
    requant: graph.Requantise,
    rest: Any,
    layers: tuple[str, ...],
    dump: Path | None,
    unit: str,
    cores: int,
    trace: Path | None,
    report: Path | None,
    overwrite: bool,
    as_json: bool,
) -> int:
    """Run MODEL: its compressed operators on the simulated unit, all else by another runtime.

    The unit computes from the dense and index bytes in the file. With --reference, exit code 1 if
    an output differs. --requant unit rounds scales, so that outputs may differ; then 1 if a node
    that is fed with the values of the reference is off by more than one, or if an output differs
    with the scales that are not rounded.
    """
    if output is None and trace is None and report is None and dump is None:
        refuse(["overwrite"], "nothing is written")
    if output is not None and output.suffix.lower() != ".npz":
        raise ArgumentError(f"{output}: outputs are written as NAME.npz")
    read = [model, reference, unit, *(_parted(text)[1] for text in inputs)]
    demand_free(output, trace, report, overwrite=overwrite, inputs=read)
    of = Unit(unit)
    loaded = graph.load(model)
    compiled_from = None if reference is None else graph.load(reference)
    files = [file for each in (loaded, compiled_from) if each for file in each.files]
    demand_free(output, trace, report, overwrite=overwrite, inputs=files)
    given = _inputs(inputs, loaded)
    count = sum(node.domain == graph.DOMAIN for node in loaded.proto.graph.node)
    with bar("run", count) as progress:
        done = graph.run(
            loaded, given, of, rest=rest, requant=requant, layers=tuple(dict.fromkeys(layers)),
            cores=cores, progress=progress,
        )  # fmt: skip
    compared = None
    if compiled_from is not None:
        with bar("compare", len(done.layers) * (1 if requant == "exact" else 2)) as progress:
            compared = graph.compare(done, compiled_from, progress=progress)
    found = graph.RunReport(done, compared)
    if output is not None:
        _write_outputs(output, done.outputs, overwrite)
    if trace is not None:
        write_bytes(trace, found.to_perfetto().encode(), overwrite=overwrite)
    if report is not None:
        write_bytes(report, found.to_html().encode(), overwrite=overwrite)
    click.echo(json.dumps(found.to_dict(), indent=2) if as_json else str(found))
    if not done.layers and not done.elsewhere:
        click.echo("note: it holds no compressed operator; cube24 compile makes them", err=True)
    if dump is not None:
        _dump(dump, done, overwrite, as_json)
    for path in filter(None, (output, trace, report)):
        click.echo(f"written: {path}", err=as_json)
    return GOOD if compared is None or compared.good else FAILED


# --- inputs ---------------------------------------------------------------------------------------


def _parted(text: str) -> tuple[str, Path]:
    """INPUT=NAME.npy as both; or empty, and the path of an .npz."""
    if text.lower().endswith(".npz"):
        return "", Path(text)
    name, equals, path = text.partition("=")
    if not equals or not name or not path.lower().endswith(".npy"):
        raise ArgumentError(f"--input {text[:100]}: write NAME.npz, or INPUT=NAME.npy")
    return name, Path(path)


def _inputs(texts: Iterable[str], model: graph.Model) -> dict[str, Any]:
    """The inputs of a model from files."""
    known = inputs_of(model)
    found: dict[str, Any] = {}
    for text in texts:
        name, path = _parted(text)
        arrays = members_of(path, known) if not name else {name: _array(path)}
        if twice := sorted(found.keys() & arrays.keys()):
            raise ArgumentError(f"--input {path}: input {twice[0]!r} is given already")
        found |= arrays
    return found


def _array(path: Path) -> Any:
    with open_array(path) as array:
        return array.read_all()


# --- results --------------------------------------------------------------------------------------


def _write_outputs(path: Path, outputs: Mapping[str, Any], overwrite: bool) -> None:
    for name, value in outputs.items():
        if not isinstance(value, np.ndarray) or value.dtype.hasobject:
            raise DtypeError(f"{path}: output {name!r} is no array of numbers, and is not written")
    with (
        whole_file(path, overwrite=overwrite) as file,
        zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive,
    ):
        for name, value in outputs.items():
            # Dated 1980-01-01, so that the same outputs give the same bytes.
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, value, version=(1, 0), allow_pickle=False)


def _dump(folder: Path, done: graph.NetworkRun, overwrite: bool, as_json: bool) -> None:
    """Write the layers as cases of the suite ``network``."""
    root, of, count = folder / "network", Campaign(("network",), 0, 1), 0
    layers = tuple(from_run(done))
    if exists(root) and not overwrite:
        demand_same(root, "run", layers, of)
    with bar("dump", len(layers)) as progress:
        for layer in layers:
            if layer.reason:
                click.echo(f"not dumped: {layer.node}: {layer.reason}", err=as_json)
            for item in layer.items:
                write_case(root / item.name, "network", item, of, replace=overwrite)
                count += 1
            progress(1)
    click.echo(f"{count} cases in {folder}", err=as_json)


COMMANDS = (run_,)
