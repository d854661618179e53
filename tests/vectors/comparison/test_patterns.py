"""What compare says of injected faults, of which a few have a name and all others none.

The faulty devices are those of plain_device.py, or that device with a part exchanged here: plain
loops, which share nothing with the package. What must be said of each was written down before.
"""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import plain_device as plain
import pytest
from compared import Made, make

from cube24.vectors.comparison import compare
from cube24.vectors.comparison.patterns import PATTERNS
from cube24.vectors.spec import conv2d, matmul

SPECS: dict[str, dict[str, Any]] = {
    "wide": matmul(32, 48, 128, weights="full"),
    "ragged": matmul(18, 33, 132, weights="full"),
    "bias": matmul(20, 18, 72, weights="full", bias=[500, -3, 70000], layout="nd"),
    "requant": matmul(17, 20, 128, weights="full", requant={"scale": 0.002, "offset": 3}),
    "row": matmul(1, 9, 64, weights="full"),
    "conv": conv2d(33, 17, (4, 5), (3, 2), pads=(1, 0, 1, 1), weights="full"),
    "half": matmul(
        20, 18, 128, weights="full", requant={"scale": 0.01, "mode": "DEQF16"},
    ),
    "uint8": matmul(
        17, 20, 128, weights="full", requant={"scale": 0.002, "offset": 90, "signed": False},
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Made]:
    root, found = tmp_path_factory.mktemp("patterns"), {}

    def case(name: str) -> Made:
        if name not in found:
            found[name] = make(root / name, SPECS[name])
        return found[name]

    return case


# --- devices --------------------------------------------------------------------------------------


class Narrow(plain.Device):
    """Its accumulator has fewer bits; it wraps, or saturates after each step of 64 of k."""

    bits = 32
    wraps = True

    def add(self, one: int, other: int) -> int:
        half = 2 ** (self.bits - 1)
        if self.wraps:
            return (one + other + half) % (2 * half) - half
        return max(-half, min(half - 1, one + other))


class Wrapping18(Narrow):
    bits = 18


class Saturating16(Narrow):
    bits, wraps = 16, False


class SlotOfLaneDropped(plain.Device):
    """The multiplier of slot 1 of lane 3 gives nothing."""

    def group(self, column: int, group: int) -> tuple[int, int, int, int]:
        w0, w1, i0, i1 = super().group(column, group)
        return w0, 0 if column % 16 == 3 else w1, i0, i1


class NotCleared(plain.Device):
    """An accumulator begins with what it held before: of the same column, one row above."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.held: dict[int, int] = {}

    def key(self, row: int, column: int) -> int:
        return column

    def result(self, values: list[int], row: int, column: int) -> Any:
        key = self.key(row, column)
        self.held[key] = self.add(self.held.get(key, 0), self.accumulate(values, column))
        return self.held[key]


class NeverCleared(NotCleared):
    """There is one accumulator."""

    def key(self, row: int, column: int) -> int:
        return 0


class FractalNotCleared(plain.Device):
    """256 accumulators, one for each place of a fractal; it computes row by row of fractals."""

    def run(self) -> list[Any]:
        held = [[0] * 16 for _ in range(16)]
        out = [[0] * self.n for _ in range(self.m)]
        for top in range(0, self.m, 16):
            for left in range(0, self.n, 16):
                for row in range(top, min(top + 16, self.m)):
                    values = self.row(0, row)
                    for column in range(left, min(left + 16, self.n)):
                        own = self.accumulate(values, column)
                        held[row - top][column - left] += own
                        out[row][column] = held[row - top][column - left]
        return [value for line in out for value in line]


class SaturatingEachGroup(plain.Device):
    """Its accumulator has 16 bits and saturates after each group."""

    def accumulate(self, values: list[int], column: int) -> int:
        total = 0
        for group in range(16 * self.steps):
            for weight, element in self.slots(*self.group(column, group), column, group):
                assert element is not None
                total += weight * values[4 * group + element]
            total = max(-(2**15), min(2**15 - 1, total))
        return total


class WrongMultiplier(plain.Device):
    """Its weights lose their lowest bit in row 5 alone: as if it were read while it changes."""

    def row(self, image: int, row: int) -> list[int]:
        values = super().row(image, row)
        return [value & ~1 for value in values] if row == 5 else values


def of(kind: type[plain.Device]) -> Callable[[Any, Mapping[str, Any]], Any]:
    def device(spec: Any, arrays: Mapping[str, Any]) -> Any:
        found = np.array(kind(spec, arrays).run(), np.int64)
        return found.astype(arrays["expected"].dtype).reshape(arrays["expected"].shape)

    return device


def named(fault: str, which: Any = None) -> Callable[[Any, Mapping[str, Any]], Any]:
    return lambda spec, arrays: plain.run(spec, arrays, fault, which)


def writes(change: Callable[[list[list[int]]], list[list[int]]]) -> Callable[[Any, Any], Any]:
    """The right device with something wrong behind it, on rows of results."""

    def device(spec: Any, arrays: Mapping[str, Any]) -> Any:
        right = plain.run(spec, arrays)
        n = right.shape[-1]
        rows = [[int(value) for value in row] for row in right.reshape(-1, n)]
        flat = [value for row in change(rows) for value in row]
        wrapped = [(value + 2**31) % 2**32 - 2**31 for value in flat]
        return np.array(wrapped, np.int64).astype(right.dtype).reshape(right.shape)

    return device


def each(change: Callable[[int], int]) -> Callable[[Any, Any], Any]:
    return writes(lambda rows: [[change(value) for value in row] for row in rows])


def swapped_bytes_of_fp16(spec: Any, arrays: Mapping[str, Any]) -> Any:
    right = plain.run(spec, arrays)
    flat = [int(value) for value in right.reshape(-1).view(np.uint16)]
    turned = [value >> 8 | (value & 0xFF) << 8 for value in flat]
    return np.array(turned, np.uint16).view(np.float16).reshape(right.shape)


def swapped_bytes(value: int) -> int:
    return int.from_bytes((value % 2**32).to_bytes(4, "little"), "big")


def swapped_halves(value: int) -> int:
    value %= 2**32
    return value >> 16 | (value & 0xFFFF) << 16


def swapped_bytes_of_halves(value: int) -> int:
    one, two, three, four = (value % 2**32).to_bytes(4, "little")
    return int.from_bytes(bytes([two, one, four, three]), "little")


def swapped_bits(value: int) -> int:
    return int(f"{value % 2**32:032b}"[::-1], 2)


def in_blocks(rows: list[list[int]], columns_first: bool, turned: bool) -> list[list[int]]:
    """Fractals one after the other, each along the columns, or turned."""
    tops, lefts = range(0, len(rows), 16), range(0, len(rows[0]), 16)
    places = [(top, left) for top in tops for left in lefts]
    if not columns_first:
        places = [(top, left) for left in lefts for top in tops]
    return [[
        rows[top + (two if turned else one)][left + (one if turned else two)]
        for top, left in places for one in range(16) for two in range(16)
    ]]  # fmt: skip


def fractals_turned(rows: list[list[int]]) -> list[list[int]]:
    return [
        [rows[r - r % 16 + c % 16][c - c % 16 + r % 16] for c in range(len(rows[0]))]
        for r in range(len(rows))
    ]


def rows_turned(rows: list[list[int]]) -> list[list[int]]:
    return [row[r:] + row[:r] for r, row in enumerate(rows)]


def columns_turned(rows: list[list[int]]) -> list[list[int]]:
    m = len(rows)
    return [[rows[(r + c) % m][c] for c in range(len(rows[0]))] for r in range(m)]


def backwards(rows: list[list[int]]) -> list[list[int]]:
    return [row[::-1] for row in rows[::-1]]


def crossed_rows(rows: list[list[int]]) -> list[list[int]]:
    other = {2: 9, 9: 2}
    return [rows[r - r % 16 + other.get(r % 16, r % 16)] for r in range(len(rows))]


def dead_row(rows: list[list[int]]) -> list[list[int]]:
    return [[0 if r == 7 else value for value in row] for r, row in enumerate(rows)]


def fixed_column(rows: list[list[int]]) -> list[list[int]]:
    return [[12345 if c == 4 else value for c, value in enumerate(row)] for row in rows]


def transposed(rows: list[list[int]]) -> list[list[int]]:
    flat = [row[column] for column in range(len(rows[0])) for row in rows]
    return [flat]


def as_nz(rows: list[list[int]]) -> list[list[int]]:
    flat = [
        rows[r][c]
        for left in range(0, len(rows[0]), 16)
        for top in range(0, len(rows), 16)
        for r in range(top, top + 16)
        for c in range(left, left + 16)
    ]
    return [flat]


def late(rows: list[list[int]]) -> list[list[int]]:
    flat = [value for row in rows for value in row]
    return [[0, *flat[:-1]]]


def dead_lane(rows: list[list[int]]) -> list[list[int]]:
    return [[0 if c % 16 == 5 else value for c, value in enumerate(row)] for row in rows]


def dead_column(rows: list[list[int]]) -> list[list[int]]:
    return [[0 if c == 4 else value for c, value in enumerate(row)] for row in rows]


def crossed_lanes(rows: list[list[int]]) -> list[list[int]]:
    other = {2: 9, 9: 2}
    return [[row[c - c % 16 + other.get(c % 16, c % 16)] for c in range(len(row))] for row in rows]


def stuck_address(rows: list[list[int]]) -> list[list[int]]:
    return [rows[r & ~4] for r in range(len(rows))]


def low_16(value: int) -> int:
    return (value + 2**15) % 2**16 - 2**15


# --- what is said ---------------------------------------------------------------------------------

#: By a name: the case, the device, the hypotheses, and lines that must be among the patterns.
FAULTS: dict[str, tuple[str, Callable[[Any, Any], Any], tuple[str, ...], tuple[str, ...]]] = {
    "index pair swapped": ("wide", named("index-pair-swapped"), ("index-pair-swapped",), ()),
    "nibbles swapped": ("ragged", named("index-nibbles-swapped"), ("index-nibbles-swapped",), ()),
    "slots swapped": ("wide", named("slots-swapped"), ("slots-swapped",), ()),
    "unsigned activations": (
        "requant", named("activations-unsigned"), ("activations-unsigned",), ()),
    "Zn read as Nz": ("wide", named("fractal-order-nz"), ("fractal-order-nz",), ()),
    "columns dropped": ("ragged", named("last-columns-dropped"), ("last-columns-dropped",), ()),
    "fractal of k skipped": ("wide", named("k-fractal-skipped", 0), ("k-fractal-skipped",), ()),
    "bias missing": ("bias", named("bias-missing"), ("bias-missing",), ()),
    "bias twice": ("bias", named("bias-twice", "before"), ("bias-twice",), ()),
    "bit 9 stuck at 1": ("ragged", each(lambda value: value | 1 << 9), (), (
        "stuck-bits: bit 9 is 1 in all 594 outputs, and no other bit differs",
        "bits: 0x00000200 differ in some output, 0x00000200 in each that differs",
        "constant-difference: all N differing outputs are expected +512",
    )),
    "bits 0 and 1 stuck at 0": ("ragged", each(lambda value: value & ~3), (), (
        "stuck-bits: bit 0 is 0, bit 1 is 0 in all 594 outputs, and no other bit differs",
        "bits: 0x00000003 differ in some output, none in each that differs",
        "low-bits-zero: all 594 outputs are what is expected with zeros in the low 2 bits",
    )),
    "big endian": ("wide", each(swapped_bytes), (), (
        "byte-order: the bytes of each output are reversed",)),
    "halves exchanged": ("wide", each(swapped_halves), (), (
        "half-order: the two 16-bit halves of each output are exchanged",)),
    "written transposed": ("ragged", writes(transposed), (), (
        "transposed: the result is written column by column, as its transpose",)),
    "written as Nz": ("wide", writes(as_nz), (), (
        "fractals-nz: the result is written in fractals of 16 x 16 along the rows first (Nz)",)),
    "written one late": ("ragged", writes(late), (), (
        "shifted: each output but the first 1 is the one 1 before it, in the order of the file",)),
    "dead lane": ("wide", writes(dead_lane), (), (
        "lanes: in 1 of 16 lanes (column modulo 16): 5 (96 of 96)",
        "columns: in 3 of 48 columns: 5 (32 of 32), 21 (32 of 32), 37 (32 of 32)",
        "zero-lanes: lane 5 is zero in every output; that is all differing outputs",
        "zeros: all 96 differing outputs hold 0x00000000",
    )),
    "dead column": ("bias", writes(dead_column), (), (
        "columns: in 1 of 18 columns: 4 (20 of 20)",
        "zero-columns: column 4 is zero in every output; that is all differing outputs",
    )),
    "lanes crossed": ("wide", writes(crossed_lanes), (), (
        "lanes-permuted: in every whole fractal lane 2 holds 9, 9 holds 2",
        "columns-moved: each differing column is another column of the result: 2 holds 9, "
        "9 holds 2, 18 holds 25, 25 holds 18, 34 holds 41, 41 holds 34",
        "permuted-in-fractals: each fractal of 16 x 16 holds its own outputs in another order",
    )),
    "row address stuck": ("bias", writes(stuck_address), (), (
        "rows-moved: each differing row is another row of the result: 4 holds 0, 5 holds 1, "
        "6 holds 2, 7 holds 3, 12 holds 8, 13 holds 9, 14 holds 10, 15 holds 11",
    )),
    "one too many": ("row", each(lambda value: value + 1), (), (
        "columns: in all 9 columns, with all of their outputs",
        "constant-difference: all 9 differing outputs are expected +1",
    )),
    "16 of 32 bits": ("wide", each(low_16), (), (
        "truncated: all 1536 outputs are the low 16 bits of what is expected, with the sign of "
        "the highest",
        "narrow-accumulator: an accumulator of 16 bits that wraps gives all outputs",
    )),
    "accumulator of 18 bits": ("requant", of(Wrapping18), (), (
        "narrow-accumulator: an accumulator of 18 bits that wraps gives all outputs",)),
    "accumulator saturates at 16 bits": ("wide", of(Saturating16), (), (
        "narrow-accumulator: an accumulator of 16 bits that saturates after each step of 64 of k "
        "gives all outputs",
    )),
    "not cleared between rows": ("bias", of(NotCleared), (), (
        "accumulator-not-cleared: each accumulator begins with what is left of the output above it",
    )),
    "never cleared": ("ragged", of(NeverCleared), (), (
        "accumulator-not-cleared: each accumulator begins with what is left of the output before "
        "it, in the order of the file",
    )),
    "not cleared between fractals": ("wide", of(FractalNotCleared), (), (
        "accumulator-not-cleared: each accumulator begins with what is left of the fractal before "
        "it; the fractal before is the fractal to its left, or the last one of the row before",
        "fractals: in 5 of 6 fractals (row, column): (0, 1) (256 of 256), (0, 2) (256 of 256), "
        "(1, 0) (256 of 256), (1, 1) (256 of 256), (1, 2) (256 of 256)",
    )),
    "slot of a lane dropped": ("wide", of(SlotOfLaneDropped), (), (
        "lanes: in 1 of 16 lanes (column modulo 16): 3 (96 of 96)",
        "rows: in all 32 rows, 3 of 48 outputs in each",
        "fractals: in all 6 fractals (row, column), 16 of 256 outputs in each",
    )),
    "bits reversed": ("wide", each(swapped_bits), (), (
        "bit-order: the bits of each output are reversed",)),
    "bytes of halves exchanged": ("wide", each(swapped_bytes_of_halves), (), (
        "bytes-of-halves: the two bytes of each 16-bit half of each output are exchanged",)),
    "big endian fp16": ("half", swapped_bytes_of_fp16, (), (
        "byte-order: the bytes of each output are reversed",)),
    "written as Zz": ("wide", writes(lambda rows: in_blocks(rows, True, False)), (), (
        "fractals-zz: the result is written in fractals of 16 x 16 along the columns first (Zz)",)),
    "written as Zn": ("wide", writes(lambda rows: in_blocks(rows, True, True)), (), (
        "fractals-zn: the result is written in fractals of 16 x 16 along the columns first, each "
        "column by column (Zn)",
    )),
    "written as Nn": ("wide", writes(lambda rows: in_blocks(rows, False, True)), (), (
        "fractals-nn: the result is written in fractals of 16 x 16 along the rows first, each "
        "column by column (Nn)",
    )),
    "fractals turned": ("wide", writes(fractals_turned), (), (
        "fractals-transposed: the result is written with each fractal of 16 x 16 transposed",
        "permuted-in-fractals: each fractal of 16 x 16 holds its own outputs in another order",
    )),
    "rows of fractals crossed": ("wide", writes(crossed_rows), (), (
        "fractal-rows-permuted: in every whole fractal row of a fractal 2 holds 9, 9 holds 2",
        "rows-moved: each differing row is another row of the result: 2 holds 9, 9 holds 2, "
        "18 holds 25, 25 holds 18",
    )),
    "rows turned": ("ragged", writes(rows_turned), (), (
        "permuted-in-rows: each row holds its own outputs in another order",)),
    "columns turned": ("ragged", writes(columns_turned), (), (
        "permuted-in-columns: each column holds its own outputs in another order",)),
    "written backwards": ("ragged", writes(backwards), (), (
        "permuted: the result holds its own outputs in another order",)),
    "channels before positions": ("conv", writes(transposed), (), (
        "transposed: the result is written column by column, as its transpose",)),
    "dead channel": ("conv", writes(dead_column), (), (
        "columns: in 1 of 17 columns: 4 (20 of 20)",
        "zero-columns: column 4 is zero in every output; that is all differing outputs",
    )),
    "dead row": ("bias", writes(dead_row), (), (
        "rows: in 1 of 20 rows: 7 (18 of 18)",
        "zero-rows: row 7 is zero in every output; that is all differing outputs",
    )),
    "a column of one value": ("bias", writes(fixed_column), (), (
        "one-value: all 20 differing outputs hold 0x00003039",)),
    "16 of 32 bits without sign": ("wide", each(lambda value: value & 0xFFFF), (), (
        "zero-extended: all 1536 outputs are the low 16 bits of what is expected, with zeros "
        "above",
    )),
    "saturated to 16 bits": ("wide", each(lambda v: max(-(2**15), min(2**15 - 1, v))), (), (
        "saturated: all 1536 outputs are what is expected, saturated to 16 bits",)),
    "uint8 saturated to 7 bits": ("uint8", each(lambda value: min(value, 127)), (), (
        "saturated: all 340 outputs are what is expected, saturated to 7 bits",)),
    "accumulator saturates at 16 bits after each group": ("wide", of(SaturatingEachGroup), (), (
        "narrow-accumulator: an accumulator of 16 bits that saturates after each group gives all "
        "outputs",
    )),
    "wrong in one row": ("ragged", of(WrongMultiplier), (), (
        "rows: in 1 of 18 rows: 5 (33 of 33)",)),
}  # fmt: skip


def test_every_pattern_has_a_faulty_device_and_is_in_the_documents(
    made: Callable[[str], Made],
) -> None:
    seen = set()
    for case, device, _, _ in FAULTS.values():
        stored, arrays = made(case)
        seen |= {one.name for one in compare(stored, device(stored.spec, arrays)).patterns}
    assert seen == set(PATTERNS)
    # Each but those that are said of anything stands in a line above, word by word.
    assert {line.partition(":")[0] for *_, lines in FAULTS.values() for line in lines} == seen
    text = (Path(__file__).parents[3] / "docs" / "vectors.md").read_text()
    section = text.partition("\n### The pattern of the differences\n")[2].partition("\n### ")[0]
    rows = [line.split(" | ")[0] for line in section.splitlines() if line.startswith("| `")]
    assert [name for row in rows for name in re.findall("`([^`]+)`", row)] == list(PATTERNS)
    assert f"has {len(FAULTS)} faulty devices and what is said" in section


def test_there_are_faults_with_a_name_and_others() -> None:
    listed = [name for name, (_, _, hypotheses, _) in FAULTS.items() if hypotheses]
    assert len(listed) >= 8
    assert len(FAULTS) - len(listed) >= 16


@pytest.mark.parametrize("name", list(FAULTS))
def test_what_is_said_of_a_fault(made: Callable[[str], Made], name: str) -> None:
    case, device, hypotheses, lines = FAULTS[name]
    stored, arrays = made(case)
    got = device(stored.spec, arrays)
    found = compare(stored, got)
    assert not found.equal
    assert tuple(each.name for each in found.hypotheses) == hypotheses
    assert bool(found.patterns) == (not hypotheses)
    text = str(found)
    wrong = got != arrays["expected"]
    for line in lines:
        count = int(wrong.sum())
        assert f"\n  {line.replace('N', str(count), 1) if ' N ' in line else line}" in text, text
    data = json.loads(json.dumps(found.to_dict()))
    assert [f"{one['name']}: {one['about']}" for one in data["patterns"]] == [
        str(one) for one in found.patterns
    ]
    failure = ET.fromstring(found.to_junit().encode()).find("testcase/failure")
    assert failure is not None
    assert failure.text == text
    for one in found.patterns:
        assert one.name in str(failure.get("message"))


# --- what holds for nothing -----------------------------------------------------------------------

#: Patterns that say where, and which bits: there is always something to say.
ALWAYS = {"rows", "columns", "fractals", "lanes", "bits"}


@pytest.mark.parametrize("case", list(SPECS))
def test_nothing_more_is_said_of_noise(made: Callable[[str], Made], case: str) -> None:
    stored, arrays = made(case)
    rng = np.random.default_rng(7)
    dtype = arrays["expected"].dtype
    right = arrays["expected"].view(f"u{dtype.itemsize}")
    for part in (1.0, 0.3):
        most = np.iinfo(right.dtype).max
        noise = rng.integers(0, most, right.shape, right.dtype, endpoint=True)
        got = np.where(rng.random(right.shape) < part, noise, right)
        found = compare(stored, got.view(dtype))
        assert found.hypotheses == ()
        assert {one.name for one in found.patterns} <= ALWAYS
        rows = {one.name: one for one in found.patterns}
        wrong = got != right
        if len(right) > 1 or right.ndim > 2:
            counts = wrong.reshape(-1, right.shape[-1]).sum(axis=1)
            assert rows["rows"].numbers["counts"] == {
                str(row): int(count) for row, count in enumerate(counts) if count
            }
        changed = [int(a) ^ int(b) for a, b in zip(got[wrong], right[wrong], strict=True)]
        some = each = changed[0]
        for mask in changed:
            some, each = some | mask, each & mask
        mask = 2 ** (8 * right.itemsize) - 1
        assert int(rows["bits"].numbers["or"], 16) == some & mask
        assert int(rows["bits"].numbers["and"], 16) == each & mask


@pytest.mark.parametrize("fault", ["bit 9 stuck at 1", "halves exchanged", "lanes crossed",
                                   "16 of 32 bits", "written one late", "written transposed",
                                   "not cleared between rows", "row address stuck"])  # fmt: skip
def test_a_pattern_that_one_output_breaks_is_not_said(
    made: Callable[[str], Made], fault: str
) -> None:
    case, device, _, lines = FAULTS[fault]
    stored, arrays = made(case)
    right = arrays["expected"]
    got = device(stored.spec, arrays)
    at = np.argwhere(got != right)[-1]
    got[tuple(at)] ^= 1 << 20 | 1 << 3
    assert got[tuple(at)] != right[tuple(at)]
    text = str(compare(stored, got))
    for line in lines:
        if line.partition(":")[0] not in ALWAYS:
            assert line.partition("N")[0] not in text


def test_a_change_of_one_group_is_not_told_first_where_many_outputs_differ(
    made: Callable[[str], Made],
) -> None:
    stored, arrays = made("ragged")
    right, told = arrays["expected"], 0
    for delta in range(1, 40):
        for others in (0, 1):
            got = right.copy()
            got[0, 0] += delta
            got[9, 9 : 9 + 4 * others] += 77  # of no change of one group
            found = compare(stored, got)
            assert found.explanation is not None
            lines = str(found).splitlines()
            if found.explanation.candidates == 1 and not found.explanation.faults[0].whole:
                told += others
                assert (found.explanation.fault is None) == bool(others)
                assert ("one change of one group" in lines[-1]) == bool(others)
                assert any(line.startswith("  fault: ") for line in lines) == (not others)
    assert told > 3


# --- outputs without a value ----------------------------------------------------------------------


def hex_lines(array: Any) -> list[str]:
    return [f"{int(value) % 2**32:08x}" for value in array.reshape(-1)]


def test_undriven_and_missing_outputs_are_counted_and_placed(
    made: Callable[[str], Made], tmp_path: Path
) -> None:
    stored, arrays = made("wide")
    lines = hex_lines(plain.run(stored.spec, arrays))
    for row in range(32):
        lines[48 * row + 5] = "xxxxxxxx" if row else f"0000zx{lines[5][6:]}"
    low = lines[5][6:]
    (tmp_path / "got.hex").write_text("\n".join(lines[:-48]) + "\n")
    found = compare(stored, tmp_path / "got.hex", word_bytes=4)
    assert (found.differing, found.undriven, found.missing) == (31 + 48, 31, 48)
    assert found.first == (0, 5)
    assert found.got is not None
    assert (found.got.decimal, found.got.hex, found.got.number) == (
        "undriven",
        f"0x0000zx{low}",
        None,
    )
    assert str(found.word) == "word 5 byte 1 (words of 4 bytes, little)"
    assert {"rows", "columns", "fractals", "lanes"} == {one.name for one in found.patterns}
    text = str(found)
    assert "\n  rows: in all 32 rows: 0 (1 of 48)" in text
    assert "79 of 1536 outputs differ, 31 undriven (x or z digits), 48 missing" in text
    assert found.explanation is None
    assert found.hypotheses == ()
    data = json.loads(json.dumps(found.to_dict()))
    assert (data["undriven"], data["missing"]) == (31, 48)
    assert data["got"] == {"decimal": "undriven", "hex": f"0x0000zx{low}"}
    ET.fromstring(found.to_junit().encode())


def test_what_has_a_value_is_explained(made: Callable[[str], Made], tmp_path: Path) -> None:
    stored, arrays = made("wide")
    got = plain.run(stored.spec, arrays, "slots-swapped")
    lines = hex_lines(got)
    lines[0] = "zzzzzzzz"
    lines[1000] = "0000000x"
    (tmp_path / "got.hex").write_text("\n".join(lines[:-3]))
    found = compare(stored, tmp_path / "got.hex", word_bytes=4)
    assert [one.name for one in found.hypotheses] == ["slots-swapped"]
    assert "one hypothesis explains all differences of outputs that have a value:" in str(found)
    assert found.first == (0, 0)
    assert found.explanation is not None
    assert found.explanation.index == (0, 1)
    # One of the others is something else: nothing explains all of them.
    lines[77] = "00000007"
    (tmp_path / "got.hex").write_text("\n".join(lines[:-3]))
    assert compare(stored, tmp_path / "got.hex", word_bytes=4).hypotheses == ()


# --- outputs that were not got, and small results -------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        ("written transposed", "transposed: the result is written column by column, as its "
                               "transpose, in all 591 outputs that were got"),
        ("written one late", "shifted: each output but the first 1 is the one 1 before it, in the "
                             "order of the file, in all 591 outputs that were got"),
        ("big endian", "byte-order: the bytes of each output are reversed, in all 1533 outputs "
                       "that were got"),
        ("16 of 32 bits", "narrow-accumulator: an accumulator of 16 bits that wraps gives all "
                          "outputs that were got"),
        ("never cleared", "accumulator-not-cleared: each accumulator begins with what is left of "
                          "the output before it, in the order of the file, in all 591 outputs that "
                          "were got"),
    ],
)  # fmt: skip
def test_of_outputs_that_were_not_got_nothing_is_said(
    made: Callable[[str], Made], tmp_path: Path, fault: str, line: str
) -> None:
    case, device, _, _ = FAULTS[fault]
    stored, arrays = made(case)
    got = device(stored.spec, arrays)
    lines = hex_lines(got)
    (tmp_path / "got.hex").write_text("\n".join(lines[:-3]))
    found = compare(stored, tmp_path / "got.hex", word_bytes=4)
    assert f"\n  {line}\n" in f"{found}\n"
    # Of three that differ it may be chance; of four it is said.
    wrong = set(np.flatnonzero(got != arrays["expected"])[:4].tolist())
    for known in (wrong, wrong - {max(wrong)}):
        kept = [word if at in known else "xxxxxxxx" for at, word in enumerate(lines)]
        (tmp_path / "got.hex").write_text("\n".join(kept))
        found = compare(stored, tmp_path / "got.hex", word_bytes=4)
        names = {one.name for one in found.patterns}
        assert (line.partition(":")[0] in names) == (len(known) == 4)


def test_one_output_is_no_plural(tmp_path: Path) -> None:
    spec = matmul(1, 1, 4, weights="zero", bias=[0x15000])
    stored, arrays = make(tmp_path / "case", spec)
    text = str(compare(stored, arrays["expected"] & 0xFFFF))
    assert "\n  truncated: the output is the low 16 bits of what is expected, with the " in text
    spec = matmul(1, 2, 4, weights="zero", bias=[0x15000, 3])
    stored, arrays = make(tmp_path / "other", spec)
    text = str(compare(stored, arrays["expected"] & 3))
    assert "\n  zeros: the differing output holds 0x00000000\n" in text
    spec = matmul(2, 1, 4, weights="zero", bias=[0x15000])
    stored, arrays = make(tmp_path / "two", spec)
    (tmp_path / "got.hex").write_text("00005000\nxxxxxxxx\n")
    text = str(compare(stored, tmp_path / "got.hex", word_bytes=4))
    assert "\n  truncated: the output that was got is the low 16 bits of what is " in text


@pytest.mark.parametrize(
    ("m", "n", "kind", "what"),
    [
        (1, 9, NeverCleared, "output before it, in the order of the file"),
        (9, 1, NeverCleared, "output before it, in the order of the file"),
        (16, 48, FractalNotCleared, "fractal before it; the fractal before is the fractal to its "
                                    "left, or the last one of the row before"),
        (48, 16, FractalNotCleared, "fractal before it; the fractal before is the fractal above "
                                    "it, or the last one of the column before"),
    ],
)  # fmt: skip
def test_two_orders_that_are_one_are_told_once(
    tmp_path: Path, m: int, n: int, kind: type[plain.Device], what: str
) -> None:
    stored, arrays = make(tmp_path / "case", matmul(m, n, 64, weights="full"))
    found = compare(stored, of(kind)(stored.spec, arrays))
    assert [one.about for one in found.patterns if one.name == "accumulator-not-cleared"] == [
        f"each accumulator begins with what is left of the {what}"
    ]
