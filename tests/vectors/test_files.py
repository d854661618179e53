"""Array files: what their readers expect, and what is read back."""

import numpy as np
import pytest

from cube24.encoder import ArgumentError, FileFormatError
from cube24.vectors.files import SUFFIXES, CaseStyle, read, render

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
