"""A stored weight appears whole or not at all, and what stood there before stays."""

import errno
import io
import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from samples import legal_weight

from cube24 import encoder
from cube24.encoder import FileAccessError, SparseWeight

FORMATS = ["npy", "hex", "bin", "npz"]
OLD = encoder.encode(np.int8([[0, 5, 0, -3, 7, 0, -8, 0]]))
NEW = encoder.encode(legal_weight((3, 40), 1))


def target(folder: Path, form: str) -> Path:
    return folder / ("w.npz" if form == "npz" else "w")


def tree(folder: Path) -> dict[str, bytes | None]:
    """Every name below a folder, hidden ones too; the contents of files."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def refused(function: Callable[[], Any], path: Path, *parts: str) -> FileAccessError:
    """An access error that names the target, and nothing changed beside it."""
    before = tree(path.parent)
    with pytest.raises(FileAccessError) as caught:
        function()
    assert caught.value.path == str(path)
    assert str(caught.value).startswith(f"{path}: ")
    for part in parts:
        assert part in str(caught.value)
    assert tree(path.parent) == before
    return caught.value


# --- what stands there already --------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMATS)
def test_what_is_there_is_not_overwritten_unless_asked(tmp_path, form):
    path = target(tmp_path, form)
    OLD.save(path, format=form)
    refused(lambda: NEW.save(path, format=form), path, "there already", "overwrite")
    NEW.save(path, format=form, overwrite=True)
    assert np.array_equal(SparseWeight.load(path).dense, NEW.dense)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_replacing_a_folder_leaves_nothing_of_the_old_one(tmp_path):
    OLD.save(tmp_path / "w", format="hex")
    NEW.save(tmp_path / "w", format="bin", overwrite=True)
    assert sorted(tree(tmp_path)) == ["w", "w/dense.bin", "w/index.bin", "w/sparse.json"]


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "w").mkdir()
    OLD.save(tmp_path / "w")
    assert SparseWeight.load(tmp_path / "w").shape == (1, 8)
    assert [entry.name for entry in tmp_path.iterdir()] == ["w"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_that_is_no_stored_weight_is_never_replaced(tmp_path, overwrite):
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "thesis.tex").write_text("years of work")
    path = tmp_path / "w"
    refused(lambda: OLD.save(path, overwrite=overwrite), path)
    (tmp_path / "w" / "sparse.json").mkdir()
    refused(lambda: OLD.save(path, overwrite=overwrite), path)


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_is_no_folder_and_a_folder_no_file(tmp_path, overwrite):
    (tmp_path / "w").write_text("a file")
    (tmp_path / "w.npz").mkdir()
    for form, kind in (("npy", "folder"), ("npz", "regular file")):
        path = target(tmp_path, form)
        refused(lambda path=path: OLD.save(path, overwrite=overwrite), path, f"no {kind}")


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_device_or_a_pipe_is_never_replaced(tmp_path, overwrite):
    device, pipe = tmp_path / "device.npz", tmp_path / "pipe.npz"
    device.symlink_to("/dev/null")
    os.mkfifo(pipe)
    for path in (device, pipe):
        with pytest.raises(FileAccessError, match="no regular file"):
            OLD.save(path, overwrite=overwrite)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["device.npz", "pipe.npz"]
    assert device.is_symlink()
    assert pipe.is_fifo()
    with pytest.raises(FileAccessError, match=r"/dev/null: .*no folder"):
        OLD.save("/dev/null", overwrite=overwrite)
    assert Path("/dev/null").is_char_device()


@pytest.mark.parametrize("form", FORMATS)
def test_overwriting_through_a_link_leaves_no_other_name(tmp_path, form):
    real = tmp_path / ("real.npz" if form == "npz" else "real")
    OLD.save(real, format=form)
    target(tmp_path, form).symlink_to(real)
    NEW.save(target(tmp_path, form), format=form, overwrite=True)
    assert np.array_equal(SparseWeight.load(target(tmp_path, form)).dense, NEW.dense)
    assert {path.name for path in tmp_path.iterdir()} == {real.name, target(tmp_path, form).name}


@pytest.mark.parametrize("form", FORMATS)
def test_the_folder_must_be_there(tmp_path, form):
    path = target(tmp_path / "none", form)
    with pytest.raises(FileAccessError, match="does not exist") as caught:
        OLD.save(path, format=form)
    assert caught.value.path == str(path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", FORMATS)
def test_a_file_is_no_parent(tmp_path, form):
    (tmp_path / "file").write_text("")
    with pytest.raises(FileAccessError):
        OLD.save(target(tmp_path / "file", form), format=form)
    assert tree(tmp_path) == {"file": b""}


# --- what the system refuses ----------------------------------------------------------------------


def run(script: str, folder: Path, *prefix: str) -> list[Any]:
    """Run Python in another process; gives what it printed as JSON."""
    done = subprocess.run(
        [*prefix, sys.executable, "-c", PRELUDE + script, str(folder)],
        text=True, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


PRELUDE = """
import json, resource, signal, sys
from pathlib import Path
import numpy as np
from cube24 import encoder

