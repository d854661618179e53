"""The schema of the manifest, and our check of it, beside a library's."""

import json
from dataclasses import replace

import jsonschema
import pytest

from cube24.vectors import Campaign, schema, suites
from cube24.vectors.build import build
from cube24.vectors.manifest import files_of


def test_specs_are_the_same_in_both_versions():
    one, two = schema.load("case-1"), schema.load("case-2")
    assert one["properties"]["spec"] == two["properties"]["spec"]
    for name in ("sizes", "values"):
        assert one["$defs"][name] == two["$defs"][name]


def test_the_schema_is_a_schema_and_every_manifest_of_level_0_follows_it():
    of = schema.load("case-1")
    jsonschema.Draft202012Validator.check_schema(of)
    validator = jsonschema.Draft202012Validator(of)
    for suite, (version, _) in suites.SUITES.items():
        for item in list(suites.items(suite, 0, 1))[::5]:
            text = files_of(build(suite, version, item, 1))["manifest.json"]
            validator.validate(json.loads(text))
            assert schema.problem(json.loads(text), of) is None


def damages(of):
    """Manifests with one thing changed."""
    yield "unknown key", {**of, "more": 1}
    for name in of:
        yield f"no {name}", {key: value for key, value in of.items() if key != name}
        for value in (None, [], {}, -1, "x y", True, 1.5):
            yield f"{name} {value!r}", {**of, name: value}
    first, *rest = of["files"]
    for name in first:
        for value in (None, "../x", -1, "y" * 64):
            yield f"files {name} {value!r}", {**of, "files": [{**first, name: value}, *rest]}
    yield "line feed", {**of, "case": of["case"] + "\n"}
    yield "random", {**of, "random": {**of["random"], "case_seed": 7}}


def test_our_check_of_the_schema_agrees_with_a_library(made):
    of = schema.load("case-1")
    validator = jsonschema.Draft202012Validator(of)
    good = json.loads(files_of(made)["manifest.json"])
    found = {True: 0, False: 0}
    for about, value in damages(good):
        expected = validator.is_valid(value)
        if about == "line feed":
            expected = False  # Python's $ lets it pass, a schema's does not
        assert (schema.problem(value, of) is None) == expected, about
        assert (schema.fault(value, "case-1") is None) == expected, about
        found[expected] += 1
    assert found[False] > 100
    assert found[True] > 0


#: What may stand anywhere in a manifest.
STRANGE = (None, True, -1, 1, 1.5, "", "nd", "a\n", [], [-1], {"x": 1})


def changed(value):
    """A value with each part of it, however deep, changed, left out or joined by another one."""
    yield from STRANGE
    if isinstance(value, dict):
        yield {**value, "more": 1}
        for name, item in value.items():
            yield {key: other for key, other in value.items() if key != name}
            yield from ({**value, name: other} for other in changed(item))
    if isinstance(value, list):
        for number, item in list(enumerate(value))[:2]:
            rest = value[number + 1 :]
            yield from ([*value[:number], other, *rest] for other in changed(item))


@pytest.mark.parametrize("name", ["case-1", "case-2", "campaign-1", "campaign-2"])
def test_what_follows_a_schema_is_seen_as_the_walk_sees_it(made, name):
    if name == "campaign-2":
        good = json.loads(Campaign(("shapes", "faults"), 1, 7, cases=("*",)).text())
    elif name.startswith("case"):
        made = replace(made, style=replace(made.style, manifest=int(name[-1])))
        good = json.loads(files_of(made)["manifest.json"])
        good["files"], good["coverage"] = good["files"][:2], good["coverage"][:2]
    else:
        good = json.loads(Campaign(("shapes", "faults"), 1, 7).text())
    of = schema.load(name)
    assert schema.fault(good, name) is None
    found = [(schema.fault(value, name), schema.problem(value, of)) for value in changed(good)]
    assert all(fast == slow for fast, slow in found)
    assert sum(fast is None for fast, _ in found) > 20
    assert sum(fast is not None for fast, _ in found) > 100
