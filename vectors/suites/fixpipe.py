"""The suite of FIXPIPE: what single bits of accumulators and parameter words do, and what not.

Suite requant has every mode; here stand the values between which nothing but the last bit of one
rounding decides, and words with bits that do not count.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cube24.vectors.spec import INT32_MAX, INT32_MIN, Item, Spec, matmul

#: Accumulators that fp32 cannot hold, beside ties of the result where the scale is 2^-25.
_LONG = [(1 << 24) + 1, (3 << 24) - 1, (3 << 24) - 2, (3 << 24) - 8, (3 << 24) + 2, (5 << 24) + 3]

#: (accumulator, scale) whose product lies beside a tie, nearer than fp32 can tell: just above and
#: just below one half and one and a half; in the last two it matters which way the accumulator was
#: rounded to fp32. The scales have all the bits that a word keeps.
_BESIDE = [
    (16760848, 1025 * 2.0**-35), (16695694, 1029 * 2.0**-35), (12570636, 1025 * 2.0**-33),
    (12497480, 1031 * 2.0**-33), (41902122, 1025 * 2.0**-34), (50184621, 1027 * 2.0**-35),
]  # fmt: skip

#: Scales that differ from a power of two, or one and a half of it, in the last bit of a word.
_LAST_BIT = [0.5 + 2.0**-11, 0.75 + 2.0**-11, 1 - 2.0**-11, 0.5]

#: Bits of a word that are flipped: the edges of each field, and what lies between the fields.
_BITS = (0, 12, 13, 22, 31, 32, 35, 36, 37, 44, 45, 46, 47, 63)

#: The word, by the number of its column, in which they are.
_COLUMN = 1


def _both(values: list[int]) -> list[int]:
    return [*values, *(-value for value in values)]


def _one_row(bias: list[int], requant: Mapping[str, Any], **rest: Any) -> Spec:
    """Accumulators that are the bias."""
    return matmul(
        1, len(bias), 4, weights="zero", bias=bias, requant=requant, layout="nd", **rest
    )  # fmt: skip


def _values() -> Iterator[tuple[str, Spec]]:
    beside = [x for x, _ in _BESIDE]
    scales = [scale for _, scale in _BESIDE]
    # 253 and -253 lie beside a tie after each of the scales.
    odd = [value for value in (1, 3, 253, 255, 1365) for _ in _LAST_BIT]
    last = {"scale": _LAST_BIT * (len(odd) // len(_LAST_BIT))}
    edge = [65534, 65536, 65538, 131072, INT32_MAX]
    signs = [7, -7, 1, -1, 300, -300, 0, 0]
    by_sign = {"scale": [0.5, 0.5, -0.5, -0.5] * 2}
    for mode, more in (("REQ8", ""), ("DEQF16", "-fp16")):
        yield f"long{more}", _one_row(_both(_LONG), {"scale": 2.0**-25, "mode": mode})
        yield f"beside{more}", _one_row(_both(beside), {"scale": scales * 2, "mode": mode})
        yield f"last-bit{more}", _one_row(odd, {**last, "mode": mode})
        for name, relu in (("relu", True), ("leaky", 0.375)):
            rule = {**by_sign, "mode": mode, "relu": relu}
            yield f"{name}-by-sign{more}", _one_row(signs, rule)
    rule = {"scale": [2.0**-127, -(2.0**-127)] * 2, "mode": "DEQF16"}
    yield "subnormal-fp16", _one_row([1, 1, -1, -1], rule)
    rule = {"scale": 3 * 2.0**-16, "shift": 1}
    yield "int16", _one_row([*_both(edge), INT32_MIN], rule)
    rule = {"scale": 3 * 2.0**-16, "shift": 1, "offset": 128, "signed": False}
    yield "int16-unsigned", _one_row([*_both(edge), INT32_MIN], rule)


def _words() -> Iterator[tuple[str, Spec]]:
    bias = [253, -253, 253, 2047]
    for name, rule in (
        ("vreq8", {"scale": [0.5, 0.5, 0.25, 0.0625], "offset": 3}),
        ("vreq8-shift", {"scale": [0.5, 0.5, 0.25, 0.5], "shift": 2, "offset": [-1, 2, 0, 1]}),
        ("vdeqf16", {"scale": [0.5, 0.5, 3.0, 1.0], "mode": "DEQF16"}),
    ):
        yield name, _one_row(bias, rule)


def cases(level: int, seed: int) -> Iterator[Item]:
    """Ties and edges that a single bit decides, and single flipped bits of words.

    Level 0 flips the edges of each field in one word, level 1 every bit of all words.
    """
    for name, spec in _values():
        yield Item(name, spec, ("requant", "edges"))
    for name, spec in _words():
        some = [64 * _COLUMN + bit for bit in _BITS]
        every = range(64 * spec["sizes"]["n"]) if level else ()
        for bit in sorted({*some, *every}):
            change = {"kind": "fault", "role": "requant", "bit": bit}
            yield Item(f"{name}-bit-{bit:03d}", {**spec, "change": change}, ("requant", "fault"))
