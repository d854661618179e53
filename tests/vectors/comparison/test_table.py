"""Comparison: each injected fault is named, nothing else is, and a dump is read strictly.

What a faulty device gives comes from plain_device.py: plain loops that share nothing with the
package.
"""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import plain_device as device
import pytest

from cube24.encoder import ArgumentError, DtypeError, FileFormatError, ShapeError
from cube24.simulator import requant as package_requant
from cube24.vectors import suites
from cube24.vectors.build import build
from cube24.vectors.comparison import compare
from cube24.vectors.comparison.device import finished
from cube24.vectors.comparison.operands import operands_of
from cube24.vectors.comparison.table import HYPOTHESES
from cube24.vectors.files import CaseStyle
from cube24.vectors.manifest import Stored, files_of, load
from cube24.vectors.spec import Item, conv2d, matmul

Made = tuple[Stored, dict[str, Any]]
EDGE = 2**31


def make(folder: Path, spec: Mapping[str, Any], style: CaseStyle | None = None) -> Made:
    """A case on disk, and its arrays as NumPy's own reader finds them."""
    case = build("test", 1, Item("case", spec), 1, style)
    folder.mkdir(exist_ok=True)
    for name, data in files_of(case).items():
        (folder / name).write_bytes(data)
    arrays = {role: piece.array for role, piece in case.pieces.items()}
    if style is None:
        arrays = {role: np.load(folder / f"{role}.npy") for role in arrays}
    return load(folder), arrays


#: Cases on which faults are told apart.
SPECS: dict[str, dict[str, Any]] = {
    "zn": matmul(18, 33, 132, weights="full"),
    "nd": matmul(17, 18, 136, weights="full", layout="nd"),
    "tiles": matmul(70, 40, 320, weights="full"),
    "tiles-k": matmul(2, 3, 500, layout="nd", bias=[4, 5, 6]),
    "nd-tail": matmul(3, 5, 131, layout="nd", bias=[3, -70, 1000, 5, 9]),
    "conv": conv2d(
        33, 17, (4, 4), (3, 2), pads=(1, 0, 1, 1), strides=(1, 2), batch=2, offset_x=-5,
    ),
    "conv-nd": conv2d(
        3, 5, (4, 5), (3, 3), pads=(1, 1, 0, 0), dilations=(1, 2), layout="nd", bias=[7, -9],
    ),
    "requant": matmul(
        17, 20, 128, weights="edges", bias=[30000, -9000, 4000, 400],
        requant={"scale": 0.002, "offset": 3},
    ),
    "columns": matmul(
        6, 4, 64, weights="zero", bias=[1, 2, 3, 5],
        requant={"scale": [0.5, 0.25, -0.5, 0.001], "offset": [1, 2, -3, 0]},
    ),
    "half": matmul(4, 9, 72, weights="uniform", bias=[5000, 3], requant={
        "scale": 0.5, "mode": "DEQF16", "relu": 0.25}),
    "saturate": matmul(4, 6, 320, bias=[EDGE - 900, -EDGE + 900], layout="nd"),
    "wrap": matmul(4, 6, 320, bias=[EDGE - 900, -EDGE + 900], overflow="wrap"),
    "grain": matmul(4, 6, 320, bias=[EDGE - 900, -EDGE], grain="instruction"),
    "ties": matmul(3, 9, 8, weights="zero", bias=[1, 3, 5, -1, -3, -5, 7, 9, 11],
                   requant={"scale": 0.5}),
    "ties-half": matmul(3, 4, 8, weights="zero", bias=[2049, -2051, 4098, 4102],
                        requant={"scale": 1.0, "mode": "DEQF16"}),
}  # fmt: skip


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Made]:
    """The cases of SPECS, each made once."""
    root, made = tmp_path_factory.mktemp("cases"), {}

    def case(name: str) -> Made:
        if name not in made:
            made[name] = make(root / name, SPECS[name])
        return made[name]

    return case


