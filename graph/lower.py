"""Candidates to layers of the unit, and how long they take.

The sizes of activations are those that the model says or implies. Where one is open there is no
layer, and no time.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from cube24.errors import counted
from cube24.graph.nodes import FORMS, Candidate, Product, Window
from cube24.graph.shapes import Shape, Shapes
from cube24.simulator import Conv2d, Layer, Matmul, Requant, TilingError, Unit


@dataclass(frozen=True)
class Cycles:
    """Cycles of a layer on a unit, with a dense and with a sparse weight.

    dense: None where a dense weight does not fit the unit. reason: the first one why the sparse run
    is not twice as fast.
    """

    dense: int | None
    sparse: int
    reason: str = ""

    @property
    def best(self) -> int:
        """Cycles of the faster of both."""
        return self.sparse if self.dense is None else min(self.dense, self.sparse)

    @property
    def faster(self) -> bool:
        """Whether the sparse weight takes fewer cycles than the dense one."""
        return self.dense is None or self.sparse < self.dense


def layer_of(candidate: Candidate, shapes: Shapes) -> Layer | None:
    """The layer that a candidate is; None: a size of its activations is open.

    Raises:
        ShapeError, ArgumentError: the unit has no such layer.
    """
    product = candidate.product
    assert product is not None
    return sized(product, shapes.shape(candidate.scope, product.x))


def sized(product: Product, x: Shape | None) -> Layer | None:
    """The layer of a product with activations of a shape; None: a size is open.

    Raises:
        ShapeError, ArgumentError: the unit has no such layer.
    """
    weight = product.weight.values.shape
    if x is None or any(size is None for size in x):
        return None
    known = tuple(size or 0 for size in x)
    if product.window is None:
        if product.transpose_x:
            known = known[::-1]
        return Matmul.of((prod(known[:-1]), known[-1] if known else 0), weight)
    window, (top, left, bottom, right) = product.window, product.padding
    if len(known) == 4:
        known = (*known[:2], known[2] + top + bottom, known[3] + left + right)
    return Conv2d.of(
        known, weight, strides=window.strides, pads=window.pads, dilations=window.dilations,
        offset_x=product.offset,
    )  # fmt: skip


def smallest(product: Product) -> Layer:
    """A layer of the product with as few activations as it can have.

    Raises:
        ShapeError, ArgumentError: the unit has no such layer, whatever its activations.
    """
    weight = product.weight.values.shape
    if product.window is None:
        return Matmul(1, *weight)
    window = product.window
    return Conv2d.of(
        (1, weight[1], *_image(window, weight[2:])), weight, strides=window.strides,
        pads=window.pads, dilations=window.dilations, offset_x=product.offset,
    )  # fmt: skip


def _image(window: Window, kernel: tuple[int, ...]) -> tuple[int, int]:
    """The smallest image that the kernel fits."""
    top, left, bottom, right = window.pads
    spans = [(size - 1) * step + 1 for size, step in zip(kernel, window.dilations, strict=True)]
    return max(1, spans[0] - top - bottom), max(1, spans[1] - left - right)


def macs_of(candidate: Candidate, shapes: Shapes) -> int | None:
    """Multiplications of a candidate as a dense computation, padding of images included.

    None: a size is open.
    """
    scope, node = candidate.scope, candidate.node
    product = candidate.product
    last = node if product is None else product.nodes[-1]
    y = shapes.shape(scope, last.output[0])
    if y is None or any(size is None for size in y):
        return None
    weight = candidate.weight
    if weight is not None:
        each = prod(weight.values.shape[1:])
    else:
        w = shapes.shape(scope, node.input[FORMS[candidate.op].w])
        rows = w and (w[1:] if candidate.kind == "conv" else w[-2:-1])
        if not rows or any(size is None for size in rows):
            return None
        each = prod(size or 0 for size in rows)
    return prod(size or 0 for size in y) * each


#: Images, and rows of results, of the largest layer whose cycles are counted, tile by tile.
_IMAGES, _ROWS = 1 << 16, 1 << 24


def can_time(layer: Layer) -> bool:
    """Whether a layer is one that some memory holds; a file may say any number of images."""
    return layer.batch <= _IMAGES and layer.batch * layer.m <= _ROWS


def cycles_of(
    layer: Layer,
    unit: Unit,
    cores: int = 1,
    requant: Requant | None = None,
    *,
    explained: bool = True,
) -> Cycles:
    """The time of a layer with a bias, with both kinds of weights.

    Each weight has the tile that the unit chooses for it. Results are int32 where there is no
    requant. explained: whether the reason is found, which takes several times as long as all else.

    Raises:
        TilingError: a sparse weight does not fit the unit.
    """
    sparse = unit.time(layer, sparse=True, bias=True, requant=requant, cores=cores)
    try:
        dense = unit.time(layer, sparse=False, bias=True, requant=requant, cores=cores).cycles
    except TilingError:
        return Cycles(None, sparse.cycles)
    why = sparse.reasons if explained else ()
    first = f"{why[0].name}: {why[0].about} ({counted(why[0].cycles, 'cycle')})" if why else ""
    return Cycles(dense, sparse.cycles, first)
