"""The pytest plugin: cases as parametrised tests of a user's own model."""

import json
import os
import re
import shutil
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


# Of an editable install, pytest warns that its loader was there before pytest was.
QUIET = ("-W", "ignore:Module already imported:pytest.PytestAssertRewriteWarning")


def pytest_of(folder, *options, path=None, **environment):
    environment |= {} if path is None else {"PYTHONPATH": str(path)}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *QUIET, *options],
        cwd=folder, capture_output=True, text=True, env={**os.environ, **environment},
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


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    root = tmp_path_factory.mktemp("several") / "set"
    generate(root, Campaign(("patterns", "faults"), 0, 11))
    return root


NAMES = """
def test_dut(case):
    print("CASE", case.name)
"""


@pytest.mark.parametrize(
    ("suites", "outcomes"),
    [((), ()), (("patterns",), ()), (("faults", "patterns"), ()), ((), ("masked",)),
     ((), ("changed", "error")), (("faults",), ("changed",)), (("patterns",), ("result",))],
)  # fmt: skip
def test_cases_are_chosen_by_suite_and_outcome(tmp_path, several, suites, outcomes):
    (tmp_path / "test_user.py").write_text(NAMES)
    order = [f"--cube24-suite={name}" for name in suites]
    order += [f"--cube24-outcome={name}" for name in outcomes]
    got = pytest_of(tmp_path, "-s", "-q", "--cube24-vectors", str(several), *order)
    assert got.returncode == 0, got.stdout
    shown = re.findall(r"CASE (\S+)", got.stdout)
    manifests = [json.loads(path.read_text()) for path in several.rglob("manifest.json")]
    assert sorted(shown) == sorted(
        f"{of['suite']}/{of['case']}" for of in manifests
        if (not suites or of["suite"] in suites)
        and (not outcomes or of["outcome"]["kind"] in outcomes)
    )  # fmt: skip
    assert shown


@pytest.mark.parametrize(
    ("order", "said"),
    [
        (
            ["--cube24-suite", "shapes"],
            "--cube24-suite shapes: no case has it; there are: faults, p",
        ),
        (
            ["--cube24-suite", "patterns", "--cube24-outcome", "error"],
            "no case has it; there are: r",
        ),
        (["--cube24-outcome", "good"], "invalid choice: 'good'"),
    ],
)
def test_a_choice_that_leaves_nothing_is_refused(tmp_path, several, order, said):
    (tmp_path / "test_user.py").write_text(NAMES)
    got = pytest_of(tmp_path, "--cube24-vectors", str(several), *order)
    assert got.returncode != 0
    assert said in got.stdout + got.stderr


def test_a_case_that_cannot_be_read_is_not_left_out_by_a_choice(tmp_path, several):
    shutil.copytree(several, tmp_path / "set")
    broken = next((tmp_path / "set" / "patterns").glob("*/manifest.json"))
    broken.write_text("{}")
    (tmp_path / "test_user.py").write_text(NAMES)
    order = ["--cube24-vectors", "set", "--cube24-outcome", "result"]
    got = pytest_of(tmp_path, *order)
    assert f"test_dut[patterns/{broken.parent.name}]" in got.stdout
    assert "1 failed" in got.stdout or "1 error" in got.stdout


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


OTHER = """
import pytest

@pytest.fixture{options}
def {name}({takes}):
    return {gives}
"""


def other(options="", name="case", takes="", gives="42"):
    return OTHER.format(options=options, name=name, takes=takes, gives=gives)


@pytest.mark.parametrize("option", [True, False])
@pytest.mark.parametrize(
    "fixture",
    [
        other(),
        other("(scope='session')"),
        other("(name='case')", name="of_another_name"),
        other("(params=[42])", takes="request", gives="request.param"),
    ],
)
def test_a_fixture_of_another_plugin_goes_before_ours(tmp_path, vectors, fixture, option):
    (tmp_path / "other.py").write_text(fixture)
    (tmp_path / "test_it.py").write_text("def test_it(case):\n    assert case == 42\n")
    options = ["--cube24-vectors", str(vectors)] if option else []
    got = pytest_of(tmp_path, "-p", "other", *options, path=tmp_path)
    assert got.returncode == 0, got.stdout
    assert "1 passed in" in got.stdout
    assert ("is a fixture of another plugin here, of other" in got.stdout) == option


