"""The suite of shapes: tails in each dimension, tiles, loads and convolutions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

from cube24.vectors.spec import Item, conv2d, fully_connected, matmul

#: Rows and columns around one and two fractals.
MN = (1, 15, 16, 17, 31, 32, 33)
#: K around groups, bytes of the index, fractals and loads.
_K = (4, 8, 60, 64, 68, 128, 4092, 4095, 4096)

#: Convolutions that between them have every kernel, stride, padding, dilation and channel count.
_CONVS: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("1x1", {"cin": 64, "cout": 17, "size": (4, 5), "kernel": (1, 1)}),
    ("1x1-s2", {"cin": 33, "cout": 16, "size": (5, 5), "kernel": (1, 1), "strides": (2, 2)}),
    ("3x3", {"cin": 3, "cout": 8, "size": (6, 6), "kernel": (3, 3), "pads": (1, 1, 1, 1)}),
    ("3x3-s2", {"cin": 4, "cout": 5, "size": (7, 6), "kernel": (3, 3), "strides": (2, 2)}),
    ("3x3-d2", {"cin": 16, "cout": 4, "size": (7, 7), "kernel": (3, 3), "dilations": (2, 2)}),
    ("3x3-pad", {"cin": 32, "cout": 3, "size": (4, 4), "kernel": (3, 3), "pads": (2, 0, 1, 2)}),
    ("5x5", {"cin": 4, "cout": 3, "size": (6, 7), "kernel": (5, 5), "pads": (2, 2, 2, 2)}),
    ("7x7-s2", {"cin": 3, "cout": 4, "size": (9, 9), "kernel": (7, 7), "strides": (2, 2)}),
    ("1x3", {"cin": 16, "cout": 6, "size": (3, 9), "kernel": (1, 3), "strides": (1, 3)}),
    ("3x1-b2", {"cin": 33, "cout": 4, "size": (5, 3), "kernel": (3, 1), "batch": 2}),
    ("3x3-x", {"cin": 4, "cout": 4, "size": (4, 4), "kernel": (3, 3), "pads": (1, 1, 1, 1),
               "offset_x": -5}),
    ("2x2-x", {"cin": 3, "cout": 1, "size": (2, 4), "kernel": (2, 2), "pads": (1, 0, 0, 0),
               "dilations": (1, 3), "offset_x": 5, "layout": "nd"}),
)  # fmt: skip


def cases(level: int, seed: int) -> Iterator[Item]:
    """Tails in each dimension, and convolutions."""
    short = list(zip(MN, (1, 17, 16, 33, 15, 32, 31), strict=True))
    # Every second pair of the committed set, like the fields of one colour of a chessboard.
    small = [(*mn, k) for i, mn in enumerate(short) for j, k in enumerate(_K[:6]) if (i + j) % 2]
    small += [(1, 1, 4092), (2, 1, 4095), (1, 1, 4096)]
    every = list(product(MN, MN, _K)) if level else []
    for m, n, k in dict.fromkeys([*small, *every]):
        # Fractals of a single column are mostly padding: rows where k is long.
        layout = "nd" if (m + k // 4) % 2 or (n == 1 and k > 128) else "zn"
        yield Item(f"matmul-{m}x{n}x{k}", matmul(m, n, k, layout=layout), ("shape",))
    spec = fully_connected(5, 10, 36)
    yield Item("fully-connected-5x10x36", spec, ("shape",))
    spec = fully_connected(4, 3, 20, layout="nd")
    yield Item("fully-connected-4x3x20", spec, ("shape",))
    # More than one tile of rows and of columns, and more than one load of a small L1, with queues
    # that are full.
    yield Item("tiles-m", matmul(129, 1, 4, layout="nd"), ("shape",))
    yield Item("tiles-n", matmul(1, 129, 4, layout="nd"), ("shape",))
    small_unit = {"l1_bytes": 4096, "l0a_bytes": 2048, "l0b_bytes": 2048, "queue_depth": 1}
    yield Item("loads", matmul(2, 2, 196, layout="nd", **small_unit), ("shape", "stall"))
    for name, sizes in _CONVS:
        yield Item(f"conv-{name}", conv2d(**sizes, weights="edges"), ("shape", "conv"))
    if level:
        for cin, kernel, stride, pad, dilation in product(
            (3, 4, 16, 32, 33, 64), (1, 3, 5, 7), (1, 2), (0, 1), (1, 2)
        ):
            size = dilation * (kernel - 1) + 1 + stride
            name = f"conv-c{cin}-k{kernel}-s{stride}-p{pad}-d{dilation}"
            spec = conv2d(
                cin, 6, (size, size + 1), (kernel, kernel), strides=(stride, stride),
                pads=(pad,) * 4, dilations=(dilation, dilation), batch=1 + (cin == 16),
            )  # fmt: skip
            yield Item(name, spec, ("shape", "conv"))
