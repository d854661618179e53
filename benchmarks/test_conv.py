"""Single convolutions of ResNet-50 beside onnxruntime's QLinearConv: int8 to int8, NCHW and NHWC.

    pytest benchmarks/test_conv.py --benchmark-only

One thread each, reused buffers. Ours gives the cycles of the unit as well. The peer takes NCHW
alone.
"""

from __future__ import annotations

import numpy as np
import pytest
from race import race
from resnet50 import convolutions

from cube24.simulator import Unit

PEER = "onnxruntime QLinearConv, dense"
NAMES = ["conv1", "conv2_1b", "conv2_1c", "conv3_2a", "conv4_2b", "conv5_2c"]


@pytest.mark.parametrize("data_format", ["NCHW", "NHWC"])
@pytest.mark.parametrize("name", NAMES)
def test_conv(benchmark, name, data_format):
    (one,) = convolutions(lambda layer: layer.name == name)
    unit = Unit()
    theirs, wanted = one.theirs(1)
    theirs()
    assert not one.ours(unit, 1).exact_steps
    one.ours(unit, 1, data_format="NHWC")
    assert np.array_equal(one.out.view(np.uint8) ^ 128, wanted)
    assert np.array_equal(one.out_nhwc.transpose(0, 3, 1, 2), one.out)
    of = one.layer
    race(
        benchmark, lambda: one.ours(unit, 1, data_format=data_format), {PEER: theirs},
        what=f"{name}: {of.cin} to {of.cout} channels, {of.kernel} x {of.kernel}, "
        f"stride {of.stride}, image {of.size} x {of.size}, {data_format}",
    )  # fmt: skip
