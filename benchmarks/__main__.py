"""Run the contests and print one table: ``python -m benchmarks [-k EXPRESSION] [--json FILE]``.

One run, contenders in turn, medians of 11 rounds and more. A ratio above 1 says that cube24 is
faster. Run it on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from cube24 import encoder

HERE = Path(__file__).parent
LIBRARIES = ("numpy", "onnxruntime", "torch")


def machine() -> str:
    """What the figures depend on; nothing that names the machine or its user."""
    about = Path("/proc/cpuinfo")
    lines = about.read_text().splitlines() if about.is_file() else []
    model = next((line.split(":")[1].strip() for line in lines if "model name" in line), "")
    found = [f"{model or platform.machine()}, {len(os.sched_getaffinity(0))} cores"]
    found.append(f"code path {encoder.chosen_path()[0]}")
    found.append(f"Python {platform.python_version()}")
    for name in LIBRARIES:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    return ", ".join(found)


def table(benchmarks: list[dict[str, Any]]) -> str:
    """A row for each contest and peer, in the order of the run."""
    lines = [
        "| what | cube24 | peer | peer's time | cube24 is | limit, aim |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for one in benchmarks:
        info = one["extra_info"]
        for peer, ratio in info.get("ratios", {}).items():
            limits = info["must"].get(peer)
            lines.append(
                f"| {info['what']} | {shown(info['seconds'])} | {peer} | "
                f"{shown(info['peers'][peer])} | {ratio:.2f} x as fast | "
                f"{', '.join(f'{limit:g}' for limit in limits) if limits else ''} |"
            )
    return "\n".join(lines)


def shown(seconds: float) -> str:
    """A time with three digits."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def main() -> int:
    """Run pytest on this folder and read what pytest-benchmark wrote."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("-k", default="", metavar="EXPRESSION", help="only these, as for pytest")
    parser.add_argument("--json", metavar="FILE", help="keep what pytest-benchmark writes")
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        report = Path(options.json or Path(folder, "report.json"))
        # fmt: off
        status = pytest.main([
            str(HERE), "--benchmark-only", "-q", "-k", options.k, "--benchmark-json", str(report),
            "--benchmark-columns=median,iqr,rounds",
            "--override-ini=addopts=--import-mode=importlib",
        ])
        # fmt: on
        if not report.is_file():
            return int(status)
        found = json.loads(report.read_text())["benchmarks"]
    print(f"\n{machine()}\n\n{table(found)}")
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
