"""What the unit computes, without its instructions: whole layers from the bytes, at full speed.

The datapath adds the products of one step after the other to an int32 accumulator. Where no sum on
the way can leave int32, the order does not matter and nothing saturates, so any way to add the
products gives the same bits; and where the unit wraps, that is so always. Here it is found out
whether this holds, and if it does, one call of the C core computes the layer. It reads the bytes of
the weight as they stand, selects by the index alone, as the datapath does, and keeps nothing.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from cube24 import _core
from cube24.encoder import SparseWeight
from cube24.simulator import layouts, requant
from cube24.simulator.config import UnitConfig
from cube24.simulator.layer import Layer, Matmul
from cube24.simulator.requant import Requant

#: What the sum of a column must stay below.
_LIMIT = 1 << 31

Weight = SparseWeight | npt.NDArray[np.int8]


def cannot_saturate(layer: Layer, weight: Weight, bias: npt.NDArray[np.int32] | None) -> bool:
    """Whether no sum of a layer, on the way or at the end, can leave int32.

    A product of two int8 is at most 2^14. Where that bound is too coarse, each column is bounded by
    its own weights: 2^7 times the sum of their magnitudes, padding included.
    """
    # Of 2:4, half of k is kept; what stands behind k in the last group may be as well.
    kept = 2 * -(-layer.k // 4) if isinstance(weight, SparseWeight) else layer.k
    largest = 0 if bias is None or not bias.size else max(int(bias.max()), -int(bias.min()))
    if largest + (kept << 14) < _LIMIT:
        return True
    columns = _magnitudes(weight) << 7
    if bias is not None:
        columns[: layer.n] += np.abs(bias.astype(np.int64))
    return bool((columns < _LIMIT).all())


def _magnitudes(weight: Weight) -> npt.NDArray[np.int64]:
    """The sum of the magnitudes of each column's weights; of fractals, of padded columns too."""
    if not isinstance(weight, SparseWeight):
        return _summed(weight.reshape(len(weight), -1))
    if weight.layout == "nd":
        return _summed(weight.dense)
    k1, n1, n0, k0 = weight.dense.shape
    return _summed(weight.dense.transpose(1, 2, 0, 3).reshape(n1 * n0, k1 * k0))


def _summed(rows: npt.NDArray[np.int8]) -> npt.NDArray[np.int64]:
    return np.asarray(np.abs(rows.astype(np.int16)).sum(axis=1, dtype=np.int64))


def compute(
    layer: Layer,
    x: npt.NDArray[np.int8],
    weight: Weight,
    bias: npt.NDArray[np.int32] | None,
    how: Requant | None,
    config: UnitConfig,
    *,
    nhwc: bool,
    threads: int | None,
    out: npt.NDArray[Any],
) -> bool:
    """Compute a layer into an array, if that is what the unit computes; its sizes are not zero.

    Args:
        layer: what is computed.
        x: activations, NHWC or as the layer has them.
        weight, bias, how, config: as for Unit.run, checked.
        nhwc: x and out are NHWC.
        threads: as for Unit.run.
        out: C-contiguous, of the type and shape of the result.

    Returns:
        False if the instructions have to be run: sums may saturate, or the unit refuses the bytes.
        out holds anything then.

    Raises:
        ArgumentError: threads is no whole number of 1 or more.
    """
    if isinstance(weight, SparseWeight) and not config.sparsity:
        return False
    if config.overflow != "wrap" and not cannot_saturate(layer, weight, bias):
        return False
    if how is not None and how.mode != "REQ8":
        sums = np.empty(out.shape, np.int32)
        call = _call(layer, x, weight, bias, nhwc, sums)
        if not _core.layer(call, _flags(config), threads):
            return False
        _dequantise(sums, how, config, out, last=nhwc or isinstance(layer, Matmul))
        return True
    call = _call(layer, x, weight, bias, nhwc, out)
    if how is not None:
        call.scale, call.offset = how.columns
        call.shift, call.signed = how.shift, how.signed
        call.relu, call.alpha = how.relu_mode != "none", how.alpha
    return _core.layer(call, _flags(config), threads)


def _dequantise(
    sums: npt.NDArray[np.int32],
    how: Requant,
    config: UnitConfig,
    out: npt.NDArray[Any],
    *,
    last: bool,
) -> None:
    """Sums to fp16; last: columns of results are the last axis, not the second."""
    rows = sums if last else sums.transpose(0, 2, 3, 1)
    made = requant.dequantise(rows, how.words(config), how.relu_mode, how.alpha)
    out[...] = made if last else made.transpose(0, 3, 1, 2)


def _flags(config: UnitConfig) -> int:
    return (config.index3 == "nothing") * _core.INDEX3_NOTHING | (
        config.pair20 == "table"
    ) * _core.PAIR20_TABLE


def _call(
    layer: Layer,
    x: npt.NDArray[np.int8],
    weight: Weight,
    bias: npt.NDArray[np.int32] | None,
    nhwc: bool,
    out: npt.NDArray[Any],
) -> _core.LayerCall:
    index, zn = None, False
    if isinstance(weight, SparseWeight):
        values, index, zn = weight.dense, weight.index, weight.layout == "zn"
    elif isinstance(layer, Matmul):
        values = np.ascontiguousarray(weight)
    else:
        values = layouts.conv_rows(weight)
    return _core.LayerCall(
        _sizes(layer, nhwc), np.ascontiguousarray(x), values, index, zn,
        None if bias is None else np.ascontiguousarray(bias), out,
    )  # fmt: skip


@lru_cache(1024)
def _sizes(layer: Layer, nhwc: bool) -> _core.LayerSizes:
    if isinstance(layer, Matmul):
        return _core.LayerSizes("rows", 1, layer.m, layer.n, layer.k)
    image = _core.Image(
        layer.c1, layer.h, layer.w, *layer.kernel, *layer.strides, *layer.dilations, *layer.pads
    )
    form = "NHWC" if nhwc else "NCHW"
    return _core.LayerSizes(
        form, layer.batch, layer.m, layer.n, layer.k, layer.cin, image, layer.offset_x
    )
