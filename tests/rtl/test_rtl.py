"""examples/rtl: the unit plays golden cases, its bench can fail, its cycles are the simulator's.

All committed cases under both simulators, all proofs and synthesis are `make` in examples/rtl,
which CI runs once; here is what else must hold, under Icarus, which compiles in seconds.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import plain_device
import pytest

from cube24 import vectors
from cube24.simulator import Matmul, Unit

ROOT = Path(__file__).parent.parent.parent
RTL = ROOT / "examples" / "rtl"
GOLDEN = ROOT / "vectors" / "golden"
ROLES = ("activations", "dense", "index", "bias", "requant", "expected")


def run(*command, **more):
    return subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, timeout=250, **more
    )


def make(*words, rtl=RTL):
    for tool in ("make", "iverilog", "yosys"):
        assert shutil.which(tool), (
            f"this test needs Debian's {tool}: apt install make iverilog yosys"
        )
    return run("make", "-C", rtl, f"PYTHON={sys.executable}", *words)


def compiled(folder, rows=1, cols=4, rtl=RTL):
    name = f"{folder}/tb_case-{rows}x{cols}.vvp"
    made = make(f"BUILD={folder}", f"ROWS={rows}", f"COLS={cols}", name, rtl=rtl)
    assert made.returncode == 0, made.stdout + made.stderr
    return Path(name)


def rtl_with(tmp_path, name, old, new):
    """A copy of the RTL with another text in one file, where the old one stands once."""
    rtl = tmp_path / "rtl"
    shutil.copytree(RTL, rtl, ignore=shutil.ignore_patterns("build", "__*"))
    text = (rtl / name).read_text()
    assert text.count(old) == 1
    (rtl / name).write_text(text.replace(old, new))
    return rtl


@pytest.fixture(scope="module")
def simulation(tmp_path_factory):
    """One compiled simulation, which plays all cases."""
    return compiled(tmp_path_factory.mktemp("icarus"))


def play(simulation, *cases, options=()):
    return run(sys.executable, RTL / "play.py", simulation, *cases, *options)


def test_cases_of_each_kind_pass(simulation):
    names = (
        "shapes/matmul-15x17x68", "shapes/matmul-16x16x8", "shapes/conv-3x3",
        "accumulate/saturate-step-none", "accumulate/wrap-instruction-none", "random/r000000",
    )  # fmt: skip
    cases = [GOLDEN / name for name in names]
    cases += [sorted((GOLDEN / "requant").iterdir())[at] for at in range(0, 41, 8)]
    for suite in ("foreign", "magnitude", "fixpipe"):
        cases += sorted((GOLDEN / "set-2" / suite).iterdir())[::6]
    assert len(cases) == 12 + 3 + 4 + 10
    got = play(simulation, *cases)
    assert got.returncode == 0, got.stdout
    assert got.stdout.count("PASS ") == len(cases)


def test_a_dump_is_what_compare_takes(simulation, tmp_path):
    half = next(
        path for path in sorted((GOLDEN / "requant").iterdir())
        if vectors.load(path).array("expected").dtype == np.float16
    )  # fmt: skip
    for case in (GOLDEN / "shapes" / "matmul-15x17x68", half):
        dump = tmp_path / "got.hex"
        assert play(simulation, case, options=("--dump", dump)).returncode == 0
        assert vectors.compare(case, dump).equal
        dump.unlink()


# --- what must be seen ----------------------------------------------------------------------------


def test_all_index_cases_of_negative_raise_the_flag(simulation):
    cases = sorted((GOLDEN / "negative").glob("index-3*"))
    assert len(cases) >= 2
    got = play(simulation, *cases)
    assert got.returncode == 0, got.stdout
    assert got.stdout.count(", index of 3 flagged\n") == len(cases)


def test_all_faults_are_seen(simulation, tmp_path):
    """With the good result as expected, each case fails as its outcome says."""
    good = vectors.load(GOLDEN / "faults" / "nd-activations-00024")
    assert good.manifest["outcome"] == {"kind": "masked"}
    outcomes = {}
    for case in sorted((GOLDEN / "faults").iterdir()):
        shutil.copytree(case, tmp_path / case.name)
        shutil.copy(good.folder / "expected.hex", tmp_path / case.name)
        manifest = json.loads((case / "manifest.json").read_text())
        outcomes[case.name] = manifest["outcome"]
        entries = json.loads((good.folder / "manifest.json").read_text())["files"]
        manifest["files"] = entries
        manifest["outcome"] = {"kind": "result"}  # an illegal index is to be a failure here
        (tmp_path / case.name / "manifest.json").write_text(json.dumps(manifest))
    assert len(outcomes) == 24
    got = play(simulation, tmp_path, options=("--unchecked",))
    assert got.returncode == 1
    for name, outcome in outcomes.items():
        if outcome["kind"] == "masked":
            assert f"PASS faults/{name}: " in got.stdout
        elif outcome["kind"] == "changed":
            said = f"FAIL faults/{name}: {outcome['differing']} of 6 outputs differ\n"
            assert said in got.stdout
        else:
            assert f"FAIL faults/{name}: an index of 3" in got.stdout


def flip(path, bit):
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


def case_of_all_files():
    """A case with every kind of file."""
    for case in sorted((GOLDEN / "requant").iterdir()):
        if {"bias", "requant"} <= {path.stem for path in case.iterdir()}:
            return case
    raise AssertionError("no case has a bias and words")


def test_a_flipped_bit_in_any_file_makes_the_bench_fail(simulation, tmp_path):
    case = case_of_all_files()
    flipped = []
    for file in sorted(case.iterdir()):
        bits = 8 * file.stat().st_size
        for at in range(3):
            copy = tmp_path / f"{file.name}-{at}"
            shutil.copytree(case, copy)
            flip(copy / file.name, (at * bits // 3 + 11 * at + 5) % bits)
            flipped.append(copy)
    assert len(flipped) == 3 * 9
    for copy in flipped:
        got = play(simulation, copy)
        assert got.returncode == 1, copy
        assert "FAIL" in got.stdout


def test_a_flipped_bit_in_any_file_of_a_bench_is_seen(simulation, tmp_path):
    case = generated(tmp_path, "fixpipe/beside")
    assert play(simulation, case).returncode == 0
    names = sorted(path.name for path in case.iterdir())
    assert len(names) == 16
    assert {"accumulators.hex", "case.svh", "memory.hex", "plusargs.txt", "trace.txt"} < set(names)
    for number, name in enumerate(names):
        copy = tmp_path / name
        shutil.copytree(case, copy)
        flip(copy / name, (1000 + 11 * number) % (8 * (copy / name).stat().st_size))
        got = play(simulation, copy)
        assert got.returncode == 1, name
        assert f"FAIL {copy}: " in got.stdout
        assert got.stderr == ""


@pytest.mark.parametrize(
    ("case", "flips", "roles"),
    [
        ("shapes/matmul-15x17x68", 4, ("activations", "dense", "index", "expected")),
        ("random/r000009", 6, ROLES),
        ("requant/ties-columns", 10, ("bias", "requant", "expected")),
    ],
)
def test_of_a_flipped_bit_the_unit_makes_what_a_device_in_plain_loops_does(
    simulation, tmp_path, case, flips, roles
):
    """Without a look at checksums: the bench fails if, and only if, the result changes."""
    rng = np.random.default_rng(1)
    stored = vectors.load(GOLDEN / case)
    arrays = {role: stored.array(role) for role in ROLES if stored.entries(role)}
    expected = {}
    for number in range(flips * len(roles)):
        role = roles[number % len(roles)]
        flipped = {name: array.copy() for name, array in arrays.items()}
        payload = flipped[role].reshape(-1).view(np.uint8)
        # Of a file in Zn the first bytes are of column 0; others may be of none.
        bit = int(rng.integers(8 * min(payload.size, 8 if case.startswith("random") else 1 << 20)))
        payload[bit // 8] ^= 1 << bit % 8
        copy = tmp_path / f"{number:03}-{role}"
        shutil.copytree(stored.folder, copy)
        data = payload.tobytes()
        data += bytes(-len(data) % 4)
        (copy / f"{role}.hex").write_text(
            "".join(f"{word:08x}\n" for word in np.frombuffer(data, "<u4"))
        )
        manifest = json.loads((copy / "manifest.json").read_text())
        manifest["case"] = copy.name
        (copy / "manifest.json").write_text(json.dumps(manifest))
        try:
            found = plain_device.run(stored.spec, flipped)
        except AssertionError:  # an index of 3
            expected[copy.name] = "an index of 3"
        else:
            right = flipped["expected"]
            raw = f"u{right.itemsize}"  # bit by bit, also fp16
            differing = int((found.view(raw) != right.view(raw)).sum())
            expected[copy.name] = f"{differing} of {right.size} outputs differ" if differing else ""
    # Of each kind of file, a bit that changes the result; of some, one that does not.
    assert {name[4:] for name, what in expected.items() if what} == set(roles)
    assert "" in expected.values()
    got = play(simulation, tmp_path, options=("--unchecked",)).stdout
    suite = case.split("/")[0]
    for name, what in expected.items():
        assert f"FAIL {suite}/{name}: {what}" in got if what else f"PASS {suite}/{name}" in got


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text[:-9], "too few words"),
        (lambda text: text + "00000000\n", "too many words"),
        (lambda text: text.replace("\n", "\n00", 1), "other than 8 digits"),
        (lambda text: "x" + text[1:], "no hex digit"),
        (lambda text: text[9:], "too few words"),
        (lambda text: "1" + text[:-10] + "\n", "other than 8 digits"),
    ],
)
def test_the_bench_counts_words_and_digits(simulation, tmp_path, change, said):
    shutil.copytree(GOLDEN / "shapes" / "matmul-16x16x8", tmp_path / "case")
    file = tmp_path / "case" / "dense.hex"
    file.write_text(change(file.read_text()))
    got = play(simulation, tmp_path / "case", options=("--unchecked",))
    assert got.returncode == 1
    assert (
        f"FAIL shapes/matmul-16x16x8: dense: {'' if 'few' in said or 'many' in said else 'word '}"
        in got.stdout
    )
    assert said in got.stdout


def test_filling_of_the_last_word_must_be_zero(simulation, tmp_path):
    case = GOLDEN / "faults" / "nd-index-00000"
    shutil.copytree(case, tmp_path / "case")
    index = tmp_path / "case" / "index.hex"
    assert len(vectors.load(case).array("index").tobytes()) % 4
    index.write_text("f" + index.read_text()[1:])
    got = play(simulation, tmp_path / "case", options=("--unchecked",))
    assert got.returncode == 1
    assert "filled with other than zeros" in got.stdout


def test_plusargs_that_are_nothing_the_bench_knows_are_refused(simulation, tmp_path):
    listed = tmp_path / "list.txt"
    listed.write_text("case=one m=1 n=1 k=4 colour=blue\ncase=two overflow=never\n")
    got = run("vvp", "-N", simulation, f"+list={listed}").stdout
    assert "FAIL one: unknown argument colour=blue" in got
    assert "FAIL two: the plusargs: " in got
    assert "2 cases, 2 failed" in got


# --- what play.py refuses -------------------------------------------------------------------------


SMALL = GOLDEN / "shapes" / "matmul-1x1x8"


def with_manifest(case, folder, change):
    """A copy of a case with a changed manifest; to be played unchecked."""
    shutil.copytree(case, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def test_each_argument_must_have_a_case(simulation, tmp_path):
    for missing in (tmp_path, tmp_path / "no"):
        for cases in ((missing, SMALL), (SMALL, missing)):
            got = play(simulation, *cases)
            assert got.returncode == 2
            assert got.stderr.endswith(f"error: {missing}: no case there\n")
            assert got.stdout == ""


@pytest.mark.parametrize(
    ("printed", "last"),
    [
        ("PASS shapes/matmul-1x1x8: 1 outputs", "1 cases, 0 failed"),
        ("PASS shapes/other: 1 outputs", "1 cases, 2 failed"),
        ("PASS shapes/matmul-1x1x8: 1\\nPASS shapes/matmul-1x1x8: 1", "1 cases, 1 failed"),
        ("PASS shapes/matmul-1x1x8: 1\\nFAIL shapes/matmul-1x1x8: no", "1 cases, 1 failed"),
        ("PASS shapes/matmul-1x1x8: 1\\nFAIL: no", "1 cases, 1 failed"),
        ("PASS shapes/matmul-1x1x8", "1 cases, 1 failed"),
        ("nothing", "1 cases, 1 failed"),
    ],
)
def test_a_case_has_passed_if_that_is_said_of_it(printed, last, tmp_path):
    simulation = tmp_path / "simulation"
    simulation.write_text(f"#!/bin/sh\nprintf '{printed}\\n'\n")
    simulation.chmod(0o755)
    got = play(simulation, SMALL)
    assert got.stdout.splitlines()[-1] == last
    assert got.returncode == (", 0 failed" not in last)


def test_a_simulation_that_ends_with_an_error_or_not_at_all_fails(tmp_path):
    simulation = tmp_path / "simulation"
    passed = "echo 'PASS shapes/matmul-1x1x8: 1 outputs'"
    for end, said in (
        ("echo why >&2; exit 3", "ended with 3: why\n"),
        ("echo '1 cases, 0 failed'; exit 1", "ended with 1\n"),
        ("exec sleep 100", "did not end in 1 seconds\n"),
    ):
        simulation.write_text(f"#!/bin/sh\n{passed}\n{end}\n")
        simulation.chmod(0o755)
        got = play(simulation, SMALL, options=("--limit", "1"))
        assert got.returncode == 1
        assert f"FAIL: {simulation} {said}1 cases, 1 failed\n" in got.stdout
    simulation.chmod(0o644)
    assert "did not run: " in play(simulation, SMALL).stdout
    missing = play(tmp_path / "none", SMALL)
    assert missing.returncode == 2
    assert missing.stderr.endswith("none: no such file; `make` builds simulations\n")


def test_a_simulation_without_a_directory_is_one_of_this_folder(tmp_path):
    (tmp_path / "Vtb").write_text("#!/bin/sh\necho 'PASS shapes/matmul-1x1x8: here'\n")
    (tmp_path / "Vtb").chmod(0o755)
    for name in ("Vtb", "./Vtb"):
        got = run(sys.executable, RTL / "play.py", name, SMALL, cwd=tmp_path)
        assert got.stdout == "PASS shapes/matmul-1x1x8: here\n1 cases, 0 failed\n"


def test_a_reader_that_has_seen_enough_ends_it_quietly(simulation):
    text = f"set -o pipefail; {sys.executable} {RTL / 'play.py'} {simulation} {GOLDEN} --plusargs"
    got = run("bash", "-c", f"{text} | head -n 1")
    assert got.stdout.count("\n") == 1
    assert got.stderr == ""


@pytest.mark.parametrize(
    ("output", "code", "said"),
    [(">&-", 0, ""), (">/dev/full", 1, "play.py: [Errno 28] No space left on device\n")],
)
def test_an_output_that_cannot_be_written_is_no_traceback(simulation, output, code, said):
    got = run("bash", "-c", f"{sys.executable} {RTL / 'play.py'} {simulation} {SMALL} {output}")
    assert (got.returncode, got.stderr) == (code, said)


@pytest.mark.parametrize("limit", ["0", "-1", "nan", "inf", "1000001"])
def test_a_limit_that_is_none_is_refused(simulation, limit):
    got = play(simulation, SMALL, options=("--limit", limit))
    assert got.returncode == 2
    assert "--limit is more than 0 seconds" in got.stderr


def test_what_a_changed_manifest_lacks_is_told(simulation, tmp_path):
    """Each entry of it away, and of each number something else: PASS or FAIL, no traceback."""
    case = case_of_all_files()
    found = []

    def walk(value, way):
        for key in value if isinstance(value, dict) else range(len(value)):
            found.append((*way, key))
            if isinstance(value[key], (dict, list)):
                walk(value[key], found[-1])

    manifest = json.loads((case / "manifest.json").read_text())
    walk({name: manifest[name] for name in manifest if name not in ("coverage", "random")}, ())
    for number, way in enumerate(found):

        def change(manifest, way=way, number=number):
            for key in way[:-1]:
                manifest = manifest[key]
            if number % 2:
                del manifest[way[-1]]
            else:
                manifest[way[-1]] = (None, "x", [], -1, {})[number // 2 % 5]

        with_manifest(case, tmp_path / f"{number:03}", change)
    assert len(found) > 60
    got = play(simulation, tmp_path, options=("--unchecked", "--plusargs"))
    assert got.stderr == ""
    assert got.returncode == 1
    assert got.stdout.count("\n") == len(found)
    assert got.stdout.count(": manifest.json: ") > 20


def test_a_case_without_hex_files_is_told(simulation, tmp_path):
    done = run(
        Path(sys.executable).parent / "cube24", "vectors", "generate", tmp_path, "--level", "0",
        "--suite", "fixpipe", "--case", "fixpipe/beside", "--format", "npy",
    )  # fmt: skip
    assert done.returncode == 0
    got = play(simulation, tmp_path)
    assert got.stderr == ""
    said = (
        "beside: it has no hex file of activations: write it with --format hex\n1 cases, 1 failed"
    )
    assert said in got.stdout


def test_a_unit_that_stays_busy_fails(tmp_path):
    busy = "assign busy = step_valid || add_valid;"
    rtl = rtl_with(tmp_path, "cube24_unit.sv", busy, busy.replace("= ", "= !reset || "))
    simulation = compiled(tmp_path / "build", rtl=rtl)
    got = play(simulation, GOLDEN / "shapes" / "matmul-15x17x68", SMALL)
    assert got.returncode == 1
    for name in ("matmul-15x17x68", "matmul-1x1x8"):
        assert f"FAIL shapes/{name}: busy does not fall behind the last step\n" in got.stdout


def test_the_simulation_ends_with_an_error_if_a_case_fails(simulation, tmp_path):
    said = play(simulation, SMALL, options=("--plusargs",)).stdout.split()
    assert run("vvp", "-N", simulation, *said).returncode == 0
    got = run("vvp", "-N", simulation, *(word.replace("+n=1", "+n=2") for word in said))
    assert got.returncode == 1
    assert "1 cases, 1 failed\n" in got.stdout
    listed = tmp_path / "list.txt"
    listed.write_text("".join(" ".join(word[1:] for word in said) + "\n"))
    assert run("vvp", "-N", simulation, f"+list={listed}").returncode == 0
    assert run("vvp", "-N", simulation, f"+list={tmp_path / 'none'}").returncode == 1


def test_one_word_of_requant_or_one_a_column(simulation):
    case = GOLDEN / "set-2" / "fixpipe" / "beside"
    said = play(simulation, case, options=("--plusargs",)).stdout.split()
    (words,) = (word for word in said if word.startswith("+requant_words="))
    n = int(next(word for word in said if word.startswith("+n="))[3:])
    assert words == f"+requant_words={n}"
    for wrong in (0, 2, n - 1, n + 1):
        changed = [f"+requant_words={wrong}" if word == words else word for word in said]
        got = run("vvp", "-N", simulation, *changed)
        assert "FAIL fixpipe/beside: the plusargs: requant_words is 1 or n\n" in got.stdout


# --- what the unit must flag ----------------------------------------------------------------------


def test_a_bad_word_must_be_flagged_and_only_then(simulation, tmp_path):
    folder = generated(tmp_path, "fixpipe/vdeqf16-bit-222", level=1)
    assert json.loads((folder / "manifest.json").read_text())["outcome"]["error"] == "RangeError"
    got = play(simulation, folder)
    assert got.returncode == 0
    assert got.stdout.endswith(" cycles, bad word flagged\n1 cases, 0 failed\n")
    said = play(simulation, folder, options=("--plusargs",)).stdout.split()
    assert "+outcome=bad-word" in said
    other = [word.replace("bad-word", "illegal") for word in said]
    failed = run("vvp", "-N", simulation, *other).stdout
    assert "FAIL fixpipe/vdeqf16-bit-222: no index of 3 was flagged" in failed
    good = GOLDEN / "set-2" / "fixpipe" / "beside"
    said = play(simulation, good, options=("--plusargs",)).stdout.split()
    said = [word.replace("+outcome=result", "+outcome=bad-word") for word in said]
    failed = run("vvp", "-N", simulation, *said).stdout
    assert "FAIL fixpipe/beside: no parameter word was flagged" in failed
    without = [word for word in said if not word.startswith(("+requant", "+output"))]
    failed = run("vvp", "-N", simulation, *without).stdout
    assert "FAIL fixpipe/beside: the plusargs: a word that is bad is one of requant" in failed


def test_a_refused_case_of_another_kind_cannot_be_played(simulation, tmp_path):
    case = GOLDEN / "faults" / "nd-index-00000"
    other = with_manifest(
        case, tmp_path / "case",
        lambda manifest: manifest.update(outcome={"kind": "error", "error": "FormatError"}),
    )  # fmt: skip
    got = play(simulation, other, options=("--unchecked",))
    assert f"FAIL {other}: it cannot be played: no unit tells of FormatError\n" in got.stdout


# --- several Mmads --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def saturating(tmp_path_factory):
    """Cases whose accumulators saturate after each Mmad: two of 2048, and one of 132."""
    folder = tmp_path_factory.mktemp("saturating")
    names = {
        "saturate-instruction-4096-full-max": [2048, 2048],
        "saturate-instruction-4096-min-uniform": [2048, 2048],
        "saturate-instruction-132-full-max": [132],
    }
    return [(generated(folder / name, f"accumulate/{name}", level=1), ks)
            for name, ks in names.items()]  # fmt: skip


def test_mmads_of_saturating_accumulators_are_those_of_the_manifest(simulation, saturating):
    for case, ks in saturating:
        assert json.loads((case / "manifest.json").read_text())["layer"]["mmad_k"] == ks
        got = play(simulation, case)
        assert got.returncode == 0, got.stdout
        said = play(simulation, case, options=("--plusargs",)).stdout
        # As the file beside the case has it.
        assert (" +mmad_k=2048 " in said) == (len(ks) > 1)
        assert ("+mmad_k=2048\n" in (case / "plusargs.txt").read_text()) == (len(ks) > 1)


@pytest.mark.parametrize(
    ("ks", "said"),
    [
        ([1024, 2048, 1024], "its Mmads of k [1024, 2048, 1024] are not alike"),
        ([1024, 3072], "its Mmads of k [1024, 3072] are not alike"),
        ([2048, 2047], "its mmad_k [2048, 2047] are no steps of 64 of k 4096"),
        ([2050, 2046], "its mmad_k [2050, 2046] are no steps of 64 of k 4096"),
        ([4096, 64, -64], "are no steps of 64 of k 4096"),
        ([], "its mmad_k [] are no steps of 64 of k 4096"),
        (7, "manifest.json: TypeError: "),
        (None, "`cube24 vectors bench` makes a version 2 of it"),
    ],
)
def test_mmads_that_the_bench_cannot_have_are_refused(simulation, saturating, tmp_path, ks, said):
    def change(manifest):
        manifest["layer"].pop("mmad_k", None)
        if ks is not None:
            manifest["layer"]["mmad_k"] = ks

    copy = with_manifest(saturating[0][0], tmp_path / "case", change)
    got = play(simulation, copy, options=("--unchecked",))
    assert got.returncode == 1
    assert got.stderr == ""
    assert f"FAIL {copy}: " in got.stdout
    assert said in got.stdout


def test_mmads_of_version_1_are_one_up_to_what_is_known(simulation, tmp_path):
    """Of a multiplication, and of a convolution, whose k is that of all taps."""
    known = GOLDEN / "accumulate" / "saturate-instruction-none"
    assert play(simulation, known).returncode == 0
    conv = GOLDEN / "shapes" / "conv-3x3"
    for number, (case, size, fits) in enumerate((
        (known, {"k": 320, "m": 64, "n": 64}, True), (known, {"k": 321}, False),
        (known, {"m": 65}, False), (known, {"n": 65}, False),
        (conv, {}, True), (conv, {"cin": 33}, False), (conv, {"cout": 65}, False),
        (conv, {"batch": 65}, False), (conv, {"h": 999}, False),
    )):  # fmt: skip

        def change(manifest, size=size):
            manifest["spec"]["sizes"].update(size)
            manifest["spec"]["unit"]["overrides"] = {"grain": "instruction"}

        copy = with_manifest(case, tmp_path / f"{number}", change)
        said = play(simulation, copy, options=("--unchecked", "--plusargs")).stdout
        assert said.startswith("+case=" if fits else f"FAIL {copy}: it cannot be played: "), said

        def wraps(manifest, size=size):
            change(manifest, size)
            manifest["spec"]["unit"]["overrides"]["overflow"] = "wrap"

        copy = with_manifest(case, tmp_path / f"{number}-wrap", wraps)
        said = play(simulation, copy, options=("--unchecked", "--plusargs")).stdout
        assert said.startswith("+case="), said


# --- without play.py ------------------------------------------------------------------------------


def generated(folder, case, *options, level=0):
    """The folder of a case, which at level 0 is of the committed set, written for a bench."""
    done = run(
        Path(sys.executable).parent / "cube24", "vectors", "generate", folder, "--level", level,
        "--suite", case.split("/")[0], "--case", case, "--format", "hex", "--bench", *options,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / case


def play_beside(simulation, folder):
    """What the bench says of `plusargs.txt`, from inside the folder of its case."""
    given = (folder / "plusargs.txt").read_text().split()
    return run("vvp", "-N", simulation, *given, cwd=folder).stdout


@pytest.mark.parametrize(
    ("case", "options"),
    [
        ("shapes/matmul-15x17x68", ("--layout", "both", "--word-bytes", "4", "--order", "big")),
        ("fixpipe/beside", ()),
        ("fixpipe/beside-fp16", ("--role-words", "dense=32", "--role-words", "requant=8")),
        ("shapes/conv-3x3", ("--role-words", "activations=32", "--role-words", "expected=4")),
        ("foreign/walk-zn-n16-table", ("--role-words", "index=8")),
    ],
)  # fmt: skip
def test_a_case_is_played_from_its_plusargs_alone(simulation, tmp_path, case, options):
    folder = generated(tmp_path / "set", case, *options)
    assert f"PASS {case}: " in play_beside(simulation, folder)
    # play.py tells the bench the same words of each file.
    assert play(simulation, folder).returncode == 0
    expected = folder / "expected.hex"
    text = expected.read_text().rstrip()  # of the last word, the last digit: no filling in these
    expected.write_text(text[:-1] + ("0\n" if text[-1] != "0" else "1\n"))
    assert f"FAIL {case}: 1 of " in play_beside(simulation, folder)


@pytest.mark.parametrize("role", ROLES)
def test_the_words_of_each_file_are_as_long_as_it_is_said(simulation, tmp_path, role):
    folder = generated(tmp_path, "fixpipe/beside", "--role-words", f"{role}=16")
    assert "PASS fixpipe/beside: " in play_beside(simulation, folder)
    plusargs = folder / "plusargs.txt"
    text = plusargs.read_text()
    assert text.count(f"+{role}_word_bytes=16\n") == 1
    plusargs.write_text(text.replace("_word_bytes=16", "_word_bytes=2"))
    said = play_beside(simulation, folder)
    assert f"FAIL fixpipe/beside: {role}: word 0 has other than 4 digits" in said


@pytest.mark.parametrize("role", ["activations", "dense", "index"])
def test_rows_with_gaps_are_refused(simulation, tmp_path, role):
    folder = generated(tmp_path, "fixpipe/beside", "--row-stride", f"{role}=4096")
    said = "FAIL fixpipe/beside: the plusargs: a row_stride, which this bench does not take"
    assert said in play_beside(simulation, folder)
    assert said in play(simulation, folder).stdout


# --- faults ---------------------------------------------------------------------------------------


def faults():
    listed = run(sys.executable, RTL / "faults.py").stdout.splitlines()
    return [line.split(":")[0] for line in listed]


def test_each_fault_can_be_put_in(tmp_path):
    names = faults()
    assert len(names) == 47
    text = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(RTL)!r})
import faults
for name in faults.FAULTS:
    faults.copy_with(name, Path({str(tmp_path)!r}) / name)
"""
    got = run(sys.executable, "-c", text, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
    assert got.returncode == 0, got.stderr
    for name in names:
        changed = [
            file.name for file in RTL.glob("*.sv")
            if (tmp_path / name / file.name).read_bytes() != file.read_bytes()
        ]  # fmt: skip
        assert len(changed) == 1
    assert run(sys.executable, RTL / "faults.py", "none", tmp_path).returncode == 2


@pytest.mark.parametrize(
    ("fault", "case"),
    [
        ("index-msb-first", "shapes/matmul-15x17x68"),
        ("slot1-without-plus-one", "shapes/matmul-15x17x68"),
        ("k-tail-not-zeroed", "shapes/matmul-32x32x68"),
    ],
)
def test_compare_names_a_fault_of_the_rtl(fault, case, tmp_path):
    assert run(sys.executable, RTL / "faults.py", fault, tmp_path / "rtl").returncode == 0
    simulation = compiled(tmp_path / "build", rtl=tmp_path / "rtl")
    got = play(simulation, GOLDEN / case, options=("--dump", tmp_path / "got.hex"))
    assert got.returncode == 1
    assert "Scope" not in got.stdout  # of the simulator's $fatal
    found = vectors.compare(GOLDEN / case, tmp_path / "got.hex")
    assert fault in [each.name for each in found.hypotheses]
    # The bench tells the same first difference in the same coordinates.
    first = f"first at ({', '.join(map(str, found.first))}), word {found.word.word} byte "
    assert f"{found.differing} of {found.total} outputs differ\n{first}" in got.stdout
    assert f"expected {found.expected}\n" in got.stdout
    assert f"got      {found.got}\n" in re.sub(r"got +", "got      ", got.stdout)


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        ("fractal-order-nz", True),
        ("fractal-order-zz", True),
        ("k-n-exchanged", True),
        ("last-rows-dropped", True),
        ("last-columns-dropped", True),
        ("result-bytes-reversed", "byte-order"),
        ("result-transposed", "transposed"),
    ],
)
def test_mistakes_in_the_bench_are_seen_and_named(fault, named, tmp_path):
    """All those of tb_case.sv; of a case of several fractals in both directions."""
    listed = run(sys.executable, RTL / "faults.py").stdout
    assert f"{fault}: tb_case.sv\n" in listed
    assert listed.count(": tb_case.sv\n") == 7
    assert run(sys.executable, RTL / "faults.py", fault, tmp_path / "rtl").returncode == 0
    simulation = compiled(tmp_path / "build", rtl=tmp_path / "rtl")
    case = GOLDEN / "shapes" / "matmul-17x33x68"
    got = play(simulation, case, options=("--dump", tmp_path / "got.hex"))
    assert got.returncode == 1
    assert "FAIL shapes/matmul-17x33x68: " in got.stdout
    found = vectors.compare(case, tmp_path / "got.hex")
    hypotheses = [each.name for each in found.hypotheses]
    if named is True:
        assert hypotheses == [fault]
    else:
        assert hypotheses == []
        assert named in [each.name for each in found.patterns]


