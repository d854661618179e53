"""The writer: the program of a plan, tile by tile.

Loads to L1 are written one step ahead of what reads them, so that a short queue does not hold them
back. A piece of activations or weights that the next step needs again stays in L1. The flags of
double buffers keep the pipes apart (_Ring).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cube24.encoder import C0
from cube24.simulator import isa
from cube24.simulator.config import UnitConfig
from cube24.simulator.dealing import Piece
from cube24.simulator.tiler import Plan, Problem, Tile, TilingError, choose_tile
from cube24.sizes import ceil_div, round_up, shown


def plan_for(problem: Problem, config: UnitConfig, tile: Tile | None = None) -> Plan:
    """A plan with the tile, or with a chosen one.

    Raises:
        TilingError: the tile is impossible, or does not fit the memories.
    """
    if not isinstance(tile, Tile | None):
        raise TilingError(f"tile is {shown(tile)}; it takes a Tile")
    plan = Plan(problem, config, tile or choose_tile(problem, config))
    plan.check()
    return plan


class _Ring:
    """The halves of a double buffer between two pipes, and the flags that hand them over."""

    def __init__(self, producer: str, consumer: str, slots: int = 2, first_id: int = 0) -> None:
        self._producer, self._consumer = producer, consumer
        self._slots, self._first_id = slots, first_id
        self._filled = self._emptied = 0

    def filling(self) -> int:
        """The slot that is filled next."""
        return self._filled % self._slots

    def emptying(self) -> int:
        """The slot that is emptied next."""
        return self._emptied % self._slots

    def fill(self) -> Iterator[isa.Instruction]:
        """Before filling: wait until the slot was emptied, if it was ever filled."""
        if self._filled >= self._slots:
            yield isa.WaitFlag(self._consumer, self._producer, self._first_id + self.filling())

    def filled(self) -> Iterator[isa.Instruction]:
        """After filling."""
        yield isa.SetFlag(self._producer, self._consumer, self._first_id + self.filling())
        self._filled += 1

    def use(self) -> Iterator[isa.Instruction]:
        """Before emptying: wait until the slot was filled."""
        yield isa.WaitFlag(self._producer, self._consumer, self._first_id + self.emptying())

    def emptied(self) -> Iterator[isa.Instruction]:
        """After emptying."""
        yield isa.SetFlag(self._consumer, self._producer, self._first_id + self.emptying())
        self._emptied += 1

    def drain(self) -> Iterator[isa.Instruction]:
        """At the end of the program: take back the flags that nobody waited for."""
        for used in range(max(0, self._emptied - self._slots), self._emptied):
            yield isa.WaitFlag(self._consumer, self._producer, self._first_id + used % self._slots)

    def state(self) -> tuple[int, int]:
        """What the next instructions depend on: only whether a slot was ever used, and which."""
        return (self._canonical(self._filled), self._canonical(self._emptied))

    def restore(self, state: tuple[int, int]) -> None:
        """Go on from a state."""
        self._filled, self._emptied = state

    def _canonical(self, count: int) -> int:
        return count if count < self._slots else self._slots + count % self._slots


@dataclass(frozen=True)
class _Step:
    """A stretch of k of a tile that one load of activations and one of weights hold.

    a, w: what holds it, as (where, first k).
    """

    piece: Piece
    k_start: int
    k: int
    a: tuple[int, ...]
    w: tuple[int, ...]
    last: bool


class Writer:
    """Writes the instructions of a plan for some tiles of its result."""

    def __init__(self, plan: Plan, pieces: Sequence[Piece]) -> None:
        """Take the plan, and the tiles in their order."""
        self.plan, self.problem, self.tile = plan, plan.problem, plan.tile
        self.pieces = pieces
        self._at = {buffer.name: buffer.at for buffer in plan.buffers()}
        buffers = plan.tile.l1_buffers
        self._a = _Ring("MTE2", "MTE1", buffers)
        self._w = _Ring("MTE2", "MTE1", buffers, 2)
        self._l0 = _Ring("MTE1", "M")
        self._l0c = _Ring("M", "FIX", plan.results)
        self._words = _Ring("MTE2", "FIX")
        self._loaded: tuple[Any, Any] = ((), ())  # the activations and weights loaded last
        self._used: tuple[Any, Any] = ((), ())  # and used last
        self._biases = [0, 0]  # rows of bias loaded and used, mod 2
        self._shapes: tuple[Any, ...] | None = None

    def segments(self) -> Iterator[list[isa.Instruction]]:
        """The program, cut behind each tile."""
        for number in range(len(self.pieces)):
            yield list(self.segment(number))

    def segment(self, number: int) -> Iterator[isa.Instruction]:
        """The instructions of one tile, with the first load of the next one."""
        steps = list(self._steps(number))
        behind = next(self._steps(number + 1), None)
        if number == 0 and self.tile.l1_buffers == 2:
            yield from self._load(steps[0])
        if self.plan.vector:
            yield from self._load_words(self.pieces[number])
        for step, following in zip(steps, [*steps[1:], behind], strict=True):
            if self.tile.l1_buffers == 1:
                yield from self._load(step)
            elif following is not None:
                yield from self._load(following)
            yield from self._compute(number, step, following)
        yield from self._store(number)
        if behind is None:
            for ring in (self._a, self._w, self._l0, self._words):
                yield from ring.drain()
            if not self.tile.unit_flag:
                yield from self._l0c.drain()

    def shapes(self) -> Iterator[tuple[Any, ...]]:
        """For each tile its shape, whether it shares rows and columns with the one before, and
        whether its activations and weights are loaded for the first time.
        """
        before = None
        rows: set[tuple[int, int]] = set()
        columns: set[int] = set()
        for piece in self.pieces:
            lines = self.plan.rows(piece.m_start) if self.problem.image else None
            yield (
                piece.m,
                piece.n,
                lines and (lines.count, lines.top, lines.bottom, lines.offset),
                before is not None and before[:2] == piece[:2],
                before is not None and before.n_start == piece.n_start,
                piece[:2] in rows,
                piece.n_start in columns,
            )
            before = piece
            rows.add(piece[:2])
            columns.add(piece.n_start)

    def signature(self, number: int) -> tuple[Any, ...]:
        """Equal signatures: segments that are equal but for their addresses."""
        if self._shapes is None:
            self._shapes = (*self.shapes(), None)
        # Tiles take the halves of L0C in turn, and unit flags belong to them.
        return (number == 0, number % 2, self.state(), *self._shapes[number : number + 2])

    def state(self) -> tuple[Any, ...]:
        """Where the double buffers stand."""
        rings = (self._a, self._w, self._l0, self._l0c, self._words)
        return (*(ring.state() for ring in rings), *self._biases)

    def skip(self, number: int, state: tuple[Any, ...]) -> None:
        """Go on behind a segment, of which the state is known, as if it had been written."""
        *rings, self._biases[0], self._biases[1] = state
        for ring, its in zip(
            (self._a, self._w, self._l0, self._l0c, self._words), rings, strict=True
        ):
            ring.restore(its)
        *_, last = self._steps(number)
        self._used = (last.a, last.w)
        behind = next(self._steps(number + 1), None)
        ahead = behind if behind is not None and self.tile.l1_buffers == 2 else last
        self._loaded = (ahead.a, ahead.w)

    def _steps(self, number: int) -> Iterator[_Step]:
        if number >= len(self.pieces):
            return
        piece, plan, k = self.pieces[number], self.plan, self.problem.k
        step = min(plan.chunk, plan.weight_chunk)
        for k_start in range(0, k, step):
            yield _Step(
                piece,
                k_start,
                min(step, k - k_start),
                (piece.batch, piece.m_start, k_start // plan.chunk * plan.chunk),
                (piece.n_start, k_start // plan.weight_chunk * plan.weight_chunk),
                k_start + step >= k,
            )

    # --- GM -> L1 ---------------------------------------------------------------------------------

    def _load(self, step: _Step) -> Iterator[isa.Instruction]:
        """What a step needs and was not loaded for the step before it."""
        piece, k = step.piece, self.problem.k
        fresh_a, fresh_w = step.a != self._loaded[0], step.w != self._loaded[1]
        self._loaded = (step.a, step.w)
        if fresh_a:
            k_start = step.a[-1]
            yield from self._a.fill()
            yield self._load_activations(piece, k_start, min(self.plan.chunk, k - k_start))
        if fresh_w:
            k_start = step.w[-1]
            yield from self._w.fill()
            if self.problem.bias and k_start == 0:
                source = self._at["bias"] + 4 * piece.n_start
                yield isa.CopyIn(self._bias_at(self._biases[0]), source, 4 * piece.n)
                self._biases[0] ^= 1
            yield from self._load_weights(piece, k_start, min(self.plan.weight_chunk, k - k_start))
        # Handed over at once: MTE1 needs both, and each hand-over takes time.
        if fresh_a:
            yield from self._a.filled()
        if fresh_w:
            yield from self._w.filled()

    def _bias_at(self, slot: int) -> int:
        return self.plan.columns_at + slot * self.plan.columns

    def _load_words(self, piece: Piece) -> Iterator[isa.Instruction]:
        slot = self._words.filling()
        l1 = self._bias_at(slot) + self.plan.words_at
        yield from self._words.fill()
        yield isa.CopyIn(l1, self._at["words"] + 8 * piece.n_start, 8 * piece.n)
        yield from self._words.filled()
        yield from self._words.use()
        yield isa.LoadParams(slot * self.plan.fb_slot, l1, 8 * piece.n)
        yield from self._words.emptied()

    def _load_activations(self, piece: Piece, k_start: int, k: int) -> isa.Instruction:
        problem, gm = self.problem, self._at["activations"]
        base = self._a.filling() * self.plan.a_bytes
        image = problem.image
        if image is None:
            size = problem.element
            source = gm + (piece.m_start * problem.k + k_start) * size
            rows = round_up(piece.m, 16)
            return isa.Nd2Nz(base, source, piece.m, k * size, problem.k * size, rows)
        block = image.kernel[0] * image.kernel[1] * C0
        lines = self.plan.rows(piece.m_start)
        line, plane = image.w * C0, image.h * image.w * C0
        source = (piece.batch * image.c1 + k_start // block) * plane + lines.first * line
        size = lines.count * line
        return isa.CopyIn(base, gm + source, size, k // block, plane, size)

    def _load_weights(self, piece: Piece, k_start: int, k: int) -> Iterator[isa.Instruction]:
        problem, plan = self.problem, self.plan
        slot, size = self._w.filling(), problem.element
        target = plan.w_at + slot * plan.w_bytes
        if problem.weight_rows:
            # Nz of the rows (N, K) is what fractals of the weight are.
            source = self._at["weights"] + (piece.n_start * problem.k + k_start) * size
            rows = round_up(piece.n, 16)
            yield isa.Nd2Nz(target, source, piece.n, k * size, problem.k * size, rows)
            return
        k1, n1 = ceil_div(k, problem.k_fractal), ceil_div(piece.n, 16)
        all_n1 = ceil_div(problem.n, 16)
        first = k_start // problem.k_fractal * all_n1 + piece.n_start // 16
        for name, fractal, at in (
            ("dense" if problem.sparse else "weights", isa.FRACTAL, target),
            ("index", isa.FRACTAL // 4, plan.x_at + slot * plan.x_bytes),
        ):
            if name in self._at:
                yield isa.CopyIn(
                    at, self._at[name] + first * fractal, n1 * fractal, k1, all_n1 * fractal,
                    n1 * fractal,
                )  # fmt: skip

    # --- L1 -> L0, Mmad ---------------------------------------------------------------------------

    def _compute(
        self, number: int, step: _Step, following: _Step | None
    ) -> Iterator[isa.Instruction]:
        if step.a != self._used[0]:
            yield from self._a.use()
        if step.w != self._used[1]:
            yield from self._w.use()
            if step.k_start == 0:
                self._biases[1] ^= 1
        self._used = (step.a, step.w)
        for part in range(0, step.k, self.tile.k):
            k = min(self.tile.k, step.k - part)
            yield from self._multiply(number, step, part, k)
        if following is None or following.a != step.a:
            yield from self._a.emptied()
        if following is None or following.w != step.w:
            yield from self._w.emptied()

    def _multiply(self, number: int, step: _Step, part: int, k: int) -> Iterator[isa.Instruction]:
        """One Mmad, k from step.k_start + part on, with its loads."""
        problem, plan, tile, piece = self.problem, self.plan, self.tile, step.piece
        k_start = step.k_start + part
        slot = self._l0.filling()
        a, b = slot * plan.l0a_slot, slot * plan.l0b_slot
        columns = number % 2 * plan.bt_slot
        yield from self._l0.fill()
        if k_start == 0 and problem.bias:
            yield isa.LoadBias(columns, self._bias_at(1 - self._biases[1]), 4 * piece.n)
        base = self._a.emptying() * plan.a_bytes
        load = self._load_matrix if problem.image is None else self._load_image
        yield from load(piece, k_start - step.a[-1], k, base, a)
        slot, n1 = self._w.emptying(), ceil_div(piece.n, 16)
        weights, start = plan.w_at + slot * plan.w_bytes, k_start - step.w[-1]
        fractals, start = ceil_div(k, problem.k_fractal) * n1, start // problem.k_fractal * n1
        if problem.sparse:
            index = plan.x_at + slot * plan.x_bytes
            yield isa.LoadSparse(b, weights, index, fractals, start)
        else:
            yield isa.Load2D("L0B", b, weights, fractals, start)
        yield from self._l0.filled()
        yield from self._l0.use()
        last = step.last and part + k >= step.k
        unit = 0
        if tile.unit_flag:
            unit = 3 if last else 2
        elif k_start == 0:
            yield from self._l0c.fill()
        kind = isa.MmadSparse if problem.sparse else isa.Mmad
        begin = "keep" if k_start else "bias" if problem.bias else "zero"
        yield kind(
            self._result_at(number), a, b, piece.m, piece.n, k, begin,
            columns if begin == "bias" else 0, unit, problem.dtype,
        )  # fmt: skip
        yield from self._l0.emptied()

    def _load_matrix(
        self, piece: Piece, k_start: int, k: int, base: int, a: int
    ) -> Iterator[isa.Instruction]:
        """Rows of Nz fractals in L1 to rows of Zz fractals in L0A."""
        per_fractal = C0 // self.problem.element
        m1, blocks = ceil_div(piece.m, 16), ceil_div(k, per_fractal)
        for row in range(m1):
            start = k_start // per_fractal * m1 + row
            yield isa.Load2D("L0A", a + row * self.plan.row_bytes(k), base, blocks, start, m1)

    def _load_image(
        self, piece: Piece, k_start: int, k: int, base: int, a: int
    ) -> Iterator[isa.Instruction]:
        image = self.problem.image
        assert image is not None
        lines = self.plan.rows(piece.m_start)
        blocks = ceil_div(k_start + k, image.kernel[0] * image.kernel[1] * C0)
        # Where rows of fractals do not follow each other they are placed one by one.
        rows = piece.m if self.plan.rows_follow(k) else 16
        for row in range(0, piece.m, rows):
            yield isa.Load3D(
                a + row // 16 * self.plan.row_bytes(k), base, blocks, lines.count, image.w,
                *image.kernel, lines.offset + row, min(rows, piece.m - row), k_start, k,
                *image.strides, *image.dilations, lines.top, image.pads[1], lines.bottom,
                image.pads[3], image.offset_x,
            )  # fmt: skip

    # --- L0C -> GM --------------------------------------------------------------------------------

    def _result_at(self, number: int) -> int:
        return number % self.plan.results * self.plan.l0c_slot

    def _store(self, number: int) -> Iterator[isa.Instruction]:
        problem, piece = self.problem, self.pieces[number]
        if not self.tile.unit_flag:
            yield from self._l0c.filled()
            yield from self._l0c.use()
        row = piece.batch * problem.m + piece.m_start
        target = self._at["output"] + (row * problem.n + piece.n_start) * problem.output
        # One words slot back: the words of this tile were loaded before its first chunk.
        words = problem.word
        if self.plan.vector:
            words = (1 - self._words.filling()) * self.plan.fb_slot
        yield isa.Fixpipe(
            "GM", target, self._result_at(number), piece.m, piece.n, problem.n, problem.fixpipe,
            words, problem.relu, problem.alpha, "nd", 3 if self.tile.unit_flag else 0,
        )  # fmt: skip
        if not self.tile.unit_flag:
            yield from self._l0c.emptied()
