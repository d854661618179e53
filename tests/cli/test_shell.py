"""What surrounds a command: streams, signals, what stands where it writes, and hints."""

import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from processes import in_foreground

from cube24 import encoder
from cube24.cli import app, output, run
from cube24.errors import FileAccessError

LEGAL = np.array([[0, 0, 0, 5, 1, 2, 0, 0], [0, 3, 0, 0, 0, 0, -128, 127]], np.int8)
EXCESS = np.array([[1, 2, 3, 0, 0, 0, 0, 0], [0, 0, 0, 0, 9, 8, 7, -6]], np.int8)
COMMAND = [sys.executable, "-c", "from cube24.cli import main; main()"]


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("legal.npy", LEGAL)
    np.save("excess.npy", EXCESS)


# --- streams --------------------------------------------------------------------------------------


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "1>&- 2>&-", "0<&- 1>&- 2>&-"])
def test_a_result_never_takes_the_place_of_a_closed_stream(closed):
    # Else a message of any library would stand in the middle of the file.
    script = (
        "import os, sys\n"
        "from cube24.cli import output\n"
        "output.fill_descriptors()\n"
        "opened = open('result', 'wb')\n"
        "os.write(1, b'noise'); os.write(2, b'noise')\n"
        "sys.exit(opened.fileno() < 3)\n"
    )
    line = f'"{sys.executable}" -c "$0" {closed}'
    got = subprocess.run(["sh", "-c", line, script], capture_output=True)
    assert got.returncode == 0
    assert Path("result").read_bytes() == b""


@pytest.mark.parametrize("name", ["legal", "excess"])
@pytest.mark.parametrize("closed", ["1>&-", "2>&-", "1>&- 2>&-", "2>/dev/full", "1>&- 2>/dev/full"])
def test_the_exit_code_is_that_of_the_work_if_nothing_wanted_is_lost(name, closed):
    line = f'"{sys.executable}" -m cube24 check {name}.npy {closed}'
    got = subprocess.run(["sh", "-c", line], capture_output=True, text=True)
    assert got.returncode == (name == "excess")
    assert got.stderr == ""


@pytest.mark.parametrize("name", ["legal", "excess"])
def test_a_reader_that_goes_away_does_not_make_a_weight_legal(name):
    line = f'"{sys.executable}" -m cube24 check {name}.npy | true; echo "${{PIPESTATUS[0]}}"'
    for _ in range(3):
        got = subprocess.run(["bash", "-c", line], capture_output=True, text=True)
        assert got.stdout == f"{int(name == 'excess')}\n"
        assert got.stderr == ""


def test_a_stream_is_written_whole_though_its_reader_is_slow():
    read, write = os.pipe()
    os.set_blocking(write, False)
    text = "é…" * 200_000  # more than any pipe holds
    got = b""

    def read_slowly() -> None:
        nonlocal got
        time.sleep(0.1)
        while piece := os.read(read, 1 << 16):
            got += piece

    reader = threading.Thread(target=read_slowly)
    reader.start()
    output.Stream(write, "utf-8", "standard output", True).write(text)
    os.close(write)
    reader.join()
    os.close(read)
    assert got == text.encode()


def test_characters_that_an_encoding_lacks_are_escaped():
    read, write = os.pipe()
    for encoding in ("ascii", "latin-1", "utf-8"):
        output.Stream(write, encoding, "standard output", True).write("é漢\udcff\n")
    os.close(write)
    with open(read, "rb") as file:
        assert file.read().splitlines() == [
            b"\\xe9\\u6f22\\udcff", b"\xe9\\u6f22\\udcff", "é漢\\udcff".encode(),
        ]  # fmt: skip


def test_a_full_stream_is_an_error_once_and_quiet_then():
    with open("/dev/full", "wb") as full:
        stream = output.Stream(full.fileno(), "utf-8", "standard output", True)
        with pytest.raises(FileAccessError, match="standard output: cannot write: No space left"):
            stream.write("a")
        assert stream.write("b") == 1
        assert output.Stream(full.fileno(), "utf-8", "standard error", False).write("a") == 1


