"""The examples that read a case with nothing but its files."""

import hashlib
import itertools
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cube24.simulator import PRESETS, Conv2d, Matmul, Unit
from cube24.simulator.chip import core_program
from cube24.simulator.isa import Mmad
from cube24.vectors import suites
from cube24.vectors.build import build
from cube24.vectors.files import CaseStyle
from cube24.vectors.manifest import write
from cube24.vectors.spec import Item, matmul

EXAMPLES = Path(__file__).parents[2] / "examples"
GOLDEN = Path(__file__).parents[2] / "vectors" / "golden"
CASES = sorted(
    path.parent for path in GOLDEN.rglob("manifest.json") if path.parent.name != "bad"
)  # fmt: skip
ITEMS = [item for item in suites.items("shapes", 0, 3) if item.spec["operation"] == "matmul"]


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    binary = tmp_path_factory.mktemp("c") / "read_case"
    source = EXAMPLES / "c" / "read_case.c"
    # As strict as compilers are: it stops at what it reads beside its arrays.
    flags = ["-std=c99", "-O1", "-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Wpedantic"]
    flags += ["-Werror", "-fsanitize=address,undefined", "-fno-sanitize-recover"]
    subprocess.run(["cc", *flags, source, "-o", binary], check=True)
    return {"c": [str(binary)], "python": [sys.executable, str(EXAMPLES / "read_case.py")]}


def run(program, *folders):
    got = subprocess.run([*program, *map(str, folders)], capture_output=True, text=True)
    return got.returncode, got.stdout.splitlines()


@pytest.mark.parametrize("language", ["c", "python"])
def test_each_case_of_the_committed_set_is_read_and_right(programs, language):
    code, lines = run(programs[language], *CASES)
    said = dict(line.split(": ", 1) for line in lines)
    assert code == 0
    assert len(said) == len(CASES) == 287
    for folder in CASES:
        suite, text = folder.parent.name, said[str(folder)]
        if re.search('"kind": "error"', (folder / "manifest.json").read_text()):
            # Right files beside a damaged copy; or a flipped bit that a device must refuse.
            how = (
                r"0 of \d+ results differ; reading bad/ must give \w+"
                if suite == "negative"
                else "refused: an index of 3 in .*; the case expects .*IllegalIndexError.*"
            )
        else:
            how = r"0 of [1-9]\d* results differ"
        assert re.fullmatch(how, text), (folder, text)


@pytest.mark.parametrize("language", ["c", "python"])
@pytest.mark.parametrize(
    "style",
    [
        CaseStyle(("hex",)), CaseStyle(("hex",), 3, "big"), CaseStyle(("npy", "hex"), 32),
        CaseStyle(("hex", "bin"), 8, "big", header=False), CaseStyle(("hex",), 4, steps=True),
    ],
    ids=str,
)  # fmt: skip
def test_words_of_all_sizes_are_read(tmp_path, programs, language, style):
    for suite, name in [
        ("shapes", "matmul-15x17x60"), ("shapes", "matmul-31x15x64"), ("shapes", "conv-3x3-pad"),
        ("shapes", "loads"), ("requant", "ties-fp16-columns"), ("requant", "sums-leaky"),
    ]:  # fmt: skip
        (item,) = (item for item in suites.items(suite, 0, 3) if item.name == name)
        write(build(suite, 1, item, 3, style), tmp_path / name)
    folders = sorted(tmp_path.iterdir())
    code, lines = run(programs[language], *folders)
    assert (code, len(lines)) == (0, 6)
    assert all(re.search(r": 0 of [1-9]\d* results differ$", line) for line in lines)


def test_bin_alone_is_read_in_python(tmp_path, programs):
    write(build("shapes", 1, ITEMS[0], 3, CaseStyle(("bin",))), tmp_path / "case")
    code, (line,) = run(programs["python"], tmp_path / "case")
    assert (code, line.split(": ")[1].split()[0]) == (0, "0")
    code, (line,) = run(programs["c"], tmp_path / "case")
    assert (code, "not in hex" in line) == (2, True)


