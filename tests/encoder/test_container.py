"""Stored weights: what is written, byte for byte, and that reading gives it back."""

import hashlib
import itertools
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from samples import legal_weight

from cube24 import encoder
from cube24.encoder import SparseWeight

FORMATS = ["npy", "hex", "bin", "npz"]
# dense 5 -3 7 -8, index pairs (1, 2) and (0, 1): the worked byte.
WORKED = encoder.encode(np.int8([[0, 5, 0, -3, 7, 0, -8, 0]]))
DENSE, INDEX = bytes([0x05, 0xFD, 0x07, 0xF8]), bytes([0x49])


def target(folder: Path, form: str) -> Path:
    return folder / ("weight.npz" if form == "npz" else "weight")


def members(path: Path) -> dict[str, bytes]:
    """Names and contents of a stored weight."""
    if path.suffix == ".npz":
        with zipfile.ZipFile(path) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    return {file.name: file.read_bytes() for file in path.iterdir()}


def assert_same(one: SparseWeight, two: SparseWeight) -> None:
    assert (one.shape, one.layout, one.kind) == (two.shape, two.layout, two.kind)
    for a, b in ((one.dense, two.dense), (one.index, two.index)):
        assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())


def parse_hex(text: bytes, word_bytes: int, order: str) -> bytes:
    """What $readmemh would read, as bytes; it demands the strict form."""
    assert text.endswith(b"\n") or not text
    assert b"\r" not in text
    data = b""
    for line in text.decode("ascii").splitlines():
        if line.startswith("//"):
            continue
        assert len(line) == 2 * word_bytes
        assert set(line) <= set("0123456789abcdef")
        data += int(line, 16).to_bytes(word_bytes, order)  # type: ignore[arg-type]
    return data


# --- round trips ----------------------------------------------------------------------------------

WEIGHTS = {
    "one group": ((1, 4), "matrix"),
    "tails": ((19, 70), "matrix"),
    "fractals": ((32, 128), "matrix"),
    "batch": ((2, 3, 5, 20), "matrix"),
    "conv": ((5, 33, 3, 2), "conv"),
    "no rows": ((0, 8), "matrix"),
    "no columns": ((3, 0), "matrix"),
    "no matrices": ((0, 3, 8), "matrix"),
}


@pytest.mark.parametrize("case", WEIGHTS)
@pytest.mark.parametrize("layout", ["nd", "zn"])
@pytest.mark.parametrize("form", FORMATS)
def test_a_stored_weight_is_read_back_whole(tmp_path, form, layout, case):
    shape, kind = WEIGHTS[case]
    encode = encoder.encode_conv if kind == "conv" else encoder.encode
    sparse = encode(legal_weight(shape, 1, kind), layout=layout)
    sparse.save(target(tmp_path, form), format=form)
    assert_same(SparseWeight.load(target(tmp_path, form)), sparse)
    assert [path.name for path in tmp_path.iterdir()] == [target(tmp_path, form).name]


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("word_bytes", [1, 2, 3, 4, 7, 16, 64, 4096])
def test_hex_of_any_word_is_read_back_whole(tmp_path, word_bytes, order, header):
    sparse = encoder.encode(legal_weight((3, 60), 2))
    sparse.save(tmp_path / "w", format="hex", word_bytes=word_bytes, order=order, header=header)
    assert_same(SparseWeight.load(tmp_path / "w"), sparse)
    for role, array in (("dense", sparse.dense), ("index", sparse.index)):
        text = (tmp_path / "w" / f"{role}.hex").read_bytes()
        data = parse_hex(text, word_bytes, order)
        assert data == array.tobytes().ljust(len(data), b"\0")
        assert len(data) - array.size < word_bytes
        assert text.startswith(b"//") == header


def test_bytes_of_any_sort_are_stored_without_judgement(tmp_path):
    sparse = SparseWeight(np.full((1, 4), -1, np.int8), np.uint8([[0xFF]]), (1, 8))
    for form in FORMATS:
        sparse.save(target(tmp_path, form), format=form, overwrite=True)
        assert_same(SparseWeight.load(target(tmp_path, form)), sparse)


def test_the_suffix_npz_and_only_that_chooses_one_file(tmp_path):
    WORKED.save(tmp_path / "a.npz")
    WORKED.save(tmp_path / "b")
    WORKED.save(str(tmp_path / "c.d"))
    assert (tmp_path / "a.npz").is_file()
    assert {path.name for path in (tmp_path / "b").iterdir()} == {
        "dense.npy", "index.npy", "sparse.json",
    }  # fmt: skip
    assert_same(SparseWeight.load(str(tmp_path / "c.d")), WORKED)


