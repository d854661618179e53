"""Fast-forward: what repeats is counted at once, to the cycle.

The plain schedule of every core, which test_timing.py compares with single cycles, is the answer
wherever it can be had: all small numbers of tiles, lines, chunks and images are enumerated. Beyond,
the time of a run is an affine function of how often something comes, once it repeats.
"""

from __future__ import annotations

import itertools
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cube24.simulator import (
    Conv2d,
    Layer,
    Matmul,
    Program,
    ScheduleError,
    Tile,
    TilingError,
    Unit,
    UnitConfig,
    chip,
    forward,
    pipes,
    series,
    writer,
)
from cube24.simulator.chip import core_program, costs_of, time_plan, time_program
from cube24.simulator.cost import Costs
from cube24.simulator.dealing import deal, tiles_of
from cube24.simulator.operations import Compiler
from cube24.simulator.tiler import Plan, Problem
from cube24.simulator.timing import schedule
from cube24.simulator.writer import plan_for

UNIT = Unit()
#: The first touch of a byte takes longer than anything else.
SLOW_HBM = UnitConfig(hbm_rate=10.0)
#: FIXPIPE is the bottleneck, and queues are short.
SLOW_STORE = UnitConfig(store_rate=5.0, queue_depth=3)
#: MTE1 is slowed down by both, in odd parts, and most of the time at work.
CONTENTION = UnitConfig(
    mte1_slow_m=137, mte1_slow_mte2=71, load_b_rate=9.0, row_rate=20.0, sparse_head=0,
    load2d_head=0, load2d_head_behind=0, queue_depth=2,
)  # fmt: skip


