"""Coverage: bins beside a slow oracle in plain Python, what cannot be hit, merging, and holes.

The oracle reads the original weight, not the bytes, and takes the encoding from tests/oracle.py. It
loops over Python integers and rounds with struct and fractions; it shares nothing with coverage.py.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cube24.encoder import ArgumentError, FileFormatError, encode
from cube24.simulator import Requant, UnitConfig, isa, requant
from cube24.vectors import campaign, coverage, schema, suites
from cube24.vectors import manifest as manifests
from cube24.vectors.build import build
from cube24.vectors.case import Case, CaseArray
from cube24.vectors.coverage import BINS, POINTS, UNREACHABLE, Table, bins, hits
from cube24.vectors.spec import Item, conv2d, matmul

Level = Mapping[str, tuple[Case, ...]]

INT_MIN, INT_MAX = -(2**31), 2**31 - 1


@pytest.fixture(scope="module")
def level0() -> Level:
    """All cases of level 0, by suite."""
    return {
        suite: tuple(build(suite, version, item, 1) for item in suites.items(suite, 0, 1))
        for suite, (version, _) in suites.SUITES.items()
    }


def table_of(cases: Iterable[Case]) -> Table:
    table = Table()
    for case in cases:
        table.add(case.bins)
    return table


def made(spec: Mapping[str, Any]) -> Case:
    return build("test", 1, Item("case", spec), 1)


# --- the oracle -----------------------------------------------------------------------------------


def value_class(value: int) -> str:
    if value in (-128, -1, 0, 1, 127):
        return str(value)
    return "neg" if value < 0 else "pos"


def pattern_of(group: list[int]) -> str:
    letters = iter("XY")
    return "".join(next(letters) if value else "0" for value in group)


class Problem:
    """A case as lists: rows of activations and of weights along k, and what k is padding."""

    def __init__(self, case: Case) -> None:
        size, self.conv = case.spec["sizes"], case.spec["operation"] == "conv2d"
        weight = case.pieces["weights"].array.tolist()
        x = case.pieces["activations"].array
        if self.conv:
            self._conv(size, weight, x)
        else:
            self.activations = x.ravel().tolist()
            k = -(-size["k"] // 64) * 64  # as far as the unit goes
            self.weights = [row + [0] * (k - len(row)) for row in weight]
            self.rows = [row + [0] * (k - len(row)) for row in x.tolist()]
            self.there = [g for g in range(k // 4) if 4 * g < size["k"]]
            self.k = size["k"]

    def _conv(self, size: Mapping[str, Any], weight: Any, x: Any) -> None:
        (kh, kw), (top, left, bottom, right) = size["kernel"], size["pads"]
        (sh, sw), (dh, dw) = size["strides"], size["dilations"]
        h, w, cin = size["h"], size["w"], size["cin"]
        image = x.tolist()  # [b][c1][h][w][32]
        self.activations = [
            image[b][c // 32][y][z][c % 32]
            for b, c, y, z in product(range(size["batch"]), range(cin), range(h), range(w))
        ]
        order = [
            (32 * c1 + c0, y, z)
            for c1, y, z, c0 in product(range(-(-cin // 32)), range(kh), range(kw), range(32))
        ]
        self.k = len(order)
        fill = [0] * (-len(order) % 64)
        self.weights = [
            [weight[n][c][y][z] if c < cin else 0 for c, y, z in order] + fill
            for n in range(size["cout"])
        ]
        self.there = [g for g in range(len(order) // 4) if order[4 * g][0] < cin]
        self.ho = (h + top + bottom - (kh - 1) * dh - 1) // sh + 1
        self.wo = (w + left + right - (kw - 1) * dw - 1) // sw + 1

        def at(b: int, c: int, y: int, z: int) -> int:
            if 0 <= y < h and 0 <= z < w:
                return int(image[b][c // 32][y][z][c % 32])
            return int(size["offset_x"])

        self.rows = [
            [at(b, c, r * sh - top + y * dh, s * sw - left + z * dw) for c, y, z in order] + fill
            for b, r, s in product(range(size["batch"]), range(self.ho), range(self.wo))
        ]

    def accumulators(self, case: Case) -> tuple[list[list[int]], set[str]]:
        """The sums of all rows and columns, and which overflows there were."""
        seen = set()
        bias = case.pieces["bias"].array.tolist() if "bias" in case.pieces else None
        length = len(self.weights[0])
        ends = list(range(64, length + 1, 64))
        if case.unit.grain == "instruction":
            ends, at = [], 0
            for i in case.run.program.instructions:
                if isinstance(i, isa.Mmad) and at < self.k:
                    at += i.k
                    ends.append(at)
            ends[-1] = length
        found = []
        for x in self.rows:
            line = []
            for n, w in enumerate(self.weights):
                total, begin = bias[n] if bias else 0, 0
                for end in ends:
                    total += sum(a * b for a, b in zip(x[begin:end], w[begin:end], strict=True))
                    begin = end
                    if INT_MIN <= total <= INT_MAX:
                        continue
                    seen.add("pos" if total > 0 else "neg")
                    if case.unit.overflow == "saturate":
                        total = INT_MAX if total > 0 else INT_MIN
                    else:
                        total = (total + 2**31) % 2**32 - 2**31
                line.append(total)
            found.append(line)
        return found, seen or {"none"}


def oracle_bins(case: Case) -> set[str]:
    of = Problem(case)
    spec = case.spec
    found = {"outcome/result", f"op/{spec['operation']}.{spec['layout']}"}
    found |= {f"act/{value_class(value)}" for value in of.activations}
    seen = [{value_class(value) for value in column} for column in zip(*of.rows, strict=True)]
    for n, row in enumerate(of.weights):
        for g in of.there:
            group = row[4 * g : 4 * g + 4]
            pattern = pattern_of(group)
            d0, d1, i0, i1 = oracle.encode_group(group)
            found |= {
                f"value/{pattern}.0.{value_class(d0)}", f"value/{pattern}.1.{value_class(d1)}",
                f"pair/{i0}{i1}", f"pos/{pattern}.{g % 16}", f"col/{pattern}.{n % 16}",
            }  # fmt: skip
            for held, k in ((d0, 4 * g + i0), (d1, 4 * g + i1 + 1)):
                found |= {f"mul/{one}.{value_class(held)}" for one in seen[k]}
    found |= set(shape_bins(case, of))
    found |= set(bias_bins(case))
    sums, overflow = of.accumulators(case)
    found |= {f"sum/{name}.{case.unit.overflow}.{case.unit.grain}" for name in overflow}
    if spec["requant"] is None:
        found.add("rq/none")
        # The oracle's own sums are those of the case, or it proves nothing.
        got = case.pieces["expected"].array
        assert got.reshape(-1, got.shape[-1]).tolist() == sums
    else:
        found |= set(requant_bins(case, sums))
    flags = {
        "MTE2>MTE1": "L1-filled", "MTE1>MTE2": "L1-free", "MTE1>M": "L0-filled",
        "M>MTE1": "L0-free", "M>FIX": "L0C-filled", "FIX>M": "L0C-free",
        "MTE2>FIX": "parameters-in-L1", "FIX>MTE2": "parameters-read",
        "hand-over of L1": "hand-over",
        "queue of MTE2 full": "queue-MTE2", "queue of MTE1 full": "queue-MTE1",
        "queue of M full": "queue-M", "queue of FIX full": "queue-FIX",
    }  # fmt: skip
    for account in case.run.pipes.values():
        found |= {f"stall/{flags[cause.split('#')[0]]}" for cause in account.waits}
    return found


def shape_bins(case: Case, of: Problem) -> Iterator[str]:
    size, plan = case.spec["sizes"], case.run.plan
    assert plan is not None
    m = of.ho * of.wo if of.conv else size["m"]
    n = size["cout"] if of.conv else size["n"]
    for name, count, tile in (("m", m, plan.tile.m), ("n", n, plan.tile.n)):
        if count > tile:
            yield f"{name}/tiles"
        if count == 1 or count == 16:
            yield f"{name}/{count}"
        elif count < 16:
            yield f"{name}/2-15"
        elif count % 16 == 0:
            yield f"{name}/32+"
        elif count % 16 in (1, 15):
            yield f"{name}/17+{count % 16}"
        else:
            yield f"{name}/17+tail"
    if (size["cin"] if of.conv else size["k"]) % 4:
        yield "k/group-tail"
    groups = -(-of.k // 4)
    if groups % 2 == 1:
        yield "k/nibble-tail"
    yield "k/whole" if of.k % 64 == 0 else "k/fractal-tail"
    yield "k/one" if of.k <= 64 else "k/more"
    programs = case.run.program.instructions
    first = next(i for i in programs if isinstance(i, isa.Mmad))
    if first.k < of.k:
        yield "k/mmads"
    if plan.chunk < of.k:
        yield "k/loads"
    if not of.conv:
        return
    kernel = tuple(size["kernel"])
    squares = {(1, 1): "1x1", (3, 3): "3x3", (5, 5): "5x5", (7, 7): "7x7"}
    other = "1xN" if kernel[0] == 1 else "Nx1" if kernel[1] == 1 else "other"
    yield f"kernel/{squares.get(kernel, other)}"
    for name in ("stride", "dilation"):
        steps = size[f"{name}s"]
        yield from (f"{name}/{ {1: '1', 2: '2'}.get(step, 'more') }" for step in steps)
        if len(set(steps)) == 2:
            yield f"{name}/unequal"
    names = ("top", "left", "bottom", "right")
    sides = [side for side, pad in zip(names, size["pads"], strict=True) if pad > 0]
    yield from (f"pad/{side}" for side in sides)
    if len(sides) != 4:
        yield f"pad/{['none', 'one', 'some', 'some'][len(sides)]}"
    elif min(size["pads"]) == max(size["pads"]):
        yield "pad/around"
    if sides:
        value = size["offset_x"]
        yield "padvalue/0" if value == 0 else "padvalue/pos" if value > 0 else "padvalue/neg"
    cin = size["cin"]
    if cin % 4:
        yield "cin/group-tail"
    yield "cin/whole" if cin in range(32, 10000, 32) else "cin/block-tail"
    yield "cin/one" if cin <= 32 else "cin/more"
    yield "batch/more" if size["batch"] > 1 else "batch/1"


def bias_bins(case: Case) -> Iterator[str]:
    if "bias" not in case.pieces:
        yield "bias/none"
        return
    for value in case.pieces["bias"].array.tolist():
        names = {INT_MIN: "min", INT_MAX: "max", 0: "0"}
        yield f"bias/{names.get(value, 'pos' if value > 0 else 'neg')}"


def single(value: float) -> float:
    """Round to fp32, as C does."""
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def way(exact: float, rounded: float, neighbour: float) -> str:
    """How a value was rounded, where neighbour lies on its other side."""
    error = Fraction(rounded) - Fraction(exact)
    if error == 0:
        return "exact"
    tie = abs(Fraction(neighbour) - Fraction(exact)) == abs(error)
    return ("tie-" if tie else "") + ({True: "up", False: "down"} if tie else
                                      {True: "above", False: "below"})[error > 0]  # fmt: skip


def neighbour(value: float, exact: float, kind: str, word: str) -> float:
    """The next number of a floating type from a value towards what it was rounded from."""
    if value == 0:
        smallest = struct.unpack(f"<{kind}", struct.pack(f"<{word}", 1))[0]
        return float(smallest if exact > 0 else -smallest)
    bits = struct.unpack(f"<{word}", struct.pack(f"<{kind}", value))[0]
    step = 1 if abs(exact) > abs(value) else -1
    return float(struct.unpack(f"<{kind}", struct.pack(f"<{word}", bits + step))[0])


def requant_bins(case: Case, sums: list[list[int]]) -> Iterator[str]:
    rule, words = case.spec["requant"], case.pieces["requant"].array.tolist()
    mode, relu = rule.get("mode", "REQ8"), rule.get("relu", False)
    kind = {True: "relu", False: "none"}.get(relu, "leaky") if type(relu) is bool else "leaky"
    yield f"rq/{mode}.{'column' if len(words) > 1 else 'one'}"
    for n in range(len(sums[0])):
        word = words[n % len(words)]
        scale = struct.unpack("<f", struct.pack("<I", word & 0xFFFFE000))[0]
        tiny = 0 < abs(scale) < 2.0**-126
        yield f"scale/{'sub' if tiny else '0' if scale == 0 else 'pos' if scale > 0 else 'neg'}"
        if mode == "REQ8":
            yield from word_bins(word, case.unit)
        for row in sums:
            x = row[n]
            if mode == "REQ8" and word >> 36 & 1:
                shift = (word >> 32 & 15) + (case.unit.requant_shift == "n+1")
                moved = x // 2**shift
                if moved * 2**shift != x:
                    yield f"shift/drop-{'neg' if x < 0 else 'pos'}"
                if moved < -32768 or moved > 32767:
                    yield f"shift/{'low' if moved < 0 else 'high'}"
                x = max(-32768, min(32767, moved))
            xf = single(x)
            yield f"cvt/{way(x, xf, neighbour(xf, x, 'f', 'I') if xf != x else 0)}"
            yield f"relu/{mode}.{kind}.{'neg' if x < 0 else 'pos' if x else '0'}"
            factor = scale
            if xf < 0 and kind != "none":
                factor = 0.0 if kind == "relu" else single(relu)
            y = single(xf * factor)  # the product of two fp32 is exact in a double
            yield from (f"round/{name}" for name in round_bins(mode, y, word, case.unit))


def offset_of(word: int, config: UnitConfig) -> int:
    offset = word >> 37 & 511
    return offset - 512 if config.requant_offset == "signed" and offset > 255 else offset


def word_bins(word: int, config: UnitConfig) -> Iterator[str]:
    offset = offset_of(word, config)
    most = 255 if config.requant_offset == "signed" else 511
    names = {-256: "min", 0: "0", most: "max"}
    yield f"offset/{names.get(offset, 'pos' if offset > 0 else 'neg')}"
    if offset:
        yield f"reading/offset.{config.requant_offset}"
    if not word >> 36 & 1:
        yield "shift/none"
        return
    yield f"reading/shift.{config.requant_shift}"
    shift = (word >> 32 & 15) + (1 if config.requant_shift == "n+1" else 0)
    yield f"shift/{shift if shift in (1, 16) else '2-15'}"


def round_bins(mode: str, y: float, word: int, config: UnitConfig) -> Iterator[str]:
    if mode == "DEQF16":
        if abs(y) > 65504:
            yield f"f16.{'low' if y < 0 else 'high'}"
            return
        result = struct.unpack("<e", struct.pack("<e", y))[0]
        yield f"f16.{way(y, result, neighbour(result, y, 'e', 'H') if result != y else 0)}"
        if 0 < abs(result) < 2.0**-14:
            yield "f16.sub"
        if struct.pack("<e", y) == b"\x00\x80":
            yield "f16.-0"
        return
    name, (low, high) = ("s8", (-128, 127)) if word >> 46 & 1 else ("u8", (0, 255))
    if y < -256 or y > 255:
        yield f"{name}.clamp-{'low' if y < 0 else 'high'}"
        moved = -256 if y < 0 else 255
    else:
        moved = round(y)  # half to even
        yield f"{name}.{way(y, moved, moved + 1 if moved < y else moved - 1)}"
    moved += offset_of(word, config)
    if moved < low:
        yield f"{name}.low"
    if moved > high:
        yield f"{name}.high"


# --- bins -----------------------------------------------------------------------------------------


def test_bins_agree_with_a_slow_oracle(level0: Level) -> None:
    compared = 0
    for case in (case for cases in level0.values() for case in cases):
        if case.spec["change"] is None:
            assert set(case.bins) == oracle_bins(case), f"{case.suite}/{case.name}"
            compared += 1
    assert compared >= 140


_SMALL = {"l1_bytes": 4096, "l0a_bytes": 2048, "l0b_bytes": 2048}


@pytest.mark.parametrize(
    ("spec", "some"),
    [
        # -2^31 + 1 and 64 products of 2^14 back and forth: below, then above, in one k.
        (matmul(1, 2, 260, bias=[INT_MIN, INT_MAX], activations="edges", weights="edges",
                       grain="instruction", **_SMALL), "sum/neg.saturate.instruction"),
        (matmul(2, 2, 260, bias=[INT_MAX], grain="instruction", overflow="wrap", layout="nd",
                       queue_depth=1, **_SMALL), "stall/queue-MTE2"),
        (matmul(130, 2, 5), "m/tiles"),
        (matmul(2, 130, 3, layout="nd"), "n/tiles"),
        (conv2d(33, 2, (3, 3), (3, 2), pads=(1, 1, 0, 2), offset_x=-128, batch=2,
                       dilations=(1, 2), activations="edges"), "mul/-128.0"),
        (matmul(3, 5, 8, bias=[2**24 + 1, 2**24 + 3, -(2**24) - 1, -(2**24) - 3, 2**30 + 33],
                       weights="zero", requant={"scale": 2.0**-20}), "cvt/tie-up"),
        (matmul(1, 4, 4, weights="zero", bias=[2049, 2051, -2049, -2051],
                       requant={"scale": 1.0, "mode": "DEQF16"}), "round/f16.tie-down"),
        (matmul(1, 3, 4, weights="zero", bias=[-1, 1, 0],
                       requant={"scale": 2.0**-130, "mode": "DEQF16", "relu": True}),
         "round/f16.-0"),
        (matmul(4, 4, 8, bias=[INT_MIN, INT_MAX, -9, 9], requant={"scale": 3e38}),
         "round/s8.clamp-high"),
        (matmul(4, 4, 8, bias=[-700, 700, -9, 9], requant_offset="unsigned",
                       requant={"scale": 0.3, "offset": 511, "signed": False}), "offset/max"),
        (matmul(4, 4, 8, bias=[-70000, 70000, -9, 9], requant_shift="n",
                       requant={"scale": 0.3, "shift": 1}), "reading/shift.n"),
        # A sum that wraps goes on from the other end, and is negative when it is scaled.
        (matmul(1, 1, 4, weights="max", activations="max", bias=[INT_MAX], overflow="wrap",
                       requant={"scale": 1e-9}), "relu/REQ8.none.neg"),
    ],
)  # fmt: skip
def test_bins_of_corners_agree_with_the_oracle(spec: Mapping[str, Any], some: str) -> None:
    case = made(spec)
    assert set(case.bins) == oracle_bins(case)
    assert some in case.bins


@pytest.mark.parametrize(
    ("bias", "rule", "rounding"),
    [
        (255, {"scale": 1.0, "signed": False}, "u8.exact"),
        (254, {"scale": 1.0, "offset": 2, "signed": False}, "u8.exact u8.high"),
        (256, {"scale": 1.0, "signed": False}, "u8.clamp-high"),
        (-1, {"scale": 1.0, "signed": False}, "u8.exact u8.low"),
        (127, {"scale": 1.0}, "s8.exact"),
        (128, {"scale": 1.0}, "s8.exact s8.high"),
        (-128, {"scale": 1.0}, "s8.exact"),
        (-129, {"scale": 1.0}, "s8.exact s8.low"),
        (-256, {"scale": 1.0, "offset": 200}, "s8.exact"),
        (-257, {"scale": 1.0, "offset": 200}, "s8.clamp-low"),
        (255, {"scale": 1.0, "offset": -200}, "s8.exact"),
        (511, {"scale": 0.5, "offset": -200}, "s8.clamp-high"),
        (5, {"scale": 0.5}, "s8.tie-down"),
        (7, {"scale": 0.5}, "s8.tie-up"),
        (-5, {"scale": 0.5}, "s8.tie-up"),
        (5, {"scale": 0.25}, "s8.below"),
        (7, {"scale": 0.25}, "s8.above"),
        (65504, {"scale": 1.0, "mode": "DEQF16"}, "f16.exact"),
        (-65504, {"scale": 1.0, "mode": "DEQF16"}, "f16.exact"),
        (65505, {"scale": 1.0, "mode": "DEQF16"}, "f16.high"),
        (-65505, {"scale": 1.0, "mode": "DEQF16"}, "f16.low"),
        (1, {"scale": 2.0**-14, "mode": "DEQF16"}, "f16.exact"),
        (1, {"scale": 2.0**-15, "mode": "DEQF16"}, "f16.exact f16.sub"),
        (1, {"scale": 2.0**-25, "mode": "DEQF16"}, "f16.tie-down"),
        (-1, {"scale": 2.0**-25, "mode": "DEQF16"}, "f16.-0 f16.tie-up"),
        (3, {"scale": 2.0**-25, "mode": "DEQF16"}, "f16.sub f16.tie-up"),
    ],
)
def test_rounding_of_one_value(bias: int, rule: Mapping[str, Any], rounding: str) -> None:
    case = made(matmul(1, 1, 4, weights="zero", bias=[bias], requant=rule))
    found = [name.removeprefix("round/") for name in case.bins if name.startswith("round/")]
    assert found == sorted(rounding.split())


def test_bins_are_sorted_and_each_once(level0: Level) -> None:
    for case in (case for cases in level0.values() for case in cases):
        assert list(case.bins) == sorted(set(case.bins))


def test_each_hit_bin_is_in_the_table_and_reachable(level0: Level) -> None:
    hit = {name for cases in level0.values() for case in cases for name in case.bins}
    listed = {f"{point.name}/{name}" for point in POINTS for name in point.bins}
    assert {name for name in hit - listed if not name.startswith("change/")} == set()
    assert hit & UNREACHABLE.keys() == set()


def test_bins_are_read_off_the_bytes_and_not_off_the_rules() -> None:
    case = made(matmul(1, 1, 4, weights="zero", activations="one", layout="nd"))
    assert "value/0000.0.0" in case.bins
    # By hand: e1 = -128 and e3 = 127, so the pair (1, 2) and the hex digit 9.
    pieces = {
        **case.pieces,
        "dense": CaseArray(np.array([[-128, 127, 0, 0]], np.int8), "nd"),
        "index": CaseArray(np.array([[0x09]], np.uint8), "nd"),
        "activations": CaseArray(np.array([[1, 0, 3, -1]], np.int8), "nd"),
    }
    found = bins(replace(case, pieces=pieces))
    wanted = {"value/0X0Y.0.-128", "value/0X0Y.1.127", "pair/12", "pos/0X0Y.0", "col/0X0Y.0",
              "act/-1", "act/0", "act/1", "act/pos", "mul/0.-128", "mul/-1.127"}  # fmt: skip
    assert wanted <= set(found)
    of = ("value/", "pair/", "pos/", "col/", "act/", "mul/")
    assert {name for name in found if name.startswith(of)} == wanted


@pytest.mark.parametrize(
    ("dense", "index", "pair", "pattern"),
    [
        ((7, 0), 0x6, "pair/21", "value/00X0.0.pos"),  # the pair of newer editions for a lone e2
        ((0, 7), 0x2, "pair/20", "value/0X00.1.pos"),  # a non-zero slot 1 of (2, 0): e1 by the rule
        ((7, 0), 0x3, "pair/30", "value/0000.0.pos"),  # an index of 3 selects nothing
        ((7, 9), 0xD, "pair/13", "value/0X00.1.pos"),
    ],
)
def test_bytes_that_the_encoder_never_writes_are_counted_as_unexpected(
    dense: tuple[int, int], index: int, pair: str, pattern: str
) -> None:
    case = made(matmul(1, 1, 4, weights="zero", layout="nd"))
    pieces = {
        **case.pieces,
        "dense": CaseArray(np.array([[*dense, 0, 0]], np.int8), "nd"),
        "index": CaseArray(np.array([[index]], np.uint8), "nd"),
    }
    found = bins(replace(case, pieces=pieces))
    assert {pair, pattern} <= set(found)
    table = Table()
    table.add(found)
    assert set(table.unexpected) == set(found) & UNREACHABLE.keys()
    assert {pair, pattern} & set(table.unexpected)
    assert all(name in str(table) and name in table.to_markdown() for name in table.unexpected)


@pytest.mark.parametrize(
    ("reading", "found"), [("rule", "value/0X00.1.pos"), ("table", "value/00X0.1.pos")]
)
def test_slot_1_of_the_pair_20_is_read_as_the_unit_does(reading: str, found: str) -> None:
    case = made(matmul(1, 1, 4, weights="zero", layout="nd", pair20=reading))
    pieces = {
        **case.pieces,
        "dense": CaseArray(np.array([[0, 7, 0, 0]], np.int8), "nd"),
        "index": CaseArray(np.array([[0x2]], np.uint8), "nd"),
    }
    assert found in bins(replace(case, pieces=pieces))


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"kind": "flip", "role": "index", "bit": 3}, {"change/flip", "change/flip.index"}),
        ({"kind": "truncated"}, {"change/truncated"}),
        ({"other": 1}, set()),
    ],
)
def test_a_changed_case_counts_by_change_and_outcome_only(
    change: Mapping[str, Any], names: set[str]
) -> None:
    case = made(matmul(1, 1, 4))
    changed = replace(case, spec={**case.spec, "change": change}, outcome={"kind": "masked"})
    assert set(bins(changed)) == names | {"outcome/masked"}
    Table().add(bins(changed))


@pytest.mark.parametrize(
    ("cause", "name"),
    [
        ("MTE2>MTE1#0 (L1 filled)", "L1-filled"),
        ("MTE2>FIX#7 (parameters in L1)", "parameters-in-L1"),
        ("unit flag (block of L0C)", "unit-flag"),
        ("hand-over of L1", "hand-over"),
        ("queue of MTE1 full", "queue-MTE1"),
        ("M>MTE2#0", "other"),
        ("MTE2>MTE1#0 (something new)", "other"),
        ("queue of X full", "other"),
        ("", "other"),
    ],
)
def test_what_a_pipe_waits_for_has_a_bin(cause: str, name: str) -> None:
    assert hits.stall(cause) == name
    assert coverage.is_bin(f"stall/{name}")


# --- what cannot be hit ---------------------------------------------------------------------------


def unreachable(point: str) -> set[str]:
    return {name for name in UNREACHABLE if name.startswith(f"{point}/")}


def reachable(point: str) -> set[str]:
    return {name for name in BINS if name.startswith(f"{point}/")} - unreachable(point)


@pytest.fixture(scope="module")
def all_legal_groups() -> tuple[Any, Any, Any]:
    """All 391,171 legal groups, with what the encoder makes of them: slots and index pairs."""
    byte = np.arange(-128, 128)
    byte = byte[byte != 0]
    found = [np.zeros((1, 4), np.int8)]
    for i in range(4):
        lone = np.zeros((255, 4), np.int8)
        lone[:, i] = byte
        found.append(lone)
        for j in range(i + 1, 4):
            two = np.zeros((255, 255, 4), np.int8)
            two[..., i], two[..., j] = byte[:, None], byte
            found.append(two.reshape(-1, 4))
    groups = np.concatenate(found)
    assert len(groups) == len(np.unique(groups, axis=0)) == 391_171
    sparse = encode(groups)  # one group a row
    return groups, sparse.dense[:, :2], sparse.index[:, 0]


def test_value_bins_are_reachable_just_where_a_legal_group_hits_them(
    all_legal_groups: tuple[Any, Any, Any],
) -> None:
    groups, slots, _ = all_legal_groups
    masks = (groups != 0) @ np.array([1, 2, 4, 8])
    hit = set()
    for mask, slot in product(range(16), (0, 1)):
        pattern = pattern_of([mask >> i & 1 for i in range(4)]) if mask.bit_count() <= 2 else ""
        for value in np.unique(slots[masks == mask, slot]).tolist():
            hit.add(f"value/{pattern}.{slot}.{value_class(value)}")
    assert hit == reachable("value")


def test_pair_bins_are_reachable_just_where_a_legal_group_hits_them(
    all_legal_groups: tuple[Any, Any, Any],
) -> None:
    index = all_legal_groups[2]
    hit = {f"pair/{digit & 3}{digit >> 2}" for digit in np.unique(index).tolist()}
    assert hit == reachable("pair")


def test_integers_have_neither_subnormals_nor_a_negative_zero() -> None:
    config = UnitConfig()
    for signed, scale in product((True, False), (-0.5, -0.0, 0.0, 2.0**-127, -(2.0**-127))):
        words = Requant(scale, signed=signed).words(config)
        got = requant.requantise(np.array([[-1, 0, 1]], np.int32), words, config)
        assert got.tolist() == [[0, 0, 0]]
    assert {"round/s8.sub", "round/s8.-0", "round/u8.sub", "round/u8.-0"} <= unreachable("round")


def test_deqf16_has_no_offset_and_no_clamp() -> None:
    with pytest.raises(ArgumentError, match="neither offset"):
        Requant(1.0, offset=1, mode="DEQF16")
    words = Requant(1.0, mode="DEQF16").words(UnitConfig())
    got = requant.dequantise(np.array([[-300, 300]], np.int32), words)
    assert got.tolist() == [[-300, 300]]
    assert {"round/f16.clamp-low", "round/f16.clamp-high"} <= unreachable("round")


def test_no_case_has_unit_flags_or_flags_without_a_name(level0: Level) -> None:
    named = {("MTE2", "MTE1"), ("MTE1", "MTE2"), ("MTE1", "M"), ("M", "MTE1"), ("M", "FIX"),
             ("FIX", "M"), ("MTE2", "FIX"), ("FIX", "MTE2")}  # fmt: skip
    for case in (case for cases in level0.values() for case in cases):
        assert case.run.plan is not None
        assert not case.run.plan.tile.unit_flag
        for i in case.run.program.instructions:
            assert not isinstance(i, isa.SetFlag | isa.WaitFlag) or (i.of, i.to) in named
    # A spec has no place for a tile of its own.
    spec = schema.load("case-1")["properties"]["spec"]
    assert spec["additionalProperties"] is False
    assert "tile" not in spec["properties"]
    assert unreachable("stall") == {"stall/unit-flag", "stall/other"}


def test_every_unreachable_bin_has_a_reason_and_an_argument() -> None:
    argued = {"value", "pair", "round", "stall"}  # the tests above
    assert {name.split("/")[0] for name in UNREACHABLE} == argued
    assert len(unreachable("round")) == 6
    assert all(len(reason) > 10 for reason in UNREACHABLE.values())
    assert UNREACHABLE.keys() <= set(BINS)


# --- the suites -----------------------------------------------------------------------------------


def test_level_0_hits_every_reachable_bin(level0: Level) -> None:
    table = table_of(case for cases in level0.values() for case in cases)
    assert table.holes == ()
    assert table.percent == 100
    assert table.unexpected == ()


def test_level_0_needs_no_luck(level0: Level) -> None:
    """What is hit by drawn shapes alone could be lost with another seed."""
    table = table_of(case for suite, cases in level0.items() if suite != "random" for case in cases)
    assert table.holes == ()


@pytest.mark.parametrize("left_out", ["shapes", "accumulate", "requant"])
def test_a_suite_that_is_left_out_leaves_its_holes(level0: Level, left_out: str) -> None:
    with_: set[str] = set()
    without: set[str] = set()
    for suite, cases in level0.items():
        for case in cases:
            (with_ if suite == left_out else without).update(case.bins)
    table = table_of(c for suite, cases in level0.items() if suite != left_out for c in cases)
    holes = {name for name in BINS if name not in UNREACHABLE and name not in without}
    assert set(table.holes) == holes
    assert holes & with_  # it was that suite that hit them
    assert table.percent < 100
    assert all(f"  {name}\n" in str(table) for name in table.holes)
    assert all(f"* `{name}`\n" in table.to_markdown() for name in table.holes)


def test_counts_are_of_cases(level0: Level) -> None:
    cases = level0["requant"]
    table = table_of(cases)
    assert table.cases == len(cases)
    for name in BINS:
        assert table.counts.get(name, 0) == sum(name in case.bins for case in cases)


# --- the table ------------------------------------------------------------------------------------

counts = st.dictionaries(st.sampled_from([*BINS, "change/flip", "change/a.b"]), st.integers(1, 5))
tables = st.builds(lambda cases, counts: Table(cases, counts), st.integers(5, 9), counts)


@given(tables, tables, tables)
def test_merging_adds(a: Table, b: Table, c: Table) -> None:
    assert a + b == b + a
    assert (a + b) + c == a + (b + c)
    assert a + Table() == a
    merged = a + b
    assert merged.cases == a.cases + b.cases
    for name in [*BINS, "change/flip", "change/a.b"]:
        assert merged.counts.get(name, 0) == a.counts.get(name, 0) + b.counts.get(name, 0)
    assert set(merged.holes) == set(a.holes) & set(b.holes)
    assert merged.to_json() == (b + a).to_json()


def test_merging_does_not_change_the_parts() -> None:
    a, b = Table(), Table()
    a.add(["pair/00"])
    b.add(["pair/00", "pair/10"])
    merged = a + b
    merged.add(["pair/00"])
    assert (a.counts, b.counts) == ({"pair/00": 1}, {"pair/00": 1, "pair/10": 1})
    assert merged.counts == {"pair/00": 3, "pair/10": 1}


def test_a_case_counts_once_for_a_bin_that_is_named_twice() -> None:
    table = Table()
    table.add(["pair/00", "pair/00"])
    assert (table.cases, table.counts) == (1, {"pair/00": 1})


def test_an_unknown_bin_is_refused_and_nothing_is_counted() -> None:
    table = Table()
    for name in ("pair/44", "pair", "nothing/00", "", "change/", "change/a b", "pair/00 "):
        with pytest.raises(ArgumentError, match="there is none of this name"):
            table.add(["pair/00", name])
    assert table == Table()
    assert table != 0


@given(tables)
def test_json_round_trip(table: Table) -> None:
    again = Table.from_json(table.to_json())
    assert again == table
    assert again.to_json() == table.to_json()


def test_the_order_of_cases_changes_nothing(level0: Level) -> None:
    cases = level0["shapes"]
    one, other = table_of(cases), table_of(reversed(cases))
    assert one.to_json() == other.to_json()
    assert (str(one), one.to_markdown()) == (str(other), other.to_markdown())


GOOD = json.loads(Table(3, {"pair/00": 2}).to_json())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("{", "no readable JSON"),
        ("[" * 100_000, "no readable JSON"),
        ([], "its schema is not"),
        ({**GOOD, "schema": "cube24-coverage-2"}, "its schema is not"),
        ({**GOOD, "counts": {"pair/44": 1}}, "'pair/44': there is none"),
        ({**GOOD, "counts": {"pair/00": 4}}, "4 of 3 cases"),
        ({**GOOD, "counts": {"pair/00": -1}}, "-1 of 3 cases"),
        ({**GOOD, "counts": {"pair/00": True}}, "True of 3 cases"),
        ({**GOOD, "counts": {"pair/00": 1.0}}, "1.0 of 3 cases"),
        ({**GOOD, "counts": {"pair/00": 2, "pair/10": 0}}, "counts does not follow"),
        ({**GOOD, "counts": {"pair/10": 2}}, "holes does not follow"),
        ({**GOOD, "counts": []}, "no counts"),
        ({**GOOD, "cases": -1}, "no number of cases"),
        ({**GOOD, "cases": True}, "no number of cases"),
        ({**GOOD, "percent": 100.0}, "percent does not follow"),
        ({**GOOD, "holes": []}, "holes does not follow"),
        ({**GOOD, "unreachable": {}}, "unreachable does not follow"),
        ({**GOOD, "more": 1}, "more does not follow"),
        ({name: GOOD[name] for name in GOOD if name != "holes"}, "holes does not follow"),
    ],
)
def test_json_that_is_no_coverage_is_refused(given: Any, message: str) -> None:
    text = given if isinstance(given, str) else json.dumps(given)
    with pytest.raises(FileFormatError, match=message) as error:
        Table.from_json(text, "some.json")
    assert error.value.path == "some.json"


def test_a_file_is_read_and_named_in_errors(tmp_path: Path) -> None:
    path = tmp_path / "coverage.json"
    path.write_text(json.dumps(GOOD))
    assert Table.load(path) == Table(3, {"pair/00": 2})
    path.write_bytes(b"\xff")
    with pytest.raises(FileFormatError, match=r"coverage\.json"):
        Table.load(path)


def test_the_text_has_a_line_for_each_coverpoint() -> None:
    table = Table(2, {"batch/1": 2, "pair/21": 1, "change/flip": 2})
    lines = {line.split()[0]: line.split() for line in str(table).splitlines() if line.strip()}
    assert lines["batch"][1:5] == ["2", "2", "1", "50.0"]
    assert lines["pair"][1:5] == ["16", "8", "0", "0.0"]  # (2, 1) is hit, but not reachable
    assert lines["change"][1:5] == ["-", "-", "1", "-"]
    total, out = len(BINS), len(UNREACHABLE)
    percent = 1000 // (total - out) / 10
    assert lines["all"][1:] == [str(total), str(total - out), "1", f"{percent:.1f}"]
    assert {point.name for point in POINTS} <= lines.keys()
    assert f"holes: {total - out - 1}" in str(table)
    assert all(reason in str(table) for reason in UNREACHABLE.values())
    assert all(reason in table.to_markdown() for reason in UNREACHABLE.values())
    assert "| batch | 2 | 2 | 1 | 50.0 | images |\n" in table.to_markdown()
    assert "| `batch/1` | 2 |\n" in table.to_markdown()


def test_a_single_hole_is_not_a_hundred_percent() -> None:
    names = [name for name in BINS if name not in UNREACHABLE]
    for hit in (*range(0, len(names), 50), len(names) - 1, len(names)):
        table = Table(1, dict.fromkeys(names[:hit], 1))
        exact = Fraction(100 * hit, len(names))
        assert exact - Fraction(1, 10) < Fraction(str(table.percent)) <= exact  # rounded down


# --- folders --------------------------------------------------------------------------------------


def test_folders_are_counted_by_their_manifests(tmp_path: Path, level0: Level) -> None:
    root = tmp_path / "vectors"
    campaign.generate(root, campaign.Campaign(("patterns",), 0, 1))
    wanted = table_of(level0["patterns"])
    assert coverage.of_folder(root) == wanted
    assert coverage.of_folder(str(root)) == wanted
    # No case counts twice, however often it is named.
    twice = [root, root / "patterns", root, root / "patterns" / ".."]
    assert coverage.of_folder(twice) == wanted
    one = level0["patterns"][0]
    assert coverage.of_folder(root / "patterns" / one.name) == table_of([one])


def test_a_manifest_with_an_unknown_bin_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "vectors"
    campaign.generate(root, campaign.Campaign(("patterns",), 0, 1))
    path = next(root.rglob("manifest.json"))
    manifest = json.loads(path.read_text())
    manifest["coverage"] = ["pair/77"]
    del manifest["sha256"]
    path.write_bytes(manifests.sealed(manifest))
    with pytest.raises(FileFormatError, match="pair/77") as error:
        coverage.of_folder(root)
    assert Path(error.value.path) == path.resolve()
    with pytest.raises(FileFormatError):
        coverage.of_folder(tmp_path / "nothing")
