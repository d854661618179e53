"""The rules of docs/unit.md, and for each of them devices that break it: mutants of the plain one.

A mutant is right in all but one thing. The committed set has to tell each of them from a right
device; tests/vectors/test_mutants.py holds that, and the tables in docs/mutants.md.

python tests/mutants.py [NAME...]

looks for the first case, cheap ones first, that kills each mutant (or those of these names), and
prints the tables. It takes some minutes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import plain_device as plain
from plain_device import Device

GOLDEN = Path(__file__).parents[1] / "vectors" / "golden"

#: The rules, word for word as docs/unit.md has them.
RULES = {
    # --- The sparse datapath ---
    "groups": (
        "One step multiplies a 16 x 64 block of A by a 32 x 16 block of kept weights. For each "
        "column n and each group g of the 16 groups in the 64 of k:"
    ),
    "slot-0": "slot 0 takes A[m, 4g + i0],",
    "slot-1": "slot 1 takes A[m, 4g + i1 + 1].",
    "index-alone": "The index alone decides; whether a weight is zero does not matter.",
    "exact": "The 32 products are summed exactly,",
    "accumulator": "and the sum is added to the int32 accumulator, which saturates [ADK].",
    "order": "Steps go from low to high k.",
    "beyond-k": (
        "What the padding holds takes no part in a result: elements of A beyond k count as zero,"
    ),
    "written": "and only the m x n elements of C are written.",
    # --- Configuration, the OPEN points ---
    "overflow": "| a sum that int32 cannot hold | `overflow` | `saturate` | `wrap` |",
    "grain": (
        "| what is summed exactly before it is added to the accumulator | `grain` | `step`: the 32 "
        "products of one step | `instruction` |"
    ),
    "index3": (
        "| an index of 3 | `index3` | `error` | `nothing`: the slot selects nothing |"
    ),
    "pair20": (
        "| slot 1 of the pair (2, 0) | `pair20` | `rule`: element 1 | `table`: element 2 |"
    ),
    "requant-shift": (
        "| the shift that field N of a word means | `requant_shift` | `n+1` | `n` |"
    ),
    "requant-offset": (
        "| the 9-bit offset of a word | `requant_offset` | `signed` | `unsigned` |"
    ),
    # --- Instructions, as far as a result tells of them ---
    "start": (
        "`start`: `zero`, `keep` what L0C holds, or `bias` from BT for every row."
    ),
    "img2col": (
        "img2col of an image (c1, h, w, 32), K order (C1, Kh, Kw, 32), rows are output positions; "
        "padding holds `pad`."
    ),
    # --- Requantisation ---
    "word-scale": "| 31:13 | scale: an fp32 without its low 13 mantissa bits |",
    "word-n": "| 35:32 | N, for the right shift |",
    "word-mcb": "| 36 | MCB: shift first |",
    "word-offset": "| 45:37 | offset, 9 bits |",
    "word-signed": "| 46 | the result is signed |",
    "columns": "`req8` takes one word for all columns, `vreq8` one a column.",
    "shift": (
        "In this order: x is the accumulator, or with MCB the accumulator shifted right and "
        "saturated to int16;"
    ),
    "to-fp32": "x becomes fp32 (nearest, ties to even);",
    "scaled": "y = x * scale in fp32,",
    "relu": "or for x < 0 with ReLU x * 0,",
    "leaky": "with a leaky ReLU x * alpha;",
    "clamp": "y is clamped to -256..255,",
    "round": "rounded (ties to even),",
    "offset": "the offset is added,",
    "saturates": "and the result saturates to int8 or uint8.",
    "half": (
        "`deqf16` and `vdeqf16`: y = x * scale in fp32, clamped to +-65504, rounded to fp16 (ties "
        "to even);"
    ),
    "half-x": "x is the accumulator, whatever MCB says.",
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """A device that breaks a rule: what it does instead, and how the plain one becomes it."""

    name: str
    rule: str
    what: str
    device: type[Device] = Device
    fault: str = ""
    which: Any = None


Parts = dict[str, Callable[..., Any]]
Slots = list[tuple[int, int | None]]


def _mutants() -> Iterator[Mutant]:
    def one(rule: str, name: str, what: str, **parts: Callable[..., Any]) -> Mutant:
        return Mutant(name, rule, what, type(name, (Device,), dict(parts)))

    def fault(rule: str, name: str, what: str, which: Any = None, **more: Any) -> Mutant:
        return Mutant(more.get("called", name), rule, what, Device, name, which)

    yield from _selecting(one, fault)
    yield from _summing(one, fault)
    yield from _unfolding(one)
    yield from _requantising(one, fault)


# --- selecting ------------------------------------------------------------------------------------


def _slots(change: Callable[[Slots, int, int, int, int], Slots]) -> Parts:
    """Parts that change what the slots of a group select, by both weights and indices."""

    def slots(self: Device, w0: int, w1: int, i0: int, i1: int, column: int, group: int) -> Slots:
        right = Device.slots(self, w0, w1, i0, i1, column, group)
        return change(right, w0, w1, i0, i1)

    return {"slots": slots}


def _where(change: Callable[[Slots, int, int], Slots], there: Callable[[int, int], bool]) -> Parts:
    """Parts that change it in some groups and columns only, by both indices."""

    def slots(self: Device, w0: int, w1: int, i0: int, i1: int, column: int, group: int) -> Slots:
        right = Device.slots(self, w0, w1, i0, i1, column, group)
        return change(right, i0, i1) if there(column, group) else right

    return {"slots": slots}


def _selecting(one: Any, fault: Any) -> Iterator[Mutant]:
    yield fault("groups", "index-nibbles-swapped", "the even group is in the upper nibble")
    yield fault("groups", "index-msb-first", "the bit pairs of an index byte go down")
    yield fault("groups", "fractal-order-nz", "fractals of weights are Nz")
    yield fault("groups", "fractal-order-zz", "fractals of weights are Zz")
    yield fault("groups", "k-n-exchanged", "K and N of the weight are exchanged")
    yield one("groups", "activations-of-8", "group g takes A[m, 8 (g // 2) + i]", slots=(
        lambda self, w0, w1, i0, i1, column, group:
            [(w, None if e is None else e - 4 * (group % 2))
             for w, e in Device.slots(self, w0, w1, i0, i1, column, group)]
    ))  # fmt: skip
    yield one("groups", "last-group-lost", "group 15 of a step is not multiplied", **_where(
        lambda right, i0, i1: [], lambda column, group: group % 16 == 15))  # fmt: skip
    yield one("groups", "last-column-as-first", "column 15 of a fractal reads column 0", group=(
        lambda self, column, group:
            Device.group(self, column - 15 * (column % 16 == 15), group)
    ))  # fmt: skip
    yield one("slot-0", "slot-0-of-i1", "slot 0 takes A[m, 4g + i1]", **_slots(
        lambda right, w0, w1, i0, i1: [(w0, i1 if i1 < 3 else None), right[1]]))  # fmt: skip
    yield one("slot-0", "slot-0-plus-one", "slot 0 takes A[m, 4g + i0 + 1]", **_slots(
        lambda right, w0, w1, i0, i1: [(w0, i0 + 1 if i0 < 3 else None), right[1]]))  # fmt: skip
    yield fault("slot-0", "slots-swapped", "the two bytes of a group are exchanged")
    yield fault("slot-0", "index-pair-swapped", "i0 and i1 are exchanged")
    yield one("slot-1", "slot-1-of-i0", "slot 1 takes A[m, 4g + i0 + 1]", **_slots(
        lambda right, w0, w1, i0, i1: [right[0], (w1, i0 + 1 if i0 < 3 else None)]))  # fmt: skip
    yield fault("slot-1", "slot1-without-plus-one", "slot 1 takes A[m, 4g + i1]")
    for i0, i1 in ((i0, i1) for i0 in range(3) for i1 in range(3)):
        for slot in (0, 1):
            yield one(
                "index-alone", f"pair-{i0}{i1}-slot-{slot}-lost",
                f"slot {slot} of the pair ({i0}, {i1}) is not multiplied",
                **_slots(lambda right, w0, w1, j0, j1, pair=(i0, i1), slot=slot:
                         [right[1 - slot]] if (j0, j1) == pair else right),
            )  # fmt: skip
    for i0, i1 in ((1, 0), (2, 1)):
        same = f"of the pair ({i0}, {i1}), which select one element,"
        yield one(
            "index-alone", f"pair-{i0}{i1}-wrong", f"slot 1 of the pair ({i0}, {i1}) takes "
            f"A[m, 4g + 3], but only where its weight is not zero",
            **_slots(lambda right, w0, w1, j0, j1, pair=(i0, i1):
                     [right[0], (w1, 3)] if (j0, j1) == pair and w1 else right),
        )  # fmt: skip
        yield one(
            "index-alone", f"pair-{i0}{i1}-in-int8",
            f"both weights {same} are added in 8 bits before they are multiplied",
            **_slots(lambda right, w0, w1, j0, j1, pair=(i0, i1):
                     [((w0 + w1 + 128) % 256 - 128, right[0][1])] if (j0, j1) == pair else right),
        )  # fmt: skip
    yield one("index-alone", "ascending-only", "slot 1 is not multiplied unless i1 >= i0", **_slots(
        lambda right, w0, w1, i0, i1: right if i1 >= i0 else right[:1]))  # fmt: skip
    yield one(
        "index-alone", "zero-gates-the-group", "a group whose slot 0 is zero is not multiplied",
        **_slots(lambda right, w0, w1, i0, i1: right if w0 else []),
    )  # fmt: skip
    yield one(
        "index-alone", "lone-weight-by-slot-0", "a weight in slot 1 beside a zero in slot 0 "
        "takes A[m, 4g + i0]", **_slots(lambda right, w0, w1, i0, i1:
                                        [right[0], (w1, i0 if i0 < 3 else None)] if w0 == 0
                                        else right),
    )  # fmt: skip
    for name, what, there in (
        ("upper-nibble", "an upper nibble", lambda column, group: group % 2 == 1),
        ("lower-nibble", "a lower nibble", lambda column, group: group % 2 == 0),
        ("group-15", "group 15 of a row of a fractal", lambda column, group: group % 16 == 15),
        ("column-15", "column 15 of a fractal", lambda column, group: column % 16 == 15),
    ):
        yield one(
            "index-alone", f"descending-lost-in-{name}",
            f"slot 1 of (1, 0), (2, 0) and (2, 1) is not multiplied in {what}",
            **_where(lambda right, i0, i1: right if i1 >= i0 else right[:1], there),
        )  # fmt: skip
    yield one("pair20", "pair20-of-the-rule", "always element 1", slots=_with("pair20", "rule"))
    yield one("pair20", "pair20-of-the-table", "always element 2", slots=_with("pair20", "table"))
    yield one(
        "pair20", "table-drops-slot-0", "read by the table, slot 0 of (2, 0) is not multiplied",
        slots=lambda self, w0, w1, i0, i1, column, group:
            Device.slots(self, w0, w1, i0, i1, column, group)[
                1 if (self.pair20, i0, i1) == ("table", 2, 0) else 0:],
    )  # fmt: skip
    yield one("index3", "index3-is-accepted", "selects nothing where it is an error",
              slots=_with("index3", "nothing"))  # fmt: skip
    yield one("index3", "index3-is-refused", "is an error where it selects nothing",
              slots=_with("index3", "error"))  # fmt: skip
    for slot, element in ((0, 3), (0, 0), (1, 3), (1, 0)):
        yield one(
            "index3", f"index3-of-slot-{slot}-selects-{element}",
            f"slot {slot} takes A[m, 4g + {element}] where it selects nothing",
            **_slots(lambda right, w0, w1, i0, i1, slot=slot, element=element:
                     [(w, element if e is None and at == slot else e)
                      for at, (w, e) in enumerate(right)]),
        )  # fmt: skip
    yield one(
        "index3", "index3-gates-the-group", "a group with an index of 3 is not multiplied",
        **_slots(lambda right, w0, w1, i0, i1: [] if 3 in (i0, i1) else right),
    )  # fmt: skip


def _with(name: str, value: str) -> Callable[..., Slots]:
    """The slots of a device whose configuration has another value."""

    def slots(self: Device, *args: int) -> Slots:
        kept = getattr(self, name)
        setattr(self, name, value)
        try:
            return Device.slots(self, *args)
        finally:
            setattr(self, name, kept)

    return slots


# --- summing --------------------------------------------------------------------------------------


def within(value: int, bits: int, overflow: str = "wrap") -> int:
    """A number as so many bits of two's complement hold it."""
    half = 1 << bits - 1
    if overflow == "saturate":
        return max(-half, min(half - 1, value))
    return (value + half) % (2 * half) - half


