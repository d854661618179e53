"""Shrinking: what is left still fails, nothing of it can go, and it is a case like any other."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import plain_device as plain
import pytest

from cube24.encoder import ArgumentError, Cube24Error
from cube24.vectors.build import build
from cube24.vectors.files import CaseStyle
from cube24.vectors.manifest import load, write
from cube24.vectors.shrink import DeviceError, cropped, device, shrink
from cube24.vectors.spec import AXES, Item, conv2d, matmul
from cube24.vectors.suites import items
from cube24.vectors.verification import verify

SPECS: dict[str, dict[str, Any]] = {
    "matmul": matmul(5, 18, 72, weights="full", bias=[3, -9, 77]),
    "tail": matmul(3, 5, 67, layout="nd"),
    "requant": matmul(
        3, 6, 68,
        requant={"scale": [0.01, 0.02, 0.5, 1.0, 0.001, 3.0], "offset": [0, 1, 2, 3, 4, 5]},
    ),
    "conv": conv2d(7, 5, (4, 3), (2, 3), batch=2, pads=(1, 1, 0, 0), bias=[100, -100]),
}  # fmt: skip


def make(folder: Path, spec: dict[str, Any], suite: str = "test") -> Path:
    write(build(suite, 1, Item("case", spec), 1), folder)
    return folder


def with_fault(fault: str) -> Callable[[Path], bool]:
    """Whether a device with a fault gives something else: the plain one, on the files."""

    def fails(folder: Path) -> bool:
        stored = load(folder)
        roles = [path.stem for path in folder.glob("*.npy")]
        arrays = {role: np.load(folder / f"{role}.npy") for role in roles}
        return bool((plain.run(stored.spec, arrays, fault) != arrays["expected"]).any())

    return fails


@pytest.mark.parametrize("name", list(SPECS))
@pytest.mark.parametrize("fault", ["index-nibbles-swapped", "activations-unsigned"])
def test_it_still_fails_and_nothing_of_it_can_go(tmp_path: Path, name: str, fault: str) -> None:
    folder, fails = make(tmp_path / "case", SPECS[name]), with_fault(fault)
    told: list[str] = []
    found = shrink(folder, fails, progress=told.append)
    write(found.case, tmp_path / "small")
    assert fails(tmp_path / "small")
    verify(tmp_path / "small")
    assert found.case.tags[-1] == "shrunk"
    assert told[-1].startswith("1 rows, 1 columns")
    crop = found.case.spec["fill"]["crop"]
    for axis in AXES:
        for gone in range(len(crop[axis])):
            left = {name: list(range(len(crop[name]))) for name in AXES}
            del left[axis][gone]
            if not left[axis]:
                continue
            smaller = make(tmp_path / f"{axis}{gone}", cropped(found.case.spec, left))
            assert not fails(smaller), f"{axis} {gone} could have gone too"


def test_pieces_that_are_needed_together_stay_and_all_others_go(tmp_path: Path) -> None:
    # Two columns and two groups; and rows can go only when there are few columns left, so that a
    # second round has to find out.
    def fails(folder: Path) -> bool:
        crop = load(folder).spec["fill"]["crop"]
        rows, columns, groups = (set(crop[axis]) for axis in AXES)
        together = {3, 7} <= columns and {2, 11} <= groups and 1 in rows
        return together and (len(columns) <= 4 or len(rows) == 5)

    make(tmp_path / "case", SPECS["matmul"])
    crop = shrink(tmp_path / "case", fails).case.spec["fill"]["crop"]
    assert [crop[axis] for axis in AXES] == [[1], [3, 7], [2, 11]]


@pytest.mark.parametrize("gone", range(4))
def test_a_single_piece_of_four_can_go(tmp_path: Path, gone: int) -> None:
    kept = {0, 1, 2, 3} - {gone}
    make(tmp_path / "case", matmul(1, 1, 16))
    found = shrink(
        tmp_path / "case", lambda folder: kept <= set(load(folder).spec["fill"]["crop"]["groups"])
    )
    assert set(found.case.spec["fill"]["crop"]["groups"]) == kept


@pytest.mark.parametrize("name", list(SPECS))
def test_what_is_left_are_numbers_of_the_first_case(tmp_path: Path, name: str) -> None:
    make(tmp_path / "case", SPECS[name])
    # Groups stay in their order: the last one may be a short one.
    last = {"matmul": 17, "tail": 16, "requant": 16, "conv": 1}[name]
    rows, columns, groups = [1, 0], [4, 1], [0, last]
    spec = cropped(SPECS[name], {"rows": rows, "columns": columns, "groups": groups})
    make(tmp_path / "small", spec)
    whole, part = (
        {path.stem: np.load(path) for path in (tmp_path / folder).glob("*.npy")}
        for folder in ("case", "small")
    )
    total = {"matmul": 72, "tail": 67, "requant": 68, "conv": 7}[name]
    k = [*range(4), *range(4 * last, total)]
    if name == "conv":
        x = whole["activations"][rows].transpose(0, 1, 4, 2, 3).reshape(2, 32, 4, 3)
        got = part["activations"].transpose(0, 1, 4, 2, 3).reshape(2, 32, 4, 3)
        assert np.array_equal(got[:, : len(k)], x[:, k])
    else:
        assert np.array_equal(part["activations"], whole["activations"][rows][:, k])
    assert np.array_equal(part["weights"], whole["weights"][columns][:, k])
    for role in ("bias", "requant"):
        assert (role in part) == (role in whole)
        if role in part:
            assert np.array_equal(part[role], whole[role][columns])
    assert np.array_equal(plain.run(spec, part), part["expected"])


def test_a_shrunk_case_can_be_shrunk_again(tmp_path: Path) -> None:
    make(tmp_path / "case", SPECS["matmul"])
    first = shrink(tmp_path / "case", with_fault("weights-unsigned"), limit=4)
    assert first.runs == 4
    write(first.case, tmp_path / "first")
    second = shrink(tmp_path / "first", with_fault("weights-unsigned"))
    write(second.case, tmp_path / "second")
    verify(tmp_path / "second")
    crop = second.case.spec["fill"]["crop"]
    assert crop["of"] == [5, 18, 72]
    assert [len(crop[axis]) for axis in AXES] == [1, 1, 1]
    whole, part = (np.load(tmp_path / name / "weights.npy") for name in ("case", "second"))
    (column,), (group,) = crop["columns"], crop["groups"]
    assert np.array_equal(part, whole[[column], 4 * group : 4 * group + 4])


def test_the_same_shrinking_gives_the_same_case(tmp_path: Path) -> None:
    make(tmp_path / "case", SPECS["conv"])
    one, other = (shrink(tmp_path / "case", with_fault("slots-swapped")) for _ in range(2))
    assert (one.case.spec, one.runs) == (other.case.spec, other.runs)


def test_a_device_that_does_not_fail_and_cases_that_are_changed_are_refused(tmp_path: Path) -> None:
    make(tmp_path / "case", SPECS["tail"])
    with pytest.raises(ArgumentError, match="does not fail"):
        shrink(tmp_path / "case", with_fault(""))
    for suite in ("faults", "negative"):
        item = next(iter(items(suite, 0, 1)))
        write(build(suite, 1, item, 1), tmp_path / suite)
        with pytest.raises(ArgumentError, match="as small as it can be"):
            shrink(tmp_path / suite, lambda folder: True)


DUT = """
import json, sys
from pathlib import Path
import numpy as np
folder, got = sys.argv[1:]
want = np.load(Path(folder) / "expected.npy")
result = want.copy()
if (np.load(Path(folder) / "weights.npy") == WEIGHT).any():
    result[-1, -1] += 1
