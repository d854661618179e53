"""Requantisation behind the operators of a compiled model: by standard nodes, or by FIXPIPE.

The nodes Cast, Mul, (Clip,) QuantizeLinear behind an operator give what onnxruntime's quantised
operators do: fp32(sum) times an fp32 scale, rounded half to even, moved by the zero point. FIXPIPE
does the same with a scale of 10 bits of mantissa, rounded to nearest here, so that some results are
off by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cube24.errors import ArgumentError, FileFormatError
from cube24.graph.folding import Array, Constants
from cube24.graph.operators import Operator
from cube24.graph.protos import STANDARD, attribute, onnx
from cube24.graph.rounding import to_unit_scale
from cube24.simulator import Requant, UnitConfig


@dataclass(frozen=True, eq=False)
class Ending:
    """The nodes behind an operator that requantise its sums.

    Attributes: nodes; y, the value that they make; scale, fp32 (N,); zero and dtype, of y.
    """

    nodes: tuple[Any, ...]
    y: str
    scale: npt.NDArray[np.float32]
    zero: int
    dtype: np.dtype[Any]

    @property
    def rounded(self) -> bool:
        """Whether the scale is one that a word of the unit holds."""
        return bool(np.array_equal(self.scale, to_unit_scale(self.scale)))

    def exact(self, sums: npt.NDArray[np.int32], axis: int) -> npt.NDArray[Any]:
        """What the nodes make of sums; axis: that of the columns."""
        along = [1] * sums.ndim
        along[axis] = -1
        limits = np.iinfo(self.dtype)
        with np.errstate(over="ignore"):
            scaled = sums.astype(np.float32) * self.scale.reshape(along)
        clipped = np.clip(scaled, limits.min - self.zero, limits.max - self.zero)
        moved = np.rint(clipped).astype(np.int64) + self.zero
        return np.asarray(moved, self.dtype)

    def requant(self, name: str, path: str, config: UnitConfig) -> Requant:
        """The words for FIXPIPE.

        Raises:
            FileFormatError: a scale or a zero point that no word of the unit holds.
        """
        try:
            made = Requant(
                to_unit_scale(self.scale), self.zero, signed=self.dtype == np.dtype(np.int8)
            )
            made.words(config)
        except ArgumentError as error:
            raise FileFormatError(
                path, f"node {name!r}: FIXPIPE cannot requantise it: {error}; say requant='exact'"
            ) from error
        return made


class Endings:
    """Finds them in the main graph of a model."""

    def __init__(self, constants: Constants) -> None:
        """Take the constants of the model."""
        self._constants, self._scope = constants, constants.model.main
        self._readers: dict[str, Any] = {}
        for node in self._scope.graph.node:
            self._readers.update((name, node) for name in node.input if name)

    def behind(self, operator: Operator) -> Ending | None:
        """What requantises the sums of an operator, all of it and nothing else; None: nothing."""
        nodes: list[Any] = []
        cast = self._next(operator.y, "Cast", nodes)
        if cast is None or attribute(cast, "to") != onnx().TensorProto.FLOAT:
            return None
        mul = self._next(cast.output[0], "Mul", nodes)
        if mul is None or mul.input[0] != cast.output[0]:
            return None
        scale = self._columns(mul.input[1], operator)
        at = mul.output[0]
        clip = self._next(at, "Clip", nodes)
        if clip is not None:
            at = clip.output[0]
        end = self._next(at, "QuantizeLinear", nodes)
        if scale is None or end is None or end.input[0] != at or attribute(end, "block_size", 0):
            return None
        one = self._get(end.input[1])
        zero = self._get(end.input[2]) if len(end.input) > 2 else np.zeros((), np.uint8)
        if one is None or zero is None or one.size != 1 or zero.size != 1 or one.reshape(()) != 1:
            return None
        if zero.dtype not in (np.dtype(np.int8), np.dtype(np.uint8)):
            return None
        point = int(zero.reshape(()))
        if clip is not None and not self._cuts_nothing(clip, point, zero.dtype):
            return None
        return Ending(tuple(nodes), end.output[0], scale, point, zero.dtype)

    def _get(self, name: str) -> Array | None:
        return self._constants.get(self._scope, name)

    def _next(self, name: str, op: str, nodes: list[Any]) -> Any | None:
        """The node that reads a value, if it is of this operator and nothing else reads it."""
        node = self._readers.get(name)
        if node is None or self._scope.users[name] != 1:
            return None
        if node.op_type != op or node.domain not in STANDARD or list(node.input).count(name) != 1:
            return None
        nodes.append(node)
        return node

    def _columns(self, name: str, operator: Operator) -> npt.NDArray[np.float32] | None:
        """The scale of each column of sums, where a constant is that."""
        scale, n = self._get(name), operator.weight.shape[0]
        if scale is None or scale.dtype != np.float32:
            return None
        wide: Sequence[int] = (1, n, 1, 1) if operator.window is not None else (n,)
        if scale.size != 1 and scale.shape != tuple(wide):
            return None
        if scale.ndim > len(wide):
            return None
        return np.array(np.broadcast_to(scale.reshape(-1), (n,)))

    def _cuts_nothing(self, clip: Any, zero: int, dtype: np.dtype[Any]) -> bool:
        """Whether a Clip cuts no more than the type of the result does."""
        limits = np.iinfo(dtype)
        bounds = [self._get(name) if name else None for name in list(clip.input)[1:3]]
        if len(bounds) != 2 or any(bound is None or bound.size != 1 for bound in bounds):
            return False
        low, high = (float(np.asarray(bound).reshape(())) for bound in bounds)
        return low == limits.min - zero and high == limits.max - zero
