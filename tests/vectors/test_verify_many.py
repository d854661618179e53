"""Many cases verified by several processes: the same verdicts, and none of them is left behind."""

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from processes import in_foreground

from cube24.cli import run
from cube24.errors import ArgumentError
from cube24.vectors import Campaign, folders, generate, verify_many
from cube24.vectors import processes as shared

COMMAND = [sys.executable, "-c", "from cube24.cli import main; main()", "vectors", "verify"]


@pytest.fixture(scope="module")
def cases(tmp_path_factory) -> Path:
    """Forty good cases, and among them a changed one, one without a file and one with a link."""
    root = tmp_path_factory.mktemp("cases") / "set"
    generate(root, Campaign(("patterns", "shapes"), 0, 1))
    there = list(folders(root))
    (there[3] / "dense.hex").write_bytes((there[3] / "dense.hex").read_bytes()[:-3] + b"x0\n")
    (there[17] / "index.npy").unlink()
    (there[20] / "weights.npy").unlink()
    (there[20] / "weights.npy").symlink_to("/dev/zero")
    return root


def test_what_is_found_is_those_of_one_process_whatever_the_number(cases):
    there = list(folders(cases))
    one = list(verify_many(there, bits=1))
    kinds = {number: each.kind for number, each in enumerate(one) if each.kind != "good"}
    assert kinds == {3: "bad", 17: "bad", 20: "unknown"}
    assert [each.folder for each in one] == there
    assert all(each.mutations.flipped > 10 for each in one if each.kind == "good")
    for workers in (2, 5):
        assert list(verify_many(there, workers=workers, bits=1)) == one
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("words", [[], ["--mutate", "1"]])
def test_what_is_printed_is_the_same_on_any_number_of_workers(cases, capsys, words):
    said = []
    for workers in ("1", "2", "3"):
        code = run(["vectors", "verify", str(cases), *words, "--workers", workers])
        said.append((code, *capsys.readouterr()))
    assert said.count(said[0]) == 3
    code, out, err = said[0]
    assert code == 1
    assert out.count("bad: ") == 2
    assert err.count("error: ") == 1
    assert f"of {len(list(folders(cases)))} cases" in out


def test_a_case_that_cannot_be_looked_at_is_code_2(cases, tmp_path, capsys):
    shutil.copytree(list(folders(cases))[20], tmp_path / "one", symlinks=True)
    shutil.copytree(list(folders(cases))[21], tmp_path / "two")
    assert run(["vectors", "verify", str(tmp_path), "--workers", "2"]) == 2
    assert "verified: 1 of 2 cases" in capsys.readouterr().out
    shutil.rmtree(tmp_path / "one")
    assert run(["vectors", "verify", str(tmp_path), "--workers", "2"]) == 0


@pytest.mark.parametrize(
    "wrong", [{"workers": 0}, {"workers": 4097}, {"workers": True}, {"bits": -1}]
)
def test_numbers_that_cannot_be_are_refused_at_once(wrong):
    with pytest.raises(ArgumentError, match=next(iter(wrong))):
        verify_many([], **wrong)


# --- the processes --------------------------------------------------------------------------------


def test_results_come_in_order_however_long_each_takes():
    naps = [0.03 if number % 37 == 0 else 0 for number in range(200)]
    assert list(shared.in_order(time.sleep, naps, 3)) == [None] * 200
    for lot in (1, 7, 2000):
        found = list(shared.in_order(str, range(1000), 3, lot=lot))
        assert found == [str(number) for number in range(1000)]
    assert list(shared.in_order(str, [], 2)) == []


def test_a_piece_that_takes_long_holds_up_no_other_process(tmp_path):
    """The first one waits for what a much later one does."""
    flag = tmp_path / "flag"
    waits = f"for i in $(seq 2000); do [ -e {flag} ] && exit 0; sleep 0.01; done; exit 1"
    work = [waits, *["exit 2"] * 20, f"touch {flag}"]
    codes = [status >> 8 for status in shared.in_order(os.system, work, 2)]
    assert codes == [0, *[2] * 20, 0]


def test_an_error_of_what_lists_the_work_comes_after_the_work_before_it():
    def listed():
        yield from range(100)
        raise ArgumentError("no more")

    found = []
    with pytest.raises(ArgumentError, match="no more"):
        found.extend(iter(shared.in_order(str, listed(), 2)))
    assert found == [str(number) for number in range(100)]


def test_a_worker_that_dies_or_fails_is_an_error():
    with pytest.raises(shared.WorkerError, match="a worker was killed"):
        list(shared.in_order(os._exit, [1] * 40, 2, lot=16))
    with pytest.raises(shared.WorkerError, match=r"ValueError: .*'x'"):
        list(shared.in_order(int, ["1"] * 50 + ["x"], 2))
    assert multiprocessing.active_children() == []


def test_no_process_is_left_where_the_results_are_not_wanted_to_the_end():
    results = shared.in_order(partial(pow, 2), range(10_000), 2)
    assert next(results) == 1
    assert len(multiprocessing.active_children()) == 2
    results.close()
    assert multiprocessing.active_children() == []


def children(pid: int) -> list[int]:
    """The processes that a process started and that verify: no tracker of multiprocessing."""
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()
    of = {int(each): Path(f"/proc/{each}/cmdline").read_bytes() for each in listed}
    return [each for each, line in of.items() if b"spawn_main" in line]


def started(cases: Path, scratch: Path) -> tuple[subprocess.Popen, list[int]]:
    """A long verification by two workers, which are there and have scratch files."""
    scratch.mkdir()
    process = subprocess.Popen(
        [*COMMAND, str(cases), "--mutate", "all", "--workers", "2"],
        env={**os.environ, "TMPDIR": str(scratch)}, text=True, preexec_fn=in_foreground,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    deadline = time.monotonic() + 30
    while not list(scratch.glob("*/case/manifest.json")):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    found = children(process.pid)
    assert len(found) == 2
    return process, found


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_all_workers_and_what_they_have_in_scratch(cases, tmp_path, number, code):
    process, workers = started(cases, tmp_path / "scratch")
    for pid in [process.pid] + ([*workers] if number == signal.SIGINT else []):
        os.kill(pid, number)  # Ctrl-C on a terminal is for all of them
    out, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
    assert list((tmp_path / "scratch").rglob("*")) == []
    assert "Traceback" not in out + err
    assert len(err.split("\n")) <= 3  # click begins a line of its own


def test_a_worker_that_is_killed_is_told(cases, tmp_path):
    process, workers = started(cases, tmp_path / "scratch")
    os.kill(workers[1], signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert err == "error: a worker was killed; run the same command again\n"
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
