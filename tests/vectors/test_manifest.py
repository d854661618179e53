"""Random numbers, fills, files, manifests and verification of golden vectors."""

import hashlib
import json
import shutil
from dataclasses import replace

import jsonschema
import numpy as np
import pytest

from cube24 import __version__
from cube24.encoder import ArgumentError, Cube24Error, FileFormatError
from cube24.vectors import fill, manifest, rng, schema, suites
from cube24.vectors.build import build
from cube24.vectors.case import CaseArray
from cube24.vectors.files import SUFFIXES, CaseStyle, read, render
from cube24.vectors.manifest import check_files, files_of, folders, load, write
from cube24.vectors.verification import VerifyError, mutate, verify

M64 = (1 << 64) - 1


def splitmix64(seed):
    """The reference algorithm of Vigna, one word at a time."""
    while True:
        seed = (seed + 0x9E3779B97F4A7C15) & M64
        z = seed
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & M64
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & M64
        yield z ^ (z >> 31)


def test_words_are_those_of_the_published_generator():
    # The first words of seed 1234567, as Rosetta Code lists them.
    known = [
        6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431,
        16408922859458223821,
    ]  # fmt: skip
    assert rng.SplitMix64(1234567).words(5).tolist() == known


@pytest.mark.parametrize("seed", [0, 1, M64, 0x123456789ABCDEF])
def test_words_are_the_same_however_they_are_drawn(seed):
    source, plain = rng.SplitMix64(seed), splitmix64(seed)
    drawn = [int(word) for count in (1, 0, 7, 100) for word in source.words(count)]
    assert drawn == [next(plain) for _ in range(108)]


def test_numbers_and_bytes_follow_their_rules():
    plain = splitmix64(9)
    assert rng.SplitMix64(9).below(11, 50).tolist() == [
        ((next(plain) >> 32) * 11) >> 32 for _ in range(50)
    ]
    plain = splitmix64(9)
    bytes_ = [next(plain) >> 56 for _ in range(50)]
    assert rng.SplitMix64(9).int8(50).tolist() == [b - 256 if b > 127 else b for b in bytes_]


def test_seeds_are_the_first_eight_bytes_of_a_hash():
    whole = hashlib.sha256(b"7/shapes/matmul-1x1x4").digest()
    assert rng.case_seed(7, "shapes", "matmul-1x1x4") == int.from_bytes(whole[:8], "big")
    whole = hashlib.sha256(b"99/weights").digest()
    assert rng.stream_seed(99, "weights") == int.from_bytes(whole[:8], "big")


# --- fills ----------------------------------------------------------------------------------------


def test_there_are_113_legal_groups_of_extremes_all_different_and_legal():
    groups = fill.legal_groups()
    assert len({tuple(group) for group in groups.tolist()}) == len(groups) == 113
    assert all(sum(value != 0 for value in group) <= 2 for group in groups.tolist())
    assert set(groups.ravel().tolist()) == {-128, -1, 0, 1, 127}


def slow_group(rule, word):
    masks = fill.MASKS if rule in ("uniform", "edges") else fill.MASKS[5:]
    mask = masks[((word >> 32) * len(masks)) >> 32]
    values = []
    for raw in (word & 255, word >> 8 & 255):
        if rule == "edges":
            values.append((-128, -127, -64, -1, 1, 64, 126, 127)[raw & 7])
        else:
            value = raw - 256 if raw > 127 else raw
            values.append({"max": 127, "min": -128, "full": value or 1}.get(rule, value))
    group = [0] * 4
    for place in range(4):
        if mask >> place & 1:
            group[place] = values.pop(0)
    return group


@pytest.mark.parametrize("rule", ["uniform", "edges", "full", "max", "min"])
def test_weights_are_drawn_a_word_a_group(rule):
    plain = splitmix64(3)
    got = fill.weights(rule, 3, 5, 26)
    expected = [[v for _ in range(7) for v in slow_group(rule, next(plain))][:26] for _ in range(5)]
    assert got.tolist() == expected


def test_turned_groups_stand_where_they_should():
    got = fill.weights({"legal": 100}, 1, 3, 64).reshape(-1, 4).tolist()
    table = fill.legal_groups().tolist()
    assert got == [table[(p + 100) % 113] for p in range(48)]


