"""The errors of cube24: one root, one class per kind of trouble.

Every message says what was wrong, where, and what to do. The classes carry the same facts as
attributes, so that a program need not read the message.
"""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike, fsencode, fspath
from types import MemberDescriptorType
from typing import Any

#: What names a file or folder.
StrPath = str | PathLike[str]


class Cube24Error(Exception):
    """Root of all errors that cube24 raises on purpose.

    They can be pickled and copied, so they cross processes.

    exit_code: with which the command line ends.
    """

    exit_code = 2

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy what an error holds: what its class was made from need not be what it keeps."""
        members = {
            name: getattr(self, name)
            for kind in type(self).__mro__
            for name, what in vars(kind).items()
            if isinstance(what, MemberDescriptorType) and not name.startswith("__")
        }  # errno, strerror and the like, which Python keeps outside of the dictionary
        state = vars(self) | {name: value for name, value in members.items() if value is not None}
        return _blank, (type(self), self.args), state


def _blank(kind: type[Cube24Error], args: tuple[Any, ...]) -> Cube24Error:
    """An error without its attributes, not going through ``__init__``."""
    error = kind.__new__(kind)
    error.args = args
    return error


class ArgumentError(Cube24Error, ValueError):
    """An option that does not exist or does not fit the others."""


class DtypeError(Cube24Error, TypeError):
    """An array of a type that the format cannot hold."""


class ShapeError(Cube24Error, ValueError):
    """An array of the wrong rank or size."""


class OutBufferError(Cube24Error, ValueError):
    """An ``out=`` array that cannot take the result: read-only, not contiguous, overlapping."""


class MissingExtraError(Cube24Error, ImportError):
    """Something that needs a package which is not there; the message names the extra."""


class CheckFailedError(Cube24Error, AssertionError):
    """What was to be checked is not so: a result that differs, a file that was changed.

    The base of the errors that are no fault of the call; the command line ends with 1, not 2.
    """

    exit_code = 1


class FileFormatError(Cube24Error, ValueError):
    """A file that is not what it should be: truncated, over-long, malformed, wrong checksum.

    Attributes: path, and offset (byte in the file) or None where no single byte is to blame.
    """

    def __init__(self, path: StrPath, message: str, offset: int | None = None) -> None:
        """Put the path, and the byte offset if there is one, before the message."""
        self.path = fspath(path)
        self.offset = offset
        place = f"{self.path}: byte {offset}" if offset is not None else self.path
        super().__init__(f"{place}: {message}")


class FileAccessError(Cube24Error, OSError):
    """The operating system refused a file: missing, no permission, disk full, already there.

    ``errno`` is the system's number where there is one, else None; attribute path.
    """

    def __init__(self, path: StrPath, message: str, number: int | None = None) -> None:
        """Put the path before the message."""
        self.path = fspath(path)
        super().__init__(f"{self.path}: {message}")
        self.errno = number

    @classmethod
    def from_os(cls, path: StrPath, doing: str, error: OSError) -> FileAccessError:
        """Wrap what the system said while we were ``doing`` something to ``path``."""
        hint = _HINTS.get(type(error), "")
        return cls(path, f"cannot {doing}: {error.strerror or error}{hint}", error.errno)


_HINTS: Mapping[type[OSError], str] = {
    FileNotFoundError: "; check the path, and that the folder exists",
    PermissionError: "; check the permissions of the file and its folder",
    IsADirectoryError: "; name a file",
    NotADirectoryError: "; a part of the path is a file",
}


def check_path(path: StrPath) -> None:
    """Refuse a path that no system call takes.

    Raises:
        FileAccessError: it holds a NUL character, or one that the file system cannot spell.
    """
    text = fspath(path)
    if "\0" in text:
        raise FileAccessError(text.replace("\0", "\\0"), "no path holds a NUL character")
    try:
        fsencode(text)
    except UnicodeEncodeError as error:
        shown = text.encode("ascii", "backslashreplace").decode()
        raise FileAccessError(
            shown, f"no path is spelt like this: {error.encoding} has no such character"
        ) from error


def counted(count: int, noun: str) -> str:
    """A number with its noun, in the plural unless it is one."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
