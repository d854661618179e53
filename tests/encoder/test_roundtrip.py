"""Arrays of every shape, stride and layout: the oracle's bytes, and back."""

import json
from fractions import Fraction
from math import prod

import numpy as np
import oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import any_weight, legal_weight

from cube24 import encoder

SEEDS = st.integers(0, 2**32 - 1)
LAYOUTS = st.sampled_from(["nd", "zn"])
# Sizes of tails and of whole units more often than the rest of 1..300.
SIZES = st.sampled_from([1, 3, 4, 5, 8, 15, 16, 17, 63, 64, 65, 128, 256]) | st.integers(1, 300)
FEW = st.integers(1, 3)
EMPTY = st.sampled_from([(0, 8), (5, 0), (0, 0), (0, 3, 5), (2, 0, 5), (2, 3, 0), (2, 0, 1, 9)])
SHAPES = (
    st.tuples(SIZES, SIZES)
    | st.tuples(FEW, st.integers(1, 40), SIZES)
    | st.tuples(FEW, FEW, st.integers(1, 20), st.integers(1, 80))
    | EMPTY
)
CONV_SHAPES = st.tuples(
    st.sampled_from([1, 2, 15, 16, 17]) | st.integers(0, 40),
    st.sampled_from([1, 3, 4, 31, 32, 33, 64]) | st.integers(0, 70),
    st.integers(1, 5),
    st.sampled_from([0, 1, 2, 3, 4, 5]),
)


@st.composite
def strided(draw: st.DrawFn, weight: np.ndarray) -> np.ndarray:
    """The same values in other memory: transposed, sliced, reversed, read-only."""
    order = draw(st.permutations(range(weight.ndim)))
    steps = [draw(st.sampled_from([1, -1, 2, -2, 3])) for _ in order]
    base = np.full([size * abs(step) for size, step in zip(weight.shape, steps, strict=True)], 99)
    base = base.astype(np.int8).transpose(order).copy().transpose(np.argsort(order))
    view = base[tuple(slice(None, None, step) for step in steps)]
    view[...] = weight
    view.flags.writeable = draw(st.booleans())
    assert np.array_equal(view, weight)
    return view


def assert_holds(sparse: encoder.SparseWeight, weight: np.ndarray, layout: str, kind: str) -> None:
    """The oracle's bytes, all facts beside them, and the weight again."""
    dense, index = oracle.encode_weight(weight, layout, kind)
    assert (sparse.dense.dtype, sparse.index.dtype) == (np.int8, np.uint8)
    assert np.array_equal(sparse.dense, dense)
    assert np.array_equal(sparse.index, index)
    assert (sparse.shape, sparse.layout, sparse.kind) == (weight.shape, layout, kind)
    assert sparse.nbytes == dense.size + index.size == 5 * index.size
    back = encoder.decode(sparse, strict=True)
    assert (back.dtype, back.shape) == (np.int8, weight.shape)
    assert np.array_equal(back, weight)


@given(shape=SHAPES, seed=SEEDS, layout=LAYOUTS, data=st.data())
def test_encode_writes_the_oracles_bytes_and_decode_gives_the_weight_back(
    path, shape, seed, layout, data
):
    weight = legal_weight(shape, seed)
    sparse = encoder.encode(data.draw(strided(weight)), layout=layout)
    assert_holds(sparse, weight, layout, "matrix")
    assert sparse.changes == encoder.Changes(0, 0)


@given(shape=CONV_SHAPES, seed=SEEDS, layout=LAYOUTS, data=st.data())
def test_a_convolution_is_encoded_along_its_channels(path, shape, seed, layout, data):
    weight = legal_weight(shape, seed, "conv")
    sparse = encoder.encode_conv(data.draw(strided(weight)), layout=layout)
    assert_holds(sparse, weight, layout, "conv")
    assert np.array_equal(encoder.decode_conv(sparse, strict=True), weight)


@pytest.mark.parametrize("layout", ["nd", "zn"])
@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (5, 2), (7, 7)])
@pytest.mark.parametrize("cin", [1, 3, 4, 31, 32, 33, 64])
def test_convolutions_of_the_usual_sizes(path, cin, kernel, layout):
    weight = legal_weight((17, cin, *kernel), cin, "conv")
    assert_holds(encoder.encode_conv(weight, layout=layout), weight, layout, "conv")


