"""Quantised convolutions and products in slow, obvious integers: what graph tests compare with.

Sums are exact, in int64. Requantisation is the arithmetic that onnxruntime's QLinearConv,
QLinearMatMul and QGemm have. It reads no model and shares nothing with the package.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

# --- sizes ----------------------------------------------------------------------------------------


def conv_pads(
    auto_pad: str,
    size: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> tuple[int, ...]:
    """(top, left, bottom, right) of an auto_pad; size, kernel: (h, w). VALID has none.

    Source: the text of the ONNX operator Conv. SAME_UPPER and SAME_LOWER pad so that the output
    has ceil(size / stride); an odd one stands at the end for SAME_UPPER, else at the beginning.
    """
    begins, ends = [], []
    for length, taps, stride, dilation in zip(size, kernel, strides, dilations, strict=True):
        outputs = -(-length // stride)
        needed = max(0, (outputs - 1) * stride + (taps - 1) * dilation + 1 - length)
        if auto_pad == "VALID":
            needed = 0
        less, more = needed // 2, needed - needed // 2
        begins.append(more if auto_pad == "SAME_LOWER" else less)
        ends.append(less if auto_pad == "SAME_LOWER" else more)
    return (*begins, *ends)


def conv_size(
    size: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    pads: Sequence[int],
    dilations: Sequence[int],
) -> tuple[int, ...]:
    """The output's (h, w), or as many axes as there are."""
    axes = len(size)
    return tuple(
        (size[a] + pads[a] + pads[axes + a] - (kernel[a] - 1) * dilations[a] - 1) // strides[a] + 1
        for a in range(axes)
    )


# --- sums -----------------------------------------------------------------------------------------


def conv_sums(
    x: Array,
    x_zero: int,
    w: Array,
    w_zero: int | Array = 0,
    bias: Array | None = None,
    strides: Sequence[int] = (1, 1),
    pads: Sequence[int] = (0, 0, 0, 0),
    dilations: Sequence[int] = (1, 1),
    group: int = 1,
) -> Array:
    """x (B, Cin, H, W), w (Cout, Cin / group, Kh, Kw) -> exact sums (B, Cout, Ho, Wo), int64.

    A padded tap adds nothing: it stands for the number zero, which is stored as x_zero. w_zero is
    one number or one for each of Cout.
    """
    (top, left, bottom, right), (sh, sw), (dh, dw) = pads, strides, dilations
    cout, cin, kh, kw = w.shape
    numbers = x.astype(np.int64) - x_zero
    numbers = np.pad(numbers, ((0, 0), (0, 0), (top, bottom), (left, right)))
    weights = w.astype(np.int64) - np.reshape(w_zero, (-1, 1, 1, 1))
    ho, wo = conv_size(x.shape[2:], (kh, kw), strides, pads, dilations)
    sums = np.zeros((len(x), cout, ho, wo), np.int64)
    for n in range(cout):
        first = n // (cout // group) * cin  # of the channels that this output reads
        for v in range(ho):
            for u in range(wo):
                rows = slice(v * sh, v * sh + (kh - 1) * dh + 1, dh)
                columns = slice(u * sw, u * sw + (kw - 1) * dw + 1, dw)
                patch = numbers[:, first : first + cin, rows, columns]
                sums[:, n, v, u] = (patch * weights[n]).sum(axis=(1, 2, 3))
    return sums if bias is None else sums + bias.astype(np.int64).reshape(1, cout, 1, 1)


def matmul_sums(
    x: Array,
    x_zero: int,
    w: Array,
    w_zero: int | Array = 0,
    bias: Array | None = None,
) -> Array:
    """x (..., K), w (N, K) -> exact sums (..., N), int64; w_zero: one, or one for each of N."""
    numbers = x.astype(np.int64) - x_zero
    weights = w.astype(np.int64) - np.reshape(w_zero, (-1, 1))
    sums = (numbers[..., None, :] * weights).sum(axis=-1)
    return sums if bias is None else sums + bias.astype(np.int64)


# --- requantisation -------------------------------------------------------------------------------


def requantise(
    sums: Array,
    x_scale: float,
    w_scale: float | Array,
    y_scale: float,
    y_zero: int,
    dtype: npt.DTypeLike,
    axis: int = 1,
    alpha: float = 1.0,
) -> Array:
    """Sums -> int8 or uint8, bit for bit what onnxruntime gives; w_scale: one, or one each of axis.

    s = fp32(fp32(alpha * x_scale * w_scale) / y_scale), y = fp32(sum) * s, clipped to
    [min - y_zero, max - y_zero], rounded half to even, + y_zero. axis: that of N in the sums.
    """
    along = [1] * sums.ndim
    along[axis] = -1
    one = np.float32(alpha) * np.float32(x_scale)
    scale = one * np.reshape(np.asarray(w_scale, np.float32), along) / np.float32(y_scale)
    assert scale.dtype == np.float32
    limits = np.iinfo(dtype)
    y = np.clip(sums.astype(np.float32) * scale, limits.min - y_zero, limits.max - y_zero)
    return (np.rint(y).astype(np.int64) + y_zero).astype(dtype)


def fp32(number: float) -> float:
    """The nearest number that 32 bits hold."""
    return float(struct.unpack("<f", struct.pack("<f", number))[0])


def requantise_one(
    sum_: int, x_scale: float, w_scale: float, y_scale: float, y_zero: int, low: int, high: int
) -> int:
    """The same for one number in Python's own: what `requantise` itself is held to.

    Products of two 24-bit mantissas are exact in 53 bits, and a quotient that is rounded to 53 and
    then to 24 bits is the one that is rounded to 24 at once.
    """
    scale = fp32(fp32(fp32(x_scale) * fp32(w_scale)) / fp32(y_scale))
    y = fp32(fp32(sum_) * scale)
    return round(min(max(y, low - y_zero), high - y_zero)) + y_zero
