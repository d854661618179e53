"""Named faulty devices: what each would write for a case, as whole results.

A device is told by what reaches its multipliers and by how it sums: activations, the weight that
each of them meets, how often each step of k is added, bias, overflow, requantisation. All is made
from the files of the case, as a device reads them: activations, dense, index, bias and requant; the
original weight is not looked at. A hypothesis explains a dump only if it gives every output of it.

What a fault may lead to and no document defines is defined here: an index of 3 selects nothing, and
neither does slot 1 where i1 + 1 would be 4. An output that is never written is zero. Elements of
activations beyond K are zero, unless the fault is that they are not. Padding of a convolution holds
``offset_x`` in all 32 channels of a block, as the unit's img2col puts it there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from cube24.encoder import C0, GROUP, N0, ZN_K
from cube24.simulator import UnitConfig, isa, requant
from cube24.sizes import ceil_div
from cube24.vectors.case import Array, compute
from cube24.vectors.spec import Spec, requant_of, unit_of

Int = npt.NDArray[np.int64]

_LOW, _HIGH = -(1 << 31), (1 << 31) - 1
#: Rows of a fractal of the result.
M0 = 16


# --- the files of a case, as a device reads them --------------------------------------------------


@dataclass(frozen=True, eq=False)
class Problem:
    """A case as one multiplication of rows by columns.

    Attributes: spec and config, of the case; arrays, its files by role; rows, the activations
    (rows, k_steps), for a convolution one row an output position; k, without padding; k_steps, K
    rounded up to whole steps of 64; n; image_rows, rows of one image or all rows; dense and pairs,
    (N, groups, 2), filled with zeros up to k_steps; ends, the k after which sums are added to the
    accumulator; shape and dtype of the result.
    """

    spec: Spec
    config: UnitConfig
    arrays: Mapping[str, Array]
    rows: npt.NDArray[np.int16]
    k: int
    k_steps: int
    n: int
    image_rows: int
    dense: Int
    pairs: Int
    ends: tuple[int, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def conv(self) -> bool:
        """Whether it is a convolution."""
        return bool(self.spec["operation"] == "conv2d")

    @property
    def bias(self) -> Int | None:
        """The bias, (n,)."""
        found = self.arrays.get("bias")
        return None if found is None else found.astype(np.int64)

    @property
    def steps(self) -> int:
        """Steps of 64 of k, one fractal each."""
        return self.k_steps // ZN_K


def problem_of(spec: Spec, arrays: Mapping[str, Array]) -> Problem:
    """Make it.

    Args:
        spec: of the case.
        arrays: activations, dense and index by role, and bias and requant where the case has them,
            as they stand in the files.

    Raises:
        ArgumentError, ConfigError: the spec is impossible.
    """
    size, config, how = spec["sizes"], unit_of(spec), requant_of(spec)
    shape: tuple[int, ...]
    if spec["operation"] == "conv2d":
        columns, shape = _img2col(arrays["activations"], size)
        n, image_rows = size["cout"], shape[1] * shape[2]
    else:
        columns, shape = arrays["activations"], (size["m"],)
        n, image_rows = size["n"], size["m"]
    k = columns.shape[1]
    k_steps = ceil_div(k, ZN_K) * ZN_K
    dense, index = _as_rows(arrays["dense"], arrays["index"], spec["layout"])
    return Problem(
        spec, config, arrays, _widened(columns.astype(np.int16), k_steps), k, k_steps, n,
        image_rows, *_groups(dense, index, n, k_steps), _ends(spec, config, arrays, k),
        (*shape, n), np.dtype(np.int32) if how is None else how.dtype,
    )  # fmt: skip


def _img2col(x: Array, size: Mapping[str, Any]) -> tuple[Array, tuple[int, int, int]]:
    """(B, C1, H, W, 32) as (B * Ho * Wo, C1 * Kh * Kw * 32), and (B, Ho, Wo)."""
    (kh, kw), (dy, dx), (sy, sx) = size["kernel"], size["dilations"], size["strides"]
    top, left, bottom, right = size["pads"]
    around = ((0, 0), (0, 0), (top, bottom), (left, right), (0, 0))
    padded = np.pad(x, around, constant_values=size["offset_x"])
    batch, c1, height, width, _ = padded.shape
    ho, wo = (height - (kh - 1) * dy - 1) // sy + 1, (width - (kw - 1) * dx - 1) // sx + 1
    found = np.empty((batch, ho, wo, c1, kh, kw, C0), x.dtype)
    for y in range(kh):
        for z in range(kw):
            rows = slice(y * dy, y * dy + (ho - 1) * sy + 1, sy)
            taken = padded[:, :, rows, z * dx : z * dx + (wo - 1) * sx + 1 : sx]
            found[:, :, :, :, y, z] = taken.transpose(0, 2, 3, 1, 4)
    return found.reshape(batch * ho * wo, -1), (batch, ho, wo)


def _widened(array: Array, columns: int) -> Array:
    """The array with zeros behind its rows."""
    return np.pad(array, ((0, 0), (0, columns - array.shape[1])))


def _as_rows(dense: Array, index: Array, layout: str) -> tuple[Array, Array]:
    """Dense and index as rows (N', bytes), from rows or from fractals (K1, N1, 16, bytes)."""
    if layout == "nd":
        return dense, index
    return _fractal_rows(dense), _fractal_rows(index)


def _fractal_rows(fractals: Array) -> Array:
    k1, n1, n0, k0 = fractals.shape
    return fractals.transpose(1, 2, 0, 3).reshape(n1 * n0, k1 * k0)


def _groups(dense: Array, index: Array, n: int, k_steps: int) -> tuple[Int, Int]:
    """Slots and index pairs (n, k_steps / 4, 2) of rows."""
    slots = _widened(dense[:n].astype(np.int64), k_steps // 2).reshape(n, -1, 2)
    packed = _widened(index[:n].astype(np.int64), k_steps // 8)
    pairs = packed[:, :, None] >> np.array([0, 2, 4, 6]) & 3
    return slots, pairs.reshape(n, -1, 2)


def _ends(spec: Spec, config: UnitConfig, arrays: Mapping[str, Array], k: int) -> tuple[int, ...]:
    """The k after which the unit adds to its accumulator, the last one filled up to a step."""
    last = ceil_div(k, ZN_K) * ZN_K
    if config.grain == "step":
        return tuple(range(ZN_K, last + 1, ZN_K))
    if config.overflow == "wrap" and "bias" not in arrays:
        return (last,)  # no sum from zero can leave int32, and so the grain does not matter
    # The program depends on the sizes alone; weights of zero are legal, whatever the files hold.
    blank = {**arrays, "dense": 0 * arrays["dense"], "index": 0 * arrays["index"]}
    ends, at = [], 0
    for instruction in compute(spec, config, blank).program.instructions:
        if isinstance(instruction, isa.Mmad):
            at += instruction.k
            ends.append(at)
            if at >= k:
                break
    return (*ends[:-1], last)


def selected(pairs: Int, config: UnitConfig, one: int = 1) -> tuple[Int, Int]:
    """The element, 0 to 3, that each slot selects; -1: nothing.

    Args:
        pairs: (..., 2).
        config: says what slot 1 of (2, 0) selects.
        one: what is added to i1.
    """
    i0, i1 = pairs[..., 0], pairs[..., 1]
    second = np.where(i1 == 3, -1, i1 + one)
    if config.pair20 == "table":
        second = np.where((i0 == 2) & (i1 == 0), 2, second)
    return np.where(i0 == 3, -1, i0), second


def spread(slots: Int, first: Int, second: Int) -> Int:
    """The weight that each element of a group meets, (..., 4), from slots and what they select."""
    places = np.arange(GROUP)
    return np.asarray(
        slots[..., :1] * (first[..., None] == places)
        + slots[..., 1:] * (second[..., None] == places)
    )


# --- devices --------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Device:
    """A device that multiplies the rows of a problem.

    Attributes: a, what reaches the multipliers, (rows, k_steps); w, what it meets, (n, k_steps);
    times, how often each step is added; overflow; start and late, (n,), what stands in the
    accumulator before and is added after; half_away, how requantisation rounds; no_rows and
    no_columns, masks of outputs that are never written.
    """

    problem: Problem
    a: Array
    w: Int
    times: Int
    overflow: str
    start: Int
    late: Int
    half_away: bool = False
    no_rows: npt.NDArray[np.bool_] | None = None
    no_columns: npt.NDArray[np.bool_] | None = None

    def accumulators(self, rows: Any = slice(None), columns: Any = slice(None)) -> Int:
        """Its accumulators (rows, n), or some of its rows and columns."""
        # float64 is exact: a sum stays below 2^53 by far.
        a, w = self.a[rows].astype(np.float64), self.w[columns].astype(np.float64)
        start, late = self.start[columns], self.late[columns]
        bound = int((np.abs(w).sum(axis=1) * 255).max(initial=0)) * int(self.times.max(initial=0))
        bound += int(np.abs(start).max(initial=0) + np.abs(late).max(initial=0))
        if self.overflow == "wrap" or bound <= _HIGH:
            w = w * np.repeat(self.times, ZN_K)
            return _wrapped((a @ w.T).astype(np.int64) + start + late)
        total = np.broadcast_to(np.clip(start, _LOW, _HIGH), (len(a), len(w)))
        for piece in self._pieces():
            part = np.zeros(total.shape)
            for step in piece:
                at = slice(step * ZN_K, step * ZN_K + ZN_K)
                part += a[:, at] @ w[:, at].T
            total = np.clip(total + part.astype(np.int64), _LOW, _HIGH)
        return np.asarray(np.clip(total + late, _LOW, _HIGH))

    def _pieces(self) -> Iterator[list[int]]:
        """The steps that are summed exactly before they are added to the accumulator."""
        at = 0
        for end in self.problem.ends:
            piece = [step for step in range(at, end // ZN_K) for _ in range(int(self.times[step]))]
            if self.problem.config.grain == "step":
                yield from ([step] for step in piece)
            else:
                yield piece
            at = end // ZN_K

    def output(self, rows: Any = slice(None), columns: Any = slice(None)) -> Array:
        """What it writes, (rows, n)."""
        found = finished(
            self.problem, self.accumulators(rows, columns), columns, half_away=self.half_away
        )
        if self.no_rows is not None:
            found[self.no_rows[rows]] = 0
        if self.no_columns is not None:
            found[:, self.no_columns[columns]] = 0
        return found


def _wrapped(total: Int) -> Int:
    return np.asarray(total.astype(np.uint64).astype(np.uint32).view(np.int32).astype(np.int64))


def finished(
    problem: Problem, accumulators: Int, columns: Any = slice(None), *, half_away: bool = False
) -> Array:
    """The results that accumulators (rows, n) become: int32, or requantised.

    Raises:
        RequantError: a word with a scale that is not finite.
    """
    how = requant_of(problem.spec)
    if how is None:
        return accumulators.astype(np.int32)
    words = problem.arrays["requant"]
    words = words[columns] if how.per_column else words
    values = accumulators.astype(np.int32)
    if half_away:
        return _half_away(values, words, problem.config, how)
    if how.mode == "DEQF16":
        return requant.dequantise(values, words, how.relu_mode, how.alpha)
    return requant.requantise(values, words, problem.config, how.relu_mode, how.alpha).view(
        how.dtype
    )


def _half_away(
    values: npt.NDArray[np.int32],
    words: npt.NDArray[np.uint64],
    config: UnitConfig,
    how: requant.Requant,
) -> Array:
    """Requantisation that rounds ties away from zero in its last rounding."""
    x = values.astype(np.int64)
    if how.mode == "REQ8":
        field = (words >> np.uint64(32) & np.uint64(15)).astype(np.int64)
        shift = field + (1 if config.requant_shift == "n+1" else 0)
        mcb = (words >> np.uint64(36) & np.uint64(1)).astype(bool)
        x = np.where(mcb, np.clip(x >> shift, -(1 << 15), (1 << 15) - 1), x)
    scale = (words & np.uint64(0xFFFF_E000)).astype(np.uint32).view(np.float32)
    below = scale if how.relu_mode == "none" else np.float32(how.alpha)  # 0 for a plain ReLU
    with np.errstate(over="ignore"):
        y = x.astype(np.float32) * np.where(x < 0, below, scale)
    if how.mode == "DEQF16":
        y = np.clip(y, np.float32(-65504), np.float32(65504))
        near = y.astype(np.float16)
        with np.errstate(over="ignore"):
            away = np.nextafter(near, np.copysign(np.float16(np.inf), near))
            exact = np.abs(y.astype(np.float64))
            rest = exact - np.abs(near.astype(np.float64))
            gap = np.abs(away.astype(np.float64)) - exact
        return np.asarray(np.where((rest > 0) & (rest == gap), away, near))
    exact = np.clip(y, -256, 255).astype(np.float64)
    rounded = (np.sign(exact) * np.floor(np.abs(exact) + 0.5)).astype(np.int64)
    offset = (words >> np.uint64(37) & np.uint64(0x1FF)).astype(np.int64)
    if config.requant_offset == "signed":
        offset = np.where(offset >= 256, offset - 512, offset)
    low, high = (-128, 127) if how.signed else (0, 255)
    return np.asarray(np.clip(rounded + offset, low, high).astype(how.dtype))


def right(problem: Problem) -> Device:
    """The device without a fault."""
    none = np.zeros(problem.n, np.int64)
    return Device(
        problem, problem.rows, weight_of(problem, problem.dense, problem.pairs),
        np.ones(problem.steps, np.int64), problem.config.overflow,
        none if problem.bias is None else problem.bias, none,
    )  # fmt: skip


def weight_of(problem: Problem, slots: Int, pairs: Int, one: int = 1) -> Int:
    """The weight that each activation meets, (n, k_steps)."""
    return spread(slots, *selected(pairs, problem.config, one)).reshape(len(slots), -1)


# --- hypotheses -----------------------------------------------------------------------------------

Variants = Iterator[tuple[str, Device]]


@dataclass(frozen=True)
class Hypothesis:
    """A named fault.

    name: in lower case with hyphens. about: one sentence. applies: whether a case can have it at
    all. variants: its devices, each with what there is to say about it, or "".
    """

    name: str
    about: str
    applies: Callable[[Problem], bool]
    variants: Callable[[Problem], Variants]


@dataclass(frozen=True, eq=False)
class Explained:
    """A hypothesis that gives all outputs of a dump.

    name, about: of the hypothesis. details: of those of its variants that do, such as which fractal
    was skipped. device: the first of them.
    """

    name: str
    about: str
    details: tuple[str, ...]
    device: Device

    def __str__(self) -> str:
        """One line for a person."""
        details = "; ".join(detail for detail in self.details if detail)
        return f"{self.name}: {self.about}" + (f" ({details})" if details else "")


def _always(problem: Problem) -> bool:
    return True


def _fractals(problem: Problem) -> bool:
    return bool(problem.spec["layout"] == "zn")


def _has_bias(problem: Problem) -> bool:
    return problem.bias is not None


def _pair_swapped(problem: Problem) -> Variants:
    yield "", _with(problem, problem.dense, problem.pairs[:, :, ::-1])


def _nibbles_swapped(problem: Problem) -> Variants:
    yield "", _with(problem, problem.dense, _other_nibble(problem.pairs))


def _msb_first(problem: Problem) -> Variants:
    yield "", _with(problem, problem.dense, _other_nibble(problem.pairs)[:, :, ::-1])


def _slots_swapped(problem: Problem) -> Variants:
    yield "", _with(problem, problem.dense[:, :, ::-1], problem.pairs)


def _no_one(problem: Problem) -> Variants:
    w = weight_of(problem, problem.dense, problem.pairs, 0)
    yield "", replace(right(problem), w=w)


def _other_nibble(pairs: Int) -> Int:
    """The pairs of the two groups of each byte exchanged."""
    n, groups, _ = pairs.shape
    return pairs.reshape(n, groups // 2, 2, 2)[:, :, ::-1].reshape(n, groups, 2)


def _with(problem: Problem, slots: Int, pairs: Int) -> Device:
    return replace(right(problem), w=weight_of(problem, slots, pairs))


def _reread(problem: Problem, of: Callable[[Array], Array]) -> Device:
    """A device that reads the bytes of dense and index in another order, each as rows."""
    dense, index = of(problem.arrays["dense"]), of(problem.arrays["index"])
    return _with(problem, *_groups(dense, index, problem.n, problem.k_steps))


def _read_zz(problem: Problem) -> Variants:
    def rows(array: Array) -> Array:
        k1, n1, n0, k0 = array.shape
        return _fractal_rows(array.reshape(k1, n1, k0, n0).transpose(0, 1, 3, 2))

    yield "", _reread(problem, rows)


def _read_nz(problem: Problem) -> Variants:
    def rows(array: Array) -> Array:
        k1, n1, n0, k0 = array.shape
        return _fractal_rows(array.reshape(n1, k1, k0, n0).transpose(1, 0, 3, 2))

    yield "", _reread(problem, rows)


def _exchanged(problem: Problem) -> Variants:
    def rows(array: Array) -> Array:
        if array.ndim == 2:
            return array.reshape(array.shape[::-1]).T
        k1, n1, n0, k0 = array.shape
        return _fractal_rows(array.reshape(n1, k1, n0, k0).transpose(1, 0, 2, 3))

    yield "", _reread(problem, rows)


def _activations_unsigned(problem: Problem) -> Variants:
    yield "", replace(right(problem), a=problem.rows & 255)


def _weights_unsigned(problem: Problem) -> Variants:
    yield "", _with(problem, problem.dense & 255, problem.pairs)


def _saturates(problem: Problem) -> Variants:
    yield "", replace(right(problem), overflow="saturate")


def _wraps(problem: Problem) -> Variants:
    yield "", replace(right(problem), overflow="wrap")


def _no_rows(problem: Problem) -> Variants:
    place = np.arange(len(problem.rows)) % problem.image_rows
    what = "positions" if problem.conv else "rows"
    for first in _last(problem.image_rows, M0):
        detail = f"{what} {first} to {problem.image_rows - 1}"
        detail += " of each image" if problem.conv else ""
        yield detail, replace(right(problem), no_rows=place >= first)


def _no_columns(problem: Problem) -> Variants:
    for first in _last(problem.n, N0):
        mask = np.arange(problem.n) >= first
        yield f"columns {first} to {problem.n - 1}", replace(right(problem), no_columns=mask)


def _last(size: int, block: int) -> list[int]:
    """Where the last tile begins, for tiles of 1, 2, 4, 8 and 16 blocks that are not all there is.

    The last block is always one of them.
    """
    tiles = [block, *(block * more for more in (2, 4, 8, 16) if block * more < size)]
    return sorted({(size - 1) // tile * tile for tile in tiles}, reverse=True)


def _no_k(problem: Problem) -> Variants:
    good = right(problem)
    for first in _last(problem.k, ZN_K):
        times = np.where(np.arange(problem.steps) < first // ZN_K, 1, 0)
        yield f"k {first} to {problem.k - 1}", replace(good, times=times)


def _times(problem: Problem, times: int) -> Variants:
    good = right(problem)
    for step in range(problem.steps):
        how_often = good.times.copy()
        how_often[step] = times
        low, high = step * ZN_K, min(step * ZN_K + ZN_K, problem.k) - 1
        yield f"fractal {step}, k {low} to {high}", replace(good, times=how_often)


def _skipped(problem: Problem) -> Variants:
    return _times(problem, 0)


def _repeated(problem: Problem) -> Variants:
    return _times(problem, 2)


def _has_tail(problem: Problem) -> bool:
    return problem.spec["layout"] == "nd" and problem.k < problem.k_steps


def _tail(problem: Problem) -> Variants:
    """Both operands are filled up to whole steps with what stands behind the row, or stood there.

    In fractals the weight of the tail is zero in the file, so what it meets does not matter.
    """
    dense, index = problem.arrays["dense"], problem.arrays["index"]
    slots, pairs = _groups(
        _read_on(dense, problem.k_steps // 2), _read_on(index, problem.k_steps // 8),
        problem.n, problem.k_steps,
    )  # fmt: skip
    device = replace(_with(problem, slots, pairs), a=_read_on(problem.rows[:, : problem.k],
                                                              problem.k_steps))  # fmt: skip
    yield "it holds what follows the row in its file", device
    if problem.steps > 1:
        a, w = problem.rows.copy(), right(problem).w.copy()
        for array, stored in ((a, problem.k), (w, 2 * dense.shape[1])):
            array[:, stored:] = array[:, stored - ZN_K : problem.k_steps - ZN_K]
        yield "it holds what the step before left there", replace(right(problem), a=a, w=w)


def _read_on(rows: Array, columns: int) -> Array:
    """Rows (n, bytes) as (n, columns): each reads on where it ends; zeros behind the last."""
    flat = np.append(rows.reshape(-1), np.zeros(columns, rows.dtype))
    starts = np.arange(len(rows)) * rows.shape[1]
    return np.asarray(flat[starts[:, None] + np.arange(columns)])


def _no_bias(problem: Problem) -> Variants:
    good = right(problem)
    yield "", replace(good, start=0 * good.start)


def _bias_twice(problem: Problem) -> Variants:
    good = right(problem)
    yield "added again before the products", replace(good, start=2 * good.start)
    yield "added again after the products", replace(good, late=good.start)


def _rounds_away(problem: Problem) -> Variants:
    yield "", replace(right(problem), half_away=True)


#: All hypotheses, in the order in which they are reported.
HYPOTHESES: tuple[Hypothesis, ...] = (
    Hypothesis(
        "index-pair-swapped",
        "i0 is read from the upper two bits of a group's index and i1 from the lower two.",
        _always, _pair_swapped,
    ),
    Hypothesis(
        "index-nibbles-swapped",
        "The even group of an index byte is read from its upper nibble, the odd one from the "
        "lower.",
        _always, _nibbles_swapped,
    ),
    Hypothesis(
        "index-msb-first",
        "The four bit pairs of an index byte are read from the most significant one down.",
        _always, _msb_first,
    ),
    Hypothesis(
        "slots-swapped",
        "The two dense bytes of a group are exchanged.",
        _always, _slots_swapped,
    ),
    Hypothesis(
        "slot1-without-plus-one",
        "Slot 1 selects element i1, not i1 + 1.",
        _always, _no_one,
    ),
    Hypothesis(
        "fractal-order-nz",
        "The Zn fractals of the weight are read as Nz: along K first, and each along N.",
        _fractals, _read_nz,
    ),
    Hypothesis(
        "fractal-order-zz",
        "The Zn fractals of the weight are read as Zz: each is read along N.",
        _fractals, _read_zz,
    ),
    Hypothesis(
        "k-n-exchanged",
        "K and N of the weight are exchanged: its rows are read as columns (nd), or its fractals "
        "along K first (zn).",
        _always, _exchanged,
    ),
    Hypothesis(
        "activations-unsigned", "Activations are taken for uint8.",
        _always, _activations_unsigned,
    ),
    Hypothesis(
        "weights-unsigned", "Weights are taken for uint8.",
        _always, _weights_unsigned,
    ),
    Hypothesis(
        "saturates-instead-of-wraps", "The accumulator saturates where it has to wrap.",
        lambda problem: problem.config.overflow == "wrap", _saturates,
    ),
    Hypothesis(
        "wraps-instead-of-saturates", "The accumulator wraps where it has to saturate.",
        lambda problem: problem.config.overflow == "saturate", _wraps,
    ),
    Hypothesis(
        "last-rows-dropped",
        "The last tile of rows of the result (of 16, 32, 64, 128 or 256, full or not) is never "
        "written and holds zeros.",
        _always, _no_rows,
    ),
    Hypothesis(
        "last-columns-dropped",
        "The last tile of columns of the result (of 16, 32, 64, 128 or 256, full or not) is never "
        "written and holds zeros.",
        _always, _no_columns,
    ),
    Hypothesis(
        "last-k-dropped",
        "The last tile of K (of 64, 128, 256, 512 or 1024, full or not) is not added.",
        _always, _no_k,
    ),
    Hypothesis(
        "k-tail-not-zeroed",
        "The last step of 64 is not full, and what lies behind K is not zero in either operand.",
        _has_tail, _tail,
    ),
    Hypothesis(
        "k-fractal-skipped", "The products of one step of 64 of K are not added.",
        _always, _skipped,
    ),
    Hypothesis(
        "k-fractal-repeated", "The products of one step of 64 of K are added twice.",
        _always, _repeated,
    ),
    Hypothesis("bias-missing", "The bias is not added.", _has_bias, _no_bias),
    Hypothesis("bias-twice", "The bias is added twice.", _has_bias, _bias_twice),
    Hypothesis(
        "rounds-half-away",
        "The last rounding of the requantisation takes ties away from zero, not to even.",
        lambda problem: problem.spec["requant"] is not None, _rounds_away,
    ),
)  # fmt: skip


def outputs(problem: Problem) -> Iterator[tuple[str, str, Array]]:
    """Every hypothetical device of a case: name, detail, and all of its outputs.

    A hypothesis that gives what the right device gives cannot be told from it on this case.
    """
    for hypothesis in HYPOTHESES:
        if hypothesis.applies(problem):
            for detail, device in hypothesis.variants(problem):
                yield hypothesis.name, detail, device.output().reshape(problem.shape)


def explaining(problem: Problem, expected: Array, got: Array) -> tuple[Explained, ...]:
    """The hypotheses that give every output that was got; several may, on small cases above all.

    A device is tried on three rows first, one of them with a difference, and on all if it passes. A
    hypothesis that changes nothing on this case is none.

    Args:
        problem: the case.
        expected, got: results of the case; where they are equal there is nothing to explain.
    """
    wanted = bits(got).reshape(len(problem.rows), problem.n)
    different = wanted != bits(expected).reshape(wanted.shape)
    if not different.any():
        return ()
    rows = np.unique([int(np.argwhere(different)[0, 0]), 0, len(wanted) - 1])
    found = []
    for hypothesis in HYPOTHESES:
        if not hypothesis.applies(problem):
            continue
        hits = [
            (detail, device)
            for detail, device in hypothesis.variants(problem)
            if np.array_equal(bits(device.output(rows)), wanted[rows])
            and np.array_equal(bits(device.output()), wanted)
        ]
        if hits:
            details = tuple(detail for detail, _ in hits)
            found.append(Explained(hypothesis.name, hypothesis.about, details, hits[0][1]))
    return tuple(found)


def bits(array: Array) -> Array:
    """The array as unsigned integers, so that equal means equal in every bit."""
    return np.ascontiguousarray(array).view(np.dtype(f"u{array.dtype.itemsize}"))
