"""The published on-board profiles, and how the model compares with them.

The profiles are public: they were measured on a 910B1 at 1850 MHz with half operands, M = N = K =
8192 where nothing else is said, and a row of int8. docs/timing.md says which number was fitted on
which row. Mean times of the cores are compared, since the published ones are means: 85 1/3 tiles.

``cube24 validate`` prints the comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cube24.simulator.account import UNIT_FLAG, Timing
from cube24.simulator.chip import ChipTiming, time_plan
from cube24.simulator.config import PRESETS, UnitConfig
from cube24.simulator.layer import Matmul
from cube24.simulator.tiler import Problem, Tile
from cube24.simulator.writer import plan_for

#: How far the model may be from a profile, in %. Fixpipe has no limit: see docs/timing.md.
LIMITS: Mapping[str, float] = {"mac": 3.0, "mte1": 8.0, "mte2": 8.0, "total": 10.0}


@dataclass(frozen=True)
class Profile:
    """A run that was measured on a board.

    measured: time of each pipe and in total, in ``unit``: us of a core on average, or cycles.
    notes: why the model differs, by the same names.
    """

    name: str
    about: str
    problem: Problem
    tile: Tile
    cores: int
    measured: Mapping[str, float]
    unit: str
    notes: Mapping[str, str]


@dataclass(frozen=True)
class Deviation:
    """One number of a profile and the model's; error in %, limit in % or None."""

    profile: Profile
    name: str
    measured: float
    modelled: float
    limit: float | None

    @property
    def error(self) -> float:
        """(modelled - measured) / measured, in %."""
        return 100 * (self.modelled / self.measured - 1)

    @property
    def good(self) -> bool:
        """Whether the error is within the limit."""
        return self.limit is None or abs(self.error) <= self.limit

    @property
    def note(self) -> str:
        """Why the model differs, where it does by more than a percent."""
        return self.profile.notes.get(self.name, "")


def _half(m: int, n: int, k: int) -> Problem:
    return Problem(Matmul(m, n, k), False, fixpipe="fp16", dtype="float16", weight_rows=True)


def _times(mac: float, mte1: float, mte2: float, fixpipe: float, total: float) -> dict[str, float]:
    return {"mac": mac, "mte1": mte1, "mte2": mte2, "fixpipe": fixpipe, "total": total}


_BIG = _half(8192, 8192, 8192)
_QUEUE = "waits for blocks from its issue on, so it is the depth of the queues that is seen"

#: The published rows.
PROFILES: tuple[Profile, ...] = (
    Profile(
        "0", "base 64x64x64, no overlap", _BIG,
        Tile(64, 64, 64, 64, l1_buffers=1, unit_flag=True), 1,
        _times(141699.5, 162104.2, 582515.8, 34303.1, 759363.5), "us", {"fixpipe": _QUEUE},
    ),
    Profile(
        "1", "base 128x256x64, no overlap", _BIG,
        Tile(128, 256, 64, 64, l1_buffers=1, unit_flag=True), 1,
        _times(81477.2, 52003.7, 195613.4, 11313.7, 249466.5), "us", {"fixpipe": _QUEUE},
    ),
    Profile(
        "3", "as 1, on 24 cores", _BIG,
        Tile(128, 256, 64, 64, l1_buffers=1, unit_flag=True, m_core=2048, n_core=1536), 24,
        _times(3394.9, 2166.8, 8616.7, 488.8, 10871.0), "us",
        {
            "mte2": "rows of 128 bytes take 6 % longer with 24 cores than with one; not modelled",
            "total": "follows from mte2",
            "fixpipe": _QUEUE,
        },
    ),
    Profile(
        "4", "L1: two blocks a move, double buffers", _BIG,
        Tile(128, 256, 64, 128, m_core=2048, n_core=1536), 24,
        _times(3116.5, 2332.9, 4051.5, 44.7, 4487.9), "us",
        {
            "mac": "on the board some Mmads start from an idle cube, here none but the first",
            "mte1": "one slow-down for all rows: it fits rows 4 and S1 from above, int8 from below",
            "mte2": "rows of 256 bytes: 3.4 cycles, a little less on the board",
            "total": "one time for a hand-over: it fits rows 4 from below and S1 from above",
            "fixpipe": "head and rounding of a row",
        },
    ),
    Profile(
        "S1", "L1: A 2x8, B 2x4 blocks, UnitFlag", _BIG,
        Tile(128, 256, 64, 512, 256, unit_flag=True, m_core=2048, n_core=1536), 24,
        _times(3081.7, 2538.3, 3552.2, 160.4, 3670.7), "us",
        {
            "mac": "here one Mmad in eight finds the cube idle for 500 cycles, on the board none",
            "mte1": "as in row 4",
            "mte2": "rows of 512 and 1024 bytes: 82 B/cycle, a little more on the board",
            "total": "as in row 4, and from mte2",
            "fixpipe": _QUEUE,
        },
    ),
    Profile(
        "int8", "base 128x256x128, K = 1024, A stays in L1",
        Problem(Matmul(8192, 8192, 1024), False, fixpipe="deqf16"),
        Tile(128, 256, 128, 1024, 256, unit_flag=True, m_core=128, n_core=1024), 24,
        {"mac": 192.02, "mte1": 168.6}, "us", {"mte1": "as in row 4"},
    ),
    Profile(
        "U1", "128x256x512 in steps of 64, UnitFlag", _half(128, 256, 512),
        Tile(128, 256, 64, 512, 256, unit_flag=True), 1, {"mac": 4209}, "cycles", {},
    ),
    Profile(
        "U2", "128x256x512 in steps of 64", _half(128, 256, 512),
        Tile(128, 256, 64, 512, 256), 1, {"mac": 4225}, "cycles", {},
    ),
    Profile(
        "U3", "128x128x512 in steps of 64", _half(128, 128, 512),
        Tile(128, 128, 64, 512, 256), 1, {"mac": 2172}, "cycles", {},
    ),
)  # fmt: skip


