"""The demo: the whole chain on real images, and a demo that can fail."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from cube24.cli import run
from cube24.errors import FileAccessError
from cube24.simulator import demo


@pytest.mark.parametrize("layout", ["nd", "zn"])
def test_every_output_of_every_layer_is_the_dense_one(layout):
    result = demo.run(layout)
    assert [layer.differences for layer in result.layers] == [0, 0, 0]
    # 360 images; outputs counted from the shapes of the network.
    assert [layer.compared for layer in result.layers] == [
        360 * 32 * 8 * 8,
        360 * 32 * 4 * 4,
        360 * 10,
    ]
    assert result.images == 360
    assert result.correct == 354


def test_the_weights_are_two_of_four_by_a_count_of_our_own():
    for layer in demo.run().layers:
        weight = layer.weight
        if weight.ndim == 4:
            weight = weight.transpose(0, 2, 3, 1)
        k = weight.shape[-1]
        padded = np.zeros((*weight.shape[:-1], -(-k // 4) * 4), np.int8)
        padded[..., :k] = weight
        assert (np.count_nonzero(padded.reshape(-1, 4), axis=1) <= 2).all()


def test_a_wrong_byte_is_seen(monkeypatch, capsys):
    """The comparison can fail: with one weight changed on the way, the demo exits with 1."""
    encode = demo.encode

    def broken(*arguments, **options):
        sparse = encode(*arguments, **options)
        sparse.dense[3, 0] += 1
        return sparse

    monkeypatch.setattr(demo, "encode", broken)
    assert run(["demo"]) == 1
    assert re.search(r"^fc .* [1-9]\d* differ", capsys.readouterr().out, re.MULTILINE)


def test_the_vectors_are_what_was_computed(tmp_path):
    target = tmp_path / "out"
    demo.write(demo.run("zn"), target)
    about = json.loads((target / "demo.json").read_text())
    assert list(about["layers"]) == ["conv1", "conv2", "fc"]
    for name, layer in about["layers"].items():
        for role, entry in layer["files"].items():
            array = np.load(target / f"{name}.{role}.npy")
            assert str(array.dtype) == entry["dtype"]
            assert list(array.shape) == entry["shape"]
            assert np.array_equal(hex_words(target / f"{name}.{role}.hex", array), array)
    x, expected = (np.load(target / f"fc.{role}.npy") for role in ("activations", "expected"))
    shipped = np.load(Path(demo.__file__).parent / "data" / "digits.npz")
    product = x.astype(object) @ shipped["fc.weight"].astype(object).T + shipped["fc.bias"]
    assert np.array_equal(product, expected)
    before = (target / "fc.expected.hex").read_bytes()
    with pytest.raises(FileAccessError, match="is there already"):
        demo.write(demo.run(), target)
    demo.write(demo.run(), target, overwrite=True)
    assert (target / "fc.expected.hex").read_bytes() == before


def hex_words(path: Path, like: np.ndarray) -> np.ndarray:
    """Words of two's complement, read with nothing but int()."""
    bits = 8 * like.dtype.itemsize
    text = path.read_text()
    assert text.endswith("\n")
    words = [int(line, 16) for line in text.splitlines() if not line.startswith("//")]
    if like.dtype.kind == "i":
        words = [word - (word >> (bits - 1) << bits) for word in words]
    return np.array(words).reshape(like.shape)
