"""Nothing is accepted and ignored: every parameter of every public function changes something.

For each of them there is a pair of calls that differ in this parameter alone. What comes of a call
is its result or error, the files that it leaves, and what it tells a callback; the two must differ.
A public function or parameter without a pair fails the test, and so does a pair that is left over.
The options of the command line have the same test in tests/cli/test_options_count.py.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import inspect
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import GeneratorType
from typing import Any

import numpy as np
import pytest
from onnx_makers import quantised_conv
from sparse_weights import dense_weight, sparse_weight

from cube24 import Cube24Error, encoder, graph, simulator, vectors
from cube24.errors import FileAccessError
from cube24.simulator import (
    Conv2d,
    Matmul,
    Program,
    Requant,
    Tile,
    Unit,
    UnitConfig,
    dense,
    functional,
    hazards,
    show,
    sweep,
)
from cube24.vectors import Campaign, CaseStyle, coverage, shrink, suites
from cube24.vectors.build import build

# --- what comes of a call -------------------------------------------------------------------------


class Make:
    """A value that is made anew for each call, in its folder."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make


def furnish() -> None:
    """The files that calls read."""
    np.save("w.npy", ILLEGAL)
    np.save("legal.npy", LEGAL)
    np.savez("w.npz", one=ILLEGAL, two=LEGAL)
    LEGAL.tofile("w.bin")
    encoder.encode(LEGAL).save("enc")
    encoder.encode(LEGAL).save("hex", format="hex", word_bytes=2)
    encoder.encode(LEGAL[:1]).save("other")
    STRANGE.save("strange")
    Path("there.npy").write_bytes(b"old")
    Path("there").mkdir()
    Path("there/sparse.json").write_text("{}")
    Path("p.txt").write_text(RACE)
    for name, model in NETS.items():
        Path(f"{name}.onnx").write_bytes(model.SerializeToString())
    Path("q.txt").write_text("barrier on=M\n")
    Path("u.toml").write_text('name = "mine"\n')
    Path("c.cfg").write_text(PRUNE_CONFIG)
    Path("d.cfg").write_text(f'{PRUNE_CONFIG} skip_layers: "y"')


_OPEN: list[contextlib.ExitStack] = []
_TOLD: list[Any] = []


def source(path: str) -> Make:
    return Make(lambda: _OPEN[-1].enter_context(encoder.open_array(path)))


