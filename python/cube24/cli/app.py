"""The command line. Each command reads its options, calls the package and prints what it gave.

Exit codes: 0 good, 1 the check failed, 2 bad input or usage, 130 and 143 stopped by Ctrl-C or
SIGTERM. Results go to stdout, errors and progress to stderr.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import click
import numpy as np

from cube24 import encoder, simulator
from cube24.cli import time as cli_time
from cube24.cli import vectors as cli_vectors
from cube24.cli.options import (
    BAD,
    FAILED,
    GOOD,
    INTERRUPTED,
    PATH,
    TERMINATED,
    Numbers,
    Terminated,
    bar,
    options,
    overwrite_option,
)
from cube24.encoder import ArrayFile, Geometry, decode_arrays, open_payload, open_stored, style_for
from cube24.errors import ArgumentError, Cube24Error, FileFormatError, counted
from cube24.files import whole_file
from cube24.simulator import demo as digits
from cube24.version import __version__


class _Shape(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.3 only
    name = "N,K"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        try:
            return tuple(int(size) for size in value.replace("x", ",").split(","))
        except ValueError:
            self.fail(f"{value!r} is no shape; write it as 64,128 or 64x128", param, ctx)


_weight_source = options(
    click.argument("source", type=PATH),
    click.option("--name", help="Member of an .npz or tensor of a .safetensors file."),
    click.option("--shape", type=_Shape(), help="Shape of a raw .bin file, such as 64,128."),
    click.option("--dtype", help="Type of a raw .bin file; only int8 is a weight.  [int8]"),
    click.option(
        "--conv",
        "kind",
        flag_value="conv",
        default="matrix",
        help="The weight is a convolution (Cout, Cin, Kh, Kw): groups lie along Cin.",
    ),
)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_layout = click.option(
    "--layout",
    type=click.Choice(["nd", "zn"]),
    default="nd",
    show_default=True,
    help="nd: rows; zn: fractals of 16 columns.",
)
_words = options(
    click.option("--word-bytes", default=1, show_default=True, help="Bytes a word of a hex file."),
    click.option(
        "--order",
        type=click.Choice(["little", "big"]),
        default="little",
        show_default=True,
        help="Where the first byte of a hex word stands.",
    ),
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="cube24")
def cli() -> None:
    """Encode int8 weights with 2:4 sparsity into the bytes that the hardware reads, and back.

    Exit codes: 0 good, 1 the check failed, 2 bad input or usage.
    """


@cli.command("encode")
@_weight_source
@click.option("-o", "--output", required=True, type=PATH, help="Folder or NAME.npz.")
@click.option(
    "--format",
    "format_",
    type=click.Choice(["npy", "hex", "bin", "npz"]),
    help="Files in the folder; npz by itself for NAME.npz.  [npy]",
)
@_layout
@click.option(
    "--policy",
    type=click.Choice(["error", "first_two", "first_last", "magnitude"]),
    default="error",
    show_default=True,
    help="What to do with a group of three or four non-zeros.",
)
@_words
@click.option("--header/--no-header", default=True, help="Comment lines at the top of hex files.")
@overwrite_option
def _encode(
    source: Path,
    name: str | None,
    shape: tuple[int, ...] | None,
    dtype: str | None,
    kind: Any,
    output: Path,
    format_: Any,
    layout: Any,
    policy: str,
    word_bytes: int,
    order: str,
    header: bool,
    overwrite: bool,
) -> int:
    """Encode a weight into dense and index matrices.

    SOURCE is .npy, .npz, .safetensors or raw .bin; it may be larger than memory. The result is a
    folder of dense, index and sparse.json, or one .npz. A weight that is not 2:4 is refused unless
    a policy says what to drop.
    """
    style = style_for(output, format_, word_bytes=word_bytes, order=order, header=header)
    with _open(source, name, shape, dtype) as array:
        with _progress("encode", array) as progress:
            geometry, changes = encoder.encode_file(
                array,
                output,
                kind=kind,
                layout=layout,
                policy=policy,
                style=style,
                overwrite=overwrite,
                progress=progress,
            )
        click.echo(_about(array, geometry))
    if changes.groups:
        click.echo(
            f"policy {policy}: {counted(changes.weights, 'weight')} dropped from "
            f"{counted(changes.groups, 'group')}"
        )
    click.echo(f"written: {output}")
    return GOOD


@cli.command("decode")
@click.argument("source", type=PATH, required=False)
@click.option("-o", "--output", required=True, type=PATH, help="NAME.npy or NAME.bin.")
@click.option("--strict", is_flag=True, help="Refuse what the encoder would not have written too.")
@click.option("--dense", type=PATH, help="Dense bytes, without SOURCE.")
@click.option("--index", type=PATH, help="Index bytes, without SOURCE.")
@click.option("--shape", type=_Shape(), help="Shape of the weight that --dense and --index hold.")
@click.option("--conv", "kind", flag_value="conv", default="matrix", help="It is a convolution.")
@_layout
@_words
@overwrite_option
def _decode(
    source: Path | None,
    output: Path,
    strict: bool,
    dense: Path | None,
    index: Path | None,
    shape: tuple[int, ...] | None,
    kind: Any,
    layout: Any,
    word_bytes: int,
    order: str,
    overwrite: bool,
) -> int:
    """Decode dense and index bytes back to the weight.

    SOURCE is a folder or .npz of cube24 encode. Bytes of another origin are named with --dense,
    --index (.npy, .hex or raw .bin), --shape and --layout instead.
    """
    if source is not None:
        if dense or index or shape:
            raise click.UsageError("SOURCE says it all; leave out --dense, --index and --shape")
        with open_stored(source) as (geometry, arrays):
            _decode_into(geometry, arrays, output, strict, overwrite)
    else:
        if dense is None or index is None or shape is None:
            raise click.UsageError("name SOURCE, or all of --dense, --index and --shape")
        geometry = Geometry(shape, kind, layout)
        words: dict[str, Any] = {"word_bytes": word_bytes, "order": order}
        with (
            open_payload(dense, "dense", geometry.dense_shape, **words) as one,
            open_payload(index, "index", geometry.index_shape, **words) as two,
        ):
            _decode_into(geometry, {"dense": one, "index": two}, output, strict, overwrite)
    click.echo(f"{geometry.kind} {_dims(geometry.shape)} from layout {geometry.layout}")
    click.echo(f"written: {output}")
    return GOOD


def _decode_into(
    geometry: Geometry, arrays: dict[str, ArrayFile], output: Path, strict: bool, overwrite: bool
) -> None:
    with bar("decode", int(np.prod(geometry.shape, dtype=object))) as progress:
        decode_arrays(
            geometry, arrays, output, strict=strict, overwrite=overwrite, progress=progress
        )


@cli.command("check")
@_weight_source
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=20,
    show_default=True,
    help="How many offending groups to list.",
)
@_json
def _check(
    source: Path,
    name: str | None,
    shape: tuple[int, ...] | None,
    dtype: str | None,
    kind: Any,
    limit: int,
    as_json: bool,
) -> int:
    """Say whether a weight is 2:4, and where it is not.

    Prints the patterns of its groups, the groups with more than two non-zeros and the rows that
    have most of them. Exit code 1 if the weight is not 2:4.
    """
    with (
        _open(source, name, shape, dtype) as array,
        _progress("check", array) as progress,
    ):
        report = encoder.check_file(array, kind=kind, limit=limit, progress=progress)
    click.echo(json.dumps(report.to_dict(), indent=2) if as_json else str(report))
    return GOOD if report.legal else FAILED


@cli.command("prune")
@_weight_source
@click.option("-o", "--output", required=True, type=PATH, help="NAME.npy or NAME.bin.")
@click.option(
    "--policy",
    type=click.Choice(["magnitude", "first_two", "first_last"]),
    default="magnitude",
    show_default=True,
    help="Which two weights of a group stay.",
)
@_json
@overwrite_option
def _prune(
    source: Path,
    name: str | None,
    shape: tuple[int, ...] | None,
    dtype: str | None,
    kind: Any,
    output: Path,
    policy: str,
    as_json: bool,
    overwrite: bool,
) -> int:
    """Make a weight 2:4 by dropping weights, and say what that cost."""
    with (
        _open(source, name, shape, dtype) as array,
        _progress("prune", array) as progress,
    ):
        cost = encoder.prune_file(
            array, output, policy=policy, kind=kind, overwrite=overwrite, progress=progress
        )
    if as_json:
        shares = {"l1_share": cost.l1_share, "l2_share": cost.l2_share}
        click.echo(json.dumps({**vars(cost), **shares}, indent=2))
    else:
        click.echo(str(cost))
        click.echo(f"written: {output}")
    return GOOD


@cli.command("info")
@click.argument("source", type=PATH, required=False)
@click.option("--name", help="Member of an .npz or tensor of a .safetensors file.")
@_json
def _info(source: Path | None, name: str | None, as_json: bool) -> int:
    """Say what SOURCE holds: an encoded weight, or an array. Without SOURCE, about cube24.

    The sizes and checksums of an encoded weight are verified.
    """
    if source is None:
        about: dict[str, Any] = {
            "version": __version__,
            "numpy": np.__version__,
            "code paths": list(encoder.paths()),
        }
    elif source.is_dir() or _is_stored(source):
        with open_stored(source) as (geometry, arrays):
            about = {
                "encoded": geometry.kind,
                "shape": list(geometry.shape),
                "layout": geometry.layout,
                "dense": list(arrays["dense"].shape),
                "index": list(arrays["index"].shape),
                "bytes": sum(int(np.prod(array.shape, dtype=object)) for array in arrays.values()),
                "checksums": "right",
            }
    else:
        with _open(source, name, None, None) as array:
            about = {"array": array.path, "shape": list(array.shape), "dtype": str(array.dtype)}
    if as_json:
        click.echo(json.dumps(about, indent=2))
    else:
        for key, value in about.items():
            shown = ", ".join(map(str, value)) if isinstance(value, list) else value
            click.echo(f"{key + ':':<12}{shown}")
    return GOOD


@cli.command("demo", short_help="Run the whole chain on a small network.")
@click.option("-o", "--output", type=PATH, help="Folder for the vectors of each layer.")
@_layout
@overwrite_option
def _demo(output: Path | None, layout: Any, overwrite: bool) -> int:
    """Run the whole chain on a small network that reads handwritten digits.

    Each layer is encoded, computed from the emitted bytes alone and compared with the dense
    computation from the original weights. With -o, activations, dense, index, bias and expected
    results are written as npy and hex. Exit code 1 if an output differs.
    """
    result = digits.run(layout)
    for layer in result.layers:
        patterns = sum(1 for count in layer.report.patterns.values() if count)
        click.echo(
            f"{layer.name:<6} {_dims(layer.shape):<11} {layer.report.groups:>5} groups, "
            f"{patterns:>2} patterns; {layer.bytes_before:>5} -> {layer.bytes_after:>5} bytes; "
            f"{layer.compared:>6} outputs compared, {layer.differences} differ{_padding(layer)}"
        )
    click.echo(
        f"accuracy: {result.correct} of {result.images} images "
        f"({100 * result.correct / result.images:.2f}%)"
    )
    if output is not None:
        digits.write(result, output, overwrite=overwrite)
        click.echo(f"written: {output}")
    return FAILED if result.differences else GOOD


# --- simulate -------------------------------------------------------------------------------------


@cli.group("simulate", short_help="Run a layer on the simulated unit.")
def _simulate() -> None:
    """Run a layer on the simulated unit, compare it with the dense computation, count its cycles.

    WEIGHT is an int8 array file, which is encoded first (or runs dense with --dense), or a folder
    or .npz of cube24 encode. Exit code 1 if an output differs from the dense computation. With
    --time-only nothing is computed, and ACTIVATIONS and WEIGHT may be shapes such as 512x2048.
    """


_layer = options(
    click.argument("activations", type=PATH),
    click.argument("weight", type=PATH),
    click.option("--bias", type=PATH, help="int32 .npy, one a column."),
    click.option("--unit", default="dav-2201", show_default=True, help="Preset, or NAME.toml."),
    click.option("--dense", is_flag=True, help="Run WEIGHT without sparsity."),
    click.option("--scale", type=float, help="Requantise by this factor; without: int32."),
    click.option("--offset", type=int, default=0, help="Added after scaling.  [0]"),
    click.option("--unsigned", is_flag=True, help="Requantise to uint8 instead of int8."),
    click.option("--fp16", is_flag=True, help="Scale to fp16 instead of int8."),
    click.option("--relu", is_flag=True, help="Negative results become zero."),
    click.option("--tile", type=Numbers("M,N,K,K_L1", 4), help="Tile sizes M,N,K,K_L1."),
    click.option("--check/--no-check", default=True, help="Compare with the dense computation."),
    click.option("--program", type=PATH, help="Write the program as text."),
    click.option("-o", "--output", type=PATH, help="Write the result as .npy."),
    *cli_time.layer_options,
    overwrite_option,
)


@_simulate.command("matmul", short_help="Matrix multiplication.")
@_layer
def _simulate_matmul(activations: Path, weight: Path, **options: Any) -> int:
    """Multiply ACTIVATIONS (M, K) by WEIGHT (N, K)."""
    return _run_layer("matmul", activations, weight, options, {})


@_simulate.command("fc", short_help="Fully connected layer.")
@_layer
def _simulate_fc(activations: Path, weight: Path, **options: Any) -> int:
    """Fully connected: ACTIVATIONS (B, ...) flattened, by WEIGHT (N, K)."""
    return _run_layer("fully_connected", activations, weight, options, {})


@_simulate.command("conv2d", short_help="Convolution.")
@_layer
@click.option("--strides", type=Numbers("H,W", 2), default=(1, 1), help="H,W.  [1,1]")
@click.option(
    "--pads", type=Numbers("T,L,B,R", 4), default=(0, 0, 0, 0), help="Top, left, bottom, right."
)
@click.option("--dilations", type=Numbers("H,W", 2), default=(1, 1), help="H,W.  [1,1]")
@click.option("--offset-x", type=int, default=0, help="Value of the padding.  [0]")
@click.option("--data", type=click.Choice(["NCHW", "NHWC"]), default="NCHW", show_default=True)
def _simulate_conv2d(activations: Path, weight: Path, **options: Any) -> int:
    """Convolve ACTIVATIONS (B, Cin, H, W) with WEIGHT (Cout, Cin, Kh, Kw)."""
    names = {"strides", "pads", "dilations", "offset_x", "data"}
    geometry = {name: options.pop(name) for name in names}
    geometry["layout"] = geometry.pop("data")
    return _run_layer("conv2d", activations, weight, options, geometry)


def _run_layer(
    operation: str, activations: Path, weight: Path, options: Any, geometry: dict[str, Any]
) -> int:
    cli_time.demand_free(options)
    unit = simulator.Unit(options["unit"])
    tile = simulator.Tile(*options["tile"]) if options["tile"] else None
    bias = _array(options["bias"]) if options["bias"] else None
    requant = _requant(options)
    x: Any
    operand: Any
    if options["time_only"]:
        x, operand = cli_time.shape_or(activations, _array), cli_time.shape_or(weight, _array)
        sparse = not options["dense"] and options["dtype"] == "int8" and unit.config.sparsity
        if operation != "conv2d":
            geometry["dtype"] = options["dtype"]
        geometry |= {"values": False, "cores": options["cores"], "sparse": sparse}
        original = operand
    else:
        if options["cores"] != 1 or options["dtype"] != "int8":
            raise click.UsageError("--cores and --dtype need --time-only")
        x = _array(activations)
        operand, original = _operand(weight, operation == "conv2d", options["dense"])
        geometry["check"] = original if options["check"] else False
        sparse = isinstance(operand, encoder.SparseWeight)
    result = getattr(unit, operation)(x, operand, bias, requant, tile=tile, **geometry)
    kind = "2:4" if sparse else "dense"
    if isinstance(operand, encoder.SparseWeight):
        kind = f"2:4, {_dims(operand.to_fractal().dense.shape)} dense fractals"
    dtype = options["dtype"]
    click.echo(f"unit         {unit.config.name}")
    click.echo(f"activations  {_dims(getattr(x, 'shape', x))} {dtype}")
    click.echo(f"weight       {_dims(getattr(original, 'shape', original))} {dtype} ({kind})")
    if result.output is not None:
        click.echo(f"output       {_dims(result.output.shape)} {result.output.dtype}")
        click.echo(f"program      {len(result.program.instructions)} instructions")
        compared = f"{result.output.size} outputs, 0 differ" if options["check"] else "not compared"
        click.echo(f"dense        {compared}")
    cli_time.tell(result, options["why"])
    if options["program"]:
        result.program.save(options["program"], overwrite=options["overwrite"])
        click.echo(f"written: {options['program']}")
    if options["output"]:
        if result.output is None:
            raise click.UsageError("--time-only gives no output to write")
        _save_array(options["output"], result.output, options["overwrite"])
        click.echo(f"written: {options['output']}")
    cli_time.write(result, options)
    return GOOD


def _requant(options: Any) -> simulator.Requant | None:
    if options["scale"] is not None:
        return simulator.Requant(
            options["scale"],
            options["offset"],
            signed=not options["unsigned"],
            relu=options["relu"],
            mode="DEQF16" if options["fp16"] else "REQ8",
        )
    if options["fp16"] or options["relu"] or options["unsigned"] or options["offset"]:
        raise click.UsageError("--offset, --unsigned, --fp16 and --relu need --scale")
    return None


def _array(path: Path) -> Any:
    with encoder.open_array(path) as array:
        return array.read_all()


def _operand(path: Path, conv: bool, dense: bool) -> tuple[Any, Any]:
    """The weight as the unit takes it, and the original weight to compare with."""
    if path.is_dir() or _is_stored(path):
        sparse = encoder.SparseWeight.load(path)
        original = encoder.decode(sparse)
        return (original if dense else sparse), original
    original = _array(path)
    if dense:
        return original, original
    return (encoder.encode_conv if conv else encoder.encode)(original), original


def _save_array(path: Path, array: Any, overwrite: bool) -> None:
    with whole_file(path, overwrite=overwrite) as file:
        np.lib.format.write_array(file, array, version=(1, 0))


@cli.command("units", short_help="List the units, or show one with its sources.")
@click.argument("unit", required=False)
@click.option("--toml", is_flag=True, help="Print as TOML, to start a unit of your own from.")
def _units(unit: str | None, toml: bool) -> int:
    """List the units, or show UNIT (a preset or NAME.toml) with the source of each number."""
    if unit is not None:
        config = simulator.Unit(unit).config
        click.echo(config.to_toml() if toml else config.describe(), nl=not toml)
        return GOOD
    for config in simulator.PRESETS.values():
        click.echo(
            f"{config.name:<9} {config.cores:>2} cores, {config.clock_mhz} MHz, "
            f"L1 {config.l1_bytes >> 10} KiB, L0C {config.l0c_bytes >> 10} KiB, "
            f"{'2:4 sparsity' if config.sparsity else 'dense only'}"
        )
    return GOOD


def _padding(layer: digits.LayerResult) -> str:
    """Why the bytes of a layer are not 5/8 of its weight."""
    geometry = layer.sparse.geometry
    stored = geometry.n_stored * geometry.k_stored
    if stored == layer.weight.size:
        return ""
    return f" (padded from {layer.weight.size} to {stored} weights)"


for command in cli_time.COMMANDS:
    cli.add_command(command)
cli.add_command(cli_vectors.group)


# --- helpers --------------------------------------------------------------------------------------


@contextmanager
def _open(
    source: Path, name: str | None, shape: tuple[int, ...] | None, dtype: str | None
) -> Iterator[ArrayFile]:
    if source.is_dir() or _is_stored(source):
        raise ArgumentError(
            f"{source}: holds an encoded weight, not a weight; decode it, or see cube24 info"
        )
    with encoder.open_array(source, name=name, shape=shape, dtype=dtype) as array:
        yield array


def _is_stored(source: Path) -> bool:
    if source.suffix.lower() != ".npz" or not source.is_file():
        return False
    try:
        with open_stored(source):
            return True
    except FileFormatError:
        return False


def _progress(label: str, array: ArrayFile) -> Any:
    return bar(label, int(np.prod(array.shape, dtype=object)))


def _dims(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _about(array: ArrayFile, geometry: Geometry) -> str:
    before = int(np.prod(array.shape, dtype=object))
    dense = int(np.prod(geometry.dense_shape, dtype=object))
    index = int(np.prod(geometry.index_shape, dtype=object))
    return (
        f"{geometry.kind} {_dims(geometry.shape)} in layout {geometry.layout}: "
        f"{before} bytes -> dense {dense} + index {index} = {dense + index} bytes"
    )


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise Terminated


def run(arguments: list[str] | None = None) -> int:
    """Run a command line; gives the exit code. No exception leaves this function."""
    try:
        code = cli.main(arguments, prog_name="cube24", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else GOOD
    except click.ClickException as error:
        error.show()
        return BAD
    except Cube24Error as error:
        kind = "differs" if error.exit_code == FAILED else "error"
        click.echo(f"{kind}: {error}", err=True)
        return error.exit_code
    except MemoryError:
        click.echo("error: not enough memory for an array of this size", err=True)
        return BAD
    except BrokenPipeError:
        # The reader of our output has gone; keep the interpreter from telling so at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return GOOD
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted; nothing was written", err=True)
        return INTERRUPTED
    except Terminated:
        click.echo("terminated; nothing was written", err=True)
        return TERMINATED


def main() -> None:
    """Entry point of the ``cube24`` command."""
    signal.signal(signal.SIGTERM, _terminate)
    sys.exit(run())
