"""Named faulty devices: what each would write for a case, as whole results.

A hypothesis explains a dump only if it gives every output of it. What a fault may lead to and no
document defines is defined here: an output that is never written is zero; elements of activations
beyond K are zero, unless the fault is that they are not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from cube24.encoder import N0, ZN_K
from cube24.vectors.case import Array
from cube24.vectors.comparison.device import Device, right, weight_of
from cube24.vectors.comparison.differences import Differences
from cube24.vectors.comparison.operands import Operands, fractal_rows, groups_of
from cube24.vectors.selection import Int

#: Rows of a fractal of the result.
M0 = 16

Variants = Iterator[tuple[str, Device]]


@dataclass(frozen=True)
class Hypothesis:
    """A named fault.

    name: in lower case with hyphens. about: one sentence. applies: whether a case can have it at
    all. variants: its devices, each with what there is to say about it, or "".
    """

    name: str
    about: str
    applies: Callable[[Operands], bool]
    variants: Callable[[Operands], Variants]


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


def _always(operands: Operands) -> bool:
    return True


def _fractals(operands: Operands) -> bool:
    return bool(operands.spec["layout"] == "zn")


def _has_bias(operands: Operands) -> bool:
    return operands.bias is not None


def _pair_swapped(operands: Operands) -> Variants:
    yield "", _with(operands, operands.dense, operands.pairs[:, :, ::-1])


def _nibbles_swapped(operands: Operands) -> Variants:
    yield "", _with(operands, operands.dense, _other_nibble(operands.pairs))


def _msb_first(operands: Operands) -> Variants:
    yield "", _with(operands, operands.dense, _other_nibble(operands.pairs)[:, :, ::-1])


def _slots_swapped(operands: Operands) -> Variants:
    yield "", _with(operands, operands.dense[:, :, ::-1], operands.pairs)


def _no_one(operands: Operands) -> Variants:
    w = weight_of(operands, operands.dense, operands.pairs, 0)
    yield "", replace(right(operands), w=w)


def _other_nibble(pairs: Int) -> Int:
    """The pairs of the two groups of each byte exchanged."""
    n, groups, _ = pairs.shape
    return pairs.reshape(n, groups // 2, 2, 2)[:, :, ::-1].reshape(n, groups, 2)


def _with(operands: Operands, slots: Int, pairs: Int) -> Device:
    return replace(right(operands), w=weight_of(operands, slots, pairs))


def _reread(operands: Operands, of: Callable[[Array], Array]) -> Device:
    """A device that reads the bytes of dense and index in another order, each as rows."""
    dense, index = of(operands.arrays["dense"]), of(operands.arrays["index"])
    return _with(operands, *groups_of(dense, index, operands.n, operands.k_steps))


def _read_zz(operands: Operands) -> Variants:
    def rows(array: Array) -> Array:
        k1, n1, n0, k0 = array.shape
        return fractal_rows(array.reshape(k1, n1, k0, n0).transpose(0, 1, 3, 2))

    yield "", _reread(operands, rows)


def _read_nz(operands: Operands) -> Variants:
    def rows(array: Array) -> Array:
        k1, n1, n0, k0 = array.shape
        return fractal_rows(array.reshape(n1, k1, k0, n0).transpose(1, 0, 3, 2))

    yield "", _reread(operands, rows)


def _exchanged(operands: Operands) -> Variants:
    def rows(array: Array) -> Array:
        if array.ndim == 2:
            return array.reshape(array.shape[::-1]).T
        k1, n1, n0, k0 = array.shape
        return fractal_rows(array.reshape(n1, k1, n0, k0).transpose(1, 0, 2, 3))

    yield "", _reread(operands, rows)


def _activations_unsigned(operands: Operands) -> Variants:
    yield "", replace(right(operands), a=operands.rows & 255)


def _weights_unsigned(operands: Operands) -> Variants:
    yield "", _with(operands, operands.dense & 255, operands.pairs)


def _saturates(operands: Operands) -> Variants:
    yield "", replace(right(operands), overflow="saturate")


def _wraps(operands: Operands) -> Variants:
    yield "", replace(right(operands), overflow="wrap")


def _no_rows(operands: Operands) -> Variants:
    place = np.arange(len(operands.rows)) % operands.image_rows
    what = "positions" if operands.conv else "rows"
    for first in _last(operands.image_rows, M0):
        detail = f"{what} {first} to {operands.image_rows - 1}"
        detail += " of each image" if operands.conv else ""
        yield detail, replace(right(operands), no_rows=place >= first)


def _no_columns(operands: Operands) -> Variants:
    for first in _last(operands.n, N0):
        mask = np.arange(operands.n) >= first
        yield f"columns {first} to {operands.n - 1}", replace(right(operands), no_columns=mask)


def _last(size: int, block: int) -> list[int]:
    """Where the last tile begins, for tiles of 1, 2, 4, 8 and 16 blocks that are not all there is.

    The last block is always one of them.
    """
    tiles = [block, *(block * more for more in (2, 4, 8, 16) if block * more < size)]
    return sorted({(size - 1) // tile * tile for tile in tiles}, reverse=True)


def _no_k(operands: Operands) -> Variants:
    good = right(operands)
    for first in _last(operands.k, ZN_K):
        times = np.where(np.arange(operands.steps) < first // ZN_K, 1, 0)
        yield f"k {first} to {operands.k - 1}", replace(good, times=times)


def _times(operands: Operands, times: int) -> Variants:
    good = right(operands)
    for step in range(operands.steps):
        how_often = good.times.copy()
        how_often[step] = times
        low, high = step * ZN_K, min(step * ZN_K + ZN_K, operands.k) - 1
        yield f"fractal {step}, k {low} to {high}", replace(good, times=how_often)


def _skipped(operands: Operands) -> Variants:
    return _times(operands, 0)


def _repeated(operands: Operands) -> Variants:
    return _times(operands, 2)


def _has_tail(operands: Operands) -> bool:
    return operands.spec["layout"] == "nd" and operands.k < operands.k_steps


def _tail(operands: Operands) -> Variants:
    """Both operands are filled up to whole steps with what stands behind the row, or stood there.

    In fractals the weight of the tail is zero in the file, so what it meets does not matter.
    """
    dense, index = operands.arrays["dense"], operands.arrays["index"]
    slots, pairs = groups_of(
        _read_on(dense, operands.k_steps // 2), _read_on(index, operands.k_steps // 8),
        operands.n, operands.k_steps,
    )  # fmt: skip
    device = replace(_with(operands, slots, pairs), a=_read_on(operands.rows[:, : operands.k],
                                                              operands.k_steps))  # fmt: skip
    yield "it holds what follows the row in its file", device
    if operands.steps > 1:
        a, w = operands.rows.copy(), right(operands).w.copy()
        for array, stored in ((a, operands.k), (w, 2 * dense.shape[1])):
            array[:, stored:] = array[:, stored - ZN_K : operands.k_steps - ZN_K]
        yield "it holds what the step before left there", replace(right(operands), a=a, w=w)


def _read_on(rows: Array, columns: int) -> Array:
    """Rows (n, bytes) as (n, columns): each reads on where it ends; zeros behind the last."""
    flat = np.append(rows.reshape(-1), np.zeros(columns, rows.dtype))
    starts = np.arange(len(rows)) * rows.shape[1]
    return np.asarray(flat[starts[:, None] + np.arange(columns)])


def _no_bias(operands: Operands) -> Variants:
    good = right(operands)
    yield "", replace(good, start=0 * good.start)


def _bias_twice(operands: Operands) -> Variants:
    good = right(operands)
    yield "added again before the products", replace(good, start=2 * good.start)
    yield "added again after the products", replace(good, late=good.start)


def _rounds_away(operands: Operands) -> Variants:
    yield "", replace(right(operands), half_away=True)


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
        lambda operands: operands.config.overflow == "wrap", _saturates,
    ),
    Hypothesis(
        "wraps-instead-of-saturates", "The accumulator wraps where it has to saturate.",
        lambda operands: operands.config.overflow == "saturate", _wraps,
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
        lambda operands: operands.spec["requant"] is not None, _rounds_away,
    ),
)  # fmt: skip


def explaining(
    operands: Operands, expected: Array, got: Array, known: npt.NDArray[np.bool_]
) -> tuple[Explained, ...]:
    """The hypotheses that give every output that was got; several may, on small cases above all.

    A device is tried on three rows first, one of them with a difference, and on all if it passes. A
    hypothesis that changes nothing on this case is none.

    Args:
        operands: the case.
        expected, got: results of the case; where they are equal there is nothing to explain.
        known: which outputs were got; the others are not looked at.
    """
    shape = (len(operands.rows), operands.n)
    of = Differences(operands, expected.reshape(shape), got.reshape(shape), known.reshape(shape))
    if not of.wrong.any():
        return ()
    found = []
    for hypothesis in HYPOTHESES:
        if not hypothesis.applies(operands):
            continue
        hits = [
            (detail, device)
            for detail, device in hypothesis.variants(operands)
            if of.gives_rows(device.output(of.tried)) and of.gives(device.output())
        ]
        if hits:
            details = tuple(detail for detail, _ in hits)
            found.append(Explained(hypothesis.name, hypothesis.about, details, hits[0][1]))
    return tuple(found)
