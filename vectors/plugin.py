"""The pytest plugin: a folder of cases as parametrised tests of a user's own model.

    pytest --cube24-vectors DIR

runs each test that takes ``case`` once for each case below DIR, as a
:class:`cube24.vectors.Stored`. The seed of the case stands in the report of a failure and
in the properties of JUnit XML.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

# Its names are imported when they are asked for: the plugin is loaded by every pytest, and most do
# not ask for it.
from cube24 import vectors
from cube24.errors import Cube24Error

_OPTION = "--cube24-vectors"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    group = parser.getgroup("cube24")
    group.addoption(
        _OPTION, action="append", metavar="DIR", default=[],
        help="run tests that take `case` with each golden vector below DIR; may be given again",
    )  # fmt: skip


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each case."""
    paths = metafunc.config.getoption(_OPTION)
    if not paths or "case" not in metafunc.fixturenames:
        return
    try:
        cases = [vectors.load(folder) for path in paths for folder in vectors.folders(path)]
    except Cube24Error as error:
        raise pytest.UsageError(f"{_OPTION}: {error}") from error
    metafunc.parametrize("case", cases, ids=[case.name for case in cases])


@pytest.fixture
def case() -> Any:
    """A golden vector below the folder of --cube24-vectors."""
    raise pytest.UsageError(f"a test takes `case`: say {_OPTION} DIR")


def _seed(item: pytest.Item) -> str | None:
    found = getattr(getattr(item, "callspec", None), "params", {}).get("case")
    return vectors.shown(found.seed) if isinstance(found, vectors.Stored) else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the seed of each case into the properties of its test."""
    if not config.getoption(_OPTION):
        return
    for item in items:
        seed = _seed(item)
        if seed is not None:
            item.user_properties.append(("cube24_case_seed", seed))


# The old kind of wrapper: a user's pytest may be older than the new one.
@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[Any]
) -> Generator[None, Any, None]:
    """Say the seed where a test failed."""
    report = (yield).get_result()
    if report.failed and item.config.getoption(_OPTION):
        seed = _seed(item)
        if seed is not None:
            report.sections.append(("cube24 case", f"case seed {seed}"))
