"""Unit: layers on a simulated unit, with values or with time alone.

``run`` computes a layer from the bytes, ``time`` counts its cycles from its sizes. ``matmul``,
``conv2d`` and ``fully_connected`` take the layer from the shapes of their arrays.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cube24.encoder import SparseWeight, check_out, decode, int8_array
from cube24.errors import ArgumentError, CheckFailedError, DtypeError, ShapeError, StrPath
from cube24.simulator import dense, direct, isa, layouts, machine, requant, timing
from cube24.simulator.account import Timing
from cube24.simulator.config import UnitConfig, config_of
from cube24.simulator.layer import Conv2d, Layer, Matmul, flattened
from cube24.simulator.requant import Requant
from cube24.simulator.run import PEAK, Run
from cube24.simulator.tiler import Plan, Problem, Tile
from cube24.simulator.writer import plan_for
from cube24.sizes import plain, shown, truth, whole

#: A weight as a unit takes it: encoded, or dense int8.
Weight = SparseWeight | npt.NDArray[np.int8]


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
        return machine.execute(program, inputs or {}, self.config)

    def schedule(self, program: isa.Program) -> Timing:
        """Count the cycles of a program, without running it.

        Raises:
            ScheduleError: an instruction that no unit has, or a flag that is set twice.
            DeadlockError: the program stops; the message says where and why.
        """
        return timing.schedule(program, self.config)

    def run(
        self,
        layer: Layer,
        activations: npt.NDArray[np.int8],
        weight: Weight,
        *,
        bias: npt.NDArray[np.int32] | None = None,
        requant: Requant | None = None,
        tile: Tile | None = None,
        check: bool | npt.NDArray[np.int8] = False,
        weight_rows: bool = False,
        exact_steps: bool = False,
        threads: int | None = None,
        out: npt.NDArray[Any] | None = None,
    ) -> Run:
        """Compute a layer.

        Where no sum on the way to a result can leave int32, all products are added up at once; that
        gives the same bits as the instructions, which are run otherwise. Memory images and the
        program are made when the run is asked for them.

        Args:
            layer: what is computed.
            activations: int8, of the shape ``layer.activations``: (M, K), or NCHW.
            weight: an encoded weight of the shape ``layer.weight``, of kind ``matrix`` for a
                Matmul and ``conv`` for a Conv2d; or a dense int8 array of this shape, which runs
                without sparsity.
            bias: int32 (N,).
            requant: how results become int8, uint8 or fp16; None: int32.
            tile: tile sizes; None: chosen to fill the buffers.
            check: compare with the dense computation from the original weight, given here; True:
                from the weight that the bytes decode to.
            weight_rows: the dense weight of a Matmul stands in GM as rows (N, K), not as fractals.
            exact_steps: run the instructions, one after the other, in any case.
            threads: of this machine, which share the work where all products are added up at once;
                None: as the environment variable ``CUBE24_THREADS`` says, else one for each core
                that this process may use, and one alone for a small layer. Not with exact_steps.
            out: a C-contiguous array of the type and shape of the output, which is written to it.

        Returns:
            A run with output of the shape ``layer.output``: (M, N), or NCHW.

        Raises:
            DtypeError, ShapeError, ArgumentError, OutBufferError: the arguments do not fit.
            TilingError: the tile does not fit the unit.
            ExecutionError: the unit cannot run it, such as an index of 3 or a missing sparsity.
            MismatchError: check failed.
        """
        _demand_layer(layer)
        return self._run(
            layer, activations, weight, False, bias=bias, requant=requant, tile=tile, check=check,
            weight_rows=weight_rows, exact_steps=exact_steps, threads=threads, out=out,
        )  # fmt: skip

    def _run(
        self,
        layer: Layer,
        activations: npt.NDArray[np.int8],
        weight: Weight,
        nhwc: bool,
        *,
        bias: npt.NDArray[np.int32] | None = None,
        requant: Requant | None = None,
        tile: Tile | None = None,
        check: bool | npt.NDArray[np.int8] = False,
        weight_rows: bool = False,
        exact_steps: bool = False,
        threads: int | None = None,
        out: npt.NDArray[Any] | None = None,
    ) -> Run:
        """The same; nhwc: activations and output of a convolution are NHWC."""
        x, w = int8_array(activations, "activations"), weight
        if not isinstance(w, SparseWeight):
            w = int8_array(w, "weight")
        _demand_fit(layer, x.transpose(0, 3, 1, 2) if nhwc else x, w)
        sparse = isinstance(w, SparseWeight)
        added = _bias_of(layer, bias)
        problem = self._problem(layer, sparse, bias is not None, requant, "int8", weight_rows)
        output = _out_of(layer, requant, nhwc, out, (x, w, added))
        stepwise = truth(exact_steps, "exact_steps")
        if threads is not None:
            whole(threads, "threads", 1)
            if stepwise:
                raise ArgumentError("threads: with exact_steps instructions run one by one")
        plan = self._plan(problem, tile)
        if plan is None:
            return Run(output, self.config, exact_steps=stepwise)
        stepwise = stepwise or not direct.compute(
            layer, x, w, added, requant, self.config, nhwc=nhwc, threads=threads, out=output
        )

        def operands() -> Mapping[str, npt.NDArray[Any]]:
            image = x.transpose(0, 3, 1, 2) if nhwc else x
            return _inputs(layer, image, w, weight_rows) | _columns(added, requant, self.config)

        run = Run(output, self.config, plan, 1, stepwise, operands)
        if stepwise:
            _put(layer, run.buffers["output"], output, nhwc)
        if not isinstance(check, bool | np.bool_) or check:
            ends = self._ends(run, sparse)
            image = x.transpose(0, 3, 1, 2) if nhwc else x
            expected = self._accumulators(layer, image, _original(w, check), added, ends)
            self._compare(_rows(layer, output, nhwc), expected, requant)
        return run

    def time(
        self,
        layer: Layer,
        *,
        sparse: bool = True,
        dtype: str = "int8",
        bias: bool = False,
        requant: Requant | None = None,
        tile: Tile | None = None,
        weight_rows: bool = False,
        cores: int = 1,
    ) -> Run:
        """Count the cycles of a layer from its sizes: time never depends on values.

        Args:
            layer: what is computed.
            sparse: whether the weight is 2:4.
            dtype: of the operands: ``int8``, or ``float16`` for a dense Matmul without requant and
                bias.
            bias: whether there is one.
            requant: as for :meth:`run`.
            tile: as for :meth:`run`.
            weight_rows: as for :meth:`run`.
            cores: of the unit, which share the work.

        Returns:
            A run without output.

        Raises:
            ShapeError, ArgumentError: the arguments do not fit each other or the unit.
            TilingError: the tile does not fit the unit.
        """
        if not isinstance(bias, bool | np.bool_):
            raise ArgumentError("bias: a time needs to know only whether there is one; say True")
        _demand_layer(layer)
        bias, sparse = bool(bias), truth(sparse, "sparse")
        named = plain(dtype)
        if not isinstance(named, str) or named not in PEAK:
            raise ArgumentError(f"dtype {shown(dtype)}: choose {' or '.join(PEAK)}")
        if (
            not 1
            <= (cores := whole(cores, "cores", -isa.LARGEST, isa.LARGEST))
            <= (self.config.cores)
        ):
            raise ArgumentError(f"cores {cores}: {self.config.name} has 1 to {self.config.cores}")
        if sparse and not self.config.sparsity:
            raise ArgumentError(f"{self.config.name} has no 2:4 sparsity; say sparse=False")
        problem = self._problem(layer, sparse, bias, requant, dtype, weight_rows)
        return Run(None, self.config, self._plan(problem, tile), cores)

    def matmul(
        self,
        activations: npt.NDArray[np.int8],
        weight: Weight,
        bias: npt.NDArray[np.int32] | None = None,
        requant: Requant | None = None,
        *,
        tile: Tile | None = None,
        check: bool | npt.NDArray[np.int8] = False,
        weight_rows: bool = False,
        exact_steps: bool = False,
        threads: int | None = None,
        out: npt.NDArray[Any] | None = None,
        **old: Any,
    ) -> Run:
        """Multiply int8 activations (M, K) by the transpose of a weight (N, K): :meth:`run`.

        Raises:
            Cube24Error: as for :meth:`run`.
        """
        timed = _asks_time(old)
        _demand_kind(weight, "matrix")
        layer = Matmul.of(_shape(activations, "activations"), _shape(weight, "weight"))
        if timed:
            return self._old_time(layer, weight, bias, requant, tile, check, weight_rows, old)
        return self._run(
            layer, activations, weight, False, bias=bias, requant=requant, tile=tile, check=check,
            weight_rows=weight_rows, exact_steps=exact_steps, threads=threads, out=out,
        )  # fmt: skip

    def fully_connected(
        self,
        activations: npt.NDArray[np.int8],
        weight: Weight,
        bias: npt.NDArray[np.int32] | None = None,
        requant: Requant | None = None,
        **options: Any,
    ) -> Run:
        """A fully connected layer: activations (B, ...) are flattened to (B, K) for :meth:`matmul`.

        Args:
            activations: int8 (B, ...).
            weight: as for :meth:`matmul`. bias, requant, options: too.

        Raises:
            Cube24Error: as for :meth:`run`.
        """
        flat: Any = flattened(_shape(activations, "activations"))
        if not _is_shape(activations):
            flat = int8_array(activations, "activations").reshape(flat)
        return self.matmul(flat, weight, bias, requant, **options)

    def conv2d(
        self,
        activations: npt.NDArray[np.int8],
        weight: Weight,
        bias: npt.NDArray[np.int32] | None = None,
        requant: Requant | None = None,
        *,
        strides: tuple[int, int] = (1, 1),
        pads: tuple[int, int, int, int] = (0, 0, 0, 0),
        dilations: tuple[int, int] = (1, 1),
        offset_x: int = 0,
        data_format: str = "NCHW",
        tile: Tile | None = None,
        check: bool | npt.NDArray[np.int8] = False,
        exact_steps: bool = False,
        threads: int | None = None,
        out: npt.NDArray[Any] | None = None,
        **old: Any,
    ) -> Run:
        """Convolve int8 activations with a weight (Cout, Cin, Kh, Kw): :meth:`run`.

        Args:
            activations: (B, Cin, H, W), or (B, H, W, Cin) for data_format ``NHWC``.
            weight, bias, requant, tile, check, exact_steps, threads, out: as for :meth:`run`.
            strides, pads, dilations, offset_x: as for :class:`Conv2d`.
            data_format: of activations and output, ``NCHW`` or ``NHWC``.

        Raises:
            Cube24Error: as for :meth:`run`.
        """
        timed = _asks_time(old)
        _demand_kind(weight, "conv")
        layer = Conv2d.of(
            _shape(activations, "activations"), _shape(weight, "weight"), strides=strides,
            pads=pads, dilations=dilations, offset_x=offset_x, data_format=data_format,
        )  # fmt: skip
        nhwc = data_format == "NHWC"
        if timed:
            return self._old_time(layer, weight, bias, requant, tile, check, False, old)
        return self._run(
            layer, activations, weight, nhwc, bias=bias, requant=requant, tile=tile, check=check,
            exact_steps=exact_steps, threads=threads, out=out,
        )  # fmt: skip

    # --- helpers ----------------------------------------------------------------------------------

    def _old_time(
        self,
        layer: Layer,
        weight: Any,
        bias: Any,
        requant: Requant | None,
        tile: Tile | None,
        check: Any,
        weight_rows: bool,
        old: dict[str, Any],
    ) -> Run:
        """What ``values=False`` meant before there was :meth:`time`."""
        warnings.warn(
            "values=False is old; call Unit.time(layer)", DeprecationWarning, stacklevel=3
        )
        if check is not False:
            raise ArgumentError("check: a time has no values to compare")
        encoded = isinstance(weight, SparseWeight)
        sparse = truth(old.pop("sparse", encoded), "sparse")
        if encoded and not sparse:
            raise ArgumentError("sparse=False: this weight is encoded")
        return self.time(
            layer, sparse=sparse, bias=bias is not None and bias is not False, requant=requant,
            tile=tile, weight_rows=weight_rows, **old,
        )  # fmt: skip

    def _problem(
        self,
        layer: Layer,
        sparse: bool,
        bias: bool,
        requant: Requant | None,
        dtype: str,
        weight_rows: bool,
    ) -> Problem:
        if truth(weight_rows, "weight_rows") and (sparse or isinstance(layer, Conv2d)):
            raise ArgumentError("weight_rows: only the dense weight of a Matmul stands as rows")
        if dtype == "float16":
            if isinstance(layer, Conv2d):
                raise ArgumentError("float16 has a time for matrix multiplications only")
            if sparse or bias or requant is not None:
                raise ArgumentError("float16 takes no requant, no bias and no sparse weight")
            return Problem(layer, sparse, fixpipe="fp16", dtype=dtype, weight_rows=weight_rows)
        if requant is None:
            return Problem(layer, sparse, bias, weight_rows=weight_rows)
        words, columns = requant.words(self.config), requant.per_column
        if columns and words.shape != (layer.n,):
            raise ShapeError(f"requant has {len(words)} columns; this weight has {layer.n}")
        return Problem(
            layer, sparse, bias, ("v" if columns else "") + requant.mode.lower(),
            0 if columns else int(words[0]), requant.relu_mode, requant.alpha,
            weight_rows=weight_rows,
        )  # fmt: skip

    def _plan(self, problem: Problem, tile: Tile | None) -> Plan | None:
        """How the problem is cut; None if it is empty."""
        if 0 in (problem.m, problem.n, problem.batch):
            return None
        return plan_for(problem, self.config, tile)

    def _accumulators(
        self,
        layer: Layer,
        x: npt.NDArray[np.int8],
        weight: npt.NDArray[np.int8],
        bias: npt.NDArray[np.int32] | None,
        ends: Sequence[int],
    ) -> npt.NDArray[np.int32]:
        """The dense computation, as rows of results."""
        overflow = self.config.overflow
        if isinstance(layer, Matmul):
            return dense.accumulate_matmul(x, weight, bias, ends, overflow)
        found = dense.accumulate_conv2d(
            x, weight, bias, ends, overflow, strides=layer.strides, pads=layer.pads,
            dilations=layer.dilations, pad_value=layer.offset_x,
        )  # fmt: skip
        return found.transpose(0, 2, 3, 1).reshape(-1, layer.n)

    def _ends(self, run: Run, sparse: bool) -> Sequence[int]:
        """The k after which the unit adds to its accumulator."""
        assert run.plan is not None
        k = run.plan.problem.k
        if self.config.grain == "step":
            step = 64 if sparse else 32
            return [*range(step, k, step), k]
        ends, at = [], 0
        for instruction in run.program.instructions:
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


#: Arguments that ``values=False`` took with it; they are those of :meth:`Unit.time` now.
_OLD = {"values", "sparse", "dtype", "cores"}


def _asks_time(old: dict[str, Any]) -> bool:
    """Whether ``values=False`` is said, as before there was :meth:`Unit.time`; taken out of old."""
    if unknown := sorted(old.keys() - _OLD):
        raise TypeError(f"unknown argument {', '.join(unknown)}")
    if not truth(old.pop("values", True), "values"):
        return True
    if old:
        raise ArgumentError(f"{', '.join(sorted(old))}: of Unit.time(layer), not of values")
    return False


# --- operands -------------------------------------------------------------------------------------


def _is_shape(operand: Any) -> bool:
    return isinstance(operand, tuple | list) and all(isinstance(size, int) for size in operand)


def _shape(operand: Any, name: str) -> tuple[int, ...]:
    """The shape of an array, or the shape that stands in its place where time is asked for."""
    if _is_shape(operand):
        return tuple(operand)
    if isinstance(operand, SparseWeight):
        return operand.shape
    return int8_array(operand, name).shape


def _demand_kind(weight: Any, kind: str) -> None:
    if isinstance(weight, SparseWeight) and weight.kind != kind:
        raise ShapeError(
            f"the weight is of kind {weight.kind!r} and shape {weight.shape}; this layer takes "
            f"kind {kind!r}: encode it with {'encode' if kind == 'matrix' else 'encode_conv'}"
        )


def _demand_layer(layer: object) -> None:
    if not isinstance(layer, Layer):
        raise ArgumentError(f"layer is {shown(layer)}; it takes a Matmul or a Conv2d")


def _demand_fit(layer: Layer, x: npt.NDArray[np.int8], weight: Weight) -> None:
    """Refuse arrays that are not those of a layer."""
    _demand_kind(weight, "matrix" if isinstance(layer, Matmul) else "conv")
    if weight.shape != layer.weight:
        raise ShapeError(f"weight has shape {weight.shape}; this layer takes {layer.weight}")
    if x.shape != layer.activations:
        raise ShapeError(f"activations have shape {x.shape}; this layer takes {layer.activations}")


def _bias_of(layer: Layer, bias: object) -> npt.NDArray[np.int32] | None:
    if bias is None:
        return None
    if isinstance(bias, bool):
        raise ArgumentError("bias: give the array; whether there is one is of Unit.time(layer)")
    array = np.asarray(bias)
    if array.dtype != np.int32:
        raise DtypeError(f"bias has dtype {array.dtype}, not int32")
    if array.shape != (layer.n,):
        raise ShapeError(f"bias has shape {array.shape}; this weight takes ({layer.n},)")
    return array


def _inputs(
    layer: Layer, x: npt.NDArray[np.int8], weight: Weight, weight_rows: bool
) -> dict[str, npt.NDArray[Any]]:
    """Activations and weight as they stand in GM."""
    inputs: dict[str, npt.NDArray[Any]] = {
        "activations": x if isinstance(layer, Matmul) else layouts.to_nc1hwc0(x)
    }
    if isinstance(weight, SparseWeight):
        zn = weight.to_fractal()
        return inputs | {"dense": zn.dense, "index": zn.index}
    if isinstance(layer, Conv2d):
        weight = layouts.conv_rows(weight)
    return inputs | {"weights": weight if weight_rows else layouts.to_zn(weight)}


def _columns(
    bias: npt.NDArray[np.int32] | None, how: Requant | None, config: UnitConfig
) -> dict[str, npt.NDArray[Any]]:
    """What stands in GM for each column of results."""
    inputs: dict[str, npt.NDArray[Any]] = {} if bias is None else {"bias": bias}
    if how is not None and how.per_column:
        inputs["words"] = how.words(config)
    return inputs


def _out_of(
    layer: Layer,
    how: Requant | None,
    nhwc: bool,
    out: npt.NDArray[Any] | None,
    inputs: tuple[SparseWeight | npt.NDArray[Any] | None, ...],
) -> npt.NDArray[Any]:
    """The array of the output: a new one, or the one that was given."""
    dtype = np.dtype(np.int32) if how is None else how.dtype
    shape = layer.output
    if nhwc:
        shape = (shape[0], *shape[2:], shape[1])
    if out is None:
        return np.empty(shape, dtype)
    arrays: list[npt.NDArray[Any]] = []
    for given in inputs:
        if isinstance(given, SparseWeight):
            arrays += [given.dense, given.index]
        elif given is not None:
            arrays.append(given)
    check_out(out, "out", dtype, shape, tuple(arrays))
    return out


def _rows(layer: Layer, output: npt.NDArray[Any], nhwc: bool) -> npt.NDArray[Any]:
    """The output as rows of results."""
    last = nhwc or isinstance(layer, Matmul)
    return (output if last else output.transpose(0, 2, 3, 1)).reshape(-1, layer.n)


def _put(layer: Layer, buffer: npt.NDArray[np.uint8], output: npt.NDArray[Any], nhwc: bool) -> None:
    """Rows of results in GM to the output."""
    rows = buffer.view(output.dtype)
    if isinstance(layer, Matmul):
        output[...] = rows.reshape(output.shape)
        return
    made = rows.reshape(layer.batch, *layer.positions, layer.n)
    output[...] = made if nhwc else made.transpose(0, 3, 1, 2)


def _original(
    weight: SparseWeight | npt.NDArray[np.int8], check: bool | npt.NDArray[np.int8]
) -> npt.NDArray[np.int8]:
    if not isinstance(check, bool | np.bool_):
        original = int8_array(check, "check")
        if original.shape != weight.shape:
            raise ShapeError(f"check has shape {original.shape}; the weight has {weight.shape}")
        return original
    return decode(weight) if isinstance(weight, SparseWeight) else weight
