"""The machine: what each instruction does, what it refuses, and programs as text.

A program in a test is text, as a person would write it. Results are compared with the index
formulas of docs/unit.md, one element at a time.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import oracle
import pytest
import samples
from hypothesis import given
from hypothesis import strategies as st

from cube24 import encoder
from cube24.encoder import ArgumentError, FileAccessError, FileFormatError, ShapeError
from cube24.simulator import (
    PRESETS,
    AlignmentError,
    CapacityError,
    ConfigError,
    ExecutionError,
    FlagError,
    IllegalIndexError,
    Program,
    ProgramError,
    RangeError,
    Requant,
    Tile,
    Unit,
    UnitConfig,
    UnsupportedError,
    isa,
    machine,
)

GM = "buffer name=gm at=0 bytes=8192\n"
SIZES = {
    "L1": 512 << 10, "L0A": 64 << 10, "L0B": 64 << 10, "INDEX": 16 << 10, "L0C": 128 << 10,
    "BT": 1 << 10, "FB": 7 << 10,
}  # fmt: skip


def memories(text: str, config: UnitConfig | None = None, **start: np.ndarray) -> dict[str, Any]:
    """The memories after a program; they start as noise, or as given (in the first bytes)."""
    of = machine.Machine(config or UnitConfig(), 8192)
    for number, (name, memory) in enumerate(of.memories.items()):
        memory[...] = np.random.default_rng(number).integers(0, 256, memory.size, np.uint8)
        if name in start:
            data = np.ascontiguousarray(start[name]).reshape(-1).view(np.uint8)
            memory[: data.size] = data
    of.run(Program.parse(text).instructions)
    return of.memories


def untouched() -> dict[str, Any]:
    return memories("")


def assert_only(after: Mapping[str, np.ndarray], name: str, touched: np.ndarray) -> None:
    """No byte has changed but the given ones of one memory."""
    for memory, before in untouched().items():
        same = after[memory] == before
        if memory == name:
            same[touched] = True
        assert same.all(), memory


# --- memories -------------------------------------------------------------------------------------


def test_the_default_unit_has_the_memories_of_the_specification():
    of = machine.Machine(UnitConfig(), 100).memories
    assert {name: data.size for name, data in of.items()} == {"GM": 100, **SIZES}
    assert not any(data.any() for data in of.values())


def test_presets_are_those_of_the_specification():
    assert set(PRESETS) == {"dav-2201", "dav-3510", "310B1"}
    plain, ascend950, small = PRESETS["dav-2201"], PRESETS["dav-3510"], PRESETS["310B1"]
    assert (plain.clock_mhz, plain.cores, plain.sparsity) == (1850, 24, True)
    assert (ascend950.l0c_bytes, ascend950.clock_mhz, ascend950.cores) == (256 << 10, 1650, 32)
    assert not ascend950.sparsity
    assert (small.l1_bytes, small.clock_mhz, small.cores) == (1 << 20, 1224, 1)
    assert small.sparsity


# --- what each instruction refuses ----------------------------------------------------------------

ND2NZ = "nd2nz dst=0 src=0 rows=1 bytes=32 src_stride=32 dst_rows=16"
LOAD3D = "load3d dst=0 src=0 c1=1 h=4 w=4 kernel_h=1 kernel_w=1 m_start=0 m=16 k_start=0 k=32"
FIXPIPE = "fixpipe to=GM dst=0 src=0 m=1 n=16 stride=16"


def put(line: str, **fields: object) -> str:
    """A line with other fields."""
    name, *words = line.split()
    values = dict(word.split("=") for word in words)
    values.update({key: str(value) for key, value in fields.items()})
    return " ".join([name, *(f"{key}={value}" for key, value in values.items())])


COPY = "copy_in dst=0 src=0 bytes=32"
LOAD2D = "load2d to=L0A dst=0 src=0 repeat=1"
SPARSE = "load_sparse dst=0 dense=0 index=0 repeat=1"
BIAS = "load_bias dst=0 src=0 bytes=64"
PARAMS = "load_params dst=0 src=0 bytes=8"
MMAD = "mmad c=0 a=0 b=0 m=16 n=16 k=64"
L1, L0, L0C = SIZES["L1"], SIZES["L0A"], SIZES["L0C"]

CAPACITY = [
    (put(COPY, dst=L1), "L1"),
    (put(COPY, dst=L1 - 32, bytes=64), "L1"),
    (put(COPY, src=8192), "GM"),
    (put(COPY, src=8161), "GM"),
    (put(COPY, dst=-32), "L1"),
    (put(COPY, src=-1), "GM"),
    (put(COPY, bursts=2, src_stride=8161, dst_stride=32), "GM"),
    (put(COPY, bursts=2, src_stride=0, dst_stride=L1), "L1"),
    (put(ND2NZ, dst=L1), "L1"),
    (put(ND2NZ, dst=L1 - 480), "L1"),
    (put(ND2NZ, bytes=33, dst=L1 - 512), "L1"),
    (put(ND2NZ, src=8161), "GM"),
    (put(ND2NZ, rows=3, src_stride=4090), "GM"),
    (put(LOAD2D, src=L1), "L1"),
    (put(LOAD2D, src=L1 - 480), "L1"),
    (put(LOAD2D, repeat=2, start=1, stride=1023), "L1"),
    (put(LOAD2D, dst=L0), "L0A"),
    (put(LOAD2D, to="L0B", dst=L0), "L0B"),
    (put(LOAD2D, repeat=2, gap=127), "L0A"),
    (put(LOAD2D, repeat=129, stride=0), "L0A"),
    (put(LOAD3D, src=L1 - 480), "L1"),
    (put(LOAD3D, dst=L0), "L0A"),
    (put(LOAD3D, h=65, w=32, m=2049, dst=0), "L0A"),
    (put(SPARSE, dense=L1), "L1"),
    (put(SPARSE, dense=L1 - 480), "L1"),
    (put(SPARSE, index=L1 - 96), "L1"),
    (put(SPARSE, start=1023, repeat=2), "L1"),
    (put(SPARSE, start=4095, dense=0), "L1"),
    (put(SPARSE, dst=L0), "L0B"),
    (put(SPARSE, repeat=129), "L0B"),
    (put(BIAS, dst=1024), "BT"),
    (put(BIAS, bytes=1028), "BT"),
    (put(BIAS, src=L1 - 32), "L1"),
    (put(PARAMS, dst=7168), "FB"),
    (put(PARAMS, bytes=7176), "FB"),
    (put(PARAMS, src=L1), "L1"),
    (put(MMAD, a=L0), "L0A"),
    (put(MMAD, a=L0 - 512), "L0A"),
    (put(MMAD, m=4095, k=32), "L0A"),
    (put(MMAD, b=L0), "L0B"),
    (put(MMAD, b=L0 - 512), "L0B"),
    (put(MMAD, n=2049, k=32, m=1), "L0B"),
    (put(MMAD, c=L0C), "L0C"),
    (put(MMAD, c=L0C - 1024, n=17), "L0C"),
    (put(MMAD, start="bias", bias=1024), "BT"),
    (put(MMAD, start="bias", bias=960, n=17), "BT"),
    (put(MMAD, c=-1024), "L0C"),
    (put(MMAD, k=128, a=L0 - 1536).replace("mmad", "mmad_sparse"), "L0A"),
    (put(MMAD, k=65, b=L0 - 512).replace("mmad", "mmad_sparse"), "L0B"),
    (put(FIXPIPE, src=L0C), "L0C"),
    (put(FIXPIPE, src=L0C - 1024, n=17, stride=17), "L0C"),
    (put(FIXPIPE, dst=8192), "GM"),
    (put(FIXPIPE, dst=8129), "GM"),
    (put(FIXPIPE, to="L1", dst=L1), "L1"),
    (put(FIXPIPE, m=129), "GM"),
    (put(FIXPIPE, layout="nz", stride=144), "GM"),
    (put(FIXPIPE, layout="nz", stride=1 << 38), "GM"),
    (put(FIXPIPE, mode="vreq8", words=7168), "FB"),
    (put(FIXPIPE, mode="vdeqf16", words=7048), "FB"),
]

ALIGNMENT = [
    (put(COPY, dst=16), "L1"),
    (put(ND2NZ, dst=31), "L1"),
    (put(LOAD2D, src=8), "L1"),
    (put(LOAD2D, dst=256), "L0A"),
    (put(LOAD2D, to="L0B", dst=511), "L0B"),
    (put(LOAD3D, src=1), "L1"),
    (put(LOAD3D, dst=32), "L0A"),
    (put(SPARSE, dst=128), "L0B"),
    (put(SPARSE, dense=1), "L1"),
    (put(SPARSE, index=16), "L1"),
    (put(BIAS, dst=32), "BT"),
    (put(BIAS, src=4), "L1"),
    (put(PARAMS, dst=4), "FB"),
    (put(PARAMS, src=8), "L1"),
    (put(MMAD, a=32), "L0A"),
    (put(MMAD, b=256), "L0B"),
    (put(MMAD, c=512), "L0C"),
    (put(MMAD, start="bias", bias=4), "BT"),
    (put(MMAD, a=32).replace("mmad", "mmad_sparse"), "L0A"),
    (put(MMAD, b=256).replace("mmad", "mmad_sparse"), "L0B"),
    (put(FIXPIPE, src=64), "L0C"),
    (put(FIXPIPE, to="L1", dst=4), "L1"),
    (put(FIXPIPE, mode="vreq8", words=4), "FB"),
]

LOAD3D_FIELDS = {
    "h": (1, 32767), "w": (1, 32767), "kernel_h": (1, 255), "kernel_w": (1, 255),
    "stride_h": (1, 63), "stride_w": (1, 63), "dilation_h": (1, 255), "dilation_w": (1, 255),
    "pad_top": (0, 255), "pad_left": (0, 255), "pad_bottom": (0, 255), "pad_right": (0, 255),
    "m_start": (0, 65535), "m": (0, 65535), "k_start": (0, 65535), "k": (0, 65535),
    "pad": (-128, 127),
}  # fmt: skip

RANGE = [
    (put(BIAS, bytes=-4), "bytes is -4"),
    (put(COPY, bytes=-1), "bytes is -1"),
    (put(COPY, bursts=-1), "bursts is -1"),
    (put(COPY, bursts=2, src_stride=-32, dst_stride=32), "src_stride is -32"),
    (put(COPY, bursts=2, src_stride=32, dst_stride=-32), "dst_stride is -32"),
    (put(COPY, bursts=2, dst_stride=31), "dst_stride 31 is less than bytes 32"),
    (put(ND2NZ, rows=-1), "rows is -1"),
    (put(ND2NZ, bytes=-1), "bytes is -1"),
    (put(ND2NZ, src_stride=-1), "src_stride is -1"),
    (put(ND2NZ, dst_rows=0), "dst_rows 0 is less than rows 1"),
    (put(LOAD2D, to="L0C"), "to is 'L0C'"),
    (put(LOAD2D, repeat=256), "repeat is 256; it takes 0 to 255"),
    (put(LOAD2D, repeat=-1), "repeat is -1"),
    (put(LOAD2D, start=-1), "start is -1"),
    (put(LOAD2D, start=65536), "start is 65536"),
    (put(LOAD2D, stride=-1), "stride is -1"),
    (put(LOAD2D, gap=-1), "gap is -1"),
    (put(SPARSE, repeat=256), "repeat is 256; it takes 0 to 255"),
    (put(SPARSE, repeat=-1), "repeat is -1"),
    (put(SPARSE, start=-1), "start is -1"),
    (put(LOAD3D, c1=0), "c1 is 0; it takes 1 to"),
    *(
        (put(LOAD3D, **{name: value}), f"{name} is {value}; it takes {low} to {high}")
        for name, (low, high) in LOAD3D_FIELDS.items()
        for value in (low - 1, high + 1)
    ),
    (put(LOAD3D, kernel_w=5), "the kernel does not fit"),
    (put(LOAD3D, kernel_h=3, dilation_h=2), "the kernel does not fit"),
    (put(LOAD3D, m=17), "16 rows and 32 columns"),
    (put(LOAD3D, m_start=1), "16 rows and 32 columns"),
    (put(LOAD3D, k=64), "16 rows and 32 columns"),
    (put(LOAD3D, k_start=32), "16 rows and 32 columns"),
    (put(LOAD3D, k=16), "multiples of 32"),
    (put(LOAD3D, k_start=16), "multiples of 32"),
    (put(MMAD, m=4096), "m is 4096; it takes 0 to 4095"),
    (put(MMAD, n=4096), "n is 4096; it takes 0 to 4095"),
    (put(MMAD, k=4096), "k is 4096; it takes 0 to 4095"),
    (put(MMAD, m=-1), "m is -1"),
    (put(MMAD, k=-1), "k is -1"),
    (put(MMAD, start="one"), "start is 'one'; it takes zero, keep, bias"),
    (put(MMAD, unit_flag=1), "unit_flag"),
    (put(MMAD, k=4096).replace("mmad", "mmad_sparse"), "k is 4096"),
    (put(FIXPIPE, m=4096), "m is 4096"),
    (put(FIXPIPE, n=-1), "n is -1"),
    (put(FIXPIPE, stride=-1), "stride is -1"),
    (put(FIXPIPE, to="L0A"), "to is 'L0A'; it takes GM, L1"),
    (put(FIXPIPE, layout="zz"), "layout is 'zz'; it takes nd, nz"),
    (put(FIXPIPE, mode="req4"), "mode is 'req4'"),
    (put(FIXPIPE, relu="swish"), "relu is 'swish'"),
    (put(FIXPIPE, relu="leaky"), "leaky"),
    (put(FIXPIPE, unit_flag=1), "unit_flag"),
    (put(FIXPIPE, m=2, stride=15), "stride 15 is less than n 16"),
    (put(FIXPIPE, layout="nz", m=17, stride=16), "stride 16"),
    (put(FIXPIPE, layout="nz", stride=20), "stride 20"),
    (put(FIXPIPE, mode="req8", words=-1), "words is -1"),
    (put(FIXPIPE, mode="req8", words=1 << 64), "words is"),
    (put(FIXPIPE, mode="req8", words=0x7F800000), "word 0 is 0x7f800000: its scale is not finite"),
    (put(FIXPIPE, mode="deqf16", words=0x7FC00000), "not finite"),
    ("set_flag of=MTE3 to=M id=0", "of is 'MTE3'"),
    ("set_flag of=M to=V id=0", "to is 'V'"),
    ("set_flag of=M to=FIX id=8", "id is 8; it takes 0 to 7"),
    ("wait_flag of=M to=FIX id=-1", "id is -1"),
    ("barrier on=ALL", "on is 'ALL'; it takes MTE2, MTE1, M, FIX"),
]

REFUSED = [
    *((line, CapacityError, part) for line, part in CAPACITY),
    *((line, AlignmentError, f"{part} is no multiple") for line, part in ALIGNMENT),
    *((line, RangeError, part) for line, part in RANGE),
    ("wait_flag of=M to=FIX id=0", FlagError, "nobody has set"),
]


@pytest.mark.parametrize(("line", "error", "part"), REFUSED)
def test_an_instruction_that_cannot_be_is_refused_with_its_number(line, error, part):
    text = f"{GM}# a comment\nbarrier on=M\n\nbarrier on=FIX\n{line}\n"
    with pytest.raises(error) as caught:
        Unit().execute(Program.parse(text))
    assert type(caught.value) is error
    assert caught.value.number == 2
    assert caught.value.instruction == Program.parse(line).instructions[0]
    assert str(caught.value).startswith(f"instruction 2 ({caught.value.instruction}): ")
    assert part in str(caught.value)


@pytest.mark.parametrize(("line", "error", "part"), REFUSED)
def test_a_refused_instruction_moves_nothing(line, error, part):
    of = machine.Machine(UnitConfig(), 8192)
    of.memories["L0C"][...] = 1
    before = {name: data.copy() for name, data in of.memories.items()}
    with pytest.raises(error):
        of.run(Program.parse(line).instructions)
    for name, data in of.memories.items():
        assert np.array_equal(data, before[name]), name


def test_an_access_up_to_the_last_byte_is_allowed():
    Unit().execute(
        Program.parse(
            GM + "\n".join([
                put(COPY, dst=L1 - 32, src=8160),
                put(COPY, bursts=2, bytes=1, src_stride=8191, dst_stride=L1 - 1),
                put(ND2NZ, dst=L1 - 512, src=8160),
                put(LOAD2D, dst=L0 - 512, src=L1 - 512),
                put(LOAD2D, to="L0B", repeat=128, stride=0),
                put(LOAD3D, src=L1 - 512, dst=L0 - 512),
                put(SPARSE, repeat=128),
                put(SPARSE, dst=L0 - 512, dense=L1 - 512, index=L1 - 128),
                put(BIAS, bytes=1024),
                put(PARAMS, bytes=7168),
                put(MMAD, a=L0 - 1024, b=L0 - 1024, c=L0C - 1024, start="bias", bias=960),
                put(FIXPIPE, src=L0C - 1024, dst=8128),
                put(FIXPIPE, mode="vreq8", words=7040),
            ])
        )
    )  # fmt: skip


# --- flags ----------------------------------------------------------------------------------------


def test_a_flag_set_twice_is_refused():
    text = "set_flag of=M to=FIX id=3\nset_flag of=M to=FIX id=3\n"
    with pytest.raises(FlagError, match=r"instruction 1 \(set_flag of=M to=FIX id=3\).*already"):
        Unit().execute(Program.parse(text))


def test_a_wait_takes_the_flag_back():
    text = "set_flag of=M to=FIX id=3\nwait_flag of=M to=FIX id=3\n"
    Unit().execute(Program.parse(text * 3))
    with pytest.raises(FlagError, match=r"instruction 2 .*for ever"):
        Unit().execute(Program.parse(text + "wait_flag of=M to=FIX id=3"))


def test_flags_of_other_pipes_directions_and_ids_are_others():
    Unit().execute(
        Program.parse(
            "".join(
                f"set_flag of={of} to={to} id={number}\n"
                for of in isa.PIPES
                for to in isa.PIPES
                for number in range(8)
                if of != to
            )
        )
    )
    for line in ("of=FIX to=M id=3", "of=M to=MTE1 id=3", "of=M to=FIX id=2"):
        with pytest.raises(FlagError):
            Unit().execute(Program.parse(f"set_flag of=M to=FIX id=3\nwait_flag {line}"))


# --- sparsity and indices -------------------------------------------------------------------------


@pytest.mark.parametrize("line", [SPARSE, put(MMAD).replace("mmad", "mmad_sparse")])
def test_a_unit_without_sparsity_has_no_sparse_instructions(line):
    with pytest.raises(UnsupportedError, match=r"instruction 0 .*dav-3510 has no 2:4 sparsity"):
        Unit("dav-3510").execute(Program.parse(line))


def test_a_unit_without_sparsity_refuses_an_encoded_weight_and_takes_a_dense_one():
    x, w = np.ones((2, 8), np.int8), samples.legal_weight((3, 8), 1)
    with pytest.raises(UnsupportedError):
        Unit("dav-3510").matmul(x, encoder.encode(w))
    assert np.array_equal(Unit("dav-3510").matmul(x, w).output, oracle.matmul(x, w))


@pytest.mark.parametrize("second", [False, True], ids=["i0", "i1"])
@pytest.mark.parametrize("group", [0, 1, 15, 16, 17, 31])
@pytest.mark.parametrize("column", [0, 1, 15, 16, 18])
def test_an_index_of_3_is_refused_by_fractal_column_group_and_bits(column, group, second):
    n, k = 19, 128
    dense, index = oracle.encode(samples.legal_weight((n, k), 1))
    indices = oracle.unpack(index[column].tolist())
    indices[2 * group + second] = 3
    index[column] = oracle.pack(indices)
    weight = encoder.SparseWeight(dense, index, (n, k))
    step, inside = divmod(group, 16)
    fractal, row = step * 2 + column // 16, column % 16
    low = 4 * (inside % 2)
    with pytest.raises(IllegalIndexError) as caught:
        Unit().matmul(np.ones((1, k), np.int8), weight)
    message = str(caught.value)
    assert f"column {column}, group {group}: fractal {fractal} " in message
    assert f"row {row}, byte {inside // 2}, bits {low + 3}:{low}" in message
    assert isinstance(caught.value.instruction, isa.MmadSparse)


def test_an_index_of_3_is_refused_before_anything_is_computed():
    of = machine.Machine(UnitConfig())
    of.memories["L0C"][...] = 1
    of.memories["INDEX"][...] = 0xFF
    with pytest.raises(IllegalIndexError):
        of.run(Program.parse(put(MMAD).replace("mmad", "mmad_sparse")).instructions)
    assert (of.memories["L0C"] == 1).all()


def test_index3_nothing_lets_an_index_of_3_select_nothing():
    dense = np.array([[10, 20, 0, 0]], np.int8)
    x = np.array([[1, 2, 3, 4, 5, 6, 7, 8]], np.int8)
    unit = Unit(UnitConfig(index3="nothing"))
    for i0 in range(4):
        for i1 in range(4):
            weight = encoder.SparseWeight(dense, np.array([[i0 + 4 * i1]], np.uint8), (1, 8))
            expected = (10 * (i0 + 1) if i0 < 3 else 0) + (20 * (i1 + 2) if i1 < 3 else 0)
            assert unit.matmul(x, weight).output.tolist() == [[expected]]


def test_pair20_table_makes_slot_1_of_that_pair_select_element_2():
    dense = np.array([[10, 20, 0, 0]], np.int8)
    x = np.array([[1, 2, 3, 4, 5, 6, 7, 8]], np.int8)
    for pair in range(16):
        i0, i1 = pair % 4, pair // 4
        if 3 in (i0, i1):
            continue
        weight = encoder.SparseWeight(dense, np.array([[pair]], np.uint8), (1, 8))
        rule = 10 * x[0, i0] + 20 * x[0, i1 + 1]
        table = 10 * x[0, i0] + 20 * x[0, 2] if (i0, i1) == (2, 0) else rule
        assert Unit().matmul(x, weight).output.tolist() == [[rule]]
        assert Unit(UnitConfig(pair20="table")).matmul(x, weight).output.tolist() == [[table]]


# --- what an instruction of nothing does ----------------------------------------------------------

NOTHING = [
    put(SPARSE, repeat=0, dense=L1, index=L1),
    put(COPY, bytes=0),
    put(COPY, bursts=0),
    put(ND2NZ, rows=0),
    put(ND2NZ, bytes=0),
    put(LOAD2D, repeat=0),
    put(LOAD3D, m=0),
    put(LOAD3D, k=0),
    put(SPARSE, repeat=0),
    put(BIAS, bytes=0),
    put(PARAMS, bytes=0),
    *(
        put(MMAD, start=start, **{size: 0}).replace("mmad", name)
        for name in ("mmad", "mmad_sparse")
        for start in ("zero", "keep", "bias")
        for size in "mnk"
    ),
    put(FIXPIPE, m=0),
    put(FIXPIPE, n=0),
    put(FIXPIPE, n=0, layout="nz"),
    "barrier on=MTE1",
    "set_flag of=M to=FIX id=0\nwait_flag of=M to=FIX id=0",
]


@pytest.mark.parametrize("line", NOTHING)
def test_an_instruction_of_nothing_changes_nothing(line):
    after = memories(line)
    for name, before in untouched().items():
        assert np.array_equal(after[name], before), name


# --- moves, byte by byte --------------------------------------------------------------------------


def test_copy_in_moves_bursts():
    line = "copy_in dst=0x40 src=7 bytes=5 bursts=3 src_stride=11 dst_stride=9"
    before, after = untouched(), memories(line)
    for burst in range(3):
        for byte in range(5):
            got = after["L1"][64 + 9 * burst + byte]
            assert got == before["GM"][7 + 11 * burst + byte]
    assert_only(after, "L1", np.array([64 + 9 * i + j for i in range(3) for j in range(5)]))


@pytest.mark.parametrize("size", [1, 31, 32, 33, 64, 70])
def test_nd2nz_is_the_formula_of_nz(size):
    rows, dst_rows, stride = 5, 16, 100
    line = f"nd2nz dst=64 src=3 rows={rows} bytes={size} src_stride={stride} dst_rows={dst_rows}"
    before, after = untouched(), memories(line)
    blocks, touched = -(-size // 32), []
    for row in range(rows):
        for column in range(blocks * 32):
            at = 64 + (column // 32 * dst_rows + row) * 32 + column % 32
            touched.append(at)
            there = column < size
            assert after["L1"][at] == (before["GM"][3 + row * stride + column] if there else 0)
    assert_only(after, "L1", np.array(touched))


@pytest.mark.parametrize("to", ["L0A", "L0B"])
def test_load2d_moves_fractals_by_start_stride_and_gap(to):
    line = f"load2d to={to} dst=1024 src=96 repeat=3 start=2 stride=5 gap=1"
    before, after = untouched(), memories(line)
    touched = []
    for number in range(3):
        source, target = 96 + 512 * (2 + 5 * number), 1024 + 512 * number * 2
        assert np.array_equal(after[to][target : target + 512], before["L1"][source : source + 512])
        touched += range(target, target + 512)
    assert_only(after, to, np.array(touched))


def test_load_sparse_moves_both_from_the_same_start_index():
    line = "load_sparse dst=1024 dense=64 index=0x8020 repeat=3 start=2"
    before, after = untouched(), memories(line)
    dense, index = 64 + 512 * 2, 0x8020 + 128 * 2
    assert np.array_equal(after["L0B"][1024 : 1024 + 1536], before["L1"][dense : dense + 1536])
    assert np.array_equal(after["INDEX"][256 : 256 + 384], before["L1"][index : index + 384])
    after["INDEX"][256 : 256 + 384] = before["INDEX"][256 : 256 + 384]
    assert_only(after, "L0B", np.arange(1024, 2560))


def test_load_bias_and_load_params_move_bytes():
    for line, to in (("load_bias", "BT"), ("load_params", "FB")):
        before, after = untouched(), memories(f"{line} dst=64 src=96 bytes=72")
        assert np.array_equal(after[to][64:136], before["L1"][96:168])
        assert_only(after, to, np.arange(64, 136))


def test_load3d_fills_rows_beyond_m_with_zeros():
    after = memories(put(LOAD3D, m=3, dst=512))
    assert not after["L0A"][512 + 96 : 1024].any()
    assert np.array_equal(after["L0A"][512 : 512 + 96], untouched()["L1"][:96])
    assert_only(after, "L0A", np.arange(512, 1024))


@pytest.mark.parametrize("start", ["zero", "keep", "bias"])
@pytest.mark.parametrize(("m", "n", "k"), [(1, 1, 1), (16, 16, 32), (17, 18, 33), (33, 40, 100)])
def test_mmad_is_the_sum_over_fractals(m, n, k, start):
    before = untouched()
    after = memories(f"mmad c=1024 a=512 b=1024 m={m} n={n} k={k} start={start} bias=64")
    m1, n1, k1 = -(-m // 16), -(-n // 16), -(-k // 32)
    a, b = before["L0A"][512:].view(np.int8), before["L0B"][1024:].view(np.int8)
    c0, c1 = (of["L0C"][1024:].view(np.int32) for of in (before, after))
    bias = before["BT"][64:].view(np.int32)
    touched = []
    for row in range(m):
        for column in range(n):
            at = ((column // 16 * m1 + row // 16) * 16 + row % 16) * 16 + column % 16
            total = {"zero": 0, "keep": int(c0[at]), "bias": int(bias[column])}[start]
            for block in range(k1):  # one step
                total += sum(
                    int(a[((row // 16 * k1 + block) * 16 + row % 16) * 32 + i])
                    * int(b[((block * n1 + column // 16) * 16 + column % 16) * 32 + i])
                    for i in range(min(32, k - 32 * block))
                )
                total = max(-(1 << 31), min((1 << 31) - 1, total))
            assert c1[at] == total
            touched += range(1024 + 4 * at, 1024 + 4 * at + 4)
    assert_only(after, "L0C", np.array(touched))


# --- Fixpipe layouts ------------------------------------------------------------------------------


def result_at(l0c: np.ndarray, m: int, row: int, column: int) -> int:
    """An element of an m x n result in L0C, by the formula of its fractals."""
    m1 = -(-m // 16)
    at = ((column // 16 * m1 + row // 16) * 16 + row % 16) * 16 + column % 16
    return int(l0c.view(np.int32)[at])


@pytest.mark.parametrize("relu", ["none", "relu"])
@pytest.mark.parametrize("to", ["GM", "L1"])
@pytest.mark.parametrize(("m", "n"), [(1, 1), (16, 16), (17, 19), (5, 33)])
def test_fixpipe_nd_writes_rows(m, n, to, relu):
    line = f"fixpipe to={to} dst=32 src=0 m={m} n={n} stride={n + 3} relu={relu}"
    before, after = untouched(), memories(line)
    touched = []
    for row in range(m):
        for column in range(n):
            at = 32 + 4 * (row * (n + 3) + column)
            value = result_at(before["L0C"], m, row, column)
            value = max(value, 0) if relu == "relu" else value
            assert int(after[to][at : at + 4].view(np.int32)[0]) == value
            touched += range(at, at + 4)
    assert_only(after, to, np.array(touched))


@pytest.mark.parametrize("relu", ["none", "relu"])
@pytest.mark.parametrize(
    ("m", "n", "stride"), [(1, 1, 16), (16, 16, 16), (17, 19, 32), (5, 33, 32)]
)
def test_fixpipe_nz_int32_writes_16_x_16_fractals(m, n, stride, relu):
    line = f"fixpipe to=L1 dst=64 src=0 m={m} n={n} stride={stride} layout=nz relu={relu}"
    before, after = untouched(), memories(line)
    data = after["L1"][64:].view(np.int32)
    for row in range(m):
        for column in range(n):
            value = result_at(before["L0C"], m, row, column)
            value = max(value, 0) if relu == "relu" else value
            at = column // 16 * stride * 16 + row * 16 + column % 16
            assert data[at] == value
    assert_only(after, "L1", np.arange(64, 64 + -(-n // 16) * stride * 64))


@pytest.mark.parametrize("relu", ["none", "relu"])
@pytest.mark.parametrize(
    ("m", "n", "stride"), [(1, 1, 16), (16, 16, 16), (16, 32, 16), (17, 19, 32), (5, 70, 16)]
)
def test_fixpipe_nz_int8_merges_two_fractals_into_one_of_16_x_32(m, n, stride, relu):
    # Scale 2^-24, signed: a byte of the accumulator that the test can compute by itself.
    word = 0x33800000 | 1 << 46
    line = (
        f"fixpipe to=L1 dst=64 src=0 m={m} n={n} stride={stride} mode=req8 words={word:#x} "
        f"layout=nz relu={relu}"
    )
    before, after = untouched(), memories(line)
    data = after["L1"][64:].view(np.int8)
    for row in range(m):
        for column in range(n):
            acc = float(np.float32(result_at(before["L0C"], m, row, column))) / (1 << 24)
            value = max(-128, min(127, round(acc)))
            value = max(value, 0) if relu == "relu" else value
            at = column // 32 * stride * 32 + row * 32 + column % 32
            assert data[at] == value
    assert_only(after, "L1", np.arange(64, 64 + -(-n // 32) * stride * 32))


@pytest.mark.parametrize(("m", "n", "stride"), [(17, 19, 32), (5, 33, 16)])
def test_fixpipe_nz_fp16_writes_16_x_16_fractals(m, n, stride):
    line = (
        f"fixpipe to=L1 dst=64 src=0 m={m} n={n} stride={stride} mode=deqf16 words=0x37800000 "
        f"layout=nz"
    )  # 2^-16
    before, after = untouched(), memories(line)
    data = after["L1"][64:].view(np.float16)
    for row in range(m):
        for column in range(n):
            value = np.float32(result_at(before["L0C"], m, row, column)) / np.float32(65536)
            at = column // 16 * stride * 16 + row * 16 + column % 16
            assert data[at] == np.float16(value)
    assert_only(after, "L1", np.arange(64, 64 + -(-n // 16) * stride * 32))


def test_int8_results_in_nz_are_the_activations_of_the_next_layer():
    # Fixpipe to L1 in Nz, then back to L0A by load2d: what the next Mmad multiplies.
    x = np.random.default_rng(1).integers(-11, 12, (16, 32), dtype=np.int8)
    one = np.eye(32, dtype=np.int8)
    start = {"GM": np.concatenate([x.reshape(-1), oracle.to_zn(one, 32).reshape(-1).view(np.int8)])}
    word = 0x3F800000 | 1 << 46
    after = memories(
        "copy_in dst=0 src=0 bytes=512\ncopy_in dst=1024 src=512 bytes=1024\n"
        "load2d to=L0A dst=0 src=0 repeat=1\nload2d to=L0B dst=0 src=1024 repeat=2\n"
        "mmad c=0 a=0 b=0 m=16 n=32 k=32\n"
        f"fixpipe to=L1 dst=4096 src=0 m=16 n=32 stride=16 mode=req8 words={word:#x} layout=nz\n"
        "load2d to=L0A dst=512 src=4096 repeat=1\n",
        **start,
    )
    assert np.array_equal(after["L0A"][512:1024].view(np.int8).reshape(16, 32), x)


# --- programs as text -----------------------------------------------------------------------------

WORD = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,8}", fullmatch=True)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "int": st.integers(-(1 << 70), 1 << 70),
    "float": st.floats(allow_nan=False),
    "str": WORD,
}


def any_of(kind: type[Any]) -> st.SearchStrategy[Any]:
    return st.builds(kind, **{f.name: FIELDS[str(f.type)] for f in dataclasses.fields(kind)})


INSTRUCTION = st.one_of([any_of(kind) for kind in isa.INSTRUCTIONS.values()])
PROGRAM = st.builds(
    lambda buffers, instructions: Program(tuple(buffers), tuple(instructions)),
    st.lists(any_of(isa.Buffer), max_size=3),
    st.lists(INSTRUCTION, max_size=8),
)


@given(PROGRAM)
def test_a_program_is_read_from_its_own_text(program):
    assert Program.parse(str(program)) == program


@given(PROGRAM)
def test_equal_text_is_an_equal_program(program):
    text = str(program)
    assert str(Program.parse(text)) == text
    assert len(text.splitlines()) == len(program.buffers) + len(program.instructions)


@pytest.mark.parametrize("kind", isa.INSTRUCTIONS.values(), ids=lambda k: k.name)
def test_fields_with_their_defaults_are_left_out_and_may_be(kind):
    specs = dataclasses.fields(kind)
    needed = {
        s.name: {"int": 3, "str": "M"}[str(s.type)]
        for s in specs
        if s.default is dataclasses.MISSING
    }
    instruction = kind(**needed)
    assert {w.partition("=")[0] for w in str(instruction).split()[1:]} == set(needed)
    assert Program.parse(str(instruction)).instructions == (instruction,)


def test_comments_blank_lines_hexadecimal_and_any_order_of_fields_are_read():
    text = "\n  # nothing\n\tcopy_in   bytes=0x20 src=0 dst=0x40 # moved\n#\n\r\nbarrier on=M"
    assert Program.parse(text).instructions == (isa.CopyIn(64, 0, 32), isa.Barrier("M"))


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("jump to=3", "unknown instruction 'jump'"),
        ("COPY_IN dst=0 src=0 bytes=1", "unknown instruction 'COPY_IN'"),
        ("copy_in dst=0 src=0", "copy_in lacks bytes"),
        ("copy_in", "copy_in lacks dst, src, bytes"),
        ("copy_in dst=0 src=0 bytes=1 size=3", "copy_in has no field 'size'"),
        ("copy_in dst=0 src=0 bytes", "copy_in: bytes has no value; write bytes=VALUE"),
        ("copy_in dst=0 src=0 bytes=", "bytes has no value; write bytes=VALUE, without spaces"),
        ("copy_in dst=0 src=0 bytes=1 bytes=1", "field bytes stands twice"),
        ("copy_in dst=0 src=0 bytes=two", "bytes=two is no number"),
        ("copy_in dst=0 src=0 bytes=1.5", "bytes=1.5 is no number"),
        ("copy_in dst = 0", "dst has no value; write dst=VALUE, without spaces"),
        ("copy_in dst=0 src=0 bytes= 1", "bytes has no value"),
        ("copy_in =0", "copy_in has no field ''"),
        ("load2d to= L0A dst=0 src=0 repeat=1", "to has no value"),
        ("copy_in dst=0 src=0 bytes=1_0", "bytes=1_0 is no number"),
        ("copy_in dst=0x_f src=0 bytes=1", "dst=0x_f is no number"),
        ("copy_in dst=0 src=0 bytes=\u0663", "bytes=\u0663 is no number"),
        ("copy_in dst=0 src=0 bytes=" + 5000 * "9", f"bytes={80 * '9'}... is no number"),
        (f"{FIXPIPE} alpha=1_0", "alpha=1_0 is no number"),
        (f"{FIXPIPE} alpha=half", "alpha=half is no number"),
        ("buffer name=a at=0", "buffer lacks bytes"),
        ("mmad_sparse c=0 a=0 b=0 m=1 n=1 k=1 index=0", "mmad_sparse has no field 'index'"),
    ],
)
def test_text_that_is_no_program_is_refused_with_its_line(line, part, tmp_path):
    text = f"# one\n{GM}barrier on=M\n\n{line}\nbarrier on=M\n"
    with pytest.raises(ProgramError, match=r"^line 5: ") as caught:
        Program.parse(text)
    assert part in str(caught.value)
    (tmp_path / "p.txt").write_text(text)
    with pytest.raises(FileFormatError, match=r"line 5: ") as caught_file:
        Program.load(tmp_path / "p.txt")
    assert part in str(caught_file.value)


@given(st.text())
def test_any_text_is_a_program_or_a_program_error(text):
    try:
        program = Program.parse(text)
    except ProgramError:
        return
    assert Program.parse(str(program)) == program


def test_a_program_is_saved_and_loaded(tmp_path):
    program = Program.parse(f"{GM}{COPY}\n{put(FIXPIPE, alpha=0.1)}\n")
    program.save(tmp_path / "p.txt")
    assert Program.load(tmp_path / "p.txt") == program
    assert (tmp_path / "p.txt").read_text() == str(program)
    with pytest.raises(FileAccessError):
        program.save(tmp_path / "p.txt")
    empty = Program((), ())
    empty.save(tmp_path / "p.txt", overwrite=True)
    assert Program.load(tmp_path / "p.txt") == empty
    with pytest.raises(FileAccessError):
        Program.load(tmp_path / "nowhere.txt")
    (tmp_path / "p.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(FileFormatError):
        Program.load(tmp_path / "p.txt")


def made_programs() -> dict[str, Program]:
    unit = Unit()
    x, w = np.ones((40, 200), np.int8), samples.legal_weight((50, 200), 1)
    image, kernel = np.ones((2, 40, 7, 6), np.int8), samples.legal_weight((20, 40, 3, 2), 1, "conv")
    bias, tile = np.arange(50, dtype=np.int32), Tile(16, 32, 64, 128)
    hows = {
        "int32": None,
        "req8": Requant(0.1, 3),
        "leaky": Requant(0.1, relu=0.3),
        "columns": Requant(np.full(50, 0.1), relu=True),
        "fp16": Requant(1e-3, mode="DEQF16"),
    }
    programs = {}
    for sparse in (False, True):
        matrix = encoder.encode(w) if sparse else w
        conv = encoder.encode_conv(kernel) if sparse else kernel
        for name, how in hows.items():
            for at in (None, tile):
                run = unit.matmul(x, matrix, bias, how, tile=at)
                programs[f"matmul {sparse} {name} {at}"] = run.program
        for pads in ((0, 0, 0, 0), (3, 1, 4, 2)):
            for at in (None, tile):
                run = unit.conv2d(image, conv, pads=pads, offset_x=-3, tile=at)
                programs[f"conv2d {sparse} {pads} {at}"] = run.program
    return programs


def test_every_program_that_a_unit_makes_survives_its_text():
    for name, program in made_programs().items():
        assert program.instructions, name
        assert Program.parse(str(program)) == program, name


def test_a_run_can_be_repeated_from_the_text_of_its_program():
    x, w = np.ones((20, 100), np.int8), samples.legal_weight((33, 100), 1)
    weight = encoder.encode(w, layout="zn")
    run = Unit().matmul(x, weight, tile=Tile(16, 16, 64, 64))
    inputs = {"activations": x, "dense": weight.dense, "index": weight.index}
    again = Unit().execute(Program.parse(str(run.program)), inputs)
    assert np.array_equal(again["output"].view(np.int32).reshape(20, 33), oracle.matmul(x, w))


def test_programs_of_a_unit_leave_no_flag_behind():
    for name, program in made_programs().items():
        flags: dict[tuple[str, str, int], int] = {}
        for i in program.instructions:
            if isinstance(i, (isa.SetFlag, isa.WaitFlag)):
                key = (i.of, i.to, i.id)
                flags[key] = flags.get(key, 0) + (1 if isinstance(i, isa.SetFlag) else -1)
                assert flags[key] in (0, 1), name
        assert not any(flags.values()), name


# --- buffers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "inputs", "error", "part"),
    [
        ("buffer name=a at=0 bytes=4\nbuffer name=b at=3 bytes=4", {}, ArgumentError, "overlaps"),
        ("buffer name=a at=-1 bytes=4", {}, ArgumentError, "buffer a: at is -1; it takes 0 to"),
        ("buffer name=a at=0 bytes=-4", {}, ArgumentError, "bytes is -4"),
        (f"buffer name=a at=0 bytes={1 << 70:#x}", {}, ArgumentError, "bytes is 1180591620717"),
        (f"buffer name=a at={1 << 70:#x} bytes=1", {}, ArgumentError, "at is 1180591620717"),
        ("buffer name=a at=0 bytes=4\nbuffer name=a at=4 bytes=4", {}, ArgumentError, "one name"),
        ("buffer name=a at=0 bytes=4", {"b": 4}, ArgumentError, "no buffer 'b'"),
        ("buffer name=a at=0 bytes=4", {"a": 5}, ShapeError, "5 bytes; its buffer has 4"),
    ],
)
def test_buffers_that_do_not_fit_are_refused(text, inputs, error, part):
    arrays = {name: np.zeros(size, np.int8) for name, size in inputs.items()}
    with pytest.raises(error, match=part):
        Unit().execute(Program.parse(text), arrays)


def test_execute_gives_the_buffers_by_name_and_zeros_where_nothing_was_put():
    text = "buffer name=b at=6 bytes=4\nbuffer name=a at=0 bytes=4"
    out = Unit().execute(Program.parse(text), {"a": np.array([-1], np.int32)})
    assert {name: data.tolist() for name, data in out.items()} == {"a": [255] * 4, "b": [0] * 4}


def test_every_execution_error_is_one_of_the_project():
    for error in (CapacityError, AlignmentError, RangeError, IllegalIndexError, FlagError,
                  UnsupportedError):  # fmt: skip
        assert issubclass(error, ExecutionError)
        assert issubclass(error, encoder.Cube24Error)


# --- configurations -------------------------------------------------------------------------------


@pytest.mark.parametrize("config", PRESETS.values(), ids=lambda c: c.name)
def test_a_configuration_is_read_from_its_own_toml(config, tmp_path):
    assert UnitConfig.from_toml(config.to_toml()) == config
    config.save(tmp_path / "unit.toml")
    assert UnitConfig.load(tmp_path / "unit.toml") == config
    assert Unit(tmp_path / "unit.toml").config == config
    assert Unit(str(tmp_path / "unit.toml")).config == config
    with pytest.raises(FileAccessError):
        config.save(tmp_path / "unit.toml")


@given(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.integers(1, 1 << 20),
    st.booleans(),
    st.sampled_from(["saturate", "wrap"]),
    st.sampled_from(["error", "nothing"]),
)
def test_any_configuration_is_read_from_its_own_toml(name, kib, sparsity, overflow, index3):
    config = UnitConfig(
        name, l1_bytes=kib << 10, sparsity=sparsity, overflow=overflow, index3=index3
    )
    assert UnitConfig.from_toml(config.to_toml()) == config


def test_fields_that_are_left_out_have_their_defaults():
    assert UnitConfig.from_toml("") == UnitConfig()
    assert UnitConfig.from_toml("l1_bytes = 0x1000") == UnitConfig(l1_bytes=4096)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("l2_bytes = 3", "unknown field l2_bytes"),
        ("[unit]\ncores = 3", "unknown field unit"),
        ("cores = 1.5", "cores is 1.5; it takes a value of type int"),
        ("cores = true", "cores is True; it takes a value of type int"),
        ("cores = '3'", "cores is '3'"),
        ("sparsity = 1", "sparsity is 1; it takes a value of type bool"),
        ("name = 3", "name is 3"),
        ("cores = 0", "cores is 0"),
        ("clock_mhz = -1", "clock_mhz is -1"),
        ("l1_bytes = 0x20000000000", "l1_bytes is 2199023255552"),
        ("overflow = 'trap'", "overflow is 'trap'; choose one of saturate, wrap"),
        ("grain = 'element'", "grain is 'element'; choose one of step, instruction"),
        ("index3 = 'three'", "index3 is 'three'; choose one of error, nothing"),
        ("pair20 = ''", "pair20 is ''; choose one of rule, table"),
        ("requant_shift = 'n+2'", "requant_shift is 'n+2'; choose one of n+1, n"),
        ("requant_offset = 'both'", "requant_offset is 'both'; choose one of signed, unsigned"),
        ("l0a_bytes = 1000", "l0a_bytes 1000 is no multiple of l0a_align 512"),
        ("bt_bytes = 100", "bt_bytes 100 is no multiple of bt_align 64"),
        ("cores = ", "no readable TOML"),
        ("cores = 1\ncores = 1", "no readable TOML"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused_by_field(text, part, tmp_path):
    with pytest.raises(ConfigError) as caught:
        UnitConfig.from_toml(text)
    assert part in str(caught.value)
    (tmp_path / "unit.toml").write_text(text)
    with pytest.raises(FileFormatError) as caught_file:
        Unit(tmp_path / "unit.toml")
    assert part in str(caught_file.value)


def test_describe_and_toml_name_every_field():
    for field in dataclasses.fields(UnitConfig):
        assert f"\n{field.name} = " in "\n" + UnitConfig().to_toml()
        assert any(line.split()[0] == field.name for line in UnitConfig().describe().splitlines())


def test_the_capacities_of_a_configuration_are_those_of_its_memories():
    config = UnitConfig(l1_bytes=1024, l0b_bytes=2048, bt_bytes=64)
    of = machine.Machine(config).memories
    assert (of["L1"].size, of["L0B"].size, of["INDEX"].size, of["BT"].size) == (1024, 2048, 512, 64)
    with pytest.raises(CapacityError, match=r"L1, which has 1024"):
        Unit(config).execute(Program.parse(GM + put(COPY, dst=1024)))


def test_the_alignments_of_a_configuration_are_those_of_its_memories():
    config = UnitConfig(l1_align=4, l0c_align=4096)
    Unit(config).execute(Program.parse(GM + put(COPY, dst=4)))
    with pytest.raises(AlignmentError, match="no multiple of 4096"):
        Unit(config).execute(Program.parse(GM + put(MMAD, c=1024)))


@pytest.mark.parametrize("alpha", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("mode", ["req8", "deqf16"])
def test_a_slope_that_is_not_finite_is_refused(mode, alpha):
    line = put(FIXPIPE, mode=mode, words=0x3F800000, relu="leaky", alpha=alpha)
    with pytest.raises(RangeError, match="alpha"):
        Unit().execute(Program.parse(GM + line))
