"""The unit with a fault: each is one change of one place in one file.

    python faults.py                  the faults, one a line
    python faults.py NAME FOLDER      a copy of the RTL with that fault

So the unit itself stays as simple as it is, and any fault can be put into it. The first ones have
the names that `cube24 vectors compare` has for them. Faults in tb_case.sv are mistakes of whoever
feeds the unit and takes its results.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
BENCH = "tb_case.sv"


class Fault(NamedTuple):
    """In ``file``, the text ``old``, which stands there once, becomes ``new``."""

    file: str
    old: str
    new: str


_MASK = "activations & ~(ALL << {k, 3'b000})"
_INDEX = "assign {i1, i0} = index;"
_NIBBLE = ".index(index[4*g+:4])"
_PRODUCT = "assign product = activation * weight;"
_BOTH = "SUM_BITS'(product0) + SUM_BITS'(product1)"
_FITS = "assign result = (wrap || fits)"
_STEP_SUM = "assign step_sum = {{(32 - SUM_BITS) {sum_q[SUM_BITS-1]}}, sum_q};"
_START = "(add_start == START_BIAS) ? add_bias[32*c+:32] : 32'd0"
_ZN = "(at / size * n_padded + c) * size + at % size"
ROW = "assign row = accumulators[32*COLS*read_row+:32*COLS];"
_BYTE = "= result[8*(4*c+i)+:8];"
_SLOT1 = "2'd1: slot1 = element2;\n      2'd2: slot1 = element3;"
_PAIR20 = "2'd0: slot1 = (pair20_table && i0 == 2'd2) ? element2 : element1;"


def row(expression: str) -> Fault:
    """Something done to each row of accumulators on the way out."""
    return Fault("cube24_unit.sv", ROW, f"{ROW[:-1]} {expression};")


def _sum(first: str) -> Fault:
    """Another sum where `first` holds."""
    kept = _STEP_SUM.removeprefix("assign step_sum = ").removesuffix(";")
    return Fault("cube24_cell.sv", _STEP_SUM, f"assign step_sum = {first} : {kept};")


FAULTS = {
    # Named by compare.
    "index-pair-swapped": Fault("cube24_select.sv", _INDEX, "assign {i0, i1} = index;"),
    "index-nibbles-swapped": Fault("cube24_dot.sv", _NIBBLE, ".index(index[4*(g^1)+:4])"),
    "index-msb-first": Fault(
        "cube24_dot.sv", _NIBBLE, ".index({index[4*(g^1)+:2], index[4*(g^1)+2+:2]})"
    ),
    "slots-swapped": Fault(
        "cube24_dot.sv", ".slot0(slot0),\n          .slot1(slot1),",
        ".slot0(slot1),\n          .slot1(slot0),",
    ),
    "slot1-without-plus-one": Fault(
        "cube24_select.sv", f"{_PAIR20}\n      {_SLOT1}",
        f"{_PAIR20} {_SLOT1}".replace("element1", "element0").replace("element2", "element1")
        .replace("element3", "element2"),
    ),
    "activations-unsigned": Fault(
        "cube24_multiply.sv", _PRODUCT, "assign product = $signed({1'b0, activation}) * weight;"
    ),
    "weights-unsigned": Fault(
        "cube24_multiply.sv", _PRODUCT, "assign product = activation * $signed({1'b0, weight});"
    ),
    "saturates-instead-of-wraps": Fault("cube24_add.sv", _FITS, "assign result = fits"),
    "wraps-instead-of-saturates": Fault("cube24_add.sv", _FITS, "assign result = (wrap || 1'b1)"),
    "k-fractal-skipped": _sum("(add_first && !add_last) ? 32'sd0"),
    "k-fractal-repeated": _sum("(add_first && !add_last) ? 2 * 32'(sum_q)"),
    "last-k-dropped": _sum("(add_last && !add_first) ? 32'sd0"),
    "k-tail-not-zeroed": Fault(
        "cube24_mask.sv", _MASK, "activations | (activations & (ALL << {k, 3'b000}))"
    ),
    "bias-missing": Fault("cube24_unit.sv", _START, "32'd0"),
    "bias-twice": Fault("cube24_unit.sv", _START, _START.replace(" :", " << 1 :")),
    "rounds-half-away": Fault(
        "cube24_requant.sv", "(rest == half && kept[0])", "rest == half"
    ),
    "fractal-order-nz": Fault(
        BENCH, _ZN,
        "(c / 16 * (k_padded / 64) + at / size) * 16 * size + at % size * 16 + c % 16",
    ),
    "fractal-order-zz": Fault(
        BENCH, _ZN,
        "(at / size * (n_padded / 16) + c / 16) * 16 * size + at % size * 16 + c % 16",
    ),
    "k-n-exchanged": Fault(
        BENCH, _ZN,
        "(c / 16 * (k_padded / 64) + at / size) * 16 * size + c % 16 * size + at % size",
    ),
    "last-rows-dropped": Fault(
        BENCH, _BYTE, "= ((r0 + r) / 16 == (rows - 1) / 16) ? 8'd0 : result[8*(4*c+i)+:8];"
    ),
    "last-columns-dropped": Fault(
        BENCH, _BYTE, "= ((c0 + c) / 16 == (n - 1) / 16) ? 8'd0 : result[8*(4*c+i)+:8];"
    ),
    # Not named by it: what the differences have in common tells.
    "accumulator-22-bits": Fault(
        "cube24_cell.sv", "accumulator <= result;",
        "accumulator <= {{10{result[21]}}, result[21:0]};",
    ),
    "accumulator-not-cleared": Fault(
        "cube24_cell.sv", "assign from = (add_first && !keep) ? start : accumulator;",
        "initial accumulator = 32'sd0;\n"
        "  assign from = (add_first && !keep && start != 32'sd0) ? start : accumulator;",
    ),
    "column-0-zero": row("& {{(32*COLS-32){1'b1}}, 32'd0}"),
    "bit-4-stuck-at-1": row("| {COLS{32'h0000_0010}}"),
    "bit-4-stuck-at-0": row("& {COLS{32'hffff_ffef}}"),
    "result-16-bits": row("& {COLS{32'h0000_ffff}}"),
    "starts-from-7": Fault("cube24_unit.sv", _START, _START.replace("32'd0", "32'd7")),
    "group-3-zero": Fault(
        "cube24_dot.sv", ".activations(activations[32*g+:32])",
        ".activations((g == 3) ? 32'd0 : activations[32*g+:32])",
    ),
    "pair-10-as-11": Fault(
        "cube24_select.sv", _INDEX, "assign {i1, i0} = (index == 4'h1) ? 4'h5 : index;"
    ),
    "pair-21-as-22": Fault(
        "cube24_select.sv", _INDEX, "assign {i1, i0} = (index == 4'h6) ? 4'ha : index;"
    ),
    "result-bytes-reversed": Fault(BENCH, _BYTE, "= result[8*(4*c+element_bytes-1-i)+:8];"),
    "result-transposed": Fault(
        BENCH, "at = ((r0 + r) * n + c0 + c) * element_bytes;",
        "at = ((c0 + c) * rows + r0 + r) * element_bytes;",
    ),
    # Seen by the proofs.
    "index3-selects": Fault(
        "cube24_select.sv", "default: slot0 = 8'd0;", "default: slot0 = element3;"
    ),
    "index3-unflagged": Fault(
        "cube24_select.sv", "i0 == 2'd3 || i1 == 2'd3", "i0 == 2'd3 && i1 == 2'd3"
    ),
    "flag-of-one-step": Fault(
        "cube24_unit.sv", "illegal_now | (step_first ? '0 : illegal_columns)", "illegal_now"
    ),
    "pair20-always-table": Fault(
        "cube24_select.sv", _PAIR20, _PAIR20.replace("pair20_table && ", "")
    ),
    "pair20-never-table": Fault("cube24_select.sv", _PAIR20, "2'd0: slot1 = element1;"),
    "pair20-table-of-all-i0": Fault(
        "cube24_select.sv", _PAIR20, _PAIR20.replace(" && i0 == 2'd2", "")
    ),
    "product-left-out": Fault(
        "cube24_dot.sv", _BOTH, "SUM_BITS'(product0) + ((g == 5) ? '0 : SUM_BITS'(product1))"
    ),
    "product-twice": Fault(
        "cube24_dot.sv", _BOTH, f"{_BOTH} + ((g == 5) ? SUM_BITS'(product1) : '0)"
    ),
    "products-unsigned": Fault(
        "cube24_dot.sv", _BOTH, _BOTH.replace("'(product1)", "'($unsigned(product1))")
    ),
    "sum-20-bits": Fault(
        "cube24_dot.sv", "assign sum = g_group[GROUPS-1].sum_here;",
        "assign sum = SUM_BITS'($signed(g_group[GROUPS-1].sum_here[SUM_BITS-2:0]));",
    ),
    "saturates-one-early": Fault("cube24_add.sv", ": 32'h7fff_ffff;", ": 32'h7fff_fffe;"),
    "mask-one-late": Fault(
        "cube24_mask.sv", _MASK, "activations & ~(ALL << ({k, 3'b000} + 10'd8))"
    ),
    "mask-127-in-the-group-of-k": Fault(
        "cube24_mask.sv", _MASK,
        f"({_MASK}) |\n"
        "      ({K_STEP{8'd127}} & (ALL << {k, 3'b000}) & ~(ALL << {(k + 7'd3) >> 2, 5'd0}))",
    ),
    "mask-all": Fault("cube24_mask.sv", _MASK, f"{_MASK} & '0"),
}  # fmt: skip


def change(folder: Path, fault: Fault) -> None:
    """Put a fault into the copy in a folder.

    Raises:
        ValueError: the text that it changes does not stand there once.
    """
    path = folder / fault.file
    text = path.read_text()
    if text.count(fault.old) != 1:
        raise ValueError(f"{fault.file} has {text.count(fault.old)} times {fault.old!r}")
    path.write_text(text.replace(fault.old, fault.new))


def copy_with(name: str, folder: Path) -> None:
    """Copy the RTL into a folder, with a fault.

    Raises:
        KeyError: no such fault.
        ValueError: the text that it changes does not stand there once.
    """
    fault = FAULTS[name]
    shutil.copytree(HERE, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("build", "__*"))
    change(folder, fault)


def main(arguments: list[str]) -> int:
    """List the faults, or make a copy with one."""
    if not arguments:
        print("\n".join(f"{name}: {fault.file}" for name, fault in FAULTS.items()))
        return 0
    if len(arguments) != 2 or arguments[0] not in FAULTS:
        print(__doc__, file=sys.stderr)
        return 2
    copy_with(arguments[0], Path(arguments[1]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
