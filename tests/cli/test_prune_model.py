"""cube24 prune MODEL.onnx: what it writes and says, and what it refuses before it writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_makers import model_of, quantised_matmul
from pruning_oracle import error, mask_of, pruned
from sparse_weights import dense_weight, sparse_weight

from cube24.cli import run

CONFIG = "prune_config { n_out_of_m_pruner { l1_selective_prune { n_out_of_m_type: M4N2 } } }\n"
V, W = (dense_weight(shape).astype(np.float32) for shape in ((16, 24), (8, 16)))
X = np.random.default_rng(1).normal(size=(9, 24)).astype(np.float32) * np.float32([1, 2, 4] * 8)


def two_products(v: Any = V, w: Any = W) -> Any:
    """x -> first -> second, with weights v (16, 24) and w (8, 16)."""
    nodes = [
        helper.make_node("MatMul", ["x", "v"], ["h"], "first"),
        helper.make_node("Gemm", ["h", "w"], ["y"], "second", transB=1),
    ]
    info = helper.make_tensor_value_info
    held = [
        numpy_helper.from_array(np.ascontiguousarray(v.T), "v"),
        numpy_helper.from_array(w, "w"),
    ]
    x, y = info("x", TensorProto.FLOAT, [9, 24]), info("y", TensorProto.FLOAT, [9, 8])
    return model_of(helper.make_graph(nodes, "g", [x], [y], held), 13)


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    onnx.save(two_products(), "m.onnx")
    np.savez("x.npz", x=X)
    Path("c.cfg").write_text(CONFIG)
    np.save("w.npy", dense_weight((4, 8)))


def test_a_pruned_model_and_what_it_cost(capsys: Any) -> None:
    assert run(["prune", "m.onnx", "-o", "o.onnx"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert lines[0].split() == ["layer", "weight", "N", "x", "K", "groups", "changed", "dropped",
                                "L1", "L2"]  # fmt: skip
    share = [100 * abs(w[~mask_of(w)]).sum() / abs(w).sum() for w in (V, W)]
    assert lines[1].split()[:7] == ["first", "v", "16x24", "96", "96", "192", f"{share[0]:.2f}"]
    assert lines[2].split()[:7] == ["second", "w", "8x16", "32", "32", "64", f"{share[1]:.2f}"]
    assert (
        lines[-2]
        == "2 weights of layers pruned by magnitude: 128 groups changed, 256 weights dropped"
    )
    assert lines[-1] == "written: o.onnx"
    assert onnx.load("o.onnx") == two_products(pruned(V), pruned(W))


def test_the_cost_as_json(capsys: Any) -> None:
    words = ["prune", "m.onnx", "-o", "o.onnx", "--skip", "second", "--json"]
    assert run([*words, "--calibrate", "x.npz", "--method", "wanda"]) == 0
    out, err = capsys.readouterr()
    assert err == "written: o.onnx\n"
    said = json.loads(out)
    scores = np.abs(V) * np.sqrt((X.astype(float) ** 2).sum(axis=0))
    new = np.where(mask_of(V, scores), V, 0)
    (layer,) = said["layers"]
    assert said["model"] == "m.onnx"
    assert said["method"] == "wanda"
    assert said["left"] == [
        {"node": "second", "op": "Gemm", "reason": "skipped", "detail": "it was to be left alone"}
    ]
    assert layer["nodes"] == ["first"]
    assert layer["shape"] == [16, 24]
    assert layer["weights"] == 192
    assert layer["l1_share"] == pytest.approx(abs(V - new).sum() / abs(V).sum())
    assert layer["error"] == pytest.approx(error(V, new, X))
    assert layer["magnitude_error"] == pytest.approx(error(V, pruned(V), X))
    assert said["totals"]["error"] == pytest.approx(layer["error"])
    assert said["totals"]["weights"] == 192
    assert onnx.load("o.onnx") == two_products(new)


def test_external_data_in_and_out() -> None:
    onnx.save(
        two_products(), "big.onnx", save_as_external_data=True, location="big.bin", size_threshold=0
    )
    assert run(["prune", "big.onnx", "-o", "one.onnx"]) == 0
    assert run(["prune", "big.onnx", "-o", "two.onnx", "--external-data"]) == 0
    assert sorted(p.name for p in Path().glob("two*")) == ["two.onnx", "two.onnx.data"]
    assert len(Path("two.onnx.data").read_bytes()) == V.nbytes  # w is below the limit
    wanted = two_products(pruned(V), pruned(W))
    for name in ("one", "two"):
        now = onnx.load(f"{name}.onnx")
        for mine, its in zip(wanted.graph.initializer, now.graph.initializer, strict=True):
            assert np.array_equal(numpy_helper.to_array(mine), numpy_helper.to_array(its))
        assert now.graph.node == wanted.graph.node


def test_a_configuration_of_the_vendors_tool(capsys: Any) -> None:
    Path("c.cfg").write_text(CONFIG + 'regular_prune_skip_layers: "first"\nbatch_num: 2\n')
    assert run(["prune", "m.onnx", "-o", "o.onnx", "--config", "c.cfg"]) == 0
    out, err = capsys.readouterr()
    assert "left: first (MatMul): skipped: it was to be left alone" in out
    assert err == "note: c.cfg: batch_num: about quantisation, which is not done here\n"
    assert onnx.load("o.onnx") == two_products(w=pruned(W))


def test_a_pruned_model_stays_as_it_is(capsys: Any) -> None:
    onnx.save(quantised_matmul("QLinearMatMul", sparse_weight((6, 20)), x_shape=(2, 20)), "s.onnx")
    assert run(["prune", "s.onnx", "-o", "o.onnx"]) == 0
    assert "0 groups changed" in capsys.readouterr().out
    assert Path("o.onnx").read_bytes() == onnx.load("s.onnx").SerializeToString(deterministic=True)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("m.onnx -o o.onnx --method wanda", "--method wanda needs --calibrate X.npz"),
        ("m.onnx -o o.onnx --method reconstruct", "--method reconstruct needs --calibrate"),
        ("m.onnx -o o.onnx --sensitivity", "--sensitivity needs --calibrate"),
        ("m.onnx -o o.onnx --calibrate x.npz", "magnitude takes no samples"),
        ("m.onnx -o o.onnx --method best", "'best' is not one of"),
        ("m.onnx -o o.onnx --policy first_two", "--policy: m.onnx is a model"),
        ("m.onnx -o o.onnx --policy magnitude", "--policy: m.onnx is a model"),
        ("m.onnx -o o.onnx --name w --conv", "--name, --conv: m.onnx is a model"),
        ("m.onnx -o o.onnx --shape 4x4 --dtype int8", "--shape, --dtype: m.onnx is a model"),
        ("w.npy -o o.npy --skip first", "--skip: w.npy is a weight"),
        ("w.npy -o o.npy --method magnitude", "--method: w.npy is a weight"),
        ("w.npy -o o.npy --external-data --sensitivity", "--sensitivity, --external-data: w.npy"),
        ("w.npy -o o.npy --config c.cfg --calibrate x.npz", "--calibrate, --config: w.npy"),
        ("w.npy -o o.npy --skip-type Gemm", "--skip-type: w.npy is a weight"),
        ("none.onnx -o o.onnx", "none.onnx: cannot read"),
        ("m.onnx -o m.onnx --overwrite", "m.onnx: is read, of m.onnx, and would be lost"),
        ("m.onnx -o x.npz --overwrite --method wanda --calibrate x.npz", "would be lost"),
        ("m.onnx -o c.cfg --overwrite --config c.cfg", "would be lost"),
        ("m.onnx -o there.onnx", "there.onnx: is there already"),
        ("m.onnx -o half.onnx --external-data", "half.onnx.data: is there already"),
        ("m.onnx -o no/o.onnx", "the folder no does not exist"),
        ("bad.onnx -o o.onnx", "bad.onnx: no readable ONNX model"),
        ("nan.onnx -o o.onnx", "'second': its weight 'w' is nan at (3, 5)"),
        ("m.onnx -o o.onnx --config x.npz", "x.npz: "),
        ("m.onnx -o o.onnx --config bad.cfg", "bad.cfg: line 1: no field 'bogus'"),
        ("m.onnx -o o.onnx --config named.cfg", "named.cfg: no layer of the model is called 'a'"),
        ("m.onnx -o o.onnx --method wanda --calibrate none.npz", "none.npz: cannot read"),
        ("m.onnx -o o.onnx --method wanda --calibrate w.npy", "w.npy: no readable .npz"),
        ("m.onnx -o o.onnx --method wanda --calibrate objects.npz", "objects.npz:x.npy: "),
        ("m.onnx -o o.onnx --method wanda --calibrate cut.npz", "cut.npz"),
        ("m.onnx -o o.onnx --method wanda --calibrate long.npz", "'x' has shape (8, 24)"),
        ("m.onnx -o o.onnx --method wanda --calibrate double.npz", "'x' is float64"),
    ],
)
def test_refused_in_one_line_with_nothing_written(capsys: Any, line: str, says: str) -> None:
    for name in ("there.onnx", "half.onnx.data"):
        Path(name).write_text("old")
    Path("bad.onnx").write_bytes(b"\x99" * 40)
    broken = W.copy()
    broken[3, 5] = np.nan
    onnx.save(two_products(w=broken), "nan.onnx")
    Path("bad.cfg").write_text("bogus: 1")
    Path("named.cfg").write_text(CONFIG + 'regular_prune_skip_layers: "a"')
    np.savez("objects.npz", x=np.array([None]))
    Path("cut.npz").write_bytes(Path("x.npz").read_bytes()[:-40])
    np.savez("other.npz", x=X, z=X)
    np.savez("long.npz", x=X[:8])
    np.savez("double.npz", x=X.astype(float))
    before = {p.name: p.read_bytes() for p in Path().iterdir()}
    assert run(["prune", *line.split()]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert says in " ".join(err.split())
    assert len(err.splitlines()) == (1 if err.startswith("error: ") else 4)  # with the usage
    assert {p.name: p.read_bytes() for p in Path().iterdir()} == before


def test_members_that_are_no_inputs_are_named_and_left(capsys: Any) -> None:
    np.savez("other.npz", x=X, label=np.arange(3), z=X)
    assert (
        run(["prune", "m.onnx", "-o", "o.onnx", "--method", "wanda", "--calibrate", "x.npz"]) == 0
    )
    assert capsys.readouterr().err == ""
    assert (
        run(["prune", "m.onnx", "-o", "p.onnx", "--method", "wanda", "--calibrate", "other.npz"])
        == 0
    )
    assert capsys.readouterr().err == "note: other.npz: no inputs of the model: label, z\n"
    assert Path("o.onnx").read_bytes() == Path("p.onnx").read_bytes()
