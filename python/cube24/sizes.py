"""Whole numbers that sizes are made of: rounding, and what no array can have."""

from __future__ import annotations

from math import prod
from operator import index

from cube24.errors import ArgumentError, Cube24Error, ShapeError

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


def whole(
    value: object,
    name: str,
    low: int = 0,
    high: int | None = None,
    *,
    error: type[Cube24Error] = ArgumentError,
) -> int:
    """A whole number from outside as a plain int: small integer types of NumPy would overflow.

    Args:
        value: what was given.
        name: what it is, for the message.
        low, high: what it may be, both included; None: as large as it likes.
        error: what is raised.

    Raises:
        ArgumentError: or the given error: no whole number, or another one than may be.
    """
    takes = f"{low} or more" if high is None else f"{low} to {high}"
    try:
        if isinstance(value, bool):
            raise TypeError
        number = index(value)  # type: ignore[arg-type]  # whatever was given
    except TypeError:
        raise error(f"{name} is {value!r}; it takes a whole number, {takes}") from None
    if number < low or (high is not None and number > high):
        raise error(f"{name} is {number}; it takes {takes}")
    return number


def ceil_div(a: int, b: int) -> int:
    """a / b, rounded up."""
    return -(-a // b)


def round_up(value: int, unit: int) -> int:
    """The least multiple of unit that is not below value."""
    return ceil_div(value, unit) * unit


def round_down(value: int, unit: int) -> int:
    """The largest multiple of unit that is not above value."""
    return value // unit * unit
