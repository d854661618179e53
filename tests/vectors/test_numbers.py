"""Numbers, names and truths from outside, in campaigns, shards and styles of files."""

import numpy as np
import pytest

from cube24 import encoder
from cube24.errors import ArgumentError
from cube24.vectors import CaseStyle, check_shard, folders, generate, mutate, shrink
from cube24.vectors.campaign import Campaign

INTEGERS = (np.uint8, np.int16, np.uint64)


@pytest.mark.parametrize("kind", INTEGERS, ids=lambda kind: kind.__name__)
def test_small_types_are_numbers_like_any_other(kind, tmp_path):
    style = CaseStyle(["hex"], kind(4), "big")
    campaign = Campaign(["requant"], kind(0), kind(7), style)
    plain = Campaign(("requant",), 0, 7, CaseStyle(("hex",), 4, "big"))
    assert campaign == plain
    assert campaign.text() == plain.text()
    assert encoder.Style("hex", kind(4)) == encoder.Style("hex", 4)
    done = generate(tmp_path / "set", campaign, shard=(kind(0), kind(40)), workers=kind(1))
    assert done.written == 2  # cases 0 and 40 of 41
    assert check_shard((kind(1), kind(200))) == (1, 200)


@pytest.mark.parametrize("number", [1.0, float("nan"), True, "1", None, [], 1 << 64, -1])
def test_what_is_no_number_that_can_be_is_refused(number):
    for call in (
        lambda: Campaign(("requant",), 0, number),
        lambda: Campaign(("requant",), number, 1),
        lambda: CaseStyle(("hex",), number),
        lambda: encoder.Style("hex", number),
        lambda: check_shard((number, 2)),
        lambda: check_shard((0, number)),
    ):
        with pytest.raises(ArgumentError):
            call()


@pytest.mark.parametrize("given", ["requant", None, ("requant", "requant"), (), ([],), (1,)])
def test_what_are_no_names_is_refused(given):
    with pytest.raises(ArgumentError, match="suites"):
        Campaign(given, 0, 1)
    with pytest.raises(ArgumentError, match="formats"):
        CaseStyle(("hex", "hex") if given == ("requant", "requant") else given)


@pytest.mark.parametrize("number", [1.5, float("nan"), True, "3", -1])
def test_what_counts_nothing_is_refused(number, tmp_path):
    generate(tmp_path / "set", Campaign(("shapes",), 0, 1), shard=(0, 1 << 20))
    case = next(folders(tmp_path / "set"))
    with pytest.raises(ArgumentError, match="bits"):
        mutate(case, number)
    with pytest.raises(ArgumentError, match="limit"):
        shrink.shrink(case, lambda folder: True, limit=number)
    if number != 1.5:
        with pytest.raises(ArgumentError, match="timeout"):
            shrink.device("dut {case} {got}", timeout=number)
    assert mutate(case, np.uint8(1)).missed == ()


@pytest.mark.parametrize("given", ["no", 1, None])
def test_what_is_no_truth_is_refused(given):
    for call in (
        lambda: CaseStyle(header=given),
        lambda: CaseStyle(steps=given),
        lambda: encoder.Style("hex", header=given),
    ):
        with pytest.raises(ArgumentError, match="True or False"):
            call()


def test_what_is_no_style_and_no_shard_is_refused():
    with pytest.raises(ArgumentError, match="CaseStyle"):
        Campaign(("requant",), 0, 1, None)
    for shard in ("12", (1, 2, 3), 5, None):
        with pytest.raises(ArgumentError, match="shard"):
            check_shard(shard)
