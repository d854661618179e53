"""The suite of the digits network: against the data itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from plain_sums import digits, made, sums_of

from cube24.vectors import manifest, shrink, suites, verification
from cube24.vectors.case import Case
from cube24.vectors.spec import Item
from cube24.vectors.suites import digits as digits_suite


@pytest.fixture(scope="module")
def level0() -> Mapping[str, Case]:
    return {item.name: made(item) for item in digits_suite.cases(0, 1)}


def test_the_layers_hold_the_trained_numbers(level0: Mapping[str, Case]) -> None:
    data = digits()
    assert level0.keys() == {
        "digits-conv1-000-001", "digits-conv1-000-001-int8", "digits-conv2-000-001",
        "digits-conv2-000-001-int8", "digits-fc-000-001",
    }  # fmt: skip
    for name, case in level0.items():
        layer = name.split("-")[1]
        assert np.array_equal(case.pieces["weights"].array, data[f"{layer}.weight"])
        assert np.array_equal(case.pieces["bias"].array, data[f"{layer}.bias"])
    images = level0["digits-conv1-000-001"].pieces["activations"].array
    assert np.array_equal(images[:, 0, :, :, 0], data["images"][:2])
    assert not images[..., 1:].any()


def test_the_results_are_the_sums_and_name_the_digits(level0: Mapping[str, Case]) -> None:
    for name, case in level0.items():
        sums = sums_of(case)
        if name.endswith("int8"):
            rule = case.spec["requant"]
            assert rule.keys() == {"scale", "relu"}
            # A power of two: exact in fp32. Python rounds half to even.
            sums = np.vectorize(lambda s, by=rule["scale"]: min(round(max(s, 0) * by), 127))(sums)
            assert 64 <= sums.max() <= 127 or sums.max() > 16  # the range is used
        assert np.array_equal(case.pieces["expected"].array, sums), name
    named = level0["digits-fc-000-001"].pieces["expected"].array.argmax(axis=1)
    assert np.array_equal(named, digits()["labels"][:2])


def test_each_layer_takes_what_the_one_before_gives(level0: Mapping[str, Case]) -> None:
    data = digits()
    for before, after in (("conv1", "conv2"), ("conv2", "fc")):
        sums = level0[f"digits-{before}-000-001"].pieces["expected"].array
        scaled = np.rint(sums.astype(np.float32) * data[f"{before}.scale"])
        x = np.clip(scaled, 0, 127).astype(np.int8)
        got = level0[f"digits-{after}-000-001"].pieces["activations"].array
        if after == "conv2":
            assert np.array_equal(got[:, 0], x)
        else:
            assert np.array_equal(got, x.transpose(0, 3, 1, 2).reshape(2, -1))


def test_each_level_has_those_below_and_level_2_all_images() -> None:
    levels = [
        {item.name: item.spec for item in digits_suite.cases(level, 1)} for level in (0, 1, 2)
    ]
    assert levels[0].items() <= levels[1].items() <= levels[2].items()
    fc = [
        spec for name, spec in levels[2].items() if "-fc-" in name and name != "digits-fc-000-001"
    ]
    assert sum(spec["sizes"]["m"] for spec in fc) == 360
    assert [len(level) for level in levels] == [5, 20, 230]


def test_the_suite_is_listed_and_its_cases_are_verified(
    tmp_path: Path, level0: Mapping[str, Case]
) -> None:
    assert [item.name for item in suites.items("network", 0, 1)] == list(level0)
    for name in ("digits-conv2-000-001-int8", "digits-fc-000-001"):
        manifest.write(level0[name], tmp_path / name)
        verification.verify(tmp_path / name)


def test_a_layer_can_be_cropped(level0: Mapping[str, Case]) -> None:
    case = level0["digits-fc-000-001"]
    left = {"rows": [1], "columns": [0, 7], "groups": [3, 4, 100]}
    small = made(Item("case", shrink.cropped(case.spec, left)))
    kept = [4 * g + i for g in left["groups"] for i in range(4)]
    assert np.array_equal(
        small.pieces["weights"].array, case.pieces["weights"].array[[0, 7]][:, kept]
    )
    assert np.array_equal(small.pieces["expected"].array, sums_of(small))
