"""The command run: what it writes, says and refuses. Expected outputs are onnxruntime's."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper
from onnx_makers import quantised_conv
from onnx_networks import drawn_inputs, random_network
from sparse_weights import sparse_weight

from cube24.cli import run
from cube24.simulator import Conv2d, Requant, Unit


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network, compiled; a layer whose batch is open; their inputs."""
    root = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        source = random_network(1, "qoperator", "uint8", 64)
        onnx.save(source, "net.onnx")
        np.savez("x.npz", **drawn_inputs(source))
        one = quantised_conv(
            "QLinearConv", sparse_weight((20, 8, 3, 3)), x_shape=("batch", 8, 5, 5),
            x_dtype=np.int8, x_zero=1, bias=np.arange(20, dtype=np.int32), pads=(1, 1, 1, 1),
        )  # fmt: skip
        onnx.save(one, "one.onnx")
        x = np.random.default_rng(1).integers(-128, 128, (1, 8, 5, 5)).astype(np.int8)
        np.savez("one.npz", x=x, other=x)
        np.save("one.npy", x)
        np.save("wide.npy", x.astype(np.int16))
        np.save("short.npy", x[:, :7])
        np.savez("none.npz", other=x)
        np.savez("objects.npz", x=np.array([x, None], object))
        Path("text.npz").write_text("no archive")
        for name in ("net", "one"):
            assert run(["compile", f"{name}.onnx", "-o", f"{name}24.onnx", "--sparsity", "1"]) == 0
        damaged = onnx.load("one24.onnx")
        (index,) = [t for t in damaged.graph.initializer if t.name.endswith("/index")]
        index.raw_data = b"\xff" * len(index.raw_data)
        onnx.save(damaged, "bad-index.onnx")
        damaged = onnx.load("one24.onnx")
        next(each for each in damaged.opset_import if each.domain == "cube24").version = 7
        onnx.save(damaged, "version.onnx")
        damaged = onnx.load("one24.onnx")
        (dense,) = [t for t in damaged.graph.initializer if t.name.endswith("/dense")]
        data = bytearray(dense.raw_data)
        data[1] ^= 0x10  # of the second of the first eight channels' four weights
        dense.raw_data = bytes(data)
        onnx.save(damaged, "flipped.onnx")
    return root


