"""The account of a schedule: what each pipe did with its cycles, and each instruction in time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import NamedTuple

from cube24.simulator import isa

#: The pipe of the scalar unit in an account.
SCALAR = "S"

#: All pipes of an account.
PIPE_NAMES = (*isa.PIPES, SCALAR)

#: What a pipe waits for that is no flag, in an account.
UNIT_FLAG = "unit flag (block of L0C)"
HAND_OVER = "hand-over of L1"
UNIT = -1  # in the place of a flag: UnitFlag
TURN = -2  # in the place of a flag: MTE2 turns to its next buffer

#: What a flag between two pipes says, for people.
_MEANINGS = {
    ("MTE2", "MTE1"): "L1 filled",
    ("MTE1", "MTE2"): "L1 free",
    ("MTE1", "M"): "L0 filled",
    ("M", "MTE1"): "L0 free",
    ("M", "FIX"): "L0C filled",
    ("FIX", "M"): "L0C free",
    ("MTE2", "FIX"): "parameters in L1",
    ("FIX", "MTE2"): "parameters read",
}


@dataclass(frozen=True)
class PipeAccount:
    """What a pipe did, in cycles; busy + waiting + idle is the total.

    busy: it ran an instruction. waiting: its next instruction had been issued and waited for a
    flag. idle: there was nothing for it to do. heads: the part of busy that went into heads;
    slowed: the part that other pipes cost it. waits: waiting by what it waited for, such as
    ``MTE2>MTE1#0 (L1 filled)``.

    The scalar unit, S, is busy while it issues and waits while the queue of a pipe is full.
    """

    busy: int
    waiting: int
    idle: int
    heads: int
    slowed: int
    waits: Mapping[str, int]

    def __add__(self, other: PipeAccount) -> PipeAccount:
        """Two accounts as one."""
        waits = Counter(self.waits)
        waits.update(other.waits)
        return PipeAccount(
            self.busy + other.busy,
            self.waiting + other.waiting,
            self.idle + other.idle,
            self.heads + other.heads,
            self.slowed + other.slowed,
            dict(sorted(waits.items())),
        )


class Row(NamedTuple):
    """One instruction in time, in cycles.

    index: its number in the program. issued: when the scalar unit had put it into the queue.
    start: when it began, after waiting; end: when it was done; end - start = head + work + slowed.
    waited: how long its pipe waited directly before it; cause: for what, most of that time. Flags
    and barriers take no time of their own: a wait_flag lasts as long as it waits.
    """

    index: int  # type: ignore[assignment]  # not the method of a tuple
    name: str
    pipe: str
    issued: int
    start: int
    end: int
    head: int
    work: int
    slowed: int
    waited: int
    cause: str


#: A row of its fields as one tuple: what NamedTuple does, without a step in Python.
row_of: Callable[[tuple[int, str, str, int, int, int, int, int, int, int, str]], Row]
row_of = partial(tuple.__new__, Row)


@dataclass(frozen=True)
class Timing:
    """The schedule of a program: total cycles, the account of each pipe, and all instructions.

    ``instructions`` is empty where they were not asked for.
    """

    cycles: int
    pipes: Mapping[str, PipeAccount]
    instructions: tuple[Row, ...] = ()


@lru_cache
def flag_name(flag: int) -> str:
    """A flag for people, such as ``MTE2>MTE1#0 (L1 filled)``, and what else a pipe waits for."""
    if flag < 0:
        return UNIT_FLAG if flag == UNIT else HAND_OVER
    of, to = isa.PIPES[flag // isa.FLAG_IDS // 4], isa.PIPES[flag // isa.FLAG_IDS % 4]
    meaning = _MEANINGS.get((of, to))
    return f"{of}>{to}#{flag % isa.FLAG_IDS}" + (f" ({meaning})" if meaning else "")


class Counts:
    """Cycles counted so far, of each pipe by number."""

    __slots__ = ("busy", "cycles", "heads", "issuing", "slowed", "stalls", "waits")

    def __init__(self) -> None:
        """Start with none."""
        self.cycles = self.issuing = 0
        self.slowed = 0  # of MTE1, which alone can be
        self.busy, self.heads = [0] * 4, [0] * 4
        self.stalls = [0] * 4  # of the scalar unit, at the queue of a pipe
        self.waits: tuple[dict[int, int], ...] = ({}, {}, {}, {})  # by flag

    def add(self, other: Counts, times: int = 1) -> None:
        """Count those of another too, so many times."""
        self.cycles += times * other.cycles
        self.issuing += times * other.issuing
        self.slowed += times * other.slowed
        for mine, its in (
            (self.busy, other.busy), (self.heads, other.heads), (self.stalls, other.stalls),
        ):  # fmt: skip
            for pipe in range(4):
                mine[pipe] += times * its[pipe]
        for waits, more in zip(self.waits, other.waits, strict=True):
            for flag, time in more.items():
                waits[flag] = waits.get(flag, 0) + times * time

    def copy(self) -> Counts:
        """The same, to be kept."""
        found = Counts()
        found.add(self)
        return found

    def timing(self, rows: tuple[Row, ...] = ()) -> Timing:
        """The account of each pipe."""
        pipes = {}
        for pipe, name in enumerate(isa.PIPES):
            waits = {flag_name(flag): time for flag, time in self.waits[pipe].items() if time}
            waiting, busy = sum(waits.values()), self.busy[pipe]
            pipes[name] = PipeAccount(
                busy, waiting, self.cycles - busy - waiting, self.heads[pipe],
                self.slowed if name == "MTE1" else 0, dict(sorted(waits.items())),
            )  # fmt: skip
        full = {
            f"queue of {name} full": time
            for name, time in zip(isa.PIPES, self.stalls, strict=True)
            if time
        }
        waiting = sum(full.values())
        idle = self.cycles - self.issuing - waiting
        pipes[SCALAR] = PipeAccount(self.issuing, waiting, idle, 0, 0, full)
        return Timing(self.cycles, pipes, rows)
