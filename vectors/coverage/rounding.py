"""Which bins requantisation hits: words, shifts, ReLUs, and what rounding and saturation do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from cube24.simulator import UnitConfig, requant
from cube24.vectors.case import Array
from cube24.vectors.coverage.points import any_of, named


def of_requant(
    sums: npt.NDArray[np.int64], words: Array, rule: Mapping[str, Any], config: UnitConfig
) -> Iterator[str]:
    """The bins of requantisation.

    Args:
        sums: accumulators (rows, n). words: of requantisation, (1,) or (n,).
        rule: of the spec. config: the unit.
    """
    mode, relu = rule.get("mode", "REQ8"), rule.get("relu", False)
    kind = ("relu" if relu else "none") if isinstance(relu, bool) else "leaky"
    yield f"rq/{mode}.{'one' if len(words) == 1 else 'column'}"
    of = _fields_of(words.tobytes(), config)
    scale = of.scale
    sub = (scale != 0) & (np.abs(scale) < np.finfo(np.float32).tiny)
    yield from named("scale", neg=(scale < 0) & ~sub, sub=sub, pos=(scale > 0) & ~sub)
    if any_of(scale == 0):
        yield "scale/0"
    x = sums
    if mode == "REQ8":
        yield from _of_shift(sums, of.mcb, of.shift, config)
        if any_of(of.mcb):
            shifted = np.minimum(np.maximum(sums >> of.shift, -(1 << 15)), (1 << 15) - 1)
            x = np.where(of.mcb, shifted, sums)
    singles = x.astype(np.float32)
    yield from _nearest("cvt/", x.astype(np.float64), singles)
    for sign, is_ in (("neg", x < 0), ("0", x == 0), ("pos", x > 0)):
        if any_of(is_):
            yield f"relu/{mode}.{kind}.{sign}"
    below = scale if kind == "none" else np.float32(0 if kind == "relu" else relu)
    with np.errstate(over="ignore"):
        y = (singles * np.where(singles < 0, below, scale)).astype(np.float64)
    if mode == "REQ8":
        yield from _of_bytes(y, of, config)
    else:
        yield from _of_halves(y)


@lru_cache(maxsize=256)
def _fields_of(words: bytes, config: UnitConfig) -> requant.Fields:
    """What the words of a case say, which many cases have."""
    return requant.fields_of(np.frombuffer(words, np.uint64), config)


def _of_shift(sums: Array, mcb: Array, shift: Array, config: UnitConfig) -> Iterator[str]:
    yield from named("shift", none=~mcb)
    if not any_of(mcb):
        return
    yield f"reading/shift.{config.requant_shift}"
    for name, is_ in (("1", shift == 1), ("2-15", (shift > 1) & (shift < 16)), ("16", shift == 16)):
        if any_of(is_ & mcb):
            yield f"shift/{name}"
    moved = sums >> shift
    dropped = mcb & (moved << shift != sums)
    yield from named(
        "shift",
        drop_neg=dropped & (sums < 0),
        drop_pos=dropped & (sums > 0),
        low=mcb & (moved < -(1 << 15)),
        high=mcb & (moved >= 1 << 15),
    )


def _of_bytes(y: Array, fields: requant.Fields, config: UnitConfig) -> Iterator[str]:
    """What rounding and saturation do in REQ8."""
    offset = fields.offset
    if any_of(offset):
        yield f"reading/offset.{config.requant_offset}"
    least, most = (-256, 255) if config.requant_offset == "signed" else (0, 511)
    yield from named(
        "offset",
        min=(offset == least) & (offset < 0),
        neg=(offset < 0) & (offset > least),
        pos=(offset > 0) & (offset < most),
        max=offset == most,
    )
    if any_of(offset == 0):
        yield "offset/0"
    signed = np.broadcast_to(fields.signed, y.shape[-1:])
    clamped_low, clamped_high = y < -256, y > 255
    result = np.rint(np.minimum(np.maximum(y, -256), 255))
    moved = result + offset
    low = moved < np.where(signed, -128, 0)
    high = moved > np.where(signed, 127, 255)
    for format_, of in (("s8", signed), ("u8", ~signed)):
        if not any_of(of):
            continue
        point = f"round/{format_}"
        inside = ~clamped_low & ~clamped_high & of
        for name in _nearest("", y[inside], result[inside]):
            # Halves lie midway between integers.
            yield f"{point}.{name}"
        for name, is_ in (
            ("clamp-low", clamped_low), ("clamp-high", clamped_high), ("low", low), ("high", high),
        ):  # fmt: skip
            if any_of(is_ & of):
                yield f"{point}.{name}"


def _of_halves(y: Array) -> Iterator[str]:
    """What rounding and saturation do in DEQF16."""
    low, high = y < -65504, y > 65504
    inside = y[~low & ~high]
    result = inside.astype(np.float32).astype(np.float16)
    yield from _nearest("round/f16.", inside, result)
    tiny = np.finfo(np.float16).tiny
    for name, is_ in (
        ("low", low), ("high", high), ("sub", (result != 0) & (np.abs(result) < tiny)),
        ("-0", (result == 0) & np.signbit(result)),
    ):  # fmt: skip
        if any_of(is_):
            yield f"round/f16.{name}"


def _nearest(prefix: str, exact: Array, rounded: Array) -> Iterator[str]:
    """How values were rounded to the nearest one of a type, or to integers (float64)."""
    error = rounded.astype(np.float64) - exact
    if rounded.dtype == np.float64:
        other = rounded - np.sign(error)
    else:  # the neighbour on the other side; of what is exact, none: the largest has none
        away = np.where(error == 0, rounded, np.copysign(np.inf, -error)).astype(rounded.dtype)
        other = np.nextafter(rounded, away).astype(np.float64)
    tie = (error != 0) & (np.abs(other - exact) == np.abs(error))
    for name, is_ in (
        ("exact", error == 0), ("tie-down", tie & (error < 0)), ("tie-up", tie & (error > 0)),
        ("below", ~tie & (error < 0)), ("above", ~tie & (error > 0)),
    ):  # fmt: skip
        if any_of(is_):
            yield f"{prefix}{name}"
