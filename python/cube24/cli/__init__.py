"""The command line: options that are shared, and one file for each group of commands.

``main`` is the entry point of the command ``cube24``; ``run`` takes a command line and gives its
exit code. What the commands do is done by the packages below; nothing else imports this one.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn

from cube24.cli.codes import Ends
from cube24.cli.output import fill_descriptors

if TYPE_CHECKING:
    from cube24.cli.app import run

__all__ = ["main", "run"]


def main() -> NoReturn:
    """Entry point of the command: what may end it is watched before anything large is imported."""
    ends = Ends()
    ends.at_once()
    fill_descriptors()
    sys.exit(import_module("cube24.cli.app").run_as_process(ends))


def __getattr__(name: str) -> Any:
    """Import the commands when ``run`` is asked for."""
    if name == "run":
        return import_module("cube24.cli.app").run
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
