"""The instructions of the unit as plain data, what they may say, and programs of them as text.

The legal words and numbers of every field stand here and nowhere else (``problem``); which bytes an
instruction touches is in access.py, what it costs in cost.py, what it computes in machine.py.

A program is a list of buffers in global memory (GM) and a list of instructions. One line of text is
one of them: its name, then ``field=value``; ``#`` starts a comment. Fields with a default may be
left out. Numbers may be hexadecimal. docs/unit.md describes every instruction and has a program
written by hand.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, fields
from functools import lru_cache
from operator import attrgetter
from typing import Any, ClassVar

import numpy as np

from cube24 import _core
from cube24.encoder import DENSE_K0, INDEX_K0, N0
from cube24.errors import Cube24Error, FileFormatError, StrPath
from cube24.files import read_text, write_bytes
from cube24.sizes import real_of, shortened, shown, whole_of

#: The pipes; each runs its instructions in order.
PIPES = ("MTE2", "MTE1", "M", "FIX")

#: The modes of a Fixpipe, and the bytes of a result in each.
RESULT_BYTES = {"int32": 4, "req8": 1, "vreq8": 1, "deqf16": 2, "vdeqf16": 2, "fp16": 2}

#: What a Fixpipe does with negative results.
RELUS = ("none", "relu", "leaky")

# Sizes in bytes [ADK].
C0_BYTES = DENSE_K0  # a row of a fractal of operands, whatever their type
FRACTAL = N0 * C0_BYTES  # a fractal of operands, 16 rows
INDEX_FRACTAL = N0 * INDEX_K0  # the index fractal beside it
C_FRACTAL = N0 * N0 * 4  # a fractal of results, 16 x 16 int32
UNIT_BLOCK = 512  # of L0C that one unit flag guards: a fractal of results has two

LIMIT_MNK = 4095  # m, n and k of one Mmad [ADK]
LIMIT_REPEAT = 255  # repetitions of one load [ADK]
LIMIT_STEP = 65535  # starts, strides and gaps of one load [ADK]
FLAG_IDS = 8  # flags of a pair of pipes [ADK]
_FP32_MAX = float(np.finfo(np.float32).max)
LARGEST = 1 << 40  # any other size: more than a unit can have


class ProgramError(Cube24Error, ValueError):
    """Text that is no program: what is wrong, with the line."""


@dataclass(frozen=True)
class Instruction:
    """Base of all instructions: a name in text and a pipe that runs it."""

    name: ClassVar[str]
    pipe: ClassVar[str]

    def __str__(self) -> str:
        """The instruction as a line of text, without the fields that have their defaults."""
        words = [self.name]
        for spec in fields(self):
            value = getattr(self, spec.name)
            if (
                spec.default is MISSING
                or type(value) is not type(spec.default)
                or (value != spec.default)
            ):
                words.append(f"{spec.name}={_text(spec.name, value)}")
        return " ".join(words)


_ADDRESSES = {"dst", "src", "dense", "index", "a", "b", "c", "bias", "words", "at"}


def _text(name: str, value: object) -> str:
    # Python prints no number of thousands of digits but as hexadecimal.
    if isinstance(value, int) and (name in _ADDRESSES or value.bit_length() > 64):
        return hex(value)
    return str(value)


@dataclass(frozen=True)
class CopyIn(Instruction):
    """GM -> L1: ``bursts`` pieces of ``bytes``, at distances ``src_stride`` and ``dst_stride``."""

    name, pipe = "copy_in", "MTE2"
    dst: int
    src: int
    bytes: int
    bursts: int = 1
    src_stride: int = 0
    dst_stride: int = 0


@dataclass(frozen=True)
class Nd2Nz(Instruction):
    """GM -> L1: ``rows`` rows of ``bytes`` to Nz, (ceil(bytes / 32), dst_rows, 32).

    A row that is no multiple of 32 bytes is filled with zeros. Rows beyond ``rows`` stay as they
    are.
    """

    name, pipe = "nd2nz", "MTE2"
    dst: int
    src: int
    rows: int
    bytes: int
    src_stride: int
    dst_rows: int


@dataclass(frozen=True)
class Load2D(Instruction):
    """L1 -> L0A or L0B: ``repeat`` fractals of 512 bytes.

    Fractal i is read from ``src`` + 512 * (start + i * stride) and written to ``dst`` +
    512 * i * (gap + 1).
    """

    name, pipe = "load2d", "MTE1"
    to: str  # L0A | L0B
    dst: int
    src: int
    repeat: int
    start: int = 0
    stride: int = 1
    gap: int = 0


@dataclass(frozen=True)
class Load3D(Instruction):
    """L1 -> L0A: img2col of an NC1HWC0 image (c1, h, w, 32) at ``src``.

    Rows m_start..m_start + m of the output positions, columns k_start..k_start + k of the K order
    (C1, Kh, Kw, 32). The padding of the image holds ``pad``.
    """

    name, pipe = "load3d", "MTE1"
    dst: int
    src: int
    c1: int
    h: int
    w: int
    kernel_h: int
    kernel_w: int
    m_start: int
    m: int
    k_start: int
    k: int
    stride_h: int = 1
    stride_w: int = 1
    dilation_h: int = 1
    dilation_w: int = 1
    pad_top: int = 0
    pad_left: int = 0
    pad_bottom: int = 0
    pad_right: int = 0
    pad: int = 0


@dataclass(frozen=True)
class LoadSparse(Instruction):
    """LoadDataWithSparse, L1 -> L0B and index buffer: ``repeat`` consecutive fractals.

    Dense fractals of 512 bytes from ``dense`` + 512 * start to ``dst``, and the index fractals of
    128 bytes from ``index`` + 128 * start to a quarter of ``dst`` in the index buffer. No stride,
    no transposition.
    """

    name, pipe = "load_sparse", "MTE1"
    dst: int
    dense: int
    index: int
    repeat: int
    start: int = 0


@dataclass(frozen=True)
class LoadBias(Instruction):
    """L1 -> bias table: ``bytes`` bytes, one int32 a column."""

    name, pipe = "load_bias", "MTE1"
    dst: int
    src: int
    bytes: int


@dataclass(frozen=True)
class LoadParams(Instruction):
    """L1 -> fixpipe buffer: ``bytes`` bytes, one 64-bit requantisation word a column."""

    name, pipe = "load_params", "FIX"
    dst: int
    src: int
    bytes: int


@dataclass(frozen=True)
class Mmad(Instruction):
    """C = A x B, dense. start: ``zero``, ``keep`` (add to what L0C holds) or ``bias``.

    dtype: of the operands, ``int8``, or ``float16``, which has a time and no values.
    """

    name, pipe = "mmad", "M"
    c: int
    a: int
    b: int
    m: int
    n: int
    k: int
    start: str = "zero"
    bias: int = 0
    unit_flag: int = 0
    dtype: str = "int8"


@dataclass(frozen=True)
class MmadSparse(Mmad):
    """MmadWithSparse: C = A x B, B being 2:4; k counts elements of A."""

    name = "mmad_sparse"


@dataclass(frozen=True)
class Fixpipe(Instruction):
    """L0C -> GM or L1: m x n results, as int32 or requantised.

    mode: ``int32``; ``req8`` and ``deqf16`` (one word for all columns: ``words`` is the word);
    ``vreq8`` and ``vdeqf16`` (one a column: ``words`` is their address in the fixpipe buffer);
    ``fp16``, fp32 results as fp16, which has a time and no values.
    relu: ``none``, ``relu`` or ``leaky`` (times ``alpha``). layout ``nd``: rows at a distance of
    ``stride`` elements; ``nz``: fractals (N1, stride / 16, 16, N0), N0 = 16, or 32 for int8.
    """

    name, pipe = "fixpipe", "FIX"
    to: str  # GM | L1
    dst: int
    src: int
    m: int
    n: int
    stride: int
    mode: str = "int32"
    words: int = 0
    relu: str = "none"
    alpha: float = 0.0
    layout: str = "nd"
    unit_flag: int = 0


@dataclass(frozen=True)
class SetFlag(Instruction):
    """Tell pipe ``to`` that pipe ``of`` has come here."""

    name, pipe = "set_flag", ""
    of: str
    to: str
    id: int


@dataclass(frozen=True)
class WaitFlag(Instruction):
    """Let pipe ``to`` wait until pipe ``of`` has set the flag; the flag is cleared."""

    name, pipe = "wait_flag", ""
    of: str
    to: str
    id: int


@dataclass(frozen=True)
class Barrier(Instruction):
    """Let pipe ``on`` finish what it has before it goes on."""

    name, pipe = "barrier", ""
    on: str


INSTRUCTIONS: dict[str, type[Instruction]] = {
    kind.name: kind
    for kind in (
        CopyIn, Nd2Nz, Load2D, Load3D, LoadSparse, LoadBias, LoadParams, Mmad, MmadSparse, Fixpipe,
        SetFlag, WaitFlag, Barrier,
    )
}  # fmt: skip


def k_step(mmad: Mmad) -> int:
    """k that the cube takes in one cycle: 32 int8, 64 of 2:4, 16 fp16 [ADK]."""
    if mmad.dtype == "float16":
        return 16
    return 64 if isinstance(mmad, MmadSparse) else 32


# --- what fields may say --------------------------------------------------------------------------

_UNIT_FLAGS = (0, 2, 3)
_MMAD_WORDS: Mapping[str, tuple[object, ...]] = {
    "start": ("zero", "keep", "bias"), "unit_flag": _UNIT_FLAGS, "dtype": ("int8", "float16"),
}  # fmt: skip

#: The words, and the numbers that stand for words, that fields take.
WORDS: Mapping[type[Instruction], Mapping[str, tuple[object, ...]]] = {
    Load2D: {"to": ("L0A", "L0B")},
    Mmad: _MMAD_WORDS,
    MmadSparse: _MMAD_WORDS,
    Fixpipe: {
        "to": ("GM", "L1"), "mode": tuple(RESULT_BYTES), "relu": RELUS, "layout": ("nd", "nz"),
        "unit_flag": _UNIT_FLAGS,
    },
    SetFlag: {"of": PIPES, "to": PIPES},
    WaitFlag: {"of": PIPES, "to": PIPES},
    Barrier: {"on": PIPES},
}  # fmt: skip

_MNK = dict.fromkeys(("m", "n", "k"), (0, LIMIT_MNK))

#: The numbers that fields take, both ends included; any other is a size, 0 to LARGEST, or an
#: address.
LIMITS: Mapping[type[Instruction], Mapping[str, tuple[int, int]]] = {
    Load2D: {
        "repeat": (0, LIMIT_REPEAT), "start": (0, LIMIT_STEP), "stride": (0, LIMIT_STEP),
        "gap": (0, LIMIT_STEP),
    },
    # [ADK, LoadData3DParamsV2]
    Load3D: {
        "c1": (1, LARGEST),
        **dict.fromkeys(("h", "w"), (1, 32767)),
        **dict.fromkeys(("kernel_h", "kernel_w", "dilation_h", "dilation_w"), (1, 255)),
        **dict.fromkeys(("stride_h", "stride_w"), (1, 63)),
        **dict.fromkeys(("pad_top", "pad_left", "pad_bottom", "pad_right"), (0, 255)),
        **dict.fromkeys(("m_start", "m", "k_start", "k"), (0, 65535)),
        "pad": (-128, 127),
    },
    LoadSparse: {"repeat": (0, LIMIT_REPEAT), "start": (0, LIMIT_STEP)},
    Mmad: _MNK,
    MmadSparse: _MNK,
    Fixpipe: {"m": (0, LIMIT_MNK), "n": (0, LIMIT_MNK), "words": (0, (1 << 64) - 1)},
    SetFlag: {"id": (0, FLAG_IDS - 1)},
    WaitFlag: {"id": (0, FLAG_IDS - 1)},
}  # fmt: skip


def problem(i: Instruction) -> str | None:
    """Why no unit can run an instruction, whatever its memories; None if there is no reason.

    Addresses are looked at by those who know the memories: what an instruction touches is said by
    access.py.
    """
    values = vars(i)
    for name, words, low, high in _TAKES.get(type(i)) or _takes(type(i)):
        value = values[name]
        if words:
            # 2.0 and True are equal to words, and none.
            if type(value) not in (int, str) or value not in words:
                return f"{name} is {shown(value)}; it takes {_list(map(str, words))}"
        elif name == "alpha":
            if type(value) not in (int, float) or not abs(value) <= _FP32_MAX:
                return f"alpha is {shown(value)}; it is a finite fp32 number"
        elif type(value) is not int:
            return f"{name} is {shown(value)}; it takes a whole number"
        elif high is not None and not low <= value <= high:
            return f"{name} is {shown(value)}; it takes {low} to {high}"
    relation = _RELATIONS.get(type(i))
    return None if relation is None else relation(i)


def _takes(kind: type[Instruction]) -> tuple[tuple[str, tuple[object, ...], int, int | None], ...]:
    """Of each field its name, the words that it takes, if it takes words, and the limits else."""
    words, limits, found = WORDS.get(kind, {}), LIMITS.get(kind, {}), []
    for spec in fields(kind):
        low, high = limits.get(spec.name, (0, None if spec.name in _ADDRESSES else LARGEST))
        found.append((spec.name, words.get(spec.name, ()), low, high))
    return tuple(found)


_TAKES = {kind: _takes(kind) for kind in INSTRUCTIONS.values()}


def _copy_in(i: CopyIn) -> str | None:
    if i.bursts > 1 and i.dst_stride < i.bytes:
        return f"dst_stride {i.dst_stride} is less than bytes {i.bytes}"
    return None


def _nd2nz(i: Nd2Nz) -> str | None:
    return f"dst_rows {i.dst_rows} is less than rows {i.rows}" if i.dst_rows < i.rows else None


_image_fields = attrgetter(*_core.Image._fields)


def image_of(i: Load3D) -> _core.Image:
    """The geometry of an img2col, as the C core takes it."""
    return _core.Image(*_image_fields(i))


@lru_cache
def _output_of(*fields: int) -> tuple[int, int] | None:
    """Output height and width of an image; programs have many Load3D of the same one."""
    return _core.image_output(_core.Image(*fields))


def _load3d(i: Load3D) -> str | None:
    output = _output_of(*_image_fields(i))
    if output is None:
        return "the kernel does not fit the image with its padding"
    if i.k % C0_BYTES or i.k_start % C0_BYTES:
        return f"k and k_start are multiples of {C0_BYTES}"
    rows, columns = output[0] * output[1], i.c1 * i.kernel_h * i.kernel_w * C0_BYTES
    if i.m_start + i.m > rows or i.k_start + i.k > columns:
        return f"this image gives {rows} rows and {columns} columns, no more"
    return None


def _fixpipe(i: Fixpipe) -> str | None:
    if i.relu == "leaky" and i.mode == "int32":
        return "a leaky ReLU needs a requantising mode"
    if not i.m or not i.n:
        return None
    if i.layout == "nd" and i.m > 1 and i.stride < i.n:
        return f"stride {i.stride} is less than n {i.n}"
    if i.layout == "nz" and (i.stride % N0 or i.stride < i.m):
        return (
            f"stride {i.stride} of nz is the rows of a fractal column: a multiple of {N0}, at "
            f"least m"
        )
    return None


_RELATIONS: Mapping[type[Instruction], Any] = {
    CopyIn: _copy_in, Nd2Nz: _nd2nz, Load3D: _load3d, Fixpipe: _fixpipe,
}  # fmt: skip


# --- programs -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Buffer:
    """A named piece of global memory: the program's inputs and outputs.

    Raises:
        ProgramError: a name that a line of text cannot hold.
    """

    name: str
    at: int
    bytes: int

    def __post_init__(self) -> None:
        """Refuse a name with white space or a comment in it."""
        if self.name.split() != [self.name] or "#" in self.name:
            raise ProgramError(f"buffer name {self.name!r}: a name has neither white space nor #")

    def __str__(self) -> str:
        """The buffer as a line of text."""
        return f"buffer name={self.name} at={self.at:#x} bytes={self.bytes}"


@dataclass(frozen=True)
class Program:
    """Buffers and instructions. Equal programs have equal text."""

    buffers: tuple[Buffer, ...]
    instructions: tuple[Instruction, ...]

    def __str__(self) -> str:
        """The program as text, which ``parse`` reads."""
        return "".join(f"{line}\n" for line in (*self.buffers, *self.instructions))

    def save(self, path: StrPath, *, overwrite: bool = False) -> None:
        """Write the program as text.

        Raises:
            FileAccessError: it is there already, or the system refuses.
        """
        write_bytes(path, str(self).encode(), overwrite=overwrite)

    @classmethod
    def parse(cls, text: str) -> Program:
        """Read a program from text.

        Raises:
            ProgramError: a line is no instruction; with its number.
        """
        buffers, instructions = [], []
        known: dict[str, Buffer | Instruction] = {}  # programs repeat many lines
        for number, line in enumerate(text.split("\n"), 1):
            words = line.partition("#")[0].split()
            if not words:
                continue
            item = known.get(line)
            if item is None:
                try:
                    item = known[line] = _parse(words)
                except ProgramError as error:
                    raise ProgramError(f"line {number}: {error}") from None
            if isinstance(item, Buffer):
                buffers.append(item)
            else:
                instructions.append(item)
        return cls(tuple(buffers), tuple(instructions))

    @classmethod
    def load(cls, path: StrPath) -> Program:
        """Read a program from a text file.

        Raises:
            FileAccessError: the system refuses.
            FileFormatError: it is no program; with the line.
        """
        text = read_text(path)
        try:
            return cls.parse(text)
        except ProgramError as error:
            raise FileFormatError(path, str(error)) from error


def _parse(words: list[str]) -> Buffer | Instruction:
    name, *rest = words
    kind: type[Any] | None = Buffer if name == "buffer" else INSTRUCTIONS.get(name)
    if kind is None:
        raise ProgramError(f"unknown instruction {name!r}; known: buffer, {_list(INSTRUCTIONS)}")
    specs = {spec.name: spec for spec in fields(kind)}
    values: dict[str, Any] = {}
    for word in rest:
        key, equals, text = word.partition("=")
        if key in specs and not text:
            raise ProgramError(f"{name}: {key} has no value; write {key}=VALUE, without spaces")
        if not equals or key not in specs:
            raise ProgramError(f"{name} has no field {shown(key)}; it has: {_list(specs)}")
        if key in values:
            raise ProgramError(f"{name}: field {key} stands twice")
        values[key] = _value(name, key, str(specs[key].type), text)
    missing = [key for key, spec in specs.items() if spec.default is MISSING and key not in values]
    if missing:
        raise ProgramError(f"{name} lacks {_list(missing)}")
    item: Buffer | Instruction = kind(**values)
    return item


def _value(name: str, key: str, kind: str, text: str) -> int | float | str:
    try:
        if kind == "int":
            return whole_of(text, 0)
        return real_of(text) if kind == "float" else text
    except ValueError:
        raise ProgramError(f"{name}: {key}={shortened(text)} is no number") from None


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)
