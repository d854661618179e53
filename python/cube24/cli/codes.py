"""Exit codes of the command line, and the signals that end it, as exceptions.

Those of errors stand on the classes of errors, so that a new one need not be told here. Nothing is
done about a signal that whoever started us wants ignored: ``nohup``, a background job of a shell.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType
from typing import Any, NoReturn

from cube24.errors import CheckFailedError, Cube24Error

GOOD = 0
FAILED = CheckFailedError.exit_code
BAD = Cube24Error.exit_code
INTERRUPTED, TERMINATED = 130, 143  # 128 + the number of the signal, as shells have it

#: How the end is told. Files appear whole or not at all, so the second half is always true.
_SAID = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}


class Terminated(BaseException):
    """SIGTERM, SIGHUP or SIGXCPU as an exception, so that what is half-written is removed.

    Ctrl-C is a KeyboardInterrupt, as everywhere.
    """

    def __init__(self, number: int = signal.SIGTERM) -> None:
        """number: of the signal."""
        self.number = number
        super().__init__(number)


def stopped_by(error: BaseException | None) -> KeyboardInterrupt | Terminated | None:
    """What a signal raised, if other code has made an error of it, as of an import of C."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, KeyboardInterrupt | Terminated):
            return error
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None


def said(number: int) -> str:
    """The line that tells of a signal."""
    name = _SAID.get(signal.Signals(number), f"stopped by {signal.Signals(number).name}")
    return f"{name}; nothing was written in part"


class Ends:
    """The signals that end a command: at once first, then as exceptions, at last by default.

    Only the first one raises: what follows must not disturb the cleaning up that it started.
    """

    def __init__(self) -> None:
        """No signal has come."""
        self.received: int | None = None

    def at_once(self) -> None:
        """While nothing has begun yet, a signal ends the process: for the time of long imports."""
        self._handle(self._leave)

    def as_exceptions(self) -> None:
        """From now on a signal raises KeyboardInterrupt or Terminated."""
        sys.unraisablehook = self._swallowed
        self._handle(self._raise)

    def by_default(self) -> None:
        """All is done: a signal may end what the interpreter does at its exit."""
        self._handle(signal.SIG_DFL)

    def code(self, code: int) -> int:
        """The exit code that tells of the signal that came, if code is that of any.

        Or that of an error: native code that a signal stops may make an error of it.
        """
        if self.received is not None and code in (INTERRUPTED, TERMINATED, BAD):
            return 128 + self.received
        return code

    def _handle(self, handler: Any) -> None:
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGXCPU):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, handler)

    def _leave(self, number: int, frame: FrameType | None) -> NoReturn:
        try:
            os.write(2, f"{said(number)}\n".encode())
        finally:
            os._exit(128 + number)

    def _raise(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            return
        self.received = number
        raise KeyboardInterrupt if number == signal.SIGINT else Terminated(number)

    def _swallowed(self, report: Any) -> None:
        """A signal that came while an object was being removed is lost there: send it again."""
        if self.received is None or not isinstance(
            report.exc_value, KeyboardInterrupt | Terminated
        ):
            sys.__unraisablehook__(report)
            return
        number, self.received = self.received, None
        threading.Timer(0.01, os.kill, (os.getpid(), number)).start()
