"""Fast-forward: the time of a core whose steps repeat, without running them again and again.

What a stretch of a program does depends on the state of the pipes before it and on its operations
alone. Where both were seen before, what followed then follows now; and where the state before a
series has come back, all the periods that are still to come are counted at once. The result is that
of the plain schedule, to the cycle, whatever the number of tiles.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from cube24.simulator.account import Counts, Timing
from cube24.simulator.cost import Costs
from cube24.simulator.operations import Compiler, Op
from cube24.simulator.pipes import Pipes, ScheduleError
from cube24.simulator.series import Node, Series, Stretch
from cube24.simulator.tiler import Plan
from cube24.simulator.writer import Writer

#: After so many instructions that do not come to repeat each other, a run is given up.
LIMIT = 20_000_000

#: Queues that are deeper hold so much of a program that no state of them would come back.
DEEP = 4096

_NOWHERE = -1  # in the place of the number of a state: one that is not known

#: Where the writer and the pipes stand, by the numbers of their states.
_Place = tuple[int, int]


class Forward:
    """Walks the trees of a plan; what was seen in one is known in the others."""

    def __init__(self, plan: Plan, costs: Costs) -> None:
        """Start with nothing seen."""
        self._plan, self._costs = plan, costs
        self._writer, self._compiler = Writer(plan), Compiler(costs)
        self._states: list[Any] = []
        self._numbers: dict[Any, int] = {}
        self._written: dict[tuple[Stretch | None, int], tuple[Sequence[Op], int]] = {}
        self._walked: dict[tuple[Node, _Place], tuple[_Place, Counts]] = {}
        self._pipes = Pipes(plan.config)
        start = self._number(self._pipes.state())
        self._live = start  # the state that the pipes are in
        self._start = (self._number((self._writer.state(), (False, False))), start)
        self._left = LIMIT

    def timing(self, tree: Node) -> Timing:
        """The time of a core.

        Raises:
            ScheduleError: it has none, or does not come to repeat itself within LIMIT instructions.
        """
        total = Counts()
        if self._plan.config.queue_depth > DEEP:
            written, pipes = self._straight(tree)
        else:
            (written, pipes), counts = self._walk(tree, self._start)
            total.add(counts)
        self._run(self._ops(None, written)[0], pipes, to_end=True)
        total.add(self._pipes.take(end=True))
        self._live = _NOWHERE
        return total.timing()

    def _straight(self, tree: Node) -> _Place:
        """Run all of a tree, one stretch behind the other; what it counts is not taken yet."""
        written, live = self._start
        for stretch in _stretches(tree):
            ops, written = self._ops(stretch, written)
            self._run(ops, live)
            live = self._live = _NOWHERE
        return written, live

    def _walk(self, node: Node, place: _Place) -> tuple[_Place, Counts]:
        """Where a node leads from a place, and what it counts."""
        found = self._walked.get((node, place))
        if found is None:
            if isinstance(node, Series):
                found = self._repeat(node, place)
            else:
                found = self._once(node, place)
            self._walked[node, place] = found
        return found

    def _repeat(self, series: Series, place: _Place) -> tuple[_Place, Counts]:
        total, done = Counts(), 0
        known: dict[_Place, tuple[int, Counts]] = {}
        while done < series.times:
            if place in known:
                since, before = known[place]
                period = done - since
                times = (series.times - done) // period
                now = total.copy()
                total.add(now, times)
                total.add(before, -times)
                done += times * period
                known = {}
                continue
            if series.times > 1:
                known[place] = (done, total.copy())
            for node in series.body:
                place, counts = self._walk(node, place)
                total.add(counts)
            done += 1
        return place, total

    def _once(self, stretch: Stretch, place: _Place) -> tuple[_Place, Counts]:
        ops, written = self._ops(stretch, place[0])
        self._run(ops, place[1])
        state = self._pipes.state()
        self._left -= sum(map(len, state[0]))  # of the memory that states take
        self._live = self._number(state)
        return (written, self._live), self._pipes.take()

    def _run(self, ops: Sequence[Op], pipes: int, *, to_end: bool = False) -> None:
        self._left -= len(ops)
        if self._left < 0:
            raise ScheduleError(
                f"this run does not come to repeat itself within {LIMIT} instructions; its time is "
                f"not counted"
            )
        if self._live != pipes:
            self._pipes = Pipes(self._plan.config, self._states[pipes])
        self._pipes.run(ops, to_end=to_end)

    def _number(self, state: Any) -> int:
        number = self._numbers.setdefault(state, len(self._states))
        if number == len(self._states):
            self._states.append(state)
        return number

    def _ops(self, stretch: Stretch | None, number: int) -> tuple[Sequence[Op], int]:
        """The operations of a stretch, and how the writer stands behind them. None: the end."""
        found = self._written.get((stretch, number))
        if found is not None:
            return found
        state, moved = self._states[number]
        self._writer.restore(state)
        ops: list[Op] = []
        for step in stretch.steps if stretch else [None]:
            before, moved = moved, stretch.moved if stretch else moved
            program = self._writer.push(step)
            if self._costs.first_touch_matters:
                self._costs.moved = self._knows(before, moved)
            ops += self._compiler.compile(program)
        found = self._written[stretch, number] = (ops, self._number((self._writer.state(), moved)))
        return found

    def _knows(self, before: tuple[bool, bool], here: tuple[bool, bool]) -> Callable[[int], bool]:
        """Tells of an address in GM whether what is there was moved before.

        Args:
            before: of the step before, whether its (activations, weights) were.
            here: of the step that was pushed behind it.
        """
        loads = here if self._plan.tile.l1_buffers == 2 else before
        at = {buffer.name: buffer.at for buffer in self._plan.buffers()}
        weights, words = min(at.get(n, 1 << 80) for n in ("dense", "weights")), at.get("words")

        def moved(address: int) -> bool:
            if words is not None and address >= words:
                return before[1]
            return loads[address >= weights]

        return moved


def _stretches(node: Node) -> Iterator[Stretch]:
    """All of a tree, as often as it comes."""
    if isinstance(node, Stretch):
        yield node
    else:
        for _ in range(node.times):
            for part in node.body:
                yield from _stretches(part)
