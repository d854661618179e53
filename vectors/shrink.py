"""Shrink a failing case: fewer rows, columns, groups and pixels, and plainer values.

The user's command runs on each smaller case. What is left is a case like any other: its spec says
which parts of the first one it has. device.py runs the command. A device may fail by what it gives,
by a crash or by hanging, and a smaller case has to fail in the way of the first one. The search may
take hours and its device may be gone at any time, so what was found until then is always kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cube24.errors import ArgumentError, Cube24Error, ShapeError, StrPath, counted
from cube24.simulator import TilingError, layouts
from cube24.sizes import ceil_div, whole
from cube24.vectors import foreign, place, plain, spec_check
from cube24.vectors.build import build
from cube24.vectors.case import Array, Case
from cube24.vectors.crop import ROLES, axes_of, cropped, lengths, places, with_values
from cube24.vectors.device import DeviceError, Failure, device
from cube24.vectors.manifest import Stored, files_of, load
from cube24.vectors.spec import Axis, Item, Spec, is_conv

__all__ = ["DeviceError", "Failure", "LimitError", "Shrunk", "cropped", "device", "shrink"]

#: Values are made plainer in arrays of no more elements; each one that is another is listed.
_VALUES = 4096


@dataclass(frozen=True)
class Shrunk:
    """The smallest case that still fails, and how many runs of the device it took.

    failure: how the device fails on it; None where ``fails`` gave a bool. others: how many runs
    failed in another way than the first one, by kind. fruitless: whether no run, of several, left a
    result that can be read: the command may be no device. stopped: why the search ended before its
    end; None: it did not. A LimitError: for no more than that it had run as often as it may.
    """

    case: Case
    runs: int
    stopped: Cube24Error | None = None
    failure: Failure | None = None
    others: Mapping[str, int] = field(default_factory=dict)
    fruitless: bool = False


def shrink(
    folder: StrPath,
    fails: Callable[[Path], bool | Failure | None],
    *,
    limit: int = 500,
    progress: Callable[[str], object] = lambda text: None,
    keep: Callable[[Shrunk], object] = lambda found: None,
) -> Shrunk:
    """Find a smaller case that fails.

    Args:
        folder: of a case that fails.
        fails: whether the device fails on the case in a folder, or how; :func:`device` makes one.
        limit: runs of the device.
        progress: told what is left, after each step that made it smaller.
        keep: given each case that fails and is smaller than all before, the whole one first: so
            that it is not lost if the search is interrupted.

    Returns:
        The smallest case that fails in the way of the first one. An error of the machine, or a
        device that cannot be run any more, after its first run ends the search and is told with it.

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
    left = cropped(stored.spec, {})
    if not search.fails(left):
        raise ArgumentError(f"{folder}: the device does not fail on this case")
    stopped, before = None, None
    try:
        while left != before:
            before = left
            for axis in axes_of(left):
                left = search.reduce(left, axis)
                progress(_told(left))
            left = search.plainer_sizes(left)
        for role in ROLES:
            if role == "weights" and foreign.is_foreign(left["fill"]["weights"]):
                continue  # its bytes are no encoded weight, of which an element could be another
            left = search.plainer_values(left, role)
            progress(_told(left))
    except Cube24Error as error:
        stopped = error
    return search.found(stopped)


def _told(left: Spec) -> str:
    """What is left, for a person."""
    text = ", ".join(f"{size} {name}" for name, size in lengths(left).items())
    values = left["fill"]["crop"].get("values", {})
    changed = sum(len(each) for each in values.values())
    return f"{text}, {counted(changed, 'value')} made plainer" if changed else text


class LimitError(ArgumentError):
    """The device ran as often as it may."""