def test_a_command_runs_in_a_program_without_streams(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert run(["check", "legal.npy"]) == 0
    assert run(["check", "excess.npy"]) == 1
    assert run(["check", "gone.npy"]) == 2
    assert run(["check"]) == 2
    assert run(["--help"]) == 0
    assert (sys.stdout, sys.stderr) == (None, None)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ZeroDivisionError("oops"), 2, "this is a defect of cube24"),
        (OSError(24, "Too many open files"), 2, "error: [Errno 24] Too many open files\n"),
        (BrokenPipeError(32, "Broken pipe"), 2, ""),  # some pipe, not that of stdout
        (MemoryError(), 2, "error: not enough memory for an array of this size\n"),
        (KeyboardInterrupt(), 130, "interrupted; nothing was written in part\n"),
    ],
)
def test_no_error_at_all_has_the_exit_code_of_a_failed_check(
    monkeypatch, capsys, error, code, said
):
    def fail(*args: Any, **options: Any) -> None:
        raise error

    monkeypatch.setattr(encoder, "check_file", fail)
    assert run(["check", "legal.npy"]) == code
    assert said in capsys.readouterr().err


# --- signals --------------------------------------------------------------------------------------


def big_file(megabytes: int = 2048) -> list[str]:
    with open("big.bin", "wb") as file:
        file.truncate(megabytes << 20)
    return ["encode", "big.bin", "--shape", f"{megabytes << 4},65536", "-o", "e"]


def until_it_writes(process: subprocess.Popen[Any]) -> None:
    while not any(entry.name.endswith(".part") for entry in Path().iterdir()):
        assert process.poll() is None
        time.sleep(0.005)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP, signal.SIGTERM])
def test_a_signal_that_is_to_be_ignored_is_ignored(number):
    # nohup, and a background job of a shell without job control.
    order = big_file(256)
    process = subprocess.Popen(
        [*COMMAND, *order], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(number, signal.SIG_IGN),
    )  # fmt: skip
    until_it_writes(process)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, "")


def test_signals_that_come_together_do_not_disturb_each_other():
    # systemd sends SIGTERM and SIGHUP, a terminal SIGINT and SIGHUP.
    process = subprocess.Popen(
        [*COMMAND, *big_file()], stderr=subprocess.PIPE, text=True, preexec_fn=in_foreground
    )
    until_it_writes(process)
    for _ in range(20):
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode in (143, 129, 130)
    assert said.count("nothing was written in part") == 1
    assert len(said.splitlines()) <= 2  # click ends the line of a Ctrl-C
    assert not [path for path in Path().iterdir() if path.name not in
                ("big.bin", "legal.npy", "excess.npy")]  # fmt: skip


def test_a_progress_bar_ends_its_line_when_it_is_interrupted():
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *big_file()], stdout=subprocess.DEVNULL, stderr=theirs, preexec_fn=in_foreground
    )
    os.close(theirs)
    until_it_writes(process)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    shown = b""
    with suppress(OSError):  # the terminal is gone when the program ends
        while piece := os.read(ours, 1 << 16):
            shown += piece
    os.close(ours)
    assert process.wait(timeout=60) == 130
    lines = shown.replace(b"\r\n", b"\n").split(b"\n")
    assert lines[-2:] == [b"interrupted; nothing was written in part", b""]
    assert b"encode" in lines[0]


def test_a_signal_that_an_object_swallows_as_it_goes_is_sent_again():
    script = (
        "import os, signal, time\n"
        "from cube24.cli.codes import Ends\n"
        "ends = Ends(); ends.as_exceptions()\n"
        "class Slow:\n"
        "    def __del__(self): os.kill(os.getpid(), signal.SIGINT); time.sleep(0.01)\n"
        "try:\n"
        "    Slow(); time.sleep(30); print('lost')\n"
        "except KeyboardInterrupt:\n"
        "    print('stopped')\n"
    )
    got = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, preexec_fn=in_foreground
    )
    assert (got.stdout, got.stderr) == ("stopped\n", "")


# --- what stands there ----------------------------------------------------------------------------


def test_overwrite_costs_the_user_nothing(capsys):
    assert run(["encode", "legal.npy", "-o", "e"]) == 0
    Path("legal.npy").rename("e/w.npy")
    Path("e/notes.txt").write_text("notes")
    capsys.readouterr()
    assert run(["encode", "e/w.npy", "-o", "e", "--overwrite"]) == 2
    got = capsys.readouterr()
    assert got.out == ""
    assert got.err == (
        "error: e: holds notes.txt, which is not ours to replace; move that away, or name another "
        "folder\n"
    )
    assert sorted(path.name for path in Path("e").iterdir()) == [
        "dense.npy", "index.npy", "notes.txt", "sparse.json", "w.npy",
    ]  # fmt: skip


