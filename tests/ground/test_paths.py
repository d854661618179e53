"""Every question about a path can be refused, and is then an error with the path and a reason."""

import errno
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cube24.errors import FileAccessError
from cube24.files import exists, is_file, is_folder, is_same, listing

QUESTIONS = [exists, is_file, is_folder, listing, lambda path: is_same(path, path)]
LONG = "x" * 256  # NAME_MAX is 255 bytes on the file systems of Linux


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_bytes(b"")
    Path("folder").mkdir()
    os.mkfifo("pipe")
    Path("to_file").symlink_to("file")
    Path("to_folder").symlink_to("folder")
    Path("to_nothing").symlink_to("gone")
    Path("round").symlink_to("round")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")


#: (path, exists, is_file, is_folder)
ANSWERS = [
    ("file", True, True, False),
    ("folder", True, False, True),
    ("pipe", True, False, False),
    ("socket", True, False, False),
    ("/dev/null", True, False, False),
    ("to_file", True, True, False),
    ("to_folder", True, False, True),
    ("to_nothing", True, False, False),
    ("to_nothing/", True, False, False),  # pathlib: no slash at the end
    ("gone", False, False, False),
    ("gone/below", False, False, False),
    ("file/below", False, False, False),
    ("", True, False, True),  # pathlib: the folder we are in
]


@pytest.mark.parametrize(("path", *"abc"), ANSWERS)
def test_what_the_system_says_is_the_answer(path, a, b, c):
    assert (exists(path), is_file(path), is_folder(path)) == (a, b, c)


def test_two_names_of_one_file_are_told():
    os.link("file", "other_name")
    assert is_same("to_file", "other_name")
    assert is_same("to_folder", Path("folder"))
    assert not is_same("file", "folder")
    assert not is_same("gone", "gone")
    assert not is_same("file", "gone")


def test_a_folder_is_listed_in_one_order():
    for name in ("b", "a", ".c", "B"):
        (Path("folder") / name).touch()
    assert listing("folder") == [Path("folder") / name for name in (".c", "B", "a", "b")]


REFUSED = {
    "a name of 256 bytes": (LONG, errno.ENAMETOOLONG),
    "a folder of 256 bytes": (f"{LONG}/file", errno.ENAMETOOLONG),
    "a path of 5000 bytes": ("d/" * 2500, errno.ENAMETOOLONG),
    "a NUL": ("fi\0le", None),
    "half of a surrogate pair": ("w\ud800.npy", None),
}


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("case", REFUSED)
def test_what_the_system_refuses_is_an_error_with_the_path(question, case):
    path, number = REFUSED[case]
    with pytest.raises(FileAccessError) as caught:
        question(path)
    assert caught.value.errno == number
    assert str(caught.value).startswith(caught.value.path)
    str(caught.value).encode("utf-8")  # it can be printed
    if number is not None:
        assert caught.value.path == path


@pytest.mark.parametrize("question", [is_file, is_folder, lambda path: is_same(path, path)])
def test_links_that_lead_round_are_an_error(question):
    with pytest.raises(FileAccessError, match="round: cannot look at it") as caught:
        question("round")
    assert caught.value.errno == errno.ELOOP
    assert exists("round")  # the name is taken


def test_only_a_folder_is_listed():
    for path in ("file", "gone", "pipe"):
        with pytest.raises(FileAccessError, match=f"^{path}: cannot list"):
            listing(path)


SCRIPT = """
import json
from cube24.errors import FileAccessError
from cube24.files import exists, is_file, is_folder, is_same, listing
found = []
for question in (exists, is_file, is_folder, lambda path: is_same(path, path), listing):
    for path in ("locked/file", "locked/gone", "locked/folder"):
        try:
            found.append(question(path))
        except FileAccessError as error:
            found.append([error.errno, error.path])
print(json.dumps(found))
"""


def test_a_folder_without_permission_is_an_error():
    Path("locked/folder").mkdir(parents=True)
    Path("locked/file").touch()
    Path("locked").chmod(0)
    prefix = []
    if os.geteuid() == 0:  # whom permissions do not bind
        program = shutil.which("setpriv")
        assert program, "as root this test needs setpriv of util-linux"
        prefix = [program, "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]
    got = subprocess.run([*prefix, sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    Path("locked").chmod(0o700)
    assert got.returncode == 0, got.stderr
    names = ["locked/file", "locked/gone", "locked/folder"] * 5
    assert json.loads(got.stdout) == [[errno.EACCES, name] for name in names]
