"""Run the cocotb bench on the unit, or on variants of it that are broken: each must be found.

    python run.py [--seed S]                 random cases on the good unit, until coverage is full
    python run.py --variants [NAME ...]      the broken variants, or some of them
    python run.py --list                     their names

Exit code 1: a case differs, coverage is not reached; or a variant is not caught, or misnamed.
"""

from __future__ import annotations

import argparse
import json
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import variants
from cocotb_tools.check_results import get_results
from cocotb_tools.runner import get_runner

HERE = Path(__file__).resolve().parent
RTL = HERE.parent / "rtl"

#: Coverpoints that random cases have to fill: all that a multiplication can on a unit like this.
FULL = (
    "value", "pair", "pos", "col", "act", "mul", "bias", "sum", "rq", "relu", "scale", "offset",
)  # fmt: skip

#: What the simulation imports.
BENCH = ("bench.py", "stimulus.py", "unit_tests.py")

#: Size of the unit: its 16 columns are those of a fractal.
ROWS, COLS = 2, 16

#: Random cases for a broken variant.
CASES = 3


@contextmanager
def first_on_path(folder: Path) -> Iterator[None]:
    """Let the simulation import from a folder before all others."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def simulate(folder: Path, faults: tuple[variants.Fault, ...], plan: dict[str, Any]) -> bool:
    """Put faults into a copy of unit and bench, build it, run the tests; gives whether all passed.

    What the tests found is in the folder; one of an earlier run is deleted.
    """
    folder = folder.resolve()  # some versions of cocotb look for it from elsewhere
    if folder.exists():
        if not (folder / "plan.json").is_file():
            raise SystemExit(f"{folder} holds no plan.json: it is not of an earlier run; delete it")
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    (folder / "plan.json").write_text(json.dumps(plan))
    rtl = (*RTL.glob("cube24_*.sv"), RTL / "play.py")
    for path in (*rtl, *(HERE / name for name in BENCH)):
        shutil.copy(path, folder)
    for fault in faults:
        variants.change(folder, fault)
    runner = get_runner("icarus")
    runner.build(
        sources=sorted(folder.glob("*.sv")), hdl_toplevel="cube24_unit", build_dir=folder,
        parameters={"ROWS": ROWS, "COLS": COLS}, build_args=["-g2012", "-Wall"],
        timescale=("1ns", "1ns"), always=True, log_file=folder / "build.log",
    )  # fmt: skip
    with first_on_path(folder):
        results = runner.test(
            test_module="unit_tests", hdl_toplevel="cube24_unit", build_dir=folder,
            test_dir=folder, seed=plan["seed"] & 0xFFFFFFFF,
            results_xml=str(folder / "results.xml"), testcase=plan["tests"],
            log_file=folder / "test.log",
        )  # fmt: skip
    return have_passed(results, plan["tests"])


def have_passed(results: Path, tests: list[str]) -> bool:
    """Whether just these tests ran and passed; some versions of cocotb list others as skipped.

    Raises:
        RuntimeError: there are no results, for the simulation ended before.
    """
    get_results(results)  # its numbers mean something else in each version
    found = [
        (test.get("name"), {of.tag for of in test}) for test in ET.parse(results).iter("testcase")
    ]
    ran = [name for name, tags in found if "skipped" not in tags]
    failed = any(tags & {"failure", "error"} for _, tags in found)
    return not failed and sorted(ran) == sorted(tests)


def run_good(folder: Path, seed: int, most: int) -> int:
    """Random cases on the good unit; gives the exit code."""
    plan = {"seed": seed, "least": 10, "most": most, "illegal": 60, "constraints": {}}
    tests = ["random_cases", "illegal_index"]
    passed = simulate(folder, (), plan | {"full": FULL, "tests": tests})
    findings = read_findings(folder)
    print(
        f"{'PASS' if passed else 'FAIL'}: {findings['cases']} random cases, "
        f"{len(findings['differing'])} differ, {len(findings['holes'])} bins without a hit, "
        f"{plan['illegal']} instructions with and without an index of 3 (seed {seed})"
    )
    if not passed:
        print(f"see {folder / 'test.log'}")
    return not passed


def run_variants(folder: Path, names: list[str], seed: int) -> int:
    """Run broken variants; gives the exit code."""
    failed = 0
    for name in names:
        variant = variants.VARIANTS[name]
        plan = {"seed": seed, "least": CASES, "most": CASES, "full": (), "tests": ["random_cases"]}
        plan |= {"constraints": {**variants.PLAIN, **variant.constraints}}
        passed = simulate(folder / name, variant.faults, plan)
        findings = read_findings(folder / name)
        wrong = ["the test passed"] if passed else variants.faulted(variant, findings)
        said = ", ".join(sorted(variant.hypotheses | variant.patterns.keys()))
        what = "; ".join(wrong) if wrong else f"named {said}"
        print(f"{'FAIL' if wrong else 'PASS'} {name}: {len(findings['differing'])} of "
              f"{findings['cases']} cases differ; {what}", flush=True)  # fmt: skip
        failed += bool(wrong)
    print(f"{len(names)} variants, {failed} not caught or misnamed (seed {seed})")
    return failed > 0


def read_findings(folder: Path) -> dict[str, Any]:
    """What the tests found."""
    path = folder / "findings.json"
    if not path.exists():
        raise SystemExit(f"the simulation ended early: see {folder / 'test.log'}")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description="Run the cocotb bench.")
    parser.add_argument("--seed", type=int, help="0 to 2^64 - 1; without it, another one each time")
    parser.add_argument("--most", type=int, default=400, help="most random cases on the good unit")
    parser.add_argument("--build", type=Path, default=HERE / "build", help="where it is built")
    parser.add_argument(
        "--variants", nargs="*", metavar="NAME", help="broken variants; no name: all"
    )
    parser.add_argument("--list", action="store_true", help="list the broken variants")
    given = parser.parse_args()
    if given.list:
        print("\n".join(variants.VARIANTS))
        return 0
    seed = secrets.randbits(32) if given.seed is None else given.seed
    folder = given.build.resolve()
    if not 0 <= seed < 1 << 64 or given.most < 1:
        parser.error("--seed is 0 to 2^64 - 1, and --most 1 or more")
    names = given.variants or list(variants.VARIANTS)
    if unknown := [name for name in names if name not in variants.VARIANTS]:
        parser.error(f"no variant {unknown[0]}; --list lists them")
    # Before anything can go wrong, so that it can be done again.
    print(f"seed {seed}", flush=True)
    if given.variants is None:
        return run_good(folder / "good", seed, given.most)
    return run_variants(folder / "variants", names, seed)


if __name__ == "__main__":
    sys.exit(main())
