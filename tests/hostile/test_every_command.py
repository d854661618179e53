"""Every command in a hostile environment: it ends by the rules and costs the user nothing.

Each command of the command line has an entry here. It runs with stdout or stderr closed, full or
read by nobody, on terminals that lack characters, with names that are too long, in folders without
permission, with pipes and devices in the place of its inputs, without space, without descriptors,
and with signals at any time. Whatever happens, the exit code is one of the rules, there is no
traceback, nothing half-written, no temporary name left, and what stands beside is as it was.

``HOSTILE_ROUNDS=20 pytest tests/hostile`` takes as many signals and limits for each command as it
says; the seed of their times is the round, so a failure can be had again.
"""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import click
import forked
import numpy as np
import pytest

from cube24 import encoder, simulator
from cube24.cli import run
from cube24.cli.app import cli
from cube24.vectors.manifest import check_files, load

ROUNDS = int(os.environ.get("HOSTILE_ROUNDS", "1"))
#: Characters of Latin-1, and others, so that every message that has a path has them.
IN, OUT = "in-é", "out-漢"

#: A command line of each command. IN/... are inputs, OUT/... what it writes.
ENTRIES = {
    "encode": "IN/w.npy -o OUT/e --format hex",
    "decode": "IN/e -o OUT/w.npy",
    "check": "IN/w.npy",
    "compile": "IN/q.onnx --sparsity 1 -o OUT/c.onnx --unit IN/unit.toml --external-data",
    "decompile": "IN/c.onnx -o OUT/d.onnx",
    "run": (
        "IN/c.onnx --input x=IN/xq.npy --reference IN/q.onnx --requant unit -o OUT/o.npz "
        "--trace OUT/t.json --report OUT/r.html"
    ),
    "prune": "IN/x.npy -o OUT/p.npy",
    "info": "IN/e.npz --verify",
    "demo": "",
    "dpi": "--sv --cflags --libs",
    "simulate matmul": (
        "IN/a.npy IN/w.npy --bias IN/bias.npy --unit IN/unit.toml -o OUT/y.npy --program OUT/p.txt "
        "--trace OUT/t.json --vcd OUT/t.vcd --csv OUT/t.csv --report OUT/t.html"
    ),
    "simulate fc": "IN/a.npy IN/e -o OUT/y.npy",
    "simulate conv2d": "IN/x4.npy IN/w4.npz -o OUT/y.npy",
    "simulate case": "IN/set/patterns/walk-nd-n1 -o OUT/y.npy --vcd OUT/t.vcd",
    "units": "IN/unit.toml",
    "validate": "--unit IN/unit.toml",
    "hazards": "IN/program.txt --unit IN/unit.toml",
    "sweep": "--m 16,32 --n 16 --k 64,128 --unit IN/unit.toml -o OUT/s.csv --plot OUT/s.svg",
    "vectors generate": "OUT/set --suite patterns --level 0 --format hex --format bin",
    "vectors onnx": "IN/m.onnx OUT/set",
    "vectors from-arrays": (
        "--weights IN/w.npy --activations IN/a.npy --bias IN/bias.npy --bench -o OUT/own"
    ),
    "vectors bench": "IN/set/patterns/walk-nd-n1 -o OUT/bench",
    "vectors list": "--suite patterns --level 0",
    "vectors verify": "IN/set --mutate 2",
    "vectors compare": "IN/set/patterns/walk-nd-n1 IN/got.hex --junit OUT/j.xml",
    "vectors coverage": "IN/set --merge IN/counts.json --counts OUT/c.json --markdown OUT/c.md",
    "vectors shrink": (
        "IN/set/patterns/walk-nd-n1 --dut-cmd 'sh IN/device.sh {case} {got}' --limit 3 -o OUT/small"
    ),
}  # fmt: skip

#: Commands that take seconds. What has to do with output alone is tried with a few conditions only.
SLOW = {"demo", "validate"}

#: Commands that keep the best that they have when they are stopped: a whole case, if another one.
KEEPING = {"vectors shrink"}

