"""Steps: against sums, images and an img2col matrix that loops of plain Python make."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cube24.encoder import ArgumentError
from cube24.vectors import manifest, steps, verification
from cube24.vectors.build import build
from cube24.vectors.case import Case, CaseArray
from cube24.vectors.files import CaseStyle
from cube24.vectors.spec import Item, conv2d, matmul

SMALL = {"l1_bytes": 8192, "l0a_bytes": 2048, "l0b_bytes": 1024, "l0c_bytes": 4096}

SPECS: Mapping[str, dict[str, Any]] = {
    "matmul": matmul(5, 7, 24),
    "tiles": matmul(37, 35, 268, weights="full", bias="uniform", layout="nd", **SMALL),
    "requant": matmul(3, 17, 132, requant={"scale": 0.01}, bias=[5, -9]),
    "wrap": matmul(2, 3, 200, bias=[2**31 - 9], overflow="wrap", **SMALL),
    "conv": conv2d(
        33, 18, (5, 4), (3, 2), batch=2, strides=(2, 1), pads=(1, 0, 2, 1), dilations=(1, 2),
        offset_x=-7, bias="uniform", layout="nd", **{**SMALL, "l1_bytes": 16384},
    ),
    "conv-1x1": conv2d(4, 3, (3, 3), (1, 1)),
}  # fmt: skip


@pytest.fixture(scope="module", params=SPECS)
def case(request: pytest.FixtureRequest) -> Case:
    return build("test", 1, Item(request.param, SPECS[request.param]), 1)


def rows_of(case: Case) -> list[list[int]]:
    """The rows that the cube multiplies, (rows, K): of a convolution the img2col matrix."""
    size, x = case.spec["sizes"], case.pieces["activations"].array.tolist()
    if case.spec["operation"] != "conv2d":
        return [list(row) for row in x]
    (kh, kw), (sh, sw), (dh, dw) = size["kernel"], size["strides"], size["dilations"]
    top, left, bottom, right = size["pads"]
    rows = []
    for image in x:
        for y in range(0, size["h"] + top + bottom - (kh - 1) * dh, sh):
            for z in range(0, size["w"] + left + right - (kw - 1) * dw, sw):
                row = []
                for block in image:
                    for i in range(kh):
                        for j in range(kw):
                            v, u = y + i * dh - top, z + j * dw - left
                            inside = 0 <= v < size["h"] and 0 <= u < size["w"]
                            row += block[v][u] if inside else [size["offset_x"]] * 32
                rows.append(row)
    return rows


def columns_of(case: Case) -> list[list[int]]:
    """The weight in the order of K, (N, K)."""
    weight = case.pieces["weights"].array
    if weight.ndim == 2:
        return [list(row) for row in weight.tolist()]
    cout, cin, kh, kw = weight.shape
    return [
        [
            int(weight[n, 32 * c1 + c, i, j]) if 32 * c1 + c < cin else 0
            for c1 in range(-(-cin // 32)) for i in range(kh) for j in range(kw) for c in range(32)
        ]
        for n in range(cout)
    ]  # fmt: skip


def image_of(pieces: Mapping[str, Any], name: str) -> np.ndarray:
    piece = pieces[name]
    assert isinstance(piece, CaseArray)
    return piece.array


def about(pieces: Mapping[str, Any]) -> list[dict[str, Any]]:
    text = pieces["steps/steps.json"]
    assert isinstance(text, bytes)
    found: list[dict[str, Any]] = json.loads(text)
    return found


def bounded(value: int, case: Case) -> int:
    if case.unit.overflow == "wrap":
        return (value + 2**31) % 2**32 - 2**31
    return min(max(value, -(2**31)), 2**31 - 1)


def test_partial_sums_are_those_of_the_k_so_far(case: Case) -> None:
    pieces, rows, columns = steps.steps_of(case), rows_of(case), columns_of(case)
    bias = case.pieces["bias"].array.tolist() if "bias" in case.pieces else [0] * len(columns)
    problem = case.run.plan.problem if case.run.plan else None
    assert problem is not None
    final: dict[tuple[int, int], int] = {}
    for step in about(pieces):
        l0c = image_of(pieces, f"steps/{step['step']:04d}-l0c")
        end = step["k_start"] + step["k"]
        for m in range(step["m"]):
            for n in range(step["n"]):
                row = step["batch"] * problem.m + step["m_start"] + m
                column = step["n_start"] + n
                total = bias[column]
                for start in range(0, end, 64):  # the grain of one step
                    stop = min(start + 64, end, len(rows[row]))
                    total = bounded(
                        total + sum(rows[row][k] * columns[column][k] for k in range(start, stop)),
                        case,
                    )
                assert l0c[n // 16, m // 16, m % 16, n % 16] == total
                final[row, column] = total
    assert len(final) == len(rows) * len(columns)
    if "requant" not in case.pieces:
        expected = case.pieces["expected"].array.reshape(len(rows), len(columns))
        assert all(expected[place] == total for place, total in final.items())


def test_operands_are_the_files_cut_into_fractals(case: Case) -> None:
    pieces, rows = steps.steps_of(case), rows_of(case)
    assert case.run.plan is not None
    m_all = case.run.plan.problem.m
    for step in about(pieces):
        number = f"steps/{step['step']:04d}"
        l0a, l0b, index = (image_of(pieces, f"{number}-{what}") for what in ("l0a", "l0b", "index"))
        for m in range(step["m"]):
            row = rows[step["batch"] * m_all + step["m_start"] + m]
            for k in range(step["k"]):
                if step["k_start"] + k < len(row):
                    assert l0a[m // 16, k // 32, m % 16, k % 32] == row[step["k_start"] + k]
        # Dense and index as a reader of the files finds them: selected, they give the weight.
        weight = columns_of(case)
        for n in range(step["n"]):
            for group in range(-(-step["k"] // 4)):
                k1, inside = divmod(group, 16)
                d = l0b[k1, n // 16, n % 16, 2 * inside : 2 * inside + 2].tolist()
                byte = int(index[k1, n // 16, n % 16, inside // 2])
                pair = byte >> 4 * (inside % 2) & 15
                got = [0] * 4
                got[pair & 3] += d[0]
                got[(pair >> 2) + 1] += d[1]
                at = step["k_start"] + 4 * group
                wanted = weight[step["n_start"] + n][at : at + 4]
                assert got == wanted + [0] * (4 - len(wanted))


def test_the_steps_cover_the_problem_once(case: Case) -> None:
    pieces = steps.steps_of(case)
    listed, rows, columns = about(pieces), rows_of(case), columns_of(case)
    assert case.run.plan is not None
    assert sum(s["m"] * s["n"] * s["k"] for s in listed) == len(rows) * len(columns) * len(rows[0])
    assert [step["step"] for step in listed] == list(range(len(listed)))
    assert all(a["instruction"] < b["instruction"] for a, b in pairwise(listed))
    lines = [str(i) for i in case.run.program.instructions]
    assert all(lines[step["instruction"]] == step["text"] for step in listed)
    assert len([line for line in lines if line.startswith("mmad")]) == len(listed)
    names = {f"steps/{s['step']:04d}-{w}" for s in listed for w in ("l0a", "l0b", "index", "l0c")}
    names |= {"steps/img2col"} if case.spec["operation"] == "conv2d" else set()
    assert pieces.keys() == names | {"steps/steps.json"}


@pytest.mark.parametrize("name", ["conv", "conv-1x1"])
def test_img2col_is_the_matrix_of_a_loop(name: str) -> None:
    case = build("test", 1, Item("case", SPECS[name]), 1)
    matrix = image_of(steps.steps_of(case), "steps/img2col")
    assert matrix.dtype == np.int8
    assert matrix.tolist() == rows_of(case)


def test_some_case_has_many_tiles_and_many_steps() -> None:
    listed = about(steps.steps_of(build("test", 1, Item("case", SPECS["tiles"]), 1)))
    assert max(step["tile"] for step in listed) >= 3
    assert len({step["k_start"] for step in listed}) >= 2
    listed = about(steps.steps_of(build("test", 1, Item("case", SPECS["conv"]), 1)))
    assert {step["batch"] for step in listed} == {0, 1}
    assert len({step["k_start"] for step in listed}) >= 2


def test_steps_of_a_fault_are_those_of_the_flipped_bytes() -> None:
    spec = matmul(2, 3, 8, weights="full", activations="one", layout="nd")
    for bit in (0, 9):
        fault = {"kind": "fault", "role": "dense", "bit": bit}
        case = build("test", 1, Item("case", {**spec, "change": fault}), 1)
        l0c = image_of(steps.steps_of(case), "steps/0000-l0c")
        assert l0c[0, 0, :2, :3].tolist() == case.pieces["expected"].array.tolist()
        l0b = image_of(steps.steps_of(case), "steps/0000-l0b")
        assert l0b[0, 0, :3, :4].tolist() == case.pieces["dense"].array.tolist()


def test_a_case_that_must_be_refused_has_no_steps() -> None:
    spec = matmul(1, 1, 460, weights={"legal": 0}, layout="nd")
    index = build("test", 1, Item("case", spec), 1).pieces["index"].array.ravel().tolist()
    bit = 8 * next(at for at, byte in enumerate(index) if byte & 3 == 2)  # an i0 of 2 becomes 3
    for change in (
        {"kind": "fault", "role": "index", "bit": bit},
        {"kind": "negative", "what": "padding"},
    ):
        case = build("test", 1, Item("case", {**spec, "layout": "nd", "change": change}), 1)
        assert case.outcome["kind"] == "error"
        assert steps.steps_of(case) == {}


def test_too_many_bytes_are_refused_with_their_number() -> None:
    case = build("test", 1, Item("case", SPECS["matmul"]), 1)
    pieces = steps.steps_of(case)
    total = sum(piece.array.nbytes for piece in pieces.values() if isinstance(piece, CaseArray))
    assert steps.steps_of(case, total).keys() == pieces.keys()
    with pytest.raises(ArgumentError, match=rf"take {total} bytes, more than {total - 1}"):
        steps.steps_of(case, total - 1)
    conv = build("test", 1, Item("case", SPECS["conv"]), 1)
    pieces = steps.steps_of(conv)
    total = sum(piece.array.nbytes for piece in pieces.values() if isinstance(piece, CaseArray))
    with pytest.raises(ArgumentError, match=f"take {total} bytes"):
        steps.steps_of(conv, total - 1)


@pytest.mark.parametrize("formats", [("npy",), ("hex", "bin"), ("npy", "mem", "coe", "altera-mif")])
def test_a_folder_with_steps_is_verified_and_read_back(
    tmp_path: Path, formats: tuple[str, ...]
) -> None:
    case = build("test", 1, Item("case", SPECS["conv-1x1"]), 1, CaseStyle(formats, 4, steps=True))
    manifest.write(case, tmp_path / "case")
    stored = verification.verify(tmp_path / "case")
    assert stored.style.steps
    entries = {entry["name"]: entry for entry in stored.entries("step")}
    assert len(entries) == 5 * len(formats) + 1
    assert all(re.fullmatch(r"steps/(\d{4}-[a-z0-9]+|img2col|steps)\.\w+", n) for n in entries)
    piece = steps.steps_of(case)["steps/0000-l0c"]
    assert isinstance(piece, CaseArray)
    if "npy" in formats:
        entry = entries["steps/0000-l0c.npy"]
        assert (entry["dtype"], entry["shape"], entry["layout"]) == ("int32", [1, 1, 16, 16], "nz")
        got = np.load(tmp_path / "case" / "steps" / "0000-l0c.npy")
        assert np.array_equal(got, piece.array)
    name = "steps/0000-l0c" + {"npy": ".npy", "hex": ".hex"}[formats[0]]
    path = tmp_path / "case" / name
    path.write_bytes(path.read_bytes()[:-2] + b"\x11\n")
    with pytest.raises(Exception, match="SHA-256"):
        verification.verify(tmp_path / "case")


def test_no_steps_unless_asked_for() -> None:
    case = build("test", 1, Item("case", SPECS["matmul"]), 1)
    assert not [name for name in manifest.files_of(case) if name.startswith("steps")]
