"""The command line of golden vectors: exit codes, messages, files whole or not at all."""

import errno
import json
import os
import pty
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from cube24.cli import run

COMMAND = [sys.executable, "-c", "from cube24.cli import main; main()"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("vectors")
    for suite in ("requant", "patterns"):
        order = ["vectors", "generate", str(root / suite), "--suite", suite, "--level", "0"]
        assert run(order) == 0
    return root


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def case(made, tmp_path):
    """A case that may be damaged."""
    shutil.copytree(made / "patterns" / "patterns" / "walk-nd-n1", tmp_path / "case")
    return Path("case")


def flip(path: Path, at: int = -2) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_generate_says_what_it_did_and_goes_on(capsys):
    order = ["vectors", "generate", "set", "--suite", "patterns", "--level", "0", "--seed", "5"]
    assert run(order) == 0
    assert capsys.readouterr().out == "written: 3 cases to set; 0 were there already\n"
    shutil.rmtree("set/patterns/walk-nd-n1")
    assert run([*order, "--workers", "2"]) == 0
    assert capsys.readouterr().out == "written: 1 cases to set; 2 were there already\n"
    assert run([*order, "--shard", "1/3"]) == 0
    assert capsys.readouterr().out == "written: 0 cases to set; 1 were there already\n"


def test_files_have_the_formats_and_words_that_were_asked_for():
    order = ["vectors", "generate", "set", "--suite", "patterns", "--level", "0"]
    order += ["--word-bytes", "4", "--order", "big", "--no-header", "--steps"]
    formats = ("npy", "hex", "bin", "mem", "coe", "altera-mif")
    assert run([*order, *(word for name in formats for word in ("--format", name))]) == 0
    folder = Path("set/patterns/walk-nd-n1")
    suffixes = {path.suffix for path in folder.glob("dense.*")}
    assert suffixes == {".npy", ".hex", ".bin", ".mem", ".coe", ".mif"}
    data = (folder / "dense.bin").read_bytes()
    words = [data[i : i + 4].hex() for i in range(0, len(data), 4)]
    assert (folder / "dense.hex").read_text() == "".join(f"{word}\n" for word in words)
    assert (folder / "steps" / "0000-l0a.npy").exists()


def test_list_names_the_cases_that_generate_writes(made, capsys):
    assert run(["vectors", "list", "--suite", "requant", "--level", "0"]) == 0
    listed = capsys.readouterr().out.split()
    root = made / "requant"
    assert sorted(listed) == sorted(
        str(path.parent.relative_to(root)) for path in root.rglob("manifest.json")
    )


def test_verify_is_0_for_good_cases_and_1_for_a_bad_one(made, case, capsys):
    assert run(["vectors", "verify", str(made / "patterns")]) == 0
    assert capsys.readouterr().out == "verified: 3 of 3 cases\n"
    flip(case / "dense.hex")
    assert run(["vectors", "verify", "case", str(made / "patterns")]) == 1
    said = capsys.readouterr().out
    assert "bad: " in said
    assert "dense.hex" in said
    assert said.endswith("verified: 3 of 4 cases\n")


def test_verify_mutate_counts_the_flipped_bits(case, capsys):
    assert run(["vectors", "verify", "case", "--mutate", "3"]) == 0
    said = capsys.readouterr().out
    files = len(list(case.iterdir()))
    flipped = int(said.split("flipped: ")[1].split()[0])
    assert 2 * files <= flipped <= 3 * files
    assert said.endswith(" bits, of which 0 were not noticed\n")


def test_bits_that_are_not_noticed_are_named_and_fail(case, capsys, monkeypatch):
    from cube24.vectors import verification

    monkeypatch.setattr(verification, "verify", lambda folder: None)
    assert run(["vectors", "verify", "case", "--mutate", "1"]) == 1
    said = capsys.readouterr().out
    assert "not noticed: case: dense.hex bit " in said
    assert f"of which {len(list(case.iterdir()))} were not noticed" in said


def test_compare_is_0_for_equal_and_1_for_different_results(case, capsys):
    assert run(["vectors", "compare", "case", "case/expected.hex"]) == 0
    assert "equal" in capsys.readouterr().out
    got = np.load("case/expected.npy")
    got[1, 0] += 1
    np.save("got.npy", got)
    order = ["vectors", "compare", "case", "got.npy", "--junit", "got.xml"]
    assert run([*order, "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["equal"], told["first"]) == (False, [1, 0])
    assert ET.parse("got.xml").getroot().get("failures") == "1"
    before = Path("got.xml").read_bytes()
    assert run(order) == 2  # it is there
    assert "is there already" in capsys.readouterr().err
    assert run([*order, "--overwrite"]) == 1
    assert Path("got.xml").read_bytes() == before


def test_dumps_of_any_suffix_and_words_are_read_where_they_are_named(case):
    data = np.load("case/expected.npy").tobytes()
    words = [data[i : i + 2][::-1].hex() for i in range(0, len(data), 2)]
    Path("dump.txt").write_text("// a header\n" + " ".join(words).upper())
    order = ["vectors", "compare", "case", "dump.txt"]
    assert run(order) == 2
    assert run([*order, "--format", "hex"]) == 2
    assert run([*order, "--format", "hex", "--word-bytes", "2"]) == 0


def test_cycles_inform_unless_they_are_asked_to_fail(case, capsys):
    right = json.loads((case / "cycles.json").read_text())["cycles"]
    order = ["vectors", "compare", "case", "case/expected.hex"]
    assert run([*order, "--cycles", str(2 * right)]) == 0
    assert "(+100.0 %)" in capsys.readouterr().out
    assert run([*order, "--cycles", str(2 * right), "--cycles-within", "100"]) == 0
    for cycles in (right // 2, 2 * right + 1):
        assert run([*order, "--cycles", str(cycles), "--cycles-within", "5"]) == 1
        assert "further off than 5 %" in capsys.readouterr().err
    assert run([*order, "--cycles-within", "5"]) == 2
    assert "needs --cycles" in capsys.readouterr().err


def test_coverage_prints_writes_and_merges(made, capsys):
    order = ["vectors", "coverage", str(made / "patterns")]
    assert run([*order, "--counts", "c.json", "--markdown", "c.md"]) == 1  # there are holes
    assert "written: c.json" in capsys.readouterr().out
    one = json.loads(Path("c.json").read_text())
    assert run([*order, "--counts", "d.json", "--merge", "c.json"]) == 1
    two = json.loads(Path("d.json").read_text())
    assert two["cases"] == 2 * one["cases"] == 6
    assert Path("c.md").read_text().startswith("#") or "|" in Path("c.md").read_text()
    Path("bad.json").write_text("{}")
    assert run([*order, "--merge", "bad.json"]) == 2
    assert run([*order, "--counts", "c.json"]) == 2


DUT = """
import sys, numpy as np
from pathlib import Path
folder, got = sys.argv[1:]
want = np.load(Path(folder) / "expected.npy")
want[-1, -1] += 1
Path(got).write_text("".join(f"{b:02x}\\n" for b in want.astype("<i4").tobytes()))
"""


def test_shrink_writes_a_smaller_case(case, capsys):
    Path("dut.py").write_text(DUT)
    command = f"'{sys.executable}' dut.py {{case}} {{got}}"
    order = ["vectors", "shrink", "case", "--dut-cmd", command, "-o", "small"]
    assert run(order) == 0
    said = capsys.readouterr()
    assert said.out.startswith("written: small/manifest.json after ")
    assert "left: 1 rows, 1 columns, 1 groups\n" in said.err
    assert re.search(r"left: 1 rows, 1 columns, 1 groups, \d values made plainer\n$", said.err)
    assert run(["vectors", "verify", "small"]) == 0
    assert run(order) == 2  # it is there
    assert "small exists" in capsys.readouterr().err


def test_layers_of_an_onnx_model_become_cases(capsys):
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(3)
    weights = {
        "w": rng.normal(size=(5, 3, 3, 3)).astype(np.float32),
        "v": rng.normal(size=(3, 4)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["y"]),
        helper.make_node("Relu", ["y"], ["z"]),
        helper.make_node("MatMul", ["z", "v"], ["a"]),
        helper.make_node("MatMul", ["x", "x"], ["b"]),
    ]
    graph = helper.make_graph(
        nodes, "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 5, 5])],
        [
            helper.make_tensor_value_info("a", TensorProto.FLOAT, [1, 5, 3, 4]),
            helper.make_tensor_value_info("b", TensorProto.FLOAT, [1, 3, 5, 5]),
        ],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), "m.onnx")
    order = ["vectors", "onnx", "m.onnx", "set", "--format", "bin", "--seed", "8"]
    assert run(order) == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["onnx-0000-conv", "5x3x3x3", "taken"],
        ["onnx-0002-matmul", "4x3", "taken"],
        ["onnx-0003-matmul", "its", "weights", "are", "no", "constant"],
        ["2", "cases", "in", "set"],
    ]
    assert run(["vectors", "verify", "set"]) == 0
    assert run(order) == 0  # what is there is kept
    assert run(["vectors", "onnx", "m.onnx", "set", "--size", "0"]) == 2
    Path("bad.onnx").write_bytes(b"no model")
    assert run(["vectors", "onnx", "bad.onnx", "set"]) == 2
    assert "no readable ONNX model" in capsys.readouterr().err


BAD = [
    (["vectors", "generate", "set", "--suite", "none"], "none"),
    (["vectors", "generate", "set", "--level", "3"], "3"),
    (["vectors", "generate", "set", "--seed", "-1"], "-1"),
    (["vectors", "generate", "set", "--format", "xml"], "xml"),
    (["vectors", "generate", "set", "--format", "hex", "--format", "hex"], "each once"),
    (["vectors", "generate", "set", "--word-bytes", "0"], "word"),
    (["vectors", "generate", "set", "--manifest", "1"], "magnitude, fixpipe have version 2"),
    (["vectors", "generate", "set", "--suite", "shapes", "--role-words", "step=2"],
     "without --steps"),
    (["vectors", "generate", "set", "--shard", "8/8"], "8/8"),
    (["vectors", "generate", "set", "--shard", "0/0"], "0/0"),
    (["vectors", "generate", "set", "--shard", "half"], "I/N"),
    (["vectors", "generate", "set", "--workers", "0"], "0"),
    (["vectors", "generate", "case", "--level", "0"], "holds other things"),
    (["vectors", "generate", "case/dense.hex", "--level", "0"], "dense.hex"),
    (["vectors", "verify", "nothing"], "nothing"),
    (["vectors", "verify", "case", "--mutate", "some"], "some"),
    (["vectors", "verify", "case", "--mutate", "0"], "0"),
    (["vectors", "verify"], "PATHS"),
    (["vectors", "compare", "case", "nothing.hex"], "nothing.hex"),
    (["vectors", "compare", "nothing", "case/expected.hex"], "nothing"),
    (["vectors", "compare", "case", "case/dense.hex"], "dense.hex"),
    (["vectors", "compare", "case", "case/manifest.json"], "name the format"),
    (["vectors", "compare", "case", "case/expected.hex", "--word-bytes", "3"], "expected.hex"),
    (["vectors", "coverage", "nothing"], "nothing"),
    (["vectors", "shrink", "case", "--dut-cmd", "true", "-o", "s"], "{case}"),
    (["vectors", "shrink", "case", "--dut-cmd", "/no {case} {got}", "-o", "s"], "No such file"),
    (["vectors", "shrink", "nothing", "--dut-cmd", "x {case} {got}", "-o", "s"], "nothing"),
    (["vectors", "shrink", "case", "--dut-cmd", "cp {case}/expected.hex {got}", "-o", "s"],
     "does not fail"),
    (["vectors", "none"], "none"),
]  # fmt: skip


@pytest.mark.parametrize(("order", "said"), BAD, ids=lambda value: str(value)[:60])
def test_bad_input_is_explained_and_exits_with_2(case, capsys, order, said):
    before = sorted(str(path) for path in Path().rglob("*"))
    assert run(order) == 2
    got = capsys.readouterr()
    assert said in got.err
    assert "Traceback" not in got.err
    assert sorted(str(path) for path in Path().rglob("*")) == before


@pytest.mark.parametrize(
    "name", ["generate", "onnx", "list", "verify", "compare", "coverage", "shrink"]
)  # fmt: skip
def test_help_says_what_each_option_is_for(capsys, name):
    assert run(["vectors", "--help"]) == 0
    assert name in capsys.readouterr().out
    assert run(["vectors", name, "--help"]) == 0
    lines = capsys.readouterr().out.split("Options:")[1].splitlines()
    for line, below in zip(lines, [*lines[1:], ""], strict=True):
        if line.startswith("  -"):  # its text is in the column beside its name, or below that
            text = line[3:].partition("  ")[2].strip() or below[10:].strip()
            assert text, line
            assert not text.startswith("["), line  # a default explains nothing


def test_a_read_only_folder_is_told(case, monkeypatch, capsys):
    def refuse(self, *args, **options):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert run(["vectors", "generate", "set", "--suite", "patterns", "--level", "0"]) == 2
    assert "Permission denied" in capsys.readouterr().err


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_has_a_rate_and_the_time_left(terminal):
    # The time left is shown after a second: of a clock that is fast, however fast the machine is.
    script = (
        "import time; clock = time.time; time.time = lambda: 50 * clock()\n"
        "from cube24.cli import main, progress; progress.LINES = 0.05; main()"
    )
    order = [sys.executable, "-c", script, "vectors", "generate", "set", "--suite", "random",
             "--level", "1", "--shard", "0/30"]  # fmt: skip
    if not terminal:
        got = subprocess.run(order, capture_output=True, text=True, check=True)
        assert got.stdout.startswith("written: 334 cases")
        lines = got.stderr.splitlines()
        assert lines
        for line in lines:
            words = line.split()
            assert words[:1] + words[2:4] == ["generate:", "of", "334,"]
            assert words[5:7] == ["cases", "a"]
            assert words[-2:] == ["s", "left"]
            assert 0 < int(words[1]) <= 334
        return
    ours, theirs = pty.openpty()
    process = subprocess.Popen(order, stdout=subprocess.PIPE, stderr=theirs, text=True)
    os.close(theirs)
    shown = b""
    with suppress(OSError):  # the terminal is gone when the program ends
        while piece := os.read(ours, 1 << 16):
            shown += piece
    os.close(ours)
    assert process.communicate(timeout=60)[0].startswith("written: 334 cases")
    assert b"334/334" in shown
    assert b"cases a second" in shown
    assert re.search(rb"\d\d:\d\d:\d\d", shown)


#: Numbers that no one means, each refused before any work.
NUMBERS = [
    (["generate", "set", "--seed", "9" * 5000], "--seed"),
    (["generate", "set", "--seed", "9" * 4000], "seed of more than 128 bits"),
    (["generate", "set", "--seed", str(1 << 64)], "it is 0 to 2^64 - 1"),
    (["generate", "set", "--shard", "9" * 5000 + "/4"], "I/N"),
    (["generate", "set", "--shard", "0/" + "9" * 4000], "1 to 2^31 shards"),
    (["generate", "set", "--shard", f"-{'9' * 40}/4"], "shards count from 0"),
    (["generate", "set", "--shard", "4/4"], "shards count from 0, so 4 shards are 0/4 to 3/4"),
    (["generate", "set", "--shard", "4/0"], "4/0"),
    (["generate", "set", "--workers", "9" * 4000], "workers"),
    (["verify", "case", "--mutate", "9" * 5000], "--mutate"),
    (["compare", "case", "case/expected.hex", "--cycles", "9" * 400], "--cycles"),
    (["compare", "case", "case/expected.hex", "--cycles", "9" * 5000], "--cycles"),
    *[
        (["compare", "case", "case/expected.hex", "--cycles", "5", "--cycles-within", value], said)
        for value, said in (
            ("nan", "no finite number"), ("inf", "no finite number"), ("1e999", "no finite number"),
            ("NaN", "no finite number"), ("-1", "cycles-within"), ("-inf", "cycles-within"),
        )
    ],
    *[
        (["shrink", "case", "-o", "s", "--dut-cmd", "x {case} {got}", "--timeout", value], said)
        for value, said in (
            ("nan", "no finite number"), ("inf", "no finite number"), ("0", "timeout"),
            ("-1", "timeout"),
        )
    ],
    (["shrink", "case", "-o", "s", "--dut-cmd", "x {case} {got}", "--limit", "0"], "limit"),
]  # fmt: skip


@pytest.mark.parametrize(("order", "said"), NUMBERS, ids=lambda value: str(value)[:60])
def test_numbers_that_no_one_means_are_refused(case, capsys, order, said):
    before = sorted(str(path) for path in Path().rglob("*"))
    assert run(["vectors", *order]) == 2
    got = capsys.readouterr()
    assert said in got.err
    assert sorted(str(path) for path in Path().rglob("*")) == before


def test_a_timeout_beyond_all_clocks_is_none(case):
    order = ["vectors", "shrink", "case", "-o", "s", "--timeout", "1e300", "--limit", "1"]
    Path("dut.py").write_text(DUT)
    assert run([*order, "--dut-cmd", f"'{sys.executable}' dut.py {{case}} {{got}}"]) == 0


def test_huge_images_of_a_model_are_no_cases(tmp_path, capsys):
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weight = numpy_helper.from_array(np.ones((4, 4, 3, 3), np.float32), "w")
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 4, 8, None]) for n in "xy")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"])], "g", [x], [y], [weight]
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), "m.onnx")
    for size in ("1000000", "9" * 60):
        assert run(["vectors", "onnx", "m.onnx", "set", "--size", size]) == 0
        assert "the unit cannot run it" in capsys.readouterr().out
    assert run(["vectors", "onnx", "m.onnx", "set", "--size", "9" * 5000]) == 2
    assert not list(Path().rglob("manifest.json"))


