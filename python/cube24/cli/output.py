"""Standard output and standard error, of which any may be closed, full, or read by nobody.

* Closed: nothing is lost that anybody wanted; all goes on as usual.
* Full, or broken otherwise: results are lost, which is an error (exit code 2). Notes, errors and
  progress on stderr are not worth one.
* The reader of a pipe has gone: the rest of the output is dropped without a word, and the exit code
  is what the work says: ``cube24 check w.npy | head -1`` must not call a weight legal.
* A terminal whose encoding lacks a character gets it as an escape, such as ``\\u2026``.
"""

from __future__ import annotations

import io
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from cube24.errors import FileAccessError


def fill_descriptors() -> None:
    """Put the null device where the process was started without stdin, stdout or stderr.

    Else the next file that is opened, a result for one, would have their number, and whatever is
    written to stdout or stderr would end in it.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            with suppress(OSError):
                os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free


class Stream(io.TextIOBase):
    """Text to a descriptor, unbuffered, so that nothing is left over to fail at exit."""

    def __init__(self, descriptor: int | None, encoding: str, name: str, required: bool) -> None:
        """Make it.

        Args:
            descriptor: to write to; None: everything is dropped.
            encoding: of the text.
            name: for messages.
            required: whether it is an error if it cannot be written.
        """
        self._descriptor, self._spelling = descriptor, encoding
        self._name, self._required = name, required

    def write(self, text: str) -> int:
        """Write all of a text.

        Raises:
            FileAccessError: it cannot be written, and it is required.
        """
        data = memoryview(text.encode(self._spelling, "backslashreplace"))
        while data and self._descriptor is not None:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:  # whoever shares the pipe with us made it so
                select.select([], [self._descriptor], [])
            except BrokenPipeError:
                self._descriptor = None
            except OSError as error:
                self._descriptor = None
                if self._required:
                    raise FileAccessError.from_os(self._name, "write", error) from error
        return len(text)

    def writable(self) -> bool:
        """It is for writing."""
        return True

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self._descriptor is not None and os.isatty(self._descriptor)

    def fileno(self) -> int:
        """The descriptor.

        Raises:
            OSError: there is none.
        """
        if self._descriptor is None:
            raise io.UnsupportedOperation(f"{self._name} is closed")
        return self._descriptor


def _stream(current: object, number: int, name: str, required: bool) -> Stream | None:
    """What to put in the place of a standard stream; None: it is not that of the process."""
    if current is None:
        return Stream(None, "utf-8", name, required)
    if current is not (sys.__stdout__, sys.__stderr__)[number - 1]:
        return None  # whoever calls from Python catches what we print
    encoding = getattr(current, "encoding", None) or "utf-8"
    return Stream(number, encoding, name, required)


@contextmanager
def standard_streams() -> Iterator[None]:
    """Put streams that cannot end in a traceback in the place of those of the process."""
    before = sys.stdout, sys.stderr
    with suppress(OSError, ValueError, AttributeError):
        before[0].flush()
    sys.stdout = _stream(before[0], 1, "standard output", True) or before[0]
    sys.stderr = _stream(before[1], 2, "standard error", False) or before[1]
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def tell(line: str) -> None:
    """Write a line about the end of the command to stderr, if that is possible."""
    if sys.stderr is not None:
        with suppress(OSError):
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()
