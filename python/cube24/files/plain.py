"""Plain files that are read: whole, or a piece at a time, with every refusal explained.

Only regular files are opened: a pipe or a device may never end.
"""

from __future__ import annotations

import codecs
import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from cube24 import stdlib
from cube24.errors import FileAccessError, FileFormatError, StrPath, check_path


def read_bytes(path: StrPath, limit: int | None = None) -> bytes:
    """All bytes of a regular file, or the first ``limit`` of them.

    Raises:
        FileAccessError: the system refuses, or it is a pipe or device.
    """
    with opened(path) as file, explained(path):
        return file.read() if limit is None else file.read(limit)


def read_text(path: StrPath) -> str:
    """All of a regular file as text, as :func:`decoded` gives it.

    Raises:
        FileAccessError: as for :func:`read_bytes`.
        FileFormatError: as for :func:`decoded`.
    """
    return decoded(path, read_bytes(path))


#: The longer ones first: that of UTF-32 begins with that of UTF-16.
_OTHER_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


def mark_length(path: StrPath, start: bytes) -> int:
    """Bytes of the byte-order mark that editors and spreadsheets put before UTF-8 text: 3 or 0.

    Args:
        path: of the text, for messages.
        start: its first four bytes, or more.

    Raises:
        FileFormatError: the mark is that of another encoding, which is named.
    """
    for mark, name in _OTHER_MARKS.items():
        if start.startswith(mark):
            raise FileFormatError(path, f"begins with the mark of {name}; save it as UTF-8", 0)
    return len(codecs.BOM_UTF8) if start.startswith(codecs.BOM_UTF8) else 0


def decoded(path: StrPath, data: bytes, what: str = "text") -> str:
    """UTF-8 bytes as text, without a byte-order mark.

    Args:
        path: that they come from, for messages.
        data: the bytes.
        what: they should be, for messages.

    Raises:
        FileFormatError: it is no UTF-8; with the byte, and the encoding if its mark tells it.
    """
    start = mark_length(path, data)
    try:
        return data[start:].decode("utf-8")
    except UnicodeDecodeError as error:
        raise FileFormatError(
            path, f"is no UTF-8 {what}: {error.reason}", start + error.start
        ) from error


@contextmanager
def explained(path: StrPath) -> Iterator[None]:
    """Turn what the system and the archive library raise in this block into errors of ours.

    For code of this package only: an error of the caller's own must stay what it is.

    Raises:
        FileAccessError: the system refuses.
        FileFormatError: the archive is broken.
    """
    try:
        yield
    except FileAccessError:
        raise
    except OSError as error:
        raise FileAccessError.from_os(path, "read", error) from error
    except (
        stdlib.zipfile.BadZipFile, stdlib.zlib.error, EOFError, NotImplementedError, RuntimeError,
        UnicodeDecodeError,
    ) as error:  # fmt: skip
        raise FileFormatError(path, f"no readable .npz archive: {error}") from error


@contextmanager
def opened(path: StrPath) -> Iterator[IO[bytes]]:
    """Open a regular file for reading.

    Raises:
        FileAccessError: the system refuses, or it is a pipe or device, which may never end.
    """
    check_path(path)
    with explained(path):
        file = open(path, "rb", opener=_regular)  # noqa: SIM115 - closed below, where errors are the caller's
    with file:
        yield file


def _regular(path: str, flags: int) -> int:
    """Open a regular file and nothing else, without ever waiting for a writer at the other end."""
    _refuse_irregular(path, Path(path).stat().st_mode)  # only to open a device may do something
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        _refuse_irregular(path, os.fstat(descriptor).st_mode)  # it may be another one by now
        os.set_blocking(descriptor, True)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _refuse_irregular(path: str, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):
        raise FileAccessError(path, "is no regular file; copy it to one")


def read_exactly(path: StrPath, file: IO[bytes], offset: int, size: int) -> bytes:
    """Read ``size`` bytes at ``offset``.

    Raises:
        FileFormatError: the file ends before, or is a broken member of an archive.
        FileAccessError: the system refuses.
    """
    with explained(path):
        file.seek(offset)
        data = file.read(size)
    if len(data) != size:
        raise FileFormatError(
            path, f"the file is truncated: {size - len(data)} bytes short", offset + len(data)
        )
    return data
