"""Files of a case or campaign: plain files in plain folders, and nothing that only looks like one.

A case may come from anybody. A link may lead to /dev/zero, which never ends, and a FIFO waits for
ever; so what is no regular file is refused before it is opened. Here is also told which errors are
no verdict on a case.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from cube24 import stdlib
from cube24.errors import Cube24Error, FileAccessError, StrPath, check_path
from cube24.files import asked, read_bytes

#: What the system says when it is the machine that lacks something, not the case.
_LACKING = frozenset(
    {
        errno.EACCES, errno.EPERM, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM,
        errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.ESTALE, errno.ETIMEDOUT,
    }
)  # fmt: skip


class ScratchError(FileAccessError):
    """The system refuses a file of our own that is needed for a while: no space in TMPDIR."""


class NotPlainError(FileAccessError):
    """A link, FIFO, socket or device where a plain file would stand: it is not opened."""


def is_no_verdict(error: Cube24Error) -> bool:
    """Whether an error says nothing about what a case holds.

    So it is where the machine lacks something (space, permission, open files), and where the folder
    holds what is not opened at all.
    """
    return isinstance(error, FileAccessError) and (
        isinstance(error, ScratchError | NotPlainError) or error.errno in _LACKING
    )


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder for a while; what the system refuses in this block is no fault of a case.

    Raises:
        ScratchError: the system refuses. Errors of ours stay what they are.
    """
    at = "TMPDIR"
    try:
        at = stdlib.tempfile.gettempdir()
        with stdlib.tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            yield Path(folder)
    except OSError as error:
        if isinstance(error, Cube24Error):
            raise
        raise ScratchError.from_os(at, "write scratch files", error) from error


def is_plain_folder(path: Path) -> bool:
    """Whether it is a folder, and no link to one.

    Raises:
        FileAccessError: the system refuses to say.
    """
    mode = _mode(path)
    return mode is not None and stat.S_ISDIR(mode)


def is_plain_file(path: Path) -> bool:
    """Whether it is a regular file, and no link to one.

    Raises:
        FileAccessError: the system refuses to say.
    """
    mode = _mode(path)
    return mode is not None and stat.S_ISREG(mode)


def _mode(path: Path) -> int | None:
    """What stands there, a link itself included; None: nothing."""
    check_path(path)
    try:
        return os.lstat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise FileAccessError.from_os(path, "look at it", error) from error


def demand_plain(folder: Path, name: str) -> Path:
    """The path of a file in a folder, which is a plain one in plain folders.

    Args:
        folder: the case; it may be a link itself, it is what the user named.
        name: of the file, or ``steps/name``.

    Raises:
        NotPlainError: a link, FIFO, socket, device or folder stands in its place.
        FileAccessError: it is not there, or the system refuses.
    """
    path, parts = folder, PurePosixPath(name).parts
    for number, part in enumerate(parts, 1):
        path = path / part
        try:
            mode = path.lstat().st_mode
        except OSError as error:
            raise FileAccessError.from_os(path, "read", error) from error
        if number == len(parts):
            if not stat.S_ISREG(mode):
                raise NotPlainError(path, f"is {kind(mode)}, no plain file; copy it to one")
        elif not stat.S_ISDIR(mode):
            raise NotPlainError(path, f"is {kind(mode)}, no plain folder")
    return path


def read(folder: Path, name: str) -> bytes:
    """All bytes of a plain file in a folder.

    Raises:
        FileAccessError: as for :func:`demand_plain`.
    """
    try:
        return _read_at_once(f"{folder}/{name}", name)
    except (OSError, ValueError):  # also where it is no plain file: told by those who look closely
        return read_bytes(demand_plain(folder, name))