def names(stored: Stored, got: Any) -> list[str]:
    return [found.name for found in compare(stored, got).hypotheses]


# --- hypotheses -----------------------------------------------------------------------------------

_BITS = ("index-pair-swapped", "index-nibbles-swapped", "index-msb-first", "slots-swapped",
         "slot1-without-plus-one", "activations-unsigned", "weights-unsigned")  # fmt: skip

#: Case, fault, which, and the names that must be given beside that of the fault.
FAULTY: list[tuple[str, str, Any, tuple[str, ...]]] = [
    *((case, fault, None, ()) for case in ("zn", "nd", "conv", "requant") for fault in _BITS),
    *(("conv-nd", fault, None, ()) for fault in _BITS
      if fault not in ("index-nibbles-swapped", "index-msb-first")),
    # With three channels the other group of each byte is empty, and its pair (0, 0) both ways.
    ("conv-nd", "index-nibbles-swapped", None, ("index-msb-first",)),
    ("conv-nd", "index-msb-first", None, ("index-nibbles-swapped",)),
    *((case, fault, None, ()) for case in ("zn", "conv")
      for fault in ("fractal-order-nz", "fractal-order-zz", "k-n-exchanged")),
    ("nd", "k-n-exchanged", None, ()),
    ("nd-tail", "k-n-exchanged", None, ()),
    ("conv-nd", "k-n-exchanged", None, ()),
    ("requant", "fractal-order-nz", None, ()),
    ("saturate", "wraps-instead-of-saturates", None, ()),
    ("grain", "wraps-instead-of-saturates", None, ()),
    ("wrap", "saturates-instead-of-wraps", None, ()),
    *((case, fault, None, ()) for case in ("zn", "nd", "requant")
      for fault in ("last-rows-dropped", "last-columns-dropped")),
    ("conv", "last-columns-dropped", None, ()),
    *(("tiles", "last-rows-dropped", tile, ()) for tile in (16, 64)),
    *(("tiles", "last-columns-dropped", tile, ()) for tile in (16, 32)),
    ("tiles", "last-k-dropped", 256, ("k-fractal-skipped",)),
    ("tiles-k", "last-k-dropped", 128, ()),
    ("tiles-k", "last-k-dropped", 256, ()),
    # Here one block is all there is, so two faults give zeros alone.
    ("nd-tail", "last-rows-dropped", None, ("last-columns-dropped",)),
    ("nd-tail", "last-columns-dropped", None, ("last-rows-dropped",)),
    # The last fractal is a fractal.
    ("zn", "last-k-dropped", None, ("k-fractal-skipped",)),
    ("conv-nd", "last-k-dropped", None, ("k-fractal-skipped",)),
    ("nd-tail", "k-fractal-skipped", 2, ("last-k-dropped",)),
    *((case, fault, which, ()) for case, which in (("zn", 0), ("nd", 1), ("conv", 4))
      for fault in ("k-fractal-skipped", "k-fractal-repeated")),
    ("saturate", "k-fractal-repeated", 3, ()),
    ("saturate", "k-fractal-skipped", 3, ()),
    ("grain", "k-fractal-skipped", 2, ()),
    ("wrap", "k-fractal-repeated", 4, ()),
    ("nd", "k-tail-not-zeroed", "next", ()),
    ("nd", "k-tail-not-zeroed", "stale", ()),
    ("nd-tail", "k-tail-not-zeroed", "next", ()),
    ("nd-tail", "k-tail-not-zeroed", "stale", ()),
    ("conv-nd", "k-tail-not-zeroed", "next", ()),
    *((case, fault, "before", ()) for case in ("nd-tail", "conv-nd", "requant", "half", "wrap")
      for fault in ("bias-missing", "bias-twice")),
    ("saturate", "bias-missing", None, ()),
    ("saturate", "bias-twice", "before", ()),
    ("saturate", "bias-twice", "after", ()),
    ("ties", "rounds-half-away", None, ()),
    ("columns", "rounds-half-away", None, ()),
    ("ties-half", "rounds-half-away", None, ()),
    ("half", "activations-unsigned", None, ()),
]  # fmt: skip


