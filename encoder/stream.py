"""encode, decode, check and prune for files that need not fit in memory.

A file is worked on in chunks of a few MiB. They are cut along the units of the format (16 rows, 64
columns), so that each is a weight of its own and the same functions serve arrays and files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cube24.encoder.arguments import check_limit, check_policy, int8_dtype
from cube24.encoder.checking import Inspection, Report
from cube24.encoder.codec import LISTED, as_matrix, decode, encode, encode_conv
from cube24.encoder.container import Payload, Style, keep_inputs, open_stored, payload_writer
from cube24.encoder.layout import (
    DENSE_K0,
    GROUP,
    INDEX_K0,
    N0,
    ZN_K,
    Geometry,
    Kind,
    Layout,
)
from cube24.encoder.pruning import PruneCost, prune
from cube24.encoder.refusals import RefusedError, RefusedGroup, ViolationError
from cube24.encoder.weight import Changes, SparseWeight
from cube24.errors import ArgumentError, StrPath
from cube24.files import ArrayFile, check_target, npy_header, whole_file

#: Called with the number of weights done since the last call.
Progress = Callable[[int], None]

#: Weights in one chunk: large enough to be fast, small enough to stay far below 512 MiB in all.
BUDGET = 16 << 20


@dataclass(frozen=True)
class Chunk:
    """Matrices m0..m1 of a batch whole, or rows r0..r1 and columns k0..k1 of matrix m0."""

    m0: int
    m1: int
    r0: int
    r1: int
    k0: int
    k1: int

    @property
    def size(self) -> int:
        """Elements of the chunk."""
        return (self.m1 - self.m0) * (self.r1 - self.r0) * (self.k1 - self.k0)

    def geometry(self, whole: Geometry) -> Geometry:
        """The chunk as a weight of its own."""
        rows = self.r1 - self.r0
        if whole.kind == "conv":
            return replace(whole, shape=(rows, *whole.shape[1:]))
        return replace(whole, shape=(self.m1 - self.m0, rows, self.k1 - self.k0))


def chunks(geometry: Geometry) -> Iterator[Chunk]:
    """Cut a weight into chunks of about BUDGET elements, in C order where the layout allows."""
    budget, n, k, count = BUDGET, geometry.n, geometry.k, geometry.matrices
    if 0 in (n, k, count):
        return
    if n * k <= budget:
        step = budget // (n * k)
        for m0 in range(0, count, step):
            yield Chunk(m0, min(count, m0 + step), 0, n, 0, k)
        return
    unit = N0 if geometry.layout == "zn" else 1
    row_step = max(unit, budget // k // unit * unit)
    k_step = k
    if row_step == unit and geometry.kind == "matrix":
        k_step = max(ZN_K, budget // unit // ZN_K * ZN_K)
    for m0 in range(count):
        for r0 in range(0, n, row_step):
            for k0 in range(0, k, k_step):
                yield Chunk(m0, m0 + 1, r0, min(n, r0 + row_step), k0, min(k, k0 + k_step))


def runs(geometry: Geometry, chunk: Chunk, k0: int) -> Iterator[tuple[int, int]]:
    """The (offset, size) pieces of the dense (k0 = 32) or index (k0 = 8) payload that a chunk is.

    In the order in which they follow each other in the chunk's own payload.
    """
    own = chunk.geometry(geometry)
    size = prod(own.stored_shape(k0))
    whole_rows = (chunk.k0, chunk.k1) == (0, geometry.k)
    whole_columns = (chunk.r0, chunk.r1) == (0, geometry.n)
    start = geometry.offset(chunk.m0, chunk.r0, chunk.k0 // GROUP, k0)
    if (whole_rows and whole_columns) or (whole_rows if geometry.layout == "nd" else whole_columns):
        yield start, size
        return
    if geometry.layout == "nd":
        count, stride = chunk.r1 - chunk.r0, geometry.k_stored * k0 // ZN_K
    else:
        count, stride = own.k_stored // ZN_K, geometry.n_stored * k0
    for piece in range(count):
        yield start + piece * stride, size // count


def _read_weight(source: ArrayFile, geometry: Geometry, chunk: Chunk) -> npt.NDArray[np.int8]:
    """The elements of a chunk, in the chunk's own shape."""
    own = chunk.geometry(geometry)
    if geometry.kind == "conv":
        lines = prod(geometry.shape[1:-1])  # rows of the file for one output channel
        part = source.read(chunk.r0 * lines, chunk.r1 * lines, 0, geometry.shape[-1])
    else:
        first = chunk.m0 * geometry.n + chunk.r0
        rows = (chunk.m1 - chunk.m0) * (chunk.r1 - chunk.r0)
        part = source.read(first, first + rows, chunk.k0, chunk.k1)
    return part.reshape(own.shape)


