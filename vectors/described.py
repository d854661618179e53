"""What a manifest of version 2 says that one of version 1 leaves to its reader.

The unit with every field, the layer with its sizes by name, and of each array its axes, the bytes
of its rows and where they begin, and for an image of a buffer where it stands there and which part
of it counts. So a bench needs no other file, and no default that only the package knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from cube24.encoder import SparseWeight
from cube24.simulator import Conv2d
from cube24.vectors.case import Array, Case, CaseArray
from cube24.vectors.files import CaseStyle, stored_bytes, words_of
from cube24.vectors.rng import shown
from cube24.vectors.spec import kind_of, layer_of, unit_digest
from cube24.vectors.steps import mmad_k

#: The axes of the arrays of a case, slowest first, by role and layout.
AXES: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("weights", "nd"): ("n", "k"), ("weights", "oihw"): ("cout", "cin", "kh", "kw"),
    ("dense", "nd"): ("n", "slot"), ("dense", "zn"): ("k1", "n1", "n0", "slot"),
    ("index", "nd"): ("n", "byte"), ("index", "zn"): ("k1", "n1", "n0", "byte"),
    ("activations", "nd"): ("m", "k"),
    ("activations", "nc1hwc0"): ("batch", "c1", "h", "w", "c0"),
    ("bias", "nd"): ("n",), ("requant", "nd"): ("n",),
    ("accumulators", "nd"): ("m", "n"), ("accumulators", "nhwc"): ("batch", "ho", "wo", "n"),
    ("expected", "nd"): ("m", "n"), ("expected", "nhwc"): ("batch", "ho", "wo", "n"),
    ("l0a", "zz"): ("m1", "k1", "m0", "k0"), ("l0b", "zn"): ("k1", "n1", "n0", "slot"),
    ("l0c", "nz"): ("n1", "m1", "m0", "n0"), ("img2col", "nd"): ("m", "k"),
}  # fmt: skip


def unit(case: Case) -> dict[str, Any]:
    """The unit of a case: its name, every field, and the SHA-256 of it as TOML."""
    return {
        "name": case.unit.name,
        "toml_sha256": unit_digest(case.spec),
        "config": asdict(case.unit),
    }


def layer(case: Case) -> dict[str, Any]:
    """What is computed: sizes by name, no number by its place in a list, and m, n and k.

    mmad_k: the k of each Mmad of a result, in order, where it makes a difference: a unit whose
    grain is the instruction saturates after each of them.
    """
    of, operation = layer_of(case.spec), case.spec["operation"]
    found: dict[str, Any] = {
        "operation": operation, "batch": of.batch, "m": of.m, "n": of.n, "k": of.k,
    }  # fmt: skip
    if case.unit.grain == "instruction":
        found["mmad_k"] = mmad_k(case)
    if not isinstance(of, Conv2d):
        return found
    ho, wo = of.positions
    return found | {
        "cin": of.cin, "h": of.h, "w": of.w, "cout": of.cout, "ho": ho, "wo": wo,
        "kernel": _named(of.kernel, "h", "w"), "strides": _named(of.strides, "h", "w"),
        "dilations": _named(of.dilations, "h", "w"),
        "pads": _named(of.pads, "top", "left", "bottom", "right"), "offset_x": of.offset_x,
    }  # fmt: skip


def _named(values: tuple[int, ...], *names: str) -> dict[str, int]:
    return dict(zip(names, values, strict=True))


def other_layout(case: Case) -> dict[str, CaseArray]:
    """Dense and index of a case in the layout that it is not in, by the names of their files."""
    spec, pieces = case.spec, case.pieces
    stored = SparseWeight(
        pieces["dense"].array, pieces["index"].array, pieces["weights"].array.shape,
        spec["layout"], kind_of(spec),
    )  # fmt: skip
    other = stored.to_nd() if spec["layout"] == "zn" else stored.to_fractal()
    return {
        f"dense-{other.layout}": CaseArray(other.dense, other.layout),
        f"index-{other.layout}": CaseArray(other.index, other.layout),
    }


def array(
    name: str,
    role: str,
    format_: str,
    piece: CaseArray,
    style: CaseStyle,
    payload: str,
    of: str = "",
) -> dict[str, Any]:
    """The entry of a file of an array, without the checksum of the file.

    Args:
        name: of the file. role, format_: of it. piece: what it holds. style: of the case.
        payload: the SHA-256 of its bytes. of: for a step, what it is an image of.
    """
    held: Array = piece.array
    shape, size = held.shape, held.dtype.itemsize
    row = shape[-1] * size
    entry = {
        "name": name, "role": role, "format": format_, "dtype": held.dtype.name,
        "shape": list(shape), "axes": list(AXES[of or role, piece.layout]), "layout": piece.layout,
    }  # fmt: skip
    if format_ == "npy":  # one element a word, and nothing between its rows
        bits, words, stride = 8 * size, held.size, row
    else:
        stride = style.row_stride_of(role, row)
        total = stored_bytes(shape, held.dtype, style, role)
        bits = 8 if format_ == "bin" else 8 * style.word_bytes_of(role)
        words = total if format_ == "bin" else words_of(total, style, role)
    return entry | {
        "bits_per_word": bits, "words": words, "order": style.order, "row_bytes": row,
        "row_stride": stride, "payload_sha256": payload,
    }  # fmt: skip


def header(case: Case, entry: Mapping[str, Any], package: str) -> dict[str, object]:
    """The comments at the top of a hex file: what its entry says, but for its own checksum."""
    return {
        "name": f"{case.suite}/{case.name}/{entry['name']}",
        "role": entry["role"],
        "dtype": entry["dtype"],
        "shape": "x".join(map(str, entry["shape"])),
        "axes": " ".join(entry["axes"]),
        "layout": entry["layout"],
        "word_bytes": entry["bits_per_word"] // 8,
        "order": entry["order"],
        "words": entry["words"],
        "row_bytes": entry["row_bytes"],
        "row_stride": entry["row_stride"],
        "seed": f"{shown(case.seed)}",
        "payload_sha256": entry["payload_sha256"],
        "cube24": package,
    }
