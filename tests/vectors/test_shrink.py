"""Shrinking: what is left still fails, nothing of it can go, and it is a case like any other."""

from __future__ import annotations

import os
import re
import resource
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import plain_device as plain
import pytest

from cube24.cli import run
from cube24.encoder import ArgumentError
from cube24.vectors import place, spec_check
from cube24.vectors.build import build
from cube24.vectors.files import CaseStyle
from cube24.vectors.manifest import load, write
from cube24.vectors.plain import ScratchError
from cube24.vectors.shrink import DeviceError, cropped, device, shrink
from cube24.vectors.spec import AXES, Item, conv2d, matmul
from cube24.vectors.suites import items
from cube24.vectors.verification import verify

SPECS: dict[str, dict[str, Any]] = {
    "matmul": matmul(5, 18, 72, weights="full", bias=[3, -9, 77]),
    "tail": matmul(3, 5, 67, layout="nd"),
    "requant": matmul(
        3, 6, 68,
        requant={"scale": [0.01, 0.02, 0.5, 1.0, 0.001, 3.0], "offset": [0, 1, 2, 3, 4, 5]},
    ),
    "conv": conv2d(7, 5, (4, 3), (2, 3), batch=2, pads=(1, 1, 0, 0), bias=[100, -100]),
}  # fmt: skip


def make(folder: Path, spec: dict[str, Any], suite: str = "test") -> Path:
    write(build(suite, 1, Item("case", spec), 1), folder)
    return folder


def with_fault(fault: str) -> Callable[[Path], bool]:
    """Whether a device with a fault gives something else: the plain one, on the files."""

    def fails(folder: Path) -> bool:
        stored = load(folder)
        roles = [path.stem for path in folder.glob("*.npy")]
        arrays = {role: np.load(folder / f"{role}.npy") for role in roles}
        return bool((plain.run(stored.spec, arrays, fault) != arrays["expected"]).any())

    return fails


@pytest.mark.parametrize("name", list(SPECS))
@pytest.mark.parametrize("fault", ["index-nibbles-swapped", "activations-unsigned"])
def test_it_still_fails_and_nothing_of_it_can_go(tmp_path: Path, name: str, fault: str) -> None:
    folder, fails = make(tmp_path / "case", SPECS[name]), with_fault(fault)
    told: list[str] = []
    found = shrink(folder, fails, progress=told.append)
    write(found.case, tmp_path / "small")
    assert fails(tmp_path / "small")
    verify(tmp_path / "small")
    assert found.case.tags[-1] == "shrunk"
    assert told[-1].startswith("1 rows, 1 columns")
    crop = found.case.spec["fill"]["crop"]
    for axis in AXES:
        for gone in range(len(crop[axis])):
            left = {name: list(range(len(crop[name]))) for name in AXES}
            del left[axis][gone]
            if not left[axis]:
                continue
            smaller = make(tmp_path / f"{axis}{gone}", cropped(found.case.spec, left))
            assert not fails(smaller), f"{axis} {gone} could have gone too"


def test_pieces_that_are_needed_together_stay_and_all_others_go(tmp_path: Path) -> None:
    # Two columns and two groups; and rows can go only when there are few columns left, so that a
    # second round has to find out.
    def fails(folder: Path) -> bool:
        crop = load(folder).spec["fill"]["crop"]
        rows, columns, groups = (set(crop[axis]) for axis in AXES)
        together = {3, 7} <= columns and {2, 11} <= groups and 1 in rows
        return together and (len(columns) <= 4 or len(rows) == 5)

    make(tmp_path / "case", SPECS["matmul"])
    crop = shrink(tmp_path / "case", fails).case.spec["fill"]["crop"]
    assert [crop[axis] for axis in AXES] == [[1], [3, 7], [2, 11]]


@pytest.mark.parametrize("gone", range(4))
def test_a_single_piece_of_four_can_go(tmp_path: Path, gone: int) -> None:
    kept = {0, 1, 2, 3} - {gone}
    make(tmp_path / "case", matmul(1, 1, 16))
    found = shrink(
        tmp_path / "case", lambda folder: kept <= set(load(folder).spec["fill"]["crop"]["groups"])
    )
    assert set(found.case.spec["fill"]["crop"]["groups"]) == kept


