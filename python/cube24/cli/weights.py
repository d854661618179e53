"""Commands on the files of weights: encode, decode, check, prune and info."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cube24 import encoder, stdlib
from cube24.cli import models, prune_model
from cube24.cli.codes import FAILED, GOOD
from cube24.cli.options import (
    PATH,
    conv_option,
    dims,
    format_option,
    header_option,
    json_option,
    kind_of,
    layout_option,
    limit_option,
    name_option,
    output_option,
    overwrite_option,
    policy_option,
    refuse,
    shape_option,
    weight_source,
    word_options,
)
from cube24.cli.progress import bar
from cube24.errors import ArgumentError, counted

if TYPE_CHECKING:
    from cube24.encoder import ArrayFile, Geometry

_Shape = tuple[int, ...] | None


@click.command("encode")
@weight_source
@output_option("Folder or NAME.npz.", required=True)
@format_option(
    ["npy", "hex", "bin", "npz"], "Files in the folder; npz by itself for NAME.npz.  [npy]"
)
@layout_option
@policy_option("error", "first_two", "first_last", "magnitude")
@word_options()
@header_option
@overwrite_option
def encode(
    source: Path,
    name: str | None,
    shape: _Shape,
    dtype: str | None,
    conv: bool,
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
    a policy says what to drop. With --overwrite an encoded weight is replaced, but no folder that
    holds anything else, and never SOURCE.
    """
    form = encoder.style_for(output, format_).format
    if form != "hex":
        refuse(
            ["word_bytes", "order", "header"],
            f"{form} files have neither words nor comments; say --format hex",
        )
    style = encoder.style_for(output, format_, word_bytes=word_bytes, order=order, header=header)
    with _open(source, name, shape, dtype) as array:
        _hint_of_convolution(array.shape, conv)
        with _progress("encode", array) as progress:
            geometry, changes = encoder.encode_file(
                array,
                output,
                kind=kind_of(conv),
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


@click.command("decode")
@click.argument("source", type=PATH, required=False)
@output_option("NAME.npy or NAME.bin.", required=True)
@click.option("--strict", is_flag=True, help="Refuse what the encoder would not have written too.")
@click.option("--dense", type=PATH, help="Dense bytes, without SOURCE.")
@click.option("--index", type=PATH, help="Index bytes, without SOURCE.")
@shape_option
@conv_option
@layout_option
@word_options()
@overwrite_option
def decode(
    source: Path | None,
    output: Path,
    strict: bool,
    dense: Path | None,
    index: Path | None,
    shape: _Shape,
    conv: bool,
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
        refuse(
            ["dense", "index", "shape", "conv", "layout", "word_bytes", "order"],
            f"{source} says it all; leave it out",
        )
        encoder.check_weight_target(output, overwrite=overwrite)  # before all checksums
        with encoder.open_stored(source) as (geometry, arrays):
            _decode_into(geometry, arrays, output, strict, overwrite)
    else:
        if dense is None or index is None or shape is None:
            raise click.UsageError("name SOURCE, or all of --dense, --index and --shape")
        if not {dense.suffix.lower(), index.suffix.lower()} & {".hex"}:
            refuse(["word_bytes", "order"], "npy and bin have no words")
        encoder.check_weight_target(output, overwrite=overwrite)
        _hint_of_convolution(shape, conv)
        geometry = encoder.Geometry(shape, kind_of(conv), layout)
        words: dict[str, Any] = {"word_bytes": word_bytes, "order": order}
        with (
            encoder.open_payload(dense, "dense", geometry.dense_shape, **words) as one,
            encoder.open_payload(index, "index", geometry.index_shape, **words) as two,
        ):
            _decode_into(geometry, {"dense": one, "index": two}, output, strict, overwrite)
    click.echo(f"{geometry.kind} {dims(geometry.shape)} from layout {geometry.layout}")
    click.echo(f"written: {output}")
    return GOOD


def _decode_into(
    geometry: Geometry, arrays: dict[str, ArrayFile], output: Path, strict: bool, overwrite: bool
) -> None:
    with bar("decode", _size(geometry.shape)) as progress:
        encoder.decode_arrays(
            geometry, arrays, output, strict=strict, overwrite=overwrite, progress=progress
        )


#: Options that are about weights, and not about models.
_A_WEIGHT = ("name", "shape", "dtype", "conv")
_OF_MODELS = ("input_shape", "select", "skip", "skip_type", "unit", "cores", "report", "overwrite")


@click.command("check")
@weight_source
@limit_option("offending groups")
@models.CHECK_OPTIONS
@json_option
def check(
    source: Path,
    name: str | None,
    shape: _Shape,
    dtype: str | None,
    conv: bool,
    limit: int,
    as_json: bool,
    **of_model: Any,
) -> int:
    """Say whether a weight is 2:4, and where it is not; or which layers of a MODEL.onnx can be.

    Of a weight: prints the patterns of its groups, the groups with more than two non-zeros and the
    rows that have most of them. Exit code 1 if the weight is not 2:4.

    Of a model: a line for each node that multiplies by a weight, with the reason where it stays
    dense, and the cycles on the unit of both forms. Exit code 1 if pruning or quantising the model
    would make one more layer sparse.
    """
    if models.is_model(source):
        refuse((*_A_WEIGHT, "limit"), f"{source} is a model, and this is about a weight")
        return models.check_model(source, as_json=as_json, **of_model)
    refuse(_OF_MODELS, f"{source} is a weight, and this is about models, NAME.onnx")
    with _open(source, name, shape, dtype) as array:
        _hint_of_convolution(array.shape, conv)
        with _progress("check", array) as progress:
            report = encoder.check_file(array, kind=kind_of(conv), limit=limit, progress=progress)
    click.echo(stdlib.json.dumps(report.to_dict(), indent=2) if as_json else str(report))
    return GOOD if report.legal else FAILED


@click.command("prune")
@weight_source
@output_option("NAME.npy or NAME.bin; NAME.onnx of a model.", required=True)
@policy_option("magnitude", "first_two", "first_last")
@prune_model.OPTIONS
@json_option
@overwrite_option
def prune(
    source: Path,
    name: str | None,
    shape: _Shape,
    dtype: str | None,
    conv: bool,
    output: Path,
    policy: str,
    as_json: bool,
    overwrite: bool,
    **of_model: Any,
) -> int:
    """Make a weight 2:4 by dropping weights, or all weights of a MODEL.onnx; say what that cost.

    Of a weight: with --overwrite the result may take the place of SOURCE.

    Of a model: each weight of a layer that could be sparse is pruned, float or quantised, along Cin
    or K, and nothing else changes. With --calibrate the weights that stay can be chosen by what
    they are multiplied by, or be fitted again.
    """
    if models.is_model(source):
        refuse((*_A_WEIGHT, "policy"), f"{source} is a model, and this is about a weight")
        return prune_model.prune_model(
            source, output, as_json=as_json, overwrite=overwrite, **of_model
        )
    refuse(prune_model.NAMES, f"{source} is a weight, and this is about models, NAME.onnx")
    with _open(source, name, shape, dtype) as array:
        _hint_of_convolution(array.shape, conv)
        with _progress("prune", array) as progress:
            cost = encoder.prune_file(
                array,
                output,
                policy=policy,
                kind=kind_of(conv),
                overwrite=overwrite,
                progress=progress,
            )
    if as_json:
        shares = {"l1_share": cost.l1_share, "l2_share": cost.l2_share}
        click.echo(stdlib.json.dumps({**vars(cost), **shares}, indent=2))
    else:
        click.echo(str(cost))
        click.echo(f"written: {output}")
    return GOOD


@click.command("info")
@click.argument("source", type=PATH, required=False)
@name_option
@click.option("--verify", is_flag=True, help="Read an encoded weight; verify its checksums.")
@json_option
def info(source: Path | None, name: str | None, verify: bool, as_json: bool) -> int:
    """Say what SOURCE holds: an encoded weight, or an array. Without SOURCE, about cube24.

    Only headers, names of members and sparse.json are read, however large the file is. With
    --verify the sizes and checksums of an encoded weight are verified.
    """
    about: dict[str, Any]
    if source is None:
        refuse(["name", "verify"], "there is no SOURCE to look into")
        path, why = encoder.chosen_path()
        about = {
            "version": stdlib.importlib.metadata.version("cube24"),
            "numpy": stdlib.importlib.metadata.version("numpy"),
            "code paths": list(encoder.paths()),
            "code path": f"{path} ({why})",
        }
    elif encoder.is_stored(source):
        refuse(["name"], f"{source} holds an encoded weight, which is one whole")
        geometry = encoder.stored_geometry(source)
        about = {
            "encoded": geometry.kind,
            "shape": list(geometry.shape),
            "layout": geometry.layout,
            "dense": list(geometry.dense_shape),
            "index": list(geometry.index_shape),
            "bytes": _size(geometry.dense_shape) + _size(geometry.index_shape),
        }
        if verify:
            with encoder.open_stored(source):
                about["checksums"] = "right"
    else:
        refuse(["verify"], f"{source} holds no encoded weight, so there are no checksums")
        with _open(source, name, None, None) as array:
            about = {"array": array.path, "shape": list(array.shape), "dtype": str(array.dtype)}
    if as_json:
        click.echo(stdlib.json.dumps(about, indent=2))
    else:
        for key, value in about.items():
            shown = ", ".join(map(str, value)) if isinstance(value, list) else value
            click.echo(f"{key + ':':<12}{shown}")
    return GOOD


COMMANDS = (encode, decode, check, prune, info)


# --- helpers --------------------------------------------------------------------------------------


@contextmanager
def _open(source: Path, name: str | None, shape: _Shape, dtype: str | None) -> Iterator[ArrayFile]:
    if encoder.is_stored(source):
        raise ArgumentError(
            f"{source}: holds an encoded weight, not a weight; decode it, or see cube24 info"
        )
    with encoder.open_array(source, name=name, shape=shape, dtype=dtype) as array:
        yield array


def _hint_of_convolution(shape: tuple[int, ...], conv: bool) -> None:
    """Say so if a weight looks like a convolution and is taken for matrices.

    A line on stderr, for people: reports and JSON tell the kind that was asked for. A batch of
    matrices has four dimensions too, so it is no error.
    """
    if conv or len(shape) < 3:
        return
    if len(shape) == 4:
        click.echo(
            f"hint: this weight has four dimensions, {dims(shape)}, and is taken for a batch of "
            f"matrices; if it is a convolution (Cout, Cin, Kh, Kw), say --conv",
            err=True,
        )
    elif 0 < shape[-1] < 4:
        click.echo(
            f"hint: groups of four lie along the last dimension of {dims(shape)}, which has only "
            f"{shape[-1]}; if it is a convolution, make it (Cout, Cin, Kh, Kw) and say --conv",
            err=True,
        )


def _progress(label: str, array: ArrayFile) -> Any:
    return bar(label, _size(array.shape))


def _size(shape: tuple[int, ...]) -> int:
    return prod(shape)


def _about(array: ArrayFile, geometry: Geometry) -> str:
    dense, index = _size(geometry.dense_shape), _size(geometry.index_shape)
    return (
        f"{geometry.kind} {dims(geometry.shape)} in layout {geometry.layout}: "
        f"{_size(array.shape)} bytes -> dense {dense} + index {index} = {dense + index} bytes"
    )
