"""Files that are no good models, or good ones that a reader must take no harm from.

Each maker writes into an empty folder and gives the path of the model. All but the damaged files
begin as a layer that can be sparse, so that nothing but the one fault is in the way.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper
from onnx_makers import quantised_conv
from sparse_weights import sparse_weight


def good() -> onnx.ModelProto:
    return quantised_conv("QLinearConv", sparse_weight((8, 12, 3, 3)), x_shape=(1, 12, 7, 7))


def weight_of(model: onnx.ModelProto) -> TensorProto:
    return next(c for c in model.graph.initializer if c.name == "weight")


def _written(folder: Path, content: bytes | onnx.ModelProto) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(content if isinstance(content, bytes) else content.SerializeToString())
    return path


# --- damaged files --------------------------------------------------------------------------------


def empty(folder: Path) -> Path:
    return _written(folder, b"")


def not_protobuf(folder: Path) -> Path:
    return _written(folder, b"\xff" * 64)


def text(folder: Path) -> Path:
    return _written(folder, b"this is no model\n" * 9)


def truncated(folder: Path) -> Path:
    return _written(folder, good().SerializeToString()[:-100])


def truncated_in_the_weight(folder: Path) -> Path:
    whole = good().SerializeToString()
    return _written(folder, whole[: whole.index(weight_of(good()).raw_data[:32]) + 200])


def no_graph(folder: Path) -> Path:
    model = good()
    model.ClearField("graph")
    return _written(folder, model)


# --- opsets ---------------------------------------------------------------------------------------


def no_opset(folder: Path) -> Path:
    model = good()
    del model.opset_import[:]
    return _written(folder, model)


def opset_of_the_future(folder: Path) -> Path:
    model = good()
    model.opset_import[0].version = 999
    return _written(folder, model)


def opset_too_old(folder: Path) -> Path:
    """QLinearConv is from 10."""
    model = good()
    model.opset_import[0].version = 8
    return _written(folder, model)


# --- graphs ---------------------------------------------------------------------------------------


def cyclic(folder: Path) -> Path:
    """Two nodes feed each other, and the layer."""
    model = good()
    nodes = [
        helper.make_node("Identity", ["b"], ["a"], name="first"),
        helper.make_node("Identity", ["a"], ["b"], name="second"),
    ]
    model.graph.node[0].input[0] = "a"
    for place, node in enumerate(nodes):
        model.graph.node.insert(place, node)
    return _written(folder, model)


def of_itself(folder: Path) -> Path:
    """The layer reads its own output."""
    model = good()
    model.graph.node[0].input[0] = "y"
    return _written(folder, model)


def nobody_makes_it(folder: Path) -> Path:
    model = good()
    model.graph.node[0].input[0] = "lost"
    return _written(folder, model)


def made_twice(folder: Path) -> Path:
    model = good()
    model.graph.node.append(helper.make_node("Identity", ["x"], ["y"], name="again"))
    return _written(folder, model)


def too_few_inputs(folder: Path) -> Path:
    model = good()
    del model.graph.node[0].input[4:]
    return _written(folder, model)


def attribute_of_another_type(folder: Path) -> Path:
    """strides as a text."""
    model = good()
    model.graph.node[0].attribute.append(helper.make_attribute("strides", "1,1"))
    return _written(folder, model)


# --- tensors --------------------------------------------------------------------------------------


def too_little_data(folder: Path) -> Path:
    model = good()
    tensor = weight_of(model)
    tensor.raw_data = tensor.raw_data[:-1]
    return _written(folder, model)


def huge(folder: Path) -> Path:
    """A shape of 2^62 elements, and the bytes of a small one."""
    model = good()
    weight_of(model).dims[:] = [2**31, 2**31, 1, 1]
    return _written(folder, model)


def negative_size(folder: Path) -> Path:
    model = good()
    weight_of(model).dims[0] = -8
    return _written(folder, model)


def unknown_type(folder: Path) -> Path:
    model = good()
    weight_of(model).data_type = 250
    return _written(folder, model)


def scale_of_nothing(folder: Path) -> Path:
    """A scale that is not a number."""
    model = good()
    scale = next(c for c in model.graph.initializer if c.name == "y_w_scale")
    scale.raw_data = np.float32(np.nan).tobytes()
    return _written(folder, model)


# --- external data --------------------------------------------------------------------------------


def _external(folder: Path, location: str, **more: int) -> Path:
    model = good()
    tensor = weight_of(model)
    onnx.external_data_helper.set_external_data(tensor, location, **more)
    tensor.ClearField("raw_data")
    return _written(folder, model)


def missing_file(folder: Path) -> Path:
    return _external(folder, "weights.bin")


def short_file(folder: Path) -> Path:
    (folder / "weights.bin").write_bytes(weight_of(good()).raw_data[:-1])
    return _external(folder, "weights.bin", offset=0, length=8 * 12 * 9)


def offset_behind_the_end(folder: Path) -> Path:
    (folder / "weights.bin").write_bytes(weight_of(good()).raw_data)
    return _external(folder, "weights.bin", offset=4096, length=8 * 12 * 9)


def negative_offset(folder: Path) -> Path:
    (folder / "weights.bin").write_bytes(weight_of(good()).raw_data)
    return _external(folder, "weights.bin", offset=-1)


def _inside(folder: Path) -> Path:
    """A folder for the model, and beside it the file that it must not reach."""
    (folder / "outside.bin").write_bytes(weight_of(good()).raw_data)
    inside = folder / "inside"
    inside.mkdir()
    return inside


def outside_the_folder(folder: Path) -> Path:
    return _external(_inside(folder), "../outside.bin")


def outside_by_a_way_round(folder: Path) -> Path:
    inside = _inside(folder)
    (inside / "deeper").mkdir()
    return _external(inside, "deeper/../../outside.bin")


def outside_by_an_absolute_path(folder: Path) -> Path:
    return _external(_inside(folder), str(folder / "outside.bin"))


def outside_by_a_link(folder: Path) -> Path:
    inside = _inside(folder)
    (inside / "weights.bin").symlink_to(folder / "outside.bin")
    return _external(inside, "weights.bin")


def a_folder_as_data(folder: Path) -> Path:
    (folder / "weights.bin").mkdir()
    return _external(folder, "weights.bin")


Maker = Callable[[Path], Path]

DAMAGED: tuple[Maker, ...] = (
    not_protobuf, text, truncated, truncated_in_the_weight,
)  # fmt: skip
#: Protobuf reads these as a message.
NO_MODEL: tuple[Maker, ...] = (empty, no_graph, no_opset, opset_of_the_future, opset_too_old)
BAD_GRAPH: tuple[Maker, ...] = (
    cyclic, of_itself, nobody_makes_it, made_twice, too_few_inputs, attribute_of_another_type,
)  # fmt: skip
BAD_TENSOR: tuple[Maker, ...] = (too_little_data, huge, negative_size, unknown_type)
BAD_EXTERNAL: tuple[Maker, ...] = (
    missing_file, short_file, offset_behind_the_end, negative_offset, a_folder_as_data,
)  # fmt: skip
#: The data is there and right, and must not be read.
OUTSIDE: tuple[Maker, ...] = (
    outside_the_folder, outside_by_a_way_round, outside_by_an_absolute_path, outside_by_a_link,
)  # fmt: skip
ALL: tuple[Maker, ...] = (
    *DAMAGED, *NO_MODEL, *BAD_GRAPH, *BAD_TENSOR, scale_of_nothing, *BAD_EXTERNAL, *OUTSIDE,
)  # fmt: skip
