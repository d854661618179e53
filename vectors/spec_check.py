"""What a spec from outside must hold to give a case: names, types, lengths and limits, by field.

The schema of the manifest tells the outline. Here is the rest of what the code that makes a case
relies on, so that it need not ask again. Whether the unit can run the case is not looked at: that
is found out by making it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from math import prod
from typing import Any

from cube24.encoder import GROUP
from cube24.errors import ArgumentError, Cube24Error
from cube24.simulator import PRESETS
from cube24.sizes import ceil_div
from cube24.vectors import fill, foreign
from cube24.vectors.crop import shape_of, whole_sizes
from cube24.vectors.spec import (
    AXES,
    IMAGE_AXES,
    INT32_MAX,
    INT32_MIN,
    SIZES,
    Axis,
    Crop,
    Spec,
    is_conv,
    layer_of,
    names_of,
    requant_of,
    unit_of,
)

#: Elements of an array of a case, bytes of the memories of its unit, and its multiplications, at
#: most: those of a whole layer of a large network are a hundredth. More is no case but a mistake.
ELEMENTS, MEMORY, PRODUCTS = 1 << 26, 1 << 28, 1 << 36


class SpecError(ArgumentError):
    """A spec that gives no case; the message begins with the field."""


def check(spec: Spec) -> None:
    """Refuse a spec that follows the schema of the manifest and gives no case all the same.

    Raises:
        SpecError: a field that is missing, unknown, of another type or out of range.
    """
    _check_sizes(spec)
    _check_fill(spec)
    if crop := spec["fill"].get("crop"):
        _check_crop(spec, crop)
    _check_requant(spec)
    _check_unit(spec)
    _check_change(spec["change"])


def _demand(true: bool, field: str, what: str) -> None:
    if not true:
        raise SpecError(f"spec.{field} {what}")


def _made(field: str, make: Callable[[], Any]) -> Any:
    """What a constructor makes, or its refusal with the field."""
    try:
        return make()
    except SpecError:
        raise
    except Cube24Error as error:
        raise SpecError(f"spec.{field}: {error}") from error


#: How many numbers each list among the sizes has, and what they are at least.
_LISTS = {"kernel": (2, 1), "strides": (2, 1), "pads": (4, 0), "dilations": (2, 1)}


def _check_sizes(spec: Spec) -> None:
    given, wanted = spec["sizes"], SIZES[spec["operation"]]
    for name in wanted:
        _demand(name in given, f"sizes.{name}", "is missing")
    for name in sorted(given.keys() - set(wanted)):
        _demand(False, f"sizes.{name}", f"is no size of a {spec['operation']}")
    for name, (count, least) in _LISTS.items():
        if name in given:
            found = given[name]
            _demand(
                len(found) == count and min(found, default=0) >= least,
                f"sizes.{name}", f"takes {count} numbers, {least} or more",
            )  # fmt: skip
    layer = _made("sizes", lambda: layer_of(spec))
    arrays = [layer.weight, layer.activations, layer.output, (layer.batch, layer.m, layer.k)]
    for shape in arrays:
        _demand(prod(shape) <= ELEMENTS, "sizes", f"give an array {shape}, too large for a case")
    products = layer.batch * layer.m * layer.n * layer.k
    _demand(products <= PRODUCTS, "sizes", f"give {products} products, too many for a case")


def _check_fill(spec: Spec) -> None:
    for role in ("weights", "activations"):
        rule = spec["fill"][role]
        _demand(fill.is_rule(role, rule), f"fill.{role}", f"is {_shown(rule)}: no such rule")
    if foreign.is_foreign(spec["fill"]["weights"]):
        _demand(
            not is_conv(spec), "fill.weights", "is foreign bytes, which are those of a matrix only"
        )
    bias = spec["fill"]["bias"]
    if isinstance(bias, list):
        _demand(
            bool(bias) and all(_is_whole(item, INT32_MIN, INT32_MAX) for item in bias),
            "fill.bias", "takes one or more numbers that int32 holds",
        )  # fmt: skip
    else:
        _demand(bias in (None, "uniform"), "fill.bias", f"is {_shown(bias)}: no such rule")


def _check_crop(spec: Spec, crop: Crop) -> None:
    of, names = crop["of"], names_of(spec)
    _demand(len(of) == 3 and min(of) >= 1, "fill.crop.of", "takes three sizes, 1 or more")
    _check_image(spec, crop)
    _, (h, w, kh, kw) = whole_sizes(spec)
    kernel, pixels = kh * kw, h * w
    most = max(of[1] * of[2] * kernel, of[0] * of[2] * pixels)
    _demand(most <= ELEMENTS, "fill.crop.of", "gives an array too large for a case")
    ends = (of[0], of[1], ceil_div(of[2], GROUP))
    for axis, end in zip(AXES, ends, strict=True):
        _check_kept(crop, axis, end)
    left = (
        len(crop["rows"]), len(crop["columns"]),
        sum(min(GROUP, of[2] - GROUP * group) for group in crop["groups"]),
    )  # fmt: skip
    for name, size in zip(names, left, strict=True):
        given = spec["sizes"][name]
        _demand(given == size, f"sizes.{name}", f"is {given}; what fill.crop leaves is {size}")
    _check_values(spec, crop)


def _check_kept(crop: Crop, axis: Axis, end: int) -> None:
    kept = crop[axis]
    ascending = all(one < other for one, other in pairwise(kept))
    _demand(
        bool(kept) and ascending and kept[0] >= 0 and kept[-1] < end,
        f"fill.crop.{axis}", f"takes one or more numbers below {end}, ascending",
    )  # fmt: skip


def _check_image(spec: Spec, crop: Crop) -> None:
    """The part of an image and a kernel that is left."""
    there = {"image", *IMAGE_AXES} & crop.keys()
    if not there:
        return
    _demand(is_conv(spec), f"fill.crop.{min(there)}", "is for convolutions")
    for name in ("image", *IMAGE_AXES):
        _demand(name in there, f"fill.crop.{name}", "is missing beside the others of the image")
    image = crop["image"]
    _demand(len(image) == 4 and min(image) >= 1, "fill.crop.image", "takes four sizes, 1 or more")
    size = spec["sizes"]
    now = (size["h"], size["w"], *size["kernel"])
    for axis, end, given in zip(IMAGE_AXES, image, now, strict=True):
        _check_kept(crop, axis, end)
        left = len(crop[axis])
        _demand(given == left, "sizes", f"has {given} for {axis}; what fill.crop leaves is {left}")


def _check_values(spec: Spec, crop: Crop) -> None:
    """Elements that are others than in the first case."""
    for role, values in crop.get("values", {}).items():
        field = f"fill.crop.values.{role}"
        _demand(role != "bias" or spec["fill"]["bias"] is not None, field, "is of no bias")
        _demand(
            role != "weights" or not foreign.is_foreign(spec["fill"]["weights"]),
            field, "is of a weight; foreign bytes have none that is encoded",
        )  # fmt: skip
        end = prod(shape_of(spec, role))
        low, high = (INT32_MIN, INT32_MAX) if role == "bias" else (-128, 127)
        _demand(
            all(
                len(one) == 2 and 0 <= one[0] < end and low <= one[1] <= high for one in values
            )
            and all(one[0] < other[0] for one, other in pairwise(values)),
            field, f"takes pairs of a number below {end}, ascending, and a value",
        )  # fmt: skip


def _check_requant(spec: Spec) -> None:
    rule, crop = spec["requant"], spec["fill"].get("crop")
    if rule is None:
        return
    whole = crop["of"][1] if crop else spec["sizes"][names_of(spec)[1]]
    for name, is_number in (("scale", _is_number), ("offset", _is_whole)):
        if isinstance(found := rule.get(name), list):
            _demand(
                len(found) == whole and all(map(is_number, found)),
                f"requant.{name}", f"takes a number, or one for each of {whole} columns",
            )  # fmt: skip
    _made("requant", lambda: requant_of(spec))


def _check_unit(spec: Spec) -> None:
    name = spec["unit"]["name"]
    # A name and never a path: a unit of a file is none that a manifest can name.
    _demand(name in PRESETS, "unit.name", f"is {name!r}; choose of {', '.join(PRESETS)}")
    config = _made("unit.overrides", lambda: unit_of(spec))
    memory = sum(config.memory_bytes.values())
    _demand(memory <= MEMORY, "unit.overrides", f"give memories of {memory} bytes, too large")


def _check_change(change: Mapping[str, Any] | None) -> None:
    if change is None:
        return
    kind = change.get("kind")
    _demand(kind in ("fault", "negative"), "change.kind", f"is {_shown(kind)}: fault or negative")
    for name, value in change.items():
        good = _is_whole(value, 0) if name == "bit" else isinstance(value, str)
        _demand(good, f"change.{name}", f"is {_shown(value)}: no such change")


def _is_whole(value: Any, low: int = -(1 << 63), high: int = (1 << 63) - 1) -> bool:
    return type(value) is int and low <= value <= high


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
