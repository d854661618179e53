"""Runs command lines of cube24 in processes of their own, many a second.

    python forked.py

reads a job a line from stdin, as JSON, and writes what came of it as a line of JSON. A process that
has imported everything is forked for each job, and gets streams, limits and signals as if it had
just been started; only the imports, which take most of the time of a short command, are saved.
"""

from __future__ import annotations

import codecs
import contextlib
import fcntl
import io
import json
import os
import pkgutil
import resource
import select
import signal
import sys
import time
import traceback
from typing import Any

import cube24
from cube24 import stdlib
from cube24.cli import main
from cube24.vectors import suites

# What is imported when it is asked for: a job may be of nobody, who cannot read the interpreter.
for module in pkgutil.walk_packages(cube24.__path__, "cube24."):
    if not module.name.endswith("__main__"):
        __import__(module.name)
for each in stdlib.__all__:
    getattr(stdlib, each)

#: What commands import when they need it.
for extra in (
    "importlib.readers",
    "matplotlib.figure",
    "matplotlib.backends.backend_agg",
    "onnx",
    "vcd",
    "distributed",
):
    with contextlib.suppress(ImportError):
        __import__(extra)

# What else the first use of something imports; and the network, which takes a second.
for name in ("ascii", "latin-1", "idna"):
    codecs.lookup(name)
next(suites.items("network", 0, 1))

NOBODY = 65534
SECONDS = 60.0


def serve() -> None:
    """Do each job that comes."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # also for a process between two lines of ours
    for line in sys.stdin:
        print(json.dumps(do(json.loads(line))), flush=True)


def do(job: dict[str, Any]) -> dict[str, Any]:
    """Run one command line.

    Args:
        job: ``args``, ``cwd``; ``stdout`` and ``stderr``: "pipe" (kept, the default), "closed",
            "full" or "gone" (a pipe that nobody reads); ``encoding`` of a terminal;
            ``nobody``: without root's rights; ``limits``: {name of a resource: number};
            ``signal``: [number, seconds after the start]; ``env``.

    Returns:
        ``code``, -n for a signal that was not caught; ``out`` and ``err``; ``seconds``;
        ``late``: it had to be killed.
    """
    ends = [os.pipe(), os.pipe()]
    for _, write in ends:
        fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 1 << 20)
    start = time.monotonic()
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            code = child(job, ends)
        finally:
            os._exit(code)
    for _, write in ends:
        os.close(write)
    if job.get("signal"):
        number, delay = job["signal"]
        time.sleep(delay)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
    texts = [b"", b""]
    late = False
    still = {ends[0][0]: 0, ends[1][0]: 1}
    while still:
        left = start + SECONDS - time.monotonic()
        if left <= 0:
            late = True
            os.killpg(pid, signal.SIGKILL)
            break
        for ready in select.select(list(still), [], [], left)[0]:
            if piece := os.read(ready, 1 << 16):
                texts[still[ready]] += piece
            else:
                del still[ready]
    _, status = os.waitpid(pid, 0)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)  # what it started, if anything is left of it
    for read, _ in ends:
        os.close(read)
    out, err = (text.decode("utf-8", "backslashreplace") for text in texts)
    return {
        "code": os.waitstatus_to_exitcode(status), "out": out, "err": err, "late": late,
        "seconds": time.monotonic() - start,
    }  # fmt: skip


def child(job: dict[str, Any], ends: list[tuple[int, int]]) -> int:
    """Become what was asked for and run; gives the exit code."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGXCPU):
        signal.signal(number, signal.SIG_DFL)
    os.setsid()
    os.chdir(job["cwd"])
    os.environ.update(job.get("env", {}))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, kind in ((1, job.get("stdout", "pipe")), (2, job.get("stderr", "pipe"))):
        if kind == "pipe":
            os.dup2(ends[number - 1][1], number)
        elif kind == "full":
            os.dup2(os.open("/dev/full", os.O_WRONLY), number)
        elif kind == "gone":
            read, write = os.pipe()
            os.close(read)
            os.dup2(write, number)
        else:
            os.close(number)
    os.closerange(3, 100)
    for name, value in job.get("limits", {}).items():
        resource.setrlimit(getattr(resource, name), (value, value))
    if job.get("nobody"):
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    # As the interpreter makes them at its start.
    encoding = job.get("encoding", "utf-8")
    for name, number, errors in (("stdout", 1, "strict"), ("stderr", 2, "backslashreplace")):
        try:
            os.fstat(number)
        except OSError:
            stream = None
        else:
            stream = io.TextIOWrapper(
                io.BufferedWriter(io.FileIO(number, "w", closefd=False)), encoding, errors
            )
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    sys.argv = ["cube24", *job["args"]]
    try:
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        with contextlib.suppress(Exception):
            traceback.print_exc()
            sys.stderr.flush()
        code = 1
    try:  # as the interpreter does at its end
        if sys.stdout is not None:
            sys.stdout.flush()
    except Exception:
        code = 120
    return code


if __name__ == "__main__":
    serve()
