"""Select and multiply: what the bytes compute, against a loop over Python integers."""

import numpy as np
import pytest

from cube24 import encoder
from cube24.simulator import dense, functional


def by_hand(activations: np.ndarray, sparse: encoder.SparseWeight) -> list[list[int]]:
    """The selection rule in Python integers, read from ND bytes one bit pair at a time."""
    rows = []
    for row in activations.tolist():
        padded = [*row, *[0] * 8]
        sums = []
        for n in range(sparse.dense.shape[0]):
            total = 0
            for group in range(sparse.dense.shape[1] // 2):
                pair = int(sparse.index[n, group // 2]) >> (4 * (group % 2)) & 15
                total += int(sparse.dense[n, 2 * group]) * padded[4 * group + (pair & 3)]
                total += int(sparse.dense[n, 2 * group + 1]) * padded[4 * group + (pair >> 2) + 1]
            sums.append(total)
        rows.append(sums)
    return rows


def random_bytes(n: int, k: int, seed: int) -> encoder.SparseWeight:
    """Any bytes whose indices are legal: duplicates, conflicts and non-canonical pairs included."""
    rng = np.random.default_rng(seed)
    stored = -(-k // 8) * 8
    pairs = rng.integers(0, 3, (n, stored // 2), dtype=np.uint8)
    return encoder.SparseWeight(
        rng.integers(-128, 128, (n, stored // 2), dtype=np.int8),
        encoder.pack_index(pairs),
        (n, k),
    )


@pytest.mark.parametrize("k", [1, 4, 6, 8, 12, 64, 100])
@pytest.mark.parametrize("n", [1, 5, 17])
def test_any_legal_bytes_select_and_multiply_by_the_rule(n, k):
    sparse = random_bytes(n, k, seed=n * 1000 + k)
    activations = np.random.default_rng(k).integers(-128, 128, (3, k), dtype=np.int8)
    assert functional.matmul(activations, sparse).tolist() == by_hand(activations, sparse)


@pytest.mark.parametrize("k", [4, 64, 100])
def test_both_layouts_compute_the_same(k):
    sparse = random_bytes(17, k, seed=k)
    activations = np.random.default_rng(k).integers(-128, 128, (3, k), dtype=np.int8)
    expected = by_hand(activations, sparse)
    assert functional.matmul(activations, sparse.to_fractal()).tolist() == expected


def test_two_weights_on_one_element_are_both_added():
    # (1, 0) points both slots at element 1; the unit adds both products, decode refuses them.
    sparse = encoder.SparseWeight(
        np.array([[3, 4, 0, 0]], np.int8), np.array([[0b0001]], np.uint8), (1, 8)
    )
    activations = np.array([[9, 10, 11, 12, 0, 0, 0, 0]], np.int8)
    assert functional.matmul(activations, sparse).tolist() == [[70]]
    with pytest.raises(encoder.RefusedError):
        encoder.decode(sparse)


def test_an_index_of_3_is_refused_with_its_place():
    sparse = random_bytes(3, 16, seed=1)
    sparse.index[2, 1] |= 0b1100_0000
    with pytest.raises(encoder.RefusedError, match="row 2 group 3"):
        functional.matmul(np.zeros((1, 16), np.int8), sparse)


def dense_by_hand(x: np.ndarray, w: np.ndarray, strides: tuple[int, int], pads: tuple[int, ...]):
    """A convolution as seven loops."""
    batch, cin, height, width = x.shape
    cout, _, kh, kw = w.shape
    ho = (height + pads[0] + pads[2] - kh) // strides[0] + 1
    wo = (width + pads[1] + pads[3] - kw) // strides[1] + 1
    out = np.zeros((batch, cout, ho, wo), object)
    for b, o, i, j in np.ndindex(out.shape):
        for c, r, s in np.ndindex(cin, kh, kw):
            y, z = i * strides[0] - pads[0] + r, j * strides[1] - pads[1] + s
            if 0 <= y < height and 0 <= z < width:
                out[b, o, i, j] += int(x[b, c, y, z]) * int(w[o, c, r, s])
    return out


CONVOLUTIONS = [
    # x, w, strides, pads (top, left, bottom, right)
    ((1, 1, 5, 5), (2, 1, 3, 3), (1, 1), (0, 0, 0, 0)),
    ((2, 3, 6, 7), (4, 3, 3, 2), (2, 1), (1, 0, 2, 1)),
    ((1, 33, 4, 4), (3, 33, 1, 1), (1, 1), (0, 0, 0, 0)),
    ((1, 64, 5, 3), (2, 64, 3, 3), (1, 2), (1, 1, 1, 1)),
    ((3, 5, 8, 8), (17, 5, 5, 5), (3, 3), (2, 2, 2, 2)),
]


@pytest.mark.parametrize("layout", ["nd", "zn"])
@pytest.mark.parametrize(("x_shape", "w_shape", "strides", "pads"), CONVOLUTIONS)
def test_a_convolution_from_bytes_is_the_convolution(x_shape, w_shape, strides, pads, layout):
    rng = np.random.default_rng(w_shape[1])
    x = rng.integers(-128, 128, x_shape, dtype=np.int8)
    w = encoder.prune(rng.integers(-128, 128, w_shape, dtype=np.int8), kind="conv").weight
    expected = dense_by_hand(x, w, strides, pads)
    sparse = encoder.encode_conv(w, layout=layout)
    got = functional.conv2d(x, sparse, strides=strides, pads=pads)
    assert np.array_equal(got, expected)
    assert np.array_equal(dense.conv2d(x, w, strides=strides, pads=pads), expected)


def test_bias_is_added_and_a_sum_beyond_int32_is_refused():
    sparse = encoder.encode(np.array([[127, 0, 0, 0], [-128, 0, 0, 0]], np.int8))
    activations = np.array([[1, 0, 0, 0]], np.int8)
    edge = np.array([2**31 - 1 - 127, -(2**31) + 128], np.int32)
    assert functional.matmul(activations, sparse, edge).tolist() == [[2**31 - 1, -(2**31)]]
    for beyond in (edge + np.int32([1, 0]), edge - np.int32([0, 1])):
        with pytest.raises(functional.AccumulatorError, match="int32 cannot hold"):
            functional.matmul(activations, sparse, beyond)


BAD = {
    "K differs": (np.zeros((1, 9), np.int8), None, encoder.ShapeError, r"takes \(M, 8\)"),
    "one dimension": (np.zeros(8, np.int8), None, encoder.ShapeError, r"takes \(M, 8\)"),
    "float": (np.zeros((1, 8)), None, encoder.DtypeError, "float64"),
    "bias of another size": (
        np.zeros((1, 8), np.int8), np.zeros(2, np.int32), encoder.ShapeError, r"\(3,\)",
    ),
    "bias of another type": (
        np.zeros((1, 8), np.int8), np.zeros(3, np.int64), encoder.ShapeError, "int64",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_arguments_that_do_not_fit_are_explained(case):
    activations, bias, error, said = BAD[case]
    sparse = encoder.encode(np.zeros((3, 8), np.int8))
    with pytest.raises(error, match=said):
        functional.matmul(activations, sparse, bias)


def test_convolution_arguments_that_do_not_fit_are_explained():
    x = np.zeros((1, 3, 4, 4), np.int8)
    with pytest.raises(encoder.ShapeError, match="encode_conv"):
        functional.conv2d(x, encoder.encode(np.zeros((3, 8), np.int8)))
    sparse = encoder.encode_conv(np.zeros((2, 4, 3, 3), np.int8))
    with pytest.raises(encoder.ShapeError, match=r"\(B, 4, H, W\)"):
        functional.conv2d(x, sparse)
    sparse = encoder.encode_conv(np.zeros((2, 3, 5, 5), np.int8))
    with pytest.raises(encoder.ShapeError, match="does not fit"):
        functional.conv2d(x, sparse)
    with pytest.raises(encoder.ShapeError, match="batch"):
        functional.matmul(np.zeros((1, 8), np.int8), encoder.encode(np.zeros((2, 3, 8), np.int8)))
