"""The committed sets: every byte made again, computed by a plain device, complete, and frozen."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import plain_device as device
import pytest
from mutants import arrays_of

from cube24.vectors import coverage, suites
from cube24.vectors.campaign import Campaign, generate
from cube24.vectors.description import missing
from cube24.vectors.verification import verify

GOLDEN = Path(__file__).parents[2] / "vectors" / "golden"
#: The folders of its campaigns: a released one stays as it is, and more suites come beside it.
SETS = {"first": GOLDEN, "set-2": GOLDEN / "set-2"}
CASES = sorted(path.parent for root in SETS.values() for path in root.glob("*/*/manifest.json"))
MANIFESTS = {folder: json.loads((folder / "manifest.json").read_text()) for folder in CASES}

#: Over the name and the SHA-256 of each file, sorted by name. A released vector never changes: a
#: generator that gives other bytes gets a new suite version, and cases of their own.
FROZEN = {
    "first": "022a61b843d09ef46ac7020dba72d301edf52725c0ce5240f2b872ab9d3b745c",
    "set-2": "7f893bef8ec47ff5bad3934537b5b2f6afc7d9a59b39610e356c14ff0d047dae",
}


def name_of(folder: Path) -> str:
    return f"{folder.parent.name}/{folder.name}"


def tree(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*")) if path.is_file()
    }  # fmt: skip


def of_set(name: str) -> dict[str, bytes]:
    """The files of one of the sets."""
    files = tree(SETS[name])
    return {at: files[at] for at in files if name != "first" or not at.startswith("set-2/")}


def test_no_checkout_of_git_changes_a_byte(tmp_path: Path) -> None:
    """With core.autocrlf, git writes CR LF into what it takes for text, unless it is told."""
    one, other = tmp_path / "one", tmp_path / "other"
    shutil.copytree(GOLDEN, one / "vectors" / "golden")
    shutil.copy(GOLDEN.parents[1] / ".gitattributes", one)
    who = ("-c", "user.name=nobody", "-c", "user.email=nobody@example.org")
    for command in (
        ("init", "-q", str(one)),
        ("-C", str(one), "add", "--all"),
        ("-C", str(one), *who, "commit", "-q", "-m", "All"),
        ("clone", "-q", "-c", "core.autocrlf=true", str(one), str(other)),
    ):
        subprocess.run(("git", *command), check=True, timeout=60)
    assert tree(other / "vectors" / "golden") == tree(GOLDEN)


@pytest.mark.parametrize("name", SETS)
def test_no_byte_of_it_has_changed(name: str) -> None:
    files = of_set(name)
    lines = [f"{at} {hashlib.sha256(files[at]).hexdigest()}\n" for at in sorted(files)]
    assert hashlib.sha256("".join(lines).encode()).hexdigest() == FROZEN[name]


def test_it_is_level_0_of_every_suite_and_small() -> None:
    names = {
        f"{suite}/{item.name}" for suite in suites.SUITES for item in suites.items(suite, 0, 1)
    }
    assert {name_of(folder) for folder in CASES} == names
    assert sum(map(len, of_set("first").values())) < 3 << 20
    assert sum(map(len, of_set("set-2").values())) < 6 << 20
    in_sets = {name: Campaign.load(root) for name, root in SETS.items()}
    for name, of in in_sets.items():
        there = {path.name for path in SETS[name].iterdir()} - {"set-2"}
        assert there == {*of.suites, "campaign.json"}
        assert missing(SETS[name]) == ()
    assert [suite for of in in_sets.values() for suite in of.suites] == list(suites.SUITES)
    assert in_sets["first"].suites == suites.FIRST


@pytest.mark.parametrize("name", SETS)
def test_its_command_makes_the_same_numbers(name: str, tmp_path: Path) -> None:
    campaign = Campaign.load(SETS[name])
    assert (campaign.level, campaign.seed, campaign.style.formats) == (0, 1, ("hex",))
    assert (campaign.style.word_bytes, campaign.style.header) == (4, False)
    generate(tmp_path, campaign)
    # These three name the version of the package, or depend on its model of time.
    own = ("manifest.json", "cycles.json", "campaign.json")
    one, other = (
        {at: data for at, data in files.items() if not at.endswith(own)}
        for files in (of_set(name), tree(tmp_path))
    )
    assert one == other
    assert len(one) > (1000 if name == "first" else 400)


@pytest.mark.parametrize("folder", CASES, ids=name_of)
def test_every_byte_is_made_again(folder: Path) -> None:
    verify(folder)


def test_it_hits_every_bin_that_can_be_hit() -> None:
    table = coverage.of_folder(GOLDEN)
    assert table.holes == ()
    assert table.percent == 100
    assert table.cases == len(CASES)


RESULTS = [folder for folder in CASES if MANIFESTS[folder]["outcome"]["kind"] != "error"]


@pytest.mark.parametrize("folder", RESULTS, ids=name_of)
def test_a_plain_device_gives_the_expected_result(folder: Path) -> None:
    arrays = arrays_of(folder, MANIFESTS[folder])
    got = device.run(MANIFESTS[folder]["spec"], arrays)
    assert got.tobytes() == arrays["expected"].tobytes()


def test_results_are_those_of_most_cases() -> None:
    assert len(RESULTS) > 240
    assert {folder.parent.name for folder in RESULTS} == {*suites.SUITES} - {"negative"}


def test_a_plain_device_refuses_the_flipped_bits_that_are_errors() -> None:
    refused = [
        folder for folder in CASES if folder.parent.name == "faults" and folder not in RESULTS
    ]
    assert refused
    for folder in refused:
        arrays = arrays_of(folder, MANIFESTS[folder])
        size = MANIFESTS[folder]["spec"]["sizes"]
        arrays["expected"] = np.zeros((size["m"], size["n"]), np.int32)
        with pytest.raises(AssertionError):  # an index of 3
            device.run(MANIFESTS[folder]["spec"], arrays)
