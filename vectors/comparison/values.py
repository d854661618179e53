"""What the values of the differing outputs have in common: bits, distances, zeros, cut bits."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cube24.encoder import N0
from cube24.vectors.case import Array
from cube24.vectors.comparison.differences import ENOUGH, DifferencePattern, Differences, listed
from cube24.vectors.selection import Int


def values(of: Differences) -> Iterator[DifferencePattern]:
    """What holds for the values of all outputs that were got and differ."""
    yield from _bits(of)
    yield from _byte_order(of)
    yield from _zeros(of)
    if of.whole_numbers:
        yield from _distance(of)
        yield from _cut(of)


def _bits(of: Differences) -> Iterator[DifferencePattern]:
    changed = (of.right_bits ^ of.got_bits)[of.wrong]
    some, each = int(np.bitwise_or.reduce(changed)), int(np.bitwise_and.reduce(changed))
    some_text, each_text = (f"0x{mask:0{of.width // 4}x}" for mask in (some, each))
    yield DifferencePattern(
        "bits",
        f"{some_text} differ in some output, "
        + (f"{each_text} in each that differs" if each else "none in each that differs"),
        {"or": some_text, "and": each_text},
    )
    known = of.got_bits[of.known]
    ones, ever = int(np.bitwise_and.reduce(known)), int(np.bitwise_or.reduce(known))
    stuck = {bit: ones >> bit & 1 for bit in range(of.width) if some >> bit & 1}
    if known.size >= ENOUGH and not some & ever & ~ones:
        text = listed(stuck.items(), lambda item: f"bit {item[0]} is {item[1]}")
        yield DifferencePattern(
            "stuck-bits",
            f"{text} in all {known.size} outputs{of.only_got}, and no other bit differs",
            {"stuck": {str(bit): value for bit, value in stuck.items()}},
        )


def _byte_order(of: Differences) -> Iterator[DifferencePattern]:
    size = of.expected.dtype.itemsize
    if size == 1 or not of.enough:
        return
    raw = np.ascontiguousarray(of.right_bits)[..., None].view(np.uint8)
    orders = {
        "byte-order": ("the bytes of each output are reversed", raw[..., ::-1]),
        "bit-order": (
            "the bits of each output are reversed",
            np.packbits(np.unpackbits(raw[..., ::-1], axis=-1), axis=-1, bitorder="little"),
        ),
    }
    if size == 4:
        halves = raw.reshape(*raw.shape[:-1], 2, 2)
        orders["half-order"] = (
            "the two 16-bit halves of each output are exchanged",
            halves[..., ::-1, :].reshape(raw.shape),
        )
        orders["bytes-of-halves"] = (
            "the two bytes of each 16-bit half of each output are exchanged",
            halves[..., ::-1].reshape(raw.shape),
        )
    for name, (about, turned) in orders.items():
        other = np.ascontiguousarray(turned).view(of.right_bits.dtype)[..., 0]
        if of.gives(other):
            yield DifferencePattern(name, f"{about}{of.in_those_got}")


def _zeros(of: Differences) -> Iterator[DifferencePattern]:
    wrong = int(of.wrong.sum())
    same = np.unique(of.got_bits[of.wrong])
    if same.size == 1 and (wrong > 1 or not same[0]):
        text = f"0x{int(same[0]):0{of.width // 4}x}"
        name = "one-value" if same[0] else "zeros"
        yield DifferencePattern(name, f"{_all_differing(of, 'hold')} {text}", {"value": text})
    zero = (of.got_bits == 0) & of.known
    rows, columns = of.shape
    for name, axis, size in (("row", 1, columns), ("column", 0, rows)):
        if size == 1:
            continue
        there = np.flatnonzero(zero.all(axis=axis) & of.wrong.any(axis=axis))
        if there.size:
            inside = int(of.wrong.take(there, axis=1 - axis).sum())
            yield _zero(name, there, of.shape[1 - axis], inside, wrong)
    if columns > N0:
        lane = np.arange(columns) % N0
        all_zero = [bool(zero[:, lane == one].all()) for one in range(N0)]
        there = np.flatnonzero(all_zero & np.isin(np.arange(N0), lane[of.wrong.any(axis=0)]))
        if there.size:
            inside = int(of.wrong[:, np.isin(lane, there)].sum())
            yield _zero("lane", there, N0, inside, wrong)


def _zero(name: str, there: Int, count: int, inside: int, wrong: int) -> DifferencePattern:
    which = f"all {count} {name}s" if len(there) == count else f"{name} {listed(there.tolist())}"
    verb = "are" if len(there) > 1 else "is"
    share = "all differing outputs" if inside == wrong else f"{inside} of {wrong} that differ"
    return DifferencePattern(
        f"zero-{name}s",
        f"{which} {verb} zero in every output; that is {share}",
        {f"{name}s": there.tolist(), "differing": inside},
    )


def _all_differing(of: Differences, verb: str) -> str:
    """``all 3 differing outputs hold``; those without a value do not count."""
    count = int(of.wrong.sum())
    return f"all {count} differing outputs {verb}" if count > 1 else f"the differing output {verb}s"


def _distance(of: Differences) -> Iterator[DifferencePattern]:
    """A constant between what is expected and what was got, exactly or modulo 2^width."""
    if int(of.wrong.sum()) < 2:
        return
    right, got = (array[of.wrong].astype(np.int64) for array in (of.expected, of.got))
    exact = np.unique(got - right)
    if exact.size == 1:
        step = int(exact[0])
        yield DifferencePattern(
            "constant-difference", f"{_all_differing(of, 'are')} expected {step:+d}", {"plus": step}
        )
        return
    wrapped = np.unique((of.got_bits - of.right_bits)[of.wrong])
    if wrapped.size == 1:
        step = int(wrapped[0])
        step -= (step >> (of.width - 1)) << of.width
        yield DifferencePattern(
            "constant-difference",
            f"{_all_differing(of, 'are')} expected {step:+d} modulo 2^{of.width}",
            {"plus": step, "modulo": 1 << of.width},
        )


def _cut(of: Differences) -> Iterator[DifferencePattern]:
    """All outputs are what is expected with fewer bits."""
    right = of.expected.astype(np.int64)
    least = -1 if of.expected.dtype.kind == "i" else 0
    kinds: dict[str, tuple[str, list[int]]] = {
        "truncated": ("the low {} bits of what is expected, with the sign of the highest", []),
        "zero-extended": ("the low {} bits of what is expected, with zeros above", []),
        "low-bits-zero": ("what is expected with zeros in the low {} bits", []),
        "saturated": ("what is expected, saturated to {} bits", []),
    }
    for size in range(1, of.width):
        low, high = (1 << size) - 1, 1 << (size - 1)
        found = {
            "truncated": ((right & low) ^ high) - high,
            "zero-extended": right & low,
            "low-bits-zero": right & ~low,
            "saturated": np.clip(right, least * high, (high if least else 2 * high) - 1),
        }
        for name, array in found.items():
            if of.gives(_as(of, array)):
                kinds[name][1].append(size)
    for name, (about, sizes) in kinds.items():
        if sizes:
            several = " or ".join(map(str, sizes)) if len(sizes) < 5 else (
                f"{sizes[0]} to {sizes[-1]}"
            )  # fmt: skip
            about = about.replace("{} bits", f"{several} bits")
            count = int(of.known.sum())
            all_got = f"all {count} outputs{of.only_got} are"
            if count == 1:
                all_got = "the output that was got is" if of.only_got else "the output is"
            yield DifferencePattern(name, f"{all_got} {about}", {"bits": sizes})


def _as(of: Differences, array: Int) -> Array:
    """Whole numbers in the type of the result, modulo 2^width."""
    return np.asarray(array.astype(of.expected.dtype))
