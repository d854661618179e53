"""Files larger than memory: every way of cutting a weight into tiles gives the same bytes."""

from pathlib import Path

import numpy as np
import pytest

from cube24 import encoder
from cube24.encoder import stream

SHAPES = [(1, 1), (3, 10), (16, 64), (17, 68), (40, 200), (33, 1000), (2, 3, 20, 72), (5, 4, 4)]


def legal_weight(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Random weights, of which every third and fourth element is zero."""
    weight = np.random.default_rng(seed).integers(-128, 128, shape, dtype=np.int8)
    weight[..., 2::4] = 0
    weight[..., 3::4] = 0
    return weight


def excess_weight(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    weight = np.random.default_rng(seed).integers(-2, 3, shape, dtype=np.int8)
    weight[..., 1::4] = 7
    return weight


@pytest.fixture(params=[1, 64, 200, 1024, 5000, 1 << 24])
def budget(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(stream, "BUDGET", request.param)
    return int(request.param)


def save(tmp_path: Path, weight: np.ndarray, order: str) -> Path:
    np.save(tmp_path / "w.npy", np.asarray(weight, order=order))  # type: ignore[call-overload]
    return tmp_path / "w.npy"


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("layout", ["nd", "zn"])
@pytest.mark.parametrize("shape", SHAPES)
def test_tiles_give_the_bytes_of_one_piece(tmp_path, budget, shape, layout, order):
    weight = legal_weight(shape)
    whole = encoder.encode(weight, layout=layout)
    with encoder.open_array(save(tmp_path, weight, order)) as source:
        encoder.encode_file(source, tmp_path / "enc", layout=layout)
    assert np.array_equal(np.load(tmp_path / "enc" / "dense.npy"), whole.dense)
    assert np.array_equal(np.load(tmp_path / "enc" / "index.npy"), whole.index)
    encoder.decode_file(tmp_path / "enc", tmp_path / "back.npy", strict=True)
    assert np.array_equal(np.load(tmp_path / "back.npy"), weight)


@pytest.mark.parametrize("layout", ["nd", "zn"])
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (20, 33, 3, 2), (40, 64, 1, 1)])
def test_tiles_of_a_convolution_give_the_bytes_of_one_piece(tmp_path, budget, shape, layout):
    weight = legal_weight(shape)
    weight[:, 1::2] = 0
    whole = encoder.encode_conv(weight, layout=layout)
    with encoder.open_array(save(tmp_path, weight, "C")) as source:
        encoder.encode_file(source, tmp_path / "enc.npz", kind="conv", layout=layout,
                            style=encoder.Style("npz"))  # fmt: skip
    stored = encoder.SparseWeight.load(tmp_path / "enc.npz")
    assert np.array_equal(stored.dense, whole.dense)
    assert np.array_equal(stored.index, whole.index)
    encoder.decode_file(tmp_path / "enc.npz", tmp_path / "back.bin", strict=True)
    assert (tmp_path / "back.bin").read_bytes() == weight.tobytes()


@pytest.mark.parametrize("shape", SHAPES)
def test_a_report_from_tiles_is_the_report_of_one_piece(tmp_path, budget, shape):
    weight = excess_weight(shape)
    with encoder.open_array(save(tmp_path, weight, "C")) as source:
        assert encoder.check_file(source, limit=7) == encoder.check(weight, limit=7)


@pytest.mark.parametrize("policy", ["first_two", "first_last", "magnitude"])
@pytest.mark.parametrize("shape", SHAPES)
def test_pruning_in_tiles_is_pruning_in_one_piece(tmp_path, budget, shape, policy):
    weight = excess_weight(shape)
    pruned = encoder.prune(weight, policy=policy)
    with encoder.open_array(save(tmp_path, weight, "C")) as source:
        cost = encoder.prune_file(source, tmp_path / "p.npy", policy=policy)
        _, changes = encoder.encode_file(source, tmp_path / "enc", policy=policy)
    assert cost == pruned.cost
    assert np.array_equal(np.load(tmp_path / "p.npy"), pruned.weight)
    assert changes == encoder.encode(weight, policy=policy).changes


@pytest.mark.parametrize("layout", ["nd", "zn"])
def test_a_refused_weight_is_described_as_a_whole(tmp_path, budget, layout):
    weight = excess_weight((40, 200))
    with pytest.raises(encoder.ViolationError) as whole:
        encoder.encode(weight)
    with (
        encoder.open_array(save(tmp_path, weight, "C")) as source,
        pytest.raises(encoder.ViolationError) as pieces,
    ):
        encoder.encode_file(source, tmp_path / "enc", layout=layout)
    assert pieces.value.count == whole.value.count
    assert pieces.value.offenders == whole.value.offenders
    assert [entry.name for entry in tmp_path.iterdir()] == ["w.npy"]


@pytest.mark.parametrize("layout", ["nd", "zn"])
def test_refused_bytes_are_described_as_a_whole(tmp_path, budget, layout):
    sparse = encoder.encode(legal_weight((2, 40, 200)), layout=layout)
    # An index of 3 in a few places far apart, the last byte among them.
    sparse.index.reshape(-1)[[0, 777, sparse.index.size - 1]] |= 3
    sparse.save(tmp_path / "enc")
    with pytest.raises(encoder.RefusedError) as whole:
        encoder.decode(sparse)
    with pytest.raises(encoder.RefusedError) as pieces:
        encoder.decode_file(tmp_path / "enc", tmp_path / "back.npy")
    assert pieces.value.count == whole.value.count == 3
    assert set(pieces.value.groups) == set(whole.value.groups)
    assert [entry.name for entry in tmp_path.iterdir()] == ["enc"]


def test_a_file_that_shrinks_while_it_is_read_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(stream, "BUDGET", 1 << 14)
    path = save(tmp_path, legal_weight((64, 1024)), "C")

    def shrink(done: int) -> None:
        with path.open("rb+") as file:
            file.truncate(20000)

    with (
        encoder.open_array(path) as source,
        pytest.raises(encoder.FileFormatError, match="truncated"),
    ):
        encoder.encode_file(source, tmp_path / "enc", progress=shrink)
    assert [entry.name for entry in tmp_path.iterdir()] == ["w.npy"]


def test_progress_counts_every_weight_once(tmp_path, budget):
    done: list[int] = []
    with encoder.open_array(save(tmp_path, legal_weight((33, 1000)), "C")) as source:
        encoder.encode_file(source, tmp_path / "enc", progress=done.append)
    assert sum(done) == 33 * 1000


@pytest.mark.parametrize("shape", [(0, 8), (8, 0), (0, 0, 4), (3, 0, 4)])
@pytest.mark.parametrize("layout", ["nd", "zn"])
def test_a_weight_without_elements_is_a_weight(tmp_path, shape, layout):
    weight = np.empty(shape, np.int8)
    with encoder.open_array(save(tmp_path, weight, "C")) as source:
        encoder.encode_file(source, tmp_path / "enc", layout=layout)
        assert encoder.check_file(source).legal
    encoder.decode_file(tmp_path / "enc", tmp_path / "back.npy")
    assert np.load(tmp_path / "back.npy").shape == shape
