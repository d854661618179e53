"""A malformed stored weight gives a FileFormatError or FileAccessError that names the place."""

import hashlib
import io
import json
import os
import signal
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cube24 import encoder
from cube24.encoder import FileAccessError, FileFormatError, SparseWeight

WORKED = encoder.encode(np.int8([[0, 5, 0, -3, 7, 0, -8, 0]]))
FORMATS = ["npy", "hex", "bin", "npz"]


@pytest.fixture
def stored(tmp_path: Path) -> Callable[..., Path]:
    """Store the worked example, with what is to be changed; gives its path."""

    def store(
        form: str = "npy", /, file: str = "", data: bytes | None = None, **style: Any
    ) -> Path:
        path = tmp_path / ("w.npz" if form == "npz" else "w")
        WORKED.save(path, format=form, **style)  # type: ignore[arg-type]
        if data is not None:
            (path / file).write_bytes(data)
        return path

    return store


def malformed(path: Path, *parts: str, file: Path | None = None, offset: int | None = None) -> None:
    """Loading names the file (and byte) and says what is wrong; nothing else is raised."""
    with pytest.raises(FileFormatError) as caught:
        SparseWeight.load(path)
    for part in parts:
        assert part in str(caught.value)
    where = str(file or path)
    assert caught.value.path.startswith(where)
    assert str(caught.value).startswith(where)
    if offset is not None:
        assert caught.value.offset == offset
        assert f": byte {offset}: " in str(caught.value)


def npy(header: str | bytes, data: bytes = b"\x05\xfd\x07\xf8", version: int = 1) -> bytes:
    """A .npy file with any header."""
    text = header.encode("latin1") if isinstance(header, str) else header
    text += b" " * (-(10 + len(text) + 1) % 64) + b"\n"
    return b"\x93NUMPY" + bytes([version, 0]) + len(text).to_bytes(2, "little") + text + data


def npy_text(descr: str = "'|i1'", fortran: str = "False", shape: str = "(1, 4)") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}"


def test_the_helper_writes_a_good_npy(stored):
    path = stored("npy", "dense.npy", npy(npy_text()))
    assert SparseWeight.load(path).dense.tolist() == [[5, -3, 7, -8]]


# --- npy ------------------------------------------------------------------------------------------

BAD_NPY = {
    "empty": (b"", "header"),
    "magic only": (b"\x93NUMPY", "header"),
    "another file": (b"P5 640 480 255\n" + bytes(100), "header"),
    "header cut off": (npy(npy_text())[:60], "header"),
    "one byte short": (npy(npy_text(), b"\x05\xfd\x07"), "truncated"),
    "one byte over": (npy(npy_text(), b"\x05\xfd\x07\xf8\0"), "too long"),
    "no data": (npy(npy_text(), b""), "truncated"),
    "another shape": (npy(npy_text(shape="(2, 2)")), "(2, 2)", "(1, 4)"),
    "another rank": (npy(npy_text(shape="(4,)")), "(4,)", "(1, 4)"),
    "another type": (npy(npy_text("'|u1'")), "uint8", "int8"),
    "a wide type": (npy(npy_text("'<i4'", shape="(1, 1)")), "(1, 1)"),
    "Python objects": (npy(npy_text("'|O'")), "Python objects"),
    "a negative size": (npy(npy_text(shape="(-1, -4)")), "negative"),
    "a large size": (npy(npy_text(shape=f"(1, {2**40})")), "truncated"),
    "a huge size": (npy(npy_text(shape=f"(1, {2**62})")), str(2**62)),
    "a size beyond 64 bits": (npy(npy_text(shape=f"(1, {2**70})")), str(2**70)),
    "a size that is text": (npy(npy_text(shape="('1', 4)")), "header"),
    "no tuple": (npy(npy_text(shape="4")), "header"),
    "no dictionary": (npy("[]"), "header"),
    "no Python": (npy("{'descr': "), "header"),
    "a missing key": (npy("{'descr': '|i1', 'shape': (1, 4), }"), "header"),
    "an unknown type": (npy(npy_text("'|q9'")), "header"),
    "not text": (npy(b"\xff\xfe\0\x01"), "header"),
    "version 3": (npy(npy_text(), version=3), "version"),
    "version 9": (npy(npy_text(), version=9), "version"),
    "deep nesting": (npy("(" * 3000), "header"),
}


