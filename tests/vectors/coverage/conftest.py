"""What the tests of coverage share: all cases of level 0, by suite."""

from __future__ import annotations

import pytest
from counted import STYLE, Level

from cube24.vectors import suites
from cube24.vectors.build import build


@pytest.fixture(scope="module")
def level0() -> Level:
    """All cases of level 0, by suite."""
    return {
        suite: tuple(build(suite, version, item, 1, STYLE) for item in suites.items(suite, 0, 1))
        for suite, (version, _) in suites.SUITES.items()
    }
