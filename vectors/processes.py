"""Processes that share work: started with a pipe each, and ended with the block that they work for.

Each is a fresh interpreter, which shares nothing with the others. However the block ends, by an
error, Ctrl-C or a signal, no process is left.
"""

from __future__ import annotations

import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection, wait
from types import FrameType
from typing import Any, Generic, NoReturn, TypeVar

from cube24.errors import Cube24Error

Work = TypeVar("Work")
Result = TypeVar("Result")

#: Seconds that a worker has to end when it is told to.
CLOSING = 10.0

#: How many lots of work a worker has, so that it need not wait for the next one.
_AHEAD = 2

#: How many lots for each worker there are at most, of which not all before them are done.
_WINDOW = 32


class WorkerError(Cube24Error, RuntimeError):
    """A process that shared the work was killed, or failed; the message says how."""


@contextmanager
def crew(
    target: Callable[..., None], arguments: Sequence[tuple[Any, ...]]
) -> Iterator[list[Connection]]:
    """Processes that run ``target(*arguments, pipe)``; gives our ends of their pipes.

    They are told to end at the end of the block, and killed if they do not.

    Args:
        target: a function of a module.
        arguments: of each process.
    """
    context = get_context("spawn")
    processes, pipes = [], []
    for given in arguments:
        mine, its = context.Pipe()
        process = context.Process(target=target, args=(*given, its), daemon=True)
        processes.append((process, its))
        pipes.append(mine)
    try:
        # Ctrl-C is for us alone: they have it blocked from their first moment on. What else is
        # started with the first of them unblocks it here, so that comes before.
        resource_tracker.ensure_running()
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            for process, its in processes:
                process.start()
                its.close()  # so that the end of the process is the end of the pipe
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        yield pipes
    finally:
        for process, _ in processes:
            if process.pid is not None:
                process.terminate()
        for process, _ in processes:
            if process.pid is not None:
                process.join(CLOSING)
                process.kill()
                process.join()
        for pipe in pipes:
            pipe.close()


def ready(pipes: Sequence[Connection]) -> list[Connection]:
    """Those of the pipes that have something to be received, or have ended; waits for one."""
    found: list[Any] = wait(pipes)
    return found


def in_order(
    function: Callable[[Work], Result], work: Iterable[Work], workers: int, *, lot: int = 1
) -> Iterator[Result]:
    """What a function makes of each piece of work, in their order, by so many processes.

    Args:
        function: of a module. An error of it is a defect: it tells what is wrong by its result.
        work: the pieces; what their iterator raises is raised after the results of those before.
        workers: processes.
        lot: pieces that are sent at once, where each takes less than a message does. As many of
            them must fit a pipe as a worker has lots.

    Raises:
        WorkerError: a process was killed, or failed.
    """
    pieces = _Held(work)
    with crew(_serve, [(function,)] * workers) as pipes:
        asked: deque[_Lot[Result]] = deque()  # in the order in which the results are wanted
        busy: dict[Connection, deque[_Lot[Result]]] = {pipe: deque() for pipe in pipes}
        while True:
            # Whoever has the least gets the next lot, so that one which takes long holds up nobody.
            while len(asked) < _WINDOW * workers:
                pipe = min(pipes, key=lambda pipe: len(busy[pipe]))
                if len(busy[pipe]) == _AHEAD or not (some := list(islice(pieces, lot))):
                    break
                asked.append(_Lot())
                busy[pipe].append(asked[-1])
                _send(pipe, some)
            if not asked:
                break
            for pipe in ready(pipes):
                found = _receive(pipe)
                busy[pipe].popleft().found = found
            while asked and asked[0].found is not None:
                yield from asked.popleft().found or ()
    if pieces.error is not None:
        raise pieces.error


@dataclass
class _Lot(Generic[Result]):
    """Pieces of work that were sent at once, and what was found of them; None: not yet."""

    found: list[Result] | None = None


class _Held(Iterator[Work]):
    """An iterator that ends where another one raises, and keeps the error for later."""

    def __init__(self, of: Iterable[Work]) -> None:
        self._of = iter(of)
        self.error: Exception | None = None

    def __next__(self) -> Work:
        if self.error is not None:
            raise StopIteration
        try:
            return next(self._of)
        except StopIteration:
            raise
        except Exception as error:
            self.error = error
            raise StopIteration from None


def _send(pipe: Connection, lot: list[Any]) -> None:
    try:
        pipe.send(lot)
    except (BrokenPipeError, ConnectionResetError):
        raise _killed() from None


def _receive(pipe: Connection) -> list[Any]:
    try:
        found = pipe.recv()
    except (EOFError, ConnectionResetError):
        raise _killed() from None
    if isinstance(found, WorkerError):
        raise found
    assert isinstance(found, list)
    return found


def _killed() -> WorkerError:
    return WorkerError("a worker was killed; run the same command again")


def _serve(function: Callable[[Any], Any], pipe: Connection) -> None:
    """Do each lot that comes, until the other end is closed."""
    signal.signal(signal.SIGTERM, _end)
    try:
        while True:
            lot = pipe.recv()
            pipe.send([function(work) for work in lot])
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass  # nobody wants the rest
    except Exception as error:  # of a library, and may not pickle
        pipe.send(WorkerError(f"{type(error).__name__}: {error}"))


def _end(number: int, frame: FrameType | None) -> NoReturn:
    """Told to end: what is written for a while is removed on the way out."""
    sys.exit(128 + number)
