"""The machine: runs a program on byte-addressed memories, one instruction after the other.

Program order is one of the orders that the flags allow, so it gives the values; when which pipe
runs what is the business of the timing, not of this module. Every address, alignment, size and
field of an instruction is checked before anything is moved. Aligned are the addresses that an
instruction names; the fractals that a load counts from there may begin anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt

from cube24 import _core
from cube24.errors import ArgumentError, Cube24Error, DtypeError, ShapeError
from cube24.simulator import isa, layouts, requant
from cube24.simulator.config import UnitConfig
from cube24.sizes import ceil_div, round_up, whole

Bytes = npt.NDArray[np.uint8]


class ExecutionError(Cube24Error, ValueError):
    """An instruction that the unit cannot run: its number in the program, its text, and why.

    Attributes: number, instruction.
    """

    def __init__(self, number: int, instruction: isa.Instruction, message: str) -> None:
        """Put the instruction before the message."""
        self.number, self.instruction = number, instruction
        super().__init__(f"instruction {number} ({instruction}): {message}")


class CapacityError(ExecutionError):
    """An access beyond the end of a memory."""


class AlignmentError(ExecutionError):
    """An address that is not aligned as its memory asks for."""


class RangeError(ExecutionError):
    """A field outside the numbers or words that the instruction allows."""


class IllegalIndexError(ExecutionError):
    """MmadSparse met an index of 3, which selects nothing."""


class FlagError(ExecutionError):
    """A wait for a flag that no instruction before it has set, or a flag set twice."""


class UnsupportedError(ExecutionError):
    """An instruction that this unit does not have."""


class Machine:
    """Memories of a unit, and the instructions on them.

    ``memories`` holds GM, L1, L0A, L0B, INDEX, L0C, BT and FB as uint8 arrays; all start as zeros.
    """

    def __init__(self, config: UnitConfig, gm_bytes: int = 0) -> None:
        """Make the memories; GM has as many bytes as the program's buffers need."""
        self.config = config
        sizes = {"GM": gm_bytes, **config.memory_bytes}
        self.memories: dict[str, Bytes] = {
            name: np.zeros(size, np.uint8) for name, size in sizes.items()
        }
        self._align = {"GM": 1, **config.memory_align}
        self._set: set[tuple[str, str, int]] = set()  # the flags that are set
        self._flags = (config.overflow == "wrap") * _core.WRAP | (
            config.grain == "instruction"
        ) * _core.GRAIN_INSTRUCTION
        self._sparse_flags = (config.index3 == "nothing") * _core.INDEX3_NOTHING | (
            config.pair20 == "table"
        ) * _core.PAIR20_TABLE
        self._number = 0
        self._instruction: isa.Instruction = isa.Barrier("M")

    def run(self, instructions: tuple[isa.Instruction, ...]) -> None:
        """Run instructions in program order.

        Raises:
            ExecutionError: a subclass says what is wrong, with the number of the instruction; what
                ran before has left its traces in the memories.
        """
        for self._number, self._instruction in enumerate(instructions):
            if problem := isa.problem(self._instruction):
                raise self._fail(RangeError, problem)
            _HANDLERS[type(self._instruction)](self, self._instruction)

    # --- checks -----------------------------------------------------------------------------------

    def _fail(self, kind: type[ExecutionError], message: str) -> ExecutionError:
        return kind(self._number, self._instruction, message)

    def _aligned(self, memory: str, address: int) -> None:
        align = self._align[memory]
        if address % align:
            raise self._fail(
                AlignmentError, f"address {address:#x} in {memory} is no multiple of {align}"
            )

    def _piece(self, memory: str, address: int, size: int) -> Bytes:
        """``size`` bytes of a memory as a view, at an address that is aligned."""
        if size:
            self._aligned(memory, address)
        return self._bytes(memory, address, size)

    def _bytes(self, memory: str, address: int, size: int) -> Bytes:
        """``size`` bytes of a memory as a view, wherever they begin."""
        data = self.memories[memory]
        if not size:  # what has no size touches nothing
            return data[:0]
        if address < 0 or address + size > data.size:
            raise self._fail(
                CapacityError,
                f"bytes {address:#x} to {address + size:#x} are beyond {memory}, which has "
                f"{data.size} ({data.size:#x})",
            )
        return data[address : address + size]

    def _strided(self, memory: str, address: int, count: int, size: int, stride: int) -> Bytes:
        """``count`` pieces of ``size`` bytes at distances of ``stride``: (count, size), a view."""
        if not count or not size:
            return np.empty((0, size), np.uint8)
        self._aligned(memory, address)
        return self._pieces(memory, address, count, size, stride)

    def _pieces(self, memory: str, address: int, count: int, size: int, stride: int) -> Bytes:
        """The same, wherever they begin."""
        whole = self._bytes(memory, address, (count - 1) * stride + size)
        return np.ndarray((count, size), np.uint8, whole, 0, (stride, 1))

    # --- MTE2 -------------------------------------------------------------------------------------

    def _copy_in(self, i: isa.CopyIn) -> None:
        source = self._strided("GM", i.src, i.bursts, i.bytes, i.src_stride)
        self._strided("L1", i.dst, i.bursts, i.bytes, i.dst_stride)[...] = source

    def _nd2nz(self, i: isa.Nd2Nz) -> None:
        if not i.rows or not i.bytes:
            return
        blocks = ceil_div(i.bytes, 32)
        source = self._strided("GM", i.src, i.rows, i.bytes, i.src_stride)
        target = self._piece("L1", i.dst, blocks * i.dst_rows * 32)
        fractals = target.reshape(blocks, i.dst_rows, 32)[:, : i.rows].transpose(1, 0, 2)
        whole = i.bytes // 32
        fractals[:, :whole] = source[:, : whole * 32].reshape(i.rows, whole, 32)
        if whole < blocks:
            fractals[:, whole, : i.bytes % 32] = source[:, whole * 32 :]
            fractals[:, whole, i.bytes % 32 :] = 0

    # --- MTE1 -------------------------------------------------------------------------------------

    def _load2d(self, i: isa.Load2D) -> None:
        if not i.repeat:
            return
        self._aligned("L1", i.src)
        source = self._pieces(
            "L1", i.src + isa.FRACTAL * i.start, i.repeat, isa.FRACTAL, isa.FRACTAL * i.stride
        )
        self._strided(i.to, i.dst, i.repeat, isa.FRACTAL, isa.FRACTAL * (i.gap + 1))[...] = source

    def _load3d(self, i: isa.Load3D) -> None:
        if not i.m or not i.k:
            return
        x = self._piece("L1", i.src, i.c1 * i.h * i.w * 32)
        out = self._piece("L0A", i.dst, round_up(i.m, 16) * i.k)
        _core.load3d(
            isa.image_of(i), x, out, m_start=i.m_start, m=i.m, k_start=i.k_start, k=i.k, pad=i.pad
        )

    def _load_sparse(self, i: isa.LoadSparse) -> None:
        self._need_sparsity()
        count = i.repeat
        if count == 0:
            return
        self._aligned("L1", i.dense)
        self._aligned("L1", i.index)
        dense = self._bytes("L1", i.dense + isa.FRACTAL * i.start, isa.FRACTAL * count)
        index = self._bytes("L1", i.index + isa.INDEX_FRACTAL * i.start, isa.INDEX_FRACTAL * count)
        self._piece("L0B", i.dst, isa.FRACTAL * count)[...] = dense
        self.memories["INDEX"][i.dst // 4 : i.dst // 4 + isa.INDEX_FRACTAL * count] = index

    def _load_bias(self, i: isa.LoadBias) -> None:
        self._piece("BT", i.dst, i.bytes)[...] = self._piece("L1", i.src, i.bytes)

    # --- M ----------------------------------------------------------------------------------------

    def _operands(self, i: isa.Mmad, k0: int) -> tuple[Bytes, Bytes, Bytes] | None:
        """The operands and the result of an Mmad, checked; None if it does nothing."""
        if i.dtype != "int8":
            raise self._fail(UnsupportedError, f"{i.dtype} has a time and no values")
        if 0 in (i.m, i.n, i.k):
            return None
        m1, n1, k1 = ceil_div(i.m, 16), ceil_div(i.n, 16), ceil_div(i.k, k0)
        a = self._piece("L0A", i.a, m1 * k1 * (k0 // 32) * isa.FRACTAL)
        b = self._piece("L0B", i.b, n1 * k1 * isa.FRACTAL)
        c = self._piece("L0C", i.c, m1 * n1 * isa.C_FRACTAL)
        if i.start == "bias":
            self._piece("BT", i.bias, 4 * i.n)
        return a, b, c

    def _start(self, i: isa.Mmad, c: Bytes) -> None:
        """Put zero or the bias where the result will stand."""
        if i.start != "keep":
            bias = self._piece("BT", i.bias, 4 * i.n) if i.start == "bias" else None
            _core.mmad_start(c, i.m, i.n, bias)

    def _mmad(self, i: isa.Mmad) -> None:
        operands = self._operands(i, 32)
        if operands is None:
            return
        a, b, c = operands
        self._start(i, c)
        _core.mmad(a, b, c, i.m, i.n, i.k, self._flags)

    def _mmad_sparse(self, i: isa.MmadSparse) -> None:
        self._need_sparsity()
        operands = self._operands(i, 64)
        if operands is None:
            return
        a, b, c = operands
        index = self.memories["INDEX"][i.b // 4 :]
        if self.config.index3 == "error":
            self._refuse_index3(i, index)
        self._start(i, c)
        _core.mmad_sparse(a, b, index, c, i.m, i.n, i.k, self._flags | self._sparse_flags)

    def _refuse_index3(self, i: isa.MmadSparse, index: Bytes) -> None:
        found = _core.find_index3(index, i.n, i.k)
        if found is None:
            return
        column, group = found
        step, inside = divmod(group, 16)
        fractal = step * ceil_div(i.n, 16) + column // 16
        bits = 4 * (inside % 2)
        raise self._fail(
            IllegalIndexError,
            f"an index of 3 in column {column}, group {group}: fractal {fractal} of this operand, "
            f"row {column % 16}, byte {inside // 2}, bits {bits + 3}:{bits}",
        )

    def _need_sparsity(self) -> None:
        if not self.config.sparsity:
            raise self._fail(UnsupportedError, f"{self.config.name} has no 2:4 sparsity")

    # --- FIX --------------------------------------------------------------------------------------

    def _load_params(self, i: isa.LoadParams) -> None:
        self._piece("FB", i.dst, i.bytes)[...] = self._piece("L1", i.src, i.bytes)

    def _fixpipe(self, i: isa.Fixpipe) -> None:
        if i.m == 0 or i.n == 0:
            return
        result = self._converted(i, self._results(i))
        if i.layout == "nd":
            self._write_nd(i, result)
        else:
            self._write_nz(i, result)

    def _results(self, i: isa.Fixpipe) -> npt.NDArray[np.int32]:
        """The m x n results in L0C as rows."""
        m1, n1 = ceil_div(i.m, 16), ceil_div(i.n, 16)
        piece = self._piece("L0C", i.src, m1 * n1 * isa.C_FRACTAL)
        return layouts.from_nz(piece.view(np.int32).reshape(n1, m1 * 16, 16), i.m, i.n)

    def _converted(self, i: isa.Fixpipe, acc: npt.NDArray[np.int32]) -> npt.NDArray[Any]:
        if i.mode == "fp16":
            raise self._fail(UnsupportedError, "mode fp16 has a time and no values")
        if i.mode == "int32":
            return np.maximum(acc, 0) if i.relu == "relu" else acc
        if i.mode.startswith("v"):
            words = self._piece("FB", i.words, 8 * i.n).view(np.uint64)
        else:
            words = np.array([i.words], np.uint64)
        try:
            if i.mode.endswith("req8"):
                return requant.requantise(acc, words, self.config, i.relu, i.alpha)
            return requant.dequantise(acc, words, i.relu, i.alpha)
        except requant.RequantError as error:
            raise self._fail(RangeError, str(error)) from error

    def _write_nd(self, i: isa.Fixpipe, result: npt.NDArray[Any]) -> None:
        size = result.dtype.itemsize
        rows = np.ascontiguousarray(result).view(np.uint8)
        self._strided(i.to, i.dst, i.m, i.n * size, i.stride * size)[...] = rows

    def _write_nz(self, i: isa.Fixpipe, result: npt.NDArray[Any]) -> None:
        n0 = layouts.nz_n0(result.dtype)
        target = self._piece(i.to, i.dst, ceil_div(i.n, n0) * i.stride * n0 * result.dtype.itemsize)
        target[...] = layouts.to_nz(result, i.stride).view(np.uint8).reshape(-1)

    # --- order ------------------------------------------------------------------------------------

    def _flag(self, i: isa.SetFlag | isa.WaitFlag) -> tuple[str, str, int]:
        return (i.of, i.to, i.id)

    def _set_flag(self, i: isa.SetFlag) -> None:
        flag = self._flag(i)
        if flag in self._set:
            raise self._fail(FlagError, "this flag is set already, and nobody has waited for it")
        self._set.add(flag)

    def _wait_flag(self, i: isa.WaitFlag) -> None:
        flag = self._flag(i)
        if flag not in self._set:
            raise self._fail(
                FlagError,
                "nobody has set this flag before it: in the order of the program, the unit would "
                "wait for ever",
            )
        self._set.remove(flag)

    def _barrier(self, i: isa.Barrier) -> None:
        """Nothing: program order is kept as it is."""


# Not in a machine, which would hold itself: its memories, most of a megabyte, go with it at once.
_HANDLERS: Mapping[type[isa.Instruction], Callable[[Machine, Any], None]] = {
    isa.CopyIn: Machine._copy_in,
    isa.Nd2Nz: Machine._nd2nz,
    isa.Load2D: Machine._load2d,
    isa.Load3D: Machine._load3d,
    isa.LoadSparse: Machine._load_sparse,
    isa.LoadBias: Machine._load_bias,
    isa.LoadParams: Machine._load_params,
    isa.Mmad: Machine._mmad,
    isa.MmadSparse: Machine._mmad_sparse,
    isa.Fixpipe: Machine._fixpipe,
    isa.SetFlag: Machine._set_flag,
    isa.WaitFlag: Machine._wait_flag,
    isa.Barrier: Machine._barrier,
}


def load_buffers(
    program: isa.Program, inputs: Mapping[str, npt.NDArray[Any]], config: UnitConfig
) -> Machine:
    """A machine whose GM holds the inputs of a program.

    Raises:
        ArgumentError: an input that is no buffer of the program, or buffers that overlap or stand
            where no memory has bytes.
        DtypeError: an input of Python objects.
        ShapeError: an input that does not have the bytes of its buffer.
    """
    names, end = {buffer.name: _extent(buffer) for buffer in program.buffers}, 0
    for name, (at, size) in sorted(names.items(), key=itemgetter(1)):
        if at < end:
            raise ArgumentError(f"buffer {name} overlaps another")
        end = at + size
    if len(names) != len(program.buffers):
        raise ArgumentError("two buffers of the program have one name")
    machine = Machine(config, end)
    for name, array in inputs.items():
        if name not in names:
            raise ArgumentError(f"the program has no buffer {name!r}; it has: {', '.join(names)}")
        at, size = names[name]
        whole_array = np.ascontiguousarray(array).reshape(-1)
        if whole_array.dtype.hasobject:
            raise DtypeError(f"input {name} has dtype {whole_array.dtype}; it takes bytes")
        data = whole_array.view(np.uint8)
        if data.size != size:
            raise ShapeError(f"input {name} has {data.size} bytes; its buffer has {size}")
        machine.memories["GM"][at : at + size] = data
    return machine


def _extent(buffer: isa.Buffer) -> tuple[int, int]:
    """Where a buffer begins, and its bytes."""
    return (
        whole(buffer.at, f"buffer {buffer.name}: at", 0, isa.LARGEST),
        whole(buffer.bytes, f"buffer {buffer.name}: bytes", 0, isa.LARGEST),
    )


def execute(
    program: isa.Program, inputs: Mapping[str, npt.NDArray[Any]], config: UnitConfig
) -> dict[str, Bytes]:
    """Run a program; gives what its buffers in GM hold afterwards, by name.

    Raises:
        ExecutionError: an instruction that the unit cannot run; the subclass says why.
        ArgumentError, DtypeError, ShapeError: as for :func:`load_buffers`.
    """
    machine = load_buffers(program, inputs, config)
    machine.run(program.instructions)
    gm = machine.memories["GM"]
    return {buffer.name: gm[buffer.at : buffer.at + buffer.bytes] for buffer in program.buffers}
