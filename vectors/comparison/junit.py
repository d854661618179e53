"""Comparisons as JUnit XML for regression servers: no times, so that equal ones have equal text."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass

from cube24.vectors.rng import shown

#: The types of failures.
_FAILURES = {"differs": "difference", "missing": "no dump"}

#: What no XML 1.0 may hold, escaped or not.
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


#: What may come of a case: ``missing``, there is no dump; ``error``, what there is is no dump, or
#: the case cannot be read; ``skipped``, it has no result to compare with.
KINDS = ("equal", "differs", "missing", "error", "skipped")


@dataclass(frozen=True)
class Outcome:
    """What came of one case.

    case: its name, ``suite/case``. seed: of the case; None where it cannot be read. kind: one of
    KINDS. message: one line. text: all that there is to say.
    """

    case: str
    seed: int | None
    kind: str
    message: str
    text: str


def junit_of(outcomes: Sequence[Outcome]) -> str:
    """One test suite with a test case for each outcome, the seed of the case a property of it."""

    def count(*kinds: str) -> str:
        return str(sum(one.kind in kinds for one in outcomes))

    suite = ET.Element(
        "testsuite", name="cube24 vectors compare", tests=str(len(outcomes)), errors=count("error"),
        skipped=count("skipped"), failures=count("differs", "missing"),
    )  # fmt: skip
    for one in outcomes:
        group, _, name = one.case.partition("/")
        test = ET.SubElement(suite, "testcase", classname=f"cube24.{group}", name=name)
        if one.seed is not None:
            properties = ET.SubElement(test, "properties")
            ET.SubElement(properties, "property", name="case_seed", value=shown(one.seed))
        if one.kind in _FAILURES:
            kind = _FAILURES[one.kind]
            ET.SubElement(test, "failure", message=one.message, type=kind).text = one.text
        elif one.kind == "error":
            ET.SubElement(test, "error", message=one.message, type="dump").text = one.text
        elif one.kind == "skipped":
            ET.SubElement(test, "skipped", message=one.message)
        if one.seed is not None:
            ET.SubElement(test, "system-out").text = f"case seed {shown(one.seed)}"
    for element in suite.iter():
        element.text = _NO_XML.sub("?", element.text) if element.text else element.text
        for name, value in element.attrib.items():
            element.set(name, _NO_XML.sub("?", value))
    ET.indent(suite, " ")
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(suite, "unicode") + "\n"
