"""Commands of the simulated unit: simulate matmul, fc and conv2d, and units."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
import numpy as np

from cube24 import encoder, simulator, vectors
from cube24.cli.codes import FAILED, GOOD
from cube24.cli.options import (
    PATH,
    Numbers,
    demand_free,
    dims,
    dtype_option,
    geometry_options,
    given,
    json_option,
    name_option,
    options,
    output_option,
    overwrite_option,
    refuse,
    renamed,
    sparsity_option,
    unit_option,
)
from cube24.errors import ArgumentError
from cube24.files import exists, whole_file
from cube24.simulator import show

#: Files that show where the time went, and what writes them.
_FILES: dict[str, tuple[str, Callable[..., None]]] = {
    "trace": ("Write a trace for Perfetto or chrome://tracing, NAME.json.", show.write_perfetto),
    "vcd": ("Write a waveform, NAME.vcd (extra: trace).", show.write_vcd),
    "csv": ("Write a table of all instructions, NAME.csv.", show.write_csv),
    "report": ("Write a report for a browser, NAME.html.", show.write_html),
    "roofline": ("Write the roofline as NAME.png (extra: plot).", show.write_roofline_png),
}


class _Simulate(click.Group):
    """A group that takes the folder of a golden vector in the place of a command, too."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command ``case`` where the first word is none and names a folder of a case."""
        if self.get_command(ctx, args[0]) is None and exists(Path(args[0]) / vectors.MANIFEST):
            return "case", self.get_command(ctx, "case"), args
        return super().resolve_command(ctx, args)


@click.group("simulate", cls=_Simulate, short_help="Run a layer on the simulated unit.")
def group() -> None:
    """Run a layer on the simulated unit, compare it with the dense computation, count its cycles.

    WEIGHT is an int8 array file, which is encoded first (or runs dense with --sparsity 0), or a
    folder or .npz of cube24 encode. Exit code 1 if an output differs from the dense computation.
    With --time-only nothing is computed, and ACTIVATIONS and WEIGHT may be shapes such as 512x2048.
    The folder of a golden vector in the place of a command runs that case.
    """


_file_options = [
    click.option(f"--{name}", f"{name}_file", type=PATH, help=text)
    for name, (text, _) in _FILES.items()
]

_layer = options(
    click.argument("activations", type=PATH),
    click.argument("weight", type=PATH),
    click.option("--bias", type=PATH, help="int32 .npy, one a column."),
    name_option,
    click.option("--activations-name", help="Member of ACTIVATIONS, as --name is of WEIGHT."),
    click.option("--bias-name", help="Member of the file of --bias, as --name is of WEIGHT."),
    unit_option,
    sparsity_option("1", "1: WEIGHT is 2:4, and runs so if the unit can; 0: it runs dense."),
    click.option("--dense", is_flag=True, hidden=True, help="Old spelling of --sparsity 0."),
    click.option("--scale", type=float, help="Requantise by this factor; without: int32."),
    click.option("--offset", type=int, default=0, help="Added after scaling.  [0]"),
    click.option("--unsigned", is_flag=True, help="Requantise to uint8 instead of int8."),
    click.option("--fp16", is_flag=True, help="Scale to fp16 instead of int8."),
    click.option("--relu", is_flag=True, help="Negative results become zero."),
    click.option("--tile", type=Numbers("M,N,K,K_L1", 4), help="Tile sizes M,N,K,K_L1."),
    click.option("--check/--no-check", default=True, help="Compare with the dense computation."),
    click.option("--program", type=PATH, help="Write the program as text."),
    output_option("Write the result as .npy."),
    click.option("--time-only", is_flag=True, help="Count cycles, compute nothing."),
    click.option(
        "--cores", type=click.IntRange(min=1), default=1, show_default=True,
        help="Cores that share the work, with --time-only.",
    ),
    dtype_option,
    click.option("--why", is_flag=True, help="Say what keeps the run from being faster."),
    *_file_options,
    overwrite_option,
)  # fmt: skip


@group.command("matmul", short_help="Matrix multiplication.")
@_layer
def matmul(activations: Path, weight: Path, **said: Any) -> int:
    """Multiply ACTIVATIONS (M, K) by WEIGHT (N, K)."""
    return _run_layer("matmul", activations, weight, said, {})


@group.command("fc", short_help="Fully connected layer.")
@_layer
def fully_connected(activations: Path, weight: Path, **said: Any) -> int:
    """Fully connected: ACTIVATIONS (B, ...) flattened, by WEIGHT (N, K)."""
    return _run_layer("fully_connected", activations, weight, said, {})


