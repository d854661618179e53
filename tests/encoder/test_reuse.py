"""Encoding and decoding again and again: into a weight, by threads, and what is kept for it."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import threading

import numpy as np
import oracle
import pytest
from samples import legal_weight

from cube24 import _core, encoder
from cube24.encoder import OutBufferError, RefusedError, ShapeError, SparseWeight, ViolationError
from cube24.errors import ArgumentError

SHAPES = [((5, 24), "matrix"), ((3, 7), "matrix"), ((2, 3, 40), "matrix"), ((17, 33, 3, 2), "conv")]
EMPTY = [((0, 8), "matrix"), ((3, 0), "matrix"), ((0, 4, 1, 1), "conv")]


def encode(weight, kind, **options):
    return (encoder.encode if kind == "matrix" else encoder.encode_conv)(weight, **options)


# --- into a weight --------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["nd", "zn"])
@pytest.mark.parametrize(("shape", "kind"), [*SHAPES, *EMPTY])
def test_a_weight_is_encoded_into_another_which_is_given_back(path, shape, kind, layout):
    first, second = (legal_weight(shape, seed, kind) for seed in (1, 2))
    sparse = encode(first, kind, layout=layout)
    for weight in (second, first, np.asfortranarray(second)):
        assert encode(weight, kind, layout=layout, out=sparse) is sparse
        expected = oracle.encode_weight(weight, layout, kind)
        assert np.array_equal(sparse.dense, expected[0])
        assert np.array_equal(sparse.index, expected[1])
        out = np.empty(shape, np.int8)
        assert encoder.decode(sparse, out=out) is out
        assert np.array_equal(out, weight)


@pytest.mark.parametrize("layout", ["nd", "zn"])
def test_what_a_policy_changed_is_told_by_a_weight_of_its_own(layout):
    good, bad = np.int8([[1, 0, 2, 0] * 4]), np.int8([[1, 3, 2, 0] * 4])
    out = encoder.encode(good, layout=layout)
    again = encoder.encode(bad, policy="first_two", layout=layout, out=out)
    assert (again.changes, out.changes) == (encoder.Changes(4, 4), encoder.Changes())
    assert again.dense is out.dense
    # And of a weight that had changes, encoding without any gives one without.
    clean = encoder.encode(good, layout=layout, out=again)
    assert clean.changes == encoder.Changes()


OUTS = {
    "another shape": (encoder.encode(np.zeros((4, 8), np.int8)), ShapeError, "(4, 8)", "(2, 16)"),
    "the same bytes": (encoder.encode(np.zeros((4, 8), np.int8)), ShapeError),
    "another layout": (encoder.encode(np.zeros((2, 16), np.int8), layout="zn"), ShapeError, "zn"),
    "another kind": (encoder.encode_conv(np.zeros((2, 16, 1, 1), np.int8)), ShapeError, "conv"),
}


@pytest.mark.parametrize("case", OUTS)
def test_a_weight_that_does_not_fit_is_refused(case):
    out, error, *parts = OUTS[case]
    with pytest.raises(error) as caught:
        encoder.encode(np.zeros((2, 16), np.int8), out=out)
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize("which", ["dense", "index"])
def test_a_weight_whose_bytes_are_read_only_is_refused(which):
    weight = legal_weight((2, 16), 3)
    sparse = encoder.encode(weight)
    encoder.encode(weight, out=sparse)
    getattr(sparse, which).flags.writeable = False
    before = getattr(sparse, which).copy()
    with pytest.raises(OutBufferError, match="read-only"):
        encoder.encode(legal_weight((2, 16), 4), out=sparse)
    assert np.array_equal(getattr(sparse, which), before)


def test_a_weight_that_overlaps_its_bytes_is_refused():
    memory = legal_weight((4, 16), 5)
    index = np.zeros((4, 2), np.uint8)
    sparse = SparseWeight(memory.reshape(-1)[32:].reshape(4, 8), index, (4, 16))
    with pytest.raises(OutBufferError, match="overlaps"):
        encoder.encode(memory, out=sparse)
    with pytest.raises(OutBufferError, match="overlaps"):
        encoder.decode(sparse, out=memory)


def test_a_refused_weight_is_told_of_and_the_weight_can_be_used_again():
    good, bad = np.int8([[1, 0, 2, 0] * 4]), np.int8([[1, 3, 2, 0] * 4])
    sparse = encoder.encode(good)
    with pytest.raises(ViolationError) as caught:
        encoder.encode(bad, out=sparse)
    assert caught.value.count == 4
    encoder.encode(good, out=sparse)
    assert np.array_equal(encoder.decode(sparse), good)


def test_bytes_that_change_in_place_are_read_anew():
    weight = legal_weight((2, 16), 6)
    sparse, out = encoder.encode(weight), np.empty((2, 16), np.int8)
    encoder.decode(sparse, out=out)
    sparse.index[0, 0] = 0xFF
    with pytest.raises(RefusedError):
        encoder.decode(sparse, out=out)


@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, lambda w: pickle.loads(pickle.dumps(w))]
)
def test_a_weight_that_was_used_can_be_copied(again):
    weight = legal_weight((3, 24), 7)
    sparse = encoder.encode(weight)
    encoder.encode(weight, out=sparse)
    other = again(sparse)
    assert np.array_equal(encoder.decode(other, out=np.empty((3, 24), np.int8)), weight)
    if again is not copy.copy:
        sparse.dense[...] = 0
        assert np.array_equal(encoder.decode(other, out=np.empty((3, 24), np.int8)), weight)


@pytest.mark.parametrize(("shape", "kind"), SHAPES)
def test_layouts_are_changed_into_a_weight(shape, kind):
    weight = legal_weight(shape, 8, kind)
    nd, zn = encode(weight, kind), encode(weight, kind, layout="zn")
    other = legal_weight(shape, 9, kind)
    for source in (nd, zn):
        for layout, change in (("nd", source.to_nd), ("zn", source.to_fractal)):
            out = encode(other, kind, layout=layout)
            assert change(out=out) is out
            expected = oracle.encode_weight(weight, layout, kind)
            assert np.array_equal(out.dense, expected[0])
            assert np.array_equal(out.index, expected[1])
    with pytest.raises(ShapeError):
        nd.to_fractal(out=nd)


@pytest.mark.parametrize("shape", [(8,), (3, 5), (2, 3, 7), (0, 4), (3, 0)])
def test_bits_are_packed_and_unpacked_into_arrays(shape):
    values = np.random.default_rng(12).integers(0, 4, shape).astype(np.uint8)
    packed = np.full((*shape[:-1], -(-shape[-1] // 4)), 77, np.uint8)
    assert encoder.pack_index(values, out=packed) is packed
    expected = np.zeros_like(packed)
    for place, value in np.ndenumerate(values):
        expected[(*place[:-1], place[-1] // 4)] |= value << 2 * (place[-1] % 4)
    assert np.array_equal(packed, expected)
    out = np.full(shape, 77, np.uint8)
    assert encoder.unpack_index(packed, shape[-1], out=out) is out
    assert np.array_equal(out, values)


def test_arrays_that_cannot_take_bits_are_refused():
    values = np.zeros(16, np.uint8)
    for out, error in (
        (np.zeros(3, np.uint8), ShapeError), (np.zeros(4, np.int8), encoder.DtypeError),
        (np.zeros(8, np.uint8)[::2], OutBufferError), (values[:4], OutBufferError),
    ):  # fmt: skip
        with pytest.raises(error, match="out"):
            encoder.pack_index(values, out=out)
    with pytest.raises(ShapeError, match="out"):
        encoder.unpack_index(values[:4], out=np.zeros(15, np.uint8))
    with pytest.raises(OutBufferError, match="overlaps"):
        encoder.unpack_index(values[:4], out=values)


# --- by threads -----------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("layout", ["nd", "zn"])
@pytest.mark.parametrize(("shape", "kind"), [*SHAPES, *EMPTY, ((67, 132), "matrix")])
def test_any_number_of_threads_gives_the_same(path, shape, kind, layout, threads):
    weight = legal_weight(shape, 10, kind)
    sparse = encode(weight, kind, layout=layout, threads=threads)
    expected = oracle.encode_weight(weight, layout, kind)
    assert np.array_equal(sparse.dense, expected[0])
    assert np.array_equal(sparse.index, expected[1])
    assert np.array_equal(encoder.decode(sparse, threads=threads), weight)
    assert np.array_equal(encoder.decode(sparse, strict=True, threads=threads), weight)


@pytest.mark.parametrize("threads", [1, 2, 3, 5])
def test_threads_count_every_violation_and_every_refusal(path, threads):
    rng = np.random.default_rng(11)
    weight = rng.integers(-2, 3, (41, 52)).astype(np.int8)
    excess = ((weight.reshape(41, 13, 4) != 0).sum(axis=2) > 2).sum()
    with pytest.raises(ViolationError) as caught:
        encoder.encode(weight, threads=threads)
    assert caught.value.count == excess
    report = encoder.check(weight, threads=threads)
    assert report == encoder.check(weight, threads=1)
    assert report.violations == excess
    one, many = (encoder.prune(weight, threads=count) for count in (1, threads))
    assert one.cost == many.cost
    assert np.array_equal(one.weight, many.weight)
    dense = rng.integers(-1, 2, (41, 28)).astype(np.int8)
    index = rng.integers(0, 256, (41, 7)).astype(np.uint8)
    sparse = SparseWeight(dense, index, (41, 52))
    found = []
    for count in (1, threads):
        with pytest.raises(RefusedError) as refused:
            encoder.decode(sparse, threads=count)
        found.append((refused.value.count, refused.value.groups))
    assert found[0] == found[1]


@pytest.mark.parametrize("threads", [0, -1, 1.5, True, "2"])
def test_no_number_of_threads_is_refused(threads):
    with pytest.raises(ArgumentError, match="threads"):
        encoder.encode(np.zeros((2, 8), np.int8), threads=threads)


def environment_run(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], env=os.environ | variables, text=True, capture_output=True,
        check=False,
    )  # fmt: skip


BIG = """
import threading, numpy as np
from cube24 import encoder
encoder.encode(np.zeros((2048, 4096), np.int8))
print(threading.active_count())
"""


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_the_environment_says_how_many_threads(threads):
    assert environment_run(BIG, CUBE24_THREADS=str(threads)).stdout == f"{threads}\n"


@pytest.mark.parametrize("said", ["0", "-2", "many", "1.5", "1_0"])
def test_an_environment_that_says_no_number_is_refused(said):
    done = environment_run(BIG, CUBE24_THREADS=said)
    assert done.returncode == 1
    assert "ArgumentError: CUBE24_THREADS is" in done.stderr


# --- the helpers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 2, 5, 16, 33])
@pytest.mark.parametrize("threads", [1, 2, 3, 40])
@pytest.mark.parametrize("unit", [1, 4, 16])
def test_ranges_cover_all_once(count, threads, unit):
    found, lock = [], threading.Lock()

    def call(start, stop):
        with lock:
            found.append((start, stop))

    _core.run_ranges(count, threads, call, unit)
    found.sort()
    assert [i for start, stop in found for i in range(start, stop)] == list(range(count))
    assert len(found) <= threads
    assert all(start % unit == 0 for start, _ in found)


def test_the_error_of_the_first_range_is_raised_when_all_have_ended():
    done = []

    def call(start, stop):
        done.append(start)
        if start:
            raise ValueError(start)

    for _ in range(50):
        done.clear()
        with pytest.raises(ValueError, match=r"^10$"):
            _core.run_ranges(40, 4, call)
        assert 0 in done
        assert 10 in done


def test_ranges_run_side_by_side():
    barrier = threading.Barrier(2, timeout=20)
    _core.run_ranges(2, 2, lambda start, stop: barrier.wait())


def test_many_callers_share_the_helpers():
    errors = []

    def caller(seed):
        weight = legal_weight((64, 64), seed)
        for _ in range(30):
            sparse = encoder.encode(weight, threads=3)
            if not np.array_equal(encoder.decode(sparse, threads=2), weight):
                errors.append(seed)

    callers = [threading.Thread(target=caller, args=(seed,)) for seed in range(6)]
    for one in callers:
        one.start()
    for one in callers:
        one.join()
    assert not errors


FORK = """
import os, numpy as np
from cube24 import encoder
weight = np.tile(np.int8([0, 5, 0, -3]), (64, 16))
expected = encoder.encode(weight, threads=3)
pid = os.fork()
if pid == 0:
    got = encoder.encode(weight, threads=3)
    os._exit(0 if np.array_equal(got.dense, expected.dense) else 1)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


def test_a_process_that_was_forked_starts_its_own_helpers():
    done = environment_run(FORK)
    assert done.stdout == "0\n", done.stderr


# --- which code runs ------------------------------------------------------------------------------


def test_the_path_that_runs_is_told_and_why(path):
    assert encoder.chosen_path() == (path, "chosen by use_path")
    encoder.use_path(None)
    name, why = encoder.chosen_path()
    expected = os.environ.get("CUBE24_PATH")
    assert name == expected if expected else name == encoder.paths()[-1]
    assert why == ("chosen by CUBE24_PATH" if expected else "the fastest that this machine can run")
