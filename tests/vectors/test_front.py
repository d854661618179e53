"""The front of the package: its names come when they are asked for, and are those that it lists."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from cube24 import vectors


def imported_for_types() -> dict[str, str]:
    """The names of the block that type checkers read, each with its module."""
    tree = ast.parse(Path(vectors.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    return {
        alias.name: str(node.module)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def test_type_checkers_see_the_names_that_there_are() -> None:
    named = imported_for_types()
    assert set(named) == set(vectors.__all__)
    for name, module in named.items():
        wanted = import_module(f"{module}.{name}") if module == vectors.__name__ else None
        assert getattr(vectors, name) is (wanted or getattr(import_module(module), name))


def test_no_name_is_that_of_another_module() -> None:
    """Importing cube24.vectors.NAME would put the module in place of what the front names."""
    rooms = {path.stem for path in Path(vectors.__file__).parent.iterdir()}
    named = imported_for_types()
    assert {name for name in named if name in rooms} == {"coverage", "shrink", "suites"}
    assert all(named[name] == vectors.__name__ for name in named if name in rooms)


def test_a_name_that_there_is_not_is_told() -> None:
    name = "nothing"
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        getattr(vectors, name)


def test_the_plugin_alone_imports_no_case() -> None:
    program = (
        "import sys, cube24.vectors.plugin\n"
        "print(*sorted(name for name in sys.modules if name.startswith('cube24.vectors.')))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["cube24.vectors.plugin"]