#: Files of a case that a command has no need of: it counts or makes again what the manifest says.
NOT_READ = {("vectors coverage", "dense.hex"), ("vectors shrink", "dense.hex"),
            ("vectors shrink", "expected.hex")}  # fmt: skip

#: Commands whose output is a folder that grows, case by case: what is there is whole.
GROWING = {"vectors generate", "vectors onnx", "vectors bench"}


def commands(group: click.Command, name: str = "") -> Iterator[str]:
    if isinstance(group, click.Group):
        for each in group.commands.values():
            yield from commands(each, f"{name} {each.name}".strip())
    else:
        yield name


def test_every_command_has_an_entry():
    assert set(commands(cli)) == set(ENTRIES)


# --- how they are run -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server() -> Iterator[subprocess.Popen[str]]:
    # Not the folder of the tests on its path first: it starts as a module of its own.
    process = subprocess.Popen(
        [sys.executable, forked.__file__],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONUTF8": "1", "MPLCONFIGDIR": "/tmp"},
    )  # fmt: skip
    yield process
    assert process.stdin is not None
    process.stdin.close()
    process.wait(timeout=60)
    assert process.stdout is not None
    process.stdout.close()


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the commands read, made once; nobody may change it."""
    import onnx
    from onnx import helper, numpy_helper

    top = tmp_path_factory.mktemp("hostile")
    for parent in (top, *top.parents[:2]):
        parent.chmod(0o755)  # nobody, too, may come here
    folder = top / IN
    folder.mkdir()
    rng = np.random.default_rng(24)
    w = np.zeros((16, 64), np.int8)
    w[:, ::2] = rng.integers(-128, 128, (16, 32))
    np.save(folder / "w.npy", w)
    np.save(folder / "x.npy", rng.integers(-128, 128, (16, 64)).astype(np.int8))
    np.save(folder / "a.npy", rng.integers(-128, 128, (16, 64)).astype(np.int8))
    np.save(folder / "bias.npy", rng.integers(-99, 99, 16).astype(np.int32))
    np.save(folder / "x4.npy", rng.integers(-128, 128, (1, 32, 4, 4)).astype(np.int8))
    w4 = np.zeros((16, 32, 2, 2), np.int8)
    w4[:, ::2] = 3
    np.savez(folder / "w4.npz", w=w4)
    encoder.encode(w).save(folder / "e")
    encoder.encode(w).save(folder / "e.npz")
    (folder / "unit.toml").write_text(simulator.PRESETS["dav-2201"].to_toml())
    (folder / "program.txt").write_text("set_flag of=M to=MTE1 id=0\n")
    weight = numpy_helper.from_array(rng.normal(size=(64, 16)).astype(np.float32), "w")
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["a", "w"], ["y"])], "g",
        [value("a", onnx.TensorProto.FLOAT, [4, 64])],
        [value("y", onnx.TensorProto.FLOAT, [4, 16])], [weight],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(folder / "m.onnx"))
    import onnx_makers
    import sparse_weights

    q = sparse_weights.sparse_weight((8, 64))
    onnx.save(onnx_makers.quantised_matmul("QLinearMatMul", q, x_shape=(2, 64)), folder / "q.onnx")
    np.save(folder / "xq.npy", rng.integers(0, 256, (2, 64)).astype(np.uint8))
    order = ["compile", str(folder / "q.onnx"), "-o", str(folder / "c.onnx"), "--sparsity", "1"]
    assert run(order) == 0
    order = ["vectors", "generate", str(folder / "set"), "--suite", "patterns", "--level", "0"]
    assert run([*order, "--format", "hex"]) == 0
    assert run(["vectors", "coverage", str(folder / "set"), "--counts",
                str(folder / "counts.json")]) in (0, 1)  # fmt: skip
    (folder / "device.sh").write_text('sed \'/^[^/]/s/[0-9a-f]/f/g\' "$1/expected.hex" > "$2"\n')
    lines = (folder / "set/patterns/walk-nd-n1/expected.hex").read_text().splitlines()
    (folder / "got.hex").write_text("\n".join(["ff" if "//" not in line else line
                                               for line in lines]) + "\n")  # fmt: skip
    return folder


def tree(folder: Path) -> dict[str, Any]:
    """All names below a folder with contents and permission bits."""
    return {
        str(path.relative_to(folder)): (
            path.lstat().st_mode,
            path.read_bytes() if path.is_file() and not path.is_symlink() else None,
        )
        for path in sorted(folder.rglob("*"))
    }


@dataclass
class Place:
    """A folder to run a command in."""

    server: subprocess.Popen[str]
    folder: Path
    inputs: Path

    def __post_init__(self) -> None:
        (self.folder / IN).symlink_to(self.inputs)
        (self.folder / OUT).mkdir()
        self.folder.chmod(0o777)
        (self.folder / OUT).chmod(0o777)
        (self.folder / OUT / "notes.txt").write_text("the user's")

    def run(self, words: list[str], **how: Any) -> dict[str, Any]:
        job = {"args": words, "cwd": str(self.folder), **how}
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        self.server.stdin.write(json.dumps(job) + "\n")
        self.server.stdin.flush()
        return json.loads(self.server.stdout.readline())

    def written(self) -> dict[str, Any]:
        return tree(self.folder / OUT)


@pytest.fixture(scope="module")
def places(server, inputs, tmp_path_factory) -> Iterator[Any]:
    base, count = inputs.parent, 0

    def place() -> Place:
        nonlocal count
        count += 1
        folder = base / str(count)
        folder.mkdir()
        return Place(server, folder, inputs)

    before = tree(inputs)
    yield place
    assert tree(inputs) == before  # nothing lost, whatever was done


@pytest.fixture
def place(places) -> Iterator[Place]:
    made = places()
    yield made
    shutil.rmtree(made.folder, ignore_errors=True)


def words_of(name: str) -> list[str]:
    import shlex

    line = ENTRIES[name].replace("IN/", f"{IN}/").replace("OUT/", f"{OUT}/")
    return [*name.split(), *shlex.split(line)]


_normal: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}


def normal(name: str, places: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a command gives and writes where nothing is in its way."""
    if name not in _normal:
        made = places()
        got = made.run(words_of(name))
        assert got["code"] in (0, 1), got
        judge(name, made, got, None)
        _normal[name] = got, made.written()
    return _normal[name]


