"""Print the declarations of cube24.h that cffi reads: the lines between its two "cffi" marks.

Run by the build. One header serves C, SystemVerilog and Python, so nothing is declared twice.
"""

import sys
from pathlib import Path


def declarations(header: str) -> str:
    """The part of the header that cffi can read."""
    _, _, rest = header.partition("/* cffi: begin */")
    body, end, _ = rest.partition("/* cffi: end */")
    if not end:
        raise SystemExit("cube24.h has lost its cffi marks")
    return body


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    target.write_text(declarations(source.read_text(encoding="utf-8")), encoding="utf-8")
