"""A stored weight appears whole or not at all, and what stood there before stays."""

import errno
import io
import itertools
import json
import os
import shutil
import signal
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
from cube24.files import check_target, whole_file, whole_folder

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


# --- what is not ours -----------------------------------------------------------------------------


def put(path: Path, kind: str) -> None:
    """Something of the user's, of any kind."""
    if kind == "file":
        path.write_text("years of work")
    elif kind == "folder":
        path.mkdir()
    elif kind == "full folder":
        path.mkdir()
        (path / "thesis.tex").write_text("years of work")
    elif kind == "link":
        path.symlink_to("elsewhere")
    else:
        os.mkfifo(path)


OTHERS = ["file", "folder", "full folder", "link", "pipe"]


@pytest.mark.parametrize("kind", OTHERS)
@pytest.mark.parametrize("name", ["notes", ".hidden", "dense.hex", "dense.npy.bak"])
@pytest.mark.parametrize("form", ["npy", "bin"])
def test_a_folder_that_holds_something_of_the_users_is_not_replaced(tmp_path, form, name, kind):
    path = tmp_path / "w"
    OLD.save(path, format=form)
    put(path / name, kind)
    refused(
        lambda: NEW.save(path, format="hex", overwrite=True), path, f"holds {name}, which is not"
    )


@pytest.mark.parametrize("kind", OTHERS[1:])
def test_something_else_under_a_name_of_ours_is_the_users(tmp_path, kind):
    path = tmp_path / "w"
    OLD.save(path)
    (path / "index.npy").unlink()
    put(path / "index.npy", kind)
    refused(lambda: NEW.save(path, overwrite=True), path, "holds index.npy, which is not")


@pytest.mark.parametrize("text", ["", "{}", '{"schema": "another-tool/1"}', "\xff"])
def test_a_folder_with_another_manifest_is_the_users(tmp_path, text):
    path = tmp_path / "w"
    OLD.save(path)
    (path / "sparse.json").write_text(text, encoding="latin-1")
    refused(lambda: NEW.save(path, overwrite=True), path, "not ours to replace")


def test_a_folder_of_ours_that_lost_a_file_is_replaced(tmp_path):
    path = tmp_path / "w"
    OLD.save(path)
    (path / "index.npy").unlink()
    NEW.save(path, overwrite=True)
    assert sorted(tree(path)) == ["dense.npy", "index.npy", "sparse.json"]


def test_what_comes_into_the_folder_while_we_write_is_not_lost(tmp_path):
    path = tmp_path / "w"
    with whole_folder(path, marker="mark") as folder:
        (folder / "mark").touch()

    def replace() -> None:
        with whole_folder(path, marker="mark", overwrite=True) as folder:
            (folder / "mark").write_text("new")
            (path / "late.txt").write_text("the user's")

    with pytest.raises(FileAccessError, match=r"holds late\.txt"):
        replace()
    assert tree(tmp_path) == {"w": None, "w/late.txt": b"the user's", "w/mark": b""}


def test_files_in_folders_of_the_folder_are_ours_by_their_names(tmp_path):
    path = tmp_path / "w"
    for text in ("old", "new"):
        ours = ["sub/a", "sub/deep/b", "gone/c"]
        with whole_folder(path, marker="mark", ours=ours, overwrite=True) as folder:
            (folder / "mark").write_text(text)
            (folder / "sub/deep").mkdir(parents=True)
            (folder / "sub/a").write_text(text)
            (folder / "sub/deep/b").write_text(text)
    assert tree(tmp_path) == {
        "w": None, "w/mark": b"new", "w/sub": None, "w/sub/a": b"new", "w/sub/deep": None,
        "w/sub/deep/b": b"new",
    }  # fmt: skip
    (path / "sub/mine").touch()
    with (
        pytest.raises(FileAccessError, match=r"holds sub/mine, which is not"),
        whole_folder(path, marker="mark", ours=ours, overwrite=True),
    ):
        raise AssertionError("refused before the work")


