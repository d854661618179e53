"""Cases from the user's own tensors, and cases that are there with the files of a bench."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import plain_device
import pytest

from cube24 import vectors
from cube24.encoder import ViolationError
from cube24.errors import ArgumentError, Cube24Error, DtypeError, FileFormatError, ShapeError
from cube24.simulator import Requant, Unit, UnitConfig
from cube24.vectors import manifest, shrink
from cube24.vectors.arrays import from_arrays, restyled
from cube24.vectors.files import CaseStyle
from cube24.vectors.verification import verify

GOLDEN = Path(__file__).parents[2] / "vectors" / "golden"


def weight(shape, seed=1):
    """2:4 along axis 1, by hand: elements 0 and 3 of each group, or 1 and 2."""
    w = np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8)
    k = np.arange(shape[1]) % 4
    w[::2, (k == 1) | (k == 2)] = 0
    w[1::2, (k == 0) | (k == 3)] = 0
    return w


def drawn(shape, seed=2, dtype=np.int8):
    of = np.iinfo(dtype)
    return np.random.default_rng(seed).integers(of.min, of.max, shape).astype(dtype)


W, X = weight((5, 22)), drawn((3, 22))
BIAS = drawn(5, dtype=np.int32) // 4
CONV, IMAGE = weight((3, 6, 2, 3)), drawn((2, 6, 5, 4))


def written(path, case):
    manifest.write(case, path)
    stored = verify(path)
    return {role: stored.array(role) for role in case.pieces}


@pytest.mark.parametrize("layout", ["nd", "zn"])
def test_a_matmul_of_arrays(tmp_path, layout):
    case = from_arrays(W, X, BIAS, name="own", layout=layout)
    arrays = written(tmp_path / "own", case)
    assert np.array_equal(arrays["weights"], W)
    assert np.array_equal(arrays["activations"], X)
    expected = X.astype(np.int64) @ W.T.astype(np.int64) + BIAS
    assert np.array_equal(arrays["expected"], expected)
    assert (case.suite, case.name, case.style.manifest) == ("arrays", "own", 2)


def test_a_convolution_of_arrays(tmp_path):
    case = from_arrays(
        CONV, IMAGE, name="own", strides=(2, 1), pads=(1, 0, 0, 2), dilations=(1, 2), offset_x=-3
    )
    arrays = written(tmp_path / "own", case)
    image = np.pad(IMAGE.astype(int), ((0, 0), (0, 0), (1, 0), (0, 2)), constant_values=-3)
    got = arrays["expected"]
    for b, y, x, n in np.ndindex(got.shape):
        piece = image[b, :, 2 * y : 2 * y + 2, x : x + 5 : 2]
        assert got[b, y, x, n] == (piece * CONV[n].astype(int)).sum()
    assert got.shape == (2, 3, 2, 3)


@pytest.mark.parametrize(
    ("requant", "how"),
    [
        (np.float32(0.01), {}), (np.float64([0.01]), {"offset": 9, "relu": True}),
        (np.float32([0.01, 0.02, 0.5, 1, 2]), {"signed": False}),
        (np.float32([0.01, 0.02, 0.5, 1, 2]), {"mode": "DEQF16", "relu": 0.25}),
        (Requant(0.02, -5).words(Unit("dav-2201").config), {}),
        (Requant(np.array([0.5, 1, 2, 3, 4]), np.array([1, -2, 3, 255, -256]), shift=7).words(
            Unit("dav-2201").config), {}),
        (Requant(0.25, 7, signed=False).words(Unit("dav-2201").config), {"relu": True}),
        (Requant(np.array([0.5, 1, 2, 3, 4]), mode="DEQF16").words(Unit("dav-2201").config),
         {"mode": "DEQF16"}),
    ],
)  # fmt: skip
def test_requantisation_by_scales_or_words(tmp_path, requant, how):
    case = from_arrays(W, X, BIAS, requant, name="own", **how)
    arrays = written(tmp_path / "own", case)
    if requant.dtype == np.uint64:
        assert arrays["requant"].tolist() == requant.reshape(-1).tolist()
    got = plain_device.run(case.spec, arrays)
    assert got.tobytes() == arrays["expected"].tobytes()
    assert np.array_equal(arrays["accumulators"], X.astype(int) @ W.T.astype(int) + BIAS)


def test_it_is_a_case_like_any_other(tmp_path):
    style = CaseStyle(("npy", "hex"), 4, bench=True, both_layouts=True, manifest=2)
    written(tmp_path / "own", from_arrays(W, X, BIAS, np.float32(0.01), name="own", style=style))
    expected = np.load(tmp_path / "own" / "expected.npy")
    assert vectors.compare(tmp_path / "own", expected).equal
    assert not vectors.compare(tmp_path / "own", expected ^ 1).equal
    small = shrink.shrink(tmp_path / "own", lambda folder: True).case
    written(tmp_path / "small", small)
    assert small.pieces["expected"].array.size == 1
    assert vectors.coverage.of_folder((tmp_path / "own",)).cases == 1


def test_a_unit_with_other_fields(tmp_path):
    unit = UnitConfig(name="dav-2201", overflow="wrap")
    top = np.full(5, 2**31 - 1, np.int32)
    case = from_arrays(W, X, top, name="own", unit=unit)
    arrays = written(tmp_path / "own", case)
    exact = X.astype(np.int64) @ W.T.astype(np.int64) + top
    assert np.array_equal(arrays["expected"], exact.astype(np.int32))
    assert (exact > top).any()


WORDS = Requant(np.array([0.5, 1, 2, 3, 4])).words(Unit("dav-2201").config)


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"weights": np.ones((5, 22), np.int8)}, ViolationError, "non-zero"),
        ({"weights": W.astype(np.int16)}, DtypeError, "weights has dtype int16"),
        ({"activations": X.astype(np.uint8)}, DtypeError, "activations has dtype uint8"),
        ({"activations": X[:, :20]}, ShapeError, "do not fit"),
        ({"activations": IMAGE}, ShapeError, "do not fit"),
        ({"bias": BIAS[:4]}, ShapeError, "one number a column"),
        ({"bias": BIAS.astype(np.int64)}, DtypeError, "bias has dtype int64"),
        ({"requant": np.float32([1, 2])}, ShapeError, "one number a column"),
        ({"requant": np.int32([1])}, DtypeError, "float scales or uint64 words"),
        ({"requant": WORDS[:2]}, ShapeError, "2 words"),
        ({"requant": WORDS | np.uint64(1 << 50)}, ArgumentError, "word 0 is 0x"),
        ({"requant": WORDS ^ np.uint64([0, 0, 1 << 46, 0, 0])}, ArgumentError, "word 2 is 0x"),
        ({"requant": WORDS, "offset": 3}, ArgumentError, "stand in the words"),
        ({"requant": np.float32(np.inf)}, Cube24Error, "infinite|finite"),
        ({"offset": 3}, ArgumentError, "there is none"),
        ({"name": "../x"}, ArgumentError, "case name"),
        ({"name": ""}, ArgumentError, "case name"),
        ({"layout": "both"}, ArgumentError, "choose nd or zn"),
        ({"strides": (2, 1)}, ArgumentError, "of a convolution"),
        ({"unit": UnitConfig(name="mine")}, ArgumentError, "no preset"),
        ({"weights": W[:0]}, ShapeError, "no size of 0"),
        ({"activations": X[:0]}, ShapeError, "no size of 0"),
        ({"weights": W[:, :0], "activations": X[:, :0]}, ShapeError, "no size of 0"),
        ({"weights": W[:0], "requant": np.uint64([])}, ShapeError, "no size of 0"),
        ({"weights": CONV, "activations": IMAGE[:0]}, ShapeError, "no size of 0"),
        ({"weights": CONV, "activations": IMAGE, "pads": 3}, ArgumentError, "pads"),
        ({"weights": CONV, "activations": IMAGE, "strides": (1, 2, 3)}, ArgumentError, "strides"),
        ({"pads": 3}, ArgumentError, "of a convolution"),
        ({"requant": np.float32(1), "offset": 1.5}, Cube24Error, "offset"),
        ({"requant": np.float32(1), "relu": "no"}, ArgumentError, "relu"),
        ({"style": "npy"}, ArgumentError, "CaseStyle"),
    ],
)  # fmt: skip
def test_arrays_that_give_no_case_are_refused(given, error, said):
    with pytest.raises(error, match=said):
        from_arrays(**{"weights": W, "activations": X, "name": "own", **given})


def test_numbers_of_numpy_are_numbers(tmp_path):
    for number, how in enumerate((
        {"requant": np.longdouble(0.5), "offset": np.int64(3), "signed": np.bool_(False)},
        {"requant": np.float16([0.5]), "relu": np.float32(0.25)},
        {"requant": Requant(0.5).words(Unit("dav-2201").config), "relu": np.float64(0.25)},
        {"weights": CONV, "activations": IMAGE, "strides": tuple(np.int64([2, 1])),
         "pads": np.array([1, 0, 0, 2]), "offset_x": np.int8(3)},
    )):  # fmt: skip
        case = from_arrays(**{"weights": W, "activations": X, "name": "own", **how})
        arrays = written(tmp_path / str(number), case)
        assert plain_device.run(case.spec, arrays).tobytes() == arrays["expected"].tobytes()


def cube24(*words, folder):
    code = "from cube24.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, "vectors", *words], cwd=folder, capture_output=True, text=True
    )


def test_the_command_writes_the_case_or_nothing(tmp_path):
    for name, array in (("w", W), ("x", X), ("b", BIAS), ("s", np.float32([0.01])), ("q", WORDS)):
        np.save(tmp_path / f"{name}.npy", array)
    files = ["--weights", "w.npy", "--activations", "x.npy", "--bias", "b.npy"]
    got = cube24("from-arrays", *files, "--requant", "s.npy", "-o", "own", folder=tmp_path)
    assert (got.returncode, got.stdout) == (0, "written: own/manifest.json\n")
    same = from_arrays(W, X, BIAS, np.float32([0.01]), name="own")
    assert (tmp_path / "own" / "manifest.json").read_bytes() == (
        manifest.files_of(same)["manifest.json"]
    )
    for words, said in (
        (["-o", "own"], "exists"),
        (["-o", "-x"], "case name"),
        (["--offset", "3", "-o", "new"], "without --requant"),
        (["--requant", "q.npy", "--unsigned", "-o", "new"], "stand in the words"),
        (["--pads", "1,1,1,1", "-o", "new"], "only a convolution"),
        (["--bench", "--format", "npy", "-o", "new"], "hex"),
    ):
        got = cube24("from-arrays", *files, *words, folder=tmp_path)
        assert got.returncode == 2, got.stdout
        assert said in got.stderr
        assert not (tmp_path / "new").exists()


def test_cases_that_are_there_get_the_files_of_a_bench(tmp_path):
    before = sorted((GOLDEN / "requant").rglob("*"))
    got = cube24("bench", str(GOLDEN / "requant"), "-o", "new", folder=tmp_path)
    count = len(list((GOLDEN / "requant").iterdir()))
    assert (got.returncode, got.stdout) == (0, f"written: {count} cases to new\n")
    assert sorted((GOLDEN / "requant").rglob("*")) == before
    for folder in sorted((GOLDEN / "requant").iterdir()):
        new = tmp_path / "new" / "requant" / folder.name
        verify(new)
        assert (new / "plusargs.txt").exists()
        for path in folder.glob("*.hex"):
            assert (new / path.name).read_bytes() == path.read_bytes()
    assert cube24("bench", str(GOLDEN / "requant"), "-o", "new", folder=tmp_path).returncode == 2


def test_a_case_that_is_not_what_it_says_gets_none(tmp_path):
    manifest.write(from_arrays(W, X, name="own"), tmp_path / "own")
    (tmp_path / "own" / "dense.hex").write_text("00\n")
    with pytest.raises(FileFormatError, match="SHA-256"):
        restyled(tmp_path / "own")


def test_a_case_without_hex_gets_it(tmp_path):
    manifest.write(from_arrays(W, X, name="own", style=CaseStyle(("npy",))), tmp_path / "own")
    assert restyled(tmp_path / "own").style == CaseStyle(("npy", "hex"), bench=True, manifest=2)
