"""What a bench loads without JSON: sizes, plusargs, a memory image, the program, and a trace.

    case.svh       localparams CASE_..., for `include in a module
    plusargs.txt   the same as plusargs, one a line; files are named as from the folder of the case
    files.f        the folder of the case for `include, a command file of simulators
    memory.hex     global memory as $readmemh reads it: the inputs, each at its address
    program.txt    the program of the unit, as Program.parse reads it
    trace.txt      what a player does with them: load, run, dump

All of it follows from the case and from the entries of its manifest.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable, Mapping
from math import prod
from typing import Any

from cube24.encoder import SparseWeight
from cube24.errors import ArgumentError
from cube24.files import write_hex
from cube24.simulator import Conv2d
from cube24.vectors.case import Case
from cube24.vectors.files import payload_of
from cube24.vectors.rng import shown
from cube24.vectors.spec import kind_of, layer_of
from cube24.vectors.steps import mmad_k

#: Fields of the unit that change a result.
RULES = ("overflow", "grain", "index3", "pair20", "requant_shift", "requant_offset")

#: The roles of what stands in global memory, by the name of the buffer of the program.
BUFFERS = {
    "activations": "activations", "dense": "dense", "index": "index", "bias": "bias",
    "words": "requant", "output": "expected",
}  # fmt: skip

#: Plusargs that have another name among the localparams: those of a file begin with its role.
_RENAMED = {"case": "name", "requant_words": "requant_columns"}

#: Roles of files that plusargs name.
_FILES = ("activations", "dense", "index", "bias", "requant", "accumulators", "expected")


def addresses(case: Case) -> dict[tuple[str, str], int]:
    """Where arrays stand in global memory, in bytes, by role and layout.

    A weight of layout nd stands there as zn, and requantisation by a single word nowhere: it is in
    the program.
    """
    found = {}
    for buffer in case.run.program.buffers:
        role = BUFFERS[buffer.name]
        layout = "zn" if role in ("dense", "index") else case.pieces["activations"].layout
        if role in ("bias", "requant"):
            layout = "nd"
        if role == "expected":
            layout = "nhwc" if layout == "nc1hwc0" else "nd"
        found[role, layout] = buffer.at
    return found


def files(case: Case, entries: Iterable[Mapping[str, Any]]) -> dict[str, bytes]:
    """The files of the bench by name.

    Args:
        case: any case. entries: of its manifest; those of hex are named in the files.

    Raises:
        ArgumentError: the memory image has no such words.
    """
    named = _named(entries)
    values = _values(case, named)
    return {
        "case.svh": _svh(case, values, named),
        "plusargs.txt": "".join(f"+{name}={value}\n" for name, value in values.items()).encode(),
        "files.f": b"+incdir+.\n",
        "memory.hex": _memory(case),
        "program.txt": str(case.run.program).encode(),
        "trace.txt": _trace(case, named),
    }


def _named(entries: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """The hex file of each role: of dense and index that in the layout of the case."""
    found: dict[str, Mapping[str, Any]] = {}
    for entry in entries:
        if entry["format"] == "hex" and entry["role"] in _FILES:
            found.setdefault(entry["role"], entry)
    return found


def _values(case: Case, entries: Mapping[str, Mapping[str, Any]]) -> dict[str, int | str]:
    """What the plusargs and localparams say, by name."""
    spec, style, layer = case.spec, case.style, layer_of(case.spec)
    found: dict[str, int | str] = {
        "case": f"{case.suite}/{case.name}", "outcome": _outcome(case),
        "layout": spec["layout"], "word_bytes": style.word_bytes, "order": style.order,
        "conv": int(isinstance(layer, Conv2d)), "m": layer.m, "n": layer.n, "k": layer.k,
    }  # fmt: skip
    if isinstance(layer, Conv2d):
        ho, wo = layer.positions
        found |= {
            "batch": layer.batch, "c1": -(-layer.cin // 32), "cin": layer.cin, "h": layer.h,
            "w": layer.w, "ho": ho, "wo": wo, "offset_x": layer.offset_x,
        }  # fmt: skip
        for name, values in (
            ("kernel", layer.kernel), ("stride", layer.strides), ("dilation", layer.dilations),
        ):  # fmt: skip
            found |= {f"{name}_h": values[0], f"{name}_w": values[1]}
        for side, size in zip(("top", "left", "bottom", "right"), layer.pads, strict=True):
            found[f"pad_{side}"] = size
    found |= {rule: getattr(case.unit, rule) for rule in RULES}
    found |= _requant(case)
    found |= _cut(case)
    for role, entry in entries.items():
        found[role] = entry["name"]
        if entry["bits_per_word"] != 8 * style.word_bytes:
            found[f"{role}_word_bytes"] = entry["bits_per_word"] // 8
        if entry["row_stride"] != entry["row_bytes"]:
            found[f"{role}_row_stride"] = entry["row_stride"]
    return found


def _outcome(case: Case) -> str:
    """What a device must do: the files beside a damaged copy are right, and play as such."""
    if "expected" in case.pieces:
        return "result"
    return {"IllegalIndexError": "illegal", "RangeError": "bad-word"}[case.outcome["error"]]


def _cut(case: Case) -> dict[str, int | str]:
    """Where K is cut into several Mmads: a number, so all of them but the last have the same k."""
    first, *others = mmad_k(case)
    if any(k != first for k in others[:-1]) or max(others, default=0) > first:
        raise ArgumentError(f"bench: the Mmads of {case.name} have k {first}, {others}, not one k")
    return {"mmad_k": first} if others else {}


def _requant(case: Case) -> dict[str, int | str]:
    how = case.spec["requant"]
    if how is None:
        return {"output": "int32"}
    eight = "int8" if how.get("signed", True) else "uint8"
    found: dict[str, int | str] = {
        "output": "float16" if how.get("mode", "REQ8") == "DEQF16" else eight,
        "requant_words": case.pieces["requant"].array.size,
    }
    relu = how.get("relu", False)
    if relu is True:
        found["relu"] = "relu"
    elif relu is not False:
        found |= {"relu": "leaky", "alpha": struct.pack(">f", relu).hex()}
    return found


def _svh(
    case: Case, values: Mapping[str, int | str], entries: Mapping[str, Mapping[str, Any]]
) -> bytes:
    names: dict[str, int | str] = {
        _RENAMED.get(name, name): value for name, value in values.items() if name not in entries
    }
    for role, entry in entries.items():
        names |= {
            f"{role}_file": entry["name"], f"{role}_words": entry["words"],
            f"{role}_word_bits": entry["bits_per_word"], f"{role}_rows": prod(entry["shape"][:-1]),
            f"{role}_row_bytes": entry["row_bytes"], f"{role}_row_stride": entry["row_stride"],
        }  # fmt: skip
    buffers = case.run.program.buffers
    for buffer in buffers:
        role = BUFFERS[buffer.name]
        names |= {f"{role}_address": buffer.at, f"{role}_bytes": buffer.bytes}
    names["memory_file"] = "memory.hex"
    names["memory_bytes"] = max(buffer.at + buffer.bytes for buffer in buffers)
    lines = [
        f"// {case.suite}/{case.name}, for `include in a module; CASE_{{ROLE}}_... of each file",
        *(_localparam(name, value) for name, value in names.items()),
        f"localparam [63:0] CASE_SEED = 64'h{shown(case.seed)[2:]};",
    ]
    return "".join(f"{line}\n" for line in lines).encode()


def _localparam(name: str, value: int | str) -> str:
    if name == "alpha":
        return f"localparam [31:0] CASE_ALPHA = 32'h{value};"
    if isinstance(value, str):
        return f'localparam CASE_{name.upper()} = "{value}";'
    return f"localparam integer CASE_{name.upper()} = {value};"


def _memory(case: Case) -> bytes:
    """The inputs of the program, each behind the number of its first word."""
    word, target = case.style.word_bytes, io.BytesIO()
    held = _held(case)
    if case.style.header:
        target.write(
            f"// name: {case.suite}/{case.name}/memory.hex\n// word_bytes: {word}\n"
            f"// order: {case.style.order}\n// addresses: of words\n".encode()
        )
    for buffer in case.run.program.buffers:
        if buffer.name == "output":
            continue
        data = held[BUFFERS[buffer.name]]
        if buffer.at % word or len(data) != buffer.bytes:
            raise ArgumentError(
                f"bench: {buffer.name} is at byte {buffer.at} of memory, which begins no word of "
                f"{word} bytes; ask for words of a power of two, up to 512"
            )
        target.write(f"@{buffer.at // word:08x}\n".encode())
        write_hex(target, [data], word_bytes=word, order=case.style.order)
    return target.getvalue()


def _held(case: Case) -> dict[str, bytes]:
    """The bytes of each role as they stand in global memory."""
    pieces = {role: piece.array for role, piece in case.pieces.items()}
    if case.spec["layout"] == "nd":
        stored = SparseWeight(
            pieces["dense"], pieces["index"], pieces["weights"].shape, "nd", kind_of(case.spec)
        ).to_fractal()
        pieces |= {"dense": stored.dense, "index": stored.index}
    return {role: payload_of(array) for role, array in pieces.items()}


def _trace(case: Case, entries: Mapping[str, Mapping[str, Any]]) -> bytes:
    """Load the memory, run the program, and dump the result."""
    word, order = case.style.word_bytes, case.style.order
    lines = [f"load file=memory.hex word_bytes={word} order={order}", "run file=program.txt"]
    output = next(buffer for buffer in case.run.program.buffers if buffer.name == "output")
    if entry := entries.get("expected"):
        lines.append(
            f"dump at={output.at:#x} bytes={output.bytes} expected={entry['name']} "
            f"word_bytes={entry['bits_per_word'] // 8} order={order}"
        )
    return "".join(f"{line}\n" for line in lines).encode()
