"""The configuration file of the vendor's compression tool: which layers it prunes.

It is a message in protobuf's text format, of which the fields are listed here; what has to do with
quantisation is read and told apart, for nothing here quantises. Anything else is refused.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cube24.errors import ArgumentError, FileFormatError, StrPath
from cube24.files import read_text
from cube24.sizes import real_of, shown, whole_of

# A message is its fields, each with the type of its values. A list is a repeated field.
_UINT, _FLOAT, _BOOL, _STRING = "uint32", "float", "bool", "string"
_DATA_TYPE = frozenset({("INT4", 0), ("INT8", 1), ("INT16", 2)})  # an enumeration

_RETRAIN_DATA = {
    "ulq_quantize": {
        "clip_max_min": {"clip_max": _FLOAT, "clip_min": _FLOAT},
        "fixed_min": _BOOL,
        "dst_type": _DATA_TYPE,
    }
}
_RETRAIN_WEIGHT = {
    name: {"dst_type": _DATA_TYPE, "channel_wise": _BOOL} for name in ("arq_retrain", "ulq_retrain")
}
_PRUNE = {
    "filter_pruner": {
        "balanced_l2_norm_filter_prune": {"prune_ratio": _FLOAT, "ascend_optimized": _BOOL}
    },
    "n_out_of_m_pruner": {
        "l1_selective_prune": {"n_out_of_m_type": frozenset({("M4N2", 0)}), "update_freq": _UINT}
    },
}
_OVERRIDE = {
    "retrain_data_quant_config": _RETRAIN_DATA,
    "retrain_weight_quant_config": _RETRAIN_WEIGHT,
    "prune_config": _PRUNE,
}

#: hicann/amct 2be20da, amct_pytorch/.../proto/retrain_config_pytorch.proto: AMCTRetrainConfig.
_CONFIG: Mapping[str, Any] = {
    "skip_layers": [_STRING],
    "skip_layer_types": [_STRING],
    "override_layer_configs": [{"layer_name": _STRING, **_OVERRIDE}],
    "override_layer_types": [{"layer_type": _STRING, **_OVERRIDE}],
    "batch_num": _UINT,
    "retrain_data_quant_config": _RETRAIN_DATA,
    "retrain_weight_quant_config": _RETRAIN_WEIGHT,
    "quant_skip_layers": [_STRING],
    "quant_skip_types": [_STRING],
    "prune_config": _PRUNE,
    "regular_prune_skip_layers": [_STRING],
    "regular_prune_skip_types": [_STRING],
    "fakequant_precision_mode": frozenset({("FORCE_FP16_QUANT", 1)}),
}

#: Fields that are about quantisation alone.
_QUANTISATION = (
    "batch_num", "retrain_data_quant_config", "retrain_weight_quant_config", "quant_skip_layers",
    "quant_skip_types", "fakequant_precision_mode",
)  # fmt: skip

#: What the tool calls operators, as those of ONNX; all others have the same name here.
_TYPES: Mapping[str, tuple[str, ...]] = {
    "Conv2d": ("Conv", "QLinearConv", "ConvInteger"),
    "Conv2D": ("Conv", "QLinearConv", "ConvInteger"),
    "Linear": ("Gemm", "MatMul", "QGemm", "QLinearMatMul", "MatMulInteger"),
}


@dataclass(frozen=True)
class PruneConfig:
    """Which layers a configuration prunes.

    Attributes:
        path: of the file.
        skip, skip_types: names and types of layers to be left alone.
        named: names of layers that must be there.
        only, only_types: the layers to be pruned alone; both None: all.
        unused: fields of the file that are about quantisation.
    """

    path: str
    skip: tuple[str, ...] = ()
    skip_types: tuple[str, ...] = ()
    named: tuple[str, ...] = ()
    only: tuple[str, ...] | None = None
    only_types: tuple[str, ...] | None = None
    unused: tuple[str, ...] = ()

    def leaves(self, name: str, op: str) -> bool:
        """Whether a node is to be left alone; op: its operator."""
        kind = op.rpartition(".")[2]
        if name in self.skip or kind in self.skip_types:
            return True
        if self.only is None or self.only_types is None:
            return False
        return name not in self.only and kind not in self.only_types

    def demand_known(self, names: Sequence[str]) -> None:
        """Refuse a configuration that names layers to prune, or not to, that are not there.

        Args:
            names: of the nodes that multiply by a weight.

        Raises:
            ArgumentError: one of them is missing.
        """
        if missing := [name for name in self.named if name not in names]:
            raise ArgumentError(
                f"{self.path}: no layer of the model is called "
                f"{', '.join(map(shown, missing[:3]))}; names are those of the nodes, such as "
                f"{', '.join(map(shown, names[:2]))}"
            )


def read_prune_config(path: StrPath) -> PruneConfig:
    """Read a configuration file.

    Layers are named as the nodes of the model are; of types, ``Conv2d`` and ``Linear`` stand for
    the operators of ONNX that do the same. How often a training refreshes the mask, which
    ``update_freq`` says, does not matter where it is made once.

    Raises:
        FileFormatError: it is no such file, prunes nothing, has a field that is not known, or one
            that asks for something else than 2:4; with the number of the line.
        FileAccessError: the system refuses.
    """
    fields = _Reader(path, read_text(path)).message(_CONFIG)
    everywhere = _prunes(path, fields)
    skip, named = fields.texts("skip_layers"), fields.texts("regular_prune_skip_layers")
    types = (*fields.texts("skip_layer_types"), *fields.texts("regular_prune_skip_types"))
    only: dict[str, tuple[str, ...]] = {}
    for key in ("layer_name", "layer_type"):
        several = fields.messages("override_layer_configs" if key == "layer_name" else _BY_TYPE)
        for line, each in several:
            if not each.texts(key):
                raise FileFormatError(path, f"line {line}: an override without {key}")
        only[key] = tuple(each.texts(key)[0] for _, each in several if _prunes(path, each))
    if not (everywhere or any(only.values())):
        raise FileFormatError(path, "it has no prune_config, so it prunes nothing")
    return PruneConfig(
        os.fspath(path), skip + named, _types(types), named + only["layer_name"],
        None if everywhere else only["layer_name"],
        None if everywhere else _types(only["layer_type"]),
        tuple(name for name in _QUANTISATION if name in fields.given),
    )  # fmt: skip


_BY_TYPE = "override_layer_types"


def _types(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(op for name in names for op in _TYPES.get(name, (name,)))


def _prunes(path: StrPath, fields: _Fields) -> bool:
    """Whether a message has a ``prune_config``, which then has to ask for 2:4."""
    for line, config in fields.messages("prune_config"):
        for at, _ in config.messages("filter_pruner"):
            raise FileFormatError(
                path, f"line {at}: filter_pruner removes whole channels; this makes weights 2:4, "
                f"for which it is n_out_of_m_pruner"
            )  # fmt: skip
        pruners = config.messages("n_out_of_m_pruner")
        if not pruners or not pruners[0][1].messages("l1_selective_prune"):
            raise FileFormatError(
                path,
                f"line {line}: a prune_config without n_out_of_m_pruner and l1_selective_prune",
            )
        return True
    return False


# --- protobuf's text format -----------------------------------------------------------------------


@dataclass(frozen=True)
class _Fields:
    """A message: the values of each field that is given, with their lines."""

    given: Mapping[str, list[tuple[int, Any]]]

    def texts(self, name: str) -> tuple[str, ...]:
        return tuple(value for _, value in self.given.get(name, ()))

    def messages(self, name: str) -> list[tuple[int, _Fields]]:
        return self.given.get(name, [])


_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\f\v]+|\#[^\n]*)|(?P<line>\n)|(?P<name>[A-Za-z_][A-Za-z0-9_]*)"""
    r"""|(?P<number>[-+]?(?:0[xX][0-9a-fA-F]+|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?f?))"""
    r"""|(?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')|(?P<mark>[{}<>\[\]:,;])"""
)

