"""The folder of a case: a manifest and the files that it names, written and read strictly.

A folder may come from anybody. ``load`` gives a case whose every field is what the code behind
relies on, or says which one is not; after it nobody looks at a manifest with suspicion again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from cube24.errors import Cube24Error, FileAccessError, FileFormatError, StrPath, check_path
from cube24.files import asked, exists, is_folder
from cube24.sizes import shortened
from cube24.vectors import bench, described, place, plain, schema, spec_check, strict_json
from cube24.vectors.case import Array, Case, CaseArray
from cube24.vectors.files import SUFFIXES, CaseStyle, digest, payload_of, read, render, words_of
from cube24.vectors.rng import PRNG, shown
from cube24.vectors.spec import Spec, unit_digest
from cube24.vectors.steps import places_of, steps_of
from cube24.version import __version__

MANIFEST = "manifest.json"
CYCLES = "cycles.json"
#: The schema of a manifest, by its version.
SCHEMAS = {1: "cube24-case-1", 2: "cube24-case-2"}


def files_of(
    case: Case,
    package: str = __version__,
    cycles: bytes | None = None,
    known: Mapping[str, tuple[bytes, str]] | None = None,
) -> dict[str, bytes]:
    """All files of the folder of a case by name, the manifest last.

    Args:
        case: the case.
        package: the version that stands in the files.
        cycles: what cycles.json holds; None: the time of the run.
        known: bytes of files, with their SHA-256, which need not be computed of the same bytes.
    """
    files: dict[str, bytes] = {}
    entries: list[dict[str, Any]] = []
    seed, style = shown(case.seed), case.style
    described_too = style.manifest > 1
    addresses = bench.addresses(case) if style.bench else {}

    def summed_up(name: str, data: bytes) -> str:
        """Take a file, or what is known and the same, so that nobody need compare it again."""
        held = known.get(name) if known else None
        files[name], summed = held if held is not None and held[0] == data else (data, digest(data))
        return summed

    def add(name: str, role: str, piece: CaseArray, step: Mapping[str, Any] | None = None) -> None:
        payload = payload_of(piece.array)
        summed = digest(payload)
        for format_ in style.formats:
            full = name + SUFFIXES[format_]
            if described_too:
                of = "" if step is None else step["image"]
                entry = described.array(full, role, format_, piece, style, summed, of)
            else:
                entry = _entry(full, role, format_, piece, style)
            # No other format has comments.
            header = _header(case, entry, package, summed) if format_ == "hex" else {}
            data = render(piece.array, format_, style, header, role, payload)
            entries.append({**entry, "sha256": summed_up(full, data), **_place(step)})
            if (role, piece.layout) in addresses:
                entries[-1]["address"] = addresses[role, piece.layout]

    def add_plain(name: str, role: str, format_: str, data: bytes) -> None:
        entries.append(_plain(name, role, format_, data, summed_up(name, data)))

    for role, piece in case.pieces.items():
        add(role, role, piece)
    for name, piece in (described.other_layout(case) if style.both_layouts else {}).items():
        add(name, name.partition("-")[0], piece)
    places = places_of(case) if style.steps and described_too else {}
    for name, step in (steps_of(case) if style.steps else {}).items():
        if isinstance(step, CaseArray):
            add(name, "step", step, places.get(name))
        else:
            add_plain(name, "step", "json", step)
    cycles = json_text(cycles_of(case)) if cycles is None else cycles
    add_plain(CYCLES, "cycles", "json", cycles)
    for name, data in (bench.files(case, entries) if style.bench else {}).items():
        add_plain(name, "bench", "text", data)
    for name, data in case.extra.items():
        add_plain(name, "bad", "bin", data)
    unit: dict[str, Any] = {"name": case.unit.name, "sha256": unit_digest(case.spec)}
    files[MANIFEST] = sealed(
        {
            "schema": SCHEMAS[style.manifest],
            "package": package,
            "suite": case.suite,
            "suite_version": case.suite_version,
            "case": case.name,
            "tags": list(case.tags),
            "unit": described.unit(case) if described_too else unit,
            "spec": case.spec,
            **({"layer": described.layer(case)} if described_too else {}),
            "random": {
                "prng": PRNG,
                "campaign_seed": case.campaign_seed,
                "case_seed": seed,
            },
            "style": style.to_dict(),
            "files": entries,
            "coverage": list(case.bins),
            "outcome": case.outcome,
        }
    )
    return files


@lru_cache
def _name(dtype: np.dtype[Any]) -> str:
    """Its name, which NumPy makes anew each time."""
    return dtype.name


def _entry(
    name: str, role: str, format_: str, piece: CaseArray, style: CaseStyle
) -> dict[str, Any]:
    """The entry of a file of an array in version 1, without its checksum."""
    array = piece.array
    return {
        "name": name, "role": role, "format": format_, "dtype": _name(array.dtype),
        "shape": list(array.shape), "layout": piece.layout, "bits_per_word": 8 * style.word_bytes,
        "words": words_of(array.nbytes, style), "order": style.order,
    }  # fmt: skip


def _header(case: Case, entry: Mapping[str, Any], package: str, summed: str) -> dict[str, object]:
    """What stands in the comments of a file; summed: the SHA-256 of its array."""
    if case.style.manifest > 1:
        return described.header(case, entry, package)
    return {
        "name": f"{case.suite}/{case.name}/{entry['name']}", "role": entry["role"],
        "dtype": entry["dtype"], "shape": "x".join(map(str, entry["shape"])),
        "layout": entry["layout"], "words": entry["words"], "seed": shown(case.seed),
        "sha256": summed, "cube24": package,
    }  # fmt: skip


def _place(step: Mapping[str, Any] | None) -> dict[str, Any]:
    """What the entry of a step says beside that of any array."""
    return {} if step is None else {"step": dict(step)}


def seal_of(manifest: Mapping[str, Any]) -> str:
    """The name of the line with the checksum of the manifest itself, which is the last one.

    In version 2 ``sha256`` is always that of a file, so there it has another name.
    """
    return "seal" if "layer" in manifest else "sha256"


def sealed(of: Mapping[str, Any]) -> bytes:
    """A manifest with the SHA-256 of itself without this line, so that no field can change."""
    text = json_text(of)
    return text.removesuffix(_END) + f',\n "{seal_of(of)}": "{digest(text)}"'.encode() + _END


#: The end of a manifest, before which its own checksum comes.
_END = b"\n}\n"


_sealed = sealed  # its name in scripts of before it was public


def write(case: Case, folder: StrPath) -> None:
    """Write the files of a case into a new folder, whole or not at all.

    Raises:
        FileAccessError: it is there already, or the system refuses.
    """
    folder = Path(folder)
    if not place.put(files_of(case), folder):
        raise FileAccessError(folder, "is there already; name another one")


def _plain(name: str, role: str, format_: str, data: bytes, summed: str) -> dict[str, Any]:
    """The entry of a file that holds no array."""
    return {
        "name": name,
        "role": role,
        "format": format_,
        "dtype": "uint8" if format_ == "bin" else format_,
        "shape": [len(data)] if format_ == "bin" else [],
        "layout": "none",
        "bits_per_word": 8,
        "words": len(data),
        "order": "little",
        "sha256": summed,
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
        if isinstance(item, list) and item and isinstance(item[0], dict):
            text = f"[\n  {_line_each(item, _encode(item))}\n ]"
        elif isinstance(item, list) and item and {*map(type, item)} == {str}:
            text = _texts(item)
        else:
            text = _encode(item)
        lines.append(f" {_encode_name(name)}: {text}")
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def _texts(items: list[str]) -> str:
    """A list of texts, hundreds of bins: most of them stand in JSON as they are."""
    text = '", "'.join(items)
    as_they_are = text.isascii() and text.isprintable() and "\\" not in text
    if as_they_are and text.count('"') == 2 * (len(items) - 1):
        return f'["{text}"]'
    return _encode(items)


def _line_each(items: list[Any], text: str) -> str:
    """The objects of a list of them, a line for each; text: of the list, encoded at once."""
    if text.count("}, {") == len(items) - 1 and all(type(item) is dict for item in items):
        return text[1:-1].replace("}, {", "},\n  {")
    return ",\n  ".join(map(_encode, items))  # it stands in one of them, too


def _encoder() -> Callable[[Any], str]:
    """What json.dumps is, which makes an encoder for each value, where Python has one in C."""
    of = json.JSONEncoder()
    try:
        pieces = json.encoder.c_make_encoder(  # type: ignore[attr-defined]
            None, of.default, json.encoder.encode_basestring_ascii, None, of.key_separator,
            of.item_separator, of.sort_keys, of.skipkeys, of.allow_nan,
        )  # fmt: skip
    except (AttributeError, TypeError):  # no promise of the library
        return json.dumps
    return lambda value: "".join(pieces(value, 0))


_encode = _encoder()
_encode_name = lru_cache(_encode)


@lru_cache
def _style(text: str, version: int) -> CaseStyle:
    """The style of this JSON, which all cases of a campaign have."""
    return CaseStyle.of(json.loads(text), version)


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

    @cached_property
    def style(self) -> CaseStyle:
        """How its files are written."""
        version = version_of(self.folder, self.manifest)
        return _style(_encode(self.manifest["style"]), version)

    def demand_possible(self) -> None:
        """Refuse a style or spec that follows the schema and gives no case.

        Raises:
            FileFormatError: as said; the message names the field.
        """
        try:
            with self.explained("style"):
                _ = self.style
            with self.explained("spec"):
                spec_check.check(self.spec)
        except FileFormatError:
            raise
        except Cube24Error as error:
            raise FileFormatError(self.folder / MANIFEST, str(error)) from error

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
        path, shape = plain.demand_plain(self.folder, entry["name"]), tuple(entry["shape"])
        dtype = np.dtype(entry["dtype"])
        return read(path, entry["format"], dtype, shape, self.style, entry["role"])

    def checked(self, entry: Mapping[str, Any]) -> bytes:
        """The bytes of one of its files, which have the checksum of the manifest.

        Raises:
            FileFormatError: they have another one, or it is no plain file.
            FileAccessError: it is not there, or the system refuses.
        """
        data = plain.read(self.folder, entry["name"])
        if digest(data) != entry["sha256"]:
            path = self.folder / entry["name"]
            raise FileFormatError(path, "its SHA-256 is not that of the manifest")
        return data

    @contextmanager
    def explained(self, what: str) -> Iterator[None]:
        """Tell what the code in this block cannot do with the case as a fault of its manifest.

        ``load`` refuses what is known to give no case. For what is not known yet an error of Python
        becomes one of the file, so that no case of a folder keeps others from being looked at.

        Args:
            what: of the case is used, to begin the message with, such as ``spec``.

        Raises:
            FileFormatError: as said. Errors of ours, and a lack of memory, stay what they are.
        """
        try:
            yield
        except Cube24Error:
            raise
        except _UNFORESEEN as error:
            said = f"{type(error).__name__}: {error}"[:300]
            raise FileFormatError(
                self.folder / MANIFEST, f"{what} gives no case: {said}"
            ) from error


#: What the code that makes a case may raise where a field is not what it takes it for.
_UNFORESEEN = (
    ArithmeticError, AssertionError, AttributeError, LookupError, RecursionError, TypeError,
    ValueError,
)  # fmt: skip


def load(folder: StrPath) -> Stored:
    """Open the folder of a case.

    Raises:
        FileFormatError: the manifest is no JSON, does not follow its schema, was changed, or has a
            field that gives no case; the message names it.
        NotPlainError: the manifest, or a file that it names, is a link, FIFO, socket or device.
        FileAccessError: the system refuses.
    """
    folder = Path(folder)
    path = folder / MANIFEST
    manifest = strict_json.parse(path, plain.read(folder, MANIFEST))
    version = version_of(path, manifest)
    if found := schema.fault(manifest, f"case-{version}"):
        raise FileFormatError(path, found)
    name = seal_of(manifest)
    if digest(json_text({at: of for at, of in manifest.items() if at != name})) != manifest[name]:
        raise FileFormatError(path, "its SHA-256 is not that of its other fields: it was changed")
    stored = Stored(folder, manifest)
    stored.demand_possible()
    if found := _problem(manifest):
        raise FileFormatError(path, found)
    # Also those that the caller is not going to read.
    plain.demand_all_known(folder, [entry["name"] for entry in manifest["files"]])
    return stored


def glance(folder: Path) -> tuple[Stored, dict[str, tuple[bytes, str]]] | None:
    """A case of this version that can be made again, and its files; None: not at a glance.

    For those who make a case again and compare each byte, the manifest's own too: what it says of
    its files and bins, which is most of it, they need not ask here. Nobody else may rely on it.

    Returns:
        The case, and its files by name with their SHA-256; of the manifest nobody needs it.

    Raises:
        MemoryError: it is too large.
    """
    with suppress(Cube24Error, *_UNFORESEEN):  # load tells what is wrong
        data = plain.read(folder, MANIFEST)
        manifest = json.loads(data.decode())
        outline = {**manifest, "files": manifest["files"][:1], "coverage": []}
        body, _, _ = data.rpartition(f',\n "{seal_of(manifest)}": '.encode())
        if (
            strict_json.fault(outline)
            or schema.fault(outline, f"case-{version_of(folder, manifest)}")
            or manifest["package"] != __version__  # of others, the bins are not made again
            or digest(body + _END) != manifest[seal_of(manifest)]
        ):
            return None
        stored = Stored(folder, manifest)
        stored.demand_possible()
        sums = {entry["name"]: entry["sha256"] for entry in manifest["files"]}
        files = plain.held(folder, {MANIFEST, *sums}, {MANIFEST: data})
        if files and all(digest(files[name]) == of for name, of in sums.items()):
            return stored, {name: (of, sums.get(name, "")) for name, of in files.items()}
    return None


def version_of(path: Path, manifest: Any) -> int:
    """The version of a manifest; 1 if it says none.

    Raises:
        FileFormatError: it says one that this version of the package does not read.
    """
    found = manifest.get("schema") if isinstance(manifest, dict) else None
    if isinstance(found, str) and found not in SCHEMAS.values():
        known = " and ".join(map(repr, SCHEMAS.values()))
        raise FileFormatError(
            path, f"schema is {shortened(repr(found))}; this version reads {known}"
        )
    return next((version for version, name in SCHEMAS.items() if name == found), 1)


#: The types that the file of a role may have.
_DTYPES: Mapping[str, tuple[str, ...]] = {
    "weights": ("int8",), "dense": ("int8",), "index": ("uint8",), "activations": ("int8",),
    "bias": ("int32",), "requant": ("uint64",), "cycles": ("json",), "bad": ("uint8",),
    "expected": ("int32", "int8", "uint8", "float16"), "step": ("json", "int8", "uint8", "int32"),
    "accumulators": ("int32",), "bench": ("text",),
}  # fmt: skip


def _problem(manifest: Mapping[str, Any]) -> str | None:
    """The first thing in which the list of files is not that of a case, with its place."""
    spec, files = manifest["spec"], manifest["files"]
    seen: set[str] = set()
    for number, entry in enumerate(files):
        at, name, role = f"files[{number}]", entry["name"], entry["role"]
        if name in seen:
            return f"names a file twice: {name}, at {at}"
        seen.add(name)
        if name in (MANIFEST, "steps", "bad"):
            return f"{at}.name is {name!r}, which is no name of a file beside the manifest"
        if entry["dtype"] not in _DTYPES[role]:
            return f"{at}.dtype is {entry['dtype']}; {role} takes {', '.join(_DTYPES[role])}"
        if any((entry["format"] == kind) != (entry["dtype"] == kind) for kind in ("json", "text")):
            return f"{at}.format is {entry['format']}, which holds no {entry['dtype']}"
        if prod(max(size, 1) for size in entry["shape"]) > _MOST or len(entry["shape"]) > 30:
            return f"{at}.shape is {entry['shape']}, too large for a case"
    needed = ["weights", "dense", "index", "activations", "cycles"]
    needed += ["bias"] if spec["fill"]["bias"] is not None else []
    needed += ["requant"] if spec["requant"] is not None else []
    roles = {entry["role"] for entry in files}
    for role in needed:
        if role not in roles:
            return f"files: there is none of {role}"
    outcome = manifest["outcome"]
    if (outcome["kind"] == "error") != ("error" in outcome):
        return "outcome.error is the name of an error where kind is error, and nowhere else"
    if (outcome["kind"] == "changed") != ("differing" in outcome):
        return "outcome.differing is a number where kind is changed, and nowhere else"
    return None


#: Elements of a file, at most: weights in whole fractals may be 1024 times those without.
_MOST = spec_check.ELEMENTS << 4


def check_sums(stored: Stored) -> dict[str, bytes]:
    """Compare the files that the manifest names with it: all there, plain, right checksums.

    Returns:
        Their bytes by name.

    Raises:
        FileFormatError: a file that has another checksum.
        NotPlainError: one that is no plain file.
        FileAccessError: one is missing, or the system refuses.
    """
    return {entry["name"]: stored.checked(entry) for entry in stored.manifest["files"]}


def check_files(stored: Stored) -> dict[str, bytes]:
    """Compare the files of a folder with the manifest: all there, nothing else, right checksums.

    Returns:
        Their bytes by name, without the manifest's.

    Raises:
        FileFormatError: a file that is unknown, or has another checksum.
        NotPlainError: something that is no plain file.
        FileAccessError: a file is missing, or the system refuses.
    """
    files = check_sums(stored)
    for path in strays(stored.folder, {MANIFEST, *files}):
        plain.demand_known(path)
        raise FileFormatError(path, "is not in the manifest")
    return files


def strays(folder: Path, known: set[str]) -> Iterator[Path]:
    """What stands in the folder of a case beside the plain files of these names, sorted by name.

    A folder is one too unless it leads to such a file; a link, FIFO or device always is.

    Raises:
        FileAccessError: the system refuses.
    """
    above = {name.partition("/")[0] for name in known if "/" in name}
    with asked(folder, "list"), os.scandir(folder) as found:  # which knows what is a file
        there = sorted((entry.name, entry.is_file(follow_symlinks=False)) for entry in found)
    for name, is_file in there:
        if name in known and is_file:
            continue
        path = folder / name
        if name in above and plain.is_plain_folder(path):
            yield from strays(
                path, {of.partition("/")[2] for of in known if of.startswith(f"{name}/")}
            )
        else:
            yield path


def folders(path: StrPath) -> Iterator[Path]:
    """The cases below a folder, or the folder itself, one by one, sorted by name.

    What a killed campaign left, in folders with a dot before their names, is passed over.

    Raises:
        FileFormatError: there is none.
        FileAccessError: the system refuses.
    """
    found = False
    for folder, is_case in walk(path):
        if is_case:
            found = True
            yield folder
    if not found:
        raise FileFormatError(path, f"holds no case: there is no {MANIFEST} below it")


def walk(path: StrPath) -> Iterator[tuple[Path, bool]]:
    """A folder and all folders below it, sorted by name, but for those inside of cases.

    Whatever stands under the name of the manifest makes a folder a case, if a bad one.

    Returns:
        Each with whether it is a case.

    Raises:
        FileAccessError: the system refuses.
    """
    check_path(path)
    # A folder is a text here: there may be a million of them, and a Path takes as long as a look.
    left = [str(Path(path))] if is_folder(path) else []
    while left:
        folder = left.pop()
        is_case = exists(f"{folder}/{MANIFEST}")
        yield Path(folder), is_case
        # Nothing in a case is looked at: the damaged copy of a negative one is no case.
        if not is_case:
            names = [name for name in plain.subfolders(folder) if name[0] != "."]
            left += (f"{folder.rstrip('/')}/{name}" for name in reversed(names))
