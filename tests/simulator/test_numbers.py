"""Numbers from outside: of any type that is a number, and nothing else; never another number.

``NUMBER`` are spellings of the same number that must give the same, ``NONE`` is what is no number
of its kind and must be refused with a typed error.
"""

import dataclasses
import math

import numpy as np
import pytest

from cube24 import encoder
from cube24.errors import ArgumentError, Cube24Error
from cube24.simulator import (
    Conv2d,
    Matmul,
    Program,
    Requant,
    Tile,
    TilingError,
    Unit,
    UnitConfig,
    dense,
    functional,
    hazards,
    sweep,
)
from cube24.simulator.config import ConfigError
from cube24.sizes import plain, real_of, shown, truth, whole, whole_of

HUGE = 10**5000
WHOLES = [np.uint8, np.int8, np.int16, np.uint32, np.int64, np.uint64]
#: No whole number of any kind.
NONE = [
    True, False, np.True_, 1.5, np.float32(2), math.nan, math.inf, "16", b"16", None, [16], (16,),
    {16}, np.array([16, 16]), 1j, object(), HUGE, -HUGE, -1,
]  # fmt: skip


def name_of(value: object) -> str:
    return shown(value)


# --- sizes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", NONE, ids=name_of)
def test_what_is_no_whole_number_is_told_in_a_line(value):
    with pytest.raises(ArgumentError) as error:
        whole(value, "count", 0, 1 << 40)
    assert str(error.value).startswith("count is ")
    assert "takes" in str(error.value)
    assert len(str(error.value)) < 200


def test_a_whole_number_is_a_plain_int_whatever_its_type():
    for kind in WHOLES:
        assert type(whole(kind(100), "count")) is int
        assert whole(kind(100), "count") * 3 == 300
    assert whole(np.array(7), "count") == 7
    assert whole(HUGE, "count") == HUGE


@pytest.mark.parametrize("value", [0, 1, None, "True", np.int64(1), math.nan, []], ids=name_of)
def test_what_is_neither_true_nor_false_is_refused(value):
    with pytest.raises(ArgumentError, match="takes True or False"):
        truth(value, "flag")
    assert truth(np.False_, "flag") is False


@pytest.mark.parametrize(
    "text", ["", "x", "1_0", "0x_f", "\u0663", "\uff11", "1.5", "9" * 5000, "0b2", "--1", "1e3"]
)
def test_text_that_is_no_whole_number_is_refused(text):
    for base in (0, 10):
        with pytest.raises(ValueError):  # noqa: PT011 - of Python, or of ours
            whole_of(text, base)


def test_text_that_is_a_number_is_read():
    assert [whole_of(text, 0) for text in ("0x1F", "-3", "0", "9" * 30)] == [31, -3, 0, 10**30 - 1]
    assert whole_of("0016") == 16
    assert real_of("-1.5e-3") == -0.0015
    for text in ("1_0.5", "\u0663.5", "1" * 5000, ""):
        with pytest.raises(ValueError):  # noqa: PT011
            real_of(text)


def test_a_value_is_shown_in_less_than_a_line():
    for value in (HUGE, -HUGE, [HUGE], "x" * 9999, np.arange(99999), {HUGE: 1}, "\n"):
        assert len(shown(value)) <= 100
    assert shown(np.int64(3)) == repr(np.int64(3))


def test_types_of_numpy_are_those_of_python():
    found = [plain(value) for value in (np.int8(3), np.float64(1.5), np.True_, np.str_("x"), 3)]
    assert found == [3, 1.5, True, "x", 3]
    assert [type(value) for value in found] == [int, float, bool, str, int]


# --- layers, tiles, cores -------------------------------------------------------------------------

