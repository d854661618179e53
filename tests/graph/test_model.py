"""The reader against files that are no model, or one that it must take no harm from.

Whatever a file holds, it is read and judged, or refused in one line that names it. Nothing else is
raised, and nothing takes long.
"""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from bad_models import ALL, scale_of_nothing, weight_of
from graph_attack import changed, good, op, said_of, tensor, verdicts_of, with_array, written
from onnx import TensorProto, helper, numpy_helper

from cube24 import graph
from cube24.errors import ArgumentError, FileFormatError

NEWEST = onnx.defs.onnx_opset_version()
IR_NEWEST = int(onnx.IR_VERSION)


def test_the_good_model_is_good(tmp_path: Path) -> None:
    assert said_of(written(tmp_path, good())) == "sparse"


@pytest.mark.parametrize("maker", ALL, ids=lambda maker: maker.__name__)
def test_a_bad_model_is_refused_in_one_line(maker: Any, tmp_path: Path) -> None:
    path = maker(tmp_path)
    if maker is scale_of_nothing:  # which makes one node dense
        assert said_of(path) == "not-quantised: a scale of its weight is nan, which is no scale"
        return
    with pytest.raises(FileFormatError) as caught:
        graph.load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert str(caught.value).isprintable()


# --- files that are no model ----------------------------------------------------------------------


def archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("model.onnx", good().SerializeToString())
    return buffer.getvalue()


