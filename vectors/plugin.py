"""The pytest plugin: a folder of cases as parametrised tests of a user's own model.

    pytest --cube24-vectors DIR [--cube24-suite NAME] [--cube24-outcome KIND]

runs each test that takes ``case`` once for each case below DIR, as a
:class:`cube24.vectors.Stored`. The seed of the case stands in the report of a failure and
in the properties of JUnit XML.

Every pytest loads this where cube24 is installed, and ``case`` is a common name. So a fixture of
another plugin, of a conftest or of a test goes before ours, parameters of a test too, and nothing
else of cube24 is imported until a test asks for ours.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cube24 import vectors
from cube24.errors import Cube24Error

if TYPE_CHECKING:
    from cube24.vectors import Stored

OPTION = "--cube24-vectors"
SUITE, OUTCOME = "--cube24-suite", "--cube24-outcome"
NAME = "case"

#: The module of our fixture.
_FIXTURE = "cube24.vectors.case_fixture"

#: The cases by name, read once; one that cannot be read is the error that its tests end with.
_CASES = pytest.StashKey[list[tuple[str, "Stored | Cube24Error"]]]()


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Add the option, and our fixture unless a plugin that was there before has one of its name.

    Of two fixtures of one name pytest takes the one that came last: ours would go before those of
    plugins that came before, and goes behind those of plugins and conftests that are still to come.
    """
    group = parser.getgroup("cube24")
    group.addoption(
        OPTION, action="append", metavar="DIR", default=[],
        help="run tests that take `case` with each golden vector below DIR; may be given again",
    )  # fmt: skip
    group.addoption(
        SUITE, action="append", metavar="NAME", default=[],
        help="only with cases of this suite; may be given again",
    )  # fmt: skip
    group.addoption(
        OUTCOME, action="append", default=[], choices=["result", "changed", "masked", "error"],
        help="only with cases of this outcome, as in their manifests; may be given again",
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of attributes that are looked at and not used
        theirs = [plugin for plugin in pluginmanager.get_plugins() if _has_fixture(plugin)]
    if theirs:
        pluginmanager.register(_Note(theirs), "cube24-note")
    else:
        pluginmanager.import_plugin(_FIXTURE)


def _has_fixture(plugin: object) -> bool:
    """Whether a plugin has a fixture of our name, under whatever name it stands in its module."""
    for name in dir(plugin):
        try:
            found = getattr(plugin, name)
            # What a fixture is has changed with pytest 8.4.
            marker = found if _is_definition(found) else found._pytestfixturefunction
            called = marker.name
        except Exception:  # whatever an attribute of a plugin may raise when it is looked at
            continue
        if called == NAME or (called is None and name == NAME):
            return True
    return False


def _is_definition(found: object) -> bool:
    return type(found).__name__ == "FixtureFunctionDefinition"


class _Note:
    """Says why the option does nothing, where it does not."""

    def __init__(self, theirs: list[object]) -> None:
        self._theirs = sorted(getattr(plugin, "__name__", repr(plugin)) for plugin in theirs)

    def pytest_terminal_summary(self, terminalreporter: Any, config: pytest.Config) -> None:
        """Only if it was given."""
        if config.getoption(OPTION):
            terminalreporter.write_line(
                f"{OPTION}: `{NAME}` is a fixture of another plugin here, of "
                f"{', '.join(self._theirs)}; leave that out with -p no:NAME"
            )


def _cases(config: pytest.Config) -> list[tuple[str, Stored | Cube24Error]]:
    """The cases below the folders of the option that the filters let through."""
    if _CASES not in config.stash:
        found: list[tuple[str, Stored | Cube24Error]] = []
        try:
            for folder in (f for path in config.getoption(OPTION) for f in vectors.folders(path)):
                found.append(_loaded(folder))
        except Cube24Error as error:
            raise pytest.UsageError(f"{OPTION}: {error}") from error
        found = _filtered(found, SUITE, config.getoption(SUITE), _suite)
        found = _filtered(found, OUTCOME, config.getoption(OUTCOME), _outcome)
        config.stash[_CASES] = found
    return config.stash[_CASES]


_Named = tuple[str, "Stored | Cube24Error"]


def _filtered(
    cases: list[_Named], option: str, wanted: list[str], of: Callable[[_Named], str | None]
) -> list[_Named]:
    """Those of which something is wanted; one of which it cannot be known stays, and fails.

    Raises:
        pytest.UsageError: a name that no case has: nothing would run, and nothing fail.
    """
    if not wanted:
        return cases
    there = {of(case) for case in cases}
    if missing := [name for name in wanted if name not in there]:
        known = ", ".join(sorted(name for name in there if name is not None))
        raise pytest.UsageError(f"{option} {missing[0]}: no case has it; there are: {known}")
    return [case for case in cases if of(case) in (*wanted, None)]


def _suite(case: _Named) -> str | None:
    return case[0].partition("/")[0]


def _outcome(case: _Named) -> str | None:
    return case[1].manifest["outcome"]["kind"] if isinstance(case[1], vectors.Stored) else None


def _loaded(folder: Path) -> tuple[str, Stored | Cube24Error]:
    try:
        stored = vectors.load(folder)
    except Cube24Error as error:
        return f"{folder.parent.name}/{folder.name}", error
    return stored.name, stored


@pytest.hookimpl(trylast=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each case, where ``case`` is ours."""
    if not metafunc.config.getoption(OPTION) or NAME not in metafunc.fixturenames:
        return
    of = metafunc._arg2fixturedefs
    if not _is_ours(of.get(NAME)) or _is_given(metafunc):
        return
    # As wide as what takes it: a fixture of a class cannot take one that changes with each test.
    wide = [
        found[-1] for name in metafunc.fixturenames
        if (found := of.get(name)) and NAME in found[-1].argnames
    ]  # fmt: skip
    scopes = ["function", "class", "module", "package", "session"]
    scope: Any = max((one.scope for one in wide), key=scopes.index, default="function")
    cases = _cases(metafunc.config)
    metafunc.parametrize(
        NAME, [stored for _, stored in cases], ids=[name for name, _ in cases], indirect=True,
        scope=scope,
    )  # fmt: skip


def _is_ours(found: Any) -> bool:
    """Whether the last of some fixtures of one name is ours, or takes ours to make it another."""
    for one in reversed(found or ()):
        if getattr(one.func, "__module__", "") == _FIXTURE:
            return True
        if NAME not in one.argnames:
            return False
    return False


def _is_given(metafunc: pytest.Metafunc) -> bool:
    """Whether something else gives the test its cases."""
    for mark in metafunc.definition.iter_markers("parametrize"):
        names = mark.args[0] if mark.args else mark.kwargs.get("argnames", ())
        names = names.split(",") if isinstance(names, str) else names
        if NAME in [name.strip() for name in names]:
            return True
    return any(NAME in {**call.params, **getattr(call, "funcargs", {})} for call in metafunc._calls)


def _seed(item: pytest.Item) -> str | None:
    found = getattr(getattr(item, "callspec", None), "params", {}).get(NAME)
    if found is None or not item.config.getoption(OPTION):
        return None
    return vectors.shown(found.seed) if isinstance(found, vectors.Stored) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the seed of each case into the properties of its test."""
    for item in items:
        seed = _seed(item)
        if seed is not None:
            item.user_properties.append(("cube24_case_seed", seed))


# The old kind of wrapper: a user's pytest may be older than the new one.
@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[Any]
) -> Generator[None, Any, None]:
    """Say the seed where a test failed."""
    report = (yield).get_result()
    if report.failed:
        seed = _seed(item)
        if seed is not None:
            report.sections.append(("cube24 case", f"case seed {seed}"))
