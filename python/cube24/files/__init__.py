"""Files: arrays, hex words and plain bytes, read strictly and written whole or not at all.

Nothing here knows the format of weights; it is known by all packages above.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cube24.lazy import front

if TYPE_CHECKING:
    from cube24.files.arrays import (
        SUFFIXES,
        ArrayFile,
        npy_array,
        npy_header,
        open_array,
        opened_member,
        opened_zip,
    )
    from cube24.files.hex import check_words, hex_words, read_hex, write_hex
    from cube24.files.hex_dump import HexDump, read_dump
    from cube24.files.paths import asked, exists, is_file, is_folder, is_same, listing
    from cube24.files.plain import decoded, explained, opened, read_bytes, read_exactly, read_text
    from cube24.files.whole import check_target, whole_file, whole_folder, write_bytes
else:
    __getattr__, __dir__ = front(
        __name__,
        {
            ".arrays": (
                "SUFFIXES", "ArrayFile", "npy_array", "npy_header", "open_array", "opened_member",
                "opened_zip",
            ),
            ".hex": ("check_words", "hex_words", "read_hex", "write_hex"),
            ".hex_dump": ("HexDump", "read_dump"),
            ".paths": ("asked", "exists", "is_file", "is_folder", "is_same", "listing"),
            ".plain": ("decoded", "explained", "opened", "read_bytes", "read_exactly", "read_text"),
            ".whole": ("check_target", "whole_file", "whole_folder", "write_bytes"),
        },
    )  # fmt: skip

__all__ = [
    "SUFFIXES",
    "ArrayFile",
    "HexDump",
    "asked",
    "check_target",
    "check_words",
    "decoded",
    "exists",
    "explained",
    "hex_words",
    "is_file",
    "is_folder",
    "is_same",
    "listing",
    "npy_array",
    "npy_header",
    "open_array",
    "opened",
    "opened_member",
    "opened_zip",
    "read_bytes",
    "read_dump",
    "read_exactly",
    "read_hex",
    "read_text",
    "whole_file",
    "whole_folder",
    "write_bytes",
    "write_hex",
]
