"""What flows into the layers of a model when it runs on a few samples, as Gram matrices.

The model runs as it is, with the inputs of its layers as outputs too. Of each layer no more is kept
than the sum of x x' over its inputs x, whatever the number of samples.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from cube24.errors import ArgumentError, counted
from cube24.graph.model import Model
from cube24.graph.nodes import FORMS, Candidate, Reader, window_of
from cube24.graph.protos import attribute, onnx
from cube24.graph.runtimes import chosen, prepared
from cube24.sizes import shown

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

#: Of the inputs of a layer in one sample no more are taken, or twice as many as each of them has
#: numbers, whichever is more.
ROWS = 8192

#: Inputs that are laid out at a time.
_CHUNK = 2048


# --- samples --------------------------------------------------------------------------------------


def samples_of(model: Model, arrays: Mapping[str, Array]) -> list[dict[str, Array]]:
    """The samples that arrays hold, each one what the model takes at once.

    Args:
        model: names, types and shapes of its inputs hold.
        arrays: by the names of all inputs. An array holds several inputs along one more axis
            before theirs; or along the first of theirs, one by one where that is open. An array
            that holds a single one is used for all samples of the others.

    Raises:
        ArgumentError: an input is missing, there is no such input, or one does not fit.
    """
    inputs = {
        given.name: given.type
        for given in model.proto.graph.input
        if given.name not in {tensor.name for tensor in model.proto.graph.initializer}
    }
    for name in arrays:
        if name not in inputs:
            raise ArgumentError(
                f"{model.path}: no input {name!r}; its inputs are {', '.join(map(repr, inputs))}"
            )
    split = {}
    for name, kind in inputs.items():
        if name not in arrays:
            raise ArgumentError(f"{model.path}: the samples have no {name!r}, which is an input")
        split[name] = _split(name, np.asarray(arrays[name]), kind)
    count = max(len(each) for each in split.values()) if split else 1
    for name, each in split.items():
        if len(each) not in (1, count):
            raise ArgumentError(
                f"input {name!r} has {counted(len(each), 'sample')}, and another one {count}"
            )
    return [{name: each[at % len(each)] for name, each in split.items()} for at in range(count)]


def _split(name: str, array: Array, type_: Any) -> list[Array]:
    kind = type_.tensor_type
    if type_.WhichOneof("value") != "tensor_type" or not kind.elem_type:
        raise ArgumentError(f"input {name!r} is no tensor, so no array can be a sample of it")
    wanted = np.dtype(onnx().helper.tensor_dtype_to_np_dtype(kind.elem_type))
    if array.dtype != wanted:
        raise ArgumentError(f"input {name!r} is {array.dtype}; the model takes {wanted}")
    if not kind.HasField("shape"):
        return [array]
    sizes = [dim.dim_value if dim.dim_value > 0 else None for dim in kind.shape.dim]
    if array.ndim == len(sizes) + 1:
        several = [np.asarray(each) for each in array]
    elif sizes and array.ndim == len(sizes) and array.shape[0] % (sizes[0] or 1) == 0:
        step = sizes[0] or 1
        several = [array[at : at + step] for at in range(0, len(array), step)]
    else:
        several = [array]
    shape = several[0].shape if several else None
    fits = (
        shape is not None
        and len(shape) == len(sizes)
        and all(wanted in (None, size) for wanted, size in zip(sizes, shape, strict=True))
    )
    if not fits or 0 in (shape or ()):
        takes = "x".join("?" if size is None else str(size) for size in sizes)
        raise ArgumentError(
            f"input {name!r} has shape {shown(array.shape)}; the model takes {takes or 'a number'}"
        )
    return several


# --- Gram matrices --------------------------------------------------------------------------------


@dataclass(eq=False)
class Grams:
    """Sums of x x' over the inputs x of weights, by what each of them was asked for under."""

    _sums: dict[int, Floats] = field(default_factory=dict)

    def of(self, key: int) -> Floats:
        """(K, K); for a convolution K is Cin * Kh * Kw, in this order."""
        return self._sums[key]

    def add(self, key: int, candidate: Candidate, values: Mapping[str, Array]) -> None:
        """Add the inputs of a candidate in one sample; values: by name."""
        weight = candidate.weight
        assert weight is not None
        x = self._numbers(candidate, values)
        k = prod(weight.values.shape[1:])
        total = self._sums.setdefault(key, np.zeros((k, k)))
        for rows in _inputs(candidate, weight.values.shape, x):
            if not np.isfinite(rows).all():
                raise ArgumentError(
                    f"node {candidate.name!r}: its inputs are not finite with these samples"
                )
            total += rows.T @ rows

    def _numbers(self, candidate: Candidate, values: Mapping[str, Array]) -> Array:
        """The activations less their zero point, as floats."""
        x = values[candidate.node.input[FORMS[candidate.op].x]]
        zero = _zero_name(candidate)
        return x.astype(np.float64) - (values[zero].astype(np.float64) if zero else 0)


