"""Layers of a run as cases: what they hold is what ran, and what they expect is what came out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_makers import quantised_conv, quantised_matmul
from qlinear_oracle import conv_sums, matmul_sums, requantise
from sparse_weights import sparse_weight

from cube24 import graph, vectors
from cube24.graph.model import of_proto
from cube24.simulator import Unit, UnitConfig
from cube24.vectors import network_run
from cube24.vectors.build import build

RNG = np.random.default_rng(12)
BIAS = np.arange(-20, 20, dtype=np.int32) * 1000


def ran(proto: Any, x: Any, unit: Unit | None = None, **how: Any) -> graph.NetworkRun:
    layout = how.pop("layout", "zn")
    model = graph.compile(of_proto(proto), sparsity=1, layout=layout).model
    return graph.run(model, {"x": x}, unit, **how)


def conv(**how: Any) -> tuple[graph.NetworkRun, Any, Any]:
    weight = sparse_weight((40, 9, 3, 2))
    x = RNG.integers(-128, 128, (2, 9, 7, 8)).astype(np.int8)
    proto = quantised_conv(
        "QLinearConv", weight, x_shape=x.shape, x_dtype=np.int8, x_zero=-7, bias=BIAS,
        strides=(2, 1), pads=(1, 0, 2, 1), dilations=(1, 2), y_scale=0.9,
    )  # fmt: skip
    sums = conv_sums(x, -7, weight, 0, BIAS, (2, 1), (1, 0, 2, 1), (1, 2))
    return ran(proto, x, **how), x, sums


def cases(run: graph.NetworkRun) -> list[Any]:
    (layer,) = vectors.from_run(run)
    assert layer.reason == ""
    return [build("network", 1, item, 1) for item in layer.items]


@pytest.mark.parametrize("layout", ["nd", "zn"])
def test_a_convolution_is_a_case_with_its_real_activations(layout):
    run, x, sums = conv(layout=layout)
    (case,) = cases(run)
    assert case.name == "run-0000-conv"
    assert case.tags == ("network", "run", "Conv2DCompress")
    nhwc = case.pieces["activations"].array  # NC1HWC0, of one block of 32 channels
    assert np.array_equal(nhwc[:, 0, :, :, :9].transpose(0, 3, 1, 2), x)
    assert case.pieces["dense"].layout == layout
    got = case.pieces["expected"].array  # NHWC
    assert np.array_equal(got, sums.transpose(0, 2, 3, 1))


def test_a_layer_that_the_unit_requantised_is_a_case_that_does():
    run, _, sums = conv(requant="unit")
    (case,) = cases(run)
    got = case.pieces["expected"].array.transpose(0, 3, 1, 2)
    exact = requantise(sums, 0.02, 0.01, 0.9, 3, np.int8)
    assert got.dtype == np.int8
    assert int((got != exact).sum()) == run.layers[0].off.one
    assert np.array_equal(got, run.outputs["y"])


@pytest.mark.parametrize(
    ("form", "name", "operation"),
    [("QLinearMatMul", "matmul", "matmul"), ("QGemm", "fc", "fully_connected")],
)
def test_products_are_cases_of_their_kind(form, name, operation):
    weight, x = sparse_weight((6, 20)), RNG.integers(0, 256, (5, 20)).astype(np.uint8)
    run = ran(quantised_matmul(form, weight, x_shape=x.shape), x)
    (case,) = cases(run)
    assert case.name == f"run-0000-{name}"
    assert case.spec["operation"] == operation
    assert np.array_equal(case.pieces["expected"].array, matmul_sums(x, 128, weight))


@pytest.mark.parametrize("requant", ["exact", "unit"])
def test_a_large_weight_becomes_several_cases_of_some_columns(requant, monkeypatch):
    monkeypatch.setattr(network_run, "LIMIT", 54 * 16)
    run, _, sums = conv(requant=requant)
    found = cases(run)
    assert [case.name for case in found] == [
        "run-0000-conv-n00000", "run-0000-conv-n00016", "run-0000-conv-n00032",
    ]  # fmt: skip
    got = np.concatenate([case.pieces["expected"].array for case in found], axis=3)
    expected = sums if requant == "exact" else run.outputs["y"]
    assert np.array_equal(got.transpose(0, 3, 1, 2), expected)


def test_a_unit_that_differs_from_its_preset_is_that_of_the_case():
    config = replace(Unit("310B1").config, overflow="wrap")
    run, *_ = conv(unit=Unit(config))
    (case,) = cases(run)
    assert case.spec["unit"] == {"name": "310B1", "overrides": {"overflow": "wrap"}}
    assert case.unit == config


def test_what_is_no_case_says_why(monkeypatch):
    run, *_ = conv(unit=Unit(UnitConfig(name="mine")))
    (layer,) = vectors.from_run(run)
    assert (layer.items, layer.reason) == ((), "unit 'mine' is no preset")
    run, *_ = conv()
    monkeypatch.setattr(network_run, "ACTIVATIONS", 100)
    (layer,) = vectors.from_run(run, prefix="large")
    assert (layer.name, layer.node) == ("large-0000-conv", "y")
    assert layer.reason == "1008 activations are too many for a case"


def test_a_case_of_a_run_can_be_made_again_without_the_model(tmp_path: Path):
    run, *_ = conv(requant="unit")
    (layer,) = vectors.from_run(run)
    target = tmp_path / "case"
    vectors.write_case(target, "network", layer.items[0], vectors.Campaign(("network",), 0))
    assert vectors.verify(target)
