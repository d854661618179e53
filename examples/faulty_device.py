"""A device under test with a mistake, for the tour of docs/vectors.md: it computes matmul cases.

    python examples/faulty_device.py CASE GOT.hex

It reads matmul cases of layout nd in npy, and takes the upper half of each index byte for the first
group. The mistake shows wherever two neighbouring groups have different indices.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np


def main(folder: str, got: str) -> None:
    """Compute a case wrongly and write the result, one byte a line."""
    manifest = json.loads((Path(folder) / "manifest.json").read_text())
    files = {f["role"]: f["name"] for f in manifest["files"] if f["format"] == "npy"}
    read = {role: np.load(Path(folder) / name) for role, name in files.items()}
    k = manifest["spec"]["sizes"]["k"]
    groups = read["dense"].shape[1] // 2
    index = np.stack([read["index"] >> shift & 3 for shift in (4, 6, 0, 2)], axis=-1)
    at = index.reshape(-1, groups, 2) + np.array([0, 1]) + 4 * np.arange(groups)[:, None]
    a = np.zeros((len(read["activations"]), 4 * groups), np.int64)
    a[:, :k] = read["activations"]
    dense = read["dense"].reshape(-1, groups, 2).astype(np.int64)
    result = np.einsum("mngs,ngs->mn", a[:, at], dense).astype("<i4")
    Path(got).write_text("".join(f"{byte:02x}\n" for byte in result.tobytes()))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
