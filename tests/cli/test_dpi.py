"""`cube24 dpi`: what it prints is there, and a C compiler, pkg-config and simulators can use it.

The tests of what the library computes are those of csrc/tests and examples/dpi.
"""

import ctypes
import re
import subprocess
from pathlib import Path

import pytest

from cube24.cli import run

ROOT = Path(__file__).parents[2]

MODEL = """
#include <stdio.h>
#include "cube24.h"

int main(void)
{
    const int8_t weight[4] = {0, 0, 0, 7};
    int8_t dense[4];
    uint8_t index;
    const int status = cube24_encode(weight, 1, 4, CUBE24_POLICY_ERROR, 0, dense, &index, NULL);
    printf("%s: %d %d %x\\n", cube24_status_text(status), dense[0], dense[1], index);
    return 0;
}
"""
#: Only slot 1 reaches element 3, by an index of 2.
PRINTED = "done: 0 7 8\n"


def printed(capsys, *arguments):
    assert run(["dpi", *arguments]) == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    return out.split()


def build(tmp_path, *words, compiler="cc", name="model.c"):
    (tmp_path / name).write_text(MODEL)
    command = [compiler, "-Wall", "-Werror", tmp_path / name, "-o", tmp_path / "model", *words]
    subprocess.run(command, check=True)
    return subprocess.run([tmp_path / "model"], check=True, capture_output=True, text=True).stdout


def test_it_prints_files_that_are_there_in_one_line(capsys):
    package, flags, glue, core = printed(capsys, "--libs", "--sv", "--cflags")
    assert Path(package).name == "cube24_pkg.sv"
    assert (Path(flags.removeprefix("-I")) / "cube24.h").is_file()
    assert [Path(glue).name, Path(core).name] == ["libcube24_dpi.a", "libcube24.a"]
    assert all(Path(path).is_file() for path in (package, glue, core))
    (shared,) = printed(capsys, "--libs", "--shared")
    assert Path(shared).name == "libcube24_dpi.so"
    assert Path(shared).is_file()


@pytest.mark.parametrize("compiler", ["cc", "c++"])
def test_a_program_is_compiled_and_linked_with_what_it_prints(capsys, tmp_path, compiler):
    words = printed(capsys, "--cflags", "--libs")
    name = "model.c" if compiler == "cc" else "model.cpp"
    assert build(tmp_path, *words, compiler=compiler, name=name) == PRINTED


def test_the_shared_library_leaves_open_what_a_simulator_has_and_nothing_else(capsys, tmp_path):
    (shared,) = printed(capsys, "--libs", "--shared")
    simulator = tmp_path / "simulator.c"
    simulator.write_text(
        "int svSize(void *a, int d) { return a && d ? 4 : 0; }\n"
        "void *svGetArrayPtr(void *a) { return a; }\n"
        "int svSizeOfArray(void *a) { return a ? 4 : 0; }\n"
    )
    library = tmp_path / "simulator.so"
    subprocess.run(["cc", "-shared", "-fPIC", simulator, "-o", library], check=True)
    ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL)
    loaded = ctypes.CDLL(shared)  # all that is open is found, or this fails
    loaded.cube24_dpi_message.restype = ctypes.c_char_p
    assert loaded.cube24_dpi_message(0) == b"done"
    assert loaded.cube24_dpi_k_stored(9) == 16


def test_the_shared_core_is_whole():
    # Without a simulator around it: pkg-config's -lcube24 takes this one.
    native = Path(_path("--pkg-config-path")).parent
    files = [path for path in native.glob("**/libcube24.so") if path.is_file()]
    assert ctypes.CDLL(str(files[0])).cube24_k_stored(9) == 16


def _path(option):
    command = ["cube24", "dpi", option]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_every_import_of_the_package_is_in_the_libraries_and_the_other_way_round(capsys):
    package, glue = printed(capsys, "--sv", "--libs")[:2]
    text = Path(package).read_text()
    imported = re.findall(r'import "DPI-C" (cube24_dpi_\w+) = function', text)
    assert len(imported) == len(set(imported)) == text.count('import "DPI-C"')
    for library, more in ((glue, []), (printed(capsys, "--libs", "--shared")[0], ["-D"])):
        symbols = subprocess.run(["nm", *more, library], check=True, capture_output=True, text=True)
        defined = re.findall(r" T (cube24_dpi_\w+)", symbols.stdout)
        assert sorted(defined) == sorted(imported)


