"""Read golden cases with nothing but JSON and NumPy, compute them, and compare the results.

    python examples/read_case.py CASE...

Matmul and convolution, layout nd and zn, files in npy, hex or bin, words of any size, results as
int32 or requantised. Exit code 1 if a result differs, 2 if a case cannot be read: one whose unit
saturates after each Mmad, if its manifest is of version 1, which does not tell how K is cut into
Mmads, and it is not so small that one takes all of it.

    multiply   what an index selects, and how sums are kept: docs/format.md, docs/unit.md
    rows_of    a convolution as rows, one for each position of its result
    requantise what FIXPIPE makes of the sums
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

LOW, HIGH = -(2**31), 2**31 - 1


class RefusedError(Exception):
    """What a device must refuse as well."""


def main(folders: list[str]) -> int:
    """Read and compute all; gives the exit code."""
    codes = [0 if folders else 2]
    for folder in folders:
        try:
            code, said = look(Path(folder))
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            code, said = 2, f"cannot be read: {type(error).__name__}: {error}"
        print(f"{folder}: {said}")
        codes.append(code)
    return max(codes)


def look(folder: Path) -> tuple[int, str]:
    """What there is to say of a case, with its exit code."""
    manifest = json.loads((folder / "manifest.json").read_text())
    spec, outcome = manifest["spec"], manifest["outcome"]
    # The rules that another unit may have. What is not named is as in the default unit.
    rules = {**spec["unit"]["overrides"], **manifest["unit"].get("config", {})}
    arrays: dict[str, np.ndarray] = {}
    for entry in manifest["files"]:
        if entry["format"] in ("npy", "hex", "bin") and entry["role"] not in ("step", "bad"):
            arrays.setdefault(entry["role"], read(folder, entry))  # the first one will do
    try:
        result = compute(spec, rules, arrays, manifest.get("layer", {}).get("mmad_k"))
    except RefusedError as error:
        expected = "expected" not in arrays and outcome["kind"] == "error"
        return (0 if expected else 1), f"refused: {error}; the case expects {outcome}"
    if "expected" not in arrays:
        return 1, f"computed, where {outcome['error']} is expected"
    # As bytes: -0 and 0 of fp16 are two results.
    raw = (result.astype(arrays["expected"].dtype), arrays["expected"])
    one, other = (array.reshape(-1).view(f"u{array.dtype.itemsize}") for array in raw)
    differing = int((one != other).sum())
    more = f"; reading bad/ must give {outcome['error']}" if "error" in outcome else ""
    return int(differing > 0), f"{differing} of {one.size} results differ{more}"


def read(folder: Path, entry: dict) -> np.ndarray:
    """The array of a file: its bytes are little-endian, in C order."""
    path, dtype = folder / entry["name"], np.dtype(entry["dtype"]).newbyteorder("<")
    if entry["format"] == "npy":
        return np.load(path)
    data = path.read_bytes()
    if entry["format"] == "hex":
        # Comments, then a word a line. Little: the first byte is the last two digits of its word.
        words = [line for line in data.decode().split("\n") if line and line[:2] != "//"]
        step = -1 if entry["order"] == "little" else 1
        data = b"".join(bytes.fromhex(word)[::step] for word in words)
        if len(words) != entry["words"]:
            raise ValueError(f"{path}: {len(words)} words, not {entry['words']}")
    # The last word is filled up with zeros; or each row is, where rows begin further apart.
    row = entry["shape"][-1] * dtype.itemsize
    if (stride := entry.get("row_stride", row)) != row:
        rows = np.frombuffer(data, np.uint8).reshape(-1, stride)
        data = rows[:, :row].tobytes()
    count = int(np.prod(entry["shape"]))
    return np.frombuffer(data, dtype, count).reshape(entry["shape"])


def compute(
    spec: dict, rules: dict, arrays: dict[str, np.ndarray], cuts: list[int] | None
) -> np.ndarray:
    """The result of a case, flat. cuts: the K of each Mmad, or None."""
    rows = arrays["activations"].astype(np.int64)
    if spec["operation"] == "conv2d":
        rows = rows_of(rows, spec["sizes"])
    # To whole steps of 64 of K; what is added is zero and meets nothing.
    k = rows.shape[1]
    steps = -(-k // 64)
    rows = np.pad(rows, ((0, 0), (0, 64 * steps - k)))
    n = arrays["weights"].shape[0]
    dense, index = (by_column(arrays[role], steps) for role in ("dense", "index"))
    met = np.pad(meets(dense, index, rules), ((0, 0), (0, 64 * steps)))[:n, : 64 * steps]
    bias = arrays.get("bias", np.zeros(n, np.int64)).astype(np.int64)
    sums = multiply(rows, met, bias, rules, cuts)
    if spec["requant"] is None:
        return sums.reshape(-1)
    return requantise(sums, arrays["requant"], spec["requant"], rules).reshape(-1)


def by_column(array: np.ndarray, steps: int) -> np.ndarray:
    """Dense or index bytes with a row for each column of the result."""
    if array.ndim == 2:  # nd
        return array
    k1, n1, n0, k0 = array.shape  # zn: fractals of 16 columns, those of one K side by side
    return array.transpose(1, 2, 0, 3).reshape(n1 * n0, k1 * k0)


def meets(dense: np.ndarray, index: np.ndarray, rules: dict) -> np.ndarray:
    """The weight that each activation of a row of K meets, a row for each column."""
    # Four 2-bit numbers a byte, the first in the lowest bits: i0 and i1 of one group, of the next.
    pairs = np.stack([index >> shift & 3 for shift in (0, 2, 4, 6)], axis=-1)
    pairs = pairs.reshape(len(index), -1, 2).astype(np.int64)
    slots = dense.reshape(len(dense), -1, 2).astype(np.int64)
    if (pairs == 3).any() and rules.get("index3", "error") == "error":
        column, group, slot = np.argwhere(pairs == 3)[0]
        raise RefusedError(f"an index of 3 in column {column}, group {group}, slot {slot}")
    chosen = pairs + np.array([0, 1])  # slot 1 counts from element 1
    if rules.get("pair20") == "table":
        chosen[(pairs[..., 0] == 2) & (pairs[..., 1] == 0), 1] = 2
    met = np.zeros((*slots.shape[:2], 4), np.int64)
    for element in range(4):
        met[..., element] = (slots * ((chosen == element) & (pairs != 3))).sum(axis=-1)
    return met.reshape(len(dense), -1)


def rows_of(x: np.ndarray, size: dict) -> np.ndarray:
    """The rows of a convolution: K goes through blocks of 32 channels, then the kernel."""
    (kh, kw), (sh, sw), (dh, dw) = size["kernel"], size["strides"], size["dilations"]
    top, left, bottom, right = size["pads"]
    batch, _, h, w, _ = x.shape
    around = ((0, 0), (0, 0), (top, bottom), (left, right), (0, 0))
    x = np.pad(x, around, constant_values=size["offset_x"])
    rows = [
        x[image, :, y : y + kh * dh : dh, z : z + kw * dw : dw].reshape(-1)
        for image in range(batch)
        for y in range(0, h + top + bottom - (kh - 1) * dh, sh)
        for z in range(0, w + left + right - (kw - 1) * dw, sw)
    ]
    return np.stack(rows)


def multiply(
    rows: np.ndarray, met: np.ndarray, bias: np.ndarray, rules: dict, cuts: list[int] | None
) -> np.ndarray:
    """The sums: 64 of K at a time are added exactly, and then to what int32 holds so far."""
    k = rows.shape[1]
    wraps = rules.get("overflow", "saturate") == "wrap"
    pieces = [64] * (k // 64)
    if rules.get("grain", "step") == "instruction" and not wraps:  # all of K of a Mmad at a time
        if cuts is None and max(len(rows), len(met)) <= 64 and k <= 320:
            cuts = [k]  # one takes all of it
        if cuts is None:
            raise ValueError(
                "after each Mmad this unit saturates, and version 1 does not tell its K"
            )
        pieces = cuts
    sums = np.broadcast_to(bias, (len(rows), len(met)))
    at = 0
    for piece in pieces:
        sums = sums + rows[:, at : at + piece] @ met[:, at : at + piece].T
        sums = (sums - LOW) % 2**32 + LOW if wraps else np.clip(sums, LOW, HIGH)
        at += piece
    return sums


def requantise(sums: np.ndarray, words: np.ndarray, how: dict, rules: dict) -> np.ndarray:
    """What FIXPIPE makes of the sums, by one word for all columns or one for each."""
    words = words.astype(np.uint64)
    mode, relu = how.get("mode", "REQ8"), how.get("relu", False)

    def bits(low: int, count: int) -> np.ndarray:
        return (words >> np.uint64(low) & np.uint64((1 << count) - 1)).astype(np.int64)

    if mode == "REQ8":
        shift = bits(32, 4) + (rules.get("requant_shift", "n+1") == "n+1")
        shifted = np.clip(sums >> shift, -(2**15), 2**15 - 1)
        sums = np.where(bits(36, 1) == 1, shifted, sums)
    x = sums.astype(np.float32)
    scale = (words & np.uint64(0xFFFFE000)).astype(np.uint32).view(np.float32)
    if not np.isfinite(scale).all():
        raise RefusedError("a word whose scale is infinite or no number")
    below = scale if relu is False else np.float32(0 if relu is True else relu)
    with np.errstate(over="ignore"):
        y = x * np.where(x < 0, below, scale)
    if mode == "DEQF16":
        return np.clip(y, -65504, 65504).astype(np.float16)
    offset = bits(37, 9)
    if rules.get("requant_offset", "signed") == "signed":
        offset = np.where(offset >= 256, offset - 512, offset)
    whole = np.rint(np.clip(y, -256, 255)).astype(np.int64) + offset
    signed = bits(46, 1) == 1
    return np.clip(whole, np.where(signed, -128, 0), np.where(signed, 127, 255))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
