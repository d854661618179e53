"""Runs of the tiler's programs on one core and on many.

The fast-forward over equal tiles is compared with the plain schedule of every core, which
test_timing.py compares with single cycles. Values are compared with products in int64. The rest are
properties: what more bandwidth, more cores, more K and 2:4 may do to a run, and what may not be.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import itertools
import math
from collections import Counter
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import samples
import schedule_oracle as oracle
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cube24 import encoder
from cube24.encoder import ArgumentError, ShapeError
from cube24.simulator import (
    Conv2d,
    DeadlockError,
    Matmul,
    Requant,
    Run,
    ScheduleError,
    Tile,
    TilingError,
    Unit,
    UnitConfig,
    chip,
    isa,
)
from cube24.simulator.chip import core_program, costs_of, time_plan
from cube24.simulator.dealing import deal
from cube24.simulator.tiler import Plan, Problem
from cube24.simulator.timing import schedule
from cube24.simulator.writer import plan_for

UNIT = Unit()
#: HBM so slow that a first touch takes longer than anything else.
SLOW_HBM = UnitConfig(hbm_rate=10.0)


def steps(draw: Any, most: int, unit: int = 16) -> int:
    return unit * draw(st.integers(1, most))


@st.composite
def tiles(draw, image: bool = False) -> Tile:
    k = steps(draw, 2, 64)
    return Tile(
        steps(draw, 3), steps(draw, 3), k, k * draw(st.sampled_from([1, 2, 3])),
        0 if image else 64 * draw(st.sampled_from([0, 1, 2, 4])), draw(st.integers(1, 2)),
        draw(st.booleans()), 16 * draw(st.integers(0, 4)), 16 * draw(st.integers(0, 4)),
    )  # fmt: skip


@st.composite
def problems(draw) -> Problem:
    sparse = draw(st.booleans())
    options: dict[str, Any] = {
        "bias": draw(st.booleans()), "fixpipe": draw(st.sampled_from(["int32", "req8", "vreq8"])),
    }  # fmt: skip
    n = draw(st.integers(1, 150))
    if draw(st.integers(0, 3)) == 0:
        kernel = draw(st.sampled_from([(1, 1), (2, 3), (3, 3)]))
        height, width, c1 = (draw(st.integers(3, 9)) for _ in range(3))
        layer = Conv2d(
            draw(st.integers(1, 4)), 32 * (1 + c1 % 3), height, width, n, kernel,
            draw(st.sampled_from([(1, 1), (2, 1), (2, 2)])),
            draw(st.sampled_from([(0,) * 4, (1,) * 4])),
        )  # fmt: skip
        return Problem(layer, sparse, **options)
    if not sparse and draw(st.booleans()):
        options["weight_rows"] = True
    if not sparse and draw(st.integers(0, 3)) == 0:
        options |= {"dtype": "float16", "bias": False, "fixpipe": "fp16"}
    layer = Matmul(draw(st.integers(1, 150)), n, draw(st.integers(1, 500)))
    return Problem(layer, sparse, **options)


def plan_of(problem: Problem, config: UnitConfig, tile: Tile | None) -> Plan:
    """A plan, or another example where the tile does not fit."""
    try:
        return plan_for(problem, config, tile)
    except TilingError:
        assume(False)
        raise


def drawn_plan(data: Any, config: UnitConfig) -> Plan:
    problem = data.draw(problems())
    return plan_of(problem, config, data.draw(tiles(problem.image is not None)))


# --- fast-forward ---------------------------------------------------------------------------------


def assert_plain(plan: Plan, cores: int) -> None:
    """Each core takes the time of its group: that of the plain schedule of its program."""
    got = time_plan(plan, cores)
    hands = deal(plan, cores)
    expected = Counter()
    for core, hand in enumerate(hands):
        if hand:
            program = core_program(plan, cores, core)
            one = schedule(program, plan.config, costs_of(plan, cores))
            expected[one.cycles, str(one.pipes), len(hand)] += 1
    groups = Counter()
    for group in got.groups:
        groups[group.timing.cycles, str(group.timing.pipes), group.tiles] += group.cores
        assert group.timing.instructions == ()
    assert groups == expected
    assert got.cores == sum(expected.values())
    assert got.cycles == max(cycles for cycles, _, _ in expected)
    times = [group.timing.cycles for group in got.groups]
    assert times == sorted(times, reverse=True)


@settings(max_examples=120)
@given(st.data(), st.sampled_from([1, 2, 3, 5, 24]), st.sampled_from([1, 2, 3, 5, 64]))
def test_fast_forward_is_the_plain_schedule_of_each_core(data, cores, depth):
    config = UnitConfig(queue_depth=depth, store_rate=data.draw(st.sampled_from([67.4, 5.0])))
    assert_plain(drawn_plan(data, config), cores)


@settings(max_examples=40)
@given(
    st.integers(60, 300), st.integers(60, 300), st.integers(1, 150), st.booleans(),
    st.sampled_from([0, 64, 128]), st.integers(1, 2), st.booleans(), st.sampled_from([1, 2]),
)  # fmt: skip
def test_fast_forward_is_the_plain_schedule_of_many_tiles(
    m, n, k, sparse, weights, buffers, unit_flag, cores
):
    tile = Tile(16, 16, 64, 128, weights, buffers, unit_flag)
    assert_plain(
        plan_of(Problem(Matmul(m, n, k), sparse), UnitConfig(store_rate=20.0), tile), cores
    )


@settings(max_examples=60)
@given(st.data(), st.integers(1, 8), st.sampled_from([10.0, 100.0]))
def test_fast_forward_is_the_plain_schedule_where_the_first_touch_matters(data, cores, hbm):
    assert_plain(drawn_plan(data, UnitConfig(hbm_rate=hbm)), cores)


@settings(max_examples=80)
@given(
    st.data(), st.integers(0, 40), st.integers(0, 3), st.sampled_from([0, 30, 900]),
    st.sampled_from([0, 1, 20, 100, 300]),
)  # fmt: skip
def test_fast_forward_is_the_plain_schedule_whatever_the_latencies(
    data, flag, issue, handover, idle_after
):
    config = UnitConfig(
        flag_cycles=flag, issue_cycles=issue, handover_cycles=handover, mte1_slow_mte2=33,
        mmad_idle_after=idle_after,
    )  # fmt: skip
    assert_plain(drawn_plan(data, config), 1)


@pytest.mark.parametrize("sparse", [False, True])
def test_fast_forward_knows_which_half_of_l0c_a_tile_takes(sparse):
    # Everything but L0C is in the same half again after each tile: two loads of activations, two
    # of L0, and a weight that stays. With a slow FIXPIPE it matters.
    tile = Tile(64, 64, 64, 64, k_weights=128, unit_flag=True)
    problem = Problem(Matmul(64 * 9, 64, 128), sparse)
    assert_plain(plan_for(problem, UnitConfig(store_rate=5.0), tile), 1)


@pytest.mark.parametrize(
    ("shape", "tile", "depth", "l0c"),
    [
        ((180, 142, 160), Tile(32, 48, 64, 64, 0, 1, True), 2, 16384),
        ((195, 150, 80), Tile(16, 48, 64, 128, 128, 2, True), 2, 8192),
        ((197, 117, 22), Tile(32, 16, 64, 64, 128, 1, True), 1, 4096),
        ((175, 146, 11), Tile(16, 32, 64, 64, 128, 1, True), 1, 4096),
        ((175, 146, 64), Tile(32, 32, 64, 64, 0, 2, True), 3, 4096),
    ],
)
def test_fast_forward_knows_which_blocks_are_still_being_cleared(shape, tile, depth, l0c):
    m, n, k = shape
    config = UnitConfig(queue_depth=depth, l0c_bytes=l0c, store_rate=5.0)
    assert_plain(plan_for(Problem(Matmul(m, n, k), True), config, tile), 1)


def test_cores_with_tiles_of_the_same_shapes_may_touch_others_for_the_first_time():
    tile = Tile(32, 16, 64, 64, k_weights=64, l1_buffers=1, m_core=64, n_core=16)
    assert_plain(plan_for(Problem(Matmul(128, 80, 128), True), SLOW_HBM, tile), 4)


def test_a_long_run_is_not_scheduled_tile_by_tile():
    # 16384 tiles; the plain schedule of a hundredth of them takes as long.
    problem = Problem(Matmul(2048, 2048, 256), True)
    tile = Tile(16, 16, 64, 256)
    plan = plan_for(problem, UnitConfig(), tile)
    cycles = {m: time_plan(plan_for(Problem(Matmul(m, 2048, 256), True), UnitConfig(), tile)).cycles
              for m in (160, 320)}  # fmt: skip
    # Lines of tiles follow each other at one pace.
    pace = Fraction(cycles[320] - cycles[160], 10)
    expected = cycles[320] + (2048 - 320) // 16 * pace
    assert abs(time_plan(plan).cycles - expected) <= expected / 1000


def test_a_run_on_many_cores_is_that_of_single_cycles():
    for cores in (2, 4, 6):
        run = UNIT.time(Matmul(200, 250, 256), sparse=True, cores=cores)
        program = run.program.instructions
        costs = [
            oracle.cost(i, run.config, cores) if i.name in oracle.PIPE_OF else None for i in program
        ]
        assert run.cycles == oracle.simulate(program, run.config, costs).cycles


def test_cores_share_the_first_touch_of_rows_and_columns():
    # Six cores, two lines of three: activations are shared by three, weights by two.
    config = UnitConfig(hbm_rate=6.0, clock_mhz=1000, cores=6)  # one byte a cycle for each
    tile = Tile(64, 64, 64, 64, m_core=64, n_core=64)
    run = Unit(config).time(Matmul(128, 192, 64), tile=tile, cores=6, sparse=False)
    moves = [row.work for row in run.instructions if row.pipe == "MTE2" and row.work]
    assert moves == [-(-64 * 64 // 3), 64 * 64 // 2]


# --- dealing --------------------------------------------------------------------------------------


@given(st.data(), st.integers(1, 24))
def test_every_result_is_dealt_exactly_once(data, cores):
    plan = drawn_plan(data, UnitConfig())
    problem, tile = plan.problem, plan.tile
    hands = deal(plan, cores)
    assert len(hands) == cores
    count = np.zeros((problem.batch, problem.m, problem.n), int)
    for piece in itertools.chain(*hands):
        assert 1 <= piece.m <= tile.m
        assert 1 <= piece.n <= tile.n
        end = (piece.m_start + piece.m, piece.n_start + piece.n)
        assert end[0] <= problem.m
        assert end[1] <= problem.n
        count[piece.batch, piece.m_start : end[0], piece.n_start : end[1]] += 1
    assert (count == 1).all()


def test_blocks_are_dealt_in_turn_along_n_first():
    plan = plan_for(
        Problem(Matmul(100, 90, 64), True), UnitConfig(), Tile(16, 32, 64, 64, m_core=48, n_core=32)
    )
    found = [[(p.m_start, p.m, p.n_start, p.n) for p in hand] for hand in deal(plan, 2)]
    rows = {0: [(0, 16), (16, 16), (32, 16)], 48: [(48, 16), (64, 16), (80, 16)], 96: [(96, 4)]}
    columns = [(0, 32), (32, 32), (64, 26)]
    blocks = [(row, column) for row in (0, 48, 96) for column in columns]
    for core in (0, 1):
        assert found[core] == [
            (*line, *column) for row, column in blocks[core::2] for line in rows[row]
        ]


@given(st.data(), st.integers(2, 24))
def test_without_block_sizes_the_busiest_core_has_as_few_tiles_as_a_grid_can_give(data, cores):
    problem = data.draw(problems().filter(lambda p: p.batch == 1))
    tile = dataclasses.replace(data.draw(tiles(problem.image is not None)), m_core=0, n_core=0)
    plan = plan_of(problem, UnitConfig(), tile)
    down, across = -(-problem.m // tile.m), -(-problem.n // tile.n)
    grids = [(r, c) for r in range(1, cores + 1) for c in range(1, cores + 1) if r * c <= cores]
    fewest = min(-(-down // r) * -(-across // c) for r, c in grids)
    assert max(map(len, deal(plan, cores))) == fewest
    (everything,) = deal(plan, 1)
    assert len(everything) == down * across


# --- values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("sparse", [False, True])
@settings(max_examples=40)
@given(tiles(), st.integers(1, 90), st.integers(1, 90), st.integers(1, 500), st.booleans())
def test_each_tile_computes_the_product(sparse, tile, m, n, k, rows):
    rng = np.random.default_rng(m * n * k)
    x = rng.integers(-128, 128, (m, k)).astype(np.int8)
    w = samples.legal_weight((n, k), 3) if sparse else samples.dense_weight((n, k), 3)
    bias = rng.integers(-1000, 1000, n).astype(np.int32)
    how = {"weight_rows": rows and not sparse, "tile": tile}
    try:
        run = UNIT.matmul(x, encoder.encode(w) if sparse else w, bias, check=w, **how)
    except TilingError:
        assume(False)
    assert np.array_equal(run.output, x.astype(np.int64) @ w.T.astype(np.int64) + bias)
    same = UNIT.time(Matmul(x.shape[0], w.shape[0], x.shape[1]), bias=True, sparse=sparse, **how)
    assert run.cycles == same.cycles == run.timing.cycles


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("unit_flag", [False, True])
@pytest.mark.parametrize("l1_buffers", [1, 2])
def test_each_tile_computes_the_convolution(l1_buffers, unit_flag, sparse):
    tile = Tile(16, 16, 64, 192, l1_buffers=l1_buffers, unit_flag=unit_flag)
    rng = np.random.default_rng(5)
    x = rng.integers(-128, 128, (3, 40, 5, 6)).astype(np.int8)
    shape = (19, 40, 3, 2)
    w = samples.legal_weight(shape, 3, "conv") if sparse else samples.dense_weight(shape, 3)
    weight = encoder.encode_conv(w) if sparse else w
    run = UNIT.conv2d(x, weight, pads=(1, 0, 1, 1), strides=(1, 2), tile=tile, check=w)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (0, 1))).astype(np.int64)
    expected = np.zeros((3, 19, 5, 3), np.int64)
    for i, j, u, v in itertools.product(range(5), range(3), range(3), range(2)):
        expected[:, :, i, j] += padded[:, :, i + u, 2 * j + v] @ w[:, :, u, v].T.astype(np.int64)
    assert np.array_equal(run.output, expected)
    assert run.cycles == run.timing.cycles


@pytest.mark.parametrize("tile", [
    Tile(32, 32, 64, 64, k_weights=256), Tile(32, 32, 64, 256, k_weights=64),
    Tile(32, 32, 64, 128, l1_buffers=1), Tile(32, 32, 64, 128, unit_flag=True),
    Tile(32, 32, 64, 64, 192, 1, True),
])  # fmt: skip
def test_each_tile_computes_results_that_are_requantised_by_column(tile):
    rng = np.random.default_rng(2)
    x, w = rng.integers(-128, 128, (70, 192)).astype(np.int8), samples.legal_weight((50, 192), 1)
    how = Requant(scale=2.0 ** rng.integers(-14, -8, 50), offset=3, mode="REQ8")
    run = UNIT.matmul(x, encoder.encode(w), requant=how, tile=tile, check=w)
    exact = x.astype(np.int64) @ w.T.astype(np.int64) * np.asarray(how.scale)
    rounded = np.rint(np.clip(exact, -256, 255)) + 3
    assert np.array_equal(run.output, np.clip(rounded, -128, 127))


# --- properties of runs ---------------------------------------------------------------------------

RATES = (
    "load_a_rate", "load_b_rate", "load3d_rate", "load3d_floor", "table_rate", "fixpipe_rate",
    "row_rate", "burst_rate", "store_rate", "hbm_rate", "l2_rate",
)  # fmt: skip


@settings(max_examples=60)
@given(
    st.data(), st.sampled_from([1, 4, 24]), st.sampled_from([1.01, 1.5, 3.0, 1000.0]),
)  # fmt: skip
def test_more_bandwidth_makes_no_run_slower(data, cores, factor):
    config = UnitConfig()
    problem = data.draw(problems())
    tile = data.draw(st.one_of(st.none(), tiles(problem.image is not None)))
    plan = plan_of(problem, config, tile)
    cycles = time_plan(plan, cores).cycles
    for rate in RATES:
        faster = dataclasses.replace(config, **{rate: getattr(config, rate) * factor})
        assert time_plan(Plan(problem, faster, plan.tile), cores).cycles <= cycles, rate


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("cores", [1, 6])
@pytest.mark.parametrize("unit_flag", [False, True])
def test_twice_the_k_takes_about_twice_as_long(unit_flag, cores, sparse):
    tile = Tile(128, 128, 64, 256, unit_flag=unit_flag)

    def cycles(k: int) -> int:
        return UNIT.time(Matmul(256, 384, k), tile=tile, sparse=sparse, cores=cores).cycles

    assert 1.95 <= cycles(32768) / cycles(16384) <= 2.0


def shapes(most_k: int = 1500) -> Any:
    return st.tuples(st.integers(1, 300), st.integers(1, 300), st.integers(1, most_k))


@given(shapes(), st.booleans(), st.sampled_from([1, 3, 24]))
def test_utilisation_is_the_useful_share_of_all_cycles_of_the_cubes(shape, sparse, cores):
    m, n, k = shape
    run = UNIT.time(Matmul(m, n, k), sparse=sparse, cores=cores)
    useful = Fraction(m * n * k, 2 if sparse else 1)
    assert 0 < run.utilisation <= 1
    assert math.isclose(run.utilisation, useful / (run.cycles * cores * 8192))


def test_utilisation_comes_near_1_where_nothing_but_the_cube_takes_time():
    free = UnitConfig(
        load_a_rate=1e9, load_b_rate=1e9, row_rate=1e9, burst_rate=1e9, store_rate=1e9,
        row_cycles=0.0, store_row_cycles=0.0, l2_rate=1e9, hbm_rate=1e9, mmad_head_queued=0,
        mmad_head_idle=0, load2d_head=0, load2d_head_behind=0, sparse_head=0, move_head=0,
        fixpipe_head=0, fixpipe_rate=1e9, handover_cycles=0, flag_cycles=0, issue_cycles=0,
    )  # fmt: skip
    for sparse, dtype in ((False, "int8"), (True, "int8"), (False, "float16")):
        run = Unit(free).time(Matmul(512, 512, 1024), sparse=sparse, dtype=dtype)
        assert 0.97 < run.utilisation <= 1


@settings(max_examples=60)
@given(st.data())
def test_2_4_is_slower_than_its_dense_twin_by_no_more_than_heads_and_indices(data):
    problem = dataclasses.replace(
        data.draw(problems().filter(lambda p: p.image is None)), sparse=True, dtype="int8",
        fixpipe="int32", weight_rows=False,
    )  # fmt: skip
    sparse = plan_of(problem, UnitConfig(), data.draw(st.one_of(st.none(), tiles())))
    dense = plan_of(dataclasses.replace(problem, sparse=False), UnitConfig(), sparse.tile)
    program = core_program(sparse).instructions
    # An index is a move more, and the head of LoadSparse is 30 instead of 19.
    index = next(buffer.at for buffer in sparse.buffers() if buffer.name == "index")
    end = index + next(b.bytes for b in sparse.buffers() if b.name == "index")
    moves = [
        oracle.cost(i, UnitConfig()) for i in program
        if isinstance(i, isa.CopyIn) and index <= i.src < end
    ]  # fmt: skip
    extra = sum(move.idle + move.work for move in moves)
    extra += 11 * sum(isinstance(i, isa.LoadSparse) for i in program)
    assert time_plan(sparse).cycles <= time_plan(dense).cycles + extra


@given(shapes(), st.booleans(), st.integers(2, 24))
def test_more_cores_make_no_run_slower(shape, sparse, cores):
    m, n, k = shape

    def cycles(cores: int) -> int:
        return UNIT.time(Matmul(m, n, k), sparse=sparse, cores=cores).cycles

    assert cycles(cores) <= cycles(1)


def test_a_large_run_on_24_cores_is_about_24_times_as_fast():
    def cycles(cores: int) -> int:
        tile = Tile(128, 128, 128, 256)
        return UNIT.time(Matmul(2048, 1536, 1024), tile=tile, sparse=True, cores=cores).cycles

    assert 20 < cycles(1) / cycles(24) <= 24.5


@pytest.mark.parametrize("m", [1, 17, 100, 256])
def test_2_4_is_at_most_twice_as_fast_with_the_same_tile(m):
    tile = Tile(64, 128, 256, 1024)
    run = UNIT.time(Matmul(m, 512, 2048), sparse=True, tile=tile)
    twin = UNIT.time(Matmul(m, 512, 2048), tile=tile, sparse=False)
    assert run.dense.plan.tile == tile
    assert run.dense.cycles == twin.cycles
    assert run.speed_up == twin.cycles / run.cycles
    assert 1 < run.speed_up <= 2
    assert twin.speed_up == 1.0
    assert twin.dense is twin


def test_where_the_tile_does_not_fit_the_dense_twin_has_the_one_of_a_dense_run():
    tile = Tile(16, 128, 512, 2048)
    run = UNIT.time(Matmul(16, 512, 2048), sparse=True, tile=tile)
    with pytest.raises(TilingError):
        UNIT.time(Matmul(16, 512, 2048), tile=tile, sparse=False)
    twin = UNIT.time(Matmul(16, 512, 2048), sparse=False)
    assert run.dense.plan.tile == twin.plan.tile
    assert run.speed_up == twin.cycles / run.cycles


@settings(max_examples=60)
@given(st.sampled_from([1, 16, 17, 64, 256]), st.integers(1, 6), st.integers(1, 8))
def test_2_4_is_at_most_twice_as_fast(m, n, k):
    run = UNIT.time(Matmul(m, 128 * n, 512 * k), sparse=True)
    assert run.speed_up <= 2


def test_where_only_the_cube_takes_time_2_4_is_nearly_twice_as_fast():
    slow_cube = UnitConfig(
        load_a_rate=1e9, load_b_rate=1e9, row_rate=1e9, burst_rate=1e9, store_rate=1e9,
        row_cycles=0.0, store_row_cycles=0.0, l2_rate=1e9, hbm_rate=1e9, mmad_head_queued=0,
        mmad_head_idle=0, handover_cycles=0,
    )  # fmt: skip
    run = Unit(slow_cube).time(Matmul(1024, 1024, 2048), sparse=True)
    assert 1.9 < run.speed_up <= 2


FREE = 2.0**40
#: What to switch off for each reason.
SWITCHED_OFF: dict[str, dict[str, Any]] = {
    "MTE2": dict.fromkeys(["row_rate", "burst_rate", "hbm_rate", "l2_rate"], FREE)
    | {"move_head": 0, "row_cycles": 0.0, "handover_cycles": 0},
    "MTE1": dict.fromkeys(
        ["load_a_rate", "load_b_rate", "load3d_rate", "load3d_floor", "table_rate"], FREE
    )
    | dict.fromkeys(
        ["load2d_head", "load2d_head_behind", "load2d_head_more", "load3d_head", "sparse_head",
         "table_head"], 0,
    ),
    "Mmad heads": {"mmad_head_idle": 0, "mmad_head_queued": 0},
    "FIXPIPE": {"fixpipe_head": 0, "fixpipe_rate": FREE, "store_row_cycles": 0.0,
                "store_rate": FREE},
    "contention": {"mte1_slow_m": 0, "mte1_slow_mte2": 0},
    "flags": {"flag_cycles": 0, "handover_cycles": 0, "issue_cycles": 0, "queue_depth": 1 << 20},
}  # fmt: skip

EXPLAINED = [
    ((300, 500), (200, 500), {"sparse": True}),
    ((300, 512), (200, 512), {"sparse": False, "tile": Tile(64, 64, 128, 256, unit_flag=True)}),
    ((512, 1024), (512, 1024), {"sparse": True, "cores": 6}),
    (
        (512, 512),
        (512, 512),
        {"sparse": False, "dtype": "float16", "tile": Tile(64, 64, 64, 64, l1_buffers=1)},
    ),
]


@pytest.mark.parametrize(("x", "w", "how"), EXPLAINED)
def test_each_reason_is_what_the_run_saves_without_this_cost(x, w, how):
    run = UNIT.time(Matmul(x[0], w[0], x[1]), **how)
    found = {reason.name: reason.cycles for reason in run.reasons}
    padding = found.pop("padding", 0)
    expected = {}
    for name, fields in SWITCHED_OFF.items():
        unit = Unit(dataclasses.replace(run.config, **fields))
        without = unit.time(Matmul(x[0], w[0], x[1]), **{**how, "tile": run.plan.tile}).cycles
        if without < run.cycles:
            expected[name] = run.cycles - without
    assert found == expected
    assert 0 <= padding < run.pipes["M"].busy
    sizes = [reason.cycles for reason in run.reasons]
    assert sizes == sorted(sizes, reverse=True)
    assert all(0 < size < run.cycles for size in sizes)


@pytest.mark.parametrize(
    ("shape", "sparse", "cycles"),
    [
        ((64, 64, 512), True, 0),
        ((1, 16, 64), False, 2),  # of 2 cycles a sixteenth is of use: 1.875
        ((8, 16, 64), False, 1),
        ((17, 17, 65), False, 10),  # 12 cycles on 32 x 32 x 96, of which 17 x 17 x 65 are of use
        ((17, 17, 65), True, 7),  # 8 cycles on 32 x 32 x 128
    ],
)
def test_padding_is_the_part_of_the_cube_that_is_not_full(shape, sparse, cycles):
    m, n, k = shape
    run = UNIT.time(Matmul(m, n, k), sparse=sparse)
    assert {r.name: r.cycles for r in run.reasons}.get("padding", 0) == cycles


def test_a_run_by_the_cube_alone_has_no_other_reasons():
    run = UNIT.time(Matmul(256, 256, 4096), sparse=False)
    assert {reason.name for reason in run.reasons} <= {*SWITCHED_OFF, "padding"}
    assert all(reason.about for reason in run.reasons)


# --- edges ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("x", "w"), [((0, 64), (16, 64)), ((16, 64), (0, 64)), ((0, 0), (0, 0))])
@pytest.mark.parametrize("cores", [1, 24])
def test_an_empty_problem_takes_no_time(x, w, cores):
    run = UNIT.time(Matmul(x[0], w[0], x[1]), sparse=True, cores=cores)
    assert (run.cycles, run.seconds, run.utilisation, run.speed_up) == (0, 0.0, 0.0, 1.0)
    assert (run.reasons, run.instructions, run.program.instructions) == ((), (), ())
    assert run.timing.cycles == 0
    assert set(run.pipes) == {"MTE2", "MTE1", "M", "FIX", "S"}
    for account in run.pipes.values():
        assert (account.busy, account.waiting, account.idle) == (0, 0, 0)


def test_a_batch_of_no_images_takes_no_time():
    assert UNIT.time(Conv2d(0, 32, 4, 4, 16, (3, 3)), sparse=False).cycles == 0


@pytest.mark.parametrize("sparse", [False, True])
def test_a_k_of_0_is_refused(sparse):
    with pytest.raises(ShapeError, match="K is 0"):
        UNIT.time(Matmul(16, 16, 0), sparse=sparse)


@pytest.mark.parametrize("cores", [0, 25, -1])
def test_cores_that_the_unit_does_not_have_are_refused(cores):
    with pytest.raises(ArgumentError, match="dav-2201 has 1 to 24"):
        UNIT.time(Matmul(16, 16, 64), cores=cores, sparse=False)


def test_values_are_computed_on_one_core_only():
    x, w = np.ones((16, 64), np.int8), np.ones((16, 64), np.int8)
    with pytest.raises(ArgumentError, match=r"cores: of Unit\.time"):
        UNIT.matmul(x, w, cores=2)


def test_seconds_are_cycles_at_the_clock_of_the_unit():
    run = UNIT.time(Matmul(64, 64, 64), sparse=False)
    assert math.isclose(run.seconds, run.cycles / 1.85e9)
    other = Unit("dav-3510").time(Matmul(64, 64, 64), sparse=False)
    assert math.isclose(other.seconds, other.cycles / 1.65e9)
    with pytest.raises(ArgumentError, match="no 2:4 sparsity"):
        Unit("dav-3510").time(Matmul(64, 64, 64), sparse=True)


def test_a_program_of_too_many_instructions_is_timed_and_not_listed(monkeypatch):
    run = UNIT.time(Matmul(64, 64, 256), sparse=True)
    count = len(run.program.instructions)
    plan = run.plan
    assert len(core_program(plan, limit=count).instructions) == count
    assert len(core_program(plan, limit=None).instructions) == count
    for limit in (1, count - 1):
        with pytest.raises(ScheduleError, match=f"more than {limit} instructions"):
            core_program(plan, limit=limit)
    module = importlib.import_module("cube24.simulator.run")
    few = functools.partial(chip.core_program, limit=count - 1)
    monkeypatch.setattr(module, "core_program", few)
    again = UNIT.time(Matmul(64, 64, 256), sparse=True)
    assert again.cycles == run.cycles
    assert again.pipes == run.pipes
    for listing in ("program", "timing", "instructions"):
        with pytest.raises(ScheduleError, match="too many to list"):
            getattr(again, listing)


@settings(max_examples=40)
@given(st.data())
def test_programs_of_the_tiler_run_with_queues_of_any_depth(data):
    plan = drawn_plan(data, UnitConfig(queue_depth=1))
    deep = time_plan(Plan(plan.problem, UnitConfig(queue_depth=64), plan.tile)).cycles
    try:
        assert time_plan(plan).cycles >= deep
    except DeadlockError:
        pytest.fail("a queue of one instruction stops the program")


def test_the_program_of_a_run_is_that_of_the_core_that_is_done_last():
    run = UNIT.time(Matmul(300, 250, 256), sparse=True, cores=5)
    assert isinstance(run, Run)
    costs = costs_of(run.plan, 5)
    times = [
        schedule(core_program(run.plan, 5, core), run.config, costs).cycles for core in range(5)
    ]
    assert run.cycles == run.timing.cycles == max(times)
    assert run.timing.pipes == run.pipes
    assert len(run.instructions) == len(run.program.instructions)
