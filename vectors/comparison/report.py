"""Compare what a device gave with what a case expects: exactly, and with an explanation.

A difference is a result, not an error; a dump that cannot be read is an error. What explains a
difference is looked for only when it is asked for, from the files of the case, which have to be
there still. cycles.json informs and is no part of being equal.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from cube24.errors import ArgumentError, DtypeError, FileFormatError, ShapeError, StrPath, counted
from cube24.sizes import whole
from cube24.vectors import strict_json
from cube24.vectors.case import Array, bits
from cube24.vectors.comparison.group import Explanation, explain
from cube24.vectors.comparison.operands import Operands, operands_of
from cube24.vectors.comparison.table import Explained, explaining
from cube24.vectors.files import READABLE, SUFFIXES, read
from cube24.vectors.manifest import Stored, load
from cube24.vectors.rng import shown


@dataclass(frozen=True)
class Value:
    """A number of a result: as a number, in decimal and in hexadecimal digits of its own width."""

    number: int | float
    decimal: str
    hex: str

    @classmethod
    def of(cls, element: Any) -> Value:
        """The value of an element of an array."""
        digits = 2 * element.dtype.itemsize
        raw = int(bits(np.asarray(element)[None])[0])
        return cls(element.item(), str(element), f"0x{raw:0{digits}x}")

    def __str__(self) -> str:
        """Both."""
        return f"{self.decimal} {self.hex}"


@dataclass(frozen=True)
class Word:
    """Where a byte stands in the file of the expected result.

    word: number of the word, from 0. byte: of the word, in the order of the data: byte 0 is the
    least significant one where the order is little. word_bytes, order: of that file.
    """

    word: int
    byte: int
    word_bytes: int
    order: str

    def __str__(self) -> str:
        """Both numbers, and what kind of words they are."""
        size = counted(self.word_bytes, "byte")
        return f"word {self.word} byte {self.byte} (words of {size}, {self.order})"


@dataclass(frozen=True, eq=False)
class Comparison:
    """A dump beside the expected result.

    Attributes: case, its name; seed, of the case; differing and total, outputs; first, the index of
    the first output that differs in C order, and word, where its first differing byte stands;
    expected and got, both values there; all four None where nothing differs. ``results`` are both
    arrays. cycles: those that the device took, and those that the unit takes, where they were asked
    for; they inform, and are no part of being equal.
    """

    stored: Stored
    results: tuple[Array, Array]
    differing: int
    total: int
    first: tuple[int, ...] | None = None
    word: Word | None = None
    expected: Value | None = None
    got: Value | None = None
    cycles: tuple[int, int] | None = None

    @property
    def cycles_off(self) -> float | None:
        """By how many percent the device is slower than the unit; negative: faster."""
        if self.cycles is None:
            return None
        return 100 * (self.cycles[0] / self.cycles[1] - 1)

    @property
    def case(self) -> str:
        """The name of the case, ``suite/case``."""
        return self.stored.name

    @property
    def seed(self) -> int:
        """The seed of the case."""
        return self.stored.seed

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return self.differing == 0

    @cached_property
    def _operands(self) -> Operands:
        roles = [
            role for role in ("activations", "dense", "index", "bias", "requant")
            if self.stored.entries(role)
        ]  # fmt: skip
        arrays = {role: _array(self.stored, role) for role in roles}
        with self.stored.explained("spec"):
            return operands_of(self.stored.spec, arrays)

    @cached_property
    def hypotheses(self) -> tuple[Explained, ...]:
        """The named faults that explain all differences; () where nothing differs.

        Raises:
            FileFormatError: a file of the case is not what its manifest says.
            FileAccessError: the system refuses.
        """
        with self.stored.explained("spec"):
            return () if self.equal else explaining(self._operands, *self.results)

    @cached_property
    def explanation(self) -> Explanation | None:
        """The first output that differs, group by group; None where nothing differs.

        Raises:
            FileFormatError, FileAccessError: as for ``hypotheses``.
        """
        if self.first is None:
            return None
        with self.stored.explained("spec"):
            return explain(self._operands, self.first, *self.results, self.hypotheses)

    def __str__(self) -> str:
        """A report for a person."""
        seed = f"case seed {shown(self.seed)}"
        time = [] if self.cycles is None else [
            f"cycles: the device took {self.cycles[0]}, the unit takes {self.cycles[1]} "
            f"({self.cycles_off:+.1f} %)"
        ]  # fmt: skip
        if self.equal:
            equal = f"{self.case}: equal, {counted(self.total, 'output')} ({seed})"
            return "\n".join([equal, *time])
        found = self.hypotheses
        text = [
            f"{self.case}: {self.differing} of {counted(self.total, 'output')} differ ({seed})",
            f"first at ({', '.join(map(str, self.first or ()))}), {self.word}",
            f"  expected {self.expected}",
            f"  got      {self.got}",
            str(self.explanation),
        ]
        if not found:
            text.append("no hypothesis explains all differences")
        elif len(found) == 1:
            text.append("one hypothesis explains all differences:")
        else:
            text.append(
                f"{len(found)} hypotheses explain all differences; this case cannot tell them "
                f"apart:"
            )
        return "\n".join([*text, *(f"  {each}" for each in found), *time])

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "case": self.case,
            "case_seed": shown(self.seed),
            "equal": self.equal,
            "differing": self.differing,
            "total": self.total,
            "first": None if self.first is None else list(self.first),
            "word": None
            if self.word is None
            else {
                "word": self.word.word, "byte": self.word.byte,
                "word_bytes": self.word.word_bytes, "order": self.word.order,
            },
            "cycles": None
            if self.cycles is None
            else {"got": self.cycles[0], "expected": self.cycles[1], "off": self.cycles_off},
            "expected": _value_dict(self.expected),
            "got": _value_dict(self.got),
            "explanation": None if self.explanation is None else self.explanation.to_dict(),
            "hypotheses": [
                {"name": each.name, "about": each.about, "details": list(each.details)}
                for each in self.hypotheses
            ],
        }  # fmt: skip

    def to_junit(self) -> str:
        """JUnit XML, one test case; no times, so that equal comparisons have equal text."""
        suite = ET.Element(
            "testsuite", name="cube24 vectors compare", tests="1", errors="0", skipped="0",
            failures="0" if self.equal else "1",
        )  # fmt: skip
        properties = ET.SubElement(suite, "properties")
        ET.SubElement(properties, "property", name="case_seed", value=shown(self.seed))
        group, _, name = self.case.partition("/")
        test = ET.SubElement(suite, "testcase", classname=f"cube24.{group}", name=name)
        if not self.equal:
            message = f"{self.differing} of {counted(self.total, 'output')} differ"
            if self.hypotheses:
                message += ": " + ", ".join(each.name for each in self.hypotheses)
            ET.SubElement(test, "failure", message=message, type="difference").text = str(self)
        ET.SubElement(test, "system-out").text = f"case seed {shown(self.seed)}"
        ET.indent(suite, " ")
        return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(suite, "unicode") + "\n"


def _value_dict(value: Value | None) -> dict[str, str] | None:
    return None if value is None else {"decimal": value.decimal, "hex": value.hex}


def compare(
    case: Stored | StrPath,
    got: StrPath | Array,
    *,
    format: str | None = None,
    word_bytes: int | None = None,
    order: str | None = None,
    cycles: int | None = None,
) -> Comparison:
    """Compare a result with the one that a case expects, bit by bit.

    Args:
        case: a case, or its folder.
        got: the result: a file, or an array of the shape and type of the expected result.
        format: of the file: ``npy``, ``hex`` or ``bin``; None: as its suffix says.
        word_bytes: bytes a word of a hex file; None: as in the files of the case.
        order: ``little`` or ``big``; None: as in the files of the case.
        cycles: that the device took, 0 to 2^63 - 1, to be told beside those of cycles.json.

    Raises:
        FileFormatError: the file is short, over-long, has words of another width, x or z digits, or
            another shape or type; or the case has no result, or one with another checksum.
        FileAccessError: the system refuses.
        ArgumentError: no such format, word size, order or count of cycles; or a case that must be
            refused.
        ShapeError, DtypeError: an array of another shape or type.
    """
    if cycles is not None:
        cycles = whole(cycles, "cycles", 0, (1 << 63) - 1)
    stored = case if isinstance(case, Stored) else load(case)
    if not stored.entries("expected"):
        raise ArgumentError(
            f"{stored.name}: has no result to compare with; a device must refuse it "
            f"({stored.manifest['outcome'].get('error')})"
        )
    expected = _array(stored, "expected")
    if isinstance(got, np.ndarray):
        result = _given(got, expected)
    else:
        path = Path(got)
        style = stored.style
        style = replace(
            style,
            word_bytes=style.word_bytes_of("expected") if word_bytes is None else word_bytes,
            order=style.order if order is None else order,
        )
        format = _format(path) if format is None else format
        result = read(path, format, expected.dtype, expected.shape, style)
    found = _compared(stored, expected, result)
    return found if cycles is None else replace(found, cycles=(cycles, _cycles(stored)))


def _cycles(stored: Stored) -> int:
    """The cycles of the unit."""
    entry = stored.entries("cycles")[0]
    path = stored.folder / entry["name"]
    found = strict_json.parse(path, stored.checked(entry))
    cycles = found.get("cycles") if isinstance(found, dict) else None
    if type(cycles) is not int or cycles < 1:
        raise FileFormatError(path, "holds no count of cycles")
    return cycles


def _given(got: Array, expected: Array) -> Array:
    if got.dtype.newbyteorder("=") != expected.dtype:
        raise DtypeError(f"got has dtype {got.dtype}; this case has {expected.dtype}")
    if got.shape != expected.shape:
        raise ShapeError(f"got has shape {got.shape}; this case has {expected.shape}")
    return np.ascontiguousarray(got, expected.dtype)


def _format(path: Path) -> str:
    for name in READABLE:
        if path.suffix.lower() == SUFFIXES[name]:
            return name
    raise ArgumentError(f"{path}: suffix {path.suffix!r}; name the format: {', '.join(READABLE)}")


def _compared(stored: Stored, expected: Array, got: Array) -> Comparison:
    one, other = bits(expected), bits(got)
    places = np.flatnonzero(one != other)
    if not places.size:
        return Comparison(stored, (expected, got), 0, expected.size)
    flat = int(places[0])
    first = tuple(int(i) for i in np.unravel_index(flat, expected.shape))
    changed = int(one.reshape(-1)[flat]) ^ int(other.reshape(-1)[flat])
    # The lowest bit that differs is in the first byte that does: bytes are little-endian.
    inside = ((changed & -changed).bit_length() - 1) // 8
    word_bytes = stored.style.word_bytes_of("expected")
    word, byte = divmod(flat * expected.dtype.itemsize + inside, word_bytes)
    return Comparison(
        stored, (expected, got), len(places), expected.size, first,
        Word(word, byte, word_bytes, stored.style.order),
        Value.of(expected[first]), Value.of(got[first]),
    )  # fmt: skip


def _array(stored: Stored, role: str) -> Array:
    """An array of the case, from a file with the checksum of the manifest."""
    for entry in stored.entries(role):
        if entry["format"] in READABLE:
            stored.checked(entry)
            break
    return stored.array(role)