@pytest.mark.parametrize("case", BAD_NPY)
def test_a_malformed_npy_is_refused(stored, case):
    data, *parts = BAD_NPY[case]
    path = stored("npy", "dense.npy", data)
    malformed(path, *parts, file=path / "dense.npy")


@pytest.mark.parametrize("case", BAD_NPY)
def test_a_malformed_npy_in_an_archive_is_refused(stored, case):
    data, *parts = BAD_NPY[case]
    path = stored("npz")
    repack(path, {"dense.npy": data})
    malformed(path, *parts)


# --- npz ------------------------------------------------------------------------------------------


def repack(
    path: Path, changed: dict[str, bytes | None], method: int = zipfile.ZIP_STORED
) -> dict[str, int]:
    """Write the archive anew with members changed or left out; gives where their data starts."""
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()} | changed
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in content.items():
            if data is not None:
                archive.writestr(name, data)
        return {info.filename: info.header_offset + 30 + len(info.filename.encode())
                for info in archive.infolist()}  # fmt: skip


def patch(path: Path, offset: int, data: bytes) -> None:
    content = bytearray(path.read_bytes())
    content[offset : offset + len(data)] = data
    path.write_bytes(content)


@pytest.mark.parametrize("member", ["dense.npy", "index.npy", "sparse.json"])
def test_an_archive_without_a_member_is_refused(stored, member):
    path = stored("npz")
    repack(path, {member: None})
    malformed(path, member)


@pytest.mark.parametrize("member", ["dense.npy", "index.npy", "sparse.json"])
def test_an_archive_with_another_crc_is_refused(stored, member):
    path = stored("npz")
    starts = repack(path, {})
    with zipfile.ZipFile(path) as archive:
        last = starts[member] + archive.getinfo(member).file_size - 1
    patch(path, last, bytes([path.read_bytes()[last] ^ 1]))
    malformed(path, "archive")


