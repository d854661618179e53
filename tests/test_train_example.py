"""examples/train: the mask, the ONNX files that it writes, and those that are committed.

What needs PyTorch is not run here. The int8 files are computed once more with integers in NumPy, by
the arithmetic of the operators: sums are exact, scales are float32, halves go to the even number.
"""

import re
import runpy
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx.reference import ReferenceEvaluator

from cube24 import encoder

FOLDER = Path(__file__).parent.parent / "examples" / "train"
export = SimpleNamespace(**runpy.run_path(str(FOLDER / "export.py")))
TEXT = (FOLDER / "README.md").read_text("utf-8")
FLOAT, INT8 = (onnx.load(FOLDER / f"digits-{name}.onnx") for name in ("float", "int8"))
SPARSE = ("conv2", "fc1", "fc2")
# Older evaluators of onnx know one scale for a whole QLinearConv, not one for each output channel.
PER_CHANNEL = tuple(int(part) for part in onnx.__version__.split(".")[:2]) >= (1, 22)


def images() -> tuple[np.ndarray, np.ndarray]:
    with np.load(FOLDER / "digits.npz") as members:
        return members["image"], members["label"]


def initialisers(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {one.name: onnx.numpy_helper.to_array(one) for one in model.graph.initializer}


def in_onnxruntime(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"image": x})[0]


def by_readers(model: onnx.ModelProto, x: np.ndarray) -> list[np.ndarray]:
    """The logits that each program gives that can read the file."""
    found = [in_onnxruntime(model, x)]
    if PER_CHANNEL:
        found += ReferenceEvaluator(model).run(None, {"image": x})
    return found


def nonzeros(weight: np.ndarray) -> set[int]:
    """How many values other than zero there are in the groups of four of (N, K) or (N, C, H, W)."""
    rows = np.moveaxis(weight, 1, -1).reshape(-1, weight.shape[1]).tolist()
    return {
        sum(value != 0 for value in row[start : start + 4])
        for row in rows
        for start in range(0, len(row), 4)
    }


def requantised(sums: np.ndarray, scales: list[np.ndarray], zero_point: int) -> np.ndarray:
    x_scale, w_scale, y_scale = (np.float32(scale) for scale in scales)
    y = sums.astype(np.float32) * (x_scale * w_scale / y_scale)
    return np.clip(np.rint(y) + zero_point, -128, 127).astype(np.int64)


