"""Golden vectors: cases a second, made, kept, verified and compared.

    pytest benchmarks/test_vectors.py --benchmark-only

No peer makes such cases, so the figures are absolute, with one and with two worker processes beside
each other.
"""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from cube24.vectors import Campaign, compare, generate, load, verify, verify_many
from cube24.vectors.build import build
from cube24.vectors.manifest import folders, write
from cube24.vectors.spec import Item, matmul
from cube24.vectors.suites import SUITES

LEVEL_1 = Campaign(tuple(SUITES), 1, 1)
#: One case in so many of level 1: of every suite, as they follow each other.
PART = 10


@pytest.mark.parametrize("workers", [1, 2])
def test_level_1(benchmark, tmp_path, workers):
    def empty():
        shutil.rmtree(tmp_path / "set", ignore_errors=True)
        return (tmp_path / "set", LEVEL_1), {"workers": workers, "shard": (0, PART)}

    done = benchmark.pedantic(generate, setup=empty, rounds=3)
    benchmark.extra_info["cases"] = done.written
    benchmark.extra_info["cases_a_minute"] = round(60 * done.written / benchmark.stats["median"])
    assert done.written == -(-LEVEL_1.count() // PART)


def test_level_1_that_is_there_already(benchmark, tmp_path):
    written = generate(tmp_path, LEVEL_1, shard=(0, PART)).written
    done = benchmark.pedantic(generate, (tmp_path, LEVEL_1), {"shard": (0, PART)}, rounds=3)
    assert done.kept == written


@pytest.fixture(scope="module")
def part(tmp_path_factory):
    """A part of level 1, and how many cases that is."""
    root = tmp_path_factory.mktemp("part") / "set"
    return root, generate(root, LEVEL_1, shard=(0, PART)).written


@pytest.mark.parametrize("workers", [1, 2])
def test_verify_level_1(benchmark, part, workers):
    root, cases = part

    def good():
        return sum(one.kind == "good" for one in verify_many(folders(root), workers=workers))

    assert benchmark.pedantic(good, rounds=3) == cases
    benchmark.extra_info["cases"] = cases
    benchmark.extra_info["cases_a_minute"] = round(60 * cases / benchmark.stats["median"])


def test_verify(benchmark, tmp_path):
    generate(tmp_path, Campaign(("random",), 0, 1))
    found = list(folders(tmp_path))
    benchmark.extra_info["cases"] = len(found)
    benchmark(lambda: [verify(folder) for folder in found])


@pytest.mark.parametrize("wrong", [False, True], ids=["equal", "explained"])
def test_compare(benchmark, tmp_path, wrong):
    spec = matmul(256, 256, 1024, weights="full")
    write(build("bench", 1, Item("case", spec), 1), tmp_path / "case")
    case = load(tmp_path / "case")
    got = case.array("expected")
    if wrong:  # activations taken for unsigned
        a, w = (case.array(role).astype(np.int64) for role in ("activations", "weights"))
        got = ((a & 255) @ w.T).astype(np.int32)
    text = benchmark(lambda: str(compare(case, got)))
    assert ("activations-unsigned" in text) == wrong
