"""The C core as functions on NumPy arrays: pointers, status codes and code paths end here.

Every function takes C-contiguous arrays of the right types whose shapes its caller (codec.py) has
made agree: what users may get wrong is checked, and explained, there. No cffi object leaves this
file.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cube24._cube24 import ffi, lib
from cube24.errors import ArgumentError

Int8 = npt.NDArray[np.int8]
UInt8 = npt.NDArray[np.uint8]

#: Violation policies of docs/format.md, by name.
POLICIES: dict[str, int] = {
    "error": lib.CUBE24_POLICY_ERROR,
    "first_two": lib.CUBE24_POLICY_FIRST_TWO,
    "first_last": lib.CUBE24_POLICY_FIRST_LAST,
    "magnitude": lib.CUBE24_POLICY_MAGNITUDE,
}

#: Names of the faults of a stored group, by number of the C enum.
FAULTS: dict[int, str] = {
    lib.CUBE24_FAULT_INDEX3: "index3",
    lib.CUBE24_FAULT_CONFLICT: "conflict",
    lib.CUBE24_FAULT_PADDING: "padding",
    lib.CUBE24_FAULT_NONCANONICAL: "noncanonical",
}

# The faults that a caller tells apart itself, in the missing channels of a convolution.
PADDING: int = lib.CUBE24_FAULT_PADDING
NONCANONICAL: int = lib.CUBE24_FAULT_NONCANONICAL

#: Channels of one block of the K order of a convolution.
C0: int = lib.cube24_c0()

_STRICT: int = lib.CUBE24_STRICT


class Place(NamedTuple):
    """A faulty group: row and group of the matrix, number of the fault."""

    row: int
    group: int
    fault: int


# --- code paths ---------------------------------------------------------------------------------

_VARIABLE = "CUBE24_PATH"
_chosen: str | None = None


def paths() -> tuple[str, ...]:
    """Names of the code paths that this machine can run, the reference ``scalar`` first."""
    return tuple(
        ffi.string(lib.cube24_path_name(path)).decode()
        for path in range(lib.cube24_path_count())
        if lib.cube24_path_supported(path)
    )


def use_path(name: str | None) -> None:
    """Choose a code path by name for all later calls; None: the best for this machine.

    Every path gives the same bytes, so this is for tests and benchmarks. The environment variable
    ``CUBE24_PATH`` does the same from outside.

    Raises:
        ArgumentError: this machine has no such path.
    """
    global _chosen
    if name is not None:
        _path_number(name, "use_path")
    _chosen = name


def _path_number(name: str, source: str) -> int:
    for path in range(lib.cube24_path_count()):
        known = ffi.string(lib.cube24_path_name(path)).decode() == name
        if known and lib.cube24_path_supported(path):
            return path
    raise ArgumentError(
        f"{source}: this machine has no code path {name!r}; it has {', '.join(paths())}"
    )


def _path_flags() -> int:
    name = _chosen or os.environ.get(_VARIABLE)
    return 0 if not name else _path_number(name, _VARIABLE) + 1


# --- calls --------------------------------------------------------------------------------------


def _in(array: npt.NDArray[Any], ctype: str) -> Any:
    return ffi.from_buffer(ctype, array)


def _out(array: npt.NDArray[Any], ctype: str) -> Any:
    return ffi.from_buffer(ctype, array, require_writable=True)


def _demand(status: int, *allowed: int) -> int:
    if status != lib.CUBE24_OK and status not in allowed:
        # The callers have checked everything, so this is a defect of ours, not of the input.
        raise AssertionError(f"the C core refused a call: status {status}")
    return status


def k_stored(k: int) -> int:
    """K rounded up to a multiple of 8, the elements that one row of the ND layout stands for."""
    return int(lib.cube24_k_stored(k))


def encode(weight: Int8, policy: str, dense: Int8, index: UInt8) -> tuple[bool, int, int]:
    """Encode (N, K) into ND rows; gives (accepted, groups changed, weights dropped)."""
    n, k = weight.shape
    changes = ffi.new("cube24_changes *")
    status = lib.cube24_encode(
        _in(weight, "int8_t[]"), n, k, POLICIES[policy], _path_flags(),
        _out(dense, "int8_t[]"), _out(index, "uint8_t[]"), changes,
    )  # fmt: skip
    _demand(status, lib.CUBE24_E_VIOLATION)
    return status == lib.CUBE24_OK, int(changes.groups), int(changes.weights)


def check(weight: Int8) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """Count the groups of (N, K) by non-zero mask (16,), and those in excess by row (N,)."""
    n, k = weight.shape
    masks = np.zeros(16, np.uint64)
    rows = np.zeros(n, np.uint64)
    _demand(
        lib.cube24_check(
            _in(weight, "int8_t[]"),
            n,
            k,
            _path_flags(),
            _out(masks, "uint64_t[]"),
            _out(rows, "uint64_t[]"),
        )
    )
    return masks, rows


def list_excess(weight: Int8, limit: int) -> list[Place]:
    """List the first ``limit`` groups of (N, K) with more than two non-zeros."""
    n, k = weight.shape
    limit = min(limit, weight.size)
    places = ffi.new("cube24_place[]", limit)
    total = ffi.new("uint64_t *")
    _demand(lib.cube24_list_excess(_in(weight, "int8_t[]"), n, k, places, limit, total))
    return _places(places, min(limit, int(total[0])))


def prune(weight: Int8, policy: str, out: Int8) -> tuple[int, ...]:
    """Prune (N, K) into ``out``; gives the six counters of cube24_cost in their order."""
    n, k = weight.shape
    cost = ffi.new("cube24_cost *")
    _demand(
        lib.cube24_prune(
            _in(weight, "int8_t[]"), n, k, POLICIES[policy], _out(out, "int8_t[]"), cost
        )
    )
    return (
        int(cost.groups), int(cost.weights), int(cost.l1_removed),
        int(cost.l1_total), int(cost.l2_removed), int(cost.l2_total),
    )  # fmt: skip


def decode(dense: Int8, index: UInt8, weight: Int8, strict: bool) -> int:
    """Decode the first rows and columns of stored ND rows into (N, K); gives the groups refused."""
    n, k = weight.shape
    faults = ffi.new("uint64_t[]", lib.CUBE24_FAULT_KINDS)
    status = lib.cube24_decode(
        _in(dense, "int8_t[]"), _in(index, "uint8_t[]"), dense.shape[0], 2 * dense.shape[1],
        n, k, _path_flags() | (_STRICT if strict else 0), _out(weight, "int8_t[]"), faults,
    )  # fmt: skip
    _demand(status, lib.CUBE24_E_REFUSED)
    return sum(int(count) for count in faults)


def list_refused(
    dense: Int8, index: UInt8, n: int, k: int, strict: bool, limit: int
) -> list[Place]:
    """List the first ``limit`` groups of stored ND rows that ``decode`` refuses."""
    limit = min(limit, dense.size)
    places = ffi.new("cube24_place[]", limit)
    total = ffi.new("uint64_t *")
    _demand(
        lib.cube24_list_refused(
            _in(dense, "int8_t[]"),
            _in(index, "uint8_t[]"),
            dense.shape[0],
            2 * dense.shape[1],
            n,
            k,
            _path_flags() | (_STRICT if strict else 0),
            places,
            limit,
            total,
        )
    )
    return _places(places, min(limit, int(total[0])))


def _places(places: Any, count: int) -> list[Place]:
    return [
        Place(int(places[i].row), int(places[i].group), int(places[i].fault)) for i in range(count)
    ]


def pack_index(values: UInt8, packed: UInt8) -> int | None:
    """Pack 2-bit values; gives the position of the first value above 3, or None."""
    position = ffi.new("uint64_t *")
    status = lib.cube24_pack_index(
        _in(values, "uint8_t[]"), values.size, _out(packed, "uint8_t[]"), position
    )
    _demand(status, lib.CUBE24_E_RANGE)
    return None if status == lib.CUBE24_OK else int(position[0])


def unpack_index(packed: UInt8, values: UInt8) -> None:
    """Unpack values.size 2-bit values."""
    _demand(
        lib.cube24_unpack_index(_in(packed, "uint8_t[]"), values.size, _out(values, "uint8_t[]"))
    )


def nd_to_zn(nd: npt.NDArray[Any], zn: npt.NDArray[Any]) -> None:
    """Cut (N, bytes) rows into (K1, N1, 16, k0) fractals."""
    n, row_bytes = nd.shape
    _demand(
        lib.cube24_nd_to_zn(_in(nd, "uint8_t[]"), n, row_bytes, zn.shape[-1], _out(zn, "uint8_t[]"))
    )


def zn_to_nd(zn: npt.NDArray[Any], nd: npt.NDArray[Any]) -> None:
    """Join (K1, N1, 16, k0) fractals into (N, bytes) rows; padding beyond them is left out."""
    n, row_bytes = nd.shape
    _demand(
        lib.cube24_zn_to_nd(_in(zn, "uint8_t[]"), n, row_bytes, zn.shape[-1], _out(nd, "uint8_t[]"))
    )


def conv_to_matrix(weight: Int8, matrix: Int8) -> None:
    """Order (Cout, Cin, Kh, Kw) as (Cout, C1*Kh*Kw*32)."""
    _demand(
        lib.cube24_conv_to_matrix(_in(weight, "int8_t[]"), *weight.shape, _out(matrix, "int8_t[]"))
    )


def matrix_to_conv(matrix: Int8, weight: Int8) -> int:
    """Invert conv_to_matrix; gives the number of non-zeros in missing channels, left out."""
    lost = ffi.new("uint64_t *")
    _demand(
        lib.cube24_matrix_to_conv(
            _in(matrix, "int8_t[]"), *weight.shape, _out(weight, "int8_t[]"), lost, ffi.NULL
        )
    )
    return int(lost[0])
