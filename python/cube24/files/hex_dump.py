"""Hex dumps of simulators: words as $writememh and $display print them, read leniently.

What we write, and what a manifest names, hex.py reads strictly. A dump comes from a device under
test, and what is wrong in it may be the very thing to be told: a digit without a value, or a word
that is not there. docs/vectors.md has the rules.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from cube24.errors import FileFormatError, StrPath
from cube24.files.hex import WITH_0X, WORD, check_words, lines_of, word_shown
from cube24.files.plain import explained, opened
from cube24.sizes import ceil_div

_COMMENT = re.compile(rb"//|/\*")
_ADDRESS = re.compile(rb"@[0-9a-fA-F]+")
_DIGITS = re.compile(rb"[0-9a-fxz]+")

#: What stands for each digit in the value of a word, and in the masks of its x and z digits.
_VALUE = bytes.maketrans(b"xz", b"00")
_UNDRIVEN = bytes.maketrans(b"0123456789abcdefxz", b"0" * 16 + b"ff")
_FLOATING = bytes.maketrans(b"0123456789abcdefxz", b"0" * 17 + b"f")


@dataclass(frozen=True)
class HexDump:
    """The bytes of a dump, each with what is not known of it.

    data: the bytes, with zeros for what is not known. undriven: for each byte the bits whose digit
    is x or z; floating: those whose digit is z. missing: 255 for each byte that no word gives,
    else 0.
    """

    data: bytes
    undriven: bytes
    floating: bytes
    missing: bytes


def read_dump(path: StrPath, size: int, *, word_bytes: int = 1, order: str = "little") -> HexDump:
    """Read ``size`` bytes, as far as they are there, from words of hexadecimal digits.

    Passed over: white space, comments of both kinds, ``_`` between digits, a byte-order mark of
    UTF-8. Upper case is lower case, ``?`` is z, and a word of x or z digits alone may be shorter
    than others. ``@`` and an address in hexadecimal digits say which word comes next, from 0 on;
    of a word that comes twice the last one counts.

    Args:
        path: of the file.
        size: bytes that the dump is to give.
        word_bytes: bytes of a word.
        order: ``little``: the last two digits of a word are its first byte; ``big``: the first two.

    Raises:
        FileFormatError: something that is no word, a word of another width, a word beyond the last
            one, filling of the last word that is not zero; with the byte where it stands.
        FileAccessError: the system refuses.
        ArgumentError: no such word size or order.
    """
    word_bytes = check_words(word_bytes, order)
    expected = ceil_div(size, word_bytes)
    data, undriven, floating = (bytearray(expected * word_bytes) for _ in range(3))
    missing = bytearray(b"\xff" * (expected * word_bytes))
    number = 0
    with opened(path) as file, explained(path):
        for offset, token in _tokens(path, file):
            if token.startswith(b"@"):
                number = _address(path, offset, token)
                continue
            parts = _word(path, offset, token, word_bytes)
            if number >= expected:
                raise FileFormatError(
                    path, f"a word too many: number {number}; expected {expected} words", offset
                )
            at = slice(number * word_bytes, (number + 1) * word_bytes)
            for array, part in zip((data, undriven, floating), parts, strict=True):
                array[at] = part[::-1] if order == "little" else part
            missing[at] = bytes(word_bytes)
            number += 1
    if any(data[size:]):
        raise FileFormatError(path, "the last word is filled with bytes that are not zero")
    return HexDump(*(bytes(a[:size]) for a in (data, undriven, floating, missing)))


def _tokens(path: StrPath, file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Each word and address with its place in the file."""
    opened_at: int | None = None  # of a comment that has not ended
    for offset, line in lines_of(path, file):
        at = 0
        while at < len(line):
            if opened_at is not None:
                end = line.find(b"*/", at)
                if end < 0:
                    break
                opened_at, at = None, end + 2
            found = _COMMENT.search(line, at)
            stop = len(line) if found is None else found.start()
            for match in WORD.finditer(line, at, stop):
                yield offset + match.start(), match.group()
            if found is None or found.group() == b"//":
                break
            opened_at, at = offset + stop, stop + 2
    if opened_at is not None:
        raise FileFormatError(path, "a comment that does not end", opened_at)


def _address(path: StrPath, offset: int, token: bytes) -> int:
    word = token.replace(b"_", b"")
    if not _ADDRESS.fullmatch(word):
        raise FileFormatError(path, f"address {word_shown(token)} is not hexadecimal", offset)
    return min(int(word[1:], 16), 1 << 64)  # no memory has more words


def _word(path: StrPath, offset: int, token: bytes, word_bytes: int) -> tuple[bytes, bytes, bytes]:
    """The value of a word, and the masks of its x or z digits and of its z digits."""
    digits = 2 * word_bytes
    word = token.replace(b"_", b"").lower().replace(b"?", b"z")
    # Of full width it may be a digit 0 beside one that is x; %#x writes no leading zeros.
    if len(word) != digits and WITH_0X.fullmatch(word):
        raise FileFormatError(
            path, f"word {word_shown(token)}: words are written without 0x", offset
        )
    if not _DIGITS.fullmatch(word):
        raise FileFormatError(path, f"word {word_shown(token)} is not hexadecimal", offset)
    if len(word) < digits and word.strip(word[:1]) == b"" and word[:1] in b"xz":
        word = word[:1] * digits
    if len(word) != digits:
        raise FileFormatError(
            path, f"word {word_shown(token)} has {len(word)} digits, expected {digits}", offset
        )
    value, undriven, floating = (
        bytes.fromhex(word.translate(table).decode()) for table in (_VALUE, _UNDRIVEN, _FLOATING)
    )
    return value, undriven, floating
