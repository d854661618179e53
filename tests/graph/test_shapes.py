"""Shapes and types of values: those of onnxruntime's own operators."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto
from onnx_makers import quantised_matmul
from sparse_weights import sparse_weight

from cube24.graph.model import of_proto
from cube24.graph.shapes import Shapes


@pytest.mark.parametrize("x", [np.uint8, np.int8])
@pytest.mark.parametrize(
    ("y", "kind"),
    [(np.uint8, TensorProto.UINT8), (np.int8, TensorProto.INT8), (None, TensorProto.FLOAT)],
)
def test_the_result_of_a_qgemm_need_not_have_the_type_of_its_activations(x, y, kind):
    proto = quantised_matmul(
        "QGemm", sparse_weight((6, 8)), x_shape=(4, 8), trans_b=1, x_dtype=x, x_zero=3, y_dtype=y
    )
    if y is None:  # without a scale it is float
        del proto.graph.node[0].input[7:]
        proto.graph.output[0].type.tensor_type.elem_type = kind
    model = of_proto(proto)
    shapes = Shapes(model)
    assert shapes.kind(model.main, "y") == kind
    assert shapes.shape(model.main, "y") == (4, 6)