# --- what the files hold --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word_bytes", "order", "dense", "index"),
    [
        (1, "little", "05\nfd\n07\nf8\n", "49\n"),
        (1, "big", "05\nfd\n07\nf8\n", "49\n"),
        (2, "little", "fd05\nf807\n", "0049\n"),
        (2, "big", "05fd\n07f8\n", "4900\n"),
        (3, "little", "07fd05\n0000f8\n", "000049\n"),
        (3, "big", "05fd07\nf80000\n", "490000\n"),
        (4, "little", "f807fd05\n", "00000049\n"),
        (8, "big", "05fd07f800000000\n", "4900000000000000\n"),
    ],
)
def test_hex_words_by_hand(tmp_path, word_bytes, order, dense, index):
    WORKED.save(tmp_path / "w", format="hex", word_bytes=word_bytes, order=order, header=False)
    assert members(tmp_path / "w")["dense.hex"] == dense.encode()
    assert members(tmp_path / "w")["index.hex"] == index.encode()


def test_the_header_of_a_hex_file_is_comments_that_say_what_it_is(tmp_path):
    sparse = encoder.encode(legal_weight((3, 16), 3))
    sparse.save(tmp_path / "with", format="hex", word_bytes=4)
    sparse.save(tmp_path / "without", format="hex", word_bytes=4, header=False)
    for role, dtype, shape in (("dense", "int8", "[3, 8]"), ("index", "uint8", "[3, 2]")):
        text = (tmp_path / "with" / f"{role}.hex").read_text()
        header = [line for line in text.splitlines() if line.startswith("//")]
        digest = hashlib.sha256(getattr(sparse, role).tobytes()).hexdigest()
        for fact in (
            f"name: {role}.hex", f"role: {role}", f"dtype: {dtype}", f"shape: {shape}",
            "layout: nd", "word_bytes: 4", "order: little", f"sha256: {digest}",
        ):  # fmt: skip
            assert f"// {fact}" in header
        body = text.removeprefix("".join(f"{line}\n" for line in header))
        assert body == (tmp_path / "without" / f"{role}.hex").read_text()


@pytest.mark.parametrize("form", FORMATS)
def test_the_manifest_says_what_the_arrays_stand_for(tmp_path, form):
    words = {"word_bytes": 2, "order": "big"} if form == "hex" else {}
    WORKED.save(target(tmp_path, form), format=form, **words)
    suffix = "npy" if form == "npz" else form
    files = {
        role: {
            "name": f"{role}.{suffix}",
            "dtype": dtype,
            "shape": shape,
            "sha256": hashlib.sha256(data).hexdigest(),
        }
        for role, dtype, shape, data in (
            ("dense", "int8", [1, 4], DENSE),
            ("index", "uint8", [1, 1], INDEX),
        )
    }
    if form == "hex":
        files["dense"] |= {"word_bytes": 2, "order": "big", "words": 2}
        files["index"] |= {"word_bytes": 2, "order": "big", "words": 1}
    assert json.loads(members(target(tmp_path, form))["sparse.json"]) == {
        "schema": "cube24-sparse/1",
        "kind": "matrix",
        "shape": [1, 8],
        "layout": "nd",
        "files": files,
    }


def test_bin_holds_the_bytes_and_nothing_else(tmp_path):
    WORKED.save(tmp_path / "w", format="bin")
    assert members(tmp_path / "w")["dense.bin"] == DENSE
    assert members(tmp_path / "w")["index.bin"] == INDEX


@pytest.mark.parametrize("layout", ["nd", "zn"])
def test_numpy_alone_reads_npy_and_npz(tmp_path, layout):
    sparse = encoder.encode(legal_weight((2, 20, 70), 4), layout=layout)
    sparse.save(tmp_path / "w")
    sparse.save(tmp_path / "w.npz")
    with np.load(tmp_path / "w.npz") as archive:
        for role, array in (("dense", sparse.dense), ("index", sparse.index)):
            for read in (archive[role], np.load(tmp_path / "w" / f"{role}.npy")):
                assert read.dtype == array.dtype
                assert np.array_equal(read, array)


# --- determinism ----------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMATS)
def test_two_saves_give_the_same_bytes_wherever_and_whenever(tmp_path, monkeypatch, form):
    sparse = encoder.encode(legal_weight((19, 70), 5), layout="zn")
    for number in (1, 2):
        folder = tmp_path / f"in folder {number}"
        folder.mkdir()
        clock = 1e9 * number
        with monkeypatch.context() as patch:
            patch.setattr("time.time", lambda clock=clock: clock)
            sparse.save(target(folder, form), format=form)
    one, two = (target(tmp_path / f"in folder {number}", form) for number in (1, 2))
    assert members(one) == members(two)
    if form == "npz":
        assert one.read_bytes() == two.read_bytes()
        with zipfile.ZipFile(one) as archive:
            assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_load_and_save_again_gives_the_same_bytes(tmp_path):
    sparse = encoder.encode(legal_weight((19, 70), 6))
    for form in FORMATS:
        sparse.save(target(tmp_path, form), format=form, overwrite=True)
        before = members(target(tmp_path, form))
        again = SparseWeight.load(target(tmp_path, form))
        again.save(target(tmp_path, form), format=form, overwrite=True)
        assert members(target(tmp_path, form)) == before