def _fixpipe(timing: Timing) -> float:
    """The board's counter runs while a Fixpipe waits for its blocks."""
    account = timing.pipes["FIX"]
    return account.busy + account.waits.get(UNIT_FLAG, 0)


_MODELLED: Mapping[str, Callable[[Timing], float]] = {
    "mac": lambda timing: timing.pipes["M"].busy,
    "mte1": lambda timing: timing.pipes["MTE1"].busy,
    "mte2": lambda timing: timing.pipes["MTE2"].busy,
    "fixpipe": _fixpipe,
    "total": lambda timing: timing.cycles,
}


def validate(config: UnitConfig | None = None) -> tuple[Deviation, ...]:
    """The published profiles beside the model.

    Args:
        config: a unit to compare instead of dav-2201.

    Returns:
        One comparison for each number that was published: mac, mte1, mte2, fixpipe and total.
    """
    config = config or PRESETS["dav-2201"]
    found = []
    for profile in PROFILES:
        chip = time_plan(plan_for(profile.problem, config, profile.tile), profile.cores)
        cycles_in_unit = config.clock_mhz if profile.unit == "us" else 1
        for name, measured in profile.measured.items():
            modelled = _mean(chip, _MODELLED[name]) / cycles_in_unit
            found.append(Deviation(profile, name, measured, modelled, LIMITS.get(name)))
    return tuple(found)


def _mean(chip: ChipTiming, what: Callable[[Timing], float]) -> float:
    return sum(group.cores * what(group.timing) for group in chip.groups) / chip.cores


def table(comparisons: tuple[Deviation, ...]) -> str:
    """The comparisons as text, one a line."""
    lines = [
        f"{'row':<5} {'pipe':<8} {'measured':>11} {'modelled':>11} {'unit':<6} {'error':>8}  limit"
    ]
    seen = ""
    for one in comparisons:
        if one.profile.name != seen:
            seen = one.profile.name
            cores = f"{one.profile.cores} core{'s' if one.profile.cores > 1 else ''}"
            lines.append(f"{seen}: {one.profile.about}, {cores}")
        limit = "-" if one.limit is None else f"{one.limit:.0f} %"
        mark = "" if one.good else "  beyond the limit"
        note = f"  {one.note}" if one.note else ""
        lines.append(
            f"{seen:<5} {one.name:<8} {one.measured:>11.1f} {one.modelled:>11.1f} "
            f"{one.profile.unit:<6} {one.error:>+7.2f}%  {limit:>5}{mark}{note}"
        )
    return "\n".join(lines)
