"""How arrays of a case are filled, by named rules on words of the case's random numbers.

docs/vectors.md writes the rules down; a changed rule is a new suite version. Weights of foreign
bytes are not filled but stand for them: foreign.py.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from cube24 import _core
from cube24.encoder import GROUP
from cube24.errors import ArgumentError
from cube24.sizes import ceil_div
from cube24.vectors import foreign
from cube24.vectors.rng import SplitMix64

#: The 11 masks of a legal group: bit i stands for element i. In the order of a drawn number.
MASKS = (0b0000, 0b0001, 0b0010, 0b0100, 0b1000, 0b0011, 0b0101, 0b1001, 0b0110, 0b1010, 0b1100)

#: Values at the edges, in the order of a drawn number.
EDGES = (-128, -127, -64, -1, 1, 64, 126, 127)

#: Values in the enumerated groups.
EXTREMES = (-128, -1, 1, 127)


def legal_groups() -> npt.NDArray[np.int8]:
    """All legal groups of zeros and extremes: 1 + 4 x 4 + 6 x 16 = 113, (113, 4)."""
    groups = []
    for mask in MASKS:
        places = [i for i in range(GROUP) if mask >> i & 1]
        for values in product(EXTREMES, repeat=len(places)):
            group = [0] * GROUP
            for place, value in zip(places, values, strict=True):
                group[place] = value
            groups.append(group)
    return np.array(groups, np.int8)


#: The rules that have a name only.
NAMED: Mapping[str, tuple[str, ...]] = {
    "weights": ("uniform", "edges", "full", "max", "min", "zero"),
    "activations": ("uniform", "edges", "max", "min", "one", "zero", "ramp"),
}


def is_rule(role: str, rule: Any) -> bool:
    """Whether weights or activations can be filled by a rule."""
    if not isinstance(rule, Mapping):
        return isinstance(rule, str) and rule in NAMED[role]
    if set(rule) == {"base64"}:
        return isinstance(rule["base64"], str)
    # Beyond 32 bits the number of a group would leave int64.
    return (
        role == "weights"
        and set(rule) in ({"legal"}, {foreign.RULE})
        and all(type(turn) is int and abs(turn) < 1 << 32 for turn in rule.values())
    )


def weights(rule: Any, seed: int, rows: int, k: int) -> npt.NDArray[np.int8]:
    """A 2:4 weight (rows, k); groups lie along k, and a last one that is cut is legal too.

    Args:
        rule: ``uniform``, ``edges``, ``full`` (two non-zeros in each group), ``max`` and ``min``
            (two of 127 or -128), ``zero``, or {"legal": r}: group p of the matrix, counted along
            rows, is number (p + r) mod 113 of :func:`legal_groups`, or {"base64": text}: the
            bytes themselves.
        seed: of the array.
        rows: rows. k: columns.

    Raises:
        ArgumentError: no such rule.
    """
    count = rows * ceil_div(k, GROUP)
    if isinstance(rule, Mapping) and set(rule) == {"legal"}:
        table = legal_groups()
        groups = table[(np.arange(count) + int(rule["legal"])) % len(table)]
    elif isinstance(rule, Mapping) and set(rule) == {"base64"}:
        return _inline(rule["base64"], rows * k).reshape(rows, k)
    elif rule == "zero":
        groups = np.zeros((count, GROUP), np.int8)
    elif isinstance(rule, str) and rule in _VALUES:
        masks = _MASKS if rule in ("uniform", "edges") else _MASKS[5:]
        groups = _core.draw_groups(SplitMix64(seed).words(count), masks, _VALUES[rule])
    else:
        raise ArgumentError(f"weights {rule!r}: no such rule")
    return np.ascontiguousarray(groups.reshape(rows, -1)[:, :k])


_MASKS = np.array(MASKS, np.uint8)

_BYTES = np.arange(256).astype(np.uint8).view(np.int8)

#: What a byte of a word stands for, by rule.
_VALUES: Mapping[str, npt.NDArray[np.int8]] = {
    "uniform": _BYTES,
    "edges": np.array(EDGES, np.int8)[_BYTES & 7],
    "full": np.where(_BYTES == 0, np.int8(1), _BYTES),
    "max": np.full(256, 127, np.int8),
    "min": np.full(256, -128, np.int8),
}


def _inline(text: str, count: int) -> npt.NDArray[np.int8]:
    try:
        data = base64.b64decode(text, validate=True)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"base64: {error}") from error
    if len(data) != count:
        raise ArgumentError(f"base64: {len(data)} bytes, where the sizes ask for {count}")
    return np.frombuffer(data, np.int8)


def inline(array: npt.NDArray[np.int8]) -> dict[str, str]:
    """The fill rule of an array that stands in the spec: its bytes in C order, as base64."""
    return {"base64": base64.b64encode(np.ascontiguousarray(array, np.int8).tobytes()).decode()}


def inline_weights(weight: npt.NDArray[np.int8]) -> dict[str, str]:
    """The fill rule of a weight (N, K) or (Cout, Cin, Kh, Kw): with groups along the last axis."""
    return inline(weight if weight.ndim == 2 else weight.transpose(0, 2, 3, 1))


def activations(rule: Any, seed: int, count: int) -> npt.NDArray[np.int8]:
    """Activations, flat.

    Args:
        rule: ``uniform``, ``edges``, ``max``, ``min``, ``one``, ``zero``, or ``ramp``: i mod 251
            - 125 for element i, so that neighbours differ; or {"base64": text}.
        seed: of the array.
        count: elements.

    Raises:
        ArgumentError: no such rule.
    """
    if isinstance(rule, Mapping) and set(rule) == {"base64"}:
        return _inline(rule["base64"], count)
    constants = {"max": 127, "min": -128, "one": 1, "zero": 0}
    if rule == "uniform":
        return SplitMix64(seed).int8(count)
    if rule == "edges":
        return np.array(EDGES, np.int8)[SplitMix64(seed).below(len(EDGES), count)]
    if rule == "ramp":
        return (np.arange(count) % 251 - 125).astype(np.int8)
    if isinstance(rule, str) and rule in constants:
        return np.full(count, constants[rule], np.int8)
    raise ArgumentError(f"activations {rule!r}: no such rule")


def bias(rule: Any, seed: int, n: int) -> npt.NDArray[np.int32] | None:
    """A bias (n,): None, ``uniform`` (the upper half of a word), or a list, repeated as needed.

    Raises:
        ArgumentError: no such rule, or a number that int32 does not hold.
    """
    if rule is None:
        return None
    if rule == "uniform":
        high = SplitMix64(seed).words(n) >> np.uint64(32)
        return high.astype(np.uint32).view(np.int32)
    if isinstance(rule, Sequence) and not isinstance(rule, str) and rule:
        values = np.resize(np.array(rule, np.int64), n)
        if (values != values.astype(np.int32)).any():
            raise ArgumentError("bias: a number does not fit int32")
        return values.astype(np.int32)
    raise ArgumentError(f"bias {rule!r}: no such rule")