@pytest.fixture
def at(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own, with what was made."""
    for path in made.iterdir():
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def cube24(line: str) -> int:
    return run(["run", *shlex.split(line)])


def in_onnxruntime(path: str, inputs: Any) -> dict[str, Any]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))


@pytest.mark.usefixtures("at")
def test_outputs_are_those_of_onnxruntime_and_the_report_says_so(capsys):
    line = "net24.onnx --input x.npz -o o.npz --reference net.onnx --json"
    assert cube24(line) == 0
    expected = in_onnxruntime("net.onnx", np.load("x.npz"))
    written = np.load("o.npz", allow_pickle=False)
    assert set(written.files) == expected.keys()
    for name, value in expected.items():
        assert written[name].dtype == value.dtype
        assert np.array_equal(written[name], value)
    found = json.loads(capsys.readouterr().out)
    nodes = [n for n in onnx.load("net24.onnx").graph.node if n.domain == "cube24"]
    assert [layer["node"] for layer in found["layers"]] == [node.name for node in nodes]
    assert found["totals"]["layers"] == len(nodes)
    assert found["reference"]["good"] is True
    assert found["reference"]["first"] is None
    assert [each["differing"] for each in found["reference"]["nodes"]] == [0] * len(nodes)
    assert {each["name"]: each["total"] for each in found["reference"]["outputs"]} == {
        name: value.size for name, value in expected.items()
    }
    for name in ("dense", "sparse", "best"):
        each = [layer[f"cycles_{name}"] for layer in found["layers"]]
        assert found["totals"][f"cycles_{name}"] == sum(each)


@pytest.mark.usefixtures("at")
def test_the_same_run_gives_the_same_bytes():
    line = "one24.onnx --input x=one.npy -o o.npz --trace t.json --report r.html --overwrite"
    found = []
    for _ in range(2):
        assert cube24(line) == 0
        found.append([Path(name).read_bytes() for name in ("o.npz", "t.json", "r.html")])
    assert found[0] == found[1]


@pytest.mark.usefixtures("at")
def test_a_trace_has_a_slice_for_each_layer_one_behind_the_other():
    assert cube24("net24.onnx --input x.npz --trace t.json --unit 310B1") == 0
    trace = json.loads(Path("t.json").read_text())
    slices = [event for event in trace["traceEvents"] if event["ph"] == "X"]
    names = [n.name for n in onnx.load("net24.onnx").graph.node if n.domain == "cube24"]
    for thread in (1, 2):
        mine = [event for event in slices if event["tid"] == thread]
        assert [event["name"] for event in mine] == names
        ends = [event["ts"] + event["dur"] for event in mine]
        assert [event["ts"] for event in mine] == [0, *ends[:-1]]
        assert min(event["dur"] for event in mine) > 0
    assert trace["otherData"]["unit"] == "310B1"


@pytest.mark.usefixtures("at")
def test_the_table_and_the_page_show_each_layer_with_its_cycles(capsys):
    assert cube24("one24.onnx --input one.npz --report r.html --requant unit --cores 3") == 0
    (layer,) = [line for line in capsys.readouterr().out.splitlines() if "Conv2DCompress" in line]
    unit, of = Unit(), Conv2d(1, 8, 5, 5, 20, (3, 3), pads=(1, 1, 1, 1))
    how = {"bias": True, "requant": Requant(0.5), "cores": 3}
    times = [unit.time(of, sparse=sparse, **how).cycles for sparse in (False, True)]
    assert layer.split()[-6:-1] == [
        "%",
        str(times[0]),
        str(times[1]),
        f"{times[0] / times[1]:.2f}",
        str(min(times)),
    ]
    assert "1x20x5x5" in layer
    assert "100.0 %" in layer
    page = Path("r.html").read_text()
    assert "1x20x5x5" in page
    assert "http" not in page


@pytest.mark.usefixtures("at")
def test_members_that_are_no_inputs_are_noted(capsys):
    assert cube24("one24.onnx --input one.npz") == 0
    assert capsys.readouterr().err == "note: one.npz: no inputs of the model: other\n"


@pytest.mark.usefixtures("at")
def test_a_model_that_is_not_compiled_runs_and_says_so(capsys):
    assert cube24("one.onnx --input x=one.npy -o o.npz") == 0
    told = capsys.readouterr()
    assert "no operator on compressed weights: all of the model ran elsewhere" in told.out
    assert told.err == "note: it holds no compressed operator; cube24 compile makes them\n"
    expected = in_onnxruntime("one.onnx", {"x": np.load("one.npy")})
    assert np.array_equal(np.load("o.npz")["y"], expected["y"])


@pytest.mark.usefixtures("at")
def test_a_flipped_byte_is_shown_at_the_node_and_its_first_coordinates(capsys):
    assert cube24("flipped.onnx --input x=one.npy --reference one.onnx") == 1
    x = {"x": np.load("one.npy")}
    got, expected = (in_onnxruntime(name, x)["y"] for name in ("flipped.onnx", "one.onnx"))
    places = np.argwhere(got != expected)
    first = tuple(int(i) for i in places[0])
    by_one = int((np.abs(got.astype(int) - expected) == 1).sum())
    by = f", {by_one} by one and {len(places) - by_one} by more" if by_one else ""
    said = (
        f"{len(places)} of {got.size} differ{by}; the first at {first}: got {got[first]}, "
        f"expected {expected[first]}"
    )
    out = capsys.readouterr().out
    assert f"output y: {said}" in out
    assert f"the first: y: {said}" in out
    assert cube24("flipped.onnx --input x=one.npy --reference one.onnx --requant unit") == 1
    # By one only, as rounded scales could have it; but so it is with exact ones.
    assert f"output, requantised exactly, y: {said}" in capsys.readouterr().out


@pytest.mark.usefixtures("at")
def test_what_the_unit_requantises_is_good_if_no_node_is_off_by_more_than_one(capsys):
    assert cube24("net24.onnx --input x.npz --reference net.onnx --requant unit --json") == 0
    found = json.loads(capsys.readouterr().out)
    offs = [layer["off"] for layer in found["layers"]]
    assert found["totals"]["off_by_one"] == sum(off["off_by_one"] for off in offs)
    assert found["totals"]["outputs"] == sum(off["total"] for off in offs)
    assert found["totals"]["off_by_more"] == 0
    assert {node["off_by_more"] for node in found["reference"]["nodes"]} == {0}


# --- cases ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("requant", ["exact", "unit"])
@pytest.mark.usefixtures("at")
def test_layers_are_dumped_as_cases_that_verify(requant, capsys):
    line = f"net24.onnx --input x.npz --dump out --requant {requant} --unit 310B1"
    assert cube24(line) == 0
    nodes = [n for n in onnx.load("net24.onnx").graph.node if n.domain == "cube24"]
    assert f"{len(nodes)} cases in out" in capsys.readouterr().out
    assert run(["vectors", "verify", "out"]) == 0
    # From the bytes in the files, by the unit, as the nodes of the compiled model have it.
    arrays = {t.name: numpy_helper.to_array(t) for t in onnx.load("net24.onnx").graph.initializer}
    for number, node in enumerate(nodes):
        (case,) = Path("out/network").glob(f"run-{number:04d}-*")
        for at, role in ((1, "dense"), (2, "index"), (3, "bias")):
            assert np.array_equal(np.load(case / f"{role}.npy"), arrays[node.input[at]])
        expected = np.load(case / "expected.npy")
        assert expected.dtype == (np.int32 if requant == "exact" else np.uint8)
    assert cube24(line) == 0  # they are there, and the same
    assert cube24(line.replace("310B1", "dav-2201")) == 2
    assert "is there already, and is another case" in capsys.readouterr().err
    assert cube24(line.replace("310B1", "dav-2201") + " --overwrite") == 0
    assert run(["vectors", "verify", "out"]) == 0


@pytest.mark.usefixtures("at")
def test_a_layer_that_is_no_case_is_named(capsys):
    Path("mine.toml").write_text('name = "mine"\n')
    assert cube24("one24.onnx --input x=one.npy --dump out --unit mine.toml") == 0
    out = capsys.readouterr().out
    assert "not dumped: y: unit 'mine' is no preset" in out
    assert "0 cases in out" in out
    # A lone non-zero at element 2 as (2, 1), which the encoder writes as (2, 0).
    model = onnx.load("one24.onnx")
    tensors = {t.name.rpartition("/")[2]: t for t in model.graph.initializer}
    index = numpy_helper.to_array(tensors["index"]).copy()
    dense = numpy_helper.to_array(tensors["dense"]).copy()
    dense[0, 0, 0, :2], index[0, 0, 0, 0] = (5, 0), (index[0, 0, 0, 0] & 0xF0) | 0x06
    for name, array in (("index", index), ("dense", dense)):
        tensors[name].CopyFrom(numpy_helper.from_array(array, tensors[name].name))
    onnx.save(model, "strange.onnx")
    assert cube24("strange.onnx --input x=one.npy --dump out2") == 0
    assert "not dumped: y: its bytes are other ones than those that the encoder makes" in (
        capsys.readouterr().out
    )


# --- refusals -------------------------------------------------------------------------------------

REFUSED = [
    ("one24.onnx", "one24.onnx: input 'x' is missing; its inputs are 'x'"),
    ("one24.onnx --input none.npz", "input 'x' is missing"),
    ("one24.onnx --input x=wide.npy", "input 'x' has dtype int16, not int8"),
    ("one24.onnx --input x=short.npy", "input 'x' has shape (1, 7, 5, 5), not (batch, 8, 5, 5)"),
    ("one24.onnx --input z=one.npy", "has no input 'z'; its inputs are 'x'"),
    ("one24.onnx --input one.npz --input x=one.npy", "input 'x' is given already"),
    ("one24.onnx --input text.npz", "text.npz: "),
    ("one24.onnx --input objects.npz", "objects.npz:x.npy: holds Python objects; save numbers"),
    ("one24.onnx --input gone.npz", "gone.npz: cannot read"),
    ("one24.onnx --input one.npy", "--input one.npy: write NAME.npz, or INPUT=NAME.npy"),
    ("one24.onnx --input x=one.txt", "--input x=one.txt: write NAME.npz, or INPUT=NAME.npy"),
    ("gone.onnx --input one.npz", "gone.onnx: cannot read"),
    ("one.npy --input one.npz", "one.npy: no readable ONNX model"),
    ("one24.onnx --input one.npz --reference gone.onnx", "gone.onnx: cannot read"),
    ("one24.onnx --input one.npz --reference net.onnx", "net.onnx: input 'x' has dtype int8"),
    ("one24.onnx --input one.npz --layers no*", "no layer is named 'no*'; its layers: y"),
    ("one24.onnx --input one.npz --unit dav-3510", "dav-3510 has no 2:4 sparsity"),
    ("one24.onnx --input one.npz --cores 99", "cores 99: dav-2201 has 1 to 24"),
    ("one24.onnx --input one.npz -o o.npy", "o.npy: outputs are written as NAME.npz"),
    ("one24.onnx --input one.npz --overwrite", "--overwrite: nothing is written"),
    ("one24.onnx --input one.npz -o one.npz --overwrite", "is read, of one.npz"),
    ("one24.onnx --input one.npz -o one24.onnx/o.npz", "o.npz"),
    ("bad-index.onnx --input one.npz", "node 'y' (Conv2DCompress): "),
    ("version.onnx --input one.npz", "are of version 7; this cube24 reads 1"),
]


@pytest.mark.parametrize(("line", "said"), REFUSED)
def test_what_cannot_be_done_is_refused_in_a_line(line, said, at, capsys):
    before = {path.name: path.read_bytes() for path in at.iterdir()}
    assert cube24(line) == 2
    told = capsys.readouterr()
    assert said in told.err
    assert "Traceback" not in told.err
    assert len([text for text in told.err.splitlines() if text.startswith("error")]) <= 1
    assert {path.name: path.read_bytes() for path in at.iterdir()} == before