def test_the_k_order_of_a_convolution_is_block_then_tap_then_channel():
    weight = np.zeros((1, 34, 2, 3), np.int8)
    weight[0, 33, 1, 2] = 7  # block 1, tap 1 * 3 + 2 = 5, channel 1 of the block
    sparse = encoder.encode_conv(weight)
    as_matrix = encoder.SparseWeight(sparse.dense, sparse.index, (1, 2 * 2 * 3 * 32))
    assert np.flatnonzero(encoder.decode(as_matrix)).tolist() == [1 * 6 * 32 + 5 * 32 + 1]


@pytest.mark.parametrize("layout", ["nd", "zn"])
@pytest.mark.parametrize("shape", [(0, 8), (3, 0), (0, 0), (0, 3, 5), (2, 0, 5), (2, 3, 0)])
def test_arrays_without_elements(path, shape, layout):
    weight = np.zeros(shape, np.int8)
    sparse = encoder.encode(weight, layout=layout)
    assert (sparse.dense.shape, sparse.index.shape) == oracle.stored_shapes(shape, layout)
    assert_holds(sparse, weight, layout, "matrix")
    assert encoder.check(weight).groups == 0
    assert encoder.prune(weight).cost == encoder.PruneCost()


@pytest.mark.parametrize("shape", [(37, 130), (3, 18, 70)])
@pytest.mark.parametrize("layout", ["nd", "zn"])
def test_fortran_order_changes_nothing(path, shape, layout):
    weight = legal_weight(shape, 1)
    sparse = encoder.encode(np.asfortranarray(weight), layout=layout)
    assert_holds(sparse, weight, layout, "matrix")


# --- policies -------------------------------------------------------------------------------------


@given(shape=SHAPES, seed=SEEDS, layout=LAYOUTS, policy=st.sampled_from(oracle.POLICIES))
def test_a_policy_encodes_what_the_oracle_keeps(path, shape, seed, layout, policy):
    shape = (*shape[:-2], min(shape[-2], 40), min(shape[-1], 80))  # the oracle is slow here
    weight = any_weight(shape, seed)
    kept = np.zeros_like(weight)
    for number in np.ndindex(shape[:-2]):
        kept[number] = oracle.keep_all(weight[number], policy)
    sparse = encoder.encode(weight, layout=layout, policy=policy)
    assert_holds(sparse, kept, layout, "matrix")
    assert sparse.changes == encoder.Changes(
        len(list(oracle.excess(weight))), np.count_nonzero(weight) - np.count_nonzero(kept)
    )


# --- buffers of the caller ------------------------------------------------------------------------


@given(shape=SHAPES, seed=SEEDS, layout=LAYOUTS)
def test_out_takes_the_same_bytes_and_is_what_comes_back(path, shape, seed, layout):
    weight = legal_weight(shape, seed)
    dense_shape, index_shape = oracle.stored_shapes(shape, layout)
    dense, index = np.full(dense_shape, 77, np.int8), np.full(index_shape, 77, np.uint8)
    sparse = encoder.encode(weight, layout=layout, out=(dense, index))
    assert sparse.dense is dense
    assert sparse.index is index
    assert_holds(sparse, weight, layout, "matrix")
    back = np.full(shape, 77, np.int8)
    assert encoder.decode(sparse, out=back) is back
    assert np.array_equal(back, weight)
    pruned = np.full(shape, 77, np.int8)
    assert encoder.prune(weight, out=pruned).weight is pruned
    assert np.array_equal(pruned, weight)


@pytest.mark.parametrize("layout", ["nd", "zn"])
def test_out_of_a_convolution(path, layout):
    weight = legal_weight((5, 33, 3, 2), 9, "conv")
    dense_shape, index_shape = oracle.stored_shapes(weight.shape, layout, "conv")
    dense, index = np.full(dense_shape, 77, np.int8), np.full(index_shape, 77, np.uint8)
    sparse = encoder.encode_conv(weight, layout=layout, out=(dense, index))
    assert sparse.dense is dense
    assert sparse.index is index
    assert_holds(sparse, weight, layout, "conv")
    back = np.full(weight.shape, 77, np.int8)
    assert encoder.decode_conv(sparse, out=back) is back
    assert np.array_equal(back, weight)


@given(shape=SHAPES, seed=SEEDS)
def test_the_arguments_are_never_written_to(path, shape, seed):
    weight = any_weight(shape, seed)
    before = weight.copy()
    sparse = encoder.encode(weight, policy="magnitude")
    dense, index = sparse.dense.copy(), sparse.index.copy()
    encoder.prune(weight)
    encoder.check(weight)
    encoder.decode(sparse)
    sparse.to_fractal().to_nd()
    assert np.array_equal(weight, before)
    assert np.array_equal(sparse.dense, dense)
    assert np.array_equal(sparse.index, index)


