"""Shrink a failing case: fewer rows, columns and groups, as long as the device still fails.

The user's command runs on each smaller case. What is left is a case like any other: its spec says
which rows, columns and groups of the first one it has. device.py runs the command. The search may
take hours and its device may break at any time, so what was found until then is always kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cube24.encoder import GROUP
from cube24.errors import ArgumentError, Cube24Error, StrPath, counted
from cube24.sizes import ceil_div, whole
from cube24.vectors import place, plain
from cube24.vectors.build import build
from cube24.vectors.case import Case
from cube24.vectors.device import DeviceError, device
from cube24.vectors.manifest import Stored, files_of, load
from cube24.vectors.spec import AXES, Axis, Crop, Item, Spec, names_of

__all__ = ["DeviceError", "LimitError", "Shrunk", "cropped", "device", "shrink"]


@dataclass(frozen=True)
class Shrunk:
    """The smallest case that still fails, and how many runs of the device it took.

    stopped: why the search ended before its end; None: it did not. A LimitError: for no more than
    that it had run as often as it may.
    """

    case: Case
    runs: int
    stopped: Cube24Error | None = None


def shrink(
    folder: StrPath,
    fails: Callable[[Path], bool],
    *,
    limit: int = 500,
    progress: Callable[[str], object] = lambda text: None,
    keep: Callable[[Shrunk], object] = lambda found: None,
) -> Shrunk:
    """Find a smaller case that fails.

    Args:
        folder: of a case that fails.
        fails: whether the device fails on the case in a folder; :func:`device` makes one.
        limit: runs of the device.
        progress: told what is left, after each step that made it smaller.
        keep: given each case that fails and is smaller than all before, the whole one first: so
            that it is not lost if the search is interrupted.

    Returns:
        The smallest case. An error of the device or of the machine after its first run ends the
        search and is told with it.

    Raises:
        ArgumentError: the case is a changed one, the device does not fail on it, or limit is no
            whole number above 0.
        Cube24Error: of the first run.
    """
    limit = whole(limit, "limit", 1)
    stored = load(folder)
    if stored.spec["change"] is not None:
        raise ArgumentError(f"{folder}: a fault or negative case is as small as it can be")
    search = _Search(stored, fails, limit, keep)
    everything = {axis: list(range(size)) for axis, size in _sizes(stored.spec).items()}
    if not search.fails(everything):
        raise ArgumentError(f"{folder}: the device does not fail on this case")
    assert search.best is not None
    left, before = everything, None
    try:
        while left != before:
            before = left
            for axis in AXES:
                left = search.reduce(left, axis)
                progress(", ".join(f"{len(left[name])} {name}" for name in AXES))
    except Cube24Error as error:
        return Shrunk(search.best, search.runs, error)
    return Shrunk(search.best, search.runs)


class LimitError(ArgumentError):
    """The device ran as often as it may."""


def _sizes(spec: Spec) -> dict[Axis, int]:
    """How many rows, columns and groups a case has."""
    if crop := spec["fill"].get("crop"):
        return {axis: len(crop[axis]) for axis in AXES}
    size = spec["sizes"]
    rows, columns, k = (size[name] for name in names_of(spec))
    return {"rows": rows, "columns": columns, "groups": ceil_div(k, GROUP)}


class _Search:
    def __init__(
        self,
        stored: Stored,
        fails: Callable[[Path], bool],
        limit: int,
        keep: Callable[[Shrunk], object],
    ) -> None:
        self.stored, self._fails, self._limit, self._keep = stored, fails, limit, keep
        self.runs, self.best = 0, None

    runs: int
    best: Case | None

    def build(self, left: Mapping[Axis, list[int]]) -> Case:
        """The case with these rows, columns and groups."""
        of = self.stored.manifest
        item = Item(of["case"], cropped(self.stored.spec, left), (*of["tags"], "shrunk"))
        seed = of["random"]["campaign_seed"]
        with self.stored.explained("spec"):
            return build(of["suite"], of["suite_version"], item, seed, self.stored.style)

    def fails(self, left: Mapping[Axis, list[int]]) -> bool:
        """Whether the device fails on these; then it is the smallest case so far."""
        if self.runs >= self._limit:
            raise LimitError(f"the limit of {counted(self._limit, 'run')} was reached")
        case = self.build(left)
        self.runs += 1
        with plain.scratch() as scratch:
            place.write_folder(scratch / "case", files_of(case))
            failed = self._fails(scratch / "case")
        if failed:
            self.best = case
            self._keep(Shrunk(case, self.runs))
        return failed

    def reduce(self, left: dict[Axis, list[int]], axis: Axis) -> dict[Axis, list[int]]:
        """Drop pieces of one axis: halves first, then quarters, down to single ones."""
        size = ceil_div(len(left[axis]), 2)
        while size >= 1 and len(left[axis]) > 1:
            at = 0
            while at < len(left[axis]) and len(left[axis]) > 1:
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