@pytest.mark.parametrize("form", ["npy", "bin", "npz"])
@pytest.mark.parametrize("linked", [False, True])
def test_an_input_is_never_replaced_by_what_is_made_from_it(tmp_path, form, linked):
    path = target(tmp_path, form)
    OLD.save(path, format=form)
    shape = (1, 4)
    if form == "npz":
        np.savez(path, only=np.zeros(shape, np.int8))
    source = path if form == "npz" else path / f"dense.{form}"  # the user's, with a name of ours
    named = source
    if linked:
        named = tmp_path / f"link{source.suffix}"
        named.symlink_to(source)
    style = encoder.Style("npz" if form == "npz" else "npy")
    before = tree(tmp_path)
    with (
        encoder.open_array(named, shape=shape) as array,
        pytest.raises(FileAccessError, match="is what is read, and would be lost"),
    ):
        encoder.encode_file(array, path, style=style, overwrite=True, policy="first_two")
    assert tree(tmp_path) == before


def test_decoding_does_not_replace_what_it_reads(tmp_path):
    OLD.save(tmp_path / "w")
    before = tree(tmp_path)
    for name in ("dense.npy", "index.npy"):
        with pytest.raises(FileAccessError, match="is what is read, and would be lost"):
            encoder.decode_file(tmp_path / "w", tmp_path / "w" / name, overwrite=True)
    assert tree(tmp_path) == before


def test_pruning_in_place_reads_all_before_it_replaces(tmp_path):
    weight = np.arange(1, 65, dtype=np.int8).reshape(8, 8)
    np.save(tmp_path / "w.npy", weight)
    with encoder.open_array(tmp_path / "w.npy") as array:
        encoder.prune_file(array, tmp_path / "w.npy", overwrite=True)
    assert np.array_equal(np.load(tmp_path / "w.npy"), np.where(np.arange(8) % 4 < 2, 0, weight))


# --- permission bits ------------------------------------------------------------------------------


def bits(path: Path) -> str:
    return f"{path.stat().st_mode & 0o7777:04o}"


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o444, 0o755])
def test_a_replaced_file_keeps_its_permission_bits(tmp_path, mode):
    path = tmp_path / "w.npz"
    OLD.save(path)
    path.chmod(mode)
    NEW.save(path, overwrite=True)
    assert bits(path) == f"{mode:04o}"
    assert SparseWeight.load(path).shape == NEW.shape


@pytest.mark.parametrize("mode", [0o700, 0o750, 0o2775])
def test_a_replaced_folder_keeps_its_permission_bits_and_those_of_its_files(tmp_path, mode):
    path = tmp_path / "w"
    OLD.save(path)
    path.chmod(mode)
    (path / "dense.npy").chmod(0o640)
    (path / "index.npy").chmod(0o600)
    NEW.save(path, overwrite=True)
    assert bits(path) == f"{mode:04o}"
    assert [bits(path / name) for name in ("dense.npy", "index.npy")] == ["0640", "0600"]


def test_an_empty_folder_keeps_its_permission_bits(tmp_path):
    (tmp_path / "w").mkdir(mode=0o700)
    OLD.save(tmp_path / "w")
    assert bits(tmp_path / "w") == "0700"


@pytest.mark.parametrize(
    ("mask", "file", "folder"), [(0o22, "0644", "0755"), (0o77, "0600", "0700")]
)
def test_new_files_have_what_the_umask_leaves(tmp_path, mask, file, folder):
    before = os.umask(mask)
    try:
        OLD.save(tmp_path / "w")
        OLD.save(tmp_path / "h", format="hex")
        OLD.save(tmp_path / "w.npz")
    finally:
        os.umask(before)
    for path in tmp_path.rglob("*"):
        assert bits(path) == (folder if path.is_dir() else file), path


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_root_leaves_a_replaced_file_to_its_owner(tmp_path):
    for form in FORMATS:
        path = target(tmp_path, form)
        OLD.save(path, format=form)
        for each in [path, *path.rglob("*")]:
            os.chown(each, 12345, 54321)
        NEW.save(path, format=form, overwrite=True)
        for each in [path, *path.rglob("*")]:
            assert (each.stat().st_uid, each.stat().st_gid) == (12345, 54321)
        shutil.rmtree(path, ignore_errors=True)


# --- other processes ------------------------------------------------------------------------------


