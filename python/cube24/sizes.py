"""Numbers and names from outside, checked and converted in one place; and what sizes are: rounding,
and those that no array can have.
"""

from __future__ import annotations

from math import prod
from operator import index

import numpy as np

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
    low: int | None = 0,
    high: int | None = None,
    *,
    error: type[Cube24Error] = ArgumentError,
) -> int:
    """A whole number from outside as a plain int: small integer types of NumPy would overflow.

    Args:
        value: what was given.
        name: what it is, for the message.
        low, high: what it may be, both included; None: without end.
        error: what is raised.

    Raises:
        ArgumentError: or the given error: no whole number, or another one than may be.
    """
    if type(value) is int and (low is None or low <= value) and (high is None or value <= high):
        return value  # as nearly all are
    takes = "" if low is None else f", {low} or more" if high is None else f", {low} to {high}"
    try:
        if isinstance(value, bool | np.bool_):
            raise TypeError
        found = index(value)  # type: ignore[arg-type]  # whatever was given
    except TypeError:
        raise error(f"{name} is {shown(value)}; it takes a whole number{takes}") from None
    if low is not None and (found < low or (high is not None and found > high)):
        raise error(f"{name} is {shown(found)}; it takes{takes[1:]}")
    return found


def truth(value: object, name: str, *, error: type[Cube24Error] = ArgumentError) -> bool:
    """True or False from outside, as a plain bool.

    Raises:
        ArgumentError: or the given error: it is neither.
    """
    if not isinstance(value, bool | np.bool_):
        raise error(f"{name} is {shown(value)}; it takes True or False")
    return bool(value)


def names(values: object, what: str) -> tuple[str, ...]:
    """One or more names from outside, each once, as a tuple.

    Raises:
        ArgumentError: no list or tuple, one that is no text, none at all, or one twice.
    """
    if not isinstance(values, list | tuple) or not all(isinstance(name, str) for name in values):
        raise ArgumentError(f"{what} is {shown(values)}; it takes a tuple of names")
    if not values or len(set(values)) != len(values):
        raise ArgumentError(f"{what}: name one or more, each once")
    return tuple(values)


def plain(value: object) -> object:
    """A number, a truth or a text of NumPy as the one of Python; anything else as it is."""
    return value.item() if isinstance(value, np.generic) else value


#: Longest text of a number. Python itself refuses decimal numbers from 4,300 digits on.
_LONGEST = 1000


def whole_of(text: str, base: int = 10) -> int:
    """The whole number that a text is; base 0: it may begin with 0x.

    Raises:
        ValueError: it is none. Underscores and digits of other scripts, which Python takes, are
            refused too, and numbers that are too long to be any.
    """
    return int(_taken(text), base)


def real_of(text: str) -> float:
    """The number that a text is.

    Raises:
        ValueError: as for :func:`whole_of`.
    """
    return float(_taken(text))


def _taken(text: str) -> str:
    if not text.isascii() or "_" in text or len(text) > _LONGEST:
        raise ValueError(f"{shown(text)} is no number")
    return text


def shown(value: object) -> str:
    """A value from outside as it stands in a message."""
    try:
        text = repr(value)
    except ValueError:
        return "a number of thousands of digits"  # which Python does not print
    return shortened(text)


def shortened(text: str) -> str:
    """A text from outside as it stands in a message: not longer than a line."""
    return text if len(text) <= 100 else f"{text[:80]}..."


def ceil_div(a: int, b: int) -> int:
    """a / b, rounded up."""
    return -(-a // b)


def round_up(value: int, unit: int) -> int:
    """The least multiple of unit that is not below value."""
    return ceil_div(value, unit) * unit


def round_down(value: int, unit: int) -> int:
    """The largest multiple of unit that is not above value."""
    return value // unit * unit
