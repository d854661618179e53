"""The table: counts of cases, merging, holes, its texts, and folders."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from counted import STYLE, Level, table_of
from hypothesis import given
from hypothesis import strategies as st

from cube24.encoder import ArgumentError, FileFormatError
from cube24.vectors import campaign, coverage
from cube24.vectors import manifest as manifests
from cube24.vectors.coverage import BINS, POINTS, UNREACHABLE, Table


def test_level_0_hits_every_reachable_bin(level0: Level) -> None:
    table = table_of(case for cases in level0.values() for case in cases)
    assert table.holes == ()
    assert table.percent == 100
    assert table.unexpected == ()


def test_level_0_needs_no_luck(level0: Level) -> None:
    """What is hit by drawn shapes alone could be lost with another seed."""
    table = table_of(case for suite, cases in level0.items() if suite != "random" for case in cases)
    assert table.holes == ()


@pytest.mark.parametrize("left_out", ["shapes", "accumulate", "requant"])
def test_a_suite_that_is_left_out_leaves_its_holes(level0: Level, left_out: str) -> None:
    with_: set[str] = set()
    without: set[str] = set()
    for suite, cases in level0.items():
        for case in cases:
            (with_ if suite == left_out else without).update(case.bins)
    table = table_of(c for suite, cases in level0.items() if suite != left_out for c in cases)
    holes = {name for name in BINS if name not in UNREACHABLE and name not in without}
    assert set(table.holes) == holes
    assert holes & with_  # it was that suite that hit them
    assert table.percent < 100
    assert all(f"  {name}\n" in str(table) for name in table.holes)
    assert all(f"* `{name}`\n" in table.to_markdown() for name in table.holes)


def test_counts_are_of_cases(level0: Level) -> None:
    cases = level0["requant"]
    table = table_of(cases)
    assert table.cases == len(cases)
    for name in BINS:
        assert table.counts.get(name, 0) == sum(name in case.bins for case in cases)


counts = st.dictionaries(st.sampled_from([*BINS, "change/flip", "change/a.b"]), st.integers(1, 5))

tables = st.builds(lambda cases, counts: Table(cases, counts), st.integers(5, 9), counts)


@given(tables, tables, tables)
def test_merging_adds(a: Table, b: Table, c: Table) -> None:
    assert a + b == b + a
    assert (a + b) + c == a + (b + c)
    assert a + Table() == a
    merged = a + b
    assert merged.cases == a.cases + b.cases
    for name in [*BINS, "change/flip", "change/a.b"]:
        assert merged.counts.get(name, 0) == a.counts.get(name, 0) + b.counts.get(name, 0)
    assert set(merged.holes) == set(a.holes) & set(b.holes)
    assert merged.to_json() == (b + a).to_json()


def test_merging_does_not_change_the_parts() -> None:
    a, b = Table(), Table()
    a.add(["pair/00"])
    b.add(["pair/00", "pair/10"])
    merged = a + b
    merged.add(["pair/00"])
    assert (a.counts, b.counts) == ({"pair/00": 1}, {"pair/00": 1, "pair/10": 1})
    assert merged.counts == {"pair/00": 3, "pair/10": 1}


def test_a_case_counts_once_for_a_bin_that_is_named_twice() -> None:
    table = Table()
    table.add(["pair/00", "pair/00"])
    assert (table.cases, table.counts) == (1, {"pair/00": 1})


def test_an_unknown_bin_is_refused_and_nothing_is_counted() -> None:
    table = Table()
    for name in ("pair/44", "pair", "nothing/00", "", "change/", "change/a b", "pair/00 "):
        with pytest.raises(ArgumentError, match="there is none of this name"):
            table.add(["pair/00", name])
    assert table == Table()
    assert table != 0


@given(tables)
def test_json_round_trip(table: Table) -> None:
    again = Table.from_json(table.to_json())
    assert again == table
    assert again.to_json() == table.to_json()


def test_the_order_of_cases_changes_nothing(level0: Level) -> None:
    cases = level0["shapes"]
    one, other = table_of(cases), table_of(reversed(cases))
    assert one.to_json() == other.to_json()
    assert (str(one), one.to_markdown()) == (str(other), other.to_markdown())


GOOD = json.loads(Table(3, {"pair/00": 2}).to_json())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("{", "no readable JSON"),
        ("[" * 100_000, "no readable JSON"),
        ([], "its schema is not"),
        ({**GOOD, "schema": "cube24-coverage-2"}, "its schema is not"),
        ({**GOOD, "counts": {"pair/44": 1}}, "'pair/44': there is none"),
        ({**GOOD, "counts": {"pair/00": 4}}, "4 of 3 cases"),
        ({**GOOD, "counts": {"pair/00": -1}}, "-1 of 3 cases"),
        ({**GOOD, "counts": {"pair/00": True}}, "True of 3 cases"),
        ({**GOOD, "counts": {"pair/00": 1.0}}, "1.0 of 3 cases"),
        ({**GOOD, "counts": {"pair/00": 2, "pair/10": 0}}, "counts does not follow"),
        ({**GOOD, "counts": {"pair/10": 2}}, "holes does not follow"),
        ({**GOOD, "counts": []}, "no counts"),
        ({**GOOD, "cases": -1}, "no number of cases"),
        ({**GOOD, "cases": True}, "no number of cases"),
        ({**GOOD, "percent": 100.0}, "percent does not follow"),
        ({**GOOD, "holes": []}, "holes does not follow"),
        ({**GOOD, "unreachable": {}}, "unreachable does not follow"),
        ({**GOOD, "more": 1}, "more does not follow"),
        ({name: GOOD[name] for name in GOOD if name != "holes"}, "holes does not follow"),
    ],
)
def test_json_that_is_no_coverage_is_refused(given: Any, message: str) -> None:
    text = given if isinstance(given, str) else json.dumps(given)
    with pytest.raises(FileFormatError, match=message) as error:
        Table.from_json(text, "some.json")
    assert error.value.path == "some.json"


def test_a_file_is_read_and_named_in_errors(tmp_path: Path) -> None:
    path = tmp_path / "coverage.json"
    path.write_text(json.dumps(GOOD))
    assert Table.load(path) == Table(3, {"pair/00": 2})
    path.write_bytes(b"\xff")
    with pytest.raises(FileFormatError, match=r"coverage\.json"):
        Table.load(path)


def test_the_text_has_a_line_for_each_coverpoint() -> None:
    table = Table(2, {"batch/1": 2, "value/0000.0.1": 1, "change/flip": 2})
    lines = {line.split()[0]: line.split() for line in str(table).splitlines() if line.strip()}
    assert lines["batch"][1:5] == ["2", "2", "1", "50.0"]
    assert lines["value"][1:5] == ["154", "102", "0", "0.0"]  # hit, but not reachable
    assert lines["change"][1:5] == ["-", "-", "1", "-"]
    total, out = len(BINS), len(UNREACHABLE)
    percent = 1000 // (total - out) / 10
    assert lines["all"][1:] == [str(total), str(total - out), "1", f"{percent:.1f}"]
    assert {point.name for point in POINTS} <= lines.keys()
    assert f"holes: {total - out - 1}" in str(table)
    assert all(reason in str(table) for reason in UNREACHABLE.values())
    assert all(reason in table.to_markdown() for reason in UNREACHABLE.values())
    assert "| batch | 2 | 2 | 1 | 50.0 | images |\n" in table.to_markdown()
    assert "| `batch/1` | 2 |\n" in table.to_markdown()


def test_a_single_hole_is_not_a_hundred_percent() -> None:
    names = [name for name in BINS if name not in UNREACHABLE]
    for hit in (*range(0, len(names), 50), len(names) - 1, len(names)):
        table = Table(1, dict.fromkeys(names[:hit], 1))
        exact = Fraction(100 * hit, len(names))
        assert exact - Fraction(1, 10) < Fraction(str(table.percent)) <= exact  # rounded down


def test_folders_are_counted_by_their_manifests(tmp_path: Path, level0: Level) -> None:
    root = tmp_path / "vectors"
    campaign.generate(root, campaign.Campaign(("patterns",), 0, 1, STYLE))
    wanted = table_of(level0["patterns"])
    assert coverage.of_folder(root) == wanted
    assert coverage.of_folder(str(root)) == wanted
    # No case counts twice, however often it is named.
    twice = [root, root / "patterns", root, root / "patterns" / ".."]
    assert coverage.of_folder(twice) == wanted
    one = level0["patterns"][0]
    assert coverage.of_folder(root / "patterns" / one.name) == table_of([one])


def test_a_manifest_with_an_unknown_bin_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "vectors"
    campaign.generate(root, campaign.Campaign(("patterns",), 0, 1))
    path = next(root.rglob("manifest.json"))
    manifest = json.loads(path.read_text())
    manifest["coverage"] = ["pair/77"]
    del manifest["sha256"]
    path.write_bytes(manifests.sealed(manifest))
    with pytest.raises(FileFormatError, match="pair/77") as error:
        coverage.of_folder(root)
    assert Path(error.value.path) == path.resolve()
    with pytest.raises(FileFormatError):
        coverage.of_folder(tmp_path / "nothing")
