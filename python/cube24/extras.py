"""Optional packages: imported when they are used, and missed with the name of their extra."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from cube24.errors import MissingExtraError


def need(module: str, extra: str, what: str) -> Any:
    """Import a module of an optional package.

    Args:
        module: its name, such as ``matplotlib.figure``.
        extra: the extra of this package that brings it.
        what: what needs it, to begin the message with, such as ``drawing``.

    Raises:
        MissingExtraError: it is not installed, or cannot be loaded; with the reason.
    """
    package = module.partition(".")[0]
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name not in (package, module):
            raise MissingExtraError(f"{what}: {package} cannot be loaded: {error}") from error
        raise MissingExtraError(
            f"{what} needs the package {package}: pip install 'cube24[{extra}]'"
        ) from error
    except ImportError as error:  # it is there, and a library that it needs is not
        raise MissingExtraError(f"{what}: {package} cannot be loaded: {error}") from error