@pytest.mark.parametrize("name", list(SPECS))
def test_what_is_left_are_numbers_of_the_first_case(tmp_path: Path, name: str) -> None:
    make(tmp_path / "case", SPECS[name])
    # Groups stay in their order: the last one may be a short one.
    last = {"matmul": 17, "tail": 16, "requant": 16, "conv": 1}[name]
    rows, columns, groups = [1, 0], [4, 1], [0, last]
    spec = cropped(SPECS[name], {"rows": rows, "columns": columns, "groups": groups})
    make(tmp_path / "small", spec)
    whole, part = (
        {path.stem: np.load(path) for path in (tmp_path / folder).glob("*.npy")}
        for folder in ("case", "small")
    )
    total = {"matmul": 72, "tail": 67, "requant": 68, "conv": 7}[name]
    k = [*range(4), *range(4 * last, total)]
    if name == "conv":
        x = whole["activations"][rows].transpose(0, 1, 4, 2, 3).reshape(2, 32, 4, 3)
        got = part["activations"].transpose(0, 1, 4, 2, 3).reshape(2, 32, 4, 3)
        assert np.array_equal(got[:, : len(k)], x[:, k])
    else:
        assert np.array_equal(part["activations"], whole["activations"][rows][:, k])
    assert np.array_equal(part["weights"], whole["weights"][columns][:, k])
    for role in ("bias", "requant"):
        assert (role in part) == (role in whole)
        if role in part:
            assert np.array_equal(part[role], whole[role][columns])
    assert np.array_equal(plain.run(spec, part), part["expected"])


def test_a_shrunk_case_can_be_shrunk_again(tmp_path: Path) -> None:
    make(tmp_path / "case", SPECS["matmul"])
    first = shrink(tmp_path / "case", with_fault("weights-unsigned"), limit=4)
    assert first.runs == 4
    write(first.case, tmp_path / "first")
    second = shrink(tmp_path / "first", with_fault("weights-unsigned"))
    write(second.case, tmp_path / "second")
    verify(tmp_path / "second")
    crop = second.case.spec["fill"]["crop"]
    assert crop["of"] == [5, 18, 72]
    assert [len(crop[axis]) for axis in AXES] == [1, 1, 1]
    whole, part = (np.load(tmp_path / name / "weights.npy") for name in ("case", "second"))
    (column,), (group,) = crop["columns"], crop["groups"]
    for at, value in crop["values"]["weights"]:
        whole.reshape(-1)[at] = value
    assert np.array_equal(part, whole[[column], 4 * group : 4 * group + 4])
    assert np.count_nonzero(part) == 1


def test_the_same_shrinking_gives_the_same_case(tmp_path: Path) -> None:
    make(tmp_path / "case", SPECS["conv"])
    one, other = (shrink(tmp_path / "case", with_fault("slots-swapped")) for _ in range(2))
    assert (one.case.spec, one.runs) == (other.case.spec, other.runs)


def test_a_device_that_does_not_fail_and_cases_that_are_changed_are_refused(tmp_path: Path) -> None:
    make(tmp_path / "case", SPECS["tail"])
    with pytest.raises(ArgumentError, match="does not fail"):
        shrink(tmp_path / "case", with_fault(""))
    for suite in ("faults", "negative"):
        item = next(iter(items(suite, 0, 1)))
        write(build(suite, 1, item, 1), tmp_path / suite)
        with pytest.raises(ArgumentError, match="as small as it can be"):
            shrink(tmp_path / suite, lambda folder: True)


DUT = """
import json, sys
from pathlib import Path
import numpy as np
folder, got = sys.argv[1:]
want = np.load(Path(folder) / "expected.npy")
result = want.copy()
if (np.load(Path(folder) / "weights.npy") == WEIGHT).any():
    result[-1, -1] += 1
Path(got).write_bytes(result.astype("<i4").tobytes())
"""