def _narrow(bits: int, overflow: str) -> Parts:
    """The sum of products so far stands in fewer bits; all that those hold comes out right."""

    def accumulate(self: Device, values: list[int], column: int) -> int:
        total = self.bias[column] if self.bias is not None else 0
        held = added = 0
        for step in range(self.steps):
            held = within(held + self.products(values, column, step), bits, overflow)
            if self.grain == "step" or step == self.steps - 1:
                total, added = self.add(total, held - added), held
        return total

    return {"accumulate": accumulate}


def _late(self: Device, values: list[int], column: int) -> int:
    """The bias added after the last step, and not before the first."""
    total = 0
    for step in range(self.steps):
        total = self.add(total, self.products(values, column, step))
    return self.add(total, self.bias[column] if self.bias is not None else 0)


def _backwards(self: Device, values: list[int], column: int) -> int:
    total = self.bias[column] if self.bias is not None else 0
    if self.grain == "instruction":
        return Device.accumulate(self, values, column)
    for step in reversed(range(self.steps)):
        total = self.add(total, self.products(values, column, step))
    return total


def _sticky(self: Device, values: list[int], column: int) -> int:
    """A sum that has saturated stays where it is."""
    if self.overflow != "saturate" or self.grain != "step":
        return Device.accumulate(self, values, column)
    total = self.bias[column] if self.bias is not None else 0
    for step in range(self.steps):
        exact = total + self.products(values, column, step)
        if (total := self.add(total, exact - total)) != exact:
            break
    return total


