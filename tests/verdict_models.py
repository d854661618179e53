"""A model for each verdict that a node can have from the model alone: one node, one reason.

Each has the node in question and no other candidate, and differs from one that is sparse in that
one thing. `slower` and `skipped` come of options of the command, so any sparse one serves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx_makers import DYNAMIC, quantised_conv, quantised_matmul
from sparse_weights import (
    as_uint8,
    flattened_weight,
    sparse_weight,
    with_illegal_group,
    wrong_axis_weight,
)

#: First element (n, cin, kh, kw) or (n, k) of the one illegal group of the models "not-2:4".
ILLEGAL_CONV = (5, 8, 2, 1)
ILLEGAL_MATMUL = (3, 20)


def _conv(weight: Any, size: int = 7, form: str = "QLinearConv", **how: Any) -> onnx.ModelProto:
    cin = weight.shape[1] * how.get("group", 1)
    x_shape = (1, cin, *[size] * (weight.ndim - 2))
    return quantised_conv(form, weight, x_shape=x_shape, **how)


def _matmul(weight: Any, form: str = "QLinearMatMul", **how: Any) -> onnx.ModelProto:
    return quantised_matmul(form, weight, x_shape=(*weight.shape[:-2], 4, weight.shape[-1]), **how)


def _unsigned() -> Any:
    """uint8 weights with zero point 0, one of them 200: as numbers they are beyond int8."""
    weight = np.abs(sparse_weight((8, 12, 3, 3)).astype(np.int64)).astype(np.uint8)
    first = tuple(axis[0] for axis in np.nonzero(weight))
    weight[first] = 200
    return weight


def _zero_points() -> dict[str, Any]:
    zeros = np.array([100, 110, 120, 128, 128, 128, 128, 128], np.uint8)
    weight = sparse_weight((8, 12, 3, 3), largest=64)
    stored = (weight.astype(int) + zeros.astype(int).reshape(-1, 1, 1, 1)).astype(np.uint8)
    return {"weight": stored, "w_zero": zeros, "w_scale": np.full(8, 0.01, np.float32)}


#: (verdict, what it is about) -> the model.
VERDICTS: dict[tuple[str, str], Callable[[], onnx.ModelProto]] = {
    ("sparse", "convolution"): lambda: _conv(sparse_weight((8, 12, 3, 3))),
    ("sparse", "Cin 5"): lambda: _conv(sparse_weight((8, 5, 3, 3))),
    ("sparse", "Cin 40"): lambda: _conv(sparse_weight((8, 40, 1, 1))),
    ("sparse", "uint8 weights"): lambda: _conv(as_uint8(sparse_weight((8, 12, 3, 3))), w_zero=128),
    ("sparse", "product"): lambda: _matmul(sparse_weight((8, 37))),
    ("sparse", "alpha and beta are 1"): lambda: _matmul(
        sparse_weight((8, 37)), "qdq-gemm", alpha=1.0, beta=1.0, bias=np.arange(8)
    ),
    ("groups", "two groups"): lambda: _conv(sparse_weight((8, 6, 3, 3)), group=2),
    ("groups", "depthwise"): lambda: _conv(sparse_weight((12, 1, 3, 3)), group=12),
    ("cin4", "three channels"): lambda: _conv(sparse_weight((8, 3, 3, 3))),
    ("cin4", "four channels"): lambda: _conv(sparse_weight((8, 4, 3, 3))),
    ("conv1d", "one axis"): lambda: _conv(sparse_weight((8, 12, 3))),
    ("conv3d", "three axes"): lambda: _conv(sparse_weight((8, 12, 3, 3, 3)), form="ConvInteger"),
    ("rank", "a matrix for each batch"): lambda: _matmul(np.stack([sparse_weight((8, 36))] * 2)),
    ("dynamic-weight", "convolution"): lambda: _conv(sparse_weight((8, 12, 3, 3)), where=DYNAMIC),
    ("dynamic-weight", "product"): lambda: _matmul(sparse_weight((8, 37)), where=DYNAMIC),
    ("not-quantised", "convolution"): lambda: _conv(sparse_weight((8, 12, 3, 3)), form="Conv"),
    ("not-quantised", "product"): lambda: _matmul(sparse_weight((8, 37)), "MatMul"),
    ("not-quantised", "Gemm"): lambda: _matmul(sparse_weight((8, 37)), "Gemm", bias=np.arange(8)),
    ("not-int8", "range"): lambda: _conv(_unsigned()),
    ("zero-point-per-channel", "convolution"): lambda: _conv(**_zero_points()),
    ("not-2:4", "convolution"): lambda: _conv(
        with_illegal_group(sparse_weight((8, 12, 3, 3)), ILLEGAL_CONV)
    ),
    ("not-2:4", "product"): lambda: _matmul(
        with_illegal_group(sparse_weight((8, 37)), ILLEGAL_MATMUL)
    ),
    ("flattened-2:4", "convolution"): lambda: _conv(flattened_weight((8, 12, 3, 3))),
    ("wrong-axis", "convolution"): lambda: _conv(wrong_axis_weight((8, 12, 3, 3))),
    ("wrong-axis", "kernel of one"): lambda: _conv(wrong_axis_weight((8, 12, 1, 1))),
    ("wrong-axis", "product"): lambda: _matmul(wrong_axis_weight((8, 36))),
    ("alpha-beta", "alpha of QGemm"): lambda: _matmul(
        sparse_weight((8, 37)), "QGemm", alpha=0.5, bias=np.arange(8)
    ),
    ("alpha-beta", "beta of Gemm"): lambda: _matmul(
        sparse_weight((8, 37)), "qdq-gemm", beta=0.5, bias=np.arange(8)
    ),
    ("unit-limit", "stride 64"): lambda: _conv(
        sparse_weight((8, 12, 1, 1)), size=70, strides=(64, 1)
    ),
}