@pytest.mark.parametrize("member", ["dense.npy", "sparse.json"])
@pytest.mark.parametrize("at", [0, 4, 12])
def test_a_broken_compressed_member_is_refused(stored, member, at):
    path = stored("npz")
    start = repack(path, {}, zipfile.ZIP_DEFLATED)[member]
    patch(path, start + at, b"\xff" * 24)
    malformed(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_archive_that_numpy_would_not_write_is_refused(stored, method):
    path = stored("npz")
    repack(path, {}, method)
    malformed(path, "archive", "compressed")


def test_an_archive_with_an_unknown_compression_is_refused(stored):
    path = stored("npz")
    content = path.read_bytes()
    at = content.index(b"PK\x01\x02") + 10
    patch(path, at, (99).to_bytes(2, "little"))
    malformed(path, "archive", "compressed")


def test_an_archive_behind_other_bytes_is_refused(stored):
    path = stored("npz")
    path.write_bytes(b"#!/bin/sh\n" + path.read_bytes())
    malformed(path, "archive")


def test_an_encrypted_archive_is_refused(stored):
    path = stored("npz")
    content = path.read_bytes()
    for magic, flags in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        at = -1
        while (at := content.find(magic, at + 1)) >= 0:
            patch(path, at + flags, b"\x01\x00")
    malformed(path, "archive")


NO_ARCHIVES = {"empty": b"", "text": b"hello\n", "npy": npy(npy_text()), "zeros": bytes(1000)}


@pytest.mark.parametrize("name", ["w.npz", "w"])
@pytest.mark.parametrize("case", NO_ARCHIVES)
def test_a_file_that_is_no_archive_is_refused(tmp_path, case, name):
    (tmp_path / name).write_bytes(NO_ARCHIVES[case])
    malformed(tmp_path / name, "archive")


def test_an_archive_of_plain_arrays_is_refused(tmp_path):
    np.savez(tmp_path / "w.npz", dense=WORKED.dense, index=WORKED.index)
    malformed(tmp_path / "w.npz", "sparse.json")


# --- hex ------------------------------------------------------------------------------------------

# Good: "05\nfd\n07\nf8\n".
BAD_HEX = {
    "x digits": (b"05\nxx\n07\nf8\n", 3, "xx", "x or z"),
    "one x digit": (b"05\nfd\n0X\nf8\n", 6, "0X", "x or z"),
    "z digits": (b"05\nfd\n07\nzz\n", 9, "zz", "x or z"),
    "question mark": (b"?5\nfd\n07\nf8\n", 0, "?5", "x or z"),
    "0x": (b"0x05\nfd\n07\nf8\n", 0, "0x05"),
    "narrow word": (b"5\nfd\n07\nf8\n", 0, "1 digits", "expected 2"),
    "wide word": (b"// a\n05\nfd\n  007\nf8\n", 13, "3 digits", "expected 2"),
    "two words in one": (b"05fd\n07f8\n", 0, "4 digits", "expected 2"),
    "address": (b"@0\n05\nfd\n07\nf8\n", 0, "@0", "address"),
    "address later": (b"05\nfd\n@2 07\nf8\n", 6, "@2", "address"),
    "underscore": (b"05\nfd\n0_7\nf8\n", 6, "0_7"),
    "sign": (b"05\n-3\n07\n-8\n", 3, "-3", "not hexadecimal"),
    "letter": (b"05\nfg\n07\nf8\n", 3, "fg", "not hexadecimal"),
    "zero bytes": (b"05\nfd\n\0\0\nf8\n", 6, "not hexadecimal"),
    "not ASCII": (b"05\nfd\n\xc3\xa9\nf8\n", 6, "not hexadecimal"),
    "block comment": (b"05\n/* */ fd\n07\nf8\n", 3, "/*"),
    "one word over": (b"05\nfd\n07\nf8\n00\n", 12, "a word too many", "4 words"),
    "many words over": (b"05\n" * 9999, 12, "a word too many", "4 words"),
    "one long line": (b"0" * (1 << 21), 0, "line"),
    "one word short": (b"05\nfd\n07\n", None, "3 words, expected 4", "truncated"),
    "cut in a word": (b"05\nfd\n07\nf", 9, "1 digits"),
    "comments only": (b"// 05\n// fd\n", None, "0 words", "truncated"),
    "empty": (b"", None, "0 words", "truncated"),
    "another value": (b"05\nfd\n07\nf9\n", None, "checksum", "sha256"),
}


@pytest.mark.parametrize("case", BAD_HEX)
def test_malformed_hex_is_refused_with_the_byte(stored, case):
    data, offset, *parts = BAD_HEX[case]
    path = stored("hex", "dense.hex", data)
    malformed(path, *parts, file=path / "dense.hex", offset=offset)


@pytest.mark.parametrize(
    ("order", "data"), [("little", b"07fd05\n0100f8\n"), ("big", b"05fd07\nf80001\n")]
)
def test_a_filling_of_the_last_word_that_is_not_zero_is_refused(stored, order, data):
    path = stored("hex", "dense.hex", data, word_bytes=3, order=order)
    malformed(path, "filled", file=path / "dense.hex")


def test_hex_of_the_other_byte_order_is_refused(stored):
    path = stored("hex", "dense.hex", b"05fd07f8\n", word_bytes=4)
    malformed(path, "checksum", file=path / "dense.hex")


# --- bin ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "parts"),
    [
        (b"", ("0 bytes", "4", "truncated")),
        (b"\x05\xfd\x07", ("3 bytes", "4", "truncated")),
        (b"\x05\xfd\x07\xf8\0", ("5 bytes", "4", "too long")),
        (b"\x05\xfd\x07\xf9", ("checksum", "sha256")),
    ],
)
def test_a_malformed_bin_is_refused(stored, data, parts):
    path = stored("bin", "dense.bin", data)
    malformed(path, *parts, file=path / "dense.bin")


