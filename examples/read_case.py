"""A matmul case (npy, layout nd, int32 result), read and computed with nothing but NumPy.

python examples/read_case.py FOLDER/shapes/matmul-15x17x60
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np


def main(folder: str) -> int:
    """Compute the case; gives 1 if a result differs."""
    manifest = json.loads((Path(folder) / "manifest.json").read_text())
    files = {f["role"]: f["name"] for f in manifest["files"] if f["format"] == "npy"}
    read = {role: np.load(Path(folder) / name) for role, name in files.items()}
    k = manifest["spec"]["sizes"]["k"]
    groups = read["dense"].shape[1] // 2
    # Four 2-bit indices a byte, the first one in the lowest bits; slot 1 counts from element 1.
    index = np.stack([read["index"] >> shift & 3 for shift in (0, 2, 4, 6)], axis=-1)
    at = index.reshape(-1, groups, 2) + np.array([0, 1]) + 4 * np.arange(groups)[:, None]
    a = np.zeros((len(read["activations"]), 4 * groups), np.int64)
    a[:, :k] = read["activations"]
    dense = read["dense"].reshape(-1, groups, 2).astype(np.int64)
    result = np.einsum("mngs,ngs->mn", a[:, at], dense)
    differing = int((result != read["expected"]).sum())
    print(f"{differing} of {result.size} results differ")
    return differing > 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
