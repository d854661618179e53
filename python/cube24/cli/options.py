"""Options that several commands have, each declared once: one name, one type, one help text.

Where only the default, the choices or what is written differ, the declaration takes them. The rule
that an option is obeyed or refused is kept with ``refuse``: it tells an option that was given from
one that has its default.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from cube24.errors import ArgumentError, FileAccessError, StrPath
from cube24.files import check_target, exists, is_same

if TYPE_CHECKING:
    from cube24.encoder import Kind

# Whether a path can be read is found out, and explained, by reading it.
PATH = click.Path(path_type=Path, readable=False)

Command = TypeVar("Command", bound=Callable[..., Any])


def options(*several: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Several decorators as one, the first one outermost."""

    def decorate(command: Command) -> Command:
        for option in reversed(several):
            command = option(command)
        return command

    return decorate


# --- obeyed or refused ----------------------------------------------------------------------------


def given(*names: str) -> list[str]:
    """Those of the options that stand in the command line, as they are spelt there.

    Args:
        names: of parameters of the running command; those it does not have are passed over.
    """
    context = click.get_current_context()
    found = []
    for option in context.command.params:
        name = option.name or ""
        if name not in names:
            continue
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            off = option.secondary_opts and context.params[name] is False
            found.append(max(option.secondary_opts if off else option.opts, key=len))
    return found


def refuse(names: Iterable[str], why: str) -> None:
    """Refuse options that would be ignored.

    Raises:
        UsageError: one of them was given; the message names it.
    """
    if found := given(*names):
        raise click.UsageError(f"{', '.join(found)}: {why}")


def renamed(old: str, new: str, now: str) -> None:
    """Say the new spelling of an old option, if that was given.

    Args:
        old, new: names of the parameters.
        now: what to write instead.

    Raises:
        UsageError: both were given.
    """
    if found := given(old):
        refuse([new], f"{found[0]} is the old spelling of it; leave that out")
        click.echo(f"note: {found[0]} is now {now}", err=True)


# --- types ----------------------------------------------------------------------------------------


def _whole_numbers(words: Iterable[str]) -> tuple[int, ...] | None:
    """Words as whole numbers of at most 18 digits, which are more than any size has; or None."""
    words = [word.strip() for word in words]
    if all(re.fullmatch(r"[+-]?[0-9]{1,18}", word) for word in words):
        return tuple(map(int, words))
    return None


def _short(text: str) -> str:
    """What was written, quoted, and not all of it if it is long."""
    return repr(text if len(text) <= 60 else f"{text[:57]}...")


