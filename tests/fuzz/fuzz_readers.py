"""Fuzz every file reader: an error of ours or the right answer, nothing else.

    python tests/fuzz/fuzz_readers.py -max_total_time=20 -max_len=8192

Needs the extra ``fuzz`` (atheris, which is libFuzzer for Python). Each input is one byte that names
the reader and the bytes of a file. A reader may raise Cube24Error; any other exception, a crash or
an accepted file that means something else to an independent reader is a finding. The corpus starts
from good files made by NumPy and by the oracle's own container writer, never empty.
"""

import contextlib
import hashlib
import io
import json
import sys
import tempfile
import warnings
import zipfile
from pathlib import Path

import atheris
import numpy as np
from onnx import TensorProto, helper, numpy_helper

with atheris.instrument_imports(include=["cube24"]):
    from cube24 import encoder, graph
    from cube24.encoder.container import open_payload
    from cube24.files import read_hex
    from cube24.simulator import ExecutionError, Program, Unit, UnitConfig

FOLDER = Path(tempfile.mkdtemp(prefix="cube24-fuzz-"))
LIMIT = 1 << 20  # bytes of an array that a fuzzer may ask for; more only costs memory


def put(name: str, data: bytes) -> Path:
    path = FOLDER / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return path


def read_array(path: Path, **options: object) -> np.ndarray | None:
    with encoder.open_array(path, **options) as array:  # type: ignore[arg-type]
        if np.prod(array.shape, dtype=object) * array.dtype.itemsize > LIMIT or not array.shape:
            return None
        return array.read_all()


def same(ours: np.ndarray, theirs: np.ndarray) -> None:
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype
    assert ours.tobytes() == theirs.tobytes()


def fuzz_npy(data: bytes) -> None:
    ours = read_array(put("a.npy", data))
    if ours is not None:
        same(ours, np.load(io.BytesIO(data)))


def fuzz_npz(data: bytes) -> None:
    ours = read_array(put("a.npz", data))
    if ours is not None:
        with np.load(io.BytesIO(data)) as members:
            same(ours, members[members.files[0]])


def fuzz_safetensors(data: bytes) -> None:
    ours = read_array(put("a.safetensors", data))
    if ours is not None:
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length])
        header.pop("__metadata__", None)
        (entry,) = header.values()
        start, end = entry["data_offsets"]
        assert ours.tobytes() == data[8 + length + start : 8 + length + end]
        assert list(ours.shape) == entry["shape"]


def fuzz_bin(data: bytes) -> None:
    shape = (data[0] % 8, data[1] % 8) if len(data) > 1 else (1, 1)
    ours = read_array(put("a.bin", data[2:]), shape=shape)
    assert ours is not None
    assert ours.tobytes() == data[2:]


def fuzz_hex(data: bytes) -> None:
    if len(data) < 2:
        return
    size, word = data[0] % 64, data[1] % 9
    ours = read_hex(put("a.hex", data[2:]), size, word_bytes=word, order="big")
    lines = [line.partition(b"//")[0] for line in data[2:].split(b"\n")]
    digits = b"".join(b"".join(lines).split())
    theirs = bytes.fromhex(digits.decode("ascii"))
    assert theirs[:size] == ours
    assert not any(theirs[size:])


def check_loaded(sparse: encoder.SparseWeight) -> None:
    """An accepted container stands for what it says, or decode refuses it."""
    for strict in (False, True):
        try:
            weight = encoder.decode(sparse, strict=strict)
        except encoder.RefusedError:
            continue
        assert weight.shape == sparse.shape
        if strict:
            encode = encoder.encode_conv if sparse.kind == "conv" else encoder.encode
            again = encode(weight, layout=sparse.layout)
            assert again.dense.tobytes() == sparse.dense.tobytes()
            assert again.index.tobytes() == sparse.index.tobytes()


def fuzz_container_npz(data: bytes) -> None:
    check_loaded(encoder.SparseWeight.load(put("c.npz", data)))


def fuzz_manifest(data: bytes) -> None:
    """The folder's arrays are good; its manifest is whatever the fuzzer makes of it."""
    for name, content in GOOD_FOLDER.items():
        put(f"folder/{name}", content)
    put("folder/sparse.json", data)
    check_loaded(encoder.SparseWeight.load(FOLDER / "folder"))


def fuzz_payload(data: bytes) -> None:
    with open_payload(put("p.npy", data), "dense", (2, 4)) as array:
        same(array.read_all(), np.load(io.BytesIO(data)))


def fuzz_program(data: bytes) -> None:
    """A program reads back as it prints, and runs or is refused: no instruction breaks loose."""
    program = Program.parse(data.decode("utf-8", "replace"))
    assert Program.parse(str(program)) == program
    if max((buffer.at + buffer.bytes for buffer in program.buffers), default=0) > LIMIT:
        return
    with contextlib.suppress(ExecutionError):
        UNIT.execute(program)


def fuzz_config(data: bytes) -> None:
    config = UnitConfig.load(put("unit.toml", data))
    assert UnitConfig.from_toml(config.to_toml()) == config


def fuzz_onnx(data: bytes) -> None:
    """A model that is compiled and taken back is the one that was read."""
    model = graph.load(put("model.onnx", data))
    compiled = graph.compile(model, sparsity=1)
    if any(verdict.sparse for verdict in compiled.verdicts):
        again = graph.decompile(compiled.model).proto
        assert again.SerializeToString() == model.proto.SerializeToString()


# Small memories, so that programs reach their ends.
UNIT = Unit(UnitConfig("small", l1_bytes=1 << 14, l0a_bytes=4096, l0b_bytes=4096, l0c_bytes=4096))

