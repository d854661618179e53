"""Hex files for $readmemh: one word a line, as strict as the strictest simulator.

Lower case, a fixed number of digits, LF, always a final newline (a simulator is known to drop the
last word without it), no 0x, no @. The header lines start with ``//``. docs/format.md has the
rules.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import IO, BinaryIO

import numpy as np

from cube24.errors import ArgumentError, FileFormatError, StrPath
from cube24.files.plain import explained, mark_length, opened
from cube24.sizes import ceil_div, shown, whole

#: Bytes of a line, at most.
_LINE = 1 << 20
WORD = re.compile(rb"[^\s]+")
WITH_0X = re.compile(rb"0[xX][0-9a-fA-F]+")


def check_words(word_bytes: int, order: str) -> int:
    """Refuse a word size or byte order that does not exist; gives the size as a plain int.

    Raises:
        ArgumentError: as said.
    """
    if order not in ("little", "big"):
        raise ArgumentError(f"order {shown(order)}: choose 'little' or 'big'")
    number = whole(word_bytes, "word_bytes", None)
    if not 1 <= number <= 4096:
        raise ArgumentError(f"word_bytes {shown(number)}: a word has 1 to 4096 bytes")
    return number


def write_hex(
    target: BinaryIO,
    payload: Iterable[bytes],
    *,
    word_bytes: int = 1,
    order: str = "little",
    header: Mapping[str, object] | None = None,
) -> None:
    """Write bytes as words.

    Args:
        target: an open binary file.
        payload: the bytes in any number of pieces.
        word_bytes: bytes a word; a last word that is not full is filled with zero bytes.
        order: ``little``: the first byte is the least significant of its word, so the last two
            digits of the line; ``big``: the first two digits.
        header: names and values for the ``//`` lines; None: no header.

    Raises:
        ArgumentError: no such word size or order.
    """
    check_words(word_bytes, order)
    lines = [f"// {name}: {value}\n" for name, value in (header or {}).items()]
    target.write("".join(lines).encode())
    rest = b""
    for piece in payload:
        data = rest + piece
        whole = len(data) // word_bytes * word_bytes
        _write_words(target, data[:whole], word_bytes, order)
        rest = data[whole:]
    if rest:
        _write_words(target, rest.ljust(word_bytes, b"\0"), word_bytes, order)


def _write_words(target: BinaryIO, data: bytes, word_bytes: int, order: str) -> None:
    if not data:
        return
    if order == "little" and word_bytes > 1:
        data = np.frombuffer(data, np.uint8).reshape(-1, word_bytes)[:, ::-1].tobytes()
    target.write(data.hex("\n", word_bytes).encode() + b"\n")


def read_hex(path: StrPath, size: int, *, word_bytes: int = 1, order: str = "little") -> bytes:
    """Read ``size`` bytes from a file of words, the inverse of :func:`write_hex`.

    Comments (``//``) and white space between words are passed over, and so is a byte-order mark of
    UTF-8; upper case and CRLF are read too.

    Raises:
        FileFormatError: a word of another width, x or z digits, an address, too few or too many
            words, filling of the last word that is not zero; with the byte where it stands.
        FileAccessError: the system refuses.
        ArgumentError: no such word size or order.
    """
    check_words(word_bytes, order)
    with opened(path) as file:
        return hex_words(path, file, size, word_bytes=word_bytes, order=order)


def hex_words(path: StrPath, file: IO[bytes], size: int, *, word_bytes: int, order: str) -> bytes:
    """The same from an open file of bytes, whose path is for messages.

    Raises:
        FileFormatError, FileAccessError: as for :func:`read_hex`.
    """
    expected = ceil_div(size, word_bytes)
    data = bytearray()
    with explained(path):
        for offset, token in _tokens(path, file):
            data += _word(path, offset, token, word_bytes, order)
            if len(data) > expected * word_bytes:
                raise FileFormatError(path, f"a word too many; expected {expected} words", offset)
    if len(data) < expected * word_bytes:
        raise FileFormatError(
            path, f"{len(data) // word_bytes} words, expected {expected}; the file is truncated"
        )
    if any(data[size:]):
        raise FileFormatError(path, "the last word is filled with bytes that are not zero")
    return bytes(data[:size])


def _tokens(path: StrPath, file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Each word with its place in the file."""
    for offset, line in lines_of(path, file):
        for match in WORD.finditer(line.partition(b"//")[0]):
            yield offset + match.start(), match.group()


def lines_of(path: StrPath, file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Each line of a file of words with its place in it, behind a byte-order mark.

    Raises:
        FileFormatError: a line that is huge.
    """
    offset = mark_length(path, file.read(4))
    file.seek(offset)
    while line := file.readline(_LINE):
        if len(line) == _LINE and not line.endswith(b"\n"):
            raise FileFormatError(path, "a line of over a megabyte; this is no hex file", offset)
        yield offset, line
        offset += len(line)


def word_shown(token: bytes) -> str:
    """A word as a message shows it: its beginning, without what a terminal would obey."""
    text = token[:40].decode("ascii", "replace")
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _word(path: StrPath, offset: int, token: bytes, word_bytes: int, order: str) -> bytes:
    shown = word_shown(token)
    if token.startswith(b"@"):
        raise FileFormatError(path, f"address {shown}: only files without addresses", offset)
    if WITH_0X.fullmatch(token):  # of whatever width: %#x writes no leading zeros
        as_digit = "; or its x is a digit without a value" if len(token) == 2 * word_bytes else ""
        raise FileFormatError(path, f"word {shown}: words are written without 0x{as_digit}", offset)
    if re.search(rb"[xXzZ?]", token):
        raise FileFormatError(path, f"word {shown} has x or z digits: it was not driven", offset)
    if len(token) != 2 * word_bytes:
        raise FileFormatError(
            path, f"word {shown} has {len(token)} digits, expected {2 * word_bytes}", offset
        )
    try:
        word = bytes.fromhex(token.decode("ascii"))
    except ValueError:
        raise FileFormatError(path, f"word {shown} is not hexadecimal", offset) from None
    return word[::-1] if order == "little" else word