class Numbers(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.3 only
    """So many whole numbers, separated by commas."""

    def __init__(self, name: str, count: int) -> None:
        """name: as in the help text, such as M,N,K."""
        self.name, self._count = name, count

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """A tuple of numbers."""
        if isinstance(value, tuple):
            return value
        numbers = _whole_numbers(value.split(","))
        if numbers is None or len(numbers) != self._count:
            self.fail(f"{_short(value)}: write {self._count} numbers as {self.name}", param, ctx)
        return numbers


class _Shape(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.3 only
    name = "N,K"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        numbers = _whole_numbers(value.replace("x", ",").split(","))
        if numbers is None:
            self.fail(f"{_short(value)} is no shape; write it as 64,128 or 64x128", param, ctx)
        return numbers


def dims(shape: Iterable[int]) -> str:
    """A shape as ``--shape`` takes it."""
    return "x".join(map(str, shape))


# --- the weight -----------------------------------------------------------------------------------

name_option = click.option("--name", help="Member of an .npz or tensor of a .safetensors file.")
shape_option = click.option(
    "--shape", type=_Shape(), help="Shape of a weight whose file does not say it, such as 64,128."
)
conv_option = click.option(
    "--conv",
    is_flag=True,
    help="The weight is a convolution (Cout, Cin, Kh, Kw): groups lie along Cin.",
)
weight_source = options(
    click.argument("source", type=PATH),
    name_option,
    shape_option,
    click.option("--dtype", help="Type of a raw .bin file; only int8 is a weight.  [int8]"),
    conv_option,
)


def kind_of(conv: bool) -> Kind:
    """The kind of weight that ``--conv`` means."""
    return "conv" if conv else "matrix"


def policy_option(*choices: str) -> Callable[[Command], Command]:
    """``--policy``; the first choice is the default."""
    return click.option(
        "--policy",
        type=click.Choice(choices),
        default=choices[0],
        show_default=True,
        help="Which two weights of a group of three or four non-zeros stay"
        + ("; error: none, it is refused." if "error" in choices else "."),
    )


def layout_choice(default: str) -> Callable[[Command], Command]:
    """``--layout``, with its default."""
    return click.option(
        "--layout",
        type=click.Choice(["nd", "zn"]),
        default=default,
        show_default=True,
        help="Of dense and index. nd: rows; zn: fractals of 16 columns.",
    )


layout_option = layout_choice("nd")


class _Sparsity(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.3 only
    """0 or 1, refused in the words of the vendor's converter."""

    name = "[0|1]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value not in ("0", "1"):
            self.fail(
                f"{_short(value)} is not one of '0', '1'. "
                f"E10006 Value {value} for parameter --sparsity is invalid. "
                f"The value must be either 1 or 0.",
                param,
                ctx,
            )
        return str(value)


_SPARSITY = _Sparsity()


def sparsity_option(default: str, what: str) -> Callable[[Command], Command]:
    """``--sparsity``; what: its values mean."""
    return click.option("--sparsity", type=_SPARSITY, default=default, show_default=True, help=what)


# --- files ----------------------------------------------------------------------------------------


def output_option(what: str, *, required: bool = False) -> Callable[[Command], Command]:
    """``-o``; what: is written there."""
    return click.option("-o", "--output", required=required, type=PATH, help=what)


overwrite_option = click.option("--overwrite", is_flag=True, help="Replace what stands there.")


def demand_free(
    *paths: Path | None, overwrite: bool, inputs: Iterable[StrPath | None] = ()
) -> None:
    """Refuse, before the work, what would be refused when its results are written to files.

    Args:
        paths: where results are to be written; None: this one is not wanted.
        overwrite: whether what stands there may be replaced.
        inputs: what the command reads, files or folders, which are never replaced by results. One
            that is no path, such as a shape or the name of a unit, does not matter.

    Raises:
        ArgumentError: two of them are one file.
        FileAccessError: one of the paths is there, and ``--overwrite`` was not given; or it is no
            regular file, its folder is not there, or the system lets us write nothing there; or it
            is an input, or stands in one.
    """
    read = [source for source in inputs if source is not None]
    taken: set[Path] = set()
    for path in filter(None, paths):
        if not overwrite and exists(path):
            raise FileAccessError(path, "is there already; name another one, or say --overwrite")
        check_target(path, overwrite=overwrite)
        real = Path(os.path.realpath(path))
        for source in read if exists(path) else ():
            if any(is_same(source, above) for above in (real, *real.parents)):
                raise FileAccessError(
                    path, f"is read, of {source}, and would be lost; name another"
                )
        if real in taken:
            raise ArgumentError(f"{path}: two results would be written there; name another file")
        taken.add(real)


def format_option(
    choices: Iterable[str], what: str, *, multiple: bool = False
) -> Callable[[Command], Command]:
    """``--format``; what: it is the format of, and the default."""
    name = "formats" if multiple else "format_"
    return click.option(
        "--format", name, multiple=multiple, type=click.Choice(list(choices)), help=what
    )


def word_options(
    word_bytes: int | None = 1, order: str | None = "little", *, none: str = ""
) -> Callable[[Command], Command]:
    """``--word-bytes`` and ``--order``; none: what a default of None stands for."""
    return options(
        click.option(
            "--word-bytes",
            type=click.IntRange(1, 4096),
            default=word_bytes,
            show_default=word_bytes is not None,
            help=f"Bytes of a word; npy and bin have no words.{none}",
        ),
        click.option(
            "--order",
            type=click.Choice(["little", "big"]),
            default=order,
            show_default=order is not None,
            help=f"Where the first byte of a word stands.{none}",
        ),
    )


header_option = click.option(
    "--header/--no-header", default=True, help="Comment lines at the top of hex files."
)


# --- what is printed ------------------------------------------------------------------------------

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON in place of the text."
)


def limit_option(what: str) -> Callable[[Command], Command]:
    """``--limit``; what: is listed."""
    return click.option(
        "--limit",
        type=click.IntRange(min=0),
        default=20,
        show_default=True,
        help=f"How many {what} to list.",
    )


# --- the unit -------------------------------------------------------------------------------------

_UNIT = "dav-2201"
geometry_options = options(
    click.option("--strides", type=Numbers("H,W", 2), default=(1, 1), help="H,W.  [1,1]"),
    click.option(
        "--pads", type=Numbers("T,L,B,R", 4), default=(0, 0, 0, 0), help="Top, left, bottom, right."
    ),
    click.option("--dilations", type=Numbers("H,W", 2), default=(1, 1), help="H,W.  [1,1]"),
    click.option("--offset-x", type=int, default=0, help="Value of the padding.  [0]"),
)
unit_option = click.option("--unit", default=_UNIT, show_default=True, help="Preset, or NAME.toml.")
units_option = click.option(
    "--unit",
    multiple=True,
    default=(_UNIT,),
    show_default=True,
    help="Preset, or NAME.toml; may be given again.",
)
dtype_option = click.option(
    "--dtype",
    type=click.Choice(["int8", "float16"]),
    default="int8",
    show_default=True,
    help="Of the operands; float16 has a time, and no values.",
)

cores_option = click.option(
    "--cores", type=click.IntRange(min=1), default=1, show_default=True, help="Of the unit."
)

# --- whole models ---------------------------------------------------------------------------------

#: Shapes of inputs by name.
InputShapes = Mapping[str, tuple[int, ...]]


class _InputShape(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.3 only
    """Shapes of inputs, separated by semicolons as the vendor's converter takes them."""

    name = "NAME:1,3,224,224"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[tuple[str, tuple[int, ...]], ...]:
        if isinstance(value, tuple):
            return value
        found = []
        for each in value.split(";"):
            # A name may have a colon itself.
            name, _, sizes = each.rpartition(":")
            shape = _whole_numbers(sizes.split(","))
            if not name or shape is None or min(shape) < 1:
                self.fail(f"{_short(each)}: write it as NAME:1,3,224,224", param, ctx)
            found.append((name.strip(), shape))
        return tuple(found)


def _input_shapes(
    ctx: click.Context, param: click.Parameter, value: Sequence[Sequence[tuple[str, Any]]]
) -> InputShapes:
    pairs = [pair for several in value for pair in several]
    if len(dict(pairs)) < len(pairs):
        raise click.BadParameter("an input is named twice", ctx, param)
    return dict(pairs)


input_shape_option = click.option(
    "--input-shape",
    "--input_shape",
    "input_shape",
    type=_InputShape(),
    multiple=True,
    callback=_input_shapes,
    help="Of an input whose size the model leaves open; may be given again.",
)
external_data_option = click.option(
    "--external-data", is_flag=True, help="Write weights to NAME.onnx.data beside the model."
)
skip_options = options(
    click.option(
        "--skip",
        multiple=True,
        metavar="GLOB",
        help="Nodes to leave alone, by name, such as 'head/*'; may be given again.",
    ),
    click.option(
        "--skip-type",
        multiple=True,
        metavar="GLOB",
        help="Nodes to leave alone, by operator, such as Gemm; may be given again.",
    ),
)

# --- drawn numbers --------------------------------------------------------------------------------

seed_option = click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="Of the campaign; that of each case is made from it.",
)
