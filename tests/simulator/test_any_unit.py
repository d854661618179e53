"""The tiler obeys the unit that it writes for: sizes and alignments of every memory.

Whatever the unit, a layer is refused with a TilingError, or its program runs, has no hazards, ends,
and gives the product.
"""

import numpy as np
import pytest
import samples
from hypothesis import event, given, settings
from hypothesis import strategies as st

from cube24 import encoder
from cube24.simulator import (
    Conv2d,
    Layer,
    Matmul,
    Program,
    Requant,
    Run,
    Tile,
    TilingError,
    Unit,
    UnitConfig,
    hazards,
)
from cube24.simulator.chip import costs_of
from cube24.simulator.timing import schedule

MEMORIES = ("l1", "l0a", "l0b", "l0c", "bt", "fb")
ALIGN = st.one_of(
    st.sampled_from([1, 2, 4, 8, 32, 64, 128, 256, 512, 1024, 2048, 4096]), st.integers(1, 5000)
)


@st.composite
def configs(draw) -> UnitConfig:
    """A unit all of whose memories and alignments are drawn, the most of them as they are."""
    fields = {}
    for memory in MEMORIES:
        if draw(st.integers(0, 2)):
            continue
        align = fields[f"{memory}_align"] = draw(ALIGN)
        most = max(1, getattr(UnitConfig(), f"{memory}_bytes") // align)
        fields[f"{memory}_bytes"] = align * draw(st.integers(1, most))
    if "l0b_bytes" in fields:
        fields["l0b_bytes"] += -fields["l0b_bytes"] % 4 * fields["l0b_align"]
        fields["l0b_bytes"] *= 4 if fields["l0b_bytes"] % 4 else 1
    if draw(st.integers(0, 3)) == 0:
        fields["queue_depth"] = draw(st.integers(1, 5))
    return UnitConfig(**fields)


@st.composite
def layers(draw) -> Layer:
    if draw(st.booleans()):
        return Matmul(*(draw(st.integers(1, most)) for most in (70, 70, 300)))
    kernel = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    return Conv2d(
        draw(st.integers(1, 2)), draw(st.integers(1, 70)), draw(st.integers(3, 9)),
        draw(st.integers(3, 9)), draw(st.integers(1, 40)), kernel,
        pads=(draw(st.integers(0, 1)),) * 4,
    )  # fmt: skip


@st.composite
def tiles(draw) -> Tile:
    k = 64 * draw(st.integers(1, 3))
    return Tile(
        16 * draw(st.integers(1, 3)), 16 * draw(st.integers(1, 3)), k,
        k * draw(st.integers(1, 3)), l1_buffers=draw(st.integers(1, 2)),
        unit_flag=draw(st.booleans()),
    )  # fmt: skip


def product(layer: Layer, x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """In int64, by the definition."""
    x, w = x.astype(np.int64), w.astype(np.int64)
    if isinstance(layer, Matmul):
        return x @ w.T
    top, left, bottom, right = layer.pads
    x = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    windows = np.lib.stride_tricks.sliding_window_view(x, layer.kernel, axis=(2, 3))
    return np.einsum("bchwij,ocij->bohw", windows, w)


def run_of(
    config: UnitConfig, layer: Layer, sparse: bool, added: bool, words: bool, tile: Tile | None
) -> Run:
    """The run of random operands; its output is compared, and its program looked at."""
    rng = np.random.default_rng(layer.k + layer.n)
    kind = "matrix" if isinstance(layer, Matmul) else "conv"
    x = rng.integers(-128, 128, layer.activations, dtype=np.int8)
    w = samples.legal_weight(layer.weight, 3, kind)
    encode = encoder.encode if kind == "matrix" else encoder.encode_conv
    bias = rng.integers(-(2**20), 2**20, layer.n).astype(np.int32) if added else None
    # A scale of 1/4096 and an offset: exact in fp32, so rounding to even is all there is.
    scale = 2.0 ** -rng.integers(6, 12, layer.n)
    run = Unit(config).run(
        layer, x, encode(w) if sparse else w, bias=bias,
        requant=Requant(scale, mode="REQ8") if words else None, tile=tile,
    )  # fmt: skip
    expected = product(layer, x, w)
    columns = (-1,) if kind == "matrix" else (-1, 1, 1)
    if bias is not None:
        expected = expected + bias.reshape(columns)
    if words:
        expected = np.clip(np.rint(expected * scale.reshape(columns)), -128, 127)
    np.testing.assert_array_equal(run.output, expected)
    assert_good(run.program, config)
    return run


def assert_good(program: Program, config: UnitConfig) -> None:
    assert str(hazards.check(program, config)) == "no hazards"
    assert schedule(program, config).cycles > 0


@settings(max_examples=300)
@given(configs(), layers(), st.booleans(), st.booleans(), st.booleans(), st.none() | tiles())
def test_a_layer_runs_on_any_unit_or_does_not_fit_it(config, layer, sparse, bias, words, tile):
    try:
        run = run_of(config, layer, sparse, bias, words, tile)
    except TilingError:
        event("does not fit")
        return
    event("runs")
    # Time is that of the program, also where it is counted by tiles.
    assert run.cycles == schedule(run.program, config, costs_of(run.plan, 1)).cycles


#: Units that have room for any of LAYERS: an alignment or a size at a time is another one.
FITTING = [
    *(
        {f"{memory}_align": align, f"{memory}_bytes": -(-size // align) * align}
        for memory, size in (
            ("l1", 512 << 10), ("l0a", 64 << 10), ("l0b", 64 << 10), ("l0c", 128 << 10),
            ("bt", 1 << 10), ("fb", 7 << 10),
        )
        for align in (1, 4, 64, 96, 128, 256, 512, 1024, 2048, 4096)
        if not (memory == "bt" and align > 512)
    ),
    {f"{memory}_align": 512 for memory in MEMORIES},
    {f"{memory}_align": 1 for memory in MEMORIES},
    {"l1_bytes": 20480}, {"l0a_bytes": 3 * 512 * 2}, {"l0b_bytes": 3 * 512 * 2},
    {"l0c_bytes": 1024}, {"l0c_bytes": 3072}, {"bt_bytes": 128}, {"bt_bytes": 192},
    {"fb_bytes": 256}, {"fb_bytes": 264}, {"l1_align": 96, "l1_bytes": 96 * 501},
    {"l0a_align": 8192}, {"l0a_align": 24576, "l0a_bytes": 49152}, {"l0b_align": 8192},
    {"l0c_align": 3000, "l0c_bytes": 120000}, {"queue_depth": 1},
]  # fmt: skip
LAYERS = [Matmul(50, 40, 300), Conv2d(2, 40, 7, 6, 33, (3, 2), pads=(1, 1, 1, 1))]


@pytest.mark.parametrize("fields", FITTING, ids=str)
@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
def test_an_unusual_unit_runs_what_it_has_room_for(fields, layer):
    for sparse in (True, False):
        run_of(UnitConfig(**fields), layer, sparse, True, True, None)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"bt_bytes": 64}, "two rows of bias take 128, the unit has 64"),
        ({"fb_bytes": 128}, "two rows of words take 256, the unit has 128"),
        ({"l0a_bytes": 1024}, "two parts of activations in L0A take 2048, the unit has 1024"),
        ({"l0b_bytes": 512}, "two parts of weights in L0B take 1024, the unit has 512"),
        ({"l0c_bytes": 512, "l0c_align": 512}, "a result in L0C take 1024, the unit has 512"),
        ({"l1_bytes": 3072}, "chunks in L1 take"),
    ],
)
def test_what_a_unit_has_no_room_for_is_told(fields, said):
    with pytest.raises(TilingError, match=said):
        run_of(UnitConfig(**fields), LAYERS[0], True, True, True, None)


def test_a_tile_whose_rows_cannot_be_aligned_is_refused():
    # A row of fractals of k = 64 has 1024 bytes; the last of 300 has 12 * 64, and 1024 bytes too.
    layer, config = LAYERS[0], UnitConfig(l0a_align=2048)
    with pytest.raises(TilingError, match="l0a_align 2048"):
        run_of(config, layer, True, False, False, Tile(32, 16, 64, 64))
    run_of(config, layer, True, False, False, Tile(16, 16, 64, 64))
    run_of(config, Matmul(50, 40, 256), True, False, False, Tile(32, 16, 128, 128))
