"""The examples: what they say is what they give."""

import subprocess
import sys
from pathlib import Path

from test_docs import commands

EXAMPLES = Path(__file__).parent.parent / "examples"


def test_the_study_shows_what_its_commands_print(tmp_path):
    found = commands((EXAMPLES / "conv1x1.md").read_text())
    assert len(found) == 2
    for command, shown in found:
        got = subprocess.run(
            [sys.executable, "-c", "from cube24.cli import main; main()", *command.split()[1:]],
            cwd=tmp_path, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert got.stdout == shown


def test_the_study_gives_its_numbers_and_pictures(tmp_path):
    got = subprocess.run(
        [sys.executable, EXAMPLES / "conv1x1.py", tmp_path],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    text = (EXAMPLES / "conv1x1.md").read_text()
    for number in (13908, 11755, 16151, 5405, 960):
        assert str(number) in got
        assert f"{number:,}" in text
    for name in ("conv1x1-chosen.svg", "conv1x1-n256.svg"):
        assert (tmp_path / name).read_bytes() == (EXAMPLES / name).read_bytes()
