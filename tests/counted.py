"""Cases for the tests of coverage, and the table of some."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cube24.vectors.build import build
from cube24.vectors.case import Case
from cube24.vectors.coverage import Table
from cube24.vectors.files import CaseStyle
from cube24.vectors.spec import Item

#: Of manifests that list all bins.
STYLE = CaseStyle(manifest=2)

Level = Mapping[str, tuple[Case, ...]]


def table_of(cases: Iterable[Case]) -> Table:
    table = Table()
    for case in cases:
        table.add(case.bins)
    return table


def made(spec: Mapping[str, Any]) -> Case:
    return build("test", 1, Item("case", spec), 1, STYLE)
