"""The steps of a case: what the buffers of the unit hold around each Mmad.

For benches that look inside. The program of the case runs on the machine, instruction by
instruction; for Mmad number NNNN the files are

    steps/NNNN-l0a     what it reads: Zz fractals (M1, K1, 16, 32)
    steps/NNNN-l0b     what it reads: Zn fractals (K1, N1, 16, 32)
    steps/NNNN-index   beside them in the index buffer: (K1, N1, 16, 8)
    steps/NNNN-l0c     what it leaves, the partial sums of its tile: Nz fractals (N1, M1, 16, 16)
    steps/img2col      of a convolution: the matrix that Load3D delivers, (batch * Ho * Wo, K)
    steps/steps.json   for each Mmad: its text, its tile, and where in K it stands

Images are whole fractals, and the machine starts with zeroed memories. Beyond m, n and k they hold
what was left there; no result depends on it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cube24.encoder import N0, ZN_K
from cube24.errors import ArgumentError
from cube24.simulator import dealing, isa, layouts, machine
from cube24.sizes import ceil_div
from cube24.vectors.case import Array, Case, CaseArray

FOLDER = "steps"

#: Bytes that the steps of a case may take, before they are written in any format.
LIMIT = 64 << 20


class MmadStep(NamedTuple):
    """A Mmad of a program: its number among them, its place, its tile, and the k before it."""

    number: int
    at: int
    instruction: isa.Mmad
    tile: int
    piece: dealing.Piece
    k_start: int

    @property
    def sizes(self) -> tuple[int, int, int]:
        """M1, N1 and K1: rows, columns and steps of k in fractals."""
        i = self.instruction
        return ceil_div(i.m, N0), ceil_div(i.n, N0), ceil_div(i.k, ZN_K)

    @property
    def nbytes(self) -> int:
        """Bytes of its images."""
        m1, n1, k1 = self.sizes
        return 1024 * m1 * k1 + (512 + 128) * k1 * n1 + 1024 * n1 * m1


def mmads_of(case: Case) -> Iterator[MmadStep]:
    """The Mmads of the program of a case, in order."""
    plan = case.run.plan
    assert plan is not None  # every size of a case is 1 or more
    (pieces,) = dealing.deal(plan, 1)
    number, tile, k_start = 0, -1, 0
    for at, i in enumerate(case.run.program.instructions):
        if not isinstance(i, isa.Mmad):
            continue
        if i.start != "keep":
            tile, k_start = tile + 1, 0
        yield MmadStep(number, at, i, tile, pieces[tile], k_start)
        number, k_start = number + 1, k_start + i.k


def mmad_k(case: Case) -> list[int]:
    """The k of each Mmad of one tile of the result, in order; all tiles of a case have the same."""
    tiles: dict[int, list[int]] = {}
    for mmad in mmads_of(case):
        tiles.setdefault(mmad.tile, []).append(mmad.instruction.k)
    first, *others = tiles.values()
    assert all(other == first for other in others)  # k is cut before rows and columns are dealt
    return first


def steps_of(case: Case, limit: int = LIMIT) -> dict[str, CaseArray | bytes]:
    """The steps of a case by name: arrays, for any format, and steps.json as it is.

    A case whose outcome is an error has none.

    Args:
        case: any case.
        limit: bytes that they may take.

    Raises:
        ArgumentError: they would take more.
    """
    if case.outcome["kind"] == "error":
        return {}
    mmads = list(mmads_of(case))
    image, plan = case.spec["operation"] == "conv2d", case.run.plan
    assert plan is not None
    rows = plan.problem.batch * plan.problem.m
    total = sum(mmad.nbytes for mmad in mmads) + image * rows * plan.problem.k
    if total > limit:
        raise ArgumentError(
            f"{case.suite}/{case.name}: its steps take {total} bytes, more than {limit}; ask for "
            f"those of a smaller case"
        )
    pieces: dict[str, CaseArray | bytes] = {}
    matrix = np.zeros((rows, plan.problem.k), np.int8)
    for mmad, images in _run(case, mmads):
        for what, piece in images.items():
            pieces[f"{FOLDER}/{mmad.number:04d}-{what}"] = piece
        if image:
            _collect(matrix, mmad, images["l0a"].array, plan.problem.m)
    if image:
        pieces[f"{FOLDER}/img2col"] = CaseArray(matrix, "nd")
    pieces[f"{FOLDER}/steps.json"] = _text(mmads)
    return pieces


def places_of(case: Case) -> dict[str, dict[str, Any]]:
    """Where each array of the steps stands, and which part of it counts, by its name.

    Of a Mmad: its number, the buffer and the address that it names there, and of the fractals
    those rows, columns and elements of K that the result depends on, from the first of each.
    """
    found: dict[str, dict[str, Any]] = {}
    if case.outcome["kind"] == "error":
        return found
    for mmad in mmads_of(case):
        i = mmad.instruction
        for what, buffer, address, valid in (
            ("l0a", "L0A", i.a, {"m": i.m, "k": i.k}), ("l0b", "L0B", i.b, {"n": i.n, "k": i.k}),
            ("index", "INDEX", i.b // 4, {"n": i.n, "k": i.k}),
            ("l0c", "L0C", i.c, {"m": i.m, "n": i.n}),
        ):  # fmt: skip
            found[f"{FOLDER}/{mmad.number:04d}-{what}"] = {
                "image": what, "mmad": mmad.number, "buffer": buffer, "address": address,
                "valid": valid,
            }  # fmt: skip
    if case.spec["operation"] == "conv2d":
        assert case.run.plan is not None
        of = case.run.plan.problem
        found[f"{FOLDER}/img2col"] = {
            "image": "img2col",
            "valid": {"m": of.batch * of.m, "k": of.k},
        }
    return found


def _run(case: Case, mmads: list[MmadStep]) -> Iterator[tuple[MmadStep, dict[str, CaseArray]]]:
    """Run the program, and stop at each Mmad."""
    program, run = case.run.program, case.run
    inputs = {name: data for name, data in run.buffers.items() if name != "output"}
    unit = machine.load_buffers(program, inputs, run.config)
    done = 0
    for mmad in mmads:
        unit.run(program.instructions[done : mmad.at])
        i, (m1, n1, k1) = mmad.instruction, mmad.sizes
        images = {
            "l0a": CaseArray(_image(unit, "L0A", i.a, np.int8, (m1, 2 * k1, N0, 32)), "zz"),
            "l0b": CaseArray(_image(unit, "L0B", i.b, np.int8, (k1, n1, N0, 32)), "zn"),
            "index": CaseArray(_image(unit, "INDEX", i.b // 4, np.uint8, (k1, n1, N0, 8)), "zn"),
        }
        done = mmad.at + 1
        unit.run((i,))
        images["l0c"] = CaseArray(_image(unit, "L0C", i.c, np.int32, (n1, m1, N0, N0)), "nz")
        yield mmad, images


def _image(
    unit: machine.Machine, memory: str, at: int, dtype: npt.DTypeLike, shape: tuple[int, ...]
) -> Array:
    """A copy of a stretch of a memory."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return unit.memories[memory][at : at + size].view(dtype).reshape(shape).copy()


def _collect(matrix: npt.NDArray[np.int8], mmad: MmadStep, l0a: Array, m: int) -> None:
    """Put the rows that a Mmad reads where they stand in the img2col matrix."""
    rows = layouts.from_zz(l0a)
    i, at = mmad.instruction, mmad.piece.batch * m + mmad.piece.m_start
    matrix[at : at + i.m, mmad.k_start : mmad.k_start + i.k] = rows[: i.m, : i.k]


def _text(mmads: list[MmadStep]) -> bytes:
    steps: list[dict[str, Any]] = [
        {
            "step": mmad.number, "instruction": mmad.at, "text": str(mmad.instruction),
            "tile": mmad.tile, "batch": mmad.piece.batch, "m_start": mmad.piece.m_start,
            "m": mmad.instruction.m, "n_start": mmad.piece.n_start, "n": mmad.instruction.n,
            "k_start": mmad.k_start, "k": mmad.instruction.k,
        }
        for mmad in mmads
    ]  # fmt: skip
    return (json.dumps(steps, indent=1) + "\n").encode()
