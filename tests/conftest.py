"""What all tests share: Hypothesis profiles and the code paths of this machine."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from cube24 import encoder

# `ci` repeats the same examples in every run; HYPOTHESIS_PROFILE=long looks for new ones.
for name, examples in (("ci", 100), ("long", 3000)):
    settings.register_profile(
        name,
        max_examples=examples,
        derandomize=name == "ci",
        database=None if name == "ci" else settings.default.database,  # type: ignore[union-attr]
        deadline=None,
        print_blob=True,
        # The fixture `path` holds for all examples of a test; it need not be set anew for each.
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(params=encoder.paths())
def path(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run the test on each code path that this machine has."""
    encoder.use_path(request.param)
    yield request.param
    encoder.use_path(None)
