"""Cases from anybody: schema and seal right, content impossible; refused or verified."""

from __future__ import annotations

import copy
import json
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cube24.cli import run
from cube24.errors import Cube24Error, FileFormatError
from cube24.vectors import compare, coverage, schema, suites
from cube24.vectors.build import build
from cube24.vectors.files import CaseStyle, digest
from cube24.vectors.manifest import check_files, load, sealed, write
from cube24.vectors.plain import NotPlainError, is_no_verdict
from cube24.vectors.shrink import shrink
from cube24.vectors.spec import Item, conv2d, matmul
from cube24.vectors.verification import mutate, verify

#: Cases of every kind, small ones.
ITEMS: dict[str, Any] = {
    "matmul": matmul(3, 5, 12, bias=[1, -1], requant={"scale": [0.5] * 5, "offset": 3}),
    "conv": conv2d(5, 3, (3, 4), (2, 2), pads=(1, 0, 0, 1), layout="nd"),
    "legal": matmul(2, 3, 12, weights={"legal": 5}, activations="ramp", overflow="wrap"),
    "inline": matmul(1, 1, 4, weights={"base64": "AQACAA=="}, activations={"base64": "AQIDBA=="}),
    "fault": matmul(2, 3, 8, change={"kind": "fault", "role": "dense", "bit": 3}, layout="nd"),
    "negative": matmul(3, 5, 12, weights="full", change={"kind": "negative", "what": "index-3"}),
}


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("bases")
    style = CaseStyle(("hex", "npy"))
    for name, spec in ITEMS.items():
        write(build("shapes", 1, Item(name, spec), 1, style), root / name)
    item = next(item for item in suites.items("shapes", 0, 1) if item.name == "conv-3x3")
    write(build("shapes", 1, item, 1, style), root / "crop-whole")
    # What shrink leaves has a crop.
    small = shrink(root / "crop-whole", lambda folder: True, limit=4)
    write(small.case, root / "crop")
    shutil.rmtree(root / "crop-whole")
    return {path.name: path for path in sorted(root.iterdir())}


def edited(folder: Path, edit: Callable[[Any], object]) -> Path:
    """A case with another manifest, sealed."""
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["sha256"]
    edit(manifest)
    (folder / "manifest.json").write_bytes(sealed(manifest))
    return folder


def sizes(**new: Any) -> Callable[[Any], object]:
    return lambda of: of["spec"]["sizes"].update(new)


def fill(**new: Any) -> Callable[[Any], object]:
    return lambda of: of["spec"]["fill"].update(new)


def rule(**new: Any) -> Callable[[Any], object]:
    return lambda of: of["spec"].update(requant={"scale": 0.5, **new})


def crop(**new: Any) -> Callable[[Any], object]:
    return lambda of: of["spec"]["fill"]["crop"].update(new)


def unit(name: str = "dav-2201", **overrides: Any) -> Callable[[Any], object]:
    return lambda of: of["spec"].update(unit={"name": name, "overrides": overrides})


def entry(role: str, **new: Any) -> Callable[[Any], object]:
    return lambda of: next(e for e in of["files"] if e["role"] == role).update(new)


def without(role: str) -> Callable[[Any], object]:
    return lambda of: of.update(files=[e for e in of["files"] if e["role"] != role])


