"""What a case is made from: its spec, plain data as it stands in the manifest.

The builders make specs of the three operations; the other functions read one: which unit, which
requantisation, which sizes. Nothing is computed here and no array is made: fill.py has the rules
for those, build.py makes the case.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache
from hashlib import sha256
from typing import Any, Literal, NotRequired, TypedDict, TypeVar

import numpy as np

from cube24.encoder import Kind, Layout
from cube24.errors import ArgumentError
from cube24.simulator import PRESETS, Conv2d, Layer, Matmul, Requant, Unit, UnitConfig

#: What an accumulator of int32 holds.
INT32_MIN, INT32_MAX = -(1 << 31), (1 << 31) - 1

Operation = Literal["matmul", "fully_connected", "conv2d"]


Axis = Literal["rows", "columns", "groups", "h", "w", "kh", "kw"]

#: What a case can be made smaller by, in the order in which it is tried; and a convolution.
AXES: tuple[Axis, ...] = ("rows", "columns", "groups")
IMAGE_AXES: tuple[Axis, ...] = ("h", "w", "kh", "kw")


class Crop(TypedDict):
    """Of a case that was made smaller: the sizes of the first one, and what is left of it.

    of: its (m, n, k), or (batch, cout, cin); rows, columns and groups: the numbers of those left.
    image: of a convolution its (h, w, kh, kw); h, w, kh and kw: the numbers of the rows and columns
    of the image and the kernel that are left; all five or none. values: by role, the elements that
    are others than in the first case, each as its number there, in C order, and its value.
    """

    of: list[int]
    rows: list[int]
    columns: list[int]
    groups: list[int]
    image: NotRequired[list[int]]
    h: NotRequired[list[int]]
    w: NotRequired[list[int]]
    kh: NotRequired[list[int]]
    kw: NotRequired[list[int]]
    values: NotRequired[Mapping[str, list[list[int]]]]


class Fill(TypedDict):
    """The rules that fill the arrays; fill.py has them."""

    weights: Any
    activations: Any
    bias: Any
    crop: NotRequired[Crop]


class UnitSpec(TypedDict):
    """A preset by its name, and the fields of it that are others."""

    name: str
    overrides: Mapping[str, Any]


class Spec(TypedDict):
    """A spec, as the schema of the manifest describes it.

    sizes: m, n and k; or batch, cin, h, w, cout, kernel, strides, pads, dilations and offset_x.
    requant: fields of Requant; a list is one number a column. change: what was changed in a good
    case; change.py has the kinds.
    """

    operation: Operation
    sizes: Mapping[str, Any]
    fill: Fill
    requant: Mapping[str, Any] | None
    unit: UnitSpec
    layout: Layout
    change: Mapping[str, Any] | None


@dataclass(frozen=True)
class Item:
    """A case before it is built: its name in the suite, its spec and tags."""

    name: str
    spec: Spec
    tags: tuple[str, ...] = ()


# --- making one -----------------------------------------------------------------------------------


def matmul(m: int, n: int, k: int, **rest: Any) -> Spec:
    """The spec of a matrix multiplication; see :func:`_spec` for the rest."""
    return _spec("matmul", {"m": m, "n": n, "k": k}, **rest)


def fully_connected(m: int, n: int, k: int, **rest: Any) -> Spec:
    """The spec of a fully connected layer; see :func:`_spec` for the rest."""
    return _spec("fully_connected", {"m": m, "n": n, "k": k}, **rest)


def conv2d(
    cin: int,
    cout: int,
    size: tuple[int, int],
    kernel: tuple[int, int],
    *,
    batch: int = 1,
    strides: tuple[int, int] = (1, 1),
    pads: tuple[int, int, int, int] = (0, 0, 0, 0),
    dilations: tuple[int, int] = (1, 1),
    offset_x: int = 0,
    **rest: Any,
) -> Spec:
    """The spec of a convolution; see :func:`_spec` for the rest."""
    sizes = {
        "batch": batch, "cin": cin, "h": size[0], "w": size[1], "cout": cout,
        "kernel": list(kernel), "strides": list(strides), "pads": list(pads),
        "dilations": list(dilations), "offset_x": offset_x,
    }  # fmt: skip
    return _spec("conv2d", sizes, **rest)


def _spec(
    operation: Operation,
    sizes: Mapping[str, Any],
    *,
    weights: Any = "uniform",
    activations: Any = "uniform",
    bias: Any = None,
    requant: Mapping[str, Any] | None = None,
    layout: Layout = "zn",
    change: Mapping[str, Any] | None = None,
    unit: str = "dav-2201",
    **overrides: Any,
) -> Spec:
    return {
        "operation": operation,
        "sizes": dict(sizes),
        "fill": {"weights": weights, "activations": activations, "bias": bias},
        "requant": requant,
        "unit": {"name": unit, "overrides": overrides},
        "layout": layout,
        "change": change,
    }


# --- reading one ----------------------------------------------------------------------------------


def is_conv(spec: Spec) -> bool:
    """Whether it is a convolution."""
    return spec["operation"] == "conv2d"


def kind_of(spec: Spec) -> Kind:
    """The kind of its weight, as the encoder names it."""
    return "conv" if is_conv(spec) else "matrix"


def names_of(spec: Spec) -> tuple[str, str, str]:
    """The names of the sizes that rows, columns and k are counted by."""
    return ("batch", "cout", "cin") if is_conv(spec) else ("m", "n", "k")


def layer_of(spec: Spec) -> Layer:
    """What it computes.

    Raises:
        ShapeError, ArgumentError: sizes that no layer has.
    """
    size = {name: _frozen(spec["sizes"][name]) for name in SIZES[spec["operation"]]}
    return Conv2d(**size) if is_conv(spec) else Matmul(**size)


#: The names of the sizes of an operation: the fields of its layer.
SIZES: Mapping[Operation, tuple[str, ...]] = {
    "matmul": tuple(field.name for field in fields(Matmul)),
    "fully_connected": tuple(field.name for field in fields(Matmul)),
    "conv2d": tuple(field.name for field in fields(Conv2d)),
}


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def unit_of(spec: Spec) -> UnitConfig:
    """The unit of a spec: a preset with some fields changed.

    Raises:
        ArgumentError, ConfigError: no such preset or field.
    """
    return _cached(_unit, spec["unit"])


def unit_fields(config: UnitConfig) -> dict[str, Any] | None:
    """The arguments of a spec for a unit: a preset, and what is other in it; None: it is none."""
    if config.name not in PRESETS:
        return None
    preset = asdict(PRESETS[config.name])
    other = {name: value for name, value in asdict(config).items() if value != preset[name]}
    return {"unit": config.name, **other}


def unit_digest(spec: Spec) -> str:
    """The SHA-256 of the unit of a spec as TOML, which stands in manifests.

    Raises:
        ArgumentError, ConfigError: as for :func:`unit_of`.
    """
    return _cached(_unit_digest, spec["unit"])


Found = TypeVar("Found")

#: Fields, such as those of a unit that are others than in its preset: name, value and its text,
#: which tells apart what is equal, such as 1 and True, or 0.0 and -0.0.
_Fields = tuple[tuple[str, Any, str], ...]


def _cached(function: Callable[[str, _Fields], Found], of: UnitSpec) -> Found:
    """What a cached function gives of a unit; the cases of a campaign have few."""
    given = tuple((field, value, repr(value)) for field, value in of["overrides"].items())
    try:
        return function(of["name"], given)
    except TypeError:  # no value of a field is a list or object: told where it is refused
        uncached: Callable[[str, _Fields], Found] = inspect.unwrap(function)
        return uncached(of["name"], given)


@lru_cache(maxsize=256)
def _unit(name: str, given: _Fields) -> UnitConfig:
    config = Unit(name).config
    overrides = {field: value for field, value, _ in given}
    known = {field.name for field in fields(UnitConfig)}
    if unknown := sorted(overrides.keys() - known):
        raise ArgumentError(f"unit: unknown field {', '.join(unknown)}")
    return replace(config, **overrides)


@lru_cache(maxsize=256)
def _unit_digest(name: str, given: _Fields) -> str:
    return sha256(_unit(name, given).to_toml().encode()).hexdigest()


def requant_of(spec: Spec) -> Requant | None:
    """The requantisation of a spec: the fields of Requant; a list is one number a column."""
    rule = spec["requant"]
    if rule is None:
        return None
    try:
        return _requant(tuple((name, value, repr(value)) for name, value in rule.items()))
    except TypeError:  # a list, which is none of its numbers; or no field, which is told below
        pass
    given, crop = dict(rule), spec["fill"].get("crop")
    for name in ("scale", "offset"):
        if isinstance(given.get(name), list):
            values = np.array(given[name])
            given[name] = values[crop["columns"]] if crop else values
    return Requant(**given)


# Of numbers for all columns, of which the cases of a campaign have few; it does not change.
@lru_cache(maxsize=256)
def _requant(given: _Fields) -> Requant:
    return Requant(**{name: value for name, value, _ in given})
