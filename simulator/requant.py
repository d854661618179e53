"""Requantisation in FIXPIPE: parameter words, and what they make of int32 accumulators.

A word is 64 bits [ADK]: 31:13 the scale, an fp32 whose low 13 bits are dropped; 35:32 the field N
of a right shift; 36 MCB, which turns the shift on; 45:37 the offset; 46 whether the result is
signed. All arithmetic is single fp32 operations, so every machine gives the same bits. The C core
(csrc/requant.c) reads and writes words and computes; here is what users say, and what they may not.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cube24 import _core
from cube24.errors import ArgumentError, Cube24Error, DtypeError, ShapeError
from cube24.simulator.config import UnitConfig
from cube24.sizes import truth, whole

_LEAST_SCALE = 2.0**-136  # the subnormal whose lowest kept bit is set

MODES = ("REQ8", "DEQF16")


class RequantError(Cube24Error, ValueError):
    """A parameter word that has no meaning, such as one with an infinite scale."""


@dataclass(frozen=True, eq=False)
class Requant:
    """How results become int8 (REQ8) or fp16 (DEQF16).

    Attributes:
        scale: float, or one a column (N,); the low 13 of the 23 mantissa bits are dropped:
            ``effective_scale`` is what is left.
        offset: integer, or one a column; REQ8 only. 9 bits.
        signed: int8 if True, uint8 if False; REQ8 only.
        relu: False, True (negative results become zero), or the slope of a leaky ReLU, by which a
            negative accumulator is multiplied in place of the scale.
        mode: ``REQ8`` or ``DEQF16``.
        shift: 0 for none, or the right shift, 1 to 16, before scaling, to int16; REQ8 only.

    Raises:
        ArgumentError: a value that a word cannot hold, such as a scale that would be infinite or,
            not being zero, zero.
        ShapeError: scale or offset of more than one dimension, or of different lengths.
    """

    scale: float | npt.NDArray[Any]
    offset: int | npt.NDArray[Any] = 0
    signed: bool = True
    relu: bool | float = False
    mode: str = "REQ8"
    shift: int = 0

    def __post_init__(self) -> None:
        """Refuse what a word cannot hold; keep arrays as they are now."""
        for name in ("scale", "offset"):
            if np.ndim(getattr(self, name)):
                object.__setattr__(self, name, _frozen(np.array(getattr(self, name))))
        if self.mode not in MODES:
            raise ArgumentError(f"requant mode {self.mode!r}: choose one of {', '.join(MODES)}")
        scale, offset = np.asarray(self.scale), np.asarray(self.offset)
        if not np.issubdtype(scale.dtype, np.floating) and not np.issubdtype(
            scale.dtype, np.integer
        ):
            raise DtypeError(f"scale has dtype {scale.dtype}; it takes real numbers")
        if not isinstance(self.relu, bool | np.bool_ | float | np.floating):
            raise ArgumentError(f"relu is {self.relu!r}; it is True, False or a slope as a float")
        if scale.ndim > 1 or offset.ndim > 1:
            raise ShapeError("scale and offset are one number each, or one a column")
        if scale.ndim and offset.ndim and scale.shape != offset.shape:
            raise ShapeError(f"scale has shape {scale.shape}, offset {offset.shape}")
        self._demand_scale(scale)
        if not np.issubdtype(offset.dtype, np.integer):
            raise DtypeError(f"offset has dtype {offset.dtype}; it takes integers")
        if (offset < -256).any() or (offset > 511).any():
            raise ArgumentError("offset does not fit 9 bits")
        shift = whole(self.shift, "shift", -(1 << 40), 1 << 40)
        if shift not in range(17):
            raise ArgumentError(f"shift {shift}: 0 for none, or 1 to 16")
        object.__setattr__(self, "shift", shift)
        object.__setattr__(self, "signed", truth(self.signed, "signed"))
        if self.mode == "DEQF16" and (offset.any() or self.shift):
            raise ArgumentError("DEQF16 has neither offset nor shift")
        with np.errstate(over="ignore"):
            slope = np.float32(self.relu)
        if not np.isfinite(slope):
            raise ArgumentError("the slope of a leaky ReLU is not finite in fp32")
        if slope == 0 and self.relu != 0:
            raise ArgumentError(f"the slope of a leaky ReLU is {self.relu}, which is zero in fp32")

    def _demand_scale(self, scale: npt.NDArray[Any]) -> None:
        """Refuse a scale that a word holds as infinite, or as zero, which it is not."""
        with np.errstate(over="ignore", under="ignore"):
            kept = _kept(scale)
        for bad, what in (
            (~np.isfinite(kept), "not finite in fp32"),
            ((kept == 0) & (scale != 0), f"zero in a word, whose least scale is {_LEAST_SCALE}"),
        ):
            if bad.any():
                column = int(np.flatnonzero(bad)[0])
                where = f" of column {column}" if scale.ndim else ""
                raise ArgumentError(f"scale {scale.reshape(-1)[column]}{where} is {what}")

    @property
    def effective_scale(self) -> float | npt.NDArray[np.float32]:
        """The scale as the unit reads it, without the low 13 bits of fp32; fp32 if one a column."""
        kept = _kept(np.asarray(self.scale))
        return kept if kept.ndim else float(kept)

    @property
    def per_column(self) -> bool:
        """Whether there is one word a column."""
        return np.ndim(self.scale) > 0 or np.ndim(self.offset) > 0

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the result."""
        if self.mode == "DEQF16":
            return np.dtype(np.float16)
        return np.dtype(np.int8 if self.signed else np.uint8)

    @property
    def relu_mode(self) -> str:
        """``none``, ``relu`` or ``leaky``."""
        if isinstance(self.relu, bool | np.bool_):
            return "relu" if self.relu else "none"
        return "leaky"

    @property
    def alpha(self) -> float:
        """The slope of a leaky ReLU, else 0."""
        return 0.0 if isinstance(self.relu, bool | np.bool_) else float(np.float32(self.relu))

    def words(self, config: UnitConfig) -> npt.NDArray[np.uint64]:
        """The parameter words, uint64 (1,) or (N,).

        Raises:
            ArgumentError: an offset or shift that this unit's reading of a word cannot express.
        """
        rules = (config.requant_offset, config.requant_shift)
        if rules not in self._known:
            self._known[rules] = _frozen(self._words(*rules))
        return self._known[rules]

    @cached_property
    def _known(self) -> dict[tuple[str, str], npt.NDArray[np.uint64]]:
        """The words, by what a unit reads in them."""
        return {}

    def _words(self, offset_rule: str, shift_rule: str) -> npt.NDArray[np.uint64]:
        scale = np.atleast_1d(np.asarray(self.scale))
        offset = np.atleast_1d(np.asarray(self.offset))
        fields = np.zeros(np.broadcast_shapes(scale.shape, offset.shape), _core.WORD)
        fields["scale"], fields["offset"] = scale, offset
        fields["shifts"], fields["shift"] = self.shift != 0, self.shift
        fields["is_signed"] = self.signed and self.mode == "REQ8"
        words = _core.write_words(fields, _reading(offset_rule, shift_rule))
        if not isinstance(words, int):
            return words
        low, high = (-256, 255) if offset_rule == "signed" else (0, 511)
        if (offset < low).any() or (offset > high).any():
            raise ArgumentError(f"offset is not in {low}..{high}, which this unit reads")
        raise ArgumentError(f"shift {self.shift} does not fit four bits on this unit")

    @cached_property
    def columns(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
        """Scales as the unit reads them, and offsets: one of each, or one a column."""
        scale = np.atleast_1d(_kept(np.asarray(self.scale)))
        offset = np.atleast_1d(np.asarray(self.offset)).astype(np.int32)
        size = np.broadcast_shapes(scale.shape, offset.shape)
        return (
            _frozen(np.ascontiguousarray(np.broadcast_to(scale, size))),
            _frozen(np.ascontiguousarray(np.broadcast_to(offset, size))),
        )


def _frozen(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The array, which nobody writes from now on."""
    array.flags.writeable = False
    return array


def _reading(offset_rule: str, shift_rule: str) -> int:
    """How a unit reads words, as flags."""
    return (offset_rule == "unsigned") * _core.OFFSET_UNSIGNED | (shift_rule == "n") * _core.SHIFT_N


def _kept(scale: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Scales with the bits that a word keeps of them: written, and read again."""
    fields = np.zeros(scale.size, _core.WORD)
    fields["scale"] = scale.reshape(-1)
    words = np.asarray(_core.write_words(fields, 0), np.uint64)
    return np.array(_core.read_words(words, 0)["scale"]).reshape(scale.shape)


class Fields(NamedTuple):
    """What parameter words say, an array each of their shape.

    scale: M1, fp32. mcb: whether the shift is done; shift: by how many bits to the right. offset.
    signed: whether the result is int8, not uint8.
    """

    scale: npt.NDArray[np.float32]
    mcb: npt.NDArray[np.bool_]
    shift: npt.NDArray[np.int64]
    offset: npt.NDArray[np.int64]
    signed: npt.NDArray[np.bool_]


def read_words(words: npt.NDArray[np.uint64], config: UnitConfig) -> npt.NDArray[Any]:
    """Read parameter words (n,), as a unit reads them, into the structures of the C core, (n,)."""
    return _core.read_words(
        np.ascontiguousarray(words), _reading(config.requant_offset, config.requant_shift)
    )


def fields_of(words: npt.NDArray[np.uint64], config: UnitConfig) -> Fields:
    """Read parameter words, as a unit reads them."""
    of = read_words(words, config)
    return Fields(
        np.array(of["scale"]),
        of["shifts"].astype(bool),
        of["shift"].astype(np.int64),
        of["offset"].astype(np.int64),
        of["is_signed"].astype(bool),
    )


def requantise(
    accumulators: npt.NDArray[np.int32],
    words: npt.NDArray[np.uint64],
    config: UnitConfig,
    relu: str = "none",
    alpha: float = 0.0,
) -> npt.NDArray[np.uint8]:
    """REQ8 and VREQ8: (..., n) int32 with words (1,) or (n,) to bytes, int8 or uint8.

    Raises:
        RequantError: a scale that is not finite.
    """
    out = np.empty(accumulators.shape, np.uint8)
    flags = _reading(config.requant_offset, config.requant_shift)
    _demand(words, _core.requantise(*_matrix(accumulators, words), *_relu(relu, alpha, flags), out))
    return out


def dequantise(
    accumulators: npt.NDArray[np.int32],
    words: npt.NDArray[np.uint64],
    relu: str = "none",
    alpha: float = 0.0,
) -> npt.NDArray[np.float16]:
    """DEQF16 and VDEQF16: (..., n) int32 with words (1,) or (n,) to fp16.

    Raises:
        RequantError: a scale that is not finite.
    """
    out = np.empty(accumulators.shape, np.float16)
    _demand(words, _core.dequantise(*_matrix(accumulators, words), *_relu(relu, alpha, 0), out))
    return out


def _matrix(
    accumulators: npt.NDArray[np.int32], words: npt.NDArray[np.uint64]
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint64]]:
    """Accumulators and words as the core takes them."""
    rows = np.ascontiguousarray(accumulators, np.int32)
    n = rows.shape[-1]
    return rows.reshape(rows.size // n if n else 0, n), np.ascontiguousarray(words)


def _relu(relu: str, alpha: float, flags: int) -> tuple[float, int]:
    """The slope below zero, and the flags."""
    if relu == "none":
        return 0.0, flags
    return (0.0 if relu == "relu" else float(alpha)), flags | _core.RELU


def _demand(words: npt.NDArray[np.uint64], refused: int | None) -> None:
    if refused is not None:
        word = int(words[refused])
        raise RequantError(f"word {refused} is {word:#x}: its scale is not finite")