def test_a_command_is_run_for_each_smaller_case(tmp_path: Path) -> None:
    make(tmp_path / "case", SPECS["matmul"])
    weights = np.load(tmp_path / "case" / "weights.npy")
    script = tmp_path / "a script.py"
    script.write_text(DUT.replace("WEIGHT", str(weights[11, np.flatnonzero(weights[11])[3]])))
    words = [sys.executable, str(script), "{case}", "{got}"]
    found = shrink(tmp_path / "case", device(shlex.join(words), ".bin"))
    crop = found.case.spec["fill"]["crop"]
    assert [len(crop[axis]) for axis in AXES] == [1, 1, 1]
    group = 4 * crop["groups"][0]
    left = weights[crop["columns"][0], group : group + 4]
    value = weights[11, np.flatnonzero(weights[11])[3]]
    plainest = np.where(left == value, left, 0)
    assert np.array_equal(found.case.pieces["weights"].array[0], plainest)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("/no/such/device {case} {got}", "No such file"),
        ("sh -c '/no/such/device {case} {got}'", "exit code 127 and no got.hex"),
        ("sh -c '/tmp {case} {got}'", "exit code 126 and no got.hex"),
    ],
)  # fmt: skip
def test_a_device_that_cannot_be_run_is_an_error(tmp_path: Path, command: str, said: str) -> None:
    make(tmp_path / "case", SPECS["tail"])
    with pytest.raises(DeviceError, match=said):
        shrink(tmp_path / "case", device(command, timeout=5))


@pytest.mark.parametrize(
    ("command", "kind", "said"),
    [
        ("false {case} {got}", "crashed", "exit code 1 and no got.hex"),
        (f"'{sys.executable}' -c 'raise ValueError(5)' {{case}} {{got}}", "crashed",
         "ValueError: 5"),
        ("sh -c 'kill -ABRT $$' {case} {got}", "crashed", "was killed (Aborted)"),
        ("sh -c 'exec sleep 60' {case} {got}", "timed out", "after 3 seconds"),
        ("touch {case} {got}", "differs", "15 missing"),
        ("sh -c 'echo segmentation fault > {got}' {case}", "unreadable", "is not hexadecimal"),
        ("sh -c 'sed /^[^/]/s/./x/ {case}/expected.hex > {got}'", "differs", "15 undriven"),
        ("mkdir {got} {case}/more", "unreadable", "cannot read"),
    ],
)  # fmt: skip
def test_all_that_a_device_may_do_is_a_kind_of_failure(
    tmp_path: Path, command: str, kind: str, said: str
) -> None:
    case = make(tmp_path / "case", SPECS["tail"])
    found = device(command, timeout=3)(case)
    assert found is not None
    assert found.kind == kind
    assert said in found.said


def test_words_of_a_device_may_be_others_than_those_of_the_case(tmp_path: Path) -> None:
    case = make(tmp_path / "case", SPECS["tail"])  # words of one byte
    expected = np.load(case / "expected.npy")
    for order in ("little", "big"):
        raw = expected.astype("<i4").tobytes()
        words = [raw[i : i + 4] for i in range(0, len(raw), 4)]
        text = "".join((w if order == "big" else w[::-1]).hex() + "\n" for w in words)
        (tmp_path / "dump").write_text(text)
        command = f"sh -c 'cp {tmp_path}/dump {{got}}' {{case}}"
        assert device(command, word_bytes=4, order=order)(case) is None
        found = device(command)(case)
        assert found is not None
        assert found.kind == "unreadable"
        other = "big" if order == "little" else "little"
        found = device(command, word_bytes=4, order=other)(case)
        assert found is not None
        assert found.kind == "differs"
    for options in ({"word_bytes": 4}, {"order": "big"}):
        with pytest.raises(ArgumentError, match="no words"):
            device(command, ".npy", **options)
    with pytest.raises(ArgumentError, match="word_bytes"):
        device(command, word_bytes=0)


@pytest.mark.parametrize("command", ["run", "run {case}", "run {got}"])
def test_a_command_names_what_to_read_and_to_write(command: str) -> None:
    with pytest.raises(ArgumentError, match=r"name \{case\}"):
        device(command)


def test_a_command_that_cannot_be_taken_apart_is_refused() -> None:
    with pytest.raises(ArgumentError, match="No closing quotation"):
        device("run '{case} {got}")


def test_other_braces_of_a_command_are_left_alone(tmp_path: Path) -> None:
    make(tmp_path / "case", SPECS["tail"])
    command = "sh -c 'for i in {case}; do cp ${i}/expected.hex {got}; done'"
    assert not device(command)(tmp_path / "case")


