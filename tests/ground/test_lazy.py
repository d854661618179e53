"""Imports that wait until a name is asked for: what they leave out, and that nobody notices."""

import pickle
import pydoc
import subprocess
import sys
from importlib import import_module

import click
import pytest

import cube24
from cube24 import lazy
from cube24.cli import app

FRONTS = ["cube24.encoder", "cube24.simulator", "cube24.simulator.show", "cube24.graph",
          "cube24.vectors", "cube24.vectors.comparison", "cube24.vectors.coverage"]  # fmt: skip

#: What no user of the library waits for who did not ask for it.
UNWANTED = {
    "asyncio", "click", "concurrent.futures", "dask", "distributed", "email", "hashlib",
    "importlib.metadata", "json", "matplotlib", "multiprocessing", "onnx", "onnxruntime", "secrets",
    "shutil", "subprocess", "tempfile", "tomllib", "xml", "zipfile",
}  # fmt: skip

#: What a program may do without any of that.
PROGRAMS = {
    "root": "import cube24",
    "encoder": "import cube24.encoder",
    "simulator": "import cube24.simulator, cube24.simulator.show",
    "graph": "import cube24.graph",
    "vectors": "import cube24.vectors",
    "encode": """
import numpy as np
from cube24.encoder import check, decode, encode, encode_conv, prune
weight = np.zeros((16, 64), np.int8)
assert decode(encode(weight).to_fractal()).shape == weight.shape and check(weight)
encode_conv(np.zeros((16, 32, 3, 3), np.int8), layout="zn"), prune(weight)
""",
    "simulate": """
import numpy as np
from cube24.simulator import Requant, Tile, Unit
run = Unit("dav-2201").matmul(np.ones((16, 64), np.int8), np.zeros((16, 64), np.int8))
assert run.cycles > 0 and not run.output.any()
""",
}


def loaded(program: str) -> set[str]:
    """The modules that are there after a program, in a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", f"{program}\nimport sys\nprint(*sys.modules)"],
        check=True, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    return set(done.stdout.split())


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_library_imports_nothing_that_is_not_used(program):
    # NumPy may import some of them itself: what it does is not ours.
    numpy = loaded("import numpy, numpy.typing, numpy.ma")
    there = loaded(PROGRAMS[program])
    assert f"cube24.{program}" in there or program in ("root", "encode", "simulate")
    assert there & UNWANTED <= numpy & UNWANTED


def test_the_probe_sees_what_is_imported():
    there = loaded("from cube24.vectors import Campaign; from cube24 import __version__")
    assert {"json", "importlib.metadata"} <= there


@pytest.mark.parametrize("words", [["--help"], ["encode", "--help"], ["-h"]])
def test_help_imports_no_numpy(words):
    there = loaded(f"from cube24.cli import run; assert run({words}) == 0")
    assert "click" in there
    assert not {name.split(".")[0] for name in there} & {"numpy", "_cffi_backend", "onnx"}


@pytest.mark.parametrize("front", FRONTS)
def test_a_front_looks_like_any_module(front):
    module = import_module(front)
    assert {*module.__all__, "__all__", "__doc__", "__name__"} <= {*dir(module)}
    assert dir(module) == sorted({*dir(module)})
    text = pydoc.plain(pydoc.render_doc(module))
    classes = [name for name in module.__all__ if isinstance(getattr(module, name), type)]
    assert all(name in text for name in classes)
    with pytest.raises(AttributeError, match=rf"module '{front}' has no attribute 'nothing'"):
        _ = module.nothing
    assert not hasattr(module, "__wrapped__")


def test_star_gives_all_names():
    names = {}
    exec("from cube24.encoder import *", names)
    assert set(import_module("cube24.encoder").__all__) <= names.keys()


@pytest.mark.parametrize("front", FRONTS)
def test_classes_of_a_front_pickle_by_name(front):
    module = import_module(front)
    for name in module.__all__:
        value = getattr(module, name)
        if isinstance(value, type) and hasattr(value, "__module__"):
            assert pickle.loads(pickle.dumps(value)) is value


def test_a_name_is_looked_up_once(monkeypatch):
    asked = []
    real = lazy.import_module
    monkeypatch.setattr(lazy, "import_module", lambda *name: (asked.append(name), real(*name))[1])
    vars(cube24.encoder).pop("encode", None)
    assert cube24.encoder.encode is cube24.encoder.encode
    assert asked == [(".codec", "cube24.encoder")]


def test_an_import_that_fails_is_told_and_tried_again(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "halls").mkdir()
    (tmp_path / "halls/__init__.py").write_text(
        "from cube24.lazy import front\n"
        "__getattr__, __dir__ = front(__name__, {'.room': ('table',)})\n"
    )
    halls = import_module("halls")
    with pytest.raises(ModuleNotFoundError, match=r"halls\.room"):
        _ = halls.table
    (tmp_path / "halls/room.py").write_text("table = 4\n")
    sys.path_importer_cache.clear()
    assert halls.table == 4


@pytest.mark.parametrize("width", [40, 78, 100, 200])
def test_the_list_of_commands_is_what_the_commands_say(width):
    commands = {name: app.cli.commands[name] for name in app.cli.commands}
    assert {name: command.name for name, command in commands.items()} == {
        name: name for name in commands
    }
    eager = click.Group("cube24", commands=commands, help=app.cli.help, params=app.cli.params)
    shown = [
        group.get_help(click.Context(
            group, info_name="cube24", terminal_width=width, max_content_width=width,
            help_option_names=["-h", "--help"],
        ))
        for group in (eager, app.cli)
    ]  # fmt: skip
    assert shown[0] == shown[1]


def test_every_command_of_a_module_is_listed():
    there = {
        command.name
        for module in (
            "weights", "models", "run_model", "simulate", "time", "vectors", "dpi", "demo",
        )
        for command in import_module(f"cube24.cli.{module}").COMMANDS
    }  # fmt: skip
    assert there == set(app.cli.commands)
    assert len(app.cli.commands) == len(there) == len([*app.cli.commands])
    assert "encoder" not in app.cli.commands