LAYERS = {
    "m": lambda value: Matmul(value, 48, 256),
    "n": lambda value: Matmul(64, value, 256),
    "k": lambda value: Matmul(64, 48, value),
    **{
        name: lambda value, name=name: Conv2d(
            **{"batch": 1, "cin": 40, "h": 30, "w": 30, "cout": 64, "kernel": (3, 3), name: value}
        )
        for name in ("batch", "cin", "h", "w", "cout", "offset_x")
    },
    **{
        f"{name}[{place}]": lambda value, name=name, place=place, size=size: Conv2d(
            **{"batch": 1, "cin": 40, "h": 30, "w": 30, "cout": 64, "kernel": (3, 3)}
            | {name: tuple(value if i == place else 1 for i in range(size))}
        )
        for name, size in (("kernel", 2), ("strides", 2), ("pads", 4), ("dilations", 2))
        for place in range(size)
    },
}  # fmt: skip
TILES = {
    spec.name: lambda value, name=spec.name: Unit().time(
        Matmul(16, 16, 64), tile=Tile(**{"m": 16, "n": 16, "k": 64, "k_l1": 64, name: value})
    )
    for spec in dataclasses.fields(Tile)
    if spec.name != "unit_flag"
}
OTHERS = {
    "cores": lambda value: Unit().time(Matmul(64, 64, 256), cores=value),
    "limit": lambda value: hazards.check(Program((), ()), UnitConfig(), limit=value),
    "shift": lambda value: Requant(1.0, shift=value),
    "offset": lambda value: Requant(1.0, value if np.ndim(value) == 0 else np.nan),
}
TAKERS = {**LAYERS, **TILES, **OTHERS}


@pytest.mark.parametrize("taker", TAKERS)
def test_what_is_no_number_is_refused_everywhere(taker):
    for value in NONE:
        if taker in ("offset_x", "offset") and value is NONE[-1]:
            continue
        if taker == "limit" and value is HUGE:
            continue
        with pytest.raises(Cube24Error) as error:
            TAKERS[taker](value)
        assert len(str(error.value)) < 400


@pytest.mark.parametrize("kind", WHOLES, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("taker", LAYERS)
def test_small_types_give_the_same_layer(taker, kind):
    layer = LAYERS[taker](kind(4))
    assert layer == LAYERS[taker](4)
    assert Unit().time(layer).cycles == Unit().time(LAYERS[taker](4)).cycles
    assert all(
        type(value) is int
        for field in dataclasses.fields(layer)
        for value in np.atleast_1d(np.array(getattr(layer, field.name), object))
    )


@pytest.mark.parametrize("kind", WHOLES, ids=lambda kind: kind.__name__)
def test_small_types_give_the_same_tile_and_cores(kind):
    layer = Matmul(200, 200, 1000)
    small = Tile(kind(112), kind(112), kind(64), kind(64), kind(64), kind(2), np.True_)
    plainly = Tile(112, 112, 64, 64, 64, 2, True)
    assert small == plainly
    assert {type(value) for value in vars(small).values()} == {int, bool}
    for cores in (1, 3):
        one = Unit().time(layer, tile=small, cores=kind(cores))
        assert one.cycles == Unit().time(layer, tile=plainly, cores=cores).cycles
        assert one.program == Unit().time(layer, tile=plainly, cores=cores).program


@pytest.mark.parametrize("value", [0, 1, None, "yes", np.int8(1), math.nan], ids=name_of)
@pytest.mark.parametrize(
    "ask",
    [
        lambda value: Tile(16, 16, 64, 64, unit_flag=value),
        lambda value: Unit().time(Matmul(16, 16, 64), sparse=value),
        lambda value: Unit().time(Matmul(16, 16, 64), bias=value),
        lambda value: Unit().time(Matmul(16, 16, 64), sparse=False, weight_rows=value),
        lambda value: Requant(1.0, signed=value),
    ],
    ids=["unit_flag", "sparse", "bias", "weight_rows", "signed"],
)
def test_what_is_neither_true_nor_false_is_no_flag(ask, value):
    with pytest.raises((ArgumentError, TilingError)):
        ask(value)


def test_the_truths_of_numpy_are_true_and_false():
    layer, x = Matmul(16, 16, 64), np.ones((16, 64), np.int8)
    w = np.ones((16, 64), np.int8)
    for value in (True, False):
        of = np.bool_(value)
        assert Unit().time(layer, sparse=of).cycles == Unit().time(layer, sparse=value).cycles
        assert Unit().time(layer, bias=of).cycles == Unit().time(layer, bias=value).cycles
        assert Unit().run(layer, x, w, check=of).cycles > 0
    with pytest.raises(Cube24Error, match="differ"):
        Unit().run(layer, x, w, check=2 * w)


# --- units ----------------------------------------------------------------------------------------

FIELDS = {spec.name: spec for spec in dataclasses.fields(UnitConfig)}
NUMBERS = [name for name, spec in FIELDS.items() if type(spec.default) in (int, float)]


@pytest.mark.parametrize("name", NUMBERS)
def test_a_field_takes_any_type_of_its_number(name):
    default = FIELDS[name].default
    kinds = WHOLES if default == int(default) else []
    for kind in (*kinds, np.float64 if type(default) is float else int):
        if kind in WHOLES and default > np.iinfo(kind).max:
            continue
        config = UnitConfig(**{name: kind(default)})
        assert config == UnitConfig()
        assert type(getattr(config, name)) is type(default)
        assert UnitConfig.from_toml(config.to_toml()) == config


@pytest.mark.parametrize("name", NUMBERS)
def test_what_is_no_number_is_no_field(name):
    wrong = [value for value in NONE if type(value) is not float or not math.isfinite(value)]
    if type(FIELDS[name].default) is float:
        wrong = [value for value in wrong if not isinstance(value, np.floating)]
    for value in wrong:
        with pytest.raises(ConfigError) as error:
            UnitConfig(**{name: value})
        assert str(error.value).startswith(f"{name} is ")
        assert len(str(error.value)) < 200


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("l1_bytes = " + "9" * 5000, "no readable TOML"),
        ("l1_bytes = 0x" + "f" * 5000, "l1_bytes is a number of thousands of digits"),
        ("row_rate = nan", "row_rate is nan"),
        ("row_rate = -inf", "row_rate is -inf"),
        ("row_rate = 1e400", "row_rate is inf"),
        ("row_rate = true", "row_rate is True"),
        ("clock_mhz = 1e3", "clock_mhz is 1000.0"),
        ("queue_depth = 0", "queue_depth is 0"),
        ("cores = 2024-13-45", "no readable TOML"),
        ("cores = 2024-01-01", "cores is datetime"),
    ],
)
def test_numbers_of_a_file_are_checked(text, said):
    with pytest.raises(ConfigError) as error:
        UnitConfig.from_toml(text)
    assert said in str(error.value)
    assert len(str(error.value)) < 300


