"""Prune: make the weights of a model 2:4, and say what that costs each layer.

Every weight that could be sparse is pruned, in a float model and in one that is quantised already.
Nothing else in the model changes. Training it again afterwards is for others to do: examples/train.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp, log, sqrt
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from cube24.encoder import GROUP, Kind
from cube24.errors import ArgumentError, counted
from cube24.graph import masks
from cube24.graph.amct_config import PruneConfig
from cube24.graph.calibration import gather, samples_of
from cube24.graph.folding import Array
from cube24.graph.functions import DOMAIN
from cube24.graph.model import Model
from cube24.graph.nodes import Candidate, Reader, Weight
from cube24.graph.placing import Places, Source, put, source_of
from cube24.graph.tables import aligned
from cube24.graph.verdicts import matches, patterns
from cube24.sizes import ceil_div, shown, truth

#: How the weights that stay are chosen: the two largest of a group; the two of the largest product
#: with the norm of what they are multiplied by; or the two largest, then changed by least squares.
Method = Literal["magnitude", "wanda", "reconstruct"]

#: Reasons to stay dense that are no reasons not to be pruned.
_PRUNED = (None, "not-quantised", "not-int8", "zero-point-per-channel", "unit-limit")

#: Gram matrices that are held at a time have no more numbers together, unless one has.
_NUMBERS = 1 << 27

_DTYPES = ("float16", "float32", "float64", "int8", "uint8")


@dataclass(frozen=True)
class LayerCost:
    """What pruning a weight cost.

    Attributes:
        weight: its name; ``nodes``, those that use it; ``op``, of the first.
        shape: (N, K) or (Cout, Cin, Kh, Kw).
        all_groups, groups: of four weights, and those of them that lost one.
        weights: how many were dropped.
        l1_removed, l1_total, l2_removed, l2_total: sums of |w| and of w * w, of those that were
            dropped and of all; of quantised weights, less their zero point.
        magnitude_error, error: relative error of the outputs of the layer on the samples, when it
            alone is pruned, by magnitude and as it was: squares of the differences over squares of
            the outputs, without the bias; None: there are no samples.
    """

    weight: str
    nodes: tuple[str, ...]
    op: str
    shape: tuple[int, ...]
    all_groups: int
    groups: int
    weights: int
    l1_removed: float
    l1_total: float
    l2_removed: float
    l2_total: float
    magnitude_error: float | None = None
    error: float | None = None

    @property
    def l1_share(self) -> float:
        """Share of the L1 norm that was removed, 0 to 1."""
        return self.l1_removed / self.l1_total if self.l1_total else 0.0

    @property
    def l2_share(self) -> float:
        """L2 norm of what was removed over the L2 norm of the weight, 0 to 1."""
        return sqrt(self.l2_removed / self.l2_total) if self.l2_total else 0.0


@dataclass(frozen=True)
class Left:
    """A node that was left alone, and why: a reason of the closed list, and in words."""

    node: str
    op: str
    reason: str
    detail: str


@dataclass(frozen=True, eq=False)
class PrunedModel:
    """A pruned model, and what that cost.

    Attributes: model; method; layers, a row for each weight; left, the nodes whose weights were
    left alone.
    """

    model: Model
    method: Method
    layers: tuple[LayerCost, ...]
    left: tuple[Left, ...]

    @property
    def groups(self) -> int:
        """Groups that lost a weight."""
        return sum(layer.groups for layer in self.layers)

    @property
    def weights(self) -> int:
        """Weights that were dropped."""
        return sum(layer.weights for layer in self.layers)

    @property
    def mean_errors(self) -> tuple[float, float] | None:
        """Geometric means of the errors by magnitude and as it was, of the layers that have any."""
        pairs = [(e.magnitude_error, e.error) for e in self.layers if e.magnitude_error and e.error]
        if not pairs:
            return None
        first, second = (sum(log(pair[at]) for pair in pairs) / len(pairs) for at in (0, 1))
        return exp(first), exp(second)

    def to_dict(self) -> dict[str, Any]:
        """All of it but the model, as plain data for JSON."""
        means = self.mean_errors
        totals: dict[str, Any] = {
            "layers": len(self.layers), "left": len(self.left), "groups": self.groups,
            "weights": self.weights,
            "magnitude_error": None if means is None else means[0],
            "error": None if means is None else means[1],
        }  # fmt: skip
        return {
            "model": self.model.name, "method": self.method, "totals": totals,
            "layers": [
                {**vars(each), "l1_share": each.l1_share, "l2_share": each.l2_share}
                for each in self.layers
            ],
            "left": [vars(each) for each in self.left],
        }  # fmt: skip

    def __str__(self) -> str:
        """The report for a person."""
        errors = any(layer.error is not None for layer in self.layers)
        rows = [_HEAD + (_ERRORS if errors else [])]
        rows += [_cells(layer, errors) for layer in self.layers]
        lines = aligned(rows, range(2))
        lines += [""] + [f"left: {e.node} ({e.op}): {e.reason}: {e.detail}" for e in self.left]
        total = (
            f"{counted(len(self.layers), 'weight')} of layers pruned by {self.method}: "
            f"{counted(self.groups, 'group')} changed, {counted(self.weights, 'weight')} dropped"
        )
        if (means := self.mean_errors) is not None:
            total += f"; mean relative error {means[1]:.4f}, by magnitude {means[0]:.4f}"
        return "\n".join([*lines, total])


_HEAD = ["layer", "weight", "N x K", "groups", "changed", "dropped", "L1", "L2"]
_ERRORS = ["error by magnitude", "error"]


def _cells(layer: LayerCost, errors: bool) -> list[str]:
    first, *others = layer.nodes
    cells = [
        first + (f" and {len(others)} more" if others else ""), layer.weight,
        "x".join(map(str, layer.shape)), str(layer.all_groups), str(layer.groups),
        str(layer.weights), f"{100 * layer.l1_share:.2f} %", f"{100 * layer.l2_share:.2f} %",
    ]  # fmt: skip
    if errors:
        for each in (layer.magnitude_error, layer.error):
            cells.append("-" if each is None else f"{each:.3g}")
    return cells


def prune(
    model: Model,
    *,
    method: Method = "magnitude",
    calibration: Sequence[Mapping[str, npt.NDArray[Any]]] = (),
    sensitivity: bool = False,
    skip: Sequence[str] = (),
    skip_type: Sequence[str] = (),
    config: PruneConfig | None = None,
    progress: Callable[[int], object] = lambda done: None,
) -> PrunedModel:
    """Make the weights of a model 2:4, along Cin or K.

    In each group of four the two weights that stay are those of the largest magnitude, ties to the
    lowest position; or, with ``wanda``, of the largest product with the norm of the numbers that
    they are multiplied by, over all samples. ``reconstruct`` changes those of the largest magnitude
    so that, row by row, the outputs differ least from those before: H[S, S] w = H[S, :] w0, with
    H the Gram matrix of the inputs and 1 % of the mean of its diagonal added. A weight that is
    quantised already is taken less its zero point; what least squares give is rounded to it, which
    is as good as the grid of the weights allows, since scales cancel in a row. The last bits of
    what least squares give are those of the linear algebra of the machine.

    A weight that is 2:4 stays as it is, so that to prune twice is to prune once.

    Args:
        model: stays as it is.
        method: how.
        calibration: arrays by the names of the inputs; several samples as one more axis before
            those of an input, or as several of these. Needed by all but ``magnitude``, which takes
            them for ``sensitivity`` only.
        sensitivity: put the layers whose outputs change most first, and measure that for
            ``magnitude`` too.
        skip: patterns of names of nodes to be left alone, with ``*`` and ``?``.
        skip_type: patterns of their operators.
        config: of the vendor's compression tool.
        progress: told after each layer.

    Returns:
        The pruned model; what it cost each layer, in the order of the nodes; and the nodes whose
        weights were left alone.

    Raises:
        ArgumentError: a method that does not exist; samples that are missing, not needed or do not
            fit the model; a compiled model; a weight with numbers that are not finite; a layer that
            config names and the model does not have.
        FileFormatError: a part of the model cannot be read, or the model cannot be run.
        MissingExtraError: the package onnx is not there.
    """
    if method not in get_args(Method):
        raise ArgumentError(f"method {shown(method)}: choose {', '.join(get_args(Method))}")
    sensitivity = truth(sensitivity, "sensitivity")
    if isinstance(calibration, Mapping) or not all(isinstance(e, Mapping) for e in calibration):
        raise ArgumentError("calibration is a list of arrays by name, one or more of them")
    if config is not None and not isinstance(config, PruneConfig):
        raise ArgumentError(f"config is {shown(config)}; it takes what read_prune_config gives")
    measured = sensitivity or method != "magnitude"
    if measured and not calibration:
        what = "sensitivity" if method == "magnitude" else f"method {method!r}"
        raise ArgumentError(f"{what} needs samples of the inputs: calibration, --calibrate")
    if calibration and not measured:
        raise ArgumentError(
            "magnitude takes no samples; leave the calibration out, or ask for sensitivity"
        )
    if any(each.domain == DOMAIN for each in model.proto.opset_import):
        raise ArgumentError(f"{model.path}: is compiled already; decompile it, prune, compile")
    copy = model.copy()
    reader = Reader(copy)
    samples = [sample for arrays in calibration for sample in samples_of(copy, arrays)]
    chosen, left = _chosen(reader, skip, skip_type, config)
    places = Places(copy, reader.constants)
    groups = _shared(reader, chosen)
    alone = _alone(places, groups)
    layers: list[LayerCost] = []
    edits = []
    for batch in _batches(groups) if measured else [groups]:
        grams = None
        if measured:
            pairs = [(id(group), each) for group in batch for each in group.candidates]
            grams = gather(reader, pairs, samples)
        for group in batch:
            gram = None if grams is None else grams.of(id(group))
            values, mask, cost = _pruned(group, method, gram)
            layers.append(cost)
            if cost.groups:
                edits.append((group, values, mask))
            progress(1)
    for group, values, mask in edits:
        _place(places, group, values, mask, alone[id(group)])
    places.finish()
    if sensitivity:
        layers.sort(key=lambda layer: -(layer.error or 0.0))
    return PrunedModel(Model(copy.path, copy.proto, copy.files), method, tuple(layers), tuple(left))


# --- which weights --------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Group:
    """Nodes that share a weight, and have it in the same orientation."""

    weight: Weight
    kind: Kind
    source: Source | None
    candidates: tuple[Candidate, ...]

    @property
    def name(self) -> str:
        return self.candidates[0].name


def _chosen(
    reader: Reader, skip: Sequence[str], skip_type: Sequence[str], config: PruneConfig | None
) -> tuple[list[Candidate], list[Left]]:
    """The candidates to be pruned, and those to be left alone."""
    skip, skip_type = patterns(skip, "skip"), patterns(skip_type, "skip_type")
    candidates = list(reader.candidates())
    if config is not None:
        config.demand_known([each.name for each in candidates])
    chosen, left = [], []
    for each in candidates:
        reason, detail = each.reason, each.detail
        skipped = matches(each, skip, skip_type)
        if skipped or (config is not None and config.leaves(each.name, each.op)):
            reason, detail = "skipped", "it was to be left alone"
        elif each.weight is not None and reason in _PRUNED:
            if each.weight.stored.dtype.name in _DTYPES:
                chosen.append(each)
                continue
            reason, detail = "not-int8", f"its weight is {each.weight.stored.dtype}"
        left.append(Left(each.name, each.op, str(reason), detail))
    return chosen, left


def _shared(reader: Reader, chosen: Sequence[Candidate]) -> list[_Group]:
    """Those of one weight together, in the order of the first of them."""
    found: dict[tuple[Any, ...], _Group] = {}
    for each in chosen:
        weight = each.weight
        assert weight is not None
        source = source_of(reader.constants, each.scope, weight.name)
        key: tuple[Any, ...] = (each.kind, weight.stored.dtype.name, _digest(weight.values))
        if source is None:
            key += (id(each.scope.home(weight.name)), weight.name, weight.transposed)
        else:
            at = source.positions.T if weight.transposed else source.positions
            key += (id(source.home), source.name, _digest(at))
        if key in found:
            before = found[key]
            found[key] = replace(before, candidates=(*before.candidates, each))
        else:
            found[key] = _Group(weight, each.kind, source, (each,))
    return list(found.values())


def _digest(array: Array) -> tuple[tuple[int, ...], bytes]:
    return array.shape, hashlib.sha256(array.tobytes()).digest()


def _alone(places: Places, groups: Sequence[_Group]) -> dict[int, bool]:
    """Whether the tensor of a group may be changed, since nothing but the group uses it."""
    return {
        id(group): group.source is not None and places.alone(group.source, group.candidates)
        for group in groups
    }


def _batches(groups: Sequence[_Group]) -> Iterator[list[_Group]]:
    batch: list[_Group] = []
    numbers = 0
    for group in groups:
        size = int(np.prod(group.weight.values.shape[1:])) ** 2
        if batch and numbers + size > _NUMBERS:
            yield batch
            batch, numbers = [], 0
        batch.append(group)
        numbers += size
    if batch:
        yield batch


# --- one weight -----------------------------------------------------------------------------------


def _pruned(
    group: _Group, method: Method, gram: masks.Floats | None
) -> tuple[Array, masks.Mask, LayerCost]:
    """The new weight in the orientation of the unit, what stays of the old one, and the cost."""
    values, kind = group.weight.values, group.kind
    _demand_finite(group)
    flat = values.astype(np.float64).reshape(len(values), -1)
    by_size = masks.kept(values, kind)
    mask = by_size
    if method == "wanda":
        assert gram is not None
        scores = np.abs(flat) * np.sqrt(np.diag(gram))
        mask = masks.kept(values, kind, scores.reshape(values.shape))
    new = np.where(mask, values, 0)
    if method == "reconstruct":
        assert gram is not None
        found = masks.refitted(flat, mask.reshape(flat.shape), gram).reshape(values.shape)
        changed = found != values
        new = np.where(changed, _stored(found, group.weight), values)
    cost = _cost(group, mask)
    if gram is not None:
        errors = [
            masks.error(flat, each.astype(np.float64).reshape(flat.shape), gram)
            for each in (np.where(by_size, values, 0), new)
        ]
        cost = replace(cost, magnitude_error=errors[0], error=errors[1])
    return new, mask, cost


def _demand_finite(group: _Group) -> None:
    values = group.weight.values
    bad = ~np.isfinite(values)
    if bad.any():
        first = tuple(int(at) for at in np.argwhere(bad)[0])
        raise ArgumentError(
            f"node {group.name!r}: its weight {group.weight.name!r} is {values[first]} at {first}, "
            f"and has no magnitude there; mend the model, or --skip the node"
        )


def _stored(found: masks.Floats, weight: Weight) -> Array:
    """What least squares gave as numbers that the weight can hold, less its zero point."""
    dtype = weight.stored.dtype
    if dtype.kind == "f":
        top = float(np.finfo(dtype).max)
        return np.clip(found, -top, top).astype(dtype)
    limits, zeros = np.iinfo(dtype), _zeros(weight)
    return np.clip(np.rint(found), limits.min - zeros, limits.max - zeros).astype(np.int64)


def _zeros(weight: Weight) -> npt.NDArray[np.int64]:
    """The zero point of each number of a quantised weight, in the orientation of the unit."""
    stored = weight.stored.T if weight.transposed else weight.stored
    return np.asarray(stored.astype(np.int64) - weight.values)


def _cost(group: _Group, mask: masks.Mask) -> LayerCost:
    weight, kind = group.weight, group.kind
    values = weight.values.astype(np.float64)
    gone = np.where(mask, 0.0, values)
    first = group.candidates[0]
    rows, k = values.size // values.shape[1], values.shape[1]
    return LayerCost(
        weight.name, tuple(each.name for each in group.candidates), first.op, values.shape,
        rows * ceil_div(k, GROUP), masks.excess(values, mask, kind), int((gone != 0).sum()),
        float(np.abs(gone).sum()), float(np.abs(values).sum()),
        float((gone * gone).sum()), float((values * values).sum()),
    )  # fmt: skip


def _place(places: Places, group: _Group, values: Array, mask: masks.Mask, alone: bool) -> None:
    """Put a new weight into the model."""
    weight, source = group.weight, group.source
    changed = values != weight.values
    zeros = not values[changed].any()
    values = np.where(changed, values, weight.values)  # which may be a negative zero
    if weight.stored.dtype.kind in "iu":
        values = values.astype(np.int64) + _zeros(weight)
    if weight.transposed:
        values, changed = values.T, changed.T
    stored = values.astype(weight.stored.dtype)
    if alone and source is not None and (zeros or source.zeros is None):
        put(source, stored, changed)
    else:
        places.own(group.candidates, stored, weight.name)