#: Cases of all kinds of arithmetic, and a bit of the first word of each file that must show.
SHOWN = [
    ("shapes/matmul-15x17x60", ("dense", "index", "activations", "expected")),
    ("shapes/conv-3x3-pad", ("dense", "activations", "expected")),
    ("accumulate/saturate-instruction-132-full-max", ("expected", "bias")),
    ("requant/sums-columns", ("expected", "requant")),
    ("requant/ties-fp16", ("expected", "requant")),
]


@pytest.mark.parametrize("language", ["c", "python"])
@pytest.mark.parametrize(("name", "role"), [(name, of) for name, roles in SHOWN for of in roles])
def test_a_changed_word_is_noticed(tmp_path, programs, language, name, role):
    """Not each bit shows in a result; of the bits of the first words one does, whatever it is."""
    shutil.copytree(GOLDEN / name, tmp_path / "case")
    path = tmp_path / "case" / f"{role}.hex"
    good = path.read_text()
    codes = set()
    for bit in range(8):
        words = good.splitlines()
        words[0] = f"{int(words[0], 16) ^ 1 << 4 * bit:08x}"
        path.write_text("\n".join(words) + "\n")
        codes.add(run(programs[language], tmp_path / "case")[0])
    assert 1 in codes
    assert codes <= {0, 1}


@pytest.mark.parametrize("language", ["c", "python"])
@pytest.mark.parametrize(
    "break_it",
    [
        lambda words: words[:-1], lambda words: [*words, "00000000"],
        lambda words: ["0000000x", *words[1:]], lambda words: ["00", *words[1:]],
    ],
    ids=["short", "long", "undriven", "width"],
)  # fmt: skip
def test_what_cannot_be_read_is_said_and_the_others_are_read(
    tmp_path, programs, language, break_it
):
    shutil.copytree(GOLDEN / "shapes" / "matmul-15x17x60", tmp_path / "bad")
    path = tmp_path / "bad" / "dense.hex"
    path.write_text("\n".join(break_it(path.read_text().splitlines())) + "\n")
    code, lines = run(
        programs[language], tmp_path / "bad", tmp_path / "none", GOLDEN / "shapes" / "loads"
    )
    assert code == 2
    assert len(lines) == 3
    assert "results differ" not in lines[0] + lines[1]
    assert re.search(r": 0 of [1-9]\d* results differ$", lines[2])


#: A unit that saturates after each instruction, and sums that leave int32 within K.
SATURATING = {
    "grain": "instruction", "bias": [2**31 - 1], "weights": "max", "activations": "edges",
}  # fmt: skip


@pytest.mark.parametrize("language", ["c", "python"])
def test_mmads_are_as_the_manifest_tells_and_without_that_refused(tmp_path, programs, language):
    names = [f"saturate-instruction-4096-{name}" for name in ("full-max", "uniform-edges")]
    items = {item.name: item for item in suites.items("accumulate", 1, 1)}
    chosen = [items[name] for name in names if name in items]
    # Here the first of two Mmads, of 256 of k, saturates, and the second brings the sum back.
    chosen.append(Item("two", matmul(128, 16, 320, **SATURATING)))
    assert len(chosen) > 1
    for item in chosen:
        for version in (1, 2):
            style = CaseStyle(("hex",), manifest=version)
            write(build("accumulate", 1, item, 1, style), tmp_path / f"{item.name}-{version}")
    for item in chosen:
        code, (line,) = run(programs[language], tmp_path / f"{item.name}-2")
        assert (code, re.search(r": 0 of [1-9]\d* results differ$", line) is not None) == (0, True)
        code, (line,) = run(programs[language], tmp_path / f"{item.name}-1")
        assert (code, "version 1 does not tell its K" in line) == (2, True)


@pytest.mark.parametrize("preset", [name for name, of in PRESETS.items() if of.sparsity])
def test_where_readers_take_one_mmad_for_granted_there_is_one(preset):
    unit = Unit(preset)
    layers = [
        Matmul(m, n, k)
        for m, n, k in itertools.product((1, 16, 17, 64), (1, 16, 33, 64), range(4, 324, 8))
    ]
    layers += [
        Conv2d(1, cin, size, size, n, kernel, pads=pads)
        for cin, kernel in ((1, (3, 3)), (32, (1, 1)), (33, (1, 5)), (64, (2, 2)), (320, (1, 1)))
        for size in (5, 7) for n in (1, 33, 64) for pads in ((0, 0, 0, 0), (0, 1, 1, 0))
    ]  # fmt: skip
    for layer in layers:
        assert layer.k <= 320
        if layer.batch * layer.m <= 64:
            program = core_program(unit.time(layer, sparse=True).plan)
            mmads = [i for i in program.instructions if isinstance(i, Mmad)]
            assert all(i.start != "keep" for i in mmads), layer


