"""Shrink a failing case: fewer rows, columns and groups, as long as the device still fails.

The user's command runs on each smaller case. What is left is a case like any other: its spec says
which rows, columns and groups of the first one it has.
"""

from __future__ import annotations

import shlex
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cube24.encoder import GROUP
from cube24.errors import ArgumentError, Cube24Error, StrPath
from cube24.sizes import ceil_div
from cube24.vectors.build import build
from cube24.vectors.case import Case
from cube24.vectors.comparison import compare
from cube24.vectors.manifest import Stored, load, write
from cube24.vectors.spec import AXES, Axis, Crop, Item, Spec, names_of


class DeviceError(Cube24Error, RuntimeError):
    """The user's command failed, or left no result."""


@dataclass(frozen=True)
class Shrunk:
    """The smallest case that still fails, and how many runs of the device it took."""

    case: Case
    runs: int


def shrink(
    folder: StrPath,
    fails: Callable[[Path], bool],
    *,
    limit: int = 500,
    progress: Callable[[str], object] = lambda text: None,
) -> Shrunk:
    """Find a smaller case that fails.

    Args:
        folder: of a case that fails.
        fails: whether the device fails on the case in a folder; :func:`device` makes one.
        limit: runs of the device.
        progress: told what is left, after each step that made it smaller.

    Raises:
        ArgumentError: the case is a changed one, or the device does not fail on it.
        DeviceError: of ``fails``.
    """
    stored = load(folder)
    if stored.spec["change"] is not None:
        raise ArgumentError(f"{folder}: a fault or negative case is as small as it can be")
    search = _Search(stored, fails, limit)
    whole = {axis: list(range(size)) for axis, size in _sizes(stored.spec).items()}
    if not search.fails(whole):
        raise ArgumentError(f"{folder}: the device does not fail on this case")
    left, before = whole, None
    while left != before and search.runs < limit:
        before = left
        for axis in AXES:
            left = search.reduce(left, axis)
            progress(", ".join(f"{len(left[name])} {name}" for name in AXES))
    return Shrunk(search.build(left), search.runs)


def _sizes(spec: Spec) -> dict[Axis, int]:
    """How many rows, columns and groups a case has."""
    if crop := spec["fill"].get("crop"):
        return {axis: len(crop[axis]) for axis in AXES}
    size = spec["sizes"]
    rows, columns, k = (size[name] for name in names_of(spec))
    return {"rows": rows, "columns": columns, "groups": ceil_div(k, GROUP)}


class _Search:
    def __init__(self, stored: Stored, fails: Callable[[Path], bool], limit: int) -> None:
        self.stored, self._fails, self._limit, self.runs = stored, fails, limit, 0

    def build(self, left: Mapping[Axis, list[int]]) -> Case:
        """The case with these rows, columns and groups."""
        of = self.stored.manifest
        item = Item(of["case"], cropped(self.stored.spec, left), (*of["tags"], "shrunk"))
        seed = of["random"]["campaign_seed"]
        return build(of["suite"], of["suite_version"], item, seed, self.stored.style)

    def fails(self, left: Mapping[Axis, list[int]]) -> bool:
        self.runs += 1
        with tempfile.TemporaryDirectory() as scratch:
            write(self.build(left), Path(scratch) / "case")
            return self._fails(Path(scratch) / "case")

    def reduce(self, left: dict[Axis, list[int]], axis: Axis) -> dict[Axis, list[int]]:
        """Drop pieces of one axis: halves first, then quarters, down to single ones."""
        size = ceil_div(len(left[axis]), 2)
        while size >= 1 and len(left[axis]) > 1:
            at = 0
            while at < len(left[axis]) and len(left[axis]) > 1 and self.runs < self._limit:
                fewer = left[axis][:at] + left[axis][at + size :]
                if fewer and self.fails({**left, axis: fewer}):
                    left = {**left, axis: fewer}
                else:
                    at += size
            size //= 2
        return left


def cropped(spec: Spec, left: Mapping[Axis, list[int]]) -> Spec:
    """The spec of a case with some rows, columns and groups of another one."""
    size, old, names = dict(spec["sizes"]), spec["fill"].get("crop"), names_of(spec)

    def kept(axis: Axis) -> list[int]:
        return [old[axis][i] for i in left[axis]] if old else list(left[axis])

    crop: Crop = {
        "of": old["of"] if old else [size[name] for name in names],
        "rows": kept("rows"), "columns": kept("columns"), "groups": kept("groups"),
    }  # fmt: skip
    size[names[0]], size[names[1]] = len(crop["rows"]), len(crop["columns"])
    size[names[2]] = sum(min(GROUP, crop["of"][2] - GROUP * group) for group in crop["groups"])
    return {**spec, "sizes": size, "fill": {**spec["fill"], "crop": crop}}


def device(
    command: str, suffix: str = ".hex", timeout: float | None = None
) -> Callable[[Path], bool]:
    """A device under test that a command runs.

    Args:
        command: with ``{case}`` for the folder of the case and ``{got}`` for the file that it
            writes; it runs without a shell.
        suffix: of that file: .hex, .bin or .npy.
        timeout: seconds, after which it counts as failed to run.

    Raises:
        ArgumentError: the command does not name both, or its quotes are not closed.
    """
    if "{case}" not in command or "{got}" not in command:
        raise ArgumentError(
            "--dut-cmd: name {case}, the folder to read, and {got}, the file to write"
        )
    try:
        parts = shlex.split(command)
    except ValueError as error:
        raise ArgumentError(f"--dut-cmd {command!r}: {error}") from error

    def fails(folder: Path) -> bool:
        got = folder.parent / f"got{suffix}"
        got.unlink(missing_ok=True)
        words = [part.replace("{case}", str(folder)).replace("{got}", str(got)) for part in parts]
        try:
            done = subprocess.run(words, capture_output=True, text=True, timeout=timeout)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise DeviceError(f"{words[0]}: {error}") from error
        if not got.exists():
            raise DeviceError(
                f"{shlex.join(words)}: exit code {done.returncode} and no {got.name}: "
                f"{done.stderr.strip()[-500:]}"
            )
        return not compare(folder, got).equal

    return fails
