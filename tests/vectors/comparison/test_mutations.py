"""Flipped bits: changed, masked and refused are what an independent device says they are."""

import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).parents[2] / "mutations.py"


def test_the_package_and_the_plain_device_agree_on_flipped_bits():
    # Every 53rd bit here; docs/vectors.md has the figures of all.
    got = subprocess.run([sys.executable, PROGRAM, "53"], capture_output=True, text=True)
    assert got.returncode == 0, got.stdout + got.stderr
    *rows, last = got.stdout.splitlines()
    assert last == "disagreements with the plain device: 0"
    counts = {name: list(map(int, numbers)) for name, *numbers in map(str.split, rows[1:])}
    assert sum(counts["all"]) > 400
    assert min(counts["all"]) > 0
    for role in ("dense", "index", "activations", "bias"):
        assert counts[role][0] > 0
        assert counts[role][1] > 0
    assert counts["index"][2] > 0
