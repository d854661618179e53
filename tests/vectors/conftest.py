"""What the tests of manifests and of verification share: a case, in memory and on disk."""

import pytest

from cube24.vectors import suites
from cube24.vectors.build import build
from cube24.vectors.files import SUFFIXES, CaseStyle
from cube24.vectors.manifest import write


@pytest.fixture(scope="module")
def made():
    items = list(suites.items("requant", 0, 2))
    item = next(item for item in items if item.name == "ties-columns")
    return build("requant", 1, item, 2, CaseStyle(tuple(SUFFIXES), 2, "big"))


@pytest.fixture
def folder(made, tmp_path):
    write(made, tmp_path / "case")
    return tmp_path / "case"
