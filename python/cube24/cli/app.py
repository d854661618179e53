"""The command cube24 itself: its group, how a command line is run, and what ends it.

Exit codes: 0 good, 1 the check failed, 2 bad input or usage, or results that could not be written;
128 + n stopped by signal n: 130 Ctrl-C, 143 SIGTERM, 129 the session ended, 152 no more CPU time.
Results go to stdout, errors, notes and progress to stderr.
"""

from __future__ import annotations

import signal
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module

import click

from cube24.cli.codes import BAD, FAILED, GOOD, INTERRUPTED, Ends, Terminated, said, stopped_by
from cube24.cli.output import standard_streams, tell
from cube24.errors import Cube24Error

#: The modules of the commands, and of each command what stands in the list of them, so that it can
#: be printed without their modules. A test holds it to the commands themselves.
_LISTED = {
    "weights": (
        click.Command("encode", help="Encode a weight into dense and index matrices."),
        click.Command("decode", help="Decode dense and index bytes back to the weight."),
        click.Command(
            "check",
            help="Say whether a weight is 2:4, and where it is not; or which layers of a MODEL.onnx"
            " can be.",
        ),
        click.Command(
            "prune",
            help="Make a weight 2:4 by dropping weights, or all weights of a MODEL.onnx; say what"
            " that cost.",
        ),
        click.Command("info", help="Say what SOURCE holds: an encoded weight, or an array."),
    ),
    "models": (
        click.Command(
            "compile",
            help="Compress the weights of an ONNX model that are 2:4, as the vendor's converter"
            " does.",
        ),
        click.Command(
            "decompile", help="Give back the model that `cube24 compile` read, byte for byte."
        ),
    ),
    "run_model": (
        click.Command("run", short_help="Run a compiled model on the simulated unit."),
    ),
    "simulate": (
        click.Command("simulate", short_help="Run a layer on the simulated unit."),
        click.Command("units", short_help="List the units, or show one with its sources."),
    ),
    "time": (
        click.Command(
            "validate", help="Compare the model of time with published on-board profiles."
        ),
        click.Command(
            "hazards", help="Look for races and deadlocks in PROGRAM, a text file of instructions."
        ),
        click.Command("sweep", short_help="Cycles over a grid of shapes, tiles and units."),
    ),
    "vectors": (
        click.Command("vectors", short_help="Golden vectors: generate, verify, compare, shrink."),
    ),
    "dpi": (
        click.Command(
            "dpi", short_help="What the command line of a SystemVerilog simulator needs."
        ),
    ),
    "demo": (click.Command("demo", short_help="Run the whole chain on a small network."),),
}  # fmt: skip


class _Commands(Mapping[str, click.Command]):
    """The commands by name; the module of one is imported when it is asked for."""

    def __init__(self) -> None:
        self._modules = {
            str(one.name): module for module, listed in _LISTED.items() for one in listed
        }

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __len__(self) -> int:
        return len(self._modules)

    def __getitem__(self, name: str) -> click.Command:
        module = import_module(f"cube24.cli.{self._modules[name]}")
        found: Sequence[click.Command] = module.COMMANDS
        return next(command for command in found if command.name == name)


class _Group(click.Group):
    """A group that lists its commands without importing them."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        listed = [one for several in _LISTED.values() for one in several]
        click.Group(commands=listed).format_commands(ctx, formatter)


@click.group(
    cls=_Group,
    commands=_Commands(),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="cube24", prog_name="cube24")
def cli() -> None:
    """Encode int8 weights with 2:4 sparsity into the bytes that the hardware reads, and back.

    Exit codes: 0 good, 1 the check failed, 2 bad input or usage.
    """


def run(arguments: list[str] | None = None) -> int:
    """Run a command line; gives the exit code. No exception leaves this function."""
    with standard_streams():
        try:
            return _run(arguments)
        except (KeyboardInterrupt, click.Abort):
            tell(said(signal.SIGINT))
            return INTERRUPTED
        except Terminated as stopped:
            tell(said(stopped.number))
            return 128 + stopped.number


def _run(arguments: list[str] | None) -> int:
    try:
        code = cli.main(arguments, prog_name="cube24", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else GOOD
    except click.Abort:  # what click makes of KeyboardInterrupt
        raise
    except SystemExit as left:
        # Of click: shell completion; and 1 where some pipe broke, which is no failed check.
        return BAD if left.code else GOOD
    except Exception as error:
        if (stopped := stopped_by(error)) is not None:
            raise stopped from None
        return _told(error)


def _told(error: Exception) -> int:
    """Tell of what ended a command; gives the exit code."""
    if isinstance(error, click.ClickException):
        error.show()
        return BAD
    if isinstance(error, Cube24Error):
        kind = "differs" if error.exit_code == FAILED else "error"
        tell(f"{kind}: {error}")
        return error.exit_code
    if isinstance(error, MemoryError):
        tell("error: not enough memory for an array of this size")
        return BAD
    if isinstance(error, OSError):
        # Of no file that we know, for those are told as above: no more processes or descriptors.
        tell(f"error: {error}")
        return BAD
    # 1 would say that a check failed.
    traceback.print_exception(error)
    tell("error: this is a defect of cube24; please report it with these lines")
    return BAD


def run_as_process(ends: Ends) -> int:
    """Run the command line of the process; gives the exit code."""
    if not {"-h", "--help", "--version"} & {*sys.argv[1:]}:
        # C may lose an exception that comes while it is imported. Now a signal ends us at once.
        import_module("cube24._core")
    try:
        ends.as_exceptions()
        code = ends.code(run())
        ends.by_default()
        return code
    except (KeyboardInterrupt, Terminated) as stopped:  # between two lines here, or in run
        return 128 + getattr(stopped, "number", signal.SIGINT)
