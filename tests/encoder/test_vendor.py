"""The bytes of the vendor's own programs: we write the same, and read theirs as they meant them.

tests/data/vendor/README.md says where the numbers come from.
"""

from pathlib import Path

import numpy as np
import oracle
import pytest

from cube24 import encoder

VENDOR = Path(__file__).parents[1] / "data" / "vendor"
CASES = ["encoder_17x68", "encoder_40x200", "encoder_64x256"]


def raw(folder: str, name: str, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    return np.fromfile(VENDOR / folder / f"{name}.bin", dtype).reshape(shape)


@pytest.mark.parametrize("case", CASES)
def test_encode_writes_the_bytes_of_the_vendors_encoder(path, case):
    folder = VENDOR / "ops_nn_encoder" / case
    sparse = encoder.encode(np.load(folder / "weight.npy"), layout="zn")
    dense, index = np.load(folder / "dense_zn.npy"), np.load(folder / "index_zn.npy")
    assert (sparse.dense.dtype, sparse.dense.shape) == (dense.dtype, dense.shape)
    assert (sparse.index.dtype, sparse.index.shape) == (index.dtype, index.shape)
    assert sparse.dense.tobytes() == dense.tobytes()
    assert sparse.index.tobytes() == index.tobytes()


@pytest.mark.parametrize("case", CASES)
def test_strict_decode_reads_the_bytes_of_the_vendors_encoder(path, case):
    folder = VENDOR / "ops_nn_encoder" / case
    weight = np.load(folder / "weight.npy")
    theirs = encoder.SparseWeight(
        np.load(folder / "dense_zn.npy"), np.load(folder / "index_zn.npy"), weight.shape, "zn"
    )
    assert np.array_equal(encoder.decode(theirs, strict=True), weight)


@pytest.mark.parametrize("case", CASES)
def test_the_vendors_weights_hold_all_legal_patterns(case):
    # Otherwise the tests above would say less than they seem to.
    weight = np.load(VENDOR / "ops_nn_encoder" / case / "weight.npy")
    patterns = oracle.histogram(weight)
    assert {name for name, count in patterns.items() if count} == {
        name for name in patterns if name.count("X") <= 2
    }


@pytest.mark.parametrize("strict", [False, True])
def test_mmad_with_sparse_gives_its_golden(path, strict):
    folder = "mmad_with_sparse"
    activation = oracle.from_nz(raw(folder, "x1_gm", "<i1", (2, 8, 16, 32)))
    theirs = encoder.SparseWeight(
        raw(folder, "x2_gm", "<i1", (1, 8, 16, 32)),
        raw(folder, "idx_gm", "<u1", (1, 8, 16, 8)),
        (128, 64),
        "zn",
    )
    weight = encoder.decode(theirs, strict=strict)
    golden = raw(folder, "golden", "<i4", (128, 128))
    assert np.array_equal(oracle.matmul(activation, weight), golden)


@pytest.mark.parametrize("strict", [False, True])
def test_matmul_sparse_with_bias_gives_its_golden(path, strict):
    # This sample keeps the dense weight in rows and the index in fractals.
    folder = "matmul_sparse_64x160x192_bias"
    index = oracle.from_zn(raw(folder, "index_gm", "<u1", (3, 10, 16, 8)))
    theirs = encoder.SparseWeight(raw(folder, "x2_gm", "<i1", (160, 96)), index, (160, 192))
    weight = encoder.decode(theirs, strict=strict)
    activation = raw(folder, "x1_gm", "<i1", (64, 192))
    bias = raw(folder, "bias_gm", "<i4", (160,)).astype(np.int64)
    golden = raw(folder, "golden", "<i4", (64, 160))
    assert np.array_equal(oracle.matmul(activation, weight) + bias, golden)
