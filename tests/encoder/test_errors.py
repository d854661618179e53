"""What users may get wrong: which error, what it says, and that nothing was touched."""

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import oracle
import pytest
from samples import legal_weight

from cube24 import encoder
from cube24.encoder import (
    ArgumentError,
    Cube24Error,
    DtypeError,
    OutBufferError,
    RefusedError,
    ShapeError,
    SparseWeight,
    ViolationError,
)

GOOD = np.int8([[1, 0, 2, 0, 0, 3, 0, 4], [0, 0, 0, 5, 6, 0, 0, 0]])
CONV = legal_weight((3, 33, 2, 2), 1, "conv")
EXCESS = np.int8([[1, 2, 0, 0, 3, 4, 5, 0], [0, 0, 0, 0, 0, 0, 0, 0]])


def refused(
    function: Callable[..., Any], error: type[Cube24Error], *parts: str, **kwargs: Any
) -> Any:
    """Call, expect exactly this class, and each part in its message."""
    with pytest.raises(Cube24Error) as caught:
        function(**kwargs)
    assert type(caught.value) is error
    for part in parts:
        assert part in str(caught.value)
    return caught.value


def test_every_error_is_a_cube24_error_and_what_python_would_have_raised():
    for error, also in [
        (ArgumentError, ValueError),
        (DtypeError, TypeError),
        (ShapeError, ValueError),
        (OutBufferError, ValueError),
        (encoder.FileFormatError, ValueError),
        (encoder.FileAccessError, OSError),
        (ViolationError, ValueError),
        (RefusedError, ValueError),
    ]:
        assert issubclass(error, Cube24Error)
        assert issubclass(error, also)


# --- arrays ---------------------------------------------------------------------------------------

BAD_ARRAYS = {
    "uint8": (GOOD.view(np.uint8), DtypeError, "uint8", ".view(np.int8)"),
    "int16": (GOOD.astype(np.int16), DtypeError, "int16", ".astype(np.int8)"),
    "int32": (GOOD.astype(np.int32), DtypeError, "int32", ".astype(np.int8)"),
    "int64": (GOOD.astype(np.int64), DtypeError, "int64", ".astype(np.int8)"),
    "float16": (GOOD.astype(np.float16), DtypeError, "float16", "quantise"),
    "float32": (GOOD.astype(np.float32), DtypeError, "float32", "quantise"),
    "complex": (GOOD.astype(np.complex64), DtypeError, "complex64"),
    "bool": (GOOD != 0, DtypeError, "bool"),
    "object": (GOOD.astype(object), DtypeError, "object"),
    "text": (GOOD.astype(str), DtypeError, "<U"),
    "list": (GOOD.tolist(), DtypeError, "int64", ".astype(np.int8)"),
    "None": (None, DtypeError, "object"),
    "masked array": (np.ma.masked_equal(GOOD, 0), DtypeError, "masked", ".filled(0)"),
    "no axis": (np.int8(3), ShapeError, "()"),
    "one axis": (GOOD[0], ShapeError, "(8,)", "(..., N, K)"),
}


@pytest.mark.parametrize("function", [encoder.encode, encoder.check, encoder.prune])
@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_an_array_that_is_no_weight_is_refused_with_advice(function, case):
    weight, error, *parts = BAD_ARRAYS[case]
    refused(function, error, *parts, weight=weight)


@pytest.mark.parametrize("case", [name for name in BAD_ARRAYS if "axis" not in name])
def test_an_array_that_is_no_convolution_weight_is_refused_with_advice(case):
    weight, error, *parts = BAD_ARRAYS[case]
    refused(encoder.encode_conv, error, *parts, weight=weight)


@pytest.mark.parametrize("shape", [(), (8,), (2, 8), (2, 2, 8), (1, 2, 2, 2, 8)])
def test_a_convolution_weight_has_four_dimensions(shape):
    weight = np.zeros(shape, np.int8)
    parts = (str(shape), "(Cout, Cin, Kh, Kw)")
    refused(encoder.encode_conv, ShapeError, *parts, weight=weight)
    refused(encoder.check, ShapeError, *parts, weight=weight, kind="conv")
    refused(encoder.prune, ShapeError, *parts, weight=weight, kind="conv")


