"""The command dpi: where the C library and the SystemVerilog package of this installation are."""

from __future__ import annotations

from importlib import resources
from os import fspath
from pathlib import Path

import click

from cube24.cli.codes import GOOD
from cube24.errors import FileAccessError

_HEADER = "include/cube24.h"
_PACKAGE = "share/cube24/cube24_pkg.sv"
_STATIC = ("lib/libcube24_dpi.a", "lib/libcube24.a")
_SHARED = ("lib/libcube24_dpi.so",)
_PKG_CONFIG = "lib/pkgconfig/cube24.pc"


@click.command("dpi", short_help="What the command line of a SystemVerilog simulator needs.")
@click.option("--sv", is_flag=True, help="The SystemVerilog package cube24_pkg, a file.")
@click.option("--cflags", is_flag=True, help="What a C compiler needs to find cube24.h.")
@click.option("--libs", is_flag=True, help="The static libraries to link with.")
@click.option(
    "--shared", is_flag=True, help="With --libs: the library that a simulator loads (-sv_lib)."
)
@click.option("--pkg-config-path", is_flag=True, help="The folder of cube24.pc, by itself.")
def dpi(sv: bool, cflags: bool, libs: bool, shared: bool, pkg_config_path: bool) -> int:
    """Print what the command line of a SystemVerilog simulator needs, on one line.

    The package cube24_pkg has the encoder, the layouts, the datapath and requantisation as DPI-C
    functions. docs/dpi.md lists them.

    \b
        verilator --binary --top tb $(cube24 dpi --sv --libs) tb.sv
        cc model.c $(cube24 dpi --cflags --libs)
    """
    if shared and not libs:
        raise click.UsageError("--shared says which library: it goes with --libs.")
    if not (sv or cflags or libs or pkg_config_path):
        raise click.UsageError("Say what to print: --sv, --cflags, --libs or --pkg-config-path.")
    if pkg_config_path and (sv or cflags or libs):
        raise click.UsageError("--pkg-config-path is no part of a command line: ask for it alone.")
    words = []
    if sv:
        words.append(fspath(_installed(_PACKAGE)))
    if cflags:
        words.append(f"-I{_installed(_HEADER).parent}")
    if libs:
        words += [fspath(_installed(name)) for name in (_SHARED if shared else _STATIC)]
    if pkg_config_path:
        words.append(fspath(_installed(_PKG_CONFIG).parent))
    click.echo(" ".join(words))
    return GOOD


def _installed(name: str) -> Path:
    """The path of a file of the library; of an editable installation, where it was built."""
    path = resources.files("cube24").joinpath("native", *name.split("/"))
    if not isinstance(path, Path) or not path.is_file():
        raise FileAccessError(
            name, "not installed with this cube24, which was built with -Dlibrary=false"
        )
    return path


COMMANDS = (dpi,)