IMPOSSIBLE: list[tuple[str, Callable[[Any], object], str]] = [
    ("matmul", lambda of: of["spec"]["sizes"].pop("m"), "spec.sizes.m is missing"),
    ("matmul", sizes(h=3), "spec.sizes.h is no size of a matmul"),
    ("matmul", sizes(k=1 << 30, n=1 << 30), "spec.sizes give an array"),
    ("matmul", sizes(k=1 << 62), "spec.sizes.k is 4611686018427387904, out of range"),
    ("matmul", sizes(m=1 << 18, n=1 << 8, k=1 << 18), "spec.sizes give"),
    ("conv", lambda of: of["spec"]["sizes"].pop("strides"), "spec.sizes.strides is missing"),
    ("conv", sizes(kernel=[3]), "spec.sizes.kernel takes 2 numbers"),
    ("conv", sizes(strides=[0, 1]), "spec.sizes.strides takes 2 numbers, 1 or more"),
    ("conv", sizes(pads=[1] * 5), "spec.sizes.pads takes 4 numbers"),
    ("conv", sizes(kernel=[9, 9]), "spec.sizes: a kernel of"),
    ("matmul", fill(weights={"legal": "x"}), "spec.fill.weights is"),
    ("matmul", fill(weights={"legal": True}), "spec.fill.weights is"),
    ("matmul", fill(weights={"legal": 1 << 62}), "spec.fill.weights is"),
    ("matmul", fill(weights={"base64": 4}), "spec.fill.weights is"),
    ("matmul", fill(activations="legal"), "spec.fill.activations is"),
    ("matmul", fill(bias=["a"]), "spec.fill.bias takes"),
    ("matmul", fill(bias=[1 << 31]), "spec.fill.bias takes"),
    ("matmul", fill(bias=[1.5]), "spec.fill.bias takes"),
    ("matmul", fill(bias=[]), "spec.fill.bias takes"),
    ("matmul", fill(bias="ramp"), "spec.fill.bias is 'ramp'"),
    ("crop", crop(rows=[99]), "spec.fill.crop.rows takes"),
    ("crop", crop(columns=[1, 0]), "spec.fill.crop.columns takes"),
    ("crop", crop(groups=[]), "spec.fill.crop.groups takes"),
    ("crop", crop(of=[1, 2]), "spec.fill.crop.of takes three"),
    ("crop", crop(of=[1 << 30] * 3), "spec.fill.crop.of gives an array"),
    ("crop", sizes(cout=1 << 10), "what fill.crop leaves is"),
    ("matmul", rule(scale=[[1], 2]), "spec.requant.scale takes"),
    ("matmul", rule(scale=["a"] * 5), "spec.requant.scale takes"),
    ("matmul", rule(scale=[0.5] * 4), "spec.requant.scale takes"),
    ("matmul", rule(scale=1e300), "spec.requant: scale 1e+300 is not finite"),
    ("matmul", rule(offset=[1.5] * 5), "spec.requant.offset takes"),
    ("matmul", rule(offset=1 << 40), "spec.requant: offset does not fit"),
    ("matmul", rule(relu=3), "spec.requant: relu is 3"),
    ("matmul", rule(mode="DEQF16", shift=3), "spec.requant: DEQF16"),
    ("matmul", unit("none"), "spec.unit.name is 'none'; choose of dav-2201"),
    ("matmul", unit("unit.toml"), "spec.unit.name is 'unit.toml'"),
    ("matmul", unit(load_a_rate="fast"), "spec.unit.overrides: load_a_rate"),
    ("matmul", unit(none=3), "spec.unit.overrides: unit: unknown field none"),
    ("matmul", unit(l1_bytes=1 << 40), "spec.unit.overrides give memories"),
    ("matmul", unit(l0a_bytes=True), "spec.unit.overrides: l0a_bytes"),
    ("fault", lambda of: of["spec"].update(change={"kind": "other"}), "spec.change.kind"),
    ("fault", lambda of: of["spec"]["change"].update(bit="x"), "spec.change.bit"),
    ("negative", lambda of: of["spec"]["change"].update(role=["x"]), "spec.change.role"),
    ("matmul", without("index"), "files: there is none of index"),
    ("matmul", without("cycles"), "files: there is none of cycles"),
    ("matmul", without("bias"), "files: there is none of bias"),
    ("matmul", entry("expected", dtype="json"), "dtype is json; expected takes"),
    ("matmul", entry("cycles", format="bin"), "format is bin, which holds no json"),
    ("matmul", entry("dense", shape=[1 << 30] * 3), "too large for a case"),
    ("matmul", entry("dense", shape=[1] * 40), "too large for a case"),
    ("matmul", entry("dense", name="manifest.json"), "which is no name of a file"),
    ("matmul", entry("dense", name="index.hex"), "names a file twice: index.hex"),
    ("matmul", lambda of: of["outcome"].update(error="X"), "outcome.error"),
    ("matmul", lambda of: of.update(outcome={"kind": "changed"}), "outcome.differing"),
    ("matmul", lambda of: of["style"].update(formats=["hex", "hex"]), "each once"),
    *[
        ("matmul", entry("dense", name=name), r"files[0].name is")
        for name in ("../x", "/etc/passwd", "a/b", "", "steps/../../x", "a\0b", "steps/", "x" * 256)
    ],
    *[
        ("matmul", lambda of, key=key, name=name: of.update({key: name}), f"{key} is")
        for key in ("suite", "case")
        for name in ("../x", "a/b", "", ".", "x" * 256)
    ],
    ("matmul", unit("../unit.toml"), "spec.unit.name is"),
]  # fmt: skip