@pytest.mark.parametrize("fault", ["activations-unsigned", "weights-unsigned"])
def test_a_wrong_product_ends_make(fault, tmp_path):
    """At tb_multiply, before a case is played."""
    assert run(sys.executable, RTL / "faults.py", fault, tmp_path / "rtl").returncode == 0
    case = f"CASES={GOLDEN / 'shapes' / 'matmul-1x1x8'}"
    got = make(f"BUILD={tmp_path / 'build'}", case, "icarus", rtl=tmp_path / "rtl")
    assert got.returncode != 0
    assert "FAIL cube24_multiply: 32640 of 65536 products are wrong" in got.stdout + got.stderr
    assert "cases, " not in got.stdout


@pytest.mark.parametrize(
    ("fault", "wrong", "right"),
    [
        ("pair20-always-table", "walk-zn-n16-rule", "walk-zn-n16-table"),
        ("pair20-never-table", "walk-zn-n16-table", "walk-zn-n16-rule"),
    ],
)
def test_a_unit_with_one_reading_of_the_pair_20_fails_in_the_other(fault, wrong, right, tmp_path):
    assert run(sys.executable, RTL / "faults.py", fault, tmp_path / "rtl").returncode == 0
    simulation = compiled(tmp_path / "build", rtl=tmp_path / "rtl")
    got = play(simulation, *(GOLDEN / "set-2" / "foreign" / name for name in (wrong, right)))
    assert f"FAIL foreign/{wrong}: " in got.stdout
    assert f"PASS foreign/{right}: " in got.stdout


