"""Whole layers: cube24_layer_part and cube24_team_layer on NumPy arrays."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cube24._core.binding import demand, ffi, lib
from cube24._core.datapath import Image
from cube24._core.paths import path_flags
from cube24._core.threads import offer, thread_count
from cube24.sizes import ceil_div

#: Multiplications of 2:4 weights that take as long as reading a byte, about.
_MACS_A_BYTE = 16

#: Parts of a layer begin at multiples of so many rows or columns of its results: see team.c.
_ROWS, _COLUMNS = 16, 64

FORMS = {"rows": lib.CUBE24_ROWS, "NCHW": lib.CUBE24_NCHW, "NHWC": lib.CUBE24_NHWC}

# Scratch memory that calls have given back. Fresh memory costs more than many a layer: the system
# clears it page by page. The list is only popped from and appended to, which threads may do.
_spare: list[npt.NDArray[np.uint8]] = []
_MOST_SPARE = 8
_LARGEST_SPARE = 64 << 20


class LayerSizes(NamedTuple):
    """What is computed, without its arrays: see struct cube24_layer. form: a key of FORMS."""

    form: str
    batch: int
    m: int
    n: int
    k: int
    channels: int = 0
    image: Image | None = None
    pad: int = 0


@dataclass(slots=True)
class LayerCall:
    """The arguments of cube24_layer_part: see struct cube24_layer.

    All arrays are C-contiguous; scale (float32) and offset (int32) are there together, or neither.
    """

    sizes: LayerSizes
    x: npt.NDArray[np.int8]
    weight: npt.NDArray[np.int8]
    index: npt.NDArray[np.uint8] | None
    zn: bool
    bias: npt.NDArray[np.int32] | None
    out: npt.NDArray[Any]
    scale: npt.NDArray[np.float32] | None = None
    offset: npt.NDArray[np.int32] | None = None
    shift: int = 0
    signed: bool = True
    relu: bool = False
    alpha: float = 0.0


def layer(call: LayerCall, flags: int, threads: int | None) -> bool:
    """Compute a layer into ``call.out``; False if an index of 3 was refused.

    Raises:
        ArgumentError: threads is no whole number of 1 or more.
    """
    _, batch, m, n, k, *_ = call.sizes
    # No more than there can be parts: each has scratch memory.
    parts = max(1, ceil_div(batch * m, _ROWS), ceil_div(n, _COLUMNS))
    count = min(thread_count(threads, batch * m * n * k // _MACS_A_BYTE), parts)
    template, size = _template(call.sizes)
    of = _struct(call, template)
    flags |= path_flags()
    scratch = _scratch(count * size)
    memory = ffi.from_buffer("uint8_t[]", scratch)
    if count == 1:
        status = lib.cube24_layer_part(of, 0, batch * m, 0, n, flags, memory)
    else:
        status = _teams.lead(of, count, flags, memory)
    if len(_spare) < _MOST_SPARE and scratch.size <= _LARGEST_SPARE:
        _spare.append(scratch)
    return not demand(status, lib.CUBE24_E_REFUSED)


class _Team:
    """Threads that compute layers together: see struct cube24_team."""

    def __init__(self) -> None:
        self.of = ffi.new("cube24_team *")
        self._helpers = 0  # in C, or on their way there
        self._lock = Lock()

    def work(self) -> None:
        """Help, until there was no layer for a while."""
        try:
            lib.cube24_team_help(self.of)
        finally:
            with self._lock:
                self._helpers -= 1

    def call(self, count: int) -> None:
        """See that so many threads help, or will soon."""
        with self._lock:
            missing = count - self._helpers
            if missing > 0:
                self._helpers += offer(self, missing)


class _Teams:
    """The teams that nobody leads at the moment."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew: of a process that was forked, only the forking thread is there."""
        self._free: list[_Team] = []

    def lead(self, of: Any, threads: int, flags: int, scratch: Any) -> int:
        """Compute a layer with up to so many threads; gives the status."""
        try:
            team = self._free.pop()
        except IndexError:
            team = _Team()
        team.call(threads - 1)
        status = lib.cube24_team_layer(team.of, of, threads, flags, scratch)
        self._free.append(team)
        return int(status)


_teams = _Teams()
os.register_at_fork(after_in_child=_teams.forget)


def _scratch(size: int) -> npt.NDArray[np.uint8]:
    try:
        found = _spare.pop()
    except IndexError:
        return np.empty(size, np.uint8)
    return found if found.size >= size else np.empty(size, np.uint8)


@lru_cache(1024)
def _template(sizes: LayerSizes) -> tuple[Any, int]:
    """A struct without arrays, and the scratch memory that a call needs; one is used many times."""
    of, size = ffi.new("cube24_layer *"), ffi.new("size_t *")
    of.form = FORMS[sizes.form]
    of.batch, of.m, of.n, of.k = sizes.batch, sizes.m, sizes.n, sizes.k
    if sizes.image is not None:
        of.channels, of.image, of.pad = sizes.channels, sizes.image, sizes.pad
    demand(lib.cube24_layer_scratch(of, size))
    return of, int(size[0])


def _struct(call: LayerCall, template: Any) -> Any:
    """The arguments as C has them; the arrays must live as long."""
    of = ffi.new("cube24_layer *", template[0])
    of.x = ffi.from_buffer("int8_t[]", call.x)
    of.weight = ffi.from_buffer("int8_t[]", call.weight)
    if call.index is not None:
        of.index, of.zn = ffi.from_buffer("uint8_t[]", call.index), call.zn
    if call.bias is not None:
        of.bias = ffi.from_buffer("int32_t[]", call.bias)
    if call.scale is not None and call.offset is not None:
        of.words = call.scale.size
        of.scale = ffi.from_buffer("float[]", call.scale)
        of.offset = ffi.from_buffer("int32_t[]", call.offset)
        of.shift, of.is_signed = call.shift, call.signed
        of.relu, of.alpha = call.relu, call.alpha
    of.out = ffi.cast("void *", ffi.from_buffer("uint8_t[]", call.out, require_writable=True))
    return of
