"""Whole models: compile, check, and loading and running a compiled one in onnxruntime.

    pytest benchmarks/test_models.py --benchmark-only
    NETWORKS=FOLDER pytest benchmarks/test_models.py --benchmark-only

FOLDER is one that networks.py has filled; every NAME.qop-u8.onnx in it is measured. Without it, the
small network that networks.py makes offline. The peer is onnxruntime on the source model.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from cube24 import graph

FOLDER = Path(os.environ.get("NETWORKS", ""))
NAMES = sorted(p.name.split(".")[0] for p in FOLDER.glob("*.qop-u8.onnx")) if FOLDER.name else []


@pytest.fixture(scope="module", params=NAMES or ["squeezenet"])
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if NAMES:
        return FOLDER / f"{request.param}.qop-u8.onnx"
    where, folder = Path(__file__).parent / "networks.py", tmp_path_factory.mktemp("networks")
    subprocess.run([sys.executable, where, folder, "--offline"], check=True)
    return folder / f"{request.param}.qop-u8.onnx"


@pytest.fixture(scope="module")
def compiled(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("compiled") / "out.onnx"
    graph.save(graph.compile(graph.load(source), sparsity=1).model, path)
    return path


def inputs_of(source: Path) -> dict[str, np.ndarray]:
    with np.load(source.parent / f"{source.name.split('.')[0]}.input.npz") as found:
        return dict(found)


def test_compile_from_file_to_file(benchmark, source, tmp_path):
    def work() -> graph.Compiled:
        found = graph.compile(graph.load(source), sparsity=1)
        graph.save(found.model, tmp_path / "out.onnx", overwrite=True)
        return found

    found = benchmark.pedantic(work, rounds=3)
    assert any(verdict.sparse for verdict in found.verdicts)


def test_check_with_cycles(benchmark, source):
    shapes = {name: array.shape for name, array in inputs_of(source).items()}
    model = graph.load(source)
    report = benchmark.pedantic(graph.check, (model,), {"input_shapes": shapes}, rounds=3)
    assert report.cycles is not None


@pytest.mark.parametrize("which", ["source", "compiled"])
def test_load_in_onnxruntime(benchmark, which, source, compiled):
    path = source if which == "source" else compiled
    benchmark.pedantic(session, (path,), rounds=3)


@pytest.mark.parametrize("which", ["source", "compiled"])
def test_run_in_onnxruntime(benchmark, which, source, compiled):
    of, inputs = session(source if which == "source" else compiled), inputs_of(source)
    got = benchmark(of.run, None, inputs)
    for one, other in zip(got, session(source).run(None, inputs), strict=True):
        assert np.array_equal(one, other)


def session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