Path(got).write_bytes(result.astype("<i4").tobytes())
"""


def test_a_command_is_run_for_each_smaller_case(tmp_path: Path) -> None:
    make(tmp_path / "case", SPECS["matmul"])
    weights = np.load(tmp_path / "case" / "weights.npy")
    script = tmp_path / "a script.py"
    script.write_text(DUT.replace("WEIGHT", str(weights[11, np.flatnonzero(weights[11])[3]])))
    words = [sys.executable, str(script), "{case}", "{got}"]
    found = shrink(tmp_path / "case", device(shlex.join(words), ".bin"))
    crop = found.case.spec["fill"]["crop"]
    assert [len(crop[axis]) for axis in AXES] == [1, 1, 1]
    group = 4 * crop["groups"][0]
    left = weights[crop["columns"][0], group : group + 4]
    assert np.array_equal(found.case.pieces["weights"].array[0], left)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("/no/such/device {case} {got}", "No such file"),
        ("false {case} {got}", "exit code 1 and no got.hex"),
        (f"'{sys.executable}' -c 'raise ValueError(5)' {{case}} {{got}}", "ValueError: 5"),
        ("sh -c 'exec sleep 60' {case} {got}", "timed out"),
    ],
)  # fmt: skip
def test_a_device_that_does_not_run_is_an_error(tmp_path: Path, command: str, said: str) -> None:
    make(tmp_path / "case", SPECS["tail"])
    with pytest.raises(DeviceError, match=said):
        shrink(tmp_path / "case", device(command, timeout=0.5))


def test_a_dump_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    make(tmp_path / "case", SPECS["tail"])
    with pytest.raises(Cube24Error, match="truncated"):
        shrink(tmp_path / "case", device("touch {case} {got}"))


@pytest.mark.parametrize("command", ["run", "run {case}", "run {got}"])
def test_a_command_names_what_to_read_and_to_write(command: str) -> None:
    with pytest.raises(ArgumentError, match=r"name \{case\}"):
        device(command)


def test_a_command_that_cannot_be_taken_apart_is_refused() -> None:
    with pytest.raises(ArgumentError, match="No closing quotation"):
        device("run '{case} {got}")


def test_other_braces_of_a_command_are_left_alone(tmp_path: Path) -> None:
    make(tmp_path / "case", SPECS["tail"])
    command = "sh -c 'for i in {case}; do cp ${i}/expected.hex {got}; done'"
    assert not device(command)(tmp_path / "case")


def test_files_stay_in_the_style_of_the_case(tmp_path: Path) -> None:
    style = CaseStyle(("bin", "npy"), 4, "big")
    write(build("test", 1, Item("case", SPECS["tail"]), 1, style), tmp_path / "case")
    assert shrink(tmp_path / "case", with_fault("weights-unsigned")).case.style == style