@pytest.mark.parametrize("option", [True, False])
def test_a_fixture_of_the_users_and_parameters_go_before_ours(tmp_path, vectors, option):
    (tmp_path / "conftest.py").write_text(other())
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "conftest.py").write_text(other(gives="43"))
    (tmp_path / "sub" / "test_sub.py").write_text("def test_it(case):\n    assert case == 43\n")
    (tmp_path / "test_own.py").write_text("""
import pytest

def test_conftest(case):
    assert case == 42

@pytest.mark.parametrize("case", [1, 2])
def test_parameters(case):
    assert case in (1, 2)

@pytest.mark.parametrize("other, case", [(1, 2)])
def test_two_parameters(case, other):
    assert case == 2

class TestClass:
    @pytest.fixture
    def case(self):
        return 44

    def test_class(self, case):
        assert case == 44
""")
    options = ["--cube24-vectors", str(vectors)] if option else []
    got = pytest_of(tmp_path, *options)
    assert got.returncode == 0, got.stdout
    assert "6 passed" in got.stdout


def test_parameters_of_a_hook_go_before_ours(tmp_path, vectors):
    hook = "def pytest_generate_tests(metafunc):\n    metafunc.parametrize('case', [7])\n"
    (tmp_path / "conftest.py").write_text(hook)
    (tmp_path / "test_it.py").write_text("def test_it(case):\n    assert case == 7\n")
    got = pytest_of(tmp_path, "--cube24-vectors", str(vectors))
    assert "1 passed" in got.stdout, got.stdout


@pytest.mark.parametrize("scope", ["function", "class", "module", "session"])
def test_fixtures_of_every_scope_can_take_a_case(tmp_path, vectors, scope):
    (tmp_path / "test_it.py").write_text(
        other(f"(scope={scope!r})", "loaded", "case", "case.name") + "\nclass TestIt:\n"
        "    def test_one(self, loaded, case):\n        assert loaded == case.name\n\n"
        "    def test_two(self, loaded):\n        assert loaded\n"
    )
    got = pytest_of(tmp_path, "-v", "--cube24-vectors", str(vectors))
    assert "6 passed" in got.stdout, got.stdout
    for folder in folders(vectors):
        assert f"test_two[{load(folder).name}] PASSED" in got.stdout


def test_a_fixture_can_make_something_else_of_our_case(tmp_path, vectors):
    (tmp_path / "conftest.py").write_text(other(takes="case", gives="case.name"))
    (tmp_path / "test_it.py").write_text("def test_it(case):\n    assert '/' in case\n")
    got = pytest_of(tmp_path, "--cube24-vectors", str(vectors))
    assert "3 passed" in got.stdout, got.stdout


def test_a_bad_case_fails_and_the_others_are_run(tmp_path, vectors):
    shutil.copytree(vectors, tmp_path / "set")
    bad = next(iter(folders(tmp_path / "set")))
    (bad / "manifest.json").write_text("{")
    (tmp_path / "test_user.py").write_text(USER.replace("BAD", "'none'"))
    got = pytest_of(tmp_path, "--cube24-vectors", "set")
    assert got.returncode == 1
    assert "3 passed, 1 error" in got.stdout
    assert "no readable JSON" in got.stdout
    assert bad.name in got.stdout


def test_nothing_is_imported_until_a_test_asks_for_it(tmp_path):
    (tmp_path / "test_it.py").write_text(
        "import sys\n\ndef test_it():\n    assert 'cube24.vectors.plugin' in sys.modules\n"
        "    assert 'numpy' not in sys.modules\n"
        "    assert not [name for name in sys.modules if name.startswith('cube24.simulator')]\n"
    )
    # Plugins of others, such as hypothesis, may import NumPy.
    got = pytest_of(tmp_path, "-p", "cube24.vectors.plugin", PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    assert "1 passed" in got.stdout, got.stdout
