"""Modules of the standard library that few calls need, imported when they are used.

They take longer to import than what needs none of them takes to run. Whoever needs one in some
calls only writes ``from cube24 import stdlib`` and ``stdlib.json.loads(...)``; a module that is of
no use without it imports it as usual.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cube24.lazy import front

if TYPE_CHECKING:
    import asyncio
    import concurrent.futures
    import hashlib
    import importlib.metadata
    import json
    import shutil
    import tempfile
    import tomllib
    import zipfile
    import zlib
else:
    __getattr__, __dir__ = front(
        __name__,
        {
            "": (
                "asyncio", "concurrent.futures", "hashlib", "importlib.metadata", "json",
                "shutil", "tempfile", "tomllib", "zipfile", "zlib",
            ),
        },
    )  # fmt: skip

__all__ = [
    "asyncio",
    "concurrent",
    "hashlib",
    "importlib",
    "json",
    "shutil",
    "tempfile",
    "tomllib",
    "zipfile",
    "zlib",
]
