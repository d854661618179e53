"""Constants behind operators, and operators that a small file asks too much of.

What stands behind good ones is in tests/vectors/test_onnx_layers.py, for all forms.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graph_attack import behind, op, said_of, written
from onnx import TensorProto

from cube24 import graph
from cube24.errors import FileFormatError
from cube24.graph import Constants, folding, less_zero

LARGE = 10**12
MANY = np.zeros(10**6, np.int8)
EIGHT = np.arange(8, dtype=np.int8)
F = EIGHT.astype(np.float32)


def ints(*values: int) -> Any:
    return np.array(values, np.int64)


TOO_LARGE: dict[str, tuple[Any, dict[str, Any]]] = {
    "ConstantOfShape": (op("ConstantOfShape", "s"), {"s": ints(LARGE)}),
    "ConstantOfShape, sizes": (op("ConstantOfShape", "s"), {"s": ints(10**6, 10**6)}),
    "ConstantOfShape, 2^120": (op("ConstantOfShape", "s"), {"s": ints(2**40, 2**40, 2**40)}),
    "Expand": (op("Expand", "d,s"), {"d": EIGHT[:1], "s": ints(LARGE)}),
    "Expand, both": (op("Expand", "d,s"), {"d": MANY[:, None], "s": ints(1, 10**6)}),
    "Tile": (op("Tile", "d,s"), {"d": EIGHT, "s": ints(LARGE)}),
    "Pad": (op("Pad", "d,s"), {"d": EIGHT, "s": ints(LARGE, 0)}),
    "Range": (op("Range", "a,b,c"), {"a": ints(0)[0], "b": ints(LARGE)[0], "c": ints(1)[0]}),
    "Add": (op("Add", "a,b"), {"a": MANY[:, None], "b": MANY}),
    "Where": (op("Where", "c,a,b"), {"c": MANY[:, None] > 0, "a": MANY, "b": EIGHT[0]}),
    "Gather": (op("Gather", "d,i"), {"d": MANY[None], "i": np.zeros(10**6, np.int64)}),
}


@pytest.mark.parametrize("name", TOO_LARGE)
@pytest.mark.timeout(20)
def test_constants_that_no_memory_holds(name: str, tmp_path: Path) -> None:
    node, constants = TOO_LARGE[name]
    said = said_of(written(tmp_path, behind(node, **constants)))
    assert said.startswith(f"node 'w' ({name.split(',')[0]}): a constant of ")
    assert said.endswith(" numbers is too large")


@pytest.mark.timeout(20)
def test_a_constant_that_doubles_at_each_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folding, "LIMIT", 1 << 24)
    nodes = [op("Concat", f"c{i},c{i}", f"c{i + 1}", axis=0) for i in range(60)]
    said = said_of(written(tmp_path, behind(*nodes, op("Identity", "c60"), c0=MANY)))
    assert said.endswith(" numbers is too large")


WRONG: dict[str, tuple[Any, dict[str, Any]]] = {
    "a negative size": (op("ConstantOfShape", "s"), {"s": ints(-1, 5)}),
    "a negative repeat": (op("Tile", "d,s"), {"d": EIGHT, "s": ints(-5)}),
    "more cut than is there": (op("Pad", "d,s"), {"d": EIGHT, "s": ints(-10, 0)}),
    "a step of none": (
        op("Range", "a,b,c"), {"a": ints(0)[0], "b": ints(9)[0], "c": ints(0)[0]},
    ),
    "an index beyond": (op("Gather", "d,i"), {"d": EIGHT, "i": ints(8)}),
    "a shape of other numbers": (op("Reshape", "d,s"), {"d": EIGHT, "s": ints(3, -1)}),
    "a shape of 2^124": (op("Reshape", "d,s"), {"d": EIGHT, "s": ints(2**62, 2**62)}),
    "an axis twice": (op("Transpose", "d", perm=[0, 0]), {"d": EIGHT[None]}),
    "an axis beyond": (op("Concat", "d", axis=7), {"d": EIGHT}),
    "an axis that no array has": (op("Concat", "d", axis=2**31), {"d": EIGHT}),
    "other dimensions": (op("Concat", "d,e", axis=0), {"d": EIGHT, "e": EIGHT[None]}),
    "no such type": (op("Cast", "d", to=99), {"d": EIGHT}),
    "words as numbers": (op("Cast", "d", to=1), {"d": np.array(["a"], object)}),
    "scales that do not fit": (
        op("QuantizeLinear", "d,s,z", axis=0),
        {"d": F, "s": F[1:3], "z": EIGHT[:2]},
    ),
    "an axis of scales beyond": (op("DequantizeLinear", "d,s", axis=77), {"d": EIGHT, "s": F[1:3]}),
    "no such dimension": (op("Squeeze", "d,a"), {"d": EIGHT, "a": ints(9)}),
    "blocks of none": (
        op("DepthToSpace", "d", blocksize=0), {"d": EIGHT.reshape(1, 8, 1, 1)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_operators_that_cannot_be_computed(name: str, tmp_path: Path) -> None:
    node, constants = WRONG[name]
    said = said_of(written(tmp_path, behind(node, **constants)))
    assert said.startswith(f"node 'w' ({node.op_type}) cannot be computed: ")
    assert said != "sparse"


UNKNOWN: dict[str, tuple[Any, dict[str, Any]]] = {
    "an input": (op("Identity", "x"), {}),
    "an input and a constant": (op("Mul", "x,d"), {"d": EIGHT}),
    "a random number": (op("RandomNormal", "", shape=[8]), {}),
    "texts": (op("Constant", "", value_strings=["a"]), {}),
    "nothing": (op("Constant", ""), {}),
    "the quotient of zero": (op("Div", "d,n"), {"d": EIGHT, "n": np.int8(0)}),
    "the remainder of zero": (op("Mod", "d,n"), {"d": EIGHT, "n": np.int8(0)}),
    "a scale of zero": (
        op("QuantizeLinear", "d,s,n"), {"d": F, "s": np.float32(0), "n": np.int8(0)},
    ),
    "a scale that is no number": (
        op("QuantizeLinear", "d,s,n"), {"d": F, "s": np.float32(np.nan), "n": np.int8(0)},
    ),
    "the root of -1": (op("Sqrt", "d"), {"d": -F}),
}  # fmt: skip


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_is_no_constant(name: str, tmp_path: Path) -> None:
    """Numbers that machines differ in are none either, and nothing is written to stderr."""
    node, constants = UNKNOWN[name]
    path = written(tmp_path, behind(node, **constants))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert said_of(path).startswith("dynamic-weight")


@pytest.mark.parametrize(("count", "said"), [(150, "sparse"), (5000, "dynamic-weight")])
def test_long_chains(count: int, said: str, tmp_path: Path) -> None:
    nodes = [op("Identity", f"c{i}", f"c{i + 1}") for i in range(count)]
    nodes[0].input[0] = "weight"
    model = behind(*nodes, op("Identity", f"c{count}"))
    assert said_of(written(tmp_path, model)).startswith(said)


# --- integers before they are scaled --------------------------------------------------------------


def constants_of(tmp_path: Path, *nodes: Any, **constants: Any) -> tuple[Any, Any]:
    """What the constant ``w`` is, and the integers that stand for it."""
    model = graph.load(written(tmp_path, behind(*nodes, **constants)))
    found = Constants(model)
    return found.get(model.main, "w"), found.whole(model.main, "w")


def test_the_integers_of_a_constant(tmp_path: Path) -> None:
    scales = {"s": np.float32([2, 4]), "z": np.int8([1, -3]), "q": np.int8([[5, 7, 9], [1, 2, 3]])}
    dequantise = op("DequantizeLinear", "q,s,z", "f", axis=0)
    got, whole = constants_of(tmp_path, dequantise, op("Transpose", "f"), **scales)
    assert got.tolist() == [[8, 16], [12, 20], [16, 24]]
    assert whole.tolist() == [[4, 4], [6, 5], [8, 6]]
    got, whole = constants_of(tmp_path, dequantise, op("Neg", "f"), **scales)
    assert got.tolist() == [[-8, -12, -16], [-16, -20, -24]]
    assert whole is None
    got, whole = constants_of(tmp_path, op("Cast", "q", to=TensorProto.FLOAT), **scales)
    assert (got.tolist(), whole) == ([[5, 7, 9], [1, 2, 3]], None)
    got, whole = constants_of(
        tmp_path, op("Split", "q,p", "a,w", axis=1), q=scales["q"], p=ints(1, 2)
    )
    assert got.tolist() == whole.tolist() == [[7, 9], [2, 3]]
    assert constants_of(tmp_path, op("Identity", "x")) == (None, None)


@pytest.mark.parametrize(
    ("zero", "axis", "wanted"),
    [
        (np.int8(2), 0, [[-2, -1, 0], [1, 2, 3]]),
        (np.int8([2]), 5, [[-2, -1, 0], [1, 2, 3]]),
        (np.uint8([0, 200]), 0, [[0, 1, 2], [-197, -196, -195]]),
        (np.int8([1, 2, 3]), -1, [[-1, -1, -1], [2, 2, 2]]),
        (np.int8([[1, 2, 3]]), 0, [[-1, -1, -1], [2, 2, 2]]),
    ],
)
def test_less_zero(zero: Any, axis: int, wanted: Any) -> None:
    got = less_zero(np.arange(6, dtype=np.int8).reshape(2, 3), zero, axis)
    assert got.tolist() == wanted
    assert got.dtype == np.int64


@pytest.mark.parametrize(
    ("shape", "axis"), [((3,), 0), ((2,), 2), ((2,), -3), ((0,), 0), ((3, 2), 0), ((1, 2, 3), 0)]
)
def test_zero_points_that_do_not_fit(shape: tuple[int, ...], axis: int) -> None:
    with pytest.raises(ValueError, match="zero points"):
        less_zero(np.zeros((2, 3), np.int8), np.zeros(shape, np.int8), axis)


def test_a_zero_point_that_does_not_fit_is_told_with_the_node(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"node 'w' \(DequantizeLinear\) cannot be computed"):
        constants_of(
            tmp_path, op("DequantizeLinear", "q,s,z", axis=0), q=np.zeros((2, 3), np.int8),
            s=np.float32([1, 1, 1]), z=np.int8([1, 2, 3]),
        )  # fmt: skip