@pytest.mark.parametrize("number", ["EACCES", "EMFILE", "EIO", "ENOSPC"])
def test_what_the_machine_lacks_is_no_fault_of_the_case(made, capsys, monkeypatch, number):
    code = getattr(errno, number)

    real = os.open

    def refuse(path, *rest, **more):
        if str(path).endswith("weights.npy"):
            raise OSError(code, os.strerror(code), str(path))
        return real(path, *rest, **more)

    monkeypatch.setattr(os, "open", refuse)
    assert run(["vectors", "verify", str(made / "patterns")]) == 2
    got = capsys.readouterr()
    assert os.strerror(code) in got.err
    assert got.out == "verified: 0 of 3 cases\n"
    assert "bad" not in got.out


def test_no_space_for_the_copy_of_mutate_is_no_bit_that_was_noticed(case, capsys, monkeypatch):
    write = Path.write_bytes

    def full(self, data):
        if self.parent.name == "case" and self.name == "dense.hex":
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(self, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    assert run(["vectors", "verify", "case", "--mutate", "3"]) == 2
    assert "cannot write scratch files: No space left" in capsys.readouterr().err


def test_no_memory_for_one_case_keeps_no_other_from_being_looked_at(made, capsys, monkeypatch):
    from cube24.vectors import verification

    build = verification.build

    def lacking(suite, version, item, *rest):
        if item.name == "walk-nd-n1":
            raise MemoryError
        return build(suite, version, item, *rest)

    monkeypatch.setattr(verification, "build", lacking)
    assert run(["vectors", "verify", str(made / "patterns")]) == 2
    got = capsys.readouterr()
    assert "not enough memory" in got.err
    assert got.out == "verified: 2 of 3 cases\n"


def model(path, *shapes):
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes = [helper.make_node("MatMul", ["x", f"w{i}"], [f"y{i}"]) for i in range(len(shapes))]
    weights = [
        numpy_helper.from_array(np.full(shape, 1 + i, np.float32), f"w{i}")
        for i, shape in enumerate(shapes)
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, None])
    y = helper.make_tensor_value_info("y0", TensorProto.FLOAT, [None, None])
    graph = helper.make_graph(nodes, "g", [x], [y], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


def everything(root):
    return {str(p): p.read_bytes() for p in sorted(Path(root).rglob("*")) if p.is_file()}


def test_a_second_model_is_refused_in_a_folder_with_cases_of_another_one(capsys):
    for name, shapes in {
        "two.onnx": [(8, 4), (4, 4)], "other.onnx": [(8, 5)], "one.onnx": [(8, 4)],
    }.items():  # fmt: skip
        model(name, *shapes)
    order = ["vectors", "onnx", "two.onnx", "set", "--format", "bin"]
    assert run(order) == 0
    before = everything("set")
    for name in ("other.onnx", "one.onnx"):
        capsys.readouterr()
        assert run(["vectors", "onnx", name, "set", "--format", "bin"]) == 2
        got = capsys.readouterr()
        assert "is there already" in got.err
        assert got.out == ""
    for more in (["--seed", "9"], ["--size", "2"], ["--word-bytes", "2", "--format", "hex"]):
        assert run([*order, *more]) == 2
    assert everything("set") == before
    assert run(order) == 0
    assert everything("set") == before
    # Another prefix is another set of cases.
    assert run(["vectors", "onnx", "other.onnx", "set", "--prefix", "other"]) == 0
    assert everything("set").items() > before.items()


def test_a_folder_of_the_users_is_not_replaced_by_a_layer(capsys):
    model("a.onnx", (8, 4))
    for make in (Path.mkdir, lambda path: path.write_text("mine")):
        folder = Path("set/network/onnx-0000-matmul")
        folder.parent.mkdir(parents=True)
        make(folder)
        assert run(["vectors", "onnx", "a.onnx", "set"]) == 2
        assert "onnx-0000-matmul: is there already" in capsys.readouterr().err
        assert folder.exists()
        shutil.rmtree("set")
