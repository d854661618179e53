"""examples/cocotb: the good unit passes, and each broken variant is caught and named.

cocotb and Icarus Verilog have to be there: a test that cannot run them fails.
"""

import importlib.util
import json
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
    assert got.stdout.startswith(f"seed 2\nPASS {name}: "), got.stdout + got.stderr
    assert got.stdout.endswith("1 variants, 0 not caught or misnamed (seed 2)\n")
    assert got.returncode == 0


#: What compare can say that differing outputs have in common.
PATTERNS = {
    "accumulator-not-cleared", "bit-order", "bits", "byte-order", "bytes-of-halves", "columns",
    "columns-moved", "constant-difference", "fractal-rows-permuted", "fractals", "fractals-nn",
    "fractals-nz", "fractals-transposed", "fractals-zn", "fractals-zz", "half-order", "lanes",
    "lanes-permuted", "low-bits-zero", "narrow-accumulator", "one-value", "permuted",
    "permuted-in-columns", "permuted-in-fractals", "permuted-in-rows", "rows", "rows-moved",
    "saturated", "shifted", "stuck-bits", "transposed", "truncated", "zero-columns",
    "zero-extended", "zero-lanes", "zero-rows", "zeros",
}  # fmt: skip


def test_each_pattern_has_a_variant_that_must_show_it():
    demanded = set().union(*(each.patterns for each in variants.VARIANTS.values()))
    assert demanded == PATTERNS


def test_each_hypothesis_has_a_variant_of_its_name():
    for each in HYPOTHESES:
        assert each.name in variants.VARIANTS[each.name].hypotheses


def test_a_run_whose_coverage_is_not_reached_fails(tmp_path):
    got = run(
        [sys.executable, COCOTB / "run.py", "--seed", "1", "--most", "2", "--build", tmp_path],
        tmp_path,
    )
    assert got.stdout.startswith("seed 1\nFAIL: 2 random cases, 0 differ, ")
    assert " 0 bins without a hit" not in got.stdout
    assert got.returncode == 1


def test_a_variant_whose_text_is_not_there_once_is_refused(tmp_path):
    (tmp_path / "unit.sv").write_text("a b a")
    for old in ("a", "c"):
        with pytest.raises(ValueError, match=r"unit\.sv has [02] times"):
            variants.change(tmp_path, variants.Fault("unit.sv", old, "d"))
    variants.change(tmp_path, variants.Fault("unit.sv", "b", "d"))
    assert (tmp_path / "unit.sv").read_text() == "a d a"


def test_a_folder_that_is_not_of_an_earlier_run_is_left_alone(tmp_path):
    (tmp_path / "good").mkdir()
    (tmp_path / "good" / "mine.txt").write_text("mine")
    got = run([sys.executable, COCOTB / "run.py", "--build", tmp_path], tmp_path)
    assert got.returncode == 1
    assert got.stderr == (
        f"{tmp_path / 'good'} holds no plan.json: it is not of an earlier run; delete it\n"
    )
    assert [path.name for path in (tmp_path / "good").iterdir()] == ["mine.txt"]


def test_a_run_that_ends_by_an_assertion_tells_its_seed(tmp_path):
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    bench = tmp_path / "examples" / "cocotb" / "bench.py"
    text = bench.read_text()
    assert text.count("self.scoreboard.begin(case)\n") == 1
    bench.write_text(text.replace("self.scoreboard.begin(case)\n", "assert False\n"))
    got = run([sys.executable, bench.parent / "run.py", "--build", "built"], tmp_path)
    assert got.returncode == 1
    assert "the simulation ended early: see " in got.stderr
    plan = json.loads((tmp_path / "built" / "good" / "plan.json").read_text())
    assert got.stdout == f"seed {plan['seed']}\n"


@pytest.mark.parametrize(
    ("listed", "passed"),
    [
        ('<testcase name="one"/>', "True"),
        ('<testcase name="one"/><testcase name="two"><skipped/></testcase>', "True"),
        ('<testcase name="one"/><testcase name="two"/>', "False"),
        ('<testcase name="two"/>', "False"),
        ('<testcase name="one"><failure/></testcase>', "False"),
        ('<testcase name="one"><skipped/></testcase>', "False"),
        ("", "False"),
    ],
)
def test_what_ran_is_what_was_asked_for(listed, passed, tmp_path):
    results = tmp_path / "results.xml"
    results.write_text(f"<testsuites><testsuite>{listed}</testsuite></testsuites>")
    code = f"import run, pathlib; print(run.have_passed(pathlib.Path({str(results)!r}), ['one']))"
    got = run([sys.executable, "-c", code], COCOTB)
    assert got.stdout == f"{passed}\n", got.stderr


#: Sums of 2048 of k, with accumulators that are at an end of int32 and saturate after each.
MMADS = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import run
given = {
    "m": (2,), "n": (9,), "k": (4096,), "weights": ("uniform",), "activations": ("uniform",),
    "bias": (((1 << 31) - 1, -(1 << 31)),), "requant": (None,), "grain": ("instruction",),
    "overflow": ("saturate",),
}
plan = {"seed": 2, "least": 2, "most": 2, "full": (), "tests": ["random_cases"]}
faults = [run.variants.Fault("bench.py", *sys.argv[2:])] if sys.argv[2:] else []
print(run.simulate(Path("built"), faults, plan | {"constraints": given}))
"""


@pytest.mark.parametrize(
    ("fault", "passed"),
    [
        ((), "True"),
        (("accumulate(mmads_of(case.manifest))", "[self.k]"), "False"),
        (("accumulate(mmads_of(case.manifest))", "[64, self.k]"), "False"),
    ],
)
def test_the_instructions_of_a_tile_are_those_of_the_case(fault, passed, tmp_path):
    got = run([sys.executable, "-c", MMADS, COCOTB, *fault], tmp_path)
    assert got.stdout.endswith(f"{passed}\n"), got.stdout + got.stderr
    assert (
        '"mmad_k": [2048, 2048]' in next(tmp_path.glob("built/cases/*/manifest.json")).read_text()
    )


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