@pytest.mark.parametrize(("name", "fault", "which", "beside"), FAULTY)
def test_the_right_hypothesis_is_named_and_no_other(
    cases: Callable[[str], Made], name: str, fault: str, which: Any, beside: tuple[str, ...]
) -> None:
    stored, arrays = cases(name)
    got = device.run(stored.spec, arrays, fault, which)
    found = compare(stored, got)
    assert not found.equal
    assert {each.name for each in found.hypotheses} == {fault, *beside}
    details = next(each for each in found.hypotheses if each.name == fault).details
    if fault in ("k-fractal-skipped", "k-fractal-repeated"):
        assert len(details) == 1
        assert details[0].startswith(f"fractal {which},")
    if fault.startswith("last") and which is not None:
        size = stored.spec["sizes"]["mnk"["rck".index(fault[5])]]
        assert len(details) == 1
        assert details[0].endswith(f" {(size - 1) // which * which} to {size - 1}")
    if fault == "k-tail-not-zeroed":
        assert len(details) == 1
        assert ("step before" in details[0]) == (which == "stale")
    assert found.explanation is not None
    assert found.explanation.matches
    assert fault in {each.about for each in found.explanation.faults}


def test_every_hypothesis_has_a_faulty_device() -> None:
    assert {fault for _, fault, _, _ in FAULTY} == {each.name for each in HYPOTHESES}
    assert set(device.FAULTS) == {each.name for each in HYPOTHESES}


def test_a_fault_that_changes_nothing_is_not_named(tmp_path: Path) -> None:
    # No bias but zero: a device without bias is right, and a wrong dump is not its doing.
    stored, arrays = make(tmp_path / "case", matmul(2, 3, 8, bias=[0]))
    assert (device.run(stored.spec, arrays, "bias-missing") == arrays["expected"]).all()
    assert compare(stored, arrays["expected"]).hypotheses == ()
    assert not {"bias-missing", "bias-twice"} & set(names(stored, arrays["expected"] + 1))


@pytest.mark.parametrize("name", ["zn", "conv", "requant"])
def test_a_fault_that_does_not_explain_all_is_not_named(
    cases: Callable[[str], Made], name: str
) -> None:
    # One row in the middle is right, or has one more mistake; all others have the fault.
    stored, arrays = cases(name)
    got = device.run(stored.spec, arrays, "activations-unsigned")
    n = got.shape[-1]
    assert names(stored, got) == ["activations-unsigned"]
    for change in ("right", "flip"):
        other = got.copy().reshape(-1, n)
        row = len(other) // 2
        if change == "right":
            other[row] = arrays["expected"].reshape(-1, n)[row]
        else:
            other[row, 1] ^= 1
        assert (other != got.reshape(-1, n)).any()
        assert names(stored, other.reshape(got.shape)) == []


