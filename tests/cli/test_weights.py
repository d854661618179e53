"""The command line: exit codes, messages, whole files or none, signals, full disks."""

import json
import os
import pty
import resource
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from processes import in_foreground

from cube24 import encoder
from cube24.cli import run

LEGAL = np.array([[0, 0, 0, 5, 1, 2, 0, 0], [0, 3, 0, 0, 0, 0, -128, 127]], np.int8)
EXCESS = np.array([[1, 2, 3, 0, 0, 0, 0, 0], [0, 0, 0, 0, 9, 8, 7, -6]], np.int8)


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("legal.npy", LEGAL)
    np.save("excess.npy", EXCESS)


def left() -> set[str]:
    """What stands in the folder besides the inputs."""
    return {entry.name for entry in Path().iterdir()} - {"legal.npy", "excess.npy"}


@pytest.mark.parametrize("layout", ["nd", "zn"])
@pytest.mark.parametrize("form", ["npy", "hex", "bin", "npz"])
def test_encode_and_decode_give_the_weight_back(form, layout, capsys):
    target = "enc.npz" if form == "npz" else "enc"
    command = ["encode", "legal.npy", "-o", target, "--layout", layout]
    assert run(command if form == "npz" else [*command, "--format", form]) == 0
    assert "16 bytes -> " in capsys.readouterr().out
    assert run(["decode", target, "-o", "back.npy", "--strict"]) == 0
    assert np.array_equal(np.load("back.npy"), LEGAL)
    assert np.load("back.npy").dtype == np.int8
    assert run(["info", target, "--verify"]) == 0
    assert "checksums:  right" in capsys.readouterr().out


@pytest.mark.parametrize("suffix", ["npy", "hex", "bin"])
@pytest.mark.parametrize("layout", ["nd", "zn"])
def test_bytes_of_another_origin_are_decoded_by_name(suffix, layout):
    words = ["--word-bytes", "4", "--order", "big"] if suffix == "hex" else []
    words += ["--layout", layout]
    assert run(["encode", "legal.npy", "-o", "e", "--format", suffix, *words]) == 0
    Path("e/sparse.json").unlink()
    command = ["decode", "--dense", f"e/dense.{suffix}", "--index", f"e/index.{suffix}",
               "--shape", "2x8", *words, "-o", "back.bin"]  # fmt: skip
    assert run(command) == 0
    assert Path("back.bin").read_bytes() == LEGAL.tobytes()


def test_every_kind_of_input_is_read():
    from safetensors.numpy import save_file

    np.savez("many.npz", a=LEGAL, b=EXCESS)
    np.savez_compressed("one.npz", a=LEGAL)
    save_file({"a": LEGAL, "b": EXCESS}, "many.safetensors")
    Path("raw.bin").write_bytes(LEGAL.tobytes())
    for number, source in enumerate(
        (
            ["many.npz", "--name", "a"],
            ["one.npz"],
            ["many.safetensors", "--name", "a"],
            ["raw.bin", "--shape", "2,8"],
            ["raw.bin", "--shape", "2x8", "--dtype", "int8"],
        )
    ):
        assert run(["encode", *source, "-o", f"e{number}"]) == 0
        assert run(["decode", f"e{number}", "-o", f"b{number}.npy"]) == 0
        assert np.array_equal(np.load(f"b{number}.npy"), LEGAL)


