"""One output group by group: its sums, its coordinates, and the change that gives what was got."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import plain_device as device
import pytest
from compared import SPECS, Made

from cube24.vectors.comparison import compare


@pytest.mark.parametrize("name", list(SPECS))
def test_running_sums_end_in_the_expected_value(cases: Callable[[str], Made], name: str) -> None:
    stored, arrays = cases(name)
    expected = arrays["expected"]
    for number in range(0, expected.size, 1 + expected.size // 4):
        index = np.unravel_index(number, expected.shape)
        got = expected.copy()
        got[index] = 1 if got[index] != 1 else 2
        told = compare(stored, got).explanation
        assert told is not None
        assert told.index == index
        assert told.matches
        assert told.lines[-1].sum == told.accumulator
        if told.requant:
            assert told.requant[-1][1] == str(expected[index])
        else:
            assert told.accumulator == expected[index]
        # A sum of its own, from what the lines say.
        if name not in ("saturate", "grain", "wrap"):
            total = told.start
            for line in told.lines:
                for weight, selected in zip(line.weights, line.activations, strict=True):
                    total += weight * selected.value
                assert line.sum == total


def test_coordinates_are_those_of_the_activations(cases: Callable[[str], Made]) -> None:
    stored, arrays = cases("conv")
    x, size = arrays["activations"], stored.spec["sizes"]
    got = arrays["expected"].copy()
    got[1, 0, 1, 3] += 1
    told = compare(stored, got).explanation
    assert told is not None
    places, padding = set(), 0
    for line in told.lines:
        for selected in line.activations:
            if selected.place is None:
                assert selected.note.startswith(("padding", "no channel"))
                if selected.note.startswith("padding"):
                    assert selected.value == size["offset_x"]
                    padding += 1
                continue
            b, c, h, w = selected.place
            assert x[b, c // 32, h, w, c % 32] == selected.value
            places.add((h, w))
            assert b == 1
    # Output row 0 of a kernel of 3 rows with one row of padding above: image rows 0 and 1; output
    # column 1 with a stride of 2: columns 2 and 3.
    assert places == {(0, 2), (0, 3), (1, 2), (1, 3)}
    assert padding > 0


def test_groups_without_weights_are_left_out_of_a_long_text(
    cases: Callable[[str], Made],
) -> None:
    stored, arrays = cases("conv-nd")  # 3 channels of 32: one group in eight has weights
    got = arrays["expected"].copy()
    got[0, 0, 0, 0] += 3
    told = compare(stored, got).explanation
    assert told is not None
    text = [line for line in str(told).splitlines() if line.startswith("  group ")]
    kept = [line for line in told.lines if any(line.weights) or line is told.lines[-1]]
    assert text == [f"  {line}" for line in kept]
    assert f"  {len(told.lines) - len(kept)} groups with weights of 0 are left out" in str(told)
    assert len(told.to_dict()["groups"]) == len(told.lines)


def test_coordinates_of_a_matrix(cases: Callable[[str], Made]) -> None:
    stored, arrays = cases("nd-tail")
    got = arrays["expected"].copy()
    got[2, 4] += 1
    told = compare(stored, got).explanation
    assert told is not None
    for line in told.lines:
        for place in (selected.place for selected in line.activations):
            assert place is None or (place[0] == 2 and 0 <= place[1] - 4 * line.group < 4)


@pytest.mark.parametrize("group", [0, 7, 33])
def test_a_wrong_group_is_found(cases: Callable[[str], Made], group: int) -> None:
    # A flipped bit in one dense byte, as the plain device computes with it: one column differs.
    stored, arrays = cases("nd")
    bad = dict(arrays, dense=arrays["dense"].copy())
    bad["dense"][5, 2 * group + 1] ^= 1 << 6
    found = compare(stored, device.run(stored.spec, bad))
    assert found.hypotheses == ()
    assert found.explanation is not None
    fault = found.explanation.fault
    assert fault is not None
    assert (fault.group, fault.whole) == (group, "column")
    assert fault.about == "bit 6 of the weight of slot 1 is flipped"
    assert found.explanation.shown == group + 1


def test_no_fault_is_named_where_several_changes_give_one_output(
    cases: Callable[[str], Made],
) -> None:
    stored, arrays = cases("nd")
    several = 0
    for delta in range(1, 60):
        got = arrays["expected"].copy()
        got[3, 2] += delta
        told = compare(stored, got).explanation
        assert told is not None
        if told.candidates > 1 and not told.faults[0].whole:
            several += 1
            assert told.fault is None
            assert told.shown == len(told.lines)
            assert told.note.startswith(f"{told.candidates} changes of one group would give ")
    assert several > 10


def test_a_wrong_activation_is_found(cases: Callable[[str], Made]) -> None:
    stored, arrays = cases("zn")
    bad = dict(arrays, activations=arrays["activations"].copy())
    bad["activations"][4, 50] ^= 1 << 5
    told = compare(stored, device.run(stored.spec, bad)).explanation
    assert told is not None
    assert told.fault is not None
    assert (told.fault.group, told.fault.whole) == (50 // 4, "row")
    assert told.fault.about == "bit 5 of element 2 is flipped"


def hex_of(array: np.ndarray, unknown: list[tuple[int, int]]) -> str:
    words = np.array([f"{int(value) % 2**32:08x}" for value in array.reshape(-1)])
    for row, column in unknown:
        words[row * array.shape[1] + column] = "xxxxxxxx"
    return "\n".join(words.tolist()) + "\n"


def test_an_undriven_output_does_not_hide_the_fault_of_its_column(
    cases: Callable[[str], Made], tmp_path: Path
) -> None:
    stored, arrays = cases("nd")
    bad = dict(arrays, dense=arrays["dense"].copy())
    bad["dense"][5, 2 * 7 + 1] ^= 1 << 6
    got = device.run(stored.spec, bad)
    first = int(np.flatnonzero((got != arrays["expected"])[:, 5])[0])
    for unknown, whole in (([16], "column"), ([row for row in range(17) if row != first], "")):
        (tmp_path / "got.hex").write_text(hex_of(got, [(row, 5) for row in unknown]))
        told = compare(stored, tmp_path / "got.hex", word_bytes=4).explanation
        assert told is not None
        assert told.faults[0].whole == whole
    (tmp_path / "got.hex").write_text(hex_of(got, [(16, 5)]))
    found = compare(stored, tmp_path / "got.hex", word_bytes=4)
    line = next(line for line in str(found).splitlines() if line.startswith("  fault: "))
    assert line.startswith("  fault: group 7: bit 6 of the weight of slot 1 is flipped; it adds ")
    assert line.endswith("; explains all of this column that was got")
    # Of one output more that is another one, it is not said.
    got[(first + 1) % 17, 5] += 1
    (tmp_path / "got.hex").write_text(hex_of(got, [(first + 2, 5)]))
    told = compare(stored, tmp_path / "got.hex", word_bytes=4).explanation
    assert told is not None
    assert not told.faults[0].whole


def test_an_undriven_output_does_not_hide_the_fault_of_its_row(
    cases: Callable[[str], Made], tmp_path: Path
) -> None:
    stored, arrays = cases("zn")
    bad = dict(arrays, activations=arrays["activations"].copy())
    bad["activations"][4, 50] ^= 1 << 5
    got = device.run(stored.spec, bad)
    first = int(np.flatnonzero((got != arrays["expected"])[4])[0])
    for unknown, whole in (([32], "row"), ([n for n in range(33) if n != first], "")):
        (tmp_path / "got.hex").write_text(hex_of(got, [(4, column) for column in unknown]))
        told = compare(stored, tmp_path / "got.hex", word_bytes=4).explanation
        assert told is not None
        assert told.faults[0].whole == whole
        if whole:
            assert told.faults[0].about == "bit 5 of element 2 is flipped"
            assert str(told.faults[0]).endswith("explains all of this row that was got")