@group.command("conv2d", short_help="Convolution.")
@_layer
@geometry_options
@click.option(
    "--data-format",
    type=click.Choice(["NCHW", "NHWC"]),
    default="NCHW",
    show_default=True,
    help="Order of the dimensions of ACTIVATIONS and of the result.",
)
@click.option(
    "--data",
    type=click.Choice(["NCHW", "NHWC"]),
    hidden=True,
    help="Old spelling of --data-format.",
)
def conv2d(activations: Path, weight: Path, **said: Any) -> int:
    """Convolve ACTIVATIONS (B, Cin, H, W) with WEIGHT (Cout, Cin, Kh, Kw)."""
    renamed("data", "data_format", "--data-format")
    geometry = {name: said.pop(name) for name in ("strides", "pads", "dilations", "offset_x")}
    old, new = said.pop("data"), said.pop("data_format")
    geometry["data_format"] = old or new
    return _run_layer("conv2d", activations, weight, said, geometry)


@group.command("case", short_help="A golden vector, from its files.")
@click.argument("case", type=PATH)
@options(
    click.option("--program", type=PATH, help="Write the program as text."),
    output_option("Write the result as .npy."),
    click.option("--why", is_flag=True, help="Say what keeps the run from being faster."),
    *_file_options,
    overwrite_option,
)
def run_case(case: Path, **said: Any) -> int:
    """Run CASE, the folder of a golden vector, and compare with what it expects.

    The unit is that of the case. Exit code 1 if an output differs, or the unit refuses the bytes
    of the case; those of a fault must be refused where the manifest says so.
    """
    _demand_free(said, (case,))
    stored = vectors.load(case)
    try:
        result, differing = vectors.simulate(stored)
    except simulator.ExecutionError as error:
        click.echo(f"{stored.name}: the unit refuses the bytes: {error}", err=True)
        return FAILED
    output = result.output
    assert output is not None
    click.echo(f"case         {stored.name} (case seed {vectors.shown(stored.seed)})")
    click.echo(f"unit         {result.config.name}")
    click.echo(f"output       {dims(output.shape)} {output.dtype}")
    click.echo(f"program      {len(result.program.instructions)} instructions")
    click.echo(f"expected     {output.size} outputs, {differing} differ")
    _tell(result, said["why"])
    _write_files(result, said)
    return FAILED if differing else GOOD


def _demand_free(said: Any, inputs: tuple[Path | None, ...]) -> None:
    """Refuse files that are there already, and those that cannot be written, before any work."""
    paths = (said[name] for name in ("program", "output", *(f"{name}_file" for name in _FILES)))
    demand_free(*paths, overwrite=said["overwrite"], inputs=inputs)
    if said["vcd_file"] is not None:
        show.demand_vcd()
    if said["roofline_file"] is not None:
        show.demand_drawing(said["roofline_file"])


def _write_files(result: simulator.Run, said: Any) -> None:
    """Write what was asked for of a run: program, result, and where the time went."""
    if said["program"]:
        result.program.save(said["program"], overwrite=said["overwrite"])
        click.echo(f"written: {said['program']}")
    if said["output"]:
        _save_array(said["output"], result.output, said["overwrite"])
        click.echo(f"written: {said['output']}")
    for name, (_, writer) in _FILES.items():
        if (path := said[f"{name}_file"]) is not None:
            writer(result, path, overwrite=said["overwrite"])
            click.echo(f"written: {path}")


