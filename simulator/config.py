"""UnitConfig: sizes and rules of a unit, as presets, as TOML, and each field with its source.

Sources: ADK, the public asc-devkit documentation; GE, the public platform files of the graph
engine; OPEN, a point that no public document settles: the default is ours, the field is there so
that a bench can be told otherwise.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from cube24.encoder import ArgumentError, Cube24Error, FileFormatError
from cube24.encoder.arrayfile import explained, opened
from cube24.encoder.errors import StrPath
from cube24.encoder.output import whole_file


class ConfigError(Cube24Error, ValueError):
    """A unit configuration with an unknown, missing or impossible field."""


def _size(default: int, source: str, about: str) -> Any:
    return field(default=default, metadata={"unit": "bytes", "source": source, "about": about})


def _choice(default: str, choices: tuple[str, ...], about: str) -> Any:
    return field(
        default=default,
        metadata={"unit": " | ".join(choices), "source": "OPEN", "about": about, "of": choices},
    )


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

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        for spec in fields(self):
            value = getattr(self, spec.name)
            wanted = type(spec.default)
            if type(value) is not wanted:
                raise ConfigError(
                    f"{spec.name} is {value!r}; it takes a value of type {wanted.__name__}"
                )
            if type(value) is int and not 1 <= value <= 1 << 40:
                raise ConfigError(f"{spec.name} is {value}; it is a number from 1 to 2^40")
            choices = spec.metadata.get("of")
            if choices and value not in choices:
                raise ConfigError(f"{spec.name} is {value!r}; choose one of {', '.join(choices)}")
        for memory in ("l1", "l0a", "l0b", "l0c", "bt", "fb"):
            size, align = getattr(self, f"{memory}_bytes"), getattr(self, f"{memory}_align")
            if size % align:
                raise ConfigError(f"{memory}_bytes {size} is no multiple of {memory}_align {align}")
        if self.l0b_bytes % 4:
            raise ConfigError(f"l0b_bytes {self.l0b_bytes} is no multiple of 4, for the index")

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
                f"{spec.name:<15} {value:<14} {'[' + about['source'] + ']':<7} {about['about']}"
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
                text = json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
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
            values = tomllib.loads(text)
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            raise ConfigError(f"no readable TOML: {error}") from error
        known = {spec.name for spec in fields(cls)}
        if unknown := sorted(values.keys() - known):
            raise ConfigError(f"unknown field {', '.join(unknown)}; known: {', '.join(known)}")
        return cls(**values)

    def save(self, path: StrPath, *, overwrite: bool = False) -> None:
        """Write the configuration as a TOML file.

        Raises:
            FileAccessError: it is there already, or the system refuses.
        """
        with whole_file(path, overwrite=overwrite) as file:
            file.write(self.to_toml().encode())

    @classmethod
    def load(cls, path: StrPath) -> UnitConfig:
        """Read a TOML file.

        Raises:
            FileAccessError: the system refuses.
            FileFormatError: it is no configuration; the message says why.
        """
        with opened(path) as file, explained(path):
            data = file.read()
        try:
            return cls.from_toml(data.decode("utf-8"))
        except (ConfigError, UnicodeDecodeError) as error:
            raise FileFormatError(path, str(error)) from error


#: The public units [GE, ADK]. dav-3510 has no 2:4 sparsity.
PRESETS: Mapping[str, UnitConfig] = {
    config.name: config
    for config in (
        UnitConfig("dav-2201"),
        UnitConfig("dav-3510", l0c_bytes=256 << 10, clock_mhz=1650, cores=32, sparsity=False),
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
    if str(unit) in PRESETS:
        return PRESETS[str(unit)]
    if Path(unit).suffix == ".toml":
        return UnitConfig.load(unit)
    raise ArgumentError(
        f"unit {str(unit)!r}: choose {', '.join(PRESETS)}, or name a file NAME.toml"
    )