def _write_weight(
    target: Payload, geometry: Geometry, chunk: Chunk, weight: npt.NDArray[np.int8]
) -> None:
    """Put the elements of a chunk where they stand in a C-order weight."""
    if geometry.kind == "conv":
        target.write(chunk.r0 * prod(geometry.shape[1:]), weight)
        return
    first = (chunk.m0 * geometry.n + chunk.r0) * geometry.k + chunk.k0
    if (chunk.k0, chunk.k1) == (0, geometry.k):
        target.write(first, weight)
        return
    for row, line in enumerate(weight.reshape(-1, chunk.k1 - chunk.k0)):
        target.write(first + row * geometry.k, line)


def _geometry(source: ArrayFile, kind: Kind, layout: Layout) -> Geometry:
    int8_dtype(source.dtype, source.path)
    return Geometry(source.shape, kind, layout)


def _ignore(done: int) -> None:
    """Take no notice of progress."""


def encode_file(
    source: ArrayFile,
    target: StrPath,
    *,
    kind: Kind = "matrix",
    layout: Layout = "nd",
    policy: str = "error",
    style: Style | None = None,
    overwrite: bool = False,
    progress: Progress = _ignore,
) -> tuple[Geometry, Changes]:
    """Encode an open array into a folder or .npz; gives what was written and what was changed.

    Args:
        source: an int8 array of :func:`cube24.encoder.open_array`.
        target: folder or .npz, as for ``SparseWeight.save``.
        kind: ``matrix`` or ``conv``.
        layout: ``nd`` or ``zn``.
        policy: as for ``encode``.
        style: format of the files; default npy.
        overwrite: replace an encoded weight that stands there; never the source.
        progress: called after each chunk.

    Raises:
        ViolationError: the weight is not 2:4 and the policy is ``error``; nothing is written.
        Cube24Error: any other trouble with arguments or files; nothing is written either.
    """
    check_policy(policy)
    geometry = _geometry(source, kind, layout)
    function = encode_conv if kind == "conv" else encode
    changes = Changes()
    style = style or Style()
    with payload_writer(
        target, geometry, style, overwrite=overwrite, inputs=[source.file]
    ) as payloads:
        for chunk in chunks(geometry):
            weight = _read_weight(source, geometry, chunk)
            try:
                piece = function(weight, policy=policy, layout=layout)
            except ViolationError:
                # The message is about the whole weight, so all of it is looked at.
                report = check_file(source, kind=kind, limit=LISTED)
                raise ViolationError(report.violations, report.offenders) from None
            changes = Changes(
                changes.groups + piece.changes.groups, changes.weights + piece.changes.weights
            )
            for role, array, k0 in (
                ("dense", piece.dense, DENSE_K0), ("index", piece.index, INDEX_K0),
            ):  # fmt: skip
                flat, at = array.reshape(-1), 0
                for offset, size in runs(geometry, chunk, k0):
                    payloads[role].write(offset, flat[at : at + size])
                    at += size
            progress(chunk.size)
    return geometry, changes