def _run_layer(
    operation: str, activations: Path, weight: Path, said: Any, geometry: dict[str, Any]
) -> int:
    renamed("dense", "sparsity", "--sparsity 0")
    _refuse_what_is_not_used(operation, said)
    _demand_free(said, (activations, weight, said["bias"], said["unit"]))
    wanted = said["sparsity"] == "1" and not said["dense"]
    unit = simulator.Unit(said["unit"])
    tile = simulator.Tile(*said["tile"]) if said["tile"] else None
    bias = _array(said["bias"], said["bias_name"]) if said["bias"] else None
    requant = _requant(said)
    x: Any
    operand: Any
    if said["time_only"]:
        x = _shape_or(activations, said["activations_name"], "--activations-name")
        original = _shape_or(weight, said["name"], "--name")
        _demand_operation(weight, original, operation)
        can = said["dtype"] == "int8" and unit.config.sparsity
        # Sparsity that was asked for on a unit that has none is the unit's to refuse.
        sparse = wanted and (can or bool(given("sparsity")))
        operand = None
        result = unit.time(
            _layer_of(operation, x, original, geometry), sparse=sparse, dtype=said["dtype"],
            bias=bias is not None, requant=requant, tile=tile, cores=said["cores"],
        )  # fmt: skip
    else:
        x = _array(activations, said["activations_name"])
        operand, original = _operand(weight, said["name"], operation, wanted)
        sparse = isinstance(operand, encoder.SparseWeight)
        result = getattr(unit, operation)(
            x, operand, bias, requant, tile=tile, check=original if said["check"] else False,
            **geometry,
        )  # fmt: skip
    kind = "2:4" if sparse else "dense"
    if isinstance(operand, encoder.SparseWeight):
        kind = f"2:4, {dims(operand.to_fractal().dense.shape)} dense fractals"
    dtype = said["dtype"]
    click.echo(f"unit         {unit.config.name}")
    click.echo(f"activations  {dims(getattr(x, 'shape', x))} {dtype}")
    click.echo(f"weight       {dims(getattr(original, 'shape', original))} {dtype} ({kind})")
    if requant is not None:
        click.echo(f"scale        {_scale(said['scale'], requant.effective_scale)}")
    if result.output is not None:
        click.echo(f"output       {dims(result.output.shape)} {result.output.dtype}")
        click.echo(f"program      {len(result.program.instructions)} instructions")
        compared = f"{result.output.size} outputs, 0 differ" if said["check"] else "not compared"
        click.echo(f"dense        {compared}")
    _tell(result, said["why"])
    _write_files(result, said)
    return GOOD


def _layer_of(
    operation: str, x: tuple[int, ...], weight: tuple[int, ...], geometry: dict[str, Any]
) -> simulator.Layer:
    if operation == "conv2d":
        return simulator.Conv2d.of(x, weight, **geometry)
    if operation == "fully_connected":
        x = simulator.flattened(x)
    return simulator.Matmul.of(x, weight)


def _scale(said: float, effective: Any) -> str:
    """The scale that the unit multiplies by, and what was asked for if that is another one."""
    if said == effective:
        return f"{said}"
    return f"{effective} for {said}: the unit drops 13 bits of an fp32"


def _refuse_what_is_not_used(operation: str, said: Any) -> None:
    if said["bias"] is None:
        refuse(["bias_name"], "there is no --bias")
    if said["scale"] is None:
        refuse(
            ["offset", "unsigned", "fp16", "relu"],
            "--offset, --unsigned, --fp16 and --relu need --scale",
        )
    if said["fp16"]:
        refuse(["offset", "unsigned"], "--fp16 has neither an offset nor a sign to choose")
    if said["dtype"] == "float16":
        if operation == "conv2d":
            raise click.UsageError(
                "--dtype float16: float16 has a time for matrix multiplications only"
            )
        if said["sparsity"] == "1":
            refuse(["sparsity"], "float16 runs without sparsity; say --sparsity 0, or nothing")
        if not said["time_only"]:
            raise click.UsageError("--dtype float16: cores and float16 need --time-only")
    if said["time_only"]:
        refuse(["check"], "--time-only gives no output to compare")
        refuse(["output"], "--time-only gives no output to write")
    else:
        refuse(["cores"], "cores and float16 need --time-only")


def _shape_or(source: Path, name: str | None, option: str) -> tuple[int, ...]:
    """The shape that a word such as 512x2048 is, or of what the file of this name holds."""
    if re.fullmatch(r"[0-9]{1,18}([x,][0-9]{1,18})*", str(source)):
        if name is not None:
            raise click.UsageError(f"{option}: {source} is a shape, and has no members")
        return tuple(int(size) for size in re.split("[x,]", str(source)))
    if encoder.is_stored(source):
        _demand_no_name(source, name)
        return encoder.stored_geometry(source).shape
    with encoder.open_array(source, name=name) as array:
        return array.shape


def _demand_no_name(source: Path, name: str | None) -> None:
    if name is not None:
        raise click.UsageError(f"--name: {source} holds an encoded weight, which is one whole")


def _demand_operation(source: Path, shape: tuple[int, ...], operation: str, kind: str = "") -> None:
    """Refuse a weight that looks like one of another operation, and name that.

    Args:
        source: its file.
        shape: of the weight.
        operation: that was asked for.
        kind: as which it was encoded; empty: it was not.
    """
    takes = "conv" if operation == "conv2d" else "matrix"
    is_now = kind or {2: "matrix", 4: "conv"}.get(len(shape), takes)
    if is_now == takes:
        return
    if kind and len(shape) == (4 if takes == "conv" else 2):
        flag = "with" if takes == "conv" else "without"
        raise ArgumentError(
            f"{source}: a weight of {dims(shape)} that was encoded as {_KINDS[kind]}; encode it "
            f"{flag} --conv"
        )
    takes_shape = (
        "four dimensions, (Cout, Cin, Kh, Kw)" if takes == "conv" else "two dimensions, (N, K)"
    )
    other = "matmul or fc" if takes == "conv" else "conv2d"
    raise ArgumentError(
        f"{source}: a weight of {dims(shape)} is {_KINDS[is_now]}, and this operation takes "
        f"{takes_shape}; try cube24 simulate {other}"
    )