@pytest.mark.parametrize(("base", "edit", "said"), IMPOSSIBLE, ids=lambda value: str(value)[:40])
def test_an_impossible_case_is_refused_with_the_field(
    tmp_path: Path, bases: dict[str, Path], base: str, edit: Callable[[Any], object], said: str
) -> None:
    if said == "files[0].name is":
        names = json.loads((bases[base] / "manifest.json").read_text())["files"]
        said = f"files[{[e['role'] for e in names].index('dense')}].name is"
    folder = edited(Path(shutil.copytree(bases[base], tmp_path / "case")), edit)
    for use in (load, verify, mutate, lambda folder: compare(folder, folder / "expected.hex")):
        with pytest.raises(FileFormatError) as error:
            use(folder)
        assert said in str(error.value)
        assert str(error.value).startswith(f"{folder / 'manifest.json'}: ")


TEXTS: list[tuple[bytes, str]] = [
    (b"[" * 100_000, "deeper than 16"),
    (b'{"a":' * 1000 + b"1" + b"}" * 1000, "deeper than 16"),
    (b'{"a": 1e400}', "is not finite"),
    (b'{"a": NaN}', "is not finite"),
    (b'{"a": -Infinity}', "is not finite"),
    (b'{"a": ' + b"9" * 5000 + b"}", "more than 64 bits"),
    (b'{"a": 18446744073709551616}', "more than 64 bits"),
    (b"\xef\xbb\xbf{}", "byte-order mark"),
    (b"\xff\xfe{\0}\0", "no readable JSON"),
    (b'{"\\ud800": 1}', "surrogate"),
    (b"", "no readable JSON"),
]


@pytest.mark.parametrize(("text", "said"), TEXTS, ids=lambda value: str(value)[:20])
def test_json_of_other_systems_is_refused_with_a_reason(
    tmp_path: Path, bases: dict[str, Path], text: bytes, said: str
) -> None:
    folder = Path(shutil.copytree(bases["matmul"], tmp_path / "case"))
    data = (folder / "cycles.json").read_bytes()

    def cycles(of: Any) -> None:
        (folder / "cycles.json").write_bytes(text)
        entry("cycles", sha256=digest(text))(of)

    edited(folder, cycles)
    with pytest.raises(FileFormatError, match=said):
        compare(folder, folder / "expected.hex", cycles=5)
    (folder / "cycles.json").write_bytes(data)
    (folder / "manifest.json").write_bytes(text)
    with pytest.raises(FileFormatError, match=said):
        load(folder)
    counts = tmp_path / "counts.json"
    counts.write_bytes(text)
    with pytest.raises(FileFormatError):
        coverage.Table.load(counts)


@pytest.mark.parametrize(
    "text", [b'{"cycles": 0}', b'{"cycles": 5.0}', b"5", b"{}", b'{"cycles": true}']
)
def test_cycles_that_are_no_count_are_refused(
    tmp_path: Path, bases: dict[str, Path], text: bytes
) -> None:
    folder = Path(shutil.copytree(bases["matmul"], tmp_path / "case"))
    (folder / "cycles.json").write_bytes(text)
    edited(folder, entry("cycles", sha256=digest(text)))
    with pytest.raises(FileFormatError, match="holds no count of cycles"):
        compare(folder, folder / "expected.hex", cycles=5)