def test_activations_and_bias_follow_their_rules():
    assert fill.activations("ramp", 1, 300).tolist() == [i % 251 - 125 for i in range(300)]
    assert fill.activations("max", 1, 2).tolist() == [127, 127]
    plain = splitmix64(4)
    assert fill.activations("edges", 4, 20).tolist() == [
        (-128, -127, -64, -1, 1, 64, 126, 127)[((next(plain) >> 32) * 8) >> 32] for _ in range(20)
    ]
    plain = splitmix64(5)
    high = [next(plain) >> 32 for _ in range(4)]
    assert fill.bias("uniform", 5, 4).tolist() == [v - 2**32 if v >> 31 else v for v in high]
    assert fill.bias([1, -2], 5, 5).tolist() == [1, -2, 1, -2, 1]
    assert fill.bias(None, 5, 4) is None


@pytest.mark.parametrize(
    "call",
    [
        lambda: fill.weights("none", 1, 1, 4), lambda: fill.weights({"legal": 1, "x": 2}, 1, 1, 4),
        lambda: fill.activations("none", 1, 1), lambda: fill.bias("none", 1, 1),
        lambda: fill.bias([2**31], 1, 1), lambda: fill.bias([], 1, 1),
    ],
)  # fmt: skip
def test_a_rule_that_does_not_exist_is_refused(call):
    with pytest.raises(ArgumentError):
        call()


# --- files ----------------------------------------------------------------------------------------

ARRAY = np.array([[1, -2, 300], [2**31 - 1, -(2**31), 0]], np.int32)
BYTES = ARRAY.astype("<i4").tobytes()


def test_each_format_is_what_its_readers_expect(tmp_path):
    style = CaseStyle(("hex",), 4, "little", True)
    words = ["00000001", "fffffffe", "0000012c", "7fffffff", "80000000", "00000000"]
    header = {"name": "x", "words": 6}
    assert render(ARRAY, "hex", style, header).decode() == "// name: x\n// words: 6\n" + "".join(
        f"{word}\n" for word in words
    )
    assert render(ARRAY, "bin", style, {}) == BYTES
    assert render(ARRAY, "mem", style, {}).decode() == "@00000000\n" + "\n".join(words) + "\n"
    assert render(ARRAY, "coe", style, {}).decode() == (
        "memory_initialization_radix=16;\nmemory_initialization_vector=\n"
        + ",\n".join(words)
        + ";\n"
    )
    assert render(ARRAY, "altera-mif", style, {}).decode() == (
        "WIDTH=32;\nDEPTH=6;\nADDRESS_RADIX=HEX;\nDATA_RADIX=HEX;\nCONTENT BEGIN\n"
        + "".join(f"  {i:x} : {word};\n" for i, word in enumerate(words))
        + "END;\n"
    )
    (tmp_path / "x.npy").write_bytes(render(ARRAY, "npy", style, {}))
    assert np.array_equal(np.load(tmp_path / "x.npy"), ARRAY)
    big = CaseStyle(("hex",), 3, "big", False)  # 24 bytes are 8 words of three
    assert render(ARRAY, "hex", big, header).decode().split() == [
        BYTES[i : i + 3].hex() for i in range(0, 24, 3)
    ]


@pytest.mark.parametrize("name", ["npy", "hex", "bin"])
@pytest.mark.parametrize(
    ("word_bytes", "order"), [(1, "little"), (4, "big"), (16, "little"), (5, "big")]
)
@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.uint64, np.float16])
def test_what_was_written_is_read_back(tmp_path, name, word_bytes, order, dtype):
    style = CaseStyle((name,), word_bytes, order)
    array = np.arange(21).reshape(3, 7).astype(dtype)
    path = tmp_path / f"x{SUFFIXES[name]}"
    path.write_bytes(render(array, name, style, {"a": 1}))
    got = read(path, name, array.dtype, array.shape, style)
    assert got.dtype == array.dtype
    assert np.array_equal(got, array)
    for damaged in (path.read_bytes()[:-1], path.read_bytes() + b"00\n"):
        path.write_bytes(damaged)
        if name == "hex" and damaged.endswith(b"\n") is False:
            continue  # without the last line feed it is whole
        with pytest.raises(FileFormatError):
            read(path, name, array.dtype, array.shape, style)


