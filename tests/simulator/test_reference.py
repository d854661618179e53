"""The numbers of the vendor's own programs, reproduced by instructions.

tests/data/vendor/README.md says where the numbers come from.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import oracle
import pytest

from cube24.encoder import SparseWeight
from cube24.simulator import Tile, Unit, UnitConfig
from cube24.simulator.isa import (
    Buffer,
    CopyIn,
    Fixpipe,
    Instruction,
    Load2D,
    Load3D,
    LoadBias,
    LoadParams,
    LoadSparse,
    Mmad,
    MmadSparse,
    Nd2Nz,
    Program,
    SetFlag,
    WaitFlag,
)
from cube24.simulator.machine import load_buffers
from cube24.simulator.requant import requantise

VENDOR = Path(__file__).parents[1] / "data" / "vendor"
UNIT = Unit()


def raw(folder: str, name: str, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    return np.fromfile(VENDOR / folder / f"{name}.bin", dtype).reshape(shape)


def then(of: str, to: str) -> list[Instruction]:
    """Let pipe ``to`` go on after what pipe ``of`` has done."""
    return [SetFlag(of, to, 0), WaitFlag(of, to, 0)]


# --- LoadData 3D ----------------------------------------------------------------------------------


def image_of(case: int) -> tuple[np.ndarray, dict[str, int], np.ndarray]:
    """The image (C1, H, W, 32), the fields of the instruction, and the result (M, K)."""
    folder = VENDOR / "load3d_im2col" / f"case{case}"
    x = np.load(folder / "x_nc1hwc0.npy")
    names = (
        "pad_left", "pad_right", "pad_top", "pad_bottom", "stride_h", "stride_w",
        "kernel_h", "kernel_w", "dilation_h", "dilation_w",
    )  # fmt: skip
    fields = dict(zip(names, np.load(folder / "params.npy").tolist(), strict=True))
    im2col = np.load(folder / "im2col.npy")
    assert len(x) == len(im2col) == 1
    c1, taps, m, c0 = im2col.shape[1:]
    rows = im2col[0].transpose(2, 0, 1, 3).reshape(m, c1 * taps * c0)
    return x[0], {"c1": x.shape[1], "h": x.shape[2], "w": x.shape[3], **fields}, rows


def zz(memory: np.ndarray, m: int, k: int) -> np.ndarray:
    """Fractals of L0A, (M1, K1, 16, 32), as rows; the filled rows at the end are left out."""
    m1, k1 = -(-m // 16), k // 32
    fractals = memory[: m1 * k1 * 512].view(np.int8).reshape(m1, k1, 16, 32)
    return fractals.transpose(0, 2, 1, 3).reshape(m1 * 16, k)[:m]


@pytest.mark.parametrize("case", range(3))
def test_load3d_is_the_vendors_im2col(case):
    x, fields, expected = image_of(case)
    m, k = expected.shape
    program = Program(
        (Buffer("x", 0, x.size),),
        (
            CopyIn(0, 0, x.size),
            *then("MTE2", "MTE1"),
            Load3D(0, 0, **fields, m_start=0, m=m, k_start=0, k=k),
        ),
    )
    machine = load_buffers(program, {"x": x}, UnitConfig())
    machine.run(program.instructions)
    assert np.array_equal(zz(machine.memories["L0A"], m, k), expected)


@pytest.mark.parametrize("case", range(3))
def test_load3d_cuts_any_window_out_of_the_vendors_im2col(case):
    x, fields, expected = image_of(case)
    rows, columns = expected.shape
    for m_start, m in ((0, 1), (1, 15), (3, 13), (rows - 1, 1), (rows - 16, 16)):
        for k_start, k in ((0, 32), (32, 64), (columns - 32, 32), (64, columns - 64)):
            program = Program(
                (Buffer("x", 0, x.size),),
                (
                    CopyIn(64, 0, x.size),
                    *then("MTE2", "MTE1"),
                    Load3D(512, 64, **fields, m_start=m_start, m=m, k_start=k_start, k=k),
                ),
            )
            machine = load_buffers(program, {"x": x}, UnitConfig())
            machine.run(program.instructions)
            window = expected[m_start : m_start + m, k_start : k_start + k]
            assert np.array_equal(zz(machine.memories["L0A"][512:], m, k), window)


@pytest.mark.parametrize("case", range(3))
def test_the_vendors_im2col_goes_through_execute_to_the_result(case):
    # A times the unit matrix, 32 columns of K at a time, shows all of L0A from outside.
    x, fields, expected = image_of(case)
    m, k = expected.shape
    buffers = (Buffer("x", 0, 8192), Buffer("one", 8192, 1024), Buffer("y", 16384, m * k * 4))
    unit_matrix = oracle.to_zn(np.eye(32, dtype=np.int8), 32)
    padded = np.zeros(8192, np.int8)
    padded[: x.size] = x.reshape(-1)
    lines: list[Instruction] = [
        CopyIn(0, 0, 8192),
        CopyIn(8192, 8192, 1024),
        *then("MTE2", "MTE1"),
        Load2D("L0B", 0, 8192, 2),
    ]
    for k_start in range(0, k, 32):
        lines += [
            Load3D(0, 0, **fields, m_start=0, m=m, k_start=k_start, k=32),
            *then("MTE1", "M"),
            Mmad(0, 0, 0, m, 32, 32),
            *then("M", "FIX"),
            Fixpipe("GM", 16384 + 4 * k_start, 0, m, 32, k),
            *then("FIX", "MTE1"),
        ]
    out = UNIT.execute(Program(buffers, tuple(lines)), {"x": padded, "one": unit_matrix})
    assert np.array_equal(out["y"].view(np.int32).reshape(m, k), expected)


# --- REQ8 -----------------------------------------------------------------------------------------


def req8() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    folder = VENDOR / "fixpipe_req8"
    return tuple(np.load(folder / f"{name}.npy") for name in ("acc", "quant_word", "out"))


def as_written(data: np.ndarray, words: np.ndarray) -> np.ndarray:
    """Bytes as int8 or uint8, as bit 46 of each word says."""
    signed = (words >> np.uint64(46) & np.uint64(1)).astype(bool)
    return np.where(signed, data.view(np.int8).astype(np.int16), data.astype(np.int16))


@pytest.mark.parametrize("shift", ["n+1", "n"])
def test_requantise_is_the_vendors_req8_on_every_element(shift):
    # MCB is 0 in all words, so it does not matter how the shift is read.
    acc, words, out = req8()
    assert not (words >> np.uint64(36) & np.uint64(1)).any()
    data = requantise(acc[None], words, UnitConfig(requant_shift=shift))[0]
    assert np.array_equal(as_written(data, words), out)


@pytest.mark.parametrize("shift", ["n+1", "n"])
def test_fixpipe_is_the_vendors_req8_on_every_element(shift):
    # 240 accumulators at a time come into L0C as a bias: A is zero.
    acc, words, out = req8()
    size, got = 240, []
    for start in range(0, len(acc), size):
        n = len(acc[start : start + size])
        program = Program(
            (Buffer("acc", 0, 4 * n), Buffer("words", 1024, 8 * n), Buffer("y", 4096, n)),
            (
                CopyIn(0, 0, 4 * n),
                CopyIn(1024, 1024, 8 * n),
                *then("MTE2", "MTE1"),
                *then("MTE2", "FIX"),
                LoadBias(0, 0, 4 * n),
                LoadParams(0, 1024, 8 * n),
                *then("MTE1", "M"),
                Mmad(0, 0, 0, 1, n, 32, "bias", 0),
                *then("M", "FIX"),
                Fixpipe("GM", 4096, 0, 1, n, n, "vreq8", 0),
            ),
        )
        buffers = Unit(UnitConfig(requant_shift=shift)).execute(
            program, {"acc": acc[start : start + n], "words": words[start : start + n]}
        )
        got.append(buffers["y"])
    assert np.array_equal(as_written(np.concatenate(got), words), out)


def test_fixpipe_reads_one_word_for_all_columns_as_the_vendor_does():
    acc, words, out = req8()
    for place in range(0, len(acc), 97):
        program = Program(
            (Buffer("acc", 0, 64), Buffer("y", 64, 1)),
            (
                CopyIn(0, 0, 64),
                *then("MTE2", "MTE1"),
                LoadBias(0, 0, 64),
                *then("MTE1", "M"),
                Mmad(0, 0, 0, 1, 16, 32, "bias", 0),
                *then("M", "FIX"),
                Fixpipe("GM", 64, 0, 1, 1, 1, "req8", int(words[place])),
            ),
        )
        data = UNIT.execute(program, {"acc": np.full(16, acc[place], np.int32)})["y"]
        assert as_written(data, words[place : place + 1])[0] == out[place]


# --- the samples, from their own bytes through GM, L1, L0, cube and FIXPIPE -----------------------


def test_mmad_with_sparse_runs_from_its_own_bytes():
    # M = N = 128, K = 64; activations are fractals already and are copied as they are.
    folder = "mmad_with_sparse"
    program = Program(
        (
            Buffer("x1_gm", 0x0000, 8192),
            Buffer("x2_gm", 0x2000, 4096),
            Buffer("idx_gm", 0x3000, 1024),
            Buffer("y", 0x4000, 65536),
        ),
        (
            CopyIn(0x0000, 0x0000, 8192),
            CopyIn(0x2000, 0x2000, 4096),
            CopyIn(0x3000, 0x3000, 1024),
            *then("MTE2", "MTE1"),
            # (K1, M1, 16, 32) in L1 to (M1, K1, 16, 32) in L0A: each row of fractals by itself.
            *(Load2D("L0A", 1024 * row, 0, repeat=2, start=row, stride=8) for row in range(8)),
            LoadSparse(0, 0x2000, 0x3000, repeat=8),
            *then("MTE1", "M"),
            MmadSparse(0, 0, 0, 128, 128, 64),
            *then("M", "FIX"),
            Fixpipe("GM", 0x4000, 0, 128, 128, 128),
        ),
    )
    inputs = {
        "x1_gm": raw(folder, "x1_gm", "<i1", (2, 8, 16, 32)),
        "x2_gm": raw(folder, "x2_gm", "<i1", (1, 8, 16, 32)),
        "idx_gm": raw(folder, "idx_gm", "<u1", (1, 8, 16, 8)),
    }
    golden = raw(folder, "golden", "<i4", (128, 128))
    got = UNIT.execute(program, inputs)["y"].view(np.int32).reshape(128, 128)
    assert np.array_equal(got, golden)
    assert Program.parse(str(program)) == program


def second_sample() -> tuple[np.ndarray, SparseWeight, np.ndarray, np.ndarray]:
    """Activations, the weight of the sample's own bytes (rows, and fractals), bias, golden."""
    folder = "matmul_sparse_64x160x192_bias"
    dense = oracle.to_zn(raw(folder, "x2_gm", "<i1", (160, 96)), 32)
    index = raw(folder, "index_gm", "<u1", (3, 10, 16, 8))
    return (
        raw(folder, "x1_gm", "<i1", (64, 192)),
        SparseWeight(dense, index, (160, 192), "zn"),
        raw(folder, "bias_gm", "<i4", (160,)),
        raw(folder, "golden", "<i4", (64, 160)),
    )