folder = Path(sys.argv[1])

def attempt(function, *args, **options):
    try:
        function(*args, **options)
    except encoder.FileAccessError as error:
        return [type(error).__name__, error.errno, error.path]
    return None
"""


def unprivileged() -> list[str]:
    """A command prefix that takes away root's right to pass over permissions."""
    if os.geteuid() != 0:
        return []
    drop = "-dac_override,-dac_read_search"
    program = shutil.which("setpriv")
    assert program, "as root this test needs setpriv of util-linux"
    return [program, f"--bounding-set={drop}", "--inh-caps=-all"]


SAVE_WITHOUT_PERMISSION = """
weight = encoder.encode(np.zeros((2, 8), np.int8))
print(json.dumps([
    attempt(weight.save, folder / name, format=form, overwrite=overwrite)
    for overwrite in (False, True)
    for name, form in (("a", "npy"), ("b", "hex"), ("c", "bin"), ("d.npz", "npz"))
]))
"""


def test_a_folder_without_write_permission_is_an_access_error(tmp_path):
    folder = tmp_path / "locked"
    folder.mkdir(0o555)
    outcomes = run(SAVE_WITHOUT_PERMISSION, folder, *unprivileged())
    names = [str(folder / name) for name in ("a", "b", "c", "d.npz")] * 2
    assert outcomes == [["FileAccessError", errno.EACCES, name] for name in names]
    assert tree(tmp_path) == {"locked": None}


LOAD_WITHOUT_PERMISSION = """
outcomes = [attempt(encoder.SparseWeight.load, folder / name) for name in ("w", "h", "w.npz")]
for name in ("w.npy", "w.npz", "w.bin", "w.safetensors"):
    def read():
        with encoder.open_array(folder / name, shape=(1, 8)):
            pass
    outcomes.append(attempt(read))
print(json.dumps(outcomes))
"""


def test_a_file_without_read_permission_is_an_access_error(tmp_path):
    OLD.save(tmp_path / "w")
    OLD.save(tmp_path / "h", format="hex")
    OLD.save(tmp_path / "w.npz")
    for name in ("w.npy", "w.bin", "w.safetensors"):
        (tmp_path / name).write_bytes(b"")
    closed = ["w/index.npy", "h/dense.hex", "w.npz"]
    for name in (*closed, "w.npy", "w.bin", "w.safetensors"):
        (tmp_path / name).chmod(0)
    outcomes = run(LOAD_WITHOUT_PERMISSION, tmp_path, *unprivileged())
    names = [*closed, "w.npy", "w.npz", "w.bin", "w.safetensors"]
    assert outcomes == [["FileAccessError", errno.EACCES, str(tmp_path / name)] for name in names]


FULL_DISK = """
weight = encoder.encode(np.arange(-128, 128, dtype=np.int8).repeat(40).reshape(20, 512),
                        policy="first_two")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
outcomes = []
for limit in (0, 1, 100, 128, 129, 1000, 4095, 4096, 5000, 5248, 6400, 10000, 15000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    for name, form in (("a", "npy"), ("b", "hex"), ("c", "bin"), ("d.npz", "npz")):
        outcome = attempt(weight.save, folder / name, format=form, overwrite=True)
        left = sorted(path.name for path in folder.iterdir())
        outcomes.append([limit, form, outcome, left])
print(json.dumps(outcomes))
"""


