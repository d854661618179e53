"""What one instruction costs: numbers by hand, and the formulas of docs/timing.md over domains.

The formulas are written out in schedule_oracle.py, without the package.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from fractions import Fraction
from typing import Any

import pytest
import schedule_oracle as oracle
from hypothesis import given
from hypothesis import strategies as st

from cube24.simulator import PRESETS, Program, UnitConfig, cost, isa
from cube24.simulator.timing import schedule

DEFAULT = UnitConfig()


def instruction(line: str) -> isa.Instruction:
    (found,) = Program.parse(line).instructions
    return found


def work(line: str, config: UnitConfig = DEFAULT, **fields: Any) -> int:
    return cost.Costs(dataclasses.replace(config, **fields)).of(instruction(line)).work


def alone(line: str, config: UnitConfig = DEFAULT) -> tuple[int, int]:
    """Head and work of a program of this line; together they are its cycles."""
    got = schedule(Program.parse(line), config)
    (row,) = got.instructions
    assert (row.start, row.end, got.cycles) == (0, row.head + row.work, row.head + row.work)
    return row.head, row.work


# --- M --------------------------------------------------------------------------------------------

# The five shapes of the published test of the sparse Mmad, (M, K, N).
PUBLISHED = [
    ((64, 64, 64), 16), ((64, 128, 64), 32), ((128, 128, 128), 128), ((128, 256, 128), 256),
    ((128, 512, 128), 512),
]  # fmt: skip


@pytest.mark.parametrize(("shape", "cycles"), PUBLISHED)
def test_a_sparse_mmad_works_one_cycle_for_each_16x16_block_and_64_of_k(shape, cycles):
    m, k, n = shape
    assert alone(f"mmad_sparse c=0 a=0 b=0 m={m} n={n} k={k}") == (61, cycles)
    assert alone(f"mmad c=0 a=0 b=0 m={m} n={n} k={k}") == (61, 2 * cycles)
    assert alone(f"mmad c=0 a=0 b=0 m={m} n={n} k={k} dtype=float16") == (61, 4 * cycles)


@pytest.mark.parametrize(
    ("sizes", "sparse", "int8", "fp16"),
    [
        ("m=1 n=1 k=1", 1, 1, 1),
        ("m=16 n=16 k=16", 1, 1, 1),
        ("m=16 n=16 k=17", 1, 1, 2),
        ("m=16 n=16 k=33", 1, 2, 3),
        ("m=17 n=33 k=65", 12, 18, 30),
        ("m=4095 n=4095 k=4095", 256 * 256 * 64, 256 * 256 * 128, 256 * 256 * 256),
        ("m=128 n=256 k=64", 128, 256, 512),
    ],
)
def test_padding_takes_part_in_the_work_of_a_mmad(sizes, sparse, int8, fp16):
    assert work(f"mmad_sparse c=0 a=0 b=0 {sizes}") == sparse
    assert work(f"mmad c=0 a=0 b=0 {sizes}") == int8
    assert work(f"mmad c=0 a=0 b=0 {sizes} dtype=float16") == fp16


def test_a_mmad_behind_another_has_a_head_of_9_an_idle_cube_61():
    two = schedule(Program.parse("mmad c=0 a=0 b=0 m=64 n=64 k=64\n" * 2), DEFAULT)
    assert [(row.head, row.work) for row in two.instructions] == [(61, 32), (9, 32)]


def test_what_a_mmad_starts_from_takes_no_time():
    lines = [
        f"mmad_sparse c=0 a=0 b=0 m=32 n=16 k=64 start={start} unit_flag={flag}"
        for start in ("zero", "keep", "bias")
        for flag in (0, 2)
    ]
    assert {work(line) for line in lines} == {2}


# --- MTE1 -----------------------------------------------------------------------------------------


def test_load2d_moves_256_bytes_a_cycle_to_l0a_and_128_to_l0b():
    assert alone("load2d to=L0A dst=0 src=0 repeat=16") == (28, 32)
    assert alone("load2d to=L0B dst=0 src=0 repeat=16") == (28, 64)
    assert alone("load2d to=L0A dst=0 src=0 repeat=255 stride=3 gap=1") == (28, 510)


def test_the_unit_without_sparsity_moves_256_bytes_a_cycle_to_l0b():
    assert alone("load2d to=L0B dst=0 src=0 repeat=16", PRESETS["dav-3510"]) == (28, 32)
    assert alone("load2d to=L0A dst=0 src=0 repeat=16", PRESETS["dav-3510"]) == (28, 32)
    assert alone("load2d to=L0B dst=0 src=0 repeat=16", PRESETS["310B1"]) == (28, 64)


def test_a_pair_of_loads_has_heads_of_47_together():
    a, b = "load2d to=L0A dst=0 src=0 repeat=16\n", "load2d to=L0B dst=0 src=0 repeat=16\n"
    for text in (a + b, b + a):
        got = schedule(Program.parse(text), dataclasses.replace(DEFAULT, issue_cycles=0))
        assert got.cycles == 47 + 32 + 64


def test_load_sparse_moves_its_dense_fractals_at_128_bytes_a_cycle():
    for repeat in range(1, 256):
        line = f"load_sparse dst=0 dense=0 index=0 repeat={repeat}"
        assert alone(line) == (30, 4 * repeat)
        assert work(line, sparse_bytes="logical") == 8 * repeat


def test_load3d_has_the_rate_of_the_table_for_each_stride_and_number_of_kernel_rows():
    costs = cost.Costs(DEFAULT)
    for stride, rows in itertools.product(range(1, 64), range(1, 256)):
        rate = costs.load3d_rate(stride, rows)
        assert rate == oracle.load3d_rate(stride, rows)
        assert isinstance(rate, Fraction)


@pytest.mark.parametrize(
    ("stride", "rows", "rate"),
    [
        (1, 1, 256), (1, 2, 128), (1, 3, Fraction(512, 5)), (1, 7, Fraction(512, 9)), (1, 14, 32),
        (1, 15, 32), (1, 255, 32), (2, 1, 128), (2, 2, Fraction(512, 6)), (2, 3, Fraction(512, 7)),
        (2, 12, 32), (2, 13, 32), (4, 1, 64), (4, 2, Fraction(512, 10)), (4, 8, 32), (4, 9, 32),
        (8, 1, 32), (8, 2, 32), (3, 1, 32), (5, 1, 32), (16, 1, 32), (63, 1, 32), (3, 255, 32),
    ],
)  # fmt: skip
def test_load3d_has_the_published_rates(stride, rows, rate):
    assert cost.Costs(DEFAULT).load3d_rate(stride, rows) == rate


def load3d(kernel: tuple[int, int], k_start: int, k: int, m: int, stride: int) -> str:
    return (
        f"load3d dst=0 src=0 c1=9 h=99 w=99 kernel_h={kernel[0]} kernel_w={kernel[1]} m_start=0 "
        f"m={m} k_start={k_start} k={k} stride_w={stride}"
    )


@pytest.mark.parametrize(
    ("kernel", "k_start", "k", "cycles"),
    [
        ((3, 3), 0, 96, 6),  # one kernel row: 16 * 96 / 256
        ((3, 3), 0, 128, 16),  # two: 2048 / 128
        ((3, 3), 0, 288, 45),  # three: 4608 / 102.4
        ((3, 3), 64, 64, 8),  # the end of one row and the begin of the next
        ((3, 3), 96, 96, 6),
        ((3, 3), 256, 64, 8),  # the last row of a channel block and the first of the next
        ((3, 3), 0, 576, 90),  # two channel blocks: still three rows
        ((1, 1), 0, 256, 16),  # a kernel of one row, whatever the channels
        ((1, 3), 0, 192, 12),
        ((2, 1), 0, 64, 8),
    ],
)
def test_load3d_counts_the_kernel_rows_that_its_k_spans(kernel, k_start, k, cycles):
    assert alone(load3d(kernel, k_start, k, 16, 1)) == (50, cycles)


def test_load3d_counts_one_block_of_32_however_little_of_it_is_used():
    assert work(load3d((3, 3), 0, 1, 16, 1)) == 2


def test_load3d_costs_what_the_formula_says():
    costs = cost.Costs(DEFAULT)
    for kernel, first, count in itertools.product(
        [(1, 1), (1, 5), (2, 2), (3, 3), (5, 1), (15, 2)], range(10), range(1, 40)
    ):
        for m, stride in ((1, 1), (40, 2), (64, 8), (17, 3)):
            i = instruction(load3d(kernel, 32 * first, 32 * count - 31 * (count % 2), m, stride))
            assert costs.of(i).work == oracle.cost(i, DEFAULT).work
            assert costs.of(i).head == 50


def test_tables_are_loaded_at_32_bytes_a_cycle():
    for name, size in itertools.product(("load_bias", "load_params"), (1, 32, 33, 64, 1024)):
        assert alone(f"{name} dst=0 src=0 bytes={size}") == (20, -(-size // 32))


# --- MTE2 -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "size", "cycles"),
    [
        (64, 128, 218),  # 64 * 3.4 = 217.6; with the head 258: two of them are 515 a step
        (128, 128, 436),  # 435.2
        (256, 128, 871),  # 870.4
        (128, 256, 436),  # 256 / 82 is less than 3.4
        (128, 512, 800),  # 128 * 6.24...
        (128, 1024, 1599),  # 128 * 12.48... = 1598.4...
        (1, 1, 4),
        (10, 278, 34),  # 3.39 a row: 34 exactly
        (10, 279, 35),  # 34.02
        (5, 82, 17),  # 17 exactly, not 18
    ],
)
def test_a_row_takes_34_tenths_of_a_cycle_or_its_bytes_at_82(rows, size, cycles):
    line = f"nd2nz dst=0 src=0 rows={rows} bytes={size} src_stride=8192 dst_rows=256"
    assert alone(line) == (40, cycles)


@pytest.mark.parametrize(
    ("fields", "cycles"),
    [
        ("bytes=98", 4),  # 3.4
        ("bytes=980", 10),
        ("bytes=981", 11),
        ("bytes=9800 bursts=1", 100),
        ("bytes=980 bursts=10 src_stride=2000 dst_stride=1000", 100),
        (
            "bytes=98 bursts=10 src_stride=128 dst_stride=98",
            34,
        ),  # the least time of a piece, ten times
        ("bytes=98 bursts=10 src_stride=98 dst_stride=98", 10),  # one burst
        ("bytes=512 bursts=4 src_stride=512 dst_stride=512", 21),  # 2048 / 98
        ("bytes=512 bursts=4 src_stride=1024 dst_stride=512", 21),
    ],
)
def test_bursts_are_moved_at_98_bytes_a_cycle(fields, cycles):
    assert alone(f"copy_in dst=0 src=0 {fields}") == (40, cycles)


SIZES = st.integers(1, 5000)


@given(SIZES, SIZES, st.integers(1, 24), st.sampled_from([200.0, 5000.0]))
def test_moves_cost_what_the_formula_says(pieces, size, active, l2):
    config = dataclasses.replace(DEFAULT, l2_rate=l2)
    costs = cost.Costs(config, active)
    for i in (
        isa.Nd2Nz(0, 0, pieces, size, 9999, 16),
        isa.CopyIn(0, 1, size, pieces, 9999, 0),
        isa.CopyIn(0, 2, size, pieces, size, 0),
    ):
        # Both a first touch and a later one: HBM has its own test.
        first, again = costs.of(i), costs.of(i)
        assert first.head == again.head == 40
        assert again.work == oracle.cost(i, config, active).work
        assert first.work == oracle.cost(i, config, active, 1).work


# 10^9 bytes a second at 10^9 cycles a second is one byte a cycle.
SLOW = UnitConfig(clock_mhz=1000, hbm_rate=24.0, l2_rate=48.0, move_head=0)


def copies(costs: cost.Costs, *sources: int) -> list[int]:
    return [costs.of(isa.CopyIn(0, source, 4800)).work for source in sources]


def test_the_first_touch_comes_from_hbm_and_later_ones_from_l2():
    assert copies(cost.Costs(SLOW), 0, 0, 4800, 0, 4800) == [200, 100, 200, 100, 100]
    # Another piece of the same memory is a first touch of its own.
    costs = cost.Costs(SLOW)
    assert copies(costs, 0) == [200]
    assert costs.of(isa.CopyIn(0, 0, 2400)).work == 100
    assert costs.of(isa.Nd2Nz(0, 0, 48, 100, 100, 48)).work == 200
    assert costs.of(isa.Nd2Nz(0, 0, 48, 100, 100, 48)).work == 164  # 48 rows of 3.4


def test_active_cores_share_hbm_and_l2():
    for active in range(1, 25):
        assert copies(cost.Costs(SLOW, active), 0, 0) == [200 * active, 100 * active]


def test_cores_that_read_the_same_bytes_share_their_first_touch():
    # Of 12 cores, 3 read the same bytes below 10000, 4 above.
    config = dataclasses.replace(SLOW, l2_rate=480.0)
    costs = cost.Costs(config, 12, [(0, 3), (10000, 4)])
    assert copies(costs, 0, 5000, 9999, 10000, 20000) == [800, 800, 800, 600, 600]
    assert copies(costs, 0, 10000) == [120, 120]  # then L2, of which each has a twelfth


def test_a_first_touch_is_never_faster_than_l2():
    costs = cost.Costs(SLOW, 12, [(0, 12)])
    assert copies(costs, 0, 0) == [1200, 1200]
    fast = dataclasses.replace(SLOW, hbm_rate=1000.0)
    assert copies(cost.Costs(fast, 12), 0, 0) == [1200, 1200]


@given(
    st.integers(1, 24),
    st.integers(1, 24),
    st.sampled_from([1.0, 20.0, 97.0, 98.0, 99.0, 500.0, 1800.0]),
    st.sampled_from([1.0, 20.0, 98.0, 99.0, 5000.0]),
    st.booleans(),
)
def test_a_first_touch_matters_where_it_takes_longer(active, sharing, hbm, l2, rows):
    """Whether or not the costs say so beforehand, they are those of the formula."""
    config = dataclasses.replace(DEFAULT, hbm_rate=hbm, l2_rate=l2)
    costs = cost.Costs(config, active, [(0, sharing)])
    i = isa.Nd2Nz(0, 0, 30, 2000, 2000, 32) if rows else isa.CopyIn(0, 0, 60000)
    first, again = costs.of(i).work, costs.of(i).work
    assert first == oracle.cost(i, config, active, sharing).work
    assert again == oracle.cost(i, config, active).work
    assert costs.first_touch_matters or first == again


# --- FIX ------------------------------------------------------------------------------------------

FIXPIPE = "fixpipe to={} dst=0 src=0 m={} n={} stride=4096 mode={} layout={}"


@pytest.mark.parametrize("mode", ["int32", "req8", "vreq8", "deqf16", "vdeqf16", "fp16"])
def test_fixpipe_to_l1_takes_64_results_a_cycle_whatever_their_type(mode):
    for layout in ("nd", "nz"):
        assert alone(FIXPIPE.format("L1", 128, 256, mode, layout)) == (20, 512)
        assert alone(FIXPIPE.format("L1", 1, 65, mode, layout)) == (20, 2)


@pytest.mark.parametrize(
    ("m", "n", "mode", "layout", "cycles"),
    [
        (128, 256, "fp16", "nd", 973),  # 128 rows of 512 bytes at 67.4: 972.3
        (128, 256, "int32", "nd", 1945),  # 1944.7
        (128, 256, "req8", "nd", 512),  # 64 a cycle: 4 a row, more than 256 / 67.4
        (128, 128, "req8", "nd", 436),  # 3.4 a row
        (128, 16, "int32", "nd", 436),
        (10, 337, "int32", "nd", 200),  # 1348 / 67.4 = 20 exactly
        (128, 256, "int32", "nz", 1338),  # 131072 / 98 = 1337.5
        (128, 256, "vdeqf16", "nz", 669),  # 668.7
        (128, 256, "vreq8", "nz", 512),
        (1, 1, "int32", "nz", 1),
    ],
)
def test_fixpipe_to_gm_is_bound_by_what_it_writes(m, n, mode, layout, cycles):
    assert alone(FIXPIPE.format("GM", m, n, mode, layout)) == (20, cycles)


def test_fixpipe_to_gm_shares_l2_with_the_other_cores():
    i = instruction(FIXPIPE.format("GM", 16, 16, "int32", "nz"))
    assert [cost.Costs(SLOW, active).of(i).work for active in (1, 6, 24)] == [22, 128, 512]


@given(
    st.integers(1, 4095), st.integers(1, 4095), st.sampled_from(sorted(isa.RESULT_BYTES)),
    st.sampled_from(["GM", "L1"]), st.sampled_from(["nd", "nz"]), st.integers(1, 24),
)  # fmt: skip
def test_fixpipe_costs_what_the_formula_says(m, n, mode, to, layout, active):
    i = isa.Fixpipe(to, 0, 0, m, n, 4096, mode, layout=layout)
    got = cost.Costs(DEFAULT, active).of(i)
    assert (got.head, got.work) == (20, oracle.cost(i, DEFAULT, active).work)


# --- all ------------------------------------------------------------------------------------------

NOTHING = [
    "copy_in dst=0 src=0 bytes=0",
    "copy_in dst=0 src=0 bytes=32 bursts=0",
    "nd2nz dst=0 src=0 rows=0 bytes=32 src_stride=32 dst_rows=16",
    "nd2nz dst=0 src=0 rows=3 bytes=0 src_stride=32 dst_rows=16",
    "load2d to=L0A dst=0 src=0 repeat=0",
    "load2d to=L0B dst=0 src=0 repeat=0",
    load3d((3, 3), 0, 0, 16, 1),
    load3d((3, 3), 0, 32, 0, 1),
    "load_sparse dst=0 dense=0 index=0 repeat=0",
    "load_bias dst=0 src=0 bytes=0",
    "load_params dst=0 src=0 bytes=0",
    "mmad c=0 a=0 b=0 m=0 n=16 k=64",
    "mmad c=0 a=0 b=0 m=16 n=0 k=64",
    "mmad_sparse c=0 a=0 b=0 m=16 n=16 k=0",
    FIXPIPE.format("GM", 0, 16, "int32", "nd"),
    FIXPIPE.format("L1", 16, 0, "int32", "nz"),
]


@pytest.mark.parametrize("line", NOTHING)
def test_what_does_nothing_costs_nothing(line):
    mmad = "mmad c=0 a=0 b=0 m=16 n=16 k=64\n"
    got = schedule(Program.parse(line + "\n" + mmad), dataclasses.replace(DEFAULT, issue_cycles=0))
    assert (got.instructions[0].start, got.instructions[0].end) == (0, 0)
    assert got.cycles == 61 + 2
    for name, account in got.pipes.items():
        assert account.busy == (63 if name == "M" else 0)


@pytest.mark.parametrize("line", ["set_flag of=M to=FIX id=0", "barrier on=M"])
def test_flags_and_barriers_cost_nothing_by_themselves(line):
    mmad = "mmad c=0 a=0 b=0 m=16 n=16 k=64\n"
    got = schedule(Program.parse(mmad + line), dataclasses.replace(DEFAULT, issue_cycles=0))
    assert got.cycles == 63
    assert got.pipes["M"].busy == 63


@pytest.mark.parametrize(
    ("field", "rate", "line", "cycles"),
    [
        # In doubles each of these quotients is a hair above a whole number.
        ("store_rate", 67.4, FIXPIPE.format("GM", 25, 337, "int32", "nd"), 500),
        ("row_cycles", 3.4, "nd2nz dst=0 src=0 rows=245 bytes=1 src_stride=1 dst_rows=256", 833),
        ("load_b_rate", 0.1, "load2d to=L0B dst=0 src=0 repeat=3", 15360),
        ("table_rate", 1.1, "load_bias dst=0 src=0 bytes=363", 330),
        ("burst_rate", 2.3, "copy_in dst=0 src=0 bytes=2369", 1030),
    ],
)
def test_rates_are_exact_fractions(field, rate, line, cycles):
    assert work(line, **{field: rate}) == cycles


@given(st.integers(1, 10**6), st.integers(1, 1 << 20))
def test_a_rate_of_a_thousandth_more_is_exact(thousandths, size):
    """ceil(size / rate), with the rate that is written and not the double beside it."""
    config = dataclasses.replace(DEFAULT, table_rate=thousandths / 1000)
    got = cost.Costs(config).of(isa.LoadBias(0, 0, size)).work
    assert got == math.ceil(Fraction(1000 * size, thousandths))


COSTED = st.one_of(
    st.builds(
        isa.Mmad, c=st.just(0), a=st.just(0), b=st.just(0), m=st.integers(0, 4095),
        n=st.integers(0, 4095), k=st.integers(0, 4095), dtype=st.sampled_from(["int8", "float16"]),
    ),
    st.builds(
        isa.MmadSparse, c=st.just(0), a=st.just(0), b=st.just(0), m=st.integers(0, 4095),
        n=st.integers(0, 4095), k=st.integers(0, 4095),
    ),
    st.builds(
        isa.Load2D, to=st.sampled_from(["L0A", "L0B"]), dst=st.just(0), src=st.just(0),
        repeat=st.integers(0, 255),
    ),
    st.builds(
        isa.LoadSparse, dst=st.just(0), dense=st.just(0), index=st.just(0),
        repeat=st.integers(0, 255),
    ),
    st.builds(isa.LoadParams, dst=st.just(0), src=st.just(0), bytes=st.integers(0, 7000)),
)  # fmt: skip


@given(COSTED, st.sampled_from(sorted(PRESETS)))
def test_each_preset_has_the_costs_of_the_formulas(i, preset):
    config = PRESETS[preset]
    got, expected = cost.Costs(config).of(i), oracle.cost(i, config)
    if expected is None:
        assert got == cost.NOTHING
        return
    assert (got.head, got.behind, got.more, got.work) == (
        expected.idle, expected.behind, expected.more, expected.work,
    )  # fmt: skip


# --- one of many ----------------------------------------------------------------------------------

#: Two values of each field that a cost could depend on; of each instruction all of its fields.
TWO: dict[str, tuple[Any, Any]] = {
    "bytes": (64, 640), "bursts": (2, 5), "src_stride": (64, 999), "rows": (16, 7),
    "dst_rows": (16, 32), "repeat": (1, 9), "m": (16, 64), "n": (16, 80),
    "k": (64, 256), "k_start": (0, 96), "kernel_h": (3, 2), "kernel_w": (3, 1),
    "stride_w": (1, 2), "stride_h": (1, 3),
    "to": ("L0A", "L0B"), "mode": ("int32", "req8"), "layout": ("nd", "nz"),
    "dtype": ("int8", "float16"),
    "start": (0, 1), "unit_flag": (0, 3), "relu": ("none", "relu"), "alpha": (0.0, 0.5),
}  # fmt: skip


@pytest.mark.parametrize("kind", sorted(isa.INSTRUCTIONS.values(), key=lambda kind: kind.name))
def test_the_cost_of_one_is_not_that_of_another_that_was_asked_for_before(kind):
    names = [spec.name for spec in dataclasses.fields(kind)]
    values = {name: TWO.get(name, (1, 2)) for name in names}
    if kind is isa.Fixpipe:
        values["to"] = ("GM", "L1")
    if issubclass(kind, isa.Mmad):
        values["start"] = ("zero", "keep")
    # All combinations of the values of any three fields, in one Costs and each in one of its own.
    shared = cost.Costs(DEFAULT)
    for three in itertools.combinations(names, min(3, len(names))):
        for chosen in itertools.product((0, 1), repeat=len(three)):
            fields = {name: values[name][0] for name in names}
            fields |= {name: values[name][i] for name, i in zip(three, chosen, strict=True)}
            assert shared.of(kind(**fields)) == cost.Costs(DEFAULT).of(kind(**fields)), fields
