"""Compare what a device gave with what a case expects: exactly, and with an explanation.

A difference is a result, not an error, and so are digits without a value and words that are not
there; what is no dump is an error. What explains a difference is looked for only when it is asked
for, from the files of the case, which have to be there still. cycles.json informs and is no part of
being equal.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from cube24.errors import ArgumentError, FileFormatError, StrPath, counted
from cube24.sizes import whole
from cube24.vectors import strict_json
from cube24.vectors.case import Array, bits
from cube24.vectors.comparison.dump import Dump, format_of, of_array, of_file
from cube24.vectors.comparison.group import Explanation, explain
from cube24.vectors.comparison.junit import Outcome, junit_of
from cube24.vectors.comparison.operands import Operands, operands_of
from cube24.vectors.comparison.patterns import DifferencePattern, patterns
from cube24.vectors.comparison.table import Explained, explaining
from cube24.vectors.files import READABLE, CaseStyle
from cube24.vectors.manifest import Stored, load
from cube24.vectors.rng import shown


@dataclass(frozen=True)
class Value:
    """A number of a result: as a number, in decimal and in hexadecimal digits of its own width.

    One that was not got is no number: decimal says why, and hex has x, z or - for such digits.
    """

    number: int | float | None
    decimal: str
    hex: str

    @classmethod
    def of(cls, element: Any) -> Value:
        """The value of an element of an array."""
        digits = 2 * element.dtype.itemsize
        raw = int(bits(np.asarray(element)[None])[0])
        return cls(element.item(), str(element), f"0x{raw:0{digits}x}")

    @classmethod
    def of_dump(cls, dump: Dump, index: tuple[int, ...]) -> Value:
        """The value of an output of a dump."""
        value = cls.of(dump.array[index])
        undriven, floating, missing = (
            f"{int(mask[index]):0{len(value.hex) - 2}x}"
            for mask in (dump.undriven, dump.floating, dump.missing)
        )
        if not int(undriven + missing, 16):
            return value
        digits = "".join(
            "-" if gone != "0" else "z" if z != "0" else "x" if x != "0" else digit
            for digit, x, z, gone in zip(value.hex[2:], undriven, floating, missing, strict=True)
        )
        return cls(None, "missing" if int(missing, 16) else "undriven", f"0x{digits}")

    def __str__(self) -> str:
        """Both."""
        return f"{self.decimal} {self.hex}"


@dataclass(frozen=True)
class Word:
    """Where a byte stands in a hex dump, or else in the file of the expected result.

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

    Attributes: case, its name; seed, of the case; result, what the case expects, and dump, what was
    got; differing and total, outputs; undriven and missing, those that differ because they have x
    or z digits, or are not there; first, the index of the first output that differs in C order, and
    word, where its first differing byte stands; expected and got, both values there; all four None
    where nothing differs. cycles: those that the device took, and those that the unit takes, where
    they were asked for; they inform, and are no part of being equal.
    """

    stored: Stored
    result: Array
    dump: Dump
    differing: int
    total: int
    undriven: int = 0
    missing: int = 0
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

        Outputs without a value are not explained: those that have one are.

        Raises:
            FileFormatError: a file of the case is not what its manifest says.
            FileAccessError: the system refuses.
        """
        with self.stored.explained("spec"):
            if self.equal:
                return ()
            return explaining(self._operands, self.result, self.dump.array, self.dump.known)

    @cached_property
    def patterns(self) -> tuple[DifferencePattern, ...]:
        """What holds for the differences, where no named fault explains all of them.

        Raises:
            FileFormatError, FileAccessError: as for ``hypotheses``.
        """
        if self.equal or (self.hypotheses and not self.undriven + self.missing):
            return ()
        with self.stored.explained("spec"):
            return patterns(self._operands, self.result, self.dump)

    @cached_property
    def explanation(self) -> Explanation | None:
        """The first output that differs and has a value, group by group; None: there is none.

        Raises:
            FileFormatError, FileAccessError: as for ``hypotheses``.
        """
        wrong = (bits(self.result) != bits(self.dump.array)) & self.dump.known
        if not wrong.any():
            return None
        index = tuple(int(i) for i in np.argwhere(wrong)[0])
        with self.stored.explained("spec"):
            return explain(
                self._operands, index, self.result, self.dump.array, self.dump.known,
                self.hypotheses,
            )  # fmt: skip

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
        text = [f"{self.case}: {self.summary} ({seed})"]
        text += [
            f"first at ({', '.join(map(str, self.first or ()))}), {self.word}",
            f"  expected {self.expected}",
            f"  got      {self.got}",
        ]
        if self.explanation is not None:
            text += [str(self.explanation), *self._causes()]
        if self.patterns:
            text += ["the pattern of the differences:", *(f"  {each}" for each in self.patterns)]
        if self.explanation is not None and self.explanation.note:
            text.append(self.explanation.note)
        return "\n".join([*text, *time])

    @property
    def summary(self) -> str:
        """How many outputs differ, and how many of them have no value."""
        text = f"{self.differing} of {counted(self.total, 'output')} differ"
        without = ((self.undriven, "undriven (x or z digits)"), (self.missing, "missing"))
        return ", ".join([text, *(f"{count} {how}" for count, how in without if count)])

    def _causes(self) -> list[str]:
        """The named faults, for a person."""
        found = self.hypotheses
        of = " of outputs that have a value" if self.undriven + self.missing else ""
        if not found:
            return [f"no hypothesis explains all differences{of}"]
        head = (
            f"one hypothesis explains all differences{of}:"
            if len(found) == 1
            else f"{len(found)} hypotheses explain all differences{of}; this case cannot tell "
            "them apart:"
        )
        return [head, *(f"  {each}" for each in found)]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "case": self.case,
            "case_seed": shown(self.seed),
            "equal": self.equal,
            "differing": self.differing,
            "total": self.total,
            "undriven": self.undriven,
            "missing": self.missing,
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
            "patterns": [each.to_dict() for each in self.patterns],
        }  # fmt: skip

    @cached_property
    def outcome(self) -> Outcome:
        """What came of it, for a list of such.

        Raises:
            FileFormatError, FileAccessError: as for ``hypotheses``.
        """
        if self.equal:
            return Outcome(self.case, self.seed, "equal", "", str(self))
        message = self.summary
        if self.hypotheses:
            message += ": " + ", ".join(each.name for each in self.hypotheses)
        if self.patterns:
            message += f" (patterns: {', '.join(each.name for each in self.patterns)})"
        return Outcome(self.case, self.seed, "differs", message, str(self))

    def to_junit(self) -> str:
        """JUnit XML, one test case; no times, so that equal comparisons have equal text."""
        return junit_of([self.outcome])


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
        FileFormatError: the file is over-long, has words of another width, or another shape or
            type; or the case has a result with another checksum.
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
    style = replace(stored.style, word_bytes=stored.style.word_bytes_of("expected"))
    if isinstance(got, np.ndarray):
        found = _compared(stored, expected, of_array(got, expected), style)
    else:
        path = Path(got)
        words = replace(
            style,
            word_bytes=style.word_bytes if word_bytes is None else word_bytes,
            order=style.order if order is None else order,
        )
        format = format_of(path) if format is None else format
        dump = of_file(path, format, expected, words)
        found = _compared(stored, expected, dump, words if format == "hex" else style)
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