def test_an_index_of_3_is_a_failure_if_it_is_not_to_select_nothing(simulation, tmp_path):
    """With `index3` left out the bench looks at the flag that it took no notice of."""
    case = GOLDEN / "set-2" / "foreign" / "index3-nd"
    said = play(simulation, case, options=("--plusargs",)).stdout.split()
    assert "+index3=nothing" in said
    assert "PASS foreign/index3-nd: " in run("vvp", "-N", simulation, *said).stdout
    said.remove("+index3=nothing")
    assert "FAIL foreign/index3-nd: an index of 3" in run("vvp", "-N", simulation, *said).stdout


def test_the_input_pair20_table_may_be_left_open(tmp_path):
    """Icarus has z there, which is no x in the products; the other reading is not had so."""
    rtl = rtl_with(tmp_path, "tb_case.sv", ".pair20_table(pair20_table)", ".pair20_table(1'bz)")
    simulation = compiled(tmp_path / "build", rtl=rtl)
    names = ("walk-zn-n16-rule", "walk-zn-n16-table")
    got = play(simulation, *(GOLDEN / "set-2" / "foreign" / name for name in names)).stdout
    assert "PASS foreign/walk-zn-n16-rule: " in got
    assert "FAIL foreign/walk-zn-n16-table: " in got


