"""Manifests of version 2: all that a bench needs, and files by words and rows of its own."""

from __future__ import annotations

import hashlib
import json
import shutil
import tomllib
from dataclasses import replace

import numpy as np
import plain_device
import pytest

from cube24 import vectors
from cube24.errors import ArgumentError, FileAccessError, FileFormatError
from cube24.simulator import Unit
from cube24.vectors import coverage, manifest, schema, shrink, suites
from cube24.vectors.build import build
from cube24.vectors.description import Campaign, add_suites, missing
from cube24.vectors.files import CaseStyle
from cube24.vectors.verification import mutate, verify

SECOND = CaseStyle(("hex", "npy", "bin"), 4, manifest=2)
ROWS = replace(
    SECOND, role_words=(("dense", 32), ("index", 8)), both_layouts=True, order="big", steps=True,
    row_strides=(("activations", 512), ("dense", "word"), ("index", "word")),
)  # fmt: skip


def item_of(suite, name):
    return next(item for item in suites.items(suite, 0, 1) if item.name == name)


def written(path, suite, name, style):
    made = build(suite, suites.SUITES[suite][0], item_of(suite, name), 1, style)
    manifest.write(made, path)
    return made, json.loads((path / "manifest.json").read_text())


#: Matmul and convolution, nd and zn, tails, a bias, and all three kinds of requantisation.
NAMES = [
    ("shapes", "matmul-15x17x60"), ("shapes", "conv-3x3-pad"), ("shapes", "conv-2x2-x"),
    ("shapes", "loads"), ("requant", "ties-columns"), ("requant", "sums-fp16-leaky"),
    ("accumulate", "saturate-step-132-max-max"),
]  # fmt: skip