# --- layouts --------------------------------------------------------------------------------------


@given(shape=SHAPES, seed=SEEDS)
def test_fractals_are_the_rows_cut_up_and_rows_the_fractals_joined(path, shape, seed):
    weight = legal_weight(shape, seed)
    rows = encoder.encode(weight)
    fractals = rows.to_fractal()
    assert_holds(fractals, weight, "zn", "matrix")
    assert_holds(fractals.to_nd(), weight, "nd", "matrix")
    assert rows.to_nd() is rows
    assert fractals.to_fractal() is fractals


@given(shape=st.tuples(FEW, SIZES, SIZES), seed=SEEDS)
def test_layouts_move_bytes_and_do_not_judge_them(shape, seed):
    rng = np.random.default_rng(seed)
    dense_shape, index_shape = oracle.stored_shapes(shape, "nd")
    dense = rng.integers(0, 256, dense_shape, np.uint8).view(np.int8)
    index = rng.integers(0, 256, index_shape, np.uint8)
    fractals = encoder.SparseWeight(dense, index, shape).to_fractal()
    for number in range(shape[0]):
        assert np.array_equal(fractals.dense[number], oracle.to_zn(dense[number], 32))
        assert np.array_equal(fractals.index[number], oracle.to_zn(index[number], 8))
    rows = fractals.to_nd()
    assert np.array_equal(rows.dense, dense)
    assert np.array_equal(rows.index, index)


@given(seed=SEEDS, kernel=st.tuples(FEW, FEW), cin=st.integers(1, 70))
def test_layouts_of_a_convolution(seed, kernel, cin):
    weight = legal_weight((18, cin, *kernel), seed, "conv")
    fractals = encoder.encode_conv(weight).to_fractal()
    assert_holds(fractals, weight, "zn", "conv")
    assert_holds(fractals.to_nd(), weight, "nd", "conv")


# --- bytes of other writers -----------------------------------------------------------------------


@st.composite
def foreign(draw: st.DrawFn) -> encoder.SparseWeight:
    """Bytes of another writer: any at all, any without a fault, or ours with a few changed."""
    shape = draw(
        st.tuples(st.integers(1, 20), st.integers(1, 70))
        | st.tuples(FEW, st.integers(1, 18), st.integers(1, 20))
        | st.tuples(st.integers(1, 9), st.integers(1, 35), FEW, FEW)
        | EMPTY
    )
    layout = draw(LAYOUTS)
    kind = draw(st.sampled_from(["matrix", "conv"])) if len(shape) == 4 else "matrix"
    seed = draw(SEEDS)
    rng = np.random.default_rng(seed)
    writer = draw(st.sampled_from(["any", "acceptable", "ours", "nearly ours"]))
    dense, index = oracle.encode_weight(legal_weight(shape, seed, kind), layout, kind)
    dense, index = dense.copy(), index.copy()
    if writer in ("any", "acceptable"):
        dense[...] = rng.choice(np.int8([0, 0, 0, 0, 1, -1, 127, -128]), dense.shape)
        top = 3 if writer == "any" else 2
        indices = rng.integers(0, top, (index.size, 4), endpoint=True)
        if writer == "acceptable":  # slot 1 is empty wherever both slots select one element
            pairs, slots = indices.reshape(2 * index.size, 2), dense.reshape(2 * index.size, 2)
            slots[pairs[:, 0] == pairs[:, 1] + 1, 1] = 0
        index[...] = oracle.pack_rows(indices).reshape(index.shape)
    if writer == "nearly ours" and index.size:
        for _ in range(draw(st.integers(1, 6))):
            dense.reshape(dense.size)[rng.integers(dense.size)] ^= 1
            index.reshape(index.size)[rng.integers(index.size)] ^= 1 << rng.integers(8)
    return encoder.SparseWeight(dense, index, shape, layout, kind)


