"""Campaigns: many cases, on several processes or machines, that go on after they were killed.

A case is written into a hidden folder beside its place and renamed, so under its name it is whole.
What is there already is checked by its checksums and kept. Processes share nothing: each takes
every n-th case of the same list, so any number of them gives the same bytes; where two make one
case at the same time, the first one's stays. description.py says what a campaign is, written.py
puts a case in its place.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from cube24 import stdlib
from cube24.errors import ArgumentError, Cube24Error, StrPath, counted
from cube24.extras import need
from cube24.sizes import shown, whole
from cube24.vectors import place, processes
from cube24.vectors.description import (
    CAMPAIGN,
    Campaign,
    CampaignError,
    CampaignMismatchError,
    prepare,
    short,
)
from cube24.vectors.written import write_case

__all__ = [
    "CAMPAIGN", "Campaign", "CampaignError", "CampaignMismatchError", "CaseProgress", "Summary",
    "generate",
]  # fmt: skip

#: What was done is told to this: 1 for each case that was written, 0 for one that was kept.
CaseProgress = Callable[[int], object]

#: Seconds that a cluster, which may be gone, has to end when it is told to.
_CLOSING = 10.0


@dataclass(frozen=True)
class Summary:
    """What a campaign did: cases written, and cases that were there already."""

    written: int
    kept: int

    def __add__(self, other: Summary) -> Summary:
        """Two summaries as one."""
        return Summary(self.written + other.written, self.kept + other.kept)


def generate(
    root: StrPath,
    campaign: Campaign,
    *,
    workers: int = 1,
    shard: tuple[int, int] = (0, 1),
    cluster: str | None = None,
    progress: CaseProgress = lambda written: None,
) -> Summary:
    """Write the cases of a campaign below a folder; go on where an earlier run was stopped.

    Args:
        root: the folder; made if it is not there.
        campaign: which cases.
        workers: processes on this machine.
        shard: (i, n): only every n-th case, from the i-th on.
        cluster: address of a Dask scheduler; its workers see the same folder (extra ``cluster``).
        progress: told about each case.

    Raises:
        ArgumentError: the folder holds another campaign or other things, or a number that cannot
            be.
        CampaignMismatchError: the unit and the dense computation disagree on a case, which is not
            written.
        CampaignError: another process failed, or the cluster did.
        FileAccessError: something stands in the place of a case that is not ours to replace, or the
            system refuses: no permission, disk full.
    """
    shard = check_shard(shard)
    workers = whole(workers, "workers", 1, 4096)
    folder = Path(root)
    prepare(folder, campaign)
    if cluster is not None:
        return _on_cluster(folder, campaign, shard, cluster, progress)
    # A process takes longer to start than a case to make: there are never more than cases.
    workers = _count(campaign, shard, workers)
    if workers <= 1:
        return run_shard(folder, campaign, shard, progress)
    return _on_processes(folder, campaign, shard, workers, progress)


def _count(campaign: Campaign, shard: tuple[int, int], most: int) -> int:
    """How many cases a shard has, counted up to most of them."""
    index, shards = shard
    return sum(1 for _ in islice(campaign.items(), index, index + shards * most, shards))


def check_shard(shard: tuple[int, int]) -> tuple[int, int]:
    """Refuse a shard that there is not; gives it as plain numbers.

    Raises:
        ArgumentError: as said.
    """
    given: Any = shard
    if not isinstance(given, list | tuple) or len(given) != 2:
        raise ArgumentError(f"shard is {shown(given)}; it takes (i, n)")
    index, shards = (n if type(n) is int else whole(n, "shard", 0, 1 << 31) for n in given)
    if not 1 <= shards <= 1 << 31:
        raise ArgumentError(f"shard {short(index)}/{short(shards)}: there are 1 to 2^31 shards")
    if not 0 <= index < shards:
        raise ArgumentError(
            f"shard {short(index)}/{shards}: shards count from 0, so {counted(shards, 'shard')} "
            f"are 0/{shards} to {shards - 1}/{shards}; a job array from 1 takes one off its number"
        )
    return index, shards


def run_shard(
    folder: Path, campaign: Campaign, shard: tuple[int, int], progress: CaseProgress
) -> Summary:
    """Write every n-th case in this process."""
    index, shards = shard
    total = Summary(0, 0)
    for number, (suite, item) in enumerate(campaign.items()):
        if number % shards != index:
            continue
        written = write_case(folder.joinpath(suite, item.name), suite, item, campaign)
        total += Summary(written, 1 - written)
        progress(written)
    return total


def _pieces(shard: tuple[int, int], parts: int) -> list[tuple[int, int]]:
    """A shard as so many smaller ones."""
    index, shards = shard
    return [(index + shards * part, shards * parts) for part in range(parts)]


def _on_processes(
    folder: Path, campaign: Campaign, shard: tuple[int, int], workers: int, progress: CaseProgress
) -> Summary:
    total, ended = Summary(0, 0), False
    pieces = [(folder, campaign, piece) for piece in _pieces(shard, workers)]
    try:
        with processes.crew(_worker, pieces) as told:
            while told:
                for pipe in processes.ready(told):
                    try:
                        message = pipe.recv()
                    except (EOFError, ConnectionResetError):
                        raise CampaignError(
                            "a worker was killed; run the same command again"
                        ) from None
                    if message is None:
                        told.remove(pipe)
                        pipe.close()
                    elif isinstance(message, Exception):
                        raise message
                    else:
                        total += message
                        _tell(progress, message)
        ended = True
    finally:
        for suite in () if ended else campaign.suites:  # what those that were stopped left
            place.clear(folder / suite)
    return total


def _tell(progress: CaseProgress, done: Summary) -> None:
    """Tell of each case that was done."""
    for written in (1,) * done.written + (0,) * done.kept:
        progress(written)


#: Seconds between two messages of a worker: to receive one for each case takes a tenth of its time.
_TOLD_EVERY = 0.1


def _worker(folder: Path, campaign: Campaign, shard: tuple[int, int], told: Connection) -> None:
    done, last = Summary(0, 0), time.monotonic()

    def tell(written: int) -> None:
        nonlocal done, last
        done += Summary(written, 1 - written)
        if (now := time.monotonic()) - last >= _TOLD_EVERY:
            told.send(done)
            done, last = Summary(0, 0), now

    try:
        run_shard(folder, campaign, shard, tell)
        told.send(done)
        told.send(None)
    except BrokenPipeError:
        pass  # the parent was stopped, and says so
    except Exception as error:
        told.send(_portable(error))


def _portable(error: Exception) -> Exception:
    """An error of a worker as one of the campaign: one of a library may not pickle."""
    if isinstance(error, CampaignError):
        return error
    return CampaignError(f"{type(error).__name__}: {error}")


def _on_cluster(
    folder: Path, campaign: Campaign, shard: tuple[int, int], address: str, progress: CaseProgress
) -> Summary:
    dask = need("distributed", "cluster", "a cluster")

    def run() -> Summary:
        return stdlib.asyncio.run(_with_client(dask, folder, campaign, shard, address, progress))

    try:
        try:
            stdlib.asyncio.get_running_loop()
        except RuntimeError:
            return run()
        # A notebook has a loop in this thread.
        with stdlib.concurrent.futures.ThreadPoolExecutor(1) as other:
            return other.submit(run).result()
    except Cube24Error:
        raise
    except Exception as error:  # of the network, of addresses, of workers that were killed: many
        raise CampaignError(f"cluster {address}: {type(error).__name__}: {error}") from error


async def _with_client(
    dask: Any,
    folder: Path,
    campaign: Campaign,
    shard: tuple[int, int],
    address: str,
    progress: CaseProgress,
) -> Summary:
    # A client of a thread of its own that cannot connect is left half open by its constructor, and
    # the garbage collector may close it in the middle of the start of another one, which waits for
    # ever. This one lives in our loop, is there before it connects, and is closed on every path.
    client = dask.Client(address, asynchronous=True, set_as_default=False)
    try:
        await client
        workers = max(1, len(await client.nthreads()))
        # More pieces than workers, so that a slow machine takes fewer of them.
        pieces = _count(campaign, shard, 4 * workers)
        futures = [
            client.submit(_cluster_piece, str(folder.resolve()), campaign, piece, pure=False)
            for piece in _pieces(shard, pieces)
        ]
        total = Summary(0, 0)
        for result in stdlib.asyncio.as_completed([future.result() for future in futures]):
            done = Summary(*await result)
            total += done
            _tell(progress, done)
        return total
    finally:
        with suppress(Exception):  # what went wrong before is what is told
            await stdlib.asyncio.wait_for(client.close(), _CLOSING)


def _cluster_piece(folder: str, campaign: Campaign, shard: tuple[int, int]) -> Sequence[int]:
    try:
        done = run_shard(Path(folder), campaign, shard, lambda written: None)
    except Exception as error:
        raise _portable(error) from None
    return (done.written, done.kept)
