"""The schema of the manifest, and our check of it, beside a library's."""

import json

import jsonschema

from cube24.vectors import schema, suites
from cube24.vectors.build import build
from cube24.vectors.manifest import files_of


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
        found[expected] += 1
    assert found[False] > 100
    assert found[True] > 0
