"""The fixture ``case`` of the pytest plugin: a module of its own, so that it can be left out."""

from __future__ import annotations

from typing import Any

import pytest

from cube24.errors import Cube24Error
from cube24.vectors.plugin import NAME, OPTION


@pytest.fixture(scope="session")
def case(request: pytest.FixtureRequest) -> Any:
    """A golden vector below the folder of --cube24-vectors."""
    if not hasattr(request, "param"):
        raise pytest.UsageError(f"a test takes `{NAME}`: say {OPTION} DIR")
    if isinstance(request.param, Cube24Error):
        pytest.fail(str(request.param), pytrace=False)
    return request.param