@pytest.mark.parametrize(
    "style",
    [
        {"formats": ("xml",)},
        {"formats": ()},
        {"formats": ("hex", "hex")},
        {"word_bytes": 0},
        {"order": "x"},
    ],
)
def test_a_style_that_cannot_be_is_refused(style):
    with pytest.raises(ArgumentError):
        CaseStyle(**style)


def test_formats_that_are_not_read_back_say_so(tmp_path):
    with pytest.raises(ArgumentError, match="coe is not read back"):
        read(tmp_path / "x.coe", "coe", np.dtype(np.int8), (1,), CaseStyle(("coe",)))


# --- manifests ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made():
    items = list(suites.items("requant", 0, 2))
    item = next(item for item in items if item.name == "ties-columns")
    return build("requant", 1, item, 2, CaseStyle(tuple(SUFFIXES), 2, "big"))


@pytest.fixture
def folder(made, tmp_path):
    write(made, tmp_path / "case")
    return tmp_path / "case"


def test_the_schema_is_a_schema_and_every_manifest_of_level_0_follows_it():
    of = schema.load("case-1")
    jsonschema.Draft202012Validator.check_schema(of)
    validator = jsonschema.Draft202012Validator(of)
    for suite, (version, _) in suites.SUITES.items():
        for item in list(suites.items(suite, 0, 1))[::5]:
            text = files_of(build(suite, version, item, 1))["manifest.json"]
            validator.validate(json.loads(text))
            assert schema.problem(json.loads(text), of) is None


def damages(of):
    """Manifests with one thing changed."""
    yield "unknown key", {**of, "more": 1}
    for name in of:
        yield f"no {name}", {key: value for key, value in of.items() if key != name}
        for value in (None, [], {}, -1, "x y", True, 1.5):
            yield f"{name} {value!r}", {**of, name: value}
    first, *rest = of["files"]
    for name in first:
        for value in (None, "../x", -1, "y" * 64):
            yield f"files {name} {value!r}", {**of, "files": [{**first, name: value}, *rest]}
    yield "line feed", {**of, "case": of["case"] + "\n"}
    yield "random", {**of, "random": {**of["random"], "case_seed": 7}}


def test_our_check_of_the_schema_agrees_with_a_library(made):
    of = schema.load("case-1")
    validator = jsonschema.Draft202012Validator(of)
    good = json.loads(files_of(made)["manifest.json"])
    found = {True: 0, False: 0}
    for about, value in damages(good):
        expected = validator.is_valid(value)
        if about == "line feed":
            expected = False  # Python's $ lets it pass, a schema's does not
        assert (schema.problem(value, of) is None) == expected, about
        found[expected] += 1
    assert found[False] > 100
    assert found[True] > 0


def test_a_manifest_lists_what_is_there_and_arrays_are_read_from_it(made, folder):
    stored = load(folder)
    check_files(stored)
    assert {path.name for path in folder.iterdir()} == {
        "manifest.json", *(entry["name"] for entry in stored.manifest["files"])
    }  # fmt: skip
    for role, piece in made.pieces.items():
        assert len(stored.entries(role)) == len(SUFFIXES)
        assert np.array_equal(stored.array(role), piece.array)
    for entry in stored.manifest["files"]:
        data = (folder / entry["name"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == entry["sha256"]
        if entry["format"] == "hex":
            lines = [line for line in data.decode().splitlines() if not line.startswith("//")]
            assert len(lines) == entry["words"]
            assert {len(line) for line in lines} == {entry["bits_per_word"] // 4}
    text = b"".join(path.read_bytes() for path in folder.iterdir()).decode("latin1")
    assert str(folder) not in text


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda f: (f / "manifest.json").write_bytes(b"{"), "no readable JSON"),
        (lambda f: (f / "manifest.json").write_bytes(b"[]"), "is no object"),
        (lambda f: (f / "dense.hex").unlink(), "dense.hex"),
        (lambda f: (f / "more").write_bytes(b""), "not in the manifest"),
        (lambda f: (f / "index.bin").write_bytes(b"no"), "SHA-256"),
    ],
)
def test_a_damaged_folder_is_told(folder, damage, said):
    verify(folder)
    damage(folder)
    with pytest.raises(Cube24Error, match=said):
        verify(folder)