class _Search:
    def __init__(
        self,
        stored: Stored,
        fails: Callable[[Path], bool | Failure | None],
        limit: int,
        keep: Callable[[Shrunk], object],
    ) -> None:
        self.stored, self._fails, self._limit, self._keep = stored, fails, limit, keep
        self.runs, self.best, self.failure = 0, None, None
        self.kind: str | None = None
        self.others: Counter[str] = Counter()
        self.results = 0

    runs: int
    best: Case | None
    failure: Failure | None

    def found(self, stopped: Cube24Error | None = None) -> Shrunk:
        """What was found so far."""
        assert self.best is not None
        return Shrunk(
            self.best, self.runs, stopped, self.failure, dict(self.others),
            self.failure is not None and self.runs > 1 and not self.results,
        )  # fmt: skip

    def build(self, spec: Spec) -> Case:
        """The case of a spec."""
        of = self.stored.manifest
        item = Item(of["case"], spec, (*of["tags"], "shrunk"))
        seed = of["random"]["campaign_seed"]
        with self.stored.explained("spec"):
            return build(of["suite"], of["suite_version"], item, seed, self.stored.style)

    def fails(self, spec: Spec) -> bool:
        """Whether the device fails on a case as on the first one; then it is the smallest so far.

        A part of a case that is none, such as a kernel beyond its image, does not.
        """
        if self.runs >= self._limit:
            raise LimitError(f"the limit of {counted(self._limit, 'run')} was reached")
        try:
            spec_check.check(spec)
            case = self.build(spec)
        except (ArgumentError, ShapeError, TilingError):
            if self.best is None:
                raise
            return False
        self.runs += 1
        with plain.scratch() as scratch:
            place.write_folder(scratch / "case", files_of(case))
            failed = self._fails(scratch / "case")
        kind = failed.kind if isinstance(failed, Failure) else "fails" if failed else None
        if self.kind is None:
            self.kind = kind
        self.results += kind in (None, "fails", "differs")
        if kind is not None and kind != self.kind:
            self.others[kind] += 1
        if kind is None or kind != self.kind:
            return False
        self.best, self.failure = case, failed if isinstance(failed, Failure) else None
        self._keep(self.found())
        return True

    def reduce(self, left: Spec, axis: Axis) -> Spec:
        """Drop pieces of one axis: halves first, then quarters, down to single ones."""
        count = lengths(left)[axis]
        size = ceil_div(count, 2)
        while size >= 1 and count > 1:
            at = 0
            while at < count and count > 1:
                fewer = [i for i in range(count) if not at <= i < at + size]
                if fewer and self.fails(smaller := cropped(left, {axis: fewer})):
                    left, count = smaller, len(fewer)
                else:
                    at += size
            size //= 2
        return left

    def plainer_sizes(self, left: Spec) -> Spec:
        """No padding, and no value of it, where the device fails without."""
        if not is_conv(left):
            return left
        pads = left["sizes"]["pads"]
        candidates: list[dict[str, Any]] = [{"pads": [0, 0, 0, 0]}] if any(pads) else []
        candidates += [
            {"pads": [0 if i == side else pad for i, pad in enumerate(pads)]}
            for side in range(4) if 0 < pads[side] < sum(pads)
        ]  # fmt: skip
        candidates += [{"offset_x": 0}] if left["sizes"]["offset_x"] else []
        for plainer in candidates:
            smaller: Spec = {**left, "sizes": {**left["sizes"], **plainer}}
            if self.fails(smaller):
                return smaller  # the others are of what was before; there is another round
        return left

    def plainer_values(self, left: Spec, role: str) -> Spec:
        """Zeros for as many elements as can be, and small numbers for others."""
        now = self._values(left, role)
        if not 0 < len(now) <= _VALUES:
            return left
        rest, size = sorted(now), ceil_div(len(now), 2)
        while size >= 1 and rest:
            at = 0
            while at < len(rest):
                zeros = dict.fromkeys(rest[at : at + size], 0)
                if self.fails(smaller := with_values(left, role, zeros)):
                    left = smaller
                    del rest[at : at + size]
                else:
                    at += size
            size //= 2
        for number in rest:
            for value in _plainer(now[number]):
                if self.fails(smaller := with_values(left, role, {number: value})):
                    left = smaller
                    break
        return left

    def _values(self, left: Spec, role: str) -> dict[int, int]:
        """The elements that are not zero, by their numbers in the first case."""
        assert self.best is not None
        piece = self.best.pieces.get(role)
        if piece is None:
            return {}
        array: Array = piece.array
        if piece.layout == "nc1hwc0":
            array = layouts.from_nc1hwc0(array, left["sizes"]["cin"])
        numbers = places(left, role).reshape(-1).tolist()
        values = array.reshape(-1).tolist()
        return {at: value for at, value in zip(numbers, values, strict=True) if value}


def _plainer(value: int) -> Iterator[int]:
    """Plainer numbers, the plainest first: one of its sign, one, powers of two below it."""
    sign = 1 if value > 0 else -1
    powers = [1 << bit for bit in range(abs(value).bit_length())]
    for number in dict.fromkeys([sign, 1, *(sign * power for power in powers)]):
        if abs(number) < abs(value) or (number > 0 > value and -number == value):
            yield number
