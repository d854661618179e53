"""Models are written whole, in one file or two, and read back byte for byte."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx_makers import model_of

from cube24.errors import ArgumentError, Cube24Error, FileAccessError
from cube24.graph import Model, data_file, load, save, writing

rng = np.random.default_rng(12)


def tensor(name: str, count: int) -> Any:
    return numpy_helper.from_array(rng.integers(0, 256, count).astype(np.uint8), name)


def branch(name: str, *tensors: Any) -> Any:
    """A graph inside of an If, with initializers of its own."""
    nodes = [helper.make_node("Concat", [t.name for t in tensors], [f"{name}_out"], axis=0)]
    info = helper.make_tensor_value_info(f"{name}_out", TensorProto.UINT8, [None])
    return helper.make_graph(nodes, name, [], [info], tensors)


def network() -> Any:
    """Initializers below, at and above the limit, a Constant node, and graphs in a node."""
    constant = helper.make_node("Constant", [], ["c"], value=tensor("", 3000))
    nodes = [
        constant,
        helper.make_node("Concat", ["small", "edge", "big", "typed", "c"], ["all"], axis=0),
        helper.make_node(
            "If", ["yes"], ["one"],
            then_branch=branch("then", tensor("in_then", 2000), tensor("little", 5)),
            else_branch=branch("else", tensor("in_else", 1500)),
        ),
        helper.make_node("Concat", ["all", "one"], ["y"], axis=0),
    ]  # fmt: skip
    typed = TensorProto(name="typed", data_type=TensorProto.UINT8, dims=[1100])
    typed.int32_data.extend(range(100, 200))
    typed.int32_data.extend([7] * 1000)
    given = helper.make_tensor_value_info("yes", TensorProto.BOOL, [])
    made = helper.make_tensor_value_info("y", TensorProto.UINT8, [None])
    held = [tensor("small", 1023), tensor("edge", 1024), tensor("big", 5001), typed]
    return model_of(helper.make_graph(nodes, "network", [given], [made], held), 13)


def theirs(path: Path) -> Any:
    """What onnx itself reads."""
    proto = onnx.load(path)
    for name in ("then_branch", "else_branch"):
        (graph,) = (a.g for a in proto.graph.node[2].attribute if a.name == name)
        for held in graph.initializer:
            held.ClearField("data_location")  # which onnx sets to what it is anyway
    for held in proto.graph.initializer:
        held.ClearField("data_location")
    return proto


@pytest.fixture
def model(tmp_path: Path) -> Model:
    source = tmp_path / "source"
    source.mkdir()
    onnx.save(network(), source / "m.onnx")
    return load(source / "m.onnx")


def test_one_file_holds_the_same_model(model: Model, tmp_path: Path) -> None:
    assert save(model, tmp_path / "m.onnx") == (tmp_path / "m.onnx",)
    assert onnx.load(tmp_path / "m.onnx") == model.proto
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.onnx", "source"]


@pytest.mark.parametrize("external", [False, True])
def test_the_same_model_gives_the_same_bytes(model: Model, tmp_path: Path, external: bool) -> None:
    names = tmp_path / "one", tmp_path / "two"
    files = []
    for folder in names:
        folder.mkdir()
        files.append([p.read_bytes() for p in save(model, folder / "m.onnx", external=external)])
    assert files[0] == files[1]


def test_two_files_hold_the_same_model(model: Model, tmp_path: Path) -> None:
    before = model.proto.SerializeToString(deterministic=True)
    path, data = save(model, tmp_path / "m.onnx", external=True)
    assert (path, data) == (tmp_path / "m.onnx", tmp_path / "m.onnx.data")
    assert data == data_file(path)
    assert load(path).proto == model.proto
    assert theirs(path) == model.proto
    assert model.proto.SerializeToString(deterministic=True) == before


def test_what_is_large_stands_in_the_other_file_from_multiples_of_64_on(
    model: Model, tmp_path: Path
) -> None:
    path, data = save(model, tmp_path / "m.onnx", external=True)
    light = onnx.load(path, load_external_data=False)
    then, other = (a.g for a in light.graph.node[2].attribute)
    tensors = [*light.graph.initializer, *then.initializer, *other.initializer]
    outside = {
        t.name: {e.key: e.value for e in t.external_data}
        for t in tensors
        if t.data_location == TensorProto.EXTERNAL
    }
    assert list(outside) == ["edge", "big", "in_then", "in_else"] or list(outside) == [
        "edge", "big", "in_else", "in_then",
    ]  # fmt: skip
    # 1024 is a multiple of 64; 1024 + 5001 = 6025, and 95 * 64 = 6080
    assert outside["edge"] == {"location": "m.onnx.data", "offset": "0", "length": "1024"}
    assert outside["big"] == {"location": "m.onnx.data", "offset": "1024", "length": "5001"}
    third, fourth = list(outside)[2:]
    assert outside[third]["offset"] == "6080"
    end = 6080 + int(outside[third]["length"])
    assert outside[fourth]["offset"] == str(-(-end // 64) * 64)
    assert data.stat().st_size == -(-end // 64) * 64 + int(outside[fourth]["length"])
    for t in tensors:
        if t.name in ("small", "little"):
            assert t.raw_data
    assert light.graph.node[0].attribute[0].t.raw_data  # of a Constant node
    assert b"cube24" not in data.read_bytes()
    assert data.read_bytes()[6025:6080] == bytes(55)


def test_runtimes_read_both_files(model: Model, tmp_path: Path) -> None:
    path, _ = save(model, tmp_path / "m.onnx", external=True)
    import onnxruntime as runtime

    for yes in (True, False):
        given = {"yes": np.array(yes)}
        (expected,) = ReferenceEvaluator(model.proto).run(None, given)
        session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        assert np.array_equal(session.run(None, given)[0], expected)


# --- whole or not at all --------------------------------------------------------------------------


@pytest.mark.parametrize("taken", ["m.onnx", "m.onnx.data"])
@pytest.mark.parametrize("external", [False, True])
def test_nothing_is_replaced_unasked(
    model: Model, tmp_path: Path, taken: str, external: bool
) -> None:
    (tmp_path / taken).write_text("old")
    path = tmp_path / "m.onnx"
    if taken == "m.onnx.data" and not external:
        save(model, path)  # has nothing to do with it
        assert (tmp_path / taken).read_text() == "old"
        return
    with pytest.raises(FileAccessError, match="is there already"):
        save(model, path, external=external)
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == [taken]
    assert (tmp_path / taken).read_text() == "old"
    save(model, path, external=external, overwrite=True)
    assert theirs(path) == model.proto


def test_what_is_replaced_keeps_its_permissions(model: Model, tmp_path: Path) -> None:
    for name in ("m.onnx", "m.onnx.data"):
        (tmp_path / name).write_text("old")
        (tmp_path / name).chmod(0o640)
    for path in save(model, tmp_path / "m.onnx", external=True, overwrite=True):
        assert stat.S_IMODE(path.stat().st_mode) == 0o640


class Full:
    """A file that the disk has no room for beyond so many bytes."""

    def __init__(self, file: Any, room: int) -> None:
        self.file, self.room = file, room

    def write(self, data: bytes) -> int:
        self.room -= len(data)
        if self.room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return int(self.file.write(data))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize(("which", "room"), [("m.onnx", 100), ("m.onnx.data", 2000)])
def test_a_full_disk_leaves_what_was_there(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, which: str, room: int,
    there: bool,
) -> None:  # fmt: skip
    real = writing.whole_file

    class Opened:
        def __init__(self, path: Path, **more: Any) -> None:
            self.path, self.context = path, real(path, **more)

        def __enter__(self) -> Any:
            file = self.context.__enter__()
            return Full(file, room) if self.path.name == which else file

        def __exit__(self, *error: Any) -> Any:
            return self.context.__exit__(*error)

    monkeypatch.setattr(writing, "whole_file", Opened)
    if there:
        for name in ("m.onnx", "m.onnx.data"):
            (tmp_path / name).write_text("old")
    with pytest.raises(FileAccessError, match="No space left"):
        save(model, tmp_path / "m.onnx", external=True, overwrite=there)
    left = {p.name: p.read_text() for p in tmp_path.iterdir() if p.is_file()}
    assert left == (dict.fromkeys(("m.onnx", "m.onnx.data"), "old") if there else {})


def test_data_without_their_model_are_taken_away(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process takes the name of the model while the data are written."""
    real = writing._move

    def moved(given: Any, file: Any, location: str) -> None:
        (tmp_path / "m.onnx").write_text("theirs")
        real(given, file, location)

    monkeypatch.setattr(writing, "_move", moved)
    with pytest.raises(FileAccessError, match="another program has made it meanwhile"):
        save(model, tmp_path / "m.onnx", external=True)
    assert {p.name: p.read_text() for p in tmp_path.iterdir() if p.is_file()} == {
        "m.onnx": "theirs"
    }


