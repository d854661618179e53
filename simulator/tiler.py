"""The tiler: how a matrix multiplication or a convolution is cut, and where everything stands.

The result is cut into tiles of m x n; for each, k is walked in chunks that fit L1, and in parts of
a chunk that fit L0. Everything is double buffered: while one half is read, the other is filled.
The writer (writer.py) makes the program.

K order, fractals and padding are those of docs/format.md. The activations of a matrix
multiplication stand in GM as rows (M, K), those of a convolution as NC1HWC0.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, replace
from functools import cached_property
from math import gcd, lcm
from typing import NamedTuple

from cube24.encoder import C0
from cube24.errors import Cube24Error
from cube24.simulator import isa
from cube24.simulator.config import UnitConfig
from cube24.simulator.isa import RESULT_BYTES, Buffer
from cube24.simulator.layer import Conv2d, Layer
from cube24.sizes import ceil_div, round_down, round_up, truth, whole


class TilingError(Cube24Error, ValueError):
    """A problem or tile sizes that do not fit the memories of the unit."""


@dataclass(frozen=True)
class Tile:
    """Sizes of one tile: m x n of the result, k of one Mmad, k_l1 of one load to L1.

    m and n are multiples of 16, k and k_l1 of 64. For a convolution k_l1 is rounded down to whole
    channel blocks.

    k_weights: k of one load of weights to L1, where it is not that of the activations; one of the
    two is a multiple of the other. 0: k_l1. A convolution takes 0.
    l1_buffers: 2, or 1, which loads L1 only when it was read. unit_flag: FIXPIPE takes results from
    the cube block by block instead of waiting for the tile. m_core, n_core: the piece of the result
    that is dealt to a core at a time; 0: chosen so that all cores have one.

    Raises:
        TilingError: a size that is no whole number; whether a size is possible is said where the
            tile is used.
    """

    m: int
    n: int
    k: int
    k_l1: int
    k_weights: int = 0
    l1_buffers: int = 2
    unit_flag: bool = False
    m_core: int = 0
    n_core: int = 0

    def __post_init__(self) -> None:
        """Keep plain numbers: small integer types of NumPy would overflow."""
        for name, value in list(vars(self).items()):
            if type(value) is int and name != "unit_flag" and abs(value) <= isa.LARGEST:
                continue
            found: object = (
                truth(value, f"tile {name}", error=TilingError)
                if name == "unit_flag"
                else whole(value, f"tile {name}", -isa.LARGEST, isa.LARGEST, error=TilingError)
            )
            object.__setattr__(self, name, found)


@dataclass(frozen=True)
class Problem:
    """A layer, and how the unit computes it.

    sparse: weights as dense and index fractals; else as
    dense fractals of 32. fixpipe: its mode; word: the one requantisation word, where there is one
    for all columns. dtype: of the operands; float16 has a time and no values. weight_rows: the
    weight stands in GM as rows (N, K), not as fractals.
    """

    layer: Layer
    sparse: bool
    bias: bool = False
    fixpipe: str = "int32"
    word: int = 0
    relu: str = "none"
    alpha: float = 0.0
    dtype: str = "int8"
    weight_rows: bool = False

    @property
    def m(self) -> int:
        """Rows of results of one batch element."""
        return self.layer.m

    @property
    def n(self) -> int:
        """Columns of results."""
        return self.layer.n

    @property
    def k(self) -> int:
        """Products of each result."""
        return self.layer.k

    @property
    def batch(self) -> int:
        """How many times m rows there are."""
        return self.layer.batch

    @property
    def image(self) -> Conv2d | None:
        """The layer if it is a convolution."""
        return self.layer if isinstance(self.layer, Conv2d) else None

    @property
    def element(self) -> int:
        """Bytes of one element of the operands."""
        return 2 if self.dtype == "float16" else 1

    @property
    def k_fractal(self) -> int:
        """k of one fractal of the weight."""
        return 64 if self.sparse else C0 // self.element

    @property
    def output(self) -> int:
        """Bytes of one result."""
        return RESULT_BYTES[self.fixpipe]


def chosen_plan(problem: Problem, config: UnitConfig) -> Plan:
    """A plan with tile sizes that fill the buffers, no larger than the problem.

    Where even one step of k does not fit L1 (wide images, large kernels), the larger of the two
    operands is made narrower, and then k; Plan.check refuses what does not fit at all.
    """
    plan = _filling(problem, config, 128)
    # One row of fractals in L0A has no other behind it that would have to be aligned.
    return plan if plan.rows_aligned else _filling(problem, config, 16)


def _filling(problem: Problem, config: UnitConfig, most: int) -> Plan:
    """The plan that fills the buffers, with tiles of at most so many rows."""
    row, results = 64 * problem.element, _half(config.l0c_bytes, _l0c_align(config)) // 4
    m = _clip(most, problem.m, min(_half(config.l0a_bytes, config.l0a_align) // row, results // 16))
    columns = min(
        _half(config.bt_bytes, config.bt_align) // 4, _half(config.fb_bytes, config.fb_align) // 8
    )
    weights = _half(config.l0b_bytes, config.l0b_align) // row
    n = _clip(min(columns, isa.LIMIT_MNK), problem.n, min(results // m, weights))
    plan = Plan(problem, config, _widest(problem, config, m, n))
    while not plan.fits and max(m, n) > 16:
        if n > 16 and (plan.w_bytes >= plan.a_bytes or m == 16):
            n = _clip(n // 2, problem.n, n)
        else:
            m = _clip(m // 2, problem.m, m)
        plan = Plan(problem, config, _widest(problem, config, m, n))
    while not plan.fits and plan.tile.k > 64:
        k = round_down(plan.tile.k // 2, 64) or 64
        plan = Plan(problem, config, replace(plan.tile, k=k, k_l1=k))
    tile = plan.tile

    def with_loads_of(k_l1: int) -> Plan:
        return plan if k_l1 == tile.k_l1 else Plan(problem, config, replace(tile, k_l1=k_l1))

    # As much of k in L1 as fits twice; what fits with more fits with less.
    most = min(ceil_div(round_up(problem.k, 64), tile.k), isa.LARGEST // tile.k)
    more = range(2, most + 1)
    parts = 1 + bisect_left(more, True, key=lambda parts: not with_loads_of(parts * tile.k).fits)
    # Loads of equal length: behind a long one, a short one would wait, and be waited for.
    loads = ceil_div(problem.k, parts * tile.k)
    return with_loads_of(round_up(ceil_div(problem.k, loads), tile.k))


def _widest(problem: Problem, config: UnitConfig, m: int, n: int) -> Tile:
    """The tile of m x n with the largest k that fits L0 twice."""
    weight_bytes = n // 2 if problem.sparse else n * problem.element  # for one k
    k = min(
        round_up(problem.k, 64),
        _half(config.l0a_bytes, config.l0a_align) // (m * problem.element),
        _half(config.l0b_bytes, config.l0b_align) // weight_bytes,
        isa.LIMIT_REPEAT // (n // 16) * problem.k_fractal,  # one load of L0B
        isa.LIMIT_MNK,
    )
    k = max(64, round_down(k, 64))
    return Tile(m, n, k, k)


def _half(size: int, align: int) -> int:
    """Bytes of one of two slots of a memory."""
    return round_down(size // 2, align)


def _l0c_align(config: UnitConfig) -> int:
    """Results begin where a fractal of them does, so that no two of them share a unit flag."""
    return lcm(config.l0c_align, isa.C_FRACTAL)


def _clip(wanted: int, size: int, limit: int) -> int:
    """A multiple of 16, at least 16, at most wanted, limit and the size rounded up."""
    return max(16, round_down(min(wanted, round_up(size, 16), limit), 16))


class Rows(NamedTuple):
    """Rows first..first + count of an image, with rows of padding above and below.

    offset: the first position of the tile among the positions that these rows give.
    """

    first: int
    count: int  # type: ignore[assignment]  # not the method of a tuple
    top: int
    bottom: int
    offset: int


class Plan:
    """Where everything stands: chunks of k, addresses in GM and L1.

    Plans are equal that have the same problem, unit and tile.
    """

    def __init__(self, problem: Problem, config: UnitConfig, tile: Tile) -> None:
        """Lay it out; ``check`` says whether it can be."""
        self._what = self.problem, self.config, self.tile = problem, config, tile
        self._width = problem.image.positions[1] if problem.image else 0  # of a row of positions
        self.chunk = self._chunk(tile.k_l1)
        self.weight_chunk = self._chunk(tile.k_weights) if tile.k_weights else self.chunk
        # L1: activations, weights and index, each as often as there are buffers; then bias and
        # words of the columns, twice. All of it begins at addresses that the unit takes.
        align = config.l1_align
        per_k = tile.n // 2 if problem.sparse else tile.n * problem.element
        weights = round_up(self.weight_chunk, problem.k_fractal) * per_k
        self.a_bytes = round_up(self._a_bytes(), align)
        self.w_bytes = round_up(weights, align)
        self.x_bytes = round_up(weights // 4, align) if problem.sparse else 0
        self.w_at = tile.l1_buffers * self.a_bytes
        self.x_at = self.w_at + tile.l1_buffers * self.w_bytes
        self.columns_at = self.x_at + tile.l1_buffers * self.x_bytes
        # An int32 of bias and a 64-bit word for each column.
        self.words_at = round_up(4 * tile.n, align)
        columns = round_up(self.words_at + 8 * tile.n, align)
        self.columns = columns if problem.bias or self.vector else 0
        self.total = self.columns_at + 2 * self.columns
        # Of the other memories, the bytes of one slot: a part of activations or weights, a result,
        # a row of bias, a row of words.
        self.l0a_slot = round_up(tile.m * tile.k * problem.element, config.l0a_align)
        self.l0b_slot = round_up(tile.k * per_k, config.l0b_align)
        self.l0c_slot = round_up(4 * tile.m * tile.n, _l0c_align(config))
        self.bt_slot = round_up(4 * tile.n, config.bt_align)
        self.fb_slot = round_up(8 * tile.n, config.fb_align)
        #: Results in L0C at one time.
        self.results = 2 if 2 * self.l0c_slot <= config.l0c_bytes else 1

    def __eq__(self, other: object) -> bool:
        """Whether it is the same plan."""
        return isinstance(other, Plan) and self._what == other._what

    def __hash__(self) -> int:
        """A hash of what makes it."""
        return hash(self._what)

    @property
    def fits(self) -> bool:
        """Whether L1 holds it."""
        return self.total <= self.config.l1_bytes and self.chunk > 0

    def check(self) -> None:
        """Refuse what cannot be.

        Raises:
            TilingError: sizes that are no multiples, or do not fit a memory.
        """
        tile, config, problem = self.tile, self.config, self.problem
        for name, value, unit in (
            ("m", tile.m, 16), ("n", tile.n, 16), ("k", tile.k, 64), ("k_l1", tile.k_l1, 64),
            ("k_weights", tile.k_weights or tile.k_l1, 64),
            ("m_core", tile.m_core or tile.m, 16), ("n_core", tile.n_core or tile.n, 16),
        ):  # fmt: skip
            if value < unit or value % unit:
                raise TilingError(f"tile {name} is {value}; it is a positive multiple of {unit}")
        if tile.l1_buffers not in (1, 2):
            raise TilingError(f"tile l1_buffers is {tile.l1_buffers}; choose 1 or 2")
        if problem.image is not None and tile.k_weights:
            raise TilingError("tile k_weights: a convolution loads weights with the activations")
        shorter, longer = sorted((self.chunk, self.weight_chunk))
        if shorter > 0 and longer % shorter and longer < problem.k:
            raise TilingError(
                f"tile k_l1 {tile.k_l1} and k_weights {tile.k_weights}: one is no multiple of the "
                f"other"
            )
        loads = tile.n // 16 * (tile.k // problem.k_fractal)
        for what, needed, there in (
            ("two parts of activations in L0A", 2 * self.l0a_slot, config.l0a_bytes),
            ("two parts of weights in L0B", 2 * self.l0b_slot, config.l0b_bytes),
            ("a result in L0C", 4 * tile.m * tile.n, config.l0c_bytes),
            ("two rows of bias", 2 * self.bt_slot if problem.bias else 0, config.bt_bytes),
            ("two rows of words", 2 * self.fb_slot if self.vector else 0, config.fb_bytes),
            ("chunks in L1", self.total, config.l1_bytes),
            ("m of one Mmad", tile.m, isa.LIMIT_MNK),
            ("n of one Mmad", tile.n, isa.LIMIT_MNK),
            ("k of one Mmad", tile.k, isa.LIMIT_MNK),
            ("fractals of one load to L0B", loads, isa.LIMIT_REPEAT),
            ("fractals of one load to L0A", tile.k * problem.element // C0, isa.LIMIT_REPEAT),
        ):
            if needed > there:
                raise TilingError(f"tile {tile}: {what} take {needed}, the unit has {there}")
        if self.chunk <= 0:
            raise TilingError(f"tile {tile}: k_l1 holds no whole channel block of this kernel")
        if not self.rows_aligned:
            raise TilingError(
                f"tile {tile}: rows of 16 in L0A do not all begin at multiples of l0a_align "
                f"{config.l0a_align}; choose m 16, or a k whose parts all fill such pieces"
            )

    @property
    def rows_aligned(self) -> bool:
        """Whether each row of fractals in L0A that is loaded by itself begins where it may."""
        return min(self.tile.m, self.problem.m) <= 16 or not any(
            self.row_bytes(k) % self.config.l0a_align
            for k in self._parts()
            if self.problem.image is None or not self.rows_follow(k)
        )

    def rows_follow(self, k: int) -> bool:
        """Whether the rows of fractals of an image in L0A follow each other without a gap.

        Not where k ends in the middle of a fractal of the weight.
        """
        return k % self.problem.k_fractal == 0

    def row_bytes(self, k: int) -> int:
        """Bytes of one row of fractals in L0A."""
        return 16 * round_up(k, self.problem.k_fractal) * self.problem.element

    def _parts(self) -> set[int]:
        """The k of all Mmads."""
        k, step = self.problem.k, min(self.chunk, self.weight_chunk)
        steps = {min(k, step), k % step}
        return {part for k in steps for part in (min(self.tile.k, k), k % self.tile.k) if part}

    @property
    def vector(self) -> bool:
        """Whether there is one requantisation word a column."""
        return self.problem.fixpipe.startswith("v")

    def _chunk(self, k_l1: int) -> int:
        """k of one load to L1; whole fractals of the weight, unless it is all of k."""
        image = self.problem.image
        if image is None:
            return min(k_l1, round_up(self.problem.k, 64))
        block = image.kernel[0] * image.kernel[1] * C0
        if k_l1 >= self.problem.k:
            return self.problem.k
        unit = block if block % self.problem.k_fractal == 0 else 2 * block
        # A kernel may be larger than k_l1: then one or two channel blocks at a time.
        return min(max(unit, round_down(k_l1, unit)), self.problem.k)

    def _a_bytes(self) -> int:
        image = self.problem.image
        if image is None:
            return self.tile.m * round_up(self.chunk, 64) * self.problem.element
        blocks = self.chunk // (image.kernel[0] * image.kernel[1] * C0)
        return blocks * self._most_lines() * image.w * C0

    def _most_lines(self) -> int:
        """The most rows of the image that a tile needs."""
        image, size, width = self.problem.image, self.tile.m, self._width
        assert image is not None
        count = ceil_div(self.problem.m, size)
        alike, period = self.alike(0, count)
        if len(alike) < period:
            return max(self.rows(index * size).count for index in range(count))
        # Tiles begin at all columns that they ever do, and those at the last one need the most.
        rows = (width - gcd(width, size) + size - 1) // width
        return rows * image.strides[0] + (image.kernel[0] - 1) * image.dilations[0] + 1

    def alike(self, m_start: int, count: int) -> tuple[range, int]:
        """Where tiles of an image one below the other need lines alike: a range, and its period.

        Args:
            m_start: where the first one starts.
            count: how many there are, all but the last one of the same size.

        Returns:
            The range of those behind the first that touch no padding, the last one left out, and
            how many of them there are until one begins at the same column again.
        """
        image, size = self.problem.image, self.tile.m
        assert image is not None
        width, stride = self._width, image.strides[0]
        top = ceil_div(image.pads[0], stride)  # the first row of positions without padding
        span = (image.kernel[0] - 1) * image.dilations[0] + 1
        end = (image.h + image.pads[0] - span) // stride + 1  # behind the last one
        first = max(1, ceil_div(top * width - m_start, size))
        last = (end * width - size - m_start) // size
        return range(first, min(last + 1, count - 1)), width // gcd(width, size)

    def rows(self, m_start: int) -> Rows:
        """The rows of the image that a tile of positions needs."""
        image = self.problem.image
        assert image is not None
        last = min(self.problem.m, m_start + self.tile.m) - 1
        height, width = image.h, self._width
        stride, top = image.strides[0], image.pads[0]
        output_row = m_start // width
        offset = m_start - output_row * width
        low = output_row * stride - top
        high = last // width * stride - top + (image.kernel[0] - 1) * image.dilations[0]
        if low >= height:
            # Wholly below the image: as good as wholly above it, with any row to stand there.
            return Rows(height - 1, 1, high - low + 1, 0, offset)
        first = max(low, 0)
        end = max(min(high, height - 1), first)
        return Rows(first, end - first + 1, first - low, max(high - end, 0), offset)

    def buffers(self) -> tuple[Buffer, ...]:
        """GM: activations, weights, bias, words and output, in this order, aligned to 512."""
        return self._buffers

    @cached_property
    def _buffers(self) -> tuple[Buffer, ...]:
        problem = self.problem
        k1, n1 = ceil_div(problem.k, problem.k_fractal), ceil_div(problem.n, 16)
        if problem.image is None:
            activations = problem.m * problem.k * problem.element
        else:
            image = problem.image
            activations = image.batch * image.c1 * image.h * image.w * C0
        sizes = {"activations": activations}
        if problem.sparse:
            sizes |= {"dense": k1 * n1 * isa.FRACTAL, "index": k1 * n1 * isa.FRACTAL // 4}
        elif problem.weight_rows:
            sizes |= {"weights": problem.n * problem.k * problem.element}
        else:
            sizes |= {"weights": k1 * n1 * isa.FRACTAL}
        if problem.bias:
            sizes["bias"] = 4 * problem.n
        if self.vector:
            sizes["words"] = 8 * problem.n
        sizes["output"] = problem.batch * problem.m * problem.n * problem.output
        found, at = [], 0
        for name, size in sizes.items():
            found.append(Buffer(name, at, size))
            at = round_up(at + size, 512)
        return tuple(found)
