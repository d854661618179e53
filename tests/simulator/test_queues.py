"""Programs that stop because a queue is full: the hazard check, the schedule and single cycles
(schedule_oracle.py) say the same, of all small programs and of random ones.
"""

import itertools

import pytest
import schedule_oracle as oracle
from hypothesis import given
from hypothesis import strategies as st

from cube24.simulator import (
    DeadlockError,
    FlagError,
    Program,
    ScheduleError,
    Unit,
    UnitConfig,
    hazards,
    isa,
)
from cube24.simulator.timing import schedule

#: Flags take no time, so that single cycles are few.
BARE = {"flag_cycles": 0, "handover_cycles": 0}


def unit(depth: int) -> UnitConfig:
    return UnitConfig(queue_depth=depth, **BARE)


def outcome(program: Program, config: UnitConfig) -> str:
    """What single cycles say: ends, stops, or a flag is set twice."""
    try:
        oracle.simulate(program.instructions, config)
    except oracle.Stuck:
        return "stops"
    except oracle.SetTwice:
        return "set twice"
    return "ends"


def scheduled(program: Program, config: UnitConfig) -> str:
    try:
        schedule(program, config)
    except DeadlockError:
        return "stops"
    except ScheduleError:
        return "set twice"
    return "ends"


def assert_agreed(program: Program, config: UnitConfig, expected: str) -> None:
    found = hazards.check(program, config)
    assert scheduled(program, config) == expected
    if expected == "ends":
        assert not found.deadlocks
    elif expected == "stops":
        assert found.deadlocks
    else:
        assert found.double_sets
    for deadlock in found.deadlocks:
        assert program.instructions[deadlock.number] == deadlock.instruction


LETTERS = (
    isa.Barrier("MTE1"), isa.Barrier("M"),
    isa.SetFlag("MTE1", "M", 0), isa.WaitFlag("MTE1", "M", 0),
    isa.SetFlag("M", "MTE1", 0), isa.WaitFlag("M", "MTE1", 0),
)  # fmt: skip


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_of_all_small_programs_those_are_clean_that_end(depth):
    config, count = unit(depth), 0
    for length in range(1, 6):
        for instructions in itertools.product(LETTERS, repeat=length):
            program = Program((), instructions)
            assert_agreed(program, config, outcome(program, config))
            count += 1
    assert count == sum(6**length for length in range(1, 6))


def mmad(c: int, unit_flag: int) -> isa.Instruction:
    return isa.Mmad(c, 0, 0, 16, 16, 32, unit_flag=unit_flag)


def fixpipe(src: int, unit_flag: int) -> isa.Instruction:
    return isa.Fixpipe("GM", 0, src, 16, 16, 16, unit_flag=unit_flag)


PIPES = st.sampled_from(isa.PIPES)
FLAGS = st.tuples(PIPES, PIPES, st.integers(0, 1))


def programs(addresses: tuple[int, ...]) -> st.SearchStrategy[Program]:
    """Flags, barriers and unit flags without any care; some flags have their wait before them."""
    where, unit_flag = st.sampled_from(addresses), st.sampled_from([0, 2, 3, 3])
    one = st.one_of(
        st.builds(lambda pipe: [isa.Barrier(pipe)], PIPES),
        st.builds(lambda at, flag: [mmad(at, flag)], where, unit_flag),
        st.builds(lambda at, flag: [fixpipe(at, flag)], where, unit_flag),
        st.builds(lambda flag: [isa.SetFlag(*flag)], FLAGS),
        st.builds(lambda flag: [isa.WaitFlag(*flag)], FLAGS),
        st.builds(
            lambda flag, between: [isa.WaitFlag(*flag), *between, isa.SetFlag(*flag)],
            FLAGS,
            st.lists(st.builds(isa.Barrier, PIPES), max_size=5),
        ),
        st.builds(lambda flag: [isa.SetFlag(*flag), isa.WaitFlag(*flag)], FLAGS),
    )
    return st.lists(one, min_size=1, max_size=8).map(
        lambda parts: Program((), tuple(itertools.chain(*parts)))
    )


@given(programs((0, 1024)), st.integers(1, 5))
def test_of_random_programs_those_are_clean_that_end(program, depth):
    config = unit(depth)
    assert_agreed(program, config, outcome(program, config))


@given(programs((0, 512, 1024, 1536, 2048)), st.integers(1, 5))
def test_unit_flags_of_half_a_fractal_are_told_apart(program, depth):
    # The unit has a flag for each 512 bytes of L0C, so results need not be aligned to 1024.
    config = UnitConfig(l0c_align=512, queue_depth=depth, **BARE)
    assert_agreed(program, config, scheduled(program, config))


# --- what is said ---------------------------------------------------------------------------------


def behind_barriers(count: int) -> Program:
    """MTE1 waits for M, who tells it only behind so many instructions of MTE1."""
    wait, barrier = isa.WaitFlag("M", "MTE1", 0), isa.Barrier("MTE1")
    return Program((), (wait, *[barrier] * count, isa.SetFlag("M", "MTE1", 0)))


def test_a_program_ends_as_long_as_its_queues_hold_what_stands_before_the_flag():
    assert hazards.check(behind_barriers(63), UnitConfig()) == hazards.Hazards()
    assert schedule(behind_barriers(63), UnitConfig()).cycles > 0
    assert not hazards.check(behind_barriers(64), UnitConfig()).clean
    with pytest.raises(DeadlockError, match="a queue is full before instruction 64"):
        schedule(behind_barriers(64), UnitConfig())


def test_a_full_queue_is_named_with_the_instruction_that_does_not_fit():
    (deadlock,) = hazards.check(behind_barriers(70), UnitConfig()).deadlocks
    assert str(deadlock) == (
        "deadlock: MTE1 stops at instruction 0 (wait_flag of=M to=MTE1 id=0): instruction 71 "
        "(set_flag of=M to=MTE1 id=0) sets it, but is not issued: the queue of MTE1 holds 64, and "
        "instruction 64 (barrier on=MTE1) does not fit; a cycle: 0 -> 0"
    )


def test_only_what_was_issued_is_stuck():
    # FIX has a queue of its own, but the scalar unit does not come to what it would wait for.
    program = behind_barriers(70)
    more = Program((), (*program.instructions, isa.WaitFlag("M", "FIX", 0)))
    assert [d.pipe for d in hazards.check(more, UnitConfig()).deadlocks] == ["MTE1"]


def test_the_races_before_a_full_queue_are_found_and_those_behind_it_are_not():
    copy, bias = isa.CopyIn(0, 0, 32), isa.LoadBias(0, 0, 32)
    instructions = (copy, bias, *behind_barriers(70).instructions, isa.LoadParams(0, 0, 8))
    found = hazards.check(Program((), instructions), UnitConfig())
    assert [(race.first, race.second) for race in found.races] == [(0, 1)]
    assert len(found.deadlocks) == 1


def test_a_program_is_executed_in_its_order_whatever_the_queues_hold():
    # A wait before its set is none of the orders in which a program is executed.
    for count in (1, 70):
        with pytest.raises(FlagError, match="nobody has set this flag before it"):
            Unit().execute(behind_barriers(count))