def test_imports_and_functions_agree_in_arguments_one_by_one():
    # The types of the standard, Annex H; an array is passed by its handle.
    scalars = {
        "int": "int", "int unsigned": "unsigned int", "longint unsigned": "uint64_t",
        "real": "double", "bit": "unsigned char",
    }  # fmt: skip
    source = (ROOT / "csrc" / "dpi" / "cube24_dpi.c").read_text()
    text = (ROOT / "csrc" / "dpi" / "cube24_pkg.sv").read_text()
    imports = re.findall(r'import "DPI-C" (\w+) = function (\w+) \w+\(([^)]*)\);', text, re.DOTALL)
    assert len(imports) > 30
    for name, result, arguments in imports:
        kind, declared = re.search(
            rf"^(int |const char \*){name}\(([^)]*)\)\n{{", source, re.MULTILINE | re.DOTALL
        ).groups()
        assert kind.strip() == {"int": "int", "string": "const char *"}[result], name
        wanted = []
        for argument in arguments.split(","):
            direction, type_, _, array = re.fullmatch(
                r"\s*(input|output|inout) ([a-z ]+) (\w+)(\[\])?\s*", argument
            ).groups()
            if array:
                wanted.append("svOpenArrayHandle")
            else:
                wanted.append(scalars[type_] + (" *" if direction == "output" else ""))
        got = [
            re.fullmatch(r"(.*?)\s*(\*?)\w+", " ".join(one.split())).expand(r"\1 \2").strip()
            for one in declared.split(",")
        ]
        assert got == wanted, name


def test_the_numbers_of_the_package_are_those_of_the_header():
    text = (ROOT / "csrc" / "dpi" / "cube24_pkg.sv").read_text()
    header = (ROOT / "csrc" / "cube24.h").read_text()
    header += (ROOT / "csrc" / "dpi" / "cube24_dpi.c").read_text().replace("CUBE24_DPI_", "CUBE24_")
    there = dict(re.findall(r"^ +CUBE24_(\w+) = (\w+),?", header, re.MULTILINE))
    given = dict(re.findall(r"localparam int(?: unsigned)? (\w+) = ([\w']+);", text))
    assert {name: number.replace("'h", "0x") for name, number in given.items()} == {
        name: number for name, number in there.items()
        if name not in (
            "PATH_MASK", "STRICT", "FAULT_KINDS", "ROWS", "NCHW", "NHWC", "TALLY_HALVES",
        )
    }  # fmt: skip


def test_pkg_config_finds_a_folder_that_was_moved(capsys, tmp_path):
    (where,) = printed(capsys, "--pkg-config-path")
    text = (Path(where) / "cube24.pc").read_text()
    assert text.startswith("prefix=${pcfiledir}/")
    assert str(ROOT) not in text
    # As in a wheel; an editable installation has these files where they were made.
    moved = tmp_path / "elsewhere"
    _, flags, _, core = printed(capsys, "--sv", "--cflags", "--libs")
    for name, source in {
        "include/cube24.h": Path(flags.removeprefix("-I")) / "cube24.h",
        "lib/libcube24.a": Path(core),
        "lib/libcube24.so": Path(core).with_suffix(".so"),
    }.items():
        (moved / name).parent.mkdir(parents=True, exist_ok=True)
        (moved / name).write_bytes(source.read_bytes())
    (moved / "lib" / "pkgconfig").mkdir()
    (moved / "lib" / "pkgconfig" / "cube24.pc").write_text(text)
    words = subprocess.run(
        ["pkg-config", "--cflags", "--libs", "cube24"],
        env={"PKG_CONFIG_PATH": str(moved / "lib" / "pkgconfig"), "PATH": "/usr/bin:/bin"},
        check=True, capture_output=True, text=True,
    ).stdout.split()  # fmt: skip
    assert build(tmp_path, *words) == PRINTED


def test_nothing_that_is_installed_knows_where_it_was_built(capsys):
    words = printed(capsys, "--sv", "--libs")
    words += printed(capsys, "--libs", "--shared")
    (where,) = printed(capsys, "--pkg-config-path")
    files = [Path(word) for word in words]
    if (Path(where).parent / "libcube24.a").is_file():  # a normal installation: all of its files
        files = [path for path in Path(where).parents[1].rglob("*") if path.is_file()]
        assert len(files) == 7
    for path in files:
        assert str(ROOT).encode() not in path.read_bytes(), path


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Say what to print"),
        (["--shared"], "it goes with --libs"),
        (["--sv", "--shared"], "it goes with --libs"),
        (["--pkg-config-path", "--libs"], "ask for it alone"),
    ],
)
def test_what_means_nothing_is_refused(capsys, arguments, said):
    assert run(["dpi", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_a_package_without_the_library_says_so(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("importlib.resources.files", lambda _: tmp_path)
    assert run(["dpi", "--libs"]) == 2
    assert "not installed with this cube24" in capsys.readouterr().err
