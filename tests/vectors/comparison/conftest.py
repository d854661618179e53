"""What the tests of comparison share: the cases of compared.py, each made once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from compared import SPECS, Made, make


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Made]:
    """The cases of SPECS, each made once."""
    root, made = tmp_path_factory.mktemp("cases"), {}

    def case(name: str) -> Made:
        if name not in made:
            made[name] = make(root / name, SPECS[name])
        return made[name]

    return case
