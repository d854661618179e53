"""Files that are written whole or not at all.

A result is written under a temporary name in the folder where it will stand, flushed to the disk
and renamed. Whatever ends the work before (an error, Ctrl-C, a full disk) removes the temporary
name and leaves what stood there before.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from cube24.errors import FileAccessError, StrPath, check_path


@contextmanager
def whole_file(path: StrPath, *, overwrite: bool = False) -> Iterator[BinaryIO]:
    """Open a file for writing (and reading back) that appears under its name at the end.

    Raises:
        FileAccessError: it is there already and overwrite is False, is no regular file, or the
            system refuses (no such folder, no permission, disk full).
    """
    _refuse_existing(Path(path), overwrite, folder=False)
    target = Path(path).resolve()  # a link stays, and what it leads to is replaced
    temporary = _temporary(target)
    with _explained(Path(path)):
        try:
            with temporary.open("xb+") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
            _sync_folder(target.parent)
        finally:
            temporary.unlink(missing_ok=True)


def write_bytes(path: StrPath, data: bytes, *, overwrite: bool = False) -> None:
    """Write a file that appears under its name at the end.

    Raises:
        FileAccessError: as for :func:`whole_file`.
    """
    with whole_file(path, overwrite=overwrite) as file:
        file.write(data)


@contextmanager
def whole_folder(path: StrPath, *, marker: str, overwrite: bool = False) -> Iterator[Path]:
    """Make a folder that appears under its name at the end; its files are written in between.

    Args:
        path: the folder; an empty one may be there already.
        marker: a file that every folder of this kind holds. Only a folder that has it is
            replaced, so that ``overwrite`` cannot cost the user anything else.
        overwrite: replace such a folder.

    Raises:
        FileAccessError: as for :func:`whole_file`.
    """
    _refuse_existing(Path(path), overwrite, folder=True)
    target = Path(path).resolve()  # a link stays, and what it leads to is replaced
    replaced = target.is_dir() and any(target.iterdir())
    if replaced and not (target / marker).is_file():
        raise FileAccessError(
            path, f"is a folder without {marker}, so it is not ours to replace; name another one"
        )
    temporary, aside = _temporary(target), _temporary(target)
    with _explained(Path(path)):
        try:
            temporary.mkdir()
            yield temporary
            for entry in temporary.iterdir():
                with entry.open("rb") as file:
                    os.fsync(file.fileno())
            _sync_folder(temporary)
            try:
                if replaced:
                    target.rename(aside)
                temporary.rename(target)
            finally:
                # Whatever came between the two names, even Ctrl-C: the old folder goes back.
                if replaced and not target.exists():
                    aside.rename(target)
            _sync_folder(target.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            if target.exists():
                shutil.rmtree(aside, ignore_errors=True)


def _refuse_existing(target: Path, overwrite: bool, *, folder: bool) -> None:
    check_path(target)
    with _explained(target):
        if not target.parent.is_dir():
            raise FileAccessError(target, f"the folder {target.parent} does not exist; make it")
        if not os.path.lexists(target):
            return
        fits = target.is_dir() if folder else target.is_file()
        if not fits:
            # Renaming over a device or a socket would replace it: /dev/null as root, for one.
            kind = "folder" if folder else "regular file"
            raise FileAccessError(target, f"is there already and is no {kind}; name another one")
        empty = folder and not any(target.iterdir())
        if not overwrite and not empty:
            raise FileAccessError(target, "is there already; name another one, or overwrite it")


def _temporary(target: Path) -> Path:
    # Not derived from the name of the target, which may be as long as names can be.
    return target.parent / f".cube24-{secrets.token_hex(4)}.part"


@contextmanager
def _explained(target: Path) -> Iterator[None]:
    try:
        yield
    except FileAccessError:
        raise
    except OSError as error:
        raise FileAccessError.from_os(target, "write", error) from error


def _sync_folder(folder: Path) -> None:
    # Some file systems cannot sync a folder; the rename is atomic there all the same.
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
