"""What runs the parts of a model that the unit does not: onnxruntime, or the evaluator of onnx.

onnxruntime optimises up to its level EXTENDED, and runs on the CPU. The evaluator runs operators of
the standard alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, Literal, get_args

import numpy as np

from cube24.errors import ArgumentError, FileFormatError
from cube24.extras import need
from cube24.graph.model import one_line
from cube24.graph.protos import onnx
from cube24.sizes import shown

#: What runs the rest of a model.
Rest = Literal["onnxruntime", "reference"]

#: What a value is: an array, or a list of arrays.
Value = Any


def chosen(rest: Rest | None) -> Rest:
    """The runtime that was asked for; None: onnxruntime if it is there.

    Raises:
        ArgumentError: there is no such runtime.
        MissingExtraError: its package is not there.
    """
    if rest is None:
        return "onnxruntime" if find_spec("onnxruntime") else "reference"
    if rest not in get_args(Rest):
        raise ArgumentError(f"rest {shown(rest)}: choose {' or '.join(get_args(Rest))}")
    if rest == "onnxruntime":
        need("onnxruntime", "onnx", "running a model")
    return rest


#: Runs a model: its inputs to its outputs, both by name.
Run = Callable[[Mapping[str, Value]], dict[str, Value]]


def evaluate(
    proto: Any, feeds: Mapping[str, Value], outputs: Sequence[str], rest: Rest, path: str
) -> dict[str, Value]:
    """Run a ModelProto once.

    Args:
        proto: with all of its data.
        feeds: its inputs.
        outputs: of it.
        rest: the runtime.
        path: of the model, for messages.

    Raises:
        FileFormatError: the runtime cannot run it.
    """
    return prepared(proto, outputs, rest, path)(feeds)


def prepared(proto: Any, outputs: Sequence[str], rest: Rest, path: str) -> Run:
    """Load a ModelProto, to run it more than once; the arguments are those of :func:`evaluate`.

    Raises:
        FileFormatError: the runtime cannot load it; what is given raises it too.
    """
    load = _onnxruntime if rest == "onnxruntime" else _reference
    with _explained(rest, path):
        run = load(proto, list(outputs))

    def explained(feeds: Mapping[str, Value]) -> dict[str, Value]:
        with _explained(rest, path):
            return dict(zip(outputs, run(feeds), strict=True))

    return explained


@contextmanager
def _explained(rest: Rest, path: str) -> Iterator[None]:
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:  # of the runtime, whatever the file asks of it
        raise FileFormatError(path, f"{rest} cannot run it: {one_line(error)}") from error


def _onnxruntime(proto: Any, outputs: list[str]) -> Callable[[Mapping[str, Value]], list[Value]]:
    package = need("onnxruntime", "onnx", "running a model")
    options = package.SessionOptions()
    options.graph_optimization_level = package.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.log_severity_level = 4
    session = package.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return lambda feeds: list(session.run(outputs, dict(feeds)))


#: Operators that the evaluator has from a version on, which means the same as those before for what
#: those took.
_QUANTISERS = {"QuantizeLinear": "op_quantize_linear", "DequantizeLinear": "op_dequantize_linear"}
_SINCE = 19


def _reference(proto: Any, outputs: list[str]) -> Callable[[Mapping[str, Value]], list[Value]]:
    evaluator = onnx("onnx.reference").ReferenceEvaluator(proto, new_ops=_quantisers(proto))

    def run(feeds: Mapping[str, Value]) -> list[Value]:
        with np.errstate(all="ignore"):
            return list(evaluator.run(outputs, dict(feeds)))

    return run


def _quantisers(proto: Any) -> list[type]:
    """The quantisers of that version, for a model of an older one."""
    if any(each.domain == "" and each.version >= _SINCE for each in proto.opset_import):
        return []
    found = []
    for name, room in _QUANTISERS.items():
        module = onnx(f"onnx.reference.ops.{room}")
        kind = getattr(module, f"{name}_{_SINCE}", None) or getattr(module, name)
        schema = onnx("onnx.defs").get_schema(name, _SINCE)
        found.append(type(name, (kind,), {"op_domain": "", "op_schema": schema}))
    return found
