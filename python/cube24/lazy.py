"""Fronts of packages that import their rooms when a name is asked for (PEP 562).

A front says once for the type checker and once here where its names come from; a test holds both to
``__all__``. A program that wants one function does not wait for the rest::

    if TYPE_CHECKING:
        from cube24.encoder.codec import decode, encode
    else:
        __getattr__, __dir__ = front(__name__, {".codec": ("decode", "encode")})
    __all__ = ["decode", "encode"]

No name of a front is that of one of its rooms, unless it is the room: an import of the room would
put the module in its place.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any


def front(
    package: str, rooms: Mapping[str, Iterable[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The functions ``__getattr__`` and ``__dir__`` of a package or module.

    Args:
        package: its ``__name__``.
        rooms: the names that come from each module, a room of the package if it begins with a dot.
            What comes from ``"."`` are rooms themselves, and from ``""`` modules of elsewhere, with
            their dots: they are reached as after a statement ``import``.
    """
    where = {
        name if room else name.partition(".")[0]: (room, name)
        for room, names in rooms.items()
        for name in names
    }

    def found(name: str) -> Any:
        if name not in where:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        room, said = where[name]
        if room in ("", "."):
            import_module(f"{room}{said}", package)
            value: Any = sys.modules[f"{package}.{name}" if room else name]
        else:
            value = getattr(import_module(room, package), name)
        setattr(sys.modules[package], name, value)  # asked for once
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *where})

    return found, names