def plain(value: Any) -> Any:
    """A result as plain data that two calls can be compared by."""
    if isinstance(value, np.ndarray):
        return (value.shape, str(value.dtype), hashlib.sha256(value.tobytes()).hexdigest())
    if isinstance(value, simulator.Run):
        program = hashlib.sha256(str(value.program).encode()).hexdigest()
        return (plain(value.output), value.cycles, program, value.exact_steps)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, graph.Model):
        return plain(value.proto.SerializeToString(deterministic=True))
    if isinstance(value, graph.PrunedModel):
        return [value.to_dict(), plain(value.model)]
    if isinstance(value, graph.ModelReport):
        return value.to_dict()
    if isinstance(value, graph.NetworkRun):
        return plain([graph.RunReport(value).to_dict(), value.outputs])
    if isinstance(value, coverage.Table):
        return value.to_json()
    if isinstance(value, encoder.ArrayFile):
        return (value.path, plain(value.read_all()))
    if isinstance(value, contextlib.AbstractContextManager):
        return plain(_OPEN[-1].enter_context(value))
    if isinstance(value, GeneratorType | list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    return repr(value)


def outcome(function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    _TOLD.clear()
    with contextlib.ExitStack() as stack:
        _OPEN.append(stack)
        try:
            made = {k: v.make() if isinstance(v, Make) else v for k, v in arguments.items()}
            result = plain(function(**made))
        except (Cube24Error, TypeError) as error:
            result = (type(error).__name__, str(error))
        finally:
            _OPEN.pop()
    left = {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(Path().rglob("*"))
        if path.is_file()
    }
    return result, left, list(_TOLD)


# --- values ---------------------------------------------------------------------------------------

rng = np.random.default_rng(24)
LEGAL = rng.integers(1, 127, (3, 16)).astype(np.int8) * np.int8([1, 0, 1, 0] * 4)
ILLEGAL = LEGAL.copy()
ILLEGAL[1, 5], ILLEGAL[2, 1] = 9, 7
CONV = rng.integers(1, 127, (3, 4, 2, 2)).astype(np.int8) * np.int8([1, 1, 0, 0])[:, None, None]
BAD_CONV = CONV + np.int8(1)
X = rng.integers(-128, 128, (5, 16)).astype(np.int8)
IMAGE = rng.integers(-128, 128, (2, 4, 6, 6)).astype(np.int8)
BIAS = np.array([5, -7, 11], np.int32)
SPARSE = encoder.encode(LEGAL)
SPARSE_CONV = encoder.encode_conv(CONV)
# (2, 1) for a lone non-zero at element 2, which the encoder writes as (2, 0)
STRANGE = encoder.SparseWeight(np.int8([[5, 0, 7, 0]] * 3), np.uint8([[0x66]] * 3), (3, 8))
WRONG = encoder.SparseWeight(SPARSE.dense, SPARSE.index | 255, SPARSE.shape)
ODD = UnitConfig(overflow="wrap", grain="instruction", load_b_rate=64.0, sparse_head=99)
RACE = (
    "copy_in dst=0 src=0 bytes=64\nload2d to=L0A dst=0 src=0 repeat=1\n"
    "copy_in dst=0 src=64 bytes=64\nload2d to=L0A dst=0 src=0 repeat=1\n"
)
#: Values never depend on these, so their pairs differ in what is refused and in how it was done.
HOW_TO_RUN = {"exact_steps": True, "threads": 0, "out": np.empty((5, 3), np.int8)}
PROGRAM = Program.parse("buffer name=a at=0 bytes=128\n" + RACE)
RUN = Unit().time(Matmul(40, 48, 128), tile=Tile(16, 16, 64, 64))
OTHER_RUN = Unit().time(Matmul(40, 48, 192))
BUSY = Program.parse("copy_in dst=0 src=0 bytes=640\nload2d to=L0A dst=0 src=0 repeat=1\n")


SWING = np.repeat(np.int8([[127, -128] * 2]), 4, axis=1)  # sums that leave int32 on the way
ONES = np.full((3, 16), 127, np.int8)
DEEP_SWING = np.repeat(np.int8([[127, -128]]), 64, axis=1)  # step after step
DEEP: dict[str, Any] = {
    "layer": Matmul(5, 3, 256), "activations": np.tile(X, 16),
    "weight": encoder.encode(np.tile(LEGAL, 16)),
}  # fmt: skip
EDGE = np.array([2**31 - 9, -(2**31), 2**31 - 1], np.int32)
ROWS = list(sweep.sweep(sweep.grid({"m": [16, 32], "n": [16, 32], "k": [64]})))


def there(name: str) -> str:
    Path(name).write_text("old")
    return name


def built(number: int) -> Any:
    """A case in memory."""
    return build("shapes", 1, item_of("shapes", number), 1)


def dump(name: str) -> Path:
    """The expected result of the case of ``case()``, as a device would write it."""
    return case(root="dumps", formats=("npy", "hex"), word_bytes=4).make() / name


def dumps(suffix: str = ".hex", **style: Any) -> Make:
    """A folder with a dump of each case below ``cases``, of another suffix or other words."""

    def make() -> Path:
        form = "npy" if suffix == ".npy" else "hex"
        for found in Path("cases").iterdir():
            right = case(found.name, "made", formats=(form,), **style).make()
            Path("dumps").mkdir(exist_ok=True)
            shutil.copy(right / f"expected.{form}", f"dumps/{found.name}{suffix}")
        return Path("dumps")

    return Make(make)


def compared(cases: Path, dumps: Path, **how: Any) -> list[Any]:
    """What compare_many says of each case."""
    return [outcome for outcome, _ in vectors.compare_many(cases.parent, dumps, **how)]


def generated(folder: str, lost: bool = False) -> str:
    """A campaign; lost: without one of its cases."""
    vectors.generate(folder, campaign())
    if lost:
        shutil.rmtree(next(path.parent for path in sorted(Path(folder).rglob("manifest.json"))))
    return folder


def from_model(folder: str) -> Path:
    """The cases of a model."""
    of = Campaign(("network",), 0, 1)
    for layer in vectors.from_onnx(onnx_model()):
        for item in layer.items:
            vectors.write_case(Path(folder) / item.name, "network", item, of)
    return Path(folder)


def broken_case(folder: str) -> Path:
    """A good case, and one whose manifest is none."""
    case(root=folder).make()
    (Path(folder) / "bad").mkdir()
    (Path(folder) / "bad" / "manifest.json").write_text("{}")
    return Path(folder)


def other_case(folder: str) -> Path:
    """A folder that holds another case."""
    vectors.write_case(Path(folder), "shapes", item_of("shapes", 5), campaign())
    return Path(folder)


def stored_arrays(folder: str) -> Any:
    _, arrays = _OPEN[-1].enter_context(encoder.open_stored(folder))
    return arrays


def told(*what: Any) -> None:
    _TOLD.append(what)


def case(name: str = "matmul-1x1x8", root: str = "cases", **style: Any) -> Make:
    """The folder of a golden case, made here."""

    def make() -> Path:
        of = Campaign(("shapes",), 0, 1, CaseStyle(**style))
        item = next(item for item in suites.items("shapes", 0, 1) if item.name == name)
        vectors.write_case(Path(root) / name, "shapes", item, of)
        return Path(root) / name

    return Make(make)


def item_of(suite: str, number: int) -> Any:
    return list(suites.items(suite, 0, 1))[number]


def campaign(**how: Any) -> Campaign:
    return Campaign(("patterns",), 0, **how)


def onnx_node(**attributes: Any) -> Make:
    def make() -> Any:
        import onnx

        return onnx.helper.make_node("Conv", ["x", "w"], ["y"], **attributes)

    return Make(make)


def onnx_model() -> Path:
    import onnx

    of = onnx.helper
    w = onnx.numpy_helper.from_array(LEGAL.astype(np.float32).T.copy(), "w")
    value = onnx.TensorProto.FLOAT
    graph = of.make_graph(
        [of.make_node("MatMul", ["x", "w"], ["y"])], "g",
        [of.make_tensor_value_info("x", value, (1, 16))],
        [of.make_tensor_value_info("y", value, (1, 3))], [w],
    )  # fmt: skip
    model = of.make_model(graph, opset_imports=[of.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, "m.onnx")
    return Path("m.onnx")


#: Of one layer each. The first one is slower sparse.
NETS = {
    "net": quantised_conv("QLinearConv", sparse_weight((6, 64, 1, 1)), x_shape=(1, 64, 3, 3)),
    "other": quantised_conv("QLinearConv", sparse_weight((32, 64, 3, 3)), x_shape=(1, 64, 9, 9)),
    "dense": quantised_conv("QLinearConv", dense_weight((6, 64, 1, 1)), x_shape=(1, 64, 3, 3)),
}
PRUNE_CONFIG = "prune_config { n_out_of_m_pruner { l1_selective_prune { } } }"

ACTIVATIONS = {
    "net": rng.integers(0, 256, (1, 64, 3, 3)).astype(np.uint8),
    "other": rng.integers(0, 256, (1, 64, 9, 9)).astype(np.uint8),
}


def net(name: str = "net") -> Make:
    """A model of a layer."""
    return Make(lambda: graph.load(f"{name}.onnx"))


def samples(seed: int = 1) -> list[dict[str, Any]]:
    """Inputs of a model of a layer."""
    drawn = np.random.default_rng(seed).integers(0, 256, (1, 64, 3, 3)).astype(np.uint8)
    return [{"x": drawn * np.arange(64, dtype=np.uint8).reshape(64, 1, 1)}]


def compiled_net(name: str = "net") -> Make:
    return Make(lambda: graph.compile(graph.load(f"{name}.onnx"), sparsity=1).model)


def net_run(name: str = "net", **how: Any) -> Make:
    """A run of a model of a layer."""
    return Make(lambda: graph.run(compiled_net(name).make(), {"x": ACTIVATIONS[name]}, **how))


def failing_device() -> Path:
    Path("dut.sh").write_text('#!/bin/sh\ngrep -v // "$1/expected.hex" | sed s/^.*$/01/ > "$2"\n')
    Path("dut.sh").chmod(0o755)
    return Path("dut.sh").resolve()


#: The result of a case of one output, one byte a line, as one word.
ONE_WORD = 'grep -v // {case}/expected.hex | tac | tr -d "\\n" > {got}'


def device(
    command: str,
    suffix: str,
    timeout: float | None,
    word_bytes: int | None,
    order: str | None,
    folder: Path,
) -> str:
    """What the device that shrink.device makes says, run once."""
    return str(shrink.device(command, suffix, timeout, word_bytes, order)(folder))


# --- the pairs ------------------------------------------------------------------------------------


@dataclasses.dataclass
class Pairs:
    """A function, arguments for it, and for each parameter what it is changed to.

    A tuple (more, value) changes other arguments for both calls first.
    """

    function: Callable[..., Any]
    base: dict[str, Any]
    changes: dict[str, Any]


class With(tuple):
    """Arguments that both calls of a pair have, and the changed value."""


def after(value: Any, **more: Any) -> With:
    return With((more, value))


WRITE = {"path": "new.out", "overwrite": after(True, path="there.npy")}
LAYER = Matmul(5, 3, 16)

PAIRS: dict[str, Pairs] = {
    "encoder.check": Pairs(
        encoder.check, {"weight": ILLEGAL},
        {
            "weight": LEGAL, "kind": after("conv", weight=BAD_CONV), "limit": 1, "threads": 0,
        },
    ),
    "encoder.check_file": Pairs(
        encoder.check_file, {"source": source("w.npy")},
        {"source": source("legal.npy"), "kind": "conv", "limit": 1, "progress": told},
    ),
    "encoder.check_weight_target": Pairs(
        encoder.check_weight_target, {"target": "new.npy"},
        {"target": "new.txt", "overwrite": after(True, target="there.npy")},
    ),
    "encoder.decode": Pairs(
        encoder.decode, {"sparse": SPARSE},
        {
            "sparse": encoder.encode(LEGAL[::-1]), "strict": after(True, sparse=STRANGE),
            "limit": after(1, sparse=WRONG), "out": np.zeros((2, 2), np.int8), "threads": 0,
        },
    ),
    "encoder.decode_conv": Pairs(
        encoder.decode_conv, {"sparse": SPARSE_CONV},
        {
            "sparse": SPARSE, "limit": -1, "out": np.zeros((2, 2), np.int8), "threads": 0,
            "strict": after(True, sparse=encoder.SparseWeight(
                SPARSE_CONV.dense, SPARSE_CONV.index | 1, CONV.shape, kind="conv")),
        },
    ),
    "encoder.decode_file": Pairs(
        encoder.decode_file, {"stored": "enc", "target": "new.npy"},
        {
            "stored": "other", "target": "new.bin", "strict": after(True, stored="strange"),
            "overwrite": after(True, target="there.npy"), "progress": told,
        },
    ),
    "encoder.decode_arrays": Pairs(
        encoder.decode_arrays,
        {
            "geometry": encoder.Geometry((3, 8), "matrix", "nd"), "target": "new.npy",
            "arrays": Make(lambda: stored_arrays("strange")),
        },
        {
            "geometry": encoder.Geometry((3, 7), "matrix", "nd"), "target": "new.bin",
            "arrays": Make(lambda: stored_arrays("other")), "strict": True,
            "overwrite": after(True, target="there.npy"), "progress": told,
        },
    ),
    "encoder.encode": Pairs(
        encoder.encode, {"weight": LEGAL},
        {
            "weight": LEGAL[:2], "policy": after("magnitude", weight=ILLEGAL), "layout": "zn",
            "out": (np.zeros(3, np.int8), np.zeros(3, np.uint8)), "threads": 0,
        },
    ),
    "encoder.encode_conv": Pairs(
        encoder.encode_conv, {"weight": CONV},
        {
            "weight": CONV[:2], "policy": after("magnitude", weight=BAD_CONV), "layout": "zn",
            "out": (np.zeros(3, np.int8), np.zeros(3, np.uint8)), "threads": 0,
        },
    ),
    "encoder.encode_file": Pairs(
        encoder.encode_file, {"source": source("legal.npy"), "target": "new"},
        {
            "source": source("w.npy"), "target": "newer", "kind": "conv", "layout": "zn",
            "policy": after("first_two", source=source("w.npy")),
            "style": encoder.Style("hex"), "overwrite": after(True, target="enc"),
            "progress": told,
        },
    ),
    "encoder.check_out": Pairs(
        encoder.check_out,
        {"out": X, "name": "out", "dtype": X.dtype, "shape": X.shape, "inputs": ()},
        {
            "out": X[:2], "name": after("y", shape=(1, 1)), "dtype": np.dtype(np.int32),
            "shape": (1, 1), "inputs": (X,),
        },
    ),
    "encoder.int8_array": Pairs(
        encoder.int8_array, {"array": X, "name": "x"},
        {"array": X[:1], "name": after("y", array=X.astype(float))},
    ),
    "encoder.is_stored": Pairs(encoder.is_stored, {"path": "enc"}, {"path": "w.npz"}),
    "encoder.open_array": Pairs(
        encoder.open_array, {"path": "w.npy"},
        {
            "path": "legal.npy", "name": after("two", path="w.npz"),
            "shape": after((16, 3), path="w.bin"), "dtype": after("uint8", path="w.bin",
                                                                  shape=(3, 16)),
        },
    ),
    "encoder.open_payload": Pairs(
        encoder.open_payload, {"path": "enc/dense.npy", "role": "dense", "shape": (3, 8)},
        {
            "path": "other/dense.npy", "role": "index", "shape": (8, 3),
            "word_bytes": 2, "order": "big",
        },
    ),
    "encoder.open_stored": Pairs(encoder.open_stored, {"path": "enc"}, {"path": "other"}),
    "encoder.pack_index": Pairs(
        encoder.pack_index, {"values": np.uint8([1, 2])},
        {"values": np.uint8([2, 1]), "out": np.zeros(3, np.uint8)},
    ),
    "encoder.chosen_path": Pairs(encoder.chosen_path, {}, {}),
    "encoder.paths": Pairs(encoder.paths, {}, {}),
    "encoder.prune": Pairs(
        encoder.prune, {"weight": ILLEGAL},
        {
            "weight": LEGAL, "policy": "first_two", "kind": after("conv", weight=BAD_CONV),
            "out": np.zeros(3, np.int8), "threads": 0,
        },
    ),
    "encoder.prune_file": Pairs(
        encoder.prune_file, {"source": source("w.npy"), "target": "new.npy"},
        {
            "source": source("legal.npy"), "target": "new.bin", "policy": "first_two",
            "kind": "conv", "overwrite": after(True, target="there.npy"), "progress": told,
        },
    ),
    "encoder.stored_geometry": Pairs(encoder.stored_geometry, {"path": "enc"}, {"path": "other"}),
    "encoder.style_for": Pairs(
        encoder.style_for, {"path": "x", "format": None}, {"path": "x.npz", "format": "hex"}
    ),
    "encoder.unpack_index": Pairs(
        encoder.unpack_index, {"packed": np.uint8([27])},
        {"packed": np.uint8([28]), "count": 3, "out": np.zeros(3, np.uint8)},
    ),
    "encoder.use_path": Pairs(encoder.use_path, {"name": None}, {"name": "no such path"}),
    "SparseWeight.to_fractal": Pairs(
        encoder.SparseWeight.to_fractal, {"self": SPARSE}, {"out": SPARSE_CONV}
    ),
    "SparseWeight.to_nd": Pairs(
        encoder.SparseWeight.to_nd, {"self": SPARSE}, {"out": SPARSE_CONV}
    ),
    "SparseWeight.save": Pairs(
        SPARSE.save, {"path": "new"},
        {
            "path": "new.npz", "format": "bin", "word_bytes": after(2, format="hex"),
            "order": after("big", format="hex", word_bytes=2),
            "header": after(False, format="hex"), "overwrite": after(True, path="enc"),
        },
    ),
    "SparseWeight.load": Pairs(encoder.SparseWeight.load, {"path": "enc"}, {"path": "other"}),
    "Style": Pairs(
        encoder.Style, {},
        {
            "format": "hex", "word_bytes": after(4, format="hex"),
            "order": after("big", format="hex"), "header": after(False, format="hex"),
        },
    ),
    "Unit": Pairs(
        lambda unit: Unit(unit).config, {"unit": "dav-2201"}, {"unit": "310B1"}
    ),
    "Unit.run": Pairs(
        Unit().run, {"layer": LAYER, "activations": X, "weight": SPARSE},
        {
            "layer": Matmul(4, 3, 16), "activations": X[::-1], "weight": LEGAL[::-1],
            "bias": BIAS, "requant": Requant(0.25), "tile": after(Tile(16, 16, 64, 64), **DEEP),
            "check": LEGAL[::-1], "weight_rows": after(True, weight=LEGAL), **HOW_TO_RUN,
        },
    ),
    "Unit.time": Pairs(
        Unit().time, {"layer": Matmul(40, 48, 256)},
        {
            "layer": Matmul(40, 48, 512), "sparse": False, "dtype": after("float16", sparse=False),
            "bias": True, "requant": Requant(0.25), "tile": Tile(16, 16, 64, 64),
            "weight_rows": after(True, sparse=False), "cores": after(2, layer=Matmul(512, 512, 64)),
        },
    ),
    "Unit.matmul": Pairs(
        Unit().matmul, {"activations": X, "weight": SPARSE},
        {
            "activations": X[:1], "weight": LEGAL[::-1], "bias": BIAS, "requant": Requant(0.25),
            "tile": after(Tile(16, 16, 64, 64), activations=DEEP["activations"],
                          weight=DEEP["weight"]),
            "check": LEGAL[::-1], "weight_rows": after(True, weight=LEGAL), **HOW_TO_RUN,
        },
    ),
    "Unit.fully_connected": Pairs(
        Unit().fully_connected, {"activations": X.reshape(5, 4, 4), "weight": SPARSE},
        {
            "activations": X[:1], "weight": LEGAL[::-1], "bias": BIAS, "requant": Requant(0.25),
        },
    ),
    "Unit.conv2d": Pairs(
        Unit().conv2d, {"activations": IMAGE, "weight": SPARSE_CONV},
        {
            "activations": IMAGE[:1], "weight": CONV[::-1], "bias": BIAS,
            "requant": Requant(0.25), "strides": (2, 1), "pads": (1, 0, 0, 0),
            "dilations": (2, 1), "offset_x": after(3, pads=(1, 1, 1, 1)), "data_format": "NHWC",
            "tile": Tile(16, 16, 64, 64), "check": CONV[::-1], **HOW_TO_RUN,
        },
    ),
    "Unit.execute": Pairs(
        Unit().execute, {"program": PROGRAM},
        {"program": BUSY, "inputs": {"a": np.ones(128, np.uint8)}},
    ),
    "Unit.schedule": Pairs(Unit().schedule, {"program": PROGRAM}, {"program": BUSY}),
    "Matmul": Pairs(Matmul, {"m": 1, "n": 2, "k": 3}, {"m": 2, "n": 3, "k": 4}),
    "Matmul.of": Pairs(
        Matmul.of, {"activations": (1, 4), "weight": (2, 4)},
        {"activations": (2, 4), "weight": (3, 4)},
    ),
    "Conv2d": Pairs(
        Conv2d, {"batch": 1, "cin": 2, "h": 9, "w": 9, "cout": 3, "kernel": (1, 1)},
        {
            "batch": 2, "cin": 3, "h": 8, "w": 8, "cout": 4, "kernel": (2, 1), "strides": (2, 1),
            "pads": (1, 0, 0, 0), "dilations": (2, 1), "offset_x": 1,
        },
    ),
    "Conv2d.of": Pairs(
        Conv2d.of, {"activations": (1, 4, 4, 4), "weight": (2, 4, 1, 1)},
        {
            "activations": (2, 4, 4, 4), "weight": (3, 4, 1, 1), "strides": (2, 1),
            "pads": (1, 0, 0, 0), "dilations": (2, 1), "offset_x": 1, "data_format": "CHWN",
        },
    ),
    "simulator.flattened": Pairs(
        simulator.flattened, {"shape": (1, 2, 3)}, {"shape": (1, 2, 4)}
    ),
    "simulator.validate": Pairs(
        lambda config=None: [one.modelled for one in simulator.validate(config)], {},
        {"config": UnitConfig(row_cycles=5.0)},
    ),
    "Requant.words": Pairs(
        Requant(0.5, shift=3).words, {"config": UnitConfig()},
        {"config": UnitConfig(requant_shift="n")},
    ),
    "Program.save": Pairs(PROGRAM.save, {"path": "new.out"}, WRITE | {"path": "newer.out"}),
    "Program.parse": Pairs(Program.parse, {"text": RACE}, {"text": ""}),
    "Program.load": Pairs(Program.load, {"path": "p.txt"}, {"path": "q.txt"}),
    "UnitConfig.save": Pairs(ODD.save, {"path": "new.out"}, WRITE | {"path": "newer.out"}),
    "UnitConfig.from_toml": Pairs(UnitConfig.from_toml, {"text": ""}, {"text": 'name = "a"'}),
    "UnitConfig.load": Pairs(UnitConfig.load, {"path": "u.toml"}, {"path": "p.txt"}),
    "functional.matmul": Pairs(
        functional.matmul, {"activations": X, "sparse": SPARSE},
        {"activations": X[:1], "sparse": encoder.encode(LEGAL[::-1]), "bias": BIAS},
    ),
    "functional.conv2d": Pairs(
        functional.conv2d, {"activations": IMAGE, "sparse": SPARSE_CONV},
        {
            "activations": IMAGE[:1], "sparse": encoder.encode_conv(CONV[::-1]), "bias": BIAS,
            "strides": (2, 1), "pads": (1, 0, 0, 0),
        },
    ),
    "dense.matmul": Pairs(
        dense.matmul, {"activations": X, "weight": LEGAL},
        {"activations": X[:1], "weight": LEGAL[:1]},
    ),
    "dense.conv2d": Pairs(
        dense.conv2d, {"activations": IMAGE, "weight": CONV},
        {
            "activations": IMAGE[:1], "weight": CONV[:1], "strides": (2, 1),
            "pads": (1, 0, 0, 0),
        },
    ),
    "dense.accumulate_matmul": Pairs(
        dense.accumulate_matmul,
        {
            "activations": X, "weight": LEGAL, "bias": None, "ends": [16],
            "overflow": "saturate",
        },
        {
            "activations": X[:1], "weight": LEGAL[:1], "bias": BIAS,
            "ends": after([4, 16], activations=SWING, weight=ONES, bias=EDGE),
            "overflow": after("wrap", activations=SWING, weight=ONES, bias=EDGE),
        },
    ),
    "dense.accumulate_conv2d": Pairs(
        dense.accumulate_conv2d,
        {
            "activations": IMAGE, "weight": CONV, "bias": None, "ends": [128],
            "overflow": "saturate",
        },
        {
            "activations": IMAGE[:1], "weight": CONV[:1], "bias": BIAS, "ends": [32],
            "overflow": after("wrap", bias=EDGE), "strides": (2, 1), "pads": (1, 0, 0, 0),
            "dilations": (2, 1), "pad_value": after(3, pads=(1, 1, 1, 1)),
        },
    ),
    "hazards.check": Pairs(
        hazards.check, {"program": PROGRAM, "config": UnitConfig()},
        {"program": BUSY, "config": UnitConfig(l0a_bytes=256, l0a_align=1), "limit": 0},
    ),
    "show.perfetto": Pairs(show.perfetto, {"run": RUN}, {"run": OTHER_RUN, "scalar": True}),
    "show.write_perfetto": Pairs(
        show.write_perfetto, {"run": RUN, "path": "new.out"},
        WRITE | {"path": "newer.out", "run": OTHER_RUN, "scalar": True},
    ),
    "show.write_vcd": Pairs(
        show.write_vcd, {"run": RUN, "path": "new.out"},
        WRITE | {"path": "newer.out", "run": OTHER_RUN},
    ),
    "show.write_csv": Pairs(
        show.write_csv, {"run": RUN, "path": "new.out"},
        WRITE | {"path": "newer.out", "run": OTHER_RUN},
    ),
    "show.document": Pairs(
        show.document, {"title": "one", "sections": ["a"]},
        {"title": "two", "sections": ["b"], "wide": True},
    ),
    "show.table": Pairs(
        show.table, {"caption": "one", "head": ["a"], "rows": [["1"]]},
        {"caption": "two", "head": ["b"], "rows": [["x"]]},
    ),
    "show.html": Pairs(show.html, {"run": RUN}, {"run": OTHER_RUN, "title": "another"}),
    "show.write_html": Pairs(
        show.write_html, {"run": RUN, "path": "new.out"},
        WRITE | {"path": "newer.out", "run": OTHER_RUN},
    ),
    "show.write_roofline_png": Pairs(
        show.write_roofline_png, {"run": RUN, "path": "new.svg"},
        {
            "path": "new.png", "run": OTHER_RUN,
            "overwrite": after(True, path=Make(lambda: there("there.svg"))),
        },
    ),
    "show.traffic": Pairs(
        show.traffic, {"program": RUN.program}, {"program": OTHER_RUN.program}
    ),
    "show.occupied_bytes": Pairs(
        show.occupied_bytes,
        {"program": RUN.program, "timing": RUN.timing, "config": UnitConfig()},
        {
            "program": Program.parse(str(RUN.program).replace("load2d", "barrier on=M #")),
            "timing": Unit(UnitConfig(move_head=99)).schedule(RUN.program),
            "config": UnitConfig(l1_bytes=256),
        },
    ),
    "sweep.grid": Pairs(
        sweep.grid, {"axes": {"m": [1], "n": [1], "k": [4]}},
        {"axes": {"m": [1, 2], "n": [1], "k": [4]}},
    ),
    "sweep.sweep": Pairs(
        sweep.sweep, {"points": [{"m": 16, "n": 16, "k": 64}]},
        {"points": [{"m": 16, "n": 16, "k": 128}], "progress": told},
    ),
    "sweep.demand_plot": Pairs(
        sweep.demand_plot, {"path": "new.svg", "axes": ["m", "n", "k"], "axis": None},
        {
            "path": "new.txt", "axes": after(["m"], axis="n"), "axis": "no such axis",
        },
    ),
    "sweep.csv_lines": Pairs(sweep.csv_lines, {"rows": [{"a": 1}]}, {"rows": [{"a": 2}]}),
    "show.demand_vcd": Pairs(show.demand_vcd, {}, {}),
    "show.demand_drawing": Pairs(
        show.demand_drawing, {"path": "new.svg"}, {"path": "new.txt"}
    ),
    "sweep.to_csv": Pairs(sweep.to_csv, {"rows": [{"a": 1}]}, {"rows": [{"a": 2}]}),
    "sweep.write_csv": Pairs(
        sweep.write_csv, {"rows": [{"a": 1}], "path": "new.out"},
        WRITE | {"path": "newer.out", "rows": [{"a": 2}]},
    ),
    "sweep.write_plot": Pairs(
        sweep.write_plot, {"rows": Make(lambda: ROWS), "path": "new.svg"},
        {
            "rows": Make(lambda: ROWS[:2]), "path": "new.png", "axis": "m",
            "overwrite": after(True, path=Make(lambda: there("there.svg"))),
        },
    ),
    "vectors.add_suites": Pairs(
        vectors.add_suites, {"folder": Make(lambda: generated("set")), "added": ("faults",)},
        {"folder": "enc", "added": ("shapes",)},
    ),
    "vectors.campaigns": Pairs(
        vectors.campaigns, {"path": Make(lambda: generated("set"))}, {"path": "enc"}
    ),
    "vectors.check_shard": Pairs(vectors.check_shard, {"shard": (0, 1)}, {"shard": (1, 1)}),
    "vectors.demand_new": Pairs(
        vectors.demand_new, {"path": Path("new")}, {"path": Path("enc")}
    ),
    "vectors.demand_same": Pairs(
        vectors.demand_same,
        {
            "folder": Make(lambda: from_model("set")), "prefix": "onnx",
            "layers": Make(lambda: list(vectors.from_onnx(onnx_model()))),
            "campaign": Campaign(("network",), 0, 1),
        },
        {
            "folder": after(Path("new"), campaign=Campaign(("network",), 0, 2)),
            "prefix": after("other", layers=()), "layers": (),
            "campaign": Campaign(("network",), 0, 2),
        },
    ),
    "vectors.is_no_verdict": Pairs(
        vectors.is_no_verdict, {"error": FileAccessError("x", "full", errno.ENOSPC)},
        {"error": FileAccessError("x", "not there", errno.ENOENT)},
    ),
    "vectors.missing": Pairs(
        vectors.missing, {"folder": Make(lambda: generated("set"))},
        {"folder": Make(lambda: generated("set", lost=True))},
    ),
    "vectors.compare": Pairs(
        vectors.compare, {"case": case(), "got": Make(lambda: dump("expected.npy"))},
        {
            "case": case("matmul-1x1x64"), "got": np.array([[7]], np.int32),
            "format": "hex", "cycles": 9,
            "word_bytes": after(4, got=Make(lambda: dump("expected.hex"))),
            "order": after("big", got=Make(lambda: dump("expected.hex")), word_bytes=4),
        },
    ),
    "vectors.compare_many": Pairs(
        compared, {"cases": case(), "dumps": dumps()},
        {
            "cases": case("matmul-1x1x64"), "dumps": Path("nothing"),
            "format": after("hex", dumps=dumps(".txt")),
            "word_bytes": after(4, dumps=dumps(word_bytes=4)),
            "order": after("big", dumps=dumps(word_bytes=4), word_bytes=4),
        },
    ),
    "vectors.junit_of": Pairs(
        vectors.junit_of, {"outcomes": []},
        {"outcomes": [vectors.Outcome("suite/case", 1, "missing", "no dump", "no dump")]},
    ),
    "vectors.simulate": Pairs(vectors.simulate, {"case": case()}, {"case": case("matmul-1x1x64")}),
    "vectors.folders": Pairs(vectors.folders, {"path": case()}, {"path": case("matmul-1x1x64")}),
    "vectors.from_onnx": Pairs(
        vectors.from_onnx, {"path": Make(onnx_model)},
        {"path": "w.npy", "prefix": "other", "size": 3, "unit": "dav-3510"},
    ),
    "vectors.from_run": Pairs(
        vectors.from_run, {"run": net_run()}, {"run": net_run("other"), "prefix": "other"},
    ),
    "vectors.from_arrays": Pairs(
        vectors.from_arrays, {"weights": LEGAL, "activations": X, "name": "own"},
        {
            "weights": -LEGAL[:2], "activations": X[:1], "name": "other",
            "bias": np.array([1, 2, 3], np.int32), "requant": np.float32([0.25]),
            "offset": after(3, requant=np.float32([0.25])),
            "signed": after(False, requant=np.float32([0.25])),
            "mode": after("DEQF16", requant=np.float32([0.25])),
            "relu": after(True, requant=np.float32([0.25])),
            "strides": (2, 1), "pads": (1, 0, 0, 0), "dilations": (2, 1), "offset_x": 1,
            "layout": "nd", "unit": "dav-3510", "style": CaseStyle(("bin",)),
        },
    ),
    "vectors.restyled": Pairs(
        vectors.restyled, {"folder": case()}, {"folder": case("matmul-1x1x64")}
    ),
    "vectors.generate": Pairs(
        vectors.generate, {"root": "set", "campaign": campaign()},
        {
            "root": "other-set", "campaign": campaign(seed=2), "workers": 0, "shard": (1, 3),
            "cluster": "no such address", "progress": told,
        },
    ),
    "vectors.load": Pairs(vectors.load, {"folder": case()}, {"folder": case("matmul-1x1x64")}),
    "vectors.mutate": Pairs(
        vectors.mutate, {"folder": case(formats=("bin",)), "bits": 1},
        {"folder": case("matmul-1x1x64", formats=("bin",)), "bits": 2},
    ),
    "vectors.shown": Pairs(vectors.shown, {"seed": 1}, {"seed": 2}),
    "vectors.verify_many": Pairs(
        vectors.verify_many, {"folders": Make(lambda: [case().make()])},
        {"folders": Make(lambda: ["enc"]), "workers": 0, "bits": 1},
    ),
    "vectors.verify": Pairs(vectors.verify, {"folder": case()}, {"folder": "enc"}),
    "vectors.write": Pairs(
        vectors.write, {"case": Make(lambda: built(0)), "folder": "new"},
        {"case": Make(lambda: built(1)), "folder": "newer"},
    ),
    "vectors.write_case": Pairs(
        vectors.write_case,
        {
            "target": Path("a/b"), "suite": "shapes", "item": item_of("shapes", 0),
            "campaign": campaign(),
        },
        {
            "target": Path("a/c"), "suite": "patterns", "item": item_of("shapes", 1),
            "campaign": campaign(seed=3),
            "replace": after(False, target=Make(lambda: other_case("a/b"))),
        },
    ),
    "Campaign": Pairs(
        lambda **how: Campaign(**how).text(), {"suites": ("patterns",)},
        {
            "suites": ("shapes",), "level": 0, "seed": 2, "style": CaseStyle(("bin",)),
            "cases": ("walk-*",), "layout": after("zn", suites=("shapes",)),
        },
    ),
    "CaseStyle": Pairs(
        CaseStyle, {},
        {
            "formats": ("bin",), "word_bytes": 2, "order": "big", "header": False, "steps": True,
            "role_words": after((("dense", 2),), manifest=2),
            "row_strides": after((("dense", 64),), manifest=2),
            "both_layouts": after(True, manifest=2), "bench": after(True, manifest=2),
            "manifest": 2,
        },
    ),
    "coverage.bins": Pairs(
        coverage.bins, {"case": Make(lambda: built(0)), "version": 2},
        {"case": Make(lambda: built(9)), "version": 1},
    ),
    "coverage.is_bin": Pairs(coverage.is_bin, {"name": "scale/0"}, {"name": "scale/x"}),
    "coverage.of_folder": Pairs(
        coverage.of_folder, {"paths": case()},
        {
            "paths": case("matmul-1x1x64"),
            "refused": after(told, paths=Make(lambda: broken_case("broken"))),
        },
    ),
    "shrink.shrink": Pairs(
        shrink.shrink,
        {
            "folder": case("matmul-31x15x8"), "fails": lambda folder: True,
            "limit": 5,
        },
        {
            "folder": case("matmul-17x33x4"), "fails": lambda folder: False, "limit": 9,
            "progress": told, "keep": told,
        },
    ),
    "shrink.device": Pairs(
        device,
        {
            "command": Make(lambda: f"{failing_device()} {{case}} {{got}}"), "suffix": ".hex",
            "timeout": None, "folder": case(), "word_bytes": None, "order": None,
        },
        {
            "command": "true", "suffix": ".npy",
            "timeout": after(0.05, command="sh -c 'sleep 0.5' {case} {got}"),
            "word_bytes": 2,
            "order": after("big", command=f"sh -c '{ONE_WORD}'", word_bytes=4),
            "folder": Path("enc"),
        },
    ),
    "graph.load": Pairs(graph.load, {"path": "net.onnx"}, {"path": "other.onnx"}),
    "graph.with_shapes": Pairs(
        graph.with_shapes, {"model": net(), "shapes": {"x": (1, 64, 9, 9)}},
        {"model": net("other"), "shapes": {"x": (2, 64, 9, 9)}},
    ),
    "graph.check": Pairs(
        graph.check, {"model": net()},
        {
            "model": net("other"), "input_shapes": {"x": (2, 64, 9, 9)}, "select": "faster",
            "skip": ["y"], "skip_type": ["*Conv"], "unit": Unit("310B1"), "cores": 2,
            "timed": False, "progress": told,
        },
    ),
    "graph.compile": Pairs(
        graph.compile, {"model": net(), "sparsity": 1},
        {
            "model": net("other"), "sparsity": 0, "layout": "nd", "select": "faster",
            "skip": ["y"], "skip_type": ["*Conv"], "keep_compress_ops": True, "requant": "unit",
            "snap_scales": True, "strict": after(True, model=net("dense")),
            "unit": Unit(dataclasses.replace(simulator.PRESETS["dav-2201"], l0b_bytes=512)),
            "progress": told,
        },
    ),
    "graph.decompile": Pairs(
        graph.decompile, {"model": compiled_net()}, {"model": compiled_net("other")}
    ),
    "graph.run": Pairs(
        graph.run, {"model": compiled_net(), "inputs": {"x": ACTIVATIONS["net"]}},
        {
            "model": compiled_net("other"), "inputs": {"x": ACTIVATIONS["net"][..., ::-1].copy()},
            "unit": Unit("310B1"), "rest": "reference", "requant": "unit", "layers": ("no",),
            "cores": 2, "timed": False, "progress": told,
        },
    ),
    "graph.compare": Pairs(
        graph.compare, {"run": net_run(), "source": net()},
        {"run": net_run(requant="unit"), "source": net("other"), "progress": told},
    ),
    "graph.prune": Pairs(
        graph.prune, {"model": net("dense")},
        {
            "model": net("net"), "method": after("reconstruct", calibration=samples()),
            "calibration": after(samples(2), method="wanda"),
            "sensitivity": after(True, calibration=samples()),
            "skip": ["y"], "skip_type": ["*Conv"],
            "config": graph.PruneConfig("c.cfg", skip=("y",)), "progress": told,
        },
    ),
    "graph.read_prune_config": Pairs(
        graph.read_prune_config, {"path": "c.cfg"}, {"path": "d.cfg"}
    ),
    "graph.attribute": Pairs(
        graph.attribute, {"node": onnx_node(group=2), "name": "group"},
        {
            "node": onnx_node(group=3), "name": "pads",
            "default": after(7, node=onnx_node()),
        },
    ),
    "graph.op_of": Pairs(
        graph.op_of, {"node": onnx_node()}, {"node": onnx_node(domain="com.microsoft")}
    ),
    "graph.less_zero": Pairs(
        graph.less_zero,
        {"array": np.int8([[1, 2], [3, 4]]), "zero": np.int8([1, 2]), "axis": 0},
        {"array": np.int8([[1, 2], [3, 5]]), "zero": np.int8(1), "axis": 1},
    ),
    "graph.same_pads": Pairs(
        graph.same_pads,
        {"size": 7, "kernel": 4, "stride": 2, "dilation": 1, "how": "SAME_UPPER"},
        {"size": 8, "kernel": 5, "stride": 7, "dilation": 2, "how": "SAME_LOWER"},
    ),
    "graph.data_file": Pairs(graph.data_file, {"path": "a.onnx"}, {"path": "b.onnx"}),
    "graph.save": Pairs(
        graph.save, {"model": net(), "path": "new.onnx"},
        {
            "model": net("other"), "path": "newer.onnx", "external": True,
            "overwrite": after(True, path="there.npy"),
        },
    ),
    "suites.items": Pairs(
        suites.items, {"suite": "random", "level": 0, "seed": 1},
        {"suite": "shapes", "level": after(1, suite="patterns"), "seed": 2},
    ),
    "suites.names": Pairs(
        suites.names, {"suite": "random", "level": 0},
        {"suite": "shapes", "level": after(1, suite="patterns")},
    ),
    "suites.style_of": Pairs(
        suites.style_of, {"suite": "shapes", "style": CaseStyle()},
        {"suite": "a new one", "style": CaseStyle(("bin",))},
    ),
}  # fmt: skip


# --- the test -------------------------------------------------------------------------------------


def parameters(function: Callable[..., Any]) -> set[str]:
    kinds = inspect.Parameter
    return {
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if name != "self" and parameter.kind not in (kinds.VAR_KEYWORD, kinds.VAR_POSITIONAL)
    }


def public() -> Iterator[tuple[str, Callable[..., Any]]]:
    """The public functions, methods and classes that are called with arguments of a user."""
    parts = {
        "encoder": encoder, "simulator": simulator, "functional": functional, "dense": dense,
        "hazards": hazards, "show": show, "sweep": sweep, "graph": graph, "vectors": vectors,
        "coverage": coverage, "shrink": shrink, "suites": suites,
    }  # fmt: skip
    for part, module in parts.items():
        names = getattr(module, "__all__", None) or [
            name
            for name, value in vars(module).items()
            if inspect.isfunction(value)
            and value.__module__ == module.__name__
            and not name.startswith("_")
        ]
        for name in names:
            if inspect.isfunction(value := getattr(module, name)):
                yield f"{part}.{name}", value
    for name, kind in {
        "SparseWeight": encoder.SparseWeight, "Unit": Unit, "Matmul": Matmul, "Conv2d": Conv2d,
        "Requant": Requant, "Program": Program, "UnitConfig": UnitConfig,
    }.items():  # fmt: skip
        for method, value in inspect.getmembers(kind, callable):
            if method in vars(kind) and not method.startswith("_") and parameters(value):
                yield f"{name}.{method}", value
    yield from {
        "Unit": Unit, "Matmul": Matmul, "Conv2d": Conv2d, "Style": encoder.Style,
        "CaseStyle": CaseStyle, "Campaign": Campaign,
    }.items()  # fmt: skip


PUBLIC = dict(public())
#: Plumbing of a function that other packages take, not users.
LEFT_OUT = {"shrink.cropped"}


def test_every_public_function_has_its_pairs():
    assert PUBLIC.keys() - LEFT_OUT - PAIRS.keys() == set()
    assert PAIRS.keys() - PUBLIC.keys() == set()


@pytest.mark.parametrize("name", [name for name in PUBLIC if name not in LEFT_OUT])
def test_every_parameter_has_a_pair(name):
    assert PAIRS[name].changes.keys() - {"folder"} == parameters(PUBLIC[name]) - {"folder"}


@pytest.mark.parametrize(
    ("name", "parameter"),
    [(name, parameter) for name, pairs in PAIRS.items() for parameter in pairs.changes],
)
def test_a_parameter_changes_something_or_is_refused(name, parameter, tmp_path, monkeypatch):
    pairs = PAIRS[name]
    more, value = {}, pairs.changes[parameter]
    if isinstance(value, With):
        more, value = value
    found = []
    for number, arguments in enumerate(
        ({**pairs.base, **more}, {**pairs.base, **more, parameter: value})
    ):
        (place := tmp_path / str(number)).mkdir()
        monkeypatch.chdir(place)
        furnish()
        found.append(outcome(pairs.function, arguments))
    monkeypatch.chdir(tmp_path)
    assert found[0] != found[1]


def test_the_same_call_twice_comes_to_the_same(tmp_path, monkeypatch):
    """Otherwise every pair would differ, whatever the parameter does."""
    for name, pairs in PAIRS.items():
        found = []
        for number in (0, 1):
            (place := tmp_path / f"{name}-{number}").mkdir()
            monkeypatch.chdir(place)
            furnish()
            found.append(outcome(pairs.function, dict(pairs.base)))
        assert found[0] == found[1], name
    monkeypatch.chdir(tmp_path)


# --- fields of a unit -----------------------------------------------------------------------------

TIMED = [
    Matmul(300, 200, 300), Matmul(16, 16, 4096), Conv2d(1, 40, 12, 12, 40, (3, 3), (2, 2)),
    Conv2d(1, 64, 9, 9, 32, (3, 1)), Conv2d(1, 32, 12, 12, 16, (3, 3), (3, 3)),
    Matmul(1024, 1024, 512), Matmul(2, 2, 64),
]  # fmt: skip
#: Addresses that are aligned as they must be, and not more.
ALIGNED = [
    "copy_in dst=32 src=0 bytes=32",
    "load2d to=L0A dst=512 src=0 repeat=1",
    "load2d to=L0B dst=512 src=0 repeat=1",
    "mmad c=1024 a=0 b=0 m=1 n=1 k=1",
    "load_bias dst=64 src=0 bytes=64",
    "load_params dst=8 src=0 bytes=8",
    "load_params dst=7160 src=0 bytes=8",
]
FOREIGN = encoder.SparseWeight(np.int8([[1, 2, 3, 4]]), np.uint8([[0x22]]), (1, 8))  # pairs (2, 0)
INDEX3 = encoder.SparseWeight(np.int8([[1, 2, 3, 4]]), np.uint8([[0x03]]), (1, 8))


def attempts(config: UnitConfig) -> Iterator[Callable[[], Any]]:
    """What a unit is asked for: times, values, programs."""
    unit = Unit(config)
    for layer in TIMED:
        for sparse in (True, False):
            for cores in (1, 24):
                yield lambda layer=layer, sparse=sparse, cores=cores: timed(
                    unit.time(layer, sparse=sparse, cores=cores, bias=True, requant=Requant(0.5))
                )
    yield lambda: timed(unit.time(Matmul(300, 200, 300), requant=Requant(np.ones(200))))
    yield lambda: timed(unit.time(Matmul(64, 64, 64), tile=Tile(64, 64, 64, 64, unit_flag=True)))
    yield lambda: unit.matmul(SWING, ONES, EDGE).output.tolist()
    yield lambda: unit.matmul(DEEP_SWING, np.full((3, 128), 127, np.int8), EDGE).output.tolist()
    yield lambda: unit.matmul(X[:, :8], FOREIGN).output.tolist()
    yield lambda: unit.matmul(X[:, :8], INDEX3).output.tolist()
    yield lambda: unit.matmul(X, LEGAL, None, Requant(0.5, shift=3)).output.tolist()
    yield lambda: unit.matmul(X, LEGAL, None, Requant(0.5, 300, signed=False)).output.tolist()
    yield lambda: Requant(0.5, shift=3).words(config).tolist()
    for line in ALIGNED:
        yield lambda line=line: plain(
            unit.execute(Program.parse("buffer name=a at=0 bytes=64\n" + line))
        )
    yield lambda: vectors_of(config)


def timed(run: simulator.Run) -> Any:
    return (run.cycles, run.seconds, str(run.pipes), str(run.plan.tile))


def vectors_of(config: UnitConfig) -> str:
    """Where the name of a unit is told."""
    return config.describe().splitlines()[0]


def asked(config: UnitConfig) -> list[Any]:
    found = []
    for attempt in attempts(config):
        try:
            found.append(attempt())
        except Cube24Error as error:
            found.append((type(error).__name__, str(error)))
    return found


def changed(spec: dataclasses.Field[Any]) -> Any:
    """Another value of a field of a unit."""
    if choices := spec.metadata.get("of"):
        return next(choice for choice in choices if choice != spec.default)
    if isinstance(spec.default, str):
        return "another"
    if isinstance(spec.default, bool):
        return not spec.default
    if spec.name.endswith("_bytes"):
        return spec.default // 2
    if spec.name.endswith("_align"):
        return spec.default * 2
    if isinstance(spec.default, float):
        return spec.default / 64
    return {"queue_depth": 1, "cores": 12, "clock_mhz": 1000, "mmad_idle_after": 0}.get(
        spec.name, spec.default + 40
    )


@pytest.fixture(scope="module")
def asked_of_the_default() -> list[Any]:
    return asked(UnitConfig())


@pytest.mark.parametrize("spec", dataclasses.fields(UnitConfig), ids=lambda spec: spec.name)
def test_every_field_of_a_unit_changes_something(spec, asked_of_the_default):
    config = dataclasses.replace(UnitConfig(), **{spec.name: changed(spec)})
    assert asked(config) != asked_of_the_default


@pytest.mark.parametrize(
    ("field", "value"),
    {
        "k_weights": 128, "l1_buffers": 1, "unit_flag": True, "m_core": 16, "n_core": 16, "m": 32,
        "n": 32, "k": 128, "k_l1": 256,
    }.items(),
)  # fmt: skip
def test_every_field_of_a_tile_changes_something(field, value):
    tile = Tile(16, 16, 64, 64)
    one, other = (
        Unit().time(Matmul(96, 96, 512), tile=of, cores=4)
        for of in (tile, dataclasses.replace(tile, **{field: value}))
    )
    assert str(one.program) != str(other.program)


@pytest.mark.parametrize(
    ("field", "value"),
    {
        "scale": 0.25, "offset": 3, "signed": False, "relu": True, "mode": "DEQF16", "shift": 2,
    }.items(),
)  # fmt: skip
def test_every_field_of_a_requantisation_changes_something(field, value):
    how = {"scale": 0.5}
    one, other = (
        Unit().matmul(X, LEGAL, None, Requant(**of)) for of in (how, how | {field: value})
    )
    assert plain(one.output) != plain(other.output)
    assert {spec.name for spec in dataclasses.fields(Requant)} == {
        "scale", "offset", "signed", "relu", "mode", "shift",
    }  # fmt: skip
