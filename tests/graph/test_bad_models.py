"""The bad models: each has its fault, and onnxruntime or onnx refuses it too."""

from __future__ import annotations

import onnx
import onnxruntime
import pytest
from bad_models import ALL, DAMAGED, OUTSIDE, good, scale_of_nothing, weight_of

NAMES = [maker.__name__ for maker in ALL]
REFUSED = [maker for maker in ALL if maker is not scale_of_nothing and maker not in OUTSIDE]


def test_what_they_begin_as_is_good(tmp_path):
    path = tmp_path / "model.onnx"
    onnx.save(good(), path)
    onnx.checker.check_model(str(path), full_check=True)
    onnxruntime.InferenceSession(path)


@pytest.mark.parametrize("maker", ALL, ids=NAMES)
def test_a_bad_model_is_written_into_its_folder(maker, tmp_path):
    path = maker(tmp_path)
    assert path.name == "model.onnx"
    assert tmp_path in path.parents


@pytest.mark.parametrize("maker", DAMAGED, ids=lambda maker: maker.__name__)
def test_a_damaged_file_is_no_message(maker, tmp_path):
    with pytest.raises(Exception, match=r"(?i)pars|decod|wire"):
        onnx.load(maker(tmp_path), load_external_data=False)


@pytest.mark.parametrize("maker", REFUSED, ids=lambda maker: maker.__name__)
def test_onnxruntime_refuses_it(maker, tmp_path):
    with pytest.raises(Exception, match="ONNXRuntimeError"):
        onnxruntime.InferenceSession(maker(tmp_path))


@pytest.mark.parametrize("maker", OUTSIDE, ids=lambda maker: maker.__name__)
def test_data_outside_of_the_folder_is_right_and_can_be_reached(maker, tmp_path):
    path = maker(tmp_path)
    model = onnx.load(path, load_external_data=False)
    (location,) = (e.value for e in weight_of(model).external_data if e.key == "location")
    found = (path.parent / location).resolve()
    assert path.parent not in found.parents
    assert found.read_bytes() == weight_of(good()).raw_data
