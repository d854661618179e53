"""encode and decode: weights to the bytes that the hardware reads, and back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from cube24 import _core
from cube24.encoder.arguments import check_limit, check_out, check_policy, int8_array
from cube24.encoder.layout import C0, DENSE_K0, GROUP, INDEX_K0, Geometry, Layout
from cube24.encoder.refusals import Offender, RefusedError, RefusedGroup, ViolationError
from cube24.encoder.weight import Changes, SparseWeight, to_fractals
from cube24.errors import ArgumentError, OutBufferError

#: How many groups an error lists in its attributes, unless another limit was asked for.
LISTED = 100


def encode(
    weight: npt.NDArray[np.int8],
    *,
    policy: str = "error",
    layout: Layout = "nd",
    out: tuple[npt.NDArray[np.int8], npt.NDArray[np.uint8]] | None = None,
) -> SparseWeight:
    """Encode a 2:4 weight (docs/format.md, "The encoding").

    Args:
        weight: int8 (..., N, K), any strides. Groups of four lie along K, which is padded with
            zeros to a multiple of 8 (layout ``nd``) or 64 (``zn``).
        policy: what to do with a group of three or four non-zeros. ``error``: refuse the weight;
            ``first_two``, ``first_last``, ``magnitude``: drop all but two. The result's ``changes``
            says how many were dropped.
        layout: ``nd`` or ``zn``.
        out: (dense, index) to write into and return, instead of new arrays: C-contiguous, of the
            shapes that SparseWeight names. Left untouched if the weight is refused.

    Raises:
        ViolationError: the weight is not 2:4 and the policy is ``error``.
        DtypeError, ShapeError, ArgumentError, OutBufferError: the arguments do not fit.
    """
    weight = int8_array(weight, "weight")
    return _encode(weight, Geometry(weight.shape, "matrix", layout), policy, out)


def encode_conv(
    weight: npt.NDArray[np.int8],
    *,
    policy: str = "error",
    layout: Layout = "nd",
    out: tuple[npt.NDArray[np.int8], npt.NDArray[np.uint8]] | None = None,
) -> SparseWeight:
    """Encode a 2:4 convolution weight (docs/format.md, "Convolution weights").

    Args:
        weight: int8 (Cout, Cin, Kh, Kw). Groups of four lie along Cin, from channel 0; Cin is
            padded with zeros to a multiple of 32. The result stands for the matrix
            (Cout, C1*Kh*Kw*32).
        policy: as for :func:`encode`.
        layout: as for :func:`encode`.
        out: as for :func:`encode`.

    Raises:
        ViolationError: the weight is not 2:4 and the policy is ``error``.
        DtypeError, ShapeError, ArgumentError, OutBufferError: the arguments do not fit.
    """
    weight = int8_array(weight, "weight")
    return _encode(weight, Geometry(weight.shape, "conv", layout), policy, out)


def decode(
    sparse: SparseWeight,
    *,
    strict: bool = False,
    limit: int = LISTED,
    out: npt.NDArray[np.int8] | None = None,
) -> npt.NDArray[np.int8]:
    """Decode to the weight, shape ``sparse.shape``, by the selection rule and nothing else.

    Args:
        sparse: bytes of any origin, of either kind.
        strict: refuse also what the encoder would not have written, and padding that is not zero.
            Without it such bytes are decoded, and what the padding holds is left out.
        limit: how many refused groups the error lists; all are counted.
        out: int8 array of ``sparse.shape`` to write into and return; C-contiguous, not overlapping
            the bytes. Left untouched if the bytes are refused.

    Raises:
        RefusedError: an index of 3, or two non-zero weights that select one element, anywhere,
            padding included; with strict, non-canonical bytes and padding that is not zero.
        OutBufferError, ShapeError, DtypeError: out does not fit.
        ArgumentError: limit is negative.
    """
    check_limit(limit)
    geometry = sparse.geometry
    if out is not None:
        check_out(out, "out", np.dtype(np.int8), geometry.shape, (sparse.dense, sparse.index))
    matrices = np.empty((geometry.matrices, geometry.n, geometry.k), np.int8)
    stored = _stored_rows(sparse)
    refused = sum(
        _core.decode(dense, index, matrix, strict)
        for (dense, index), matrix in zip(stored, matrices, strict=True)
    )
    if geometry.kind == "matrix":
        weight = matrices.reshape(geometry.shape)
    else:
        weight = np.empty(geometry.shape, np.int8)
        lost = _core.matrix_to_conv(matrices[0], weight)
        if strict and (lost or refused):
            places = _strict_conv(stored[0], matrices[0], geometry, refused)
            raise _refusal(stored, geometry, len(places), [(0, place) for place in places[:limit]])
    if refused:
        listed = [
            (number, place)
            for number, rows in enumerate(stored)
            for place in _core.list_refused(*rows, geometry.n, geometry.k, strict, limit)
        ]
        raise _refusal(stored, geometry, refused, listed[:limit])
    if out is None:
        return weight
    out[...] = weight
    return out


def decode_conv(
    sparse: SparseWeight,
    *,
    strict: bool = False,
    limit: int = LISTED,
    out: npt.NDArray[np.int8] | None = None,
) -> npt.NDArray[np.int8]:
    """Decode a convolution weight to (Cout, Cin, Kh, Kw): decode, for kind ``conv`` only.

    Raises:
        ArgumentError: sparse is of kind ``matrix``.
        RefusedError, OutBufferError, ShapeError, DtypeError: as for :func:`decode`.
    """
    if sparse.kind != "conv":
        raise ArgumentError("decode_conv: this weight is of kind 'matrix'; use decode")
    return decode(sparse, strict=strict, limit=limit, out=out)


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
    out: tuple[npt.NDArray[np.int8], npt.NDArray[np.uint8]] | None,
) -> SparseWeight:
    check_policy(policy)
    if out is not None:
        try:
            dense, index = out
        except (TypeError, ValueError):
            raise OutBufferError("out is no pair; pass out=(dense, index)") from None
        check_out(dense, "out[0]", np.dtype(np.int8), geometry.dense_shape, (weight,))
        check_out(index, "out[1]", np.dtype(np.uint8), geometry.index_shape, (weight, dense))
    matrix = as_matrix(weight, geometry)
    rows = replace(geometry, layout="nd")
    direct = geometry.layout == "nd" and out is not None
    if direct and policy == "error" and _core.check(matrix)[1].any():
        # A refused weight leaves the caller's arrays as they were.
        _raise_violation(matrix, geometry)
    row_dense = dense if direct else np.empty(rows.dense_shape, np.int8)
    row_index = index if direct else np.empty(rows.index_shape, np.uint8)
    accepted, groups, weights = _core.encode(matrix, policy, row_dense, row_index)
    if not accepted:
        _raise_violation(matrix, geometry)
    changes = Changes(groups, weights)
    if geometry.layout == "zn":
        fractal_dense = to_fractals(row_dense, geometry, DENSE_K0)
        fractal_index = to_fractals(row_index, geometry, INDEX_K0)
        if out is not None:
            dense[...], index[...] = fractal_dense, fractal_index
        else:
            dense, index = fractal_dense, fractal_index
    elif not direct:
        dense, index = row_dense, row_index
    return SparseWeight(dense, index, geometry.shape, geometry.layout, geometry.kind, changes)


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