def test_check_tells_legal_from_not_by_its_exit_code(capsys):
    assert run(["check", "legal.npy"]) == 0
    assert "legal 2:4" in capsys.readouterr().out
    assert run(["check", "excess.npy", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert not report["legal"]
    assert report["violations"] == 2
    assert report["patterns"]["XXX0"] == 1
    assert report["patterns"]["XXXX"] == 1
    assert report["offenders"][1] == {
        "coordinates": [1, 4], "group": 1, "positions": [0, 1, 2, 3], "values": [9, 8, 7, -6],
    }  # fmt: skip
    assert run(["check", "excess.npy"]) == 1
    text = capsys.readouterr().out
    assert "(1, 4) group 1: values (9, 8, 7, -6)" in text
    assert "worst rows" in text


def test_prune_makes_it_legal_and_says_what_it_cost(capsys):
    assert run(["prune", "excess.npy", "-o", "p.npy"]) == 0
    assert "2 groups changed, 3 weights dropped" in capsys.readouterr().out
    expected = [[0, 2, 3, 0, 0, 0, 0, 0], [0, 0, 0, 0, 9, 8, 0, 0]]
    assert np.load("p.npy").tolist() == expected
    assert run(["prune", "excess.npy", "-o", "p2.npy", "--json", "--policy", "first_last"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "groups": 2, "weights": 3, "l1_removed": 2 + 8 + 7, "l1_total": 36,
        "l2_removed": 4 + 64 + 49, "l2_total": 14 + 81 + 64 + 49 + 36,
        "l1_share": 17 / 36, "l2_share": (117 / 244) ** 0.5,
    }  # fmt: skip


def test_a_policy_says_what_it_dropped(capsys):
    assert run(["encode", "excess.npy", "-o", "e", "--policy", "first_two"]) == 0
    assert "policy first_two: 3 weights dropped from 2 groups" in capsys.readouterr().out


def test_a_convolution_is_named_as_one(capsys):
    weight = np.zeros((3, 5, 2, 2), np.int8)
    weight[:, 0] = 7
    np.save("conv.npy", weight)
    assert run(["encode", "conv.npy", "--conv", "-o", "e"]) == 0
    assert "conv 3x5x2x2" in capsys.readouterr().out
    assert run(["decode", "e", "-o", "b.npy", "--strict"]) == 0
    assert np.array_equal(np.load("b.npy"), weight)


def test_output_is_the_same_bytes_each_time():
    for name in ("a", "b"):
        assert run(["encode", "legal.npy", "-o", f"{name}.npz"]) == 0
        assert run(["encode", "legal.npy", "-o", name, "--format", "hex"]) == 0
    assert Path("a.npz").read_bytes() == Path("b.npz").read_bytes()
    for file in ("dense.hex", "index.hex", "sparse.json"):
        assert (Path("a") / file).read_bytes() == (Path("b") / file).read_bytes()


def test_help_names_every_command_and_option(capsys):
    for command in (
        [],
        *[[name] for name in ["encode", "decode", "check", "prune", "info", "demo"]],
    ):
        assert run([*command, "--help"]) == 0
        text = capsys.readouterr().out
        assert "Usage: cube24" in text
        assert "--help" in text


BAD_INPUT = {
    "a file that is not there": (["encode", "gone.npy", "-o", "e"], "No such file"),
    "a folder that is not there": (["encode", "legal.npy", "-o", "gone/e"], "does not exist"),
    "a weight that is not 2:4": (["encode", "excess.npy", "-o", "e"], "(0, 0) group 0"),
    "a suffix nobody knows": (["encode", "x.txt", "-o", "e"], "unknown suffix"),
    "a type that is not int8": (["encode", "float.npy", "-o", "e"], "float64"),
    "unsigned bytes": (["check", "unsigned.npy"], "two's complement"),
    "one dimension": (["check", "vector.npy"], "two or more dimensions"),
    "a convolution of two dimensions": (["check", "--conv", "legal.npy"], "four dimensions"),
    "a truncated file": (["check", "short.npy"], "truncated"),
    "no array file at all": (["check", "text.npy"], "no readable .npy header"),
    "a raw file without shape": (["check", "raw.bin"], "needs its shape"),
    "a raw file of another size": (["check", "raw.bin", "--shape", "3,8"], "truncated"),
    "a raw file of another type": (
        ["check", "raw.bin", "--shape", "2,4", "--dtype", "int16"], "holds int8 only",
    ),
    "a shape that is none": (["check", "raw.bin", "--shape", "two"], "is no shape"),
    "a type that is none": (["check", "raw.bin", "--shape", "2,8", "--dtype", "int9"], "int9"),
    "a name in a file without": (["check", "legal.npy", "--name", "w"], "no named members"),
    "a member that is not there": (["check", "two.npz", "--name", "c"], "it has: a, b"),
    "a choice that was not made": (["check", "two.npz"], "choose one by name: a, b"),
    "an encoded weight as weight": (["check", "encoded"], "holds an encoded weight"),
    "a weight as encoded weight": (["decode", "two.npz", "-o", "b.npy"], "holds no sparse.json"),
    "an index of 3": (["decode", "index3", "-o", "b.npy"], "index of 3 selects nothing"),
    "a flipped bit": (["decode", "flipped", "-o", "b.npy"], "checksum"),
    "padding that is not zero": (["decode", "padding", "-o", "b.npy", "--strict"], "padding that"),
    "an output of no known kind": (["decode", "encoded", "-o", "b.txt"], ".npy or .bin"),
    "an output that is there": (["encode", "legal.npy", "-o", "encoded"], "is there already"),
    "a folder that is not ours": (["encode", "legal.npy", "-o", "mine", "--overwrite"], "not ours"),
    "a device as output": (["prune", "legal.npy", "-o", "device.npy"], "no regular file"),
    "half of a loose pair": (["decode", "--dense", "d.npy", "-o", "b.npy"], "all of"),
    "a format against its suffix": (["encode", "legal.npy", "-o", "e", "--format", "npz"], ".npz"),
    "a word of no bytes": (
        ["encode", "legal.npy", "-o", "e", "--format", "hex", "--word-bytes", "0"],
        "'--word-bytes': 0 is not in the range",
    ),
    "an unknown option": (["encode", "legal.npy", "--speed"], "No such option"),
    "an unknown command": (["embiggen"], "No such command"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_is_explained_and_leaves_nothing(case, capsys):
    np.save("float.npy", np.zeros((2, 8)))
    np.save("unsigned.npy", LEGAL.view(np.uint8))
    np.save("vector.npy", LEGAL[0])
    Path("short.npy").write_bytes(Path("legal.npy").read_bytes()[:-1])
    Path("text.npy").write_text("weights")
    Path("raw.bin").write_bytes(LEGAL.tobytes())
    np.savez("two.npz", a=LEGAL, b=LEGAL)
    Path("device.npy").symlink_to("/dev/null")
    Path("mine").mkdir()
    Path("mine/thesis.txt").write_text("do not delete")
    sparse = encoder.encode(LEGAL)
    sparse.save("encoded")
    encoder.SparseWeight(sparse.dense, sparse.index | 3, sparse.shape).save("index3")
    padded = encoder.encode(LEGAL, layout="zn")
    padded.dense[0, 0, 15, 31] = 1
    padded.save("padding")
    sparse.save("flipped", format="bin")
    Path("flipped/dense.bin").write_bytes(b"\x01" + bytes(sparse.dense.tobytes()[1:]))

    before = left()
    command, said = BAD_INPUT[case]
    assert run(command) == 2
    output = capsys.readouterr()
    assert said in output.err
    assert output.out == ""
    assert left() == before
    assert Path("mine/thesis.txt").read_text() == "do not delete"


def test_overwrite_replaces_what_is_ours():
    assert run(["encode", "legal.npy", "-o", "e"]) == 0
    assert run(["encode", "excess.npy", "-o", "e"]) == 2
    assert run(["encode", "excess.npy", "-o", "e", "--overwrite", "--policy", "magnitude"]) == 0
    assert run(["decode", "e", "-o", "b.npy"]) == 0
    assert not np.array_equal(np.load("b.npy"), LEGAL)
    assert left() == {"e", "b.npy"}


def test_a_refused_overwrite_keeps_what_was_there():
    assert run(["encode", "legal.npy", "-o", "e"]) == 0
    assert run(["encode", "excess.npy", "-o", "e", "--overwrite"]) == 2
    assert run(["decode", "e", "-o", "b.npy"]) == 0
    assert np.array_equal(np.load("b.npy"), LEGAL)


# --- as a process -------------------------------------------------------------------------------

COMMAND = [sys.executable, "-c", "from cube24.cli import main; main()"]


def test_version_and_info_name_the_version():
    got = subprocess.run([*COMMAND, "info", "--json"], capture_output=True, text=True, check=True)
    about = json.loads(got.stdout)
    assert about["code paths"][0] == "scalar"
    got = subprocess.run([*COMMAND, "--version"], capture_output=True, text=True, check=True)
    assert about["version"] in got.stdout


@pytest.mark.parametrize(("said", "why"), [
    ("", "the fastest that this machine can run"), ("scalar", "chosen by CUBE24_PATH"),
])  # fmt: skip
def test_info_tells_which_code_path_runs_and_why(said, why):
    environment = os.environ | {"CUBE24_PATH": said}
    got = subprocess.run(
        [*COMMAND, "info"], env=environment, capture_output=True, text=True, check=True
    )
    assert f"code path:  {said or encoder.paths()[-1]} ({why})\n" in got.stdout


def test_info_with_a_code_path_that_is_not_there_is_bad_input():
    environment = os.environ | {"CUBE24_PATH": "mmx"}
    got = subprocess.run(
        [*COMMAND, "info"], env=environment, capture_output=True, text=True, check=False
    )
    assert got.returncode == 2
    assert "CUBE24_PATH: this machine has no code path 'mmx'" in got.stderr
    assert "Traceback" not in got.stderr


def big_file(megabytes: int) -> None:
    with open("big.bin", "wb") as file:
        file.truncate(megabytes << 20)


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *arguments], stderr=subprocess.PIPE, text=True, preexec_fn=in_foreground
    )


@pytest.mark.parametrize("target", ["e", "e.npz"])
@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGXCPU, 152)],
    ids=["Ctrl-C", "SIGTERM", "SIGHUP", "SIGXCPU"],
)
def test_a_signal_leaves_nothing_half_written(number, code, target):
    big_file(2048)
    process = start("encode", "big.bin", "--shape", "32768,65536", "-o", target)
    # Interrupt once it writes: its temporary name is there by then.
    while not any(name.endswith(".part") for name in left()):
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == code
    assert "nothing was written" in said
    assert "Traceback" not in said
    assert left() == {"big.bin"}