def judge(name: str, place: Place, got: dict[str, Any], whole: dict[str, Any] | None) -> None:
    """The rules that hold whatever happens; whole: what the command writes where it can."""
    assert not got["late"], got
    assert "Traceback" not in got["err"] + got["out"], got["err"]
    assert "Exception ignored" not in got["err"], got["err"]
    there = place.written()
    assert there.pop("notes.txt")[1] == b"the user's"
    assert [path for path in there if "/." in f"/{path}"] == []  # no temporary name
    if whole is not None and name in KEEPING:
        for manifest in (place.folder / OUT).rglob("manifest.json"):
            check_files(load(manifest.parent))  # and nothing else stands there
        assert bool(there) == any(path.endswith("/manifest.json") for path in there)
    elif whole is not None:
        for path, about in there.items():
            if path.endswith(".xml") and got["code"] == 2 and about != whole[path]:
                # A result that cannot be read is seen in a regression: whole, and it says why.
                (said,) = ET.fromstring(about[1]).iter("error")
                assert f"error: {said.get('message')}\n" == got["err"]
                continue
            assert about == whole[path], f"{path} is half-written"
        if name not in GROWING:
            tops = {path.split("/")[0] for path in there}
            assert {p for p in whole if p.split("/")[0] in tops} == set(there)
    beside = sorted(path.name for path in place.folder.iterdir())
    assert [path for path in beside if path.endswith(".part")] == []


def one_line(got: dict[str, Any]) -> None:
    """An error is told in one line, behind the usage if that is what is wrong."""
    notes = ("hint: ", "left: ")
    lines = [line for line in got["err"].splitlines() if line and not line.startswith(notes)]
    assert lines, got
    assert lines[-1].lower().startswith("error: "), got["err"]
    assert len(lines) == 1 or lines[0].startswith("Usage: "), got["err"]


