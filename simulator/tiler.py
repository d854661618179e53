"""The tiler: a matrix multiplication or a convolution as a program for one core.

The result is cut into tiles of m x n; for each, k is walked in chunks that fit L1, and in parts of
a chunk that fit L0. L1, L0A with L0B, L0C, the bias table and the fixpipe buffer are double
buffered: while one half is read, the other is filled, and flags keep the pipes apart.

K order, fractals and padding are those of docs/format.md. The activations of a matrix
multiplication stand in GM as rows (M, K), those of a convolution as NC1HWC0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cube24.encoder import Cube24Error
from cube24.encoder.layout import C0, ceil_div
from cube24.simulator import isa
from cube24.simulator.config import UnitConfig
from cube24.simulator.machine import FRACTAL, LIMIT_MNK, LIMIT_REPEAT


class TilingError(Cube24Error, ValueError):
    """A problem or tile sizes that do not fit the memories of the unit."""


@dataclass(frozen=True)
class Tile:
    """Sizes of one tile: m x n of the result, k of one Mmad, k_l1 of one load to L1.

    m and n are multiples of 16, k and k_l1 of 64. For a convolution k_l1 is rounded down to whole
    channel blocks.
    """

    m: int
    n: int
    k: int
    k_l1: int


@dataclass(frozen=True)
class Image:
    """A convolution without its channels out: an NC1HWC0 input and a kernel on it."""

    batch: int
    c1: int
    h: int
    w: int
    kernel: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)  # top, left, bottom, right
    dilations: tuple[int, int] = (1, 1)
    pad_value: int = 0

    @property
    def output(self) -> tuple[int, int]:
        """Output height and width; 0 or less where the kernel does not fit."""
        top, left, bottom, right = self.pads
        spans = [(size - 1) * d + 1 for size, d in zip(self.kernel, self.dilations, strict=True)]
        return (
            (self.h + top + bottom - spans[0]) // self.strides[0] + 1,
            (self.w + left + right - spans[1]) // self.strides[1] + 1,
        )


@dataclass(frozen=True)
class Problem:
    """What to compute: m rows of results per batch element, n columns, k products each.

    image: None for a matrix multiplication. sparse: weights as dense and index fractals; else as
    dense fractals of 32. output: bytes of one result. fixpipe: its mode; words: the one
    requantisation word, where there is one for all columns.
    """

    m: int
    n: int
    k: int
    sparse: bool
    image: Image | None = None
    bias: bool = False
    output: int = 4
    fixpipe: str = "int32"
    word: int = 0
    relu: str = "none"
    alpha: float = 0.0

    @property
    def batch(self) -> int:
        """How many times m rows there are."""
        return self.image.batch if self.image else 1

    @property
    def k_fractal(self) -> int:
        """k of one fractal of the weight."""
        return 64 if self.sparse else 32


def choose_tile(problem: Problem, config: UnitConfig) -> Tile:
    """Tile sizes that fill the buffers, no larger than the problem.

    Where even one step of k does not fit L1 (wide images, large kernels), the larger of the two
    operands is made narrower; compile_program refuses what does not fit at all.
    """
    m = _clip(128, problem.m, min(config.l0a_bytes // 2 // 64, config.l0c_bytes // 8 // 16))
    limit = min(config.bt_bytes // 2 // 4, config.fb_bytes // 2 // 8, LIMIT_MNK)
    n = _clip(limit, problem.n, min(config.l0c_bytes // 8 // m, config.l0b_bytes // 2 // 64))
    tile = _widest(problem, config, m, n)
    while not (plan := _Plan(problem, config, tile)).fits and max(m, n) > 16:
        if n > 16 and (plan.w_bytes >= plan.a_bytes or m == 16):
            n = _clip(n // 2, problem.n, n)
        else:
            m = _clip(m // 2, problem.m, m)
        tile = _widest(problem, config, m, n)
    while tile.k_l1 < _up(problem.k, 64):  # as much of k in L1 as fits twice
        wider = Tile(m, n, tile.k, tile.k_l1 + tile.k)
        if not _Plan(problem, config, wider).fits:
            break
        tile = wider
    return tile


def _widest(problem: Problem, config: UnitConfig, m: int, n: int) -> Tile:
    """The tile of m x n with the largest k that fits L0 twice."""
    weight_bytes = n // 2 if problem.sparse else n  # for one k
    k = min(
        _up(problem.k, 64),
        config.l0a_bytes // 2 // m,
        config.l0b_bytes // 2 // weight_bytes,
        LIMIT_REPEAT // (n // 16) * problem.k_fractal,  # one load of L0B
        LIMIT_MNK,
    )
    k = max(64, _down(k, 64))
    return Tile(m, n, k, k)


def _clip(wanted: int, size: int, limit: int) -> int:
    """A multiple of 16, at least 16, at most wanted, limit and the size rounded up."""
    return max(16, _down(min(wanted, _up(size, 16), limit), 16))


def compile_program(problem: Problem, config: UnitConfig, tile: Tile | None = None) -> isa.Program:
    """The program of a problem.

    Raises:
        TilingError: the tile is impossible, or does not fit the memories.
    """
    chosen = tile or choose_tile(problem, config)
    plan = _Plan(problem, config, chosen)
    plan.check()
    return isa.Program(plan.buffers(), tuple(_Writer(plan).instructions()))


def _up(value: int, unit: int) -> int:
    return ceil_div(value, unit) * unit


def _down(value: int, unit: int) -> int:
    return value // unit * unit


@dataclass(frozen=True)
class _Rows:
    """Rows first..first + count of an image, with rows of padding above and below.

    offset: the first position of the tile among the positions that these rows give.
    """

    first: int
    count: int
    top: int
    bottom: int
    offset: int


class _Plan:
    """Where everything stands: chunks of k, addresses in GM and L1."""

    def __init__(self, problem: Problem, config: UnitConfig, tile: Tile) -> None:
        self.problem, self.config, self.tile = problem, config, tile
        self.chunk = self._chunk()
        # L1: two halves, each of activations, weights and index; then bias and words, twice.
        self.a_bytes = self._a_bytes()
        per_k = tile.n // 2 if problem.sparse else tile.n
        self.w_bytes = _up(self.chunk, problem.k_fractal) * per_k
        self.x_bytes = self.w_bytes // 4 if problem.sparse else 0
        self.half = self.a_bytes + self.w_bytes + self.x_bytes
        self.columns = 12 * tile.n  # int32 bias and 64-bit word of each column
        self.total = 2 * (self.half + self.columns)

    @property
    def fits(self) -> bool:
        return self.total <= self.config.l1_bytes and self.chunk > 0

    def check(self) -> None:
        tile, config, problem = self.tile, self.config, self.problem
        for name, value, unit in (
            ("m", tile.m, 16), ("n", tile.n, 16), ("k", tile.k, 64), ("k_l1", tile.k_l1, 64),
        ):  # fmt: skip
            if value < unit or value % unit:
                raise TilingError(f"tile {name} is {value}; it is a positive multiple of {unit}")
        loads = tile.n // 16 * (tile.k // problem.k_fractal)
        for what, needed, there in (
            ("two parts of activations in L0A", 2 * tile.m * tile.k, config.l0a_bytes),
            ("two parts of weights in L0B", 2 * loads * FRACTAL, config.l0b_bytes),
            ("two results in L0C", 8 * tile.m * tile.n, config.l0c_bytes),
            ("two rows of bias", 8 * tile.n if problem.bias else 0, config.bt_bytes),
            ("two rows of words", 16 * tile.n if self.vector else 0, config.fb_bytes),
            ("two chunks in L1", self.total, config.l1_bytes),
            ("m of one Mmad", tile.m, LIMIT_MNK),
            ("n of one Mmad", tile.n, LIMIT_MNK),
            ("k of one Mmad", tile.k, LIMIT_MNK),
            ("fractals of one load to L0B", loads, LIMIT_REPEAT),
            ("fractals of one load to L0A", tile.k // 32, LIMIT_REPEAT),
        ):
            if needed > there:
                raise TilingError(f"tile {tile}: {what} take {needed}, the unit has {there}")
        if self.chunk <= 0:
            raise TilingError(f"tile {tile}: k_l1 holds no whole channel block of this kernel")

    @property
    def vector(self) -> bool:
        """Whether there is one requantisation word a column."""
        return self.problem.fixpipe.startswith("v")

    def _chunk(self) -> int:
        """k of one load to L1; whole fractals of the weight, unless it is all of k."""
        image = self.problem.image
        if image is None:
            return min(self.tile.k_l1, _up(self.problem.k, 64))
        block = image.kernel[0] * image.kernel[1] * C0
        if self.tile.k_l1 >= self.problem.k:
            return self.problem.k
        unit = block if block % self.problem.k_fractal == 0 else 2 * block
        # A kernel may be larger than k_l1: then one or two channel blocks at a time.
        return min(max(unit, _down(self.tile.k_l1, unit)), self.problem.k)

    def _a_bytes(self) -> int:
        image = self.problem.image
        if image is None:
            return self.tile.m * _up(self.chunk, 64)
        blocks = self.chunk // (image.kernel[0] * image.kernel[1] * C0)
        tiles = range(0, self.problem.m, self.tile.m)
        return blocks * max(self.rows(start).count for start in tiles) * image.w * C0

    def rows(self, m_start: int) -> _Rows:
        """The rows of the image that a tile of positions needs."""
        image = self.problem.image
        assert image is not None
        last = min(self.problem.m, m_start + self.tile.m) - 1
        height, width = image.h, image.output[1]
        stride, top = image.strides[0], image.pads[0]
        output_row = m_start // width
        offset = m_start - output_row * width
        low = output_row * stride - top
        high = last // width * stride - top + (image.kernel[0] - 1) * image.dilations[0]
        if low >= height:
            # Wholly below the image: as good as wholly above it, with any row to stand there.
            return _Rows(height - 1, 1, high - low + 1, 0, offset)
        first = max(low, 0)
        end = max(min(high, height - 1), first)
        return _Rows(first, end - first + 1, first - low, max(high - end, 0), offset)

    def buffers(self) -> tuple[isa.Buffer, ...]:
        """GM: activations, weights, bias, words and output, in this order, aligned to 512."""
        problem = self.problem
        k1, n1 = ceil_div(problem.k, problem.k_fractal), ceil_div(problem.n, 16)
        if problem.image is None:
            activations = problem.m * problem.k
        else:
            image = problem.image
            activations = image.batch * image.c1 * image.h * image.w * C0
        sizes = {"activations": activations}
        if problem.sparse:
            sizes |= {"dense": k1 * n1 * FRACTAL, "index": k1 * n1 * FRACTAL // 4}
        else:
            sizes |= {"weights": k1 * n1 * FRACTAL}
        if problem.bias:
            sizes["bias"] = 4 * problem.n
        if self.vector:
            sizes["words"] = 8 * problem.n
        sizes["output"] = problem.batch * problem.m * problem.n * problem.output
        found, at = [], 0
        for name, size in sizes.items():
            found.append(isa.Buffer(name, at, size))
            at = _up(at + size, 512)
        return tuple(found)


class _Ring:
    """The two halves of a double buffer between two pipes, and the flags that hand them over."""

    def __init__(self, producer: str, consumer: str, first_id: int = 0) -> None:
        self._producer, self._consumer, self._first_id = producer, consumer, first_id
        self._filled = self._emptied = 0

    def slot(self) -> int:
        """The half that is filled next."""
        return self._filled % 2

    def fill(self) -> Iterator[isa.Instruction]:
        """Before filling: wait until the half was emptied, if it was ever filled."""
        if self._filled >= 2:
            yield isa.WaitFlag(self._consumer, self._producer, self._first_id + self.slot())

    def filled(self) -> Iterator[isa.Instruction]:
        """After filling, and before emptying, which follows in program order."""
        flag = (self._producer, self._consumer, self._first_id + self.slot())
        yield isa.SetFlag(*flag)
        yield isa.WaitFlag(*flag)
        self._filled += 1

    def emptied(self) -> Iterator[isa.Instruction]:
        """After emptying."""
        yield isa.SetFlag(self._consumer, self._producer, self._first_id + self._emptied % 2)
        self._emptied += 1

    def drain(self) -> Iterator[isa.Instruction]:
        """At the end of the program: take back the flags that nobody waited for."""
        for used in range(max(0, self._emptied - 2), self._emptied):
            yield isa.WaitFlag(self._consumer, self._producer, self._first_id + used % 2)


class _Writer:
    """Writes the instructions of a plan."""

    def __init__(self, plan: _Plan) -> None:
        self.plan, self.problem, self.tile = plan, plan.problem, plan.tile
        self.at = {buffer.name: buffer.at for buffer in plan.buffers()}
        self.l1 = _Ring("MTE2", "MTE1")
        self.l0 = _Ring("MTE1", "M")
        self.l0c = _Ring("M", "FIX")
        self.words = _Ring("MTE2", "FIX")

    def instructions(self) -> Iterator[isa.Instruction]:
        """The whole program."""
        problem = self.problem
        for batch in range(problem.batch):
            for m_start in range(0, problem.m, self.tile.m):
                for n_start in range(0, problem.n, self.tile.n):
                    yield from self._tile(batch, m_start, n_start)
        for ring in (self.l1, self.l0, self.l0c, self.words):
            yield from ring.drain()

    def _tile(self, batch: int, m_start: int, n_start: int) -> Iterator[isa.Instruction]:
        problem, plan = self.problem, self.plan
        m = min(self.tile.m, problem.m - m_start)
        n = min(self.tile.n, problem.n - n_start)
        if plan.vector:
            yield from self._load_words(n_start, n)
        for k_start in range(0, problem.k, plan.chunk):
            k = min(plan.chunk, problem.k - k_start)
            base = self.l1.slot() * plan.half
            yield from self.l1.fill()
            if problem.bias and k_start == 0:
                yield isa.CopyIn(self._bias_at(), self.at["bias"] + 4 * n_start, 4 * n)
            yield from self._load_activations(batch, m_start, m, k_start, k, base)
            yield from self._load_weights(n_start, n, k_start, k, base)
            yield from self.l1.filled()
            for part in range(0, k, self.tile.k):
                yield from self._multiply(
                    m_start, m, n, k_start, part, min(self.tile.k, k - part), base
                )
            yield from self.l1.emptied()
        yield from self._store(batch, m_start, m, n_start, n)

    def _columns_at(self, slot: int) -> int:
        return 2 * self.plan.half + slot * self.plan.columns

    def _bias_at(self) -> int:
        return self._columns_at(self.l0c.slot())

    # --- GM -> L1 ---------------------------------------------------------------------------------

    def _load_words(self, n_start: int, n: int) -> Iterator[isa.Instruction]:
        slot = self.words.slot()
        l1 = self._columns_at(slot) + 4 * self.tile.n
        yield from self.words.fill()
        yield isa.CopyIn(l1, self.at["words"] + 8 * n_start, 8 * n)
        yield from self.words.filled()
        yield isa.LoadParams(slot * 8 * self.tile.n, l1, 8 * n)
        yield from self.words.emptied()

    def _load_activations(
        self, batch: int, m_start: int, m: int, k_start: int, k: int, base: int
    ) -> Iterator[isa.Instruction]:
        problem, gm = self.problem, self.at["activations"]
        if problem.image is None:
            yield isa.Nd2Nz(base, gm + m_start * problem.k + k_start, m, k, problem.k, _up(m, 16))
            return
        image = problem.image
        block = image.kernel[0] * image.kernel[1] * C0
        rows = self.plan.rows(m_start)
        line, plane = image.w * C0, image.h * image.w * C0
        source = (batch * image.c1 + k_start // block) * plane + rows.first * line
        size = rows.count * line
        yield isa.CopyIn(base, gm + source, size, k // block, plane, size)

    def _load_weights(
        self, n_start: int, n: int, k_start: int, k: int, base: int
    ) -> Iterator[isa.Instruction]:
        problem, plan = self.problem, self.plan
        k1, n1 = ceil_div(k, problem.k_fractal), ceil_div(n, 16)
        all_n1 = ceil_div(problem.n, 16)
        first = k_start // problem.k_fractal * all_n1 + n_start // 16
        at = base + plan.a_bytes
        for name, size, target in (
            ("dense" if problem.sparse else "weights", FRACTAL, at),
            ("index", FRACTAL // 4, at + plan.w_bytes),
        ):
            if name in self.at:
                yield isa.CopyIn(
                    target, self.at[name] + first * size, n1 * size, k1, all_n1 * size, n1 * size
                )

    # --- L1 -> L0, Mmad ---------------------------------------------------------------------------

    def _multiply(
        self, m_start: int, m: int, n: int, k_start: int, part: int, k: int, base: int
    ) -> Iterator[isa.Instruction]:
        problem, tile, slot = self.problem, self.tile, self.l0.slot()
        a, b = slot * tile.m * tile.k, slot * tile.n * tile.k // (2 if problem.sparse else 1)
        n1 = ceil_div(n, 16)
        first = k_start == 0 and part == 0
        result = self.l0c.slot()
        yield from self.l0.fill()
        if first and problem.bias:
            yield isa.LoadBias(result * 4 * tile.n, self._bias_at(), 4 * n)
        if problem.image is None:
            yield from self._load_matrix(m, part, k, base, a)
        else:
            yield from self._load_image(m_start, m, part, k, base, a)
        weights = base + self.plan.a_bytes
        fractals, start = ceil_div(k, problem.k_fractal) * n1, part // problem.k_fractal * n1
        if problem.sparse:
            yield isa.LoadSparse(b, weights, weights + self.plan.w_bytes, fractals, start)
        else:
            yield isa.Load2D("L0B", b, weights, fractals, start)
        yield from self.l0.filled()
        if first:
            yield from self.l0c.fill()
        kind = isa.MmadSparse if problem.sparse else isa.Mmad
        begin = "keep" if not first else "bias" if problem.bias else "zero"
        c = result * 4 * tile.m * tile.n
        yield kind(c, a, b, m, n, k, begin, result * 4 * tile.n if begin == "bias" else 0)
        yield from self.l0.emptied()

    def _load_matrix(
        self, m: int, part: int, k: int, base: int, a: int
    ) -> Iterator[isa.Instruction]:
        """Rows of Nz fractals in L1 to rows of Zz fractals in L0A."""
        m1, blocks = ceil_div(m, 16), ceil_div(k, 32)
        for row in range(m1):
            yield isa.Load2D(
                "L0A", a + row * self._row_bytes(k), base, blocks, part // 32 * m1 + row, m1
            )

    def _load_image(
        self, m_start: int, m: int, part: int, k: int, base: int, a: int
    ) -> Iterator[isa.Instruction]:
        image = self.problem.image
        assert image is not None
        lines = self.plan.rows(m_start)
        blocks = ceil_div(part + k, image.kernel[0] * image.kernel[1] * C0)
        # Where k ends in the middle of a fractal of the weight, rows of fractals do not follow
        # each other and are placed one by one.
        rows = m if k % self.problem.k_fractal == 0 else 16
        for row in range(0, m, rows):
            yield isa.Load3D(
                a + row // 16 * self._row_bytes(k), base, blocks, lines.count, image.w,
                *image.kernel, lines.offset + row, min(rows, m - row), part, k, *image.strides,
                *image.dilations, lines.top, image.pads[1], lines.bottom, image.pads[3],
                image.pad_value,
            )  # fmt: skip

    def _row_bytes(self, k: int) -> int:
        """Bytes of one row of fractals in L0A."""
        return 16 * _up(k, self.problem.k_fractal)

    # --- L0C -> GM --------------------------------------------------------------------------------

    def _store(
        self, batch: int, m_start: int, m: int, n_start: int, n: int
    ) -> Iterator[isa.Instruction]:
        problem, slot = self.problem, self.l0c.slot()
        yield from self.l0c.filled()
        row = batch * problem.m + m_start
        target = self.at["output"] + (row * problem.n + n_start) * problem.output
        # One words slot back: the words of this tile were loaded before its first chunk.
        words = (1 - self.words.slot()) * 8 * self.tile.n if self.plan.vector else problem.word
        yield isa.Fixpipe(
            "GM", target, slot * 4 * self.tile.m * self.tile.n, m, n, problem.n, problem.fixpipe,
            words, problem.relu, problem.alpha,
        )  # fmt: skip
        yield from self.l0c.emptied()