def _halves(self: Device, values: list[int], column: int) -> int:
    """Sums of 16 products are added to the accumulator."""
    if self.grain != "step":
        return Device.accumulate(self, values, column)
    total = self.bias[column] if self.bias is not None else 0
    for step in range(self.steps):
        blank = [0] * 32
        low = [*values[: 64 * step], *values[64 * step : 64 * step + 32], *blank]
        all_of_it = self.products(values, column, step)
        half = self.products(low + values[64 * step + 64 :], column, step)
        total = self.add(self.add(total, half), all_of_it - half)
    return total


def _grain(grain: str) -> Callable[..., int]:
    def accumulate(self: Device, values: list[int], column: int) -> int:
        kept, self.grain = self.grain, grain
        try:
            return Device.accumulate(self, values, column)
        finally:
            self.grain = kept

    return accumulate


def _uncleared(self: Device, values: list[int], column: int) -> int:
    """Without a bias the accumulator still holds the last result."""
    total = self.add(getattr(self, "left", 0), Device.accumulate(self, values, column))
    if self.bias is None:
        self.left = total
    return total


def _bias_of(column: Callable[[int], int]) -> Callable[..., int]:
    def accumulate(self: Device, values: list[int], at: int) -> int:
        kept = self.bias
        if self.bias is not None:
            self.bias = [self.bias[column(at)]] * len(self.bias)
        try:
            return Device.accumulate(self, values, at)
        finally:
            self.bias = kept

    return accumulate


