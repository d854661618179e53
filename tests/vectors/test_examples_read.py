"""The examples that read a case with nothing but its files."""

import hashlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cube24.vectors import manifest, suites
from cube24.vectors.build import build
from cube24.vectors.case import CaseArray
from cube24.vectors.files import CaseStyle
from cube24.vectors.manifest import write

EXAMPLES = Path(__file__).parents[2] / "examples"
ITEMS = [
    item for item in suites.items("shapes", 0, 3)
    if item.spec["operation"] == "matmul" and item.spec["layout"] == "nd"
    and item.spec["unit"]["overrides"] == {}
]  # fmt: skip


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    binary = tmp_path_factory.mktemp("c") / "read_case"
    source = EXAMPLES / "c" / "read_case.c"
    subprocess.run(["cc", "-std=c99", "-Wall", "-Werror", source, "-o", binary], check=True)
    return [[str(binary)], [sys.executable, str(EXAMPLES / "read_case.py")]]


def test_there_are_cases_to_read():
    assert len(ITEMS) > 15


@pytest.mark.parametrize("item", ITEMS[::3], ids=lambda item: item.name)
def test_c_and_numpy_reproduce_the_result(tmp_path, programs, item):
    made = build("shapes", 1, item, 3, CaseStyle(("npy", "hex")))
    write(made, tmp_path / "case")
    size = made.pieces["expected"].array.size
    for program in programs:
        got = subprocess.run([*program, str(tmp_path / "case")], capture_output=True, text=True)
        assert (got.returncode, got.stdout) == (0, f"0 of {size} results differ\n")


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


def test_c_and_numpy_notice_a_changed_result(tmp_path, programs):
    made = build("shapes", 1, ITEMS[0], 3, CaseStyle(("npy", "hex")))
    write(made, tmp_path / "case")
    expected = made.pieces["expected"].array.copy()
    expected.flat[0] ^= 1 << 20
    changed = manifest.files_of(made)
    files = manifest.files_of(
        type(made)(
            **{**vars(made), "pieces": {**made.pieces, "expected": CaseArray(expected, "nd")}}
        )
    )
    assert files["expected.hex"] != changed["expected.hex"]
    for name in ("expected.hex", "expected.npy"):
        (tmp_path / "case" / name).write_bytes(files[name])
    for program in programs:
        got = subprocess.run([*program, str(tmp_path / "case")], capture_output=True, text=True)
        assert got.returncode == 1
        assert got.stdout.startswith("1 of ")