# --- the manifest ---------------------------------------------------------------------------------


def without(*keys: str) -> Callable[[Any], None]:
    def change(about: Any) -> None:
        for key in keys[:-1]:
            about = about[key]
        del about[keys[-1]]

    return change


def having(*keys_and_value: Any) -> Callable[[Any], None]:
    def change(about: Any) -> None:
        *keys, last, value = keys_and_value
        for key in keys:
            about = about[key]
        about[last] = value

    return change


WORKED_ENTRY = {
    "name": "dense.hex",
    "dtype": "int8",
    "shape": [1, 4],
    "sha256": hashlib.sha256(b"\x05\xfd\x07\xf8").hexdigest(),
    "order": "little",
}
BAD_MANIFEST = {
    **{f"no {key}": (without(key), key) for key in ("schema", "kind", "shape", "layout", "files")},
    **{
        f"no files.{role}.{key}": (without("files", role, key), f"files.{role}", key)
        for role in ("dense", "index")
        for key in ("name", "dtype", "shape", "sha256", "word_bytes", "order", "words")
    },
    "no files.dense": (without("files", "dense"), "files", "dense"),
    "no files.index": (without("files", "index"), "files", "index"),
    "unknown key": (having("comment", "mine"), "unknown", "comment"),
    "unknown role": (having("files", "bias", {}), "unknown", "bias"),
    "unknown key of a file": (having("files", "index", "bits", 2), "unknown", "bits"),
    "newer schema": (having("schema", "cube24-sparse/2"), "cube24-sparse/2", "cube24-sparse/1"),
    "another schema": (having("schema", "cube24-vector/1"), "cube24-vector/1"),
    "schema of another type": (having("schema", 1), "schema"),
    "unknown kind": (having("kind", "linear"), "linear", "matrix"),
    "kind of another type": (having("kind", ["matrix"]), "kind"),
    "unknown layout": (having("layout", "nz"), "nz", "zn"),
    "layout of another type": (having("layout", None), "layout"),
    "another layout": (having("layout", "zn"), "(1, 1, 16, 32)"),
    "shape of another size": (having("shape", [1, 16]), "(1, 8)"),
    "shape of another rank": (having("shape", [1, 1, 8]), "(1, 1, 4)"),
    "shape of no rank": (having("shape", []), "shape"),
    "shape of one size": (having("shape", [8]), "shape"),
    "shape as text": (having("shape", "1, 8"), "shape"),
    "shape of text": (having("shape", ["1", "8"]), "shape"),
    "shape of floats": (having("shape", [1.0, 8.0]), "shape"),
    "shape of booleans": (having("shape", [True, 8]), "shape"),
    "negative size": (having("shape", [-1, -8]), "shape"),
    "null shape": (having("shape", None), "shape"),
    "huge shape": (having("shape", [2**62, 2**62]), "shape"),
    "shape beyond 64 bits": (having("shape", [10**30, 8]), "shape"),
    "files of another type": (having("files", []), "files"),
    "file of another type": (having("files", "dense", "dense.hex"), "files.dense"),
    "null file": (having("files", "index", None), "files.index"),
    "name of another type": (having("files", "dense", "name", 5), "files.dense.name"),
    "name in a list": (having("files", "dense", "name", ["dense.hex"]), "files.dense.name"),
    "name above": (having("files", "dense", "name", "../dense.hex"), "files.dense.name"),
    "name elsewhere": (having("files", "dense", "name", "/etc/passwd"), "files.dense.name"),
    "name with a dot": (having("files", "dense", "name", "./dense.hex"), "files.dense.name"),
    "name with a zero": (having("files", "dense", "name", "dense.hex\0"), "files.dense.name"),
    "name of the other role": (having("files", "dense", "name", "index.hex"), "files.dense.name"),
    "name with another suffix": (having("files", "dense", "name", "dense.mem"), "files.dense.name"),
    "empty name": (having("files", "dense", "name", ""), "files.dense.name"),
    "another dtype": (having("files", "dense", "dtype", "uint8"), "files.dense", "int8"),
    "dtype of another type": (having("files", "dense", "dtype", 8), "files.dense", "int8"),
    "another shape": (having("files", "dense", "shape", [1, 5]), "files.dense", "(1, 4)"),
    "shape of a file as text": (having("files", "dense", "shape", "1, 4"), "files.dense.shape"),
    "another checksum": (having("files", "dense", "sha256", "0" * 64), "checksum", "0" * 64),
    "a short checksum": (having("files", "dense", "sha256", "00"), "sha256"),
    "checksum of another type": (having("files", "dense", "sha256", 5), "sha256"),
    "words of no bytes": (having("files", "dense", "word_bytes", 0), "files.dense", "word_bytes"),
    "huge words": (having("files", "dense", "word_bytes", 10**9), "files.dense", "word_bytes"),
    "words as text": (having("files", "dense", "word_bytes", "1"), "files.dense", "word_bytes"),
    "words as boolean": (having("files", "dense", "word_bytes", True), "files.dense", "word_bytes"),
    "another word": (having("files", "dense", "word_bytes", 2), "files.dense.words", "4", "2"),
    "another word, and words": (
        having("files", "dense", {**WORKED_ENTRY, "word_bytes": 2, "words": 2}),
        "2 digits, expected 4",
    ),
    "unknown order": (having("files", "dense", "order", "middle"), "files.dense", "middle"),
    "order of another type": (having("files", "dense", "order", []), "files.dense", "order"),
    "another number of words": (having("files", "dense", "words", 5), "files.dense", "words"),
    "negative number of words": (having("files", "dense", "words", -4), "files.dense", "words"),
    "number of words as text": (having("files", "index", "words", "1"), "files.index", "words"),
}


