"""The writer: the program of a plan, step by step.

Loads to L1 are written one step ahead of what reads them, so that a short queue does not hold them
back. A piece of activations or weights that the next step needs again stays in L1. The flags of
double buffers keep the pipes apart (_Ring).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from typing import Any

from cube24.encoder import C0
from cube24.simulator import isa
from cube24.simulator.config import UnitConfig
from cube24.simulator.dealing import KStep, Piece, steps_of
from cube24.simulator.tiler import Plan, Problem, Rows, Tile, TilingError, chosen_plan
from cube24.sizes import ceil_div, round_up, shown

#: So many plans are kept, and so many times of plans (chip.py): networks repeat their layers.
PLANS = 512

_Program = list[isa.Instruction]


def plan_for(problem: Problem, config: UnitConfig, tile: Tile | None = None) -> Plan:
    """A plan with the tile, or with a chosen one.

    Raises:
        TilingError: the tile is impossible, or does not fit the memories.
    """
    if not isinstance(tile, Tile | None):
        raise TilingError(f"tile is {shown(tile)}; it takes a Tile")
    return _planned(problem, config, tile)


@lru_cache(PLANS)
def _planned(problem: Problem, config: UnitConfig, tile: Tile | None) -> Plan:
    plan = chosen_plan(problem, config) if tile is None else Plan(problem, config, tile)
    plan.check()
    return plan


def instructions_of(plan: Plan, pieces: Iterable[Piece]) -> Iterator[isa.Instruction]:
    """The program of some tiles of the result, in their order."""
    writer, before = Writer(plan), None
    for piece in pieces:
        for step in steps_of(plan, piece, before):
            yield from writer.push(step)
        before = piece
    if before is not None:
        yield from writer.push(None)


@cache
def _flags(
    of: str, to: str, first: int, count: int
) -> tuple[list[isa.Instruction], list[isa.Instruction]]:
    """Some flags of a pair of pipes: what sets them, and what waits for them."""
    ids = range(first, first + count)
    return [isa.SetFlag(of, to, i) for i in ids], [isa.WaitFlag(of, to, i) for i in ids]


class _Ring:
    """The halves of a double buffer between two pipes, and the flags that hand them over.

    filled, emptied: how often a slot was, counted only as far as the next instructions depend on
    it: whether all slots were ever used, and which is next.
    """

    __slots__ = ("_empty", "_full", "_slots", "_wait_empty", "_wait_full", "emptied", "filled")

    def __init__(self, producer: str, consumer: str, slots: int = 2, first_id: int = 0) -> None:
        self._slots, self.filled, self.emptied = slots, 0, 0
        forth, back = (producer, consumer, first_id, slots), (consumer, producer, first_id, slots)
        self._full, self._wait_full = _flags(*forth)
        self._empty, self._wait_empty = _flags(*back)

    def filling(self) -> int:
        """The slot that is filled next."""
        return self.filled % self._slots

    def emptying(self) -> int:
        """The slot that is emptied next."""
        return self.emptied % self._slots

    def fill(self, out: _Program) -> None:
        """Before filling: wait until the slot was emptied, if it was ever filled."""
        if self.filled >= self._slots:
            out.append(self._wait_empty[self.filling()])

    def full(self, out: _Program) -> None:
        """After filling."""
        out.append(self._full[self.filling()])
        self.filled = self._next(self.filled)

    def use(self, out: _Program) -> None:
        """Before emptying: wait until the slot was filled."""
        out.append(self._wait_full[self.emptying()])

    def empty(self, out: _Program) -> None:
        """After emptying."""
        out.append(self._empty[self.emptying()])
        self.emptied = self._next(self.emptied)

    def drain(self, out: _Program) -> None:
        """At the end of the program: take back the flags that nobody waited for."""
        for used in range(max(0, self.emptied - self._slots), self.emptied):
            out.append(self._wait_empty[used % self._slots])

    def _next(self, count: int) -> int:
        return count + 1 if count + 1 < 2 * self._slots else self._slots


class Writer:
    """Writes the instructions of a plan: ``push`` takes the steps of tiles one after the other."""

    def __init__(self, plan: Plan) -> None:
        """Begin a program."""
        self.plan, self.problem, self.tile = plan, plan.problem, plan.tile
        self._image = plan.problem.image
        self._at = {buffer.name: buffer.at for buffer in plan.buffers()}
        buffers = plan.tile.l1_buffers
        self._a = _Ring("MTE2", "MTE1", buffers)
        self._w = _Ring("MTE2", "MTE1", buffers, 2)
        self._l0 = _Ring("MTE1", "M")
        self._l0c = _Ring("M", "FIX", plan.results)
        self._words = _Ring("MTE2", "FIX")
        self._rings = (self._a, self._w, self._l0, self._l0c, self._words)
        self._biases = [0, 0]  # rows of bias loaded and used, mod 2
        self._odd = 0  # the number of the tile, mod 2
        self._before: KStep | None = None  # pushed, and not computed yet
        # Programs repeat what they do in L0, and who reads them looks at each object once.
        self._computed: dict[Any, tuple[_Program, Any]] = {}
        self._made: dict[tuple[Any, ...], isa.Instruction] = {}
        self._lines = (-1, Rows(0, 0, 0, 0, 0))  # of the tile that starts there

    def push(self, step: KStep | None) -> _Program:
        """The instructions that can be written when the next step is known: of the one before it.

        Args:
            step: the next step; None: there is none.
        """
        out: _Program = []
        before, ahead = self._before, self.tile.l1_buffers == 2
        if before is not None and before.k_start == 0 and self.plan.vector:
            self._load_words(out, before.piece)
        load = step if ahead else before
        if load is not None:
            self._load(out, load)
        if before is not None:
            self._compute(out, before, step)
            if before.k_start + before.k == self.problem.k:
                self._store(out, before.piece)
                self._odd ^= 1
        if step is None:
            for ring in (self._a, self._w, self._l0, self._words):
                ring.drain(out)
            if not self.tile.unit_flag:
                self._l0c.drain(out)
        self._before = step
        return out

    def state(self) -> tuple[Any, ...]:
        """All that the next instructions depend on, besides the steps."""
        return (self._stand(), self._before)

    def restore(self, state: tuple[Any, ...]) -> None:
        """Go on from a state."""
        stand, self._before = state
        self._go_on(stand)

    def _one(self, *what: Any) -> isa.Instruction:
        """An instruction, equal ones being one object: its class, then its fields."""
        found = self._made.get(what)
        if found is None:
            kind, *values = what
            found = self._made[what] = kind(*values)
        return found

    def _rows(self, piece: Piece) -> Rows:
        """The rows of the image that a tile needs."""
        if self._lines[0] != piece.m_start:
            self._lines = (piece.m_start, self.plan.rows(piece.m_start))
        return self._lines[1]

    def _stand(self) -> tuple[int, ...]:
        """Where the double buffers stand."""
        a, w, l0, l0c, words = self._rings
        return (
            a.filled, a.emptied, w.filled, w.emptied, l0.filled, l0.emptied, l0c.filled,
            l0c.emptied, words.filled, words.emptied, *self._biases, self._odd,
        )  # fmt: skip

    def _go_on(self, stand: tuple[int, ...]) -> None:
        for number, ring in enumerate(self._rings):
            ring.filled, ring.emptied = stand[2 * number : 2 * number + 2]
        *self._biases, self._odd = stand[-3:]

    # --- GM -> L1 ---------------------------------------------------------------------------------

    def _load(self, out: _Program, step: KStep) -> None:
        """What a step needs and was not loaded for the step before it."""
        piece = step.piece
        if step.new_a:
            self._a.fill(out)
            out.append(self._load_activations(piece, step.a_start, step.a_k))
        if step.new_w:
            self._w.fill(out)
            if self.problem.bias and step.k_start == 0:
                source = self._at["bias"] + 4 * piece.n_start
                out.append(isa.CopyIn(self._bias_at(self._biases[0]), source, 4 * piece.n))
                self._biases[0] ^= 1
            self._load_weights(out, piece, step.w_start, step.w_k)
        # Handed over at once: MTE1 needs both, and each hand-over takes time.
        if step.new_a:
            self._a.full(out)
        if step.new_w:
            self._w.full(out)

    def _bias_at(self, slot: int) -> int:
        return self.plan.columns_at + slot * self.plan.columns

    def _load_words(self, out: _Program, piece: Piece) -> None:
        slot = self._words.filling()
        l1 = self._bias_at(slot) + self.plan.words_at
        self._words.fill(out)
        out.append(isa.CopyIn(l1, self._at["words"] + 8 * piece.n_start, 8 * piece.n))
        self._words.full(out)
        self._words.use(out)
        out.append(isa.LoadParams(slot * self.plan.fb_slot, l1, 8 * piece.n))
        self._words.empty(out)

    def _load_activations(self, piece: Piece, k_start: int, k: int) -> isa.Instruction:
        problem, gm = self.problem, self._at["activations"]
        base = self._a.filling() * self.plan.a_bytes
        image = self._image
        if image is None:
            size = problem.element
            source = gm + (piece.m_start * problem.k + k_start) * size
            rows = round_up(piece.m, 16)
            return isa.Nd2Nz(base, source, piece.m, k * size, problem.k * size, rows)
        block = image.kernel[0] * image.kernel[1] * C0
        lines = self._rows(piece)
        line, plane = image.w * C0, image.h * image.w * C0
        source = (piece.batch * image.c1 + k_start // block) * plane + lines.first * line
        size = lines.count * line
        return isa.CopyIn(base, gm + source, size, k // block, plane, size)

    def _load_weights(self, out: _Program, piece: Piece, k_start: int, k: int) -> None:
        problem, plan = self.problem, self.plan
        slot, size = self._w.filling(), problem.element
        target = plan.w_at + slot * plan.w_bytes
        if problem.weight_rows:
            # Nz of the rows (N, K) is what fractals of the weight are.
            source = self._at["weights"] + (piece.n_start * problem.k + k_start) * size
            rows = round_up(piece.n, 16)
            out.append(isa.Nd2Nz(target, source, piece.n, k * size, problem.k * size, rows))
            return
        k1, n1 = ceil_div(k, problem.k_fractal), ceil_div(piece.n, 16)
        all_n1 = ceil_div(problem.n, 16)
        first = k_start // problem.k_fractal * all_n1 + piece.n_start // 16
        for name, fractal, at in (
            ("dense" if problem.sparse else "weights", isa.FRACTAL, target),
            ("index", isa.FRACTAL // 4, plan.x_at + slot * plan.x_bytes),
        ):
            if name in self._at:
                out.append(
                    isa.CopyIn(
                        at, self._at[name] + first * fractal, n1 * fractal, k1, all_n1 * fractal,
                        n1 * fractal,
                    )
                )  # fmt: skip

    # --- L1 -> L0, Mmad ---------------------------------------------------------------------------

    def _compute(self, out: _Program, step: KStep, following: KStep | None) -> None:
        """The Mmads of a step, with their loads.

        None of it knows where in GM the tile stands, so equal steps have the same instructions.
        """
        piece = step.piece
        frees = (True, True) if following is None else (following.new_a, following.new_w)
        lines = self._rows(piece) if self._image else None
        in_loads = (step.k_start - step.a_start, step.k_start - step.w_start)
        last = step.k_start + step.k == self.problem.k
        what = (piece.m, piece.n, lines, step.k_start == 0, last, step.k, in_loads, step[-2:])
        key = (what, frees, self._stand())
        found = self._computed.get(key)
        if found is None:
            written: _Program = []
            self._write(written, step, frees)
            found = self._computed[key] = (written, self._stand())
        else:
            self._go_on(found[1])
        out += found[0]

    def _write(self, out: _Program, step: KStep, frees: tuple[bool, bool]) -> None:
        if step.new_a:
            self._a.use(out)
        if step.new_w:
            self._w.use(out)
            if step.k_start == 0:
                self._biases[1] ^= 1
        for part in range(0, step.k, self.tile.k):
            self._multiply(out, step, part, min(self.tile.k, step.k - part))
        for ring, freed in zip((self._a, self._w), frees, strict=True):
            if freed:
                ring.empty(out)

    def _multiply(self, out: _Program, step: KStep, part: int, k: int) -> None:
        """One Mmad, k from step.k_start + part on, with its loads."""
        problem, plan, tile, piece = self.problem, self.plan, self.tile, step.piece
        k_start = step.k_start + part
        slot = self._l0.filling()
        a, b = slot * plan.l0a_slot, slot * plan.l0b_slot
        columns = self._odd * plan.bt_slot
        self._l0.fill(out)
        if k_start == 0 and problem.bias:
            row = self._bias_at(1 - self._biases[1])
            out.append(self._one(isa.LoadBias, columns, row, 4 * piece.n))
        base = self._a.emptying() * plan.a_bytes
        load = self._load_matrix if self._image is None else self._load_image
        out += load(piece, k_start - step.a_start, k, base, a)
        slot, n1 = self._w.emptying(), ceil_div(piece.n, 16)
        weights, start = plan.w_at + slot * plan.w_bytes, k_start - step.w_start
        fractals, start = ceil_div(k, problem.k_fractal) * n1, start // problem.k_fractal * n1
        if problem.sparse:
            index = plan.x_at + slot * plan.x_bytes
            out.append(self._one(isa.LoadSparse, b, weights, index, fractals, start))
        else:
            out.append(self._one(isa.Load2D, "L0B", b, weights, fractals, start))
        self._l0.full(out)
        self._l0.use(out)
        unit = 0
        if tile.unit_flag:
            unit = 3 if k_start + k == problem.k else 2
        elif k_start == 0:
            self._l0c.fill(out)
        kind = isa.MmadSparse if problem.sparse else isa.Mmad
        begin = "keep" if k_start else "bias" if problem.bias else "zero"
        out.append(
            self._one(
                kind, self._result_at(), a, b, piece.m, piece.n, k, begin,
                columns if begin == "bias" else 0, unit, problem.dtype,
            )
        )  # fmt: skip
        self._l0.empty(out)

    def _load_matrix(
        self, piece: Piece, k_start: int, k: int, base: int, a: int
    ) -> Iterator[isa.Instruction]:
        """Rows of Nz fractals in L1 to rows of Zz fractals in L0A."""
        per_fractal = C0 // self.problem.element
        m1, blocks = ceil_div(piece.m, 16), ceil_div(k, per_fractal)
        first, row_bytes = k_start // per_fractal * m1, self.plan.row_bytes(k)
        for row in range(m1):
            yield self._one(isa.Load2D, "L0A", a + row * row_bytes, base, blocks, first + row, m1)

    def _load_image(
        self, piece: Piece, k_start: int, k: int, base: int, a: int
    ) -> Iterator[isa.Instruction]:
        image = self._image
        assert image is not None
        lines = self._rows(piece)
        blocks = ceil_div(k_start + k, image.kernel[0] * image.kernel[1] * C0)
        # Where rows of fractals do not follow each other they are placed one by one.
        rows = piece.m if self.plan.rows_follow(k) else 16
        row_bytes = self.plan.row_bytes(k)
        for row in range(0, piece.m, rows):
            yield self._one(
                isa.Load3D, a + row // 16 * row_bytes, base, blocks, lines.count, image.w,
                *image.kernel, lines.offset + row, min(rows, piece.m - row), k_start, k,
                *image.strides, *image.dilations, lines.top, image.pads[1], lines.bottom,
                image.pads[3], image.offset_x,
            )  # fmt: skip

    # --- L0C -> GM --------------------------------------------------------------------------------

    def _result_at(self) -> int:
        return self._odd % self.plan.results * self.plan.l0c_slot

    def _store(self, out: _Program, piece: Piece) -> None:
        problem = self.problem
        if not self.tile.unit_flag:
            self._l0c.full(out)
            self._l0c.use(out)
        row = piece.batch * problem.m + piece.m_start
        target = self._at["output"] + (row * problem.n + piece.n_start) * problem.output
        # One words slot back: the words of this tile were loaded before its first chunk.
        words = problem.word
        if self.plan.vector:
            words = (1 - self._words.filling()) * self.plan.fb_slot
        out.append(
            isa.Fixpipe(
                "GM", target, self._result_at(), piece.m, piece.n, problem.n, problem.fixpipe,
                words, problem.relu, problem.alpha, "nd", 3 if self.tile.unit_flag else 0,
            )
        )  # fmt: skip
        if not self.tile.unit_flag:
            self._l0c.empty(out)
