"""Write the frozen weights: `PYTHONPATH=tests python tests/data/frozen/make.py FOLDER`.

What stands here decodes identically for ever, so the script makes new cases and never changes old
ones. It uses the oracle and NumPy alone, and writes every file format by hand, so that nothing of
the package is measured with itself. The same script gives the same bytes on every machine.
"""

import hashlib
import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import oracle

Array = np.ndarray[Any, Any]


def noise(count: int, seed: int) -> Array:
    """int8 by a rule of our own (a linear congruence), for NumPy's may change."""
    state, values = seed, []
    for _ in range(count):
        state = (1664525 * state + 1013904223) % 2**32
        values.append((state >> 24) - 128)
    return np.array(values, np.int8)


def legal(shape: tuple[int, ...], seed: int) -> Array:
    """A weight whose groups take the 11 patterns of the table in turn."""
    *leading, k = shape
    groups = -(-k // 4)
    count = int(np.prod(leading)) * groups
    values = noise(4 * count, seed).reshape(count, 4)
    values[values == 0] = 1
    for number, group in enumerate(values):
        pattern = oracle.TABLE[(number + number // 11) % 11][0]
        group[[letter == "0" for letter in pattern]] = 0
    return values.reshape(*leading, 4 * groups)[..., :k]


def conv(shape: tuple[int, int, int, int], seed: int) -> Array:
    cout, cin, kh, kw = shape
    return legal((cout, kh, kw, cin), seed).transpose(0, 3, 1, 2)


# --- file formats ---------------------------------------------------------------------------------


def npy(array: Array, version: int = 1, fortran: bool = False) -> bytes:
    header = (
        f"{{'descr': '{array.dtype.str}', 'fortran_order': {fortran}, 'shape': {array.shape}, }}"
    )
    size = 2 if version == 1 else 4
    start = 8 + size
    header += " " * (-(start + len(header) + 1) % 64) + "\n"
    magic = b"\x93NUMPY" + bytes([version, 0]) + len(header).to_bytes(size, "little")
    return magic + header.encode("latin1") + array.tobytes("F" if fortran else "C")


def hexadecimal(data: bytes, word_bytes: int, order: str, upper: bool) -> bytes:
    lines = ["// frozen", ""] if upper else []
    for start in range(0, len(data), word_bytes):
        word = data[start : start + word_bytes].ljust(word_bytes, b"\0")
        digits = "".join(f"{byte:02x}" for byte in (word[::-1] if order == "little" else word))
        lines.append(digits.upper() + "  // a word" if upper else digits)
    return "".join(f"{line}\n" for line in lines).encode()


def write(
    folder: Path,
    name: str,
    weight: Array,
    stored: tuple[Array, Array] | None = None,
    layout: str = "nd",
    kind: str = "matrix",
    form: str = "npy",
    words: tuple[int, str] = (1, "little"),
    upper: bool = False,
    version: int = 1,
    fortran: bool = False,
) -> None:
    """One case: the stored weight and, beside it, the weight that it stands for."""
    dense, index = stored or oracle.encode_weight(weight, layout, kind)
    members, files = {}, {}
    for role, array in (("dense", dense), ("index", index)):
        data = array.tobytes()
        suffix = "npy" if form == "npz" else form
        entry: dict[str, object] = {
            "name": f"{role}.{suffix}",
            "dtype": str(array.dtype),
            "shape": list(array.shape),
            "sha256": hashlib.sha256(data).hexdigest(),
        }
        if form == "hex":
            entry |= {"word_bytes": words[0], "order": words[1], "words": -(-len(data) // words[0])}
            members[f"{role}.hex"] = hexadecimal(data, *words, upper)
        elif form == "bin":
            members[f"{role}.bin"] = data
        else:
            members[f"{role}.npy"] = npy(array, version, fortran)
        files[role] = entry
    manifest = {
        "schema": "cube24-sparse/1",
        "kind": kind,
        "shape": list(weight.shape),
        "layout": layout,
        "files": files,
    }
    members["sparse.json"] = (json.dumps(manifest, indent=2) + "\n").encode()

    case = folder / name
    case.mkdir(parents=True)
    (case / "weight.npy").write_bytes(npy(np.ascontiguousarray(weight)))
    if form == "npz":
        with zipfile.ZipFile(case / "stored.npz", "w") as archive:
            for member, content in members.items():
                archive.writestr(zipfile.ZipInfo(member), content)
        return
    (case / "stored").mkdir()
    for member, content in members.items():
        (case / "stored" / member).write_bytes(content)


# --- the cases ------------------------------------------------------------------------------------


def patterns() -> Array:
    """Each legal pattern in each group of two fractals, in each half of a byte."""
    weight = np.zeros((22, 128), np.int8)
    for row in range(22):
        for group in range(32):
            pattern = oracle.TABLE[(row + group) % 11][0]
            values = [3 * row + 1, -4, 5, -2 * group - 1]
            weight[row, 4 * group : 4 * group + 4] = [
                value if letter != "0" else 0 for value, letter in zip(values, pattern, strict=True)
            ]
    return weight


def extremes() -> Array:
    """Each pair of the values -128, -127, -1, 1, 126, 127 in each pattern of two."""
    values = (-128, -127, -1, 1, 126, 127)
    weight = np.zeros((6, 4 * 36), np.int8)
    for row, (pattern, *_) in enumerate(oracle.TABLE[:6]):
        for number in range(36):
            at = 4 * number
            weight[row, at + pattern.index("X")] = values[number // 6]
            weight[row, at + pattern.index("Y")] = values[number % 6]
    return weight


def foreign(layout: str, shape: tuple[int, int], seed: int) -> tuple[Array, tuple[Array, Array]]:
    """Bytes that no encoder of ours writes and that decode by the selection rule, with padding."""
    n, k = shape
    n_stored, k_stored = (-(-n // 16) * 16, -(-k // 64) * 64) if layout == "zn" else (n, k)
    dense = noise(n_stored * k_stored // 2, seed).reshape(n_stored, k_stored // 2)
    dense[dense % 3 == 0] = 0
    indices = noise(n_stored * k_stored // 2, seed + 1).astype(np.int64) % 3
    slots, pairs = dense.reshape(-1, 2), indices.reshape(-1, 2)
    same = pairs[:, 0] == pairs[:, 1] + 1
    slots[same & (slots[:, 0] % 2 == 0), 0] = 0  # either slot may be the empty one
    slots[same & (slots[:, 0] != 0), 1] = 0
    index = oracle.pack_rows(indices.reshape(dense.shape))
    weight = oracle.decode(dense, index)[:n, :k]
    if layout == "zn":
        dense, index = oracle.to_zn(dense, 32), oracle.to_zn(index, 8)
    return weight, (dense, index)


def main(folder: Path) -> None:
    write(folder, "patterns_nd", patterns())
    write(folder, "patterns_zn", patterns(), layout="zn", form="npz")
    write(folder, "extremes_nd", extremes(), form="npz")
    write(folder, "extremes_zn", extremes(), layout="zn", form="bin")
    write(folder, "batch_nd", legal((2, 3, 5, 20), 1), form="bin")
    write(folder, "batch_zn", legal((2, 17, 68), 2), layout="zn", form="hex", words=(4, "big"))
    write(folder, "tail_of_k_nd", legal((9, 13), 3), form="hex", words=(3, "little"))
    write(folder, "tail_of_k_zn", legal((16, 70), 4), layout="zn", form="hex", upper=True)
    write(folder, "conv_33_nd", conv((3, 33, 3, 3), 5), kind="conv", form="npz")
    write(folder, "conv_33_zn", conv((17, 33, 2, 1), 6), layout="zn", kind="conv", form="hex",
          words=(16, "little"))  # fmt: skip
    write(folder, "conv_1x1_zn", conv((5, 32, 1, 1), 7), layout="zn", kind="conv", form="bin")
    for layout, form in (("nd", "npy"), ("zn", "npz")):
        weight, stored = foreign(layout, (18, 72), 8)
        write(folder, f"foreign_{layout}", weight, stored, layout, form=form)
    write(folder, "no_rows", np.zeros((0, 12), np.int8), layout="zn")
    write(folder, "no_columns", np.zeros((3, 0), np.int8), form="hex")
    write(folder, "npy_version_2", legal((6, 24), 9), version=2)
    write(folder, "npy_fortran", legal((6, 24), 10), fortran=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
