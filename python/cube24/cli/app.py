"""The command cube24 itself: its group, how a command line is run, and what ends it.

Exit codes: 0 good, 1 the check failed, 2 bad input or usage, 130 and 143 stopped by Ctrl-C or
SIGTERM. Results go to stdout, errors, notes and progress to stderr.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import NoReturn

import click

from cube24.cli import demo, simulate, time, vectors, weights
from cube24.cli.codes import BAD, FAILED, GOOD, INTERRUPTED, TERMINATED, Terminated
from cube24.errors import Cube24Error
from cube24.version import __version__


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="cube24")
def cli() -> None:
    """Encode int8 weights with 2:4 sparsity into the bytes that the hardware reads, and back.

    Exit codes: 0 good, 1 the check failed, 2 bad input or usage.
    """


for part in (weights, simulate, time, vectors, demo):
    for command in part.COMMANDS:
        cli.add_command(command)


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
