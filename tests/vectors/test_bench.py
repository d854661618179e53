"""What a bench loads without JSON, read by real simulators and by a player of its own."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest

from cube24.errors import ArgumentError
from cube24.simulator import Program, Unit
from cube24.vectors import manifest, suites
from cube24.vectors.build import build
from cube24.vectors.files import CaseStyle
from cube24.vectors.spec import Item, matmul
from cube24.vectors.verification import mutate, verify

BENCH = CaseStyle(("hex",), 4, bench=True, manifest=2)
NAMES = [
    ("shapes", "matmul-15x17x60"), ("shapes", "conv-3x3-pad"), ("shapes", "conv-2x2-x"),
    ("shapes", "conv-3x1-b2"), ("shapes", "tiles-m"), ("shapes", "loads"),
    ("requant", "ties-columns"), ("requant", "sums-fp16-leaky"), ("requant", "ties-shift-n"),
    ("accumulate", "wrap-instruction-132-full-min"), ("faults", "nd-dense-00000"),
]  # fmt: skip


def written(path, suite, name, style=BENCH):
    item = next(item for item in suites.items(suite, 0, 1) if item.name == name)
    manifest.write(build(suite, 1, item, 1, style), path)
    return json.loads((path / "manifest.json").read_text())


def plusargs_of(folder):
    lines = (folder / "plusargs.txt").read_text().splitlines()
    assert all(line[0] == "+" and not re.search(r"\s", line) for line in lines)
    return dict(line[1:].split("=", 1) for line in lines)


def words_of(path, order, size):
    """The bytes of a memory file by address; what no line writes is not there."""
    found, at = {}, 0
    for line in path.read_text().splitlines():
        if line.startswith("@"):
            at = int(line[1:], 16) * size
        elif not line.startswith("//"):
            assert re.fullmatch(f"[0-9a-f]{{{2 * size}}}", line)
            word = bytes.fromhex(line)
            found |= dict(enumerate(word if order == "big" else word[::-1], at))
            at += size
    return found


def payload(folder, entry):
    lines = [x for x in (folder / entry["name"]).read_text().splitlines() if x[:2] != "//"]
    step = 1 if entry["order"] == "big" else -1
    data = b"".join(bytes.fromhex(line)[::step] for line in lines)
    return data[: int(np.prod(entry["shape"])) * np.dtype(entry["dtype"]).itemsize]


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize(("suite", "name"), NAMES)
def test_a_player_of_the_trace_gets_the_expected_result(tmp_path, suite, name, order):
    style = replace(BENCH, order=order, both_layouts=suite != "faults")
    of = written(tmp_path / "case", suite, name, style)
    folder = tmp_path / "case"
    verify(folder)
    load, run, dump = [
        (words[0], dict(word.split("=", 1) for word in words[1:]))
        for words in map(str.split, (folder / "trace.txt").read_text().splitlines())
    ]
    assert (load[0], run[0], dump[0]) == ("load", "run", "dump")
    memory = words_of(folder / load[1]["file"], load[1]["order"], int(load[1]["word_bytes"]))
    # Each array stands where its entry says.
    placed = [entry for entry in of["files"] if "address" in entry]
    assert {entry["role"] for entry in placed} >= {"activations", "expected"}
    zn = {entry["role"] for entry in of["files"] if entry["layout"] == "zn"}
    assert zn <= {entry["role"] for entry in placed}  # a weight of nd stands in memory as zn
    for entry in placed:
        if entry["role"] != "expected":
            data = payload(folder, entry)
            assert data == bytes(memory[entry["address"] + i] for i in range(len(data)))
    program = Program.load(folder / run[1]["file"])
    config = replace(Unit(of["unit"]["name"]).config, **of["unit"]["config"])
    inputs = {
        buffer.name: np.array([memory[buffer.at + i] for i in range(buffer.bytes)], np.uint8)
        for buffer in program.buffers if buffer.name != "output"
    }  # fmt: skip
    got = Unit(config).execute(program, inputs)["output"].tobytes()
    (expected,) = (entry for entry in placed if entry["role"] == "expected")
    assert (int(dump[1]["at"], 16), int(dump[1]["bytes"])) == (expected["address"], len(got))
    assert dump[1]["expected"] == expected["name"]
    assert got == payload(folder, expected)


@pytest.mark.parametrize(("suite", "name"), NAMES)
def test_plusargs_say_what_the_manifest_says(tmp_path, suite, name):
    of = written(tmp_path / "case", suite, name)
    given, layer, config = plusargs_of(tmp_path / "case"), of["layer"], of["unit"]["config"]
    assert given["case"] == f"{suite}/{name}"
    for key in ("m", "n", "k"):
        assert given[key] == str(layer[key])
    for key in ("overflow", "grain", "index3", "pair20", "requant_shift", "requant_offset"):
        assert given[key] == config[key]
    if given["conv"] == "1":
        for key in ("batch", "cin", "h", "w", "ho", "wo", "offset_x"):
            assert given[key] == str(layer[key])
        for key, value in layer["pads"].items():
            assert given[f"pad_{key}"] == str(value)
        for key, one in (("kernel", "kernel"), ("strides", "stride"), ("dilations", "dilation")):
            assert [given[f"{one}_{axis}"] for axis in "hw"] == [
                str(layer[key][axis]) for axis in "hw"
            ]
    hexes = {entry["role"]: entry for entry in of["files"] if entry["format"] == "hex"}
    for role in ("activations", "dense", "index", "bias", "requant", "accumulators", "expected"):
        assert given.get(role) == (hexes[role]["name"] if role in hexes else None)
    assert given["output"] == hexes["expected"]["dtype"]
    assert given["outcome"] == "result"


def test_a_bit_that_must_be_refused_is_told(tmp_path):
    written(tmp_path / "case", "faults", "nd-index-00003")
    given = plusargs_of(tmp_path / "case")
    assert given["outcome"] == "illegal"
    assert "expected" not in given
    assert "dump" not in (tmp_path / "case" / "trace.txt").read_text()


def test_a_word_that_must_be_refused_is_told(tmp_path):
    item = next(item for item in suites.items("fixpipe", 1, 1) if item.name == "vdeqf16-bit-222")
    made = build("fixpipe", 1, item, 1, BENCH)
    assert made.outcome == {"kind": "error", "error": "RangeError"}
    manifest.write(made, tmp_path / "case")
    given = plusargs_of(tmp_path / "case")
    assert given["outcome"] == "bad-word"
    assert "expected" not in given


def test_where_k_is_cut_is_told(tmp_path):
    spec = matmul(1, 4, 4096, grain="instruction", layout="nd")
    manifest.write(build("accumulate", 1, Item("long", spec), 1, BENCH), tmp_path / "long")
    of = json.loads((tmp_path / "long" / "manifest.json").read_text())
    text = (tmp_path / "long" / "program.txt").read_text()
    # The program says it too: a k for each Mmad, one tile after the other.
    cuts = [int(k) for k in re.findall(r"^mmad_sparse\b.* k=(\d+)", text, re.MULTILINE)]
    assert of["layer"]["mmad_k"] == cuts
    assert len(cuts) > 1
    assert sum(cuts) == 4096
    assert plusargs_of(tmp_path / "long")["mmad_k"] == str(cuts[0])
    short = written(tmp_path / "case", "shapes", "matmul-15x17x60")
    assert "mmad_k" not in short["layer"]  # it adds after each step
    assert "mmad_k" not in plusargs_of(tmp_path / "case")


def test_words_and_rows_of_a_role_are_told(tmp_path):
    style = replace(BENCH, role_words=(("index", 8),), row_strides=(("activations", "word"),),
                    word_bytes=16)  # fmt: skip
    written(tmp_path / "case", "shapes", "matmul-15x17x60", style)
    given = plusargs_of(tmp_path / "case")
    assert (given["word_bytes"], given["index_word_bytes"]) == ("16", "8")
    assert given["activations_row_stride"] == "64"
    text = (tmp_path / "case" / "case.svh").read_text()
    assert "localparam integer CASE_INDEX_WORD_BYTES = 8;" in text
    assert text.count("localparam integer CASE_ACTIVATIONS_ROW_STRIDE = 64;") == 1


@pytest.mark.parametrize("name", ["ties-columns", "ties-half"])
def test_each_localparam_is_there_once_and_words_are_those_of_the_file(tmp_path, name):
    of = written(tmp_path / "case", "requant", name)
    found = re.findall(r"CASE_(\w+) = ([^;]*);", (tmp_path / "case" / "case.svh").read_text())
    assert len(found) == len(dict(found))
    for entry in of["files"]:
        if entry["format"] == "hex" and entry["role"] != "weights":
            role, lines = entry["role"].upper(), (tmp_path / "case" / entry["name"]).read_text()
            words = [line for line in lines.splitlines() if line[:2] != "//"]
            assert dict(found)[f"{role}_WORDS"] == str(len(words)) == str(entry["words"])
            assert dict(found)[f"{role}_WORD_BITS"] == str(4 * len(words[0]))
    (requant,) = (entry for entry in of["files"] if entry["role"] == "requant")
    assert dict(found)["REQUANT_COLUMNS"] == str(requant["shape"][0])
    header = (tmp_path / "case" / "memory.hex").read_text().splitlines()
    assert "// word_bytes: 4" in header
    assert "// order: little" in header


#: Reads each file as $readmemh does, with sizes of case.svh alone, and writes what it holds.
BENCH_SV = """
module bench;
`include "case.svh"
  reg [31:0] memory [0:(CASE_MEMORY_BYTES + 3) / 4 - 1];
  reg [CASE_DENSE_WORD_BITS-1:0] dense [0:CASE_DENSE_WORDS-1];
  reg [CASE_EXPECTED_WORD_BITS-1:0] expected [0:CASE_EXPECTED_WORDS-1];
  integer i;
  initial begin
    $readmemh(CASE_MEMORY_FILE, memory);
    $readmemh(CASE_DENSE_FILE, dense);
    $readmemh(CASE_EXPECTED_FILE, expected);
    for (i = 0; i < CASE_DENSE_WORDS; i = i + 1) $display("dense %h", dense[i]);
    for (i = 0; i < CASE_EXPECTED_WORDS; i = i + 1) $display("expected %h", expected[i]);
    for (i = 0; i < CASE_ACTIVATIONS_BYTES / 4; i = i + 1)
      $display("activations %h", memory[CASE_ACTIVATIONS_ADDRESS / 4 + i]);
    for (i = 0; i < CASE_INDEX_BYTES / 4; i = i + 1)
      $display("index %h", memory[CASE_INDEX_ADDRESS / 4 + i]);
    $display("sizes %0d %0d %0d %s %s", CASE_M, CASE_N, CASE_K, CASE_LAYOUT, CASE_NAME);
    $finish;
  end
endmodule
"""


def tool(name):
    assert shutil.which(name), f"this test needs Debian's {name}: apt install {name}"
    return name


def ran(*command, folder):
    got = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240)
    assert got.returncode == 0, got.stdout + got.stderr
    return got.stdout + got.stderr


def check_said(folder, of, said):
    layer = of["layer"]
    sizes = f"{layer['m']} {layer['n']} {layer['k']} {of['spec']['layout']}"
    assert f"sizes {sizes} {of['suite']}/{of['case']}" in said
    hexes = {entry["role"]: entry for entry in of["files"] if entry["format"] == "hex"}
    for role in ("dense", "expected", "activations", "index"):
        entry = hexes[role]
        if role == "index" and entry["layout"] == "nd":
            continue  # in memory it is zn
        lines = [x for x in (folder / entry["name"]).read_text().splitlines() if x[:2] != "//"]
        assert re.findall(rf"^{role} (\S+)$", said, re.MULTILINE) == lines, role


@pytest.mark.parametrize("name", ["matmul-15x17x60", "conv-3x3-pad", "matmul-31x15x64"])
def test_icarus_reads_it(tmp_path, name):
    of = written(tmp_path / "case", "shapes", name)
    (tmp_path / "case" / "bench.sv").write_text(BENCH_SV)
    folder = tmp_path / "case"
    ran(tool("iverilog"), "-g2012", "-Wall", "-c", "files.f", "-o", "b.vvp", "bench.sv",
        folder=folder)  # fmt: skip
    said = ran("vvp", "-N", "b.vvp", folder=folder)
    assert "WARNING" not in said.upper()
    check_said(folder, of, said)


def test_verilator_reads_it(tmp_path):
    of = written(tmp_path / "case", "shapes", "conv-3x3-pad")
    folder = tmp_path / "case"
    (folder / "bench.sv").write_text(BENCH_SV)
    # -F: what stands in the file is read from its folder on.
    lint = (tool("verilator"), "--lint-only", "-Wall", "-Wno-UNUSED", "-Wno-DECLFILENAME",
            "-Wno-WIDTH")  # fmt: skip
    ran(*lint, "-F", "case/files.f", "case/bench.sv", folder=tmp_path)
    ran("verilator", "--binary", "-Wno-fatal", "-O0", "-f", "files.f", "bench.sv", folder=folder)
    check_said(folder, of, ran("obj_dir/Vbench", folder=folder))


@pytest.mark.parametrize(("suite", "name"), NAMES[::3])
def test_yosys_reads_the_localparams(tmp_path, suite, name):
    of = written(tmp_path / "case", suite, name)
    text = 'module sizes(output [31:0] m);\n`include "case.svh"\nassign m = CASE_M;\nendmodule\n'
    (tmp_path / "case" / "sizes.sv").write_text(text)
    said = ran(
        tool("yosys"), "-Q", "-p", "read_verilog -sv sizes.sv; proc; opt; dump",
        folder=tmp_path / "case",
    )  # fmt: skip
    assert f"connect \\m {of['layer']['m']:d}" in said or f"32'{of['layer']['m']:032b}" in said


