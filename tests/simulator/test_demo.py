"""The demo: the whole chain on real images, and a demo that can fail."""

import re
from pathlib import Path

import numpy as np
import pytest

from cube24.cli import run
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


def test_the_last_layer_is_the_product_with_the_shipped_weight():
    layers = {layer.name: layer for layer in demo.run("zn").layers}
    assert list(layers) == ["conv1", "conv2", "fc"]
    fc = layers["fc"]
    shipped = np.load(Path(demo.__file__).parent / "data" / "digits.npz")
    product = fc.activations.astype(object) @ shipped["fc.weight"].astype(object).T
    assert np.array_equal(product + shipped["fc.bias"], fc.expected)
