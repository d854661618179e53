"""SparseWeight: the dense and index arrays of a weight, and what they stand for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from operator import index as index_of
from typing import Any

import numpy as np
import numpy.typing as npt

from cube24 import _core
from cube24.encoder.container import Format, open_stored, payload_writer, style_for
from cube24.encoder.layout import DENSE_K0, INDEX_K0, Geometry, Kind, Layout
from cube24.errors import DtypeError, ShapeError, StrPath


@dataclass(frozen=True)
class Changes:
    """What a violation policy changed: groups that lost a weight, and weights dropped."""

    groups: int = 0
    weights: int = 0


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
    changes: Changes = Changes()

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

    @property
    def geometry(self) -> Geometry:
        """The shapes and offsets that follow from shape, kind and layout."""
        return Geometry(self.shape, self.kind, self.layout)

    @property
    def nbytes(self) -> int:
        """Bytes of dense and index together: 5/8 of the padded sparse weight."""
        return self.dense.nbytes + self.index.nbytes

    def to_fractal(self) -> SparseWeight:
        """The same weight in layout ``zn``; itself if it has that layout."""
        return self if self.layout == "zn" else self._in_layout("zn")

    def to_nd(self) -> SparseWeight:
        """The same weight in layout ``nd``; itself if it has that layout.

        What the padding of the fractals holds is lost; decode tells of it before (strict).
        """
        return self if self.layout == "nd" else self._in_layout("nd")

    def _in_layout(self, layout: Layout) -> SparseWeight:
        geometry = Geometry(self.shape, self.kind, layout)
        convert = to_fractals if layout == "zn" else to_rows
        return replace(
            self,
            dense=convert(self.dense, geometry, DENSE_K0),
            index=convert(self.index, geometry, INDEX_K0),
            layout=layout,
        )

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


def to_fractals(rows: npt.NDArray[Any], geometry: Geometry, k0: int) -> npt.NDArray[Any]:
    """Cut ND rows (..., N, bytes) into the fractals of a ``zn`` geometry."""
    out = np.empty(geometry.stored_shape(k0), rows.dtype)
    matrices = rows.reshape(geometry.matrices, geometry.n, rows.shape[-1])
    stack = out.reshape(geometry.matrices, *out.shape[-4:])
    for matrix, fractals in zip(matrices, stack, strict=True):
        _core.nd_to_zn(matrix, fractals)
    return out


def to_rows(fractals: npt.NDArray[Any], geometry: Geometry, k0: int) -> npt.NDArray[Any]:
    """Join fractals (..., K1, N1, 16, k0) into the rows of an ``nd`` geometry."""
    out = np.empty(geometry.stored_shape(k0), fractals.dtype)
    stack = fractals.reshape(geometry.matrices, *fractals.shape[-4:])
    matrices = out.reshape(geometry.matrices, *out.shape[-2:])
    for matrix, rows in zip(stack, matrices, strict=True):
        _core.zn_to_nd(matrix, rows)
    return out
