"""JSON from outside: how deep it may be, and text that is no Unicode, in every place."""

import json

import pytest

from cube24.errors import FileFormatError
from cube24.vectors.strict_json import DEPTH, parse


def depth(value) -> int:
    """How deep values stand in each other: a number is 1 deep."""
    inner = list(value.values()) + list(value) if isinstance(value, dict) else value
    return 1 + (max(map(depth, inner), default=0) if isinstance(inner, list) else 0)


def nested(kinds: str, leaf):
    for kind in kinds:
        leaf = [leaf] if kind == "l" else {"a": leaf} if kind == "d" else [1, leaf, "x"]
    return leaf


@pytest.mark.parametrize("more", ["", "\\u00e4"])  # spelt by its number, or not
@pytest.mark.parametrize("leaf", [1, "x", [], {}, [1, 2], {"a": 1}])
def test_what_is_deeper_than_may_be_is_refused(leaf, more):
    seen = set()
    for kinds in ("l", "d", "m", "ld", "mdl"):
        for levels in range(DEPTH - 3, DEPTH + 3):
            value = nested((kinds * DEPTH)[:levels], leaf)
            text = json.dumps({"b": value, "c": "@"}).replace("@", more).encode()
            deep = depth({"b": value}) > DEPTH
            seen.add(deep)
            if deep:
                with pytest.raises(FileFormatError, match=f"deeper than {DEPTH}"):
                    parse("x", text)
            else:
                assert parse("x", text)["b"] == value
    assert seen == {True, False}


@pytest.mark.parametrize("text", [r'"\ud800"', r'["a", {"b": "\udfff"}]', r'{"\ud800": 1}'])
def test_half_of_a_surrogate_pair_is_refused_wherever_it_is(text):
    with pytest.raises(FileFormatError, match="half of a surrogate pair"):
        parse("x", text.encode())
    assert parse("x", rb'"\ud83d\ude00"') == "\U0001f600"