ALL_POLICIES = "error, first_two, first_last, magnitude"
BAD_OPTIONS = {
    "encode policy": (encoder.encode, {"policy": "last_two"}, "'last_two'", ALL_POLICIES),
    "encode policy None": (encoder.encode, {"policy": None}, "None", ALL_POLICIES),
    "encode policy case": (encoder.encode, {"policy": "ERROR"}, "'ERROR'", ALL_POLICIES),
    "encode layout": (encoder.encode, {"layout": "nz"}, "'nz'", "'nd'", "'zn'"),
    "encode layout None": (encoder.encode, {"layout": None}, "None", "'nd'"),
    "prune policy": (encoder.prune, {"policy": "l1"}, "'l1'", "first_two, first_last, magnitude"),
    "prune by error": (encoder.prune, {"policy": "error"}, "'error'", "magnitude"),
    "prune kind": (encoder.prune, {"kind": "linear"}, "'linear'", "'matrix'", "'conv'"),
    "check kind": (encoder.check, {"kind": ""}, "''", "'matrix'"),
    "check limit": (encoder.check, {"limit": -1}, "-1"),
}


@pytest.mark.parametrize("case", BAD_OPTIONS)
def test_an_option_that_does_not_exist_is_refused_with_those_that_do(case):
    function, options, *parts = BAD_OPTIONS[case]
    refused(function, ArgumentError, *parts, weight=GOOD, **options)


@pytest.mark.parametrize("limit", [10**6, 2**40, 2**70])
def test_a_limit_may_be_larger_than_what_there_is(limit):
    assert len(encoder.check(EXCESS, limit=limit).offenders) == 1
    with pytest.raises(RefusedError) as caught:
        encoder.decode(stored(indices=(3, 0)), limit=limit)
    assert len(caught.value.groups) == 1


# --- violations -----------------------------------------------------------------------------------


def test_a_violation_names_count_coordinates_positions_and_values(path):
    weight = np.zeros((2, 3, 3, 10), np.int8)
    weight[0, 1, 2, 4:8] = 1, -2, 3, 0
    weight[1, 0, 0, 4:8] = -128, 127, 1, -1
    weight[1, 2, 1, 0:4] = 0, 5, 6, 7
    error = refused(
        encoder.encode,
        ViolationError,
        "3 groups have more than two non-zeros",
        "(0, 1, 2, 4) group 1: values (1, -2, 3, 0), non-zero at e0, e1, e2",
        "(1, 0, 0, 4) group 1: values (-128, 127, 1, -1), non-zero at e0, e1, e2, e3",
        "(1, 2, 1, 0) group 0: values (0, 5, 6, 7), non-zero at e1, e2, e3",
        "first_two, first_last, magnitude",
        weight=weight,
    )
    assert error.count == 3
    assert [as_oracle(offender) for offender in error.offenders] == list(oracle.excess(weight))


def as_oracle(offender: encoder.Offender) -> oracle.Excess:
    return oracle.Excess(*(getattr(offender, name) for name in oracle.Excess._fields))


def test_a_violation_of_a_convolution_is_named_by_its_channels(path):
    weight = np.zeros((3, 40, 2, 3), np.int8)
    weight[2, 36:40, 1, 2] = 9
    error = refused(
        encoder.encode_conv,
        ViolationError,
        "1 group has more than two non-zeros",
        "(2, 36, 1, 2) group 89",  # block 1, tap 5, group 1 of the block: 8 * (6 + 5) + 1
        weight=weight,
    )
    assert [as_oracle(o) for o in error.offenders] == list(oracle.excess(weight, "conv"))


def test_a_violation_lists_the_first_hundred_and_shows_five(path):
    weight = np.ones((10, 52), np.int8)
    error = refused(encoder.encode, ViolationError, "130 groups", "and 125 more", weight=weight)
    assert error.count == 130
    assert [as_oracle(o) for o in error.offenders] == list(oracle.excess(weight))[:100]
    assert str(error).count("values") == 5


def test_the_missing_elements_of_the_last_group_count_as_zeros(path):
    # K = 7: the last group has three elements.
    error = refused(encoder.encode, ViolationError, "(1, 2, 3, 0)",
                    weight=np.int8([[0, 0, 0, 0, 1, 2, 3]]))  # fmt: skip
    assert error.offenders[0].positions == (0, 1, 2)
    assert encoder.encode(np.int8([[0, 0, 0, 0, 0, 2, 3]])).dense.tolist() == [[0, 0, 2, 3]]


# --- out= -----------------------------------------------------------------------------------------


