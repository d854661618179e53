"""The part of JSON Schema (draft 2020-12) that our schemas use, checked without a dependency.

A schema with a keyword that is not known here is refused, so nothing is passed over in silence.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

_TYPES: Mapping[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "null": lambda value: value is None,
}
_KNOWN = {
    "$schema", "$id", "$defs", "$ref", "title", "type", "const", "enum", "pattern", "minimum",
    "maximum", "required", "properties", "additionalProperties", "items", "minItems",
}  # fmt: skip


@lru_cache
def load(name: str) -> dict[str, Any]:
    """A schema of the package, such as ``case-1``."""
    text = (Path(__file__).parent / "schema" / f"{name}.json").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def fault(value: Any, name: str) -> str | None:
    """What :func:`problem` finds by a schema of the package; of what follows it, ten times faster.

    Args:
        value: the value. name: of the schema, such as ``case-1``.
    """
    return None if _compiled(name)(value) else problem(value, load(name))


def problem(value: Any, schema: Mapping[str, Any]) -> str | None:
    """The first thing in which a value does not follow a schema, with its place; None if all does.

    Raises:
        ValueError: a keyword of the schema that is not known here.
    """
    return _problem(value, schema, schema, "")


def _problem(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any], at: str) -> str | None:
    if unknown := schema.keys() - _KNOWN:
        raise ValueError(f"schema keyword {sorted(unknown)[0]!r} is not known")
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].removeprefix("#/$defs/")]
    place = at or "the manifest"
    types = schema.get("type", [])
    types = [types] if isinstance(types, str) else types
    if types and not any(_TYPES[name](value) for name in types):
        return f"{place} is no {' or '.join(types)}"
    if "const" in schema and value != schema["const"]:
        return f"{place} is {_shown(value)}; this version reads {schema['const']!r}"
    if "enum" in schema and value not in schema["enum"]:
        return f"{place} is {_shown(value)}; it takes {', '.join(schema['enum'])}"
    # The $ of a schema is the end; that of Python's re also matches before a last line feed.
    pattern = schema.get("pattern", "").replace("$", r"\Z")
    if isinstance(value, str) and not re.search(pattern, value):
        return f"{place} is {_shown(value)}, which is not of the form {schema['pattern']}"
    is_number = _TYPES["number"](value)
    if is_number and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        return f"{place} is {value}, out of range"
    if isinstance(value, list):
        if len(value) < schema.get("minItems", 0):
            return f"{place} is too short"
        for number, item in enumerate(value):
            if found := _problem(item, schema.get("items", {}), root, f"{at}[{number}]"):
                return found
    if isinstance(value, dict):
        return _object(value, schema, root, at)
    return None


_Check = Callable[[Any], bool]


@lru_cache
def _compiled(name: str) -> _Check:
    """Whether a value follows a schema of the package, in one function for each part of it."""
    root = load(name)
    return _check(root, root)


def _check(schema: Mapping[str, Any], root: Mapping[str, Any]) -> _Check:
    """The same rules as in :func:`_problem`, in the same order."""
    if unknown := schema.keys() - _KNOWN:
        raise ValueError(f"schema keyword {sorted(unknown)[0]!r} is not known")
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].removeprefix("#/$defs/")]
    if _is_plain(schema, "integer", "minimum", "maximum"):  # most are one of these two
        return _integer_check(schema)
    if _is_plain(schema, "string", "pattern") and "pattern" in schema:
        matched = _pattern(schema)
        return lambda value: isinstance(value, str) and matched(value) is not None
    checks: list[_Check] = []
    types = schema.get("type", [])
    types = [_TYPES[each] for each in ([types] if isinstance(types, str) else types)]
    if len(types) == 1:
        checks += types
    elif types:
        checks.append(lambda value: any(is_type(value) for is_type in types))
    if "const" in schema:
        checks.append(lambda value: bool(value == schema["const"]))
    if "enum" in schema:
        checks.append(lambda value: value in schema["enum"])
    if "pattern" in schema:
        matched = _pattern(schema)
        checks.append(lambda value: not isinstance(value, str) or matched(value) is not None)
    if schema.keys() & {"minimum", "maximum"}:
        least, most = schema.get("minimum", -math.inf), schema.get("maximum", math.inf)
        is_number = _TYPES["number"]
        checks.append(lambda value: not is_number(value) or least <= value <= most)
    if "minItems" in schema:
        count = schema["minItems"]
        checks.append(lambda value: not isinstance(value, list) or len(value) >= count)
    if schema.get("items"):
        checks.append(_items_check(schema["items"], root))
    if schema.keys() & {"properties", "required", "additionalProperties"}:
        checks.append(_object_check(schema, root))
    return _both(checks)


def _is_plain(schema: Mapping[str, Any], type_: str, *others: str) -> bool:
    """Whether it says only this type, and what some others do."""
    return schema.get("type") == type_ and schema.keys() <= {"type", "title", *others}


def _integer_check(schema: Mapping[str, Any]) -> _Check:
    least, most = schema.get("minimum", -math.inf), schema.get("maximum", math.inf)
    # A bool is an int, too; JSON has no other kind of them.
    return lambda value: type(value) is int and least <= value <= most


def _pattern(schema: Mapping[str, Any]) -> Callable[[str], re.Match[str] | None]:
    return re.compile(schema.get("pattern", "").replace("$", r"\Z")).search


def _both(checks: list[_Check]) -> _Check:
    """Whether a value passes all checks, in their order."""
    if not checks:
        return lambda value: True
    first, *rest = checks
    if not rest:
        return first
    others = _both(rest)
    return lambda value: first(value) and others(value)


def _items_check(schema: Mapping[str, Any], root: Mapping[str, Any]) -> _Check:
    item, texts = _check(schema, root), schema == {"type": "string"}

    def check(value: Any) -> bool:
        if not isinstance(value, list):
            return True
        if texts and {*map(type, value)} <= {str}:  # in one step of Python for hundreds of bins
            return True
        return all(map(item, value))

    return check


def _object_check(schema: Mapping[str, Any], root: Mapping[str, Any]) -> _Check:
    required = frozenset(schema.get("required", ()))
    properties = {name: _check(of, root) for name, of in schema.get("properties", {}).items()}
    closed = schema.get("additionalProperties") is False

    def check(value: Any) -> bool:
        if not isinstance(value, dict):
            return True
        if not required <= value.keys():
            return False
        for name, item in value.items():
            of = properties.get(name)
            if of is None:
                if closed:
                    return False
            elif not of(item):
                return False
        return True

    return check


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."


def _object(
    value: dict[str, Any], schema: Mapping[str, Any], root: Mapping[str, Any], at: str
) -> str | None:
    properties = schema.get("properties", {})
    prefix = f"{at}." if at else ""
    for name in schema.get("required", ()):
        if name not in value:
            return f"{prefix}{name} is missing"
    for name, item in value.items():
        if name in properties:
            if found := _problem(item, properties[name], root, f"{prefix}{name}"):
                return found
        elif schema.get("additionalProperties") is False:
            return f"{prefix}{name[:80]} is unknown"
    return None
