"""The verdict on each kind of node, and what the report says of a model.

The models come from verdict_models: one node each, with the verdict that it must get.
"""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx_makers import quantised_conv, quantised_matmul
from sparse_weights import dense_weight, sparse_weight, with_illegal_group
from verdict_models import ILLEGAL_CONV, ILLEGAL_MATMUL, VERDICTS

from cube24 import graph
from cube24.errors import ArgumentError
from cube24.graph.model import of_proto
from cube24.graph.nodes import MENDABLE
from cube24.graph.report import ABOUT
from cube24.simulator import Conv2d, Matmul, Unit


def checked(proto: onnx.ModelProto, **how: Any) -> graph.ModelReport:
    return graph.check(of_proto(proto), **{"timed": False, **how})


def only(report: graph.ModelReport) -> graph.Verdict:
    (verdict,) = report.verdicts
    return verdict


@pytest.mark.parametrize(("reason", "about"), VERDICTS)
def test_each_kind_of_node_gets_its_verdict(reason: str, about: str) -> None:
    report = checked(VERDICTS[reason, about]())
    verdict = only(report)
    assert (verdict.reason or "sparse") == reason, verdict.detail
    assert verdict.sparse == (reason == "sparse")
    assert bool(verdict.detail) == (reason != "sparse")
    assert "\n" not in verdict.detail
    assert bool(verdict.compressed) == (reason == "sparse")
    said = f"  1 {reason}: {ABOUT.get(reason)}"
    assert (said in str(report)) == (reason != "sparse")


def test_the_list_of_reasons_is_closed_and_each_is_explained() -> None:
    there = {reason for reason, _ in VERDICTS} - {"sparse"}
    assert there | {"slower", "skipped"} == ABOUT.keys()
    assert ABOUT.keys() > MENDABLE


@pytest.mark.parametrize(
    ("about", "first", "groups"),
    [
        # 8 outputs, 3 x 3 taps, and 8 groups of each: Cin is padded to 32.
        ("convolution", ILLEGAL_CONV, 8 * 9 * 8),
        ("product", ILLEGAL_MATMUL, 8 * 10),
    ],
)
def test_an_illegal_group_is_counted_and_shown(about: str, first: Any, groups: int) -> None:
    verdict = only(checked(VERDICTS["not-2:4", about]()))
    assert verdict.pattern is not None
    assert (verdict.pattern.illegal, verdict.pattern.groups) == (1, groups)
    assert verdict.pattern.first == first
    assert str(first) in verdict.detail


