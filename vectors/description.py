"""What a campaign is, and the campaign.json in its folder that says so.

A folder is one campaign's: the one whose campaign.json is there first. Which cases of it are there,
and with which command it goes on, is told from that file alone. campaign.py makes the cases.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from cube24.encoder import Layout
from cube24.errors import (
    ArgumentError,
    CheckFailedError,
    Cube24Error,
    FileAccessError,
    FileFormatError,
    StrPath,
    check_path,
)
from cube24.files import exists, listing
from cube24.sizes import names, shown, whole
from cube24.vectors import place, plain, schema, strict_json, suites
from cube24.vectors.files import CaseStyle
from cube24.vectors.manifest import MANIFEST, walk
from cube24.vectors.spec import Item, Spec
from cube24.version import __version__

CAMPAIGN = "campaign.json"


class CampaignError(Cube24Error, RuntimeError):
    """A case could not be written, by another process or by a cluster; with what it said."""


class CampaignMismatchError(CampaignError, CheckFailedError):
    """The unit and the dense computation disagree on a case, which is named."""


@dataclass(frozen=True)
class Campaign:
    """Which cases: suites, level, seed, and the style of their files.

    cases: patterns as for file names, of which a case matches one: its name, or suite/name where
    the pattern has a slash; empty: all. layout: of the weight of each case; None: its own.

    Raises:
        ArgumentError: no such suite, level or layout, a seed that is not 0 to 2^64 - 1, no
            CaseStyle, a pattern that no case matches, or a layout for a suite that is about one.
    """

    suites: tuple[str, ...]
    level: int = 1
    seed: int = 1
    style: CaseStyle = field(default_factory=CaseStyle)
    cases: tuple[str, ...] = ()
    layout: Layout | None = None

    def __post_init__(self) -> None:
        """Check it."""
        seed: object = self.seed
        if isinstance(seed, int) and not 0 <= seed < 1 << 64:
            raise ArgumentError(f"seed {short(seed)}: it is 0 to 2^64 - 1")
        for name, value in (
            ("seed", whole(seed, "seed", 0, (1 << 64) - 1)),
            ("level", whole(self.level, "level", None)),
            ("suites", names(self.suites, "suites")),
        ):
            object.__setattr__(self, name, value)
        style: object = self.style
        if not isinstance(style, CaseStyle):
            raise ArgumentError(f"style is {shown(style)}; it takes a CaseStyle")
        for suite in self.suites:
            next(suites.items(suite, self.level, self.seed))
        if self.layout not in (None, "nd", "zn"):
            raise ArgumentError(f"layout {shown(self.layout)}: choose nd or zn")
        if self.layout is not None:
            self._refuse_suites((*suites.ONE_LAYOUT, *suites.NAMED_LAYOUT))
        elif self.style.both_layouts:
            self._refuse_suites(suites.ONE_LAYOUT)
        if self.cases != ():
            object.__setattr__(self, "cases", names(self.cases, "cases"))
            self._demand_matches()

    def _refuse_suites(self, refused: tuple[str, ...]) -> None:
        if found := [suite for suite in self.suites if suite in refused]:
            raise ArgumentError(
                f"layout: the cases of {', '.join(found)} are about the layout that they have; "
                f"name the other suites"
            )

    def _demand_matches(self) -> None:
        left = set(self.cases)
        for suite, name in self._all_names():
            left -= {pattern for pattern in left if _matches(pattern, suite, name)}
            if not left:
                return
        raise ArgumentError(f"case {shown(sorted(left)[0])}: no case of these suites is called so")

    def _all_names(self) -> Iterator[tuple[str, str]]:
        for suite in self.suites:
            for name in suites.names(suite, self.level):
                yield suite, name

    def _has(self, suite: str, name: str) -> bool:
        return not self.cases or any(_matches(one, suite, name) for one in self.cases)

    def names(self) -> Iterator[tuple[str, str]]:
        """The names of all cases as (suite, name), in the order of :meth:`items`."""
        return (found for found in self._all_names() if self._has(*found))

    def items(self) -> Iterator[tuple[str, Item]]:
        """All cases as (suite, item), always in the same order."""
        for suite in self.suites:
            for item in suites.items(suite, self.level, self.seed):
                if not self._has(suite, item.name):
                    continue
                if self.layout is not None:
                    spec: Spec = {**item.spec, "layout": self.layout}
                    item = replace(item, spec=spec)
                yield suite, item

    def count(self) -> int:
        """How many cases there are."""
        return sum(1 for _ in self.names())

    def text(self) -> bytes:
        """What campaign.json holds."""
        versions = {suite: suites.SUITES[suite][0] for suite in self.suites}
        about: dict[str, Any] = {
            "schema": "cube24-campaign-1", "package": __version__, "seed": self.seed,
            "level": self.level, "suites": versions, "style": self.style.to_dict(),
        }  # fmt: skip
        if self.style.manifest > 1 or self.cases or self.layout:
            about |= {
                "schema": "cube24-campaign-2", "style": self.style.to_dict(whole=True),
                "manifest": self.style.manifest, "cases": list(self.cases), "layout": self.layout,
            }  # fmt: skip
        return (json.dumps(about, indent=1) + "\n").encode()

    def command(self, folder: StrPath) -> str:
        """The command line that makes it, or goes on with it."""
        words = ["cube24", "vectors", "generate", os.fspath(folder)]
        if self.suites != tuple(suites.SUITES):
            words += [word for suite in self.suites for word in ("--suite", suite)]
        words += [word for pattern in self.cases for word in ("--case", pattern)]
        words += ["--level", str(self.level), "--seed", str(self.seed)]
        layout = "both" if self.style.both_layouts else self.layout
        words += ["--layout", layout] if layout else []
        return shlex.join([*words, *self.style.options()])

    @classmethod
    def load(cls, folder: StrPath) -> Campaign:
        """The campaign of a folder, by its campaign.json.

        Raises:
            FileFormatError: it is none, or one of other suites than this version has.
            FileAccessError: it is not there, is no plain file, or the system refuses.
        """
        path = Path(folder) / CAMPAIGN
        of = strict_json.parse(path, plain.read(Path(folder), CAMPAIGN))
        version = 2 if isinstance(of, dict) and of.get("schema") == "cube24-campaign-2" else 1
        if found := schema.fault(of, f"campaign-{version}"):
            raise FileFormatError(path, found)
        for suite, version in of["suites"].items():
            here = suites.SUITES[suite][0] if suite in suites.SUITES else "none"
            if version != here:
                raise FileFormatError(
                    path, f"has suite {suite[:60]!r} of version {version!r}; this version of "
                    f"cube24 has {here}, so which cases there are is not known"
                )  # fmt: skip
        try:
            style = CaseStyle.of(of["style"], of.get("manifest", 1))
            cases, layout = tuple(of.get("cases", ())), of.get("layout")
            return cls(tuple(of["suites"]), of["level"], of["seed"], style, cases, layout)
        except ArgumentError as error:
            raise FileFormatError(path, str(error)) from error


def _matches(pattern: str, suite: str, name: str) -> bool:
    """Whether a pattern is of a case: of its name, or of suite/name."""
    return fnmatchcase(f"{suite}/{name}" if "/" in pattern else name, pattern)


def short(number: int) -> str:
    """A number in digits, unless it has hundreds of them."""
    # Python writes no numbers of thousands of digits.
    return str(number) if abs(number) < 1 << 128 else "of more than 128 bits"


def prepare(folder: Path, campaign: Campaign) -> None:
    """Make a folder the campaign's, or find that it is.

    Raises:
        ArgumentError: it holds another campaign, or other things.
        FileAccessError: campaign.json is no plain file, or the system refuses.
    """
    check_path(folder)
    text = campaign.text()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Looked at before campaign.json is: who makes that first makes nothing else before.
        others = [entry for entry in listing(folder) if not entry.name.startswith(".")]
        at_once = False
        if not exists(folder / CAMPAIGN):
            if others:
                raise ArgumentError(
                    f"{folder} holds other things and no {CAMPAIGN}; name another folder"
                )
            at_once = not _describe(folder / CAMPAIGN, text)
        if (there := plain.read(folder, CAMPAIGN)) != text:
            raise ArgumentError(_another(folder, there, text, at_once))
        place.clear(folder)
        for suite in campaign.suites:
            (folder / suite).mkdir(exist_ok=True)
            place.clear(folder / suite)
    except OSError as error:
        if isinstance(error, Cube24Error):
            raise
        raise FileAccessError.from_os(folder, "write", error) from error


def add_suites(folder: StrPath, added: tuple[str, ...]) -> Campaign:
    """Make the campaign of a folder one with more suites; its cases that are there stay.

    Args:
        folder: of a campaign.
        added: suites; those that it has already stay where they are in its order.

    Returns:
        The campaign, for ``generate``.

    Raises:
        ArgumentError: no such suite, one that the campaign cannot have or takes no case of, or a
            campaign of another version of cube24.
        FileFormatError, FileAccessError: as for :meth:`Campaign.load`, or the system refuses.
    """
    folder = Path(folder)
    old = Campaign.load(folder)
    if (there := plain.read(folder, CAMPAIGN)) != old.text():
        raise ArgumentError(_another(folder, there, old.text(), False))
    new = replace(old, suites=tuple(dict.fromkeys((*old.suites, *names(added, "suites")))))
    # A campaign without chosen cases takes all, which take long to list.
    known = {*old.suites, *(suite for suite, _ in new.items())} if old.cases else {*new.suites}
    if none := [suite for suite in new.suites if suite not in known]:
        raise ArgumentError(
            f"suite {none[0]} has no case that the campaign of {folder} takes, which are "
            f"{', '.join(old.cases)}"
        )
    if new != old:
        part = place.part_of(folder / CAMPAIGN)
        try:
            part.write_bytes(new.text())
            part.replace(folder / CAMPAIGN)
        except OSError as error:
            raise FileAccessError.from_os(folder / CAMPAIGN, "write", error) from error
        finally:
            part.unlink(missing_ok=True)
    return new


def _describe(path: Path, text: bytes) -> bool:
    """Write campaign.json, at once whole; gives False where another process was faster."""
    part = place.part_of(path)
    try:
        part.write_bytes(text)
        try:
            os.link(part, path)
        except FileExistsError:
            return False
        except OSError:  # a file system without links; then it is not whole at once
            try:
                with path.open("xb") as file:
                    file.write(text)
            except FileExistsError:
                return False
    finally:
        part.unlink(missing_ok=True)
    return True


def _another(folder: Path, there: bytes, text: bytes, at_once: bool) -> str:
    """What to say where campaign.json is of another campaign."""
    differs = "other suites, level, seed, style or version of cube24"
    with suppress(FileFormatError):
        one, other = (strict_json.parse(folder / CAMPAIGN, data) for data in (there, text))
        if isinstance(one, dict):
            differs = ", ".join(
                f"{name} {json.dumps(one.get(name))[:80]}, not {json.dumps(value)[:80]}"
                for name, value in other.items() if one.get(name) != value
            ) or differs  # fmt: skip
    if at_once:
        return (
            f"{folder}: another campaign was started in this folder at the same time ({differs}); "
            f"nothing was written for this one; name another folder"
        )
    return (
        f"{folder / CAMPAIGN} is of another campaign ({differs}); name another folder, or remove "
        f"this one"
    )


def missing(folder: StrPath) -> tuple[str, ...]:
    """The cases of a campaign that are not in its folder, as ``suite/case``, in its order.

    Raises:
        FileFormatError, FileAccessError: as for :meth:`Campaign.load`.
    """
    folder = Path(folder)
    return tuple(
        f"{suite}/{name}"
        for suite, name in Campaign.load(folder).names()
        if not exists(f"{folder}/{suite}/{name}/{MANIFEST}")
    )


def campaigns(path: StrPath) -> Iterator[Path]:
    """The folders of campaigns below a folder, or the folder itself, sorted by name.

    Raises:
        FileAccessError: the system refuses.
    """
    for folder, is_case in walk(path):
        if not is_case and exists(f"{folder}/{CAMPAIGN}"):
            yield folder
