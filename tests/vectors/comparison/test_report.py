"""Comparison: the first mismatch, dumps that are read strictly, and reports."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import plain_device as device
import pytest
from compared import SPECS, Made, make

from cube24.encoder import ArgumentError, DtypeError, FileFormatError, ShapeError
from cube24.vectors import suites
from cube24.vectors.build import build
from cube24.vectors.comparison import compare
from cube24.vectors.files import CaseStyle
from cube24.vectors.manifest import files_of
from cube24.vectors.spec import Item, matmul


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


def test_a_case_that_must_be_refused_has_no_result_to_compare_with(tmp_path: Path) -> None:
    item = next(i for i in suites.items("faults", 0, 1) if i.name == "nd-index-00003")
    case = build("faults", 1, item, 1)
    for name, data in files_of(case).items():
        (tmp_path / name).write_bytes(data)
    with pytest.raises(ArgumentError, match=r"must refuse it \(IllegalIndexError\)"):
        compare(tmp_path, np.zeros((2, 3), np.int32))


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
