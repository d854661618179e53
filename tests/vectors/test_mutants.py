"""The committed set kills every mutant of the plain device, and every rule has one."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import mutants
import pytest
from mutants import GOLDEN, MUTANTS, RULES

DOCS = Path(__file__).parents[2] / "docs"
UNIT = (DOCS / "unit.md").read_text()
PAGE = (DOCS / "mutants.md").read_text()

#: What the sections of docs/unit.md say beside rules of the sparse datapath, and why no case tells.
NO_RULES = (
    # No case has a dense weight.
    "A dense step is the same with 32 of k and no index.",
    # What is loaded, not what comes out.
    "Operands are fractals with padding up to multiples of 16 and 64 (dense: 32).",
    # An example of the order.
    "The order matters only where the accumulator saturates. With an accumulator of 2^31 - 10, a "
    "step of +100 and a step of -50 end at 2^31 - 51 and not at 2^31 + 40 saturated.",
    # What follows says it.
    "A parameter word has 64 bits [ADK]:",
    "| bits | field | | --- | --- |",
    "| OPEN point | field | default | other | | --- | --- | --- | --- |",
)

#: The killers by the names of the mutants, as the page has them.
_ROW = re.compile(r"^\| `[^`]+` \| `([^`]+)` \| [^|]+ \| `([^`]+)` \|$", re.MULTILINE)
KILLERS = dict(_ROW.findall(PAGE))


def section(title: str) -> str:
    (found,) = re.findall(rf"^## {re.escape(title)}\n(.*?)(?=^## )", UNIT, re.MULTILINE | re.DOTALL)
    return " ".join(re.sub(r"```.*?```", "", found, flags=re.DOTALL).split())


@cache
def case(name: str) -> mutants.Golden:
    (folder,) = (path for path in (GOLDEN / name, GOLDEN / "set-2" / name) if path.is_dir())
    return mutants.golden(folder)


def test_the_sections_hold_nothing_but_these_rules() -> None:
    points = section("Configuration")
    sections = {
        "datapath": section("The sparse datapath"),
        "requantisation": section("Requantisation"),
        "open points": points[points.index("| OPEN point") :],
    }
    for name, text in sections.items():
        for known in sorted((*RULES.values(), *NO_RULES), key=len, reverse=True):
            text = text.replace(known, "")
        assert text.strip() == "", name


def test_each_rule_stands_there_word_for_word_and_has_a_mutant() -> None:
    text = " ".join(UNIT.split())
    for name, rule in RULES.items():
        assert rule in text, name
    assert {mutant.rule for mutant in MUTANTS.values()} == RULES.keys()


def test_the_page_has_a_line_for_each_rule_and_mutant_and_no_other() -> None:
    lines = [line for line in PAGE.splitlines() if line.startswith("| `")]
    assert KILLERS.keys() == MUTANTS.keys()
    assert lines == [
        *map(mutants.rule_row, RULES),
        *(mutants.mutant_row(mutant, KILLERS[name]) for name, mutant in MUTANTS.items()),
    ]


@pytest.mark.parametrize("name", MUTANTS)
def test_a_case_kills_the_mutant_and_lets_the_right_device_live(name: str) -> None:
    killing = case(KILLERS[name])
    assert killing.gives() == killing.expected
    assert killing.gives(MUTANTS[name]) != killing.expected


def test_the_devices_that_must_be_among_them_are() -> None:
    assert {
        "pair-10-slot-1-lost", "pair-10-wrong", "pair-20-slot-1-lost", "pair-21-slot-1-lost",
        "pair-21-wrong", "accumulator-of-22-bits-wrap", "accumulator-of-26-bits-saturate",
    } <= MUTANTS.keys()  # fmt: skip