def test_a_case_that_agrees_with_its_checksums_but_not_with_its_spec_is_found(folder):
    data = bytearray((folder / "expected.bin").read_bytes())
    data[3] ^= 4
    (folder / "expected.bin").write_bytes(data)
    of = json.loads((folder / "manifest.json").read_text())
    for entry in of["files"]:
        if entry["name"] == "expected.bin":
            entry["sha256"] = hashlib.sha256(data).hexdigest()
    del of["sha256"]
    (folder / "manifest.json").write_bytes(manifest.sealed(of))
    with pytest.raises(VerifyError, match=r"expected\.bin: byte 3 is"):
        verify(folder)


def test_scripts_find_the_seal_under_its_old_name():
    assert manifest._sealed is manifest.sealed


def test_no_field_of_a_manifest_can_change(folder):
    text = (folder / "manifest.json").read_text()
    assert '"package": "0.1.0"' in text
    (folder / "manifest.json").write_text(text.replace('"package": "0.1.0"', '"package": "0.1.1"'))
    with pytest.raises(FileFormatError, match="it was changed"):
        load(folder)


def test_a_manifest_of_another_version_of_the_package_is_made_again_with_that_version(made, folder):
    for name, data in files_of(made, "0.0.9").items():
        (folder / name).write_bytes(data)
    verify(folder)


@pytest.mark.parametrize("package", ["0.0.9", __version__])
def test_time_and_bins_of_another_version_are_taken_over_and_nothing_else(made, folder, package):
    cycles = b'{"cycles": 7}\n'
    for name, data in files_of(replace(made, bins=("op/old",)), package, cycles).items():
        (folder / name).write_bytes(data)
    if package == __version__:
        with pytest.raises(VerifyError, match=r"cycles\.json"):
            verify(folder)
        return
    verify(folder)
    array = made.pieces["expected"].array.copy()
    array.reshape(-1)[0] ^= 1
    wrong = replace(made, pieces={**made.pieces, "expected": CaseArray(array, "nd")})
    for name, data in files_of(wrong, package, cycles).items():
        (folder / name).write_bytes(data)
    with pytest.raises(VerifyError, match="expected"):
        verify(folder)


def test_every_flipped_bit_of_a_whole_case_is_noticed(tmp_path):
    items = {item.name: item for item in suites.items("shapes", 0, 2)}
    style = CaseStyle(("bin",), header=False)
    write(build("shapes", 1, items["matmul-1x1x8"], 2, style), tmp_path / "case")
    bits = sum(8 * path.stat().st_size for path in (tmp_path / "case").iterdir())
    found = mutate(tmp_path / "case", None)
    assert found.missed == ()
    assert found.flipped == bits > 10_000


def test_mutations_flip_bits_of_each_file_and_verify_notices_all(folder):
    found = mutate(folder, 6)
    names = len(list(folder.iterdir()))
    assert 5 * names <= found.flipped <= 6 * names
    assert found.missed == ()
    verify(folder)  # the case itself stays as it was


def test_mutations_that_verify_does_not_notice_are_listed(folder, monkeypatch):
    from cube24.vectors import verification

    monkeypatch.setattr(verification, "verify", lambda folder: None)
    found = mutate(folder, 2)
    assert len(found.missed) == found.flipped > 0


def test_folders_are_found_below_a_folder_and_no_unfinished_ones(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "set" / "requant" / "a")
    shutil.copytree(folder, tmp_path / "set" / "requant" / ".b.part")
    assert list(folders(tmp_path / "set")) == [tmp_path / "set" / "requant" / "a"]
    assert list(folders(folder)) == [folder]
    with pytest.raises(FileFormatError, match="holds no case"):
        list(folders(tmp_path / "set" / "none"))


def test_manifests_name_no_clock_host_user_or_path(made):
    assert manifest.files_of(made) == manifest.files_of(made)
    keys = set(json.loads(files_of(made)["manifest.json"]))
    assert keys == set(schema.load("case-1")["required"])
