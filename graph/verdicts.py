"""Verdicts: which nodes of a model can have a sparse weight, and for each other one the reason.

The vendor's converter passes over what it cannot take without a word. Here each candidate has a
row: its sizes, how far its weight is from 2:4 and where it is not, what it costs in bytes and
cycles, and exactly one reason if it stays dense.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from math import prod
from typing import Literal

import numpy as np
import numpy.typing as npt

from cube24 import encoder
from cube24.encoder import DENSE_K0, Geometry, Kind
from cube24.errors import ArgumentError, Cube24Error, counted
from cube24.graph.lower import Cycles, can_time, cycles_of, layer_of, macs_of, smallest
from cube24.graph.model import Model
from cube24.graph.nodes import MENDABLE, Candidate, Reader, Reason, Weight
from cube24.simulator import Layer, Unit
from cube24.sizes import names as names_of
from cube24.sizes import round_up, truth, whole

#: Which of the layers that can be sparse are to be: all, or those that are faster then.
Select = Literal["legal", "faster"]

#: The operators of the vendor, by those of a model.
COMPRESSED = {
    "conv": "Conv2DCompress",
    "matrix": "MatMulV2Compress",
    "gemm": "FullyConnectionCompress",
}


@dataclass(frozen=True)
class Pattern:
    """How far a weight is from 2:4.

    illegal of groups have more than two non-zeros; first: the coordinates, in (N, K) or
    (Cout, Cin, Kh, Kw), where the first of them begins; None: there is none.
    """

    illegal: int
    groups: int
    first: tuple[int, ...] | None


@dataclass(frozen=True)
class Bytes:
    """Bytes of a weight: as int8; and its dense and index arrays together, in both layouts."""

    int8: int
    nd: int
    zn_dense: int
    zn: int


@dataclass(frozen=True, eq=False)
class Verdict:
    """What becomes of a candidate.

    Attributes:
        candidate: the node; ``name``, ``op`` and so on are its.
        compressed: the operator that it becomes; empty if it stays dense.
        reason: why it stays dense, of the closed list; None: it is sparse.
        detail: the reason in words.
        pattern, bytes: of its weight; None where there is none.
        layer: what it computes; None: a size is open, or it stays dense for another reason.
        cycles: of the layer, None where there is no layer, or one that no memory holds, or nobody
            asked.
        macs: its multiplications as a dense computation; None: a size is open.
    """

    candidate: Candidate
    compressed: str
    reason: Reason | None = None
    detail: str = ""
    pattern: Pattern | None = None
    bytes: Bytes | None = None
    layer: Layer | None = None
    cycles: Cycles | None = None
    macs: int | None = None

    @property
    def sparse(self) -> bool:
        """Whether its weight is to be sparse."""
        return self.reason is None

    @property
    def mendable(self) -> bool:
        """Whether it is dense and need not be: pruning or quantising the model would mend it."""
        return self.reason in MENDABLE

    @property
    def shape(self) -> tuple[int, ...] | None:
        """(N, K) or (Cout, Cin, Kh, Kw) of its weight."""
        weight = self.candidate.weight
        return None if weight is None else tuple(weight.values.shape)

    @property
    def offset_x(self) -> int | None:
        """The zero point of its activations as int8."""
        product = self.candidate.product
        return None if product is None else product.offset

    @property
    def larger(self) -> bool:
        """Whether its bytes in Zn are more than those of the int8 weight."""
        return self.bytes is not None and self.bytes.zn > self.bytes.int8


def judge(
    reader: Reader,
    *,
    select: Select = "legal",
    skip: Sequence[str] = (),
    skip_type: Sequence[str] = (),
    unit: Unit,
    cores: int = 1,
    timed: bool = True,
    progress: Callable[[int], object] = lambda done: None,
) -> tuple[Verdict, ...]:
    """The verdict on each candidate of a model.

    Args:
        reader: of the model.
        select: ``legal``: all that can be sparse; ``faster``: those that take fewer cycles then.
        skip: patterns of names of nodes that stay dense, with ``*`` and ``?``.
        skip_type: patterns of their operators.
        unit: that runs the layers.
        cores: of the unit.
        timed: whether to count the cycles; ``faster`` counts them anyway.
        progress: told after each candidate.

    Raises:
        ArgumentError: an option that does not exist, cores without a time, or ``faster`` with
            open sizes.
    """
    if select not in ("legal", "faster"):
        raise ArgumentError(f"select {select!r}: choose 'legal' or 'faster'")
    cores = whole(cores, "cores", 1)
    skip, skip_type = patterns(skip, "skip"), patterns(skip_type, "skip_type")
    timed = truth(timed, "timed") or select == "faster"
    if cores > 1 and not timed:
        raise ArgumentError(f"cores {cores}: they matter for the cycles only; say timed=True")
    found = []
    times: dict[Layer, Cycles] = {}  # networks repeat their layers
    for candidate in reader.candidates():
        verdict = _verdict(candidate, reader, unit)
        layer = verdict.layer
        if verdict.sparse and timed and layer is not None and can_time(layer):
            if layer not in times:
                times[layer] = cycles_of(layer, unit, cores)
            verdict = replace(verdict, cycles=times[layer])
        if matches(candidate, skip, skip_type):
            verdict = replace(verdict, reason="skipped", detail="it was to be left alone")
        elif select == "faster" and verdict.sparse:
            verdict = _faster(verdict, reader.model)
        found.append(verdict if verdict.sparse else replace(verdict, compressed=""))
        progress(1)
    return tuple(found)


def patterns(values: Sequence[str], what: str) -> tuple[str, ...]:
    """Patterns from outside, each once; what: they are, for the message.

    Raises:
        ArgumentError: they are no list or tuple of texts.
    """
    if isinstance(values, list | tuple):
        values = tuple(dict.fromkeys(values))  # one that is given twice is one
    return names_of(values, what) if values else ()


def matches(candidate: Candidate, names: Sequence[str], types: Sequence[str]) -> bool:
    """Whether one of the patterns is of a candidate's name, or of its operator without a domain."""
    op = candidate.op.rpartition(".")[2]
    return any(fnmatchcase(candidate.name, name) for name in names) or any(
        fnmatchcase(op, kind) for kind in types
    )