WHOLE = good().SerializeToString()
FILES = {
    "empty": b"",
    "one byte": WHOLE[:1],
    "html": b"<!DOCTYPE html><html><body>404: not found</body></html>",
    "pickle": pickle.dumps({"weight": [1, 2, 3]}),
    "zip": archive(),
    "a pointer of git-lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 2\n",
    "zeros": bytes(1000),
    "ones": b"\xff" * 1000,
    "half": WHOLE[: len(WHOLE) // 2],
    "all but one byte": WHOLE[:-1],
    "text behind": WHOLE + b"garbage",
    "two models": WHOLE + WHOLE,
    "a name of other bytes": WHOLE.replace(b"weight", b"we\xffght"),
    "an operator of other bytes": WHOLE.replace(b"QLinearConv", b"QLinearC\xffnv"),
}


@pytest.mark.parametrize("name", FILES)
def test_another_file(name: str, tmp_path: Path) -> None:
    said = said_of(written(tmp_path, FILES[name]))
    assert said.startswith("no readable ONNX model: ")


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "Is a directory" in said_of(tmp_path)
    assert "is no regular file" in said_of(tmp_path / "pipe")
    assert "No such file" in said_of(tmp_path / "nothing.onnx")


# --- versions -------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [10, 11, 12, 13, 17, 19, NEWEST])
def test_opsets_that_are_read(version: int, tmp_path: Path) -> None:
    model = changed(lambda m: setattr(m.opset_import[0], "version", version))
    assert said_of(written(tmp_path, model)) == "sparse"


@pytest.mark.parametrize(
    ("version", "said"),
    [
        (-1, "opset -1: the oldest that is read is 7"),
        (0, "opset 0: the oldest that is read is 7"),
        (6, "opset 6: the oldest that is read is 7"),
        (9, "No Op registered for QLinearConv"),
        (NEWEST + 1, f"knows those up to {NEWEST}; install a newer one"),
        (2**31, f"knows those up to {NEWEST}; install a newer one"),
        (2**62, f"knows those up to {NEWEST}; install a newer one"),
    ],
)
def test_opsets_that_are_refused(version: int, said: str, tmp_path: Path) -> None:
    model = changed(lambda m: setattr(m.opset_import[0], "version", version))
    assert said in said_of(written(tmp_path, model))


def test_two_opsets(tmp_path: Path) -> None:
    model = changed(lambda m: m.opset_import.add(version=14))
    assert "it is of opset 13 and of 14" in said_of(written(tmp_path, model))
    model = changed(lambda m: m.opset_import.add(domain="ai.onnx", version=13))
    assert said_of(written(tmp_path, model)) == "sparse"


@pytest.mark.parametrize("version", range(3, IR_NEWEST + 1))
def test_ir_versions(version: int, tmp_path: Path) -> None:
    model = good()
    model.ir_version = version
    if version < 4:  # every initializer is an input too
        model.graph.input.extend(
            helper.make_tensor_value_info(t.name, t.data_type, t.dims)
            for t in model.graph.initializer
        )
    assert said_of(written(tmp_path, model)) == "sparse"


@pytest.mark.parametrize("version", [-1, 0, 1, 2, IR_NEWEST + 1, 2**40])
def test_ir_versions_that_are_refused(version: int, tmp_path: Path) -> None:
    model = changed(lambda m: setattr(m, "ir_version", version))
    assert "no readable ONNX model" in said_of(written(tmp_path, model))


# --- graphs ---------------------------------------------------------------------------------------


def appended(*nodes: Any) -> Callable[[onnx.ModelProto], Any]:
    return lambda model: model.graph.node.extend(nodes)


def first(index: int, name: str) -> Callable[[onnx.ModelProto], Any]:
    """Another name as an input of the layer."""

    def change(model: onnx.ModelProto) -> None:
        model.graph.node[0].input[index] = name

    return change


def attribute(**fields: Any) -> Callable[[onnx.ModelProto], Any]:
    return lambda model: model.graph.node[0].attribute.add(**fields)


INTS = onnx.AttributeProto.INTS
GRAPHS: dict[str, tuple[Callable[[onnx.ModelProto], Any], str]] = {
    "no nodes": (lambda m: m.graph.ClearField("node"), "no "),  # old versions of onnx takes it
    "nothing": (lambda m: m.graph.Clear(), "no readable"),
    "no outputs": (lambda m: m.graph.ClearField("output"), "sparse"),
    "no inputs": (lambda m: m.graph.ClearField("input"), "no readable"),
    "an input twice": (lambda m: m.graph.input.append(m.graph.input[0]), "no readable"),
    "an initializer twice": (lambda m: m.graph.initializer.append(weight_of(m)), "not unique"),
    "a node twice": (lambda m: m.graph.node.append(m.graph.node[0]), "single static assignment"),
    "an output that is an initializer":
        (appended(op("Relu", "y", "weight")), "single static assignment"),
    "an output that is an input": (appended(op("Relu", "y", "x")), "single static assignment"),
    "a circle": (appended(op("Relu", "b", "a"), op("Relu", "a", "b")), "topologically sorted"),
    "an unknown operator": (appended(op("NoSuch", "y", "z")), "No Op registered"),
    "an unknown domain": (appended(op("Relu", "y", "z", domain="foo")), "No opset import"),
    "no operator": (appended(op("", "y", "z")), "no readable"),
    "no activations": (first(0, ""), "no readable"),
    "no weight": (first(3, ""), "no readable"),
    "a scale that is no constant": (first(4, "x"), "not-quantised: the scale of its weight"),
    "an attribute twice":
        (attribute(name="kernel_shape", type=INTS, ints=[3, 3]), "appeared multiple times"),
    "an attribute that only functions have":
        (attribute(name="strides", type=INTS, ref_attr_name="strides"), "stands in none"),
    "an attribute without type": (attribute(name="strides", ints=[1, 1]), "no readable"),
    "an attribute of other bytes":
        (attribute(name="auto_pad", type=onnx.AttributeProto.STRING, s=b"\xff\xfe"), "unit-limit"),
}  # fmt: skip


@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph(name: str, tmp_path: Path) -> None:
    change, said = GRAPHS[name]
    assert said in said_of(written(tmp_path, changed(change)))


NAMES = ["new\nline", "\x1b[31mred", "x" * 100_000, "\0", "../..", "\u202e", "é", "%s{}", "*", " "]


@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name)[:20])
def test_odd_names(name: str, tmp_path: Path) -> None:
    def rename(model: onnx.ModelProto) -> None:
        weight_of(model).name = model.graph.node[0].input[3] = name
        model.graph.node[0].name = name

    assert said_of(written(tmp_path, changed(rename))) == "sparse"

    def damage(model: onnx.ModelProto) -> None:
        tensor(model, "weight").raw_data = b"1"
        rename(model)

    assert "has 1 bytes and needs 864" in said_of(written(tmp_path, changed(damage)))
    model = changed(lambda m: setattr(m.graph.node[0], "op_type", f"Q{name}"))
    assert "No Op registered for Q" in said_of(written(tmp_path, model))


def nested(depth: int) -> onnx.ModelProto:
    """The good model, and branches in branches."""
    output = [helper.make_tensor_value_info("out", TensorProto.UINT8, [None] * 4)]

    def branch(name: str, nodes: list[Any]) -> Any:
        info = helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.UINT8, [None] * 4)
        return helper.make_graph(nodes, name, [], [info])

    inner = branch("g", [op("Identity", "x", "i")])
    for level in range(depth):
        other = branch("e", [op("Identity", "x", f"e{level}")])
        node = op("If", "cond", f"i{level}", then_branch=inner, else_branch=other)
        inner = branch(f"g{level}", [node])
    model = good()
    model.graph.node.extend(inner.node)
    model.graph.initializer.append(numpy_helper.from_array(np.bool_(True), "cond"))
    del model.graph.output[:]
    model.graph.output.extend(inner.output or output)
    return model