@pytest.mark.parametrize("case", BAD_MANIFEST)
def test_a_manifest_that_does_not_fit_is_refused(stored, case):
    change, *parts = BAD_MANIFEST[case]
    path = stored("hex")
    about = json.loads((path / "sparse.json").read_text())
    change(about)
    (path / "sparse.json").write_text(json.dumps(about))
    malformed(path, *parts)


NO_MANIFEST = {
    "empty": (b"", "JSON"),
    "text": (b"dense int8 1 4\n", "JSON"),
    "cut off": (b'{"schema": "cube24-sparse/1", "kind"', "JSON"),
    "not UTF-8": (b'{"schema": "\xff"}', "JSON"),
    "list": (b"[]", "schema"),
    "number": (b"5", "schema"),
    "null": (b"null", "schema"),
    "object": (b"{}", "schema"),
    "deep nesting": (b"[" * 100_000, "JSON"),
    "a long number": (b"1" * 10_000, "JSON"),
    "two objects": (b"{}{}", "JSON"),
    "two megabytes": (b" " * (2 << 20) + b"{}", "JSON"),
}


@pytest.mark.parametrize("form", ["npy", "npz"])
@pytest.mark.parametrize("case", NO_MANIFEST)
def test_a_manifest_that_is_none_is_refused(stored, form, case):
    data, *parts = NO_MANIFEST[case]
    if case == "two megabytes":
        parts = []
    if form == "npz":
        path = stored("npz")
        repack(path, {"sparse.json": data})
        malformed(path, *parts)
        return
    path = stored("npy", "sparse.json", data)
    malformed(path, *parts, file=path / "sparse.json")


# A weight without elements may have sizes that no array can have.
IMPOSSIBLE = {
    "a size beyond 64 bits": [0, 2**70],
    "sizes that overflow together": [2**40, 2**40, 0],
    "more dimensions than NumPy has": [1] * 68 + [0, 8],
}


