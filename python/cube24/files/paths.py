"""What stands under a path: questions that the system may refuse to answer.

``Path.exists`` and its like raise whatever the system says: a name of 256 bytes, a folder without
permission, links that lead round in a circle. Here it is a FileAccessError, as for every other
access. A name that is not there, or whose folder is not, is an answer and no error.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cube24.errors import FileAccessError, StrPath, check_path


def exists(path: StrPath) -> bool:
    """Whether the name is taken, if only by a link that leads nowhere.

    Raises:
        FileAccessError: the system refuses to say, or no path is written like this.
    """
    return _status(path, follow=False) is not None


def is_file(path: StrPath) -> bool:
    """Whether it is a regular file, or a link to one: no folder, pipe, socket or device.

    Raises:
        FileAccessError: as for :func:`exists`.
    """
    status = _status(path)
    return status is not None and stat.S_ISREG(status.st_mode)


def is_folder(path: StrPath) -> bool:
    """Whether it is a folder, or a link to one.

    Raises:
        FileAccessError: as for :func:`exists`.
    """
    status = _status(path)
    return status is not None and stat.S_ISDIR(status.st_mode)


def is_same(path: StrPath, other: StrPath) -> bool:
    """Whether both name one file or folder, through whatever links.

    Raises:
        FileAccessError: as for :func:`exists`.
    """
    one, two = _status(path), _status(other)
    return one is not None and two is not None and os.path.samestat(one, two)


def listing(folder: StrPath) -> list[Path]:
    """What stands in a folder, hidden names too, sorted by name.

    Raises:
        FileAccessError: it is no folder, or the system refuses.
    """
    with asked(folder, "list"):
        return sorted(Path(folder).iterdir(), key=lambda entry: entry.name)


def _status(path: StrPath, *, follow: bool = True) -> os.stat_result | None:
    """What the system says of a path; None: there is nothing."""
    check_path(path)
    text = os.fspath(path)
    # It means what a Path of it does; to make one of each takes longer than the answer.
    if not text or text.endswith(("/", "/.")):
        text = str(Path(text))
    try:
        return Path(text).stat() if follow else os.lstat(text)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise FileAccessError.from_os(path, "look at it", error) from error


@contextmanager
def asked(path: StrPath, doing: str) -> Iterator[None]:
    """Turn what the system raises in this block into a FileAccessError.

    Args:
        path: that the block is about.
        doing: what it does to it, to end "cannot ..." with.

    Raises:
        FileAccessError: the system refuses, or no path is written like this.
    """
    check_path(path)
    try:
        yield
    except FileAccessError:
        raise
    except OSError as error:
        raise FileAccessError.from_os(path, doing, error) from error