def _zero_name(candidate: Candidate) -> str:
    at = FORMS[candidate.op].x_zero
    given = candidate.node.input
    return given[at] if at is not None and at < len(given) else ""


def gather(
    reader: Reader,
    candidates: Sequence[tuple[int, Candidate]],
    samples: Sequence[Mapping[str, Array]],
) -> Grams:
    """Run a model on samples and sum up the inputs of its layers.

    Args:
        reader: of the model.
        candidates: with the keys to sum them up under: those of one weight have one.
        samples: of :func:`samples_of`.

    Raises:
        ArgumentError: a layer whose inputs cannot be had, or are not finite.
        FileFormatError: the runtime cannot run the model.
    """
    names: dict[str, None] = {}
    constants: dict[str, Array] = {}
    for _, candidate in candidates:
        for name in (candidate.node.input[FORMS[candidate.op].x], _zero_name(candidate)):
            if not name:
                continue
            fixed = reader.constants.get(candidate.scope, name)
            if fixed is not None:
                constants[name] = fixed
            else:
                _demand_reachable(reader.model, candidate, name)
                names[name] = None
    given = {each.name for each in reader.model.proto.graph.input}
    wanted = [name for name in names if name not in given]
    proto = _with_outputs(reader.model, wanted)
    grams = Grams()
    run = prepared(proto, wanted, chosen(None), reader.model.path) if wanted else None
    for sample in samples:
        values = run(sample) if run else {}
        values = {**values, **sample, **constants}
        for key, candidate in candidates:
            grams.add(key, candidate, values)
    return grams


def _demand_reachable(model: Model, candidate: Candidate, name: str) -> None:
    """Refuse a value of a graph inside of a node, which is no value of the model."""
    home = candidate.scope.home(name)
    outside = (
        home is model.main if home else any(each.name == name for each in model.proto.graph.input)
    )
    if not outside:
        raise ArgumentError(
            f"node {candidate.name!r} stands in a graph inside of a node, where its inputs cannot "
            f"be gathered: --skip it, or prune by magnitude"
        )


def _with_outputs(model: Model, names: Sequence[str]) -> Any:
    proto = model.copy().proto
    there = {each.name for each in proto.graph.output}
    for name in names:
        if name not in there:
            proto.graph.output.append(onnx().helper.make_empty_tensor_value_info(name))
    return proto


# --- inputs as rows -------------------------------------------------------------------------------


def _inputs(candidate: Candidate, shape: tuple[int, ...], x: Array) -> Iterator[Floats]:
    """The inputs of a layer as rows of K numbers, some at a time."""
    limit = max(ROWS, 2 * prod(shape[1:]))
    if candidate.kind == "conv":
        yield from _windows(candidate, shape, x, limit)
        return
    rows = (x.T if attribute(candidate.node, "transA", 0) else x).reshape(-1, shape[1])
    for at in _spread(len(rows), limit):
        yield np.asarray(rows[at], np.float64)


def _windows(
    candidate: Candidate, shape: tuple[int, ...], x: Array, limit: int
) -> Iterator[Floats]:
    """What a kernel covers at each of its positions, as rows of Cin * Kh * Kw."""
    window = window_of(candidate.node, shape[2:], (x.shape[2], x.shape[3]))
    top, left, bottom, right = window.pads
    wide = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    (down, across), (far_down, far_across) = window.strides, window.dilations
    spans = (shape[2] - 1) * far_down + 1, (shape[3] - 1) * far_across + 1
    views = np.lib.stride_tricks.sliding_window_view(wide, spans, axis=(2, 3))
    views = views[:, :, ::down, ::across, ::far_down, ::far_across]
    images, _, height, width = views.shape[:4]
    for at in _spread(images * height * width, limit):
        image, place = np.divmod(at, height * width)
        row, column = np.divmod(place, width)
        yield np.asarray(views[image, :, row, column].reshape(len(at), -1), np.float64)


def _spread(count: int, limit: int) -> Iterator[npt.NDArray[np.int64]]:
    """Numbers below count, all or so many of them, spread evenly and in no pattern of an image."""
    if count <= limit:
        chosen_ = np.arange(count)
    else:
        step = round(count * 0.6180339887)  # of the golden ratio: no two steps come close
        while np.gcd(step, count) != 1:
            step += 1
        chosen_ = np.sort(np.arange(limit) * step % count)
    for start in range(0, len(chosen_), _CHUNK):
        yield chosen_[start : start + _CHUNK]