def per_command(test: Any) -> Any:
    return pytest.mark.parametrize("name", ENTRIES)(test)


def per_quick_command(test: Any) -> Any:
    names = [name for name in ENTRIES if ROUNDS > 1 or name not in SLOW]
    return pytest.mark.parametrize("name", names)(test)


# --- output that cannot be written ----------------------------------------------------------------


@per_command
def test_it_does_what_it_does(name, places):
    got, _ = normal(name, places)
    assert got["out"]


HARMLESS = {
    "stdout closed": {"stdout": "closed"},
    "stderr closed": {"stderr": "closed"},
    "both closed": {"stdout": "closed", "stderr": "closed"},
    "stderr full": {"stderr": "full"},
    "nobody reads stdout": {"stdout": "gone"},
    "nobody reads": {"stdout": "gone", "stderr": "gone"},
}


@pytest.mark.parametrize("how", HARMLESS if ROUNDS > 1 else list(HARMLESS)[2:5])
@per_quick_command
def test_output_that_nobody_reads_changes_nothing(name, how, place, places):
    usual, whole = normal(name, places)
    got = place.run(words_of(name), **HARMLESS[how])
    assert got["code"] == usual["code"], got
    judge(name, place, got, whole)
    assert place.written() == whole


@per_command
def test_a_full_stdout_is_an_error_of_one_line(name, place, places):
    _, whole = normal(name, places)
    got = place.run(words_of(name), stdout="full")
    assert got["code"] == 2, got
    one_line(got)
    assert "standard output: cannot write: No space left on device" in got["err"]
    judge(name, place, got, whole)
    if name not in SLOW:
        assert place.run(words_of(name), stdout="full", stderr="full")["code"] == 2


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
@per_quick_command
def test_a_terminal_that_lacks_characters_gets_others(name, encoding, place, places):
    usual, whole = normal(name, places)
    got = place.run(words_of(name), encoding=encoding)
    assert got["code"] == usual["code"], got
    judge(name, place, got, whole)
    if encoding == "ascii":
        assert got["out"].isascii()


@per_command
def test_help_is_output_as_any_other(name, place):
    words = [*name.split(), "--help"]
    assert place.run(words)["code"] == 0
    assert place.run(words, stdout="closed")["code"] == 0
    assert place.run(words, stdout="gone")["code"] == 0
    assert place.run(words, encoding="ascii")["out"].isascii()
    got = place.run(words, stdout="full")
    assert got["code"] == 2
    one_line(got)


@pytest.mark.parametrize("words", [["--version"], ["--help"], [], ["embiggen"], ["check", "--x"]])
def test_what_click_prints_is_output_as_any_other(words, place):
    usual = place.run(words)["code"]
    for how in HARMLESS.values():
        got = place.run(words, **how)
        assert got["code"] == usual, (how, got)
        assert "Traceback" not in got["err"]
    got = place.run(words, stdout="full", stderr="full")
    assert got["code"] == 2


# --- paths ----------------------------------------------------------------------------------------

INPUTS = [
    (name, number)
    for name in ENTRIES
    for number, word in enumerate(words_of(name))
    if word.startswith(f"{IN}/")
]
PATHS = [
    (name, number)
    for name in ENTRIES
    for number, word in enumerate(words_of(name))
    if word.startswith((f"{IN}/", f"{OUT}/"))
]


def ids(value: Any) -> str:
    return str(value)


@pytest.mark.parametrize(("name", "number"), PATHS, ids=ids)
def test_a_name_of_256_bytes_is_refused(name, number, place, places):
    _, whole = normal(name, places)
    words = words_of(name)
    for long in ("x" * 256, "é" * 128):
        suffix = Path(words_of(name)[number]).suffix
        words[number] = f"{OUT}/{long[: -len(suffix)] if suffix else long}{suffix}"
        if len(os.fsencode(Path(words[number]).name)) < 256:
            words[number] = f"{OUT}/x{Path(words[number]).name}x{suffix}"
        got = place.run(words)
        assert got["code"] == 2, got
        one_line(got)
        judge(name, place, got, whole)
        (place.folder / OUT / "j.xml").unlink(missing_ok=True)  # the report of the refusal