def test_an_archive_with_other_weights_is_not_replaced_by_one_of_them(capsys):
    np.savez("many.npz", a=LEGAL, b=EXCESS)
    before = Path("many.npz").read_bytes()
    assert run(["encode", "many.npz", "--name", "a", "-o", "many.npz", "--overwrite"]) == 2
    assert "many.npz: is what is read, and would be lost" in capsys.readouterr().err
    assert Path("many.npz").read_bytes() == before


def test_decode_refuses_its_output_before_it_reads_everything(capsys):
    assert run(["encode", "legal.npy", "-o", "e"]) == 0
    Path("e/dense.npy").write_bytes(b"damaged")  # is told only if it is read
    for target, said in (("legal.npy", "is there already"), ("b.txt", "as .npy or .bin"),
                         ("gone/b.npy", "does not exist")):  # fmt: skip
        for order in (["e"], ["--dense", "e/dense.npy", "--index", "e/index.npy",
                              "--shape", "2x8"]):  # fmt: skip
            assert run(["decode", *order, "-o", target]) == 2
            assert said in capsys.readouterr().err


# --- hints and numbers ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "hinted"),
    [
        ((8, 32, 1, 1), "has four dimensions, 8x32x1x1"), ((2, 2, 8, 8), "four dimensions"),
        ((8, 32, 3), "last dimension of 8x32x3, which has only 3"), ((2, 2, 2, 8, 2), "only 2"),
        ((8, 32), ""), ((2, 8, 32), ""), ((8, 2), ""), ((2, 2, 2, 8, 8), ""),
    ],
)  # fmt: skip
def test_a_weight_that_looks_like_a_convolution_gets_a_hint(shape, hinted, capsys):
    np.save("w.npy", np.zeros(shape, np.int8))
    line = "x".join(map(str, shape))
    for command in (
        ["check", "w.npy"], ["check", "w.npy", "--json"], ["encode", "w.npy", "-o", "e"],
        ["prune", "w.npy", "-o", "p.npy"],
        ["decode", "--dense", "e/dense.npy", "--index", "e/index.npy", "--shape", line,
         "-o", "d.npy"],
    ):  # fmt: skip
        assert run(command) == 0
        got = capsys.readouterr()
        assert hinted in got.err
        assert bool(hinted) == ("--conv" in got.err)
        assert "hint" not in got.out
        if "--json" in command:
            assert json.loads(got.out)["kind"] == "matrix"


def test_a_convolution_that_is_named_as_one_gets_no_hint(capsys):
    np.save("w.npy", np.zeros((8, 32, 1, 1), np.int8))
    assert run(["check", "w.npy", "--conv"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "shape",
    ["1e9", "", ",", "8,", "x8", "2 x8 1", "9" * 5000, f"2x{'9' * 5000}", "1_0x2", "٢x8",
     "nan", "inf", "2.0x8", "9" * 19],
)  # fmt: skip
def test_a_shape_that_is_none_is_refused_in_a_line(shape, capsys):
    Path("raw.bin").write_bytes(bytes(16))
    assert run(["check", "raw.bin", "--shape", shape]) == 2
    got = capsys.readouterr()
    assert "is no shape; write it as 64,128 or 64x128" in got.err
    assert max(map(len, got.err.splitlines())) < 200


@pytest.mark.parametrize(
    ("shape", "said"),
    [("-2x-8", "negative"), ("2x" * 40 + "8", "more than 30 dimensions"),
     (f"{'9' * 18}x{'9' * 18}", "memory"), ("2x9", "truncated"), ("16", "two or more dimensions")],
)  # fmt: skip
def test_a_shape_that_no_weight_has_is_refused(shape, said, capsys):
    Path("raw.bin").write_bytes(bytes(16))
    assert run(["check", "raw.bin", "--shape", shape]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("dtype", ["", "O", "object", "i1,i2", "(2,)i1", "(1,2", "U0", "V", "é",
                                   "x" * 5000, "a\0b", "float", "bool", "[" * 3000])  # fmt: skip
def test_a_type_that_is_none_is_refused_in_a_line(dtype, capsys):
    Path("raw.bin").write_bytes(bytes(16))
    assert run(["check", "raw.bin", "--shape", "2x8", "--dtype", dtype]) == 2
    got = capsys.readouterr()
    assert "Traceback" not in got.err
    assert max(map(len, got.err.splitlines())) < 300


def test_the_exit_codes_are_told_where_they_are_made():
    assert app.__doc__ is not None
    for code in ("0 good", "1 the check failed", "2 bad input", "130", "143", "129", "152"):
        assert code in app.__doc__
