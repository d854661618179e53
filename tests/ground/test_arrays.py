"""Arrays in files: every rectangle that is read is what NumPy would slice."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from cube24 import encoder
from cube24.encoder import (
    ArgumentError,
    DtypeError,
    FileAccessError,
    FileFormatError,
    ShapeError,
)
from cube24.errors import MissingExtraError

SHAPES = [(7, 33), (1, 1), (2, 3, 11), (2, 3, 4, 5), (12,), (), (0, 5), (5, 0), (2, 0, 3)]
DTYPES = ["int8", "uint8", "<i2", ">i4", "<f4", "<f8"]


def sample(shape: tuple[int, ...], dtype: str = "int8") -> np.ndarray:
    rng = np.random.default_rng(len(shape))
    return rng.integers(0, 100, shape).astype(dtype)


def write_npy(path: Path, array: np.ndarray) -> dict[str, Any]:
    np.save(path, array)
    return {}


def write_fortran(path: Path, array: np.ndarray) -> dict[str, Any]:
    np.save(path, np.array(array, order="F"))
    return {}


def write_version_2(path: Path, array: np.ndarray) -> dict[str, Any]:
    with path.open("wb") as file:
        np.lib.format.write_array(file, array, version=(2, 0))
    return {}


def write_npz(path: Path, array: np.ndarray) -> dict[str, Any]:
    np.savez(path, other=np.zeros(3), wanted=array, more=np.ones((2, 2)))
    return {"name": "wanted"}


def write_compressed(path: Path, array: np.ndarray) -> dict[str, Any]:
    np.savez_compressed(path, only=array)
    return {}


def write_bin(path: Path, array: np.ndarray) -> dict[str, Any]:
    path.write_bytes(array.astype(array.dtype.newbyteorder("<")).tobytes())
    return {"shape": array.shape, "dtype": array.dtype.name}


def write_safetensors(path: Path, array: np.ndarray) -> dict[str, Any]:
    native = np.array(array, array.dtype.newbyteorder("="), order="C")
    save_file({"other": np.zeros(3), "wanted": native}, path)
    return {"name": "wanted"}


WRITERS: dict[str, tuple[str, Callable[[Path, np.ndarray], dict[str, Any]]]] = {
    "npy": ("w.npy", write_npy),
    "npy in Fortran order": ("w.npy", write_fortran),
    "npy version 2": ("w.npy", write_version_2),
    "npz": ("w.npz", write_npz),
    "compressed npz": ("w.npz", write_compressed),
    "bin": ("w.bin", write_bin),
    "safetensors": ("w.safetensors", write_safetensors),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("writer", WRITERS)
def test_shape_type_and_values_are_those_of_the_array(tmp_path, writer, shape, dtype):
    name, write = WRITERS[writer]
    array = sample(shape, dtype)
    options = write(tmp_path / name, array)
    with encoder.open_array(tmp_path / name, **options) as file:
        assert file.shape == shape
        assert file.dtype.newbyteorder("=") == array.dtype.newbyteorder("=")
        read = file.read_all()
    assert read.shape == shape
    assert np.array_equal(read, array)


@given(data=st.data(), shape=st.sampled_from(SHAPES))
@pytest.mark.parametrize("writer", WRITERS)
def test_every_rectangle_is_what_numpy_slices(tmp_path, writer, shape, data):
    name, write = WRITERS[writer]
    array = sample(shape, "<i2")
    options = write(tmp_path / name, array)
    rows = array.reshape(int(np.prod(shape[:-1])), shape[-1]) if shape else array.reshape(1, 1)
    with encoder.open_array(tmp_path / name, **options) as file:
        for _ in range(5):
            r0, r1 = sorted(data.draw(st.integers(0, size)) for size in [rows.shape[0]] * 2)
            c0, c1 = sorted(data.draw(st.integers(0, size)) for size in [rows.shape[1]] * 2)
            piece = file.read(r0, r1, c0, c1)
            assert piece.flags.c_contiguous
            assert piece.shape == (r1 - r0, c1 - c0)
            assert np.array_equal(piece, rows[r0:r1, c0:c1])


def test_the_one_array_of_a_file_needs_no_name(tmp_path):
    np.savez(tmp_path / "w.npz", only=sample((2, 8)))
    save_file({"only": sample((2, 8))}, tmp_path / "w.safetensors")
    for name in ("w.npz", "w.safetensors"):
        for options in ({}, {"name": "only"}, {"shape": (2, 8), "dtype": "int8"}):
            with encoder.open_array(tmp_path / name, **options) as file:
                assert np.array_equal(file.read_all(), sample((2, 8)))


def test_a_raw_file_is_int8_unless_said_otherwise(tmp_path):
    (tmp_path / "w.bin").write_bytes(bytes([0, 255, 128, 1]))
    with encoder.open_array(tmp_path / "w.bin", shape=(2, 2)) as file:
        assert file.read_all().tolist() == [[0, -1], [-128, 1]]
    with encoder.open_array(tmp_path / "w.bin", shape=(2,), dtype="int16") as file:
        assert file.read_all().tolist() == [0xFF00 - 0x10000, 0x0180]


# --- what may be wrong ----------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    weight = sample((2, 8))
    np.save(tmp_path / "w.npy", weight)
    np.savez(tmp_path / "w.npz", a=weight, b=weight)
    np.savez(tmp_path / "none.npz")
    save_file({"a": weight, "b": weight}, tmp_path / "w.safetensors")
    (tmp_path / "w.bin").write_bytes(weight.tobytes())
    (tmp_path / "w.txt").write_text("1 2 3")
    (tmp_path / "folder.npy").mkdir()
    return tmp_path


BAD_CALLS = {
    "unknown suffix": ("w.txt", {}, ArgumentError, "'.txt'", ".npy, .npz, .safetensors, .bin"),
    "no suffix": ("w", {}, ArgumentError, "''"),
    "several in npz": ("w.npz", {}, ArgumentError, "2 arrays", "a, b"),
    "several tensors": ("w.safetensors", {}, ArgumentError, "2 arrays", "a, b"),
    "none in npz": ("none.npz", {}, ArgumentError, "0 arrays"),
    "unknown name in npz": ("w.npz", {"name": "c"}, ArgumentError, "'c'", "a, b"),
    "unknown tensor": ("w.safetensors", {"name": "c"}, ArgumentError, "'c'", "a, b"),
    "name of a npy": ("w.npy", {"name": "a"}, ArgumentError, "no named"),
    "name of a bin": ("w.bin", {"name": "a", "shape": (2, 8)}, ArgumentError, "no named"),
    "bin without shape": ("w.bin", {}, ArgumentError, "needs its shape"),
    "bin with a negative size": ("w.bin", {"shape": (-2, -8)}, ShapeError, "negative"),
    "unknown type": ("w.bin", {"shape": (2, 8), "dtype": "int5"}, ArgumentError, "int5"),
    "Python objects": ("w.bin", {"shape": (2, 1), "dtype": "object"}, DtypeError, "numbers"),
    "bin too short": ("w.bin", {"shape": (2, 9)}, FileFormatError, "16 bytes", "18", "truncated"),
    "bin too long": ("w.bin", {"shape": (2, 7)}, FileFormatError, "16 bytes", "14", "too long"),
    "another shape": ("w.npy", {"shape": (4, 4)}, FileFormatError, "(2, 8)", "(4, 4)"),
    "another type": ("w.npy", {"dtype": "uint8"}, FileFormatError, "int8", "uint8"),
    "another shape in npz": ("w.npz", {"name": "a", "shape": (16,)}, FileFormatError, "(16,)"),
    "missing npy": ("none.npy", {}, FileAccessError, "No such file"),
    "missing npz": ("missing.npz", {}, FileAccessError, "No such file"),
    "missing bin": ("none.bin", {"shape": (1,)}, FileAccessError, "No such file"),
    "missing safetensors": ("none.safetensors", {}, FileAccessError, "No such file"),
    "a folder": ("folder.npy", {}, FileAccessError, "directory"),
}


@pytest.mark.parametrize("case", BAD_CALLS)
def test_a_call_that_does_not_fit_the_file_is_refused_by_name(folder, case):
    name, options, error, *parts = BAD_CALLS[case]
    with pytest.raises(encoder.Cube24Error) as caught, encoder.open_array(folder / name, **options):
        pass
    assert type(caught.value) is error
    if case not in ("unknown type", "Python objects", "bin with a negative size"):
        assert str(folder / name) in str(caught.value)
    for part in parts:
        assert part in str(caught.value)


def tensors(header: dict[str, Any], data: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def tensor(dtype: str, shape: list[int], size: int) -> bytes:
    entry = {"dtype": dtype, "shape": shape, "data_offsets": [0, size]}
    return tensors({"w": entry}, bytes(size))


BAD_TENSORS = {
    "empty": (b"", FileFormatError),
    "text": (b"a text file that is longer than eight bytes", FileFormatError),
    "header cut off": (tensor("I8", [2, 8], 16)[:20], FileFormatError),
    "data cut off": (tensor("I8", [2, 8], 16)[:-1], FileFormatError),
    "data over": (tensor("I8", [2, 8], 16) + b"\0", FileFormatError),
    "size of another shape": (tensor("I8", [2, 9], 16), FileFormatError),
    "huge header": ((1 << 60).to_bytes(8, "little") + b"{}", FileFormatError),
    "not JSON": ((4).to_bytes(8, "little") + b"abcd", FileFormatError),
    "not UTF-8": ((4).to_bytes(8, "little") + b"\xff\xfe\xfd\xfc", FileFormatError),
    "bfloat16": (tensor("BF16", [2, 8], 32), DtypeError, "BF16", "int8"),
    "boolean": (tensor("BOOL", [2, 8], 16), DtypeError, "BOOL"),
    "float8": (tensor("F8_E4M3", [2, 8], 16), DtypeError, "F8_E4M3"),
}


@pytest.mark.parametrize("case", BAD_TENSORS)
def test_malformed_safetensors_are_refused(tmp_path, case):
    data, error, *parts = BAD_TENSORS[case]
    path = tmp_path / "w.safetensors"
    path.write_bytes(data)
    with pytest.raises(encoder.Cube24Error) as caught, encoder.open_array(path):
        pass
    assert type(caught.value) is error
    assert str(path) in str(caught.value)
    for part in parts:
        assert part in str(caught.value)


def test_without_the_extra_safetensors_are_refused_with_what_to_install(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with (
        pytest.raises(MissingExtraError, match=r"cube24\[tensors\]"),
        encoder.open_array(folder / "w.safetensors", name="a"),
    ):
        pass


# To where the rectangle begins, into it, and to its last byte but one.
@pytest.mark.parametrize("left", [4096, 2 * 4096 + 100, 4 * 4096 - 1])
@pytest.mark.parametrize("columns", [4096, 4000])
def test_a_file_that_shrinks_while_it_is_open_is_truncated(tmp_path, left, columns):
    path = tmp_path / "w.npy"
    np.save(path, sample((4, 4096)))
    with encoder.open_array(path) as file:
        with path.open("r+b") as other:
            other.truncate(128 + left)
        with pytest.raises(FileFormatError, match="truncated") as caught:
            file.read(2, 4, 4096 - columns, 4096)
    assert caught.value.path == str(path)
    assert caught.value.offset == max(128 + left, 128 + 2 * 4096 + 4096 - columns)


@pytest.mark.parametrize("name", ["w.npy", "w.npz", "w.safetensors", "w.bin"])
@pytest.mark.parametrize("error", [OSError("mine"), RuntimeError("mine"), EOFError("mine")])
def test_an_error_of_the_callers_own_block_is_left_alone(folder, name, error):
    options = {"w.npz": {"name": "a"}, "w.safetensors": {"name": "a"}, "w.bin": {"shape": (2, 8)}}
    with (
        pytest.raises(type(error)) as caught,
        encoder.open_array(folder / name, **options.get(name, {})),
    ):
        raise error
    assert caught.value is error
