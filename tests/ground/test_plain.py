"""Files that are read: only regular ones, never waited for; text with the marks of editors."""

import errno
import os
import socket
import time
from pathlib import Path

import numpy as np
import pytest

from cube24 import encoder
from cube24.errors import FileAccessError, FileFormatError
from cube24.files import open_array, opened, read_bytes, read_hex, read_text
from cube24.simulator import Program, UnitConfig

# --- no regular file ------------------------------------------------------------------------------


def make(path: Path, kind: str) -> None:
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
    else:
        path.symlink_to("/dev/zero")


READERS = {
    "bytes": read_bytes,
    "text": read_text,
    "hex": lambda path: read_hex(path, 1),
    "npy": lambda path: open_array(path).__enter__(),
    "npz": lambda path: open_array(path).__enter__(),
    "safetensors": lambda path: open_array(path).__enter__(),
    "bin": lambda path: open_array(path, shape=(1, 8)).__enter__(),
    "toml": UnitConfig.load,
    "program": Program.load,
}


@pytest.mark.parametrize("kind", ["folder", "pipe", "socket", "device"])
@pytest.mark.parametrize("linked", [False, True])
@pytest.mark.parametrize("reader", READERS)
def test_only_regular_files_are_read_and_none_is_waited_for(
    tmp_path, monkeypatch, reader, linked, kind
):
    monkeypatch.chdir(tmp_path)  # the name of a socket may be short only
    path = Path(f"w.{reader}")
    make(Path("other") if linked else path, kind)
    if linked:
        path.symlink_to("other")
    start = time.monotonic()
    with pytest.raises(FileAccessError, match=r"regular file|directory") as caught:
        READERS[reader](path)
    assert time.monotonic() - start < 5
    assert caught.value.path == str(path)
    assert (caught.value.errno == errno.EISDIR) == (kind == "folder")


def test_a_file_that_becomes_a_pipe_before_it_is_opened_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "w.npy"
    path.touch()
    real = os.open

    def late(name: str, flags: int, *more: int) -> int:
        path.unlink()
        os.mkfifo(path)
        return real(name, flags, *more)

    monkeypatch.setattr(os, "open", late)
    with pytest.raises(FileAccessError, match="no regular file"), opened(path):
        pass
    monkeypatch.undo()


@pytest.mark.parametrize("member", ["sparse.json", "dense.npy", "index.npy"])
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_member_of_a_stored_weight_is_a_regular_file_too(tmp_path, member, kind):
    encoder.encode(np.zeros((2, 8), np.int8)).save(tmp_path / "w")
    (tmp_path / "w" / member).unlink()
    make(tmp_path / "w" / member, kind)
    for read in (encoder.SparseWeight.load, encoder.stored_geometry):
        with pytest.raises(FileAccessError, match="no regular file"):
            read(tmp_path / "w")