# --- refusals -------------------------------------------------------------------------------------


def test_a_model_that_no_file_holds_is_refused_before_anything_is_written(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit of 2 GiB, made smaller: by the data, and by what stands beside them."""
    size = len(model.proto.SerializeToString())
    for limit in (5000, size - 1, size):
        monkeypatch.setattr(writing, "PROTO_LIMIT", limit)
        with pytest.raises(ArgumentError, match="--external-data"):
            save(model, tmp_path / "m.onnx")
        assert [p.name for p in tmp_path.iterdir()] == ["source"]
    monkeypatch.setattr(writing, "PROTO_LIMIT", size + 1)
    assert len(save(model, tmp_path / "m.onnx")) == 1
    monkeypatch.setattr(writing, "PROTO_LIMIT", size)
    assert len(save(model, tmp_path / "n.onnx", external=True)) == 2


def test_an_external_model_is_not_written_through_a_link(model: Model, tmp_path: Path) -> None:
    (tmp_path / "there.onnx").write_text("old")
    (tmp_path / "link.onnx").symlink_to("there.onnx")
    with pytest.raises(FileAccessError, match="is a link"):
        save(model, tmp_path / "link.onnx", external=True, overwrite=True)
    assert (tmp_path / "there.onnx").read_text() == "old"
    save(model, tmp_path / "link.onnx", overwrite=True)
    assert (tmp_path / "link.onnx").is_symlink()
    assert onnx.load(tmp_path / "there.onnx") == model.proto


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"path": "no/m.onnx"}, "the folder no does not exist"),
        ({"path": "."}, "is no regular file"),
        ({"overwrite": 1}, "overwrite is 1"),
        ({"external": "yes"}, "external is 'yes'"),
        ({"path": os.fsdecode(b"\xff.onnx"), "external": True}, "no UTF-8"),
        ({"path": "n" * 252 + ".onnx", "external": True}, "too long"),
        ({"path": "n" * 249 + ".onnx", "external": True}, "too long"),
    ],
)
def test_refusals(
    model: Model,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: dict[str, Any],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Cube24Error, match=says):
        save(model, **{"path": "m.onnx", **arguments})
    assert [p.name for p in tmp_path.iterdir()] == ["source"]
