"""A device under test in plain Python loops, with faults that can be put into it.

It reads the arrays of a case and works from bytes and bits. It shares nothing with the package: no
import, no table, no constant. One output at a time, one group at a time.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np

FAULTS = (
    "index-pair-swapped", "index-nibbles-swapped", "index-msb-first", "slots-swapped",
    "slot1-without-plus-one", "fractal-order-nz", "fractal-order-zz", "k-n-exchanged",
    "activations-unsigned", "weights-unsigned", "saturates-instead-of-wraps",
    "wraps-instead-of-saturates", "last-rows-dropped", "last-columns-dropped", "last-k-dropped",
    "k-tail-not-zeroed", "k-fractal-skipped", "k-fractal-repeated", "bias-missing", "bias-twice",
    "rounds-half-away",
)  # fmt: skip


class Device:
    """The device, for one case.

    fault: one of FAULTS or "". which: of a k fractal, its number; of a last tile, its size; of a
    tail, "next" or "stale"; of a bias that comes twice, "before" or "after".
    """

    def __init__(
        self, spec: Mapping[str, Any], arrays: Mapping[str, Any], fault: str = "", which: Any = None
    ) -> None:
        assert fault in ("", *FAULTS)
        self.spec, self.fault, self.which = spec, fault, which
        self.size = spec["sizes"]
        self.conv = spec["operation"] == "conv2d"
        self.overrides = spec["unit"]["overrides"]
        self.overflow = self.overrides.get("overflow", "saturate")
        self.grain = self.overrides.get("grain", "step")
        self.index3 = self.overrides.get("index3", "error")
        self.pair20 = self.overrides.get("pair20", "rule")
        self.shift_means = self.overrides.get("requant_shift", "n+1")
        self.offset_is = self.overrides.get("requant_offset", "signed")
        if fault == "saturates-instead-of-wraps":
            self.overflow = "saturate"
        if fault == "wraps-instead-of-saturates":
            self.overflow = "wrap"
        self.dense = arrays["dense"].reshape(-1).tolist()
        self.index = arrays["index"].reshape(-1).tolist()
        self.x = arrays["activations"]
        self.flat = self.x.reshape(-1).tolist()
        self.bias = arrays["bias"].tolist() if "bias" in arrays else None
        self.words = arrays["requant"].tolist() if "requant" in arrays else None
        if self.conv:
            kh, kw = self.size["kernel"]
            self.n = self.size["cout"]
            self.k = -(-self.size["cin"] // 32) * kh * kw * 32
            self.c1 = self.x.shape[1]
            top, left, bottom, right = self.size["pads"]
            dy, dx = self.size["dilations"]
            sy, sx = self.size["strides"]
            self.ho = (self.size["h"] + top + bottom - (kh - 1) * dy - 1) // sy + 1
            self.wo = (self.size["w"] + left + right - (kw - 1) * dx - 1) // sx + 1
            self.m = self.ho * self.wo
            self.images = self.size["batch"]
        else:
            self.n, self.k, self.m, self.images = (
                self.size["n"], self.size["k"], self.size["m"], 1,
            )  # fmt: skip
        self.steps = -(-self.k // 64)

    def run(self) -> list[Any]:
        """All results, in C order."""
        out = []
        for image in range(self.images):
            for row in range(self.m):
                values = self.row(image, row)
                for column in range(self.n):
                    out.append(self.result(values, row, column))
        return out

    def row(self, image: int, row: int) -> list[int]:
        """The activations of one row, whole steps of 64."""
        values = [self.activation(image, row, k) for k in range(64 * self.steps)]
        if self.fault == "k-tail-not-zeroed":
            for k in range(self.k, 64 * self.steps):
                if self.which != "stale":
                    values[k] = self.read_on(image, row, k)
                elif k >= 64:
                    values[k] = values[k - 64]
        if self.fault == "activations-unsigned":
            values = [value + 256 if value < 0 else value for value in values]
        return values

    def read_on(self, image: int, row: int, k: int) -> int:
        row, k = row + k // self.k, k % self.k
        image, row = image + row // self.m, row % self.m
        return self.activation(image, row, k) if image < self.images else 0

    def activation(self, image: int, row: int, k: int) -> int:
        if k >= self.k:
            return 0
        if not self.conv:
            return self.flat[row * self.k + k]
        kh, kw = self.size["kernel"]
        lane, tap, block = k % 32, k // 32 % (kh * kw), k // 32 // (kh * kw)
        y = row // self.wo * self.size["strides"][0] + tap // kw * self.size["dilations"][0]
        z = row % self.wo * self.size["strides"][1] + tap % kw * self.size["dilations"][1]
        y, z = y - self.size["pads"][0], z - self.size["pads"][1]
        if y < 0 or z < 0 or y >= self.size["h"] or z >= self.size["w"]:
            return self.size["offset_x"]
        at = ((image * self.c1 + block) * self.size["h"] + y) * self.size["w"] + z
        return self.flat[at * 32 + lane]

    # --- the weight -------------------------------------------------------------------------------

    def byte(self, data: list[int], per_64: int, column: int, number: int) -> int:
        """Byte `number` of a row of dense (32 bytes for 64 of k) or index (8 bytes)."""
        if self.spec["layout"] == "nd":
            width = -(-self.k // 8) * per_64 // 8
            if self.fault == "k-n-exchanged":
                return data[number * self.n + column] if number < width else 0
            if number < width:
                return data[column * width + number]
            if self.fault == "k-tail-not-zeroed":
                if self.which == "stale":
                    return data[column * width + number - per_64] if number >= per_64 else 0
                at = column * width + number
                return data[at] if at < len(data) else 0
            return 0
        n1, k1 = -(-self.n // 16), self.steps
        fractal_k, fractal_n = number // per_64, column // 16
        inside_k, inside_n = number % per_64, column % 16
        if self.fault in ("fractal-order-nz", "k-n-exchanged"):
            fractal = fractal_n * k1 + fractal_k
        else:
            fractal = fractal_k * n1 + fractal_n
        if self.fault in ("fractal-order-nz", "fractal-order-zz"):
            inside = inside_k * 16 + inside_n
        else:
            inside = inside_n * per_64 + inside_k
        return data[fractal * 16 * per_64 + inside]

    def group(self, column: int, group: int) -> tuple[int, int, int, int]:
        """Weights of slot 0 and 1, and i0 and i1."""
        weights = [self.byte(self.dense, 32, column, 2 * group + slot) for slot in (0, 1)]
        byte = self.byte(self.index, 8, column, group // 2)
        fields = [byte & 3, byte >> 2 & 3, byte >> 4 & 3, byte >> 6 & 3]
        if self.fault == "index-msb-first":
            fields.reverse()
        odd = group % 2 == 1
        if self.fault == "index-nibbles-swapped":
            odd = not odd
        i0, i1 = fields[2:] if odd else fields[:2]
        if self.fault == "index-pair-swapped":
            i0, i1 = i1, i0
        if self.fault == "slots-swapped":
            weights.reverse()
        if self.fault == "weights-unsigned":
            weights = [weight % 256 for weight in weights]
        return weights[0], weights[1], i0, i1

    # --- one output -------------------------------------------------------------------------------

    def add(self, one: int, other: int) -> int:
        total = one + other
        if self.overflow == "saturate":
            return max(-(2**31), min(2**31 - 1, total))
        return (total + 2**31) % 2**32 - 2**31

    def products(self, values: list[int], column: int, step: int) -> int:
        total = 0
        for group in range(16 * step, 16 * step + 16):
            for weight, element in self.slots(*self.group(column, group), column, group):
                if element is not None:
                    total += self.product(weight, values[4 * group + element])
        return total

    def slots(
        self, w0: int, w1: int, i0: int, i1: int, column: int, group: int
    ) -> list[tuple[int, int | None]]:
        """Of both slots the weight and the element that it meets; None: nothing."""
        if self.index3 == "error":
            assert i0 < 3
            assert i1 < 3
        second = i1 if self.fault == "slot1-without-plus-one" else i1 + 1
        if self.pair20 == "table" and (i0, i1) == (2, 0):
            second = 2
        return [(w0, None if i0 == 3 else i0), (w1, None if i1 == 3 else second)]

    def product(self, weight: int, value: int) -> int:
        return weight * value

    def accumulate(self, values: list[int], column: int) -> int:
        bias = self.bias[column] if self.bias is not None else 0
        if self.fault == "bias-missing":
            bias = 0
        total = bias
        if self.fault == "bias-twice" and self.which == "before":
            total = self.add(total, bias)
        exact = self.grain == "instruction"
        # One Mmad takes all of k in cases as small as this; its sum is exact.
        assert not exact or self.k <= 320
        held = 0
        for step in range(self.steps):
            times = 1
            if self.fault == "last-k-dropped":
                tile = (self.which or 64) // 64
                if step // tile == (self.steps - 1) // tile:
                    times = 0
            if self.fault == "k-fractal-skipped" and step == self.which:
                times = 0
            if self.fault == "k-fractal-repeated" and step == self.which:
                times = 2
            for _ in range(times):
                if exact:
                    held += self.products(values, column, step)
                else:
                    total = self.add(total, self.products(values, column, step))
        if exact:
            total = self.add(total, held)
        if self.fault == "bias-twice" and self.which == "after":
            total = self.add(total, bias)
        return total

    def result(self, values: list[int], row: int, column: int) -> Any:
        at, size = (row, self.m) if self.fault == "last-rows-dropped" else (column, self.n)
        if self.fault in ("last-rows-dropped", "last-columns-dropped"):
            tile = self.which or 16
            if at // tile == (size - 1) // tile:
                return 0
        total = self.accumulate(values, column)
        return total if self.words is None else self.requantise(total, column)

    # --- requantisation, with exact fractions -----------------------------------------------------

    def requantise(self, total: int, column: int) -> Any:
        how = self.spec["requant"]
        half = how.get("mode", "REQ8") == "DEQF16"
        word = self.word(column)
        if self.shifts(word, half):
            total = self.int16(self.shifted(total, self.shift(word)))
        x = self.fp32_of(total)
        factor = self.scale(word)
        if x < 0:
            factor = self.below_zero(factor, how.get("relu", False))
        y = self.scaled(x, factor)
        if half:
            negative = (x < 0) != (str(factor)[0] == "-")
            return self.fp16(abs(self.within_fp16(y))) | (0x8000 if negative else 0)
        return self.eight_bits(self.moved(self.within_9_bits(y), word), word)

    def word(self, column: int) -> int:
        return int(self.words[column if len(self.words) > 1 else 0])

    def shifts(self, word: int, half: bool) -> bool:
        return word >> 36 & 1 == 1 and not half

    def shift(self, word: int) -> int:
        return (word >> 32 & 15) + (0 if self.shift_means == "n" else 1)

    def shifted(self, total: int, shift: int) -> int:
        return total >> shift

    def int16(self, value: int) -> int:
        return max(-32768, min(32767, value))

    def fp32_of(self, total: int) -> float:
        return fp32(Fraction(total))

    def scale(self, word: int) -> float:
        return fp32_bits(word & 0xFFFFE000)

    def below_zero(self, scale: float, relu: bool | float) -> float:
        """What a negative x is multiplied by."""
        if relu is True:
            return 0.0
        return scale if relu is False else fp32(Fraction(relu))

    def scaled(self, x: float, factor: float) -> Fraction:
        return Fraction(fp32(Fraction(x) * Fraction(factor)))

    def within_9_bits(self, y: Fraction) -> Fraction:
        return max(Fraction(-256), min(Fraction(255), y))

    def within_fp16(self, y: Fraction) -> Fraction:
        return max(Fraction(-65504), min(Fraction(65504), y))

    def moved(self, y: Fraction, word: int) -> int:
        return self.nearest(y) + self.offset(word)

    def offset(self, word: int) -> int:
        offset = word >> 37 & 511
        return offset - 512 if offset >= 256 and self.offset_is == "signed" else offset

    def eight_bits(self, value: int, word: int) -> int:
        low, high = (-128, 127) if word >> 46 & 1 else (0, 255)
        return max(low, min(high, value))

    def nearest(self, value: Fraction) -> int:
        if self.fault == "rounds-half-away":
            down = int(abs(value) + Fraction(1, 2))
            return down if value >= 0 else -down
        return round(value)  # Python's rounding: ties to even

    def fp16(self, value: Fraction) -> int:
        """The bits of a number that is not negative."""
        exponent = -14
        while value >= Fraction(2) ** (exponent + 1):
            exponent += 1
        units = self.nearest(value / Fraction(2) ** (exponent - 10))
        return units + (exponent + 14) * 1024


def fp32_bits(bits: int) -> float:
    """The fp32 of these bits."""
    (value,) = struct.unpack("<f", struct.pack("<I", bits))
    return float(value)


def exponent(value: Fraction) -> int:
    """The e with 2^e <= value < 2^(e + 1), for a value above 0."""
    found = 0
    while value >= Fraction(2) ** (found + 1):
        found += 1
    while value < Fraction(2) ** found:
        found -= 1
    return found


def fp32(value: Fraction) -> float:
    """The nearest fp32, ties to even; no overflow, no subnormals."""
    if value == 0:
        return 0.0
    unit = Fraction(2) ** (exponent(abs(value)) - 23)
    return float(round(value / unit) * unit)


def run(
    spec: Mapping[str, Any],
    arrays: Mapping[str, Any],
    fault: str = "",
    which: Any = None,
    device: type[Device] = Device,
) -> Any:
    """What a device writes, as an array like the expected one."""
    found = device(spec, arrays, fault, which).run()
    expected = arrays["expected"]
    if expected.dtype == np.float16:
        return np.array(found, np.uint16).view(np.float16).reshape(expected.shape)
    return np.array(found, np.int64).astype(expected.dtype).reshape(expected.shape)