# --- proofs and cycles ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("top", "refuted"), [("prove_select", 9), ("prove_dot", 8), ("prove_padding", 4)]
)
def test_a_proof_holds_and_its_broken_copies_are_refuted(top, refuted):
    """Three of them; `make formal` does them all."""
    text = f"""
import sys
sys.path.insert(0, {str(RTL)!r})
import prove
prove.PROOFS = [proof for proof in prove.PROOFS if proof.top == {top!r}]
sys.exit(prove.formal())
"""
    got = run(sys.executable, "-c", text, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
    assert got.returncode == 0, got.stdout + got.stderr
    assert got.stdout.count("proven: ") == 1
    assert got.stdout.count("  refuted with ") == refuted


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (" || i1 == 2'd3;", " || other;\n  assign other = i1 == 2'd3;", "implicitly declared"),
        ("} = activations;", "} = activations[32:1];", "out of bounds"),
    ],
)
def test_synth_refuses_what_the_frontend_warns_of(old, new, said, tmp_path):
    rtl = rtl_with(tmp_path, "cube24_select.sv", old, new)
    command = """
import prove
prove.SIZES = prove.SIZES[1:]
raise SystemExit(prove.synth())
"""
    good = run(sys.executable, "-c", command, cwd=RTL)
    assert good.returncode == 0, good.stdout
    got = run(sys.executable, "-c", command, cwd=rtl)
    assert got.returncode == 1
    assert got.stdout.startswith("FAIL: ROWS 2, ")
    assert re.search(rf"cube24_select\.sv:\d+: Warning: .*{said}", got.stdout), got.stdout


def test_busy_cycles_are_those_of_the_simulated_mmad(simulation):
    """Of one tile, for which the cells do not count: all do the same in a cycle."""
    unit = Unit(RTL / "cube24_unit.toml")
    cases = ("matmul-1x1x8", "matmul-1x1x64", "matmul-1x1x128")
    got = play(simulation, *(GOLDEN / "shapes" / name for name in cases))
    assert got.returncode == 0, got.stdout
    for name in cases:
        m, n, k = map(int, name.removeprefix("matmul-").split("x"))
        timed = unit.time(Matmul(m=m, n=n, k=k), sparse=True)
        (mmad,) = [each for each in timed.instructions if each.name == "mmad_sparse"]
        said = f"{mmad.work} steps, busy {mmad.head + mmad.work} cycles"
        assert f"PASS shapes/{name}: 1 outputs, {said}\n" in got.stdout
        assert timed.pipes["M"].busy == mmad.head + mmad.work
