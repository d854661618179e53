"""The folder of a case: a manifest and the files that it names, written and read strictly."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cube24.errors import FileAccessError, FileFormatError, StrPath
from cube24.files import read_bytes
from cube24.vectors import schema
from cube24.vectors.case import Array, Case, CaseArray
from cube24.vectors.files import SUFFIXES, CaseStyle, digest, payload_of, read, render, words_of
from cube24.vectors.rng import PRNG, shown
from cube24.vectors.spec import Spec
from cube24.vectors.steps import steps_of
from cube24.version import __version__

MANIFEST = "manifest.json"
CYCLES = "cycles.json"
SCHEMA = "cube24-case-1"


def files_of(
    case: Case, package: str = __version__, cycles: bytes | None = None
) -> dict[str, bytes]:
    """All files of the folder of a case by name, the manifest last.

    Args:
        case: the case.
        package: the version that stands in the files.
        cycles: what cycles.json holds; None: the time of the run.
    """
    files: dict[str, bytes] = {}
    entries = []

    def add(name: str, role: str, piece: CaseArray) -> None:
        for format_ in case.style.formats:
            full = name + SUFFIXES[format_]
            payload = payload_of(piece.array)
            header = {
                "name": f"{case.suite}/{case.name}/{full}",
                "role": role,
                "dtype": piece.array.dtype.name,
                "shape": "x".join(map(str, piece.array.shape)),
                "layout": piece.layout,
                "words": words_of(len(payload), case.style),
                "seed": shown(case.seed),
                "sha256": digest(payload),
                "cube24": package,
            }
            files[full] = render(piece.array, format_, case.style, header)
            entries.append(
                {
                    "name": full,
                    "role": role,
                    "format": format_,
                    "dtype": piece.array.dtype.name,
                    "shape": list(piece.array.shape),
                    "layout": piece.layout,
                    "bits_per_word": 8 * case.style.word_bytes,
                    "words": words_of(len(payload), case.style),
                    "order": case.style.order,
                    "sha256": digest(files[full]),
                }
            )

    for role, piece in case.pieces.items():
        add(role, role, piece)
    for name, step in (steps_of(case) if case.style.steps else {}).items():
        if isinstance(step, CaseArray):
            add(name, "step", step)
        else:
            files[name] = step
            entries.append(_plain(name, "step", "json", step))
    cycles = json_text(cycles_of(case)) if cycles is None else cycles
    files[CYCLES] = cycles
    entries.append(_plain(CYCLES, "cycles", "json", cycles))
    for name, data in case.extra.items():
        files[name] = data
        entries.append(_plain(name, "bad", "bin", data))
    files[MANIFEST] = sealed(
        {
            "schema": SCHEMA,
            "package": package,
            "suite": case.suite,
            "suite_version": case.suite_version,
            "case": case.name,
            "tags": list(case.tags),
            "unit": {"name": case.unit.name, "sha256": digest(case.unit.to_toml().encode())},
            "spec": case.spec,
            "random": {
                "prng": PRNG,
                "campaign_seed": case.campaign_seed,
                "case_seed": shown(case.seed),
            },
            "style": {**asdict(case.style), "formats": list(case.style.formats)},
            "files": entries,
            "coverage": list(case.bins),
            "outcome": case.outcome,
        }
    )
    return files


def sealed(of: Mapping[str, Any]) -> bytes:
    """A manifest with the SHA-256 of itself without this line, so that no field can change."""
    return json_text({**of, "sha256": digest(json_text(of))})


_sealed = sealed  # its name in scripts of before it was public


def write(case: Case, folder: StrPath) -> None:
    """Write the files of a case into a new folder.

    Raises:
        FileAccessError: it is there already, or the system refuses.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True)
        for name, data in files_of(case).items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(data)
    except OSError as error:
        raise FileAccessError.from_os(folder, "write", error) from error


def _plain(name: str, role: str, format_: str, data: bytes) -> dict[str, Any]:
    """The entry of a file that holds no array."""
    return {
        "name": name,
        "role": role,
        "format": format_,
        "dtype": "json" if format_ == "json" else "uint8",
        "shape": [] if format_ == "json" else [len(data)],
        "layout": "none",
        "bits_per_word": 8,
        "words": len(data),
        "order": "little",
        "sha256": digest(data),
    }


def cycles_of(case: Case) -> dict[str, Any]:
    """What cycles.json holds: the time of the unit, which informs and is not compared."""
    pipes = {
        name: {"busy": account.busy, "waiting": account.waiting, "idle": account.idle}
        for name, account in case.run.pipes.items()
    }
    return {"unit": case.unit.name, "cycles": case.run.cycles, "pipes": pipes}