_KINDS = {"matrix": "a matrix", "conv": "a convolution"}


def _requant(said: Any) -> simulator.Requant | None:
    if said["scale"] is None:
        return None
    return simulator.Requant(
        said["scale"],
        said["offset"],
        signed=not said["unsigned"],
        relu=said["relu"],
        mode="DEQF16" if said["fp16"] else "REQ8",
    )


def _array(path: Path, name: str | None) -> Any:
    with encoder.open_array(path, name=name) as array:
        return array.read_all()


def _operand(path: Path, name: str | None, operation: str, sparse: bool) -> tuple[Any, Any]:
    """The weight as the unit takes it, and the original weight to compare with."""
    if encoder.is_stored(path):
        _demand_no_name(path, name)
        stored = encoder.SparseWeight.load(path)
        _demand_operation(path, stored.shape, operation, stored.kind if sparse else "")
        original = encoder.decode(stored)
        return (stored if sparse else original), original
    original = _array(path, name)
    _demand_operation(path, original.shape, operation)
    if not sparse:
        return original, original
    encode = encoder.encode_conv if operation == "conv2d" else encoder.encode
    return encode(original), original


def _save_array(path: Path, array: Any, overwrite: bool) -> None:
    with whole_file(path, overwrite=overwrite) as file:
        np.lib.format.write_array(file, array, version=(1, 0))


def _tell(run: simulator.Run, why: bool) -> None:
    """Print cycles, use and speed-up of a run; why: also what it would save without each cost."""
    micro = run.seconds * 1e6
    cores = f" on {run.cores} cores" if run.cores > 1 else ""
    click.echo(
        f"time         {run.cycles} cycles{cores}, {micro:.1f} us; the cube is used to "
        f"{100 * run.utilisation:.1f} %"
    )
    if run.plan and run.plan.problem.sparse:
        twin = run.dense
        click.echo(
            f"dense twin   does not fit: {run.dense_problem}"
            if twin is None
            else f"dense twin   {twin.cycles} cycles: speed-up {run.speed_up:.2f}"
        )
    if not why:
        return
    for reason in run.reasons:
        share = 100 * reason.cycles / run.cycles
        click.echo(
            f"  without {reason.name:<11} {reason.cycles:>9} cycles less ({share:4.1f} %): "
            f"{reason.about}"
        )


@click.command("units", short_help="List the units, or show one with its sources.")
@click.argument("unit", required=False)
@click.option("--toml", is_flag=True, help="Print as TOML, to start a unit of your own from.")
@json_option
def units(unit: str | None, toml: bool, as_json: bool) -> int:
    """List the units, or show UNIT (a preset or NAME.toml) with the source of each number."""
    if unit is None:
        refuse(["toml"], "name the unit to print")
        _list_units(as_json)
        return GOOD
    if as_json:
        refuse(["toml"], "--json prints JSON; choose one")
    config = simulator.Unit(unit).config
    if as_json:
        click.echo(json.dumps({spec.name: _described(config, spec) for spec in fields(config)},
                              indent=2))  # fmt: skip
    else:
        click.echo(config.to_toml() if toml else config.describe(), nl=not toml)
    return GOOD


def _described(config: simulator.UnitConfig, spec: Any) -> dict[str, Any]:
    """A field of a unit as its text has it: value, unit, source and meaning."""
    about = {name: spec.metadata[name] for name in ("unit", "source", "about")}
    return {"value": getattr(config, spec.name), **about}


def _list_units(as_json: bool) -> None:
    names = ("name", "cores", "clock_mhz", "l1_bytes", "l0c_bytes", "sparsity")
    if as_json:
        click.echo(json.dumps(
            [{name: getattr(config, name) for name in names}
             for config in simulator.PRESETS.values()], indent=2))  # fmt: skip
        return
    for config in simulator.PRESETS.values():
        click.echo(
            f"{config.name:<9} {config.cores:>2} cores, {config.clock_mhz} MHz, "
            f"L1 {config.l1_bytes >> 10} KiB, L0C {config.l0c_bytes >> 10} KiB, "
            f"{'2:4 sparsity' if config.sparsity else 'dense only'}"
        )


COMMANDS = (group, units)
