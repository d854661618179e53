"""Array files: what their readers expect, and what is read back."""

import io

import numpy as np
import pytest

from cube24.encoder import ArgumentError, FileFormatError
from cube24.vectors.files import SUFFIXES, CaseStyle, read, render, reread

ARRAY = np.array([[1, -2, 300], [2**31 - 1, -(2**31), 0]], np.int32)

BYTES = ARRAY.astype("<i4").tobytes()


def test_each_format_is_what_its_readers_expect(tmp_path):
    style = CaseStyle(("hex",), 4, "little", True)
    words = ["00000001", "fffffffe", "0000012c", "7fffffff", "80000000", "00000000"]
    header = {"name": "x", "words": 6}
    assert render(ARRAY, "hex", style, header).decode() == "// name: x\n// words: 6\n" + "".join(
        f"{word}\n" for word in words
    )
    assert render(ARRAY, "bin", style, {}) == BYTES
    assert render(ARRAY, "mem", style, {}).decode() == "@00000000\n" + "\n".join(words) + "\n"
    assert render(ARRAY, "coe", style, {}).decode() == (
        "memory_initialization_radix=16;\nmemory_initialization_vector=\n"
        + ",\n".join(words)
        + ";\n"
    )
    assert render(ARRAY, "altera-mif", style, {}).decode() == (
        "WIDTH=32;\nDEPTH=6;\nADDRESS_RADIX=HEX;\nDATA_RADIX=HEX;\nCONTENT BEGIN\n"
        + "".join(f"  {i:x} : {word};\n" for i, word in enumerate(words))
        + "END;\n"
    )
    (tmp_path / "x.npy").write_bytes(render(ARRAY, "npy", style, {}))
    assert np.array_equal(np.load(tmp_path / "x.npy"), ARRAY)
    big = CaseStyle(("hex",), 3, "big", False)  # 24 bytes are 8 words of three
    assert render(ARRAY, "hex", big, header).decode().split() == [
        BYTES[i : i + 3].hex() for i in range(0, 24, 3)
    ]


@pytest.mark.parametrize("name", ["npy", "hex", "bin"])
@pytest.mark.parametrize(
    ("word_bytes", "order"), [(1, "little"), (4, "big"), (16, "little"), (5, "big")]
)
@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.uint64, np.float16])
def test_what_was_written_is_read_back(tmp_path, name, word_bytes, order, dtype):
    style = CaseStyle((name,), word_bytes, order)
    array = np.arange(21).reshape(3, 7).astype(dtype)
    path = tmp_path / f"x{SUFFIXES[name]}"
    path.write_bytes(render(array, name, style, {"a": 1}))
    got = read(path, name, array.dtype, array.shape, style)
    assert got.dtype == array.dtype
    assert np.array_equal(got, array)
    for damaged in (path.read_bytes()[:-1], path.read_bytes() + b"00\n"):
        path.write_bytes(damaged)
        if name == "hex" and damaged.endswith(b"\n") is False:
            continue  # without the last line feed it is whole
        with pytest.raises(FileFormatError):
            read(path, name, array.dtype, array.shape, style)


@pytest.mark.parametrize(
    "style",
    [
        {"formats": ("xml",)},
        {"formats": ()},
        {"formats": ("hex", "hex")},
        {"word_bytes": 0},
        {"order": "x"},
    ],
)
def test_a_style_that_cannot_be_is_refused(style):
    with pytest.raises(ArgumentError):
        CaseStyle(**style)


def test_formats_that_are_not_read_back_say_so(tmp_path):
    with pytest.raises(ArgumentError, match="coe is not read back"):
        read(tmp_path / "x.coe", "coe", np.dtype(np.int8), (1,), CaseStyle(("coe",)))


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.uint64, np.float16])
@pytest.mark.parametrize("name", ["npy", "hex", "bin"])
def test_what_is_read_back_in_memory_is_what_is_read_from_a_file(tmp_path, name, dtype):
    rng = np.random.default_rng(1)
    for shape in ((1,), (3, 5), (2, 1, 4, 16, 32)):
        for style in (CaseStyle((name,)), CaseStyle((name,), word_bytes=3, order="big")):
            words = rng.integers(0, 256, (*shape, np.dtype(dtype).itemsize), np.uint8)
            array = words.view(dtype).reshape(shape)
            data = render(array, name, style, {"a": "comment"})
            (tmp_path / "x").write_bytes(data)
            one = read(tmp_path / "x", name, array.dtype, shape, style)
            two = reread(data, name, array.dtype, shape, style)
            for got in (one, two):
                assert (got.dtype, got.shape) == (array.dtype, shape)
                assert got.tobytes() == array.tobytes()
            bad = (
                (data[:-2], array.dtype, shape),
                (data + b"00\n00\n00\n", array.dtype, shape),
                (data, array.dtype, (*shape, 4)),
                *([(b"\x93NUMPZ" + data[6:], array.dtype, shape)] if name == "npy" else []),
                *([(data, np.dtype(np.int16), shape)] if name == "npy" else []),
            )
            for changed, wanted, size in bad:
                with pytest.raises(FileFormatError):
                    reread(changed, name, wanted, size, style)


def test_headers_of_npy_are_those_that_numpy_writes():
    for dtype in (np.int8, np.int32, np.float16):
        for shape in ((1,), (4, 4), (7, 1, 3)):
            target = io.BytesIO()
            np.save(target, np.zeros(shape, dtype))
            assert render(np.zeros(shape, dtype), "npy", CaseStyle(), {}) == target.getvalue()
