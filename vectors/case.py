"""A case in memory: its arrays, each with its layout, and what the unit computes from them.

What it is made from is spec.py; build.py makes it, and manifest.py writes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cube24.encoder import C0, SparseWeight
from cube24.simulator import Conv2d, Run, Unit, UnitConfig, layouts
from cube24.vectors.files import CaseStyle
from cube24.vectors.spec import Spec, is_conv, kind_of, layer_of, requant_of

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class CaseArray:
    """One array of a case, with the layout it stands in."""

    array: Array
    layout: str


@dataclass(frozen=True, eq=False)
class Case:
    """A case in memory.

    Attributes: suite, suite_version and name; campaign_seed and seed; spec, what it is made from;
    tags; unit, the configuration; style, how its files are written; pieces, its arrays by role:
    weights, dense, index, activations, expected, and bias and requant where there are any, and
    accumulators, the int32 before requantisation, with a manifest of version 2; run, what the unit
    did with the good bytes; outcome, as in the manifest; extra, more files by name; bins, the
    coverage bins that it hits.
    """

    suite: str
    suite_version: int
    name: str
    campaign_seed: int
    seed: int
    spec: Spec
    tags: tuple[str, ...]
    unit: UnitConfig
    style: CaseStyle
    pieces: Mapping[str, CaseArray]
    run: Run
    outcome: Mapping[str, Any]
    extra: Mapping[str, bytes]
    bins: tuple[str, ...]


def compute(
    spec: Spec,
    config: UnitConfig,
    arrays: Mapping[str, Array],
    check: Array | bool = False,
) -> Run:
    """Let the unit compute a case from its arrays; convolutions give (batch, h, w, cout).

    Args:
        spec: of the case.
        config: the unit.
        arrays: dense, index, activations and bias by role, as they stand in the files.
        check: the original weight, to compare with the dense computation.

    Raises:
        MismatchError: it differs from the dense computation.
        ExecutionError: the unit refuses the bytes.
    """
    layer = layer_of(spec)
    sparse = SparseWeight(
        arrays["dense"], arrays["index"], layer.weight, spec["layout"], kind_of(spec)
    )
    x, unit = arrays["activations"], Unit(config)
    how: dict[str, Any] = {
        "bias": arrays.get("bias"), "requant": requant_of(spec), "check": check,
        "exact_steps": True,
    }  # fmt: skip
    if not isinstance(layer, Conv2d):
        return unit.run(layer, x, sparse, **how)
    image = layouts.from_nc1hwc0(x, layer.cin).transpose(0, 2, 3, 1)
    return unit.conv2d(
        image, sparse, strides=layer.strides, pads=layer.pads, dilations=layer.dilations,
        offset_x=layer.offset_x, data_format="NHWC", **how,
    )  # fmt: skip


def accumulators(
    spec: Spec, config: UnitConfig, arrays: Mapping[str, Array], check: Array | bool = False
) -> CaseArray:
    """The int32 that a case requantises, as :func:`compute` gives its result.

    Raises:
        MismatchError, ExecutionError: as for :func:`compute`.
    """
    run = compute({**spec, "requant": None}, config, arrays, check)
    assert run.output is not None
    return CaseArray(run.output, "nhwc" if is_conv(spec) else "nd")


def img2col(x: npt.NDArray[np.int8], layer: Conv2d) -> npt.NDArray[np.int8]:
    """What the cube multiplies in a convolution: a row for each position of the result.

    Args:
        x: (batch, c1, h, w, 32).
        layer: the convolution.

    Returns:
        (batch * ho * wo, c1 * kh * kw * 32); padding holds ``offset_x`` in all 32 channels.
    """
    (kh, kw), (sh, sw), (dh, dw) = layer.kernel, layer.strides, layer.dilations
    top, left, bottom, right = layer.pads
    ho, wo = layer.positions
    batch, c1, h, w, _ = x.shape
    padded = np.full((batch, c1, top + h + bottom, left + w + right, C0), layer.offset_x, np.int8)
    padded[:, :, top : top + h, left : left + w] = x
    columns = np.empty((batch, ho, wo, c1, kh, kw, C0), np.int8)
    for i in range(kh):
        for j in range(kw):
            y, z = i * dh, j * dw
            taken = padded[:, :, y : y + (ho - 1) * sh + 1 : sh, z : z + (wo - 1) * sw + 1 : sw]
            columns[:, :, :, :, i, j] = taken.transpose(0, 2, 3, 1, 4)
    return columns.reshape(batch * ho * wo, -1)


def bits(array: Array) -> Array:
    """The array as unsigned integers, so that equal means equal in every bit."""
    return np.ascontiguousarray(array).view(np.dtype(f"u{array.dtype.itemsize}"))
