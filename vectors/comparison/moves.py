"""Outputs that are right and stand elsewhere: written in another order, shifted, permuted."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cube24.encoder import N0
from cube24.vectors.case import Array
from cube24.vectors.comparison.differences import DifferencePattern, Differences, listed
from cube24.vectors.comparison.table import M0
from cube24.vectors.selection import Int

#: Shifts by so many outputs are tried, and those by so many rows.
_FAR = 1024


def moves(of: Differences) -> Iterator[DifferencePattern]:
    """What outputs hold that are other outputs of the case."""
    if np.unique(of.right_bits).size < 2:
        return  # each output is like each other one
    if of.enough:
        yield from _orders(of)
        yield from _shifts(of)
    for name, axis in (("row", 0), ("column", 1)):
        yield from _lines(of, name, axis)
    yield from _lanes(of)
    yield from _inside(of)


def _orders(of: Differences) -> Iterator[DifferencePattern]:
    """The whole result written in another order of the same outputs."""
    right, (rows, columns) = of.right_bits, of.shape
    orders: dict[str, tuple[str, Array]] = {}
    if rows > 1 and columns > 1:
        orders["transposed"] = ("column by column, as its transpose", right.T)
    if rows % M0 == 0 and columns % N0 == 0:
        blocks = right.reshape(rows // M0, M0, columns // N0, N0)
        fractals = "in fractals of 16 x 16"
        orders |= {
            "fractals-nz": (f"{fractals} along the rows first (Nz)", blocks.transpose(2, 0, 1, 3)),
            "fractals-zz": (f"{fractals} along the columns first (Zz)",
                            blocks.transpose(0, 2, 1, 3)),
            "fractals-zn": (f"{fractals} along the columns first, each column by column (Zn)",
                            blocks.transpose(0, 2, 3, 1)),
            "fractals-nn": (f"{fractals} along the rows first, each column by column (Nn)",
                            blocks.transpose(2, 0, 3, 1)),
            "fractals-transposed": ("with each fractal of 16 x 16 transposed",
                                    blocks.transpose(0, 3, 2, 1)),
        }  # fmt: skip
    for name, (about, order) in orders.items():
        if of.gives(order.reshape(of.shape)):
            yield DifferencePattern(name, f"the result is written {about}{of.in_those_got}")


def _shifts(of: Differences) -> Iterator[DifferencePattern]:
    """Each output is the one a fixed way before or behind it, in the order of the file.

    At the ends there is none, so that nothing is said of as many outputs; the others are more.
    """
    right, got, known = (array.reshape(-1) for array in (of.right_bits, of.got_bits, of.known))
    half, row = right.size // 2, of.shape[1]
    for far in sorted(
        {*range(1, min(half, _FAR) + 1), *range(row, min(half, row * _FAR) + 1, row)}
    ):
        ends = slice(far, None), slice(None, -far)
        for before, (here, there) in ((True, ends), (False, ends[::-1])):
            few = slice(0, 64)
            if not ((got[here][few] == right[there][few]) | ~known[here][few]).all():
                continue
            same = (got[here] == right[there]) | ~known[here]
            if not same.all() or not (known[here] & (got[here] != right[here])).any():
                continue
            rows, rest = divmod(far, row)
            in_rows = f" ({rows} row{'s' if rows > 1 else ''})" if rows and not rest else ""
            about = (
                f"each output but the {'first' if before else 'last'} {far} is the one "
                f"{far}{in_rows} {'before' if before else 'behind'} it, in the order of the file"
                f"{of.in_those_got}"
            )
            yield DifferencePattern("shifted", about, {"by": far if before else -far})
            return


def _lines(of: Differences, name: str, axis: int) -> Iterator[DifferencePattern]:
    """Each row (or column) with differences is another one of the result."""
    right, got, known, differs = (
        np.ascontiguousarray(np.moveaxis(array, axis, 0))
        for array in (of.right_bits, of.got_bits, of.known, of.differs)
    )
    if right.shape[1] < 2:
        return  # one number may be any
    lines: dict[bytes, list[int]] = {}
    for number, line in enumerate(right):
        lines.setdefault(line.tobytes(), []).append(number)
    held: dict[int, int] = {}
    for number in np.flatnonzero(differs.any(axis=1)).tolist():
        found = lines.get(got[number].tobytes()) if known[number].all() else None
        if found is None or np.unique(got[number]).size == 1:
            return
        held[number] = found[0]
    text = listed(held.items(), lambda item: f"{item[0]} holds {item[1]}")
    yield DifferencePattern(
        f"{name}s-moved",
        f"each differing {name} is another {name} of the result: {text}",
        {f"{name}s": {str(one): other for one, other in held.items()}},
    )


def _lanes(of: Differences) -> Iterator[DifferencePattern]:
    """In each fractal each lane holds a fixed other one, or each row of it."""
    for name, axis, size in (("lane", 1, N0), ("row of a fractal", 0, M0)):
        count = of.shape[axis]
        whole = count // size * size
        differs = np.moveaxis(of.differs, axis, 0)
        # With one fractal these are its rows or columns, which _lines tells.
        if whole <= size or differs[whole:].any() or not of.known.all():
            continue
        right, got = (
            np.moveaxis(array, axis, 0)[:whole].reshape(-1, size, of.shape[1 - axis])
            .swapaxes(0, 1).reshape(size, -1)
            for array in (of.right_bits, of.got_bits)
        )  # fmt: skip
        held = _permutation(right, got)
        if held is None:
            continue
        moved = {one: other for one, other in enumerate(held) if one != other}
        text = listed(moved.items(), lambda item: f"{item[0]} holds {item[1]}")
        key = "lanes-permuted" if axis else "fractal-rows-permuted"
        yield DifferencePattern(
            key, f"in every whole fractal {name} {text}",
            {"holds": {str(one): other for one, other in moved.items()}},
        )  # fmt: skip


def _permutation(right: Array, got: Array) -> list[int] | None:
    """Which line of ``right`` each line of ``got`` is, each taken once; None: it is none."""
    left = {number: line.tobytes() for number, line in enumerate(right)}
    held: list[int] = []
    for number, line in enumerate(got):
        data = line.tobytes()
        fitting = [one for one, other in left.items() if other == data]
        if not fitting:
            return None
        held.append(number if number in fitting else fitting[0])
        del left[held[-1]]
    return held


def _inside(of: Differences) -> Iterator[DifferencePattern]:
    """Each fractal, row or column with differences holds its own outputs in another order."""
    if not of.known.all():
        return
    rows, columns = of.shape
    row, column = np.indices(of.shape)
    fractal = row // M0 * -(-columns // N0) + column // N0
    places: dict[str, tuple[str, Int]] = {}
    if rows > M0 or columns > N0:
        places["permuted-in-fractals"] = ("fractal of 16 x 16", fractal)
    if columns > 1:
        places["permuted-in-rows"] = ("row", row)
    if rows > 1:
        places["permuted-in-columns"] = ("column", column)
    places["permuted"] = ("result", 0 * row)
    for name, (what, place) in places.items():
        order = np.lexsort((of.right_bits.reshape(-1), place.reshape(-1)))
        other = np.lexsort((of.got_bits.reshape(-1), place.reshape(-1)))
        if np.array_equal(of.right_bits.reshape(-1)[order], of.got_bits.reshape(-1)[other]):
            each = "the result" if what == "result" else f"each {what}"
            yield DifferencePattern(name, f"{each} holds its own outputs in another order")
            return