READERS = [
    fuzz_npy, fuzz_npz, fuzz_safetensors, fuzz_bin, fuzz_hex, fuzz_container_npz, fuzz_manifest,
    fuzz_payload, fuzz_program, fuzz_config, fuzz_onnx,
]  # fmt: skip


# --- good files to start from -------------------------------------------------------------------


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


# (2, 8): X Y 0 0 | 0 0 0 X and 0 X 0 Y | 0 0 0 0, by the table of docs/format.md.
DENSE = np.array([[1, -128, 0, 5], [3, 127, 0, 0]], np.int8)
INDEX = np.array([[0x80], [0x09]], np.uint8)
GOOD_FOLDER = {"dense.npy": npy(DENSE), "index.npy": npy(INDEX)}


PROGRAM = b"""buffer name=a at=0x0 bytes=4096
copy_in dst=0x0 src=0x0 bytes=2048 bursts=2 src_stride=1024 dst_stride=2048
nd2nz dst=0x0 src=0x0 rows=3 bytes=40 src_stride=40 dst_rows=16
load2d to=L0A dst=0x0 src=0x0 repeat=2 start=1 stride=2 gap=1
load3d dst=0x0 src=0x0 c1=1 h=4 w=4 kernel_h=2 kernel_w=2 m_start=0 m=9 k_start=0 k=64 pad_top=1
load_sparse dst=0x0 dense=0x0 index=0x400 repeat=2
load_bias dst=0x0 src=0x0 bytes=64
load_params dst=0x0 src=0x0 bytes=128
set_flag of=MTE1 to=M id=0
wait_flag of=MTE1 to=M id=0
mmad c=0x0 a=0x0 b=0x0 m=16 n=16 k=32 start=bias bias=0x0
mmad_sparse c=0x0 a=0x0 b=0x0 m=16 n=16 k=64
fixpipe to=GM dst=0x0 src=0x0 m=16 n=16 stride=16 mode=vreq8 words=0x0 relu=leaky alpha=0.5
barrier on=M
"""


def manifest() -> bytes:
    files = {
        role: {
            "name": f"{role}.npy",
            "dtype": str(array.dtype),
            "shape": list(array.shape),
            "sha256": hashlib.sha256(array.tobytes()).hexdigest(),
        }
        for role, array in (("dense", DENSE), ("index", INDEX))
    }
    about = {"schema": "cube24-sparse/1", "kind": "matrix", "shape": [2, 8], "layout": "nd"}
    return json.dumps({**about, "files": files}).encode()


def archive(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in members.items():
            file.writestr(name.replace("_", "."), content)
    return buffer.getvalue()


def safetensors() -> bytes:
    header = json.dumps({"w": {"dtype": "I8", "shape": [2, 4], "data_offsets": [0, 8]}}).encode()
    return len(header).to_bytes(8, "little") + header + DENSE.tobytes()


def onnx_models() -> list[bytes]:
    """A convolution and a product of integers, with weights in two places."""
    conv, matrix = np.zeros((2, 8, 1, 1), np.int8), np.zeros((8, 2), np.int8)
    conv[:, ::4] = matrix[::4] = 3
    rest = {"one": np.float32(1), "zero": np.uint8(3), "wz": np.int8(0)}
    quantised = ["x", "one", "zero", "w", "one", "wz", "one", "zero"]
    nodes = [
        helper.make_node("QLinearConv", quantised, ["y"]),
        helper.make_node("Constant", [], ["m"], value=numpy_helper.from_array(matrix)),
        helper.make_node("MatMulInteger", ["x", "m", "zero"], ["y"]),
    ]
    models = []
    for of, shape, kind in ((nodes[:1], (1, 8, 2, 2), "UINT8"), (nodes[1:], (2, 8), "INT32")):
        infos = [
            helper.make_tensor_value_info("x", TensorProto.UINT8, shape),
            helper.make_tensor_value_info(
                "y", TensorProto.DataType.Value(kind), [None] * len(shape)
            ),
        ]
        constants = [numpy_helper.from_array(a, n) for n, a in ({"w": conv} | rest).items()]
        made = helper.make_graph(of, "g", infos[:1], infos[1:], constants)
        opsets = [helper.make_opsetid("", 13)]
        models.append(helper.make_model(made, opset_imports=opsets, ir_version=8))
    return [model.SerializeToString() for model in models]


def seeds() -> list[tuple[int, bytes]]:
    container = archive(sparse_json=manifest(), dense_npy=npy(DENSE), index_npy=npy(INDEX))
    fortran = np.asfortranarray(DENSE)
    return [
        (0, npy(DENSE)), (0, npy(fortran)), (1, archive(w_npy=npy(DENSE))), (2, safetensors()),
        (3, bytes([2, 4]) + DENSE.tobytes()), (4, b"\x04\x02// name\n01ff\n7f80\n"),
        (5, container), (6, manifest()), (7, npy(DENSE)), (8, PROGRAM), (9, b'cores = 2\n'),
        *((10, model) for model in onnx_models()),
    ]  # fmt: skip


def one_input(data: bytes) -> None:
    if not data:
        return
    with contextlib.suppress(encoder.Cube24Error):
        READERS[data[0] % len(READERS)](data[1:])


def main() -> None:
    warnings.simplefilter("ignore")  # NumPy, as the independent reader, on headers of Python 2
    for number, content in seeds():
        READERS[number](content)  # a good file must pass without any error
        put(f"corpus/{number}-{hashlib.sha256(content).hexdigest()[:8]}", bytes([number]) + content)
    atheris.Setup([*sys.argv, str(FOLDER / "corpus")], one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