@pytest.mark.parametrize("form", ["bin", "hex"])
@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_a_shape_that_no_array_can_have_is_refused(tmp_path, case, form):
    *batch, n, k = IMPOSSIBLE[case]
    files = {}
    for role, dtype, part in (("dense", "int8", 2), ("index", "uint8", 8)):
        files[role] = {"name": f"{role}.{form}", "dtype": dtype, "shape": [*batch, n, k // part],
                       "sha256": hashlib.sha256(b"").hexdigest()}  # fmt: skip
        if form == "hex":
            files[role] |= {"word_bytes": 1, "order": "little", "words": 0}
        (tmp_path / f"{role}.{form}").write_bytes(b"")
    about = {"schema": "cube24-sparse/1", "kind": "matrix", "shape": [*batch, n, k],
             "layout": "nd", "files": files}  # fmt: skip
    (tmp_path / "sparse.json").write_text(json.dumps(about))
    malformed(tmp_path)


# --- files that are not there ---------------------------------------------------------------------


def no_access(path: Path, *parts: str, file: Path | None = None) -> None:
    with pytest.raises(FileAccessError) as caught:
        SparseWeight.load(path)
    for part in parts:
        assert part in str(caught.value)
    assert caught.value.path == str(file or path)
    assert str(caught.value).startswith(str(file or path))


@pytest.mark.parametrize("name", ["none", "none.npz", "none/deeper", "w/dense.npy/deeper"])
def test_a_missing_weight_is_an_access_error(stored, tmp_path, name):
    stored("npy")
    no_access(tmp_path / name)


@pytest.mark.parametrize("form", ["npy", "hex", "bin"])
@pytest.mark.parametrize("member", ["sparse.json", "dense", "index"])
def test_a_missing_member_is_an_access_error(stored, form, member):
    path = stored(form)
    file = path / (member if "." in member else f"{member}.{form}")
    file.unlink()
    no_access(path, "No such file", file=file)


@pytest.mark.parametrize("form", ["npy", "hex", "bin"])
@pytest.mark.parametrize("member", ["sparse.json", "dense", "index"])
def test_a_folder_in_place_of_a_file_is_an_access_error(stored, form, member):
    path = stored(form)
    file = path / (member if "." in member else f"{member}.{form}")
    file.unlink()
    file.mkdir()
    no_access(path, "directory", file=file)


@contextmanager
def seconds(limit: int) -> Iterator[None]:
    """Fail instead of waiting for ever."""

    def late(*_: object) -> None:
        raise AssertionError("still waiting")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(limit)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("form", FORMATS)
def test_a_pipe_in_place_of_a_file_is_an_access_error(stored, form):
    path = stored(form)
    file = path if form == "npz" else path / f"dense.{form}"
    file.unlink()
    os.mkfifo(file)
    with seconds(2):
        no_access(path, "no regular file", file=file)


@pytest.mark.parametrize("form", ["npy", "hex", "bin"])
def test_a_device_in_place_of_a_file_is_an_access_error(stored, form):
    path = stored(form)
    file = path / f"dense.{form}"
    file.unlink()
    file.symlink_to("/dev/zero")
    with seconds(2):
        no_access(path, "no regular file", file=file)


# --- any damage at all ----------------------------------------------------------------------------


def damaged(data: bytes) -> Iterator[bytes]:
    """Each byte changed in two ways, each truncation, and bytes too many."""
    for at in range(len(data)):
        for flip in (0x01, 0xFF):
            yield data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :]
        yield data[:at]
    yield data + b"\0"
    yield data + data


@pytest.mark.parametrize(
    ("form", "member"),
    [
        ("npy", "dense.npy"), ("npy", "index.npy"), ("hex", "dense.hex"), ("bin", "dense.bin"),
        ("npy", "sparse.json"), ("hex", "sparse.json"), ("npz", ""),
    ],
)  # fmt: skip
def test_any_damage_is_found_or_does_no_harm(stored, form, member):
    path = stored(form)
    file = path / member if member else path
    found = [harm(path, file, data) for data in damaged(file.read_bytes())]
    assert any(found)


