"""Files and folders that are written whole or not at all: the one place that replaces anything.

A result is written under a temporary name in the folder where it will stand, flushed to the disk
and renamed. Whatever ends the work before (an error, a signal, a full disk) removes the temporary
name and leaves what stood there before. The temporary name is drawn, so that two processes never
share one; the one that comes second is refused or replaces the whole of the first.

Nothing is deleted that we did not write: a folder is replaced only if all that it holds is named by
who replaces it; else the replacement is refused with the name of the first other thing. Nothing is
replaced that was not asked for: without ``overwrite``, a file that another process makes while we
write is not replaced either. What is replaced keeps its permission bits, and its owner where the
system allows; a new file has those that the umask leaves. A link stays, and what it leads to is
replaced; another hard link to a replaced file keeps the old contents.

Signals wait while names are exchanged and removed, which takes no time to speak of.
"""

from __future__ import annotations

import errno
import os
import signal
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from cube24.errors import FileAccessError, StrPath
from cube24.files.paths import asked, exists, is_file, is_folder, listing

#: What may end a program in the middle.
_ENDS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGXCPU)


@contextmanager
def whole_file(path: StrPath, *, overwrite: bool = False) -> Iterator[BinaryIO]:
    """Open a file for writing (and reading back) that appears under its name at the end.

    Raises:
        FileAccessError: it is there already and overwrite is False, is no regular file, or the
            system refuses (no such folder, no permission, disk full).
    """
    check_target(path, overwrite=overwrite)
    with asked(path, "write"):
        target = Path(os.path.realpath(path))  # a link stays, and what it leads to is replaced
        before = target.stat() if exists(target) else None
        temporary, mask = _temporary(target), signal.pthread_sigmask(signal.SIG_BLOCK, ())
        try:
            with temporary.open("xb+") as file:
                _take_over(temporary, before)
                yield file
                file.flush()
                os.fsync(file.fileno())
            signal.pthread_sigmask(signal.SIG_BLOCK, _ENDS)
            if overwrite:
                temporary.replace(target)
            else:
                _place(temporary, target)
        finally:
            try:
                signal.pthread_sigmask(signal.SIG_BLOCK, _ENDS)
            finally:  # one that came just before is raised by that call
                with suppress(OSError):  # what ended the work is what is to be told
                    temporary.unlink(missing_ok=True)
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        _sync_folder(target.parent)


def write_bytes(path: StrPath, data: bytes, *, overwrite: bool = False) -> None:
    """Write a file that appears under its name at the end.

    Raises:
        FileAccessError: as for :func:`whole_file`.
    """
    with whole_file(path, overwrite=overwrite) as file:
        file.write(data)


@contextmanager
def whole_folder(
    path: StrPath, *, marker: str, ours: Iterable[str] = (), overwrite: bool = False
) -> Iterator[Path]:
    """Make a folder that appears under its name at the end; its files are written in between.

    Args:
        path: the folder; an empty one may be there already.
        marker: a file that every folder of this kind holds. Only a folder that has it is
            replaced, so that ``overwrite`` cannot cost the user anything else.
        ours: names of the other files that we wrote into the folder that is there, relative to it
            and with ``/`` between folders, such as those that its manifest lists. A name that
            is not there is passed over.
        overwrite: replace a folder that holds the marker, ``ours`` and nothing else. A link or a
            folder under such a name is something else.

    Raises:
        FileAccessError: as for :func:`whole_file`; or the folder holds what is not ours, which
            the message names. errno ENOTEMPTY or EEXIST: another process made it meanwhile.
    """
    check_target(path, overwrite=overwrite, folder=True)
    names = {marker, *ours}
    with asked(path, "write"):
        target = Path(os.path.realpath(path))
        before = target.stat() if exists(target) else None
        replaced = before is not None and any(target.iterdir())
        if replaced:
            _refuse_others(path, target, marker, names)
        temporary, aside = _temporary(target), _temporary(target)
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        spare = os.open(os.devnull, os.O_RDONLY)  # a descriptor for the removal, if none is left
        try:
            temporary.mkdir()
            _take_over(temporary, before)
            yield temporary
            for name in _files(temporary):
                with (temporary / name).open("rb") as file:
                    if is_file(target / name):
                        _take_over(temporary / name, (target / name).stat())
                    os.fsync(file.fileno())
            _sync_folder(temporary)
            signal.pthread_sigmask(signal.SIG_BLOCK, _ENDS)
            try:
                if replaced:
                    target.rename(aside)
                    _refuse_others(path, aside, marker, names)  # what was put there meanwhile
                temporary.rename(target)
            finally:
                # Whatever came between the two names: the old folder goes back.
                if replaced and not target.exists():
                    aside.rename(target)
        finally:
            try:
                signal.pthread_sigmask(signal.SIG_BLOCK, _ENDS)
            finally:  # one that came just before is raised by that call
                os.close(spare)
                with suppress(OSError):
                    _remove(temporary)
                if replaced and exists(aside):
                    _clear(aside, target, names)
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        _sync_folder(target.parent)


