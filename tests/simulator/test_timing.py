"""The schedule against a simulation of single cycles (schedule_oracle.py), and its properties.

Programs are drawn so that they can run: program order is one way to run them, and a flag is set
again only by who knows that it was waited for. Others are drawn without any care, for what stops or
is refused. Programs of the tiler are those that the unit really runs.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from typing import Any

import numpy as np
import pytest
import samples
import schedule_oracle as oracle
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cube24 import encoder
from cube24.simulator import (
    Conv2d,
    DeadlockError,
    Matmul,
    Program,
    ScheduleError,
    Tile,
    TilingError,
    Unit,
    UnitConfig,
    isa,
    timing,
)
from cube24.simulator.chip import core_program
from cube24.simulator.tiler import Problem
from cube24.simulator.timing import schedule
from cube24.simulator.writer import plan_for

PIPES = ("MTE2", "MTE1", "M", "FIX")
#: Nothing takes time but work: for programs whose times a person can follow.
BARE = UnitConfig(
    mmad_head_idle=0, mmad_head_queued=0, load2d_head=0, load2d_head_behind=0, sparse_head=0,
    load3d_head=0, table_head=0, fixpipe_head=0, move_head=0, row_cycles=0.0, row_rate=32.0,
    burst_rate=32.0, store_rate=64.0, store_row_cycles=0.0, flag_cycles=0, handover_cycles=0,
    issue_cycles=0, mte1_slow_m=0, mte1_slow_mte2=0,
)  # fmt: skip


def timed(text: str, config: UnitConfig = BARE, **fields: Any) -> timing.Timing:
    return schedule(Program.parse(text), dataclasses.replace(config, **fields))


def times(text: str, config: UnitConfig = BARE, **fields: Any) -> list[tuple[int, int]]:
    """(start, end) of each line."""
    return [(row.start, row.end) for row in timed(text, config, **fields).instructions]


# Lines that take as many cycles as they say, with BARE.
def move(cycles: int) -> str:
    return f"copy_in dst=0 src=0 bytes={32 * cycles}\n"


def load(cycles: int) -> str:
    assert cycles % 4 == 0
    return f"load2d to=L0B dst=0 src=0 repeat={cycles // 4}\n"


def mmad(cycles: int, unit_flag: int = 0) -> str:
    rows = 1 if cycles < 128 else 4  # k has an end
    assert cycles % rows == 0
    k = 32 * cycles // rows
    return f"mmad c=0 a=0 b=0 m={16 * rows} n=16 k={k} unit_flag={unit_flag}\n"


def store(cycles: int) -> str:
    return f"fixpipe to=L1 dst=0 src=0 m={cycles} n=64 stride=64\n"


# --- by hand --------------------------------------------------------------------------------------


def test_pipes_work_at_the_same_time_and_each_in_order():
    assert times(move(10) + mmad(7) + move(5) + mmad(9)) == [(0, 10), (0, 7), (10, 15), (7, 16)]


def test_one_instruction_is_issued_each_issue_cycles():
    rows = timed((mmad(1) + move(1)) * 3, issue_cycles=4).instructions
    assert [row.issued for row in rows] == [0, 4, 8, 12, 16, 20]
    assert [row.start for row in rows] == [0, 4, 8, 12, 16, 20]


def test_a_full_queue_stops_the_scalar_unit_until_the_pipe_takes_one():
    # The first starts at once and leaves the queue; then as many wait as it holds.
    got = timed(mmad(10) * 4 + move(1), queue_depth=1)
    assert [row.issued for row in got.instructions] == [0, 0, 10, 20, 20]
    assert dict(got.pipes["S"].waits) == {"queue of M full": 20}
    deep = timed(mmad(10) * 4 + move(1), queue_depth=3)
    assert [row.issued for row in deep.instructions] == [0, 0, 0, 0, 0]
    assert timed(mmad(10) * 4 + move(1), queue_depth=2).instructions[4].issued == 10


@pytest.mark.parametrize(
    ("of", "to", "later"),
    [
        ("MTE2", "MTE1", 7), ("MTE1", "MTE2", 6), ("MTE1", "M", 7), ("M", "MTE1", 6),
        ("M", "FIX", 7), ("FIX", "M", 6), ("MTE2", "FIX", 7), ("FIX", "MTE2", 6),
    ],
)  # fmt: skip
def test_a_flag_is_seen_after_half_a_round_trip_towards_the_cube_the_longer_half(of, to, later):
    rows = timed(
        f"set_flag of={of} to={to} id=3\nwait_flag of={of} to={to} id=3\n", flag_cycles=13
    ).instructions
    assert (rows[1].start, rows[1].end, rows[1].waited) == (0, later, later)
    assert rows[1].cause.startswith(f"{of}>{to}#3 (")
    even = f"set_flag of={of} to={to} id=3\nwait_flag of={of} to={to} id=3\n"
    assert times(even, flag_cycles=12)[1] == (0, 6)


def test_a_mmad_has_the_head_of_an_idle_cube_only_after_the_gap():
    heads = {}
    for gap in (39, 40, 41):
        text = mmad(10) + "wait_flag of=MTE2 to=M id=0\n" + mmad(10) * 2
        text = move(10 + 61 + gap) + "set_flag of=MTE2 to=M id=0\n" + text
        rows = timed(text, mmad_head_idle=61, mmad_head_queued=9, mmad_idle_after=40).instructions
        heads[gap] = [row.head for row in rows if row.name == "mmad"]
    assert heads == {39: [61, 9, 9], 40: [61, 61, 9], 41: [61, 61, 9]}


def test_heads_of_loads_are_28_alone_19_behind_another_buffer_0_behind_the_same():
    a, b = "load2d to=L0A dst=0 src=0 repeat=1\n", "load2d to=L0B dst=0 src=0 repeat=1\n"
    sparse, table = (
        "load_sparse dst=0 dense=0 index=0 repeat=1\n",
        "load_bias dst=0 src=0 bytes=4\n",
    )
    default = UnitConfig(issue_cycles=0)

    def heads(text: str) -> list[int]:
        return [row.head for row in timed(text, default).instructions if row.work]

    assert heads(a) == [28]
    assert heads(a + b) == [28, 19]  # 47 for a pair
    assert heads(a * 4 + b * 2 + a) == [28, 0, 0, 0, 19, 0, 19]
    assert heads(a + sparse + b + table + a) == [28, 30, 19, 20, 19]
    assert heads(a + "barrier on=MTE1\n" + a) == [28, 28]
    nothing = "load2d to=L0B dst=0 src=0 repeat=0\nset_flag of=MTE1 to=M id=0\n"
    assert heads(a + nothing + a) == [28, 0]


def test_a_pair_of_loads_takes_47_and_its_work():
    # A 64x64 fp16 by four moves of 4 fractals, B by one of 16: 47 + 8192 / 256 + 8192 / 128.
    text = "load2d to=L0A dst=0 src=0 repeat=4\n" * 4 + "load2d to=L0B dst=0 src=0 repeat=16\n"
    assert timed(text, UnitConfig(issue_cycles=0)).cycles == 47 + 32 + 64


def test_mte1_is_slower_while_the_cube_is_at_work_its_heads_are_not():
    # 25 % longer: 800 thousandths a cycle. 100 cycles of work, the first 40 beside the cube.
    slow = {"mte1_slow_m": 25, "load2d_head": 20}
    row = timed(mmad(60) + load(100), **slow).instructions[1]
    assert (row.head, row.work, row.slowed) == (20, 100, 8)  # 32 in 40 cycles, 68 in 68
    assert timed(mmad(20) + load(100), **slow).instructions[1].slowed == 0
    whole = timed(mmad(60) + load(100), **slow).pipes["MTE1"]
    assert (whole.busy, whole.heads, whole.slowed) == (128, 20, 8)


def test_mte1_is_slower_while_mte2_moves_and_both_add_up():
    both = {"mte1_slow_m": 25, "mte1_slow_mte2": 75}
    assert timed(move(500) + load(100), **both).instructions[1].end == 176  # 571 thousandths
    assert timed(mmad(500) + load(100), **both).instructions[1].end == 125
    assert timed(mmad(500) + move(500) + load(100), **both).instructions[2].end == 200
    assert timed(store(500) + load(100), **both).instructions[1].end == 100


def test_mte2_moves_again_only_when_l1_is_handed_over():
    flag = "set_flag of=MTE2 to=MTE1 id=0\n"
    got = timed(move(10) + flag + move(5), handover_cycles=30)
    assert [(row.start, row.end) for row in got.instructions] == [(0, 10), (10, 10), (40, 45)]
    assert got.instructions[2].cause == "hand-over of L1"
    assert dict(got.pipes["MTE2"].waits) == {"hand-over of L1": 30}
    other = "set_flag of=MTE2 to=FIX id=0\n"
    assert times(move(10) + other + move(5), handover_cycles=30)[2] == (10, 15)
    # Of two flags, the last counts; what does nothing need not wait.
    second = flag.replace("id=0", "id=1")
    assert times(move(10) + flag + second + move(5), handover_cycles=30)[3] == (40, 45)
    nothing = "copy_in dst=0 src=0 bytes=0\n"
    assert times(move(10) + flag + nothing + move(5), handover_cycles=30)[2:] == [
        (10, 10),
        (40, 45),
    ]


def test_fixpipe_follows_the_cube_block_by_block_with_unit_flags():
    # Four blocks of 8 cycles each; FIXPIPE takes 4 cycles for one, so the last block decides.
    mm = "mmad c=0x400 a=0 b=0 m=16 n=64 k=256 unit_flag=3\n"
    fix = "fixpipe to=L1 dst=0 src=0x400 m=16 n=64 stride=64 unit_flag=3\n"
    assert times(mm + fix) == [(0, 32), (32 - 12, 36)]
    # A slow FIXPIPE, 32 cycles for one: the first block decides, and the next Mmad comes to
    # block j at 8 j and finds it cleared at 8 + 32 (j + 1).
    assert times(mm + fix + mm, fixpipe_rate=8.0) == [(0, 32), (8, 136), (136 - 24, 144)]
    # Flags instead: one after the other.
    plain = (mm + "set_flag of=M to=FIX id=0\nwait_flag of=M to=FIX id=0\n" + fix).replace(
        "unit_flag=3", "unit_flag=0"
    )
    assert [t for t in times(plain) if t[0] != t[1]][-1] == (32, 48)


def test_unit_flag_2_waits_and_leaves_the_flags_as_they_are():
    mm = "mmad c=0 a=0 b=0 m=16 n=16 k=320 unit_flag={}\n"
    fix = "fixpipe to=L1 dst=0 src=0 m=16 n=64 stride=64 unit_flag={}\n".replace("n=64", "n=16")
    # Mmad 2 does not fill: FIXPIPE waits for the Mmad with 3.
    assert times(mm.format(2) + mm.format(3) + fix.format(3)) == [(0, 10), (10, 20), (20, 24)]
    # Fixpipe 2 does not clear: the second one reads the same, and only then a Mmad may write.
    got = times(mm.format(3) + fix.format(2) + fix.format(3) + mm.format(3))
    assert got == [(0, 10), (10, 14), (14, 18), (18, 28)]


def test_a_barrier_lets_its_pipe_run_dry():
    config = UnitConfig(issue_cycles=0)
    assert timed(mmad(10) * 2, config).cycles == 61 + 10 + 9 + 10
    assert timed(mmad(10) + "barrier on=M\n" + mmad(10), config).cycles == 61 + 10 + 61 + 10
    assert timed(mmad(10) + "barrier on=MTE1\n" + mmad(10), config).cycles == 61 + 10 + 9 + 10


# --- programs that can run ------------------------------------------------------------------------


@st.composite
def configs(draw) -> UnitConfig:
    def small(most: int) -> int:
        return draw(st.integers(0, most))

    return UnitConfig(
        mmad_head_idle=small(12), mmad_head_queued=small(5), mmad_idle_after=small(25),
        load2d_head=small(9), load2d_head_behind=small(9), load2d_head_more=small(3),
        load3d_head=small(9), sparse_head=small(9), table_head=small(9), fixpipe_head=small(9),
        move_head=small(9), flag_cycles=small(9), handover_cycles=small(20), issue_cycles=small(4),
        queue_depth=draw(st.integers(1, 8)), mte1_slow_m=draw(st.sampled_from([0, 7, 25, 100])),
        mte1_slow_mte2=draw(st.sampled_from([0, 11, 33])), row_cycles=1.7,
        fixpipe_rate=draw(st.sampled_from([64.0, 12.8])), store_row_cycles=0.3,
        sparse_bytes=draw(st.sampled_from(["dense", "logical"])),
    )  # fmt: skip


def works(draw, pipe: str) -> isa.Instruction:
    """An instruction of a pipe without unit flags, sometimes one that does nothing."""
    size = draw(st.integers(0, 6))
    if pipe == "MTE2":
        if draw(st.booleans()):
            return isa.Nd2Nz(0, 0, size, draw(st.sampled_from([32, 250])), 512, 16)
        return isa.CopyIn(0, 0, 300, size, draw(st.sampled_from([300, 400])), 320)
    if pipe == "MTE1":
        kind = draw(st.integers(0, 4))
        if kind < 2:
            return isa.Load2D(("L0A", "L0B")[kind], 0, 0, size)
        if kind == 2:
            return isa.LoadSparse(0, 0, 0, size)
        if kind == 3:
            return isa.LoadBias(0, 0, 64 * size)
        return isa.Load3D(0, 0, 2, 6, 6, 3, 3, 0, 16, 32 * draw(st.integers(0, 6)), 32 * size)
    if pipe == "M":
        kind = draw(st.sampled_from([isa.Mmad, isa.MmadSparse]))
        return kind(0, 0, 0, 16 * draw(st.integers(1, 2)), 20, 64 * size)
    if draw(st.booleans()):
        return isa.LoadParams(0, 0, 128 * size)
    to, layout = draw(st.sampled_from([("L1", "nz"), ("GM", "nz"), ("GM", "nd")]))
    return isa.Fixpipe(to, 0, 0, 3 * size, 16, 32, layout=layout)


#: At the end of a program: so long that the scalar unit is done before it.
LONG = isa.Mmad(0, 0, 0, 16, 16, 256)


@st.composite
def runnable(draw) -> list[isa.Instruction]:
    """Programs that stop nowhere: they could run one instruction after the other."""
    program: list[isa.Instruction] = []
    # What each pipe knows: instructions of which it knows that they are done.
    known: dict[str, set[int]] = {pipe: set() for pipe in PIPES}
    told: dict[tuple[str, str, int], set[int]] = {}  # what is known with a flag that is set
    waited: dict[tuple[str, str, int], int] = {}  # where a flag was waited for last
    filled: set[int] = set()  # blocks of L0C with a result
    pairs = [
        ("MTE2", "MTE1"), ("MTE1", "MTE2"), ("MTE1", "M"), ("M", "MTE1"), ("M", "FIX"),
        ("FIX", "M"), ("MTE2", "FIX"), ("FIX", "MTE2"),
    ]  # fmt: skip
    for _ in range(draw(st.integers(1, 40))):
        number = len(program)
        kind = draw(st.integers(0, 9))
        if kind <= 2:
            of, to = draw(st.sampled_from(pairs))
            flag = (of, to, draw(st.integers(0, 1)))
            if flag in told or (flag in waited and waited[flag] not in known[of]):
                continue
            known[of].add(number)
            told[flag] = set(known[of])
            program.append(isa.SetFlag(*flag))
        elif kind <= 5:
            if not told:
                continue
            flag = draw(st.sampled_from(sorted(told)))
            known[flag[1]] |= told.pop(flag) | {number}
            waited[flag] = number
            program.append(isa.WaitFlag(*flag))
        elif kind == 6:
            first, n, k = draw(st.integers(0, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 4))
            touched = set(range(first, first + n))
            value = draw(st.sampled_from([2, 3, 3]))
            if touched <= filled:
                program.append(isa.Fixpipe("L1", 0, 1024 * first, 16, 16 * n, 64, unit_flag=value))
                filled -= touched if value == 3 else set()
            elif not touched & filled:
                program.append(isa.Mmad(1024 * first, 0, 0, 16, 16 * n, 32 * k, unit_flag=value))
                filled |= touched if value == 3 else set()
        elif kind == 7 and draw(st.booleans()):
            program.append(isa.Barrier(draw(st.sampled_from(PIPES))))
        else:
            program.append(works(draw, draw(st.sampled_from(PIPES))))
    return [*program, LONG]


def assert_equal(got: timing.Timing, expected: oracle.Result) -> None:
    """The schedule is that of the oracle: cycles, each line, the account."""
    assert got.cycles == expected.cycles
    assert len(got.instructions) == len(expected.lines)
    for row, line in zip(got.instructions, expected.lines, strict=True):
        mine = (row.index, row.pipe, row.issued, row.start, row.end, row.head, row.work, row.slowed)
        assert (*mine, row.waited) == (
            line.index, line.pipe, line.issued, line.start, line.end, line.head, line.work,
            line.slowed, line.waited,
        )  # fmt: skip
        assert short(row.cause) in (line.causes or {""})
    for name, account in got.pipes.items():
        its = expected.accounts[name]
        assert (account.busy, account.waiting, account.idle, account.heads, account.slowed) == (
            its.busy, its.waiting, its.idle, its.heads, its.slowed,
        ), name  # fmt: skip
        assert {short(cause): n for cause, n in account.waits.items()} == dict(its.waits)


def short(cause: str) -> str:
    """A cause as the oracle names it."""
    if found := re.fullmatch(r"queue of (\w+) full", cause):
        return found[1]
    return {"unit flag (block of L0C)": oracle.UNIT_FLAG, "hand-over of L1": oracle.HAND_OVER}.get(
        cause, cause.split(" ")[0]
    )


def assert_sums(got: timing.Timing) -> None:
    """The account of each pipe sums exactly, and is that of its rows."""
    assert set(got.pipes) == {*PIPES, "S"}
    for name, account in got.pipes.items():
        assert account.busy + account.waiting + account.idle == got.cycles
        assert min(account.busy, account.waiting, account.idle) >= 0, name
        assert sum(account.waits.values()) == account.waiting
        assert all(time > 0 for time in account.waits.values())
        if name != "S":
            rows = [row for row in got.instructions if row.pipe == name]
            assert account.heads == sum(row.head for row in rows)
            assert account.slowed == sum(row.slowed for row in rows)
            assert account.busy == sum(row.head + row.work + row.slowed for row in rows)
            assert account.slowed == 0 or name == "MTE1"


def assert_in_order(got: timing.Timing, config: UnitConfig) -> None:
    """Rows are in program order; nothing starts before it was issued, or beside its own pipe."""
    rows = got.instructions
    assert [row.index for row in rows] == list(range(len(rows)))
    assert got.cycles == max((row.end for row in rows), default=0)
    for before, row in itertools.pairwise(rows):
        assert row.issued - before.issued >= config.issue_cycles
    for pipe in PIPES:
        mine = [row for row in rows if row.pipe == pipe]
        for before, row in itertools.pairwise(mine):
            assert row.start >= before.end
        for number, row in enumerate(mine):
            assert row.start >= row.issued
            assert row.waited >= 0
            if row.work:
                assert row.end - row.start == row.head + row.work + row.slowed
            elif row.name == "wait_flag":
                assert row.end - row.start == row.waited
            else:
                assert row.end == row.start
            # The queue holds at most queue_depth that were issued and have not left it.
            leaving = [other.start if other.work else other.end for other in mine[:number]]
            assert sum(time > row.issued for time in leaving) < config.queue_depth


@settings(max_examples=300)
@given(runnable(), configs())
def test_the_schedule_is_that_of_single_cycles(instructions, config):
    got = schedule(Program((), tuple(instructions)), config)
    assert_equal(got, oracle.simulate(instructions, config))
    assert_sums(got)
    assert_in_order(got, config)


@given(runnable())
def test_the_schedule_is_that_of_single_cycles_with_the_default_unit(instructions):
    got = schedule(Program((), tuple(instructions)), UnitConfig())
    assert_equal(got, oracle.simulate(instructions, UnitConfig()))
    assert_sums(got)
    assert_in_order(got, UnitConfig())


@given(runnable(), configs())
def test_the_same_program_always_has_the_same_schedule(instructions, config):
    program = Program((), tuple(instructions))
    text = Program.parse(str(program))
    first, again = schedule(program, config), schedule(text, dataclasses.replace(config))
    assert first == again
    assert list(first.pipes) == list(again.pipes)
    assert [list(a.waits) for a in first.pipes.values()] == [
        list(a.waits) for a in again.pipes.values()
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "barrier on=M\n",
        "set_flag of=MTE2 to=MTE1 id=0\n",
        "mmad c=0 a=0 b=0 m=0 n=16 k=64\n",
        mmad(1),
        mmad(1) + "barrier on=FIX\n" * 100,
    ],
)
@pytest.mark.parametrize("issue_cycles", [0, 1, 100])
def test_the_account_sums_where_the_scalar_unit_is_done_last(text, issue_cycles):
    got = timed(text, UnitConfig(), issue_cycles=issue_cycles)
    for account in got.pipes.values():
        assert account.busy + account.waiting + account.idle == got.cycles
        assert min(account.busy, account.waiting, account.idle) >= 0


# --- programs of the tiler ------------------------------------------------------------------------


@st.composite
def problems(draw) -> tuple[Problem, Tile]:
    """Small problems with a tile."""
    sparse = draw(st.booleans())
    options: dict[str, Any] = {
        "bias": draw(st.booleans()), "fixpipe": draw(st.sampled_from(["int32", "req8", "vreq8"])),
    }  # fmt: skip
    n = draw(st.integers(1, 80))
    weights = 0
    if draw(st.integers(0, 3)) == 0:
        kernel = draw(st.sampled_from([(1, 1), (2, 3), (3, 3)]))
        batch, c1 = draw(st.integers(1, 2)), draw(st.integers(1, 2))
        layer: Any = Conv2d(batch, 32 * c1, 5, 6, n, kernel, pads=(1,) * 4)
        problem = Problem(layer, sparse, **options)
    else:
        if not sparse:
            options["weight_rows"] = draw(st.booleans())
            if draw(st.booleans()):
                options |= {"dtype": "float16", "bias": False, "fixpipe": "fp16"}
        layer = Matmul(draw(st.integers(1, 80)), n, draw(st.integers(1, 500)))
        problem = Problem(layer, sparse, **options)
        weights = 64 * draw(st.sampled_from([0, 1, 2, 4]))
    k = 64 * draw(st.integers(1, 2))
    tile = Tile(
        16 * draw(st.integers(1, 2)), 16 * draw(st.integers(1, 2)), k,
        k * draw(st.sampled_from([1, 2])), weights, draw(st.integers(1, 2)), draw(st.booleans()),
    )  # fmt: skip
    return problem, tile


@settings(max_examples=200)
@given(problems(), configs())
def test_programs_of_the_tiler_have_the_schedule_of_single_cycles(case, config):
    problem, tile = case
    try:
        instructions = (
            *core_program(plan_for(problem, config, tile), limit=None).instructions,
            LONG,
        )
    except TilingError:
        assume(False)
    got = schedule(Program((), instructions), config)
    assert_equal(got, oracle.simulate(instructions, config))
    assert_sums(got)
    assert_in_order(got, config)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("tile", [None, Tile(64, 64, 128, 256, l1_buffers=1, unit_flag=True)])
def test_a_run_on_the_default_unit_has_the_schedule_of_single_cycles(tile, sparse):
    run = Unit().time(Matmul(96, 160, 512), bias=True, tile=tile, sparse=sparse)
    expected = oracle.simulate(run.program.instructions, run.config)
    assert_equal(run.timing, expected)
    assert run.cycles == expected.cycles
    assert run.pipes == run.timing.pipes


def test_time_does_not_depend_on_values():
    def run(x: np.ndarray, w: np.ndarray, bias: np.ndarray) -> Any:
        return Unit().matmul(x, encoder.encode(w), bias)

    shape, rng = (40, 300), np.random.default_rng(1)
    x = rng.integers(-128, 128, (33, 300)).astype(np.int8)
    w = samples.legal_weight(shape, 1)
    bias = rng.integers(-(2**31), 2**31, 40).astype(np.int32)
    some = run(x, w, bias)
    zero = run(x * np.int8(0), w * np.int8(0), bias * np.int32(0))
    shapes = Unit().time(Matmul(x.shape[0], shape[0], x.shape[1]), bias=True, sparse=True)
    assert some.timing == zero.timing == shapes.timing
    assert some.cycles == shapes.cycles > 0
    assert not np.array_equal(some.output, zero.output)


# --- what stops or is refused ---------------------------------------------------------------------


@st.composite
def careless(draw) -> list[isa.Instruction]:
    """Programs in which flags are set and waited for without any care."""
    pairs = [("MTE2", "MTE1"), ("MTE1", "M"), ("M", "MTE1"), ("M", "FIX")]
    program: list[isa.Instruction] = []
    for _ in range(draw(st.integers(1, 14))):
        kind = draw(st.integers(0, 6))
        if kind <= 4:
            of, to = draw(st.sampled_from(pairs))
            program.append((isa.SetFlag if kind <= 2 else isa.WaitFlag)(of, to, 0))
        elif kind == 5:
            value, first = draw(st.sampled_from([2, 3])), draw(st.integers(0, 1))
            if draw(st.booleans()):
                program.append(isa.Mmad(1024 * first, 0, 0, 16, 32, 64, unit_flag=value))
            else:
                program.append(isa.Fixpipe("L1", 0, 1024 * first, 16, 32, 32, unit_flag=value))
        else:
            program.append(works(draw, draw(st.sampled_from(PIPES))))
    return program


def outcome(instructions: list[isa.Instruction], config: UnitConfig) -> Any:
    try:
        return oracle.simulate(instructions, config, careless=True).cycles
    except oracle.Stuck as stuck:
        return stuck.fronts, stuck.issued
    except oracle.SetTwice as twice:
        return "twice", twice.args[0]
    except oracle.SameCycle:
        return None


@settings(max_examples=300)
@given(careless(), configs())
def test_what_stops_or_sets_a_flag_twice_is_what_does_so_in_single_cycles(instructions, config):
    expected = outcome(instructions, config)
    assume(expected is not None)
    program = Program((), tuple(instructions))
    if isinstance(expected, int):
        assert schedule(program, config).cycles == expected
    elif expected[0] == "twice":
        with pytest.raises(
            ScheduleError, match=f"instruction {expected[1]}: .* is set already"
        ) as e:
            schedule(program, config)
        assert not isinstance(e.value, DeadlockError)
    else:
        with pytest.raises(DeadlockError) as error:
            schedule(program, config)
        assert (list(error.value.stuck), error.value.issued) == expected
        fronts = {number for _, number in expected[0]}
        assert fronts <= set(error.value.queued) <= set(range(error.value.issued))


def deadlock(text: str, **fields: Any) -> DeadlockError:
    with pytest.raises(DeadlockError) as error:
        timed(text, **fields)
    return error.value


def test_a_wait_for_a_flag_that_nobody_sets_is_explained():
    error = deadlock(mmad(3) + "wait_flag of=MTE1 to=M id=2\n" + mmad(1) + move(1))
    assert (error.stuck, error.queued, error.issued) == ((("M", 1),), (1, 2), 4)
    assert str(error) == (
        "the program stops for ever:\n"
        "  M stands at instruction 1 (wait_flag of=MTE1 to=M id=2): nothing that is still to come "
        "sets this flag"
    )


def test_a_flag_that_was_taken_before_is_not_still_to_come():
    flag = "of=MTE1 to=M id=0\n"
    error = deadlock("set_flag " + flag + "wait_flag " + flag + "wait_flag " + flag)
    assert error.stuck == (("M", 2),)
    assert "nothing that is still to come sets this flag" in str(error)


def test_two_pipes_that_wait_for_each_other_are_explained():
    error = deadlock(
        "wait_flag of=M to=MTE1 id=0\nset_flag of=MTE1 to=M id=0\n"
        "wait_flag of=MTE1 to=M id=0\nset_flag of=M to=MTE1 id=0\n"
    )
    assert (error.stuck, error.queued) == ((("MTE1", 0), ("M", 2)), (0, 1, 2, 3))
    assert str(error).splitlines()[1:] == [
        "  MTE1 stands at instruction 0 (wait_flag of=M to=MTE1 id=0): instruction 3 sets it, "
        "behind what M stands at",
        "  M stands at instruction 2 (wait_flag of=MTE1 to=M id=0): instruction 1 sets it, "
        "behind what MTE1 stands at",
    ]


def test_a_queue_that_is_too_short_is_explained():
    text = "wait_flag of=MTE1 to=M id=0\n" + mmad(1) * 3 + "set_flag of=MTE1 to=M id=0\n"
    error = deadlock(text, queue_depth=3)
    assert (error.stuck, error.queued, error.issued) == ((("M", 0),), (0, 1, 2), 3)
    assert "instruction 4 sets it, which was not issued, because a queue is full before" in str(
        error
    )
    assert "before instruction 3" in str(error)
    assert times(text, queue_depth=4)[3] == (2, 3)


def test_unit_flags_that_do_not_come_are_explained():
    fix = "fixpipe to=L1 dst=0 src=0 m=16 n=16 stride=16 unit_flag=3\n"
    error = deadlock(mmad(1) + fix)
    assert error.stuck == (("FIX", 1),)
    assert "FIX stands at instruction 1" in str(error)
    assert "its unit flags do not come" in str(error)
    assert deadlock(mmad(1, 3) * 2).stuck == (("M", 1),)
    assert deadlock(mmad(1, 2) + fix).stuck == (("FIX", 1),)
    assert deadlock(mmad(1, 3) + fix.replace("n=16 stride=16", "n=32 stride=32")).stuck == (
        ("FIX", 1),
    )


def test_a_flag_that_is_set_twice_is_refused_with_the_instruction():
    flag = "set_flag of=MTE2 to=MTE1 id=5\n"
    with pytest.raises(ScheduleError, match=r"instruction 2: flag MTE2>MTE1#5 .* set already"):
        timed(flag + move(3) + flag)
    wait = flag.replace("set", "wait")
    assert timed(flag + wait + move(3) + flag + wait).cycles == 3


BAD = [
    "set_flag of=M to=X id=0",
    "set_flag of=Y to=M id=0",
    "wait_flag of=S to=M id=0",
    "set_flag of=M to=FIX id=8",
    "wait_flag of=M to=FIX id=-1",
    "barrier on=S",
    "fixpipe to=GM dst=0 src=0 m=1 n=16 stride=16 mode=int64",
    "load3d dst=0 src=0 c1=1 h=4 w=4 kernel_h=1 kernel_w=0 m_start=0 m=16 k_start=0 k=32",
    "load3d dst=0 src=0 c1=1 h=4 w=4 kernel_h=1 kernel_w=1 m_start=0 m=16 k_start=0 k=-32",
    "load2d to=L0A dst=0 src=0 repeat=-1",
    "load_sparse dst=0 dense=0 index=0 repeat=-1",
    "load_bias dst=0 src=0 bytes=-64",
    "mmad c=0 a=0 b=0 m=-32 n=16 k=64",
    "nd2nz dst=0 src=0 rows=-2 bytes=32 src_stride=32 dst_rows=16",
    "copy_in dst=0 src=0 bytes=-320",
]


@pytest.mark.parametrize("line", BAD)
def test_what_no_unit_can_run_is_refused_with_the_instruction(line):
    with pytest.raises(ScheduleError, match="instruction 1 ") as error:
        timed(mmad(1) + line + "\n")
    assert not isinstance(error.value, DeadlockError)
    assert line.split()[0] in str(error.value)


# Sizes below 0 whose product is above it, and modes that there are not.
ODD = [
    "mmad c=0 a=0 b=0 m=-16 n=-16 k=64",
    "mmad c=0 a=0 b=0 m=-1 n=16 k=64",
    "mmad c=0 a=0 b=0 m=16 n=16 k=64 dtype=float8",
    "mmad c=0 a=0 b=0 m=16 n=16 k=64 start=one",
    "mmad c=0 a=0 b=0 m=16 n=16 k=64 unit_flag=1",
    "mmad c=0 a=0 b=0 m=16 n=16 k=64 unit_flag=4",
    "load2d to=L0C dst=0 src=0 repeat=1",
    "fixpipe to=L2 dst=0 src=0 m=1 n=16 stride=16",
    "fixpipe to=GM dst=0 src=0 m=1 n=16 stride=16 layout=zz",
    "fixpipe to=GM dst=0 src=0 m=-1 n=-16 stride=16",
    "nd2nz dst=0 src=0 rows=-2 bytes=-32 src_stride=32 dst_rows=16",
    "load_bias dst=0 src=0 bytes=-1",
]


@pytest.mark.parametrize("line", ODD)
def test_modes_that_there_are_not_and_sizes_below_0_are_refused(line):
    with pytest.raises(ScheduleError, match="instruction 0 "):
        timed(line + "\n")


@pytest.mark.parametrize("number", [16.0, True])
def test_what_is_equal_to_a_legal_instruction_and_of_another_type_is_refused(number):
    legal = isa.Mmad(0, 0, 0, 1, 16, 64) if number is True else isa.Mmad(0, 0, 0, 16, 16, 64)
    other = dataclasses.replace(legal, m=number)
    assert legal == other
    with pytest.raises(ScheduleError, match=r"instruction 2 .*m is .* it takes a whole number"):
        schedule(Program((), (legal, legal, other)), BARE)


def test_an_instruction_is_one_object_or_many_with_the_same_schedule():
    lines = (move(3) + "set_flag of=MTE2 to=M id=0\nwait_flag of=MTE2 to=M id=0\n" + mmad(9)) * 40
    shared = Program.parse(lines)
    assert len({id(i) for i in shared.instructions}) == 4
    apart = Program((), tuple(dataclasses.replace(i) for i in shared.instructions))
    assert len({id(i) for i in apart.instructions}) == 160
    assert schedule(shared, UnitConfig()) == schedule(apart, UnitConfig())


def test_a_program_of_huge_sizes_takes_long_and_does_not_stop():
    assert timed("copy_in dst=0 src=0 bytes=0x10000000000\n").cycles == 1 << 35
    # Far beyond any field: refused or counted, but not called a deadlock.
    text = f"copy_in dst=0 src=0 bytes={1 << 80}\n"
    got = attempt(list(Program.parse(text).instructions))
    assert not isinstance(got, DeadlockError)
    assert isinstance(got, ScheduleError) or got.cycles == 1 << 75


def attempt(instructions: list[isa.Instruction]) -> timing.Timing | ScheduleError:
    try:
        return schedule(Program((), tuple(instructions)), BARE)
    except ScheduleError as error:
        return error


NUMBERS = st.one_of(st.integers(-70, 300), st.sampled_from([-(1 << 40), 1 << 20]))
WORDS = st.sampled_from([*PIPES, "S", "L0A", "GM", "int32", "float16", "nd", "keep", ""])


@st.composite
def any_instruction(draw) -> isa.Instruction:
    kind = draw(st.sampled_from(sorted(isa.INSTRUCTIONS.values(), key=lambda kind: kind.name)))
    values: dict[str, Any] = {}
    for spec in dataclasses.fields(kind):
        if spec.name == "unit_flag":
            values[spec.name] = 0
        elif spec.name == "alpha":
            values[spec.name] = 0.5
        else:
            values[spec.name] = draw(NUMBERS if spec.type == "int" else WORDS)
    return kind(**values)


@settings(max_examples=400)
@given(st.lists(any_instruction(), max_size=3))
def test_any_program_has_a_schedule_or_a_typed_error(instructions):
    got = attempt(instructions)
    if isinstance(got, ScheduleError):
        assert "instruction" in str(got) or "stops" in str(got)
    else:
        assert len(got.instructions) == len(instructions)