@given(edits=st.lists(st.tuples(st.integers(0, 5000), st.binary(min_size=1)), min_size=1))
def test_any_damage_of_an_archive_is_found_or_does_no_harm(tmp_path, edits):
    path = tmp_path / "w.npz"
    WORKED.save(path, overwrite=True)
    data = path.read_bytes()
    for at, new in edits:
        at %= len(data)
        data = data[:at] + new + data[at + len(new) :]
    harm(path, path, data)


def harm(path: Path, file: Path, data: bytes) -> bool:
    """Whether damaged data is found out; if not, the weight is what it was."""
    file.write_bytes(data)
    try:
        sparse = SparseWeight.load(path)
    except (FileFormatError, FileAccessError) as error:
        return error.path.startswith(str(path))
    # No checksum holds the manifest of a folder: K = 7 and K = 8 are stored alike.
    sizes = [(1, 8), (1, 7), (1, 6), (1, 5)] if file.name == "sparse.json" else [(1, 8)]
    assert sparse.shape in sizes
    assert sparse.dense.tobytes() == WORKED.dense.tobytes()
    assert sparse.index.tobytes() == WORKED.index.tobytes()
    return False


def test_an_archive_is_not_unpacked_beyond_what_the_manifest_says(stored):
    # 64 MiB of zeros behind a good header: refused by the size that the archive itself states.
    path = stored("npz")
    buffer = io.BytesIO()
    np.save(buffer, WORKED.dense)
    repack(path, {"dense.npy": buffer.getvalue() + bytes(64 << 20)}, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 1 << 20
    malformed(path, "too long")


def test_a_manifest_that_unpacks_to_more_than_a_manifest_is_refused(tmp_path):
    path = tmp_path / "w.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("sparse.json", b" " * (2 << 20) + b"{}")
    with pytest.raises(encoder.FileFormatError, match=r"sparse.json: 2097154 bytes are too many"):
        SparseWeight.load(path)


def test_a_path_with_a_nul_character_is_an_access_error(tmp_path):
    with pytest.raises(encoder.FileAccessError, match="NUL"):
        SparseWeight.load(f"{tmp_path}/a\0b.npz")
    with pytest.raises(encoder.FileAccessError, match="NUL"):
        encoder.encode(np.zeros((1, 8), np.int8)).save(f"{tmp_path}/a\0b")
    with (
        pytest.raises(encoder.FileAccessError, match="NUL"),
        encoder.open_array(f"{tmp_path}/a\0b.npy"),
    ):
        pass


@pytest.mark.parametrize(
    ("options", "said"),
    [({"shape": 8}, "whole numbers"), ({"shape": (2.5, 8)}, "whole numbers"),
     ({"shape": (1, 8), "dtype": "V0"}, "no bytes")],
)  # fmt: skip
def test_a_raw_file_takes_sizes_and_types_that_can_be(tmp_path, options, said):
    (tmp_path / "w.bin").write_bytes(bytes(8))
    with (
        pytest.raises(encoder.ArgumentError, match=said),
        encoder.open_array(tmp_path / "w.bin", **options),
    ):
        pass


@pytest.mark.parametrize("limit", [1.5, "3", None])
def test_a_limit_is_a_whole_number(limit):
    with pytest.raises(encoder.ArgumentError, match="limit"):
        encoder.check(np.zeros((1, 8), np.int8), limit=limit)
    with pytest.raises(encoder.ArgumentError, match="limit"):
        encoder.decode(encoder.encode(np.zeros((1, 8), np.int8)), limit=limit)


def test_rows_of_different_lengths_are_no_array():
    with pytest.raises(encoder.DtypeError, match="weight is no array"):
        encoder.encode([[1], [1, 2]])
