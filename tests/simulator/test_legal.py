"""What no unit can run is refused, with a typed error, by everything that takes a program."""

import dataclasses
import re

import numpy as np
import pytest

from cube24.errors import Cube24Error
from cube24.simulator import (
    Program,
    RangeError,
    ScheduleError,
    Timing,
    Unit,
    UnitConfig,
    hazards,
    isa,
    show,
)
from cube24.simulator.timing import Row, schedule

CONFIG = UnitConfig()

LEGAL = [
    Program.parse(line).instructions[0]
    for line in (
        "copy_in dst=0 src=0 bytes=32 bursts=2 src_stride=32 dst_stride=32",
        "nd2nz dst=0 src=0 rows=2 bytes=32 src_stride=32 dst_rows=16",
        "load2d to=L0A dst=0 src=0 repeat=1",
        "load3d dst=0 src=0 c1=1 h=8 w=8 kernel_h=1 kernel_w=1 m_start=0 m=16 k_start=0 k=32",
        "load_sparse dst=0 dense=0 index=0x1000 repeat=1",
        "load_bias dst=0 src=0 bytes=64",
        "load_params dst=0 src=0 bytes=8",
        "mmad c=0 a=0 b=0 m=16 n=16 k=32",
        "mmad_sparse c=0 a=0 b=0 m=16 n=16 k=64",
        "fixpipe to=L1 dst=0 src=0 m=16 n=16 stride=16",
        "set_flag of=M to=FIX id=0",
        "wait_flag of=M to=FIX id=0",
        "barrier on=M",
    )
]  # fmt: skip
assert {type(i) for i in LEGAL} == set(isa.INSTRUCTIONS.values())

FIELDS = [
    (i, spec.name) for i in LEGAL for spec in dataclasses.fields(i)
]  # fmt: skip
#: What no field takes, whether it is a number or a word.
NEVER = [
    True, None, "x", "", [1], (1,), {}, np.int64(1), np.uint8(1), np.bool_(True), np.arange(3),
    b"M", object, float("inf"), float("nan"), -float("inf"), 1j,
]  # fmt: skip


def row(program: Program) -> Timing:
    rows = tuple(
        Row(number, i.name, "M", 0, 0, 1, 0, 1, 0, 0, "")
        for number, i in enumerate(program.instructions)
    )
    return Timing(1, {}, rows)


ASKERS = {
    "execute": lambda program: Unit(CONFIG).execute(program),
    "hazards": lambda program: hazards.check(program, CONFIG),
    "schedule": lambda program: schedule(program, CONFIG),
    "unit.schedule": lambda program: Unit(CONFIG).schedule(program),
    "Scheduled": lambda program: show.Scheduled(program, row(program), CONFIG),
    "traffic": show.traffic,
}


def refusals(instruction: isa.Instruction) -> list[str]:
    """What each says of a program whose second instruction is this one."""
    program, texts = Program((), (isa.Barrier("M"), instruction)), []
    for name, ask in ASKERS.items():
        with pytest.raises(Cube24Error) as error:
            ask(program)
        kind = RangeError if name in ("execute", "hazards") else ScheduleError
        assert type(error.value) is kind, (name, error.value)
        texts.append(str(error.value))
    return texts


@pytest.mark.parametrize(("legal", "field"), FIELDS, ids=lambda x: getattr(x, "name", x))
def test_a_value_of_no_type_of_the_field_is_refused_by_all_that_take_a_program(legal, field):
    for value in NEVER:
        texts = refusals(dataclasses.replace(legal, **{field: value}))
        assert len(set(texts)) == 1
        assert texts[0].startswith("instruction 1 (")
        assert f"): {field} is " in texts[0]


NUMBERS = [(i, field) for i, field in FIELDS if type(getattr(i, field)) is int]


@pytest.mark.parametrize(("legal", "field"), NUMBERS, ids=lambda x: getattr(x, "name", x))
def test_a_number_of_thousands_of_digits_is_refused_in_a_line(legal, field):
    i = dataclasses.replace(legal, **{field: 10**5000})
    address = field in ("dst", "src", "dense", "index", "a", "b", "c", "bias")
    for name, ask in ASKERS.items():
        # Schedules do not ask where bytes stand, and a Mmad that starts with zero reads no bias.
        if (address and name not in ("execute", "hazards")) or field == "bias":
            ask(Program((), (i,)))
            continue
        with pytest.raises(Cube24Error) as error:
            ask(Program((), (i,)))
        assert len(re.sub("0x[0-9a-f]{99,}", "", str(error.value))) < 400


@pytest.mark.parametrize("relu", ["none", "relu", "leaky"])
@pytest.mark.parametrize(
    "alpha", [float("nan"), float("inf"), -1e39, 1 << 20000, "1"], ids=lambda x: type(x).__name__
)
def test_a_slope_that_is_no_number_is_refused_whether_it_is_used_or_not(alpha, relu):
    i = isa.Fixpipe("L1", 0, 0, 16, 16, 16, "req8", 0, relu, alpha)
    assert "alpha is " in refusals(i)[0]


@pytest.mark.parametrize(
    "line",
    [
        "copy_in dst=0x100000 src=0 bytes=0",
        "copy_in dst=-1 src=-1 bytes=32 bursts=0",
        "nd2nz dst=0x100000 src=0 rows=0 bytes=32 src_stride=32 dst_rows=99",
        "nd2nz dst=0x100001 src=0 rows=1 bytes=0 src_stride=32 dst_rows=99",
        "load2d to=L0A dst=1 src=1 repeat=0",
        "load3d dst=1 src=0x100000 c1=9 h=8 w=8 kernel_h=1 kernel_w=1 m_start=0 m=0 k_start=0 k=32",
        "load3d dst=1 src=-3 c1=99 h=8 w=8 kernel_h=1 kernel_w=1 m_start=0 m=16 k_start=0 k=0",
        "load_sparse dst=1 dense=1 index=1 repeat=0",
        "load_bias dst=-4 src=0x100001 bytes=0",
        "load_params dst=0x100001 src=-4 bytes=0",
        "mmad c=1 a=1 b=1 m=0 n=16 k=32",
        "mmad_sparse c=1 a=1 b=-1 m=16 n=16 k=0",
        "fixpipe to=L1 dst=0x100001 src=1 m=0 n=16 stride=16",
    ],
)
def test_what_has_no_size_does_nothing_for_all_that_take_a_program(line):
    program = Program.parse(line)
    for ask in ASKERS.values():
        ask(program)
    assert hazards.check(program, CONFIG) == hazards.Hazards()