def test_graphs_in_graphs(tmp_path: Path) -> None:
    assert said_of(written(tmp_path, nested(25))) == "sparse"
    # Protobuf takes 100 levels, which are 33 graphs; it cannot write more, so the bytes are made.
    deep = b""
    for _ in range(60):  # ModelProto.graph holds node holds attribute holds g
        for tag in (0x32, 0x2A, 0x0A):
            deep = bytes([tag]) + length(deep) + deep
    model = good()
    model.ClearField("graph")
    data = model.SerializeToString() + b"\x3a" + length(deep) + deep
    assert "no readable ONNX model" in said_of(written(tmp_path, data))


def length(data: bytes) -> bytes:
    """The number of bytes as protobuf writes it."""
    size, out = len(data), bytearray()
    while size > 127:
        out.append(size & 127 | 128)
        size >>= 7
    return bytes([*out, size])


@pytest.mark.timeout(60)
def test_many_nodes_take_no_longer_each(tmp_path: Path) -> None:
    model = good()
    names = ["y", *(f"r{i}" for i in range(50_000))]
    model.graph.node.extend(op("Relu", a, b) for a, b in pairwise(names))
    assert said_of(written(tmp_path, model)) == "sparse"


@pytest.mark.timeout(60)
def test_many_inputs_layers_and_branches_take_no_longer_each(tmp_path: Path) -> None:
    """Each of these is quadratic if a name is looked for in a list."""
    model, count = good(), 3000
    info = model.graph.input[0]
    for i in range(count):
        model.graph.input.add().CopyFrom(info)
        model.graph.input[-1].name = f"x{i}"
        model.graph.node.append(op("ConvInteger", f"x{i},x{count - 1 - i}", f"c{i}"))
        model.graph.node.extend(
            [
                op("DequantizeLinear", f"x{i},y_x_scale", f"dx{i}"),
                op("DequantizeLinear", "weight,y_x_scale", f"dw{i}"),
                op("Conv", f"dx{i},dw{i}", f"f{i}"),
                op("QuantizeLinear", f"f{i},y_y_scale,y_y_zero", f"q{i}"),
            ]
        )
    found = verdicts_of(written(tmp_path, model))
    assert [v.reason for v in found] == [None, *(["dynamic-weight", None] * count)]


# --- shapes ---------------------------------------------------------------------------------------


def sizes(*shape: Any, kind: int = TensorProto.UINT8) -> Callable[[onnx.ModelProto], Any]:
    info = helper.make_tensor_value_info("x", kind, shape)
    return lambda model: model.graph.input[0].CopyFrom(info)


SHAPES: dict[str, tuple[Callable[[onnx.ModelProto], Any], str]] = {
    "unknown": (lambda m: m.graph.input[0].type.tensor_type.ClearField("shape"), "sparse"),
    "of the output too": (lambda m: [
        info.type.tensor_type.ClearField("shape") for info in (m.graph.input[0], m.graph.output[0])
    ], "sparse"),
    "open": (sizes("N", 12, None, None), "sparse"),
    "negative": (sizes(1, 12, -5, 7), "sparse"),
    "no images": (sizes(0, 12, 7, 7), "sparse"),
    "2^62": (sizes(1, 12, 2**62, 7), "unit-limit: h is"),
    "2^40": (sizes(1, 12, 2**40, 7), "unit-limit: an image of"),
    "2^31 images": (sizes(2**31, 12, 7, 7), "sparse"),
    "2^40 images": (sizes(2**40, 12, 7, 7), "sparse"),
    "other channels": (sizes(1, 7, 7, 7), "unit-limit: activations have 7 channels"),
    "two sizes": (sizes(1, 12), "unit-limit: activations have shape (1, 12)"),
    "five sizes": (sizes(1, 12, 7, 7, 7), "unit-limit: activations have shape (1, 12, 7, 7, 7)"),
    "int8": (sizes(1, 12, 7, 7, kind=TensorProto.INT8), "not-int8: its activations and their zero"),
    "float": (sizes(1, 12, 7, 7, kind=TensorProto.FLOAT), "not-int8: its activations are not"),
    "no type": (lambda m: m.graph.input[0].ClearField("type"), "no readable"),
}  # fmt: skip


