"""A case that is a part of another one: which of its rows, columns, groups and pixels are left.

What is left is told by numbers of the first case, so that a part of a part is a part of the first;
values that are others than there are told by their places in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from cube24.encoder import GROUP
from cube24.sizes import ceil_div
from cube24.vectors.spec import AXES, IMAGE_AXES, Axis, Crop, Spec, is_conv, names_of

#: The arrays of which elements can be others, in the order in which that is tried.
ROLES = ("weights", "activations", "bias")


def axes_of(spec: Spec) -> tuple[Axis, ...]:
    """What a case can be made smaller by."""
    return AXES + IMAGE_AXES if is_conv(spec) else AXES


def lengths(spec: Spec) -> dict[Axis, int]:
    """How many rows, columns, groups and so on a case has."""
    size = spec["sizes"]
    rows, columns, k = (size[name] for name in names_of(spec))
    groups = ceil_div(k, GROUP)
    if crop := spec["fill"].get("crop"):
        groups = len(crop["groups"])  # each one may be the short one
    found: dict[Axis, int] = {"rows": rows, "columns": columns, "groups": groups}
    if is_conv(spec):
        found |= dict(zip(IMAGE_AXES, _image(size), strict=True))
    return found


def _image(size: Mapping[str, Any]) -> list[int]:
    return [size["h"], size["w"], *size["kernel"]]


def cropped(spec: Spec, left: Mapping[Axis, list[int]]) -> Spec:
    """The spec of a case with a part of another one; an axis that is not named stays whole."""
    size, old, names = dict(spec["sizes"]), spec["fill"].get("crop"), names_of(spec)
    there = lengths(spec)

    def kept(axis: Axis) -> list[int]:
        before: Any = old.get(axis) if old else None
        chosen = left.get(axis, list(range(there[axis])))
        return list(chosen) if before is None else [before[i] for i in chosen]

    crop: Crop = {
        "of": old["of"] if old else [size[name] for name in names],
        "rows": kept("rows"), "columns": kept("columns"), "groups": kept("groups"),
    }  # fmt: skip
    size[names[0]], size[names[1]] = len(crop["rows"]), len(crop["columns"])
    size[names[2]] = sum(min(GROUP, crop["of"][2] - GROUP * group) for group in crop["groups"])
    if is_conv(spec):
        crop["image"] = old["image"] if old and "image" in old else _image(size)
        crop["h"], crop["w"], crop["kh"], crop["kw"] = (kept(axis) for axis in IMAGE_AXES)
        size["h"], size["w"] = len(crop["h"]), len(crop["w"])
        size["kernel"] = [len(crop["kh"]), len(crop["kw"])]
    if old and "values" in old:
        crop["values"] = old["values"]
    return {**spec, "sizes": size, "fill": {**spec["fill"], "crop": crop}}


def with_values(spec: Spec, role: str, values: Mapping[int, int]) -> Spec:
    """The spec of a case with other elements, each by its number in the first case."""
    if "crop" not in spec["fill"]:
        spec = cropped(spec, {})
    crop = spec["fill"]["crop"]
    all_values = {
        name: {one[0]: one[1] for one in pairs} for name, pairs in crop.get("values", {}).items()
    }
    all_values[role] = {**all_values.get(role, {}), **values}
    listed = {
        name: [[at, all_values[name][at]] for at in sorted(all_values[name])]
        for name in ROLES if all_values.get(name)
    }  # fmt: skip
    changed: Crop = {**crop, "values": listed}
    return {**spec, "fill": {**spec["fill"], "crop": changed}}


def whole_sizes(spec: Spec) -> tuple[tuple[int, int, int], tuple[int, int, int, int]]:
    """(rows, columns, k) and (h, w, kh, kw) of the first case; ones for a matrix."""
    size, crop = spec["sizes"], spec["fill"].get("crop")
    rows, columns, k = crop["of"] if crop else (size[name] for name in names_of(spec))
    if not is_conv(spec):
        return (rows, columns, k), (1, 1, 1, 1)
    h, w, kh, kw = crop["image"] if crop and "image" in crop else _image(size)
    return (rows, columns, k), (h, w, kh, kw)


def shape_of(spec: Spec, role: str) -> tuple[int, ...]:
    """The shape of an array of the first case: (N, K), (M, K) or (N,), or with (h, w) behind."""
    (rows, columns, k), (h, w, kh, kw) = whole_sizes(spec)
    shapes: dict[str, tuple[int, ...]] = {
        "weights": (columns, k, kh, kw), "activations": (rows, k, h, w), "bias": (columns,),
    }  # fmt: skip
    return shapes[role] if is_conv(spec) else shapes[role][:2]


def taken(spec: Spec, role: str, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """What a case has of an array of the first one, with the values that are others."""
    crop = spec["fill"].get("crop")
    if crop is None:
        return array
    if values := crop.get("values", {}).get(role):
        array = array.copy()
        places, numbers = np.array(values, np.int64).T
        array.reshape(-1)[places] = numbers.astype(array.dtype)
    return np.ascontiguousarray(array[_indices(spec, crop, role)])


def places(spec: Spec, role: str) -> npt.NDArray[np.int64]:
    """The number in the first case of each element of an array of this one, in its shape."""
    crop, shape = spec["fill"].get("crop"), shape_of(spec, role)
    if crop is None:
        return np.arange(prod(shape), dtype=np.int64).reshape(shape)
    found = np.ravel_multi_index(np.broadcast_arrays(*_indices(spec, crop, role)), shape)
    return np.asarray(found, np.int64)


def _indices(spec: Spec, crop: Crop, role: str) -> tuple[npt.NDArray[Any], ...]:
    k = crop["of"][2]
    kept = [i for group in crop["groups"] for i in range(GROUP * group, GROUP * group + GROUP)]
    along = {
        "weights": [crop["columns"], [i for i in kept if i < k]],
        "activations": [crop["rows"], [i for i in kept if i < k]],
        "bias": [crop["columns"]],
    }[role]
    if is_conv(spec) and role != "bias":
        _, (h, w, kh, kw) = whole_sizes(spec)
        both: tuple[Axis, Axis] = ("kh", "kw") if role == "weights" else ("h", "w")
        sizes = (kh, kw) if role == "weights" else (h, w)
        for axis, size in zip(both, sizes, strict=True):
            found: Any = crop.get(axis)
            along.append(list(range(size)) if found is None else found)
    return np.ix_(*along)
