"""The pytest plugin: cases as parametrised tests of a user's own model."""

import subprocess
import sys
from xml.etree import ElementTree as ET

import pytest

from cube24.vectors.campaign import Campaign, generate
from cube24.vectors.manifest import folders, load

USER = """
import numpy as np

def test_dut(case):
    a, w = case.array("activations").astype(int), case.array("weights").astype(int)
    result = a @ w.T
    if case.name.endswith(BAD):
        result[0, 0] += 1
    assert np.array_equal(result, case.array("expected"))

def test_other():
    pass
"""


@pytest.fixture(scope="module")
def vectors(tmp_path_factory):
    root = tmp_path_factory.mktemp("vectors")
    generate(root / "set", Campaign(("patterns",), 0, 11))
    return root / "set"


def pytest_of(folder, *options):
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options],
        cwd=folder, capture_output=True, text=True,
    )  # fmt: skip


def test_each_case_is_a_test_named_by_it(tmp_path, vectors):
    (tmp_path / "test_user.py").write_text(USER.replace("BAD", "'none'"))
    got = pytest_of(tmp_path, "-v", "--cube24-vectors", str(vectors))
    assert got.returncode == 0, got.stdout
    names = [load(folder).name for folder in folders(vectors)]
    assert len(names) == 3
    for name in names:
        assert f"test_dut[{name}] PASSED" in got.stdout
    assert "test_other PASSED" in got.stdout


def test_the_seed_stands_in_the_failure_and_in_junit(tmp_path, vectors):
    stored = load(next(iter(folders(vectors))))
    (tmp_path / "test_user.py").write_text(USER.replace("BAD", repr(stored.manifest["case"])))
    got = pytest_of(tmp_path, "--cube24-vectors", str(vectors), "--junit-xml", "junit.xml")
    assert got.returncode == 1
    assert f"case seed 0x{stored.seed:016x}" in got.stdout
    seeds = {
        case.get("name"): [p.get("value") for p in case.iter("property")]
        for case in ET.parse(tmp_path / "junit.xml").iter("testcase")
    }
    assert seeds[f"test_dut[{stored.name}]"] == [f"0x{stored.seed:016x}"]
    assert seeds["test_other"] == []


def test_without_the_option_the_test_says_what_is_missing(tmp_path):
    (tmp_path / "test_user.py").write_text(USER.replace("BAD", "'none'"))
    got = pytest_of(tmp_path)
    assert got.returncode == 1
    assert "say --cube24-vectors DIR" in got.stdout
    assert "1 passed, 1 error" in got.stdout


def test_a_folder_without_cases_is_a_usage_error(tmp_path):
    (tmp_path / "test_user.py").write_text(USER.replace("BAD", "'none'"))
    got = pytest_of(tmp_path, "--cube24-vectors", str(tmp_path))
    assert got.returncode != 0
    assert "holds no case" in got.stdout + got.stderr
    assert "Traceback" not in got.stdout + got.stderr