def _read_at_once(path: str, name: str) -> bytes:
    """All bytes of a plain file, in as few calls as can be: a case has a dozen files.

    Raises:
        OSError: the system refuses, or it is no plain file in a plain folder.
        ValueError: no path is written like this.
    """
    status, (above, _, _) = os.lstat(path), name.rpartition("/")
    if not stat.S_ISREG(status.st_mode) or "/" in above:
        raise OSError(errno.EINVAL, "no plain file, or deeper than those of a case")
    if above and not stat.S_ISDIR(os.lstat(path.rpartition("/")[0]).st_mode):
        raise OSError(errno.EINVAL, "no plain folder")
    return _read_plain(path, status)


def _read_plain(path: str, known: os.stat_result | None = None) -> bytes:
    """All bytes of what was a plain file a moment ago.

    known: what the system said of it then.

    Raises:
        OSError: the system refuses, or it is another file by now, or none.
        ValueError: no path is written like this.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or (known and not os.path.samestat(status, known)):
            raise OSError(errno.EINVAL, "another file by now")
        data = os.read(descriptor, status.st_size + 1)
        if len(data) != status.st_size:  # it grows, or the file system gives no more at once
            while piece := os.read(descriptor, status.st_size + 1):
                data += piece
        return data
    finally:
        os.close(descriptor)


def demand_known(path: Path) -> None:
    """Refuse what is neither a file nor a folder, as :func:`demand_plain` does.

    Raises:
        NotPlainError, FileAccessError: as there.
    """
    mode = _mode(path)
    if mode is not None and not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise NotPlainError(path, f"is {kind(mode)}, no plain file; copy it to one, or remove it")


def demand_all_known(folder: Path, names: Iterable[str]) -> None:
    """The same of the files of these names in a folder, and of the folders above them.

    Raises:
        NotPlainError, FileAccessError: as there.
    """
    at = os.fspath(folder)
    for name in names:
        above, _, _ = name.rpartition("/")
        if not above:
            try:
                if stat.S_ISREG(os.lstat(f"{at}/{name}").st_mode):
                    continue
            except (OSError, ValueError):  # told by those who look closely
                pass
        else:
            demand_known(folder / above)
        demand_known(folder / name)


def kind(mode: int) -> str:
    """What stands there, in words."""
    for is_, name in (
        (stat.S_ISREG, "a file"), (stat.S_ISDIR, "a folder"), (stat.S_ISLNK, "a link"),
        (stat.S_ISFIFO, "a FIFO"), (stat.S_ISSOCK, "a socket"), (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
    ):  # fmt: skip
        if is_(mode):
            return name
    return "something else"


def held(
    folder: Path, names: Collection[str], known: Mapping[str, bytes]
) -> dict[str, bytes] | None:
    """The files of these names, ``name`` or ``folder/name``; None: not those, or not those alone.

    Args:
        folder: the case. names: of its files. known: those that have been read.

    Raises:
        FileAccessError: the system refuses.
    """
    found: dict[str, bytes] = {}

    def take(folder: str, prefix: str) -> bool:
        before = len(found)
        with os.scandir(folder) as entries:  # which knows what is a file
            for entry in entries:
                name = prefix + entry.name
                if entry.is_file(follow_symlinks=False) and name in names:
                    found[name] = known[name] if name in known else _read_plain(entry.path)
                elif (
                    prefix
                    or not entry.is_dir(follow_symlinks=False)
                    or not take(entry.path, f"{name}/")
                ):
                    return False
        return len(found) > before  # there is no empty folder

    with asked(folder, "read"):
        return found if take(os.fspath(folder), "") and len(found) == len(names) else None


def subfolders(folder: StrPath) -> list[str]:
    """The names of the folders in a folder, no links to one, sorted.

    Raises:
        FileAccessError: it is no folder, or the system refuses.
    """
    try:
        with os.scandir(folder) as found:  # which knows what is a folder without asking for each
            return sorted(entry.name for entry in found if entry.is_dir(follow_symlinks=False))
    except OSError as error:
        raise FileAccessError.from_os(folder, "read", error) from error
