"""Weights to the dense and index matrices that the hardware reads, and back.

``encode`` and ``decode`` for arrays, ``encode_conv`` and ``decode_conv`` for convolution weights,
``check`` and ``prune`` for weights that may not be 2:4 yet; the ``*_file`` functions do the same
for files that need not fit in memory. The format is docs/format.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cube24.lazy import front

if TYPE_CHECKING:
    from cube24._core import chosen_path, paths, use_path
    from cube24.encoder.arguments import check_out, int8_array
    from cube24.encoder.bits import pack_index, unpack_index
    from cube24.encoder.checking import Report, RowSummary, check
    from cube24.encoder.codec import decode, decode_conv, encode, encode_conv
    from cube24.encoder.container import (
        Style,
        is_stored,
        open_payload,
        open_stored,
        stored_geometry,
        style_for,
    )
    from cube24.encoder.layout import (
        C0,
        DENSE_K0,
        GROUP,
        INDEX_K0,
        N0,
        ZN_K,
        Geometry,
        Kind,
        Layout,
    )
    from cube24.encoder.pruning import PruneCost, Pruned, prune
    from cube24.encoder.refusals import Offender, RefusedError, RefusedGroup, ViolationError
    from cube24.encoder.stream import (
        Progress,
        check_file,
        check_weight_target,
        decode_arrays,
        decode_file,
        encode_file,
        prune_file,
    )
    from cube24.encoder.weight import Changes, SparseWeight
    from cube24.errors import (
        ArgumentError,
        Cube24Error,
        DtypeError,
        FileAccessError,
        FileFormatError,
        OutBufferError,
        ShapeError,
    )
    from cube24.files import ArrayFile, open_array
else:
    __getattr__, __dir__ = front(
        __name__,
        {
            "cube24._core": ("chosen_path", "paths", "use_path"),
            ".arguments": ("check_out", "int8_array"),
            ".bits": ("pack_index", "unpack_index"),
            ".checking": ("Report", "RowSummary", "check"),
            ".codec": ("decode", "decode_conv", "encode", "encode_conv"),
            ".container": (
                "Style", "is_stored", "open_payload", "open_stored", "stored_geometry", "style_for",
            ),
            ".layout": (
                "C0", "DENSE_K0", "GROUP", "INDEX_K0", "N0", "ZN_K", "Geometry", "Kind", "Layout",
            ),
            ".pruning": ("PruneCost", "Pruned", "prune"),
            ".refusals": ("Offender", "RefusedError", "RefusedGroup", "ViolationError"),
            ".stream": (
                "Progress", "check_file", "check_weight_target", "decode_arrays", "decode_file",
                "encode_file", "prune_file",
            ),
            ".weight": ("Changes", "SparseWeight"),
            "cube24.errors": (
                "ArgumentError", "Cube24Error", "DtypeError", "FileAccessError", "FileFormatError",
                "OutBufferError", "ShapeError",
            ),
            "cube24.files": ("ArrayFile", "open_array"),
        },
    )  # fmt: skip

__all__ = [
    "C0",
    "DENSE_K0",
    "GROUP",
    "INDEX_K0",
    "N0",
    "ZN_K",
    "ArgumentError",
    "ArrayFile",
    "Changes",
    "Cube24Error",
    "DtypeError",
    "FileAccessError",
    "FileFormatError",
    "Geometry",
    "Kind",
    "Layout",
    "Offender",
    "OutBufferError",
    "Progress",
    "PruneCost",
    "Pruned",
    "RefusedError",
    "RefusedGroup",
    "Report",
    "RowSummary",
    "ShapeError",
    "SparseWeight",
    "Style",
    "ViolationError",
    "check",
    "check_file",
    "check_out",
    "check_weight_target",
    "chosen_path",
    "decode",
    "decode_arrays",
    "decode_conv",
    "decode_file",
    "encode",
    "encode_conv",
    "encode_file",
    "int8_array",
    "is_stored",
    "open_array",
    "open_payload",
    "open_stored",
    "pack_index",
    "paths",
    "prune",
    "prune_file",
    "stored_geometry",
    "style_for",
    "unpack_index",
    "use_path",
]