def test_each_row_says_what_the_weight_is() -> None:
    weight = sparse_weight((8, 40, 3, 3))
    proto = quantised_conv("QLinearConv", weight, x_shape=(1, 40, 9, 9), x_zero=100, where="shared")
    verdicts = checked(proto).verdicts
    assert [v.candidate.weight.users for v in verdicts if v.candidate.weight] == [2, 2]
    verdict = verdicts[0]
    assert verdict.shape == (8, 40, 3, 3)
    assert verdict.offset_x == 100 - 128
    assert verdict.bytes is not None
    rows = 2 * 3 * 3 * 32  # two blocks of 32 channels
    assert verdict.bytes.int8 == weight.size
    assert verdict.bytes.nd == 8 * (rows // 2 + rows // 8)
    # Zn pads N to 16 and K to 64 elements, or 32 of a dense weight.
    assert verdict.bytes.zn_dense == 16 * rows
    assert verdict.bytes.zn == 16 * (rows // 2 + rows // 8)
    assert verdict.larger == (verdict.bytes.zn > weight.size)
    assert verdict.macs == 7 * 7 * 8 * 40 * 9
    assert verdict.layer == Conv2d(1, 40, 9, 9, 8, (3, 3), offset_x=-28)


def test_bytes_are_those_of_the_arrays_in_the_file() -> None:
    for layout in ("nd", "zn"):
        for proto in (
            quantised_conv("QLinearConv", sparse_weight((8, 40, 3, 3)), x_shape=(1, 40, 9, 9)),
            quantised_matmul("QLinearMatMul", sparse_weight((24, 100)), x_shape=(2, 100)),
        ):
            compiled = graph.compile(of_proto(proto), sparsity=1, layout=layout)
            verdict = compiled.verdicts[0]
            sizes = {t.name: len(t.raw_data) for t in compiled.model.proto.graph.initializer}
            assert verdict.bytes is not None
            wanted = verdict.bytes.nd if layout == "nd" else verdict.bytes.zn
            assert sizes["weight/dense"] + sizes["weight/index"] == wanted


def test_cycles_are_those_of_the_unit() -> None:
    proto = quantised_matmul("QLinearMatMul", sparse_weight((256, 512)), x_shape=(64, 512))
    for unit in ("dav-2201", "310B1"):
        report = checked(proto, unit=Unit(unit), timed=True)
        cycles = only(report).cycles
        layer = Matmul(64, 256, 512)
        assert cycles is not None
        assert cycles.sparse == Unit(unit).time(layer, sparse=True, bias=True).cycles
        assert cycles.dense == Unit(unit).time(layer, sparse=False, bias=True).cycles
        assert report.cycles == (cycles.dense, cycles.sparse, min(cycles.dense, cycles.sparse))
        assert (cycles.reason == "") == (not Unit(unit).time(layer, bias=True).reasons)
    assert report.covered == 1


def test_faster_never_takes_more_cycles_than_dense() -> None:
    small = quantised_matmul("QLinearMatMul", sparse_weight((10, 32)), x_shape=(4, 32))
    large = quantised_matmul("QLinearMatMul", sparse_weight((512, 1024)), x_shape=(256, 1024))
    verdict = only(checked(small, select="faster"))
    cycles = only(checked(small, timed=True)).cycles
    assert cycles is not None
    assert cycles.dense is not None
    assert cycles.sparse >= cycles.dense
    assert (verdict.reason, verdict.mendable) == ("slower", False)
    assert str(cycles.sparse) in verdict.detail
    found = only(checked(large, select="faster"))
    assert found.sparse
    assert found.cycles is not None
    assert found.cycles.faster
    assert not graph.compile(of_proto(small), sparsity=1, select="faster").verdicts[0].sparse


@pytest.mark.parametrize(
    ("how", "skipped"),
    [
        ({"skip": ("y",)}, True), ({"skip": ("Y",)}, False), ({"skip": ("z", "?")}, True),
        ({"skip_type": ("QLinearConv",)}, True), ({"skip_type": ("QLinear*",)}, True),
        ({"skip_type": ("Conv",)}, False), ({"skip": ("*",)}, True),
    ],
)  # fmt: skip
def test_nodes_are_skipped_by_name_and_by_operator(how: dict[str, Any], skipped: bool) -> None:
    proto = quantised_conv("QLinearConv", sparse_weight((8, 12, 3, 3)), x_shape=(1, 12, 7, 7))
    verdict = only(checked(proto, **how))
    assert (verdict.reason == "skipped") == skipped
    assert not verdict.mendable


def test_open_sizes_leave_cycles_open_until_they_are_given() -> None:
    weight = sparse_weight((8, 12, 3, 3))
    proto = quantised_conv("QLinearConv", weight, x_shape=("N", 12, "H", "W"))
    report = checked(proto, timed=True)
    assert only(report).sparse
    assert only(report).cycles is None
    assert (report.cycles, report.covered, report.open_inputs) == (None, None, ("x",))
    given = checked(proto, timed=True, input_shapes={"x": (2, 12, 9, 9)})
    assert only(given).layer == Conv2d(2, 12, 9, 9, 8, (3, 3))
    assert only(given).cycles is not None
    with pytest.raises(ArgumentError, match="--input-shape"):
        checked(proto, select="faster")


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        ({"z": (1, 2)}, "no input 'z'; its inputs are 'x'"),
        ({"x": (1, 12, 7)}, "4 dimensions"),
        ({"x": (1, 12, 0, 7)}, "below 1"),
    ],
)
def test_a_shape_of_no_input_is_refused(shapes: dict[str, tuple[int, ...]], said: str) -> None:
    proto = quantised_conv("QLinearConv", sparse_weight((8, 12, 3, 3)), x_shape=(1, 12, 7, 7))
    with pytest.raises(ArgumentError, match=re.escape(said)):
        checked(proto, input_shapes=shapes)


def test_a_node_in_a_branch_is_named_with_its_way() -> None:
    weight = sparse_weight((8, 12, 3, 3))
    proto = quantised_conv("QLinearConv", weight, x_shape=(1, 12, 7, 7), where="subgraph")
    names = [verdict.candidate.name for verdict in checked(proto).verdicts]
    assert names
    assert all("then_branch" in name or "else_branch" in name for name in names)


