"""Whole numbers that sizes are made of: rounding, and what no array can have."""

from __future__ import annotations

from math import prod

from cube24.errors import ShapeError

#: Most dimensions of a shape: NumPy 1 holds arrays of 32, and fractals have two more than rows.
MAX_DIMENSIONS = 30


def check_sizes(shape: tuple[int, ...]) -> None:
    """Refuse a shape that no array can have.

    Raises:
        ShapeError: a negative size, too many dimensions, or more elements than memory has bytes.
    """
    if any(size < 0 for size in shape):
        raise ShapeError(f"shape {shape}: a size is negative")
    if len(shape) > MAX_DIMENSIONS:
        raise ShapeError(f"shape {shape}: more than {MAX_DIMENSIONS} dimensions")
    # Sizes of zero are passed over, as NumPy does: what is beside them must fit all the same.
    if prod(max(size, 1) for size in shape) >= 1 << 62:
        raise ShapeError(f"shape {shape}: no memory holds so many elements")


def ceil_div(a: int, b: int) -> int:
    """a / b, rounded up."""
    return -(-a // b)


def round_up(value: int, unit: int) -> int:
    """The least multiple of unit that is not below value."""
    return ceil_div(value, unit) * unit


def round_down(value: int, unit: int) -> int:
    """The largest multiple of unit that is not above value."""
    return value // unit * unit