def _row_0_only(self: Device, values: list[int], row: int, column: int) -> Any:
    kept = self.bias
    if self.bias is not None and row:
        self.bias = [0] * len(self.bias)
    try:
        return Device.result(self, values, row, column)
    finally:
        self.bias = kept


def _summing(one: Any, fault: Any) -> Iterator[Mutant]:
    yield fault("exact", "activations-unsigned", "activations are taken for uint8")
    yield fault("exact", "weights-unsigned", "weights are taken for uint8")
    yield one("exact", "product-of-15-bits", "-128 x -128 is 16383",
              product=lambda self, w, x: min(16383, w * x))  # fmt: skip
    yield one("exact", "weight-minus-128-is-minus-127", "weights are symmetric: -128 counts as "
              "-127", product=lambda self, w, x: max(-127, w) * x)  # fmt: skip
    yield one("exact", "product-of-minus-128-wraps", "-128 x -128 wraps to -16384",
              product=lambda self, w, x: -(2**14) if w == x == -128 else w * x)  # fmt: skip
    for bits, overflow in ((18, "wrap"), (20, "wrap"), (20, "saturate")):
        yield one(
            "exact", f"step-of-{bits}-bits-{overflow}",
            f"the sum of a step has {bits} bits and {overflow}s",
            products=lambda self, *args, bits=bits, overflow=overflow:
                within(Device.products(self, *args), bits, overflow),
        )  # fmt: skip
    for bits, overflow in ((20, "wrap"), (22, "wrap"), (22, "saturate"), (24, "saturate"),
                           (26, "wrap"), (26, "saturate")):  # fmt: skip
        yield one(
            "accumulator", f"accumulator-of-{bits}-bits-{overflow}",
            f"the sum of products so far, without the bias, has {bits} bits and {overflow}s",
            **_narrow(bits, overflow),
        )  # fmt: skip
    yield one("accumulator", "accumulator-of-31-bits", "saturates to 31 bits",
              add=lambda self, a, b: within(Device.add(self, a, b), 31, "saturate"))  # fmt: skip
    yield one(
        "accumulator", "symmetric", "saturates to -2^31 + 1 below",
        add=lambda self, a, b: max(1 - 2**31, Device.add(self, a, b))
        if self.overflow == "saturate" else Device.add(self, a, b),
    )  # fmt: skip
    yield one(
        "accumulator", "saturates-above-only", "wraps below",
        add=lambda self, a, b: min(2**31 - 1, a + b) if a + b > 0 else within(a + b, 32),
    )  # fmt: skip
    yield one(
        "accumulator", "saturates-below-only", "wraps above",
        add=lambda self, a, b: max(-(2**31), a + b) if a + b < 0 else within(a + b, 32),
    )  # fmt: skip
    yield one("accumulator", "sticky", "a sum that has saturated stays", accumulate=_sticky)
    yield fault("overflow", "saturates-instead-of-wraps", "always saturates")
    yield fault("overflow", "wraps-instead-of-saturates", "always wraps")
    yield one("order", "backwards", "steps go from high to low k", accumulate=_backwards)
    yield fault("order", "k-fractal-skipped", "the first step is not added", 0)
    yield fault("order", "k-fractal-repeated", "the first step is added twice", 0)
    yield one("grain", "grain-of-a-step", "always adds step by step", accumulate=_grain("step"))
    yield one("grain", "grain-of-an-instruction", "always adds all steps of an instruction at once",
              accumulate=lambda self, values, column:
                  _grain("instruction" if self.k <= 320 else "step")(self, values, column),
              )  # fmt: skip
    yield one("grain", "grain-of-16-products", "adds half a step at once", accumulate=_halves)
    yield fault("start", "bias-missing", "starts from zero where there is a bias")
    yield fault("start", "bias-twice", "the bias is added again after the last step", "after")
    yield one("start", "bias-late", "the bias is added after the last step", accumulate=_late)
    yield one("start", "bias-of-column-0", "all columns have the bias of column 0",
              accumulate=_bias_of(lambda column: 0))  # fmt: skip
    yield one("start", "bias-of-16-columns", "column n has the bias of column n % 16",
              accumulate=_bias_of(lambda column: column % 16))  # fmt: skip
    yield one("start", "bias-of-row-0", "only row 0 has a bias", result=_row_0_only)
    yield one("start", "not-cleared", "starts from the last result, not from zero",
              accumulate=_uncleared)  # fmt: skip
    yield fault("beyond-k", "k-tail-not-zeroed", "what lies behind k, in memory, is multiplied",
                "next")  # fmt: skip
    yield fault("beyond-k", "k-tail-not-zeroed", "what the step before held is multiplied",
                "stale", called="k-tail-stale")  # fmt: skip
    yield fault("beyond-k", "last-k-dropped", "the last step of k is not added")
    yield one("beyond-k", "a-beyond-k-is-one", "elements of A beyond k count as one",
              activation=lambda self, image, row, k:
                  1 if k >= self.k else Device.activation(self, image, row, k))  # fmt: skip
    yield fault("written", "last-rows-dropped", "the last 16 rows are not written")
    yield fault("written", "last-columns-dropped", "the last 16 columns are not written")


