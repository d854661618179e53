"""A case: what it is made from (its spec), its arrays, and what must come out.

A spec is plain data, as it stands in the manifest. ``build`` makes the case from it: the weight is
encoded, rendered into files, and what the files say is what the unit computes with. The result is
compared with the dense computation from the original weight; where they differ, there is no case.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cube24.encoder import C0, SparseWeight, encode, encode_conv
from cube24.errors import Cube24Error, FileAccessError
from cube24.simulator import Unit, UnitConfig
from cube24.simulator.run import Run
from cube24.sizes import ceil_div
from cube24.vectors import change, coverage, fill
from cube24.vectors.files import READABLE, SUFFIXES, CaseStyle, read, render
from cube24.vectors.rng import case_seed, stream_seed
from cube24.vectors.spec import Item, Spec, is_conv, kind_of, requant_of, unit_of, weight_shape

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class CaseArray:
    """One array of a case, with the layout it stands in."""

    array: Array
    layout: str


@dataclass(frozen=True, eq=False)
class Case:
    """A case in memory.

    Attributes: suite, suite_version and name; campaign_seed and seed; spec, what it is made from;
    tags; unit, the configuration; style, how its files are written; pieces, its arrays by role:
    weights, dense, index, activations, expected, and bias and requant where there are any; run,
    what the unit did with the good bytes; outcome, as in the manifest; extra, more files by name;
    bins, the coverage bins that it hits.
    """

    suite: str
    suite_version: int
    name: str
    campaign_seed: int
    seed: int
    spec: Spec
    tags: tuple[str, ...]
    unit: UnitConfig
    style: CaseStyle
    pieces: Mapping[str, CaseArray]
    run: Run
    outcome: Mapping[str, Any]
    extra: Mapping[str, bytes]
    bins: tuple[str, ...]


def build(
    suite: str, version: int, item: Item, campaign_seed: int, style: CaseStyle | None = None
) -> Case:
    """Make a case.

    Args:
        suite: its suite. version: of the suite.
        item: the case. campaign_seed: of all cases. style: of the files; None: npy and hex.

    Raises:
        MismatchError: the unit and the dense computation disagree; there is no such case then.
        Cube24Error: the spec is impossible.
    """
    style, spec = style or CaseStyle(), item.spec
    seed = case_seed(campaign_seed, suite, item.name)
    config = unit_of(spec)
    pieces = _inputs(spec, seed, config)
    weights = pieces["weights"].array
    run = compute(spec, config, _reread(pieces, style), check=weights)
    assert run.output is not None
    pieces["expected"] = CaseArray(run.output, "nhwc" if is_conv(spec) else "nd")
    case = Case(
        suite, version, item.name, campaign_seed, seed, spec, item.tags, config, style, pieces, run,
        {"kind": "result"}, {}, (),
    )  # fmt: skip
    case = change.apply(case) if spec["change"] else case
    return replace(case, bins=coverage.bins(case))


def _inputs(spec: Spec, seed: int, config: UnitConfig) -> dict[str, CaseArray]:
    """All arrays but the result."""
    size, rules, layout = spec["sizes"], spec["fill"], spec["layout"]

    def stream(role: str) -> int:
        return stream_seed(seed, role)

    pieces: dict[str, CaseArray] = {}
    crop = rules.get("crop")
    if is_conv(spec):
        kh, kw = size["kernel"]
        batch, cout, cin = crop["of"] if crop else (size["batch"], size["cout"], size["cin"])
        rows = fill.weights(rules["weights"], stream("weights"), cout * kh * kw, cin)
        weight = rows.reshape(cout, kh, kw, cin).transpose(0, 3, 1, 2)
        shape = (batch, cin, size["h"], size["w"])
        x = fill.activations(rules["activations"], stream("activations"), int(np.prod(shape)))
        x = x.reshape(shape)
    else:
        batch, cout, cin = crop["of"] if crop else (size["m"], size["n"], size["k"])
        weight = fill.weights(rules["weights"], stream("weights"), cout, cin)
        x = fill.activations(rules["activations"], stream("activations"), batch * cin)
        x = x.reshape(batch, cin)
    bias = fill.bias(rules["bias"], stream("bias"), cout)
    if crop:
        kept = [i for group in crop["groups"] for i in range(4 * group, min(4 * group + 4, cin))]
        weight, x = weight[crop["columns"]][:, kept], x[crop["rows"]][:, kept]
        bias = None if bias is None else bias[crop["columns"]]
    weight = np.ascontiguousarray(weight)
    if is_conv(spec):
        sparse = encode_conv(weight)
        pieces["weights"] = CaseArray(weight, "oihw")
        pieces["activations"] = CaseArray(to_nc1hwc0(x), "nc1hwc0")
    else:
        sparse = encode(weight)
        pieces["weights"] = CaseArray(weight, "nd")
        pieces["activations"] = CaseArray(np.ascontiguousarray(x), "nd")
    stored = sparse.to_fractal() if layout == "zn" else sparse
    pieces["dense"], pieces["index"] = (
        CaseArray(stored.dense, layout),
        CaseArray(stored.index, layout),
    )
    if bias is not None:
        pieces["bias"] = CaseArray(bias, "nd")
    how = requant_of(spec)
    if how is not None:
        pieces["requant"] = CaseArray(how.words(config), "nd")
    return pieces


def _reread(pieces: Mapping[str, CaseArray], style: CaseStyle) -> dict[str, Array]:
    """The arrays as a reader of the files finds them, where the format is one that is read."""
    name = next((name for name in style.formats if name in READABLE), "bin")
    found, at = {}, Path(tempfile.gettempdir())
    try:
        with tempfile.TemporaryDirectory() as folder:
            for role, piece in pieces.items():
                at = Path(folder) / f"{role}{SUFFIXES[name]}"
                at.write_bytes(render(piece.array, name, style, {}))
                found[role] = read(at, name, piece.array.dtype, piece.array.shape, style)
    except OSError as error:
        if isinstance(error, Cube24Error):
            raise
        raise FileAccessError.from_os(at, "write", error) from error
    return found


def compute(
    spec: Spec,
    config: UnitConfig,
    arrays: Mapping[str, Array],
    check: Array | bool = False,
) -> Run:
    """Let the unit compute a case from its arrays; convolutions give (batch, h, w, cout).

    Args:
        spec: of the case.
        config: the unit.
        arrays: dense, index, activations and bias by role, as they stand in the files.
        check: the original weight, to compare with the dense computation.

    Raises:
        MismatchError: it differs from the dense computation.
        ExecutionError: the unit refuses the bytes.
    """
    sparse = SparseWeight(
        arrays["dense"], arrays["index"], weight_shape(spec), spec["layout"], kind_of(spec)
    )
    x: Array = arrays["activations"]
    options: dict[str, Any] = {"check": check}
    if is_conv(spec):
        size = spec["sizes"]
        options |= {name: tuple(size[name]) for name in ("strides", "pads", "dilations")}
        options |= {"offset_x": size["offset_x"], "layout": "NHWC"}
        x = from_nc1hwc0(x, size["cin"])
    operation = getattr(Unit(config), spec["operation"])
    run: Run = operation(x, sparse, arrays.get("bias"), requant_of(spec), **options)
    return run


def to_nc1hwc0(x: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    """(batch, cin, h, w) as (batch, ceil(cin / 32), h, w, 32), filled with zeros."""
    batch, cin, h, w = x.shape
    padded = np.zeros((batch, ceil_div(cin, C0) * C0, h, w), np.int8)
    padded[:, :cin] = x
    blocks = padded.reshape(batch, -1, C0, h, w).transpose(0, 1, 3, 4, 2)
    return np.ascontiguousarray(blocks)


def from_nc1hwc0(x: npt.NDArray[np.int8], cin: int) -> npt.NDArray[np.int8]:
    """The inverse of :func:`to_nc1hwc0`, as (batch, h, w, cin)."""
    batch, c1, h, w, _ = x.shape
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1, 4).reshape(batch, h, w, c1 * C0)[..., :cin])
