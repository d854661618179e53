"""Errors cross processes: each class can be pickled and copied, and says the same afterwards."""

import copy
import errno
import pickle
import pkgutil
from collections.abc import Callable
from importlib import import_module
from multiprocessing import get_context

import numpy as np
import pytest
from onnx_makers import quantised_matmul

import cube24
from cube24 import encoder, graph, simulator
from cube24 import errors as ground
from cube24.graph.model import of_proto
from cube24.simulator import functional, isa
from cube24.vectors import campaign, plain, processes, shrink, spec_check, verification

for module in pkgutil.walk_packages(cube24.__path__, "cube24."):
    if not module.name.endswith(".__main__"):
        import_module(module.name)


def subclasses(kind: type[ground.Cube24Error]) -> set[type[ground.Cube24Error]]:
    """A class and all below it."""
    return {kind}.union(*(subclasses(below) for below in kind.__subclasses__()))


def caught(function: Callable[..., object], *arguments: object) -> ground.Cube24Error:
    with pytest.raises(ground.Cube24Error) as error:
        function(*arguments)
    return error.value


def strict_compile() -> None:
    proto = quantised_matmul("QLinearMatMul", np.ones((2, 8), np.int8), x_shape=(1, 8))
    graph.compile(of_proto(proto), sparsity=1, strict=True)


BARRIER = isa.Barrier("M")

# One of each class, as the package makes it. A class that is missing here fails the test below.
MADE = [
    ground.Cube24Error("what, where, what to do"),
    ground.ArgumentError("no such option"),
    ground.DtypeError("no such type"),
    ground.ShapeError("no such shape", (1, 2)),
    ground.OutBufferError("read-only"),
    ground.MissingExtraError("drawing needs matplotlib"),
    ground.CheckFailedError("differs"),
    ground.FileFormatError("w.npy", "truncated", 17),
    ground.FileAccessError.from_os("w.npy", "read", FileNotFoundError(errno.ENOENT, "not there")),
    caught(encoder.encode, np.ones((1, 8), np.int8)),
    caught(
        encoder.decode,
        encoder.SparseWeight(np.zeros((1, 4), np.int8), np.uint8([[3]]), (1, 8)),
    ),
    functional.AccumulatorError("output (0, 0) is 2147483648"),
    isa.ProgramError("line 1: no number"),
    simulator.ConfigError("l1_bytes is 0"),
    simulator.TilingError("tile m is 3"),
    simulator.RequantError("word 0: its scale is not finite"),
    simulator.MismatchError(np.int32([[1, 2]]), np.int32([[1, 3]])),
    *(
        kind(3, BARRIER, "cannot run")
        for kind in (
            simulator.ExecutionError, simulator.CapacityError, simulator.AlignmentError,
            simulator.RangeError, simulator.IllegalIndexError, simulator.FlagError,
            simulator.UnsupportedError,
        )
    ),
    simulator.ScheduleError("a flag is set twice"),
    simulator.DeadlockError("the program stops", [("M", 2)], [2, 3], 4),
    caught(strict_compile),
    verification.VerifyError("expected differs"),
    campaign.CampaignError("a worker was killed"),
    campaign.CampaignMismatchError("two results"),
    processes.WorkerError("a worker was killed"),
    shrink.DeviceError("the command ended with 3"),
    shrink.LimitError("3 runs"),
    spec_check.SpecError("sizes.m is missing"),
    plain.ScratchError.from_os("TMPDIR", "write", OSError(errno.ENOSPC, "no space")),
    plain.NotPlainError("dense.hex", "is a FIFO"),
]  # fmt: skip


def test_each_class_of_errors_is_tried_here():
    ours = {kind for kind in subclasses(ground.Cube24Error) if kind.__module__.startswith("cube24")}
    assert ours == {type(error) for error in MADE}
    assert len(MADE) == len(ours) >= 25


#: What is asked of an error, beside the attributes that it has itself.
FACTS = ("errno", "strerror", "filename", "filename2", "msg", "name", "path")


def facts(error: ground.Cube24Error) -> dict[str, object]:
    """All that can be read off an error."""
    found = {name: getattr(error, name) for name in FACTS if hasattr(error, name)}
    return (
        vars(error)
        | found
        | {
            "": (type(error), error.args, str(error), repr(error), error.exit_code),
        }
    )


COPIES: dict[str, Callable[[ground.Cube24Error], ground.Cube24Error]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    **{
        f"pickle {protocol}": lambda error, protocol=protocol: pickle.loads(
            pickle.dumps(error, protocol)
        )
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    },
}


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("error", MADE, ids=lambda error: type(error).__name__)
def test_a_copy_of_an_error_says_what_the_error_says(error, way):
    error.add_note("a note")
    assert facts(COPIES[way](error)) == facts(error)
    assert facts(COPIES[way](COPIES[way](error))) == facts(error)
    error.__notes__.clear()


def test_a_copy_of_a_refused_file_has_the_number_of_the_system_and_the_path():
    error = pickle.loads(pickle.dumps(ground.FileAccessError("w.npy", "disk full", errno.ENOSPC)))
    assert (error.errno, error.path, str(error)) == (errno.ENOSPC, "w.npy", "w.npy: disk full")
    assert error.strerror is None


def test_an_error_of_a_worker_reaches_who_waits_for_it():
    # With a class that cannot be unpickled, the pool would wait for ever.
    with get_context("spawn").Pool(1) as pool:
        told = pool.map_async(encoder.encode, [np.ones((1, 4), np.int8)])
        with pytest.raises(encoder.ViolationError) as error:
            told.get(60)
        assert error.value.count == 1
        assert error.value.offenders[0].coordinates == (0, 0)
        told = pool.map_async(encoder.SparseWeight.load, ["not there"])
        with pytest.raises(encoder.FileAccessError) as refused:
            told.get(60)
        assert refused.value.errno == errno.ENOENT
