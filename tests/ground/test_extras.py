"""A package of an extra is told from a library that it lacks: the message says which."""

import sys

import pytest

from cube24 import Cube24Error
from cube24.errors import MissingExtraError
from cube24.extras import need


def test_a_module_that_is_there_is_given():
    assert need("json.decoder", "none", "reading").JSONDecoder


def test_a_package_that_is_not_installed_is_named_with_its_extra():
    with pytest.raises(MissingExtraError) as caught:
        need("no_such_package.inside", "plot", "drawing")
    assert str(caught.value) == (
        "drawing needs the package no_such_package: pip install 'cube24[plot]'"
    )
    assert isinstance(caught.value, Cube24Error)
    assert isinstance(caught.value, ImportError)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("raise ImportError('libfreetype.so.6: cannot open shared object file')", "libfreetype"),
        ("import no_such_dependency", "no_such_dependency"),
    ],
    ids=["a library of the system", "a package that it needs itself"],
)
def test_a_package_that_cannot_be_loaded_says_why(tmp_path, monkeypatch, body, reason):
    (tmp_path / "broken_package.py").write_text(body)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingExtraError) as caught:
        need("broken_package", "plot", "drawing")
    assert "drawing: broken_package cannot be loaded: " in str(caught.value)
    assert reason in str(caught.value)
    assert "pip install" not in str(caught.value)
    assert "broken_package" not in sys.modules
