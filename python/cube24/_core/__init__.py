"""The C core as functions on NumPy arrays: pointers, status codes and code paths end here.

All of Python reaches C through this package, and only its modules touch cffi. The header
csrc/cube24.h is the contract of every function.
"""

from cube24._core.codec import (
    C0,
    FAULTS,
    NONCANONICAL,
    PADDING,
    POLICIES,
    Place,
    check,
    conv_to_matrix,
    decode,
    encode,
    list_excess,
    list_refused,
    matrix_to_conv,
    nd_to_zn,
    pack_index,
    prune,
    unpack_index,
    zn_to_nd,
)
from cube24._core.datapath import (
    GRAIN_INSTRUCTION,
    INDEX3_NOTHING,
    PAIR20_TABLE,
    WRAP,
    Image,
    find_index3,
    image_output,
    load3d,
    mmad,
    mmad_sparse,
    mmad_start,
)
from cube24._core.paths import paths, use_path

__all__ = [
    "C0",
    "FAULTS",
    "GRAIN_INSTRUCTION",
    "INDEX3_NOTHING",
    "NONCANONICAL",
    "PADDING",
    "PAIR20_TABLE",
    "POLICIES",
    "WRAP",
    "Image",
    "Place",
    "check",
    "conv_to_matrix",
    "decode",
    "encode",
    "find_index3",
    "image_output",
    "list_excess",
    "list_refused",
    "load3d",
    "matrix_to_conv",
    "mmad",
    "mmad_sparse",
    "mmad_start",
    "nd_to_zn",
    "pack_index",
    "paths",
    "prune",
    "unpack_index",
    "use_path",
    "zn_to_nd",
]
