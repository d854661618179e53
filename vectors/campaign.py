"""Campaigns: many cases, on several processes or machines, that go on after they were killed.

A case is written into a hidden folder beside its place and renamed, so under its name it is whole.
What is there already is checked by its checksums and kept. Processes share nothing: each takes
every n-th case of the same list, so any number of them gives the same bytes.
"""

from __future__ import annotations

import json
import multiprocessing
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from cube24.errors import (
    ArgumentError,
    CheckFailedError,
    Cube24Error,
    FileAccessError,
    FileFormatError,
    StrPath,
)
from cube24.extras import need
from cube24.simulator import MismatchError
from cube24.vectors import suites
from cube24.vectors.build import build
from cube24.vectors.files import CaseStyle
from cube24.vectors.manifest import check_files, files_of, load
from cube24.vectors.rng import case_seed
from cube24.vectors.spec import Item
from cube24.version import __version__

#: What was done is told to this: 1 for each case that was written, 0 for one that was kept.
CaseProgress = Callable[[int], object]

CAMPAIGN = "campaign.json"


@dataclass(frozen=True)
class Campaign:
    """Which cases: suites, level, seed, and the style of their files.

    Raises:
        ArgumentError: no such suite or level, or a negative seed.
    """

    suites: tuple[str, ...]
    level: int = 1
    seed: int = 1
    style: CaseStyle = field(default_factory=CaseStyle)

    def __post_init__(self) -> None:
        """Check it."""
        if self.seed < 0:
            raise ArgumentError(f"seed {self.seed}: it is 0 or more")
        if not self.suites or len(set(self.suites)) != len(self.suites):
            raise ArgumentError("suites: name one or more, each once")
        for suite in self.suites:
            next(suites.items(suite, self.level, self.seed))

    def items(self) -> Iterator[tuple[str, Item]]:
        """All cases as (suite, item), always in the same order."""
        for suite in self.suites:
            for item in suites.items(suite, self.level, self.seed):
                yield suite, item

    def count(self) -> int:
        """How many cases there are."""
        return sum(1 for _ in self.items())

    def text(self) -> bytes:
        """What campaign.json holds."""
        versions = {suite: suites.SUITES[suite][0] for suite in self.suites}
        style = {**asdict(self.style), "formats": list(self.style.formats)}
        about = {
            "schema": "cube24-campaign-1", "package": __version__, "seed": self.seed,
            "level": self.level, "suites": versions, "style": style,
        }  # fmt: skip
        return (json.dumps(about, indent=1) + "\n").encode()


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
        ArgumentError: the folder holds another campaign, or a number that cannot be.
        CampaignMismatchError: the unit and the dense computation disagree on a case, which is not
            written.
        CampaignError: another process failed, or the cluster did.
        FileAccessError: the system refuses: no permission, disk full.
    """
    index, shards = shard
    if not 1 <= workers <= 4096 or not 0 <= index < shards:
        raise ArgumentError(
            f"workers {workers}, shard {index}/{shards}: workers are 1 to 4096, shards 0/n to n-1/n"
        )
    folder = Path(root)
    _prepare(folder, campaign, shard)
    if cluster is not None:
        return _on_cluster(folder, campaign, shard, cluster, progress)
    if workers == 1:
        return run_shard(folder, campaign, shard, progress)
    return _on_processes(folder, campaign, shard, workers, progress)


def _prepare(folder: Path, campaign: Campaign, shard: tuple[int, int]) -> None:
    text = campaign.text()
    path = folder / CAMPAIGN
    # Shards start together and write the same bytes, each through a file of its own. A run that is
    # killed leaves it, and the next one clears it.
    part = folder / f".campaign-{shard[0]}-of-{shard[1]}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        there = path.read_bytes() if path.exists() else None
        if there is None:
            if any(not entry.name.startswith(".") for entry in folder.iterdir()):
                raise ArgumentError(
                    f"{folder} holds other things and no {CAMPAIGN}; name another folder"
                )
            part.write_bytes(text)
            part.replace(path)
        part.unlink(missing_ok=True)
        for suite in campaign.suites:
            (folder / suite).mkdir(exist_ok=True)
    except OSError as error:
        if isinstance(error, Cube24Error):
            raise
        raise FileAccessError.from_os(folder, "write", error) from error
    if there is not None and there != text:
        raise ArgumentError(
            f"{path} is of another campaign (other suites, level, seed, style or version of "
            f"cube24); name another folder, or remove this one"
        )


def run_shard(
    folder: Path, campaign: Campaign, shard: tuple[int, int], progress: CaseProgress
) -> Summary:
    """Write every n-th case in this process."""
    index, shards = shard
    total = Summary(0, 0)
    for number, (suite, item) in enumerate(campaign.items()):
        if number % shards != index:
            continue
        written = write_case(folder / suite / item.name, suite, item, campaign)
        total += Summary(written, 1 - written)
        progress(written)
    return total


def write_case(target: Path, suite: str, item: Item, campaign: Campaign) -> int:
    """Write one case, unless it is there already; gives 1 if it was written.

    Raises:
        CampaignMismatchError, FileAccessError: as for :func:`generate`.
    """
    version = suites.SUITES[suite][0]
    if _is_whole(target, suite, item, campaign):
        return 0
    try:
        case = build(suite, version, item, campaign.seed, campaign.style)
    except MismatchError as error:
        raise CampaignMismatchError(f"{suite}/{item.name}: {error}") from error
    # The name is that of the case: a run that was killed leaves it, and the next one clears it.
    part = target.parent / f".{target.name}.part"
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        for name, data in files_of(case).items():
            path = part / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
        if target.exists():
            shutil.rmtree(target)
        part.rename(target)
    except OSError as error:
        raise FileAccessError.from_os(target, "write", error) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return 1


def _is_whole(target: Path, suite: str, item: Item, campaign: Campaign) -> bool:
    """Whether the case is there, whole, and this one."""
    if not target.is_dir():
        return False
    try:
        stored = load(target)
        check_files(stored)
    except (FileFormatError, FileAccessError):
        return False
    of = stored.manifest
    return bool(
        of["suite"] == suite
        and of["case"] == item.name
        and of["spec"] == item.spec
        and stored.style == campaign.style
        and stored.seed == case_seed(campaign.seed, suite, item.name)
    )


def _pieces(shard: tuple[int, int], parts: int) -> list[tuple[int, int]]:
    """A shard as so many smaller ones."""
    index, shards = shard
    return [(index + shards * part, shards * parts) for part in range(parts)]


def _on_processes(
    folder: Path, campaign: Campaign, shard: tuple[int, int], workers: int, progress: CaseProgress
) -> Summary:
    context = multiprocessing.get_context("spawn")
    processes, told = [], []
    for piece in _pieces(shard, workers):
        mine, its = context.Pipe(duplex=False)
        process = context.Process(target=_worker, args=(folder, campaign, piece, its), daemon=True)
        processes.append((process, its))
        told.append(mine)
    total = Summary(0, 0)
    try:
        for process, its in processes:
            process.start()
            its.close()  # so that the end of the process is the end of the pipe
        while told:
            for pipe in wait(told):
                assert isinstance(pipe, Connection)
                try:
                    message = pipe.recv()
                except EOFError:
                    raise CampaignError("a worker was killed; run the same command again") from None
                if message is None:
                    told.remove(pipe)
                elif isinstance(message, Exception):
                    raise message
                else:
                    total += Summary(message, 1 - message)
                    progress(message)
    finally:
        for process, _ in processes:
            if process.pid is not None:
                process.terminate()
                process.join()
    return total


def _worker(folder: Path, campaign: Campaign, shard: tuple[int, int], told: Connection) -> None:
    try:
        run_shard(folder, campaign, shard, told.send)
        told.send(None)
    except (KeyboardInterrupt, BrokenPipeError):
        pass  # the parent was stopped too, and says so
    except Exception as error:
        told.send(_portable(error))


def _portable(error: Exception) -> Exception:
    """An error that another process can take: not all of ours can be pickled."""
    if isinstance(error, CampaignError):
        return error
    return CampaignError(f"{type(error).__name__}: {error}")


class CampaignError(Cube24Error, RuntimeError):
    """A case could not be written, by another process or by a cluster; with what it said."""


class CampaignMismatchError(CampaignError, CheckFailedError):
    """The unit and the dense computation disagree on a case, which is named."""


def _on_cluster(
    folder: Path, campaign: Campaign, shard: tuple[int, int], address: str, progress: CaseProgress
) -> Summary:
    dask = need("distributed", "cluster", "a cluster")
    try:
        return _with_client(dask, folder, campaign, shard, address, progress)
    except Cube24Error:
        raise
    except Exception as error:  # of the network, of addresses, of workers that were killed: many
        raise CampaignError(f"cluster {address}: {type(error).__name__}: {error}") from error


def _with_client(
    dask: Any,
    folder: Path,
    campaign: Campaign,
    shard: tuple[int, int],
    address: str,
    progress: CaseProgress,
) -> Summary:
    total = Summary(0, 0)
    with dask.Client(address) as client:
        workers = max(1, len(client.scheduler_info()["workers"]))
        # More pieces than workers, so that a slow machine takes fewer of them.
        futures = [
            client.submit(_cluster_piece, str(folder.resolve()), campaign, piece, pure=False)
            for piece in _pieces(shard, 4 * workers)
        ]
        for future in dask.as_completed(futures):
            done = Summary(*future.result())
            total += done
            for written in (1,) * done.written + (0,) * done.kept:
                progress(written)
    return total


def _cluster_piece(folder: str, campaign: Campaign, shard: tuple[int, int]) -> Sequence[int]:
    try:
        done = run_shard(Path(folder), campaign, shard, lambda written: None)
    except Exception as error:
        raise _portable(error) from None
    return (done.written, done.kept)