def test_a_bad_case_keeps_no_other_from_being_looked_at(
    tmp_path: Path, bases: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    for number, (base, edit, _) in enumerate(IMPOSSIBLE):
        edited(Path(shutil.copytree(bases[base], tmp_path / "set" / f"a{number:03d}")), edit)
    os.mkfifo(tmp_path / "set" / "a000" / "pipe")
    for name in ("conv", "legal"):
        shutil.copytree(bases[name], tmp_path / "set" / f"z-{name}")
    assert run(["vectors", "verify", str(tmp_path / "set")]) == 1
    said = capsys.readouterr().out
    assert said.count("bad: ") == len(IMPOSSIBLE)
    assert said.endswith(f"verified: 2 of {len(IMPOSSIBLE) + 2} cases\n")
    assert run(["vectors", "coverage", str(tmp_path / "set")]) == 2
    got = capsys.readouterr()
    assert got.err.count("bad: ") == len(IMPOSSIBLE)
    assert "coverage of 2 cases" in got.out


# --- what is no plain file ------------------------------------------------------------------------


def link_out(path: Path) -> None:
    path.symlink_to("/dev/zero")


def link_in(path: Path) -> None:
    path.symlink_to("manifest.json")


def dangling(path: Path) -> None:
    path.symlink_to("nowhere")


def bound(path: Path) -> None:
    before = Path.cwd()
    os.chdir(path.parent)  # the name of a socket is short
    with socket.socket(socket.AF_UNIX) as of:
        of.bind(path.name)
    os.chdir(before)


SPECIAL = [os.mkfifo, link_out, link_in, dangling, bound]


@pytest.mark.parametrize("make", SPECIAL)
@pytest.mark.parametrize(
    "name", ["dense.hex", "manifest.json", "zz", "steps/0000-l0a.hex", "steps"]
)
def test_what_is_no_plain_file_is_refused_at_once(
    tmp_path: Path, make: Callable[[Path], None], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    style = CaseStyle(("hex",), steps=True)
    folder = tmp_path / "set" / "case"
    write(build("shapes", 1, Item("case", ITEMS["legal"]), 1, style), folder)
    if name == "steps":
        shutil.rmtree(folder / name)
    else:
        (folder / name).unlink(missing_ok=True)
    make(folder / name)
    for use in (verify, mutate):
        with pytest.raises(NotPlainError) as error:
            use(folder)
        assert str(folder / name) in str(error.value)
    if name != "zz":  # a stray is looked for by verify alone
        for use in (load, lambda folder: compare(folder, "got.hex"), coverage.of_folder):
            with pytest.raises(NotPlainError):
                use(folder)
    assert run(["vectors", "verify", str(tmp_path / "set"), "--mutate", "1"]) == 2
    assert "no plain f" in capsys.readouterr().err


def test_a_folder_or_file_that_the_manifest_does_not_name_is_a_stray(
    tmp_path: Path, bases: dict[str, Path]
) -> None:
    folder = Path(shutil.copytree(bases["matmul"], tmp_path / "case"))
    (folder / "more").mkdir()
    with pytest.raises(FileFormatError, match="more: is not in the manifest"):
        check_files(load(folder))


# --- drawn from the schema ------------------------------------------------------------------------

ROOT = schema.load("case-1")
ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 64), 1 << 64) | st.floats()
    | st.text(max_size=8) | st.sampled_from(["uniform", "legal", "../x", "steps/x", "0" * 300]),
    lambda of: st.lists(of, max_size=4) | st.dictionaries(st.text(max_size=6), of, max_size=4),
    max_leaves=5,
)  # fmt: skip


