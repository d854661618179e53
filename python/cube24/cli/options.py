"""What the modules of the command line share: exit codes, option types, the progress bar."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from cube24.encoder import Progress

GOOD, FAILED, BAD, INTERRUPTED, TERMINATED = 0, 1, 2, 130, 143


class Terminated(BaseException):
    """SIGTERM, as an exception, so that what is half-written is removed."""


# Whether a path can be read is found out, and explained, by reading it.
PATH = click.Path(path_type=Path, readable=False)

_Command = TypeVar("_Command", bound=Callable[..., Any])


def options(*several: Callable[[_Command], _Command]) -> Callable[[_Command], _Command]:
    """Several decorators as one, the first one outermost."""

    def decorate(command: _Command) -> _Command:
        for option in reversed(several):
            command = option(command)
        return command

    return decorate


overwrite_option = click.option("--overwrite", is_flag=True, help="Replace what stands there.")


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
        try:
            numbers = tuple(int(number) for number in value.split(","))
        except ValueError:
            numbers = ()
        if len(numbers) != self._count:
            self.fail(f"{value!r}: write {self._count} numbers as {self.name}", param, ctx)
        return numbers


@contextmanager
def bar(label: str, total: int) -> Iterator[Progress]:
    """A progress bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda done: None
        return
    with click.progressbar(length=total, label=label, file=sys.stderr) as shown:
        yield shown.update


#: Seconds between two lines of progress where there is no terminal.
LINES = 10.0


@contextmanager
def rate(label: str, total: int, what: str) -> Iterator[Progress]:
    """How far long work is, how fast, and the time left: a bar on a terminal, elsewhere lines."""
    start, done = time.monotonic(), 0

    def pace() -> str:
        return f"{done / max(time.monotonic() - start, 1e-9):.3g} {what} a second"

    if sys.stderr.isatty():
        line: Any = click.progressbar(  # its type has changed from version to version
            length=total, label=label, file=sys.stderr, show_pos=True,
            item_show_func=lambda item: pace(),
        )  # fmt: skip
        with line as shown:

            def show(more: int) -> None:
                nonlocal done
                done += more
                shown.update(more, done)

            yield show
        return
    told = start

    def tell(more: int) -> None:
        nonlocal done, told
        done += more
        now = time.monotonic()
        if now - told >= LINES:
            told = now
            left = (total - done) * (now - start) / done
            click.echo(f"{label}: {done} of {total}, {pace()}, {left:.0f} s left", err=True)

    yield tell
