"""The traffic of the codec without its work, and the loader of the C that makes it.

``probe.c`` beside this file is compiled for the machine that measures, into a temporary folder:
nothing of it is in the package.
"""

from __future__ import annotations

import ctypes
import shlex
import subprocess
import tempfile
from collections.abc import Callable
from os import environ
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

LINE = 64
BLOCK = 512  # the probes take whole blocks of so many bytes of weight
FLAGS = ["-O3", "-march=native", "-shared", "-fPIC"]

Bytes = npt.NDArray[Any]


class NoCompilerError(RuntimeError):
    """The probes cannot be built here."""


def aligned(size: int) -> npt.NDArray[np.int8]:
    """A buffer of ``size`` bytes that begins at a multiple of 64, each page of it touched."""
    memory = np.zeros(size + LINE, np.int8)
    memory.fill(1)
    start = -memory.ctypes.data % LINE
    return memory[start : start + size]


class Probe:
    """Traffic of encode, which reads N bytes and writes N/2 and N/8, and of decode, the reverse.

    ``past``: with stores past the caches; the better of both is what the memory allows. On a
    machine whose compiler knows no such stores both are the same.
    """

    def __init__(self) -> None:
        """Compile and load; NoCompilerError says what is missing."""
        compiler = shlex.split(environ.get("CC", "cc"))
        source = Path(__file__).with_suffix(".c")
        with tempfile.TemporaryDirectory() as folder:
            library = Path(folder) / "probe.so"
            command = [*compiler, *FLAGS, "-o", str(library), str(source)]
            try:
                done = subprocess.run(command, capture_output=True, text=True, check=False)
            except OSError as error:
                raise NoCompilerError(
                    f"the probes of the memory need a C compiler, and {compiler[0]!r} does not "
                    f"run ({error.strerror}); install one, or name it in CC"
                ) from error
            if done.returncode != 0:
                raise NoCompilerError(f"{shlex.join(command)} failed:\n{done.stderr}")
            self._library = ctypes.CDLL(str(library))  # it stays mapped without its file

    def encode(
        self, weight: Bytes, dense: Bytes, index: Bytes, *, past: bool
    ) -> Callable[[], None]:
        """A call that makes the traffic of encoding ``weight``."""
        size = _size(weight, dense, index)
        return self._call("probe_encode", (weight, dense, index), size, past)

    def decode(
        self, dense: Bytes, index: Bytes, weight: Bytes, *, past: bool
    ) -> Callable[[], None]:
        """A call that makes the traffic of decoding to ``weight``."""
        size = _size(weight, dense, index)
        return self._call("probe_decode", (dense, index, weight), size, past)

    def _call(
        self, name: str, buffers: tuple[Bytes, ...], size: int, past: bool
    ) -> Callable[[], None]:
        """Arguments are made once: that takes longer than the traffic of a small weight."""
        function = self._library[name]
        function.restype = None
        pointers = [ctypes.c_void_p(buffer.ctypes.data) for buffer in buffers]
        arguments = (*pointers, ctypes.c_size_t(size), ctypes.c_int(past))

        def call(_keep: tuple[Bytes, ...] = buffers) -> None:
            function(*arguments)

        return call


def _size(weight: Bytes, dense: Bytes, index: Bytes) -> int:
    size = weight.nbytes
    if size % BLOCK or dense.nbytes != size // 2 or index.nbytes != size // 8:
        raise ValueError(f"a probe takes a multiple of {BLOCK} bytes, half and an eighth of them")
    for buffer in (weight, dense, index):
        if buffer.ctypes.data % LINE or not buffer.flags.c_contiguous:
            raise ValueError(f"the buffers of a probe begin at multiples of {LINE}: use aligned()")
    return size