def _verdict(candidate: Candidate, reader: Reader, unit: Unit) -> Verdict:
    kind = "gemm" if candidate.op.endswith("Gemm") else candidate.kind
    macs = macs_of(candidate, reader.shapes)
    verdict = Verdict(candidate, COMPRESSED[kind], candidate.reason, candidate.detail, macs=macs)
    weight = candidate.weight
    if weight is None:
        return verdict
    pattern = pattern_of(weight.values, candidate.kind)
    verdict = replace(verdict, pattern=pattern, bytes=bytes_of(weight, candidate.kind))
    if candidate.product is None:
        return verdict
    if pattern.illegal:
        reason, detail = _not_legal(weight, candidate.kind, pattern)
        return replace(verdict, reason=reason, detail=detail)
    try:
        layer = layer_of(candidate, reader.shapes)
        unit.time(smallest(candidate.product) if layer is None else layer, sparse=True, bias=True)
    except Cube24Error as error:
        return replace(verdict, reason="unit-limit", detail=str(error))
    return replace(verdict, layer=layer)


def _faster(verdict: Verdict, model: Model) -> Verdict:
    cycles = verdict.cycles
    if cycles is None:
        raise ArgumentError(
            f"{model.path}: node {verdict.candidate.name!r} has activations of a size that is "
            f"open, or beyond all memories, so which is faster is not known; give --input-shape"
        )
    if cycles.faster:
        return verdict
    detail = f"{cycles.sparse} cycles, and {cycles.dense} with a dense weight"
    return replace(verdict, reason="slower", detail=detail)


# --- 2:4 ------------------------------------------------------------------------------------------


def pattern_of(values: npt.NDArray[np.generic], kind: Kind) -> Pattern:
    """How far a weight of any number type is from 2:4."""
    mask = (values != 0).astype(np.int8)
    report = encoder.check(mask, kind=kind, limit=1)
    first = report.offenders[0].coordinates if report.offenders else None
    return Pattern(report.violations, report.groups, first)


def _not_legal(weight: Weight, kind: Kind, pattern: Pattern) -> tuple[Reason, str]:
    values = weight.values
    detail = (
        f"{pattern.illegal} of {counted(pattern.groups, 'group')} have more than two non-zeros, "
        f"the first at {pattern.first}"
    )
    if kind == "conv":
        flat = values.reshape(len(values), -1)
        if prod(values.shape[2:]) > 1 and not pattern_of(flat, "matrix").illegal:
            return (
                "flattened-2:4",
                f"2:4 along Cin*Kh*Kw only, and it has to be along Cin: {detail}",
            )
        across = values.transpose(1, 2, 3, 0).reshape(-1, len(values))
    else:
        across = values.T
    if not pattern_of(across, "matrix").illegal:
        axes = ("Cout", "Cin") if kind == "conv" else ("N", "K")
        return "wrong-axis", f"2:4 along {axes[0]}, and it has to be along {axes[1]}: {detail}"
    return "not-2:4", detail


def bytes_of(weight: Weight, kind: Kind) -> Bytes:
    """Bytes of a weight in all forms."""
    shape = weight.values.shape
    nd, zn = Geometry(shape, kind, "nd"), Geometry(shape, kind, "zn")
    sizes = [
        prod(nd.dense_shape) + prod(nd.index_shape),
        prod(zn.dense_shape) + prod(zn.index_shape),
    ]
    dense = round_up(zn.k, DENSE_K0) * zn.n_stored  # fractals of 16 columns and 32 of K
    return Bytes(prod(shape), sizes[0], dense, sizes[1])
