"""Drivers, monitor and scoreboard around cube24_unit, with golden vectors of cube24 as the model.

A case is a folder that `cube24.vectors` wrote: operands as they stand in memory, and the result
that must come out. The drivers fetch what a step needs by its address and feed the pins, with
random gaps; the monitor takes what the unit gives, whoever asked for it; the scoreboard holds it
against the case, bit by bit, and lets `compare` explain what differs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt
from cocotb.triggers import FallingEdge
from play import mmads_of  # of examples/rtl

from cube24 import vectors

Bytes = npt.NDArray[np.uint8]

#: step_start, mode and relu of cube24_unit.
START_ZERO, START_KEEP, START_BIAS = range(3)
MODE_INT32, MODE_REQ8, MODE_DEQF16 = range(3)
RELU_NONE, RELU, RELU_LEAKY = range(3)

#: Elements of k, and bytes of a column of dense and index, in a step.
K_STEP, DENSE_BYTES, INDEX_BYTES = 64, 32, 8


class Operands:
    """The memory of a case, and where in it a step finds its bytes.

    Attributes: m, n, k, sizes; firsts, lasts, the steps that begin and end an instruction; bias,
    int32 a column, or None; words, uint64 one a column, or None.
    """

    def __init__(self, case: vectors.Stored) -> None:
        """Read a case, a matrix multiplication.

        Raises:
            BadCaseError: it does not say of which k an Mmad is, and that makes a difference.
        """
        size = case.spec["sizes"]
        self.m, self.n, self.k = (size[name] for name in "mnk")
        self.zn = case.spec["layout"] == "zn"
        self.memory = {
            role: np.append(case.array(role).reshape(-1).view(np.uint8), np.zeros(64, np.uint8))
            for role in ("activations", "dense", "index")
        }
        ends = [-(-k // K_STEP) for k in accumulate(mmads_of(case.manifest))]
        self.firsts, self.lasts = {0, *ends[:-1]}, {end - 1 for end in ends}
        roles = {entry["role"] for entry in case.manifest["files"]}
        self.bias = case.array("bias") if "bias" in roles else None
        self.words = case.array("requant") if "requant" in roles else None
        if self.words is not None:
            self.words = np.broadcast_to(self.words, (self.n,))

    @property
    def steps(self) -> int:
        """Steps of 64 of k."""
        return -(-self.k // K_STEP)

    def activations(self, row: int, step: int) -> Bytes:
        """64 elements of a row; behind the row stands the next one, which must add nothing."""
        at = row * self.k + step * K_STEP + np.arange(K_STEP)
        return self._read("activations", at) if row < self.m else np.zeros(K_STEP, np.uint8)

    def weight(self, role: str, column: int, step: int) -> Bytes:
        """The bytes of a column of dense or index; in nd they read on behind the row, too."""
        size = {"dense": DENSE_BYTES, "index": INDEX_BYTES}[role]
        byte = np.arange(size)
        if self.zn:
            n1 = -(-self.n // 16)
            if column >= 16 * n1:
                return np.zeros(size, np.uint8)
            fractal, lane = step * n1 + column // 16, column % 16
            return self._read(role, (16 * fractal + lane) * size + byte)
        if column >= self.n:
            return np.zeros(size, np.uint8)
        pitch = -(-self.k // 8) * 8 * size // K_STEP
        return self._read(role, column * pitch + step * size + byte)

    def illegal(self, c0: int, columns: int) -> int:
        """Of which columns of a tile an index is 3, a bit each."""
        found = 0
        for column in range(columns):
            for step in range(self.steps):
                for byte in self.weight("index", c0 + column, step):
                    if 3 in (byte & 3, byte >> 2 & 3, byte >> 4 & 3, byte >> 6):
                        found |= 1 << column
        return found

    def _read(self, role: str, at: npt.NDArray[np.int64]) -> Bytes:
        memory = self.memory[role]
        return np.where(at < len(memory), memory[np.minimum(at, len(memory) - 1)], np.uint8(0))


def pins(values: npt.NDArray[Any] | list[Bytes]) -> int:
    """Bytes for a port, byte 0 in the low bits."""
    return int.from_bytes(np.concatenate([np.asarray(v).view(np.uint8) for v in values]), "little")


def rows_of(dut: Any) -> int:
    """ROWS of a unit: a step takes 64 bytes of each."""
    return len(dut.activations) // (8 * K_STEP)


def columns_of(dut: Any) -> int:
    """COLS of a unit: a result has 32 bits of each."""
    return len(dut.result) // 32


class StepDriver:
    """Feeds the steps of instructions, with a gap before some of them."""

    def __init__(self, dut: Any, random: Random) -> None:
        """Drive the step ports of a unit."""
        self.dut, self.random, self.gap = dut, random, 0.0
        dut.step_valid.value = 0

    async def tile(self, of: Operands, r0: int, c0: int) -> None:
        """All steps of one tile of the result, and the wait until they are added."""
        dut = self.dut
        rows, columns = range(r0, r0 + rows_of(dut)), range(c0, c0 + columns_of(dut))
        start = START_ZERO
        if of.bias is not None:
            start = START_BIAS
            dut.bias.value = pins(
                [of.bias[[c]] if c < of.n else np.zeros(1, "<i4") for c in columns]
            )
        for step in range(of.steps):
            while self.random.random() < self.gap:
                dut.step_valid.value = 0
                await FallingEdge(dut.clock)
            dut.step_valid.value = 1
            dut.step_first.value = step in of.firsts
            dut.step_last.value = step in of.lasts
            dut.step_start.value = start if step == 0 else START_KEEP
            dut.step_k.value = min(of.k - step * K_STEP, K_STEP)
            dut.activations.value = pins([of.activations(row, step) for row in rows])
            dut.dense.value = pins([of.weight("dense", column, step) for column in columns])
            dut.index.value = pins([of.weight("index", column, step) for column in columns])
            await FallingEdge(dut.clock)
        dut.step_valid.value = 0
        await FallingEdge(dut.clock)
        while dut.busy.value:
            await FallingEdge(dut.clock)


class ReadDriver:
    """Asks for rows of the accumulators."""

    def __init__(self, dut: Any) -> None:
        """Drive the read ports of a unit."""
        self.dut = dut
        dut.read_valid.value = 0

    def rule(self, how: Mapping[str, Any] | None, unit: Mapping[str, Any]) -> None:
        """Set what a case says of requantisation, and its unit of the open points in it."""
        how = how or {"mode": None}
        mode, relu = how.get("mode", "REQ8"), how.get("relu", False)
        slope = 0.0 if isinstance(relu, bool) else relu
        dut = self.dut
        dut.mode.value = {None: MODE_INT32, "REQ8": MODE_REQ8, "DEQF16": MODE_DEQF16}[mode]
        dut.relu.value = RELU_LEAKY if slope else RELU if relu else RELU_NONE
        dut.alpha.value = int(np.float32(slope).view(np.uint32))
        dut.shift_n.value = unit.get("requant_shift", "n+1") == "n"
        dut.offset_unsigned.value = unit.get("requant_offset", "signed") == "unsigned"

    async def row(self, of: Operands, row: int, c0: int) -> None:
        """Ask for one row of a tile."""
        dut = self.dut
        columns = range(c0, c0 + columns_of(dut))
        if of.words is not None:
            dut.words.value = pins(
                [of.words[[c]] if c < of.n else np.zeros(1, "<u8") for c in columns]
            )
        dut.read_valid.value = 1
        dut.read_row.value = row
        await FallingEdge(dut.clock)
        dut.read_valid.value = 0


@dataclass
class Scoreboard:
    """Holds what the monitor saw against what the case expects.

    Attributes: differing, what `compare` says of the cases that differ; coverage, of all cases.
    """

    differing: list[Any] = field(default_factory=list)
    coverage: vectors.coverage.Table = field(default_factory=vectors.coverage.Table)

    def begin(self, case: vectors.Stored) -> None:
        """Expect the result of a case."""
        self.case, self.expected = case, case.array("expected")
        self.got = np.zeros_like(self.expected)
        self.places: deque[tuple[int, int]] = deque()

    def expect(self, row: int, c0: int) -> None:
        """Say which outputs the next row of the monitor is: from column c0 on."""
        self.places.append((row, c0))

    def take(self, words: list[int]) -> None:
        """Take a row of the unit, a word a column."""
        assert self.places, f"{self.case.name}: a row that nobody asked for"
        row, c0 = self.places.popleft()
        raw = self.got.view(f"u{self.got.dtype.itemsize}")
        for column, word in enumerate(words[: self.got.shape[1] - c0], c0):
            raw[row, column] = word & (1 << 8 * raw.itemsize) - 1

    def flags(self, got: int, expected: int) -> None:
        """Hold the flags of a tile against its index bytes."""
        assert got == expected, f"{self.case.name}: columns {got:b} flagged, not {expected:b}"

    def end(self) -> Any:
        """Compare; gives the comparison, which is kept if something differs."""
        assert not self.places, f"{self.case.name}: {len(self.places)} rows did not come"
        found = vectors.compare(self.case, self.got)
        if not found.equal:
            self.differing.append(found)
        self.coverage.add(self.case.manifest["coverage"])
        return found


async def monitor(dut: Any, scoreboard: Scoreboard) -> None:
    """Take each row that the unit gives."""
    while True:
        await FallingEdge(dut.clock)
        if dut.result_valid.value == 1:
            assert dut.result.value.is_resolvable, f"{scoreboard.case.name}: a row has x or z"
            assert dut.result_bad.value == 0, f"{scoreboard.case.name}: a word was called bad"
            row = int(dut.result.value)
            scoreboard.take([row >> 32 * c & 0xFFFFFFFF for c in range(columns_of(dut))])


class Bench:
    """All of it: `play` a case."""

    def __init__(self, dut: Any, random: Random) -> None:
        """Put it around a unit whose clock runs."""
        self.dut, self.scoreboard = dut, Scoreboard()
        self.steps, self.reads = StepDriver(dut, random), ReadDriver(dut)

    async def reset(self) -> None:
        """Reset the unit."""
        self.dut.reset.value = 1
        await FallingEdge(self.dut.clock)
        self.dut.reset.value = 0
        await FallingEdge(self.dut.clock)

    async def play(self, case: vectors.Stored, gap: float) -> Any:
        """Multiply and read all tiles of a case; gives the comparison."""
        of, unit = Operands(case), case.spec["unit"]["overrides"]
        dut = self.dut
        rows = rows_of(dut)
        await self.reset()
        dut.wrap.value = unit.get("overflow", "saturate") == "wrap"
        dut.grain_instruction.value = unit.get("grain", "step") == "instruction"
        dut.pair20_table.value = unit.get("pair20", "rule") == "table"
        self.reads.rule(case.spec["requant"], unit)
        self.steps.gap = gap
        self.scoreboard.begin(case)
        for c0 in range(0, of.n, columns_of(dut)):
            for r0 in range(0, of.m, rows):
                await self.steps.tile(of, r0, c0)
                self.scoreboard.flags(
                    int(dut.illegal_columns.value), of.illegal(c0, columns_of(dut))
                )
                for row in range(min(rows, of.m - r0)):
                    self.scoreboard.expect(r0 + row, c0)
                    await self.reads.row(of, row, c0)
        await FallingEdge(dut.clock)
        return self.scoreboard.end()
