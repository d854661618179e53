"""Comparison: the first mismatch, dumps that are read strictly, and reports."""

from __future__ import annotations

import io
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
from cube24.files import read_dump, read_hex
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


def npy_of(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.mark.parametrize("name", ["nd-tail", "requant", "half"])
def test_a_short_dump_differs_in_what_it_lacks(
    cases: Callable[[str], Made], tmp_path: Path, name: str
) -> None:
    stored, arrays = cases(name)
    good = arrays["expected"]
    raw, size, head = good.tobytes(), good.itemsize, len(npy_of(good)) - good.nbytes
    for left in (0, 1, size, len(raw) // 2 + 1, len(raw) - 1):
        dumps = {
            "got.bin": raw[:left],
            "got.hex": hex_of(raw[:left], 1, "little").encode(),
            "got.npy": npy_of(good)[: head + left],
        }
        for path, data in dumps.items():
            (tmp_path / path).write_bytes(data)
            found = compare(stored, tmp_path / path)
            there = left // size
            assert not found.equal
            assert found.differing == found.missing == good.size - there
            assert found.first == np.unravel_index(there, good.shape)
            assert found.word is not None
            assert found.word.word * found.word.word_bytes + found.word.byte == left
            assert found.got is not None
            assert found.got.decimal == "missing"
            known = raw[there * size : left][::-1].hex()
            assert found.got.hex == "0x" + "-" * (2 * size - len(known)) + known
            assert "missing" in str(found)
            assert found.hypotheses == ()


#: What a simulator may write of the words 0, 1, 2 and so on; {n}: the n-th, lower case.
FORMS = {
    "comments": "// a header\n/* more\n// of it\n*/ {0} /* in between */ {1}// behind\n{2}\n{3}",
    "addresses": "@2\n{2}\n{3}\n@0\n{0} {1}",
    "underscores": "@0_0 {0_} {1_}\n{2_}\r\n\t{3_}",
    "upper case": "{0^} {1^} {2^} {3^}",
    "twice": "00000000\n@00000000\n{0}\n{1}\n{2}\n{3}\n",
    "a mark": "\ufeff{0}\n{1}\n{2}\n{3}",
}


@pytest.mark.parametrize("form", list(FORMS))
@pytest.mark.parametrize("order", ["little", "big"])
def test_dumps_have_what_simulators_write(tmp_path: Path, form: str, order: str) -> None:
    stored, arrays = make(tmp_path / "case", matmul(2, 2, 8, weights="full", bias=[-9, 2**30]))
    words = hex_of(arrays["expected"].tobytes(), 4, order).split()
    text = FORMS[form]
    for number, word in enumerate(words):
        text = text.replace(f"{{{number}}}", word).replace(f"{{{number}^}}", word.upper())
        text = text.replace(f"{{{number}_}}", f"{word[:3]}_{word[3:]}_")
    path = tmp_path / "got.hex"
    path.write_text(text)
    assert compare(stored, path, word_bytes=4, order=order).equal
    path.write_text(text.replace(words[1], "0" * 8).replace(words[1].upper(), "0" * 8))
    if "underscores" not in form:
        found = compare(stored, path, word_bytes=4, order=order)
        assert (found.differing, found.first) == (1, (0, 1))


def test_what_no_address_gives_is_missing(tmp_path: Path) -> None:
    stored, arrays = make(tmp_path / "case", matmul(2, 2, 8, weights="full"))
    words = hex_of(arrays["expected"].tobytes(), 4, "little").split()
    (tmp_path / "got.hex").write_text(f"{words[0]}\n@3 {words[3]}\n")
    found = compare(stored, tmp_path / "got.hex", word_bytes=4)
    assert (found.differing, found.missing, found.first) == (2, 2, (0, 1))
    assert found.word is not None
    assert (found.word.word, found.word.byte, found.word.word_bytes) == (1, 0, 4)


@pytest.mark.parametrize(
    ("word", "got"),
    [
        ("x", "0xxxxxxxxx"), ("ZZ", "0xzzzzzzzz"), ("0000zx1f", "0x0000zx1f"),
        ("0000_001X", "0x0000001x"), ("?0000000", "0xz0000000"), ("0x001234", "0x0x001234"),
    ],
)  # fmt: skip
def test_digits_without_a_value_are_shown(tmp_path: Path, word: str, got: str) -> None:
    stored, arrays = make(tmp_path / "case", matmul(1, 2, 8, weights="full"))
    words = hex_of(arrays["expected"].tobytes(), 4, "little").split()
    (tmp_path / "got.hex").write_text(f"{words[0]}\n{word}\n")
    found = compare(stored, tmp_path / "got.hex", word_bytes=4)
    assert (found.differing, found.undriven, found.missing) == (1, 1, 0)
    assert found.got is not None
    assert (found.got.decimal, found.got.hex) == ("undriven", got)
    assert found.first == (0, 1)


def test_words_are_those_of_the_dump(tmp_path: Path) -> None:
    # The case has words of one byte; the dump has others, and the number is the line in it.
    stored, arrays = make(tmp_path / "case", matmul(2, 3, 8, weights="full"))
    got = arrays["expected"].copy()
    got[1, 1] ^= 1 << 17
    for word_bytes, order, word, byte in (
        (4, "big", 4, 2), (8, "little", 2, 2), (2, "little", 9, 0), (3, "big", 6, 0),
    ):  # fmt: skip
        path = tmp_path / "got.hex"
        path.write_text(hex_of(got.tobytes(), word_bytes, order))
        found = compare(stored, path, word_bytes=word_bytes, order=order)
        assert found.word is not None
        assert (found.word.word, found.word.byte) == (word, byte)
        assert (found.word.word_bytes, found.word.order) == (word_bytes, order)
        lines = path.read_text().splitlines()
        right = hex_of(arrays["expected"].tobytes(), word_bytes, order).splitlines()
        assert [n for n, line in enumerate(lines) if line != right[n]] == [word]


def test_a_dump_that_is_no_result_is_an_error(cases: Callable[[str], Made], tmp_path: Path) -> None:
    stored, arrays = cases("nd-tail")
    good = arrays["expected"].tobytes()
    words = hex_of(good, 1, "little")
    bad: dict[str, bytes] = {
        "long.bin": good + b"\0",
        "long.hex": (words + "00\n").encode(),
        "far.hex": f"@{len(good):x}\n00\n".encode(),
        "address.hex": b"@xyz\n" + words.encode(),
        "comment.hex": words.encode() + b"/* and so on\n",
        "long-npy.npy": npy_of(arrays["expected"]) + b"\0",
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
        compare(stored, tmp_path / "long.hex", word_bytes=0)
    with pytest.raises(ArgumentError, match="order"):
        compare(stored, tmp_path / "long.hex", order="middle")
    with pytest.raises(ShapeError):
        compare(stored, arrays["expected"].reshape(-1))
    with pytest.raises(DtypeError):
        compare(stored, arrays["expected"].astype(np.int64))


@pytest.mark.parametrize("token", [b"\x1b[31mred", b"@\x1b[31mred", b"\x07\x1b]0;x\x07"])
def test_what_a_terminal_would_obey_is_not_shown(tmp_path: Path, token: bytes) -> None:
    (tmp_path / "got.hex").write_bytes(token + b"\n")
    shown = token.replace(b"\x1b", b"?").replace(b"\x07", b"?").decode()
    for read in (read_dump, read_hex):
        with pytest.raises(FileFormatError) as error:
            read(tmp_path / "got.hex", 4)
        assert shown in str(error.value)


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
    seeds = {
        one.get("name"): one.get("value") for one in suite.iterfind("testcase/properties/property")
    }
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