def json_text(value: Mapping[str, Any]) -> bytes:
    """JSON with a line for each name, and for each object of a list: short, and good to compare."""
    lines = []
    for name, item in value.items():
        text = json.dumps(item)
        if isinstance(item, list) and item and isinstance(item[0], dict):
            text = "[\n  " + ",\n  ".join(map(json.dumps, item)) + "\n ]"
        lines.append(f" {json.dumps(name)}: {text}")
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


@dataclass(frozen=True, eq=False)
class Stored:
    """A case on disk: its folder, and its manifest, which follows the schema."""

    folder: Path
    manifest: Mapping[str, Any]

    @property
    def spec(self) -> Spec:
        """What the case is made from."""
        found: Spec = self.manifest["spec"]
        return found

    @property
    def name(self) -> str:
        """``suite/case``."""
        return f"{self.manifest['suite']}/{self.manifest['case']}"

    @property
    def seed(self) -> int:
        """The seed of the case."""
        return int(self.manifest["random"]["case_seed"], 16)

    @property
    def style(self) -> CaseStyle:
        """How its files are written."""
        given = self.manifest["style"]
        return CaseStyle(**{**given, "formats": tuple(given["formats"])})

    def entries(self, role: str) -> list[Mapping[str, Any]]:
        """The files of a role, as the manifest lists them."""
        return [entry for entry in self.manifest["files"] if entry["role"] == role]

    def array(self, role: str) -> Array:
        """The array of a role, from the first of its files that can be read.

        Raises:
            FileFormatError: no such file, or it is not what the manifest says.
            FileAccessError: the system refuses.
        """
        for entry in self.entries(role):
            if entry["format"] in ("npy", "hex", "bin"):
                return self._read(entry)
        raise FileFormatError(self.folder / MANIFEST, f"names no file of {role} that can be read")

    def _read(self, entry: Mapping[str, Any]) -> Array:
        path, shape = self.folder / entry["name"], tuple(entry["shape"])
        dtype = np.dtype(entry["dtype"])
        return read(path, entry["format"], dtype, shape, self.style)


def load(folder: StrPath) -> Stored:
    """Open the folder of a case.

    Raises:
        FileFormatError: the manifest is no JSON, does not follow its schema, or names a file twice.
        FileAccessError: the system refuses.
    """
    folder = Path(folder)
    path = folder / MANIFEST
    data = read_bytes(path)
    try:
        manifest = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise FileFormatError(path, f"no readable JSON: {error}") from error
    if found := schema.problem(manifest, schema.load("case-1")):
        raise FileFormatError(path, found)
    seal = {name: value for name, value in manifest.items() if name != "sha256"}
    if digest(json_text(seal)) != manifest["sha256"]:
        raise FileFormatError(path, "its SHA-256 is not that of its other fields: it was changed")
    names = [entry["name"] for entry in manifest["files"]]
    if len(set(names)) != len(names):
        raise FileFormatError(path, "names a file twice")
    return Stored(folder, manifest)


def check_files(stored: Stored) -> None:
    """Compare the files of a folder with the manifest: all there, nothing else, right checksums.

    Raises:
        FileFormatError: a file that is missing, unknown, or has another checksum.
        FileAccessError: the system refuses.
    """
    for entry in stored.manifest["files"]:
        path = stored.folder / entry["name"]
        if digest(read_bytes(path)) != entry["sha256"]:
            raise FileFormatError(path, "its SHA-256 is not that of the manifest")
    known = {MANIFEST, *(entry["name"] for entry in stored.manifest["files"])}
    there = {
        str(path.relative_to(stored.folder)) for path in stored.folder.rglob("*") if path.is_file()
    }
    if unknown := sorted(there - known):
        raise FileFormatError(stored.folder / unknown[0], "is not in the manifest")


def folders(path: StrPath) -> Iterator[Path]:
    """The cases below a folder, or the folder itself, one by one, sorted by name.

    What a killed campaign left, in folders with a dot before their names, is passed over.

    Raises:
        FileFormatError: there is none.
        FileAccessError: the system refuses.
    """
    root, found = Path(path), False
    if root.is_dir():
        for folder in _walk(root):
            found = True
            yield folder
    if not found:
        raise FileFormatError(root, f"holds no case: there is no {MANIFEST} below it")


def _walk(folder: Path) -> Iterator[Path]:
    try:
        if (folder / MANIFEST).is_file():
            yield folder  # and nothing in it: the damaged copy of a negative case is none
            return
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError as error:
        raise FileAccessError.from_os(folder, "read", error) from error
    for name in names:
        if not name.startswith("."):
            yield from _walk(folder / name)
