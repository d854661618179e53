"""``python -m cube24.simulator.calibrate``: the published profiles beside the model."""

from __future__ import annotations

import sys

from cube24.simulator.profiles import table, validate


def main() -> int:
    """Print the table; gives 1 if a number is beyond its limit."""
    comparisons = validate()
    sys.stdout.write(table(comparisons) + "\n")
    return 0 if all(one.good for one in comparisons) else 1


if __name__ == "__main__":
    sys.exit(main())