def test_single_flipped_bits_of_a_dump_name_no_hypothesis(cases: Callable[[str], Made]) -> None:
    rng = np.random.default_rng(5)
    for name in ("zn", "nd", "conv", "requant", "half", "saturate"):
        stored, arrays = cases(name)
        for _ in range(6):
            raw = bytearray(arrays["expected"].tobytes())
            bit = int(rng.integers(8 * len(raw)))
            raw[bit // 8] ^= 1 << bit % 8
            got = np.frombuffer(bytes(raw), arrays["expected"].dtype)
            found = compare(stored, got.reshape(arrays["expected"].shape))
            assert (found.differing, found.hypotheses) == (1, ())
            assert "no hypothesis" in str(found)


# --- the good device ------------------------------------------------------------------------------


def _level0() -> list[tuple[str, Item]]:
    found = []
    for suite in ("patterns", "shapes", "accumulate", "requant"):
        for item in suites.items(suite, 0, 1):
            size = item.spec["sizes"]
            if suite == "shapes" and "m" in size and size["m"] * size["n"] * size["k"] > 40_000:
                continue
            if suite == "shapes" and "cin" in size and item.name not in ("conv-3x3-x", "conv-1x3"):
                continue
            if item.name.startswith("sums-") and item.name not in ("sums-half", "sums-fp16-leaky"):
                continue
            found.append((suite, item))
    return found


@pytest.mark.parametrize(
    ("suite", "item"), [pytest.param(*each, id=each[1].name) for each in _level0()]
)
def test_the_good_device_is_equal(tmp_path: Path, suite: str, item: Item) -> None:
    stored, arrays = make(tmp_path / "case", item.spec)
    found = compare(stored, device.run(stored.spec, arrays))
    assert found.equal
    assert (found.differing, found.first, found.word) == (0, None, None)
    assert found.explanation is None
    assert "equal" in str(found)


@pytest.mark.parametrize("name", list(SPECS))
def test_the_good_device_is_equal_on_the_cases_of_the_faults(
    cases: Callable[[str], Made], name: str
) -> None:
    stored, arrays = cases(name)
    assert compare(stored, device.run(stored.spec, arrays)).equal


# --- the first mismatch ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["nd", "conv", "requant", "half"])
@pytest.mark.parametrize(("word_bytes", "order"), [(1, "little"), (4, "big"), (6, "little")])
def test_the_first_mismatch_by_index_and_word(
    tmp_path: Path, name: str, word_bytes: int, order: str
) -> None:
    style = CaseStyle(word_bytes=word_bytes, order=order)
    stored, arrays = make(tmp_path / "case", SPECS[name], style)
    got = arrays["expected"].copy()
    places = list(np.ndindex(got.shape))
    size = got.dtype.itemsize
    for number in (0, len(places) // 2, len(places) - 1):
        for byte in range(size):
            got = arrays["expected"].copy()
            raw = bytearray(got.tobytes())
            raw[number * size + byte] ^= 0x41
            raw[-1] ^= 0x80
            got = np.frombuffer(bytes(raw), got.dtype).reshape(got.shape)
            found = compare(stored, got)
            assert found.first == places[number]
            assert found.word is not None
            assert found.word.word * word_bytes + found.word.byte == number * size + byte
            assert 0 <= found.word.byte < word_bytes
            assert found.differing == (1 if number == len(places) - 1 else 2)
            digits = raw[number * size : number * size + size][::-1].hex()
            assert found.got is not None
            assert found.got.hex == f"0x{digits}"
            assert found.got.decimal == str(got[places[number]])


# --- the explanation ------------------------------------------------------------------------------


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


def test_a_case_that_must_be_refused_has_no_result_to_compare_with(tmp_path: Path) -> None:
    item = next(i for i in suites.items("faults", 0, 1) if i.name == "nd-index-00003")
    case = build("faults", 1, item, 1)
    for name, data in files_of(case).items():
        (tmp_path / name).write_bytes(data)
    with pytest.raises(ArgumentError, match=r"must refuse it \(IllegalIndexError\)"):
        compare(tmp_path, np.zeros((2, 3), np.int32))


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
            assert f"{told.candidates} changes of one group would give this output" in str(told)
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


# --- dumps ----------------------------------------------------------------------------------------


def hex_of(data: bytes, word_bytes: int, order: str) -> str:
    """Words of hex, by the rules of the format document."""
    data += bytes(-len(data) % word_bytes)
    words = [data[i : i + word_bytes] for i in range(0, len(data), word_bytes)]
    return "".join((w if order == "big" else w[::-1]).hex() + "\n" for w in words)


@pytest.mark.parametrize("name", ["nd-tail", "requant", "half"])
@pytest.mark.parametrize("kind", ["hex-1", "hex-4-little", "hex-4-big", "bin", "npy"])
def test_dumps_are_read(cases: Callable[[str], Made], tmp_path: Path, name: str, kind: str) -> None:
    stored, arrays = cases(name)
    good = arrays["expected"]
    for number in (None, good.size - 1):
        got = good.copy()
        if number is not None:
            got.reshape(-1)[number] = 1 if got.reshape(-1)[number] != 1 else 2
        options: dict[str, Any] = {}
        path = tmp_path / f"got.{kind.partition('-')[0]}"
        if kind == "npy":
            np.save(path, got)
        elif kind == "bin":
            path.write_bytes(got.tobytes())
        else:
            word_bytes, order = int(kind[4]), kind[6:] or "little"
            if kind != "hex-1":
                options = {"word_bytes": word_bytes, "order": order}
            path.write_text(hex_of(got.tobytes(), word_bytes, order))
        found = compare(stored.folder, path, **options)
        assert found.equal == (number is None)
        assert found.differing == (number is not None)
    renamed = path.rename(tmp_path / "got.dump")
    assert not compare(stored, renamed, format=kind.partition("-")[0], **options).equal


def test_a_dump_that_is_no_result_is_an_error(cases: Callable[[str], Made], tmp_path: Path) -> None:
    stored, arrays = cases("nd-tail")
    good = arrays["expected"].tobytes()
    words = hex_of(good, 1, "little")
    bad: dict[str, bytes] = {
        "short.bin": good[:-1],
        "long.bin": good + b"\0",
        "empty.bin": b"",
        "short.hex": words[:-3].encode(),
        "long.hex": (words + "00\n").encode(),
        "x.hex": ("xx" + words[2:]).encode(),
        "wide.hex": hex_of(good, 4, "little").encode(),
        "no.hex": b"hello\n",
        "no.npy": b"hello",
    }
    for name, data in bad.items():
        (tmp_path / name).write_bytes(data)
    for name, array in (("shape", arrays["expected"][:-1]), ("type", arrays["expected"] * 1.0)):
        np.save(tmp_path / f"{name}.npy", array)
    for name in (*bad, "shape.npy", "type.npy"):
        with pytest.raises(FileFormatError, match=name.replace(".", r"\.")):
            compare(stored, tmp_path / name)
    with pytest.raises(ArgumentError, match="name the format"):
        compare(stored, tmp_path / "got.txt")
    with pytest.raises(ArgumentError, match="word_bytes"):
        compare(stored, tmp_path / "x.hex", word_bytes=0)
    with pytest.raises(ArgumentError, match="order"):
        compare(stored, tmp_path / "x.hex", order="middle")
    with pytest.raises(ShapeError):
        compare(stored, arrays["expected"].reshape(-1))
    with pytest.raises(DtypeError):
        compare(stored, arrays["expected"].astype(np.int64))


def test_a_case_whose_files_changed_is_an_error(tmp_path: Path) -> None:
    stored, arrays = make(tmp_path / "case", matmul(2, 3, 8))
    bad = arrays["expected"] + 1
    with (stored.folder / "dense.npy").open("ab") as file:
        file.write(b"\0")
    assert compare(stored, arrays["expected"]).equal
    found = compare(stored, bad)
    with pytest.raises(FileFormatError, match="SHA-256"):
        str(found)
    np.save(stored.folder / "expected.npy", bad)
    with pytest.raises(FileFormatError, match="SHA-256"):
        compare(stored, bad)


def test_cycles_are_not_compared(tmp_path: Path) -> None:
    stored, arrays = make(tmp_path / "case", matmul(2, 3, 8))
    (stored.folder / "cycles.json").write_text("{}")
    assert compare(stored, arrays["expected"]).equal
    with pytest.raises(FileFormatError, match="SHA-256"):
        compare(stored, arrays["expected"], cycles=5)


@pytest.mark.parametrize("text", ["{}", '{"cycles": 0}', "[1]", '{"cycles": "many"}'])
def test_a_file_without_cycles_is_an_error(tmp_path: Path, text: str) -> None:
    case = build("test", 1, Item("case", matmul(2, 3, 8)), 1)
    for name, data in files_of(case, cycles=text.encode()).items():
        (tmp_path / name).write_bytes(data)
    with pytest.raises(FileFormatError, match="holds no count"):
        compare(tmp_path, tmp_path / "expected.npy", cycles=5)


@pytest.mark.parametrize("wrong", [0, 1])
def test_cycles_inform(cases: Callable[[str], Made], wrong: int) -> None:
    stored, arrays = cases("nd-tail")
    right = json.loads((stored.folder / "cycles.json").read_text())["cycles"]
    found = compare(stored, arrays["expected"] + wrong, cycles=2 * right)
    assert found.equal == (not wrong)
    line = f"cycles: the device took {2 * right}, the unit takes {right} (+100.0 %)"
    assert str(found).splitlines()[-1] == line
    data = found.to_dict()["cycles"]
    assert data == {"got": 2 * right, "expected": right, "off": 100.0}
    assert compare(stored, arrays["expected"]).to_dict()["cycles"] is None


def test_results_are_compared_bit_by_bit(cases: Callable[[str], Made]) -> None:
    # -0.0 == 0.0, and a NaN equals nothing, but a dump is bits.
    stored, arrays = cases("half")
    got = arrays["expected"].copy()
    got[1, 2] = np.float16(np.nan)
    found = compare(stored, got)
    assert (found.differing, found.first) == (1, (1, 2))
    json.loads(json.dumps(found.to_dict(), allow_nan=False))


# --- reports --------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["", "index-pair-swapped", "flip"])
def test_json_and_junit_hold_the_seed(cases: Callable[[str], Made], fault: str) -> None:
    stored, arrays = cases("nd-tail")
    got = device.run(stored.spec, arrays, "" if fault == "flip" else fault)
    if fault == "flip":
        got[0, 1] ^= 1 << 20
    found = compare(stored, got)
    data = json.loads(json.dumps(found.to_dict()))
    assert data["case_seed"] == f"0x{stored.seed:016x}"
    assert data["equal"] == (fault == "")
    assert [each["name"] for each in data["hypotheses"]] == ([fault] if "-" in fault else [])
    text = found.to_junit()
    suite = ET.fromstring(text.encode())
    seeds = {one.get("name"): one.get("value") for one in suite.iter("property")}
    assert seeds["case_seed"] == f"0x{stored.seed:016x}"
    assert (suite.get("tests"), suite.get("failures")) == ("1", "0" if fault == "" else "1")
    assert len(list(suite.iter("failure"))) == (fault != "")
    for failure in suite.iter("failure"):
        assert failure.text == str(found)
        assert fault in str(failure.get("message")) or fault == "flip"
    assert "time" not in {name for element in suite.iter() for name in element.attrib}
    assert str(stored.folder) not in text + str(found) + str(data)
    assert compare(stored, got.copy()).to_junit() == text
    assert f"0x{stored.seed:016x}" in str(found)


def test_half_away_differs_in_rounding_alone(cases: Callable[[str], Made]) -> None:
    # The requantisation with its last rounding exchanged is written anew; to even it must be the
    # unit's: on values without ties both agree.
    stored, arrays = cases("columns")
    operands = operands_of(stored.spec, arrays)
    values = np.arange(-10_000, 10_000, dtype=np.int64)[:, None].repeat(4, 1)
    even, away = (finished(operands, values, half_away=way).astype(int) for way in (False, True))
    words = arrays["requant"]
    scale = (words & np.uint64(0xFFFF_E000)).astype(np.uint32).view(np.float32)
    exact = np.clip(values * scale.astype(float), -256, 255)
    ties = exact - np.floor(exact) == 0.5
    assert (even == away)[~ties].all()
    assert (even != away)[ties].any()
    assert package_requant.MODES == ("REQ8", "DEQF16")
