"""Small models with bytes or fields changed at random, as disks, networks and people do it.

``python tests/mutated_models.py COUNT [SEED]`` tries so many by hand and says what came of them.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import onnx
from graph_attack import behind, op, said_of
from onnx_makers import quantised_conv, quantised_matmul
from sparse_weights import sparse_weight


def seeds() -> list[bytes]:
    """Good models in several forms, small so that few of the bytes are weights."""
    conv, matrix = sparse_weight((2, 8, 1, 1)), sparse_weight((4, 8))
    models = [
        quantised_conv("QLinearConv", conv, x_shape=(1, 8, 3, 3), bias=np.int32([1, 2])),
        quantised_conv("qdq", conv, x_shape=(1, 8, 3, 3), auto_pad="SAME_UPPER", strides=(2, 1)),
        quantised_conv("ConvInteger", conv, x_shape=(1, 8, 3, 3), where="constant"),
        quantised_conv("QLinearConv", conv, x_shape=(1, 8, 3, 3), where="subgraph"),
        quantised_conv("QLinearConv", conv, x_shape=(1, 8, 3, 3), where="quantised"),
        quantised_matmul("QLinearMatMul", matrix, x_shape=(2, 8), where="transposed"),
        quantised_matmul("MatMulInteger", matrix, x_shape=(2, 8), where="concat"),
        behind(
            op("Shape", "weight", "s"), op("Gather", "s,i", "t"), op("Tile", "v,t", "u"),
            op("Reshape", "weight,s"), i=np.array([0, 3]), v=np.int8([[1]]),
        ),
    ]  # fmt: skip
    return [model.SerializeToString() for model in models]


#: Numbers that are read as sizes, counts and types.
_ODD = (0, 1, 2, 3, 7, 8, 16, 0x7F, 0x80, 0xFF)


def mutated(random: Random, data: bytes) -> bytes:
    """The bytes with one to four changes."""
    new = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        at = random.randrange(len(new)) if new else 0
        kind = random.randrange(6)
        if not new or kind == 0:
            new[at:at] = bytes(random.choice(_ODD) for _ in range(random.randint(1, 10)))
        elif kind == 1:
            new[at] ^= 1 << random.randrange(8)
        elif kind == 2:
            new[at] = random.choice(_ODD)
        elif kind == 3:
            del new[at : at + random.randint(1, 8)]
        elif kind == 4:  # a piece of it elsewhere
            start = random.randrange(len(new))
            new[at:at] = new[start : start + random.randint(1, 40)]
        else:  # a piece in the place of another one
            start, size = random.randrange(len(new)), random.randint(1, 12)
            new[at : at + size] = new[start : start + size]
    return bytes(new)


#: Values for a field of a message, by its kind.
_NUMBERS = (-(2**63), -1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 16, 17, 64, 2**31, 2**40, 2**62)
_FLOATS = (0.0, -1.0, 1e-45, 3e38, float("inf"), float("nan"))


def changed(random: Random, data: bytes) -> bytes:
    """The model with one to three fields that hold something else, and still a message."""
    model = onnx.load_model_from_string(data)
    for _ in range(random.choice((1, 1, 2, 3))):
        place, name, index = random.choice(list(_places(model)))
        value = getattr(place, name)
        old = value if index is None else value[index]
        new: Any
        if isinstance(old, str):
            words = [p[2] is None and getattr(p[0], p[1]) for p in _places(model)]
            new = random.choice([w for w in words if isinstance(w, str)] + ["", "x", "y"])
        elif isinstance(old, bytes):
            new = mutated(random, old)
        elif isinstance(old, float):
            new = random.choice(_FLOATS)
        else:
            new = random.choice((*_NUMBERS, old + 1, old - 1))
        try:
            if random.random() < 0.2:
                place.ClearField(name)
            elif index is None:
                setattr(place, name, new)
            else:
                value[index] = new
        except (ValueError, TypeError):  # the field holds no such number
            place.ClearField(name)
    return bytes(model.SerializeToString())


def _places(message: Any) -> Iterator[tuple[Any, str, int | None]]:
    """All fields of a message and those inside that hold a value."""
    for field, value in message.ListFields():
        repeated = hasattr(value, "extend")
        if field.message_type is not None:
            for each in value if repeated else (value,):
                yield from _places(each)
        elif repeated:
            for index in range(len(value)):
                yield message, field.name, index
        else:
            yield message, field.name, None


def models(count: int, seed: int) -> Iterator[bytes]:
    """Changed models: as bytes, and as messages, in turn."""
    random, good = Random(seed), seeds()
    for number in range(count):
        yield (changed if number % 2 else mutated)(random, random.choice(good))


def main() -> None:
    count, seed = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    path = Path(tempfile.mkdtemp()) / "model.onnx"
    outcomes: Counter[str] = Counter()
    begin, slowest = time.perf_counter(), 0.0
    for data in models(count, seed):
        path.write_bytes(data)
        start = time.perf_counter()
        outcomes[" ".join(said_of(path).split()[:3])] += 1
        slowest = max(slowest, time.perf_counter() - start)
    for said, times in outcomes.most_common(40):
        print(f"{times:8d} {said}")
    print(f"{count} models in {time.perf_counter() - begin:.0f} s, the slowest {slowest:.2f} s")


if __name__ == "__main__":
    main()