@pytest.mark.parametrize("number", [errno.EIO, errno.EDQUOT, errno.ESTALE, errno.EMFILE])
def test_what_the_system_says_while_we_read_is_an_access_error(tmp_path, monkeypatch, number):
    np.save(tmp_path / "w.npy", np.zeros((2, 8), np.int8))

    def fail(*args: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(FileAccessError) as caught:
        read_bytes(tmp_path / "w.npy")
    assert caught.value.errno == number
    assert caught.value.exit_code == 2


# --- text -----------------------------------------------------------------------------------------

BOM = b"\xef\xbb\xbf"


def test_a_mark_of_utf8_is_no_text(tmp_path):
    path = tmp_path / "t.txt"
    path.write_bytes(BOM + "é\r\n".encode())
    assert read_text(path) == "é\r\n"
    path.write_bytes(BOM)
    assert read_text(path) == ""
    path.write_bytes(BOM + b"a\xff")
    with pytest.raises(FileFormatError, match="no UTF-8 text") as caught:
        read_text(path)
    assert caught.value.offset == 4


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_another_encoding_is_named_by_its_mark(tmp_path, encoding):
    path = tmp_path / "t.hex"
    path.write_bytes("\ufeff00\n".encode(encoding))
    for read in (read_text, lambda path: read_hex(path, 1)):
        with pytest.raises(FileFormatError, match=f"{encoding[:6].upper()}; save it as UTF-8"):
            read(path)


@pytest.mark.parametrize("mark", [b"", BOM])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_every_text_is_read_with_a_mark_and_with_crlf(tmp_path, mark, end):
    def write(name: str, text: str) -> Path:
        (tmp_path / name).write_bytes(mark + text.encode().replace(b"\n", end))
        return tmp_path / name

    config = UnitConfig()
    assert UnitConfig.load(write("u.toml", config.to_toml())) == config
    program = Program.load(write("p.txt", "# é\nset_flag of=M to=MTE1 id=0\n"))
    assert len(program.instructions) == 1
    assert read_hex(write("w.hex", "// é\n0a\nff\n"), 2) == b"\x0a\xff"
    weight = encoder.encode(np.arange(16, dtype=np.int8).reshape(2, 8), policy="first_two")
    weight.save(tmp_path / "w", format="hex")
    for name in ("sparse.json", "dense.hex", "index.hex"):
        write(f"w/{name}", (tmp_path / "w" / name).read_text())
    assert np.array_equal(encoder.SparseWeight.load(tmp_path / "w").dense, weight.dense)


# --- hex words ------------------------------------------------------------------------------------

WITHOUT_0X = "words are written without 0x"
NOT_DRIVEN = "not driven"


@pytest.mark.parametrize(
    ("word", "word_bytes", "said"),
    [
        ("0x0000bee9", 4, WITHOUT_0X), ("0xbee9", 4, WITHOUT_0X), ("0XBEE9", 4, WITHOUT_0X),
        ("0x0", 4, WITHOUT_0X), ("0x123456789", 4, WITHOUT_0X), ("0xff", 1, WITHOUT_0X),
        ("0x3f", 2, f"{WITHOUT_0X}; or its x is a digit without a value"),
        ("0x", 1, NOT_DRIVEN), ("xx", 1, NOT_DRIVEN), ("0xxx", 2, NOT_DRIVEN),
        ("0xzz", 2, NOT_DRIVEN), ("0x0000xxxx", 4, NOT_DRIVEN), ("1xff", 2, NOT_DRIVEN),
    ],
)  # fmt: skip
def test_a_word_with_0x_is_told_as_one_whatever_its_width(tmp_path, word, word_bytes, said):
    path = tmp_path / "w.hex"
    path.write_text(f"{word}\n")
    with pytest.raises(FileFormatError, match=said) as caught:
        read_hex(path, word_bytes, word_bytes=word_bytes)
    assert word in str(caught.value)
    assert (NOT_DRIVEN in str(caught.value)) == (said == NOT_DRIVEN)


# --- headers of .npy ------------------------------------------------------------------------------


def npy(descr: str, shape: str, data: bytes = b"", version: int = 1) -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    length = len(header).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + length + header + data


LONG = "0x" + "f" * 5000  # hexadecimal digits have no limit in Python's text

HEADERS = {
    "a size of 5,000 digits": (npy("'|i1'", f"({'9' * 5000}, 8)"), "header"),
    "a size of 5,000 hexadecimal digits": (npy("'|i1'", f"({LONG}, 8)"), "20000 bits"),
    "a negative size of 5,000 digits": (npy("'|i1'", f"(-{LONG}, 8)"), "20000 bits"),
    "sizes whose product has 5,000 digits": (npy("'|i1'", f"({f'{9**18}, ' * 30})"), "memory"),
    "a size that is a bool": (npy("'|i1'", "(True, 8)", bytes(8)), "True, which is no whole"),
    "a size that is a fraction": (npy("'|i1'", "(1.0, 8)", bytes(8)), "header"),
    "text of no characters": (npy("'<U0'", "(2, 8)"), "no bytes"),
    "bytes of no length": (npy("'|S0'", "(2, 8)"), "no bytes"),
    "raw bytes of no length": (npy("'|V0'", "(2, 8)"), "no bytes"),
    "records": (npy("[('a', '|i1'), ('b', '<i2')]", "(2, 8)", bytes(48)), "records"),
    "records of nothing": (npy("[]", "(2, 8)"), r"records|header"),
    "elements that are arrays": (npy("('|i1', (2,))", "(2, 4)", bytes(16)), "records|header"),
    "Python objects": (npy("'|O'", "(2, 8)", bytes(128)), "Python objects"),
    "a size beyond all memory": (npy("'|i1'", f"({2**62}, 8)"), "memory"),
    "version 3": (npy("'|i1'", "(1, 8)", bytes(8), version=3), "version"),
}  # fmt: skip


@pytest.mark.parametrize("case", HEADERS)
def test_a_header_that_no_array_has_is_a_format_error(tmp_path, case):
    data, said = HEADERS[case]
    path = tmp_path / "w.npy"
    path.write_bytes(data)
    with pytest.raises(FileFormatError, match=said), open_array(path):
        pass


@pytest.mark.parametrize("descr", ["|b1", "|S3", "<U2", "<M8[s]", "<f4", "<c8", ">i2", "|V4"])
def test_elements_that_are_no_int8_are_told_by_their_type(tmp_path, descr):
    np.save(tmp_path / "w.npy", np.zeros((2, 8), np.dtype(descr)))
    with (
        open_array(tmp_path / "w.npy") as array,
        pytest.raises(encoder.DtypeError, match=r"dtype"),
    ):
        encoder.check_file(array)