@pytest.mark.parametrize(("name", "number"), PATHS, ids=ids)
def test_a_folder_without_permission_is_refused(name, number, place, places):
    _, whole = normal(name, places)
    words = words_of(name)
    locked = place.folder / "locked"
    source = place.folder / words[number]
    inner = locked / source.name
    if source.is_dir():
        shutil.copytree(source, inner)
    elif source.exists():
        locked.mkdir()
        shutil.copy(source, inner)
    locked.mkdir(exist_ok=True)
    words[number] = str(inner.relative_to(place.folder))
    before, root = tree(locked), os.geteuid() == 0
    locked.chmod(0o700 if root else 0)
    try:
        got = place.run(words, nobody=root)  # permissions do not hold root
    finally:
        locked.chmod(0o700)
    assert got["code"] == 2, got
    one_line(got)
    assert "Permission denied" in got["err"]
    judge(name, place, got, whole)
    assert tree(locked) == before


IRREGULAR = ["pipe", "endless device", "link to a pipe"]
if ROUNDS > 1:
    IRREGULAR += ["device", "socket"]


def make_irregular(path: Path, kind: str) -> None:
    import socket

    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "link to a pipe":
        os.mkfifo(path.with_name("pipe"))
        path.symlink_to("pipe")
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as listener:
            here = Path.cwd()
            os.chdir(path.parent)  # the name of a socket may be short only
            try:
                listener.bind(path.name)
            finally:
                os.chdir(here)
    else:
        path.symlink_to("/dev/null" if kind == "device" else "/dev/zero")


@pytest.mark.parametrize("kind", IRREGULAR)
@pytest.mark.parametrize(("name", "number"), INPUTS, ids=ids)
def test_a_pipe_or_device_in_the_place_of_an_input_is_refused_at_once(
    name, number, kind, place, places
):
    _, whole = normal(name, places)
    words = words_of(name)
    source = place.folder / words[number]
    replaced = place.folder / f"input{source.suffix}"
    make_irregular(replaced, kind)
    words[number] = replaced.name
    got = place.run(words)
    assert got["code"] == 2, got
    one_line(got)
    assert got["seconds"] < 10
    judge(name, place, got, whole)


MEMBERS = [
    (name, number, member)
    for name, number in INPUTS
    for member in {
        "e": ["sparse.json", "dense.npy", "index.npy"],
        "walk-nd-n1": ["manifest.json", "dense.hex", "expected.hex"],
        "set": ["patterns/walk-nd-n1/manifest.json", "patterns/walk-nd-n1/dense.hex"],
    }.get(Path(words_of(name)[number]).name, [])
    if (name, Path(member).name) not in NOT_READ
]


@pytest.mark.parametrize("kind", ["pipe", "endless device"])
@pytest.mark.parametrize(("name", "number", "member"), MEMBERS, ids=ids)
def test_a_pipe_or_device_in_an_input_folder_is_refused_at_once(
    name, number, member, kind, place, places
):
    normal(name, places)
    words = words_of(name)
    copy = place.folder / "copy"
    shutil.copytree(place.folder / words[number], copy)
    (copy / member).unlink()
    make_irregular(copy / member, kind)
    words[number] = "copy"
    got = place.run(words)
    assert got["code"] in (1, 2) if name == "vectors verify" else got["code"] == 2, got
    assert got["seconds"] < 10
    judge(name, place, got, None)


# --- what the system has no more of ---------------------------------------------------------------

WRITERS = [name for name, line in ENTRIES.items() if "OUT/" in line]


