"""A contest of one run: the contenders take turns, so that what else the machine does hits all.

``race`` times ours through pytest-benchmark and the peers in the pauses between its rounds. What a
reader compares are ratios of medians, which stand in ``extra_info``; ``python -m benchmarks`` makes
one table of them.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import repeat
from statistics import median
from time import perf_counter
from typing import Any

ROUNDS = 11  # of which the median is taken
SHORTEST = 1e-3  # seconds: a round repeats a call until it lasts that long, for the clock's sake


def race(
    benchmark: Any,
    ours: Callable[[], Any],
    peers: dict[str, Callable[[], Any]],
    *,
    what: str,
    rounds: int = ROUNDS,
    must: dict[str, tuple[float, float]] | None = None,
) -> dict[str, float]:
    """Time ours beside its peers; gives how many times as fast it is as each of them.

    Args:
        benchmark: the fixture of pytest-benchmark.
        ours, peers: calls that do the same work.
        what: a line of the table.
        rounds: of each, in turn.
        must: for some peers, the ratio that was set as a limit, and the one that was aimed at. They
            are shown beside the figure; a timed test asserts nothing.
    """
    number = _number(ours)
    ours_many = _many(ours, number)
    peers_many = {name: (_many(peer, n := _number(peer)), n) for name, peer in peers.items()}
    times: dict[str, list[float]] = {name: [] for name in peers}

    def in_the_pause() -> None:
        for name, (peer, calls) in peers_many.items():
            start = perf_counter()
            peer()
            times[name].append((perf_counter() - start) / calls)

    if benchmark.disabled:  # everything once, to see that it runs
        in_the_pause()
        ours()
        benchmark(lambda: None)
        return {}
    benchmark.group = what
    benchmark.pedantic(ours_many, setup=in_the_pause, rounds=rounds, warmup_rounds=1)
    seconds = benchmark.stats["median"] / number
    ratios = {name: median(found[1:]) / seconds for name, found in times.items()}
    benchmark.extra_info |= {
        "what": what,
        "seconds": seconds,
        "peers": {name: median(found[1:]) for name, found in times.items()},
        "ratios": ratios,
        "must": must or {},
    }
    return ratios


def _many(call: Callable[[], Any], number: int) -> Callable[[], None]:
    def many() -> None:
        for _ in repeat(None, number):
            call()

    return many


def _number(call: Callable[[], Any]) -> int:
    call()  # what is done once for all calls
    start = perf_counter()
    call()
    return max(1, int(SHORTEST / max(perf_counter() - start, 1e-9)))
