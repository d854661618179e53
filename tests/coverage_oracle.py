"""The bins of a case in plain Python: the oracle of coverage.

It reads the original weight, not the bytes, and takes the encoding from tests/oracle.py; only the
groups of foreign bytes, which are those of no weight, are read bit by bit. It loops over Python
integers and rounds with struct and fractions; it shares nothing with the package.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from fractions import Fraction
from itertools import product
from typing import Any

import oracle

from cube24.simulator import UnitConfig, isa
from cube24.vectors.case import Case

INT_MIN, INT_MAX = -(2**31), 2**31 - 1


def value_class(value: int) -> str:
    if value in (-128, -1, 0, 1, 127):
        return str(value)
    return "neg" if value < 0 else "pos"


def pattern_of(group: list[int]) -> str:
    letters = iter("XY")
    return "".join(next(letters) if value else "0" for value in group)


#: What the encoder writes, by whether slot 0 and 1 are zero, and i0 and i1: of each pattern one.
OWN = {
    (group[0] != 0, group[1] != 0, *group[2:])
    for group in (
        oracle.encode_group(list(bits)) for bits in product((0, 1), repeat=4) if sum(bits) <= 2
    )
}  # fmt: skip


def foreign_group(case: Case, n: int, g: int) -> tuple[int, int, int, int]:
    """Both slots, i0 and i1 of a group, from the bytes of a matrix."""
    dense, index = (case.pieces[role].array for role in ("dense", "index"))
    if case.spec["layout"] == "zn":  # (K1, N1, 16, 32) and (K1, N1, 16, 8)
        dense, index = (of[g // 16, n // 16, n % 16] for of in (dense, index))
        g %= 16
    else:
        dense, index = dense[n], index[n]
    if g // 2 >= len(index):  # rows end before the unit does
        return 0, 0, 0, 0
    bits = f"{int(index[g // 2]):08b}"
    pair = bits[:4] if g % 2 else bits[4:]
    return int(dense[2 * g]), int(dense[2 * g + 1]), int(pair[2:], 2), int(pair[:2], 2)


class PlainCase:
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
    of = PlainCase(case)
    spec = case.spec
    found = {"outcome/result", f"op/{spec['operation']}.{spec['layout']}"}
    found |= {f"act/{value_class(value)}" for value in of.activations}
    seen = [{value_class(value) for value in column} for column in zip(*of.rows, strict=True)]
    for n, row in enumerate(of.weights):
        for g in of.there:
            group = row[4 * g : 4 * g + 4]
            if isinstance(spec["fill"]["weights"], dict) and "foreign" in spec["fill"]["weights"]:
                d0, d1, i0, i1 = foreign_group(case, n, g)
            else:
                d0, d1, i0, i1 = oracle.encode_group(group)
                assert sum(map(bool, (d0, d1))) == sum(map(bool, group))
            zeros = ("n" if d0 else "z") + ("n" if d1 else "z")
            found.add(f"pair/{i0}{i1}")
            if (i0, i1) == (2, 0):
                found.add(f"pair20/{case.unit.pair20}.{zeros}")
            if 3 in (i0, i1):
                assert case.unit.index3 == "nothing"
                found.add(f"index3/{i0}{i1}.{zeros}")
            elif (d0 != 0, d1 != 0, i0, i1) in OWN:
                # Of foreign bytes, what the group holds also where K ends within it.
                there = {i0: d0} | ({i1 + 1: d1} if d1 else {})
                pattern = pattern_of([there.get(element, 0) for element in range(4)])
                found |= {
                    f"value/{pattern}.0.{value_class(d0)}", f"value/{pattern}.1.{value_class(d1)}",
                    f"pos/{pattern}.{g % 16}", f"col/{pattern}.{n % 16}",
                }  # fmt: skip
            else:
                name = f"{i0}{i1}.{zeros}"
                found |= {f"foreign/{name}.{g % 16}", f"foreigncol/{name}.{n % 16}"}
            second = 2 if case.unit.pair20 == "table" and (i0, i1) == (2, 0) else i1 + 1
            for held, i, k in ((d0, i0, 4 * g + i0), (d1, i1, 4 * g + second)):
                if i < 3:
                    found |= {f"mul/{one}.{value_class(held)}" for one in seen[k]}
    found |= set(shape_bins(case, of))
    found |= set(bias_bins(case))
    sums, overflow = of.accumulators(case)
    found |= {f"sum/{name}.{case.unit.overflow}.{case.unit.grain}" for name in overflow}
    found |= width_bins(case, of)
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


def width_bins(case: Case, of: PlainCase) -> set[str]:
    """How many bits the widest sums after a step need, without and with the bias."""
    bias = case.pieces["bias"].array.tolist() if "bias" in case.pieces else None
    found = set()
    for name, starts, classes in (
        ("products", None, (16, 20, 22, 24, 27)),
        ("sum", bias, (16, 20, 22, 24, 27, 31, 32)),
    ):
        all_of_them = []
        for x in of.rows:
            for n, w in enumerate(of.weights):
                total = starts[n] if starts else 0
                all_of_them.append(total)
                for begin in range(0, len(w), 64):
                    step = slice(begin, begin + 64)
                    total += sum(a * b for a, b in zip(x[step], w[step], strict=True))
                    all_of_them.append(total)
        for sign, widest in (("pos", max(all_of_them)), ("neg", min(all_of_them))):
            if (widest > 0) if sign == "pos" else (widest < 0):
                bits = 1
                while not -(2 ** (bits - 1)) <= widest < 2 ** (bits - 1):
                    bits += 1
                fits = [most for most in classes if bits <= most] or [classes[-1]]
                found.add(f"width/{name}.{sign}.{fits[0]}")
    return found


def shape_bins(case: Case, of: PlainCase) -> Iterator[str]:
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
