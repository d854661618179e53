"""Unit: matrix multiplications, convolutions and fully connected layers on a simulated unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from cube24.encoder import C0, SparseWeight, decode, int8_array
from cube24.errors import ArgumentError, CheckFailedError, DtypeError, ShapeError, StrPath
from cube24.simulator import chip, dense, isa, layouts, machine, requant, timing
from cube24.simulator.config import UnitConfig, config_of
from cube24.simulator.requant import Requant
from cube24.simulator.run import PEAK, Run
from cube24.simulator.tiler import Image, Problem, Tile
from cube24.simulator.writer import plan_for
from cube24.sizes import ceil_div

#: An array, or its shape where only time is asked for.
Operand = npt.NDArray[np.int8] | tuple[int, ...]
Weight = SparseWeight | Operand


class MismatchError(CheckFailedError):
    """The unit and the dense computation disagree: a defect of cube24, or bytes that were changed.

    Attributes: differing, total (numbers of outputs), coordinates (of the first that differs).
    """

    def __init__(self, got: npt.NDArray[Any], expected: npt.NDArray[Any]) -> None:
        """Find the first difference."""
        places = np.argwhere(got != expected)
        self.differing, self.total = len(places), got.size
        self.coordinates = tuple(int(i) for i in places[0])
        super().__init__(
            f"{self.differing} of {self.total} outputs differ from the dense computation; the "
            f"first at {self.coordinates}: got {got[self.coordinates]}, expected "
            f"{expected[self.coordinates]}"
        )


class Unit:
    """A simulated unit.

    Args:
        unit: name of a preset (``dav-2201``, ``dav-3510``, ``310B1``), a TOML file or a
            UnitConfig.

    Raises:
        ArgumentError, FileAccessError, FileFormatError: there is no such unit.
    """

    def __init__(self, unit: str | StrPath | UnitConfig = "dav-2201") -> None:
        """Take the configuration."""
        self.config = config_of(unit)

    def execute(
        self, program: isa.Program, inputs: Mapping[str, npt.NDArray[Any]] | None = None
    ) -> Mapping[str, npt.NDArray[np.uint8]]:
        """Run a program; gives what its buffers in GM hold afterwards, by name, as bytes.

        Args:
            program: buffers and instructions.
            inputs: arrays for some of the buffers, of exactly their size; the rest is zero.

        Raises:
            ExecutionError: an instruction that the unit cannot run; the subclass says why.
            ArgumentError, ShapeError: inputs that do not fit the buffers.
        """
        of = machine.load_buffers(program, inputs or {}, self.config)
        of.run(program.instructions)
        gm = of.memories["GM"]
        return {b.name: gm[b.at : b.at + b.bytes] for b in program.buffers}

    def schedule(self, program: isa.Program) -> timing.Timing:
        """Count the cycles of a program, without running it.

        Raises:
            ScheduleError: an instruction that no unit has, or a flag that is set twice.
            DeadlockError: the program stops; the message says where and why.
        """
        return timing.schedule(program, self.config)

    def matmul(
        self,
        activations: Operand,
        weight: Weight,
        bias: npt.NDArray[np.int32] | bool | None = None,
        requant: Requant | None = None,
        *,
        tile: Tile | None = None,
        check: bool | npt.NDArray[np.int8] = False,
        values: bool = True,
        dtype: str = "int8",
        sparse: bool = False,
        weight_rows: bool = False,
        cores: int = 1,
    ) -> Run:
        """Multiply activations (M, K) by the transpose of a weight (N, K).

        Args:
            activations: int8 (M, K).
            weight: an encoded weight of kind ``matrix``, or a dense int8 (N, K) array, which runs
                without sparsity.
            bias: int32 (N,).
            requant: how results become int8, uint8 or fp16; None: int32.
            tile: tile sizes; None: chosen to fill the buffers.
            check: compare with the dense computation from the original weight, given here as int8
                (N, K); True: from the weight that the bytes decode to.
            values: False counts cycles only: activations and weight may then be shapes, and bias
                True for a bias that nobody looks at.
            dtype: int8; float16 has a time and no values.
            sparse: for a weight given as a shape: it is 2:4.
            weight_rows: a dense weight stands in GM as rows (N, K), not as fractals.
            cores: of the unit, which share the work; more than one has a time and no values.

        Returns:
            A run with output (M, N).

        Raises:
            DtypeError, ShapeError, ArgumentError: the arguments do not fit.
            TilingError: the tile does not fit the unit.
            ExecutionError: the unit cannot run it, such as an index of 3 or a missing sparsity.
            MismatchError: check failed.
        """
        self._demand_mode(values, dtype, sparse, cores)
        if values:
            activations, weight = _arrays(activations, weight)
        x_shape = _shape(activations, "activations")
        n, k, sparse = _matrix_weight(weight, sparse)
        if len(x_shape) != 2 or x_shape[1] != k:
            raise ShapeError(f"activations have shape {x_shape}; this weight takes (M, {k})")
        problem, inputs = self._problem(x_shape[0], n, k, sparse, bias, requant)
        if dtype == "float16":
            if requant is not None or bias is not None or sparse:
                raise ArgumentError("float16 takes no requant, no bias and no sparse weight")
            problem = replace(problem, dtype=dtype, fixpipe="fp16")
        problem = replace(problem, weight_rows=weight_rows and not sparse)
        macs = problem.m * n * k
        if not values:
            return self._timed(problem, tile, cores, macs)
        x, w = _arrays(activations, weight)
        inputs["activations"] = x
        inputs |= _weight_inputs(w, k, problem.weight_rows)
        run = self._run(problem, inputs, tile, requant, macs)
        output = _output(run).reshape(x_shape[0], n)
        run = replace(run, output=output)
        if check is not False:
            expected = dense.accumulate_matmul(
                x, _original(w, check), _bias_array(bias), self._ends(run.program, k, sparse),
                self.config.overflow,
            )  # fmt: skip
            self._compare(output, expected, requant)
        return run

    def fully_connected(
        self,
        activations: Operand,
        weight: Weight,
        bias: npt.NDArray[np.int32] | bool | None = None,
        requant: Requant | None = None,
        *,
        tile: Tile | None = None,
        check: bool | npt.NDArray[np.int8] = False,
        values: bool = True,
        dtype: str = "int8",
        sparse: bool = False,
        weight_rows: bool = False,
        cores: int = 1,
    ) -> Run:
        """A fully connected layer: activations (B, ...) are flattened to (B, K).

        Raises:
            Cube24Error: as for :meth:`matmul`.
        """
        if values:
            activations = int8_array(activations, "activations")
        shape = _shape(activations, "activations")
        if len(shape) < 2:
            raise ShapeError(f"activations have shape {shape}; they take (B, ...)")
        flat = (shape[0], int(np.prod(shape[1:], dtype=object)))
        return self.matmul(
            activations.reshape(flat) if isinstance(activations, np.ndarray) else flat,
            weight, bias, requant, tile=tile, check=check, values=values, dtype=dtype,
            sparse=sparse, weight_rows=weight_rows, cores=cores,
        )  # fmt: skip

    def conv2d(
        self,
        activations: Operand,
        weight: Weight,
        bias: npt.NDArray[np.int32] | bool | None = None,
        requant: Requant | None = None,
        *,
        strides: tuple[int, int] = (1, 1),
        pads: tuple[int, int, int, int] = (0, 0, 0, 0),
        dilations: tuple[int, int] = (1, 1),
        offset_x: int = 0,
        layout: str = "NCHW",
        tile: Tile | None = None,
        check: bool | npt.NDArray[np.int8] = False,
        values: bool = True,
        dtype: str = "int8",
        sparse: bool = False,
        weight_rows: bool = False,
        cores: int = 1,
    ) -> Run:
        """Convolve activations with a weight, with the arguments of ONNX.

        Args:
            activations: int8 (B, Cin, H, W), or (B, H, W, Cin) for layout ``NHWC``.
            weight: an encoded weight of kind ``conv``, or a dense int8 (Cout, Cin, Kh, Kw) array.
            bias: int32 (Cout,).
            requant: how results become int8, uint8 or fp16; None: int32.
            strides: (h, w). dilations: (h, w). pads: (top, left, bottom, right).
            offset_x: the value that the padding holds, -128..127.
            layout: of activations and output, ``NCHW`` or ``NHWC``.
            tile: tile sizes; None: chosen to fill the buffers.
            check: as for :meth:`matmul`; the original weight is int8 (Cout, Cin, Kh, Kw).
            values: False counts cycles only: activations and weight may then be shapes, and bias
                True for a bias that nobody looks at.
            sparse: for a weight given as a shape: it is 2:4.
            cores: of the unit, which share the work; more than one has a time and no values.

        Returns:
            A run with output (B, Cout, Ho, Wo), or (B, Ho, Wo, Cout).

        Raises:
            Cube24Error: as for :meth:`matmul`.
        """
        if layout not in ("NCHW", "NHWC"):
            raise ArgumentError(f"layout {layout!r}: choose 'NCHW' or 'NHWC'")
        self._demand_mode(values, "int8", sparse, cores)
        if values:
            activations, weight = _arrays(activations, weight)
        shape = _shape(activations, "activations")
        if len(shape) != 4:
            raise ShapeError(f"activations have shape {shape}; they take {layout}")
        if layout == "NHWC":
            shape = (shape[0], shape[3], shape[1], shape[2])
        (cout, cin, kh, kw), sparse = _conv_weight(weight, sparse)
        if shape[1] != cin:
            raise ShapeError(f"activations have {shape[1]} channels; this weight takes {cin}")
        c1 = ceil_div(cin, C0)
        image = _image(shape, c1, (kh, kw), strides, pads, dilations, offset_x)
        ho, wo = image.output
        k = c1 * kh * kw * C0
        problem, inputs = self._problem(ho * wo, cout, k, sparse, bias, requant, image)
        macs = shape[0] * ho * wo * cout * cin * kh * kw
        if not values:
            return self._timed(problem, tile, cores, macs)
        x, w = _arrays(activations, weight)
        x = x if layout == "NCHW" else x.transpose(0, 3, 1, 2)
        inputs["activations"] = layouts.to_nc1hwc0(x)
        inputs |= _weight_inputs(w, k)
        run = self._run(problem, inputs, tile, requant, macs)
        nhwc = _output(run).reshape(shape[0], ho, wo, cout)
        nchw = nhwc.transpose(0, 3, 1, 2)
        if check is not False:
            expected = dense.accumulate_conv2d(
                x, _original(w, check), _bias_array(bias),
                self._ends(run.program, k, sparse), self.config.overflow, strides=strides,
                pads=pads, dilations=dilations, pad_value=offset_x,
            )  # fmt: skip
            self._compare(
                nhwc.reshape(-1, cout), expected.transpose(0, 2, 3, 1).reshape(-1, cout), requant
            )
        return replace(run, output=np.ascontiguousarray(nchw if layout == "NCHW" else nhwc))

    # --- helpers ----------------------------------------------------------------------------------

    def _demand_mode(self, values: bool, dtype: str, sparse: bool, cores: int) -> None:
        if dtype not in PEAK:
            raise ArgumentError(f"dtype {dtype!r}: choose {' or '.join(PEAK)}")
        if not 1 <= cores <= self.config.cores:
            raise ArgumentError(f"cores {cores}: {self.config.name} has 1 to {self.config.cores}")
        if values and (dtype != "int8" or cores != 1):
            raise ArgumentError(f"dtype {dtype}, cores {cores}: a time only; say values=False")
        if values and sparse:
            raise ArgumentError("sparse: encode the weight, or say values=False")

    def _problem(
        self,
        m: int,
        n: int,
        k: int,
        sparse: bool,
        bias: npt.NDArray[np.int32] | bool | None,
        how: Requant | None,
        image: Image | None = None,
    ) -> tuple[Problem, dict[str, npt.NDArray[Any]]]:
        inputs: dict[str, npt.NDArray[Any]] = {}
        bias = None if bias is False else bias
        if bias is not None and bias is not True:
            bias = np.asarray(bias)
            if bias.dtype != np.int32:
                raise DtypeError(f"bias has dtype {bias.dtype}, not int32")
            if bias.shape != (n,):
                raise ShapeError(f"bias has shape {bias.shape}; this weight takes ({n},)")
            inputs["bias"] = bias
        options: dict[str, Any] = {}
        if how is not None:
            words = how.words(self.config)
            options = {
                "fixpipe": ("v" if how.per_column else "") + how.mode.lower(),
                "relu": how.relu_mode,
                "alpha": how.alpha,
            }
            if how.per_column:
                if words.shape != (n,):
                    raise ShapeError(f"requant has {len(words)} columns; this weight has {n}")
                inputs["words"] = words
            else:
                options["word"] = int(words[0])
        return Problem(m, n, k, sparse, image, bias is not None, **options), inputs

    def _timed(self, problem: Problem, tile: Tile | None, cores: int, macs: int) -> Run:
        """A run without values."""
        if problem.sparse and not self.config.sparsity:
            raise ArgumentError(f"{self.config.name} has no 2:4 sparsity")
        return self._planned(problem, tile, cores, macs)

    def _planned(self, problem: Problem, tile: Tile | None, cores: int, macs: int) -> Run:
        if 0 in (problem.m, problem.n, problem.batch):
            return Run(None, self.config, {}, cores=cores)
        if problem.k == 0:
            raise ShapeError("K is 0: there is nothing to multiply")
        return Run(None, self.config, {}, plan_for(problem, self.config, tile), cores, macs)

    def _run(
        self,
        problem: Problem,
        inputs: dict[str, npt.NDArray[Any]],
        tile: Tile | None,
        how: Requant | None,
        macs: int,
    ) -> Run:
        if problem.bias and "bias" not in inputs:
            raise ArgumentError("bias True: give the array, or say values=False")
        dtype = np.dtype(np.int32) if how is None else how.dtype
        run = self._planned(problem, tile, 1, macs)
        if run.plan is None:
            return replace(run, output=np.empty((0,), dtype))
        program = chip.core_program(run.plan, limit=None)
        buffers = self.execute(program, inputs)
        output = buffers["output"].view(dtype)
        return replace(run, output=output, buffers=buffers, compiled=program)

    def _ends(self, program: isa.Program, k: int, sparse: bool) -> Sequence[int]:
        """The k after which the unit adds to its accumulator."""
        if self.config.grain == "step":
            step = 64 if sparse else 32
            return [*range(step, k, step), k]
        ends, at = [], 0
        for instruction in program.instructions:
            if isinstance(instruction, isa.Mmad):
                at += instruction.k
                ends.append(at)
                if at == k:
                    break
        return ends

    def _compare(
        self, got: npt.NDArray[Any], accumulators: npt.NDArray[np.int32], how: Requant | None
    ) -> None:
        expected: npt.NDArray[Any] = accumulators
        if how is not None:
            words = how.words(self.config)
            if how.mode == "REQ8":
                expected = requant.requantise(
                    accumulators, words, self.config, how.relu_mode, how.alpha
                ).view(how.dtype)
            else:
                expected = requant.dequantise(accumulators, words, how.relu_mode, how.alpha)
        if not np.array_equal(got, expected):
            raise MismatchError(got, expected)


def _shape(operand: Any, name: str) -> tuple[int, ...]:
    """The shape of an array, or the shape that stands in its place."""
    shape = operand if isinstance(operand, tuple | list) else getattr(operand, "shape", None)
    if shape is None or not all(isinstance(size, int) and size >= 0 for size in shape):
        raise ShapeError(f"{name}: give an array, or its shape as a tuple of whole numbers")
    return tuple(shape)


def _arrays(
    activations: Any, weight: Any
) -> tuple[npt.NDArray[np.int8], SparseWeight | npt.NDArray[np.int8]]:
    """The operands, where values are asked for and shapes are not enough."""
    if not isinstance(weight, SparseWeight):
        weight = int8_array(weight, "weight")
    return int8_array(activations, "activations"), weight


def _output(run: Run) -> npt.NDArray[Any]:
    assert run.output is not None
    return run.output


def _bias_array(bias: npt.NDArray[np.int32] | bool | None) -> npt.NDArray[np.int32] | None:
    return None if isinstance(bias, bool) else bias


def _matrix_weight(weight: Weight, sparse: bool) -> tuple[int, int, bool]:
    """N, K and whether it is sparse."""
    if isinstance(weight, SparseWeight):
        if weight.kind != "matrix" or len(weight.shape) != 2:
            raise ShapeError(
                f"the weight is of kind {weight.kind!r} and shape {weight.shape}; a matrix "
                f"multiplication takes kind 'matrix' and shape (N, K)"
            )
        return weight.shape[0], weight.shape[1], True
    shape = _weight_shape(weight)
    if len(shape) != 2:
        raise ShapeError(f"weight has shape {shape}; it takes (N, K)")
    return shape[0], shape[1], sparse


def _weight_shape(weight: Any) -> tuple[int, ...]:
    if isinstance(weight, tuple | list):
        return _shape(weight, "weight")
    return int8_array(weight, "weight").shape


def _conv_weight(weight: Weight, sparse: bool) -> tuple[tuple[int, int, int, int], bool]:
    """(Cout, Cin, Kh, Kw) and whether it is sparse."""
    if isinstance(weight, SparseWeight):
        if weight.kind != "conv":
            raise ShapeError("the weight is of kind 'matrix'; encode it with encode_conv")
        shape, sparse = weight.shape, True
    else:
        shape = _weight_shape(weight)
        if len(shape) != 4:
            raise ShapeError(f"weight has shape {shape}; it takes (Cout, Cin, Kh, Kw)")
    cout, cin, kh, kw = shape
    if 0 in (cin, kh, kw):
        raise ShapeError(f"weight has shape {shape}: there is nothing to multiply")
    return (cout, cin, kh, kw), sparse


def _image(
    shape: tuple[int, ...],
    c1: int,
    kernel: tuple[int, int],
    strides: tuple[int, int],
    pads: tuple[int, int, int, int],
    dilations: tuple[int, int],
    pad_value: int,
) -> Image:
    for name, values, fields in (
        ("kernel", kernel, ("kernel_h", "kernel_w")),
        ("strides", strides, ("stride_h", "stride_w")),
        ("pads", pads, ("pad_top", "pad_left", "pad_bottom", "pad_right")),
        ("dilations", dilations, ("dilation_h", "dilation_w")),
    ):
        limits = [isa.LIMITS[isa.Load3D][field] for field in fields]
        if len(values) != len(fields) or any(
            int(value) != value or not low <= value <= high
            for value, (low, high) in zip(values, limits, strict=True)
        ):
            low, high = limits[0]
            raise ArgumentError(
                f"{name} {tuple(values)}: the unit takes {len(fields)} whole numbers from {low} to "
                f"{high}"
            )
    if not all(1 <= size <= isa.LIMITS[isa.Load3D]["h"][1] for size in shape[2:]):
        raise ShapeError(
            f"an image of {shape[2:]} does not fit: the unit takes 1 to "
            f"{isa.LIMITS[isa.Load3D]['h'][1]} rows and columns"
        )
    if not -128 <= pad_value <= 127:
        raise ArgumentError(f"offset_x {pad_value}: it takes -128 to 127")
    image = Image(shape[0], c1, shape[2], shape[3], kernel, strides, pads, dilations, pad_value)
    if min(image.output) < 1:
        raise ShapeError(f"a kernel of {kernel} does not fit an image of {shape[2:]} with {pads}")
    return image


def _weight_inputs(
    weight: SparseWeight | npt.NDArray[np.int8], k: int, rows: bool = False
) -> dict[str, npt.NDArray[Any]]:
    """The weight as it stands in GM: fractals, or rows."""
    if isinstance(weight, SparseWeight):
        zn = weight.to_fractal()
        return {"dense": zn.dense, "index": zn.index}
    if rows:
        return {"weights": weight}
    if weight.ndim == 4:
        weight = layouts.conv_rows(weight)
    return {"weights": layouts.to_zn(weight)}


def _original(
    weight: SparseWeight | npt.NDArray[np.int8], check: bool | npt.NDArray[np.int8]
) -> npt.NDArray[np.int8]:
    if isinstance(check, np.ndarray):
        original = int8_array(check, "check")
        if original.shape != weight.shape:
            raise ShapeError(f"check has shape {original.shape}; the weight has {weight.shape}")
        return original
    return decode(weight) if isinstance(weight, SparseWeight) else weight
