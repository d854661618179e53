"""A device under test that a command runs, once for each case.

The command is the user's: it may print anything, hang, crash, or start others that stay behind. It
gets a session of its own, and all that stays in its process group ends with the run, whatever ends
that. To crash or to hang is to fail, as a wrong result is; only a command that cannot be run at all
is an error.
"""

from __future__ import annotations

import math
import os
import select
import shlex
import signal
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from cube24.errors import ArgumentError, Cube24Error, FileAccessError, FileFormatError
from cube24.files import check_words, exists
from cube24.vectors.comparison import compare

#: Bytes of what a device printed last that an error shows.
_SHOWN = 500


#: Exit codes of shells for a command that cannot be run, and one that is not there.
_NOT_RUN = (126, 127)


class DeviceError(Cube24Error, RuntimeError):
    """The user's command cannot be run; the message says why."""


@dataclass(frozen=True)
class Failure:
    """How a device failed on a case.

    kind: ``differs``, ``crashed`` (it was killed, or left no result), ``timed out`` or
    ``unreadable`` (what it left is no dump). said: one line for a person.
    """

    kind: str
    said: str

    def __str__(self) -> str:
        """Both."""
        return f"{self.kind}: {self.said}"


def device(
    command: str,
    suffix: str = ".hex",
    timeout: float | None = None,
    word_bytes: int | None = None,
    order: str | None = None,
) -> Callable[[Path], Failure | None]:
    """A device under test that a command runs.

    Args:
        command: with ``{case}`` for the folder of the case and ``{got}`` for the file that it
            writes; it runs without a shell, without input, in a session of its own.
        suffix: of that file: .hex, .bin or .npy.
        timeout: seconds, after which it is ended and has failed; None: as long as it likes.
        word_bytes: bytes a word of a .hex file; None: as in the files of the case.
        order: ``little`` or ``big``; None: as in the files of the case.

    Returns:
        A function that runs it on the case in a folder and gives how it failed, or None. It raises
        DeviceError where the command cannot be run.

    Raises:
        ArgumentError: the command does not name both, or its quotes are not closed; a timeout that
            is not above 0; no such word size or order, or one of a file that has no words.
    """
    if "{case}" not in command or "{got}" not in command:
        raise ArgumentError(
            "--dut-cmd: name {case}, the folder to read, and {got}, the file to write"
        )
    if suffix != ".hex" and (word_bytes, order) != (None, None):
        raise ArgumentError(f"word_bytes, order: a {suffix} file has no words")
    check_words(1 if word_bytes is None else word_bytes, "little" if order is None else order)
    if timeout is not None:
        seconds: object = timeout
        number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
        if not number or math.isnan(timeout) or timeout <= 0:
            raise ArgumentError(f"timeout {timeout}: it is a number of seconds above 0")
        timeout = min(timeout, threading.TIMEOUT_MAX)  # no clock counts further
    try:
        parts = shlex.split(command)
    except ValueError as error:
        raise ArgumentError(f"--dut-cmd {command!r}: {error}") from error

    def fails(folder: Path) -> Failure | None:
        got = folder.parent / f"got{suffix}"
        got.unlink(missing_ok=True)
        words = [part.replace("{case}", str(folder)).replace("{got}", str(got)) for part in parts]
        code, said = _run(words, timeout)
        if isinstance(code, Failure):
            return code
        if not exists(got):
            told = f"exit code {code} and no {got.name}: {said}"
            if code in _NOT_RUN:
                raise DeviceError(f"{shlex.join(words)}: {told}")
            return Failure("crashed", told)
        try:
            found = compare(folder, got, word_bytes=word_bytes, order=order)
        except (FileFormatError, FileAccessError) as error:
            if error.path != str(got):
                raise
            return Failure("unreadable", f"exit code {code}; {error}")
        return None if found.equal else Failure("differs", found.summary)

    return fails


def _run(words: list[str], timeout: float | None) -> tuple[int | Failure, str]:
    """Run a command to its end; gives its exit code and what it printed last as errors.

    In place of the code a Failure, where it took too long or was killed by a signal.

    Raises:
        DeviceError: it cannot be run.
    """
    try:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip
    except (OSError, ValueError) as error:
        raise DeviceError(f"{words[0]}: cannot be run: {error}") from error
    assert process.stderr is not None
    said = bytearray()
    reader, done = None, threading.Event()
    late = False
    try:
        started = threading.Thread(target=_read, args=(process.stderr, said, done), daemon=True)
        started.start()
        reader = started
        process.wait(timeout)
    except subprocess.TimeoutExpired:
        late = True
    finally:
        # Whatever came, and also what the command left behind when it ended.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        # None: Ctrl-C came while it was started, and it may be running or not. It closes the pipe.
        if reader is not None:
            reader.join(1)  # one that left the session may hold the pipe
        done.set()
        if reader is not None:
            reader.join()
    text = bytes(said[-_SHOWN:]).decode("utf-8", "replace")
    text = "; ".join(line.strip() for line in text.splitlines() if line.strip())
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    if late:
        return Failure("timed out", f"after {timeout:g} seconds: {text}"), text
    if process.returncode < 0:
        name = signal.strsignal(-process.returncode) or f"signal {-process.returncode}"
        return Failure("crashed", f"was killed ({name}): {text}"), text
    return process.returncode, text


def _read(pipe: IO[bytes], said: bytearray, done: threading.Event) -> None:
    """Read all until it is done, and keep the end; nobody can wake a thread that reads a pipe."""
    with pipe, suppress(OSError):
        waiting = select.poll()
        waiting.register(pipe, select.POLLIN)
        while not done.is_set():
            if not waiting.poll(100):
                continue
            piece = os.read(pipe.fileno(), 1 << 16)
            if not piece:
                break
            said += piece
            del said[:-_SHOWN]
