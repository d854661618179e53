"""Prove parts of the unit with yosys, and count its cells.

    python prove.py formal     each property, for every input; and of a broken copy that it fails
    python prove.py synth      synthesize the unit: no latch, no warning; print its cells

A proof that cannot fail proves nothing: each property is tried on copies with faults of faults.py,
and must be refuted there. Exit code 1: a proof failed, or a broken copy passed.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import faults

HERE = Path(__file__).parent
#: Seconds that yosys may take for one proof.
LIMIT = 300
#: Parameters of the unit, and how far it is synthesized: to gates, which takes a minute, or to
#: registers and operators, which tells of latches and of what yosys warns.
SIZES = (
    ({"ROWS": 1, "COLS": 1, "GROUPS": 16}, "synth -flatten -top cube24_unit"),
    ({"ROWS": 2, "COLS": 4, "GROUPS": 16}, "proc; flatten; opt_clean"),
)


class Proof(NamedTuple):
    """A property.

    top: its module, in formal/. about: what it says. files: of the unit, that it needs. broken:
    faults with which it must fail. cycles: clock cycles; 0: it has no clock.
    """

    top: str
    about: str
    files: tuple[str, ...]
    broken: tuple[str, ...]
    cycles: int = 0


UNIT = tuple(sorted(path.name for path in HERE.glob("cube24_*.sv")))

PROOFS = (
    Proof("prove_select", "the selection is the rule of docs/format.md, in both readings",
          ("cube24_select.sv",),
          ("index-pair-swapped", "slot1-without-plus-one", "pair-10-as-11", "pair-21-as-22",
           "index3-selects", "index3-unflagged", "pair20-always-table", "pair20-never-table",
           "pair20-table-of-all-i0")),
    Proof("prove_flag", "an index of 3 raises the flag", UNIT,
          ("index3-unflagged", "flag-of-one-step"), cycles=2),
    Proof("prove_dot", "a step sums the products of each slot with its weight",
          ("cube24_dot.sv", "cube24_select.sv", "formal/cut_multiply.sv"),
          ("index-nibbles-swapped", "index-msb-first", "slots-swapped", "group-3-zero",
           "product-left-out", "product-twice", "products-unsigned", "sum-20-bits")),
    Proof("prove_add", "the addition saturates and wraps exactly", ("cube24_add.sv",),
          ("saturates-instead-of-wraps", "wraps-instead-of-saturates", "saturates-one-early")),
    Proof("prove_cell", "the accumulate stage does, from what it has to start from",
          ("cube24_cell.sv", "cube24_add.sv", "formal/cut_dot.sv"),
          ("accumulator-22-bits", "accumulator-not-cleared", "wraps-instead-of-saturates"),
          cycles=3),
    Proof("prove_padding", "padding is zero, and nothing else is changed", ("cube24_mask.sv",),
          ("k-tail-not-zeroed", "mask-one-late", "mask-127-in-the-group-of-k", "mask-all")),
)  # fmt: skip


def yosys(script: str) -> tuple[int, str]:
    """The exit code of yosys, and what it prints."""
    done = subprocess.run(
        ["yosys", "-p", script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        check=False, timeout=LIMIT,
    )  # fmt: skip
    return done.returncode, done.stdout


def holds(proof: Proof, folder: Path) -> bool:
    """Whether the property holds of the files in a folder, for every input."""
    files = " ".join(str(folder / name) for name in (*proof.files, f"formal/{proof.top}.sv"))
    steps = f"-seq {proof.cycles} -prove-skip {proof.cycles - 1}" if proof.cycles else ""
    code, text = yosys(
        f"read_verilog -sv -formal {files}; hierarchy -check -top {proof.top}; proc; flatten; "
        f"opt; select -assert-min 1 t:$assert; sat -prove-asserts {steps}"
    )
    # `sat` says one of the two; anything else is no answer.
    proven = "SAT proof finished - no model found: SUCCESS!" in text
    refuted = "SAT proof finished - model found: FAIL!" in text
    if code or proven == refuted:
        raise SystemExit(f"yosys gives no answer for {proof.top}:\n{text[-3000:]}")
    return proven


def formal() -> int:
    """All proofs, and their broken copies; the number that went wrong."""
    wrong = 0
    for proof in PROOFS:
        start = time.monotonic()
        proven = holds(proof, HERE)
        took = time.monotonic() - start
        print(f"{'proven' if proven else 'FAIL'}: {proof.top}: {proof.about} ({took:.2f} s)")
        wrong += not proven
        for name in proof.broken:
            with tempfile.TemporaryDirectory() as copy:
                faults.copy_with(name, Path(copy))
                refuted = not holds(proof, Path(copy))
            print(f"  {'refuted' if refuted else 'FAIL: it holds'} with {name}")
            wrong += not refuted
    return wrong


def synth() -> int:
    """Synthesize the unit; the number of sizes of which yosys warns, or that have a latch."""
    wrong = 0
    for size, depth in SIZES:
        parameters = " ".join(f"-chparam {name} {value}" for name, value in size.items())
        files = " ".join(str(HERE / name) for name in UNIT)
        start = time.monotonic()
        code, text = yosys(
            f"read_verilog -sv {files}; hierarchy -check -top cube24_unit {parameters}; "
            f"{depth}; check -assert; select -assert-none t:$_DLATCH* t:$dlatch t:$_SR_*; stat"
        )
        # Those of the frontend stand behind the name of the file and the line.
        warnings = re.findall(r"^.*\bWarning: .*", text, re.MULTILINE)
        cells = re.findall(r"Number of cells: +(\d+)", text)
        flops = sum(int(n) for n in re.findall(r"\$_\w*DFF\w*_ +(\d+)", text.split("Printing")[-1]))
        named = ", ".join(f"{name} {value}" for name, value in size.items())
        if code or warnings or not cells:
            print(f"FAIL: {named}\n" + "\n".join(warnings or [text[-2000:]]))
            wrong += 1
        else:
            gates = (
                f"{cells[-1]} gates and flip-flops, of which {flops} flip-flops; " if flops else ""
            )
            took = time.monotonic() - start
            print(f"{named}: {gates}no latch, no warning ({took:.0f} s)")
    return wrong


def main() -> int:
    """Do what the command line says; 1 if something went wrong."""
    parser = argparse.ArgumentParser(description="Prove and synthesize the unit with yosys.")
    parser.add_argument("what", choices=("formal", "synth"))
    what = parser.parse_args().what
    return (formal() if what == "formal" else synth()) > 0


if __name__ == "__main__":
    sys.exit(main())