@pytest.mark.parametrize("unit", [3, None, 1.5, ["dav-2201"], np.int64(1), b"dav-2201"])
def test_what_names_no_unit_is_refused(unit):
    with pytest.raises(ArgumentError):
        Unit(unit)


def test_a_name_that_no_file_can_hold_is_refused_where_it_is_written(tmp_path):
    with pytest.raises(ConfigError, match="no file can hold it"):
        UnitConfig("\ud800").save(tmp_path / "unit.toml")
    assert list(tmp_path.iterdir()) == []


# --- sweeps, the two other computations, programs -------------------------------------------------


def test_an_axis_may_be_of_any_list_and_of_any_type_of_number():
    axes = {"m": np.array([16, 32], np.uint8), "n": (np.int16(16),), "k": range(64, 65)}
    points = sweep.grid(axes)
    assert points == [{"m": 16, "n": 16, "k": 64}, {"m": 32, "n": 16, "k": 64}]
    assert {type(value) for point in points for value in point.values()} == {int}


@pytest.mark.parametrize("values", ["16", 16, None, np.int64(3)])
def test_an_axis_that_is_no_list_is_refused(values):
    with pytest.raises(ArgumentError, match=r"axis n is .*; it takes a list of values"):
        sweep.grid({"m": [16], "n": values, "k": [64]})


@pytest.mark.parametrize("value", NONE, ids=name_of)
@pytest.mark.parametrize("axis", ["m", "tile_k", "cores", "l1_bytes", "row_rate", "dtype", "unit"])
def test_a_value_of_an_axis_that_cannot_be_is_a_problem_of_its_line(axis, value):
    if axis == "row_rate" and isinstance(value, float | np.floating) and math.isfinite(value):
        return
    axes = {"m": [16], "n": [16], "k": [64]}
    if axis == "tile_k":
        axes |= {"tile_m": [16], "tile_n": [16], "tile_k_l1": [64]}
    (row,) = sweep.sweep(sweep.grid(axes | {axis: [value]}))
    assert row["problem"]
    assert row["cycles"] == ""


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.int64])
def test_the_two_other_computations_take_any_type_of_number(kind):
    rng = np.random.default_rng(1)
    x = rng.integers(-9, 9, (1, 4, 2, 300), dtype=np.int8)
    w = np.zeros((2, 4, 1, 3), np.int8)
    w[:, 1:3] = rng.integers(1, 9, (2, 2, 1, 3))
    strides, pads = (1, 2), (1, 2, 1, 2)
    small = [[kind(value) for value in values] for values in (strides, pads)]
    expected = dense.conv2d(x, w, strides=strides, pads=pads)
    assert expected.shape == (1, 2, 4, 151)
    assert np.array_equal(dense.conv2d(x, w, strides=small[0], pads=small[1]), expected)
    sparse = encoder.encode_conv(w)
    for of in ((strides, pads), small):
        assert np.array_equal(functional.conv2d(x, sparse, strides=of[0], pads=of[1]), expected)