def oracle_decode(sparse: encoder.SparseWeight) -> np.ndarray:
    """Bytes that no group is refused of, to a weight."""
    tail = 4 if sparse.layout == "zn" else 2
    batch = (prod(sparse.shape[:-2]) if sparse.kind == "matrix" else 1,)
    # The number of each element, in the order of the stored matrix; -1 in missing channels.
    numbers = np.arange(prod(sparse.shape)).reshape(sparse.shape)
    places = oracle.matrices_of(numbers, sparse.kind, fill=-1)
    weight = np.zeros(prod(sparse.shape), np.int8)
    for dense, index, place in zip(
        sparse.dense.reshape(batch + sparse.dense.shape[-tail:]),
        sparse.index.reshape(batch + sparse.index.shape[-tail:]),
        places,
        strict=True,
    ):
        if sparse.layout == "zn":
            dense, index = oracle.from_zn(dense), oracle.from_zn(index)
        matrix = oracle.decode(dense, index)[: place.shape[0], : place.shape[1]]
        weight[place[place >= 0]] = matrix[place >= 0]
    return weight.reshape(sparse.shape)


@given(sparse=foreign())
def test_foreign_bytes_are_decoded_by_the_selection_rule_or_refused_with_every_place(path, sparse):
    expected = list(
        oracle.refused(sparse.dense, sparse.index, sparse.shape, sparse.layout, sparse.kind)
    )
    if not expected:
        assert np.array_equal(encoder.decode(sparse), oracle_decode(sparse))
        return
    with pytest.raises(encoder.RefusedError) as caught:
        encoder.decode(sparse, limit=100_000)
    assert caught.value.count == len(expected)
    assert [as_oracle(group) for group in caught.value.groups] == expected


@given(sparse=foreign())
def test_a_strict_decode_refuses_what_the_encoder_would_not_have_written(path, sparse):
    expected = list(
        oracle.refused(
            sparse.dense, sparse.index, sparse.shape, sparse.layout, sparse.kind, strict=True
        )
    )
    if not expected:
        assert np.array_equal(encoder.decode(sparse, strict=True), oracle_decode(sparse))
        return
    with pytest.raises(encoder.RefusedError) as caught:
        encoder.decode(sparse, strict=True, limit=100_000)
    assert caught.value.count == len(expected)
    assert [as_oracle(group) for group in caught.value.groups] == expected


def as_oracle(group: encoder.RefusedGroup) -> oracle.Refused:
    return oracle.Refused(*(getattr(group, name) for name in oracle.Refused._fields))


# --- check and prune ------------------------------------------------------------------------------


@st.composite
def illegal(draw: st.DrawFn) -> tuple[np.ndarray, str]:
    shape = draw(
        st.tuples(st.integers(1, 40), st.integers(1, 80))
        | st.tuples(FEW, st.integers(1, 9), st.integers(1, 40))
        | st.tuples(st.integers(1, 9), st.integers(1, 40), FEW, FEW)
        | EMPTY
    )
    kind = draw(st.sampled_from(["matrix", "conv"])) if len(shape) == 4 else "matrix"
    return any_weight(shape, draw(SEEDS)), kind


@given(given_=illegal(), limit=st.integers(0, 60))
def test_check_counts_patterns_and_names_offenders_and_the_worst_rows(path, given_, limit):
    weight, kind = given_
    report = encoder.check(weight, kind=kind, limit=limit)
    offenders = list(oracle.excess(weight, kind))
    patterns = oracle.histogram(weight, kind)
    assert report.patterns == patterns
    assert report.violations == len(offenders)
    assert report.legal == (not offenders)
    assert report.groups == sum(patterns.values())
    assert report.nonzeros == np.count_nonzero(weight)
    assert [as_excess(offender) for offender in report.offenders] == offenders[:limit]
    rows: dict[tuple[int, ...], int] = {}
    for offender in offenders:
        row = offender.coordinates[: 1 if kind == "conv" else -1]
        rows[row] = rows.get(row, 0) + 1
    worst = sorted(rows.items(), key=lambda item: (-item[1], item[0]))[:10]
    assert [(row.coordinates, row.violations) for row in report.worst_rows] == worst
    assert (report.shape, report.kind) == (weight.shape, kind)


def test_a_report_is_plain_data_and_a_text():
    weight = np.int8([[1, 2, 3, 0, 4, 5, 0, 6], [0, 0, 0, 0, 7, 0, 0, 0]])
    report = encoder.check(weight, limit=1)
    assert json.loads(json.dumps(report.to_dict())) == {
        "legal": False,
        "shape": [2, 8],
        "kind": "matrix",
        "groups": 4,
        "violations": 2,
        "nonzeros": 7,
        "patterns": oracle.histogram(weight),
        "offenders": [
            {"coordinates": [0, 0], "group": 0, "positions": [0, 1, 2], "values": [1, 2, 3, 0]}
        ],
        "worst_rows": [{"coordinates": [0], "violations": 2}],
    }
    text = str(report)
    assert "NOT 2:4: 2 groups in excess" in text
    assert "(0, 0) group 0: values (1, 2, 3, 0), non-zero at e0, e1, e2" in text
    assert "row (0): 2 groups in excess" in text
    assert "legal 2:4" in str(encoder.check(np.zeros((1, 8), np.int8)))
    assert "legal 2:4" in str(encoder.check(np.zeros((0, 8), np.int8)))