@pytest.mark.parametrize("order", ["little", "big"])
def test_srec_cat_reads_altera_mif(tmp_path, order):
    style = CaseStyle(("hex", "altera-mif"), 4, order)
    folder = tmp_path / "case"
    of = written(folder, "shapes", "matmul-15x17x60", style)
    assert shutil.which("srec_cat"), "this test needs Debian's srecord: apt install srecord"
    for entry in of["files"]:
        if entry["format"] != "altera-mif":
            continue
        ran("srec_cat", entry["name"], "-Memory_Initialization_File", "-Output", "got.bin",
            "-Binary", folder=folder)  # fmt: skip
        name = entry["name"].replace(".mif", ".hex")
        lines = [x for x in (folder / name).read_text().splitlines() if x[:2] != "//"]
        # It puts the least significant byte of a word first.
        assert (folder / "got.bin").read_bytes() == b"".join(
            bytes.fromhex(line)[::-1] for line in lines
        )


def test_each_flipped_bit_of_the_files_is_noticed(tmp_path):
    written(tmp_path / "case", "shapes", "matmul-1x1x8")
    found = mutate(tmp_path / "case", 60)
    assert found.missed == ()
    assert found.flipped > 500


@pytest.mark.parametrize(
    "style",
    [{"formats": ("npy",)}, {"word_bytes": 3}, {"word_bytes": 1024}, {"manifest": 1}],
    ids=str,
)
def test_what_a_bench_cannot_have_is_refused(style):
    with pytest.raises(ArgumentError, match="bench"):
        CaseStyle(**{"formats": ("hex",), "bench": True, "manifest": 2, **style})
