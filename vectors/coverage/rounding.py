"""Which bins requantisation hits: words, shifts, ReLUs, and what rounding and saturation do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from cube24 import _core
from cube24.simulator import UnitConfig, requant
from cube24.vectors.case import Array
from cube24.vectors.coverage.points import FORMATS, ROUNDINGS, any_of, named


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
    fields, of_words = _read(words.tobytes(), mode, config)
    yield from of_words
    alpha = None if kind == "none" else 0.0 if kind == "relu" else float(relu)
    halves = mode == "DEQF16"
    seen = _core.tally_requant(np.ascontiguousarray(sums, np.int32), fields, alpha, halves)
    yield from _names_of(seen, f"relu/{mode}.{kind}.")


@lru_cache(maxsize=256)
def _read(words: bytes, mode: str, config: UnitConfig) -> tuple[Array, tuple[str, ...]]:
    """What the words of a case say, which many cases have, and the bins of that alone."""
    fields = requant.read_words(np.frombuffer(words, np.uint64), config)
    return fields, tuple(_of_fields(fields, mode, config))


#: The names of bits that are seen: the first bit, and what stands before them.
_SEEN: tuple[tuple[int, str, tuple[str, ...]], ...] = (
    (0, "cvt/", ROUNDINGS[:5]),
    (12, "shift/", ("drop-neg", "drop-pos", "low", "high")),
    *((first, f"round/{of}.", ROUNDINGS) for first, of in zip((16, 32, 48), FORMATS, strict=True)),
)


@lru_cache(maxsize=4096)
def _names_of(seen: int, relu: str) -> tuple[str, ...]:
    """The bins of bits that cube24_tally_requant sets; relu: how those of ReLU begin."""
    return tuple(
        f"{prefix}{name}"
        for first, prefix, names in (*_SEEN, (8, relu, ("neg", "0", "pos")))
        for bit, name in enumerate(names, first)
        if seen >> bit & 1
    )


def _of_fields(fields: Array, mode: str, config: UnitConfig) -> Iterator[str]:
    scale, mcb = fields["scale"], fields["shifts"] != 0
    shift, offset = fields["shift"], fields["offset"]
    yield f"rq/{mode}.{'one' if scale.size == 1 else 'column'}"
    sub = (scale != 0) & (np.abs(scale) < np.finfo(np.float32).tiny)
    yield from named("scale", neg=(scale < 0) & ~sub, sub=sub, pos=(scale > 0) & ~sub)
    if any_of(scale == 0):
        yield "scale/0"
    if mode != "REQ8":
        return
    yield from named("shift", none=~mcb)
    if any_of(mcb):
        yield f"reading/shift.{config.requant_shift}"
    for name, is_ in (("1", shift == 1), ("2-15", (shift > 1) & (shift < 16)), ("16", shift == 16)):
        if any_of(is_ & mcb):
            yield f"shift/{name}"
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