def in_integers(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    """The logits of an int8 file, from its numbers and with the shapes of the README."""
    numbers = initialisers(model)

    def how(name: str) -> tuple[np.ndarray, int]:
        return numbers[f"{name}.output_scale"], int(numbers[f"{name}.output_zero_point"])

    scale, zero = how("image_int8")
    q = np.clip(np.rint(x / scale) + zero, -128, 127).astype(np.int64)
    for name, stride in (("conv1", 1), ("conv2", 2)):
        w = numbers[f"{name}.weight"].astype(np.int64)
        padded = np.pad(q - zero, ((0, 0), (0, 0), (1, 1), (1, 1)))
        size = q.shape[-1]
        sums = numbers[f"{name}.bias"].astype(np.int64)[:, None, None] + sum(
            np.einsum(
                "bchw,nc->bnhw",
                padded[:, :, i : i + size : stride, j : j + size : stride],
                w[:, :, i, j],
            )
            for i, j in product(range(3), range(3))
        )
        w_scale = numbers[f"{name}.weight_scale"][:, None, None]
        x_scale, (scale, zero) = scale, how(name)
        q = requantised(sums, [x_scale, w_scale, scale], zero)
    q = q.reshape(len(q), 32, 2, 2, 2, 2).max(axis=(3, 5)).reshape(len(q), -1)
    sums = (q - zero) @ numbers["fc1.weight"].astype(np.int64)
    x_scale, (scale, zero) = scale, how("fc1")
    q = requantised(sums, [x_scale, numbers["fc1.weight_scale"], scale], zero)
    sums = (q - zero) @ numbers["fc2.weight"].astype(np.int64) + numbers["fc2.bias"]
    return sums.astype(np.float32) * numbers["fc2.scale"]


def drawn_layers(seed: int) -> dict:
    """Layers as training gives them, of random numbers; zero points are anything."""
    rng = np.random.default_rng(seed)
    at = {
        "conv1": export.activation(0, 1),
        "conv2": export.activation(*rng.uniform((-3, 1), (-1, 9))),
        "fc1": export.activation(*rng.uniform((-9, 1), (-1, 3))),
        "fc2": export.activation(0, 7),
    }
    shapes = {"conv1": (32, 1, 3, 3), "conv2": (32, 32, 3, 3), "fc1": (32, 128), "fc2": (10, 32)}
    layers = {}
    for (name, shape), output in zip(shapes.items(), [*list(at.values())[1:], None], strict=True):
        weight = rng.integers(-127, 128, shape).astype(np.int8)
        if export.can_be_sparse(weight):
            weight *= export.mask(weight)
        scale = rng.uniform(1e-3, 3e-3, len(weight)).astype(np.float32)
        bias = None if name == "fc1" else rng.integers(-9999, 9999, len(weight)).astype(np.int32)
        layers[name] = export.Layer(weight, scale, bias, at[name], output)
    return layers


@pytest.mark.parametrize(
    "shape", [(3, 8), (5, 128), (2, 7), (4, 8, 3, 3), (4, 6, 1, 2), (3, 1, 3, 3)]
)
def test_the_mask_keeps_the_two_largest_of_each_group(shape):
    weight = np.random.default_rng(1).integers(-3, 4, shape).astype(np.int8)
    got = np.moveaxis(export.mask(weight), 1, -1).reshape(-1, shape[1])
    rows = np.moveaxis(weight, 1, -1).reshape(-1, shape[1]).astype(int)
    for row, kept in zip(rows, got, strict=True):
        for start in range(0, len(row), 4):
            group = np.abs(row[start : start + 4])
            largest = sorted(range(len(group)), key=lambda i, group=group: (-group[i], i))[:2]
            assert np.flatnonzero(kept[start : start + 4]).tolist() == sorted(largest)


@pytest.mark.parametrize("shape", [(3, 8), (2, 7), (4, 8, 3, 3), (2, 6, 1, 2)])
def test_what_the_mask_leaves_is_what_the_encoder_takes(shape):
    weight = np.random.default_rng(2).integers(-128, 128, shape).astype(np.int8)
    kind = "conv" if len(shape) == 4 else "matrix"
    before = encoder.check(weight, kind=kind).violations
    assert before == export.illegal_groups(weight) > 0
    assert encoder.check(weight * export.mask(weight), kind=kind).legal


def test_illegal_groups_are_counted_along_the_input_channels():
    weight = np.zeros((2, 6, 1, 2), np.int8)
    weight[0, :3, 0, 1] = 1  # three of the first group
    weight[1, 3:6, 0, 0] = 1  # one of the first, two of the last
    weight[1, :4, 0, 1] = 1  # four of the first
    assert export.illegal_groups(weight) == 2
    assert export.illegal_groups(weight * export.mask(weight)) == 0
    assert export.illegal_groups(np.ones((3, 9))) == 6


def test_zero_is_exact_in_int8():
    for low, high in ((0, 1), (-1, 0), (-0.3, 5.1), (2, 3), (0, 0)):
        scale, zero_point = export.activation(low, high)
        assert -128 <= int(zero_point) <= 127
        assert scale > 0
        assert (127 - int(zero_point)) * scale >= high - scale / 2
        assert (-128 - int(zero_point)) * scale <= low + scale / 2
    assert export.activation(0, 1).zero_point == -128
    assert export.activation(-1, 0).zero_point == 127


@pytest.mark.parametrize("seed", range(4))
def test_an_int8_file_is_the_same_to_the_bit_for_each_reader(seed):
    layers = drawn_layers(seed)
    model = export.int8_model(layers, 16)
    x = np.random.default_rng(seed).uniform(-0.1, 1.1, (16, 1, 8, 8)).astype(np.float32)
    expected = in_integers(model, x)
    assert len(np.unique(expected)) > 100
    assert all(np.array_equal(got, expected) for got in by_readers(model, x))
    weights = initialisers(model)
    for name, layer in layers.items():
        weight = weights[f"{name}.weight"]
        assert np.array_equal(weight if weight.ndim == 4 else weight.T, layer.weight)


@pytest.mark.parametrize("model", [FLOAT, INT8], ids=["float", "int8"])
def test_the_files_are_of_opset_13(model):
    onnx.checker.check_model(model, full_check=True)
    assert [(one.domain, one.version) for one in model.opset_import] == [("", 13)]
    assert model.ir_version == 8


def test_the_committed_int8_file_is_2_4():
    numbers = initialisers(INT8)
    for name in SPARSE:
        weight = numbers[f"{name}.weight"]
        assert weight.dtype == np.int8
        assert max(nonzeros(weight if weight.ndim == 4 else weight.T)) == 2
    assert numbers["conv1.weight"].shape[1] == 1
    float_weights = initialisers(FLOAT)
    assert all(max(nonzeros(float_weights[f"{name}.weight"])) == 4 for name in SPARSE)


def test_the_committed_int8_file_gives_the_same_logits_everywhere():
    x, _ = images()
    expected = in_integers(INT8, x)
    assert all(np.array_equal(got, expected) for got in by_readers(INT8, x))


def test_the_committed_files_are_as_good_as_the_text_says():
    x, labels = images()
    right = [int((in_onnxruntime(m, x).argmax(axis=1) == labels).sum()) for m in (FLOAT, INT8)]
    said = re.search(r"`digits-float.onnx` names (\d+) rightly and `digits-int8.onnx` (\d+)", TEXT)
    assert right == [int(number) for number in said.groups()]
    assert len(labels) == 64


def test_the_shares_of_the_table_are_those_of_its_counts():
    rows = re.findall(r"\| (\d+) \| ([\d.]+) % \|", TEXT)
    assert len(rows) == 6
    assert all(f"{100 * int(right) / 360:.2f}" == share for right, share in rows)


def test_the_files_stay_small():
    sizes = [(FOLDER / name).stat().st_size for name in
             ("digits-float.onnx", "digits-int8.onnx", "digits.npz")]  # fmt: skip
    assert max(sizes) < 60_000