def test_the_cost_of_pruning_as_a_text():
    # 2 of 12, and the root of 2 of 28.
    cost = encoder.prune(np.int8([[1, 2, 3, 0, 3, 2, 1, 0]])).cost
    text = "2 groups changed, 2 weights dropped: 16.667% of the L1 norm, 26.726% of the L2 norm"
    assert str(cost) == text


def as_excess(offender: encoder.Offender) -> oracle.Excess:
    return oracle.Excess(*(getattr(offender, name) for name in oracle.Excess._fields))


@given(given_=illegal(), policy=st.sampled_from(oracle.POLICIES), data=st.data())
def test_prune_keeps_what_the_oracle_keeps_and_tells_the_exact_cost(path, given_, policy, data):
    weight, kind = given_
    pruned = encoder.prune(data.draw(strided(weight)), policy=policy, kind=kind)
    assert (pruned.weight.dtype, pruned.weight.shape) == (np.int8, weight.shape)

    before = oracle.matrices_of(weight, kind)
    after = oracle.matrices_of(pruned.weight, kind)
    for one, other in zip(before, after, strict=True):
        assert np.array_equal(oracle.keep_all(one, policy), other)

    lost = [int(w) for w in weight[pruned.weight != weight].tolist()]
    every = [int(w) for w in weight.reshape(-1).tolist()]
    assert pruned.cost == encoder.PruneCost(
        groups=len(list(oracle.excess(weight, kind))),
        weights=len(lost),
        l1_removed=sum(map(abs, lost)),
        l1_total=sum(map(abs, every)),
        l2_removed=sum(w * w for w in lost),
        l2_total=sum(w * w for w in every),
    )
    if lost:
        l1 = Fraction(sum(map(abs, lost)), sum(map(abs, every)))
        l2 = Fraction(sum(w * w for w in lost), sum(w * w for w in every))
        assert pruned.cost.l1_share == pytest.approx(float(l1), rel=1e-12)
        assert pruned.cost.l2_share == pytest.approx(float(l2) ** 0.5, rel=1e-12)
    else:
        assert (pruned.cost.l1_share, pruned.cost.l2_share) == (0.0, 0.0)


@given(given_=illegal(), policy=st.sampled_from(oracle.POLICIES))
def test_a_pruned_weight_encodes_without_violation(path, given_, policy):
    weight, kind = given_
    pruned = encoder.prune(weight, policy=policy, kind=kind).weight
    encode = encoder.encode_conv if kind == "conv" else encoder.encode
    sparse = encode(pruned)
    assert np.array_equal(encoder.decode(sparse, strict=True), pruned)
    at_once = encode(weight, policy=policy)
    assert np.array_equal(at_once.dense, sparse.dense)
    assert np.array_equal(at_once.index, sparse.index)


@given(shape=SHAPES, seed=SEEDS, policy=st.sampled_from(oracle.POLICIES))
def test_prune_leaves_a_legal_weight_alone(path, shape, seed, policy):
    weight = legal_weight(shape, seed)
    pruned = encoder.prune(weight, policy=policy)
    assert np.array_equal(pruned.weight, weight)
    assert (pruned.cost.groups, pruned.cost.weights, pruned.cost.l1_removed) == (0, 0, 0)


# --- bits -----------------------------------------------------------------------------------------


@given(
    values=st.lists(st.integers(0, 3), max_size=70),
    leading=st.lists(st.integers(0, 3), max_size=2),
)
def test_indices_are_packed_least_significant_first_row_by_row(values, leading):
    array = np.tile(np.array(values, np.uint8), (*leading, 1)) if leading else np.uint8(values)
    array = array.reshape(*leading, len(values))
    packed = encoder.pack_index(array)
    expected = oracle.pack(values)
    assert packed.shape == (*leading, len(expected))
    for place in np.ndindex(*leading):
        assert packed[place].tolist() == expected
    assert np.array_equal(encoder.unpack_index(packed, len(values)), array)
    assert encoder.unpack_index(packed).shape == (*leading, 4 * len(expected))