TILES = [None, Tile(16, 16, 64, 64), Tile(32, 48, 64, 128), Tile(64, 80, 192, 192)]


@pytest.mark.parametrize("tile", TILES, ids=str)
def test_matmul_sparse_with_bias_runs_from_its_own_bytes(tile):
    x, weight, bias, golden = second_sample()
    run = UNIT.matmul(x, weight, bias, tile=tile, check=True)
    assert np.array_equal(run.output, golden)


def test_matmul_sparse_with_bias_runs_as_one_hand_made_program():
    # N = 160 in two halves of 80, since BT and L0C hold no more; K = 192 in one Mmad.
    x, weight, bias, golden = second_sample()
    lines: list[Instruction] = [Nd2Nz(0, 0, 64, 192, 192, 64), *then("MTE2", "MTE1")]
    lines += [
        Load2D("L0A", 3072 * row, 0, repeat=6, start=row, stride=4) for row in range(4)
    ]  # fmt: skip
    for half in range(2):
        lines += [
            CopyIn(0x4000, 0x4000 + 2560 * half, 2560, 3, 5120, 2560),
            CopyIn(0x8000, 0x8000 + 640 * half, 640, 3, 1280, 640),
            CopyIn(0xA000, 0xA000 + 320 * half, 320),
            *then("MTE2", "MTE1"),
            LoadBias(0, 0xA000, 320),
            LoadSparse(0, 0x4000, 0x8000, 15),
            *then("MTE1", "M"),
            MmadSparse(0, 0, 0, 64, 80, 192, "bias", 0),
            *then("M", "FIX"),
            Fixpipe("GM", 0x10000 + 4 * 80 * half, 0, 64, 80, 160),
            *then("FIX", "MTE2"),
        ]
    program = Program(
        (
            Buffer("x", 0, 64 * 192),
            Buffer("dense", 0x4000, 15360),
            Buffer("index", 0x8000, 3840),
            Buffer("bias", 0xA000, 640),
            Buffer("y", 0x10000, 64 * 160 * 4),
        ),
        tuple(lines),
    )
    inputs = {"x": x, "dense": weight.dense, "index": weight.index, "bias": bias}
    got = UNIT.execute(program, inputs)["y"].view(np.int32).reshape(64, 160)
    assert np.array_equal(got, golden)