def test_the_report_says_the_same_in_all_its_forms() -> None:
    proto = quantised_conv(
        "QLinearConv", sparse_weight((32, 64, 3, 3)), x_shape=(1, 64, 14, 14), where="shared"
    )
    more = with_illegal_group(sparse_weight((32, 64, 3, 3)), (1, 4, 0, 0))
    tensor = numpy_helper.from_array(more, "second")
    proto.graph.initializer.append(tensor)
    proto.graph.node[1].input[3] = "second"
    report = checked(proto, timed=True)
    plain = json.loads(json.dumps(report.to_dict()))
    assert plain["totals"]["candidates"] == 2
    assert plain["totals"]["sparse"] == 1
    assert plain["totals"]["reasons"] == {"not-2:4": 1}
    assert plain["totals"]["share_of_macs"] == 0.5
    nodes = plain["nodes"]
    assert nodes[1]["first_illegal"] == [1, 4, 0, 0]
    assert nodes[1]["compressed"] is None
    assert nodes[0]["compressed"] == "Conv2DCompress"
    text, page = str(report), report.to_html()
    for number in (nodes[0]["cycles_dense"], nodes[0]["cycles_sparse"], nodes[0]["bytes"]["zn"]):
        assert re.search(rf"\b{number}\b", text)
        assert f"<td>{number}</td>" in page
    assert "1 of 2 nodes sparse, with 50.0 % of the multiplications" in text
    assert "prune the model: cube24 prune" in text
    assert page == checked(proto, timed=True).to_html()


def test_a_page_escapes_what_a_model_calls_its_nodes() -> None:
    proto = quantised_conv("QLinearConv", sparse_weight((8, 12, 3, 3)), x_shape=(1, 12, 7, 7))
    proto.graph.node[0].name = "<script>alert(1)</script>"
    assert "<script" not in checked(proto).to_html()


def test_a_warning_names_weights_that_grow() -> None:
    proto = quantised_conv("QLinearConv", sparse_weight((6, 5, 1, 1)), x_shape=(1, 5, 7, 7))
    proto.graph.node[0].name = "tiny"
    assert re.search(r"warning: 1 weight larger in Zn than as int8.*tiny", str(checked(proto)))


def test_a_model_without_any_weight_has_an_empty_report() -> None:
    info = helper.make_tensor_value_info
    proto = helper.make_model(
        helper.make_graph(
            [helper.make_node("Relu", ["x"], ["y"])],
            "g",
            [info("x", 1, (2,))],
            [info("y", 1, (2,))],
        ),
        opset_imports=[helper.make_opsetid("", 13)], ir_version=8,
    )  # fmt: skip
    report = checked(proto, timed=True)
    assert report.verdicts == ()
    assert report.covered is None
    assert "0 of 0 nodes sparse" in str(report)


@pytest.mark.parametrize(
    "how",
    [{"select": "best"}, {"cores": 0}, {"skip": "y"}, {"skip": (1,)}, {"timed": 1}, {"cores": 2}],
)
def test_an_option_that_is_none_is_refused(how: dict[str, Any]) -> None:
    proto = quantised_conv("QLinearConv", sparse_weight((8, 12, 3, 3)), x_shape=(1, 12, 7, 7))
    with pytest.raises(ArgumentError):
        checked(proto, **how)


def test_sums_that_may_leave_int32_are_refused() -> None:
    weight = np.full((4, 8), 0, np.int8)
    weight[:, ::2] = 127
    near = (2**31 - 1) - 255 * 127 * 4
    for bias, reason in ((near, None), (near + 1, "unit-limit"), (-near - 1, "unit-limit")):
        proto = quantised_matmul(
            "QGemm", weight, x_shape=(2, 8), bias=np.full(4, bias, np.int64), x_zero=128
        )
        assert only(checked(proto)).reason == reason


@pytest.mark.parametrize(
    ("channels", "value", "zeros", "reason"),
    [
        (12, 200, [100, 110], "zero-point-per-channel"), (12, 240, [100, 110], "not-int8"),
        (12, 227, [100, 100], "not-2:4"), (12, 228, [100, 100], "not-int8"),
        (4, 240, [100, 110], "cin4"),
    ],
)  # fmt: skip
def test_what_no_weight_can_mend_comes_first_and_the_range_before_the_zero_points(
    channels: int, value: int, zeros: list[int], reason: str
) -> None:
    weight = np.full((4, channels, 3, 3), value, np.uint8)
    proto = quantised_conv(
        "QLinearConv", weight, x_shape=(1, channels, 7, 7), w_zero=np.array(zeros * 2),
        w_scale=np.full(4, 0.01, np.float32),
    )  # fmt: skip
    verdict = only(checked(proto))
    assert verdict.reason == reason
    assert verdict.pattern is not None
    assert verdict.pattern.illegal > 0


def test_uint8_weights_that_fit_int8_are_taken() -> None:
    weight = dense_weight((8, 12, 3, 3))
    proto = quantised_conv("QLinearConv", weight, x_shape=(1, 12, 7, 7))
    assert only(checked(proto)).reason == "not-2:4"
