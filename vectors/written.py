"""Put a case of a campaign where it belongs, and replace nothing there that is the user's.

A case that is there and whole is kept. A broken one, and in a campaign's own folder another one, is
replaced if all that stands in its folder are files of a case; what its manifest does not name was
not written here and is never deleted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from cube24.errors import FileAccessError, FileFormatError
from cube24.files import exists, listing
from cube24.simulator import MismatchError
from cube24.vectors import place, plain, suites
from cube24.vectors.build import build
from cube24.vectors.description import Campaign, CampaignMismatchError
from cube24.vectors.manifest import check_sums, files_of, load, strays
from cube24.vectors.onnx_layers import OnnxLayer, is_of_prefix
from cube24.vectors.rng import case_seed
from cube24.vectors.spec import Item


def write_case(
    target: Path, suite: str, item: Item, campaign: Campaign, *, replace: bool = True
) -> int:
    """Write one case, unless it is there already; gives 1 if it was written.

    A case that is there and is broken, or is another one, is replaced. What else stands in its
    folder is the user's: beside a whole case it stays, and a case is not replaced over it.

    Args:
        target: the folder of the case. suite, item: the case. campaign: whose it is.
        replace: whether another or a broken case there is replaced; else it is refused.

    Raises:
        CampaignMismatchError, FileAccessError: as for :func:`generate`.
    """
    there = exists(target)
    if there and is_whole(target, suite, item, campaign):
        return 0
    if there and not replace:
        raise FileAccessError(
            target, "is there already, and is not this case or not whole; name another folder"
        )
    try:
        style = suites.style_of(suite, campaign.style)
        case = build(suite, suites.SUITES[suite][0], item, campaign.seed, style)
    except MismatchError as error:
        raise CampaignMismatchError(f"{suite}/{item.name}: {error}") from error
    files = files_of(case)
    for _ in range(_TRIED):
        if there and exists(target):
            if is_whole(target, suite, item, campaign):
                return 0  # another process was faster
            demand_ours(target, files)
            _remove(target, suite, item, campaign, files)
        if place.put(files, target):
            return 1
        there = True
    raise FileAccessError(
        target, "other processes write another case there at the same time; name another folder"
    )


#: How often a case is put in its place: each time another process may be faster.
_TRIED = 8


def demand_ours(target: Path, files: Mapping[str, bytes]) -> None:
    """Refuse to replace a folder that holds anything but the files of a case.

    Args:
        target: the folder.
        files: of the case that shall stand there: their names are ours, as are those of the
            manifest that is there.

    Raises:
        FileAccessError: there is something else; the message names it.
    """
    if not plain.is_plain_folder(target):
        raise FileAccessError(target, "is there already and is no folder; name another one")
    known = set(files)
    with suppress(FileFormatError, FileAccessError):
        known |= {entry["name"] for entry in load(target).manifest["files"]}
    for path in strays(target, known):
        raise FileAccessError(
            path, "is no file of the case in this folder, which cannot be replaced over it; move "
            "it away, or name another folder"
        )  # fmt: skip


def _remove(
    target: Path, suite: str, item: Item, campaign: Campaign, files: Mapping[str, bytes]
) -> None:
    """Remove a folder that is to be replaced; it stays if it is not what it was a moment ago."""
    aside = place.part_of(target)
    try:
        target.rename(aside)
    except FileNotFoundError:
        return  # by another process
    except OSError as error:
        raise FileAccessError.from_os(target, "replace", error) from error
    # Looked at again, where nobody else knows its name: whole, or with a file of the user's.
    try:
        stays = is_whole(aside, suite, item, campaign)
        demand_ours(aside, files)
    except FileAccessError:
        with suppress(OSError):
            aside.rename(target)
        raise
    if stays:
        with suppress(OSError):
            aside.rename(target)
    place.remove(aside)


def is_whole(target: Path, suite: str, item: Item, campaign: Campaign) -> bool:
    """Whether the case is there, whole, and this one; other files beside it do not matter."""
    if not plain.is_plain_folder(target):
        return False
    try:
        stored = load(target)
        check_sums(stored)
    except (FileFormatError, FileAccessError) as error:
        if isinstance(error, FileAccessError) and plain.is_no_verdict(error):
            raise
        return False
    of = stored.manifest
    return bool(
        of["suite"] == suite
        and of["case"] == item.name
        and of["spec"] == item.spec
        and stored.style == suites.style_of(suite, campaign.style)
        and stored.seed == case_seed(campaign.seed, suite, item.name)
    )


def demand_same(folder: Path, prefix: str, layers: Iterable[OnnxLayer], campaign: Campaign) -> None:
    """Refuse a folder with cases of another model under the same prefix.

    Args:
        folder: of the suite; it need not be there.
        prefix: of the names of the cases. layers: of the model. campaign: seed and style.

    Raises:
        FileAccessError: a case that is there is none of the model, or is another one.
    """
    there = {path.name for path in listing(folder)} if exists(folder) else set()
    if not (there := {name for name in there if is_of_prefix(name, prefix)}):
        return
    for item in (item for layer in layers for item in layer.items):
        if item.name in there and not is_whole(folder / item.name, "network", item, campaign):
            raise FileAccessError(
                folder / item.name, "is there already, and is another case or not whole: of "
                "another model, size, seed or style; name another folder or --prefix"
            )  # fmt: skip
        there.discard(item.name)
    for name in sorted(there):
        raise FileAccessError(
            folder / name, "is there already, and is no case of this model; name another folder or "
            "--prefix"
        )  # fmt: skip
