"""Exit codes of the command line, and SIGTERM as an exception.

Those of errors stand on the classes of errors, so that a new one need not be told here.
"""

from __future__ import annotations

from cube24.errors import CheckFailedError, Cube24Error

GOOD = 0
FAILED = CheckFailedError.exit_code
BAD = Cube24Error.exit_code
INTERRUPTED, TERMINATED = 130, 143  # 128 + the number of the signal, as shells have it


class Terminated(BaseException):
    """SIGTERM, as an exception, so that what is half-written is removed."""
