"""The command cube24 itself: its group, how a command line is run, and what ends it.

Exit codes: 0 good, 1 the check failed, 2 bad input or usage, or results that could not be written;
128 + n stopped by signal n: 130 Ctrl-C, 143 SIGTERM, 129 the session ended, 152 no more CPU time.
Results go to stdout, errors, notes and progress to stderr.
"""

from __future__ import annotations

import signal
import sys
import traceback

import click

from cube24.cli import demo, models, run_model, simulate, time, vectors, weights
from cube24.cli.codes import BAD, FAILED, GOOD, INTERRUPTED, Ends, Terminated, said, stopped_by
from cube24.cli.output import standard_streams, tell
from cube24.errors import Cube24Error
from cube24.version import __version__


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="cube24")
def cli() -> None:
    """Encode int8 weights with 2:4 sparsity into the bytes that the hardware reads, and back.

    Exit codes: 0 good, 1 the check failed, 2 bad input or usage.
    """


for part in (weights, models, run_model, simulate, time, vectors, demo):
    for command in part.COMMANDS:
        cli.add_command(command)


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
    try:
        ends.as_exceptions()
        code = ends.code(run())
        ends.by_default()
        return code
    except (KeyboardInterrupt, Terminated) as stopped:  # between two lines here, or in run
        return 128 + getattr(stopped, "number", signal.SIGINT)