def no_large_files() -> None:
    """As on a full disk: the kernel refuses to let any file grow beyond a mebibyte."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))


@pytest.mark.parametrize(
    "arguments",
    [
        ["encode", "big.bin", "--shape", "1024,4096", "-o", "e"],
        ["encode", "big.bin", "--shape", "1024,4096", "-o", "e.npz"],
        ["encode", "big.bin", "--shape", "1024,4096", "-o", "e", "--format", "hex"],
        ["prune", "big.bin", "--shape", "1024,4096", "-o", "p.npy"],
        ["simulate", "fc", "2048x2048", "2048x2048", "--time-only", "--trace", "t.json"],
    ],
    ids=lambda arguments: " ".join(arguments[0::3]),
)
def test_a_disk_that_takes_no_more_is_explained_and_leaves_nothing(arguments):
    big_file(4)
    got = subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, preexec_fn=no_large_files
    )
    assert got.returncode == 2
    assert "cannot write" in got.stderr
    assert "Traceback" not in got.stderr
    assert left() == {"big.bin"}


def without_privilege(command: list[str]) -> list[str]:
    """As an ordinary user, whom permissions bind: root has to give up overriding them."""
    if os.geteuid() != 0:
        return command
    dropped = "-dac_override,-dac_read_search"
    return ["setpriv", f"--bounding-set={dropped}", "--inh-caps=-all", *command]


@pytest.mark.parametrize(
    "arguments",
    [
        ["encode", "legal.npy", "-o", "locked/e"],
        ["encode", "legal.npy", "-o", "locked/e.npz"],
        ["prune", "legal.npy", "-o", "locked/p.npy"],
        ["check", "secret.npy"],
        ["simulate", "fc", "64x64", "64x64", "--time-only", "--trace", "locked/t.json"],
    ],
    ids=" ".join,
)
def test_a_missing_permission_is_explained(arguments):
    Path("locked").mkdir(mode=0o555)
    np.save("secret.npy", LEGAL)
    Path("secret.npy").chmod(0)
    got = subprocess.run(without_privilege([*COMMAND, *arguments]), capture_output=True, text=True)
    assert got.returncode == 2
    assert "Permission denied" in got.stderr
    assert "Traceback" not in got.stderr
    assert list(Path("locked").iterdir()) == []


def test_a_reader_that_goes_away_is_no_error():
    process = subprocess.Popen(
        [*COMMAND, "check", "excess.npy"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    said = process.stderr.read()
    process.stderr.close()
    process.wait(timeout=60)
    assert "Traceback" not in said
    assert "Exception" not in said


def test_progress_is_shown_on_a_terminal_and_nowhere_else():
    big_file(64)
    command = [*COMMAND, "check", "big.bin", "--shape", "1024,65536"]
    plain = subprocess.run(command, capture_output=True, text=True, check=True)
    assert plain.stderr == ""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, text=True)
    os.close(theirs)
    shown = b""
    with suppress(OSError):  # the terminal is gone when the program ends
        while piece := os.read(ours, 1 << 16):
            shown += piece
    os.close(ours)
    assert process.communicate(timeout=60)[0] == plain.stdout
    assert process.returncode == 0
    assert b"check" in shown
    assert b"100%" in shown


@pytest.mark.parametrize("layout", ["nd", "zn"])
def test_a_file_of_gigabytes_needs_little_memory(layout):
    """1 GiB of weights, a limit of 512 MiB on what the process may hold."""
    big_file(1024)
    script = (
        "import resource, sys\n"
        "from cube24.cli import run\n"
        f"code = run(['encode', 'big.bin', '--shape', '16384x65536', '-o', 'e',"
        f" '--layout', '{layout}'])\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)\n"
        "sys.exit(code)\n"
    )
    got = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert got.returncode == 0, got.stderr
    assert int(got.stderr) < 512 * 1024
