"""cube24 simulate and cube24 units: what they print, write and refuse."""

import sys
from pathlib import Path

import numpy as np
import pytest

from cube24 import encoder, simulator
from cube24.cli import run
from cube24.simulator import direct
from cube24.simulator import run as run_module


def legal(shape: tuple[int, ...], axis: int, seed: int = 1) -> np.ndarray:
    """Random weights of which two of four along an axis are zero."""
    weight = np.random.default_rng(seed).integers(-128, 128, shape, dtype=np.int8)
    moved = np.moveaxis(weight, axis, -1)
    moved[..., 0::4] = 0
    moved[..., 3::4] = 0
    return weight


A = np.random.default_rng(2).integers(-128, 128, (20, 100), dtype=np.int8)
W = legal((30, 100), 1)
X = np.random.default_rng(3).integers(-128, 128, (2, 5, 9, 9), dtype=np.int8)
F = legal((7, 5, 3, 3), 1)
BIAS = np.arange(-15, 15, dtype=np.int32) * 1000
EXACT = A.astype(np.int64) @ W.T


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, array in (("a", A), ("w", W), ("x", X), ("f", F), ("bias", BIAS)):
        np.save(f"{name}.npy", array)


@pytest.mark.parametrize("how", [[], ["--sparsity", "0"], ["--tile", "16,16,64,64"]])
@pytest.mark.parametrize("command", ["matmul", "fc"])
def test_a_product_is_computed_compared_and_written(command, how, capsys):
    order = ["simulate", command, "a.npy", "w.npy", "--bias", "bias.npy", "-o", "o.npy", *how]
    assert run(order) == 0
    said = capsys.readouterr().out
    assert "dense        600 outputs, 0 differ" in said
    assert np.load("o.npy").dtype == np.int32
    assert np.array_equal(np.load("o.npy"), EXACT + BIAS)


def test_an_encoded_weight_is_read_as_it_is(capsys):
    encoder.encode(W, layout="zn").save("enc.npz")
    assert run(["simulate", "matmul", "a.npy", "enc.npz", "-o", "o.npy"]) == 0
    assert np.array_equal(np.load("o.npy"), EXACT)
    assert run(["simulate", "matmul", "a.npy", "enc.npz", "-o", "d.npy", "--sparsity", "0"]) == 0
    assert np.array_equal(np.load("d.npy"), EXACT)


def test_results_are_requantised_as_asked():
    # 2^-9 is exact in a word, and products of powers of two are exact in fp32.
    order = ["simulate", "matmul", "a.npy", "w.npy", "--scale", str(2**-9), "-o", "o.npy"]
    scaled = np.rint(np.clip(EXACT / 512, -256, 255))
    for options, low, high, offset in (
        ([], -128, 127, 0),
        (["--unsigned", "--offset", "5"], 0, 255, 5),
        (["--relu"], 0, 127, 0),
    ):
        assert run([*order, *options, "--overwrite"]) == 0
        base = np.maximum(scaled, 0) if "--relu" in options else scaled
        assert np.array_equal(np.load("o.npy"), np.clip(base + offset, low, high))
    assert run([*order, "--fp16", "--overwrite"]) == 0
    assert np.array_equal(np.load("o.npy"), (EXACT / 512).astype(np.float16))


