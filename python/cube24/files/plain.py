"""Plain files that are read: whole, or a piece at a time, with every refusal explained.

Only regular files are opened: a pipe or a device may never end.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from cube24.errors import FileAccessError, FileFormatError, StrPath, check_path


def read_bytes(path: StrPath, limit: int | None = None) -> bytes:
    """All bytes of a regular file, or the first ``limit`` of them.

    Raises:
        FileAccessError: the system refuses, or it is a pipe or device.
    """
    with opened(path) as file, explained(path):
        return file.read() if limit is None else file.read(limit)


def read_text(path: StrPath) -> str:
    """All of a regular file as UTF-8 text.

    Raises:
        FileAccessError: as for :func:`read_bytes`.
        FileFormatError: it is no UTF-8; with the byte.
    """
    data = read_bytes(path)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FileFormatError(path, f"is no UTF-8 text: {error.reason}", error.start) from error


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
        zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError,
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
        if Path(path).exists() and not Path(path).is_file() and not Path(path).is_dir():
            raise FileAccessError(path, "is no regular file; copy it to one")
        file = Path(path).open("rb")  # noqa: SIM115 - closed below, where errors are the caller's
    with file:
        yield file


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