@pytest.mark.parametrize("round_", range(ROUNDS))
@pytest.mark.parametrize("name", WRITERS)
def test_a_disk_that_takes_no_more_leaves_nothing_half_written(name, round_, places):
    usual, whole = normal(name, places)
    rng = random.Random(f"{name} {round_}")
    for size in (0, rng.randrange(1, 200), rng.randrange(200, 5000)):
        made = places()
        got = made.run(words_of(name), limits={"RLIMIT_FSIZE": size})
        assert got["code"] in (2, usual["code"]), got
        assert got["code"] == 2 or size, got
        if got["code"] == 2:
            one_line(got)
            # The latter is what tempfile makes of it.
            assert re.search("File too large|No usable temporary directory", got["err"]), got
        judge(name, made, got, whole)


@pytest.fixture(scope="module")
def small(inputs) -> Iterator[Path]:
    """A file system of a few pages."""
    folder = inputs.parent / "small"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8k,mode=1777", "tmpfs", str(folder)],
        capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_file_system_leaves_nothing_half_written(name, small, place, places):
    usual, whole = normal(name, places)
    words = [word.replace(f"{OUT}/", f"{small}/") for word in words_of(name)]
    got = place.run(words)
    there = tree(small)
    for entry in small.iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    assert got["code"] in (2, usual["code"]), got
    if got["code"] == 2:
        one_line(got)
        assert "No space left on device" in got["err"], got
    judge(name, place, got, whole)
    for path, about in there.items():
        assert about[1] == whole[path][1], f"{path} is half-written"


@per_quick_command
def test_a_full_folder_for_temporary_files_is_no_failed_check(name, small, place, places):
    usual, whole = normal(name, places)
    (small / "filler").write_bytes(bytes(8192))
    try:
        got = place.run(words_of(name), env={"TMPDIR": str(small)})
    finally:
        for entry in small.iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    assert got["code"] in (2, usual["code"]), got
    if got["code"] == 2 != usual["code"]:
        one_line(got)
    judge(name, place, got, whole)


@pytest.mark.parametrize("round_", range(ROUNDS))
@per_quick_command
def test_too_few_descriptors_are_told(name, round_, places):
    usual, whole = normal(name, places)
    for limit in random.Random(f"{name} {round_}").sample(range(4, 10), 2):
        made = places()
        got = made.run(words_of(name), limits={"RLIMIT_NOFILE": limit})
        assert got["code"] in (2, usual["code"]), got
        judge(name, made, got, whole)


# --- signals --------------------------------------------------------------------------------------


ENDS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGXCPU]


@pytest.mark.parametrize("round_", range(ROUNDS))
@pytest.mark.parametrize(
    ("name", "number"),
    [(name, each) for name in ENTRIES for each in ENDS[: 1 if name in SLOW and ROUNDS == 1 else 4]],
)
def test_a_signal_at_any_time_leaves_nothing_half_written(name, number, round_, places):
    usual, whole = normal(name, places)
    rng = random.Random(f"{name} {number} {round_}")
    made = places()
    delay = rng.uniform(0, 1.1 * usual["seconds"])
    got = made.run(words_of(name), signal=[number, delay])
    # -n: before or after the command itself, where the system ends it.
    assert got["code"] in (usual["code"], 128 + number, -number), got
    judge(name, made, got, whole)


COMMAND = [sys.executable, "-c", "from cube24.cli import main; main()"]


@pytest.mark.parametrize("round_", range(4 * ROUNDS))
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_the_packages_are_imported_is_no_traceback(number, round_, place):
    import time

    from processes import in_foreground

    process = subprocess.Popen(
        [*COMMAND, *words_of("encode")], cwd=place.folder, preexec_fn=in_foreground,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    # From when it handles signals: before, the interpreter itself is starting.
    while process.poll() is None:
        status = Path(f"/proc/{process.pid}/status").read_text()
        caught = int(status.partition("SigCgt:")[2].split()[0], 16)
        if caught >> (signal.SIGHUP - 1) & 1:
            break
    time.sleep(random.Random(f"{number} {round_}").uniform(0, 0.3))
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode in (0, 128 + number, -number)
    judge("encode", place, {"late": False, "err": said, "out": ""}, None)
