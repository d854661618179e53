"""encode and decode: weights to the bytes that the hardware reads, and back."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cube24 import _core
from cube24._core import PARALLEL_FROM, thread_count
from cube24.encoder.arguments import check_limit, check_out, check_policy, int8_array
from cube24.encoder.layout import C0, DENSE_K0, GROUP, INDEX_K0, Geometry, Layout, geometry_of
from cube24.encoder.refusals import Offender, RefusedError, RefusedGroup, ViolationError
from cube24.encoder.weight import (
    NO_CHANGES,
    Changes,
    SparseWeight,
    Target,
    target_arrays,
    weight_of,
)
from cube24.errors import ArgumentError

_Array = np.ndarray
_INT8, _UINT8 = np.dtype(np.int8), np.dtype(np.uint8)

#: How many groups an error lists in its attributes, unless another limit was asked for.
LISTED = 100


def encode(
    weight: npt.NDArray[np.int8],
    *,
    policy: str = "error",
    layout: Layout = "nd",
    out: Target | None = None,
    threads: int | None = None,
) -> SparseWeight:
    """Encode a 2:4 weight (docs/format.md, "The encoding").

    Args:
        weight: int8 (..., N, K), any strides. Groups of four lie along K, which is padded with
            zeros to a multiple of 8 (layout ``nd``) or 64 (``zn``).
        policy: what to do with a group of three or four non-zeros. ``error``: refuse the weight;
            ``first_two``, ``first_last``, ``magnitude``: drop all but two. The result's ``changes``
            says how many were dropped.
        layout: ``nd`` or ``zn``.
        out: arrays to write into instead of new ones: (dense, index), C-contiguous, of the shapes
            that SparseWeight names; or a SparseWeight of this shape, kind and layout, which is
            returned again and costs the least. If the weight is refused they hold anything.
        threads: how many share the work; None: what ``CUBE24_THREADS`` says, or one a core, where
            it pays. The bytes are the same with any number.

    Raises:
        ViolationError: the weight is not 2:4 and the policy is ``error``.
        DtypeError, ShapeError, ArgumentError, OutBufferError: the arguments do not fit.
    """
    if out is not None and policy == "error" and threads is None:
        # The short way: asks only what the work needs. What it does not do, the long way does or
        # explains. Of a small weight, the checks of the long way cost more than the work.
        if type(out) is SparseWeight:
            again = out._encode_again
            if again is not None and out.layout == layout and again(weight):
                return out
        elif layout == "nd" and (done := _encode_pair(weight, out)) is not None:
            return done
    weight = int8_array(weight, "weight")
    return _encode(weight, geometry_of(weight.shape, "matrix", layout), policy, out, threads)


def encode_conv(
    weight: npt.NDArray[np.int8],
    *,
    policy: str = "error",
    layout: Layout = "nd",
    out: Target | None = None,
    threads: int | None = None,
) -> SparseWeight:
    """Encode a 2:4 convolution weight (docs/format.md, "Convolution weights").

    Args:
        weight: int8 (Cout, Cin, Kh, Kw). Groups of four lie along Cin, from channel 0; Cin is
            padded with zeros to a multiple of 32. The result stands for the matrix
            (Cout, C1*Kh*Kw*32).
        policy: as for :func:`encode`.
        layout, out, threads: as for :func:`encode`.

    Raises:
        ViolationError: the weight is not 2:4 and the policy is ``error``.
        DtypeError, ShapeError, ArgumentError, OutBufferError: the arguments do not fit.
    """
    weight = int8_array(weight, "weight")
    return _encode(weight, geometry_of(weight.shape, "conv", layout), policy, out, threads)


def decode(
    sparse: SparseWeight,
    *,
    strict: bool = False,
    limit: int = LISTED,
    out: npt.NDArray[np.int8] | None = None,
    threads: int | None = None,
) -> npt.NDArray[np.int8]:
    """Decode to the weight, shape ``sparse.shape``, by the selection rule and nothing else.

    Args:
        sparse: bytes of any origin, of either kind.
        strict: refuse also what the encoder would not have written, and padding that is not zero.
            Without it such bytes are decoded, and what the padding holds is left out.
        limit: how many refused groups the error lists; all are counted.
        out: int8 array of ``sparse.shape`` to write into and return; C-contiguous, not overlapping
            the bytes. If the bytes are refused it holds anything.
        threads: as for :func:`encode`.

    Raises:
        RefusedError: an index of 3, or two non-zero weights that select one element, anywhere,
            padding included; with strict, non-canonical bytes and padding that is not zero.
        OutBufferError, ShapeError, DtypeError: out does not fit.
        ArgumentError: limit is negative, or threads is no number of threads.
    """
    check_limit(limit)
    if out is not None and threads is None and type(strict) is bool:  # the short way, as in encode
        again = sparse._decode_again
        if again is not None and again[strict](out):
            return out
    geometry = sparse.geometry
    if out is None:
        out = np.empty(geometry.shape, np.int8)
    else:
        check_out(out, "out", np.dtype(np.int8), geometry.shape, (sparse.dense, sparse.index))
    count = thread_count(threads, out.size)
    if geometry.kind == "conv":
        matrices = np.empty((1, geometry.n, geometry.k), np.int8)
    else:
        matrices = out.reshape(geometry.matrices, geometry.n, geometry.k)
    refused = sum(
        (_core.decode if geometry.layout == "nd" else _core.decode_zn)(
            dense, index, matrix, strict, count
        )
        for dense, index, matrix in zip(*_by_matrix(sparse), matrices, strict=True)
    )
    lost = _core.matrix_to_conv(matrices[0], out) if geometry.kind == "conv" else 0
    if refused or (strict and lost):
        raise _told(sparse, matrices, strict, limit, refused)
    return out


def decode_conv(
    sparse: SparseWeight,
    *,
    strict: bool = False,
    limit: int = LISTED,
    out: npt.NDArray[np.int8] | None = None,
    threads: int | None = None,
) -> npt.NDArray[np.int8]:
    """Decode a convolution weight to (Cout, Cin, Kh, Kw): decode, for kind ``conv`` only.

    Raises:
        ArgumentError: sparse is of kind ``matrix``.
        RefusedError, OutBufferError, ShapeError, DtypeError: as for :func:`decode`.
    """
    if sparse.kind != "conv":
        raise ArgumentError("decode_conv: this weight is of kind 'matrix'; use decode")
    return decode(sparse, strict=strict, limit=limit, out=out, threads=threads)


# --- the short way: whole rows in layout ``nd`` ---------------------------------------------------


def _encode_pair(weight: object, out: Target) -> SparseWeight | None:
    if (
        type(weight) is not _Array
        or weight.dtype is not _INT8
        or weight.size >= PARALLEL_FROM
        or type(out) is not tuple
    ):
        return None
    try:
        dense, index = out
        geometry = geometry_of(weight.shape, "matrix", "nd")
        if (
            type(dense) is _Array
            and type(index) is _Array
            and dense.dtype is _INT8
            and index.dtype is _UINT8
            and dense.shape == geometry.dense_shape
            and index.shape == geometry.index_shape
            and _core.encode_small(weight, dense, index, geometry.rows, geometry.k)
        ):
            return weight_of(dense, index, geometry)
    except (ValueError, BufferError):
        pass
    return None


# --- encode ---------------------------------------------------------------------------------------


def as_matrix(weight: npt.NDArray[np.int8], geometry: Geometry) -> npt.NDArray[np.int8]:
    """The weight as contiguous rows (batch * N, K) in the K order of the format."""
    weight = np.ascontiguousarray(weight)
    rows = geometry.matrices * geometry.n
    if geometry.kind == "matrix":
        return weight.reshape(rows, geometry.k)
    matrix = np.empty((rows, geometry.k), np.int8)
    _core.conv_to_matrix(weight, matrix)
    return matrix


def _encode(
    weight: npt.NDArray[np.int8],
    geometry: Geometry,
    policy: str,
    out: Target | None,
    threads: int | None,
) -> SparseWeight:
    check_policy(policy)
    dense, index = target_arrays(out, geometry, (weight,))
    count = thread_count(threads, weight.size)
    accepted, groups, weights = _encode_into(
        np.ascontiguousarray(weight), geometry, policy, dense, index, count
    )
    if not accepted:
        _raise_violation(as_matrix(weight, geometry), geometry)
    changes = Changes(groups, weights) if groups else NO_CHANGES
    if isinstance(out, SparseWeight) and out.changes == changes:
        return out
    return weight_of(dense, index, geometry, changes)


def _encode_into(
    weight: npt.NDArray[np.int8],
    geometry: Geometry,
    policy: str,
    dense: npt.NDArray[np.int8],
    index: npt.NDArray[np.uint8],
    threads: int,
) -> tuple[bool, int, int]:
    """Encode a contiguous weight; gives (accepted, groups changed, weights dropped)."""
    zn = geometry.layout == "zn"
    if geometry.kind == "conv":
        return _core.encode_conv(weight, zn, policy, dense, index, threads)
    rows, k_stored = geometry.rows, geometry.k_stored
    if not zn:
        dense, index = dense.reshape(rows, k_stored // 2), index.reshape(rows, k_stored // 8)
        return _core.encode(weight.reshape(rows, geometry.k), policy, dense, index, threads)
    count = geometry.matrices
    found = [
        _core.encode_zn(matrix, policy, of_dense, of_index, threads)
        for matrix, of_dense, of_index in zip(
            weight.reshape(count, geometry.n, geometry.k),
            dense.reshape(count, *dense.shape[-4:]),
            index.reshape(count, *index.shape[-4:]),
            strict=True,
        )
    ]
    return (
        all(accepted for accepted, _, _ in found),
        sum(groups for _, groups, _ in found),
        sum(weights for _, _, weights in found),
    )


def offenders_of(
    matrix: npt.NDArray[np.int8],
    geometry: Geometry,
    limit: int,
    first_row: int = 0,
    first_group: int = 0,
) -> list[Offender]:
    """The first groups in excess of a piece, from a row of the whole batch and a group on."""
    found = []
    for row, group, _ in _core.list_excess(matrix, limit):
        elements = matrix[row, group * GROUP : (group + 1) * GROUP].tolist()
        values = (*elements, *[0] * (GROUP - len(elements)))
        place = divmod(first_row + row, geometry.n)
        found.append(
            Offender(
                geometry.coordinates(*place, first_group + group),
                first_group + group,
                tuple(position for position, value in enumerate(values) if value),
                (values[0], values[1], values[2], values[3]),
            )
        )
    return found


def _raise_violation(matrix: npt.NDArray[np.int8], geometry: Geometry) -> None:
    count = int(_core.check(matrix)[1].sum())
    raise ViolationError(count, offenders_of(matrix, geometry, LISTED))


# --- decode ---------------------------------------------------------------------------------------


def _by_matrix(sparse: SparseWeight) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.uint8]]:
    """Dense and index bytes with one leading dimension, the matrices of the batch."""
    batch = len(sparse.geometry.batch)
    count = sparse.geometry.matrices
    dense, index = sparse.dense, sparse.index
    return dense.reshape(count, *dense.shape[batch:]), index.reshape(count, *index.shape[batch:])


def _told(
    sparse: SparseWeight,
    matrices: npt.NDArray[np.int8],
    strict: bool,
    limit: int,
    refused: int,
) -> RefusedError:
    """The error for bytes that were refused: what is wrong, and where."""
    stored, geometry = _stored_rows(sparse), sparse.geometry
    if geometry.kind == "conv" and strict:
        found = _strict_conv(stored[0], matrices[0], geometry, refused)
        return _refusal(stored, geometry, len(found), [(0, place) for place in found[:limit]])
    listed = [
        (number, place)
        for number, rows in enumerate(stored)
        for place in _core.list_refused(*rows, geometry.n, geometry.k, strict, limit)
    ]
    return _refusal(stored, geometry, refused, listed[:limit])


def _stored_rows(sparse: SparseWeight) -> list[tuple[npt.NDArray[np.int8], npt.NDArray[np.uint8]]]:
    """The stored matrices as rows, with their padding."""
    geometry = sparse.geometry
    if geometry.layout == "zn":
        # A weight that fills its fractals is the same bytes without padding to lose.
        whole = Geometry((*geometry.batch, geometry.n_stored, geometry.k_stored), "matrix", "zn")
        sparse = SparseWeight(sparse.dense, sparse.index, whole.shape, "zn").to_nd()
    count = geometry.matrices
    dense = sparse.dense.reshape(count, geometry.n_stored, geometry.k_stored // 2)
    index = sparse.index.reshape(count, geometry.n_stored, geometry.k_stored // 8)
    return list(zip(dense, index, strict=True))


def _strict_conv(
    rows: tuple[npt.NDArray[np.int8], npt.NDArray[np.uint8]],
    matrix: npt.NDArray[np.int8],
    geometry: Geometry,
    refused: int,
) -> list[_core.Place]:
    """Every group of a convolution that a strict decode refuses.

    The core knows matrices only: that a channel beyond Cin is padding has to be added here.
    """
    _, cin, kh, kw = geometry.shape
    blocks = matrix.reshape(geometry.n, -1, kh * kw, C0)
    channels = np.arange(blocks.shape[1])[:, None, None] * C0 + np.arange(C0)
    lost = np.where(channels >= cin, blocks, 0).reshape(geometry.n, -1, GROUP).any(axis=2)
    found = {(int(row), int(group)): _core.PADDING for row, group in np.argwhere(lost)}
    for row, group, fault in _core.list_refused(*rows, geometry.n, geometry.k, True, refused):
        missing = (row, group) in found or (
            row < geometry.n
            and GROUP * group < geometry.k
            and geometry.coordinates(0, row, group)[1] >= cin
        )
        stray = missing and fault == _core.NONCANONICAL
        found[row, group] = _core.PADDING if stray else fault
    return [_core.Place(row, group, fault) for (row, group), fault in sorted(found.items())]


def _refusal(
    stored: list[tuple[npt.NDArray[np.int8], npt.NDArray[np.uint8]]],
    geometry: Geometry,
    count: int,
    places: list[tuple[int, _core.Place]],
) -> RefusedError:
    groups = []
    for matrix, (row, group, fault) in places:
        dense, index = stored[matrix]
        bits = 4 * (group % 2)
        pair = int(index[row, group // 2]) >> bits & 0xF
        groups.append(
            RefusedGroup(
                fault=_core.FAULTS[fault],
                batch=geometry.batch_coordinates(matrix),
                row=row,
                group=group,
                dense_offset=geometry.offset(matrix, row, group, DENSE_K0),
                index_offset=geometry.offset(matrix, row, group, INDEX_K0),
                bit_offset=bits,
                pair=(pair & 3, pair >> 2),
                dense=(int(dense[row, 2 * group]), int(dense[row, 2 * group + 1])),
            )
        )
    return RefusedError(count, groups)