def _compared(stored: Stored, expected: Array, dump: Dump, style: CaseStyle) -> Comparison:
    changed = (bits(expected) ^ bits(dump.array)) | dump.undriven | dump.missing
    places = np.flatnonzero(changed)
    if not places.size:
        return Comparison(stored, expected, dump, 0, expected.size)
    flat = int(places[0])
    first = tuple(int(i) for i in np.unravel_index(flat, expected.shape))
    mask = int(changed.reshape(-1)[flat])
    # The lowest bit that differs is in the first byte that does: bytes are little-endian.
    inside = ((mask & -mask).bit_length() - 1) // 8
    word, byte = divmod(flat * expected.dtype.itemsize + inside, style.word_bytes)
    missing = dump.missing != 0
    return Comparison(
        stored, expected, dump, len(places), expected.size,
        int(((dump.undriven != 0) & ~missing).sum()), int(missing.sum()), first,
        Word(word, byte, style.word_bytes, style.order),
        Value.of(expected[first]), Value.of_dump(dump, first),
    )  # fmt: skip


def _array(stored: Stored, role: str) -> Array:
    """An array of the case, from a file with the checksum of the manifest."""
    for entry in stored.entries(role):
        if entry["format"] in READABLE:
            stored.checked(entry)
            break
    return stored.array(role)
