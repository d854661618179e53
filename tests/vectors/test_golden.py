"""The committed set: every byte made again, computed by a plain device, complete, and frozen."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import plain_device as device
import pytest

from cube24.vectors import coverage, suites
from cube24.vectors.campaign import Campaign, generate
from cube24.vectors.files import CaseStyle
from cube24.vectors.verification import verify

GOLDEN = Path(__file__).parents[2] / "vectors" / "golden"
CASES = sorted(path.parent for path in GOLDEN.glob("*/*/manifest.json"))
MANIFESTS = {folder: json.loads((folder / "manifest.json").read_text()) for folder in CASES}

#: Over the name and the SHA-256 of each file, sorted by name. A released vector never changes: a
#: generator that gives other bytes gets a new suite version, and cases of their own.
FROZEN = "022a61b843d09ef46ac7020dba72d301edf52725c0ce5240f2b872ab9d3b745c"


def name_of(folder: Path) -> str:
    return f"{folder.parent.name}/{folder.name}"


def tree(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*")) if path.is_file()
    }  # fmt: skip


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


def test_no_byte_of_it_has_changed() -> None:
    files = tree(GOLDEN)
    lines = [f"{name} {hashlib.sha256(files[name]).hexdigest()}\n" for name in sorted(files)]
    assert hashlib.sha256("".join(lines).encode()).hexdigest() == FROZEN


def test_it_is_level_0_of_every_suite_and_small() -> None:
    names = {
        f"{suite}/{item.name}" for suite in suites.SUITES for item in suites.items(suite, 0, 1)
    }
    assert {name_of(folder) for folder in CASES} == names
    assert sum(map(len, tree(GOLDEN).values())) < 3 << 20
    assert {path.name for path in GOLDEN.iterdir()} == {*suites.SUITES, "campaign.json"}


def test_its_command_makes_the_same_numbers(tmp_path: Path) -> None:
    style = CaseStyle(("hex",), 4, "little", False)
    generate(tmp_path, Campaign(tuple(suites.SUITES), 0, 1, style))
    # These three name the version of the package, or depend on its model of time.
    own = ("manifest.json", "cycles.json", "campaign.json")
    one, other = (
        {name: data for name, data in tree(root).items() if not name.endswith(own)}
        for root in (GOLDEN, tmp_path)
    )
    assert one == other
    assert len(one) > 1000


@pytest.mark.parametrize("folder", CASES, ids=name_of)
def test_every_byte_is_made_again(folder: Path) -> None:
    verify(folder)


def test_it_hits_every_bin_that_can_be_hit() -> None:
    table = coverage.of_folder(GOLDEN)
    assert table.holes == ()
    assert table.percent == 100
    assert table.cases == len(CASES)


def arrays_of(folder: Path) -> dict[str, Any]:
    """The arrays of a case, with a reader that shares nothing with the package."""
    found = {}
    for entry in MANIFESTS[folder]["files"]:
        if entry["format"] != "hex":
            continue
        lines = (folder / entry["name"]).read_text().splitlines()
        assert len(lines) == entry["words"]
        data = b"".join(bytes.fromhex(line)[::-1] for line in lines)
        dtype = np.dtype(entry["dtype"])
        size = dtype.itemsize * int(np.prod(entry["shape"]))
        assert not any(data[size:])
        found[entry["role"]] = np.frombuffer(data[:size], dtype).reshape(entry["shape"])
    return found


RESULTS = [folder for folder in CASES if MANIFESTS[folder]["outcome"]["kind"] != "error"]


@pytest.mark.parametrize("folder", RESULTS, ids=name_of)
def test_a_plain_device_gives_the_expected_result(folder: Path) -> None:
    arrays = arrays_of(folder)
    got = device.run(MANIFESTS[folder]["spec"], arrays)
    assert got.tobytes() == arrays["expected"].tobytes()


def test_results_are_those_of_most_cases() -> None:
    assert len(RESULTS) > 150
    assert {folder.parent.name for folder in RESULTS} == {*suites.SUITES} - {"negative"}


def test_a_plain_device_refuses_the_flipped_bits_that_are_errors() -> None:
    refused = [
        folder for folder in CASES if folder.parent.name == "faults" and folder not in RESULTS
    ]
    assert refused
    for folder in refused:
        arrays = arrays_of(folder)
        size = MANIFESTS[folder]["spec"]["sizes"]
        arrays["expected"] = np.zeros((size["m"], size["n"]), np.int32)
        with pytest.raises(AssertionError):  # an index of 3
            device.run(MANIFESTS[folder]["spec"], arrays)