@pytest.mark.parametrize("style", [SECOND, ROWS], ids=["plain", "rows"])
@pytest.mark.parametrize(("suite", "name"), NAMES)
def test_the_manifest_alone_says_how_each_file_is_read(tmp_path, suite, name, style):
    """Each file is read here by its entry and by nothing else."""
    made, of = written(tmp_path / "case", suite, name, style)
    verify(tmp_path / "case")
    assert of["schema"] == "cube24-case-2"
    arrays = {}
    for entry in of["files"]:
        data = (tmp_path / "case" / entry["name"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == entry["sha256"]
        if entry["format"] not in ("hex", "bin", "npy"):
            continue
        assert len(entry["axes"]) == len(entry["shape"])
        array = read(tmp_path / "case" / entry["name"], data, entry)
        # One meaning: sha256 is that of the file, this one that of the bytes in C order.
        assert hashlib.sha256(array.tobytes()).hexdigest() == entry["payload_sha256"]
        key = (entry["role"], entry["layout"], json.dumps(entry.get("step")))
        assert arrays.setdefault(key, array).tobytes() == array.tobytes()
    for role, piece in made.pieces.items():
        assert np.array_equal(arrays[role, piece.layout, "null"], piece.array, equal_nan=True)
    layouts = {layout for role, layout, _ in arrays if role in ("dense", "index")}
    assert layouts == ({"nd", "zn"} if style.both_layouts else {made.spec["layout"]})


def read(path, data, entry):
    dtype = np.dtype(entry["dtype"])
    row = entry["shape"][-1] * dtype.itemsize
    if entry["format"] == "npy":
        array = np.load(path)
        assert (array.dtype, list(array.shape)) == (dtype, entry["shape"])
        assert entry["words"] == array.size
        assert entry["bits_per_word"] == 8 * dtype.itemsize
        return array
    if entry["format"] == "hex":
        lines = data.decode().splitlines()
        said = dict(line[3:].split(": ") for line in lines if line[:2] == "//")
        words = [bytes.fromhex(line) for line in lines if line[:2] != "//"]
        assert (len(words), 8 * len(words[0])) == (entry["words"], entry["bits_per_word"])
        assert (said["word_bytes"], said["order"]) == (str(len(words[0])), entry["order"])
        assert said["words"] == str(len(words))
        assert said["payload_sha256"] == entry["payload_sha256"]
        assert (said["row_bytes"], said["row_stride"]) == (str(row), str(entry["row_stride"]))
        data = b"".join(word if entry["order"] == "big" else word[::-1] for word in words)
    else:
        assert len(data) == entry["words"]
    assert row == entry["row_bytes"] <= entry["row_stride"]
    rows = int(np.prod(entry["shape"][:-1]))
    held = [data[entry["row_stride"] * i :][:row] for i in range(rows)]
    gaps = [data[entry["row_stride"] * i :][row : entry["row_stride"]] for i in range(rows)]
    assert not any(map(any, gaps))
    return np.frombuffer(b"".join(held), dtype).reshape(entry["shape"])


def test_rows_are_as_far_apart_as_was_asked_for(tmp_path):
    _, of = written(tmp_path / "case", "shapes", "matmul-15x17x60", ROWS)
    found = {entry["name"]: entry for entry in of["files"]}
    size = of["layer"]
    assert (size["m"], size["n"], size["k"]) == (15, 17, 60)
    # By hand: K = 60 has 30 dense bytes and 8 of index a row (7.5 rounded up), words of 32 and 8.
    nd = "" if of["spec"]["layout"] == "nd" else "-nd"
    zn = "-zn" if of["spec"]["layout"] == "nd" else ""
    for name, words, row, stride in (
        (f"dense{nd}.hex", 17, 32, 32), (f"dense{zn}.hex", 32, 32, 32),
        (f"index{nd}.hex", 17, 8, 8), ("activations.hex", 15 * 128, 60, 512),
        ("activations.bin", 15 * 512, 60, 512),
    ):  # fmt: skip
        entry = found[name]
        assert (entry["words"], entry["row_bytes"], entry["row_stride"]) == (words, row, stride)


def test_each_field_of_the_unit_and_each_pad_has_a_name(tmp_path):
    made, of = written(tmp_path / "case", "shapes", "conv-2x2-x", SECOND)
    toml = tomllib.loads(Unit(of["unit"]["name"]).config.to_toml())
    assert of["unit"]["config"] == {**toml, **of["spec"]["unit"]["overrides"]}
    sizes, layer = of["spec"]["sizes"], of["layer"]
    assert list(layer["pads"].items()) == list(
        zip(("top", "left", "bottom", "right"), sizes["pads"], strict=True)
    )
    for name in ("kernel", "strides", "dilations"):
        assert layer[name] == dict(zip("hw", sizes[name], strict=True))
    assert made.pieces["expected"].array.shape == (
        layer["batch"], layer["ho"], layer["wo"], layer["n"],
    )  # fmt: skip
    assert layer["k"] == 2 * 2 * 32


@pytest.mark.parametrize("name", ["ties-columns", "sums-fp16-leaky", "sums-shift-16"])
def test_accumulators_are_what_is_requantised(tmp_path, name):
    made, _ = written(tmp_path / "case", "requant", name, SECOND)
    stored = manifest.load(tmp_path / "case")
    arrays = {
        role: stored.array(role)
        for role in ("weights", "dense", "index", "activations", "bias", "accumulators")
        if stored.entries(role)
    }
    plain = {**made.spec, "requant": None}
    got = plain_device.run(plain, {**arrays, "expected": arrays["accumulators"]})
    assert got.tobytes() == arrays["accumulators"].tobytes()


def test_a_case_without_requantisation_has_no_accumulators_and_version_1_never():
    assert "accumulators" not in build("shapes", 1, item_of("shapes", "loads"), 1, SECOND).pieces
    assert "accumulators" not in build("requant", 1, item_of("requant", "ties-fp16"), 1).pieces


@pytest.mark.parametrize("suite", ["shapes", "requant"])
def test_of_the_steps_the_valid_parts_alone_give_the_result(tmp_path, suite):
    """What the entries of the steps say is enough to add up each tile of L0C."""
    name = {"shapes": "matmul-17x33x68", "requant": "ties-columns"}[suite]
    _, of = written(tmp_path / "case", suite, name, replace(SECOND, steps=True))
    steps = {}
    for entry in of["files"]:
        if entry["format"] == "npy" and "step" in entry:
            step = entry["step"]
            array = np.load(tmp_path / "case" / entry["name"])
            steps.setdefault(step["mmad"], {})[step["image"]] = (array, step, entry["axes"])
    told = json.loads((tmp_path / "case" / "steps" / "steps.json").read_text())
    assert len(steps) == len(told)
    bias = next(
        (np.load(tmp_path / "case" / e["name"]) for e in of["files"]
         if e["role"] == "bias" and e["format"] == "npy"), np.zeros(1, np.int32)
    )  # fmt: skip
    before = {}
    for number, images in sorted(steps.items()):
        m, k = (images["l0a"][1]["valid"][axis] for axis in "mk")
        n = images["l0b"][1]["valid"]["n"]
        assert images["l0c"][1]["valid"] == {"m": m, "n": n}
        l0a, l0b, index, l0c = (images[name][0] for name in ("l0a", "l0b", "index", "l0c"))
        a = l0a.transpose(0, 2, 1, 3).reshape(16 * l0a.shape[0], -1)[:m, :k].astype(int)
        slots = l0b.transpose(1, 2, 0, 3).reshape(16 * l0b.shape[1], -1)[:n].astype(int)
        packed = index.transpose(1, 2, 0, 3).reshape(16 * index.shape[1], -1)[:n].astype(int)
        w = np.zeros((n, 2 * slots.shape[1]), int)
        for column in range(n):
            for slot in range(slots.shape[1]):
                pair = packed[column, slot // 4] >> 2 * (slot % 4) & 3
                w[column, 4 * (slot // 2) + pair + slot % 2] += slots[column, slot]
        c = l0c.transpose(1, 2, 0, 3).reshape(16 * l0c.shape[1], -1)[:m, :n]
        step = told[number]
        start = step["n_start"]
        carried = before[step["tile"]] if step["k_start"] else 0
        if bias.size > 1 and not step["k_start"]:
            carried = bias[start : start + n]
        assert np.array_equal(c, a @ w[:, :k].T + carried)
        before[step["tile"]] = c
        assert images["index"][1]["address"] == images["l0b"][1]["address"] // 4
        assert f"a={images['l0a'][1]['address']:#x} " in step["text"]
        assert f"c={images['l0c'][1]['address']:#x} " in step["text"]


@pytest.mark.parametrize("item", list(suites.items("negative", 0, 1)), ids=lambda item: item.name)
def test_negative_cases_give_their_errors_in_version_2_too(tmp_path, item):
    style = CaseStyle(("hex",), 4, role_words=(("dense", 8),), manifest=2)
    manifest.write(build("negative", 1, item, 1, style), tmp_path / "case")
    verify(tmp_path / "case")


@pytest.mark.parametrize("item", list(suites.items("faults", 0, 1)), ids=lambda item: item.name)
def test_faults_are_as_in_version_1(tmp_path, item):
    one, other = (build("faults", 1, item, 1, style) for style in (CaseStyle(), SECOND))
    assert one.outcome == other.outcome
    assert one.pieces.keys() == other.pieces.keys()


def test_each_flipped_bit_of_each_file_is_noticed(tmp_path):
    style = replace(ROWS, formats=("hex",), steps=False)
    written(tmp_path / "case", "requant", "ties-half", style)
    found = mutate(tmp_path / "case", 40)
    assert found.missed == ()
    assert found.flipped > 300


def test_version_2_is_read_wherever_version_1_is(tmp_path):
    made, _ = written(tmp_path / "case", "requant", "ties-half", ROWS)
    written(tmp_path / "one", "requant", "ties-half", CaseStyle())
    expected = made.pieces["expected"].array
    assert vectors.compare(tmp_path / "case", expected).equal
    assert vectors.compare(tmp_path / "case", tmp_path / "case" / "expected.hex").equal
    bad = expected.copy()
    bad.flat[-1] ^= 1
    found, before = (vectors.compare(tmp_path / name, bad) for name in ("case", "one"))
    assert (found.first, found.hypotheses) == (before.first, before.hypotheses)
    # Version 2 lists more bins: those of coverpoints that are newer than version 1.
    two, one = (manifest.load(tmp_path / name).manifest["coverage"] for name in ("case", "one"))
    first = {point.name for point in coverage.POINTS if point.since == 1}
    assert [name for name in two if name.partition("/")[0] in first] == one != two
    assert coverage.of_folder((tmp_path / "case",)).counts == dict.fromkeys(two, 1)
    small = shrink.shrink(tmp_path / "case", lambda folder: True).case
    assert small.style == ROWS
    manifest.write(small, tmp_path / "small")
    verify(tmp_path / "small")


def test_words_of_the_result_are_those_of_its_role(tmp_path):
    style = CaseStyle(("hex",), 1, role_words=(("expected", 4),), manifest=2)
    made, _ = written(tmp_path / "case", "shapes", "matmul-15x17x60", style)
    got = made.pieces["expected"].array.copy()
    got[1, 2] += 1 << 8
    text = "".join(f"{value & 0xFFFFFFFF:08x}\n" for value in got.reshape(-1).tolist())
    (tmp_path / "got.hex").write_text(text)
    found = vectors.compare(tmp_path / "case", tmp_path / "got.hex")
    assert (found.first, found.differing) == ((1, 2), 1)
    assert "word 19 byte 1 (words of 4 bytes, little)" in str(found)


@pytest.mark.parametrize(
    ("style", "said"),
    [
        ({"role_words": (("dense", 2),)}, "need version 2"),
        ({"row_strides": (("dense", "word"),)}, "need version 2"),
        ({"both_layouts": True}, "need version 2"),
        ({"manifest": 3}, "manifest"),
        ({"role_words": (("cycles", 2),), "manifest": 2}, "choose of weights, dense"),
        ({"role_words": (("dense", 0),), "manifest": 2}, "1 to 4096 bytes"),
        ({"role_words": (("dense", 2), ("dense", 4)), "manifest": 2}, "twice"),
        ({"role_words": "dense", "manifest": 2}, "pairs of a role"),
        ({"row_strides": (("bias", 64),), "manifest": 2}, "choose of weights, dense"),
        ({"row_strides": (("dense", 6),), "word_bytes": 4, "manifest": 2}, "no multiple"),
        ({"row_strides": (("dense", 65537),), "manifest": 2}, "row stride of dense"),
        ({"row_strides": (("dense", "row"),), "manifest": 2}, "row stride of dense"),
    ],
)  # fmt: skip
def test_styles_that_cannot_be_are_refused(style, said):
    with pytest.raises(ArgumentError, match=said):
        CaseStyle(**style)


def test_rows_that_are_longer_than_their_distance_are_refused():
    style = CaseStyle(("hex",), 4, row_strides=(("activations", 56),), manifest=2)
    with pytest.raises(ArgumentError, match="row stride 56 of activations: its rows have 60 bytes"):
        build("shapes", 1, item_of("shapes", "matmul-15x17x60"), 1, style)


def test_what_stands_between_rows_is_zero_or_refused(tmp_path):
    style = CaseStyle(("bin",), 4, row_strides=(("activations", 512),), manifest=2)
    written(tmp_path / "case", "shapes", "matmul-15x17x60", style)
    path = tmp_path / "case" / "activations.bin"
    data = bytearray(path.read_bytes())
    data[100] = 1
    path.write_bytes(data)
    with pytest.raises(FileFormatError, match="between two rows"):
        manifest.load(tmp_path / "case").array("activations")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda of: of.pop("layer"), "layer is missing"),
        (lambda of: of["layer"].update(pad=1), "layer.pad is unknown"),
        (lambda of: of["style"].update(row_strides={"dense": "row"}), "row_strides.dense"),
        (lambda of: of["style"].update(row_strides={"dense": 6}), "no multiple"),
        (lambda of: of["style"].update(role_words={"bad": 6}), "role_words.bad is unknown"),
        (lambda of: of.update(schema="cube24-case-3"), "cube24-case-3"),
        (lambda of: of.update(schema="cube24-case-1"), "sha256 is missing"),
        (lambda of: of.update(seal="0" * 64), "it was changed"),
    ],
)  # fmt: skip
def test_what_is_no_manifest_of_version_2_is_refused(tmp_path, change, said):
    _, of = written(tmp_path / "case", "shapes", "conv-2x2-x", SECOND)
    del of["seal"]
    change(of)
    text = manifest.json_text(of) if "seal" in of else manifest.sealed(of)
    (tmp_path / "case" / "manifest.json").write_bytes(text)
    with pytest.raises(FileFormatError, match=said):
        manifest.load(tmp_path / "case")


# --- campaigns ------------------------------------------------------------------------------------


def test_cases_are_chosen_by_patterns(tmp_path):
    of = Campaign(("shapes", "faults"), 0, 1, cases=("conv-*", "faults/*-00003"))
    names = [f"{suite}/{item.name}" for suite, item in of.items()]
    assert names == [
        f"{suite}/{item.name}" for suite in ("shapes", "faults")
        for item in suites.items(suite, 0, 1)
        if item.name.startswith("conv-") or (suite == "faults" and item.name.endswith("-00003"))
    ]  # fmt: skip
    assert len(names) > 10
    vectors.generate(tmp_path / "set", replace(of, cases=("conv-1x1",), suites=("shapes",)))
    assert [path.name for path in (tmp_path / "set" / "shapes").iterdir()] == ["conv-1x1"]
    again = Campaign.load(tmp_path / "set")
    assert again.cases == ("conv-1x1",)
    assert again.command("set") == (
        "cube24 vectors generate set --suite shapes --case conv-1x1 --level 1 --seed 1 "
        "--format npy --format hex --word-bytes 1 --order little"
    ).replace("--level 1", "--level 0")
    with pytest.raises(ArgumentError, match=r"'shapes/conv-9\*': no case"):
        Campaign(("shapes",), 0, cases=("conv-*", "shapes/conv-9*"))


@pytest.mark.parametrize("layout", ["nd", "zn"])
def test_all_cases_have_the_layout_that_was_asked_for(tmp_path, layout):
    of = Campaign(("shapes",), 0, 1, CaseStyle(("hex",)), ("matmul-1?x*",), layout)
    vectors.generate(tmp_path / "set", of)
    folders = list(manifest.folders(tmp_path / "set"))
    assert len(folders) == of.count() > 3
    for folder in folders:
        assert verify(folder).spec["layout"] == layout
    assert Campaign.load(tmp_path / "set") == of
    assert missing(tmp_path / "set") == ()


@pytest.mark.parametrize(
    ("suite", "how"),
    [
        ("faults", {"layout": "nd"}), ("negative", {"layout": "zn"}),
        ("patterns", {"layout": "zn"}), ("faults", {"style": replace(SECOND, both_layouts=True)}),
    ],
)  # fmt: skip
def test_no_layout_is_put_on_cases_that_are_about_one(suite, how):
    with pytest.raises(ArgumentError, match=f"the cases of {suite} are about the layout"):
        Campaign(("shapes", suite), 0, 1, **how)


def test_a_suite_is_added_to_a_campaign(tmp_path):
    style = CaseStyle(("hex",), 4, header=False)
    vectors.generate(tmp_path / "two", Campaign(("patterns", "faults"), 0, 7, style))
    vectors.generate(tmp_path / "one", Campaign(("patterns",), 0, 7, style))
    times = {path: path.stat().st_mtime_ns for path in tmp_path.glob("one/patterns/*/*")}
    of = add_suites(tmp_path / "one", ("faults", "patterns"))
    assert of == Campaign(("patterns", "faults"), 0, 7, style)
    assert len(missing(tmp_path / "one")) == 24
    assert vectors.generate(tmp_path / "one", of).kept == 3
    trees = [
        {path.relative_to(tmp_path / root): path.read_bytes()
         for path in (tmp_path / root).rglob("*") if path.is_file()}
        for root in ("one", "two")
    ]  # fmt: skip
    assert trees[0] == trees[1]
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())


def test_a_suite_of_which_the_campaign_takes_no_case_is_not_added(tmp_path):
    of = Campaign(("shapes",), 0, cases=("matmul-1x1x8",))
    vectors.generate(tmp_path / "set", of)
    before = (tmp_path / "set" / "campaign.json").read_bytes()
    with pytest.raises(ArgumentError, match=r"suite foreign has no case .* are matmul-1x1x8"):
        add_suites(tmp_path / "set", ("foreign",))
    assert (tmp_path / "set" / "campaign.json").read_bytes() == before


def test_rows_that_a_style_cannot_have_are_the_fault_of_the_file(tmp_path):
    written(tmp_path / "case", "shapes", "matmul-15x17x60", ROWS)
    path = tmp_path / "case" / "manifest.json"
    of = json.loads(path.read_text())
    del of["seal"]
    of["style"]["row_strides"]["activations"] = 4
    path.write_bytes(manifest.sealed(of))
    stored = manifest.load(tmp_path / "case")
    with pytest.raises(FileFormatError, match="row stride 4 of activations"):
        stored.array("activations")


def test_no_suite_is_added_where_there_is_no_such_campaign(tmp_path):
    vectors.generate(tmp_path / "set", Campaign(("patterns",), 0))
    path = tmp_path / "set" / "campaign.json"
    good = path.read_bytes()
    with pytest.raises(ArgumentError, match="no-such"):
        add_suites(tmp_path / "set", ("no-such",))
    with pytest.raises(ArgumentError, match="suites"):
        add_suites(tmp_path / "set", ())
    assert path.read_bytes() == good
    other = good.replace(b'"package": "', b'"package": "9')
    path.write_bytes(other)
    with pytest.raises(ArgumentError, match="package"):
        add_suites(tmp_path / "set", ("faults",))
    assert path.read_bytes() == other
    shutil.rmtree(tmp_path / "set")
    with pytest.raises(FileAccessError):
        add_suites(tmp_path / "set", ("faults",))


def test_a_campaign_of_version_2_is_read_back(tmp_path):
    of = Campaign(("shapes",), 0, 3, ROWS, ("conv-1x1",))
    vectors.generate(tmp_path / "set", of)
    assert Campaign.load(tmp_path / "set") == of
    about = json.loads((tmp_path / "set" / "campaign.json").read_text())
    assert about["schema"] == "cube24-campaign-2"
    assert schema.problem(about, schema.load("campaign-2")) is None
    path = tmp_path / "set" / "campaign.json"
    path.write_text(json.dumps({**about, "layout": "nz"}))
    with pytest.raises(FileFormatError, match="layout 'nz'"):
        Campaign.load(tmp_path / "set")


def test_the_default_style_gives_version_1_and_a_new_suite_version_2():
    for suite in suites.SUITES:
        assert suites.style_of(suite, CaseStyle()).manifest == (1 if suite in suites.FIRST else 2)
    assert suites.style_of("of-tomorrow", CaseStyle()).manifest == 2
