"""An option is obeyed or refused, never ignored; and what old spellings do."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cube24 import encoder, simulator
from cube24.cli import run

LEGAL = np.array([[0, 0, 0, 5, 1, 2, 0, 0], [0, 3, 0, 0, 0, 0, -128, 127]], np.int8)
A = np.arange(-40, 40, dtype=np.int8).reshape(10, 8)


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("w.npy", LEGAL)
    np.save("a.npy", A)
    np.save("x.npy", A.reshape(1, 4, 4, 5))
    np.save("f.npy", np.zeros((3, 4, 2, 2), np.int8))
    encoder.encode(LEGAL).save("e")
    encoder.encode(LEGAL).save("e.npz")
    Path("raw.bin").write_bytes(LEGAL.tobytes())


LOOSE = "decode --dense e/dense.npy --index e/index.npy --shape 2x8 -o o.npy"
TIME = "simulate matmul 64x256 48x256 --time-only"
RUN = "simulate matmul a.npy w.npy"
SWEEP = "sweep --m 16 --n 16 --k 64"

IGNORED = [
    ("encode w.npy -o o --name w", "no named members"),
    ("check raw.bin --shape 2x8 --name w", "no named members"),
    ("prune w.npy -o o.npy --name w", "no named members"),
    ("check w.npy --shape 4x4", "has shape (2, 8)"),
    ("check w.npy --dtype int16", "has dtype int8"),
    ("encode w.npy -o o --word-bytes 4", "--word-bytes: npy files have neither words"),
    ("encode w.npy -o o --order little", "--order: npy files"),
    ("encode w.npy -o o.npz --header", "--header: npz files"),
    ("encode w.npy -o o --format bin --no-header", "--no-header: bin files"),
    ("encode w.npy -o o --format npy --word-bytes 2 --order big", "--word-bytes, --order: npy"),
    ("decode e -o o.npy --layout nd", "--layout: e says it all"),
    ("decode e -o o.npy --word-bytes 1", "--word-bytes: e says it all"),
    ("decode e.npz -o o.npy --order big", "--order: e.npz says it all"),
    ("decode e -o o.npy --conv", "--conv: e says it all"),
    ("decode e -o o.npy --shape 2x8", "--shape: e says it all"),
    ("decode e -o o.npy --dense e/dense.npy", "--dense: e says it all"),
    (f"{LOOSE} --word-bytes 2", "--word-bytes: npy and bin have no words"),
    (f"{LOOSE} --order big", "--order: npy and bin have no words"),
    ("info --name w", "no SOURCE"),
    ("info --verify", "no SOURCE"),
    ("info w.npy --verify", "there are no checksums"),
    ("info e --name dense", "one whole"),
    ("info e.npz --name dense", "one whole"),
    ("units --toml", "name the unit"),
    ("units 310B1 --toml --json", "choose one"),
    (f"{RUN} --offset 0", "--offset: --offset, --unsigned, --fp16 and --relu need --scale"),
    (f"{RUN} --unsigned", "need --scale"),
    (f"{RUN} --relu", "need --scale"),
    (f"{RUN} --fp16", "need --scale"),
    (f"{RUN} --scale 0.5 --fp16 --offset 3", "--offset: --fp16 has neither"),
    (f"{RUN} --scale 0.5 --fp16 --unsigned", "--unsigned: --fp16 has neither"),
    (f"{RUN} --cores 2", "--cores: cores and float16 need --time-only"),
    (f"{RUN} --cores 1", "--cores: cores and float16 need --time-only"),
    (f"{RUN} --dtype float16", "need --time-only"),
    (f"{RUN} --sparsity 2", "'--sparsity': '2' is not one of"),
    (f"{RUN} --sparsity 1 --dense", "--sparsity: --dense is the old spelling of it"),
    (f"{TIME} --check", "--check: --time-only gives no output to compare"),
    (f"{TIME} --no-check", "--no-check: --time-only gives no output to compare"),
    (f"{TIME} -o o.npy", "--output: --time-only gives no output to write"),
    (f"{TIME} --dtype float16 --sparsity 1", "float16 runs without sparsity"),
    (f"{TIME} --dtype float16 --scale 0.5", "float16 takes no requant"),
    (f"{TIME} --unit dav-3510 --sparsity 1", "no 2:4 sparsity"),
    ("simulate conv2d 1x8x4x4 8x8x1x1 --time-only --dtype float16",
     "float16 has a time for matrix multiplications only"),
    ("simulate conv2d x.npy f.npy --dtype float16",
     "float16 has a time for matrix multiplications only"),
    ("simulate conv2d x.npy f.npy --data NCHW --data-format NCHW",
     "--data-format: --data is the old spelling of it"),
    (f"{SWEEP} --over m", "--over: there is no drawing without --plot"),
    ("vectors generate o --format npy --word-bytes 2", "--word-bytes: npy and bin have no words"),
    ("vectors generate o --format npy --format bin --order big", "--order: npy and bin have"),
    ("vectors generate o --format mem --no-header", "--no-header: only hex has comments"),
    ("vectors generate o --cluster tcp://h:1 --workers 2", "--workers: a cluster has workers"),
    ("vectors onnx m.onnx o --format bin --word-bytes 2", "--word-bytes: npy and bin"),
    ("vectors compare case got.npy --word-bytes 2", "--word-bytes: npy and bin have no words"),
    ("vectors compare case got.txt --format bin --order big", "--order: npy and bin have no words"),
    ("vectors shrink case -o o --dut-cmd x{case}{got} --got .npy --word-bytes 2",
     "--word-bytes: npy and bin have no words"),
    ("vectors list --seed 3", "No such option"),
    ("vectors coverage e --json c.json", "--json prints JSON and takes no file; write the counts "
     "with --counts c.json"),
    ("vectors coverage e --json=c.json", "with --counts c.json"),
    ("demo -o o", "No such option"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "said"), IGNORED, ids=[line for line, _ in IGNORED])
def test_an_option_that_does_not_apply_is_refused(line, said, capsys):
    before = sorted(map(str, Path().rglob("*")))
    assert run(line.split()) == 2
    got = capsys.readouterr()
    assert said in got.err
    assert got.out == ""
    assert sorted(map(str, Path().rglob("*"))) == before


HARMLESS = [
    "vectors generate o --suite patterns --level 0 --format npy --format hex --word-bytes 4",
    "vectors generate o --suite patterns --level 0 --format mem --word-bytes 4",
    "encode w.npy -o o --overwrite",
    "check w.npy --shape 2x8 --dtype int8",
    f"{RUN} --dtype int8 --sparsity 1 --overwrite",
    f"{TIME} --dtype float16 --sparsity 0",
    f"{TIME} --unit dav-3510",
]


@pytest.mark.parametrize("line", HARMLESS)
def test_an_option_that_says_what_is_so_is_taken(line):
    assert run(line.split()) == 0


@pytest.mark.parametrize("word", ["0", "4097", "-1"])
@pytest.mark.parametrize(
    "command",
    ["encode w.npy -o o --format hex", "decode --dense d.hex --index i.hex --shape 2x8 -o o.npy",
     "vectors generate o", "vectors onnx m.onnx o", "vectors compare case got.hex",
     "vectors shrink case -o o --dut-cmd x{case}{got}"],
)  # fmt: skip
def test_the_bytes_of_a_word_have_one_range_everywhere(command, word, capsys):
    assert run([*command.split(), "--word-bytes", word]) == 2
    said = f"Invalid value for '--word-bytes': {word} is not in the range 1<=x<=4096."
    assert said in capsys.readouterr().err


# --- old spellings --------------------------------------------------------------------------------


def test_the_old_spelling_of_no_sparsity_works_with_a_note(capsys):
    assert run([*RUN.split(), "--sparsity", "0"]) == 0
    new = capsys.readouterr()
    assert run([*RUN.split(), "--dense"]) == 0
    old = capsys.readouterr()
    assert (old.out, old.err) == (new.out, "note: --dense is now --sparsity 0\n")
    assert "(dense)" in new.out
    assert new.err == ""


def test_the_old_spelling_of_the_data_format_works_with_a_note(capsys):
    np.save("x.npy", A.reshape(1, 4, 5, 4))
    order = ["simulate", "conv2d", "x.npy", "f.npy"]
    assert run([*order, "--data-format", "NHWC", "-o", "new.npy"]) == 0
    new = capsys.readouterr()
    assert run([*order, "--data", "NHWC", "-o", "old.npy"]) == 0
    old = capsys.readouterr()
    assert old.err == "note: --data is now --data-format\n"
    assert old.out.replace("old.npy", "new.npy") == new.out
    assert np.load("new.npy").shape == (1, 3, 4, 3)
    assert Path("old.npy").read_bytes() == Path("new.npy").read_bytes()


def test_old_spellings_are_not_in_the_help(capsys):
    for command in ("matmul", "fc", "conv2d"):
        assert run(["simulate", command, "--help"]) == 0
        assert not re.search(r"--(dense|data)\b(?!-)", capsys.readouterr().out)


# --- what depends on the version of click ---------------------------------------------------------


def test_without_conv_a_weight_is_a_matrix(capsys):
    assert run(["check", "w.npy"]) == 0
    assert "(matrix)" in capsys.readouterr().out
    assert run(["decode", *LOOSE.split()[1:]]) == 0
    assert "matrix 2x8" in capsys.readouterr().out


@pytest.mark.parametrize("module", ["cube24", "cube24.cli"])
def test_the_package_runs_as_a_module(module):
    got = subprocess.run(
        [sys.executable, "-m", module, "check", "w.npy"], capture_output=True, text=True
    )
    assert (got.returncode, got.stderr) == (0, "")
    assert "legal 2:4" in got.stdout


# --- JSON -----------------------------------------------------------------------------------------


def test_json_is_what_the_text_says(capsys):
    assert run(["units", "--json"]) == 0
    units = json.loads(capsys.readouterr().out)
    assert [unit["name"] for unit in units] == ["dav-2201", "dav-3510", "310B1"]
    assert [unit["sparsity"] for unit in units] == [True, False, True]
    assert run(["units", "310B1", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["l1_bytes"]["value"] == 1 << 20
    assert shown["l1_bytes"]["unit"] == "bytes"
    assert shown["overflow"]["source"] == "OPEN"


def test_hazards_are_told_as_json(capsys):
    program = "set_flag of=M to=MTE1 id=0\nset_flag of=M to=MTE1 id=0\n"
    Path("p.txt").write_text(program)
    assert run(["hazards", "p.txt"]) == 1
    assert "set twice" in capsys.readouterr().out
    assert run(["hazards", "p.txt", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["clean"] is False
    (twice,) = told["double_sets"]
    assert (twice["first"], twice["second"], twice["wait"]) == (0, 1, None)
    assert twice["instruction"].startswith("set_flag of=M to=MTE1")


# --- info -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["npy", "hex", "bin", "npz"])
def test_info_reads_no_payload_unless_it_is_to_verify(form, capsys):
    target = Path("t.npz" if form == "npz" else "t")
    weight = np.tile(LEGAL, (64, 64))  # so large that a header is not all of a file
    encoder.encode(weight).save(target, format=form)
    assert run(["info", str(target), "--verify"]) == 0
    whole = capsys.readouterr().out.splitlines()
    assert whole[-1] == "checksums:  right"
    file = target if form == "npz" else target / f"dense.{form}"
    data = file.read_bytes()
    # A row of dense begins 0 5 1 2; each byte is a line of hex.
    dense = b"00\n05\n" if form == "hex" else bytes([0, 5, 1, 2])
    assert dense in data
    wrong = b"0x\n05\n" if form == "hex" else bytes([9, 5, 1, 2])
    file.write_bytes(data.replace(dense, wrong, 1))
    assert run(["info", str(target)]) == 0
    assert capsys.readouterr().out.splitlines() == whole[:-1]
    assert run(["info", str(target), "--verify"]) == 2
    got = capsys.readouterr()
    assert got.out == ""
    assert re.search("checksum|CRC|x or z digits", got.err)


@pytest.mark.parametrize("other", ["t.json", "./t.json", "here/t.json"])
@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]])
def test_two_results_in_one_file_are_refused_before_the_work(other, overwrite, capsys):
    Path("here").symlink_to(".")
    line = ["simulate", "matmul", "16x64", "16x64", "--time-only", "--trace", "t.json", "--csv"]
    assert run([*line, other, *overwrite]) == 2
    assert "two results would be written there" in capsys.readouterr().err
    assert not Path("t.json").exists()


@pytest.mark.parametrize(
    "line",
    [
        "simulate matmul a.npy w.npy -o a.npy",
        "simulate matmul a.npy w.npy --csv w.npy",
        "simulate matmul a.npy w.npy --bias b.npy --report link.npy",
        "simulate matmul a.npy encoded --trace encoded/dense.npy",
        "simulate matmul a.npy w.npy --unit u.toml --program u.toml",
        "sweep --m 16 --n 16 --k 64 --unit u.toml -o u.toml",
        "vectors compare set/requant/CASE got.npy --junit got.npy",
        "vectors coverage set --counts set/requant/CASE/manifest.json",
    ],
)
def test_no_result_replaces_what_is_read(line, capsys):
    np.save("a.npy", np.ones((4, 8), np.int8))
    np.save("w.npy", LEGAL)
    np.save("b.npy", np.ones(len(LEGAL), np.int32))
    Path("link.npy").hardlink_to("b.npy")
    encoder.encode(LEGAL).save("encoded")
    simulator.UnitConfig().save("u.toml")
    if line.startswith("vectors"):
        assert run(["vectors", "generate", "set", "--suite", "requant", "--level", "0"]) == 0
        shutil.copy(next(Path("set").glob("*/*/expected.npy")), "got.npy")
        case = next(path.name for path in sorted(Path("set/requant").iterdir()))
        line = line.replace("CASE", case)
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    capsys.readouterr()
    assert run([*line.split(), "--overwrite"]) == 2
    assert "would be lost" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before