def check_target(path: StrPath, *, overwrite: bool = False, folder: bool = False) -> None:
    """Refuse to write where the end of the work would be refused; for before the work.

    Args:
        path: where a file, or a folder, is to be written.
        overwrite: whether what stands there may be replaced.
        folder: whether it is to be a folder.

    Raises:
        FileAccessError: as for :func:`whole_file`.
    """
    with asked(path, "write"):
        target = Path(path)
        if not is_folder(target.parent):
            raise FileAccessError(path, f"the folder {target.parent} does not exist; make it")
        if exists(target):
            if not (is_folder(target) if folder else is_file(target)):
                # Renaming over a device or a socket would replace it: /dev/null as root, for one.
                kind = "folder" if folder else "regular file"
                raise FileAccessError(path, f"is there already and is no {kind}; name another one")
            empty = folder and not any(target.iterdir())
            if not overwrite and not empty:
                raise FileAccessError(path, "is there already; name another one, or overwrite it")
            if folder and target.is_mount():
                raise FileAccessError(path, "is where a file system begins; name a folder in it")
            if folder:
                _refuse_locked(target)
        _refuse_locked(Path(os.path.realpath(target)).parent)


def _refuse_locked(folder: Path) -> None:
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
        read_only = os.statvfs(folder).f_flag & os.ST_RDONLY
        number = errno.EROFS if read_only else errno.EACCES
        raise OSError(number, os.strerror(number))


def _temporary(target: Path) -> Path:
    # Not derived from the name of the target, which may be as long as names can be.
    return target.parent / f".cube24-{os.urandom(4).hex()}.part"


def _take_over(path: Path, before: os.stat_result | None) -> None:
    """Give a new file or folder the owner and the permission bits of what it replaces, if any."""
    if before is None:
        return
    now = path.stat()
    with suppress(PermissionError):  # only root gives files away; some file systems have no bits
        if (now.st_uid, now.st_gid) != (before.st_uid, before.st_gid):
            os.chown(path, before.st_uid, before.st_gid)
    with suppress(PermissionError):
        path.chmod(stat.S_IMODE(before.st_mode))


def _place(temporary: Path, target: Path) -> None:
    """Give a finished file its name, unless another process has taken it meanwhile."""
    try:
        os.link(temporary, target)
    except FileExistsError as error:
        raise FileAccessError(
            target, "another program has made it meanwhile; name another one, or overwrite it",
            error.errno,
        ) from error  # fmt: skip
    except OSError:  # a file system without hard links
        temporary.replace(target)


def _sync_folder(folder: Path) -> None:
    # Some file systems cannot sync a folder; the rename is atomic there all the same.
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


# --- what a folder holds --------------------------------------------------------------------------


def _files(folder: Path, below: str = "") -> Iterator[str]:
    """All files of a folder by their names relative to it."""
    for entry in listing(folder):
        if entry.is_dir():
            yield from _files(entry, f"{below}{entry.name}/")
        else:
            yield f"{below}{entry.name}"


def _others(folder: Path, names: set[str], below: str = "") -> Iterator[str]:
    """What a folder holds besides regular files of these names, and the folders they are in."""
    parents = {str(parent) for name in names for parent in PurePosixPath(name).parents}
    for entry in listing(folder):
        name = f"{below}{entry.name}"
        plain = not entry.is_symlink()
        if plain and entry.is_dir() and name in parents:
            yield from _others(entry, names, f"{name}/")
        elif not (plain and entry.is_file() and name in names):
            yield name


def _refuse_others(path: StrPath, folder: Path, marker: str, names: set[str]) -> None:
    if not is_file(folder / marker):
        raise FileAccessError(
            path, f"is a folder without {marker}, so it is not ours to replace; name another one"
        )
    if (other := next(_others(folder, names), None)) is not None:
        raise FileAccessError(
            path,
            f"holds {other}, which is not ours to replace; move that away, or name another folder",
        )


def _remove(folder: Path) -> None:
    """Remove a folder of ours, if it is there, with one descriptor: shutil.rmtree takes more."""
    if not exists(folder):
        return
    for entry in listing(folder):
        if entry.is_dir() and not entry.is_symlink():
            _remove(entry)
        else:
            entry.unlink()
    folder.rmdir()


def _clear(aside: Path, target: Path, names: set[str]) -> None:
    """Remove a folder that was replaced; what came into it at the last moment is kept."""
    with suppress(OSError):
        for other in list(_others(aside, names)):
            if not exists(target / other):
                (target / other).parent.mkdir(parents=True, exist_ok=True)
                (aside / other).rename(target / other)
        for name in names:
            (aside / name).unlink(missing_ok=True)
        for folder in sorted({each for name in names for each in PurePosixPath(name).parents})[
            ::-1
        ]:
            if exists(aside / folder):
                (aside / folder).rmdir()
