"""Scales with the mantissa that a word of the unit holds, and models whose scales are such.

A word keeps 10 of the 23 bits of mantissa of an fp32 (docs/unit.md). A scale is rounded to the
nearest of these numbers, half to even, and so moves by 2^-11 of itself at most.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cube24.graph.model import Model, Names
from cube24.graph.nodes import FORMS, Candidate, Reader
from cube24.graph.protos import onnx
from cube24.graph.sweeping import sweep

Floats = npt.NDArray[np.float32]

#: How many neighbours of a scale are tried, up and down.
_NEIGHBOURS = 8


def to_unit_scale(scale: Floats) -> Floats:
    """The nearest scales that a word holds, ties to even."""
    bits = np.asarray(scale, np.float32).view(np.uint32)
    half = np.uint32(0xFFF) + (bits >> np.uint32(13) & np.uint32(1))
    return np.asarray((bits + half) & np.uint32(0xFFFF_E000), np.uint32).view(np.float32)


def snapped(model: Model) -> Model:
    """A model whose scales of weights are moved so that scales of results are those of a word.

    s = fp32(fp32(x_scale * w_scale) / y_scale) is computed in fp32, so there may be no w_scale that
    gives the wanted s to the bit; then it is the nearest that was found.
    """
    copy = model.copy()
    reader = Reader(copy)
    work = _Snapping(reader)
    for found in list(reader.candidates()):
        product = found.product
        if product is not None and product.result.dtype is not None:
            work.move(found)
    work.finish()
    return Model(copy.path, copy.proto, copy.files)  # which knows its new constants


class _Snapping:
    def __init__(self, reader: Reader) -> None:
        self.reader, self.proto = reader, reader.model.proto
        self.names = Names(reader.model)
        self.old: set[str] = set()  # names that may have no users now
        self.before: dict[int, list[Any]] = {}  # by a node: new ones that go before it, and itself

    def move(self, found: Candidate) -> None:
        """Give a node a scale of its weight of its own."""
        form, node, product = FORMS[found.op], found.node, found.product
        assert product is not None
        x, w, y = (
            np.asarray(self.reader.constants.get(found.scope, name), np.float32)
            for name in product.result.scales
        )
        moved = _moved(x.reshape(()), w, y.reshape(()))
        name = self._add(f"{product.result.scales[1]}/snapped", moved)
        if form.w_scale is not None:
            self.old.add(node.input[form.w_scale])
            node.input[form.w_scale] = name
            return
        self._dequantise(found, form.w, name)
        if product.bias is not None and form.bias is not None:
            # Its scale is that of the sums.
            own = np.asarray(x.reshape(()) * moved, np.float32)
            self._dequantise(found, form.bias, self._add(f"{name}/bias", own))

    def _dequantise(self, found: Candidate, at: int, scale: str) -> None:
        """Give an operand a DequantizeLinear of another scale, for this node alone."""
        node, name = found.node, found.node.input[at]
        chain: list[Any] = []
        while not chain or chain[-1].op_type != "DequantizeLinear":
            home = found.scope.home(name)
            assert home is not None
            chain.append(home.producers[name])
            self.old |= {name, *chain[-1].input}
            name = chain[-1].input[0]
        for maker in reversed(chain):  # what turns the weight comes behind
            new = type(node)()
            new.CopyFrom(maker)
            new.input[0] = name
            if maker is chain[-1]:
                new.input[1] = scale
            made = f"{maker.output[0]}/{node.name or node.output[0]}/snapped"
            name = new.output[0] = new.name = self.names.free(made)
            self.before.setdefault(id(node), [node]).insert(-1, new)
        node.input[at] = name

    def _add(self, wanted: str, value: Floats) -> str:
        name = self.names.free(wanted)
        self.proto.graph.initializer.append(onnx().numpy_helper.from_array(value, name))
        return name

    def finish(self) -> None:
        """Put the new nodes before those that use them; take out what nothing uses any more."""
        for scope in reversed(self.reader.model.scopes):  # those inside first: outer are copied
            nodes = []
            for node in list(scope.graph.node):
                nodes += self.before.get(id(node), [node])
            del scope.graph.node[:]
            scope.graph.node.extend(nodes)
        sweep(self.proto.graph, self.old)


def _moved(x: Floats, w: Floats, y: Floats) -> Floats:
    """Scales of a weight with which the scales of results are those of a word."""
    wanted = to_unit_scale(np.asarray(np.asarray(x * w, np.float32) / y, np.float32))
    with np.errstate(over="ignore", invalid="ignore"):
        start = (wanted.astype(np.float64) * float(y) / float(x)).astype(np.float32)
    best, left = start.copy(), np.ones(start.shape, bool)
    up = down = start
    for _ in range(1 + _NEIGHBOURS):
        for scale in (up, down):
            fits = left & (np.asarray(np.asarray(x * scale, np.float32) / y, np.float32) == wanted)
            best, left = np.where(fits, scale, best), left & ~fits
        up, down = np.nextafter(up, np.float32(np.inf)), np.nextafter(down, np.float32(-np.inf))
    return np.asarray(best, np.float32)