def buffers(layout: str = "nd", shape: tuple[int, ...] = GOOD.shape, kind: str = "matrix") -> Any:
    dense, index = oracle.stored_shapes(shape, layout, kind)
    return np.full(dense, 77, np.int8), np.full(index, 77, np.uint8)


def read_only(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


def spread(array: np.ndarray) -> np.ndarray:
    """An array of that shape which is not contiguous."""
    return np.repeat(array, 2, axis=-1)[..., ::2]


OVERLAP = np.zeros(64, np.int8)
BAD_OUT = {
    "dense dtype": (lambda d, i: (d.view(np.uint8), i), DtypeError, "out[0]", "uint8", "int8"),
    "index dtype": (lambda d, i: (d, i.view(np.int8)), DtypeError, "out[1]", "int8", "uint8"),
    "wide dtype": (lambda d, i: (d.astype(np.int32), i), DtypeError, "out[0]", "int32"),
    "dense shape": (lambda d, i: (d[:, :-1].copy(), i), ShapeError, "out[0]", "(2, 3)", "(2, 4)"),
    "index shape": (lambda d, i: (d, i[:1].copy()), ShapeError, "out[1]", "(1, 1)", "(2, 1)"),
    "swapped": (lambda d, i: (i, d), DtypeError, "out[0]", "uint8"),
    "list": (lambda d, i: (d.tolist(), i), DtypeError, "out[0]", "list"),
    "read-only dense": (lambda d, i: (read_only(d), i), OutBufferError, "out[0]", "read-only"),
    "read-only index": (lambda d, i: (d, read_only(i)), OutBufferError, "out[1]", "read-only"),
    "strided": (lambda d, i: (spread(d), i), OutBufferError, "out[0]", "C-contiguous"),
    "Fortran": (lambda d, i: (np.asfortranarray(d), i), OutBufferError, "out[0]", "C-contiguous"),
    "overlap": (
        lambda d, i: (OVERLAP[:8].reshape(2, 4), OVERLAP[7:9].view(np.uint8).reshape(2, 1)),
        OutBufferError, "out[1]", "overlaps",
    ),
    "one array": (lambda d, i: d, Cube24Error, "out"),
    "one of a pair": (lambda d, i: (d,), Cube24Error, "out"),
    "three": (lambda d, i: (d, i, i), Cube24Error, "out"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_OUT)
def test_out_of_encode_that_cannot_take_the_result_is_refused_untouched(case):
    make, error, *parts = BAD_OUT[case]
    dense, index = buffers()
    with pytest.raises(error) as caught:
        encoder.encode(GOOD, out=make(dense, index))
    assert error is Cube24Error or type(caught.value) is error
    for part in parts:
        assert part in str(caught.value)
    assert (dense == 77).all()
    assert (index == 77).all()


@pytest.mark.parametrize("layout", ["nd", "zn"])
def test_out_that_overlaps_the_weight_is_refused_untouched(layout):
    dense_shape, index_shape = oracle.stored_shapes((32, 128), layout)
    memory = np.zeros(32 * 128, np.int8)
    weight = memory.reshape(32, 128)
    dense = memory[: 32 * 64].reshape(dense_shape)
    index = np.full(index_shape, 77, np.uint8)
    refused(encoder.encode, OutBufferError, "out[0]", "overlaps",
            weight=weight, layout=layout, out=(dense, index))  # fmt: skip
    refused(encoder.prune, OutBufferError, "out", "overlaps", weight=weight, out=weight)
    assert (memory == 0).all()
    assert (index == 77).all()


@pytest.mark.parametrize("layout", ["nd", "zn"])
@pytest.mark.parametrize("weight", [EXCESS, np.repeat(EXCESS, 40, axis=0)])
def test_a_refused_weight_is_told_of_with_out_too_which_can_be_used_again(path, layout, weight):
    out = buffers(layout, weight.shape)
    with pytest.raises(ViolationError) as caught:
        encoder.encode(weight, layout=layout, out=out)
    assert caught.value.count == len(weight) // len(EXCESS)
    good = np.where(weight == EXCESS.max(), 0, weight).astype(np.int8)
    good[:, 2:] = 0
    expected = oracle.encode_weight(good, layout)
    encoder.encode(good, layout=layout, out=out)
    assert all(map(np.array_equal, out, expected))


@pytest.mark.parametrize("layout", ["nd", "zn"])
def test_a_refused_convolution_is_told_of_with_out_too(path, layout):
    weight = np.ones((17, 4, 3, 3), np.int8)
    with pytest.raises(ViolationError) as caught:
        encoder.encode_conv(weight, layout=layout, out=buffers(layout, weight.shape, "conv"))
    assert caught.value.count == 17 * 9


BAD_WEIGHT_OUT = {
    "dtype": (lambda: np.zeros((2, 8), np.uint8), DtypeError, "uint8"),
    "list": (lambda: [[0] * 8] * 2, DtypeError, "list"),
    "shape": (lambda: np.zeros((2, 9), np.int8), ShapeError, "(2, 9)", "(2, 8)"),
    "rank": (lambda: np.zeros(16, np.int8), ShapeError, "(16,)", "(2, 8)"),
    "read-only": (lambda: read_only(np.zeros((2, 8), np.int8)), OutBufferError, "read-only"),
    "strided": (lambda: spread(np.zeros((2, 8), np.int8)), OutBufferError, "C-contiguous"),
    "Fortran": (lambda: np.zeros((2, 8), np.int8, "F"), OutBufferError, "C-contiguous"),
}


@pytest.mark.parametrize("case", BAD_WEIGHT_OUT)
def test_out_of_decode_and_prune_that_cannot_take_the_result_is_refused(case):
    make, error, *parts = BAD_WEIGHT_OUT[case]
    refused(encoder.decode, error, *parts, sparse=encoder.encode(GOOD), out=make())
    refused(encoder.prune, error, *parts, weight=GOOD, out=make())


@pytest.mark.parametrize("which", ["dense", "index"])
def test_out_of_decode_that_overlaps_the_bytes_is_refused_untouched(which):
    memory = np.zeros(16 * 8, np.int8)
    dense, index = np.zeros((16, 4), np.int8), np.zeros((16, 1), np.uint8)
    if which == "dense":
        dense = memory[:64].reshape(16, 4)
    else:
        index = memory[100:116].view(np.uint8).reshape(16, 1)
    sparse = SparseWeight(dense, index, (16, 8))
    refused(encoder.decode, OutBufferError, "overlaps", sparse=sparse, out=memory.reshape(16, 8))
    assert (memory == 0).all()


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("layout", ["nd", "zn"])
@pytest.mark.parametrize("kind", ["matrix", "conv"])
def test_refused_bytes_are_told_of_with_out_too(path, kind, layout, strict):
    weight = GOOD if kind == "matrix" else CONV
    dense, index = (a.copy() for a in oracle.encode_weight(weight, layout, kind))
    right = int(index.reshape(-1)[-1])
    sparse = SparseWeight(dense, index, weight.shape, layout, kind)
    out = np.full(weight.shape, 77, np.int8)
    sparse.index.reshape(-1)[-1] = 0xFF
    with pytest.raises(RefusedError) as caught:
        encoder.decode(sparse, strict=strict, out=out)
    assert caught.value.count == 2
    sparse.index.reshape(-1)[-1] = right
    assert encoder.decode(sparse, strict=strict, out=out) is out
    assert np.array_equal(out, weight)


def test_bytes_refused_for_channel_padding_are_told_of_with_out_too():
    out = np.full((1, 33, 1, 1), 77, np.int8)
    with pytest.raises(RefusedError):
        encoder.decode(channel_padding(), strict=True, out=out)


# --- SparseWeight ---------------------------------------------------------------------------------

D, X = np.zeros((2, 4), np.int8), np.zeros((2, 1), np.uint8)
DZ, XZ = np.zeros((1, 1, 16, 32), np.int8), np.zeros((1, 1, 16, 8), np.uint8)
BAD_SPARSE = {
    "dense dtype": ((D.view(np.uint8), X, (2, 8)), DtypeError, "dense", "uint8", "int8"),
    "index dtype": ((D, X.view(np.int8), (2, 8)), DtypeError, "index", "int8", "uint8"),
    "float": ((D.astype(float), X, (2, 8)), DtypeError, "dense", "float64"),
    "list": ((D.tolist(), X, (2, 8)), DtypeError, "dense", "int64"),
    "dense shape": ((D[:, :3], X, (2, 8)), ShapeError, "dense", "(2, 3)", "(2, 4)"),
    "index shape": ((D, X[:1], (2, 8)), ShapeError, "index", "(1, 1)", "(2, 1)"),
    "index not padded": ((D[:, :2], X[:, :0], (2, 4)), ShapeError, "dense", "(2, 2)", "(2, 4)"),
    "rank": ((D, X, (1, 2, 8)), ShapeError, "(2, 4)", "(1, 2, 4)"),
    "layout of other bytes": ((D, X, (2, 8), "zn"), ShapeError, "dense", "(1, 1, 16, 32)"),
    "bytes of other layout": ((DZ, XZ, (2, 8)), ShapeError, "dense", "(2, 4)"),
    "fractals of another size": ((DZ, XZ, (17, 8), "zn"), ShapeError, "(1, 2, 16, 32)"),
    "layout": ((D, X, (2, 8), "zz"), ArgumentError, "'zz'", "'nd'", "'zn'"),
    "kind": ((D, X, (2, 8), "nd", "dense"), ArgumentError, "'dense'", "'matrix'", "'conv'"),
    "conv of a matrix": ((D, X, (2, 8), "nd", "conv"), ShapeError, "(2, 8)", "(Cout, Cin, Kh, Kw)"),
    "negative size": ((D, X, (-2, 8)), ShapeError, "(-2, 8)", "negative"),
    "one size": ((D, X, (16,)), ShapeError, "(16,)"),
    "no size": ((D, X, ()), ShapeError, "()"),
    "fraction of a size": ((D, X, (2.5, 8)), ShapeError, "2.5"),
}


@pytest.mark.parametrize("case", BAD_SPARSE)
def test_arrays_that_do_not_agree_are_no_sparse_weight(case):
    arguments, error, *parts = BAD_SPARSE[case]
    refused(lambda: SparseWeight(*arguments), error, *parts)


def test_decode_conv_of_a_matrix_is_refused():
    refused(encoder.decode_conv, ArgumentError, "matrix", "use decode", sparse=encoder.encode(GOOD))


# --- decode ---------------------------------------------------------------------------------------


def stored(
    dense: tuple[int, int] = (0, 0),
    indices: tuple[int, int] = (0, 0),
    place: tuple[int, ...] = (0, 0),
    shape: tuple[int, ...] = (2, 8),
    layout: str = "nd",
    kind: str = "matrix",
) -> SparseWeight:
    """A weight of zeros but for one group; place: matrix coordinates, row, group."""
    slots, bits = oracle.stored_shapes(shape, layout, kind)
    values, index = np.zeros(slots, np.int8), np.zeros(bits, np.uint8)
    *matrix, row, group = place
    byte = (indices[0] + 4 * indices[1]) << (4 * (group % 2))
    if layout == "nd":
        values[(*matrix, row, slice(2 * group, 2 * group + 2))] = dense
        index[(*matrix, row, group // 2)] = byte
    else:
        fractal = (*matrix, group // 16, row // 16, row % 16)
        values[(*fractal, slice(2 * group % 32, 2 * group % 32 + 2))] = dense
        index[(*fractal, group // 2 % 8)] = byte
    return SparseWeight(values, index, shape, layout, kind)


# One group each: what makes it, which fault, and (row, group, dense byte, index byte, bit).
# Offsets worked by hand: see the comment of each block.
PLACES = {
    # (3, 40) in rows of 20 dense and 5 index bytes.
    "nd first": ({"shape": (3, 40)}, (0, 0, 0, 0, 0)),
    "nd high half": ({"shape": (3, 40), "place": (1, 3)}, (1, 3, 20 + 6, 5 + 1, 4)),
    "nd last": ({"shape": (3, 40), "place": (2, 9)}, (2, 9, 58, 14, 4)),
    # (2, 3) matrices of (3, 40): 60 dense and 15 index bytes each.
    "nd batch": (
        {"shape": (2, 3, 3, 40), "place": (1, 1, 2, 4)},
        (2, 4, 4 * 60 + 48, 4 * 15 + 12, 0),
    ),
    # (20, 200) in (4, 2) fractals of 512 dense and 128 index bytes.
    "zn first": ({"shape": (20, 200), "layout": "zn"}, (0, 0, 0, 0, 0)),
    "zn second row of fractals": (
        {"shape": (20, 200), "layout": "zn", "place": (17, 3)},
        (17, 3, 512 + 32 + 6, 128 + 8 + 1, 4),
    ),
    "zn third column of fractals": (
        {"shape": (20, 200), "layout": "zn", "place": (5, 34)},
        (5, 34, 2 * 1024 + 5 * 32 + 4, 2 * 256 + 5 * 8 + 1, 0),
    ),
    # (2, 2) matrices of 8 fractals each.
    "zn batch": (
        {"shape": (2, 2, 20, 200), "layout": "zn", "place": (1, 0, 19, 49)},
        (19, 49, 2 * 4096 + 3 * 1024 + 512 + 3 * 32 + 2, 2 * 1024 + 3 * 256 + 128 + 3 * 8, 4),
    ),
    # (18, 40, 3, 3): rows of 2 * 9 * 32 = 576 elements, 288 dense and 72 index bytes.
    "nd conv": (
        {"shape": (18, 40, 3, 3), "kind": "conv", "place": (4, 21)},
        (4, 21, 4 * 288 + 42, 4 * 72 + 10, 4),
    ),
    "zn conv": (
        {"shape": (18, 40, 3, 3), "kind": "conv", "layout": "zn", "place": (16, 33)},
        (16, 33, 2 * 1024 + 512 + 2, 2 * 256 + 128, 4),
    ),
}
# Accepted by default: the fault is one of a strict reading only.
FAULTS = {
    "index3": {"indices": (3, 0)},
    "index3 in slot 1, weight or not": {"indices": (0, 3), "dense": (5, 0)},
    "conflict at e1": {"indices": (1, 0), "dense": (5, -6)},
    "conflict at e2": {"indices": (2, 1), "dense": (-128, 127)},
    "noncanonical pair": {"indices": (2, 1), "dense": (5, 0)},
    "noncanonical order": {"indices": (2, 0), "dense": (5, 6)},
    "noncanonical slot": {"indices": (0, 0), "dense": (0, 6)},
    "noncanonical zero": {"indices": (1, 2)},
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_refused_group_is_named_by_row_group_bytes_and_bits(path, fault, place):
    where, (row, group, dense_offset, index_offset, bit_offset) = PLACES[place]
    sparse = stored(**where, **FAULTS[fault])
    dense, pair = FAULTS[fault].get("dense", (0, 0)), FAULTS[fault]["indices"]
    name = fault.split()[0]
    if name == "noncanonical":
        weight = encoder.decode(sparse)
        assert np.count_nonzero(weight) == np.count_nonzero(dense)
    for strict in (False, True) if name != "noncanonical" else (True,):
        error = refused(
            encoder.decode, RefusedError,
            "1 group of the bytes is refused",
            f"row {row} group {group}: ",
            f"index pair ({pair[0]}, {pair[1]}) at index byte {index_offset} "
            f"bits {bit_offset + 3}:{bit_offset}",
            f"weights ({dense[0]}, {dense[1]}) at dense byte {dense_offset}",
            sparse=sparse, strict=strict,
        )  # fmt: skip
        batch = where.get("place", (0, 0))[:-2]
        assert error.count == 1
        assert error.groups == (
            encoder.RefusedGroup(
                name, batch, row, group, dense_offset, index_offset, bit_offset, pair, dense
            ),
        )
        assert (f"matrix ({', '.join(map(str, batch))}) " in str(error)) == bool(batch)
        assert ("a default (not strict) decode accepts" in str(error)) == (name == "noncanonical")


# Padding: rows beyond N, groups beyond K, and elements beyond K in the last group.
PADDING = {
    "row beyond N": ({"shape": (3, 64), "layout": "zn", "place": (3, 0)}, (3, 0, 96, 24, 0)),
    "group beyond K": (
        {"shape": (3, 40), "layout": "zn", "place": (0, 11)}, (0, 11, 22, 5, 4),
    ),
    "group beyond K in rows": ({"shape": (3, 4), "place": (1, 1)}, (1, 1, 6, 1, 4)),
    "row of a second batch": (
        {"shape": (2, 3, 64), "layout": "zn", "place": (1, 15, 15)},
        (15, 15, 512 + 480 + 30, 128 + 120 + 7, 4),
    ),
    "half a fractal of a 1 x 1 convolution": (
        {"shape": (3, 32, 1, 1), "kind": "conv", "layout": "zn", "place": (1, 8)},
        (1, 8, 32 + 16, 8 + 4, 0),
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    "noise", [{"dense": (1, 0)}, {"dense": (0, -1)}, {"indices": (1, 0)}, {"indices": (0, 2)}]
)
@pytest.mark.parametrize("place", PADDING)
def test_padding_that_is_not_zero_is_ignored_by_default_and_refused_strictly(path, place, noise):
    where, (row, group, dense_offset, index_offset, bit_offset) = PADDING[place]
    sparse = stored(**where, **noise)
    assert not encoder.decode(sparse).any()
    advice = "a default (not strict) decode accepts these bytes"
    error = refused(encoder.decode, RefusedError, advice, sparse=sparse, strict=True)
    assert "padding that is not zero" in str(error)
    pair, dense = noise.get("indices", (0, 0)), noise.get("dense", (0, 0))
    batch = where["place"][:-2]
    assert error.groups == (
        encoder.RefusedGroup(
            "padding", batch, row, group, dense_offset, index_offset, bit_offset, pair, dense
        ),
    )


@pytest.mark.parametrize("place", PADDING)
@pytest.mark.parametrize("fault", ["index3", "conflict at e1"])
def test_padding_that_stands_for_no_weight_is_refused_by_default_too(path, place, fault):
    sparse = stored(**PADDING[place][0], **FAULTS[fault])
    for strict in (False, True):
        error = refused(encoder.decode, RefusedError, sparse=sparse, strict=strict)
        assert [group.fault for group in error.groups] == [fault.split()[0]]


@pytest.mark.parametrize("layout", ["nd", "zn"])
def test_a_weight_beyond_k_in_the_last_group_is_padding(path, layout):
    # K = 6: element 2 of group 1 does not exist.
    sparse = stored((7, 8), (1, 1), (0, 1), (1, 6), layout)
    assert encoder.decode(sparse).tolist() == [[0, 0, 0, 0, 0, 7]]
    error = refused(encoder.decode, RefusedError, sparse=sparse, strict=True)
    assert [(g.fault, g.row, g.group) for g in error.groups] == [("padding", 0, 1)]


def channel_padding(pair: tuple[int, int] = (2, 0), first: int = 0) -> SparseWeight:
    """Cin = 33: a weight in channel 34, which is element 2 of group 8; first: byte of group 0."""
    dense = (9, 0) if pair == (2, 0) else (0, 9)
    sparse = stored(dense, pair, (0, 8), (1, 33, 1, 1), "nd", "conv")
    sparse.index[0, 0] = first
    return sparse


@pytest.mark.parametrize("pair", [(2, 0), (0, 1)])
def test_a_weight_in_a_missing_channel_is_padding(path, pair):
    # Whether its bytes are canonical or not: padding comes first in the order of faults.
    sparse = channel_padding(pair)
    assert not encoder.decode(sparse).any()
    error = refused(encoder.decode, RefusedError, "padding", sparse=sparse, strict=True)
    dense = tuple(sparse.dense[0, 16:18].tolist())
    assert error.groups == (encoder.RefusedGroup("padding", (), 0, 8, 16, 4, 0, pair, dense),)


def test_a_strict_decode_counts_missing_channels_with_all_other_faults(path):
    sparse = channel_padding(first=0b01_01)
    error = refused(encoder.decode, RefusedError, "2 groups", sparse=sparse, strict=True)
    assert error.count == 2
    assert [(g.fault, g.group) for g in error.groups] == [("noncanonical", 0), ("padding", 8)]


def test_a_group_is_refused_for_its_first_fault(path):
    # index3 before conflict before padding before noncanonical.
    for where in ({}, {"shape": (2, 4), "place": (0, 1)}):
        both_3 = stored((5, 6), (3, 3), **where)
        assert refused(encoder.decode, RefusedError, sparse=both_3).groups[0].fault == "index3"
    conflict = stored((5, 6), (1, 0), (0, 1), (2, 4))
    error = refused(encoder.decode, RefusedError, sparse=conflict, strict=True)
    assert error.groups[0].fault == "conflict"
    noise = stored((0, 6), (2, 1), (0, 1), (2, 4))
    error = refused(encoder.decode, RefusedError, sparse=noise, strict=True)
    assert error.groups[0].fault == "padding"


@pytest.mark.parametrize("layout", ["nd", "zn"])
@pytest.mark.parametrize("limit", [0, 1, 5, 6, 100, None])
def test_limit_bounds_the_list_and_not_the_count(path, limit, layout):
    shape = (3, 2, 64)  # 3 matrices of 2 rows of 16 groups
    slots, bits = oracle.stored_shapes(shape, layout)
    sparse = SparseWeight(np.zeros(slots, np.int8), np.full(bits, 0xFF, np.uint8), shape, layout)
    options = {} if limit is None else {"limit": limit}
    error = refused(encoder.decode, RefusedError, sparse=sparse, **options)
    expected = list(oracle.refused(sparse.dense, sparse.index, shape, layout))
    assert error.count == len(expected) == (96 if layout == "nd" else 3 * 16 * 16)
    listed = expected[: 100 if limit is None else limit]
    assert [(g.batch, g.row, g.group) for g in error.groups] == [
        (g.batch, g.row, g.group) for g in listed
    ]


@pytest.mark.parametrize("limit", [0, 1, 2, 3])
def test_limit_bounds_the_list_of_missing_channels_too(path, limit):
    # Cin = 1: the groups 1 to 7 of the block are padding, and one byte holds two of them.
    index = np.zeros((1, 4), np.uint8)
    index[0, 1:3] = 0b00_00_00_01, 0b00_01_00_01
    sparse = SparseWeight(np.zeros((1, 16), np.int8), index, (1, 1, 1, 1), "nd", "conv")
    error = refused(encoder.decode, RefusedError, sparse=sparse, strict=True, limit=limit)
    assert error.count == 3
    expected = [("padding", 2), ("padding", 4), ("padding", 5)]
    assert [(g.fault, g.group) for g in error.groups] == expected[:limit]


def test_a_negative_limit_is_refused():
    refused(encoder.decode, ArgumentError, "-1", sparse=encoder.encode(GOOD), limit=-1)


# --- bits -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "error", "parts"),
    [
        ([0, 1, 4], ArgumentError, ("values[2] is 4", "0..3")),
        ([[0, 3, 3, 3, 3, 255]], ArgumentError, ("values[0, 5] is 255",)),
        ([[[0], [1]], [[2], [9]]], ArgumentError, ("values[1, 1, 0] is 9",)),
    ],
)
def test_a_value_above_3_is_no_index(values, error, parts):
    refused(encoder.pack_index, error, *parts, values=np.uint8(values))


def test_3_is_packed_and_unpacked_although_it_is_no_legal_index():
    assert encoder.pack_index(np.uint8([3, 3, 3, 3])).tolist() == [255]
    assert encoder.unpack_index(np.uint8([255])).tolist() == [3, 3, 3, 3]


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.float32, bool, object])
def test_indices_are_uint8(dtype):
    values = np.zeros(4, dtype)
    refused(encoder.pack_index, DtypeError, "values", str(np.dtype(dtype)), values=values)
    refused(encoder.unpack_index, DtypeError, "packed", str(np.dtype(dtype)), packed=values)


def test_indices_have_an_axis():
    refused(encoder.pack_index, ShapeError, "values", values=np.uint8(1))
    refused(encoder.unpack_index, ShapeError, "packed", packed=np.uint8(1))


@pytest.mark.parametrize("count", [-1, 0, 4, 8, 13, 100])
def test_a_count_that_does_not_need_these_bytes_is_refused(count):
    refused(encoder.unpack_index, ShapeError, str(count), "3",
            packed=np.zeros((2, 3), np.uint8), count=count)  # fmt: skip


# --- code paths -----------------------------------------------------------------------------------


def test_an_unknown_code_path_is_refused_with_those_that_exist():
    refused(encoder.use_path, ArgumentError, "'mmx'", "scalar", name="mmx")
    encoder.encode(GOOD)  # and changes nothing


def test_the_reference_is_the_first_path():
    assert encoder.paths()[0] == "scalar"


ENCODE = """
import numpy as np
from cube24 import encoder
print(encoder.encode(np.int8([[0, 5, 0, -3, 7, 0, -8, 0]])).index.tolist())
"""


def encode_with(path: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"CUBE24_PATH": path}
    return subprocess.run(
        [sys.executable, "-c", ENCODE], env=environment, text=True, capture_output=True, check=False
    )


@pytest.mark.parametrize("path", ["", *encoder.paths()])
def test_the_environment_chooses_a_code_path(path):
    assert encode_with(path).stdout == "[[73]]\n"


def test_an_unknown_code_path_in_the_environment_is_refused():
    done = encode_with("mmx")
    assert done.returncode == 1
    assert "ArgumentError: CUBE24_PATH: this machine has no code path 'mmx'" in done.stderr
    assert "scalar" in done.stderr