@pytest.fixture(params=[0, 400], ids=["steps", "tiles"])
def short(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Tiles are divided into steps whatever their length, or as they are by default."""
    monkeypatch.setattr(series, "SHORT", request.param)
    chip._timed.cache_clear()
    return request.param


def assert_plain(plan: Plan, cores: int = 1) -> None:
    """The groups are those of the plain schedules of all cores, accounts included."""
    expected: Counter[Any] = Counter()
    for core, tiles in enumerate(deal(plan, cores)):
        assert tiles_of(plan, cores, core) == len(tiles)
        if tiles:
            program = core_program(plan, cores, core, limit=None)
            one = schedule(program, plan.config, costs_of(plan, cores))
            expected[one.cycles, str(one.pipes), len(tiles)] += 1
    got: Counter[Any] = Counter()
    for group in time_plan(plan, cores).groups:
        got[group.timing.cycles, str(group.timing.pipes), group.tiles] += group.cores
    assert got == expected
    if cores == 1:  # the same from the program, which short ones are timed by
        (group,) = time_program(plan, core_program(plan, limit=None)).groups
        found = (group.timing.cycles, str(group.timing.pipes), group.tiles)
        assert (expected[found], group.cores, group.first) == (1, 1, 0)


def planned(layer: Layer, config: UnitConfig, tile: Tile, **options: Any) -> Plan:
    return plan_for(Problem(layer, options.pop("sparse", True), **options), config, tile)


# --- enumerated -----------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [UnitConfig(), SLOW_STORE, CONTENTION, SLOW_HBM])
@pytest.mark.parametrize("tile", [
    Tile(16, 16, 64, 64), Tile(16, 16, 64, 64, l1_buffers=1), Tile(16, 16, 64, 64, unit_flag=True),
    Tile(16, 16, 64, 64, 256), Tile(16, 16, 64, 192, 64),
    Tile(16, 16, 64, 128, m_core=32, n_core=48),
])  # fmt: skip
def test_all_small_numbers_of_tiles_and_chunks_are_those_of_the_plain_schedule(short, tile, config):
    # Of each number the first ones, some of which repeat nothing, and one with an edge.
    for lines, columns, k in itertools.product((1, 6), (1, 2, 7), (64, 100, 64 * 25)):
        assert_plain(planned(Matmul(16 * lines - 3, 16 * columns - 1, k), config, tile, bias=True))


@pytest.mark.parametrize("config", [UnitConfig(), SLOW_HBM])
@pytest.mark.parametrize("pads", [(0,) * 4, (1,) * 4, (3, 0, 2, 1)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("m", [16, 48])
def test_all_small_images_are_those_of_the_plain_schedule(m, stride, pads, config):
    tile = Tile(m, 16, 64, 64)
    for height, width, batch in (
        (3, 7, 1), (4, 20, 3), (9, 3, 1), (40, 16, 1), (40, 18, 3), (34, 8, 5), (17, 48, 1),
    ):  # fmt: skip
        layer = Conv2d(batch, 32, height, width, 40, (3, 3), (stride,) * 2, pads)
        assert_plain(planned(layer, config, tile, fixpipe="vreq8"))


@pytest.mark.parametrize("config", [UnitConfig(), SLOW_HBM])
@pytest.mark.parametrize("cores", [2, 3, 5, 24])
@pytest.mark.parametrize("blocks", [(0, 0), (16, 32), (64, 16), (688, 32)])
def test_cores_that_share_lines_of_an_image_are_those_of_the_plain_schedule(blocks, cores, config):
    m_core, n_core = blocks
    tile = Tile(32 if m_core > 64 else 16, 16, 64, 64, m_core=m_core, n_core=n_core)
    for height, width, batch in ((6, 5, 1), (6, 40, 2), (6, 16, 7), (33, 40, 1), (90, 16, 1)):
        layer = Conv2d(batch, 32, height, width, 64, (2, 2), pads=(1, 1, 0, 0))
        assert_plain(planned(layer, config, tile, sparse=False), cores)


@pytest.mark.parametrize("depth", [1, 2, 7, forward.DEEP, forward.DEEP + 1])
def test_queues_of_any_depth_are_those_of_the_plain_schedule(depth):
    config = UnitConfig(queue_depth=depth)
    assert_plain(planned(Matmul(160, 200, 640), config, Tile(16, 32, 64, 128)))


@settings(max_examples=60)
@given(
    st.integers(1, 9), st.integers(1, 9), st.integers(1, 40), st.sampled_from([0, 64, 128, 256]),
    st.integers(1, 2), st.booleans(), st.sampled_from([UnitConfig(), SLOW_STORE, CONTENTION]),
    st.integers(0, 30), st.integers(0, 900),
)  # fmt: skip
def test_long_k_is_that_of_the_plain_schedule(
    short, lines, columns, k, weights, buffers, unit_flag, config, flag_cycles, idle_after
):
    tile = Tile(16, 16, 64, 128, weights, buffers, unit_flag)
    config = UnitConfig(**{
        **vars(config), "flag_cycles": flag_cycles, "mmad_idle_after": idle_after,
    })  # fmt: skip
    try:
        assert_plain(planned(Matmul(16 * lines, 16 * columns, 64 * k), config, tile))
    except TilingError:
        assume(False)


#: A long load, beside Mmads and moves that come and go and let the scalar unit issue the next.
BESIDE = (
    "load_sparse dst=0 dense=0 index=0 repeat=100\n"
    + "mmad c=0 a=0 b=0 m=16 n=16 k=640\ncopy_in dst=0 src=0 bytes=3000\n" * 8
) * 2  # fmt: skip


@pytest.mark.parametrize("program", ["tiles", "unit flags", "beside"])
@pytest.mark.parametrize("config", [UnitConfig(), SLOW_STORE, CONTENTION])
def test_pipes_that_are_made_from_a_state_go_on_as_those_that_were_in_it(config, program):
    tile = Tile(32, 32, 64, 128, unit_flag=program == "unit flags")
    code = core_program(planned(Matmul(60, 70, 200), config, tile))
    if program == "beside":
        code = Program.parse(BESIDE)
    ops = Compiler(Costs(config)).compile(code.instructions)
    straight = pipes.Pipes(config)
    straight.run(ops, to_end=True)
    expected = straight.take(end=True).timing()
    for cut in range(len(ops) + 1):
        first = pipes.Pipes(config)
        first.run(ops[:cut])
        state = first.state()
        counts = first.take()
        second = pipes.Pipes(config, state)
        assert second.state() == state
        second.run(ops[cut:], to_end=True)
        counts.add(second.take(end=True))
        assert counts.timing() == expected


# --- beyond what can be walked --------------------------------------------------------------------


@pytest.fixture
def scheduled(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many operations each run of the pipes was given."""
    found: list[int] = []
    run = pipes.Pipes.run

    def counted(self: pipes.Pipes, ops: Any, **how: Any) -> None:
        found.append(len(ops))
        run(self, ops, **how)

    monkeypatch.setattr(pipes.Pipes, "run", counted)
    chip._timed.cache_clear()
    return found


MANY = 720720  # a multiple of all periods up to 16


@pytest.mark.parametrize("of", ["m", "n", "k", "batch", "cin"])
def test_a_run_of_any_length_takes_no_more_work_and_its_time_goes_on_at_one_pace(scheduled, of):
    def layer(times: int) -> Layer:
        if of in ("batch", "cin"):
            batch, cin = (times, 64) if of == "batch" else (2, 32 * times)
            return Conv2d(batch, cin, 9, 9, 32, (3, 3), pads=(1,) * 4)
        sizes = {"m": 200, "n": 200, "k": 640} | {of: 64 * times}
        return Matmul(**sizes)

    cycles, work = [], []
    for times in (50, 50 + MANY, 50 + 2 * MANY, 50 + 3 * MANY):
        scheduled.clear()
        cycles.append(time_plan(planned(layer(times), UnitConfig(), Tile(32, 32, 64, 64))).cycles)
        work.append(sum(scheduled))
    steps = [b - a for a, b in itertools.pairwise(cycles)]
    assert steps[0] == steps[1] == steps[2] > MANY
    assert work[0] == work[1] == work[2] == work[3]


@pytest.mark.parametrize("cores", [1, 24])
def test_the_largest_problem_of_all_is_timed(scheduled, cores):
    largest = 1 << 40
    run = UNIT.time(Matmul(largest, largest, largest), cores=cores)
    assert 0.3 < run.utilisation < 1
    assert sum(scheduled) < 100_000
    assert not run.listed
    assert run.reasons[0].name == "MTE2"
    account = run.pipes["MTE1"]
    assert account.busy + account.waiting + account.idle == run.cycles


def test_an_image_of_millions_of_lines_is_timed(scheduled):
    config = UnitConfig(l1_bytes=1 << 30)
    layer = Conv2d(1, 64, 32767, 32749, 64, (3, 3), pads=(255,) * 4)
    assert time_plan(planned(layer, config, Tile(128, 16, 64, 576))).cycles > 10**9
    assert sum(scheduled) < 10**7


@pytest.mark.parametrize("height", [3, 7, 30, 200])
@pytest.mark.parametrize("width", [4, 7, 12, 33])
@pytest.mark.parametrize("m", [16, 32, 48, 128])
def test_the_most_lines_that_a_tile_needs_are_those_of_one_of_them(m, width, height):
    for kernel, stride, pads in itertools.product(
        ((1, 1), (3, 3), (2, 1)), (1, 2, 3), ((0,) * 4, (1,) * 4, (9, 0, 0, 0), (0, 0, 9, 2))
    ):
        layer = Conv2d(1, 32, height, width, 16, kernel, (stride,) * 2, pads)
        plan = Plan(Problem(layer, True), UnitConfig(), Tile(m, 16, 64, 64))
        expected = max(plan.rows(start).count for start in range(0, layer.m, m))
        assert plan.a_bytes == expected * layer.w * 32 * (
            plan.chunk // (32 * kernel[0] * kernel[1])
        )


# --- what is refused ------------------------------------------------------------------------------


def test_blocks_that_are_too_many_to_look_at_are_refused():
    tile = Tile(16, 16, 64, 64, m_core=16, n_core=16)
    with pytest.raises(ScheduleError, match=r"pieces that do not repeat each other.*m_core"):
        assert UNIT.time(Matmul(1 << 30, 1 << 30, 64), tile=tile).cycles


def test_a_load_for_too_many_instructions_is_refused():
    unit = Unit(UnitConfig(l1_bytes=1 << 40))
    with pytest.raises(ScheduleError, match="too many to count the time of; choose a smaller k_l1"):
        assert unit.time(Matmul(128, 128, 1 << 40)).cycles
    tile = Tile(128, 128, 128, 1024)
    assert unit.time(Matmul(128, 128, 1 << 40), tile=tile).cycles > 1 << 33


@pytest.mark.parametrize("depth", [64, forward.DEEP + 1])
def test_a_run_that_does_not_repeat_itself_in_time_is_refused(monkeypatch, depth):
    monkeypatch.setattr(forward, "LIMIT", 1000)
    chip._timed.cache_clear()
    unit = Unit(UnitConfig(queue_depth=depth))
    with pytest.raises(ScheduleError, match="does not come to repeat itself within 1000"):
        assert unit.time(Matmul(2000, 2000, 2000)).cycles


# --- equal runs -----------------------------------------------------------------------------------


def test_an_equal_run_is_neither_planned_nor_scheduled_again(monkeypatch):
    layer, tile = Matmul(123, 234, 345), Tile(48, 32, 64, 128)
    first = UNIT.time(layer, tile=tile, bias=True)
    assert first.cycles > 0
    monkeypatch.setattr(chip, "Forward", None)
    monkeypatch.setattr(writer, "Plan", None)
    again = Unit(UnitConfig("dav-2201")).time(Matmul(123, 234, 345), tile=tile, bias=True)
    assert again.plan is first.plan
    assert again.chip is first.chip
    for other in (
        lambda: UNIT.time(layer, tile=tile),
        lambda: Unit(UnitConfig(row_cycles=9.9)).time(layer, tile=tile, bias=True),
        lambda: UNIT.time(layer, tile=Tile(48, 32, 64, 64), bias=True),
        lambda: UNIT.time(layer, tile=tile, bias=True, sparse=False),
        lambda: UNIT.time(layer, tile=tile, bias=True, cores=2).cycles,
    ):
        with pytest.raises(TypeError):  # it is planned, or scheduled
            other()


def test_the_runs_that_are_kept_are_bounded():
    assert chip._timed.cache_info().maxsize == writer._planned.cache_info().maxsize == writer.PLANS


def test_threads_that_time_the_same_layers_get_the_same():
    layers = [Matmul(100 + 7 * i, 90, 300) for i in range(8)]
    expected = [UNIT.time(layer).cycles for layer in layers]
    chip._timed.cache_clear()
    writer._planned.cache_clear()
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda layer: UNIT.time(layer).cycles, layers * 8))
    assert got == expected * 8
