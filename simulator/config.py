"""UnitConfig: sizes and rules of a unit, as presets, as TOML, and each field with its source.

Sources: ADK, the public asc-devkit documentation; GE, the public platform files of the graph
engine; FIT, derived from the published on-board profiles, as docs/timing.md tells number by number;
OPEN, a point that no public document settles: the default is ours, the field is there so that a
bench can be told otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from os import PathLike
from pathlib import Path
from typing import Any

from cube24 import stdlib
from cube24.errors import ArgumentError, Cube24Error, FileFormatError, StrPath
from cube24.files import read_text, write_bytes
from cube24.sizes import plain, shown


class ConfigError(Cube24Error, ValueError):
    """A unit configuration with an unknown, missing or impossible field."""


def _size(default: int, source: str, about: str) -> Any:
    return field(default=default, metadata={"unit": "bytes", "source": source, "about": about})


def _choice(default: str, choices: tuple[str, ...], about: str) -> Any:
    return field(
        default=default,
        metadata={"unit": " | ".join(choices), "source": "OPEN", "about": about, "of": choices},
    )


def _number(default: float, unit: str, source: str, about: str, least: float = 0) -> Any:
    return field(
        default=default,
        metadata={"unit": unit, "source": source, "about": about, "least": least},
    )


def _cycles(default: int, source: str, about: str) -> Any:
    return _number(default, "cycles", source, about)


def _rate(default: float, source: str, about: str, unit: str = "B/cycle") -> Any:
    return _number(default, unit, source, about, 0.001)


@dataclass(frozen=True)
class UnitConfig:
    """A unit. Fields are checked; ``describe`` says what each means and where it comes from.

    Raises:
        ConfigError: a field of the wrong type or an impossible value, by name.
    """

    name: str = field(default="custom", metadata={"unit": "", "source": "", "about": "Its name"})
    l1_bytes: int = _size(512 << 10, "GE", "L1 buffer")
    l0a_bytes: int = _size(64 << 10, "GE", "L0A, activations")
    l0b_bytes: int = _size(64 << 10, "GE", "L0B, weights; the index buffer is a quarter of it")
    l0c_bytes: int = _size(128 << 10, "GE", "L0C, int32 results")
    bt_bytes: int = _size(1 << 10, "GE", "bias table")
    fb_bytes: int = _size(7 << 10, "GE", "fixpipe buffer, requantisation parameters")
    l1_align: int = _size(32, "ADK", "alignment of addresses in L1")
    l0a_align: int = _size(512, "ADK", "alignment of addresses in L0A")
    l0b_align: int = _size(512, "ADK", "alignment of addresses in L0B")
    l0c_align: int = _size(1024, "ADK", "alignment of addresses in L0C")
    bt_align: int = _size(64, "ADK", "alignment of addresses in the bias table")
    fb_align: int = _size(8, "ADK", "alignment of addresses in the fixpipe buffer: one word")
    clock_mhz: int = field(
        default=1850, metadata={"unit": "MHz", "source": "GE", "about": "clock of the cores"}
    )
    cores: int = field(
        default=24, metadata={"unit": "", "source": "GE", "about": "cube cores of the chip"}
    )
    sparsity: bool = field(
        default=True, metadata={"unit": "", "source": "ADK", "about": "has MmadWithSparse"}
    )
    overflow: str = _choice(
        "saturate", ("saturate", "wrap"), "what int32 accumulation does with a sum it cannot hold"
    )
    grain: str = _choice(
        "step",
        ("step", "instruction"),
        "how much is summed exactly before it is added to the accumulator: the 32 products of one "
        "step, or all of one instruction",
    )
    index3: str = _choice("error", ("error", "nothing"), "what an index of 3 selects")
    pair20: str = _choice(
        "rule",
        ("rule", "table"),
        "what slot 1 of the pair (2, 0) selects: element 1 by the rule, 2 by a table",
    )
    requant_shift: str = _choice(
        "n+1", ("n+1", "n"), "the right shift that field N of a requantisation word means"
    )
    requant_offset: str = _choice(
        "signed", ("signed", "unsigned"), "how the 9-bit offset of a requantisation word is read"
    )

    # Time. None of it changes a value.
    mmad_head_idle: int = _cycles(61, "FIT", "head of a Mmad when the cube was idle")
    mmad_head_queued: int = _cycles(9, "FIT", "head of a Mmad that follows another one")
    mmad_idle_after: int = _cycles(500, "FIT", "cycles without a Mmad after which the cube is idle")
    load2d_head: int = _cycles(28, "FIT", "head of a Load2D")
    load2d_head_behind: int = _cycles(
        19, "FIT", "head of a Load2D directly behind a load to another buffer"
    )
    load2d_head_more: int = _cycles(
        0, "FIT", "head of a Load2D directly behind a Load2D to the same buffer"
    )
    load_a_rate: float = _rate(256.0, "ADK", "L1 -> L0A")
    load_b_rate: float = _rate(128.0, "ADK", "L1 -> L0B")
    load3d_head: int = _cycles(50, "ADK", "head of a Load3D")
    load3d_rate: float = _rate(256.0, "ADK", "Load3D at stride 1 within one kernel row")
    load3d_floor: float = _rate(32.0, "ADK", "Load3D at its slowest")
    sparse_head: int = _cycles(30, "ADK", "head of a LoadSparse")
    sparse_bytes: str = _choice(
        "dense",
        ("dense", "logical"),
        "the bytes of a LoadSparse: as stored, or uncompressed",
    )
    table_head: int = _cycles(20, "ADK", "head of a load to the bias table or fixpipe buffer")
    table_rate: float = _rate(32.0, "ADK", "L1 -> bias table, L1 -> fixpipe buffer")
    fixpipe_head: int = _cycles(20, "ADK", "head of a Fixpipe")
    fixpipe_rate: float = _rate(64.0, "ADK", "Fixpipe out of L0C", "elements/cycle")
    move_head: int = _cycles(40, "FIT", "head of a move GM -> L1")
    row_cycles: float = _number(3.4, "cycles", "FIT", "least time of a row GM -> L1")
    row_rate: float = _rate(82.0, "FIT", "rows GM -> L1, cut into Nz on the way")
    burst_rate: float = _rate(98.0, "FIT", "fractals between GM and L1 or L0C, in long bursts")
    store_row_cycles: float = _number(3.4, "cycles", "OPEN", "least time of a row L0C -> GM")
    store_rate: float = _rate(67.4, "FIT", "rows L0C -> GM")
    hbm_rate: float = _rate(1800.0, "ADK", "HBM -> all cores together", "GB/s")
    l2_rate: float = _rate(5000.0, "ADK", "L2 -> all cores together", "GB/s")
    flag_cycles: int = _cycles(13, "FIT", "a flag there and one back")
    handover_cycles: int = _cycles(
        100, "FIT", "from handing L1 over to MTE1 until MTE2 begins its next move"
    )
    issue_cycles: int = _cycles(1, "OPEN", "issue of one instruction by the scalar unit")
    queue_depth: int = _number(64, "instructions", "FIT", "queue of each pipe, flags included", 1)
    mte1_slow_m: int = _number(25, "%", "FIT", "more time of MTE1 while M computes")
    mte1_slow_mte2: int = _number(0, "%", "FIT", "more time of MTE1 while MTE2 writes L1")

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        for spec in fields(self):
            value = plain(getattr(self, spec.name))
            wanted = type(spec.default)
            if wanted is float and type(value) is int and abs(value) <= 1 << 1000:
                value = float(value)
            if type(value) is not wanted:
                raise ConfigError(
                    f"{spec.name} is {shown(value)}; it takes a value of type {wanted.__name__}"
                )
            object.__setattr__(self, spec.name, value)
            least = spec.metadata.get("least", 1)
            if (
                type(value) is not bool
                and isinstance(value, int | float)
                and not least <= value <= 1 << 40
            ):
                raise ConfigError(
                    f"{spec.name} is {shown(value)}; it is a number from {least} to 2^40"
                )
            choices = spec.metadata.get("of")
            if choices and value not in choices:
                raise ConfigError(
                    f"{spec.name} is {shown(value)}; choose one of {', '.join(choices)}"
                )
        for memory in ("l1", "l0a", "l0b", "l0c", "bt", "fb"):
            size, align = getattr(self, f"{memory}_bytes"), getattr(self, f"{memory}_align")
            if size % align:
                raise ConfigError(f"{memory}_bytes {size} is no multiple of {memory}_align {align}")
        if self.l0b_bytes % 4:
            raise ConfigError(f"l0b_bytes {self.l0b_bytes} is no multiple of 4, for the index")

    @property
    def memory_bytes(self) -> Mapping[str, int]:
        """The size of each memory of the core, by its name in a program."""
        return {
            "L1": self.l1_bytes, "L0A": self.l0a_bytes, "L0B": self.l0b_bytes,
            "INDEX": self.index_bytes, "L0C": self.l0c_bytes, "BT": self.bt_bytes,
            "FB": self.fb_bytes,
        }  # fmt: skip

    @property
    def memory_align(self) -> Mapping[str, int]:
        """What addresses in each memory are multiples of; INDEX has none of its own."""
        return {
            "L1": self.l1_align, "L0A": self.l0a_align, "L0B": self.l0b_align,
            "L0C": self.l0c_align, "BT": self.bt_align, "FB": self.fb_align,
        }  # fmt: skip

    @property
    def index_bytes(self) -> int:
        """Bytes of the index buffer, which no instruction can address: a quarter of L0B [ADK]."""
        return self.l0b_bytes // 4

    def describe(self) -> str:
        """All fields with value, unit, source and meaning, one a line."""
        lines = []
        for spec in fields(self):
            about = spec.metadata
            value = f"{getattr(self, spec.name)} {about['unit']}".strip()
            value = str(getattr(self, spec.name)) if "of" in about else value
            lines.append(
                f"{spec.name:<18} {value:<20} {'[' + about['source'] + ']':<7} {about['about']}"
                + (f" ({about['unit']})" if "of" in about else "")
            )
        return "\n".join(lines)

    def to_toml(self) -> str:
        """The configuration as TOML, each field with a comment; ``from_toml`` reads it back."""
        lines = []
        for spec in fields(self):
            value = getattr(self, spec.name)
            text = str(value).lower() if isinstance(value, bool) else repr(value)
            if isinstance(value, str):
                # A string of JSON is one of TOML, but for the one control character it lets be.
                text = stdlib.json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
            lines.append(f"# {spec.metadata['about']}")
            lines.append(f"{spec.name} = {text}")
        return "\n".join(lines) + "\n"

    @classmethod
    def from_toml(cls, text: str) -> UnitConfig:
        """Read TOML; fields that are left out have their defaults, unknown ones are refused.

        Raises:
            ConfigError: no TOML, or a field that does not exist or cannot be.
        """
        try:
            values = stdlib.tomllib.loads(text)
        except (ValueError, RecursionError) as error:  # such as a number of thousands of digits
            raise ConfigError(f"no readable TOML: {error}") from error
        known = {spec.name for spec in fields(cls)}
        if unknown := sorted(values.keys() - known):
            raise ConfigError(f"unknown field {', '.join(unknown)}; known: {', '.join(known)}")
        return cls(**values)

    def save(self, path: StrPath, *, overwrite: bool = False) -> None:
        """Write the configuration as a TOML file.

        Raises:
            ConfigError: a name that no text file can hold.
            FileAccessError: it is there already, or the system refuses.
        """
        try:
            text = self.to_toml().encode()
        except UnicodeEncodeError as error:
            raise ConfigError(f"name is {shown(self.name)}; no file can hold it") from error
        write_bytes(path, text, overwrite=overwrite)

    @classmethod
    def load(cls, path: StrPath) -> UnitConfig:
        """Read a TOML file.

        Raises:
            FileAccessError: the system refuses.
            FileFormatError: it is no configuration; the message says why.
        """
        text = read_text(path)
        try:
            return cls.from_toml(text)
        except ConfigError as error:
            raise FileFormatError(path, str(error)) from error


#: The public units [GE, ADK]. dav-3510 has no 2:4 sparsity.
PRESETS: Mapping[str, UnitConfig] = {
    config.name: config
    for config in (
        UnitConfig("dav-2201"),
        UnitConfig(
            "dav-3510",
            l0c_bytes=256 << 10,
            clock_mhz=1650,
            cores=32,
            sparsity=False,
            load_b_rate=256.0,
        ),
        UnitConfig("310B1", l1_bytes=1 << 20, clock_mhz=1224, cores=1),
    )
}


def config_of(unit: str | StrPath | UnitConfig) -> UnitConfig:
    """The configuration that a preset's name, a TOML file or a configuration stands for.

    Raises:
        ArgumentError: no preset and no TOML file.
        FileAccessError, FileFormatError: as for :meth:`UnitConfig.load`.
    """
    if isinstance(unit, UnitConfig):
        return unit
    if not isinstance(unit, str | PathLike):
        raise ArgumentError(
            f"unit {shown(unit)}: it takes a name, the path of a file or a UnitConfig"
        )
    if str(unit) in PRESETS:
        return PRESETS[str(unit)]
    if Path(unit).suffix == ".toml":
        return UnitConfig.load(unit)
    raise ArgumentError(
        f"unit {str(unit)!r}: choose {', '.join(PRESETS)}, or name a file NAME.toml"
    )