#: What a backslash and a letter stand for.
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", "'": "'", '"': '"', "?": "?"}

_TRUTHS = {"true": True, "True": True, "t": True, "1": True,
           "false": False, "False": False, "f": False, "0": False}  # fmt: skip


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    line: int


class _Reader:
    """Reads a text, one token after the other."""

    def __init__(self, path: StrPath, text: str) -> None:
        self.path = path
        self.tokens = list(self._split(text))
        self.at = 0

    def _split(self, text: str) -> Iterator[_Token]:
        line, place = 1, 0
        while place < len(text):
            match = _TOKEN.match(text, place)
            if match is None:
                raise self.wrong(
                    line, f"{shown(text[place : place + 20])} is nothing of the format"
                )
            kind = str(match.lastgroup)
            if kind not in ("space", "line"):
                yield _Token(kind, match[0], line)
            line += kind == "line"
            place = match.end()
        yield _Token("end", "the end of the file", line)

    def wrong(self, line: int, why: str) -> FileFormatError:
        return FileFormatError(self.path, f"line {line}: {why}")

    def next(self) -> _Token:
        token = self.tokens[self.at]
        self.at += token.kind != "end"
        return token

    def take(self, *marks: str) -> _Token | None:
        """The next token if it is one of these."""
        token = self.tokens[self.at]
        return self.next() if token.kind == "mark" and token.text in marks else None

    def message(self, schema: Mapping[str, Any], end: str = "") -> _Fields:
        """The fields up to the end of a message; end: its closing bracket."""
        given: dict[str, list[tuple[int, Any]]] = {}
        while True:
            token = self.next()
            if token.text == end if token.kind == "mark" else token.kind == "end" and not end:
                return _Fields(given)
            if token.kind != "name":
                where = f"; {end} is missing" if token.kind == "end" else ""
                raise self.wrong(token.line, f"{shown(token.text)} is no name of a field{where}")
            if token.text not in schema:
                raise self.wrong(
                    token.line,
                    f"no field {shown(token.text)} here; there are {', '.join(schema)}",
                )
            kind = schema[token.text]
            repeated = isinstance(kind, list)
            if token.text in given and not repeated:
                raise self.wrong(token.line, f"{token.text} is given twice")
            found = self._values(token, kind[0] if repeated else kind, repeated)
            given.setdefault(token.text, []).extend(found)
            self.take(",", ";")

    def _values(self, field: _Token, kind: Any, repeated: bool) -> list[tuple[int, Any]]:
        colon = self.take(":")
        if not isinstance(kind, dict) and not colon:
            raise self.wrong(field.line, f"a colon is missing behind {field.text}")
        if not repeated or not self.take("["):
            return [self._value(field, kind)]
        found: list[tuple[int, Any]] = []
        while not self.take("]"):
            if found and not self.take(","):
                raise self.wrong(self.next().line, f"the list of {field.text} has no end")
            found.append(self._value(field, kind))
        return found

    def _value(self, field: _Token, kind: Any) -> tuple[int, Any]:
        if isinstance(kind, dict):
            opened = self.take("{", "<")
            if opened is None:
                raise self.wrong(field.line, f"{field.text} is a message: {{ ... }}")
            return field.line, self.message(kind, "}" if opened.text == "{" else ">")
        token = self.next()
        value: Any = None
        if kind == _STRING and token.kind == "text":
            value = self._text(token)
            while self.tokens[self.at].kind == "text":  # neighbours are one text
                value += self._text(self.next())
        elif isinstance(kind, frozenset):
            numbers = {str(number): name for name, number in kind}
            value = token.text if token.text in dict(kind) else numbers.get(token.text)
        elif kind == _BOOL:
            value = _TRUTHS.get(token.text)
        elif token.kind == "number" and kind != _STRING:
            value = self._number(token.text, kind)
        if value is None:
            takes = kind if isinstance(kind, str) else " or ".join(sorted(dict(kind)))
            raise self.wrong(token.line, f"{field.text} is {shown(token.text)}; it takes {takes}")
        return token.line, value

    @staticmethod
    def _number(text: str, kind: str) -> float | int | None:
        try:
            if kind == _FLOAT:
                return real_of(text.removesuffix("f"))
            octal = re.fullmatch("0[0-7]+", text)
            number = whole_of(text, 8 if octal else 0)
        except ValueError:
            return None
        return number if 0 <= number < 1 << 32 else None

    def _text(self, token: _Token) -> str:
        def escaped(match: re.Match[str]) -> str:
            if match[1] not in _ESCAPES:
                raise self.wrong(token.line, f"{shown(match[0])} stands for nothing")
            return _ESCAPES[match[1]]

        return re.sub(r"\\(.)", escaped, token.text[1:-1])
