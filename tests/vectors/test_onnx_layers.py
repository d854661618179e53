"""Layers of ONNX models: the rules repeated in plain Python.

The models are built here with onnx.helper. What a weight must become is computed one number at a
time, and pruned by the oracle of the format; results are sums of products in plain Python.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import oracle
import pytest
from onnx import TensorProto, helper, numpy_helper
from plain_sums import digits, made, sums_of

from cube24.encoder import ArgumentError, FileAccessError, FileFormatError
from cube24.errors import MissingExtraError
from cube24.simulator import UnitConfig
from cube24.vectors import manifest, onnx_layers, verification
from cube24.vectors.onnx_layers import OnnxLayer, from_onnx

RNG = np.random.default_rng(24)


def model_of(nodes: list[Any], constants: Mapping[str, np.ndarray], **options: Any) -> Any:
    """A model whose graph has these nodes; what nobody makes is an input."""
    known = {name for node in nodes for name in node.output} | constants.keys()
    free = dict.fromkeys(n for node in nodes for n in node.input if n and n not in known)
    graph = helper.make_graph(
        nodes, "graph",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, []) for name in free],
        [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, [])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )  # fmt: skip
    opsets = [
        helper.make_opsetid(domain, version)
        for domain, version in (("", 15), ("my.domain", 1), ("com.microsoft", 1))
    ]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8, **options)


def layers_of(
    tmp_path: Path, nodes: list[Any], constants: Any = None, **how: Any
) -> list[OnnxLayer]:
    path = tmp_path / "model.onnx"
    path.write_bytes(model_of(nodes, constants or {}).SerializeToString())
    return list(from_onnx(path, **how))


def only(layers: list[OnnxLayer]) -> OnnxLayer:
    (layer,) = layers
    return layer


def weights_of(layer: OnnxLayer) -> np.ndarray:
    return np.concatenate([made(item).pieces["weights"].array for item in layer.items])


def quantised(weight: np.ndarray) -> np.ndarray:
    most = max(abs(float(w)) for w in weight.ravel())
    values = [round(float(w) / most * 127) for w in weight.ravel()]  # rounds half to even
    return np.array(values, np.int8).reshape(weight.shape)


def pruned(weight: np.ndarray) -> np.ndarray:
    """To 2:4 by magnitude, group by group: along K, or along Cin."""
    if weight.ndim == 2:
        return oracle.keep_all(weight, "magnitude")
    cout, cin, kh, kw = weight.shape
    rows = weight.transpose(0, 2, 3, 1).reshape(-1, cin)
    kept = oracle.keep_all(rows, "magnitude").reshape(cout, kh, kw, cin)
    return kept.transpose(0, 3, 1, 2)


def floats(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_float_convolution(tmp_path: Path, dtype: Any) -> None:
    weight, bias = floats(5, 6, 3, 2).astype(dtype), floats(5).astype(dtype)
    node = helper.make_node(
        "Conv", ["x", "w", "b"], ["y"], strides=[2, 1], pads=[1, 0, 2, 1], dilations=[1, 2]
    )
    layer = only(layers_of(tmp_path, [node], {"w": weight, "b": bias}, size=3))
    assert (layer.name, layer.op, layer.reason) == ("onnx-0000-conv", "Conv", "")
    assert layer.shape == (5, 6, 3, 2)
    case = made(*layer.items)
    assert np.array_equal(case.pieces["weights"].array, pruned(quantised(weight)))
    scale = max(abs(float(w)) for w in weight.ravel()) / 127
    assert layer.scale == pytest.approx(scale)
    wanted = [round(float(b) / scale * 127) for b in bias]
    assert case.pieces["bias"].array.tolist() == wanted
    size = case.spec["sizes"]
    assert (size["strides"], size["dilations"], size["pads"]) == ([2, 1], [1, 2], [1, 0, 2, 1])
    assert case.pieces["expected"].array.shape == (1, 3, 3, 5)
    assert np.array_equal(case.pieces["expected"].array, sums_of(case))
    cut = int((quantised(weight) != 0).sum() - (pruned(quantised(weight)) != 0).sum())
    assert layer.cost is not None
    assert layer.cost.weights == cut


@pytest.mark.parametrize(
    ("how", "pads"),
    [("SAME_UPPER", (1, 0, 2, 1)), ("SAME_LOWER", (2, 1, 1, 0)), ("VALID", (0, 0, 0, 0))],
)
def test_auto_pad_gives_as_many_positions_as_asked_for(
    tmp_path: Path, how: str, pads: tuple[int, ...]
) -> None:
    node = helper.make_node("Conv", ["x", "w"], ["y"], strides=[2, 1], auto_pad=how)
    layer = only(layers_of(tmp_path, [node], {"w": floats(2, 4, 5, 2)}, size=3))
    case = made(*layer.items)
    assert tuple(case.spec["sizes"]["pads"]) == pads  # by the formula of the ONNX operator
    assert case.pieces["expected"].array.shape == (1, 3, 3, 2)


def test_padding_that_is_more_than_the_image_needs(tmp_path: Path) -> None:
    node = helper.make_node("Conv", ["x", "w"], ["y"], pads=[9, 9, 9, 9])
    case = made(*only(layers_of(tmp_path, [node], {"w": floats(2, 4, 1, 1)})).items)
    assert (case.spec["sizes"]["h"], case.spec["sizes"]["w"]) == (1, 1)
    assert np.array_equal(case.pieces["expected"].array, sums_of(case))


def test_matrices_in_all_their_forms(tmp_path: Path) -> None:
    w, row = floats(20, 7), floats(7)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Relu", ["a"], ["r"]),
        helper.make_node("Gemm", ["r", "t", "c"], ["b"], transB=1),
        helper.make_node("Gemm", ["b", "g"], ["c2"]),
        helper.make_node("MatMul", ["c2", "v"], ["d"]),
        helper.make_node("MatMul", ["d", "batched"], ["e"]),
        helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(w)),
        helper.make_node("Transpose", ["k"], ["kt"], perm=[1, 0]),
        helper.make_node("Identity", ["kt"], ["ki"]),
        helper.make_node("MatMul", ["e", "ki"], ["f"]),
    ]
    constants = {
        "w": w, "t": w, "c": np.float32([[0.5]]), "g": w, "v": row, "batched": w[None, None],
    }  # fmt: skip
    layers = layers_of(tmp_path, nodes, constants, size=2, prefix="net")
    assert [layer.name for layer in layers] == [
        "net-0000-matmul", "net-0002-gemm", "net-0003-gemm", "net-0004-matmul", "net-0005-matmul",
        "net-0009-matmul",
    ]  # fmt: skip
    for layer, wanted in zip(layers, [w.T, w, w.T, row[None], w.T, w], strict=True):
        case = made(*layer.items)
        assert np.array_equal(case.pieces["weights"].array, pruned(quantised(wanted)))
        assert case.pieces["activations"].array.shape[0] == 4
        assert np.array_equal(case.pieces["expected"].array, sums_of(case))
    biased = made(*layers[1].items).pieces["bias"].array
    most = float(np.abs(w).max())
    assert biased.tolist() == [round(0.5 / (most / 127) * 127)] * 20


def test_integers_stay_as_they_are_less_their_zero_point(tmp_path: Path) -> None:
    weight = pruned(RNG.integers(-128, 128, (3, 8, 2, 2)).astype(np.int8))
    matrix = pruned(RNG.integers(-120, 100, (6, 12)).astype(np.int8))
    zeros = np.int8([5, -3, 0, 7, 2, 1])
    shifted = (weight.astype(int) + 128).astype(np.uint8)
    one, nil = np.float32(1), np.uint8(0)
    constants = {
        "w": weight, "wu": shifted, "m": matrix.T.copy(), "one": one, "u0": nil,
        "u128": np.uint8(128), "i0": np.int8(0), "zs": zeros,
        "mz": (matrix.T + zeros).astype(np.int8), "bias": np.int32([1, -2, 2**31 - 1]),
    }  # fmt: skip
    nodes = [
        helper.make_node(
            "QLinearConv", ["x", "one", "u0", "w", "one", "i0", "one", "u0", "bias"], ["a"]
        ),
        helper.make_node("ConvInteger", ["x2", "wu", "", "u128"], ["b"]),
        helper.make_node("MatMulInteger", ["x3", "m"], ["c"]),
        helper.make_node("MatMulInteger", ["x4", "mz", "", "zs"], ["d"]),
        helper.make_node(
            "QLinearMatMul", ["x5", "one", "u0", "m", "one", "i0", "one", "u0"], ["e"]
        ),
        helper.make_node("DequantizeLinear", ["mz", "scales", "zs"], ["f"], axis=1),
        helper.make_node("MatMul", ["x6", "f"], ["g"]),
        helper.make_node("DequantizeLinear", ["bias", "one"], ["h"]),
        helper.make_node("DequantizeLinear", ["w", "one"], ["i"]),
        helper.make_node("Conv", ["x7", "i", "h"], ["j"]),
    ]
    constants["scales"] = np.float32([1, 2, 3, 4, 5, 6])
    layers = layers_of(tmp_path, nodes, constants)
    assert [layer.reason for layer in layers] == [""] * 7
    for layer, wanted in zip(
        layers, [weight, weight, matrix, matrix, matrix, matrix, weight], strict=True
    ):
        assert np.array_equal(weights_of(layer), wanted), layer.name
        assert layer.scale is None
        assert layer.cost is not None
        assert layer.cost.weights == 0
    for layer in (layers[0], layers[-1]):
        assert made(*layer.items).pieces["bias"].array.tolist() == [1, -2, 2**31 - 1]


def test_what_is_not_taken_is_listed_with_its_reason(tmp_path: Path) -> None:
    branch = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["branch"])], "branch", [],
        [helper.make_tensor_value_info("branch", TensorProto.FLOAT, [])],
    )  # fmt: skip
    c, m = floats(4, 4, 1, 1), floats(4, 4)
    rows: list[tuple[Any, dict[str, Any], str]] = [
        (helper.make_node("Conv", ["x", "w"], ["y"]), {}, "its weights are no constant"),
        (helper.make_node("Conv", ["x", "c", "b"], ["y"]), {"c": c}, "its bias is no constant"),
        (helper.make_node("Conv", ["x", "c"], ["y"], group=2), {"c": c[:, :2]}, "in 2 groups"),
        (helper.make_node("Conv", ["x", "c"], ["y"]), {"c": c[..., 0]}, "in 1 dimensions"),
        (helper.make_node("Conv", ["x", "c"], ["y"]), {"c": c[..., None]}, "in 3 dimensions"),
        (helper.make_node("Conv", ["x", "c"], ["y"], strides=[64, 1]), {"c": c}, "unit cannot run"),
        (helper.make_node("Conv", ["x", "c"], ["y"], pads=[0, 300, 0, 0]), {"c": c}, "cannot run"),
        (helper.make_node("Conv", ["x", "c"], ["y"], strides=[1]), {"c": c}, "two dimensions"),
        (helper.make_node("Gemm", ["x", "m"], ["y"], alpha=0.5), {"m": m}, "alpha and beta"),
        (helper.make_node("Gemm", ["x", "m", "b"], ["y"]), {"m": m, "b": m}, "bias has shape"),
        (helper.make_node("MatMul", ["x", "m"], ["y"]), {"m": floats(2, 4, 4)}, "no single matrix"),
        (helper.make_node("MatMul", ["m", "x"], ["y"]), {"m": m}, "its weights are no constant"),
        (helper.make_node("MatMul", ["x", "m"], ["y"]), {"m": m * np.float32("nan")}, "not finite"),
        (helper.make_node("MatMul", ["x", "m"], ["y"]), {"m": m[:0]}, "weights are empty"),
        (helper.make_node("MatMulInteger", ["x", "m", "", "z"], ["y"]),
         {"m": np.uint8([[0, 255]]), "z": np.uint8(0)}, "do not fit int8"),
        (helper.make_node("MatMulInteger", ["x", "m", "", "z"], ["y"]),
         {"m": np.uint8([[0, 255]])}, "zero point of its weights is no constant"),
        (helper.make_node("ConvTranspose", ["x", "c"], ["y"]), {"c": c}, "convolutions and matrix"),
        (helper.make_node("LSTM", ["x", "a", "b"], ["y"], hidden_size=1),
         {"a": floats(1, 4, 2), "b": floats(1, 4, 1)}, "convolutions and matrix"),
        (helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch), {},
         "layers inside of it are not looked at"),
        (helper.make_node("Dense", ["x", "m"], ["y"], domain="my.domain"), {"m": m},
         "another domain"),
    ]  # fmt: skip
    for node, constants, reason in rows:
        layer = only(layers_of(tmp_path, [node], constants))
        assert reason in layer.reason, (node.op_type, layer.reason)
        assert layer.items == ()
        assert layer.op.split(".")[-1] == node.op_type
    nothing = [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Add", ["a", "b"], ["y"])]
    assert layers_of(tmp_path, nothing) == []


def test_one_layer_that_is_not_taken_keeps_no_other_back(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], name="first"),
        helper.make_node("MatMul", ["a", "m"], ["b"], name="second one"),
    ]
    one, two = layers_of(tmp_path, nodes, {"m": floats(4, 4)})
    assert (one.node, bool(one.reason), len(one.items)) == ("first", True, 0)
    assert (two.node, two.reason, len(two.items)) == ("second one", "", 1)


def test_zero_and_tiny_weights(tmp_path: Path) -> None:
    node = helper.make_node("MatMul", ["x", "m"], ["y"])
    layer = only(layers_of(tmp_path, [node], {"m": np.zeros((4, 2), np.float32)}))
    assert not weights_of(layer).any()
    tiny = np.float64([[5e-324, -5e-324], [0, 0], [0, 0], [0, 0]])
    layer = only(layers_of(tmp_path, [node], {"m": tiny}))
    assert weights_of(layer).tolist() == [[127, 0, 0, 0], [-127, 0, 0, 0]]


def test_a_bias_that_int32_does_not_hold_is_cut(tmp_path: Path) -> None:
    weight = np.float32([[1e-9], [0], [0], [0]])
    for value, wanted in ((1e9, 2**31 - 1), (-1e9, -(2**31))):
        node = helper.make_node("Gemm", ["x", "m", "b"], ["y"])
        constants = {"m": weight, "b": np.float32([value])}
        case = made(*only(layers_of(tmp_path, [node], constants)).items)
        assert case.pieces["bias"].array.tolist() == [wanted]


def test_an_input_with_a_default_is_no_constant(tmp_path: Path) -> None:
    node = helper.make_node("MatMul", ["x", "m"], ["y"])
    model = model_of([node], {"m": floats(4, 4)})
    model.graph.input.append(helper.make_tensor_value_info("m", TensorProto.FLOAT, [4, 4]))
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    assert only(list(from_onnx(path))).reason == "its weights are no constant"
    model.ir_version = 3  # every initializer was an input
    path.write_bytes(model.SerializeToString())
    assert only(list(from_onnx(path))).reason == ""


def test_a_large_layer_is_several_cases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_layers, "LIMIT", 20 * 40)
    weight, bias = floats(20, 50), floats(50)
    node = helper.make_node("Gemm", ["x", "m", "b"], ["y"])
    layer = only(layers_of(tmp_path, [node], {"m": weight, "b": bias}))
    assert [item.name for item in layer.items] == ["onnx-0000-gemm-n00000", "onnx-0000-gemm-n00032"]
    cases = [made(item) for item in layer.items]
    assert [len(case.pieces["weights"].array) for case in cases] == [32, 18]
    assert np.array_equal(weights_of(layer), pruned(quantised(weight.T)))
    scale = float(np.abs(weight).max()) / 127
    joined = [b for case in cases for b in case.pieces["bias"].array.tolist()]
    assert joined == [round(float(b) / scale * 127) for b in bias]


def test_the_digits_network_as_a_quantised_model(tmp_path: Path) -> None:
    """A real model: nothing is changed, since its layers are 2:4 and int8 already."""
    data = digits()
    constants = {name: data[name] for name in data if name.split(".")[0] in ("conv1", "conv2")}
    constants |= {"one": np.float32(1), "zero": np.int8(0), "fc": data["fc.weight"].T.copy()}
    rest = ["one", "zero"]
    nodes = [
        helper.make_node("QLinearConv", ["x", *rest, "conv1.weight", *rest, *rest, "conv1.bias"],
                         ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("QLinearConv", ["a", *rest, "conv2.weight", *rest, *rest, "conv2.bias"],
                         ["b"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Flatten", ["b"], ["c"]),
        helper.make_node("MatMulInteger", ["c", "fc"], ["d"]),
    ]  # fmt: skip
    layers = layers_of(tmp_path, nodes, constants)
    for layer, name in zip(layers, ("conv1", "conv2", "fc"), strict=True):
        case = made(*layer.items)
        assert np.array_equal(case.pieces["weights"].array, data[f"{name}.weight"])
        assert np.array_equal(case.pieces["expected"].array, sums_of(case))
        assert layer.cost is not None
        assert layer.cost.weights == 0


def test_a_case_is_verified_from_its_folder_without_the_model_and_onnx(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("MatMul", ["a", "m"], ["b"]),
    ]
    constants = {"w": floats(3, 5, 2, 2), "m": floats(9, 4)}
    cases = [made(*layer.items) for layer in layers_of(tmp_path, nodes, constants)]
    for case in cases:
        manifest.write(case, tmp_path / "cases" / case.name)
    (tmp_path / "model.onnx").unlink()
    program = (
        "import sys\n"
        "sys.modules['onnx'] = None\n"
        "from cube24.vectors import fill, manifest, verification\n"
        "for folder in manifest.folders(sys.argv[1]):\n"
        "    print(verification.verify(folder).name)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "cases")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["network/onnx-0000-conv", "network/onnx-0001-matmul"]
    # And a changed number of the spec is noticed.
    path = tmp_path / "cases" / cases[1].name / "manifest.json"
    text = path.read_text()
    rule = json.loads(text)["spec"]["fill"]["weights"]["base64"]
    other = bytearray(base64.b64decode(rule))
    other[other.index(max(other))] ^= 1
    path.write_text(text.replace(rule, base64.b64encode(other).decode()))
    with pytest.raises(FileFormatError, match="SHA-256"):
        verification.verify(path.parent)


def test_the_same_model_gives_the_same_cases_wherever_it_stands(tmp_path: Path) -> None:
    node = helper.make_node("MatMul", ["x", "m"], ["y"])
    constants = {"m": floats(12, 4)}
    (tmp_path / "other").mkdir()
    one, two = (
        only(layers_of(folder, [node], constants)) for folder in (tmp_path, tmp_path / "other")
    )
    assert one.items == two.items


def test_weights_in_an_external_file(tmp_path: Path) -> None:
    weight = floats(64, 32)
    model = model_of([helper.make_node("MatMul", ["x", "m"], ["y"])], {"m": weight})
    path = tmp_path / "model.onnx"
    onnx.save_model(
        model, str(path), save_as_external_data=True, location="model.data", size_threshold=0
    )
    assert np.array_equal(weights_of(only(list(from_onnx(path)))), pruned(quantised(weight.T)))
    (tmp_path / "model.data").unlink()
    with pytest.raises(FileFormatError, match=r"model\.onnx: no readable ONNX model"):
        from_onnx(path)


def test_files_that_are_no_model(tmp_path: Path) -> None:
    with pytest.raises(FileAccessError, match="No such file"):
        from_onnx(tmp_path / "nothing.onnx")
    path = tmp_path / "model.onnx"
    good = model_of([helper.make_node("MatMul", ["x", "m"], ["y"])], {"m": floats(4, 4)})
    for data in (b"", b"\xff" * 50, b"text, not a model", good.SerializeToString()[:60]):
        path.write_bytes(data)
        with pytest.raises(FileFormatError, match=r"model\.onnx: no readable ONNX model"):
            from_onnx(path)


def test_a_missing_extra_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'cube24\[onnx\]'"):
        from_onnx(tmp_path / "model.onnx")


@pytest.mark.parametrize("how", [{"size": 0}, {"prefix": ""}, {"prefix": "a/b"}, {"prefix": "-a"}])
def test_options_that_cannot_be(tmp_path: Path, how: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match="size"):
        from_onnx(tmp_path / "model.onnx", **how)


def test_another_unit_runs_the_layers(tmp_path: Path) -> None:
    node = helper.make_node("MatMul", ["x", "m"], ["y"])
    layer = only(layers_of(tmp_path, [node], {"m": floats(8, 4)}, unit="dav-3510"))
    if layer.items:
        assert isinstance(made(*layer.items).unit, UnitConfig)
        assert made(*layer.items).unit.name == "dav-3510"
    else:
        assert "unit cannot run it" in layer.reason


# --- constants behind operators -----------------------------------------------------------------

#: A weight of a 1x1 convolution, so that it is one of a matrix too; whole multiples of 1/64.
BASE = np.round(RNG.normal(size=(8, 12, 1, 1)) * 64).astype(np.float32) / 64
INTEGERS = RNG.integers(-90, 90, (8, 12, 1, 1)).astype(np.int8)
POINTS = np.arange(-4, 4, dtype=np.int8)  # a zero point a column
SCALES = np.full(8, 0.5, np.float32)


def op(kind: str, inputs: str, output: str = "w", **attributes: Any) -> Any:
    domain = "com.microsoft" if attributes.pop("microsoft", False) else ""
    return helper.make_node(kind, inputs.split(","), output.split(","), domain=domain, **attributes)


def constant(output: str, **attributes: Any) -> Any:
    return helper.make_node("Constant", [], [output], **attributes)


def int64(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


#: Nodes that make ``w``, their constants, and what it is.
BEHIND: dict[str, tuple[list[Any], dict[str, np.ndarray], np.ndarray]] = {
    "an initializer": ([], {"w": BASE}, BASE),
    "Constant": ([constant("w", value=numpy_helper.from_array(BASE))], {}, BASE),
    "Constant of floats": (
        [constant("f", value_floats=BASE.ravel().tolist()),
         constant("s", value_ints=[8, 12, 1, 1]), op("Reshape", "f,s")], {}, BASE,
    ),
    "Constant of a float": (
        [constant("f", value_float=0.25), constant("s", value_ints=[8, 12, 1, 1]),
         op("Expand", "f,s")], {}, np.full((8, 12, 1, 1), 0.25, np.float32),
    ),
    "Cast": ([op("Cast", "f", to=TensorProto.FLOAT)], {"f": BASE.astype(np.float16)}, BASE),
    "Cast of integers": (
        [op("Cast", "f", to=TensorProto.FLOAT)], {"f": INTEGERS}, INTEGERS.astype(np.float32),
    ),
    "CastLike": ([op("CastLike", "f,l")], {"f": BASE.astype(np.float64), "l": SCALES}, BASE),
    "Reshape": ([op("Reshape", "f,s")], {"f": BASE.ravel(), "s": int64(8, 12, 1, 1)}, BASE),
    "Transpose": (
        [op("Transpose", "f", perm=[1, 0, 2, 3])], {"f": BASE.transpose(1, 0, 2, 3).copy()}, BASE,
    ),
    "Squeeze": ([op("Squeeze", "f,a")], {"f": BASE[None], "a": int64(0)}, BASE),
    "Unsqueeze": ([op("Unsqueeze", "f,a")], {"f": BASE[:, :, 0, 0], "a": int64(2, 3)}, BASE),
    "Flatten and Reshape": (
        [op("Flatten", "f", "g", axis=1), op("Reshape", "g,s")],
        {"f": BASE, "s": int64(8, 12, 1, 1)}, BASE,
    ),
    "Concat": ([op("Concat", "f,g", axis=0)], {"f": BASE[:3], "g": BASE[3:]}, BASE),
    "Split": (
        [op("Split", "f,s", "other,w", axis=0)],
        {"f": np.concatenate([BASE[:4], BASE]), "s": int64(4, 8)}, BASE,
    ),
    "Slice": (
        [op("Slice", "f,first,last,along")],
        {"f": np.concatenate([BASE[:2], BASE]), "first": int64(2), "last": int64(10),
         "along": int64(0)}, BASE,
    ),
    "Gather": ([op("Gather", "f,i", axis=0)], {"f": BASE[::-1].copy(), "i": np.arange(7, -1, -1)},
               BASE),
    "Tile": ([op("Tile", "f,r")], {"f": BASE[:4], "r": int64(2, 1, 1, 1)},
             np.concatenate([BASE[:4], BASE[:4]])),
    "Pad": ([op("Pad", "f,p")], {"f": BASE[:, 1:], "p": int64(0, 1, 0, 0, 0, 0, 0, 0)},
            np.concatenate([np.zeros((8, 1, 1, 1), np.float32), BASE[:, 1:]], axis=1)),
    "Mul, a scale folded": ([op("Mul", "f,two")], {"f": BASE, "two": np.float32(2)}, BASE * 2),
    "Sub, Div and Add": (
        [op("Sub", "f,two", "a"), op("Div", "a,two", "b"), op("Add", "b,two")],
        {"f": BASE, "two": np.float32(2)}, (BASE - 2) / 2 + 2,
    ),
    "the norm of a weight": (
        [op("ReduceSumSquare", "f", "a", axes=[1, 2, 3]), op("Sqrt", "a", "b"),
         op("Div", "f,b", "c"), op("Mul", "c,b")], {"f": np.sign(BASE) * 3 + (BASE == 0) * 3},
        np.sign(BASE) * 3 + (BASE == 0) * 3,
    ),
    "Where": ([op("Where", "m,f,nil")], {"m": BASE > 0, "f": BASE, "nil": np.float32(0)},
              np.where(BASE > 0, BASE, 0)),
    "ConstantOfShape": (
        [op("ConstantOfShape", "s", value=numpy_helper.from_array(np.float32([3])))],
        {"s": int64(8, 12, 1, 1)}, np.full((8, 12, 1, 1), 3, np.float32),
    ),
    "Shape of another one": (
        [op("Shape", "g", "s"), op("Reshape", "f,s")], {"f": BASE.ravel(), "g": BASE}, BASE,
    ),
    "quantise and dequantise": (
        [op("QuantizeLinear", "f,s,z", "q", axis=0), op("DequantizeLinear", "q,s,z", axis=0)],
        {"f": INTEGERS * np.float32(0.5), "s": SCALES, "z": POINTS * 0}, INTEGERS,
    ),
    "quantise, then an integer": (
        [op("QuantizeLinear", "f,s,z", "q"), op("DequantizeLinear", "q,s,z")],
        {"f": (INTEGERS.astype(np.float32) - 5) * 2, "s": np.float32(2), "z": np.uint8(128)},
        INTEGERS.astype(int) - 5,
    ),
    "dequantise, a zero point a column": (
        [op("DequantizeLinear", "q,s,z", axis=0)], {"q": INTEGERS, "s": SCALES, "z": POINTS},
        INTEGERS - POINTS.astype(int).reshape(8, 1, 1, 1),
    ),
    "dequantise of onnxruntime's": (
        [op("DequantizeLinear", "q,s,z", microsoft=True)],
        {"q": INTEGERS, "s": np.float32(2), "z": np.int8(3)}, INTEGERS - 3,
    ),
    "dequantise, cast, transpose and reshape": (
        [op("DequantizeLinear", "q,s,z", "a", axis=1), op("Cast", "a", "b", to=TensorProto.FLOAT),
         op("Transpose", "b", "c", perm=[1, 0]), op("Reshape", "c,sh")],
        {"q": INTEGERS[:, :, 0, 0].T.copy(), "s": SCALES, "z": POINTS, "sh": int64(8, 12, 1, 1)},
        INTEGERS - POINTS.astype(int).reshape(8, 1, 1, 1),
    ),
    "dequantise and scale": (
        [op("DequantizeLinear", "q,s", "a"), op("Mul", "a,two")],
        {"q": INTEGERS, "s": np.float32(0.5), "two": np.float32(2)}, INTEGERS.astype(np.float32),
    ),
}  # fmt: skip


@pytest.mark.parametrize("how", BEHIND)
def test_constants_in_all_their_forms(tmp_path: Path, how: str) -> None:
    nodes, constants, wanted = BEHIND[how]
    layer = layers_of(tmp_path, [*nodes, op("Conv", "x,w", "y")], constants)[-1]
    assert layer.reason == ""
    whole = quantised(wanted) if wanted.dtype.kind == "f" else wanted.astype(np.int8)
    assert np.array_equal(weights_of(layer), pruned(whole))
    assert (layer.scale is None) == (wanted.dtype.kind != "f")


@pytest.mark.parametrize("how", BEHIND)
def test_a_bias_in_all_its_forms(tmp_path: Path, how: str) -> None:
    nodes, constants, wanted = BEHIND[how]
    wanted = wanted.ravel().astype(float)
    weight = np.full((96, 12, 1, 1), 127, np.float32)  # of scale 1
    nodes = [*nodes, op("Reshape", "w,flat", "bias"), op("Conv", "x,v,bias", "y")]
    layer = layers_of(tmp_path, nodes, constants | {"flat": int64(-1), "v": weight})[-1]
    assert layer.reason == ""
    floats = BEHIND[how][2].dtype.kind == "f"
    want = [round(float(one) * 127) if floats else int(one) for one in wanted]
    assert made(*layer.items).pieces["bias"].array.tolist() == want


def test_weights_in_blocks_are_the_floats_that_they_stand_for(tmp_path: Path) -> None:
    q = RNG.integers(-7, 8, (8, 6)).astype(np.int8)
    scales = np.float32([[1] * 6, [3] * 6])
    nodes = [
        op("DequantizeLinear", "q,s", axis=0, block_size=4), op("MatMul", "x,w", "y"),
    ]  # fmt: skip
    model = model_of(nodes, {"q": q, "s": scales})
    model.opset_import[0].version = 21
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    if onnx.defs.onnx_opset_version() < 21:
        with pytest.raises(FileFormatError, match="opset 21"):
            from_onnx(path)
        return
    layer = only(list(from_onnx(path)))
    wanted = (q * np.repeat(scales, 4, axis=0)).T.astype(np.float32)
    assert np.array_equal(weights_of(layer), pruned(quantised(wanted)))


def test_a_gemm_of_onnxruntime(tmp_path: Path) -> None:
    matrix = pruned(INTEGERS[:, :, 0, 0])
    stored = (matrix + POINTS.reshape(8, 1)).astype(np.int8)
    constants = {
        "w": stored, "z": POINTS, "one": np.float32(1), "s": SCALES, "nil": np.int8(0),
        "b": np.arange(8, dtype=np.int32),
    }  # fmt: skip
    node = op("QGemm", "x,one,nil,w,s,z,b,one,nil", "y", microsoft=True, transB=1)
    layer = only(layers_of(tmp_path, [node], constants))
    assert (layer.op, layer.name) == ("com.microsoft.QGemm", "onnx-0000-qgemm")
    assert np.array_equal(weights_of(layer), matrix)
    assert made(*layer.items).pieces["bias"].array.tolist() == list(range(8))


def test_what_stands_for_no_weight(tmp_path: Path) -> None:
    one, nil, small = np.float32(1), np.int8(0), np.int8([1, 2, 3])
    texts = np.array([["a", "b"]], object)
    rows: list[tuple[list[Any], dict[str, Any], str]] = [
        ([op("MatMul", "x,w", "y")], {"w": texts}, "object, which is no type of weights"),
        ([op("MatMul", "x,w", "y")], {"w": np.complex64([[1]])}, "complex64, which is no type"),
        ([op("Gemm", "x,m,b", "y")], {"m": floats(4, 2), "b": texts}, "which is no type of a bias"),
        ([op("ConvInteger", "x,w,,z", "y")], {"w": INTEGERS, "z": small}, "3 zero points along"),
        ([op("QLinearConv", "x,one,nil,w,one,z,one,nil", "y")],
         {"w": INTEGERS, "z": small, "one": one, "nil": nil}, "3 zero points along axis 0"),
        ([op("Conv", "x,w", "y", kernel_shape=[3, 3])], {"w": BASE}, "kernel_shape is (3, 3)"),
        ([op("Conv", "x,w", "y", auto_pad="SAME")], {"w": BASE}, "auto_pad 'SAME' is none"),
        ([op("Conv", "x,w", "y", strides=[0, 1])], {"w": BASE}, "strides are (0, 1)"),
        ([op("Conv", "x,w", "y", dilations=[1, -1])], {"w": BASE}, "dilations (1, -1)"),
        ([op("RandomNormalLike", "f"), op("Conv", "x,w", "y")], {"f": BASE}, "are no constant"),
        ([op("Mul", "x,f"), op("Conv", "x,w", "y")], {"f": BASE}, "are no constant"),
    ]  # fmt: skip
    for nodes, constants, reason in rows:
        layer = layers_of(tmp_path, nodes, constants)[-1]
        assert reason in layer.reason, layer
        assert layer.items == ()


# --- layers of which little is left ---------------------------------------------------------------


def outlier(*shape: int) -> np.ndarray:
    weight = np.abs(floats(*shape)) + np.float32(0.5)
    weight.flat[0] = 1e6
    return weight


def test_a_layer_that_lost_most_of_its_weights_says_so(tmp_path: Path) -> None:
    weight = outlier(16, 32, 3, 3)
    layer = only(layers_of(tmp_path, [op("Conv", "x,w", "y")], {"w": weight}))
    assert np.count_nonzero(weights_of(layer)) == 1  # one maximum for the whole tensor, as told
    assert layer.note == (
        "only 1 of 4608 weights is not zero: 4608 in the model, 1 as int8 with one scale for the "
        "tensor; 15 of 16 columns became zero"
    )
    loud = np.abs(floats(16, 32)) + np.float32(0.5)
    loud[3:] *= np.float32(1e-6)  # three channels take the scale
    mild = np.abs(floats(16, 32)) + np.float32(0.5)
    mild[5] *= np.float32(1e-6)  # which the sum does not show
    thin = np.zeros((16, 32), np.float32)
    thin[::2, ::8] = 1
    rows: list[tuple[np.ndarray, str]] = [
        (loud, "only 48 of 512 weights are not zero: 512 in the model, 96 as int8 with one scale "
               "for the tensor; 13 of 16 columns became zero"),
        (mild, "1 of 16 columns became zero"),
        (thin, "only 32 of 512 weights are not zero: 32 in the model"),
        (thin * 0, "only 0 of 512 weights are not zero: 0 in the model"),
        (thin.astype(np.int8), "only 32 of 512 weights are not zero: 32 in the model"),
        (floats(16, 32), ""),
        (np.tile(np.float32([1, 0, 0, 2]), (16, 8)), ""),
        (np.tile(np.float32([1, 0, 0, 0]), (16, 8)), ""),  # half of what 2:4 holds
    ]  # fmt: skip
    for matrix, note in rows:
        kind = "MatMulInteger" if matrix.dtype == np.int8 else "MatMul"
        layer = only(layers_of(tmp_path, [op(kind, "x,w", "y")], {"w": matrix.T.copy()}))
        assert (layer.reason, layer.note) == ("", note)


def test_a_bias_that_lost_most_of_its_numbers_says_so(tmp_path: Path) -> None:
    weight = np.full((8, 4), 127, np.float32)  # of scale 1: a bias of 1 is 127
    for bias, note in (
        ([1, 2, 3, 4], ""),
        ([0, 0, 0, 0], ""),
        ([1e-3, 1e-3, 1, 1], ""),
        ([1e-3, 1e-3, 1e-3, 1], "3 of 4 numbers of the bias became zero"),
        ([1, 1e9, -1e9, 1], "2 of 4 numbers of the bias did not fit int32"),
    ):
        layer = only(
            layers_of(tmp_path, [op("Gemm", "x,w,b", "y")], {"w": weight, "b": np.float32(bias)})
        )
        assert layer.note == note
