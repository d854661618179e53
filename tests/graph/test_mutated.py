"""Models with bytes changed at random are read or refused in one line, and take no longer."""

from __future__ import annotations

from pathlib import Path

import mutated_models
import pytest
from graph_attack import said_of


def test_the_models_that_are_changed_are_good(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    for data in mutated_models.seeds():
        path.write_bytes(data)
        assert said_of(path) == "sparse"


@pytest.mark.timeout(120)
def test_changed_models(tmp_path: Path) -> None:
    path, said = tmp_path / "model.onnx", set()
    for data in mutated_models.models(2000, seed=24):
        path.write_bytes(data)
        said.add(said_of(path))
    assert len(said) > 100  # they get far enough in to differ
    assert "sparse" in said
