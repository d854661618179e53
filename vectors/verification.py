"""Verify cases: made again from their manifests, byte for byte; and the proof that it can fail."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import tee
from pathlib import Path
from typing import Literal

from cube24.errors import CheckFailedError, Cube24Error, StrPath
from cube24.sizes import whole
from cube24.vectors import damage, place, plain, processes
from cube24.vectors.build import build
from cube24.vectors.manifest import MANIFEST, Stored, check_files, files_of, glance, load
from cube24.vectors.rng import SplitMix64, stream_seed
from cube24.vectors.spec import Item
from cube24.version import __version__


class VerifyError(CheckFailedError):
    """A case that is not what its manifest gives; the message names the file and the byte."""


def again(stored: Stored, known: Mapping[str, tuple[bytes, str]] | None = None) -> dict[str, bytes]:
    """The files of a case, made again from its manifest alone.

    Two things may change from version to version of the package: the model of time, and what is
    counted as covered. For a case of another version, cycles.json and the list of bins are taken
    over as they are; every number that a device reads or must give is made again.

    Args:
        stored: the case. known: as for :func:`files_of`.

    Raises:
        Cube24Error: its spec is impossible.
        MismatchError: the unit and the dense computation disagree.
    """
    of = stored.manifest
    item = Item(of["case"], of["spec"], tuple(of["tags"]))
    with stored.explained("spec"):
        case = build(
            of["suite"], of["suite_version"], item, of["random"]["campaign_seed"], stored.style
        )
        if of["package"] == __version__:
            return files_of(case, known=known)
        cycles = stored.checked(stored.entries("cycles")[0])
        return files_of(replace(case, bins=tuple(of["coverage"])), of["package"], cycles)


def verify(folder: StrPath) -> Stored:
    """Verify one case: schema, files, checksums, counts, and every byte made again.

    In a case that another version of the package made, cycles.json and the bins of coverage are
    held to their checksums only.

    Raises:
        FileFormatError: the manifest or a file is not what it should be.
        VerifyError: a file differs from what the manifest gives, or a negative case does not give
            its error.
        FileAccessError: the system refuses; a ScratchError if it was not a file of the case.
    """
    stored = _unchanged(Path(folder)) or _demand_unchanged(folder)
    outcome = stored.manifest["outcome"]
    if stored.entries("bad"):
        error_name = damage.provoked(stored)
        if error_name != outcome.get("error"):
            raise VerifyError(
                f"{stored.folder}: gives {error_name or 'no error'}, not {outcome.get('error')}"
            )
    return stored


def _unchanged(folder: Path) -> Stored | None:
    """A case of which every byte is made again the same; None: it has to be looked at closely."""
    if (found := glance(folder)) is None:
        return None
    stored, held = found
    with suppress(Cube24Error):
        made = again(stored, held)
        if made.keys() == held.keys() and all(made[name] == of for name, (of, _) in held.items()):
            return stored
    return None


def _demand_unchanged(folder: StrPath) -> Stored:
    """The same by all rules, one after the other, so that what is wrong can be told."""
    stored = load(folder)
    held = check_files(stored)
    held[MANIFEST] = plain.read(stored.folder, MANIFEST)
    try:
        files = again(stored)
    except Cube24Error as error:
        if plain.is_no_verdict(error):
            raise
        raise VerifyError(f"{stored.folder}: cannot be made again: {error}") from error
    for name, expected in files.items():
        if name not in held:
            raise VerifyError(
                f"{stored.folder / name}: belongs to this case and is not in its manifest"
            )
        if held[name] != expected:
            raise VerifyError(f"{stored.folder / name}: {_difference(held[name], expected)}")
    if extra := held.keys() - files.keys():
        raise VerifyError(f"{stored.folder}: {sorted(extra)[0]} does not belong to this case")
    return stored


def _difference(got: bytes, expected: bytes) -> str:
    for at, (one, other) in enumerate(zip(got, expected, strict=False)):
        if one != other:
            return f"byte {at} is {one:#04x}, made again it is {other:#04x}"
    return f"has {len(got)} bytes, made again it has {len(expected)}"


@dataclass(frozen=True)
class Mutations:
    """What flipped bits did: how many were flipped, and which of them were not noticed."""

    flipped: int
    missed: tuple[str, ...]


def mutate(folder: StrPath, bits: int | None = 64) -> Mutations:
    """Flip single bits in each file of a copy of a case; each must make ``verify`` fail.

    Args:
        folder: of the case, which stays as it is.
        bits: how many of each file, drawn from the seed of the case; None: all.

    Raises:
        ArgumentError: bits is no whole number, or below 0.
        FileFormatError: the folder holds something that its manifest does not name.
        FileAccessError: the system refuses; a ScratchError if it was the copy.
    """
    bits = None if bits is None else whole(bits, "bits")
    flipped, missed = 0, []
    stored = load(folder)
    check_files(stored)
    names = [MANIFEST, *(entry["name"] for entry in stored.manifest["files"])]
    files = {name: plain.read(stored.folder, name) for name in names}
    with plain.scratch() as scratch:
        copy = scratch / "case"
        place.write_folder(copy, files)
        for name, good in files.items():
            for bit in _bits(stored.seed, name, 8 * len(good), bits):
                bad = bytearray(good)
                bad[bit // 8] ^= 1 << bit % 8
                (copy / name).write_bytes(bad)
                flipped += 1
                try:
                    verify(copy)
                except Cube24Error as error:
                    if plain.is_no_verdict(error):
                        raise
                    continue
                missed.append(f"{name} bit {bit}")
            (copy / name).write_bytes(good)
    return Mutations(flipped, tuple(missed))


@dataclass(frozen=True)
class Verification:
    """What there is to say of a case.

    Attributes: folder; kind: ``good``, ``bad`` (it is not what its manifest gives) or ``unknown``
    (it could not be looked at); message, of which is not good; mutations, of which bits were
    flipped.
    """

    folder: Path
    kind: Literal["good", "bad", "unknown"]
    message: str = ""
    mutations: Mutations = Mutations(0, ())


def verify_many(
    folders: Iterable[StrPath], *, workers: int = 1, bits: int | None = 0
) -> Iterator[Verification]:
    """Verify cases, each whatever is wrong with others; gives what is found in their order.

    Args:
        folders: of the cases.
        workers: processes on this machine; what is found is the same.
        bits: how many to flip in each file of a good case, as for :func:`mutate`; None: all.

    Raises:
        ArgumentError: workers is no number from 1 to 4096, or bits none from 0 on.
        WorkerError: a worker was killed.
    """
    workers = whole(workers, "workers", 1, 4096)
    bits = None if bits is None else whole(bits, "bits")
    look = partial(_look, bits=bits)
    sent, named = tee(map(Path, folders))
    # To send a path, and back what there is to say of nearly all, takes longer than to make them.
    texts = map(str, sent)
    said: Iterator[Verification | None] = map(look, texts)
    if workers > 1:
        said = processes.in_order(look, texts, workers, lot=_LOT if bits == 0 else 1)
    return (found or Verification(case, "good") for found, case in zip(said, named, strict=False))


#: Cases that a worker is sent at once: each takes milliseconds, unless bits are flipped.
_LOT = 16


def _look(text: str, bits: int | None) -> Verification | None:
    """What is found of the case in a folder; None: it is good. bits: as for :func:`verify_many`."""
    folder = Path(text)
    try:
        verify(folder)
        if bits == 0:
            return None
        done = mutate(folder, bits)
    except MemoryError:
        return Verification(folder, "unknown", f"{folder}: not enough memory to make it again")
    except Cube24Error as error:
        return Verification(folder, "unknown" if plain.is_no_verdict(error) else "bad", str(error))
    return Verification(folder, "good", mutations=done)


def _bits(seed: int, name: str, total: int, count: int | None) -> list[int]:
    if count is None or count >= total:
        return list(range(total))
    drawn = SplitMix64(stream_seed(seed, f"mutate/{name}")).below(total, count)
    return sorted({int(bit) for bit in drawn})