def test_files_stay_in_the_style_of_the_case(tmp_path: Path) -> None:
    style = CaseStyle(("bin", "npy"), 4, "big")
    write(build("test", 1, Item("case", SPECS["tail"]), 1, style), tmp_path / "case")
    assert shrink(tmp_path / "case", with_fault("weights-unsigned")).case.style == style


# --- however it ends ------------------------------------------------------------------------------

#: A device that is wrong in all bytes; the N-th time that it runs it does something else.
WRONG = """
import os, signal, sys, time
from pathlib import Path
case, got, count, at, what = sys.argv[1:]
number = int(Path(count).read_text()) + 1 if Path(count).exists() else 1
Path(count).write_text(str(number))
sys.stderr.buffer.write(b"\\xff\\xfe not UTF-8 \\x00")
lines = (Path(case) / "expected.hex").read_text().splitlines()
words = ["01" if line == "00" else "00" for line in lines if not line.startswith("//")]
if number == int(at) or int(at) < 0:
    if what == "exit":
        sys.exit(9)
    if what == "signal":
        Path(got).write_text("\\n".join(words) + "\\n")
        os.kill(os.getpid(), signal.SIGSEGV)
    if what == "hang":
        time.sleep(60)
    if what == "garbage":
        Path(got).write_bytes(bytes(range(256)))
        sys.exit()
    if what == "folder":
        Path(got).mkdir()
        sys.exit()
    if what == "fifo":
        os.mkfifo(got)
        sys.exit()
Path(got).write_text("\\n".join(words) + "\\n")
"""

ENDS = {
    "exit": ("crashed", "exit code 9 and no got.hex"),
    "signal": ("crashed", "was killed (Segmentation fault)"),
    "hang": ("timed out", "after 2 seconds"),
    "garbage": ("unreadable", "a comment that does not end|is not hexadecimal"),
    "folder": ("unreadable", "got.hex"),
    "fifo": ("unreadable", "got.hex"),
}


def wrong(tmp_path: Path, at: int, what: str) -> str:
    (tmp_path / "dut.py").write_text(WRONG)
    words = [sys.executable, tmp_path / "dut.py", "{case}", "{got}", tmp_path / "count", at, what]
    return shlex.join(map(str, words))