def drawn(of: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that follow a part of the schema, at its edges above all."""
    if "$ref" in of:
        of = ROOT["$defs"][of["$ref"].removeprefix("#/$defs/")]
    if "const" in of:
        return st.just(of["const"])
    if "enum" in of:
        return st.sampled_from(of["enum"])
    kinds = of["type"] if isinstance(of["type"], list) else [of["type"]]
    return st.one_of([_of_type(kind, of) for kind in kinds])


def _of_type(kind: str, of: dict[str, Any]) -> st.SearchStrategy[Any]:
    if kind == "object":
        named = of.get("properties")
        if named is None:
            words = st.sampled_from(["legal", "base64", "kind", "bit", "what", "role", "l0a_bytes"])
            return st.dictionaries(words | st.text(max_size=5), ANY, max_size=3)
        required = set(of.get("required", ()))
        return st.fixed_dictionaries(
            {name: drawn(one) for name, one in named.items() if name in required},
            optional={name: drawn(one) for name, one in named.items() if name not in required},
        )
    if kind == "array":
        items = drawn(of["items"]) if "items" in of else ANY
        return st.lists(items, min_size=of.get("minItems", 0), max_size=5)
    if kind == "string":
        return st.from_regex(of["pattern"], fullmatch=True) if "pattern" in of else st.text()
    if kind in ("integer", "number"):
        low, high = of.get("minimum", -(1 << 63)), of.get("maximum", (1 << 64) - 1)
        near = st.integers(low, min(low + 70, high)) if low > -(1 << 63) else st.integers(-5, 70)
        whole = near | st.sampled_from([low, high, high // 2])
        return whole if kind == "integer" else whole | st.floats(allow_nan=False)
    return {"boolean": st.booleans(), "null": st.none()}[kind]


def places(value: Any, of: dict[str, Any] | None, at: tuple[Any, ...] = ()) -> list[Any]:
    """All places of a manifest, each with its part of the schema where there is one."""
    if of is not None and "$ref" in of:
        of = ROOT["$defs"][of["$ref"].removeprefix("#/$defs/")]
    found = [(at, of)]
    if isinstance(value, dict):
        named = (of or {}).get("properties", {})
        for name, item in value.items():
            found += places(item, named.get(name), (*at, name))
    elif isinstance(value, list):
        for number, item in enumerate(value[:20]):
            found += places(item, (of or {}).get("items"), (*at, number))
    return found


@st.composite
def damages(draw: st.DrawFn, manifest: Any) -> Any:
    """A manifest with one to three places that hold something else."""
    value = copy.deepcopy(manifest)
    for _ in range(draw(st.integers(1, 3))):
        # Most fields are those of files; a spec is what there is to make.
        parts = {key: places(value[key], ROOT["properties"][key], (key,)) for key in value}
        key = draw(st.sampled_from(["spec"] * 6 + sorted(parts)))
        at, of = draw(st.sampled_from(parts[key]))
        *above, last = at
        inside = value
        for step in above:
            inside = inside[step]
        how = draw(st.sampled_from(["schema", "schema", "schema", "any", "gone"]))
        if how == "gone" and isinstance(inside, dict):
            del inside[last]
            if not above:
                break
        elif how == "gone" or of is None or how == "any":
            inside[last] = draw(ANY)
        else:
            inside[last] = draw(drawn(of))
        if not all(key in value for key in manifest):
            break
    return value


EXAMPLES = int(os.environ.get("CUBE24_FOREIGN_EXAMPLES", "1000"))


def test_damaged_and_sealed_manifests_are_refused_or_verified(
    bases: dict[str, Path], tmp_path: Path
) -> None:
    seen: dict[str, int] = dict.fromkeys(("refused", "loaded", "verified"), 0)

    @settings(
        max_examples=EXAMPLES, derandomize=True, deadline=None, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(data=st.data())
    def damaged(data: st.DataObject) -> None:
        seen[end_of(data, bases, tmp_path / "foreign")] += 1

    damaged()
    # The damages were of every kind.
    assert sum(seen.values()) >= EXAMPLES
    assert seen["refused"] > EXAMPLES / 10
    assert seen["loaded"] > EXAMPLES / 50


def end_of(data: st.DataObject, bases: dict[str, Path], folder: Path) -> str:
    """Damage a case, and see what comes of it: it is refused, or loaded, or even verified."""
    base = bases[data.draw(st.sampled_from(sorted(bases)))]
    good = json.loads((base / "manifest.json").read_text())
    del good["sha256"]
    manifest = data.draw(damages(good))
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(base, folder)
    (folder / "manifest.json").write_bytes(sealed(manifest))
    refusal = refused(load, folder)
    ends = "loaded" if refusal is None else "refused"
    if refusal is None:
        verdict = refused(verify, folder)
        ends = "verified" if verdict is None else ends
        # Exit code 1, and never 2: whether it is right can be told.
        assert verdict is None or not is_no_verdict(verdict)
        refused(differing, folder)
    else:
        assert str(refusal).startswith(f"{folder / 'manifest.json'}: ")
    return ends


def refused(use: Callable[[Path], object], folder: Path) -> Cube24Error | None:
    """How a case is refused; any error but ours goes through."""
    try:
        use(folder)
    except Cube24Error as error:
        return error
    return None


def differing(folder: Path) -> None:
    """Have a dump with one flipped bit explained."""
    stored = load(folder)
    if stored.entries("expected"):
        got = np.array(stored.array("expected"))
        got.reshape(-1).view(np.uint8)[:1] ^= 1
        str(compare(folder, got, cycles=5))