def check_file(
    source: ArrayFile, *, kind: Kind = "matrix", limit: int = 20, progress: Progress = _ignore
) -> Report:
    """Report on an open array as ``check`` does.

    Raises:
        Cube24Error: the array is no int8 weight, or cannot be read.
    """
    check_limit(limit)
    geometry = _geometry(source, kind, "nd")
    inspection = Inspection(geometry, limit)
    for chunk in chunks(geometry):
        weight = _read_weight(source, geometry, chunk)
        matrix = as_matrix(weight, chunk.geometry(geometry))
        inspection.add(matrix, chunk.m0 * geometry.n + chunk.r0, chunk.k0 // GROUP)
        progress(chunk.size)
    return inspection.report()


def prune_file(
    source: ArrayFile,
    target: StrPath,
    *,
    policy: str = "magnitude",
    kind: Kind = "matrix",
    overwrite: bool = False,
    progress: Progress = _ignore,
) -> PruneCost:
    """Prune an open array into a .npy or .bin file; gives what it cost.

    With ``overwrite`` the target may be the file of the source itself, which is read to its end
    before it is replaced.

    Raises:
        Cube24Error: as for :func:`encode_file`; nothing is written.
    """
    check_policy(policy, dropping=True)
    geometry = _geometry(source, kind, "nd")
    cost = PruneCost()
    with _weight_file(target, geometry, overwrite) as file:
        for chunk in chunks(geometry):
            weight = _read_weight(source, geometry, chunk)
            pruned = prune(weight, policy=policy, kind=kind)
            _write_weight(file, geometry, chunk, pruned.weight)
            cost += pruned.cost
            progress(chunk.size)
    return cost


def decode_file(
    stored: StrPath,
    target: StrPath,
    *,
    strict: bool = False,
    overwrite: bool = False,
    progress: Progress = _ignore,
) -> Geometry:
    """Decode what ``encode_file`` or ``SparseWeight.save`` wrote into a .npy or .bin file.

    Raises:
        RefusedError: as for ``decode``; nothing is written.
        Cube24Error: any other trouble with arguments or files; nothing is written either.
    """
    check_weight_target(target, overwrite=overwrite)  # before all is read for its checksums
    with open_stored(stored) as (geometry, arrays):
        decode_arrays(
            geometry, arrays, target, strict=strict, overwrite=overwrite, progress=progress
        )
        return geometry


def decode_arrays(
    geometry: Geometry,
    arrays: dict[str, ArrayFile],
    target: StrPath,
    *,
    strict: bool = False,
    overwrite: bool = False,
    progress: Progress = _ignore,
) -> None:
    """Decode open dense and index arrays, for bytes that come without a sparse.json.

    Raises:
        FileAccessError: the target is there already, or is a file of the arrays.
        Cube24Error: as for :func:`decode_file`.
    """
    keep_inputs([array.file for array in arrays.values()], target)
    count, groups = 0, list[RefusedGroup]()
    with _weight_file(target, geometry, overwrite) as file:
        for chunk in chunks(geometry):
            own = chunk.geometry(geometry)
            piece = SparseWeight(
                _read_payload(arrays["dense"], geometry, chunk, DENSE_K0),
                _read_payload(arrays["index"], geometry, chunk, INDEX_K0),
                own.shape, own.layout, own.kind,
            )  # fmt: skip
            try:
                weight = decode(piece, strict=strict)
            except RefusedError as error:
                # The message is about the whole weight, so the rest is looked at too.
                count += error.count
                groups += [_in_whole(group, geometry, chunk) for group in error.groups]
                groups = groups[:LISTED]
                continue
            if not count:
                _write_weight(file, geometry, chunk, weight)
            progress(chunk.size)
        if count:
            raise RefusedError(count, groups)


def _read_payload(array: ArrayFile, geometry: Geometry, chunk: Chunk, k0: int) -> npt.NDArray[Any]:
    own = chunk.geometry(geometry)
    columns = array.shape[-1]
    if geometry.layout == "nd":
        first, rows = chunk.m0 * geometry.n + chunk.r0, prod(own.stored_shape(k0)[:-1])
        left = chunk.k0 * k0 // ZN_K
        part = array.read(first, first + rows, left, left + own.stored_shape(k0)[-1])
    else:
        part = np.concatenate(
            [
                array.read(offset // columns, (offset + size) // columns, 0, columns)
                for offset, size in runs(geometry, chunk, k0)
            ]
        )
    return part.reshape(own.stored_shape(k0))


def _in_whole(group: RefusedGroup, geometry: Geometry, chunk: Chunk) -> RefusedGroup:
    """A refused group of a chunk, by its place in the whole weight."""
    matrix = chunk.m0 + (group.batch[0] if group.batch else 0)
    row, number = chunk.r0 + group.row, chunk.k0 // GROUP + group.group
    return replace(
        group,
        batch=geometry.batch_coordinates(matrix),
        row=row,
        group=number,
        dense_offset=geometry.offset(matrix, row, number, DENSE_K0),
        index_offset=geometry.offset(matrix, row, number, INDEX_K0),
    )


def check_weight_target(target: StrPath, *, overwrite: bool = False) -> None:
    """Refuse a file that a weight cannot be written to, before the work.

    Raises:
        ArgumentError: it is named neither .npy nor .bin.
        FileAccessError: it is there already, or the system refuses.
    """
    suffix = Path(target).suffix.lower()
    if suffix not in (".npy", ".bin"):
        raise ArgumentError(f"{target}: a weight is written as .npy or .bin, not {suffix!r}")
    check_target(target, overwrite=overwrite)


@contextmanager
def _weight_file(target: StrPath, geometry: Geometry, overwrite: bool) -> Iterator[Payload]:
    """A .npy or .bin file for a weight, whole or not at all."""
    check_weight_target(target, overwrite=overwrite)
    with whole_file(target, overwrite=overwrite) as file:
        start = 0
        if Path(target).suffix.lower() == ".npy":
            start = file.write(npy_header(geometry.shape, np.dtype(np.int8)))
        yield Payload(file, start)
