"""JSON from outside: how deep it may be, and text that is no Unicode, in every place."""

import json

import pytest

from cube24.errors import FileFormatError
from cube24.vectors.strict_json import DEPTH, fault, parse


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


#: What 64 bits hold, with or without a sign; and what they do not, or what is no number or text.
TAKEN = [
    0, -1, 0.5, -0.0, True, None, "", "a", "\u00e4", "\U0001f600", -(2**63), 2**64 - 1, 10**18,
    1e308, [], {}, [[]],
]  # fmt: skip
REFUSED = [
    -(2**63) - 1, 2**64, 10**400, -(10**30), float("inf"), float("-inf"), float("nan"), "\ud800",
    "x\udfff",
]  # fmt: skip
PLACES = ["@", "[@]", '{"a": [1, {"b": @}], "c": 2}', '{"a": {@: 0}}']


@pytest.mark.parametrize(
    ("value", "good"), [*((one, True) for one in TAKEN), *((one, False) for one in REFUSED)]
)
def test_what_json_alone_reads_is_held_to_the_same_rules(value, good):
    for place in PLACES if isinstance(value, str) else PLACES[:-1]:
        text = place.replace("@", json.dumps(value))
        assert (fault(json.loads(text)) is None) == good
        if good:
            parse("x", text.encode())
        else:
            with pytest.raises(FileFormatError):
                parse("x", text.encode())


@pytest.mark.parametrize("leaf", [1, 0.5, "x", [], {}])
def test_it_is_as_deep_as_what_is_parsed(leaf):
    seen = set()
    for kinds in ("l", "d", "m", "ld", "mdl"):
        for levels in range(DEPTH - 3, DEPTH + 3):
            value = nested((kinds * DEPTH)[:levels], leaf)
            deep = depth(value) > DEPTH
            seen.add(deep)
            assert fault(value) == (f"deeper than {DEPTH}" if deep else None)
    assert seen == {True, False}