@pytest.mark.parametrize("what", list(ENDS))
def test_a_run_that_fails_in_another_way_is_passed_over(
    tmp_path: Path, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    # Its fourth run is not to take for the mistake that is looked for.
    case = make(tmp_path / "case", SPECS["matmul"])
    order = ["vectors", "shrink", str(case), "-o", str(tmp_path / "small"), "--timeout", "2"]
    assert run([*order, "--dut-cmd", wrong(tmp_path, 4, what)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[1].startswith("fails: differs: ")
    assert said[2:] == [f"1 run failed in another way: {ENDS[what][0]}"]
    verify(tmp_path / "small")
    crop = load(tmp_path / "small").spec["fill"]["crop"]
    assert [len(crop[axis]) for axis in AXES] == [1, 1, 1]


@pytest.mark.parametrize("what", [each for each in ENDS if each != "hang"])
def test_a_device_that_never_gives_a_result_is_told(
    tmp_path: Path, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    # It may be one that fails whatever the case is, or a command that is none.
    case = make(tmp_path / "case", SPECS["tail"])
    order = ["vectors", "shrink", str(case), "-o", str(tmp_path / "small"), "--limit", "9"]
    assert run([*order, "--dut-cmd", wrong(tmp_path, -1, what)]) == 1
    said = capsys.readouterr()
    assert f"fails: {ENDS[what][0]}: " in said.out
    assert re.search(ENDS[what][1], said.out) or ENDS[what][1] in said.out
    assert "no run gave a result; does the command run a device at all?" in said.err
    verify(tmp_path / "small")


#: A device that is right, but for cases with a certain activation.
SOMETIMES = """
import os, signal, sys, time
from pathlib import Path
import numpy as np
case, got, value, what = sys.argv[1:]
x = np.load(Path(case) / "activations.npy")
words = [f"{byte:02x}" for byte in np.load(Path(case) / "expected.npy").tobytes()]
if (x == int(value)).any():
    if what == "exit":
        sys.exit(3)
    if what == "signal":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "hang":
        time.sleep(60)
    if what == "garbage":
        words = ["no", "dump"]
    if what == "undriven":
        words[-1] = "xx"
    if what == "short":
        del words[-1]
Path(got).write_text("\\n".join(words) + "\\n")
"""


@pytest.mark.parametrize("what", ["exit", "signal", "hang", "garbage", "undriven", "short"])
def test_what_makes_a_device_fail_is_found_however_it_fails(
    tmp_path: Path, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    case = make(tmp_path / "case", SPECS["tail"])
    x = np.load(case / "activations.npy")
    values, counts = np.unique(x, return_counts=True)
    value = int(values[counts == 1][3])  # it stands in one place
    (tmp_path / "dut.py").write_text(SOMETIMES)
    words = [sys.executable, str(tmp_path / "dut.py"), "{case}", "{got}", str(value), what]
    order = ["vectors", "shrink", str(case), "-o", str(tmp_path / "small"), "--timeout", "1.5"]
    assert run([*order, "--dut-cmd", shlex.join(words)]) == 0
    kind = {"undriven": "differs", "short": "differs", "hang": "timed out",
            "garbage": "unreadable"}.get(what, "crashed")  # fmt: skip
    assert f"fails: {kind}: " in capsys.readouterr().out
    verify(tmp_path / "small")
    (row, k), crop = np.argwhere(x == value)[0], load(tmp_path / "small").spec["fill"]["crop"]
    assert (crop["rows"], crop["groups"]) == ([row], [k // 4])
    left = np.load(tmp_path / "small" / "activations.npy")
    assert left[0].tolist() == [value if i == k % 4 else 0 for i in range(left.size)]
    assert not np.load(tmp_path / "small" / "weights.npy").any()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_keeps_the_smallest_case_so_far_and_ends_the_device(
    tmp_path: Path, number: int, code: int
) -> None:
    case = make(tmp_path / "case", SPECS["matmul"])
    script = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    script += "from cube24.cli import main; main()"
    order = ["vectors", "shrink", str(case), "-o", str(tmp_path / "small")]
    order += ["--dut-cmd", wrong(tmp_path, 4, "hang")]
    process = subprocess.Popen(
        [sys.executable, "-c", script, *order], stderr=subprocess.PIPE, text=True
    )
    try:
        count, deadline = tmp_path / "count", time.monotonic() + 60
        while time.monotonic() < deadline and not (count.exists() and count.read_text() == "4"):
            time.sleep(0.02)
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == code
    assert "what is written is the smallest case so far" in errors
    verify(tmp_path / "small")
    assert not is_running(str(tmp_path / "dut.py"))


def is_running(word: str) -> bool:
    """Whether a process has a word in its command line."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if word.encode() in path.read_bytes():
                return True
    return False


@pytest.mark.parametrize("ends", [True, False])
def test_all_that_a_device_started_ends_with_its_run(tmp_path: Path, ends: bool) -> None:
    case = make(tmp_path / "case", SPECS["tail"])
    mark = f"{tmp_path}/of-its-own"
    behind = f"import time; time.sleep(60)  # {mark}"
    program = f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', {behind!r}])\n" + (
        "open(sys.argv[2], 'w').write('zz')\n" if ends else "import time; time.sleep(60)\n"
    )
    (tmp_path / "dut.py").write_text(program)
    start = time.monotonic()
    found = device(f"{sys.executable} {tmp_path}/dut.py {{case}} {{got}}", timeout=3)(case)
    assert found is not None
    assert found.kind == ("differs" if ends else "timed out")
    assert time.monotonic() - start < 20
    deadline = time.monotonic() + 5
    while is_running(mark) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(mark)


@pytest.mark.parametrize("prints", [False, True])
def test_what_leaves_the_session_keeps_no_thread_and_no_descriptor(
    tmp_path: Path, prints: bool
) -> None:
    case = make(tmp_path / "case", SPECS["tail"])
    behind = "import os, time\nend = time.monotonic() + 60\n" + (
        "while time.monotonic() < end: os.write(2, b'x' * 4096)" if prints else "time.sleep(60)"
    )
    (tmp_path / "dut.py").write_text(
        "import subprocess, sys\n"
        f"one = subprocess.Popen([sys.executable, '-c', {behind!r}], start_new_session=True)\n"
        f"open({str(tmp_path / 'pids')!r}, 'a').write(f'{{one.pid}}\\n')\n"
        "open(sys.argv[2], 'w').write('zz')\n"
    )
    run = device(f"{sys.executable} {tmp_path}/dut.py {{case}} {{got}}", timeout=20)
    threads, files = threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))
    try:
        for _ in range(2):
            found = run(case)
            assert found is not None
            assert found.kind == "differs"
        assert threading.active_count() == threads
        assert len(list(Path("/proc/self/fd").iterdir())) == files
    finally:
        for pid in (tmp_path / "pids").read_text().split():
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)


def test_what_a_device_said_is_one_line(tmp_path: Path) -> None:
    case = make(tmp_path / "case", SPECS["tail"])
    (tmp_path / "dut.py").write_text(
        "import sys\n"
        "sys.stderr.write('first\\n\\n  second \\x1b[1m\\a\\r\\nthird\\n')\n"
        "sys.exit(3)\n"
    )
    found = device(f"{sys.executable} {tmp_path}/dut.py {{case}} {{got}}")(case)
    assert found is not None
    assert found.said == "exit code 3 and no got.hex: first; second ?[1m?; third"


# A pipe that nobody came to read is closed when it is forgotten.
@pytest.mark.filterwarnings("ignore:.*:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_a_signal_while_the_device_is_started_ends_it_and_stays_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Thread.start waits, and a signal may end it there, before or after the thread runs.
    case = make(tmp_path / "case", SPECS["tail"])
    mark = f"{tmp_path}/of-its-own"
    (tmp_path / "dut.py").write_text(f"import time; time.sleep(60)  # {mark}")
    start = threading.Thread.start
    for before in (True, False):

        def stopped(thread: threading.Thread, before: bool = before) -> None:
            if not before:
                start(thread)
            raise KeyboardInterrupt

        monkeypatch.setattr(threading.Thread, "start", stopped)
        with pytest.raises(KeyboardInterrupt):
            shrink(case, device(f"{sys.executable} {tmp_path}/dut.py {mark} {{case}} {{got}}"))
        assert not is_running(mark)


def test_a_device_that_prints_without_end_is_stopped_and_its_last_words_are_told(
    tmp_path: Path,
) -> None:
    case = make(tmp_path / "case", SPECS["tail"])
    command = "sh -c 'yes : {case} {got} >&2'"
    found = device(command, timeout=1)(case)
    assert found is not None
    assert found.kind == "timed out"
    assert len(found.said) < 5000


def test_a_full_disk_leaves_no_half_case(tmp_path: Path) -> None:
    case = make(tmp_path / "case", SPECS["matmul"])

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    script = (
        "import sys\nfrom cube24.vectors import shrink, write\nfrom cube24.errors import *\n"
        "from cube24.vectors.build import build\nfrom cube24.vectors.spec import *\n"
        "try:\n    write(build('test', 1, Item('case', matmul(5, 18, 720)), 1), sys.argv[1])\n"
        "except FileAccessError as error:\n    print(error); sys.exit(3)\n"
    )
    got = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "small")],
        preexec_fn=small_files, capture_output=True, text=True,
    )  # fmt: skip
    assert got.returncode == 3, got.stderr
    assert list(tmp_path.iterdir()) == [case]


def test_no_room_for_the_smaller_cases_ends_the_search_and_keeps_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case, runs = make(tmp_path / "case", SPECS["matmul"]), []
    folder = place.write_folder

    def full(path: Path, files: Any) -> None:
        if len(runs) == 3:
            raise OSError(28, "No space left on device")
        folder(path, files)

    def fails(path: Path) -> bool:
        runs.append(path)
        return True

    monkeypatch.setattr(place, "write_folder", full)
    found = shrink(case, fails)
    assert isinstance(found.stopped, ScratchError)
    assert "No space left" in str(found.stopped)
    monkeypatch.undo()
    write(found.case, tmp_path / "small")
    verify(tmp_path / "small")


def test_the_limit_is_told_and_is_no_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = make(tmp_path / "case", SPECS["matmul"])
    order = ["vectors", "shrink", str(case), "-o", str(tmp_path / "small"), "--limit", "2"]
    assert run([*order, "--dut-cmd", wrong(tmp_path, 0, "")]) == 0
    assert "the limit of 2 runs was reached" in capsys.readouterr().err
    verify(tmp_path / "small")


@pytest.mark.parametrize("timeout", [0.0, -1.0, float("nan"), float("-inf")])
def test_a_timeout_that_cannot_be_is_refused(timeout: float) -> None:
    with pytest.raises(ArgumentError, match="timeout"):
        device("x {case} {got}", timeout=timeout)


@pytest.mark.parametrize("timeout", [1e300, float("inf")])
def test_a_timeout_beyond_all_clocks_is_none(tmp_path: Path, timeout: float) -> None:
    case = make(tmp_path / "case", SPECS["tail"])
    assert not device("cp {case}/expected.hex {got}", timeout=timeout)(case)


# --- images, kernels and values -------------------------------------------------------------------


def pixels(of: dict[str, list[int]]) -> Callable[[Path], bool]:
    """A device that fails as long as these rows and columns of image and kernel are there."""

    def fails(folder: Path) -> bool:
        crop = load(folder).spec["fill"]["crop"]
        return all(set(numbers) <= set(crop[axis]) for axis, numbers in of.items())

    return fails


def test_images_and_kernels_become_smaller(tmp_path: Path) -> None:
    spec = conv2d(7, 5, (9, 8), (3, 2), batch=2, pads=(1, 1, 0, 0), bias=[100, -100], offset_x=3)
    make(tmp_path / "case", spec)
    wanted = {"h": [2, 7], "w": [5], "kh": [0, 2], "kw": [1], "columns": [4]}
    found = shrink(tmp_path / "case", pixels(wanted))
    crop = found.case.spec["fill"]["crop"]
    assert {axis: crop[axis] for axis in wanted} == wanted
    assert crop["image"] == [9, 8, 3, 2]
    size = found.case.spec["sizes"]
    assert (size["h"], size["w"], size["kernel"]) == (2, 1, [2, 1])
    assert (size["pads"], size["offset_x"]) == ([0, 0, 0, 0], 0)
    write(found.case, tmp_path / "small")
    verify(tmp_path / "small")
    again = shrink(tmp_path / "small", pixels({"h": [7], "kh": [2]}))
    write(again.case, tmp_path / "smaller")
    verify(tmp_path / "smaller")
    assert (again.case.spec["fill"]["crop"]["h"], again.case.spec["sizes"]["h"]) == ([7], 1)


def test_what_is_left_of_an_image_are_pixels_of_the_first_one(tmp_path: Path) -> None:
    spec = conv2d(7, 5, (6, 5), (3, 2), batch=2, bias=[100, -100])
    make(tmp_path / "case", spec)
    part = {"h": [0, 2, 3, 5], "w": [1, 4], "kh": [0, 2], "kw": [1], "groups": [1]}
    small = cropped(spec, part)
    make(tmp_path / "small", small)
    whole, left = (
        {path.stem: np.load(path) for path in (tmp_path / folder).glob("*.npy")}
        for folder in ("case", "small")
    )
    k = [4, 5, 6]
    x = whole["activations"][:, :, :, :, k][:, :, part["h"]][:, :, :, part["w"]]
    assert np.array_equal(left["activations"][..., :3], x)
    w = whole["weights"][:, k][:, :, part["kh"]][:, :, :, part["kw"]]
    assert np.array_equal(left["weights"], w)
    assert np.array_equal(left["bias"], whole["bias"])
    assert np.array_equal(plain.run(small, left), left["expected"])


@pytest.mark.parametrize("name", list(SPECS))
def test_values_become_as_plain_as_the_failure_lets_them(tmp_path: Path, name: str) -> None:
    # It fails as long as one weight is below -20 and one activation above 9.
    def fails(folder: Path) -> bool:
        w, x = (np.load(folder / f"{role}.npy") for role in ("weights", "activations"))
        return bool((w < -20).any() and (x > 9).any())

    make(tmp_path / "case", SPECS[name])
    found = shrink(tmp_path / "case", fails, limit=2000)
    assert found.stopped is None
    write(found.case, tmp_path / "small")
    verify(tmp_path / "small")
    assert fails(tmp_path / "small")
    w, x = (np.load(tmp_path / "small" / f"{role}.npy") for role in ("weights", "activations"))
    assert (np.count_nonzero(w), np.count_nonzero(x)) == (1, 1)
    (weight,), (activation,) = w[w != 0], x[x != 0]
    before = {
        role: np.load(tmp_path / "case" / f"{role}.npy") for role in ("weights", "activations")
    }
    assert weight == -32 or (weight in before["weights"] and weight > -32)
    assert activation == 16 or (activation in before["activations"] and activation < 16)
    if (tmp_path / "small" / "bias.npy").exists():
        assert not np.load(tmp_path / "small" / "bias.npy").any()
    # Again, from what was left: nothing of it is lost.
    again = shrink(tmp_path / "small", fails)
    assert again.case.spec["fill"]["crop"]["values"] == found.case.spec["fill"]["crop"]["values"]


def test_values_that_are_needed_together_stay(tmp_path: Path) -> None:
    make(tmp_path / "case", matmul(1, 1, 16, weights="full"))
    x = np.load(tmp_path / "case" / "activations.npy")
    needed = {1, 6, 7, 15}
    assert x[0, list(needed)].all()

    def fails(folder: Path) -> bool:
        left = np.load(folder / "activations.npy")
        return left.shape == x.shape and needed <= set(np.flatnonzero(left[0]))

    found = shrink(tmp_path / "case", fails)
    left = found.case.pieces["activations"].array[0]
    assert set(np.flatnonzero(left)) == needed
    assert set(left[list(needed)].tolist()) <= {1}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda crop: crop.pop("kw"), "kw"),
        (lambda crop: crop.update(image=[4, 3, 2]), "image"),
        (lambda crop: crop.update(h=[0, 1, 2, 9]), "h"),
        (lambda crop: crop.update(h=[0, 1, 2]), "sizes"),
        (lambda crop: crop.update(w=[1, 1, 2]), "w"),
        (lambda crop: crop.update(values={"weights": [[-1, 5]]}), "values.weights"),
        (lambda crop: crop.update(values={"weights": [[5, 1], [5, 1]]}), "values.weights"),
        (lambda crop: crop.update(values={"activations": [[0, 128]]}), "values.activations"),
        (lambda crop: crop.update(values={"activations": [[0, 1, 2]]}), "values.activations"),
        (lambda crop: crop.update(values={"bias": [[5, 0]]}), "values.bias"),
    ],
)  # fmt: skip
def test_a_part_that_is_none_is_refused_with_its_field(change: Any, field: str) -> None:
    spec = cropped(SPECS["conv"], {})
    spec_check.check(spec)
    change(spec["fill"]["crop"])
    with pytest.raises(ArgumentError, match=field):
        spec_check.check(spec)


def test_an_image_of_a_matrix_is_refused() -> None:
    spec = cropped(SPECS["tail"], {})
    spec["fill"]["crop"]["h"] = [0]
    with pytest.raises(ArgumentError, match=r"crop\.h is for convolutions"):
        spec_check.check(spec)


def test_foreign_bytes_stay_as_they_are_in_the_groups_that_are_left(tmp_path: Path) -> None:
    make(tmp_path / "case", matmul(3, 5, 70, weights={"foreign": 4}, layout="nd"))
    whole = {name: np.load(tmp_path / "case" / f"{name}.npy") for name in ("dense", "index")}

    def fails(folder: Path) -> bool:  # wrong on the pair (1, 0) beside a slot 1 that is not zero
        left, (n, _) = load(folder), np.load(folder / "weights.npy").shape
        dense, index = left.array("dense").reshape(n, -1, 2), left.array("index")
        pairs = np.stack([index & 15, index >> 4], axis=-1).reshape(n, -1)
        return bool(((pairs == 1) & (dense[..., 1] != 0)).any())

    found = shrink(tmp_path / "case", fails)
    write(found.case, tmp_path / "left")
    verify(tmp_path / "left")
    crop = found.case.spec["fill"]["crop"]
    assert [len(crop[axis]) for axis in AXES] == [1, 1, 1]
    assert crop["values"].keys() == {"activations"}
    (column,), (group,) = crop["columns"], crop["groups"]
    dense = np.load(tmp_path / "left" / "dense.npy")
    assert np.array_equal(dense[0, :2], whole["dense"][column, 2 * group : 2 * group + 2])
    crop["values"] = {"weights": [[0, 1]]}
    with pytest.raises(ArgumentError, match=r"crop\.values\.weights is of a weight"):
        spec_check.check(found.case.spec)