@pytest.mark.parametrize("language", ["c", "python"])
def test_a_word_that_is_no_scale_is_refused(tmp_path, programs, language):
    items = (item for item in suites.items("fixpipe", 1, 1) if item.name.startswith("vdeqf16-bit"))
    refused = 0
    for item in items:
        case = build("fixpipe", 1, item, 1, CaseStyle(("hex",), manifest=2))
        if case.outcome.get("error") != "RangeError":
            continue
        write(case, tmp_path / item.name)
        code, (line,) = run(programs[language], tmp_path / item.name)
        assert (code, "refused: " in line, "infinite or no number" in line) == (0, True, True)
        refused += 1
    assert refused


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"shape": [15, 60]', '"shape": [15, 600]'), ('"shape": [15, 60]', '"shape": [14, 60]'),
        ('"k": 60', '"k": 600'), ('"n": 17', '"n": 18'), ('"m": 15', '"m": 16'),
        ('"row_stride": 60', '"row_stride": -60'), ('"row_stride": 60', '"row_stride": 1'),
        ('"bits_per_word": 8', '"bits_per_word": 0'), ('"words": 900', '"words": -900'),
        ('"shape": [17, 8]', '"shape": [17, 7]'), ('"shape": [17, 32]', '"shape": [16, 32]'),
    ],
)  # fmt: skip
def test_a_manifest_at_odds_with_itself_is_refused_in_c(tmp_path, programs, old, new):
    """The program would stop at what it reads beside its arrays."""
    (item,) = (item for item in suites.items("shapes", 0, 3) if item.name == "matmul-15x17x60")
    spec = {**item.spec, "layout": "nd"}
    made = build("shapes", 1, Item(item.name, spec), 3, CaseStyle(("hex",), manifest=2))
    write(made, tmp_path / "case")
    path = tmp_path / "case" / "manifest.json"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    code, lines = run(programs["c"], tmp_path / "case")
    assert code == 2, lines


@pytest.mark.parametrize("text", ["[]", "{}", "3", '{"spec": []}', "", "null"])
def test_what_is_no_manifest_is_said(tmp_path, programs, text):
    (tmp_path / "manifest.json").write_text(text)
    for program in programs.values():
        code, (line,) = run(program, tmp_path)
        assert code == 2, line


def test_no_case_is_no_success(programs):
    for program in programs.values():
        assert run(program)[0] == 2


def test_the_generator_in_c_gives_the_numbers_of_a_case(tmp_path):
    # As the document says: seeds from SHA-256, words from the C function, bytes from bits 63:56.
    text = (EXAMPLES.parent / "docs" / "vectors.md").read_text()
    (code,) = re.findall(r"^```c\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    code += """
    #include <stdio.h>
    #include <stdlib.h>
    int main(int argc, char **argv) {
      uint64_t state = strtoull(argv[1], NULL, 10);
      for (int i = 0; argc == 3 && i < atoi(argv[2]); i++)
        printf("%d ", (int)(int8_t)(splitmix64(&state) >> 56));
    }"""
    (tmp_path / "words.c").write_text(code)
    order = ["cc", "-std=c99", "-Wall", "-Werror", tmp_path / "words.c", "-o", tmp_path / "words"]
    subprocess.run(order, check=True)

    def seed(of):
        return int.from_bytes(hashlib.sha256(of.encode()).digest()[:8], "big")

    made = build("shapes", 1, ITEMS[0], 3)
    x = made.pieces["activations"].array
    assert ITEMS[0].spec["fill"]["activations"] == "uniform"
    stream = seed(f"{seed(f'3/shapes/{ITEMS[0].name}')}/activations")
    got = subprocess.run(
        [tmp_path / "words", str(stream), str(x.size)], capture_output=True, text=True, check=True
    )
    assert list(map(int, got.stdout.split())) == x.reshape(-1).tolist()