@pytest.mark.parametrize("links", [True, False])
def test_a_file_that_another_process_makes_meanwhile_is_not_replaced(tmp_path, links, monkeypatch):
    path = tmp_path / "w.npz"

    def no_links(*args: object, **options: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    def late() -> None:
        with whole_file(path) as file:
            file.write(b"ours")
            path.write_bytes(b"theirs")

    with pytest.raises(FileAccessError, match="meanwhile") as caught:
        late()
    assert caught.value.errno == errno.EEXIST
    assert tree(tmp_path) == {"w.npz": b"theirs"}
    path.unlink()
    if not links:
        monkeypatch.setattr(os, "link", no_links)
    with whole_file(path) as file:
        file.write(b"ours")
    assert tree(tmp_path) == {"w.npz": b"ours"}


def test_a_folder_that_another_process_makes_meanwhile_is_not_replaced(tmp_path):
    path = tmp_path / "w"

    def late() -> None:
        with whole_folder(path, marker="mark") as folder:
            (folder / "mark").write_text("ours")
            path.mkdir()
            (path / "mark").write_text("theirs")

    with pytest.raises(FileAccessError) as caught:
        late()
    assert caught.value.errno in (errno.ENOTEMPTY, errno.EEXIST)
    assert tree(tmp_path) == {"w": None, "w/mark": b"theirs"}


# --- before the work ------------------------------------------------------------------------------


def test_what_the_end_would_refuse_is_refused_before_the_work(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    refusals = [
        ("file", False, False, "is there already; name another one"),
        ("file", True, True, "no folder"),
        ("folder", True, False, "no regular file"),
        ("full", False, True, "is there already; name another one"),
        ("gone/file", False, False, "does not exist"),
        ("x" * 256, False, False, "File name too long"),
    ]
    for name, overwrite, folder, said in refusals:
        with pytest.raises(FileAccessError, match=said):
            check_target(tmp_path / name, overwrite=overwrite, folder=folder)
    for name, overwrite, folder in [("file", True, False), ("new", False, False),
                                    ("folder", False, True), ("full", True, True)]:  # fmt: skip
        check_target(tmp_path / name, overwrite=overwrite, folder=folder)
    with pytest.raises(FileAccessError, match="where a file system begins"):
        check_target("/proc", overwrite=True, folder=True)


BEFORE_THE_WORK = """
from cube24.files import check_target
folder.joinpath("inner").is_dir()
print(json.dumps([
    attempt(check_target, folder / "new"),
    attempt(check_target, folder / "new", folder=True),
    attempt(check_target, folder / "inner", folder=True, overwrite=True),
]))
"""


def test_a_missing_permission_is_told_before_the_work(tmp_path):
    folder = tmp_path / "locked"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner/file").touch()
    folder.chmod(0o555)
    names = [str(folder / name) for name in ("new", "new", "inner")]
    outcomes = run(BEFORE_THE_WORK, folder, *unprivileged())
    assert outcomes == [["FileAccessError", errno.EACCES, name] for name in names]
    folder.chmod(0o755)
    (folder / "inner").chmod(0o555)
    outcomes = run(BEFORE_THE_WORK, folder, *unprivileged())
    assert outcomes == [None, None, ["FileAccessError", errno.EACCES, names[2]]]


# --- signals --------------------------------------------------------------------------------------

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGXCPU]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_at_any_call_leaves_the_old_or_the_new_weight(tmp_path, form, number):
    class Stopped(BaseException):
        pass

    def stop(*_: object) -> None:
        signal.signal(number, signal.SIG_IGN)
        raise Stopped

    made = 0

    def wrap(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            nonlocal made
            made += 1
            if made == hit:
                signal.raise_signal(number)
            return function(*args, **options)

        return call

    before = signal.getsignal(number)
    try:
        for hit in itertools.count(1):
            folder = tmp_path / str(hit)
            folder.mkdir()
            path = target(folder, form)
            OLD.save(path, format=form)
            old, made, stopped = tree(folder), 0, False
            signal.signal(number, stop)
            with pytest.MonkeyPatch.context() as patch:
                for name in ("mkdir", "rename", "replace", "fsync", "unlink", "rmdir", "chmod"):
                    patch.setattr(os, name, wrap(getattr(os, name)))
                try:
                    NEW.save(path, format=form, overwrite=True)
                except Stopped:
                    stopped = True
            new = tree(folder)
            assert [entry.name for entry in folder.iterdir()] == [path.name]
            if new != old:
                assert np.array_equal(SparseWeight.load(path).dense, NEW.dense)
            assert stopped == (made >= hit)
            assert number not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
            if not stopped:
                break
        assert hit > 4
    finally:
        signal.signal(number, before)
