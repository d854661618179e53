"""Folders that appear under their names whole, whoever else is writing there at the same time.

A folder is written under a hidden name of its own beside its place, and renamed. The hidden name
says which process on which machine is writing it, so that nobody takes it from a living one, and
what a killed one left is cleared by the next. Nothing that stands under a name is replaced here:
campaign.py decides what is ours.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from cube24 import stdlib
from cube24.errors import ArgumentError, FileAccessError, check_path
from cube24.files import exists, listing

#: ``.NAME.MACHINE-PROCESS-DRAWN.part``
_PART = re.compile(r"\..+\.([0-9a-f]{8})-([0-9]+)-[0-9a-f]{8}\.part")

#: Seconds after which what a process of another machine left is nobody's: a case takes some.
_OLD = 86400.0


def demand_new(path: Path) -> None:
    """Refuse to make a folder, before the work that fills it.

    Raises:
        ArgumentError: something stands there.
        FileAccessError: the system refuses to make one there.
    """
    check_path(path)
    if exists(path):
        raise ArgumentError(f"{path} exists; name another folder")
    above = path.absolute().parent
    while not exists(above):
        above = above.parent
    probe = part_of(above / path.name)
    try:
        probe.mkdir()
    except OSError as error:
        raise FileAccessError.from_os(path, "write", error) from error
    finally:
        remove(probe)


def part_of(path: Path, process: int | None = None) -> Path:
    """A hidden name beside a path that no other process has.

    Args:
        path: that it will be renamed to.
        process: whose it is; None: this one.
    """
    process = os.getpid() if process is None else process
    # The name may be as long as names can be.
    own = f"{_machine()}-{process}-{os.urandom(4).hex()}"
    return path.parent / f".{path.name[:100]}.{own}.part"


@lru_cache
def _machine() -> str:
    """A name for what gives out the numbers of processes: the machine, or a container on it."""
    try:
        space = Path("/proc/self/ns/pid").readlink()
    except OSError:
        space = Path()
    return hashlib.sha256(f"{os.uname().nodename} {space}".encode()).hexdigest()[:8]


def clear(folder: Path) -> None:
    """Remove the parts in a folder that killed processes left; those of living ones stay.

    Raises:
        FileAccessError: the system refuses to list the folder.
    """
    for path in listing(folder):
        name = _PART.fullmatch(path.name)
        if name is not None and _is_left(path, name[1], int(name[2])):
            remove(path)


def _is_left(path: Path, machine: str, process: int) -> bool:
    if machine == _machine():
        return not _lives(process)
    try:
        return time.time() - path.lstat().st_mtime > _OLD
    except OSError:
        return False


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # it is somebody else's
        return True
    try:
        state = Path(f"/proc/{process}/stat").read_text("ascii", "replace").rpartition(")")[2]
    except OSError:
        return True
    return state.split()[:1] not in (["Z"], ["X"])  # dead, and its parent has not asked yet


def remove(path: Path) -> None:
    """Remove a part, as far as the system lets us."""
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
    else:
        stdlib.shutil.rmtree(path, ignore_errors=True)


def write_folder(path: Path, files: Mapping[str, bytes]) -> None:
    """Write the files of a case into a new folder under its last name: for scratch folders.

    The folders above it are made, too.

    Raises:
        OSError: the system refuses.
    """
    try:
        path.mkdir()
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir()
    for folder in {name.rpartition("/")[0] for name in files} - {""}:
        (path / folder).mkdir()
    for name, data in files.items():
        _write(f"{path}/{name}", data)


def _write(path: str, data: bytes) -> None:
    """Write a new file; a case has a dozen, so without the layers of open()."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        written = os.write(descriptor, data)
        while written < len(data):  # a file system that takes no more at once
            written += os.write(descriptor, memoryview(data)[written:])
    finally:
        os.close(descriptor)


def put(files: Mapping[str, bytes], path: Path) -> bool:
    """Write a folder whole, or not at all; gives False where another process was faster.

    Args:
        files: its files by name.
        path: where it shall stand.

    Raises:
        FileAccessError: the system refuses: no permission, disk full.
    """
    check_path(path)
    part = part_of(path)
    placed = False
    try:
        write_folder(part, files)
        if not exists(path):  # an empty folder would be replaced without a word
            part.rename(path)
            placed = True
    except OSError as error:
        if isinstance(error, FileAccessError):
            raise
        if not exists(path):
            raise FileAccessError.from_os(path, "write", error) from error
    finally:
        if not placed:
            remove(part)
    return placed