@pytest.mark.parametrize("name", SHAPES)
def test_the_shape_of_an_input(name: str, tmp_path: Path) -> None:
    change, said = SHAPES[name]
    assert said in said_of(written(tmp_path, changed(change)))


def test_shapes_that_are_given(tmp_path: Path) -> None:
    model = graph.load(written(tmp_path, changed(SHAPES["unknown"][0])))
    shaped = graph.with_shapes(model, {"x": (2, 12, 9, 9)})
    (report,) = graph.check(shaped).verdicts
    assert report.layer is not None
    assert graph.with_shapes(model, {}) is model
    for shapes, said in (
        ({"z": (1,)}, "no input 'z'"), ({"x": (0, 12, 9, 9)}, "below 1"),
    ):  # fmt: skip
        with pytest.raises(ArgumentError, match=said):
            graph.with_shapes(model, shapes)  # type: ignore[arg-type]
    model = graph.load(written(tmp_path, good()))
    with pytest.raises(ArgumentError, match="has 4 dimensions"):
        graph.with_shapes(model, {"x": (1, 12)})


# --- tensors --------------------------------------------------------------------------------------


def dims(*shape: int) -> Callable[[onnx.ModelProto], Any]:
    def change(model: onnx.ModelProto) -> None:
        weight_of(model).dims[:] = shape

    return change


def data(kind: int, **fields: Any) -> Callable[[onnx.ModelProto], Any]:
    """The weight of another type, with its data in another field."""

    def change(model: onnx.ModelProto) -> None:
        weight = weight_of(model)
        if fields:
            weight.ClearField("raw_data")
        weight.MergeFrom(TensorProto(data_type=kind, **fields))

    return change


ONES = [1] * 864
TENSORS: dict[str, tuple[Callable[[onnx.ModelProto], Any], str]] = {
    "2^62 numbers": (dims(2**31, 2**31, 1, 1), "no memory holds so many"),
    "negative": (dims(-8, 12, 3, 3), "a size is negative"),
    "none": (dims(0, 12, 3, 3), "has 864 bytes and needs 0"),
    "one more": (dims(8, 12, 3, 4), "has 864 bytes and needs 1152"),
    "0-d": (dims(), "has 864 bytes and needs 1"),
    "40 dimensions": (dims(864, *[1] * 39), "more than 30 dimensions"),
    "one dimension": (dims(864), "rank"),
    "three": (dims(8, 12, 9), "conv1d"),
    "five": (dims(8, 12, 3, 3, 1), "conv3d"),
    "no data": (lambda m: weight_of(m).ClearField("raw_data"), "no readable"),
    "two kinds of data": (lambda m: weight_of(m).int32_data.append(3), "no readable"),
    "no type": (lambda m: weight_of(m).ClearField("data_type"), "type 0"),
    "type 99": (data(99), "type 99"),
    "type -1": (data(-1), "type -1"),
    "texts as bytes": (data(TensorProto.STRING), "type 8"),
    "texts": (data(TensorProto.STRING, string_data=[b"a"] * 864), "not-quantised"),
    "texts of other bytes": (data(TensorProto.STRING, string_data=[b"\xff"] * 864), "be read"),
    "truths": (data(TensorProto.BOOL, int32_data=ONES), "not-quantised: its weight is bool"),
    "few numbers": (data(TensorProto.INT8, int32_data=ONES[:5]), "re"),
    "floats": (data(TensorProto.FLOAT, float_data=[1.0] * 864), "not-quantised: its weight is"),
    "floats as int8": (data(TensorProto.INT8, float_data=[1.0] * 864), "re"),
    "bfloat16": (data(TensorProto.BFLOAT16, int32_data=ONES), "not-quantised: its weight is"),
    "float8": (data(TensorProto.FLOAT8E4M3FN, int32_data=ONES), "not-quantised: its weight is"),
    "complex": (data(TensorProto.COMPLEX64, float_data=[1.0] * 1728),
                "not-quantised: its weight"),
    "a piece": (lambda m: weight_of(m).segment.MergeFrom(
        TensorProto.Segment(begin=0, end=4)), "cannot be read"),
}  # fmt: skip
for name in ("INT4", "UINT4"):
    if hasattr(TensorProto, name):  # from onnx 1.16 on
        TENSORS[name.lower()] = (
            data(getattr(TensorProto, name), int32_data=[0] * 432),
            "sparse" if name == "INT4" else "not-int8: its weight is uint8",
        )