# --- options --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "parts"),
    [
        ("w", {"format": "coe"}, ("'coe'", "npy, hex, bin, npz")),
        ("w", {"format": "npz"}, ("w", "*.npz")),
        ("w.npz", {"format": "npy"}, ("w.npz", "a folder")),
        ("w.NPZ", {"format": "hex"}, ("w.NPZ", "a folder")),
        ("w", {"format": "hex", "word_bytes": 0}, ("word_bytes 0", "1 to 4096")),
        ("w", {"format": "hex", "word_bytes": 4097}, ("word_bytes 4097",)),
        ("w", {"format": "hex", "word_bytes": -1}, ("word_bytes -1",)),
        ("w", {"format": "hex", "order": "middle"}, ("'middle'", "'little'", "'big'")),
    ],
)
def test_a_style_that_does_not_exist_is_refused_before_anything_is_written(
    tmp_path, name, options, parts
):
    with pytest.raises(encoder.ArgumentError) as caught:
        WORKED.save(tmp_path / name, **options)
    for part in parts:
        assert part in str(caught.value)
    assert list(tmp_path.iterdir()) == []


# --- what other writers may do --------------------------------------------------------------------

SPELLINGS = {
    "upper case": b"05\nFD\n07\nF8\n",
    "line ends of Windows": b"05\r\nfd\r\n07\r\nf8\r\n",
    "several words a line": b"05 fd\t07\n\n  f8",
    "comments": b"// a\n05 // 99\nfd//98\n07\n// @0\nf8\n",
    "no final newline": b"05\nfd\n07\nf8",
}


@pytest.mark.parametrize("case", SPELLINGS)
def test_hex_is_read_as_simulators_read_it(tmp_path, case):
    WORKED.save(tmp_path / "w", format="hex")
    (tmp_path / "w" / "dense.hex").write_bytes(SPELLINGS[case])
    assert_same(SparseWeight.load(tmp_path / "w"), WORKED)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_an_archive_that_was_packed_again_is_read(tmp_path, method):
    sparse = encoder.encode(legal_weight((19, 70), 7))
    sparse.save(tmp_path / "w.npz")
    content = members(tmp_path / "w.npz")
    for order in itertools.permutations(content):
        with zipfile.ZipFile(tmp_path / "w.npz", "w", method) as archive:
            for name in order:
                archive.writestr(name, content[name])
        assert_same(SparseWeight.load(tmp_path / "w.npz"), sparse)


# --- what a stored weight is ----------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("layout", ["nd", "zn"])
def test_the_geometry_is_told_without_reading_the_arrays(tmp_path, form, layout, monkeypatch):
    path = target(tmp_path, form)
    sparse = encoder.encode(legal_weight((19, 70), 4), layout=layout)
    sparse.save(path, format=form)
    monkeypatch.setattr(encoder.ArrayFile, "read_all", None)
    monkeypatch.setattr(hashlib, "sha256", None)
    assert encoder.is_stored(path)
    assert encoder.stored_geometry(path) == encoder.Geometry((19, 70), "matrix", layout)


def test_a_geometry_that_the_files_do_not_have_is_refused(tmp_path):
    WORKED.save(tmp_path / "w", format="bin")
    (tmp_path / "w/dense.bin").write_bytes(DENSE[:-1])
    with pytest.raises(encoder.FileFormatError, match="truncated"):
        encoder.stored_geometry(tmp_path / "w")
    WORKED.save(tmp_path / "h", format="hex")
    (tmp_path / "h/index.hex").unlink()
    with pytest.raises(encoder.FileAccessError, match="No such file"):
        encoder.stored_geometry(tmp_path / "h")
    WORKED.save(tmp_path / "n")
    np.save(tmp_path / "n/index.npy", np.uint8([[1, 2]]))
    with pytest.raises(encoder.FileFormatError, match="shape"):
        encoder.stored_geometry(tmp_path / "n")
    np.savez(tmp_path / "a.npz", dense=np.int8([1]))
    with pytest.raises(encoder.FileFormatError, match=r"holds no sparse\.json"):
        encoder.stored_geometry(tmp_path / "a.npz")


def test_what_is_a_stored_weight_is_told_by_its_members(tmp_path):
    WORKED.save(tmp_path / "w.npz")
    with zipfile.ZipFile(tmp_path / "m.npz", "w") as archive:
        archive.writestr("sparse.json", "no JSON")
    np.savez(tmp_path / "a.npz", a=DENSE)
    (tmp_path / "t.npz").write_text("no archive")
    stored = {name: encoder.is_stored(tmp_path / f"{name}.npz") for name in "wmat"}
    assert stored == {"w": True, "m": True, "a": False, "t": False}
    assert encoder.is_stored(tmp_path)
    assert not encoder.is_stored(tmp_path / "gone.npz")
    assert not encoder.is_stored(tmp_path / "gone")
