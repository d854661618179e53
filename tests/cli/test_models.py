"""check, compile and decompile of models: exit codes, files, and one line for each refusal."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import bad_models
import numpy as np
import onnx
import pytest
from onnx_makers import quantised_conv, quantised_matmul
from sparse_weights import dense_weight, sparse_weight

from cube24 import graph
from cube24.cli import run
from cube24.cli.codes import Terminated
from cube24.errors import FileFormatError

SPARSE = quantised_conv("QLinearConv", sparse_weight((8, 12, 3, 3)), x_shape=(1, 12, 7, 7))
DENSE = quantised_conv("QLinearConv", dense_weight((8, 12, 3, 3)), x_shape=(1, 12, 7, 7))
OPEN = quantised_conv("QLinearConv", sparse_weight((8, 12, 3, 3)), x_shape=("N", 12, "H", "W"))
FEW = quantised_conv("QLinearConv", sparse_weight((8, 3, 3, 3)), x_shape=(1, 3, 7, 7))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, model in {"sparse": SPARSE, "dense": DENSE, "open": OPEN, "few": FEW}.items():
        (tmp_path / f"{name}.onnx").write_bytes(model.SerializeToString())
    np.save(tmp_path / "w.npy", np.zeros((2, 8), np.int8))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("check sparse.onnx", 0), ("check dense.onnx", 1), ("check few.onnx", 0),
        ("check dense.onnx --skip *", 0), ("check sparse.onnx --select faster", 0),
        ("check SPARSE.ONNX", 2), ("check open.onnx --select faster", 2),
        ("check open.onnx --select faster --input-shape x:1,12,9,9", 0),
        ("check open.onnx --input_shape=x:1,12,9,9", 0), ("check open.onnx --input-shape y:1", 2),
        ("check open.onnx --input-shape x:1,12,9,9;x:1,12,9,9", 2),
        ("check open.onnx --input-shape x:1,a", 2), ("check open.onnx --input-shape 1,2", 2),
        ("check open.onnx --input-shape x:1,12,0,9", 2),
        ("check sparse.onnx --conv", 2), ("check sparse.onnx --limit 3", 2),
        ("check sparse.onnx --overwrite", 2), ("compile sparse.onnx -o o.onnx --layout nd", 2),
        ("compile sparse.onnx -o o.onnx --requant exact", 2),
        ("compile sparse.onnx -o o.onnx --sparsity 0 --keep-compress-ops", 2),
        ("check w.npy --cores 2", 2), ("check w.npy --report r.html", 2),
        ("check sparse.onnx --report nowhere/r.html", 2),
        ("check sparse.onnx --report sparse.onnx --overwrite", 2),
        ("compile sparse.onnx -o sparse.onnx --overwrite", 2),
        ("compile dense.onnx -o o.onnx --strict", 2), ("compile dense.onnx -o o.onnx", 0),
        ("compile sparse.onnx -o o.onnx --sparsity 1 --strict", 0),
        ("compile sparse.onnx -o o.onnx --sparsity 01", 2),
        ("compile sparse.onnx -o o.onnx --sparsity 1 --enable-compress-weight true", 2),
        ("compile w.npy -o o.onnx", 2), ("decompile sparse.onnx -o o.onnx", 2),
        ("compile sparse.onnx -o nowhere/o.onnx", 2), ("compile nothing.onnx -o o.onnx", 2),
    ],
)  # fmt: skip
def test_the_exit_code_and_no_file_where_it_is_2(
    line: str, code: int, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(folder.rglob("*"))
    assert run(line.split()) == code
    errors = capsys.readouterr().err
    assert "Traceback" not in errors
    if code == 2:
        assert sorted(folder.rglob("*")) == before
        assert errors


@pytest.mark.parametrize("maker", bad_models.ALL, ids=lambda maker: maker.__name__)
@pytest.mark.parametrize("command", ["check", "compile"])
def test_a_bad_model_is_refused_in_one_line(
    maker: Any, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place := tmp_path / "bad").mkdir()
    path = maker(place)
    more = [] if command == "check" else ["-o", str(tmp_path / "o.onnx"), "--sparsity", "1"]
    code = run([command, str(path), *more])
    got = capsys.readouterr()
    assert "Traceback" not in got.err
    if maker is bad_models.scale_of_nothing:
        # A model that any runtime reads: its node stays dense, with a reason.
        assert code == (1 if command == "check" else 0)
        assert ("not-quantised" if command == "check" else "compressed 0 of 1") in got.out
        return
    assert code == 2
    assert got.err.startswith("error: ")
    assert len(got.err.splitlines()) == 1
    assert str(place) in got.err
    assert not (tmp_path / "o.onnx").exists()


def test_a_report_is_json_or_a_table_and_a_page(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", "sparse.onnx", "--json", "--report", "r.html"]) == 0
    got = capsys.readouterr()
    assert json.loads(got.out)["totals"]["sparse"] == 1
    assert "written: r.html" in got.err
    assert Path("r.html").read_text().startswith("<!doctype html>")
    assert run(["check", "sparse.onnx"]) == 0
    assert "1 of 1 node sparse, with 100.0 % of the multiplications" in capsys.readouterr().out


def test_open_sizes_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", "open.onnx"]) == 0
    assert "leaves sizes of x open; give --input-shape" in capsys.readouterr().err
    assert run(["check", "sparse.onnx"]) == 0
    assert capsys.readouterr().err == ""


def test_several_inputs_and_names_with_colons() -> None:
    two = quantised_matmul("QLinearMatMul", sparse_weight((8, 36)), x_shape=("N", 36))
    two.graph.input[0].name = two.graph.node[0].input[0] = "a:0"
    Path("two.onnx").write_bytes(two.SerializeToString())
    assert run(["check", "two.onnx", "--select", "faster", "--input-shape", "a:0:4,36"]) == 0


def test_what_the_two_values_of_sparsity_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["compile", "sparse.onnx", "-o", "same.onnx"]) == 0
    assert "no weight is compressed; --sparsity 1 would compress 1 of 1" in capsys.readouterr().out
    assert onnx.load("same.onnx") == SPARSE
    assert run(["compile", "sparse.onnx", "-o", "o.onnx", "--sparsity", "1"]) == 0
    assert "compressed 1 of 1 node" in capsys.readouterr().out
    assert [node.op_type for node in onnx.load("o.onnx").graph.node].count("Conv2DCompress") == 1
    assert run(["decompile", "o.onnx", "-o", "back.onnx"]) == 0
    assert onnx.load("back.onnx") == SPARSE
    assert run(["compile", "sparse.onnx", "-o", "x.onnx", "--sparsity", "2"]) == 2
    said = "E10006 Value 2 for parameter --sparsity is invalid. The value must be either 1 or 0."
    assert said in capsys.readouterr().err


def test_the_same_command_gives_the_same_bytes_wherever_the_model_stands(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    os.link("sparse.onnx", "elsewhere/other.onnx")
    assert run(["compile", "sparse.onnx", "-o", "one.onnx", "--sparsity", "1"]) == 0
    assert run(["compile", "elsewhere/other.onnx", "-o", "two.onnx", "--sparsity", "1"]) == 0
    assert Path("one.onnx").read_bytes() == Path("two.onnx").read_bytes()


def test_external_data_stand_beside_the_model_and_are_read_from_there() -> None:
    model = quantised_matmul("QLinearMatMul", sparse_weight((64, 512)), x_shape=(2, 512))
    Path("large.onnx").write_bytes(model.SerializeToString())
    order = ["compile", "large.onnx", "--sparsity", "1", "-o"]
    assert run([*order, "one.onnx"]) == 0
    assert run([*order, "two.onnx", "--external-data"]) == 0
    assert Path("two.onnx").stat().st_size < Path("one.onnx").stat().st_size - 64 * 512 // 2
    one, two = onnx.load("one.onnx"), onnx.load("two.onnx")
    for tensor in two.graph.initializer:
        tensor.ClearField("data_location")  # which onnx sets when it has read the data
    assert two == one
    assert run(["decompile", "two.onnx", "-o", "back.onnx"]) == 0
    assert onnx.load("back.onnx") == model
    Path("two.onnx.data").unlink()
    assert run(["decompile", "two.onnx", "-o", "again.onnx"]) == 2
    assert run(["compile", "large.onnx", "-o", "two.onnx", "--external-data"]) == 2  # is there


def test_the_same_model_gives_the_same_report_wherever_it_stands(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    os.link("sparse.onnx", "elsewhere/sparse.onnx")
    assert run(["check", "sparse.onnx", "--report", "one.html"]) == 0
    assert run(["check", str(tmp_path / "elsewhere/sparse.onnx"), "--report", "two.html"]) == 0
    assert Path("one.html").read_bytes() == Path("two.html").read_bytes()


@pytest.mark.parametrize(
    ("how", "code"),
    [(KeyboardInterrupt(), 130), (Terminated(15), 143), (Terminated(24), 152), (None, 2)],
)
def test_a_signal_that_native_code_makes_an_error_of_is_a_signal(
    how: BaseException | None, code: int, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    # An import of C that a signal stops ends with an ImportError, which has it as its cause.
    def stopped(*_: object, **__: object) -> None:
        try:
            raise ImportError("initialization failed") from how
        except ImportError as error:
            raise FileFormatError("sparse.onnx", "cannot be run") from error

    monkeypatch.setattr(graph, "load", stopped)
    assert run(["check", "sparse.onnx"]) == code
    told = capsys.readouterr().err
    assert ("error: " in told) == (how is None)


def test_data_that_a_model_is_read_from_are_never_replaced(
    capsys: pytest.CaptureFixture[str],
) -> None:
    weight = sparse_weight((64, 512))
    proto = quantised_matmul("QLinearMatMul", weight, x_shape=(2, 512))
    onnx.save(proto, "large.onnx", save_as_external_data=True, location="other.onnx.data")
    before = Path("other.onnx.data").read_bytes()
    for line in (
        "compile large.onnx -o other.onnx --sparsity 1 --external-data --overwrite",
        "compile large.onnx -o other.onnx.data --overwrite",
        "prune large.onnx -o other.onnx --external-data --overwrite",
        "check large.onnx --report other.onnx.data --overwrite",
        "run large.onnx --input x.npz -o x.npz --report other.onnx.data --overwrite",
    ):
        np.savez("x.npz", x=np.zeros((2, 512), np.uint8))
        assert run(line.split()) == 2, line
        assert "would be lost" in capsys.readouterr().err
        assert Path("other.onnx.data").read_bytes() == before
        assert not Path("other.onnx").exists()
    assert (
        run(["compile", "large.onnx", "-o", "fine.onnx", "--sparsity", "1", "--external-data"]) == 0
    )
