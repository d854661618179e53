"""The format as slow, obvious Python and NumPy: what the tests compare with.

It is written from the format document alone and shares nothing with the package or its C core: no
import, no table, no constant. A matrix is (N, K), a group is 4 elements along K.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

# The encoding, row by row: elements e0 to e3, i0, i1, dense slot 0 and slot 1.
TABLE = (
    ("00XY", 2, 2, "XY"),
    ("0X0Y", 1, 2, "XY"),
    ("X00Y", 0, 2, "XY"),
    ("0XY0", 1, 1, "XY"),
    ("X0Y0", 0, 1, "XY"),
    ("XY00", 0, 0, "XY"),
    ("000X", 0, 2, "0X"),
    ("00X0", 2, 0, "X0"),
    ("0X00", 1, 0, "X0"),
    ("X000", 0, 0, "X0"),
    ("0000", 0, 0, "00"),
)

POLICIES = ("first_two", "first_last", "magnitude")


# --- one group ------------------------------------------------------------------------------------


def encode_group(group: Sequence[int]) -> tuple[int, int, int, int]:
    """(slot 0, slot 1, i0, i1) of a legal group."""
    for elements, i0, i1, slots in TABLE:
        if all((group[p] != 0) == (elements[p] != "0") for p in range(4)):
            value_of = {elements[p]: group[p] for p in range(4)}
            value_of["0"] = 0
            return value_of[slots[0]], value_of[slots[1]], i0, i1
    raise ValueError(f"{group} has more than two non-zeros")


def decode_group(d0: int, d1: int, i0: int, i1: int) -> tuple[int, ...] | str:
    """The four elements, or the name of the fault that makes the bytes stand for no weight."""
    if i0 == 3 or i1 == 3:
        return "index3"
    if i0 == i1 + 1 and d0 != 0 and d1 != 0:
        return "conflict"
    group = [0, 0, 0, 0]
    group[i0] += d0
    group[i1 + 1] += d1
    return tuple(group)


def keep(group: Sequence[int], policy: str) -> tuple[int, ...]:
    """The group with what a policy leaves of it; a legal group is left alone."""
    nonzero = [position for position in range(4) if group[position] != 0]
    if len(nonzero) <= 2:
        return tuple(group)
    if policy == "first_two":
        kept = nonzero[:2]
    elif policy == "first_last":
        kept = [
            next(position for position in (0, 1, 2) if group[position] != 0),
            next(position for position in (3, 2, 1) if group[position] != 0),
        ]
    elif policy == "magnitude":
        kept = sorted(nonzero, key=lambda position: (-abs(int(group[position])), position))[:2]
    else:
        raise ValueError(policy)
    return tuple(value if position in kept else 0 for position, value in enumerate(group))


# --- bits -----------------------------------------------------------------------------------------


def pack(values: Sequence[int]) -> list[int]:
    """Four 2-bit values to a byte, the first in the least significant bits."""
    padded = [*values, 0, 0, 0]
    return [
        padded[i] + 4 * padded[i + 1] + 16 * padded[i + 2] + 64 * padded[i + 3]
        for i in range(0, len(values), 4)
    ]


def unpack(data: Sequence[int]) -> list[int]:
    return [byte // 4**place % 4 for byte in data for place in range(4)]


# --- matrices -------------------------------------------------------------------------------------


def padded(matrix: Array, rows: int, columns: int, fill: int = 0) -> Array:
    """The matrix with both sizes rounded up to multiples."""
    n, k = matrix.shape
    return np.pad(matrix, ((0, -n % rows), (0, -k % columns)), constant_values=fill)


def groups_of(matrix: Array) -> Array:
    """(N, K) as (N, groups, 4), the missing elements of the last group as zeros."""
    full = padded(matrix, 1, 4)
    return full.reshape(full.shape[0], full.shape[1] // 4, 4)


def encode(matrix: Array) -> tuple[Array, Array]:
    """ND dense and index of a legal (N, K): one row of the table after the other."""
    groups = groups_of(padded(matrix, 1, 8))
    dense = np.zeros((*groups.shape[:2], 2), np.int8)
    indices = np.zeros((*groups.shape[:2], 2), np.uint8)
    done = np.zeros(groups.shape[:2], bool)
    for elements, i0, i1, slots in TABLE:
        here = np.all((groups != 0) == [letter != "0" for letter in elements], axis=2)
        for slot, letter in enumerate(slots):
            if letter != "0":
                dense[here, slot] = groups[here, elements.index(letter)]
        indices[here] = i0, i1
        done |= here
    if not done.all():
        raise ValueError("more than two non-zeros in a group")
    n, count = done.shape
    return dense.reshape(n, 2 * count), pack_rows(indices.reshape(n, 2 * count))


def pack_rows(indices: Array) -> Array:
    """(N, 4 * bytes) 2-bit values as (N, bytes)."""
    n, count = indices.shape
    four = indices.reshape(n, count // 4, 4).astype(np.int64)
    return (four * [1, 4, 16, 64]).sum(axis=2).astype(np.uint8)


def unpack_rows(index: Array) -> Array:
    """(N, bytes) as (N, 4 * bytes) 2-bit values."""
    values = index[:, :, None].astype(np.int64) // [1, 4, 16, 64] % 4
    return values.reshape(index.shape[0], 4 * index.shape[1])


def decode(dense: Array, index: Array) -> Array:
    """ND bytes that no group is refused of, by the selection rule, to (N, K stored)."""
    n, count = dense.shape
    slots = dense.reshape(n, count // 2, 2).astype(np.int64)
    pairs = unpack_rows(index).reshape(n, count // 2, 2)
    groups = np.zeros((n, count // 2, 4), np.int64)
    for element in range(4):
        groups[:, :, element] += np.where(pairs[:, :, 0] == element, slots[:, :, 0], 0)
        groups[:, :, element] += np.where(pairs[:, :, 1] + 1 == element, slots[:, :, 1], 0)
    return groups.reshape(n, 2 * count).astype(np.int8)


def keep_all(matrix: Array, policy: str) -> Array:
    """The matrix with a policy applied to each group."""
    groups = groups_of(matrix).copy()
    for row, group in np.argwhere((groups != 0).sum(axis=2) > 2):
        groups[row, group] = keep(groups[row, group].tolist(), policy)
    return groups.reshape(matrix.shape[0], 4 * groups.shape[1])[:, : matrix.shape[1]]


def matmul(activation: Array, weight: Array) -> Array:
    """(M, K) times (N, K) transposed, exact."""
    return activation.astype(np.int64) @ weight.astype(np.int64).T


# --- layouts --------------------------------------------------------------------------------------


def to_zn(rows: Array, k0: int) -> Array:
    """(N, bytes) as (K1, N1, 16, k0): dense with k0 = 32, index with k0 = 8."""
    full = padded(rows, 16, k0)
    n, count = full.shape
    return full.reshape(n // 16, 16, count // k0, k0).transpose(2, 0, 1, 3)


def from_zn(fractals: Array) -> Array:
    """(K1, N1, 16, k0) as rows, padding included."""
    k1, n1, n0, k0 = fractals.shape
    return fractals.transpose(1, 2, 0, 3).reshape(n1 * n0, k1 * k0)


def from_nz(fractals: Array) -> Array:
    """(K1, M1, 16, 32) activations as (M, K), padding included."""
    k1, m1, m0, k0 = fractals.shape
    return fractals.transpose(1, 2, 0, 3).reshape(m1 * m0, k1 * k0)


def conv_matrix(weight: Array, fill: int = 0) -> Array:
    """(Cout, Cin, Kh, Kw) in the K order (C1, Kh, Kw, C0)."""
    cout, cin, kh, kw = weight.shape
    full = np.pad(weight, ((0, 0), (0, -cin % 32), (0, 0), (0, 0)), constant_values=fill)
    c1 = full.shape[1] // 32
    blocks = full.reshape(cout, c1, 32, kh, kw).transpose(0, 1, 3, 4, 2)
    return blocks.reshape(cout, c1 * kh * kw * 32)


def matrices_of(weight: Array, kind: str = "matrix", fill: int = 0) -> Array:
    """Any weight as (batch, N, K)."""
    if kind == "conv":
        return conv_matrix(weight, fill)[None]
    return weight.reshape(int(np.prod(weight.shape[:-2])), *weight.shape[-2:])


def encode_weight(weight: Array, layout: str = "nd", kind: str = "matrix") -> tuple[Array, Array]:
    """Dense and index of any legal weight, in the shapes that the package gives them."""
    batch = weight.shape[:-2] if kind == "matrix" else ()
    dense, index = [], []
    for matrix in matrices_of(weight, kind):
        rows = encode(matrix)
        dense.append(to_zn(rows[0], 32) if layout == "zn" else rows[0])
        index.append(to_zn(rows[1], 8) if layout == "zn" else rows[1])
    shapes = stored_shapes(weight.shape, layout, kind)
    if not dense:
        return np.zeros(shapes[0], np.int8), np.zeros(shapes[1], np.uint8)
    one, two = np.stack(dense), np.stack(index)
    return one.reshape(*batch, *one.shape[1:]), two.reshape(*batch, *two.shape[1:])


def stored_shapes(
    shape: tuple[int, ...], layout: str, kind: str = "matrix"
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shapes of dense and index by the formulas of the document."""
    if kind == "conv":
        cout, cin, kh, kw = shape
        batch, n, k = (), cout, -(-cin // 32) * kh * kw * 32
    else:
        batch, n, k = shape[:-2], shape[-2], shape[-1]
    if layout == "nd":
        k8 = -(-k // 8)
        return (*batch, n, 4 * k8), (*batch, n, k8)
    k1, n1 = -(-k // 64), -(-n // 16)
    return (*batch, k1, n1, 16, 32), (*batch, k1, n1, 16, 8)


# --- what is wrong with bytes or a weight ---------------------------------------------------------


class Refused(NamedTuple):
    """A refused group, with the names of the package's own record."""

    fault: str
    batch: tuple[int, ...]
    row: int
    group: int
    dense_offset: int
    index_offset: int
    bit_offset: int
    pair: tuple[int, int]
    dense: tuple[int, int]


def refused(
    dense: Array,
    index: Array,
    shape: tuple[int, ...],
    layout: str = "nd",
    kind: str = "matrix",
    strict: bool = False,
) -> Iterator[Refused]:
    """Each group that decode refuses, in order of matrix, row and group.

    Offsets are looked up in arrays that hold the number of each byte and are laid out like the
    bytes themselves.
    """
    # 1 where an element of the weight stands, 0 where there is padding of any sort.
    elements = matrices_of(np.ones(shape, np.int8), kind)
    tail = 4 if layout == "zn" else 2
    stored = (
        array.reshape(len(elements), *array.shape[-tail:])
        for array in (
            dense,
            index,
            np.arange(dense.size).reshape(dense.shape),
            np.arange(index.size).reshape(index.shape),
        )
    )
    for number, (slots, bits, slot_place, bit_place, element) in enumerate(
        zip(*stored, elements, strict=True)
    ):
        batch = () if kind == "conv" else tuple(map(int, np.unravel_index(number, shape[:-2])))
        if layout == "zn":
            slots, bits = from_zn(slots), from_zn(bits)
            slot_place, bit_place = from_zn(slot_place), from_zn(bit_place)
        rows, columns = slots.shape[0], 2 * slots.shape[1]
        there = np.zeros((rows, columns), bool)
        there[: element.shape[0], : element.shape[1]] = element
        for row in range(rows):
            pairs = unpack(bits[row].tolist())
            for group in range(columns // 4):
                d0, d1 = slots[row, 2 * group : 2 * group + 2].tolist()
                i0, i1 = pairs[2 * group : 2 * group + 2]
                elements_there = there[row, 4 * group : 4 * group + 4].tolist()
                fault = _fault(d0, d1, i0, i1, elements_there, strict)
                if fault:
                    yield Refused(
                        fault,
                        batch,
                        row,
                        group,
                        int(slot_place[row, 2 * group]),
                        int(bit_place[row, group // 2]),
                        4 * (group % 2),
                        (i0, i1),
                        (d0, d1),
                    )


def _fault(d0: int, d1: int, i0: int, i1: int, there: list[bool], strict: bool) -> str:
    """The first fault of a group, or "". there: which of its elements the weight has."""
    group = decode_group(d0, d1, i0, i1)
    if isinstance(group, str):
        return group
    if not strict:
        return ""
    if not any(there) and (d0, d1, i0, i1) != (0, 0, 0, 0):
        return "padding"
    if any(value and not exists for value, exists in zip(group, there, strict=True)):
        return "padding"
    return "" if encode_group(group) == (d0, d1, i0, i1) else "noncanonical"


class Excess(NamedTuple):
    """A group with more than two non-zeros, with the names of the package's own record."""

    coordinates: tuple[int, ...]
    group: int
    positions: tuple[int, ...]
    values: tuple[int, ...]


def excess(weight: Array, kind: str = "matrix") -> Iterator[Excess]:
    """Each group with more than two non-zeros, in order of matrix, row and group."""
    numbers = matrices_of(np.arange(weight.size).reshape(weight.shape), kind)
    for matrix, number in zip(matrices_of(weight, kind), numbers, strict=True):
        for row, groups in enumerate(groups_of(matrix).tolist()):
            for group, values in enumerate(groups):
                positions = tuple(p for p in range(4) if values[p])
                if len(positions) > 2:
                    first = np.unravel_index(number[row, 4 * group], weight.shape)
                    yield Excess(tuple(map(int, first)), group, positions, tuple(values))


def histogram(weight: Array, kind: str = "matrix") -> dict[str, int]:
    """Groups by pattern, element 0 first; all 16 names."""
    counts = {
        a + b + c + d: 0 for a in "0X" for b in "0X" for c in "0X" for d in "0X"
    }  # fmt: skip
    for matrix in matrices_of(weight, kind):
        codes = ((groups_of(matrix) != 0) * [8, 4, 2, 1]).sum(axis=2).reshape(-1)
        for code, count in enumerate(np.bincount(codes, minlength=16).tolist()):
            counts["".join("X" if code >> (3 - p) & 1 else "0" for p in range(4))] += count
    return counts