@pytest.mark.parametrize("before", [False, True])
def test_a_disk_that_fills_up_leaves_what_was_there(tmp_path, before):
    # A real failure of the system, at several places: the largest file a process may write.
    names = {"npy": "a", "hex": "b", "bin": "c", "npz": "d.npz"}
    if before:
        for form, name in names.items():
            OLD.save(tmp_path / name, format=form)
    old = tree(tmp_path)
    outcomes = run(FULL_DISK, tmp_path)
    assert len(outcomes) == 13 * 4
    done = set(names.values()) if before else set()
    for limit, form, outcome, left in outcomes:
        if outcome is None:
            done.add(names[form])
            assert limit >= 5000  # the dense bytes alone are 5120
        else:
            assert outcome == ["FileAccessError", errno.EFBIG, str(tmp_path / names[form])]
        assert left == sorted(done)
    failed = {form for limit, form, outcome, _ in outcomes if outcome is not None}
    assert failed == set(FORMATS)
    succeeded = {form for _, form, outcome, _ in outcomes if outcome is None}
    assert succeeded == {"npy", "bin", "npz"}  # hex takes three bytes for each
    for form in FORMATS:
        weight = SparseWeight.load(tmp_path / names[form]) if names[form] in done else None
        if form in succeeded:
            assert weight.shape == (20, 512)
        elif before:
            assert {
                name: data for name, data in tree(tmp_path).items() if name.startswith("b")
            } == {name: data for name, data in old.items() if name.startswith("b")}


# --- whichever call fails -------------------------------------------------------------------------

CALLS = {"open": io, "mkdir": os, "rename": os, "replace": os, "link": os, "fsync": os}


@contextmanager
def failing(number: int, error: BaseException, after: bool) -> Iterator[list[str]]:
    """Raise at the call of that number to the system; gives the names of all calls made."""
    made: list[str] = []

    def wrap(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            made.append(name)
            hit = len(made) == number
            if hit and not after:
                raise error
            result = function(*args, **options)
            if hit:
                if name == "open":
                    result.close()
                raise error
            return result

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name, module in CALLS.items():
            patch.setattr(module, name, wrap(name, getattr(module, name)))
        yield made


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize(
    ("error", "after"),
    [
        (OSError(errno.ENOSPC, "No space left"), False),
        (KeyboardInterrupt(), False),
        (KeyboardInterrupt(), True),
    ],
    ids=["disk full", "interrupt before", "interrupt after"],
)
@pytest.mark.parametrize("form", FORMATS)
def test_whichever_call_fails_the_old_or_the_new_weight_stands_there(
    tmp_path, form, error, after, before
):
    calls: set[str] = set()
    for number in itertools.count(1):
        folder = tmp_path / str(number)
        folder.mkdir()
        path = target(folder, form)
        if before:
            OLD.save(path, format=form)
        old = tree(folder)
        caught: BaseException | None = None
        with failing(number, error, after) as made:
            try:
                NEW.save(path, format=form, overwrite=True)
            except (FileAccessError, KeyboardInterrupt) as raised:
                caught = raised
        calls |= set(made)
        new = tree(folder)
        if new != old:
            # It went far enough: then it is whole, and there is no other name.
            assert [entry.name for entry in folder.iterdir()] == [path.name]
            assert np.array_equal(SparseWeight.load(path).dense, NEW.dense)
        else:
            assert isinstance(caught, KeyboardInterrupt | FileAccessError)
        if isinstance(caught, FileAccessError):
            assert caught.errno == errno.ENOSPC
            assert caught.path == str(path)
        if len(made) < number:  # no call of that number: the last round was an ordinary save
            assert new != old
            break
    assert {"open", "fsync"} < calls
    assert number > 4


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_what_ends_the_work_in_the_middle_leaves_nothing(tmp_path, error):
    def stop(done: int) -> None:
        raise error

    np.save(tmp_path / "w.npy", legal_weight((20, 70), 2))
    OLD.save(tmp_path / "stored")
    before = tree(tmp_path)
    with encoder.open_array(tmp_path / "w.npy") as source:
        for name in ("a", "b.npz", "stored"):
            style = encoder.Style("npz" if name.endswith("npz") else "npy")
            with pytest.raises(error):
                encoder.encode_file(
                    source, tmp_path / name, style=style, overwrite=True, progress=stop
                )
        for name in ("c.npy", "c.bin", "w.npy"):
            with pytest.raises(error):
                encoder.prune_file(source, tmp_path / name, overwrite=True, progress=stop)
    for name in ("d.npy", "d.bin", "w.npy"):
        with pytest.raises(error):
            encoder.decode_file(tmp_path / "stored", tmp_path / name, overwrite=True, progress=stop)
    assert tree(tmp_path) == before