@pytest.mark.parametrize("name", TENSORS)
def test_a_weight(name: str, tmp_path: Path) -> None:
    change, said = TENSORS[name]
    assert said in said_of(written(tmp_path, changed(change)))


@pytest.mark.parametrize(
    ("indices", "said"),
    [([0, 863], "sparse"), ([[0, 0, 0, 0], [7, 11, 2, 2]], "sparse"), ([0, 864], ""), ([0], "")],
)
def test_a_sparse_weight(indices: Any, said: str, tmp_path: Path) -> None:
    model = good()
    model.graph.node[0].input[3] = "s"
    values = numpy_helper.from_array(np.int8([5, -3]), "s")
    places = numpy_helper.from_array(np.array(indices, np.int64), "places")
    model.graph.sparse_initializer.append(
        helper.make_sparse_tensor(values, places, [8, 12, 3, 3])
    )  # fmt: skip
    path = written(tmp_path, model)
    assert said_of(path) == said or (not said and "no readable" in said_of(path))
    if said:
        (verdict,) = verdicts_of(path)
        weight = verdict.candidate.weight
        assert weight is not None
        assert weight.values.shape == (8, 12, 3, 3)
        assert (weight.values[0, 0, 0, 0], weight.values[7, 11, 2, 2]) == (5, -3)
        assert np.count_nonzero(weight.values) == 2


# --- external data --------------------------------------------------------------------------------

EXTERNAL: dict[str, tuple[dict[str, str], str]] = {
    "all of it": ({}, "sparse"),
    "a piece": ({"offset": "64", "length": "864"}, "sparse"),
    "from a place to the end": ({"offset": "64"}, "has 4096 bytes and needs 864"),
    "no place": ({"location": ""}, "outside of the folder"),
    "the folder": ({"location": "."}, "Is a directory"),
    "another name": ({"location": "other.bin"}, "No such file"),
    "a NUL": ({"location": "a\0b"}, "outside of the folder"),
    "a pipe": ({"location": "pipe"}, "no regular file"),
    "a long name": ({"location": "x" * 5000}, "name too long"),
    "above": ({"location": "../weights.bin"}, "outside of the folder"),
    "absolute": ({"location": "/etc/passwd"}, "outside of the folder"),
    "beyond the end": ({"offset": "99999"}, "bytes from 99999 on"),
    "longer": ({"length": "99999"}, "99999 bytes from 0 on"),
    "less": ({"length": "863"}, "has 863 bytes and needs 864"),
    "a negative offset": ({"offset": "-1"}, "no places in a file"),
    "a negative length": ({"length": "-1"}, "no places in a file"),
    "words": ({"offset": "zero"}, "no places in a file"),
    "a fraction": ({"length": "1.5"}, "no places in a file"),
    "an underscore": ({"length": "8_64"}, "no places in a file"),
    "thousands of digits": ({"offset": "9" * 5000}, "no places in a file"),
    "2^70": ({"offset": str(2**70)}, "bytes from"),
}


@pytest.mark.parametrize("name", EXTERNAL)
def test_external_data(name: str, tmp_path: Path) -> None:
    says, said = EXTERNAL[name]
    weight = weight_of(good()).raw_data
    size = 864 if name in ("all of it", "longer", "less") else 64 + 4096
    content = weight if size == 864 else bytes(64) + weight + bytes(size - 64 - 864)
    inside = tmp_path / "inside"
    inside.mkdir()
    for folder in (tmp_path, inside):
        (folder / "weights.bin").write_bytes(content)
    os.mkfifo(inside / "pipe")

    def change(model: onnx.ModelProto) -> None:
        tensor = weight_of(model)
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in ({"location": "weights.bin"} | says).items():
            tensor.external_data.add(key=key, value=value)

    path = written(inside, changed(change))
    found = said_of(path)
    assert said.lower() in found.lower()
    if said == "sparse":
        (verdict,) = verdicts_of(path)
        assert verdict.candidate.weight is not None
        assert verdict.candidate.weight.stored.tobytes() == weight


def test_a_link_inside_of_the_folder_is_followed(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "1").write_bytes(weight_of(good()).raw_data)
    (tmp_path / "weights.bin").symlink_to("blobs/1")

    def change(model: onnx.ModelProto) -> None:
        onnx.external_data_helper.set_external_data(weight_of(model), "weights.bin")
        weight_of(model).ClearField("raw_data")

    assert said_of(written(tmp_path, changed(change))) == "sparse"


def test_scalars_and_rows_of_one(tmp_path: Path) -> None:
    assert said_of(written(tmp_path, with_array("y_x_scale", np.float32([0.5])))) == "sparse"
