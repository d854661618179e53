"""How far long work is: a bar on a terminal; elsewhere nothing, or a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from cube24.encoder import Progress


def _on_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


@contextmanager
def bar(label: str, total: int) -> Iterator[Progress]:
    """A progress bar on a terminal, nothing elsewhere."""
    if not _on_terminal():
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

    if _on_terminal():
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
