"""What the documents show is what the program does: every command and every example is run."""

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cube24 import encoder, simulator
from cube24.vectors.comparison.table import HYPOTHESES
from cube24.vectors.coverage import POINTS
from cube24.vectors.damage import DAMAGES

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([ROOT / "README.md", *ROOT.glob("docs/*.md")])


def commands(text: str) -> list[tuple[str, str]]:
    """(command, output) of the console blocks of a document, in their order."""
    found = []
    for block in re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            # A command goes on while its double quotes are open.
            lines = part.splitlines(keepends=True)
            end = next(
                i for i in range(1, len(lines) + 1) if "".join(lines[:i]).count('"') % 2 == 0
            )
            found.append(("".join(lines[:end]).strip(), "".join(lines[end:])))
    return found


def test_the_readme_has_commands_to_test():
    assert len(commands((ROOT / "README.md").read_text())) >= 6


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_the_commands_of_a_document_print_what_it_shows(document, tmp_path):
    binaries = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}"}
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    for command, shown in commands(document.read_text()):
        got = subprocess.run(
            command, shell=True, cwd=tmp_path, env=environment, text=True, stdout=subprocess.PIPE
        )
        assert got.returncode in (0, 1), command
        assert got.stdout == shown, command


@pytest.mark.parametrize(
    "document", [d for d in DOCUMENTS if d.name != "architecture.md"], ids=lambda path: path.name
)
def test_the_python_of_a_document_gives_what_it_shows(document, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    result = doctest.testfile(str(document), module_relative=False)
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize("document", [*DOCUMENTS, ROOT / "CONTRIBUTING.md"], ids=lambda p: p.name)
def test_links_to_files_lead_somewhere(document):
    for target in re.findall(r"\]\(([^)#:]+)[^):]*\)", document.read_text()):
        assert (document.parent / target).exists(), target


def test_the_program_by_hand_computes_what_it_says():
    text = (ROOT / "docs" / "unit.md").read_text()
    (block,) = re.findall(r"^```program\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    program = simulator.Program.parse(block)
    rng = np.random.default_rng(30)
    a = rng.integers(-128, 128, (32, 128), dtype=np.int8)
    w = rng.integers(-128, 128, (16, 128), dtype=np.int8)
    w.reshape(16, 32, 4)[:, :, [0, 2]] = 0  # two of four
    bias = rng.integers(-(10**5), 10**5, 16).astype(np.int32)
    scales = (2.0 ** -rng.integers(8, 13, 16)).astype(np.float32)  # exact in ten bits
    # A word: the scale in its fp32 bits, offset 3 in bits 45:37, bit 46 for a signed result.
    words = scales.view(np.uint32).astype(np.uint64) | np.uint64(3 << 37 | 1 << 46)
    zn = encoder.encode(w).to_fractal()
    buffers = simulator.Unit().execute(
        program,
        {"activations": a, "dense": zn.dense, "index": zn.index, "bias": bias, "words": words},
    )
    exact = a.astype(np.int64) @ w.T + bias  # below 2^24, so exact in fp32, scaled by powers of 2
    scaled = np.clip(np.rint(np.clip(exact * scales.astype(float), -256, 255)) + 3, -128, 127)
    assert np.array_equal(buffers["output"].view(np.int8).reshape(32, 16), scaled)
    assert len(np.unique(scaled)) > 50


def test_every_fault_and_coverpoint_is_in_the_tables():
    text = (ROOT / "docs" / "vectors.md").read_text()
    for one in (*HYPOTHESES, *POINTS):
        assert f"| `{one.name}` | {one.about} |\n" in text
    for name, damage in DAMAGES.items():
        assert f"| `{name}` | `{damage.error.__name__}` | " in text


def test_the_map_has_a_line_for_each_module_and_no_other():
    folders = ("encoder", "simulator", "graph", "vectors", "python/cube24", "csrc")
    there = {
        str(path.relative_to(ROOT))
        for folder in folders
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".py", ".c", ".h")
        and not {"tests", "fuzz", "golden", "cdef.py"} & set(path.relative_to(ROOT).parts)
    }
    text = (ROOT / "CONTRIBUTING.md").read_text()
    listed = re.findall(r"^\| `([^` ]+\.(?:py|c|h))` \| \S", text, re.MULTILINE)
    assert len(listed) == len(set(listed))
    assert set(listed) == there
