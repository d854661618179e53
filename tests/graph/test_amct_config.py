"""Configuration files of the vendor's tool are read strictly, and say which layers are pruned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from onnx_makers import quantised_matmul
from sparse_weights import dense_weight

from cube24 import graph
from cube24.errors import ArgumentError, FileFormatError
from cube24.graph import PruneConfig, read_prune_config
from cube24.graph.model import of_proto

PRUNE = "prune_config { n_out_of_m_pruner { l1_selective_prune { %s } } }\n"
PLAIN = PRUNE % "n_out_of_m_type: M4N2 update_freq: 20"


@pytest.fixture
def read(tmp_path: Path) -> Any:
    def read(text: str) -> PruneConfig:
        path = tmp_path / "c.cfg"
        path.write_text(text)
        return read_prune_config(path)

    return read


WHOLE = """
# the whole format
batch_num: 2, fakequant_precision_mode: FORCE_FP16_QUANT;
skip_layers : "pool"
skip_layers: ['a', "b" 'c']   # neighbours are one text
skip_layer_types: "Linear"
prune_config : <
    n_out_of_m_pruner: { l1_selective_prune: { n_out_of_m_type: 0  update_freq: 0x10 } }
>
regular_prune_skip_layers: "say \\"no\\"\\\\"
regular_prune_skip_types: "Softmax"
quant_skip_layers: "q"
quant_skip_types: "Conv2d"
retrain_data_quant_config {
    ulq_quantize { clip_max_min { clip_max: 6.0 clip_min: -6e0f } fixed_min: true dst_type: INT8 }
}
retrain_weight_quant_config { arq_retrain { dst_type: 1 channel_wise: False } }
override_layer_configs: {
    layer_name: "one"
    prune_config { n_out_of_m_pruner { l1_selective_prune { } } }
}
override_layer_configs: { layer_name: "two" retrain_weight_quant_config { ulq_retrain { } } }
override_layer_types { layer_type: "Conv2d" }
"""


def test_the_whole_format(read: Any, tmp_path: Path) -> None:
    matrices = ("Gemm", "MatMul", "QGemm", "QLinearMatMul", "MatMulInteger")
    assert read(WHOLE) == PruneConfig(
        path=str(tmp_path / "c.cfg"),
        skip=("pool", "a", "bc", 'say "no"\\'),
        skip_types=(*matrices, "Softmax"),
        named=('say "no"\\', "one"),
        only=None,
        only_types=None,
        unused=(
            "batch_num", "retrain_data_quant_config", "retrain_weight_quant_config",
            "quant_skip_layers", "quant_skip_types", "fakequant_precision_mode",
        ),
    )  # fmt: skip


def test_without_a_configuration_for_all_only_those_that_are_named_are_pruned(read: Any) -> None:
    config = read(
        f'override_layer_configs {{ layer_name: "a" {PLAIN} }}\n'
        'override_layer_configs { layer_name: "b" }\n'
        f'override_layer_types {{ layer_type: "Linear" {PLAIN} }}\n'
        'skip_layers: "m"\n'
    )
    assert config.only == ("a",)
    assert not config.leaves("a", "Conv")
    assert config.leaves("b", "Conv")
    assert not config.leaves("c", "com.microsoft.QGemm")
    assert config.leaves("m", "MatMul")


@pytest.mark.parametrize("text", [PLAIN, PRUNE % "", PRUNE % "n_out_of_m_type: 0"])
def test_what_asks_for_all(read: Any, text: str) -> None:
    config = read(text)
    assert (config.skip, config.only, config.unused) == ((), None, ())
    assert not config.leaves("a", "Conv")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "it has no prune_config, so it prunes nothing"),
        ("# nothing\n", "prunes nothing"),
        ('skip_layers: "a"', "prunes nothing"),
        ('override_layer_configs { layer_name: "a" }', "prunes nothing"),
        (f"{PLAIN}bogus: 1", "line 2: no field 'bogus' here; there are skip_layers, "),
        (PRUNE % "\n\nratio: 0.5", "line 3: no field 'ratio' here; there are n_out_of_m_type, "),
        (PRUNE % "n_out_of_m_type: M8N4", "line 1: n_out_of_m_type is 'M8N4'; it takes M4N2"),
        (PRUNE % "n_out_of_m_type: 1", "n_out_of_m_type is '1'; it takes M4N2"),
        (PRUNE % 'n_out_of_m_type: "M4N2"', "it takes M4N2"),
        (PRUNE % "update_freq: -1", "update_freq is '-1'; it takes uint32"),
        (PRUNE % "update_freq: 4294967296", "it takes uint32"),
        (PRUNE % "update_freq: 1.5", "it takes uint32"),
        (PRUNE % "update_freq: often", "it takes uint32"),
        (PRUNE % "update_freq: 1 update_freq: 2", "line 1: update_freq is given twice"),
        (PRUNE % "update_freq 1", "line 1: a colon is missing behind update_freq"),
        (PLAIN + PLAIN, "line 2: prune_config is given twice"),
        ("\nprune_config { }", "line 2: a prune_config without n_out_of_m_pruner"),
        ("prune_config { n_out_of_m_pruner { } }", "line 1: a prune_config without"),
        (
            "prune_config {\n filter_pruner {\n balanced_l2_norm_filter_prune { prune_ratio: 3 }}}",
            "line 2: filter_pruner removes whole channels",
        ),
        (f"{PLAIN}override_layer_configs {{ }}", "line 2: an override without layer_name"),
        (f"{PLAIN}override_layer_types {{ }}", "line 2: an override without layer_type"),
        (
            f'{PLAIN}override_layer_types {{ layer_type: "a"\nprune_config {{ }} }}',
            "line 3: a prune_config without",
        ),
        ("prune_config: 3", "line 1: prune_config is a message: { ... }"),
        ("prune_config {\n", "line 2: 'the end of the file' is no name of a field; } is missing"),
        ("prune_config { >", "line 1: '>' is no name of a field"),
        (f"{PLAIN}}}", "line 2: '}' is no name of a field"),
        (f"{PLAIN}3: 4", "line 2: '3' is no name of a field"),
        (f"{PLAIN}skip_layers: a", "line 2: skip_layers is 'a'; it takes string"),
        (f'{PLAIN}skip_layers: ["a" "b", 3]', "line 2: skip_layers is '3'; it takes string"),
        (f'{PLAIN}skip_layers: ["a"; "b"]', "line 2: the list of skip_layers has no end"),
        (f'{PLAIN}skip_layers: "a', "line 2: .* is nothing of the format"),
        (f'{PLAIN}skip_layers: "\\q"', "line 2: .* stands for nothing"),
        (f"{PLAIN}batch_num: [1]", "line 2: batch_num is '\\['; it takes uint32"),
        (f"{PLAIN}@", "line 2: '@' is nothing of the format"),
        (
            f"{PLAIN}retrain_data_quant_config {{ ulq_quantize {{ fixed_min: 2 }} }}",
            "line 2: fixed_min is '2'; it takes bool",
        ),
        (
            f"{PLAIN}retrain_data_quant_config {{ ulq_quantize {{ dst_type: INT3 }} }}",
            "line 2: dst_type is 'INT3'; it takes INT16 or INT4 or INT8",
        ),
        ("prune_config {" * 3000, "line 1: no field 'prune_config' here"),
    ],
)
def test_what_is_refused_and_where(read: Any, tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(FileFormatError, match=says) as caught:
        read(text)
    assert str(caught.value).startswith(str(tmp_path / "c.cfg"))
    assert "\n" not in str(caught.value)


def test_other_bytes_are_no_configuration(tmp_path: Path) -> None:
    path = tmp_path / "c.cfg"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FileFormatError):
        read_prune_config(path)


def test_layers_that_are_named_have_to_be_there(read: Any) -> None:
    proto = quantised_matmul("QLinearMatMul", dense_weight((6, 20)), x_shape=(2, 20))
    model = of_proto(proto)
    (name,) = (node.name for node in proto.graph.node)
    for skip in ("layer1.0", "*"):
        config = read(f'{PLAIN}regular_prune_skip_layers: "{skip}"')
        with pytest.raises(ArgumentError, match=r"no layer of the model is called .*; names are"):
            graph.prune(model, config=config)
    assert graph.prune(model, config=read(PLAIN)).groups > 0
    other = read(f'{PLAIN}skip_layers: "pool"')  # which may be any node
    assert graph.prune(model, config=other).groups > 0
    for text in (
        f'regular_prune_skip_layers: "{name}"', f'skip_layers: "{name}"',
        'regular_prune_skip_types: "Linear"', 'skip_layer_types: "QLinearMatMul"',
    ):  # fmt: skip
        found = graph.prune(model, config=read(PLAIN + text))
        assert [each.reason for each in found.left] == ["skipped"]
        assert found.model.proto == proto
