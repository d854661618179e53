"""Make a case: from its spec to its arrays, the result that must come out, and its bins.

The weight is encoded and rendered into files, and what the files say is what the unit computes
with. The result is compared with the dense computation from the original weight, or, for foreign
bytes, from the weight that they select; where they differ, there is no case.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from cube24.encoder import encode, encode_conv
from cube24.simulator import UnitConfig, layouts
from cube24.vectors import change, coverage, fill, foreign
from cube24.vectors.case import Array, Case, CaseArray, accumulators, compute
from cube24.vectors.crop import taken, whole_sizes
from cube24.vectors.files import READABLE, CaseStyle, render, reread
from cube24.vectors.rng import case_seed, stream_seed
from cube24.vectors.spec import Item, Spec, is_conv, requant_of, unit_of


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
    if style.manifest > 1 and spec["requant"] is not None:
        pieces["accumulators"] = accumulators(spec, config, _arrays(pieces), weights)
    pieces["expected"] = CaseArray(run.output, "nhwc" if is_conv(spec) else "nd")
    case = Case(
        suite, version, item.name, campaign_seed, seed, spec, item.tags, config, style, pieces, run,
        {"kind": "result"}, {}, (),
    )  # fmt: skip
    case = change.apply(case) if spec["change"] else case
    return replace(case, bins=coverage.bins(case, style.manifest))


def _inputs(spec: Spec, seed: int, config: UnitConfig) -> dict[str, CaseArray]:
    """All arrays but the result."""
    rules, layout = spec["fill"], spec["layout"]

    def stream(role: str) -> int:
        return stream_seed(seed, role)

    pieces: dict[str, CaseArray] = {}
    (batch, cout, cin), (h, w, kh, kw) = whole_sizes(spec)
    if is_conv(spec):
        rows = fill.weights(rules["weights"], stream("weights"), cout * kh * kw, cin)
        weight = rows.reshape(cout, kh, kw, cin).transpose(0, 3, 1, 2)
        shape = (batch, cin, h, w)
        x = fill.activations(rules["activations"], stream("activations"), int(np.prod(shape)))
        x = x.reshape(shape)
    else:
        if foreign.is_foreign(rules["weights"]):
            groups = foreign.draw(rules["weights"], stream("weights"), cout, cin, config)
            weight = groups.weight(cin)
        else:
            groups, weight = None, fill.weights(rules["weights"], stream("weights"), cout, cin)
        x = fill.activations(rules["activations"], stream("activations"), batch * cin)
        x = x.reshape(batch, cin)
    bias = fill.bias(rules["bias"], stream("bias"), cout)
    weight = np.ascontiguousarray(taken(spec, "weights", weight))
    x = taken(spec, "activations", x)
    bias = None if bias is None else taken(spec, "bias", bias)
    if is_conv(spec):
        sparse = encode_conv(weight, layout=layout)
        pieces["weights"] = CaseArray(weight, "oihw")
        pieces["activations"] = CaseArray(layouts.to_nc1hwc0(x), "nc1hwc0")
    else:
        if groups is None:
            sparse = encode(weight, layout=layout)
        else:
            crop = rules.get("crop")
            kept_groups = groups.some(crop["columns"], crop["groups"]) if crop else groups
            sparse = kept_groups.encoded(weight.shape[1])
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


def _arrays(pieces: Mapping[str, CaseArray]) -> dict[str, Array]:
    return {role: piece.array for role, piece in pieces.items()}


def _reread(pieces: Mapping[str, CaseArray], style: CaseStyle) -> dict[str, Array]:
    """The arrays as a reader of the files finds them, where the format is one that is read."""
    name = next((name for name in style.formats if name in READABLE), "bin")
    return {
        role: reread(
            render(piece.array, name, style, {}, role), name, piece.array.dtype, piece.array.shape,
            style, role,
        )
        for role, piece in pieces.items()
    }  # fmt: skip
