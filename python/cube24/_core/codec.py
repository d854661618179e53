"""Weights to bytes and back, layouts and bits: the codec functions of cube24.h on NumPy arrays.

Every function takes C-contiguous arrays of the right types whose shapes its caller has made agree:
what users may get wrong is checked, and explained, there.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cube24._core.binding import demand, ffi, lib, view, writable
from cube24._core.paths import path_flags

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


def encode(weight: Int8, policy: str, dense: Int8, index: UInt8) -> tuple[bool, int, int]:
    """Encode (N, K) into ND rows; gives (accepted, groups changed, weights dropped)."""
    n, k = weight.shape
    changes = ffi.new("cube24_changes *")
    status = lib.cube24_encode(
        view(weight, "int8_t[]"), n, k, POLICIES[policy], path_flags(),
        writable(dense, "int8_t[]"), writable(index, "uint8_t[]"), changes,
    )  # fmt: skip
    demand(status, lib.CUBE24_E_VIOLATION)
    return status == lib.CUBE24_OK, int(changes.groups), int(changes.weights)


def check(weight: Int8) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """Count the groups of (N, K) by non-zero mask (16,), and those in excess by row (N,)."""
    n, k = weight.shape
    masks = np.zeros(16, np.uint64)
    rows = np.zeros(n, np.uint64)
    demand(
        lib.cube24_check(
            view(weight, "int8_t[]"),
            n,
            k,
            path_flags(),
            writable(masks, "uint64_t[]"),
            writable(rows, "uint64_t[]"),
        )
    )
    return masks, rows


def list_excess(weight: Int8, limit: int) -> list[Place]:
    """List the first ``limit`` groups of (N, K) with more than two non-zeros."""
    n, k = weight.shape
    limit = min(limit, weight.size)
    places = ffi.new("cube24_place[]", limit)
    total = ffi.new("uint64_t *")
    demand(lib.cube24_list_excess(view(weight, "int8_t[]"), n, k, places, limit, total))
    return _places(places, min(limit, int(total[0])))


def prune(weight: Int8, policy: str, out: Int8) -> tuple[int, ...]:
    """Prune (N, K) into ``out``; gives the six counters of cube24_cost in their order."""
    n, k = weight.shape
    cost = ffi.new("cube24_cost *")
    demand(
        lib.cube24_prune(
            view(weight, "int8_t[]"), n, k, POLICIES[policy], writable(out, "int8_t[]"), cost
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
        view(dense, "int8_t[]"), view(index, "uint8_t[]"), dense.shape[0], 2 * dense.shape[1],
        n, k, path_flags() | (_STRICT if strict else 0), writable(weight, "int8_t[]"), faults,
    )  # fmt: skip
    demand(status, lib.CUBE24_E_REFUSED)
    return sum(int(count) for count in faults)


def list_refused(
    dense: Int8, index: UInt8, n: int, k: int, strict: bool, limit: int
) -> list[Place]:
    """List the first ``limit`` groups of stored ND rows that ``decode`` refuses."""
    limit = min(limit, dense.size)
    places = ffi.new("cube24_place[]", limit)
    total = ffi.new("uint64_t *")
    demand(
        lib.cube24_list_refused(
            view(dense, "int8_t[]"),
            view(index, "uint8_t[]"),
            dense.shape[0],
            2 * dense.shape[1],
            n,
            k,
            path_flags() | (_STRICT if strict else 0),
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
        view(values, "uint8_t[]"), values.size, writable(packed, "uint8_t[]"), position
    )
    demand(status, lib.CUBE24_E_RANGE)
    return None if status == lib.CUBE24_OK else int(position[0])


def unpack_index(packed: UInt8, values: UInt8) -> None:
    """Unpack values.size 2-bit values."""
    demand(
        lib.cube24_unpack_index(
            view(packed, "uint8_t[]"), values.size, writable(values, "uint8_t[]")
        )
    )


def nd_to_zn(nd: npt.NDArray[Any], zn: npt.NDArray[Any]) -> None:
    """Cut (N, bytes) rows into (K1, N1, 16, k0) fractals."""
    n, row_bytes = nd.shape
    demand(
        lib.cube24_nd_to_zn(
            view(nd, "uint8_t[]"), n, row_bytes, zn.shape[-1], writable(zn, "uint8_t[]")
        )
    )


def zn_to_nd(zn: npt.NDArray[Any], nd: npt.NDArray[Any]) -> None:
    """Join (K1, N1, 16, k0) fractals into (N, bytes) rows; padding beyond them is left out."""
    n, row_bytes = nd.shape
    demand(
        lib.cube24_zn_to_nd(
            view(zn, "uint8_t[]"), n, row_bytes, zn.shape[-1], writable(nd, "uint8_t[]")
        )
    )


def conv_to_matrix(weight: Int8, matrix: Int8) -> None:
    """Order (Cout, Cin, Kh, Kw) as (Cout, C1*Kh*Kw*32)."""
    demand(
        lib.cube24_conv_to_matrix(
            view(weight, "int8_t[]"), *weight.shape, writable(matrix, "int8_t[]")
        )
    )


def matrix_to_conv(matrix: Int8, weight: Int8) -> int:
    """Invert conv_to_matrix; gives the number of non-zeros in missing channels, left out."""
    lost = ffi.new("uint64_t *")
    demand(
        lib.cube24_matrix_to_conv(
            view(matrix, "int8_t[]"), *weight.shape, writable(weight, "int8_t[]"), lost, ffi.NULL
        )
    )
    return int(lost[0])
