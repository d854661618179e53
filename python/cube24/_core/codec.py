"""Weights to bytes and back, layouts and bits: the codec functions of cube24.h on NumPy arrays.

Every function takes C-contiguous arrays of the right types whose shapes its caller has made agree:
what users may get wrong is checked, and explained, there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cube24._core.binding import demand, ffi, lib, view, writable
from cube24._core.paths import path_flags
from cube24._core.threads import PARALLEL_FROM, run_ranges, thread_count
from cube24.sizes import ceil_div, round_up

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

#: Rows of a fractal.
N0 = 16

_STRICT: int = lib.CUBE24_STRICT

# What every call looks up, once.
INT8, UINT8, NULL = ffi.typeof("int8_t[]"), ffi.typeof("uint8_t[]"), ffi.NULL
OK: int = lib.CUBE24_OK
VIOLATION: int = lib.CUBE24_E_VIOLATION
REFUSED: int = lib.CUBE24_E_REFUSED


class Place(NamedTuple):
    """A faulty group: row and group of the matrix, number of the fault."""

    row: int
    group: int
    fault: int


# The short ways, for what is encoded or decoded again and again: C's pointers to the bytes are made
# once, and what is asked of a weight is what the call needs. In calls of some microseconds each
# function in between is seen, so all of it is in one.

#: Encodes or decodes a weight; whether it is done. If not, the long way does it or finds out why.
Again = Callable[[object], bool]

_Array = np.ndarray
_INT8 = np.dtype(np.int8)


def encode_again(dense: Int8, index: UInt8, shape: tuple[int, ...], n: int, k: int) -> Again:
    """A call that encodes a weight of a shape, n rows of k, into these ND rows."""
    call, buffer = lib.cube24_encode, ffi.from_buffer
    to_dense, to_index, small = view(dense, INT8), view(index, UINT8), n * k < PARALLEL_FROM

    def again(weight: object) -> bool:
        try:
            return (
                type(weight) is _Array
                and weight.dtype is _INT8
                and weight.shape == shape
                and dense.flags.writeable
                and index.flags.writeable
                and (small or thread_count(None, n * k) == 1)
                and call(buffer(INT8, weight), n, k, 0, path_flags(), to_dense, to_index, NULL)
                == OK
            )
        except (ValueError, BufferError):  # not contiguous
            return False

    return again


def encode_zn_again(dense: Int8, index: UInt8, shape: tuple[int, ...]) -> Again:
    """A call that encodes a weight of a shape (N, K) into these Zn fractals."""
    call, (n, k) = lib.cube24_encode_zn, shape
    to_dense, to_index, blocks = view(dense, INT8), view(index, UINT8), ceil_div(n, N0)

    def again(weight: object) -> bool:
        try:
            return (
                type(weight) is _Array
                and weight.dtype is _INT8
                and weight.shape == shape
                and dense.flags.writeable
                and index.flags.writeable
                and thread_count(None, n * k) == 1
                and call(
                    view(weight, INT8), n, k, 0, blocks, 0, path_flags(), to_dense, to_index, NULL
                )
                == OK
            )
        except (ValueError, BufferError):  # not contiguous
            return False

    return again


def decode_again(
    dense: Int8, index: UInt8, shape: tuple[int, ...], n: int, k: int, strict: bool
) -> Again:
    """A call that decodes these arrays to a weight of a shape, n rows of k."""
    call, buffer = lib.cube24_decode, ffi.from_buffer
    from_dense, from_index, small = view(dense, INT8), view(index, UINT8), n * k < PARALLEL_FROM
    stored, option = round_up(k, 8), _STRICT if strict else 0

    def again(weight: object) -> bool:
        try:
            return (
                type(weight) is _Array
                and weight.dtype is _INT8
                and weight.shape == shape
                and (small or thread_count(None, n * k) == 1)
                and call(
                    from_dense, from_index, n, stored, n, k, path_flags() | option,
                    buffer(INT8, weight, True), NULL,
                ) == OK
            )  # fmt: skip
        except (ValueError, BufferError):  # not contiguous, or read-only
            return False

    return again


def encode_small(weight: Int8, dense: Int8, index: UInt8, n: int, k: int) -> bool:
    """Encode n rows of k in one call; whether it is done, as for :data:`Again`.

    Raises:
        ValueError, BufferError: an array is not contiguous, or read-only.
    """
    buffer = ffi.from_buffer
    status = lib.cube24_encode(
        buffer(INT8, weight), n, k, 0, path_flags(), buffer(INT8, dense, True),
        buffer(UINT8, index, True), NULL,
    )  # fmt: skip
    return bool(status == OK)


def encode(
    weight: Int8, policy: str, dense: Int8, index: UInt8, threads: int = 1
) -> tuple[bool, int, int]:
    """Encode (N, K) into ND rows; gives (accepted, groups changed, weights dropped)."""
    n, k = weight.shape
    source, to_dense, to_index = view(weight, INT8), writable(dense, INT8), writable(index, UINT8)
    flags, number = path_flags(), POLICIES[policy]
    dense_row, index_row = dense.shape[-1], index.shape[-1]

    def rows(start: int, stop: int, changes: Any) -> int:
        status: int = lib.cube24_encode(
            source + start * k, stop - start, k, number, flags,
            to_dense + start * dense_row, to_index + start * index_row, changes,
        )  # fmt: skip
        return status

    return _encoded(n, threads, 1, rows)


def encode_zn(
    weight: Int8, policy: str, dense: Int8, index: UInt8, threads: int = 1
) -> tuple[bool, int, int]:
    """Encode (N, K) straight into Zn fractals; gives what :func:`encode` gives."""
    n, k = weight.shape
    source, to_dense, to_index = view(weight, INT8), writable(dense, INT8), writable(index, UINT8)
    flags, number = path_flags(), POLICIES[policy]

    def blocks(start: int, stop: int, changes: Any) -> int:
        status: int = lib.cube24_encode_zn(
            source, n, k, start, stop - start, number, flags, to_dense, to_index, changes
        )
        return status

    return _encoded(ceil_div(n, N0), threads, 1, blocks)


def encode_conv(
    weight: Int8, zn: bool, policy: str, dense: Int8, index: UInt8, threads: int = 1
) -> tuple[bool, int, int]:
    """Encode (Cout, Cin, Kh, Kw) straight into ND rows or Zn fractals; gives what encode gives."""
    source, to_dense, to_index = view(weight, INT8), writable(dense, INT8), writable(index, UINT8)
    flags, number = path_flags(), POLICIES[policy]

    def rows(start: int, stop: int, changes: Any) -> int:
        status: int = lib.cube24_encode_conv(
            source, *weight.shape, start, stop - start, zn, number, flags, to_dense, to_index,
            changes,
        )  # fmt: skip
        return status

    return _encoded(weight.shape[0], threads, N0 if zn else 1, rows)


def _encoded(
    count: int, threads: int, unit: int, encode_range: Callable[[int, int, Any], int]
) -> tuple[bool, int, int]:
    """Encode ranges by threads; what the ranges give, together."""
    found: list[tuple[bool, int, int]] = []

    def told(start: int, stop: int) -> None:
        changes = ffi.new("cube24_changes *")
        status = demand(encode_range(start, stop, changes), VIOLATION)
        found.append((status == OK, int(changes.groups), int(changes.weights)))

    run_ranges(count, threads, told, unit)
    accepted, groups, weights = zip(*found, strict=True)
    return all(accepted), sum(groups), sum(weights)


def check(weight: Int8, threads: int = 1) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """Count the groups of (N, K) by non-zero mask (16,), and those in excess by row (N,)."""
    n, k = weight.shape
    source, flags = view(weight, INT8), path_flags()
    masks: list[npt.NDArray[np.uint64]] = []
    rows = np.zeros(n, np.uint64)
    by_row = writable(rows, "uint64_t[]")

    def check_rows(start: int, stop: int) -> None:
        counted = np.zeros(16, np.uint64)
        demand(
            lib.cube24_check(
                source + start * k, stop - start, k, flags, writable(counted, "uint64_t[]"),
                by_row + start,
            )
        )  # fmt: skip
        masks.append(counted)

    run_ranges(n, threads, check_rows)
    return np.sum(masks, axis=0, dtype=np.uint64), rows


def list_excess(weight: Int8, limit: int) -> list[Place]:
    """List the first ``limit`` groups of (N, K) with more than two non-zeros."""
    n, k = weight.shape
    limit = min(limit, weight.size)
    places = ffi.new("cube24_place[]", limit)
    total = ffi.new("uint64_t *")
    demand(lib.cube24_list_excess(view(weight, INT8), n, k, places, limit, total))
    return _places(places, min(limit, int(total[0])))


def prune(weight: Int8, policy: str, out: Int8, threads: int = 1) -> tuple[int, ...]:
    """Prune (N, K) into ``out``; gives the six counters of cube24_cost in their order."""
    n, k = weight.shape
    source, target, number = view(weight, INT8), writable(out, INT8), POLICIES[policy]
    flags = path_flags()
    costs: list[tuple[int, ...]] = []

    def prune_rows(start: int, stop: int) -> None:
        cost = ffi.new("cube24_cost *")
        demand(
            lib.cube24_prune(
                source + start * k, stop - start, k, number, flags, target + start * k, cost
            )
        )
        costs.append((
            int(cost.groups), int(cost.weights), int(cost.l1_removed),
            int(cost.l1_total), int(cost.l2_removed), int(cost.l2_total),
        ))  # fmt: skip

    run_ranges(n, threads, prune_rows)
    return tuple(map(sum, zip(*costs, strict=True)))


def decode(dense: Int8, index: UInt8, weight: Int8, strict: bool, threads: int = 1) -> int:
    """Decode the first rows and columns of stored ND rows into (N, K); gives the groups refused."""
    n, k = weight.shape
    n_stored, k_stored = dense.shape[0], 2 * dense.shape[1]
    from_dense, from_index, target = view(dense, INT8), view(index, UINT8), writable(weight, INT8)
    flags = path_flags() | (_STRICT if strict else 0)

    def rows(start: int, stop: int, faults: Any) -> int:
        status: int = lib.cube24_decode(
            from_dense + start * (k_stored // 2), from_index + start * (k_stored // 8),
            stop - start, k_stored, max(0, min(stop, n) - start), k, flags,
            target + min(start, n) * k, faults,
        )  # fmt: skip
        return status

    return _refused(n_stored, threads, rows)


def decode_zn(dense: Int8, index: UInt8, weight: Int8, strict: bool, threads: int = 1) -> int:
    """Decode Zn fractals straight into (N, K); gives the groups refused."""
    n, k = weight.shape
    from_dense, from_index, target = view(dense, INT8), view(index, UINT8), writable(weight, INT8)
    flags = path_flags() | (_STRICT if strict else 0)

    def blocks(start: int, stop: int, faults: Any) -> int:
        status: int = lib.cube24_decode_zn(
            from_dense, from_index, n, k, start, stop - start, flags, target, faults
        )
        return status

    return _refused(ceil_div(n, N0), threads, blocks)


def _refused(count: int, threads: int, decode_range: Callable[[int, int, Any], int]) -> int:
    """Decode ranges by threads; how many groups are refused."""
    refused: list[int] = []

    def told(start: int, stop: int) -> None:
        faults = ffi.new("uint64_t[]", lib.CUBE24_FAULT_KINDS)
        demand(decode_range(start, stop, faults), REFUSED)
        refused.append(sum(faults))

    run_ranges(count, threads, told)
    return sum(refused)


def list_refused(
    dense: Int8, index: UInt8, n: int, k: int, strict: bool, limit: int
) -> list[Place]:
    """List the first ``limit`` groups of stored ND rows that ``decode`` refuses."""
    limit = min(limit, dense.size)
    places = ffi.new("cube24_place[]", limit)
    total = ffi.new("uint64_t *")
    demand(
        lib.cube24_list_refused(
            view(dense, INT8),
            view(index, UINT8),
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
        view(values, UINT8), values.size, writable(packed, UINT8), position
    )
    demand(status, lib.CUBE24_E_RANGE)
    return None if status == lib.CUBE24_OK else int(position[0])


def unpack_index(packed: UInt8, values: UInt8) -> None:
    """Unpack values.size 2-bit values."""
    demand(lib.cube24_unpack_index(view(packed, UINT8), values.size, writable(values, UINT8)))


def nd_to_zn(nd: npt.NDArray[Any], zn: npt.NDArray[Any]) -> None:
    """Cut (N, bytes) rows into (K1, N1, 16, k0) fractals."""
    n, row_bytes = nd.shape
    demand(lib.cube24_nd_to_zn(view(nd, UINT8), n, row_bytes, zn.shape[-1], writable(zn, UINT8)))


def zn_to_nd(zn: npt.NDArray[Any], nd: npt.NDArray[Any]) -> None:
    """Join (K1, N1, 16, k0) fractals into (N, bytes) rows; padding beyond them is left out."""
    n, row_bytes = nd.shape
    demand(lib.cube24_zn_to_nd(view(zn, UINT8), n, row_bytes, zn.shape[-1], writable(nd, UINT8)))


def conv_to_matrix(weight: Int8, matrix: Int8) -> None:
    """Order (Cout, Cin, Kh, Kw) as (Cout, C1*Kh*Kw*32)."""
    demand(
        lib.cube24_conv_to_matrix(
            view(weight, INT8), *weight.shape, path_flags(), writable(matrix, INT8)
        )
    )


def matrix_to_conv(matrix: Int8, weight: Int8) -> int:
    """Invert conv_to_matrix; gives the number of non-zeros in missing channels, left out."""
    lost = ffi.new("uint64_t *")
    demand(
        lib.cube24_matrix_to_conv(
            view(matrix, INT8), *weight.shape, path_flags(), writable(weight, INT8), lost, ffi.NULL
        )
    )
    return int(lost[0])