def convolved(x: np.ndarray) -> np.ndarray:
    """3x3, stride 2 x 1, one row and column of sevens around the image."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=7).astype(np.int64)
    out = np.zeros((2, 7, 5, 9), np.int64)
    for b, o, i, j in np.ndindex(out.shape):
        out[b, o, i, j] = (padded[b, :, 2 * i : 2 * i + 3, j : j + 3] * F[o]).sum()
    return out


@pytest.mark.parametrize("data", ["NCHW", "NHWC"])
def test_a_convolution_takes_its_geometry_from_options(data):
    np.save("x.npy", X if data == "NCHW" else X.transpose(0, 2, 3, 1))
    order = ["simulate", "conv2d", "x.npy", "f.npy", "--pads", "1,1,1,1", "--strides", "2,1",
             "--offset-x", "7", "--data-format", data, "-o", "o.npy"]  # fmt: skip
    assert run(order) == 0
    expected = convolved(X)
    got = np.load("o.npy")
    assert np.array_equal(got if data == "NCHW" else got.transpose(0, 3, 1, 2), expected)


def test_the_program_is_written_and_runs_alone():
    assert run(["simulate", "matmul", "a.npy", "w.npy", "--program", "p.txt"]) == 0
    program = simulator.Program.load("p.txt")
    zn = encoder.encode(W).to_fractal()
    inputs = {"activations": A, "dense": zn.dense, "index": zn.index}
    output = simulator.Unit().execute(program, inputs)["output"]
    assert np.array_equal(output.view(np.int32).reshape(20, 30), EXACT)


@pytest.mark.parametrize("stepwise", [False, True])
def test_a_difference_fails_the_check(monkeypatch, capsys, stepwise):
    """A unit that adds wrongly is found out: exit code 1, and the place."""
    compute, execute = direct.compute, run_module.execute

    def broken_layer(*arguments, out, **options):
        done = compute(*arguments, out=out, **options)
        out[1, 1] += 1
        return done and not stepwise

    def broken_program(program, inputs, config):
        buffers = execute(program, inputs, config)
        buffers["output"].view(np.int32)[31] += 1
        return buffers

    monkeypatch.setattr(direct, "compute", broken_layer)
    monkeypatch.setattr(run_module, "execute", broken_program)
    assert run(["simulate", "matmul", "a.npy", "w.npy", "-o", "o.npy"]) == 1
    assert "1 of 600 outputs differ from the dense computation; the first at (1, 1)" in (
        capsys.readouterr().err
    )
    assert not Path("o.npy").exists()
    assert run(["simulate", "matmul", "a.npy", "w.npy", "--no-check"]) == 0


BAD = {
    "a weight that is not 2:4": (["matmul", "a.npy", "a.npy"], "not 2:4"),
    "another K": (["matmul", "bad.npy", "w.npy"], "takes (M, 100)"),
    "a missing file": (["matmul", "gone.npy", "w.npy"], "No such file"),
    "a matrix as kernel": (["conv2d", "x.npy", "w.npy"], "four dimensions"),
    "a unit nobody knows": (["matmul", "a.npy", "w.npy", "--unit", "dav-1"], "dav-2201"),
    "a unit without sparsity": (["fc", "a.npy", "w.npy", "--unit", "dav-3510"], "no 2:4 sparsity"),
    "a tile that does not fit": (
        ["matmul", "a.npy", "w.npy", "--tile", "4096,16,64,64"], "the unit has",
    ),
    "a tile of three numbers": (["matmul", "a.npy", "w.npy", "--tile", "16,16,64"], "4 numbers"),
    "an offset without scale": (["matmul", "a.npy", "w.npy", "--offset", "3"], "need --scale"),
    "a bias of another type": (["matmul", "a.npy", "w.npy", "--bias", "a.npy"], "not int32"),
    "a kernel that does not fit": (["conv2d", "x.npy", "wide.npy"], "does not fit"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_explained(case, capsys):
    np.save("bad.npy", A[:, :50])
    np.save("wide.npy", np.zeros((1, 5, 11, 1), np.int8))
    arguments, said = BAD[case]
    assert run(["simulate", *arguments, "-o", "o.npy"]) == 2
    assert said in capsys.readouterr().err
    assert not Path("o.npy").exists()


def test_units_are_listed_and_shown(capsys):
    assert run(["units"]) == 0
    listed = capsys.readouterr().out
    assert [line.split()[0] for line in listed.splitlines()] == ["dav-2201", "dav-3510", "310B1"]
    assert run(["units", "310B1"]) == 0
    shown = capsys.readouterr().out
    assert "1048576 bytes" in shown
    assert "[OPEN]" in shown
    assert run(["units", "310B1", "--toml"]) == 0
    Path("own.toml").write_text(capsys.readouterr().out.replace("1048576", "262144"))
    assert run(["simulate", "matmul", "a.npy", "w.npy", "--unit", "own.toml"]) == 0
    assert run(["units", "own.toml"]) == 0
    assert "262144 bytes" in capsys.readouterr().out
    Path("own.toml").write_text("l1_size = 3\n")
    assert run(["units", "own.toml"]) == 2
    assert "unknown field l1_size" in capsys.readouterr().err
    assert run(["units", "dav-1"]) == 2


def test_help_names_the_arguments(capsys):
    for command in ("simulate", "simulate matmul", "simulate fc", "simulate conv2d", "units"):
        assert run([*command.split(), "--help"]) == 0
        assert "Usage: cube24" in capsys.readouterr().out


def test_a_dense_twin_that_does_not_fit_costs_a_line_and_not_the_result(capsys):
    image, weight = np.ones((1, 32, 25, 25), np.int8), np.zeros((16, 32, 25, 25), np.int8)
    weight[:, ::4] = 3
    np.save("x.npy", image)
    np.save("f.npy", weight)
    order = ["simulate", "conv2d", "x.npy", "f.npy", "--why", "-o", "o.npy", "--report", "r.html"]
    assert run(order) == 0
    said = capsys.readouterr().out
    assert "dense twin   does not fit: tile Tile(" in said
    assert "chunks in L1 take 680000, the unit has 524288\n" in said
    assert np.array_equal(np.load("o.npy"), np.full((1, 16, 1, 1), 3 * 8 * 625))
    assert "does not fit" in Path("r.html").read_text()


# --- files of several arrays ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["npz", "safetensors"])
def test_arrays_of_a_file_of_several_are_chosen_by_name(kind, capsys):
    arrays = {"w": W, "a": A, "b": BIAS, "half": A // 2}
    if kind == "npz":
        np.savez("all.npz", **arrays)
    else:
        from safetensors.numpy import save_file

        save_file(arrays, "all.safetensors")
    order = ["simulate", "matmul", f"all.{kind}", f"all.{kind}", "--bias", f"all.{kind}"]
    assert run([*order, "-o", "o.npy"]) == 2
    assert "choose one by name" in capsys.readouterr().err
    names = ["--activations-name", "a", "--name", "w", "--bias-name", "b"]
    assert run([*order, *names, "-o", "o.npy"]) == 0
    assert np.array_equal(np.load("o.npy"), EXACT + BIAS)
    names[1] = "half"
    assert run([*order, *names, "-o", "half.npy"]) == 0
    assert np.array_equal(np.load("half.npy"), (A // 2).astype(np.int64) @ W.T + BIAS)
    names[1] = "c"
    assert run([*order, *names, "-o", "c.npy"]) == 2
    assert "no array named 'c'; it has: " in capsys.readouterr().err
    timed = ["simulate", "matmul", f"all.{kind}", f"all.{kind}", "--time-only"]
    assert run([*timed, "--activations-name", "a", "--name", "w"]) == 0
    assert "activations  20x100 int8" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("order", "said"),
    [
        (["a.npy", "w.npy", "--name", "x"], "w.npy"),
        (["a.npy", "w.npy", "--activations-name", "x"], "a.npy"),
        (["a.npy", "w.npy", "--bias-name", "x"], "--bias-name: there is no --bias"),
        (["a.npy", "enc.npz", "--name", "x"], "encoded weight, which is one whole"),
        (["a.npy", "enc.npz", "--name", "x", "--time-only"], "encoded weight"),
        (["20x100", "30x100", "--name", "x", "--time-only"], "--name: 30x100 is a shape"),
        (["20x100", "30x100", "--activations-name", "x", "--time-only"], "20x100 is a shape"),
    ],
)  # fmt: skip
def test_a_name_of_what_has_no_members_is_refused(order, said, capsys):
    encoder.encode(W).save("enc.npz")
    assert run(["simulate", "matmul", *order]) == 2
    assert said in capsys.readouterr().err


# --- weights of the other kind --------------------------------------------------------------------


@pytest.mark.parametrize("how", [[], ["--sparsity", "0"], ["--time-only"]])
@pytest.mark.parametrize(
    ("order", "said"),
    [
        (["matmul", "a.npy", "f.npy"], "7x5x3x3 is a convolution, and this operation takes two"),
        (["fc", "a.npy", "f.npy"], "try cube24 simulate conv2d"),
        (["conv2d", "x.npy", "w.npy"], "30x100 is a matrix, and this operation takes four"),
        (["conv2d", "x.npy", "w.npy"], "try cube24 simulate matmul or fc"),
        (["matmul", "a.npy", "conv.npz"], "try cube24 simulate conv2d"),
        (["conv2d", "x.npy", "enc.npz"], "try cube24 simulate matmul or fc"),
    ],
)
def test_a_weight_of_the_other_kind_is_told_with_the_operation_that_takes_it(
    order, said, how, capsys
):
    encoder.encode(W).save("enc.npz")
    encoder.encode_conv(F).save("conv.npz")
    assert run(["simulate", *order, *how]) == 2
    assert said in capsys.readouterr().err


def test_a_convolution_that_was_encoded_as_matrices_is_told(capsys):
    encoder.encode(np.zeros((7, 5, 3, 3), np.int8)).save("flat.npz")
    assert run(["simulate", "conv2d", "x.npy", "flat.npz"]) == 2
    assert "encoded as a matrix; encode it with --conv" in capsys.readouterr().err


# --- what is told of a scale, and what is refused before the work ---------------------------------


@pytest.mark.parametrize(
    ("scale", "line"),
    [
        ("0.5", "scale        0.5"),
        ("0.002", "scale        0.0019989013671875 for 0.002: the unit drops 13 bits of an fp32"),
        ("0", "scale        0.0"),
    ],
)
@pytest.mark.parametrize("how", [[], ["--fp16"], ["--time-only"]])
def test_the_scale_that_the_unit_multiplies_by_is_told(scale, line, how, capsys):
    assert run(["simulate", "matmul", "a.npy", "w.npy", "--scale", scale, *how]) == 0
    assert line in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--scale", "1e-60"], "scale 1e-60 is zero in a word"),
        (["--scale", "nan"], "scale nan is not finite"),
        (["--scale", "inf"], "scale inf is not finite"),
        (["--scale", "1e39"], "scale 1e+39 is not finite"),
        (["--scale", "1", "--offset", "9" * 5000], "--offset"),
        (["--tile", f"16,16,64,{'9' * 5000}"], "4 numbers"),
        (["--tile", "16,16,64,6_4"], "4 numbers"),
        (["--tile", "16,16,64,\u0666\u0664"], "4 numbers"),
        (["--roofline", "r.gif"], "NAME.png or NAME.svg"),
        (["--roofline", "none/r.png"], "none"),
        (["--vcd", "none/r.vcd"], "none"),
    ],
)  # fmt: skip
def test_what_can_be_refused_is_refused_before_the_work(options, said, capsys, monkeypatch):
    monkeypatch.setattr(simulator.Unit, "matmul", None)
    before = set(Path().iterdir())
    assert run(["simulate", "matmul", "a.npy", "w.npy", *options]) == 2
    assert said in capsys.readouterr().err
    assert set(Path().iterdir()) == before


@pytest.mark.parametrize(
    ("module", "options", "said"),
    [
        ("vcd", ["--vcd", "t.vcd"], "pip install 'cube24[trace]'"),
        ("matplotlib.figure", ["--roofline", "t.png"], "pip install 'cube24[plot]'"),
    ],
)
def test_a_missing_package_is_told_before_the_work(module, options, said, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr(simulator.Unit, "matmul", None)
    assert run(["simulate", "matmul", "a.npy", "w.npy", *options]) == 2
    assert said in capsys.readouterr().err
    assert not list(Path().glob("t.*"))


def test_a_shape_of_5000_digits_is_no_shape(capsys):
    assert run(["simulate", "matmul", "9" * 200, "16x16", "--time-only"]) == 2
    assert run(["simulate", "matmul", "9" * 18 + "x16", "16x16", "--time-only"]) == 2
    assert "m is 999999999999999999; it takes 0 to" in capsys.readouterr().err
