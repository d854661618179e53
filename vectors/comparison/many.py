"""Compare a folder of dumps with a folder of cases: one outcome for each case."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cube24.errors import Cube24Error, StrPath
from cube24.files import is_folder, listing
from cube24.vectors.comparison.junit import Outcome
from cube24.vectors.comparison.report import Comparison, compare
from cube24.vectors.files import READABLE, SUFFIXES
from cube24.vectors.manifest import folders, load

#: The stem of a dump in a folder of its own.
_GOT = "got"


def compare_many(
    cases: StrPath,
    dumps: StrPath,
    *,
    format: str | None = None,
    word_bytes: int | None = None,
    order: str | None = None,
) -> Iterator[tuple[Outcome, Comparison | None]]:
    """Compare each case below a folder with its dump below another one.

    The dump of the case ``cases/a/b`` is ``dumps/a/b`` with the suffix of its format, or
    ``dumps/a/b/got`` with it. Whatever is wrong with one of them keeps no other from being
    compared.

    Args:
        cases: a folder with cases below it.
        dumps: a folder with dumps below it, as said.
        format: of the dumps; None: as their suffixes say. Where it is given, any suffix will do
            if there is none with its own.
        word_bytes: as for :func:`compare`.
        order: as for :func:`compare`.

    Yields:
        The outcome of each case, in the order of their names, and the comparison if there is one.

    Raises:
        FileFormatError: there is no case.
        FileAccessError: the system does not list the cases.
    """
    root, listed = Path(dumps), _Listed()
    for folder in folders(cases):
        name = f"{folder.parent.name}/{folder.name}"
        seed = None
        try:
            stored = load(folder)
            name, seed = stored.name, stored.seed
            if not stored.entries("expected"):
                error = stored.manifest["outcome"].get("error")
                about = f"has no result to compare with; a device must refuse it ({error})"
                yield Outcome(name, seed, "skipped", about, about), None
                continue
            place = root / folder.relative_to(cases)
            there = _dumps(listed, place, format)
            if not there:
                suffixes = "any suffix" if format else ", ".join(SUFFIXES[one] for one in READABLE)
                about = f"no dump: neither {place} nor {place / _GOT} with {suffixes}"
                yield Outcome(name, seed, "missing", about, about), None
            elif len(there) > 1:
                about = f"several dumps: {', '.join(map(str, there))}"
                yield Outcome(name, seed, "error", about, about), None
            else:
                found = compare(stored, there[0], format=format, word_bytes=word_bytes, order=order)
                yield found.outcome, found
        except Cube24Error as error:
            yield Outcome(name, seed, "error", str(error), str(error)), None


class _Listed(dict[Path, dict[str, list[Path]]]):
    """What is in a folder by its stems; each folder is listed once, however many cases it has."""

    def __missing__(self, folder: Path) -> dict[str, list[Path]]:
        found: dict[str, list[Path]] = {}
        for path in listing(folder) if is_folder(folder) else ():
            found.setdefault(path.stem, []).append(path)
        self[folder] = found
        return found


def _dumps(listed: _Listed, place: Path, format: str | None) -> list[Path]:
    """The dumps that a case has."""
    suffixes = {SUFFIXES[one] for one in READABLE} if format is None else {SUFFIXES.get(format)}
    there = [
        path
        for folder, stem in ((place.parent, place.name), (place, _GOT))
        for path in listed[folder].get(stem, ())
        if path.suffix and not is_folder(path)
    ]
    found = [path for path in there if path.suffix.lower() in suffixes]
    return there if format is not None and not found else found