@pytest.mark.parametrize(
    "how", [{"strides": (0, 1)}, {"strides": (1.5, 1)}, {"pads": (-1, 0, 0, 0)}, {"pads": (1, 1)}]
)
def test_the_functional_convolution_refuses_what_is_no_geometry(how):
    x, w = np.ones((1, 4, 3, 3), np.int8), np.zeros((2, 4, 1, 1), np.int8)
    with pytest.raises(ArgumentError):
        functional.conv2d(x, encoder.encode_conv(w), **how)


def test_inputs_of_a_program_are_arrays_of_bytes():
    program = Program.parse("buffer name=x at=0 bytes=8")
    with pytest.raises(Cube24Error, match="dtype object"):
        Unit().execute(program, {"x": np.array([None])})


# --- requantisation -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scale", "kept"),
    [
        (1.0, 1.0), (0.0, 0.0), (-0.5, -0.5), (0.3, 0.2998046875), (1 / 3, 0.333251953125),
        (0.002, 0.0019989013671875), (2.0**-136, 2.0**-136), (2.0**-127, 2.0**-127),
        (3.4028234663852886e38, 3.4011621342146535e38), (1, 1.0),
        (np.float16(0.1), 0.0999755859375),
    ],
)  # fmt: skip
def test_the_effective_scale_is_the_one_that_a_word_holds(scale, kept):
    # fp32 has 23 bits behind the point, of which a word keeps 10.
    of = Requant(scale)
    assert of.effective_scale == kept
    assert type(of.effective_scale) is float
    word = int(of.words(UnitConfig())[0])
    assert np.uint32(word & 0xFFFF_FFFF).view(np.float32) == np.float32(kept)


def test_the_effective_scales_of_columns_are_fp32():
    of = Requant(np.array([0.3, 0.002, 1.0]))
    assert of.effective_scale.dtype == np.float32
    assert of.effective_scale.tolist() == [0.2998046875, 0.0019989013671875, 1.0]


@pytest.mark.parametrize(
    ("scale", "said"),
    [
        (1e-60, "scale 1e-60 is zero in a word"),
        (-1e-60, "scale -1e-60 is zero in a word"),
        (2.0**-137, "is zero in a word"),
        (5e-324, "scale 5e-324 is zero"),
        (np.array([1.0, 0.0, 1e-45]), "scale 1e-45 of column 2 is zero in a word"),
        (1e39, "scale 1e+39 is not finite"),
        (math.nan, "scale nan is not finite"),
        (np.array([1.0, -math.inf]), "scale -inf of column 1 is not finite"),
        (3.5e38, "scale 3.5e+38 is not finite"),
    ],
)
def test_a_scale_that_becomes_zero_or_infinite_is_refused_with_its_value(scale, said):
    with pytest.raises(ArgumentError) as error:
        Requant(scale)
    assert said in str(error.value)


@pytest.mark.parametrize(
    "scale", [None, True, "1.0", 1j, [[1.0]], HUGE, [1.0, None], object()], ids=name_of
)
def test_a_scale_that_is_no_number_is_refused(scale):
    with pytest.raises(Cube24Error):
        Requant(scale)


def test_a_slope_that_becomes_zero_is_refused():
    with pytest.raises(ArgumentError, match="zero in fp32"):
        Requant(1.0, relu=1e-60)
    assert Requant(1.0, relu=0.0).alpha == 0


@pytest.mark.parametrize("kind", WHOLES, ids=lambda kind: kind.__name__)
def test_small_types_give_the_same_word(kind):
    of = Requant(0.5, kind(100), shift=kind(16))
    assert of.words(UnitConfig()) == Requant(0.5, 100, shift=16).words(UnitConfig())
    columns = Requant(np.full(3, 0.5), np.full(3, 100, kind))
    assert (columns.words(UnitConfig()) == Requant(0.5, 100).words(UnitConfig())).all()


@pytest.mark.parametrize("given", [None, 0, (16, 16, 64), "layer"])
def test_what_is_no_layer_and_no_tile_is_refused(given):
    x = np.ones((16, 64), np.int8)
    for call in (lambda: Unit().time(given), lambda: Unit().run(given, x, x)):
        with pytest.raises(ArgumentError, match="Matmul or a Conv2d"):
            call()
    if given is not None:
        with pytest.raises(TilingError, match="takes a Tile"):
            Unit().time(Matmul(16, 16, 64), tile=given)
