"""JSON that comes from outside, read so that nothing in it surprises the code behind.

The grammar lets more pass than any reader means: numbers without end, text that is no Unicode,
lists a hundred thousand deep. What no case, campaign or count can hold is refused here, once.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from cube24.errors import FileFormatError, StrPath

#: How deep lists and objects may stand in each other; the deepest manifest has five.
DEPTH = 16

#: Whole numbers are those that 64 bits hold, with or without a sign.
LEAST, MOST = -(1 << 63), (1 << 64) - 1


def parse(path: StrPath, data: bytes, *, mark: bool = False) -> Any:
    """The value of a JSON text.

    Args:
        path: of the file, for messages.
        data: its bytes, UTF-8.
        mark: whether a byte-order mark before it is passed over; else it is refused.

    Raises:
        FileFormatError: no JSON; a number that is not finite or needs more than 64 bits; text that
            is no Unicode; deeper than DEPTH; a byte-order mark.
    """
    if data.startswith(b"\xef\xbb\xbf"):
        if not mark:
            raise FileFormatError(path, "begins with a byte-order mark; save it without one", 0)
        data = data[3:]
    try:
        text = data.decode("utf-8")
        value = json.loads(text, parse_int=_whole, parse_float=_finite, parse_constant=_no_number)
    except UnicodeDecodeError as error:
        raise FileFormatError(path, f"no readable JSON: {error.reason}", error.start) from error
    except RecursionError as error:
        raise FileFormatError(path, f"no readable JSON: deeper than {DEPTH}") from error
    except ValueError as error:
        raise FileFormatError(path, f"no readable JSON: {error}") from error
    # Where no character is spelt by its number, UTF-8 has been read, and all text is Unicode.
    if found := fault(value, texts="\\u" in text, numbers=False):
        raise FileFormatError(path, f"no readable JSON: {found}")
    return value


def _whole(text: str) -> int:
    if len(text) <= 18:
        return int(text)
    # Of thousands of digits Python makes a number slowly, or none at all.
    if len(text) > 20 or not LEAST <= int(text) <= MOST:
        raise ValueError(f"number {_short(text)} needs more than 64 bits")
    return int(text)


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"number {_short(text)} is not finite")
    return number


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"number {text} is not finite")


def _short(text: str) -> str:
    return text if len(text) <= 24 else f"{text[:20]}..."


def fault(value: Any, *, texts: bool = True, numbers: bool = True) -> str | None:
    """What of a value that json has read :func:`parse` refuses; None: nothing.

    Args:
        value: of json.loads.
        texts: whether its text may be no Unicode. numbers: whether they may be too large.
    """
    level, leaves = [value], texts or numbers
    for more in reversed(range(DEPTH)):
        below: list[Any] = []
        for item in level:
            kind = type(item)
            if kind is dict:
                if texts:
                    below += item
                below += item.values()
            elif kind is list:
                below += item
            elif texts and kind is str and not item.isascii() and not _is_unicode(item):
                return f"text {ascii(item)[:40]} has half of a surrogate pair"
            elif numbers and kind is int and not LEAST <= item <= MOST:
                return f"number {_short(hex(item))} needs more than 64 bits"
            elif numbers and kind is float and not math.isfinite(item):
                return f"number {item} is not finite"
        level = below
        if more and not leaves:
            level = [item for item in below if type(item) in _NESTING]
        if not level:
            return None
    return f"deeper than {DEPTH}"


_NESTING = (dict, list)


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
