"""A device under test that a command runs, once for each case.

The command is the user's: it may print anything, hang, crash, or start others that stay behind. It
gets a session of its own, so that all of it ends with the run, whatever ends that.
"""

from __future__ import annotations

import math
import os
import shlex
import signal
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

from cube24.errors import ArgumentError, Cube24Error, FileFormatError
from cube24.files import exists
from cube24.vectors.comparison import compare

#: Bytes of what a device printed last that an error shows.
_SHOWN = 500


class DeviceError(Cube24Error, RuntimeError):
    """The user's command failed, or left no result that can be read; the message says which."""


def device(
    command: str, suffix: str = ".hex", timeout: float | None = None
) -> Callable[[Path], bool]:
    """A device under test that a command runs.

    Args:
        command: with ``{case}`` for the folder of the case and ``{got}`` for the file that it
            writes; it runs without a shell, without input, in a session of its own.
        suffix: of that file: .hex, .bin or .npy.
        timeout: seconds, after which it counts as failed to run; None: as long as it likes.

    Raises:
        ArgumentError: the command does not name both, or its quotes are not closed; or a timeout
            that is not above 0.
    """
    if "{case}" not in command or "{got}" not in command:
        raise ArgumentError(
            "--dut-cmd: name {case}, the folder to read, and {got}, the file to write"
        )
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

    def fails(folder: Path) -> bool:
        got = folder.parent / f"got{suffix}"
        got.unlink(missing_ok=True)
        words = [part.replace("{case}", str(folder)).replace("{got}", str(got)) for part in parts]
        code, said = _run(words, timeout)
        if not exists(got):
            raise DeviceError(f"{shlex.join(words)}: exit code {code} and no {got.name}: {said}")
        try:
            return not compare(folder, got).equal
        except FileFormatError as error:
            raise DeviceError(
                f"{shlex.join(words)}: exit code {code} and a result that cannot be read: {error}"
            ) from error

    return fails


def _run(words: list[str], timeout: float | None) -> tuple[int, str]:
    """Run a command to its end; gives its exit code and what it printed last as errors.

    Raises:
        DeviceError: it cannot be run, takes too long, or is killed by a signal.
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
    reader = None
    late = False
    try:
        started = threading.Thread(target=_read, args=(process.stderr, said), daemon=True)
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
    text = bytes(said[-_SHOWN:]).decode("utf-8", "replace").strip()
    text = "".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in text)
    if late:
        raise DeviceError(f"{shlex.join(words)}: timed out after {timeout:g} seconds: {text}")
    if process.returncode < 0:
        name = signal.strsignal(-process.returncode) or f"signal {-process.returncode}"
        raise DeviceError(f"{shlex.join(words)}: was killed ({name}): {text}")
    return process.returncode, text


def _read(pipe: IO[bytes], said: bytearray) -> None:
    """Read all, and keep the end."""
    with pipe, suppress(OSError):
        while piece := os.read(pipe.fileno(), 1 << 16):
            said += piece
            del said[:-_SHOWN]
