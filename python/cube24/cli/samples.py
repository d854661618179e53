"""Values of the inputs of a model, in .npz files of the user's."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from cube24 import files, graph


def inputs_of(model: graph.Model) -> tuple[str, ...]:
    """The names of the inputs that a caller gives."""
    constant = model.main.initializers
    return tuple(given.name for given in model.proto.graph.input if given.name not in constant)


def members_of(path: Path, known: Iterable[str]) -> dict[str, Any]:
    """The members of an .npz that are inputs of the model; others are named in a note."""
    found = {}
    with files.opened_zip(path) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist()]
        for name in known:
            if name in names:
                with files.opened_member(path, archive, f"{name}.npy") as (label, file, size):
                    found[name] = files.npy_array(label, file, size).read_all()
    if others := [name for name in names if name not in found]:
        shown = ", ".join(others[:5]) + (", ..." if len(others) > 5 else "")
        click.echo(f"note: {path}: no inputs of the model: {shown}", err=True)
    return found
