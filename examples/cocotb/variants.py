"""Broken variants of unit and bench, and what `cube24 vectors compare` has to say of each.

A variant is the same small change as in examples/rtl/faults.py, where those of the unit that have a
name stand. What is not the unit's work is broken in bench.py: where a fractal is fetched from, and
what is written back.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parent.parent / "rtl"))
from faults import FAULTS, ROW, Fault, row
from faults import change as change  # of examples/rtl

Numbers = Mapping[str, Any]

#: Stimulus that most variants are seen on: sums that fit, and no requantisation.
PLAIN: Mapping[str, Sequence[Any]] = {
    "m": (5, 6), "n": (17, 20), "k": (68, 100, 128), "weights": ("full", "uniform"),
    "activations": ("uniform",), "bias": (None, (1, -1, 77)), "requant": (None,),
    "pair20": ("rule",), "index3": ("error",),
}  # fmt: skip


@dataclass(frozen=True)
class Variant:
    """A broken variant.

    faults: what is changed. hypotheses: those that explain every case that differs; none, if no
    fault of the list is this one. patterns: those that every case that differs must show, each with
    what must hold for its numbers. constraints: of the stimulus, over those of PLAIN.
    """

    faults: tuple[Fault, ...]
    hypotheses: frozenset[str] = frozenset()
    patterns: Mapping[str, Callable[[Numbers], bool]] = field(default_factory=dict)
    constraints: Mapping[str, Sequence[Any]] = field(default_factory=dict)


def _listed(
    name: str, *also: str, bench: tuple[str, str] | None = None, **constraints: Any
) -> Variant:
    """A fault that compare has in its list, and those that the stimulus cannot tell from it."""
    fault = FAULTS[name] if bench is None else Fault("bench.py", *bench)
    return Variant((fault,), frozenset({name, *also}), {}, constraints)


def _said(
    *faults: Fault, patterns: Mapping[str, Callable[[Numbers], bool]], **constraints: Any
) -> Variant:
    """A fault that is in no list: what the differences have in common tells of it."""
    return Variant(faults, frozenset(), patterns, constraints)


def _any(numbers: Numbers) -> bool:
    return True


def _bits(size: int) -> Callable[[Numbers], bool]:
    return lambda numbers: size in numbers["bits"]


def _counts_only(*places: str) -> Callable[[Numbers], bool]:
    return lambda numbers: tuple(numbers["counts"]) == places


def _counts(of: Callable[[int], bool]) -> Callable[[Numbers], bool]:
    """Only such rows, columns or lanes have differences."""
    return lambda numbers: all(of(int(place)) for place in numbers["counts"])


def _out(word: str) -> Fault:
    """Another word of column c on the way out, without requantisation."""
    old = "result <= (mode == MODE_INT32) ? row : requantised;"
    return Fault(
        "cube24_unit.sv", old, f"for (int c = 0; c < COLS; c++) result[32*c+:32] <= {word};"
    )


def _written(place: str) -> Fault:
    """An output written elsewhere, in the order of the file."""
    new = f"columns = raw.shape[1]\n            raw.reshape(-1)[{place}] = "
    return Fault("bench.py", "raw[row, column] = ", new)


_FETCH = "self._read(role, (16 * fractal + lane) * size + byte)"
_ORDER = "step * n1 + column // 16, column % 16"
_FRACTALS = {
    "nz": "(column // 16 * (len(raw) // 16) + row // 16) * 256 + row % 16 * 16 + column % 16",
    "zz": "(row // 16 * (columns // 16) + column // 16) * 256 + row % 16 * 16 + column % 16",
    "zn": "(row // 16 * (columns // 16) + column // 16) * 256 + column % 16 * 16 + row % 16",
    "nn": "(column // 16 * (len(raw) // 16) + row // 16) * 256 + column % 16 * 16 + row % 16",
    "transposed": "(row // 16 * 16 + column % 16) * columns + column // 16 * 16 + row % 16",
}
_KEPT = "word & (1 << 8 * raw.itemsize) - 1"
_ACCUMULATE = "accumulator <= result;"
_MAX20, _MIN20 = (1 << 19) - 1, -(1 << 19)
_OVERFLOWING = {"bias": (((1 << 31) - 1, -(1 << 31), 5),)}
_DEEP = {"k": (129, 192)}

VARIANTS: Mapping[str, Variant] = {
    # --- the list of compare ----------------------------------------------------------------------
    "index-pair-swapped": _listed("index-pair-swapped"),
    "index-nibbles-swapped": _listed("index-nibbles-swapped"),
    "index-msb-first": _listed("index-msb-first"),
    "slots-swapped": _listed("slots-swapped"),
    "slot1-without-plus-one": _listed("slot1-without-plus-one"),
    "fractal-order-nz": _listed(
        "fractal-order-nz", layout=("zn",),
        bench=(f"{_ORDER}\n            return {_FETCH}",
               "column // 16 * self.steps + step, column % 16\n"
               "            return self._read(role, (fractal * size + byte) * 16 + lane)"),
    ),
    "fractal-order-zz": _listed(
        "fractal-order-zz", layout=("zn",),
        bench=(_FETCH, "self._read(role, (fractal * size + byte) * 16 + lane)"),
    ),
    "k-n-exchanged": _listed(
        "k-n-exchanged", layout=("zn",),
        bench=(_ORDER, "column // 16 * self.steps + step, column % 16"),
    ),
    "activations-unsigned": _listed("activations-unsigned"),
    "weights-unsigned": _listed("weights-unsigned"),
    "saturates-instead-of-wraps": _listed(
        "saturates-instead-of-wraps", overflow=("wrap",), **_OVERFLOWING
    ),
    "wraps-instead-of-saturates": _listed(
        "wraps-instead-of-saturates", overflow=("saturate",), **_OVERFLOWING
    ),
    "last-rows-dropped": _listed(
        "last-rows-dropped", m=(17, 20),
        bench=(_KEPT, f"0 if row // 16 == (len(raw) - 1) // 16 else {_KEPT}"),
    ),
    "last-columns-dropped": _listed(
        "last-columns-dropped",
        bench=(_KEPT, f"0 if column // 16 == (raw.shape[1] - 1) // 16 else {_KEPT}"),
    ),
    # The last step of k is a tile of k, too.
    "last-k-dropped": _listed("last-k-dropped", "k-fractal-skipped", **_DEEP),
    "k-tail-not-zeroed": _listed("k-tail-not-zeroed", layout=("nd",), k=(68, 99, 100)),
    "k-fractal-skipped": _listed("k-fractal-skipped", **_DEEP),
    "k-fractal-repeated": _listed("k-fractal-repeated", **_DEEP),
    "bias-missing": _listed("bias-missing", bias=("uniform", (1, -1, 77))),
    "bias-twice": _listed("bias-twice", bias=((1, -1, 77), (70000, -3))),
    "rounds-half-away": _listed(
        "rounds-half-away", requant=({"scale": 0.5, "offset": 3},), activations=("one",),
        k=(3, 4, 6), bias=(None,),
    ),
    # --- what the differences have in common ------------------------------------------------------
    "column-0-zero": _said(
        FAULTS["column-0-zero"],
        patterns={
            "zero-columns": lambda of: all(column % 16 == 0 for column in of["columns"]),
            "zero-lanes": lambda of: of["lanes"] == [0],
        },
    ),
    "row-1-zero": _said(
        row("& {(32*COLS){read_row != 1}}"),
        patterns={"zero-rows": lambda of: all(row % 2 == 1 for row in of["rows"])},
    ),
    "result-zero": _said(
        _out("32'd0"), patterns={"zeros": lambda of: of["value"] == "0x00000000"}, m=(17, 20)
    ),
    "result-77": _said(
        _out("32'd77"), patterns={"one-value": lambda of: of["value"] == "0x0000004d"}
    ),
    "fractal-0-1-plus-1": _said(
        Fault("bench.py", _KEPT, "word + (row < 16 <= column < 32) & (1 << 32) - 1"),
        patterns={"fractals": _counts_only("(0, 1)")}, m=(17, 20), n=(33, 40),
    ),
    "column-3-bit-4-stuck": _said(
        row("| (512'h10 << 96)"),
        patterns={
            "columns": _counts(lambda column: column % 16 == 3),
            "lanes": _counts(lambda lane: lane == 3),
            "bits": lambda of: of["or"] == "0x00000010" == of["and"],
        },
    ),
    "row-1-bit-4-stuck": _said(
        row("| {COLS{read_row == 1 ? 32'h10 : 32'h0}}"),
        patterns={
            "rows": _counts(lambda row: row % 2 == 1),
            "bits": lambda of: of["or"] == "0x00000010" == of["and"],
        },
    ),
    "bit-4-stuck-at-1": _said(
        FAULTS["bit-4-stuck-at-1"], patterns={"stuck-bits": lambda of: of["stuck"] == {"4": 1}}
    ),
    "bit-4-stuck-at-0": _said(
        FAULTS["bit-4-stuck-at-0"], patterns={"stuck-bits": lambda of: of["stuck"] == {"4": 0}}
    ),
    "result-16-bits": _said(FAULTS["result-16-bits"], patterns={"zero-extended": _bits(16)}),
    "result-14-bits-signed": _said(
        _out("{{18{row[32*c+13]}}, row[32*c+:14]}"), patterns={"truncated": _bits(14)}
    ),
    "result-saturated-16-bits": _said(
        _out("($signed(row[32*c+:32]) > 32767) ? 32'd32767 :\n"
             "        ($signed(row[32*c+:32]) < -32768) ? 32'hffff8000 : row[32*c+:32]"),
        patterns={"saturated": _bits(16)}, bias=((70000, -70000, 3),),
    ),
    "result-low-bits-zero": _said(
        _out("{row[32*c+4+:28], 4'd0}"), patterns={"low-bits-zero": _bits(4)}
    ),
    "result-bytes-reversed": _said(
        _out("{row[32*c+:8], row[32*c+8+:8], row[32*c+16+:8], row[32*c+24+:8]}"),
        patterns={"byte-order": _any},
    ),
    "result-bits-reversed": _said(
        _out("{" + ", ".join(f"row[32*c+{bit}]" for bit in range(32)) + "}"),
        patterns={"bit-order": _any},
    ),
    "result-halves-exchanged": _said(
        _out("{row[32*c+:16], row[32*c+16+:16]}"), patterns={"half-order": _any}
    ),
    "result-bytes-of-halves-exchanged": _said(
        _out("{row[32*c+16+:8], row[32*c+24+:8], row[32*c+:8], row[32*c+8+:8]}"),
        patterns={"bytes-of-halves": _any},
    ),
    "columns-exchanged": _said(
        _out("row[32*(c^1)+:32]"), patterns={"columns-moved": _any}, n=(18, 20)
    ),
    "rows-exchanged": _said(
        Fault("cube24_unit.sv", ROW, ROW.replace("read_row", "(read_row^1'b1)")),
        patterns={"rows-moved": _any}, m=(4, 6),
    ),
    "result-transposed": _said(
        Fault("bench.py", "raw[row, column] = ", "raw.reshape(-1)[column * len(raw) + row] = "),
        patterns={"transposed": _any, "permuted": _any},
    ),
    "result-one-further": _said(
        _written("(row * columns + column + 1) % raw.size"),
        patterns={"shifted": lambda of: of["by"] == 1},
    ),
    "columns-reversed": _said(
        _written("row * columns + columns - 1 - column"), patterns={"permuted-in-rows": _any}
    ),
    "rows-reversed": _said(
        _written("(len(raw) - 1 - row) * columns + column"),
        patterns={"permuted-in-columns": _any}, m=(18, 20),
    ),
    "columns-of-fractals-exchanged": _said(
        _out("row[32*(c^1)+:32]"),
        patterns={
            "lanes-permuted": lambda of: of["holds"] == {str(c): c ^ 1 for c in range(16)},
            "permuted-in-fractals": _any,
        },
        n=(32, 48),
    ),
    "rows-of-fractals-exchanged": _said(
        Fault("cube24_unit.sv", ROW, ROW.replace("read_row", "(read_row^1'b1)")),
        patterns={
            "fractal-rows-permuted": lambda of: of["holds"] == {str(r): r ^ 1 for r in range(16)},
            "permuted-in-fractals": _any,
        },
        m=(32,),
    ),
    **{
        f"result-fractals-{name}": _said(
            _written(place), patterns={f"fractals-{name}": _any}, m=(32,), n=(48,), k=(12,)
        )
        for name, place in _FRACTALS.items()
    },
    "starts-from-7": _said(
        FAULTS["starts-from-7"], bias=(None,),
        patterns={"constant-difference": lambda of: of["plus"] == 7},
    ),
    "accumulator-22-bits": _said(
        FAULTS["accumulator-22-bits"], bias=(((1 << 21) - 5, 3 - (1 << 21), 77),),
        patterns={"narrow-accumulator": lambda of: 22 in of["bits"] and of["overflow"] == "wrap"},
    ),
    "accumulator-20-bits-saturating": _said(
        Fault("cube24_cell.sv", _ACCUMULATE,
              f"accumulator <= (result > {_MAX20}) ? {_MAX20} :\n"
              f"          (result < {_MIN20}) ? {_MIN20} : result;"),
        patterns={
            "narrow-accumulator": lambda of: (
                20 in of["bits"] and of["overflow"] == "saturate" and of["every"] == 64
            )
        },
        bias=((_MAX20, _MIN20, 77),), grain=("step",), k=(128, 192),
    ),
    # Rows of one tile alone: each fractal begins with what is left of the one to its left.
    "accumulator-not-cleared": _said(
        Fault("cube24_unit.sv", "  always_ff @(posedge clock) begin\n    add_valid <=",
              "  logic used;\n  always_ff @(posedge clock) begin\n"
              "    used <= !reset && (used || step_valid);\n    add_valid <="),
        Fault("cube24_unit.sv", "add_start <= step_start;",
              "add_start <= used ? START_KEEP : step_start;"),
        patterns={"accumulator-not-cleared": _any}, m=(1, 2), n=(32, 33, 48), bias=(None,),
    ),
}  # fmt: skip


def faulted(variant: Variant, findings: Mapping[str, Any]) -> list[str]:
    """What is wrong with what was found of a variant; nothing, if it was caught and named."""
    differing = findings["differing"]
    if not differing:
        return [f"not caught by {findings['cases']} cases"]
    wrong = []
    named = frozenset.intersection(
        *(frozenset(each["name"] for each in case["hypotheses"]) for case in differing)
    )
    if named != variant.hypotheses:
        wrong.append(f"named {sorted(named)}, and should be {sorted(variant.hypotheses)}")
    for case in differing:
        shown = {each["name"]: each["numbers"] for each in case["patterns"]}
        for name, holds in variant.patterns.items():
            if name not in shown:
                wrong.append(f"{case['case']}: {name} is not said, but {', '.join(shown)}")
            elif not holds(shown[name]):
                wrong.append(f"{case['case']}: {name} says {shown[name]}")
    return wrong
