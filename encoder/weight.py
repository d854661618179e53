"""SparseWeight: the dense and index arrays of a weight, and what they stand for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from operator import index as index_of
from typing import Any

import numpy as np
import numpy.typing as npt

from cube24 import _core
from cube24.encoder.arguments import check_out
from cube24.encoder.container import Format, open_stored, payload_writer, style_for
from cube24.encoder.layout import Geometry, Kind, Layout, geometry_of
from cube24.errors import DtypeError, OutBufferError, ShapeError, StrPath


@dataclass(frozen=True)
class Changes:
    """What a violation policy changed: groups that lost a weight, and weights dropped."""

    groups: int = 0
    weights: int = 0


NO_CHANGES = Changes()


@dataclass(frozen=True, eq=False)
class SparseWeight:
    """An encoded weight: what the hardware reads, and what it stands for.

    Attributes:
        dense: int8, the two weights kept of each group; (..., N, K'/2) for layout ``nd``,
            (..., K1, N1, 16, 32) for ``zn``.
        index: uint8, four 2-bit indices a byte; (..., N, K'/8) or (..., K1, N1, 16, 8).
        shape: of the original weight, (..., N, K), or (Cout, Cin, Kh, Kw) for kind ``conv``.
        layout: ``nd`` (rows; K' is K rounded up to a multiple of 8) or ``zn`` (fractals; K' is K
            rounded up to 64, and N to 16).
        kind: ``matrix`` or ``conv``.
        changes: what the violation policy changed while encoding; zeros if nothing, or unknown.

    The arrays may hold any bytes: only decoding them tells whether they stand for a weight.

    Raises:
        DtypeError: dense is not int8 or index not uint8.
        ShapeError: the shapes do not agree.
        ArgumentError: no such layout or kind.
    """

    dense: npt.NDArray[np.int8]
    index: npt.NDArray[np.uint8]
    shape: tuple[int, ...]
    layout: Layout = "nd"
    kind: Kind = "matrix"
    changes: Changes = NO_CHANGES

    def __post_init__(self) -> None:
        """Check types and shapes; make the arrays contiguous."""
        try:
            shape = tuple(index_of(size) for size in self.shape)
        except TypeError:
            raise ShapeError(f"shape {self.shape}: sizes are whole numbers") from None
        object.__setattr__(self, "shape", shape)
        geometry = self.geometry
        for name, dtype, shape in (
            ("dense", np.int8, geometry.dense_shape),
            ("index", np.uint8, geometry.index_shape),
        ):
            array = np.asarray(getattr(self, name))
            if array.dtype != dtype:
                raise DtypeError(
                    f"{name} has dtype {array.dtype}, not {np.dtype(dtype)}; bytes of another "
                    f"one-byte type can be had with .view(np.{np.dtype(dtype)})"
                )
            if array.shape != shape:
                raise ShapeError(
                    f"{name} has shape {array.shape}; a {self.kind} weight of shape {self.shape} "
                    f"in layout {self.layout} has {shape}"
                )
            object.__setattr__(self, name, np.ascontiguousarray(array))

    @cached_property
    def geometry(self) -> Geometry:
        """The shapes and offsets that follow from shape, kind and layout."""
        return geometry_of(self.shape, self.kind, self.layout)

    # For what is encoded or decoded again and again: pointers that are made once are half the cost
    # of a small weight. None: not for this one.

    @cached_property
    def _encode_again(self) -> _core.Again | None:
        of = self.geometry
        if self.changes != NO_CHANGES or self.kind != "matrix" or (of.layout == "zn" and of.batch):
            return None
        if of.layout == "zn":
            return _core.encode_zn_again(self.dense, self.index, self.shape)
        return _core.encode_again(self.dense, self.index, self.shape, of.rows, of.k)

    @cached_property
    def _decode_again(self) -> tuple[_core.Again, _core.Again] | None:
        """The default way, and the strict one."""
        of = self.geometry
        if self.kind != "matrix" or self.layout != "nd":
            return None
        default, strict = (
            _core.decode_again(self.dense, self.index, self.shape, of.rows, of.k, strict)
            for strict in (False, True)
        )
        return default, strict

    def __getstate__(self) -> dict[str, Any]:
        """What is copied and pickled: not what was derived."""
        return {name: value for name, value in vars(self).items() if name in self.__match_args__}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """The inverse."""
        vars(self).update(state)

    @property
    def nbytes(self) -> int:
        """Bytes of dense and index together: 5/8 of the padded sparse weight."""
        return self.dense.nbytes + self.index.nbytes

    def to_fractal(self, *, out: SparseWeight | None = None) -> SparseWeight:
        """The same weight in layout ``zn``; itself if it has that layout and there is no out.

        Args:
            out: a weight of this shape and kind in that layout, to write into and return.

        Raises:
            ShapeError, OutBufferError: out does not fit.
        """
        return self._in_layout("zn", out)

    def to_nd(self, *, out: SparseWeight | None = None) -> SparseWeight:
        """The same weight in layout ``nd``; itself if it has that layout and there is no out.

        What the padding of the fractals holds is lost; decode tells of it before (strict).

        Args:
            out: a weight of this shape and kind in that layout, to write into and return.

        Raises:
            ShapeError, OutBufferError: out does not fit.
        """
        return self._in_layout("nd", out)

    def _in_layout(self, layout: Layout, out: SparseWeight | None) -> SparseWeight:
        if out is None and layout == self.layout:
            return self
        geometry = geometry_of(self.shape, self.kind, layout)
        dense, index = target_arrays(out, geometry, (self.dense, self.index))
        for source, target in ((self.dense, dense), (self.index, index)):
            if layout == self.layout:
                target[...] = source
            else:
                (to_fractals if layout == "zn" else to_rows)(source, geometry, target)
        if out is not None and out.changes == self.changes:
            return out
        return weight_of(dense, index, geometry, self.changes)

    def save(
        self,
        path: StrPath,
        *,
        format: Format | None = None,
        word_bytes: int = 1,
        order: str = "little",
        header: bool = True,
        overwrite: bool = False,
    ) -> None:
        """Write the weight whole or not at all; what it was changed by encoding is not kept.

        Args:
            path: a name ending in .npz for one file, any other for a folder.
            format: of a folder: ``npy`` (default), ``hex`` ($readmemh) or ``bin`` (raw bytes).
            word_bytes: bytes a word of a hex file; a last word that is not full is filled with
                zeros.
            order: ``little`` or ``big``: where the first byte of a word stands in a hex file.
            header: whether hex files start with ``//`` lines.
            overwrite: replace a file, or a folder that holds an encoded weight and nothing else.

        Raises:
            FileAccessError: it is there already, holds what we did not write, or the system
                refuses.
            ArgumentError: no such format, word size or byte order.
        """
        style = style_for(path, format, word_bytes=word_bytes, order=order, header=header)
        with payload_writer(path, self.geometry, style, overwrite=overwrite) as payloads:
            for role, array in (("dense", self.dense), ("index", self.index)):
                payloads[role].write(0, array)

    @staticmethod
    def load(path: StrPath) -> SparseWeight:
        """Read a weight that ``save`` or ``cube24 encode`` wrote, in any of its formats.

        Sizes, types and checksums must agree with sparse.json. Whether the bytes stand for a weight
        is told by decode.

        Raises:
            FileFormatError: a member is missing, malformed, truncated, over-long or has another
                checksum.
            FileAccessError: the system refuses.
        """
        with open_stored(path) as (geometry, arrays):
            return SparseWeight(
                arrays["dense"].read_all(),
                arrays["index"].read_all(),
                geometry.shape,
                geometry.layout,
                geometry.kind,
            )


def weight_of(
    dense: npt.NDArray[np.int8],
    index: npt.NDArray[np.uint8],
    geometry: Geometry,
    changes: Changes = NO_CHANGES,
) -> SparseWeight:
    """A weight of arrays that are known to be right, so that nothing is checked."""
    made = object.__new__(SparseWeight)
    of = made.__dict__
    of["dense"], of["index"], of["changes"] = dense, index, changes
    of["shape"], of["layout"], of["kind"] = geometry.shape, geometry.layout, geometry.kind
    of["geometry"] = geometry
    return made


#: What is written into: (dense, index), or a weight of the same shape, kind and layout.
Target = tuple[npt.NDArray[np.int8], npt.NDArray[np.uint8]] | SparseWeight


def target_arrays(
    out: Target | None, geometry: Geometry, inputs: tuple[npt.NDArray[Any], ...]
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.uint8]]:
    """The arrays that a weight of some geometry is written into: new ones, or those of ``out``.

    Raises:
        DtypeError, ShapeError, OutBufferError: out does not fit.
    """
    if out is None:
        return np.empty(geometry.dense_shape, np.int8), np.empty(geometry.index_shape, np.uint8)
    if isinstance(out, SparseWeight):
        if out.geometry != geometry:
            raise ShapeError(
                f"out is a {out.kind} weight of shape {out.shape} in layout {out.layout}; the "
                f"result is a {geometry.kind} weight of shape {geometry.shape} in layout "
                f"{geometry.layout}"
            )
        out = out.dense, out.index
    try:
        dense, index = out
    except (TypeError, ValueError):
        raise OutBufferError("out is no pair; pass out=(dense, index)") from None
    check_out(dense, "out[0]", np.dtype(np.int8), geometry.dense_shape, inputs)
    check_out(index, "out[1]", np.dtype(np.uint8), geometry.index_shape, (*inputs, dense))
    return dense, index


def to_fractals(rows: npt.NDArray[Any], geometry: Geometry, out: npt.NDArray[Any]) -> None:
    """Cut ND rows (..., N, bytes) into the fractals of a ``zn`` geometry."""
    matrices = rows.reshape(geometry.matrices, geometry.n, rows.shape[-1])
    stack = out.reshape(geometry.matrices, *out.shape[-4:])
    for matrix, fractals in zip(matrices, stack, strict=True):
        _core.nd_to_zn(matrix, fractals)


def to_rows(fractals: npt.NDArray[Any], geometry: Geometry, out: npt.NDArray[Any]) -> None:
    """Join fractals (..., K1, N1, 16, k0) into the rows of an ``nd`` geometry."""
    stack = fractals.reshape(geometry.matrices, *fractals.shape[-4:])
    matrices = out.reshape(geometry.matrices, *out.shape[-2:])
    for matrix, rows in zip(stack, matrices, strict=True):
        _core.zn_to_nd(matrix, rows)
