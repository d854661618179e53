"""examples/cocotb: the good unit passes, and each broken variant is caught and named.

cocotb and Icarus Verilog have to be there: a test that cannot run them fails.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_docs import commands

from cube24.vectors.comparison import HYPOTHESES

ROOT = Path(__file__).parent.parent.parent
COCOTB = ROOT / "examples" / "cocotb"

_spec = importlib.util.spec_from_file_location("variants", COCOTB / "variants.py")
variants = importlib.util.module_from_spec(_spec)
sys.modules["variants"] = variants
_spec.loader.exec_module(variants)


def run(command, cwd):
    assert shutil.which("iverilog"), "this test needs Debian's iverilog: apt install iverilog"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path}
    # cocotb behaves in another way below pytest.
    environment.pop("PYTEST_CURRENT_TEST", None)
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=280,
        shell=isinstance(command, str),
    )  # fmt: skip


def test_the_commands_of_the_readme_print_what_it_shows(tmp_path):
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    found = commands((COCOTB / "README.md").read_text())
    assert len(found) == 3
    for command, shown in found:
        got = run(command, tmp_path)
        assert got.stdout == shown, got.stdout + got.stderr
        assert got.returncode == 0


@pytest.mark.parametrize("name", variants.VARIANTS)
def test_a_broken_variant_is_caught_and_named(name, tmp_path):
    got = run(
        [sys.executable, COCOTB / "run.py", "--seed", "2", "--build", tmp_path, "--variants", name],
        tmp_path,
    )
    assert got.stdout.startswith(f"PASS {name}: "), got.stdout + got.stderr
    assert got.stdout.endswith("1 variants, 0 not caught or misnamed (seed 2)\n")
    assert got.returncode == 0


def test_each_hypothesis_has_a_variant_of_its_name():
    for each in HYPOTHESES:
        assert each.name in variants.VARIANTS[each.name].hypotheses
    assert sum(bool(each.patterns) for each in variants.VARIANTS.values()) >= 15


def test_a_run_whose_coverage_is_not_reached_fails(tmp_path):
    got = run(
        [sys.executable, COCOTB / "run.py", "--seed", "1", "--most", "2", "--build", tmp_path],
        tmp_path,
    )
    assert got.stdout.startswith("FAIL: 2 random cases, 0 differ, ")
    assert " 0 bins without a hit" not in got.stdout
    assert got.returncode == 1


def test_a_variant_whose_text_is_not_there_once_is_refused(tmp_path):
    (tmp_path / "unit.sv").write_text("a b a")
    for old in ("a", "c"):
        with pytest.raises(ValueError, match=r"unit\.sv has [02] times"):
            variants.change(tmp_path, variants.Fault("unit.sv", old, "d"))
    variants.change(tmp_path, variants.Fault("unit.sv", "b", "d"))
    assert (tmp_path / "unit.sv").read_text() == "a d a"


def case(*hypotheses, **patterns):
    return {
        "case": "drawn",
        "hypotheses": [{"name": name} for name in hypotheses],
        "patterns": [{"name": name, "numbers": numbers} for name, numbers in patterns.items()],
    }


@pytest.mark.parametrize(
    ("name", "differing", "said"),
    [
        ("bias-missing", [case("bias-missing"), case("bias-missing", "bias-twice")], []),
        ("bias-missing", [], ["not caught by 3 cases"]),
        (
            "bias-missing",
            [case("bias-missing"), case("bias-twice")],
            ["named [], and should be ['bias-missing']"],
        ),
        (
            "bias-missing",
            [case("bias-missing", "bias-twice")],
            ["named ['bias-missing', 'bias-twice'], and should be ['bias-missing']"],
        ),
        ("starts-from-7", [case(**{"constant-difference": {"plus": 7}})], []),
        (
            "starts-from-7",
            [case(**{"constant-difference": {"plus": 8}})],
            ["drawn: constant-difference says {'plus': 8}"],
        ),
        ("starts-from-7", [case(bits={})], ["drawn: constant-difference is not said, but bits"]),
    ],
)
def test_what_is_wrong_with_the_findings_is_told(name, differing, said):
    findings = {"cases": 3, "differing": differing}
    assert variants.faulted(variants.VARIANTS[name], findings) == said
