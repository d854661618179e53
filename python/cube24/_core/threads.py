"""How many threads share a call, and what each of them does.

C takes ranges of rows and lets go of Python's lock, so threads are Python's. Those that help are
started when they are first needed and wait for the next call; they are daemons, so no program waits
for them, and a process that was forked starts its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from queue import SimpleQueue
from threading import Condition, Lock, Thread
from typing import Protocol

from cube24.errors import ArgumentError
from cube24.sizes import ceil_div, whole, whole_of

_VARIABLE = "CUBE24_THREADS"

#: Bytes of operands from which a second thread pays: waking one takes as long as moving some
#: hundred KiB.
PARALLEL_FROM = 1 << 20


def thread_count(threads: int | None, work: int) -> int:
    """How many threads a call takes.

    Args:
        threads: what its caller asked for, which is obeyed; None: what the environment variable
            ``CUBE24_THREADS`` says, or as many as this process may use cores, and one where the
            work is too small to be shared.
        work: bytes of its operands.

    Raises:
        ArgumentError: threads or the variable is no whole number from 1 on.
    """
    if threads is not None:
        return whole(threads, "threads", 1)
    if work < PARALLEL_FROM:
        return 1
    said = os.environ.get(_VARIABLE)
    if not said:
        return len(os.sched_getaffinity(0))
    try:
        return whole(whole_of(said), _VARIABLE, 1)
    except ValueError:
        raise ArgumentError(
            f"{_VARIABLE} is {said!r}; it takes a whole number, 1 or more"
        ) from None


def run_ranges(count: int, threads: int, call: Callable[[int, int], None], unit: int = 1) -> None:
    """Call ``call(start, stop)`` for ranges that cover 0 to count, shared by threads.

    Args:
        count: of what is shared.
        threads: how many ranges at most, and threads; the calling one is among them.
        call: does a range.
        unit: all ranges but the last are multiples of it.

    Raises:
        BaseException: the error of the first range that failed; all have ended by then.
    """
    size = max(1, ceil_div(ceil_div(count, unit), threads) * unit)
    ranges = [(start, min(start + size, count)) for start in range(0, count, size)]
    if len(ranges) <= 1:
        call(0, count)
        return
    job = _Job(call, ranges)
    _helpers.offer(job, len(ranges) - 1)
    try:
        job.work()
    finally:
        job.wait()
    job.demand_done()


def offer(job: Job, count: int) -> int:
    """Let up to ``count`` threads that wait for work call ``job.work()``.

    Returns:
        how many will, sooner or later: fewer than asked for where the system has no more threads.
    """
    return _helpers.offer(job, count)


class Job(Protocol):
    """What a thread can help with."""

    def work(self) -> None:
        """Help, as long as there is something to do; raises nothing."""


class _Job:
    """A call that is shared: whoever is free takes its next range.

    Its own thread takes part, so it is done even where no helper has time.
    """

    def __init__(self, call: Callable[[int, int], None], ranges: list[tuple[int, int]]) -> None:
        self._call, self._ranges = call, ranges
        self._left = list(reversed(range(len(ranges))))
        self._working = 0
        self._changed = Condition()
        self._errors: dict[int, BaseException] = {}

    def work(self) -> None:
        """Do ranges until none is left."""
        while True:
            with self._changed:
                if not self._left:
                    return
                number = self._left.pop()
                self._working += 1
            try:
                self._call(*self._ranges[number])
            except BaseException as error:  # it belongs to the thread that waits
                self._errors[number] = error
            finally:
                with self._changed:
                    self._working -= 1
                    self._changed.notify_all()

    def wait(self) -> None:
        """Wait until nobody works for it; what nobody has begun is given up."""
        with self._changed:
            self._left.clear()
            while self._working:
                self._changed.wait()

    def demand_done(self) -> None:
        """Raise the error of the first range that failed."""
        if self._errors:
            raise self._errors[min(self._errors)]


class _Helpers:
    """Threads that wait for jobs: as many as were ever at work at one time."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew: of a process that was forked, only the forking thread is there."""
        self._jobs: SimpleQueue[Job] = SimpleQueue()
        self._lock = Lock()
        self._threads = self._busy = 0

    def offer(self, job: Job, count: int) -> int:
        """Let up to ``count`` helpers take part in a job; gives how many."""
        with self._lock:
            while self._threads < self._busy + count:
                try:
                    Thread(target=self._help, daemon=True, name="cube24").start()
                except RuntimeError:  # the system has no more threads: then fewer share the work
                    break
                self._threads += 1
            given = min(count, self._threads - self._busy)
            self._busy += given
        for _ in range(given):
            self._jobs.put(job)
        return given

    def _help(self) -> None:
        while True:
            self._jobs.get().work()
            with self._lock:
                self._busy -= 1


_helpers = _Helpers()
os.register_at_fork(after_in_child=_helpers.forget)