# --- img2col --------------------------------------------------------------------------------------


def _sized(change: Callable[[dict[str, Any]], None]) -> Parts:
    """Parts that unfold images by other sizes; the result keeps its shape."""

    def activation(self: Device, image: int, row: int, k: int) -> int:
        if not self.conv or k >= self.k:
            return Device.activation(self, image, row, k)
        kept, other = self.size, dict(self.size)
        change(other)
        self.size = other
        try:
            return Device.activation(self, image, row, k)
        finally:
            self.size = kept

    return {"activation": activation}


def _taps_first(self: Device, image: int, row: int, k: int) -> int:
    """K order (Kh, Kw, C1, 32)."""
    if self.conv and k < self.k:
        kh, kw = self.size["kernel"]
        tap, block = k // 32 // self.c1, k // 32 % self.c1
        k = (block * kh * kw + tap) * 32 + k % 32
    return Device.activation(self, image, row, k)


def _columns_first(self: Device, image: int, row: int, k: int) -> int:
    """K order (C1, Kw, Kh, 32)."""
    if self.conv and k < self.k:
        kh, kw = self.size["kernel"]
        tap, block = k // 32 % (kh * kw), k // 32 // (kh * kw)
        k = (block * kh * kw + tap % kh * kw + tap // kh) * 32 + k % 32
    return Device.activation(self, image, row, k)


def _by_columns(self: Device, image: int, row: int, k: int) -> int:
    """Rows are output positions, but column by column."""
    if self.conv:
        row = row % self.ho * self.wo + row // self.ho
    return Device.activation(self, image, row, k)


def _unfolding(one: Any) -> Iterator[Mutant]:
    def sized(name: str, what: str, **sizes: Callable[[Any], Any]) -> Mutant:
        def change(size: dict[str, Any]) -> None:
            for key, of in sizes.items():
                size[key] = of(size[key])

        return one("img2col", name, what, **_sized(change))

    yield one("img2col", "taps-before-channels", "K order (Kh, Kw, C1, 32)", activation=_taps_first)
    yield one("img2col", "kernel-transposed", "K order (C1, Kw, Kh, 32)", activation=_columns_first)
    yield one("img2col", "positions-by-columns", "rows are output positions, column by column",
              activation=_by_columns)  # fmt: skip
    yield sized("padding-of-zero", "padding holds 0", offset_x=lambda of: 0)
    yield sized("stride-of-one", "strides are 1", strides=lambda of: (1, 1))
    yield sized("strides-exchanged", "strides are exchanged", strides=lambda of: of[::-1])
    yield sized("dilation-of-one", "dilations are 1", dilations=lambda of: (1, 1))
    yield sized("dilations-exchanged", "dilations are exchanged", dilations=lambda of: of[::-1])
    yield sized("pads-exchanged", "the top pad is that of the left side, and the other way round",
                pads=lambda of: (of[1], of[0], *of[2:]))  # fmt: skip
    yield sized("no-padding", "padding is not counted", pads=lambda of: (0, 0, 0, 0))


# --- requantisation -------------------------------------------------------------------------------


def _truncated(value: Fraction, keep: int) -> float:
    """A number cut to so many bits of mantissa."""
    if value == 0:
        return 0.0
    exponent = plain.exponent(abs(value))
    unit = Fraction(2) ** (exponent - keep + 1)
    down = int(abs(value) / unit) * unit
    return float(down if value > 0 else -down)


def _half_up(value: Fraction) -> int:
    return int((value + Fraction(1, 2)).__floor__())


def _flushed(value: float) -> float:
    return value if abs(value) >= 2.0**-126 else 0.0


def _requantising(one: Any, fault: Any) -> Iterator[Mutant]:
    bits = plain.fp32_bits
    yield one("word-scale", "scale-of-32-bits", "the scale is 31:0",
              scale=lambda self, word: bits(word & 0xFFFFFFFF))  # fmt: skip
    yield one("word-scale", "scale-of-18-bits", "the scale is 31:14",
              scale=lambda self, word: bits(word & 0xFFFFC000))  # fmt: skip
    yield one("word-scale", "scale-of-16-bits", "the scale is 31:16",
              scale=lambda self, word: bits(word & 0xFFFF0000))  # fmt: skip
    yield one("word-scale", "scale-without-sign", "the scale is 30:13",
              scale=lambda self, word: bits(word & 0x7FFFE000))  # fmt: skip
    yield one("word-scale", "subnormal-scale-is-zero", "a subnormal scale counts as +0",
              scale=lambda self, word: _flushed(Device.scale(self, word)))  # fmt: skip
    yield one("word-n", "n-of-3-bits", "N is 34:32",
              shift=lambda self, word: Device.shift(self, word & ~(8 << 32)))  # fmt: skip
    yield one("word-n", "n-of-5-bits", "N is 36:32",
              shift=lambda self, word:
                  Device.shift(self, word) + (word >> 36 & 1) * 16)  # fmt: skip
    yield one("word-n", "n-without-its-lowest-bit", "N is 35:33, times 2",
              shift=lambda self, word: Device.shift(self, word & ~(1 << 32)))  # fmt: skip
    yield one("word-mcb", "never-shifts", "MCB is not looked at, and nothing is shifted",
              shifts=lambda self, word, half: False)  # fmt: skip
    yield one("word-mcb", "always-shifts", "MCB is not looked at, and all is shifted",
              shifts=lambda self, word, half: not half)  # fmt: skip
    yield one("word-mcb", "shifts-by-n", "it is shifted where N is not 0, not where MCB is set",
              shifts=lambda self, word, half: not half and word >> 32 & 15 != 0)  # fmt: skip
    yield one("word-offset", "offset-of-8-bits", "the offset is 44:37",
              offset=lambda self, word: Device.offset(self, word & ~(256 << 37)))  # fmt: skip
    yield one("word-offset", "offset-without-its-lowest-bit", "the offset is 45:38, times 2",
              offset=lambda self, word: Device.offset(self, word & ~(1 << 37)))  # fmt: skip
    yield one("word-offset", "no-offset", "there is no offset", offset=lambda self, word: 0)
    yield one("word-signed", "always-signed", "the result is int8",
              eight_bits=lambda self, value, word:
                  Device.eight_bits(self, value, word | 1 << 46))  # fmt: skip
    yield one("word-signed", "never-signed", "the result is uint8",
              eight_bits=lambda self, value, word:
                  Device.eight_bits(self, value, word & ~(1 << 46)))  # fmt: skip
    yield one("word-signed", "signed-by-bit-47", "bit 47 says whether the result is signed",
              eight_bits=lambda self, value, word:
                  Device.eight_bits(self, value, word >> 1))  # fmt: skip
    yield one("columns", "first-word-for-all", "all columns take the first word",
              word=lambda self, column: int(self.words[0]))  # fmt: skip
    yield one("columns", "word-of-16-columns", "column n takes the word of column n % 16",
              word=lambda self, column: Device.word(self, column % 16))  # fmt: skip
    yield one("requant-shift", "shift-of-n", "always N", shift=lambda self, word: word >> 32 & 15)
    yield one("requant-shift", "shift-of-n-plus-one", "always N + 1",
              shift=lambda self, word: (word >> 32 & 15) + 1)  # fmt: skip
    yield one("requant-offset", "offset-always-signed", "always signed",
              offset=lambda self, word: within(word >> 37 & 511, 9))  # fmt: skip
    yield one("requant-offset", "offset-never-signed", "never signed",
              offset=lambda self, word: word >> 37 & 511)  # fmt: skip
    yield one("shift", "shifts-towards-zero", "-1 >> 1 is 0",
              shifted=lambda self, x, n: x >> n if x >= 0 else -(-x >> n))  # fmt: skip
    yield one("shift", "shift-rounds", "the shift rounds half up",
              shifted=lambda self, x, n: x + (1 << n >> 1) >> n)  # fmt: skip
    yield one("shift", "shift-logical", "zeros are shifted in",
              shifted=lambda self, x, n: within(x % 2**32 >> n, 32))  # fmt: skip
    yield one("shift", "int16-wraps", "what is shifted wraps to int16",
              int16=lambda self, x: within(x, 16))  # fmt: skip
    yield one("shift", "int16-symmetric", "what is shifted saturates to -32767",
              int16=lambda self, x: max(-32767, min(32767, x)))  # fmt: skip
    yield one("shift", "no-int16", "what is shifted is not saturated",
              int16=lambda self, x: x)  # fmt: skip
    yield one("shift", "int16-before-the-shift", "is saturated first, then shifted",
              shifted=lambda self, x, n: within(x, 16, "saturate") >> n)  # fmt: skip
    yield one("to-fp32", "fp32-cut", "x is cut to 24 bits",
              fp32_of=lambda self, x: _truncated(Fraction(x), 24))  # fmt: skip
    yield one("to-fp32", "fp32-half-away", "ties of x go away from zero",
              fp32_of=lambda self, x: _away(Fraction(x), 24))  # fmt: skip
    yield one("to-fp32", "x-stays-exact", "x is not rounded", fp32_of=lambda self, x: float(x))
    yield one("to-fp32", "x-of-22-bits", "x becomes a float of 22 bits",
              fp32_of=lambda self, x: _away(Fraction(x), 22))  # fmt: skip
    yield one("scaled", "y-stays-exact", "y is not rounded to fp32",
              scaled=lambda self, x, factor: Fraction(x) * Fraction(factor))  # fmt: skip
    yield one("scaled", "y-cut", "y is cut to fp32",
              scaled=lambda self, x, factor:
                  Fraction(_truncated(Fraction(x) * Fraction(factor), 24)))  # fmt: skip
    yield one("scaled", "y-of-fp16", "y is multiplied in fp16",
              scaled=lambda self, x, factor:
                  Fraction(_away(Fraction(x) * Fraction(factor), 11)))  # fmt: skip
    yield one("relu", "no-relu", "there is no ReLU",
              below_zero=lambda self, scale, relu:
                  scale if relu is True else Device.below_zero(self, scale, relu))  # fmt: skip
    yield one("relu", "relu-by-the-scale", "ReLU looks at the sign of y, not of x",
              below_zero=lambda self, scale, relu: 0.0 if relu is True and scale > 0 else
              scale if relu is True else Device.below_zero(self, scale, relu),
              scaled=lambda self, x, factor: max(Fraction(0), Device.scaled(self, x, factor))
              if self.spec["requant"].get("relu") is True else
              Device.scaled(self, x, factor))  # fmt: skip
    yield one("leaky", "leaky-as-relu", "x * 0",
              below_zero=lambda self, scale, relu:
                  scale if relu is False else 0.0)  # fmt: skip
    yield one("leaky", "leaky-times-scale", "x * scale * alpha",
              below_zero=lambda self, scale, relu:
                  Device.below_zero(self, scale, relu) * (1 if isinstance(relu, bool) else scale)
              )  # fmt: skip
    yield one("leaky", "no-leaky", "x * scale",
              below_zero=lambda self, scale, relu: 0.0 if relu is True else scale)  # fmt: skip
    yield one("clamp", "no-clamp", "y is not clamped", within_9_bits=lambda self, y: y)
    yield one("clamp", "clamp-to-8-bits", "y is clamped to -128..127",
              within_9_bits=lambda self, y: max(Fraction(-128), min(Fraction(127), y)))  # fmt: skip
    yield one("clamp", "clamp-to-255-below", "y is clamped to -255..255",
              within_9_bits=lambda self, y: max(Fraction(-255), min(Fraction(255), y)))  # fmt: skip
    yield one("clamp", "clamp-to-256-above", "y is clamped to -256..256",
              within_9_bits=lambda self, y: max(Fraction(-256), min(Fraction(256), y)))  # fmt: skip
    yield one("clamp", "clamp-after-the-offset", "y is clamped after the offset is added",
              within_9_bits=lambda self, y: y,
              moved=lambda self, y, word:
                  max(-256, min(255, Device.moved(self, y, word))))  # fmt: skip
    yield fault("round", "rounds-half-away", "ties go away from zero")
    yield one("round", "rounds-half-up", "ties go up",
              nearest=lambda self, y: _half_up(y))  # fmt: skip
    yield one("round", "rounds-down", "is cut downwards", nearest=lambda self, y: y.__floor__())
    yield one("round", "rounds-to-zero", "is cut towards zero",
              nearest=lambda self, y: y.__trunc__())  # fmt: skip
    yield one("offset", "offset-before-rounding", "the offset is added before rounding",
              moved=lambda self, y, word: self.nearest(y + self.offset(word)))  # fmt: skip
    yield one("offset", "offset-subtracted", "the offset is subtracted",
              moved=lambda self, y, word: self.nearest(y) - self.offset(word))  # fmt: skip
    yield one("saturates", "eight-bits-wrap", "the result wraps",
              eight_bits=lambda self, value, word:
                  within(value, 8) if word >> 46 & 1 else value % 256)  # fmt: skip
    yield one("saturates", "int8-symmetric", "int8 saturates to -127",
              eight_bits=lambda self, value, word:
                  max(-127, Device.eight_bits(self, value, word))
                  if word >> 46 & 1 else Device.eight_bits(self, value, word))  # fmt: skip
    yield one("half", "fp16-infinite", "what fp16 cannot hold is infinite",
              within_fp16=lambda self, y:
                  max(Fraction(-65536), min(Fraction(65536), y)))  # fmt: skip
    yield one("half", "fp16-no-subnormals", "subnormals of fp16 are zero",
              fp16=lambda self, y:
                  Device.fp16(self, y) if y >= Fraction(1, 2**14) else 0)  # fmt: skip
    yield one("half", "fp16-cut", "is cut to fp16", fp16=lambda self, y:
              Device.fp16(self, Fraction(_truncated(y, 11))) if y >= Fraction(1, 2**14) else
              int(y * 2**24))  # fmt: skip
    yield one("half", "fp16-half-up", "ties of fp16 go away from zero",
              fp16=_fp16_half_up)  # fmt: skip
    yield one("half", "fp16-without-minus-0", "a negative zero loses its sign",
              requantise=lambda self, *args:
                  0 if (found := Device.requantise(self, *args)) == 0x8000 else found)  # fmt: skip
    yield one("half-x", "fp16-shifts", "x is shifted where MCB says so",
              shifts=lambda self, word, half: word >> 36 & 1 == 1)  # fmt: skip
    yield one("half-x", "fp16-with-offset", "the offset is added to y",
              within_fp16=lambda self, y: Device.within_fp16(self, y + self.half_offset),
              word=_noted)  # fmt: skip


def _noted(self: Device, column: int) -> int:
    word = Device.word(self, column)
    self.half_offset = self.offset(word)
    return word


def _away(value: Fraction, keep: int) -> float:
    """The nearest number with so many bits of mantissa, ties away from zero."""
    if value == 0:
        return 0.0
    unit = Fraction(2) ** (plain.exponent(abs(value)) - keep + 1)
    found = _half_up(abs(value) / unit) * unit
    return float(found if value > 0 else -found)


def _fp16_half_up(self: Device, value: Fraction) -> int:
    exponent = max(-14, plain.exponent(value)) if value else -14
    return _half_up(value / Fraction(2) ** (exponent - 10)) + (exponent + 14) * 1024


MUTANTS: dict[str, Mutant] = {mutant.name: mutant for mutant in _mutants()}


# --- cases ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Golden:
    """A case of the committed set, read without the package: spec, arrays, and what must come out.

    expected: bytes; None: it must be refused.
    """

    name: str
    spec: dict[str, Any]
    arrays: dict[str, Any]
    expected: bytes | None

    def gives(self, mutant: Mutant | None = None) -> bytes | None:
        """What a mutant, or the plain device, gives; None: it refuses."""
        of = mutant or Mutant("", "", "")
        try:
            found = plain.run(self.spec, self.arrays, of.fault, of.which, of.device)
        except AssertionError:
            return None
        return bytes(found.tobytes())


def arrays_of(folder: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """The arrays of a case, with a reader that shares nothing with the package."""
    found = {}
    for entry in manifest["files"]:
        if entry["format"] != "hex":
            continue
        lines = (folder / entry["name"]).read_text().splitlines()
        assert len(lines) == entry["words"]
        data = b"".join(bytes.fromhex(line)[::-1] for line in lines)
        dtype = np.dtype(entry["dtype"])
        size = dtype.itemsize * int(np.prod(entry["shape"]))
        assert not any(data[size:])
        found[entry["role"]] = np.frombuffer(data[:size], dtype).reshape(entry["shape"])
    return found


def golden(folder: Path) -> Golden:
    """Read a case."""
    manifest = json.loads((folder / "manifest.json").read_text())
    arrays = arrays_of(folder, manifest)
    name = f"{manifest['suite']}/{manifest['case']}"
    if manifest["outcome"]["kind"] != "error":
        return Golden(name, manifest["spec"], arrays, arrays["expected"].tobytes())
    size = manifest["spec"]["sizes"]
    arrays["expected"] = np.zeros((size["m"], size["n"]), np.int32)
    return Golden(name, manifest["spec"], arrays, None)


def all_golden() -> list[Golden]:
    """The cases that a device computes or refuses by itself, those with few products first.

    Those of suite negative are not among them: what is wrong with a file, its reader finds.
    """
    found = [
        golden(path.parent) for path in sorted(GOLDEN.rglob("manifest.json"))
        if path.parent.name != "bad" and "negative" not in path.parts
    ]  # fmt: skip

    def products(case: Golden) -> int:
        size = case.arrays["expected"].size
        return size * (64 + case.arrays["dense"].size // max(1, case.arrays["expected"].shape[-1]))

    return sorted(found, key=lambda case: (products(case), case.name))


def killer(mutant: Mutant, cases: list[Golden]) -> Golden | None:
    """The first case on which a mutant gives something else than it must."""
    return next((case for case in cases if case.gives(mutant) != case.expected), None)


# --- the tables -----------------------------------------------------------------------------------


def rule_row(name: str) -> str:
    """A line of the table of rules; a line of a table of docs/unit.md without its bars."""
    cells = [cell.strip() for cell in RULES[name].strip("|").split("|")]
    return f"| `{name}` | {'; '.join(cells)} |"


def mutant_row(mutant: Mutant, case: str) -> str:
    """A line of the table of mutants."""
    return f"| `{mutant.rule}` | `{mutant.name}` | {mutant.what} | `{case}` |"


def main(*names: str) -> int:
    """Print the tables; gives the number of mutants that are alive."""
    cases, alive = all_golden(), 0
    if not names:
        print(*map(rule_row, RULES), "", sep="\n")
    for mutant in [MUTANTS[name] for name in names or MUTANTS]:
        found = killer(mutant, cases)
        alive += found is None
        print(mutant_row(mutant, found.name if found else "ALIVE"), flush=True)
    print(f"{alive} alive")
    return alive


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]) > 0)
